"""The comparison: p-values and resampling against slow versions, and verdicts that never say more
than the independent models allow.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacheck import answers, calibration, verdict
from sacheck.answers import Answers
from sacheck.calibration import Known
from sacheck.verdict import DERIVATION, INCONCLUSIVE, NO_EVIDENCE
from sacutils import correlation

N, CLASSES = 40, 5
ROWS = np.ones(N, bool)


def model(seed: int, base: np.ndarray | None = None, noise: float = 1.0) -> Answers:
    """Random logits, or those of another model with some noise."""
    drawn = np.random.default_rng(seed).normal(size=(N, CLASSES)) * 3
    return Answers(drawn if base is None else base + noise * drawn, "logits", CLASSES)


OWNER = model(0)
INDEPENDENT = {f"independent {i}": model(i + 1) for i in range(24)}
STOLEN = {f"stolen {i}": model(100 + i, OWNER.outputs, 0.2 + 0.02 * i) for i in range(24)}
COPY, STRANGER = model(200, OWNER.outputs, 0.1), model(300)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(0, 6))
def test_p_value_counts_as_by_hand(references, value):
    count = 1
    for reference in references:
        if reference <= value:
            count += 1
    found = verdict.p_value(np.array(float(value)), np.array(references, float))
    assert found == pytest.approx(count / (len(references) + 1))


def test_p_value_of_exchangeable_models_is_at_most_alpha_as_often():
    drawn = np.random.default_rng(0).normal(size=(20_000, 20))
    share = (verdict.p_value(drawn[:, 0], drawn[:, 1:]) <= 0.05).mean()
    assert share == pytest.approx(0.05, abs=0.006)


def test_resampled_distances_are_those_of_repeated_probes():
    differences = np.abs(np.random.default_rng(1).normal(size=(2, 6, 6)))
    differences = (differences + differences.transpose(0, 2, 1)) / 2
    for each in differences:
        np.fill_diagonal(each, 0)
    drawn = verdict.resampled_distances(differences, 5, 3)
    generator = np.random.default_rng(3)
    for values, counts in zip(drawn, generator.multinomial(6, [1 / 6] * 6, size=5), strict=True):
        index = np.repeat(np.arange(6), counts)
        for value, each in zip(values, differences, strict=True):
            assert value == pytest.approx(each[np.ix_(index, index)].sum() / 36 / (1 - 1 / 6))


def test_mean_of_resampled_distances_is_the_distance():
    mine, theirs = (
        correlation.cosine_matrix(answers.convert(each, "probabilities", CLASSES))
        for each in (OWNER, STRANGER)
    )
    drawn = verdict.resampled_distances((theirs - mine).abs().numpy()[None], 20_000, 0)
    assert drawn.mean() == pytest.approx(float(correlation.distance(mine, theirs)), rel=0.01)


def test_copy_and_stranger_get_their_verdicts():
    copy = verdict.judge(OWNER, COPY, INDEPENDENT, ROWS)
    assert copy.verdict == DERIVATION and copy.p == copy.p_floor == 1 / 25 and copy.p_high <= 0.05
    stranger = verdict.judge(OWNER, STRANGER, INDEPENDENT, ROWS)
    assert stranger.verdict == NO_EVIDENCE and stranger.p_low > 0.05
    assert copy.distance_low < copy.distance < copy.distance_high < stranger.distance
    assert list(copy.independent.values()) == sorted(copy.independent.values())
    assert copy.independent.keys() == INDEPENDENT.keys()


@pytest.mark.parametrize(
    "p, low, high, expected",
    [
        (0.02, 0.01, 0.04, DERIVATION),
        (0.05, 0.01, 0.05, DERIVATION),
        (0.06, 0.06, 0.2, NO_EVIDENCE),
        (0.02, 0.01, 0.06, INCONCLUSIVE),
        (0.06, 0.05, 0.2, INCONCLUSIVE),
        (0.02, 0.12, 0.46, INCONCLUSIVE),  # a bootstrap's interval need not hold the value itself
        (0.06, 0.01, 0.05, INCONCLUSIVE),
    ],
)
def test_the_value_and_its_whole_interval_lie_on_one_side(p, low, high, expected):
    assert verdict.rule(p, low, high, 0.05, 99)[0] == expected
    assert verdict.rule(p, low, high, 0.05, 18)[0] == INCONCLUSIVE  # 1 / 19 is above the level


def test_too_few_independent_models_are_never_enough():
    few = dict(list(INDEPENDENT.items())[:18])
    for suspect in (COPY, STRANGER):
        result = verdict.judge(OWNER, suspect, few, ROWS)
        assert (
            result.verdict == INCONCLUSIVE
            and "18 independent models" in result.reason
            and "0.053" in result.reason
        )
    assert verdict.judge(OWNER, COPY, few, ROWS, alpha=0.06).verdict == DERIVATION


def test_a_rank_that_hangs_on_the_probes_is_inconclusive():
    equal = {f"independent {i}": model(100 + i, OWNER.outputs, 1.0) for i in range(24)}
    nearest = min(
        equal, key=lambda name: verdict.judge(OWNER, equal[name], INDEPENDENT, ROWS).distance
    )
    others = {name: value for name, value in equal.items() if name != nearest}
    result = verdict.judge(OWNER, equal[nearest], others, ROWS)
    assert (
        result.p <= 0.05 < result.p_high
        and result.verdict == INCONCLUSIVE
        and "other probes" in result.reason
    )


@pytest.mark.parametrize("form", ["logits", "probabilities", "top-k", "labels"])
def test_the_suspects_form_decides_how_all_are_compared(form):
    suspect = calibration.shown_as(COPY, form)
    result = verdict.judge(OWNER, suspect, INDEPENDENT, ROWS)
    assert (
        result.form == ("probabilities" if form == "logits" else form)
        and result.verdict == DERIVATION
    )
    assert result.k == {"top-k": 3, "labels": 1}.get(form, CLASSES)


def test_logits_and_their_softmax_are_judged_alike():
    one = verdict.judge(OWNER, COPY, INDEPENDENT, ROWS)
    other = verdict.judge(OWNER, calibration.shown_as(COPY, "probabilities"), INDEPENDENT, ROWS)
    assert one.distance == pytest.approx(other.distance) and one[5:9] == other[5:9]


def test_controls_do_not_count():
    half = np.arange(N) < N // 2
    spoiled = Answers(np.where(half[:, None], COPY.outputs, 0.0), "logits", CLASSES)
    intact = Answers(COPY.outputs, "logits", CLASSES)
    one, other = (verdict.judge(OWNER, each, INDEPENDENT, half) for each in (spoiled, intact))
    assert one.distance == other.distance and one.agreement == other.agreement


def test_false_alarms_judge_everyone_by_the_others():
    known = [
        Known(name, False, f"group {i % 3}", f"net {i % 2}", value)
        for i, (name, value) in enumerate(INDEPENDENT.items())
    ]
    table = calibration.false_alarms(OWNER, known, ROWS)
    assert len(table) == 3 * 24 and set(
        table.loc[table["left_out"] == "itself", "independent"]
    ) == {23}
    assert set(table.loc[table["left_out"] == "its group", "independent"]) == {16}
    itself = table[table["left_out"] == "itself"]
    # by ranks: exactly one of 24 lies before all the others
    assert (itself["p"] <= 0.05).sum() == 1 and sorted(itself["p"]) == pytest.approx(
        np.arange(1, 25) / 24
    )
    near = calibration.nearest(table, "left_out").set_index("left_out")
    assert (
        near.loc["itself", "nearest"].value
        == 1 / 24
        == pytest.approx(near.loc["itself", "by_chance"])
    )
    assert near.loc["its group", "judged_by"] == "16" and near.loc[
        "its group", "by_chance"
    ] == pytest.approx(1 / 17)


def test_detections_and_rates_count_verdicts():
    known = [Known(name, False, "independent", "net", value) for name, value in INDEPENDENT.items()]
    known += [Known(name, True, "copies", "net", value) for name, value in STOLEN.items()]
    table = calibration.detections(OWNER, known, ROWS, "labels")
    assert len(table) == 24
    row = calibration.rates(table, "group").iloc[0]
    assert (
        row["models"] == 24 and row["derivation"].value == (table["verdict"] == DERIVATION).mean()
    )
    assert row["derivation"].value * 24 + row["no_evidence"] + row["inconclusive"] == pytest.approx(
        24
    )
