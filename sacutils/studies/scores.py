"""Six ways to accuse a suspect, side by side: a value and a p-value for each.

SAC on raw logits as in the released code, on probabilities, and with a matched temperature, AKH,
and agreement on contrast-chosen probes give a distance to the source. Its p-value is the lower tail
of Student's t among the owner's controls that chose no probes: the same rule for all of them, and
this book's, for none was published. The sibling test has its own p-values. Small values speak for
theft everywhere.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from .. import correlation, siblings
from .services import Answers, Shown

LEVEL = 0.01
"""The level at which a suspect is found, or an innocent accused."""
P_VALUES = ("p_siblings", "p", "p_siblings")
"""Of the sibling test: its value, its p-value, and that without the second guard."""
FEWEST = 4
"""Answered probes below which nothing is said: the value is infinite and the p-value 1."""
CALIBRATING = ["control_student", "control_reserve"]
"""Controls that choose no probes; their distances say how far an innocent lies."""
CONTESTED = "contested"
"""The probes of the sibling test."""
RAW = "SAC-w, logits"
DISTANCES = {
    RAW: ("w", "logits"),
    "SAC-w": ("w", "probabilities"),
    "SAC-w, matched": ("w", "matched"),
    "AKH": ("source", "labels"),
    "Contrast (pool)": ("contrast_pool", "labels"),
}
"""Scores that are distances: their probes, and what is read: labels means the share of unequal
ones, all else a form of the outputs for the correlation distance. Of a service that shows no
logits, `RAW` reads logarithms of its probabilities.
"""
SIBLINGS, UNGUARDED = "Sibling test", "Sibling test, no guard"
MAIN = (*list(DISTANCES)[1:], SIBLINGS)
"""The scores that every comparison shows. `UNGUARDED` is ``p_siblings`` alone."""
SETS = ("w", "source", "contrast_pool", CONTESTED)


class Owner(NamedTuple):
    """What the owner knows: the source's logits by set of probes; the calibrating controls' logits,
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
        mine = distances(
            source, sets[name].logits[asked][None], sets[name].labels[asked][None], form
        )
        # rounded, so that equal models tie whatever the order of summation
        p = float(siblings.upper_tail(-mine[0].round(decimals=12), -known[key]))
        rows.append((model, score, p, p))
    return rows


def _by_siblings(
    owner: Owner, shown: dict[str, dict[str, Shown]], without: dict[str, int]
) -> list[tuple]:
    alike: dict[tuple[bytes, int | None], list[str]] = {}
    for model, sets in shown.items():
        key = sets[CONTESTED].answered.numpy().tobytes(), without.get(model)
        alike.setdefault(key, []).append(model)
    rows, known = [], {}
    for (key, left_out), models in alike.items():
        asked = shown[models[0]][CONTESTED].answered
        columns = [j for j in range(len(owner.members)) if j != left_out]
        log_p = owner.members[:, asked]
        labels = torch.stack([shown[model][CONTESTED].labels[asked] for model in models])
        found: Iterable[tuple] = [(np.inf, 1.0, 1.0)] * len(models)
        with suppress(ValueError):  # the controls do not differ on the few probes that are left
            if asked.sum() >= FEWEST:
                if key not in known:
                    known[key] = siblings.scores(log_p, owner.controls[:, asked])
                groups = siblings.scores(log_p, labels), known[key]
                tested = siblings.sibling_test(*(each[:, columns] for each in groups))
                found = zip(*(getattr(tested, p).tolist() for p in P_VALUES), strict=True)
        for model, (value, p, alone) in zip(models, found, strict=True):
            rows += [(model, SIBLINGS, value, p), (model, UNGUARDED, value, alone)]
    return rows


def judge(
    owner: Owner, shown: dict[str, dict[str, Shown]], without: dict[str, int] | None = None
) -> pd.DataFrame:
    """All scores of some suspects, from what their services show on each set of probes.

    `without` names the member that is left out for a suspect, because the suspect is that sibling
    or was made from it. Probes that a suspect did not answer are left out for source, siblings and
    controls alike. Columns: model, score, value (by which suspects are compared) and p. A value is
    a p-value too, since distances on other probes, or on fewer, do not compare; it is infinite
    where nothing can be said.
    """
    rows = [row for score in DISTANCES for row in _by_distance(owner, shown, score)]
    rows += _by_siblings(owner, shown, without or {})
    return pd.DataFrame(rows, columns=["model", "score", "value", "p"])
