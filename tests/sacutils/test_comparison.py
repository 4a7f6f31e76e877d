"""SAC and its rivals in one table: the rows are what the definitions give, nothing is judged that
cannot be, and an edit of one rival measures that one again and no other.
"""

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sacutils import files, freshness, rivals, steps, training
from sacutils.probes import PROBE_SETS, PUBLISHED
from sacutils.rivals import zest
from sacutils.studies import comparison, tables
from sacutils.studies.tables import select

NEW_LABELS = {"transfer_all", "transfer_last", "independent_transfer"}


@pytest.fixture(scope="module")
def distances(run) -> pd.DataFrame:
    return comparison.distances(run)


def test_all_rivals_and_the_five_probe_sets_in_one_table(run, distances):
    auc = comparison.auc(run)
    assert set(auc["probes"]) == set(rivals.NAMES) | set(PROBE_SETS.values())
    assert set(auc["n_probes"]) == {run.profile.probes.count, run.profile.probes.second_count}
    for (probes, n), part in auc.groupby(["probes", "n_probes"]):
        found = set(part["attack"])
        assert {"Extract-L", "Extract-P", "Extract-Adv", "Finetune-A"} <= found, (probes, n)
    keys = ["probes", "n_probes", "form", "measure", "model"]
    assert not distances.duplicated(keys).any() and np.isfinite(distances["distance"]).all()
    assert list(distances) == [*keys, "step", "group", "architecture", "distance"]
    alone = tables.distances(run)
    assert distances.iloc[: len(alone)].equals(alone)
    assert list(dict.fromkeys(distances["probes"][len(alone) :])) == list(rivals.NAMES)


def test_label_matching_judges_no_suspect_with_other_classes(distances):
    assert not set(select(distances, measure="label agreement")["step"]) & NEW_LABELS
    for name in ("ModelDiff", "FBI (QuRD)", "Dataset Inference"):
        assert set(select(distances, probes=name)["step"]) >= NEW_LABELS
    assert not set(select(distances, probes=["EWE", "FBI", "Zest"])["step"]) & NEW_LABELS
    assert "source" not in set(distances["step"])


def test_helpers_and_controls_are_not_judged_and_students_of_another_are(run):
    for name in rivals.NAMES:
        judged = {spec.step for _, spec, _ in comparison.suspects(run, rivals.rival(name))}
        assert {steps.STEPS[step].role for step in judged} == {"stolen", "independent"}
        assert judged >= set(steps.INDEPENDENT)
    auc = comparison.auc(run)
    groups = set(steps.negative_sets("extract_label"))
    for name in rivals.NAMES:
        assert set(select(auc, probes=name, attack="Extract-L")["negatives"]) == groups


def test_random_is_agreement_on_the_normal_probes_and_akh_on_the_mistakes(run, distances):
    table = select(distances, measure="label agreement", n_probes=run.profile.probes.count)
    for rival, probes in (("Random", "SAC-normal"), ("AKH", "SAC-source")):
        one, other = (
            select(table, probes=name).set_index("model")["distance"] for name in (rival, probes)
        )
        assert one.equals(other) and len(one) > 5


def test_watermarked_suspects_descend_from_the_watermarked_source(run):
    ewe = rivals.rival("EWE")
    judged = comparison.suspects(run, ewe)
    stolen = [row for row in judged if row[1].step in steps.ATTACKS]
    marked = steps.digests(steps.variant(run.profile, "watermarked"))
    assert stolen and all(name.startswith("watermarked(") for _, _, name in stolen)
    for home, spec, _ in stolen:
        assert marked[spec.name][:12] in home.zoo.path(spec.name).name
    independent = {spec.name for _, spec, _ in judged if spec.step == "independent"}
    assert independent == set(run.names("independent"))
    assert comparison.setting(run, ewe).watermark.target_class == 8
    assert comparison.setting(run, rivals.rival("Zest")).watermark is None


def test_what_is_measured_trains_no_helper_of_the_watermarked_source(run):
    comparison.measured(run, "EWE")
    marked = run.variant("watermarked")
    surrogates = [name for name in marked.names() if marked.zoo.specs[name].step == "surrogate"]
    assert surrogates and set(surrogates) <= set(marked.zoo.missing(surrogates))


@cache
def all_queries(run, name):
    """The queries of a rival, made anew and not read from what the run keeps."""
    rival = rivals.rival(name)
    return rival.queries(comparison.setting(run, rival), run.profile.probes.count)


