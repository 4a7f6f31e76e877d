"""A case (fingerprint, suspect, models of known origin) opened from its files, and what is said of it: text, JSON, a page."""

import base64
import io
import warnings
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from . import answers, artefacts, fingerprint, plots, verdict
from .answers import Answers, Record
from .artefacts import UserError
from .fingerprint import Controls, Fingerprint
from .verdict import Verdict

FOUND = {
    verdict.DERIVATION: "The suspect's answers are consistent with derivation from the owner's model.",
    verdict.INDEPENDENCE: "The suspect's answers are consistent with independence from the owner's model.",
    verdict.INCONCLUSIVE: "The comparison is inconclusive.",
}


class Case(NamedTuple):
    """Everything that a verdict rests on.

    Attributes
    ----------
    fingerprint : Fingerprint
        The owner's fingerprint.
    suspect : Answers
        The suspect's answers.
    described : Record
        Where they come from.
    controls : Controls
        How it answers the control images.
    verdict : Verdict
        The outcome.
    origins : dict of dict
        Origin of each reference and derivative by name.
    hashes : dict of str
        SHA-256 of every file of answers that was read, and of what it was made from, by its part in the case and its name.
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
    references: list[Path],
    derivatives: list[Path],
    alpha: float = 0.05,
    published: str | None = None,
) -> Case:
    """Read and check all files of a case, and judge it.

    Parameters
    ----------
    folder : pathlib.Path
        The fingerprint.
    suspect : pathlib.Path
        The suspect's answers.
    references, derivatives : list of pathlib.Path
        Files of answers of independent and of derived models, or folders of such files.
    alpha : float
        Level of the test.
    published : str, optional
        The commitment that was published.

    Raises
    ------
    UserError
        If a file is not accepted, a model occurs twice, or there is no reference.
    """
    own = fingerprint.load(folder, published)
    theirs, described = _read(own, suspect)
    known = {}
    origins, hashes = {}, {fingerprint.MANIFEST: own.commitment} | _hashes("suspect", suspect, described)
    seen = {}
    for group, paths in (("reference", _files(references)), ("derivative", _files(derivatives))):
        known[group] = {}
        for path in paths:
            found, record = _read(own, path)
            name = path.stem
            if name in origins:
                raise UserError(
                    f"{path}: a model called {name!r} is already among the references and derivatives; names must differ."
                )
            content = found.outputs.tobytes()
            if content in seen:
                raise UserError(f"{path} holds the same answers as {seen[content]}; each model counts once.")
            if group == "reference" and content == theirs.outputs.tobytes():
                raise UserError(f"{path} holds the suspect's own answers; leave it out, or it would vouch for itself.")
            seen[content] = path
            known[group][name], origins[name] = found, record.origin
            hashes |= _hashes(group, path, record)
    if not known["reference"]:
        raise UserError("No reference was given; a distance means nothing without independent models to compare it with.")
    passed = fingerprint.check_controls(own, theirs, str(suspect))
    outcome = verdict.judge(own.answers, theirs, known["reference"], known["derivative"], ~own.is_control, alpha)
    return Case(own, theirs, described, passed, outcome, origins, hashes)


def shown(origin: dict[str, str]) -> str:
    """Where answers come from in a few words; hashes have a table of their own."""
    return ", ".join(value for key, value in origin.items() if "sha256" not in key and value)


def _hashes(part: str, path: Path, described: Record) -> dict[str, str]:
    """SHA-256 of a file of answers, and of what they were made from."""
    origin, file = described.origin, f"{part} {path.name}"
    source = origin.get("file", origin.get("log", ""))
    made_from = {f"{file}, made from {source}": value for key, value in origin.items() if "sha256" in key}
    return {file: artefacts.sha256(path)} | made_from


def _files(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"{path} holds no .json files of answers; make them with query.")
        found += inside
    return found


def _read(own: Fingerprint, path: Path) -> tuple[Answers, Record]:
    return answers.read(path, own.commitment, own.names, len(own.manifest.class_names))


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.4f} [{low:.4f}, {high:.4f}]"


def facts(case: Case) -> dict[str, str]:
    """The outcome in lines: what was measured, and its value."""
    outcome = case.verdict
    n, distance = len(outcome.references), (outcome.distance, outcome.distance_low, outcome.distance_high)
    lines = {
        "verdict": outcome.verdict,
        "because": outcome.reason,
        "correlation distance": _interval(*distance) + ", 95 % interval over probes",
        "p-value": f"{outcome.p:.3f} [{outcome.p_low:.3f}, {outcome.p_high:.3f}], 90 % interval over probes, from {n} "
        f"references; no smaller one than {outcome.p_floor:.3f} is possible with so many; level {outcome.alpha:g}",
    }
    if outcome.p_derivative is not None:
        lines["p-value among derivatives"] = f"{outcome.p_derivative:.3f} from {len(outcome.derivatives)} known derivatives"
    nearest = ", ".join(f"{name} ({value:.4f})" for name, value in list(outcome.references.items())[:3])
    form = f"top-k with k = {outcome.k}" if outcome.form == "top-k" else outcome.form
    return lines | {
        "nearest references": nearest,
        "compared as": f"{form}; the suspect shows {case.described.form}",
        "same label as the owner's model": f"{outcome.agreement:.0%} of {(~case.fingerprint.is_control).sum()} probes",
        "control images": f"{case.controls.agree} of {case.controls.total} agree ({case.controls.needed} needed)",
        "commitment": case.fingerprint.commitment,
    }


def as_text(case: Case) -> str:
    """The outcome as text for a terminal."""
    return "\n".join(f"{name + ':':34s}{value}" for name, value in facts(case).items())


def record(case: Case) -> dict[str, Any]:
    """The outcome as JSON: verdict, distances, settings, origins and hashes."""
    manifest = case.fingerprint.manifest.model_dump(exclude={"outputs", "probes", "nonce"})
    return {
        "format": "sac-verdict-1",
        "tool": fingerprint.TOOL,
        "commitment": case.fingerprint.commitment,
        "suspect": case.described.model_dump(exclude={"outputs"}),
        "verdict": case.verdict._asdict(),
        "controls": case.controls._asdict(),
        "fingerprint": manifest,
        "origins": case.origins,
        "sha256": case.hashes | {f"probes/{probe.file}": probe.sha256 for probe in case.fingerprint.manifest.probes},
    } | artefacts.provenance()


def _picture(figure: Figure) -> str:
    """A figure as an image that a page can hold within itself."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of class names in a script that the font lacks
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def pictures(case: Case) -> dict[str, Figure]:
    """The figures of a report: probes, correlation matrices, and the suspect among models of known origin."""
    own, outcome = case.fingerprint, case.verdict
    probes = np.flatnonzero(~own.is_control)
    mine, theirs = answers.predicted(own.answers), answers.predicted(case.suspect)
    names = own.manifest.class_names
    shown = {f"{start + 1}–{start + len(part)}": part for start in (0, 8, 16) if len(part := probes[start : start + 8])}
    titles = {
        row: [names[mine[i]] + ("" if mine[i] == theirs[i] else f"\n≠ {names[theirs[i]]}") for i in part]
        for row, part in shown.items()
    }
    own_matrix, their_matrix = verdict.matrices([own.answers, case.suspect], ~own.is_control, outcome.form, outcome.k)
    return {
        "probes": plots.image_rows({row: own.pixels[part] for row, part in shown.items()}, titles),
        "matrices": plots.matrices({"owner's model": own_matrix, "suspect": their_matrix}),
        "among": plots.suspect_among(outcome),
    }


def page(case: Case) -> str:
    """The report as one HTML page with everything inside."""
    plots.use_style()
    template = resources.files("sacutils").joinpath("report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    mine, theirs = (answers.predicted(each)[~case.fingerprint.is_control] for each in (case.fingerprint.answers, case.suspect))
    names = case.fingerprint.manifest.class_names
    labels = [(name, int((mine == i).sum()), int(((mine == i) & (theirs == i)).sum())) for i, name in enumerate(names)]
    return environment.from_string(template).render(
        case=case,
        found=FOUND[case.verdict.verdict],
        facts=facts(case),
        labels=[row for row in labels if row[1]],
        pictures={name: _picture(figure) for name, figure in pictures(case).items()},
        made=artefacts.provenance(),
        tool=fingerprint.TOOL,
        shown=shown,
        resamples=verdict.RESAMPLES,
    )
