"""Check a suspect against a model of your own: ``python -m sacutils fingerprint | query | verify | report``."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # Python looks into the current folder first, and a suspect's folder may hold a typer.py
    sys.path[:] = [each for each in sys.path if each not in ("", os.getcwd())]  # noqa: PTH109, pathlib may be there too

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .artefacts import UserError, run_command

if TYPE_CHECKING:
    from .weights import Preprocessing

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="""Tell a model that was made from yours from one that was made without it, by its answers on probe images.

    1. `fingerprint` turns your model and images that it was not trained on into a folder of probe images, and prints a
    commitment: publish that hash today, so that you can show later that the fingerprint is older than the dispute.

    2. `query` gets the answers of a suspect, and of models whose origin you know: from a file, a service or a table.

    3. `verify` compares the suspect with independent models (references) and gives a p-value and a verdict.

    4. `report` writes the same as one page that can be read without network, and as JSON.

    A file from a stranger is never executed: weights are read from safetensors and ONNX only. No command uses the network
    but `query --url`, and `--zoo` if the data set of its profile is not there yet.""",
)

Folder = Annotated[Path, typer.Argument(help="The folder of the fingerprint.", show_default=False)]
AnswersFile = Annotated[Path, typer.Argument(help="The suspect's answers, made by `query`.", show_default=False)]
Architecture = Annotated[
    str | None,
    typer.Option(
        help="Of a safetensors file: a name of sacutils/models.py, or module:function of your own code, which gets the numbers "
        "of channels and classes and returns a network. Own code is run: never use a stranger's."
    ),
]
Mean = Annotated[
    str | None, typer.Option(help="Subtracted from images in [0, --maximum], for example 0.49,0.48,0.45; goes with --std.")
]
Std = Annotated[str | None, typer.Option(help="Images are divided by it after --mean was subtracted.")]
Layout = Annotated[Literal["nchw", "nhwc"], typer.Option(help="Order of the dimensions that an ONNX model takes.")]
Maximum = Annotated[int, typer.Option(help="Value of a white pixel before --mean and --std: 1 or 255.")]
InputSize = Annotated[int | None, typer.Option(help="Side to which images are resized for the model.")]
References = Annotated[
    list[Path],
    typer.Option(
        "--references", help="Independent models: files of answers, or folders of them. At least 19 for a level of 0.05."
    ),
]
Derivatives = Annotated[list[Path] | None, typer.Option("--derivatives", help="Models known to be made from yours, likewise.")]
Alpha = Annotated[
    float, typer.Option(min=0.001, max=0.5, help="Level of the test: the share of independent models that may be accused.")
]
Commitment = Annotated[str | None, typer.Option(help="The commitment that was published; another fingerprint is refused.")]


def _numbers(value: str | None, option: str) -> tuple[float, ...] | None:
    try:
        return None if value is None else tuple(float(part) for part in value.split(","))
    except ValueError:
        raise UserError(f"{option} {value!r} is not accepted; numbers separated by commas are, such as 0.5,0.5,0.5.") from None


def _preprocessing(mean: str | None, std: str | None, size: int | None, layout: str, maximum: int) -> "Preprocessing":
    import pydantic

    from .answers import first_problem
    from .weights import Preprocessing

    values = {
        "mean": _numbers(mean, "--mean"),
        "std": _numbers(std, "--std"),
        "size": size,
        "layout": layout,
        "maximum": maximum,
    }
    try:
        return Preprocessing.model_validate(values)
    except pydantic.ValidationError as error:
        raise UserError(f"The preparation of images is not accepted ({first_problem(error)}).") from None


@app.command()
def fingerprint(
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not exist.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option(help="Your model: a safetensors file with --architecture, or an ONNX file.")
    ] = None,
    architecture: Architecture = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="A folder per class, a folder of images, or a data set of ours such as fashion_mnist; not trained on."
        ),
    ] = None,
    kind: Annotated[
        Literal["normal", "source", "w", "m", "jc"],
        typer.Option(
            help="How probes are chosen: images that your model gets wrong (source), that surrogates get wrong too (w), "
            "mixed (m), compressed (jc) or plain (normal). source and w need true labels."
        ),
    ] = "source",
    count: Annotated[int, typer.Option(min=4, max=5000, help="Number of probes; 20 plain control images are added.")] = 100,
    surrogate: Annotated[
        list[Path] | None,
        typer.Option(
            help="For kind w, repeatable: a model that you extracted from your own; its images are prepared as yours."
        ),
    ] = None,
    surrogate_architecture: Annotated[str | None, typer.Option(help="Of the surrogates, if it is not --architecture.")] = None,
    class_names: Annotated[
        str | None, typer.Option(help="Names of the classes, separated by commas, where the images have none.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, max=3, help="1 for grey, 3 for colour.")] = 3,
    image_size: Annotated[
        int | None, typer.Option(min=8, max=1024, help="Side of the probe images; else that of the first image.")
    ] = None,
    mean: Mean = None,
    std: Std = None,
    input_size: InputSize = None,
    layout: Layout = "nchw",
    maximum: Maximum = 1,
    zoo: Annotated[
        str | None, typer.Option(help="Instead of --model and --images: the source of a profile's zoo, such as fashion.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of every choice; with --zoo that of the run.")] = 0,
) -> None:
    """Make a fingerprint folder from your model, and print the commitment to publish."""
    from . import fingerprint as prints
    from . import weights
    from .artefacts import readable, sha256
    from .profiles import Probes

    settings, how = Probes(count=count, second_count=4), _preprocessing(mean, std, input_size, layout, maximum)
    if zoo is not None:
        import torch

        from .runs import open_run

        if model or images or surrogate:
            raise UserError("--zoo brings its own model, images and surrogates; give either it or --model and --images.")
        run = open_run(zoo, {"seed": seed})
        spec, material = run.zoo.specs[run.zoo.source], run.material
        model, architecture = _trained(run, spec.name), spec.architecture
        others = [(_trained(run, name), run.zoo.specs[name].architecture) for name in run.names("surrogate") if kind == "w"]
        pool, names, labelled = material.splits["probe"].to(torch.device("cpu")), material.class_names, True
        described = f"probe split of {run.profile.data.name}, seed {seed}, {len(pool.labels):,} images"
    else:
        if model is None or images is None:
            raise UserError("--model and --images are needed, or --zoo with the name of a profile.")
        if channels == 2:
            raise UserError("--channels 2 is not accepted; 1 is grey, 3 is colour.")
        pool, found, described = prints.read_images(images, image_size, channels, seed)
        labelled = found is not None
        if found is None and class_names is None:
            raise UserError(
                f"The images in {images} have no classes; give their names in the order of the outputs: --class-names a,b,c"
            )
        names = class_names.split(",") if class_names is not None else found
        named = surrogate_architecture or architecture
        others = [(path, None if weights.kind_of(path) == "onnx" else named) for path in surrogate or []]

    def record(path: Path, name: str | None) -> prints.Model:
        return prints.Model(file=readable(path.name), sha256=sha256(path), architecture=name, preprocessing=how)

    def answer(path: Path, name: str | None) -> prints.Answer:
        return lambda pixels: weights.outputs(path, pixels, len(names), name, how)

    answer(model, architecture)(pool.pixels[:2])  # a file that is not accepted is refused before anything else
    extra = [(answer(path, name), record(path, name)) for path, name in others]
    made = prints.make(
        folder,
        answer(model, architecture),
        record(model, architecture),
        pool,
        described,
        names,
        kind,
        settings,
        seed,
        labelled,
        extra,
    )
    print(
        f"{folder}: {count} probes of kind {kind}, {prints.CONTROLS} controls at most, owner's answers as {made.manifest.form}."
    )
    print(f"Commitment: {made.commitment}")
    print(
        "Publish or time-stamp this hash now, keep the folder secret, and open it when you need it: a fingerprint without a\n"
        "date proves nothing about who came first. Anybody can recompute it with: sha256sum --check COMMITMENT"
    )


def _free(path: Path) -> None:
    """Refuse a path that exists, or cannot come into being because a part of it is a file."""
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists; answers and verdicts are never overwritten, so give another name.")
    above = next(each for each in path.absolute().parents if each.exists())
    if not above.is_dir():
        raise UserError(f"{path} cannot be written, since {above} is no folder.")


def _trained(run: Any, name: str) -> Path:
    run.zoo.get(name)
    return run.zoo.path(name)


@app.command()
def query(
    folder: Folder,
    out: Annotated[
        Path,
        typer.Option(help="File of answers to make (.json); with --zoo or a folder of models a folder.", show_default=False),
    ],
    model: Annotated[
        Path | None, typer.Option(help="Weights: safetensors with --architecture, or ONNX; or a folder of such files.")
    ] = None,
    architecture: Architecture = None,
    mean: Mean = None,
    std: Std = None,
    input_size: InputSize = None,
    layout: Layout = "nchw",
    maximum: Maximum = 1,
    url: Annotated[
        str | None,
        typer.Option(help="The suspect's prediction service; goes with --service. Sends the probes over the network."),
    ] = None,
    service: Annotated[Path | None, typer.Option(help="YAML that says how requests and responses look.")] = None,
    table: Annotated[Path | None, typer.Option(help="Answers that somebody else made: .csv, .parquet or .npy.")] = None,
    zoo: Annotated[str | None, typer.Option(help="All models of a profile's zoo, as references and derivatives.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the zoo's run.")] = 0,
    name: Annotated[
        str | None, typer.Option(help="What the suspect is called in the report; else the name of the file or host.")
    ] = None,
) -> None:
    """Get a model's answers on the probes: of a suspect, or of a model whose origin you know.

    A query of a service that breaks off goes on where it stopped when the same command is given again: every call is kept in a
    log beside the answers.
    """
    from urllib.parse import urlsplit

    from . import answers
    from . import fingerprint as prints
    from . import service as services
    from .artefacts import sha256

    given = [
        option
        for option, value in {"--model": model, "--url": url, "--table": table, "--zoo": zoo}.items()
        if value is not None
    ]
    if len(given) != 1:
        raise UserError(
            f"{' and '.join(given) or 'No suspect'} given; exactly one of --model, --url, --table and --zoo is needed."
        )
    if (url is None) != (service is None):
        raise UserError("--url and --service go together: the one says where, the other how to ask.")
    _free(out)
    own = prints.load(folder)
    classes, how = own.manifest.class_names, _preprocessing(mean, std, input_size, layout, maximum)
    if zoo is not None:
        _query_zoo(own, zoo, seed, out)
        return
    if model is not None and model.is_dir():
        _query_folder(own, model, architecture, how, out)
        return
    if out.suffix != ".json":
        raise UserError(f"--out {out} is not accepted; answers are written to a .json file.")
    if model is not None:
        _write(own, *_ask_file(own, model, architecture, how), out, name or model.name)
        return
    if table is not None:
        found = answers.read_table(table, own.names, classes)
        origin = {"kind": "table", "file": table.name, "sha256": sha256(table)}
    else:
        mapping, journal = services.load_service(Path(service)), out.with_suffix(".calls.jsonl")
        rows = services.ask(url, mapping, own.names, own.pngs(), classes, journal, own.commitment)
        found = answers.from_rows(rows, len(classes))
        origin = {"kind": "service", "url": str(url), "log": journal.name, "log sha256": sha256(journal)}
    passed = prints.check_controls(own, found, str(url or table))
    _write(own, found, passed, origin, out, name or (urlsplit(url).hostname if url else Path(table).name))


def _write(own: Any, found: Any, passed: Any, origin: dict[str, str], out: Path, name: str) -> None:
    """Write answers, and say what they are."""
    from . import answers
    from . import fingerprint as prints

    answers.write(out, found, own.commitment, name, origin, prints.TOOL)
    shown = f"top {found.k} classes" if found.form == "top-k" else found.form
    print(f"{out}: {len(found.outputs)} answers, output form: {shown}; {passed.agree} of {passed.total} controls agree.")


def _ask_file(own: Any, model: Path, architecture: str | None, how: "Preprocessing") -> tuple[Any, Any, dict[str, str]]:
    """Answers of a model's file, how it answers the controls, and where they come from."""
    from . import answers, weights
    from . import fingerprint as prints
    from .artefacts import sha256

    classes = len(own.manifest.class_names)
    found = answers.detect(weights.outputs(model, own.pixels, classes, architecture, how))
    origin = {"kind": "file", "file": model.name, "sha256": sha256(model), "architecture": architecture or "in the file"}
    prepared = how.model_dump_json(exclude_defaults=True)
    origin |= {} if prepared == "{}" else {"preprocessing": prepared}
    return found, prints.check_controls(own, found, str(model)), origin


