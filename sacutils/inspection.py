"""What chapters 3 to 8 show of data and models, as small tables: splits, layers, recipes, accuracy, fidelity, answers."""

from collections import Counter

import pandas as pd
import torch
from torch import nn

from . import attacks, data, evaluation, lineage, training
from .data import Images
from .profiles import Adversarial
from .runs import Run
from .zoo import trains_on

PURPOSES = {
    "owner": "trains the source, its surrogates and one group of irrelevant models",
    "attacker": "trains stolen models and irrelevant models",
    "probe": "probes are chosen here, and nowhere else",
    "test": "accuracy and fidelity are reported here, and nowhere else",
}
"""What each split is for."""

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


def needs(run: Run, *steps: str) -> str:
    """What a page needs that shows the models of some steps: their number, time of training, device, and memory for images."""
    records = [run.zoo.record(name) for name in run.names(*steps)]
    seconds, devices = sum(record["seconds"] for record in records), sorted({record["device"] for record in records})
    images = sum(split.pixels.numel() for split in run.material.splits.values()) / 1e6
    many = f"{len(records)} models" if len(records) > 1 else "one model"
    took = f"{seconds:,.{0 if seconds >= 10 else 1}f} s on {' and '.join(devices)}"
    return f"{many}, trained in {took}, and {images:,.1f} MB of images in memory"


def class_counts(run: Run) -> pd.DataFrame:
    """Number of images of each class (rows) in each split (columns)."""
    splits, classes = run.material.splits, run.material.class_names
    counts = {name: torch.bincount(splits[name].labels.cpu(), minlength=len(classes)).numpy() for name in data.SPLITS}
    return pd.DataFrame(counts, index=classes)


def shared_images(run: Run) -> tuple[int, int]:
    """How disjoint the splits are.

    Returns
    -------
    tuple of int
        Entries of the data set that two splits share, and images of one split whose pixels equal those of another split's.
    """
    places: Counter = Counter(place for name in data.SPLITS for place in run.material.index[name].tolist())
    pixels = [{image.tobytes() for image in run.material.splits[name].pixels.cpu().numpy()} for name in data.SPLITS]
    twins = Counter(image for split in pixels for image in split)
    return sum(count > 1 for count in places.values()), sum(count > 1 for count in twins.values())


def layers(model: nn.Module, image: torch.Tensor) -> pd.DataFrame:
    """What one image passes through.

    Parameters
    ----------
    model : torch.nn.Module
        From images in [0, 1] to logits.
    image : torch.Tensor
        uint8, shape (1, channels, height, width).

    Returns
    -------
    pandas.DataFrame
        Columns layer, kind, output (its shape), weights (number of trainable values), in the order of the computation.
    """
    rows = []
    hooks = []
    for name, module in model.named_modules():
        if next(module.children(), None) is None:

            def note(module: nn.Module, inputs: object, output: torch.Tensor, name: str = name) -> None:
                shape = " × ".join(str(side) for side in output.shape[1:])
                weights = sum(parameter.numel() for parameter in module.parameters())
                rows.append({"layer": name, "kind": type(module).__name__, "output": shape, "weights": weights})

            hooks.append(module.register_forward_hook(note))
    training.logits_of(model, image)
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(rows)


