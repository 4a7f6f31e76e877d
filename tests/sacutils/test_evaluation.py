"""AUC, intervals and rates against counting, and what leaves them alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student_t

from sacutils import evaluation

# few different values, so that ties occur
GROUP = st.lists(st.integers(0, 12).map(lambda value: value / 16), min_size=1, max_size=9).map(
    np.array
)


def counted(stolen: np.ndarray, independent: np.ndarray) -> float:
    pairs = [1.0 if s < i else 0.5 if s == i else 0.0 for s in stolen for i in independent]
    return sum(pairs) / len(pairs)


@given(GROUP, GROUP)
def test_auc_against_counting_pairs_with_its_interval(stolen, independent):
    made = evaluation.auc(stolen, independent, 200, 0)
    assert made.value == pytest.approx(counted(stolen, independent), abs=1e-12)
    assert 0 <= made.low <= made.value + 1e-12 and made.value - 1e-12 <= made.high <= 1
    assert made.low < made.high


@given(GROUP, GROUP, st.sampled_from([np.exp, np.sqrt, lambda d: 5 * d - 3, lambda d: d**3]))
def test_auc_does_not_see_monotone_transforms(stolen, independent, transform):
    assert evaluation.auc(stolen, independent, 100, 0) == evaluation.auc(
        transform(stolen), transform(independent), 100, 0
    )


@given(GROUP, GROUP, st.randoms())
def test_auc_does_not_see_the_order_of_models_and_mirrors_with_the_groups(
    stolen, independent, random
):
    shuffled = np.array(random.sample(stolen.tolist(), len(stolen)))
    value = evaluation.auc(stolen, independent, 100, 0).value
    assert evaluation.auc(shuffled, independent, 100, 0).value == pytest.approx(value, abs=1e-12)
    assert evaluation.auc(independent, stolen, 100, 0).value == pytest.approx(1 - value, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_interval_against_a_slow_bootstrap(ties):
    generator = np.random.default_rng(0)
    stolen, independent = generator.normal(0, 1, 12), generator.normal(1, 1, 15)
    if ties:
        stolen, independent = np.floor(stolen / 2), np.floor(independent / 2)
    made = evaluation.auc(stolen, independent, 2000, 0)
    slow = [
        counted(
            generator.choice(stolen, len(stolen)), generator.choice(independent, len(independent))
        )
        for _ in range(2000)
    ]
    assert (made.low, made.high) == pytest.approx(
        tuple(np.quantile(slow, (0.025, 0.975))), abs=0.02
    )
    assert made == evaluation.auc(stolen, independent, 2000, 0)
    assert made != evaluation.auc(stolen, independent, 2000, 1)
    assert made.high - made.low > 0.1


@pytest.mark.parametrize("n", [4, 8, 20])
def test_perfect_separation_has_a_lower_bound_well_below_one(n):
    stolen, independent = np.zeros(n), np.ones(n)
    made = evaluation.auc(stolen, independent, 200, 0)
    assert made.value == made.high == 1 and made.low < {4: 0.7, 8: 0.83, 20: 0.93}[n]
    wrong_way = evaluation.auc(independent, stolen, 200, 0)
    assert wrong_way.value == wrong_way.low == 0 and wrong_way.high == pytest.approx(
        1 - made.low, abs=1e-6
    )


def test_more_models_make_a_perfect_separation_more_certain():
    bounds = [evaluation.score_interval(1.0, n, n)[0] for n in (2, 4, 8, 16, 32, 1000)]
    assert bounds == sorted(bounds) and bounds[-1] > 0.99


@given(st.integers(0, 100).map(lambda value: value / 100), st.integers(2, 30), st.integers(2, 30))
def test_score_interval_solves_its_equation(value, m, n):
    for bound in evaluation.score_interval(value, m, n):
        half = (m + n) / 2 - 1
        variance = (
            bound
            * (1 - bound)
            * (1 + half * (1 - bound) / (2 - bound) + half * bound / (1 + bound))
            / (m * n)
        )
        solved = abs(value - bound) == pytest.approx(1.959964 * math.sqrt(variance), abs=1e-4)
        assert solved or (value in (0, 1) and bound == value)
    low, high = evaluation.score_interval(value, m, n)
    assert 0 <= low <= value <= high <= 1 and low < high
    mirrored = evaluation.score_interval(1 - value, m, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_higher_level_is_wider():
    narrow, wide = (evaluation.score_interval(0.8, 8, 8, level) for level in (0.8, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@given(GROUP, GROUP, st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 1.0]))
def test_tpr_at_fpr_against_all_thresholds(stolen, independent, fpr):
    thresholds = [-1.0, *stolen, *independent]
    rates = [(np.mean(independent <= t), np.mean(stolen <= t)) for t in thresholds]
    expected = max(true for false, true in rates if false <= fpr)
    assert evaluation.tpr_at_fpr(stolen, independent, fpr) == pytest.approx(expected)


@given(GROUP, GROUP)
def test_area_under_the_curve_is_the_auc(stolen, independent):
    false, true = evaluation.roc(stolen, independent)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()
    area = sum(
        (false[i + 1] - false[i]) * (true[i + 1] + true[i]) / 2 for i in range(len(false) - 1)
    )
    assert area == pytest.approx(counted(stolen, independent))


def test_difference_of_means_against_welchs_formula():
    first, second = np.array([0.5, 0.6, 0.9, 0.7]), np.array([0.4, 0.5, 0.3])
    made = evaluation.mean_difference(first, second)
    parts = [first.var(ddof=1) / 4, second.var(ddof=1) / 3]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2)
    half = student_t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    value = first.mean() - second.mean()
    assert made == pytest.approx((value, value - half, value + half))
    for one, other in ((first[:1], second), (np.ones(3), np.zeros(2))):
        made = evaluation.mean_difference(one, other)
        assert made.value == one.mean() - other.mean() and math.isnan(made.low + made.high)
    assert str(evaluation.Difference(0.05, 0.01, 0.09)) == "+5.0 [+1.0, +9.0]"
    assert str(evaluation.Difference(0.05, math.nan, math.nan)) == "+5.0 [no interval]"


def test_wilsons_interval():
    made = evaluation.proportion_interval(0.9, 100)  # by hand: centre 0.8852, half width 0.0591
    assert (
        made == pytest.approx((0.9, 0.8256, 0.9448), abs=1e-4)
        and str(made) == "90.0% [82.6%, 94.5%]"
    )


def test_auc_reads_well():
    assert str(evaluation.Auc(0.98765, 0.9, 1)) == "0.99 [0.90, 1.00]"
