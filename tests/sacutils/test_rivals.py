"""The rivals: their queries, their numbers against plain loops, and models where the answer
is known.
"""

import copy
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import Ridge
from sklearn.metrics import mutual_info_score
from torch import nn

from sacutils import rivals
from sacutils.data import to_float
from sacutils.profiles import Watermark
from sacutils.rivals import cae, dataset_inference, ewe, fbi, ipguard, labels, modeldiff, zest
from sacutils.rivals.kinds import HELPERS, Queries, Setting, candidates
from sacutils.training import logits_of
from tests.conftest import same, state

COUNT = 20
RIVALS = {name: rivals.rival(name) for name in rivals.NAMES}
EXACT = [name for name in RIVALS if name not in ("EWE", "Dataset Inference")]
"""Rivals under which a copy of the source is at distance 0."""
WATERMARK = Watermark.model_construct(source_class=1, target_class=8, size=3)


@pytest.fixture(scope="module")
def setting(run, source) -> Setting:
    helpers = ([run.zoo.get(name) for name in run.names(*kind)] for kind in HELPERS.values())
    splits = run.material.splits
    return Setting(source, *helpers, splits["probe"], splits["owner"], 0, WATERMARK)


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    """IPGuard's margin is out of this small source's reach, however many steps it has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipguard, "STEPS", 60)
        yield


@pytest.fixture(scope="module")
def made(setting) -> dict[str, Queries]:
    """Every rival's queries."""
    return {name: rival.queries(setting, COUNT) for name, rival in RIVALS.items()}


def answers(model: nn.Module, queries: Queries) -> torch.Tensor:
    """Logits, one probe at a time."""
    return torch.stack([logits_of(model, pixels) for pixels in queries.pixels]).double()


def judge(name: str, queries: Queries, source: nn.Module, suspect: nn.Module) -> float:
    given = (answers(model, queries) for model in (source, suspect))
    return float(RIVALS[name].distance(*given, queries.extra))


def logits(*shape: int) -> st.SearchStrategy[torch.Tensor]:
    """Logits, double precision, no two equal in a row."""
    element = st.floats(-10, 10, width=32).map(lambda value: round(value, 2))
    ties = torch.arange(shape[-1]) * 1e-4
    return arrays(np.float64, shape, elements=element).map(
        lambda values: torch.from_numpy(values) + ties
    )


def from_labels(labels: list[int], classes: int = 10) -> torch.Tensor:
    """Logits of one query per probe with these predicted labels."""
    return torch.nn.functional.one_hot(torch.tensor(labels), classes).double()[:, None]


labelling = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=30)


# All of them


def test_the_table_of_rivals():
    papers = [name for name in RIVALS if "(" not in name]
    assert papers == "Random,AKH,IPGuard,CAE,EWE,ModelDiff,FBI,Zest,Dataset Inference".split(",")
    again = [name for name in RIVALS if "(" in name]
    assert again == ["IPGuard (QuRD)", "FBI (QuRD)", "Zest (equal queries)"]
    for name, rival in RIVALS.items():
        assert rival.name == name and rivals.code(name).startswith(f"rivals.{rivals.NAMES[name]}.")
        assert rival.form in ("labels", "ranked labels", "probabilities")
        assert rival.access in ("none", "answers", "gradients", "training")
        assert (rival.access == "training") == (name in rivals.NEEDS) == (name == "EWE")
        assert rival.helpers == (("surrogates", "choosers") if name == "CAE" else ())
    assert rivals.slug("Zest (equal queries)") == "zest-equal-queries"


def test_names_are_cheap():
    code = "import sys, sacutils.rivals as r; print(len(r.NAMES), *sorted(sys.modules))"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert loaded[0] == "12" and "sacutils.rivals" in loaded
    assert not {"torch", "numpy", "sacutils.rivals.zest"} & set(loaded)


