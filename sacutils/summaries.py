"""Small tables that the chapters on the fingerprint show, computed from a run."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

from . import evaluation, lineage, training
from .probes import PROBE_SETS
from .runs import Run

SAME_CLASSES = [step for step in lineage.ATTACKS if step not in lineage.NEGATIVES]
"""Attacks that are compared with the default irrelevant models."""


def candidates(run: Run) -> pd.DataFrame:
    """How many images of the probe split are left after each condition of SAC-w.

    Parameters
    ----------
    run : Run
        Trains the source and the surrogates if they are missing.

    Returns
    -------
    pandas.DataFrame
        Columns condition, images; the last row is the probe set itself.
    """
    split = run.material.splits["probe"]
    left = torch.ones(len(split.labels), dtype=torch.bool)
    rows = [("in the probe split", len(left))]
    for name in [run.zoo.source, *run.names("surrogate")]:
        left &= training.logits_of(run.zoo.get(name), split.pixels).argmax(1) != split.labels.cpu()
        spec = run.zoo.specs[name]
        short = "source" if spec.step == "source" else f"surrogate {spec.architecture} #{spec.index}"
        rows.append((f"{'and ' if spec.parent else ''}{short} wrong", int(left.sum())))
    rows.append(("taken: the first of them", len(run.probes["w"].index)))
    return pd.DataFrame(rows, columns=["condition", "images"])


def answers(run: Run) -> pd.DataFrame:
    """How every model with the source's classes answers on each probe set.

    Returns
    -------
    pandas.DataFrame
        Columns probes, model, step, group, accuracy (against the true label; a mixed image keeps that of its background),
        confidence (mean largest probability) and agreement (share of the source's predictions repeated).
    """
    labels, rows = run.material.splits["probe"].labels.cpu(), []
    for probe_set, label in PROBE_SETS.items():
        truth = labels[run.probes[probe_set].index]
        theirs = run.logits[probe_set][run.zoo.source].argmax(1)
        for spec in run.zoo.specs.values():
            if spec.step.startswith("transfer") or spec.step in ("irrelevant_transfer", "irrelevant_corrupted"):
                continue
            confidence, predicted = run.outputs(probe_set, spec.name).max(1)
            rows.append(
                {
                    "probes": label,
                    "model": spec.name,
                    "step": spec.step,
                    "group": lineage.LABELS[spec.step],
                    "accuracy": (predicted == truth).double().mean().item(),
                    "confidence": confidence.double().mean().item(),
                    "agreement": (predicted == theirs).double().mean().item(),
                }
            )
    return pd.DataFrame(rows)


def configuration(run: Run, probe_set: str = "w", form: str = "probabilities", kind: str = "cosine") -> pd.DataFrame:
    """The rows of the table of distances that belong to one probe set, output form and correlation."""
    table = run.distances
    chosen = (table["probes"] == PROBE_SETS[probe_set]) & (table["form"] == form) & (table["measure"] == kind)
    return table[chosen]


def compared(part: pd.DataFrame, attack: str, column: str = "distance") -> tuple[np.ndarray, np.ndarray]:
    """The stolen models of an attack and the irrelevant models that it is compared with, as values of one column.

    Parameters
    ----------
    part : pandas.DataFrame
        Rows of one configuration, see :func:`configuration`.
    attack : str
        A name of ``lineage.ATTACKS``.
    column : str
        What to return of each model.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Stolen, irrelevant.
    """
    negatives = lineage.negative_sets(attack)[lineage.MAIN_NEGATIVES]
    return part.loc[part["step"] == attack, column].to_numpy(), part.loc[part["step"].isin(negatives), column].to_numpy()


def auc_wide(run: Run, across: str, probe_set: str | None = "w", form: str | None = "probabilities") -> pd.DataFrame:
    """AUC with interval, one row per attack and one column per value of `across`, in the main comparison.

    Parameters
    ----------
    run : Run
        The run.
    across : {"probes", "form", "negatives"}
        What the columns compare; the cosine is used throughout.
    probe_set, form : str or None
        What is held fixed, or None for what is compared.

    Returns
    -------
    pandas.DataFrame
        Columns attack, then the numbers of models ("8 / 16": stolen / irrelevant), then texts such as "0.98 [0.91, 1.00]".
        Where irrelevant groups are compared, the number of irrelevant models follows in round brackets.
    """
    table = run.auc
    table = table[table["measure"] == "cosine"]
    for column, value in (("probes", probe_set and PROBE_SETS[probe_set]), ("form", form)):
        table = table if value is None else table[table[column] == value]
    if across != "negatives":
        table = table[table["negatives"] == lineage.MAIN_NEGATIVES]
    texts = [str(evaluation.Auc(row.auc, row.low, row.high)) for row in table.itertuples()]
    if across == "negatives":
        texts = [f"{text} ({row.n_irrelevant})" for text, row in zip(texts, table.itertuples(), strict=True)]
    wide = table.assign(text=texts).pivot(index="attack", columns=across, values="text")
    wide = wide.loc[table["attack"].unique(), table[across].unique()].reset_index()
    sizes = table.drop_duplicates("attack").set_index("attack").loc[wide["attack"]]
    if across == "negatives":
        wide.insert(1, "stolen", sizes["n_stolen"].to_numpy())
    else:
        wide.insert(1, "models", [f"{row.n_stolen} / {row.n_irrelevant}" for row in sizes.itertuples()])
    return wide.rename_axis(columns=None).fillna("–")


def architecture_confound(run: Run) -> pd.DataFrame:
    """What a mere detector of the source's architecture scores, and what SAC-w scores among models of one architecture.

    Returns
    -------
    pandas.DataFrame
        Columns attack, architecture (AUC of "has the source's architecture"), sac (AUC of SAC-w on probabilities against all),
        same (the same against irrelevant models of the source's architecture only, or None) and n_same (how many these are).
    """
    part, source = configuration(run), run.zoo.specs[run.zoo.source].architecture
    rows = []
    for attack in lineage.ATTACKS:
        other = [(values != source).astype(float) for values in compared(part, attack, "architecture")]
        stolen, irrelevant = compared(part, attack)
        near = irrelevant[other[1] == 0]
        settings = (run.profile.bootstrap, run.profile.seed)
        rows.append(
            {
                "attack": lineage.LABELS[attack],
                "architecture": evaluation.auc(*other, *settings).value,
                "sac": evaluation.auc(stolen, irrelevant, *settings),
                "same": evaluation.auc(stolen, near, *settings) if len(near) else None,
                "n_same": len(near),
            }
        )
    return pd.DataFrame(rows)


def calibrated(run: Run, probe_set: str = "w", form: str = "probabilities") -> pd.DataFrame:
    """True and false positive rates at a threshold set on other models than those evaluated.

    The irrelevant models on owner data set the threshold; those on attacker data are evaluated, with every attack that is
    compared with them.

    Returns
    -------
    pandas.DataFrame
        Columns attack, tpr, found and n (stolen models), fpr, accused and n_irrelevant, fpr_low and fpr_high (95 %, exact).
    """
    part = configuration(run, probe_set, form)
    by_step = {step: group["distance"].to_numpy() for step, group in part.groupby("step")}
    calibration, irrelevant, rows = by_step["irrelevant_owner"], by_step["irrelevant"], []
    for attack in SAME_CLASSES:
        tpr, fpr = evaluation.calibrated_rates(calibration, by_step[attack], irrelevant)
        accused = round(fpr * len(irrelevant))
        interval = binomtest(accused, len(irrelevant)).proportion_ci()
        rows.append(
            {
                "attack": lineage.LABELS[attack],
                "tpr": tpr,
                "found": round(tpr * len(by_step[attack])),
                "n": len(by_step[attack]),
                "fpr": fpr,
                "accused": accused,
                "n_irrelevant": len(irrelevant),
                "fpr_low": interval.low,
                "fpr_high": interval.high,
            }
        )
    return pd.DataFrame(rows)


def training_seconds(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Training time by group, from the records of the models.

    Returns
    -------
    pandas.DataFrame
        Columns group, models, seconds, per model.
    """
    rows = pd.DataFrame([{"group": lineage.LABELS[record["step"]], "seconds": record["seconds"]} for record in records])
    result = rows.groupby("group", sort=False)["seconds"].agg(["size", "sum", "mean"]).reset_index()
    return result.set_axis(["group", "models", "seconds", "per model"], axis=1)


def flattened(values: dict[str, Any], prefix: str = "") -> pd.DataFrame:
    """Nested parameters as one row each, under the dotted path by which they can be overridden.

    Returns
    -------
    pandas.DataFrame
        Columns parameter, value (as text).
    """
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += flattened(value, f"{prefix}{key}.").to_dict("records")
        else:
            rows.append({"parameter": prefix + key, "value": "–" if value is None else str(value)})
    return pd.DataFrame(rows, columns=["parameter", "value"])


def movements(table: pd.DataFrame) -> pd.DataFrame:
    """How far the AUC moves from setting to setting.

    Two settings are *apart* if their 95 % intervals are disjoint. Pairs with a group of fewer than three models on either
    side are not judged, because a bootstrap over one or two models gives an interval that is far too narrow.

    Parameters
    ----------
    table : pandas.DataFrame
        As made by ``ablations.table``.

    Returns
    -------
    pandas.DataFrame
        One row per ablation, series and attack. Columns: settings (how many), lowest, highest (AUCs), low_at, high_at (their
        settings), range, pairs (judged), apart (how many of them), gap (largest difference of two settings that are apart, 0 if
        none are) and gap_text (which two).
    """
    rows = []
    for (ablation, series, attack), part in table.groupby(["ablation", "series", "attack"], sort=False):
        least, most = part.loc[part["auc"].idxmin()], part.loc[part["auc"].idxmax()]
        large = part[part[["n_stolen", "n_irrelevant"]].min(axis=1) >= evaluation.FEWEST].sort_values("auc", kind="stable")
        pairs = list(combinations(large.itertuples(), 2))
        apart = [(below, above) for below, above in pairs if below.high < above.low]
        widest = max(apart, key=lambda pair: pair[1].auc - pair[0].auc, default=None)
        texts = [f"{evaluation.Auc(each.auc, each.low, each.high)} at “{each.setting}”" for each in widest or ()]
        rows.append(
            {
                "ablation": ablation,
                "series": series,
                "attack": attack,
                "settings": len(part),
                "lowest": least["auc"],
                "low_at": least["setting"],
                "highest": most["auc"],
                "high_at": most["setting"],
                "range": most["auc"] - least["auc"],
                "pairs": len(pairs),
                "apart": len(apart),
                "gap": widest[1].auc - widest[0].auc if widest else 0.0,
                "gap_text": " and ".join(texts),
            }
        )
    return pd.DataFrame(rows)


def extraction_effort(run: Run, prefix: str) -> pd.DataFrame:
    """The Extract-L students of the profile and of its variants with a common prefix, and what they cost.

    Returns
    -------
    pandas.DataFrame
        Columns epochs, images (of the attacker's, used), queries (one per image and epoch), model, fidelity; a row per student.
    """
    rows, whole = [], len(run.material.splits["attacker"].labels)
    for place in [run, *(run.variant(name) for name in run.profile.variants if name.startswith(prefix))]:
        recipe = place.profile.recipes.extract_label
        images = round(recipe.share * whole)
        cost = {"epochs": recipe.epochs, "images": images, "queries": recipe.epochs * images}
        names = place.names("extract_label")
        rows += [cost | {"model": name, "fidelity": place.zoo.record(name)["fidelity"]} for name in names]
    return pd.DataFrame(rows).sort_values(["epochs", "images"], kind="stable", ignore_index=True)


def fingerprints(run: Run) -> dict[str, tuple[str, str, str]]:
    """Every fingerprint that a profile can measure, by name: baselines first, then SAC on probabilities and on labels.

    Returns
    -------
    dict of tuple of str
        Probes, form and measure, which together choose the rows of ``run.all_auc`` and ``run.all_distances``.
    """
    keys = run.all_auc[["probes", "form", "measure"]].drop_duplicates().itertuples(index=False, name=None)
    sac = list(PROBE_SETS.values())
    found = {key[0]: key for key in keys if key[0] not in sac}
    found |= {name: (name, "probabilities", "cosine") for name in sac}
    return found | {f"{name} (labels)": (name, "labels", "cosine") for name in sac}


def pick(table: pd.DataFrame, chosen: dict[str, tuple[str, str, str]], n_probes: int) -> pd.DataFrame:
    """The rows of some fingerprints at one number of probes, in the order of `chosen`, with its keys as a column `method`.

    Parameters
    ----------
    table : pandas.DataFrame
        ``run.all_auc`` or ``run.all_distances``.
    chosen : dict of tuple of str
        Probes, form and measure, by the name to show, see :func:`fingerprints`.
    n_probes : int
        The budget.
    """
    names = pd.DataFrame([(name, *key) for name, key in chosen.items()], columns=["method", "probes", "form", "measure"])
    return names.merge(table[table["n_probes"] == n_probes], how="inner")


def method_wide(rows: pd.DataFrame, negatives: str = lineage.MAIN_NEGATIVES, attacks: list[str] | None = None) -> pd.DataFrame:
    """AUC with interval, a row per method and a column per attack.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of ``run.all_auc`` with a column `method`, see :func:`pick`.
    negatives : str
        The irrelevant models.
    attacks : list of str, optional
        Names of ``lineage.ATTACKS``; by default those that the comparison has.

    Returns
    -------
    pandas.DataFrame
        Column method, then a column per attack with texts such as "0.98 [0.91, 1.00]", or "–" where a method cannot judge.
    """
    rows = rows[rows["negatives"] == negatives]
    names = [lineage.LABELS[step] for step in attacks or lineage.ATTACKS]
    texts = [str(evaluation.Auc(row.auc, row.low, row.high)) for row in rows.itertuples()]
    wide = rows.assign(text=texts).pivot(index="method", columns="attack", values="text")
    wide = wide.loc[rows["method"].unique(), [name for name in names if name in wide.columns]]
    return wide.fillna("–").reset_index().rename_axis(columns=None)


def paired_difference(stolen: np.ndarray, irrelevant: np.ndarray, resamples: int, seed: int) -> tuple[float, float, float]:
    """Difference of the AUCs of two fingerprints that judged the same models, with its 95 % interval.

    Parameters
    ----------
    stolen, irrelevant : numpy.ndarray
        Distances, shape (2, models): the first fingerprint's and the second's.
    resamples, seed : int
        Of the bootstrap over models, which draws the same models for both fingerprints.

    Returns
    -------
    tuple of float
        First minus second, lower and upper bound; the bounds are NaN if a group has fewer than three models, or if every
        pair of models counts alike for both fingerprints, since then no resample can differ.
    """
    first, second = evaluation.ordered_pairs(stolen, irrelevant)
    gain = first - second
    if gain.min() == gain.max() or min(gain.shape) < evaluation.FEWEST:
        return float(gain.mean()), np.nan, np.nan
    low, high = np.quantile(evaluation.resampled(gain, resamples, np.random.default_rng(seed)), (0.025, 0.975))
    return float(gain.mean()), float(low), float(high)


def possible_difference(first: evaluation.Auc, second: evaluation.Auc) -> float:
    """The largest difference, either way, that two AUCs with these intervals leave possible.

    By squaring and adding (Newcombe 1998), as if the two were independent. For fingerprints that judged the same models this
    errs on the wide side, and it does not shrink to nothing where both are perfect.
    """
    difference = first.value - second.value
    above = np.hypot(first.high - first.value, second.value - second.low)
    below = np.hypot(first.value - first.low, second.high - second.value)
    return float(max(abs(difference + above), abs(difference - below)))


def against(
    run: Run, rows: pd.DataFrame, first: str, attacks: list[str] = SAME_CLASSES, negatives: str = lineage.MAIN_NEGATIVES
) -> pd.DataFrame:
    """One fingerprint against each of the others, all stolen models of some attacks taken as one group.

    Parameters
    ----------
    run : Run
        The run.
    rows : pandas.DataFrame
        Rows of ``run.all_distances`` with a column `method`, see :func:`pick`.
    first : str
        The method that the others are compared with.
    attacks : list of str
        Attacks with the same groups of irrelevant models.
    negatives : str
        The irrelevant models.

    Returns
    -------
    pandas.DataFrame
        A row per method: method, auc (an ``evaluation.Auc``), difference (AUC of `first` minus that of the method), low and
        high (:func:`paired_difference`), possible (:func:`possible_difference`), verdict ("better" or "worse": `first`, by an
        interval without 0; otherwise "no difference shown"). `first` itself, and a method that judged other models, have an
        AUC only. Methods that judge none of these models are left out.
    """
    settings, steps = (run.profile.bootstrap, run.profile.seed), lineage.negative_sets(attacks[0])[negatives]
    parts = {
        method: [part.loc[part["step"].isin(group)].set_index("model")["distance"] for group in (attacks, steps)]
        for method, part in rows.groupby("method", sort=False)
    }
    parts = {method: pair for method, pair in parts.items() if len(pair[0]) and len(pair[1])}
    areas = {method: evaluation.auc(*(values.to_numpy() for values in pair), *settings) for method, pair in parts.items()}
    result = []
    for method, pair in parts.items():
        row = {"method": method, "auc": areas[method], "difference": np.nan, "low": np.nan, "high": np.nan}
        row |= {"possible": np.nan, "verdict": "–"}
        if method != first and all(set(a.index) == set(b.index) for a, b in zip(parts[first], pair, strict=True)):
            both = [np.stack([a, b[a.index]]) for a, b in zip(parts[first], pair, strict=True)]
            row["difference"], row["low"], row["high"] = paired_difference(*both, *settings)
            row["possible"] = possible_difference(areas[first], areas[method])
            row["verdict"] = "better" if row["low"] > 0 else "worse" if row["high"] < 0 else "no difference shown"
        result.append(row)
    return pd.DataFrame(result)


def duration(seconds: float) -> str:
    """A time as text that does not break, to two digits or the whole number, in the unit that suits it."""
    limits = [(1e-3, 1e-6, "µs"), (1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min"), (np.inf, 3600, "h")]
    size, unit = next((size, unit) for limit, size, unit in limits if seconds < limit)
    value = seconds / size
    return f"{value:.1f}\u00a0{unit}" if 0 < value < 9.95 else f"{value:,.0f}\u00a0{unit}"
