"""The probe sets."""

import math
import statistics

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sacutils import corruptions, probes
from sacutils.data import Images
from sacutils.run import Run


@pytest.fixture
def split(run: Run) -> Images:
    return run.material.splits["probe"]


def test_normal_takes_the_first_images(split, refused):
    made = probes.normal(split, 20)
    assert torch.equal(made.pixels, split.pixels[:20]) and made.index.tolist() == list(range(20))
    refused(lambda: probes.normal(split, 301), "probes.count", "301", "300", "splits.probe")


@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 1000))
def test_wrong_takes_the_first_that_all_models_misclassify(models, n, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=generator)
    predictions = torch.randint(0, 3, (models, n), generator=generator)
    images = Images(torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1), labels)
    expected = [i for i in range(n) if all(predictions[m, i] != labels[i] for m in range(models))]
    for count in {1, max(1, len(expected) // 2), len(expected)} & set(range(1, len(expected) + 1)):
        made = probes.wrong(images, predictions, count)
        assert made.index.tolist() == made.pixels.flatten().tolist() == expected[:count]


@pytest.mark.parametrize(
    ("models", "words"),
    [(1, "the source misclassify"), (3, "the source and its 2 surrogates misclassify")],
)
def test_too_few_misclassified_images_are_refused(split, refused, models, words):
    predictions = split.labels.repeat(models, 1)
    predictions[:, 3:7] += 1
    assert probes.wrong(split, predictions, 4).index.tolist() == [3, 4, 5, 6]
    refused(
        lambda: probes.wrong(split, predictions, 5),
        "probes.count",
        "asks for 5",
        "only 4",
        words,
        "splits.probe",
    )


def test_corner_patch_of_the_released_code():
    # side ratio 0.2 of 32 is six pixels, the centre lies in the first sixth
    boxes = {
        probes.patch_box(32, 0.2, "corner", torch.Generator().manual_seed(seed))
        for seed in range(200)
    }
    assert {side for _, _, side in boxes} == {6}
    assert {top for top, _, _ in boxes} == {left for _, left, _ in boxes} == {0, 1}


def test_other_patches():
    def boxes(position: str) -> set[tuple[int, int, int]]:
        return {
            probes.patch_box(32, 0.25, position, torch.Generator().manual_seed(seed))
            for seed in range(300)
        }

    assert boxes("centre") == {(12, 12, 8)}
    tops, lefts, sides = (set(values) for values in zip(*boxes("random"), strict=True))
    assert sides == {8} and tops == lefts == set(range(25))


@given(
    st.integers(8, 64),
    st.floats(0.01, 0.99),
    st.sampled_from(["corner", "centre", "random"]),
    st.integers(0, 99),
)
def test_patch_lies_inside_the_image(size, ratio, position, seed):
    top, left, side = probes.patch_box(size, ratio, position, torch.Generator().manual_seed(seed))
    assert (
        side == max(1, int(size * ratio)) and 0 <= top <= size - side and 0 <= left <= size - side
    )


@pytest.mark.parametrize("position", ["corner", "centre", "random"])
def test_cutmix_pastes_one_box_of_a_permutation(position):
    pixels = torch.randint(0, 256, (30, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    split = Images(pixels, torch.zeros(30, dtype=torch.int64))
    made = probes.cutmix(split, 20, 0.4, position, 5)
    top, left, side = probes.patch_box(16, 0.4, position, torch.Generator().manual_seed(5))
    donors = []
    for i in range(20):
        for y in range(16):
            for x in range(16):
                inside = top <= y < top + side and left <= x < left + side
                if not inside:
                    assert torch.equal(made.pixels[i, :, y, x], pixels[i, :, y, x])
        patch = made.pixels[i, :, top : top + side, left : left + side]
        donors += [
            j
            for j in range(20)
            if torch.equal(patch, pixels[j, :, top : top + side, left : left + side])
        ]
    assert sorted(donors) == list(range(20)) and donors != list(range(20))
    assert made.index.tolist() == list(range(20))


def test_cutmix_depends_on_its_seed_and_leaves_the_split(split):
    before = split.pixels.clone()
    one, again, other = (probes.cutmix(split, 20, 0.2, "random", seed).pixels for seed in (0, 0, 1))
    assert (
        torch.equal(one, again)
        and not torch.equal(one, other)
        and torch.equal(split.pixels, before)
    )


def test_compressed_uses_the_quality_of_the_severity(split):
    qualities = [25, 18, 15, 10, 7]
    for severity in range(1, 6):
        made = probes.compressed(split, 10, severity)
        assert torch.equal(
            made.pixels, corruptions.jpeg(split.pixels[:10], qualities[severity - 1])
        )
        assert made.index.tolist() == list(range(10))


def test_wide_patch_is_half_the_image_and_in_its_middle(run, split):
    made = probes.make("wide", split, [], run.profile.probes, 3)
    donors = probes.cutmix(split, run.profile.probes.count, 0.5, "centre", 3).pixels
    assert torch.equal(made.pixels, donors)
    differs = (made.pixels != split.pixels[made.index]).any(0).any(0)
    assert differs.any() and not differs[:4].any() and not differs[12:].any()
    assert not differs[:, :4].any() and not differs[:, 12:].any()


def test_pool_has_four_views_of_each_image():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 256, (12, 2, 6, 6), generator=generator).to(torch.uint8)
    made = probes.pool(Images(pixels, torch.zeros(12, dtype=torch.int64)), 5)
    plain, shifted, half, blend = made.pixels.split(12)
    assert made.index.tolist() == 4 * list(range(12)) and torch.equal(plain, pixels)
    donors = [
        next(j for j in range(12) if torch.equal(half[i, ..., 3:], pixels[j, ..., 3:]))
        for i in range(12)
    ]
    assert sorted(donors) == list(range(12)) != donors
    assert torch.equal(half[..., :3], pixels[..., :3])
    assert torch.equal(blend.int(), (pixels.int() + pixels[donors].int()) // 2)
    for image, view in zip(pixels, shifted, strict=True):
        moved = [
            F.pad(each, (2, 2, 2, 2))[:, y : y + 6, x : x + 6]
            for each in (image, image.flip(2))
            for y in range(5)
            for x in range(5)
        ]
        assert any(torch.equal(view, one) for one in moved)
    assert not torch.equal(shifted, pixels)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
def test_contrast_scores_against_loops(copies, others, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (7,), generator=generator)
    shares = [
        torch.rand(models, 7, 3, dtype=torch.float64, generator=generator).softmax(2)
        for models in (copies, others)
    ]
    made = probes.contrast_scores(labels, *shares)
    for i, label in enumerate(labels.tolist()):
        one, two = ([model[i][label] for model in part.tolist()] for part in shares)
        spread = statistics.pvariance(one) + statistics.pvariance(two) + 0.02
        expected = (statistics.mean(one) - statistics.mean(two)) / math.sqrt(spread)
        assert made[i].item() == pytest.approx(expected)


def test_contrast_takes_what_copies_repeat_and_others_do_not(refused):
    candidates = probes.Probes(torch.arange(4, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    made = probes.contrast(candidates, torch.tensor([0.5, 2.0, 0.5, 1.0]), 3)
    assert made.pixels.tolist() == [1, 3, 0] and made.index.tolist() == [1, 1, 0]
    scores = torch.zeros(4)
    refused(lambda: probes.contrast(candidates, scores, 5), "asks for 5", "only 4 candidates")
