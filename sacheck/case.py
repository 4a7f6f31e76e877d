"""What the verbs of the command line need: answers from every source, and a case to judge."""

import csv
import inspect
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints
from urllib.parse import urlsplit

import numpy as np
import pydantic
import torch

from sacutils import files
from sacutils.files import UserError, is_clutter
from sacutils.profiles import Strict, sentence
from sacutils.siblings import FEWEST_CONTROLS

from . import answer_tables, answers, fingerprint, verdict, weights
from .answers import Answers, Record
from .description import Service
from .fingerprint import Anchors, Answer, Fingerprint, Model
from .text import plain, read_bytes, readable, refuse
from .verdict import RankVerdict, SiblingVerdict
from .weights import ModelFile, Preprocessing

LARGEST_NAMES = 2**20
"""Bytes of a file with names of classes."""
LEAST_CONTROLS = 4
"""With fewer nothing can be computed; a verdict needs more."""


def preparation(values: Mapping[str, Any]) -> Preprocessing:
    """How images are prepared, from some fields of :class:`sacheck.weights.Preprocessing`."""
    try:
        return Preprocessing.model_validate(dict(values))
    except pydantic.ValidationError as error:
        where = "Preparation of images (--mean and so on)"
        raise UserError(plain(sentence(error, where), 300) + ".") from None


def class_names(text: str) -> list[str]:
    """Names of classes, from the option of the command line: with commas, in quotes where a name
    has one itself, or a .txt file with a name a line.
    """
    if text.endswith(".txt"):
        try:
            content = read_bytes(Path(text), LARGEST_NAMES).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{text} is not text in UTF-8; save it as such.") from None
        names = [line.strip() for line in content.splitlines() if line.strip()]
    else:
        rows = csv.reader([" ".join(text.splitlines())], skipinitialspace=True)
        names = [name.strip() for row in rows for name in row]
    refuse(f"--class-names {plain(text, 300)} holds ", {"no name": not names})
    fingerprint.check_class_names(names, "--class-names")
    return names


def refuse_unused(options: dict[str, Any], reason: str) -> None:
    """Refuse options that were given and would have no effect."""
    given = {f"{name} has no effect {reason}": value is not None for name, value in options.items()}
    refuse("", given)


def require_free(path: Path) -> None:
    """Refuse a path that exists, or cannot come into being because a part of it is a file."""
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists; results are never overwritten, so give another name.")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise UserError(f"{path} cannot be written, since {above} is no folder.")


def recorded(model: ModelFile, classes: int) -> tuple[Answer, Model]:
    """A model's file as :func:`fingerprint.make` takes it."""
    described = Model(
        file=readable(model.path.name),
        sha256=weights.digest(model.path),
        architecture=model.architecture,
        preprocessing=model.how,
    )
    return lambda pixels: model.outputs(pixels, classes), described


def member(path: Path, architecture: str | None, how: Preprocessing) -> ModelFile:
    """One of several files of weights; of them, ONNX files bring their own architecture."""
    onnx = weights.kind_of(path) == "onnx"
    return ModelFile(path, None if onnx else architecture, how)


def weight_files(paths: list[Path]) -> list[Path]:
    """Files of weights, in place of a folder those in it."""
    return _inside(paths, (".safetensors", ".onnx"), "give it some, or a file")


class Queried(NamedTuple):
    """Answers, where they come from, what sentences call that, and a name for the suspect."""

    answers: Answers
    origin: dict[str, str]
    where: str
    name: str


def from_file(own: Fingerprint, model: ModelFile) -> Queried:
    """Answers of a file of weights."""
    path, name, how = model
    values = model.outputs(own.pixels, len(own.manifest.class_names))
    origin = {"kind": "file", "file": path.name, "sha256": weights.digest(path)}
    origin["architecture"] = name or "in the file"
    if how != Preprocessing():
        origin["preprocessing"] = how.model_dump_json(exclude_defaults=True)
    return Queried(answers.detect(values, str(path)), origin, str(path), path.name)


