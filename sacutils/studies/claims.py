"""Published claims held against runs with several sources, by rules, as one tidy table.

The rules (the page "Registered rules" of the book says the same, with its date):

- A cell is one comparison. It *reproduces* if its whole interval lies in the region of its rule in
  `RULES`, *does not* if the interval lies wholly outside the wider region, and is otherwise
  *compatible, not shown*: the data allow both.
- A claim on several cells reproduces if all do. Where a cell does not, the claim holds *in part* if
  at least half of its cells reproduce, and does not otherwise. It is *compatible, not shown* in all
  other cases. Easy attacks (fine-tuning, pruning) and hard ones (extraction, transfer) are claims
  apart.
- Several comparisons of one claim, each a chance for a hit (all rules but "published AUC"), share
  their error (:func:`evaluation.holm`). Their table shows 95 % intervals, which are narrower.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pandas as pd

from .. import evaluation, files, steps
from ..probes import PUBLISHED
from ..steps import EXTRACTION, LABELS, MAIN_NEGATIVES
from .tables import (
    SAC_W,
    ByFingerprint,
    Key,
    Row,
    Tables,
    ablation,
    bounds,
    difference,
    differences,
    fingerprint,
    over_sources,
    rivals,
    select,
    summary,
)

REPRODUCES, IN_PART, DOES_NOT = "reproduces", "in part", "does not"
COMPATIBLE = "compatible, not shown"
EASY = ["finetune_all", "finetune_last", "prune"]
HARD = [*EXTRACTION, "transfer_all", "transfer_last", "transfer_corrupted"]
CLAIMED = {
    "Finetune-A and -L": EASY[:2],
    "Pruning": EASY[2:],
    "Extract-L": HARD[:1],
    "Extract-P": HARD[1:2],
    "Extract-Adv": HARD[2:3],
    "Transfer-A, -L and -10C": HARD[3:],
}
"""Claims on SAC, each on one or more attacks."""
CHOICES = {"labels": ("SAC-w", "labels"), "raw logits": ("SAC-w", "logits")}
CHOICES["SAC-m"] = "SAC-m", "probabilities"
"""Choices that every run can change: probes and output form, by name."""

Region = tuple[float, float]
RULES: dict[str, Callable[[float, float], tuple[Region, Region]]] = {
    "published AUC": lambda value, margin: ((value - margin, value + margin),) * 2,
    "better": lambda value, margin: ((0, 1), (margin, 1)),
    "level": lambda value, margin: ((-margin, margin),) * 2,
    "nearer": lambda value, margin: ((0, 0.5),) * 2,
    "none needed": lambda value, margin: ((0, 0),) * 2,
}
"""Where an interval has to lie to reproduce, and what it must not touch for *does not*, by rule;
from the published value and the margin.
"""

KEY = "cell_verdict"
STATISTICS = ["low", "high", "smallest", "largest", "sources", "n_stolen", "n_independent"]
Cell = tuple[str, float, Row]
"""Name, published value, and a row of a table over sources."""
Claim = tuple[str, str, list[Cell], dict[str, list[Cell]]]
"""Name, rule, cells, and the cells with one choice changed, by the choice."""


def published(zoo: str = "CIFAR-10") -> dict[str, dict[str, float]]:
    """Published AUCs of a zoo by method and attack, from ``results/published_auc.csv``."""
    table = pd.read_csv(files.home() / "results" / "published_auc.csv")
    parts = table[table["zoo"].str.startswith(zoo)].groupby("method", sort=False)
    return {method: dict(zip(part["attack"], part["auc"], strict=True)) for method, part in parts}


def judge(low: float, high: float, rule: str, value: float, margin: float) -> str:
    """The word for an interval: by a rule of `RULES`, a published value and the margin."""
    inside, outside = RULES[rule](value, margin)
    if inside[0] <= low and high <= inside[1]:
        return REPRODUCES
    return DOES_NOT if high < outside[0] or low > outside[1] else COMPATIBLE


def together(words: list[str]) -> str:
    """One word for several cells."""
    share = words.count(REPRODUCES) / len(words)
    if DOES_NOT in words:
        return IN_PART if share >= 0.5 else DOES_NOT
    return REPRODUCES if share == 1 else COMPATIBLE


def judged(cells: list[Cell], rule: str, margin: float) -> list[str]:
    """The words of a claim's cells. Rows of ablations have their 95 % interval only."""

    def words(level: float) -> list[str]:
        ends = [
            (row["low"], row["high"]) if "spread" not in row else bounds(row, level)
            for _, _, row in cells
        ]
        pairs = zip(cells, ends, strict=True)
        return [judge(*end, rule, value, margin) for (_, value, _), end in pairs]

    return words(0.95) if rule == "published AUC" else evaluation.holm(words, COMPATIBLE)


