"""Profiles: everything that a run depends on, in one YAML file, checked whole before anything runs.

This module imports no torch, so that a command line can refuse a profile at once.
"""

from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal, get_args

import pydantic
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from .files import UserError, digest_of, home

Small = Literal["vgg_bn_s", "vgg_s", "resnet_s", "densenet_s", "mobilenet_s"]
"""Networks for the CPU, which take grey or colour images."""
Large = Literal[
    "vgg16_bn", "vgg19_bn", "vgg13", "resnet18", "resnet34", "densenet121", "mobilenet_v2"
]
"""torchvision's networks, which take colour images."""
Architecture = Literal[Small, Large]
WITHOUT_BATCH_NORMALISATION = ("vgg_s", "vgg13")

StepName = Literal[
    *("source", "surrogate", "surrogate_probability"),
    *("finetune_all", "finetune_last", "prune"),
    *("extract_label", "extract_probability", "extract_adversarial"),
    *("extract_once", "extract_plain", "extract_noisy"),
    *("chain_finetuned", "chain_pruned", "chain_quantised"),
    *("transfer_all", "transfer_last", "transfer_corrupted"),
    *("independent", "independent_owner", "independent_plain", "independent_owner_plain"),
    *("overlap", "sibling", "student_of_sibling", "student_of_stranger"),
    *("independent_transfer", "independent_corrupted"),
    *("control_sibling", "control_student", "control_owner", "control_owner_plain"),
    "control_reserve",
]
"""Kinds of model, see :data:`sacutils.steps.STEPS`."""

