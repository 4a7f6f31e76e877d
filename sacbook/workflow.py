"""The command line of the book: ``python -m sacbook VERB``.

``book``, ``notebook``, ``compare``, ``handouts``, ``slides``, ``pdf``, ``offline`` and ``lab`` are
for readers; ``make`` calls them. Snakemake calls ``step`` for each job, one process each. What
imports torch is imported when a verb needs it.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sacutils import files
from sacutils.files import UserError, home, run_command
from sacutils.profiles import Profile, load_profile

from . import jobs
from . import parameters as typed

if TYPE_CHECKING:
    from sacutils.run import Run

DEFAULT = "fashion"
"""The profile that is meant where none is named."""

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
    try:
        values = [*(values or []), *shlex.split(os.environ.get("SAC_SET", ""))]
    except ValueError as error:
        raise UserError(f"SET={os.environ['SAC_SET']!r} cannot be split: {error}.") from None
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


def once(*parts: dict[str, Any]) -> dict[str, Any]:
    """Values from several places as one dictionary; a ``UserError`` if two give the same value."""
    merged: dict[str, Any] = {}
    for part in parts:
        if twice := next(iter(merged.keys() & part), None):
            raise UserError(f"The value {twice!r} is given twice; give it once.")
        merged |= part
    return merged


def quoted(words: list[str]) -> str:
    """Words as one command for this system's shell."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _folder(profile: Profile) -> Path:
    return home() / "runs" / profile.run_name


def _build(profile: Profile) -> Path:
    return home() / "_build" / profile.run_name


