"""What a distance means: a suspect's rank among independent models."""

from typing import NamedTuple

import numpy as np
import torch

from sacutils import correlation

from . import answers
from .answers import Answers

DERIVATION = "consistent with derivation"
NO_EVIDENCE = "no evidence of derivation"
INCONCLUSIVE = "inconclusive"
EXIT_CODES = {NO_EVIDENCE: 0, DERIVATION: 3, INCONCLUSIVE: 4}
"""Exit code of each verdict; 1 is bad input and 2 a wrong use of the command line."""
RESAMPLES = 2000
"""Draws of the bootstrap over probes."""


class Verdict(NamedTuple):
    """The outcome of a comparison: `DERIVATION`, `NO_EVIDENCE` or `INCONCLUSIVE`, and the rule that
    led to it in words.

    `distance` is the correlation distance to the owner's model, with its 95 % interval by bootstrap
    over probes; `independent` that of the independent models by name, the nearest first. `p` is
    the p-value under the hypothesis that the suspect is one more independent model, with its 90 %
    interval by the same bootstrap (each bound holds for 95 % of the resamples), and `p_floor` the
    smallest that so many models allow. All were compared in the output form `form`, in which
    answers name `k` classes. `agreement` is the share of probes with the owner's label.
    """

    verdict: str
    reason: str
    distance: float
    distance_low: float
    distance_high: float
    p: float
    p_low: float
    p_high: float
    p_floor: float
    alpha: float
    form: str
    k: int
    agreement: float
    independent: dict[str, float]


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


def judge(
    owner: Answers,
    suspect: Answers,
    independent: dict[str, Answers],
    rows: np.ndarray,
    alpha: float = 0.05,
    seed: int = 0,
) -> Verdict:
    """Compare a suspect with the owner's model, and the result with independent models, by
    :func:`rule` and in the most telling output form that all of them have.

    `rows` (bool) says which images are probes, the others being controls; `seed` is that of the
    bootstrap over probes.
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
    low, high = np.quantile(drawn[:, 0], (0.025, 0.975)).tolist()
    verdict, reason = rule(p, p_low, p_high, alpha, len(independent))
    ranked = sorted(zip(independent, distances[1:].tolist(), strict=True), key=lambda pair: pair[1])
    return Verdict(
        verdict=verdict,
        reason=reason,
        distance=float(distances[0]),
        distance_low=low,
        distance_high=high,
        p=p,
        p_low=p_low,
        p_high=p_high,
        p_floor=1 / (len(independent) + 1),
        alpha=alpha,
        form=form,
        k=k,
        agreement=float((owner.predicted == suspect.predicted)[rows].mean()),
        independent=dict(ranked),
    )


def rule(p: float, p_low: float, p_high: float, alpha: float, n: int) -> tuple[str, str]:
    """The verdict and its reason, from a p-value, its interval, the level and the number of
    independent models.

    *Consistent with derivation* if p and its whole interval are at most `alpha`; *no evidence of
    derivation* if they are above it; *inconclusive* if they lie on both sides, or if with `n`
    models p could not be as small as `alpha`.
    """
    floor = 1 / (n + 1)
    if floor > alpha:
        return INCONCLUSIVE, (
            f"With {n} independent models no p-value below {floor:.3f} is possible, "
            f"and the level is {alpha:g}."
        )
    # a bootstrap's interval need not hold the value itself
    if min(p, p_low) <= alpha < max(p, p_high):
        reason = f"With other probes the p-value could fall on either side of {alpha:g}."
        return INCONCLUSIVE, reason
    nearer = "nearer to the owner's model than independent models are"
    if p > alpha:
        return NO_EVIDENCE, f"The suspect is not {nearer}, at the level {alpha:g}."
    return DERIVATION, f"The suspect is {nearer}, at the level {alpha:g}."
