"""The attacks: what each may see and change, and that it steals something."""

import copy
import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sacutils import attacks, models, training
from sacutils.attacks import Task
from sacutils.data import Images, to_float
from sacutils.files import UserError
from sacutils.profiles import (
    WITHOUT_BATCH_NORMALISATION,
    Adversarial,
    Architecture,
    Distillation,
    Pruning,
)
from tests.conftest import recipe, same, state


def short(kind, **values):
    return kind.model_validate(recipe().model_dump() | values)


DISTILLATION = short(Distillation, temperature=5, soft_weight=0.7)
HARDENING = short(Adversarial, pgd_steps=2, pgd_step=2, pgd_radius=4, lr=0.01)


@pytest.fixture
def few(attacker: Images) -> Images:
    return attacker.take(slice(0, 100))


@pytest.fixture
def objective(monkeypatch):
    """Call an attack with training replaced by nothing; returns the objective that it would have
    minimised, and the model.
    """
    caught = []

    def catch(model, pixels, given, *args, **kwargs):
        caught.append(given)
        return training.History()

    monkeypatch.setattr(attacks, "train", catch)

    def of(attack, *args):
        model, _ = attack(*args)
        return caught[-1], model.eval()

    return of


def extract(kind: str, query, images: Images, seed: int = 0, **values) -> attacks.Made:
    if kind == "label":
        task = Task(images, 10, recipe(**values), seed)
        return attacks.extract_label(query, "mobilenet_s", task)
    if kind == "probability":
        task = Task(images, 10, DISTILLATION.model_copy(update=values), seed)
        return attacks.extract_probability(query, "mobilenet_s", task)
    task = Task(images, 10, HARDENING.model_copy(update=values), seed)
    return attacks.extract_adversarial(query, models.build("mobilenet_s", 1, 10, seed), task)


KINDS = ["label", "probability", "adversarial"]


# Extraction: what the thief sees


@pytest.mark.parametrize("kind", KINDS)
def test_extraction_never_reads_the_labels(kind, source, few):
    query = attacks.black_box(source)
    honest, first = extract(kind, query, few)
    garbage, second = extract(kind, query, few._replace(labels=torch.full_like(few.labels, -999)))
    nothing, _ = extract(kind, query, few._replace(labels=None))
    assert (
        same(state(honest), state(garbage))
        and same(state(honest), state(nothing))
        and first == second
    )


@pytest.mark.parametrize("kind", KINDS)
def test_source_is_queried_on_every_augmented_batch(kind, source, few):
    asked = []

    def query(x):
        asked.append(x.clone())
        return attacks.black_box(source)(x)

    extract(kind, query, few, epochs=3, pad=2)
    steps = math.ceil(len(few.pixels) / 32)
    assert len(asked) == 3 * steps and sum(len(x) for x in asked) == 3 * len(few.pixels)
    seen = {image.numpy().tobytes() for x in asked for image in x}
    plain = {image.numpy().tobytes() for image in to_float(few.pixels)}
    assert len(seen) > 0.8 * 3 * len(few.pixels) and len(seen & plain) < 0.2 * len(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_all_that_the_student_learns_from(kind, source, few):
    query = attacks.black_box(source)
    one, _ = extract(kind, query, few)
    same_answers, _ = extract(kind, lambda x: query(x).clone(), few)
    other_answers, _ = extract(kind, lambda x: query(x).roll(1, 1), few)
    assert same(state(one), state(same_answers)) and not same(state(one), state(other_answers))


@pytest.mark.parametrize("kind", KINDS)
def test_source_is_left_untouched(kind, source, few):
    before = state(source)
    extract(kind, attacks.black_box(source), few)
    assert same(state(source), before) and not source.training
    assert all(parameter.grad is None for parameter in source.parameters())


def test_black_box_answers_without_a_gradient_in_evaluation_mode(source, few):
    source.train()
    x = to_float(few.pixels[:5]).requires_grad_(True)
    answer = attacks.black_box(source)(x)
    assert not answer.requires_grad and not source.training
    assert torch.equal(answer, source(x).detach())


# Extraction: other services and other ways to ask


def test_noisy_service_replaces_a_share_of_the_answers_by_certain_classes_drawn_uniformly():
    right = torch.randn(20_000, 5, generator=torch.Generator().manual_seed(1))
    x = torch.zeros(20_000, 1, 2, 2)
    asked = []
    service = attacks.noisy(lambda x: (asked.append(x), right)[1], 0.3, seed=0)
    answer = service(x)
    replaced = (answer != right).any(1)
    assert asked[0] is x and answer.shape == right.shape and answer.dtype == right.dtype
    # six standard deviations of a share of 20,000
    assert replaced.double().mean().item() == pytest.approx(0.3, abs=6 * math.sqrt(0.21 / 20_000))
    certain = answer[replaced]
    assert ((certain == 100).sum(1) == 1).all() and ((certain == 0).sum(1) == 4).all()
    counts, n = certain.argmax(1).bincount(minlength=5), int(replaced.sum())
    assert (counts - n / 5).abs().max() < 6 * math.sqrt(n * 0.2 * 0.8)
    # whatever the right class was
    same = (certain.argmax(1) == right[replaced].argmax(1)).double().mean().item()
    assert same == pytest.approx(0.2, abs=6 * math.sqrt(0.16 / n))


def test_noise_is_drawn_anew_at_each_call_and_repeats_by_seed():
    right, x = torch.randn(500, 5, generator=torch.Generator().manual_seed(1)), torch.zeros(500, 1)

    def answers(share: float, seed: int) -> list[torch.Tensor]:
        service = attacks.noisy(lambda x: right, share, seed)
        return [service(x) for _ in range(2)]

    one, again, other = answers(0.3, 0), answers(0.3, 0), answers(0.3, 1)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0], one[1]) and not torch.equal(one[0], other[0])
    assert all(torch.equal(answer, right) for answer in answers(0, 0))
    assert (answers(1, 0)[0].amax(1) == 100).all()
    before = torch.get_rng_state()
    answers(0.3, 0)
    assert torch.equal(torch.get_rng_state(), before)


