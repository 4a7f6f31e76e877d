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
    assert (counts["source"], counts["prune"], counts["independent"]) == (1, 15, 20)
    assert counts["surrogate"] == counts["surrogate_probability"] == 6
    # one hardened student per architecture: more of them are the same student once more
    assert [counts[step] for step in steps.EXTRACTION] == [20, 20, 4]
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
    assert shown[-3:] == ["Transfer-A", "Transfer-L", "Transfer-10C"]
    assert len(shown) == len(set(shown)) == 15
    assert len(set(steps.LABELS.values())) == len(steps.STEPS)


@pytest.mark.parametrize("name", NAMES)
def test_parents_come_first_and_names_read_like_histories(name):
    specs = steps.plan(load_profile(name))
    seen = set()
    for key, spec in specs.items():
        step, history = steps.STEPS[spec.step], spec.name.split(" > ")
        assert key == spec.name and (spec.parent is None or spec.parent in seen)
        assert history[-1].startswith(spec.step)
        from_scratch = step.make == "independent"
        assert (len(history) == 1) == from_scratch == (spec.parent is None)
        # a rung of the ladder is named by its share alone
        assert from_scratch or spec.step == "prune" or spec.parent == " > ".join(history[:-1])
        if step.role in ("source", "stolen", "helper"):
            assert history[0] == next(iter(specs))
        seen.add(key)


