"""The command line of the book: ``python -m sacbook VERB``.

``book``, ``notebook``, ``compare``, ``handouts``, ``slides``, ``pdf``, ``offline`` and ``lab`` are
for readers; ``make`` calls them. Snakemake calls ``step`` for each job, one process each. What
imports torch is imported when a verb needs it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from sacutils import files
from sacutils.files import UserError, home, run_command, words_of
from sacutils.profiles import Profile, load_profile

from . import forked, jobs, progress
from . import parameters as typed
from . import status as state
from .status import folder_of

if TYPE_CHECKING:
    from sacutils.run import Run

DEFAULT = "fashion"
"""The profile that is meant where none is named."""
LEAST = 20_000_000
"""Bytes that must be free for a run to start."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, and a start without waiting for it
    help="Make the book: train what is missing, execute the notebooks, render the pages. "
    "Everything is read from and written to the copy of the repository that holds the working "
    "directory, or that SAC_HOME names. The last four verbs are for the workflow and for those who "
    "publish; the others are for readers.",
)
ProfileName = Annotated[str, typer.Option(help="A file profiles/NAME.yaml.")]
Seed = Annotated[int | None, typer.Option(help="Replaces the profile's seed.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE replaces a value of the profile, by its dotted path."),
]
Full = Annotated[
    bool, typer.Option("--full", help="Compute the ablations and EWE's zoo too: --set full=true.")
]


def replaced(
    seed: int | None = None, values: list[str] | None = None, full: bool = False
) -> dict[str, Any]:
    """Values of a profile, by dotted path, that the options ``--seed``, ``--set`` and ``--full``
    replace; a ``UserError`` if a value is not of the form KEY=VALUE, or is given twice.

    The values of the environment variable ``SAC_SET`` count too; there they are separated by
    blanks, and a value that holds a blank is quoted as in a shell.
    """
    values = [*(values or []), *_split(os.environ.get("SAC_SET", ""), "SET")]
    parts: list[dict[str, Any]] = [{"full": True}] if full else []
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key:
            raise UserError(
                f"{value!r} is not accepted; a value of the profile is replaced by key=value, and "
                "one that holds a blank is quoted."
            )
        parts.append({key: typed.value_of(text)})
    return once(*parts, {} if seed is None else {"seed": seed})


def _split(text: str, what: str) -> list[str]:
    """The words of a text, as a shell has them; a ``UserError`` if a quote stays open."""
    try:
        return words_of(text)
    except ValueError as error:
        raise UserError(f"{what} {text!r} cannot be split into words: {error}.") from None


def once(*parts: dict[str, Any]) -> dict[str, Any]:
    """Values from several places as one dictionary; a ``UserError`` if two give the same value."""
    merged: dict[str, Any] = {}
    for part in parts:
        if twice := next(iter(merged.keys() & part), None):
            raise UserError(f"The value {twice!r} is given twice; give it once.")
        merged |= part
    return merged


def _build(profile: Profile) -> Path:
    return home() / "_build" / profile.run_name


def _cluster(executor: str, cores: int | None) -> Path:
    """The folder of Snakemake's settings for a cluster; a ``UserError`` if there is none, its
    plugin is not installed, or `cores` are given, which are of this machine.
    """
    folder = home() / "profiles" / executor
    if not (folder / "config.yaml").is_file():
        known = ", ".join(path.parent.name for path in folder.parent.glob("*/config.yaml"))
        raise UserError(f"executor = {executor!r} is not accepted; profiles/ has {known}.")
    if cores:
        limits = f"{(folder / 'config.yaml').relative_to(home())} says how many jobs there are"
        raise UserError(f"cores = {cores} has no effect on a cluster; {limits} at once.")
    if find_spec(f"snakemake_executor_plugin_{executor}") is None:
        missing = f"snakemake-executor-plugin-{executor}"
        raise UserError(f"{missing} is not installed; install it: pip install -e '.[cluster]'.")
    if " " in sys.executable:
        raise UserError(
            f"{sys.executable} has a blank in its path, which the plugin for {executor} does not "
            "quote; clone the repository into a folder without one."
        )
    return folder


