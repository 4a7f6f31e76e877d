"""Published claims held against runs with several sources, by rules, as one tidy table."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from .. import evaluation, files, steps
from ..probes import PROBE_SETS
from ..steps import EXTRACTION, LABELS, MAIN_NEGATIVES, SAME_CLASSES
from .tables import (
    SAC_W,
    Tables,
    ablation,
    difference,
    differences,
    fingerprint,
    over_sources,
    rivals,
    select,
    summary,
)

REPRODUCES, IN_PART, DOES_NOT, UNDECIDED = "reproduces", "in part", "does not", "undecided"
CLAIMED = {
    "Finetune-A and -L": ["finetune_all", "finetune_last"],
    "Pruning": ["prune"],
    "Extract-L": ["extract_label"],
    "Extract-P": ["extract_probability"],
    "Extract-Adv": ["extract_adversarial"],
    "Transfer-A, -L and -10C": ["transfer_all", "transfer_last", "transfer_corrupted"],
}
"""Claims on SAC, each on one or more attacks."""
CHOICES = {"labels": ("SAC-w", "labels"), "raw logits": ("SAC-w", "logits")}
CHOICES["SAC-m"] = "SAC-m", "probabilities"
"""Choices that every run can change: probes and output form, by name."""
WIDEST = 0.5
"""An interval as wide as half the scale decides nothing."""

Row = Mapping[str, Any] | pd.Series
Cells = list[dict[str, Any]]
Stated = dict[str, float]  # published AUC by attack
Rules = tuple[float, float]  # bar and margin
KEY = "cell_verdict"
STATISTICS = ["low", "high", "smallest", "largest", "sources", "n_stolen", "n_independent"]


def published(zoo: str = "CIFAR-10") -> dict[str, Stated]:
    """Published AUCs of a zoo by method and attack, from ``results/published_auc.csv``."""
    table = pd.read_csv(files.home() / "results" / "published_auc.csv")
    parts = table[table["zoo"].str.startswith(zoo)].groupby("method", sort=False)
    return {method: dict(zip(part["attack"], part["auc"], strict=True)) for method, part in parts}


def judge(row: Row, value: float, bar: float, margin: float) -> str:
    """Whether an AUC of :func:`tables.over_sources` reproduces a published value.

    - *undecided*: a group has fewer than three models; or the interval is at least as wide as
      `WIDEST`; or it holds both the published value and 0.5, although these differ by more than
      `margin`.
    - *reproduces*: the published value, which is printed with two digits, lies in the interval; or
      it and the whole interval are at least `bar`.
    - *in part*: the interval lies on the published side of guessing (0.5) and, if the published
      value is below `bar`, so does the interval.
    - *does not*: otherwise.
    """
    low, high = row["low"], row["high"]
    inside = low - 0.005 <= value <= high + 0.005
    if _too_wide(row) or (inside and low <= 0.5 <= high and abs(value - 0.5) > margin):
        return UNDECIDED
    if inside or min(value, low) >= bar:
        return REPRODUCES
    same_side = low > 0.5 if value > 0.5 else high < 0.5
    return IN_PART if same_side and (value >= bar or high < bar) else DOES_NOT


def _too_wide(row: Row) -> bool:
    few = min(row["n_stolen"], row["n_independent"]) < evaluation.FEWEST
    return few or row["high"] - row["low"] >= WIDEST


def judge_difference(row: Row, margin: float) -> str:
    """Whether a difference of :func:`tables.difference` shows the first fingerprint to be better.

    *Reproduces* if the interval lies above 0; *does not* if it lies below, or within `margin` of 0
    on both sides, or if every pair of models counts alike for both; *undecided* otherwise.
    """
    if row["low"] > 0:
        return REPRODUCES
    if np.isnan(row["low"]):
        return DOES_NOT if row["alike"] else UNDECIDED
    level = -margin <= row["low"] and row["high"] <= margin
    return DOES_NOT if level or row["high"] < 0 else UNDECIDED


def together(words: list[str]) -> str:
    """One word for several cells.

    *Reproduces* if all do; *in part* if some do, or do in part; *does not* if none does even in
    part and at least one does not; *undecided* otherwise.
    """
    if set(words) == {REPRODUCES}:
        return REPRODUCES
    if {REPRODUCES, IN_PART} & set(words):
        return IN_PART
    return DOES_NOT if DOES_NOT in words else UNDECIDED


def alternatives(tables: Tables, attack: str) -> pd.DataFrame:
    """The AUC of SAC-w on one attack with one choice changed at a time.

    Columns: choice (its short name), and those of :func:`tables.over_sources`.
    """
    distances = tables["distances"]
    main = fingerprint(distances, *SAC_W)
    parts = {
        name: (fingerprint(distances, *key, "cosine"), MAIN_NEGATIVES)
        for name, key in CHOICES.items()
    }
    if attack == "prune":
        # the released code counts the ten lightest of fifteen
        models = tables["zoo"].set_index(["seed", "name"])["fraction"]
        fraction = models.reindex(pd.MultiIndex.from_frame(main[["seed", "model"]])).to_numpy()
        rungs = np.unique(fraction[~np.isnan(fraction)])
        light = rungs[: -(-2 * len(rungs) // 3)]
        chosen = main[np.isnan(fraction) | np.isin(fraction, light)]
        parts["lightest two thirds"] = (chosen, MAIN_NEGATIVES)
    if "owner data" in steps.negative_sets(attack):
        parts["owner data"] = (main, "owner data")
    rows = [
        {"choice": name} | over_sources(part, attack, sets) for name, (part, sets) in parts.items()
    ]
    if "ablations" in tables:
        where = {"series": "SAC-w, probabilities", "attack": LABELS[attack]}
        recipes = select(ablation(tables, "negatives"), **where)
        recipes = select(recipes, setting="attacker data, students' recipe")
        rows += recipes.assign(choice="students' recipe").to_dict("records")
        trained = select(ablation(tables, "extraction epochs"), **where)
        if len(trained) > 1:
            fewest = trained.loc[trained["setting"].astype(int).idxmin()]
            rows.append(fewest.to_dict() | {"choice": f"fewest epochs ({fewest['setting']})"})
    return pd.DataFrame(rows)[["choice", "auc", *STATISTICS]]


def _cell(name: str, published: float, row: Row, verdict: str) -> dict[str, Any]:
    """A cell of the ledger from values over sources."""
    value = row["auc"] if "auc" in row else row["value"]
    values = {column: row.get(column, np.nan) for column in STATISTICS}
    return {"cell": name, "published": published, "value": value} | values | {KEY: verdict}


def _together(cells: Cells) -> str:
    return together([cell[KEY] for cell in cells])


def _claim(claim: str, rule: str, cells: Cells, verdict: str = "", because: str = "") -> Cells:
    """Rows of a claim; its verdict is that of its cells together if none is given."""
    whole = {"verdict": verdict or _together(cells), "because": because}
    return [{"claim": claim, "rule": rule} | cell | whole for cell in cells]


def _turned(verdict: str, choices: dict[str, str]) -> str:
    """The choices that change a verdict on SAC: into which word, or to *reproduces*."""
    hit = verdict == REPRODUCES
    changed = {choice: word for choice, word in choices.items() if (word == REPRODUCES) != hit}
    return ", ".join(f"{choice}: {word}" for choice, word in changed.items())


def _cells(rows: pd.DataFrame, stated: Stated, rules: Rules) -> Cells:
    """Cells for the rows of a summary whose attack has a published AUC; `rules`: bar, margin."""
    rows = rows[rows["attack"].isin(list(stated))]
    pairs = [(stated[row["attack"]], row) for _, row in rows.iterrows()]
    return [_cell(row["attack"], value, row, judge(row, value, *rules)) for value, row in pairs]


def _on_sac(tables: Tables, stated: Stated, rules: Rules) -> Cells:
    """SAC has its published AUCs: a claim per line of `CLAIMED`."""
    main, rows = summary(tables, *SAC_W), []
    for name, attacks in CLAIMED.items():
        labels = [LABELS[attack] for attack in attacks]
        cells = _cells(select(main, attack=labels), stated, rules)
        words: dict[str, list[str]] = {}
        for attack in attacks:
            for _, row in alternatives(tables, attack).iterrows():
                word = judge(row, stated[LABELS[attack]], *rules)
                words.setdefault(row["choice"], []).append(word)
        choices = {choice: together(found) for choice, found in words.items()}
        because = _turned(_together(cells), choices)
        rows += _claim(f"SAC on {name}", "published AUC", cells, because=because)
    return rows


def _on_patches(tables: Tables, stated: Stated, rules: Rules) -> Cells:
    """SAC-m has SAC's published AUCs and needs no other models."""
    needed = select(tables["costs"], method="SAC-m")[["surrogates", "choosers"]].sum(axis=1).max()
    cells = _cells(summary(tables, "SAC-m", "probabilities", "cosine"), stated, rules)
    verdict = _together(cells) if needed == 0 else DOES_NOT
    word = DOES_NOT if needed else REPRODUCES
    cells.append(_cell("surrogates and choosers", 0, {"value": needed}, word))
    return _claim("SAC-m works without surrogates", "published AUC", cells, verdict)


