"""References reload without training, and their AUCs follow from their distances."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from sacutils import files, steps
from sacutils import run as runs
from sacutils.probes import PROBE_SETS
from sacutils.profiles import load_profile
from sacutils.run import open_run
from sacutils.studies import ablations, attacked, references, tables, verdicts
from sacutils.studies.tables import SAC_W, select


@pytest.fixture(scope="module")
def other(run):
    """A run with another seed, which was never trained and gets the smoke run's tables."""
    return open_run("smoke", {"seed": 1}, folder=run.shared.parent)


@pytest.fixture(scope="module")
def finished(run):
    """The smoke run with the files that the comparison writes; here they hold SAC alone."""
    costs = {"surrogates": [1, 0], "choosers": 0, "access": "none"}
    made = tables.of_run(run, costs=pd.DataFrame({"method": ["SAC-w", "SAC-m"]} | costs))
    tables.write(run)
    for name in ("distances", "auc", "costs"):
        rows = made[name].drop(columns="seed")
        files.write_text(run.folder / f"tables/{name}.csv", rows.to_csv(index=False))
    ablations.table(run)
    verdicts.table(run)
    attacked.table(run)
    assert all(len(run.probes[name].index) for name in PROBE_SETS)
    return run


@pytest.fixture(scope="module")
def folder(finished, other, tmp_path_factory):
    """A reference of the smoke run and of a second one that has its tables, with another seed."""
    run = finished
    for name in references.TABLES:
        text = (run.folder / f"tables/{name}.csv").read_text()
        files.write_text(other.folder / f"tables/{name}.csv", text)
    for name in PROBE_SETS:
        chosen = files.read_json(run.folder / f"probes/{name}.json")
        files.write_json(other.folder / f"probes/{name}.json", chosen)
    target = tmp_path_factory.mktemp("results")
    described = references.describe(run)
    with pytest.MonkeyPatch.context() as patch:
        # the second run was never trained
        patch.setattr(references, "describe", lambda run: described)
        assert references.collect([run, other], target) == target / "smoke"
        whole = content(target)
        # source by source, in any order and with one repeated, gives the same files
        for several in ([other], [run], [other]):
            references.collect(several, target / "stepwise")
        assert content(target / "stepwise") == whole
    return target


def content(folder):
    return {path.name: path.read_bytes() for path in (folder / "smoke").iterdir()}


def test_tables_come_back_with_their_seeds(run, folder):
    made = references.load("smoke", folder)
    assert set(made) == set(references.TABLES) and references.available(folder) == ["smoke"]
    for table in made.values():
        assert set(table["seed"]) == {0, 1} and table.columns[0] == "seed"
    own = select(made["auc"], seed=0).drop(columns="seed").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, tables.auc(run), atol=1e-6)
    kept = select(made["ablations"], seed=1).drop(columns="seed").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, ablations.table(run))


def test_provenance_says_what_was_run(run, folder):
    source = references.provenance("smoke", folder)["sources"]["0"]
    variants = sum(len(steps.variant_specs(run.profile, name)) for name in run.profile.variants)
    assert source["models"] == len(run.names()) + variants
    assert source["images"]["owner"] == run.profile.splits.owner
    assert source["data"] == "digits" and source["versions"]["torch"]
    assert min(source["seconds of training"].values()) > 0
    chosen = json.loads((folder / "smoke/probes.json").read_text())["0"]
    expected = run.material.index["probe"][run.probes["w"].index].tolist()
    assert chosen["w.image"] == expected


def test_nothing_is_trained_to_load(folder, monkeypatch):
    monkeypatch.setattr(runs, "Run", None)
    assert len(references.load("smoke", folder)["auc"])


def test_changed_table_and_unknown_profile_are_refused(run, folder, refused, tmp_path):
    shutil.copytree(folder / "smoke", tmp_path / "smoke")
    table = tmp_path / "smoke/auc.csv"
    table.write_text(table.read_text() + "\n")
    refused(lambda: references.load("smoke", tmp_path), "auc.csv", "git checkout")
    refused(lambda: references.collect([run], tmp_path), "auc.csv", "git checkout")
    refused(lambda: references.load("paper", tmp_path), "'paper'", "smoke")


@pytest.fixture
def copy(folder, tmp_path, monkeypatch):
    """A copy of the reference to write into, and a description for runs never trained."""
    shutil.copytree(folder / "smoke", tmp_path / "smoke")
    described = references.provenance("smoke", folder)["sources"]["0"]
    monkeypatch.setattr(references, "describe", lambda run: described)
    return tmp_path