def from_folder(
    own: Fingerprint, folder: Path, architecture: str | None, how: Preprocessing, out: Path
) -> dict[Path, Queried]:
    """Answers of all files of weights in a folder, by the files to write in `out`. As many models
    as PyTorch has threads are asked at once, each with one: faster than one after the other.
    """
    paths = by_stem(weight_files([folder])).values()
    if all(weights.kind_of(path) == "onnx" for path in paths):
        refuse_unused({"--architecture": architecture}, "with ONNX files: they hold their own")
    models = [member(path, architecture, how) for path in paths]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            found = pool.map(partial(from_file, own), models)
            return {
                out / f"{model.path.stem}.json": queried
                for model, queried in zip(models, found, strict=True)
            }
    finally:
        torch.set_num_threads(threads)


def from_table(own: Fingerprint, path: Path) -> Queried:
    """Answers that a table holds."""
    found = answer_tables.read_table(path, own.names, own.manifest.class_names)
    origin = {"kind": "table", "file": path.name, "sha256": files.sha256(path)}
    return Queried(found, origin, str(path), path.name)


def from_service(own: Fingerprint, url: str, how: Service, log: Path) -> Queried:
    """Answers of a service; every call is kept in a log."""
    from . import service

    class_names = own.manifest.class_names
    rows = service.ask(url, how, _probes(own, own.names), class_names, log, own.commitment)
    origin = {"kind": "service", "url": url, "log": log.name, "log sha256": files.sha256(log)}
    host = "service"
    with suppress(ValueError):  # the address may name variables, whose values stay unsaid
        host = urlsplit(url).hostname or host
    return Queried(answers.from_rows(rows, len(class_names)), origin, url, host)


def try_service(own: Fingerprint, url: str, how: Service) -> str:
    """Send one request with anchors, on which any model of the task should agree with the owner's;
    prints it and its response, and returns what was understood. Nothing is kept.
    """
    from . import service

    rows, names = np.flatnonzero(own.is_anchor)[: how.batch], own.manifest.class_names
    sent = _probes(own, [own.names[i] for i in rows])
    found = answers.from_rows(service.try_one(url, how, sent, names), len(names), url)
    lines, mine = ["understood as"], own.answers.predicted[rows]
    for file, scores, label, expected in zip(
        sent, found.outputs, found.predicted, mine, strict=True
    ):
        best = [i for i in np.argsort(-scores, kind="stable")[:3] if scores[i] or i == label]
        told = ", ".join(f"{plain(names[i])} {scores[i]:.4g}" for i in best)
        lines.append(f"  {file}: {told}; the owner's model says {plain(names[expected])}")
    agree = int((found.predicted == mine).sum())
    form = f"top {found.k} classes" if found.form == "top-k" else found.form
    lines.append(f"{agree} of {len(rows)} anchors agree, output form: {form}; nothing was kept.")
    return "\n".join(lines)


def _probes(own: Fingerprint, names: list[str]) -> dict[str, bytes]:
    return {name: (own.folder / "probes" / name).read_bytes() for name in names}


def write(own: Fingerprint, answered: dict[Path, Queried], name: str | None) -> str:
    """Write answers if all pass the anchors, and say what they are."""
    lines = []
    for out, (found, _, where, _) in answered.items():
        passed = fingerprint.check_anchors(own, found, where)
        form = f"top {found.k} classes" if found.form == "top-k" else found.form
        lines.append(
            f"{out}: {len(found.outputs)} answers, output form: {form}; "
            f"{passed.agree} of {passed.total} anchors agree."
        )
    with files.together(*answered):
        for out, (found, origin, _, file) in answered.items():
            answers.write(out, found, own.commitment, name or file, origin, fingerprint.TOOL)
    return "\n".join(lines)


