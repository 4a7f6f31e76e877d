"""How a model is stolen: one function per attack, from the source and the thief's images to a suspect.

Every function returns a new model and its training history and leaves the source untouched. Images are
:class:`~sacutils.data.Images` on the source's device. `query` stands for the source as a black box: a function from images
(float32 in [0, 1]) to logits, called on **every augmented batch** as the released code does.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from . import models
from .artefacts import UserError
from .data import Images, to_float
from .profiles import Adversarial, Distillation, Pruning, Recipe
from .training import History, Objective, cross_entropy_to, train

Query = Callable[[torch.Tensor], torch.Tensor]
Made = tuple[nn.Module, History]


def black_box(source: nn.Module) -> Query:
    """The source as a prediction service: logits for images, no gradient, evaluation mode."""
    source.eval()

    def query(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return source(x).float()

    return query


def train_independent(architecture: str, images: Images, classes: int, recipe: Recipe, seed: int, label: str) -> Made:
    """Train a network from scratch on true labels: the source itself, and every irrelevant model.

    Parameters
    ----------
    architecture : str
        A name of ``sacutils.models.ARCHITECTURES``.
    images : Images
        The trainer's own images.
    classes : int
        Number of outputs.
    recipe : Recipe
        How to train.
    seed : int
        Seed of weights, order and augmentation.
    label : str
        Shown by the progress bar.

    Returns
    -------
    torch.nn.Module, History
        The model and its training curve.
    """
    model = models.build(architecture, images.pixels.shape[1], classes, seed).to(images.pixels.device)
    history = train(model, images.pixels, cross_entropy_to(images.labels), recipe, seed, label=label)
    return model, history


def finetune(
    source: nn.Module,
    images: Images,
    classes: int,
    recipe: Recipe,
    seed: int,
    label: str,
    *,
    last: bool,
    new_labels: bool = False,
) -> Made:
    """Go on training the source's own weights: Finetune-A and -L, Transfer-A and -L, Transfer-10C.

    Parameters
    ----------
    source : torch.nn.Module
        The stolen weights.
    images : Images
        The thief's images with true labels.
    classes : int
        Number of outputs.
    recipe : Recipe
        How to train.
    seed : int
        Seed of order and augmentation, and of the fresh last layer.
    label : str
        Shown by the progress bar.
    last : bool
        Train the classifier block only (``-L``); the rest keeps its weights and its batch statistics.
    new_labels : bool
        Begin with a fresh last linear layer, because the labels mean something else.

    Returns
    -------
    torch.nn.Module, History
        The suspect and its training curve.
    """
    model = copy.deepcopy(source)
    if new_labels:
        models.replace_last(model, classes, seed)
    only = models.head_of(model) if last else None
    objective = cross_entropy_to(images.labels)
    return model, train(model, images.pixels, objective, recipe, seed, only=only, label=label)


def last_normalisation(model: nn.Module) -> nn.BatchNorm2d:
    """The batch normalisation behind the last convolution, whose scale and shift switch that convolution's channels.

    Raises
    ------
    UserError
        If the model has none.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not layers:
        raise UserError(
            "Pruning masks channels in a batch normalisation and zoo.source has none; choose a source with it, as vgg_bn_s."
        )
    return layers[-1]