def recipe_table(run: Run, *steps: str, released: dict[str, str] | None = None) -> pd.DataFrame:
    """How the models of some steps are trained, a row per setting.

    Parameters
    ----------
    run : Run
        Gives the recipes.
    *steps : str
        Keys of ``lineage.LABELS``.
    released : dict, optional
        What the released code of SAC does, by setting; shown beside.

    Returns
    -------
    pandas.DataFrame
        Column setting, one column per step with a recipe of its own, and "released code".
    """
    recipes = {lineage.LABELS[step]: lineage.recipe_of(run.profile, step).model_dump() for step in steps}
    used = [key for key in SETTINGS if any(key in recipe for recipe in recipes.values())]
    columns = {"setting": [SETTINGS[key] for key in used]}
    columns |= {label: [_shown(recipe.get(key)) for key in used] for label, recipe in recipes.items()}
    if released is not None:
        columns["released code"] = [released.get(key, "–") for key in used]
    return pd.DataFrame(columns)


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(f"{part:.0%}" for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def suspects(run: Run, *steps: str) -> pd.DataFrame:
    """The models of some steps, and only these: they are trained when they are missing.

    Returns
    -------
    pandas.DataFrame
        Columns name, step, group (display name), architecture, index, fraction, accuracy and fidelity (0 to 1, on test images),
        n (test images), seconds (of training).
    """
    rows = []
    for name in run.names(*steps):
        record, step = run.zoo.record(name), run.zoo.specs[name].step
        test = "transfer_test" if trains_on(step) == "transfer_train" else "test"
        row = {key: record[key] for key in ("name", "step", "architecture", "index", "fraction", "fidelity", "seconds")}
        row |= {"group": lineage.LABELS[step], "accuracy": record["test_accuracy"], "n": len(run.material.splits[test].labels)}
        rows.append(row)
    return pd.DataFrame(rows).astype({"fidelity": float, "fraction": float})


def spread(shares: pd.Series) -> str:
    """Mean of some shares and, where there are several, the lowest and the highest: ``"90.1% (89.5% to 90.6%)"``."""
    if shares.isna().all():
        return "–"
    return f"{shares.mean():.1%}" + (f" ({shares.min():.1%} to {shares.max():.1%})" if len(shares) > 1 else "")


def group_table(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """One row per group and architecture.

    Parameters
    ----------
    rows : pandas.DataFrame
        As made by :func:`suspects`.
    *columns : str
        Columns with shares; accuracy and fidelity if none is named.

    Returns
    -------
    pandas.DataFrame
        Columns group, architecture, models, and the mean with lowest and highest value of each column.
    """
    shown = columns or ("accuracy", "fidelity")
    parts = rows.groupby(["group", "architecture"], sort=False)
    return pd.DataFrame(
        [
            {"group": group, "architecture": architecture, "models": len(part)} | {name: spread(part[name]) for name in shown}
            for (group, architecture), part in parts
        ]
    )


def histories(run: Run, names: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    """Training curves (loss and accuracy per epoch) of some models, by what they are called in the legend."""
    return {label: run.zoo.record(name)["history"] for label, name in names.items()}


def first_of_each(run: Run, step: str) -> dict[str, str]:
    """The first model of each architecture of a step, by architecture."""
    names: dict[str, str] = {}
    for name in run.names(step):
        names.setdefault(run.zoo.specs[name].architecture, name)
    return names


def accuracy_by_class(labels: torch.Tensor, predicted: torch.Tensor, classes: list[str]) -> pd.DataFrame:
    """Accuracy on the images of each class with Wilson's interval; columns class, accuracy, low, high, n."""
    rows = []
    for k, name in enumerate(classes):
        right = predicted[labels == k] == k
        if len(right):
            value = evaluation.proportion_interval(right.double().mean().item(), len(right))
            rows.append({"class": name, "accuracy": value.value, "low": value.low, "high": value.high, "n": len(right)})
    return pd.DataFrame(rows)


def confusion(labels: torch.Tensor, predicted: torch.Tensor, classes: int) -> torch.Tensor:
    """Number of images by true class (row) and predicted class (column)."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def silent_channels(run: Run) -> pd.DataFrame:
    """The channels of the source's last convolution, and which rung of pruning silences each.

    Returns
    -------
    pandas.DataFrame
        One row per channel, the most active first: columns activity (mean absolute activation on attacker data, see
        ``attacks.prune``) and fraction (of the first rung whose weights have the channel's scale and shift at zero, NaN if none
        has).
    """
    source = run.zoo.get(run.zoo.source)
    activity = attacks.channel_activity(source, attacks.last_normalisation(source), run.material.splits["attacker"].pixels)
    fraction = torch.full_like(activity, float("nan"), device="cpu")
    for name in reversed(run.names("prune")):
        layer = attacks.last_normalisation(run.zoo.get(name))
        fraction[((layer.weight == 0) & (layer.bias == 0)).cpu()] = run.zoo.specs[name].fraction
    rows = pd.DataFrame({"activity": activity.cpu().numpy(), "fraction": fraction.numpy()})
    return rows.sort_values("activity", ascending=False, ignore_index=True)


def weight_change(source: nn.Module, suspect: nn.Module) -> dict[str, float]:
    r"""How far each layer's weights moved: :math:`\lVert w_T - w_S\rVert / \lVert w_S\rVert`.

    Layers whose shape differs (a new last layer) are left out.

    Parameters
    ----------
    source, suspect : torch.nn.Module
        Two models of one architecture.

    Returns
    -------
    dict
        By name of the convolution or linear layer, in order.
    """
    theirs = dict(suspect.named_parameters())
    return {
        name.removeprefix("1.").removesuffix(".weight"): ((theirs[name] - weight).norm() / weight.norm()).item()
        for name, weight in source.named_parameters()
        if weight.ndim > 1 and theirs[name].shape == weight.shape
    }


def answers_to_variants(run: Run, image: torch.Tensor, step: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image as a step's training sees it, several times, and what the source says.

    Parameters
    ----------
    run : Run
        Gives the source, the recipe and the seed.
    image : torch.Tensor
        uint8, shape (channels, height, width).
    step : str
        Whose augmentation is used.
    count : int
        How many variants.

    Returns
    -------
    torch.Tensor, torch.Tensor
        The plain image and its variants (uint8), and the source's probabilities for each.
    """
    recipe, generator = lineage.recipe_of(run.profile, step), torch.Generator().manual_seed(run.profile.seed)
    variants = data.augment(image.expand(count, *image.shape), recipe.pad, recipe.flip, generator)
    pixels = torch.cat([image[None], variants])
    return pixels, training.logits_of(run.zoo.get(run.zoo.source), pixels).softmax(1)


def changed_answers(run: Run, step: str, count: int) -> evaluation.Proportion:
    """Share of the first attacker images to which the source gives another label after one random augmentation."""
    recipe, generator = lineage.recipe_of(run.profile, step), torch.Generator().manual_seed(run.profile.seed)
    pixels, source = run.material.splits["attacker"].pixels[:count], run.zoo.get(run.zoo.source)
    plain = training.logits_of(source, pixels).argmax(1)
    moved = training.logits_of(source, data.augment(pixels, recipe.pad, recipe.flip, generator)).argmax(1)
    return evaluation.proportion_interval((plain != moved).double().mean().item(), len(pixels))


def attacked(model: nn.Module, images: Images, recipe: Adversarial, strength: float = 1.0) -> Images:
    """Images perturbed against a model and their true labels, with step and radius of a recipe times `strength`.

    Pixels are rounded to whole grey levels, as in a file.
    """
    x = data.to_float(images.pixels)
    step, radius = strength * recipe.pgd_step, strength * recipe.pgd_radius
    adversarial = attacks.perturb(model, x, images.labels, recipe.pgd_steps, step, radius)
    return images._replace(pixels=(255 * adversarial).round().to(torch.uint8))


def robustness(run: Run, count: int, strengths: list[float]) -> pd.DataFrame:
    """Accuracy of one Extract-L student per architecture under attack, before and after it is hardened.

    Parameters
    ----------
    run : Run
        The run.
    count : int
        Number of test images, the first ones.
    strengths : list of float
        Multiples of the recipe's step and radius; 0 means clean images.

    Returns
    -------
    pandas.DataFrame
        Columns architecture, step, group, radius (grey levels), accuracy (on images perturbed against this very model), n.
    """
    recipe, rows = run.profile.recipes.extract_adversarial, []
    images = run.material.splits["test"].take(slice(0, count))
    for step in ("extract_label", "extract_adversarial"):
        for architecture, name in first_of_each(run, step).items():
            for strength in strengths:
                model = run.zoo.get(name)
                seen = attacked(model, images, recipe, strength) if strength else images
                row = {"architecture": architecture, "step": step, "group": lineage.LABELS[step], "n": len(images.labels)}
                rows.append(row | {"radius": strength * recipe.pgd_radius, "accuracy": training.accuracy(model, seen)})
    return pd.DataFrame(rows)


def corrupted(images: Images, kind: str, seed: int) -> Images:
    """All images with one and the same corruption of ``data.CORRUPTIONS``."""
    generator = torch.Generator().manual_seed(seed)
    changed = data.CORRUPTIONS[kind](images.pixels.cpu().float(), generator).round().clamp(0, 255).to(torch.uint8)
    return images._replace(pixels=changed.to(images.pixels.device))


def accuracy_by_corruption(run: Run, names: dict[str, list[str]], count: int) -> pd.DataFrame:
    """Accuracy of some models on the first test images, clean and with each corruption.

    Parameters
    ----------
    run : Run
        The run.
    names : dict of list of str
        Names of models by the name of their group.
    count : int
        Number of test images.

    Returns
    -------
    pandas.DataFrame
        Columns corruption, group, accuracy; one row per model.
    """
    clean = run.material.splits["test"].take(slice(0, count))
    seen = {"none": clean} | {kind: corrupted(clean, kind, run.profile.seed) for kind in data.CORRUPTIONS}
    rows = [
        {"corruption": kind, "group": group, "accuracy": training.accuracy(run.zoo.get(name), images)}
        for kind, images in seen.items()
        for group, members in names.items()
        for name in members
    ]
    return pd.DataFrame(rows)


def predictions(run: Run, names: list[str]) -> torch.Tensor:
    """Labels that models predict on the test images, int64, shape (models, images)."""
    pixels = run.material.splits["test"].pixels
    return torch.stack([training.logits_of(run.zoo.get(name), pixels).argmax(1) for name in names])


def agreement(labels: torch.Tensor) -> torch.Tensor:
    """Share of images on which each pair of models predicts the same label, from labels of shape (models, images)."""
    return torch.stack([(labels == own).double().mean(1) for own in labels])


def agreement_by_source(run: Run, names: list[str]) -> pd.DataFrame:
    """Fidelity of each model where the source is right and where it is wrong, on test images.

    Returns
    -------
    pandas.DataFrame
        Columns name, step, group, right, wrong (NaN if the source makes no mistake).
    """
    truth, (source, *others) = run.material.splits["test"].labels.cpu(), predictions(run, [run.zoo.source, *names])
    right, rows = source == truth, []
    for name, labels in zip(names, others, strict=True):
        same, step = (labels == source).double(), run.zoo.specs[name].step
        row = {"name": name, "step": step, "group": lineage.LABELS[step]}
        rows.append(row | {"right": same[right].mean().item(), "wrong": same[~right].mean().item()})
    return pd.DataFrame(rows)


def by_negatives(run: Run, steps: list[str]) -> pd.DataFrame:
    """AUC of plain fidelity as a detector of theft, against several choices of the irrelevant models.

    Parameters
    ----------
    run : Run
        The run.
    steps : list of str
        Attacks with the source's classes.

    Returns
    -------
    pandas.DataFrame
        Column attack, and one column of texts such as "0.98 [0.91, 1.00]" per choice, whose name ends in the number of models.
    """
    everyone, source = suspects(run, *lineage.IRRELEVANT), run.zoo.specs[run.zoo.source].architecture
    near = everyone["architecture"] == source
    choices = {
        "attacker data": everyone["step"] == "irrelevant",
        "owner data": everyone["step"] == "irrelevant_owner",
        "other architectures only": ~near,
        "source's architecture only": near,
    }
    rows = []
    for step in steps:
        stolen, row = suspects(run, step)["fidelity"].to_numpy(), {"attack": lineage.LABELS[step]}
        for choice, chosen in choices.items():
            if chosen.any():
                irrelevant = everyone.loc[chosen, "fidelity"].to_numpy()
                value = evaluation.auc(1 - stolen, 1 - irrelevant, run.profile.bootstrap, run.profile.seed)
                row[f"{choice} ({len(irrelevant)})"] = str(value)
        rows.append(row | {"stolen models": len(stolen)})
    return pd.DataFrame(rows)
