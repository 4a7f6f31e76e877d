"""What a distance means: compared with independent models and, if there are any, known derivatives; no more than they allow."""

from typing import NamedTuple

import numpy as np
import torch

from . import answers, correlation
from .answers import Answers

DERIVATION = "consistent with derivation"
INDEPENDENCE = "consistent with independence"
INCONCLUSIVE = "inconclusive"
EXIT_CODES = {INDEPENDENCE: 0, DERIVATION: 3, INCONCLUSIVE: 4}
"""Exit code of each verdict; 1 is bad input and 2 a wrong use of the command line."""
RESAMPLES = 2000
"""Draws of the bootstrap over probes."""


class Verdict(NamedTuple):
    """The outcome of a comparison.

    Attributes
    ----------
    verdict : str
        `DERIVATION`, `INDEPENDENCE` or `INCONCLUSIVE`.
    reason : str
        Which rule led to it, in words.
    distance, distance_low, distance_high : float
        Correlation distance to the owner's model, and its 95 % interval by bootstrap over probes.
    p, p_low, p_high : float
        p-value under the hypothesis that the suspect is one more reference, and its 90 % interval by the same bootstrap, so
        that each bound holds for 95 % of the resamples.
    p_floor : float
        The smallest p-value that so many references allow, ``1 / (n + 1)``.
    p_derivative : float or None
        p-value under the hypothesis that the suspect is one more known derivative.
    alpha : float
        Level of the test.
    form : str
        Output form in which all were compared.
    k : int
        Number of classes that each answer names in that form.
    agreement : float
        Share of probes on which the suspect predicts the owner's label.
    references, derivatives : dict of float
        Distance to the owner's model by name, the nearest first.
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
    p_derivative: float | None
    alpha: float
    form: str
    k: int
    agreement: float
    references: dict[str, float]
    derivatives: dict[str, float]


def p_value(value: np.ndarray, references: np.ndarray) -> np.ndarray:
    r"""Rank p-value :math:`p = (1 + m) / (n + 1)`, of n references m at most as far away as the suspect, :math:`d_i \le d`.

    If the suspect and the references were drawn alike (exchangeable), p is at most :math:`\alpha` in at most the share
    :math:`\alpha` of cases. That they are drawn alike is an assumption about models, not about probes.

    Parameters
    ----------
    value : numpy.ndarray
        Distances of a suspect, shape (...).
    references : numpy.ndarray
        Distances of the references, shape (..., n).

    Returns
    -------
    numpy.ndarray
        Shape (...), in [1 / (n + 1), 1].
    """
    return (1 + (references <= value[..., None]).sum(-1)) / (references.shape[-1] + 1)


def resampled_distances(differences: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    r"""Correlation distances over probes that are drawn anew with replacement, the same draw for all models.

    With :math:`w_i` the number of times that probe i is drawn, the distance is the mean of
    :math:`w_i w_j \,|C^T_{ij} - C^S_{ij}|` over all pairs, divided by :math:`1 - 1/n`. A probe that is drawn twice makes a pair
    with itself, whose entry is 0; the divisor, the mean of :math:`w_i w_j` over different probes, makes good for it.

    Parameters
    ----------
    differences : numpy.ndarray
        :math:`|C^T - C^S|` of each model, shape (models, n, n).
    resamples : int
        Number of draws.
    seed : int
        Seed of the draws.

    Returns
    -------
    numpy.ndarray
        Shape (resamples, models).
    """
    n = differences.shape[-1]
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
    return np.stack([((weights @ each) * weights).sum(1) for each in differences], 1) / (n * n - n)


def matrices(everyone: list[Answers], rows: np.ndarray, form: str, k: int) -> torch.Tensor:
    """Correlation matrices of several models on the probes alone, in one output form, shape (models, n, n)."""
    return torch.stack([correlation.cosine_matrix(answers.convert(each, form, k)[torch.from_numpy(rows)]) for each in everyone])


def judge(
    owner: Answers,
    suspect: Answers,
    references: dict[str, Answers],
    derivatives: dict[str, Answers],
    rows: np.ndarray,
    alpha: float = 0.05,
    seed: int = 0,
) -> Verdict:
    """Compare a suspect with the owner's model, and the result with models whose origin is known.

    All are brought to the most telling output form that each of them has. The verdict is

    - *consistent with derivation* if p and its whole bootstrap interval are at most `alpha`, and the suspect is not farther
      away than the known derivatives are;
    - *consistent with independence* if p and the whole interval are above `alpha`, so many references are there that it could
      have been below, and, where derivatives are known, the suspect is farther away than they are;
    - *inconclusive* otherwise.

    Farther away than the derivatives means: their p-value is at most `alpha`, or the smallest that their number allows.

    Parameters
    ----------
    owner, suspect : Answers
        Answers of the two models on all images of the fingerprint.
    references : dict of Answers
        Independent models by name; at least one.
    derivatives : dict of Answers
        Models known to be made from the owner's, by name; may be empty.
    rows : numpy.ndarray
        bool, which images are probes (the others are controls).
    alpha : float
        Level of the test, 0 to 1.
    seed : int
        Of the bootstrap over probes.

    Returns
    -------
    Verdict
        See there.
    """
    form, k = answers.weakest([owner, suspect, *references.values(), *derivatives.values()])
    mine, *others = matrices([owner, suspect, *references.values(), *derivatives.values()], rows, form, k)
    differences = np.stack([(other - mine).abs().numpy() for other in others])
    # rounded, so that models with equally many equal labels tie whatever the order of summation
    distances = differences.mean((1, 2)).round(12)
    drawn = resampled_distances(differences, RESAMPLES, seed).round(12)
    last = 1 + len(references)
    p, p_drawn = float(p_value(distances[0], distances[1:last])), p_value(drawn[:, 0], drawn[:, 1:last])
    p_low, p_high = (float(value) for value in np.quantile(p_drawn, (0.05, 0.95), method="inverted_cdf"))
    floor = 1 / (len(references) + 1)
    p_derivative, beyond = None, False
    if derivatives:
        p_derivative = float((1 + (distances[last:] >= distances[0]).sum()) / (len(derivatives) + 1))
        beyond = p_derivative <= max(alpha, 1 / (len(derivatives) + 1))
    verdict, reason = _rule(p, p_low, p_high, floor, alpha, beyond, bool(derivatives), len(references))
    low, high = np.quantile(drawn[:, 0], (0.025, 0.975))
    agree = answers.predicted(owner)[rows] == answers.predicted(suspect)[rows]
    return Verdict(
        verdict=verdict,
        reason=reason,
        distance=float(distances[0]),
        distance_low=float(low),
        distance_high=float(high),
        p=p,
        p_low=p_low,
        p_high=p_high,
        p_floor=floor,
        p_derivative=p_derivative,
        alpha=alpha,
        form=form,
        k=k,
        agreement=float(agree.mean()),
        references=_ranked(references, distances[1:last]),
        derivatives=_ranked(derivatives, distances[last:]),
    )


def _ranked(models: dict[str, Answers], distances: np.ndarray) -> dict[str, float]:
    return dict(sorted(zip(models, distances.tolist(), strict=True), key=lambda pair: pair[1]))


def _rule(
    p: float, p_low: float, p_high: float, floor: float, alpha: float, beyond: bool, derivatives: bool, n: int
) -> tuple[str, str]:
    if floor > alpha:
        return INCONCLUSIVE, f"With {n} references no p-value below {floor:.3f} is possible, and the level is {alpha:g}."
    # a bootstrap's interval need not hold the value itself
    if min(p, p_low) <= alpha < max(p, p_high):
        return INCONCLUSIVE, f"With other probes the p-value could fall on either side of {alpha:g}."
    if p > alpha:
        if derivatives and not beyond:
            return INCONCLUSIVE, "The suspect lies where both references and known derivatives lie."
        known = (
            "It is farther away than the known derivatives."
            if derivatives
            else "No derivatives were given: how often a derived model looks like this is not known."
        )
        return INDEPENDENCE, f"The suspect is not nearer to the owner's model than references are. {known}"
    if beyond:
        return INCONCLUSIVE, "The suspect is nearer than the references and farther away than the known derivatives."
    return DERIVATION, f"The suspect is nearer to the owner's model than references are, at the level {alpha:g}."