def channel_activity(model: nn.Module, layer: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Mean absolute activation of each channel behind a layer and its ReLU, summed over batches; shape (channels,)."""
    parts: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: parts.append(torch.relu(output).mean((0, 2, 3))))
    model.eval()
    with torch.no_grad():
        for part in pixels.split(500):
            model(to_float(part))
    hook.remove()
    return torch.stack(parts).sum(0)


def prune(parent: nn.Module, images: Images, recipe: Pruning, fraction: float, seed: int, label: str) -> Made:
    """One rung of fine-pruning (Liu et al. 2018): silence the least active channels of the last convolution, then fine-tune.

    A channel's activity is its mean absolute activation on the thief's images. The `fraction` of channels with the smallest
    one is masked: scale and shift of their batch normalisation are held at zero. Channels that the parent had silenced count
    as the least active, so the masks are nested along a ladder.

    Parameters
    ----------
    parent : torch.nn.Module
        The source, or the previous rung.
    images : Images
        The thief's images with true labels.
    recipe : Pruning
        How to fine-tune after the pruning.
    fraction : float
        Share of the last convolution's channels that are silent afterwards, 0 to 1.
    seed : int
        Seed of order and augmentation.
    label : str
        Shown by the progress bar.

    Returns
    -------
    torch.nn.Module, History
        The suspect and its training curve.

    Raises
    ------
    UserError
        If the parent has no batch normalisation.
    """
    model = copy.deepcopy(parent)
    layer = last_normalisation(model)
    activity = channel_activity(model, layer, images.pixels)
    # below every other: a channel that happens to be dead must not take the place of one silenced before
    activity[(layer.weight == 0) & (layer.bias == 0)] = -1
    silent = activity.argsort(stable=True)[: int(fraction * len(activity))]

    def silence() -> None:
        with torch.no_grad():
            layer.weight[silent] = 0
            layer.bias[silent] = 0

    silence()
    objective = cross_entropy_to(images.labels)
    return model, train(model, images.pixels, objective, recipe, seed, after_step=silence, label=label)


def _extract(student: str, images: Images, objective: Objective, classes: int, recipe: Recipe, seed: int, label: str) -> Made:
    model = models.build(student, images.pixels.shape[1], classes, seed).to(images.pixels.device)
    return model, train(model, images.pixels, objective, recipe, seed, label=label)


def extract_label(query: Query, student: str, images: Images, classes: int, recipe: Recipe, seed: int, label: str) -> Made:
    r"""Extract-L: a student learns the source's hard labels, asked anew for each augmented batch.

    The loss is :math:`\mathrm{CE}(z, \arg\max_k s_k)` with the student's logits :math:`z` and the source's :math:`s`.

    Parameters
    ----------
    query : callable
        The source as a black box.
    student : str
        Architecture of the student.
    images : Images
        The thief's images; their labels are not used.
    classes : int
        Number of outputs.
    recipe : Recipe
        How to train.
    seed : int
        Seed of weights, order and augmentation.
    label : str
        Shown by the progress bar.

    Returns
    -------
    torch.nn.Module, History
        The suspect and its training curve (hits are agreements with the source).
    """

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        target, logits = query(x).argmax(1), model(x)
        return F.cross_entropy(logits, target), (logits.argmax(1) == target).sum()

    return _extract(student, images, objective, classes, recipe, seed, label)


def extract_probability(
    query: Query, student: str, images: Images, classes: int, recipe: Distillation, seed: int, label: str
) -> Made:
    r"""Extract-P: knowledge distillation from the source's probabilities, asked anew for each augmented batch.

    The loss is :math:`w\,T^2\,\mathrm{KL}(\mathrm{softmax}(s/T)\,\|\,\mathrm{softmax}(z/T)) + (1-w)\,\mathrm{CE}(z, \arg\max_k
    s_k)`. Probabilities suffice: a softmax at temperature `T` is a function of the softmax at 1.

    Parameters
    ----------
    query : callable
        The source as a black box.
    student : str
        Architecture of the student.
    images : Images
        The thief's images; their labels are not used.
    classes : int
        Number of outputs.
    recipe : Distillation
        How to train, temperature :math:`T` and weight :math:`w`.
    seed : int
        Seed of weights, order and augmentation.
    label : str
        Shown by the progress bar.

    Returns
    -------
    torch.nn.Module, History
        The suspect and its training curve (hits are agreements with the source).
    """
    temperature, weight = recipe.temperature, recipe.soft_weight

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        teacher, logits = query(x), model(x)
        target = teacher.argmax(1)
        log_student = F.log_softmax(logits / temperature, 1)
        log_teacher = F.log_softmax(teacher / temperature, 1)
        soft = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2
        loss = weight * soft + (1 - weight) * F.cross_entropy(logits, target)
        return loss, (logits.argmax(1) == target).sum()

    return _extract(student, images, objective, classes, recipe, seed, label)


def perturb(model: nn.Module, x: torch.Tensor, target: torch.Tensor, steps: int, step: float, radius: float) -> torch.Tensor:
    r"""Projected gradient descent in the :math:`L_\infty` ball (Madry et al. 2018), from `x` itself.

    Parameters
    ----------
    model : torch.nn.Module
        The model to mislead, used in evaluation mode.
    x : torch.Tensor
        float32 in [0, 1], shape (n, channels, height, width).
    target : torch.Tensor
        int64, shape (n,): labels whose loss is driven up.
    steps : int
        Number of steps.
    step, radius : float
        Step and radius, in units of one grey level (1/255).

    Returns
    -------
    torch.Tensor
        Perturbed images in [0, 1], no further than `radius` from `x` in any pixel.
    """
    training = model.training
    model.eval()
    adversarial = x.clone()
    with torch.enable_grad():
        for _ in range(steps):
            adversarial.requires_grad_(True)
            loss = F.cross_entropy(model(adversarial), target)
            (gradient,) = torch.autograd.grad(loss, adversarial)
            moved = adversarial.detach() + step / 255 * gradient.sign()
            adversarial = torch.clamp(torch.minimum(torch.maximum(moved, x - radius / 255), x + radius / 255), 0, 1)
    model.train(training)
    return adversarial.detach()


def extract_adversarial(query: Query, extracted: nn.Module, images: Images, recipe: Adversarial, seed: int, label: str) -> Made:
    r"""Extract-Adv: an extracted student is hardened by adversarial training, which moves its decision boundary.

    The loss is :math:`\mathrm{CE}(z(x), y) + \mathrm{CE}(z(x'), y)` with the source's labels :math:`y` on the clean batch and
    :math:`x'` made by :func:`perturb` against the student.

    Parameters
    ----------
    query : callable
        The source as a black box.
    extracted : torch.nn.Module
        A student made by :func:`extract_label`.
    images : Images
        The thief's images; their labels are not used.
    recipe : Adversarial
        How to train, steps, step size and radius of the perturbation.
    seed : int
        Seed of order and augmentation.
    label : str
        Shown by the progress bar.

    Returns
    -------
    torch.nn.Module, History
        The suspect and its training curve (hits are agreements with the source on clean images).
    """
    suspect = copy.deepcopy(extracted)

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        target = query(x).argmax(1)
        adversarial = perturb(model, x, target, recipe.pgd_steps, recipe.pgd_step, recipe.pgd_radius)
        logits = model(x)
        loss = F.cross_entropy(logits, target) + F.cross_entropy(model(adversarial), target)
        return loss, (logits.argmax(1) == target).sum()

    return suspect, train(suspect, images.pixels, objective, recipe, seed, label=label)
