"""What a run has, what is out of date and why, and what it costs to make. Imports no torch.

The record beside each result says what it was made from, part by part; what it would be made from
now stands in the plan. Snakemake's own memory is not asked: it may be lost, and forgets why.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sacutils import files, steps
from sacutils.profiles import Profile

from . import jobs
from .jobs import Job

STAGES = {
    **{"data": "data", "train": "zoo", "tables": "probes, answers, tables of SAC"},
    **{"verdicts": "sibling test", "attacks": "attacks on the fingerprint"},
    **{"explorer": "explorer", "labpack": "lab pack"},
    **{"rival": "rivals", "comparison": "comparison", "ablations": "ablations"},
    **{"references": "reference runs, read", "notebook": "notebooks", "book": "book"},
}
"""Stage of a run by the first word of the names of its jobs, in the order in which they run."""
PRODUCTS = {
    "tables": tuple(f"tables/{name}.csv" for name in ("zoo", "sac_distances", "sac_auc")),
    "verdicts": ("tables/verdicts.csv", "tables/headline.json"),
    "attacks": ("tables/attacks.csv",),
    "comparison": tuple(f"tables/{name}.csv" for name in ("distances", "auc", "costs")),
    "ablations": ("tables/ablations.csv",),
    "references": ("tables/references.json", "tables/benchmarks.svg"),
    "labpack": ("lab/expected.json", "lab/sac-lab.zip"),
    "explorer": ("explorer/explorer.html", "explorer/explorer.svg"),
    "book": ("{home}/_build/{run}/html/index.html",),
}
"""Files of the run's folder without which a job of a kind is not done, whatever its record says:
somebody may have removed one."""
MISSING, BEFORE = "missing", "what it is made from"


@dataclass(frozen=True)
class Task:
    """One thing to make: a model, or the result of a job that trains none. `path` is its file,
    `why` are the words of :func:`jobs.parts_of` that differ, or `MISSING`; `seconds` are what it
    took last time or what like models took, 0 if that is not known; for a model they are `assumed`
    if none like it has been trained.
    """

    name: str
    stage: str
    path: Path
    why: tuple[str, ...]
    seconds: float
    assumed: bool = False


def stage_of(job: str) -> str:
    """The stage that a job belongs to."""
    return STAGES[job.partition("-")[0]]


def folder_of(profile: Profile) -> Path:
    """The folder of a run."""
    return files.home() / "runs" / profile.run_name


def _record(path: Path) -> dict[str, Any]:
    """The record beside a result; nothing if it cannot be read."""
    try:
        record = files.read_json(path.with_suffix(".json"))
    except (files.UserError, OSError):
        return {}
    return record if isinstance(record, dict) else {}


def _why(old: dict[str, str] | None, new: dict[str, str]) -> tuple[str, ...]:
    """Which parts differ; ``not recorded`` if a result does not say what it was made from."""
    if not old:
        return ("not recorded",)
    return tuple(part for part in sorted(old.keys() | new.keys()) if old.get(part) != new.get(part))


def outdated(profile: Profile, plan: dict[str, Job]) -> dict[str, tuple[str, ...]]:
    """The jobs that must be done for their own sake, and why: the result or a model is missing, or
    was made from something else. Those behind them must be done too, see :func:`all_outdated`.
    """
    folder, result = folder_of(profile), {}
    for name, job in plan.items():
        path = folder / job.output
        places = {"home": files.home(), "run": profile.run_name}
        products = PRODUCTS.get(name.partition("-")[0], ())
        pairs = [(model, model.with_suffix(".json")) for _, model in jobs.work(profile, name)]
        needed = [path, *(folder / product.format(**places) for product in products)]
        needed += [file for pair in pairs for file in pair]
        if not all(file.exists() for file in needed):
            result[name] = (MISSING,)
            continue
        made = str(_record(path).get("made_from", ""))
        if made != job.digest:
            result[name] = _why(jobs.parts_of(made), jobs.parts_of(job.digest))
    return result


def all_outdated(plan: dict[str, Job], own: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """The jobs of :func:`outdated`, and those behind them, in the order of the plan."""
    result: dict[str, tuple[str, ...]] = {}
    for name, job in plan.items():
        if name in own or any(before in result for before in job.after):
            result[name] = own.get(name, (BEFORE,))
    return result


def to_make(profile: Profile, plan: dict[str, Job], own: dict[str, Any]) -> list[Task]:
    """What a run would make now, in the order of the plan; `own` is from :func:`outdated`."""
    tasks, seen = [], set()
    known = cache(steps.seconds_known)
    for name, why in all_outdated(plan, own).items():
        models = jobs.work(profile, name)
        if not models:
            path = folder_of(profile) / plan[name].output
            tasks.append(Task(name, stage_of(name), path, why, _seconds(path)))
            continue
        group = name.partition("-")[2]
        theirs = jobs.profile_of(profile, group)
        made = steps.made_from(theirs)
        for spec, path in models:
            if path in seen or (path.exists() and path.with_suffix(".json").exists()):
                continue
            seen.add(path)
            others = path.parent.glob(f"{spec.slug}.*.json")
            old = max((_record(file) for file in others), key=lambda r: r.get("utc", ""), default=0)
            new = {part: made[spec.name][part] for part in steps.MADE_FROM}
            reason = (MISSING,) if old == 0 else _why(old.get("made_from"), new)
            seconds, pace = steps.seconds_of(theirs, spec, known(path.parent))
            tasks.append(Task(spec.name, stage_of(name), path, reason, seconds, bool(pace)))
    return tasks


def _seconds(path: Path) -> float:
    """What a job took last time, or in another run here."""
    runs = files.home() / "runs"
    name = path.with_suffix(".json").relative_to(runs).parts[1:]
    others = [path.with_suffix(".json"), *runs.glob("/".join(["*", *name]))]
    found = [record["seconds"] for record in map(_record, others) if "seconds" in record]
    return float(found[0]) if found else 0.0


def text(profile: Profile, cores: int) -> str:
    """What ``make status`` prints."""
    plan = jobs.plan(profile)
    tasks = to_make(profile, plan, outdated(profile, plan))
    things: dict[str, set[Any]] = defaultdict(set)  # a variant shares models
    for name in plan:
        things[stage_of(name)] |= {path for _, path in jobs.work(profile, name)} or {name}
    there = {stage: len(these) for stage, these in things.items()}
    lines = [f"runs/{profile.run_name}", ""]
    lines.append(f"{'':32s}{'there':>12s}{'to make':>9s}{'about':>8s}   why")
    for stage in there:
        mine = [task for task in tasks if task.stage == stage]
        line = f"{stage:32s}{f'{there[stage] - len(mine)} of {there[stage]}':>12s}"
        if mine:
            why = Counter(", ".join(task.why) for task in mine)
            reasons = "; ".join(f"{words} ({n})" for words, n in why.most_common())
            line += f"{len(mine):9d}{steps.duration(sum(t.seconds for t in mine)):>8s}   {reasons}"
        lines.append(line)
    return "\n".join([*lines, "", cost_of(tasks, cores)])


def cost_of(tasks: list[Task], cores: int) -> str:
    """One sentence on what there is to make."""
    if not tasks:
        return "Everything is there and up to date."
    models = sum(task.stage == STAGES["train"] for task in tasks)
    counts = [f"{models} model{'s' * (models > 1)}"] * (models > 0)
    others = len(tasks) - models
    counts += [f"{others} other result{'s' * (others > 1)}"] * (others > 0)
    work = sum(task.seconds for task in tasks)
    unknown = sum(not task.seconds for task in tasks)
    more = f", without {unknown} that were never timed here" if unknown else ""
    more += ", at an assumed pace of training" if any(task.assumed for task in tasks) else ""
    spent = f"about {steps.duration(work / cores)} on {cores} cores{more}"
    return f"To make: {' and '.join(counts)}, {spent}."
