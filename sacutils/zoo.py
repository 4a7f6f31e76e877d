"""Load or train: one safetensors file and one JSON record for each model, in a folder that is safe
to share and to interrupt.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from . import attacks, checkpoints, corruptions, data, files, models, steps, training, watermark
from .attacks import Made, Task
from .data import Images
from .files import UserError
from .profiles import DataSet, Profile, Splits, Transfer
from .steps import STEPS, Spec

ATTEMPTS = 20
"""Seeds that are tried, one after the other, when a training diverges. VGG without batch
normalisation does so in Extract-P with two seeds of three.
"""
FIRST = 5
"""Of these seeds, those that have to reach 1.5 times the accuracy of a guess. The others have to
reach three times it, for among many networks that learned nothing one guesses well by luck.
"""
QUERIES = 1000
"""Images of a model's own on which it is compared with the source, at most."""
Get = Callable[[str], nn.Module]
"""From a model's name to the model."""


def prepare(
    source: DataSet, sizes: Splits, transfer: Transfer, seed: int
) -> tuple[dict[str, torch.Tensor], list[str], list[str]]:
    """All images that a profile needs, as tensors for one file, and the class names of the data set
    and of the transfer target.

    The tensors are ``<split>.pixels``, ``.labels`` and ``.index`` (place in the data set); what is
    corrupted has no index. A grey target of a source that takes colour is shown to it as three
    equal channels.
    """
    images, classes = data.load(source)
    target, target_classes = data.load(transfer.data)
    if (images.pixels.shape[1], target.pixels.shape[1]) == (3, 1):
        target = target._replace(pixels=target.pixels.repeat(1, 3, 1, 1))
    tensors = {}
    transfer_sizes = {"transfer_train": transfer.train, "transfer_test": transfer.test}
    for pool, wanted in ((images, sizes.model_dump()), (target, transfer_sizes)):
        for name, index in data.split(pool.labels, wanted, seed).items():
            tensors[f"{name}.pixels"] = pool.pixels[index].contiguous()
            tensors[f"{name}.labels"], tensors[f"{name}.index"] = pool.labels[index], index
    attacker = Images(tensors["attacker.pixels"], tensors["attacker.labels"])
    tensors["attacker_corrupted.pixels"] = corruptions.corrupt(attacker, seed).pixels
    tensors["attacker_corrupted.labels"] = attacker.labels.clone()
    return tensors, classes, target_classes


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
        return len(self.transfer_class_names if STEPS[step].new_labels else self.class_names)


def load_material(profile: Profile, folder: Path, device: torch.device) -> Material:
    """The images of a profile from the packed file in `folder`, which is made when it is missing
    or damaged; a ``UserError`` if a data set is, or the splits do not fit it.
    """
    digest = steps.data_digest(profile)
    path = folder / f"{digest[:12]}.safetensors"
    if not files.intact(path, digest):
        tensors, *names = prepare(profile.data, profile.splits, profile.transfer, profile.seed)
        with files.atomic_path(path) as temporary:
            safetensors.torch.save_file(tensors, temporary)
        files.write_record(path, digest, classes=names[0], transfer_classes=names[1])
    record, tensors = files.read_json(path.with_suffix(".json")), safetensors.torch.load_file(path)
    names = sorted({key.split(".")[0] for key in tensors})
    splits = {
        name: Images(tensors[f"{name}.pixels"], tensors[f"{name}.labels"]).to(device)
        for name in names
    }
    index = {name: tensors[f"{name}.index"] for name in names if f"{name}.index" in tensors}
    return Material(splits, index, record["classes"], record["transfer_classes"], device)


def training_images(spec: Spec, profile: Profile, splits: dict[str, Images]) -> Images:
    """What a model is trained on: its split, or of the attacker's images the share that its maker
    draws; an overlap takes the fraction of it from the owner.
    """
    step, share = STEPS[spec.step], profile.zoo.attacker_share
    overlap = step.images == "owner and attacker"
    images = splits["attacker" if overlap else step.images]
    if share < 1 and step.drawn:
        seed = steps.derived_seed(profile.seed, "images", spec.maker)
        order = torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(seed))
        images = images.take(order[: round(share * len(order))].to(images.labels.device))
    if not overlap:
        return images
    theirs = splits["owner"].take(slice(round((spec.fraction or 0) * len(images.labels))))
    rest = images.take(slice(len(theirs.labels), None))
    return Images(*(torch.cat(parts) for parts in zip(theirs, rest, strict=True)))


def make_independent(spec: Spec, task: Task, get: Get) -> Made:
    """The source or an independent model: trained from scratch on true labels."""
    return attacks.train_independent(spec.architecture, task)


def make_watermarked(spec: Spec, task: Task, get: Get) -> Made:
    """The source with EWE's watermark."""
    return watermark.train_watermarked(spec.architecture, task)


