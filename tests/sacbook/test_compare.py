"""Two runs on one page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from sacbook import compare, jobs, status
from sacbook.jobs import Job
from sacutils import correlation, steps
from sacutils.files import UserError
from sacutils.probes import PUBLISHED
from sacutils.profiles import Profile
from sacutils.run import Run, open_run
from sacutils.studies import tables

from . import browser


def table(run: Run, seed: int) -> pd.DataFrame:
    """Distances drawn at random for all models of a run, stolen ones nearer on average."""
    draw, rows = np.random.default_rng(seed), []
    for spec in list(steps.plan(run.profile).values())[1:]:
        for probes in PUBLISHED.values():
            for form in correlation.SERVED:
                value = draw.uniform(0, 1) + (steps.STEPS[spec.step].role != "stolen") / 3
                key = (probes, form, "cosine")
                rows.append(
                    tables.distance_row(key, run.profile.probes.count, spec, spec.name, value)
                )
    return pd.DataFrame(rows)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
    """Three runs whose tables of distances are made up: the same models twice, and another seed."""
    runs = {
        "plain": open_run("smoke", folder=tmp_path),
        "probes": open_run("smoke", {"probes.count": 12}, tmp_path),
        "seed": open_run("smoke", {"seed": 1}, tmp_path),
    }
    known = {run.folder: table(run, seed) for seed, run in enumerate(runs.values())}
    for run in runs.values():
        (run.folder / "tables").mkdir(parents=True)
        (run.folder / "tables" / "sac_auc.csv").touch()
    monkeypatch.setattr(tables, "distances", lambda run: known[run.folder])

    def outdated(profile: Profile, plan: dict) -> dict[str, tuple[str, ...]]:
        there = (tmp_path / profile.run_name / "tables" / "sac_auc.csv").exists()
        return {} if there else {"tables": ("missing",)}

    monkeypatch.setattr(jobs, "plan", lambda profile: {"tables": Job((), "", "")})
    monkeypatch.setattr(status, "outdated", outdated)
    return runs


def auc(run: Run, attack: str, negatives: str, probes: str, form: str) -> float:
    rows = tables.fingerprint(tables.distances(run), probes, form, "cosine")
    rows = rows[rows["step"].isin([attack, *steps.negative_sets(attack)[negatives]])]
    return roc_auc_score(rows["step"] == attack, -rows["distance"])


@pytest.mark.parametrize(("other", "paired"), [("probes", True), ("seed", False)])
def test_differences_are_those_of_two_auc(made, other, paired):
    first, second = made["plain"], made[other]
    both = {"SAC-w": compare.joined((first, second))["SAC-w"]}
    rows = compare.differences(both)
    assert len(rows) == 3 * (
        2 * len(steps.SAME_CLASSES) + len(steps.ATTACKS) - len(steps.SAME_CLASSES)
    )
    assert set(rows["paired"]) == {paired}
    for row in rows.to_dict("records"):
        cell = (row["attack"], row["negatives"], "SAC-w", row["form"])
        assert row["value"] == pytest.approx(auc(second, *cell) - auc(first, *cell))
        assert np.isnan(row["low"]) or row["low"] <= row["value"] <= row["high"]


@pytest.mark.browser
def test_the_page_shows_both_runs_and_what_differs(made, tmp_path):
    page = compare.page(made["plain"], made["probes"], tmp_path / "page")
    with browser.chromium(tmp_path / "chromium") as session, browser.serve(page.parent) as address:
        shown = browser.visit(session, address, "index.html")
        text = " ".join(browser.prose(session).split())
    assert shown.console == [] and all(url.startswith(address) for url in shown.requests)
    for fact in ("withoutAlt", "brokenImages", "withoutCaption", "rawMaths", "poorContrast"):
        assert shown.facts[fact] == [], fact
    names = [made[name].profile.run_name for name in ("plain", "probes")]
    assert f"setting {names[0]} {names[1]} 10 12" in text  # probes.count is set as code
    cell = ("extract_label", steps.MAIN_NEGATIVES, "SAC-w", "probabilities")
    values = [auc(made[name], *cell) for name in ("plain", "probes")]
    row = text.partition("Extract-L ")[2]
    assert row.startswith(f"{values[0]:.2f} [") and f" {values[1] - values[0]:+.2f} [" in row[:60]
    n = len(made["plain"].zoo.specs)
    assert f"The runs have {n} and {n} models; {n} of them are the same" in text
    assert text.count("has the profile and the seed 0") == 2
    assert ":::" not in text and "{" not in text


def test_a_run_is_not_compared_with_itself_or_with_one_that_is_not_finished(made, tmp_path):
    with pytest.raises(UserError, match="Both sides name the run smoke;"):
        compare.page(made["plain"], open_run("smoke", folder=tmp_path), tmp_path / "page")
    (made["seed"].folder / "tables" / "sac_auc.csv").unlink()
    with pytest.raises(UserError, match="The run smoke-seed1 is not finished"):
        compare.page(made["plain"], made["seed"], tmp_path / "page")
    assert not (tmp_path / "page").exists()
