"""The style of all figures, and one function per figure. Functions take tables and tensors, and return the figure."""

import re

import matplotlib

matplotlib.use("agg")  # before pyplot: notebooks and tests have no screen

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import artefacts, evaluation, lineage, summaries
from .runs import Run
from .verdict import Verdict

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000"]
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""

COLOUR_MAP = "viridis"
"""Sequential map of matrices; differences use the diverging map `DIFFERENCE_MAP`."""
DIFFERENCE_MAP = "RdBu_r"


def use_style() -> None:
    """White background, light grid, vector output that is the same in every run."""
    sns.set_theme(context="notebook", style="whitegrid", palette=COLOURS, font_scale=0.9)
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "savefig.bbox": "tight",
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "svg.hashsalt": "sac",
            "svg.fonttype": "path",
            "figure.constrained_layout.use": True,
        }
    )
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("svg")


def table(frame: pd.DataFrame, formats: dict[str, str] | None = None) -> HTML:
    """A table as HTML for a page: no index, text to the left, numbers to the right.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table; its columns are shown as they are called.
    formats : dict, optional
        Format of some columns, for example ``{"AUC": "{:.2f}"}``.

    Returns
    -------
    IPython.display.HTML
        The same text for the same table.
    """
    numeric = [i for i, column in enumerate(frame.columns) if pd.api.types.is_numeric_dtype(frame[column])]
    size, side = ("0.88em", "0.4em") if len(frame.columns) > 4 else ("1em", "0.6em")
    props = f"text-align: left; vertical-align: top; padding: 0.25em {side}; font-size: {size}"
    rules = [{"selector": "th, td", "props": props}]
    rules += [{"selector": f".col{i}", "props": "text-align: right"} for i in numeric]
    # Names and intervals stay on one line; what does not fit scrolls.
    short = [i for i, column in enumerate(frame.columns) if len(str(column)) <= 12]
    rules += [{"selector": f"td.col0, {', '.join(f'th.col{i}' for i in short)}", "props": "white-space: nowrap"}]
    wide = [i for i, column in enumerate(frame.columns) if frame[column].map(lambda value: len(str(value))).max() > 40]
    if wide:  # several of them fit beside each other on a laptop
        props = f"min-width: {min(16, 24 // len(wide))}em; white-space: normal"
        rules.append({"selector": ", ".join(f"td.col{i}" for i in wide), "props": props})
    interval = r"(?<=[\d%]), (?=[-+\d.]+%?\])"
    frame = frame.map(lambda value: re.sub(interval, ",\u00a0", value) if isinstance(value, str) else value)
    # By default the identifier is random, and every run would give another page.
    styler = frame.style.set_uuid(artefacts.digest_of([frame.to_json(), formats])[:8])
    styler.cell_ids = False
    styler = styler.hide().format(formats, escape="html", na_rep="–").set_table_styles(rules)
    return HTML(styler.set_table_attributes('class="dataframe"').to_html())


def _show_pixels(ax: Axes, pixels: torch.Tensor) -> None:
    """One uint8 image, shape (channels, height, width), without axes."""
    picture = pixels.cpu().permute(1, 2, 0).numpy()
    ax.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)


def image_rows(rows: dict[str, torch.Tensor], titles: dict[str, list[str]] | None = None) -> Figure:
    """Rows of images, each row with its name at the left.

    Parameters
    ----------
    rows : dict of torch.Tensor
        uint8 images, shape (n, channels, height, width), by the name of the row.
    titles : dict of list of str, optional
        A line or two above each image of a row.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    columns = max(len(pixels) for pixels in rows.values())
    width = 7.6 / columns
    height = len(rows) * (width + (0.5 if titles else 0.05))
    fig, axes = plt.subplots(len(rows), columns, figsize=(8.6, height), squeeze=False)
    for line, (name, pixels) in zip(axes, rows.items(), strict=True):
        for ax in line[len(pixels) :]:
            ax.axis("off")
        for i, (ax, image) in enumerate(zip(line, pixels, strict=False)):
            _show_pixels(ax, image)
            if titles:
                ax.set_title(titles[name][i], fontsize=9, parse_math=False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return fig


def _heat(ax: Axes, values: torch.Tensor, low: float, high: float, colours: str, decimals: int | None) -> object:
    """A matrix as colours, and as numbers too if `decimals` is given."""
    image = ax.imshow(values.numpy(), cmap=colours, vmin=low, vmax=high, interpolation="nearest", aspect="auto")
    ax.grid(False)
    if decimals is not None:
        for (i, j), value in np.ndenumerate(values.numpy()):
            red, green, blue, _ = image.cmap(image.norm(value))
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            text = f"{round(float(value), decimals) + 0.0:.{decimals}f}".replace("0.", ".", 1)  # "+ 0.0": never minus zero
            ax.text(j, i, text, ha="center", va="center", fontsize=7, color=ink)
    return image


def outputs_and_matrix(outputs: torch.Tensor, matrix: torch.Tensor, classes: list[str]) -> Figure:
    """A model's outputs on a few probes, and the correlation matrix that they make.

    Parameters
    ----------
    outputs : torch.Tensor
        Probabilities, shape (n, classes).
    matrix : torch.Tensor
        Shape (n, n).
    classes : list of str
        Names of the classes.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
    shown = _heat(left, outputs, 0, 1, COLOUR_MAP, None)
    left.set(xlabel="class", ylabel="probe", yticks=range(len(outputs)))
    if len(classes) <= 20:
        left.set_xticks(range(len(classes)), classes, rotation=60, ha="right")
    fig.colorbar(shown, ax=left, label="probability")
    shown = _heat(right, matrix, 0, 0.5, COLOUR_MAP, 2)
    right.set(xlabel="probe $j$", ylabel="probe $i$", xticks=range(len(matrix)), yticks=range(len(matrix)))
    fig.colorbar(shown, ax=right, label="$C_{ij}$")
    return fig


