"""From a training to a fingerprint whose power is known: siblings, controls, rehearsed thefts."""

import contextlib
import json
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sacutils import files, profiles
from sacutils.data import images_below
from sacutils.files import UserError, is_clutter

from . import answers, case, fingerprint, trainers, verdict
from .answers import Answers
from .architectures import named
from .images import Pool, encode
from .text import plain, refuse, say
from .trainers import Trainer
from .weights import ModelFile, Preprocessing, digest

FURTHER = 2
"""Siblings that are no members: the controls are students of these."""
SHARES = (1.0, 0.5)
"""Shares of the reserve that students learn from, in turn; each is a style of its own."""
TRIALS = (8, 8, 4)
"""The cost is foreseen from trainings on an eighth and a quarter of the images; the first of them
loads what is loaded once only.
"""
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


class Theft(NamedTuple):
    """A rehearsed theft: the student, the sibling that it was made from, and its style in words."""

    model: ModelFile
    teacher: str
    style: str


class Models(NamedTuple):
    """Who takes part besides the source, by name."""

    siblings: dict[str, ModelFile]
    controls: dict[str, ModelFile]
    thefts: dict[str, Theft]


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


@contextlib.contextmanager
def begun(folder: Path, started: dict[str, Any], chosen: dict[str, Any]) -> Iterator[None]:
    """Hold the folder, which is begun, or was begun with the same settings; these are kept in
    ``enrol.json``. `chosen` are those that only the fingerprint depends on: until ``power.json`` is
    written, and its commitment told, they may change, so that a count that does not do loses no
    training; what was made with the earlier ones is made anew. One process at a time holds a
    folder, and another one is refused.
    """
    path = folder / "enrol.json"
    if not path.exists():
        case.require_free(folder)
    busy = f"Another sacheck enrol is at work in {folder}; wait until it has ended, or stop it."
    with files.locked(folder, busy):
        # as JSON gives it back
        started, chosen = (json.loads(json.dumps(each)) for each in (started, chosen))
        told = (folder / "power.json").exists()
        fixed = started | (chosen if told else {})
        known = files.read_json(path) if path.exists() else started | chosen
        odd = [key for key, value in fixed.items() if known.get(key) != value]
        what = f"{folder} was begun with another setting of {', '.join(odd)}"
        refuse(what, {"; give another folder, or the same settings to go on": bool(odd)})
        if any(known.get(key) != value for key, value in chosen.items()):
            for old in (*folder.glob("controls/*.json"), *folder.glob("thefts/*.json")):
                old.unlink()
            shutil.rmtree(folder / "fp", ignore_errors=True)
        files.write_json(path, started | chosen)
        yield


def said(pool: Pool) -> list[Any]:
    """What ``enrol.json`` keeps of images."""
    return [pool.described, list(pool.images.pixels.shape)]


def check_data(data: Path, class_names: list[str]) -> None:
    """Refuse images to train on that do not lie in one folder per class."""
    inside = data.iterdir() if data.is_dir() else []
    there = {each.name for each in inside if each.is_dir() and not is_clutter(each.name)}
    what = (
        f"{data} holds the folders {plain(', '.join(sorted(there))) or 'none'}, not one for each "
    )
    what += f"class of {plain(', '.join(class_names))}"
    refuse(what, {"; a student's folder looks like it": there != set(class_names)})
    refuse(data, {" holds no images": not images_below(data)})


def brought(
    sibling: Sequence[Path],
    control: Sequence[Path],
    pseudo_theft: Sequence[str],
    architecture: str | None,
    how: Preprocessing,
) -> Models:
    """Models that the owner brings as files, or folders of them, and that are called as these;
    `pseudo_theft` are texts FILE=SIBLING.
    """

    def files_of(paths: Sequence[Path]) -> dict[str, ModelFile]:
        named = case.by_stem(case.weight_files(list(paths))) if paths else {}
        return {name: case.member(path, architecture, how) for name, path in named.items()}

    siblings, thefts = files_of(sibling), {}
    for text in pseudo_theft:
        path, teacher = case.rehearsed(text, list(siblings))
        for name, model in files_of([path]).items():
            refuse(f"--pseudo-theft {name} is given twice", {"": name in thefts})
            thefts[name] = Theft(model, teacher, "those brought")
    controls = files_of(control)
    twice = ", ".join(controls.keys() & thefts.keys())
    refuse(f"{twice} is a control and a rehearsed theft", {"; rename one": twice != ""})
    return Models(siblings, controls, thefts)


