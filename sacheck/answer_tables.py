"""A table of answers that somebody else made: CSV as people, spreadsheets and pandas write it, or
an NPY array.
"""

import codecs
import csv
import io
import itertools
import re
from pathlib import Path

import numpy as np

from sacutils.files import UserError

from .answers import LARGEST, Answers, Row, check_outputs, check_row, detect, from_rows
from .text import number, plain, read_bytes, refuse, summary

WORDS = ("probe", "label", "score")
"""Names of columns of which only the letters count, not their case."""


def read_table(path: Path, names: list[str], class_names: list[str]) -> Answers:
    """Answers from a CSV file, or an NPY array with a row for each probe.

    The separator of a CSV file is a comma, a semicolon or a tab, and where it is no comma, numbers
    may have a decimal comma. It has a column ``probe`` with the names of the probe files, in any
    order, and one of

    - a column per class, called as the class or by its number from 0, with logits or probabilities;
    - a column ``label`` with the predicted class, by name or number, and perhaps ``score``;
    - columns ``label_1``, ``score_1``, ``label_2``, ... with the likeliest classes.

    A column that only counts the rows, as pandas writes it, is passed over. The rows of an array
    are in the order of the fingerprint; it holds logits or probabilities, shape (n, classes), or
    numbers of classes, shape (n,) or (n, 1).
    """
    if path.suffix.lower() == ".npy":
        return _from_array(path, names, len(class_names))
    classes = len(class_names)
    columns = _columns(path, names, class_names)
    if columns.keys() == {"label", "score"}:
        columns = {f"{kind}_1": columns[kind] for kind in ("label", "score")}
    known = plain(", ".join(class_names[:12]), 150)
    # where names are numbers too, the name counts
    index = {str(n): n for n in range(classes)} | {name: n for n, name in enumerate(class_names)}

    def number_of(label: str) -> int:
        label = label if label in index else label.removesuffix(".0")
        if label not in index:
            raise UserError(f"{path}: {plain(label)!r} is no class; the fingerprint has {known}.")
        return index[label]

    def numbers(column: str) -> list[float]:
        values = []
        for cell, name in zip(columns[column], names, strict=True):
            try:
                values.append(number(cell))
            except ValueError:
                problem = f"{plain(column)!r} is {plain(cell)!r} for {name}"
                raise UserError(f"{path}: {problem}; a number is needed.") from None
        return values

    k = len(columns) // 2
    if list(columns) == ["label"]:
        return from_rows([number_of(label) for label in columns["label"]], classes, str(path))
    if k and columns.keys() == {f"{kind}_{i + 1}" for i in range(k) for kind in ("label", "score")}:
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


def _columns(path: Path, names: list[str], class_names: list[str]) -> dict[str, list[str]]:
    """The table's columns of text besides ``probe``, in the order of the probes, after all that
    concerns rows was checked.
    """
    content = read_bytes(path, LARGEST)
    if path.suffix.lower() != ".csv":
        ending = f"{path} has the ending {path.suffix!r}"
        raise UserError(f"{ending}; tables of answers are .csv or .npy files.")
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
        first, most = text.partition("\n")[0], 2 * len(class_names) + 2
        # that which sets the word probe apart; a class may have a comma in its name
        cells = {s: [cell.strip(' \r"').lower() for cell in first.split(s)] for s in ",;\t"}
        separator = next((s for s, found in cells.items() if "probe" in found), ",")
        if first.count(separator) >= most:
            width = f"{first.count(separator) + 1:,} columns; at most {most:,} are needed"
            raise UserError(f"{path} has {width}.")
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        # among more rows than probes, one is wrong, and that is all there is to say
        some = itertools.islice(filter(any, lines), len(names) + 2)
        header, *rows = [[cell.strip() for cell in row] for row in some] or [[]]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table ({summary(error)}).") from None
    while header and not any(row[len(header) - 1 :] != [""] for row in [header, *rows]):
        header, rows = header[:-1], [row[:-1] for row in rows]  # a spreadsheet's empty column
    # other cases of letters are what people write; a class keeps its own
    header = [h if h in class_names or h.lower() not in WORDS else h.lower() for h in header]
    if len(set(header)) != len(header) or "probe" not in header:
        needed = f"one column 'probe' with the probe files, such as {names[0]}"
        found = plain(", ".join(header[:12]), 150)
        raise UserError(
            f"{path} needs {needed}, and no two columns of the same name; it has {found}."
        )
    place, order = header.index("probe"), {name: i for i, name in enumerate(names)}
    sorted_: list[list[str] | None] = [None] * len(names)
    for row in rows:
        called = row[place] if len(row) > place else ""
        name = called.replace("\\", "/").rpartition("/")[2]
        short = f"{path}: {plain(called)!r} "
        refuse(short, {"is no probe of this fingerprint": name not in order})
        if len(row) != len(header) or "" in row:
            column = repr(plain(header[row.index("")])) if "" in row[: len(header)] else "a column"
            raise UserError(f"{path}: {column} has no value or one too many for {name}.")
        refuse(short, {"has two rows": sorted_[order[name]] is not None})
        if separator != ",":
            row = [
                c.replace(",", ".") if _is_decimal(c) and c not in class_names else c for c in row
            ]
        sorted_[order[name]] = row
    complete = [row for row in sorted_ if row is not None]
    if len(complete) != len(names):
        missing = names[sorted_.index(None)]
        problem = f"{len(rows):,} rows and none for {missing}; {len(names)} are needed"
        raise UserError(f"{path} holds {problem}, one per probe.")
    columns = {name: [row[i] for row in complete] for i, name in enumerate(header)}
    del columns["probe"]
    counting = [
        name for name in columns if name not in class_names and _counts(name, columns[name])
    ]
    return {name: cells for name, cells in columns.items() if name not in counting}


def _is_decimal(cell: str) -> bool:
    """Whether a cell is a number with a decimal comma."""
    return bool(re.fullmatch(r"[+-]?\d+,\d+(e[+-]?\d+)?%?", cell, re.ASCII | re.IGNORECASE))


def _counts(name: str, cells: list[str]) -> bool:
    """Whether a column only counts rows: it has no name, or one that pandas gives an index."""
    named = name == "" or name == "index" or name.startswith("Unnamed: ")
    return named and len(set(cells)) == len(cells) and all(cell.isdecimal() for cell in cells)


def _from_array(path: Path, names: list[str], classes: int) -> Answers:
    content = read_bytes(path, LARGEST)
    try:
        if not content.startswith(b"\x93NUMPY"):
            raise ValueError("it does not begin as one")
        # mapped, so that a header which claims a huge shape allocates nothing; never a pickle
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if values.dtype.kind not in "fiub":
            raise ValueError("real numbers are needed")
        values = np.array(values, dtype=np.float64)
    except Exception as error:  # its header is read by Python's own parser, which raises anything
        raise UserError(f"{path} cannot be read as an NPY array ({summary(error)}).") from None
    labels = values[:, 0] if values.shape == (len(names), 1) else values
    if labels.shape != (len(names),):
        return detect(check_outputs(values, str(path), names, classes), str(path))
    odd = ~np.isin(labels, np.arange(classes))
    if odd.any():
        what = f"{labels[odd][0]:g} for {names[odd.argmax()]} is no class"
        raise UserError(f"{path}: {what}; whole numbers from 0 to {classes - 1} are.")
    return from_rows(labels.astype(int).tolist(), classes, str(path))
