"""How a model is stolen: one function per attack, from the source and a task to a suspect.

Every function returns a new model and its training history and leaves the source untouched.
`query` stands for the source as a black box: a function from images (float32 in [0, 1]) to
logits, called on **every augmented batch** as the released code does.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from . import checkpoints, models
from .data import Images
from .files import UserError
from .profiles import Adversarial, Recipe
from .training import History, LossAndHits, Objective, cross_entropy_to, logits_of, train

NOISE = 0.3
"""Share of the answers that a noisy service replaces."""
Query = Callable[[torch.Tensor], torch.Tensor]
Made = tuple[nn.Module, History]


class Task(NamedTuple):
    """What every attack is given, and every honest training: the thief's images on the source's
    device (extraction does not use their labels), the number of outputs, a recipe of the kind that
    the attack needs, the seed of weights, order and augmentation, and what the progress bar says.
    """

    images: Images
    classes: int
    recipe: Recipe
    seed: int
    label: str = "training"

    def build(self, architecture: str) -> nn.Module:
        """A fresh network of an architecture of ``models.ARCHITECTURES`` for these images."""
        pixels = self.images.pixels
        model = models.build(architecture, pixels.shape[1], self.classes, self.seed)
        return model.to(pixels.device)

    def train(self, model: nn.Module, objective: Objective, **options: object) -> Made:
        """Train a model on the images in place; `options` are those of :func:`training.train`."""
        pixels, options = self.images.pixels, {"label": self.label} | options
        return model, train(model, pixels, objective, self.recipe, self.seed, **options)


def black_box(source: nn.Module) -> Query:
    """The source as a prediction service: logits for images, no gradient, evaluation mode."""
    source.eval()

    @torch.no_grad()
    def query(x: torch.Tensor) -> torch.Tensor:
        return source(x).float()

    return query


def noisy(query: Query, share: float, seed: int) -> Query:
    """A service that gives a random class, of all classes alike and with certainty, for a `share`
    (0 to 1) of the images; which ones is drawn anew at each call.
    """
    generator = torch.Generator().manual_seed(seed)
    checkpoints.draws_from(generator)

    def answer(x: torch.Tensor) -> torch.Tensor:
        logits = query(x)
        replaced = torch.rand(len(x), generator=generator) < share
        drawn = torch.randint(logits.shape[1], (len(x),), generator=generator)
        certain = 100.0 * F.one_hot(drawn, logits.shape[1]).to(logits)
        return torch.where(replaced[:, None].to(logits.device), certain, logits)

    return answer


def train_independent(architecture: str, task: Task) -> Made:
    """Train a network from scratch on true labels: the source itself, and independent models."""
    model, objective = task.build(architecture), cross_entropy_to(task.images.labels)
    return task.train(model, objective, record=True)


def finetune(
    source: nn.Module, task: Task, *, last: bool = False, new_labels: bool = False
) -> Made:
    """Go on training the source's own weights on true labels: Finetune-A and -L, Transfer-A and
    -L, Transfer-10C.

    With `last` the classifier block only is trained, and the rest keeps its weights and its batch
    statistics; with `new_labels`, which mean something else, the last linear layer is a fresh one.
    """
    model = copy.deepcopy(source)
    if new_labels:
        models.replace_last(model, task.classes, task.seed)
    only = models.head_of(model) if last else None
    return task.train(model, cross_entropy_to(task.images.labels), only=only, record=True)


def last_normalisation(model: nn.Module) -> nn.BatchNorm2d:
    """The last batch normalisation whose scale and shift switch channels of a convolution: no
    shortcut is added to what it gives. A ``UserError`` if the model has none.
    """
    summed = models.summed_normalisations(model)
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    layers = [layer for layer in layers if not any(layer is other for other in summed)]
    if not layers:
        lacks = "Pruning masks channels in a batch normalisation and zoo.source has none"
        raise UserError(f"{lacks}; choose a source with it, as vgg_bn_s.")
    return layers[-1]


def channel_activity(model: nn.Module, layer: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Mean absolute activation of each channel behind a layer and its ReLU, summed over batches;
    shape (channels,).
    """
    parts: list[torch.Tensor] = []
    hook = layer.register_forward_hook(
        lambda _, inputs, output: parts.append(torch.relu(output).mean((0, 2, 3)))
    )
    logits_of(model, pixels)
    hook.remove()
    return torch.stack(parts).sum(0)


def prune(parent: nn.Module, task: Task, fraction: float) -> Made:
    """One rung of fine-pruning (Liu et al. 2018): silence the least active channels of the last
    convolution, then fine-tune. Where a shortcut is added to the last one, which would bring the
    channels back, it is the last convolution before: in a ResNet the first of the last block.

    A channel's activity is its mean absolute activation on the thief's images. The `fraction` of
    channels with the smallest one, 0 to 1, is masked: scale and shift of their batch normalisation
    are held at zero. Channels that the parent had silenced count as the least active, so the masks
    are nested along a ladder. The parent is the source, or the previous rung.
    """
    model = copy.deepcopy(parent)
    layer = last_normalisation(model)
    activity = channel_activity(model, layer, task.images.pixels)
    # below every other: a channel that happens to be dead must not replace one silenced before
    activity[(layer.weight == 0) & (layer.bias == 0)] = -1
    silent = activity.argsort(stable=True)[: int(fraction * len(activity))]

    @torch.no_grad()
    def silence() -> None:
        layer.weight[silent] = 0
        layer.bias[silent] = 0

    silence()
    return task.train(model, cross_entropy_to(task.images.labels), after_step=silence)


