"""Images as uint8 tensors that live on the device: data sets, the four splits, augmentation and corruptions."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .artefacts import UserError
from .profiles import ROOT, DataSet, Splits, Transfer

FOLDER = ROOT / "data"
FASHION_SUBSET = FOLDER / "fashion_subset.npz"
FASHION_SUBSET_SHA256 = "baddc131dcf9d6d29491fe399993b4cbc38eb750339996813251dd828e483494"
FASHION_CLASSES = "T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot".split()
SPLITS = ("owner", "attacker", "probe", "test")


class Images(NamedTuple):
    """Images and what they show.

    Attributes
    ----------
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width), 0 to 255.
    labels : torch.Tensor
        int64, shape (n,).
    """

    pixels: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Images":
        """The same images on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))

    def take(self, index: torch.Tensor | slice) -> "Images":
        """The images with these indices."""
        return Images(self.pixels[index], self.labels[index])


def _fashion_subset() -> tuple[Images, list[str]]:
    if not FASHION_SUBSET.exists():
        raise UserError(f"{FASHION_SUBSET} is missing; restore it with: git checkout data/{FASHION_SUBSET.name}")
    found = hashlib.sha256(FASHION_SUBSET.read_bytes()).hexdigest()
    if found != FASHION_SUBSET_SHA256:
        raise UserError(
            f"{FASHION_SUBSET} is damaged: its SHA-256 begins {found[:12]}, {FASHION_SUBSET_SHA256[:12]} is expected; "
            f"restore it with: git checkout data/{FASHION_SUBSET.name}"
        )
    with np.load(FASHION_SUBSET, allow_pickle=False) as archive:
        pixels, labels = torch.from_numpy(archive["images"]), torch.from_numpy(archive["labels"].astype(np.int64))
    return Images(pixels[:, None], labels), FASHION_CLASSES


def _digits() -> tuple[Images, list[str]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8))
    return Images(pixels[:, None], torch.from_numpy(bunch.target.astype(np.int64))), [str(digit) for digit in range(10)]


def _torchvision(name: str) -> tuple[Images, list[str]]:
    from torchvision import datasets

    maker = {"fashion_mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        parts = [maker(str(FOLDER), train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError, ValueError, EOFError, AssertionError) as error:  # torchvision raises all of these
        raise UserError(
            f"{name} is not intact in {FOLDER} and could not be downloaded ({error}); "
            "delete its files there and copy good ones, or use name: imagefolder with a path."
        ) from None
    pixels = torch.cat([torch.as_tensor(np.asarray(part.data)) for part in parts])
    labels = torch.cat([torch.as_tensor(part.targets, dtype=torch.int64) for part in parts])
    return Images(pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2), labels), list(parts[0].classes)


def _imagefolder(path: Path, size: int) -> tuple[Images, list[str]]:
    """Class folders, either directly under `path` or under its parts (train, test, val), which are pooled."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    if not path.is_dir():
        raise UserError(f"ImageFolder path {path} is not a folder; give a folder that holds one folder per class.")
    parts = [part for part in (path / "train", path / "val", path / "test") if part.is_dir()] or [path]
    folders = [{each.name for each in part.iterdir() if each.is_dir() and each.name[0] != "."} for part in parts]
    if any(names != folders[0] for names in folders):
        odd = sorted(set.union(*folders) - set.intersection(*folders))
        raise UserError(f"ImageFolder {path}: class folder {odd[0]!r} is missing in one of its parts; all parts need the same.")
    classes = sorted(folders[0])
    files = [
        (file, label)
        for part in parts
        for label, name in enumerate(classes)
        for file in sorted((part / name).iterdir())
        if file.suffix.lower() in IMG_EXTENSIONS
    ]
    if len(classes) < 2 or not files:
        raise UserError(
            f"ImageFolder {path} holds {len(classes)} class folders and {len(files)} images; at least 2 are needed."
        )
    return Images(_decoded([file for file, _ in files], size), torch.tensor([label for _, label in files])), classes


def _decoded(files: list[Path], size: int) -> torch.Tensor:
    """Image files as RGB of one size, uint8, shape (n, 3, size, size)."""
    pixels = np.empty((len(files), size, size, 3), np.uint8)
    for i, file in enumerate(files):
        try:
            with Image.open(file) as image:
                rgb = image.convert("RGB")
                pixels[i] = rgb if rgb.size == (size, size) else rgb.resize((size, size), Image.Resampling.BILINEAR)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow raises all of these
            raise UserError(f"ImageFolder: {file} cannot be read as an image ({error}); replace or remove it.") from None
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def image_files(path: Path) -> list[Path]:
    """The image files in a folder and below it, in the order of their names."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    return [file for file in sorted(path.rglob("*")) if file.suffix.lower() in IMG_EXTENSIONS]


