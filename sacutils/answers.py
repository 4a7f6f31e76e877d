"""Answers of a model on probe images, in whatever form its service shows them, and the files that hold them."""

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from . import artefacts, correlation
from .artefacts import UserError, plain
from .profiles import Strict

FORMS = ("logits", "probabilities", "top-k", "labels")
"""Output forms, the most telling first."""

LARGEST = 64 * 2**20
"""Bytes that a table or a file of answers may have."""


class Answers(NamedTuple):
    """A model's answers on n probes.

    Attributes
    ----------
    outputs : numpy.ndarray
        float64, shape (n, classes). Of top-k answers the classes that were not named are 0; labels are 1 at the named class.
    form : str
        A name of `FORMS`.
    k : int
        Number of classes that each answer names: all of them for logits and probabilities, one for labels.
    """

    outputs: np.ndarray
    form: str
    k: int


class Record(Strict):
    """What a file of answers holds; `fingerprint` is the commitment of the fingerprint whose probes were asked."""

    format: Literal["sac-answers-1"]
    fingerprint: str
    name: str
    origin: dict[str, str]
    tool: str
    utc: str
    form: Literal["logits", "probabilities", "top-k", "labels"]
    k: int
    outputs: list[list[float]]


def detect(values: np.ndarray, where: str = "The model") -> Answers:
    """Tell from the numbers alone what kind of answers they are.

    Rows of one 1 and zeros are labels. Non-negative rows that sum to 1 (up to rounding to two decimals) are probabilities;
    if they sum to less and some classes are 0 in every row, top-k. Everything else is taken as logits, log-probabilities too,
    whose softmax is right.

    Parameters
    ----------
    values : numpy.ndarray
        float64, shape (n, classes), finite.
    where : str
        Whose answers they are, for what is said of them.

    Returns
    -------
    Answers
        The same numbers with their form.

    Raises
    ------
    UserError
        If they are probabilities in another unit, such as percent: as logits they would mislead the comparison.
    """
    classes = values.shape[1]
    named = int((values > 0).sum(1).max())
    if values.min() >= 0 and values.max() <= 1 + 1e-6:
        sums = values.sum(1)
        if named == 1 and np.all(sums == 1):
            return Answers(values, "labels", 1)
        if np.all(abs(sums - 1) <= max(0.02, 0.005 * classes)):
            return Answers(values, "probabilities", classes)
        if named < classes and np.all(sums > 0):
            return Answers(values, "top-k", named)
    elif values.min() >= 0:
        sums = values.sum(1)
        if np.ptp(sums) <= 0.02 * sums.max() or named < classes:
            raise UserError(
                f"{where} answers with scores up to {values.max():g}, none below 0, that sum to about {np.median(sums):g}; "
                "divide them so that probabilities sum to 1, or give logits."
            )
    return Answers(values, "logits", classes)


def agreeing(found: Answers, where: str) -> Answers:
    """The same answers, if their numbers are of the form that is stated with them.

    Raises
    ------
    UserError
        If not: a comparison would treat the numbers as what they are not.
    """
    values, form, k = found
    classes = values.shape[1]
    match form:
        case "top-k":
            right = 1 <= k < classes and values.min() >= 0 and values.max() <= 1 + 1e-6
        case "labels":
            right = k == 1 and detect(values, where).form == "labels"
        case "probabilities":
            right = k == classes and detect(values, where).form in ("probabilities", "labels")
        case _:
            right = k == classes and detect(values, where).form == "logits"
    if not right:
        raise UserError(f"{where}: form is {form!r} and k is {k}; the numbers are no such answers on {classes} classes.")
    return found


def from_rows(rows: list[Any], classes: int) -> Answers:
    """Answers as a service gives them: per probe a list of scores, a mapping from class index to score, or a class index.

    Raises
    ------
    UserError
        If probes were answered in different ways.
    """
    kinds = {type(row) for row in rows}
    if len(kinds) != 1:
        raise UserError(
            f"The answers are of several kinds ({', '.join(sorted(kind.__name__ for kind in kinds))}); one is needed."
        )
    outputs = np.zeros((len(rows), classes))
    if kinds == {int}:
        outputs[np.arange(len(rows)), rows] = 1
        return Answers(outputs, "labels", 1)
    if kinds == {dict}:
        for output, row in zip(outputs, rows, strict=True):
            output[list(map(int, row))] = list(row.values())
        k = min(len(row) for row in rows)
        # a list that names every class is a full answer, whatever its shape
        return detect(outputs, "The service") if k == classes else Answers(outputs, "top-k", k)
    return detect(np.array(rows, dtype=float), "The service")


