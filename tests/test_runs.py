"""A run: everything is made once, kept, and made again when it is not what its record says."""

import numpy as np
import pandas as pd
import pytest
import torch

from sacutils import attacks, correlation, evaluation, lineage, runs, training
from sacutils.probes import PROBE_SETS
from sacutils.runs import open_run

from .conftest import listing

SOURCE = "source(vgg_bn_s)#0"


def reopened(run, **overrides):
    return open_run("smoke", overrides, folder=run.shared.parent)


def test_opening_computes_nothing(tmp_path, refused):
    run = open_run("smoke", {"seed": 5}, folder=tmp_path)
    assert listing(tmp_path) == [] and run.folder == tmp_path / "smoke-seed5" and run.shared == tmp_path / "smoke"
    refused(lambda: open_run("smoke", {"sede": 5}, folder=tmp_path), "sede")


def test_everything_is_loaded_the_second_time(run, monkeypatch):
    assert run.logits and run.probes
    for module, name in ((attacks, "train"), (training, "train"), (runs, "make_probes"), (runs, "make_logits")):
        monkeypatch.setattr(module, name, None)
    again = reopened(run)
    for probe_set in PROBE_SETS:
        assert torch.equal(again.probes[probe_set].pixels, run.probes[probe_set].pixels)
        assert all(torch.equal(value, again.logits[probe_set][name]) for name, value in run.logits[probe_set].items())
    assert again.models.equals(run.models)


@pytest.mark.parametrize("name", ["probes/probes", "outputs/logits"])
@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_damaged_file_is_reported_and_made_again(run, capsys, name, suffix):
    assert run.logits
    weights, damaged = run.folder / f"{name}.safetensors", run.folder / f"{name}.{suffix}"
    content = weights.read_bytes()
    damaged.write_bytes(damaged.read_bytes()[:-7])
    again = reopened(run)
    assert again.probes and again.logits
    assert weights.read_bytes() == content and weights.name in capsys.readouterr().out
    reopened(run)._load_or_make(name, ["runs.make_probes"] + ["runs.make_logits"] * name.startswith("o"), dict)
    assert capsys.readouterr().out == "" and weights.read_bytes() == content


def test_other_probes_do_not_retrain(run, monkeypatch):
    assert run.models is not None
    monkeypatch.setattr(attacks, "train", None)
    other = reopened(run, **{"probes.count": 6})
    assert other.folder != run.folder and len(other.probes["w"].index) == 6
    assert torch.equal(other.probes["normal"].pixels, run.probes["normal"].pixels[:6])


def test_more_probes_than_misclassified_images_are_refused(run, refused):
    other = reopened(run, **{"probes.count": 400})
    refused(lambda: other.probes, "probes.count", "asks for 400", "the source misclassify")
    assert not (other.folder / "probes").exists() or listing(other.folder / "probes") == []


def test_probes_are_images_of_the_probe_split_and_nobody_trained_on_them(run):
    trained = torch.cat([run.material.index["owner"], run.material.index["attacker"], run.material.index["test"]]).tolist()
    record = runs.artefacts.read_json(run.folder / "probes" / "probes.json")
    for name, made in run.probes.items():
        numbers = run.material.index["probe"][made.index].tolist()
        assert record["images"][f"{name}.image"] == numbers and not set(numbers) & set(trained)
        assert len(made.pixels) == run.profile.probes.count and made.pixels.dtype == torch.uint8
    split = run.material.splits["probe"]
    for name in ("normal", "source", "w"):
        assert torch.equal(run.probes[name].pixels, split.pixels[run.probes[name].index])
    for name in ("m", "jc"):
        assert not torch.equal(run.probes[name].pixels, run.probes["normal"].pixels)


def test_misclassified_probes_are_misclassified(run):
    labels = run.material.splits["probe"].labels
    for probe_set, names in (("source", [SOURCE]), ("w", [SOURCE, *run.names("surrogate")])):
        for name in names:
            assert (run.logits[probe_set][name].argmax(1) != labels[run.probes[probe_set].index]).all()


def test_logits_are_the_models_answers(run):
    for name in (SOURCE, "irrelevant(resnet_s)#0", f"{SOURCE} > transfer_all#0"):
        expected = run.zoo.get(name)(run.probes["m"].pixels.float() / 255)
        assert torch.allclose(run.logits["m"][name], expected, atol=1e-4)


