"""The command ``sacheck``: check a suspect against a model of your own."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from sacutils.files import UserError, run_command

if TYPE_CHECKING:
    from .images import Pool

EXIT_CODES = """Exit codes: 0 done, or *no evidence of derivation*; 1 bad input, told in one
sentence; 2 wrong use of the command line; 3 *derivation*; 4 *not decidable*."""
EXAMPLES = {
    "fingerprint": """\b
Examples:
  sacheck fingerprint fp --model mine.safetensors --sibling siblings/ --architecture resnet18 \\
      --images held_out/
  sacheck fingerprint simple --kind source --model mine.onnx --images held_out_by_class/""",
    "enrol": """\b
Examples:
  sacheck enrol owned --model mine.safetensors --architecture resnet18 --data trained_on/ \\
      --train "python train.py {data} {seed} {out}" --images held_out/ --reserve unused/""",
    "query": """\b
Examples:
  sacheck query fp --out suspect.json --model suspect.onnx
  sacheck query fp --out controls --model folder_of_models/ --architecture resnet18
  sacheck query fp --url http://host:8501/v1/models/m:predict --service tf-serving --try-one
  sacheck query fp --out suspect.json --url https://example.org/predict --service mine.yaml
  sacheck query fp --out suspect.json --table answers.csv""",
    "verify": """\b
Examples:
  sacheck verify fp suspect.json --control controls --report report.html
  sacheck verify fp suspect.json --control controls --pseudo-theft theft.json=sibling_3 \\
      --commitment 3f5a... --out verdict.json
  sacheck verify simple suspect.json --independent independent/""",
}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, and a start without waiting for it
    help="""Tell a model that was made from yours from one that was made without it, by its answers
    on probe images.

    1. `fingerprint` turns your model, its siblings (your script and data, other seeds) and images
    that none was trained on into a folder of probe images, and prints a commitment: publish that
    hash today, so that you can show later that the fingerprint is older than the dispute.

    2. `query` gets the answers of a suspect, and of controls: from a file, a service or a table.

    3. `verify` tells whether the suspect answers as your model and not as its siblings, and gives a
    p-value, a verdict and, if you like, a page to print or to send. Without siblings, it ranks the
    suspect among independent models.

    `enrol` does the first step, and rehearses the others, by your own training command.

    A file from a stranger is never executed: weights are read from safetensors and ONNX only. No
    command uses the network but `query --url`.""",
    epilog=EXIT_CODES,
)

Path_, Text, Size = Path | None, str | None, int | None
Kind = Literal["contested", "normal", "source", "w", "m", "jc"]
Folder = Annotated[Path, Argument(help="The folder of the fingerprint.")]
ARCHITECTURE = """Of a safetensors file: a name of sacutils/models.py, torchvision:NAME, timm:NAME,
transformers (as config.json beside the file says), or module:function of your own code, which gets
the numbers of channels and classes and returns a network. Own code is run: never use a
stranger's."""
Architecture = Annotated[Text, Option(help=ARCHITECTURE)]
IMAGES = "Images that it was not trained on: a folder per class, or a folder without labels."
KIND = """How probes are chosen: where your model and its siblings differ (contested), for the
sibling test. For owners who cannot retrain: images that your model gets wrong (source), that
surrogates get wrong too (w), mixed (m), compressed (jc) or plain (normal). source and w need true
labels."""
COUNT = "Number of probes, else 1000 for contested and 100; up to 20 anchors are added."
SIBLING = """For kind contested, repeatable: your script and data with another seed, chosen by the
same rule as your model; a file of weights or a folder of them. At least 12, better 19."""
SURROGATE = "For kind w, repeatable: a model that you extracted from your own, prepared as yours."
SurrogateArchitecture = Annotated[Text, Option(help="Of surrogates, if not --architecture.")]
NAMES = """Names of the model's outputs in their order: a,b,c or a .txt file with a name a line, to
which class folders are matched. Else those of the folders, by the alphabet or as numbers."""
SIDE = "Side of the probe images; else the median of the images' sides."
OUTPUT = "Of an ONNX model with several outputs, the one that holds the answers."
Output = Annotated[Text, Option(help=OUTPUT)]
Mean = Annotated[Text, Option(help="Subtracted from images, such as 0.49,0.48,0.45; with --std.")]
Std = Annotated[Text, Option(help="Images are divided by it after --mean was subtracted.")]
InputSize = Annotated[Size, Option(help="Side to which images are resized for the model.")]
LAYOUT = "What an ONNX model takes, else nchw; of a service, in place of its own."
Layout = Annotated[Literal["nchw", "nhwc"] | None, Option(help=LAYOUT)]
Maximum = Annotated[
    Size, Option(help="White before --mean and --std: 255; else 1, or the service's own.")
]
Model = Annotated[Path_, Option(help="Weights: safetensors or ONNX, or a folder of such files.")]
URL = "The suspect's prediction service, to which the probes are sent; goes with --service."
SERVICE = """How requests and responses look: a ready-made description such as tf-serving, kserve,
torchserve, mlflow, huggingface or gradio, or a YAML file. The manual lists all."""
Service = Annotated[Text, Option(help=SERVICE)]
TRY_ONE = """With --url: send one request, show it, its response and what was understood, and stop.
It spends one request; nothing is kept."""
TABLE = "Answers that somebody else made, as a .csv table or an .npy array."
Name = Annotated[Text, Option(help="The suspect's name in the report; else the file or host.")]
CONTROL = """For kind contested, repeatable: answers, or folders of them, of models in several
styles in which no member (your model or a sibling) took part; best are students of two further
siblings. At least 10."""
PSEUDO = """Repeatable: a theft that you rehearsed to measure power, as FILE=SIBLING, a student of
that sibling; for other kinds FILE, made from your model. A folder is accepted as FILE."""
INDEPENDENT = """For other kinds, repeatable: answers of independent models, or folders of them. At
least 19 for a level of 0.05."""
TRAIN = """Your training as a command with {data}, a folder of class folders, {seed} and {out}, the
file to write, such as "python train.py {data} {seed} {out}". It is run as it is."""
DATA = "The images that your model was trained on, a folder per class."
RESERVE = """Images that neither your model was trained on nor probes are chosen from; labels are
not needed. Rehearsed thefts and controls learn from them."""
REPORT = "Also write it as one .html page that needs no network."
ALPHA = "Level of the test; else 0.01 for kind contested and 0.05."