def make_finetuned(spec: Spec, task: Task, get: Get) -> Made:
    """A model that goes on from its parent's weights."""
    last, new_labels = spec.step.endswith("_last"), STEPS[spec.step].new_labels
    return attacks.finetune(get(str(spec.parent)), task, last=last, new_labels=new_labels)


def make_pruned(spec: Spec, task: Task, get: Get) -> Made:
    """One rung of the ladder of fine-pruning, or a student that is pruned."""
    return attacks.prune(get(str(spec.parent)), task, float(spec.fraction or 0))


def make_label_student(spec: Spec, task: Task, get: Get) -> Made:
    """Extract-L: a surrogate, a control or another's student is the same with another teacher or
    other images.
    """
    return attacks.extract_label(attacks.black_box(get(str(spec.parent))), spec.architecture, task)


def make_once_student(spec: Spec, task: Task, get: Get) -> Made:
    """Extract-L, asked once."""
    return attacks.extract_once(get(str(spec.parent)), spec.architecture, task)


def make_noisy_student(spec: Spec, task: Task, get: Get) -> Made:
    """Extract-L from noisy answers."""
    query = attacks.noisy(attacks.black_box(get(str(spec.parent))), attacks.NOISE, task.seed)
    return attacks.extract_label(query, spec.architecture, task, record=False)


def make_probability_student(spec: Spec, task: Task, get: Get) -> Made:
    """Extract-P."""
    query = attacks.black_box(get(str(spec.parent)))
    return attacks.extract_probability(query, spec.architecture, task)


def make_hardened(spec: Spec, task: Task, get: Get) -> Made:
    """Extract-Adv: the parent is the student, and its own source answers the queries."""
    query = attacks.black_box(get(spec.name.split(" > ")[0]))
    return attacks.extract_adversarial(query, get(str(spec.parent)), task)


def make_quantised(spec: Spec, task: Task, get: Get) -> Made:
    """A student with rounded weights; nothing is trained."""
    return attacks.quantise(get(str(spec.parent))), training.History()


