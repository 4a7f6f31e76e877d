"""What figures draw from what they are given: marks, names, colours by role, equal bytes."""

import io
from collections.abc import Callable
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sacutils import evaluation, figures, files
from sacutils.steps import LABELS, STEPS


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        figures.use_style()
        yield
    plt.close("all")


MODELS = pd.DataFrame(
    [
        ("extract_label", "probabilities", 0.10, 0.85),
        ("extract_label", "probabilities", 0.12, 0.84),
        ("independent", "probabilities", 0.30, 0.80),
        ("independent_owner", "probabilities", 0.28, 0.81),
        ("extract_label", "labels", 0.05, 0.85),
        ("independent", "labels", 0.06, 0.80),
    ],
    columns=["step", "form", "distance", "fidelity"],
)
AUC = pd.DataFrame(
    [
        ("Extract-L", "w", "labels", 10, 0.9, 0.7, 1.0),
        ("Extract-L", "m", "labels", 10, 0.6, 0.4, 0.8),
        ("Extract-P", "w", "labels", 10, 0.8, np.nan, np.nan),
        ("Extract-L", "w", "labels", 100, 0.95, 0.8, 1.0),
        ("Extract-P", "w", "labels", 100, 0.85, 0.7, 0.9),
    ],
    columns=["attack", "probes", "form", "n", "auc", "low", "high"],
)
ORDER = {"Stolen": ["extract_label"], "Independent": ["independent", "independent_owner"]}
MATRIX = torch.tensor([[0.0, 0.2], [0.2, 0.0]])
HISTORY = {"loss": [1.0, 0.5, 0.2], "accuracy": [0.3, 0.6, 0.8]}
KINDS: dict[str, Callable[[], Figure]] = {
    "images": lambda: figures.images({"a": torch.zeros(2, 1, 4, 4, dtype=torch.uint8)}),
    "matrices": lambda: figures.matrices({"source": MATRIX, "stolen": 2 * MATRIX}, numbers=True),
    "heat": lambda: figures.heat(pd.DataFrame([[0.1, 0.9]], ["a"], ["x", "y"]), "AUC"),
    "points": lambda: figures.points(
        AUC[AUC["n"] == 10], "auc", "attack", hue="probes", label="AUC", limits=(0, 1), guess=0.5
    ),
    "curves": lambda: figures.curves(
        AUC, "n", "auc", hue="probes", facet="attack", x_label="probes", y_label="AUC", log=True
    ),
    "strips": lambda: figures.strips(
        MODELS, "distance", "step", role="step", facet="form", sections=ORDER, label="$d$"
    ),
    "roc": lambda: figures.roc(
        {"Pruning": {"labels": evaluation.roc(np.array([0.1, 0.2]), np.array([0.15, 0.3]))}}
    ),
    "scatter": lambda: figures.scatter(
        MODELS, "fidelity", "distance", role="step", x_label="fidelity", y_label="$d$"
    ),
    "bars": lambda: figures.bars(
        pd.DataFrame({"step": ["a", "b"], "images": [1200, 0]}),
        "images", "step", label="images", log=True,
    ),
}  # fmt: skip


def svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue()


def marks(ax: plt.Axes) -> list:
    """Lines with a marker and at least one point."""
    drawn = [line for line in ax.lines if line.get_marker() not in ("", "None", None)]
    return [line for line in drawn if len(line.get_xdata())]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_as_wide_as_the_column_and_has_no_title(kind):
    figure = KINDS[kind]()
    assert figure.get_size_inches()[0] == 6.9
    assert figure._suptitle is None
    if kind not in ("matrices", "curves", "strips", "roc"):  # these have facets
        assert [ax.get_title() for ax in figure.axes] == [""] * len(figure.axes)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_give_the_same_bytes(kind):
    assert svg(KINDS[kind]()) == svg(KINDS[kind]())


def test_every_step_and_role_has_one_look_and_no_series_takes_a_roles_colour():
    assert set(figures.STEP_LOOKS) == set(STEPS)
    taken = {each.colour for each in (figures.ROLES | figures.STEP_LOOKS).values()}
    assert not taken & set(figures.SERIES)
    colours = [each.colour for each in figures.ROLES.values()]
    assert len(set(colours)) == len(colours) - 1  # independent models on both data share blue
    cues = [(each.colour, each.marker, each.filled) for each in figures.ROLES.values()]
    assert len(set(cues)) == len(cues)
    own = ("helper", "control")
    steps = {name: figures.STEP_LOOKS[name] for name in STEPS if STEPS[name].role not in own}
    assert len({(each.colour, each.marker, each.filled) for each in steps.values()}) == len(steps)
    blue = figures.ROLES["independent"].colour
    assert {n for n, each in steps.items() if each.colour == blue} == {
        name
        for name, step in STEPS.items()
        if step.role == "independent" and not name.startswith(("sibling", "student"))
    }
    assert figures.look("Extract-L") == figures.look("extract_label")


