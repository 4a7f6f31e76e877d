"""What the attack chapters show of their models agrees with the records of these models."""

import numpy as np
import pandas as pd
import pytest
import torch

from sacutils import evaluation, training
from sacutils.studies import suspects


def test_suspects_are_the_records_of_their_models(run):
    rows = suspects.suspects(run, "extract_label", "transfer_all").set_index("name")
    assert list(rows.index) == run.names("extract_label", "transfer_all")
    for name in rows.index:
        record = run.zoo.record(name)
        assert rows.loc[name, "accuracy"] == record["test_accuracy"]
        assert rows.loc[name, "parent"] == run.zoo.specs[name].parent
        if "extract" in name:
            assert rows.loc[name, "query_fidelity"] == record["query_fidelity"]
            assert rows.loc[name, "query_accuracy"] == record["query_accuracy"]
        expected = run.profile.transfer.test if "transfer" in name else run.profile.splits.test
        assert rows.loc[name, "n"] == expected
        assert pd.isna(rows.loc[name, "fidelity"]) == (record["fidelity"] is None)


def test_groups_have_their_models_and_spread(run):
    rows = suspects.suspects(run, "prune", "transfer_all")
    table = suspects.group_table(rows).set_index("group")
    measures = ["accuracy", "fidelity", "accuracy on queries", "fidelity on queries"]
    assert list(table.columns) == ["architecture", "models", *measures]
    own = rows[rows["step"] == "prune"]["fidelity"]
    expected = f"{own.mean():.1%} ({own.min():.1%} to {own.max():.1%})"
    assert table.loc["Pruning", "fidelity"] == expected
    assert table.loc["Pruning", "models"] == len(own)
    assert (table.loc["Transfer-A", ["fidelity", "fidelity on queries"]] == "–").all()
    assert "fidelity" not in suspects.group_table(rows, "accuracy")


def test_copies_that_copy_less_than_a_stranger_are_counted():
    rows = {"group": list("AAAB"), "fidelity": [0.7, 0.8, 0.9, 0.79], "accuracy": 0.5}
    rows = pd.DataFrame(rows)
    table = suspects.group_table(rows, "accuracy", by=("group",), stranger=0.8)
    assert table["copy less than a stranger"].tolist() == ["1 of 3", "1 of 1"]


def test_models_of_an_architecture_count_as_alike_in_a_gap():
    shares = {"name": ["e(a)#0", "e(a)#1", "e(b)#0", "e(b)#1"], "fidelity": [0.6, 0.65, 0.8, 0.82]}
    several = pd.DataFrame(shares)
    one = several.assign(name=[f"e(a)#{i}" for i in range(4)], fidelity=several["fidelity"] - 0.1)
    gap = suspects.gap(several, one, "fidelity")
    names = np.array(["a", "a", "b", "b"]), np.arange(4)
    theirs, others = (part["fidelity"].to_numpy() for part in (several, one))
    assert gap == evaluation.mean_difference(theirs, others, names)
    assert gap.value == pytest.approx(0.1) and gap.low < 0 < gap.high


def test_a_stranger_is_the_mean_independent_model_on_attacker_data(run):
    values = [run.zoo.record(name)["fidelity"] for name in run.names("independent")]
    assert suspects.stranger(run) == pytest.approx(sum(values) / len(values))


def test_one_value_has_no_extremes():
    assert suspects.spread(pd.Series([0.5])) == "50.0%"


def test_recipes_show_what_they_have(run):
    table = suspects.recipe_table(run, "prune", "extract_adversarial", released={"lr": "0.1"})
    table = table.set_index("setting")
    assert table.loc["learning rate"].tolist() == ["0.005", "0.001", "0.1"]
    assert table.loc["pruned fractions"].tolist() == ["20%, 40%", "–", "–"]
    assert (
        table.loc["PGD steps", "Extract-Adv"] == "3"
        and table.loc["horizontal flip", "Pruning"] == "no"
    )
    assert "temperature T" not in table.index


def test_a_page_needs_the_time_of_its_models(run):
    records = [run.zoo.record(name) for name in run.names("independent", "extract_label")]
    seconds = sum(record["seconds"] for record in records)
    needed = suspects.needs(run, "independent", "extract_label")
    assert needed.startswith(
        f"{len(records)} models, trained in {seconds:,.{0 if seconds >= 10 else 1}f} s on "
    )
    assert suspects.needs(run, "source").startswith("one model, ")


def test_first_models_and_their_curves(run):
    first = suspects.first_of_each(run, "independent")
    assert first == {"vgg_bn_s": "independent(vgg_bn_s)#0", "resnet_s": "independent(resnet_s)#0"}
    curves = suspects.histories(run, first)
    assert curves["resnet_s"] == run.zoo.record("independent(resnet_s)#0")["history"]


def test_predictions_are_those_of_the_models(run):
    names = run.names("finetune_all")
    labels = suspects.predictions(run, names)
    test = run.material.splits["test"]
    assert labels.shape == (len(names), len(test.labels)) and labels.dtype == torch.int64
    shares = (labels == test.labels.cpu()).double().mean(1).tolist()
    assert shares == [training.accuracy(run.zoo.get(name), test) for name in names]