def asked_once(source: nn.Module, images: Images, **values) -> attacks.Made:
    return attacks.extract_once(source, "mobilenet_s", Task(images, 10, recipe(**values), 0))


def test_extract_once_asks_about_each_image_once_and_as_it_is(source, few):
    asked = []
    hook = source.register_forward_pre_hook(lambda module, inputs: asked.append(inputs[0].clone()))
    before = state(source)
    asked_once(source, few, epochs=3, pad=2)
    hook.remove()
    assert torch.equal(torch.cat(asked), to_float(few.pixels))
    assert same(state(source), before) and not source.training


def test_extract_once_learns_these_answers_and_nothing_else(source, few):
    answers = attacks.black_box(source)(to_float(few.pixels)).argmax(1)
    student, history = asked_once(source, few, pad=2)
    garbage, _ = asked_once(source, few._replace(labels=torch.full_like(few.labels, -9)), pad=2)
    task = Task(few._replace(labels=answers), 10, recipe(pad=2), 0)
    taught, expected = attacks.train_independent("mobilenet_s", task)
    assert same(state(student), state(taught)) and history == expected
    assert same(state(student), state(garbage))
    in_the_loop, _ = extract("label", attacks.black_box(source), few, pad=2)
    assert not same(state(student), state(in_the_loop))


# Extraction: the losses


def test_loss_of_extract_label(objective, source, few):
    query, x = attacks.black_box(source), to_float(few.pixels[:16])
    goal, student = objective(attacks.extract_label, query, "vgg_s", Task(few, 10, recipe(), 0))
    loss, hits = goal(student, x, torch.arange(16))
    logits, asked = student(x).detach(), query(x)
    expected = (
        -sum(
            float(row.softmax(0)[int(answer.argmax())].log())
            for row, answer in zip(logits, asked, strict=True)
        )
        / 16
    )
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert hits.item() == sum(
        int(a.argmax() == b.argmax()) for a, b in zip(logits, asked, strict=True)
    )


def test_loss_of_extract_probability_and_that_probabilities_suffice(objective, source, few):
    query, x = attacks.black_box(source), to_float(few.pixels[:16])
    task = Task(few, 10, DISTILLATION, 0)
    goal, student = objective(attacks.extract_probability, query, "vgg_s", task)
    loss, _ = goal(student, x, torch.arange(16))
    total = 0.0
    for z, answer in zip(student(x).detach().double(), query(x).softmax(1).double(), strict=True):
        softened = answer ** (1 / 5) / (answer ** (1 / 5)).sum()
        student_softened = (z / 5).exp() / (z / 5).exp().sum()
        divergence = float((softened * (softened / student_softened).log()).sum())
        total += 0.7 * 25 * divergence - 0.3 * math.log(float(z.softmax(0)[int(answer.argmax())]))
    assert loss.item() == pytest.approx(total / 16, rel=1e-3)
    shifted = attacks.probability_objective(lambda x: query(x) + 7, 5, 0.7)
    assert shifted(student, x, torch.arange(16))[0].item() == pytest.approx(loss.item(), rel=1e-4)


