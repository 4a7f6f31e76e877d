"""Pages of the book: execute a notebook, stage the book's source, build the HTML.

Execution and rendering are separate. :func:`execute` runs a notebook once and keeps its outputs;
:func:`build` only shows what is stored. :func:`custom_page` renders a notebook that ran with other
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
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import yaml

from sacutils.files import UserError, atomic_path, digest_of, home, read_json, write_json

from . import launch
from . import parameters as typed
from . import portable as markup
from .parameters import Changes
from .portable import portable

MATHJAX = "LICENSE es5/tex-chtml.js es5/input/tex/extensions es5/output/chtml/fonts/woff-v2".split()


def execute(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Run a py:percent script from top to bottom and store it with its outputs as a notebook.

    Its one parameters cell then holds the values in force. Beside `output`, a JSON file of the
    same name states the notebook, the seconds it took and the parameters. If a cell fails, the
    notebook as far as it came is kept as ``<output>.failed.ipynb`` and `output` stays as it was.

    Raises
    ------
    UserError
        If a parameter is unknown or not accepted (see :mod:`sacbook.parameters`), before anything
        runs; or if a cell raises.
    """
    import jupytext
    import papermill

    parameters = typed.check(notebook, parameters)
    source = jupytext.read(notebook)
    for number, cell in enumerate(source.cells):
        cell["id"] = f"cell-{number}"  # jupytext's own are random
        if "parameters" in cell.metadata.get("tags", []):
            # one cell with the values in force, and not a second one, as papermill makes it
            cell.source = typed.fill(cell.source, parameters)
    failed = output.with_name(output.name + ".failed.ipynb")
    failed.unlink(missing_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    started = time.monotonic()
    with atomic_path(output) as temporary:
        nbformat.write(source, temporary)
        try:
            options = {"kernel_name": "python3", "cwd": home(), "progress_bar": False}
            quiet = ["--IPKernelApp.log_level=ERROR"]
            papermill.execute_notebook(temporary, temporary, extra_arguments=quiet, **options)
        except Exception as error:
            shutil.move(temporary, failed)
            message = _plain(str(error)).strip().splitlines()
            last = (message[-1] if message else type(error).__name__).removeprefix("UserError: ")
            raise UserError(f"{notebook.name} failed: {last} (see {failed})") from error
        executed = nbformat.read(temporary, as_version=4)
        _clean(executed)
        nbformat.write(executed, temporary)
    record = {"notebook": notebook.stem, "seconds": round(time.monotonic() - started, 1)}
    write_json(output.with_suffix(".json"), record | {"parameters": parameters})


def _plain(text: str) -> str:
    """Text of a terminal without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _clean(executed: Any) -> None:
    """Remove what differs between two equal runs or names this machine: times, paths, notes."""
    for key in executed.metadata.keys() - {"kernelspec", "language_info"}:
        del executed.metadata[key]
    for number, cell in enumerate(executed.cells):
        cell["id"] = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        for item in cell.get("outputs", []):
            data = item.get("data", {})
            for texts, key in ((item, "text"), (data, "text/plain")):
                if key in texts:
                    texts[key] = _without_paths(texts[key])
            if svg := data.get("image/svg+xml"):
                data["image/svg+xml"] = re.sub(r"\s*<dc:date>.*?</dc:date>", "", svg)


def _without_paths(text: str) -> str:
    text = text.replace(f"{home()}{os.sep}", "").replace(str(home()), ".")
    text = re.sub(r"[^\s'\"]*[/\\]site-packages[/\\]", "", text)
    return re.sub(r"[^\s'\"]*[/\\]ipykernel_\d+[/\\]\d+\.py", "cell", text)


def stage(notebooks: list[Path], stage_dir: Path, substitutions: dict[str, str]) -> None:
    """Gather the source of the book in one folder: settings, prose, executed notebooks, MathJax.

    Only files whose content changed are written, so that Sphinx renders again only what changed;
    files that are no longer part of the book are removed. Code that pages include comes along.
    Pages of prose refer to `substitutions` as ``{{ name }}``.

    Raises
    ------
    UserError
        If the table of contents names a page that does not exist.
    """
    sources = _files(home() / "book") | _mathjax() | {Path("_toc.yml"): home() / "_toc.yml"}
    sources |= {Path("notebooks") / path.name: path for path in notebooks}
    written = [path for path in sources.values() if path.suffix in (".md", ".ipynb")]
    sources |= _included_in(path.read_text(encoding="utf-8") for path in written)

    toc = sources[Path("_toc.yml")].read_text(encoding="utf-8")
    named = re.findall(r"^[\s-]*(?:root|file): *(\S+)", toc, re.MULTILINE)
    names = {path.with_suffix("").as_posix() for path in sources}
    if missing := [page for page in named if page not in names]:
        raise UserError(f"_toc.yml names pages that do not exist: {', '.join(missing)}.")

    settings = _settings()
    settings["sphinx"]["config"]["myst_substitutions"] = substitutions
    settings["html"]["extra_footer"] += " " + html.escape(substitutions.get("provenance", ""))
    contents = {name: path.read_bytes() for name, path in sources.items()}
    _fill(stage_dir, contents | {Path("_config.yml"): _yaml(settings)})


def _settings() -> dict[str, Any]:
    """The settings of ``_config.yml``; without an address there are no buttons to nowhere."""
    settings = yaml.safe_load((home() / "_config.yml").read_text(encoding="utf-8"))
    if not settings["repository"]["url"]:
        del settings["repository"], settings["launch_buttons"]
    return settings


def _yaml(settings: Any) -> bytes:
    return yaml.safe_dump(settings, allow_unicode=True, sort_keys=False).encode()


def _fill(folder: Path, contents: dict[Path, bytes]) -> None:
    """Make a folder hold these files and no others; write only what differs."""
    for name, content in contents.items():
        target = folder / name
        if not (target.is_file() and target.read_bytes() == content):
            with atomic_path(target) as temporary:
                temporary.write_bytes(content)
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
    found = {Path(target.lstrip("./")): markup.package_file(target) for target in targets}
    return {name: path for name, path in found.items() if path}


def _files(folder: Path) -> dict[Path, Path]:
    """Files below a folder by relative name, without the hidden ones that editors leave behind."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*"))}
    return {
        name: path
        for name, path in paths.items()
        if path.is_file() and not any(part.startswith(".") for part in name.parts)
    }


