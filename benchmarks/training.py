"""Training and inference of each architecture, against a plain reference loop and against the
machine's matrix product: ``python -m benchmarks.training --device cuda``.

The reference loop reads images as the released code does: PIL, transformed one by one in a
DataLoader; it trains in float32 in the default memory format. Images are random; no time depends on
what they show. Sides take turns, and the best of several rounds counts.
"""

import os
from collections import defaultdict
from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F
import typer
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from sacbook.costs import forward_flops
from sacutils import models, training
from sacutils.data import Images
from sacutils.profiles import Large, Recipe, Small, load_profile

from . import RESULTS, save, seconds

SIZES = {"cpu": (512, 1024), "cuda": (4096, 8192)}
"""Sides of the matrices whose product is the peak."""


class Pictures(Dataset):
    """Images that are decoded and transformed one by one."""

    def __init__(self, images: Images, pad: int) -> None:
        self.arrays = images.pixels.permute(0, 2, 3, 1).squeeze(-1).numpy()
        self.labels = images.labels.tolist()
        crop = transforms.RandomCrop(self.arrays.shape[1], padding=pad)
        flip, tensor = transforms.RandomHorizontalFlip(), transforms.ToTensor()
        self.transform = transforms.Compose([crop, flip, tensor])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


def batches(pictures: Pictures, recipe: Recipe, device: torch.device) -> DataLoader:
    """The batches of the plain loop; on CUDA half of the cores prepare them."""
    workers = (os.cpu_count() or 2) // 2 if device.type == "cuda" else 0
    return DataLoader(pictures, recipe.batch, shuffle=True, num_workers=workers)


def reference_loop(
    model: nn.Module, pictures: Pictures, recipe: Recipe, device: torch.device
) -> None:
    """One epoch of the plain loop."""
    how = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, **how)
    model.train()
    for x, y in batches(pictures, recipe, device):
        x, y = x.to(device), y.to(device)
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def matrix_rate(device: torch.device) -> float:
    """Operations per second of a product of square matrices: float32 on the CPU, bfloat16 on CUDA,
    the types of training.
    """
    kind, rates = torch.bfloat16 if device.type == "cuda" else torch.float32, []
    for size in SIZES[device.type]:
        a = torch.rand(size, size, device=device).to(kind)
        rates += [2 * size**3 / seconds(lambda: a @ a, device) for _ in range(4)]  # noqa: B023
    return max(rates)


def measure(device: str = "cpu", images: int = 2000, rounds: int = 5, out: Path = RESULTS) -> None:
    """Measure every architecture for the device."""
    place = training.pick_device(device)
    cuda = place.type == "cuda"
    profile = load_profile("paper" if cuda else "fashion")
    recipe = Recipe.model_validate(profile.recipes.independent.model_dump() | {"epochs": 1})
    channels, size, classes = profile.data.channels, profile.data.image_size, 10
    generator = torch.Generator().manual_seed(0)
    shape = (images, channels, size, size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, classes, (images,), generator=generator)
    pictures, on_device = Pictures(Images(pixels, labels), recipe.pad), pixels.to(place)
    objective = training.cross_entropy_to(labels.to(place))

    def build(name: str) -> nn.Module:
        return models.build(name, channels, classes, 0).to(place)

    def train(name: str) -> float:
        model = build(name)
        return seconds(
            lambda: training.train(model, on_device, objective, recipe, 0, record=True), place
        )

    def refer(name: str) -> float:
        model = build(name).to(memory_format=torch.contiguous_format)
        # what training switches on for the sake of equal weights, the released code does not
        torch.use_deterministic_algorithms(False)
        taken = seconds(lambda: reference_loop(model, pictures, recipe, place), place)
        torch.use_deterministic_algorithms(True)
        return taken

    def answer(name: str) -> float:
        model = build(name)
        return seconds(lambda: training.logits_of(model, on_device), place)

    def prepare() -> float:
        return seconds(lambda: list(batches(pictures, recipe, place)), place)

    best: dict[tuple[str, str], float] = defaultdict(lambda: float("inf"))
    names, peak, prepared = get_args(Large if cuda else Small), 0.0, float("inf")
    for _ in range(rounds):
        prepared = min(prepared, prepare())
        for name in names:
            peak = max(peak, matrix_rate(place))
            for side in (train, refer, answer):
                key = (name, side.__name__)
                best[key] = min(best[key], side(name))
    rows = []
    for name in names:
        forward = forward_flops(name, channels, size, classes)
        pace = {side: images / best[name, side] for side in ("train", "refer", "answer")}
        row = {"architecture": name, "images_per_second": pace["train"]}
        row |= {"reference": pace["refer"], "answered": pace["answer"]}
        # as sacbook.costs counts: a step of training costs three forward passes
        row |= {"train_share": 3 * forward * pace["train"] / peak}
        rows.append(row | {"answer_share": forward * pace["answer"] / peak})
    facts = {"images": images, "batch": recipe.batch, "side": size, "rounds": rounds, "peak": peak}
    facts["prepared"] = images / prepared
    card = torch.cuda.get_device_name() if cuda else "CPU, one thread"
    save(f"training-{place.type}", rows, out, device=card, **facts)


if __name__ == "__main__":
    typer.run(measure)
