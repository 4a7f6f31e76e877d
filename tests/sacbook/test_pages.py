"""Execution and staging of pages."""

import json
import pkgutil
import re
from pathlib import Path

import nbformat
import pytest

import sacbook
import sacheck
import sacutils
from sacbook import pages
from sacutils import files
from sacutils.files import UserError, home

NOTEBOOK = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A page

# %% tags=["parameters"]
profile = "smoke"
count = 1  # 0 to 10

# %%
import os
import warnings

warnings.warn("look")
print(os.getcwd(), 10 // count)
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "01_page.py"
    path.write_text(NOTEBOOK)
    return path


def test_execution_stores_the_same_notebook_each_time(notebook, tmp_path):
    output = tmp_path / "made" / "01_page.ipynb"
    pages.execute(notebook, output, {"count": 5})
    first = output.read_bytes()
    assert json.loads(output.with_suffix(".json").read_text())["parameters"] == {"count": 5}
    printed = [
        item["text"] for cell in nbformat.read(output, 4).cells for item in cell.get("outputs", [])
    ]
    assert ". 2\n" in printed  # run in the repository, whose path does not show
    assert str(home()).encode() not in first and b"ipykernel_" not in first
    pages.execute(notebook, output, {"count": 5})
    assert output.read_bytes() == first


def test_one_cell_shows_the_values_in_force(notebook, tmp_path):
    pages.execute(notebook, tmp_path / "out.ipynb", {"count": 5})
    cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert len(code) == 2 and code[0] == 'profile = "smoke"\ncount = 5  # 0 to 10'


@pytest.mark.parametrize("wrong", [{"cuont": 5}, {"count": 11}, {"count": "5"}])
def test_parameters_are_checked_before_anything_runs(notebook, tmp_path, wrong):
    with pytest.raises(UserError, match=r"01_page\.py.*a whole number, 0 to 10"):
        pages.execute(notebook, tmp_path / "out.ipynb", wrong)
    assert list(tmp_path.iterdir()) == [notebook]


def test_failed_notebook_is_kept_beside(notebook, tmp_path):
    output = tmp_path / "out.ipynb"
    output.write_text("old")
    with pytest.raises(UserError, match=r"01_page\.py failed: ZeroDivisionError"):
        pages.execute(notebook, output, {"count": 0})
    assert output.read_text() == "old"
    assert (tmp_path / "out.ipynb.failed.ipynb").exists() and not (tmp_path / "out.json").exists()


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "repository"
    (root / "book" / ".venv").mkdir(parents=True)
    (root / "profiles").mkdir()
    (root / "book" / ".venv" / "readme.md").write_text("# Not a page")
    (root / "book" / "preface.md").write_text("# Preface")
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: preface\nchapters:\n- file: notebooks/01_page\n"
    )
    (root / "_config.yml").write_bytes((home() / "_config.yml").read_bytes())
    monkeypatch.setenv("SAC_HOME", str(root))
    return root


def test_stage_writes_only_what_changed(book, tmp_path):
    notebook, staged = tmp_path / "01_page.ipynb", tmp_path / "stage"
    notebook.write_text("{}")
    pages.stage([notebook], staged, {}, {})
    times = {path: path.stat().st_mtime_ns for path in staged.rglob("*") if path.is_file()}
    assert staged / "notebooks/01_page.ipynb" in times and not (staged / ".venv").exists()
    (staged / "left_over").mkdir()
    (staged / "left_over" / "page.md").write_text("# Old")
    (book / "book" / "preface.md").write_text("# Preface, changed")
    pages.stage([notebook], staged, {}, {})
    assert not (staged / "left_over").exists()
    changed = {
        path.name
        for path in staged.rglob("*")
        if path.is_file() and path.stat().st_mtime_ns != times[path]
    }
    assert changed == {"preface.md"}


def test_stage_brings_the_code_that_pages_include(book, tmp_path):
    notebook, staged = tmp_path / "01_page.ipynb", tmp_path / "stage"
    notebook.write_text(json.dumps({"source": "```{literalinclude} ../sacutils/files.py\n```"}))
    pages.stage([notebook], staged, {}, {})
    expected = (Path(files.__file__)).read_text()
    assert (staged / "sacutils" / "files.py").read_text() == expected


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"bar": (0.9, 0.95), "seed": (1, 0)}, "10_results--bar-0.9--seed-1"),
        ({"recipes.source.lr": (0.1, 0.05)}, "10_results--recipes.source.lr-0.1"),
        ({"shares": ([0.1, 0.2], [])}, "10_results--shares-0.1_0.2"),
        ({}, "10_results"),
    ],
)
def test_names_of_changed_pages_are_readable(changed, name):
    assert pages.page_name("10_results", changed) == name


def test_names_of_different_pages_differ_and_are_short():
    one = {"recipes.source.lr": (0.1, 0.05), "recipes.prune.lr": (0.2, 0.1)}
    two = {"recipes.prune.lr": (0.1, 0.05), "recipes.source.lr": (0.2, 0.1)}
    names = {pages.page_name("10_results", changed) for changed in (one, two)}
    assert len(names) == 2
    kinds = ("recipes.extract_label.epochs", "recipes.extract_probability.epochs")
    assert len({pages.page_name("04_extraction", {key: (30, 8)}) for key in kinds}) == 2
    assert len(pages.page_name("10_results", {f"key{i}": (i, 0) for i in range(99)})) < 120


def test_the_api_pages_list_every_module():
    listed = [
        name
        for page in sorted((home() / "book" / "api").glob("*.md"))
        for name in re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8"))
    ]
    modules = {
        module.name
        for package in (sacutils, sacbook, sacheck)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.ispkg and not module.name.endswith("__main__")
    }
    packages = {"sacutils", "sacutils.rivals", "sacutils.studies", "sacbook", "sacheck"}
    assert set(listed) - packages == modules and len(listed) == len(set(listed))
