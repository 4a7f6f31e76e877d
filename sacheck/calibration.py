"""How often the verdict errs, measured on the models of a zoo, whose origin is known."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from sacutils import evaluation, training
from sacutils.run import Run
from sacutils.steps import STEPS, Spec, variant_specs

from . import answers, verdict
from .answers import Answers

LEFT_OUT = {"itself": "name", "its group": "group", "its architecture": "architecture"}
"""What may be left out of the comparison: all models with the same value of a field."""
COLUMNS = {
    "derivation": verdict.DERIVATION,
    "no_evidence": verdict.NO_EVIDENCE,
    "inconclusive": verdict.INCONCLUSIVE,
}


class Known(NamedTuple):
    """A model of known origin: `stolen` if it was made from the source.

    `name` differs for every model and can be a file name; `group` is the label of its step, with
    the variant in brackets.
    """

    name: str
    stolen: bool
    group: str
    architecture: str
    answers: Answers


def members(run: Run) -> list[tuple[Run, Spec, str]]:
    """Independent and stolen models with the source's classes, each with the run whose zoo has it
    and the name of the variant.

    The helpers of the owner, with which probes are chosen, are not among them. The variants of a
    full run add independent models of other recipes.
    """
    members = [(run, spec, "") for spec in run.zoo.specs.values()]
    for name in run.profile.active_variants:
        members += [(run.variant(name), spec, name) for spec in variant_specs(run.profile, name)]

    def belongs(spec: Spec, variant: str) -> bool:
        step = STEPS[spec.step]
        roles = ("independent",) if variant else ("independent", "stolen")
        return step.role in roles and not step.new_labels

    chosen = [member for member in members if belongs(*member[1:])]
    return sorted(chosen, key=lambda member: STEPS[member[1].step].role)


def ask(run: Run, pixels: torch.Tensor) -> list[Known]:
    """Answers of the zoo's :func:`members`, independent ones first; what is missing is trained.
    `pixels` are uint8, shape (n, channels, height, width).
    """
    known = []
    for owner, spec, variant in members(run):
        model = owner.zoo.get(spec.name)
        logits = training.logits_of(model, pixels.to(run.device)).double().numpy()
        known.append(
            Known(
                name=f"{spec.slug}.{variant}" if variant else spec.slug,
                stolen=STEPS[spec.step].role == "stolen",
                group=STEPS[spec.step].label + (f" ({variant})" if variant else ""),
                architecture=spec.architecture,
                answers=answers.detect(logits),
            )
        )
    return known


def shown_as(complete: Answers, form: str, k: int = 3) -> Answers:
    """What a service that shows less would show of complete answers: a name of ``answers.FORMS``,
    with `k` classes for ``top-k``.
    """
    if form == complete.form:
        return complete
    classes = complete.outputs.shape[1]
    if form == "labels":
        return answers.from_rows(complete.predicted.tolist(), classes)
    outputs = answers.convert(complete, form, k).numpy()
    return Answers(outputs, form, k if form == "top-k" else classes)


def false_alarms(
    owner: Answers, independent: list[Known], rows: np.ndarray, alpha: float = 0.05
) -> pd.DataFrame:
    """Judge each independent model as if it were a suspect: by all others, which says what the
    p-value promises, and by those of other groups or of other architectures alone.

    `rows` (bool) says which images are probes. Columns: name, group, architecture, left_out (of
    `LEFT_OUT`), independent (number of models), p, verdict.
    """
    result = []
    for suspect in independent:
        for left_out, field in LEFT_OUT.items():
            own = getattr(suspect, field)
            others = [other for other in independent if getattr(other, field) != own]
            given = {other.name: other.answers for other in others}
            if given:
                row = _judged(owner, suspect, given, rows, alpha)
                result.append(row | {"left_out": left_out, "independent": len(given)})
    return pd.DataFrame(result)


def detections(
    owner: Answers, known: list[Known], rows: np.ndarray, form: str = "logits", alpha: float = 0.05
) -> pd.DataFrame:
    """Judge each stolen model by all independent ones, as a service that shows only a given form
    would let one; parameters as for :func:`false_alarms`.
    Columns: name, group, architecture, p, verdict.
    """
    independent = {model.name: model.answers for model in known if not model.stolen}
    stolen = [model for model in known if model.stolen]
    suspects = [model._replace(answers=shown_as(model.answers, form)) for model in stolen]
    return pd.DataFrame([_judged(owner, model, independent, rows, alpha) for model in suspects])


def _judged(
    owner: Answers, suspect: Known, independent: dict[str, Answers], rows: np.ndarray, alpha: float
) -> dict[str, str | float]:
    outcome = verdict.judge(owner, suspect.answers, independent, rows, alpha)
    row = {"name": suspect.name, "group": suspect.group, "architecture": suspect.architecture}
    return row | {"p": outcome.p, "verdict": outcome.verdict}


def rates(judged: pd.DataFrame, by: str) -> pd.DataFrame:
    """Verdicts by the values of a column of :func:`false_alarms` or :func:`detections`.

    Columns: `by`, models, derivation (an :class:`~sacutils.evaluation.Proportion`), no_evidence and
    inconclusive (numbers of models).
    """
    counts = pd.crosstab(judged[by], judged["verdict"])
    table = pd.DataFrame({by: judged[by].unique()})
    table["models"] = table[by].map(counts.sum(axis=1))
    for column, name in COLUMNS.items():
        table[column] = table[by].map(counts[name]) if name in counts else 0
    table["derivation"] = _proportions(table["derivation"] / table["models"], table["models"])
    return table


def nearest(alarms: pd.DataFrame, by: str) -> pd.DataFrame:
    """How often an independent model lies nearer to the source than every model it is judged by.

    Unlike a verdict this needs no number of models: one that is like n others is the nearest of all
    with probability 1 / (n + 1).
    Columns: `by`, models, judged_by (smallest and largest number of models), nearest (an
    :class:`~sacutils.evaluation.Proportion`), by_chance (mean of 1 / (n + 1)).
    """
    chance = 1 / (alarms["independent"] + 1)
    groups = alarms.assign(chance=chance, first=alarms["p"] <= chance + 1e-12).groupby(
        by, sort=False
    )
    counts = groups["independent"].agg(["size", "min", "max"])
    spans = zip(counts["min"], counts["max"], strict=True)
    table = counts.rename(columns={"size": "models"})[["models"]]
    table["judged_by"] = [f"{a}" if a == b else f"{a} to {b}" for a, b in spans]
    table["nearest"] = _proportions(groups["first"].mean(), table["models"])
    table["by_chance"] = groups["chance"].mean()
    return table.reset_index()


def _proportions(shares: pd.Series, counts: pd.Series) -> list[evaluation.Proportion]:
    pairs = zip(shares.tolist(), counts.tolist(), strict=True)
    return [evaluation.proportion_interval(share, count) for share, count in pairs]
