"""The jobs of the workflow: what each waits for, what it runs, and the digest that says whether its
result is fresh. Imports no torch: planning takes a second.
"""

import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sacutils import files, freshness, rivals, steps
from sacutils.profiles import Profile
from sacutils.steps import STEPS, Spec

STATUS = "status"
"""The notebook that reports on all others and runs last."""


@dataclass(frozen=True)
class Job:
    """One job, which ``python -m sacbook step NAME`` does.

    The jobs in `after` must be finished before. `digest` is that of everything that the result
    depends on: the job is repeated when it changes; it has a part for each kind of thing, as
    ``code=0123456789ab,profile=...``, which the record of the job keeps. `output` says that the job
    is complete, a file of the run's folder. Jobs with a higher `priority` start first.
    """

    after: tuple[str, ...]
    digest: str
    output: str
    priority: int = 0


def notebook_names() -> list[str]:
    """The notebooks of the book in reading order; the page on its status comes last."""
    folder = files.home() / "notebooks"
    numbered = sorted(path.stem for path in folder.glob("[0-9]*.py"))
    return numbered + [STATUS] * (folder / f"{STATUS}.py").exists()


def executed(run: Path) -> list[Path]:
    """The executed notebooks of a finished run's folder; a ``UserError`` if one is missing."""
    paths = [run / "notebooks" / f"{name}.ipynb" for name in notebook_names()]
    if missing := next((path for path in paths if not path.exists()), None):
        raise files.UserError(
            f"{run} has no executed notebook {missing.stem}; finish the run first (make book)."
        )
    return paths


def source_of(notebook: str) -> Path:
    """The script of a notebook."""
    return files.home() / "notebooks" / f"{notebook}.py"


@cache
def groups(profile: Profile) -> dict[str, list[Spec]]:
    """The models in batches that one job trains, so that start-up is paid once; a variant is a
    batch, ``variant-<name>``.
    """
    result: dict[str, list[Spec]] = {}
    for spec in steps.plan(profile).values():
        # what is made from a student is made where the student is
        kind = spec.step.split("_")[0].replace("chain", "extract")
        job = STEPS[spec.step].job or f"{kind}-{spec.architecture}"
        result.setdefault(job, []).append(spec)
    variants = profile.active_variants
    return result | {f"variant-{name}": steps.variant_specs(profile, name) for name in variants}


@cache
def profile_of(profile: Profile, group: str) -> Profile:
    """The profile that a group's models belong to: that of its variant, or `profile` itself."""
    name = group.removeprefix("variant-")
    return profile if name == group else steps.variant(profile, name)


def parts_of(digest: str) -> dict[str, str]:
    """The parts of a job's digest by their names."""
    return dict(part.split("=", 1) for part in digest.split(",") if part)


def work(profile: Profile, name: str) -> list[tuple[Spec, Path]]:
    """The models that a job trains, and the files of their weights; none if it trains nothing."""
    kind, _, group = name.partition("-")
    if kind != "train":
        return []
    folder, digests = files.home() / "runs" / profile.name / "zoo", model_digests(profile, group)
    specs = groups(profile)[group]
    return [(spec, folder / spec.file(made)) for spec, made in zip(specs, digests, strict=True)]


def model_digests(profile: Profile, group: str) -> list[str]:
    """Digests of the models of a group."""
    digests = steps.digests(profile_of(profile, group))
    return [digests[spec.name] for spec in groups(profile)[group]]


@cache
def ancestors(profile: Profile, group: str) -> list[str]:
    """Groups that must be finished before `group` can start."""
    trained_in = {
        digest: name
        for name in groups(profile)
        if not name.startswith("variant-")
        for digest in model_digests(profile, name)
    }
    own = steps.digests(profile_of(profile, group))
    parents = {own[spec.parent] for spec in groups(profile)[group] if spec.parent}
    return sorted({trained_in[parent] for parent in parents if parent in trained_in} - {group})


def cost(profile: Profile, group: str) -> int:
    """Rough cost of a group, in passes over the images."""
    own = profile_of(profile, group)
    return round(sum(steps.passes_of(own, spec) for spec in groups(profile)[group]))