def cores() -> int:
    """The number of processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@app.command()
def book(
    profile: ProfileName = DEFAULT,
    seed: Seed = None,
    values: Set = None,
    full: Full = False,
    cores: Annotated[int, typer.Option(min=1, help="Jobs at once.")] = cores(),
) -> None:
    """Train what is missing, execute the notebooks, render the book; interrupt it at will."""
    loaded = load_profile(profile, replaced(seed, values, full))  # refuses a wrong value
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(home() / "Snakefile")]
    command += ["--cores", str(cores), "--scheduler", "greedy", "--keep-going", "--nolock"]
    command += ["--rerun-triggers", "params", "input", "--rerun-incomplete"]
    command += ["--quiet", "rules", "host", "reason", "--config", f"profile={profile}"]
    # in a list, for Snakemake reads any other text as YAML
    command += [f"overrides={json.dumps([json.dumps(loaded.overrides)])}"]
    # torch's own threads would fight with the jobs side by side
    process = subprocess.Popen(command, cwd=home(), env={"OMP_NUM_THREADS": "1"} | os.environ)
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:  # Snakemake was interrupted too, and ends its jobs
            continue
    if code:
        print("Not finished. What is finished is kept: run the same command again to go on.")
        raise typer.Exit(1)
    print(summary(loaded))


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
    executed = _folder(plain) / "custom" / f"{pages.page_name(path.stem, changed)}.ipynb"
    settings = {"profile": profile, "overrides": overrides}
    pages.execute(path, executed, settings | own, changed=changed)
    page = pages.custom_pages(executed.parent, plain.run_name) / f"{executed.stem}.html"
    print(f"Executed notebook: {page}")


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A run: PROFILE KEY=VALUE ..., in one argument.")],
    b: Annotated[str, typer.Argument(help='Another one, for example "fashion seed=1".')],
) -> None:
    """Set two finished runs side by side on one page, in runs/compared."""
    from .compare import page

    sides = (shlex.split(side) or [DEFAULT] for side in (a, b))
    runs = [_open(profile, replaced(values=values)) for profile, *values in sides]
    name = "--".join(run.profile.run_name for run in runs)
    print(f"Comparison: {page(*runs, home() / 'runs' / 'compared' / name)}")


@app.command("handouts")
def write_handouts(
    profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None, full: Full = False
) -> None:
    """Write exercises as notebooks for students and teachers, and an exam, from a finished run."""
    from . import handouts

    loaded = load_profile(profile, replaced(seed, values, full))
    folder = _build(loaded) / "handouts"
    print("\n".join(handouts.make(jobs.executed(_folder(loaded)), folder)))
    print(f"Hand-outs: {folder}")


@app.command("slides")
def write_slides(
    profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None, full: Full = False
) -> None:
    """Write slides with the figures and numbers of a finished run; they open from disk."""
    from . import slides

    loaded = load_profile(profile, replaced(seed, values, full))
    executed, folder = jobs.executed(_folder(loaded)), _build(loaded) / "slides"
    shown = files.read_json(_folder(loaded) / "tables" / "headline.json")
    print(slides.make(executed, shown, folder))
    print(f"Slides: {folder / 'index.html'}")


@app.command("pdf")
def print_pdf(
    profile: ProfileName = DEFAULT,
    seed: Seed = None,
    values: Set = None,
    full: Full = False,
) -> None:
    """Print the finished book as one PDF, with Chromium, Chrome or Edge."""
    _print_pdf(load_profile(profile, replaced(seed, values, full)))


def _print_pdf(profile: Profile) -> Path:
    from . import printed

    path = _build(profile) / "book.pdf"
    printed.pdf(_build(profile) / "html", path)
    print(f"PDF: {path}, {printed.pages_of(path)} sheets, {_megabytes(path)}")
    return path


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


@app.command("offline")
def pack_offline(
    profile: ProfileName = DEFAULT,
    seed: Seed = None,
    values: Set = None,
    full: Full = False,
) -> None:
    """Pack the finished book, its PDF and what was made for teaching into one zip."""
    from . import offline

    loaded = load_profile(profile, replaced(seed, values, full))
    build = _build(loaded)
    parts = {
        "book": (build / "html", "The book"),
        "book.pdf": (_print_pdf(loaded), "The book as one PDF"),
        "lab": (_folder(loaded) / "lab", "The lab pack: answers of all models, without PyTorch"),
        "handouts": (build / "handouts", "Hand-outs: exercises as notebooks"),
        "slides": (build / "slides", "Slides"),
    }
    target = build / f"sac-companion-{loaded.run_name}.zip"
    missing = offline.pack(parts, target)
    print(f"Offline: {target}, {_megabytes(target)}")
    if missing:
        print(f"Not made yet, so not in it: {', '.join(missing)}.")


@app.command()
def lab() -> None:
    """Open the sources of the notebooks in JupyterLab, as notebooks, through jupytext."""
    from importlib.util import find_spec

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
) -> None:
    """Do one job of the workflow and mark it as complete; Snakemake calls this."""
    started = time.monotonic()
    values = json.loads(overrides)
    loaded = load_profile(profile, values)
    folder, build = _folder(loaded), _build(loaded)
    if name not in (known := jobs.names(loaded)):
        raise UserError(f"There is no job {name!r}; the run has {', '.join(known)}.")
    kind, _, part = name.partition("-")
    if kind == "notebook":
        from . import pages

        settings = {"profile": profile, "overrides": values}
        pages.execute(jobs.source_of(part), folder / jobs.output(name), settings)
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
    kinds = {"data": "data", "train": "zoo", "tables": "probes, answers, tables of SAC"}
    kinds |= {"verdicts": "sibling test", "explorer": "explorer", "labpack": "lab pack"}
    kinds |= {"rival": "rivals", "comparison": "comparison", "ablations": "ablations"}
    kinds |= {"references": "reference runs, read", "notebook": "notebooks", "book": "book"}
    seconds = dict.fromkeys(kinds.values(), 0.0)
    for name, job in jobs.plan(profile).items():
        record = (_folder(profile) / job.output).with_suffix(".json")
        seconds[kinds[name.partition("-")[0]]] += files.read_json(record)["seconds"]
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
    """Draw the picture of the README from the reference run of `fashion`."""
    from . import picture

    files.write_text(picture.path(), picture.svg())
    print(picture.path())


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