def train(
    folder: Path,
    source: ModelFile,
    trainer: Trainer,
    data: Path,
    reserve: Pool,
    class_names: list[str],
    trainings: Sequence[Training],
) -> Models:
    """Train what is missing in `folder`; before it, say what that will cost, and after each
    training how much is left.

    Siblings learn from `data`, students from images of the `reserve` with the labels of their
    teacher, in a folder like `data` that is removed when they are trained.
    """
    ending = ".onnx" if source.architecture is None else ".safetensors"
    model_of = {
        t.name: source._replace(path=folder / "models" / t.part / f"{t.name}{ending}")
        for t in trainings
    }
    missing = [t for t in trainings if not model_of[t.name].path.exists()]
    say(f"{len(trainings)} trainings, {len(missing)} to do.")
    expected = _foreseen(folder, source, trainer, data, reserve, class_names, missing, ending)
    asked: dict[str, np.ndarray] = {}
    done = spent = 0.0
    for number, training in enumerate(missing, start=1):
        learned, out = data, model_of[training.name].path
        if training.teacher:
            if training.teacher not in asked:
                teacher = model_of[training.teacher]
                outputs = teacher.outputs(reserve.images.pixels, len(class_names))
                asked[training.teacher] = outputs.argmax(1)
            learned = folder / "students" / training.name
            _write_labelled(learned, reserve, asked[training.teacher], class_names, training)
        start = time.monotonic()
        _run(trainer, learned, training.seed, source, out, reserve, class_names)
        taken = time.monotonic() - start
        spent, done = spent + taken, done + expected.pop(training.name)
        left = _told(sum(expected.values()) * spent / done)
        say(f"{out.stem}: {taken:.1f} s, {number} of {len(missing)}, {left} left")
        if training.teacher:
            shutil.rmtree(learned)

    def part(name: str) -> dict[str, ModelFile]:
        return {t.name: model_of[t.name] for t in trainings if t.part == name}

    by = {t.name: t for t in trainings}
    thefts = {
        name: Theft(model, by[name].teacher, f"{by[name].share:.0%} of the reserve")
        for name, model in part("thefts").items()
    }
    return Models(part("siblings"), part("controls"), thefts)


def _foreseen(
    folder: Path,
    source: ModelFile,
    trainer: Trainer,
    data: Path,
    reserve: Pool,
    class_names: list[str],
    missing: Sequence[Training],
    ending: str,
) -> dict[str, float]:
    """Seconds that each training will take, and the sentence that says so: a part that is the same
    for all and a part for each image, from trainings on some of the images, which are kept in
    ``cost.json``. Some trainings fail on few images: then equal shares, and a word about it.
    """
    path, trial = folder / "cost.json", folder / "trial"
    own, all_reserve = images_below(data), len(reserve.images.labels)
    sizes = {t.name: int(t.share * all_reserve) if t.teacher else len(own) for t in missing}
    if missing and not path.exists():
        found = []
        try:
            for every in TRIALS:
                shutil.rmtree(trial, ignore_errors=True)
                count = 0
                for name in class_names:
                    (trial / "data" / name).mkdir(parents=True)
                    inside = [each for each in own if each.is_relative_to(data / name)]
                    for i, each in enumerate(inside[::every]):
                        shutil.copy(each, trial / "data" / name / f"{i:06d}{each.suffix}")
                        count += 1
                start, out = time.monotonic(), trial / f"trial{ending}"
                _run(trainer, trial / "data", 0, source, out, reserve, class_names)
                found.append((count, time.monotonic() - start))
        except UserError as error:
            say(f"What they will take is known after the first, not before: {error}")
            shutil.rmtree(trial, ignore_errors=True)
            return dict.fromkeys(sizes, 1.0)
        (few, fast), (many, slow) = found[-2:]
        each_image = min(max(0.0, slow - fast) / max(1, many - few), slow / many)
        files.write_json(path, [slow - each_image * many, each_image])
        shutil.rmtree(trial)
    once, each_image = files.read_json(path) if missing else (0.0, 0.0)
    expected = {name: max(once + each_image * size, 1e-9) for name, size in sizes.items()}
    if missing:
        space = len(missing) * source.path.stat().st_size + reserve.images.pixels.nbytes
        told = f"They will take about {_told(sum(expected.values()))} and {space / 1e6:.1f} MB of"
        say(f"{told} disk. If this is broken off, the same command goes on.")
    return expected


def _told(seconds: float) -> str:
    """A duration in the unit in which one thinks of it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def _write_labelled(
    folder: Path, reserve: Pool, labels: np.ndarray, names: list[str], training: Training
) -> None:
    """Images of the reserve as a folder per class, by a teacher's labels; each student has its own
    draw of them.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a run that broke off
    generator = np.random.default_rng(training.seed)
    chosen = generator.permutation(len(labels))[: int(training.share * len(labels))]
    for name in names:  # empty ones too, so that the training numbers them alike
        (folder / name).mkdir(parents=True)
    for i in chosen.tolist():
        path = folder / names[labels[i]] / f"{i:06d}.png"
        path.write_bytes(encode(reserve.images.pixels[i]))


