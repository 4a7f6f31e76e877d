"""A table of answers that somebody else made, as CSV."""

import csv
import io
from pathlib import Path

import numpy as np

from sacutils.files import UserError

from .answers import LARGEST, Answers, Row, check_outputs, check_row, detect, from_rows
from .text import plain, read_bytes, refuse, summary


def read_table(path: Path, names: list[str], class_names: list[str]) -> Answers:
    """Answers from a CSV file.

    It has a column ``probe`` with the names of the probe files in the order of the fingerprint,
    and one of

    - a column per class, called as the class or by its number from 0, with logits or probabilities;
    - a column ``label`` with the predicted class, by name or number;
    - columns ``label_1``, ``score_1``, ``label_2``, ... with the likeliest classes.
    """
    classes = len(class_names)
    columns = _columns(path, names, 2 * classes + 1)
    known = plain(", ".join(class_names[:12]), 150)
    # where names are numbers too, the name counts
    index = {str(n): n for n in range(classes)} | {name: n for n, name in enumerate(class_names)}

    def number_of(label: str) -> int:
        if label not in index:
            raise UserError(f"{path}: {plain(label)!r} is no class; the fingerprint has {known}.")
        return index[label]

    def numbers(column: str) -> list[float]:
        values = []
        for cell, name in zip(columns[column], names, strict=True):
            try:
                values.append(float(cell))
            except ValueError:
                problem = f"{plain(column)!r} is {plain(cell)!r} for {name}"
                raise UserError(f"{path}: {problem}; a number is needed.") from None
        return values

    k = len(columns) // 2
    if list(columns) == ["label"]:
        return from_rows([number_of(label) for label in columns["label"]], classes, str(path))
    if columns.keys() == {f"{kind}_{i + 1}" for i in range(k) for kind in ("label", "score")}:
        rows: list[Row] = [{} for _ in names]
        for i in range(1, k + 1):
            named = zip(rows, columns[f"label_{i}"], numbers(f"score_{i}"), names, strict=True)
            for row, label, score, name in named:
                if number_of(label) in row:
                    raise UserError(f"{path}: {plain(label)!r} is named twice for {name}.")
                row[number_of(label)] = score
        for row, name in zip(rows, names, strict=True):
            check_row(row, classes, f"{path}, {name}")
        return from_rows(rows, classes, str(path))
    if sorted(index.get(column, -1) for column in columns) != list(range(classes)):
        given = plain(", ".join(list(columns)[:12]), 150) or "none"
        needed = f"label, or label_1, score_1 and so on, or one for each of the {classes} classes"
        raise UserError(
            f"{path} has the columns {given} besides probe; needed are {needed} {known}."
        )
    values = np.empty((len(names), classes))
    for column in columns:
        values[:, index[column]] = numbers(column)
    return detect(check_outputs(values, str(path), names, classes), str(path))


def _columns(path: Path, names: list[str], most: int) -> dict[str, list[str]]:
    """The table's columns of text besides ``probe``, after all that concerns rows was checked."""
    content = read_bytes(path, LARGEST)
    width = content.partition(b"\n")[0].count(b",") + 1
    if path.suffix.lower() != ".csv":
        raise UserError(f"{path} has the ending {path.suffix!r}; tables of answers are .csv files.")
    if width > most:
        raise UserError(f"{path} has {width:,} columns; at most {most:,} are needed.")
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        header, *rows = [row for row in csv.reader(text, strict=True) if row]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table ({summary(error)}).") from None
    if len(set(header)) != len(header) or "probe" not in header:
        needed = f"one column 'probe' with the probe files, such as {names[0]}"
        raise UserError(f"{path} needs {needed}, and no two columns of the same name.")
    for row, name in zip(rows, names, strict=False):
        if len(row) != len(header) or "" in row:
            column = repr(plain(header[row.index("")])) if "" in row[: len(header)] else "a column"
            raise UserError(f"{path}: {column} has no value or one too many for {name}.")
    probes = [row[header.index("probe")] for row in rows if len(row) == len(header)]
    for number, (probe, name) in enumerate(zip(probes, names, strict=False), start=1):
        problems = {
            "is no probe of this fingerprint": probe not in names,
            "has two rows": probe in probes[: number - 1],
            f"is in row {number}; keep the order, {name} is expected there": probe != name,
        }
        refuse(f"{path}: {plain(probe)!r} ", problems)
    if len(rows) != len(names):
        raise UserError(f"{path} holds {len(rows):,} rows; {len(names)} are needed, one per probe.")
    return {name: [row[i] for row in rows] for i, name in enumerate(header) if name != "probe"}
