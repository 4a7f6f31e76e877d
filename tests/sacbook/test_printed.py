"""The pages after Sphinx, the book on paper and the archive, as far as no browser is needed."""

import re
import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest

from sacbook import finish, offline, printed

LINKS = """<nav class="bd-links"><p class="caption">Part</p>
<a class="reference internal" href="{up}preface.html">Preface</a>
<a class="reference internal" href="{up}notebooks/02_data.html">2. Data</a>
<a class="reference internal" href="{up}api/core.html">Core</a></nav>"""
PAGE = """<html><head><title>A — Title of the book</title>
<link rel="stylesheet" href="{up}_static/book.css">
<script>window.MathJax = {{}}</script><script src="{up}_static/other.js"></script></head>
<body>{links}<main role="main"><article class="bd-article"><section id="top"><h1>A</h1>
{text}
</section></article></main></body></html>"""
FOLD = '<details><summary aria-label="Toggle hidden content"><p>{}</p></summary><p>{}</p></details>'


@pytest.fixture
def html(tmp_path: Path) -> Path:
    folder = tmp_path / "html"
    texts = {
        "preface": '<p>See <a href="notebooks/02_data.html#top">the data</a>, '
        '<a href="api/core.html">the API</a> and <a href="https://example.org/">more</a>.</p>',
        "notebooks/02_data": '<img src="../_images/a.svg"><a href="#top">up</a>'
        "<p><strong>1. Count.</strong></p>"
        + FOLD.format("Solution", "Forty-two.")
        + FOLD.format("Details", "It is open."),
        "api/core": "<p>Entries</p>",
    }
    for name, text in texts.items():
        up = "../" * name.count("/")
        path = folder / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PAGE.format(up=up, text=text, links=LINKS.format(up=up)))
    (folder / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=preface.html">')
    (folder / "search.html").write_text("<html><head></head><body></body></html>")
    (folder / "_static").mkdir()
    return folder


def test_one_document_has_all_pages_with_links_that_hold(html):
    page = printed.merged(html)
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    links = re.findall(r'href="([^"]+)"', page)
    inside = {link[1:] for link in links if link.startswith("#")}
    assert (
        {"preface--top"} < set(names)
        and inside <= set(names)
        and "notebooks-02_data--top" in inside
    )
    assert {link for link in links if not link.startswith("#")} == {
        "_static/book.css",
        "https://example.org/",
    }
    assert "the API" in page and "Entries" not in page
    assert 'src="_images/a.svg"' in page and "other.js" not in page


def test_answers_stand_at_the_end_and_other_folds_are_open(html):
    page = printed.merged(html)
    body, _, answers = page.partition("<h1>Answers</h1>")
    assert "Forty-two" not in body and "Answer at the end" in body
    assert "1. Count." in answers and "Forty-two" in answers
    assert re.search(r"<details open[^>]*><summary[^>]*><p>Details", body)


@pytest.mark.browser
def test_a_browser_prints_the_document_once(html, tmp_path):
    target = tmp_path / "book.pdf"
    printed.pdf(html, target)
    assert printed.finished(target) and printed.pages_of(target) == 4  # contents, 2 pages, answers
    assert not (html / printed.MERGED).exists()
    first = target.stat().st_mtime_ns
    printed.pdf(html, target)
    assert target.stat().st_mtime_ns == first
    # a picture keeps its name when it changes
    (html / "_static" / "picture.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    printed.pdf(html, target)
    assert target.stat().st_mtime_ns > first


def test_a_shadow_makes_no_image_of_its_box(html, tmp_path):
    def images(name: str) -> int:
        printed.pdf(html, tmp_path / name)
        return (tmp_path / name).read_bytes().count(b"/Subtype /Image")

    page, flat = html / "preface.html", images("flat.pdf")
    shadow = '<div style="box-shadow: 0 0.2rem 0.5rem black">A box</div>'
    page.write_text(page.read_text().replace("<p>See", f"{shadow}<p>See"))
    assert shadow in page.read_text() and images("shadow.pdf") == flat


def test_a_pdf_that_was_printed_too_early_is_not_taken(tmp_path):
    path = tmp_path / "book.pdf"
    assert not printed.finished(path)
    coded = printed.UNFINISHED.encode("utf-16-be").hex().upper()
    for title, good in ((printed.UNFINISHED, False), (coded, False), ("SAC", True)):
        path.write_bytes(b"%PDF-1.4 /Title (" + title.encode() + b")")
        assert printed.finished(path) is good


def test_without_a_book_there_is_no_pdf_and_no_archive(tmp_path, refused):
    refused(lambda: printed.pdf(tmp_path / "html", tmp_path / "book.pdf"), "html", "make book")
    parts = {"book": (tmp_path / "html", "The book")}
    refused(lambda: offline.pack(parts, tmp_path / "all.zip"), "html", "make book")
    assert list(tmp_path.iterdir()) == []


def test_the_archive_says_what_is_in_it(html, tmp_path, refused):
    (tmp_path / "handouts").mkdir()
    (tmp_path / "handouts" / "exam.md").write_text("1")
    parts = {"book": (html, "The book"), "handouts": (tmp_path / "handouts", "Hand-outs")}
    parts["book/preface.html"] = (html / "preface.html", "The preface")
    absent = parts | {"slides": (tmp_path / "slides", "Slides")}
    refused(lambda: offline.pack(absent, tmp_path / "all.zip"), "slides", "does not exist")
    offline.pack(parts, tmp_path / "all.zip")
    shutil.unpack_archive(tmp_path / "all.zip", tmp_path)
    page = (tmp_path / "all" / "index.html").read_text()
    links = ["book/index.html", "handouts/", "book/preface.html"]
    assert re.findall(r'<a href="([^"]+)"', page) == links
    assert (tmp_path / "all" / "handouts" / "exam.md").read_text() == "1"
    names = ZipFile(tmp_path / "all.zip").namelist()
    assert len(names) == len(set(names))


def test_tables_have_the_numbers_of_their_chapter():
    head = '<h1><span class="section-number">10. </span>Results</h1>'
    table = "<table><caption>Distances</caption></table>"
    number = '<span class="caption-number">Table 10.1 </span>'
    text = f'{number}<span class="caption-text">Distances</span>'
    of_prose = table.replace("Distances", text)
    page = finish.mend(head + table + of_prose + table)
    numbers = re.findall(r'caption-number">([^<]*)</span>Distances', page)
    assert numbers == [f"Table 10.{k} " for k in (1, 2, 3)] and page.count("caption-number") == 3
    assert finish.mend(page) == page and "Table 1 <" in finish.mend(table)


def test_pages_are_mended_and_their_text_is_kept_for_the_search(html):
    finish.finish(html)
    assert "Toggle hidden" not in (html / "notebooks" / "02_data.html").read_text()
    assert finish.TEXTS in (html / "search.html").read_text()
    texts = (html / finish.TEXTS).read_text()
    assert '"notebooks/02_data.html"' in texts and "api/core" not in texts
    assert '<section id=\\"top\\">' in texts and "<strong>" not in texts and "Forty-two." in texts
