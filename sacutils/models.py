"""Architectures by name: the paper's torchvision networks, and a CPU family that mirrors them at
small size.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import get_args

import torch
import torch.nn.functional as F
from torch import nn

from .files import UserError
from .profiles import Large, Small

Join = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Normalise(nn.Module):
    """Maps [0, 1] to [-2, 2]; part of every model, so that all inputs are plain images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise a batch of images with values in [0, 1]."""
        return (x - 0.5) * 4


class GlobalMaxPool(nn.Module):
    """Largest value of each channel. `AdaptiveMaxPool2d` does the same, but its gradient is not
    deterministic on CUDA.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool features of shape (n, channels, height, width) to (n, channels, 1, 1)."""
        return F.max_pool2d(x, x.shape[-2:])


class AveragePool(nn.Module):
    """Adaptive average pooling as two matrix products, because the gradient of torch's own is not
    deterministic on CUDA.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool features of shape (n, channels, height, width) to (n, channels, size, size)."""
        rows, columns = (
            F.adaptive_avg_pool1d(torch.eye(n, device=x.device, dtype=x.dtype), self.size).T
            for n in x.shape[-2:]
        )
        return rows @ x @ columns.T


def _conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, norm: bool = True
) -> list[nn.Module]:
    """Convolution, batch normalisation or a bias, ReLU."""
    padding, bias = kernel // 2, not norm
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)
    return [convolution, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True)]


def _vgg(channels: int, classes: int, norm: bool) -> nn.Module:
    """Convolutions and max-pooling, then a `classifier` of three layers."""
    layer = partial(_conv, norm=norm)
    # like VGG's, the last convolution is the widest: redundant enough to be pruned
    features = nn.Sequential(
        *layer(channels, 16, 5, 2),
        *layer(16, 24),
        nn.MaxPool2d(2),
        *layer(24, 32),
        nn.MaxPool2d(2),
        *layer(32, 128),
        GlobalMaxPool(),
    )
    first, second = [nn.Linear(128, 64), nn.ReLU(True)], [nn.Linear(64, 64), nn.ReLU(True)]
    classifier = nn.Sequential(nn.Flatten(), *first, *second, nn.Linear(64, classes))
    for module in features:
        if isinstance(module, nn.Conv2d):
            # without batch normalisation, torch's default shrinks the signal layer by layer
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(OrderedDict(features=features, classifier=classifier))


class Block(nn.Module):
    """Layers beside a shortcut: ``join(shortcut(x), body(x))``."""

    def __init__(
        self, join: Join, body: Iterable[nn.Module], shortcut: Iterable[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.join, self.body, self.shortcut = join, nn.Sequential(*body), nn.Sequential(*shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of a batch."""
        return self.join(self.shortcut(x), self.body(x))


def summed_normalisations(model: nn.Module) -> list[nn.Module]:
    """Batch normalisations whose output is added to that of a shortcut: a channel that they hold at
    zero is not silent.
    """
    from torchvision.models.resnet import BasicBlock

    found: list[nn.Module] = []
    for block in model.modules():
        if isinstance(block, Block):
            found += [block.body[-1], *block.shortcut]
        elif isinstance(block, BasicBlock):
            found += [block.bn2, *(block.downsample or ())]
    return found


def _residual(inputs: int, outputs: int, stride: int) -> Block:
    """ResNet18's block: two convolutions with a shortcut."""
    body = [*_conv(inputs, outputs, 3, stride), *_conv(outputs, outputs)[:2]]
    straight = stride == 1 and inputs == outputs
    projection = [] if straight else _conv(inputs, outputs, 1, stride)[:2]
    return Block(lambda x, y: torch.relu(x + y), body, projection)


def _dense(inputs: int, growth: int) -> Block:
    """DenseNet's layer: its `growth` new features are appended to its input."""
    convolution = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)
    body = [nn.BatchNorm2d(inputs), nn.ReLU(), convolution]
    return Block(lambda x, y: torch.cat([x, y], 1), body)


