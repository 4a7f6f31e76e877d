"""Notebooks that read outside the book."""

import re
from pathlib import Path

import nbformat
import pytest

from sacbook import portable
from sacutils.files import UserError, home

PAGES = {  # what would be read from the book's source
    "10_results": ("notebooks/10_results", "Results", {"fig-c": "fig", "eq-d": "eq"}),
    "glossary": ("glossary", "Glossary", {}),
}


@pytest.fixture
def book() -> portable.Book:
    made = portable.Book(
        glued={"auc": "0.93 [0.8, 1.0]", "share": "0.256"}, own={"fig-a": "fig", "eq-b": "eq"}
    )
    made.__dict__["pages"] = PAGES
    return made


def at(book: portable.Book, address: str, rendered: bool = False) -> portable.Book:
    made = portable.Book(address, rendered, book.glued, {"auc": "0.97"}, book.own)
    made.__dict__["pages"] = PAGES
    return made


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("is {glue:text}`auc`.", r"is 0.93 \[0.8, 1.0\]."),
        ("is {glue:text}`share:.1f`.", "is 0.3."),
        ("see {doc}`10_results`", "see Results"),
        ("see {doc}`the page <../10_results>`", "see the page"),
        ("a {term}`probe`, two {term}`probes\n<probe>`", "a probe, two probes"),
        ("{numref}`fig-a` and {eq}`eq-b`", "Figure 1 and (1)"),
        ("{numref}`fig-c`, {eq}`eq-d`", "the figure in Results, the equation in Results"),
        ("{cite:t}`guan2022sac`", "Guan et al. (2022)"),
        ("{cite:p}`guan2022sac,frosst2019soft`", "(Guan et al., 2022; Frosst et al., 2019)"),
        ("{unknown}`words`", "words"),
    ],
)
def test_roles_become_words(book, text, plain):
    assert portable.resolve(text, book) == plain


def test_links_are_absolute_where_there_is_an_address(book):
    there = at(book, "https://book.example/")
    assert portable.resolve("{doc}`10_results`", there) == (
        "[Results](https://book.example/notebooks/10_results.html)"
    )
    assert portable.resolve("{term}`probe set`", there) == (
        "[probe set](https://book.example/glossary.html#term-probe-set)"
    )


def test_a_rendered_page_shows_the_books_number_beside_its_own(book):
    there = at(book, "../", rendered=True)
    assert portable.resolve("{glue:text}`auc`", there) == (
        r"0.93 \[0.8, 1.0\] [(book: 0.97)]{.book-value}"
    )
    assert portable.resolve("{numref}`fig-a`", there) == "{numref}`fig-a`"
    assert portable.resolve("{doc}`10_results`", there) == (
        '<a href="../notebooks/10_results.html">Results</a>'
    )
    code = "```\n{glue:text}`auc`\n```"
    assert portable.markdown(code, there) == code


def test_alternative_texts_have_the_values_that_a_notebook_glues():
    new, alt = nbformat.v4, "An AUC of {glue:text}`auc`."
    data = {f"{portable.GLUED}text/plain": "'0.9 [0.8, 1.0]'"}
    glued = new.new_output("display_data", data, metadata={"scrapbook": {"name": "auc"}})
    cell = new.new_code_cell(metadata={"mystnb": {"image": {"alt": alt}}}, outputs=[glued])
    prose = new.new_markdown_cell(f":::{{glue:figure}} a\n:alt: {alt}\n\n{alt}\n:::")
    portable.state_alternatives(new.new_notebook(cells=[cell, prose]))
    stated = "An AUC of 0.9 [0.8, 1.0]."
    assert cell.metadata["mystnb"]["image"]["alt"] == stated
    assert prose.source.splitlines()[1:] == [f":alt: {stated}", "", alt, ":::"]


def test_labels_of_a_rendered_page_get_a_suffix():
    own = {"fig-a": "fig", "eq-b": "eq"}
    book = portable.Book(rendered=True, own=own, suffix="-1")
    text = """\
{numref}`fig-a`, {eq}`eq-b`, fig-a
:::{figure} a.svg
:name: fig-a
:::
$$a$$ (eq-b)"""
    assert (
        portable.markdown(text, book)
        == """\
{numref}`fig-a-1`, {eq}`eq-b-1`, fig-a
:::{figure} a.svg
:name: fig-a-1
:::
$$a$$ (eq-b-1)"""
    )


