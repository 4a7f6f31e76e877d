"""The picture of the README: one source of the reference run, from its tables."""

from pathlib import Path

from sacutils import figures, files
from sacutils.steps import ATTACKS, INDEPENDENT, LABELS, MAIN_NEGATIVES, SAME_CLASSES, STEPS
from sacutils.studies import references, tables

from . import compare

PROFILE, SEED = "fashion", 0


def svg() -> str:
    """The picture: distances on SAC-w and probabilities, and the AUCs against models on attacker
    data and against students of another, for the attacks and groups that every run has.
    """
    made = references.load(PROFILE)
    rows = {
        name: tables.fingerprint(tables.select(made[name], seed=SEED), *tables.SAC_W)
        for name in ("distances", "auc")
    }
    sections = {"": [step for step in (*SAME_CLASSES, *INDEPENDENT) if not STEPS[step].full]}
    for negatives in ("independent_transfer", "independent_corrupted"):
        attacks = [step for step in ATTACKS if negatives in STEPS[step].negatives]
        sections[LABELS[negatives]] = [*attacks, negatives]
    listed = [step for part in sections.values() for step in part]
    by_label = {label: step for step, label in LABELS.items()}
    auc = tables.select(rows["auc"], negatives=[MAIN_NEGATIVES, "students of another"])
    figures.use_style()
    figure = figures.strips(
        tables.select(rows["distances"], step=listed),
        "distance",
        "step",
        role="step",
        sections=sections,
        auc=auc.assign(step=auc["attack"].map(by_label)),
        label="correlation distance $d$ to the source",
    )
    return compare.svg(figure)


def path() -> Path:
    """Where the picture lies."""
    return files.home() / "book" / "_static" / "result.svg"
