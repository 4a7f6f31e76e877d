"""How well a score separates stolen from independent models: AUC, TPR at a fixed FPR, and honest
intervals. Groups are arrays of distances to the source, one per model; stolen means a small one.

Models of one cluster (an architecture, a chain of copies) are alike, so an interval counts *units*
instead of models, see :func:`units`. Its width depends on the value and on these counts, and over
several sources on the spread of their values as well. It never shrinks to a point.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, binomtest, norm, t

ICC = 0.8
"""Intra-class correlation of distances within a cluster that intervals allow for. Measured were
0.47 to 0.96 for extracted and 0.37 to 0.52 for independent models; it is fixed and not estimated,
because four clusters say little about it.
"""


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


def units(clusters: np.ndarray, icc: float = ICC) -> float:
    r"""The number of independent models that :math:`n` models in clusters are worth:
    :math:`n / (1 + \rho\,(\sum_k n_k^2 / n - 1))`, with the intra-class correlation :math:`\rho`.

    `clusters` names the cluster of each model, shape (n,). Between 1 and n.
    """
    sizes = np.unique(clusters, return_counts=True)[1]
    n = sizes.sum()
    return float(n / (1 + icc * (np.square(sizes).sum() / n - 1)))


@cache
def _quantile(level: float, freedom: int | None = None) -> float:
    """Half width of an interval in units of its standard error, normal or Student's."""
    q = 0.5 + level / 2
    return float(norm.ppf(q) if freedom is None else t.ppf(q, freedom))


def _source_term(spread: float, sources: int, level: float) -> float:
    """Half width of the t interval over sources, times the root of their number."""
    return _quantile(level, sources - 1) * float(spread) if sources > 1 else 0.0


@cache  # a table asks for the same value many times, above all for 1
def score_interval(
    value: float,
    stolen: float,
    independent: float,
    level: float = 0.95,
    sources: int = 1,
    spread: float = 0.0,
) -> tuple[float, float]:
    r"""Lower and upper bound for an AUC, or for the mean :math:`A` of those of :math:`S` sources.

    The bounds solve :math:`|A - \theta| = \max(z \sqrt{V(\theta)},\ t_{S-1}\,s) / \sqrt S` with
    :math:`V(\theta) = \theta(1-\theta)\,[1 + (N-1)\frac{1-\theta}{2-\theta} +
    (N-1)\frac{\theta}{1+\theta}] / (mn)` and :math:`N = (m+n)/2`: Newcombe's (2006) method 5 for
    :math:`m` stolen and :math:`n` independent :func:`units` of a source, but never narrower than
    Student's t over the sources, whose AUCs have the standard deviation :math:`s` (`spread`; it
    counts from two sources on). At equal counts and spread, a lower value has lower bounds.
    """
    z, half = _quantile(level), (stolen + independent) / 2 - 1
    least, root = _source_term(spread, sources, level), math.sqrt(sources)

    def lower(value: float) -> float:
        def excess(theta: float) -> float:
            bracket = 1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)
            variance = theta * (1 - theta) * bracket / stolen / independent
            return (value - theta) * root - max(z * math.sqrt(variance), least)

        return brentq(excess, 1e-12, min(value, 1 - 1e-9)) if excess(1e-12) > 0 else 0.0

    # the variance is the same for theta and 1 - theta
    value = float(value)
    return float(lower(value)), float(1 - lower(1 - value))


def difference_interval(
    gain: float,
    loss: float,
    stolen: float,
    independent: float,
    level: float = 0.95,
    sources: int = 1,
    spread: float = 0.0,
) -> tuple[float, float]:
    """Lower and upper bound for `gain` minus `loss`, by squaring and adding what separates each
    from its bounds (Newcombe 1998), but never narrower than Student's t over the sources.

    For two scores of the same models, gain is the mean of what the first has more on a pair of
    models, and loss of what the second has more; otherwise they are the two AUCs. `spread` is the
    standard deviation of the sources' differences, the rest as in :func:`score_interval`.
    """
    known = (stolen, independent, level, sources)
    (a, b), (c, d) = (score_interval(value, *known) for value in (gain, loss))
    least = _source_term(spread, sources, level) / np.sqrt(sources)
    low, high = np.hypot(gain - a, d - loss), np.hypot(b - gain, loss - c)
    value = gain - loss
    return float(max(value - max(low, least), -1)), float(min(value + max(high, least), 1))


def holm(judge: Callable[[float], list[str]], undecided: str, level: float = 0.95) -> list[str]:
    """Words for several comparisons that are judged together, by Holm's (1979) rule.

    `judge` gives the words from intervals of a level. The error is shared by the comparisons that
    are still `undecided`, until no further one gets another word.
    """
    left = len(judge(level))
    while True:
        words = judge(1 - (1 - level) / left)
        still = words.count(undecided)
        if still in (0, left):
            return words
        left = still


