"""Exercises and what is made of them: solutions pass, everything else fails, no answer gets out."""

import ast
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jupytext
import nbformat
import numpy as np
import pytest

from sacbook import handouts, jobs
from sacutils.files import home, read_json

CHAPTERS = [name for name in jobs.notebook_names() if name != jobs.STATUS]
NOTEBOOKS = {name: jupytext.read(jobs.source_of(name)) for name in CHAPTERS}


def exercises(notebook):
    """The code of each exercise that has a test: what is given, solution, test."""
    found = []
    for cell in notebook.cells:
        part = handouts.part_of(cell)
        if part == "exercise" and cell.cell_type == "markdown":
            found.append(SimpleNamespace(given="", solution="", test=""))
        elif part and cell.cell_type == "code":
            setattr(found[-1], "given" if part == "exercise" else part, cell.source)
    return [exercise for exercise in found if exercise.test]


EXERCISES = [
    pytest.param(name, exercise, id=f"{name}-{number}")
    for name, notebook in NOTEBOOKS.items()
    for number, exercise in enumerate(exercises(notebook), 1)
]


def passes(*parts, **values):
    """Whether code runs to its end, with nothing but what a submission may use."""
    space = {"np": np, "math": math}
    try:
        for number, part in enumerate(parts):
            exec(part, space)
            space |= values if number == len(parts) - 2 else {}
    except Exception:
        return False
    return True


def wrong(value):
    """Another value of the same kind."""
    if callable(value):
        return lambda *arguments: 0.123
    if isinstance(value, set | dict):
        return type(value)()
    return value + 1


def test_every_chapter_has_exercises_with_checks():
    assert len(EXERCISES) >= 40
    assert {param.values[0] for param in EXERCISES} == set(CHAPTERS)


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_the_solution_passes_and_no_other_answer_does(chapter, exercise):
    assert passes(exercise.given, exercise.solution, exercise.test)
    assert not passes(exercise.given, exercise.test)
    assert not passes(exercise.given, handouts.STUB, exercise.test)
    space = {"np": np, "math": math}
    exec(exercise.solution, space)
    asked = {node.id for node in ast.walk(ast.parse(exercise.test)) if isinstance(node, ast.Name)}
    defined = {node.id for node in names(exercise.solution)} & asked
    assert defined
    for name in defined:
        values = {name: wrong(space[name])}
        assert not passes(exercise.given, exercise.solution, exercise.test, **values)


