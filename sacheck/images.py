"""Images that an owner gives to choose probes from, and how one is written as a file."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.functional import to_pil_image

from sacutils import data
from sacutils.data import Images
from sacutils.files import UserError


class Pool(NamedTuple):
    """Images to choose probes from, which no model was trained on, in random order on the CPU.

    Without true labels all labels are 0 and `class_names` is None; `described` says in the manifest
    where they come from.
    """

    images: Images
    class_names: list[str] | None
    described: str


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder and below it, in the order of their names."""
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMG_EXTENSIONS]


def read_pool(folder: Path, size: int | None, channels: int, most: int = 10_000) -> Pool:
    """Images from a folder with a folder per class, or from a folder of images without labels.

    They become squares of `size` pixels (else the smaller side of the first one) with 1 (grey) or 3
    channels; of more than `most` so many are drawn.
    """
    paths = image_files(folder) if folder.is_dir() else []
    if not paths:
        raise UserError(f"{folder} is no folder of images; JPEG, PNG, WebP and so on are accepted.")
    side = size or min(_read(paths[0]).size)
    kind, names = "folder", None
    if any(path.is_dir() for path in folder.iterdir()):
        # not data.load, which is for profiles: it needs a home and sides of at most 256 pixels
        kind, (images, names) = "ImageFolder", data.image_folder(folder.resolve(), side)
    else:
        resized = [_read(path).resize((side, side), Image.Resampling.BILINEAR) for path in paths]
        pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)
        images = Images(pixels, torch.zeros(len(pixels), dtype=torch.int64))
    if channels == 1:
        grey = images.pixels.float().mean(1, keepdim=True).round()
        images = images._replace(pixels=grey.to(torch.uint8))
    count = len(images.labels)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most]
    return Pool(images.take(order), names, f"{kind} {folder.resolve().name}, {count:,} images")


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}); replace it.") from None


def encode(image: torch.Tensor) -> bytes:
    """One uint8 image, shape (channels, height, width), as PNG."""
    buffer = io.BytesIO()
    to_pil_image(image).save(buffer, "PNG")
    return buffer.getvalue()
