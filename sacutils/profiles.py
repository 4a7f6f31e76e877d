"""Profiles: everything that a run depends on, in one YAML file, checked before anything runs."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .artefacts import UserError, digest_of

ROOT = Path(__file__).parent.parent
PROFILES = ROOT / "profiles"

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Strict(BaseModel):
    """Base of every part of a profile: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSet(Strict):
    """A data set: one of ours by name, or an ImageFolder tree by its path."""

    name: Literal["fashion_subset", "digits", "fashion_mnist", "cifar10", "cifar100", "imagefolder"]
    path: str | None = None
    image_size: Annotated[int, Field(ge=8, le=256)]
    classes: Positive | None = None

    @model_validator(mode="after")
    def _path_goes_with_imagefolder(self) -> "DataSet":
        if (self.path is not None) != (self.name == "imagefolder"):
            raise ValueError("path must be given for name: imagefolder and for no other")
        return self


class Splits(Strict):
    """Numbers of images in the four disjoint splits."""

    owner: Positive
    attacker: Positive
    probe: Positive
    test: Positive


class Transfer(Strict):
    """The transfer target with new labels: a data set of its own with a training and a test part."""

    data: DataSet
    train: Positive
    test: Positive


class Recipe(Strict):
    """One training: SGD, a schedule, augmentation; values that only some attacks use default to none.

    `share` is the part of the images that is used, the first of their split; `compile` hands the model to ``torch.compile``.
    """

    lr: Rate
    epochs: Positive
    batch: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["constant", "onecycle", "cosine_per_batch"] = "onecycle"
    pad: Count = 2
    flip: bool = True
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    compile: bool = False


class Watermark(Strict):
    """EWE: after the task, for `epochs`, images of `source_class` with a bright square are taught to be `target_class`.

    `size` is the square's side in pixels, `factor` the weight of the soft nearest-neighbour loss that entangles the images with
    the target class, `temperature` that loss's own.
    """

    source_class: Count
    target_class: Count
    size: Positive
    epochs: Positive
    factor: Annotated[float, Field(ge=0)]
    temperature: Rate

    @model_validator(mode="after")
    def _classes_differ(self) -> "Watermark":
        if self.source_class == self.target_class:
            raise ValueError("source_class and target_class must differ")
        return self


class Source(Recipe):
    """The source's training; with a watermark it is EWE's."""

    watermark: Watermark | None = None


class Distillation(Recipe):
    """Extract-P: a temperature and the weight of the soft term."""

    temperature: Rate = 20.0
    soft_weight: Annotated[float, Field(ge=0, le=1)] = 0.9


class Adversarial(Recipe):
    """Extract-Adv: projected gradient descent in units of one grey level (1/255 of the range)."""

    pgd_steps: Positive
    pgd_step: Rate
    pgd_radius: Rate


class Pruning(Recipe):
    """Fine-pruning: `epochs` of fine-tuning after each step of the ladder."""

    ladder: Annotated[list[Fraction], Field(min_length=1)]

    @model_validator(mode="after")
    def _ladder_rises(self) -> "Pruning":
        if self.ladder != sorted(set(self.ladder)):
            raise ValueError("ladder must rise strictly")
        return self


class Recipes(Strict):
    """One recipe per step."""

    source: Source
    surrogate: Recipe
    irrelevant: Recipe
    finetune_all: Recipe
    finetune_last: Recipe
    prune: Pruning
    extract_label: Recipe
    extract_probability: Distillation
    extract_adversarial: Adversarial
    transfer_all: Recipe
    transfer_last: Recipe
    transfer_corrupted: Recipe
    irrelevant_transfer: Recipe
    irrelevant_corrupted: Recipe


