"""Load or train: one safetensors file and one JSON record for each model, in a folder safe to share and to interrupt."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from . import artefacts, attacks, data, lineage, models, training, watermark
from .artefacts import UserError
from .data import Images
from .lineage import Spec
from .profiles import Profile, Recipe
from .training import History

ATTEMPTS = 5
"""Seeds that are tried, one after the other, when a training diverges."""

Made = tuple[nn.Module, History]
Get = Callable[[str], nn.Module]


@dataclass(frozen=True)
class Material:
    """The images that training needs, on the device, and what is known of them."""

    splits: dict[str, Images]
    index: dict[str, torch.Tensor]
    class_names: list[str]
    transfer_class_names: list[str]
    device: torch.device

    @property
    def channels(self) -> int:
        """Channels of the images: 1 or 3."""
        return self.splits["owner"].pixels.shape[1]

    def classes(self, step: str) -> int:
        """Number of outputs of a model of this step."""
        return len(self.transfer_class_names if trains_on(step) == "transfer_train" else self.class_names)


def trains_on(step: str) -> str:
    """Name of the split that a step trains on."""
    if step in ("source", "surrogate", "irrelevant_owner", "reference"):
        return "owner"
    if step.endswith("corrupted"):
        return "attacker_corrupted"
    return "transfer_train" if "transfer" in step else "attacker"


def load_material(profile: Profile, folder: Path, device: torch.device) -> Material:
    """The images of a profile from the packed file in `folder`, which is made when it is missing or damaged.

    Raises
    ------
    UserError
        If a data set is missing or damaged, or the splits do not fit it.
    """
    digest = lineage.data_digest(profile)
    path, record_path = (folder / f"{digest[:12]}.{suffix}" for suffix in ("safetensors", "json"))
    if not intact(path, record_path, digest):
        tensors, classes, transfer_classes = data.prepare(profile.data, profile.splits, profile.transfer, profile.seed)
        with artefacts.atomic_path(path) as temporary:
            safetensors.torch.save_file(tensors, temporary)
        names = {"classes": classes, "transfer_classes": transfer_classes}
        record = {"digest": digest, "sha256": artefacts.sha256(path)} | names | artefacts.provenance()
        artefacts.write_json(record_path, record)
    record, tensors = artefacts.read_json(record_path), safetensors.torch.load_file(path)
    names = {key.split(".")[0] for key in tensors}
    splits = {name: Images(tensors[f"{name}.pixels"], tensors[f"{name}.labels"]).to(device) for name in sorted(names)}
    index = {key.removesuffix(".index"): value for key, value in tensors.items() if key.endswith(".index")}
    return Material(splits, index, record["classes"], record["transfer_classes"], device)


def intact(path: Path, record_path: Path, digest: str) -> bool:
    """Whether a file is the one that its record describes; says so when it is there and is not."""
    if not path.exists() or not record_path.exists():
        return False
    try:
        record = artefacts.read_json(record_path)
        if record["digest"] == digest and record["sha256"] == artefacts.sha256(path):
            return True
    except (UserError, KeyError, TypeError):
        pass
    print(f"{path.name} does not match its record (damaged or changed) and is made again.")
    return False


def make_independent(material: Material, spec: Spec, recipe: Any, seed: int, get: Get) -> Made:
    """The source or an irrelevant model: trained from scratch on true labels."""
    images = material.splits[trains_on(spec.step)]
    return attacks.train_independent(spec.architecture, images, material.classes(spec.step), recipe, seed, spec.name)


def make_watermarked(material: Material, spec: Spec, recipe: Any, seed: int, get: Get) -> Made:
    """The source with EWE's watermark."""
    images = material.splits["owner"]
    return watermark.train_watermarked(spec.architecture, images, material.classes(spec.step), recipe, seed, spec.name)


def make_finetuned(material: Material, spec: Spec, recipe: Any, seed: int, get: Get) -> Made:
    """A model that goes on from its parent's weights; ``_last`` trains the classifier block, ``transfer_`` has new labels."""
    return attacks.finetune(
        get(str(spec.parent)),
        material.splits[trains_on(spec.step)],
        material.classes(spec.step),
        recipe,
        seed,
        spec.name,
        last=spec.step.endswith("_last"),
        new_labels=trains_on(spec.step) == "transfer_train",
    )


def make_pruned(material: Material, spec: Spec, recipe: Any, seed: int, get: Get) -> Made:
    """One rung of the ladder of fine-pruning."""
    images, fraction = material.splits["attacker"], float(spec.fraction or 0)
    return attacks.prune(get(str(spec.parent)), images, recipe, fraction, seed, spec.name)


def make_label_student(material: Material, spec: Spec, recipe: Any, seed: int, get: Get) -> Made:
    """Extract-L on the attacker's images, or a surrogate: the same on the owner's."""
    query, images = attacks.black_box(get(str(spec.parent))), material.splits[trains_on(spec.step)]
    return attacks.extract_label(query, spec.architecture, images, material.classes(spec.step), recipe, seed, spec.name)


