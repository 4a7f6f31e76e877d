"""Models of known origin from a zoo: what a suspect can be compared with, and how often such a comparison errs."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from . import answers, comparison, evaluation, lineage, training, verdict
from .answers import Answers

if TYPE_CHECKING:
    from .runs import Run

INDEPENDENT = ("irrelevant", "irrelevant_owner", "reference")
"""Steps whose models were trained without the source; surrogates are left out of all, since probes may be chosen with them."""


class Known(NamedTuple):
    """A model whose origin is known, and its answers.

    Attributes
    ----------
    name : str
        Different for every model, also for those of variants; can be a file name.
    derived : bool
        Whether it was made from the source.
    group : str
        A label of ``lineage.LABELS``, with the variant in brackets.
    architecture : str
        Its architecture.
    answers : Answers
        Its answers on some images.
    """

    name: str
    derived: bool
    group: str
    architecture: str
    answers: Answers


def ask(run: "Run", pixels: torch.Tensor) -> list[Known]:
    """Answers of a zoo's models with the source's classes: independent ones, those of the variants too, then stolen ones.

    Parameters
    ----------
    run : Run
        Whose zoo; models that are missing are trained.
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width).

    Returns
    -------
    list of Known
        Their logits, as :class:`~sacutils.answers.Answers`.
    """
    found = [(run, spec, False, "") for spec in run.zoo.specs.values() if spec.step in INDEPENDENT]
    for name in run.profile.variants:
        specs = lineage.variant_specs(run.profile, name)
        found += [(run.variant(name), spec, False, f" ({name})") for spec in specs if spec.step in INDEPENDENT]
    stolen = [step for step in lineage.ATTACKS if step not in comparison.NEW_LABELS]
    found += [(run, spec, True, "") for spec in run.zoo.specs.values() if spec.step in stolen]
    known = []
    for place, spec, derived, variant in found:
        logits = training.logits_of(place.zoo.get(spec.name), pixels.to(run.device)).double().numpy()
        # the reference models of a baseline are trained exactly as the irrelevant models on owner data
        step = "irrelevant_owner" if spec.step == "reference" else spec.step
        name = f"{spec.slug}{variant.replace(' (', '.').rstrip(')')}"
        group = lineage.LABELS[step] + variant
        known.append(Known(name, derived, group, spec.architecture, answers.detect(logits)))
    return known


def false_alarms(owner: Answers, independent: list[Known], rows: np.ndarray, alpha: float = 0.05) -> pd.DataFrame:
    """Judge each independent model as if it were a suspect: by all others, and by those of other groups or architectures alone.

    The first says what the p-value promises if a suspect is drawn like the references; the other two what happens if it is
    not, since its whole group or architecture is missing from the calibration.

    Parameters
    ----------
    owner : Answers
        The owner's answers.
    independent : list of Known
        Independent models.
    rows : numpy.ndarray
        bool, which images are probes.
    alpha : float
        Level of the test.

    Returns
    -------
    pandas.DataFrame
        Columns name, group, architecture, left_out ("itself", "its group", "its architecture"), references, p, verdict.
    """
    result = []
    for suspect in independent:
        others = [other for other in independent if other.name != suspect.name]
        chosen = {
            "itself": others,
            "its group": [other for other in others if other.group != suspect.group],
            "its architecture": [other for other in others if other.architecture != suspect.architecture],
        }
        for left_out, models in chosen.items():
            if not models:
                continue
            judged = verdict.judge(owner, suspect.answers, {other.name: other.answers for other in models}, {}, rows, alpha)
            row = {"name": suspect.name, "group": suspect.group, "architecture": suspect.architecture, "left_out": left_out}
            result.append(row | {"references": len(models), "p": judged.p, "verdict": judged.verdict})
    return pd.DataFrame(result)


def detections(owner: Answers, known: list[Known], rows: np.ndarray, form: str = "logits", alpha: float = 0.05) -> pd.DataFrame:
    """Judge each stolen model by all independent ones, as a service that shows only a given form would let one.

    Parameters
    ----------
    owner : Answers
        The owner's answers.
    known : list of Known
        Independent and stolen models.
    rows : numpy.ndarray
        bool, which images are probes.
    form : {"logits", "probabilities", "labels"}
        What the suspect shows.
    alpha : float
        Level of the test.

    Returns
    -------
    pandas.DataFrame
        Columns name, group, architecture, p, verdict.
    """
    references = {each.name: each.answers for each in known if not each.derived}
    result = []
    for each in known:
        if each.derived:
            judged = verdict.judge(owner, shown_as(each.answers, form), references, {}, rows, alpha)
            row = {"name": each.name, "group": each.group, "architecture": each.architecture}
            result.append(row | {"p": judged.p, "verdict": judged.verdict})
    return pd.DataFrame(result)


def shown_as(complete: Answers, form: str, k: int = 3) -> Answers:
    """What a service that shows less would show of complete answers: a form of ``answers.FORMS``, `k` classes for ``top-k``."""
    if form == complete.form:
        return complete
    if form == "labels":
        return answers.from_rows(answers.predicted(complete).tolist(), complete.outputs.shape[1])
    outputs = answers.convert(complete, form, k).numpy()
    return Answers(outputs, form, k if form == "top-k" else outputs.shape[1])


def rates(judged: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Share of models with each verdict, with Wilson's 95 % interval for *consistent with derivation*.

    Parameters
    ----------
    judged : pandas.DataFrame
        From :func:`false_alarms` or :func:`detections`.
    by : list of str
        Columns to group by.

    Returns
    -------
    pandas.DataFrame
        The columns of `by`, then models, derivation (a :class:`~sacutils.evaluation.Proportion`), independence, inconclusive
        (numbers of models).
    """
    result = []
    for key, part in judged.groupby(by, sort=False):
        counts = part["verdict"].value_counts()
        found = int(counts.get(verdict.DERIVATION, 0))
        row = dict(zip(by, key, strict=True)) | {"models": len(part)}
        row |= {"derivation": evaluation.proportion_interval(found / len(part), len(part))}
        row |= {
            "independence": int(counts.get(verdict.INDEPENDENCE, 0)),
            "inconclusive": int(counts.get(verdict.INCONCLUSIVE, 0)),
        }
        result.append(row)
    return pd.DataFrame(result)


def nearest(alarms: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """How often an independent model lies nearer to the source than every reference that it is judged by.

    Unlike a verdict this needs no number of references: a model that is like n references is the nearest of all with
    probability 1 / (n + 1).

    Parameters
    ----------
    alarms : pandas.DataFrame
        From :func:`false_alarms`.
    by : list of str
        Columns to group by.

    Returns
    -------
    pandas.DataFrame
        The columns of `by`, then models, references (smallest and largest number), nearest (a
        :class:`~sacutils.evaluation.Proportion`), by_chance (mean of 1 / (n + 1)).
    """
    result = []
    for key, part in alarms.groupby(by, sort=False):
        floor = 1 / (part["references"] + 1)
        share = float((part["p"] <= floor + 1e-12).mean())
        low, high = part["references"].min(), part["references"].max()
        row = dict(zip(by, key, strict=True)) | {"models": len(part)}
        row |= {"references": f"{low}" if low == high else f"{low} to {high}"}
        result.append(row | {"nearest": evaluation.proportion_interval(share, len(part)), "by_chance": float(floor.mean())})
    return pd.DataFrame(result)