GREY = ("fashion_subset", "digits", "fashion_mnist")
"""Data sets with one channel; the others have three."""
CLASSES = dict.fromkeys([*GREY, "cifar10"], 10) | {"cifar100": 100}
"""Classes of the data sets whose number is known from their name."""

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Counted = Annotated[list[Positive], Field(min_length=1)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Counts = Annotated[dict[Architecture, Positive], Field(min_length=1)]
"""How many models of each architecture."""


class Strict(BaseModel):
    """Base of every part of a profile: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    derived: ClassVar[tuple[str, ...]] = ()
    """Fields that no file may set, and a validation with a context refuses."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any, info: ValidationInfo) -> Any:
        known = [name for name in cls.model_fields if not (info.context and name in cls.derived)]
        for key in values if isinstance(values, dict) else ():
            if key not in known:
                names = {"key": str(key), "known": ", ".join(known)}
                raise PydanticCustomError("unknown", "unknown parameter", names)
        return values


class DataSet(Strict):
    """A data set: one of ours by name, or an ImageFolder tree by its path, which is relative to
    :func:`sacutils.files.home`; with `classes` only the first so many classes.
    """

    name: Literal["fashion_subset", "digits", "fashion_mnist", "cifar10", "cifar100", "imagefolder"]
    path: str | None = None
    image_size: Annotated[int, Field(ge=8, le=256)]
    classes: Annotated[int, Field(ge=2)] | None = None

    @property
    def channels(self) -> int:
        """Channels of its images, 1 or 3."""
        return 1 if self.name in GREY else 3

    @property
    def known_classes(self) -> float:
        """Number of classes; infinite where only the files know it."""
        return self.classes or CLASSES.get(self.name, float("inf"))

    @model_validator(mode="after")
    def _possible(self) -> "DataSet":
        if (self.path is not None) != (self.name == "imagefolder"):
            raise ValueError("path must be given for name: imagefolder and for no other")
        there = CLASSES.get(self.name, float("inf"))
        if (self.classes or 0) > there:
            raise ValueError(f"classes = {self.classes} is too many, {self.name} has {there}")
        return self


class Splits(Strict):
    """Numbers of images in the five disjoint splits. The owner has `owner`, on which the source is
    trained, `probe`, from which probes are taken, and `reserve`, on which its helpers are trained.
    """

    owner: Positive
    attacker: Positive
    probe: Positive
    reserve: Positive
    test: Positive


class Transfer(Strict):
    """The transfer target with new labels: a data set with a training and a test part."""

    data: DataSet
    train: Positive
    test: Positive


class Recipe(Strict):
    """One training with SGD. `share` is the part of the images that is used, the first of their
    split; `compile` hands the model to ``torch.compile``.
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
    """EWE: after the task, for `epochs`, images of `source_class` with a bright square are taught
    to be `target_class`. `size` is the square's side in pixels, `factor` and `temperature` are
    those of the soft nearest-neighbour loss that entangles them.
    """

    source_class: Count
    target_class: Count
    size: Positive
    epochs: Positive
    factor: Annotated[float, Field(ge=0)]
    temperature: Rate


class Source(Recipe):
    """The source's training; with a watermark it is EWE's."""

    watermark: Watermark | None = None


class Distillation(Recipe):
    """Extract-P: a temperature and the weight of the soft term."""

    temperature: Rate = 20.0
    soft_weight: Share = 0.9


class Adversarial(Recipe):
    """Extract-Adv: projected gradient descent in units of one grey level (1/255 of the range)."""

    pgd_steps: Positive
    pgd_step: Rate
    pgd_radius: Rate


def _rising(values: list[Any]) -> list[Any]:
    if values != sorted(set(values)):
        raise ValueError("its values must rise strictly")
    return values


class Pruning(Recipe):
    """Fine-pruning: `epochs` of fine-tuning after each step of the ladder."""

    ladder: Annotated[list[Fraction], Field(min_length=1), AfterValidator(_rising)]


class Recipes(Strict):
    """One recipe per step."""

    source: Source
    surrogate: Recipe
    independent: Recipe
    finetune_all: Recipe
    finetune_last: Recipe
    prune: Pruning
    extract_label: Recipe
    extract_probability: Distillation
    extract_adversarial: Adversarial
    transfer_all: Recipe
    transfer_last: Recipe
    transfer_corrupted: Recipe
    independent_transfer: Recipe
    independent_corrupted: Recipe


class Zoo(Strict):
    """Which models, and how many of each.

    Every model on attacker data draws `attacker_share` of that split for itself; what is made from
    a stolen model keeps that model's images. `surrogates` are trained twice, from labels and from
    probabilities, `controls` with shifts and without, `independent_plain` on attacker data and on
    owner data. `overlaps` are the shares of an independent model's images that are the owner's.
    Of the `siblings` one may be the suspect's teacher, and without it two have to be left.
    `thief_strengths` bounds how many strengths of an adaptive thief are tried in a full run, for as
    many `students` as each has models.
    """

    source: Architecture
    students: Annotated[list[Architecture], Field(min_length=1)]
    extracted_per_student: Positive
    attacker_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    siblings: Annotated[int, Field(ge=3)]
    controls: Counts
    surrogates: Counts
    independent: Counts
    independent_owner: Counts
    independent_plain: Counts
    overlap: Counts
    thief_strengths: Positive = 5
    overlaps: Annotated[list[Fraction], Field(min_length=1)] = [0.25, 0.5, 0.75]
    finetuned: Positive
    transferred: Positive
    independent_transfer: Counts
    independent_corrupted: Counts


class Probes(Strict):
    """How many probes, and how each set is made. The sibling test chooses `contested` probes, in
    several numbers, from the owner's images and `views` shifted and flipped versions of each.
    """

    count: Annotated[int, Field(ge=4)]
    second_count: Annotated[int, Field(ge=4)]
    patch: Fraction = 0.2
    patch_position: Literal["corner", "centre", "random"] = "corner"
    jpeg_severity: Annotated[int, Field(ge=1, le=5)] = 1
    contested: Annotated[Counted, AfterValidator(_rising)] = [300, 1000, 4000]
    views: Count = 3

    @property
    def counts(self) -> list[int]:
        """The numbers of probes at which methods are compared: `count`, and `second_count` where
        that is smaller.
        """
        return sorted({self.count, min(self.second_count, self.count)}, reverse=True)


class Variant(Strict):
    """The same experiment with some values replaced; only models of some steps are needed."""

    overrides: dict[str, Any]
    steps: Annotated[list[StepName], Field(min_length=1)]


class Profile(Strict):
    """Everything that a run depends on; a *full* run computes the variants too."""

    derived: ClassVar[tuple[str, ...]] = ("name", "overrides")

    name: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    data: DataSet
    splits: Splits
    transfer: Transfer
    zoo: Zoo
    recipes: Recipes
    probes: Probes
    variants: dict[Annotated[str, Field(pattern=r"^[\w.-]+$")], Variant] = {}
    full: bool = False
    overrides: dict[str, Any] = {}

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def active_variants(self) -> dict[str, Variant]:
        """The variants that this run computes: all if it is full, otherwise none."""
        return self.variants if self.full else {}

    @property
    def run_name(self) -> str:
        """Folder under ``runs/``: the profile's name, and what was overridden."""
        rest = {key: value for key, value in self.overrides.items() if key not in ("seed", "full")}
        name = self.name + (f"-seed{self.seed}" if "seed" in self.overrides else "")
        name += "-full" if self.overrides.get("full") else ""
        return name + (f"-{digest_of(rest)[:8]}" if rest else "")

    @model_validator(mode="after")
    def _parts_fit(self) -> "Profile":
        data, target, zoo, count = self.data, self.transfer.data, self.zoo, self.probes.count
        grey = f"data.name = {data.name} has grey ones"
        if target.image_size != data.image_size:
            sizes = f"{target.image_size} is not data.image_size = {data.image_size}"
            one = "a model takes images of one size"
            raise ValueError(f"transfer.data.image_size = {sizes}; {one}")
        if (data.channels, target.channels) == (1, 3):
            colour = f"transfer.data.name = {target.name} has colour images"
            raise ValueError(f"{colour} and {grey}; choose a grey target ({', '.join(GREY)})")
        for field, value in zoo if data.channels == 1 else ():
            names = value if isinstance(value, list | dict) else [value]
            if large := [name for name in names if name in get_args(Large)]:
                colour = f"zoo.{field}: {large[0]} takes colour images"
                raise ValueError(f"{colour} and {grey}; choose from {', '.join(get_args(Small))}")
        if zoo.source in WITHOUT_BATCH_NORMALISATION:
            lacks = "has no batch normalisation, in which pruning masks channels"
            advice = "choose a source with it, such as vgg_bn_s or vgg16_bn"
            raise ValueError(f"zoo.source = {zoo.source} {lacks}; {advice}")
        if len(set(zoo.students)) < len(zoo.students):
            raise ValueError(f"zoo.students = {zoo.students} names an architecture twice")
        if count > self.splits.probe:
            more = f"probes.count = {count} is more than splits.probe = {self.splits.probe}"
            raise ValueError(f"{more}; lower it or enlarge the split")
        pool = (self.splits.probe + self.splits.reserve) * (1 + self.probes.views)
        if (most := self.probes.contested[-1]) > pool:
            there = f"the {pool} views of the images in splits.probe and splits.reserve"
            raise ValueError(f"probes.contested asks for {most}, more than {there}; ask for fewer")
        for share in zoo.overlaps if zoo.overlap else ():
            wanted = round(share * round(zoo.attacker_share * self.splits.attacker))
            if wanted > self.splits.owner:
                theirs = f"zoo.overlaps: {share:g} of a stranger's images are {wanted}"
                raise ValueError(f"{theirs}, more than splits.owner = {self.splits.owner}")
        if self.recipes.source.watermark is not None:
            _watermark_fits(self.recipes.source.watermark, data)
        return self


def _watermark_fits(watermark: Watermark, data: DataSet) -> None:
    field = "recipes.source.watermark"
    for name in ("source_class", "target_class"):
        if (value := getattr(watermark, name)) >= data.known_classes:
            accepted = f"accepted are 0 to {data.known_classes - 1}"
            raise ValueError(f"{field}.{name} = {value} is no class of {data.name}; {accepted}")
    if watermark.source_class == watermark.target_class:
        raise ValueError(f"{field}: source_class and target_class must differ")
    if watermark.size >= data.image_size:
        sizes = f"{watermark.size} does not fit data.image_size = {data.image_size}"
        raise ValueError(f"{field}.size = {sizes}; choose a smaller square")


def available() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(path.stem for path in (home() / "profiles").glob("[!.]*.yaml"))


def sentence(error: pydantic.ValidationError, origin: str) -> str:
    """The first problem that pydantic found, as one sentence that begins with where the values
    come from and names the field, what was found and what is accepted.
    """
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part != "[key]")
    message = first["msg"].removeprefix("Value error, ")
    match first["type"]:
        case "unknown":
            key = (f"{field}." if field else "") + first["ctx"]["key"]
            message = f"unknown parameter {key!r}; accepted here are {first['ctx']['known']}"
        case "missing":
            message = f"{field} is missing; it must be given"
        case "value_error" if isinstance(first["input"], dict):
            message = (f"{field}: " if field else "") + message
        case _:
            message = f"{field} = {first['input']!r} is not accepted: {message}"
    return f"{origin}: {message}."