def urgency(profile: Profile) -> dict[str, int]:
    """Cost of each group with the longest chain of those that wait for it; the highest starts
    first, so that no long job is left for the end.
    """
    costs = {group: cost(profile, group) for group in groups(profile)}
    result = dict(costs)
    for group in reversed(result):  # those that wait stand behind
        for parent in ancestors(profile, group):
            result[parent] = max(result[parent], costs[parent] + result[group])
    return result


def contents(*paths: Path) -> dict[str, str]:
    """Checksums of files by their name below :func:`sacutils.files.home`."""
    found, home = [path for path in sorted(paths) if path.is_file()], files.home()
    return {path.relative_to(home).as_posix(): files.sha256(path) for path in found}


@cache
def script(notebook: str) -> tuple[str, dict[str, str]]:
    """The text of a notebook's script, and the code that it uses."""
    path = source_of(notebook)
    try:
        return path.read_text(encoding="utf-8"), freshness.script_closure(path)
    except SyntaxError as error:
        place = f"line {error.lineno} of {path.name} is no Python"
        raise files.UserError(f"{place}: {error.msg}.") from None


def uses(notebook: str, *names: str) -> bool:
    """Whether a notebook uses some definitions, or any of a module, directly or through others."""
    return any(f"{used}.".startswith(f"{name}.") for used in script(notebook)[1] for name in names)


def reads_published(notebook: str) -> bool:
    """Whether a notebook, or code that it uses, names the folder of the published values."""
    text, code = script(notebook)
    named = r"""["']results(/[^"'\n]*)?["']"""
    return bool(re.search(named, text) or re.search(f"value={named}", "\n".join(code.values())))


def output(name: str) -> str:
    """The file of a run's folder that says that a job is complete."""
    kind, _, part = name.partition("-")
    return f"notebooks/{part}.ipynb" if kind == "notebook" else f"steps/{name}.json"


def names(profile: Profile) -> list[str]:
    """The names of the jobs of :func:`plan`, in its order, without what each depends on: every job
    asks for them when it starts.
    """
    trained = [f"train-{group}" for group in groups(profile)]
    compared = [f"rival-{rivals.slug(name)}" for name in rivals.measurable(profile)]
    executed = [f"notebook-{name}" for name in notebook_names()]
    varied = ["ablations"] if profile.full else []
    studied = ["tables", "verdicts", "attacks", "explorer", "labpack"]
    studied += [*compared, "comparison", *varied]
    return ["data", *trained, *studied, *executed, "references", "book"]


def write_plan(path: Path, plan: dict[str, Job]) -> None:
    """Keep a plan in a file, so that Snakemake need not make it again."""
    files.write_json(path, {name: asdict(job) for name, job in plan.items()})


def read_plan(path: str) -> dict[str, Job]:
    """A plan that :func:`write_plan` has kept, below :func:`sacutils.files.home`."""
    kept = files.read_json(files.home() / path)
    return {name: Job(**job | {"after": tuple(job["after"])}) for name, job in kept.items()}


