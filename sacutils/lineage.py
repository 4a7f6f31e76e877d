"""Which models a profile asks for, what each descends from, and a digest that says whether a file on disk is that model."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from . import artefacts, freshness
from .profiles import ROOT, DataSet, Profile, load_profile

LABELS = {
    "finetune_all": "Finetune-A",
    "finetune_last": "Finetune-L",
    "prune": "Pruning",
    "extract_label": "Extract-L",
    "extract_probability": "Extract-P",
    "extract_adversarial": "Extract-Adv",
    "transfer_all": "Transfer-A",
    "transfer_last": "Transfer-L",
    "transfer_corrupted": "Transfer-10C",
    "irrelevant": "Irrelevant (attacker data)",
    "irrelevant_owner": "Irrelevant (owner data)",
    "irrelevant_transfer": "Irrelevant (new labels)",
    "irrelevant_corrupted": "Irrelevant (corrupted)",
    "source": "Source",
    "surrogate": "Surrogate",
    "reference": "Reference",
}
"""Display name of each step, the same in tables, legends and prose."""

ATTACKS = [step for step in LABELS if step not in ("source", "surrogate", "reference") and not step.startswith("irrelevant")]
"""Steps that steal, in the order of the published tables."""

NEGATIVES = {
    "transfer_all": ["irrelevant_transfer"],
    "transfer_last": ["irrelevant_transfer"],
    "transfer_corrupted": ["irrelevant_corrupted"],
}
"""Irrelevant group of an attack that leaves the source's classes or images, so that the usual groups do not fit."""

IRRELEVANT = ["irrelevant", "irrelevant_owner"]
"""Irrelevant groups with the source's classes."""

MAIN_NEGATIVES = "attacker data"
"""The comparison that is meant where none is named: the released code's, with models that never saw the owner's data."""


def negative_sets(attack: str) -> dict[str, list[str]]:
    """Irrelevant groups that an attack is compared with, by the name of the comparison; the first is `MAIN_NEGATIVES`.

    Models on owner data are a comparison of their own, and the harder one: they share the source's training images.
    """
    if attack in NEGATIVES:
        return {MAIN_NEGATIVES: NEGATIVES[attack]}
    return {MAIN_NEGATIVES: ["irrelevant"], "owner data": ["irrelevant_owner"], "all": IRRELEVANT}


MAKERS = dict.fromkeys(LABELS, "make_finetuned") | {
    "source": "make_independent",
    "surrogate": "make_label_student",
    "reference": "make_independent",
    "irrelevant": "make_independent",
    "irrelevant_owner": "make_independent",
    "irrelevant_transfer": "make_independent",
    "irrelevant_corrupted": "make_independent",
    "prune": "make_pruned",
    "extract_label": "make_label_student",
    "extract_probability": "make_probability_student",
    "extract_adversarial": "make_hardened",
}
"""Function of ``sacutils.zoo`` that makes a model of each step; what is not named is fine-tuned."""


@dataclass(frozen=True)
class Spec:
    """One model of the zoo.

    Attributes
    ----------
    name : str
        The model's history, for example ``source(vgg_bn_s)#0 > extract_label(resnet_s)#1 > extract_adversarial#1``.
    step : str
        The last step of that history, a key of `LABELS`.
    architecture : str
        A name of ``sacutils.models.ARCHITECTURES``.
    index : int
        Distinguishes models that differ in their seed only.
    parent : str or None
        Name of the model that this one is made from.
    fraction : float or None
        Share of pruned channels, for the step ``prune`` only.
    """

    name: str
    step: str
    architecture: str
    index: int
    parent: str | None = None
    fraction: float | None = None

    @property
    def slug(self) -> str:
        """The name in characters that every file system takes."""
        return self.name.replace(" > ", "__").replace("(", "-").replace(")", "").replace("#", "-").replace("%", "pc")


def _independent(step: str, architectures: dict[str, int]) -> list[Spec]:
    return [
        Spec(f"{step}({architecture})#{index}", step, architecture, index)
        for architecture, count in architectures.items()
        for index in range(count)
    ]


@cache
def _plan(profile_json: str) -> dict[str, Spec]:
    profile = Profile.model_validate_json(profile_json)
    zoo = profile.zoo
    source = Spec(f"source({zoo.source})#0", "source", zoo.source, 0)
    specs = [source]
    for architecture, count in zoo.surrogates.items():
        for i in range(count):
            name = f"{source.name} > surrogate({architecture})#{i}"
            specs.append(Spec(name, "surrogate", architecture, i, source.name))
    for step, count in (("finetune_all", zoo.finetuned), ("finetune_last", zoo.finetuned)):
        specs += [Spec(f"{source.name} > {step}#{i}", step, zoo.source, i, source.name) for i in range(count)]
    parent = source.name
    for fraction in profile.recipes.prune.ladder:
        name = f"{source.name} > prune({fraction * 100:g}%)#0"
        specs.append(Spec(name, "prune", zoo.source, 0, parent, fraction))
        parent = name
    for step in ("extract_label", "extract_probability"):
        for student in zoo.students:
            for i in range(zoo.extracted_per_student):
                specs.append(Spec(f"{source.name} > {step}({student})#{i}", step, student, i, source.name))
    for spec in [spec for spec in specs if spec.step == "extract_label"]:
        name = f"{spec.name} > extract_adversarial#{spec.index}"
        specs.append(Spec(name, "extract_adversarial", spec.architecture, spec.index, spec.name))
    for step in ("transfer_all", "transfer_last", "transfer_corrupted"):
        specs += [Spec(f"{source.name} > {step}#{i}", step, zoo.source, i, source.name) for i in range(zoo.transferred)]
    specs += _independent("irrelevant", zoo.irrelevant)
    specs += _independent("irrelevant_owner", zoo.irrelevant_owner)
    specs += _independent("irrelevant_transfer", zoo.irrelevant_transfer)
    specs += _independent("irrelevant_corrupted", zoo.irrelevant_corrupted)
    specs += _independent("reference", zoo.references)
    return {spec.name: spec for spec in specs}


