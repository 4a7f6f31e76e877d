"""An accuser who lies, an accuser who counts as he goes, and thresholds that travel.

Whatever happens here happens on the contested probes, on which all models of a run have answered;
SAC and AKH take those that the claimed source gets wrong.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student_t

from .. import evaluation, probes, siblings
from ..steps import INDEPENDENT
from . import betting, tables
from .scores import (
    CONTESTED,
    DISTANCES,
    LEVEL,
    SETS,
    SIBLINGS,
    UNGUARDED,
    Owner,
    distances,
    judge,
)  # fmt: skip
from .services import Answers, Shown, plain

PROBES_AFTER, BACK_DATED = "probes chosen after", "suspect distilled, back-dated"
WORSE, LEAKED = "worse siblings", "suspect leaked into the choice"
FRIENDLY = "friendliest references"
LIES = {
    PROBES_AFTER: [*DISTANCES, SIBLINGS, UNGUARDED],
    BACK_DATED: [*DISTANCES, SIBLINGS, UNGUARDED],
    WORSE: [SIBLINGS, UNGUARDED],
    LEAKED: ["Contrast (pool)"],
    FRIENDLY: [*DISTANCES, SIBLINGS, UNGUARDED],
}
"""What a lying accuser does, and the scores that it can move."""


class Pool(NamedTuple):
    """Logits of models on all contested probes, float64, (n, classes), by name; who is who; and the
    true labels, int64 (n,). `count` probes are used where the sibling test is not meant.
    """

    logits: Answers
    members: list[str]
    controls: list[str]
    calibrating: list[str]
    copies: list[str]
    choosers: list[str]
    truth: torch.Tensor
    count: int

    def stack(self, names: list[str]) -> torch.Tensor:
        """Logits of some models, (k, n, classes)."""
        return torch.stack([self.logits[name] for name in names])


def contrast(pool: Pool, leaked: str | None = None) -> torch.Tensor:
    """Indices of the probes that copies repeat and choosers do not; a leaked suspect counts as a
    copy.
    """
    copies = [*pool.copies, *([leaked] if leaked else [])]
    models = (pool.stack(names).softmax(2) for names in (copies, pool.choosers))
    scores = probes.contrast_scores(pool.logits[pool.members[0]].argmax(1), *models)
    return scores.argsort(descending=True, stable=True)[: pool.count]


def usual(pool: Pool, source: str, leaked: str | None = None) -> dict[str, torch.Tensor]:
    """The probes of an accuser who keeps the rules, as indices by set."""
    wrong = (pool.logits[source].argmax(1) != pool.truth).nonzero().squeeze(1)[: pool.count]
    chosen = {"w": wrong, "source": wrong, "contrast_pool": contrast(pool, leaked)}
    return chosen | {CONTESTED: torch.arange(len(pool.truth))}


def owner(pool: Pool, members: list[torch.Tensor], asked: dict[str, torch.Tensor]) -> Owner:
    """What an owner knows with these probes and members, whose logits are on the pool; the first
    claims to be the source.
    """
    calibrating, controls = pool.stack(pool.calibrating), pool.stack(pool.controls)
    mine = torch.stack(members)[:, asked[CONTESTED]]
    return Owner(
        {name: members[0][index] for name, index in asked.items()},
        {name: calibrating[:, index] for name, index in asked.items()},
        mine.log_softmax(2),
        controls[:, asked[CONTESTED]].argmax(2),
    )


def shown(pool: Pool, name: str, asked: dict[str, torch.Tensor]) -> dict[str, Shown]:
    """What a suspect shows on these probes."""
    return plain({each: pool.logits[name][index] for each, index in asked.items()})


def honest(pool: Pool, suspects: list[str], without: dict[str, int]) -> pd.DataFrame:
    """The suspects as an accuser judges them who keeps the rules, see :func:`scores.judge`."""
    asked = usual(pool, pool.members[0])
    known = owner(pool, [pool.logits[name] for name in pool.members], asked)
    return judge(known, {name: shown(pool, name, asked) for name in suspects}, without)


def incriminating(pool: Pool, suspect: str) -> dict[str, torch.Tensor]:
    """Probes that an accuser chooses who has seen the suspect's answers: those on which it repeats
    the source's label and the fewest controls do; and for the sibling test the quarter of the pool
    on which the source explains its label best, compared with the siblings.
    """
    source, labels = pool.logits[pool.members[0]], pool.logits[suspect].argmax(1)
    repeated = (pool.stack(pool.controls).argmax(2) == source.argmax(1)).double().mean(0)
    repeated[labels != source.argmax(1)] = 2.0
    few = repeated.argsort(stable=True)[: pool.count]
    log_p = pool.stack(pool.members).log_softmax(2).clamp(min=siblings.FLOOR)
    explained = log_p.gather(2, labels.expand(len(log_p), -1)[..., None])[..., 0]
    order = (explained[0] - explained[1:].mean(0)).argsort(descending=True, stable=True)
    return dict.fromkeys(SETS, few) | {CONTESTED: order[: len(order) // 4]}


def friendly(pool: Pool, suspects: list[str], without: dict[str, int]) -> pd.DataFrame:
    """The suspects as judged by an accuser who keeps the half of the calibrating controls that is
    farthest from the source, two at least, and for each suspect the siblings that explain it worst,
    as many as the sibling test demands.
    """
    asked, rows = usual(pool, pool.members[0]), []
    known = owner(pool, [pool.logits[name] for name in pool.members], asked)
    for score, (name, form) in DISTANCES.items():
        theirs = known.calibrating[name]
        values = distances(known.source[name], theirs, theirs.argmax(2), form)
        far = values.argsort(descending=True, stable=True)[: max(2, len(values) // 2)]
        fewer = known._replace(calibrating=known.calibrating | {name: theirs[far]})
        part = {suspect: shown(pool, suspect, asked) for suspect in suspects}
        found = judge(fewer, part, without)
        rows.append(found[found["score"] == score])
    for suspect in suspects:
        part = {suspect: shown(pool, suspect, asked)}
        labels = part[suspect][CONTESTED].labels
        explained = siblings.scores(known.members, labels)
        explained[without.get(suspect, 0)] = torch.inf  # neither a reference nor kept
        explained[0] = -torch.inf
        order = explained.argsort(stable=True)
        fewest = min(siblings.FEWEST_SIBLINGS, len(order) - 2)
        found = judge(known._replace(members=known.members[order[: 1 + fewest]]), part)
        rows.append(found[found["score"].isin([SIBLINGS, UNGUARDED])])
    return pd.concat(rows)


def lies(
    pool: Pool,
    suspects: list[str],
    without: dict[str, int],
    students: dict[str, str],
    worse: list[torch.Tensor],
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Innocent suspects as each of `LIES` makes them look, see :func:`scores.judge`.

    `students` are models by the name of their teacher, who is an innocent: the accuser calls the
    student the source. `worse` are the logits of siblings by a script that was made worse; without
    any that lie is left out.
    """
    own = [pool.logits[name] for name in pool.members]
    parts = []
    for suspect in suspects:
        asked = incriminating(pool, suspect)
        parts.append(
            judge(owner(pool, own, asked), {suspect: shown(pool, suspect, asked)}, without)
        )
    yield PROBES_AFTER, pd.concat(parts)
    parts = []
    for teacher, student in students.items():
        asked = usual(pool, student)
        claimed = owner(pool, [pool.logits[student], *own[1:]], asked)
        left = {teacher: pool.members.index(teacher)} if teacher in pool.members else {}
        parts.append(judge(claimed, {teacher: shown(pool, teacher, asked)}, left))
    yield BACK_DATED, pd.concat(parts)
    if worse:
        asked = usual(pool, pool.members[0])
        known = owner(pool, [own[0], *worse], asked)
        yield WORSE, judge(known, {name: shown(pool, name, asked) for name in suspects})
    parts = []
    for suspect in suspects:
        asked = usual(pool, pool.members[0], suspect)
        parts.append(
            judge(owner(pool, own, asked), {suspect: shown(pool, suspect, asked)}, without)
        )
    yield LEAKED, pd.concat(parts)
    yield FRIENDLY, friendly(pool, suspects, without)