def build(stage_dir: Path, html_dir: Path) -> None:
    """Render what :func:`stage` gathered to HTML; warnings are errors, and after an error the old
    HTML stays.

    Raises
    ------
    UserError
        If the build reports an error or a warning.
    """
    from jupyter_book.cli.main import main as jupyter_book

    stage_dir, html_dir = stage_dir.resolve(), html_dir.resolve()
    # autodoc writes into the annotations of pydantic's base class, after which no further
    # subclass can be defined: all modules that the pages document must be there before
    for page in stage_dir.glob("api/*.md"):
        for name in re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8")):
            importlib.import_module(name)
    work = stage_dir.with_name(f".{stage_dir.name}-sphinx")
    finished = work / "finished"
    # Sphinx reports a warning only when it reads the page again, and it trusts half-written pages:
    # after a build that failed or was killed, start afresh.
    if not finished.exists():
        shutil.rmtree(work, ignore_errors=True)
    finished.unlink(missing_ok=True)
    # Within this process: a child would go on writing here after this process has been killed.
    command = ["build", "-W", "-n", "--keep-going", "--path-output", str(work), str(stage_dir)]
    log = io.StringIO()
    try:
        with redirect_stdout(log), redirect_stderr(log):
            jupyter_book(command, standalone_mode=False)
    except (SystemExit, RuntimeError):
        lines = _plain(log.getvalue()).splitlines()
        problems = [line for line in lines if re.search(r"WARNING|ERROR|CRITICAL", line)]
        tail = "\n".join((problems or lines)[-20:])
        raise UserError(f"The book did not build:\n{tail}") from None

    new, old = (html_dir.with_name(f".{html_dir.name}-{part}") for part in ("new", "old"))
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(work / "_build/html", new)
    # Sphinx does not copy a changed style sheet or extra file when no page is out of date.
    for part, target in (("_static", new / "_static"), ("_extra", new)):
        shutil.copytree(stage_dir / part, target, dirs_exist_ok=True)
    _offer_portable(stage_dir, new / "_sources")
    if html_dir.exists():
        html_dir.rename(old)
    new.rename(html_dir)
    shutil.rmtree(old, ignore_errors=True)
    finished.touch()


