"""A test whose answers are asked for one at a time and that may stop at any time."""

import numpy as np

CAUTION = 0.5
"""Share of the wealth that may be lost with one answer at most."""


def log_wealth(values: np.ndarray, null: float) -> np.ndarray:
    r"""Logarithm of the wealth after each answer of a better who says that a pool's mean exceeds
    `null`.

    `values`, in [0, 1], shape (..., n), are **all** values of a pool of n, drawn one by one without
    replacement. Before draw :math:`t` the pool's rest has, if the mean is `null`, the mean
    :math:`m_t = (n\,\mathrm{null} - \sum_{s<t} x_s) / (n - t + 1)`; the wealth is multiplied by
    :math:`1 + \lambda_t (x_t - m_t)`, with a bet :math:`\lambda_t \in [0, c / m_t]` that depends on
    earlier draws only. If the pool's mean is at most `null`, wealth is a non-negative
    supermartingale that begins at 1, so the chance that it *ever* reaches :math:`1/\alpha` is at
    most :math:`\alpha` (Ville 1939), however many answers are looked at. The bet is the one that
    Waudby-Smith and Ramdas (2024) call aGRAPA. Where the rest's mean would have to be negative, the
    pool has refuted `null` and wealth is infinite.
    """
    values = np.asarray(values, float)
    if not ((values >= 0) & (values <= 1)).all() or not 0 < null < 1:
        raise ValueError("values are in [0, 1] and null is strictly between 0 and 1")
    n = values.shape[-1]
    t = np.arange(1, n + 1)
    before = np.concatenate([np.zeros((*values.shape[:-1], 1)), values.cumsum(-1)[..., :-1]], -1)
    rest = (n * null - before) / (n - t + 1)
    # mean and variance of the draws before, begun at 1/2 and 1/4
    mean = (0.5 + before) / t
    squares = np.concatenate(
        [np.zeros((*values.shape[:-1], 1)), np.square(values).cumsum(-1)[..., :-1]], -1
    )
    variance = (0.5 + squares) / t - mean**2
    gap = mean - rest
    with np.errstate(divide="ignore", invalid="ignore"):
        bet = np.clip(gap / (variance + gap**2), 0, CAUTION / np.clip(rest, 1e-12, None))
        steps = np.log1p(bet * (values - rest))
    # a sum below zero may be rounding alone
    refuted = rest < -1e-9
    steps = np.where(rest <= 1e-12, 0.0, steps)
    return np.where(np.logical_or.accumulate(refuted, -1), np.inf, steps.cumsum(-1))


def first_at(wealth: np.ndarray, level: float) -> np.ndarray:
    """Number of answers, float, shape (...), after which the wealth has reached ``1 / level`` for
    the first time; infinite where it never does.
    """
    reached = wealth >= -np.log(level)
    return np.where(reached.any(-1), reached.argmax(-1) + 1.0, np.inf)