def test_strips_draw_a_dot_per_model_in_the_colour_of_its_step():
    figure = KINDS["strips"]()
    assert [ax.get_title() for ax in figure.axes] == ["probabilities", "labels"]
    first, second = map(marks, figure.axes)
    assert [len(line.get_xdata()) for line in first] == [2, 1, 1]
    assert [line.get_color() for line in first] == ["#d55e00", "#0072b2", "#0072b2"]
    assert [line.get_markerfacecolor() for line in first] == ["#d55e00", "#0072b2", "white"]
    assert sorted(first[0].get_xdata()) == [0.10, 0.12]
    assert [len(line.get_xdata()) for line in second] == [1, 1]
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    independent = [LABELS["independent"], LABELS["independent_owner"]]
    assert names == ["Stolen", "Extract-L", "Independent", *independent]
    assert legend(figure) == []  # the names stand at the left


def test_strips_write_the_given_aucs_and_the_numbers_of_models():
    rows = MODELS[MODELS["form"] == "probabilities"]
    auc = pd.DataFrame(
        [
            ("extract_label", "attacker data", 0.875, 0.6, 1),
            ("extract_label", "owner data", 0.5, 0.2, 0.8),
        ],
        columns=["step", "negatives", "auc", "low", "high"],
    )
    figure = figures.strips(rows, "distance", "step", role="step", label="$d$", auc=auc)
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "AUC [95 %]\nattacker data", "0.88 [0.60, 1.00]",
        "AUC [95 %]\nowner data", "0.50 [0.20, 0.80]",
    ]  # fmt: skip
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names[0] == "Extract-L (2)"


def test_strips_draw_the_suspect_with_its_interval():
    rows = pd.DataFrame(
        [
            ("references", "control", 0.2, np.nan, np.nan),
            ("references", "control", 0.3, np.nan, np.nan),
            ("suspect", "suspect", 0.1, 0.08, 0.13),
        ],
        columns=["group", "role", "distance", "low", "high"],
    )
    figure = figures.strips(rows, "distance", "group", role="role", label="$d$", counts=False)
    (ax,) = figure.axes
    (interval,) = [
        c.get_segments()[0] for c in ax.collections
        if len(c.get_segments()) and np.isfinite(c.get_segments()[0]).all()
    ]  # fmt: skip
    assert interval[:, 0] == pytest.approx([0.08, 0.13])
    assert legend(figure) == ["Control", "Suspect"]


def test_points_have_their_values_intervals_and_series():
    (ax,) = (figure := KINDS["points"]()).axes
    first, second = marks(ax)
    assert sorted(first.get_xdata()) == [0.8, 0.9] and list(second.get_xdata()) == [0.6]
    assert [first.get_color(), second.get_color()] == figures.SERIES[:2]
    assert first.get_marker() != second.get_marker()
    assert legend(figure) == ["w", "m"]
    segments = [s for c in ax.collections for s in c.get_segments() if np.ndim(s) == 2]
    assert sorted(tuple(s[:, 0]) for s in segments) == [(0.4, 0.8), (0.7, 1.0)]
    # Extract-P has one series, so its point stands in the middle of the line.
    assert dict(zip(first.get_xdata(), first.get_ydata(), strict=True))[0.8] == pytest.approx(1)


def test_single_models_stand_beside_their_mean():
    rows = AUC[(AUC["n"] == 100)]
    singles = pd.concat([rows.assign(auc=rows["auc"] - move) for move in (-0.02, 0.02)])
    figure = figures.points(rows, "auc", "attack", dots=singles, label="AUC")
    mean, single = marks(figure.axes[0])
    assert len(mean.get_xdata()) == 2 and len(single.get_xdata()) == 4
    assert min(mean.get_ydata()) > min(single.get_ydata())


def test_curves_have_a_panel_per_value_and_bands_from_the_columns():
    figure = KINDS["curves"]()
    assert [ax.get_title() for ax in figure.axes] == ["Extract-L", "Extract-P"]
    assert figure.axes[0].get_xscale() == "log"
    w, m = marks(figure.axes[0])
    assert list(w.get_xdata()) == [10, 100] and list(w.get_ydata()) == [0.9, 0.95]
    assert list(m.get_xdata()) == [10]
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 0.7 and band[:, 1].max() == 1.0


