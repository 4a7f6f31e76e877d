"""Typed and bounded parameters of notebooks."""

from pathlib import Path

import pytest

from sacbook import parameters
from sacutils.files import UserError, home
from sacutils.profiles import load_profile

CELL = """\
profile = "smoke"
overrides = {}
bar = 0.95  # 0.5 to 1: the AUC that the claim demands
images = 200  # at least 1
probe_set = "w"  # one of normal, source, w, m or jc
level = 2  # one of 1, 2, 4
corrected = True
shares = [0.2,
          0.5]  # 0.05 to 0.95
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "01_page.py"
    path.write_text(f'# %% tags=["parameters"]\n{CELL}')
    return path


def test_comments_say_what_is_accepted(notebook):
    accepted = {name: p.accepted for name, p in parameters.of_notebook(notebook).items()}
    assert accepted == {
        "profile": "a file of profiles/",
        "overrides": "values of the profile",
        "bar": "a number, 0.5 to 1",
        "images": "a whole number, at least 1",
        "probe_set": "a text, one of normal, source, w, m or jc",
        "level": "a whole number, one of 1, 2, 4",
        "corrected": "true or false",
        "shares": "a list, each item a number, 0.05 to 0.95",
    }


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bar", "1", 1.0),
        ("bar", "0.5", 0.5),
        ("bar", "6e-1", 0.6),
        ("images", "1", 1),
        ("probe_set", "jc", "jc"),
        ("level", "4", 4),
        ("corrected", "false", False),
        ("corrected", "True", True),
        ("shares", "[5e-2, 0.1]", [0.05, 0.1]),
        ("overrides", "{seed: 1}", {"seed": 1}),
    ],
)
def test_values_get_the_type_of_the_parameter(notebook, name, text, value):
    typed = parameters.check(notebook, parameters.parse(["-p", name, text]))
    assert typed == {name: value} and type(typed[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bar", "0.49"),
        ("bar", "nan"),
        ("bar", "high"),
        ("images", "0"),
        ("images", "1e2"),
        ("images", "true"),
        ("probe_set", "x"),
        ("probe_set", "1"),
        ("level", "3"),
        ("corrected", "1"),
        ("shares", "0.5"),
        ("shares", "[]"),
        ("shares", "[0.5, 0.99]"),
        ("overrides", "seed"),
    ],
)
def test_other_values_are_refused_with_what_is_accepted(notebook, name, text):
    accepted = parameters.of_notebook(notebook)[name].accepted
    with pytest.raises(UserError) as error:
        parameters.check(notebook, parameters.parse(["-p", name, text]))
    assert str(error.value).startswith(f"01_page.py: {name} = ")
    assert str(error.value).endswith(f"it must be {accepted}.")


def test_a_wrong_name_is_refused_with_all_that_are_accepted(notebook):
    with pytest.raises(UserError, match=r"no parameter bra; it accepts .*bar \(a number, 0.5 to"):
        parameters.check(notebook, {"bra": 1})


@pytest.mark.parametrize("arguments", [["bar", "1"], ["-p", "bar"], ["-p", "bar", "[1"]])
def test_other_arguments_are_refused(arguments):
    with pytest.raises(UserError):
        parameters.parse(arguments)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bar = 0.5", "parameter bar needs a comment"),
        ("bar = 0.5  # any", "parameter bar needs a comment"),
        ('name = "w"  # 0 to 1', "needs a comment '# one of a, b, c'"),
        ("bar = 2.0  # 0 to 1", "default 2.0 of parameter bar is not a number, 0 to 1"),
        ('name = "x"  # one of a, b', "default 'x' of parameter name is not a text, one of a, b"),
        ("bar = 1 / 2  # 0 to 1", "must be a literal"),
        ("a, b = 1, 2  # 0 to 1", "no assignment of one name"),
        ("print(1)", "no assignment of one name"),
        ("bar = []  # 0 to 1", "must be a number, a text, a truth value or a list"),
    ],
)
def test_a_cell_that_breaks_the_rules_is_refused(line, words):
    with pytest.raises(UserError, match=words.replace("'", ".")):
        parameters.of_cell(line)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = (", "no Python"),
        ("x = 1  # one of a, b", "comment"),
        ("x = 1.0  # 1.2.3 to 5", "1.2.3"),
    ],
)
def test_what_is_no_python_or_no_bound_is_one_sentence(source, words):
    with pytest.raises(UserError, match=words):
        parameters.of_cell(source)


def test_a_value_in_quotes_is_a_text_and_none_is_given_twice():
    assert parameters.parse(["-p", "x", '"2024"', "-p", "y", "'a b'", "-p", "z", "it's"]) == {
        "x": "2024",
        "y": "a b",
        "z": "it's",
    }
    with pytest.raises(UserError, match="'x' is given twice"):
        parameters.parse(["-p", "x", "1", "-p", "x", "2"])


def test_filling_keeps_comments_and_other_lines():
    filled = parameters.fill(
        CELL, {"bar": 0.9, "probe_set": "m", "shares": [0.1], "overrides": {"seed": 1}}
    )
    expected = CELL.replace("0.95  #", "0.9  #").replace('"w"', '"m"')
    expected = expected.replace("[0.2,\n          0.5]", "[0.1]").replace("{}", '{"seed": 1}')
    assert filled == expected
    assert parameters.fill('a = "ü"; b = 1', {"b": 2}) == 'a = "ü"; b = 2'


def test_changes_are_own_values_then_those_of_the_profile(notebook):
    here, there = (
        load_profile("smoke", {"seed": 1, "recipes.source.epochs": 4}),
        load_profile("smoke"),
    )
    assert parameters.changes(notebook, {"bar": 0.9, "images": 200}, here, there) == {
        "bar": (0.9, 0.95),
        "seed": (1, there.seed),
        "recipes.source.epochs": (4, 3),
    }


@pytest.mark.parametrize("path", sorted((home() / "notebooks").glob("*.py")), ids=lambda p: p.stem)
def test_parameters_of_every_notebook_are_typed_and_bounded(path):
    declared = parameters.of_notebook(path)
    assert list(declared)[:2] == list(parameters.FREE)
