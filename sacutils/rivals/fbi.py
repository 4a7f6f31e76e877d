r"""FBI: how much one model's answer to plain images tells about the other's.

:Paper: Maho et al. (2022), ``maho2022fbi``; the second row as Godinot et al. (2025) have it,
    ``godinot2025qurd``.
:Queries: the first images of the probe split.
:Representation: a symbol for each answer. The authors' is the rank of the true class among the
    first `TOP`, QuRD's the predicted class.
:Distance: :math:`1 - I(s_S; s_T) / \min(H(s_S), H(s_T))` of the two models' symbols :math:`s`, 0 to
    1, whatever the symbols are called; with QuRD's, any numbers of classes.
:Access and budget: none; one query per probe. The authors' needs the true labels of the images.
:Settings: `TOP` is ours: with 1 the rank says only whether the label is right.
"""

import torch
import torch.nn.functional as F

from .kinds import Extra, Queries, Rival, Setting
from .labels import random_queries

TOP = 3


def queries(setting: Setting, count: int) -> Queries:
    """The first images of the probe split; extra ``truth`` (int64, per probe): their labels."""
    asked = random_queries(setting, count)
    return asked._replace(extra={"truth": setting.probe.labels[:count].cpu()})


def entropy(counts: torch.Tensor) -> torch.Tensor:
    """Shannon entropy, in nats, of a histogram of any shape."""
    shares = counts.double().flatten() / counts.sum()
    return -torch.xlogy(shares, shares).sum()


def information_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """One minus mutual information by the smaller entropy; 1 if that is 0, for it tells nothing.
    Symbols are int64, shape (n,), 0 or more.
    """
    joint = F.one_hot(first).double().T @ F.one_hot(second).double()
    one, other = entropy(joint.sum(1)), entropy(joint.sum(0))
    smaller = torch.minimum(one, other)
    if smaller <= 0:
        return torch.ones((), dtype=torch.float64)
    return (1 - (one + other - entropy(joint)) / smaller).clamp(0, 1)


def ranks(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Place of the true class in a model's order of the classes, int64, shape (n,): 0 is the first,
    and `TOP` stands for all behind the first `TOP`. Logits have shape (n, classes).
    """
    return (logits > logits.gather(1, truth[:, None])).sum(1).clamp_max(TOP)


def distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """:func:`information_distance` of :func:`ranks`; both must have the same classes."""
    return information_distance(*(ranks(z[:, 0], extra["truth"]) for z in (source, suspect)))


def label_distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """:func:`information_distance` of two models' labels."""
    return information_distance(*(z.argmax(-1).flatten() for z in (source, suspect)))


FBI = Rival("FBI", queries, distance, "mutual information", "ranked labels", "none")
FBI_QURD = Rival(
    "FBI (QuRD)",
    random_queries,
    label_distance,
    "mutual information",
    "labels",
    "none",
    new_labels=True,
)
