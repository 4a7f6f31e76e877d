"""The comparison: p-values and resampling against slow versions, and verdicts that never say more than the references allow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacutils import answers, calibration, correlation, verdict
from sacutils.answers import Answers
from sacutils.calibration import Known
from sacutils.verdict import DERIVATION, INCONCLUSIVE, INDEPENDENCE

N, CLASSES = 40, 5
ROWS = np.ones(N, bool)


def model(seed: int, base: np.ndarray | None = None, noise: float = 1.0) -> Answers:
    """Random logits, or those of another model with some noise."""
    drawn = np.random.default_rng(seed).normal(size=(N, CLASSES)) * 3
    return Answers(drawn if base is None else base + noise * drawn, "logits", CLASSES)


OWNER = model(0)
REFERENCES = {f"reference {i}": model(i + 1) for i in range(24)}
DERIVATIVES = {f"derivative {i}": model(100 + i, OWNER.outputs, 0.2 + 0.02 * i) for i in range(24)}
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
    mine, theirs = (correlation.cosine_matrix(answers.convert(each, "probabilities", CLASSES)) for each in (OWNER, STRANGER))
    drawn = verdict.resampled_distances((theirs - mine).abs().numpy()[None], 20_000, 0)
    assert drawn.mean() == pytest.approx(float(correlation.distance(mine, theirs)), rel=0.01)


def test_copy_and_stranger_get_their_verdicts():
    for derivatives in ({}, DERIVATIVES):
        copy = verdict.judge(OWNER, COPY, REFERENCES, derivatives, ROWS)
        assert copy.verdict == DERIVATION and copy.p == copy.p_floor == 1 / 25 and copy.p_high <= 0.05
        stranger = verdict.judge(OWNER, STRANGER, REFERENCES, derivatives, ROWS)
        assert stranger.verdict == INDEPENDENCE and stranger.p_low > 0.05
        assert copy.distance_low < copy.distance < copy.distance_high < stranger.distance
    assert stranger.p_derivative == 1 / 25 and copy.p_derivative > 0.9


def test_an_interval_that_does_not_hold_the_p_value_is_heeded():
    for p, low, high in [(0.02, 0.12, 0.46), (0.06, 0.01, 0.05), (0.02, 0.06, 0.06)]:
        assert verdict._rule(p, low, high, 0.01, 0.05, False, False, 99)[0] == verdict.INCONCLUSIVE
    assert verdict._rule(0.02, 0.01, 0.04, 0.01, 0.05, False, False, 99)[0] == verdict.DERIVATION
    assert verdict._rule(0.06, 0.06, 0.2, 0.01, 0.05, False, False, 99)[0] == verdict.INDEPENDENCE


def test_too_few_references_are_never_enough():
    few = dict(list(REFERENCES.items())[:18])
    for suspect in (COPY, STRANGER):
        result = verdict.judge(OWNER, suspect, few, {}, ROWS)
        assert result.verdict == INCONCLUSIVE and "18 references" in result.reason and "0.053" in result.reason
    assert verdict.judge(OWNER, COPY, few, {}, ROWS, alpha=0.06).verdict == DERIVATION


def test_between_references_and_derivatives_is_inconclusive():
    close = {f"derivative {i}": model(100 + i, OWNER.outputs, 0.001) for i in range(24)}
    between = verdict.judge(OWNER, COPY, REFERENCES, close, ROWS)
    assert between.verdict == INCONCLUSIVE and between.p == between.p_floor and "farther away than the known" in between.reason


def test_among_both_is_inconclusive():
    far = {f"derivative {i}": model(400 + i) for i in range(24)}
    result = verdict.judge(OWNER, STRANGER, REFERENCES, far, ROWS)
    assert result.verdict == INCONCLUSIVE and "both" in result.reason


def test_a_rank_that_hangs_on_the_probes_is_inconclusive():
    equal = {f"reference {i}": model(100 + i, OWNER.outputs, 1.0) for i in range(24)}
    nearest = min(equal, key=lambda name: verdict.judge(OWNER, equal[name], REFERENCES, {}, ROWS).distance)
    others = {name: value for name, value in equal.items() if name != nearest}
    result = verdict.judge(OWNER, equal[nearest], others, {}, ROWS)
    assert result.p <= 0.05 < result.p_high and result.verdict == INCONCLUSIVE and "other probes" in result.reason


@pytest.mark.parametrize("form", ["logits", "probabilities", "top-k", "labels"])
def test_the_suspects_form_decides_how_all_are_compared(form):
    suspect = calibration.shown_as(COPY, form)
    result = verdict.judge(OWNER, suspect, REFERENCES, {}, ROWS)
    assert result.form == ("probabilities" if form == "logits" else form) and result.verdict == DERIVATION
    assert result.k == {"top-k": 3, "labels": 1}.get(form, CLASSES)


def test_logits_and_their_softmax_are_judged_alike():
    one = verdict.judge(OWNER, COPY, REFERENCES, DERIVATIVES, ROWS)
    other = verdict.judge(OWNER, calibration.shown_as(COPY, "probabilities"), REFERENCES, DERIVATIVES, ROWS)
    assert one.distance == pytest.approx(other.distance) and one[5:9] == other[5:9]


def test_controls_do_not_count():
    half = np.arange(N) < N // 2
    spoiled = Answers(np.where(half[:, None], COPY.outputs, 0.0), "logits", CLASSES)
    intact = Answers(COPY.outputs, "logits", CLASSES)
    one, other = (verdict.judge(OWNER, each, REFERENCES, {}, half) for each in (spoiled, intact))
    assert one.distance == other.distance and one.agreement == other.agreement


def test_false_alarms_judge_everyone_by_the_others():
    known = [Known(name, False, f"group {i % 3}", f"net {i % 2}", value) for i, (name, value) in enumerate(REFERENCES.items())]
    table = calibration.false_alarms(OWNER, known, ROWS)
    assert len(table) == 3 * 24 and set(table.loc[table["left_out"] == "itself", "references"]) == {23}
    assert set(table.loc[table["left_out"] == "its group", "references"]) == {16}
    itself = table[table["left_out"] == "itself"]
    # by ranks: exactly one of 24 lies before all the others
    assert (itself["p"] <= 0.05).sum() == 1 and sorted(itself["p"]) == pytest.approx(np.arange(1, 25) / 24)
    near = calibration.nearest(table, ["left_out"]).set_index("left_out")
    assert near.loc["itself", "nearest"].value == 1 / 24 == pytest.approx(near.loc["itself", "by_chance"])
    assert near.loc["its group", "references"] == "16" and near.loc["its group", "by_chance"] == pytest.approx(1 / 17)


def test_detections_and_rates_count_verdicts():
    known = [Known(name, False, "independent", "net", value) for name, value in REFERENCES.items()]
    known += [Known(name, True, "copies", "net", value) for name, value in DERIVATIVES.items()]
    table = calibration.detections(OWNER, known, ROWS, "labels")
    assert len(table) == 24
    row = calibration.rates(table, ["group"]).iloc[0]
    assert row["models"] == 24 and row["derivation"].value == (table["verdict"] == DERIVATION).mean()
    assert row["derivation"].value * 24 + row["independence"] + row["inconclusive"] == pytest.approx(24)