def _offer_portable(stage_dir: Path, downloads: Path) -> None:
    """Put a notebook that reads everywhere behind the download button of each page."""
    settings = yaml.safe_load((stage_dir / "_config.yml").read_text(encoding="utf-8"))
    published = settings.get("repository")
    repository, address = launch.addresses() if published else ("", "")
    branch = published.get("branch", "") if published else ""
    for path in sorted(downloads.rglob("*.ipynb")):
        portable(stage_dir / path.relative_to(downloads), path, address, repository, branch)


def page_name(stem: str, changed: Changes) -> str:
    """File name of a notebook that ran with other values: ``10_results--bar-0.9--seed-1``."""
    words = [(key.rpartition(".")[2], str(here)) for key, (here, _) in changed.items()]
    plain = [[re.sub(r"[^\w.+-]+", "_", part).strip("_") for part in pair] for pair in words]
    name = "--".join([stem, *("-".join(pair) for pair in plain)])
    # two settings may end in the same word, and a file name has at most 255 bytes
    twice = len({key for key, _ in words}) < len(words)
    if len(name) > 100 or twice:
        name = f"{name[:100].rstrip('-_.')}--{digest_of([stem, changed])[:8]}"
    return name


def custom_page(
    executed: Path, changed: Changes, book: Path | None = None, html: Path | None = None
) -> Path:
    """Show a notebook that ran with other values as a page in the book's theme.

    The page says at its top what was changed and leads back to the chapter; where a number in the
    text differs from the book's, the book's number stands beside it. All pages of a folder are
    built together, with an index.

    Parameters
    ----------
    executed
        The executed notebook, named by :func:`page_name`, in a folder of such notebooks; the page
        and ``index.html`` go into ``html/`` beside it.
    changed
        What differs from the book, see :func:`sacbook.parameters.changes`.
    book, html
        The same notebook as the book executed it, and the folder of the built book, if they exist.

    Raises
    ------
    UserError
        If the build reports an error or a warning.
    """
    note(executed, changed, book, html)
    return custom_pages(executed.parent) / f"{executed.stem}.html"


def note(executed: Path, changed: Changes, book: Path | None, html: Path | None) -> None:
    """Write into the record beside a notebook what :func:`custom_page` has to know of it."""
    record = read_json(executed.with_suffix(".json"))
    paths = {"book": book, "html": html}
    known = {name: str(path.resolve()) for name, path in paths.items() if path and path.exists()}
    write_json(executed.with_suffix(".json"), record | {"changed": changed} | known)


def custom_pages(folder: Path) -> Path:
    """Build the pages of all noted notebooks of a folder; returns the folder of the HTML."""
    pages, titles, rows, link = {}, {}, [], []
    for path in sorted(folder.glob("*.ipynb")):
        record = read_json(path.with_suffix(".json")) if path.with_suffix(".json").exists() else {}
        if "changed" not in record:
            continue
        pages[path.name], title = _custom(path, record, folder / "html")
        changed = record["changed"].items()
        short = ", ".join(f"{key} {here}" for key, (here, _) in changed) or "the book's values"
        titles[path.stem] = f"{title}: {short}"
        long = (f"`{key}` {_value(here)} (book: {_value(there)})" for key, (here, there) in changed)
        rows.append(f"| [{title}]({path.name}) | {'; '.join(long) or 'nothing'} |")
        if built := record.get("html"):
            book = Path(os.path.relpath(built, folder / "html")).as_posix()
            link = ["", f'<a href="{book}/index.html">The book</a> shows what its own values give.']
    head = f"Notebooks of the run `{folder.parent.name}` that were executed with changed parameters"
    lines = ["# Pages with other values", "", f"{head}:", "", "| page | changed |", "|---|---|"]
    pages["index.md"] = "\n".join([*lines, *rows, *link, ""])
    return small_book(folder, pages, titles)