def weakest(answers: list[Answers]) -> tuple[str, int]:
    """The most telling form that all of some answers can be brought to, and its number of named classes.

    Logits count as probabilities: a constant added to them changes their cosine and says nothing about the model.
    """
    form = max((each.form for each in answers), key=FORMS.index)
    return ("probabilities" if form == "logits" else form), min(each.k for each in answers)


def convert(answers: Answers, form: str, k: int) -> torch.Tensor:
    """Answers in a form at most as telling as their own, as the correlation matrix takes them.

    Parameters
    ----------
    answers : Answers
        Some answers.
    form : {"probabilities", "top-k", "labels"}
        The form.
    k : int
        Number of classes that ``top-k`` keeps; the others become 0.

    Returns
    -------
    torch.Tensor
        float64, shape (n, classes).
    """
    outputs = torch.from_numpy(answers.outputs)
    if form == "labels":
        return correlation.to_form(outputs, "labels")
    if answers.form == "logits":
        outputs = outputs.softmax(-1)
    return correlation.top_k(outputs, k) if form == "top-k" else outputs


def predicted(answers: Answers) -> np.ndarray:
    """The predicted class of each probe, int64, shape (n,)."""
    return answers.outputs.argmax(1)


def checked(values: np.ndarray, where: str, names: list[str], classes: int) -> np.ndarray:
    """Outputs as float64 if there is one finite row per probe and one column per class.

    Raises
    ------
    UserError
        If not; the sentence names the first probe that is not accepted.
    """
    if values.shape != (len(names), classes):
        found = " x ".join(map(str, values.shape))
        raise UserError(f"{where} holds {found} outputs; {len(names)} probes x {classes} classes are needed.")
    values = values.astype(np.float64)
    odd = ~np.isfinite(values).all(1)
    if odd.any():
        raise UserError(
            f"{where}: {odd.sum()} answers are not finite, the first for {names[int(odd.argmax())]}; numbers are needed."
        )
    return values


def read_table(path: Path, names: list[str], class_names: list[str]) -> Answers:
    """Answers from a table that somebody else made: CSV, Parquet or NPY.

    A CSV or Parquet file has a column ``probe`` with the names of the probe files in the order of the fingerprint, and one of

    - a column per class, called as the class or by its number from 0, with logits or probabilities;
    - a column ``label`` with the predicted class, by name or number;
    - columns ``label_1``, ``score_1``, ``label_2``, ... with the likeliest classes.

    An NPY file holds an array of shape (n, classes), or (n,) with class numbers, in the order of the fingerprint.

    Raises
    ------
    UserError
        If the file is too large, is no such table, or a row or cell is missing, not finite, repeated or out of order.
    """
    regular(path, LARGEST)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _from_array(path, names, len(class_names))
    if suffix not in (".csv", ".parquet"):
        raise UserError(
            f"{path} has the ending {suffix or 'none'!r}; answers are read from .csv, .parquet, .npy, or .json made by query."
        )
    table = _frame(path, len(names), 2 * len(class_names) + 1)
    if "probe" not in table:
        raise UserError(f"{path} has no column 'probe'; it names the probe file of each row, such as {names[0]}.")
    _check_order(path, table["probe"].tolist(), names)
    missing = table.isna() | (table == "")
    if missing.to_numpy().any():
        row, column = np.argwhere(missing.to_numpy())[0]
        raise UserError(f"{path}: column {table.columns[column]!r} has no value for {names[row]}; every cell is needed.")
    # where names are numbers too, the name counts
    index = {str(n): n for n in range(len(class_names))} | {name: number for number, name in enumerate(class_names)}
    columns = [column for column in table if column != "probe"]
    if columns == ["label"]:
        return from_rows([_class_number(path, value, index, class_names) for value in table["label"]], len(class_names))
    if all(column.startswith(("label_", "score_")) for column in columns) and columns:
        return _from_top_k(path, table, columns, index, class_names)
    places = [index.get(column) for column in columns]
    if sorted(place for place in places if place is not None) != list(range(len(class_names))) or None in places:
        raise UserError(
            f"{path} has the columns {plain(', '.join(columns[:12]), 200) or 'none'} besides probe; needed are label, or "
            f"label_1, score_1 and so on, or one for each of the {len(class_names)} classes "
            f"{plain(', '.join(class_names[:12]), 200)}{', ...' if len(class_names) > 12 else ''}."
        )
    values = np.empty((len(names), len(class_names)))
    for column, place in zip(columns, places, strict=True):
        values[:, place] = _numbers(path, table[column], column, names)
    return detect(checked(values, str(path), names, len(class_names)), str(path))


