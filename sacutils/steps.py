"""Which models a profile asks for, what each descends from, and a digest that says whether a file
on disk is that model. One table, `STEPS`, says all that there is to say of a kind of model.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from . import files, freshness
from .profiles import Profile, Recipe, StepName, load_profile


class Step(NamedTuple):
    """A kind of model.

    `label` is its name in tables, legends and prose; helpers are the owner's own models for
    choosing probes, and none of them is evaluated. `images` is the split that it trains on, `make`
    what follows ``make_`` in the function of :mod:`sacutils.zoo` that makes it. One `job` trains
    the steps that name it; where none is named, jobs go by architecture. `negatives` are the
    independent steps that a stolen model is compared with instead of the usual ones, because it
    left the source's classes or images. `word` stands for the step's name where its seed is
    derived, so that a change of words changes no weights; `recipe` is its field of
    ``profile.recipes``, if that is not the step's name.
    """

    label: str
    role: Literal["source", "helper", "stolen", "independent"]
    images: str
    make: str
    job: str = ""
    negatives: tuple[str, ...] = ()
    word: str = ""
    recipe: str = ""

    @property
    def new_labels(self) -> bool:
        """Whether its classes are others than the source's, so that labels cannot be matched."""
        return self.images == "transfer_train"


# fmt: off
STEPS: dict[StepName, Step] = {
    "source": Step("Source", "source", "owner", "independent", "source"),
    "surrogate": Step("Surrogate", "helper", "owner", "label_student", "surrogates"),
    "finetune_all": Step("Finetune-A", "stolen", "attacker", "finetuned", "finetune"),
    "finetune_last": Step("Finetune-L", "stolen", "attacker", "finetuned", "finetune"),
    "prune": Step("Pruning", "stolen", "attacker", "pruned", "prune"),
    "extract_label": Step("Extract-L", "stolen", "attacker", "label_student"),
    "extract_probability": Step("Extract-P", "stolen", "attacker", "probability_student"),
    "extract_adversarial": Step("Extract-Adv", "stolen", "attacker", "hardened"),
    "transfer_all": Step(
        "Transfer-A", "stolen", "transfer_train", "finetuned", "finetune",
        ("independent_transfer",)),
    "transfer_last": Step(
        "Transfer-L", "stolen", "transfer_train", "finetuned", "finetune",
        ("independent_transfer",)),
    "transfer_corrupted": Step(
        "Transfer-10C", "stolen", "attacker_corrupted", "finetuned", "finetune",
        ("independent_corrupted",)),
    "independent": Step(
        "Independent (attacker data)", "independent", "attacker", "independent",
        word="irrelevant"),
    "independent_owner": Step(
        "Independent (owner data)", "independent", "owner", "independent",
        word="irrelevant_owner", recipe="independent"),
    "independent_transfer": Step(
        "Independent (new labels)", "independent", "transfer_train", "independent",
        "independent_transfer", word="irrelevant_transfer"),
    "independent_corrupted": Step(
        "Independent (corrupted)", "independent", "attacker_corrupted", "independent",
        "independent_corrupted", word="irrelevant_corrupted"),
    "chooser": Step(
        "Chooser", "helper", "owner", "independent", "choosers", word="reference",
        recipe="independent"),
}
# fmt: on
"""Every kind of model, in the order of the published tables."""

LABELS = {name: step.label for name, step in STEPS.items()}
ATTACKS = [name for name, step in STEPS.items() if step.role == "stolen"]
INDEPENDENT = ["independent", "independent_owner"]
"""Independent models with the source's classes and images."""
SAME_CLASSES = [name for name in ATTACKS if not STEPS[name].negatives]
"""Attacks that are compared with these."""
EXTRACTION = ["extract_label", "extract_probability", "extract_adversarial"]

MAIN_NEGATIVES = "attacker data"
"""The comparison that is meant where none is named: the released code's, with models that never
saw the owner's data."""


def negative_sets(attack: str) -> dict[str, list[str]]:
    """Independent steps that an attack is compared with, by the name of the comparison.

    Models on owner data are the harder comparison: they share the source's training images.
    """
    if STEPS[attack].negatives:
        return {MAIN_NEGATIVES: list(STEPS[attack].negatives)}
    return {MAIN_NEGATIVES: INDEPENDENT[:1], "owner data": INDEPENDENT[1:], "all": INDEPENDENT}


@dataclass(frozen=True)
class Spec:
    """One model of the zoo.

    `name` is its history, for example
    ``source(vgg_bn_s)#0 > extract_label(resnet_s)#1 > extract_adversarial#1``, and `step` the last
    step of it. `index` tells models apart that differ in their seed only; `fraction` is the share
    of pruned channels.
    """

    name: str
    step: StepName
    architecture: str
    index: int
    parent: str | None = None
    fraction: float | None = None

    @property
    def slug(self) -> str:
        """The name in characters that every file system takes."""
        plain = str.maketrans({"(": "-", ")": "", "#": "-", "%": "pc"})
        return self.name.replace(" > ", "__").translate(plain)

    @property
    def seed_name(self) -> str:
        """The name from which the model's seed is derived."""
        return self.name.replace(self.step, STEPS[self.step].word or self.step, 1)


