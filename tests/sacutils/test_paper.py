"""The recipes of the profile `paper`, one step each, at tiny sizes on the CPU. Every network of it
makes a step in test_models.
"""

import pytest
import torch

from sacutils import corruptions, steps, training, zoo
from sacutils.attacks import Task
from sacutils.data import Images
from sacutils.profiles import Profile, load_profile
from tests.conftest import same, state

TINY = {
    "splits": dict.fromkeys(("owner", "attacker", "probe", "reserve", "test"), 12),
    "probes.count": 10,
    "transfer.train": 12,
    "transfer.test": 12,
    "zoo.extracted_per_student": 1,
    "zoo.finetuned": 1,
    "zoo.transferred": 1,
    "zoo.source": "resnet_s",
    "zoo.students": ["vgg_s", "mobilenet_s"],
    "zoo.surrogates": {"resnet_s": 1},
    "zoo.independent": {"densenet_s": 1},
    "zoo.independent_owner": {"resnet_s": 1},
    "zoo.siblings": 3,
    "zoo.controls": {"resnet_s": 1},
    "zoo.independent_plain": {"resnet_s": 1},
    "zoo.overlap": {"resnet_s": 1},
    "probes.contested": [12],
    "zoo.independent_transfer": {"resnet_s": 1},
    "zoo.independent_corrupted": {"resnet_s": 1},
    "recipes.prune.ladder": [0.5],
    "recipes.extract_adversarial.pgd_steps": 2,
}
ONE_STEP = {f"recipes.{step}.epochs": 1 for step in load_profile("paper").recipes.model_dump()}


@pytest.fixture(scope="module")
def material() -> zoo.Material:
    """A dozen random colour images in each split."""
    generator = torch.Generator().manual_seed(0)
    splits = {}
    for name in (
        "owner",
        "attacker",
        "reserve",
        "probe",
        "test",
        "transfer_train",
        "transfer_test",
    ):
        pixels = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=generator)
        splits[name] = Images(pixels, torch.arange(12) % 10)
    splits["attacker_corrupted"] = corruptions.corrupt(splits["attacker"], 0)
    return zoo.Material(
        splits, {}, [str(i) for i in range(10)], [str(i) for i in range(10)], torch.device("cpu")
    )


def stepped(profile: Profile, material: zoo.Material, kinds: set[str]) -> None:
    """Make every model of some steps in memory, parents first, and look at what comes out."""
    models: dict[str, torch.nn.Module] = {}
    for spec in steps.plan(profile).values():
        if spec.step not in kinds:
            continue
        make = getattr(zoo, f"make_{steps.maker_of(profile, spec.step)}")
        step, recipe = steps.STEPS[spec.step], steps.recipe_of(profile, spec.step)
        task = Task(material.splits[step.images], material.classes(spec.step), recipe, 1)
        before = state(models[spec.parent]) if spec.parent else {}
        model, history = make(spec, task, models.__getitem__)
        models[spec.name] = model
        marked = getattr(recipe, "watermark", None)
        assert len(history.loss) == recipe.epochs + (marked.epochs if marked else 0)
        assert training.logits_of(model, material.splits["test"].pixels).shape == (12, 10)
        assert not spec.parent or same(state(models[spec.parent]), before), spec.name
    assert models


@pytest.mark.parametrize(
    "kinds",
    [
        {
            "source",
            "finetune_all",
            "finetune_last",
            "prune",
            "transfer_all",
            "transfer_last",
            "transfer_corrupted",
        },
        {"source", "extract_label", "extract_adversarial"},
        {"source", "extract_probability", "surrogate", "surrogate_probability"},
        {
            "independent",
            "independent_owner",
            "sibling",
            "control_owner",
            "control_owner_plain",
            "independent_transfer",
            "independent_corrupted",
        },
    ],
    ids=["weights", "labels", "probabilities", "independent"],
)
def test_one_step_of_every_recipe(material, kinds):
    stepped(load_profile("paper", TINY | ONE_STEP), material, kinds)


def test_watermarked_source_of_the_paper_profile(material):
    profile = steps.variant(load_profile("paper", TINY | ONE_STEP), "watermarked")
    marked = profile.recipes.source.watermark.model_copy(update={"epochs": 1})
    source = profile.recipes.source.model_copy(update={"watermark": marked, "epochs": 1})
    recipes = profile.recipes.model_copy(update={"source": source})
    stepped(profile.model_copy(update={"recipes": recipes}), material, {"source"})


@pytest.mark.parametrize("name", ["cifar10", "tiny_imagenet"])
def test_other_large_profiles_plan_what_they_say(name):
    profile = load_profile(name)
    specs = steps.plan(profile).values()
    kinds = [spec.step for spec in specs]
    assert (
        kinds.count("extract_label")
        == len(profile.zoo.students) * profile.zoo.extracted_per_student
        >= 8
    )
    assert "watermarked" in profile.variants and "share-25" in profile.variants
    assert (
        sum(profile.splits.model_dump().values())
        <= {"cifar10": 60_000, "tiny_imagenet": 110_000}[name]
    )
