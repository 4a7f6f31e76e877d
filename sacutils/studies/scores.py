"""Five ways to accuse a suspect, side by side: a value and a p-value for each.

SAC as published, temperature-matched SAC, AKH and agreement on contrast-chosen probes give a
distance to the source. Its p-value is the lower tail of Student's t among the owner's controls that
chose no probes: that threshold is the same rule for all of them, and it is this book's, for none was
published. The sibling test has its own p-values. Small values speak for theft everywhere.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from .. import correlation, siblings
from .services import Answers, Shown

LEVEL = 0.01
"""The level at which a suspect is found, or an innocent accused."""
FEWEST = 4
"""Answered probes below which nothing is said: the value is infinite and the p-value 1."""
CALIBRATING = ["control_student", "control_reserve"]
"""Controls that choose no probes; their distances say how far an innocent lies."""
CONTESTED = "contested"
"""The probes of the sibling test."""
DISTANCES = {
    "SAC-w": ("w", "probabilities"),
    "SAC-w, matched": ("w", "matched"),
    "AKH": ("source", "labels"),
    "Contrast (pool)": ("contrast_pool", "labels"),
}
"""Scores that are distances: their probes, and what is read: labels means the share of unequal
ones, all else a form of the outputs for the correlation distance.
"""
SIBLINGS, UNGUARDED = "Sibling test", "Sibling test, no guard"
SCORES = (*DISTANCES, SIBLINGS, UNGUARDED)
"""Names of all scores. Without its second guard the sibling test is ``p_siblings`` alone."""
SETS = ("w", "source", "contrast_pool", CONTESTED)


class Owner(NamedTuple):
    """What the owner knows: the source's logits by set of probes; those of the calibrating controls,
    (q, n, classes), by set; the members' log-probabilities on the contested probes, (m, n,
    classes), the accused one first; and the labels of all controls there, (controls, n).
    """

    source: Answers
    calibrating: Answers
    members: torch.Tensor
    controls: torch.Tensor


def distances(
    source: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, form: str
) -> torch.Tensor:
    """Distances to the source, float64, shape (k,), of models with logits of shape (k, n, classes)
    and labels of shape (k, n).
    """
    if form == "labels":
        return (labels != source.argmax(1)).double().mean(1)
    shown = torch.stack([correlation.to_form(each, form, source) for each in logits])
    own = correlation.cosine_matrix(correlation.to_form(source, form, source))
    return correlation.distance(own, correlation.cosine_matrix(shown))


def _by_distance(owner: Owner, shown: dict[str, dict[str, Shown]], score: str) -> list[tuple]:
    name, form = DISTANCES[score]
    known: dict[bytes, torch.Tensor] = {}
    rows = []
    for model, sets in shown.items():
        asked = sets[name].answered
        if asked.sum() < FEWEST:
            rows.append((model, score, np.inf, 1.0))
            continue
        source, key = owner.source[name][asked], asked.numpy().tobytes()
        if key not in known:
            theirs = owner.calibrating[name][:, asked]
            known[key] = distances(source, theirs, theirs.argmax(2), form)
        mine = distances(source, sets[name].logits[asked][None], sets[name].labels[asked][None], form)
        p = siblings.upper_tail(-mine[0], -known[key])
        rows.append((model, score, round(float(mine[0]), 12), float(p)))
    return rows


def _by_siblings(
    owner: Owner, shown: dict[str, dict[str, Shown]], without: dict[str, int]
) -> list[tuple]:
    masks: dict[bytes, list[str]] = {}
    rows = []
    for model, sets in shown.items():
        masks.setdefault(sets[CONTESTED].answered.numpy().tobytes(), []).append(model)
    for models in masks.values():
        asked = shown[models[0]][CONTESTED].answered
        if asked.sum() < FEWEST:
            for score in (SIBLINGS, UNGUARDED):
                rows += [(model, score, np.inf, 1.0) for model in models]
            continue
        log_p = owner.members[:, asked]
        labels = torch.stack([shown[model][CONTESTED].labels[asked] for model in models])
        theirs, controls = (
            siblings.scores(log_p, each) for each in (labels, owner.controls[:, asked])
        )
        for left_out in {without.get(model) for model in models}:
            mine = [i for i, model in enumerate(models) if without.get(model) == left_out]
            columns = [j for j in range(len(log_p)) if j != left_out]
            found = siblings.sibling_test(theirs[mine][:, columns], controls[:, columns])
            for k, i in enumerate(mine):
                p = float(found.p_siblings[k])
                rows.append((models[i], SIBLINGS, p, float(found.p[k])))
                rows.append((models[i], UNGUARDED, p, p))
    return rows


def judge(
    owner: Owner, shown: dict[str, dict[str, Shown]], without: dict[str, int] | None = None
) -> pd.DataFrame:
    """All scores of some suspects, from what their services show on each set of probes.

    `without` names the member that is left out for a suspect, because the suspect is that sibling
    or was made from it. Probes that a suspect did not answer are left out for source, siblings and
    controls alike. Columns: model, score, value (infinite where nothing can be said), p.
    """
    rows = [row for score in DISTANCES for row in _by_distance(owner, shown, score)]
    rows += _by_siblings(owner, shown, without or {})
    return pd.DataFrame(rows, columns=["model", "score", "value", "p"])
