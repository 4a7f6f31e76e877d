"""Correlation matrices and distances against plain loops, and what leaves them alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score

from sacutils import correlation
from sacutils.correlation import cosine_matrix, distance, rbf_matrix, to_form


def outputs(
    probes: int | None = None, classes: int | None = None
) -> st.SearchStrategy[torch.Tensor]:
    """Logits, double precision, shape (probes, classes)."""
    sizes = st.tuples(
        st.integers(1, 8) if probes is None else st.just(probes),
        st.integers(2, 6) if classes is None else st.just(classes),
    )
    element = st.floats(-10, 10, width=32).map(lambda value: round(value, 3))
    return sizes.flatmap(lambda shape: arrays(np.float64, shape, elements=element)).map(
        torch.from_numpy
    )


def cosine_slowly(rows: list[list[float]]) -> list[list[float]]:
    def norm(row: list[float]) -> float:
        return math.sqrt(sum(value * value for value in row))

    matrix = [[0.0] * len(rows) for _ in rows]
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if i != j:
                dot = sum(x * y for x, y in zip(a, b, strict=True))
                cosine = dot / (norm(a) * norm(b)) if norm(a) * norm(b) > 0 else 0.0
                matrix[i][j] = (1 - cosine) / 2
    return matrix


def distance_slowly(one: list[list[float]], other: list[list[float]]) -> float:
    n = len(one)
    return sum(abs(one[i][j] - other[i][j]) for i in range(n) for j in range(n)) / n**2


def nonzero(made: torch.Tensor) -> bool:
    return bool((made.norm(dim=1) > 1e-2).all())


@given(outputs())
def test_cosine_matrix_against_loops(made):
    assume(nonzero(made))
    matrix = cosine_matrix(made)
    assert torch.allclose(
        matrix, torch.tensor(cosine_slowly(made.tolist()), dtype=torch.float64), atol=1e-9
    )
    assert torch.allclose(matrix, matrix.mT, atol=1e-15) and not matrix.diagonal().any()
    assert 0 <= matrix.min() and matrix.max() <= 1


@given(outputs())
def test_rbf_matrix_against_norms(made):
    assume(nonzero(made))
    unit = [[value / math.hypot(*row) for value in row] for row in made.tolist()]
    expected = [
        [math.exp(-sum((x - y) ** 2 for x, y in zip(a, b, strict=True))) for b in unit]
        for a in unit
    ]
    matrix = rbf_matrix(made)
    assert torch.allclose(matrix, torch.tensor(expected, dtype=torch.float64), atol=1e-9)
    assert (matrix.diagonal() == 1).all() and math.exp(-4) - 1e-12 <= matrix.min()


def test_opposite_and_zero_outputs():
    made = cosine_matrix(torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0], [0.0, 0.0]]))
    assert made[0].tolist() == [0.0, 1.0, 0.5, 0.5] and made.isfinite().all()


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(outputs(n), outputs(n))))
def test_distance_against_loops(pair):
    made = [cosine_matrix(one) for one in pair]
    expected = distance_slowly(*(one.tolist() for one in made))
    assert distance(*made).item() == pytest.approx(expected, abs=1e-12)


@given(st.tuples(outputs(5), outputs(5), outputs(5)))
def test_distance_is_a_distance(three):
    a, b, c = (cosine_matrix(one) for one in three)
    assert distance(a, b) == distance(b, a) and distance(a, a) == 0 and 0 <= distance(a, b) <= 1
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12


@given(
    st.tuples(outputs(6), outputs(6)),
    st.permutations(range(6)),
    st.sampled_from(list(correlation.CORRELATIONS)),
)
def test_order_of_the_probes_does_not_matter(pair, order, kind):
    a, b = (correlation.CORRELATIONS[kind](one) for one in pair)
    c, d = (correlation.CORRELATIONS[kind](one[list(order)]) for one in pair)
    assert torch.allclose(a[list(order)][:, list(order)], c, atol=1e-12)
    assert distance(a, b).item() == pytest.approx(distance(c, d).item(), abs=1e-12)


@given(outputs(5, 4), st.permutations(range(4)), st.sampled_from(list(correlation.FORMS)))
def test_order_of_the_classes_does_not_matter(made, order, form):
    made = (
        made + torch.arange(4) * 1e-4
    )  # no ties: a predicted label does depend on the order of equals
    permuted = made[:, list(order)]
    assert torch.allclose(
        cosine_matrix(to_form(made, form, made)),
        cosine_matrix(to_form(permuted, form, made)),
        atol=1e-12,
    )


@given(outputs(5), st.lists(st.floats(0.01, 100), min_size=5, max_size=5))
def test_scale_of_each_row_does_not_matter(made, scales):
    assume(nonzero(made))
    scaled = made * torch.tensor(scales, dtype=torch.float64)[:, None]
    assert torch.allclose(cosine_matrix(made), cosine_matrix(scaled), atol=1e-9)


@given(outputs(5), st.lists(st.floats(-50, 50), min_size=5, max_size=5))
def test_constant_of_each_row_matters_to_logits_only(made, constants):
    made = made + torch.arange(made.shape[1]) * 1e-4
    shifted = made + torch.tensor(constants, dtype=torch.float64)[:, None]
    for form in ("probabilities", "labels", "matched", "centred"):
        assert torch.allclose(to_form(made, form, made), to_form(shifted, form, made), atol=1e-9)


def test_constant_matters_to_logits():
    made = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert cosine_matrix(made)[0, 1] == 0.5
    assert cosine_matrix(made + 100)[0, 1] < 0.001


@given(st.tuples(outputs(7, 10), outputs(7, 10)))
def test_labels_give_a_constant_times_the_hamming_distance(pair):
    constant = cosine_slowly(
        [[math.exp(1)] + [math.exp(0.01)] * 9, [math.exp(0.01), math.exp(1)] + [math.exp(0.01)] * 8]
    )[0][1]
    assert constant == pytest.approx(0.0880, abs=5e-5)
    predicted = [[row.index(max(row)) for row in made.tolist()] for made in pair]
    differing = sum(
        (predicted[0][i] == predicted[0][j]) != (predicted[1][i] == predicted[1][j])
        for i in range(7)
        for j in range(7)
    )
    made = distance(*(cosine_matrix(to_form(one, "labels")) for one in pair))
    assert made.item() == pytest.approx(constant * differing / 49, abs=1e-9)


@given(outputs())
def test_forms_against_loops(made):
    assert to_form(made, "logits") is made
    for row, probabilities in zip(
        made.tolist(), to_form(made, "probabilities").tolist(), strict=True
    ):
        total = sum(math.exp(value) for value in row)
        assert probabilities == pytest.approx([math.exp(value) / total for value in row], rel=1e-6)
    for row, shown in zip(made.tolist(), to_form(made, "labels").tolist(), strict=True):
        assert (
            len(set(shown)) == 2
            and shown.index(max(shown)) == row.index(max(row))
            and sum(shown) == pytest.approx(1)
        )
        assert max(shown) / min(shown) == pytest.approx(math.exp(0.99))


def test_leading_dimensions_are_models():
    made = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = distance(cosine_matrix(made[0]), cosine_matrix(made))
    alone = [distance(cosine_matrix(made[0]), cosine_matrix(one)).item() for one in made]
    assert together.tolist() == pytest.approx(alone, abs=1e-12) and alone[0] == 0 < min(alone[1:])


def test_single_precision_is_enough_for_the_table():
    made = (
        torch.randn(2, 100, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        * 20
    )
    double = distance(*cosine_matrix(made)).item()
    assert distance(*cosine_matrix(made.float())).item() == pytest.approx(double, abs=1e-6)


def test_root_mean_square_against_loops():
    made = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, other = (cosine_slowly(part.tolist()) for part in made)
    squares = [(one[i][j] - other[i][j]) ** 2 for i in range(6) for j in range(6)]
    rms = correlation.rms_distance(*cosine_matrix(made)).item()
    assert rms == pytest.approx(math.sqrt(sum(squares) / 36)) and rms > distance(
        *cosine_matrix(made)
    )


def test_top_k_keeps_the_likeliest():
    made = correlation.top_k(torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]]), 2)
    assert torch.equal(made, torch.tensor([[0.0, 0.6, 0.3], [0.5, 0.0, 0.3]]))


def test_unknown_form_is_refused():
    accepted = "accepted are logits, probabilities, labels, matched, centred"
    with pytest.raises(ValueError, match=f"'scores'; {accepted}$"):
        to_form(torch.zeros(1, 2), "scores")
    with pytest.raises(ValueError, match=f"'matched'; {accepted}; matched needs the source's"):
        to_form(torch.zeros(1, 2), "matched")


def mean_top_slowly(rows: list[list[float]], temperature: float) -> float:
    tops = []
    for row in rows:
        largest = max(row)
        tops.append(1 / sum(math.exp((value - largest) / temperature) for value in row))
    return sum(tops) / len(tops)


def temperature_slowly(source: list[list[float]], suspect: list[list[float]]) -> float:
    """By halving an interval of log-temperatures."""
    target, low, high = mean_top_slowly(source, 1), math.log(1e-8), math.log(1e8)
    for _ in range(200):
        middle = (low + high) / 2
        if mean_top_slowly(suspect, math.exp(middle)) > target:
            low = middle
        else:
            high = middle
    return math.exp(low)


def separated(made: torch.Tensor) -> torch.Tensor:
    """Without ties, so that every mean top probability can be reached."""
    return made + torch.arange(made.shape[1]) * 1e-2


@given(outputs(6, 4), outputs(6, 5))
def test_matched_temperature_against_halving(source, suspect):
    source, suspect = separated(source), separated(suspect)
    assume(0.3 < mean_top_slowly(source.tolist(), 1) < 0.999)
    made = correlation.matched_temperature(source, suspect)
    assert made == pytest.approx(temperature_slowly(source.tolist(), suspect.tolist()), rel=1e-6)
    matched = to_form(suspect, "matched", source)
    top = source.softmax(1).amax(1).mean().item()
    assert matched.amax(1).mean().item() == pytest.approx(top, abs=1e-12)


@given(outputs(6, 4), outputs(6, 4), st.floats(0.2, 5))
def test_no_temperature_of_the_service_changes_matched_and_centred(source, suspect, temperature):
    source, suspect = separated(source), separated(suspect)
    served = suspect / temperature
    for form in ("matched", "centred"):
        theirs = cosine_matrix(to_form(source, form, source))
        one, other = (cosine_matrix(to_form(z, form, source)) for z in (suspect, served))
        assert torch.allclose(one, other, atol=1e-9)
        assert abs(distance(theirs, one) - distance(theirs, other)) < 1e-9


def test_a_temperature_changes_the_distance_on_probabilities_only():
    """A service that answers softmax(z / 2), known by its probabilities alone."""
    generator = torch.Generator().manual_seed(0)
    source = 3 * torch.randn(50, 10, dtype=torch.float64, generator=generator)
    suspect = source + torch.randn(50, 10, dtype=torch.float64, generator=generator)
    served = correlation.log_probabilities((suspect / 2).softmax(1))
    assert torch.equal(served.argmax(1), suspect.argmax(1))

    def distances(form: str) -> list[float]:
        theirs = cosine_matrix(to_form(source, form, source))
        return [
            distance(theirs, cosine_matrix(to_form(z, form, source))).item()
            for z in (suspect, served)
        ]

    for form in ("matched", "centred", "labels"):
        one, other = distances(form)
        assert one == pytest.approx(other, abs=1e-9)
    one, other = distances("probabilities")
    assert other > 1.5 * one


def test_own_temperature_is_one_and_ends_are_taken_where_no_temperature_fits():
    made = separated(torch.randn(20, 4, dtype=torch.float64).mul(2))
    assert correlation.matched_temperature(made, made) == pytest.approx(1, abs=1e-9)
    tied = torch.zeros(20, 4, dtype=torch.float64)
    assert correlation.matched_temperature(made, tied) == correlation.COLDEST
    assert correlation.matched_temperature(tied, made) == 1 / correlation.COLDEST


def test_zero_probabilities_have_the_logarithm_of_the_floor():
    made = correlation.log_probabilities(torch.tensor([[1.0, 0.0], [0.25, 0.75]]).double())
    expected = [0.0, math.log(1e-12), math.log(0.25), math.log(0.75)]
    assert made.flatten().tolist() == pytest.approx(expected)


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=12))
def test_error_consistency_is_cohens_kappa_of_being_wrong(rows):
    truth, source, suspect = torch.tensor(rows).T
    wrong = [(labels != truth).tolist() for labels in (source, suspect)]
    made = correlation.error_consistency(truth, source, suspect).item()
    if all(0 < sum(one) < len(rows) for one in wrong):
        assert made == pytest.approx(cohen_kappa_score(*wrong))
    else:
        assert made == 0
