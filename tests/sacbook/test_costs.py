"""Counted operations agree with a count by hand."""

import pytest

from sacbook import costs, jobs
from sacutils import steps
from sacutils.profiles import load_profile


def test_forward_pass_of_a_small_vgg_by_hand():
    # (inputs, outputs, kernel, side of the output), then the three linear layers; a multiplication
    # and an addition are two
    convolutions = [(1, 16, 5, 14), (16, 24, 3, 14), (24, 32, 3, 7), (32, 128, 3, 3)]
    expected = sum(2 * i * o * k * k * side * side for i, o, k, side in convolutions)
    expected += 2 * (128 * 64 + 64 * 64 + 64 * 10)
    assert (
        costs.forward_flops("vgg_s", 1, 28, 10)
        == costs.forward_flops("vgg_bn_s", 1, 28, 10)
        == expected
    )


def test_training_counts_models_epochs_images_and_queries():
    profile = load_profile("smoke")
    counted = costs.training_flops(profile)
    assert set(counted) == set(jobs.groups(profile)) and min(counted.values()) > 0
    one = costs.forward_flops("vgg_bn_s", 1, 16, 10)
    assert counted["source"] == 3 * one * profile.splits.owner * profile.recipes.source.epochs
    student = costs.forward_flops("resnet_s", 1, 16, 10)
    recipes = (profile.recipes.surrogate, profile.recipes.extract_probability)
    passes = (3 * student + one) * sum(recipe.epochs for recipe in recipes)
    assert counted["surrogates"] == passes * profile.splits.reserve
    longer = costs.training_flops(load_profile("smoke", {"recipes.prune.epochs": 2}))
    assert longer["prune"] == 2 * counted["prune"] and longer["source"] == counted["source"]


def test_table_has_every_profile_and_paper_dwarfs_the_default():
    table = costs.table(2e10).set_index("profile")
    assert table.loc["paper", "petaFLOP"] > 1000 * table.loc["fashion", "petaFLOP"]
    seconds = table.loc["fashion", "petaFLOP"] * 1e15 / 2e10
    assert table.loc["fashion", "hours, two cores"] == pytest.approx(seconds / 3600)
    released = len(steps.plan(load_profile("paper")))
    assert table.loc["paper", "models"] == released < table.loc["paper, full", "models"]
    variants = jobs.groups(load_profile("fashion", {"full": True}))
    assert table.loc["fashion, full", "models"] == sum(map(len, variants.values()))
