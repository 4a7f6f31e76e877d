"""Parameters of a notebook: typed by their defaults, bounded by the comments beside them.

A notebook has one cell tagged ``parameters`` with one plain assignment per line. What a parameter
accepts stands in the comment at the end of its line::

    profile = "fashion"
    overrides = {}
    bar = 0.95       # 0.5 to 1: the AUC that the claim demands
    images = 200     # at least 1
    probe_set = "w"  # one of normal, source, w, m, jc
    shares = [0.2]   # 0.05 to 0.95

That is: ``A to B`` (both included), ``at least A`` or ``one of a, b, c``, and after a colon an
explanation. The type is that of the default; of a list, the comment holds for each item.
``profile`` and ``overrides`` are checked by :mod:`sacutils.profiles` and need no comment, nor do
truth values.
"""

import ast
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sacutils.files import UserError
from sacutils.profiles import Profile

FREE = {"profile": "a file of profiles/", "overrides": "values of the profile"}
"""Parameters that every notebook has and that the profile checks."""

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}

Changes = dict[str, tuple[Any, Any]]
"""From the name of a parameter to its value here and its value in the book."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell.

    `kind` is the type of the value, or of each item of a list; `accepted` says in words what is
    accepted; `low` and `high` bound a number; `choices` are the values accepted, all if there are
    none.
    """

    default: Any
    kind: type
    accepted: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[Any, ...] = ()

    def typed(self, value: Any) -> Any:
        """A value in the parameter's type; a ``ValueError`` if it is not accepted."""
        several = isinstance(self.default, list)
        items = value if several else [value]
        if not isinstance(items, list) or not items:
            raise ValueError
        if self.kind is float:
            items = [float(item) if type(item) is int else item for item in items]
        for item in items:
            if type(item) is not self.kind or (self.choices and item not in self.choices):
                raise ValueError
            if self.kind in (int, float) and not self.low <= item <= self.high:
                raise ValueError
        return items if several else items[0]


def of_notebook(notebook: Path) -> dict[str, Parameter]:
    """The parameters that a notebook accepts, by name; a ``UserError`` if it does not have exactly
    one parameters cell, or the cell breaks the rules.
    """
    import jupytext

    cells = jupytext.read(notebook).cells
    cells = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    try:
        if len(cells) != 1:
            raise UserError(f"it needs exactly one cell tagged 'parameters', found {len(cells)}.")
        return of_cell(cells[0])
    except UserError as error:
        raise UserError(f"{notebook.name}: {error}") from None


def of_cell(source: str) -> dict[str, Parameter]:
    """The parameters that the source of a cell declares; see the module for the grammar. A
    ``UserError`` if a line is no plain assignment of a literal, a comment is missing or not
    understood, or a default is not accepted by its own comment.
    """
    result = {}
    for name, value in _assignments(source).items():
        try:
            default = ast.literal_eval(value)
        except ValueError:
            raise UserError(f"the default of parameter {name} must be a literal.") from None
        # ast counts in bytes
        behind = source.encode().splitlines()[value.end_lineno - 1][value.end_col_offset :]
        comment = behind.decode().partition("#")[2].strip()
        result[name] = parameter = _declared(name, default, comment)
        try:
            parameter.typed(default)
        except ValueError:
            raise UserError(
                f"the default {default!r} of parameter {name} is not {parameter.accepted}."
            ) from None
    return result


def _assignments(source: str) -> dict[str, ast.expr]:
    """The values that a cell assigns, by name."""
    result = {}
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise UserError(f"the parameters cell is no Python: {error.msg}.") from None
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                result[name] = value
            case _:
                raise UserError(
                    f"line {statement.lineno} of the parameters cell is no assignment of one name."
                )
    return result


