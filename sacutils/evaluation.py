"""How well a score separates stolen from irrelevant models: AUC, TPR at a fixed FPR, and honest intervals."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm
from scipy.stats import t as student_t
from sklearn.metrics import roc_auc_score, roc_curve

FEWEST = 3
"""Models that a group needs before the bootstrap can say anything about its spread."""


class Auc(NamedTuple):
    """An area under the ROC curve with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def _labels_and_scores(stolen: np.ndarray, irrelevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth (1 stolen, 0 irrelevant) and score -d of all models."""
    truth = np.concatenate([np.ones(len(stolen)), np.zeros(len(irrelevant))])
    return truth, -np.concatenate([stolen, irrelevant])


def score_interval(value: float, stolen: int, irrelevant: int, level: float = 0.95) -> tuple[float, float]:
    r"""Interval for an AUC from its value and the numbers of models only (Newcombe 2006, method 5).

    The bounds solve :math:`|A - \theta| = z \sqrt{V(\theta)}` with :math:`V(\theta) = \theta(1-\theta)\,[1 +
    (N-1)\frac{1-\theta}{2-\theta} + (N-1)\frac{\theta}{1+\theta}] / (mn)` and :math:`N = (m+n)/2`. Unlike the bootstrap it does
    not shrink to a point when the two groups are perfectly separated.

    Parameters
    ----------
    value : float
        The AUC :math:`A`, 0 to 1.
    stolen, irrelevant : int
        Numbers of models :math:`m` and :math:`n`.
    level : float
        Coverage.

    Returns
    -------
    tuple of float
        Lower and upper bound.
    """
    z, half = norm.ppf(0.5 + level / 2), (stolen + irrelevant) / 2 - 1

    def excess(theta: float) -> float:
        bracket = 1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)
        return abs(value - theta) - z * np.sqrt(theta * (1 - theta) * bracket / (stolen * irrelevant))

    low = brentq(excess, 0, value) if value > 0 and excess(1e-12) > 0 else 0.0
    high = brentq(excess, value, 1) if value < 1 and excess(1 - 1e-12) > 0 else 1.0
    if value == 1:
        low = brentq(excess, 1e-9, 1 - 1e-9)
    if value == 0:
        high = brentq(excess, 1e-9, 1 - 1e-9)
    return float(low), float(high)


def ordered_pairs(stolen: np.ndarray, irrelevant: np.ndarray) -> np.ndarray:
    """For each stolen and each irrelevant model 1 if the stolen one is nearer, 0.5 if they tie, else 0; the mean is the AUC.

    Parameters
    ----------
    stolen, irrelevant : numpy.ndarray
        Distances, shape (..., m) and (..., n).

    Returns
    -------
    numpy.ndarray
        Shape (..., m, n).
    """
    stolen, irrelevant = stolen[..., :, None], irrelevant[..., None, :]
    return (stolen < irrelevant) + 0.5 * (stolen == irrelevant)


def resampled(pairs: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Means of a table of pairs whose rows and columns, the two groups of models, are drawn anew with replacement.

    Parameters
    ----------
    pairs : numpy.ndarray
        Shape (m, n), see :func:`ordered_pairs`, or a difference of two such tables.
    resamples : int
        Number of draws.
    generator : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    numpy.ndarray
        Shape (resamples,).
    """
    rows, columns = (generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n for n in pairs.shape)
    return np.einsum("bi,ij,bj->b", rows, pairs, columns, optimize=True)


def auc(stolen: np.ndarray, irrelevant: np.ndarray, resamples: int, seed: int) -> Auc:
    r"""AUC of the score :math:`-d` with a 95 % interval: :math:`P(d_{stolen} < d_{irrelevant}) + \frac12 P(\text{tie})`.

    The interval is the percentile bootstrap over models, stratified by group. Where no pair or every pair is in order, all
    resamples agree and the bootstrap says nothing, and from one or two models there is little to resample; then it is
    :func:`score_interval`.

    Parameters
    ----------
    stolen, irrelevant : numpy.ndarray
        Distances of the two groups, shape (m,) and (n,).
    resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the resampling.

    Returns
    -------
    Auc
        Value, low, high, each 0 to 1.
    """
    value = float(roc_auc_score(*_labels_and_scores(stolen, irrelevant)))
    pairs = ordered_pairs(stolen, irrelevant)
    if pairs.min() == pairs.max() or min(pairs.shape) < FEWEST:
        return Auc(value, *score_interval(value, len(stolen), len(irrelevant)))
    low, high = np.quantile(resampled(pairs, resamples, np.random.default_rng(seed)), (0.025, 0.975))
    return Auc(value, float(low), float(high))


def tpr_at_fpr(stolen: np.ndarray, irrelevant: np.ndarray, fpr: float = 0.05) -> float:
    """Largest share of stolen models found while at most the share `fpr` of irrelevant ones is accused.

    A point of the ROC curve of these very models: with fewer than ``1 / fpr`` irrelevant models it means no false accusation.

    Parameters
    ----------
    stolen, irrelevant : numpy.ndarray
        Distances of the two groups.
    fpr : float
        Allowed false positive rate, 0 to 1.

    Returns
    -------
    float
        True positive rate, 0 to 1.
    """
    false, true = roc(stolen, irrelevant)
    return float(true[false <= fpr].max())


def roc(stolen: np.ndarray, irrelevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates along the ROC curve, from (0, 0) to (1, 1)."""
    false, true, _ = roc_curve(*_labels_and_scores(stolen, irrelevant), drop_intermediate=False)
    return false, true


def calibrated_rates(calibration: np.ndarray, stolen: np.ndarray, irrelevant: np.ndarray) -> tuple[float, float]:
    """True and false positive rate at a threshold that no evaluated model helped to set.

    The threshold is the smallest distance among the `calibration` models, which are independent of the source: a suspect is
    accused if it is nearer to the source than every one of them.

    Parameters
    ----------
    calibration, stolen, irrelevant : numpy.ndarray
        Distances of calibration models (independent, not evaluated) and of the two evaluated groups.

    Returns
    -------
    tuple of float
        TPR and FPR, each 0 to 1.
    """
    threshold = calibration.min()
    return float((stolen < threshold).mean()), float((irrelevant < threshold).mean())


class Proportion(NamedTuple):
    """A share, 0 to 1, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def proportion_interval(share: float, n: int) -> Proportion:
    """A share of `n` independent images, such as a test accuracy, with Wilson's 95 % interval.

    Parameters
    ----------
    share : float
        Observed share, 0 to 1.
    n : int
        Number of images that it was observed on.

    Returns
    -------
    Proportion
        Value, low, high. The interval is about images: it says nothing about another training of the same model.
    """
    interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return Proportion(share, float(interval.low), float(interval.high))


class Difference(NamedTuple):
    """A difference of two mean shares with its 95 % interval; the bounds are NaN if there are too few models."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        interval = "no interval" if np.isnan(self.low) else f"{100 * self.low:+.1f}, {100 * self.high:+.1f}"
        return f"{100 * self.value:+.1f} [{interval}]"


def mean_difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Difference of two groups' mean shares with Welch's 95 % interval over models; shown in percentage points.

    Parameters
    ----------
    first, second : numpy.ndarray
        One share, 0 to 1, per model.

    Returns
    -------
    Difference
        Value, low, high. No interval if a group has a single model, or if no two models of a group differ.
    """
    value, sizes = float(first.mean() - second.mean()), np.array([len(first), len(second)])
    if sizes.min() < 2:
        return Difference(value, np.nan, np.nan)
    parts = np.array([first.var(ddof=1), second.var(ddof=1)]) / sizes
    if parts.sum() == 0:
        return Difference(value, np.nan, np.nan)
    freedom = parts.sum() ** 2 / (parts**2 / (sizes - 1)).sum()
    half = float(student_t.ppf(0.975, freedom) * np.sqrt(parts.sum()))
    return Difference(value, value - half, value + half)