def matrices(named: dict[str, torch.Tensor], high: float = 0.5, reference: bool = True) -> Figure:
    """Correlation matrices side by side on one colour scale, and below them their differences from the first one.

    Parameters
    ----------
    named : dict of torch.Tensor
        Matrices of shape (n, n) by what is written above them.
    high : float
        Upper end of the colour scale.
    reference : bool
        Whether the first matrix is that of the source and the others are compared with it in a second row.

    Returns
    -------
    matplotlib.figure.Figure
        One or two rows of panels; the second row has numbers in it if there are at most ten probes.
    """
    values = list(named.values())
    rows, columns = 1 + reference, len(values)
    side = 2.6 if columns <= 3 else 1.75
    fig, axes = plt.subplots(rows, columns, figsize=(side * columns + 0.7, side * rows + 0.6), squeeze=False)
    few = len(values[0]) <= 10
    for ax, (name, matrix) in zip(axes[0], named.items(), strict=True):
        shown = _heat(ax, matrix, 0, high, COLOUR_MAP, None)
        ax.set_title(name, fontsize=10)
    fig.colorbar(shown, ax=axes[0], label="$C_{ij}$")
    if reference:
        differences = [matrix - values[0] for matrix in values]
        largest = max(float(difference.abs().max()) for difference in differences) or 1.0
        axes[1][0].axis("off")
        for ax, difference in zip(axes[1][1:], differences[1:], strict=True):
            shown = _heat(ax, difference, -largest, largest, DIFFERENCE_MAP, 1 if few and columns <= 3 else None)
            ax.set_title(f"$d$ = {difference.abs().mean():.4f}", fontsize=10)
        fig.colorbar(shown, ax=axes[1], label="$C^T_{ij} - C^S_{ij}$")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[], box_aspect=1)
    return fig


def distance_by_count(curves: dict[str, dict[int, np.ndarray]]) -> Figure:
    """Distance against the number of probes: mean and middle 95 % over random choices of probes.

    Parameters
    ----------
    curves : dict
        For each model shown, the distances by number of probes.

    Returns
    -------
    matplotlib.figure.Figure
        One line and one band per model.
    """
    fig, ax = plt.subplots(figsize=(7, 3.6))
    for (name, curve), colour, line in zip(curves.items(), (COLOURS[1], COLOURS[0]), ("-", "--"), strict=True):
        low, high = np.array([np.quantile(draws, (0.025, 0.975)) for draws in curve.values()]).T
        ax.plot(list(curve), [draws.mean() for draws in curve.values()], line, color=colour, label=name)
        ax.fill_between(list(curve), low, high, color=colour, alpha=0.2, linewidth=0)
    ax.set(xlabel="number of probes", ylabel="correlation distance $d$", ylim=(0, None))
    ax.legend()
    return fig