def test_loss_of_extract_adversarial(objective, source, few):
    query, x = attacks.black_box(source), to_float(few.pixels[:16])
    start = models.build("vgg_s", 1, 10, 0)
    goal, student = objective(
        attacks.extract_adversarial, query, start, Task(few, 10, HARDENING, 0)
    )
    assert student is not start and same(state(student), state(start))
    loss, _ = goal(student, x, torch.arange(16))
    target = query(x).argmax(1)
    moved = attacks.perturb(student, x, target, 2, 2, 4)
    expected = F.cross_entropy(student(x), target) + F.cross_entropy(student(moved), target)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss > 2 * F.cross_entropy(student(x), target)


# Projected gradient descent


@pytest.mark.parametrize(
    ("steps", "step", "radius"), [(1, 2, 4), (5, 2, 4), (10, 1, 8), (3, 50, 3)]
)
def test_perturbed_images_stay_in_the_ball_and_raise_the_loss(
    source, attacker, steps, step, radius
):
    x, target = to_float(attacker.pixels[:64]), attacker.labels[:64]
    original = x.clone()
    moved = attacks.perturb(source, x, target, steps, step, radius)
    assert torch.equal(x, original) and not moved.requires_grad
    reach = min(radius, steps * step) / 255
    assert (moved - x).abs().max() <= reach + 1e-6 and (moved - x).abs().max() > 0.9 * min(
        step, radius
    ) / 255
    assert moved.min() >= 0 and moved.max() <= 1
    before = F.cross_entropy(source(x), target, reduction="none")
    after = F.cross_entropy(source(moved), target, reduction="none")
    assert after.mean() > 1.05 * before.mean() and (after > before).float().mean() > 0.9


def test_more_steps_raise_the_loss_further(source, attacker):
    x, target = to_float(attacker.pixels[:64]), attacker.labels[:64]
    losses = [
        F.cross_entropy(source(attacks.perturb(source, x, target, k, 1, 8)), target).item()
        for k in (0, 1, 4, 8)
    ]
    assert losses == sorted(losses) and losses[0] == pytest.approx(
        F.cross_entropy(source(x), target).item()
    )


@pytest.mark.parametrize("training_mode", [True, False])
def test_perturbing_leaves_the_model_as_it_was(source, attacker, training_mode):
    model = copy.deepcopy(source).train(training_mode)
    before = state(model)
    attacks.perturb(model, to_float(attacker.pixels[:8]), attacker.labels[:8], 2, 2, 4)
    assert model.training == training_mode and same(state(model), before)
    assert all(parameter.grad is None for parameter in model.parameters())


# Fine-tuning and transfer


def finetuned(source, images, *, last, new_labels=False, classes=10, seed=0, epochs=1):
    task = Task(images, classes, recipe(epochs=epochs), seed)
    return attacks.finetune(source, task, last=last, new_labels=new_labels)[0]


def changed(model: nn.Module, source: nn.Module) -> set[str]:
    before = state(source)
    return {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }


def test_finetune_last_changes_the_head_and_no_batch_statistics(source, few):
    names = changed(finetuned(source, few, last=True), source)
    assert names == {name for name in state(source) if ".classifier." in name}


def test_finetune_all_changes_everything(source, few):
    assert changed(finetuned(source, few, last=False), source) == set(state(source))


def test_finetune_leaves_the_source_and_depends_on_labels_and_seed(source, few):
    before = state(source)
    one, again, other = (state(finetuned(source, few, last=False, seed=seed)) for seed in (0, 0, 1))
    relabelled = state(finetuned(source, few._replace(labels=few.labels.roll(1)), last=False))
    assert same(one, again) and not same(one, other) and not same(one, relabelled)
    assert same(state(source), before)


