"""Published claims held against runs with several sources: what reproduces, what does not, and what was measured beside it."""

from typing import Any

import numpy as np
import pandas as pd

from . import evaluation, lineage, summaries
from .probes import PROBE_SETS
from .reference import (
    Key,
    Reference,
    ablation,
    baselines,
    difference,
    fingerprint,
    over_sources,
    published,
    select,
    summary,
    text,
)

REPRODUCES, IN_PART, DOES_NOT, UNDECIDED = "reproduces", "in part", "does not", "undecided"
SAC_W: Key = ("SAC-w", "probabilities", "cosine")
"""The fingerprint by which claims on SAC are judged, as elsewhere in the book where none is named."""
CLAIMED = {
    "Finetune-A and -L": ["finetune_all", "finetune_last"],
    "Pruning": ["prune"],
    "Extract-L": ["extract_label"],
    "Extract-P": ["extract_probability"],
    "Extract-Adv": ["extract_adversarial"],
    "Transfer-A, -L and -10C": ["transfer_all", "transfer_last", "transfer_corrupted"],
}
"""Claims on SAC, each on one or more attacks."""
EXTRACTION = ["extract_label", "extract_probability", "extract_adversarial"]
WIDEST = 0.5
"""An interval as wide as half the scale decides nothing."""


def judge(row: Any, value: float, bar: float, margin: float) -> str:
    """Whether an AUC over sources reproduces a published value.

    - *undecided*: a group has fewer than three models; or the interval is at least as wide as `WIDEST`; or it holds both the
      published value and 0.5, although these differ by more than `margin`.
    - *reproduces*: the published value, which is printed with two digits, lies in the interval; or it and the whole interval
      are at least `bar`.
    - *in part*: the interval lies on the published side of guessing (0.5) and, if the published value is below `bar`, so does
      the interval.
    - *does not*: otherwise.

    Parameters
    ----------
    row : Any
        With the attributes of :func:`over_sources`.
    value : float
        The published AUC.
    bar : float
        The AUC from which an attack counts as found.
    margin : float
        Two AUCs that differ by no more are level.
    """
    low, high = row.auc.low, row.auc.high
    inside = low - 0.005 <= value <= high + 0.005
    if _too_wide(row) or (inside and low <= 0.5 <= high and abs(value - 0.5) > margin):
        return UNDECIDED
    if inside or min(value, low) >= bar:
        return REPRODUCES
    same_side = low > 0.5 if value > 0.5 else high < 0.5
    return IN_PART if same_side and (value >= bar or high < bar) else DOES_NOT


def _too_wide(row: Any) -> bool:
    return min(row.n_stolen, row.n_irrelevant) < evaluation.FEWEST or row.auc.high - row.auc.low >= WIDEST


def judge_difference(row: dict[str, Any], margin: float) -> str:
    """Whether a difference over sources, as made by :func:`difference`, shows the first fingerprint to be the better one.

    *Reproduces* if the interval lies above 0; *does not* if it lies below, or within `margin` of 0 on both sides, or if every
    pair of models counts alike for both; *undecided* otherwise.
    """
    if row["low"] > 0:
        return REPRODUCES
    if np.isnan(row["low"]):
        return DOES_NOT if row["alike"] else UNDECIDED
    level = -margin <= row["low"] and row["high"] <= margin
    return DOES_NOT if level or row["high"] < 0 else UNDECIDED


def together(words: list[str]) -> str:
    """One word for several cells.

    *Reproduces* if all do; *in part* if some do, or do in part; *does not* if none does even in part and at least one does not;
    *undecided* otherwise.
    """
    if set(words) == {REPRODUCES}:
        return REPRODUCES
    if {REPRODUCES, IN_PART} & set(words):
        return IN_PART
    return DOES_NOT if DOES_NOT in words else UNDECIDED