class Zoo(Strict):
    """Which models, and how many of each; architectures are names of ``sacutils.models.ARCHITECTURES``."""

    source: str
    students: Annotated[list[str], Field(min_length=1)]
    extracted_per_student: Positive
    surrogates: dict[str, Positive]
    irrelevant: dict[str, Positive]
    irrelevant_owner: dict[str, Positive]
    references: dict[str, Positive]
    finetuned: Positive
    transferred: Positive
    irrelevant_transfer: dict[str, Positive]
    irrelevant_corrupted: dict[str, Positive]


class Probes(Strict):
    """How many probes, and how each set is made."""

    count: Annotated[int, Field(ge=4)]
    second_count: Annotated[int, Field(ge=4)]
    patch: Fraction = 0.2
    patch_position: Literal["corner", "centre", "random"] = "corner"
    jpeg_severity: Annotated[int, Field(ge=1, le=5)] = 1


class Variant(Strict):
    """The same experiment with some values replaced, of which only the models of some steps are needed."""

    overrides: dict[str, Any]
    steps: Annotated[list[str], Field(min_length=1)]


class Profile(Strict):
    """Everything that a run depends on."""

    name: str
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    data: DataSet
    splits: Splits
    transfer: Transfer
    zoo: Zoo
    recipes: Recipes
    probes: Probes
    bootstrap: Annotated[int, Field(ge=100)] = 2000
    variants: dict[str, Variant] = {}
    overrides: dict[str, Any] = {}

    @property
    def run_name(self) -> str:
        """Folder under ``runs/``: the profile's name, and what was overridden."""
        rest = {key: value for key, value in self.overrides.items() if key != "seed"}
        name = self.name + (f"-seed{self.seed}" if "seed" in self.overrides else "")
        return name + (f"-{digest_of(rest)[:8]}" if rest else "")


SETTABLE = [name for name in Profile.model_fields if name not in ("name", "overrides")]
"""Top-level parameters that a file or an override may set; the other two are derived."""


def available() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def _sentence(error: pydantic.ValidationError, origin: str) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the profile"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        model: Any = Profile
        for part in first["loc"][:-1]:
            model = model.model_fields[str(part)].annotation
        known = ", ".join(SETTABLE if model is Profile else model.model_fields)
        return f"{origin}: unknown parameter {field!r}; accepted here are {known}."
    if first["type"] == "missing":
        return f"{origin}: {field} is missing; a profile must give it."
    return f"{origin}: {field} = {first['input']!r} is not accepted: {message}."


def load_profile(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """Read and check a profile.

    Parameters
    ----------
    name : str
        A file ``profiles/<name>.yaml``.
    overrides : dict, optional
        Values to replace, by dotted path: ``{"seed": 1, "recipes.extract_label.epochs": 30}``.

    Returns
    -------
    Profile
        With every value checked and `overrides` recorded.

    Raises
    ------
    UserError
        On an unknown profile, an unknown parameter, or a value of the wrong type or range.
    """
    path = PROFILES / f"{name}.yaml"
    if name not in available():
        raise UserError(f"Unknown profile {name!r}; profiles/ holds {', '.join(available())}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path.name} is not valid YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path.name} holds {type(values).__name__} where the named values of a profile are expected.")
    overrides = dict(overrides or {})
    if overrides.get("seed") == values.get("seed", Profile.model_fields["seed"].default):
        overrides.pop("seed", None)  # the same run under the same name, whether its seed was given or not
    for key, value in overrides.items():
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                raise UserError(f"Override {key!r}: there is no section {parent!r}; accepted here are {', '.join(place)}.")
            # a copy, because sections that share a YAML anchor are one and the same dictionary
            place[parent] = dict(place[parent])
            place = place[parent]
        if key in ("name", "overrides"):
            raise UserError(f"Override {key!r}: this is no parameter of a profile; top-level ones are {', '.join(SETTABLE)}.")
        place[last] = value
    try:
        return Profile.model_validate(values | {"name": name, "overrides": overrides}, strict=False)
    except pydantic.ValidationError as error:
        raise UserError(_sentence(error, f"profile {name!r}")) from None