@pytest.mark.parametrize("last", [True, False])
def test_transfer_begins_with_a_fresh_last_layer(monkeypatch, source, few, last):
    monkeypatch.setattr(attacks, "train", lambda *args, **kwargs: training.History())
    begun = finetuned(source, few, last=last, new_labels=True, classes=7)
    names = {"1.classifier.5.weight", "1.classifier.5.bias"}
    assert begun.state_dict()["1.classifier.5.weight"].shape[0] == 7
    assert {
        key
        for key, value in begun.state_dict().items()
        if not torch.equal(value, source.state_dict()[key])
    } == names
    weights = [
        state(finetuned(source, few, last=last, new_labels=True, seed=seed)) for seed in (0, 0, 1)
    ]
    assert same(weights[0], weights[1])
    assert not torch.equal(weights[0]["1.classifier.5.weight"], weights[2]["1.classifier.5.weight"])
    assert not changed(finetuned(source, few, last=last), source)


# Pruning


def silenced(model: nn.Module) -> set[int]:
    layer = attacks.last_normalisation(model)
    return set(((layer.weight == 0) & (layer.bias == 0)).nonzero().flatten().tolist())


def pruned(parent: nn.Module, images: Images, fraction: float, epochs: int = 1) -> nn.Module:
    task = Task(images, 10, short(Pruning, ladder=[0.5], epochs=epochs), 0)
    return attacks.prune(parent, task, fraction)[0]


def test_masks_have_the_right_size_are_nested_and_stay_zero(source, few):
    width = attacks.last_normalisation(source).num_features
    parent, mask = source, silenced(source)
    assert mask == set()
    for fraction in (0.25, 0.5, 0.9):
        suspect = pruned(parent, few, fraction, epochs=2)
        below, mask = mask, silenced(suspect)
        assert len(mask) == int(fraction * width)
        assert below <= mask
        parent = suspect


def activations(model: nn.Module, images: Images) -> torch.Tensor:
    outputs = []
    layer = attacks.last_normalisation(model)
    hook = layer.register_forward_hook(
        lambda module, inputs, output: outputs.append(output.detach().clone())
    )
    model(to_float(images.pixels))
    hook.remove()
    return outputs[0]


