"""The small tables that the chapters show agree with what they are made from."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind

from sacutils import evaluation, inspection, lineage, summaries, training


def test_proportion_interval_is_wilsons():
    value = evaluation.proportion_interval(0.8, 50)
    z, n = 1.959964, 50
    centre, half = (0.8 + z**2 / (2 * n)) / (1 + z**2 / n), z / (1 + z**2 / n) * np.sqrt(0.8 * 0.2 / n + z**2 / (4 * n**2))
    assert (value.low, value.high) == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_mean_difference_is_welchs():
    first, second = np.array([0.9, 0.8, 0.85, 0.95]), np.array([0.7, 0.75, 0.6])
    value, expected = evaluation.mean_difference(first, second), ttest_ind(first, second, equal_var=False).confidence_interval()
    assert (value.low, value.high) == pytest.approx((expected.low, expected.high))
    assert np.isnan(evaluation.mean_difference(first, second[:1]).low)


def test_candidates_shrink_to_the_probe_set(run):
    images = summaries.candidates(run)["images"].tolist()
    assert images == sorted(images, reverse=True) and images[-1] == run.profile.probes.count
    assert images[0] == run.profile.splits.probe


def test_answers_of_the_source_agree_with_itself_and_are_wrong_on_its_mistakes(run):
    table = summaries.answers(run).set_index(["probes", "model"])
    for probe_set in ("SAC-source", "SAC-w"):
        assert table.loc[(probe_set, run.zoo.source), "accuracy"] == 0
        assert table.loc[(probe_set, run.zoo.source), "agreement"] == 1


def test_wide_table_holds_the_cells_of_the_long_one(run):
    wide = summaries.auc_wide(run, "probes", None, "labels").set_index("attack")
    for attack in lineage.ATTACKS:
        assert wide.loc[lineage.LABELS[attack], "SAC-w"] == str(run.auc_of(attack, "w", "labels"))


def test_an_architecture_detector_scores_one_only_against_other_architectures(run):
    table = summaries.architecture_confound(run).set_index("attack")
    part = summaries.configuration(run)
    _, architectures = summaries.compared(part, "finetune_all", "architecture")
    expected = 1 - 0.5 * np.mean(architectures == run.profile.zoo.source)
    assert table.loc["Finetune-A", "architecture"] == pytest.approx(expected)
    assert table.loc["Finetune-A", "n_same"] == np.sum(architectures == run.profile.zoo.source)


def test_calibrated_rates_come_from_other_models(run):
    part = summaries.configuration(run)
    threshold = part.loc[part["step"] == "irrelevant_owner", "distance"].min()
    row = summaries.calibrated(run).set_index("attack").loc["Extract-P"]
    assert row["found"] == (part.loc[part["step"] == "extract_probability", "distance"] < threshold).sum()
    assert row["accused"] == (part.loc[part["step"] == "irrelevant", "distance"] < threshold).sum()


def test_flattened_names_can_be_overridden(run):
    rows = summaries.flattened(run.profile.model_dump(exclude={"overrides"})).set_index("parameter")["value"]
    assert rows["recipes.extract_label.epochs"] == str(run.profile.recipes.extract_label.epochs)


def test_no_image_is_in_two_splits(run):
    assert inspection.shared_images(run)[0] == 0


def test_class_counts_add_up_to_the_splits(run):
    assert inspection.class_counts(run).sum().to_dict() == run.profile.splits.model_dump()


def test_confusion_and_accuracy_by_class_against_loops():
    labels, predicted = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 2, 0, 2])
    table = inspection.confusion(labels, predicted, 3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    rows = inspection.accuracy_by_class(labels, predicted, ["a", "b", "c"])
    assert rows["accuracy"].tolist() == pytest.approx([1 / 2, 1, 2 / 3]) and rows["n"].tolist() == [2, 1, 3]


def test_layers_end_in_the_logits(run):
    source = run.zoo.get(run.zoo.source)
    table = inspection.layers(source, run.material.splits["test"].pixels[:1])
    counted = table.select_dtypes("number").sum().max()
    assert counted == sum(parameter.numel() for parameter in source.parameters())


def test_pruning_ladder_silences_the_shares_that_it_names(run):
    rows = inspection.silent_channels(run)
    for fraction in run.profile.recipes.prune.ladder:
        assert (rows["fraction"] <= fraction).sum() == int(fraction * len(rows))


def test_last_layer_tuning_moves_only_the_classifier(run):
    source, suspect = run.zoo.get(run.zoo.source), run.zoo.get(run.names("finetune_last")[0])
    moved = {name for name, change in inspection.weight_change(source, suspect).items() if change > 0}
    assert moved and all(name.startswith("classifier") for name in moved)


def test_agreement_by_source_averages_to_fidelity(run):
    name = run.names("extract_label")[0]
    row = inspection.agreement_by_source(run, [name]).iloc[0]
    right = training.accuracy(run.zoo.get(run.zoo.source), run.material.splits["test"])
    assert right * row["right"] + (1 - right) * row["wrong"] == pytest.approx(run.zoo.record(name)["fidelity"])
    assert inspection.agreement(inspection.predictions(run, [name, name])).tolist() == [[1, 1], [1, 1]]


def test_robustness_falls_with_strength(run):
    table = inspection.robustness(run, 50, [0.0, 8.0])
    assert table.select_dtypes("number").notna().all(axis=None)
    name = run.names("extract_label")[0]
    images = run.material.splits["test"].take(slice(0, 50))
    recipe = run.profile.recipes.extract_adversarial
    clean = training.accuracy(run.zoo.get(name), images)
    assert training.accuracy(run.zoo.get(name), inspection.attacked(run.zoo.get(name), images, recipe, 8.0)) < clean
