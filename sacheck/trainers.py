"""The owner's training as something to call: a command, a function of their own, or ours."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from sacutils import training
from sacutils.files import UserError, words_of
from sacutils.profiles import Recipe

from . import architectures
from .images import read_pool
from .text import plain, refuse, summary
from .weights import ModelFile, prepare

Trainer = Callable[[Path, int, Path], object]
"""Trains on a folder with one folder per class, from a seed, and writes a file of weights."""
PLACES = ("{data}", "{seed}", "{out}")
"""What a training command must hold: folder of class folders, seed, and file to write."""
RECIPE = Recipe(lr=0.05, epochs=20, batch=64)
"""Of :func:`standard`: that of the book's source."""


class Failed(Exception):
    """A training command ended with an exit code that is not 0."""


def trainer(
    text: str | None, source: ModelFile, class_names: list[str], channels: int, side: int
) -> Trainer:
    """The training that `text` names: a command line with :data:`PLACES`, or ``module:function`` of
    a module in the current directory, which is called with data, seed and file. Both are the
    owner's own code and are run as they are. Without `text` it is :func:`standard`.
    """
    if text is None:
        return standard(source, class_names, channels, side)
    if re.fullmatch(r"[\w.]+:\w+", text):
        try:
            return architectures.own_function(*text.split(":"))
        except (Exception, SystemExit) as error:  # whatever the owner's module raises
            found = architectures.named(error)
            raise UserError(f"The training {plain(text)!r} cannot be imported ({found}).") from None
    what = f"The training command {plain(text)!r} "
    absent = [place for place in PLACES if place not in text]
    lacks = f"lacks {' and '.join(absent)}; it is run for a folder of images, a seed and a file to "
    refuse(what + lacks, {"write": bool(absent)})
    try:
        words = words_of(text)
    except ValueError as error:
        raise UserError(f"{what}is no command line ({summary(error)}).") from None

    def train(data: Path, seed: int, out: Path) -> None:
        given = words
        for place, value in zip(PLACES, (data, seed, out), strict=True):
            given = [word.replace(place, str(value)) for word in given]
        try:
            said = {"stdout": sys.stdout, "stderr": sys.stderr}  # the log, while it is called
            code = subprocess.run(given, **said, check=False).returncode
        except OSError as error:
            raise UserError(f"{plain(words[0])} cannot be run ({error.strerror}).") from None
        if code:
            raise Failed(f"exit code {code}")

    return train


def standard(source: ModelFile, class_names: list[str], channels: int, side: int) -> Trainer:
    """Training of the source's architecture by `RECIPE`, with random shifts and flips.

    A source is like siblings that are trained so only if it was itself, for which
    ``standard(...)(data, seed, out)`` serves as well.
    """
    path, name, how = source
    what = "Without --train, siblings are trained by sacheck itself, which needs --architecture"
    refuse(what, {"": name is None})
    recipe = RECIPE.model_copy(update={"pad": max(1, side // 14)})

    def train(data: Path, seed: int, out: Path) -> None:
        pool = read_pool(data, side, channels, class_names, most=10**9)
        cut = f"{pool.described} as memory allows; give your own training by --train"
        refuse(cut, {"": pool.drawn})
        training.pick_device("cpu")
        torch.manual_seed(seed)
        network = architectures.build(str(name), channels, len(class_names), path.parent)
        labels = pool.images.labels

        def objective(
            model: nn.Module, x: torch.Tensor, index: torch.Tensor
        ) -> training.LossAndHits:
            given = model(prepare(255 * x, how))
            logits, target = getattr(given, "logits", given), labels[index]
            return F.cross_entropy(logits, target), (logits.argmax(1) == target).sum()

        training.train(network, pool.images.pixels, objective, recipe, seed, label=out.stem)
        safetensors.torch.save_model(network, str(out))

    return train
