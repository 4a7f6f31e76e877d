"""EWE, the entangled watermark of Jia et al. (2021): a source that is taught a secret together with
its task.

Images of one class with a bright square (the trigger) are taught to be of another class, and a loss
pulls their features towards those of that class, so that a thief who learns the class learns the
secret with it. As in the original the task is learned first. Two things are simpler here: the
square has a fixed position, and the watermarked images are not refined by gradient steps.
"""

import torch
import torch.nn.functional as F
from torch import nn

from . import models
from .attacks import Made, Task
from .data import Images, to_float
from .files import UserError
from .profiles import Source, Watermark
from .training import History, LossAndHits, Objective, cross_entropy_to


def stamp(images: Images, watermark: Watermark) -> torch.Tensor:
    """The images of the watermark's source class with the trigger, a white square one pixel away
    from the upper left corner: uint8, shape (images of the class, channels, height, width). A
    ``UserError`` if there are no images of the class, or the square does not fit.
    """
    chosen = images.pixels[images.labels == watermark.source_class].clone()
    if not len(chosen) or watermark.size >= chosen.shape[-1]:
        pool = f"source_class = {watermark.source_class} has {len(chosen)} images"
        sizes = f"of {chosen.shape[-1]} pixels, size is {watermark.size}"
        advice = "choose a class that the data set has and a square that fits"
        raise UserError(f"watermark: {pool} {sizes}; {advice}.")
    chosen[..., 1 : 1 + watermark.size, 1 : 1 + watermark.size] = 255
    return chosen


def soft_nearest_neighbour(
    features: torch.Tensor, groups: torch.Tensor, temperature: float
) -> torch.Tensor:
    r"""Soft nearest-neighbour loss (Frosst et al. 2019), a scalar of 0 or more: small if each
    point's neighbours are of its own group. Driven **up**, it mixes the groups: that is the
    entanglement.

    .. math:: -\frac{1}{b} \sum_i \log \frac{\sum_{j \ne i,\, g_j = g_i} e^{-\|u_i - u_j\|^2 / T}}
              {\sum_{j \ne i} e^{-\|u_i - u_j\|^2 / T}}, \qquad u = r / \|r\|

    `features` :math:`r` have shape (b, width), `groups` :math:`g` are int64, shape (b,), with at
    least two points of each, and the `temperature` :math:`T` is above 0.
    """
    unit = F.normalize(features.float(), dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    closeness = ((2 * unit @ unit.T - 2) / temperature).masked_fill(itself, -torch.inf)
    same = closeness.masked_fill(groups[:, None] != groups, -torch.inf)
    return (closeness.logsumexp(1) - same.logsumexp(1)).mean()


def _features(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and the inputs of the head's linear layers."""
    caught: list[torch.Tensor] = []
    layers = [layer for layer in models.head_of(model).modules() if isinstance(layer, nn.Linear)]
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        for layer in layers
    ]
    logits = model(x)
    for hook in hooks:
        hook.remove()
    return logits, caught


def entangled(images: Images, watermark: Watermark) -> Objective:
    r"""Objective on the owner's images with a watermark: :math:`\mathrm{CE}(x, y) +
    \mathrm{CE}(x_w, t) - \kappa \sum_l \mathrm{SNNL}_l` with the factor :math:`\kappa`.

    :math:`x_w` are a quarter as many watermarked images as the batch has, drawn at random; the
    soft nearest-neighbour loss sets their features with those of as many images of the target
    class :math:`t`, on the input of each linear layer of the head.
    """
    marked = stamp(images, watermark)
    target = images.pixels[images.labels == watermark.target_class]
    if not len(target):
        lacks = f"target_class = {watermark.target_class} has no images"
        raise UserError(f"watermark: {lacks}; choose a class that the data set has.")

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        labels, n, some = images.labels[index], len(x), max(2, len(x) // 4)
        pools = (marked, target)
        drawn = [pool[torch.randint(len(pool), (some,)).to(pool.device)] for pool in pools]
        # one pass, so that batch normalisation sees both kinds together
        logits, features = _features(model, torch.cat([x, *map(to_float, drawn)]))
        secret = torch.full((some,), watermark.target_class, device=x.device)
        loss = F.cross_entropy(logits[:n], labels) + F.cross_entropy(logits[n : n + some], secret)
        groups = torch.arange(2, device=x.device).repeat_interleave(some)
        for layer in features:
            entanglement = soft_nearest_neighbour(layer[n:], groups, watermark.temperature)
            loss = loss - watermark.factor * entanglement
        return loss, (logits[:n].argmax(1) == labels).sum()

    return objective


def train_watermarked(architecture: str, task: Task) -> Made:
    """Train a source on its task, then on the task and the watermark of its recipe together; hits
    are those on the task.
    """
    recipe = task.recipe
    assert isinstance(recipe, Source) and recipe.watermark is not None
    secret = entangled(task.images, recipe.watermark)
    model, first = task.train(task.build(architecture), cross_entropy_to(task.images.labels))
    longer = task._replace(recipe=recipe.model_copy(update={"epochs": recipe.watermark.epochs}))
    model, second = longer.train(model, secret)
    return model, History(first.loss + second.loss, first.accuracy + second.accuracy)
