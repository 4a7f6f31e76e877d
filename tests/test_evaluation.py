"""AUC, intervals and rates against counting, and what leaves them alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacutils import evaluation

# few different values, so that ties occur
GROUP = st.lists(st.integers(0, 12).map(lambda value: value / 16), min_size=1, max_size=9).map(np.array)


def counted(stolen: np.ndarray, irrelevant: np.ndarray) -> float:
    pairs = [1.0 if s < i else 0.5 if s == i else 0.0 for s in stolen for i in irrelevant]
    return sum(pairs) / len(pairs)


@given(GROUP, GROUP)
def test_auc_against_counting_pairs_with_its_interval(stolen, irrelevant):
    made = evaluation.auc(stolen, irrelevant, 200, 0)
    assert made.value == pytest.approx(counted(stolen, irrelevant), abs=1e-12)
    assert 0 <= made.low <= made.value + 1e-12 and made.value - 1e-12 <= made.high <= 1
    assert made.low < made.high


@given(GROUP, GROUP, st.sampled_from([np.exp, np.sqrt, lambda d: 5 * d - 3, lambda d: d**3]))
def test_auc_does_not_see_monotone_transforms(stolen, irrelevant, transform):
    assert evaluation.auc(stolen, irrelevant, 100, 0) == evaluation.auc(transform(stolen), transform(irrelevant), 100, 0)


@given(GROUP, GROUP, st.randoms())
def test_auc_does_not_see_the_order_of_models_and_mirrors_with_the_groups(stolen, irrelevant, random):
    shuffled = np.array(random.sample(stolen.tolist(), len(stolen)))
    value = evaluation.auc(stolen, irrelevant, 100, 0).value
    assert evaluation.auc(shuffled, irrelevant, 100, 0).value == pytest.approx(value, abs=1e-12)
    assert evaluation.auc(irrelevant, stolen, 100, 0).value == pytest.approx(1 - value, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_interval_against_a_slow_bootstrap(ties):
    generator = np.random.default_rng(0)
    stolen, irrelevant = generator.normal(0, 1, 12), generator.normal(1, 1, 15)
    if ties:
        stolen, irrelevant = np.floor(stolen / 2), np.floor(irrelevant / 2)
    made = evaluation.auc(stolen, irrelevant, 2000, 0)
    slow = [counted(generator.choice(stolen, len(stolen)), generator.choice(irrelevant, len(irrelevant))) for _ in range(2000)]
    assert (made.low, made.high) == pytest.approx(tuple(np.quantile(slow, (0.025, 0.975))), abs=0.02)
    assert made == evaluation.auc(stolen, irrelevant, 2000, 0)
    assert made != evaluation.auc(stolen, irrelevant, 2000, 1)
    assert made.high - made.low > 0.1


@pytest.mark.parametrize("n", [4, 8, 20])
def test_perfect_separation_has_a_lower_bound_well_below_one(n):
    stolen, irrelevant = np.zeros(n), np.ones(n)
    made = evaluation.auc(stolen, irrelevant, 200, 0)
    assert made.value == made.high == 1 and made.low < {4: 0.7, 8: 0.83, 20: 0.93}[n]
    wrong_way = evaluation.auc(irrelevant, stolen, 200, 0)
    assert wrong_way.value == wrong_way.low == 0 and wrong_way.high == pytest.approx(1 - made.low, abs=1e-6)


def test_more_models_make_a_perfect_separation_more_certain():
    bounds = [evaluation.score_interval(1.0, n, n)[0] for n in (2, 4, 8, 16, 32, 1000)]
    assert bounds == sorted(bounds) and bounds[-1] > 0.99


@given(st.integers(0, 100).map(lambda value: value / 100), st.integers(2, 30), st.integers(2, 30))
def test_score_interval_solves_its_equation(value, m, n):
    for bound in evaluation.score_interval(value, m, n):
        half = (m + n) / 2 - 1
        variance = bound * (1 - bound) * (1 + half * (1 - bound) / (2 - bound) + half * bound / (1 + bound)) / (m * n)
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
def test_tpr_at_fpr_against_all_thresholds(stolen, irrelevant, fpr):
    thresholds = [-1.0, *stolen, *irrelevant]
    rates = [(np.mean(irrelevant <= t), np.mean(stolen <= t)) for t in thresholds]
    expected = max(true for false, true in rates if false <= fpr)
    assert evaluation.tpr_at_fpr(stolen, irrelevant, fpr) == pytest.approx(expected)


@given(GROUP, GROUP)
def test_area_under_the_curve_is_the_auc(stolen, irrelevant):
    false, true = evaluation.roc(stolen, irrelevant)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()
    area = sum((false[i + 1] - false[i]) * (true[i + 1] + true[i]) / 2 for i in range(len(false) - 1))
    assert area == pytest.approx(counted(stolen, irrelevant))


@given(GROUP, GROUP, GROUP)
def test_calibrated_rates_against_counting(calibration, stolen, irrelevant):
    threshold = min(calibration.tolist())
    expected = tuple(sum(d < threshold for d in group.tolist()) / len(group) for group in (stolen, irrelevant))
    assert evaluation.calibrated_rates(calibration, stolen, irrelevant) == pytest.approx(expected)
    assert evaluation.calibrated_rates(calibration, calibration, irrelevant)[0] == 0  # its own models are never accused


def test_auc_reads_well():
    assert str(evaluation.Auc(0.98765, 0.9, 1)) == "0.99 [0.90, 1.00]"
