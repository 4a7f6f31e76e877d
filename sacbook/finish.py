"""What is done to a page after Sphinx has written it: names of folds, numbers of tables, excerpts
for the search.
"""

import json
import re
from itertools import count
from pathlib import Path

TEXTS = "_static/search_texts.js"
"""The script of the page of the search; other pages do not load it."""
SCRIPT = """\
// A page that is opened from disk may not fetch another one. The search shows excerpts all the
// same: here are the sections of each page, and these it is given when it asks for a page.
const texts = %s;
// Chapters come before entries of the API, which explain nothing.
Scorer.score = ([page, , , , score]) => (page.startsWith("api") ? score - 200 : score);
window.fetch = async (address) => new Response(texts[address.replace(/^\\.\\//, "")] ?? "");
"""


def finish(html: Path) -> None:
    """Mend all pages below a folder, and write the texts that the search shows excerpts of.

    The pages of the API are not searched (their front matter says so), so their text is left out.
    """
    texts = {}
    for path in sorted(html.rglob("*.html")):
        name = path.relative_to(html).as_posix()
        if name.startswith("_static/"):
            continue
        page = path.read_text(encoding="utf-8")
        mended = mend(page)
        if name == "search.html":
            mended = mended.replace("</head>", f'<script src="{TEXTS}"></script>\n</head>', 1)
        if mended != page:
            path.write_text(mended, encoding="utf-8")
        text = "" if name.startswith(("_modules/", "api/")) else sections(page)
        if text:
            texts[name] = text
    if (html / "search.html").exists():
        script = SCRIPT % json.dumps(texts, ensure_ascii=False, sort_keys=True)
        (html / TEXTS).write_text(script, encoding="utf-8")


NAMES = {
    # a fold of code is announced by the words that it shows, and so is the button of the search
    '<summary aria-label="Toggle hidden content">': "<summary>",
    r'(<button class="btn search-button-field[^>]*?) title="Search" aria-label="Search"': r"\1",
    # a part of the contents by the page whose sections it holds
    r'(<a class="[^"]*reference internal" href="[^"]*">([^<]*)</a><details[^>]*>)<summary>': (
        r'\1<summary aria-label="Sections of \2">'
    ),
    # icons inside a button that has a name need none
    r'(<i class="theme-switch [^>]*?) +title="[^"]*"': r"\1",
    # the entries of the bibliography say themselves what they are
    '<div role="list" class="citation-list">': '<div class="citation-list">',
}
"""What readers who hear a page are told, by pattern: Sphinx's extensions and theme name some parts
wrongly, or not at all."""


def mend(page: str) -> str:
    """A page in which everything has its own name, and tables have numbers: Sphinx counts those of
    prose only.
    """
    for wrong, right in NAMES.items():
        page = re.sub(wrong, right, page)
    chapter = re.search(r'<h1><span class="section-number">(\d+\.) </span>', page)
    name, numbers = f"Table {chapter[1] if chapter else ''}", count(1)

    def caption(match: re.Match[str]) -> str:
        text = re.sub('<span class="caption-number">[^<]*</span>', "", match[1])
        if not text.startswith(head := '<span class="caption-text">'):
            text = f"{head}{text}</span>"
        number = f'<span class="caption-number">{name}{next(numbers)} </span>'
        return f"<caption>{text.replace(head, head + number, 1)}</caption>"

    return re.sub("<caption>(.*?)</caption>", caption, page, flags=re.DOTALL)


def sections(page: str) -> str:
    """The text of a page, with no tags but those of its sections: what the search cuts excerpts
    from. Empty if the page has no article.
    """
    article = re.search(r'<article class="bd-article">(.*?)</article>', page, re.DOTALL)
    if not article:
        return ""
    text = re.sub(r"<(script|style|svg)\b.*?</\1>", "", article[1], flags=re.DOTALL)
    text = re.sub(r'<a class="headerlink".*?</a>', "", text, flags=re.DOTALL)
    text = re.sub(r"<(?!/?section\b)[^>]*>", "", text)
    return f'<div role="main">{" ".join(text.split())}</div>'
