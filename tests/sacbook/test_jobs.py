"""Batches of models and the order in which they are trained."""

import pytest

from sacbook import jobs
from sacutils import steps
from sacutils.profiles import load_profile

FULL = {"full": True}


@pytest.mark.parametrize("name", ["smoke", "fashion", "cifar10", "paper"])
def test_every_model_is_in_one_batch_and_behind_its_parent(name):
    profile = load_profile(name)
    groups = jobs.groups(profile)
    base = [
        spec.name for group, specs in groups.items() if "variant-" not in group for spec in specs
    ]
    assert sorted(base) == sorted(steps.plan(profile))
    for group, specs in groups.items():
        own = [spec.name for spec in specs]
        behind = {
            spec.name for ancestor in jobs.ancestors(profile, group) for spec in groups[ancestor]
        }
        if "variant-" not in group:
            for spec in specs:
                assert spec.parent is None or spec.parent in behind or spec.parent in own


def test_variants_are_batches_of_full_runs_only():
    full, default = load_profile("fashion", FULL), load_profile("fashion")
    extra = set(jobs.groups(full)) - set(jobs.groups(default))
    variants = {f"variant-{name}" for name in default.variants}
    assert variants <= extra and variants
    # what else there is belongs to full runs too, or to an architecture that only they have
    more = set(full.zoo.students) - set(default.zoo.students)
    others = [spec for group in extra - variants for spec in jobs.groups(full)[group]]
    assert all(steps.STEPS[spec.step].full or spec.architecture in more for spec in others)
    assert not set(jobs.groups(default)) - set(jobs.groups(full))


@pytest.mark.parametrize("overrides", [{}, FULL])
def test_names_are_those_of_the_plan(overrides):
    profile = load_profile("fashion", overrides)
    plan = jobs.plan(profile)
    assert jobs.names(profile) == list(plan)
    assert {jobs.output(name) for name in plan} == {job.output for job in plan.values()}


def test_a_variant_waits_for_the_models_that_it_shares():
    profile = load_profile("smoke", FULL)
    for group, specs in jobs.groups(profile).items():
        own = jobs.profile_of(profile, group)
        digests, base = steps.digests(own), steps.digests(profile)
        shares = any(spec.parent and digests[spec.parent] in base.values() for spec in specs)
        if group.startswith("variant-"):
            assert bool(jobs.ancestors(profile, group)) == shares
    watermarked = jobs.profile_of(profile, "variant-watermarked")
    assert watermarked.recipes.source.watermark is not None
    assert jobs.profile_of(profile, "source") == profile


def test_a_variant_has_digests_of_its_own():
    profile = load_profile("smoke", FULL)
    plain = jobs.model_digests(profile, "source")
    (source,) = jobs.groups(profile)["source"]
    digests = steps.digests(profile)
    assert plain == [digests[source.name]]
    assert not set(jobs.model_digests(profile, "variant-watermarked")) & set(digests.values())


def test_cost_counts_passes_over_the_images():
    profile = load_profile("smoke")
    assert jobs.cost(profile, "source") == profile.recipes.source.epochs
    longer = load_profile("smoke", {"recipes.source.epochs": 7})
    assert jobs.cost(longer, "source") == 7
    rungs = len(profile.recipes.prune.ladder)
    recipe = profile.recipes.prune
    assert jobs.cost(profile, "prune") == round(rungs * recipe.epochs * recipe.share)
    # a step of the search for an adversarial image is a pass too
    steeper = load_profile("smoke", {"recipes.extract_adversarial.pgd_steps": 9})
    hardened = [g for g in jobs.groups(profile) if jobs.cost(steeper, g) > jobs.cost(profile, g)]
    assert hardened and all(name.startswith(("extract-", "variant-")) for name in hardened)


def test_what_long_jobs_wait_for_starts_before_them():
    profile = load_profile("fashion")
    costs = {group: jobs.cost(profile, group) for group in jobs.groups(profile)}
    waiting = {group: jobs.ancestors(profile, group) for group in costs}
    longest = max(cost for group, cost in costs.items() if "source" in waiting[group])
    urgency = jobs.urgency(profile)
    assert urgency["source"] >= costs["source"] + longest
    assert all(
        urgency[parent] > urgency[group] for group, parents in waiting.items() for parent in parents
    )
