"""The command line of the book: ``python -m sacbook VERB``.

``book``, ``notebook``, ``compare`` and ``lab`` are for readers; ``make`` calls them. The steps of
the workflow (``data``, ``train``, ``rival``, ``tables``, ``comparison``, ``ablations``, ``render``)
are called by Snakemake, one process each. What imports torch is imported when a verb needs it.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

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
    help="Make the book: train what is missing, execute the notebooks, render the pages. "
    "Everything is read from and written to the copy of the repository that holds the working "
    "directory, or that SAC_HOME names.",
)
READERS, STEPS, KEEPERS = "For readers", "Steps of the workflow", "For those who publish"

ProfileName = Annotated[str, typer.Option(help="A file profiles/NAME.yaml.")]
Seed = Annotated[int | None, typer.Option(help="Replaces the profile's seed.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE replaces a value of the profile, by its dotted path."),
]
Full = Annotated[
    bool, typer.Option("--full", help="Compute the ablations and EWE's zoo too: --set full=true.")
]


class Choice(NamedTuple):
    """Which run is meant: a profile, what replaces its values (by dotted path), and all this as
    options of the command line.
    """

    profile: str
    overrides: dict[str, Any]
    options: list[str]


def chosen(
    profile: str, seed: int | None = None, values: list[str] | None = None, full: bool = False
) -> Choice:
    """The run that the options ``--profile``, ``--seed``, ``--set`` and ``--full`` mean.

    The values of the environment variable ``SAC_SET`` count too; there they are separated by
    blanks, and a value that holds a blank is quoted as in a shell.

    Raises
    ------
    UserError
        If a value is not of the form KEY=VALUE, or is given twice.
    """
    try:
        values = [*(values or []), *shlex.split(os.environ.get("SAC_SET", ""))]
    except ValueError as error:
        raise UserError(f"SET={os.environ['SAC_SET']!r} cannot be split: {error}.") from None
    pairs = [("full", "true")] if full else []
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key:
            raise UserError(
                f"{value!r} is not accepted; a value of the profile is replaced by key=value, and "
                "one that holds a blank is quoted."
            )
        pairs.append((key, text))
    seeds = {} if seed is None else {"seed": seed}
    overrides = once(*({key: typed.value_of(text)} for key, text in pairs), seeds)
    options = ["--profile", profile] + ([] if seed is None else ["--seed", str(seed)])
    options += [word for key, text in pairs for word in ("--set", f"{key}={text}")]
    return Choice(profile, overrides, options)


def once(*parts: dict[str, Any]) -> dict[str, Any]:
    """Values from several places as one dictionary.

    Raises
    ------
    UserError
        If two of them give the same value.
    """
    merged: dict[str, Any] = {}
    for part in parts:
        if twice := next(iter(merged.keys() & part), None):
            raise UserError(f"The value {twice!r} is given twice; give it once.")
        merged |= part
    return merged


def choice(config: Mapping[str, Any]) -> Choice:
    """The run that Snakemake's ``--config profile=NAME seed=N set=VALUES`` means; VALUES are a list
    of KEY=VALUE, or one text as the environment variable ``SAC_SET`` holds it.

    Raises
    ------
    UserError
        If the seed is not a whole number or a value is not of the form KEY=VALUE.
    """
    seed, values = config.get("seed"), config.get("set") or []
    if seed is not None and type(seed) is not int:
        raise UserError(f"seed = {seed!r} is not accepted; it is a whole number.")
    if isinstance(values, str):
        values = shlex.split(values)
    return chosen(str(config.get("profile", DEFAULT)), seed, [str(value) for value in values])


def quoted(words: list[str]) -> str:
    """Words as one command for this system's shell."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _profile(run: Choice) -> Profile:
    return load_profile(run.profile, run.overrides)


def _folder(profile: Profile) -> Path:
    return home() / "runs" / profile.run_name


def _build(profile: Profile) -> Path:
    return home() / "_build" / profile.run_name


@contextmanager
def _step(name: str, profile: str, seed: int | None, values: list[str] | None) -> Iterator["Run"]:
    """A run for one step, which at the end is marked as complete."""
    started = time.monotonic()
    run = _open(profile, seed, values)
    yield run
    _mark(run.profile, name, started)


def _mark(profile: Profile, name: str, started: float) -> None:
    """Write the marker of a step, which the summary and the status page read."""
    record = {"step": name, "seconds": round(time.monotonic() - started, 1)}
    files.write_json(_folder(profile) / "steps" / f"{name}.json", record)


def _open(profile: str, seed: int | None, values: list[str] | None) -> "Run":
    from sacutils.run import open_run

    return open_run(profile, chosen(profile, seed, values).overrides)


