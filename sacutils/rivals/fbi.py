r"""FBI, as QuRD has it: how much one model's label tells about the other's.

:Paper: Maho et al. (2022), ``maho2022fbi``, as Godinot et al. (2025) have it, ``godinot2025qurd``.
:Queries: the first images of the probe split.
:Representation: labels.
:Distance: :math:`1 - I(y_S; y_T) / \min(H(y_S), H(y_T))`, 0 to 1, whatever the labels are called;
    any numbers of classes.
:Access and budget: none; one query per probe.
:Settings: published / ours: the compared symbol is the rank of the true class among the first k /
    the predicted class, which is QuRD's choice and needs no true labels.
"""

import torch
import torch.nn.functional as F

from .kinds import Extra, Rival
from .labels import random_queries as queries


def entropy(counts: torch.Tensor) -> torch.Tensor:
    """Shannon entropy, in nats, of a histogram of any shape."""
    shares = counts.double().flatten() / counts.sum()
    return -torch.xlogy(shares, shares).sum()


def distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """One minus mutual information by the smaller entropy; 1 if that is 0, for it tells nothing."""
    rows, columns = (
        F.one_hot(logits.argmax(-1).flatten(), logits.shape[-1]).double()
        for logits in (source, suspect)
    )
    joint = rows.T @ columns
    first, second = entropy(joint.sum(1)), entropy(joint.sum(0))
    smaller = torch.minimum(first, second)
    if smaller <= 0:
        return torch.ones((), dtype=torch.float64)
    return (1 - (first + second - entropy(joint)) / smaller).clamp(0, 1)


FBI = Rival("FBI", queries, distance, "mutual information", "labels", "none", new_labels=True)
