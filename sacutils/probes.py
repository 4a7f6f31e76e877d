"""The probe sets: the five that were published, and those that this book adds. Every probe comes
from the probe split, which nothing is trained on and no accuracy is reported on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from . import profiles
from .corruptions import jpeg
from .data import Images, augment
from .files import UserError

JPEG_QUALITY = (25, 18, 15, 10, 7)
"""JPEG quality at severity 1 to 5, as in imagecorruptions 1.1.2."""

PUBLISHED = {
    "normal": "SAC-normal",
    "source": "SAC-source",
    "w": "SAC-w",
    "m": "SAC-m",
    "jc": "SAC-JC",
}
"""SAC's own probe sets by name, with the name that is shown."""
PLACEBOS = {"placebo": "Placebo", "placebo_pool": "Placebo (pool)"}
"""The choices of ``contrast`` and ``contrast_pool`` by models that never saw the source."""
PROBE_SETS = PUBLISHED | {
    "wide": "SAC-m (wide)",
    "contrast": "SAC-w (contrast)",
    "contrast_pool": "Contrast (pool)",
    **PLACEBOS,
}
"""All probe sets. SAC-w's rule is not published: ``w`` is one reading, ``contrast`` the other, and
neither is verified.
"""
WIDE = 0.5
"""Side of the patch of ``wide`` as a share of the image's; it lies in the middle."""
SHIFT = 2
"""Pixels by which images of the pool are shifted at most, as in training."""
PRIOR = 0.02
"""Variance that is added in :func:`contrast_scores`, since few models cannot show theirs."""


class Probes(NamedTuple):
    """A probe set: pixels, uint8, shape (n, channels, height, width), and which images of the probe
    split they were made from, int64, shape (n,).
    """

    pixels: torch.Tensor
    index: torch.Tensor


def normal(images: Images, count: int) -> Probes:
    """SAC-normal: the first `count` images of the probe split (which is in random order); a
    ``UserError`` if the split is smaller.
    """
    _check(count, len(images.labels), "images in the probe split")
    return Probes(images.pixels[:count], torch.arange(count))


def wrong(images: Images, predictions: Sequence[torch.Tensor], count: int) -> Probes:
    """SAC-source and SAC-w: the first `count` images of the probe split that all given models
    misclassify; a ``UserError`` if there are fewer.

    `predictions` are the labels, int64, shape (n,), that each model predicts: the source alone
    gives SAC-source, the source and its surrogates give SAC-w.
    """
    truth = images.labels.cpu()
    index = torch.stack([labels != truth for labels in predictions]).all(0).nonzero().squeeze(1)
    others = len(predictions) - 1
    models = f"the source and its {others} surrogates" if others else "the source"
    _check(count, len(index), f"images of the probe split that {models} misclassify")
    return Probes(images.pixels[index[:count]], index[:count])