@pytest.mark.parametrize("budget", ["count", "second_count"])
@pytest.mark.parametrize("name", ["IPGuard", "ModelDiff", "FBI", "AKH", "Zest"])
def test_a_distance_of_the_table_is_that_of_the_model(run, distances, name, budget):
    rival, n = rivals.rival(name), getattr(run.profile.probes, budget)
    home, spec, shown = comparison.suspects(run, rival)[3]
    queries = all_queries(run, name).first(n // 2 if name == "ModelDiff" else n)
    shape = queries.pixels.shape
    outputs = [
        training.logits_of(run.zoo.get(model), queries.pixels.reshape(-1, *shape[2:])).double()
        for model in (run.zoo.source, spec.name)
    ]
    given = [logits.reshape(*shape[:2], -1) for logits in outputs]
    cell = select(distances, probes=name, model=shown, n_probes=n)["distance"].item()
    expected = float(rival.distance(*given, queries.extra))
    assert cell == pytest.approx(expected, abs=1e-9) and home is run


def test_an_auc_of_the_table_counts_the_pairs_in_order(run, distances):
    part = tables.fingerprint(distances, "ModelDiff", "probabilities", "decision distances")
    stolen, independent = (
        part.loc[part["step"].isin(kinds), "distance"].tolist()
        for kinds in (["extract_probability"], steps.NEGATIVES[steps.MAIN_NEGATIVES])
    )
    pairs = [(a < b) + 0.5 * (a == b) for a in stolen for b in independent]
    row = tables.fingerprint(
        comparison.auc(run), "ModelDiff", "probabilities", "decision distances"
    )
    cell = select(row, attack="Extract-P", negatives=steps.MAIN_NEGATIVES).iloc[0]
    assert cell["auc"] == pytest.approx(sum(pairs) / len(pairs), abs=1e-11)
    assert (cell["n_stolen"], cell["n_independent"]) == (len(stolen), len(independent))


def test_costs_are_measured_and_count_what_is_needed(run):
    table = comparison.costs(run).set_index("method")
    assert list(table.index) == [*PUBLISHED.values(), *rivals.NAMES]
    assert (table[["seconds_make", "seconds_check"]] > 0).all(axis=None)
    count = run.profile.probes.count
    assert table.loc["Zest", "queries"] == count * zest.MASKS
    assert table.loc["ModelDiff", "queries"] == table.loc["SAC-w", "queries"] == count
    assert table.loc["Zest (equal queries)", "queries"] <= count

    def trained(*kinds):
        return pytest.approx(sum(run.zoo.record(name)["seconds"] for name in run.names(*kinds)))

    assert table.loc["CAE", "choosers"] == len(run.names(*steps.CHOOSERS))
    everyone = trained(*steps.SURROGATES, *steps.CHOOSERS)
    assert table.loc["CAE", "seconds_models"] == everyone
    assert table.loc["SAC-w", "seconds_models"] == trained(*steps.SURROGATES)
    assert table.loc["SAC-w", "surrogates"] == len(run.names(*steps.SURROGATES))
    assert (table.loc[["SAC-m", "SAC-source", "FBI"], "seconds_models"] == 0).all()
    marked = run.variant("watermarked").zoo
    seconds = marked.record(marked.source)["seconds"]
    assert table.loc["EWE", "seconds_models"] == pytest.approx(seconds)
    access = {"SAC-normal": "none", "SAC-source": "answers", "EWE": "training", "CAE": "gradients"}
    assert table["access"][list(access)].to_dict() == access


def test_probes_that_are_timed_are_the_run_s_own(run):
    for kind, asked in (
        ("normal", ()),
        ("source", ("source",)),
        ("w", ("source", *steps.SURROGATES)),
    ):
        names = run.names(*asked) if asked else []
        assert torch.equal(comparison.make_sac(run, kind, names).index, run.probes[kind].index)
        assert comparison.check_sac(run, kind).item() == pytest.approx(0, abs=1e-6)


def test_quality_of_made_probes_is_kept(run):
    assert 0 <= comparison.measured(run, "IPGuard")["share.arrived"] <= 1
    assert 0 <= comparison.measured(run, "CAE")["share.passed"] <= 1
    assert "share.arrived" not in comparison.measured(run, "FBI")


@pytest.mark.parametrize(("taken", "expected"), [([0.9, 0.2, 9, 0.3], 0.3), ([1.2], 1.2)])
def test_seconds_leave_the_first_call_out_unless_it_is_slow(monkeypatch, taken, expected):
    left = iter(taken)

    def repeat(function, repeat, number):
        return [function() or next(left) for _ in range(repeat * number)]

    calls = []
    monkeypatch.setattr(comparison.timeit, "repeat", repeat)
    assert comparison.seconds(lambda: calls.append(1), repeats=3) == expected
    assert len(calls) == len(taken)


def test_no_model_is_asked_again_what_sac_asked(run, monkeypatch):
    run.logits  # noqa: B018

    def never(*_):
        raise AssertionError("asked again")

    for name in ("Random", "AKH", "FBI", "FBI (QuRD)"):
        rival = rivals.rival(name)
        suspect = run.zoo.get(run.names("independent")[0])
        with monkeypatch.context() as patch:
            patch.setattr(suspect, "forward", never)
            assert comparison.measure(run, rival)["queries"] == run.profile.probes.count


def test_all_tables_of_a_run(run):
    found = comparison.tables_of(run)
    assert set(found) == set(tables.TABLES) - {"verdicts", "attacks"}  # which judge otherwise
    assert all((table["seed"] == run.profile.seed).all() for table in found.values())
    assert found["distances"].drop(columns="seed").equals(comparison.distances(run))


# What is measured again


def forget() -> None:
    """Read the code again; the models' own digests, which are not in question here, stay."""
    freshness._module.cache_clear()
    freshness.code_digest.cache_clear()


@pytest.fixture(scope="module")
def unedited(run) -> dict[str, str]:
    return {name: comparison.measured_digest(run, name) for name in rivals.NAMES}


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of the package that digests are computed of."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(freshness.FOLDER / "sacutils", tmp_path / "sacutils", ignore=ignored)
    monkeypatch.setattr(freshness, "FOLDER", tmp_path)
    yield tmp_path / "sacutils"
    monkeypatch.undo()
    forget()


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    forget()


ZEST, IPGUARD = {"Zest", "Zest (equal queries)"}, {"IPGuard", "IPGuard (QuRD)"}


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("rivals/zest.py", "GRID, MASKS, EQUAL = 4, 64", "GRID, MASKS, EQUAL = 4, 65", ZEST),
        ("rivals/zest.py", "masks[0] = 1\n", "masks[1] = 1\n", ZEST),
        ("rivals/cae.py", "RADIUS, DROPOUT, KEEP = 5e-3", "RADIUS, DROPOUT, KEEP = 6e-3", {"CAE"}),
        ("rivals/ewe.py", "marked[:count, None]", "marked[-count:, None]", {"EWE"}),
        ("rivals/labels.py", "!= suspect", "== suspect", {"Random", "AKH", "CAE", *IPGUARD}),
        ("rivals/labels.py", "predictions[None]", "predictions[None] * 1", {"AKH"}),
        ("rivals/kinds.py", "CANDIDATES = 2", "CANDIDATES = 3", {"CAE", *IPGUARD}),
        ("rivals/fbi.py", "whatever the symbols", "however the symbols", set()),
        ("studies/comparison.py", "max(2, len", "max(3, len", set(rivals.NAMES)),
        ("studies/tables.py", "round(float(value), 12)", "round(float(value), 11)", set()),
        ("correlation.py", ".add_(1).div_(2)", ".add_(1).div_(3)", set()),
    ],
)
def test_an_edit_measures_what_it_touches_again(run, unedited, copied, file, old, new, stale):
    replace(copied / file, old, new)
    after = {name: comparison.measured_digest(run, name) for name in rivals.NAMES}
    assert {name for name in after if after[name] != unedited[name]} == stale


