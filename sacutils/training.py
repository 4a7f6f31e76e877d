"""One training loop that knows nothing of attacks: an objective, images on the device, a recipe, a seed."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from .artefacts import UserError
from .data import Images, augment, to_float
from .profiles import Recipe

Objective = Callable[[nn.Module, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From model, images (float32 in [0, 1], a batch) and their indices to the scalar loss and the number of hits in the batch."""


class Diverged(Exception):
    """The loss is not finite, or the model is no better than guessing."""


@dataclass
class History:
    """Mean loss and share of hits in each epoch."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


def pick_device(name: str) -> torch.device:
    """The device of a profile: ``auto`` takes CUDA where there is one.

    Also makes torch deterministic, and single-threaded on the CPU: jobs run side by side, and sums do not depend on the
    number of threads.

    Raises
    ------
    UserError
        If CUDA is asked for and is not there.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda is not accepted, torch finds no CUDA device; use auto or cpu.")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def cross_entropy_to(labels: torch.Tensor) -> Objective:
    """Objective of ordinary supervised training: cross-entropy to fixed labels (int64, shape (n,))."""

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, target = model(x), labels[index]
        return F.cross_entropy(logits, target), (logits.argmax(1) == target).sum()

    return objective


def _scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    match recipe.schedule:
        case "onecycle":
            # torch asks for at least two steps, divides by zero if the rise takes exactly one, and cycles the momentum
            # unless told otherwise
            rise = 0.4 if steps == 5 else 0.2
            return torch.optim.lr_scheduler.OneCycleLR(
                optimizer, recipe.lr, total_steps=max(steps, 2), pct_start=rise, cycle_momentum=False
            )
        case "cosine_per_batch":
            # stepped per batch although its period counts epochs: the released scripts do so, and the rate oscillates
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.epochs)
        case _:
            return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


def train(
    model: nn.Module,
    pixels: torch.Tensor,
    objective: Objective,
    recipe: Recipe,
    seed: int,
    *,
    only: nn.Module | None = None,
    after_step: Callable[[], None] | None = None,
    label: str = "training",
) -> History:
    """Minimise an objective by stochastic gradient descent on augmented batches, in place.

    Parameters
    ----------
    model : torch.nn.Module
        On the same device as `pixels`; left in evaluation mode.
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width).
    objective : callable
        See `Objective`.
    recipe : Recipe
        Optimiser, schedule, batch, epochs and augmentation.
    seed : int
        Seed of order and augmentation (not of the initial weights).
    only : torch.nn.Module, optional
        The only part to train; the rest keeps its weights and its batch statistics.
    after_step : callable, optional
        Called after each step, for constraints on weights.
    label : str
        Shown by the progress bar.

    Returns
    -------
    History
        Loss and share of hits per epoch.

    Raises
    ------
    Diverged
        If the loss stops being finite.
    """
    generator = torch.Generator().manual_seed(seed)
    n, device = max(1, round(recipe.share * len(pixels))), pixels.device
    compiled = torch.compile(model) if recipe.compile else model
    parameters = list((only or model).parameters())
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.SGD(parameters, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    steps = math.ceil(n / recipe.batch)
    scheduler = _scheduler(optimizer, recipe, steps * recipe.epochs)
    history = History()
    model.eval()
    (only or model).train()
    progress = tqdm(range(recipe.epochs), desc=label, unit="epoch", leave=False, disable=None)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout draws from the global generator
        for _ in progress:
            losses, hits = torch.zeros((), device=device), torch.zeros((), device=device)
            # batches of equal size to within one image: batch normalisation fails on a rest of a single one
            for index in torch.randperm(n, generator=generator).tensor_split(steps):
                index = index.to(device)
                x = to_float(augment(pixels[index], recipe.pad, recipe.flip, generator))
                with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                    loss, correct = objective(compiled, x, index)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                if after_step is not None:
                    after_step()
                losses += loss.detach() * len(index)
                hits += correct
            history.loss.append(losses.item() / n)
            history.accuracy.append(hits.item() / n)
            progress.set_postfix(loss=history.loss[-1])
            if not math.isfinite(history.loss[-1]):
                raise Diverged(f"{label}: the loss became {history.loss[-1]} in epoch {len(history.loss)}")
    model.eval()
    return history


@torch.inference_mode()
def logits_of(model: nn.Module, pixels: torch.Tensor, batch: int = 500) -> torch.Tensor:
    """Logits of a model in evaluation mode, in full precision.

    Parameters
    ----------
    model : torch.nn.Module
        From images in [0, 1] to logits.
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width), on the model's device.
    batch : int
        Images at a time.

    Returns
    -------
    torch.Tensor
        float32, shape (n, classes), on the CPU.
    """
    model.eval()
    return torch.cat([model(to_float(part)).float().cpu() for part in pixels.split(batch)])


def accuracy(model: nn.Module, images: Images) -> float:
    """Share of images, 0 to 1, whose label the model predicts."""
    return (logits_of(model, images.pixels).argmax(1) == images.labels.cpu()).double().mean().item()
