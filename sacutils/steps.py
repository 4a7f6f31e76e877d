"""Which models a profile asks for, what each descends from, and a digest that says whether a file
on disk is that model. One table, `STEPS`, says all that there is to say of a kind of model.
"""

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from . import files, freshness
from .profiles import WITHOUT_BATCH_NORMALISATION, Profile, Recipe, Small, StepName, load_profile


class Step(NamedTuple):
    """A kind of model.

    `label` is its name in tables, legends and prose. Helpers choose probes and controls calibrate
    the sibling test; both are the owner's, and neither is evaluated. `images` is the split that it
    trains on, `make` what follows ``make_`` in the function of :mod:`sacutils.zoo` that makes it.
    One `job` trains the steps that name it; where none is named, jobs go by architecture.
    `negatives` are the independent steps that a stolen model is compared with instead of the usual
    ones, because it left the source's classes or images. `recipe` is its field of
    ``profile.recipes``, if that is not the step's name; with `plain` its images are not shifted.
    What is `full` belongs to full runs only.
    """

    label: str
    role: Literal["source", "helper", "control", "stolen", "independent"]
    images: str
    make: str
    job: str = ""
    negatives: tuple[str, ...] = ()
    recipe: str = ""
    plain: bool = False
    full: bool = False

    @property
    def new_labels(self) -> bool:
        """Whether its classes are others than the source's, so that labels cannot be matched."""
        return self.images == "transfer_train"

    @property
    def drawn(self) -> bool:
        """Whether each maker draws its own share of these images, which are the attacker's."""
        return "attacker" in self.images


# fmt: off
STEPS: dict[StepName, Step] = {
    "source": Step("Source", "source", "owner", "independent", "source"),
    "surrogate": Step("Surrogate", "helper", "reserve", "label_student", "surrogates"),
    "surrogate_probability": Step(
        "Surrogate (probabilities)", "helper", "reserve", "probability_student", "surrogates",
        recipe="extract_probability"),
    "finetune_all": Step("Finetune-A", "stolen", "attacker", "finetuned", "finetune"),
    "finetune_last": Step("Finetune-L", "stolen", "attacker", "finetuned", "finetune"),
    "prune": Step("Pruning", "stolen", "attacker", "pruned", "prune"),
    "extract_label": Step("Extract-L", "stolen", "attacker", "label_student"),
    "extract_probability": Step("Extract-P", "stolen", "attacker", "probability_student"),
    "extract_adversarial": Step("Extract-Adv", "stolen", "attacker", "hardened"),
    "extract_once": Step(
        "Extract-L (asked once)", "stolen", "attacker", "once_student", recipe="extract_label",
        full=True),
    "extract_plain": Step(
        "Extract-L (plain)", "stolen", "attacker", "label_student", recipe="extract_label",
        plain=True, full=True),
    "extract_noisy": Step(
        "Extract-L (noisy)", "stolen", "attacker", "noisy_student", recipe="extract_label",
        full=True),
    "chain_finetuned": Step(
        "Extract-L, fine-tuned", "stolen", "attacker", "finetuned", recipe="finetune_all",
        full=True),
    "chain_pruned": Step(
        "Extract-L, pruned", "stolen", "attacker", "pruned", recipe="prune", full=True),
    "chain_quantised": Step(
        "Extract-L, int8", "stolen", "attacker", "quantised", recipe="extract_label", full=True),
    "transfer_all": Step(
        "Transfer-A", "stolen", "transfer_train", "finetuned", "finetune",
        ("independent_transfer",)),
    "transfer_last": Step(
        "Transfer-L", "stolen", "transfer_train", "finetuned", "finetune",
        ("independent_transfer",)),
    "transfer_corrupted": Step(
        "Transfer-10C", "stolen", "attacker_corrupted", "finetuned", "finetune",
        ("independent_corrupted",)),
    "independent": Step("Independent (attacker data)", "independent", "attacker", "independent"),
    "independent_owner": Step(
        "Independent (owner data)", "independent", "owner", "independent", recipe="independent"),
    "independent_plain": Step(
        "Independent (attacker data, plain)", "independent", "attacker", "independent",
        recipe="independent", plain=True, full=True),
    "independent_owner_plain": Step(
        "Independent (owner data, plain)", "independent", "owner", "independent",
        recipe="independent", plain=True, full=True),
    "overlap": Step(
        "Independent (overlap)", "independent", "owner and attacker", "independent",
        recipe="independent", full=True),
    "sibling": Step(
        "Sibling", "independent", "owner", "independent", "siblings", recipe="source"),
    "student_of_sibling": Step(
        "Student of a sibling", "independent", "attacker", "label_student",
        recipe="extract_label"),
    "student_of_stranger": Step(
        "Student of a stranger", "independent", "attacker", "label_student",
        recipe="extract_label"),
    "independent_transfer": Step(
        "Independent (new labels)", "independent", "transfer_train", "independent",
        "independent_transfer"),
    "independent_corrupted": Step(
        "Independent (corrupted)", "independent", "attacker_corrupted", "independent",
        "independent_corrupted"),
    "control_sibling": Step(
        "Control (sibling)", "control", "owner", "independent", "controls", recipe="source"),
    "control_student": Step(
        "Control (student)", "control", "reserve", "label_student", "controls",
        recipe="extract_label"),
    "control_owner": Step(
        "Control (owner data)", "control", "owner", "independent", "controls",
        recipe="independent"),
    "control_owner_plain": Step(
        "Control (owner data, plain)", "control", "owner", "independent", "controls",
        recipe="independent", plain=True),
    "control_reserve": Step(
        "Control (reserve)", "control", "reserve", "independent", "controls",
        recipe="independent"),
}
# fmt: on
"""Every kind of model, in the order of the published tables."""

