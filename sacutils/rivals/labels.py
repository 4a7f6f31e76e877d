"""Random and AKH: the suspect should predict the source's labels.

:Paper: Godinot et al. (2025), ``godinot2025qurd``. AKH asks only whether a suspect repeats the
    source's mistakes; random images are the floor.
:Queries: the first images of the probe split; AKH takes those that the source misclassifies.
:Representation: labels.
:Distance: share of unequal labels, 0 to 1; it serves IPGuard and CAE too.
:Access and budget: none for Random, the source's answers for AKH; one query per probe.
:Settings: none, there and here.
"""

import torch

from .. import probes
from ..training import logits_of
from .kinds import Extra, Queries, Rival, Setting


def random_queries(setting: Setting, count: int) -> Queries:
    """The first `count` images of the probe split."""
    return Queries(probes.normal(setting.probe, count).pixels[:, None], {})


def akh_queries(setting: Setting, count: int) -> Queries:
    """The first `count` images of the probe split that the source misclassifies."""
    predictions = logits_of(setting.source, setting.probe.pixels).argmax(1)
    return Queries(probes.wrong(setting.probe, predictions[None], count).pixels[:, None], {})


def distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """Share of queries for which the suspect predicts another label than the source."""
    return (source.argmax(-1) != suspect.argmax(-1)).double().mean()


RANDOM = Rival("Random", random_queries, distance, "label agreement", "labels", "none")
AKH = Rival("AKH", akh_queries, distance, "label agreement", "labels", "answers")