Own = Annotated[Path, Option(help="Your model: safetensors or ONNX.")]
Images = Annotated[Path, Option(help=IMAGES)]
ClassNames = Annotated[Text, Option(help=NAMES)]
Channels = Annotated[int, Option(min=1, max=3, help="1 for grey, 3 for colour.")]
ImageSize = Annotated[Size, Option(min=8, max=1024, help=SIDE)]


@app.command(epilog=EXAMPLES["fingerprint"])
def fingerprint(
    folder: Annotated[Path, Argument(help="The folder to make.")],
    model: Own,
    images: Images,
    architecture: Architecture = None,
    kind: Annotated[Kind, Option(help=KIND)] = "contested",
    count: Annotated[Size, Option(min=4, max=5000, help=COUNT)] = None,
    sibling: Annotated[list[Path] | None, Option(help=SIBLING)] = None,
    surrogate: Annotated[list[Path] | None, Option(help=SURROGATE)] = None,
    surrogate_architecture: SurrogateArchitecture = None,
    class_names: ClassNames = None,
    channels: Channels = 3,
    image_size: ImageSize = None,
    mean: Mean = None,
    std: Std = None,
    input_size: InputSize = None,
    layout: Layout = None,
    maximum: Maximum = None,
    output: Output = None,
) -> None:
    """Make a fingerprint folder from your model, and print the commitment to publish."""
    from sacutils import siblings
    from sacutils.profiles import Probes

    from . import case

    if not surrogate:
        unused = {"--surrogate-architecture": surrogate_architecture}
        case.refuse_unused(unused, "without --surrogate")
    if kind != "contested":
        case.refuse_unused({"--sibling": sibling}, f"with --kind {kind}")
    elif not sibling:
        what = "--kind contested needs --sibling: trainings of your own with other seeds"
        raise UserError(f"{what}; without them choose another --kind, such as source.")
    if kind != "w":
        case.refuse_unused({"--surrogate": surrogate}, f"with --kind {kind}")
    how = case.preparation(prepared(mean, std, input_size, layout, maximum, output))
    models = [case.ModelFile(model, architecture, how)]
    relatives = case.weight_files(sibling or [])
    models += [case.member(path, architecture, how) for path in relatives]
    others = [
        case.member(path, surrogate_architecture or architecture, how) for path in surrogate or []
    ]
    if others and all(other.architecture is None for other in others):
        unused = {"--surrogate-architecture": surrogate_architecture}
        case.refuse_unused(unused, "with ONNX files: they hold their own")
    models += others
    pool, names = owned_images(images, image_size, channels, class_names)
    models[0].outputs(pool.images.pixels[:2], len(names))  # a bad file is refused before the rest
    asked = [case.recorded(file, len(names)) for file in models]
    count = count or (1000 if kind == "contested" else 100)
    settings = Probes(count=count, second_count=4)
    made = case.fingerprint.make(folder, asked, pool, names, kind, settings)
    needed = siblings.FEWEST_SIBLINGS
    if kind == "contested" and len(relatives) < needed:
        print(f"{len(relatives)} siblings: verify cannot decide with fewer than {needed}.")
    size = f"{made.manifest.width} x {made.manifest.height} pixels"
    print(f"""{made.manifest.images}.
{folder}: {count} probes of kind {kind}, {size}, {made.is_anchor.sum()} anchors, answers \
as {made.manifest.form}.
Commitment: {made.commitment}
Publish or time-stamp this hash now, keep the folder secret, and open it when you need it: a
fingerprint without a date proves nothing about who came first. Anybody can recompute it with:
sha256sum --check COMMITMENT""")


