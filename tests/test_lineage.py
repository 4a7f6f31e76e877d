"""Which models a profile asks for, and what descends from what."""

import collections

import pytest

from sacutils import lineage, profiles, zoo
from sacutils.profiles import load_profile

NAMES = profiles.available()

PAPER_SIZED = {
    "zoo.source": "vgg16_bn",
    "zoo.students": ["vgg13", "resnet18", "densenet121", "mobilenet_v2"],
    "zoo.extracted_per_student": 5,
    "zoo.surrogates": {"vgg19_bn": 3, "resnet34": 3},
    "zoo.irrelevant": {"vgg13": 5, "resnet18": 5, "densenet121": 5, "mobilenet_v2": 5},
    "zoo.finetuned": 10,
    "zoo.transferred": 10,
    "zoo.irrelevant_transfer": {"vgg16_bn": 10},
    "zoo.irrelevant_corrupted": {"vgg16_bn": 5, "resnet18": 5},
    "recipes.prune.ladder": [0.05 * step for step in range(2, 17)],
}


def test_plan_of_the_size_of_the_released_zoo():
    specs = lineage.plan(load_profile("smoke", PAPER_SIZED)).values()
    counts = collections.Counter(spec.step for spec in specs)
    assert [counts[step] for step in ("source", "surrogate", "prune", "irrelevant")] == [1, 6, 15, 20]
    assert [counts[step] for step in lineage.ATTACKS if step.startswith("extract")] == [20, 20, 20]
    assert {counts[step] for step in counts if step.startswith(("finetune", "transfer"))} == {10}
    assert counts["irrelevant_transfer"] == counts["irrelevant_corrupted"] == 10


def test_attacks_in_the_order_of_the_published_tables():
    shown = [lineage.LABELS[step] for step in lineage.ATTACKS]
    assert shown[:6] == ["Finetune-A", "Finetune-L", "Pruning", "Extract-L", "Extract-P", "Extract-Adv"]
    assert shown[6:] == ["Transfer-A", "Transfer-L", "Transfer-10C"]


@pytest.mark.parametrize("name", NAMES)
def test_parents_come_first_and_names_read_like_histories(name):
    profile = load_profile(name)
    seen = set()
    for key, spec in lineage.plan(profile).items():
        assert key == spec.name and spec.step in lineage.LABELS
        assert spec.parent is None or spec.parent in seen
        history = spec.name.split(" > ")
        assert history[-1].startswith(spec.step)
        independent = spec.step in ("source", "reference") or spec.step.startswith("irrelevant")
        assert (len(history) == 1) == independent == (spec.parent is None)
        assert independent or history[0] == next(iter(lineage.plan(profile)))
        seen.add(key)