class Zoo:
    """The models of a profile in a folder: each is loaded if it is there and intact, and trained
    otherwise, which is announced beforehand. File names hold the model's digest, so that runs with
    other parameters share what is the same, and several processes: one trains, the others wait.
    """

    def __init__(self, profile: Profile, folder: Path, material: Material) -> None:
        self.profile, self.folder, self.material = profile, folder, material
        self.specs = steps.plan(profile)
        self._digests = steps.digests(profile)
        self.source = next(iter(self.specs))
        self._loaded: dict[str, nn.Module] = {}
        self._announced: list[str] = []
        self._trained = 0

    def path(self, name: str) -> Path:
        """The weights file of a model; a ``UserError`` if the zoo has no such model."""
        if name not in self.specs:
            zoo = f"The zoo of profile {self.profile.name!r}"
            raise UserError(f"{zoo} has no model {name!r}; one of its names is {self.source!r}.")
        return self.folder / self.specs[name].file(self._digests[name])

    def missing(self, names: Iterable[str]) -> list[str]:
        """What would be trained if these models were asked for: they, what they descend from, and
        the source, with which they are compared; parents first.
        """
        paths = {name: self.path(name) for name in names}  # refuses a name that is not there
        wanted, missing = set(paths), []
        for name, spec in reversed(self.specs.items()):  # children before parents
            path = self.path(name)
            if name in wanted and not (path.exists() and path.with_suffix(".json").exists()):
                missing.append(name)
                wanted |= {spec.parent, None if STEPS[spec.step].new_labels else self.source}
        return missing[::-1]

    def announce(self, names: Iterable[str]) -> None:
        """Say which models will be trained when `names` are asked for, and how long that takes;
        nothing when all are there, or have been announced before.
        """
        missing = [name for name in self.missing(names) if name not in self._announced]
        if not missing:
            return
        self._announced += missing
        counts = Counter(STEPS[self.specs[name].step].label for name in missing)
        kinds = ", ".join(f"{count} {label}" for label, count in counts.items())
        models = f"{len(missing)} model{'s' * (len(missing) > 1)} ({kinds})"
        print(f"To train: {models}, about {self._estimate(missing)}.", flush=True)

    def _estimate(self, names: list[str]) -> str:
        """Duration of the training of some models, see :func:`steps.seconds_of`."""
        known, cuda = steps.seconds_known(self.folder), self.material.device.type == "cuda"
        parts = [steps.seconds_of(self.profile, self.specs[name], known, cuda) for name in names]
        assumed = next((pace for _, pace in parts if pace), 0)
        how = f", at an assumed {assumed:,} images a second" if assumed else ""
        return f"{steps.duration(sum(part[0] for part in parts))} on this machine{how}"

    def task(self, name: str, attempt: int = 0) -> Task:
        """What a model of this zoo is trained on and how; another attempt has another seed."""
        spec, profile = self.specs[name], self.profile
        images = training_images(spec, profile, self.material.splits)
        seed = steps.derived_seed(profile.seed, name, attempt)
        recipe = steps.recipe_of(profile, spec.step)
        return Task(images, self.material.classes(spec.step), recipe, seed, name)

    def record(self, name: str) -> dict[str, Any]:
        """The record of a model, which is trained when it is missing."""
        self.get(name)
        return files.read_json(self.path(name).with_suffix(".json"))

    def get(self, name: str) -> nn.Module:
        """A model in evaluation mode; always the same object, so copy it to change it. A
        ``UserError`` if the zoo has no such model, or its training diverged with every seed.
        """
        if name not in self._loaded:
            path, spec = self.path(name), self.specs[name]
            if not files.intact(path, self._digests[name]):
                with files.locked(path):
                    # another process may have made it since
                    if not files.matches(path, self._digests[name]):
                        self.announce([name])  # if it is missing: damage has been reported
                        with checkpoints.kept(path, self._digests[name]):
                            self._train(spec, path)
            classes = self.material.classes(spec.step)
            model = models.build(spec.architecture, self.material.channels, classes, seed=0)
            model.load_state_dict(safetensors.torch.load_file(path))
            self._loaded[name] = model.to(self.material.device).eval()
        return self._loaded[name]

    def _train(self, spec: Spec, path: Path) -> None:
        make = globals()[f"make_{steps.maker_of(self.profile, spec.step)}"]
        if spec.parent:
            self.get(spec.parent)
        started = time.monotonic()
        for attempt in range(ATTEMPTS):
            task = self.task(spec.name, attempt)
            try:
                model, history = make(spec, task, self.get)
                reached = training.accuracy(model, task.images)
                if reached >= min((1.5 if attempt < FIRST else 3) / task.classes, 0.9):
                    break
                share = f"{reached:.1%} of its own images right"
                raise training.Diverged(f"{spec.name}: {share} is no better than chance")
            except training.Diverged as error:
                rest = "trying the next seed" if attempt < ATTEMPTS - 1 else "giving up"
                print(f"{error}; {rest}.")
        else:
            lr = f"recipes.{STEPS[spec.step].recipe or spec.step}.lr than {task.recipe.lr}"
            advice = f"another {lr} or more epochs than {task.recipe.epochs} may help"
            raise UserError(f"{spec.name} diverged with all of its {ATTEMPTS} seeds; {advice}.")
        with files.atomic_path(path) as temporary:
            state = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
            safetensors.torch.save_file(state, temporary)
        seconds = time.monotonic() - started + checkpoints.seconds_before()
        cuda = self.material.device.type == "cuda"
        result = asdict(spec) | {"recipe": task.recipe.model_dump(), "train_accuracy": reached}
        result |= self._measure(spec, model, task)
        result |= {"parameters": sum(weights.numel() for weights in model.parameters())}
        result |= {"history": asdict(history), "seed": task.seed, "attempt": attempt}
        device = torch.cuda.get_device_name() if cuda else "CPU, one thread"
        result |= {"seconds": round(seconds, 2), "device": device}
        made = steps.made_from(self.profile)[spec.name]
        result["made_from"] = {part: made[part] for part in steps.MADE_FROM}
        files.write_record(path, self._digests[spec.name], **result)
        self._trained += 1
        total = max(self._trained, len(self._announced))
        print(f"{self._trained} of {total}: {spec.name}, {steps.duration(seconds)}", flush=True)

    @cached_property
    def _source_labels(self) -> torch.Tensor:
        """The source's labels of the test images."""
        pixels = self.material.splits["test"].pixels
        return training.logits_of(self.get(self.source), pixels).argmax(1)

    def _measure(self, spec: Spec, model: nn.Module, task: Task) -> dict[str, float | None]:
        """Accuracy on the test images and on the images that the source is asked about, or would
        be: the model's own, as it saw them in training; and agreement with the source on both where
        classes are the same.
        """
        new_labels = STEPS[spec.step].new_labels
        test = self.material.splits["transfer_test" if new_labels else "test"]
        mine = training.logits_of(model, test.pixels).argmax(1)
        result: dict[str, float | None] = {"test_accuracy": _share(mine == test.labels.cpu())}
        if new_labels:
            return result | dict.fromkeys(("fidelity", "query_accuracy", "query_fidelity"))
        generator = torch.Generator().manual_seed(task.seed)
        spread = torch.linspace(0, len(task.images.labels) - 1, QUERIES).long().unique()
        some = task.images.take(spread.to(task.images.labels.device))
        seen = data.augment(some.pixels, task.recipe.pad, task.recipe.flip, generator)
        answers = training.logits_of(model, seen).argmax(1)
        result["query_accuracy"] = _share(answers == some.labels.cpu())
        if spec.step == "source":
            return result | dict.fromkeys(("fidelity", "query_fidelity"))
        theirs = training.logits_of(self.get(self.source), seen).argmax(1)
        result["fidelity"] = _share(mine == self._source_labels)
        result["query_fidelity"] = _share(answers == theirs)
        return result


def _share(hits: torch.Tensor) -> float:
    return hits.double().mean().item()
