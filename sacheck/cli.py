"""The command ``sacheck``: check a suspect against a model of your own."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from sacutils.files import run_command

from .text import say

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
      --train "python train.py {data} {seed} {out}" --images held_out/ --reserve unused/
  sacheck enrol owned --model mine.onnx --sibling siblings/ --control others/ --images held_out/""",
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
  sacheck verify fp answers/*.json --control controls
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

    `enrol` does the first step, and rehearses the others, by your own training.

    A file from a stranger is never executed: weights are read from safetensors and ONNX only. No
    command uses the network but `query --url`.""",
    epilog=EXIT_CODES,
)

PREPARATION = ("mean", "std", "input_size", "layout", "maximum", "output")
"""Options of :class:`sacheck.weights.Preprocessing`."""
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
TRAIN = """Your training: a command with {data}, a folder of class folders, {seed} and {out}, the
file to write, such as "python train.py {data} {seed} {out}"; or module:function, called with these
three. It is run as it is. Without it, --architecture is trained by a recipe of sacheck's own."""
DATA = "To train: the images that your model was trained on, a folder per class."
RESERVE = """To train: images that neither your model was trained on nor probes are chosen from;
labels are not needed. Rehearsed thefts and controls learn from them."""
BROUGHT = """In place of training, repeatable: siblings that you have, a file of weights or a folder
of them. At least 12."""
MORE_CONTROLS = """Repeatable: controls that you have, read as your model is; files of weights, or
folders of them. With --sibling at least 10 are needed, otherwise they join those that are trained.
Let them be of several recipes; no member (your model or a sibling) may have a part in them."""
THEFT = """With --sibling, repeatable: a theft that you rehearsed, the weights of a student of that
sibling. Without any, power is not measured."""
NUMBER = "How many to train as"
SUSPECT = "The suspect's answers, from `query`; of several, each is judged by itself."
SEVERAL = "with several suspects: judge one by itself for that"
REPORT = "Also write it as one .html page that needs no network."
ALPHA = "Level of the test; else 0.01 for kind contested and 0.05."

Own = Annotated[Path, Option(help="Your model: safetensors or ONNX.")]
Images = Annotated[Path, Option(help=IMAGES)]
ClassNames = Annotated[Text, Option(help=NAMES)]
Channels = Annotated[int, Option(min=1, max=3, help="1 for grey, 3 for colour.")]
ImageSize = Annotated[Size, Option(min=8, max=1024, help=SIDE)]


def called(verb: str, given: dict[str, Any]) -> Any:
    """Call a verb of :mod:`sacheck.verbs` with the options that were given."""
    from . import verbs

    values = {name: value for name, value in given.items() if value is not None}
    how = {name: values.pop(name) for name in PREPARATION if name in values}
    for name in ("mean", "std"):
        how |= {name: how[name].split(",")} if name in how else {}
    if "input_size" in how:
        how["size"] = how.pop("input_size")
    return getattr(verbs, verb)(**values, **({"preparation": how} if how else {}))


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
    say(called("fingerprint", locals()).text)


@app.command(epilog=EXAMPLES["enrol"])
def enrol(
    folder: Annotated[Path, Argument(help="The folder to make, or to go on with.")],
    model: Own,
    images: Images,
    train: Annotated[Text, Option(help=TRAIN)] = None,
    data: Annotated[Path_, Option(help=DATA)] = None,
    reserve: Annotated[Path_, Option(help=RESERVE)] = None,
    sibling: Annotated[list[Path] | None, Option(help=BROUGHT)] = None,
    control: Annotated[list[Path] | None, Option(help=MORE_CONTROLS)] = None,
    pseudo_theft: Annotated[list[str] | None, Option(help=THEFT, metavar="FILE=SIBLING")] = None,
    architecture: Architecture = None,
    siblings: Annotated[
        Size, Option(min=2, max=99, help=f"{NUMBER} siblings: 12; 19 find more.")
    ] = None,
    controls: Annotated[Size, Option(min=0, max=99, help=f"{NUMBER} controls: 12.")] = None,
    thefts: Annotated[Size, Option(min=1, max=99, help=f"{NUMBER} rehearsed thefts: 4.")] = None,
    seed: Annotated[
        Size, Option(min=0, help="Of the first training, 1000; the others count up.")
    ] = None,
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
    """Train siblings, controls and rehearsed thefts, or take those that you bring; make the
    fingerprint, and print what it finds.

    The cost is printed before the first training. A run that breaks off goes on with the same
    command.
    """
    say(called("enrol", locals()).text)


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
    say(called("query", locals()).text)


@app.command(epilog=EXAMPLES["verify"])
def verify(
    folder: Folder,
    suspect: Annotated[list[Path], Argument(help=SUSPECT)],
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
    for bad input. Of several suspects there is a line each, and the code is 3 if there is a
    derivation, else 4 if one is not decidable.
    """
    from . import case

    given = {"control": control, "pseudo_theft": pseudo_theft, "independent": independent}
    given |= {"alpha": alpha, "commitment": commitment}
    results = {"out": out, "report": report}
    if len(suspect) == 1:
        judged = [called("verify", {"folder": folder, "suspect": suspect[0]} | given | results)]
        for name, value in case.facts(judged[0]).items():
            say(f"{name + ':':34s}{value}")
    else:
        case.refuse_unused({f"--{name}": path for name, path in results.items()}, SEVERAL)
        judged = called("verify_each", {"folder": folder, "suspects": suspect} | given)
        for path, each in zip(suspect, judged, strict=True):
            say(f"{each.verdict.p:<8.2g}{each.verdict.verdict:28s}{path}")
        level = judged[0].verdict.alpha
        what = f"each at the level {level:g}: of {len(judged)} innocent suspects, about"
        say(f"p-value and verdict, {what} {level * len(judged):.1g} are accused.")
    codes = {case.verdict.EXIT_CODES[each.verdict.verdict] for each in judged}
    raise typer.Exit(next(code for code in (3, 4, 0) if code in codes))


def main() -> None:
    """Run the command line; bad input is one sentence on standard error and exit code 1."""
    run_command(app)
