"""Counted operations agree with a count by hand."""

import pytest

from sacutils import flops, lineage
from sacutils.profiles import load_profile


def test_forward_pass_of_a_small_vgg_by_hand():
    # (inputs, outputs, kernel, side of the output), then the three linear layers; a multiplication and an addition are two
    convolutions = [(1, 16, 5, 14), (16, 24, 3, 14), (24, 32, 3, 7), (32, 128, 3, 3)]
    expected = sum(2 * i * o * k * k * side * side for i, o, k, side in convolutions)
    expected += 2 * (128 * 64 + 64 * 64 + 64 * 10)
    assert flops.forward_flops("vgg_s", 1, 28, 10) == flops.forward_flops("vgg_bn_s", 1, 28, 10) == expected


def test_training_counts_models_epochs_images_and_queries():
    profile = load_profile("smoke")
    counted = flops.training_flops(profile)
    assert set(counted) == set(lineage.groups(profile)) and min(counted.values()) > 0
    one = flops.forward_flops("vgg_bn_s", 1, 16, 10)
    assert counted["source"] == 3 * one * profile.splits.owner * profile.recipes.source.epochs
    student = flops.forward_flops("resnet_s", 1, 16, 10)
    assert counted["surrogates"] == (3 * student + one) * profile.splits.owner * profile.recipes.surrogate.epochs
    longer = flops.training_flops(load_profile("smoke", {"recipes.prune.epochs": 2}))
    assert longer["prune"] == 2 * counted["prune"] and longer["source"] == counted["source"]


def test_table_has_every_profile_and_paper_dwarfs_the_default():
    table = flops.table(2e10).set_index("profile")
    assert table.loc["paper", "petaFLOP"] > 1000 * table.loc["fashion", "petaFLOP"]
    assert table.loc["fashion", "hours, two cores"] == pytest.approx(table.loc["fashion", "petaFLOP"] * 1e15 / 2e10 / 3600)
    released = sum(len(specs) for name, specs in lineage.groups(load_profile("paper")).items() if "variant" not in name)
    assert released < table.loc["paper", "models"]