def _frame(path: Path, rows: int, columns: int) -> pd.DataFrame:
    """A table of strings with the expected number of rows; its size is looked at before it is read, `columns` is the most."""
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            meta = pq.ParquetFile(path).metadata
            size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            if meta.num_rows != rows or size > LARGEST:
                raise UserError(
                    f"{path} holds {meta.num_rows:,} rows, {size:,} bytes when unpacked; {rows} are needed, one for each probe."
                )
            found, read = meta.num_columns, lambda: pq.read_table(path).to_pandas(ignore_metadata=True)
        else:
            with open(path, "rb") as file:
                found = file.readline().count(b",") + 1
            read = partial(pd.read_csv, path, dtype=str, keep_default_na=False, compression=None, encoding="utf-8")
        if found > columns:
            raise UserError(f"{path} has {found:,} columns; at most {columns:,} are needed.")
        table = read()
        table.columns = [str(column) for column in table.columns]
        cells = table.map(lambda value: "" if value is None or value != value else str(value))
    except UserError:
        raise
    except Exception as error:  # a parser of a stranger's bytes may raise anything
        raise UserError(f"{path} cannot be read as a table ({first_problem(error)}).") from None
    if len(table) != rows:
        raise UserError(f"{path} holds {len(table):,} rows; {rows} are needed, one for each probe.")
    if len(set(table.columns)) != len(table.columns):
        raise UserError(f"{path} has two columns of the same name; each may occur once.")
    return cells


def _check_order(path: Path, found: list[str], names: list[str]) -> None:
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise UserError(f"{path}: {unknown[0]!r} is no probe of this fingerprint; they are called {names[0]} to {names[-1]}.")
    if len(set(found)) != len(found):
        twice = next(name for i, name in enumerate(found) if name in found[:i])
        raise UserError(f"{path}: {twice} has two rows; each probe has one.")
    if found != names:
        row = next(i for i, (one, other) in enumerate(zip(found, names, strict=True)) if one != other)
        raise UserError(f"{path}: row {row + 1} is {found[row]}, expected is {names[row]}; keep the order of the fingerprint.")


def _class_number(path: Path, value: str, index: dict[str, int], class_names: list[str]) -> int:
    if value not in index:
        raise UserError(f"{path}: {value!r} is no class of this fingerprint; it has {', '.join(class_names[:12])}.")
    return index[value]


def _numbers(path: Path, column: pd.Series, name: str, names: list[str]) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce")
    # "nan" is a number for pandas; checked() refuses it with the others that are not finite
    words = values.isna() & (column.str.lower() != "nan")
    if words.any():
        row = int(words.to_numpy().argmax())
        raise UserError(f"{path}: column {name!r} holds {column.iloc[row]!r} for {names[row]}; a number is needed.")
    return values.to_numpy(dtype=float)


def _from_top_k(path: Path, table: pd.DataFrame, columns: list[str], index: dict[str, int], class_names: list[str]) -> Answers:
    k = len(columns) // 2
    expected = [f"{kind}_{i}" for i in range(1, k + 1) for kind in ("label", "score")]
    if sorted(columns) != sorted(expected):
        raise UserError(f"{path} has the columns {', '.join(columns[:12])}; label_1, score_1, label_2 and so on are needed.")
    rows: list[dict[int, float]] = [{} for _ in range(len(table))]
    names = table["probe"].tolist()
    for i in range(1, k + 1):
        scores = _numbers(path, table[f"score_{i}"], f"score_{i}", names)
        for name, row, label, score in zip(names, rows, table[f"label_{i}"], scores, strict=True):
            number = _class_number(path, label, index, class_names)
            if number in row or not 0 <= score <= 1:
                what = "is named twice" if number in row else f"has the score {score:g}"
                raise UserError(f"{path}: {label!r} {what} for {name}; different classes with scores from 0 to 1 are needed.")
            row[number] = float(score)
    return from_rows(rows, len(class_names))


