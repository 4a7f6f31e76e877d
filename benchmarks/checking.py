"""Checking suspects with the owner's tool, from weights on disk to verdicts: `query` and `verify`
for one suspect and for 150. ``python -m benchmarks.checking --profile fashion``.
"""

import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
import typer

import sacheck
from sacutils import steps
from sacutils.run import Run, open_run
from sacutils.studies import verdicts

from . import RESULTS, apart, called, save
from .fingerprints import make


def lay_out(run: Run, names: list[str], folder: Path) -> dict[str, Path]:
    """Copy the weights of models into a folder per architecture, which is what `query` takes; a
    model that is named twice is there twice.
    """
    folders: dict[str, Path] = defaultdict(Path)
    for number, name in enumerate(names):
        spec = run.zoo.specs[name]
        folders[spec.architecture] = folder / spec.architecture
        folders[spec.architecture].mkdir(parents=True, exist_ok=True)
        copy = folders[spec.architecture] / f"{number:03d}-{spec.slug}.safetensors"
        shutil.copyfile(run.zoo.path(name), copy)
    return dict(folders)


def ask(fingerprint: Path, folders: dict[str, Path], out: Path) -> list[Path]:
    """Answers of all models in some folders, a folder of answers per architecture."""
    found: list[Path] = []
    for architecture, folder in folders.items():
        asked = sacheck.query(
            fingerprint, out / architecture, model=folder, architecture=architecture
        )
        found += asked.answers
    return found


def measure(
    run: Run, suspects: int, contested: int = 1000, call: Callable[..., float] = called
) -> list[dict[str, Any]]:
    """A row for one suspect and one for `suspects`: seconds by the clock and memory of asking and
    of judging, and for one what the two commands take from start to end, which `call` runs.
    """
    rows: list[dict[str, Any]] = []
    judged = [spec.name for spec in verdicts.suspects(run)]
    with tempfile.TemporaryDirectory() as scratch:
        own, controls = Path(scratch) / "fingerprint", Path(scratch) / "controls"
        make(run, "contested", contested, own)
        ask(own, lay_out(run, run.names(*steps.CONTROLS), Path(scratch) / "known"), controls)
        known = list(controls.iterdir())
        for number in (1, suspects):
            place = Path(scratch) / str(number)
            folders = lay_out(run, list(islice(cycle(judged), number)), place / "weights")

            def query() -> None:
                # as on the command line; a run has set it to one
                torch.set_num_threads(os.cpu_count() or 1)
                ask(own, folders, place / "answers")  # noqa: B023

            def verify() -> None:
                answers = (place / "answers").glob("*/*.json")  # noqa: B023
                sacheck.verify_each(own, sorted(answers), control=known)

            row: dict[str, Any] = {"suspects": number, "probes": contested}
            row["asking"], row["megabytes_before"], asking = apart(query, time.perf_counter)
            row["judging"], _, judging = apart(verify, time.perf_counter)
            rows.append(row | {"megabytes": max(asking, judging)})
        (architecture, folder), *_ = lay_out(run, judged[:1], Path(scratch) / "one").items()
        file, answers = next(folder.iterdir()), Path(scratch) / "one.json"
        query = ["query", own, "--out", answers, "--model", file, "--architecture", architecture]
        verify = ["verify", own, answers, *(word for path in known for word in ("--control", path))]
        # exit codes tell the verdict
        for words, codes in ((query, (0,)), (verify, (0, 3, 4))):
            rows[0][words[0]] = call("-m", "sacheck", *map(str, words), codes=codes)
    return rows


def main(profile: str = "fashion", suspects: int = 150, out: Path = RESULTS) -> None:
    """Measure on the finished run of a profile."""
    run = open_run(profile)
    run.announce()
    rows = [row for count in (300, 1000) for row in measure(run, suspects, count)]
    save("checking", rows, out, profile=profile)


if __name__ == "__main__":
    typer.run(main)