LABELS = {name: step.label for name, step in STEPS.items()}
ATTACKS = [name for name, step in STEPS.items() if step.role == "stolen"]
SAME_CLASSES = [name for name in ATTACKS if not STEPS[name].negatives]
"""Attacks that leave the source's classes and images, and are compared with `NEGATIVES`."""
EXTRACTION = ["extract_label", "extract_probability", "extract_adversarial"]

MAIN_NEGATIVES = "attacker data"
"""The comparison that is meant where none is named: the released code's, with models that never
saw the owner's data."""
NEGATIVES = {
    MAIN_NEGATIVES: ["independent", "independent_plain"],
    "owner data": ["independent_owner", "independent_owner_plain"],
    "siblings": ["sibling"],
    "students of another": ["student_of_sibling", "student_of_stranger"],
}
"""Independent models with the source's classes and images, by the name of the comparison."""
INDEPENDENT = [name for group in NEGATIVES.values() for name in group]
SURROGATES = ["surrogate", "surrogate_probability"]
"""The owner's own copies of the source, with which probes are chosen."""
CHOOSERS = ["control_owner", "control_owner_plain"]
"""The owner's models without the source, in two styles, with which probes are chosen."""
CONTROLS = ["control_student", "control_owner", "control_owner_plain", "control_reserve"]
"""Controls of the sibling test; the siblings that teach some of them are none."""


def negative_sets(attack: str) -> dict[str, list[str]]:
    """Independent steps that an attack is compared with, by the name of the comparison.

    Models on owner data are the harder comparison: they share the source's training images. So are
    students of another: they were made as stolen models are, from a model that is not the source.
    """
    if STEPS[attack].negatives:
        return {MAIN_NEGATIVES: list(STEPS[attack].negatives)}
    return NEGATIVES | {"all": INDEPENDENT}


