"""What the verbs of the command line need: answers from every source, and a case to judge."""

from pathlib import Path
from typing import Any, NamedTuple

import pydantic
import yarl

from sacutils import files
from sacutils.files import UserError
from sacutils.profiles import sentence

from . import answer_tables, answers, fingerprint, service, verdict, weights
from .answers import Answers, Record
from .fingerprint import Answer, Controls, Fingerprint, Model
from .text import plain, readable, refuse
from .verdict import Verdict
from .weights import ModelFile, Preprocessing


def preparation(
    mean: str | None, std: str | None, size: int | None, layout: str | None, maximum: int | None
) -> Preprocessing:
    """How images are prepared, from the options of the command line."""
    values = {"mean": mean and mean.split(","), "std": std and std.split(",")}
    values |= {"size": size, "layout": layout, "maximum": maximum}
    try:
        return Preprocessing.model_validate({k: v for k, v in values.items() if v is not None})
    except pydantic.ValidationError as error:
        where = "Preparation of images (--mean and so on)"
        raise UserError(plain(sentence(error, where), 300) + ".") from None


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
        sha256=files.sha256(model.path),
        architecture=model.architecture,
        preprocessing=model.how,
    )
    return lambda pixels: model.outputs(pixels, classes), described


def architecture_of(path: Path, name: str | None) -> str | None:
    """The name of a file's architecture; None for ONNX, which brings its own."""
    return None if weights.kind_of(path) == "onnx" else name


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
    origin = {"kind": "file", "file": path.name, "sha256": files.sha256(path)}
    origin["architecture"] = name or "in the file"
    if how != Preprocessing():
        origin["preprocessing"] = how.model_dump_json(exclude_defaults=True)
    return Queried(answers.detect(values, str(path)), origin, str(path), path.name)