def cores() -> int:
    """The number of processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@app.command(rich_help_panel=READERS)
def book(
    profile: ProfileName = DEFAULT,
    seed: Seed = None,
    values: Set = None,
    full: Full = False,
    cores: Annotated[int, typer.Option(min=1, help="Jobs at once.")] = cores(),
) -> None:
    """Train what is missing, execute the notebooks, render the book; interrupt it at will."""
    run = chosen(profile, seed, values, full)
    loaded = _profile(run)  # a wrong value is refused here, in one sentence
    replaced = {key: value for key, value in run.overrides.items() if key != "seed"}
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(home() / "Snakefile")]
    command += ["--cores", str(cores), "--scheduler", "greedy", "--keep-going", "--nolock"]
    command += ["--rerun-triggers", "params", "input", "--rerun-incomplete"]
    command += ["--quiet", "rules", "host", "reason", "--config", f"profile={profile}"]
    command += [] if seed is None else [f"seed={seed}"]
    command += [f"set={json.dumps([f'{k}={json.dumps(v)}' for k, v in replaced.items()])}"]
    # the values travel in `set`; torch's own threads would fight with the jobs side by side
    environment = {key: value for key, value in os.environ.items() if key != "SAC_SET"}
    process = subprocess.Popen(command, cwd=home(), env={"OMP_NUM_THREADS": "1"} | environment)
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
    rich_help_panel=READERS,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def notebook(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="With or without folder and suffix: 04_extraction.")],
    profile: ProfileName = DEFAULT,
    seed: Seed = None,
    values: Set = None,
    full: Full = False,
    in_book: Annotated[
        bool, typer.Option("--book", help="Execute it for the book, without parameters.")
    ] = False,
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
    overrides = once(chosen(profile, seed, values, full).overrides, nested, dotted)
    try:
        loaded, plain = load_profile(profile, overrides), load_profile(profile)
    except UserError as error:
        names = ", ".join(accepted)
        raise UserError(
            f"{str(error).rstrip('.')}; the notebook's own parameters are {names}."
        ) from None
    settings = {"profile": profile, "overrides": overrides}
    if in_book:
        if given or nested:
            raise UserError("A page of the book takes no -p; leave --book or -p out.")
        pages.execute(path, _folder(loaded) / "notebooks" / f"{path.stem}.ipynb", settings)
        return
    changed = typed.changes(path, own, loaded, plain)
    executed = _folder(plain) / "custom" / f"{pages.page_name(path.stem, changed)}.ipynb"
    pages.execute(path, executed, settings | own)
    in_the_book = _folder(plain) / "notebooks" / f"{path.stem}.ipynb"
    page = pages.custom_page(executed, changed, in_the_book, _build(plain) / "html")
    print(f"Executed notebook: {page}")


@app.command(rich_help_panel=READERS)
def compare(
    a: Annotated[str, typer.Argument(help="A run: PROFILE KEY=VALUE ..., in one argument.")],
    b: Annotated[str, typer.Argument(help='Another one, for example "fashion seed=1".')],
) -> None:
    """Set two finished runs side by side on one page, in runs/compared."""
    from sacutils.run import open_run

    from .compare import page

    runs = []
    for words in map(shlex.split, (a, b)):
        run = chosen((words or [DEFAULT])[0], values=words[1:])
        runs.append(open_run(run.profile, run.overrides))
    name = "--".join(run.profile.run_name for run in runs)
    print(f"Comparison: {page(*runs, home() / 'runs' / 'compared' / name)}")


@app.command(rich_help_panel=READERS)
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


@app.command(rich_help_panel=STEPS)
def data(profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None) -> None:
    """Load the data sets, split them and pack them into one file."""
    with _step("data", profile, seed, values) as run:
        _ = run.material


@app.command(rich_help_panel=STEPS)
def train(
    group: str, profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None
) -> None:
    """Train the models of one group that are not there yet."""
    with _step(f"train-{group}", profile, seed, values) as run:
        groups = jobs.groups(run.profile)
        if group not in groups:
            raise UserError(f"Unknown group {group!r}; the profile has {', '.join(groups)}.")
        variant = group.removeprefix("variant-")
        zoo = run.zoo if variant == group else run.variant(variant).zoo
        zoo.announce([spec.name for spec in groups[group]])
        for spec in groups[group]:
            zoo.get(spec.name)


@app.command(rich_help_panel=STEPS)
def tables(profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None) -> None:
    """Choose the probes, ask every model, and write the tables of the models and of SAC."""
    from sacutils.studies import tables

    with _step("tables", profile, seed, values) as run:
        tables.write(run)
        files.write_json(run.folder / "tables" / "headline.json", headline(run))


def headline(run: "Run") -> dict[str, str]:
    """The values of a run that pages of prose show, by name."""
    from sacutils import steps
    from sacutils.run import provenance_line
    from sacutils.studies import tables

    values = {"profile": run.profile.run_name, "n_models": str(len(run.names()))}
    values["provenance"] = provenance_line(run).strip("*").replace("`", "")
    for attack in steps.ATTACKS:
        for negatives in steps.negative_sets(attack):
            for form in ("probabilities", "labels"):
                auc = tables.cell(run, attack, form=form, negatives=negatives)
                values[f"auc_w_{attack}_{form}_{negatives.split()[0]}"] = str(auc)
    return values


@app.command(rich_help_panel=STEPS)
def rival(name: str, profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None) -> None:
    """Make the fingerprint of one rival and measure every model with it."""
    from sacutils import rivals
    from sacutils.studies import comparison

    with _step(f"rival-{name}", profile, seed, values) as run:
        known = {rivals.slug(rival): rival for rival in rivals.measurable(run.profile)}
        if name not in known:
            raise UserError(f"Unknown rival {name!r}; the profile has {', '.join(known)}.")
        comparison.measured(run, known[name])


@app.command("comparison", rich_help_panel=STEPS)
def compare_rivals(profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None) -> None:
    """Write the tables of SAC and its rivals together: distances, AUCs, costs."""
    from sacutils.studies import comparison

    with _step("comparison", profile, seed, values) as run:
        comparison.auc(run)
        comparison.costs(run)


@app.command(rich_help_panel=STEPS)
def ablations(profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None) -> None:
    """Vary one choice at a time and write the table ablations.csv; only a full run has it."""
    from sacutils.studies import ablations

    with _step("ablations", profile, seed, values) as run:
        ablations.table(run)


@app.command(rich_help_panel=STEPS)
def render(profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None) -> None:
    """Render the book from the executed notebooks."""
    from . import pages

    started = time.monotonic()
    loaded = _profile(chosen(profile, seed, values))
    folder, build = _folder(loaded), _build(loaded)
    executed = [folder / "notebooks" / f"{name}.ipynb" for name in jobs.notebook_names()]
    pages.stage(executed, build / "stage", files.read_json(folder / "tables" / "headline.json"))
    pages.build(build / "stage", build / "html")
    _mark(loaded, "book", started)


def summary(profile: Profile) -> str:
    """How long each kind of step took when it last ran, all jobs added, and where the book is."""
    kinds = {"data": "data", "train": "zoo", "tables": "probes, answers, tables of SAC"}
    kinds |= {"rival": "rivals", "comparison": "comparison", "ablations": "ablations"}
    kinds |= {"notebook": "notebooks", "render": "book"}
    seconds = dict.fromkeys(kinds.values(), 0.0)
    for job in jobs.plan(profile).values():
        record = (_folder(profile) / job.output).with_suffix(".json")
        seconds[kinds[job.verb.split()[0]]] += files.read_json(record)["seconds"]
    lines = [f"{kind:32s}{value:8.1f} s" for kind, value in seconds.items() if value]
    return "\n".join([*lines, f"The book: {_build(profile) / 'html' / 'index.html'}"])


@app.command("summary", rich_help_panel=STEPS)
def print_summary(
    profile: ProfileName = DEFAULT, seed: Seed = None, values: Set = None, full: Full = False
) -> None:
    """Print how long each kind of step took when it last ran, and where the book is."""
    print(summary(_profile(chosen(profile, seed, values, full))))


@app.command(rich_help_panel=KEEPERS)
def reference(
    seeds: Annotated[list[int], typer.Argument(help="Seeds of the finished full runs.")],
    profile: ProfileName = DEFAULT,
    values: Set = None,
) -> None:
    """Copy the small tables of finished full runs into results/, with their provenance."""
    from sacutils.studies.references import collect

    full = "full=true"
    print(collect([_open(profile, seed, [*(values or []), full]) for seed in seeds]))


@app.command("picture", rich_help_panel=KEEPERS)
def draw_picture() -> None:
    """Draw the picture of the README from the reference run of `fashion`."""
    from . import picture

    files.write_text(picture.path(), picture.svg())
    print(picture.path())


@app.command("launch", rich_help_panel=KEEPERS)
def fill_launch(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    profile: ProfileName = DEFAULT,
    seed: Seed = None,
    values: Set = None,
    full: Full = False,
) -> None:
    """Fill a folder with the branch `launch`: executed notebooks, models, a Binder environment."""
    from . import launch

    launch.fill(folder, _profile(chosen(profile, seed, values, full)))


def main() -> None:
    """Run the command line."""
    run_command(app)
