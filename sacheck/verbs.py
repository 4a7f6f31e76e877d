"""The verbs of the command ``sacheck`` as functions: :func:`query` and :func:`verify`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sacutils import files
from sacutils.files import UserError

from . import case, description, fingerprint, weights
from .case import Case, Queried

AnyPath = str | Path

OPTIONS = {"size": "input-size"}
"""Options of preparation that have another name on the command line."""


class Asked(NamedTuple):
    """Answers by the file that holds them (none after a trial), and what there is to say."""

    answers: dict[Path, Queried]
    text: str


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

    A :class:`sacutils.files.UserError`, one sentence, if anything is not accepted, an option has no
    effect, or the anchors show that answers do not belong to these images and classes.
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
    own = fingerprint.load(Path(folder))
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
        answered = {out: case.from_file(own, weights.ModelFile(Path(model), architecture, how))}
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
    control: Sequence[AnyPath] = (),
    pseudo_theft: Sequence[str] = (),
    independent: Sequence[AnyPath] = (),
    alpha: float | None = None,
    commitment: str | None = None,
    out: AnyPath | None = None,
    report: AnyPath | None = None,
) -> Case:
    """Judge a suspect's answers, which :func:`query` wrote, as :func:`sacheck.case.open_case` does.

    `commitment` is the published one. Also writes the result as JSON to `out`, whose schema is
    :func:`sacheck.case.schema`, and as a page to `report`; neither may exist.

    A :class:`sacutils.files.UserError`, one sentence, if anything is not accepted.
    """
    if report is not None and Path(report).suffix != ".html":
        raise UserError(f"--report {report} is not accepted; it is written to a .html file.")
    if alpha is not None and not 0.001 <= alpha <= 0.5:
        raise UserError(f"alpha = {alpha} is not accepted; a level from 0.001 to 0.5 is.")
    for path in filter(None, (out, report)):
        case.require_free(Path(path))
    given = ([Path(path) for path in independent], [Path(path) for path in control], pseudo_theft)
    judged = case.open_case(Path(folder), Path(suspect), *given, alpha, commitment)
    if report is not None:
        from .report import page

        files.write_text(Path(report), page(judged))
    if out is not None:
        files.write_json(Path(out), case.record(judged))
    return judged