class Case(NamedTuple):
    """Everything that a verdict rests on: the owner's fingerprint, the suspect's answers and where
    they come from, how it answers the anchors, the origin by name of each independent model or
    control and of each pseudo-theft.

    `hashes` are the SHA-256 of every file of answers that was read, and of what it was made from,
    by its part in the case and its name.
    """

    fingerprint: Fingerprint
    suspect: Answers
    described: Record
    anchors: Anchors
    verdict: RankVerdict | SiblingVerdict
    origins: dict[str, dict[str, str]]
    hashes: dict[str, str]


def open_case(folder: Path, suspect: Path, *given: Any, **options: Any) -> Case:
    """Judge one suspect; the rest is as for :func:`open_cases`."""
    return open_cases(folder, [suspect], *given, **options)[0]


def open_cases(
    folder: Path,
    suspects: Sequence[Path],
    independent: Sequence[Path] = (),
    control: Sequence[Path] = (),
    pseudo_theft: Sequence[str] = (),
    alpha: float | None = None,
    published: str | None = None,
) -> list[Case]:
    """Read and check all files of some cases, and judge each suspect by itself: by the sibling test
    if the fingerprint is of kind ``contested``, which needs `control`; otherwise by the rank among
    `independent` models.

    Both are files of answers, or folders of such files, and so is a `pseudo_theft`, with
    ``=SIBLING`` behind it for the sibling test. `alpha` is 0.01 for the sibling test and else 0.05;
    `published` is the commitment.
    """
    own = fingerprint.load(folder, published)
    commitment, classes = own.commitment, len(own.manifest.class_names)
    asked = [answers.read(path, commitment, own.names, classes) for path in suspects]
    theirs = [given for given, _ in asked]
    seen = dict.fromkeys(
        (given.outputs.tobytes() for given in theirs),
        "the suspect's own answers, which cannot vouch for themselves",
    )
    origins: dict[str, dict[str, str]] = {}
    hashes: dict[str, str] = {}

    def read(paths: Sequence[Path], part: str) -> dict[str, Answers]:
        found = {}
        for path in _inside(paths, (".json",), "make files of answers with query"):
            given, record = answers.read(path, commitment, own.names, classes)
            content = given.outputs.tobytes()
            if (name := readable(path.stem)) in origins:
                raise UserError(f"{path}: there is a model {name!r} already; rename one.")
            if content in seen:
                raise UserError(f"{path} holds {seen[content]}.")
            seen[content] = f"the same answers as {path}; each model counts once"
            found[name], origins[name] = given, record.origin
            hashes.update(_hashes(part, path, record))
        return found

    pairs = zip(suspects, theirs, strict=True)
    passed = [fingerprint.check_anchors(own, given, str(path)) for path, given in pairs]
    rows, kind = ~own.is_anchor, f"with probes of kind {own.manifest.kind}"
    outcomes: Sequence[RankVerdict | SiblingVerdict]
    if own.manifest.siblings:
        refuse(f"--independent has no effect {kind}", {": give --control": bool(independent)})
        known = read(control, "control")
        check_controls(own, known)
        thefts = {}
        for text in pseudo_theft:
            path, teacher = rehearsed(text, list(own.members))
            thefts |= {name: (a, teacher) for name, a in read([path], "pseudo-theft").items()}
        level = 0.01 if alpha is None else alpha
        outcomes = verdict.by_siblings(own.members, theirs, known, thefts, rows, level)
    else:
        refuse(f"--control has no effect {kind}", {": give --independent": bool(control)})
        known = read(independent, "independent")
        what = "No independent model was given; a distance means nothing without them"
        refuse("", {what: not known})
        derived = read([Path(text) for text in pseudo_theft], "pseudo-theft")
        level = 0.05 if alpha is None else alpha
        outcomes = [
            verdict.by_rank(own.answers, given, known, rows, level, derived) for given in theirs
        ]
    cases = []
    for path, (given, record), anchors, outcome in zip(
        suspects, asked, passed, outcomes, strict=True
    ):
        parts = {fingerprint.MANIFEST: commitment} | _hashes("suspect", path, record) | hashes
        cases.append(Case(own, given, record, anchors, outcome, origins, parts))
    return cases


