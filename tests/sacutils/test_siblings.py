"""The sibling test against plain loops, what leaves it alone, and how often it accuses wrongly."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from sacutils import siblings
from sacutils.siblings import (
    contested,
    control_residuals,
    disagreement,
    residuals,
    scores,
    sibling_test,
    upper_tail,
    verdict,
)


def simulated(seed: int, draws: int, k: int = 12, q: int = 18, suspects: int = 1):
    """Scores of suspects (draws, suspects, m) and controls (draws, q, m), none made from a member.

    Each member agrees with anybody by an offset of its own and with a style by a slope of its own;
    these are drawn alike for all members, so that they are exchangeable.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(draws, *shape, generator=generator, dtype=torch.float64)

    models, m = suspects + q, k + 1
    style = normal(models, 1)
    offset, slope = 0.03 * normal(1, m), 0.05 * normal(1, m)
    made = -0.6 + 0.1 * style + offset + slope * style + 0.03 * normal(models, m)
    return made[:, :suspects], made[:, suspects:]


def one_owner(seed: int, **sizes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Suspects (3, m) and controls (q, m)."""
    suspects, controls = simulated(seed, 1, suspects=3, **sizes)
    return suspects[0], controls[0]


seeds = st.integers(0, 10_000)
labels = st.tuples(st.integers(1, 6), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 3))
)


# The procedure once more, in loops.


def conjudged_slowly(labels: list[list[int]], count: int) -> list[int]:
    columns = [[row[x] for row in labels] for x in range(len(labels[0]))]
    shares = [max(column.count(y) for y in column) / len(column) for column in columns]
    return sorted(range(len(columns)), key=lambda x: (shares[x], x))[:count]


def residual_slowly(suspect: np.ndarray, controls: np.ndarray, j: int, ridge: float) -> float:
    others = [i for i in range(len(suspect)) if i != j]

    def mean(row: np.ndarray) -> float:
        return sum(row[o] for o in others) / len(others)

    def deviations(row: np.ndarray) -> list[float]:
        return [row[i] - mean(row) for i in others]

    q = len(controls)
    a = np.array([row[j] - mean(row) for row in controls])
    means = np.array([mean(row) for row in controls])
    apart = np.array([deviations(row) for row in controls])
    sd = math.sqrt(((apart - apart.mean(0)) ** 2).mean())
    z = np.column_stack([(means - means.mean()) / means.std(), (apart - apart.mean(0)) / sd])
    b = np.linalg.inv(z.T @ z + ridge * q * np.eye(z.shape[1])) @ z.T @ a
    first = (mean(suspect) - means.mean()) / means.std()
    rest = (np.array(deviations(suspect)) - apart.mean(0)) / sd
    return suspect[j] - mean(suspect) - a.mean() - float(np.array([first, *rest]) @ b)


def tail_slowly(value: float, sample: list[float]) -> float:
    n, centre = len(sample), sum(sample) / len(sample)
    sd = math.sqrt(sum((x - centre) ** 2 for x in sample) / (n - 1))
    return 1 - stats.t.cdf((value - centre) / (sd * math.sqrt(1 + 1 / n)), n - 1)


def judged_slowly(suspect: np.ndarray, controls: np.ndarray, j: int) -> list[float]:
    r = [residual_slowly(suspect, controls, i, 1.0) for i in range(len(suspect))]
    mine = r.pop(j)
    among = [
        residual_slowly(row, np.delete(controls, i, 0), j, 1.0) for i, row in enumerate(controls)
    ]
    p_siblings, p_controls = tail_slowly(mine, r), tail_slowly(mine, among)
    rank_p = (1 + sum(x >= mine for x in r)) / (1 + len(r))
    return [p_siblings, rank_p, p_controls, max(p_siblings, p_controls)]


@given(labels, st.randoms())
def test_contested_against_loops_and_its_invariances(made, random):
    count = random.randint(1, made.shape[1])
    chosen = contested(torch.from_numpy(made), count).tolist()
    assert chosen == conjudged_slowly(made.tolist(), count)
    order = random.sample(range(len(made)), len(made))
    names = np.array(random.sample(range(100), 4))
    assert torch.equal(
        disagreement(torch.from_numpy(made)), disagreement(torch.from_numpy(names[made][order]))
    )


@given(seeds)
def test_scores_against_loops(seed):
    generator = torch.Generator().manual_seed(seed)
    log_p = (4 * torch.randn(3, 5, 4, generator=generator, dtype=torch.float64)).log_softmax(-1)
    answers = torch.randint(4, (2, 5), generator=generator)
    expected = [
        [np.mean([max(float(p[x, y]), -3) for x, y in enumerate(row)]) for p in log_p]
        for row in answers.tolist()
    ]
    made = scores(log_p, answers)
    assert torch.allclose(made, torch.tensor(expected, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(scores(log_p, answers[0]), made[0], atol=1e-12)
    # Probabilities: the same for one-hot ones, the mixture of both for a mixture.
    hot = torch.nn.functional.one_hot(answers, 4).double()
    assert torch.allclose(scores(log_p, hot), made, atol=1e-12)
    mixture = 0.3 * made[0] + 0.7 * made[1]
    assert torch.allclose(scores(log_p, 0.3 * hot[0] + 0.7 * hot[1]), mixture, atol=1e-12)


@pytest.mark.parametrize("ridge", [1.0, 0.2])
def test_residuals_against_loops(ridge):
    suspects, controls = one_owner(1, k=4, q=6)
    expected = [
        [residual_slowly(row, controls.numpy(), j, ridge) for j in range(5)]
        for row in suspects.numpy()
    ]
    made = residuals(suspects, controls, ridge)
    assert torch.allclose(made, torch.tensor(expected, dtype=torch.float64), atol=1e-10, rtol=0)


def test_sibling_test_against_loops_for_every_member():
    suspects, controls = one_owner(2, k=5, q=7)
    suspects[0, 0] += 0.2
    at_once = sibling_test(suspects, controls, member=None)
    for j in range(6):
        rows = [judged_slowly(row, controls.numpy(), j) for row in suspects.numpy()]
        expected = torch.tensor(rows, dtype=torch.float64).T
        made = torch.stack(sibling_test(suspects, controls, j))
        assert torch.allclose(made, expected, atol=1e-10, rtol=0)
        assert torch.equal(torch.stack(at_once)[..., j], made)


def test_batches_of_owners_are_judged_one_by_one():
    suspects, controls = simulated(3, 4, k=4, q=6)
    together = torch.stack(sibling_test(suspects[:, 0], controls))
    alone = [torch.stack(sibling_test(s[0], c)) for s, c in zip(suspects, controls, strict=True)]
    assert torch.allclose(together, torch.stack(alone, -1), atol=1e-12)


@given(seeds, st.permutations(range(1, 5)))
def test_order_of_siblings_does_not_matter(seed, order):
    suspects, controls = one_owner(seed, k=4, q=6)
    columns = [0, *order]
    for one, other in zip(
        sibling_test(suspects, controls),
        sibling_test(suspects[:, columns], controls[:, columns]),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-9)


@given(seeds, st.integers(1, 4))
def test_swapping_the_source_with_a_sibling_swaps_their_results(seed, j):
    suspects, controls = one_owner(seed, k=4, q=6)
    columns = torch.arange(5)
    columns[[0, j]] = columns[[j, 0]]
    swapped = torch.stack(sibling_test(suspects[:, columns], controls[:, columns], None))
    made = torch.stack(sibling_test(suspects, controls, None))
    assert torch.allclose(swapped, made[..., columns], atol=1e-9)


@given(seeds, st.floats(0.1, 10))
def test_a_members_habit_and_the_unit_of_scores_do_not_matter(seed, unit):
    suspects, controls = one_owner(seed, k=4, q=6)
    habit = torch.linspace(-1, 1, 5, dtype=torch.float64)[[3, 0, 4, 1, 2]]
    made = torch.stack(sibling_test(unit * (suspects + habit), unit * (controls + habit)))
    assert torch.allclose(made, torch.stack(sibling_test(suspects, controls)), atol=1e-9)


@given(seeds, st.floats(-1, 1))
def test_a_suspects_level_matters_only_through_the_regression(seed, level):
    suspects, controls = one_owner(seed, k=4, q=6)
    plain = residuals(suspects, controls, ridge=1e12)
    assert torch.allclose(residuals(suspects + level, controls, ridge=1e12), plain, atol=1e-9)
    # The controls' slopes differ between members, so that with a ridge of 1 the level counts.
    moved = residuals(suspects + 1, controls) - residuals(suspects, controls)
    assert moved.std(-1).min() > 1e-4


@given(seeds)
def test_a_suspect_is_judged_by_itself(seed):
    suspects, controls = one_owner(seed, k=4, q=6)
    suspects[1] = controls[0]
    suspects[2, 0] += 1
    alone = torch.stack(sibling_test(suspects[0], controls))
    assert torch.allclose(torch.stack(sibling_test(suspects, controls))[:, 0], alone, atol=1e-12)


def test_a_higher_score_of_the_source_never_saves_the_suspect():
    suspects, controls = simulated(4, 100)
    rise = torch.linspace(0, 0.5, 51, dtype=torch.float64)
    raised = suspects.expand(-1, 51, -1).clone()
    raised[..., 0] += rise
    for owner, row in zip(controls, raised, strict=True):
        made = sibling_test(row, owner)
        assert (made.p_controls.diff() <= 1e-12).all()
        # Raising a score moves the siblings' residuals as well, so that p_siblings may move a
        # little in the far tail; an accusation once made stands.
        assert ((made.p_siblings <= 0.01).int().diff() >= 0).all()
        assert made.p_siblings.diff().max() < 1e-4 and made.p_siblings[-1] < 1e-3
    sample = controls[:, 0, 1:]
    assert (upper_tail(rise[:, None], sample).diff(dim=0) <= 0).all()


def test_wrong_accusations_of_exchangeable_members_keep_the_level():
    suspects, controls = simulated(5, 6000)
    r = residuals(suspects[:, 0], controls)
    p_siblings = upper_tail(r[:, 0], r[:, 1:])
    for alpha in (0.01, 0.05, 0.2):
        error = math.sqrt(alpha * (1 - alpha) / len(r))
        assert (p_siblings <= alpha).double().mean() <= alpha + 3 * error


def test_every_rank_of_exchangeable_members_has_the_same_chance():
    suspects, controls = simulated(6, 2000, q=4)
    made = sibling_test(suspects[:, 0], controls)
    counts = torch.bincount((13 * made.rank_p).round().long(), minlength=14)
    assert counts[0] == 0 and stats.chisquare(counts[1:].numpy()).pvalue > 0.001
    assert (made.p <= 0.05).double().mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_derivatives_are_found():
    suspects, controls = simulated(7, 100)
    suspects[:, 0, 0] += 0.15
    p = sibling_test(suspects[:, 0], controls).p
    assert (p <= 0.01).double().mean() > 0.8


def test_members_or_controls_that_do_not_differ_accuse_nobody():
    assert upper_tail(torch.tensor(1.0), torch.zeros(5)).item() == 1
    suspects, controls = one_owner(8, k=4, q=6)
    with pytest.raises(ValueError, match="do not differ"):
        residuals(suspects, controls[:1].expand(6, -1))


def test_words():
    assert verdict(0.01, 0.01, 12, 10) == siblings.DERIVATION
    assert verdict(0.011, 0.01, 19, 18) == siblings.NO_EVIDENCE
    assert verdict(1e-9, 0.01, 11, 18) == verdict(0.5, 0.01, 19, 9) == siblings.NOT_DECIDABLE
    for p, alpha in ((math.nan, 0.01), (1.5, 0.01), (0.5, 0.0), (0.5, 1.0)):
        with pytest.raises(ValueError, match="accepted"):
            verdict(p, alpha, 19, 18)


def test_bad_input_is_refused():
    suspects, controls = one_owner(9, k=4, q=6)
    broken = controls.clone()
    broken[0, 0] = math.nan
    for arguments, words in (
        ((suspects[:, :4], controls), r"\(3, 4\)"),
        ((suspects, controls[0]), "controls"),
        ((suspects, controls[:1]), "2 or more controls"),
        ((suspects[:, :2], controls[:, :2]), "3 or more members"),
        ((suspects, broken), "finite"),
        ((suspects / 0, controls), "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            residuals(*arguments)
    with pytest.raises(ValueError, match="3 or more"):
        control_residuals(controls[:2])
    for made, count in ((torch.zeros(4), 1), (torch.zeros(2, 4), 0), (torch.zeros(2, 4), 5)):
        with pytest.raises(ValueError, match=r"shape|count"):
            contested(made, count)


def test_bad_scores_are_refused():
    log_p = torch.zeros(2, 5, 4, dtype=torch.float64).log_softmax(-1)
    hot = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 0]]
    for members, answers in (
        (log_p + 1, hot),
        (log_p * math.nan, hot),
        (log_p[0], hot),
        (log_p, hot[:4]),
        (log_p, hot[:, :3]),
        (log_p, hot * 0.9),
        (log_p, hot * math.nan),
        (log_p, 2 * hot - 0.25),
        (log_p, torch.tensor([0, 1, 2, 3, 4])),
        (log_p, torch.tensor([0, 1, 2, 3, -1])),
        (log_p, torch.tensor([0, 1, 2, 3])),
    ):
        with pytest.raises(ValueError, match=r"log_probabilities|answers"):
            scores(members, answers)
