"""Pages of the book: execute a notebook, stage the book's source, build the HTML.

Execution and rendering are separate. :func:`execute` runs a notebook once and keeps its outputs; :func:`build` only
shows what is stored. Nothing here imports torch; the kernel that runs a notebook does.
"""

import ast
import html
import io
import logging
import os
import re
import shutil
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from sacutils.artefacts import UserError, atomic_path, write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
MATHJAX = ("LICENSE", "es5/tex-chtml.js", "es5/input/tex/extensions", "es5/output/chtml/fonts/woff-v2")


def execute(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Run a notebook from top to bottom and store it with its outputs.

    Beside `output`, a JSON file of the same name states the notebook, the seconds it took and the parameters. If a cell
    fails, the notebook as far as it came is kept as ``<output>.failed.ipynb`` and `output` stays as it was.

    Parameters
    ----------
    notebook
        A py:percent script with one cell tagged ``parameters``.
    output
        The notebook to write, an ``.ipynb`` file.
    parameters
        Values that replace those of the parameters cell.

    Raises
    ------
    UserError
        If a parameter is unknown or a cell raises an exception.
    """
    import jupytext
    import nbformat
    import papermill

    notebook, output = Path(notebook), Path(output)
    source = jupytext.read(notebook)
    _check_parameters(notebook, parameters)
    for number, cell in enumerate(source.cells):  # jupytext's random identifiers would make every run a new notebook
        cell["id"] = f"cell-{number}"
    failed = output.with_name(output.name + ".failed.ipynb")
    failed.unlink(missing_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    started = time.monotonic()
    with atomic_path(output) as temporary:
        nbformat.write(source, temporary)
        try:
            papermill.execute_notebook(
                temporary,
                temporary,
                parameters,
                kernel_name="python3",
                cwd=ROOT,
                progress_bar=False,
                log_output=False,
                extra_arguments=["--IPKernelApp.log_level=ERROR"],
            )
        except Exception as error:
            shutil.move(temporary, failed)
            message = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
            last = (message[-1] if message else type(error).__name__).removeprefix("UserError: ")
            raise UserError(f"{notebook.name} failed: {last} (see {failed})") from error
        executed = nbformat.read(temporary, as_version=4)
        _clean(executed)
        nbformat.write(executed, temporary)
    seconds = round(time.monotonic() - started, 1)
    write_json(output.with_suffix(".json"), {"notebook": notebook.stem, "seconds": seconds, "parameters": parameters})


def parameters_of(notebook: Path) -> list[str]:
    """Names that a notebook's parameters cell assigns.

    Raises
    ------
    UserError
        If the notebook does not have exactly one such cell.
    """
    import jupytext

    source = jupytext.read(notebook)
    cells = [cell for cell in source.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise UserError(f"{notebook.name} needs exactly one cell tagged 'parameters', found {len(cells)}.")
    accepted = []
    for statement in ast.parse(cells[0].source).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        accepted += [target.id for target in targets if isinstance(target, ast.Name)]
    return accepted


def _check_parameters(notebook: Path, parameters: dict[str, Any]) -> None:
    """Papermill only warns about a parameter that the notebook does not have: a misspelt one must not pass."""
    accepted = parameters_of(notebook)
    unknown = sorted(set(parameters) - set(accepted))
    if unknown:
        raise UserError(f"{notebook.name} has no parameter {', '.join(unknown)}; it accepts {', '.join(accepted)}.")


def to_html(executed: Path) -> Path:
    """Show an executed notebook as one HTML page beside it.

    Returns
    -------
    pathlib.Path
        The page.
    """
    from nbconvert import HTMLExporter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glued values have a media type that nbconvert does not show
        body, _ = HTMLExporter(embed_images=True).from_filename(str(executed))
    write_text(executed.with_suffix(".html"), body)
    return executed.with_suffix(".html")


def _clean(executed: Any) -> None:
    """Remove what differs between two equal runs or names this machine: times, paths, papermill's notes."""
    executed.metadata = {key: executed.metadata[key] for key in ("kernelspec", "language_info") if key in executed.metadata}
    for number, cell in enumerate(executed.cells):
        cell["id"] = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        for item in cell.get("outputs", []):
            if "text" in item:
                item["text"] = _without_paths(item["text"])
            data = item.get("data", {})
            if "text/plain" in data:
                data["text/plain"] = _without_paths(data["text/plain"])
            if "image/svg+xml" in data:
                data["image/svg+xml"] = re.sub(r"\s*<dc:date>.*?</dc:date>", "", data["image/svg+xml"])


def _without_paths(text: str) -> str:
    text = text.replace(f"{ROOT}{os.sep}", "").replace(str(ROOT), ".")
    text = re.sub(r"[^\s'\"]*[/\\]site-packages[/\\]", "", text)
    return re.sub(r"[^\s'\"]*[/\\]ipykernel_\d+[/\\]\d+\.py", "cell", text)


def stage(notebooks: list[Path], stage_dir: Path, substitutions: dict[str, str]) -> None:
    """Gather the source of the book in one folder: configuration, prose, executed notebooks and MathJax.

    Only files whose content changed are written, so that Sphinx renders again only what changed; files that are no
    longer part of the book are removed.

    Parameters
    ----------
    notebooks
        Executed notebooks.
    stage_dir
        The folder to fill.
    substitutions
        Computed values that prose pages refer to as ``{{ name }}``.

    Raises
    ------
    UserError
        If the table of contents names a page that does not exist.
    """
    sources = {Path(path.name): path for path in (ROOT / "_config.yml", ROOT / "_toc.yml")}
    sources |= _files(ROOT / "book")
    sources |= {Path("notebooks") / path.name: path for path in map(Path, notebooks)}
    # As an extra path and not as static files: Jupyter Book would load each script that it finds there on every page.
    mathjax = Path(metadata.distribution("django-static-mathjax").locate_file("mathjax/static/mathjax"))
    for part in MATHJAX:
        files = _files(mathjax / part) if (mathjax / part).is_dir() else {Path(): mathjax / part}
        target = Path("_extra/_static/mathjax") / part.removeprefix("es5/")
        sources |= {target / name: path for name, path in files.items()}

    names = {path.with_suffix("").as_posix() for path in sources}
    missing = [page for page in toc_pages(ROOT / "_toc.yml") if page not in names]
    if missing:
        raise UserError(f"_toc.yml names pages that do not exist: {', '.join(missing)}.")

    for name, path in sources.items():
        content = path.read_bytes()
        if name.name == "_config.yml":
            content = _configured(content, substitutions)
        target = stage_dir / name
        if not (target.is_file() and target.read_bytes() == content):
            with atomic_path(target) as temporary:
                temporary.write_bytes(content)
    for path in sorted(stage_dir.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif not path.is_dir() and path.relative_to(stage_dir) not in sources:
            path.unlink()


def _files(folder: Path) -> dict[Path, Path]:
    """Files below a folder by their relative name, without hidden files and folders: editors leave some behind."""
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return {name: folder / name for name in names if not any(part.startswith(".") for part in name.parts)}


def _configured(config: bytes, substitutions: dict[str, str]) -> bytes:
    """The configuration with computed values, what made them at the foot of each page, and no launch button to nowhere."""
    settings = yaml.safe_load(config)
    settings["sphinx"]["config"]["myst_substitutions"] = substitutions
    settings["html"]["extra_footer"] += " " + html.escape(substitutions.get("provenance", ""))
    if not settings["repository"]["url"]:
        del settings["repository"], settings["launch_buttons"]
    return yaml.safe_dump(settings, allow_unicode=True).encode()


def toc_pages(toc: Path) -> list[str]:
    """Pages that a table of contents names, in reading order, without suffixes."""

    def walk(node: Any) -> list[str]:
        if isinstance(node, list):
            return [page for item in node for page in walk(item)]
        if not isinstance(node, dict):
            return []
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [page for key in ("parts", "chapters", "sections") for page in walk(node.get(key))]

    return walk(yaml.safe_load(Path(toc).read_text(encoding="utf-8")))


def build(stage_dir: Path, html_dir: Path) -> None:
    """Render the staged source to HTML; warnings are errors, and after an error the old HTML stays.

    Parameters
    ----------
    stage_dir
        The folder that :func:`stage` filled.
    html_dir
        Where the book goes.

    Raises
    ------
    UserError
        If the build reports an error or a warning.
    """
    from jupyter_book.cli.main import main as jupyter_book

    stage_dir, html_dir = Path(stage_dir).resolve(), Path(html_dir).resolve()
    work = stage_dir.with_name(f".{stage_dir.name}-sphinx")
    finished = work / "finished"
    # Sphinx reports a warning only when it reads the page again, and it trusts half-written pages: after a build that
    # failed or was killed, start afresh.
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
        raise UserError(f"The book did not build:\n{_tail(log.getvalue())}") from None

    new, old = html_dir.with_name(f".{html_dir.name}-new"), html_dir.with_name(f".{html_dir.name}-old")
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(work / "_build/html", new)
    # Sphinx does not copy a changed style sheet or extra file when no page is out of date.
    for part, target in (("_static", new / "_static"), ("_extra", new)):
        shutil.copytree(stage_dir / part, target, dirs_exist_ok=True)
    if html_dir.exists():
        html_dir.rename(old)
    new.rename(html_dir)
    shutil.rmtree(old, ignore_errors=True)
    finished.touch()


def _tail(log: str) -> str:
    """The warnings and errors of a build, or else its last lines."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", log).splitlines()
    problems = [line for line in lines if re.search(r"WARNING|ERROR|CRITICAL", line)]
    return "\n".join((problems or lines)[-20:])
