"""What several of the attack chapters show of their models: recipes, accuracy, fidelity, curves."""

import pandas as pd
import torch

from .. import steps, training
from ..run import Run
from ..steps import LABELS, STEPS

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


def suspects(run: Run, *kinds: str) -> pd.DataFrame:
    """The models of some steps, and only these; they are trained when they are missing.

    Columns: name, step, group (its label), architecture, index, fraction, accuracy and fidelity
    (0 to 1, on test images), n (test images), seconds (of training).
    """
    columns = ["name", "step", "architecture", "index", "fraction", "fidelity", "seconds"]
    rows = []
    for name in run.names(*kinds):
        record = run.zoo.record(name)
        step = STEPS[record["step"]]
        test = run.material.splits["transfer_test" if step.new_labels else "test"]
        row = {column: record[column] for column in columns} | {"group": step.label}
        rows.append(row | {"accuracy": record["test_accuracy"], "n": len(test.labels)})
    return pd.DataFrame(rows).astype({"fidelity": float, "fraction": float})


def spread(shares: pd.Series) -> str:
    """Mean of some shares and, of several, the lowest to the highest: ``"90% (89% to 91%)"``."""
    if shares.isna().all():
        return "–"
    extremes = f" ({shares.min():.1%} to {shares.max():.1%})" if len(shares) > 1 else ""
    return f"{shares.mean():.1%}{extremes}"


def group_table(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """One row per group and architecture, from rows of :func:`suspects`.

    Columns: group, architecture, models (their number), and :func:`spread` of each of `columns`,
    which hold shares; accuracy and fidelity if none is named.
    """
    columns = columns or ("accuracy", "fidelity")
    parts = rows.groupby(["group", "architecture"], sort=False)
    table = parts[list(columns)].agg(spread)
    table.insert(0, "models", parts.size())
    return table.reset_index()


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
