"""References reload without training, and their AUCs follow from their distances."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sacutils import artefacts, claims, evaluation, lineage, plots, reference, runs
from sacutils.profiles import load_profile
from sacutils.reference import select
from sacutils.runs import open_run


@pytest.fixture(scope="module")
def other(run):
    """A run with another seed, which was never trained and gets the smoke run's tables."""
    return open_run("smoke", {"seed": 1}, folder=run.shared.parent)


@pytest.fixture(scope="module")
def folder(run, other, tmp_path_factory):
    """A reference of the smoke run and of a second one that has its tables, with another seed."""
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


@pytest.fixture
def copy(run, folder, tmp_path, monkeypatch):
    """A copy of the reference to write into, and a description for runs that were never trained."""
    shutil.copytree(folder / "smoke", tmp_path / "smoke")
    described = reference.provenance("smoke", folder)["sources"]["0"]
    monkeypatch.setattr(reference, "describe", lambda each: described)
    return tmp_path


def content(folder):
    return {path.name: path.read_bytes() for path in (folder / "smoke").iterdir()}


def test_a_source_that_is_given_again_is_replaced_and_the_others_stay(run, other, copy):
    changed = pd.read_csv(other.folder / "tables/distances.csv", dtype=str).assign(distance="0.5")
    before = reference.load("smoke", copy)["distances"]
    kept = (other.folder / "tables/distances.csv").read_text()
    try:
        artefacts.write_text(other.folder / "tables/distances.csv", changed.to_csv(index=False))
        reference.collect([other], copy)
    finally:
        artefacts.write_text(other.folder / "tables/distances.csv", kept)
    after = reference.load("smoke", copy)["distances"]
    assert after["seed"].is_monotonic_increasing and (select(after, seed=1)["distance"] == 0.5).all()
    pd.testing.assert_frame_equal(select(after, seed=0), select(before, seed=0))


def test_further_seeds_are_ordered_as_numbers(run, copy):
    later = open_run("smoke", {"seed": 10}, folder=run.shared.parent)
    shutil.copytree(run.folder / "tables", later.folder / "tables")
    shutil.copytree(run.folder / "probes", later.folder / "probes")
    reference.collect([later], copy)
    assert list(reference.provenance("smoke", copy)["sources"]) == ["0", "1", "10"]
    assert list(artefacts.read_json(copy / "smoke/probes.json")) == ["0", "1", "10"]
    for table in reference.load("smoke", copy).values():
        assert list(table["seed"].unique()) == [0, 1, 10]


def test_sources_made_from_other_data_are_not_mixed(run, other, copy, refused, monkeypatch):
    before = content(copy)
    described = reference.describe(run)
    monkeypatch.setattr(reference, "describe", lambda each: described | {"data": "cifar10"})
    refused(lambda: reference.collect([other], copy), "cifar10", "digits")
    assert content(copy) == before
    reference.collect([run, other], copy)  # nothing is kept, so nothing is mixed
    assert reference.provenance("smoke", copy)["sources"]["1"]["data"] == "cifar10"


def test_tables_with_other_columns_are_not_mixed(run, other, copy, refused, monkeypatch):
    before = content(copy)
    monkeypatch.setattr(reference, "LEFT_OUT", reference.LEFT_OUT | {"auc": ["tpr_at_5fpr"]})
    refused(lambda: reference.collect([other], copy), "auc.csv", "tpr_at_5fpr")
    assert content(copy) == before


