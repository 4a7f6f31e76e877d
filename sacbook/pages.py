"""Pages of the book: execute a notebook, stage the book's source, build the HTML.

Execution and rendering are separate. :func:`execute` runs a notebook once and keeps its outputs;
:func:`build` only shows what is stored. :func:`custom_pages` renders notebooks that ran with other
parameters beside the book. Nothing here imports torch; the kernel that runs a notebook does.
"""

import html
import importlib
import io
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import yaml
from filelock import FileLock

from sacutils.files import (
    UserError,
    atomic_path,
    digest_of,
    fresh_folder,
    home,
    read_json,
    write_json,
)
from sacutils.profiles import Profile

from . import forked, jobs, launch
from . import parameters as typed
from . import portable as markup
from .finish import finish
from .parameters import Changes

PATIENCE = 600
"""Seconds in which a kernel must have started, however busy the machine is."""
INDEX = "# Pages with other values\n\nNotebooks with changed parameters, beside the book of the run"
PLACE = '<div class="explorer"></div>'
"""Where a page shows the explorer, in its source and in its HTML."""
EXPLORER = ("explorer.html", "explorer.svg")
"""What :func:`sacbook.explorer.write` writes: the text that stands in the pages, the picture."""
FOLDS = {"solution": "hide-cell", "test": "remove-cell"}
"""How a page shows the cells of an exercise, by tag."""
MATHJAX = "LICENSE es5/tex-chtml.js es5/input/tex/extensions es5/output/chtml/fonts/woff-v2".split()


def execute(notebook: Path, output: Path, parameters: dict[str, Any], **more: Any) -> None:
    """Run a py:percent script from top to bottom and store it with its outputs as a notebook.

    Its one parameters cell then holds the values in force. Beside `output`, a JSON file of the
    same name states the notebook, the seconds it took, the parameters and what `more` is given. If
    a cell fails, the notebook as far as it came is kept as ``<output>.failed.ipynb`` and `output`
    stays as it was. A ``UserError`` if a parameter is unknown or not accepted (see
    :mod:`sacbook.parameters`), before anything runs; or if a cell raises.
    """
    import jupytext

    parameters = typed.check(notebook, parameters)
    source = jupytext.read(notebook)
    for number, cell in enumerate(source.cells):
        cell["id"] = f"cell-{number}"  # jupytext's own are random
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and FOLDS.keys() & tags:
            cell.metadata["tags"] = tags + [FOLDS[tag] for tag in tags if tag in FOLDS]
            prompts = dict.fromkeys(("code_prompt_show", "code_prompt_hide"), "Solution")
            cell.metadata["mystnb"] = prompts
        if "parameters" in tags:
            # one cell with the values in force, and not a second one, as papermill makes it
            cell.source = typed.fill(cell.source, parameters)
    failed = output.with_name(output.name + ".failed.ipynb")
    failed.unlink(missing_ok=True)
    started = time.monotonic()
    with atomic_path(output) as temporary:
        try:
            run_cells(source, temporary, home())
        except Exception as error:
            shutil.move(temporary, failed)
            raise UserError(f"{notebook.name} failed: {last_line(error)} (see {failed})") from error
    record = {"notebook": notebook.stem, "seconds": round(time.monotonic() - started, 1)}
    write_json(output.with_suffix(".json"), record | {"parameters": parameters} | more)


def run_cells(notebook: Any, output: Path, folder: Path) -> Any:
    """Run a notebook in a folder, keep it with its outputs, and return it. What a cell raises comes
    through, and the notebook as far as it came lies in `output`.
    """
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)
    nbformat.write(notebook, output)
    papermill.execute_notebook(
        output,
        output,
        kernel_name="python3",
        cwd=folder,
        progress_bar=False,
        start_timeout=PATIENCE,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        **forked.kernels(),
    )
    executed = nbformat.read(output, as_version=4)
    clean(executed)
    markup.state_alternatives(executed)
    nbformat.write(executed, output)
    return executed


def last_line(error: Exception) -> str:
    """The last line of what an error says, without colours."""
    lines = _plain(str(error)).strip().splitlines()
    return (lines[-1] if lines else type(error).__name__).removeprefix("UserError: ")


