"""Architectures by name: the paper's torchvision networks, and a CPU family that mirrors them at small size."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from .artefacts import UserError


class Normalise(nn.Module):
    """Maps [0, 1] to [-2, 2]: x -> (x - 0.5) / 0.25. It belongs to the model, so that all inputs are plain images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise a batch of images with values in [0, 1]."""
        return (x - 0.5) * 4


class GlobalMaxPool(nn.Module):
    """Largest value of each channel. `AdaptiveMaxPool2d` does the same, but its gradient is not deterministic on CUDA."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool features of shape (n, channels, height, width) to (n, channels, 1, 1)."""
        return F.max_pool2d(x, x.shape[-2:])


class AveragePool(nn.Module):
    """Adaptive average pooling as two matrix products, because the gradient of torch's own is not deterministic on CUDA."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool features of shape (n, channels, height, width) to (n, channels, size, size)."""
        rows, columns = (F.adaptive_avg_pool1d(torch.eye(n, device=x.device, dtype=x.dtype), self.size).T for n in x.shape[-2:])
        return rows @ x @ columns.T


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution, batch normalisation, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _plain(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]


class VGG(nn.Module):
    """Convolutions and max-pooling, then a `classifier` of three layers, as VGG has; with or without batch normalisation."""

    def __init__(self, channels: int, classes: int, batch_norm: bool) -> None:
        super().__init__()
        layer = _conv if batch_norm else _plain
        first = _conv(channels, 16, 5, 2) if batch_norm else [nn.Conv2d(channels, 16, 5, 2, 2), nn.ReLU(inplace=True)]
        # like VGG's, the last convolution is the widest: redundant enough to be pruned
        self.features = nn.Sequential(
            *first, *layer(16, 24), nn.MaxPool2d(2), *layer(24, 32), nn.MaxPool2d(2), *layer(32, 128), GlobalMaxPool()
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(128, 64),
            nn.ReLU(inplace=True),
            nn.Linear(64, 64),
            nn.ReLU(inplace=True),
            nn.Linear(64, classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # without batch normalisation, torch's default shrinks the signal layer by layer
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        return self.classifier(self.features(x))


class Residual(nn.Module):
    """Two convolutions with a shortcut, as in ResNet18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(inputs, outputs, 3, stride), *_conv(outputs, outputs)[:2])
        straight = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if straight else nn.Sequential(*_conv(inputs, outputs, 1, stride)[:2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of a batch."""
        return torch.relu(self.body(x) + self.shortcut(x))


class Dense(nn.Module):
    """One DenseNet layer: its new features are appended to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, growth, 3, padding=1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of a batch, `growth` channels more than the input."""
        return torch.cat([x, self.body(x)], 1)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise convolution, project; a shortcut where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.body = nn.Sequential(
            *_conv(inputs, hidden, 1), *_conv(hidden, hidden, 3, stride, groups=hidden), *_conv(hidden, outputs, 1)[:2]
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of a batch."""
        return x + self.body(x) if self.shortcut else self.body(x)


class Trunk(nn.Module):
    """Features, global average pooling and one linear layer, `fc`: the shape of every network but VGG."""

    def __init__(self, features: list[nn.Module], width: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        return self.fc(self.features(x).mean((2, 3)))


def _resnet(channels: int, classes: int) -> nn.Module:
    return Trunk([*_conv(channels, 16, 3, 2), Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 48, 2)], 48, classes)


def _densenet(channels: int, classes: int) -> nn.Module:
    first = [*_conv(channels, 12, 3, 2), Dense(12, 10), Dense(22, 10), *_conv(32, 24, 1), nn.AvgPool2d(2)]
    second = [Dense(24, 16), Dense(40, 16), Dense(56, 16), nn.BatchNorm2d(72), nn.ReLU(inplace=True)]
    return Trunk(first + second, 72, classes)


def _mobilenet(channels: int, classes: int) -> nn.Module:
    blocks = [
        InvertedResidual(12, 12, 1, 2),
        InvertedResidual(12, 24, 2, 3),
        InvertedResidual(24, 24, 1, 3),
        InvertedResidual(24, 40, 2, 3),
    ]
    return Trunk([*_conv(channels, 12, 3, 2), *blocks, *_conv(40, 96, 1)], 96, classes)


def _torchvision(name: str) -> Callable[[int, int], nn.Module]:
    def make(channels: int, classes: int) -> nn.Module:
        from torchvision import models

        if channels != 3:
            raise UserError(
                f"{name} takes colour images, the data set has {channels} channel(s); choose one of the *_s networks."
            )
        network = getattr(models, name)(weights=None, num_classes=classes)
        if name.startswith("vgg"):
            network.avgpool = AveragePool(7)
        return network

    return make


ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "vgg_bn_s": lambda channels, classes: VGG(channels, classes, batch_norm=True),
    "vgg_s": lambda channels, classes: VGG(channels, classes, batch_norm=False),
    "resnet_s": _resnet,
    "densenet_s": _densenet,
    "mobilenet_s": _mobilenet,
} | {
    name: _torchvision(name)
    for name in ("vgg16_bn", "vgg19_bn", "vgg13", "resnet18", "resnet34", "densenet121", "mobilenet_v2")
}
"""Every architecture by name, as a function of input channels and number of classes; the ``_s`` ones are for the CPU."""


def build(name: str, channels: int, classes: int, seed: int) -> nn.Module:
    """A freshly initialised network.

    Parameters
    ----------
    name : str
        A key of `ARCHITECTURES`.
    channels : int
        Channels of the input: 1 or 3.
    classes : int
        Number of outputs.
    seed : int
        Seed of the initial weights; torch's global generator is left as it was.

    Returns
    -------
    torch.nn.Module
        From images, float32 in [0, 1], shape (n, channels, height, width), to logits, shape (n, classes).

    Raises
    ------
    UserError
        If there is no such architecture.
    """
    if name not in ARCHITECTURES:
        raise UserError(f"Unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(Normalise(), ARCHITECTURES[name](channels, classes))
    return model.to(memory_format=torch.channels_last)


def head_of(model: nn.Module) -> nn.Module:
    """What *Finetune-L* and *Transfer-L* train: the ``classifier`` block, or the only linear layer where there is none."""
    network = model[1]  # type: ignore[index]
    return network.classifier if hasattr(network, "classifier") else network.fc


def replace_last(model: nn.Module, classes: int, seed: int) -> None:
    """Put a fresh last linear layer with `classes` outputs into a model, in place."""
    head = head_of(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(head, nn.Linear):  # DenseNet calls it classifier, ResNet fc
            name = "classifier" if hasattr(model[1], "classifier") else "fc"  # type: ignore[index]
            setattr(model[1], name, nn.Linear(head.in_features, classes, device=head.weight.device))  # type: ignore[index]
        else:
            head[-1] = nn.Linear(head[-1].in_features, classes, device=head[-1].weight.device)  # type: ignore[index,operator]
