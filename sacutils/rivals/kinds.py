"""What all rivals share: what the owner has, what is asked, what a rival demands."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import nn

from .. import steps
from ..data import Images
from ..files import UserError
from ..profiles import Watermark
from ..training import logits_of

Extra = dict[str, torch.Tensor]

HELPERS = {"surrogates": steps.SURROGATES, "choosers": steps.CHOOSERS}
"""The owner's models that a rival may use, by the steps of which they are."""

CANDIDATES = 2
"""IPGuard and CAE start from so many images per wanted probe, because some do not get there."""


class Setting(NamedTuple):
    """What the owner has for making a fingerprint. None of the helper models is evaluated.

    Attributes
    ----------
    source : torch.nn.Module
        The owner's model in evaluation mode: from images, float32 in [0, 1], to logits.
    surrogates, choosers : list of torch.nn.Module
        Students of the source, and independent models, that the owner trained: see `HELPERS`.
    probe : Images
        The probe split, in random order.
    owner : Images
        The images that the source was trained on.
    seed : int
        Seed of everything random.
    watermark : Watermark, optional
        What the source was taught besides its task, see :mod:`sacutils.watermark`.
    """

    source: nn.Module
    surrogates: list[nn.Module]
    choosers: list[nn.Module]
    probe: Images
    owner: Images
    seed: int
    watermark: Watermark | None = None


class Queries(NamedTuple):
    """A fingerprint's queries; the first few probes are a fingerprint of their own.

    Attributes
    ----------
    pixels : torch.Tensor
        uint8, shape (n, per, channels, height, width): `n` probes of `per` queries each.
    extra : dict of torch.Tensor
        What the comparison needs besides the answers, or how well the making went; on the CPU.
        The first dimension is `n` where each probe has its own value, 1 where all share one.
    """

    pixels: torch.Tensor
    extra: Extra

    def first(self, n: int) -> "Queries":
        """The fingerprint of the first `n` probes."""
        return Queries(self.pixels[:n], {name: value[:n] for name, value in self.extra.items()})


def ask(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """A model's logits for all queries."""
    return logits_of(model, pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])


class Rival(NamedTuple):
    """A fingerprint and what it demands.

    Attributes
    ----------
    name : str
        Display name, a key of `sacutils.rivals.NAMES`.
    queries : callable
        From a setting and a budget of probes to queries.
    distance : callable
        From the source's and the suspect's logits, float64, shape (n, per, classes), and the
        extras of the queries to a scalar; small means probably stolen.
    measure : str
        What is compared, in two or three words.
    form : {"labels", "ranked labels", "probabilities"}
        The least that a prediction service must show; ranked labels are the likeliest few in order.
    access : {"none", "answers", "gradients", "training"}
        What is needed of the source to make it; ``none`` where the queries do not depend on it.
    helpers : tuple of str
        Models that the owner must train for it, names of `HELPERS`.
    new_labels : bool
        Whether it can judge a suspect whose classes are others than the source's.
    ask : callable
        From a model and the pixels of queries to its logits, shape (n, per, classes).
    """

    name: str
    queries: Callable[[Setting, int], Queries]
    distance: Callable[[torch.Tensor, torch.Tensor, Extra], torch.Tensor]
    measure: str
    form: Literal["labels", "ranked labels", "probabilities"]
    access: Literal["none", "answers", "gradients", "training"]
    helpers: tuple[str, ...] = ()
    new_labels: bool = False
    ask: Callable[[nn.Module, torch.Tensor], torch.Tensor] = ask


def need(wanted: int, available: int, what: str) -> None:
    """Refuse a budget that the images do not suffice for."""
    if wanted > available:
        raise UserError(
            f"A rival needs {wanted} {what} and there are only {available}; "
            "lower probes.count or enlarge the split."
        )


def to_bytes(x: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] as the nearest uint8 pixels."""
    return (x * 255).round().clamp(0, 255).to(torch.uint8)


def candidates(setting: Setting, count: int) -> Images:
    """The first images that the source classifies correctly, `CANDIDATES` per wanted probe."""
    hits = logits_of(setting.source, setting.probe.pixels).argmax(1) == setting.probe.labels.cpu()
    index = hits.nonzero().squeeze(1)
    need(count, len(index), "images of the probe split that the source classifies correctly")
    return setting.probe.take(index[: CANDIDATES * count].to(setting.probe.labels.device))