def label_objective(query: Query) -> Objective:
    r"""Loss of Extract-L: :math:`\mathrm{CE}(z, \arg\max_k s_k)` with the student's logits
    :math:`z` and the source's :math:`s`; hits are agreements with the source.
    """

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        target, logits = query(x).argmax(1), model(x)
        return F.cross_entropy(logits, target), (logits.argmax(1) == target).sum()

    return objective


def probability_objective(query: Query, temperature: float, weight: float) -> Objective:
    r"""Loss of Extract-P: :math:`w\,T^2\,\mathrm{KL}(\mathrm{softmax}(s/T)\,\|\,
    \mathrm{softmax}(z/T)) + (1-w)\,\mathrm{CE}(z, \arg\max_k s_k)`.

    Probabilities suffice: a softmax at temperature `T` is a function of the softmax at 1.
    """

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        teacher, logits = query(x), model(x)
        target = teacher.argmax(1)
        log_student = F.log_softmax(logits / temperature, 1)
        log_teacher = F.log_softmax(teacher / temperature, 1)
        soft = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
        hard = F.cross_entropy(logits, target)
        loss = weight * (soft * temperature**2) + (1 - weight) * hard
        return loss, (logits.argmax(1) == target).sum()

    return objective


def adversarial_objective(query: Query, recipe: Adversarial) -> Objective:
    r"""Loss of Extract-Adv: :math:`\mathrm{CE}(z(x), y) + \mathrm{CE}(z(x'), y)` with the source's
    labels :math:`y` on the clean batch and :math:`x'` made by :func:`perturb` against the student.
    """

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        target = query(x).argmax(1)
        settings = recipe.pgd_steps, recipe.pgd_step, recipe.pgd_radius
        adversarial = perturb(model, x, target, *settings)
        logits = model(x)
        loss = F.cross_entropy(logits, target) + F.cross_entropy(model(adversarial), target)
        return loss, (logits.argmax(1) == target).sum()

    return objective


def extract_label(query: Query, student: str, task: Task, *, record: bool = True) -> Made:
    """Extract-L: a student of an architecture learns the source's hard labels, asked anew for each
    augmented batch, see :func:`label_objective`. A service that draws numbers on the CPU, as that
    of :func:`noisy`, needs ``record=False``, see :func:`training.recorded`.
    """
    return task.train(task.build(student), label_objective(query), record=record)


def extract_once(source: nn.Module, student: str, task: Task) -> Made:
    """Extract-L with one question for each image, as it is: the student learns the same answer on
    all shifted and flipped versions of it.
    """
    answers = logits_of(source, task.images.pixels).argmax(1).to(task.images.labels.device)
    return train_independent(student, task._replace(images=task.images._replace(labels=answers)))


def extract_probability(query: Query, student: str, task: Task) -> Made:
    """Extract-P: knowledge distillation from the source's probabilities, asked anew for each
    augmented batch, see :func:`probability_objective`; the recipe is a ``Distillation``.
    """
    objective = probability_objective(query, task.recipe.temperature, task.recipe.soft_weight)
    return task.train(task.build(student), objective, record=True)


def extract_adversarial(query: Query, student: nn.Module, task: Task) -> Made:
    """Extract-Adv: a student made by :func:`extract_label` is hardened by adversarial training,
    which moves its decision boundary, see :func:`adversarial_objective`.
    """
    return task.train(copy.deepcopy(student), adversarial_objective(query, task.recipe))


def quantise(parent: nn.Module) -> nn.Module:
    r"""A copy whose weights are rounded to 8 bits: of each convolution and linear layer
    :math:`w \to s\,\mathrm{round}(w / s)` with :math:`s = \max|w| / 127`.
    """
    model = copy.deepcopy(parent)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            step = layer.weight.detach().abs().max() / 127
            layer.weight.data = (layer.weight.detach() / step).round() * step
    return model


def perturb(
    model: nn.Module, x: torch.Tensor, target: torch.Tensor, steps: int, step: float, radius: float
) -> torch.Tensor:
    r"""Projected gradient descent in the :math:`L_\infty` ball (Madry et al. 2018), from `x`.

    The images, float32 in [0, 1], are moved to mislead the model in evaluation mode: the loss to
    `target` (int64, shape (n,)) is driven up. `step` and `radius` are in units of one grey level
    (1/255); no pixel ends further than `radius` from where it was, nor outside [0, 1].
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
            low, high = x - radius / 255, x + radius / 255
            adversarial = torch.minimum(torch.maximum(moved, low), high).clamp(0, 1)
    model.train(training)
    return adversarial.detach()