def alternatives(tables: Reference, attack: str) -> dict[str, pd.Series]:
    """The AUC of SAC-w on one attack with one choice changed at a time: the output form, the probes, the company, the copies.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        As loaded by :func:`load`.
    attack : str
        A name of ``lineage.ATTACKS``.

    Returns
    -------
    dict of pandas.Series
        Rows with the values of :func:`over_sources` by the name of the choice.
    """
    distances, main = tables["distances"], fingerprint(tables["distances"], *SAC_W)
    parts = {
        "from labels": (fingerprint(distances, "SAC-w", "labels", "cosine"), lineage.MAIN_NEGATIVES),
        "from raw logits": (fingerprint(distances, "SAC-w", "logits", "cosine"), lineage.MAIN_NEGATIVES),
        "with SAC-m": (fingerprint(distances, "SAC-m", "probabilities", "cosine"), lineage.MAIN_NEGATIVES),
    }
    if attack == "prune":
        # the released code counts the ten lightest of fifteen
        fraction = main.merge(tables["zoo"], left_on=["seed", "model"], right_on=["seed", "name"], how="left")["fraction"]
        rungs = np.sort(fraction.dropna().unique())
        light = rungs[: -(-2 * len(rungs) // 3)]
        parts["with the lightest two thirds only"] = (
            main[(fraction.isna() | fraction.isin(light)).to_numpy()],
            lineage.MAIN_NEGATIVES,
        )
    if "owner data" in lineage.negative_sets(attack):
        parts["against models on owner data"] = (main, "owner data")
    found = {name: pd.Series(over_sources(part, attack, negatives)) for name, (part, negatives) in parts.items()}
    for ablated, setting, name in (
        ("negatives", "attacker data, students' recipe", "against models with the students' recipe"),
        ("extraction epochs", None, "after {} of extraction"),
    ):
        rows = ablation(tables, ablated)
        rows = select(rows, series="SAC-w, probabilities", attack=lineage.LABELS[attack]) if len(rows) else rows
        if setting is None and len(rows) > 1:
            rows = rows.loc[[rows["setting"].astype(int).idxmin()]]
        elif setting is not None and len(rows):
            rows = select(rows, setting=setting)
        else:
            continue
        found |= {name.format(_epochs(row["setting"])): row for _, row in rows.iterrows()}
    return found


def _epochs(count: str) -> str:
    return f"{count} epoch{'' if count == '1' else 's'}"


def _shown(pairs: dict[str, Any]) -> str:
    """AUCs by attack as one text."""
    if len(pairs) == 1:
        return text(next(iter(pairs.values())))
    return "; ".join(f"{name} {text(row)}" for name, row in pairs.items())


def _values(pairs: dict[str, float]) -> str:
    if len(set(pairs.values())) == 1:
        return f"{next(iter(pairs.values())):.2f}"
    return ", ".join(f"{name} {value:.2f}" for name, value in pairs.items())


def _copies(tables: Reference, steps: list[str]) -> list[str]:
    """How faithful the copies of some steps are, beside models that never met the source, as text; nothing for new labels."""
    fidelity = tables["zoo"].groupby("step")["fidelity"].mean()
    known = [step for step in steps if step not in lineage.NEGATIVES]
    return (
        [f"fidelity of the copies {fidelity[known].mean():.0%}, of irrelevant models {fidelity['irrelevant']:.0%}"]
        if known
        else []
    )


def _on_sac(
    tables: Reference, main: pd.DataFrame, name: str, values: dict[str, float], bar: float, margin: float
) -> dict[str, str]:
    """The claim that SAC has its published AUC on some attacks."""
    steps = [step for step in CLAIMED[name] if lineage.LABELS[step] in main.index]
    shown = {lineage.LABELS[step]: main.loc[lineage.LABELS[step]] for step in steps}
    words = {attack: judge(row, values[attack], bar, margin) for attack, row in shown.items()}
    word = together(list(words.values()))
    choices: dict[str, dict[str, Any]] = {}
    for step in steps:
        for choice, row in alternatives(tables, step).items():
            choices.setdefault(choice, {})[lineage.LABELS[step]] = row
    others: dict[str, list[str]] = {REPRODUCES: [], IN_PART: [], DOES_NOT: [], UNDECIDED: []}
    for choice, rows in choices.items():
        found = together([judge(row, values[attack], bar, margin) for attack, row in rows.items()])
        lowest = min(rows, key=lambda attack: rows[attack].auc.value)
        shown_as = f"{choice} ({f'{lowest} ' if len(rows) > 1 else ''}{rows[lowest].auc})"
        others[found].append(shown_as)
    weaker = {IN_PART: "in part only", DOES_NOT: "not", UNDECIDED: "undecided"}
    phrases = weaker if word == REPRODUCES else {REPRODUCES: "would reproduce"}
    turned = "; ".join(f"{phrase} {', '.join(others[key])}" for key, phrase in phrases.items() if others[key])
    because = turned or f"none of {len(choices)} other choices {'changes that' if word == REPRODUCES else 'makes it reproduce'}"
    sizes = dict.fromkeys(f"{row.n_stolen} against {row.n_irrelevant}" for row in shown.values())
    reasons = [because, *_copies(tables, steps), f"models per source: {' and '.join(sizes)}"]
    stated = {attack: values[attack] for attack in shown}
    return _row(f"SAC on {name}", _values(stated), _shown(shown), word, reasons)


def _row(claim: str, stated: str, measured: str, word: str, reasons: list[str]) -> dict[str, str]:
    return {"claim": claim, "published": stated, "measured": measured, "verdict": word, "because": "; ".join(reasons)}


def _on_patches(tables: Reference, values: dict[str, float], bar: float, margin: float) -> dict[str, str]:
    """The claim that SAC-m works and needs no surrogates."""
    needed = select(tables["costs"], method="SAC-m")[["surrogates", "references"]].sum(axis=1).max()
    own = summary(tables, "SAC-m", "probabilities", "cosine").set_index("attack")
    words = {attack: judge(row, values[attack], bar, margin) for attack, row in own.iterrows() if attack in values}
    word = together(list(words.values())) if needed == 0 else DOES_NOT
    lowest = own["auc"].map(lambda auc: auc.value).idxmin()
    good = [attack for attack, each in words.items() if each == REPRODUCES]
    wide = ablation(tables, "patch size")
    wide = select(wide, series="centre, probabilities", setting="0.5")
    half = {row.attack: row for row in wide.itertuples()}
    reasons = [f"reproduces on {len(good)} of {len(words)} attacks"]
    if half:
        least = min(half, key=lambda attack: half[attack].auc.value)
        reasons.append(f"with a patch of half width in the centre the lowest of {len(half)} is {half[least].auc} ({least})")
    labels = summary(tables, "SAC-m", "labels", "cosine").set_index("attack")
    least = labels["auc"].map(lambda auc: auc.value).idxmin()
    reasons.append(f"from labels the lowest is {labels.loc[least, 'auc']} ({least})")
    measured = f"surrogates and reference models: {needed:.0f}; lowest AUC {text(own.loc[lowest])} ({lowest})"
    return _row("SAC-m works without surrogates", "SAC's values", measured, word, reasons)


def signed(row: dict[str, Any]) -> str:
    """A difference, as made by :func:`difference`, as text: value, interval and, of several sources, smallest to largest."""
    # adding 0 turns -0.00 into +0.00
    value, low, high, smallest, largest = (
        f"{round(row[name], 2) + 0.0:+.2f}" for name in ("value", "low", "high", "smallest", "largest")
    )
    interval = "–" if np.isnan(row["low"]) else f"{low}, {high}"
    spread = f"; {smallest}\u00a0to\u00a0{largest}" if row["sources"] > 1 else ""
    return f"{value}\u00a0[{interval}]{spread}"


def _against(tables: Reference, rival: str, stated: dict[str, dict[str, float]], margin: float) -> dict[str, str]:
    """The claim that SAC has the higher AUC wherever a published pair of values says so."""
    key, labels = baselines(tables)[rival], {label: step for step, label in lineage.LABELS.items()}
    theirs = summary(tables, *key).set_index("attack")
    apart = {
        attack: stated["SAC"][attack] - value
        for attack, value in stated[rival].items()
        if stated["SAC"][attack] > value and attack in theirs.index
    }
    rows = {attack: difference(tables, SAC_W, key, [labels[attack]]) for attack in apart}
    word = together([judge_difference(row, margin) for row in rows.values()])
    coarse = [difference(tables, ("SAC-w", "labels", "cosine"), key, [labels[attack]]) for attack in apart]
    reasons = [f"{rival} itself: " + ", ".join(f"{attack} {theirs.loc[attack, 'auc']}" for attack in apart)]
    reasons.append(f"with SAC-w from labels: {together([judge_difference(row, margin) for row in coarse])}")
    if not all(row["paired"] for row in rows.values()):
        reasons.append("another source and other suspects, so not paired")
    measured = "; ".join(f"{attack} {signed(row)}" for attack, row in rows.items())
    return _row(f"SAC is better than {rival}", ", ".join(f"{a} {v:+.2f}" for a, v in apart.items()), measured, word, reasons)


def _on_extraction(tables: Reference, rival: str, values: dict[str, float], bar: float, margin: float) -> dict[str, str]:
    """The published AUCs of a rival on extracted models."""
    key = baselines(tables)[rival]
    own, hard = (summary(tables, *key, negatives).set_index("attack") for negatives in (lineage.MAIN_NEGATIVES, "owner data"))
    attacks = [lineage.LABELS[step] for step in EXTRACTION if lineage.LABELS[step] in own.index]
    words = [judge(own.loc[attack], values[attack], bar, margin) for attack in attacks]
    higher = sum(own.loc[attack, "auc"].value > values[attack] for attack in attacks)
    reasons = [f"higher than published in {higher} of {len(attacks)}"]
    reasons.append("against models on owner data: " + ", ".join(f"{attack} {hard.loc[attack, 'auc']}" for attack in attacks))
    reasons += _copies(tables, EXTRACTION)
    used = select(tables["costs"], method=rival).iloc[0]
    if used["surrogates"] + used["references"]:
        reasons.append(f"made with {used['surrogates']} surrogates and {used['references']} reference models")
    stated = {attack: values[attack] for attack in attacks}
    return _row(f"{rival} on extraction", _values(stated), _shown({a: own.loc[a] for a in attacks}), together(words), reasons)


def _on_akh(tables: Reference) -> dict[str, str]:
    """The claim that counting equal labels on the source's mistakes is on a par with everything else."""
    known, attacks = baselines(tables), summaries.SAME_CLASSES
    rivals = {name: key for name, key in known.items() if name not in ("AKH", "EWE")}
    forms = ("probabilities", "labels")
    rivals |= {f"{name} ({form})": (name, form, "cosine") for name in PROBE_SETS.values() for form in forms}
    rows = {name: difference(tables, known["AKH"], key, attacks) for name, key in rivals.items()}
    above = [name for name, row in rows.items() if row["high"] < 0]
    below = [name for name, row in rows.items() if row["low"] > 0]
    best = min(rows, key=lambda name: rows[name]["value"])
    if all(np.isnan(row["low"]) and not row["alike"] for row in rows.values()):
        word = UNDECIDED
    else:
        word = REPRODUCES if not above else IN_PART if len(above) < len(rows) / 2 else DOES_NOT
    measured = (
        f"better than AKH: {len(above)} of {len(rows)}; worse: {len(below)}; AKH minus the best, {best}: {signed(rows[best])}"
    )
    same = rows["SAC-source (probabilities)"]
    reasons = [
        f"better: {', '.join(above) or 'none'}",
        f"AKH minus the matrix of probabilities on the same images: {signed(same)}",
    ]
    return _row("AKH is on a par", "on a par", measured, word, reasons)


def _on_order(tables: Reference, stated: dict[str, dict[str, float]], bar: float, margin: float) -> dict[str, str]:
    """The claim that what is harder there is harder here: the order of those pairs of published cells that differ."""
    keys = {"SAC": SAC_W} | baselines(tables)
    means = {
        (method, row.attack): row.auc.value
        for method in stated
        if method in keys
        for row in summary(tables, *keys[method]).itertuples()
    }
    there, here = np.array(
        [(stated[method][attack], value) for (method, attack), value in means.items() if attack in stated[method]]
    ).T
    harder = there[:, None] < there - margin - 1e-9
    right, level = (here[:, None] < here)[harder], (here[:, None] == here)[harder]
    share = float((right + 0.5 * level).mean())
    word = REPRODUCES if share >= bar else IN_PART if share > 0.5 else DOES_NOT
    own = {attack: means["SAC", attack] for attack in stated["SAC"] if ("SAC", attack) in means}
    lowest = [attack for attack, value in own.items() if value == min(own.values())]
    hardest = ", ".join(lowest) if len(lowest) < len(own) else "all alike"
    there_hardest = min(stated["SAC"], key=stated["SAC"].get)
    measured = f"{share:.0%} of {harder.sum()} pairs of cells in the published order, ties counted half"
    reasons = [f"{level.sum()} pairs tie", f"SAC's lowest: {there_hardest} there, {hardest} here"]
    return _row("Order of attacks and methods", f"pairs more than {margin:.2f} apart", measured, word, reasons)


def _on_nearness(tables: Reference) -> dict[str, str]:
    """MarginFinger's finding that irrelevant models lie nearer to the source than extracted ones, for SAC-w and SAC-m."""
    attacks = [lineage.LABELS[step] for step in EXTRACTION]
    stated = published("Tiny-ImageNet")
    cells = {}
    for name in stated:
        for form in ("probabilities", "labels", "logits"):
            for row in summary(tables, name, form, "cosine").itertuples():
                if row.attack in attacks:
                    cells[f"{name} on {row.attack} from {form}"] = row
    words = {
        name: UNDECIDED if _too_wide(row) else REPRODUCES if row.auc.high < 0.5 else DOES_NOT for name, row in cells.items()
    }
    below = [name for name, word in words.items() if word == REPRODUCES]
    least = min(cells, key=lambda name: cells[name].auc.value)
    measured = f"nearer in {len(below)} of {len(cells)} cells; lowest AUC {text(cells[least])} ({least})"
    reasons = [f"nearer: {', '.join(below) or 'none'}", *_copies(tables, EXTRACTION)]
    fewest = alternatives(tables, "extract_label")
    reasons += [f"{name}: {row.auc}, fidelity {row.fidelity:.0%}" for name, row in fewest.items() if "epochs" in name]
    theirs = [values[attack] for values in stated.values() for attack in attacks]
    shown = f"AUC {min(theirs):.2f}–{max(theirs):.2f} (Tiny-ImageNet)"
    return _row("Irrelevant models are nearer", shown, measured, together(list(words.values())), reasons)


def claims(tables: Reference, bar: float = 0.95, margin: float = 0.05) -> pd.DataFrame:
    """Published claims held against a reference, by stated rules.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        As loaded by :func:`load` or made by :func:`of_run`.
    bar : float
        The AUC from which an attack counts as found, see :func:`judge`.
    margin : float
        A difference of two AUCs up to which they count as level.

    Returns
    -------
    pandas.DataFrame
        A row per claim, all texts: claim, published, measured, verdict ("reproduces", "in part", "does not" or "undecided"),
        because (quantities measured on the same models that go with the verdict).
    """
    stated, known = published(), baselines(tables)
    main = summary(tables, *SAC_W).set_index("attack")
    rows = [_on_sac(tables, main, name, stated["SAC"], bar, margin) for name in CLAIMED]
    rows.append(_on_patches(tables, stated["SAC"], bar, margin))
    rows += [_against(tables, rival, stated, margin) for rival in ("IPGuard", "CAE", "EWE") if rival in known]
    rows += [_on_extraction(tables, rival, stated[rival], bar, margin) for rival in ("IPGuard", "CAE") if rival in known]
    rows.append(_on_order(tables, stated, bar, margin))
    rows += [_on_akh(tables)] if "AKH" in known else []
    return pd.DataFrame([*rows, _on_nearness(tables)])
