"""A long training that is interrupted goes on where it was, to the same bytes.

:func:`training.train` says here what it works on, and when an epoch is over; what is kept is kept
beside the model that is being made. This changes no result, as tests hold to: digests of models do
not look at statements that only call this module, see :mod:`sacutils.freshness`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from . import files

EVERY = 180.0
"""Seconds of training between two checkpoints, at least; a shorter training writes none."""


@dataclass
class _Model:
    """The making of one model: `call` counts its trainings, of which some models have several."""

    path: Path
    digest: str
    started: float
    earlier: float = 0.0
    call: int = 0
    found: dict[str, Any] = field(default_factory=dict)
    generators: list[torch.Generator] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    written: float = 0.0


_making: list[_Model] = []
"""The models that are being made; one may first have to make its parent."""


@contextmanager
def kept(path: Path, digest: str) -> Iterator[None]:
    """Keep the trainings in this context beside the model's file `path`, and go on from what an
    interrupted process has kept for a model of this digest; it is removed when the model is made.
    """
    model = _Model(path.parent / ".checkpoints" / f"{path.stem}.pt", digest, time.monotonic())
    if files.intact(model.path, digest):
        found = torch.load(model.path, weights_only=True, map_location="cpu")
        if found["cuda"] is None or torch.cuda.is_available():  # else it begins anew
            model.found, model.earlier = found, found["seconds"]
            print(f"{path.stem} goes on after epoch {len(found['loss'])}.", flush=True)
    _making.append(model)
    try:
        yield
    finally:
        _making.pop()
    for made in (model.path, model.path.with_suffix(".json")):
        made.unlink(missing_ok=True)


def seconds_before() -> float:
    """Seconds that earlier processes spent on the model that is being made."""
    return _making[-1].earlier if _making else 0.0


def draws_from(generator: torch.Generator) -> None:
    """Keep the state of another random generator with the trainings to come."""
    if _making:
        _making[-1].generators.append(generator)


def start(progress: Any, generator: torch.Generator, history: Any, **parts: Any) -> None:
    """A training begins, or goes on where it was: `progress` is its tqdm over epochs, `parts` are
    the model, the optimiser and the schedule, by name, which are changed in place.
    """
    if not _making:
        return
    model = _making[-1]
    model.call, model.written = model.call + 1, time.monotonic()
    model.training = {"generator": generator, "history": history, "parts": parts}
    found = model.found
    if found.get("call") != model.call:
        return
    for name, part in parts.items():
        part.load_state_dict(found[name])
    for own, state in zip([generator, *model.generators], found["generators"], strict=True):
        own.set_state(state)
    torch.set_rng_state(found["torch"])
    if found["cuda"] is not None:
        torch.cuda.set_rng_state(found["cuda"])
    history.loss.extend(found["loss"])
    history.accuracy.extend(found["accuracy"])
    done = len(history.loss)
    progress.iterable, progress.n = progress.iterable[done:], done


def epoch() -> None:
    """An epoch is over: keep the training if the last time is `EVERY` seconds ago."""
    if not _making:
        return
    model = _making[-1]
    # what is repeated on the way to a later training replaces nothing of that
    if time.monotonic() - model.written < EVERY or model.call < model.found.get("call", 0):
        return
    generator, history = model.training["generator"], model.training["history"]
    state = {name: part.state_dict() for name, part in model.training["parts"].items()}
    state |= {"generators": [own.get_state() for own in (generator, *model.generators)]}
    state |= {"torch": torch.get_rng_state(), "call": model.call}
    state |= {"cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None}
    state |= {"loss": history.loss, "accuracy": history.accuracy}
    state |= {"seconds": model.earlier + time.monotonic() - model.started}
    with files.atomic_path(model.path) as temporary:
        torch.save(state, temporary)
    files.write_record(model.path, model.digest)
    model.written = time.monotonic()
