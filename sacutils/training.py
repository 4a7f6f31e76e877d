"""One training loop that knows nothing of attacks: objective, images, recipe, seed."""

import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler
from tqdm import tqdm

from . import checkpoints
from .data import Images, augment, to_float
from .files import UserError
from .profiles import Recipe

LossAndHits = tuple[torch.Tensor, torch.Tensor]
Objective = Callable[[nn.Module, torch.Tensor, torch.Tensor], LossAndHits]
"""From model, a batch of images (float32 in [0, 1]) and their indices to the scalar loss and the
number of hits in the batch."""


Step = Callable[[torch.Tensor, torch.Tensor], LossAndHits]
"""From a batch of images and their indices to its loss and hits; leaves gradients behind."""


class Diverged(Exception):
    """The loss is not finite, or the model is no better than guessing."""


@dataclass
class History:
    """Mean loss and share of hits in each epoch."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


def pick_device(name: str) -> torch.device:
    """The device of a profile: ``auto`` takes CUDA where there is one; a ``UserError`` if CUDA is
    asked for and is not there.

    Also makes torch deterministic, single-threaded on the CPU (jobs run side by side, and sums do
    not depend on the number of threads), and exact to 32 bits on CUDA outside of autocast.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if name == "cuda" and not torch.cuda.is_available():
        problem = "device: cuda is not accepted, torch finds no CUDA device"
        raise UserError(f"{problem}; use auto or cpu.")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # else new memory is filled with NaN, to catch reads of it: up to a tenth of the time
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    # else convolutions in 32 bits drop 13 of them, and answers on probes are coarser than they say
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def cross_entropy_to(labels: torch.Tensor) -> Objective:
    """Objective of supervised training: cross-entropy to fixed labels (int64, shape (n,))."""

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        logits, target = model(x), labels[index]
        return F.cross_entropy(logits, target), (logits.argmax(1) == target).sum()

    return objective


def _scheduler(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int
) -> lr_scheduler.LRScheduler:
    match recipe.schedule:
        case "onecycle":
            # torch asks for at least two steps, divides by zero if the rise takes exactly one, and
            # cycles the momentum unless told otherwise
            rise, steps = 0.4 if steps == 5 else 0.2, max(steps, 2)
            return lr_scheduler.OneCycleLR(
                optimizer, recipe.lr, total_steps=steps, pct_start=rise, cycle_momentum=False
            )
        case "cosine_per_batch":
            # stepped per batch although its period counts epochs: the released scripts do so, and
            # the rate oscillates
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.epochs)
        case _:
            return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


def recorded(step: Step, parameters: list[nn.Parameter]) -> Step:
    """A step on CUDA that is recorded once for each size of a batch, and repeated from then on: the
    same sums in the same order, without the processor that starts each of them.

    It must do the same for every batch and draw no random numbers on the CPU.
    """
    counts, known = Counter[int](), dict[int, tuple]()
    side, pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def repeat(x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        counts[len(x)] += 1
        if counts[len(x)] <= 3:  # to warm up, and not on the default stream, as torch asks
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                result = step(x, index)
            torch.cuda.current_stream().wait_stream(side)
            return result
        if len(x) not in known:
            graph, batch = torch.cuda.CUDAGraph(), (x.clone(), index.clone())
            with torch.cuda.graph(graph, pool):
                result = step(*batch)
            known[len(x)] = graph, batch, result, [weights.grad for weights in parameters]
        graph, batch, result, gradients = known[len(x)]
        for place, value in zip(batch, (x, index), strict=True):
            place.copy_(value)
        for weights, gradient in zip(parameters, gradients, strict=True):
            weights.grad = gradient
        graph.replay()
        return result

    return repeat


def train(
    model: nn.Module,
    pixels: torch.Tensor,
    objective: Objective,
    recipe: Recipe,
    seed: int,
    *,
    only: nn.Module | None = None,
    after_step: Callable[[], None] | None = None,
    record: bool = False,
    label: str = "training",
) -> History:
    """Minimise an objective by stochastic gradient descent on augmented batches, in place.

    `pixels` are uint8, shape (n, channels, height, width), on the model's device; the model is left
    in evaluation mode. The `seed` is that of order and augmentation, not of the initial weights.
    What is not in the part `only` keeps its weights and its batch statistics; `after_step` is
    called after each step, for constraints on weights; `record` says that the step may be
    :func:`recorded`, which is done on CUDA unless it is compiled; `label` is shown by the progress
    bar and by errors. `Diverged` is raised when the loss stops being finite.
    """
    generator = torch.Generator().manual_seed(seed)
    n, device = max(1, round(recipe.share * len(pixels))), pixels.device
    compiled = torch.compile(model) if recipe.compile else model
    model.requires_grad_(False)
    parameters = list((only or model).requires_grad_(True).parameters())
    optimizer = torch.optim.SGD(
        parameters, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
    )
    steps = math.ceil(n / recipe.batch)
    scheduler = _scheduler(optimizer, recipe, steps * recipe.epochs)
    history = History()

    def step(x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss, correct = objective(compiled, x, index)
        loss.backward()
        return loss.detach(), correct

    if record and device.type == "cuda" and not recipe.compile:
        step = recorded(step, parameters)
    model.eval()
    (only or model).train()
    progress = tqdm(range(recipe.epochs), desc=label, unit="epoch", leave=False, disable=None)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout draws from the global generator
        checkpoints.start(
            progress, generator, history, model=model, optimizer=optimizer, scheduler=scheduler
        )
        for _ in progress:
            losses, hits = torch.zeros((), device=device), torch.zeros((), device=device)
            # batches of equal size to within one image: batch normalisation fails on a single one
            for index in torch.randperm(n, generator=generator).tensor_split(steps):
                index = index.to(device)
                x = to_float(augment(pixels[index], recipe.pad, recipe.flip, generator))
                optimizer.zero_grad()
                loss, correct = step(x, index)
                optimizer.step()
                scheduler.step()
                if after_step is not None:
                    after_step()
                losses += loss * len(index)
                hits += correct
            history.loss.append(losses.item() / n)
            history.accuracy.append(hits.item() / n)
            progress.set_postfix(loss=history.loss[-1])
            if not math.isfinite(history.loss[-1]):
                epoch = len(history.loss)
                raise Diverged(f"{label}: the loss became {history.loss[-1]} in epoch {epoch}")
            checkpoints.epoch()
    model.eval()
    return history


@torch.inference_mode()
def logits_of(model: nn.Module, pixels: torch.Tensor, batch: int = 500) -> torch.Tensor:
    """Logits of a model in evaluation mode, float32, shape (n, classes), on the CPU.

    `pixels` are uint8, shape (n, channels, height, width), on the model's device; they are taken
    `batch` at a time.
    """
    model.eval()
    return torch.cat([model(to_float(part)).float().cpu() for part in pixels.split(batch)])


def accuracy(model: nn.Module, images: Images) -> float:
    """Share of images, 0 to 1, whose label the model predicts."""
    hits = logits_of(model, images.pixels).argmax(1) == images.labels.cpu()
    return hits.double().mean().item()
