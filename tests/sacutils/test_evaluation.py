"""AUC, intervals and rates against counting, and what leaves them alone."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm, ttest_ind
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
    made = evaluation.auc(stolen, independent)
    assert made.value == pytest.approx(counted(stolen, independent), abs=1e-12)
    assert 0 <= made.low <= made.value + 1e-12 and made.value - 1e-12 <= made.high <= 1
    assert made.low < made.high


@given(GROUP, GROUP, st.sampled_from([np.exp, np.sqrt, lambda d: 5 * d - 3, lambda d: d**3]))
def test_auc_does_not_see_monotone_transforms(stolen, independent, transform):
    made = evaluation.auc(stolen, independent)
    assert made == evaluation.auc(transform(stolen), transform(independent))


@given(GROUP, GROUP, st.randoms())
def test_auc_does_not_see_the_order_of_models_and_mirrors_with_the_groups(
    stolen, independent, random
):
    shuffled = np.array(random.sample(stolen.tolist(), len(stolen)))
    value = evaluation.auc(stolen, independent).value
    assert evaluation.auc(shuffled, independent).value == pytest.approx(value, abs=1e-12)
    assert evaluation.auc(independent, stolen).value == pytest.approx(1 - value, abs=1e-12)


@given(GROUP, GROUP, GROUP, GROUP)
def test_a_worse_result_never_has_the_better_bounds(stolen, independent, others, rivals):
    m, n = (min(len(group), len(more)) for group, more in ((stolen, others), (independent, rivals)))
    one, two = sorted(evaluation.auc(*pair) for pair in ((stolen[:m], independent[:n]),
                                                         (others[:m], rivals[:n])))  # fmt: skip
    assert one.low <= two.low + 1e-9 and one.high <= two.high + 1e-9


def test_models_of_a_cluster_count_less_than_models():
    assert evaluation.units(np.array(list("abcd"))) == 4
    assert evaluation.units(np.array(list("aabbccdd"))) == pytest.approx(8 / 1.8)
    assert evaluation.units(np.array(["a"] * 7)) == pytest.approx(7 / (1 + 6 * 0.8))
    assert evaluation.units(np.array(["a"] * 7), 1) == 1
    stolen, independent = np.arange(8.0), np.arange(8.0) + 2.5
    clusters = np.array(list("aabbccdd"))
    alone = evaluation.auc(stolen, independent)
    alike = evaluation.auc(stolen, independent, (clusters, clusters))
    assert alike.value == alone.value and alike.low < alone.low < alone.high < alike.high


def drawn(generator, shape, sizes, icc, source=0.0):
    """Normal values of clustered models, shape (*shape, models): of their variance the share
    `source` is common to the last axis, and of the rest the share `icc` to a cluster.
    """
    common = generator.normal(size=(*shape, 1)) * math.sqrt(source)
    clusters = generator.normal(size=(*shape, len(sizes))) * math.sqrt((1 - source) * icc)
    own = generator.normal(size=(*shape, sum(sizes))) * math.sqrt((1 - source) * (1 - icc))
    return common + np.repeat(clusters, sizes, -1) + own


STUDENTS, INDEPENDENT = [2] * 4, [2] * 5


COUNTS = [
    evaluation.units(np.repeat(np.arange(len(sizes)), sizes)) for sizes in (STUDENTS, INDEPENDENT)
]


@pytest.mark.parametrize("truth", [0.5, 0.7, 0.8, 0.9, 0.95, 0.98])
@pytest.mark.parametrize("case", [(1, 0.0, 0.93), (3, 0.0, 0.93), (5, 0.0, 0.93), (5, 0.3, 0.92)])
def test_interval_covers_where_models_of_a_cluster_are_alike(truth, case):
    """Eight stolen models in four clusters against ten in five, intra-class correlation 0.8.

    In the last case all models of one group of a source have three tenths of the variance in
    common. A bootstrap over models covers 0.84 to 0.89 for one source and a truth up to 0.9.
    """
    sources, common, least = case
    generator, shift, draws = np.random.default_rng(0), norm.ppf(truth) * math.sqrt(2), 800
    stolen, independent = (
        drawn(generator, (draws, sources), sizes, 0.8, common) for sizes in (STUDENTS, INDEPENDENT)
    )
    values = evaluation.ordered_pairs(stolen, independent + shift).mean((-1, -2))
    spreads = values.std(1, ddof=1) if sources > 1 else np.zeros(draws)
    made = [
        evaluation.score_interval(value, *COUNTS, 0.95, sources, spread)
        for value, spread in zip(values.mean(1), spreads, strict=True)
    ]
    assert np.mean([low <= truth <= high for low, high in made]) >= least


@pytest.mark.parametrize("sources", [1, 3, 5])
@pytest.mark.parametrize("shifts", [(1.19, 1.19), (1.8, 0.74), (3.0, 0.0)])
def test_interval_of_a_paired_difference_covers(sources, shifts):
    generator = np.random.default_rng(0)
    truth, hits, draws = np.subtract(*norm.cdf(np.array(shifts) / math.sqrt(2))), 0, 200
    for _ in range(draws):
        pairs = []
        first = [drawn(generator, (sources,), sizes, 0.8) for sizes in (STUDENTS, INDEPENDENT)]
        for shift, weight in zip(shifts, (1.0, 0.5), strict=True):
            stolen, independent = (
                weight * one + math.sqrt(1 - weight**2) * drawn(generator, (sources,), sizes, 0.8)
                for one, sizes in zip(first, (STUDENTS, INDEPENDENT), strict=True)
            )
            pairs.append(evaluation.ordered_pairs(stolen, independent + shift))
        gains = pairs[0] - pairs[1]
        spread = gains.mean((1, 2)).std(ddof=1) if sources > 1 else 0.0
        parts = [(sign * gains).clip(0).mean() for sign in (1, -1)]
        low, high = evaluation.difference_interval(*parts, *COUNTS, 0.95, sources, spread)
        hits += low <= truth <= high
    assert hits / draws >= 0.93


def test_sources_that_differ_widen_the_interval_and_perfect_ones_keep_a_doubt():
    one, three = (evaluation.score_interval(1.0, 4, 5, sources=sources) for sources in (1, 3))
    assert one[0] < three[0] < 0.9 and three[1] == 1
    alike = evaluation.score_interval(0.9, 4, 5, 0.95, 3, 0.05)
    # Student's t is narrower below, and reaches 1
    assert alike == pytest.approx((evaluation.score_interval(0.9, 4, 5, 0.95, 3)[0], 1))
    low, high = evaluation.score_interval(0.6, 40, 50, 0.95, 3, 0.2)
    half = student_t.ppf(0.975, 2) * 0.2 / math.sqrt(3)
    assert (low, high) == pytest.approx((0.6 - half, 1.0), abs=1e-6)


def test_difference_interval_by_hand():
    a, b = evaluation.score_interval(0.9, 8, 10)
    c, d = evaluation.score_interval(0.6, 8, 10)
    low, high = evaluation.difference_interval(0.9, 0.6, 8, 10)
    assert low == pytest.approx(0.3 - math.hypot(0.9 - a, d - 0.6))
    assert high == pytest.approx(0.3 + math.hypot(b - 0.9, 0.6 - c))
    assert evaluation.difference_interval(0.6, 0.9, 8, 10) == pytest.approx((-high, -low))
    nothing = evaluation.difference_interval(0.0, 0.0, 8, 10)
    assert nothing[0] == pytest.approx(-nothing[1]) and 0.1 < nothing[1] < 0.4
    wide = evaluation.difference_interval(0.3, 0.0, 800, 1000, 0.95, 3, 0.1)
    half = student_t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert wide == pytest.approx((0.3 - half, 0.3 + half))


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=8))
def test_holm_against_adjusted_p_values(p_values):
    order = np.argsort(p_values)
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, (len(p_values) - rank) * p_values[index])
        adjusted[index] = worst
    words = evaluation.holm(
        lambda level: ["no" if p > 1 - level else "yes" for p in p_values], "no"
    )
    clear = [abs(p - 0.05) > 1e-9 for p in adjusted]
    expected = ["yes" if p <= 0.05 else "no" for p in adjusted]
    assert all(a == b for a, b, sure in zip(words, expected, clear, strict=True) if sure)


@pytest.mark.parametrize("n", [4, 8, 20])
def test_perfect_separation_has_a_lower_bound_well_below_one(n):
    stolen, independent = np.zeros(n), np.ones(n)
    made = evaluation.auc(stolen, independent)
    assert made.value == made.high == 1 and made.low < {4: 0.7, 8: 0.83, 20: 0.93}[n]
    wrong_way = evaluation.auc(independent, stolen)
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
    apart = np.arange(4), np.arange(3)
    made = evaluation.mean_difference(first, second, apart)
    welch = ttest_ind(first, second, equal_var=False).confidence_interval()
    value = first.mean() - second.mean()
    assert made == pytest.approx((value, *welch))
    # four models in two pairs are worth 4 / (1 + 0.8 (8 / 4 - 1)) units
    m = 4 / 1.8
    parts = [first.var(ddof=1) / m, second.var(ddof=1) / 3]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (m - 1) + parts[1] ** 2 / 2)
    half = student_t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    pairs = evaluation.mean_difference(first, second, (np.array([0, 0, 1, 1]), apart[1]))
    assert pairs == pytest.approx((value, value - half, value + half))
    assert pairs.low < made.low and made.high < pairs.high
    for one, other in ((first[:1], second), (np.ones(3), np.zeros(2))):
        names = np.arange(len(one)), np.arange(len(other))
        made = evaluation.mean_difference(one, other, names)
        assert made.value == one.mean() - other.mean() and math.isnan(made.low + made.high)
    assert str(evaluation.Difference(0.05, 0.01, 0.09)) == "+5.0 [+1.0, +9.0]"
    assert str(evaluation.Difference(0.05, math.nan, math.nan)) == "+5.0 [no interval]"


def test_wilsons_interval():
    made = evaluation.proportion_interval(0.9, 100)  # by hand: centre 0.8852, half width 0.0591
    assert (
        made == pytest.approx((0.9, 0.8256, 0.9448), abs=1e-4)
        and str(made) == "90.0% [82.6%, 94.5%]"
    )


@pytest.mark.parametrize(
    ("sources", "n", "share", "icc"),
    [(5, 40, 0.01, 0.05), (10, 40, 0.03, 0.05), (5, 8, 0.8, 0.25), (10, 8, 0.9, 0.25)],
)
def test_bounds_of_a_clustered_share_cover(sources, n, share, icc):
    """Each source has a rate of its own, from a beta distribution with the correlation `icc`."""
    generator = np.random.default_rng(0)
    scale, names = (1 - icc) / icc, np.repeat(np.arange(sources), n)
    rates = generator.beta(share * scale, (1 - share) * scale, size=(600, sources))
    found = [generator.random(sources * n) < np.repeat(rate, n) for rate in rates]
    made = [evaluation.clustered_share(hits, names, icc) for hits in found]
    assert np.mean([one.high >= share for one in made]) >= 0.95
    assert np.mean([one.low <= share for one in made]) >= 0.95


def test_a_share_of_nothing_and_of_everything_keeps_a_doubt():
    names = np.repeat(np.arange(10), 40)
    none = evaluation.clustered_share(np.zeros(400, bool), names, 0.05)
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.05 ** (1 / evaluation.units(names, 0.05)))
    every = evaluation.clustered_share(np.ones(400, bool), names, 0.05)
    assert every == pytest.approx((1, 1 - none.high, 1))
    independent = evaluation.clustered_share(np.arange(20) < 5, np.arange(20), 0.0)
    assert independent.low <= beta.ppf(0.05, 5, 16) and independent.high >= beta.ppf(0.95, 6, 15)
    apart, alike = np.repeat([0, 1], 40), np.tile([0, 1], 40)
    hits = np.arange(80) < 40  # all in one source, or half of each
    wide, narrow = (evaluation.clustered_share(hits, names, 0.05) for names in (apart, alike))
    assert wide.low < narrow.low < 0.5 < narrow.high < wide.high


def test_auc_reads_well():
    assert str(evaluation.Auc(0.98765, 0.9, 1)) == "0.99 [0.90, 1.00]"


def test_a_group_without_spread_is_no_cause_to_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = np.array([0.8, 0.8]), np.array([0.7, 0.71, 0.73])
        gap = evaluation.mean_difference(*groups, (np.arange(2), np.arange(3)))
    assert gap.low < gap.value < gap.high
