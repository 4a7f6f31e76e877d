"""The training loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sacutils import checkpoints, files, models, training
from sacutils.data import to_float
from sacutils.profiles import Recipe
from sacutils.training import Diverged, cross_entropy_to, train
from tests.conftest import recipe, same, state


def fit(run, seed: int = 0, **values) -> tuple[nn.Module, training.History]:
    images = run.material.splits["owner"].take(slice(0, 100))
    model = models.build("mobilenet_s", 1, 10, 0)
    return model, train(
        model, images.pixels, cross_entropy_to(images.labels), recipe(**values), seed
    )


def test_same_seed_same_bytes(run):
    settings = {"pad": 1, "flip": True, "epochs": 2}
    one, first = fit(run, **settings)
    torch.manual_seed(99)
    again, second = fit(run, **settings)
    other, _ = fit(run, seed=1, **settings)
    assert same(state(one), state(again)) and first == second
    assert not same(state(one), state(other))


def test_a_training_goes_on_where_it_was_and_what_a_card_kept_begins_anew(
    run, tmp_path, monkeypatch, capsys
):
    settings = {"pad": 1, "flip": True, "epochs": 3}
    whole, path, keep = fit(run, **settings)[0], tmp_path / "m.safetensors", checkpoints.epoch
    kept = tmp_path / ".checkpoints" / "m.pt"
    monkeypatch.setattr(checkpoints, "EVERY", 0)

    def killed() -> None:
        keep()
        raise KeyboardInterrupt

    for card in (False, True):
        monkeypatch.setattr(checkpoints, "epoch", killed)
        with pytest.raises(KeyboardInterrupt), checkpoints.kept(path, "d"):
            fit(run, **settings)
        monkeypatch.setattr(checkpoints, "epoch", keep)
        assert kept.exists()
        if card:
            found = torch.load(kept, weights_only=True) | {"cuda": torch.zeros(1)}
            torch.save(found, kept)
            files.write_record(kept, "d")
            monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        capsys.readouterr()
        with checkpoints.kept(path, "d"):
            model, _ = fit(run, **settings)
        assert ("goes on after epoch 1" in capsys.readouterr().out) is not card
        assert same(state(model), state(whole)) and not kept.exists()


def test_dropout_is_drawn_from_the_seed_and_the_global_generator_is_left_alone(run):
    images = run.material.splits["owner"].take(slice(0, 64))
    before = torch.get_rng_state()
    made = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(
                nn.Flatten(), nn.Linear(256, 32), nn.Dropout(0.5), nn.Linear(32, 10)
            )
        train(model, images.pixels, cross_entropy_to(images.labels), recipe(), 5)
        made.append(state(model))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(123)
        before = torch.get_rng_state()
    assert same(*made)


def test_training_is_momentum_descent_as_in_the_textbook(run):
    images = run.material.splits["owner"].take(slice(0, 50))
    x, wanted = to_float(images.pixels).flatten(1).double(), F.one_hot(images.labels, 10).double()
    settings = recipe(lr=0.1, momentum=0.8, weight_decay=0.01, batch=20, epochs=2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 10, bias=False))
    weight = model[1].weight.detach().double().clone()
    batches = []

    def objective(network, batch, index):
        batches.append(index.tolist())
        return cross_entropy_to(images.labels)(network, batch, index)

    history = train(model, images.pixels, objective, settings, 0)
    velocity, losses = torch.zeros_like(weight), []
    for index in batches:
        probabilities = (x[index] @ weight.T).softmax(1)
        losses.append(-(wanted[index] * probabilities.log()).sum().item())
        gradient = (probabilities - wanted[index]).T @ x[index] / len(index) + 0.01 * weight
        velocity = 0.8 * velocity + gradient
        weight -= 0.1 * velocity
    assert torch.allclose(model[1].weight.double(), weight, atol=1e-5)
    assert history.loss == pytest.approx([sum(losses[:3]) / 50, sum(losses[3:]) / 50], rel=1e-4)


@pytest.mark.parametrize(("n", "batch"), [(100, 32), (97, 32), (33, 32), (32, 32), (10, 64)])
def test_each_epoch_sees_each_image_once_in_even_batches(run, n, batch):
    pixels = run.material.splits["owner"].pixels[:n]
    seen: list[list[int]] = []

    def objective(model, x, index):
        seen.append(index.tolist())
        return model(x).square().mean(), torch.zeros(())

    train(
        nn.Sequential(nn.Flatten(), nn.Linear(256, 2)),
        pixels,
        objective,
        recipe(batch=batch, epochs=2),
        0,
    )
    steps = math.ceil(n / batch)
    assert len(seen) == 2 * steps and {len(index) for index in seen} <= {
        n // steps,
        math.ceil(n / steps),
    }
    first, second = ([i for index in part for i in index] for part in (seen[:steps], seen[steps:]))
    assert sorted(first) == sorted(second) == list(range(n)) and first != second


def test_objective_sees_augmented_images_in_the_unit_interval(run):
    pixels, raw, batches = run.material.splits["owner"].pixels[:40], [], []

    def objective(model, x, index):
        batches.append(x)
        raw.append(torch.equal(x, to_float(pixels[index])))
        return model(x).square().mean(), torch.zeros(())

    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    train(network, pixels, objective, recipe(pad=2, batch=20), 0)
    assert not any(raw) and all(
        0 <= x.min() and x.max() <= 1 and x.dtype == torch.float32 for x in batches
    )
    train(network, pixels, objective, recipe(batch=20), 0)
    assert raw == [False, False, True, True]


def test_loss_that_is_not_finite_is_reported(run):
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) in epoch"):
        fit(run, lr=1e12, epochs=5)

    def objective(model, x, index):
        loss = model(x).mean()
        return loss * float("nan") if 0 in index else loss, torch.zeros(())

    with pytest.raises(Diverged, match="here: the loss became nan in epoch 1"):
        pixels = run.material.splits["owner"].pixels[:40]
        train(
            nn.Sequential(nn.Flatten(), nn.Linear(256, 2)),
            pixels,
            objective,
            recipe(),
            0,
            label="here",
        )


def rates(schedule: str, steps: int, epochs: int = 5) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    values = Recipe(lr=0.1, epochs=epochs, batch=8, schedule=schedule)
    scheduler = training._scheduler(optimizer, values, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[0]["momentum"] == 0.9
        optimizer.step()
        scheduler.step()
    return found


def test_constant_schedule():
    assert rates("constant", 20) == [0.1] * 20


@pytest.mark.parametrize("steps", [50, 333])
def test_onecycle_rises_for_a_fifth_of_the_steps_and_falls_to_nothing(steps):
    found = rates("onecycle", steps)
    peak = found.index(max(found))
    assert max(found) == pytest.approx(0.1, rel=0.01) and peak == pytest.approx(steps / 5, abs=1)
    assert found[0] == pytest.approx(0.1 / 25) and found[-1] < 1e-4
    assert found[: peak + 1] == sorted(found[: peak + 1]) and found[peak:] == sorted(
        found[peak:], reverse=True
    )


@pytest.mark.parametrize("steps", range(1, 16))
def test_onecycle_takes_any_number_of_steps(steps):
    found = rates("onecycle", steps)
    assert len(found) == steps and all(0 < rate <= 0.1 + 1e-12 for rate in found)


def test_cosine_per_batch_oscillates_as_in_the_released_scripts():
    expected = [
        0.05 * (1 + math.cos(math.pi * step / 5)) for step in range(32)
    ]  # period: twice the epochs, in steps
    assert rates("cosine_per_batch", 32) == pytest.approx(expected, abs=1e-9)


def test_only_part_of_a_model_is_trained(run):
    images = run.material.splits["owner"].take(slice(0, 64))
    model = models.build("vgg_bn_s", 1, 10, 0)
    before = state(model)
    train(
        model,
        images.pixels,
        cross_entropy_to(images.labels),
        recipe(),
        0,
        only=models.head_of(model),
    )
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {name for name in before if ".classifier." in name}
    assert not model.training and not any(module.training for module in model.modules())


def test_constraint_is_applied_after_each_step(run):
    images = run.material.splits["owner"].take(slice(0, 64))
    model, calls = nn.Sequential(nn.Flatten(), nn.Linear(256, 10)), []

    def clip() -> None:
        calls.append(1)
        with torch.no_grad():
            model[1].bias.zero_()

    train(
        model, images.pixels, cross_entropy_to(images.labels), recipe(epochs=3), 0, after_step=clip
    )
    assert len(calls) == 6 and not model[1].bias.any() and model[1].weight.any()


def test_training_learns(run):
    _, history = fit(run, epochs=12)
    assert len(history.loss) == len(history.accuracy) == 12
    assert history.loss[-1] < history.loss[0] / 2 and history.accuracy[-1] > 0.7


def test_logits_do_not_depend_on_the_batch_and_leave_no_gradient(run, source):
    pixels = run.material.splits["test"].pixels[:60]
    source.train()
    made = training.logits_of(source, pixels, batch=7)
    assert not source.training and not made.requires_grad and made.dtype == torch.float32
    slow = torch.cat([source(pixels[i : i + 1].float() / 255) for i in range(60)])
    assert torch.allclose(made, slow, atol=1e-4)
    expected = sum(
        int(row.argmax()) == int(label)
        for row, label in zip(slow, run.material.splits["test"].labels, strict=False)
    )
    assert training.accuracy(
        source, run.material.splits["test"].take(slice(0, 60))
    ) == pytest.approx(expected / 60)


def test_device_of_a_profile(refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training.pick_device("auto").type == training.pick_device("cpu").type == "cpu"
    assert torch.get_num_threads() == 1 and torch.are_deterministic_algorithms_enabled()
    refused(lambda: training.pick_device("cuda"), "device: cuda", "auto or cpu")


def test_compiled_training_gives_the_same_model(monkeypatch, attacker):
    used = []

    def compile_eagerly(model):
        used.append(model)
        return compiled(model, backend="eager")  # needs no C++ compiler

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", compile_eagerly)
    states = []
    for switch in (False, True):
        model = models.build("resnet_s", 1, 10, 0)
        objective = training.cross_entropy_to(attacker.labels)
        training.train(model, attacker.pixels[:64], objective, recipe(compile=switch), 0)
        states.append(state(model))
    assert len(used) == 1
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-5), name


def test_share_takes_the_first_images(attacker):
    seen: set[int] = set()

    def objective(model, x, index):
        seen.update(index.tolist())
        return model(x).square().mean(), torch.zeros(())

    training.train(
        models.build("resnet_s", 1, 10, 0), attacker.pixels[:80], objective, recipe(share=0.25), 0
    )
    assert seen == set(range(20))
