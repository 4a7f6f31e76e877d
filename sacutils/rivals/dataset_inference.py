r"""Dataset Inference: the owner's training images should lie deeper in their class than others.

:Paper: Maini et al. (2021), ``maini2021dataset``; its black-box form.
:Queries: private (training) and public images in turn, and equal steps away from each in random
    directions. All steps are fixed in advance, so that every model is asked the same.
:Representation: walk lengths: the first step of each walk at which the label is not that of the
    image any more. A logistic regression that tells private from public by the source's lengths, on
    other images than the probes, gives each walk a weight and so each image a score.
:Distance: minus the effect size by which the suspect's scores of private images exceed those of
    public ones; it may have either sign, 0 means no difference; any number of classes.
:Claim: a model that learnt from the owner's images, itself or through the model that it copies,
    keeps them farther from its boundary than others. So it asks who used the *data*: an independent
    model on owner data is a positive by that claim. It is weak by nature where the source overfits
    little, as small sources on many images do: then private and public images lie equally deep.
:Access and budget: the source's answers and its training images; at most 151 queries per probe,
    since a walk is not followed beyond its first other label.
:Settings: published and ours: walks of 50 steps. Ours alone: steps of 5 grey levels, three walks
    per image and 250 images of each kind for the regression, so that the queries stay payable.
"""

import torch
from torch import nn

from ..training import logits_of
from .kinds import Extra, Queries, Rival, Setting, need

STEPS, LENGTH, FIT, BLOCK = 50, 5.0, 250, 5
"""Steps of a walk, length of one in grey levels, images of each kind to fit the scores on, and
steps that are asked about at once.
"""


def walks(pixels: torch.Tensor, seed: int) -> torch.Tensor:
    """Each image, then three walks from it: uint8, shape (n, 1 + 3 x 50) and that of an image.

    The directions come from a uniform, a normal and a Laplace distribution.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = tuple(pixels.shape)
    uniform = torch.rand(shape, generator=generator) * 2 - 1
    normal = torch.randn(shape, generator=generator)
    one, other = torch.empty((2, *shape)).exponential_(generator=generator)
    laplace = one - other
    directions = torch.stack([uniform, normal, laplace], 1).to(pixels.device)
    directions = directions / directions.square().mean((2, 3, 4), keepdim=True).sqrt()
    path = [
        (pixels[:, None] + k * LENGTH * directions).round().clamp(0, 255).to(torch.uint8)
        for k in range(1, STEPS + 1)
    ]
    return torch.cat([pixels[:, None], torch.stack(path, 2).flatten(1, 2)], 1)


def ask(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Logits, shape (n, 151, classes), for :func:`walks`. A walk is left after the `BLOCK` of steps
    in which the label changes; the rest has the answer to the image, which no length depends on.
    """
    start = logits_of(model, pixels[:, 0])
    label = start.argmax(1).repeat_interleave(3)
    path = pixels[:, 1:].unflatten(1, (3, STEPS)).flatten(0, 1)
    found = start.repeat_interleave(3, 0)[:, None].repeat(1, STEPS, 1)
    walking = torch.arange(len(path))
    for block in torch.arange(STEPS).split(BLOCK):
        part = path[walking[:, None].to(path.device), block.to(path.device)]
        logits = logits_of(model, part.flatten(0, 1)).unflatten(0, part.shape[:2])
        found[walking[:, None], block] = logits
        walking = walking[(logits.argmax(-1) == label[walking, None]).all(1)]
        if not len(walking):
            break
    return torch.cat([start[:, None], found.unflatten(0, (-1, 3)).flatten(1, 2)], 1)


def walk_lengths(logits: torch.Tensor) -> torch.Tensor:
    """Lengths of the walks, float64, shape (n, 3), 1 to 50; 50 also if the label never changes.

    The logits have shape (n, 151, classes), in the order of :func:`walks`.
    """
    labels = logits.argmax(-1)
    same = labels[:, 1:].unflatten(1, (3, STEPS)) == labels[:, :1, None]
    return (same.int().cumprod(-1).sum(-1) + 1).clamp_max(STEPS).double()


def alternate(
    private: torch.Tensor, public: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` images, a private one first, and whether each is private."""
    flags = torch.arange(count) % 2 == 0
    half = (count + 1) // 2
    return torch.stack([private[:half], public[:half]], 1).flatten(0, 1)[:count], flags


def queries(setting: Setting, count: int) -> Queries:
    """Walks; extra ``private`` (bool, per probe) and ``weights`` (float64, shape (1, 3), shared).

    A weight is what one step of a walk adds to the score of being private.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import

    half = (count + 1) // 2
    private, public = setting.owner.pixels, setting.probe.pixels
    available = min(len(private), len(public))
    need(half + 1, available, "images of the owner and as many of the probe split")
    fit = min(FIT, available - half)
    pixels, flags = alternate(private[half:], public[half:], 2 * fit)
    paths = walks(pixels, setting.seed + 1)
    lengths = walk_lengths(ask(setting.source, paths))
    scale = lengths.std(0).clamp_min(1e-9)
    model = LogisticRegression().fit((lengths / scale).numpy(), flags.numpy())
    weights = torch.from_numpy(model.coef_).double() / scale
    chosen, flags = alternate(private, public, count)
    return Queries(walks(chosen, setting.seed), {"private": flags, "weights": weights})


def distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    r"""Minus the effect size; of the source only ``weights`` count, which were learnt from it.

    .. math:: -\frac{\bar s_\mathrm{private} - \bar s_\mathrm{public}}
              {\sqrt{(\mathrm{var}\, s_\mathrm{private} + \mathrm{var}\, s_\mathrm{public}) / 2}},
              \qquad s = w \cdot \ell

    with the walk lengths :math:`\ell` and the owner's weights :math:`w`.
    """
    scores = (walk_lengths(suspect) * extra["weights"]).sum(1)
    private, public = scores[extra["private"]], scores[~extra["private"]]
    spread = ((private.var(correction=0) + public.var(correction=0)) / 2).sqrt()
    return -(private.mean() - public.mean()) / spread.clamp_min(1e-9)


DATASET_INFERENCE = Rival(
    "Dataset Inference",
    queries,
    distance,
    "walk lengths",
    "labels",
    "answers",
    new_labels=True,
    ask=ask,
)
