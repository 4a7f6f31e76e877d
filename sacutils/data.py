"""Images as uint8 tensors that live on the device: data sets, the four splits, augmentation."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .files import UserError, home, is_clutter, sha256
from .profiles import DataSet

FASHION_SUBSET_SHA256 = "baddc131dcf9d6d29491fe399993b4cbc38eb750339996813251dd828e483494"
PARTS = ("train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing")
"""Names of folders that hold a part of a data set each, with the same class folders."""
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Of image files: those of torchvision's ImageFolder, which takes seconds to import."""
FASHION_CLASSES = "T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot".split()


class Images(NamedTuple):
    """Images, uint8, shape (n, channels, height, width), and their labels, int64, shape (n,)."""

    pixels: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Images":
        """The same images on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))

    def take(self, index: torch.Tensor | slice) -> "Images":
        """The images with these indices."""
        return Images(self.pixels[index], self.labels[index])


def _fashion_subset() -> tuple[Images, list[str]]:
    path, expected = home() / "data" / "fashion_subset.npz", FASHION_SUBSET_SHA256
    restore = f"restore it with: git checkout data/{path.name}"
    if not path.exists():
        raise UserError(f"{path} is missing; {restore}")
    if (digest := sha256(path)) != expected:
        found = f"its SHA-256 begins {digest[:12]}, {expected[:12]} is expected"
        raise UserError(f"{path} is damaged: {found}; {restore}")
    with np.load(path, allow_pickle=False) as archive:
        pixels, labels = torch.from_numpy(archive["images"]), archive["labels"].astype(np.int64)
    return Images(pixels[:, None], torch.from_numpy(labels)), FASHION_CLASSES


def _digits() -> tuple[Images, list[str]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8))
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    return Images(pixels[:, None], labels), [str(digit) for digit in range(10)]


def _torchvision(name: str) -> tuple[Images, list[str]]:
    from torchvision import datasets

    names = {"fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
    maker, folder = getattr(datasets, names[name]), home() / "data"
    try:
        parts = [maker(str(folder), train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError, ValueError, EOFError, AssertionError) as error:
        # torchvision raises all of these
        problem = f"{name} is not intact in {folder} and could not be downloaded ({error})"
        advice = "delete its files there and copy good ones, or use name: imagefolder with a path"
        raise UserError(f"{problem}; {advice}.") from None
    pixels = torch.cat([torch.as_tensor(np.asarray(part.data)) for part in parts])
    labels = torch.cat([torch.as_tensor(part.targets, dtype=torch.int64) for part in parts])
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return Images(pixels, labels), list(parts[0].classes)


def image_folder(path: Path, size: int) -> tuple[Images, list[str]]:
    """Class folders under `path` or its `PARTS`, which are pooled, with images at any depth; the
    classes are in the order of `ordered`.
    """
    if not path.is_dir():
        wanted = "give a folder that holds one folder per class"
        raise UserError(f"ImageFolder path {path} is not a folder; {wanted}.")

    def below(folder: Path) -> set[str]:
        there = (each.name for each in folder.iterdir() if each.is_dir())
        return {name for name in there if not is_clutter(name)}

    # a class may be called train as well: a part holds class folders
    parts = [path / name for name in PARTS if (path / name).is_dir() and below(path / name)]
    others = sorted(below(path) - set(PARTS)) if parts else []
    beside = [name for name in others if images_below(path / name)]
    if beside:
        problem = f"holds {beside[0]!r} beside {', '.join(part.name for part in parts)}"
        raise UserError(f"ImageFolder {path} {problem}; give parts of one data set, or classes.")
    parts = parts or [path]
    folders = [below(part) for part in parts]
    if any(names != folders[0] for names in folders):
        odd = min(set.union(*folders) - set.intersection(*folders))
        problem = f"class folder {odd!r} is missing in one of its parts; all parts need the same"
        raise UserError(f"ImageFolder {path}: {problem}.")
    classes = ordered(folders[0])
    files = [
        (file, label)
        for part in parts
        for label, name in enumerate(classes)
        for file in images_below(part / name)
    ]
    if len(classes) < 2 or not files:
        there = f"{len(classes)} class folders and {len(files)} images"
        raise UserError(f"ImageFolder {path} holds {there}; at least 2 are needed.")
    empty = sorted(set(range(len(classes))) - {label for _, label in files})
    if empty:
        problem = f"no image in the class folder {classes[empty[0]]!r}; fill or remove it"
        raise UserError(f"ImageFolder {path} has {problem}.")
    pixels = np.empty((len(files), size, size, 3), np.uint8)
    for i, (file, _) in enumerate(files):
        pixels[i] = decoded(file, size)
    labels = torch.tensor([label for _, label in files])
    return Images(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels), classes


def ordered(names: set[str]) -> list[str]:
    """Names of class folders in alphabetical order; in that of numbers, if all are numbers."""
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name) if numbers else 0, name))


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and below it, in the order of their names, without what operating
    systems and editors leave there; links are followed, each folder is entered once. Of a folder
    that is not there, none; one that cannot be read raises its OSError.
    """
    found, entered = [], set()

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for place, folders, names in os.walk(folder, onerror=failed, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in entered else [n for n in folders if not is_clutter(n)]
        if real not in entered:
            entered.add(real)
            found += [Path(place, name) for name in names if not is_clutter(name)]
    return sorted(path for path in found if path.suffix.lower() in ENDINGS)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image whose header was read; a ``UserError`` if that or what is done with it fails."""
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow raises all of these
        what = f"{path} cannot be read as an image ({error})"
        raise UserError(f"{what}; replace or remove it.") from None


def decoded(path: Path, side: int) -> np.ndarray:
    """An image file as RGB, uint8, shape (side, side, 3); 16 bits are scaled to 8. A ``UserError``
    if it cannot be read, or has more bits.
    """
    with opened(path) as image:
        if image.mode in ("I", "F"):
            raise UserError(f"{path} has 32 bits a pixel; 8 or 16 are accepted, so convert it.")
        if image.mode.startswith("I;16"):  # Pillow would clip what is above 255
            scaled = np.rint(np.asarray(image, dtype=np.float32) / 257)
            image = Image.fromarray(scaled.astype(np.uint8))
        # of the right size already, it is only copied
        image = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)


def load(data: DataSet) -> tuple[Images, list[str]]:
    """Load a data set whole, its official parts pooled, with the names of its classes. A
    ``UserError`` if a file is missing, damaged or cannot be downloaded, or there are fewer classes.

    Images of another size are resized (bilinear), those of an ImageFolder are converted to RGB;
    with `data.classes` only the first so many classes are kept.
    """
    match data.name:
        case "fashion_subset":
            images, classes = _fashion_subset()
        case "digits":
            images, classes = _digits()
        case "imagefolder":
            images, classes = image_folder(home() / str(data.path), data.image_size)
        case name:
            images, classes = _torchvision(name)
    if data.classes is not None:
        if data.classes > len(classes):
            there = f"{data.path or data.name} has {len(classes)} classes"
            raise UserError(f"data.classes = {data.classes} is not accepted: {there}.")
        images, classes = images.take(images.labels < data.classes), classes[: data.classes]
    if images.pixels.shape[-1] != data.image_size:
        size, pixels = (data.image_size, data.image_size), images.pixels.float()
        resized = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        images = images._replace(pixels=resized.round().clamp(0, 255).to(torch.uint8))
    return images, classes


def split(labels: torch.Tensor, sizes: dict[str, int], seed: int) -> dict[str, torch.Tensor]:
    """Indices (int64, in random order) of disjoint, stratified splits of the given sizes, which
    depend on the labels (int64, shape (n,)), the sizes and the seed only. A ``UserError`` if the
    sizes add up to more than there is, or one is smaller than the number of classes.
    """
    # slow to import, and most jobs load the splits from a file
    from sklearn.model_selection import train_test_split

    total, (kinds, numbers) = sum(sizes.values()), torch.unique(labels, return_counts=True)
    wanted = "splits: " + ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    if total > len(labels):
        raise UserError(f"{wanted} ask for {total:,} images and the data set has {len(labels):,}.")
    if min(sizes.values()) < len(kinds):
        least = f"each split needs at least one image of each of the {len(kinds)} classes"
        raise UserError(f"{wanted}: {least}.")
    rest = np.arange(len(labels))
    result = {}
    for position, (name, size) in enumerate(sizes.items()):
        chosen = rest
        if len(rest) - size >= len(kinds):
            state, strata = np.random.RandomState([seed, position]), labels[rest].numpy()
            try:
                rest, chosen = train_test_split(
                    rest, test_size=size, stratify=strata, random_state=state
                )
            except ValueError:  # a class is used up
                rarest = f"the rarest class has {numbers.min()} image(s), too few for all splits"
                raise UserError(f"{wanted}: {rarest}.") from None
        order = np.random.default_rng([seed, position]).permutation(chosen)
        result[name] = torch.from_numpy(order[:size])
    return result


def to_float(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 pixels as float32 in [0, 1], in channels-last memory order."""
    return pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)


def augment(pixels: torch.Tensor, pad: int, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """Random crop after zero padding of `pad` pixels on each side, and random horizontal flip of
    half of the images, for each image of a batch at once.

    From uint8, shape (n, channels, height, width), to the same in channels-last memory order. The
    generator is one of the CPU, so that every device draws the same numbers.
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
    y, x = rows.to(device)[:, :, None], columns.to(device)[:, None, :]
    return padded[batch, y, x].permute(0, 3, 1, 2)