def _plain(text: str) -> str:
    """Text of a terminal without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def clean(executed: Any) -> None:
    """Remove what differs between two equal runs or names this machine: times, paths, notes."""
    for key in executed.metadata.keys() - {"kernelspec", "language_info"}:
        del executed.metadata[key]
    for cell in executed.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        for item in cell.get("outputs", []):
            data = item.get("data", {})
            for texts, key in ((item, "text"), (data, "text/plain")):
                if key in texts:
                    texts[key] = _without_paths(texts[key])


def _without_paths(text: str) -> str:
    text = text.replace(f"{home()}{os.sep}", "").replace(str(home()), ".")
    text = re.sub(r"[^\s'\"]*[/\\]site-packages[/\\]", "", text)
    return re.sub(r"[^\s'\"]*[/\\]ipykernel_\d+[/\\]\d+\.py", "cell", text)


def stage(
    notebooks: list[Path],
    stage_dir: Path,
    substitutions: dict[str, str],
    offered: dict[Path, Path],
) -> None:
    """Gather the source of the book in one folder: settings, prose, executed notebooks, MathJax.

    Pages of prose refer to `substitutions` as ``{{ name }}``. What a run offers beside them, such
    as the files of a ``{download}``, is `offered`, by its name in the book's source.
    """
    sources = _files(home() / "book") | offered
    sources |= {Path("notebooks") / path.name: path for path in notebooks}
    settings = _settings()
    settings["sphinx"]["config"]["myst_substitutions"] = substitutions
    settings["html"]["extra_footer"] += " " + html.escape(substitutions.get("provenance", ""))
    contents = {name: path.read_bytes() for name, path in sources.items()}
    if quiz := contents.pop(Path("quiz.json"), b""):  # a page that is opened as a file fetches none
        contents[Path("_static/quiz_data.js")] = b"window.sacQuiz = " + quiz
    _fill(stage_dir, contents, settings, _read_yaml("_toc.yml"))


def _read_yaml(name: str) -> Any:
    return yaml.safe_load((home() / name).read_text(encoding="utf-8"))


def _settings() -> dict[str, Any]:
    """The settings of ``_config.yml``; without an address there are no buttons to nowhere."""
    settings = _read_yaml("_config.yml")
    if not settings["repository"]["url"]:
        del settings["repository"], settings["launch_buttons"]
    return settings


def _fill(folder: Path, contents: dict[Path, bytes], settings: Any, toc: Any) -> None:
    """Make a folder hold these files, the code that they include, MathJax, and no others.

    Only what differs is written, so that Sphinx renders again only what changed.
    """
    pages = (contents[name].decode() for name in contents if name.suffix in (".md", ".ipynb"))
    for name, path in (_mathjax() | _included_in(pages)).items():
        contents[name] = path.read_bytes()
    for name, values in (("_config.yml", settings), ("_toc.yml", toc)):
        text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
        contents[Path(name)] = text.encode()
    for name, content in contents.items():
        target = folder / name
        if not (target.is_file() and target.read_bytes() == content):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)  # what is half-written differs, and is written again
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif not path.is_dir() and path.relative_to(folder) not in contents:
            path.unlink()


def _mathjax() -> dict[Path, Path]:
    """MathJax as an extra path: Jupyter Book loads every static script on every page."""
    package = metadata.distribution("django-static-mathjax")
    mathjax = Path(str(package.locate_file("mathjax/static/mathjax")))
    return {
        Path("_extra/_static/mathjax") / name.as_posix().removeprefix("es5/"): path
        for name, path in _files(mathjax).items()
        if name.as_posix().startswith(tuple(MATHJAX))
    }


def _included_in(pages: Iterable[str]) -> dict[Path, Path]:
    """Package files whose code pages show, where ``../sacutils/attacks.py`` finds them."""
    targets = re.findall(r"\{literalinclude\} +([^\s\\\"]+)", "\n".join(pages))
    return {Path(target.lstrip("./")): markup.package_file(target) for target in targets}


def _files(folder: Path) -> dict[Path, Path]:
    """Files below a folder by relative name, without the hidden ones that editors leave behind."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*"))}
    return {
        name: path
        for name, path in paths.items()
        if path.is_file() and not any(part.startswith(".") for part in name.parts)
    }


