"""A fingerprint folder: probe images, the owner's answers, and a hash that fixes both in time."""

import hashlib
import io
import itertools
import json
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pydantic
import torch
from PIL import Image
from pydantic import Field, model_validator
from scipy import special
from scipy.optimize import linear_sum_assignment

from sacutils import __version__, data, files, probes, profiles, siblings
from sacutils.data import Images
from sacutils.files import UserError, is_clutter
from sacutils.profiles import Strict, sentence

from . import answers
from .answers import Answers
from .images import Pool, encode
from .text import plain, read_bytes, refuse
from .weights import Preprocessing

TOOL = f"sacheck {__version__}"
ANCHORS = 20
"""Plain images mixed among the probes: every model of the task should get them right, so they show
whether rows fit images."""
FEWEST_ANCHORS = 10
LARGEST_FILE = 8 * 2**20
MOST_IMAGES = 5000 + ANCHORS
LARGEST_IMAGES = 2**30
"""Bytes of all images of a folder when they are unpacked."""
LONGEST_NAME = 100
VIEWS = 4
"""Candidates that kind contested takes from each image: itself, and shifted or flipped views."""
VIEWED = 2**26
"""Bytes of views that are held at once."""
MOST_CLASSES = 1000
"""Classes up to which :func:`accuracy` looks for another order of them."""
MANIFEST = "manifest.json"
COMMITMENT = "COMMITMENT"

Answer = Callable[[torch.Tensor], np.ndarray]
"""From uint8 images, shape (n, channels, height, width), to a model's outputs, float64, shape
(n, classes)."""


Side = Annotated[int, Field(ge=1, le=1024)]


class Model(Strict):
    """What is recorded of a model's file; not where it lies."""

    file: str
    sha256: str
    architecture: str | None
    preprocessing: Preprocessing


class Sibling(Model):
    """A model of the owner's script and data with another seed, and its probabilities."""

    outputs: list[list[float]]

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return Path(self.file).stem


class Probe(Strict):
    """One image of the folder.

    `index` is its number among the images that were given; an anchor is a plain image.
    """

    file: Annotated[str, Field(pattern=r"^probe-[0-9]{4,6}\.png$")]
    sha256: str
    index: int
    anchor: bool


class Manifest(Strict):
    """All of a fingerprint besides its images; the commitment is the SHA-256 of this file."""

    format: Literal["sac-fingerprint-1"]
    tool: str
    utc: str
    nonce: str
    model: Model
    surrogates: list[Model]
    siblings: list[Sibling]
    kind: Literal["normal", "source", "w", "m", "jc", "contested"]
    settings: dict[str, int | float | str]
    images: str
    class_names: Annotated[list[str], Field(min_length=2)]
    channels: Literal[1, 3]
    height: Side
    width: Side
    probes: Annotated[list[Probe], Field(max_length=MOST_IMAGES)]
    form: answers.Form
    k: int
    outputs: list[list[float]]

    @model_validator(mode="after")
    def _is_possible(self) -> "Manifest":
        count, anchors = len(self.probes), sum(probe.anchor for probe in self.probes)
        size = count * self.height * self.width * self.channels
        relatives = {"source", *(each.name for each in self.siblings)}
        problems = {
            "a probe is listed twice": len({probe.file for probe in self.probes}) < count,
            f"{count - anchors} probes and {anchors} anchors; at least 2 and {FEWEST_ANCHORS} "
            "are needed": count - anchors < 2 or anchors < FEWEST_ANCHORS,
            f"{size:,} bytes when unpacked, not {LARGEST_IMAGES:,} or less": size > LARGEST_IMAGES,
            f"kind {self.kind} with {len(self.siblings)} siblings; contested needs some, others "
            "none": (self.kind == "contested") != bool(self.siblings),
            "a sibling's name occurs twice, or is 'source'": len(relatives) <= len(self.siblings),
        }
        refuse(f"{MANIFEST}: ", problems)
        check_class_names(self.class_names, MANIFEST)
        return self


def check_class_names(names: list[str], where: str) -> None:
    """Refuse names of classes that a manifest cannot hold: `where` says which file or option."""
    odd = [n for n in names if not (n.strip() and n.isprintable() and len(n) <= LONGEST_NAME)]
    problems = {
        "a class name occurs twice": len(set(names)) < len(names),
        f"the class name {''.join(odd[:1])[: LONGEST_NAME + 1]!a} is not accepted; 1 to "
        f"{LONGEST_NAME} characters that can be printed are": bool(odd),
    }
    refuse(f"{where}: ", problems)


