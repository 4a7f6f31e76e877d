"""On CUDA: repeatable, exact answers, the same tables. Needs no conftest, see benchmarks/gpu.sh."""

import copy
from unittest import mock

import pandas as pd
import pytest
import torch

from sacutils import attacks, files, models, training
from sacutils.attacks import Task
from sacutils.data import Images, to_float
from sacutils.profiles import Distillation, Recipe
from sacutils.run import open_run
from sacutils.studies import tables

CARD = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="not run: PyTorch finds no CUDA device"
)
CUDA = pytest.param("cuda", marks=[pytest.mark.cuda, CARD])
KEYS = ["probes", "n_probes", "form", "measure", "model", "step", "attack", "negatives", "name"]


@pytest.fixture(params=["cpu", CUDA])
def images(request) -> Images:
    device, generator = training.pick_device(request.param), torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (96, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.randint(0, 10, (96,), generator=generator)).to(device)


@pytest.mark.parametrize("network", ["vgg_bn_s", "mobilenet_s"])
def test_the_same_seed_gives_the_same_weights(images, network):
    recipe = Recipe(lr=0.05, epochs=2, batch=32)
    states = [
        attacks.train_independent(network, Task(images, 10, recipe, seed))[0].state_dict()
        for seed in (1, 1, 2)
    ]
    for name, weights in states[0].items():
        assert torch.equal(weights, states[1][name]), name
    assert any(not torch.equal(weights, states[2][name]) for name, weights in states[0].items())


@pytest.mark.cuda
@CARD
@pytest.mark.parametrize("network", ["vgg16_bn", "mobilenet_v2", "densenet121", "resnet_s"])
@pytest.mark.parametrize("attack", [attacks.extract_label, attacks.extract_probability])
def test_a_recorded_step_gives_the_same_weights(network, attack):
    device, generator = training.pick_device("cuda"), torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (98, 3, 32, 32), generator=generator, dtype=torch.uint8)
    images = Images(pixels, torch.randint(0, 10, (98,), generator=generator)).to(device)
    # batches of two sizes, a rate that changes, and dropout in two of the networks
    values = {"lr": 0.01, "epochs": 6, "batch": 20, "schedule": "cosine_per_batch"}
    task = Task(images, 10, Distillation(temperature=20, soft_weight=0.9, **values), 1)
    teacher = attacks.black_box(models.build("resnet_s", 3, 10, 7).to(device))
    (one, first), (two, second) = (attack(teacher, network, task) for _ in range(2))
    with mock.patch("sacutils.training.recorded", lambda step, _: step):
        plain, third = attack(teacher, network, task)
    assert first == second == third and len(set(first.loss)) == 6
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, two.state_dict()[name]), name
        assert torch.equal(weights, plain.state_dict()[name]), name


def test_autocast_does_not_reach_the_answers_on_probes(images):
    model = models.build("resnet_s", 3, 10, 0).to(images.pixels.device).eval()
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(to_float(images.pixels).double()).cpu()
        with torch.autocast(images.pixels.device.type, torch.bfloat16):
            coarse = model(to_float(images.pixels)).double().cpu()
    answers, size = training.logits_of(model, images.pixels), exact.abs().max()
    assert answers.dtype == torch.float32
    assert (answers - exact).abs().max() < 1e-5 * size < (coarse - exact).abs().max()


@pytest.mark.cuda
@CARD
def test_a_smoke_zoo_has_the_rows_of_the_processor(tmp_path):
    run = open_run("smoke", {"device": "cuda"}, tmp_path)
    tables.write(run)
    names = sorted(path.name for path in (run.folder / "tables").glob("*.csv"))
    assert len(names) >= 3
    for name in names:
        made, known = (
            pd.read_csv(folder / "tables" / name)
            for folder in (run.folder, files.home() / "runs/smoke")
        )
        keys = [key for key in KEYS if key in known]
        assert list(made.columns) == list(known.columns) and keys
        assert made[keys].equals(known[keys]), name
