"""How often the rank verdict errs, measured on the models of a zoo, whose origin is known."""

import numpy as np
import pandas as pd
import torch

from sacutils import evaluation, training
from sacutils.run import Run
from sacutils.steps import STEPS

from . import answers, case, fingerprint, verdict
from .answers import Answers
from .weights import ModelFile

COLUMNS = {
    "accused": verdict.DERIVATION,
    "no_evidence": verdict.NO_EVIDENCE,
    "not_decidable": verdict.NOT_DECIDABLE,
}


def owned(run: Run, name: str) -> tuple[fingerprint.Answer, fingerprint.Model]:
    """How a model of the zoo answers, and what a fingerprint records of its file."""
    network, spec = run.zoo.get(name), run.zoo.specs[name]
    file = ModelFile(run.zoo.path(name), spec.architecture)
    _, described = case.recorded(file, len(run.material.class_names))
    described = described.model_copy(update={"file": f"{spec.slug}.safetensors"})

    def answer(images: torch.Tensor) -> np.ndarray:
        return training.logits_of(network, images.to(run.device)).double().numpy()

    return answer, described


def ask(run: Run, names: list[str], pixels: torch.Tensor) -> dict[str, Answers]:
    """Answers of models of the zoo on uint8 images, shape (n, channels, height, width), by the
    model's name; what is missing is trained.
    """
    return {name: answers.detect(owned(run, name)[0](pixels), name) for name in names}


def rank_errors(
    owner: Answers,
    suspects: dict[str, Answers],
    independent: dict[str, Answers],
    groups: dict[str, str],
    rows: np.ndarray,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Verdicts by rank on suspects, by the value of `groups` for their names.

    Stolen ones are judged by all independent models; one that is independent itself by those of the
    other groups only, since a real suspect is of a kind that nobody thought of. `rows` (bool) says
    which images are probes. Columns: group, judged_by (number of models), models, accused (an
    :class:`~sacutils.evaluation.Proportion`), no_evidence and not_decidable (numbers of models).
    """
    judged = []
    for name, suspect in suspects.items():
        others = {
            other: given
            for other, given in independent.items()
            if name not in independent or groups[other] != groups[name]
        }
        found = verdict.by_rank(owner, suspect, others, rows, alpha).verdict
        judged.append({"group": groups[name], "judged_by": len(others), "verdict": found})
    table = []
    for (group, count), part in pd.DataFrame(judged).groupby(["group", "judged_by"], sort=False):
        row = {key: int((part["verdict"] == word).sum()) for key, word in COLUMNS.items()}
        share = evaluation.proportion_interval(row["accused"] / len(part), len(part))
        row |= {"accused": share}
        table.append({"group": group, "judged_by": count, "models": len(part)} | row)
    return pd.DataFrame(table)


def label(run: Run, name: str) -> str:
    """What tables call a model: the label of its step."""
    return STEPS[run.zoo.specs[name].step].label
