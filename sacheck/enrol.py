"""From a training command to a fingerprint whose power is known: siblings, controls, rehearsals."""

import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sacutils import files, profiles
from sacutils.files import UserError

from . import answers, case, fingerprint, verdict
from .answers import Answers
from .images import Pool, encode
from .text import is_clutter, plain, refuse, summary
from .weights import ModelFile

PLACES = ("{data}", "{seed}", "{out}")
"""What a training command must hold: folder of class folders, seed, and file to write."""
FURTHER = 2
"""Siblings that are no members: the controls are students of these."""
SHARES = (1.0, 0.5)
"""Shares of the reserve that students learn from, in turn; each is a style of its own."""
LABELS = "labels"


class Training(NamedTuple):
    """One run of the owner's training: the part it plays, its name there, its seed; for a student
    its teacher, a name of another training, and its share of the reserve.
    """

    part: str
    name: str
    seed: int
    teacher: str = ""
    share: float = 1.0


def plan(siblings: int, controls: int, thefts: int, seed: int) -> list[Training]:
    """All trainings in the order in which they run; their seeds count up from `seed`.

    Controls are students of `FURTHER` siblings that are no members, and pseudo-thefts of members,
    so neither says anything about the source itself.
    """
    made = [Training("siblings", f"sibling-{i:02d}", seed + i) for i in range(siblings)]
    made += [Training("further", f"further-{i}", seed + siblings + i) for i in range(FURTHER)]
    for i in range(controls + thefts):
        theft = i >= controls
        number = i - controls if theft else i
        teacher = f"sibling-{number % siblings:02d}" if theft else f"further-{number % FURTHER}"
        # every teacher has students of each style
        share = SHARES[(number if theft else number // FURTHER) % len(SHARES)]
        part, name = ("thefts", "theft") if theft else ("controls", "control")
        made.append(Training(part, f"{name}-{number:02d}", seed + len(made), teacher, share))
    return made


def enrol(
    folder: Path,
    source: ModelFile,
    command: str,
    data: Path,
    pool: Pool,
    reserve: Pool,
    class_names: list[str],
    trainings: Sequence[Training],
    settings: profiles.Probes,
) -> dict[str, Any]:
    """Train what is missing in `folder`, make its fingerprint ``fp`` of kind ``contested`` and all
    answers, and measure what they find; what is there already is kept, so that a run that broke off
    goes on.

    `command` is the owner's training, run for `data` with the seed of each sibling, and for folders
    of reserve images with the labels of a teacher. It is the owner's own code. `pool` are images to
    choose probes from, and no member was trained on them or on the `reserve`.

    Returns what is written to ``power.json``: see :func:`power`.
    """
    if pool.class_names is not None and not (folder / "fp").exists():
        # what the fingerprint would refuse after all trainings is refused before them
        predicted = source.outputs(pool.images.pixels, len(class_names)).argmax(1)
        fingerprint.accuracy(predicted, pool.images.labels.numpy(), class_names)
    _resume(folder, source, command, data, class_names, trainings, settings, pool, reserve)
    ending = ".onnx" if source.architecture is None else ".safetensors"
    paths = {t.name: folder / "models" / t.part / f"{t.name}{ending}" for t in trainings}
    model_of = {name: source._replace(path=path) for name, path in paths.items()}
    asked: dict[str, np.ndarray] = {}
    seconds: list[float] = []
    missing = [training for training in trainings if not paths[training.name].exists()]
    print(f"{len(trainings)} trainings, {len(missing)} to do.", flush=True)
    for number, training in enumerate(missing):
        learned = data
        if training.teacher:
            if training.teacher not in asked:
                teacher = model_of[training.teacher]
                outputs = teacher.outputs(reserve.images.pixels, len(class_names))
                asked[training.teacher] = outputs.argmax(1)
            learned = folder / "students" / training.name
            _write_labelled(learned, reserve, asked[training.teacher], class_names, training)
        start = time.monotonic()
        made = _train(command, learned, training, paths[training.name])
        trained = source._replace(path=made)
        trained.outputs(pool.images.pixels[:2], len(class_names))  # a bad file is refused at once
        made.rename(paths[training.name])
        seconds.append(time.monotonic() - start)
        left = (len(missing) - number - 1) * float(np.mean(seconds)) / 60
        print(f"{training.name}: {seconds[-1]:.0f} s, {left:.1f} minutes left", flush=True)
    if not (folder / "fp").exists():
        members = [source, *(model_of[t.name] for t in trainings if t.part == "siblings")]
        recorded = [case.recorded(model, len(class_names)) for model in members]
        fingerprint.make(folder / "fp", recorded, pool, class_names, "contested", settings)
    own = fingerprint.load(folder / "fp")
    given: dict[str, Answers] = {}
    for training in trainings:
        if training.part in ("controls", "thefts"):
            out = folder / training.part / f"{training.name}.json"
            if not out.exists():
                # no check of anchors: whose images and classes these are is known
                found, origin, _, name = case.from_file(own, model_of[training.name])
                answers.write(out, found, own.commitment, name, origin, fingerprint.TOOL)
            found, _ = answers.read(out, own.commitment, own.names, len(class_names))
            given[training.name] = found
    measured = power(own, given, trainings)
    files.write_json(folder / "power.json", measured)
    return measured


def power(
    own: fingerprint.Fingerprint, given: dict[str, Answers], trainings: Sequence[Training]
) -> dict[str, Any]:
    """What the set-up finds at the level 0.01 from labels and from what the models show: the share
    of pseudo-thefts by style, and of innocent pairs of a member and a control that are accused.
    """
    rows = ~own.is_anchor
    controls = {t.name: given[t.name] for t in trainings if t.part == "controls"}
    thefts = {t.name: (given[t.name], t.teacher) for t in trainings if t.part == "thefts"}
    measured: dict[str, Any] = {}
    for form in dict.fromkeys((LABELS, own.answers.form)):

        def shown(one: Answers, form: str = form) -> Answers:
            return answers.shown_as(one, LABELS) if form == LABELS else one

        theirs = {name: (shown(theft), teacher) for name, (theft, teacher) in thefts.items()}
        known = {name: shown(control) for name, control in controls.items()}
        suspect = next(iter(theirs.values()))[0]
        outcome = verdict.by_siblings(own.members, suspect, known, theirs, rows)
        styles: dict[str, list[bool]] = {}
        for t in trainings:
            if t.part == "thefts":
                styles.setdefault(f"{t.share:.0%} of the reserve", []).append(outcome.found[t.name])
        measured[form] = {
            "found": {style: [sum(hits), len(hits)] for style, hits in styles.items()},
            "accused": [outcome.accused, outcome.pairs],
        }
    return measured


def _resume(
    folder: Path,
    source: ModelFile,
    command: str,
    data: Path,
    class_names: list[str],
    trainings: Sequence[Training],
    settings: profiles.Probes,
    pool: Pool,
    reserve: Pool,
) -> None:
    """Begin the folder, or check that it was begun with the same settings."""
    absent = [place for place in PLACES if place not in command]
    what = f"The training command {plain(command)!r} "
    lacks = f"lacks {' and '.join(absent)}; it is run for a folder of images, a seed and a file to "
    refuse(what + lacks, {"write": bool(absent)})
    try:
        shlex.split(command)
    except ValueError as error:
        raise UserError(f"{what}is no command line ({summary(error)}).") from None
    inside = data.iterdir() if data.is_dir() else []
    there = {each.name for each in inside if each.is_dir() and not is_clutter(each.name)}
    what = (
        f"{data} holds the folders {plain(', '.join(sorted(there))) or 'none'}, not one for each "
    )
    what += f"class of {plain(', '.join(class_names))}"
    refuse(what, {"; a student's folder looks like it": there != set(class_names)})
    started = {
        "source": case.recorded(source, 2)[1].model_dump(mode="json"),
        "command": command,
        "data": str(data),
        "classes": class_names,
        "trainings": [list(training) for training in trainings],
        "reserve": _said(reserve),
    }
    # what only the fingerprint depends on, so that a count that is too large loses no training
    chosen = {"images": _said(pool), "probes": settings.model_dump(mode="json")}
    fixed = started | (chosen if (folder / "fp").exists() else {})
    path = folder / "enrol.json"
    if path.exists():
        known = files.read_json(path)
        odd = [key for key, value in fixed.items() if known.get(key) != value]
        what = f"{folder} was begun with another setting of {', '.join(odd)}"
        refuse(what, {"; give another folder, or the same settings to go on": bool(odd)})
    else:
        case.require_free(folder)
    files.write_json(path, started | chosen)


def _said(pool: Pool) -> list[Any]:
    return [pool.described, list(pool.images.pixels.shape)]


def _write_labelled(
    folder: Path, reserve: Pool, labels: np.ndarray, names: list[str], training: Training
) -> None:
    """Images of the reserve as a folder per class, by a teacher's labels; each student has its own
    draw of them.
    """
    generator = np.random.default_rng(training.seed)
    chosen = generator.permutation(len(labels))[: int(training.share * len(labels))]
    for name in names:  # empty ones too, so that the training numbers them alike
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in chosen.tolist():
        path = folder / names[labels[i]] / f"{i:06d}.png"
        path.write_bytes(encode(reserve.images.pixels[i]))


def _train(command: str, data: Path, training: Training, out: Path) -> Path:
    """Run the owner's training, and return the file that it writes, beside `out`, which it becomes;
    what it says is kept there too.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part, log = out.with_stem(f"{out.stem}.part"), out.with_suffix(".log")
    part.unlink(missing_ok=True)  # of a run that broke off
    values = {"{data}": str(data), "{seed}": str(training.seed), "{out}": str(part)}
    words = shlex.split(command)
    for place, value in values.items():
        words = [word.replace(place, value) for word in words]
    with open(log, "wb") as said:
        try:
            code = subprocess.run(words, stdout=said, stderr=said, check=False).returncode
        except OSError as error:
            raise UserError(f"{plain(words[0])} cannot be run ({error.strerror}).") from None
    problem = f"exit code {code}" if code else "nothing was written to {out}"
    failed = bool(code) or not part.exists()
    refuse(f"The training of {training.name} failed ({problem})", {f"; see {log}": failed})
    return part
