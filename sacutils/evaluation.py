"""How well a score separates stolen from independent models: AUC, TPR at a fixed FPR, and honest
intervals. Groups are arrays of distances to the source, one per model; stolen means a small one.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm, ttest_ind
from sklearn.metrics import roc_curve

FEWEST = 3
"""Models that a group needs before the bootstrap can say anything about its spread."""


class Estimate(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Auc(Estimate):
    """An area under the ROC curve, 0 to 1."""

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


class Proportion(Estimate):
    """A share, 0 to 1."""

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


class Difference(Estimate):
    """A difference of two mean shares, shown in percentage points; without an interval the bounds
    are NaN.
    """

    def __str__(self) -> str:
        bounds = f"{100 * self.low:+.1f}, {100 * self.high:+.1f}"
        return f"{100 * self.value:+.1f} [{'no interval' if np.isnan(self.low) else bounds}]"


def score_interval(
    value: float, stolen: int, independent: int, level: float = 0.95
) -> tuple[float, float]:
    r"""Lower and upper bound for an AUC from its value :math:`A` and the numbers of models
    :math:`m` and :math:`n` only (Newcombe 2006, method 5).

    The bounds solve :math:`|A - \theta| = z \sqrt{V(\theta)}` with :math:`V(\theta) =
    \theta(1-\theta)\,[1 + (N-1)\frac{1-\theta}{2-\theta} + (N-1)\frac{\theta}{1+\theta}] / (mn)`
    and :math:`N = (m+n)/2`. Unlike the bootstrap it does not shrink to a point when the two groups
    are perfectly separated.
    """
    z, half = norm.ppf(0.5 + level / 2), (stolen + independent) / 2 - 1

    def excess(theta: float) -> float:
        bracket = 1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)
        variance = theta * (1 - theta) * bracket / stolen / independent
        return abs(value - theta) - z * np.sqrt(variance)

    low = brentq(excess, 0, value) if value > 0 and excess(1e-12) > 0 else 0.0
    high = brentq(excess, value, 1) if value < 1 and excess(1 - 1e-12) > 0 else 1.0
    if value == 1:
        low = brentq(excess, 1e-9, 1 - 1e-9)
    if value == 0:
        high = brentq(excess, 1e-9, 1 - 1e-9)
    return float(low), float(high)


def ordered_pairs(stolen: np.ndarray, independent: np.ndarray) -> np.ndarray:
    """For each stolen and each independent model 1 if the stolen one is nearer, 0.5 if they tie,
    else 0; the mean is the AUC. From shapes (..., m) and (..., n) to (..., m, n).
    """
    stolen, independent = stolen[..., :, None], independent[..., None, :]
    return (stolen < independent) + 0.5 * (stolen == independent)


def resampled(pairs: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Means, shape (resamples,), of a table of pairs, shape (m, n), whose rows and columns are
    drawn anew with replacement: see :func:`ordered_pairs`, or a difference of two such tables.
    """
    draw = generator.multinomial
    rows, columns = (draw(n, np.full(n, 1 / n), size=resamples) / n for n in pairs.shape)
    return np.einsum("bi,ij,bj->b", rows, pairs, columns, optimize=True)


def auc(stolen: np.ndarray, independent: np.ndarray, resamples: int, seed: int) -> Auc:
    r"""AUC of the score :math:`-d` with a 95 % interval: :math:`P(d_{stolen} < d_{independent}) +
    \frac12 P(\text{tie})`.

    The interval is the percentile bootstrap over models, stratified by group. Where no pair or
    every pair is in order, all resamples agree and the bootstrap says nothing, and from one or two
    models there is little to resample; then it is :func:`score_interval`.
    """
    pairs = ordered_pairs(stolen, independent)
    value = float(pairs.mean())
    if pairs.min() == pairs.max() or min(pairs.shape) < FEWEST:
        return Auc(value, *score_interval(value, len(stolen), len(independent)))
    means = resampled(pairs, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, (0.025, 0.975))
    return Auc(value, float(low), float(high))


def roc(stolen: np.ndarray, independent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates along the ROC curve, from (0, 0) to (1, 1)."""
    truth = np.concatenate([np.ones(len(stolen)), np.zeros(len(independent))])
    scores = -np.concatenate([stolen, independent])
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    return false, true


def tpr_at_fpr(stolen: np.ndarray, independent: np.ndarray, fpr: float = 0.05) -> float:
    """Largest share of stolen models found, 0 to 1, while at most the share `fpr` of independent
    ones is accused; with fewer than ``1 / fpr`` of them it means no false accusation.
    """
    false, true = roc(stolen, independent)
    return float(true[false <= fpr].max())


def proportion_interval(share: float, n: int) -> Proportion:
    """A share of `n` independent images, such as a test accuracy, with Wilson's 95 % interval,
    which says nothing about another training of the same model.
    """
    interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return Proportion(share, float(interval.low), float(interval.high))


def mean_difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Difference of two groups' mean shares, one share per model, with Welch's 95 % interval over
    models; none if a group has a single model, or if no two models of a group differ.
    """
    value, low, high = float(first.mean() - second.mean()), np.nan, np.nan
    if min(len(first), len(second)) > 1 and (np.ptp(first) > 0 or np.ptp(second) > 0):
        low, high = ttest_ind(first, second, equal_var=False).confidence_interval()
    return Difference(value, float(low), float(high))
