"""One style, one colour per role, and ten kinds of figure for long tables: a row is a mark.

Figures compute no statistics: an interval is what the columns ``low`` and ``high`` say. Series and
lines come in the order of the rows. A column, role or option that does not exist is a
``files.UserError``. What the keywords of several kinds mean:

- label, x_label, y_label: what an axis shows, with its unit.
- hue: column whose values are the series of the legend; their colours are no role's.
- role: column with names that `look` knows. It gives colour, marker and dash, and the legend too
  where there is no hue; with hue, which then gives marker, dash and legend, it is the colour.
- facet, row: columns with a panel for each value or pair of values; columns: panels side by side.
- dots: a second frame with the same columns, single models beside their mean.
- levels: lines across the figure, by role.
- limits, guess: ends of the scale of values; where guessing lies on it.
"""

import re
from html import escape
from typing import Any, NamedTuple

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

from . import files
from .steps import LABELS, STEPS


class Look(NamedTuple):
    """Name in the legend, colour, and the second cues: marker, dash, filled or hollow."""

    label: str
    colour: str
    marker: str = "o"
    dash: Any = "-"
    filled: bool = True


_VERMILLION, _ORANGE, _BLUE, _GREY = "#d55e00", "#e69f00", "#0072b2", "#777777"
_DOTS = (0, (1, 1.5))
DASHES = ("-", "--", _DOTS, "-.", (0, (6, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = "osD^vPXh"

ROLES = {
    "source": Look(LABELS["source"], "#000000", "*"),
    "stolen": Look("Stolen", _VERMILLION),
    "independent": Look(LABELS["independent"], _BLUE, "^", "--"),
    "independent_owner": Look(LABELS["independent_owner"], _BLUE, "v", _DOTS, False),
    "student_of_another": Look("Student of another", "#009e73", "s", "-."),
    "sibling": Look("Sibling", "#56b4e9", "P", "--"),
    "control": Look("Control", _GREY, "X", _DOTS),
    "suspect": Look("Suspect", "#cc79a7", "D"),
}
"""Colours of Okabe and Ito, which colour-blind readers can tell apart: one per role in the whole
book. Independent models are blue, those on owner data hollow."""

STEP_LOOKS = {
    "source": ROLES["source"],
    "finetune_all": Look(LABELS["finetune_all"], _ORANGE, "o", "-"),
    "finetune_last": Look(LABELS["finetune_last"], _ORANGE, "s", "--", False),
    "prune": Look(LABELS["prune"], _ORANGE, "D", _DOTS),
    "transfer_all": Look(LABELS["transfer_all"], _ORANGE, "P", "-"),
    "transfer_last": Look(LABELS["transfer_last"], _ORANGE, "X", "--", False),
    "transfer_corrupted": Look(LABELS["transfer_corrupted"], _ORANGE, "h", _DOTS),
    "extract_label": Look(LABELS["extract_label"], _VERMILLION, "o", "-"),
    "extract_probability": Look(LABELS["extract_probability"], _VERMILLION, "s", "--", False),
    "extract_adversarial": Look(LABELS["extract_adversarial"], _VERMILLION, "D", _DOTS),
    "independent": ROLES["independent"],
    "independent_owner": ROLES["independent_owner"],
    "independent_transfer": Look(LABELS["independent_transfer"], _BLUE, "<", "-."),
    "independent_corrupted": Look(LABELS["independent_corrupted"], _BLUE, ">", (0, (6, 2))),
    "extract_once": Look(LABELS["extract_once"], _VERMILLION, "^", "-."),
    "extract_plain": Look(LABELS["extract_plain"], _VERMILLION, "v", "-.", False),
    "extract_noisy": Look(LABELS["extract_noisy"], _VERMILLION, "X", "-."),
    "chain_finetuned": Look(LABELS["chain_finetuned"], _VERMILLION, "P", (0, (6, 2))),
    "chain_pruned": Look(LABELS["chain_pruned"], _VERMILLION, "h", (0, (6, 2))),
    "chain_quantised": Look(LABELS["chain_quantised"], _VERMILLION, "p", (0, (6, 2))),
    "independent_plain": Look(LABELS["independent_plain"], _BLUE, "s", "-."),
    "independent_owner_plain": Look(LABELS["independent_owner_plain"], _BLUE, "D", "-.", False),
    "overlap": Look(LABELS["overlap"], _BLUE, "p", (0, (6, 2))),
    "sibling": ROLES["sibling"],
    "student_of_sibling": Look(LABELS["student_of_sibling"], "#009e73", "s", "-."),
    "student_of_stranger": Look(LABELS["student_of_stranger"], "#009e73", "D", "--", False),
    "surrogate": Look(LABELS["surrogate"], _GREY, "p", "-."),
    "surrogate_probability": Look(LABELS["surrogate_probability"], _GREY, "p", "--", False),
    **{
        name: Look(step.label, _GREY, "X", _DOTS)
        for name, step in STEPS.items()
        if step.role == "control"
    },
}
"""Where steps are told apart: copies of the source's weights are orange, extraction vermillion,
independent models blue, students of another green, the owner's helpers and controls grey."""

SERIES = ["#332288", "#999933", "#882255", "#b0a0d0"]
"""For what is no role (output forms, probe sets, splits): none of these is a role's colour."""

WIDTH = 6.9
"""Inches, the width of the book's column: nothing is scaled on the page."""
MATRIX, DIFFERENCE = "viridis", "RdBu_r"


def look(name: str) -> Look:
    """The look of a role or step, by its key or label."""
    looks = ROLES | STEP_LOOKS
    looks |= {each.label: each for each in looks.values()}
    if name not in looks:
        known = ", ".join(ROLES | STEP_LOOKS)
        raise files.UserError(f"{name!r} is no role or step that figures know: {known}.")
    return looks[name]


def use_style() -> None:
    """White background, light grid, and vector output with the same bytes in every run."""
    sns.set_theme(context="paper", style="whitegrid", palette=SERIES)
    sizes = {"font.size": 10, "axes.labelsize": 10, "axes.titlesize": 10, "legend.fontsize": 9}
    sizes |= {"xtick.labelsize": 9, "ytick.labelsize": 9, "lines.markersize": 5.5}
    svg = {"svg.hashsalt": "sac", "svg.fonttype": "path"}
    white = {"figure.facecolor": "white", "savefig.facecolor": "white"}
    plt.rcParams.update(sizes | svg | white)
    plt.rcParams.update({"figure.dpi": 100, "figure.constrained_layout.use": True})
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("svg", bbox_inches=None, metadata={"Date": None})


def table(frame: pd.DataFrame, formats: dict[str, str] | None = None, *, caption: str = "") -> HTML:
    """A table as HTML, the same text for the same table; `formats` are those of some columns.

    The caption says what to see; the book puts a number before it.
    """
    columns = list(enumerate(frame.columns))
    numeric = [i for i, name in columns if pd.api.types.is_numeric_dtype(frame[name])]
    size, side = ("0.88em", "0.4em") if len(columns) > 4 else ("1em", "0.6em")
    size, side = ("0.82em", "0.3em") if len(columns) > 5 else (size, side)
    props = f"text-align: left; vertical-align: top; padding: 0.25em {side}; font-size: {size}"
    rules = [{"selector": "th, td", "props": props}]
    rules += [{"selector": f".col{i}", "props": "text-align: right"} for i in numeric]
    # Names and intervals stay on one line; what does not fit scrolls.
    short = ["td.col0", *(f"th.col{i}" for i, name in columns if len(str(name)) <= 12)]
    rules.append({"selector": ", ".join(short), "props": "white-space: nowrap"})
    wide = [i for i, name in columns if frame[name].map(lambda value: len(str(value))).max() > 40]
    if wide:  # several of them fit beside each other on a laptop
        props = f"min-width: {min(16, 24 // len(wide))}em; white-space: normal"
        rules.append({"selector": ", ".join(f"td.col{i}" for i in wide), "props": props})
    interval = re.compile(r"(?<=[\d%]), (?=[-+\d.]+%?\])")
    frame = frame.map(lambda v: interval.sub(",\u00a0", v) if isinstance(v, str) else v)
    # By default the identifier is random, and every run would give another page.
    styler = frame.style.set_uuid(files.digest_of([frame.to_json(), formats])[:8])
    styler.cell_ids = False
    styler = styler.hide().format(formats, escape="html", na_rep="–").set_table_styles(rules)
    # a name of several words, joined by underscores, may be broken as one of words is
    styler.format_index(lambda name: escape(str(name)).replace("_", "_<wbr>"), axis="columns")
    styler = styler.set_caption(escape(caption)) if caption else styler
    return HTML(styler.set_table_attributes('class="dataframe"').to_html())


def say(**values: str | int | float | np.generic) -> None:
    """Keep values for ``{glue:text}`` under their names; nothing is displayed."""
    from myst_nb import glue

    for name, value in values.items():
        value = value.item() if isinstance(value, np.generic) else value
        if not isinstance(value, str | int | float):
            kind = type(value).__name__
            raise files.UserError(f"{name} is of type {kind}; a page says a text or a number.")
        glue(name, value, display=False)


def show(name: str, figure: Figure) -> None:
    """Keep a figure for ``{glue:figure}``, display it, and close it."""
    from myst_nb import glue

    glue(name, figure)
    plt.close(figure)


def _need(frame: pd.DataFrame, *columns: str | None) -> None:
    for column in columns:
        if column is not None and column not in frame:
            names = ", ".join(map(str, frame.columns))
            raise files.UserError(f"The table has no column {column!r}; it has {names}.")
    if frame.empty:
        raise files.UserError("The table has no rows, so there is nothing to draw.")


def _word(value: Any) -> str:
    """What is written for a value: a step's or role's label, a number without zeros, or itself."""
    if isinstance(value, float):
        return f"{value:g}"
    return LABELS.get(value) or (ROLES[value].label if value in ROLES else str(value))


def _unique(frame: pd.DataFrame, column: str | None) -> list:
    return list(frame[column].unique()) if column else [""]


def _series(frame: pd.DataFrame, hue: str | None, role: str | None) -> list[tuple[Look, dict]]:
    """Looks of all series, each with the values of the columns that select its rows."""
    if not hue:
        if not role:
            return [(Look("", SERIES[0]), {})]
        return [(look(name), {role: name}) for name in _unique(frame, role)]
    series, seen = [], {}
    for values in frame[[hue, *([role] if role else [])]].drop_duplicates().to_dict("records"):
        k = len(series)
        base = look(values[role]) if role else Look("", SERIES[k % len(SERIES)])
        if role:  # series of one colour differ in their marks
            k = seen[base.colour] = seen.get(base.colour, -1) + 1
        marks = MARKERS[k % len(MARKERS)], DASHES[k % len(DASHES)]
        series.append((Look(_word(values[hue]), base.colour, *marks, base.filled), values))
    return series


def _rows(frame: pd.DataFrame, chosen: dict[str, Any]) -> pd.DataFrame:
    for column, value in chosen.items():
        frame = frame[frame[column] == value]
    return frame


def _style(of: Look, line: bool = False) -> dict[str, Any]:
    face = of.colour if of.filled else "white"
    style = {"color": of.colour, "marker": of.marker, "markerfacecolor": face, "label": of.label}
    return style | {"linestyle": of.dash if line else "none"}


def _widths(part: pd.DataFrame, value: str) -> np.ndarray | None:
    """Lengths of the intervals to both sides, shape (2, n); None where no row has one."""
    if "low" not in part or part["low"].isna().all():
        return None
    centre = part[value].to_numpy(float)
    return np.abs(part[["low", "high"]].to_numpy(float).T - centre)


def _grid(frame: pd.DataFrame, by: list[str | None], columns: int | None, height: float,
          share_x: bool = True, share_y: bool = True) -> tuple[Figure, list[tuple]]:  # fmt: skip
    """A figure and its panels: axes, rows, and what selects these: its facet stands above, its band
    at the right of the band's last panels.
    """
    facets, bands = _unique(frame, by[0]), _unique(frame, by[1])
    columns = min(len(facets), columns or (2 if len(facets) == 4 else 3))
    deep = -(-len(facets) // columns)
    size = (WIDTH, len(bands) * deep * height + 0.75)
    shared = {"sharex": share_x, "sharey": share_y, "squeeze": False}
    fig, axes = plt.subplots(len(bands) * deep, columns, figsize=size, **shared)
    panels = []
    for i, ax in enumerate(axes.flat):
        band, k = divmod(i, deep * columns)
        values = (facets[k], bands[band]) if k < len(facets) else (None, None)
        chosen = {column: value for column, value in zip(by, values, strict=True) if column}
        part = _rows(frame, chosen)
        if part.empty or values[1] is None:
            ax.axis("off")
            if i >= columns:
                axes.flat[i - columns].tick_params(labelbottom=True)
        else:
            ax.set_title(_word(values[0]) if by[0] else "")
            if by[1] and (k % columns == columns - 1 or k == len(facets) - 1):
                style = {"xycoords": "axes fraction", "rotation": 270, "va": "center"}
                ax.annotate(_word(values[1]), (1.03, 0.5), **style)
            panels.append((ax, part, chosen))
    return fig, panels


def _finish(fig: Figure, x_label: str, y_label: str = "", legend: bool = True) -> Figure:
    """Labels of the axes, and above all panels one legend if there are two names or more."""
    if len(fig.axes) == 1:
        fig.axes[0].set(xlabel=x_label, ylabel=y_label)
    else:
        fig.supxlabel(x_label, fontsize=10)
        fig.supylabel(y_label, fontsize=10)
    handles: dict[str, Any] = {}
    for ax in fig.axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    if legend and len(handles) > 1:
        across = max(1, min(len(handles), 108 // (max(map(len, handles)) + 7)))
        where = {"loc": "outside upper center", "ncols": across, "frameon": False}
        fig.legend(handles.values(), handles.keys(), **where)
    return fig


def _scale(ax: Axes, axis: str, limits: tuple | None, guess: float | None = None) -> None:
    """Limits with a margin, and the line of guessing."""
    if limits:
        pad = 0.04 * (limits[1] - limits[0])
        ax.set(**{f"{axis}lim": (limits[0] - pad, limits[1] + pad)})
    if guess is not None:
        line = ax.axvline if axis == "x" else ax.axhline
        line(guess, color="#888888", linewidth=1, zorder=1)


def _lines_down(ax: Axes, names: list[str]) -> None:
    """Names at the left from top to bottom, with a rule between neighbours."""
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    ax.grid(False, axis="y")
    for edge in range(1, len(names)):
        ax.axhline(edge - 0.5, color="#dddddd", linewidth=0.8, zorder=0)


def _words_across(ax: Axes, values: list, width: float) -> None:
    """Words below an axis of `width` inches, at a slant where they would touch."""
    ax.set_xticks(range(len(values)), list(map(_word, values)))
    if sum(len(_word(value)) + 1 for value in values) > 10.5 * width:
        plt.setp(ax.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")


def images(rows: dict[str, torch.Tensor], titles: dict[str, list[str]] | None = None) -> Figure:
    """Rows of uint8 images, shape (n, channels, height, width), with their names at the left.

    `titles` are lines above each image, by the name of the row.
    """
    columns = max(map(len, rows.values()))
    lines = [line.split("\n") for row in (titles or {}).values() for line in row if line]
    deep = max(map(len, lines), default=0)
    longest = max((len(text) for line in lines for text in line), default=1)
    side = (WIDTH - 0.09 * max(map(len, rows))) / columns
    size = float(np.clip(72 * side / (0.58 * longest), 6.5, 9))
    height = len(rows) * (min(side, 1.6) + 0.02 + 0.16 * deep)
    fig, axes = plt.subplots(len(rows), columns, figsize=(WIDTH, height), squeeze=False)
    for line, (name, pixels) in zip(axes, rows.items(), strict=True):
        for ax in line[len(pixels) :]:
            ax.axis("off")
        for i, (ax, image) in enumerate(zip(line, pixels, strict=False)):
            picture = image.cpu().permute(1, 2, 0).numpy()
            picture = picture.squeeze(-1) if picture.shape[-1] == 1 else picture
            ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
            if titles:
                ax.set_title(titles[name][i], fontsize=size, pad=3, parse_math=False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return fig


def matrices(
    named: dict[str, torch.Tensor], *, differences: bool = True, numbers: bool = False
) -> Figure:
    """Correlation matrices, shape (n, n), on a scale from 0 to 0.5, that of the source first.

    With `differences`, there is a second row: how the others differ from the first, the distance
    :math:`d` above each. With `numbers`, the entries stand in the cells of the first row.
    """
    values, down = list(named.values()), 1 + differences
    side = min((WIDTH - 1) / len(values), 3.2)
    size = (WIDTH, down * (side + 0.25) + 0.15 * any("\n" in name for name in named))
    fig, axes = plt.subplots(down, len(values), figsize=size, squeeze=False)
    aspect = "equal" if len(values) > 1 else "auto"
    style = {"interpolation": "none", "aspect": aspect}
    for ax, (name, matrix) in zip(axes[0], named.items(), strict=True):
        drawn = ax.imshow(matrix.cpu().numpy(), MATRIX, vmin=0, vmax=0.5, **style)
        ax.set_title(name)
        for (i, j), entry in np.ndenumerate(matrix.cpu().numpy()) if numbers else ():
            text = f"{entry:.2f}".replace("0.", ".", 1)
            ink = "white" if entry < 0.3 else "black"
            ax.text(j, i, text, ha="center", va="center", fontsize=7, color=ink)
    fig.colorbar(drawn, ax=axes[0], label="$C_{ij}$")
    if differences:
        moved = [(matrix - values[0]).cpu().numpy() for matrix in values[1:]]
        most = max((float(np.abs(each).max()) for each in moved), default=0) or 1.0
        axes[1][0].axis("off")
        for ax, each in zip(axes[1][1:], moved, strict=True):
            drawn = ax.imshow(each, DIFFERENCE, vmin=-most, vmax=most, **style)
            ax.set_title(f"$d$ = {np.abs(each).mean():.4f}")
        fig.colorbar(drawn, ax=axes[1], label="$C^T_{ij} - C^S_{ij}$")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    return fig


def heat(frame: pd.DataFrame, label: str, *, low: float = 0, text: pd.DataFrame | None = None,
         x: str = "", y: str = "") -> Figure:  # fmt: skip
    """A heat map of a frame whose index and columns are the ticks; `label` is what colours show,
    from `low` to 1, `x` and `y` what the ticks are. `text` is a frame of words for the cells.
    """
    _need(frame)
    fig, ax = plt.subplots(figsize=(WIDTH, 0.34 * len(frame) + 1.3))
    style = {"cmap": MATRIX, "cbar_kws": {"label": label}}
    style |= {"annot_kws": {"fontsize": 9 if len(frame.columns) <= 10 else 7}, "fmt": ""}
    sns.heatmap(frame.astype(float), ax=ax, vmin=low, vmax=1, annot=text, **style)
    ax.set(xlabel=x, ylabel=y, facecolor="#eeeeee")
    ax.grid(False)
    ax.tick_params(axis="both", rotation=0)
    longest = max(len(line) for name in frame.columns for line in str(name).split("\n"))
    if longest * len(frame.columns) > 60:
        plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    return fig


def _down(frame: pd.DataFrame, value: str, by: str, lines: dict[Any, str],
          series: list[tuple[Look, dict]], grid: tuple, dots: pd.DataFrame | None = None,
          ) -> tuple[Figure, list[tuple]]:  # fmt: skip
    """Marks with their intervals in lines from top to bottom, named by `lines`.

    Series that share a line stand below one another, and so do marks of one series.
    """
    order = {name: place for place, name in enumerate(lines)}
    users: dict[Any, list[int]] = {name: [] for name in lines}
    for k, (_, own) in enumerate(series):
        for name in _rows(frame, own)[by].unique():
            users[name].append(k)
    deep = max(0.27, 0.08 + 0.1 * max(map(len, users.values()))) + 0.1 * (dots is not None)
    fig, panels = _grid(frame, *grid, len(lines) * deep + 0.3)
    for ax, part, chosen in panels:
        for k, (of, own) in enumerate(series):
            for rows in (part,) if dots is None else (part, dots):
                mine = _rows(rows, own | chosen).sort_values(value, kind="stable")
                if mine.empty:
                    continue
                n = mine[by].map(lambda name: len(users[name]))
                slot = (mine[by].map(lambda name: users[name].index(k)) + 0.5) / n - 0.5  # noqa: B023
                lift = np.choose(mine.groupby(by).cumcount() % 3, [0.0, 0.17, -0.17]) / n
                style, wide = _style(of) | {"alpha": 0.8, "elinewidth": 1.3}, _widths(mine, value)
                if dots is not None:  # single models above, their mean below
                    lift = 0.16 if rows is part else -0.16
                    style |= {"alpha": 1} if rows is part else {"alpha": 0.5, "label": ""}
                    wide = wide if rows is part else None
                place = mine[by].map(order) + 0.76 * slot + lift
                ax.errorbar(mine[value], place, xerr=wide, **style)
        _lines_down(ax, list(lines.values()))
        if grid[0][0]:
            ax.locator_params(axis="x", nbins=4)
    return fig, panels


def points(frame: pd.DataFrame, value: str, by: str, *, label: str, hue: str | None = None,
           role: str | None = None, facet: str | None = None, row: str | None = None,
           columns: int | None = None, dots: pd.DataFrame | None = None,
           limits: tuple[float, float] | None = None, guess: float | None = None,
           ) -> Figure:  # fmt: skip
    """A point with its interval per row of the frame; the values of `by` go downwards."""
    for rows in (frame,) if dots is None else (frame, dots):
        _need(rows, value, by, hue, role, facet, row)
    lines, series = {name: _word(name) for name in _unique(frame, by)}, _series(frame, hue, role)
    fig, panels = _down(frame, value, by, lines, series, ([facet, row], columns), dots)
    for ax, _, _ in panels:
        _scale(ax, "x", limits, guess)
    return _finish(fig, label)


def _ticks(ax: Axes, values: list[float], log: bool, width: float) -> None:
    """Ticks at the settings themselves, those left out that would touch the one before."""
    scaled = np.log(values) if log else np.array(values, dtype=float)
    chosen = [0]
    for i in range(1, len(values)):
        if scaled[i] - scaled[chosen[-1]] >= 0.36 / width * np.ptp(scaled):
            chosen.append(i)
    ax.set_xticks([values[i] for i in chosen], [f"{values[i]:g}" for i in chosen])
    ax.set_xticks([], minor=True)


def curves(frame: pd.DataFrame, x: str, y: str, *, x_label: str, y_label: str,
           hue: str | None = None, role: str | None = None, facet: str | None = None,
           columns: int | None = None, band: bool = True, log: bool = False,
           levels: dict[str, float] | None = None,
           limits: tuple[float, float] | None = None, guess: float | None = None,
           share_y: bool = True) -> Figure:  # fmt: skip
    """A line per series over numbers or, in the order of the rows, over words.

    Intervals are bands or, without `band`, bars side by side. With `log` the horizontal axis is
    logarithmic. Without `share_y` each panel has its own vertical scale; panels that are not about
    the same numbers have their own horizontal ones.
    """
    _need(frame, x, y, hue, role, facet)
    series, words = _series(frame, hue, role), not pd.api.types.is_numeric_dtype(frame[x])
    values = _unique(frame, x) if words else sorted(frame[x].unique())
    share_x = (
        words or not facet or all(set(part[x]) == set(values) for _, part in frame.groupby(facet))
    )
    scales = {"share_x": share_x, "share_y": share_y}
    fig, panels = _grid(frame, [facet, None], columns, 2.1 if facet else 2.6, **scales)
    width = 0.85 * WIDTH / panels[0][0].get_subplotspec().get_gridspec().ncols
    for ax, part, _ in panels:
        if not share_x:
            values = sorted(part[x].unique())
        span, ratio = (len(values), 1) if words else (np.ptp(values), values[-1] / (values[0] or 1))
        for k, (of, own) in enumerate(series):
            mine, style = _rows(part, own), _style(of, True) | {"linewidth": 1.6}
            at = mine[x].map(values.index).astype(float) if words else mine[x]
            wide = _widths(mine, y)
            if not band:  # bars side by side
                aside = 0.05 / width * (k - (len(series) - 1) / 2)
                at = at * ratio**aside if log else at + aside * span
            ax.errorbar(at, mine[y], yerr=None if band else wide, elinewidth=1.2, **style)
            if wide is not None and band:
                shade = {"color": of.colour, "alpha": 0.18, "linewidth": 0}
                ax.fill_between(at, mine["low"], mine["high"], **shade)
        for name, level in (levels or {}).items():
            line = look(name)
            style = {"color": line.colour, "linestyle": "--", "linewidth": 1.2}
            ax.axhline(level, label=line.label, **style)
        if log:
            ax.set_xscale("log")
        ax.margins(x=0.08)
        _scale(ax, "y", limits, guess)
        if words:
            _words_across(ax, values, width)
        elif len(values) <= 10:
            _ticks(ax, values, log, width)
    return _finish(fig, x_label, y_label)


def strips(frame: pd.DataFrame, value: str, by: str, *, label: str, role: str,
           facet: str | None = None, columns: int | None = None,
           sections: dict[str, list[str]] | None = None, auc: pd.DataFrame | None = None,
           counts: bool = True, limits: tuple[float, float] | None = None) -> Figure:  # fmt: skip
    """A dot per row of the frame, with its interval if it has one; values of `by` go downwards.

    `sections` has values of `by` by the heading of their section; all rows must be in one. `auc`
    has columns `by`, auc, low, high and perhaps negatives: they are written at the right, a column
    of text per value of negatives. With `counts`, the number of dots stands behind a line's name
    (of one panel). Roles that share a line stand below one another.
    """
    _need(frame, value, by, role, facet)
    if auc is not None and facet:
        raise files.UserError("AUCs stand beside one panel; leave out facet or auc.")
    present = _unique(frame, by)
    sections = sections or {"": present}
    if missing := set(present) - {name for names in sections.values() for name in names}:
        raise files.UserError(f"No section holds {', '.join(sorted(map(str, missing)))}.")
    lines: dict[Any, str] = {}
    number = frame[by].value_counts() if counts and not facet else {}
    for heading, names in sections.items():
        names = [name for name in names if name in present]
        lines |= {("head", heading): heading} if names and heading else {}
        lines |= {n: _word(n) + (f" ({number[n]})" if n in number else "") for n in names}
    grid = ([facet, None], columns)
    fig, panels = _down(frame, value, by, lines, _series(frame, None, role), grid)
    places = {name: place for place, name in enumerate(lines)}
    for ax, part, _ in panels:
        for head in (name for name in lines if isinstance(name, tuple)):
            panels[0][0].get_yticklabels()[places[head]].set_fontweight("bold")
            ax.axhline(places[head] - 0.5, color="#888888", linewidth=1)
        for at in part.loc[part[role] == "suspect", value]:
            ax.axvline(at, color=ROLES["suspect"].colour, linewidth=1, linestyle=_DOTS)
        if frame[value].min() >= 0:  # below, the margin keeps marks whole
            ax.set_xlim(left=0)
        _scale(ax, "x", limits)
    if auc is not None:
        _write_aucs(panels[0][0], auc, by, places)
    return _finish(fig, label, legend=by != role)


def _write_aucs(ax: Axes, auc: pd.DataFrame, by: str, places: dict[Any, int]) -> None:
    _need(auc, by, "auc", "low", "high")
    auc = auc if "negatives" in auc else auc.assign(negatives="")
    where = {"textcoords": "offset points", "fontsize": 9, "annotation_clip": False}
    where |= {"xycoords": ax.get_yaxis_transform()}
    for k, (against, part) in enumerate(auc.groupby("negatives", sort=False)):
        aside = (8 + 98 * k, 0)
        ax.annotate(f"AUC [95 %]\n{against}".strip(), (1, -0.6), aside, va="bottom", **where)
        for line in part[part[by].isin(list(places))].to_dict("records"):
            text = "{auc:.2f} [{low:.2f}, {high:.2f}]".format(**line)
            ax.annotate(text, (1, places[line[by]]), aside, va="center", **where)


def roc(panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]) -> Figure:
    """ROC curves from false and true positive rates, by panel and line; a dashed line at 5 %."""
    names = pd.DataFrame({"facet": list(panels)})
    _need(names)
    fig, axes = _grid(names, ["facet", None], 3, 2.15)
    lines = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    series = _series(pd.DataFrame({"line": lines}), "line", None)
    for ax, _, chosen in axes:
        for name, (false, true) in panels[chosen["facet"]].items():
            k = lines.index(name)
            of = series[k][0]
            style = {"color": of.colour, "linestyle": of.dash, "label": of.label}
            ax.plot(false, true, linewidth=max(1.2, 3.2 - k), **style)  # all seen where they meet
        ax.plot([0, 1], [0, 1], color="#888888", linewidth=1)
        ax.axvline(0.05, color="#888888", linewidth=1, linestyle="--")
        ax.set(box_aspect=1, xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    return _finish(fig, "false positive rate", "true positive rate")


def scatter(
    frame: pd.DataFrame, x: str, y: str, *, x_label: str, y_label: str, role: str
) -> Figure:
    """A dot per row."""
    _need(frame, x, y, role)
    fig, ax = plt.subplots(figsize=(WIDTH, 3.9))
    for of, own in _series(frame, None, role):
        part = _rows(frame, own)
        ax.plot(part[x], part[y], alpha=0.75, **_style(of))
    return _finish(fig, x_label, y_label)


def bars(frame: pd.DataFrame, value: str, by: str, *, label: str, hue: str | None = None,
         text: str | None = "{:,.0f}", log: bool = False) -> Figure:  # fmt: skip
    """Bars for the values of `by`, with their numbers as `text`.

    Where `by` holds numbers, a bar stands at each of them, upright, and the values of `hue` are an
    ordered scale of colours; bars for words have one colour.
    """
    _need(frame, value, by, hue)
    names, groups = _unique(frame, by), _unique(frame, hue)
    numeric = pd.api.types.is_numeric_dtype(frame[by])
    if hue and not numeric:
        raise files.UserError(f"Bars have a hue over numbers only; {by} holds words.")
    fig, ax = plt.subplots(figsize=(WIDTH, 2.8 if numeric else 0.3 * len(names) + 0.8))
    # A logarithmic axis has no zero: its bars begin below the smallest number.
    begin = min(1, frame.loc[frame[value] > 0, value].min()) / 2 if log else 0
    draw, thick, axis, other = (ax.bar, 1, "y", "x") if numeric else (ax.barh, 0.75, "x", "y")
    for k, group in enumerate(groups):
        part, style = _rows(frame, {hue: group} if hue else {}), {"color": SERIES[0]}
        if numeric:
            shade = plt.get_cmap(MATRIX)(0.92 * (1 - k / max(len(groups) - 1, 1)))
            style = {"color": shade, "linewidth": 0}
        place = part[by] if numeric else part[by].map(names.index)
        drawn = draw(place, part[value].clip(lower=begin), thick, label=_word(group), **style)
        if text:
            ax.bar_label(drawn, [text.format(each) for each in part[value]], padding=3, fontsize=9)
    ax.grid(False, axis=other)
    ax.margins(**{axis: 0.12 if text else 0.04})
    if log:
        ax.set(**{f"{axis}scale": "log"})
        ax.set(**{f"{axis}lim": (begin, 3 * frame[value].max())})
    if numeric:
        return _finish(fig, by, label)
    _lines_down(ax, list(map(_word, names)))
    return _finish(fig, label)


def training_frame(histories: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """Loss and accuracy per epoch: rows for `curves`."""
    rows = [
        (epoch, value, measure, model)
        for measure, key in (("mean loss", "loss"), ("accuracy on its own images", "accuracy"))
        for model, history in histories.items()
        for epoch, value in enumerate(history[key], 1)
    ]
    return pd.DataFrame(rows, columns=["epoch", "value", "measure", "model"])