def test_an_edit_of_one_rival_makes_the_tables_again(run, copied):
    def digests() -> list[str]:
        names = ("distances", "auc", "costs")
        return [comparison.table_digest(run, f"studies.comparison.{name}") for name in names]

    before = digests()
    replace(copied / "rivals/zest.py", "MASKS, EQUAL = 4, 64", "MASKS, EQUAL = 4, 65")
    assert not set(before) & set(digests())


def test_another_choice_of_steps_measures_ewe_again(run):
    variants = run.profile.variants
    some = [step for step in variants["watermarked"].steps if step != "transfer_corrupted"]
    fewer = variants | {"watermarked": variants["watermarked"].model_copy(update={"steps": some})}
    other = type(run)(run.profile.model_copy(update={"variants": fewer}), run.shared.parent)
    judged = {spec.step for _, spec, _ in comparison.suspects(run, rivals.rival("EWE"))}
    assert "transfer_corrupted" in judged
    stale = [
        name
        for name in rivals.NAMES
        if comparison.measured_digest(run, name) != comparison.measured_digest(other, name)
    ]
    assert stale == ["EWE"]


def test_what_was_measured_is_loaded(run, monkeypatch):
    first = comparison.measured(run, "FBI")
    assert files.intact(
        run.folder / "outputs/rival-fbi.safetensors", comparison.measured_digest(run, "FBI")
    )
    monkeypatch.setattr(comparison, "measure", None)
    again = comparison.measured(run, "FBI")
    assert all(torch.equal(again[key], value) for key, value in first.items())


def test_variant_shares_images_and_models(run):
    marked = run.variant("watermarked")
    assert marked.material is run.material and marked.shared == run.shared
    assert marked.folder != run.folder
    name = run.names("independent")[0]
    assert marked.zoo.path(name) == run.zoo.path(name)
    assert marked.zoo.path(run.zoo.source) != run.zoo.path(run.zoo.source)
