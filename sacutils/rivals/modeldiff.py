"""ModelDiff: how far the answer moves from an image to its adversarial twin.

:Paper: Li et al. (2021), ``li2021modeldiff``.
:Queries: plain images, the seeds, and twins made from them by projected gradient descent, away from
    the label that the source predicts.
:Representation: decision distances: cosine distance of the probabilities at each seed and its twin.
:Distance: cosine distance of two models' vectors of these, 0 to 1; any numbers of classes.
:Access and budget: gradients of the source; half of the budget are seeds, half twins.
:Settings: published and ours: radius 0.03, half seeds and half twins; the ablation *twin radius*
    has others. Ours alone: ten steps of a quarter of the radius, enough to reach the edge of the
    ball and to turn there.
"""

import torch
import torch.nn.functional as F

from .. import probes
from ..attacks import perturb
from ..data import to_float
from ..training import logits_of
from .kinds import Extra, Queries, Rival, Setting, to_bytes

RADIUS, STEPS = 0.03, 10


def queries(setting: Setting, count: int, radius: float = RADIUS) -> Queries:
    """Seed and twin, two queries per probe, and half as many probes as `count`; no pixel of a twin,
    0 to 1, is farther than the `radius` from the seed's.
    """
    seeds = probes.normal(setting.probe, count // 2).pixels
    label = logits_of(setting.source, seeds).argmax(1).to(seeds.device)
    grey = 255 * radius
    twins = perturb(setting.source, to_float(seeds), label, STEPS, 2.5 * grey / STEPS, grey)
    return Queries(torch.stack([seeds, to_bytes(twins)], 1), {})


def decision_distances(logits: torch.Tensor) -> torch.Tensor:
    """Decision distance vector, shape (n,), 0 to 1, of logits of shape (n, 2, classes)."""
    seed, twin = logits.softmax(-1).unbind(1)
    return (1 - F.cosine_similarity(seed, twin, dim=-1)).clamp_min(0)


def distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """Cosine distance of two models' :func:`decision_distances`; 1 if one of them never moves."""
    return 1 - F.cosine_similarity(decision_distances(source), decision_distances(suspect), dim=0)


MODELDIFF = Rival(
    "ModelDiff",
    queries,
    distance,
    "decision distances",
    "probabilities",
    "gradients",
    new_labels=True,
)
