"""What a suspect's service does to its answers and at its door, before the owner sees anything.

The suspect's service is disturbed, never the owner's: the owner asks its own models in its own
house. Answers are logits, floating, shape (n, classes), by the name of the set of images.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from ..correlation import log_probabilities, top_k
from ..corruptions import jpeg
from ..probes import pool

Answers = dict[str, torch.Tensor]
"""Logits of a model by the name of the set of images."""
TEST = "test"
"""The set of images by which a service judges what is doubtful, and its customers its accuracy."""


class Shown(NamedTuple):
    """What the owner sees of the answers to n images: logits (or logarithms of probabilities),
    float64, shape (n, classes); labels, int64, shape (n,); and which images were answered at all,
    bool, shape (n,).
    """

    logits: torch.Tensor
    labels: torch.Tensor
    answered: torch.Tensor


def plain(answers: Answers) -> dict[str, Shown]:
    """Answers as they are."""
    return {name: _shown(z.double()) for name, z in answers.items()}


def _shown(z: torch.Tensor, labels: torch.Tensor | None = None) -> Shown:
    given = z.argmax(1) if labels is None else labels
    return Shown(z, given, torch.ones(len(z), dtype=torch.bool))


def noisy(z: torch.Tensor, spread: float, generator: torch.Generator) -> torch.Tensor:
    """Logits with normal noise of a standard deviation; where another class would lead, it changes
    places with the one that led before.
    """
    moved = z + spread * torch.randn(z.shape, generator=generator, dtype=z.dtype)
    first, now = z.argmax(1, keepdim=True), moved.argmax(1, keepdim=True)
    return moved.scatter(1, first, moved.gather(1, now)).scatter(1, now, moved.gather(1, first))


Kept = Callable[[torch.Tensor, float, torch.Generator], torch.Tensor]
LABELS_KEPT: dict[str, tuple[tuple[float, ...], Kept]] = {
    "temperature": ((0.5, 1.5, 2, 3), lambda z, t, _: z / t),
    "logit shift": ((5, 20), lambda z, shift, _: z + shift),
    "rounding": ((2, 1), lambda z, n, _: log_probabilities(z.softmax(1).round(decimals=int(n)))),
    "top-k": (
        (3, 1),
        lambda z, k, _: log_probabilities(top_k(z.softmax(1), min(int(k), z.shape[1]))),
    ),
    "noise": ((1, 2), noisy),
}
"""Disturbances that change no label, with their strengths: the temperature, a constant added to all
logits, decimals of the probabilities, classes named, and the standard deviation of the noise.
"""


def kept(family: str, answers: Answers, strength: float, seed: int) -> dict[str, Shown]:
    """What a service of `LABELS_KEPT` shows."""
    generator, change = torch.Generator().manual_seed(seed), LABELS_KEPT[family][1]
    return {
        name: _shown(change(z.double(), strength, generator), z.argmax(1))
        for name, z in answers.items()
    }


def random_answers(answers: Answers, share: float, seed: int) -> dict[str, Shown]:
    """A random class, with certainty, for a share of the images."""
    generator, shown = torch.Generator().manual_seed(seed), {}
    for name, z in answers.items():
        replaced = torch.rand(len(z), 1, generator=generator) < share
        drawn = torch.randint(z.shape[1], (len(z), 1), generator=generator)
        certain = torch.zeros_like(z).scatter(1, drawn, 100.0)
        shown[name] = _shown(torch.where(replaced, certain, z).double())
    return shown


def abstaining(answers: Answers, share: float, seed: int) -> dict[str, Shown]:
    """No answer where the largest probability is below that of a share of the test images."""
    sure = {name: z.double().softmax(1).amax(1) for name, z in answers.items()}
    bar = sure[TEST].quantile(share)
    return {name: s._replace(answered=sure[name] >= bar) for name, s in plain(answers).items()}


LABELS_TOUCHED = {
    "random answers": ((0.05, 0.1, 0.3), random_answers),
    "abstaining": ((0.1, 0.3, 0.5), abstaining),
}
"""Disturbances of labels: the share of answers that are random, or left out because of doubt."""


def blurred(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of a standard deviation in pixels."""
    from torchvision.transforms.v2 import functional

    return functional.gaussian_blur(pixels, [5, 5], [sigma, sigma])


def squeezed(pixels: torch.Tensor, bits: float) -> torch.Tensor:
    """Grey levels reduced to so many bits."""
    levels = 2 ** int(bits) - 1
    return ((pixels.float() / 255 * levels).round() * (255 / levels)).round().to(torch.uint8)


CHANGED_IMAGES: dict[str, tuple[tuple[float, ...], Callable[..., torch.Tensor]]] = {
    "smoothing": ((0.5, 1), blurred),
    "JPEG": ((50, 10), lambda pixels, quality: jpeg(pixels, int(quality))),
    "bit depth": ((3, 1), squeezed),
}
"""What is done to each image before the model sees it: blur, JPEG quality, bits of grey."""

REFUSED = (0.01, 0.1)
"""Shares of honest questions that a door refuses."""
HONEST = 1000
"""Honest images from which a door learns at most, and as many again that set its bar."""


def oddity(honest: torch.Tensor, pixels: dict[str, torch.Tensor], seed: int) -> Answers:
    """How much each image looks shifted or mixed, 0 to 1, to a forest of trees that tells honest
    images from views of them (:func:`sacutils.probes.pool`).

    The trees learn from the first half of the honest images, at most `HONEST`; the scores of as
    many others are under the name ``honest``. Images are uint8, by the name of their set.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    from ..data import Images

    count = min(HONEST, len(honest) // 2)
    half = honest[:count]
    views = pool(Images(half, torch.arange(len(half))), seed).pixels
    made = torch.arange(len(views)) >= len(half)  # its first view is the image itself
    trees = ExtraTreesClassifier(50, random_state=seed, class_weight="balanced")
    trees.fit(views.flatten(1).cpu().numpy(), made.numpy())
    asked = pixels | {"honest": honest[count : 2 * count]}
    scores = {n: trees.predict_proba(p.flatten(1).cpu().numpy())[:, 1] for n, p in asked.items()}
    return {name: torch.from_numpy(value) for name, value in scores.items()}


def nearness(
    honest: torch.Tensor, pixels: dict[str, torch.Tensor], public: torch.Tensor
) -> Answers:
    """Minus the distance of each image, pixel by pixel, to the nearest public image; those of all
    honest images are under the name ``honest``.
    """
    known = public.flatten(1).float()
    asked = pixels | {"honest": honest}
    return {
        name: -torch.cat(
            [torch.cdist(part, known).amin(1) for part in p.flatten(1).float().split(500)]
        ).cpu()
        for name, p in asked.items()
    }


def door(scores: Answers, share: float) -> Answers:
    """Which images of each set are let in, bool, by a door that refuses those whose score is above
    that of all but a share of the honest images.
    """
    bar = scores["honest"].quantile(1 - share)
    return {name: value <= bar for name, value in scores.items() if name != "honest"}


def refused(answers: Answers, let_in: Answers) -> dict[str, Shown]:
    """Answers to the images that a :func:`door` lets in."""
    return {name: s._replace(answered=let_in[name]) for name, s in plain(answers).items()}