def ordered_pairs(stolen: np.ndarray, independent: np.ndarray) -> np.ndarray:
    """For each stolen and each independent model 1 if the stolen one is nearer, 0.5 if they tie,
    else 0; the mean is the AUC. From shapes (..., m) and (..., n) to (..., m, n).
    """
    stolen, independent = stolen[..., :, None], independent[..., None, :]
    return (stolen < independent) + 0.5 * (stolen == independent)


def auc(
    stolen: np.ndarray,
    independent: np.ndarray,
    clusters: tuple[np.ndarray, np.ndarray] | None = None,
) -> Auc:
    r"""AUC of the score :math:`-d` with its 95 % :func:`score_interval`: :math:`P(d_{stolen} <
    d_{independent}) + \frac12 P(\text{tie})`.

    `clusters` are the names of the clusters of the stolen and of the independent models; without
    them every model is a unit.
    """
    value = float(ordered_pairs(stolen, independent).mean())
    counts = map(units, clusters) if clusters else (len(stolen), len(independent))
    return Auc(value, *score_interval(value, *counts))


def roc(stolen: np.ndarray, independent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates along the ROC curve, from (0, 0) to (1, 1)."""
    from sklearn.metrics import roc_curve  # slow to import

    truth = np.concatenate([np.ones(len(stolen)), np.zeros(len(independent))])
    scores = -np.concatenate([stolen, independent])
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    return false, true


def tpr_at_fpr(stolen: np.ndarray, independent: np.ndarray, fpr: float = 0.05) -> float:
    """Largest share of stolen models found, 0 to 1, while at most the share `fpr` of independent
    ones is accused; with fewer than ``1 / fpr`` of them it means no false accusation.
    """
    accused = int(fpr * len(independent) + 1e-9)
    threshold = np.append(np.sort(independent), np.inf)[accused]
    return float((stolen < threshold).mean())


def proportion_interval(share: float, n: int) -> Proportion:
    """A share of `n` independent images, such as a test accuracy, with Wilson's 95 % interval,
    which says nothing about another training of the same model.
    """
    interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return Proportion(share, float(interval.low), float(interval.high))


def clustered_share(hits: np.ndarray, sources: np.ndarray, icc: float) -> Proportion:
    """The share of `hits`, shape (n,), bool, with two one-sided 95 % bounds that allow for several
    models of one source; `sources` names the source of each.

    Clopper and Pearson's bounds for n divided by a design effect (Korn and Graubard 1998). This is
    the variance of the share over sources against that of independent models, enlarged for the few
    sources by the squared ratio of t to the normal quantile; but at least what the intra-class
    correlation `icc` makes of groups of this size (:func:`units`), so that no hit at all, or
    nothing but hits, leaves a doubt.
    """
    n, level = len(hits), 0.95
    names, place = np.unique(sources, return_inverse=True)
    share, count = float(np.mean(hits)), len(names)
    effect = n / units(sources, icc)
    if count > 1 and 0 < share < 1:
        over = np.bincount(place, weights=np.asarray(hits, float) - share)
        variance = count / (count - 1) * np.square(over).sum() / n
        few = t.ppf(level, count - 1) / norm.ppf(level)
        effect = max(effect, few**2 * variance / share / (1 - share))
    n, found = n / effect, share * n / effect
    low = beta.ppf(1 - level, found, n - found + 1) if share > 0 else 0.0
    high = beta.ppf(level, found + 1, n - found) if share < 1 else 1.0
    return Proportion(share, float(low), float(high))


def mean_difference(
    first: np.ndarray, second: np.ndarray, clusters: tuple[np.ndarray, np.ndarray]
) -> Difference:
    """Difference of two groups' mean shares, one share per model, with Welch's 95 % interval over
    the :func:`units` that the `clusters` of the models leave; none if a group is a single unit, or
    if no two models of a group differ.
    """
    value, low, high = float(first.mean() - second.mean()), np.nan, np.nan
    counts = [units(names) for names in clusters]
    if min(counts) > 1 and (np.ptp(first) > 0 or np.ptp(second) > 0):
        pairs = zip((first, second), counts, strict=True)
        parts = [shares.var(ddof=1) / count for shares, count in pairs]
        doubt = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
        half = t.ppf(0.975, sum(parts) ** 2 / doubt) * math.sqrt(sum(parts))
        low, high = max(value - half, -1), min(value + half, 1)
    return Difference(value, float(low), float(high))