# One answer at a time


def evidence(pool: Pool, names: list[str], without: dict[str, int] | None = None) -> np.ndarray:
    r"""What each probe says of a suspect, in [0, 1], shape (k, n): with the log-probability
    :math:`\ell_j \in [-3, 0]` that member j gives to the suspect's label, the source's excess
    :math:`\ell_S - \overline{\ell_R}` over the mean sibling, moved to [0, 1]. `without` is that of
    :func:`scores.judge`.
    """
    log_p = pool.stack(pool.members).log_softmax(2).clamp(min=siblings.FLOOR)
    rows = []
    for name in names:
        labels = pool.logits[name].argmax(1)
        told = log_p[:, torch.arange(len(labels)), labels]
        left_out = (without or {}).get(name)
        others = [j for j in range(1, len(told)) if j != left_out]
        rows.append((told[0] - told[others].mean(0) - siblings.FLOOR) / (-2 * siblings.FLOOR))
    return torch.stack(rows).numpy()


def innocent_bound(values: np.ndarray, level: float) -> float:
    """Mean that one more innocent exceeds with the chance `level`, by Student's t from the mean
    :func:`evidence` of each control, `values`, shape (controls,).
    """
    q = len(values)
    return float(
        values.mean() + student_t.isf(level, q - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / q)
    )


