"""The explorer: its data are the tables', its numbers in the browser those of evaluation."""

import base64
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import Select

from sacbook import explorer, pages
from sacutils import correlation, evaluation, steps
from sacutils.files import home
from sacutils.probes import PUBLISHED
from sacutils.run import read_table
from sacutils.steps import LABELS
from sacutils.studies import tables

from . import browser

ROOT = home()
SOURCE = "source(a)#0"
KINDS = {"extract_label": ["a", "b", "b"], "independent": ["a", "a", "b", "b"], "sibling": ["a"]}


@pytest.fixture(scope="module")
def small() -> dict[str, pd.DataFrame]:
    """Tables of a few models under two fingerprints, in one of which two distances tie."""
    rows, models = [], [(SOURCE, "source", "a")]
    for step, kinds in KINDS.items():
        prefix = f"{SOURCE} > " if step == "extract_label" else ""
        models += [(f"{prefix}{step}({kind})#{i}", step, kind) for i, kind in enumerate(kinds)]
    values = {"probabilities": [1, 4, 6, 3, 5, 7, 8, 2], "labels": [1, 2, 2, 2, 3, 3, 4, 1]}
    for form, places in values.items():
        for (name, step, kind), place in zip(models[1:], places, strict=True):
            row = {"probes": "SAC-w", "n_probes": 8, "form": form, "measure": "cosine"}
            row |= {"model": name, "step": step, "group": LABELS[step], "architecture": kind}
            rows.append(row | {"distance": place / 100})
    zoo = pd.DataFrame(models, columns=["name", "step", "architecture"])
    zoo = zoo.assign(fidelity=0.875, copies_less=False)
    distances = pd.DataFrame(rows)
    return {"distances": distances, "auc": tables.auc_table(distances), "zoo": zoo}


@pytest.fixture(scope="module")
def answers(small) -> explorer.Answers:
    generator = torch.Generator().manual_seed(0)
    names = list(small["zoo"]["name"])
    return {
        key: {name: 6 * torch.randn(8, 5, generator=generator) for name in names}
        for key in PUBLISHED
    }


@pytest.fixture(scope="module")
def made(small, answers):
    return json.loads(json.dumps(explorer.data(**small, answers=answers)))


def octets(text: str) -> list[int]:
    return list(base64.b64decode(text))


def test_data_are_those_of_the_tables(made, small):
    assert [model["role"] for model in made["models"]] == (
        ["stolen"] * 3 + ["independent"] * 4 + ["sibling"]
    )
    assert {(row["attack"], row["negatives"]) for row in made["comparisons"]} == {
        ("Extract-L", name) for name in ("attacker data", "siblings", "all")
    }
    for test in made["tests"]:
        part = tables.select(small["distances"], form=test["form"])
        found = np.frombuffer(base64.b64decode(test["distances"]), "<f4")
        assert np.allclose(found, part["distance"], rtol=1e-6)
        rows = tables.select(small["auc"], form=test["form"]).set_index("negatives")
        shown = np.array(octets(test["auc"])).reshape(-1, 3)
        for comparison, values in zip(made["comparisons"], shown, strict=True):
            row = rows.loc[comparison["negatives"]]
            text = "{:.2f} [{:.2f}, {:.2f}]".format(*(values / 100))
            assert text == str(tables.interval(row))


def test_every_choice_is_explained():
    names = {LABELS[attack] for attack in steps.ATTACKS} | {*PUBLISHED.values()}
    names |= {*correlation.FORMS.values(), explorer.AGREEMENT}
    names |= {name for attack in steps.ATTACKS for name in steps.negative_sets(attack)}
    assert set(explorer.WORDS) == names


def test_bounds_are_those_of_evaluation(made, small):
    (test,) = (test for test in made["tests"] if test["form"] == "probabilities")
    part, bounds = tables.select(small["distances"], form="probabilities"), octets(test["bounds"])
    for group in made["groups"]:
        rows = part.iloc[group["models"]].sort_values("distance")
        for found in range(len(rows) + 1):
            hits = np.arange(len(rows)) < found
            share = evaluation.clustered_share(
                hits, tables.clusters(rows["model"].to_numpy(str)), evaluation.ICC
            )
            low, high, *bounds = bounds
            assert (low / 100, high / 100) == pytest.approx((share.low, share.high), abs=0.0051)
    assert not bounds