def from_folder(
    own: Fingerprint, folder: Path, architecture: str | None, how: Preprocessing, out: Path
) -> dict[Path, Queried]:
    """Answers of all files of weights in a folder, by the files to write in `out`."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".onnx"))
    if not paths:
        raise UserError(f"{folder} holds no .safetensors or .onnx files; give it some, or a file.")
    stems = [path.stem for path in paths]
    twice = [path.name for path in paths if stems.count(path.stem) > 1]
    if twice:
        raise UserError(f"{folder}: {twice[0]} and {twice[1]} would have one answers file.")
    if all(weights.kind_of(path) == "onnx" for path in paths):
        refuse_unused({"--architecture": architecture}, "with ONNX files: they hold their own")
    models = [ModelFile(path, architecture_of(path, architecture), how) for path in paths]
    return {out / f"{model.path.stem}.json": from_file(own, model) for model in models}


def from_table(own: Fingerprint, path: Path) -> Queried:
    """Answers that a table holds."""
    found = answer_tables.read_table(path, own.names, own.manifest.class_names)
    origin = {"kind": "table", "file": path.name, "sha256": files.sha256(path)}
    return Queried(found, origin, str(path), path.name)


def from_service(own: Fingerprint, url: str, mapping: Path, log: Path) -> Queried:
    """Answers of a service; every call is kept in a log."""
    class_names = own.manifest.class_names
    probes = {name: (own.folder / "probes" / name).read_bytes() for name in own.names}
    how = service.load_service(mapping)
    rows = service.ask(url, how, probes, class_names, log, own.commitment)
    origin = {"kind": "service", "url": url, "log": log.name, "log sha256": files.sha256(log)}
    return Queried(answers.from_rows(rows, len(class_names)), origin, url, str(yarl.URL(url).host))


def write(own: Fingerprint, answered: dict[Path, Queried], name: str | None) -> str:
    """Write answers if all pass the controls, and say what they are."""
    lines = []
    for out, (found, _, where, _) in answered.items():
        passed = fingerprint.check_controls(own, found, where)
        form = f"top {found.k} classes" if found.form == "top-k" else found.form
        lines.append(
            f"{out}: {len(found.outputs)} answers, output form: {form}; "
            f"{passed.agree} of {passed.total} controls agree."
        )
    for out, (found, origin, _, file) in answered.items():
        answers.write(out, found, own.commitment, name or file, origin, fingerprint.TOOL)
    return "\n".join(lines)


class Case(NamedTuple):
    """Everything that a verdict rests on: the owner's fingerprint, the suspect's answers and where
    they come from, how it answers the controls, the origin of each independent model by name.

    `hashes` are the SHA-256 of every file of answers that was read, and of what it was made from,
    by its part in the case and its name.
    """

    fingerprint: Fingerprint
    suspect: Answers
    described: Record
    controls: Controls
    verdict: Verdict
    origins: dict[str, dict[str, str]]
    hashes: dict[str, str]


def open_case(
    folder: Path,
    suspect: Path,
    independent: list[Path],
    alpha: float = 0.05,
    published: str | None = None,
) -> Case:
    """Read and check all files of a case, and judge it.

    `independent` are files of answers, or folders of such files; `published` is the commitment.
    """
    own = fingerprint.load(folder, published)
    commitment, classes = own.commitment, len(own.manifest.class_names)
    theirs, described = answers.read(suspect, commitment, own.names, classes)
    hashes = {fingerprint.MANIFEST: commitment} | _hashes("suspect", suspect, described)
    known: dict[str, Answers] = {}
    origins: dict[str, dict[str, str]] = {}
    seen = {
        theirs.outputs.tobytes(): "the suspect's own answers, which cannot vouch for themselves"
    }
    for path in _files(independent):
        found, record = answers.read(path, commitment, own.names, classes)
        content = found.outputs.tobytes()
        if path.stem in known:
            raise UserError(f"{path}: a model {path.stem!r} is already among the independent ones.")
        if content in seen:
            raise UserError(f"{path} holds {seen[content]}.")
        seen[content] = f"the same answers as {path}; each model counts once"
        known[path.stem], origins[path.stem] = found, record.origin
        hashes |= _hashes("independent", path, record)
    if not known:
        raise UserError("No independent model was given; a distance means nothing without them.")
    passed = fingerprint.check_controls(own, theirs, str(suspect))
    outcome = verdict.judge(own.answers, theirs, known, ~own.is_control, alpha)
    return Case(own, theirs, described, passed, outcome, origins, hashes)


def _files(paths: list[Path]) -> list[Path]:
    chosen = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"{path} holds no .json files of answers; make them with query.")
        chosen += inside
    return chosen


def _hashes(part: str, path: Path, record: Record) -> dict[str, str]:
    """SHA-256 of a file of answers, and of what they were made from."""
    origin, file = record.origin, f"{part} {path.name}"
    source = origin.get("file", origin.get("log", ""))
    made_from = [value for key, value in origin.items() if "sha256" in key]
    return {file: files.sha256(path)} | {
        f"{file}, made from {source}": value for value in made_from
    }


def facts(case: Case) -> dict[str, str]:
    """The outcome in lines: what was measured, and its value."""
    outcome, n = case.verdict, len(case.verdict.independent)
    nearest = list(outcome.independent.items())[:3]
    form = f"top-k with k = {outcome.k}" if outcome.form == "top-k" else outcome.form
    probes = int((~case.fingerprint.is_control).sum())
    ends = f"[{outcome.distance_low:.4f}, {outcome.distance_high:.4f}]"
    return {
        "verdict": outcome.verdict,
        "because": outcome.reason,
        "correlation distance": f"{outcome.distance:.4f} {ends}, 95 % interval over probes",
        "p-value": f"{outcome.p:.3f} [{outcome.p_low:.3f}, {outcome.p_high:.3f}], 90 % interval "
        f"over probes, from {n} independent models; no smaller one than {outcome.p_floor:.3f} is "
        f"possible with so many; level {outcome.alpha:g}",
        "nearest independent models": ", ".join(f"{name} ({value:.4f})" for name, value in nearest),
        "compared as": f"{form}; the suspect shows {case.described.form}",
        "same label as the owner's model": f"{outcome.agreement:.0%} of {probes} probes",
        "control images": f"{case.controls.agree} of {case.controls.total} agree "
        f"({case.controls.needed} needed)",
        "commitment": case.fingerprint.commitment,
    }


def record(case: Case) -> dict[str, Any]:
    """The outcome as JSON: verdict, distances, settings, origins and hashes."""
    manifest = case.fingerprint.manifest
    probes = {f"probes/{probe.file}": probe.sha256 for probe in manifest.probes}
    return {
        "format": "sac-verdict-2",
        "tool": fingerprint.TOOL,
        "commitment": case.fingerprint.commitment,
        "suspect": case.described.model_dump(exclude={"outputs"}),
        "verdict": case.verdict._asdict(),
        "controls": case.controls._asdict(),
        "fingerprint": manifest.model_dump(exclude={"outputs", "probes", "nonce"}),
        "independent": case.origins,
        "sha256": case.hashes | probes,
    } | files.provenance()
