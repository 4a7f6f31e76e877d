"""Where the time of ``make book`` goes, from the records of a finished run, and what starting a
process costs: ``python -m benchmarks.book --profile fashion``.

A record's file is written when its job ends, so the job's own seconds tell when it began. A folder
that was copied without its times, or a run that was interrupted, tells nothing of waiting.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import typer

from sacbook import jobs
from sacbook.forked import available_cores
from sacutils import files, steps
from sacutils.profiles import Profile, load_profile

from . import RESULTS, called, save

KERNEL = "ipykernel.kernelapp, torch, sacutils.figures, sacutils.run, sacutils.studies.tables"
STARTS = {
    "sacbook --help": ("-m", "sacbook", "--help"),
    "sacheck --help": ("-m", "sacheck", "--help"),
    "job, forked": ("-c", "import sacbook.forked"),
    "job, by itself": ("-c", "import sacbook.workflow, sacutils.run"),
    "notebook's kernel, by itself": ("-c", f"import {KERNEL}"),
}
"""Starts of processes, with what Python is called with."""
Span = tuple[float, float]


def spans(run: Path) -> dict[str, Span]:
    """Begin and end of each job of a run, in seconds since the epoch, by the job's name."""
    found = {}
    for kind, folder in (("", "steps"), ("notebook-", "notebooks")):
        for path in sorted((run / folder).glob("[!.]*.json")):
            end = path.stat().st_mtime
            found[f"{kind}{path.stem}"] = (end - files.read_json(path)["seconds"], end)
    if not found:
        raise files.UserError(f"{run} has no finished jobs; name the folder of a run (make book).")
    return found


def busy(jobs: list[Span], window: Span) -> float:
    """Seconds that jobs were at work in a window of time, all jobs added."""
    return sum(max(0.0, min(end, window[1]) - max(begin, window[0])) for begin, end in jobs)


def trained(profile: Profile, zoo: Path) -> float:
    """Seconds of training and measuring all models of a run, as their records have them."""
    total = 0.0
    for group, specs in jobs.groups(profile).items():
        digests = steps.digests(jobs.profile_of(profile, group))
        paths = [zoo / f"{spec.slug}.{digests[spec.name][:12]}.json" for spec in specs]
        total += sum(files.read_json(path)["seconds"] for path in paths)
    return total


def measure(
    run: Path, cores: int, models: float, job: float, kernel: float, once: float = 0
) -> list[dict[str, Any]]:
    """A row per kind of job and one for all: jobs, seconds of all added, seconds from the first
    begin to the last end, the share of the cores' time in that window in which no job of any kind
    was at work, and the share of the jobs' seconds that is start-up.

    Of training, start-up is what the seconds of the models leave over, `models`; of other stages it
    is what each `job` and each notebook's `kernel` costs to start, and of all what is paid `once`.
    """
    all_jobs = spans(run)
    kinds: dict[str, list[Span]] = defaultdict(list)
    for name, span in all_jobs.items():
        kinds[name.partition("-")[0]].append(span)
    rows: list[dict[str, Any]] = []
    for kind, part in [*kinds.items(), ("all", list(all_jobs.values()))]:
        window = min(begin for begin, _ in part), max(end for _, end in part)
        total, length = sum(end - begin for begin, end in part), window[1] - window[0]
        start = len(part) * job
        if kind == "train":
            start = total - models
        elif kind == "notebook":
            start = len(part) * kernel  # its clock starts after the imports
        elif kind == "all":
            shares = [row["start_share"] for row in rows]
            start = (
                -1 if None in shares else once + sum(r["start_share"] * r["seconds"] for r in rows)
            )
        row = {"kind": kind, "jobs": len(part), "seconds": total, "window": length}
        row |= {"waiting_share": 1 - busy(list(all_jobs.values()), window) / (cores * length)}
        # models that a job trained before it was interrupted are not in its seconds
        rows.append(row | {"start_share": min(1.0, start / total) if start >= 0 else None})
    return rows


def main(
    profile: str = "fashion",
    cores: int = available_cores(),
    forked: bool = True,
    note: str = "",
    out: Path = RESULTS,
) -> None:
    """Read the finished run of a profile and measure the starts, the best of three calls each. Say
    whether a server forked the jobs of the run, as on Linux, and in a note what disturbed it.
    """
    loaded = load_profile(profile)
    run = files.home() / "runs" / profile
    starts = {name: min(called(*words) for _ in range(3)) for name, words in STARTS.items()}
    fork, job, kernel = list(starts.values())[2:]
    costs = (fork, fork, kernel) if forked else (job, kernel)
    rows = measure(run, cores, trained(loaded, run / "zoo"), *costs)
    facts = {"profile": profile, "cores": cores, "forked": forked, "note": note}
    save("book", rows, out, starts=starts, **facts)


if __name__ == "__main__":
    typer.run(main)