def test_distances_against_loops(run):
    table = run.distances
    others = [name for name in run.names() if name != SOURCE]
    assert len(table) == len(PROBE_SETS) * 3 * 2 * len(others) and set(table["model"]) == set(others)
    assert table["distance"].between(0, 1).all() and not table.isna().any().any()
    assert not table.duplicated(["probes", "form", "measure", "model"]).any()
    for row in table.sample(12, random_state=0).to_dict("records"):
        probe_set = next(key for key, label in PROBE_SETS.items() if label == row["probes"])
        matrices = []
        for name in (SOURCE, row["model"]):
            logits = run.logits[probe_set][name].double().numpy()
            shown = correlation.to_form(torch.from_numpy(logits), row["form"]).numpy()
            matrix = np.empty((len(shown), len(shown)))
            for i, a in enumerate(shown):
                for j, b in enumerate(shown):
                    matrix[i, j] = (1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / 2
            matrices.append(np.exp(-4 * matrix) if row["measure"] == "rbf" else matrix)
        assert row["distance"] == pytest.approx(np.abs(matrices[0] - matrices[1]).mean(), abs=1e-5)
        assert row["group"] == lineage.LABELS[row["step"]] and row["n_probes"] == run.profile.probes.count


def test_models_with_equally_many_equal_labels_tie(run):
    table = run.distances.query("probes == 'SAC-source' and form == 'labels' and measure == 'cosine'")
    by_count: dict[int, set[float]] = {}
    for name, value in zip(table["model"], table["distance"], strict=True):
        labels = [run.logits["source"][model].argmax(1).tolist() for model in (SOURCE, name)]
        pairs = [(i, j) for i in range(10) for j in range(10)]
        count = sum((labels[0][i] == labels[0][j]) != (labels[1][i] == labels[1][j]) for i, j in pairs)
        by_count.setdefault(count, set()).add(value)
    assert {len(values) for values in by_count.values()} == {1} and 1 < len(by_count) < len(table)


def test_auc_table_compares_each_attack_with_its_own_irrelevant_models(run):
    table, distances = run.auc, run.distances
    counts = {"Transfer-A": 2, "Transfer-L": 2, "Transfer-10C": 2}
    every = table[table["negatives"] == lineage.MAIN_NEGATIVES]
    assert len(every) == len(PROBE_SETS) * 3 * 2 * len(lineage.ATTACKS)
    for row in every.sample(15, random_state=0).to_dict("records"):
        same = (
            (distances["probes"] == row["probes"])
            & (distances["form"] == row["form"])
            & (distances["measure"] == row["measure"])
        )
        assert row["n_irrelevant"] == counts.get(row["attack"], 3)
        negatives = {"Transfer-A": ["irrelevant_transfer"], "Transfer-L": ["irrelevant_transfer"]}
        negatives["Transfer-10C"] = ["irrelevant_corrupted"]
        steps = negatives.get(row["attack"], ["irrelevant"])
        stolen = distances[same & (distances["group"] == row["attack"])]["distance"].to_numpy()
        irrelevant = distances[same & distances["step"].isin(steps)]["distance"].to_numpy()
        assert (row["n_stolen"], row["n_irrelevant"]) == (len(stolen), len(irrelevant))
        pairs = [1.0 if s < i else 0.5 if s == i else 0.0 for s in stolen for i in irrelevant]
        assert row["auc"] == pytest.approx(np.mean(pairs)) and row["low"] <= row["auc"] + 1e-12
        assert row["auc"] - 1e-12 <= row["high"]
        assert row["tpr_at_5fpr"] == pytest.approx(evaluation.tpr_at_fpr(stolen, irrelevant))


def test_groups_of_negatives_are_parts_of_all(run):
    chosen = run.auc[(run.auc["attack"] == "Extract-L") & (run.auc["probes"] == "SAC-w") & (run.auc["form"] == "labels")]
    counts = chosen[chosen["measure"] == "cosine"].set_index("negatives")["n_irrelevant"].to_dict()
    assert counts == {"all": 4, "attacker data": 3, "owner data": 1}
    assert set(run.auc[run.auc["attack"] == "Transfer-A"]["negatives"]) == {"attacker data"}


def test_cell_of_the_auc_table(run):
    cell = run.auc_of("extract_probability", "jc", "logits", "rbf")
    rows = run.auc.query("attack == 'Extract-P' and probes == 'SAC-JC' and form == 'logits' and measure == 'rbf'")
    row = rows[rows["negatives"] == "attacker data"].iloc[0]
    assert len(rows[rows["negatives"] == "attacker data"]) == 1 and cell == (row["auc"], row["low"], row["high"])


def test_table_of_models(run):
    table = run.models
    assert list(table["name"]) == list(lineage.plan(run.profile)) and table["sha256"].is_unique
    assert table["test_accuracy"].between(0, 1).all() and set(table["group"]) == set(lineage.LABELS.values())


def test_tables_are_the_same_to_the_last_byte(run):
    run.write_tables()
    folder = run.folder / "tables"
    first = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    assert set(first) == {"zoo.csv", "distances.csv", "auc.csv", "costs.csv", "ablations.csv"}
    for name in ("zoo", "distances", "auc"):
        (folder / f"{name}.csv").unlink()
    reopened(run).write_tables()
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == first
    back = pd.read_csv(folder / "distances.csv")
    assert len(back) == len(run.all_distances) and back["distance"].equals(run.all_distances["distance"])