def build(stage_dir: Path, html_dir: Path) -> None:
    """Render what :func:`stage` gathered to HTML. A ``UserError`` if the build reports an error or
    a warning; the old HTML then stays.
    """
    import jupyter_book.sphinx
    from jupyter_book.cli.main import main as jupyter_book_command
    from sphinx.application import Sphinx

    stage_dir, html_dir = stage_dir.resolve(), html_dir.resolve()
    # autodoc writes into the annotations of pydantic's base class, after which no further
    # subclass can be defined: all modules that the pages document must be there before
    for page in stage_dir.glob("api/*.md"):
        for name in re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8")):
            importlib.import_module(name)
    work = stage_dir.with_name(f".{stage_dir.name}-sphinx")
    finished = work / "finished"
    # Sphinx reports a warning only when it reads the page again, and it trusts half-written pages:
    # after a build that failed or was killed, start afresh. It also compares times: after one in
    # what is now the future, the clock having been set back, it would not see later changes.
    # And it keeps what it made of pages that are there no more.
    built = work / "_build/html/_sources"
    gone = any(not (stage_dir / path.relative_to(built)).exists() for path in built.rglob("*.*"))
    if gone or not finished.exists() or finished.stat().st_mtime > time.time():
        shutil.rmtree(work, ignore_errors=True)
    finished.unlink(missing_ok=True)
    # Within this process: a child would go on writing here after this process has been killed.
    command = ["build", "-W", "-n", "--keep-going", "--path-output", str(work), str(stage_dir)]
    log = io.StringIO()
    # its command has no option for parallel work, and not all extensions that can do it say so
    parallel = partial(jupyter_book.sphinx.build_sphinx, jobs=forked.available_cores())
    try:
        with (
            redirect_stdout(log),
            redirect_stderr(log),
            patch.object(jupyter_book.sphinx, "build_sphinx", parallel),
            patch.object(Sphinx, "is_parallel_allowed", lambda *_: True),
        ):
            jupyter_book_command(command, standalone_mode=False)
    except (SystemExit, RuntimeError):
        lines = _plain(log.getvalue()).splitlines()
        problems = [line for line in lines if re.search(r"WARNING|ERROR|CRITICAL", line)]
        tail = "\n".join((problems or lines)[-20:])
        raise UserError(f"The book did not build:\n{tail}") from None

    with fresh_folder(html_dir) as new:
        shutil.copytree(work / "_build/html", new, dirs_exist_ok=True)
        # Sphinx does not copy a changed style sheet or extra file when no page is out of date.
        for part, target in (("_static", new / "_static"), ("_extra", new)):
            shutil.copytree(stage_dir / part, target, dirs_exist_ok=True)
        _place_explorer(new)
        finish(new)
        # behind the download button of each page stands a notebook that reads everywhere
        for path in (new / "_sources").rglob("*.ipynb"):
            source = stage_dir / path.relative_to(new / "_sources")
            nbformat.write(markup.portable(source, *published()), path)
    finished.touch()


def _place_explorer(folder: Path) -> None:
    """Put the explorer into the built pages that have a place for it; Sphinx need not read it."""
    content = folder / "_static" / EXPLORER[0]
    if not content.exists():
        return
    text = content.read_text(encoding="utf-8")
    content.unlink()
    for path in [*folder.glob("*.html"), *folder.glob("*/*.html")]:
        page = path.read_text(encoding="utf-8")
        if PLACE in page:
            root = "../" * (len(path.relative_to(folder).parts) - 1)
            here = text.replace("ROOT_static/", f"{root}_static/")
            path.write_text(page.replace(PLACE, here), encoding="utf-8")


def published() -> tuple[str, str]:
    """Addresses of the repository and of the published book; empty where none is configured."""
    return launch.addresses() if "repository" in _settings() else ("", "")


def page_name(stem: str, changed: Changes) -> str:
    """File name of a notebook that ran with other values: ``10_results--bar-0.9--seed-1``."""
    words = [(key, str(here)) for key, (here, _) in changed.items()]
    plain = [[re.sub(r"[^\w.+-]+", "_", part).strip("_") for part in pair] for pair in words]
    name = "--".join([stem, *("-".join(pair) for pair in plain)])
    if len(name.encode()) > 100:  # a file name has at most 255 bytes
        start = name.encode()[:100].decode(errors="ignore").rstrip("-_.")
        name = f"{start}--{digest_of([stem, changed])[:8]}"
    return name


def made_of(notebook: str, book: Profile) -> str:
    """Digest of what a chapter of a book is made of: its script, the code that this uses, and the
    profile's values.
    """
    return digest_of([jobs.script(notebook), book.model_dump(mode="json")])


