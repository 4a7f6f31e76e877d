"""What several of the attack chapters show of their models: recipes, accuracy, fidelity, curves."""

import pandas as pd
import torch

from .. import evaluation, models, steps, training
from ..probes import PUBLISHED
from ..run import Run
from ..steps import LABELS, STEPS
from .tables import clusters, strangers

SETTINGS = {
    "lr": "learning rate",
    "epochs": "epochs",
    "batch": "batch size",
    "momentum": "momentum",
    "weight_decay": "weight decay",
    "schedule": "schedule",
    "pad": "crop padding (pixels)",
    "flip": "horizontal flip",
    "temperature": "temperature T",
    "soft_weight": "weight w of the soft term",
    "pgd_steps": "PGD steps",
    "pgd_step": "PGD step in grey levels",
    "pgd_radius": "PGD radius in grey levels",
    "ladder": "pruned fractions",
}
"""Settings of a recipe, in the order and in the words of the tables."""


MEASURES = {
    "accuracy": "accuracy",
    "fidelity": "fidelity",
    "query_accuracy": "accuracy on queries",
    "query_fidelity": "fidelity on queries",
}
"""What the records measure of a model, in the words of the tables."""


def suspects(run: Run, *kinds: str) -> pd.DataFrame:
    """The models of some steps, and only these; they are trained when they are missing.

    Columns: name, step, group (its label), architecture, index, parent, fraction, accuracy and
    fidelity (0 to 1, on test images), query_accuracy and query_fidelity (on 1,000 of its own
    images, from the first to the last, shifted and flipped as in its training; a thief asks the
    source about these), n (test images), seconds (of training).
    """
    columns = ["name", "step", "architecture", "index", "parent", "fraction", "fidelity"]
    columns += ["query_accuracy", "query_fidelity", "seconds"]
    rows = []
    for name in run.names(*kinds):
        record = run.zoo.record(name)
        step = STEPS[record["step"]]
        test = run.material.splits["transfer_test" if step.new_labels else "test"]
        row = {column: record[column] for column in columns} | {"group": step.label}
        rows.append(row | {"accuracy": record["test_accuracy"], "n": len(test.labels)})
    shares = ["fidelity", "query_accuracy", "query_fidelity", "fraction"]
    return pd.DataFrame(rows).astype(dict.fromkeys(shares, float))


def stranger(run: Run) -> float:
    """What a copy has to exceed: the mean fidelity of the independent models on attacker data."""
    return strangers(suspects(run, "independent"))["extract_label"]


def spread(shares: pd.Series) -> str:
    """Mean of some shares and, of several, the lowest to the highest: ``"90% (89% to 91%)"``."""
    if shares.isna().all():
        return "–"
    extremes = f" ({shares.min():.1%} to {shares.max():.1%})" if len(shares) > 1 else ""
    return f"{shares.mean():.1%}{extremes}"


def group_table(
    rows: pd.DataFrame,
    *columns: str,
    by: tuple[str, ...] = ("group", "architecture"),
    stranger: float | None = None,
) -> pd.DataFrame:
    """One row per group and architecture, or whatever `by` names, from rows of :func:`suspects`.

    Columns: those of `by`, models (their number), :func:`spread` of each of `columns`, which hold
    shares, in the words of `MEASURES`; all of these if none is named. With the fidelity of a
    :func:`stranger`, the last column counts the models that copy less.
    """
    columns = columns or tuple(MEASURES)
    parts = rows.groupby(list(by), sort=False)
    table = parts[list(columns)].agg(spread).rename(columns=MEASURES)
    table.insert(0, "models", parts.size())
    if stranger is not None:
        weak = rows["fidelity"].lt(stranger).groupby([rows[key] for key in by], sort=False).sum()
        table["copy less than a stranger"] = [
            f"{count} of {size}" for count, size in zip(weak, table["models"], strict=True)
        ]
    return table.reset_index()


def share(hits: torch.Tensor) -> evaluation.Proportion:
    """The share of some images of which something holds, with its 95 % interval."""
    return evaluation.proportion_interval(hits.double().mean().item(), len(hits))


def with_intervals(rows: pd.DataFrame, share: str, n: str = "n") -> pd.DataFrame:
    """The rows with columns low and high, the 95 % interval of a share of `n` images."""
    pairs = zip(rows[share], rows[n], strict=True)
    bounds = [evaluation.proportion_interval(*pair) for pair in pairs]
    return rows.assign(low=[each.low for each in bounds], high=[each.high for each in bounds])