class Fingerprint(NamedTuple):
    """A fingerprint that was read and checked.

    `pixels` are probes and anchors in the order of the files, uint8, shape (n, channels, height,
    width), and `answers` the owner's in the same order; `commitment` is the SHA-256 of the manifest
    file.
    """

    folder: Path
    manifest: Manifest
    commitment: str
    pixels: torch.Tensor
    answers: Answers

    @property
    def names(self) -> list[str]:
        """File names of probes and anchors."""
        return [probe.file for probe in self.manifest.probes]

    @property
    def is_anchor(self) -> np.ndarray:
        """Which images are anchors, bool, shape (n,)."""
        return np.array([probe.anchor for probe in self.manifest.probes])

    @property
    def members(self) -> dict[str, np.ndarray]:
        """Probabilities of the source and its siblings by name, shape (n, classes) each."""
        own = answers.convert(self.answers, "probabilities", self.answers.k).numpy()
        more = {each.name: np.array(each.outputs) for each in self.manifest.siblings}
        return {"source": own} | more


def make(
    folder: Path,
    models: list[tuple[Answer, Model]],
    pool: Pool,
    class_names: list[str],
    kind: str,
    settings: profiles.Probes,
    seed: int = 0,
) -> Fingerprint:
    """Choose probes and anchors, ask the owner's model, and write a fingerprint folder, which must
    not exist.

    `models` are the owner's and, for ``w``, some that were extracted from it, for ``contested`` its
    siblings; with each what is recorded of it. ``source`` and ``w`` need true labels; repeated
    images of the pool are left out. `class_names` are those of the model's outputs, in their order,
    and with true labels the model's :func:`accuracy` is checked and recorded. The rest is as for
    ``probes.make``, and the seed is also that of the order of the files.
    """
    labelled = pool.class_names is not None
    members = models if kind == "contested" else models[:1]
    surrogates = len(models) - len(members)
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists; fingerprints are never overwritten, give another name.")
    if kind in ("source", "w") and not labelled:
        raise UserError(f"kind {kind!r} needs true labels, which {pool.described} does not have.")
    if (kind == "w") != (surrogates > 0):
        raise UserError(f"kind {kind!r} with {surrogates} surrogates; w needs some, others none.")
    (owner, described), *others = models
    first: dict[bytes, int] = {}
    for i, image in enumerate(pool.images.pixels):
        first.setdefault(hashlib.sha256(image.numpy().tobytes()).digest(), i)
    different = torch.tensor(list(first.values()))
    alike = len(different) == len(pool.images.labels)  # then nothing is copied
    images = pool.images if alike else pool.images.take(different)
    outputs = owner(images.pixels)
    if outputs.shape[1] != len(class_names):
        raise UserError(f"The model has {outputs.shape[1]} outputs, not {len(class_names)}.")
    known = pool.described
    if labelled:
        right = accuracy(outputs.argmax(1), images.labels.numpy(), class_names)
        known += f", the model is right on {right:.0%}"
    if kind == "contested":
        chosen = contested(members, images.pixels, settings.count, seed)
    else:
        rows = [outputs, *(answer(images.pixels) for answer, _ in others)]
        predictions = torch.from_numpy(np.stack([row.argmax(1) for row in rows]))
        there, which, more = len(images.labels), "", "or give more images"
        if kind in ("source", "w"):
            there = int((predictions != images.labels).all(0).sum())
            who = "your model gets" if kind == "source" else "your model and all surrogates get"
            which, more = f" that {who} wrong", "give more images, or choose --kind m"
        what = f"--count asks for {settings.count} probes and there are {there:,} images{which}"
        refuse("", {f"{what}; lower it, {more}": settings.count > there})
        chosen = probes.make(kind, images, predictions, settings, seed)
    anchors = _anchors(images, outputs, set(chosen.index.tolist()), labelled)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(chosen.index) + len(anchors), generator=generator)
    pixels = torch.cat([chosen.pixels, images.pixels[anchors]])[order]
    if len(torch.unique(pixels.flatten(1), dim=0)) < len(pixels):
        raise UserError(f"kind {kind!r} makes some probes equal; choose fewer, or other images.")
    index = different[torch.cat([chosen.index, anchors])[order]].tolist()
    contents = [encode(image) for image in pixels]
    own = answers.detect(owner(pixels), "Your model")
    relatives = []
    for answer, model in members[1:]:
        theirs = answers.detect(answer(pixels), model.file)
        what = f"{plain(model.file)} answers with {theirs.form}, your model with {own.form}"
        refuse(what, {"; members must answer alike": theirs.form != own.form})
        outputs = answers.rounded(answers.convert(theirs, "probabilities", theirs.k).numpy())
        relatives.append(Sibling(**dict(model), outputs=outputs))
    used = {"count", *{"m": ("patch", "patch_position"), "jc": ("jpeg_severity",)}.get(kind, ())}
    values = {
        "format": "sac-fingerprint-1",
        "tool": TOOL,
        "utc": files.provenance()["utc"],
        "nonce": secrets.token_hex(32),
        "model": described,
        "surrogates": [model for _, model in models[len(members) :]],
        "siblings": relatives,
        "kind": kind,
        "settings": settings.model_dump(include=used) | {"seed": seed},
        "images": known,
        "class_names": class_names,
        **dict(zip(("channels", "height", "width"), pixels.shape[1:], strict=True)),
        "probes": [
            Probe(
                file=f"probe-{number:04d}.png",
                sha256=hashlib.sha256(content).hexdigest(),
                index=index[number],
                anchor=bool(order[number] >= len(chosen.index)),
            )
            for number, content in enumerate(contents)
        ],
        "form": own.form,
        "k": own.k,
        "outputs": answers.rounded(own.outputs),
    }
    try:
        manifest = Manifest.model_validate(values)
    except pydantic.ValidationError as error:
        raise UserError(plain(sentence(error, "The fingerprint"), 300) + ".") from None
    _write(folder, manifest, contents)
    return load(folder)


