"""Answers of a model on probe images, in whatever form its service shows them, and their files."""

import json
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
import pydantic
import torch

from sacutils import correlation, files
from sacutils.files import UserError
from sacutils.profiles import Strict, sentence

from .text import once, plain, read_bytes, readable, refuse, summary

Form = Literal["logits", "probabilities", "top-k", "labels"]
FORMS = get_args(Form)
"""Output forms, the most telling first."""
LARGEST = 64 * 2**20
"""Bytes that a table or a file of answers may have."""
ROUNDING = 1e-6
"""How far a probability may lie outside 0 to 1."""

Kind = TypeVar("Kind", bound=Strict)
Row = int | list[float] | dict[int, float]
"""One answer of a service: a class number, a score for each class, or scores by class number."""


class Answers(NamedTuple):
    """A model's answers on n probes: `outputs`, float64, shape (n, classes), in a form of `FORMS`.

    Of top-k answers the classes that were not named are 0; labels are 1 at the named class. `k` is
    the number of classes that each answer names: all of them for logits and probabilities, one for
    labels.
    """

    outputs: np.ndarray
    form: str
    k: int

    @property
    def predicted(self) -> np.ndarray:
        """The predicted class of each probe, int64, shape (n,)."""
        return self.outputs.argmax(1)


class Record(Strict):
    """What a file of answers holds; `fingerprint` is the commitment of the fingerprint whose
    probes were asked.
    """

    format: Literal["sac-answers-1"]
    fingerprint: str
    name: str
    origin: dict[str, str]
    tool: str
    utc: str
    form: Form
    k: int
    outputs: list[list[float]]


def detect(values: np.ndarray, where: str = "The model") -> Answers:
    """Tell from the numbers alone what kind of answers they are.

    Rows of one 1 and zeros are labels. Rows without negative values that sum to 1 (up to rounding
    to two decimals) are probabilities; if they sum to less and some classes are 0 in every row,
    top-k. All else is taken for logits, also logarithms of probabilities, whose softmax is right.

    `values` are float64, shape (n, classes), finite; `where` says whose they are. Probabilities in
    another unit, such as percent, are refused.
    """
    classes = values.shape[1]
    if values.min() >= -ROUNDING and values.max() <= 1 + ROUNDING:
        values = values.clip(min=0)
    named = int((values > 0).sum(1).max())
    sums = values.sum(1)
    if values.min() >= 0 and values.max() <= 1 + ROUNDING:
        if named == 1 and np.all(sums == 1):
            return Answers(values, "labels", 1)
        # two decimals of many classes sum to about 1; where some are 0 everywhere, scores may be
        # missing, and too many would pass for the first few of a list
        rounded = 0.005 * classes if named == classes else 0.0
        if np.all(abs(sums - 1) <= max(0.02, rounded)):
            return Answers(values, "probabilities", classes)
        if named < classes and np.all(sums > 0):
            return Answers(values, "top-k", named)
    elif values.min() >= 0 and (np.ptp(sums) <= 0.02 * sums.max() or named < classes):
        raise UserError(
            f"{where} answers with scores up to {values.max():g}, none below 0, that sum to about "
            f"{np.median(sums):g}; divide them so that probabilities sum to 1, or give logits."
        )
    return Answers(values, "logits", classes)


def check_row(row: Row, classes: int, where: str) -> Row:
    """One answer of a service or a table, if its classes and scores are accepted.

    A class that is not named counts as 0, below which no logit would be, so scores of some of the
    classes are between 0 and 1.
    """
    if isinstance(row, list) and len(row) != classes:
        raise UserError(f"{where}: {len(row)} scores; {classes} are needed, one for each class.")
    # a label counts as a score of 1
    scores = {row: 1.0} if isinstance(row, int) else dict(enumerate(row))
    scores = row if isinstance(row, dict) else scores
    values = np.array(list(scores.values()))
    odd = ~np.isfinite(values) | ((len(scores) < classes) & (abs(values - 0.5) > 0.5 + ROUNDING))
    problems = {
        f"classes {plain(list(scores))}; some of 0 to {classes - 1} are needed": not scores
        or not all(0 <= number < classes for number in scores),
        f"{len(scores)} of {classes} classes have scores, one is {values[odd][:1]}; finite numbers "
        "are needed, from 0 to 1 unless all classes are named": bool(odd.any()),
        "all scores are 0; one class at least has more": 0 < len(scores) < classes
        and not (values > 0).any(),
    }
    refuse(f"{where}: ", problems)
    return row


def from_rows(rows: list[Row], classes: int, where: str = "The service") -> Answers:
    """Answers from those of a service or a table, which :func:`check_row` has accepted."""
    kinds = sorted({type(row).__name__ for row in rows})
    if len(kinds) != 1:
        raise UserError(f"{where} answers in several ways ({', '.join(kinds)}); one is needed.")
    if kinds == ["list"]:
        return detect(np.array(rows, dtype=float), where)
    outputs = np.zeros((len(rows), classes))
    if kinds == ["int"]:
        outputs[np.arange(len(rows)), rows] = 1
        return Answers(outputs, "labels", 1)
    for output, row in zip(outputs, rows, strict=True):
        output[list(row)] = list(row.values())
    if any(len(row) < classes for row in rows):
        odd = abs(outputs - 0.5) > 0.5 + ROUNDING  # of rows that name all classes too
        problem = f"names some of the classes only, with a score of {outputs[odd][:1]}"
        refuse(f"{where} {problem}", {"; from 0 to 1 is needed then": bool(odd.any())})
        outputs = outputs.clip(min=0)
    k = min(len(row) for row in rows)
    # an answer that names every class is a full one, whatever its shape
    return detect(outputs, where) if k == classes else Answers(outputs, "top-k", k)