def _declared(name: str, default: Any, comment: str) -> Parameter:
    several = isinstance(default, list)
    kinds = {type(item) for item in (default if several else [default])}
    kind = float if kinds == {int, float} else next(iter(kinds), None)
    if name in FREE:
        return Parameter(default, kind, FREE[name])
    if kind not in KINDS:
        raise UserError(
            f"the default of parameter {name} must be a number, a text, a truth value or a list."
        )
    if kind is bool:
        return Parameter(default, kind, KINDS[kind])
    words, number = comment.partition(":")[0].strip(), r"(-?[\d_.]+(?:e-?\d+)?)"
    accepted = f"{'a list, each item ' if several else ''}{KINDS[kind]}, {words}"
    bounds = re.fullmatch(rf"{number} to {number}|at least {number}", words)
    with suppress(ValueError):  # what looks like a number and is none
        if bounds and kind is not str:
            low, high = float(bounds[1] or bounds[3]), float(bounds[2] or "inf")
            return Parameter(default, kind, accepted, low, high)
        if words.startswith("one of "):
            values = re.split(r", or |, | or ", words.removeprefix("one of "))
            return Parameter(default, kind, accepted, choices=tuple(map(kind, values)))
    needed = (
        "'# one of a, b, c'" if kind is str else "'# 0 to 1', '# at least 1' or '# one of 1, 2'"
    )
    raise UserError(f"parameter {name} needs a comment {needed}, found {comment!r}.")


def parse(arguments: list[str]) -> dict[str, Any]:
    """Read ``-p key value -p key value ...``, each value by :func:`value_of`; a ``UserError`` if
    the arguments are not of that form.
    """
    triples = [arguments[start : start + 3] for start in range(0, len(arguments), 3)]
    for triple in triples:
        if len(triple) != 3 or triple[0] not in ("-p", "--parameters"):
            raise UserError(
                f"Arguments {' '.join(triple)!r} are not accepted; "
                "parameters are given as: -p key value"
            )
    keys = [triple[1] for triple in triples]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UserError(f"The value {twice!r} is given twice; give it once.")
    return {key: value_of(text) for _, key, text in triples}


def value_of(text: str) -> Any:
    """One value of a command line: a number as papermill reads it, else YAML; a ``UserError`` if it
    is neither.
    """
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise UserError(f"The value {text!r} is not valid YAML: {first}.") from None
    if isinstance(value, list):  # YAML takes 1e-2 for a text
        return [value_of(item) if isinstance(item, str) else item for item in value]
    # a text stands as it was given, but for the quotes that tell it from a number
    plain = isinstance(value, bool | dict | type(None)) or text[:1] in ("'", '"')
    return value if plain else text


def check(notebook: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Values for a notebook, each in the type of its parameter; a ``UserError`` that lists what is
    accepted on an unknown name, a wrong type or a value out of bounds.
    """
    declared, typed = of_notebook(notebook), {}
    if unknown := ", ".join(sorted(given.keys() - declared)):
        known = "; ".join(f"{name} ({parameter.accepted})" for name, parameter in declared.items())
        raise UserError(f"{notebook.name} has no parameter {unknown}; it accepts {known}.")
    for name, value in given.items():
        try:
            typed[name] = declared[name].typed(value)
        except ValueError:
            raise UserError(
                f"{notebook.name}: {name} = {value!r} is not accepted; "
                f"it must be {declared[name].accepted}."
            ) from None
    return typed


def fill(source: str, values: dict[str, Any]) -> str:
    """A parameters cell with other values in the place of its defaults; comments stay."""
    from papermill.translators import PythonTranslator

    lines = source.encode().splitlines(keepends=True)  # ast counts in bytes
    for name, node in reversed(_assignments(source).items()):
        if name in values:
            first, last = node.lineno - 1, node.end_lineno - 1
            new = PythonTranslator.translate(values[name]).encode()
            joined = lines[first][: node.col_offset] + new + lines[last][node.end_col_offset :]
            lines[first : last + 1] = [joined]
    return b"".join(lines).decode()


def differing(here: Profile, there: Profile) -> Changes:
    """The settings in which two profiles differ, by dotted path; what one of them lacks is None."""
    import pandas as pd

    profiles = (profile.model_dump(exclude={"overrides"}) for profile in (here, there))
    one, two = (pd.json_normalize(profile).iloc[0].to_dict() for profile in profiles)
    pairs = {key: (one.get(key), two.get(key)) for key in one | two}
    return {key: (a, b) for key, (a, b) in pairs.items() if a != b}


def changes(notebook: Path, own: dict[str, Any], here: Profile, there: Profile) -> Changes:
    """What differs from the book: a notebook's own parameters, then values of its profile."""
    declared = of_notebook(notebook)
    mine = {name: (value, declared[name].default) for name, value in own.items()}
    mine = {name: (a, b) for name, (a, b) in mine.items() if name not in FREE and a != b}
    return mine | differing(here, there)
