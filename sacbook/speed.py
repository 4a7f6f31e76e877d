"""The numbers and the figure of the page on speed: what the scripts of ``benchmarks`` measured."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sacutils import figures, files
from sacutils.studies.tables import duration

from .compare import svg
from .pages import table
from .status import STAGES

MEASURED = ("training-cpu", "fingerprints", "checking", "scaling", "book")
CUDA = "training-cuda"
"""Measured where there is a card; the others are there always."""
UNKNOWN = "not known"
"""Of a share that the records of an interrupted run do not tell."""
KINDS = STAGES | {"book": "book, the strict build", "all": "all"}


class Target(NamedTuple):
    """What is to be reached, what was, whether that is enough, and what sets the limit."""

    what: str
    target: str
    measured: str
    met: bool
    limit: str


def folder() -> Path:
    """Where the results of the benchmarks lie; folders in it hold those of other machines."""
    return files.home() / "benchmarks" / "results"


def read(name: str, machine: Path | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of one benchmark, and what holds for all of them; `machine` is its folder."""
    record = files.read_json((machine or folder()) / f"{name}.json")
    made = {key: record[key] for key in ("hardware", "utc", "versions", "load", "logical_cores")}
    return pd.DataFrame(record["rows"]), record["facts"] | made


def geometric_mean(values: pd.Series) -> float:
    """The geometric mean of positive numbers."""
    return float(np.exp(np.log(values).mean()))


