"""What the book's own markup says, in plain words: for pages outside the book.

The book is written in MyST: roles (``{doc}``, ``{term}``, ``{glue:text}`` ...) and directives
(admonitions, dropdowns, figures). JupyterLab, VS Code and Colab know none of them. :func:`resolve`
turns the roles that lead to other pages, and glued values, into words; :func:`portable` makes a
notebook that holds plain Markdown only. A directive that it does not know becomes a box.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from typing import Any

import nbformat
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin

from sacutils import files

ROLE = re.compile(r"\{([a-zA-Z][\w:.+-]*)\}(`+)(.+?)\2(?!`)", re.DOTALL)
DIRECTIVE = re.compile(r"\{([\w:.+-]+)\}\s*(.*)")
LABEL = re.compile(
    r"^\s*:name:\s*(?P<fig>\S+)|\"name\":\s*\"(?P<cell>fig-[^\"]+)"
    r"|\$\$[ ]*\((?P<eq>[\w:.-]+)|^\((?P<ref>[\w:.-]+)(?=\)=)",
    re.MULTILINE,
)
FENCES = MarkdownIt("commonmark").use(colon_fence_plugin)
BOXES = "note tip hint warning caution danger attention important error seealso".split()
CODE = ("code-block", "code", "code-cell", "sourcecode", "eval-rst")
WORDS = {"py:func", "py:class", "py:mod", "py:data", "py:meth", "py:obj", "code", "file", "kbd"}
GLUED = "application/papermill.record/"


@dataclass(frozen=True)
class Book:
    """What references of one page can lead to, read from the book's source.

    `address` is where the built book lies, absolute or relative to the page, with a final slash;
    without one a reference is words only. `glued` are the page's own glued values, `before` those
    of the book's own run where they are to be shown beside. A page that Sphinx renders
    (`rendered`) keeps roles that lead to its `own` labels; these get a `suffix`, so that two pages
    of one notebook can stand side by side. `cited` collects what the page cites.
    """

    address: str = ""
    rendered: bool = False
    glued: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    cited: set[str] = field(default_factory=set)
    suffix: str = ""

    @cached_property
    def sources(self) -> dict[str, tuple[str, str]]:
        """Name in the built book and Markdown of each page, by the last part of its name."""
        sources = {}
        for path in [*files.home().glob("book/*.md"), *files.home().glob("notebooks/*.py")]:
            text, name = path.read_text(encoding="utf-8"), path.stem
            if path.suffix == ".py":
                text, name = re.sub("^# ?", "", text, flags=re.MULTILINE), f"notebooks/{name}"
            sources[path.stem] = name, text
        return sources

    @cached_property
    def titles(self) -> dict[str, tuple[str, str]]:
        """Name in the built book and title of each page, by the last part of its name."""
        titles = {}
        for stem, (name, text) in self.sources.items():
            title = re.search(r"^# (.+)$", text, re.MULTILINE)
            titles[stem] = name, title[1] if title else name
        return titles

    @cached_property
    def labels(self) -> dict[str, str]:
        """Page, by the last part of its name, on which each label stands."""
        texts = ((stem, text) for stem, (_, text) in self.sources.items())
        return {label: stem for stem, text in texts for label in labels_of(text)}

    @cached_property
    def entries(self) -> dict[str, Any]:
        """Entries of the bibliography."""
        from pybtex.database import parse_file

        path = files.home() / "book" / "references.bib"
        return dict(parse_file(str(path)).entries) if path.is_file() else {}

    def link(self, words: str, page: str, anchor: str = "") -> str:
        """Words that lead to a page of the book, or the words alone."""
        if not self.address:
            return words
        target = f"{self.address}{page}.html{anchor}"
        # Sphinx would take a relative Markdown link for one of its own pages
        return f'<a href="{target}">{words}</a>' if self.rendered else f"[{words}]({target})"

    def chapter(self, name: str, words: str = "") -> str:
        """A link to a page by the last part of its name; its title where no words are given."""
        page, title = self.titles.get(name.rpartition("/")[2], ("", name))
        return self.link(words or title, page) if page else words or name


def labels_of(text: str) -> dict[str, str]:
    """Labels that a page defines: ``fig``, ``eq`` or ``ref`` by label, in their order."""
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


def _pictured(data: dict[str, Any]) -> dict[str, Any]:
    """The images and tables of a glued output, without the prefix that hides them."""
    shown = {kind.removeprefix(GLUED): value for kind, value in data.items()}
    return {kind: shown[kind] for kind in shown if kind.startswith(("image/", "text/html"))}


def resolve(text: str, book: Book) -> str:
    """Markdown without fences, and without the roles that only the whole book resolves."""

    def words(match: re.Match[str]) -> str:
        plain = _words(match[1], " ".join(match[3].split()), book)
        return match[0] if plain is None else plain

    return ROLE.sub(words, text)


def _words(role: str, text: str, book: Book) -> str | None:
    """A role in words, or None if the renderer resolves it."""
    titled = re.fullmatch(r"(.*?)\s*<([^<>]+)>", text)
    words, target = (titled[1], titled[2]) if titled else ("", text)
    if role.startswith("glue"):
        return _value(text, book)
    if role == "doc":
        return book.chapter(target, words)
    if role == "term":
        anchor = "#term-" + re.sub(r"[^A-Za-z0-9]+", "-", target).strip("-")
        return book.link(words or target, "glossary", anchor)
    if role.startswith("cite"):
        return _citation(role, text, book)
    if role in ("numref", "ref", "eq"):
        return _reference(role, words, target, book)
    if role in WORDS:
        return f"`{(words or target).lstrip('~!')}`"
    if role == "math":
        return f"${text}$"
    return None if book.rendered else words or text


def _value(text: str, book: Book) -> str:
    name, _, form = text.partition(":")
    if name not in book.glued:
        raise files.UserError(f"The page shows {name!r}, which it does not glue.")
    here, there = (
        escaped(format(float(values[name]), form) if form else values[name])
        for values in (book.glued, book.before if name in book.before else book.glued)
    )
    return here if here == there else f"{here} [(book: {there})]{{.book-value}}"


def _citation(role: str, text: str, book: Book) -> str:
    inside, parts = role == "cite:t", []
    for key in (key.strip() for key in text.split(",")):
        book.cited.add(key)
        authors, year = _author_year(book.entries.get(key), key)
        whole = f"{authors} ({year})" if inside else f"{authors}, {year}"
        parts.append(book.link(whole, "bibliography"))
    return ", ".join(parts) if inside else f"({'; '.join(parts)})"


def _author_year(entry: Any, key: str) -> tuple[str, str]:
    from pybtex.richtext import Text

    if entry is None:
        return key, "no year"
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [" ".join(person.prelast_names + person.last_names) for person in people]
    names = names or [entry.fields.get("organization") or entry.fields.get("title", key)]
    who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return str(Text.from_latex(who)), entry.fields.get("year", "no year")


def _reference(role: str, words: str, target: str, book: Book) -> str:
    if target in book.own and book.rendered:
        label = f"{target}{book.suffix}"
        return f"{{{role}}}`{words} <{label}>`" if words else f"{{{role}}}`{label}`"
    if kind := book.own.get(target):
        number = [key for key in book.own if book.own[key] == kind].index(target) + 1
        plain = {"eq": f"({number})", "fig": f"Figure {number}", "ref": "above"}[kind]
        return words.replace("%s", str(number)) if words and kind != "eq" else plain
    if words or target not in book.labels:
        return words.replace("%s", "") or target
    kind = {"numref": "the figure", "eq": "the equation", "ref": "the section"}[role]
    return f"{kind} in {book.chapter(book.labels[target])}"


def references(book: Book) -> str:
    """The entries that a page cites, as a Markdown list, or nothing."""
    from pybtex.backends.markdown import Backend
    from pybtex.style.formatting.plain import Style

    entries = [book.entries[key] for key in sorted(book.cited) if key in book.entries]
    formatted = Style(abbreviate_names=False).format_entries(entries)
    lines = [" ".join(entry.text.render(Backend()).split()) for entry in formatted]
    return "\n- ".join(["## References\n", *lines]) if lines else ""


def _blocks(text: str) -> Iterator[tuple[list[str], Token | None]]:
    """The lines of a text in parts: those without fences, and each outermost fence."""
    lines, start = text.split("\n"), 0
    for token in FENCES.parse(text):
        if token.type in ("fence", "colon_fence") and token.map:
            yield lines[start : token.map[0]], None
            yield lines[slice(*token.map)], token
            start = token.map[1]
    yield lines[start:], None


def resolved_page(text: str, book: Book) -> str:
    """A page for Sphinx whose roles lead nowhere but to the page itself and the built book."""
    bare = replace(book, address="", rendered=False, before={})  # an alternative text has no links

    def changed(lines: list[str]) -> list[str]:
        alt = re.compile(r"\s*:alt:")
        lines = [resolve(x, bare).replace("\\", "") if alt.match(x) else x for x in lines]
        part = resolve("\n".join(lines), book)
        return LABEL.sub(rf"\g<0>{book.suffix}", part).split("\n") if lines else []

    # the book has its notebooks in a folder of their own, a page by itself has not
    text = re.sub(r"(\{(?:figure|image|literalinclude)\} +)(?:\.\./)+", r"\1/", text)
    parts = []
    for lines, fence in _blocks(text):
        name = DIRECTIVE.match(fence.info) if fence else None
        if fence is None:
            parts += changed(lines)
        elif name and name[1] not in CODE:
            inside = resolved_page("\n".join(lines[1:-1]), book).split("\n")
            parts += [*changed(lines[:1]), *(inside if len(lines) > 2 else []), lines[-1]]
        else:
            parts += lines
    return "\n".join(parts)


def markdown(text: str, book: Book) -> str:
    """Plain Markdown of a page that is written in MyST.

    Boxes are quotations, dropdowns are ``<details>``, included code stands in the text, labelled
    equations carry their number.
    """
    done = []
    for lines, fence in _blocks(text):
        if fence is None:
            done.append(_leaf("\n".join(lines), book))
        elif name := DIRECTIVE.fullmatch(fence.info.strip()):
            block = _directive(name[1], name[2], fence.content, book)
            done.append(indent(block, lines[0].partition(fence.markup)[0]))
        else:
            done.append("\n".join(lines))
    return "\n".join(part for part in done if part.strip("\n") or part == "").strip("\n")


def _leaf(text: str, book: Book) -> str:
    """Text without fences, in plain Markdown."""
    text = re.sub(r"^\([\w:.-]+\)=\n?", "", text, flags=re.MULTILINE)

    def numbered(match: re.Match[str]) -> str:
        equations = [label for label, kind in book.own.items() if kind == "eq"]
        tag = rf" \tag{{{equations.index(match[2]) + 1}}}" if match[2] in equations else ""
        return f"$$\n{match[1].strip()}{tag}\n$$"

    text = re.sub(r"\$\$(.+?)\$\$[ ]*\(([\w:.-]+)\)", numbered, text, flags=re.DOTALL)
    return re.sub(r"\[(\(book: .*?\))\]\{\.book-value\}", r"\1", resolve(text, book))


def _directive(name: str, title: str, content: str, book: Book) -> str:
    head = re.match(r"(:[\w-]+:.*\n)*", content)[0]
    options = dict(re.findall(r"^:([\w-]+): *(.*)$", head, re.MULTILINE))
    body = content.removeprefix(head)
    if name in CODE:
        return f"```{title}\n{body}```"
    if name == "literalinclude":
        return f"```python\n{included(title, options)}\n```"
    body = markdown(body.strip("\n"), book)
    if name == "glue:figure":
        return _caption(options.get("name", ""), body, book)
    if name == "figure":
        return f"*(Picture: {options.get('alt', title)})*\n\n{body}".strip()
    title = _leaf(title, book)
    if name == "dropdown":
        return f"<details><summary>{title or 'Details'}</summary>\n\n{body}\n\n</details>"
    title = title or (name.capitalize() if name in BOXES else "")
    return indent(f"**{title}**\n\n{body}" if title else body, "> ", lambda line: True).replace(
        "> \n", ">\n"
    )


def _caption(label: str, body: str, book: Book) -> str:
    figures = [key for key, kind in book.own.items() if kind == "fig"]
    head = f"**Figure {figures.index(label) + 1}.** " if label in figures else ""
    return head + body if body else ""


def included(target: str, options: dict[str, str]) -> str:
    """The code that a ``literalinclude`` shows: a file of a package, or one object of it."""
    from sphinx.pycode import ModuleAnalyzer

    path, name = package_file(target), options.get("pyobject")
    if path is None or not path.is_file():
        raise files.UserError(f"literalinclude {target}: there is no such file.")
    text = path.read_text(encoding="utf-8")
    if name:
        tags = ModuleAnalyzer.for_string(text, target).find_tags()
        if name not in tags:
            raise files.UserError(f"literalinclude {target}: there is no {name}.")
        _, first, last = tags[name]
        text = "\n".join(text.splitlines()[first - 1 : last])
    return text.strip("\n")


def package_file(target: str) -> Path | None:
    """The file of one of our packages that an included path names, as seen from ``notebooks/``."""
    match = re.search(r"(?:^|/)(sacutils|sacbook|sacheck)/(.+\.py)$", target)
    spec = find_spec(match[1]) if match else None
    if not match or spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / match[2]


def prose_of(notebook: Any) -> str:
    """All Markdown of a notebook, and the names and captions that its cells give to figures."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif figure := cell.metadata.get("mystnb", {}).get("figure"):
            parts.append(f":name: {figure.get('name', '')}\n{figure.get('caption', '')}")
    return "\n".join(parts)