def test_only_a_full_run_with_a_watermarked_source_measures_ewe(run):
    rest = [name for name in RIVALS if name != "EWE"]
    without = {key: value for key, value in run.profile.variants.items() if key != "watermarked"}
    for update, expected in (
        ({}, list(RIVALS)),
        ({"full": False}, rest),
        ({"variants": without}, rest),
    ):
        assert rivals.measurable(run.profile.model_copy(update=update)) == expected


@pytest.mark.parametrize("name", RIVALS)
def test_queries_are_bytes_and_repeatable_and_leave_the_models_alone(name, setting, made):
    pixels, extra = made[name]
    per = {
        "ModelDiff": 2,
        "Zest": zest.MASKS,
        "Zest (equal queries)": COUNT,
        "Dataset Inference": 1 + 3 * dataset_inference.STEPS,
    }.get(name, 1)
    probes = {"ModelDiff": COUNT // 2, "Zest (equal queries)": 1}.get(name, COUNT)
    assert pixels.dtype == torch.uint8 and pixels.shape == (probes, per, 1, 16, 16)
    assert all(len(value) in (1, probes) and value.device.type == "cpu" for value in extra.values())
    models = [setting.source, *setting.surrogates, *setting.choosers]
    before = [state(model) for model in models]
    again = RIVALS[name].queries(setting, COUNT)
    assert torch.equal(again.pixels, pixels) and same(again.extra, extra)
    assert all(
        same(state(model), old) and not model.training
        for model, old in zip(models, before, strict=True)
    )
    assert all(parameter.grad is None for model in models for parameter in model.parameters())


@pytest.mark.parametrize("name", [name for name in RIVALS if name != "Zest (equal queries)"])
def test_the_first_probes_are_a_fingerprint_of_their_own(name, run, setting, made):
    suspect = run.zoo.get("independent(resnet_s)#0")
    queries, part = made[name], made[name].first(6)
    assert len(part.pixels) == 6 and part.pixels.shape[1:] == queries.pixels.shape[1:]
    for key, value in part.extra.items():
        assert torch.equal(value, queries.extra[key][:6]) and len(value) == min(
            6, len(queries.extra[key])
        )
    theirs, its = (answers(model, queries)[:6] for model in (setting.source, suspect))
    expected = float(RIVALS[name].distance(theirs, its, part.extra))
    assert judge(name, part, setting.source, suspect) == expected
    assert torch.equal(queries.first(6).first(3).pixels, queries.first(3).pixels)


@pytest.mark.parametrize("name", EXACT)
def test_a_copy_is_at_distance_zero_and_an_independent_model_is_not(name, run, setting, made):
    copied = judge(name, made[name], setting.source, copy.deepcopy(setting.source))
    assert copied == pytest.approx(0, abs=1e-12)
    for other in run.names("independent"):
        assert judge(name, made[name], setting.source, run.zoo.get(other)) > 0.04


@pytest.mark.parametrize("name", ["AKH", "IPGuard", "CAE", "ModelDiff", "Zest"])
def test_a_fine_tuned_source_is_nearer_than_an_independent_model(name, run, setting, made):
    tuned, other = (
        np.mean(
            [
                judge(name, made[name], setting.source, run.zoo.get(each))
                for each in run.names(*steps)
            ]
        )
        for steps in (("finetune_all", "finetune_last"), ("independent", "independent_owner"))
    )
    assert tuned < 0.8 * other


@pytest.mark.parametrize("name", [name for name, rival in RIVALS.items() if rival.new_labels])
def test_suspects_with_other_classes_can_be_judged(name, made):
    generator = torch.Generator().manual_seed(0)
    n, per = made[name].pixels.shape[:2]
    theirs, its = (
        torch.randn(n, per, classes, dtype=torch.float64, generator=generator)
        for classes in (10, 7)
    )
    assert math.isfinite(RIVALS[name].distance(theirs, its, made[name].extra))


@pytest.mark.parametrize("name", RIVALS)
def test_too_many_probes_are_refused(name, setting, refused):
    refused(lambda: RIVALS[name].queries(setting, 50_000), "probes.count")


# Labels


@given(logits(7, 1, 4), logits(7, 1, 4))
def test_label_distance_against_loops(one, other):
    predicted = [[row.index(max(row)) for (row,) in made.tolist()] for made in (one, other)]
    unequal = sum(a != b for a, b in zip(*predicted, strict=True))
    value = labels.distance(one, other, {})
    assert value.item() == pytest.approx(unequal / 7) and value == labels.distance(other, one, {})
    assert labels.distance(one, one, {}) == 0


def test_random_and_akh_take_the_first_of_the_split(setting, made):
    assert torch.equal(made["Random"].pixels[:, 0], setting.probe.pixels[:COUNT])
    assert torch.equal(made["FBI"].pixels, made["Random"].pixels)
    wrong = logits_of(setting.source, setting.probe.pixels).argmax(1) != setting.probe.labels
    assert torch.equal(made["AKH"].pixels[:, 0], setting.probe.pixels[wrong][:COUNT])


@given(logits(4, 5), st.lists(st.permutations(range(5)), min_size=4, max_size=4))
def test_ipguard_loss_against_loops(made, orders):
    label, target = (torch.tensor([order[k] for order in orders]) for k in (0, 1))
    expected = []
    for row, (i, j, *rest) in zip(made.tolist(), orders, strict=True):
        others = max(row[t] for t in rest)
        expected.append(max(0, row[i] - row[j] + 10) + max(0, others - min(row[i], row[j])))
    assert ipguard.boundary_loss(made, label, target).tolist() == pytest.approx(expected)


def test_ipguard_stops_just_behind_the_boundary_as_qurd_has_it(setting, made):
    pixels, extra = made["IPGuard (QuRD)"]
    answers = logits_of(setting.source, pixels[:, 0])
    begun = candidates(setting, COUNT)
    assert torch.equal(logits_of(setting.source, begun.pixels).argmax(1), begun.labels)
    moved = (pixels.int() - begun.pixels[None].int()).abs().flatten(2).double().mean(2)
    label = begun.labels[moved.argmin(1)]
    assert extra["arrived"].all() and (answers.argmax(1) != label).all()
    # the source is torn between its first two choices, not sure as it is of the images at the start
    margins = [
        values.topk(2).values.diff().abs().median()
        for values in (answers, logits_of(setting.source, begun.pixels))
    ]
    assert margins[0] < 0.3 * margins[1]


def test_ipguard_fills_up_with_images_that_did_not_cross(setting, monkeypatch):
    monkeypatch.setattr(ipguard, "STEPS", 8)
    arrived = ipguard.queries(setting, COUNT, crossing=True).extra["arrived"]
    assert 0 < arrived.sum() < COUNT and arrived.tolist() == sorted(arrived.tolist(), reverse=True)


@pytest.mark.parametrize("margin", [0.05, 0.5])
def test_ipguard_goes_as_far_behind_the_boundary_as_its_margin(setting, monkeypatch, margin):
    monkeypatch.setattr(ipguard, "MARGIN", margin)
    monkeypatch.setattr(ipguard, "STEPS", 300)
    pixels, extra = ipguard.queries(setting, 5)
    answers = logits_of(setting.source, pixels[:, 0][extra["arrived"]]).topk(2).values
    gap = (answers[:, 0] - answers[:, 1]).double()
    assert len(gap) >= 3 and (gap > margin - 1e-4).all()


def test_queries_of_ipguard_that_arrived_show_their_margin(setting, made):
    """Without a margin that can be reached, none has arrived, and the fingerprint says so."""
    assert not made["IPGuard"].extra["arrived"].any()
    assert made["IPGuard (QuRD)"].extra["arrived"].all()


@given(*(arrays(np.int64, shape, elements=st.integers(0, 2)) for shape in (6, (3, 6), (4, 6))))
def test_conferrability_against_loops(label, surrogates, choosers):
    made = cae.conferrability(*map(torch.from_numpy, (label, surrogates, choosers)))
    for k, value in enumerate(made.tolist()):
        follow = sum(model[k] == label[k] for model in surrogates) / 3
        stay = sum(model[k] != label[k] for model in choosers) / 4
        assert value == pytest.approx(follow * stay)


@given(logits(4, 3, 5))
def test_cae_loss_against_loops(made):
    source, clean = made[:2].log_softmax(-1)
    surrogates, choosers = made[2].softmax(-1), made[3].softmax(-1)
    expected = []
    for k in range(3):
        m, original = source[k].exp().tolist(), clean[k].exp().tolist()
        s, r = surrogates[k].tolist(), choosers[k].tolist()
        best = max(s[t] * (1 - r[t]) for t in range(5) if t != original.index(max(original)))
        leave = -sum(p * math.log(q) for p, q in zip(original, m, strict=True))
        follow = -sum(p * math.log(q) for p, q in zip(m, s, strict=True))
        expected.append(-math.log(best) - leave + follow)
    assert cae.conferrable_loss(source, clean, surrogates, choosers).tolist() == pytest.approx(
        expected, rel=1e-6, abs=1e-6
    )


def test_conferrable_examples(setting, made):
    pixels, extra = made["CAE"]
    begun = candidates(setting, COUNT)
    reach = (pixels.int() - begun.pixels[None].int()).abs().flatten(2).amax(2)
    assert (reach.min(1).values <= 0.15 * 255 + 0.5).all()
    label, surrogates, choosers = (
        torch.stack([logits_of(model, pixels[:, 0]).argmax(1) for model in models])
        for models in ([setting.source], setting.surrogates, setting.choosers)
    )
    adversarial = label[0] != begun.labels[reach.argmin(1)]
    assert torch.equal(
        extra["conferrability"], cae.conferrability(label[0], surrogates, choosers) * adversarial
    )
    assert extra["conferrability"].tolist() == sorted(
        extra["conferrability"].tolist(), reverse=True
    )
    assert torch.equal(extra["passed"], extra["conferrability"] >= 0.85) and extra["passed"].any()


def test_dropout_leaves_at_least_one_model():
    class Constant(nn.Module):
        def __init__(self, label: int):
            super().__init__()
            self.label = label

        def forward(self, x):
            return torch.eye(4)[self.label].repeat(len(x), 1) * 100

    generator = torch.Generator().manual_seed(0)
    means = torch.stack(
        [
            cae.mean_probabilities([Constant(k) for k in range(3)], torch.zeros(1, 1), generator)[0]
            for _ in range(300)
        ]
    )
    kept = means > 0.01
    assert kept.any(1).all() and torch.allclose(means.sum(1), torch.ones(300))
    assert kept[:, :3].double().mean().item() == pytest.approx(0.7, abs=0.05)


def test_cae_needs_surrogates_and_choosers(setting, refused):
    for lacking, field in (("surrogates", "zoo.surrogates"), ("choosers", "zoo.controls")):
        refused(
            lambda lacking=lacking: cae.queries(setting._replace(**{lacking: []}), COUNT),
            field,
        )


def test_ewe_counts_the_secret_label(setting, made, refused):
    pixels, extra = made["EWE"]
    assert (pixels[..., 1:4, 1:4] == 255).all() and extra["target"].tolist() == [8]
    for predicted, expected in (([8, 8, 8, 8], 0), ([1, 8, 3, 8], 0.5), ([0, 1, 2, 3], 1)):
        assert ewe.distance(from_labels([0] * 4), from_labels(predicted), extra) == expected
    refused(lambda: ewe.queries(setting, 400), "class 1")
    refused(lambda: ewe.queries(setting._replace(watermark=None), 4), "recipes.source.watermark")


# ModelDiff


def test_twins_are_near_their_seeds_and_move_the_source(setting, made):
    seeds, twins = made["ModelDiff"].pixels.unbind(1)
    assert torch.equal(seeds, setting.probe.pixels[: COUNT // 2])
    reach = (twins.int() - seeds.int()).abs().flatten(1).amax(1)
    assert (reach <= round(0.03 * 255)).all() and (reach >= 5).all()
    before, after = (logits_of(setting.source, pixels).softmax(1) for pixels in (seeds, twins))
    assert (after.gather(1, before.argmax(1, keepdim=True)) < before.amax(1, keepdim=True)).all()


@given(logits(5, 2, 4), logits(5, 2, 3))
def test_modeldiff_against_loops(one, other):
    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    vectors = [[1 - cosine(*pair) for pair in made.softmax(-1).tolist()] for made in (one, other)]
    for made, expected in zip((one, other), vectors, strict=True):
        assert modeldiff.decision_distances(made).tolist() == pytest.approx(expected, abs=1e-9)
    if min(math.hypot(*vector) for vector in vectors) > 1e-6:
        value = modeldiff.distance(one, other, {})
        assert (
            value.item() == pytest.approx(1 - cosine(*vectors), abs=1e-6) and -1e-12 <= value <= 1
        )
        assert value.item() == pytest.approx(modeldiff.distance(other, one, {}).item(), abs=1e-12)


def test_a_model_that_never_moves_is_far():
    moving = torch.randn(5, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert modeldiff.distance(moving, moving[:, :1].repeat(1, 2, 1), {}).item() == pytest.approx(1)


# FBI


@given(labelling)
def test_fbi_against_scikit_learn(pairs):
    one, other = map(list, zip(*pairs, strict=True))
    smaller = min(mutual_info_score(one, one), mutual_info_score(other, other))
    expected = 1 - mutual_info_score(one, other) / smaller if smaller > 1e-9 else 1
    value = fbi.label_distance(from_labels(one), from_labels(other), {})
    assert value.item() == pytest.approx(expected, abs=1e-9) and 0 <= value <= 1
    assert value.item() == pytest.approx(
        fbi.label_distance(from_labels(other), from_labels(one), {}).item(), abs=1e-12
    )


@given(labelling, st.permutations(range(10)))
def test_fbi_does_not_care_what_labels_are_called(pairs, names):
    one, other = map(list, zip(*pairs, strict=True))
    renamed = from_labels([names[label] for label in other])
    value = fbi.label_distance(from_labels(one), from_labels(other), {}).item()
    assert fbi.label_distance(from_labels(one), renamed, {}).item() == pytest.approx(
        value, abs=1e-12
    )
    if len(set(one)) > 1:
        own = from_labels([names[label] for label in one])
        assert fbi.label_distance(from_labels(one), own, {}).item() == pytest.approx(0, abs=1e-12)


@given(logits(9, 1, 6), logits(9, 1, 6), st.lists(st.integers(0, 5), min_size=9, max_size=9))
def test_fbi_of_ranks_against_loops(one, other, truth):
    symbols = []
    for made in (one, other):
        orders = [sorted(range(6), key=lambda k: -row[k]) for (row,) in made.tolist()]
        symbols.append([min(order.index(k), 3) for order, k in zip(orders, truth, strict=True)])
    smaller = min(mutual_info_score(part, part) for part in symbols)
    expected = 1 - mutual_info_score(*symbols) / smaller if smaller > 1e-9 else 1
    value = fbi.distance(one, other, {"truth": torch.tensor(truth)})
    assert value.item() == pytest.approx(expected, abs=1e-9)


def test_fbi_asks_about_the_true_class(setting, made):
    assert torch.equal(made["FBI"].extra["truth"], setting.probe.labels[:COUNT])


def test_fbi_learns_nothing_from_a_constant_model():
    assert fbi.label_distance(from_labels([0, 1, 2]), from_labels([3, 3, 3]), {}) == 1
    assert fbi.label_distance(from_labels([3, 3, 3]), from_labels([3, 3, 3]), {}) == 1


# Zest


@pytest.mark.parametrize("shape", [(16, 16), (28, 28), (32, 20), (8, 9)])
def test_cells_are_a_regular_grid(shape):
    made = zest.cells(*shape)
    assert made.shape == shape and sorted(set(made.flatten().tolist())) == list(range(16))
    for cell in range(16):
        rows, columns = (made == cell).nonzero(as_tuple=True)
        assert len(rows) == len(rows.unique()) * len(columns.unique())
        assert len(rows.unique()) in (shape[0] // 4, shape[0] // 4 + 1)


def test_hidden_cells_take_the_mean_of_the_image(setting, made):
    pixels, masks = made["Zest"].pixels, made["Zest"].extra["masks"][0]
    images = setting.probe.pixels[:COUNT]
    assert torch.equal(pixels[:, 0], images) and masks[0].all() and 0.4 < masks.mean() < 0.6
    where = zest.cells(16, 16)
    for k in (1, 2, 63):
        for image, query in zip(images[:5], pixels[:5, k], strict=True):
            shown = masks[k][where].bool()
            assert torch.equal(query[:, shown], image[:, shown])
            assert (query[:, ~shown].int() - round(image.float().mean().item())).abs().max() <= 1


def test_lime_weights_against_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 2, (64, 16), generator=generator).double()
    outputs = torch.randn(3, 64, 5, dtype=torch.float64, generator=generator) * 3
    weights = zest.lime_weights(outputs, masks)
    for answers, made in zip(outputs.softmax(-1), weights, strict=True):
        fitted = Ridge(alpha=1).fit(masks.numpy(), answers.numpy())
        assert np.allclose(fitted.coef_.T, made.numpy(), atol=1e-9)


def test_zest_finds_the_part_that_decides():
    masks = torch.randint(0, 2, (64, 16), generator=torch.Generator().manual_seed(0)).double()
    looks = {
        cell: torch.stack([8 * masks[:, cell] - 4, 4 - 8 * masks[:, cell]], 1)[None]
        for cell in (3, 9)
    }
    weights = zest.lime_weights(looks[3], masks)[0]
    assert weights[:, 0].argmax() == 3 and torch.allclose(weights[:, 0], -weights[:, 1], atol=1e-12)
    extra = {"masks": masks[None]}
    assert zest.distance(looks[3], looks[3], extra).item() == pytest.approx(0, abs=1e-12)
    assert zest.distance(looks[3], looks[3].flip(-1), extra).item() == pytest.approx(2, abs=1e-9)
    assert 0.7 < zest.distance(looks[3], looks[9], extra) < 1.3


# Dataset Inference


def test_walks_are_straight_and_their_steps_equal():
    grey = torch.full((3, 1, 40, 40), 128, dtype=torch.uint8)
    made = dataset_inference.walks(grey, 0).double() - 128
    assert made.shape == (3, 151, 1, 40, 40) and not made[:, 0].any()
    steps = made[:, 1:].unflatten(1, (3, 50))
    length = steps.square().mean((-3, -2, -1)).sqrt()
    for k in (1, 2, 3, 5):  # later ones leave the range of a byte
        assert torch.allclose(
            length[..., k - 1], torch.tensor(5.0 * k).double(), rtol=0.02, atol=0.1
        )
    # no two walks agree, and the tails of the three distributions grow: uniform, normal, Laplace
    assert len({tuple(walk.flatten().tolist()) for walk in steps[:, :, 2].flatten(0, 1)}) == 9
    peak = steps[:, :, 2].flatten(2).abs().amax(2).mean(0)
    assert peak[0] < peak[1] < peak[2]
    assert not torch.equal(dataset_inference.walks(grey, 0), dataset_inference.walks(grey, 1))


def test_a_walk_is_asked_about_as_far_as_its_length_needs(setting, made):
    asked = []

    class Counted(nn.Module):
        def forward(self, x):
            asked.append(len(x))
            return setting.source(x)

    pixels = made["Dataset Inference"].pixels
    short = dataset_inference.ask(Counted(), pixels)
    whole = answers(setting.source, made["Dataset Inference"])
    lengths = dataset_inference.walk_lengths(whole)
    assert short.shape == whole.shape
    assert torch.equal(dataset_inference.walk_lengths(short), lengths)
    blocks = (lengths / dataset_inference.BLOCK).ceil().sum() * dataset_inference.BLOCK
    assert sum(asked) == COUNT + blocks < pixels.shape[0] * pixels.shape[1]


@given(arrays(np.int64, (2, 151), elements=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1])))
def test_walk_lengths_against_loops(labels):
    expected = []
    for row in labels.tolist():
        for walk in (row[1:51], row[51:101], row[101:]):
            changed = [k for k, label in enumerate(walk, 1) if label != row[0]]
            expected.append(changed[0] if changed else 50)
    outputs = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).double()
    assert dataset_inference.walk_lengths(outputs).flatten().tolist() == expected


def test_private_and_public_images_alternate_and_the_fit_uses_others(setting, monkeypatch):
    asked = []

    def watch(pixels, seed, walks=dataset_inference.walks):
        asked.append({image.numpy().tobytes() for image in pixels})
        return walks(pixels, seed)

    monkeypatch.setattr(dataset_inference, "walks", watch)
    made = dataset_inference.queries(setting, 7)
    assert made.extra["private"].tolist() == [True, False, True, False, True, False, True]
    assert torch.equal(made.pixels[::2, 0], setting.owner.pixels[:4])
    assert torch.equal(made.pixels[1::2, 0], setting.probe.pixels[:3])
    fit, probes = asked
    assert len(fit) > 490 and not fit & probes


class Memory(nn.Module):
    """Knows some images by heart: sure of one class near them, and of nothing elsewhere."""

    def __init__(self, pixels: torch.Tensor):
        super().__init__()
        self.known = to_float(pixels).flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        near = torch.cdist(x.flatten(1), self.known).amin(1) / x[0].numel() ** 0.5 < 0.3
        parity = (x.sum((1, 2, 3)) * 4).long() % 2
        return torch.nn.functional.one_hot(torch.where(near, 0, 1 + parity), 3).float()


def test_dataset_inference_finds_the_training_images(setting, run):
    source, other = Memory(setting.owner.pixels), Memory(run.material.splits["attacker"].pixels)
    probe = setting.probe._replace(
        pixels=255 - setting.probe.pixels
    )  # unlike anything that either knows
    owner = setting.owner.take(slice(0, 60))
    given = setting._replace(source=source, owner=owner, probe=probe.take(slice(0, 60)))
    queries = dataset_inference.queries(given, COUNT)
    assert (queries.extra["weights"] > 0).all()
    assert judge("Dataset Inference", queries, source, copy.deepcopy(source)) < -3
    stranger = Memory(255 - run.material.splits["test"].pixels)
    assert judge("Dataset Inference", queries, source, stranger) > judge(
        "Dataset Inference", queries, source, other
    )
    assert judge("Dataset Inference", queries, source, Memory(torch.zeros_like(owner.pixels))) > -2


def test_inference_distance_against_loops():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.rand(6, 151, 3, generator=generator).double() + torch.tensor([0.8, 0, 0])
    extra = {
        "private": torch.arange(6) % 2 == 0,
        "weights": torch.tensor([[0.5, -1.0, 2.0]]).double(),
    }
    scores = [0.5 * a - b + 2 * c for a, b, c in dataset_inference.walk_lengths(outputs).tolist()]
    groups = [scores[0::2], scores[1::2]]
    spread = math.sqrt(sum(np.var(group) for group in groups) / 2)
    value = dataset_inference.distance(outputs, outputs, extra)
    assert spread > 0 and value.item() == pytest.approx(
        -(np.mean(groups[0]) - np.mean(groups[1])) / spread
    )
    constant = torch.zeros(6, 151, 3).double()
    assert dataset_inference.distance(constant, constant, extra) == 0
