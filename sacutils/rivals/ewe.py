"""EWE: the suspect should know the secret that the source was taught; a watermark, no fingerprint.

:Paper: Jia et al. (2021), *Entangled Watermarks*, ``jia2021ewe``.
:Queries: the first probe images of the watermark's source class, with the trigger.
:Representation: labels.
:Distance: share of queries without the secret label, 0 to 1.
:Access and budget: the source's training, see :mod:`sacutils.watermark`, so that EWE protects a
    source of its own; one query per probe.
:Settings: published / ours, each for simplicity:

    - the trigger's place is searched / fixed.
    - marked images are refined by gradient steps / taken as they are.
    - the loss's temperature is learnt / a parameter of the profile.
"""

import torch

from ..files import UserError
from ..watermark import stamp
from .kinds import Extra, Queries, Rival, Setting, need


def queries(setting: Setting, count: int) -> Queries:
    """Images with the trigger; extra ``target`` (int64, shared): the secret label."""
    watermark = setting.watermark
    if watermark is None:
        raise UserError("EWE needs a source with a watermark; give recipes.source.watermark.")
    marked = stamp(setting.probe, watermark)
    need(count, len(marked), f"images of class {watermark.source_class} in the probe split")
    return Queries(marked[:count, None], {"target": torch.tensor([watermark.target_class])})


def distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """Share of queries for which the suspect does not predict ``target``; the source's unused."""
    return (suspect.argmax(-1) != extra["target"]).double().mean()


EWE = Rival("EWE", queries, distance, "secret label", "labels", "training")