def test_curves_with_bars_stand_side_by_side():
    rows = AUC[AUC["attack"] == "Extract-L"]
    figure = figures.curves(
        rows, "n", "auc", hue="probes", x_label="n", y_label="AUC", band=False, log=True
    )
    w, m = marks(figure.axes[0])
    assert w.get_xdata()[0] < 10 < m.get_xdata()[0]
    assert w.get_xdata()[1] / w.get_xdata()[0] == pytest.approx(10)


def test_panels_about_other_numbers_have_scales_of_their_own():
    rows = pd.DataFrame({"kept": [80, 70, 80, 20], "auc": [0.5, 0.2, 0.5, 0.9]})
    rows["family"] = ["blur", "blur", "noise", "noise"]
    options = {"x_label": "", "y_label": "", "facet": "family"}
    blur, noise = figures.curves(rows, "kept", "auc", **options).axes
    assert blur.get_xlim()[0] > 65 and noise.get_xlim()[0] < 20
    assert [text.get_text() for text in noise.get_xticklabels()] == ["20", "80"]
    alike = figures.curves(rows.assign(kept=[80, 70, 80, 70]), "kept", "auc", **options)
    assert alike.axes[0].get_xlim() == alike.axes[1].get_xlim()


def test_two_facets_are_named_once_each():
    rows = pd.DataFrame(
        [(a, b, "SAC-w", 0.5) for b in ("one", "two") for a in ("Pruning", "Extract-L")],
        columns=["attack", "run", "probes", "auc"],
    )
    figure = figures.points(rows, "auc", "probes", label="AUC", facet="attack", row="run")
    assert [ax.get_title() for ax in figure.axes] == ["Pruning", "Extract-L"] * 2
    written = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert written == [[], ["one"], [], ["two"]]


def test_a_role_gives_the_colour_and_a_series_the_dash():
    frame = figures.training_frame({"vgg": HISTORY, "resnet": HISTORY, "source": HISTORY})
    frame["step"] = frame["model"].replace({"vgg": "independent", "resnet": "independent"})
    figure = figures.curves(
        frame, "epoch", "value", hue="model", role="step", facet="measure", x_label="epoch",
        y_label="", share_y=False, levels={"stolen": 0.4},
    )  # fmt: skip
    vgg, resnet, source = marks(figure.axes[0])
    assert [each.get_color() for each in (vgg, resnet, source)] == ["#0072b2"] * 2 + ["#000000"]
    assert vgg.get_linestyle() != resnet.get_linestyle()
    assert list(vgg.get_ydata()) == HISTORY["loss"]
    assert legend(figure) == ["Stolen", "vgg", "resnet", "Source"]
    (level,) = [line for line in figure.axes[1].lines if line.get_label() == "Stolen"]
    assert level.get_color() == "#d55e00" and level.get_ydata()[0] == 0.4


def test_curves_over_words_keep_the_order_of_the_rows():
    frame = pd.DataFrame({"layer": ["z", "a", "m"], "change": [3.0, 1.0, 2.0]})
    figure = figures.curves(frame, "layer", "change", x_label="", y_label="change")
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["z", "a", "m"]
    assert list(marks(figure.axes[0])[0].get_ydata()) == [3.0, 1.0, 2.0]


def test_matrices_show_entries_and_differences():
    figure = KINDS["matrices"]()
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in panels] == ["source", "stolen", "$d$ = 0.1000"]
    assert [text.get_text() for text in panels[0].texts] == [".00", ".20", ".20", ".00"]
    assert torch.equal(torch.tensor(panels[2].images[0].get_array().data), MATRIX)
    assert panels[0].images[0].get_clim() == panels[1].images[0].get_clim() == (0, 0.5)


def test_heat_writes_the_given_words():
    frame = pd.DataFrame([[0.1, 0.9]], ["a"], ["x", "y"])
    assert not figures.heat(frame, "AUC").axes[0].texts
    words = figures.heat(frame, "AUC", text=pd.DataFrame([["few", "many"]], ["a"], ["x", "y"]))
    assert [text.get_text() for text in words.axes[0].texts] == ["few", "many"]
    assert words.axes[1].get_ylabel() == "AUC"


def test_roc_draws_the_given_rates():
    (ax,) = KINDS["roc"]().axes
    line = ax.lines[0]
    assert ax.get_title() == "Pruning" and line.get_label() == "labels"
    false, true = evaluation.roc(np.array([0.1, 0.2]), np.array([0.15, 0.3]))
    assert np.array_equal(line.get_xdata(), false) and np.array_equal(line.get_ydata(), true)
    assert ax.lines[2].get_xdata()[0] == 0.05


