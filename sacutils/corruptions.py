"""Corruptions of images after CIFAR-10-C (Hendrycks and Dietterich 2019), and JPEG compression."""

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .data import Images


def _impulse(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    draw = torch.rand(pixels.shape, generator=generator)
    return torch.where(draw < 0.02, 0.0, torch.where(draw > 0.98, 255.0, pixels))


def _blur(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    from torchvision.transforms.v2 import functional

    return functional.gaussian_blur(pixels, [5, 5], [1.0, 1.0])


def _contrast(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    mean = pixels.mean((1, 2, 3), keepdim=True)
    return mean + 0.5 * (pixels - mean)


def _pixelate(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    small = F.interpolate(pixels, scale_factor=0.5, mode="area")
    return F.interpolate(small, size=pixels.shape[-2:], mode="nearest")


CORRUPTIONS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "gaussian noise": lambda pixels, generator: (
        pixels + 255 * 0.08 * torch.randn(pixels.shape, generator=generator)
    ),
    "impulse noise": _impulse,
    "gaussian blur": _blur,
    "contrast": _contrast,
    "brightness": lambda pixels, _: pixels + 255 * 0.2,
    "pixelate": _pixelate,
    "JPEG": lambda pixels, _: jpeg(pixels.to(torch.uint8), 25).float(),
}
"""Common corruptions in the spirit of CIFAR-10-C, at one moderate strength each: from pixels as
float32, 0 to 255, to pixels that need not be in that range."""


def jpeg(pixels: torch.Tensor, quality: int) -> torch.Tensor:
    """Compress each image to JPEG of quality 1 (coarsest) to 100 and decode it again.

    From grey or colour images, uint8, shape (n, 1 or 3, height, width), to the same.
    """
    result = np.empty_like(images := pixels.cpu().permute(0, 2, 3, 1).numpy())
    for i, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze()).save(buffer, "JPEG", quality=quality)
        result[i] = np.asarray(Image.open(buffer)).reshape(image.shape)
    return torch.from_numpy(result).permute(0, 3, 1, 2).to(pixels.device)


def _rounded(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)


def corrupt_all(images: Images, kind: str, seed: int) -> Images:
    """All images with one and the same corruption of `CORRUPTIONS`."""
    generator = torch.Generator().manual_seed(seed)
    changed = _rounded(CORRUPTIONS[kind](images.pixels.cpu().float(), generator))
    return images._replace(pixels=changed.to(images.pixels.device))


def corrupt(images: Images, seed: int) -> Images:
    """One corruption per image, chosen at random from `CORRUPTIONS`."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(len(CORRUPTIONS), (len(images.labels),), generator=generator)
    pixels = images.pixels.cpu().clone()
    for position, function in enumerate(CORRUPTIONS.values()):
        chosen = kind == position
        if chosen.any():
            pixels[chosen] = _rounded(function(pixels[chosen].float(), generator))
    return images._replace(pixels=pixels.to(images.pixels.device))
