"""Which models a profile asks for, and what descends from what."""

import collections
from typing import get_args

import pytest

from sacutils import profiles, steps, zoo
from sacutils.profiles import load_profile

NAMES = profiles.available()

PAPER_SIZED = {
    "zoo.source": "vgg16_bn",
    "zoo.students": ["vgg13", "resnet18", "densenet121", "mobilenet_v2"],
    "zoo.extracted_per_student": 5,
    "zoo.surrogates": {"vgg19_bn": 3, "resnet34": 3},
    "zoo.independent": {"vgg13": 5, "resnet18": 5, "densenet121": 5, "mobilenet_v2": 5},
    "zoo.finetuned": 10,
    "zoo.transferred": 10,
    "zoo.independent_transfer": {"vgg16_bn": 10},
    "zoo.independent_corrupted": {"vgg16_bn": 5, "resnet18": 5},
    "recipes.prune.ladder": [0.05 * step for step in range(2, 17)],
}


def test_plan_of_the_size_of_the_released_zoo():
    specs = steps.plan(load_profile("paper", PAPER_SIZED)).values()
    counts = collections.Counter(spec.step for spec in specs)
    assert [counts[step] for step in ("source", "surrogate", "prune", "independent")] == [
        1,
        6,
        15,
        20,
    ]
    assert [counts[step] for step in steps.ATTACKS if step.startswith("extract")] == [20, 20, 20]
    assert {counts[step] for step in counts if step.startswith(("finetune", "transfer"))} == {10}
    assert counts["independent_transfer"] == counts["independent_corrupted"] == 10


def test_attacks_in_the_order_of_the_published_tables():
    shown = [steps.LABELS[step] for step in steps.ATTACKS]
    assert shown[:6] == [
        "Finetune-A",
        "Finetune-L",
        "Pruning",
        "Extract-L",
        "Extract-P",
        "Extract-Adv",
    ]
    assert shown[6:] == ["Transfer-A", "Transfer-L", "Transfer-10C"]


@pytest.mark.parametrize("name", NAMES)
def test_parents_come_first_and_names_read_like_histories(name):
    profile = load_profile(name)
    seen = set()
    for key, spec in steps.plan(profile).items():
        assert key == spec.name and spec.step in steps.LABELS
        assert spec.parent is None or spec.parent in seen
        history = spec.name.split(" > ")
        assert history[-1].startswith(spec.step)
        independent = spec.step in ("source", "chooser") or spec.step.startswith("independent")
        assert (len(history) == 1) == independent == (spec.parent is None)
        assert independent or history[0] == next(iter(steps.plan(profile)))
        seen.add(key)


