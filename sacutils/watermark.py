"""EWE, the entangled watermark of Jia et al. (2021): a source that is taught a secret together with its task.

A watermark is no fingerprint: it has to be put in while the source is trained. Images of one class with a bright square
(the trigger) are taught to be of another class, and a loss pulls their features towards those of that class, so that a thief
who learns the class learns the secret with it. As in the original the task is learned first. Two
things are simpler here: the square has a fixed place, and the watermarked images are not refined by gradient steps.
"""

import torch
import torch.nn.functional as F
from torch import nn

from . import models
from .artefacts import UserError
from .data import Images, to_float
from .profiles import Source, Watermark
from .training import History, Objective, cross_entropy_to, train

Made = tuple[nn.Module, History]


def stamp(images: Images, watermark: Watermark) -> torch.Tensor:
    """The images of the watermark's source class with the trigger: a white square, one pixel away from the upper left corner.

    Parameters
    ----------
    images : Images
        Any images; those of other classes are left out.
    watermark : Watermark
        Class and size.

    Returns
    -------
    torch.Tensor
        uint8, shape (images of the class, channels, height, width).

    Raises
    ------
    UserError
        If there are no images of the class, or the square does not fit.
    """
    chosen = images.pixels[images.labels == watermark.source_class].clone()
    if not len(chosen) or watermark.size >= chosen.shape[-1]:
        raise UserError(
            f"watermark: source_class = {watermark.source_class} has {len(chosen)} images of {chosen.shape[-1]} pixels, size "
            f"is {watermark.size}; choose a class that the data set has and a square that fits."
        )
    chosen[..., 1 : 1 + watermark.size, 1 : 1 + watermark.size] = 255
    return chosen


def soft_nearest_neighbour(features: torch.Tensor, groups: torch.Tensor, temperature: float) -> torch.Tensor:
    r"""Soft nearest-neighbour loss (Frosst et al. 2019): small if each point's neighbours are of its own group.

    .. math:: -\frac{1}{b} \sum_i \log \frac{\sum_{j \ne i,\, g_j = g_i} e^{-\|u_i - u_j\|^2 / T}}
              {\sum_{j \ne i} e^{-\|u_i - u_j\|^2 / T}}, \qquad u = r / \|r\|

    Parameters
    ----------
    features : torch.Tensor
        Features :math:`r`, floating point, shape (b, width); at least two of each group.
    groups : torch.Tensor
        int64, shape (b,).
    temperature : float
        :math:`T`, above 0.

    Returns
    -------
    torch.Tensor
        Scalar, 0 or more. Driven **up**, it mixes the groups: that is the entanglement.
    """
    unit = F.normalize(features.float(), dim=1)
    closeness = (2 * unit @ unit.T - 2) / temperature
    closeness = closeness.masked_fill(torch.eye(len(unit), dtype=torch.bool, device=unit.device), -torch.inf)
    same = closeness.masked_fill(groups[:, None] != groups, -torch.inf)
    return (closeness.logsumexp(1) - same.logsumexp(1)).mean()


def _features(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and the inputs of the head's linear layers."""
    caught: list[torch.Tensor] = []
    layers = [module for module in models.head_of(model).modules() if isinstance(module, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0])) for layer in layers]
    logits = model(x)
    for hook in hooks:
        hook.remove()
    return logits, caught


def entangled(images: Images, watermark: Watermark) -> Objective:
    r"""Objective with a watermark: :math:`\mathrm{CE}(x, y) + \mathrm{CE}(x_w, t) - \kappa \sum_l \mathrm{SNNL}_l`.

    :math:`x_w` are a quarter as many watermarked images as the batch has, drawn at random; the soft nearest-neighbour loss sets
    their features with those of as many images of the target class :math:`t`, on the input of each linear layer of the head.

    Parameters
    ----------
    images : Images
        The owner's images.
    watermark : Watermark
        Classes, trigger, :math:`\kappa` and temperature.
    """
    marked, target = stamp(images, watermark), images.pixels[images.labels == watermark.target_class]
    if not len(target):
        raise UserError(
            f"watermark: target_class = {watermark.target_class} has no images; choose a class that the data set has."
        )

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        labels, n, some = images.labels[index], len(x), max(2, len(x) // 4)
        drawn = [pool[torch.randint(len(pool), (some,)).to(pool.device)] for pool in (marked, target)]
        # one pass, so that batch normalisation sees both kinds together
        logits, features = _features(model, torch.cat([x, *map(to_float, drawn)]))
        secret = torch.full((some,), watermark.target_class, device=x.device)
        loss = F.cross_entropy(logits[:n], labels) + F.cross_entropy(logits[n : n + some], secret)
        groups = torch.arange(2, device=x.device).repeat_interleave(some)
        for layer in features:
            loss = loss - watermark.factor * soft_nearest_neighbour(layer[n:], groups, watermark.temperature)
        return loss, (logits[:n].argmax(1) == labels).sum()

    return objective


def train_watermarked(architecture: str, images: Images, classes: int, recipe: Source, seed: int, label: str) -> Made:
    """Train a source on its task, then on the task and the watermark together.

    Parameters
    ----------
    architecture : str
        A name of ``sacutils.models.ARCHITECTURES``.
    images : Images
        The owner's images.
    classes : int
        Number of outputs.
    recipe : Source
        How to train; has a watermark.
    seed : int
        Seed of weights, order, augmentation and the draw of watermarked images.
    label : str
        Shown by the progress bar.

    Returns
    -------
    torch.nn.Module, History
        The source and its training curve (hits are those on the task).
    """
    assert recipe.watermark is not None
    secret = entangled(images, recipe.watermark)
    model = models.build(architecture, images.pixels.shape[1], classes, seed).to(images.pixels.device)
    task = train(model, images.pixels, cross_entropy_to(images.labels), recipe, seed, label=label)
    longer = recipe.model_copy(update={"epochs": recipe.watermark.epochs})
    both = train(model, images.pixels, secret, longer, seed, label=label)
    return model, History(task.loss + both.loss, task.accuracy + both.accuracy)