def owned_images(
    images: Path, image_size: int | None, channels: int, class_names: str | None
) -> tuple["Pool", list[str]]:
    """Images to choose probes from, and the names of the model's outputs."""
    from .case import class_names as listed
    from .images import read_pool

    if channels == 2:
        raise UserError("--channels 2 is not accepted; 1 is grey, 3 is colour.")
    names = listed(class_names) if class_names else None
    pool = read_pool(images, image_size, channels, names)
    names = names or pool.class_names
    if names is None:
        raise UserError("The images have no classes; name the outputs: --class-names a,b,c.")
    return pool, names


def prepared(
    mean: str | None,
    std: str | None,
    size: int | None,
    layout: str | None,
    maximum: int | None,
    output: str | None,
) -> dict[str, Any]:
    """The options of preparation that were given."""
    values = {"mean": mean and mean.split(","), "std": std and std.split(",")}
    values |= {"size": size, "layout": layout, "maximum": maximum, "output": output}
    return {name: value for name, value in values.items() if value is not None}


@app.command(epilog=EXAMPLES["enrol"])
def enrol(
    folder: Annotated[Path, Argument(help="The folder to make, or to go on with.")],
    model: Own,
    train: Annotated[str, Option(help=TRAIN)],
    data: Annotated[Path, Option(help=DATA)],
    images: Images,
    reserve: Annotated[Path, Option(help=RESERVE)],
    architecture: Architecture = None,
    siblings: Annotated[int, Option(min=2, max=99, help="Siblings; better 19.")] = 12,
    controls: Annotated[int, Option(min=4, max=99, help="Controls.")] = 12,
    thefts: Annotated[int, Option(min=1, max=99, help="Rehearsed thefts.")] = 4,
    seed: Annotated[int, Option(help="The first sibling's seed; the others count up.")] = 1000,
    count: Annotated[int, Option(min=4, max=5000, help="Number of probes.")] = 1000,
    class_names: ClassNames = None,
    channels: Channels = 3,
    image_size: ImageSize = None,
    mean: Mean = None,
    std: Std = None,
    input_size: InputSize = None,
    layout: Layout = None,
    maximum: Maximum = None,
    output: Output = None,
) -> None:
    """Train siblings, controls and rehearsed thefts by your own command, make the fingerprint, and
    print what it finds. A run that breaks off goes on with the same command.
    """
    from sacutils.profiles import Probes

    from . import case
    from . import enrol as enrolment
    from .images import read_pool

    how = case.preparation(prepared(mean, std, input_size, layout, maximum, output))
    pool, names = owned_images(images, image_size, channels, class_names)
    kept = read_pool(reserve, pool.images.pixels.shape[-1], channels, names)
    source = case.ModelFile(model, architecture, how)
    source.outputs(pool.images.pixels[:2], len(names))  # a bad file is refused before the rest
    trainings = enrolment.plan(siblings, controls, thefts, seed)
    settings = Probes(count=count, second_count=4)
    measured = enrolment.enrol(folder, source, train, data, pool, kept, names, trainings, settings)
    own = case.fingerprint.load(folder / "fp")
    print(f"{own.manifest.images}.")
    for form, found in measured.items():
        styles = ", ".join(f"{a} of {b} on {style}" for style, (a, b) in found["found"].items())
        accused, pairs = found["accused"]
        print(f"From {form}: {styles} are the rehearsed thefts that are found.")
        print(f"  {accused} of {pairs} pairs of a member and a control are accused wrongly.")
    judge = ["sacheck", "verify", f"{folder}/fp", "SUSPECT.json", "--control", f"{folder}/controls"]
    for theft in (t for t in trainings if t.part == "thefts"):
        judge += ["--pseudo-theft", f"{folder}/thefts/{theft.name}.json={theft.teacher}"]
    print(f"""Commitment: {own.commitment}
Publish this hash now. A suspect's answers, made by sacheck query, are judged by:
{shlex.join(judge)}""")


