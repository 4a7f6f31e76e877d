"""The comparison: p-values and resampling against slow versions, and verdicts that never say more
than the independent models allow.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacheck import answers, calibration, verdict
from sacheck.answers import Answers
from sacheck.verdict import DERIVATION, NO_EVIDENCE, NOT_DECIDABLE
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
    copy = verdict.by_rank(OWNER, COPY, INDEPENDENT, ROWS)
    assert copy.verdict == DERIVATION and copy.p == copy.p_floor == 1 / 25 and copy.p_high <= 0.05
    stranger = verdict.by_rank(OWNER, STRANGER, INDEPENDENT, ROWS)
    assert stranger.verdict == NO_EVIDENCE and stranger.p_low > 0.05
    assert copy.distance < stranger.distance
    assert list(copy.independent.values()) == sorted(copy.independent.values())
    assert copy.independent.keys() == INDEPENDENT.keys()


@pytest.mark.parametrize(
    "p, low, high, expected",
    [
        (0.02, 0.01, 0.04, DERIVATION),
        (0.05, 0.01, 0.05, DERIVATION),
        (0.06, 0.06, 0.2, NO_EVIDENCE),
        (0.02, 0.01, 0.06, NOT_DECIDABLE),
        (0.06, 0.05, 0.2, NOT_DECIDABLE),
        (0.02, 0.12, 0.46, NOT_DECIDABLE),  # a bootstrap's interval need not hold the value itself
        (0.06, 0.01, 0.05, NOT_DECIDABLE),
    ],
)
def test_the_value_and_its_whole_interval_lie_on_one_side(p, low, high, expected):
    assert verdict.rule(p, low, high, 0.05, 99)[0] == expected
    assert verdict.rule(p, low, high, 0.05, 18)[0] == NOT_DECIDABLE  # 1 / 19 is above the level


def test_too_few_independent_models_are_never_enough():
    few = dict(list(INDEPENDENT.items())[:18])
    for suspect in (COPY, STRANGER):
        result = verdict.by_rank(OWNER, suspect, few, ROWS)
        assert (
            result.verdict == NOT_DECIDABLE
            and "18 independent models" in result.reason
            and "0.053" in result.reason
        )
    assert verdict.by_rank(OWNER, COPY, few, ROWS, alpha=0.06).verdict == DERIVATION


def test_a_rank_that_hangs_on_the_probes_is_inconclusive():
    equal = {f"independent {i}": model(100 + i, OWNER.outputs, 1.0) for i in range(24)}
    nearest = min(
        equal, key=lambda name: verdict.by_rank(OWNER, equal[name], INDEPENDENT, ROWS).distance
    )
    others = {name: value for name, value in equal.items() if name != nearest}
    result = verdict.by_rank(OWNER, equal[nearest], others, ROWS)
    assert (
        result.p <= 0.05 < result.p_high
        and result.verdict == NOT_DECIDABLE
        and "other probes" in result.reason
    )


@pytest.mark.parametrize("form", ["logits", "probabilities", "top-k", "labels"])
def test_the_suspects_form_decides_how_all_are_compared(form):
    suspect = answers.shown_as(COPY, form)
    result = verdict.by_rank(OWNER, suspect, INDEPENDENT, ROWS)
    assert (
        result.form == ("probabilities" if form == "logits" else form)
        and result.verdict == DERIVATION
    )
    assert result.k == {"top-k": 3, "labels": 1}.get(form, CLASSES)


def test_logits_and_their_softmax_are_judged_alike():
    one = verdict.by_rank(OWNER, COPY, INDEPENDENT, ROWS)
    other = verdict.by_rank(OWNER, answers.shown_as(COPY, "probabilities"), INDEPENDENT, ROWS)
    assert one.distance == pytest.approx(other.distance) and one[3:7] == other[3:7]


def test_anchors_do_not_count():
    half = np.arange(N) < N // 2
    spoiled = Answers(np.where(half[:, None], COPY.outputs, 0.0), "logits", CLASSES)
    intact = Answers(COPY.outputs, "logits", CLASSES)
    one, other = (verdict.by_rank(OWNER, each, INDEPENDENT, half) for each in (spoiled, intact))
    assert one.distance == other.distance and one.agreement == other.agreement


def test_a_known_theft_shows_power_and_changes_nothing_else():
    alone = verdict.by_rank(OWNER, COPY, INDEPENDENT, ROWS)
    some = dict(list(STOLEN.items())[:3]) | {"far": model(400)}
    beside = verdict.by_rank(OWNER, COPY, INDEPENDENT, ROWS, thefts=some)
    assert beside._replace(found={}) == alone and alone.found == {}
    assert beside.found == {"stolen 0": True, "stolen 1": True, "stolen 2": True, "far": False}


def test_a_theft_must_show_what_the_suspect_shows(refused):
    labels = answers.shown_as(model(100), "labels")
    refused(
        lambda: verdict.by_rank(OWNER, COPY, INDEPENDENT, ROWS, thefts={"x": labels}),
        "as labels cannot be compared as probabilities",
    )


def test_rank_errors_judge_independent_models_by_other_groups():
    groups = {name: f"group {i % 2}" for i, name in enumerate(INDEPENDENT)}
    groups |= dict.fromkeys(STOLEN, "copies")
    table = calibration.rank_errors(OWNER, STOLEN | INDEPENDENT, INDEPENDENT, groups, ROWS, 0.1)
    table = table.set_index("group")
    assert table["judged_by"].to_dict() == {"copies": 24, "group 0": 12, "group 1": 12}
    found = [verdict.by_rank(OWNER, s, INDEPENDENT, ROWS, 0.1).verdict for s in STOLEN.values()]
    share = found.count(DERIVATION) / 24
    assert table.loc["copies", "accused"].value == pytest.approx(share) and share > 0.5
    accused = [share.value for share in table["accused"]] * table["models"]
    counts = accused + table["no_evidence"] + table["not_decidable"]
    assert counts.tolist() == pytest.approx([24, 12, 12]) == table["models"].tolist()