def _against(tables: Tables, rival: str, stated: dict[str, Stated], margin: float) -> Cells:
    """SAC has the higher AUC wherever a published pair of values says so."""
    key, cells, coarse = rivals(tables)[rival], [], []
    measured = set(summary(tables, *key)["attack"])
    for attack in steps.ATTACKS:
        label = LABELS[attack]
        apart = stated["SAC"].get(label, 0) - stated[rival].get(label, np.inf)
        if label in measured and apart > 0:
            row = difference(tables, SAC_W, key, attack)
            cells.append(_cell(label, apart, row, judge_difference(row, margin)))
            row = difference(tables, ("SAC-w", "labels", "cosine"), key, attack)
            coarse.append(judge_difference(row, margin))
    because = _turned(_together(cells), {"labels": together(coarse)})
    return _claim(f"SAC is better than {rival}", "difference", cells, because=because)


def _on_extraction(tables: Tables, rival: str, stated: Stated, rules: Rules) -> Cells:
    """A rival has its published AUCs on extracted models."""
    key, labels = rivals(tables)[rival], [LABELS[attack] for attack in EXTRACTION]
    cells, hard = (
        _cells(select(summary(tables, *key, negatives), attack=labels), stated, rules)
        for negatives in (MAIN_NEGATIVES, "owner data")
    )
    because = _turned(_together(cells), {"owner data": _together(hard)})
    return _claim(f"{rival} on extraction", "published AUC", cells, because=because)


