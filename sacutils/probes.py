"""The five probe sets. Every probe comes from the probe split, which nothing is trained on and no accuracy is reported on."""

from typing import NamedTuple

import torch
from torch import nn

from . import profiles
from .artefacts import UserError
from .data import Images, jpeg
from .training import logits_of

JPEG_QUALITY = (25, 18, 15, 10, 7)
"""JPEG quality at severity 1 to 5, as in imagecorruptions 1.1.2."""


PROBE_SETS = {"normal": "SAC-normal", "source": "SAC-source", "w": "SAC-w", "m": "SAC-m", "jc": "SAC-JC"}
"""Probe sets by name, with the name that is shown."""


class Probes(NamedTuple):
    """A probe set.

    Attributes
    ----------
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width).
    index : torch.Tensor
        int64, shape (n,): which images of the probe split they were made from.
    """

    pixels: torch.Tensor
    index: torch.Tensor


def normal(images: Images, count: int) -> Probes:
    """SAC-normal: the first `count` images of the probe split (which is in random order).

    Raises
    ------
    UserError
        If the split is smaller.
    """
    _check(count, len(images.labels), "images in the probe split")
    return Probes(images.pixels[:count], torch.arange(count))


def wrong(images: Images, predictions: torch.Tensor, count: int) -> Probes:
    """SAC-source and SAC-w: the first `count` images that all given models misclassify.

    Parameters
    ----------
    images : Images
        The probe split.
    predictions : torch.Tensor
        int64, shape (models, n): labels that each model predicts. The source alone gives SAC-source; the source and its
        surrogates give SAC-w.
    count : int
        Number of probes.

    Returns
    -------
    Probes
        In the order of the split.

    Raises
    ------
    UserError
        If fewer images are misclassified by all.
    """
    index = (predictions != images.labels.cpu()).all(0).nonzero().squeeze(1)
    models = "the source" if len(predictions) == 1 else f"the source and its {len(predictions) - 1} surrogates"
    _check(count, len(index), f"images of the probe split that {models} misclassify")
    return Probes(images.pixels[index[:count]], index[:count])


def patch_box(size: int, ratio: float, position: str, generator: torch.Generator) -> tuple[int, int, int]:
    """Place of the CutMix patch.

    Parameters
    ----------
    size : int
        Side of the image in pixels.
    ratio : float
        Side of the patch as a share of the image's, 0 to 1; rounded down to whole pixels, at least one.
    position : {"corner", "centre", "random"}
        Where the patch's centre lies: in the upper left sixth (as in the released code), in the middle, or anywhere.
    generator : torch.Generator
        Source of the draw.

    Returns
    -------
    tuple of int
        Top, left, side; the patch lies inside the image.
    """
    side = max(1, int(size * ratio))
    low, high = {"corner": (0, max(1, size // 6)), "centre": (size // 2, size // 2 + 1), "random": (0, size)}[position]
    centre = torch.randint(low, high, (2,), generator=generator)
    top, left = (int(value) for value in (centre - side // 2).clamp(0, size - side))
    return top, left, side


def cutmix(images: Images, count: int, ratio: float, position: str, seed: int) -> Probes:
    """SAC-m: the first `count` images, each with one patch of another; the same box for all, donors by a random permutation.

    Parameters
    ----------
    images : Images
        The probe split.
    count : int
        Number of probes.
    ratio, position
        Size and place of the patch, see :func:`patch_box`.
    seed : int
        Seed of the box and of the permutation.

    Returns
    -------
    Probes
        Mixed images.
    """
    base = normal(images, count)
    generator = torch.Generator().manual_seed(seed)
    top, left, side = patch_box(base.pixels.shape[-1], ratio, position, generator)
    donor = base.pixels[torch.randperm(count, generator=generator).to(base.pixels.device)]
    return base._replace(pixels=paste(base.pixels, donor, top, left, side))


def paste(pixels: torch.Tensor, donor: torch.Tensor, top: int, left: int, side: int) -> torch.Tensor:
    """A copy of some images with one square of others, of the same shape, in its place."""
    result = pixels.clone()
    window = (..., slice(top, top + side), slice(left, left + side))
    result[window] = donor[window]
    return result


def compressed(images: Images, count: int, severity: int) -> Probes:
    """SAC-JC: the first `count` images after JPEG compression at severity 1 (quality 25) to 5 (quality 7)."""
    base = normal(images, count)
    return base._replace(pixels=jpeg(base.pixels, JPEG_QUALITY[severity - 1]))


def make(name: str, images: Images, models: list[nn.Module], settings: profiles.Probes, seed: int) -> Probes:
    """A probe set by its name.

    Parameters
    ----------
    name : str
        A key of `PROBE_SETS`.
    images : Images
        The probe split.
    models : list of torch.nn.Module
        For ``source`` the source alone, for ``w`` the source and its surrogates; not used by the others.
    settings : profiles.Probes
        How many, and how mixed or compressed.
    seed : int
        Seed of the patch and its donors.
    """
    match name:
        case "normal":
            return normal(images, settings.count)
        case "source" | "w":
            predictions = torch.stack([logits_of(model, images.pixels).argmax(1) for model in models])
            return wrong(images, predictions, settings.count)
        case "m":
            return cutmix(images, settings.count, settings.patch, settings.patch_position, seed)
        case "jc":
            return compressed(images, settings.count, settings.jpeg_severity)
    raise ValueError(f"name is {name!r}; accepted are {', '.join(PROBE_SETS)}")


def _check(wanted: int, found: int, what: str) -> None:
    if wanted > found:
        raise UserError(
            f"probes.count asks for {wanted} probes and there are only {found} {what}; lower it or enlarge splits.probe."
        )