def plan(profile: Profile) -> dict[str, Job]:
    """Every job of a run by its name; each stands behind those that it waits for."""
    jobs: dict[str, Job] = {}

    versions = files.versions()

    def add(name: str, after: list[str], priority: int = 0, **depends: Any) -> None:
        if name != "data" and not name.startswith("train-"):  # models name those that they need
            depends["versions"] = versions
        plain = json.loads(json.dumps({part: value for part, value in depends.items() if value}))
        digest = ",".join(f"{part}={files.digest_of(plain[part])[:12]}" for part in sorted(plain))
        jobs[name] = Job(tuple(after), digest, output(name), priority)

    images = steps.data_digest(profile)
    add("data", [], data=images)

    trained, marked, urgent = [], {}, urgency(profile)
    for group in groups(profile):
        parents = [f"train-{parent}" for parent in ancestors(profile, group)]
        digests = model_digests(profile, group)
        made = steps.made_from(profile_of(profile, group))
        made = [made[spec.name] for spec in groups(profile)[group]]
        kinds = {part: [model[part] for model in made] for part in steps.MADE_FROM}
        add(f"train-{group}", ["data", *parents], urgent[group], **kinds)
        if group.startswith("variant-"):
            marked[group.removeprefix("variant-")] = digests
        else:
            trained.append(f"train-{group}")

    # as sacutils.run.Run.digest: what the answers of all models depend on
    settings = [profile.probes.model_dump(), profile.seed]
    models = steps.digests(profile)
    answers = {"profile": settings, "parents": models, "data": images}
    code = freshness.code_digest("studies.tables.write", "run.Run")
    add("tables", trained, **answers, code=code)

    code = ("studies.verdicts.table", "run.Run", "sacbook.findings.of_run")
    add("verdicts", ["tables"], **answers, code=freshness.code_digest(*code))
    code = freshness.code_digest("studies.attacked.table", "run.Run")
    asked = answers | {"profile": [settings, profile.full]}
    add("attacks", ["verdicts"], **asked, code=code)
    code = freshness.code_digest("sacbook.explorer.write", "studies.tables.zoo", "run.Run")
    add("explorer", ["tables"], **answers, code=code)

    shipped = [files.home() / name for name in ("teaching/lab.py", "teaching/README.md", "LICENSE")]
    module = files.sha256(freshness.FOLDER / "sacbook" / "saclab.py")
    code = freshness.code_digest("sacbook.labpack.write", "run.Run")
    add("labpack", ["verdicts"], **answers, code=[code, module, contents(*shipped)])

    compared = []
    for name in rivals.measurable(profile):
        variant, slug = rivals.NEEDS.get(name), rivals.slug(name)
        code = freshness.code_digest("studies.comparison.measure", rivals.code(name))
        after = trained + ([f"train-variant-{variant}"] if variant else [])
        compared.append(f"rival-{slug}")
        asked = answers | {"parents": [models, marked.get(variant)]}
        add(compared[-1], after, **asked, code=code)
    code = [f"studies.comparison.{table}" for table in ("distances", "auc", "costs")]
    code = freshness.code_digest(*code, "run.Run")
    before = ["tables", *compared]
    add("comparison", before, code=code, parents=[jobs[job].digest for job in before])

    if profile.full:
        variants = [f"train-variant-{name}" for name in profile.active_variants]
        code = freshness.code_digest("studies.ablations.table", "run.Run")
        asked = answers | {"parents": [models, marked]}
        add("ablations", ["tables", *variants], **asked, code=code)

    home = files.home()
    published = contents(*home.glob("results/*/**/*"))
    values = profile.model_dump(mode="json", exclude={"device"})
    executed = []
    for name in notebook_names():
        after = ["tables"]
        if uses(name, "sacutils.studies.comparison"):
            after.append("comparison")
        if uses(name, "sacutils.studies.verdicts"):
            after.append("verdicts")
        if uses(name, "sacutils.studies.attacked.table"):
            after.append("attacks")
        if profile.full and uses(name, "sacutils.studies.ablations"):
            after.append("ablations")
        # the tables of the reference runs and their provenance lie in folders below `results`
        references = uses(name, "sacutils.studies.references")
        others = "load_profile" in script(name)[0] or uses(name, "sacbook.costs.table")
        profiles = contents(*home.glob("profiles/[!.]*.yaml")) if others else None
        parents = [models, [jobs[job].digest for job in after]]
        if name == STATUS:
            after = list(executed)
            parents += [[jobs[job].digest for job in jobs if job != "data"], marked]
        executed.append(f"notebook-{name}")
        add(
            executed[-1],
            after,
            code=[script(name), freshness.code_digest("sacbook.pages.execute")],
            profile=[settings, values, profiles],
            data=images,
            parents=parents,
            published=[
                contents(*home.glob("results/*")) if reads_published(name) else None,
                published if references else None,
            ],
        )

    code = ("sacbook.findings.of_references", "sacbook.speed.shown", "sacbook.speed.picture")
    measured = contents(*home.glob("results/*"), *home.glob("benchmarks/results/**/*"))
    add("references", [], code=freshness.code_digest(*code), published=[published, measured])

    # the sources of the packages too: the pages show docstrings and functions of them
    prose = [path for path in (home / "book").rglob("*") if not path.name.startswith(".")]
    packages = [p for part in freshness.PACKAGES for p in (freshness.FOLDER / part).rglob("*.py")]
    prose = contents(*prose, home / "_config.yml", home / "_toc.yml")
    packages = [files.sha256(path) for path in sorted(packages)]
    code = freshness.code_digest("sacbook.pages.stage", "sacbook.pages.build")
    before = ["verdicts", "explorer", "labpack", "references", *executed]
    parents = [jobs[job].digest for job in before]
    add("book", before, prose=prose, code=[packages, code], parents=parents)
    return jobs