def _on_order(tables: Tables, stated: dict[str, Stated], rules: Rules) -> Cells:
    """What is harder there is harder here: the order of pairs of published cells that differ."""
    bar, margin = rules
    keys = {"SAC": SAC_W} | rivals(tables)
    pairs = [
        (value, row["auc"])
        for method, values in stated.items()
        if method in keys
        for _, row in summary(tables, *keys[method]).iterrows()
        if (value := values.get(row["attack"])) is not None
    ]
    there, here = np.array(pairs).T
    harder = there[:, None] < there - margin - 1e-9
    right = (here[:, None] < here) + 0.5 * (here[:, None] == here)
    share = float(right[harder].mean())
    word = REPRODUCES if share >= bar else IN_PART if share > 0.5 else DOES_NOT
    cell = _cell(f"share of {harder.sum()} pairs, ties counted half", 1, {"value": share}, word)
    return _claim("Order of attacks and methods", "order", [cell])


def _on_akh(tables: Tables) -> Cells:
    """Counting equal labels on the source's mistakes is on a par with everything else.

    A cell is AKH minus another method, over the attacks that keep the source's classes.
    """
    known = rivals(tables)
    others = {name: key for name, key in known.items() if name not in ("AKH", "EWE")}
    cells, sac = [], product(PROBE_SETS.values(), ("probabilities", "labels"))
    others |= {f"{name} ({form})": (name, form, "cosine") for name, form in sac}
    for _, row in differences(tables, known["AKH"], others, SAME_CLASSES).iterrows():
        unknown = np.isnan(row["low"]) and not row["alike"]
        word = UNDECIDED if unknown else DOES_NOT if row["high"] < 0 else REPRODUCES
        cells.append(_cell(row["method"], np.nan, row, word))
    words = [cell[KEY] for cell in cells]
    above = words.count(DOES_NOT)
    verdict = REPRODUCES if not above else IN_PART if above < len(words) / 2 else DOES_NOT
    verdict = UNDECIDED if set(words) == {UNDECIDED} else verdict
    return _claim("AKH is on a par", "no better method", cells, verdict)


def _on_nearness(tables: Tables) -> Cells:
    """MarginFinger's finding that independent models lie nearer to the source than copies."""
    labels, cells = [LABELS[attack] for attack in EXTRACTION], []
    forms = ("probabilities", "labels", "logits")
    for (name, stated), form in product(published("Tiny-ImageNet").items(), forms):
        rows = select(summary(tables, name, form, "cosine"), attack=labels)
        for _, row in rows.iterrows():
            word = REPRODUCES if row["high"] < 0.5 else DOES_NOT
            word = UNDECIDED if _too_wide(row) else word
            cell = f"{name} on {row['attack']} from {form}"
            cells.append(_cell(cell, stated[row["attack"]], row, word))
    return _claim("Independent models are nearer", "AUC below 0.5", cells)


def claims(tables: Tables, bar: float = 0.95, margin: float = 0.05) -> pd.DataFrame:
    """Published claims held against a reference or a run, whose ablations may be missing.

    From an AUC of `bar` on an attack counts as found; two AUCs that differ by no more than `margin`
    are level, see :func:`judge`.

    Returns
    -------
    pandas.DataFrame
        A row per cell of a claim: claim, rule (its name), cell, published, value, low, high,
        smallest, largest, sources, n_stolen, n_independent, cell_verdict; and of the whole claim
        verdict ("reproduces", "in part", "does not" or "undecided") and because (the choices that
        would change it, as ``choice: word``).
    """
    stated, known, rules = published(), rivals(tables), (bar, margin)
    rows = _on_sac(tables, stated["SAC"], rules)
    rows += _on_patches(tables, stated["SAC"], rules)
    for rival in ("IPGuard", "CAE", "EWE"):
        rows += _against(tables, rival, stated, margin) if rival in known else []
    for rival in ("IPGuard", "CAE"):
        rows += _on_extraction(tables, rival, stated[rival], rules) if rival in known else []
    rows += _on_order(tables, stated, rules)
    rows += _on_akh(tables) if "AKH" in known else []
    table = pd.DataFrame([*rows, *_on_nearness(tables)])
    return table.astype(dict.fromkeys(("sources", "n_stolen", "n_independent"), "Int64"))


def ledger(table: pd.DataFrame) -> pd.DataFrame:
    """One row per claim: claim, rule, cells (their number), verdict, because."""
    whole = table.drop_duplicates("claim")[["claim", "rule", "verdict", "because"]]
    whole.insert(2, "cells", whole["claim"].map(table["claim"].value_counts()))
    return whole.reset_index(drop=True)
