"""The built book in a browser: complete without network, readable by everyone, no dead ends."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from sacbook import jobs, slides
from sacutils.files import home, read_json

from . import browser

pytestmark = pytest.mark.browser
ROOT = home()


@pytest.fixture(scope="session")
def html() -> Path:
    folder = (ROOT / os.environ.get("SAC_HTML", "_build/smoke/html")).resolve()
    if not (folder / "index.html").is_file():
        pytest.fail(
            f"There is no built book in {folder}; build it first (make book PROFILE=smoke) or set "
            "SAC_HTML.",
            pytrace=False,
        )
    return folder


@pytest.fixture(scope="session")
def address(html: Path) -> Iterator[str]:
    with browser.serve(html) as served:
        yield served


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="session")
def light(session: WebDriver, address: str, html: Path) -> list[browser.Page]:
    """Every page of the table of contents and the index, on a wide screen, in the light."""
    return [
        browser.visit(session, address, name)
        for name in [*browser.toc_pages(html), "genindex.html"]
    ]


@pytest.fixture(scope="session")
def dark(session: WebDriver, address: str, light: list[browser.Page]) -> list[browser.Page]:
    """The same pages on a phone, after a click on the switch has made the book dark."""
    session.get(address + light[0].name)
    for _ in range(3):  # the switch goes through automatic, light and dark
        if session.execute_script("return document.documentElement.dataset.theme") == "dark":
            break
        session.find_element(
            By.CSS_SELECTOR, "main .theme-switch-button, .bd-header-article .theme-switch-button"
        ).click()
    session.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", browser.PHONE)
    pages = [browser.visit(session, address, page.name) for page in light]
    session.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    return pages


def problems(pages: list[browser.Page], fact: str) -> list[str]:
    return [f"{page.name}: {found}" for page in pages for found in page.facts[fact]]


def none(found: list[str]) -> None:
    assert not found, "\n".join(found)


def test_pages_were_found(light):
    assert len(light) > 3
    assert all(page.facts["title"] for page in light)


def test_console_reports_no_error(light, dark):
    none([f"{page.name}: {line}" for page in light + dark for line in page.console])


def test_no_request_leaves_the_host(light, dark, address):
    none(
        [
            f"{page.name}: {url}"
            for page in light + dark
            for url in page.requests
            if not url.startswith(address)
        ]
    )


def test_images_load_and_have_alternative_text(light):
    none(problems(light, "brokenImages"))
    none(problems(light, "withoutAlt"))


def test_figures_have_a_caption(light):
    none(problems(light, "withoutCaption"))


def test_formulas_are_typeset(light):
    assert sum(page.facts["formulas"] for page in light) > 0
    none(problems(light, "rawMaths"))
    none(problems(light, "mathErrors"))


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


def test_pages_fit_a_phone(dark):
    none([f"{page.name}: {page.facts['tooWide']}" for page in dark if page.facts["overflow"] > 0])


def test_search_finds_a_word(session, address, light):
    session.get(address + light[-2].name)
    session.find_element(By.CSS_SELECTOR, ".search-button-field, .search-button").click()
    field = WebDriverWait(session, 10).until(
        lambda driver: next(
            (e for e in driver.find_elements(By.CSS_SELECTOR, "input[name=q]") if e.is_displayed()),
            None,
        )
    )
    field.send_keys("correlation", Keys.ENTER)
    WebDriverWait(session, 10).until(lambda driver: "search.html" in driver.current_url)
    WebDriverWait(session, 10).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "#search-results li a")
    )
    none([url for url in browser.requests(session) if not url.startswith(address)])


def test_unknown_address_leads_back(session, address):
    session.get(address + "no/such/page.html")
    assert "does not exist" in session.find_element(By.TAG_NAME, "h1").text
    session.find_element(By.ID, "start").click()
    WebDriverWait(session, 10).until(
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
    WebDriverWait(session, 10).until(lambda driver: driver.execute_script(READY))
    assert 22 <= session.execute_script("return Reveal.getTotalSlides()") <= 28
    # pictures have a size and a text, and no slide is higher or wider than the screen
    none(session.execute_script(TOO_LARGE))
    assert not browser.requests(session)
    none([entry["message"] for entry in session.get_log("browser") if entry["level"] == "SEVERE"])
