"""Two runs side by side, as one page in the book's theme."""

import io
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from sacutils import correlation, figures, steps
from sacutils.files import UserError
from sacutils.probes import PROBE_SETS
from sacutils.run import Run
from sacutils.studies import tables

from . import pages, parameters
from .portable import escaped

FORMS = ["probabilities", "labels"]
"""Output forms of the leading table."""
NEGATIVES = (steps.MAIN_NEGATIVES, "owner data")
"""Groups of independent models that the page compares with."""
SIDES = ("first", "second")


def page(first: Run, second: Run, folder: Path) -> Path:
    """Compare two finished runs.

    The page shows the difference of each AUC (second minus first) with its interval, the distances
    of all models in one strip for each attack, and the settings in which the runs differ. It is
    ``html/index.html`` in `folder`.

    Raises
    ------
    UserError
        If both are the same run, or one is not finished.
    """
    runs = (first, second)
    if first.profile.run_name == second.profile.run_name:
        raise UserError(
            f"Both sides name the run {first.profile.run_name}; give two that differ in profile, "
            "seed or replaced values."
        )
    for run in runs:
        if not (run.folder / "tables" / "sac_auc.csv").is_file():
            name = run.profile.run_name
            raise UserError(f"The run {name} is not finished: make its book first.")
    figures.use_style()
    names = tuple(run.profile.run_name for run in runs)
    both = joined(runs)
    rows = differences(both, (second.profile.bootstrap, second.profile.seed))
    if rows.empty:
        raise UserError(f"{names[0]} and {names[1]} have no attack in common.")
    written = {"distances.svg": svg(strips(both, names)), "index.md": text(rows, both, runs)}
    return pages.small_book(folder, written, {}) / "index.html"


def joined(runs: tuple[Run, Run]) -> dict[str, pd.DataFrame]:
    """Distances of two runs by the name of a probe set, as if each run were a set of probes: the
    column probes is ``first`` or ``second``.

    A model is named by the digest of all that made it: two runs judged the same model only
    where the digests agree, and a model of the same name from another seed is another model.
    """
    parts = []
    for side, run in zip(SIDES, runs, strict=True):
        table = tables.distances(run)
        parts.append(table.assign(side=side, model=table["model"].map(steps.digests(run.profile))))
    both = pd.concat(parts, ignore_index=True)
    return {
        name: both[both["probes"] == name].assign(probes=lambda part: part["side"])
        for name in PROBE_SETS.values()
    }


def differences(both: dict[str, pd.DataFrame], bootstrap: tuple[int, int]) -> pd.DataFrame:
    """The AUC of each attack, probe set and output form in both runs, and their difference.

    A row per attack (step), negatives, probes and form (cosine), with the columns of
    :func:`sacutils.studies.tables.difference`, second minus first.
    """
    rows = []
    for (probes, whole), form in product(both.items(), correlation.FORMS):
        distances = {"distances": tables.select(whole, form=form, measure="cosine")}
        first, second = ((side, form, "cosine") for side in SIDES)
        parts = (tables.fingerprint(distances["distances"], *key) for key in (first, second))
        judged = [set(part["step"]) for part in parts]
        for attack, negatives in product(steps.ATTACKS, NEGATIVES):
            independent = steps.negative_sets(attack).get(negatives, [])
            if all(attack in part and part.intersection(independent) for part in judged):
                row = {"attack": attack, "negatives": negatives, "probes": probes, "form": form}
                pair = (second, first, attack, negatives, bootstrap)
                rows.append(row | tables.difference(distances, *pair))
    return pd.DataFrame(rows)


def strips(both: dict[str, pd.DataFrame], names: tuple[str, ...]) -> Figure:
    """Distances on SAC-w and probabilities of the models of both runs, a panel per attack."""
    parts = []
    for attack, (side, name) in product(steps.ATTACKS, zip(SIDES, names, strict=True)):
        rows = tables.fingerprint(both["SAC-w"], side, "probabilities", "cosine")
        independent = steps.negative_sets(attack)[steps.MAIN_NEGATIVES]
        rows = tables.select(rows, step=[attack, *independent])
        stolen = rows["step"] == attack
        if stolen.any():
            role = stolen.map({True: "stolen", False: "independent"})
            parts.append(rows.assign(run=name, role=role, attack=steps.LABELS[attack]))
    return figures.strips(
        pd.concat(parts), "distance", "run", role="role", facet="attack", columns=2,
        label="correlation distance $d$ to the run's source",
    )  # fmt: skip


def svg(figure: Figure) -> str:
    """A figure as SVG, the same text for the same figure; the figure is closed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue()


PAGE = """\
# {one.run_name} and {two.run_name}

The runs `{one.run_name}` and `{two.run_name}` side by side: what they found, and what was set
differently. `{one.run_name}` has the profile `{one.name}` and the seed {one.seed};
`{two.run_name}` has the profile `{two.name}` and the seed {two.seed}.