def cosine_and_rbf(pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> Figure:
    """Entries of two kinds of correlation matrix against each other, with the curve that links them.

    Parameters
    ----------
    pairs : dict of tuple of torch.Tensor
        Cosine matrix and RBF matrix of each model.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    fig, ax = plt.subplots(figsize=(6, 3.6))
    grid = np.linspace(0, 0.5, 100)
    ax.plot(grid, np.exp(-4 * grid), color="black", linewidth=1, label=r"$\exp(-4\,C_{ij})$")
    for (name, (cosine, rbf)), colour, marker in zip(pairs.items(), COLOURS, "os^", strict=False):
        ax.plot(cosine.flatten(), rbf.flatten(), marker, color=colour, alpha=0.6, markersize=5, label=name)
    ax.set(xlabel="cosine entry $C_{ij}$", ylabel="RBF entry $K_{ij}$")
    ax.legend()
    return fig


def distance_by_constant(constants: torch.Tensor, curves: dict[str, torch.Tensor], levels: dict[str, float]) -> Figure:
    """How far the source moves from itself when a constant is added to its logits, by output form.

    Parameters
    ----------
    constants : torch.Tensor
        The constants.
    curves : dict of torch.Tensor
        Distance at each constant, by output form.
    levels : dict of float
        Distances to compare with, drawn as horizontal lines.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    fig, ax = plt.subplots(figsize=(7, 3.6))
    for (name, curve), colour, line in zip(curves.items(), COLOURS, ("-", "--", ":"), strict=False):
        ax.plot(constants, curve, line, color=colour, linewidth=2.5, label=f"source itself, {name}")
    for (name, level), line in zip(levels.items(), ("-.", (0, (1, 3))), strict=True):
        ax.axhline(level, color="black", linewidth=1, linestyle=line, label=name)
    ax.set(xlabel="constant added to every logit", ylabel="distance to the source $d$")
    ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def funnel(rows: pd.DataFrame) -> Figure:
    """How many images are left after each condition.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns condition, images.

    Returns
    -------
    matplotlib.figure.Figure
        Bars on a logarithmic scale, each with its number.
    """
    fig, ax = plt.subplots(figsize=(7.5, 0.45 * len(rows) + 0.9))
    bars = ax.barh(rows["condition"], rows["images"].clip(lower=0.5), color=COLOURS[0], height=0.65)
    ax.bar_label(bars, [f"{count:,}" for count in rows["images"]], padding=4)
    ax.set(xscale="log", xlabel="images (logarithmic)", xlim=(1, rows["images"].max() * 3))
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    return fig


STOLEN, IRRELEVANT, OTHER = (COLOURS[1], "o"), (COLOURS[0], "^"), ("#666666", "s")
"""Colour and marker of the two kinds of suspects, and of what is neither."""


def _kind(step: str) -> tuple[str, str]:
    return STOLEN if step in lineage.ATTACKS else IRRELEVANT if step.startswith("irrelevant") else OTHER


def _kind_legend(ax: Axes, **where: object) -> None:
    for label, (colour, marker) in (("stolen", STOLEN), ("irrelevant", IRRELEVANT)):
        ax.plot([], [], marker, color=colour, label=label)
    ax.legend(**where)


def agreement_by_set(rows: pd.DataFrame) -> Figure:
    """How often each model repeats the source's prediction, for each probe set.

    Parameters
    ----------
    rows : pandas.DataFrame
        As made by ``summaries.answers``, source and surrogates included; they are left out.

    Returns
    -------
    matplotlib.figure.Figure
        One dot per model; a short line is the mean of a kind.
    """
    fig, ax = plt.subplots(figsize=(7.5, 3.8))
    for place, (_, part) in enumerate(rows.groupby("probes", sort=False)):
        for kind, shift in ((STOLEN, -0.17), (IRRELEVANT, 0.17)):
            values = part.loc[[_kind(step) == kind for step in part["step"]], "agreement"].to_numpy()
            spread = np.linspace(-0.1, 0.1, len(values)) if len(values) > 1 else np.zeros(1)
            ax.plot(place + shift + spread, values, kind[1], color=kind[0], alpha=0.7, markersize=5)
            ax.hlines(values.mean(), place + shift - 0.15, place + shift + 0.15, color="black", linewidth=2)
    names = rows["probes"].unique()
    ax.set_xticks(range(len(names)), names)
    ax.set(ylabel="agreement with the source", ylim=(-0.03, 1.03))
    ax.grid(False, axis="x")
    _kind_legend(ax, loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def _draw_groups(ax: Axes, part: pd.DataFrame) -> list[str]:
    """Distances of one configuration, a line per group from top to bottom; returns the steps in this order."""
    later = [step for step in lineage.ATTACKS if step in lineage.NEGATIVES]
    order = [step for step in lineage.ATTACKS if step not in later] + lineage.IRRELEVANT
    for step in later:
        order = [name for name in order if name not in lineage.NEGATIVES[step]] + [step, *lineage.NEGATIVES[step]]
    order = [step for step in order if (part["step"] == step).any()]
    for place, step in enumerate(order):
        values = np.sort(part.loc[part["step"] == step, "distance"].to_numpy())
        colour, marker = _kind(step)
        lift = np.resize([0, 0.16, -0.16], len(values))  # neighbours do not hide one another
        ax.plot(
            values, place + lift, marker, color=colour, alpha=0.75, markersize=6, markeredgecolor="white", markeredgewidth=0.4
        )
        if place and step in lineage.ATTACKS and not _kind(order[place - 1]) == STOLEN:
            ax.axhline(place - 0.5, color="#888888", linewidth=1)
    ax.set(ylim=(len(order) - 0.5, -0.5), xlim=(0, None), xlabel="correlation distance $d$ to the source")
    ax.grid(False, axis="y")
    return order


def distances_by_form(parts: dict[str, pd.DataFrame]) -> Figure:
    """Distances of all groups to the source, one panel per output form.

    Parameters
    ----------
    parts : dict of pandas.DataFrame
        Rows of one configuration each, see ``summaries.configuration``, by what is written above the panel.

    Returns
    -------
    matplotlib.figure.Figure
        Panels side by side; a dot is a model.
    """
    fig, axes = plt.subplots(1, len(parts), figsize=(8.4, 5.2), sharey=True)
    for ax, (name, part) in zip(axes, parts.items(), strict=True):
        order = _draw_groups(ax, part)
        ax.set_title(name, fontsize=11)
        ax.set_xlabel("$d$")
    axes[0].set_yticks(range(len(order)), [lineage.LABELS[step] for step in order])
    return fig


def result_picture(run: Run) -> Figure:
    """The result in one picture: distances to the source by group, and the AUC of each attack, for SAC-w on probabilities.

    Parameters
    ----------
    run : Run
        The run.

    Returns
    -------
    matplotlib.figure.Figure
        A dot is a model; at the right the AUC with its 95 % interval.
    """
    fig, ax = plt.subplots(figsize=(8, 5))
    part = summaries.configuration(run)
    order = _draw_groups(ax, part)
    counts = part["step"].value_counts()
    ax.set_yticks(range(len(order)), [f"{lineage.LABELS[step]} ({counts[step]})" for step in order])
    ax.text(1.03, 1.01, "AUC [95 % interval]", transform=ax.transAxes, va="bottom")
    for place, step in enumerate(order):
        if step in lineage.ATTACKS:
            ax.text(1.03, place, str(run.auc_of(step)), transform=ax.get_yaxis_transform(), va="center")
    _kind_legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return fig


def roc_panels(parts: dict[str, pd.DataFrame]) -> Figure:
    """ROC curves, one panel per attack and one line per output form.

    Parameters
    ----------
    parts : dict of pandas.DataFrame
        Rows of one configuration each, see ``summaries.configuration``, by output form.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels in a row.
    """
    columns = 3
    rows = -(-len(lineage.ATTACKS) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(8.4, 2.6 * rows + 0.4), sharex=True, sharey=True)
    for ax, attack in zip(axes.flat, lineage.ATTACKS, strict=False):
        for (form, part), colour, line in zip(parts.items(), COLOURS, ("-", "--", ":"), strict=False):
            false, true = evaluation.roc(*summaries.compared(part, attack))
            ax.plot(false, true, line, color=colour, linewidth=2.5, label=form)
        ax.plot([0, 1], [0, 1], color="#888888", linewidth=1)
        ax.axvline(0.05, color="#888888", linewidth=1, linestyle="--")
        ax.set_title(lineage.LABELS[attack], fontsize=10)
        ax.set(box_aspect=1, xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    fig.supxlabel("false positive rate", fontsize=11)
    fig.supylabel("true positive rate", fontsize=11)
    fig.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


def auc_heatmap(rows: pd.DataFrame) -> Figure:
    """AUC of every attack for each combination of output form and correlation.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of ``run.auc`` for one probe set and one comparison.

    Returns
    -------
    matplotlib.figure.Figure
        A number in each cell, and a diverging colour whose middle is guessing.
    """
    column = rows["form"] + "\n" + rows["measure"]
    wide = rows.assign(column=column).pivot(index="attack", columns="column", values="auc")
    wide = wide.loc[rows["attack"].unique(), column.unique()]
    fig, ax = plt.subplots(figsize=(7.4, 0.42 * len(wide) + 1.1))
    sns.heatmap(wide, ax=ax, annot=True, fmt=".2f", cmap=f"{DIFFERENCE_MAP[:-2]}", vmin=0, vmax=1, cbar_kws={"label": "AUC"})
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="y", rotation=0)
    return fig


def auc_intervals(rows: pd.DataFrame, by: str, label: str) -> Figure:
    """AUC with its interval for each attack, side by side for the values of one column.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns attack, auc, low, high and the one named by `by`; low and high may be missing (published values).
    by : str
        The column compared.
    label : str
        Title of the legend.

    Returns
    -------
    matplotlib.figure.Figure
        A line per attack.
    """
    names, attacks = list(rows[by].unique()), list(rows["attack"].unique())
    fig, ax = plt.subplots(figsize=(7.5, 0.2 * len(attacks) * len(names) + 1.2))
    for k, name in enumerate(names):
        part = rows[rows[by] == name]
        place = np.array([attacks.index(attack) for attack in part["attack"]]) + 0.6 * ((k + 0.5) / len(names) - 0.5)
        width = (part[["auc", "auc"]] - part[["low", "high"]].to_numpy()).abs().fillna(0).to_numpy().T
        style = {"color": COLOURS[k], "fmt": "osD^v"[k], "markersize": 6, "linewidth": 2}
        ax.errorbar(part["auc"], place, xerr=width, label=name, **style)
    ax.axvline(0.5, color="#888888", linewidth=1)
    ax.set_yticks(range(len(attacks)), attacks)
    ax.set(xlabel="AUC with 95 % interval", xlim=(-0.03, 1.03), ylim=(len(attacks) - 0.5, -0.5))
    ax.grid(False, axis="y")
    ax.legend(title=label, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return fig


def fidelity_and_distance(rows: pd.DataFrame) -> Figure:
    """Distance to the source against fidelity, for students and the irrelevant models that they are compared with.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns group, step, fidelity, distance.

    Returns
    -------
    matplotlib.figure.Figure
        A dot is a model.
    """
    fig, ax = plt.subplots(figsize=(7, 4))
    for (group, part), colour, marker in zip(rows.groupby("group", sort=False), COLOURS, "osD^vP", strict=False):
        filled = part["step"].iloc[0] in lineage.ATTACKS
        ax.plot(
            part["fidelity"], part["distance"], marker, color=colour, markerfacecolor=colour if filled else "white", label=group
        )
    ax.set(xlabel="fidelity to the source on test images", ylabel="correlation distance $d$", ylim=(0, None))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return fig


def seconds_by_group(rows: pd.DataFrame) -> Figure:
    """Training time of each group of models.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns group, seconds, as made by ``summaries.training_seconds``.

    Returns
    -------
    matplotlib.figure.Figure
        A bar per group.
    """
    fig, ax = plt.subplots(figsize=(7.5, 0.34 * len(rows) + 0.8))
    decimals = 0 if rows["seconds"].sum() > 100 else 1
    ax.bar_label(ax.barh(rows["group"], rows["seconds"], height=0.65), fmt=f"{{:,.{decimals}f}}", padding=4)
    ax.set(xlabel="seconds of training", xlim=(0, rows["seconds"].max() * 1.12))
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    return fig


MARKERS, LINES = "osD^vPX*", ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 3)))
"""Second cue beside the colour."""
DARK = [*COLOURS[:6], "#000000", "#777777"]
"""The palette without yellow, which thin marks on white would lose."""