def flat_folder(path: Path, size: int) -> Images:
    """Images without labels: all files of a folder as RGB of one size; every label is 0.

    Raises
    ------
    UserError
        If a file cannot be read as an image.
    """
    pixels = _decoded(image_files(path), size)
    return Images(pixels, torch.zeros(len(pixels), dtype=torch.int64))


def side_of(file: Path) -> int:
    """The smaller side of an image file in pixels.

    Raises
    ------
    UserError
        If it cannot be read as an image.
    """
    try:
        with Image.open(file) as image:
            return min(image.size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} cannot be read as an image ({error}); replace or remove it.") from None


def load(data: DataSet) -> tuple[Images, list[str]]:
    """Load a data set whole, its official parts pooled.

    Parameters
    ----------
    data : DataSet
        Name, and for an ImageFolder the path. Images of another size are resized (bilinear), those of an ImageFolder are
        converted to RGB; with `data.classes` only the first so many classes are kept.

    Returns
    -------
    Images, list of str
        All images, and the names of the classes.

    Raises
    ------
    UserError
        If a file is missing, damaged or cannot be downloaded.
    """
    match data.name:
        case "fashion_subset":
            images, classes = _fashion_subset()
        case "digits":
            images, classes = _digits()
        case "imagefolder":
            images, classes = _imagefolder(ROOT / str(data.path), data.image_size)
        case name:
            images, classes = _torchvision(name)
    if data.classes is not None:
        if data.classes > len(classes):
            raise UserError(f"data.classes = {data.classes} is not accepted: {data.name} has {len(classes)} classes.")
        images, classes = images.take(images.labels < data.classes), classes[: data.classes]
    if images.pixels.shape[-1] != data.image_size:
        size = (data.image_size, data.image_size)
        resized = F.interpolate(images.pixels.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
        images = images._replace(pixels=resized.round().clamp(0, 255).to(torch.uint8))
    return images, classes


def split(labels: torch.Tensor, sizes: dict[str, int], seed: int) -> dict[str, torch.Tensor]:
    """Disjoint, stratified splits that depend on the labels, the sizes and the seed only.

    Parameters
    ----------
    labels : torch.Tensor
        int64, shape (n,).
    sizes : dict
        Number of images of each split.
    seed : int
        Seed of the choice and of the order within each split.

    Returns
    -------
    dict of torch.Tensor
        Indices (int64) of each split, in random order.

    Raises
    ------
    UserError
        If the sizes add up to more than there is, or one is smaller than the number of classes.
    """
    from sklearn.model_selection import train_test_split  # slow to import, and most jobs load the splits from a file

    total, classes = sum(sizes.values()), len(torch.unique(labels))
    wanted = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    if total > len(labels):
        raise UserError(f"splits: {wanted} ask for {total:,} images and the data set has {len(labels):,}.")
    if min(sizes.values()) < classes:
        raise UserError(f"splits: {wanted}: each split needs at least one image of each of the {classes} classes.")
    rest = np.arange(len(labels))
    result = {}
    for position, (name, size) in enumerate(sizes.items()):
        chosen = rest
        if len(rest) - size >= classes:
            state = np.random.RandomState([seed, position])
            try:
                rest, chosen = train_test_split(rest, test_size=size, stratify=labels[rest].numpy(), random_state=state)
            except ValueError:  # a class is used up
                rarest = int(torch.unique(labels, return_counts=True)[1].min())
                raise UserError(f"splits: {wanted}: the rarest class has {rarest} image(s), too few for all splits.") from None
        result[name] = torch.from_numpy(np.random.default_rng([seed, position]).permutation(chosen)[:size])
    return result


def prepare(
    data: DataSet, sizes: Splits, transfer: Transfer, seed: int
) -> tuple[dict[str, torch.Tensor], list[str], list[str]]:
    """All images that a profile needs, as named tensors that can be written to one file.

    Returns
    -------
    dict of torch.Tensor
        ``<split>.pixels``, ``<split>.labels`` and ``<split>.index`` (place in the data set) for the four splits, for
        ``transfer_train`` and ``transfer_test``, and without index for ``attacker_corrupted``.
    list of str, list of str
        Class names of the data set and of the transfer target.

    Notes
    -----
    A grey transfer target of a source that takes colour is shown to it as three equal channels.
    """
    images, classes = load(data)
    target, target_classes = load(transfer.data)
    if (images.pixels.shape[1], target.pixels.shape[1]) == (3, 1):
        target = target._replace(pixels=target.pixels.repeat(1, 3, 1, 1))
    if target.pixels.shape[1:] != images.pixels.shape[1:]:
        raise UserError(
            f"transfer.data: images of shape {tuple(target.pixels.shape[1:])} do not fit the source's input "
            f"{tuple(images.pixels.shape[1:])}; choose a target with the same channels and image_size."
        )
    tensors = {}
    transfer_sizes = {"transfer_train": transfer.train, "transfer_test": transfer.test}
    for pool, wanted in ((images, sizes.model_dump()), (target, transfer_sizes)):
        for name, index in split(pool.labels, wanted, seed).items():
            tensors |= {
                f"{name}.pixels": pool.pixels[index].contiguous(),
                f"{name}.labels": pool.labels[index],
                f"{name}.index": index,
            }
    attacker = Images(tensors["attacker.pixels"], tensors["attacker.labels"])
    tensors["attacker_corrupted.pixels"] = corrupt(attacker, seed).pixels
    tensors["attacker_corrupted.labels"] = attacker.labels.clone()
    return tensors, classes, target_classes


def to_float(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 pixels as float32 in [0, 1], in channels-last memory order."""
    return pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)


def augment(pixels: torch.Tensor, pad: int, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """Random crop after zero padding, and random horizontal flip, for each image of a batch at once.

    Parameters
    ----------
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width).
    pad : int
        Pixels added on each side; 0 leaves the place as it is.
    flip : bool
        Whether half of the images are mirrored.
    generator : torch.Generator
        On the CPU, so that every device draws the same numbers.

    Returns
    -------
    torch.Tensor
        uint8, the same shape, channels-last.
    """
    n, _, height, width = pixels.shape
    dy, dx = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator)
    rows, columns = dy + torch.arange(height), dx + torch.arange(width)
    if flip:
        mirrored = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = F.pad(pixels, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    device = pixels.device
    batch = torch.arange(n, device=device)[:, None, None]
    return padded[batch, rows.to(device)[:, :, None], columns.to(device)[:, None, :]].permute(0, 3, 1, 2)


def _noise(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return pixels + 255 * 0.08 * torch.randn(pixels.shape, generator=generator)


def _impulse(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    draw = torch.rand(pixels.shape, generator=generator)
    return torch.where(draw < 0.02, 0.0, torch.where(draw > 0.98, 255.0, pixels))


def _blur(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    from torchvision.transforms.v2 import functional

    return functional.gaussian_blur(pixels, [5, 5], [1.0, 1.0])


def _contrast(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    mean = pixels.mean((1, 2, 3), keepdim=True)
    return mean + 0.5 * (pixels - mean)


def _brightness(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return pixels + 255 * 0.2


def _pixelate(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    small = F.interpolate(pixels, scale_factor=0.5, mode="area")
    return F.interpolate(small, size=pixels.shape[-2:], mode="nearest")


def _jpeg(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return jpeg(pixels.to(torch.uint8), 25).float()


CORRUPTIONS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "gaussian noise": _noise,
    "impulse noise": _impulse,
    "gaussian blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "pixelate": _pixelate,
    "JPEG": _jpeg,
}
"""Common corruptions in the spirit of CIFAR-10-C, at one moderate strength each."""


def jpeg(pixels: torch.Tensor, quality: int) -> torch.Tensor:
    """Compress each image to JPEG and decode it again.

    Parameters
    ----------
    pixels : torch.Tensor
        uint8, shape (n, 1 or 3, height, width): grey or colour images.
    quality : int
        1 (coarsest) to 100.

    Returns
    -------
    torch.Tensor
        uint8, the same shape and device.
    """
    result = np.empty_like(images := pixels.cpu().permute(0, 2, 3, 1).numpy())
    for i, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze()).save(buffer, "JPEG", quality=quality)
        result[i] = np.asarray(Image.open(buffer)).reshape(image.shape)
    return torch.from_numpy(result).permute(0, 3, 1, 2).to(pixels.device)


def corrupt(images: Images, seed: int) -> Images:
    """One corruption per image, chosen at random from `CORRUPTIONS` (after CIFAR-10-C, Hendrycks and Dietterich 2019).

    Parameters
    ----------
    images : Images
        Clean images.
    seed : int
        Seed of the choice and of the noise.

    Returns
    -------
    Images
        The same labels, corrupted pixels.
    """
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(len(CORRUPTIONS), (len(images.labels),), generator=generator)
    pixels = images.pixels.cpu().clone()
    for position, function in enumerate(CORRUPTIONS.values()):
        chosen = kind == position
        if not chosen.any():
            continue
        changed = function(pixels[chosen].float(), generator)
        pixels[chosen] = changed.round().clamp(0, 255).to(torch.uint8)
    return Images(pixels.to(images.pixels.device), images.labels)