def _replaced(values: dict[str, Any], overrides: dict[str, Any], origin: str) -> dict[str, Any]:
    """A file's values with some replaced, by dotted path."""
    values = dict(values)
    for key, value in overrides.items():
        *parents, last = str(key).split(".")
        section = values
        for parent in parents:
            if not isinstance(section.get(parent), dict):
                missing = f"override {key!r}: there is no section {parent!r}"
                known = ", ".join(map(str, section))
                raise UserError(f"{origin}: {missing}; accepted here are {known}.")
            # a copy, because sections that share a YAML anchor are one and the same dictionary
            section[parent] = dict(section[parent])
            section = section[parent]
        section[last] = value
    return values


def _checked(values: dict[str, Any], name: str, overrides: dict[str, Any], origin: str) -> Profile:
    """The profile of a file's values with some replaced."""
    values = _replaced(values, overrides, origin)
    try:
        profile = Profile.model_validate(values, context=True)
    except pydantic.ValidationError as error:
        raise UserError(sentence(error, origin)) from None
    return profile.model_copy(update={"name": name, "overrides": overrides})


class Yaml(yaml.SafeLoader):
    """YAML in which a key that stands twice is refused; of two, PyYAML keeps the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping, before merges, if its keys differ."""
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key!r} stands twice; give it once")
        return node


