"""Architectures."""

from typing import get_args

import pytest
import torch
from torch import nn

from sacutils import models, profiles, training
from sacutils.data import Images
from tests.conftest import recipe, same, state

SMALL = [name for name in models.ARCHITECTURES if name.endswith("_s")]


@pytest.mark.parametrize("name", list(models.ARCHITECTURES))
def test_builds_trains_one_step_and_takes_a_new_last_layer(name):
    images = Images(
        torch.randint(0, 256, (4, 3, 32, 32)).to(torch.uint8), torch.tensor([0, 1, 2, 3])
    )
    model = models.build(name, 3, 10, 0)
    before = {key: value.double().sum() for key, value in model.named_parameters()}
    training.train(
        model, images.pixels, training.cross_entropy_to(images.labels), recipe(lr=0.01), 0
    )
    moved = [key for key, value in model.named_parameters() if value.double().sum() != before[key]]
    assert len(moved) > len(before) / 2
    logits = training.logits_of(model, images.pixels)
    assert logits.shape == (4, 10) and logits.dtype == torch.float32 and logits.isfinite().all()

    places = {key: value.data_ptr() for key, value in model.named_parameters()}
    models.replace_last(model, 7, 1)
    fresh = {key for key, value in model.named_parameters() if value.data_ptr() != places.get(key)}
    assert training.logits_of(model, images.pixels).shape == (4, 7)
    assert len(fresh) == 2 and {key.rsplit(".", 1)[1] for key in fresh} == {"weight", "bias"}
    head = {id(value) for value in models.head_of(model).parameters()}
    assert all(id(value) in head for key, value in model.named_parameters() if key in fresh)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 32), (3, 64)])
def test_small_networks_take_every_image_size(name, channels, size):
    model = models.build(name, channels, 5, 0).eval()
    assert model(torch.rand(2, channels, size, size)).shape == (2, 5)
    assert 10_000 < sum(parameter.numel() for parameter in model.parameters()) < 100_000


def test_seed_decides_the_weights_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    one, again, other = (state(models.build("resnet_s", 1, 10, seed)) for seed in (0, 0, 1))
    assert same(one, again) and not same(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    model = models.build("vgg_bn_s", 1, 10, 0)
    models.replace_last(model, 10, 3)
    weights = state(model)
    models.replace_last(model, 10, 3)
    assert same(state(model), weights) and torch.equal(torch.get_rng_state(), before)
    models.replace_last(model, 10, 4)
    assert not same(state(model), weights)


def test_networks_normalise_their_own_input():
    model = models.build("vgg_s", 1, 10, 0)
    assert model[0](torch.tensor([0.0, 0.5, 1.0])).tolist() == [-2, 0, 2]


def test_head_is_the_classifier_block_or_the_only_linear_layer():
    layers = [
        layer
        for layer in models.head_of(models.build("vgg_bn_s", 1, 10, 0))
        if isinstance(layer, nn.Linear)
    ]
    assert len(layers) == 3
    assert isinstance(models.head_of(models.build("densenet_s", 1, 10, 0)), nn.Linear)


def test_batch_normalisation_is_where_the_name_says():
    def count(name: str) -> int:
        return sum(
            isinstance(module, nn.BatchNorm2d) for module in models.build(name, 1, 10, 0).modules()
        )

    assert count("vgg_bn_s") == 4 and count("vgg_s") == 0


def test_names_that_profiles_accept_are_the_networks_that_exist():
    names = [*get_args(profiles.Small), *get_args(profiles.Large)]
    assert list(get_args(profiles.Architecture)) == names == list(models.ARCHITECTURES)
    for name in names:
        with torch.device("meta"):
            layers = models.ARCHITECTURES[name](3, 10).modules()
        normalised = any(isinstance(layer, nn.BatchNorm2d) for layer in layers)
        assert normalised == (name not in profiles.WITHOUT_BATCH_NORMALISATION)


def test_unknown_architecture_and_grey_images_are_refused(refused):
    refused(lambda: models.build("vgg16bn", 3, 10, 0), "'vgg16bn'", "vgg16_bn", "resnet_s")
    refused(
        lambda: models.build("resnet18", 1, 10, 0),
        "resnet18",
        "1 channel",
        "vgg_bn_s, vgg_s, resnet_s",
    )


def test_own_pooling_layers_compute_what_torchs_do():
    generator = torch.Generator().manual_seed(0)
    for height, width in ((1, 1), (2, 2), (3, 4), (7, 7)):
        features = torch.randn(2, 5, height, width, generator=generator, requires_grad=True)
        pairs = (
            (models.AveragePool(7)(features), nn.functional.adaptive_avg_pool2d(features, 7)),
            (models.GlobalMaxPool()(features), nn.functional.adaptive_max_pool2d(features, 1)),
        )
        for ours, theirs in pairs:
            assert torch.allclose(ours, theirs, atol=1e-6)
            gradients = [
                torch.autograd.grad(values.square().sum(), features)[0] for values in (ours, theirs)
            ]
            assert torch.allclose(*gradients, atol=1e-5)


@pytest.mark.parametrize("name", list(models.ARCHITECTURES))
def test_no_layer_whose_gradient_is_not_deterministic_on_cuda(name):
    with torch.device("meta"):
        layers = models.ARCHITECTURES[name](3, 10).modules()
    adaptive = [layer for layer in layers if type(layer).__name__.startswith("Adaptive")]
    # to a single value, torch takes the mean instead
    assert all(
        isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1))
        for layer in adaptive
    )
