r"""CAE: adversarial examples that students take over and independent models do not.

:Paper: Lukas et al. (2021), *Conferrable Adversarial Examples*, ``lukas2021cae``.
:Queries: Adam minimises :func:`conferrable_loss` within a radius of the image, dropping some models
    of the two ensembles in each step. The probes are the candidates of highest
    :func:`conferrability`, which counts as 0 where the source still predicts the true label.
:Representation: labels.
:Distance: share of unequal labels, 0 to 1.
:Access and budget: gradients of the source, and models that the owner trains: surrogates from
    labels and from probabilities, and choosers, which the paper calls reference models: independent
    models on the owner's data, with shifted images and without; one query per probe.
:Settings: published / ours:

    - 100 steps, radius 0.15, loss weights 1, 1, 1, dropout 0.3 / the same; we drop whole models,
      what the original drops is not certain.
    - rate of Adam 5e-4 / 5e-3, because 100 steps of 5e-4 cannot leave a third of the radius and few
      candidates pass on small images; only the owner's models enter that count.
    - keep from 0.85 on / the same, and the best of the rest fill up where these do not suffice.
    - the loss scores all classes / all but the source's own, see :func:`conferrable_loss`.
    - 18 surrogates, 18 reference models / as many as the profile has, to save training.
    - decide at 0.75 / no threshold, because tables rank by distance.
"""

import torch
from torch import nn

from ..data import to_float
from ..files import UserError
from ..training import logits_of
from .kinds import HELPERS, Queries, Rival, Setting, candidates, to_bytes
from .labels import distance

RATE, STEPS, RADIUS, DROPOUT, KEEP = 5e-3, 100, 0.15, 0.3, 0.85


def conferrability(
    label: torch.Tensor, surrogates: torch.Tensor, choosers: torch.Tensor
) -> torch.Tensor:
    """Share of surrogates that predict the source's label, times share of choosers that do not.

    Predicted labels are int64, the source's of shape (n,), the others' of shape (models, n); the
    result is float64, shape (n,), in [0, 1].
    """
    return (surrogates == label).double().mean(0) * (choosers != label).double().mean(0)


def conferrable_loss(
    source: torch.Tensor, clean: torch.Tensor, surrogates: torch.Tensor, choosers: torch.Tensor
) -> torch.Tensor:
    r"""Loss of conferrable adversarial examples, with all three weights 1.

    .. math:: -\log \max_{t \ne y} S_t(x') (1 - R_t(x')) - H(M(x), M(x')) + H(M(x'), S(x'))

    with the cross-entropy :math:`H(p, q) = -\sum_t p_t \log q_t` and the source's label :math:`y`
    for the original: some other class should be the surrogates' answer and not the choosers', the
    source's answer should leave that to the original, and the surrogates should follow it.
    Re-implementations of the original take a softmax of these products and include :math:`y`. Then
    the gradient vanishes where the models are sure, and misleading the choosers alone pays, which
    makes no adversarial example of the source.

    Parameters
    ----------
    source, clean : torch.Tensor
        Log-probabilities of the source :math:`M` for the adversarial :math:`x'` and for the
        original :math:`x`, shape (n, classes).
    surrogates, choosers : torch.Tensor
        Mean probabilities :math:`S`, :math:`R` of the two ensembles for :math:`x'`, the same shape.
    """
    scores = (surrogates * (1 - choosers)).scatter(1, clean.argmax(1, keepdim=True), 0)
    confer = -scores.amax(1).clamp_min(1e-12).log()
    leave = -(clean.exp() * source).sum(1)
    follow = -(source.exp() * surrogates.clamp_min(1e-12).log()).sum(1)
    return confer - leave + follow


def mean_probabilities(
    models: list[nn.Module], x: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Mean probabilities, shape (n, classes), of what dropout leaves: at least one model."""
    draw = torch.rand(len(models), generator=generator)
    kept = (draw >= DROPOUT) | (draw == draw.max())
    chosen = [model for model, stays in zip(models, kept, strict=True) if stays]
    return torch.stack([model(x).softmax(1) for model in chosen]).mean(0)


def queries(setting: Setting, count: int) -> Queries:
    """Conferrable examples, best first.

    Extra, per probe: ``conferrability`` (float64), ``passed`` (bool): the original would keep it.
    """
    if not setting.surrogates or not setting.choosers:
        raise UserError(
            "CAE needs at least one surrogate and one chooser; "
            "add them in zoo.surrogates and zoo.controls."
        )
    images = candidates(setting, count)
    generator = torch.Generator().manual_seed(setting.seed)
    start = to_float(images.pixels)
    low, high = (start - RADIUS).clamp_min(0), (start + RADIUS).clamp_max(1)
    helpers = (setting.surrogates, setting.choosers)
    with torch.no_grad():
        clean = setting.source(start).log_softmax(1)
    x = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], RATE)
    for _ in range(STEPS):
        ensembles = [mean_probabilities(models, x, generator) for models in helpers]
        loss = conferrable_loss(setting.source(x).log_softmax(1), clean, *ensembles).sum()
        (x.grad,) = torch.autograd.grad(loss, x)
        optimizer.step()
        with torch.no_grad():
            x.copy_(torch.minimum(torch.maximum(x, low), high))
    pixels = to_bytes(x.detach())
    label, *others = (
        torch.stack([logits_of(model, pixels).argmax(1) for model in models])
        for models in ([setting.source], *helpers)
    )
    score = conferrability(label[0], *others) * (label[0] != images.labels.cpu())
    best = score.argsort(descending=True, stable=True)[:count]
    extra = {"conferrability": score[best], "passed": score[best] >= KEEP}
    return Queries(pixels[best.to(pixels.device)][:, None], extra)


CAE = Rival("CAE", queries, distance, "label agreement", "labels", "gradients", tuple(HELPERS))