def _inverted(inputs: int, outputs: int, stride: int, expand: int) -> Block:
    """MobileNetV2's block: expand, depthwise convolution, project; a shortcut if shapes allow."""
    hidden = inputs * expand
    expanded = [*_conv(inputs, hidden, 1), *_conv(hidden, hidden, 3, stride, hidden)]
    body = [*expanded, *_conv(hidden, outputs, 1)[:2]]
    return Block(torch.add if stride == 1 and inputs == outputs else lambda x, y: y, body)


def _trunk(features: list[nn.Module], width: int, classes: int) -> nn.Module:
    """Features, global average pooling, one linear layer `fc`: every network but VGG."""
    pool, fc = nn.AdaptiveAvgPool2d(1), nn.Linear(width, classes)
    layers = OrderedDict(features=nn.Sequential(*features), pool=pool, flat=nn.Flatten(), fc=fc)
    return nn.Sequential(layers)


def _resnet(channels: int, classes: int) -> nn.Module:
    first = _conv(channels, 16, 3, 2)
    blocks = [_residual(16, 16, 1), _residual(16, 32, 2), _residual(32, 48, 2)]
    return _trunk([*first, *blocks], 48, classes)


def _densenet(channels: int, classes: int) -> nn.Module:
    # multiples of eight channels, for which processors have fast convolutions
    first = [*_conv(channels, 16, 3, 2), _dense(16, 8), _dense(24, 8)]
    between = [*_conv(32, 24, 1), nn.AvgPool2d(2)]
    second = [_dense(24, 16), _dense(40, 16), _dense(56, 16), nn.BatchNorm2d(72), nn.ReLU(True)]
    return _trunk([*first, *between, *second], 72, classes)


def _mobilenet(channels: int, classes: int) -> nn.Module:
    shapes = [(16, 16, 2, 1), (16, 32, 1, 2), (32, 32, 1, 2), (32, 48, 2, 2)]
    blocks = [_inverted(*shape) for shape in shapes]
    return _trunk([*_conv(channels, 16, 3, 2), *blocks, *_conv(48, 96, 1)], 96, classes)


def _torchvision(name: str, channels: int, classes: int) -> nn.Module:
    from torchvision import models

    if channels != 3:
        problem = f"{name} takes colour images, the data set has {channels} channel(s)"
        raise UserError(f"{problem}; choose one of {', '.join(get_args(Small))}.")
    network = getattr(models, name)(weights=None, num_classes=classes)
    if name.startswith("vgg"):
        network.avgpool = AveragePool(7)
    return network


ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "vgg_bn_s": partial(_vgg, norm=True),
    "vgg_s": partial(_vgg, norm=False),
    "resnet_s": _resnet,
    "densenet_s": _densenet,
    "mobilenet_s": _mobilenet,
} | {name: partial(_torchvision, name) for name in get_args(Large)}
"""Every architecture by name, as a function of input channels and number of classes; the ``_s``
ones are for the CPU."""


def build(name: str, channels: int, classes: int, seed: int) -> nn.Module:
    """A freshly initialised network of `ARCHITECTURES`, from images, float32 in [0, 1], shape
    (n, channels, height, width), to logits, shape (n, classes); a ``UserError`` if there is no such
    architecture, or it does not take grey images.

    The seed is that of the initial weights; torch's global generator is left as it was.
    """
    if name not in ARCHITECTURES:
        raise UserError(f"Unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(Normalise(), ARCHITECTURES[name](channels, classes))
    return model.to(memory_format=torch.channels_last)


def head_of(model: nn.Module) -> nn.Module:
    """What *Finetune-L* and *Transfer-L* train: the ``classifier`` block, or the only linear layer
    where there is none.
    """
    network = model[1]  # type: ignore[index]
    return network.classifier if hasattr(network, "classifier") else network.fc


def replace_last(model: nn.Module, classes: int, seed: int) -> None:
    """Put a fresh last linear layer with `classes` outputs into a model, in place."""
    network, head = model[1], head_of(model)  # type: ignore[index]
    old = head[-1] if isinstance(head, nn.Sequential) else head
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = nn.Linear(old.in_features, classes, device=old.weight.device)
    if isinstance(head, nn.Sequential):
        head[-1] = fresh
    else:  # DenseNet calls it classifier, ResNet fc
        setattr(network, "classifier" if hasattr(network, "classifier") else "fc", fresh)
