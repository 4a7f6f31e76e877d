"""A case as one page that can be read without network."""

import base64
import io
import warnings
from importlib import resources

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sacutils import figures, files

from . import fingerprint, verdict
from .case import Case, facts
from .verdict import RankVerdict, SiblingVerdict

SENTENCES = {
    verdict.DERIVATION: "The answers are evidence of derivation from the owner's model.",
    verdict.NO_EVIDENCE: "The answers are no evidence of derivation from the owner's model.",
    verdict.NOT_DECIDABLE: "By these answers the question is not decidable.",
}


def among(outcome: RankVerdict | SiblingVerdict) -> Figure:
    """The source's residual among its siblings' and the suspect's among the controls', or a
    suspect's distance among those of independent models.
    """
    if isinstance(outcome, SiblingVerdict):
        own, *siblings = outcome.residuals.values()
        rows = [("source", own, "members, for this suspect")]
        rows += [("sibling", value, "members, for this suspect") for value in siblings]
        rows += [("control", value, "source, for others") for value in outcome.controls.values()]
        rows += [("suspect", own, "source, for others")]
        frame = pd.DataFrame(rows, columns=["role", "residual", "whose"])
        label = "residual: log-likelihood of the answers, corrected, per probe"
        return figures.strips(frame, "residual", "whose", label=label, role="role", counts=False)
    others = len(outcome.independent)
    frame = pd.DataFrame(
        {
            "role": ["independent"] * others + ["suspect"],
            "distance": [*outcome.independent.values(), outcome.distance],
        }
    )
    label = "correlation distance to the owner's model"
    return figures.strips(frame, "distance", "role", label=label, role="role", counts=False)


def pictures(case: Case) -> dict[str, Figure]:
    """The figures of a report: probes, matrices, and the suspect among independent models."""
    own, outcome = case.fingerprint, case.verdict
    probes = np.flatnonzero(~own.is_anchor)[:24]
    mine, theirs, names = own.answers.predicted, case.suspect.predicted, own.manifest.class_names
    pixels, titles = {}, {}
    for start in range(0, len(probes), 8):
        part = probes[start : start + 8]
        row = f"{start + 1}–{start + len(part)}"
        pixels[row] = own.pixels[part]
        titles[row] = [
            names[mine[i]] + ("" if mine[i] == theirs[i] else f"\n≠ {names[theirs[i]]}")
            for i in part
        ]
    drawn = {"probes": figures.images(pixels, titles), "among": among(outcome)}
    if isinstance(outcome, RankVerdict):
        both, rows = [own.answers, case.suspect], ~own.is_anchor
        pair = verdict.matrices(both, rows, outcome.form, outcome.k)
        drawn["matrices"] = figures.matrices({"owner's model": pair[0], "suspect": pair[1]})
    return drawn


def embedded(figure: Figure) -> str:
    """A figure as an image that a page can hold within itself."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # of class names in a script that the font lacks
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def shown(origin: dict[str, str]) -> str:
    """Where answers come from in a few words; hashes have a table of their own."""
    return ", ".join(value for key, value in origin.items() if "sha256" not in key and value)


def page(case: Case) -> str:
    """The report as one HTML page with everything inside."""
    figures.use_style()
    template = resources.files("sacheck").joinpath("report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    rows, names = ~case.fingerprint.is_anchor, case.fingerprint.manifest.class_names
    mine, theirs = case.fingerprint.answers.predicted[rows], case.suspect.predicted[rows]
    counts = [(name, mine == i, theirs == i) for i, name in enumerate(names)]
    labels = [(name, int(a.sum()), int((a & b).sum())) for name, a, b in counts if a.any()]
    return environment.from_string(template).render(
        case=case,
        found=SENTENCES[case.verdict.verdict],
        facts=facts(case),
        labels=labels,
        pictures={name: embedded(figure) for name, figure in pictures(case).items()},
        made=files.provenance(),
        tool=fingerprint.TOOL,
        shown=shown,
        resamples=verdict.RESAMPLES,
        by_siblings=isinstance(case.verdict, SiblingVerdict),
    )
