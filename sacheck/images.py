"""Images that an owner gives to choose probes from, and how one is written as a file."""

import io
import statistics
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from sacutils.data import PARTS, Images, decoded, images_below, opened, ordered
from sacutils.files import UserError, is_clutter

from .text import plain, refuse

LARGEST = 2**31
"""Bytes of pixels that are kept."""
SIDES = (8, 1024)
"""Smallest and largest side of a probe."""


class Pool(NamedTuple):
    """Images to choose probes from, which no model was trained on, in random order on the CPU.

    Without true labels all labels are 0 and `class_names` is None; `described` says in the manifest
    where they come from, and `drawn` whether they are a part of those that lie there.
    """

    images: Images
    class_names: list[str] | None
    described: str
    drawn: bool = False


def read_pool(
    folder: Path,
    size: int | None,
    channels: int,
    class_names: list[str] | None = None,
    most: int = 10_000,
) -> Pool:
    """Images from a folder of class folders, which may lie in parts such as train/ and valid/, or
    from a folder of images without labels.

    Class folders are matched with `class_names` by name, whatever their order; without these they
    are in alphabetical order, or in that of numbers if all are numbers. Images may lie at any depth
    in a class folder; those beside class folders are left out, and counted in what is described.

    Images become squares of `size` pixels (else of the median of their smaller sides) with 1 (grey)
    or 3 channels; of more than `most`, or than `LARGEST` bytes, so many are drawn before any is
    decoded. 16 bits are scaled to 8, more are refused.
    """
    paths = images_below(folder)
    if not paths:
        raise UserError(f"{folder} is no folder of images; JPEG, PNG, WebP and so on are accepted.")
    named, present = _class_folders(folder, paths)
    kind, names, outside = "folder", None, [] if present else paths
    if present:
        names = class_names or ordered(present)
        odd = sorted({name for name in named if name is not None} - set(names))
        problem = f"{folder}: the folder {plain(''.join(odd[:1]))!r} is none of the classes "
        problem += plain(", ".join(names), 150)
        refuse(problem, {"; folders must be called as the classes, in any order": bool(odd)})
        kind, outside = "ImageFolder", [p for p, n in zip(paths, named, strict=True) if n is None]
        paths = [path for path, name in zip(paths, named, strict=True) if name is not None]
        known = torch.tensor([names.index(name) for name in named if name is not None])
    else:
        known = torch.zeros(len(paths), dtype=torch.int64)
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))
    side = size or _side([paths[i] for i in order[:100].tolist()])
    order = order[: min(most, LARGEST // (side * side * channels))]
    pixels = torch.empty((len(order), channels, side, side), dtype=torch.uint8)
    for i, number in enumerate(order.tolist()):
        pixels[i] = torch.from_numpy(_decoded(paths[number], side, channels))
    described = f"{kind} {folder.resolve().name}, {len(paths):,} images"
    drawn = len(order) < len(paths)
    described += f", {len(order):,} drawn" if drawn else ""
    if present and outside:
        first = outside[0].relative_to(folder)
        what = f"outside class folders left out, such as {plain(first)}"
        described += f", {len(outside):,} {what}"
    return Pool(Images(pixels, known[order]), names, described, drawn)


def _class_folders(folder: Path, paths: list[Path]) -> tuple[list[str | None], set[str]]:
    """For each image the name of its class folder, or None if it lies in none; and the names of all
    class folders, empty ones too. There are no names if fewer than two folders hold images.
    """
    inside = [path.relative_to(folder).parts for path in paths]
    tops = {parts[0] for parts in inside if len(parts) > 1}
    parts = {top for top in tops if top.lower() in PARTS}
    below = [{p[1] for p in inside if p[0] == part and len(p) > 2} for part in parts]
    # a class may be called train as well: a part holds class folders
    split = any(len(names) > 1 for names in below)
    beside = sorted(tops - parts)
    what = f"{folder} holds {plain(''.join(beside[:1]))!r} beside {plain(', '.join(sorted(parts)))}"
    refuse(what, {"; give parts of one data set, or class folders": split and bool(beside)})
    depth = 1 if split else 0
    named = [p[depth] if len(p) > depth + 1 else None for p in inside]
    present = {name for name in named if name is not None}
    if len(present) < 2 or (parts == tops and not split):
        return named, set()
    bases = [folder / part for part in parts] if split else [folder]
    there = [each for base in bases for each in base.iterdir() if each.is_dir()]
    return named, {each.name for each in there if not is_clutter(each.name)}


def _side(paths: list[Path]) -> int:
    """The median of the smaller sides of some images, as far as it is accepted."""
    sides = []
    for path in paths:
        with opened(path) as image:
            sides.append(min(image.size))
    return min(max(statistics.median_low(sides), SIDES[0]), SIDES[1])


def _decoded(path: Path, side: int, channels: int) -> np.ndarray:
    """One image, uint8, shape (channels, side, side)."""
    pixels = decoded(path, side)
    if channels == 1:
        pixels = np.rint(pixels.astype(np.float32).mean(2, keepdims=True)).astype(np.uint8)
    return pixels.transpose(2, 0, 1).copy()


def encode(image: torch.Tensor) -> bytes:
    """One uint8 image, shape (channels, height, width), as PNG."""
    buffer = io.BytesIO()
    array = image.permute(1, 2, 0).numpy()
    Image.fromarray(array if array.shape[2] == 3 else array[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()
