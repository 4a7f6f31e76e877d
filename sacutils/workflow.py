"""The steps of the workflow, one verb each, as Snakefile and Makefile call them: ``python -m sacutils.workflow VERB``."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from . import artefacts, lineage, pages
from .artefacts import UserError, run_command
from .profiles import ROOT, Profile, load_profile

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

ProfileName = Annotated[str, typer.Option(help="A file profiles/NAME.yaml.")]
Seed = Annotated[int | None, typer.Option(help="Replaces the profile's seed.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE replaces a value of the profile, by its dotted path.")]


def replacements(seed: int | None, values: list[str] | None = None) -> dict[str, Any]:
    """The overrides that the options ``--seed`` and ``--set`` stand for; values are YAML.

    Raises
    ------
    UserError
        If a value is not of the form KEY=VALUE.
    """
    values = values or []
    odd = [value for value in values if "=" not in value]
    if odd:
        raise UserError(f"--set {odd[0]!r} is not accepted; a value of the profile is replaced by: --set key=value")
    arguments = [part for value in values for part in ("-p", *value.split("=", 1))]
    return ({} if seed is None else {"seed": seed}) | parse_parameters(arguments)


def _folder(profile: Profile) -> Path:
    return ROOT / "runs" / profile.run_name


def _finish(profile: Profile, step: str, started: float, **more: Any) -> None:
    """Write the marker of a step that is complete; its content is what the summary and the status page print."""
    record = {"step": step, "seconds": round(time.monotonic() - started, 1)} | more
    artefacts.write_json(_folder(profile) / "steps" / f"{step}.json", record)


def _open(profile: str, seed: int | None, values: list[str] | None) -> Any:
    from .runs import open_run  # imports torch, which the verbs that only plan or render do without

    return open_run(profile, replacements(seed, values))


@app.command()
def data(profile: ProfileName = "fashion", seed: Seed = None, values: Set = None) -> None:
    """Load the data sets, split them and pack them into one file."""
    started = time.monotonic()
    run = _open(profile, seed, values)
    sizes = {name: len(images.labels) for name, images in run.material.splits.items()}
    _finish(run.profile, "data", started, images=sizes)


@app.command()
def train(group: str, profile: ProfileName = "fashion", seed: Seed = None, values: Set = None) -> None:
    """Train the models of one group that are not there yet."""
    started = time.monotonic()
    run = _open(profile, seed, values)
    specs = lineage.groups(run.profile)
    if group not in specs:
        raise UserError(f"Unknown group {group!r}; the profile has {', '.join(specs)}.")
    trained = run.variant(group.removeprefix("variant-")) if group.startswith("variant-") else run
    for spec in specs[group]:
        trained.zoo.get(spec.name)
    _finish(run.profile, f"train-{group}", started, models=[spec.name for spec in specs[group]])


METHODS = {
    "random": "Random",
    "akh": "AKH",
    "ipguard": "IPGuard",
    "cae": "CAE",
    "ewe": "EWE",
    "modeldiff": "ModelDiff",
    "fbi": "FBI",
    "zest": "Zest",
    "dataset-inference": "Dataset Inference",
}
"""The baselines by the name that the command line takes."""


def methods(profile: Profile) -> list[str]:
    """The baselines that a profile can measure: EWE needs its watermarked source."""
    return [name for name in METHODS if name != "ewe" or "watermarked" in profile.variants]


@app.command()
def baseline(method: str, profile: ProfileName = "fashion", seed: Seed = None, values: Set = None) -> None:
    """Make the fingerprint of one baseline and judge every model with it."""
    started = time.monotonic()
    run = _open(profile, seed, values)
    if method not in methods(run.profile):
        raise UserError(f"Unknown baseline {method!r}; the profile has {', '.join(methods(run.profile))}.")
    run.baseline(METHODS[method])
    _finish(run.profile, f"baseline-{method}", started)


@app.command()
def ablations(profile: ProfileName = "fashion", seed: Seed = None, values: Set = None) -> None:
    """Vary one choice at a time and write the table ablations.csv."""
    started = time.monotonic()
    run = _open(profile, seed, values)
    rows = len(run.ablations)
    _finish(run.profile, "ablations", started, rows=rows)


@app.command()
def tables(profile: ProfileName = "fashion", seed: Seed = None, values: Set = None) -> None:
    """Choose the probes, ask every model, and write the tables zoo.csv, distances.csv and auc.csv."""
    from .runs import provenance_line

    started = time.monotonic()
    run = _open(profile, seed, values)
    run.write_tables()
    made = provenance_line(run).strip("*").replace("`", "")
    headline = {"profile": run.profile.run_name, "n_models": str(len(run.names())), "provenance": made}
    for attack in lineage.ATTACKS:
        for negatives in lineage.negative_sets(attack):
            for form in ("probabilities", "labels"):
                key = f"auc_w_{attack}_{form}_{negatives.split()[0]}"
                headline[key] = str(run.auc_of(attack, form=form, negatives=negatives))
    artefacts.write_json(run.folder / "tables" / "headline.json", headline)
    _finish(run.profile, "tables", started)


def parse_parameters(arguments: list[str]) -> dict[str, Any]:
    """Read ``-p key value -p key value ...`` as papermill does; values are YAML, so that 0.5, true and [1, 2] keep their type.

    Raises
    ------
    UserError
        If the arguments are not of that form.
    """
    triples = [arguments[start : start + 3] for start in range(0, len(arguments), 3)]
    for triple in triples:
        if len(triple) != 3 or triple[0] not in ("-p", "--parameter"):
            raise UserError(f"Arguments {' '.join(triple)!r} are not accepted; parameters are given as: -p key value")
    try:
        return {key: yaml.safe_load(value) for _, key, value in triples}
    except yaml.YAMLError as error:
        raise UserError(f"A value among {' '.join(arguments)!r} is not valid YAML: {str(error).splitlines()[0]}.") from None


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def notebook(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of a notebook, with or without folder and suffix: 05_extraction.")],
    profile: ProfileName = "fashion",
    seed: Seed = None,
    values: Set = None,
    book: Annotated[bool, typer.Option("--book", help="Execute it for the book, without parameters of its own.")] = False,
) -> None:
    """Execute one notebook; the result goes into a folder of its own and not into the book.

    Any number of -p KEY VALUE replace a parameter of the notebook, or a value of the profile by its dotted path.
    """
    path = ROOT / "notebooks" / f"{Path(name).stem}.py"
    if not path.exists():
        raise UserError(f"There is no notebook {name!r}; notebooks/ holds {', '.join(notebook_names())}.")
    given, accepted = parse_parameters(context.args), pages.parameters_of(path)
    own = {key: value for key, value in given.items() if key in accepted}
    overrides = replacements(seed, values) | {key: value for key, value in given.items() if key not in own}
    try:
        loaded = load_profile(own.get("profile", profile), overrides)
    except UserError as error:
        raise UserError(f"{error} The notebook's own parameters are {', '.join(accepted)}.") from None
    folder = _folder(loaded) / ("notebooks" if book else "custom")
    digest = "" if book or not own else f"-{artefacts.digest_of(own)[:8]}"
    output = folder / f"{path.stem}{digest}.ipynb"
    pages.execute(path, output, {"profile": profile, "overrides": overrides} | own)
    if not book:
        print(f"Executed notebook: {pages.to_html(output)}")


def notebook_names() -> list[str]:
    """All notebooks of the book in reading order."""
    return sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.py"))


@app.command()
def book(profile: ProfileName = "fashion", seed: Seed = None, values: Set = None) -> None:
    """Render the book from the executed notebooks."""
    started = time.monotonic()
    loaded = load_profile(profile, replacements(seed, values))
    folder = _folder(loaded)
    executed = [folder / "notebooks" / f"{name}.ipynb" for name in notebook_names()]
    build = ROOT / "_build" / loaded.run_name
    pages.stage(executed, build / "stage", artefacts.read_json(folder / "tables" / "headline.json"))
    pages.build(build / "stage", build / "html")
    _finish(loaded, "book", started)


@app.command()
def reference(
    seeds: Annotated[list[int], typer.Argument(help="Seeds of the finished runs, one source each.")],
    profile: ProfileName = "fashion",
    values: Set = None,
) -> None:
    """Copy the small tables of finished runs into results/, with their provenance."""
    from .reference import collect

    print(collect([_open(profile, seed, values) for seed in seeds]))


@app.command()
def summary(profile: ProfileName = "fashion", seed: Seed = None, values: Set = None) -> None:
    """Print how long each step took when it last ran, and where the book lies."""
    loaded = load_profile(profile, replacements(seed, values))
    folder = _folder(loaded)
    steps = [artefacts.read_json(path) for path in (folder / "steps").glob("*.json")]
    notebooks = [artefacts.read_json(path) for path in (folder / "notebooks").glob("[0-9]*.json")]
    seconds = {
        "data": sum(step["seconds"] for step in steps if step["step"] == "data"),
        "zoo (all jobs added)": sum(step["seconds"] for step in steps if step["step"].startswith("train-")),
        "probes, outputs, tables": sum(step["seconds"] for step in steps if step["step"] == "tables"),
        "notebooks (all added)": sum(record["seconds"] for record in notebooks),
        "book": sum(step["seconds"] for step in steps if step["step"] == "book"),
    }
    for name, value in seconds.items():
        print(f"{name:26s}{value:8.1f} s")
    print(f"The book: {ROOT / '_build' / loaded.run_name / 'html' / 'index.html'}")


def main() -> None:
    """Run the command line."""
    run_command(app)


if __name__ == "__main__":
    main()
