"""What the book's own markup says, in plain words: for pages outside the book.

The book is written in MyST: roles (``{doc}``, ``{term}``, ``{glue:text}`` ...) and directives
(admonitions, dropdowns, figures). JupyterLab, VS Code and Colab know none of them, and a page that
Sphinx renders by itself knows no other page. :func:`markdown` writes for both, :func:`portable`
makes a notebook of plain Markdown. A directive that it does not know becomes a box.
"""

import ast
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from textwrap import indent
from typing import Any

import nbformat
from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin

from sacutils import files, freshness

ROLE = re.compile(r"\{([a-zA-Z][\w:.+-]*)\}(`+)(.+?)\2(?!`)", re.DOTALL)
DIRECTIVE = re.compile(r"\{([\w:.+-]+)\}\s*(.*)")
LABEL = re.compile(
    r"^\s*:name:\s*(?P<fig>\S+)|\"name\":\s*\"(?P<cell>fig-[^\"]+)"
    r"|\$\$[ ]*\((?P<eq>[\w:.-]+)",
    re.MULTILINE,
)
FENCES = MarkdownIt("commonmark").use(colon_fence_plugin)
GLUED = "application/papermill.record/"


@dataclass(frozen=True)
class Book:
    """What references of one page can lead to, read from the book's source.

    `address` is where the built book lies, absolute or relative to the page, with a final slash;
    without one a reference is words only. `glued` are the page's own glued values, `before` those
    of the book's own run where they are to be shown beside. A page that Sphinx renders
    (`rendered`) keeps its directives, and the roles that lead to its `own` labels; these get a
    `suffix`, so that two pages of one notebook can stand side by side.
    """

    address: str = ""
    rendered: bool = False
    glued: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    suffix: str = ""

    @cached_property
    def pages(self) -> dict[str, tuple[str, str, dict[str, str]]]:
        """Name in the built book, title and labels of each page, by the last part of its name."""
        pages = {}
        home = files.home()
        for path in [*home.glob("book/[!.]*.md"), *home.glob("notebooks/[!.]*.py")]:
            text, name = path.read_text(encoding="utf-8"), path.stem
            if path.suffix == ".py":
                text, name = re.sub("^# ?", "", text, flags=re.MULTILINE), f"notebooks/{name}"
            title = re.search(r"^# (.+)$", text, re.MULTILINE)
            pages[path.stem] = name, title[1] if title else name, labels_of(text)
        return pages

    @cached_property
    def entries(self) -> Any:
        """Entries of the bibliography."""
        from pybtex.database import parse_file

        return parse_file(str(files.home() / "book" / "references.bib")).entries

    def link(self, words: str, page: str, anchor: str = "") -> str:
        """Words that lead to a page of the book, or the words alone."""
        if not self.address:
            return words
        target = f"{self.address}{page}.html{anchor}"
        # Sphinx would take a relative Markdown link for one of its own pages
        return f'<a href="{target}">{words}</a>' if self.rendered else f"[{words}]({target})"

    def chapter(self, name: str, words: str = "") -> str:
        """A link to a page by the last part of its name; its title where no words are given."""
        page, title, _ = self.pages.get(name.rpartition("/")[2], ("", name, {}))
        return self.link(words or title, page) if page else words or name

    def number(self, label: str) -> int:
        """Number of one of the page's own figures or equations."""
        return [key for key in self.own if self.own[key] == self.own[label]].index(label) + 1


def labels_of(text: str) -> dict[str, str]:
    """Labels that a page defines: ``fig`` or ``eq`` by label, in their order."""
    return {
        match[match.lastgroup]: match.lastgroup.replace("cell", "fig")
        for match in LABEL.finditer(text)
        if match.lastgroup
    }


def escaped(text: str) -> str:
    """A computed text such that Markdown shows it as it is."""
    return re.sub(r"([\\*_\[\]<>`$|{}])", r"\\\1", text)


def glued_values(notebook: Any) -> dict[str, str]:
    """Glued texts of an executed notebook, unescaped, by name; figures and tables are left out."""
    values = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        name = output.get("metadata", {}).get("scrapbook", {}).get("name")
        if name and not _pictured(output["data"]):
            text = output["data"].get(f"{GLUED}text/plain", "")
            values[name] = str(ast.literal_eval(text)) if re.match("['\"]", text) else text
    return values


def state_alternatives(executed: Any) -> None:
    """Put the values that a notebook glues into its alternative texts: no page resolves a role
    there.
    """
    book = Book(glued=glued_values(executed))

    def stated(text: str) -> str:
        return resolve(text, book).replace("\\", "")

    for cell in executed.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub("(?m)^ *:alt:.*$", lambda line: stated(line[0]), cell.source)
        elif image := cell.metadata.get("mystnb", {}).get("image"):
            image["alt"] = stated(image["alt"])


