"""The verbs of the command ``sacheck`` as functions: :func:`fingerprint`, :func:`enrol`,
:func:`query` and :func:`verify`. Each raises a :class:`sacutils.files.UserError`, one sentence, if
anything is not accepted or an option has no effect.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sacutils import files
from sacutils.files import UserError
from sacutils.profiles import Probes
from sacutils.siblings import FEWEST_CONTROLS, FEWEST_SIBLINGS

from . import case, description
from . import fingerprint as prints
from .case import Case, Queried
from .fingerprint import Fingerprint
from .images import Pool, read_pool
from .text import refuse
from .weights import ModelFile

AnyPath = str | Path

OPTIONS = {"size": "input-size"}
"""Options of preparation that have another name on the command line."""


PUBLISH = """Commitment: {}
Publish or time-stamp this hash now, keep the folder secret, and open it when you need it: a
fingerprint without a date proves nothing about who came first. Anybody can recompute it with:
sha256sum --check COMMITMENT"""
FEW = "{} siblings and {} controls: verify cannot decide with fewer than {} and {}."
OUR_RECIPE = """Siblings were trained by sacheck's own recipe. The p-value among them holds only if
your model was trained by it too; otherwise give your training by --train."""
BROUGHT = """{} siblings and {} controls were brought. If the controls are of one recipe, which
sacheck cannot see, innocent suspects of another style may stand out."""
ONE_RECIPE = """All controls learned by one recipe, from two teachers. Innocent suspects of another
style may then stand out, so bring models of other recipes too, by --control."""


class Asked(NamedTuple):
    """Answers by the file that holds them (none after a trial), and what there is to say."""

    answers: dict[Path, Queried]
    text: str


class Made(NamedTuple):
    """A fingerprint, and what there is to say about it."""

    fingerprint: Fingerprint
    text: str


def fingerprint(
    folder: AnyPath,
    model: AnyPath,
    images: AnyPath,
    *,
    architecture: str | None = None,
    kind: str = "contested",
    count: int | None = None,
    sibling: Sequence[AnyPath] = (),
    surrogate: Sequence[AnyPath] = (),
    surrogate_architecture: str | None = None,
    class_names: str | None = None,
    channels: int = 3,
    image_size: int | None = None,
    preparation: Mapping[str, Any] | None = None,
) -> Made:
    """Make a fingerprint `folder` from the file of the owner's `model` and `images` that it was not
    trained on, see :func:`sacheck.fingerprint.make`.

    `sibling` are files, or folders of them, for the `kind` ``contested``, and `surrogate` those for
    ``w``. `class_names` names the model's outputs as :func:`sacheck.case.class_names` reads them.
    `architecture` and `preparation` are as for :func:`query`; images get `channels` (1 or 3) and
    the side `image_size`, else their median.
    """
    if not surrogate:
        unused = {"--surrogate-architecture": surrogate_architecture}
        case.refuse_unused(unused, "without --surrogate")
    if kind != "contested":
        case.refuse_unused({"--sibling": sibling or None}, f"with --kind {kind}")
    elif not sibling:
        what = "--kind contested needs --sibling: trainings of your own with other seeds"
        raise UserError(f"{what}; without them choose another --kind, such as source.")
    if kind != "w":
        case.refuse_unused({"--surrogate": surrogate or None}, f"with --kind {kind}")
    case.require_free(Path(folder))
    how = case.preparation(preparation or {})
    models = [ModelFile(Path(model), architecture, how)]
    relatives = case.weight_files([Path(path) for path in sibling])
    case.by_stem(relatives)
    models += [case.member(path, architecture, how) for path in relatives]
    theirs = surrogate_architecture or architecture
    others = [case.member(Path(path), theirs, how) for path in surrogate]
    if others and all(other.architecture is None for other in others):
        unused = {"--surrogate-architecture": surrogate_architecture}
        case.refuse_unused(unused, "with ONNX files: they hold their own")
    models += others
    pool, names = _owned_images(models[0], images, image_size, channels, class_names)
    asked = [case.recorded(file, len(names)) for file in models]
    count = count or (1000 if kind == "contested" else 100)
    made = prints.make(Path(folder), asked, pool, names, kind, _settings(count))
    lines = [f"{made.manifest.images}."]
    if kind == "contested" and len(relatives) < FEWEST_SIBLINGS:
        few = f"verify cannot decide with fewer than {FEWEST_SIBLINGS}"
        lines.insert(0, f"{len(relatives)} siblings: {few}.")
    size = f"{made.manifest.width} x {made.manifest.height} pixels"
    lines.append(
        f"{folder}: {count} probes of kind {kind}, {size}, {made.is_anchor.sum()} anchors, "
        f"answers as {made.manifest.form}."
    )
    return Made(made, "\n".join([*lines, PUBLISH.format(made.commitment)]))


def _settings(count: int) -> Probes:
    return Probes(count=count, second_count=4)


def _owned_images(
    model: ModelFile,
    images: AnyPath,
    image_size: int | None,
    channels: int,
    class_names: str | None,
) -> tuple[Pool, list[str]]:
    """Images to choose probes from, and the names of the outputs of the owner's model, which must
    be able to answer.
    """
    if channels == 2:
        raise UserError("--channels 2 is not accepted; 1 is grey, 3 is colour.")
    names = case.class_names(class_names) if class_names is not None else None
    pool = read_pool(Path(images), image_size, channels, names)
    names = names or pool.class_names
    if names is None:
        raise UserError("The images have no classes; name the outputs: --class-names a,b,c.")
    prints.check_class_names(names, f"The folder {images}")
    model.outputs(pool.images.pixels[:2], len(names))  # a bad file is refused before the rest
    return pool, names


class Enrolled(NamedTuple):
    """A fingerprint, what :func:`sacheck.enrol.power` says of it, and what there is to say."""

    fingerprint: Fingerprint
    power: dict[str, Any]
    text: str


def enrol(
    folder: AnyPath,
    model: AnyPath,
    images: AnyPath,
    *,
    train: str | None = None,
    data: AnyPath | None = None,
    reserve: AnyPath | None = None,
    sibling: Sequence[AnyPath] = (),
    control: Sequence[AnyPath] = (),
    pseudo_theft: Sequence[str] = (),
    architecture: str | None = None,
    siblings: int | None = None,
    controls: int | None = None,
    thefts: int | None = None,
    seed: int | None = None,
    count: int = 1000,
    class_names: str | None = None,
    channels: int = 3,
    image_size: int | None = None,
    preparation: Mapping[str, Any] | None = None,
) -> Enrolled:
    """From the owner's `model` to a fingerprint ``folder/fp`` whose power is known: train so many
    `siblings` (12), `controls` (12) and `thefts` (4), with seeds that count up from `seed` (1000),
    choose probes from `images`, get all answers, and measure what they find.

    `train` is the owner's training (:func:`sacheck.trainers.trainer`), `data` what it learns from,
    `reserve` images for students. An owner who has siblings already brings files, or folders of
    them, as `sibling` and `control`, and rehearsed thefts as FILE=SIBLING; then nothing is trained.
    More controls may be brought in both cases. The rest is as for :func:`fingerprint`.

    What is done is kept, so that a call that broke off goes on. Progress is printed.
    """
    from . import enrol as steps
    from .trainers import trainer

    folder, how = Path(folder), case.preparation(preparation or {})
    source = ModelFile(Path(model), architecture, how)
    counts = {"--siblings": siblings, "--controls": controls, "--thefts": thefts, "--seed": seed}
    needed = {"--data": data, "--reserve": reserve}
    if sibling:
        unused = {"--train": train} | needed | counts
        case.refuse_unused(unused, "with --sibling: models that are there are not trained")
    else:
        case.refuse_unused({"--pseudo-theft": pseudo_theft or None}, "without --sibling")
        lacking = " and ".join(name for name, value in needed.items() if value is None)
        what = f"{lacking} needed to train siblings and controls"
        refuse(what, {"; or bring them by --sibling and --control": bool(lacking)})
    pool, names = _owned_images(source, images, image_size, channels, class_names)
    if pool.class_names is not None and not (folder / "fp").exists():
        # what the fingerprint would refuse after all trainings is refused before them
        predicted = source.outputs(pool.images.pixels, len(names)).argmax(1)
        prints.accuracy(predicted, pool.images.labels.numpy(), names)
    own, more = [[Path(path) for path in paths] for paths in (sibling, control)]
    models = steps.brought(own, more, pseudo_theft, architecture, how)
    started = {"source": case.recorded(source, 2)[1].model_dump(mode="json"), "classes": names}
    settings = _settings(count)
    chosen = {"images": steps.said(pool), "probes": settings.model_dump(mode="json")}
    if sibling:
        started["siblings"] = {
            name: case.recorded(each, 2)[1].sha256 for name, each in models.siblings.items()
        }
        notes = [BROUGHT.format(len(models.siblings), len(models.controls))]
    else:
        data, side = Path(str(data)), pool.images.pixels.shape[-1]
        called = trainer(train, source, names, channels, side)
        kept = read_pool(Path(str(reserve)), side, channels, names)
        values = (siblings or 12, 12 if controls is None else controls, thefts or 4)
        refuse("", {f"--seed {seed} is not accepted; 0 or more is": (seed or 0) < 0})
        trainings = steps.plan(*values, 1000 if seed is None else seed)
        there, least = len(models.controls) + values[1], case.LEAST_CONTROLS
        refuse(f"{there} controls", {f"; {least} are needed to compute": there < least})
        made = {training.name for training in trainings if training.part == "controls"}
        twice = ", ".join(made & models.controls.keys())
        refuse(
            f"--control {twice}", {" is a name of those that are trained; rename it": twice != ""}
        )
        steps.check_data(data, names)
        started |= {"command": train, "data": str(data), "trainings": trainings}
        started |= {"reserve": steps.said(kept)}
        notes = [] if train else [OUR_RECIPE]
        notes += [] if control else [ONE_RECIPE]
    with steps.begun(folder, started, chosen):
        if not sibling:
            trained = steps.train(folder, source, called, data, kept, names, trainings)
            models = trained._replace(controls=trained.controls | models.controls)
        measured = steps.measure(folder, source, models, pool, names, settings)
    there = len(models.siblings), len(models.controls)
    fewest = FEWEST_SIBLINGS, FEWEST_CONTROLS
    if any(a < b for a, b in zip(there, fewest, strict=True)):
        notes.append(FEW.format(*there, *fewest))
    made = prints.load(folder / "fp")
    lines = [f"{made.manifest.images}.", *notes]
    for form, found in measured.items():
        styles = ", ".join(f"{a} of {b} on {style}" for style, (a, b) in found["found"].items())
        accused, pairs = found["accused"]
        lines.append(f"From {form}: rehearsed thefts found: {styles or 'none was rehearsed'}.")
        lines.append(f"  {accused} of {pairs} pairs of a member and a control are accused wrongly.")
    judge = ["sacheck", "verify", f"{folder}/fp", "SUSPECT.json", "--control", f"{folder}/controls"]
    for name, theft in models.thefts.items():
        judge += ["--pseudo-theft", f"{folder}/thefts/{name}.json={theft.teacher}"]
    lines += [
        PUBLISH.format(made.commitment),
        "A suspect's answers, from sacheck query, are judged by:",
    ]
    return Enrolled(made, measured, "\n".join([*lines, files.quoted(judge)]))


def query(
    folder: AnyPath,
    out: AnyPath | None = None,
    *,
    model: AnyPath | None = None,
    architecture: str | None = None,
    preparation: Mapping[str, Any] | None = None,
    url: str | None = None,
    service: AnyPath | None = None,
    table: AnyPath | None = None,
    name: str | None = None,
    try_one: bool = False,
) -> Asked:
    """Get a model's answers on the probes of the fingerprint in `folder`, and write them to `out`.

    The model is one of: `model`, a file of weights or a folder of them (then `out` is a folder
    too); a prediction service at `url`, which `service` describes (a ready-made name or a YAML
    file, see :func:`sacheck.description.load_service`); a `table` that somebody else made.
    `architecture` and `preparation` (fields of :class:`sacheck.weights.Preprocessing` that differ
    from its defaults) say how a file of weights is read and fed; for a service that takes numbers,
    `preparation` replaces fields of its description. `name` is the suspect's in the report.

    With `try_one`, a service gets one request, which is printed with its response; nothing is kept.

    Answers whose anchors show that they do not belong to these images and classes are refused.
    """
    sources = {"--model": model, "--url": url, "--table": table}
    given = [option for option, value in sources.items() if value is not None]
    if len(given) != 1:
        what = " and ".join(given) or "No suspect"
        raise UserError(f"{what} given; exactly one of --model, --url and --table is needed.")
    if (url is None) != (service is None):
        raise UserError("--url and --service go together: where to ask, and how.")
    prepared = dict(preparation or {})
    if model is None:
        reason = f"with {given[0]}: it goes with --model"
        unused = {"--architecture": architecture, "--output": prepared.pop("output", None)}
        case.refuse_unused(unused, reason)
    if table is not None:
        options = {f"--{OPTIONS.get(key, key)}": value for key, value in prepared.items()}
        case.refuse_unused(options, "with --table: it goes with --model and --url")
    if try_one:
        case.refuse_unused({"--try-one": True if url is None else None}, f"with {given[0]}")
        unused = {"--out": out, "--name": name}
        case.refuse_unused(unused, "with --try-one, which keeps nothing")
    elif out is None:
        raise UserError("--out is needed: the .json file of answers to make.")
    else:
        case.require_free(Path(out))
    own = prints.load(Path(folder))
    if url is not None and service is not None:
        described = description.load_service(service, prepared)
    if try_one:
        return Asked({}, case.try_service(own, str(url), described))
    out = Path(str(out))
    if model is not None and Path(model).is_dir():
        case.refuse_unused({"--name": name}, "with a folder of models: each is called as its file")
        how = case.preparation(prepared)
        answered = case.from_folder(own, Path(model), architecture, how, out)
    elif out.suffix != ".json":
        raise UserError(f"--out {out} is not accepted; answers are written to a .json file.")
    elif model is not None:
        how = case.preparation(prepared)
        answered = {out: case.from_file(own, ModelFile(Path(model), architecture, how))}
    elif table is not None:
        answered = {out: case.from_table(own, Path(table))}
    else:
        log = out.with_suffix(".calls.jsonl")
        answered = {out: case.from_service(own, str(url), described, log)}
    return Asked(answered, case.write(own, answered, name))


def verify(
    folder: AnyPath,
    suspect: AnyPath,
    *,
    out: AnyPath | None = None,
    report: AnyPath | None = None,
    **given: Any,
) -> Case:
    """Judge one suspect as :func:`verify_each` does, with its other arguments.

    Also writes the result as JSON to `out`, whose schema is :func:`sacheck.case.schema`, and as a
    page to `report`; neither may exist.
    """
    if report is not None and Path(report).suffix != ".html":
        raise UserError(f"--report {report} is not accepted; it is written to a .html file.")
    for path in filter(None, (out, report)):
        case.require_free(Path(path))
    if out is not None and Path(out).suffix != ".json":
        raise UserError(f"--out {out} is not accepted; it is written to a .json file.")
    (judged,) = verify_each(folder, [suspect], **given)
    with files.together(*(Path(path) for path in (report, out) if path is not None)):
        if report is not None:
            from .report import page

            files.write_text(Path(report), page(judged))
        if out is not None:
            files.write_json(Path(out), case.record(judged))
    return judged


def verify_each(
    folder: AnyPath,
    suspects: Sequence[AnyPath],
    *,
    control: Sequence[AnyPath] = (),
    pseudo_theft: Sequence[str] = (),
    independent: Sequence[AnyPath] = (),
    alpha: float | None = None,
    commitment: str | None = None,
) -> list[Case]:
    """Judge the answers of some suspects, which :func:`query` wrote, each by itself, as
    :func:`sacheck.case.open_cases` does; `commitment` is the published one.

    What all have in common is read once. With many suspects, some innocent ones are
    accused: on average `alpha` times their number.
    """
    if alpha is not None and not 0.001 <= alpha <= 0.5:
        raise UserError(f"alpha = {alpha} is not accepted; a level from 0.001 to 0.5 is.")
    others = [Path(path) for path in independent], [Path(path) for path in control], pseudo_theft
    return case.open_cases(Path(folder), [Path(s) for s in suspects], *others, alpha, commitment)