def names(source):
    """Names that code binds at its top, as nodes with `id`."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            yield SimpleNamespace(id=node.name)
        for inner in ast.walk(node) if isinstance(node, ast.Assign) else ():
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                yield inner


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_an_unanswered_exercise_finds_no_answer_elsewhere_on_its_page(chapter):
    # what a chapter computes itself would pass the test of a blank cell
    cells = [cell for cell in NOTEBOOKS[chapter].cells if cell.cell_type == "code"]
    page = "\n".join(cell.source for cell in cells if not handouts.part_of(cell))
    own = [cell.source for cell in cells if handouts.part_of(cell) == "solution"]
    known = {node.id for node in ast.walk(ast.parse(page)) if isinstance(node, ast.Name)}
    answers = [node.id for source in own for node in names(source)]
    answers = [name for name in answers if name not in ("one", "other")]  # steps on the way
    assert not known & set(answers) and len(set(answers)) == len(answers)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_student_version_holds_no_answer(chapter):
    student, graded = (
        handouts.version(NOTEBOOKS[chapter], chapter, kind) for kind in ("student", "graded")
    )
    text = nbformat.writes(student)
    secret = 0
    for cell in NOTEBOOKS[chapter].cells:
        if handouts.part_of(cell) in ("solution", "test"):
            for line in filter(None, map(str.strip, cell.source.splitlines())):
                if (
                    len(line) > 8
                    and line != ":::{dropdown} Solution"
                    and line not in ("```python",)
                ):
                    secret += 1
                    assert line not in text
    assert secret and "HIDDEN" not in text
    about = [[cell.metadata.get("nbgrader") for cell in made.cells] for made in (student, graded)]
    assert about[0] == about[1]
    ids = [each["grade_id"] for each in about[0] if each]
    assert len(set(ids)) == len(ids)
    nbformat.validate(graded)


def write(folder, kind, chapter="09_probes"):
    path = folder / f"{kind}.ipynb"
    nbformat.write(handouts.version(NOTEBOOKS[chapter], chapter, kind), path)
    return path


def test_the_checker_needs_nothing_of_the_book(tmp_path):
    paths = [write(tmp_path, kind) for kind in ("graded", "solution", "student")]
    cheat = nbformat.read(paths[2], 4)
    for cell in cheat.cells:
        if handouts.part_of(cell) == "solution" and cell.cell_type == "code":
            cell.source = "import sys\nsys.exit(0)"
    nbformat.write(cheat, tmp_path / "cheat.ipynb")
    # letters that no Windows code page has
    right = nbformat.read(paths[1], 4)
    for cell in right.cells:
        if handouts.part_of(cell) == "solution" and cell.cell_type == "code":
            cell.source = f"σ = '猫'\n{cell.source}"
    nbformat.write(right, paths[1])
    checker = Path(handouts.__file__).with_name("points.py")
    command = [sys.executable, checker, *paths, tmp_path / "cheat.ipynb"]
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    pipes = {"capture_output": True, "text": True, "env": ascii_only}
    done = subprocess.run(command, cwd=tmp_path, check=True, **pipes)
    assert [line.split()[-3:] for line in done.stdout.splitlines() if "checked" in line] == [
        ["2", "of", "2"],
        ["0", "of", "2"],
        ["0", "of", "2"],
    ]
    assert done.stdout.count("to be read of 2") == 3
    (tmp_path / "broken.ipynb").write_text("{}")
    done = subprocess.run([*command[:2], paths[0], tmp_path / "broken.ipynb"], capture_output=True)
    assert done.returncode == 1 and done.stderr.startswith(str(tmp_path).encode())
    # the student version as the key would give full points to everybody
    done = subprocess.run([*command[:2], paths[2], paths[2]], capture_output=True, text=True)
    assert done.returncode == 1 and "graded" in done.stderr and not done.stdout


@pytest.mark.browser
def test_hand_outs_of_an_executed_chapter(tmp_path):
    path = home() / "runs" / "smoke" / "notebooks" / "08_sample_correlation.ipynb"
    assert path.exists(), "Build the smoke book first: make book PROFILE=smoke"
    tmp_path /= "handouts"
    lines = handouts.make([path], tmp_path)
    assert lines[0] == "3 exercises, 3 with checks"
    student = nbformat.read(tmp_path / "student" / path.name, 4)
    written = [cell for cell in student.cells if handouts.part_of(cell) == "solution"]
    assert [cell.source for cell in written] == [handouts.STUB] * 3
    assert not any(cell.outputs for cell in written)
    assert any(cell.get("outputs") for cell in student.cells)
    text = "\n".join(cell.source for cell in student.cells if cell.cell_type == "markdown")
    assert "{glue" not in text and "{doc}" not in text
    for sheet in ("exam.md", "exam_key.md"):
        assert (tmp_path / sheet).read_text(encoding="utf-8").startswith("# Exam bank")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "check.py",
        "exam.md",
        "exam_key.md",
    ]


def test_the_exam_has_an_answer_for_each_question():
    bank = read_json(home() / "book" / "exam.json")
    entries = [entry for part in bank.values() for entry in part]
    assert len(entries) >= 25 and all(entry["points"] > 0 for entry in entries)
    sheet, key = handouts.exam()
    for entry in entries:
        assert entry["question"] in sheet and entry["key"] not in sheet
        assert entry["question"] in key and entry["key"] in key
