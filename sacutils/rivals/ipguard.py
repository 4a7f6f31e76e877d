r"""IPGuard: images pushed over the source's boundary.

:Paper: Cao et al. (2021), ``cao2021ipguard``. The second row is IPGuard as Godinot et al. (2025)
    have it, ``godinot2025qurd``.
:Queries: images that the source classifies correctly, moved by Adam towards another class. The loss
    is taken at the nearest 8-bit image, its gradient handed to the unrounded one; an image stays as
    it is from the step in which it arrives. When there are enough, they come first, in the order of
    the split; the last state of others fills up.
:Representation: labels.
:Distance: share of unequal labels, 0 to 1.
:Access and budget: gradients of the source; one query per probe.
:Settings: published and ours: k = 10, rate of Adam 0.01, at most 1,000 steps, a random target for
    each image. The paper studies k, so an image has arrived where the loss is 0 and k is its
    margin behind the boundary. In QuRD's code it has where the source first predicts the target,
    which makes k void.
"""

from functools import partial

import torch
import torch.nn.functional as F

from ..data import to_float
from ..training import logits_of
from .kinds import Queries, Rival, Setting, candidates, to_bytes
from .labels import distance

MARGIN, RATE, STEPS = 10.0, 0.01, 1000


def boundary_loss(logits: torch.Tensor, label: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    r"""How far each image is from the boundary between its class and a target class.

    .. math:: \mathrm{ReLU}(z_i - z_j + k) + \mathrm{ReLU}(\max_{t \ne i, j} z_t - \min(z_i, z_j))

    with logits :math:`z`, shape (n, classes), of three classes or more, and the two classes
    :math:`i \ne j`, int64, shape (n,). The result has shape (n,) and is 0 or more.
    """
    pair = torch.stack([label, target], 1)
    own, other = logits.gather(1, pair).unbind(1)
    rest = logits.scatter(1, pair, -torch.inf).amax(1)
    return F.relu(own - other + MARGIN) + F.relu(rest - torch.minimum(own, other))


def queries(setting: Setting, count: int, crossing: bool = False) -> Queries:
    """Images behind the boundary, or with `crossing` just behind it; extra ``arrived`` (bool, per
    probe).
    """
    images = candidates(setting, count)
    classes = logits_of(setting.source, images.pixels[:1]).shape[1]
    generator = torch.Generator().manual_seed(setting.seed)
    shift = torch.randint(1, classes, images.labels.shape, generator=generator)
    target = (images.labels + shift.to(images.labels.device)) % classes
    x = to_float(images.pixels).requires_grad_(True)
    optimizer = torch.optim.Adam([x], RATE)
    result = images.pixels.clone()
    arrived = torch.zeros_like(target, dtype=torch.bool)
    for _ in range(STEPS):
        active = (~arrived).nonzero().squeeze(1)
        result[active] = to_bytes(x.detach()[active])
        sent = x[active] + (to_float(result[active]) - x.detach()[active])
        logits = setting.source(sent)
        loss = boundary_loss(logits, images.labels[active], target[active])
        arrived[active] = logits.argmax(1) == target[active] if crossing else loss == 0
        if arrived.sum() >= count:
            break
        (x.grad,) = torch.autograd.grad(loss.sum(), x)
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    chosen = (~arrived).int().argsort(stable=True)[:count]
    return Queries(result[chosen][:, None], {"arrived": arrived[chosen].cpu()})


IPGUARD, IPGUARD_QURD = (
    Rival(name, partial(queries, crossing=at), distance, "label agreement", "labels", "gradients")
    for name, at in (("IPGuard", False), ("IPGuard (QuRD)", True))
)