def _from_array(path: Path, names: list[str], classes: int) -> Answers:
    try:
        # mapped, so that a header which claims a huge shape allocates nothing
        values = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a parser of a stranger's bytes may raise anything
        raise UserError(f"{path} cannot be read as an NPY array of numbers ({first_problem(error)}).") from None
    if values.dtype.kind not in "iuf":
        raise UserError(f"{path} holds values of type {values.dtype}; numbers are needed.")
    if values.ndim == 1 and values.dtype.kind in "iu":
        if values.shape != (len(names),) or not (0 <= values.min() and values.max() < classes):
            raise UserError(f"{path} holds {len(values)} labels; {len(names)} from 0 to {classes - 1} are needed.")
        return from_rows(values.tolist(), classes)
    return detect(checked(values, str(path), names, classes), str(path))


def regular(path: Path, largest: int) -> None:
    """Refuse what is no regular file, or has more than `largest` bytes.

    Raises
    ------
    UserError
        If the path is missing, a link or a folder, or too large.
    """
    if path.is_symlink() or not path.is_file():
        found = "a symbolic link" if path.is_symlink() else "a folder" if path.is_dir() else "missing"
        raise UserError(f"{path} is {found}; a regular file is needed.")
    if path.stat().st_size > largest:
        raise UserError(f"{path} has {path.stat().st_size:,} bytes; at most {largest:,} are accepted.")


def write(path: Path, answers: Answers, commitment: str, name: str, origin: dict[str, str], tool: str) -> None:
    """Write answers as JSON with where they came from, atomically."""
    record = Record(
        format="sac-answers-1",
        fingerprint=commitment,
        name=artefacts.readable(name),
        origin={key: artefacts.readable(value) for key, value in origin.items()},
        tool=tool,
        utc=artefacts.provenance()["utc"],
        form=answers.form,
        k=answers.k,
        outputs=[[float(f"{value:.9g}") for value in row] for row in answers.outputs],
    )
    artefacts.write_text(path, record.model_dump_json(indent=None) + "\n")


def read(path: Path, commitment: str, names: list[str], classes: int) -> tuple[Answers, Record]:
    """Answers from a file made by :func:`write` for this fingerprint.

    Raises
    ------
    UserError
        If the file is no such file, was made for another fingerprint, or holds values that are not accepted.
    """
    regular(path, LARGEST)
    try:
        record = Record.model_validate(parsed(path), strict=False)
    except (ValueError, RecursionError) as error:  # pydantic's error is a ValueError
        raise UserError(f"{path} is no file of answers made by query ({first_problem(error)}).") from None
    if record.fingerprint != commitment:
        raise UserError(
            f"{path} was made for the fingerprint {plain(record.fingerprint, 12)}, this one is {commitment[:12]}; "
            "ask the suspect again."
        )
    if len({len(row) for row in record.outputs}) != 1:
        raise UserError(f"{path}: outputs has rows of different lengths; {len(names)} probes x {classes} classes are needed.")
    values = checked(np.array(record.outputs, dtype=float), f"{path}: outputs", names, classes)
    return agreeing(Answers(values, record.form, record.k), str(path)), record


def parsed(path: Path) -> Any:
    """The JSON in a file, whose objects have each key once and whose strings can be written again.

    Raises
    ------
    ValueError, RecursionError
        If it is no such JSON.
    """
    text = path.read_text(encoding="utf-8")
    value = json.loads(text, object_pairs_hook=artefacts.once)
    if "\\ud" in text.lower():  # half of a surrogate pair is no text
        json.dumps(value, ensure_ascii=False).encode()
    return value


def first_problem(error: Exception) -> str:
    """The first line of what a parser says, with the field where pydantic names one."""
    if hasattr(error, "errors"):
        first = error.errors()[0]
        return f"{plain('.'.join(map(str, first['loc'])))}: {plain(first['msg'], 200)}"
    return plain(error, 200) or type(error).__name__