def check_controls(own: Fingerprint, controls: Mapping[str, Answers]) -> None:
    """Refuse controls that are too few to compute with, or that answer as a member does."""
    few = len(controls) < LEAST_CONTROLS
    needed = f"{LEAST_CONTROLS} are needed to compute, {FEWEST_CONTROLS} for a verdict"
    refuse("", {f"{len(controls)} controls; {needed}": few})
    rows = ~own.is_anchor
    labels = {name: values[rows].argmax(1) for name, values in own.members.items()}
    for name, given in controls.items():
        for member, theirs in labels.items():
            what = f"The control {name} gives the same labels as the member {member}; controls are "
            same = np.array_equal(theirs, given.predicted[rows])
            refuse(
                what,
                {"models in which no member took part; if it is one, choose more probes": same},
            )


def rehearsed(text: str, siblings: Sequence[str]) -> tuple[Path, str]:
    """What FILE=SIBLING says of a rehearsed theft: its file or folder, and its teacher's name."""
    path, _, teacher = text.rpartition("=")
    teacher = teacher if teacher in siblings else Path(teacher).stem
    what = f"--pseudo-theft {plain(text)} names no sibling; write FILE=SIBLING, one of "
    named = [name for name in siblings if name != "source"]
    refuse(what + plain(", ".join(named), 200), {"": teacher not in siblings or not path})
    return Path(path), teacher