def custom_pages(folder: Path, book: Profile, new: str = "") -> Path:
    """Show notebooks that ran with other values as pages in the book's theme, with an index;
    returns the folder of the HTML.

    A page says at its top what was changed and leads back to the chapter; where a number in the
    text differs from the book's, the book's number stands beside it. `folder` has the notebooks
    that :func:`execute` made, with the notes `changed`, what :func:`sacbook.parameters.changes`
    found, and `made_of`, see :func:`made_of`: a page whose chapter has changed since says so, and
    is compared with nothing. `book` is the profile of the book that the pages stand beside, if it
    has been made. A ``UserError`` if the page `new` cannot be shown; another one is left out then.
    """
    run = book.run_name
    html, pages, titles = home() / "_build" / run / "html", {}, {}
    beside = Path(os.path.relpath(html, folder / "html")).as_posix()
    address = f"{beside}/" if html.exists() else ""
    with FileLock(folder / ".lock"):  # several may be made at once
        for path in sorted(folder.glob("[!.]*.json")):
            record, notebook = read_json(path), path.with_suffix(".ipynb")
            before = home() / "runs" / run / "notebooks" / f"{record['notebook']}.ipynb"
            try:
                current = made_of(record["notebook"], book)
                old = record.get("made_of") != current
                pages[notebook.name], title = _custom(notebook, record, before, address, old)
            except (UserError, OSError) as error:
                if path.stem == new:
                    raise
                print(f"{notebook.name} is left out: {error}")
                continue
            values = ", ".join(f"{key} {here}" for key, (here, _) in record["changed"].items())
            titles[path.stem] = f"{title}: {values or 'as in the book'}"
        pages["index.md"] = f"{INDEX} `{run}`.\n\n```{{tableofcontents}}\n```\n"
        return small_book(folder, pages, titles)


def small_book(folder: Path, pages: dict[str, str], titles: dict[str, str]) -> Path:
    """Build a few pages, ``index.md`` among them, in the book's theme; returns the HTML's folder.

    `pages` are contents of files by name; `titles` those of the pages beside the index, by name
    without suffix, in their order. `folder` gets ``stage`` and ``html``.
    """
    settings = _settings()
    settings.pop("repository", None)
    settings.pop("launch_buttons", None)
    toc: dict[str, Any] = {"format": "jb-book", "root": "index"}
    if titles:
        toc["chapters"] = [{"file": name, "title": title} for name, title in titles.items()]
    kept = ("_static", "_extra", "references.bib")
    sources = {
        name: path for name, path in _files(home() / "book").items() if name.parts[0] in kept
    }
    contents = {name: path.read_bytes() for name, path in sources.items()}
    contents |= {Path(name): text.encode() for name, text in pages.items()}
    _fill(folder / "stage", contents, settings, toc)
    build(folder / "stage", folder / "html")
    return folder / "html"


def _custom(
    path: Path, record: dict[str, Any], before: Path, address: str, old: bool
) -> tuple[str, str]:
    """An executed notebook as JSON for :func:`small_book`, and the chapter's title."""
    notebook = nbformat.read(path, as_version=4)
    known = before.exists() and not old
    book = markup.Book(
        address=address,
        rendered=True,
        glued=markup.glued_values(notebook),
        before=markup.glued_values(nbformat.read(before, as_version=4)) if known else {},
        own=markup.labels_of(markup.prose_of(notebook)),
        suffix=f"-{digest_of(path.stem)[:8]}",
    )
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = markup.markdown(cell.source, book)
        elif figure := cell.metadata.get("mystnb", {}).get("figure"):
            figure["caption"] = markup.resolve(figure.get("caption", ""), book)
            if "name" in figure:
                figure["name"] += book.suffix
    first = notebook.cells[0]
    head, _, rest = first.source.partition("\n")
    banner = _banner(record["changed"], book.chapter(record["notebook"]), known, old)
    first.source = f"{head}\n\n{banner}\n{rest}"
    return nbformat.writes(notebook), head.removeprefix("# ")


def _banner(changed: Changes, chapter: str, compared: bool, old: bool) -> str:
    """The box at the top of a page with other values."""
    if old:
        say = "The chapter, its code or the profile has changed since: execute this page again."
    elif compared:
        say = "Where a number in the text differs, the book's number stands beside it."
    else:
        say = "The book of this profile has not been made here, so its numbers are not shown."
    same = f"This is the page {chapter}, executed again with the book's own values."
    lines = [f"{same} {say}" if old else same]
    if changed:
        lines = [f"This is the page {chapter} with other values than the book's. {say}", ""]
        values = [[f"`{key}`", shown(a), shown(b)] for key, (a, b) in changed.items()]
        lines.append(table(["parameter", "here", "in the book"], values))
    head = "::::{admonition} Not a page of the book\n:class: important changed-values"
    return "\n".join([head, *lines, "", "::::", ""])


def table(heads: list[str], lines: list[list[str]]) -> str:
    """A table in Markdown from the heads of its columns and the texts of its lines."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def shown(value: Any) -> str:
    """A value of a profile or a notebook in Markdown."""
    return "not set" if value is None else markup.escaped(str(value))