VARIED = ("negatives", "extraction epochs")
"""Ablations that hold further choices."""


def alternatives(
    tables: Tables, attack: str, varied: dict[str, pd.DataFrame] | None = None
) -> pd.DataFrame:
    """The AUC of SAC-w on one attack with one choice changed at a time.

    `varied` are the ablations `VARIED`, where they were summed up before. Columns: choice (its
    short name), and those of :func:`tables.over_sources`.
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
        rungs = np.unique(fraction[~np.isnan(fraction) & (main["step"] == "prune")])
        light = rungs[: -(-2 * len(rungs) // 3)]
        chosen = main[(main["step"] != "prune") | np.isin(fraction, light)]
        parts["lightest two thirds"] = (chosen, MAIN_NEGATIVES)
    measured = set(main["step"])
    for name, independent in steps.negative_sets(attack).items():
        if name not in (MAIN_NEGATIVES, "all") and measured.intersection(independent):
            parts[name] = (main, name)
    rows = [
        {"choice": name} | over_sources(part, attack, sets) for name, (part, sets) in parts.items()
    ]
    if "ablations" in tables:
        where = {"series": "SAC-w, probabilities", "attack": LABELS[attack]}
        varied = varied or {name: ablation(tables, name) for name in VARIED}
        recipes, trained = (select(varied[name], **where) for name in VARIED)
        recipes = select(recipes, setting="attacker data, students' recipe")
        rows += recipes.assign(choice="students' recipe").to_dict("records")
        if len(trained) > 1:
            fewest = trained.loc[trained["setting"].astype(int).idxmin()]
            rows.append(fewest.to_dict() | {"choice": f"fewest epochs ({fewest['setting']})"})
    return pd.DataFrame(rows)[["choice", "auc", *STATISTICS]]


def _stated(rows: pd.DataFrame, stated: dict[str, float], attacks: list[str]) -> list[Cell]:
    """Cells for those rows of a summary whose attack is named and has a published AUC."""
    names = [LABELS[attack] for attack in attacks if LABELS[attack] in stated]
    chosen = select(rows, attack=names)
    return [(row["attack"], stated[row["attack"]], row) for _, row in chosen.iterrows()]


def _on_sac(tables: Tables, stated: dict[str, float]) -> Iterator[Claim]:
    """SAC has its published AUCs, and SAC-m has them without other models."""
    main = summary(tables, *SAC_W)
    varied = {name: ablation(tables, name) for name in VARIED} if "ablations" in tables else None
    for name, attacks in CLAIMED.items():
        changed: dict[str, list[Cell]] = {}
        for attack in attacks:
            for _, row in alternatives(tables, attack, varied).iterrows():
                cell = (LABELS[attack], stated[LABELS[attack]], row)
                changed.setdefault(row["choice"], []).append(cell)
        yield f"SAC on {name}", "published AUC", _stated(main, stated, attacks), changed
    patches = summary(tables, "SAC-m", "probabilities", "cosine")
    for kind, attacks in (("easy", EASY), ("hard", HARD)):
        yield f"SAC-m on {kind} attacks", "published AUC", _stated(patches, stated, attacks), {}
    models = [name for name in ("surrogates", "choosers") if name in tables["costs"]]
    needed = float(select(tables["costs"], method="SAC-m")[models].sum(axis=1).max())
    row = {"value": needed, "low": needed, "high": needed}
    yield "SAC-m needs no other models", "none needed", [("other models", 0, row)], {}


def _against(tables: Tables, stated: dict[str, dict[str, float]], rival: str) -> Iterator[Claim]:
    """SAC has the higher AUC wherever a published pair of values says so; and the rival has its
    published AUCs on extraction.
    """
    key, labels = rivals(tables)[rival], ("SAC-w", "labels", "cosine")
    own = summary(tables, *key)
    for kind, attacks in (("easy", EASY), ("hard", HARD)):
        cells: dict[Key, list[Cell]] = {SAC_W: [], labels: []}
        for attack in attacks:
            label = LABELS[attack]
            apart = stated["SAC"].get(label, 0) - stated[rival].get(label, np.inf)
            if apart > 0 and label in set(own["attack"]):
                for first, part in cells.items():
                    part.append((label, apart, difference(tables, first, key, attack)))
        changed = {"labels": cells[labels]}
        yield f"SAC is better than {rival} on {kind} attacks", "better", cells[SAC_W], changed
    if rival != "EWE":
        main, hard = (
            _stated(summary(tables, *key, negatives), stated[rival], EXTRACTION)
            for negatives in (MAIN_NEGATIVES, "owner data")
        )
        yield f"{rival} on extraction", "published AUC", main, {"owner data": hard}


def _on_akh(tables: Tables) -> Iterator[Claim]:
    """Counting equal labels on the source's mistakes is level with everything else: AKH minus
    another method.
    """
    known = rivals(tables)
    others = {name: key for name, key in known.items() if name not in ("AKH", "EWE")}
    sac = product(PUBLISHED.values(), ("probabilities", "labels"))
    others |= {f"{name} ({form})": (name, form, "cosine") for name, form in sac}
    for kind, attacks in (("fine-tuning and pruning", EASY), ("extraction", EXTRACTION)):
        rows = differences(tables, known["AKH"], others, attacks).iterrows()
        yield f"AKH is level on {kind}", "level", [(row["method"], 0, row) for _, row in rows], {}


def _on_nearness(tables: Tables) -> Iterator[Claim]:
    """MarginFinger's finding that independent models lie nearer to the source than copies."""
    stated, cells = published("Tiny-ImageNet"), []
    for name, form in product(stated, ("probabilities", "labels", "logits")):
        rows = _stated(summary(tables, name, form, "cosine"), stated[name], EXTRACTION)
        cells += [(f"{name} on {cell} from {form}", *values) for cell, *values in rows]
    yield "Independent models are nearer", "nearer", cells, {}