@app.command(epilog=EXAMPLES["query"])
def query(
    folder: Folder,
    out: Annotated[Path_, Option(help=".json to make; a folder for a folder.")] = None,
    model: Model = None,
    architecture: Architecture = None,
    mean: Mean = None,
    std: Std = None,
    input_size: InputSize = None,
    layout: Layout = None,
    maximum: Maximum = None,
    output: Output = None,
    url: Annotated[Text, Option(help=URL)] = None,
    service: Service = None,
    try_one: Annotated[bool, Option("--try-one", help=TRY_ONE)] = False,
    table: Annotated[Path_, Option(help=TABLE)] = None,
    name: Name = None,
) -> None:
    """Get a model's answers on the probes: of a suspect, a control or an independent model.

    A query of a service that breaks off goes on where it stopped when the same command is given
    again: every call is kept in a log beside the answers.
    """
    from . import verbs

    sources = {"model": model, "url": url, "table": table, "service": service}
    preparation = prepared(mean, std, input_size, layout, maximum, output)
    options = {"architecture": architecture, "preparation": preparation, "name": name}
    print(verbs.query(folder, out, **sources, **options, try_one=try_one).text)


@app.command(epilog=EXAMPLES["verify"])
def verify(
    folder: Folder,
    suspect: Annotated[Path, Argument(help="The suspect's answers, from `query`.")],
    control: Annotated[list[Path] | None, Option(help=CONTROL)] = None,
    pseudo_theft: Annotated[list[str] | None, Option(help=PSEUDO, metavar="FILE=SIBLING")] = None,
    independent: Annotated[list[Path] | None, Option(help=INDEPENDENT)] = None,
    alpha: Annotated[float | None, Option(min=0.001, max=0.5, help=ALPHA)] = None,
    commitment: Annotated[Text, Option(help="The published one; another is refused.")] = None,
    out: Annotated[Path_, Option(help="Also write the result as JSON.")] = None,
    report: Annotated[Path_, Option(help=REPORT)] = None,
) -> None:
    """Compare a suspect with your model and its siblings, or with independent models.

    The exit code is 0 for *no evidence of derivation*, 3 for *derivation*, 4 for *not decidable*, 1
    for bad input.
    """
    from . import case, verbs

    known = {"control": control or (), "independent": independent or ()}
    known |= {"pseudo_theft": pseudo_theft or ()}
    options = {"alpha": alpha, "commitment": commitment, "out": out, "report": report}
    judged = verbs.verify(folder, suspect, **known, **options)
    for name, value in case.facts(judged).items():
        print(f"{name + ':':34s}{value}")
    raise typer.Exit(case.verdict.EXIT_CODES[judged.verdict.verdict])


def main() -> None:
    """Run the command line; bad input is one sentence on standard error and exit code 1."""
    run_command(app)
