"""A fingerprint folder: probe images, the owner's answers on them, and a hash that fixes both before any dispute."""

import hashlib
import io
import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.stats import binom

from . import __version__, answers, artefacts, data, probes, profiles
from .answers import Answers
from .artefacts import UserError
from .data import Images
from .profiles import Strict
from .weights import Preprocessing

TOOL = f"sacutils {__version__}"
CONTROLS = 20
"""Plain images mixed among the probes that every model of the task should get right: they show whether rows fit images."""
FEWEST_CONTROLS = 10
LARGEST_SIDE = 1024
LARGEST_FILE = 8 * 2**20
MOST_IMAGES = 5000 + CONTROLS
LARGEST_IMAGES = 2**30
"""Bytes of all images of a folder when they are unpacked."""
LONGEST_NAME = 100
MANIFEST = "manifest.json"
COMMITMENT = "COMMITMENT"

DOWNLOADED = {"fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
"""Data sets that are not in the repository, and what torchvision calls them."""

# from uint8 images, shape (n, channels, height, width), to a model's outputs, float64, shape (n, classes)
Answer = Callable[[torch.Tensor], np.ndarray]


class Model(Strict):
    """What is recorded of a model's file; not where it lies."""

    file: str
    sha256: str
    architecture: str | None
    preprocessing: Preprocessing


class Probe(Strict):
    """One image of the folder.

    `index` is its number among the images that were given; a control is a plain image.
    """

    file: str
    sha256: str
    index: int
    control: bool


class Manifest(Strict):
    """Everything that a fingerprint consists of besides its image files; the commitment is the SHA-256 of this file."""

    format: Literal["sac-fingerprint-1"]
    tool: str
    utc: str
    nonce: str
    model: Model
    surrogates: list[Model]
    kind: Literal["normal", "source", "w", "m", "jc"]
    settings: dict[str, int | float | str]
    images: str
    class_names: list[str]
    channels: Literal[1, 3]
    height: int
    width: int
    probes: list[Probe]
    form: Literal["logits", "probabilities", "top-k", "labels"]
    k: int
    outputs: list[list[float]]


class Fingerprint(NamedTuple):
    """A fingerprint that was read and checked.

    Attributes
    ----------
    folder : pathlib.Path
        Where it lies.
    manifest : Manifest
        What it consists of.
    commitment : str
        SHA-256 of the manifest file.
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width): probes and controls in the order of the files.
    answers : Answers
        The owner's answers, in the same order.
    """

    folder: Path
    manifest: Manifest
    commitment: str
    pixels: torch.Tensor
    answers: Answers

    @property
    def names(self) -> list[str]:
        """File names of probes and controls."""
        return [probe.file for probe in self.manifest.probes]

    @property
    def is_control(self) -> np.ndarray:
        """Which images are controls, bool, shape (n,)."""
        return np.array([probe.control for probe in self.manifest.probes])

    def pngs(self) -> list[bytes]:
        """The image files as they are sent to a service."""
        return [(self.folder / "probes" / name).read_bytes() for name in self.names]


def make(
    folder: Path,
    owner: Answer,
    model: Model,
    images: Images,
    described: str,
    class_names: list[str],
    kind: str,
    settings: profiles.Probes,
    seed: int,
    labelled: bool = True,
    surrogates: list[tuple[Answer, Model]] | None = None,
) -> Fingerprint:
    """Choose probes and controls, ask the owner's model, and write a fingerprint folder.

    Parameters
    ----------
    folder : pathlib.Path
        The folder to make; it must not exist.
    owner : callable
        The owner's model.
    model : Model
        What is recorded of it.
    images : Images
        Images that no model was trained on; repeated ones are left out.
    described : str
        Where the images come from, for the manifest.
    class_names : list of str
        Names of the model's outputs.
    kind : str
        A key of ``probes.PROBE_SETS``.
    settings : profiles.Probes
        How many probes, and how mixed or compressed.
    seed : int
        Seed of the patch, its donors and the order of the files.
    labelled : bool
        Whether ``images.labels`` are true labels; ``source`` and ``w`` need them.
    surrogates : list, optional
        Models that were extracted from the owner's, for ``w``.

    Returns
    -------
    Fingerprint
        As read back from the folder.

    Raises
    ------
    UserError
        If the folder exists, or the images do not suffice for the probes or the controls.
    """
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists; a fingerprint is never overwritten, so give another name.")
    if kind in ("source", "w") and not labelled:
        raise UserError(
            f"kind {kind!r} needs true labels, and {described} has none; use one folder per class, or kind m, normal or jc."
        )
    _check_names(class_names, "class names")
    others = surrogates or []
    if (kind == "w") != bool(others):
        raise UserError(
            f"kind {kind!r} with {len(others)} surrogates is not accepted; w needs at least one, the other kinds none."
        )
    _, first = np.unique(images.pixels.flatten(1).numpy(), axis=0, return_index=True)
    keep = torch.from_numpy(np.sort(first))
    images = images.take(keep)
    theirs = owner(images.pixels)
    if theirs.shape[1] != len(class_names):
        raise UserError(
            f"The model has {theirs.shape[1]} outputs and there are {len(class_names)} class names; they must be equal."
        )
    chosen = _choose(kind, images, theirs, [answer(images.pixels) for answer, _ in others], settings, seed)
    controls = _controls(images, theirs, set(chosen.index.tolist()), labelled)
    order = torch.randperm(len(chosen.index) + len(controls), generator=torch.Generator().manual_seed(seed))
    pixels = torch.cat([chosen.pixels, images.pixels[controls]])[order]
    if len(torch.unique(pixels.flatten(1), dim=0)) < len(pixels):
        raise UserError(
            f"kind {kind!r} makes some probes equal; with fewer probes, another seed or a larger patch they differ."
        )
    index = keep[torch.cat([chosen.index, controls])[order]].tolist()
    own = answers.detect(owner(pixels), "Your model")
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    (staging / "probes").mkdir(parents=True)
    try:
        listed = []
        for number, (image, original, place) in enumerate(zip(pixels, index, order.tolist(), strict=True)):
            name, content = f"probe-{number:04d}.png", encode(image)
            (staging / "probes" / name).write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            listed.append(Probe(file=name, sha256=sha256, index=original, control=place >= len(chosen.index)))
        manifest = Manifest(
            format="sac-fingerprint-1",
            tool=TOOL,
            utc=artefacts.provenance()["utc"],
            nonce=secrets.token_hex(32),
            model=model,
            surrogates=[each for _, each in others],
            kind=kind,
            settings=_settings(kind, settings) | {"seed": seed},
            images=described,
            class_names=class_names,
            channels=pixels.shape[1],
            height=pixels.shape[2],
            width=pixels.shape[3],
            probes=listed,
            form=own.form,
            k=own.k,
            outputs=[[float(f"{value:.9g}") for value in row] for row in own.outputs],
        )
        text = json.dumps(manifest.model_dump(), indent=1) + "\n"
        if len(text) > answers.LARGEST:
            raise UserError(
                f"The manifest would have {len(text):,} bytes; at most {answers.LARGEST:,} are accepted: fewer probes."
            )
        artefacts.write_text(staging / MANIFEST, text)
        artefacts.write_text(staging / COMMITMENT, f"{artefacts.sha256(staging / MANIFEST)}  {MANIFEST}\n")
        staging.rename(folder)
    finally:
        if staging.exists():
            for path in sorted(staging.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            staging.rmdir()
    return load(folder)


def _settings(kind: str, settings: profiles.Probes) -> dict[str, Any]:
    """The settings that a kind of probes depends on."""
    values = {"count": settings.count}
    if kind == "m":
        values |= {"patch": settings.patch, "patch_position": settings.patch_position}
    return values | ({"jpeg_severity": settings.jpeg_severity} if kind == "jc" else {})


def _choose(
    kind: str, images: Images, theirs: np.ndarray, surrogates: list[np.ndarray], settings: profiles.Probes, seed: int
) -> probes.Probes:
    match kind:
        case "normal":
            return probes.normal(images, settings.count)
        case "m":
            return probes.cutmix(images, settings.count, settings.patch, settings.patch_position, seed)
        case "jc":
            return probes.compressed(images, settings.count, settings.jpeg_severity)
    predictions = np.stack([outputs.argmax(1) for outputs in [theirs, *surrogates]])
    return probes.wrong(images, torch.from_numpy(predictions), settings.count)


def _controls(images: Images, theirs: np.ndarray, taken: set[int], labelled: bool) -> torch.Tensor:
    """The images of which the owner's model is surest, class by class in turn, so that the classes are balanced."""
    probabilities = answers.convert(answers.detect(theirs), "probabilities", theirs.shape[1]).numpy()
    predicted, sure = probabilities.argmax(1), probabilities.max(1)
    right = predicted == images.labels.numpy() if labelled else np.ones(len(predicted), bool)
    ranked = [i for i in np.argsort(-sure, kind="stable") if right[i] and i not in taken]
    rank_in_class: dict[int, int] = {}
    keyed = []
    for i in ranked:
        rank = rank_in_class[predicted[i]] = rank_in_class.get(predicted[i], -1) + 1
        keyed.append((rank, predicted[i], i))
    chosen = [i for _, _, i in sorted(keyed)[:CONTROLS]]
    if len(chosen) < FEWEST_CONTROLS or len({predicted[i] for i in chosen}) < 2:
        raise UserError(
            f"{len(chosen)} images besides the probes are left as controls, which the model gets right in at least two "
            f"classes; {FEWEST_CONTROLS} are needed, so give more images."
        )
    return torch.tensor(chosen)


def encode(image: torch.Tensor) -> bytes:
    """One uint8 image, shape (channels, height, width), as PNG."""
    array = image.permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array).save(buffer, "PNG")
    return buffer.getvalue()


def load(folder: Path, published: str | None = None) -> Fingerprint:
    """Read a fingerprint folder and check that nothing in it was changed.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.
    published : str, optional
        The commitment that the owner published earlier.

    Raises
    ------
    UserError
        If a file is missing, too many, a link, changed, or no image of the stated size, if two images are equal, or if the
        folder is not the one that was published.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{folder} is no folder; a fingerprint is a folder made by: python -m sacutils fingerprint")
    expected = {MANIFEST, COMMITMENT, "probes"}
    found = {path.name for path in folder.iterdir()}
    if found != expected:
        odd = sorted(found ^ expected)[0]
        raise UserError(
            f"{folder}: {odd!r} is {'missing' if odd in expected else 'not part of a fingerprint'}; "
            f"it holds {', '.join(sorted(expected))}."
        )
    answers.regular(folder / MANIFEST, answers.LARGEST)
    answers.regular(folder / COMMITMENT, 1000)
    commitment = artefacts.sha256(folder / MANIFEST)
    stated = (folder / COMMITMENT).read_text(encoding="utf-8", errors="replace").split()
    if stated != [commitment, MANIFEST]:
        raise UserError(
            f"{folder / MANIFEST} was altered: its SHA-256 begins {commitment[:12]}, "
            f"COMMITMENT says {artefacts.plain((stated or ['nothing'])[0], 12)}."
        )
    if published is not None and published.strip().lower() != commitment:
        raise UserError(
            f"{folder} has the commitment {commitment[:12]}, and {published.strip()[:12]} was published; "
            "it is another fingerprint."
        )
    try:
        manifest = Manifest.model_validate(answers.parsed(folder / MANIFEST))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{folder / MANIFEST} is no manifest of a fingerprint ({answers.first_problem(error)}).") from None
    _check_manifest(folder, manifest)
    pixels = torch.stack([_read_png(folder / "probes" / probe.file, probe.sha256, manifest) for probe in manifest.probes])
    if len(torch.unique(pixels.flatten(1), dim=0)) < len(pixels):
        raise UserError(
            f"{folder / 'probes'} holds two equal images; every probe must be another image, so make the fingerprint anew."
        )
    names = [probe.file for probe in manifest.probes]
    outputs = answers.checked(np.array(manifest.outputs), f"{folder / MANIFEST}: outputs", names, len(manifest.class_names))
    own = answers.agreeing(Answers(outputs, manifest.form, manifest.k), f"{folder / MANIFEST}: outputs")
    return Fingerprint(folder, manifest, commitment, pixels, own)


def _check_manifest(folder: Path, manifest: Manifest) -> None:
    names = [probe.file for probe in manifest.probes]
    bad = [name for name in names if not re.fullmatch(r"probe-\d{4,6}\.png", name)]
    if bad or len(set(names)) != len(names):
        what = f"{bad[0]!r} is no name of a probe" if bad else "a probe is listed twice"
        raise UserError(f"{folder / MANIFEST}: {what}; they are called probe-0000.png and so on, each once.")
    controls = sum(probe.control for probe in manifest.probes)
    if len(names) - controls < 2 or controls < FEWEST_CONTROLS:
        raise UserError(
            f"{folder / MANIFEST} lists {len(names) - controls} probes and {controls} controls; "
            f"at least 2 and {FEWEST_CONTROLS} are needed."
        )
    if not (1 <= manifest.height <= LARGEST_SIDE and 1 <= manifest.width <= LARGEST_SIDE):
        raise UserError(
            f"{folder / MANIFEST}: images of {manifest.width} x {manifest.height} pixels; "
            f"at most {LARGEST_SIDE} x {LARGEST_SIDE} are accepted."
        )
    rows = {len(row) for row in manifest.outputs}
    if len(manifest.class_names) < 2 or rows != {len(manifest.class_names)}:
        raise UserError(f"{folder / MANIFEST}: outputs and class_names have different lengths; one output per class is needed.")
    _check_names(manifest.class_names, str(folder / MANIFEST))
    bytes_of_images = len(names) * manifest.height * manifest.width * manifest.channels
    if len(names) > MOST_IMAGES or bytes_of_images > LARGEST_IMAGES:
        raise UserError(
            f"{folder / MANIFEST} lists {len(names):,} images, {bytes_of_images:,} bytes when unpacked; "
            f"at most {MOST_IMAGES:,} and {LARGEST_IMAGES:,} are accepted."
        )
    present = {path.name for path in (folder / "probes").iterdir()}
    if present != set(names):
        odd = sorted(present ^ set(names))[0]
        raise UserError(
            f"{folder / 'probes' / odd} is {'missing' if odd in names else 'not in the manifest'}; the folder was altered."
        )


def _check_names(class_names: list[str], where: str) -> None:
    odd = [name for name in class_names if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME]
    if odd or len(set(class_names)) != len(class_names):
        what = f"the class name {artefacts.plain(odd[0])!r} is not accepted" if odd else "a class name occurs twice"
        raise UserError(f"{where}: {what}; names differ and have 1 to {LONGEST_NAME} characters that can be printed.")


def _read_png(path: Path, sha256: str, manifest: Manifest) -> torch.Tensor:
    """One probe, after its hash and the size that its header states have been checked."""
    answers.regular(path, LARGEST_FILE)
    if artefacts.sha256(path) != sha256:
        raise UserError(f"{path} was altered: its SHA-256 is not the one in the manifest.")
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.size != (manifest.width, manifest.height) or image.mode != ("L" if manifest.channels == 1 else "RGB"):
                raise UserError(
                    f"{path} has {image.size[0]} x {image.size[1]} pixels of mode {image.mode}; the manifest says "
                    f"{manifest.width} x {manifest.height} with {manifest.channels} channels."
                )
            array = np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as a PNG image ({str(error)[:100]}).") from None
    return torch.from_numpy(array.reshape(manifest.height, manifest.width, -1)).permute(2, 0, 1)


class Controls(NamedTuple):
    """How many controls a suspect answers as the owner's model does, of how many, and how many are needed."""

    agree: int
    total: int
    needed: int


def controls(fingerprint: Fingerprint, suspect: Answers) -> Controls:
    r"""Whether a suspect's rows belong to these images and its columns to these classes.

    Were the rows in another order or the classes others, each control would agree with probability
    :math:`\sum_c p_c q_c` (the shares of class c among the owner's and the suspect's answers). More agreements are needed than
    such a binomial variable exceeds once in a thousand times.

    Parameters
    ----------
    fingerprint : Fingerprint
        The fingerprint.
    suspect : Answers
        A suspect's answers on all of its images.
    """
    chosen = fingerprint.is_control
    mine, theirs = answers.predicted(fingerprint.answers)[chosen], answers.predicted(suspect)[chosen]
    classes = len(fingerprint.manifest.class_names)
    by_chance = float(np.bincount(mine, minlength=classes) @ np.bincount(theirs, minlength=classes)) / len(mine) ** 2
    return Controls(int((mine == theirs).sum()), len(mine), min(len(mine), int(binom.ppf(0.999, len(mine), by_chance)) + 1))


def check_controls(fingerprint: Fingerprint, suspect: Answers, where: str) -> Controls:
    """The result of :func:`controls`, or an error if there are too few agreements.

    Raises
    ------
    UserError
        If the suspect answers the controls as by chance.
    """
    result = controls(fingerprint, suspect)
    if result.agree < result.needed:
        raise UserError(
            f"{where} agrees with the owner's model on {result.agree} of the {result.total} plain control images, "
            f"{result.needed} are needed; rows are in another order, classes are others, or images are prepared in another way."
        )
    return result


def read_images(
    name: str, size: int | None, channels: int, seed: int, most: int = 10_000
) -> tuple[Images, list[str] | None, str]:
    """Images to choose probes from: a data set of ours, an ImageFolder, or a folder of images without labels.

    Parameters
    ----------
    name : str
        A name of ``profiles.DataSet``, or a path.
    size : int, optional
        Side in pixels; without it that of the data set, or of the first image of a folder.
    channels : {1, 3}
        Grey or colour; a folder's images are converted.
    seed : int
        Seed of the order and of the choice if there are more than `most`.

    Returns
    -------
    Images, list of str or None, str
        In random order; the class names (None without labels); a description.

    Raises
    ------
    UserError
        If there is nothing of that name, or an image cannot be read.
    """
    path = Path(name)
    if path.is_dir():
        files = data.image_files(path)
        if not files:
            raise UserError(f"{path} holds no images; JPEG, PNG, WebP and the like are accepted.")
        side = size or data.side_of(files[0])
        labelled = any(each.is_dir() for each in path.iterdir())
        if labelled:
            images, classes = data.load(profiles.DataSet(name="imagefolder", path=str(path.resolve()), image_size=side))
        else:
            images, classes = data.flat_folder(path, side), None
        if channels == 1:
            images = images._replace(pixels=images.pixels.float().mean(1, keepdim=True).round().to(torch.uint8))
        described = f"{'ImageFolder' if labelled else 'folder'} {path.resolve().name}, {len(images.labels):,} images"
    else:
        known = [each for each in profiles.DataSet.model_fields["name"].annotation.__args__ if each != "imagefolder"]
        if name not in known:
            raise UserError(f"images {name!r} is neither a folder nor a data set; known are {', '.join(known)}.")
        if name in DOWNLOADED:
            from torchvision import datasets

            try:
                getattr(datasets, DOWNLOADED[name])(str(data.FOLDER), train=True, download=False)
            except RuntimeError:
                raise UserError(
                    f"images {name!r} is not in {data.FOLDER}, and this command uses no network; let torchvision or make book "
                    "download it there first."
                ) from None
        sizes = {"fashion_subset": 28, "fashion_mnist": 28, "digits": 16}
        images, classes = data.load(profiles.DataSet(name=name, image_size=size or sizes.get(name, 32)))
        if images.pixels.shape[1] != channels:
            raise UserError(
                f"images {name!r} has {images.pixels.shape[1]} channels and the model takes {channels}; choose others."
            )
        described = f"data set {name}, {len(images.labels):,} images"
    order = torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(seed))[:most]
    return images.take(order), classes, described