def weakest(answers: list[Answers]) -> tuple[str, int]:
    """The most telling form that all of some answers can be brought to, and its `k`.

    Logits count as probabilities: a constant added to them changes their cosine and says nothing
    about the model.
    """
    form = max((given.form for given in answers), key=FORMS.index)
    return "probabilities" if form == "logits" else form, min(given.k for given in answers)


def convert(answers: Answers, form: str, k: int) -> torch.Tensor:
    """Answers in a form at most as telling as their own, as the correlation matrix takes them.

    `form` is ``probabilities``, ``top-k`` (which keeps `k` classes, the others become 0) or
    ``labels``; the result is float64, shape (n, classes).
    """
    outputs = torch.from_numpy(answers.outputs)
    if form == "labels":
        return correlation.to_form(outputs, "labels")
    if answers.form == "logits":
        outputs = outputs.softmax(-1)
    return correlation.top_k(outputs, k) if form == "top-k" else outputs


def shown_as(complete: Answers, form: str, k: int = 3) -> Answers:
    """What a service that shows less would show of answers: a name of `FORMS`, with `k` classes
    for ``top-k``; refused if they show less than that themselves.
    """
    if form == complete.form and (form != "top-k" or k == complete.k):
        return complete
    few = form == "top-k" and k > complete.k
    if few or FORMS.index(form) < FORMS.index(complete.form):
        what = f"Answers as {complete.form} cannot be compared as {form}"
        raise UserError(f"{what}; ask all models for at least what the suspect shows.")
    classes = complete.outputs.shape[1]
    if form == "labels":
        return from_rows(complete.predicted.tolist(), classes)
    outputs = convert(complete, form, k).numpy()
    return Answers(outputs, form, k if form == "top-k" else classes)


def check_outputs(outputs: np.ndarray, where: str, names: list[str], classes: int) -> np.ndarray:
    """Outputs as float64, if there is one finite row per probe and one column per class."""
    if outputs.shape != (len(names), classes):
        shape = " x ".join(map(str, outputs.shape))
        needed = f"{len(names)} probes x {classes} classes are needed"
        raise UserError(f"{where} holds {shape} outputs; {needed}.")
    odd = ~np.isfinite(outputs).all(1)
    if odd.any():
        first = names[odd.argmax()]
        raise UserError(f"{where}: {odd.sum()} answers are not finite, the first for {first}.")
    return outputs.astype(np.float64)


def stated(
    outputs: list[list[float]], form: str, k: int, where: str, names: list[str], classes: int
) -> Answers:
    """Answers as a file states them; refused if their numbers are not of the stated form."""
    if {len(row) for row in outputs} != {classes}:
        raise UserError(f"{where}: outputs and class_names have different lengths.")
    values = check_outputs(np.array(outputs), f"{where}: outputs", names, classes)
    if form == "top-k":
        right = 1 <= k < classes and values.min() >= 0 and values.max() <= 1 + ROUNDING
        right = right and bool((values.sum(1) > 0).all())
    else:
        fitting = ("probabilities", "labels") if form == "probabilities" else (form,)
        right = k == (1 if form == "labels" else classes) and detect(values, where).form in fitting
    if not right:
        what = f"form is {form!r} and k is {k}"
        raise UserError(f"{where}: {what}; they are no such answers on {classes} classes.")
    return Answers(values, form, k)


def rounded(outputs: np.ndarray) -> list[list[float]]:
    """Outputs as lists of numbers with nine digits."""
    return [[float(f"{value:.9g}") for value in row] for row in outputs]


def write(
    path: Path, answers: Answers, commitment: str, name: str, origin: dict[str, str], tool: str
) -> None:
    """Write answers as JSON with where they came from, atomically."""
    record = Record(
        format="sac-answers-1",
        fingerprint=commitment,
        name=readable(name),
        origin={key: readable(value) for key, value in origin.items()},
        tool=tool,
        utc=files.provenance()["utc"],
        form=answers.form,
        k=answers.k,
        outputs=rounded(answers.outputs),
    )
    files.write_text(path, record.model_dump_json() + "\n")


def read(path: Path, commitment: str, names: list[str], classes: int) -> tuple[Answers, Record]:
    """Answers from a file made by :func:`write` for this fingerprint."""
    record = read_record(path, read_bytes(path, LARGEST), Record)
    if record.fingerprint != commitment:
        made_for = f"{plain(record.fingerprint, 12)}, not for {commitment[:12]}"
        raise UserError(f"{path} was made for the fingerprint {made_for}; ask the suspect again.")
    return stated(record.outputs, record.form, record.k, str(path), names, classes), record


def read_record(path: Path, content: bytes, kind: type[Kind]) -> Kind:
    """JSON that a stranger may have changed, as a checked record; `path` is where it was read."""
    try:
        values = json.loads(content.decode(), object_pairs_hook=once)
        if b"\\u" in content:  # half of a surrogate pair is no text
            json.dumps(values, ensure_ascii=False).encode()
        return kind.model_validate(values)
    except pydantic.ValidationError as error:
        what = plain(sentence(error, path.name), 250)
    except (ValueError, RecursionError) as error:
        what = summary(error)
    raise UserError(f"{path} is no such file as sacheck writes ({what}).")
