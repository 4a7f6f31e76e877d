r"""Dataset Inference: the owner's training images should lie deeper in their class than others.

:Paper: Maini et al. (2021), ``maini2021dataset``; its black-box form.
:Queries: private (training) and public images in turn, and equal steps away from each in random
    directions. All steps are fixed in advance, so that every model is asked the same.
:Representation: walk lengths: the first step of each walk at which the label is not that of the
    image any more. A logistic regression that tells private from public by the source's lengths, on
    other images than the probes, gives each walk a weight and so each image a score.
:Distance: minus the effect size by which the suspect's scores of private images exceed those of
    public ones; it may have either sign, 0 means no difference; any number of classes.
:Access and budget: the source's answers and its training images; 151 queries per probe.
:Settings: published and ours: walks of 50 steps. Ours alone: steps of 5 grey levels, three walks
    per image and 250 images of each kind for the regression, so that the queries stay payable.
"""

import torch

from ..training import logits_of
from .kinds import Extra, Queries, Rival, Setting, need

STEPS, LENGTH, FIT = 50, 5.0, 250
"""Steps of a walk, length of one in grey levels, and images of each kind to fit the scores on."""


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
    answers = logits_of(setting.source, paths.flatten(0, 1)).unflatten(0, paths.shape[:2])
    lengths = walk_lengths(answers)
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
    "Dataset Inference", queries, distance, "walk lengths", "labels", "answers", new_labels=True
)
