"""Execution and staging of pages."""

import json
from pathlib import Path

import nbformat
import pytest

from sacutils import pages
from sacutils.artefacts import UserError

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
count: int = 1

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
    printed = [item["text"] for cell in nbformat.read(output, 4).cells for item in cell.get("outputs", [])]
    assert ". 2\n" in printed  # run in the repository, whose path does not show
    assert str(pages.ROOT).encode() not in first and b"ipykernel_" not in first
    pages.execute(notebook, output, {"count": 5})
    assert output.read_bytes() == first


def test_unknown_parameter_is_refused(notebook, tmp_path):
    with pytest.raises(UserError, match=r"01_page\.py has no parameter cuont; it accepts profile, count"):
        pages.execute(notebook, tmp_path / "out.ipynb", {"cuont": 5})


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
    (root / "book" / ".venv" / "readme.md").write_text("# Not a page")
    (root / "book" / "preface.md").write_text("# Preface")
    (root / "_toc.yml").write_text("format: jb-book\nroot: preface\nchapters:\n- file: notebooks/01_page\n")
    (root / "_config.yml").write_bytes((pages.ROOT / "_config.yml").read_bytes())
    monkeypatch.setattr(pages, "ROOT", root)
    return root


def test_stage_writes_only_what_changed(book, tmp_path):
    notebook, staged = tmp_path / "01_page.ipynb", tmp_path / "stage"
    notebook.write_text("{}")
    pages.stage([notebook], staged, {})
    times = {path: path.stat().st_mtime_ns for path in staged.rglob("*") if path.is_file()}
    assert staged / "notebooks/01_page.ipynb" in times and not (staged / ".venv").exists()
    (staged / "left_over").mkdir()
    (staged / "left_over" / "page.md").write_text("# Old")
    (book / "book" / "preface.md").write_text("# Preface, changed")
    pages.stage([notebook], staged, {})
    assert not (staged / "left_over").exists()
    changed = {path.name for path in staged.rglob("*") if path.is_file() and path.stat().st_mtime_ns != times[path]}
    assert changed == {"preface.md"}


def test_stage_names_missing_pages(book, tmp_path):
    with pytest.raises(UserError, match="notebooks/01_page"):
        pages.stage([], tmp_path / "stage", {})