@app.command()
def book(
    profile: ProfileName = DEFAULT,
    seed: Seed = None,
    values: Set = None,
    full: Full = False,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Jobs at once, here; as many as there are cores.")
    ] = None,
    executor: Annotated[
        str | None, typer.Option(help="Hand the jobs to a cluster, as profiles/NAME has it: slurm.")
    ] = None,
) -> None:
    """Train what is missing, execute the notebooks, render the book; interrupt it at will."""
    loaded = load_profile(profile, replaced(seed, values, full))  # refuses a wrong value
    cluster = _cluster(executor, cores) if executor else None
    folder = folder_of(loaded)
    busy = f"Another make book is at work in {folder}; wait until it has ended, or stop it."
    with files.locked(folder / "book", busy):
        for place in (home() / ".snakemake", folder, _build(loaded)):
            _prepare(place)
        _make(loaded, cores or forked.available_cores(), cluster)
    print(summary(loaded))


def _prepare(folder: Path) -> None:
    """Remove what killed processes left half-written an hour ago or earlier; a ``UserError`` if the
    folder cannot be written, or its disk is so full that Snakemake itself would fail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} cannot be written; work in a copy of the repository that can.")
    if (free := shutil.disk_usage(folder).free) < LEAST:
        wanted = f"only {free / 1e6:.0f} MB are free, {LEAST / 1e6:.0f} MB are needed to start"
        raise UserError(f"The disk of {folder} is full: {wanted}.")
    old = [path for path in folder.rglob(f".*{files.PART}*") if path.is_file()]
    old = [path for path in old if abs(time.time() - path.stat().st_mtime) > 3600]
    # checkpoints of models that were finished just before the kill
    kept = folder.rglob(".checkpoints/*.*")
    old += [path for path in kept if (path.parents[1] / f"{path.stem}.json").exists()]
    for path in old:
        path.unlink(missing_ok=True)


def _make(loaded: Profile, cores: int, cluster: Path | None) -> None:
    """Let Snakemake make what is missing or out of date in a run."""
    plan = jobs.plan(loaded)
    own = state.outdated(loaded, plan)
    tasks = state.to_make(loaded, plan, own)
    if not own:
        return
    print(state.cost_of(tasks, cores), flush=True)
    kept = f"runs/{loaded.run_name}/.plan.json"
    jobs.write_plan(home() / kept, plan)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(home() / "Snakefile")]
    if cluster:
        command += ["--profile", str(cluster)]
    else:
        command += ["--cores", str(cores), "--scheduler", "greedy"]
    command += ["--keep-going", "--nolock"]
    command += ["--rerun-triggers", "params", "input", "--rerun-incomplete"]
    command += ["--quiet", "rules", "host", "reason", "--config", f"plan={kept}"]
    # no quote and no brace: Snakemake reads YAML, and hands it to a cluster's jobs as Python has
    # it; a name of digits would be a number
    values = loaded.overrides | {"profile": loaded.name}
    command += [f"overrides={quote(json.dumps(values))}"]
    # decided by content, also where Snakemake's memory is lost
    command += ["--forcerun", *own]
    # torch's own threads would fight with the jobs side by side
    environment = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | os.environ
    pipe: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # a cluster's scheduler counts what its own jobs use
    with nullcontext({}) if cluster else forked.server(environment) as place:
        pipe |= {"env": environment | place, "cwd": home(), "errors": "replace"}
        process = subprocess.Popen(command, **pipe)
        code = progress.follow(process, tasks, folder_of(loaded) / "book.log")
    if code:
        print("Not finished. What is finished is kept: run the same command again to go on.")
        raise typer.Exit(1)


@app.command()
def status(
    profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None, full: Full = False
) -> None:
    """Say what a run has, what is out of date and why, and what it costs to make."""
    print(state.text(load_profile(profile, replaced(seed, values, full)), forked.available_cores()))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def notebook(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="With or without folder and suffix: 04_extraction.")],
    profile: ProfileName = DEFAULT,
    seed: Seed = None,
    values: Set = None,
    full: Full = False,
) -> None:
    """Execute one notebook; the page stands beside the book, in runs/PROFILE/custom/html.

    Any number of -p KEY VALUE replace a parameter of the notebook, or a value of the profile by its
    dotted path.
    """
    from . import pages

    path = jobs.source_of(Path(name).stem)
    if not path.exists():
        names = ", ".join(jobs.notebook_names())
        raise UserError(f"There is no notebook {name!r}; notebooks/ holds {names}.")
    given, accepted = typed.parse(context.args), typed.of_notebook(path)
    if "profile" in given and context.get_parameter_source("profile").name == "COMMANDLINE":
        raise UserError("The profile is given twice, by --profile and by -p; give it once.")
    profile = str(given.pop("profile", profile))
    nested = given.pop("overrides", {})
    if not isinstance(nested, dict):
        raise UserError(f"overrides = {nested!r} is not accepted; it is like {{seed: 1}}.")
    own = {key: value for key, value in given.items() if key in accepted}
    dotted = {key: value for key, value in given.items() if key not in own}
    overrides = once(replaced(seed, values, full), nested, dotted)
    try:
        loaded, plain = load_profile(profile, overrides), load_profile(profile)
    except UserError as error:
        names = ", ".join(accepted)
        raise UserError(
            f"{str(error).rstrip('.')}; the notebook's own parameters are {names}."
        ) from None
    changed = typed.changes(path, own, loaded, plain)
    executed = folder_of(plain) / "custom" / f"{pages.page_name(path.stem, changed)}.ipynb"
    settings = {"profile": profile, "overrides": overrides}
    made = {"changed": changed, "made_of": pages.made_of(path.stem, plain)}
    pages.execute(path, executed, settings | own, **made)
    html = pages.custom_pages(executed.parent, plain, executed.stem)
    print(f"Executed notebook: {html / executed.stem}.html")


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A run: PROFILE KEY=VALUE ..., in one argument.")],
    b: Annotated[str, typer.Argument(help='Another one, for example "fashion seed=1".')],
) -> None:
    """Set two finished runs side by side on one page, in runs/compared."""
    from .compare import page

    sides = (_split(side, "The run") or [DEFAULT] for side in (a, b))
    runs = [_open(profile, replaced(values=values)) for profile, *values in sides]
    name = "--".join(run.profile.run_name for run in runs)
    print(f"Comparison: {page(*runs, home() / 'runs' / 'compared' / name)}")


@app.command("handouts")
def write_handouts(
    profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None, full: Full = False
) -> None:
    """Write exercises as notebooks for students and teachers, and an exam, from a finished run."""
    _handouts(load_profile(profile, replaced(seed, values, full)))


def _handouts(profile: Profile) -> Path:
    from . import handouts

    folder = _build(profile) / "handouts"
    print("\n".join(handouts.make(jobs.executed(folder_of(profile)), folder)))
    print(f"Hand-outs: {folder}")
    return folder


@app.command("slides")
def write_slides(
    profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None, full: Full = False
) -> None:
    """Write slides with the figures and numbers of a finished run; they open from disk."""
    _slides(load_profile(profile, replaced(seed, values, full)))


def _slides(profile: Profile) -> Path:
    from . import slides

    executed, folder = jobs.executed(folder_of(profile)), _build(profile) / "slides"
    shown = files.read_json(folder_of(profile) / "tables" / "headline.json")
    print(slides.make(executed, shown, folder))
    print(f"Slides: {folder / 'index.html'}")
    return folder


@app.command("pdf")
def write_pdf(
    profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None, full: Full = False
) -> None:
    """Print the finished book as one PDF, with Chromium, Chrome or Edge."""
    _pdf(load_profile(profile, replaced(seed, values, full)))


def _pdf(profile: Profile) -> Path:
    from . import printed

    path = _build(profile) / "book.pdf"
    printed.pdf(_build(profile) / "html", path)
    print(f"PDF: {path}, {printed.pages_of(path)} sheets, {files.megabytes(path)}")
    return path


@app.command("offline")
def pack_offline(
    profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None, full: Full = False
) -> None:
    """Pack the finished book, its PDF, hand-outs and slides, made anew, into one zip."""
    from . import offline

    loaded = load_profile(profile, replaced(seed, values, full))
    html = _build(loaded) / "html"
    parts = {
        "book": (html, "The book"),
        "book.pdf": (_pdf(loaded), "The book as one PDF"),
        "book/19_teaching.html": (html / "19_teaching.html", "The lab, a lesson, a project"),
        "handouts": (_handouts(loaded), "Hand-outs: exercises as notebooks"),
        "slides": (_slides(loaded), "Slides"),
    }
    target = _build(loaded) / f"sac-companion-{loaded.run_name}.zip"
    offline.pack(parts, target)
    print(f"Offline: {target}, {files.megabytes(target)}")


@app.command()
def lab() -> None:
    """Open the sources of the notebooks in JupyterLab, as notebooks, through jupytext."""
    if find_spec("jupyterlab") is None:
        raise UserError("JupyterLab is not installed; install the extra: pip install -e '.[lab]'.")
    # a double click on a script opens it as a notebook; a folder of settings of our own, so that
    # those of the user stay as they are
    settings, plugin = home() / "runs" / ".jupyter", "@jupyterlab/docmanager-extension:plugin"
    viewer = {plugin: {"defaultViewers": {"python": "Jupytext Notebook"}}}
    files.write_json(settings / "labconfig" / "default_setting_overrides.json", viewer)
    paths = [str(settings), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    environment = os.environ | {"JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}
    environment |= {"OMP_NUM_THREADS": "1", "SAC_HOME": str(home())}
    command = [sys.executable, "-m", "jupyterlab", "--notebook-dir", str(home() / "notebooks")]
    raise typer.Exit(subprocess.run(command, env=environment).returncode)


@app.command()
def step(
    name: Annotated[str, typer.Argument(help="Such as train-source.")],
    profile: ProfileName = DEFAULT,
    overrides: Annotated[str, typer.Option(help="Replaced values, as JSON.")] = "{}",
    made_from: Annotated[str, typer.Option(help="Kept in the record of the job.")] = "",
) -> None:
    """Do one job of the workflow and mark it as complete; Snakemake calls this."""
    started = time.monotonic()
    values = json.loads(overrides)
    loaded = load_profile(profile, values)
    folder, build = folder_of(loaded), _build(loaded)
    if name not in (known := jobs.names(loaded)):
        raise UserError(f"There is no job {name!r}; the run has {', '.join(known)}.")
    kind, _, part = name.partition("-")
    if kind == "notebook":
        from . import pages

        settings = {"profile": profile, "overrides": values}
        pages.execute(
            jobs.source_of(part), folder / jobs.output(name), settings, made_from=made_from
        )
        return
    if kind == "book":
        from . import pages

        shown = files.read_json(folder / "tables" / "headline.json")
        for made in ("tables/references.json", "lab/expected.json"):
            shown |= files.read_json(folder / made)
        offered = {Path("lab") / path.name: path for path in (folder / "lab").glob("*.*")}
        offered |= {Path("_static") / name: folder / "explorer" / name for name in pages.EXPLORER}
        offered[Path("_static/benchmarks.svg")] = folder / "tables" / "benchmarks.svg"
        pages.stage(jobs.executed(folder), build / "stage", shown, offered)
        pages.build(build / "stage", build / "html")
    else:
        _compute(kind, part, _open(profile, values))
    record = {"step": name, "seconds": round(time.monotonic() - started, 1)}
    record["made_from"] = made_from
    files.write_json(folder / jobs.output(name), record)


def _open(profile: str, overrides: dict[str, Any]) -> "Run":
    from sacutils.run import open_run

    return open_run(profile, overrides)


def _compute(kind: str, part: str, run: "Run") -> None:
    """Do a job that needs the images or the models of a run; it imports what it needs itself, for
    most jobs train and draw no table.
    """
    match kind:
        case "data":
            _ = run.material
        case "train":
            specs, variant = jobs.groups(run.profile)[part], part.removeprefix("variant-")
            zoo = run.zoo if variant == part else run.variant(variant).zoo
            zoo.announce([spec.name for spec in specs])
            for spec in specs:
                zoo.get(spec.name)
        case "tables":
            from sacutils.studies import tables

            tables.write(run)
        case "verdicts":
            from sacutils.studies import verdicts

            from . import findings

            verdicts.table(run)
            files.write_json(run.folder / "tables" / "headline.json", findings.of_run(run))
        case "attacks":
            from sacutils.studies import attacked

            attacked.table(run)
        case "explorer":
            from . import explorer

            explorer.write(run)
        case "labpack":
            from . import labpack

            labpack.write(run)
        case "references":
            from . import findings, speed

            files.write_text(run.folder / "tables" / "benchmarks.svg", speed.picture())
            values = findings.of_references() | speed.shown()
            files.write_json(run.folder / "tables" / "references.json", values)
        case "rival":
            from sacutils import rivals
            from sacutils.studies import comparison

            known = {rivals.slug(rival): rival for rival in rivals.measurable(run.profile)}
            comparison.measured(run, known[part])
        case "comparison":
            from sacutils.studies import comparison

            comparison.auc(run)
            comparison.costs(run)
        case "ablations":
            from sacutils.studies import ablations

            ablations.table(run)
        case _:
            raise ValueError(f"no code does jobs of the kind {kind!r}")


def summary(profile: Profile) -> str:
    """How long each kind of step took when it last ran, all jobs added, and where the book is."""
    seconds = dict.fromkeys(state.STAGES.values(), 0.0)
    for name in jobs.names(profile):
        record = (folder_of(profile) / jobs.output(name)).with_suffix(".json")
        seconds[state.stage_of(name)] += files.read_json(record)["seconds"]
    lines = [f"{kind:32s}{value:8.1f} s" for kind, value in seconds.items() if value]
    return "\n".join([*lines, f"The book: {_build(profile) / 'html' / 'index.html'}"])


@app.command()
def reference(
    seeds: Annotated[list[int], typer.Argument(help="Seeds of the finished full runs.")],
    profile: ProfileName = DEFAULT,
    values: Set = None,
) -> None:
    """Copy the small tables of finished full runs into results/, with their provenance."""
    from sacutils.studies.references import collect

    print(collect([_open(profile, replaced(seed, values, full=True)) for seed in seeds]))


@app.command("picture")
def draw_picture() -> None:
    """Draw the picture of the README from the reference run of `fashion`, and that of the jobs of
    `paper`, with its tables.
    """
    from . import picture, scaling

    drawn = {picture.path(): picture.svg()}
    drawn |= {picture.path().with_name(name): text for name, text in scaling.contents().items()}
    for path, text in drawn.items():
        files.write_text(path, text)
        print(path)


@app.command("launch")
def fill_launch(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    profile: ProfileName = DEFAULT,
    seed: Seed = None,
    values: Set = None,
    full: Full = False,
) -> None:
    """Fill a folder with the branch `launch`: executed notebooks, models, a Binder environment."""
    from . import launch

    launch.fill(folder, load_profile(profile, replaced(seed, values, full)))


def main() -> None:
    """Run the command line."""
    run_command(app)
