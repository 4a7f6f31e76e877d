"""One PDF of a built book: its chapters and appendices in one document, printed by a headless
browser.

The pages of the API are left out, and so is folded code: both are in the book and in its notebooks.
Answers to exercises stand at the end.
"""

import re
import subprocess
import tempfile
from html import escape
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from bs4 import BeautifulSoup, Tag

from sacutils.files import UserError, atomic_path, digest_of, intact, sha256, write_record

from . import browsers

MERGED = "_printed.html"
"""The merged document lies here while it is printed, so that images and formulas are found."""
UNFINISHED = "unfinished"
"""Title of the document until all formulas are set and all tables fit."""
FLAGS = (
    *browsers.FLAGS,
    *("--disable-sync", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"),
    *("--no-pdf-header-footer", "--generate-pdf-document-outline"),
    "--virtual-time-budget=600000",  # of the page's own clock, which stands still while it works
)
PATIENCE = 600
"""Seconds after which a browser that still prints is stopped."""
ANSWERS = ("Solution", "Answer")
"""Titles of the folds whose content goes to the end."""
NOTE = (
    "This is the book on paper. Answers to the exercises are at the end. Code that the pages keep "
    "folded, the pages of the API and what moves are in the book itself."
)
STYLE = """
@page {
  size: A4;
  margin: 17mm 15mm;
  @bottom-right { content: counter(page); font: 8pt sans-serif; }
}
@page turned { size: A4 landscape; }
html { font-size: 9.5pt; }
body { width: 180mm; margin: 0; padding: 0; font-size: 1rem; overflow: visible; }
.printed > section { break-before: page; }
/* a heading at the very top of a sheet would be named twice in the bookmarks */
.printed :is(h1, h2, h3, h4) { padding-top: 1mm; }
.turned { page: turned; width: 267mm; }
.printed nav :is(ul, li) { display: block; }
/* a blurred shadow is printed as an image of the whole box */
.printed * { box-shadow: none !important; }
.printed nav p { font-weight: 600; margin: 0.6em 0 0; }
"""
FIT = """
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  const [column, turned] = [180, 267].map((mm) => (mm * 96) / 25.4);
  for (const table of document.querySelectorAll(".printed table")) {
    const needed = table.scrollWidth + 1;
    if (needed <= column) continue;
    const box = table.closest(".pst-scrollable-table-container, .output, figure") ?? table;
    const wide = column / needed < 0.72;
    if (wide) box.classList.add("turned");
    table.style.zoom = Math.min(1, (wide ? turned : column) / needed);
  }
  document.title = document.querySelector("h1").textContent;
});
"""


def pdf(html: Path, target: Path) -> None:
    """Print the book in the folder `html`; nothing is done where `target` is that PDF already.

    A ``UserError`` if there is no book, no browser, or the browser does not print.
    """
    if not (html / "index.html").exists():
        raise UserError(f"{html} has no built book; build it first (make book).")
    page = merged(html)
    parts = (*html.glob("_static/*.css"), *html.glob("_static/*.svg"), *html.glob("_images/*"))
    digest = digest_of([page, [sha256(path) for path in sorted(parts)], FLAGS])
    if intact(target, digest):
        return
    browser = browsers.printer()
    if browser is None:
        raise UserError(
            "No browser can print the book; python -m sacbook.browsers finds or installs one."
        )
    document = html / MERGED
    try:
        document.write_text(page, encoding="utf-8")
        with tempfile.TemporaryDirectory() as profile, atomic_path(target) as temporary:
            command = [browser, *FLAGS, f"--user-data-dir={profile}"]
            command += [f"--print-to-pdf={temporary}", document.resolve().as_uri()]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                raise UserError(f"{browser} has not printed within {PATIENCE} s.") from None
            if not finished(temporary):
                lines = [line for line in done.stderr.splitlines() if line.strip()]
                raise UserError(f"{browser} did not print the book: {(lines or ['no word'])[-1]}.")
    finally:
        document.unlink(missing_ok=True)
    write_record(target, digest)


def finished(path: Path) -> bool:
    """Whether a file is a PDF that was printed after its document had been laid out."""
    content = path.read_bytes() if path.exists() else b""
    coded = UNFINISHED.encode("utf-16-be").hex().upper().encode()
    return (
        content.startswith(b"%PDF") and UNFINISHED.encode() not in content and coded not in content
    )


def pages_of(path: Path) -> int:
    """Number of sheets of a PDF that a browser printed."""
    return len(re.findall(rb"/Type /Page\b", path.read_bytes()))


def merged(html: Path) -> str:
    """All pages of the book's table of contents but those of the API as one HTML document, whose
    relative addresses start at `html`: contents first, answers last.
    """
    first = re.search(r'url=([^"]+\.html)', (html / "index.html").read_text(encoding="utf-8"))
    start = first[1] if first else "index.html"
    page = _parsed(html / start)
    listed = page.select_one("nav.bd-links")
    titles = {start: "Preface"}
    for link in listed.select("a.reference.internal") if listed else ():
        name = _resolved(start, link["href"])[0]
        titles.setdefault(name, link.get_text(" ", strip=True))
    titles = {name: title for name, title in titles.items() if not name.startswith("api")}
    head = [
        f'<link rel="stylesheet" href="{link["href"]}">'
        for link in page.select("link[rel=stylesheet]")
    ]
    for script in page.find_all("script"):
        if "MathJax" in (script.string or "") or "mathjax" in script.get("src", ""):
            head.append(str(script))
    chapters, answers = [], []
    for name, title in titles.items():
        article = _parsed(html / name).select_one("article.bd-article")
        if article is None:
            continue
        moved = _set_apart(article, name)
        for tag in (article, *(content for _, content in moved)):
            _move(tag, name, titles)
        if moved:
            answers.append(f"<h2>{escape(title)}</h2>")
            answers += [f"<h3>{word}</h3>{content}" for word, content in moved]
        chapters.append(f'<section id="{_anchor(name)}">{article.decode_contents()}</section>')
    if answers:
        chapters.append(f'<section id="answers"><h1>Answers</h1>{"".join(answers)}</section>')
    if listed:
        _move(listed, start, titles)
        for item in listed.find_all("li"):
            if not item.decomposed and not item.find("a"):  # a page that is not printed
                item.decompose()
    logo = page.select_one("title").get_text().rpartition("—")[2].strip()
    footer = page.select_one(".extra_footer")
    return f"""<!doctype html>
<html lang="en" data-theme="light" data-mode="light" data-content_root="./">
<head><meta charset="utf-8"><title>{UNFINISHED}</title>
{"".join(head)}<style>{STYLE}</style><script>{FIT}</script></head>
<body><main class="bd-main bd-content printed">
<h1>{escape(logo)}</h1><p>{NOTE}</p>{footer.decode_contents() if footer else ""}
<nav>{listed.decode_contents() if listed else ""}</nav>
{"".join(chapters)}
</main></body></html>
"""


def _parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def _resolved(page: str, link: str) -> tuple[str, str]:
    """The file that a relative link of a page leads to, seen from the book's folder, and the
    anchor there.
    """
    parts = urlsplit(link)
    if not parts.path:
        return page, unquote(parts.fragment)
    return unquote(urljoin(f"/{page}", parts.path)).strip("/"), unquote(parts.fragment)


def _anchor(page: str, anchor: str = "") -> str:
    """An anchor in the merged document, where pages may not share one."""
    name = page.removesuffix(".html").replace("/", "-")
    return f"{name}--{anchor}" if anchor else name


def _set_apart(article: Tag, name: str) -> list[tuple[str, Tag]]:
    """Take the answers out of a page; a link to the answer stays. Returns exercise and answer."""
    moved = []
    for fold in article.find_all("details"):
        title = fold.find("summary")
        if title is None or title.get_text(" ", strip=True).partition(" ")[0] not in ANSWERS:
            fold["open"] = ""
            continue
        title.extract()
        exercise = fold.find_previous("strong")
        words = exercise.decode_contents() if exercise else ""
        label = f"answer-{len(moved) + 1}"
        link = BeautifulSoup(f'<p><a href="#{label}">Answer at the end</a></p>', "html.parser")
        fold.replace_with(link)
        fold.name, fold.attrs = "div", {"id": label}
        moved.append((words if re.match(r"\d", words) else f"Exercise {len(moved) + 1}", fold))
    return moved


def _move(tag: Tag, page: str, known: dict[str, str]) -> None:
    """Let addresses and anchors of a part of a page hold in the merged document; a link to a file
    that is not in it becomes words.
    """
    for gone in tag.select("script, a.headerlink, .copybtn"):
        gone.decompose()
    for element in [tag, *tag.find_all(True)]:
        # the rules of a table's own style name its anchor, which is the same for the same table
        if "id" in element.attrs and not element["id"].startswith("T_"):
            element["id"] = _anchor(page, element["id"])
        if "src" in element.attrs and not urlsplit(element["src"]).scheme:
            element["src"] = _resolved(page, element["src"])[0]
        if element.name == "a" and not urlsplit(element.get("href", "")).scheme:
            target, anchor = _resolved(page, element.get("href", ""))
            if target in known:
                element["href"] = f"#{_anchor(target, anchor)}"
            else:
                element.unwrap()
