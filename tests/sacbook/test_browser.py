"""The built book in a browser: complete without network, readable by everyone, no dead ends."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import urlopen

import pytest
import torch
from bs4 import BeautifulSoup
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from sacbook import jobs, offline, slides
from sacheck import answers, case, fingerprint, report
from sacheck.images import Pool
from sacutils.data import Images
from sacutils.files import home, read_json
from sacutils.profiles import Probes

from . import browser

pytestmark = pytest.mark.browser
ROOT = home()


@pytest.fixture(scope="session")
def address(html: Path) -> Iterator[str]:
    with browser.serve(html) as served:
        yield served


@pytest.fixture(scope="session")
def light(session: WebDriver, address: str, html: Path) -> list[browser.Page]:
    """Every page of the table of contents and the index, on a wide screen, in the light."""
    return [
        browser.visit(session, address, name, audited=True)
        for name in [*browser.toc_pages(html), "genindex.html"]
    ]


@pytest.fixture(scope="session")
def dark(light: list[browser.Page]) -> list[browser.Page]:
    """The same loads of the pages in the dark, on a phone."""
    return [replace(page, facts=page.facts["dark"]) for page in light]


def problems(pages: list[browser.Page], fact: str) -> list[str]:
    return [f"{page.name}: {found}" for page in pages for found in page.facts[fact]]


def none(found: list[str]) -> None:
    assert not found, "\n".join(found)


def test_pages_were_found(light):
    assert len(light) > 3
    assert all(page.facts["title"] for page in light)


def test_console_reports_no_error(light):
    none([f"{page.name}: {line}" for page in light for line in page.console])


def test_no_request_leaves_the_host(light, address):
    asked = [(page.name, url) for page in light for url in page.requests]
    none([f"{name}: {url}" for name, url in asked if not url.startswith(address)])


def test_images_load_and_have_alternative_text(light):
    none(problems(light, "brokenImages"))
    none(problems(light, "withoutAlt"))


def test_figures_have_a_caption(light):
    none(problems(light, "withoutCaption"))


def test_formulas_are_typeset(light):
    assert sum(page.facts["formulas"] for page in light) > 0
    none(problems(light, "rawMaths"))
    none(problems(light, "mathErrors"))


def test_no_markup_is_left_in_the_prose(html):
    # a fence of backticks whose first line holds one more is no directive, and nobody warns
    found = {}
    for name in browser.toc_pages(html):
        main = BeautifulSoup((html / name).read_text(encoding="utf-8"), "html.parser").main
        for code in main(["code", "script", "style"]):
            code.decompose()
        left = re.findall(r"(?:```|:::)\{[\w:-]+\}", main.get_text())
        found |= {name: left} if left else {}
    assert found == {}


def test_internal_links_and_anchors_resolve(html):
    none(browser.broken_links(html))


def test_notebooks_can_be_downloaded(html):
    pages = [Path(name) for name in browser.toc_pages(html) if name.startswith("notebooks/")]
    none(
        [
            page.name
            for page in pages
            if not (html / "_sources" / page.with_suffix(".ipynb")).is_file()
        ]
    )


def test_text_is_readable_in_the_light(light):
    assert {page.facts["theme"] for page in light} == {"light"}
    none(problems(light, "poorContrast"))


def test_text_is_readable_in_the_dark(dark):
    assert {page.facts["theme"] for page in dark} == {"dark"}
    none(problems(dark, "poorContrast"))


def test_the_switch_makes_the_book_dark_and_it_stays_so(session, address):
    theme = "return document.documentElement.dataset.theme"
    session.get(address + "rules.html")
    switch = "main .theme-switch-button, .bd-header-article .theme-switch-button"
    for _ in range(3):  # it goes through automatic, light and dark
        if session.execute_script(theme) != "dark":
            session.find_element(By.CSS_SELECTOR, switch).click()
    session.get(address + "comparing.html")
    assert session.execute_script(theme) == "dark"
    session.execute_script("localStorage.clear()")


def test_pages_fit_a_phone(dark):
    assert {page.facts["width"] for page in dark} == {browser.PHONE["width"]}
    none([f"{page.name}: {page.facts['tooWide']}" for page in dark if page.facts["overflow"] > 0])


def test_axe_finds_nothing_serious_in_light_or_dark(light):
    none(problems(light, "axe"))


def test_the_keyboard_can_be_seen_on_everything_that_it_reaches(session, address):
    session.get(address + "notebooks/04_extraction.html")
    session.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    reached, hidden = session.execute_script("""
        const reached = "a[href], button, summary, input, [tabindex='0']";
        const all = [...document.querySelectorAll(reached)];
        const shown = all.filter((e) => e.checkVisibility() && e.getClientRects().length);
        const hidden = shown.filter((e) => {
          e.focus();
          const { outlineStyle, outlineWidth } = getComputedStyle(e);
          const seen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
          return document.activeElement === e && !seen;
        });
        return [shown.length, hidden.map((e) => e.outerHTML.slice(0, 120))];
    """)
    assert reached > 50
    none(hidden)


def test_folds_are_announced_by_the_words_that_they_show(session, address):
    session.get(address + "notebooks/04_extraction.html")
    names = [
        (fold.accessible_name, " ".join(fold.text.split()))
        for fold in session.find_elements(By.CSS_SELECTOR, "main summary")
    ]
    assert len(names) > 5 and all(name for name, _ in names)
    assert all(name == words for name, words in names), names


def test_printed_pages_lose_no_part_of_a_table_or_figure(session, address):
    paper = {"width": 680, "height": 1010, "deviceScaleFactor": 1, "mobile": False}  # A4, margins
    session.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", paper)
    session.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    cut = []
    for name in ("10_results", "11_rivals", "13_what_reproduces"):
        session.get(f"{address}notebooks/{name}.html")
        found, lost = session.execute_script("""
            const parts = [...document.querySelectorAll("main :is(table, figure, img, pre)")];
            const shown = parts.filter((e) => e.checkVisibility() && e.getClientRects().length);
            const lost = shown.filter((e) => {
              const box = e.getBoundingClientRect();
              const clips = getComputedStyle(e).overflowX !== "visible";
              const cut = clips && e.scrollWidth > e.clientWidth + 1;
              return box.right > innerWidth + 1 || box.left < -1 || cut;
            });
            const name = (e) => `${e.tagName} ${e.textContent.trim().slice(0, 60)}`;
            return [shown.length, lost.map(name)];
        """)
        assert found > 10
        cut += [f"{name}: {part}" for part in lost]
    session.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    session.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    none(cut)


@pytest.fixture(scope="session")
def unpacked(html: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that reads offline, with the built book and a stand-in for the PDF, unpacked."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "book.pdf").write_bytes(b"%PDF")
    parts = {"book": (html, "The book"), "book.pdf": (folder / "book.pdf", "The PDF")}
    offline.pack(parts, folder / "all.zip")
    shutil.unpack_archive(folder / "all.zip", folder)
    return folder / "all"


def test_every_link_of_the_archive_leads_somewhere_without_a_network(unpacked):
    with browser.serve(unpacked) as address:
        seen, waiting, failed = set(), ["index.html"], []
        while waiting:
            name = waiting.pop()
            try:
                with urlopen(address + quote(name)) as answer:
                    page = answer.read().decode() if name.endswith(".html") else ""
            except HTTPError as error:
                failed.append(f"{name}: {error}")
                continue
            parsed = browser.Links(page)
            for link in parsed.links:
                target = urlsplit(urljoin(address + name, link))._replace(query="", fragment="")
                path = unquote(target.geturl().removeprefix(address))
                if target.geturl() == path:  # a reader may follow a link to the world
                    failed += [f"{name}: {link}"] if link in parsed.needed else []
                elif path not in seen:
                    seen.add(path)
                    waiting.append(path)
    assert len(seen) > 60
    none(failed)


def test_from_disk_the_search_shows_chapters_first_with_excerpts(session, unpacked):
    session.get((unpacked / "book" / "search.html").as_uri() + "?q=correlation")
    WebDriverWait(session, 100).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "#search-results li p.context")
    )
    WebDriverWait(session, 100).until(
        lambda driver: "found" in driver.find_element(By.CSS_SELECTOR, ".search-summary").text
    )
    items = session.find_elements(By.CSS_SELECTOR, "#search-results li")
    links = [item.find_element(By.TAG_NAME, "a").get_attribute("href") for item in items]
    api = ["/api/" in link for link in links]
    assert any(api) and not any(api[:10]), links
    excerpts = [item.find_elements(By.CLASS_NAME, "context") for item in items[:5]]
    assert all("correlation" in excerpt[0].text.lower() for excerpt in excerpts)


def test_search_finds_a_word(session, address, light):
    session.get(address + light[-2].name)
    session.find_element(By.CSS_SELECTOR, ".search-button-field, .search-button").click()
    field = WebDriverWait(session, 100).until(
        lambda driver: next(
            (e for e in driver.find_elements(By.CSS_SELECTOR, "input[name=q]") if e.is_displayed()),
            None,
        )
    )
    field.send_keys("correlation", Keys.ENTER)
    WebDriverWait(session, 100).until(lambda driver: "search.html" in driver.current_url)
    WebDriverWait(session, 100).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "#search-results li a")
    )
    none([url for url in browser.requests(session) if not url.startswith(address)])


def test_unknown_address_leads_back(session, address):
    session.get(address + "no/such/page.html")
    assert "does not exist" in session.find_element(By.TAG_NAME, "h1").text
    assert session.execute_script("return document.baseURI") == address
    assert session.find_element(By.CSS_SELECTOR, "link[rel=icon]").get_attribute("href")
    session.find_element(By.NAME, "q").send_keys("correlation", Keys.ENTER)
    WebDriverWait(session, 100).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "#search-results li a")
    )
    session.get(address + "no/such/page.html")
    session.find_element(By.ID, "start").click()
    WebDriverWait(session, 100).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "main h1")
    )


def test_every_page_says_what_made_it(html):
    words = ("Produced by profile", "seed", "device", "torch")
    texts = {name: (html / name).read_text(encoding="utf-8") for name in browser.toc_pages(html)}
    none([name for name, text in texts.items() if not all(word in text for word in words)])


READY = (
    "return window.Reveal && Reveal.isReady() && "
    "[...document.images].every((image) => image.complete)"
)
TOO_LARGE = """
return [...document.querySelectorAll(".slides > section")].flatMap((slide, number) => {
  Reveal.slide(number);
  const parts = [...slide.children].filter((part) => part.tagName !== "ASIDE");
  const low = Math.max(...parts.map((part) => part.offsetTop + part.offsetHeight));
  const wide = Math.max(...parts.map((part) => part.scrollWidth));
  const images = [...slide.querySelectorAll("img")];
  const blank = images.some((image) => !image.naturalWidth || !image.alt);
  return low > 720 || wide > 1280 || blank ? [`${number + 1}: ${low} ${wide} ${blank}`] : [];
});
"""


def test_a_quiz_is_answered_with_the_keyboard(session, address):
    questions = read_json(ROOT / "book" / "quiz.json")["04_extraction"]
    session.get(address + "notebooks/04_extraction.html")
    quiz = session.find_element(By.CSS_SELECTOR, "details.quiz")
    assert not quiz.find_element(By.TAG_NAME, "form").is_displayed()
    quiz.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    forms = quiz.find_elements(By.TAG_NAME, "form")
    assert len(forms) == len(questions) == 5
    said = forms[0].find_element(By.CSS_SELECTOR, "[aria-live]")
    button = forms[0].find_element(By.TAG_NAME, "button")
    button.send_keys(Keys.ENTER)
    assert said.text == "Choose an answer first."
    radios = forms[0].find_elements(By.CSS_SELECTOR, "fieldset input[type=radio]")
    radios[0].send_keys(Keys.SPACE)
    for radio, answer in zip(radios, questions[0]["answers"], strict=True):
        assert radio.is_selected() and radio.accessible_name == answer["text"]
        button.send_keys(Keys.ENTER)
        assert said.text.startswith("Right." if answer["right"] else "Not so.")
        assert said.text.endswith(answer["feedback"])
        radio.send_keys(Keys.ARROW_DOWN)
    for form, question in zip(forms, questions, strict=True):
        right = [answer["right"] for answer in question["answers"]].index(True)
        form.find_elements(By.TAG_NAME, "input")[right].send_keys(Keys.SPACE)
        form.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert quiz.find_element(By.CLASS_NAME, "quiz-score").text == "5 of 5 right."


def test_a_quiz_can_be_read_in_the_dark_and_on_a_phone(session, address):
    session.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", browser.PHONE)
    try:
        session.get(address + "01_problem.html")
        for theme in ("dark", "light"):
            session.execute_script(
                "document.documentElement.dataset.theme = arguments[0];"
                "document.querySelector('details.quiz').open = true;"
                "document.querySelectorAll('details.quiz button').forEach((one) => one.click());",
                theme,
            )
            facts = session.execute_async_script(browser.READ_PAGE)
            assert facts["theme"] == theme and facts["overflow"] <= 0
            none(facts["poorContrast"])
    finally:
        session.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_slides_open_from_disk(session, address, tmp_path):
    run = ROOT / "runs" / "smoke"
    shown = read_json(run / "tables" / "headline.json")
    slides.make(jobs.executed(run), shown, tmp_path / "slides")
    text = (tmp_path / "slides" / "index.html").read_text(encoding="utf-8")
    assert "{{" not in text and not re.search(r'(?:src|href)="https?:', text)
    assert text.count('<aside class="notes">') == text.count("<section>")
    browser.requests(session)
    session.get_log("browser")
    session.get((tmp_path / "slides" / "index.html").as_uri())
    WebDriverWait(session, 100).until(lambda driver: driver.execute_script(READY))
    assert 22 <= session.execute_script("return Reveal.getTotalSlides()") <= 28
    # pictures have a size and a text, and no slide is higher or wider than the screen
    none(session.execute_script(TOO_LARGE))
    assert not browser.requests(session)
    none([entry["message"] for entry in session.get_log("browser") if entry["level"] == "SEVERE"])


def test_the_report_of_the_owners_tool_is_accessible(session, tmp_path):
    drawn = torch.randn(20, 196, 3, generator=torch.Generator().manual_seed(2)).double()
    drawn = drawn[0] + 0.5 * drawn[1:]  # one task, several trainings
    asked = [lambda x, w=w: ((x.flatten(1).double() - 127.5) @ w / 900).numpy() for w in drawn]
    named = [
        fingerprint.Model(file=f"{i}.onnx", sha256="", architecture=None, preprocessing={})
        for i in range(13)
    ]
    pixels = torch.randint(0, 256, (300, 1, 14, 14), dtype=torch.uint8)
    pool = Pool(Images(pixels, torch.zeros(300, dtype=torch.int64)), None, "drawn images")
    settings = Probes(count=60, second_count=4)
    members = list(zip(asked[:13], named, strict=True))
    own = fingerprint.make(tmp_path / "fp", members, pool, ["a", "b", "c"], "contested", settings)
    files = [tmp_path / f"{number}.json" for number in range(6)]
    for path, answer in zip(files, [asked[18], *asked[13:18]], strict=True):
        given = answers.detect(answer(own.pixels))
        answers.write(path, given, own.commitment, path.stem, {"kind": "file"}, "test")
    judged = case.open_case(own.folder, files[0], control=files[1:])
    (tmp_path / "report.html").write_text(report.page(judged), encoding="utf-8")
    with browser.serve(tmp_path) as served:
        session.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", browser.PHONE)
        session.get(served + "report.html")
        browser.requests(session)
        session.execute_script(browser.axe())
        found = session.execute_async_script(browser.AUDIT_PAGE)
        session.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        none(found + browser.requests(session))