def small_book(folder: Path, pages: dict[str, str], titles: dict[str, str]) -> Path:
    """Build a few pages, ``index.md`` among them, in the book's theme; returns the HTML's folder.

    `pages` are contents of files by name; `titles` those of the pages beside the index, by name
    without suffix, in their order. `folder` gets ``stage`` and ``html``.
    """
    settings = _settings()
    for key in ("repository", "launch_buttons", "bibtex_bibfiles"):
        settings.pop(key, None)
    settings["html"].pop("baseurl", None)
    # what only the book's own pages need: the API and the bibliography
    unused = re.compile(r".*\b(autodoc|napoleon|viewcode|bibtex)")
    config = settings["sphinx"]["config"]
    config = {key: value for key, value in config.items() if not unused.match(key)}
    config["extensions"] = [name for name in config["extensions"] if not unused.match(name)]
    settings["sphinx"]["config"] = config | {"myst_substitutions": {}}
    toc: dict[str, Any] = {"format": "jb-book", "root": "index"}
    if titles:
        toc["chapters"] = [{"file": name, "title": title} for name, title in titles.items()]
    sources = _mathjax() | _included_in(pages.values())
    book = _files(home() / "book")
    sources |= {name: book[name] for name in book if name.parts[0] in ("_static", "_extra")}
    contents = {name: path.read_bytes() for name, path in sources.items()}
    contents |= {Path(name): text.encode() for name, text in pages.items()}
    contents |= {Path("_config.yml"): _yaml(settings), Path("_toc.yml"): _yaml(toc)}
    _fill(folder / "stage", contents)
    build(folder / "stage", folder / "html")
    return folder / "html"


def _custom(path: Path, record: dict[str, Any], folder: Path) -> tuple[str, str]:
    """An executed notebook as JSON for :func:`small_book`, and the chapter's title."""
    notebook = nbformat.read(path, as_version=4)
    built, before = record.get("html"), {}
    if "book" in record and Path(record["book"]).exists():
        before = markup.glued_values(nbformat.read(record["book"], as_version=4))
    book = markup.Book(
        address=Path(os.path.relpath(built, folder)).as_posix() + "/" if built else "",
        rendered=True,
        glued=markup.glued_values(notebook),
        before=before,
        own=markup.labels_of(markup.prose_of(notebook)),
        suffix=f"-{digest_of(path.stem)[:8]}",
    )
    banner = _banner(record["changed"], book.chapter(record["notebook"]), bool(before))
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = markup.resolved_page(cell.source, book)
            if number == 0:
                head, _, rest = cell.source.partition("\n")
                cell.source = f"{head}\n\n{banner}\n{rest}"
        elif figure := cell.metadata.get("mystnb", {}).get("figure"):
            figure["caption"] = markup.resolve(figure.get("caption", ""), book)
            if "name" in figure:
                figure["name"] += book.suffix
    if cited := markup.references(book):
        last = nbformat.v4.new_markdown_cell(cited, id=f"cell-{len(notebook.cells)}")
        notebook.cells.append(last)
    title = book.titles.get(record["notebook"], ("", record["notebook"]))[1]
    return nbformat.writes(notebook), title


def _banner(changed: Changes, chapter: str, compared: bool) -> str:
    """The box at the top of a page with other values."""
    if compared:
        say = "Where a number in the text differs, the book's number stands beside it."
    else:
        say = "The book of this profile has not been made here, so its numbers are not shown."
    lines = ["::::{admonition} Not a page of the book", ":class: important changed-values"]
    if changed:
        lines += [f"This is the page {chapter} with other values than the book's. {say}", ""]
        lines += ["| parameter | here | in the book |", "|---|---|---|"]
        rows = ((key, _value(here), _value(there)) for key, (here, there) in changed.items())
        lines += [*(f"| `{key}` | {here} | {there} |" for key, here, there in rows), ""]
    else:
        lines += [f"This is the page {chapter}, executed again with the book's own values.", ""]
    return "\n".join([*lines, "::::", ""])


def _value(value: Any) -> str:
    return "not set" if value is None else markup.escaped(str(value))
