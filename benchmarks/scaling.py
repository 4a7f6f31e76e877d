"""Correlation distances and the sibling test, by numbers of probes and of suspects: seconds, memory
and how both grow. ``python -m benchmarks.scaling``.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import typer

from sacutils import correlation, siblings, training

from . import RESULTS, apart, save

PROBES = (50, 100, 200, 500, 1000, 2000, 5000, 10000)
SUSPECTS = (1, 10, 100, 1000)
LARGEST = 10**9
"""Entries of all matrices of a cell up to which it is measured: about ten seconds."""
CLASSES, MEMBERS, CONTROLS = 10, 20, 12


def answers(models: int, probes: int, seed: int) -> torch.Tensor:
    """Probabilities of some models that answer at random, float64, (models, probes, classes)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (models, probes, CLASSES)
    return (3 * torch.randn(shape, generator=generator, dtype=torch.float64)).softmax(2)


def correlate(probes: int, suspects: int) -> None:
    """Correlation distance of each suspect to the source, one after the other as the tables do."""
    source, *others = answers(1 + suspects, probes, 0)
    own = correlation.cosine_matrix(source)
    for other in others:
        correlation.distance(own, correlation.cosine_matrix(other))


def judge(probes: int, suspects: int) -> None:
    """The sibling test of all suspects from their labels."""
    members = answers(MEMBERS, probes, 0).log()
    controls = siblings.scores(members, answers(CONTROLS, probes, 1).argmax(2))
    judged = siblings.scores(members, answers(suspects, probes, 2).argmax(2))
    siblings.sibling_test(judged, controls)


def measure(
    probes: Sequence[int] = PROBES, suspects: Sequence[int] = SUSPECTS, rounds: int = 3
) -> list[dict[str, object]]:
    """A row per method and cell; seconds and memory are the least of some rounds."""
    training.pick_device("cpu")
    rows = []
    for n in probes:
        for m in suspects:
            for method, work, entries in (
                ("correlation distance", correlate, n * n * m),
                ("sibling test", judge, n * CLASSES * m),
            ):
                if entries > LARGEST:
                    continue
                again = rounds if entries <= LARGEST / 100 else 1
                found = [apart(lambda: work(n, m)) for _ in range(again)]  # noqa: B023
                taken, before, peak = map(min, zip(*found, strict=True))
                row = {"method": method, "probes": n, "suspects": m, "seconds": taken}
                rows.append(row | {"megabytes": peak, "megabytes_before": before})
    return rows


def main(out: Path = RESULTS) -> None:
    """Measure all cells."""
    save("scaling", measure(), out, classes=CLASSES, members=MEMBERS, controls=CONTROLS)


if __name__ == "__main__":
    typer.run(main)