@dataclass(frozen=True)
class Spec:
    """One model of the zoo.

    `name` is its history, for example
    ``source(vgg_bn_s)#0 > extract_label(resnet_s)#1 > extract_adversarial#1``, and `step` the last
    step of it. `index` tells models apart that differ in their seed only; `fraction` is the share
    of pruned channels, or of the owner's images in an overlap.
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
        plain = str.maketrans({"(": "-", ")": "", "#": "-", "%": "pc", " ": "-"})
        return self.name.replace(" > ", "__").translate(plain)

    def file(self, digest: str) -> str:
        """Name of the file of its weights; the digest is that of :func:`digests`."""
        return f"{self.slug}.{digest[:12]}.safetensors"

    @property
    def maker(self) -> str:
        """Who made it, as a name: what is made from a stolen model is made by the same thief, and
        so is every rung of the ladder of pruning.
        """
        return self.step if self.step == "prune" else " > ".join(self.name.split(" > ")[:2])


@cache
def plan(profile: Profile) -> dict[str, Spec]:
    """Every model that the profile asks for, parents before children, by name."""
    zoo = profile.zoo
    specs: dict[str, Spec] = {}
    source = f"source({zoo.source})#0"

    def add(name: str, step: str, *values: Any) -> None:
        if profile.full or not STEPS[step].full:
            specs[name] = Spec(name, step, *values)

    def several(step: str, counts: dict[str, int], parent: str | None = None) -> None:
        for architecture, count in counts.items():
            for i in range(count):
                name = f"{step}({architecture})#{i}"
                add(f"{parent} > {name}" if parent else name, step, architecture, i, parent)

    def next_of(step: str, parent: Spec, index: int = 0, fraction: float | None = None) -> None:
        name = f"{parent.name} > {step}#{index}"
        add(name, step, parent.architecture, index, parent.name, fraction)

    add(source, "source", zoo.source, 0)
    several("sibling", {zoo.source: zoo.siblings})
    for step in ("surrogate", "surrogate_probability"):
        several(step, zoo.surrogates, source)
    for step in ("finetune_all", "finetune_last"):
        for i in range(zoo.finetuned):
            next_of(step, specs[source], i)
    rung = source
    for fraction in profile.recipes.prune.ladder:
        name = f"{source} > prune({fraction * 100:g}%)#0"
        add(name, "prune", zoo.source, 0, rung, fraction)
        rung = name
    students = dict.fromkeys(zoo.students, zoo.extracted_per_student)
    one_each = dict.fromkeys(zoo.students, 1)
    for step in ("extract_label", "extract_probability"):
        several(step, students, source)
    first_students = [f"{source} > extract_label({kind})#0" for kind in zoo.students]
    for student in map(specs.__getitem__, first_students):
        next_of("extract_adversarial", student)
        next_of("chain_finetuned", student)
        if student.architecture not in WITHOUT_BATCH_NORMALISATION:
            next_of("chain_pruned", student, fraction=0.5)
        next_of("chain_quantised", student)
    for step in ("extract_once", "extract_plain", "extract_noisy"):
        several(step, one_each, source)
    for step in ("transfer_all", "transfer_last", "transfer_corrupted"):
        for i in range(zoo.transferred):
            next_of(step, specs[source], i)
    for step in (
        "independent",
        "independent_owner",
        "independent_transfer",
        "independent_corrupted",
    ):
        several(step, getattr(zoo, step))
    for step in ("independent_plain", "independent_owner_plain"):
        several(step, zoo.independent_plain)
    for fraction in zoo.overlaps:
        for architecture, count in zoo.overlap.items():
            for i in range(count):
                name = f"overlap {fraction * 100:g}%({architecture})#{i}"
                add(name, "overlap", architecture, i, None, fraction)
    # round by round, so that a run with more students has those of one with fewer
    for i, architecture in enumerate(zoo.students * zoo.extracted_per_student):
        teacher = f"sibling({zoo.source})#{i % zoo.siblings}"
        name = f"{teacher} > student_of_sibling({architecture})#{i // zoo.siblings}"
        add(name, "student_of_sibling", architecture, i // zoo.siblings, teacher)
    several("student_of_stranger", one_each, f"independent({next(iter(zoo.independent))})#0")
    several("control_sibling", {zoo.source: 2})
    for i in range(2):
        several("control_student", one_each, f"control_sibling({zoo.source})#{i}")
    for step in ("control_owner", "control_owner_plain"):
        several(step, zoo.controls)
    several("control_reserve", one_each)
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
    recipe = getattr(profile.recipes, STEPS[step].recipe or step)
    return recipe.model_copy(update={"pad": 0}) if STEPS[step].plain else recipe


def regime(profile: Profile) -> str:
    """Whether the source was trained on images that were shifted and flipped as a thief's queries
    are.
    """
    recipes = (profile.recipes.source, profile.recipes.extract_label)
    source, queries = ((recipe.pad, recipe.flip) for recipe in recipes)
    if source == queries:
        return "one augmentation"
    return (
        "source without augmentation" if source[0] == 0 else "source and thieves shift differently"
    )


def image_count(profile: Profile, step: str) -> int:
    """The number of images that a model of a step is trained on."""
    images = STEPS[step].images
    if images == "transfer_train":
        return profile.transfer.train
    if STEPS[step].drawn:
        return round(profile.zoo.attacker_share * profile.splits.attacker)
    return int(getattr(profile.splits, images))


def maker_of(profile: Profile, step: str) -> str:
    """The `make` of a step; a watermarked source has its own."""
    watermarked = step == "source" and profile.recipes.source.watermark is not None
    return "watermarked" if watermarked else STEPS[step].make


def data_digest(profile: Profile) -> str:
    """Digest of the images that a profile uses: which, how split, by which code, and for an
    ImageFolder the names and sizes of its files.
    """
    values = [part.model_dump() for part in (profile.data, profile.splits, profile.transfer)]
    folders = [
        data.path and files.home() / data.path for data in (profile.data, profile.transfer.data)
    ]
    listings = []
    for folder in filter(None, folders):
        from .data import images_below  # with torch, for which a command line need not wait

        found = images_below(folder)
        listings.append([f"{each.relative_to(folder)} {each.stat().st_size}" for each in found])
    code = freshness.code_digest("zoo.prepare", whole=True)
    return files.digest_of([profile.seed, values, listings, code])


MADE_FROM = ("profile", "parents", "data", "code", "versions")
"""What a model depends on, in the words that tell a reader why it is out of date."""


def made_from(profile: Profile) -> dict[str, dict[str, Any]]:
    """What every model is made from: its values of the profile, its parent, images, code and
    versions of packages, each with a digest of its own.
    """
    versions = {name: files.versions()[name] for name in ("torch", "torchvision", "numpy")}
    images = data_digest(profile)
    result: dict[str, dict[str, Any]] = {}
    for spec in plan(profile).values():
        # named besides the maker, which knows its task by an annotation only
        maker = f"zoo.make_{maker_of(profile, spec.step)}", "attacks.Task"
        code = freshness.code_digest(*maker, "zoo.training_images", whole=True)
        recipe = recipe_of(profile, spec.step).model_dump(exclude={"ladder"})
        values = [spec.name, profile.seed, recipe, spec.fraction, STEPS[spec.step].images]
        drawn = STEPS[spec.step].drawn and profile.zoo.attacker_share < 1
        values.append([profile.zoo.attacker_share, spec.maker] if drawn else None)
        parent = result[spec.parent]["whole"] if spec.parent else None
        whole = files.digest_of([*values, parent, images, code, versions])
        result[spec.name] = {
            "profile": files.digest_of(values),
            "parents": parent,
            "data": images,
            "code": code,
            "versions": files.digest_of(versions),
            "whole": whole,
        }
    return result


@cache
def digests(profile: Profile) -> dict[str, str]:
    """Digest of every model: its recipe, seed, data, code, versions and, through its parent's
    digest, its whole history.
    """
    return {name: made["whole"] for name, made in made_from(profile).items()}


def seconds_known(folder: Path) -> dict[tuple[str, str], float]:
    """Mean seconds that the models in a folder took to train, by step and architecture."""
    known: dict[tuple[str, str], list[float]] = defaultdict(list)
    for file in folder.glob("*.json"):
        # a damaged record is reported when that model is asked for
        with suppress(files.UserError, KeyError, TypeError, ValueError):
            record = files.read_json(file)
            known[record["step"], record["architecture"]].append(float(record["seconds"]))
    return {kind: sum(times) / len(times) for kind, times in known.items()}


def passes_of(profile: Profile, spec: Spec) -> float:
    """Passes over the images that a training makes; adversarial training searches each image first,
    which is a pass for each step.
    """
    recipe = recipe_of(profile, spec.step)
    return recipe.epochs * (1 + getattr(recipe, "pgd_steps", 0)) * recipe.share


def seconds_of(
    profile: Profile, spec: Spec, known: dict[tuple[str, str], float], fast: bool = False
) -> tuple[float, int]:
    """Seconds that a model will take to train: those of its kind that are `known`, and 0; else
    passes over images at an assumed pace, and that pace in images a second. `fast` is a GPU.
    """
    if (kind := (spec.step, spec.architecture)) in known:
        return known[kind], 0
    # images a second on CUDA or of a small network, and of torchvision's on a CPU core
    pace = 2000 if fast or spec.architecture in get_args(Small) else 50
    return passes_of(profile, spec) * image_count(profile, spec.step) / pace, pace


def duration(seconds: float) -> str:
    """A duration in words, such as ``4 min``."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