def queries_needed(
    pool: Pool, names: list[str], without: dict[str, int], seed: int, level: float = LEVEL
) -> np.ndarray:
    """How many answers the betting test needs to accuse each model, shape (k,); infinite where it
    never does.

    Half of the level is for the bound on an innocent's mean (:func:`innocent_bound`), half for the
    bets that this mean is exceeded (:func:`betting.log_wealth`); together an innocent who is like
    the controls is *ever* accused with a chance of at most the level. The order of the probes is
    random, one for all.
    """
    bound = innocent_bound(evidence(pool, pool.controls).mean(1), level / 2)
    order = np.random.default_rng(seed).permutation(len(pool.truth))
    wealth = betting.log_wealth(evidence(pool, names, without)[:, order], bound)
    return betting.first_at(wealth, level / 2)


# Thresholds that travel

FPR = 0.05
"""The false positive rate at which a threshold is set at home."""
TRAVELLERS: dict[str, tables.Key] = {
    "SAC-w": tables.SAC_W,
    "SAC-w, matched": ("SAC-w", "matched", "cosine"),
    "AKH": ("SAC-source", "labels", "label agreement"),
    "Contrast (pool)": ("Contrast (pool)", "labels", "label agreement"),
}
"""Fingerprints whose thresholds are taken elsewhere."""


def travel(references: dict[str, tables.Tables]) -> pd.DataFrame:
    """A threshold from one source applied to another one, of the same reference or of another.

    At home the threshold accuses at most the share `FPR` of all innocents. Columns: score, home,
    away, pairs (of sources), accused, low, high (share of innocents away, with one-sided 95 %
    bounds that allow for several models of one source away, or for one threshold for all of them,
    whichever is wider), found (Extract-L). Pairs of a source with itself are left out.
    """
    rows = []
    for score, key in TRAVELLERS.items():
        parts = {
            (name, seed): part
            for name, tables_of in references.items()
            for seed, part in tables.fingerprint(tables_of["distances"], *key).groupby("seed")
        }
        groups = {
            where: [
                part.loc[part["step"].isin(steps), "distance"].to_numpy()
                for steps in (INDEPENDENT, ["extract_label"])
            ]
            for where, part in parts.items()
        }
        for home in references:
            for away in references:
                hits, found, clusters = [], [], []
                pairs = [(a, b) for a in groups for b in groups if a != b]
                pairs = [(a, b) for a, b in pairs if (a[0], b[0]) == (home, away)]
                for a, b in pairs:
                    innocent = np.sort(groups[a][0])
                    bar = innocent[int(FPR * len(innocent) + 1e-9)]
                    hits.append(groups[b][0] < bar)
                    found.append((groups[b][1] < bar).mean())
                    clusters += [(str(a[1]), str(b[1]))] * len(hits[-1])
                if not pairs:
                    continue
                shares = [
                    evaluation.clustered_share(np.concatenate(hits), np.array(names), 0.05)
                    for names in zip(*clusters, strict=True)
                ]
                row = {"score": score, "home": home, "away": away, "pairs": len(pairs)}
                row |= {"accused": shares[0].value, "found": float(np.mean(found))}
                row |= {"low": min(each.low for each in shares)}
                rows.append(row | {"high": max(each.high for each in shares)})
    return pd.DataFrame(rows)