def test_scatter_draws_a_dot_per_row():
    figure = KINDS["scatter"]()
    assert sum(len(line.get_xdata()) for line in marks(figure.axes[0])) == len(MODELS)
    steps = ("extract_label", "independent", "independent_owner")
    assert legend(figure) == [LABELS[step] for step in steps]


def test_bars_have_lengths_numbers_and_shades():
    (ax,) = KINDS["bars"]().axes
    assert [text.get_text() for text in ax.texts] == ["1,200", "0"]
    assert ax.get_xscale() == "log" and ax.patches[0].get_width() == 1200
    numeric = pd.DataFrame({"channel": range(4), "activity": [4, 3, 2, 1], "at": list("nnab")})
    shaded = figures.bars(numeric, "activity", "channel", hue="at", label="activity", text=None)
    lightness = [sum(bar.get_facecolor()[:3]) for bar in shaded.axes[0].patches]
    assert all(a >= b for a, b in pairwise(lightness))
    assert to_hex(shaded.axes[0].patches[0].get_facecolor()) not in figures.SERIES


def test_images_are_shown_as_they_are():
    pixels = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
    figure = figures.images({"row": pixels, "one": pixels[:1]}, {"row": ["a$b", "b"], "one": ["c"]})
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(shown) == 3
    assert np.array_equal(shown[1], pixels[1].permute(1, 2, 0).numpy())
    assert [ax.get_title() for ax in figure.axes] == ["a$b", "b", "c", ""]
    assert figure.axes[0].get_ylabel() == "row"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.look("irrelevant"), "'irrelevant' is no role or step"),
        (
            lambda: figures.scatter(MODELS, "fidelity", "d", role="step", x_label="", y_label=""),
            "no column 'd'; it has step, form, distance, fidelity",
        ),
        (
            lambda: figures.strips(MODELS, "distance", "form", role="form", label=""),
            "'probabilities' is no role or step",
        ),
        (
            lambda: figures.strips(
                MODELS, "distance", "step", role="step", label="", sections={"": ["independent"]}
            ),
            "No section holds extract_label, independent_owner",
        ),
        (
            lambda: figures.strips(
                MODELS, "distance", "step", role="step", label="", facet="form", auc=AUC
            ),
            "leave out facet or auc",
        ),
        (
            lambda: figures.bars(AUC, "n", "attack", hue="auc", label=""),
            "a hue over numbers only; attack holds words",
        ),
        (lambda: figures.bars(AUC[:0], "auc", "attack", label=""), "no rows"),
        (
            lambda: figures.points(AUC, "auc", "attack", label="", dots=MODELS),
            "no column 'auc'",
        ),
        (lambda: figures.say(auc=evaluation.Auc(1, 0.5, 1)), "auc is of type Auc"),
    ],
)
def test_what_does_not_exist_is_refused(draw, message):
    with pytest.raises(files.UserError, match=message):
        draw()


def test_say_and_show_glue_plain_values_and_close(monkeypatch):
    import myst_nb

    glued = []
    monkeypatch.setattr(myst_nb, "glue", lambda *args, **options: glued.append((args, options)))
    figures.say(n=np.int64(3), share=np.float32(0.5), word="few", exact=2.5)
    quiet = {"display": False}
    expected = {"n": 3, "share": 0.5, "word": "few", "exact": 2.5}
    assert glued == [(pair, quiet) for pair in expected.items()]
    assert [type(args[1]) for args, _ in glued] == [int, float, str, float]
    figure = KINDS["scatter"]()
    figures.show("models", figure)
    assert glued[-1] == (("models", figure), {})
    assert not plt.fignum_exists(figure.number)


def test_a_table_is_the_same_text_every_time_and_keeps_intervals_together():
    frame = pd.DataFrame({"attack": ["a <b>"], "AUC": [0.123], "interval": ["[0.1, 0.2]"]})
    shown = {"formats": {"AUC": "{:.1f}"}, "caption": "AUC < 1"}
    first, second = (figures.table(frame, **shown).data for _ in range(2))
    assert "<caption>AUC &lt; 1</caption>" in first
    assert first == second
    assert "a &lt;b&gt;" in first and ">0.1<" in first and "[0.1,\u00a00.2]" in first


def test_the_name_of_a_column_is_text_and_breaks_at_underscores():
    shown = figures.table(pd.DataFrame({"fashion_plain <2>, 2 sources": ["1"]})).data
    assert ">fashion_<wbr>plain &lt;2&gt;, 2 sources</th>" in shown