def contested(
    members: list[tuple[Answer, Model]], pixels: torch.Tensor, count: int, seed: int
) -> probes.Probes:
    """The `count` candidates on whose labels the members differ most, the source being one member
    among all (:func:`sacutils.siblings.disagreement`). Candidates are the images and shifted or
    flipped views of them, at most one of each image while enough images divide the members.

    `pixels` are uint8, shape (n, channels, height, width). Shifts go up to a fourteenth of the
    side, 2 pixels of 28, which is how the book's models see images in training.
    """
    found, repeated = [], []
    for views in _views(pixels, seed):
        asked = views.flatten(0, 1)
        rows = [torch.from_numpy(answer(asked).argmax(1)) for answer, _ in members]
        found.append(torch.stack(rows).view(len(members), VIEWS, -1))
        repeated.append([(views[:j] == views[j]).flatten(2).all(2).any(0) for j in range(1, VIEWS)])
    labels = torch.cat(found, 2).flatten(1)
    problems = {f"{len(members) - 1} siblings; at least 2 are needed": len(members) < 3}
    for (i, (_, one)), (j, (_, other)) in itertools.combinations(enumerate(members), 2):
        what = f"{plain(other.file)} gives the same labels as {plain(one.file)} for all images; "
        what += "a sibling is another training of yours, with another seed"
        problems[what] = torch.equal(labels[i], labels[j])
    differ = siblings.disagreement(labels).view(VIEWS, -1)
    differ[1:][torch.cat([torch.stack(part) for part in repeated], 1)] = 0  # equal views count once
    if (differ.amax(0) > 0).sum() >= count:
        differ *= torch.arange(VIEWS)[:, None] == differ.argmax(0)
    there = int((differ > 0).sum())
    what = f"The members differ on {there} candidates; choose so many probes, or give more images"
    refuse("", problems | {what: there < count})
    chosen = differ.flatten().argsort(descending=True, stable=True)[:count]
    view, index = chosen // len(pixels), chosen % len(pixels)
    kept, start = torch.empty_like(pixels[index]), 0
    for views in _views(pixels, seed):  # once more, since all of them were too large to keep
        here = (start <= index) & (index < start + views.shape[1])
        kept[here] = views[view[here], index[here] - start]
        start += views.shape[1]
    return probes.Probes(kept, index)