def patch_box(
    size: int, ratio: float, position: str, generator: torch.Generator
) -> tuple[int, int, int]:
    """Top, left and side of the CutMix patch in pixels; it lies inside the image.

    `size` is the side of the image; `ratio`, 0 to 1, that of the patch as a share of it, rounded
    down to whole pixels, at least one. The patch's centre lies in the upper left sixth ("corner",
    as in the released code), in the middle ("centre"), or anywhere ("random").
    """
    side, middle = max(1, int(size * ratio)), size // 2
    ranges = {"corner": (0, max(1, size // 6)), "centre": (middle, middle + 1), "random": (0, size)}
    centre = torch.randint(*ranges[position], (2,), generator=generator)
    top, left = (int(value) for value in (centre - side // 2).clamp(0, size - side))
    return top, left, side


def cutmix(images: Images, count: int, ratio: float, position: str, seed: int) -> Probes:
    """SAC-m: the first `count` images, each with one patch of another; the same box for all, see
    :func:`patch_box`, donors by a random permutation.
    """
    base = normal(images, count)
    generator = torch.Generator().manual_seed(seed)
    top, left, side = patch_box(base.pixels.shape[-1], ratio, position, generator)
    donor = base.pixels[torch.randperm(count, generator=generator).to(base.pixels.device)]
    return base._replace(pixels=paste(base.pixels, donor, top, left, side))


def paste(
    pixels: torch.Tensor, donor: torch.Tensor, top: int, left: int, side: int
) -> torch.Tensor:
    """A copy of some images with one square of others, of the same shape, in its place."""
    result = pixels.clone()
    window = (..., slice(top, top + side), slice(left, left + side))
    result[window] = donor[window]
    return result


def compressed(images: Images, count: int, severity: int) -> Probes:
    """SAC-JC: the first `count` images after JPEG compression at severity 1 (quality 25) to 5
    (quality 7).
    """
    base = normal(images, count)
    return base._replace(pixels=jpeg(base.pixels, JPEG_QUALITY[severity - 1]))


def pool(images: Images, seed: int) -> Probes:
    """Candidates for :func:`contrast`, four of each image: as it is; shifted by at most `SHIFT`
    pixels and perhaps flipped; its right half from another image; the mean of both images. The
    other image is that of a random permutation.
    """
    pixels, generator = images.pixels, torch.Generator().manual_seed(seed)
    donor = pixels[torch.randperm(len(pixels), generator=generator).to(pixels.device)]
    half, middle = pixels.clone(), pixels.shape[-1] // 2
    half[..., middle:] = donor[..., middle:]
    blend = ((pixels.int() + donor.int()) // 2).to(torch.uint8)
    shifted = augment(pixels, SHIFT, True, generator).contiguous()
    views = [pixels, shifted, half, blend]
    return Probes(torch.cat(views), torch.arange(len(pixels)).repeat(len(views)))


def contrast_scores(
    labels: torch.Tensor, copies: torch.Tensor, others: torch.Tensor
) -> torch.Tensor:
    r"""How much more copies of a model repeat its labels than other models do:
    :math:`(\bar p_C - \bar p_O) / \sqrt{v_C + v_O + 0.02}`, shape (n,), :math:`\bar p` and
    :math:`v` being mean and variance over models of the probability of the model's label.

    `labels` are int64, shape (n,); `copies` and `others` probabilities, (models, n, classes).
    """
    where = torch.arange(len(labels))
    c, o = (models[:, where, labels] for models in (copies, others))
    spread = c.var(0, correction=0) + o.var(0, correction=0) + PRIOR
    return (c.mean(0) - o.mean(0)) / spread.sqrt()


def contrast(candidates: Probes, scores: torch.Tensor, count: int) -> Probes:
    """The `count` candidates with the highest scores, ties in the order of the candidates; a
    ``UserError`` if there are fewer.
    """
    _check(count, len(scores), "candidates")
    chosen = scores.argsort(descending=True, stable=True)[:count]
    return Probes(candidates.pixels[chosen.to(candidates.pixels.device)], candidates.index[chosen])


def make(
    name: str,
    images: Images,
    predictions: Sequence[torch.Tensor],
    settings: profiles.Probes,
    seed: int,
) -> Probes:
    """A probe set of `PUBLISHED`, or ``wide``, from the probe split; `predictions` are those of the
    source and then its surrogates, see :func:`wrong`, which only ``source`` and ``w`` need.
    """
    count = settings.count
    match name:
        case "normal":
            return normal(images, count)
        case "source" | "w":
            return wrong(images, predictions[: 1 if name == "source" else None], count)
        case "m":
            return cutmix(images, count, settings.patch, settings.patch_position, seed)
        case "wide":
            return cutmix(images, count, WIDE, "centre", seed)
        case "jc":
            return compressed(images, count, settings.jpeg_severity)
    raise ValueError(f"name is {name!r}; accepted are {', '.join(PUBLISHED)}, wide")


def _check(wanted: int, there: int, what: str) -> None:
    if wanted > there:
        numbers = f"{wanted} probes and there are only {there} {what}"
        raise UserError(f"probes.count asks for {numbers}; lower it or enlarge splits.probe.")