def by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by their names without ending, which must differ."""
    named: dict[str, Path] = {}
    for path in paths:
        other = named.setdefault(path.stem, path)
        twin = path.name if path.parent == other.parent else path
        refuse(f"{other} and {twin} have one name", {"; rename one": other is not path})
    return named


def _inside(paths: Sequence[Path], endings: tuple[str, ...], advice: str) -> list[Path]:
    """Files, and in place of each folder the files in it with one of some endings."""
    chosen: list[Path] = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            there = (each for each in path.iterdir() if not is_clutter(each.name))
            inside = sorted(each for each in there if each.suffix in endings)
        if not inside:
            raise UserError(f"{path} holds no {' or '.join(endings)} files; {advice}.")
        chosen += inside
    return chosen


def _hashes(part: str, path: Path, record: Record) -> dict[str, str]:
    """SHA-256 of a file of answers, and of what they were made from."""
    origin, file = record.origin, f"{part} {readable(path.name)}"
    source = origin.get("file", origin.get("log", ""))
    made_from = [value for key, value in origin.items() if "sha256" in key]
    return {file: files.sha256(path)} | {
        f"{file}, made from {source}": value for value in made_from
    }


def facts(case: Case) -> dict[str, str]:
    """The outcome in lines: what was measured, and its value."""
    outcome, found = case.verdict, case.verdict.found
    form = f"top-k with k = {outcome.k}" if outcome.form == "top-k" else outcome.form
    probes = int((~case.fingerprint.is_anchor).sum())
    told = f"{sum(found.values())} of {len(found)} pseudo-thefts found by the same comparison"
    if isinstance(outcome, SiblingVerdict):
        k, m, q = (len(outcome.residuals) - 1, len(outcome.residuals), len(outcome.controls))
        measured = {
            "p-value": f"{outcome.p:.2g}, the larger of the next two; level {outcome.alpha:g}",
            "p among siblings": f"{outcome.p_siblings:.2g}, Student-t over {k} siblings",
            "p among controls": f"{outcome.p_controls:.2g}, Student-t over {q} controls",
            "rank p": f"{outcome.rank_p:.3f}, the source's rank among {m} members; assumes no "
            f"shape, and can be no smaller than {1 / m:.3f}",
            "power": told
            if found
            else "not measured: no pseudo-theft was given, so nothing says "
            "how often this set-up overlooks a theft",
            "innocents accused": f"{outcome.accused} of {outcome.pairs} pairs of a member, as the "
            f"source, and a control, left out; {outcome.worst} of {q} with the unluckiest member",
        }
    else:
        measured = {
            "correlation distance": f"{outcome.distance:.4f}",
            "p-value": f"{outcome.p:.3f} [{outcome.p_low:.3f}, {outcome.p_high:.3f}], 90 % "
            f"interval over probes, from {len(outcome.independent)} independent models; no "
            f"smaller one than {outcome.p_floor:.3f} is possible; level {outcome.alpha:g}",
            "power": told
            if found
            else "not measured: no pseudo-theft was given; this comparison "
            "finds copies of weights, and did not find extracted models in the measurements of the "
            "book, see its chapter 'Check your own model'",
        }
    return {
        "verdict": outcome.verdict,
        "because": outcome.reason,
        **measured,
        "compared as": f"{form}; the suspect shows {case.described.form}",
        "same label as the owner's model": f"{outcome.agreement:.0%} of {probes} probes",
        "anchor images": f"{case.anchors.agree} of {case.anchors.total} agree "
        f"({case.anchors.needed} needed)",
        "commitment": case.fingerprint.commitment,
    }


def record(case: Case) -> dict[str, Any]:
    """The outcome as JSON: verdict, what it was computed from, settings, origins and hashes."""
    manifest = case.fingerprint.manifest
    hidden = {"outputs": True, "probes": True, "nonce": True, "siblings": {"__all__": {"outputs"}}}
    probes = {f"probes/{probe.file}": probe.sha256 for probe in manifest.probes}
    return {
        "format": "sac-verdict-3",
        "tool": fingerprint.TOOL,
        "commitment": case.fingerprint.commitment,
        "suspect": case.described.model_dump(exclude={"outputs"}),
        "verdict": case.verdict._asdict(),
        "anchors": case.anchors._asdict(),
        "fingerprint": manifest.model_dump(exclude=hidden),
        "origins": case.origins,
        "sha256": case.hashes | probes,
    } | files.provenance()


def schema() -> dict[str, Any]:
    """JSON schema of what :func:`record` returns, and ``sacheck verify --out`` writes."""

    def model(name: str, fields: dict[str, Any], kind: Any = None) -> Any:
        needed = {key: (value, ...) for key, value in fields.items()}
        told, strict = inspect.getdoc(kind) if kind else None, pydantic.ConfigDict(extra="forbid")
        return pydantic.create_model(name, __config__=strict, __doc__=told, **needed)

    def without(kind: type[Strict], *hidden: str) -> dict[str, Any]:
        fields = kind.model_fields.items()
        return {key: field.annotation for key, field in fields if key not in hidden}

    tuples = (RankVerdict, SiblingVerdict, Anchors)
    rank, by_siblings, anchors = (model(t.__name__, get_type_hints(t), t) for t in tuples)
    sibling = model("Sibling", without(fingerprint.Sibling, "outputs"), fingerprint.Sibling)
    manifest = without(fingerprint.Manifest, "outputs", "probes", "nonce")
    text = dict[str, str]
    whole = {
        "format": Literal["sac-verdict-3"],
        "tool": str,
        "commitment": str,
        "suspect": model("Suspect", without(Record, "outputs"), Record),
        "verdict": rank | by_siblings,
        "anchors": anchors,
        "fingerprint": model(
            "Fingerprint", manifest | {"siblings": list[sibling]}, fingerprint.Manifest
        ),
        "origins": dict[str, text],
        "sha256": text,
        "versions": text,
        "hardware": str,
        "utc": str,
    }
    return model("Verdict", whole, record).model_json_schema()