def decoded(code: str, kept: dict[str, Any]) -> torch.Tensor:
    """The logits that a code stands for, float64, shape (n, classes)."""
    low, high, span = kept["scale"]
    levels = np.array([explorer.DIGITS.index(letter) for letter in code]) / 63
    rows = levels.reshape(kept["shown"], -1)
    return torch.tensor(low + rows[:, :1] * (high - low) - span * rows[:, 1:] ** 2)


def test_answers_are_kept_well_enough_for_a_picture(made, answers):
    source = answers["w"][SOURCE][:8]
    order = source.argmax(1).argsort(stable=True)
    for code, name in zip(made["answers"]["codes"]["SAC-w"], answers["w"], strict=True):
        logits = decoded(code, made["answers"])
        exact = answers["w"][name][order]
        for form in ("logits", "probabilities"):
            drawn, true = (
                correlation.cosine_matrix(correlation.to_form(each.double(), form))
                for each in (logits, exact)
            )
            assert (drawn - true).abs().max() < 0.06


def test_pages_with_a_place_for_it_get_the_explorer(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_static" / "explorer.html").write_text('<img src="ROOT_static/explorer.svg">')
    for name in ("index.html", "notebooks/page.html"):
        (tmp_path / name).write_text(f"<p>{pages.PLACE}</p>")
    pages._place_explorer(tmp_path)
    assert (tmp_path / "index.html").read_text() == '<p><img src="_static/explorer.svg"></p>'
    assert 'src="../_static/explorer.svg"' in (tmp_path / "notebooks/page.html").read_text()
    assert not (tmp_path / "_static" / "explorer.html").exists()


# ---- in the browser: the built book, from disk


@pytest.fixture(scope="module")
def page(session: WebDriver, html) -> WebDriver:
    """The preface, opened once: each test chooses what it needs."""
    browser.requests(session), session.get_log("browser")  # those of other tests
    session.get((html / "preface.html").as_uri())
    return session


READ = """
const [slider, tpr, fpr] = ["[role=slider]", ".explorer-tpr", ".explorer-fpr"].map(
  (name) => document.querySelector(`.explorer ${name}`));
return [slider.dataset.threshold, slider.getAttribute("aria-valuenow"), tpr.textContent,
  fpr.textContent];
"""


def choose(page: WebDriver, **values: str) -> None:
    for name, value in values.items():
        Select(page.find_element(By.NAME, name)).select_by_value(value)


def text(page: WebDriver, name: str) -> str:
    return page.find_element(By.CSS_SELECTOR, f".explorer-{name}").text.replace("\u00a0", " ")


def slider(page: WebDriver):
    return page.find_element(By.CSS_SELECTOR, ".explorer [role=slider]")


COMPARISONS = [
    ("extract_label", "students of another", "SAC-w", "probabilities", "cosine", 0),
    ("extract_label", "all", "SAC-normal", "labels", "label agreement", 1),
    ("prune", "owner data", "SAC-JC", "matched", "cosine", 0),
    ("transfer_all", "attacker data", "SAC-source", "probabilities", "cosine", 1),
]


@pytest.mark.browser
def test_numbers_equal_those_of_evaluation(page, html):
    folder = ROOT / "runs" / html.parent.name / "tables"
    distances, table = (read_table(folder / f"sac_{name}.csv") for name in ("distances", "auc"))
    for attack, negatives, probes, form, measure, place in COMPARISONS:
        n = sorted(distances["n_probes"].unique(), reverse=True)[place]
        shown = explorer.AGREEMENT if measure == explorer.AGREEMENT else correlation.FORMS[form]
        choose(
            page, attack=LABELS[attack], negatives=negatives, probes=probes, form=shown, n=str(n)
        )
        key = {"probes": probes, "form": form, "measure": measure, "n_probes": n}
        rows = tables.select(distances, **key)
        models = [tables.groups(rows, attack, negatives, column="model")]
        sides, clusters = tables.groups(rows, attack, negatives), [*map(tables.clusters, *models)]
        auc = evaluation.auc(*sides, tuple(clusters))
        (row,) = tables.select(table, attack=LABELS[attack], negatives=negatives, **key).index
        assert text(page, "auc") == str(auc) == str(tables.interval(table.loc[row]))
        handle = slider(page)
        handle.send_keys(Keys.HOME)
        values, seen = np.unique(np.concatenate(sides)), set()
        for pressed in range(len(values) + 1):  # one model, or several that tie, with each press
            threshold, now, *texts = page.execute_script(READ)
            assert (values < float(threshold)).sum() == pressed == int(now)
            for name, side, kind, said in zip(("tpr", "fpr"), sides, clusters, texts, strict=True):
                hits = side < float(threshold)
                share = evaluation.clustered_share(hits, kind, evaluation.ICC)
                expected = f"{hits.sum()} of {len(hits)}: {100 * hits.mean() + 1e-9:.0f} % "
                expected += f"[{100 * share.low:.0f} %, {100 * share.high:.0f} %]"
                assert said.replace("\u00a0", " ") == expected
                seen.add((name, said))
            handle.send_keys(Keys.ARROW_RIGHT)
        assert len(seen) == sum(len(np.unique(side)) + 1 for side in sides)


@pytest.mark.browser
def test_the_truth_is_hidden_until_it_is_guessed(page):
    choose(page, attack=LABELS["extract_label"], negatives="students of another", probes="SAC-w")
    shown, button = text(page, "auc"), page.find_element(By.CSS_SELECTOR, ".explorer button")
    button.send_keys(Keys.SPACE)
    colours = "return new Set([...document.querySelectorAll('.explorer-dots path')]"
    colours += ".map((dot) => dot.getAttribute('fill') + dot.getAttribute('d'))).size"
    roc = ".explorer-roc polyline, .explorer-roc circle"
    assert {text(page, name) for name in ("tpr", "fpr", "auc")} == {"?"}
    assert page.execute_script(colours) == 1
    assert not page.find_elements(By.CSS_SELECTOR, roc)
    assert not page.find_element(By.CSS_SELECTOR, ".explorer-matrices").is_displayed()
    page.find_element(By.CSS_SELECTOR, ".explorer-ask input").send_keys(Keys.END)
    slider(page).send_keys(Keys.END)
    page.find_element(By.CSS_SELECTOR, ".explorer-ask button").send_keys(Keys.ENTER)
    said = text(page, "verdict")
    n, of = re.fullmatch(r"(\d+) of (\d+): 100 % .*", text(page, "fpr")).groups()
    assert text(page, "auc") == shown and n == of
    assert f"You guessed an AUC of 1.00; it is {shown}" in said
    inside = float(shown.split()[-1].strip("]")) == 1
    assert f"lies {'inside' if inside else 'outside'} the interval" in said
    assert f"accuses {of} of {of} independent ones" in said
    assert page.execute_script(colours) == 2 and page.find_elements(By.CSS_SELECTOR, roc)
    choose(page, attack=LABELS["prune"])  # another comparison, another guess
    assert text(page, "auc") == "?"
    button.send_keys(Keys.SPACE)
    assert text(page, "auc") != "?"


@pytest.mark.browser
def test_keys_and_pointer_choose_a_model(page):
    def chosen() -> str:
        option = page.find_element(By.CSS_SELECTOR, ".explorer [aria-selected=true]")
        assert dots.get_attribute("aria-activedescendant") == option.get_attribute("id")
        name = option.get_attribute("aria-label").partition(",")[0]
        assert name in text(page, "about")
        return name

    pixels = "const c = document.querySelectorAll('.explorer canvas')[arguments[0]];"
    pixels += "return c.toDataURL()"
    dots = page.find_element(By.CSS_SELECTOR, ".explorer [role=listbox]")
    first = chosen()
    source, before = (page.execute_script(pixels, k) for k in (0, 1))
    dots.send_keys(Keys.END)
    assert chosen() != first and page.execute_script(pixels, 0) == source
    assert page.execute_script(pixels, 1) not in (source, before)
    threshold = slider(page).get_attribute("data-threshold")
    paths = dots.find_elements(By.CSS_SELECTOR, "path")
    wanted = next(dot for dot in paths if dot.get_attribute("aria-selected") == "false")
    name = wanted.get_attribute("aria-label").partition(",")[0]
    wanted.click()
    assert chosen() == name and slider(page).get_attribute("data-threshold") == threshold
    strip = page.find_element(By.CSS_SELECTOR, ".explorer-strip")
    actions = browser.webdriver.ActionChains(page)
    actions.move_to_element_with_offset(strip, 200, 0).click_and_hold().move_by_offset(40, 0)
    actions.release().perform()
    assert float(slider(page).get_attribute("data-threshold")) > float(threshold)
    # everything that acts is reached by Tab, in the order of the page
    page.find_element(By.NAME, "attack").send_keys(Keys.NULL)
    reached = []
    for _ in range(8):
        active = page.switch_to.active_element
        reached.append(active.get_attribute("name") or active.get_attribute("role") or active.text)
        active.send_keys(Keys.TAB)
    expected = ["attack", "negatives", "probes", "form", "n", "Guess first", "slider", "listbox"]
    assert reached == expected


@pytest.mark.browser
def test_matrices_are_those_of_the_answers(page):
    data = json.loads(page.execute_script("return document.querySelector('.explorer script').text"))
    kept, colours = data["answers"], [tuple(colour) for colour in data["colours"]]
    pixels = "return [...document.querySelectorAll('.explorer canvas')].map((c) => [...c"
    pixels += ".getContext('2d').getImageData(0, 0, c.width, c.height).data])"
    for form in [*correlation.FORMS, explorer.AGREEMENT]:
        choose(page, probes="SAC-w", form=correlation.FORMS.get(form, form))
        dots = page.find_element(By.CSS_SELECTOR, ".explorer [role=listbox]")
        model = int(dots.get_attribute("aria-activedescendant").split("-")[-1])
        for place, shown in zip((0, 1 + model), page.execute_script(pixels), strict=True):
            logits = decoded(kept["codes"]["SAC-w"][place], kept)
            if form == "matched":
                logits, known = logits / kept["temperatures"]["SAC-w"][place], "probabilities"
            else:
                known = form if form in correlation.FORMS else "labels"
            matrix = correlation.cosine_matrix(correlation.to_form(logits, known))
            levels = (matrix / 0.5).clamp(max=1) * (len(colours) - 1)
            drawn = [colours.index(tuple(rgb[:3])) for rgb in np.reshape(shown, (-1, 4)).tolist()]
            assert np.abs(levels.flatten().numpy() - drawn).max() < 0.51


CONTRAST = """
const linear = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(linear);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const below = light(getComputedStyle(document.querySelector(".explorer-app")).backgroundColor);
const ratio = (colour) => {
  const [a, b] = [light(colour), below].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
const least = (selector, property) =>
  Math.min(...[...document.querySelectorAll(selector)].map(
    (e) => ratio(getComputedStyle(e)[property])));
return {
  text: least(".explorer-app text", "fill"),
  words: least(".explorer-app :is(p, label, dt, dd, span)", "color"),
  dots: least(".explorer-app .explorer-dots path", "stroke"),
  lines: Math.min(...[".explorer-axis", ".explorer-line", ".explorer-curve", ".explorer-frame"]
    .map((name) => least(`.explorer-app ${name}`, "stroke"))),
};
"""

OUTSIDE = """
const wide = document.documentElement.clientWidth;
const parts = [...document.querySelectorAll(".explorer-app, .explorer-app *")].filter((e) => {
  const box = e.getBoundingClientRect();
  return e.getClientRects().length && (box.right > wide || box.left < 0);
});
const scrolls = document.documentElement.scrollWidth > wide ? ["the page scrolls"] : [];
return parts.map((e) => e.outerHTML.slice(0, 80)).concat(scrolls);
"""


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_readable_on_a_phone_and_in_the_dark(page, theme):
    page.execute_script(f"document.documentElement.dataset.theme = '{theme}'")
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", browser.PHONE)
    try:
        choose(page, negatives="all")  # all roles
        found = page.execute_script(CONTRAST)
        assert min(found["text"], found["words"]) >= 4.5, found
        assert min(found["dots"], found["lines"]) >= 2, found
        for form in (explorer.AGREEMENT, "probabilities"):  # each has its own axis
            choose(page, form=form)
            outside = page.execute_script(OUTSIDE)
            assert not outside, outside
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.browser
def test_on_paper_stands_the_still_picture(page):
    still = page.find_element(By.CSS_SELECTOR, ".explorer figure")
    live = page.find_element(By.CSS_SELECTOR, ".explorer-app")
    assert live.is_displayed() and not still.is_displayed()
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert still.is_displayed() and not live.is_displayed()
    image = still.find_element(By.TAG_NAME, "img")
    assert image.get_property("naturalWidth") > 0 and "AUC" in image.get_attribute("alt")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.browser
def test_it_asks_nothing_of_any_host(page):
    assert not browser.requests(page)
    assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.browser
def test_it_stands_on_the_preface_and_on_results(html):
    for name, root in (("preface.html", ""), ("notebooks/10_results.html", "../")):
        source = (html / name).read_text(encoding="utf-8")
        assert source.count('<div class="explorer">\n<script type="application/json">') == 1
        assert f'<img src="{root}_static/explorer.svg" alt="The AUC' in source