@pytest.mark.parametrize("name", NAMES)
def test_no_model_of_the_owner_descends_from_a_model_that_is_judged_nor_the_reverse(name):
    specs = steps.plan(load_profile(name))

    def descent(spec: steps.Spec) -> list[steps.Spec]:
        return [] if spec.parent is None else [specs[spec.parent], *descent(specs[spec.parent])]

    judged, owner = {"stolen", "independent"}, {"helper", "control"}
    for spec in specs.values():
        role = steps.STEPS[spec.step].role
        ancestors = {steps.STEPS[other.step].role for other in descent(spec)}
        if role in owner:
            assert not ancestors & judged
        if role == "control":
            assert ancestors <= {"control"}  # in particular, none was made from a member
        if role == "helper":
            assert ancestors == {"source"}
        if role in judged:
            assert not ancestors & owner and ("source" in ancestors) == (role == "stolen")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_full_is_made_in_full_runs_only(name):
    full = {step for step, values in steps.STEPS.items() if values.full}
    part, whole = (load_profile(name, {"full": value}) for value in (False, True))
    assert {spec.step for spec in steps.plan(part).values()} == set(steps.STEPS) - full
    assert {spec.step for spec in steps.plan(whole).values()} == set(steps.STEPS)
    kept = {key: spec for key, spec in steps.plan(whole).items() if spec.step not in full}
    if part.zoo == whole.zoo:
        assert list(kept.items()) == list(steps.plan(part).items())
    # a full run takes over what another has trained
    assert steps.plan(part).items() <= steps.plan(whole).items()
    assert steps.digests(part).items() <= steps.digests(whole).items()
    assert full == {
        *("extract_once", "extract_plain", "extract_noisy", "overlap"),
        *("chain_finetuned", "chain_pruned", "chain_quantised"),
        *("independent_plain", "independent_owner_plain"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_teachers_of_the_students_of_another(name):
    profile = load_profile(name)
    specs = list(steps.plan(profile).values())

    def of(step: str) -> list[steps.Spec]:
        return [spec for spec in specs if spec.step == step]

    teachers = collections.Counter(str(spec.parent) for spec in of("student_of_sibling"))
    siblings = [spec.name for spec in of("sibling")]
    assert list(teachers) == siblings[: len(teachers)]
    # each student has a sibling of its own, while there are siblings
    students = len(profile.zoo.students) * profile.zoo.extracted_per_student
    assert len(teachers) == min(students, len(siblings)) and teachers.total() == students
    assert max(teachers.values()) - min(teachers.values()) <= 1
    kinds = [collections.Counter(spec.architecture for spec in of(step)) for step in PAIRED]
    assert kinds[0] == kinds[1]  # as many of each architecture as Extract-L has
    strangers = {spec.parent for spec in of("student_of_stranger")}
    assert strangers == {of("independent")[0].name}
    assert [spec.architecture for spec in of("student_of_stranger")] == profile.zoo.students
    controls = collections.Counter(str(spec.parent) for spec in of("control_student"))
    assert list(controls) == [spec.name for spec in of("control_sibling")]
    assert set(controls.values()) == {len(profile.zoo.students)} and len(controls) == 2
    assert not set(controls) & {next(iter(steps.plan(profile))), *siblings}


PAIRED = ("student_of_sibling", "extract_label")


@pytest.mark.parametrize("name", NAMES)
def test_slugs_and_digests_are_unique_and_slugs_are_plain(name):
    profile = load_profile(name, {"full": True})
    specs = steps.plan(profile).values()
    slugs = {spec.slug for spec in specs}
    assert len(slugs) == len(specs) == len(set(steps.digests(profile).values()))
    assert all(set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.") for slug in slugs)


def test_slug_of_a_share_and_of_a_history():
    specs = steps.plan(load_profile("smoke", {"zoo.overlaps": [0.125, 0.5]}))
    assert specs["overlap 12.5%(resnet_s)#0"].slug == "overlap-12.5pc-resnet_s-0"
    assert specs["overlap 12.5%(resnet_s)#0"].fraction == 0.125
    student = "source(vgg_bn_s)#0 > extract_label(resnet_s)#0"
    assert specs[student].slug == "source-vgg_bn_s-0__extract_label-resnet_s-0"


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("independent(resnet_s)#1", "independent(resnet_s)#1"),
        ("source(vgg_bn_s)#0 > finetune_all#1", "source(vgg_bn_s)#0 > finetune_all#1"),
        ("source(vgg_bn_s)#0 > prune(20%)#0", "prune"),
        ("source(vgg_bn_s)#0 > prune(40%)#0", "prune"),
        (
            "source(vgg_bn_s)#0 > extract_label(resnet_s)#0 > chain_pruned#0",
            "source(vgg_bn_s)#0 > extract_label(resnet_s)#0",
        ),
        (
            "sibling(vgg_bn_s)#0 > student_of_sibling(resnet_s)#0",
            "sibling(vgg_bn_s)#0 > student_of_sibling(resnet_s)#0",
        ),
    ],
)
def test_maker_is_the_thief_or_the_stranger_who_has_the_images(name, maker):
    assert steps.plan(load_profile("smoke"))[name].maker == maker


def test_what_is_made_from_a_stolen_model_descends_from_the_first_student_of_its_kind():
    specs = steps.plan(load_profile("smoke", {"zoo.extracted_per_student": 2}))
    students = [s for s in specs.values() if s.step == "extract_label" and s.index == 0]
    for step in ("extract_adversarial", "chain_finetuned", "chain_pruned", "chain_quantised"):
        made = [spec for spec in specs.values() if spec.step == step]
        assert [spec.parent for spec in made] == [student.name for student in students]
        assert [s.architecture for s in made] == [s.architecture for s in students]
        assert {spec.fraction for spec in made} == {0.5 if step == "chain_pruned" else None}


def test_student_without_batch_normalisation_is_not_pruned():
    specs = steps.plan(load_profile("smoke", {"zoo.students": ["vgg_s", "resnet_s"]})).values()
    pruned = {spec.architecture for spec in specs if spec.step == "chain_pruned"}
    quantised = {spec.architecture for spec in specs if spec.step == "chain_quantised"}
    assert (pruned, quantised) == ({"resnet_s"}, {"resnet_s", "vgg_s"})


def test_ladder_is_climbed_rung_by_rung():
    rungs = [spec for spec in steps.plan(load_profile("fashion")).values() if spec.step == "prune"]
    assert [spec.fraction for spec in rungs] == load_profile("fashion").recipes.prune.ladder
    assert [spec.parent for spec in rungs[1:]] == [spec.name for spec in rungs[:-1]]


def test_every_step_has_a_name_a_maker_a_recipe_and_a_split(run):
    assert list(get_args(profiles.StepName)) == list(steps.STEPS)
    for name, step in steps.STEPS.items():
        assert callable(getattr(zoo, f"make_{steps.maker_of(run.profile, name)}"))
        assert steps.recipe_of(run.profile, name).epochs >= 1
        assert set(step.images.split(" and ")) <= set(run.material.splits)
        assert all(steps.STEPS[other].role == "independent" for other in step.negatives)
    assert {spec.step for spec in steps.plan(run.profile).values()} == set(steps.STEPS)


def test_who_trains_on_what():
    def on(images: str) -> set[str]:
        return {name for name, step in steps.STEPS.items() if step.images == images}

    assert on("owner") == {
        *("source", "sibling", "independent_owner", "independent_owner_plain"),
        *("control_sibling", "control_owner", "control_owner_plain"),
    }
    assert on("reserve") == {
        *("surrogate", "surrogate_probability", "control_student", "control_reserve")
    }
    assert on("owner and attacker") == {"overlap"}
    assert on("attacker_corrupted") == {"transfer_corrupted", "independent_corrupted"}
    assert on("transfer_train") == {"transfer_all", "transfer_last", "independent_transfer"}
    assert on("transfer_train") == {name for name, step in steps.STEPS.items() if step.new_labels}
    # nobody trains on what probes are taken from, or accuracy is measured on
    assert not on("probe") | on("test")


def test_negatives_of_an_attack():
    groups = {
        "attacker data": ["independent", "independent_plain"],
        "owner data": ["independent_owner", "independent_owner_plain"],
        "siblings": ["sibling"],
        "students of another": ["student_of_sibling", "student_of_stranger"],
    }
    everybody = [name for group in groups.values() for name in group]
    for attack in steps.SAME_CLASSES:
        assert steps.negative_sets(attack) == groups | {"all": everybody}
    assert steps.negative_sets("transfer_last") == {"attacker data": ["independent_transfer"]}
    assert steps.negative_sets("transfer_corrupted") == {"attacker data": ["independent_corrupted"]}
    assert steps.SAME_CLASSES == [
        *("finetune_all", "finetune_last", "prune", *steps.EXTRACTION),
        *("extract_once", "extract_plain", "extract_noisy"),
        *("chain_finetuned", "chain_pruned", "chain_quantised"),
    ]
    assert steps.CONTROLS == [
        name
        for name, step in steps.STEPS.items()
        if step.role == "control" and name != "control_sibling"
    ]


def test_recipes_of_the_steps():
    profile = load_profile("fashion")
    given = profile.recipes
    of = [
        (given.source, ["source", "sibling", "control_sibling"]),
        (given.surrogate, ["surrogate"]),
        (given.extract_probability, ["extract_probability", "surrogate_probability"]),
        (given.extract_label, ["extract_label", "extract_once", "extract_noisy"]),
        (given.extract_label, ["student_of_sibling", "student_of_stranger", "control_student"]),
        (given.independent, ["independent", "independent_owner", "overlap"]),
        (given.independent, ["control_owner", "control_reserve"]),
        (given.finetune_all, ["finetune_all", "chain_finetuned"]),
        (given.prune, ["prune", "chain_pruned"]),
    ]
    for recipe, names in of:
        for name in names:
            assert steps.recipe_of(profile, name) is recipe
    plain = {
        "extract_plain": given.extract_label,
        "independent_plain": given.independent,
        "independent_owner_plain": given.independent,
        "control_owner_plain": given.independent,
    }
    assert set(plain) == {name for name, step in steps.STEPS.items() if step.plain}
    for name, recipe in plain.items():
        assert recipe.pad > 0
        assert steps.recipe_of(profile, name) == recipe.model_copy(update={"pad": 0})


@pytest.mark.parametrize("name", NAMES)
def test_regime_says_whether_the_source_saw_what_thieves_ask(name):
    plain = "source without augmentation"
    expected = plain if name.endswith("_plain") else "one augmentation"
    assert steps.regime(load_profile(name)) == expected
    pad = load_profile(name).recipes.extract_label.pad
    for source, word in ((0, plain), (pad, "one augmentation"), (pad + 1, "differently")):
        assert word in steps.regime(load_profile(name, {"recipes.source.pad": source}))
    flip = load_profile(name).recipes.extract_label.flip
    turned = load_profile(name, {"recipes.source.pad": pad, "recipes.source.flip": not flip})
    assert "differently" in steps.regime(turned)


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
    kinds = ("independent", "overlap", "control_owner", "control_reserve")
    independent = [each for each in base if each.startswith(kinds)]
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
    for name in ("cat", "dog"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "0.png").touch()
    there = {"name": "imagefolder", "path": str(tmp_path / "tree"), "image_size": 16}
    profile = load_profile("smoke", {"data": there})
    digests = [steps.data_digest(profile)]
    for name, content in (("1.png", "a"), ("1.png", "ab"), ("2.png", "a")):
        (tmp_path / "tree" / "cat" / name).write_text(content)
        digests.append(steps.data_digest(profile))
    # a class folder may be a link, and hold folders
    (tmp_path / "tree" / "dog").rename(tmp_path / "dog")
    (tmp_path / "tree" / "dog").symlink_to(tmp_path / "dog")
    assert steps.data_digest(profile) == digests[-1]
    (tmp_path / "dog" / "more").mkdir()
    (tmp_path / "dog" / "more" / "1.png").touch()
    digests.append(steps.data_digest(profile))
    (tmp_path / "tree" / ".hidden").mkdir()
    (tmp_path / "tree" / "notes.txt").touch()
    assert len(set(digests)) == 5 and steps.data_digest(profile) == digests[-1]


def test_paper_profile_has_the_group_sizes_and_recipes_of_the_released_zoo():
    profile = load_profile("paper")
    sizes = collections.Counter(spec.step for spec in steps.plan(profile).values())
    assert (sizes["source"], sizes["surrogate"], sizes["prune"]) == (1, 4, 15)
    assert [sizes[step] for step in steps.EXTRACTION] == [20, 20, 4]
    assert (sizes["sibling"], sizes["independent"], sizes["independent_owner"]) == (19, 25, 4)
    assert (sizes["student_of_sibling"], sizes["student_of_stranger"]) == (20, 4)
    assert (sizes["control_sibling"], sizes["control_student"]) == (2, 8)
    assert sum(sizes[step] for step in steps.CONTROLS) == 8 + 3 + 3 + 4
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