def _read(name: str) -> dict[str, Any]:
    """The values of a profile's file as they stand there."""
    path = home() / "profiles" / f"{name}.yaml"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Yaml)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is not valid YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise UserError(f"{path.name} holds {kind} where the named values of a profile belong.")
    return values


def load_profile(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """Read ``profiles/<name>.yaml`` and check it whole, with each of its variants.

    `overrides` are values to replace, by dotted path: ``{"seed": 1, "recipes.prune.epochs": 30}``.
    So is what the file holds as ``full_run``, which a full run has instead of the file's values.
    An unknown name or parameter, a value of the wrong type or range, and values that do not fit
    each other raise a ``UserError``.
    """
    if name not in available():
        raise UserError(f"Unknown profile {name!r}; profiles/ holds {', '.join(available())}.")
    path, values = home() / "profiles" / f"{name}.yaml", _read(name)
    if (base := values.pop("base", None)) is not None:
        # a regime: another profile with some values replaced, and results of its own
        if base not in available() or base == name:
            known = ", ".join(other for other in available() if other != name)
            raise UserError(f"{path.name}: base = {base!r} is no other profile; there are {known}.")
        values = _replaced(_read(base), values, f"profile {name!r}")
    more = values.pop("full_run", {})
    if not isinstance(more, dict):
        raise UserError(f"{path.name}: full_run = {more!r} holds no values by dotted path.")
    # a seed that is the profile's own is the same run, whether it was given or not
    own = {key: values.get(key, Profile.model_fields[key].default) for key in ("seed", "full")}
    given = dict(overrides or {})
    with suppress(pydantic.ValidationError, KeyError):  # y and off are truth values too
        given["full"] = pydantic.TypeAdapter(bool).validate_python(given["full"])
    overrides = {key: value for key, value in given.items() if key not in own or value != own[key]}
    where = f"profile {name!r}, full_run"
    for field in own.keys() & more.keys():
        raise UserError(f"{where}: {field} has no effect there; remove it.")
    larger = _replaced(values, more, where)
    if more:
        _checked(larger, name, {}, where)
    full = overrides.get("full", own["full"]) is True
    profile = _checked(larger if full else values, name, overrides, f"profile {name!r}")
    for key, variant in profile.variants.items():
        origin = f"profile {name!r}, variant {key!r}"
        for field in {"variants", "full"} & variant.overrides.keys():
            raise UserError(f"{origin}: override {field!r} has no effect in a variant; remove it.")
        _checked(larger, name, overrides | variant.overrides | {"variants": {}}, origin)
    return profile
