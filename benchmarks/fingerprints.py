"""Making each kind of fingerprint from a finished run: choosing the probes, asking the owner's
models and writing the folder, and beside it the seconds of training what the kind needs, from the
records of the models. ``python -m benchmarks.fingerprints --profile fashion``.
"""

import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

import typer

from sacheck import calibration, fingerprint
from sacheck.images import Pool
from sacutils import profiles, steps
from sacutils.run import Run, open_run

from . import RESULTS, save, seconds

NEEDED = {"w": steps.SURROGATES, "contested": ["sibling"]}
"""Steps of the models that a kind needs besides the source."""


def make(run: Run, kind: str, count: int, folder: Path) -> fingerprint.Fingerprint:
    """A fingerprint folder of some kind from models of a zoo."""
    split = run.material.splits["probe"].to("cpu")
    names = [run.zoo.source, *run.names(*NEEDED[kind])] if kind in NEEDED else [run.zoo.source]
    pool = Pool(split, run.material.class_names, f"probe split of {run.profile.data.name}")
    owned = [calibration.owned(run, name) for name in names]
    settings = profiles.Probes(count=count, second_count=4)
    return fingerprint.make(folder, owned, pool, pool.class_names, kind, settings)


def measure(run: Run, count: int = 100, contested: int = 1000) -> list[dict[str, Any]]:
    """A row per kind: probes, models that it needs and the seconds of their training, seconds of
    making it, and the same for what a verdict needs besides, the controls.
    """
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("normal", "source", "w", "m", "jc", "contested"):
            number = contested if kind == "contested" else count
            folder = Path(scratch) / kind
            taken = seconds(lambda: make(run, kind, number, folder), run.device)  # noqa: B023
            needed = run.names(*NEEDED[kind]) if kind in NEEDED else []
            controls = run.names(*steps.CONTROLS) if kind == "contested" else []
            row = {"kind": kind, "probes": number, "seconds": taken}
            for part, names in (("models", needed), ("controls", controls)):
                row[part] = len(names)
                row[f"{part}_seconds"] = sum(run.zoo.record(name)["seconds"] for name in names)
            rows.append(row)
    return rows


def main(profile: str = "fashion", out: Path = RESULTS) -> None:
    """Measure on the finished run of a profile."""
    run = open_run(profile)
    run.announce()
    for name in (run.zoo.source, *run.names(*chain(*NEEDED.values()), *steps.CONTROLS)):
        run.zoo.get(name)  # loading is not what is measured
    save("fingerprints", measure(run), out, profile=profile, images=run.profile.splits.probe)


if __name__ == "__main__":
    typer.run(main)
