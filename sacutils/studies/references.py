"""Reference runs: small tables of full runs with several sources, kept in ``results/``."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from .. import data, files
from ..files import UserError
from ..probes import PROBE_SETS
from ..profiles import Profile
from ..run import Run, read_table
from ..steps import LABELS
from .tables import TABLES, Tables, duration, seed_first

LEFT_OUT = {
    "zoo": ["parameters", "attempt", "digest", "sha256", "train_accuracy"],
    "distances": ["group", "architecture"],
}
"""Columns of a run's tables that a reference does without, so that it stays small."""
TEXT: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": [""]}
"""Reads every cell as it is written; some settings are called "none"."""
OPTIONAL = ("attacks",)
"""Tables that a source may lack: it is older than they are."""
DEFAULT = "fashion"
"""The reference that stands in for profiles without one."""


def collect(runs: list[Run], folder: Path | None = None) -> Path:
    """Add the tables, the probe images and the provenance of full runs to their reference.

    Sources that the reference has and that are not among `runs` are kept as they are; those given
    again are replaced. Rows are ordered by seed. All is read and checked before anything is
    written, and the record comes last: if the process is killed in between, :func:`load` refuses
    what it left. Returns the folder that was written, ``<folder>/<profile>``; `folder` is
    ``results/`` if it is not given.

    Raises
    ------
    UserError
        If a run is not full or has no tables, or the runs are of several profiles or share a seed;
        if sources that are kept do not match their record, or were made from other data than the
        new ones, or have tables with other columns.
    """
    name = _checked(runs)
    target = _results(folder) / name
    sources = provenance(name, folder)["sources"] if name in available(folder) else {}
    new = {str(run.profile.seed): run for run in runs}
    kept = sorted(set(sources) - set(new), key=int)
    images, before = {}, {}
    if kept:
        load(name, folder)
        images = files.read_json(target / "probes.json")
        before = {
            table: pd.read_csv(target / f"{table}.csv", **TEXT)
            for table in TABLES
            if (target / f"{table}.csv").exists()
        }
    seeds = sorted([*kept, *new], key=int)
    sources |= {seed: describe(run) for seed, run in new.items()}
    for seed, run in new.items():
        records = {name: run.folder / "probes" / f"{name}.json" for name in PROBE_SETS}
        images[seed] = {f"{k}.image": files.read_json(v)["images"] for k, v in records.items()}
    for field in ("data", "transfer target", "images"):
        values = list(dict.fromkeys(json.dumps(sources[seed][field]) for seed in seeds))
        if len(values) > 1:
            raise UserError(
                f"Sources of a reference differ in their seeds only, found in {name} the {field} "
                f"{' and '.join(values)}."
            )
    joined = {table: _joined(table, before.get(table), new, target) for table in TABLES}
    tables = {table: rows for table, rows in joined.items() if rows is not None}
    for table, rows in tables.items():
        files.write_text(target / f"{table}.csv", rows.to_csv(index=False))
    files.write_json(target / "probes.json", {seed: images[seed] for seed in seeds})
    written = [*(f"{table}.csv" for table in tables), "probes.json"]
    sums = {file: files.sha256(target / file) for file in written}
    record = {"profile": name, "sources": {seed: sources[seed] for seed in seeds}, "sha256": sums}
    files.write_json(target / "provenance.json", record)
    return target


def _checked(runs: list[Run]) -> str:
    """The name of the profile of runs that can be collected."""
    names = sorted({run.profile.name for run in runs})
    seeds = [run.profile.seed for run in runs]
    if len(names) != 1 or len(set(seeds)) != len(seeds):
        raise UserError(
            f"A reference takes runs of one profile with different seeds, found "
            f"{', '.join(names)}, seeds {seeds}."
        )
    for run in runs:
        again = f"run make book PROFILE={names[0]} SEED={run.profile.seed} FULL=1"
        if not run.profile.full:
            raise UserError(f"A reference takes full runs, and {run.folder} is none; {again}.")
        paths = [run.folder / f"tables/{table}.csv" for table in TABLES if table not in OPTIONAL]
        if missing := [path for path in paths if not path.exists()]:
            raise UserError(f"{missing[0]} is missing; {again}.")
    return names[0]


def _joined(
    table: str, before: pd.DataFrame | None, new: dict[str, Run], target: Path
) -> pd.DataFrame | None:
    """A table of the sources that are kept and of new runs, by seed; cells are as written. None
    where no source has it.
    """
    parts = []
    for seed, run in new.items():
        path = run.folder / "tables" / f"{table}.csv"
        if table in OPTIONAL and not path.exists():
            continue
        rows = pd.read_csv(path, **TEXT).assign(seed=seed)
        parts.append(seed_first(rows.drop(columns=LEFT_OUT.get(table, []))))
    if before is not None:
        if other := set(before.columns) ^ set((parts or [before])[0].columns):
            raise UserError(
                f"{target / table}.csv and a new run differ in columns ({', '.join(other)}); "
                "collect all seeds again."
            )
        parts.append(before[~before["seed"].isin(list(new))])
    if not any(map(len, parts)):
        return None
    return pd.concat(parts).sort_values("seed", key=lambda seeds: seeds.astype(int), kind="stable")


def _results(folder: Path | None) -> Path:
    return folder or files.home() / "results"