def plan(profile: Profile) -> dict[str, Spec]:
    """Every model that the profile asks for, parents before children, by name."""
    return _plan(profile.model_dump_json())


FAMILIES = {
    "source": "source",
    "surrogate": "surrogates",
    "reference": "references",
    "prune": "prune",
    "finetune_all": "finetune",
    "finetune_last": "finetune",
    "transfer_all": "finetune",
    "transfer_last": "finetune",
    "transfer_corrupted": "finetune",
    "irrelevant_transfer": "irrelevant_transfer",
    "irrelevant_corrupted": "irrelevant_corrupted",
}
"""Steps that one job trains together; extracted and irrelevant models are grouped by architecture instead."""


def variant(profile: Profile, name: str) -> Profile:
    """One of the profile's variants as a profile of its own, without variants."""
    return load_profile(profile.name, profile.overrides | profile.variants[name].overrides | {"variants": {}})


def variant_specs(profile: Profile, name: str) -> list[Spec]:
    """The models that a variant needs."""
    return [spec for spec in plan(variant(profile, name)).values() if spec.step in profile.variants[name].steps]


def groups(profile: Profile) -> dict[str, list[Spec]]:
    """The models in batches that one job trains, so that start-up is paid once; a variant is a batch, ``variant-<name>``."""
    result: dict[str, list[Spec]] = {}
    for spec in plan(profile).values():
        family = FAMILIES.get(spec.step, f"{spec.step.split('_')[0]}-{spec.architecture}")
        result.setdefault(family, []).append(spec)
    return result | {f"variant-{name}": variant_specs(profile, name) for name in profile.variants}


def profile_of(profile: Profile, group: str) -> Profile:
    """The profile that a group's models belong to: that of its variant, or `profile` itself."""
    return variant(profile, group.removeprefix("variant-")) if group.startswith("variant-") else profile


def ancestors(profile: Profile, group: str) -> list[str]:
    """Groups that must be finished before `group` can start."""
    base = digests(profile)
    place = {
        base[spec.name]: name
        for name, specs in groups(profile).items()
        if profile_of(profile, name) is profile
        for spec in specs
    }
    own = digests(profile_of(profile, group))
    parents = [own[spec.parent] for spec in groups(profile)[group] if spec.parent]
    return sorted({place[parent] for parent in parents if parent in place} - {group})


def cost(profile: Profile, group: str) -> int:
    """Rough cost of a group, in passes over the images: the longest job should start first."""
    own = profile_of(profile, group)
    recipes = [recipe_of(own, spec.step) for spec in groups(profile)[group]]
    return round(sum(recipe.epochs * recipe.share for recipe in recipes))


def derived_seed(*parts: Any) -> int:
    """A seed of 31 bits that depends on all parts and on nothing else."""
    return int(artefacts.digest_of(parts)[:8], 16) & 0x7FFFFFFF


def recipe_of(profile: Profile, step: str) -> Any:
    """The recipe of a step; independent models on owner data share that of the irrelevant ones."""
    return getattr(profile.recipes, "irrelevant" if step in ("irrelevant_owner", "reference") else step)


def maker_of(profile: Profile, step: str) -> str:
    """Name of the function of ``sacutils.zoo`` that makes a model of this step; a source with a watermark has its own."""
    watermarked = step == "source" and profile.recipes.source.watermark is not None
    return "make_watermarked" if watermarked else MAKERS[step]


def data_digest(profile: Profile) -> str:
    """Digest of the images that a profile uses: which, how split, by which code, and for an ImageFolder what lies in it."""
    listings = [_listing(data) for data in (profile.data, profile.transfer.data)]
    values = [profile.seed, profile.data.model_dump(), profile.splits.model_dump(), profile.transfer.model_dump(), listings]
    return artefacts.digest_of([values, freshness.code_digest("data.prepare")])


def _listing(data: DataSet) -> str | None:
    if data.path is None:
        return None
    folder = ROOT / data.path
    files = sorted(str(file.relative_to(folder)) + f" {file.stat().st_size}" for file in folder.rglob("*.*"))
    return artefacts.digest_of(files)


@cache
def _digests(profile_json: str) -> dict[str, str]:
    profile = Profile.model_validate_json(profile_json)
    versions = {name: artefacts.versions()[name] for name in ("torch", "torchvision", "numpy")}
    images = data_digest(profile)
    result: dict[str, str] = {}
    for spec in plan(profile).values():
        recipe = recipe_of(profile, spec.step).model_dump()
        recipe.pop("ladder", None)
        values = {
            "name": spec.name,
            "seed": profile.seed,
            "recipe": recipe,
            "fraction": spec.fraction,
            "data": images,
            "parent": result[spec.parent] if spec.parent else None,
            "code": freshness.code_digest("zoo." + maker_of(profile, spec.step), "zoo.trains_on", "lineage.derived_seed"),
            "versions": versions,
        }
        result[spec.name] = artefacts.digest_of(values)
    return result


def digests(profile: Profile) -> dict[str, str]:
    """Digest of every model: its recipe, seed, data, code, versions and, through its parent's digest, its whole history."""
    return _digests(profile.model_dump_json())
