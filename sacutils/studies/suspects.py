"""What several of the attack chapters show of their models: recipes, accuracy, fidelity, curves."""

import pandas as pd
import torch

from .. import steps, training
from ..profiles import Profile
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


MEASURES = {
    "accuracy": "accuracy",
    "fidelity": "fidelity",
    "query_accuracy": "accuracy on queries",
    "query_fidelity": "fidelity on queries",
}
"""What the records measure of a model, in the words of the tables."""


def regime(profile: Profile) -> str:
    """Whether the source was trained on images shifted as far as those that students ask about."""
    source, students = profile.recipes.source.pad, profile.recipes.extract_label.pad
    if source == students:
        return "one augmentation for everybody"
    return "source without augmentation" if source == 0 else "source and students shift differently"


def suspects(run: Run, *kinds: str) -> pd.DataFrame:
    """The models of some steps, and only these; they are trained when they are missing.

    Columns: name, step, group (its label), architecture, index, parent, fraction, accuracy and
    fidelity (0 to 1, on test images), query_accuracy and query_fidelity (on the first 1,000 of its
    own images, shifted and flipped as in its training; a thief asks the source about these), n
    (test images), seconds (of training).
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
    return suspects(run, "independent")["fidelity"].mean()


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
