"""What answers mean: the source among its siblings, or a suspect among independent models."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from sacutils import correlation, siblings
from sacutils.files import UserError
from sacutils.siblings import DERIVATION, NO_EVIDENCE, NOT_DECIDABLE

from . import answers
from .answers import Answers

EXIT_CODES = {NO_EVIDENCE: 0, DERIVATION: 3, NOT_DECIDABLE: 4}
"""Exit code of each verdict; 1 is bad input and 2 a wrong use of the command line."""
RESAMPLES = 2000
"""Draws of the bootstrap over probes."""


class RankVerdict(NamedTuple):
    """The outcome of :func:`by_rank`: `DERIVATION`, `NO_EVIDENCE` or `NOT_DECIDABLE`, and the rule
    that led to it in words.

    `distance` is the correlation distance to the owner's model, `independent` that of the
    independent models by name, the nearest first. `p` is the p-value under the hypothesis that the
    suspect is one more independent model, with its 90 % interval by a bootstrap over probes (each
    bound holds for 95 % of the resamples), and `p_floor` the smallest that so many models allow.
    All were compared in the output form `form`, in which answers name `k` classes. `agreement` is
    the share of probes with the owner's label. `found` says of each pseudo-theft whether the same
    comparison finds it.
    """

    verdict: str
    reason: str
    distance: float
    p: float
    p_low: float
    p_high: float
    p_floor: float
    alpha: float
    form: str
    k: int
    agreement: float
    independent: dict[str, float]
    found: dict[str, bool]


class SiblingVerdict(NamedTuple):
    """The outcome of :func:`by_siblings`, `verdict` to `found` as in :class:`RankVerdict`.

    `p_siblings`, `rank_p`, `p_controls` and `p`: see :func:`sacutils.siblings.sibling_test`.
    `residuals` are the members' for the suspect, the source first, and `controls` the source's for
    each control. Of `pairs` of a member, as the source, and a control, left out, `accused` get the
    verdict *derivation*, and `worst` of the controls with the unluckiest member.
    """

    verdict: str
    reason: str
    p_siblings: float
    rank_p: float
    p_controls: float
    p: float
    alpha: float
    form: str
    k: int
    agreement: float
    found: dict[str, bool]
    residuals: dict[str, float]
    controls: dict[str, float]
    accused: int
    pairs: int
    worst: int


@contextmanager
def _comparable() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UserError(f"These answers cannot be compared: {error}.") from None


@_comparable()
def by_siblings(
    members: dict[str, np.ndarray],
    suspects: Sequence[Answers],
    controls: dict[str, Answers],
    thefts: dict[str, tuple[Answers, str]],
    rows: np.ndarray,
    alpha: float = 0.01,
) -> list[SiblingVerdict]:
    """Compare each suspect with the source and its siblings by
    :func:`sacutils.siblings.sibling_test`, in the most telling form that it and all controls have.

    `members` are probabilities, shape (n, classes), the source's first; `thefts` are answers of
    students of members, each with its teacher's name, which is the source when it is judged. `rows`
    (bool) says which images are probes, the others being anchors. A ``UserError`` if the answers
    of the controls are so alike that nothing can be computed from them.
    """
    likelihood = torch.from_numpy(np.stack(list(members.values()))[:, rows])
    likelihood = (likelihood / likelihood.sum(-1, keepdim=True)).log()
    mine = next(iter(members.values()))[rows].argmax(1)
    given = [answers.weakest([suspect, *controls.values()]) for suspect in suspects]
    judged: dict[int, SiblingVerdict] = {}
    for form, k in dict.fromkeys(given):  # what is the same for all in one form is computed once

        def scores(models: list[Answers], form: str = form, k: int = k) -> torch.Tensor:
            shown = [answers.shown_as(m, form, k) for m in models]
            if form == "labels":
                predicted = np.stack([m.predicted[rows] for m in shown])
                return siblings.scores(likelihood, torch.from_numpy(predicted))
            mass = torch.stack([answers.convert(m, form, k) for m in shown])[
                :, torch.from_numpy(rows)
            ]
            return siblings.scores(likelihood, mass / mass.sum(-1, keepdim=True))

        here = [number for number, each in enumerate(given) if each == (form, k)]
        known, asked = scores(list(controls.values())), scores([suspects[i] for i in here])
        test = siblings.sibling_test(asked, known)
        found = {}
        for name, (theft, teacher) in thefts.items():
            rehearsed = siblings.sibling_test(scores([theft]), known, list(members).index(teacher))
            found[name] = bool(rehearsed.p <= alpha)
        # control by control, for all at once take a multiple of the memory of each
        rest = siblings.all_but_one(len(known))
        alone = [siblings.sibling_test(known[i], known[rest[i]], None).p for i in range(len(known))]
        false = torch.stack(alone) <= alpha
        theirs = siblings.residuals(asked, known)
        innocent = siblings.control_residuals(known)[:, 0].tolist()
        for i, number in enumerate(here):
            p = {name: float(values[i]) for name, values in test._asdict().items()}
            said, reason = _sibling_rule(p, alpha, len(members) - 1, len(controls))
            judged[number] = SiblingVerdict(
                verdict=said,
                reason=reason,
                **p,
                alpha=alpha,
                form=form,
                k=k,
                agreement=float((mine == suspects[number].predicted[rows]).mean()),
                found=found,
                residuals=dict(zip(members, theirs[i].tolist(), strict=True)),
                controls=dict(zip(controls, innocent, strict=True)),
                accused=int(false.sum()),
                pairs=false.numel(),
                worst=int(false.sum(0).max()),
            )
    return [judged[number] for number in range(len(suspects))]


def _sibling_rule(p: dict[str, float], alpha: float, k: int, q: int) -> tuple[str, str]:
    """The verdict and its reason from the p-values, with k siblings and q controls."""
    verdict = siblings.verdict(p["p"], alpha, k, q)
    needed = siblings.FEWEST_SIBLINGS, siblings.FEWEST_CONTROLS
    if verdict == NOT_DECIDABLE:
        return verdict, "{} siblings and {} controls; {} and {} are needed.".format(k, q, *needed)
    among = p["p_siblings"] <= alpha, p["p_controls"] <= alpha
    stands = [f"{'stands' if yes else 'does not stand'} out among" for yes in among]
    reason = f"The source {stands[0]} its siblings, and the suspect {stands[1]} the controls, at "
    return verdict, reason + f"the level {alpha:g}."


def p_value(value: np.ndarray, independent: np.ndarray) -> np.ndarray:
    r"""Rank p-value :math:`p = (1 + m) / (n + 1)`: of n independent models m are at most as far
    away as the suspect, :math:`d_i \le d`.

    If the suspect and the independent models were drawn alike (exchangeable), p is at most
    :math:`\alpha` in at most the share :math:`\alpha` of cases. That they are drawn alike is an
    assumption about models, not about probes.

    `value` are distances of a suspect, shape (...), `independent` those of the independent models,
    shape (..., n); the result has shape (...), in [1 / (n + 1), 1].
    """
    return (1 + (independent <= value[..., None]).sum(-1)) / (independent.shape[-1] + 1)


def resampled_distances(differences: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    r"""Correlation distances over probes that are drawn anew with replacement, the same draw for
    all models.

    With :math:`w_i` the number of times that probe i is drawn, the distance is the mean of
    :math:`w_i w_j \,|C^T_{ij} - C^S_{ij}|` over all pairs, divided by :math:`1 - 1/n`. A probe that
    is drawn twice makes a pair with itself, whose entry is 0; the divisor, the mean of
    :math:`w_i w_j` over different probes, makes good for it.

    `differences` are :math:`|C^T - C^S|` of each model, shape (models, n, n); the result has shape
    (resamples, models).
    """
    n = differences.shape[-1]
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
    sums = [((weights @ difference) * weights).sum(1) for difference in differences]
    return np.stack(sums, 1) / (n * n - n)


def matrices(models: list[Answers], rows: np.ndarray, form: str, k: int) -> torch.Tensor:
    """Correlation matrices of models on the probes alone in one form, shape (models, n, n)."""
    probes = torch.from_numpy(rows)
    outputs = [answers.convert(model, form, k)[probes] for model in models]
    return torch.stack([correlation.cosine_matrix(values) for values in outputs])


def by_rank(
    owner: Answers,
    suspect: Answers,
    independent: dict[str, Answers],
    rows: np.ndarray,
    alpha: float = 0.05,
    thefts: dict[str, Answers] | None = None,
    seed: int = 0,
) -> RankVerdict:
    """Compare a suspect with the owner's model, and the result with independent models, by
    :func:`rule` and in the most telling output form that all of them have. For owners who cannot
    retrain: what it promises rests on how the independent models were chosen.

    `rows` (bool) says which images are probes, the others being anchors; `thefts` are models known
    to be derived, each judged in the same way; `seed` is that of the bootstrap over probes.
    """
    form, k = answers.weakest([owner, suspect, *independent.values()])
    mine, *others = matrices([owner, suspect, *independent.values()], rows, form, k)
    differences = np.stack([(other - mine).abs().numpy() for other in others])
    # rounded, so that models with equally many equal labels tie whatever the order of summation
    distances = differences.mean((1, 2)).round(12)
    drawn = resampled_distances(differences, RESAMPLES, seed).round(12)
    p = float(p_value(distances[0], distances[1:]))
    p_drawn = p_value(drawn[:, 0], drawn[:, 1:])
    p_low, p_high = np.quantile(p_drawn, (0.05, 0.95), method="inverted_cdf").tolist()
    verdict, reason = rule(p, p_low, p_high, alpha, len(independent))
    ranked = sorted(zip(independent, distances[1:].tolist(), strict=True), key=lambda pair: pair[1])
    found = {}
    for name, theft in (thefts or {}).items():
        alike = answers.shown_as(theft, form, k)
        again = by_rank(owner, alike, independent, rows, alpha, seed=seed)
        found[name] = again.verdict == DERIVATION
    return RankVerdict(
        verdict=verdict,
        reason=reason,
        distance=float(distances[0]),
        p=p,
        p_low=p_low,
        p_high=p_high,
        p_floor=1 / (len(independent) + 1),
        alpha=alpha,
        form=form,
        k=k,
        agreement=float((owner.predicted == suspect.predicted)[rows].mean()),
        independent=dict(ranked),
        found=found,
    )


def rule(p: float, p_low: float, p_high: float, alpha: float, n: int) -> tuple[str, str]:
    """The verdict and its reason, from a p-value, its interval, the level and the number of
    independent models.

    *Derivation* if p and its whole interval are at most `alpha`; *no evidence of derivation* if
    they are above it; *not decidable* if they lie on both sides, or if with `n` models p could not
    be as small as `alpha`.
    """
    floor = 1 / (n + 1)
    if floor > alpha:
        return NOT_DECIDABLE, (
            f"With {n} independent models no p-value below {floor:.3f} is possible, "
            f"and the level is {alpha:g}."
        )
    # a bootstrap's interval need not hold the value itself
    if min(p, p_low) <= alpha < max(p, p_high):
        reason = f"With other probes the p-value could fall on either side of {alpha:g}."
        return NOT_DECIDABLE, reason
    nearer = "nearer to the owner's model than independent models are"
    if p > alpha:
        return NO_EVIDENCE, f"The suspect is not {nearer}, at the level {alpha:g}."
    return DERIVATION, f"The suspect is {nearer}, at the level {alpha:g}."
