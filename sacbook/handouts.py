"""Hand-outs from an executed book: student, solution and graded notebooks, and an exam.

Exercises live in the sources of the chapters as cells with one of three tags: `exercise` (the
question, and code that is given), `solution` and `test`. An exercise begins with a Markdown cell.
Its code uses nothing of the chapter but ``np`` and ``math``, so that it runs without a run.

The metadata are those of nbgrader, and the graded version is what its ``generate_assignment``
takes; :mod:`sacbook.points` gives points without it. An answer in words has no test: a person reads
it.
"""

import copy
import json
from pathlib import Path
from typing import Any

import nbformat

from sacutils import files

from . import pages
from . import portable as markup

PARTS = ("exercise", "solution", "test")
VERSIONS = ("student", "solution", "graded")
# nbgrader's own words, so that it makes the student version of the graded one
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
ANSWER = "YOUR ANSWER HERE"
NEEDED = "# The exercises need nothing else of this page.\nimport math\n\nimport numpy as np"
HEAD = (
    "**Exercises of a chapter.** Run the next cell and go to *On your own*; the cells between them "
    "need the models of the book."
)
IN_WORDS = 2
"""Points for an answer in words."""


def part_of(cell: Any) -> str | None:
    """Which part of an exercise a cell is, if it is one."""
    return next((tag for tag in cell.metadata.get("tags", []) if tag in PARTS), None)


def points(cell: Any) -> int:
    """One point for each assertion of a test; a fixed number for an answer in words."""
    return cell.source.count("assert ") if cell.cell_type == "code" else IN_WORDS


def version(notebook: Any, chapter: str, kind: str) -> Any:
    """One of the `VERSIONS` of a chapter's notebook, as a new notebook.

    In the student version solutions are stubs, tests are empty and neither has outputs. In the
    graded version both stand between nbgrader's markers, and no cell has outputs. The solution
    version keeps everything.
    """
    made, number = copy.deepcopy(notebook), 0
    for cell in made.cells:
        part, code = part_of(cell), cell.cell_type == "code"
        if code and (kind == "graded" or (part and kind == "student")):
            cell.outputs, cell.execution_count = [], None
        if part is None:
            continue
        number += part == "exercise" and not code
        word = "given" if part == "exercise" and code else part
        # folds and hidden cells are the book's
        cell.metadata = nbformat.from_dict({"tags": [part]})
        cell.metadata["nbgrader"] = _nbgrader(cell, part, f"{chapter}-{number}-{word}")
        if kind == "solution" or part == "exercise":
            continue
        cell.source = _written(cell, part, kind, number)
    made.cells.insert(0, nbformat.v4.new_markdown_cell(HEAD, id="about"))
    made.cells.insert(1, nbformat.v4.new_code_cell(NEEDED, id="needed"))
    return made


def _nbgrader(cell: Any, part: str, name: str) -> dict[str, Any]:
    graded = part == "test" or (part == "solution" and cell.cell_type == "markdown")
    about = {"grade": graded, "grade_id": name, "locked": part != "solution", "schema_version": 3}
    about |= {"solution": part == "solution", "task": False}
    return about | ({"points": points(cell)} if graded else {})


def _written(cell: Any, part: str, kind: str, number: int) -> str:
    """What the student or the graded version says instead of a solution or a test."""
    if cell.cell_type == "markdown":
        return ANSWER if kind == "student" else cell.source
    if part == "test":
        head = f"# Checks of exercise {number}, points: {points(cell)}"
        hidden = f"\n### BEGIN HIDDEN TESTS\n{cell.source}\n### END HIDDEN TESTS"
        return head if kind == "student" else head + hidden
    return STUB if kind == "student" else f"### BEGIN SOLUTION\n{cell.source}\n### END SOLUTION"


def make(executed: list[Path], folder: Path) -> list[str]:
    """Write the hand-outs of executed chapters as a new folder; returns what was made, in lines.

    Each version is a folder of notebooks of plain Markdown with all values resolved. Beside them
    lie ``check.py``, the exam and its key.
    """
    made: dict[str, list[Path]] = {kind: [] for kind in VERSIONS}
    exercises = checked = 0
    with files.fresh_folder(folder) as new:
        for path in executed:
            notebook = markup.portable(path, *pages.published())
            parts = [(part_of(cell), cell.cell_type) for cell in notebook.cells]
            if not (number := parts.count(("exercise", "markdown"))):
                continue
            exercises, checked = exercises + number, checked + parts.count(("test", "code"))
            for kind in VERSIONS:
                target = new / kind / path.name
                files.write_text(target, nbformat.writes(version(notebook, path.stem, kind)))
                made[kind].append(target)
        made["the exam"] = [new / "exam.md", new / "exam_key.md"]
        for target, text in zip(made["the exam"], exam(), strict=True):
            files.write_text(target, text)
        checker = Path(__file__).with_name("points.py").read_text(encoding="utf-8")
        files.write_text(new / "check.py", checker)
        lines = [f"{exercises} exercises, {checked} with checks"]
        for kind, paths in made.items():
            lines.append(f"{kind:10s}{len(paths):3d} files {files.megabytes(*paths):>8s}")
    return lines


def exam() -> tuple[str, str]:
    """The exam bank of ``book/exam.json`` as a document without and one with answers."""
    bank = json.loads((files.home() / "book" / "exam.json").read_text(encoding="utf-8"))
    total = sum(entry["points"] for part in bank.values() for entry in part)
    head = f"{{}}\n\nChoose from {sum(map(len, bank.values()))} questions, {total} points in all."
    sheets, book = [head.format("# Exam bank"), head.format("# Exam bank: the key")], markup.Book()
    number = 0
    for chapter, entries in bank.items():
        sheets = [f"{text}\n\n## {book.chapter(chapter)}" for text in sheets]
        for entry in entries:
            number += 1
            line = f"\n\n**{number}.** ({entry['points']} points) {entry['question']}"
            sheets = [text + line for text in sheets]
            sheets[1] += f"\n\n> {entry['key']}"
    return sheets[0] + "\n", sheets[1] + "\n"