def test_a_source_that_is_given_again_is_replaced_and_the_others_stay(other, copy):
    path = other.folder / "tables/distances.csv"
    before, text = references.load("smoke", copy)["distances"], path.read_text()
    changed = pd.read_csv(path, dtype=str).assign(distance="0.5")
    try:
        files.write_text(path, changed.to_csv(index=False))
        references.collect([other], copy)
    finally:
        files.write_text(path, text)
    after = references.load("smoke", copy)["distances"]
    assert after["seed"].is_monotonic_increasing
    assert (select(after, seed=1)["distance"] == 0.5).all()
    pd.testing.assert_frame_equal(select(after, seed=0), select(before, seed=0))


def test_a_source_may_lack_the_table_of_attacks(other, copy, tmp_path_factory):
    path, alone = other.folder / "tables/attacks.csv", tmp_path_factory.mktemp("alone")
    text = path.read_text()
    path.unlink()
    try:
        references.collect([other], copy)
        references.collect([other], alone)
    finally:
        files.write_text(path, text)
    assert set(references.load("smoke", copy)["attacks"]["seed"]) == {0}
    assert "attacks" not in references.load("smoke", alone)
    references.collect([other], alone)
    assert set(references.load("smoke", alone)["attacks"]["seed"]) == {1}


def test_further_seeds_are_ordered_as_numbers(run, copy):
    later = open_run("smoke", {"seed": 10}, folder=run.shared.parent)
    shutil.copytree(run.folder / "tables", later.folder / "tables")
    shutil.copytree(run.folder / "probes", later.folder / "probes")
    references.collect([later], copy)
    assert list(references.provenance("smoke", copy)["sources"]) == ["0", "1", "10"]
    assert list(files.read_json(copy / "smoke/probes.json")) == ["0", "1", "10"]
    for table in references.load("smoke", copy).values():
        assert list(table["seed"].unique()) == [0, 1, 10]


def test_sources_made_from_other_data_are_not_mixed(run, other, copy, refused, monkeypatch):
    before = content(copy)
    described = references.describe(run)
    monkeypatch.setattr(references, "describe", lambda run: described | {"data": "cifar10"})
    refused(lambda: references.collect([other], copy), "cifar10", "digits")
    assert content(copy) == before
    references.collect([run, other], copy)  # nothing is kept, so nothing is mixed
    assert references.provenance("smoke", copy)["sources"]["1"]["data"] == "cifar10"


def test_tables_with_other_columns_are_not_mixed(other, copy, refused, monkeypatch):
    before = content(copy)
    left_out = references.LEFT_OUT | {"auc": ["tpr_at_5fpr"]}
    monkeypatch.setattr(references, "LEFT_OUT", left_out)
    refused(lambda: references.collect([other], copy), "auc.csv", "tpr_at_5fpr")
    assert content(copy) == before