def split_counts(counts: pd.DataFrame) -> Figure:
    """Number of images of each class in each split.

    Parameters
    ----------
    counts : pandas.DataFrame
        Rows are classes, columns splits; at most twenty classes are shown.

    Returns
    -------
    matplotlib.figure.Figure
        Grouped bars.
    """
    shown = counts.head(20)
    fig, ax = plt.subplots(figsize=(8.4, 3.2))
    shown.plot.bar(ax=ax, width=0.8, color=COLOURS, legend=False)
    for bars, hatch in zip(ax.containers, ("", "//", "..", "xx"), strict=False):
        for bar in bars:
            bar.set_hatch(hatch)
    ax.set(xlabel="", ylabel="images")
    ax.tick_params(axis="x", rotation=40)
    plt.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
    ax.grid(False, axis="x")
    ax.legend(title="split", loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def training_curves(histories: dict[str, dict[str, list[float]]], share: str = "accuracy on its own images") -> Figure:
    """Loss and share of hits per epoch, one line per model.

    Parameters
    ----------
    histories : dict
        Records with loss and accuracy per epoch, by name in the legend.
    share : str
        What a hit is.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.3))
    for position, (name, history) in enumerate(histories.items()):
        style = {
            "color": DARK[position % len(DARK)],
            "linestyle": LINES[position % len(LINES)],
            "marker": MARKERS[position % len(MARKERS)],
            "markersize": 4,
        }
        for ax, key in zip(axes, ("loss", "accuracy"), strict=True):
            ax.plot(range(1, len(history[key]) + 1), history[key], label=name, **style)
    for ax, label in zip(axes, ("mean loss", share), strict=True):
        last = max(len(history["loss"]) for history in histories.values())
        ax.set(xlabel="epoch", ylabel=label, xlim=(0.5, last + 0.5))
        ax.xaxis.get_major_locator().set_params(integer=True)
    if len(histories) > 1:
        axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return fig


def class_accuracy(rows: pd.DataFrame) -> Figure:
    """Accuracy per class with its interval.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns class, accuracy, low, high.

    Returns
    -------
    matplotlib.figure.Figure
        A line per class, the hardest at the top; at most twenty classes.
    """
    rows = rows.sort_values("accuracy", kind="stable").head(20)
    fig, ax = plt.subplots(figsize=(7, 0.27 * len(rows) + 0.9))
    error = [rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]]
    ax.errorbar(rows["accuracy"], range(len(rows)), xerr=error, fmt="o", color=COLOURS[0], linewidth=2)
    ax.set_yticks(range(len(rows)), rows["class"])
    ax.set(xlabel="accuracy on test images with 95 % interval", xlim=(None, 1.01))
    ax.invert_yaxis()
    return fig


def confusion(counts: torch.Tensor, classes: list[str]) -> Figure:
    """Number of images by true and predicted class, coloured by the share of the true class.

    Parameters
    ----------
    counts : torch.Tensor
        Shape (classes, classes), rows are true classes.
    classes : list of str
        Their names.

    Returns
    -------
    matplotlib.figure.Figure
        A heat map, with numbers if there are at most twenty classes.
    """
    few = len(classes) <= 20
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    fig, ax = plt.subplots(figsize=(6.6, 5.2))
    text = np.where(counts.numpy() > 0, counts.numpy().astype(str), "") if few else None
    ticks = classes if few else False
    bar = {"label": "share of the true class"}
    style = {"cmap": "Blues", "vmin": 0, "vmax": 1, "square": True, "annot_kws": {"fontsize": 8}, "cbar_kws": bar}
    sns.heatmap(shares.numpy(), ax=ax, annot=text, fmt="", xticklabels=ticks, yticklabels=ticks, **style)
    ax.set(xlabel="predicted class", ylabel="true class")
    plt.setp(ax.get_xticklabels(), rotation=50, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="y", rotation=0)
    return fig


def pruning_ladder(rows: pd.DataFrame) -> Figure:
    """Accuracy and fidelity against the share of silent channels, with 95 % intervals over test images.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns fraction, accuracy, fidelity, n, and one row with fraction 0 for the source (fidelity 1).

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    fig, ax = plt.subplots(figsize=(7, 3.6))
    for column, colour, marker, line in zip(("fidelity", "accuracy"), COLOURS, "os", LINES, strict=False):
        bands = [evaluation.proportion_interval(*pair) for pair in zip(rows[column], rows["n"], strict=True)]
        ax.plot(rows["fraction"], rows[column], line, marker=marker, color=colour, label=column)
        ax.fill_between(rows["fraction"], [b.low for b in bands], [b.high for b in bands], color=colour, alpha=0.2, linewidth=0)
    ax.set(xlabel="share of silent channels", ylabel="share of test images")
    ax.legend(loc="lower left")
    return fig


def silent_channels(rows: pd.DataFrame) -> Figure:
    """Activity of the channels of the last convolution, coloured by the rung that silences them.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns activity, fraction (NaN for channels that survive), the most active first.

    Returns
    -------
    matplotlib.figure.Figure
        A bar per channel.
    """
    rungs = sorted(rows["fraction"].dropna().unique())
    colours = dict(zip(rungs, plt.get_cmap(COLOUR_MAP)(np.linspace(0, 0.92, len(rungs))), strict=True))
    fig, ax = plt.subplots(figsize=(8.4, 3.2))
    for fraction, part in rows.groupby("fraction", dropna=False):
        survives = np.isnan(fraction)
        label = "never" if survives else f"{fraction:.0%}"
        ax.bar(part.index, part["activity"], width=1, color="#bbbbbb" if survives else colours[fraction], label=label)
    ax.set(xlabel="channel of the last convolution, the most active first", ylabel="activity in the source")
    ax.grid(False, axis="x")
    ax.legend(title="silenced at", loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return fig


def weight_changes(changes: dict[str, dict[str, float]]) -> Figure:
    """How far each layer's weights moved from the source's, one line per suspect.

    Parameters
    ----------
    changes : dict of dict
        Relative change by layer, by name of the suspect.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    order = list(max(changes.values(), key=len))
    fig, ax = plt.subplots(figsize=(8, 3.4))
    for (name, change), colour, marker, line in zip(changes.items(), DARK, MARKERS, LINES, strict=False):
        places = [order.index(layer) for layer in change]
        ax.plot(places, list(change.values()), marker=marker, linestyle=line, color=colour, label=name)
    ax.set_xticks(range(len(order)), order, rotation=40, ha="right", rotation_mode="anchor")
    ax.set(xlabel="", ylabel=r"$\Vert w_T - w_S\Vert\, /\, \Vert w_S\Vert$")
    ax.margins(y=0.06)
    ax.legend()
    return fig


def accuracy_and_fidelity(rows: pd.DataFrame, source: float) -> Figure:
    """Accuracy against fidelity on test images; a dot is a model, filled if it was stolen.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns group, step, accuracy, fidelity.
    source : float
        The source's accuracy, drawn as a line.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    fig, ax = plt.subplots(figsize=(7.2, 4))
    ax.axhline(source, color="#444444", linewidth=1, linestyle="--", label="accuracy of the source")
    for (group, part), colour, marker in zip(rows.groupby("group", sort=False), COLOURS, MARKERS, strict=False):
        fill = colour if part["step"].iloc[0] in lineage.ATTACKS else "white"
        ax.plot(part["fidelity"], part["accuracy"], marker, color=colour, markerfacecolor=fill, alpha=0.8, label=group)
    ax.set(xlabel="fidelity to the source on test images", ylabel="accuracy on test images")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return fig


def by_architecture(rows: pd.DataFrame, columns: tuple[str, ...] = ("accuracy", "fidelity")) -> Figure:
    """Shares of test images per architecture and group; a dot is a model, with its 95 % interval over images.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns group, step, architecture, n and those named by `columns`.
    columns : tuple of str
        One panel each.

    Returns
    -------
    matplotlib.figure.Figure
        Panels side by side.
    """
    architectures, groups = list(rows["architecture"].unique()), list(rows["group"].unique())
    height = 0.24 * len(architectures) * len(groups) + 1.3
    fig, axes = plt.subplots(1, len(columns), figsize=(9, height), sharey=True, squeeze=False)
    for ax, column in zip(axes[0], columns, strict=True):
        for position, group in enumerate(groups):
            part = rows[(rows["group"] == group) & rows[column].notna()]
            repeat = part.groupby("architecture").cumcount().to_numpy()
            shift = 0.7 * ((position + 0.5) / len(groups) - 0.5)
            place = np.array([architectures.index(name) for name in part["architecture"]]) + shift + 0.07 * repeat
            bounds = [evaluation.proportion_interval(*pair) for pair in zip(part[column], part["n"], strict=True)]
            error = [[b.value - b.low for b in bounds], [b.high - b.value for b in bounds]]
            stolen = part["step"].iloc[0] in lineage.ATTACKS
            style = {"color": COLOURS[position], "fmt": MARKERS[position], "markersize": 5, "linewidth": 1}
            style |= {"markerfacecolor": COLOURS[position] if stolen else "white"}
            ax.errorbar(part[column], place, xerr=error, label=group, **style)
        ax.set(xlabel=f"{column} on test images", ylim=(len(architectures) - 0.5, -0.5))
        for edge in range(1, len(architectures)):
            ax.axhline(edge - 0.5, color="#cccccc", linewidth=1)
        ax.grid(False, axis="y")
    axes[0][0].set_yticks(range(len(architectures)), architectures)
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    return fig


def softened(rows: dict[str, torch.Tensor], classes: list[str]) -> Figure:
    """Probabilities of one image at several temperatures, on a logarithmic scale.

    Parameters
    ----------
    rows : dict of torch.Tensor
        Probabilities, shape (classes,), by what is written in the legend.
    classes : list of str
        Names of the classes; at most twenty are shown.

    Returns
    -------
    matplotlib.figure.Figure
        One line per temperature.
    """
    fig, ax = plt.subplots(figsize=(7.5, 3.3))
    for (name, values), colour, marker, line in zip(rows.items(), COLOURS, MARKERS, LINES, strict=False):
        ax.plot(range(len(values[:20])), values[:20], linestyle=line, marker=marker, color=colour, label=name)
    ax.set_xticks(range(len(classes[:20])), classes[:20], rotation=40, ha="right", rotation_mode="anchor")
    ax.set(xlabel="", ylabel="probability", yscale="log")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def robustness(rows: pd.DataFrame) -> Figure:
    """Accuracy against the radius of the perturbation, a panel per architecture, before and after hardening.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns architecture, group, radius, accuracy, n.

    Returns
    -------
    matplotlib.figure.Figure
        Lines with 95 % intervals over images.
    """
    architectures = list(rows["architecture"].unique())
    fig, axes = plt.subplots(1, len(architectures), figsize=(2.3 * len(architectures) + 0.6, 3.2), sharey=True, squeeze=False)
    for ax, architecture in zip(axes[0], architectures, strict=True):
        own = rows[rows["architecture"] == architecture]
        for (group, part), colour, marker, line in zip(own.groupby("group", sort=False), COLOURS, "os", LINES, strict=False):
            bounds = [evaluation.proportion_interval(*pair) for pair in zip(part["accuracy"], part["n"], strict=True)]
            error = [[b.value - b.low for b in bounds], [b.high - b.value for b in bounds]]
            ax.errorbar(part["radius"], part["accuracy"], yerr=error, fmt=marker, linestyle=line, color=colour, label=group)
        ax.set_title(architecture, fontsize=10)
        ax.set(ylim=(-0.03, 1.03))
    fig.supxlabel("radius of the perturbation in grey levels (0: clean)", fontsize=11)
    axes[0][0].set_ylabel("accuracy")
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


def corruption_accuracy(rows: pd.DataFrame) -> Figure:
    """Accuracy of groups of models for each corruption; a dot is a model.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns corruption, group, accuracy.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    kinds, groups = list(rows["corruption"].unique()), list(rows["group"].unique())
    fig, ax = plt.subplots(figsize=(7.2, 0.45 * len(kinds) + 0.9))
    for position, group in enumerate(groups):
        part = rows[rows["group"] == group]
        shift = 0.6 * ((position + 0.5) / len(groups) - 0.5)
        place = np.array([kinds.index(kind) for kind in part["corruption"]]) + shift
        fill = "white" if group.startswith("Irrelevant") else COLOURS[position]
        ax.plot(part["accuracy"], place, MARKERS[position], color=COLOURS[position], markerfacecolor=fill, label=group)
    for edge in range(1, len(kinds)):
        ax.axhline(edge - 0.5, color="#cccccc", linewidth=1)
    ax.set_yticks(range(len(kinds)), kinds)
    ax.set(xlabel="accuracy on test images with this corruption", ylim=(len(kinds) - 0.5, -0.5))
    ax.grid(False, axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return fig


def agreement_matrix(shares: torch.Tensor, names: list[str]) -> Figure:
    """Share of images on which each pair of models predicts the same label.

    Parameters
    ----------
    shares : torch.Tensor
        Shape (models, models).
    names : list of str
        What the models are called.

    Returns
    -------
    matplotlib.figure.Figure
        A heat map whose colours leave out the diagonal.
    """
    values = shares.numpy()
    others = values[~np.eye(len(values), dtype=bool)]
    fig, ax = plt.subplots(figsize=(8.6, 7))
    text = np.char.mod("%.0f", 100 * values)
    bar = {"label": "agreement"}
    style = {"annot": text, "fmt": "", "annot_kws": {"fontsize": 8}, "cmap": COLOUR_MAP, "square": True, "cbar_kws": bar}
    sns.heatmap(values, ax=ax, vmin=others.min(), vmax=others.max(), xticklabels=names, yticklabels=names, **style)
    plt.setp(ax.get_xticklabels(), rotation=50, ha="right", rotation_mode="anchor", fontsize=9)
    plt.setp(ax.get_yticklabels(), fontsize=9)
    return fig


def agreement_right_wrong(rows: pd.DataFrame) -> Figure:
    """Fidelity where the source is wrong against fidelity where it is right; a dot is a model, filled if it was stolen.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns group, step, right, wrong.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    fig, ax = plt.subplots(figsize=(7.4, 4))
    for position, (group, part) in enumerate(rows.groupby("group", sort=False)):
        colour, marker = DARK[position % len(DARK)], MARKERS[position % len(MARKERS)]
        fill = colour if part["step"].iloc[0] in lineage.ATTACKS else "white"
        ax.plot(part["right"], part["wrong"], marker, color=colour, markerfacecolor=fill, markersize=7, alpha=0.8, label=group)
    ax.set(xlabel="agreement where the source is right", ylabel="agreement where it is wrong")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return fig


def _places(settings: list[str]) -> tuple[dict[str, float], str]:
    """Where each numeric setting stands on an axis from 0 to 1, and the kind of axis: logarithmic where they span a decade."""
    values = np.array([float(setting) for setting in settings])
    logarithmic = values.min() > 0 and values.max() / values.min() >= 10
    scaled = np.log(values) if logarithmic else values
    scaled = (scaled - scaled.min()) / (np.ptp(scaled) or 1) if len(values) > 1 else np.full(1, 0.5)
    return dict(zip(settings, scaled.tolist(), strict=True)), " (logarithmic)" if logarithmic else ""


def _setting_ticks(ax: Axes, places: dict[str, float]) -> None:
    ax.set_xticks(list(places.values()), [f"{float(setting):g}" for setting in places])
    ax.set_xlim(-0.12, 1.12)
    ax.grid(False, axis="x")


def _auc_lines(ax: Axes, part: pd.DataFrame, places: dict[str, float], names: list[str], upright: bool) -> None:
    """AUC with its interval at each setting, the lines of a panel side by side."""
    for k, name in enumerate(names):
        own = part[part["line"] == name]
        if own.empty:
            continue
        step = 0.03 if upright else 0.7 / len(names)
        place = np.array([places[setting] for setting in own["setting"]]) + step * (k - (len(names) - 1) / 2)
        width = np.abs(own["auc"].to_numpy() - own[["low", "high"]].to_numpy().T)
        style = {"color": DARK[k], "marker": MARKERS[k], "markersize": 4.5, "elinewidth": 1.3, "label": name}
        if upright:
            ax.errorbar(place, own["auc"], yerr=width, linestyle=LINES[k], linewidth=1.3, **style)
        else:
            ax.errorbar(own["auc"], place, xerr=width, linestyle="", **style)
    (ax.axhline if upright else ax.axvline)(0.5, color="#888888", linewidth=1)
    (ax.set_ylim if upright else ax.set_xlim)(-0.04, 1.04)


def small_multiples(rows: pd.DataFrame, label: str) -> Figure:
    """AUC at each setting of an ablation: a panel per attack, a line per series, error bars for the 95 % intervals.

    Numeric settings stand on a horizontal axis, at their distances; settings with a text among them are listed downwards in
    the order of the rows.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns attack, setting (as text), line (name in the legend), auc, low, high, and optionally row, which spreads the
        lines over rows of panels.
    label : str
        What the settings are.

    Returns
    -------
    matplotlib.figure.Figure
        Panels on one scale of AUC, 0 to 1, with a line at guessing.
    """
    rows = rows if "row" in rows else rows.assign(row="")
    settings, names = list(rows["setting"].unique()), list(rows["line"].unique())
    attacks, bands = list(rows["attack"].unique()), list(rows["row"].unique())
    upright = pd.to_numeric(rows["setting"], errors="coerce").notna().all()
    if upright:
        places, kind = _places(sorted(settings, key=float))
        height = 2.2 * len(bands) + 0.7
    else:
        places, kind = {setting: float(k) for k, setting in enumerate(settings)}, ""
        height = len(bands) * (0.17 * len(settings) * max(len(names), 2) + 0.5) + 0.7
    size = (min(9, 2.15 * len(attacks) + 1.2), height)
    fig, axes = plt.subplots(len(bands), len(attacks), figsize=size, sharex=True, sharey=True, squeeze=False)
    for line, band in zip(axes, bands, strict=True):
        for ax, attack in zip(line, attacks, strict=True):
            _auc_lines(ax, rows[(rows["attack"] == attack) & (rows["row"] == band)], places, names, upright)
            if upright:
                _setting_ticks(ax, places)
                ax.tick_params(axis="x", labelsize=8)
            else:
                ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
                ax.set_yticks(list(places.values()), list(places))
                ax.set_ylim(len(places) - 0.5, -0.5)
                ax.grid(False, axis="y")
                for edge in range(1, len(places)):
                    ax.axhline(edge - 0.5, color="#dddddd", linewidth=0.8)
        line[0].set_ylabel(f"AUC, {band}" if band and upright else "AUC" if upright else band or label)
    for ax, attack in zip(axes[0], attacks, strict=True):
        ax.set_title(attack, fontsize=10)
    fig.supxlabel(label + kind if upright else "AUC with 95 % interval", fontsize=11)
    handles = {name: handle for ax in axes.flat for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, fontsize=9)
    return fig


def effort(rows: pd.DataFrame, students: pd.DataFrame, column: str, label: str, irrelevant: float) -> Figure:
    """AUC and fidelity of Extract-L students against what the attacker spent.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns setting (as text), line, auc, low, high.
    students : pandas.DataFrame
        As made by ``summaries.extraction_effort``.
    column : str
        Its column whose values are the settings.
    label : str
        What the settings are.
    irrelevant : float
        Mean fidelity of the irrelevant models, drawn as a line.

    Returns
    -------
    matplotlib.figure.Figure
        AUC at the left, fidelity at the right, where a dot is a student.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.4))
    places, kind = _places(sorted(rows["setting"].unique(), key=float))
    _auc_lines(left, rows, places, list(rows["line"].unique()), True)
    means = {}
    for setting, place in places.items():
        values = np.sort(students.loc[students[column] == float(setting), "fidelity"].to_numpy())
        means[place] = values.mean()
        spread = np.resize([0, 0.015, -0.015], len(values))
        right.plot(place + spread, values, STOLEN[1], color=STOLEN[0], alpha=0.7, markersize=5)
    right.plot(list(means), list(means.values()), "-", color=STOLEN[0], linewidth=1.3, label="mean of the students")
    right.plot([], [], STOLEN[1], color=STOLEN[0], label="a student")
    right.axhline(irrelevant, color=IRRELEVANT[0], linestyle="--", linewidth=1.3, label="mean of the irrelevant models")
    for ax in (left, right):
        _setting_ticks(ax, places)
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.25), fontsize=9, frameon=False)
    left.set(xlabel=label + kind, ylabel="AUC of Extract-L")
    right.set(xlabel=label + kind, ylabel="fidelity on test images")
    return fig


def method_panels(rows: pd.DataFrame) -> Figure:
    """AUC with its interval of every fingerprint, a panel per attack and a line per method.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns method, probes (the name beside the line), form, attack, auc, low, high, see ``summaries.pick``. Where a
        fingerprint comes in two forms they share a line, labels below and hollow.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels in a row; nothing is drawn where a method cannot judge an attack.
    """
    names, attacks, columns = list(rows["probes"].unique()), list(rows["attack"].unique()), 3
    twice = rows.groupby("probes")["form"].nunique() > 1
    lines = -(-len(attacks) // columns)
    size = (8.6, lines * (0.2 * len(names) + 0.35) + 0.9)
    fig, axes = plt.subplots(lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    styles = {
        "baseline": (COLOURS[0], COLOURS[0], "s", 0.0),
        "SAC, probabilities": (COLOURS[1], COLOURS[1], "o", -0.16),
        "SAC, labels": (COLOURS[1], "white", "o", 0.16),
    }
    kind = np.where(rows["probes"].map(twice), "SAC, " + rows["form"], "baseline")
    for ax, attack in zip(axes.flat, attacks, strict=False):
        for label, (colour, face, marker, shift) in styles.items():
            part = rows[(rows["attack"] == attack) & (kind == label)]
            place = np.array([names.index(name) for name in part["probes"]]) + shift
            width = np.abs(part["auc"].to_numpy() - part[["low", "high"]].to_numpy().T)
            style = {"color": colour, "markerfacecolor": face, "marker": marker, "markersize": 4, "elinewidth": 1.2}
            ax.errorbar(part["auc"], place, xerr=width, linestyle="", label=label, **style)
        ax.axvline(0.5, color="#888888", linewidth=1)
        ax.axhline(int((~twice[names]).sum()) - 0.5, color="#888888", linewidth=1)
        ax.set_title(attack, fontsize=10)
        ax.set(xlim=(-0.04, 1.04), ylim=(len(names) - 0.5, -0.5))
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.set_yticks(range(len(names)), names, fontsize=8.5)
        ax.grid(False, axis="y")
    for ax in axes.flat[len(attacks) :]:
        ax.axis("off")
    fig.supxlabel("AUC with 95 % interval", fontsize=11)
    fig.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    return fig


def sources(rows: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """AUC of each source, a block of panels per reference, a panel per attack and a line per probe set.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns reference, probes, attack, seed, auc.
    means : pandas.DataFrame
        Columns reference, probes, attack, auc (an ``evaluation.Auc``): the mean over sources with its interval.

    Returns
    -------
    matplotlib.figure.Figure
        A dot is a source; below the dots a tick for their mean, on a line for its interval.
    """
    references, attacks, names = (list(rows[column].unique()) for column in ("reference", "attack", "probes"))
    attacks = [lineage.LABELS[step] for step in lineage.ATTACKS if lineage.LABELS[step] in attacks]
    columns = 3
    deep = -(-len(attacks) // columns)
    shape = (len(references) * deep, columns)
    height = 0.24 * len(names) + 0.5
    fig, axes = plt.subplots(*shape, figsize=(8.4, height * shape[0] + 0.6), sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat:
        ax.set_visible(False)
    for row, reference in enumerate(references):
        for place, attack in enumerate(attacks):
            ax = axes[row * deep + place // columns, place % columns]
            ax.set_visible(True)
            chosen = [part[(part["reference"] == reference) & (part["attack"] == attack)] for part in (rows, means)]
            values, centres = (part.set_index("probes")["auc"] for part in chosen)
            ax.plot(
                values, [names.index(name) - 0.14 for name in values.index], "o", color=COLOURS[row], markersize=5, alpha=0.6
            )
            for name, auc in centres.items():
                line = names.index(name) + 0.2
                ax.plot([auc.low, auc.high], [line, line], color="black", linewidth=1.2)
                ax.plot(auc.value, line, "|", color="black", markersize=8, markeredgewidth=1.8)
            ax.axvline(0.5, color="#888888", linewidth=1)
            ax.set_title(f"{attack} ({reference})", fontsize=9)
            ax.set_yticks(range(len(names)), names, fontsize=8.5)
            ax.set(xlim=(-0.03, 1.03), ylim=(len(names) - 0.5, -0.5), xticks=[0, 0.5, 1])
            ax.grid(False, axis="y")
    fig.supxlabel("AUC", fontsize=11)
    return fig


def suspect_among(outcome: Verdict) -> Figure:
    """A suspect's distance among those of models whose origin is known.

    Parameters
    ----------
    outcome : Verdict
        As given by :func:`sacutils.verdict.judge`.

    Returns
    -------
    matplotlib.figure.Figure
        A row of dots for the references, one for the derivatives if there are any, and the suspect with its interval.
    """
    groups = {"references": list(outcome.references.values()), "known derivatives": list(outcome.derivatives.values())}
    groups = {name: values for name, values in groups.items() if values}
    fig, ax = plt.subplots(figsize=(8, 0.6 * len(groups) + 1.4))
    colours = {"references": COLOURS[0], "known derivatives": COLOURS[1]}
    for row, (name, values) in enumerate(groups.items()):
        ax.plot(values, [row] * len(values), "o", color=colours[name], alpha=0.6, markersize=6)
    last = len(groups)
    ax.plot([outcome.distance_low, outcome.distance_high], [last, last], color="black", linewidth=2)
    ax.plot(outcome.distance, last, "D", color="black", markersize=7)
    ax.axvline(outcome.distance, color="black", linewidth=0.8, linestyle=":")
    ax.set_yticks(range(last + 1), [*groups, "suspect"])
    ax.set(ylim=(last + 0.6, -0.6), xlabel="correlation distance to the owner's model")
    ax.set_xlim(left=0)
    ax.grid(False, axis="y")
    return fig