def _pictured(data: dict[str, Any]) -> dict[str, Any]:
    """The images and tables of a glued output, without the prefix that hides them."""
    shown = {kind.removeprefix(GLUED): value for kind, value in data.items()}
    return {kind: shown[kind] for kind in shown if kind.startswith(("image/", "text/html"))}


def resolve(text: str, book: Book) -> str:
    """Markdown without fences, and without the roles that only the whole book resolves."""

    def words(match: re.Match[str]) -> str:
        role, text = match[1], " ".join(match[3].split())
        titled = re.fullmatch(r"(.*?)\s*<([^<>]+)>", text)
        words, target = (titled[1], titled[2]) if titled else ("", text)
        if role.startswith("glue"):
            return _value(text, book)
        if role.startswith("cite"):
            return _citation(role, text.replace(" ", "").split(","), book)
        if role == "doc":
            return book.chapter(target, words)
        if role == "term":
            anchor = "#term-" + re.sub(r"[^A-Za-z0-9]+", "-", target).strip("-")
            return book.link(words or target, "glossary", anchor)
        if role in ("numref", "eq"):
            return _reference(role, target, book)
        return match[0] if book.rendered else words or text

    return ROLE.sub(words, text)


def _value(text: str, book: Book) -> str:
    name, _, form = text.partition(":")
    if name not in book.glued:
        raise files.UserError(f"The page shows {name!r}, which it does not glue.")
    try:
        here, there = (
            escaped(format(float(values[name]), form) if form else values[name])
            for values in (book.glued, book.before if name in book.before else book.glued)
        )
    except ValueError as error:
        raise files.UserError(f"The page shows {text!r}, which it cannot: {error}.") from None
    return here if here == there else f"{here} [(book: {there})]{{.book-value}}"


def _citation(role: str, keys: list[str], book: Book) -> str:
    """Authors and year of works, in the text (``cite:t``) or in brackets."""
    from pybtex.richtext import Text

    inside, parts = role == "cite:t", []
    for key in keys:
        if key not in book.entries:
            raise files.UserError(f"The page cites {key!r}, which references.bib does not have.")
        people, year = book.entries[key].persons["author"], book.entries[key].fields["year"]
        names = [" ".join(person.prelast_names + person.last_names) for person in people]
        names = [f"{names[0]} et al."] if len(names) > 2 else names
        authors = Text.from_latex(" and ".join(names))
        parts.append(f"{authors} ({year})" if inside else f"{authors}, {year}")
    parts = [book.link(part, "bibliography") for part in parts]
    return ", ".join(parts) if inside else f"({'; '.join(parts)})"


def _reference(role: str, target: str, book: Book) -> str:
    if target in book.own and book.rendered:
        return f"{{{role}}}`{target}{book.suffix}`"
    if target in book.own:
        number = book.number(target)
        return f"({number})" if role == "eq" else f"Figure {number}"
    kind = "equation" if role == "eq" else "figure"
    pages = (page for page, (_, _, labels) in book.pages.items() if target in labels)
    return f"the {kind} in {book.chapter(next(pages, target))}"


def markdown(text: str, book: Book) -> str:
    """A page that is written in MyST, for Sphinx (`book.rendered`) or as plain Markdown: boxes are
    then quotations, dropdowns ``<details>``, included code stands in the text, and equations carry
    their number.
    """
    lines, start, parts = text.split("\n"), 0, []
    for fence in FENCES.parse(text):
        if fence.type not in ("fence", "colon_fence"):
            continue
        first, end = fence.map
        parts += [_leaf("\n".join(lines[start:first]), book)] if first > start else []
        block, start = lines[first:end], end
        known = DIRECTIVE.fullmatch(fence.info.strip())
        if not known or (book.rendered and known[1].startswith("code")):
            parts += block
        elif book.rendered:
            # the book has its notebooks in a folder of their own, a page by itself has not
            parts.append(_leaf(block[0].replace("../", "/"), book))
            parts += [markdown("\n".join(block[1:-1]), book)] if len(block) > 2 else []
            parts.append(block[-1])
        else:
            plain = _directive(known[1], known[2], fence.content, book)
            parts.append(indent(plain, block[0].partition(fence.markup)[0]))
    parts += [_leaf("\n".join(lines[start:]), book)] if start < len(lines) else []
    return "\n".join(parts) if book.rendered else "\n".join(parts).strip("\n")


def _leaf(text: str, book: Book) -> str:
    """Text without fences, see :func:`markdown`."""
    if book.rendered:
        return LABEL.sub(rf"\g<0>{book.suffix}", resolve(text, book))

    def numbered(match: re.Match[str]) -> str:
        return f"$$\n{match[1].strip()} \\tag{{{book.number(match[2])}}}\n$$"

    text = re.sub(r"\$\$(.+?)\$\$[ ]*\(([\w:.-]+)\)", numbered, text, flags=re.DOTALL)
    return re.sub(r"\[(\(book: .*?\))\]\{\.book-value\}", r"\1", resolve(text, book))


