"""Small tables that chapters 10 and 11 show, computed from a run."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

from . import evaluation, lineage, training
from .runs import PROBE_SETS, Run

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
    chosen = (table["probes"] == PROBE_SETS[probe_set]) & (table["form"] == form) & (table["correlation"] == kind)
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
    table = table[table["correlation"] == "cosine"]
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
