"""Ablations agree with the main table where they vary nothing, and are for full runs only."""

import pandas as pd
import pytest

from sacutils import correlation, steps
from sacutils.studies import ablations, tables
from sacutils.studies.tables import select


@pytest.fixture(scope="module")
def table(run):
    return ablations.table(run)


def test_ablations_reproduce_the_main_cells(run, table):
    """The setting that the profile has must give the AUC of the main table."""
    cells = {
        ("number of probes", "SAC-w, labels", str(run.profile.probes.count)): ("w", "labels"),
        ("output form", "SAC-m", "logits"): ("m", "logits"),
        ("bandwidth", "SAC-w, probabilities", "cosine"): ("w", "probabilities"),
        ("patch size", "corner, probabilities", "0.2"): ("m", "probabilities"),
        ("JPEG quality", "labels", "25"): ("jc", "labels"),
        ("surrogates", "SAC-w, probabilities", str(len(run.names("surrogate")))): (
            "w",
            "probabilities",
        ),
        ("negatives", "SAC-w, labels", "attacker data"): ("w", "labels"),
    }
    for (ablation, series, setting), (probe_set, form) in cells.items():
        part = select(table, ablation=ablation, series=series, setting=setting).set_index("attack")
        for attack in ablations.ATTACKS:
            row, expected = (
                part.loc[steps.LABELS[attack]],
                tables.cell(run, attack, probe_set, form),
            )
            assert tables.interval(row) == pytest.approx(expected, abs=1e-5), (ablation, attack)


def test_unit_bandwidth_is_the_rbf_of_the_main_table(run, table):
    part = select(table, ablation="bandwidth", series="SAC-w, probabilities", setting="1.0")
    expected = tables.cell(run, "prune", "w", "probabilities", "rbf").value
    assert part.set_index("attack").loc["Pruning", "auc"] == pytest.approx(expected, abs=1e-6)


def test_trained_ablations_name_their_settings_and_fidelity(run, table):
    epochs = select(table, ablation="extraction epochs", series="SAC-w, labels")
    assert epochs["setting"].tolist() == ["3", "5"]
    for row, made in zip(epochs.to_dict("records"), (run.variant("epochs-3"), run), strict=True):
        fidelity = [made.zoo.record(name)["fidelity"] for name in made.names("extract_label")]
        assert row["fidelity"] == pytest.approx(sum(fidelity) / len(fidelity))
    images = select(table, ablation="attacker images", series="SAC-w, labels")
    assert images["setting"].tolist() == ["250", "500"]
    groups = select(table, ablation="negatives", attack="Extract-L")["setting"]
    assert "attacker data, students' recipe" in set(groups)


def test_distance_to_independent_models_of_the_students_recipe_is_that_of_the_variant(run, table):
    made = run.variant("students-recipe")
    trained = {run.zoo.path(name) for name in run.names("independent")}
    assert not trained & {made.zoo.path(name) for name in made.names("independent")}
    rows = select(table, ablation="negatives", setting="attacker data, students' recipe")
    assert set(rows["n_independent"]) == {len(made.names("independent"))} and len(rows) == 8


def test_a_run_that_is_not_full_has_no_ablations(run, refused):
    other = type(run)(run.profile.model_copy(update={"full": False}), run.shared.parent)
    refused(lambda: ablations.table(other), "not full", "FULL=1")


def test_another_variant_makes_the_table_stale(run, table, monkeypatch):
    calls = []
    monkeypatch.setattr(
        type(run), "keep_table", lambda self, name, digest, make: calls.append(digest)
    )
    ablations.table(run)
    variants = {name: made for name, made in run.profile.variants.items() if name != "epochs-3"}
    for changed in ({"variants": variants}, {"bootstrap": 300}):
        ablations.table(type(run)(run.profile.model_copy(update=changed), run.shared.parent))
    watermarked = {
        name: made for name, made in run.profile.variants.items() if name != "watermarked"
    }
    update = {"variants": watermarked}
    ablations.table(type(run)(run.profile.model_copy(update=update), run.shared.parent))
    assert len(set(calls[:3])) == 3 and calls[3] == calls[0]


def test_movements_count_the_settings_whose_intervals_are_apart():
    lows, highs = (0.1, 0.5, 0.7), (0.4, 0.8, 0.9)
    columns = {"ablation": "x", "series": "y", "setting": ["1", "2", "3"], "attack": "Extract-L"}
    columns |= {
        "n_stolen": 4,
        "n_independent": 5,
        "auc": [0.3, 0.6, 0.8],
        "low": lows,
        "high": highs,
    }
    found = ablations.movements(pd.DataFrame(columns)).iloc[0]
    apart = sum(lows[j] > highs[i] or lows[i] > highs[j] for i in range(3) for j in range(i))
    assert (found["apart"], found["pairs"], found["lowest"], found["highest"]) == (
        apart,
        3,
        0.3,
        0.8,
    )
    assert found["gap"] == pytest.approx(0.5) and (found["low_at"], found["high_at"]) == ("1", "3")
    few = ablations.movements(pd.DataFrame(columns | {"n_stolen": 2})).iloc[0]
    assert (few["pairs"], few["apart"], few["gap"]) == (0, 0, 0.0)


def test_unchanged_outputs_have_no_distance(run):
    outputs = {name: run.outputs("w", name) for name in run.names("source", "prune")}
    distance = ablations._distances(run, outputs)
    assert distance[run.zoo.source] == 0
    name = run.names("prune")[0]
    matrices = (run.matrix("w", model) for model in (run.zoo.source, name))
    assert distance[name] == pytest.approx(correlation.distance(*matrices).item(), abs=1e-12)