def test_least_active_channels_are_silenced(source, few):
    output = activations(source, few)
    activity = [
        sum(max(value, 0) for value in output[:, c].flatten().tolist())
        for c in range(output.shape[1])
    ]
    expected = set(sorted(range(len(activity)), key=activity.__getitem__)[: len(activity) // 4])
    assert silenced(pruned(source, few, 0.25)) == expected


def test_dead_channels_do_not_take_the_place_of_silenced_ones(source, few):
    parent = copy.deepcopy(source)
    layer = attacks.last_normalisation(parent)
    with torch.no_grad():
        layer.weight[-4:], layer.bias[-4:] = 0, 0  # silenced by an earlier rung
        layer.bias[:8] = -1000  # never active, but not silenced
    assert silenced(parent) <= silenced(pruned(parent, few, 0.25))


def test_pruning_leaves_its_parent_and_really_removes_channels(source, few):
    before = state(source)
    suspect = pruned(source, few, 0.5)
    assert same(state(source), before)
    output, mask = activations(suspect, few), silenced(suspect)
    assert not output[:, sorted(mask)].any() and len(mask) == output.shape[1] // 2


WITH_NORMALISATION = [
    name for name in get_args(Architecture) if name not in WITHOUT_BATCH_NORMALISATION
]


@pytest.mark.parametrize("name", WITH_NORMALISATION)
def test_what_pruning_silences_is_silent_for_all_that_comes_after(name):
    """A channel must not come back over a shortcut: the next layer that sums finds zeros."""
    model = models.build(name, 3, 10, 0).eval()
    layer, seen = attacks.last_normalisation(model), []
    silent = torch.arange(0, layer.num_features, 2)
    with torch.no_grad():
        layer.bias.fill_(0.1)
        layer.weight[silent], layer.bias[silent] = 0, 0
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_pre_hook(lambda module, x: seen.append((module, x[0].detach())))
    model(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    after = next(i for i, (module, _) in enumerate(seen) if module is layer) + 1
    kept = (nn.ReLU, nn.ReLU6, nn.Identity, nn.Dropout)
    found = next(x for module, x in seen[after:] if not isinstance(module, kept))
    assert found.shape[1] == layer.num_features and found.any()
    assert not found[:, silent].any()


def test_pruning_needs_batch_normalisation(few):
    with pytest.raises(UserError, match="vgg_bn_s"):
        pruned(models.build("vgg_s", 1, 10, 0), few, 0.5)


# Quantising


def weighted(model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of the convolutions and linear layers."""
    kinds = nn.Conv2d | nn.Linear
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}
    return {f"{name}.weight": layer.weight.detach().clone() for name, layer in layers.items()}


@pytest.mark.parametrize("architecture", ["resnet_s", "vgg_s", "mobilenet_s"])
def test_quantised_weights_are_those_of_a_slow_rounding_to_8_bits(architecture):
    parent = models.build(architecture, 1, 10, 0)
    before, weights = state(parent), weighted(parent)
    made = attacks.quantise(parent)
    assert made is not parent and same(state(parent), before) and len(weights) > 2
    for name, value in state(made).items():
        if name not in weights:
            assert torch.equal(value, before[name])
            continue
        rows = weights[name].flatten().double().tolist()
        step = max(map(abs, rows)) / 127
        levels = [round(weight / step) for weight in rows]
        found = (value.flatten().double() / step).tolist()
        # a weight in the middle of two levels, to within single precision, may go to either
        assert all(
            abs(a - b) < 1e-3 or (abs(a - b) < 1.001 and abs(abs(w / step % 1) - 0.5) < 1e-3)
            for a, b, w in zip(found, levels, rows, strict=True)
        )
        assert len(value.unique()) <= 255 and max(map(abs, levels)) == 127
        assert not torch.equal(value, weights[name])


def test_quantising_twice_changes_nothing_more_and_answers_stay_close(source, few):
    once = attacks.quantise(source)
    twice = attacks.quantise(once)
    for name, value in state(once).items():
        assert torch.allclose(twice.state_dict()[name], value, atol=1e-6)
    labels = [training.logits_of(model, few.pixels).argmax(1) for model in (source, once)]
    assert (labels[0] == labels[1]).double().mean() > 0.9


# Independent training


def test_independent_training_uses_labels_and_seed(few):
    def made(images: Images, seed: int):
        return state(attacks.train_independent("mobilenet_s", Task(images, 10, recipe(), seed))[0])

    one = made(few, 0)
    assert same(one, made(few, 0)) and not same(one, made(few, 1))
    assert not same(one, made(few._replace(labels=few.labels.roll(1)), 0))


# Each attack steals something: chance is 0.1


@pytest.mark.parametrize(
    ("name", "measure", "floor"),
    [
        ("source(vgg_bn_s)#0", "test_accuracy", 0.6),
        ("source(vgg_bn_s)#0 > finetune_all#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > finetune_last#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > prune(20%)#0", "fidelity", 0.3),
        ("source(vgg_bn_s)#0 > extract_label(resnet_s)#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > extract_probability(resnet_s)#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > extract_label(resnet_s)#0 > extract_adversarial#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > extract_once(resnet_s)#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > extract_plain(resnet_s)#0", "query_fidelity", 0.8),
        ("source(vgg_bn_s)#0 > extract_noisy(resnet_s)#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > extract_label(resnet_s)#0 > chain_finetuned#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > extract_label(resnet_s)#0 > chain_pruned#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > extract_label(resnet_s)#0 > chain_quantised#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > transfer_corrupted#0", "fidelity", 0.6),
        ("source(vgg_bn_s)#0 > transfer_all#0", "test_accuracy", 0.3),
        ("source(vgg_bn_s)#0 > transfer_last#0", "test_accuracy", 0.3),
        ("independent(resnet_s)#0", "test_accuracy", 0.6),
    ],
)
def test_models_of_the_smoke_run_are_far_above_chance(run, name, measure, floor):
    assert run.zoo.record(name)[measure] > floor


def test_hardened_student_resists_better(source, attacker, run):
    # smoke hardens for one epoch at a tiny rate: here for longer
    student = run.zoo.get("source(vgg_bn_s)#0 > extract_label(resnet_s)#0")
    longer = {"epochs": 4, "lr": 0.02, "pgd_steps": 4, "pgd_radius": 16, "pgd_step": 6}
    task = Task(attacker, 10, HARDENING.model_copy(update=longer), 0)
    hardened, _ = attacks.extract_adversarial(attacks.black_box(source), student, task)
    test = run.material.splits["test"]
    x = to_float(test.pixels)
    target = source(x).argmax(1)

    def robust(model: nn.Module) -> float:
        return (
            (model(attacks.perturb(model, x, target, 4, 6, 16)).argmax(1) == target)
            .double()
            .mean()
            .item()
        )

    assert robust(hardened) > robust(student) + 0.05