## Differences of the AUC

{finding}

The runs have {models_one} and {models_two} models; {same} of them are the same, made by the same
recipe from the same images and seed. Where both runs judged the same models, the difference is
**paired**: models are drawn once for both (bootstrap). Elsewhere it is **unpaired**, and the
interval combines those of the two AUCs. The independent models are those on attacker data, the
intervals have 95 %. A dash stands where the two runs agree on every pair of models, or where a
group has fewer than three models, so that no interval can be given.

{leading}

## Distances

:::{{figure}} distances.svg
:name: fig-compared-distances
:alt: {alt}

SAC-w on probabilities: a dot is a model. Each attack has a panel, each run a line with its stolen
and its independent models. With other probes or another source, distances have a scale of their
own: compare the order within a line.
:::

## What was set differently

{settings}

## All probe sets, output forms and independent models

Differences of the AUC, `{two.run_name}` minus `{one.run_name}`.

{others}
"""


def text(rows: pd.DataFrame, both: dict[str, pd.DataFrame], runs: tuple[Run, Run]) -> str:
    """The page in MyST."""
    one, two = (run.profile for run in runs)
    names = [one.run_name, two.run_name]
    main = tables.select(rows, negatives=steps.MAIN_NEGATIVES, probes="SAC-w")
    leading = []
    for form in FORMS:
        part, bootstrap = tables.select(main, form=form), (two.bootstrap, two.seed)
        table = _wide(part, both["SAC-w"], names, bootstrap)
        leading += [f"**SAC-w on {form}**", _markdown(table)]
    settings = [
        {"setting": f"`{key}`"} | dict(zip(names, map(_cell, pair), strict=True))
        for key, pair in parameters.differing(one, two).items()
    ]
    models = [set(steps.digests(profile).values()) for profile in (one, two)]
    values = {"one": one, "two": two, "finding": _finding(main, names[1]), "alt": _alt(main, names)}
    values |= {"models_one": len(models[0]), "models_two": len(models[1])}
    values |= {"same": len(models[0] & models[1]), "leading": "\n\n".join(leading)}
    values |= {"settings": _markdown(pd.DataFrame(settings)), "others": _others(rows)}
    return PAGE.format(**values)


def _finding(main: pd.DataFrame, second: str) -> str:
    """What the leading tables show, in a sentence for each form."""
    sentences = []
    for form in FORMS:
        part = tables.select(main, form=form)
        higher, lower = int((part["low"] > 0).sum()), int((part["high"] < 0).sum())
        sentences.append(
            f"On {form}, the whole interval of the difference lies above zero for {higher} of "
            f"{len(part)} attacks (`{second}` is higher) and below zero for {lower}."
        )
    return " ".join(sentences)


def _alt(main: pd.DataFrame, names: list[str]) -> str:
    part = tables.select(main, form=FORMS[0])
    largest = part.loc[part["value"].abs().idxmax()]
    return (
        f"Distances to the source in the runs {names[0]} and {names[1]}, a panel for each of "
        f"{len(part)} attacks. The AUC differs most on {steps.LABELS[largest['attack']]}, by "
        f"{largest['value']:+.2f}."
    )


def _wide(
    rows: pd.DataFrame, table: pd.DataFrame, names: list[str], bootstrap: tuple[int, int]
) -> pd.DataFrame:
    """Both AUCs and their difference, a row per attack of one output form."""
    columns = {"attack": rows["attack"].map(steps.LABELS)}
    for side, name in zip(SIDES, names, strict=True):
        part = tables.fingerprint(table, side, rows["form"].iloc[0], "cosine")
        columns[name] = [
            tables.text(tables.over_sources(part, attack, steps.MAIN_NEGATIVES, bootstrap))
            for attack in rows["attack"]
        ]
    columns["difference"] = [tables.signed(row) for _, row in rows.iterrows()]
    columns["models"] = rows["paired"].map({True: "paired", False: "unpaired"})
    return pd.DataFrame(columns)


def _others(rows: pd.DataFrame) -> str:
    """A folded table, attacks by probe sets, for each output form and independent models."""
    texts = [tables.signed(row) for _, row in rows.iterrows()]
    rows = rows.assign(text=texts, attack=rows["attack"].map(steps.LABELS))
    return "\n\n".join(
        f":::{{dropdown}} {form.capitalize()}, independent models: {negatives}\n"
        f"{_markdown(tables.wide(part, 'attack', 'probes'))}\n:::"
        for (form, negatives), part in rows.groupby(["form", "negatives"], sort=False)
    )


def _cell(value: Any) -> str:
    return "not set" if value is None else escaped(str(value))


def _markdown(frame: pd.DataFrame) -> str:
    """A table of texts in Markdown."""
    if frame.empty:
        return "None."
    lines = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