def gap(first: pd.DataFrame, second: pd.DataFrame, share: str) -> evaluation.Difference:
    """The difference of two groups' means of a share; `name` names the models, whose
    :func:`tables.clusters` count.
    """
    both = first, second
    names = [clusters(rows["name"].to_numpy()) for rows in both]
    return evaluation.mean_difference(*(rows[share].to_numpy() for rows in both), tuple(names))


def word(gap: evaluation.Difference, below: str, neither: str, above: str) -> str:
    """The word for a difference: its interval lies below 0, holds it or is not known, or above."""
    return above if gap.low > 0 else below if gap.high < 0 else neither


def recipe_table(run: Run, *kinds: str, released: dict[str, str] | None = None) -> pd.DataFrame:
    """How the models of some steps (of ``steps.STEPS``) are trained, a row per setting.

    Columns: setting, one per step, and "released code" where `released` says by setting what the
    released code of SAC does.
    """
    recipes = {LABELS[step]: steps.recipe_of(run.profile, step).model_dump() for step in kinds}
    table = pd.DataFrame(recipes, dtype=object)
    table = table.reindex([setting for setting in SETTINGS if setting in table.index]).map(_as_text)
    if released is not None:
        table["released code"] = [released.get(setting, "–") for setting in table.index]
    return table.rename(SETTINGS).rename_axis("setting").reset_index()


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"{part:.0%}" for part in value)
    if value is None or value != value:  # NaN: the recipe has no such setting
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def needs(run: Run, *kinds: str) -> str:
    """What a page needs that shows these models: their number, time of training, device, memory."""
    records = [run.zoo.record(name) for name in run.names(*kinds)]
    seconds = sum(record["seconds"] for record in records)
    devices = " and ".join(sorted({record["device"] for record in records}))
    images = sum(split.pixels.numel() for split in run.material.splits.values()) / 1e6
    models = f"{len(records)} models" if len(records) > 1 else "one model"
    trained = f"trained in {seconds:,.{0 if seconds >= 10 else 1}f} s on {devices}"
    return f"{models}, {trained}, and {images:,.1f} MB of images in memory"


def histories(run: Run, names: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    """Training curves (loss and accuracy per epoch) of some models, by their names in a legend."""
    return {label: run.zoo.record(name)["history"] for label, name in names.items()}


def weight_changes(run: Run, *kinds: str) -> pd.DataFrame:
    """How far the first copy of each step moved from the source, per layer of the same shape.

    Columns: layer, step, change (norm of the difference of the weights, by that of the source's),
    last (whether the layer is in the last block, see :func:`models.head_of`).
    """
    source, rows = run.zoo.get(run.zoo.source), []
    last = {id(weight) for weight in models.head_of(source).parameters()}
    for step in kinds:
        own = dict(run.zoo.get(run.names(step)[0]).named_parameters())
        for name, weight in source.named_parameters():
            if weight.ndim > 1 and own[name].shape == weight.shape:
                change = ((own[name] - weight).norm() / weight.norm()).item()
                row = {"layer": name.removeprefix("1.").removesuffix(".weight"), "step": step}
                rows.append(row | {"change": change, "last": id(weight) in last})
    return pd.DataFrame(rows)


def on_probes(run: Run, *kinds: str) -> pd.DataFrame:
    """How the models of some steps answer SAC's published probe sets, a row per set and model.

    Columns: probes (the set's label), name, step, group, and shares of the probes, 0 to 1:
    accuracy, confidence (mean of the largest probability), agreement (label is the source's).
    """
    truth, rows = run.material.splits["probe"].labels.cpu(), []
    for name, label in PUBLISHED.items():
        right, theirs = truth[run.probes[name].index], run.logits[name][run.zoo.source].argmax(1)
        for model in run.names(*kinds):
            confidence, predicted = run.outputs(name, model).max(1)
            row = {"probes": label, "name": model, "step": run.zoo.specs[model].step}
            row |= {"accuracy": (predicted == right).double().mean().item()}
            row |= {"confidence": confidence.mean().item()}
            rows.append(row | {"agreement": (predicted == theirs).double().mean().item()})
    return pd.DataFrame(rows).assign(group=lambda rows: rows["step"].map(LABELS))


def first_of_each(run: Run, step: str) -> dict[str, str]:
    """The first model of each architecture of a step, by architecture."""
    names: dict[str, str] = {}
    for name in run.names(step):
        names.setdefault(run.zoo.specs[name].architecture, name)
    return names


def predictions(run: Run, names: list[str]) -> torch.Tensor:
    """Labels that models predict on the test images, int64, shape (models, images)."""
    pixels = run.material.splits["test"].pixels
    answers = [training.logits_of(run.zoo.get(name), pixels) for name in names]
    return torch.stack(answers).argmax(2)