def test_interrupted_writing_is_noticed_and_loses_no_source_silently(
    run, other, copy, refused, monkeypatch
):
    joined = references._joined
    shortened = lambda table, before, new, target: joined(table, before, new, target).iloc[:-1]  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(references, "_joined", shortened)
        patch.setattr(files, "write_json", lambda path, value: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            references.collect([other], copy)
    refused(lambda: references.load("smoke", copy), "git checkout")
    refused(lambda: references.collect([other], copy), "git checkout")
    references.collect([run, other], copy)
    assert set(references.load("smoke", copy)["zoo"]["seed"]) == {0, 1}


def test_changed_list_of_probes_is_refused(copy, refused):
    (copy / "smoke/probes.json").write_text("{}")
    refused(lambda: references.load("smoke", copy), "probes.json", "git checkout")


def test_one_source_is_a_reference_too(run, copy, tmp_path_factory):
    alone = tmp_path_factory.mktemp("alone")
    references.collect([run], alone)
    made = references.load("smoke", alone)
    assert references.label("smoke", made) == "smoke, 1 source"
    assert references.facts("smoke", alone)["sources (seeds)"] == "1 (0)"
    own = tables.summary(tables.of_run(run), *SAC_W)
    pd.testing.assert_frame_equal(tables.summary(made, *SAC_W), own)
    assert tables.text(own.iloc[0]) == str(tables.interval(own.iloc[0]))


def test_two_sources_with_the_same_tables_have_their_mean(folder):
    rows = tables.summary(references.load("smoke", folder), *SAC_W)
    assert (rows["sources"] == 2).all() and rows["smallest"].equals(rows["largest"])
    assert references.label("smoke", references.load("smoke", folder)) == "smoke, 2 sources"


def test_facts_state_every_value_that_differs(folder, copy):
    record = references.provenance("smoke", copy)
    record["sources"]["1"] |= {"device": "cuda", "data": "ImageFolder of 3 jpg files", "models": 7}
    files.write_json(copy / "smoke/provenance.json", record)
    facts = references.facts("smoke", copy)
    assert facts["data"] == "digits; ImageFolder of 3 jpg files"
    assert facts["sources (seeds)"] == "2 (0, 1)"
    assert facts["compression"] == "pixels as published; JPEG files, lossy"
    assert "cuda: " in facts["device"] and facts["models per source"].endswith("; 7")
    assert references.facts("smoke", folder)["images"].startswith("owner 400, attacker 450")


def test_unfit_runs_are_refused(run, refused, tmp_path):
    refused(lambda: references.collect([run, run], tmp_path), "different seeds")
    fresh = open_run("smoke", {"seed": 9}, folder=tmp_path)
    refused(lambda: references.collect([fresh], tmp_path), "is missing", "SEED=9")
    part = open_run("fashion", folder=tmp_path)
    refused(lambda: references.collect([part], tmp_path), "full runs", "fashion", "FULL=1")
    assert not list(tmp_path.glob("*/provenance.json"))


def test_a_run_that_is_not_full_borrows_from_its_own_profile_or_from_the_default(
    folder, tmp_path, run, refused
):
    assert references.for_run(run, folder)[0].startswith("smoke, ")
    refused(lambda: references.for_run(run, tmp_path), "'fashion'", "none")
    shutil.copytree(folder / "smoke", tmp_path / "fashion")
    name, made = references.for_run(run, tmp_path)
    assert name.startswith("fashion, ") and set(made) == set(references.TABLES)


def test_imagefolder_is_described_without_its_place(tmp_path):
    for name in ("a/1.png", "a/2.jpg", "b/1.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    overrides = {"data.name": "imagefolder", "data.path": str(tmp_path)}
    profile = load_profile("smoke", overrides)
    assert references._data(profile) == "ImageFolder of 1 jpg files, 2 png files"


@pytest.mark.parametrize("profile", references.available())
def test_committed_auc_follows_from_the_committed_distances(profile):
    made = references.load(profile)
    last = made["distances"]["seed"].max()  # a check by loops, below, looks at all sources
    table = tables.auc_table(select(made["distances"], seed=last))
    committed = select(made["auc"], seed=last).drop(columns="seed").reset_index(drop=True)
    pd.testing.assert_frame_equal(table, committed, check_dtype=False, atol=1e-9)


@pytest.mark.parametrize("profile", references.available())
def test_committed_auc_counts_ordered_pairs(profile):
    """The same by loops, for some cells, without any of our functions."""
    made = references.load(profile)
    labels = {label: step for step, label in steps.LABELS.items()}
    chosen = select(made["auc"], negatives=["attacker data", "owner data"])
    names = {"Transfer-A": "independent_transfer", "Transfer-L": "independent_transfer"}
    names["Transfer-10C"] = "independent_corrupted"
    usual = {"attacker data": "independent", "owner data": "independent_owner"}
    usual = {name: [step, f"{step}_plain"] for name, step in usual.items()}
    columns = ["seed", "probes", "n_probes", "form", "measure"]
    for row in chosen.sample(60, random_state=0).to_dict("records"):
        part = made["distances"]
        for column in columns:
            part = part[part[column] == row[column]]
        negative = usual[row["negatives"]]
        if row["attack"] in names:
            negative = [names[row["attack"]]]
        stolen = part[part["step"] == labels[row["attack"]]]["distance"]
        independent = part[part["step"].isin(negative)]["distance"]
        wins = sum((a < b) + (a == b) / 2 for a in stolen for b in independent)
        assert row["auc"] == pytest.approx(wins / len(stolen) / len(independent))
        assert (row["n_stolen"], row["n_independent"]) == (len(stolen), len(independent))


@pytest.mark.parametrize("profile", references.available())
def test_committed_references_are_whole_and_speak_the_words_of_the_book(profile):
    made, record = references.load(profile), references.provenance(profile)
    assert record["profile"] == profile
    assert set(record["sources"]) == {str(seed) for seed in made["zoo"]["seed"]}
    words = pd.concat([made["zoo"]["step"], made["costs"]["method"]])
    assert (
        not words.str.contains("irrelevant|reference").any()
        and np.isfinite(made["auc"]["auc"]).all()
    )