def _query_folder(own: Any, folder: Path, architecture: str | None, how: "Preprocessing", out: Path) -> None:
    from . import weights

    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".onnx"))
    if not files:
        raise UserError(f"{folder} holds no .safetensors or .onnx files; give a file, or a folder of them.")
    stems = [path.stem for path in files]
    twice = [path for path in files if stems.count(path.stem) > 1]
    if twice:
        raise UserError(f"{folder}: {twice[0].name} and {twice[1].name} would have the same answers file; names must differ.")
    answered = []
    for path in files:
        named = None if weights.kind_of(path) == "onnx" else architecture
        answered.append(_ask_file(own, path, named, how))
    for path, (found, passed, origin) in zip(files, answered, strict=True):
        _write(own, found, passed, origin, out / f"{path.stem}.json", path.name)


def _query_zoo(own: Any, zoo: str, seed: int, out: Path) -> None:
    from . import answers, calibration
    from . import fingerprint as prints
    from .runs import open_run

    run = open_run(zoo, {"seed": seed})
    if run.material.class_names != own.manifest.class_names:
        raise UserError(f"The zoo of {zoo!r} has other classes than the fingerprint; references need the same.")
    known = calibration.ask(run, own.pixels)
    for each in known:
        origin = {"kind": "zoo", "profile": run.profile.run_name, "group": each.group, "architecture": each.architecture}
        target = out / ("derived" if each.derived else "independent") / f"{each.name}.json"
        answers.write(target, each.answers, own.commitment, each.name, origin, prints.TOOL)
    derived = sum(each.derived for each in known)
    print(f"{out}: answers of {len(known) - derived} independent and {derived} derived models.")