def portable(
    executed: Path, output: Path, address: str = "", repository: str = "", branch: str = ""
) -> None:
    """Write an executed notebook such that JupyterLab, VS Code and Colab show it as the book does.

    `address` is where the book is published; without it, references are words only. With the
    address and the branch of the repository the first cell installs the package on Colab.
    """
    notebook = nbformat.read(executed, as_version=4)
    address = address.rstrip("/") + "/" if address else ""
    own = labels_of(prose_of(notebook))
    book = Book(address=address, glued=glued_values(notebook), own=own)
    cells = [nbformat.v4.new_code_cell(_set_up(repository, branch))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cells += _code(cell, book)
            continue
        # a link to a file beside the page is words: a download has no such file
        source = re.sub(r'<a href="(?!https?:)[^"]*">(.*?)</a>', r"\1", cell.source)
        cell.source = markdown(source, book) if cell.cell_type == "markdown" else cell.source
        cells += [cell] if cell.source.strip() else []
    if listed := references(book):
        cells.append(nbformat.v4.new_markdown_cell(listed))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook.cells = cells
    with files.atomic_path(output) as temporary:
        nbformat.write(notebook, temporary)


def _set_up(repository: str, branch: str) -> str:
    if not repository:
        return (
            "# This page needs a copy of the repository. On Colab, fetch one, change into it with\n"
            "# %cd, and install the package with: %pip install --quiet ."
        )
    chosen = f"--branch {branch} " if branch else ""
    folder = repository.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return (
        "# On Colab, fetch and install what this page needs; elsewhere this does nothing.\n"
        'import sys\n\nif "google.colab" in sys.modules:\n'
        f"    !git clone --quiet --depth 1 {chosen}{repository}\n"
        f"    %cd {folder}\n    %pip install --quiet ."
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
    caption = _caption(figure.get("name", ""), markdown(figure.get("caption", ""), book), book)
    return [cell, nbformat.v4.new_markdown_cell(caption)] if caption else [cell]
