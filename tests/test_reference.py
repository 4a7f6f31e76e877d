"""References reload without training, and their AUCs follow from their distances."""

import json

import numpy as np
import pandas as pd
import pytest

from sacutils import artefacts, evaluation, lineage, reference, runs
from sacutils.profiles import load_profile
from sacutils.reference import select
from sacutils.runs import open_run


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """A reference of the smoke run and of a second one that has its tables, with another seed."""
    other = open_run("smoke", {"seed": 1}, folder=run.shared.parent)
    run.write_tables()
    assert len(run.ablations)
    for name in ("zoo", "distances", "auc", "costs", "ablations"):
        artefacts.write_text(other.folder / f"tables/{name}.csv", (run.folder / f"tables/{name}.csv").read_text())
    artefacts.write_json(other.folder / "probes/probes.json", artefacts.read_json(run.folder / "probes/probes.json"))
    target = tmp_path_factory.mktemp("results")
    described = reference.describe(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "describe", lambda each: described)  # the second run was never trained
        assert reference.collect([run, other], target) == target / "smoke"
        whole = {path.name: path.read_bytes() for path in (target / "smoke").iterdir()}
        # source by source, in any order and with one repeated, gives the same files
        for runs_of in ([other], [run], [other]):
            reference.collect(runs_of, target / "stepwise")
        assert {path.name: path.read_bytes() for path in (target / "stepwise" / "smoke").iterdir()} == whole
    return target


def test_tables_come_back_with_their_seeds(run, folder):
    tables = reference.load("smoke", folder)
    assert set(tables) == set(reference.TABLES) and reference.available(folder) == ["smoke"]
    for table in tables.values():
        assert set(table["seed"]) == {0, 1} and table.columns[0] == "seed"
    own = select(tables["auc"], seed=0).drop(columns="seed").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, run.all_auc, atol=1e-6)


def test_provenance_says_what_was_run(run, folder):
    record = reference.provenance("smoke", folder)
    source = record["sources"]["0"]
    variants = sum(len(lineage.variant_specs(run.profile, name)) for name in run.profile.variants)
    assert source["models"] == len(run.names()) + variants and source["images"]["owner"] == run.profile.splits.owner
    assert source["data"] == "digits" and source["versions"]["torch"] and min(source["seconds of training"].values()) > 0
    chosen = json.loads((folder / "smoke/probes.json").read_text())["0"]
    assert chosen["w.image"] == run.material.index["probe"][run.probes["w"].index].tolist()


def test_nothing_is_trained_to_load(folder, monkeypatch):
    monkeypatch.setattr(runs, "Run", None)
    assert len(reference.load("smoke", folder)["auc"])


def test_changed_table_and_unknown_profile_are_refused(run, folder, refused, tmp_path):
    copy = tmp_path / "smoke"
    copy.mkdir()
    for path in (folder / "smoke").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "auc.csv").write_text((copy / "auc.csv").read_text() + "\n")
    refused(lambda: reference.load("smoke", tmp_path), "auc.csv", "git checkout")
    refused(lambda: reference.collect([run], tmp_path), "auc.csv", "git checkout")
    refused(lambda: reference.load("paper", tmp_path), "'paper'", "smoke")


def test_unfit_runs_are_refused(run, refused, tmp_path):
    refused(lambda: reference.collect([run, run], tmp_path), "different seeds")
    refused(lambda: reference.collect([open_run("smoke", {"seed": 9}, folder=tmp_path)], tmp_path), "SEED=")
    assert not (tmp_path / "smoke" / "provenance.json").exists()


def test_imagefolder_is_described_without_its_place(tmp_path):
    for name in ("a/1.png", "a/2.jpg", "b/1.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    profile = load_profile("smoke", {"data.name": "imagefolder", "data.path": str(tmp_path)})
    assert reference._data(profile) == "ImageFolder of 1 jpg files, 2 png files"


@pytest.mark.parametrize("profile", reference.available())
def test_committed_auc_follows_from_the_committed_distances(profile):
    tables = reference.load(profile)
    for seed, part in tables["distances"].groupby("seed"):
        made = runs.auc_table(part, load_profile(profile, {"seed": int(seed)}))
        committed = select(tables["auc"], seed=seed).drop(columns="seed").reset_index(drop=True)
        pd.testing.assert_frame_equal(made, committed, check_dtype=False, atol=1e-9)


def test_committed_references_hold_at_least_three_sources():
    for profile in reference.available():
        tables, record = reference.load(profile), reference.provenance(profile)
        assert len(set(tables["auc"]["seed"])) >= 3 and record["profile"] == profile
        assert set(record["sources"]) == {str(seed) for seed in tables["zoo"]["seed"]}


def frame(*sources: tuple[list[float], list[float]]) -> pd.DataFrame:
    rows = [
        (seed, step, value)
        for seed, (stolen, irrelevant) in enumerate(sources)
        for step, values in (("extract_label", stolen), ("irrelevant", irrelevant))
        for value in values
    ]
    return pd.DataFrame(rows, columns=["seed", "step", "distance"])


def test_mean_over_sources_with_its_extremes():
    table = frame(([1.0, 2.0], [3.0, 4.0]), ([1.0, 4.0], [2.0, 3.0]))
    result = reference.over_sources(table, "extract_label", "attacker data")
    assert (result["auc"].value, result["smallest"], result["largest"]) == (0.75, 0.5, 1.0)
    assert result["auc"].low < 0.5 and result["auc"].high == 1 and result["sources"] == 2


def test_interval_of_a_single_source_is_the_bootstrap_over_models():
    generator = np.random.default_rng(0)
    stolen, irrelevant = generator.normal(0, 1, 40), generator.normal(1, 1, 40)
    result = reference.over_sources(frame((list(stolen), list(irrelevant))), "extract_label", "attacker data")["auc"]
    assert tuple(result) == pytest.approx(tuple(evaluation.auc(stolen, irrelevant, 2000, 1)), abs=0.02)


def test_interval_grows_with_the_spread_of_the_sources():
    near, far = ([1.0, 3.0, 2.0], [2.5, 3.5, 4.0]), ([4.0, 3.9, 3.0], [2.5, 3.5, 4.1])
    alike = reference.over_sources(frame(near, near, near), "extract_label", "attacker data")["auc"]
    apart = reference.over_sources(frame(near, far, near), "extract_label", "attacker data")["auc"]
    assert apart.high - apart.low > alike.high - alike.low


def test_perfect_sources_keep_the_doubt_of_one():
    perfect = ([1.0] * 4, [2.0] * 5)
    result = reference.over_sources(frame(perfect, perfect, perfect), "extract_label", "attacker data")["auc"]
    assert tuple(result) == pytest.approx((1.0, *evaluation.score_interval(1.0, 4, 5)))