@pytest.mark.parametrize("name", NAMES)
def test_slugs_and_digests_are_unique_and_slugs_are_plain(name):
    specs = lineage.plan(load_profile(name)).values()
    slugs = {spec.slug for spec in specs}
    assert len(slugs) == len(specs) == len(set(lineage.digests(load_profile(name)).values()))
    assert all(set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.") for slug in slugs)


@pytest.mark.parametrize("name", NAMES)
def test_groups_hold_each_model_once_and_can_be_ordered(name):
    profile = load_profile(name)
    groups = lineage.groups(profile)
    variants = {f"variant-{variant}" for variant in profile.variants}
    assert variants <= set(groups) and all(groups.values())
    own = [spec.name for group, specs in groups.items() if group not in variants for spec in specs]
    assert sorted(own) == sorted(lineage.plan(profile))
    done: set[str] = set()
    while len(done) < len(groups):
        ready = {group for group in groups if group not in done and set(lineage.ancestors(profile, group)) <= done}
        assert ready, f"{set(groups) - done} wait for each other"
        done |= ready


def test_hardened_student_descends_from_the_student_of_the_same_number():
    for spec in lineage.plan(load_profile("smoke")).values():
        if spec.step == "extract_adversarial":
            parent = lineage.plan(load_profile("smoke"))[spec.parent]
            assert (parent.step, parent.architecture, parent.index) == ("extract_label", spec.architecture, spec.index)


def test_ladder_is_climbed_rung_by_rung():
    rungs = [spec for spec in lineage.plan(load_profile("fashion")).values() if spec.step == "prune"]
    assert [spec.fraction for spec in rungs] == load_profile("fashion").recipes.prune.ladder
    assert [spec.parent for spec in rungs[1:]] == [spec.name for spec in rungs[:-1]]


def test_every_step_has_a_maker_a_recipe_and_a_split(run):
    for step in lineage.LABELS:
        assert callable(getattr(zoo, lineage.maker_of(run.profile, step))) and lineage.recipe_of(run.profile, step).epochs >= 1
        assert zoo.trains_on(step) in run.material.splits


def test_who_trains_on_what():
    owner = {step for step in lineage.LABELS if zoo.trains_on(step) == "owner"}
    assert owner == {"source", "surrogate", "irrelevant_owner", "reference"}
    assert {step for step in lineage.LABELS if zoo.trains_on(step) == "attacker_corrupted"} == {
        "transfer_corrupted",
        "irrelevant_corrupted",
    }
    assert {step for step in lineage.LABELS if zoo.trains_on(step) == "transfer_train"} == {
        "transfer_all",
        "transfer_last",
        "irrelevant_transfer",
    }


def test_variant_retrains_what_it_changes_and_shares_the_rest():
    profile = load_profile("smoke", {"seed": 3})
    base = lineage.digests(profile)
    for name in profile.variants:
        variant = lineage.variant(profile, name)
        assert variant.seed == 3 and not variant.variants
        own, needed = lineage.digests(variant), {spec.name for spec in lineage.variant_specs(profile, name)}
        changed = {each for each in own if own[each] != base.get(each)}
        assert needed and needed <= changed
        assert lineage.data_digest(variant) == lineage.data_digest(profile)
    marked = lineage.variant(profile, "watermarked")
    assert (
        lineage.maker_of(marked, "source") == "make_watermarked" and lineage.maker_of(profile, "source") == "make_independent"
    )
    independent = [each for each in base if each.startswith(("irrelevant", "reference"))]
    assert all(lineage.digests(marked)[each] == base[each] for each in independent)


def test_variants_wait_for_the_models_that_they_descend_from():
    profile = load_profile("smoke")
    assert lineage.ancestors(profile, "variant-watermarked") == []  # it has a source of its own
    assert lineage.ancestors(profile, "variant-epochs-3") == ["source"]
    assert lineage.ancestors(profile, "variant-students-recipe") == []


def test_derived_seeds_differ_and_fit_into_31_bits():
    seeds = {lineage.derived_seed(seed, name, attempt) for seed in (0, 1) for name in "ab" for attempt in (0, 1)}
    assert len(seeds) == 8 and all(0 <= seed < 2**31 for seed in seeds)
    assert lineage.derived_seed(0, "a", 0) == lineage.derived_seed(0, "a", 0)


def test_digest_sees_what_lies_in_an_imagefolder(tmp_path):
    (tmp_path / "cat").mkdir()
    profile = load_profile("smoke", {"data.name": "imagefolder", "data.path": str(tmp_path)})
    digests = [lineage.data_digest(profile)]
    for name, content in (("1.png", "a"), ("1.png", "ab"), ("2.png", "a")):
        (tmp_path / "cat" / name).write_text(content)
        digests.append(lineage.data_digest(profile))
    assert len(set(digests)) == 4 and lineage.data_digest(profile) == digests[-1]


def test_paper_profile_has_the_group_sizes_and_recipes_of_the_released_zoo():
    profile = load_profile("paper")
    steps = [spec.step for spec in lineage.plan(profile).values()]
    sizes = {step: steps.count(step) for step in lineage.LABELS}
    assert (sizes["source"], sizes["surrogate"], sizes["prune"]) == (1, 6, 15)
    assert sizes["extract_label"] == sizes["extract_probability"] == sizes["extract_adversarial"] == 20
    assert sizes["finetune_all"] == sizes["finetune_last"] == sizes["transfer_all"] == sizes["transfer_corrupted"] == 10
    assert sizes["irrelevant_transfer"] == sizes["irrelevant_corrupted"] == 10
    students = {spec.architecture for spec in lineage.plan(profile).values() if spec.step == "extract_label"}
    assert students == {"vgg13", "resnet18", "densenet121", "mobilenet_v2"}
    label, probability, hard = (
        profile.recipes.extract_label,
        profile.recipes.extract_probability,
        profile.recipes.extract_adversarial,
    )
    assert (label.lr, label.epochs, label.batch, label.momentum, label.weight_decay) == (0.05, 200, 512, 0.9, 5e-4)
    assert (probability.lr, probability.temperature, probability.soft_weight) == (0.1, 20, 0.9)
    assert (hard.lr, hard.epochs, hard.pgd_steps, hard.pgd_radius * 256 / 255) == (0.001, 2, 30, 4)
    tuned = profile.recipes.finetune_all
    assert (tuned.lr, tuned.epochs, tuned.batch, tuned.schedule) == (5e-4, 30, 512, "constant")
