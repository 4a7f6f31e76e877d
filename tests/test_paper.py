"""The networks and recipes of the profile `paper`, one step each, at tiny sizes on the CPU."""

import pytest
import torch

from sacutils import data, lineage, training, zoo
from sacutils.data import Images
from sacutils.profiles import Profile, load_profile

TINY = {
    "splits": {"owner": 12, "attacker": 12, "probe": 12, "test": 12},
    "transfer.train": 12,
    "transfer.test": 12,
    "zoo.extracted_per_student": 1,
    "zoo.finetuned": 1,
    "zoo.transferred": 1,
    "zoo.surrogates": {"vgg19_bn": 1, "resnet34": 1},
    "zoo.irrelevant": {"densenet121": 1},
    "zoo.irrelevant_owner": {"resnet18": 1},
    "zoo.references": {"mobilenet_v2": 1},
    "zoo.irrelevant_transfer": {"resnet18": 1},
    "zoo.irrelevant_corrupted": {"resnet18": 1},
    "recipes.prune.ladder": [0.5],
    "recipes.extract_adversarial.pgd_steps": 2,
}
ONE_STEP = {f"recipes.{step}.epochs": 1 for step in load_profile("paper").recipes.model_dump()}


@pytest.fixture(scope="module")
def material() -> zoo.Material:
    """A dozen random colour images in each split."""
    generator = torch.Generator().manual_seed(0)
    splits = {}
    for name in ("owner", "attacker", "probe", "test", "transfer_train", "transfer_test"):
        pixels = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=generator)
        splits[name] = Images(pixels, torch.arange(12) % 10)
    splits["attacker_corrupted"] = data.corrupt(splits["attacker"], 0)
    return zoo.Material(splits, {}, [str(i) for i in range(10)], [str(i) for i in range(10)], torch.device("cpu"))


def stepped(profile: Profile, material: zoo.Material, steps: set[str]) -> None:
    """Make every model of some steps in memory, parents first, and look at what comes out."""
    made: dict[str, torch.nn.Module] = {}
    for spec in lineage.plan(profile).values():
        if spec.step not in steps:
            continue
        make = getattr(zoo, lineage.maker_of(profile, spec.step))
        recipe = lineage.recipe_of(profile, spec.step)
        before = {key: value.clone() for key, value in made[spec.parent].state_dict().items()} if spec.parent else {}
        model, history = make(material, spec, recipe, 1, made.__getitem__)
        made[spec.name] = model
        assert len(history.loss) == recipe.epochs + (recipe.watermark.epochs if getattr(recipe, "watermark", None) else 0)
        assert training.logits_of(model, material.splits["test"].pixels).shape == (12, 10)
        for key, value in before.items():  # the parent is left untouched
            assert torch.equal(value, made[spec.parent].state_dict()[key]), (spec.name, key)


@pytest.mark.parametrize(
    "steps",
    [
        {"source", "finetune_all", "finetune_last", "prune", "transfer_all", "transfer_last", "transfer_corrupted"},
        {"source", "extract_label", "extract_adversarial"},
        {"source", "extract_probability", "surrogate"},
        {"irrelevant", "irrelevant_owner", "reference", "irrelevant_transfer", "irrelevant_corrupted"},
    ],
    ids=["weights", "labels", "probabilities", "independent"],
)
def test_one_step_of_every_recipe_and_network(material, steps):
    stepped(load_profile("paper", TINY | ONE_STEP), material, steps)


def test_watermarked_source_of_the_paper_profile(material):
    profile = lineage.variant(load_profile("paper", TINY | ONE_STEP), "watermarked")
    marked = profile.recipes.source.watermark.model_copy(update={"epochs": 1})
    source = profile.recipes.source.model_copy(update={"watermark": marked, "epochs": 1})
    recipes = profile.recipes.model_copy(update={"source": source})
    stepped(profile.model_copy(update={"recipes": recipes}), material, {"source"})


@pytest.mark.parametrize("name", ["cifar10", "tiny_imagenet"])
def test_other_large_profiles_plan_what_they_say(name):
    profile = load_profile(name)
    specs = lineage.plan(profile).values()
    steps = [spec.step for spec in specs]
    assert steps.count("extract_label") == len(profile.zoo.students) * profile.zoo.extracted_per_student >= 8
    assert "watermarked" in profile.variants and "students-recipe" in profile.variants
    assert sum(profile.splits.model_dump().values()) <= {"cifar10": 60_000, "tiny_imagenet": 110_000}[name]
