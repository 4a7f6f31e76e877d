"""Pages of notebooks that ran with other values than the book's, read in a browser."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from sacbook import pages, parameters
from sacutils.files import UserError, home
from sacutils.profiles import load_profile

from . import browser

pytestmark = pytest.mark.browser
PAGE = "01_small--count-4--word-two--seed-1"
RAW = re.compile(r"\{[a-z][\w:-]*\}`?|\{\{|:::|```|\$\$|\\\(|\\\[|\]\{\.")
HOME = home()
NAMES = sorted(path.stem for path in (HOME / "notebooks").glob("*.py"))

NOTEBOOK = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A small page
#
# ```{admonition} What you will do
# :class: tip
# Divide by {glue:text}`count` {term}`probes <probe>`; see {doc}`02_other` and
# {cite:t}`guan2022sac`.
# ```
#
# The quotient is {glue:text}`quotient`, the numerator {glue:text}`numerator`.
#
# $$
# q = 10 / n
# $$ (eq-small)
#
# Equation {eq}`eq-small` is drawn in {numref}`fig-small`; {numref}`fig-other` is elsewhere.
#
# ```{literalinclude} ../sacutils/files.py
# :pyobject: digest_of
# ```

# %% tags=["parameters"]
profile = "smoke"
overrides = {}
count = 1  # 1 to 10: the divisor
word = "one"  # one of one, two

# %% tags=["remove-output"]
import matplotlib.pyplot as plt
from myst_nb import glue

glue("count", str(count), display=False)
glue("quotient", f"{10 / count:.2f} [0, {count}]", display=False)
glue("numerator", "10", display=False)
figure, axes = plt.subplots()
axes.plot([count, 2])
glue("picture", figure, display=False)
plt.close(figure)

# %% [markdown]
# :::{glue:figure} picture
# :name: fig-small
# :alt: A line from {glue:text}`count` to 2.
#
# From {glue:text}`count` to two.
# :::
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the book with two pages of its own, in a folder with a blank in its name."""
    root = tmp_path_factory.mktemp("a home")
    for name in ("profiles", "book", "_config.yml"):
        (root / name).symlink_to(home() / name)
    (root / "notebooks").mkdir()
    (root / "notebooks" / "01_small.py").write_text(NOTEBOOK, encoding="utf-8")
    other = "# %% [markdown]\n# # The other page\n#\n# :::{figure} x\n# :name: fig-other\n# :::\n"
    (root / "notebooks" / "02_other.py").write_text(other, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAC_HOME", str(root))
        yield root


@pytest.fixture(scope="module")
def small(small_home: Path) -> Path:
    """The HTML of two executions of the small notebook, beside a book."""
    notebook, run = small_home / "notebooks" / "01_small.py", small_home / "runs" / "smoke"
    html = small_home / "_build" / "smoke" / "html"
    pages.execute(notebook, run / "notebooks" / "01_small.ipynb", {})
    for page in ("index", "notebooks/01_small", "notebooks/02_other", "glossary", "bibliography"):
        target = html / f"{page}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text('<span id="term-probe"></span>')
    profiles = load_profile("smoke", {"seed": 1}), load_profile("smoke")
    own = {"count": 4, "word": "two"}
    changed = parameters.changes(notebook, own, *profiles)
    assert pages.page_name("01_small", changed) == PAGE
    values = own | {"overrides": {"seed": 1}}
    note = {"made_of": pages.made_of("01_small", load_profile("smoke"))}
    pages.execute(notebook, run / "custom" / f"{PAGE}.ipynb", values, changed=changed, **note)
    changed = {"count": (5, 1)}
    pages.execute(
        notebook, run / "custom" / "01_small--count-5.ipynb", {"count": 5}, changed=changed, **note
    )
    return pages.custom_pages(run / "custom", load_profile("smoke"))


def words(text: str) -> str:
    return " ".join(text.split())


def facts(session: WebDriver, html: Path, name: str) -> tuple[browser.Page, str]:
    """What a page shows, after the checks that hold for every page."""
    with browser.serve(html) as address:
        page = browser.visit(session, address, name)
        text = words(browser.prose(session))
        assert page.console == []
        assert [url for url in page.requests if not url.startswith(address)] == []
    for fact in (
        "withoutAlt",
        "brokenImages",
        "withoutCaption",
        "rawMaths",
        "mathErrors",
        "poorContrast",
    ):
        assert page.facts[fact] == [], fact
    assert RAW.findall(text) == []
    return page, text


def test_changed_values_stand_beside_the_books(small, session):
    page, text = facts(session, small, f"{PAGE}.html")
    assert page.facts["formulas"] == 1
    assert "Divide by 4 (book: 1) probes" in text
    assert "The quotient is 2.50 [0, 4] (book: 10.00 [0, 1]), the numerator 10." in text
    assert "is drawn in Fig. 1" in text and "the figure in The other page is elsewhere" in text
    assert "From 4 (book: 1) to two." in text
    source = (small / f"{PAGE}.html").read_text(encoding="utf-8")
    assert "<title>A small page" in source
    assert 'alt="A line from 4 to 2."' in source
    assert "json.dumps" in re.sub(r"<[^>]+>", "", source)
    assert source.count("count") and "injected" not in source
    values = re.sub(r"<[^>]+>", "", source)
    assert "count = 4  # 1 to 10: the divisor" in values and "count = 1" not in values


def test_the_banner_names_what_was_changed_and_leads_back(small):
    source = (small / f"{PAGE}.html").read_text(encoding="utf-8")
    banner = source[source.index("Not a page of the book") :]
    rows = re.findall(r"<tr class=\"row-\w+\">(.*?)</tr>", banner, re.DOTALL)[:4]
    cells = [re.sub(r"<[^>]+>", "", row).split("\n") for row in rows]
    cells = [[cell for cell in row if cell] for row in cells]
    assert cells == [
        ["parameter", "here", "in the book"],
        ["count", "4", "1"],
        ["word", "two", "one"],
        ["seed", "1", "0"],
    ]
    link = re.search(r'<a href="([^"]+)">A small page</a>', banner)
    assert (small / link[1]).resolve().read_text() == '<span id="term-probe"></span>'


def test_links_lead_to_files_that_exist(small):
    assert browser.broken_links(small) == []


def test_without_a_book_references_are_words(small, session, tmp_path):
    for suffix in ("ipynb", "json"):
        name = f"01_small--count-5.{suffix}"
        shutil.copy(small.parent / name, tmp_path / name)
    # the book of another run, which has not been made
    path, other = tmp_path / "01_small--count-5.json", load_profile("smoke", {"seed": 9})
    record = json.loads(path.read_text()) | {"made_of": pages.made_of("01_small", other)}
    path.write_text(json.dumps(record))
    html = pages.custom_pages(tmp_path, other)
    _, text = facts(session, html, "01_small--count-5.html")
    assert "Divide by 5 probes; see The other page and Guan et al. (2022)." in text
    assert "(book:" not in text.partition("has not been made here")[2]
    assert "_build" not in (html / "01_small--count-5.html").read_text(encoding="utf-8")


def test_a_page_whose_chapter_has_changed_says_so_and_one_that_cannot_be_shown_is_left_out(
    small, session, tmp_path, capsys
):
    for suffix in ("ipynb", "json"):
        for name in (PAGE, "01_small--count-5"):
            shutil.copy(small.parent / f"{name}.{suffix}", tmp_path / f"{name}.{suffix}")
    record = json.loads((tmp_path / f"{PAGE}.json").read_text())
    (tmp_path / f"{PAGE}.json").write_text(json.dumps(record | {"made_of": "of another day"}))
    broken = tmp_path / "01_small--count-5.ipynb"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(text.replace("{cite:t}`guan2022sac`", "{cite:t}`nobody2022`"))
    book = load_profile("smoke")
    html = pages.custom_pages(tmp_path, book)
    assert "01_small--count-5.ipynb is left out" in capsys.readouterr().out
    assert not (html / "01_small--count-5.html").exists()
    _, shown = facts(session, html, f"{PAGE}.html")
    assert "has changed since: execute this page again" in shown and "(book:" not in shown
    with pytest.raises(UserError, match="nobody2022"):
        pages.custom_pages(tmp_path, book, "01_small--count-5")
    # what was made of a page goes with it
    for suffix in ("ipynb", "json"):
        (tmp_path / f"{PAGE}.{suffix}").unlink()
    broken.write_text(text)
    html = pages.custom_pages(tmp_path, book)
    assert not (html / f"{PAGE}.html").exists() and (html / "01_small--count-5.html").exists()


def test_an_index_lists_all_pages_of_the_run(small, session):
    _, text = facts(session, small, "index.html")
    assert "A small page: count 4, word two, seed 1" in text
    assert "A small page: count 5" in text


def test_the_download_is_portable(small):
    source = (small / "_sources" / f"{PAGE}.ipynb").read_text("utf-8")
    assert "Not a page of the book" in source and "def digest_of" in source
    assert "(book: 10.00" in source
    assert [
        role for role in ("{glue", "{admonition", "book-value", "{eq}", "_build") if role in source
    ] == []


def other(parameter: parameters.Parameter) -> object:
    """Another value that a parameter accepts: a choice, or one near its default."""
    several = isinstance(parameter.default, list)
    default = parameter.default[0] if several else parameter.default
    if parameter.kind is bool:
        value = not default
    elif parameter.choices:
        value = next(choice for choice in parameter.choices if choice != default)
    elif parameter.kind is int:
        value = default - 1 if default - 1 >= parameter.low else default + 1
    else:
        low, high = max(parameter.low, default - 1), min(parameter.high, default + 1)
        value = (default + low) / 2 if default > low else (default + high) / 2
    return [value] if several else value


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Each notebook of the book under smoke with two changed values, and its page."""
    with pytest.MonkeyPatch.context() as patch:  # another home may be set for the whole module
        patch.setenv("SAC_HOME", str(HOME))
        yield _every(tmp_path_factory)


def _every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    html = home() / "_build" / "smoke" / "html"
    assert (html / "index.html").exists(), "Build the smoke book first: make book PROFILE=smoke"
    folder, made = tmp_path_factory.mktemp("custom"), {}
    for name in NAMES:
        notebook = home() / "notebooks" / f"{name}.py"
        declared = parameters.of_notebook(notebook)
        own = {key: other(declared[key]) for key in list(declared)[2:4]}
        # no model is trained anew, and no answer is asked for again
        spare = {"device": "cpu", "full": False}
        overrides = dict(list(spare.items())[: 2 - len(own)])
        plain, loaded = load_profile("smoke"), load_profile("smoke", overrides)
        if overrides and not (other_run := home() / "runs" / loaded.run_name).exists():
            for part in ("probes", "outputs", "tables"):
                shutil.copytree(home() / "runs" / plain.run_name / part, other_run / part)
        changed = parameters.changes(notebook, own, loaded, plain)
        assert len(changed) == 2
        output = folder / f"{pages.page_name(name, changed)}.ipynb"
        values = {"profile": "smoke", "overrides": overrides} | own
        note = {"made_of": pages.made_of(name, plain)}
        pages.execute(notebook, output, values, changed=changed, **note)
        made[name] = output
    built = pages.custom_pages(folder, load_profile("smoke"))
    return {name: built / f"{output.stem}.html" for name, output in made.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_page_with_other_values_is_resolved(name, every, session):
    page, text = facts(session, every[name].parent, every[name].name)
    assert "Not a page of the book" in text and page.facts["title"]


def test_links_of_every_page_lead_somewhere(every):
    folder = next(iter(every.values())).parent
    assert browser.broken_links(folder) == []
