"""A test that may stop at any time: the same wealth by a slow game, and its level by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sacutils.studies import betting

LEVEL = 0.05


def wealth_slowly(values: list[float], null: float) -> list[float]:
    """The game in words: what is left of the pool, what was seen, a bet, an answer."""
    wealth, seen, n, history = 1.0, [], len(values), []
    for x in values:
        left = n * null - sum(seen)
        rest = left / (n - len(seen))
        if left < -1e-9 * (n - len(seen)):
            wealth = math.inf
        elif rest > 1e-12 and wealth < math.inf:
            draws = len(seen) + 1
            mean = (0.5 + sum(seen)) / draws
            variance = (0.5 + sum(v * v for v in seen)) / draws - mean**2
            gap = mean - rest
            bet = min(max(gap / (variance + gap * gap), 0), betting.CAUTION / rest)
            wealth *= 1 + bet * (x - rest)
        seen.append(x)
        history.append(wealth)
    return history


pools = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=12)


@given(pools, st.floats(0.05, 0.95))
def test_wealth_is_that_of_a_slow_game(values, null):
    made = betting.log_wealth(np.array(values), null)
    for fast, slow in zip(made, wealth_slowly(values, null), strict=True):
        assert math.exp(fast) == pytest.approx(slow, rel=1e-9) if slow < math.inf else fast == slow


@settings(max_examples=12)
@given(
    st.sampled_from(["coins", "even", "rare", "heavy"]),
    st.integers(20, 200),
    st.floats(0.1, 0.7),
    st.integers(0, 10**6),
)
def test_innocents_are_ever_accused_in_at_most_the_share_of_the_level(kind, n, null, seed):
    """Pools whose mean is the null itself, the hardest of the innocents, in random orders."""
    rng = np.random.default_rng(seed)
    pool = {
        "coins": (np.arange(n) < round(null * n)).astype(float),
        "even": np.full(n, null),
        "rare": np.where(np.arange(n) < n * null / 4, 1.0, 0.5 * null),
        "heavy": rng.beta(0.3, 0.3, n),
    }[kind]
    null = min(max(float(pool.mean()), 1e-3), 1 - 1e-3)
    pool = pool * min(1.0, null / max(pool.mean(), 1e-9))  # not above it, not even by rounding
    games = 400
    orders = np.stack([rng.permutation(pool) for _ in range(games)])
    ever = np.isfinite(betting.first_at(betting.log_wealth(orders, null), LEVEL)).mean()
    # 4 standard deviations of a share of 0.05 among the games
    assert ever <= LEVEL + 4 * math.sqrt(LEVEL * (1 - LEVEL) / games)


def test_thieves_are_accused_sooner_the_more_they_repeat():
    rng = np.random.default_rng(0)
    pools = (np.arange(2000) < 2000 * np.array([[0.3], [0.5], [0.8]])).astype(float)
    orders = np.stack([rng.permutation(pool) for pool in pools])
    first = betting.first_at(betting.log_wealth(orders, 0.3), 0.01)
    assert first[0] == np.inf and 10 < first[2] < first[1] < 500


def test_a_pool_that_is_above_the_null_is_found_at_last_and_bad_values_are_refused():
    assert np.isfinite(betting.first_at(betting.log_wealth(np.array([1.0, 1, 0, 0]), 0.2), 1e-6))
    for values, null in (([0.5, 1.2], 0.5), ([0.5], 0.0), ([0.5], 1.0)):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            betting.log_wealth(np.array(values), null)
