"""The numbers of the preface, counted again from the tables that they come from."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from sacbook import findings
from sacutils import evaluation, steps
from sacutils.files import home
from sacutils.studies import references


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    return findings.of_references()


def accused(path: Path) -> list[dict[str, str]]:
    """Rows that accuse the source from labels with most probes, under one augmentation."""
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["accused"] == "source"]
    most = max(int(row["n_probes"]) for row in rows)
    rows = [row for row in rows if row["form"] == "labels" and int(row["n_probes"]) == most]
    return [row for row in rows if row["regime"] == "one augmentation"]


def test_hits_of_the_sibling_test_are_counted_over_all_sources(values):
    tables = sorted(home().glob("results/*/verdicts.csv"))
    rows = [row | {"run": path} for path in tables for row in accused(path)]
    sources = {(row["run"], row["seed"]) for row in rows}
    assert values["ref_leading"].startswith(f"{len(sources)} source")

    def hits(chosen: list[dict[str, str]]) -> str:
        return f"{sum(float(row['p']) <= 0.01 for row in chosen)} of {len(chosen)}"

    assert values["ref_innocent"] == hits([row for row in rows if row["derived"] == "False"])
    for path in tables:
        own = [row for row in rows if row["run"] == path and row["derived"] == "True"]
        if loop := [row for row in own if row["style"] == "in the loop"]:
            assert f"{hits(loop)} on {path.parent.name}" in values["ref_loop_by_run"]
    for style in ("in the loop", "asked once", "noisy", "hardened", "probabilities", "weights"):
        chosen = [row for row in rows if row["style"] == style and row["derived"] == "True"]
        assert values[f"ref_style_{style.replace(' ', '_')}"] == hits(chosen)


def test_sources_of_several_references_are_counted_together(values, monkeypatch):
    names, load = references.available(), references.load
    monkeypatch.setattr(references, "available", lambda *folder: [*names, "again"])
    monkeypatch.setattr(references, "load", lambda name: load({"again": "fashion"}.get(name, name)))
    found = findings.of_references()
    tables = [*home().glob("results/*/verdicts.csv"), home() / "results/fashion/verdicts.csv"]
    rows = [row | {"run": i} for i, path in enumerate(tables) for row in accused(path)]
    innocent = [row for row in rows if row["derived"] == "False"]
    hits = np.array([float(row["p"]) <= 0.01 for row in innocent])
    sources = np.array([f"{row['run']} {row['seed']}" for row in innocent])
    assert found["ref_innocent"] == f"{hits.sum()} of {len(hits)}" != values["ref_innocent"]
    high = evaluation.clustered_share(hits, sources, 0.05).high
    assert found["ref_innocent_high"] == f"{high:.1%}" != values["ref_innocent_high"]


@pytest.mark.parametrize(("name", "suffix"), [("fashion", ""), ("cifar10", "_cifar10")])
def test_auc_of_students_is_the_mean_over_sources(values, name, suffix):
    def distances(seed: str, kinds: list[str]) -> list[float]:
        part = [row for row in rows if row["seed"] == seed and row["step"] in kinds]
        return [float(row["distance"]) for row in part]

    with (home() / f"results/{name}/distances.csv").open(encoding="utf-8") as file:
        key = {"probes": "SAC-w", "form": "probabilities", "measure": "cosine", "n_probes": "100"}
        rows = [row for row in csv.DictReader(file) if key.items() <= row.items()]
    for negatives in ("attacker data", "owner data", "students of another"):
        areas, kinds = [], steps.negative_sets("extract_label")[negatives]
        for seed in sorted({row["seed"] for row in rows}):
            own, other = distances(seed, ["extract_label"]), distances(seed, kinds)
            areas.append(sum(a < b for a in own for b in other) / len(own) / len(other))
        found = values[f"ref_label_{negatives.split()[0]}{suffix}"]
        assert found.startswith(f"{sum(areas) / len(areas):.2f} [")


def test_findings_on_attacks_are_those_of_the_committed_rows(values):
    path = home() / "results/fashion/attacks.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for score, strength in (("SAC-w", ""), ("SAC-w", "2"), ("SAC-w, matched", "2")):
        key = {"family": "temperature" if strength else "none", "strength": strength}
        key |= {"group": "Extract-L", "score": score}
        areas = [float(row["auc"]) for row in rows if key.items() <= row.items()]
        assert f" {sum(areas) / len(areas):.2f} [" in values["ref_attack_1"]
    key = {"family": "accuser lies", "strength": "probes chosen after", "score": "AKH"}
    found = [row for row in rows if key.items() <= row.items()]
    innocents = sum(int(row["suspects"]) for row in found)
    accused = sum(float(row["found"]) * int(row["suspects"]) for row in found)
    assert (
        f"AKH, on contested probes, accuse {round(accused)} of {innocents} innocents"
        in values["ref_attack_4"]
    )


def test_words_of_the_ledger_add_up(values):
    words = ("reproduces", "in_part", "compatible", "does_not")
    assert sum(int(values[f"ref_{word}"]) for word in words) == int(values["ref_claims"]) > 0


def test_the_preface_shows_no_value_that_is_not_made(values):
    text = (home() / "book/preface.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\{\{ (ref_\w+) \}\}", text))
    assert len(shown) > 15 and shown <= set(values)
