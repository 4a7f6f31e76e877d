"""The style of all figures, and one function per figure. Functions take tables and tensors, and return the figure."""

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
    rules = [{"selector": "th, td", "props": "text-align: left; vertical-align: top"}]
    rules += [{"selector": f".col{i}", "props": "text-align: right"} for i in numeric]
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
                ax.set_title(titles[name][i], fontsize=9)
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
            text = f"{value:.{decimals}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{decimals}f}"
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
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4))
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
    fig, axes = plt.subplots(rows, columns, figsize=(2.6 * columns + 0.6, 2.6 * rows + 0.2), squeeze=False)
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
    order = [step for step in lineage.ATTACKS if step not in later] + lineage.DEFAULT_NEGATIVES
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
    fig, axes = plt.subplots(1, len(parts), figsize=(10, 5.2), sharey=True)
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
    fig, ax = plt.subplots(figsize=(9, 5.4))
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
        Rows of ``run.auc`` for one probe set and all irrelevant models.

    Returns
    -------
    matplotlib.figure.Figure
        A number in each cell, and a diverging colour whose middle is guessing.
    """
    column = rows["form"] + "\n" + rows["correlation"]
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
