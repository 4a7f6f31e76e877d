"""The long tables of a run and what is read off them: AUCs, means over sources, differences.

A reference run is a run with several sources: its tables have the same columns, and a column
``seed`` that tells the sources apart. Every function below that takes rows takes both; rows
without that column are those of one source.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from .. import correlation, evaluation, files, steps
from ..probes import PLACEBOS, PROBE_SETS, PUBLISHED
from ..run import Run
from ..steps import LABELS, MAIN_NEGATIVES, STEPS, Spec

TABLES = ("zoo", "distances", "auc", "costs", "ablations", "verdicts", "attacks")
"""The tables of a run, by the names of their files."""
Tables = dict[str, pd.DataFrame]
"""These tables by name, with the column ``seed`` in front."""
Key = tuple[str, str, str]
"""Names a fingerprint by its probes, form and measure, in this order."""
Row = Mapping[str, Any] | pd.Series

SAC_W: Key = ("SAC-w", "probabilities", "cosine")
"""The fingerprint that is meant where none is named."""


def zoo(run: Run) -> pd.DataFrame:
    """The models of a run, one row each, without what differs when a training is repeated.

    The column `seed` is that of the training, and `copies_less` marks a stolen model whose fidelity
    is below the mean of the independent models that it is compared with, on the attacker's data: it
    copies less than a stranger does.
    """
    columns = "name step architecture index parent fraction train_accuracy test_accuracy fidelity"
    columns += " query_accuracy query_fidelity parameters seed attempt digest sha256"
    rows = pd.DataFrame([run.zoo.record(name) for name in run.names()])[columns.split()]
    rows.insert(1, "group", rows["step"].map(LABELS))
    less = rows["fidelity"].astype(float) < rows["step"].map(strangers(rows))
    rows.insert(rows.columns.get_loc("parameters"), "copies_less", less)
    return rows


def strangers(rows: pd.DataFrame) -> dict[str, float]:
    """What a copy has to exceed, by the name of its attack: the mean fidelity of the independent
    models that it is compared with, on the attacker's data. `rows` have columns step and fidelity.
    """
    means = rows["fidelity"].astype(float).groupby(rows["step"]).mean()
    others = {name: list(STEPS[name].negatives) or ["independent"] for name in steps.ATTACKS}
    return {name: means.reindex(group).mean() for name, group in others.items()}


def distance_row(key: Key, n_probes: int, spec: Spec, name: str, value: float) -> dict[str, Any]:
    """One row of distances, rounded: equal models tie whatever the order of summation."""
    row = {"probes": key[0], "n_probes": n_probes, "form": key[1], "measure": key[2], "model": name}
    row |= {"step": spec.step, "group": LABELS[spec.step], "architecture": spec.architecture}
    return row | {"distance": round(float(value), 12)}


def sac_distances(run: Run) -> pd.DataFrame:
    """Distance of every stolen and independent model to the source on each probe set in each output
    form. Helpers and controls are left out: they are never evaluated.

    SAC's published probe sets in a form that a service shows have four rows a model: cosine at both
    numbers of probes, rbf, and QuRD's variant ``cosine RMS`` (root mean square of the differences
    instead of their mean). The book's own sets and forms have cosine at the larger number (own sets
    not from logits, placebos from probabilities only). ``label agreement`` is AKH's share of
    unequal labels. ``kappa`` is one minus :func:`~sacutils.correlation.error_consistency`, on
    SAC-normal only, since it says nothing where the source is always wrong. Neither is for models
    with other classes than the source.
    """
    rows: list[dict[str, Any]] = []
    specs = run.evaluated()
    large, *fewer = run.profile.probes.counts
    truth = run.material.splits["probe"].labels.cpu()[run.probes["normal"].index]
    for probe_set, probes in PROBE_SETS.items():
        answers = {name: logits.double() for name, logits in run.logits[probe_set].items()}
        theirs, published = answers[run.zoo.source], probe_set in PUBLISHED
        for form in correlation.FORMS:
            own = form == "probabilities" if probe_set in PLACEBOS else form != "logits"
            if not (published or own):
                continue
            source = correlation.cosine_matrix(correlation.to_form(theirs, form, theirs))
            kernel = torch.exp(-4 * source)
            for spec in specs:
                outputs = correlation.to_form(answers[spec.name], form, theirs)
                suspect = correlation.cosine_matrix(outputs)
                values = [("cosine", large, correlation.distance(source, suspect))]
                if published and form in correlation.SERVED:
                    corners = {n: (source[:n, :n], suspect[:n, :n]) for n in fewer}
                    values += [
                        ("cosine RMS", large, correlation.rms_distance(source, suspect)),
                        *(("cosine", n, correlation.distance(*c)) for n, c in corners.items()),
                        ("rbf", large, correlation.distance(kernel, torch.exp(-4 * suspect))),
                    ]
                for measure, n, value in values:
                    rows.append(distance_row((probes, form, measure), n, spec, spec.name, value))
        labels = {name: logits.argmax(1) for name, logits in answers.items()}
        right = labels[run.zoo.source]
        for spec in specs:
            if STEPS[spec.step].new_labels:
                continue
            unequal = (labels[spec.name] != right).double()
            values = [("label agreement", n, unequal[:n].mean()) for n in (large, *fewer)]
            if not published:
                values = values[:1]
            if probe_set == "normal":
                kappa = correlation.error_consistency(truth, right, labels[spec.name])
                values.append(("kappa", large, 1 - kappa))
            for measure, n, value in values:
                rows.append(distance_row((probes, "labels", measure), n, spec, spec.name, value))
    return pd.DataFrame(rows)


def distances(run: Run) -> pd.DataFrame:
    """SAC's own distances, kept as ``tables/sac_distances.csv``, see :func:`sac_distances`.

    Columns: probes, n_probes, form, measure, model, step, group, architecture, distance.
    """
    digest = run.digest("studies.tables.sac_distances", "run.make_logits", "run.make_probes")
    return run.keep_table("sac_distances", digest, lambda: sac_distances(run))


def auc(run: Run) -> pd.DataFrame:
    """SAC's own AUCs, kept as ``tables/sac_auc.csv``, see :func:`auc_table`."""
    code = ["studies.tables.sac_distances", "studies.tables.auc_table"]
    digest = run.digest(*code, "run.make_logits", "run.make_probes")
    return run.keep_table("sac_auc", digest, lambda: auc_table(distances(run)))


