"""Thieves who know the test that awaits them: students of the source that are trained to evade it.

They belong to full runs. Each is trained when its answers are missing, and only its answers are
kept, in ``thieves/``: they are suspects of one study and nobody's parents.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .. import attacks, correlation, siblings, steps, training
from ..attacks import Query, Task
from ..run import Run
from ..steps import Spec
from ..training import LossAndHits, Objective
from ..zoo import training_images
from .services import Answers


class Thief(NamedTuple):
    """A student of an architecture, made by one of `TRICKS` with a strength."""

    trick: str
    strength: float
    architecture: str


TRICKS: dict[str, tuple[float, ...]] = {
    "own labels mixed in": (0.25, 0.5, 0.75),
    "label smoothing": (0.2, 0.5),
    "ensemble, distilled": (0.5, 0.75),
    "distilled again": (1,),
    "decorrelation": (0.3, 1, 3, 10, 30),
    "quarrel penalty": (0.1, 0.3, 1, 3, 10),
}
"""What a thief does besides Extract-L, with its strengths: the share of images with true labels
instead of the source's; the share of a label that is spread over all classes; the weight of the
thief's own models in the taught mean; nothing (1); and the weights of SAC's distance and of the
sibling test's score in the loss.
"""
NEED_PROBABILITIES = ("decorrelation", "quarrel penalty")
NEED_MODELS = ("ensemble, distilled", "quarrel penalty")
"""Tricks that need the source's probabilities, and those that need models of the thief's own."""
WORSE = 10
"""The siblings of an owner who cheats are trained for this fraction of the source's epochs."""


def own_models(run: Run) -> list[str]:
    """The thief's own models: independent models on attacker data, with the usual recipe."""
    return run.names("independent")


def own_logits(run: Run, pixels: torch.Tensor) -> torch.Tensor:
    """Logits of the thief's own models on its images as they are, (models, n, classes)."""
    models = map(run.zoo.get, own_models(run))
    return torch.stack([training.logits_of(each, pixels) for each in models]).to(pixels.device)


def mixed_objective(query: Query, labels: torch.Tensor, own: torch.Tensor) -> Objective:
    """Loss of Extract-L with the true labels, int64 (n,), on the images that `own`, bool (n,),
    names; the source is not asked about these.
    """

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        target, logits = torch.where(own[index], labels[index], query(x).argmax(1)), model(x)
        return F.cross_entropy(logits, target), (logits.argmax(1) == target).sum()

    return objective


def soft_objective(query: Query, others: torch.Tensor, weight: float) -> Objective:
    r"""Cross-entropy to :math:`(1 - w)\,\mathrm{onehot}(y) + w\,q`, the source's label :math:`y`
    mixed with other probabilities :math:`q` of each image, shape (n, classes): those of own models,
    or all alike, which is label smoothing.
    """

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        target, logits = query(x).argmax(1), model(x)
        taught = (1 - weight) * F.one_hot(target, logits.shape[1]) + weight * others[index]
        return F.cross_entropy(logits, taught), (logits.argmax(1) == target).sum()

    return objective


def decorrelation_objective(query: Query, weight: float) -> Objective:
    r"""Loss of Extract-L less :math:`\lambda d`, SAC's distance between the student's and the
    source's correlation matrices of the batch, from the probabilities that the source shows.
    """

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        answers, logits = query(x), model(x)
        matrices = (correlation.cosine_matrix(z.softmax(1)) for z in (answers, logits))
        loss = F.cross_entropy(logits, answers.argmax(1))
        loss = loss - weight * correlation.distance(*matrices)
        return loss, (logits.argmax(1) == answers.argmax(1)).sum()

    return objective


def quarrel_objective(query: Query, own: torch.Tensor, weight: float) -> Objective:
    r"""Loss of Extract-L plus :math:`\lambda \sum_c q_c\,(\log p_S(c) - \overline{\log p}(c))`: how
    much better the source explains labels drawn from the student's probabilities :math:`q` than the
    thief's own models do, which stand for the siblings that it does not have. Log-probabilities
    have the sibling test's floor; those of the own models, `own`, (n, classes), are a mean.
    """

    def objective(model: nn.Module, x: torch.Tensor, index: torch.Tensor) -> LossAndHits:
        answers, logits = query(x), model(x)
        excess = answers.log_softmax(1).clamp(min=siblings.FLOOR) - own[index]
        target = answers.argmax(1)
        told = (logits.softmax(1) * excess).sum(1).mean()
        loss = F.cross_entropy(logits, target) + weight * told
        return loss, (logits.argmax(1) == target).sum()

    return objective