@app.command()
def verify(
    folder: Folder,
    suspect: AnswersFile,
    references: References,
    derivatives: Derivatives = None,
    alpha: Alpha = 0.05,
    commitment: Commitment = None,
    out: Annotated[Path | None, typer.Option(help="Also write the result as JSON.")] = None,
) -> None:
    """Compare a suspect with references of known origin.

    The exit code is 0 for *consistent with independence*, 3 for *consistent with derivation*, 4 for *inconclusive*, 1 for bad
    input.
    """
    from . import artefacts, report, verdict

    if out is not None:
        _free(out)
    case = report.open_case(folder, suspect, references, derivatives or [], alpha, commitment)
    if out is not None:
        artefacts.write_json(out, report.record(case))
    print(report.as_text(case))
    raise typer.Exit(verdict.EXIT_CODES[case.verdict.verdict])


@app.command("report")
def write_report(
    folder: Folder,
    suspect: AnswersFile,
    references: References,
    out: Annotated[Path, typer.Option(help="The page to write (.html); the JSON lies beside it.", show_default=False)],
    derivatives: Derivatives = None,
    alpha: Alpha = 0.05,
    commitment: Commitment = None,
) -> None:
    """Verify, and write the result as one page that needs no network, and as JSON beside it."""
    from . import artefacts, report

    if out.suffix != ".html":
        raise UserError(f"--out {out} is not accepted; the report is written to a .html file.")
    beside = out.with_suffix(".json")
    for path in (out, beside):
        _free(path)
    case = report.open_case(folder, suspect, references, derivatives or [], alpha, commitment)
    page, record = report.page(case), report.record(case)
    artefacts.write_text(out, page)
    artefacts.write_json(beside, record)
    print(f"{out}: {case.verdict.verdict}")


def main() -> None:
    """Run the command line."""
    run_command(app)


if __name__ == "__main__":
    main()