def make_probability_student(material: Material, spec: Spec, recipe: Any, seed: int, get: Get) -> Made:
    """Extract-P."""
    query, images = attacks.black_box(get(str(spec.parent))), material.splits["attacker"]
    return attacks.extract_probability(query, spec.architecture, images, material.classes(spec.step), recipe, seed, spec.name)


def make_hardened(material: Material, spec: Spec, recipe: Any, seed: int, get: Get) -> Made:
    """Extract-Adv: the parent is the student, and its own source answers the queries."""
    query, images = attacks.black_box(get(spec.name.split(" > ")[0])), material.splits["attacker"]
    return attacks.extract_adversarial(query, get(str(spec.parent)), images, recipe, seed, spec.name)


class Zoo:
    """The models of a profile on disk: each is loaded if it is there and intact, and trained otherwise.

    Parameters
    ----------
    profile : Profile
        Which models, and how each is made.
    folder : pathlib.Path
        Where they are kept. File names hold the model's digest, so that runs with other parameters share what is the same.
    material : Material
        The images.
    """

    def __init__(self, profile: Profile, folder: Path, material: Material) -> None:
        self.profile, self.folder, self.material = profile, folder, material
        self.specs = lineage.plan(profile)
        self._digests = lineage.digests(profile)
        self.source = next(iter(self.specs))
        self._loaded: dict[str, nn.Module] = {}

    def path(self, name: str) -> Path:
        """The weights file of a model."""
        return self.folder / f"{self.specs[name].slug}.{self._digests[name][:12]}.safetensors"

    def record(self, name: str) -> dict[str, Any]:
        """The record of a model, which is trained when it is missing."""
        self.get(name)
        return artefacts.read_json(self.path(name).with_suffix(".json"))

    def get(self, name: str) -> nn.Module:
        """A model in evaluation mode; the same object for every call, so copy it before changing it.

        Raises
        ------
        UserError
            If the zoo has no such model, or its training diverged with every seed.
        """
        if name not in self.specs:
            raise UserError(
                f"The zoo of profile {self.profile.name!r} has no model {name!r}; one of its names is {self.source!r}."
            )
        if name not in self._loaded:
            path, spec = self.path(name), self.specs[name]
            if not intact(path, path.with_suffix(".json"), self._digests[name]):
                self._train(spec, path)
            classes = self.material.classes(spec.step)
            model = models.build(spec.architecture, self.material.channels, classes, seed=0)
            model.load_state_dict(safetensors.torch.load_file(path))
            self._loaded[name] = model.to(self.material.device).eval()
        return self._loaded[name]

    def _train(self, spec: Spec, path: Path) -> None:
        recipe = lineage.recipe_of(self.profile, spec.step)
        make = globals()[lineage.maker_of(self.profile, spec.step)]
        started = time.monotonic()
        for attempt in range(ATTEMPTS):
            seed = lineage.derived_seed(self.profile.seed, spec.name, attempt)
            try:
                model, history = make(self.material, spec, recipe, seed, self.get)
                reached = training.accuracy(model, self.material.splits[trains_on(spec.step)])
                if reached < 1.5 / self.material.classes(spec.step):
                    raise training.Diverged(
                        f"{spec.name}: an accuracy of {reached:.1%} on its own images is no better than guessing"
                    )
                break
            except training.Diverged as error:
                print(f"{error}; " + ("trying the next seed." if attempt < ATTEMPTS - 1 else "giving up."))
        else:
            raise UserError(
                f"{spec.name} diverged with all of its {ATTEMPTS} seeds; "
                f"another recipes.{spec.step}.lr than {recipe.lr} or more epochs than {recipe.epochs} may help."
            )
        with artefacts.atomic_path(path) as temporary:
            state = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
            safetensors.torch.save_file(state, temporary)
        record = self._describe(spec, model, recipe, history) | {"seed": seed, "attempt": attempt}
        record |= {"digest": self._digests[spec.name], "sha256": artefacts.sha256(path)}
        record |= {"seconds": round(time.monotonic() - started, 2), "device": _device_name(self.material.device)}
        artefacts.write_json(path.with_suffix(".json"), record | artefacts.provenance())

    def _describe(self, spec: Spec, model: nn.Module, recipe: Recipe, history: History) -> dict[str, Any]:
        splits = self.material.splits
        new_labels = trains_on(spec.step) == "transfer_train"
        test = splits["transfer_test" if new_labels else "test"]
        fidelity = None
        if spec.step != "source" and not new_labels:
            theirs = training.logits_of(self.get(self.source), test.pixels).argmax(1)
            fidelity = (training.logits_of(model, test.pixels).argmax(1) == theirs).double().mean().item()
        return asdict(spec) | {
            "recipe": recipe.model_dump(),
            "train_accuracy": training.accuracy(model, splits[trains_on(spec.step)]),
            "test_accuracy": training.accuracy(model, test),
            "fidelity": fidelity,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "history": asdict(history),
        }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread"