@pytest.mark.parametrize("name", NAMES)
def test_slugs_and_digests_are_unique_and_slugs_are_plain(name):
    specs = steps.plan(load_profile(name)).values()
    slugs = {spec.slug for spec in specs}
    assert len(slugs) == len(specs) == len(set(steps.digests(load_profile(name)).values()))
    assert all(set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.") for slug in slugs)


def test_hardened_student_descends_from_the_student_of_the_same_number():
    for spec in steps.plan(load_profile("smoke")).values():
        if spec.step == "extract_adversarial":
            parent = steps.plan(load_profile("smoke"))[spec.parent]
            assert (parent.step, parent.architecture, parent.index) == (
                "extract_label",
                spec.architecture,
                spec.index,
            )


def test_ladder_is_climbed_rung_by_rung():
    rungs = [spec for spec in steps.plan(load_profile("fashion")).values() if spec.step == "prune"]
    assert [spec.fraction for spec in rungs] == load_profile("fashion").recipes.prune.ladder
    assert [spec.parent for spec in rungs[1:]] == [spec.name for spec in rungs[:-1]]


def test_every_step_has_a_name_a_maker_a_recipe_and_a_split(run):
    assert list(get_args(profiles.StepName)) == list(steps.STEPS)
    for name, step in steps.STEPS.items():
        assert callable(getattr(zoo, f"make_{steps.maker_of(run.profile, name)}"))
        assert steps.recipe_of(run.profile, name).epochs >= 1
        assert step.images in run.material.splits
        assert all(steps.STEPS[other].role == "independent" for other in step.negatives)
    assert {spec.step for spec in steps.plan(run.profile).values()} == set(steps.STEPS)


def test_who_trains_on_what():
    def on(images: str) -> set[str]:
        return {name for name, step in steps.STEPS.items() if step.images == images}

    assert on("owner") == {"source", "surrogate", "independent_owner", "chooser"}
    assert on("attacker_corrupted") == {"transfer_corrupted", "independent_corrupted"}
    assert on("transfer_train") == {"transfer_all", "transfer_last", "independent_transfer"}
    assert on("transfer_train") == {name for name, step in steps.STEPS.items() if step.new_labels}


def test_negatives_of_an_attack():
    assert steps.negative_sets("extract_label") == {
        "attacker data": ["independent"],
        "owner data": ["independent_owner"],
        "all": ["independent", "independent_owner"],
    }
    assert steps.negative_sets("transfer_last") == {"attacker data": ["independent_transfer"]}
    assert steps.negative_sets("transfer_corrupted") == {"attacker data": ["independent_corrupted"]}
    assert steps.SAME_CLASSES == [
        *("finetune_all", "finetune_last", "prune"),
        *("extract_label", "extract_probability", "extract_adversarial"),
    ]


def test_seeds_are_derived_from_the_first_names_of_the_steps():
    seeds = {spec.step: spec.seed_name for spec in steps.plan(load_profile("smoke")).values()}
    assert seeds["independent"] == "irrelevant(resnet_s)#1"
    assert seeds["independent_transfer"] == "irrelevant_transfer(resnet_s)#1"
    assert seeds["chooser"] == "reference(resnet_s)#0"
    assert seeds["prune"] == "source(vgg_bn_s)#0 > prune(40%)#0"


def test_variant_retrains_what_it_changes_and_shares_the_rest():
    profile = load_profile("smoke", {"seed": 3})
    base = steps.digests(profile)
    for name in profile.variants:
        variant = steps.variant(profile, name)
        assert variant.seed == 3 and not variant.variants
        own, needed = (
            steps.digests(variant),
            {spec.name for spec in steps.variant_specs(profile, name)},
        )
        changed = {each for each in own if own[each] != base.get(each)}
        assert needed and needed <= changed
        assert steps.data_digest(variant) == steps.data_digest(profile)
    marked = steps.variant(profile, "watermarked")
    assert (
        steps.maker_of(marked, "source") == "watermarked"
        and steps.maker_of(profile, "source") == "independent"
    )
    independent = [each for each in base if each.startswith(("independent", "chooser"))]
    assert all(steps.digests(marked)[each] == base[each] for each in independent)


def test_derived_seeds_differ_and_fit_into_31_bits():
    seeds = {
        steps.derived_seed(seed, name, attempt)
        for seed in (0, 1)
        for name in "ab"
        for attempt in (0, 1)
    }
    assert len(seeds) == 8 and all(0 <= seed < 2**31 for seed in seeds)
    assert steps.derived_seed(0, "a", 0) == steps.derived_seed(0, "a", 0)


def test_digest_sees_what_lies_in_an_imagefolder(tmp_path):
    (tmp_path / "cat").mkdir()
    there = {"name": "imagefolder", "path": str(tmp_path), "image_size": 16}
    profile = load_profile("smoke", {"data": there})
    digests = [steps.data_digest(profile)]
    for name, content in (("1.png", "a"), ("1.png", "ab"), ("2.png", "a")):
        (tmp_path / "cat" / name).write_text(content)
        digests.append(steps.data_digest(profile))
    assert len(set(digests)) == 4 and steps.data_digest(profile) == digests[-1]


def test_paper_profile_has_the_group_sizes_and_recipes_of_the_released_zoo():
    profile = load_profile("paper")
    sizes = collections.Counter(spec.step for spec in steps.plan(profile).values())
    assert (sizes["source"], sizes["surrogate"], sizes["prune"]) == (1, 6, 15)
    assert (
        sizes["extract_label"] == sizes["extract_probability"] == sizes["extract_adversarial"] == 20
    )
    assert (
        sizes["finetune_all"]
        == sizes["finetune_last"]
        == sizes["transfer_all"]
        == sizes["transfer_corrupted"]
        == 10
    )
    assert sizes["independent_transfer"] == sizes["independent_corrupted"] == 10
    students = {
        spec.architecture for spec in steps.plan(profile).values() if spec.step == "extract_label"
    }
    assert students == {"vgg13", "resnet18", "densenet121", "mobilenet_v2"}
    label, probability, hard = (
        profile.recipes.extract_label,
        profile.recipes.extract_probability,
        profile.recipes.extract_adversarial,
    )
    assert (label.lr, label.epochs, label.batch, label.momentum, label.weight_decay) == (
        0.05,
        200,
        512,
        0.9,
        5e-4,
    )
    assert (probability.lr, probability.temperature, probability.soft_weight) == (0.1, 20, 0.9)
    assert (hard.lr, hard.epochs, hard.pgd_steps, hard.pgd_radius * 256 / 255) == (0.001, 2, 30, 4)
    tuned = profile.recipes.finetune_all
    assert (tuned.lr, tuned.epochs, tuned.batch, tuned.schedule) == (5e-4, 30, 512, "constant")