def _views(pixels: torch.Tensor, seed: int) -> Iterator[torch.Tensor]:
    """The views of some images at a time, shape (VIEWS, n, channels, height, width)."""
    generator, pad = torch.Generator().manual_seed(seed), max(1, pixels.shape[-1] // 14)
    for part in pixels.split(max(1, VIEWED // (VIEWS * pixels[0].nbytes))):
        more = [data.augment(part, pad, True, generator) for _ in range(VIEWS - 1)]
        yield torch.stack([part, *more])


def accuracy(predicted: np.ndarray, labels: np.ndarray, class_names: list[str]) -> float:
    """The share of images that the owner's model gets right; refused if that is no more than by
    chance, or if its outputs mean other classes than their names say.

    Both are class numbers, shape (n,). Chance is what the shares of the classes give by themselves,
    at level 0.01. Another order of the classes is chosen on every second image, as the assignment
    that explains most, and must be right on the others at least 5 points more often, and
    significantly so (McNemar's exact test at 0.0001).
    """
    right, n = predicted == labels, len(labels)
    there, both = np.unique([predicted, labels], return_inverse=True)
    if len(there) <= MOST_CLASSES:
        given, meant = both.reshape(2, -1)
        table = np.zeros((len(there), len(there)), int)
        np.add.at(table, (given[::2], meant[::2]), 1)
        order = linear_sum_assignment(table, maximize=True)[1]
        now, then = right[1::2], order[given[1::2]] == meant[1::2]
        wins, losses = int((then & ~now).sum()), int((now & ~then).sum())
        chance = special.bdtrc(wins - 1, wins + losses, 0.5)
        names = list(class_names)
        for number, other in zip(there, there[order], strict=True):
            names[number] = class_names[other]
        what = (
            f"Your model is right on {now.mean():.0%} of the images, and on {then.mean():.0%} if "
        )
        what += (
            f"its outputs are {plain(','.join(names), 200)}; give its own order by --class-names"
        )
        refuse("", {what: chance < 1e-4 and wins - losses >= 0.05 * len(now)})
    shares = [np.bincount(each, minlength=len(class_names)) / n for each in (predicted, labels)]
    needed = _quantile(0.99, n, float(shares[0] @ shares[1])) + 1
    what = (
        f"Your model is right on {right.sum():,} of {n:,} images, no more than by chance; prepare"
    )
    what += " them as in its training (--mean, --std, --maximum, --input-size), or name its classes"
    refuse("", {f"{what} in its order (--class-names)": right.sum() < min(n, needed)})
    return float(right.mean())


def _quantile(q: float, n: int, p: float) -> int:
    """The smallest number of hits in `n` that is not exceeded with probability `q`, each hit having
    probability `p`; as scipy.stats.binom.ppf, which takes seconds to import.
    """
    return int(np.searchsorted(special.bdtr(np.arange(n + 1), n, p), q))


def _write(folder: Path, manifest: Manifest, contents: list[bytes]) -> None:
    """Write a fingerprint whole or not at all."""
    text = json.dumps(manifest.model_dump(), indent=1) + "\n"
    if len(text) > answers.LARGEST:
        raise UserError(f"The manifest would have {len(text):,} bytes; choose fewer probes.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        staging = Path(scratch) / "fingerprint"
        (staging / "probes").mkdir(parents=True)
        for probe, content in zip(manifest.probes, contents, strict=True):
            (staging / "probes" / probe.file).write_bytes(content)
        files.write_text(staging / MANIFEST, text)
        files.write_text(staging / COMMITMENT, f"{files.sha256(staging / MANIFEST)}  {MANIFEST}\n")
        staging.rename(folder)


def _anchors(images: Images, outputs: np.ndarray, taken: set[int], labelled: bool) -> torch.Tensor:
    """The images of which the owner's model is surest, from all classes in turn."""
    own = answers.detect(outputs)
    sure, predicted = answers.convert(own, "probabilities", own.k).numpy().max(1), own.predicted
    ranked: dict[int, list[int]] = {}
    for i in np.argsort(-sure, kind="stable").tolist():
        if i not in taken and not (labelled and predicted[i] != images.labels[i]):
            ranked.setdefault(int(predicted[i]), []).append(i)
    turns = [(turn, label, i) for label, row in ranked.items() for turn, i in enumerate(row)]
    chosen = [i for _, _, i in sorted(turns)[:ANCHORS]]
    one = f"Your model puts all {len(predicted):,} images into one class; are they prepared as in "
    one += "its training (--mean, --std, --maximum, --input-size), and of several classes"
    few = f"{len(chosen)} images besides the probes are left as anchors, in {len(ranked)} classes; "
    few += f"{FEWEST_ANCHORS} are needed, in two, so give more images"
    problems = {one: len(set(predicted.tolist())) < 2}
    refuse("", problems | {few: len(chosen) < FEWEST_ANCHORS or len(ranked) < 2})
    return torch.tensor(chosen)


def load(folder: Path, published: str | None = None) -> Fingerprint:
    """Read a fingerprint folder and check that nothing in it was changed.

    `published` is the commitment that the owner published earlier.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{folder} is no folder; a fingerprint is one that sacheck made.")
    _check_listing(folder, {MANIFEST, COMMITMENT, "probes"})
    path = folder / MANIFEST
    content = read_bytes(path, answers.LARGEST)
    commitment = hashlib.sha256(content).hexdigest()
    stated = read_bytes(folder / COMMITMENT, 1000).decode(errors="replace").split()
    if stated != [commitment, MANIFEST]:
        named = plain((stated or ["nothing"])[0], 12)
        raise UserError(f"{path} was altered: its SHA-256 is {commitment[:12]}, not {named}.")
    if published is not None and published.strip().lower() != commitment:
        known = f"{commitment[:12]}, and {published.strip()[:12]} was published"
        raise UserError(f"{folder} has the commitment {known}; it is another fingerprint.")
    manifest = answers.read_record(path, content, Manifest)
    names = [probe.file for probe in manifest.probes]
    _check_listing(folder / "probes", set(names))
    pixels = torch.stack([_read_png(folder / "probes", p, manifest) for p in manifest.probes])
    if len(torch.unique(pixels.flatten(1), dim=0)) < len(pixels):
        raise UserError(f"{folder / 'probes'} holds two equal images; make the fingerprint anew.")
    given, classes = (manifest.outputs, manifest.form, manifest.k), len(manifest.class_names)
    own = answers.stated(*given, str(path), names, classes)
    for each in manifest.siblings:
        where = f"{path}: {plain(each.file)}"
        answers.stated(each.outputs, "probabilities", classes, where, names, classes)
    return Fingerprint(folder, manifest, commitment, pixels, own)


def _check_listing(folder: Path, expected: set[str]) -> None:
    present = {path.name for path in folder.iterdir() if not is_clutter(path.name)}
    if present != expected:
        odd = sorted(present ^ expected)[0]
        problem = "missing" if odd in expected else "not part of this fingerprint"
        raise UserError(f"{folder}: {odd!r} is {problem}; the folder was altered.")


def _read_png(folder: Path, probe: Probe, manifest: Manifest) -> torch.Tensor:
    """One probe, after its hash and the size that its header states have been checked."""
    path, size = folder / probe.file, (manifest.width, manifest.height)
    content = read_bytes(path, LARGEST_FILE)
    if hashlib.sha256(content).hexdigest() != probe.sha256:
        raise UserError(f"{path} was altered: its SHA-256 is not the one in the manifest.")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size != size or image.mode != ("L" if manifest.channels == 1 else "RGB"):
                found, stated = (f"{width} x {height}" for width, height in (image.size, size))
                raise UserError(f"{path} has {found} pixels, {image.mode}; not {stated} as stated.")
            array = np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as a PNG image ({str(error)[:100]}).") from None
    return torch.from_numpy(array.reshape(*size[::-1], -1)).permute(2, 0, 1)


class Anchors(NamedTuple):
    """How many anchors a suspect answers as the owner's model does, and how many are needed."""

    agree: int
    total: int
    needed: int


def anchors(fingerprint: Fingerprint, suspect: Answers) -> Anchors:
    r"""Whether a suspect's rows belong to these images and its columns to these classes.

    Were the rows in another order or the classes others, each anchor would agree with probability
    :math:`\sum_c p_c q_c` (the shares of class c among the owner's and the suspect's answers). More
    agreements are needed than such a binomial variable exceeds once in a thousand times.
    """
    rows = fingerprint.is_anchor
    mine, theirs = fingerprint.answers.predicted[rows], suspect.predicted[rows]
    total, classes = len(mine), len(fingerprint.manifest.class_names)
    shares = [np.bincount(labels, minlength=classes) / total for labels in (mine, theirs)]
    needed = min(total, _quantile(0.999, total, float(shares[0] @ shares[1])) + 1)
    return Anchors(int((mine == theirs).sum()), total, needed)


def check_anchors(fingerprint: Fingerprint, suspect: Answers, where: str) -> Anchors:
    """The result of :func:`anchors`; refused if the suspect answers them as by chance."""
    result = anchors(fingerprint, suspect)
    if result.agree < result.needed:
        raise UserError(
            f"{where} agrees with the owner's model on {result.agree} of the {result.total} plain "
            f"anchor images, {result.needed} are needed; rows are in another order, classes are "
            "others, or images are prepared in another way."
        )
    return result