def test_interrupted_writing_is_noticed_and_loses_no_source_silently(run, other, copy, refused, monkeypatch):
    changed = pd.read_csv(other.folder / "tables/zoo.csv", dtype=str).assign(test_accuracy="0.1")
    monkeypatch.setattr(reference, "_columns", lambda name, each, make=reference._columns: make(name, each).iloc[:-1])
    with monkeypatch.context() as patch:
        patch.setattr(artefacts, "write_json", lambda path, value: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reference.collect([other], copy)
    assert len(changed)
    refused(lambda: reference.load("smoke", copy), "git checkout")
    refused(lambda: reference.collect([other], copy), "git checkout")
    reference.collect([run, other], copy)
    assert set(reference.load("smoke", copy)["zoo"]["seed"]) == {0, 1}


def test_changed_list_of_probes_is_refused(copy, refused):
    (copy / "smoke/probes.json").write_text("{}")
    refused(lambda: reference.load("smoke", copy), "probes.json", "git checkout")


def test_one_source_is_a_reference_too(run, copy, tmp_path_factory):
    alone = tmp_path_factory.mktemp("alone")
    reference.collect([run], alone)
    tables = reference.load("smoke", alone)
    assert (
        reference.label("smoke", tables) == "smoke, 1 source" and reference.facts("smoke", alone)["sources (seeds)"] == "1 (0)"
    )
    assert len(claims.claims(tables))
    row = reference.summary(tables, *claims.SAC_W).iloc[0]
    assert reference.text(row) == str(row.auc)


def test_facts_state_every_value_that_differs(folder, copy):
    record = reference.provenance("smoke", copy)
    record["sources"]["1"] |= {"device": "cuda", "data": "ImageFolder of 3 jpg files", "models": 7}
    artefacts.write_json(copy / "smoke/provenance.json", record)
    facts = reference.facts("smoke", copy)
    assert facts["data"] == "digits; ImageFolder of 3 jpg files" and facts["sources (seeds)"] == "2 (0, 1)"
    assert facts["compression"] == "pixels as published; JPEG files, lossy"
    assert "cuda: " in facts["device"] and facts["models per source"].endswith("; 7")
    assert reference.facts("smoke", folder)["images"].startswith("owner 500, attacker 500")


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


def test_single_source_with_two_models_has_the_score_interval():
    result = reference.over_sources(frame(([1.0, 3.5], [2.0, 3.0, 4.0])), "extract_label", "attacker data")
    assert tuple(result["auc"])[1:] == pytest.approx(evaluation.score_interval(result["auc"].value, 2, 3))


def row(low, value, high, n=8):
    return SimpleNamespace(auc=evaluation.Auc(value, low, high), n_stolen=n, n_irrelevant=n)


@pytest.mark.parametrize(
    ("measured", "published", "word"),
    [
        ((0.90, 0.97, 1.00), 1.00, "reproduces"),  # in the interval
        ((0.96, 0.98, 0.99), 1.00, "reproduces"),  # not in it, but both beyond the bar
        ((0.80, 0.90, 0.94), 1.00, "in part"),  # separation, but less
        ((0.40, 0.60, 0.80), 1.00, "does not"),  # may be guessing
        ((0.60, 0.65, 0.70), 0.81, "in part"),
        ((0.85, 0.95, 1.00), 0.81, "does not"),  # far better than published
        ((0.40, 0.47, 0.55), 0.54, "reproduces"),  # guessing there and here
        ((0.48, 0.75, 0.95), 0.92, "undecided"),  # cannot tell the published value from guessing
        ((0.30, 0.60, 0.80), 0.60, "undecided"),  # half of the scale
        ((0.00, 0.05, 0.20), 0.26, "in part"),
        ((0.60, 0.70, 0.80), 0.26, "does not"),
        ((0.923, 0.93, 0.94), 0.92, "reproduces"),  # 0.92 was rounded
    ],
)
def test_published_values_are_judged_by_the_stated_rule(measured, published, word):
    assert claims.judge(row(*measured), published, 0.95, 0.05) == word


def test_two_models_decide_nothing():
    assert claims.judge(row(0.9, 1.0, 1.0, n=2), 1.0, 0.95, 0.05) == "undecided"


@pytest.mark.parametrize(
    ("low", "value", "high", "alike", "word"),
    [
        (0.01, 0.1, 0.2, False, "reproduces"),
        (-0.2, -0.1, -0.01, False, "does not"),
        (-0.04, 0.0, 0.04, False, "does not"),  # level
        (-0.04, 0.1, 0.3, False, "undecided"),
        (-0.3, -0.1, 0.04, False, "undecided"),
        (np.nan, 0.0, np.nan, True, "does not"),
        (np.nan, 0.2, np.nan, False, "undecided"),
    ],
)
def test_differences_are_judged_by_the_stated_rule(low, value, high, alike, word):
    assert claims.judge_difference({"low": low, "value": value, "high": high, "alike": alike}, 0.05) == word


def test_cells_are_taken_together():
    yes, part, no, unknown = "reproduces", "in part", "does not", "undecided"
    assert claims.together([yes, yes]) == yes and claims.together([unknown]) == unknown
    assert {claims.together(words) for words in ([yes, no], [part, part], [yes, unknown], [part, no])} == {part}
    assert claims.together([no, unknown]) == no


def zoo_of(sources, reversed_cells=(), models=8):
    """A reference with perfect distances, except that stolen models are the farther ones in the cells of `reversed_cells`."""
    steps = [*lineage.ATTACKS, "irrelevant", "irrelevant_owner", "irrelevant_transfer", "irrelevant_corrupted"]
    forms = [(name, form, "cosine") for name in ("SAC-normal", "SAC-source", "SAC-w", "SAC-m", "SAC-JC") for form in FORMS]
    keys = [
        *forms,
        ("AKH", "labels", "label agreement"),
        ("IPGuard", "labels", "label agreement"),
        ("EWE", "labels", "secret label"),
    ]
    distances, zoo, ablated = [], [], []
    for seed in range(sources):
        for step in steps:
            names = [f"{step}#{k}" for k in range(models)]
            fidelity = 0.9 if step in lineage.ATTACKS else 0.6
            fraction = [(k + 1) / 10 if step == "prune" else np.nan for k in range(models)]
            zoo += [(seed, name, step, fidelity, share) for name, share in zip(names, fraction, strict=True)]
            for key in keys:
                own = [f"marked {name}" for name in names] if key[0] == "EWE" and step in lineage.ATTACKS else names
                level = 2 if (key[0], key[1], step) in reversed_cells else int(step not in lineage.ATTACKS)
                distances += [(seed, *key, 10, name, step, level + k / 100) for k, name in enumerate(own)]
        for attack in ("Pruning", "Extract-L", "Extract-P", "Extract-Adv"):
            ablated += [
                (seed, name, series, setting, attack, models, models, value, value - 0.1, value, 0.4)
                for name, series, setting, value in (
                    ("negatives", "SAC-w, probabilities", "attacker data, students' recipe", 0.9 + 0.05 * seed),
                    ("patch size", "centre, probabilities", "0.5", 1.0),
                    ("extraction epochs", "SAC-w, probabilities", "2", 0.2),
                    ("extraction epochs", "SAC-w, probabilities", "20", 1.0),
                )
                if name != "extraction epochs" or attack == "Extract-L"
            ]
    columns = ["seed", "probes", "form", "measure", "n_probes", "model", "step", "distance"]
    measured = ["n_stolen", "n_irrelevant", "auc", "low", "high", "fidelity"]
    costs = pd.DataFrame({"seed": 0, "method": ["SAC-m", "IPGuard", "EWE"], "surrogates": 0, "references": 0})
    return {
        "zoo": pd.DataFrame(zoo, columns=["seed", "name", "step", "fidelity", "fraction"]),
        "distances": pd.DataFrame(distances, columns=columns),
        "auc": pd.DataFrame([(0, *key) for key in keys], columns=["seed", "probes", "form", "measure"]),
        "costs": costs,
        "ablations": pd.DataFrame(ablated, columns=["seed", "ablation", "series", "setting", "attack", *measured]),
    }


FORMS = ("probabilities", "labels", "logits")
EXTRACTED = ("extract_label", "extract_probability", "extract_adversarial")


def verdicts(tables):
    return claims.claims(tables).set_index("claim")


def test_perfect_separation_reproduces_and_nobody_is_better():
    found = verdicts(zoo_of(3))["verdict"]
    assert (found[[f"SAC on {name}" for name in claims.CLAIMED]] == "reproduces").all()
    assert found["SAC-m works without surrogates"] == "reproduces" and found["AKH is on a par"] == "reproduces"
    assert found["SAC is better than IPGuard"] == "does not"  # all alike
    assert found["IPGuard on extraction"] == "in part"  # 0.54 is not in the interval
    assert found["Irrelevant models are nearer"] == "does not" and found["Order of attacks and methods"] == "does not"


def test_a_miss_names_the_choice_that_would_have_reproduced():
    found = verdicts(zoo_of(3, {("SAC-w", "probabilities", step) for step in EXTRACTED})).loc["SAC on Extract-L"]
    assert found["verdict"] == "does not" and found["measured"].startswith("0.00 [0.00, ")
    assert "would reproduce from labels (1.00 [" in found["because"] and "from raw logits" in found["because"]
    assert "owner data" not in found["because"] and "fidelity of the copies 90%, of irrelevant models 60%" in found["because"]
    assert "8 against 8" in found["because"]


def test_a_hit_names_the_choice_that_would_have_missed():
    found = verdicts(zoo_of(3, {("SAC-w", "logits", "extract_label")})).loc["SAC on Extract-L"]
    assert found["verdict"] == "reproduces" and "not from raw logits (0.00 [" in found["because"]
    assert "after 2 epochs of extraction (0.20 [0.10, 0.20])" in found["because"]


def test_light_pruning_is_told_from_heavy_pruning():
    tables = zoo_of(3)
    heavy = (tables["distances"]["step"] == "prune") & tables["distances"]["model"].isin(["prune#6", "prune#7"])
    tables["distances"].loc[heavy & (tables["distances"]["probes"] == "SAC-w"), "distance"] = 9.0
    light = claims.alternatives(tables, "prune")["with the lightest two thirds only"]
    assert light.auc.value == 1 and light.n_stolen == 6
    assert reference.over_sources(reference.fingerprint(tables["distances"], *claims.SAC_W), "prune", "attacker data")[
        "auc"
    ].value == pytest.approx(0.75)


def test_irrelevant_models_that_are_nearer_everywhere_reproduce_that_finding():
    every = {(probes, form, step) for probes in ("SAC-w", "SAC-m") for form in FORMS for step in EXTRACTED}
    found = verdicts(zoo_of(3, every)).loc["Irrelevant models are nearer"]
    assert found["verdict"] == "reproduces" and "18 of 18" in found["measured"]
    some = verdicts(zoo_of(3, {cell for cell in every if cell[1] == "logits"})).loc["Irrelevant models are nearer"]
    assert some["verdict"] == "in part" and "Extract-L from logits" in some["because"]


def test_rivals_that_fail_on_extraction_are_beaten():
    tables = zoo_of(3, {(name, "labels", step) for name in ("IPGuard", "EWE") for step in EXTRACTED})
    found = verdicts(tables)
    assert found.loc["SAC is better than IPGuard", "verdict"] == "reproduces"
    assert found.loc["SAC is better than EWE", "verdict"] == "in part"  # not on pruning, where both are perfect
    assert "not paired" in found.loc["SAC is better than EWE", "because"]
    assert "not paired" not in found.loc["SAC is better than IPGuard", "because"]
    assert found.loc["AKH is on a par", "verdict"] == "reproduces"


def test_methods_that_beat_akh_are_named():
    tables = zoo_of(3, {("AKH", "labels", "extract_label")})
    found = verdicts(tables).loc["AKH is on a par"]
    assert found["verdict"] == "does not" and "IPGuard" in found["because"] and "better than AKH: 11 of 11" in found["measured"]


def test_paired_difference_subtracts_within_each_source():
    tables = zoo_of(2, {("IPGuard", "labels", "extract_label")})
    one, two = claims.SAC_W, ("IPGuard", "labels", "label agreement")
    alone = reference.difference(tables, one, two, ["extract_label"])
    assert (alone["value"], alone["smallest"], alone["largest"]) == (1, 1, 1) and alone["paired"]
    edge = evaluation.score_interval(1.0, 8, 8)[0], evaluation.score_interval(0.0, 8, 8)[1]
    assert (alone["low"], alone["high"]) == pytest.approx((1 - np.hypot(1 - edge[0], edge[1]), 1))
    both = reference.difference(tables, one, two, ["extract_label", "extract_probability"])
    assert both["value"] == 0.5 and 0 < both["low"] < 0.5 < both["high"] < 1
    same = reference.difference(tables, one, one, ["prune"])
    assert same["alike"] and claims.signed(same) == "+0.00\u00a0[–]; +0.00\u00a0to\u00a0+0.00"


def test_unpaired_difference_squares_and_adds():
    tables = zoo_of(2, {("EWE", "labels", "extract_label")})
    found = reference.difference(tables, claims.SAC_W, ("EWE", "labels", "secret label"), ["extract_label"])
    low, high = evaluation.score_interval(1.0, 8, 8)[0], evaluation.score_interval(0.0, 8, 8)[1]
    assert not found["paired"] and found["value"] == found["high"] == 1
    assert found["low"] == pytest.approx(1 - np.hypot(1 - low, high))


def test_ablation_is_the_mean_of_the_sources():
    found = reference.ablation(zoo_of(2), "negatives").set_index("attack").loc["Extract-L"]
    assert tuple(found.auc) == pytest.approx((0.925, 0.825, 0.925)) and found["sources"] == 2
    assert (found.smallest, found.largest) == pytest.approx((0.9, 0.95)) and found.fidelity == pytest.approx(0.4)


def test_table_keeps_published_references_and_own_run_apart(run, folder):
    table = reference.beside(run, {"Pruning": 0.5}, *claims.SAC_W, folder=folder).set_index("attack")
    assert list(table.columns) == ["published", "reference smoke, 2 sources", "this run, smoke"]
    assert list(table.loc[["Pruning", "Extract-L"], "published"]) == ["0.50", "–"]
    tables = reference.load("smoke", folder)
    row = reference.summary(tables, *claims.SAC_W).set_index("attack").loc["Pruning"]
    assert table.loc["Pruning", "reference smoke, 2 sources"] == reference.text(row)
    assert table.loc["Pruning", "this run, smoke"] == str(run.auc_of("prune"))


def test_without_a_reference_the_own_run_stands_beside_the_published_values(run, tmp_path):
    assert reference.available(tmp_path / "nowhere") == []
    table = reference.beside(run, {"Pruning": 0.5}, *claims.SAC_W, folder=tmp_path)
    assert list(table.columns) == ["attack", "published", "this run, smoke"]


def test_own_run_is_judged_like_a_reference_with_one_source(run, folder):
    own, tables = reference.of_run(run), reference.load("smoke", folder)
    for name in reference.TABLES:
        assert own[name].columns[0] == "seed" and set(tables[name].columns) <= set(own[name].columns)
    found = claims.claims(own)
    assert set(found["verdict"]) <= {"reproduces", "in part", "does not", "undecided"} and found["claim"].is_unique
    assert len(found) == len(claims.CLAIMED) + 9
    pd.testing.assert_frame_equal(claims.claims(own), found)


def test_figure_shows_each_source_and_the_mean(folder):
    tables = reference.load("smoke", folder)
    key = ("SAC-m", "probabilities", "cosine")
    rows = reference.per_source(tables, *key, lineage.MAIN_NEGATIVES).assign(reference="smoke")
    means = reference.summary(tables, *key).assign(reference="smoke", probes="SAC-m")
    figure = plots.sources(rows, means)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == len(lineage.ATTACKS) and shown[0].get_title() == "Finetune-A (smoke)"
    dots, interval, tick = shown[3].lines[:3]
    expected = means.set_index("attack").loc["Extract-L", "auc"]
    assert len(dots.get_xdata()) == 2 and list(interval.get_xdata()) == [expected.low, expected.high]
    assert list(tick.get_xdata()) == [expected.value]