def claims(tables: Tables, margin: float = 0.1) -> pd.DataFrame:
    """Published claims held against a reference or a run, whose ablations may be missing.

    Two AUCs that differ by no more than `margin` are level.

    Returns
    -------
    pandas.DataFrame
        A row per cell of a claim: claim, rule (its name in `RULES`), cell, published, value, low,
        high, smallest, largest, sources, n_stolen, n_independent, cell_verdict; and of the whole
        claim verdict ("reproduces", "in part", "does not" or "compatible, not shown") and because
        (the choices that would turn it to or from *reproduces*, as ``choice: word``).
    """
    tables = tables | {"distances": ByFingerprint(tables["distances"])}
    stated, known = published(), rivals(tables)
    found = list(_on_sac(tables, stated["SAC"]))
    for rival in ("IPGuard", "CAE", "EWE"):
        found += _against(tables, stated, rival) if rival in known else []
    found += _on_akh(tables) if "AKH" in known else []
    rows = []
    for claim, rule, cells, changed in [*found, *_on_nearness(tables)]:
        words = judged(cells, rule, margin) if cells else []
        verdict, turned = together(words) if words else "", []
        for choice, part in changed.items():
            word = together(judged(part, rule, margin)) if part else verdict
            if (word == REPRODUCES) != (verdict == REPRODUCES):
                turned.append(f"{choice}: {word}")
        for (name, value, row), word in zip(cells, words, strict=True):
            measured = row["value"] if "value" in row else row["auc"]
            part = {"claim": claim, "rule": rule, "cell": name, "published": value}
            part |= {"value": measured} | {key: row.get(key, np.nan) for key in STATISTICS}
            rows.append(part | {KEY: word, "verdict": verdict, "because": ", ".join(turned)})
    return pd.DataFrame(rows).astype(
        dict.fromkeys(("sources", "n_stolen", "n_independent"), "Int64")
    )


def ledger(table: pd.DataFrame) -> pd.DataFrame:
    """One row per claim: claim, rule, cells (their number), verdict, because."""
    whole = table.drop_duplicates("claim")[["claim", "rule", "verdict", "because"]]
    whole.insert(2, "cells", whole["claim"].map(table["claim"].value_counts()))
    return whole.reset_index(drop=True)