def _run(
    trainer: Trainer,
    data: Path,
    seed: int,
    source: ModelFile,
    out: Path,
    seen: Pool,
    class_names: list[str],
) -> None:
    """Make one file of weights by the training, which is to be read as the source is; what the
    training says is kept in a log beside it. A file that cannot answer images of `seen` is refused.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part, log = out.with_stem(f"{out.stem}.part"), out.with_suffix(".log")
    part.unlink(missing_ok=True)  # of a run that broke off
    problem = "nothing was written to {out}"
    with (
        open(log, "w", encoding="utf-8") as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        try:
            trainer(data, seed, part)
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # whatever the owner's code raises
            traceback.print_exc()
            problem = str(error) if isinstance(error, trainers.Failed) else named(error)
            part.unlink(missing_ok=True)
    what = f"The training of {out.stem} failed ({plain(problem, 160)})"
    refuse(what, {f"; see {log}": not part.exists()})
    if source.architecture == "transformers":
        shutil.copy(source.path.with_name("config.json"), out.parent)
    source._replace(path=part).outputs(seen.images.pixels[:2], len(class_names))
    part.rename(out)


def measure(
    folder: Path,
    source: ModelFile,
    models: Models,
    pool: Pool,
    class_names: list[str],
    settings: profiles.Probes,
) -> dict[str, Any]:
    """Make the fingerprint ``fp`` of kind ``contested`` in `folder` and the answers of controls and
    rehearsed thefts, as far as they are missing, and measure what they find.

    `pool` are images to choose probes from; no model was trained on them. Returns what is written
    to ``power.json``: see :func:`power`.
    """
    if not (folder / "fp").exists():
        members = [source, *models.siblings.values()]
        recorded = [case.recorded(model, len(class_names)) for model in members]
        fingerprint.make(folder / "fp", recorded, pool, class_names, "contested", settings)
    own = fingerprint.load(folder / "fp")
    for part, kept in (("controls", models.controls), ("thefts", models.thefts)):
        left = sorted(p.name for p in folder.glob(f"{part}/*.json") if p.stem not in kept)
        what = f"{folder / part} holds {', '.join(left[:3])}, which is not among those given"
        refuse(what, {"; remove it": bool(left)})

    def given(part: str, name: str, model: ModelFile) -> Answers:
        out = folder / part / f"{name}.json"
        if not out.exists():
            # no check of anchors: whose images and classes these are is known
            found, origin, _, file = case.from_file(own, model)
            answers.write(out, found, own.commitment, file, origin, fingerprint.TOOL)
        found, record = answers.read(out, own.commitment, own.names, len(class_names))
        other = record.origin.get("sha256") != digest(model.path)
        refuse(f"{out} holds answers of another file than {model.path}", {"; remove it": other})
        return found

    controls = {name: given("controls", name, model) for name, model in models.controls.items()}
    case.check_controls(own, controls)
    thefts = {name: given("thefts", name, theft.model) for name, theft in models.thefts.items()}
    measured = power(own, controls, thefts, models.thefts)
    files.write_json(folder / "power.json", measured)
    return measured


def power(
    own: fingerprint.Fingerprint,
    controls: dict[str, Answers],
    given: dict[str, Answers],
    thefts: dict[str, Theft],
) -> dict[str, Any]:
    """What the set-up finds at the level 0.01 from labels and from what the models show: the share
    of pseudo-thefts by style, and of innocent pairs of a member and a control that are accused.
    """
    measured: dict[str, Any] = {}
    for form in dict.fromkeys((LABELS, own.answers.form)):

        def shown(one: Answers, form: str = form) -> Answers:
            return answers.shown_as(one, LABELS) if form == LABELS else one

        known = {name: shown(control) for name, control in controls.items()}
        theirs = {name: (shown(given[name]), theft.teacher) for name, theft in thefts.items()}
        # whom they accuse is of no interest here
        anybody = [next(iter(known.values()))]
        (outcome,) = verdict.by_siblings(own.members, anybody, known, theirs, ~own.is_anchor)
        styles: dict[str, list[bool]] = {}
        for name, theft in thefts.items():
            styles.setdefault(theft.style, []).append(outcome.found[name])
        measured[form] = {
            "found": {style: [sum(hits), len(hits)] for style, hits in styles.items()},
            "accused": [outcome.accused, outcome.pairs],
        }
    return measured
