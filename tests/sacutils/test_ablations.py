"""Ablations agree with the main table where they vary nothing, and are for full runs only."""

import pandas as pd
import pytest

from sacutils import correlation, steps
from sacutils.studies import ablations, comparison, tables
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
        ("surrogates", "SAC-w, probabilities", str(len(run.names(*steps.SURROGATES)))): (
            "w",
            "probabilities",
        ),
        ("negatives", "SAC-w, labels", "attacker data"): ("w", "labels"),
    }
    for (ablation, series, setting), (probe_set, form) in cells.items():
        part = select(table, ablation=ablation, series=series, setting=setting)
        part = select(part, negatives=steps.MAIN_NEGATIVES).set_index("attack")
        for attack in ablations.ATTACKS:
            row, expected = (
                part.loc[steps.LABELS[attack]],
                tables.cell(run, attack, probe_set, form),
            )
            assert tables.interval(row) == pytest.approx(expected, abs=1e-5), (ablation, attack)


def test_unit_bandwidth_is_the_rbf_of_the_main_table(run, table):
    part = select(table, ablation="bandwidth", series="SAC-w, probabilities", setting="1.0")
    part = select(part, negatives=steps.MAIN_NEGATIVES)
    expected = tables.cell(run, "prune", "w", "probabilities", "rbf").value
    assert part.set_index("attack").loc["Pruning", "auc"] == pytest.approx(expected, abs=1e-6)


def test_trained_ablations_name_their_settings_and_fidelity(run, table):
    epochs = select(table, ablation="extraction epochs", series="SAC-w, labels")
    epochs = select(epochs, negatives=steps.MAIN_NEGATIVES)
    assert epochs["setting"].tolist() == ["3", "6"]
    for row, made in zip(epochs.to_dict("records"), (run.variant("epochs-3"), run), strict=True):
        fidelity = [made.zoo.record(name)["fidelity"] for name in made.names("extract_label")]
        assert row["fidelity"] == pytest.approx(sum(fidelity) / len(fidelity))
    images = select(table, ablation="attacker images", series="SAC-w, labels")
    images = select(images, negatives=steps.MAIN_NEGATIVES)
    # each thief draws a share of the attacker's images
    whole = len(run.zoo.task(run.names("extract_label")[0]).images.labels)
    assert whole < len(run.material.splits["attacker"].labels)
    assert images["setting"].tolist() == [str(whole // 2), str(whole)]


def test_groups_of_negatives_hold_their_models(run, table):
    rows = select(table, ablation="negatives", series="SAC-w, labels", attack="Extract-L")
    found = rows.set_index("setting")["n_independent"].to_dict()
    count = {step: len(run.names(step)) for step in steps.STEPS}
    assert found["students of another"] == (
        count["student_of_sibling"] + count["student_of_stranger"]
    )
    assert found["siblings"] == count["sibling"]
    assert found["attacker data, plain"] == count["independent_plain"]
    assert found["owner data, plain"] == count["independent_owner_plain"]
    assert found["overlap, 50%"] == count["overlap"]
    assert (rows["setting"] == rows["negatives"]).all()


def test_a_hidden_temperature_of_one_is_the_main_cell_and_matching_undoes_others(run, table):
    part = select(table, ablation="temperature", attack="Extract-L", negatives="attacker data")
    matched = select(part, series="SAC-w, matched")["auc"]
    assert len(matched) == 4 and matched.nunique() == 1  # no temperature changes what is matched
    by_setting = select(part, series="SAC-w, probabilities").set_index("setting")["auc"]
    assert list(by_setting.index) == ["1", "1.5", "2", "3"]
    assert by_setting["1"] == pytest.approx(tables.cell(run, "extract_label").value, abs=1e-6)
    outputs = {name: run.outputs("w", name, "logits") for name in run.names("extract_label")}
    source = run.matrix("w", run.zoo.source)
    soft = [correlation.cosine_matrix((z / 3).softmax(-1)) for z in outputs.values()]
    stolen = [correlation.distance(source, matrix).item() for matrix in soft]
    others = [
        correlation.distance(source, run.matrix("w", name)).item()
        for name in run.names(*steps.NEGATIVES["attacker data"])
    ]
    pairs = [(a < b) + 0.5 * (a == b) for a in stolen for b in others]
    assert by_setting["3"] == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_the_usual_style_and_radius_are_the_cells_of_the_main_tables(run, table):
    auc = comparison.auc(run)
    where = {"attack": "Extract-L", "negatives": "students of another"}
    style = {"ablation": "thief's style", "setting": "Extract-L"}
    cells = {
        ("AKH", "labels", "label agreement"): style | {"series": "AKH, labels"},
        ("SAC-w", "labels", "cosine"): style | {"series": "SAC-w, labels"},
        ("ModelDiff", "probabilities", "decision distances"): {
            "ablation": "twin radius",
            "setting": "0.03",
        },
    }
    for key, chosen in cells.items():
        row = select(table, **where, **chosen)
        main = select(tables.fingerprint(auc, *key), **where)
        for column in ("auc", "low", "high"):
            assert row[column].item() == pytest.approx(main[column].item(), abs=1e-6)
    styles = select(table, ablation="thief's style", series="AKH, labels", negatives="siblings")
    assert styles["setting"].tolist() == [steps.LABELS[name] for name in ablations.STYLES]


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
    fewer = run.profile.probes.model_copy(update={"count": 9})
    for changed in ({"variants": variants}, {"probes": fewer}):
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
        "negatives": "attacker data",
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


def test_unchanged_outputs_have_no_distance(run):
    outputs = {name: run.outputs("w", name) for name in run.names("source", "prune")}
    distance = ablations._distances(run, outputs)
    assert distance[run.zoo.source] == 0
    name = run.names("prune")[0]
    matrices = (run.matrix("w", model) for model in (run.zoo.source, name))
    assert distance[name] == pytest.approx(correlation.distance(*matrices).item(), abs=1e-12)
