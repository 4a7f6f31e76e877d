"""Two runs side by side, as one page in the book's theme."""

import io
from itertools import product
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from sacutils import correlation, figures, steps
from sacutils.files import UserError
from sacutils.probes import PUBLISHED
from sacutils.run import Run
from sacutils.studies import tables

from . import jobs, pages, parameters, status

NEGATIVES = (steps.MAIN_NEGATIVES, "owner data")
"""Groups of independent models that the page compares with."""
SIDES = ("first", "second")


def page(first: Run, second: Run, folder: Path) -> Path:
    """Compare two finished runs; a ``UserError`` if both are the same, or one is not finished.

    The page shows the difference of each AUC (second minus first) with its interval, the distances
    of all models in one strip for each attack, and the settings in which the runs differ. It is
    ``html/index.html`` in `folder`.
    """
    runs = (first, second)
    if first.profile.run_name == second.profile.run_name:
        raise UserError(
            f"Both sides name the run {first.profile.run_name}; give two that differ in profile, "
            "seed or replaced values."
        )
    for run in runs:
        plan = jobs.plan(run.profile)
        if "tables" in status.all_outdated(plan, status.outdated(run.profile, plan)):
            name = run.profile.run_name
            raise UserError(f"The run {name} is not finished or out of date: make its book first.")
    figures.use_style()
    names = [run.profile.run_name for run in runs]
    both = joined(runs)
    rows = differences(both)
    if rows.empty:
        raise UserError(f"{names[0]} and {names[1]} have no attack in common.")
    written = {"distances.svg": svg(strips(both["SAC-w"], names)), "index.md": text(rows, runs)}
    return pages.small_book(folder, written, {}) / "index.html"


def joined(runs: tuple[Run, Run]) -> dict[str, pd.DataFrame]:
    """Distances of two runs by the name of a probe set, as if each run were a set of probes: the
    column probes is ``first`` or ``second``.

    A model is named by its name, which tells its cluster, and by the digest of all that made it: a
    model of the same name from another seed is another model.
    """
    parts = []
    for side, run in zip(SIDES, runs, strict=True):
        table = tables.distances(run)
        digests = table["model"].map(steps.digests(run.profile))
        parts.append(table.assign(side=side, model=table["model"] + " > " + digests))
    both = pd.concat(parts, ignore_index=True)
    return {
        name: both[both["probes"] == name].assign(probes=lambda part: part["side"])
        for name in PUBLISHED.values()
    }


def differences(both: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The AUC of each attack, probe set and output form in both runs, and their difference.

    A row per form (cosine), probes, negatives and attack (step), with the columns of
    :func:`sacutils.studies.tables.difference`, second minus first, and the texts ``first``,
    ``second`` and ``difference``.
    """
    rows = []
    for form, (probes, table) in product(correlation.SERVED, both.items()):
        first, second = ((side, form, "cosine") for side in SIDES)
        parts = {side: tables.fingerprint(table, side, form, "cosine") for side in SIDES}
        judged = [set(part["step"]) for part in parts.values()]
        for negatives, attack in product(NEGATIVES, steps.ATTACKS):
            independent = steps.negative_sets(attack).get(negatives, [])
            if not all(attack in names and names.intersection(independent) for names in judged):
                continue
            row = {"form": form, "probes": probes, "negatives": negatives, "attack": attack}
            group = attack, negatives
            row |= tables.difference({"distances": table}, second, first, *group)
            for side, part in parts.items():
                row[side] = tables.text(tables.over_sources(part, *group))
            rows.append(row | {"difference": tables.signed(row)})
    return pd.DataFrame(rows)


def strips(table: pd.DataFrame, names: list[str]) -> Figure:
    """Distances on SAC-w and probabilities of the models of both runs, a panel per attack."""
    parts = []
    for attack, (side, name) in product(steps.ATTACKS, zip(SIDES, names, strict=True)):
        independent = steps.negative_sets(attack)[steps.MAIN_NEGATIVES]
        rows = tables.fingerprint(table, side, "probabilities", "cosine")
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
**paired**, pair of models by pair. Elsewhere it is **unpaired**, and the interval combines those of
the two AUCs. The independent models are those on attacker data, the intervals have 95 %.

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

:::{{dropdown}} Differences of the AUC, `{two.run_name}` minus `{one.run_name}`
{others}
:::
"""


def text(rows: pd.DataFrame, runs: tuple[Run, Run]) -> str:
    """The page in MyST."""
    one, two = (run.profile for run in runs)
    names = {"first": one.run_name, "second": two.run_name}
    rows = rows.assign(attack=rows["attack"].map(steps.LABELS))
    rows["models"] = rows["paired"].map({True: "paired", False: "unpaired"})
    main = tables.select(rows, probes="SAC-w", negatives=steps.MAIN_NEGATIVES)
    leading, finding = "", ""
    for form in ("probabilities", "labels"):
        part = tables.select(main, form=form)
        shown = part[["attack", *SIDES, "difference", "models"]].rename(columns=names)
        leading += f"**SAC-w on {form}**\n\n{_markdown(shown)}\n\n"
        finding += (
            f"On {form}, the whole interval of the difference lies above zero for "
            f"{(part['low'] > 0).sum()} of {len(part)} attacks (`{two.run_name}` is higher) and "
            f"below zero for {(part['high'] < 0).sum()}. "
        )
    drawn = tables.select(main, form="probabilities")
    largest = drawn.loc[drawn["value"].abs().idxmax()]
    alt = (
        f"Distances to the source in the runs {one.run_name} and {two.run_name}, a panel for each "
        f"attack. The AUC differs most on {largest['attack']}: {largest['difference']}."
    )
    rows = rows.rename(columns={"negatives": "independent models"})
    lines = ["independent models", "form", "attack"]
    others = rows.pivot(index=lines, columns="probes", values="difference").reset_index()
    settings = [
        {"setting": f"`{key}`"} | dict(zip(names.values(), map(pages.shown, pair), strict=True))
        for key, pair in parameters.differing(one, two).items()
    ]
    models = [set(steps.digests(profile).values()) for profile in (one, two)]
    values = {"models_one": len(models[0]), "models_two": len(models[1])}
    values |= {"same": len(models[0] & models[1]), "leading": leading, "finding": finding}
    values |= {"settings": _markdown(pd.DataFrame(settings)), "others": _markdown(others)}
    return PAGE.format(one=one, two=two, alt=alt, **values)


def _markdown(frame: pd.DataFrame) -> str:
    """A table of texts in Markdown."""
    return pages.table(list(frame.columns), frame.fillna("–").to_numpy().tolist())
