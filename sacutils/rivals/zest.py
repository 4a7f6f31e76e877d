r"""Zest: which parts of an image raise which class.

:Paper: Jia et al. (2022), *A Zest of LIME*, ``jia2022zest``.
:Queries: the first images of the probe split, each with random halves of its cells hidden: they
    take the mean colour of the image. The masks are the same for all images.
:Representation: LIME weights: a ridge regression of the probabilities on the masks, per image.
:Distance: cosine distance of two models' weights, those of all images in one vector, 0 to 2.
:Access and budget: none; `MASKS` queries per probe, the first of them the image itself. With
    *equal queries* there are as many as other fingerprints ask: few images, `EQUAL` masks of each.
:Settings: published / ours:

    - 128 images / the budget that all fingerprints share.
    - 1,000 masks per image / 64, four times the 16 unknowns, so that the queries stay payable.
    - segments, whose number depends on the image / a grid of 16 cells, the same for all.
"""

import torch
import torch.nn.functional as F

from .. import probes
from .kinds import Extra, Queries, Rival, Setting

GRID, MASKS, EQUAL = 4, 64, 20
"""Cells per side, and masks per image: of the usual budget, and of one that counts queries, where
they still are a few more than the unknowns.
"""


def cells(height: int, width: int) -> torch.Tensor:
    """The number of the cell of each pixel, int64, shape (height, width)."""
    rows, columns = (torch.arange(size) * GRID // size for size in (height, width))
    return rows[:, None] * GRID + columns


def queries(setting: Setting, count: int, per: int = MASKS) -> Queries:
    """Images partly hidden, each `per` times; extra ``masks`` (float64, (1, per, cells), shared; 1
    is shown).
    """
    pixels = probes.normal(setting.probe, count).pixels
    generator = torch.Generator().manual_seed(setting.seed)
    masks = torch.randint(0, 2, (per, GRID**2), generator=generator)
    masks[0] = 1
    shown = masks[:, cells(*pixels.shape[-2:])].bool()[:, None].to(pixels.device)
    mean = pixels.float().mean((-2, -1), keepdim=True).round().to(torch.uint8)
    hidden = torch.where(shown, pixels[:, None], mean[:, None])
    return Queries(hidden, {"masks": masks.double()[None]})


def equal_queries(setting: Setting, count: int) -> Queries:
    """At most `count` queries of a few images, see :func:`queries`."""
    per = min(EQUAL, count)
    return queries(setting, count // per, per)


def lime_weights(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    r"""How much each cell raises the probability of each class.

    .. math:: W = (A^\top A + I)^{-1} A^\top P

    with the centred masks :math:`A` and the centred probabilities :math:`P`, which is ridge
    regression with penalty 1 and an intercept that bears none. From logits of shape
    (n, masks, classes) and masks of shape (masks, cells) to (n, cells, classes).
    """
    centred = masks - masks.mean(0)
    probabilities = logits.softmax(-1)
    return torch.linalg.solve(
        centred.T @ centred + torch.eye(masks.shape[1], dtype=masks.dtype),
        centred.T @ (probabilities - probabilities.mean(1, keepdim=True)),
    )


def distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """Cosine distance of two models' :func:`lime_weights`; both must have the same classes."""
    masks = extra["masks"][0]
    weights = (lime_weights(logits, masks).flatten() for logits in (source, suspect))
    return 1 - F.cosine_similarity(*weights, dim=0)


ZEST, ZEST_EQUAL_QUERIES = (
    Rival(name, make, distance, "LIME weights", "probabilities", "none")
    for name, make in (("Zest", queries), ("Zest (equal queries)", equal_queries))
)