def auc_table(table: pd.DataFrame) -> pd.DataFrame:
    """AUC of each attack from the distances of one source.

    Columns: probes, n_probes, form, measure, attack (its label), negatives, n_stolen,
    n_independent, auc, low, high, tpr_at_5fpr.
    """
    rows = []
    names = ["probes", "n_probes", "form", "measure"]
    for key, part in table.groupby(names, sort=False):
        models = _models(part)
        for attack in steps.ATTACKS:
            for negatives in steps.negative_sets(attack):
                both = _compared(models.step, attack, negatives)
                stolen, independent = (models.distance[group] for group in both)
                if not len(stolen) or not len(independent):
                    continue
                alike = (clusters(models.name[group]) for group in both)
                value = evaluation.auc(stolen, independent, tuple(alike))
                row = dict(zip(names, key, strict=True))
                row |= {"attack": LABELS[attack], "negatives": negatives}
                row |= {"n_stolen": len(stolen), "n_independent": len(independent)}
                row |= {"auc": value.value, "low": value.low, "high": value.high}
                rows.append(row | {"tpr_at_5fpr": evaluation.tpr_at_fpr(stolen, independent)})
    return pd.DataFrame(rows)


def cell(
    run: Run,
    attack: str,
    probe_set: str = "w",
    form: str = "probabilities",
    measure: str = "cosine",
    negatives: str = MAIN_NEGATIVES,
) -> evaluation.Auc:
    """One cell of the table of SAC's AUCs at the larger number of probes."""
    rows = fingerprint(auc(run), PROBE_SETS[probe_set], form, measure)
    return interval(select(rows, attack=LABELS[attack], negatives=negatives).iloc[0])


