"""Slides with the figures and the numbers of a finished run, in a folder that opens from disk.

``book/slides/slides.md`` is their text: slides are divided by a line ``---``, and what stands
behind a line ``Note:`` is for the speaker. ``{{ 10_results.bar }}`` is a value that this chapter
glues, ``{{ name }}`` one of those that pages of prose show, and ``![](10_results/name)`` a figure
of a chapter, with its alternative text. reveal.js lies in the package sphinx-revealjs.
"""

import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from markdown_it import MarkdownIt

from sacutils import files
from sacutils.files import UserError

from . import portable as markup

REVEAL = ("LICENSE", "dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="reveal/dist/reset.css">
<link rel="stylesheet" href="reveal/dist/reveal.css">
<link rel="stylesheet" href="slides.css">
</head>
<body>
<div class="reveal"><div class="slides">
{slides}
</div></div>
<script src="reveal/dist/reveal.js"></script>
<script src="reveal/plugin/notes/notes.js"></script>
<script>
Reveal.initialize({{hash: true, center: false, width: 1280, height: 720, slideNumber: "c/t",
  transition: "none", plugins: [RevealNotes]}});
</script>
</body>
</html>
"""


class Drawing(NamedTuple):
    """A figure of a chapter: SVG and alternative text."""

    svg: str
    alt: str


def figures(notebook: Any) -> dict[str, Drawing]:
    """Figures of an executed chapter, by the name of the glued figure or of the label."""
    found, prose = {}, markup.prose_of(notebook)
    for cell in notebook.cells:
        own = cell.metadata.get("mystnb", {})
        for output in cell.get("outputs", []):
            svg = output.get("data", {}).get("image/svg+xml")
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if svg and name:
                stated = re.search(rf"\{{glue:figure\}} {name}\n(?:.*\n)*?:alt: (.*)", prose)
                alt = stated[1] if stated else ""
            elif svg and "figure" in own:
                name, alt = own["figure"].get("name"), own.get("image", {}).get("alt", "")
            if svg and name:
                found[name] = Drawing(svg, alt)
    return found


def make(executed: list[Path], shown: dict[str, str], folder: Path) -> str:
    """Write the slides of executed chapters into a new folder; returns their number and size.

    `shown` are the values that pages of prose show. A ``UserError`` if the text names a value or a
    figure that the run does not have; the old folder then stays.
    """
    values, drawings = dict(shown), {}
    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        own = markup.glued_values(notebook)
        values |= {f"{path.stem}.{name}": value for name, value in own.items()}
        named = figures(notebook).items()
        drawings |= {f"{path.stem}/{name}": drawing for name, drawing in named}
    source = files.home() / "book" / "slides"
    written = (source / "slides.md").read_text(encoding="utf-8")
    used: dict[str, str] = {}
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")

    def shown(kind: str, known: dict[str, Any], name: str) -> Any:
        if name not in known:
            raise UserError(f"slides.md shows the {kind} {name!r}, which the run does not have.")
        return known[name]

    def value(match: re.Match[str]) -> str:
        return markup.escaped(shown("value", values, match[1]))

    def image(match: re.Match[str]) -> str:
        drawing, name = shown("figure", drawings, match[1]), match[1].replace("/", "-") + ".svg"
        used[name] = drawing.svg
        return f"![{markup.escaped(drawing.alt)}]({name})"

    sections = []
    for slide in written.split("\n---\n"):
        text = re.sub(r"\{\{ (\S+) \}\}", value, re.sub(r"!\[\]\((\S+)\)", image, slide))
        text, _, note = text.partition("\nNote:\n")
        notes = f'<aside class="notes">{markdown.render(note)}</aside>\n' if note else ""
        sections.append(f"<section>\n{markdown.render(text)}{notes}</section>")
    title = re.search(r"^# (.*)", written)[1]
    with files.fresh_folder(folder) as new:
        for name in REVEAL:
            files.write_text(new / "reveal" / name, reveal(name).read_text(encoding="utf-8"))
        for name, svg in used.items():
            files.write_text(new / name, svg)
        shutil.copy2(source / "slides.css", new)
        files.write_text(new / "index.html", PAGE.format(title=title, slides="\n".join(sections)))
    return f"{len(sections)} slides, {len(used)} figures, {files.megabytes(folder)}"


def reveal(name: str) -> Path:
    """A file of reveal.js."""
    package = metadata.distribution("sphinx-revealjs")
    return Path(str(package.locate_file(f"sphinx_revealjs/_static/revealjs/{name}")))