def _directive(name: str, title: str, content: str, book: Book) -> str:
    """A directive as plain Markdown."""
    head = re.match(r"(:[\w-]+:.*\n)*", content)[0]
    options = dict(re.findall(r"^:([\w-]+): *(.*)$", head, re.MULTILINE))
    body = content.removeprefix(head)
    if name.startswith("code"):
        return f"```{title}\n{body}```"
    if name == "literalinclude":
        return f"```python\n{included(title, options)}\n```"
    body = markdown(body.strip("\n"), book)
    if name == "glue:figure":
        return _caption(options, body, book)
    title = _leaf(title, book)
    if name == "table":
        return f"**Table.** {title}\n\n{body}"
    if name == "dropdown":
        return f"<details><summary>{title or 'Details'}</summary>\n\n{body}\n\n</details>"
    box = f"**{title or name.capitalize()}**\n\n{body}"
    return indent(box, "> ", lambda line: True).replace("> \n", ">\n")


def _caption(options: dict[str, str], body: str, book: Book) -> str:
    label = options.get("name")
    return f"**Figure {book.number(label)}.** {body}" if label in book.own else body


def included(target: str, options: dict[str, str]) -> str:
    """The code that a ``literalinclude`` shows: a file of a package, or one object of it."""
    from sphinx.config import Config
    from sphinx.directives.code import LiteralIncludeReader

    try:
        return LiteralIncludeReader(str(package_file(target)), options, Config()).read()[0].strip()
    except (OSError, ValueError) as error:
        raise files.UserError(f"literalinclude {target}: {error}.") from None


def package_file(target: str) -> Path:
    """The file of one of our packages that an included path names, as seen from ``notebooks/``."""
    return freshness.FOLDER / target.lstrip("./")


def prose_of(notebook: Any) -> str:
    """All Markdown of a notebook, and the names and captions that its cells give to figures."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif figure := cell.metadata.get("mystnb", {}).get("figure"):
            parts.append(f":name: {figure.get('name', '')}\n{figure.get('caption', '')}")
    return "\n".join(parts)


def portable(executed: Path, repository: str = "", address: str = "") -> Any:
    """An executed notebook such that JupyterLab, VS Code and Colab show it as the book does.

    `address` is where the book is published; without it, references are words only. With the
    address of the repository the first cell installs the package on Colab.
    """
    notebook = nbformat.read(executed, as_version=4)
    own = labels_of(prose_of(notebook))
    book = Book(address=address, glued=glued_values(notebook), own=own)
    cells = [nbformat.v4.new_code_cell(_set_up(repository))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cells += _code(cell, book)
            continue
        # a link to a file beside the page is words: a download has no such file
        source = re.sub(r'<a href="(?!https?:)[^"]*">(.*?)</a>', r"\1", cell.source)
        cell.source = markdown(source, book) if cell.cell_type == "markdown" else cell.source
        cells += [cell] if cell.source.strip() else []
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook.cells = cells
    return notebook


def _set_up(repository: str) -> str:
    if not repository:
        return (
            "# This page needs a copy of the repository. On Colab, fetch one, change into it with\n"
            "# %cd, and install the package with: %pip install --quiet ."
        )
    return (
        "# On Colab, fetch and install what this page needs; elsewhere this does nothing.\n"
        'import sys\n\nif "google.colab" in sys.modules:\n'
        f"    !git clone --quiet --depth 1 --branch launch {repository}\n"
        f"    %cd {repository.rpartition('/')[2]}\n    %pip install --quiet ."
    )


def _code(cell: Any, book: Book) -> list[Any]:
    """A code cell with what a plain notebook shows of it, and the caption of its figure."""
    tags = cell.metadata.get("tags", [])
    figure = cell.metadata.get("mystnb", {}).get("figure", {})
    outputs, cell.outputs = cell.outputs, []
    for output in outputs:
        if output.get("metadata", {}).get("scrapbook"):
            output["data"] = _pictured(output["data"])
            if not output["data"]:
                continue  # a number that stands in the text
        if "metadata" in output:
            output["metadata"] = {}
        cell.outputs.append(output)
    hidden = {"hide-input", "hide-cell", "remove-input", "remove-cell"} & set(tags)
    jupyter = {"jupyter": {"source_hidden": True}} if hidden else {}
    cell.metadata = nbformat.from_dict({"tags": tags} | jupyter)
    caption = _caption(figure, markdown(figure.get("caption", ""), book), book)
    return [cell, nbformat.v4.new_markdown_cell(caption)] if caption else [cell]
