"""The long tables of a run and what is read off them: AUCs, means over sources, differences.

A reference run is a run with several sources: its tables have the same columns, and a column
``seed`` that tells the sources apart. Every function below that takes rows takes both; rows
without that column are those of one source.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from .. import correlation, evaluation, files, steps
from ..probes import PROBE_SETS
from ..run import Run
from ..steps import LABELS, MAIN_NEGATIVES, STEPS, Spec

TABLES = ("zoo", "distances", "auc", "costs", "ablations")
"""The tables of a run, by the names of their files."""
Tables = dict[str, pd.DataFrame]
"""These tables by name, with the column ``seed`` in front."""
Key = tuple[str, str, str]
"""Names a fingerprint by its probes, form and measure, in this order."""

SAC_W: Key = ("SAC-w", "probabilities", "cosine")
"""The fingerprint that is meant where none is named."""
Bootstrap = tuple[int, int]
"""Number of resamples and their seed."""


def zoo(run: Run) -> pd.DataFrame:
    """The models of a run, one row each, without what differs when a training is repeated.

    The column `seed` is that of the training.
    """
    columns = "name step architecture index parent fraction train_accuracy test_accuracy fidelity"
    columns = [*columns.split(), "parameters", "seed", "attempt", "digest", "sha256"]
    rows = pd.DataFrame([run.zoo.record(name) for name in run.names()])[columns]
    rows.insert(1, "group", rows["step"].map(LABELS))
    return rows


def distance_row(key: Key, n_probes: int, spec: Spec, name: str, value: float) -> dict[str, Any]:
    """One row of distances, rounded: equal models tie whatever the order of summation."""
    row = {"probes": key[0], "n_probes": n_probes, "form": key[1], "measure": key[2], "model": name}
    row |= {"step": spec.step, "group": LABELS[spec.step], "architecture": spec.architecture}
    return row | {"distance": round(float(value), 12)}


def sac_distances(run: Run) -> pd.DataFrame:
    """Distance of every model to the source on each of SAC's probe sets and output forms.

    Measures: the two correlations (cosine, rbf), QuRD's variant ``cosine RMS`` (root mean square of
    the differences instead of their mean), and ``label agreement`` (AKH's share of unequal labels;
    not for models with other classes than the source). At the smaller number of probes, only cosine
    and label agreement.
    """
    rows = []
    specs = [spec for spec in run.zoo.specs.values() if spec.name != run.zoo.source]
    large, small = run.profile.probes.count, run.profile.probes.second_count
    for probe_set, probes in PROBE_SETS.items():
        for form in correlation.FORMS:
            matrices = {}
            for name, logits in run.logits[probe_set].items():
                outputs = correlation.to_form(logits.double(), form)
                matrices[name] = correlation.cosine_matrix(outputs)
            source = matrices[run.zoo.source]
            kernel = torch.exp(-4 * source)
            for spec in specs:
                suspect = matrices[spec.name]
                corner = source[:small, :small], suspect[:small, :small]
                for measure, n, value in (
                    ("cosine", large, correlation.distance(source, suspect)),
                    ("cosine RMS", large, correlation.rms_distance(source, suspect)),
                    ("cosine", small, correlation.distance(*corner)),
                    ("rbf", large, correlation.distance(kernel, torch.exp(-4 * suspect))),
                ):
                    rows.append(distance_row((probes, form, measure), n, spec, spec.name, value))
        labels = {name: logits.argmax(1) for name, logits in run.logits[probe_set].items()}
        key = (probes, "labels", "label agreement")
        for spec in specs:
            if not STEPS[spec.step].new_labels:
                unequal = (labels[spec.name] != labels[run.zoo.source]).double()
                for n in (large, small):
                    rows.append(distance_row(key, n, spec, spec.name, unequal[:n].mean()))
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
    settings = (run.profile.bootstrap, run.profile.seed)
    return run.keep_table("sac_auc", digest, lambda: auc_table(distances(run), *settings))


def auc_table(table: pd.DataFrame, bootstrap: int, seed: int) -> pd.DataFrame:
    """AUC of each attack from the distances of one source; the bootstrap has this many resamples.

    Columns: probes, n_probes, form, measure, attack (its label), negatives, n_stolen,
    n_independent, auc, low, high, tpr_at_5fpr.
    """
    rows = []
    names = ["probes", "n_probes", "form", "measure"]
    for key, part in table.groupby(names, sort=False):
        for attack in steps.ATTACKS:
            for negatives in steps.negative_sets(attack):
                stolen, independent = groups(part, attack, negatives)
                if not len(stolen) or not len(independent):
                    continue
                value = evaluation.auc(stolen, independent, bootstrap, seed)
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


def fingerprint(table: pd.DataFrame, probes: str, form: str, measure: str) -> pd.DataFrame:
    """The rows of one fingerprint, of its numbers of probes the larger."""
    part = select(table, probes=probes, form=form, measure=measure)
    return part[part["n_probes"] == part["n_probes"].max()]


def rivals(tables: Tables) -> dict[str, Key]:
    """The fingerprints of others that were measured, by name."""
    keys = tables["auc"][["probes", "form", "measure"]].drop_duplicates()
    found = {key[0]: key for key in keys.itertuples(index=False, name=None)}
    return {name: key for name, key in found.items() if name not in PROBE_SETS.values()}


def fingerprints(tables: Tables) -> dict[str, Key]:
    """Every fingerprint by name: rivals first, then SAC on probabilities and on labels."""
    sac = {name: (name, "probabilities", "cosine") for name in PROBE_SETS.values()}
    labels = {f"{name} (labels)": (name, "labels", "cosine") for name in sac}
    return rivals(tables) | sac | labels


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
    attacks = [attacks] if isinstance(attacks, str) else attacks
    independent = steps.negative_sets(attacks[0])[negatives]
    values, kinds = rows[column].to_numpy(), rows["step"]
    stolen, others = (values[kinds.isin(group).to_numpy()] for group in (attacks, independent))
    return stolen, others


def _with_seed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows if "seed" in rows else rows.assign(seed=0)


def _pairs(rows: pd.DataFrame, attacks: str | list[str], negatives: str) -> dict[int, np.ndarray]:
    """Ordered pairs of each source that has models of both groups, see ``evaluation``."""
    found = {}
    for seed, part in _with_seed(rows).groupby("seed"):
        stolen, independent = groups(part, attacks, negatives)
        if len(stolen) and len(independent):
            found[seed] = evaluation.ordered_pairs(stolen, independent)
    return found


def _resampled_interval(pairs: list[np.ndarray], bootstrap: Bootstrap) -> tuple[float, float]:
    """95 % interval of the mean over sources: sources are drawn, then models within each."""
    resamples, seed = bootstrap
    generator = np.random.default_rng(seed)
    # one draw of models for each source in each of the places that a drawn source can take
    draws = [[evaluation.resampled(one, resamples, generator) for one in pairs] for _ in pairs]
    chosen = generator.integers(len(pairs), size=(len(pairs), 1, resamples))
    means = np.take_along_axis(np.stack(draws), chosen, 1).mean((0, 1))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def over_sources(
    rows: pd.DataFrame,
    attacks: str | list[str],
    negatives: str = MAIN_NEGATIVES,
    bootstrap: Bootstrap = (2000, 0),
) -> dict[str, Any]:
    r"""AUC over the sources: the mean, its interval, and the smallest and the largest.

    The interval is a bootstrap (its number of resamples and seed) on two levels: sources are drawn
    with replacement, then models of both groups within each; for one source it is that of
    :func:`evaluation.auc`. Where every pair of every source is in order the bootstrap says nothing,
    nor does it for one source with one or two models in a group; then it is the score interval of a
    single source, since models of one source are not independent of each other. Other parameters
    are those of :func:`groups`.

    Keys: auc, low, high, smallest, largest, sources, n_stolen and n_independent (of one source).
    """
    pairs = list(_pairs(rows, attacks, negatives).values())
    values = [float(one.mean()) for one in pairs]
    m, n = (min(one.shape[axis] for one in pairs) for axis in (0, 1))
    mean = float(np.mean(values))
    constant = len({value for one in pairs for value in (one.min(), one.max())}) == 1
    if constant or (len(pairs) == 1 and min(m, n) < evaluation.FEWEST):
        low, high = evaluation.score_interval(mean, m, n)
    else:
        low, high = _resampled_interval(pairs, bootstrap)
    result = {"auc": mean, "low": low, "high": high}
    result |= {"smallest": min(values), "largest": max(values)}
    return result | {"sources": len(pairs), "n_stolen": m, "n_independent": n}


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
    bootstrap: Bootstrap = (2000, 0),
) -> dict[str, Any]:
    """AUC of one fingerprint minus that of another over the sources, see :func:`over_sources`.

    Where both judged the same models, their tables of ordered pairs are subtracted first and the
    difference is resampled, on the two levels of :func:`over_sources`; a hard suspect is hard for
    both. Where not (EWE protects a source of its own), and where every pair differs alike, so that
    no resample can, the interval combines those of the two means by squaring and adding (Newcombe
    1998).

    Keys: value, low, high (first minus second; the bounds are NaN if a paired group has fewer than
    three models, or if the two are alike), smallest and largest source, sources, paired, alike
    (every pair of models counts the same for both).
    """
    attacks = [attacks] if isinstance(attacks, str) else attacks
    judged = [*attacks, *steps.negative_sets(attacks[0])[negatives]]
    parts = [_with_seed(fingerprint(tables["distances"], *key)) for key in (first, second)]
    seeds = list(set(parts[0]["seed"]) & set(parts[1]["seed"]))
    parts = [select(part, step=judged, seed=seeds).set_index(["seed", "model"]) for part in parts]
    paired = parts[0].index.sort_values().equals(parts[1].index.sort_values())
    if paired:
        parts[1] = parts[1].loc[parts[0].index]
    parts = [part.reset_index() for part in parts]
    one, two = (_pairs(part, attacks, negatives) for part in parts)
    values = [float(one[source].mean() - two[source].mean()) for source in one if source in two]
    gains = [one[source] - two[source] for source in one] if paired else []
    alike = paired and not any(gain.any() for gain in gains)
    constant = paired and len({value for gain in gains for value in np.unique(gain)}) == 1
    low = high = np.nan
    if not paired or (constant and not alike):
        a, b = (over_sources(part, attacks, negatives, bootstrap) for part in parts)
        low = a["auc"] - b["auc"] - float(np.hypot(a["auc"] - a["low"], b["high"] - b["auc"]))
        high = a["auc"] - b["auc"] + float(np.hypot(a["high"] - a["auc"], b["auc"] - b["low"]))
    elif not constant and min(min(gain.shape) for gain in gains) >= evaluation.FEWEST:
        low, high = _resampled_interval(gains, bootstrap)
    result = {"value": float(np.mean(values)), "low": low, "high": high}
    result |= {"smallest": min(values), "largest": max(values), "sources": len(values)}
    return result | {"paired": paired, "alike": alike}


def differences(
    tables: Tables,
    first: Key,
    others: dict[str, Key],
    attacks: str | list[str],
    negatives: str = MAIN_NEGATIVES,
    bootstrap: Bootstrap = (2000, 0),
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
        row = difference(tables, first, key, attacks, negatives, bootstrap)
        word = "better" if row["low"] > 0 else "worse" if row["high"] < 0 else "no difference shown"
        rows.append({"method": name} | row | {"word": word})
    return pd.DataFrame(rows)


def ablation(tables: Tables, name: str) -> pd.DataFrame:
    """One ablation over the sources.

    Columns: series, setting, attack, fidelity (mean), and those of :func:`over_sources`.
    Distances of ablations are not kept, so the interval is the mean of the sources' intervals: it
    does not shrink with the number of sources.
    """
    part = select(tables["ablations"], ablation=name)
    parts = part.groupby(["series", "setting", "attack"], sort=False)
    columns = {column: (column, "mean") for column in ("fidelity", "auc", "low", "high")}
    columns |= {"smallest": ("auc", "min"), "largest": ("auc", "max")}
    columns |= {"sources": ("seed", "nunique")}
    columns |= {column: (column, "min") for column in ("n_stolen", "n_independent")}
    return parts.agg(**columns).reset_index()


def interval(row: Mapping[str, Any] | pd.Series) -> evaluation.Auc:
    """The AUC of a row with its interval."""
    return evaluation.Auc(float(row["auc"]), float(row["low"]), float(row["high"]))


def text(row: Mapping[str, Any] | pd.Series) -> str:
    """The AUC of a row with its interval and, of several sources, the smallest to the largest."""
    if row.get("sources", 1) == 1:
        return str(interval(row))
    return f"{interval(row)}; {row['smallest']:.2f}\u2060–\u2060{row['largest']:.2f}"


def signed(row: Mapping[str, Any] | pd.Series) -> str:
    """A difference with its interval and, of several sources, the smallest to the largest."""
    # adding 0 turns -0.00 into +0.00
    names = ("value", "low", "high", "smallest", "largest")
    value, low, high, smallest, largest = (f"{round(row[name], 2) + 0.0:+.2f}" for name in names)
    bounds = "–" if np.isnan(row["low"]) else f"{low}, {high}"
    extremes = f"; {smallest}\u00a0to\u00a0{largest}" if row["sources"] > 1 else ""
    return f"{value}\u00a0[{bounds}]{extremes}"


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