def test_a_value_that_is_not_glued_is_refused(book):
    with pytest.raises(UserError, match="'nothing', which it does not glue"):
        portable.resolve("{glue:text}`nothing`", book)


def test_directives_become_plain_markdown(book):
    text = """\
# Title

:::{admonition} What {term}`probe` you *do*
:class: tip
One.

Two.
:::

::::{note}
:::{dropdown} Solution
```python
{not}`a role`
```
:::
::::

:::{glue:figure} picture
:name: fig-a
:alt: Words.

A caption, {glue:text}`share`.
:::

$$
a = b
$$ (eq-b)

- item
  ```{code-block} text
  :linenos:
  code
  ```
"""
    assert (
        portable.markdown(text, book)
        == """\
# Title

> **What probe you *do***
>
> One.
>
> Two.

> **Note**
>
> <details><summary>Solution</summary>
>
> ```python
> {not}`a role`
> ```
>
> </details>

**Figure 1.** A caption, 0.256.

$$
a = b \\tag{1}
$$

- item
  ```text
  code
  ```"""
    )


def test_included_code_is_the_object_itself():
    shown = portable.included("../sacutils/files.py", {"pyobject": "atomic_path"})
    assert shown.startswith("@contextmanager\ndef atomic_path(") and shown.endswith(
        "(missing_ok=True)"
    )
    with pytest.raises(UserError, match="'atomic_paht' not found"):
        portable.included("../sacutils/files.py", {"pyobject": "atomic_paht"})
    with pytest.raises(UserError, match=r"flies\.py' not found"):
        portable.included("../sacutils/flies.py", {})


def executed(path: Path) -> Path:
    new, record = nbformat.v4, {"scrapbook": {"name": "auc", "mime_prefix": portable.GLUED}}
    number = new.new_output(
        "display_data", {f"{portable.GLUED}text/plain": "'0.93'"}, metadata=record
    )
    svg = {f"{portable.GLUED}image/svg+xml": "<svg/>", f"{portable.GLUED}text/plain": "<Figure>"}
    record = {"scrapbook": {"name": "picture", "mime_prefix": portable.GLUED}}
    picture = new.new_output("display_data", svg, metadata=record)
    table = new.new_output("execute_result", {"text/html": "<table></table>"}, execution_count=1)
    cells = [
        new.new_markdown_cell("# Page\n\nAn AUC of {glue:text}`auc`, see {cite:t}`guan2022sac`."),
        new.new_code_cell(
            "show()", outputs=[number, picture, table], metadata={"tags": ["hide-input"]}
        ),
        new.new_code_cell(
            "draw()", metadata={"mystnb": {"figure": {"name": "fig-x", "caption": "Look."}}}
        ),
    ]
    nbformat.write(new.new_notebook(cells=cells), path)
    return path


def test_a_notebook_shows_figures_and_no_glue(tmp_path):
    notebook = portable.portable(executed(tmp_path / "in.ipynb"), "https://host.example/me/sac")
    nbformat.validate(notebook)
    first, page, code, _, caption = notebook.cells
    assert '"google.colab" in sys.modules' in first.source and "%cd sac\n" in first.source
    assert (
        "%pip install" in first.source
        and "git clone --quiet --depth 1 --branch launch https://host.example/me/sac\n"
        in first.source
    )
    assert page.source == "# Page\n\nAn AUC of 0.93, see Guan et al. (2022)."
    assert [dict(item.data) for item in code.outputs] == [
        {"image/svg+xml": "<svg/>"},
        {"text/html": "<table></table>"},
    ]
    assert code.metadata.jupyter.source_hidden is True
    assert caption.source == "**Figure 1.** Look."


def test_without_an_address_the_first_cell_does_nothing(tmp_path):
    first = portable.portable(executed(tmp_path / "in.ipynb")).cells[0].source
    assert all(line.startswith("#") for line in first.splitlines()) and "%pip install" in first


@pytest.mark.browser
@pytest.mark.parametrize("name", sorted(path.stem for path in (home() / "notebooks").glob("*.py")))
def test_no_markup_of_the_book_remains(name):
    path = home() / "runs" / "smoke" / "notebooks" / f"{name}.ipynb"
    assert path.exists(), "Build the smoke book first: make book PROFILE=smoke"
    cells = portable.portable(path).cells
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    raw = re.compile(r"\{[a-z][\w:-]*\}`|^\s*:::|```\{|^\([\w:-]+\)=|\]\{\.", re.MULTILINE)
    assert [found[0] for text in prose for found in raw.finditer(text)] == []