def exponent(x: pd.Series, y: pd.Series) -> float:
    """The slope of log y over log x, by least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def growth(rows: pd.DataFrame) -> pd.DataFrame:
    """How seconds and memory grow: a row per method, with exponents by probes (from 1,000 on, one
    suspect) and by suspects (from 10 on, at 1,000 probes). Memory is what the work added.
    """
    rows = rows.assign(added=rows["megabytes"] - rows["megabytes_before"])
    found = []
    for method, part in rows.groupby("method", sort=False):
        row: dict[str, Any] = {"method": method}
        for by, other, least, fixed in (
            ("probes", "suspects", 1000, part["suspects"].min()),
            ("suspects", "probes", 10, 1000),
        ):
            along = part[(part[other] == fixed) & (part[by] >= least)]
            for value in ("seconds", "added"):
                row[f"{value} by {by}"] = exponent(along[by], along[value].clip(lower=1e-9))
        found.append(row)
    return pd.DataFrame(found)


def targets(known: dict[str, tuple[pd.DataFrame, dict[str, Any]]]) -> list[Target]:
    """Every target, held against what was measured."""
    training, about = known["training-cpu"]
    # what the plain loop spends on images and not on the network
    spent = (training["reference"] / about["prepared"]).mean()
    ratio = geometric_mean(training["images_per_second"] / training["reference"])
    share = training.set_index("architecture")["train_share"]
    slow = share[["densenet_s", "mobilenet_s"]]
    checked = known["checking"][0]
    checked = checked[checked["suspects"] > 1].set_index("probes")
    suspects, whole = checked["suspects"].iloc[0], checked["asking"] + checked["judging"]
    scaling = known["scaling"][0]
    both = (scaling["probes"] == 1000) & (scaling["suspects"] == 1000)
    memory = scaling[both]["megabytes"].max() / 1000
    stages, facts = known["book"]
    stages = stages.set_index("kind")
    starts = facts["starts"]
    build, all_ = stages.loc["book", "seconds"], stages.loc["all"]
    waiting = stages.loc["train", "waiting_share"]
    found = [
        Target(
            "training, against a plain loop",
            "2 times, geometric mean",
            f"{ratio:.1f} times",
            ratio >= 2,
            f"The plain loop spends {spent:.0%} of its time on images, one after the other; the "
            "book crops and flips a batch at once. The rest is the network, and small images "
            "are soon transformed.",
        ),
        Target(
            "training DenseNet and MobileNet, of the matrix peak",
            "60 % each",
            " and ".join(f"{value:.0%}" for value in slow),
            bool((slow >= 0.6).all()),
            "Their layers are narrow, and normalisation, joined features and convolutions of "
            "single channels move memory. Other forms would be other models.",
        ),
        Target(
            f"checking {suspects:.0f} suspects, from weights to verdicts",
            "10 s after the start",
            "; ".join(f"{duration(value)} on {count:,} probes" for count, value in whole.items()),
            bool((whole <= 10).all()),
            "Most of it is the networks' own answers to the probes, one suspect on each core; then "
            "come answers and fingerprint as text.",
        ),
        Target(
            "1,000 suspects by 1,000 probes",
            "2 GB",
            f"{memory:.2f} GB",
            memory < 2,
            "Suspects are compared one after the other, so that two matrices are held at once.",
        ),
    ]
    for command in ("sacbook --help", "sacheck --help"):
        found.append(
            Target(
                f"`{command}`",
                "0.5 s",
                duration(starts[command]),
                starts[command] < 0.5,
                "Python itself and the parser of the command line.",
            )
        )
    found += [
        Target(
            "cores that wait while models are trained",
            "5 %",
            f"{waiting:.1%}",
            waiting <= 0.05,
            "Students wait for the source, and students of siblings for these; starting a job "
            "counts as waiting.",
        ),
        Target(
            "start-up, of the time of all jobs",
            "10 %",
            _share(all_["start_share"]),
            all_["start_share"] <= 0.1,
            "Importing PyTorch: once where a server forks the jobs, else in each job and in each "
            "kernel.",
        ),
        Target(
            "the strict build",
            "15 s",
            duration(build),
            build <= 15,
            "Reading the pages, writing each with the table of contents of the theme, importing "
            "the packages that the pages of the API document.",
        ),
        Target(
            f"`make book`, profile {facts['profile']}, on {facts['cores']} cores",
            "12 min, without installation",
            duration(all_["window"]),
            all_["window"] <= 720,
            "Training, see the table of stages.",
        ),
    ]
    return found


def _made(known: dict[str, tuple[pd.DataFrame, dict[str, Any]]]) -> str:
    """The machine, the versions and the days of some benchmarks."""
    lines = {
        f"{facts['hardware']}, Python {facts['versions']['python']}, PyTorch "
        f"{facts['versions']['torch']}, {facts['utc'][:10]}": None
        for _, facts in known.values()
    }
    return "; ".join(lines)


def _held(target: Target) -> str:
    """What was measured, and whether that is enough."""
    if target.measured == UNKNOWN:
        return UNKNOWN
    return target.measured if target.met else f"{target.measured}, **missed**"


def _share(value: float) -> str:
    return UNKNOWN if pd.isna(value) else f"{value:.0%}"


def busy(load: float, cores: int) -> str:
    """What the load of the machine means for what was measured on it."""
    told = f"its {cores} cores had at most {load:.0f} process{'es' * (round(load) != 1)} to run"
    if load < cores + 1:
        return f"{told}; it was quiet"
    return (
        f"{told}: it was busy with other work. Both sides of a ratio took turns, "
        "but rates, shares of the peak and the clock of `make book` are those of a busy machine"
    )


def shown() -> dict[str, str]:
    """Texts and tables of the page by name, all computed from what was measured."""
    known = {name: read(name) for name in MEASURED}
    others = [
        {name: read(name, machine) for name in MEASURED}
        for machine in sorted(path for path in folder().iterdir() if path.is_dir())
    ]
    machines = [known, *others]
    made = [_made(each) for each in machines]
    columns = [targets(each) for each in machines]
    names = ["what", "target", *(name.split(",")[0] for name in made), "what limits it"]
    lines = [
        [row[0].what, row[0].target, *map(_held, row), row[0].limit]
        for row in zip(*columns, strict=True)
    ]
    rows = [target for target in columns[0] if target.measured != UNKNOWN]
    missed = [target.what for target in rows if not target.met]
    values = {
        "speed_targets": table(names, lines),
        "speed_met": f"{len(rows) - len(missed)} of {len(rows)}",
        "speed_missed": "; ".join(missed) or "none",
        "speed_made": made[0],
        "speed_others": "; ".join(made[1:]) or "none",
        "speed_busy": busy(*max((m["load"], m["logical_cores"]) for _, m in known.values())),
    }
    values |= _training(*known["training-cpu"])
    there = (folder() / f"{CUDA}.json").exists()
    cuda = _training(*read(CUDA)) if there else {}
    nothing = "None are kept; the page {doc}`gpu` has what was measured on one."
    values["speed_cuda"] = f"{cuda['speed_peak']}\n\n{cuda['speed_training']}" if cuda else nothing
    values |= _fingerprints(*known["fingerprints"]) | _checking(*known["checking"])
    return values | _scaling(*known["scaling"]) | _stages(*known["book"])


def _training(rows: pd.DataFrame, facts: dict[str, Any]) -> dict[str, str]:
    ratio = rows["images_per_second"] / rows["reference"]
    names = ["network", "images per second", "plain loop", "ratio", "training, of the peak"]
    names += ["inference per second", "inference, of the peak"]
    lines = [
        [
            f"`{row['architecture']}`",
            *(f"{row[key]:,.0f}" for key in ("images_per_second", "reference")),
            f"{row['images_per_second'] / row['reference']:.1f}",
            f"{row['train_share']:.0%}",
            f"{row['answered']:,.0f}",
            f"{row['answer_share']:.0%}",
        ]
        for _, row in rows.iterrows()
    ]
    lines.append(["geometric mean", "", "", f"{geometric_mean(ratio):.1f}", "", "", ""])
    peak = f"{facts['device']}: {facts['peak'] / 1e9:,.0f} GFLOP/s in a product of matrices; "
    peak += f"{facts['images']:,} images of {facts['side']} pixels, batches of {facts['batch']}, "
    peak += f"the best of {facts['rounds']} rounds"
    return {
        "speed_training": table(names, lines),
        "speed_ratio": f"{geometric_mean(ratio):.1f}",
        "speed_peak": peak,
    }


def _fingerprints(rows: pd.DataFrame, facts: dict[str, Any]) -> dict[str, str]:
    def needed(row: pd.Series, part: str) -> str:
        count = int(row[part])
        return f"{count}, {duration(row[f'{part}_seconds'])}" if count else "none"

    names = ["kind", "probes", "making it", "models to train", "controls to train"]
    lines = [
        [
            f"`{row['kind']}`",
            f"{row['probes']:,}",
            duration(row["seconds"]),
            needed(row, "models"),
            needed(row, "controls"),
        ]
        for _, row in rows.iterrows()
    ]
    run = f"profile {facts['profile']}, {facts['images']:,} images to choose from"
    return {"speed_fingerprints": table(names, lines), "speed_fingerprints_run": run}


def _checking(rows: pd.DataFrame, facts: dict[str, Any]) -> dict[str, str]:
    lines = [
        [
            *(f"{row[key]:,.0f}" for key in ("suspects", "probes")),
            *(duration(row[part]) for part in ("asking", "judging")),
            f"{row['megabytes']:,.0f} MB",
        ]
        for _, row in rows.iterrows()
    ]
    one = rows[rows["suspects"] == 1].iloc[-1]
    return {
        "speed_checking": table(
            ["suspects", "probes", "asking", "judging", "memory at most"], lines
        ),
        "speed_query": duration(one["query"]),
        "speed_verify": duration(one["verify"]),
    }


def _scaling(rows: pd.DataFrame, facts: dict[str, Any]) -> dict[str, str]:
    some = rows[rows["probes"].isin([100, 1000, 10000]) & rows["suspects"].isin([1, 10, 1000])]
    names = ["method", "probes", "suspects", "time", "memory at most"]
    lines = [
        [row["method"], f"{row['probes']:,}", f"{row['suspects']:,}", duration(row["seconds"]),
         f"{row['megabytes']:,.0f} MB"]
        for _, row in some.iterrows()
    ]  # fmt: skip
    found = growth(rows).set_index("method")
    heads = ["method", *(name.replace("added", "memory") for name in found.columns)]
    grown = [[method, *(f"{value:.2f}" for value in row)] for method, row in found.iterrows()]
    start = rows["megabytes_before"].min()
    return {
        "speed_scaling": table(names, lines),
        "speed_growth": table(heads, grown),
        "speed_start_memory": f"{start:,.0f} MB",
    }


def _stages(rows: pd.DataFrame, facts: dict[str, Any]) -> dict[str, str]:
    names = ["stage", "jobs", "all jobs added", "from begin to end", "start-up", "cores that wait"]
    order = [kind for kind in KINDS if kind in set(rows["kind"])]
    lines = [
        [
            KINDS[kind],
            f"{row['jobs']:.0f}",
            duration(row["seconds"]),
            duration(row["window"]),
            _share(row["start_share"]),
            f"{row['waiting_share']:.0%}",
        ]
        for kind, row in rows.set_index("kind").loc[order].iterrows()
    ]
    starts = [[f"`{name}`", duration(value)] for name, value in facts["starts"].items()]
    return {
        "speed_stages": table(names, lines),
        "speed_starts": table(["process", "start"], starts),
        "speed_run": f"profile {facts['profile']}, {facts['cores']} cores"
        + (f"; {facts['note']}" if facts["note"] else ""),
    }


def picture() -> str:
    """The figure of the page as SVG: seconds by probes, a line per number of suspects."""
    rows, _ = read("scaling")
    rows = rows.assign(
        suspects=rows["suspects"].map("{:,} suspects".format).replace("1 suspects", "1 suspect")
    )
    figures.use_style()
    figure = figures.curves(
        rows,
        "probes",
        "seconds",
        hue="suspects",
        facet="method",
        log=True,
        x_label="number of probes",
        y_label="seconds",
    )
    for ax in figure.axes:
        ax.set_yscale("log")
    return svg(figure)