def objective_of(thief: Thief, query: Query, task: Task, own: torch.Tensor | None) -> Objective:
    """The loss of a thief, whose own models have the logits `own`, (models, n, classes); only the
    tricks of `NEED_MODELS` ask for these.
    """
    s, labels, generator = thief.strength, task.images.labels, torch.Generator()
    match thief.trick:
        case "own labels mixed in":
            draw = torch.rand(len(labels), generator=generator.manual_seed(task.seed))
            return mixed_objective(query, labels, draw.to(labels.device) < s)
        case "label smoothing":
            even = torch.full((len(labels), task.classes), 1 / task.classes, device=labels.device)
            return soft_objective(query, even, s)
        case "ensemble, distilled":
            return soft_objective(query, own.softmax(2).mean(0), s)
        case "distilled again":
            return attacks.label_objective(query)
        case "decorrelation":
            return decorrelation_objective(query, s)
        case "quarrel penalty":
            return quarrel_objective(query, own.log_softmax(2).clamp(min=siblings.FLOOR).mean(0), s)
    raise ValueError(f"{thief.trick!r} is no trick")


def name_of(run: Run, thief: Thief) -> str:
    """The thief's name, in the form of the zoo's."""
    return f"{run.zoo.source} > {thief.trick} {thief.strength:g}({thief.architecture})#0"


def task_of(run: Run, name: str) -> Task:
    """What a thief trains on and how: all as in Extract-L, with a seed and images of its own."""
    spec = Spec(name, "extract_label", "", 0, run.zoo.source)
    images = training_images(spec, run.profile, run.material.splits)
    recipe, seed = run.profile.recipes.extract_label, steps.derived_seed(run.profile.seed, name)
    return Task(images, len(run.material.class_names), recipe, seed, name)


def queries(run: Run, thief: Thief) -> int:
    """How many answers of the source a thief needs. One who learns from a student asks for what the
    student was taught.
    """
    task = task_of(run, name_of(run, thief))
    share = 1 - thief.strength if thief.trick == "own labels mixed in" else 1
    return round(share * task.recipe.epochs * task.recipe.share * len(task.images.labels))


def make(run: Run, thief: Thief) -> nn.Module:
    """Train a thief."""
    task = task_of(run, name_of(run, thief))
    own = own_logits(run, task.images.pixels) if thief.trick in NEED_MODELS else None
    again = f"{run.zoo.source} > extract_label({thief.architecture})#0"
    teacher = again if thief.trick == "distilled again" else run.zoo.source
    query = attacks.black_box(run.zoo.get(teacher))
    student = task.build(thief.architecture)
    return task.train(student, objective_of(thief, query, task, own))[0]


def make_worse(run: Run, index: int) -> nn.Module:
    """A sibling by a script that the owner has made worse: a tenth of the epochs."""
    name = f"worse sibling#{index}"
    recipe = run.profile.recipes.source
    recipe = recipe.model_copy(update={"epochs": max(1, recipe.epochs // WORSE)})
    seed = steps.derived_seed(run.profile.seed, name)
    images, classes = run.material.splits["owner"], len(run.material.class_names)
    return attacks.train_independent(
        run.profile.zoo.source, Task(images, classes, recipe, seed, name)
    )[0]


def everybody(run: Run) -> list[Thief]:
    """All thieves: the profile's number of strengths of each trick, and of architectures."""
    zoo = run.profile.zoo
    return [
        Thief(trick, strength, architecture)
        for architecture in zoo.students[: zoo.extracted_per_student]
        for trick, strengths in TRICKS.items()
        for strength in strengths[: zoo.thief_strengths]
    ]


def answers(run: Run, pixels: Answers) -> tuple[dict[Thief, Answers], list[Answers]]:
    """Answers of all thieves and of the worse siblings on some sets of images; whoever is missing
    is trained.
    """

    def kept(slug: str, code: str, make_model: Callable[[], nn.Module]) -> Answers:
        def ask() -> Answers:
            print(f"{slug}: trained and asked", flush=True)
            model = make_model()
            return {name: training.logits_of(model, each) for name, each in pixels.items()}

        asked = ("run.make_probes", "studies.attacked.asked_images")
        digest = run.digest(code, *asked, "studies.verdicts.make_answers", more=slug)
        return run.keep_tensors(f"thieves/{slug}", digest, ask)

    found = {}
    for thief in everybody(run):
        slug = f"{thief.trick}-{thief.strength:g}-{thief.architecture}".replace(", ", "-")
        slug, made = slug.replace(" ", "-"), partial(make, run, thief)
        found[thief] = kept(slug, "studies.thieves.make", made)
    worse = [
        kept(f"worse-sibling-{i}", "studies.thieves.make_worse", partial(make_worse, run, i))
        for i in range(siblings.FEWEST_SIBLINGS)
    ]
    return found, worse