def write(run: Run) -> None:
    """Write ``tables/zoo.csv``, and make SAC's distances and AUCs if they are missing."""
    path = run.folder / "tables" / "zoo.csv"
    files.write_text(path, zoo(run).to_csv(index=False, float_format="%.6f"))
    auc(run)


def of_run(run: Run, **more: pd.DataFrame) -> Tables:
    """The tables of a run as those of a reference with one source: SAC's, and what is given."""
    found = {"zoo": zoo(run)} | more
    found.setdefault("distances", distances(run))
    found.setdefault("auc", auc(run))
    return {name: seed_first(table.assign(seed=run.profile.seed)) for name, table in found.items()}


def seed_first(table: pd.DataFrame) -> pd.DataFrame:
    """A table with its column `seed` in front."""
    return table[["seed", *table.columns.drop("seed")]]


def select(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows in which the named columns have these values; of a list, any of them."""
    for column, value in values.items():
        wanted = value if isinstance(value, list) else [value]
        table = table[table[column].isin(wanted)]
    return table


def fingerprint(
    table: "pd.DataFrame | ByFingerprint", probes: str, form: str, measure: str
) -> pd.DataFrame:
    """The rows of one fingerprint, of its numbers of probes the larger."""
    if isinstance(table, ByFingerprint):
        return table[probes, form, measure]
    part = select(table, probes=probes, form=form, measure=measure)
    return part[part["n_probes"] == part["n_probes"].max()]


class ByFingerprint(dict[Key, pd.DataFrame]):
    """A table in place of which :func:`fingerprint` takes this too: its rows by fingerprint, for
    who asks for many.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        for key, part in table.groupby(["probes", "form", "measure"], sort=False):
            self[key] = part[part["n_probes"] == part["n_probes"].max()]
        self._none = table.iloc[:0]

    def __missing__(self, key: Key) -> pd.DataFrame:
        return self._none


def rivals(tables: Tables) -> dict[str, Key]:
    """The fingerprints of others that were measured, by name."""
    keys = tables["auc"][["probes", "form", "measure"]].drop_duplicates()
    found = {key[0]: key for key in keys.itertuples(index=False, name=None)}
    return {name: key for name, key in found.items() if name not in PROBE_SETS.values()}


def fingerprints(tables: Tables) -> dict[str, Key]:
    """Every fingerprint that was measured by name: rivals first, then SAC on probabilities, on
    labels and in the book's own forms, then the book's own probe sets on probabilities and by label
    agreement.
    """
    found = rivals(tables)
    for form in ("probabilities", *list(correlation.FORMS)[2:]):
        of_form = "" if form == "probabilities" else f" ({form})"
        found |= {f"{name}{of_form}": (name, form, "cosine") for name in PUBLISHED.values()}
    for name in (label for key, label in PROBE_SETS.items() if key not in PUBLISHED):
        found[name] = (name, "probabilities", "cosine")
        found[f"{name}, agreement"] = (name, "labels", "label agreement")
    columns = tables["auc"][["probes", "form", "measure"]]
    measured = set(columns.itertuples(index=False, name=None))
    return {name: key for name, key in found.items() if key in measured}


def groups(
    rows: pd.DataFrame,
    attacks: str | list[str],
    negatives: str = MAIN_NEGATIVES,
    column: str = "distance",
) -> tuple[np.ndarray, np.ndarray]:
    """The stolen and the independent models of a comparison, as values of one column.

    `rows` are those of one fingerprint; several `attacks` (names of ``steps.ATTACKS``) with the
    same independent models count as one group; `negatives` is a name of ``steps.negative_sets``.
    """
    values, kinds = rows[column].to_numpy(), rows["step"].to_numpy(object)
    stolen, others = (values[group] for group in _compared(kinds, attacks, negatives))
    return stolen, others


def _compared(kinds: np.ndarray, attacks: str | list[str], negatives: str) -> list[np.ndarray]:
    """Which models, by their steps, are the stolen and which the independent ones: bool, (n,)."""
    attacks = [attacks] if isinstance(attacks, str) else attacks
    both = attacks, steps.negative_sets(attacks[0])[negatives]
    return [np.array([kind in group for kind in kinds], bool) for group in both]


def clusters(models: np.ndarray) -> np.ndarray:
    """The cluster of each model of a group, by the models' names, shape (n,).

    It is the architecture. In a group of a single one, as copies of the source are, it is the chain
    that a model stands in: its history down to the first step away from a model of the owner.
    """
    kinds = [_kind_and_chain(name)[0] for name in models]
    chains = [_kind_and_chain(name)[1] for name in models]
    return np.array(kinds if len(set(kinds)) > 1 else chains)


@cache
def _kind_and_chain(model: str) -> tuple[str, str]:
    kind = re.findall(r"\(([^(),%]+)[,)]", model)[-1]
    # a rung of the ladder is named by its share, as in prune(20%)
    return kind, re.sub(r"\([^(),]*%\)", "", " > ".join(model.split(" > ")[:2]))


class _Models(NamedTuple):
    """The models of one fingerprint, arrays of shape (n,)."""

    seed: np.ndarray
    step: np.ndarray
    name: np.ndarray
    distance: np.ndarray

    def take(self, index: list[int]) -> "_Models":
        return _Models(*(column[index] for column in self))


def _models(rows: pd.DataFrame) -> _Models:
    seed = rows["seed"].to_numpy() if "seed" in rows else np.zeros(len(rows), int)
    words = (rows[column].to_numpy(object) for column in ("step", "model"))
    return _Models(seed, *words, rows["distance"].to_numpy())


Judged = tuple[np.ndarray, tuple[float, float]]
"""Ordered pairs of a source's models, see ``evaluation``, and the units of both groups."""


def _judged(models: _Models, attacks: str | list[str], negatives: str) -> dict[int, Judged]:
    """The pairs of each source that has models of both groups."""
    found, both = {}, _compared(models.step, attacks, negatives)
    for seed in np.unique(models.seed):
        here = [group & (models.seed == seed) for group in both]
        if all(group.any() for group in here):
            m, n = (evaluation.units(clusters(models.name[group])) for group in here)
            pairs = evaluation.ordered_pairs(*(models.distance[group] for group in here))
            found[seed] = pairs, (m, n)
    return found


def _over(values: list[float], judged: list[Judged]) -> dict[str, Any]:
    """What a value over sources needs besides its mean; units are those of the poorest source."""
    m, n = (min(units[group] for _, units in judged) for group in (0, 1))
    row = {"smallest": min(values), "largest": max(values), "sources": len(values)}
    row |= {"spread": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}
    return row | {"units_stolen": m, "units_independent": n}


def bounds(row: Row, level: float = 0.95) -> tuple[float, float]:
    """Interval of a row of :func:`over_sources` or of :func:`difference`, at any level."""
    known = (row["units_stolen"], row["units_independent"], level, row["sources"], row["spread"])
    if "gain" in row:
        return evaluation.difference_interval(row["gain"], row["loss"], *known)
    return evaluation.score_interval(row["auc"], *known)


def over_sources(
    rows: pd.DataFrame, attacks: str | list[str], negatives: str = MAIN_NEGATIVES
) -> dict[str, Any]:
    r"""AUC over the sources: the mean, its 95 % interval, and the smallest and the largest.

    The interval is :func:`evaluation.score_interval`. The source is the unit: a statement is on
    further sources whose suspects have the same architectures. For one source it is that of
    :func:`evaluation.auc`, with the :func:`clusters` of both groups. Parameters are those of
    :func:`groups`.

    Keys: auc, low, high, smallest, largest, sources, spread (standard deviation over sources),
    units_stolen and units_independent, n_stolen and n_independent (of one source).
    """
    judged = list(_judged(_models(rows), attacks, negatives).values())
    values = [float(pairs.mean()) for pairs, _ in judged]
    row = {"auc": float(np.mean(values))} | _over(values, judged)
    row |= dict(zip(("low", "high"), bounds(row), strict=True))
    m, n = (min(pairs.shape[axis] for pairs, _ in judged) for axis in (0, 1))
    return row | {"n_stolen": m, "n_independent": n}


def stated(
    tables: Tables, key: Key, attacks: str | list[str], negatives: str = MAIN_NEGATIVES
) -> str:
    """The AUC of a fingerprint over the sources as :func:`text`, or "not measured"."""
    rows = fingerprint(tables["distances"], *key)
    # early sources have no siblings and no students of another
    known = all(map(len, groups(rows, attacks, negatives)))
    return text(over_sources(rows, attacks, negatives)) if known else "not measured"


def summary(
    tables: Tables, probes: str, form: str, measure: str, negatives: str = MAIN_NEGATIVES
) -> pd.DataFrame:
    """One fingerprint over the sources: a row per attack that was measured.

    Columns: probes, form, measure, negatives, attack (its label), and those of
    :func:`over_sources`.
    """
    key = {"probes": probes, "form": form, "measure": measure}
    part = fingerprint(tables["distances"], **key)
    measured, rows = set(part["step"]), []
    for attack in steps.ATTACKS:
        independent = steps.negative_sets(attack).get(negatives, [])
        if attack in measured and measured.intersection(independent):
            row = key | {"negatives": negatives, "attack": LABELS[attack]}
            rows.append(row | over_sources(part, attack, negatives))
    return pd.DataFrame(rows)


def difference(
    tables: Tables,
    first: Key,
    second: Key,
    attacks: str | list[str],
    negatives: str = MAIN_NEGATIVES,
) -> dict[str, Any]:
    """AUC of one fingerprint minus that of another over the sources, see :func:`over_sources`.

    The interval is :func:`evaluation.difference_interval`. Where both judged the same models it
    subtracts pair by pair, since a hard suspect is hard for both; where not (EWE protects a source
    of its own) it takes the two AUCs.

    Keys: value, low, high (first minus second), gain, loss, smallest, largest, sources, spread,
    units_stolen, units_independent, paired.
    """
    attacks = [attacks] if isinstance(attacks, str) else attacks
    involved = {*attacks, *steps.negative_sets(attacks[0])[negatives]}
    parts = [_models(fingerprint(tables["distances"], *key)) for key in (first, second)]
    seeds = set(parts[0].seed) & set(parts[1].seed)
    places = [
        {
            (seed, name): i
            for i, (seed, step, name, _) in enumerate(zip(*part, strict=True))
            if seed in seeds and step in involved
        }
        for part in parts
    ]
    paired = places[0].keys() == places[1].keys()
    if paired:
        places[1] = {name: places[1][name] for name in places[0]}
    chosen = (part.take(list(rows.values())) for part, rows in zip(parts, places, strict=True))
    one, two = (_judged(part, attacks, negatives) for part in chosen)
    seeds = [seed for seed in one if seed in two]
    a, b = ([part[seed] for seed in seeds] for part in (one, two))
    means = [[float(pairs.mean()) for pairs, _ in part] for part in (a, b)]
    values = np.subtract(*means).tolist()
    gain, loss = np.mean(means, axis=1)
    if paired:
        gains = [x - y for (x, _), (y, _) in zip(a, b, strict=True)]
        gain, loss = (np.mean([(s * g).clip(0).mean() for g in gains]) for s in (1, -1))
    row = {"value": float(np.mean(values)), "gain": float(gain), "loss": float(loss)}
    row |= _over(values, [*a, *b])
    row |= dict(zip(("low", "high"), bounds(row), strict=True))
    return row | {"paired": paired}


def differences(
    tables: Tables,
    first: Key,
    others: dict[str, Key],
    attacks: str | list[str],
    negatives: str = MAIN_NEGATIVES,
) -> pd.DataFrame:
    """One fingerprint against each of others: a row per name.

    Columns: method, those of :func:`difference`, and word: "better" or "worse" (which `first` is,
    by an interval without 0), otherwise "no difference shown". `first` itself and fingerprints
    that judged none of these models are left out.
    """
    rows = []
    for name, key in others.items():
        part = fingerprint(tables["distances"], *key)
        if key == first or not all(map(len, groups(part, attacks, negatives))):
            continue
        row = difference(tables, first, key, attacks, negatives)
        word = "better" if row["low"] > 0 else "worse" if row["high"] < 0 else "no difference shown"
        rows.append({"method": name} | row | {"word": word})
    return pd.DataFrame(rows)


def ablation(
    tables: Tables, name: str, negatives: str | list[str] = MAIN_NEGATIVES
) -> pd.DataFrame:
    """One ablation over the sources, against one group of independent models or several.

    Columns: series, setting, attack, negatives, fidelity (mean), and those of :func:`over_sources`.
    Distances of ablations are not kept, so the interval is the mean of the sources' intervals: it
    does not shrink with the number of sources.
    """
    part = select(tables["ablations"], ablation=name)
    if "negatives" not in part:  # tables of before there were several groups
        part = part.assign(negatives=MAIN_NEGATIVES)
    part = select(part, negatives=negatives)
    parts = part.groupby(["series", "setting", "attack", "negatives"], sort=False)
    columns = {column: (column, "mean") for column in ("fidelity", "auc", "low", "high")}
    columns |= {"smallest": ("auc", "min"), "largest": ("auc", "max")}
    columns |= {"sources": ("seed", "nunique")}
    columns |= {column: (column, "min") for column in ("n_stolen", "n_independent")}
    return parts.agg(**columns).reset_index()


def interval(row: Row) -> evaluation.Auc:
    """The AUC of a row with its interval."""
    return evaluation.Auc(float(row["auc"]), float(row["low"]), float(row["high"]))


def text(row: Row) -> str:
    """The AUC of a row with its interval and, of several sources, the smallest to the largest."""
    if row.get("sources", 1) == 1:
        return str(interval(row))
    return f"{interval(row)}; {row['smallest']:.2f}\u2060–\u2060{row['largest']:.2f}"


def signed(row: Row) -> str:
    """A difference with its interval and, of several sources, the smallest to the largest."""
    # adding 0 turns -0.00 into +0.00
    names = ("value", "low", "high", "smallest", "largest")
    value, low, high, smallest, largest = (f"{round(row[name], 2) + 0.0:+.2f}" for name in names)
    bounds = "–" if np.isnan(row["low"]) else f"{low}, {high}"
    extremes = f"; {smallest}\u00a0to\u00a0{largest}" if row["sources"] > 1 else ""
    return f"{value} [{bounds}]{extremes}"


def wide(rows: pd.DataFrame, index: str, columns: str) -> pd.DataFrame:
    """Long rows as a table of texts in the order of the rows; "–" where there is no row.

    A cell is the column `text` where the rows have one, otherwise :func:`text`.
    """
    if "text" not in rows:
        rows = rows.assign(text=[text(row) for _, row in rows.iterrows()])
    table = rows.pivot(index=index, columns=columns, values="text")
    table = table.loc[rows[index].unique(), rows[columns].unique()]
    return table.fillna("–").reset_index().rename_axis(columns=None)


def duration(seconds: float) -> str:
    """A time as text that does not break, to two digits or the whole number, in a fitting unit."""
    limits = [(1e-3, 1e-6, "µs"), (1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min")]
    fitting = ((size, unit) for limit, size, unit in limits if seconds < limit)
    size, unit = next(fitting, (3600, "h"))
    value = seconds / size
    return f"{value:.1f}\u00a0{unit}" if 0 < value < 9.95 else f"{value:,.0f}\u00a0{unit}"