def describe(run: Run) -> dict[str, Any]:
    """What a run was made from and on: data, numbers of images and models, seconds, machine."""
    records = run.records()
    seconds: Counter[str] = Counter()
    for record in records:
        seconds[LABELS[record["step"]]] += record["seconds"]
    return {
        "data": _data(run.profile),
        "transfer target": run.profile.transfer.data.name,
        "images": {name: len(images.labels) for name, images in run.material.splits.items()},
        "models": len(records),
        "seconds of training": {group: round(value, 2) for group, value in seconds.items()},
        "device": run.device.type,
        "hardware": sorted({record["hardware"] for record in records}),
        "versions": records[0]["versions"],
        "utc": [min(record["utc"] for record in records), max(record["utc"] for record in records)],
    }


def _data(profile: Profile) -> str:
    """The data set; of an ImageFolder how many files of which format, but not where it lies."""
    if profile.data.path is None:
        return profile.data.name
    found = data.images_below(files.home() / profile.data.path)
    formats = Counter(path.suffix.lower().removeprefix(".") for path in found)
    counts = (f"{count:,} {suffix} files" for suffix, count in sorted(formats.items()))
    return f"ImageFolder of {', '.join(counts)}"


def available(folder: Path | None = None) -> list[str]:
    """Profiles that have a reference."""
    return sorted(path.parent.name for path in _results(folder).glob("*/provenance.json"))


def load(profile: str, folder: Path | None = None) -> Tables:
    """The tables of a reference, checked against their record; nothing is trained. An early one may
    lack a table.

    Raises
    ------
    UserError
        If there is no reference of that profile, or a table was changed.
    """
    if profile not in (known := available(folder)):
        names = ", ".join(known) or "none"
        raise UserError(f"There is no reference of profile {profile!r}; results/ has {names}.")
    target = _results(folder) / profile
    for name, expected in provenance(profile, folder)["sha256"].items():
        if not (target / name).exists() or files.sha256(target / name) != expected:
            raise UserError(
                f"{target / name} does not match its record; restore it with: git checkout results"
            )
    known = provenance(profile, folder)["sha256"]
    return {
        table: read_table(target / f"{table}.csv") for table in TABLES if f"{table}.csv" in known
    }


def for_run(run: Run, folder: Path | None = None, table: str = "auc") -> tuple[str, Tables]:
    """The reference that shows what a run lacks, of its own profile or else of `DEFAULT`: what it
    is called in tables, see :func:`label`, and its tables.

    Raises
    ------
    UserError
        If there is neither.
    """
    name = run.profile.name if run.profile.name in available(folder) else DEFAULT
    tables = load(name, folder)
    return label(name, tables, table), tables


def full_tables(run: Run, make: Callable[[], Tables]) -> tuple[str, Tables]:
    """What only a full run has: `make` of it if the run is full, otherwise the tables of its
    :func:`for_run`; with the words by which a page names their origin.
    """
    if run.profile.full:
        return f"this run, {run.profile.run_name}", make()
    name, tables = for_run(run)
    return f"the reference run {name}", tables


def provenance(profile: str, folder: Path | None = None) -> dict[str, Any]:
    """The record of a reference: profile, what each source was made from and on, checksums."""
    return files.read_json(_results(folder) / profile / "provenance.json")


def facts(profile: str, folder: Path | None = None) -> dict[str, str]:
    """The record of a reference as short texts; where sources differ, all values or the range."""
    record = provenance(profile, folder)
    sources = list(record["sources"].values())
    seconds = [sum(source["seconds of training"].values()) for source in sources]
    names, splits = ("python", "torch", "numpy"), ("owner", "attacker", "probe", "reserve", "test")
    versions = [{name: source["versions"][name] for name in names} for source in sources]
    images = [
        {split: f"{source['images'][split]:,}" for split in splits if split in source["images"]}
        for source in sources
    ]
    dates = [date[:10] for source in sources for date in source["utc"]]
    devices = [f"{source['device']}: {line}" for source in sources for line in source["hardware"]]
    times = dict.fromkeys(map(duration, (min(seconds), max(seconds))))
    return {
        "sources (seeds)": f"{len(sources)} ({', '.join(record['sources'])})",
        "data": _unique(source["data"] for source in sources),
        "compression": _unique(_compression(source["data"]) for source in sources),
        "transfer target": _unique(source["transfer target"] for source in sources),
        "images": _unique(map(_listed, images)),
        "models per source": _unique(f"{source['models']:,}" for source in sources),
        "training per source, all jobs added": " to ".join(times),
        "device": _unique(devices),
        "versions": _unique(map(_listed, versions)),
        "trained": f"{min(dates)} to {max(dates)}",
    }


def _listed(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _unique(values: Iterable[str]) -> str:
    """Different values, in their order."""
    return "; ".join(dict.fromkeys(values))


def _compression(data: str) -> str:
    if not data.startswith("ImageFolder"):
        return "pixels as published"
    lossy = {"jpg", "jpeg"} & set(data.split())
    return "JPEG files, lossy" if lossy else "as the file format has it"


def label(profile: str, tables: Tables, table: str = "auc") -> str:
    """What a reference is called in tables: its profile and number of sources. Of one of `OPTIONAL`
    these are the sources that have that table, where any has it.
    """
    count = tables.get(table, tables["auc"])["seed"].nunique()
    return f"{profile}, {count} source{'' if count == 1 else 's'}"