@cache
def plan(profile: Profile) -> dict[str, Spec]:
    """Every model that the profile asks for, parents before children, by name."""
    zoo = profile.zoo
    specs: dict[str, Spec] = {}

    source = f"source({zoo.source})#0"

    def add(name: str, *values: Any) -> None:
        specs[name] = Spec(name, *values)

    def several(step: str, counts: dict[str, int], parent: str | None = None) -> None:
        for architecture, count in counts.items():
            for i in range(count):
                name = f"{step}({architecture})#{i}"
                add(f"{parent} > {name}" if parent else name, step, architecture, i, parent)

    def copies(step: str, count: int) -> None:
        for i in range(count):
            add(f"{source} > {step}#{i}", step, zoo.source, i, source)

    add(source, "source", zoo.source, 0)
    several("surrogate", zoo.surrogates, source)
    for step in ("finetune_all", "finetune_last"):
        copies(step, zoo.finetuned)
    rung = source
    for fraction in profile.recipes.prune.ladder:
        name = f"{source} > prune({fraction * 100:g}%)#0"
        add(name, "prune", zoo.source, 0, rung, fraction)
        rung = name
    students = dict.fromkeys(zoo.students, zoo.extracted_per_student)
    for step in ("extract_label", "extract_probability"):
        several(step, students, source)
    for spec in [spec for spec in specs.values() if spec.step == "extract_label"]:
        name = f"{spec.name} > extract_adversarial#{spec.index}"
        add(name, "extract_adversarial", spec.architecture, spec.index, spec.name)
    for step in ("transfer_all", "transfer_last", "transfer_corrupted"):
        copies(step, zoo.transferred)
    for step in (*INDEPENDENT, "independent_transfer", "independent_corrupted"):
        several(step, getattr(zoo, step))
    several("chooser", zoo.choosers)
    return specs


def variant(profile: Profile, name: str) -> Profile:
    """One of the profile's variants as a profile of its own, without variants."""
    overrides = profile.overrides | profile.variants[name].overrides | {"variants": {}}
    return load_profile(profile.name, overrides)


def variant_specs(profile: Profile, name: str) -> list[Spec]:
    """The models that a variant needs."""
    needed = profile.variants[name].steps
    return [spec for spec in plan(variant(profile, name)).values() if spec.step in needed]


def derived_seed(*parts: Any) -> int:
    """A seed of 31 bits that depends on all parts and on nothing else."""
    return int(files.digest_of(parts)[:8], 16) & 0x7FFFFFFF


def recipe_of(profile: Profile, step: str) -> Recipe:
    """The recipe of a step."""
    return getattr(profile.recipes, STEPS[step].recipe or step)


def maker_of(profile: Profile, step: str) -> str:
    """The `make` of a step; a watermarked source has its own."""
    watermarked = step == "source" and profile.recipes.source.watermark is not None
    return "watermarked" if watermarked else STEPS[step].make


def data_digest(profile: Profile) -> str:
    """Digest of the images that a profile uses: which, how split, by which code, and for an
    ImageFolder what lies in it.
    """
    values = [part.model_dump() for part in (profile.data, profile.splits, profile.transfer)]
    folders = [
        data.path and files.home() / data.path for data in (profile.data, profile.transfer.data)
    ]
    listings = [
        sorted(f"{file.relative_to(folder)} {file.stat().st_size}" for file in folder.rglob("*.*"))
        for folder in folders
        if folder
    ]
    code = freshness.code_digest("zoo.prepare", whole=True)
    return files.digest_of([profile.seed, values, listings, code])


@cache
def digests(profile: Profile) -> dict[str, str]:
    """Digest of every model: its recipe, seed, data, code, versions and, through its parent's
    digest, its whole history.
    """
    versions = {name: files.versions()[name] for name in ("torch", "torchvision", "numpy")}
    images = data_digest(profile)
    result: dict[str, str] = {}
    for spec in plan(profile).values():
        # named besides the maker, which knows its task by an annotation only
        maker = f"zoo.make_{maker_of(profile, spec.step)}", "attacks.Task"
        code = freshness.code_digest(*maker, "steps.derived_seed", whole=True)
        recipe = recipe_of(profile, spec.step).model_dump(exclude={"ladder"})
        values = [spec.seed_name, profile.seed, recipe, spec.fraction, STEPS[spec.step].images]
        history = result.get(spec.parent or "")
        result[spec.name] = files.digest_of([*values, history, images, code, versions])
    return result
