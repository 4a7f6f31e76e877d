"""Reference runs: the small tables of whole runs with several sources, kept in ``results/``, shown beside the reader's own."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import artefacts, evaluation, lineage
from .artefacts import UserError
from .profiles import ROOT, Profile
from .runs import Run

RESULTS = ROOT / "results"
TABLES = ("zoo", "distances", "auc", "costs", "ablations")
LEFT_OUT = {"zoo": ["parameters", "attempt", "digest", "sha256", "train_accuracy"], "distances": ["group", "architecture"]}
"""Columns of a run's tables that a reference does without, so that it stays small."""

# the tables of a reference by their names; the column `seed` tells the sources apart
Reference = dict[str, pd.DataFrame]


def collect(runs: list[Run], folder: Path = RESULTS) -> Path:
    """Write the tables, the probe images and the provenance of finished runs of one profile.

    Parameters
    ----------
    runs : list of Run
        Runs of one profile with different seeds, hence different sources, whose ``tables/`` are there.
    folder : pathlib.Path
        Where references are kept.

    Returns
    -------
    pathlib.Path
        The folder that was written, ``<folder>/<profile>``.

    Raises
    ------
    UserError
        If the runs are of several profiles or share a seed, or one has no tables.
    """
    names, seeds = sorted({run.profile.name for run in runs}), [run.profile.seed for run in runs]
    if len(names) != 1 or len(set(seeds)) != len(seeds):
        raise UserError(f"A reference takes runs of one profile with different seeds, found {', '.join(names)}, seeds {seeds}.")
    missing = [path for run in runs for path in _tables(run).values() if not path.exists()]
    if missing:
        raise UserError(f"{missing[0]} is missing; finish that run first with: make book PROFILE={names[0]} SEED=...")
    target = folder / names[0]
    with artefacts.atomic_path(target / "provenance.json") as temporary:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            parts = [pd.read_csv(_tables(run)[name], dtype=str).assign(seed=run.profile.seed) for run in runs]
            table = pd.concat(parts).drop(columns=LEFT_OUT.get(name, []))
            table = table[["seed", *(column for column in table.columns if column != "seed")]]
            artefacts.write_text(target / f"{name}.csv", table.to_csv(index=False))
        chosen = {str(run.profile.seed): artefacts.read_json(run.folder / "probes" / "probes.json")["images"] for run in runs}
        artefacts.write_json(target / "probes.json", chosen)
        record = {str(run.profile.seed): describe(run) for run in runs}
        sums = {f"{name}.csv": artefacts.sha256(target / f"{name}.csv") for name in TABLES}
        artefacts.write_json(temporary, {"profile": names[0], "sources": record, "sha256": sums})
    return target


def _tables(run: Run) -> dict[str, Path]:
    return {name: run.folder / "tables" / f"{name}.csv" for name in TABLES}


def describe(run: Run) -> dict[str, Any]:
    """What a run was made from and on: data and their format, numbers of images and models, hardware, versions, seconds."""
    records = run.records()
    seconds: Counter[str] = Counter()
    for record in records:
        seconds[lineage.LABELS[record["step"]]] += record["seconds"]
    return {
        "data": _data(run.profile),
        "transfer target": run.profile.transfer.data.name,
        "images": {name: len(images.labels) for name, images in run.material.splits.items()},
        "models": len(records),
        "seconds of training": {group: round(value, 1) for group, value in seconds.items()},
        "device": run.device.type,
        "hardware": sorted({record["hardware"] for record in records}),
        "versions": records[0]["versions"],
        "utc": [min(record["utc"] for record in records), max(record["utc"] for record in records)],
    }


def _data(profile: Profile) -> str:
    """The data set; of an ImageFolder how many files of which format, but not where it lies."""
    if profile.data.path is None:
        return profile.data.name
    files = Counter(path.suffix.lower().removeprefix(".") for path in (ROOT / profile.data.path).rglob("*.*") if path.is_file())
    return "ImageFolder of " + ", ".join(f"{count:,} {suffix} files" for suffix, count in sorted(files.items()))


def available(folder: Path = RESULTS) -> list[str]:
    """Profiles that have a reference."""
    return sorted(path.parent.name for path in folder.glob("*/provenance.json"))


def load(profile: str, folder: Path = RESULTS) -> Reference:
    """The tables of a reference, checked against their record; nothing is trained.

    Raises
    ------
    UserError
        If there is no reference of that profile, or a table was changed.
    """
    if profile not in available(folder):
        raise UserError(f"There is no reference of profile {profile!r}; results/ has {', '.join(available(folder)) or 'none'}.")
    record = artefacts.read_json(folder / profile / "provenance.json")
    for name, expected in record["sha256"].items():
        if artefacts.sha256(folder / profile / name) != expected:
            raise UserError(f"{folder / profile / name} does not match its record; restore it with: git checkout results")
    return {name: pd.read_csv(folder / profile / f"{name}.csv", dtype={"setting": str}) for name in TABLES}


def provenance(profile: str, folder: Path = RESULTS) -> dict[str, Any]:
    """The record of a reference: profile, what each source was made from and on, checksums."""
    return artefacts.read_json(folder / profile / "provenance.json")


def select(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of a table in which the named columns have these values."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def over_sources(distances: pd.DataFrame, attack: str, negatives: str, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    r"""AUC of one attack over several sources: the mean, its interval, and the smallest and the largest.

    The interval is a bootstrap on two levels: sources are drawn with replacement, then models of both groups within each. Where
    every pair of every source is in order the bootstrap says nothing; then it is the score interval of a single source, since
    models of one source are not independent of each other.

    Parameters
    ----------
    distances : pandas.DataFrame
        Rows of one fingerprint: columns seed, step, distance.
    attack : str
        A name of ``lineage.ATTACKS``.
    negatives : str
        A name of ``lineage.negative_sets(attack)``.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``auc`` (an :class:`~sacutils.evaluation.Auc` of the mean), ``smallest``, ``largest``, ``sources``, ``n_stolen``,
        ``n_irrelevant`` (of one source).
    """
    steps = lineage.negative_sets(attack)[negatives]
    pairs = []
    for _, part in distances.groupby("seed"):
        stolen = part.loc[part["step"] == attack, "distance"].to_numpy()
        irrelevant = part.loc[part["step"].isin(steps), "distance"].to_numpy()
        if len(stolen) and len(irrelevant):
            pairs.append(evaluation.ordered_pairs(stolen, irrelevant))
    values = [each.mean() for each in pairs]
    m, n = min(each.shape for each in pairs)
    mean = float(np.mean(values))
    if len({(each.min(), each.max()) for each in pairs}) == 1 and pairs[0].min() == pairs[0].max():
        low, high = evaluation.score_interval(mean, m, n)
    else:
        generator = np.random.default_rng(seed)
        # one draw of models for each source in each of the places that a drawn source can take
        drawn = np.stack([[evaluation.resampled(each, resamples, generator) for each in pairs] for _ in pairs])
        chosen = generator.integers(len(pairs), size=(len(pairs), 1, resamples))
        low, high = np.quantile(np.take_along_axis(drawn, chosen, 1).mean((0, 1)), (0.025, 0.975))
    return {
        "auc": evaluation.Auc(mean, float(low), float(high)),
        "smallest": float(min(values)),
        "largest": float(max(values)),
        "sources": len(pairs),
        "n_stolen": m,
        "n_irrelevant": n,
    }


def summary(
    tables: Reference, probe_set: str, form: str, measure: str, negatives: str = lineage.MAIN_NEGATIVES
) -> pd.DataFrame:
    """One fingerprint over the sources of a reference.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        As loaded by :func:`load`.
    probe_set, form, measure : str
        Values of the columns `probes`, `form` and `measure`; of the numbers of probes the larger.
    negatives : str
        Which irrelevant models.

    Returns
    -------
    pandas.DataFrame
        One row per attack that was measured: columns attack, and those of :func:`over_sources`.
    """
    part = select(tables["distances"], probes=probe_set, form=form, measure=measure)
    part = part[part["n_probes"] == part["n_probes"].max()]
    rows = []
    for attack in lineage.ATTACKS:
        sets = lineage.negative_sets(attack)
        if (part["step"] == attack).any() and negatives in sets and part["step"].isin(sets[negatives]).any():
            rows.append({"attack": lineage.LABELS[attack]} | over_sources(part, attack, negatives))
    return pd.DataFrame(rows)


def text(row: Any) -> str:
    """A row of :func:`summary` as text: the mean with its interval, and the smallest to the largest source."""
    return f"{row.auc}; {row.smallest:.2f}–{row.largest:.2f}"


def beside(
    run: Run, published: dict[str, float], probe_set: str, form: str, measure: str, folder: Path = RESULTS
) -> pd.DataFrame:
    """Published value, references and the reader's own run, in columns of their own.

    Parameters
    ----------
    run : Run
        The reader's run.
    published : dict
        Published AUC by attack; an empty dict where nothing is published.
    probe_set, form, measure : str
        The fingerprint.
    folder : pathlib.Path
        Where references are kept.

    Returns
    -------
    pandas.DataFrame
        Columns attack, published, one per reference (its profile and number of sources), and the name of the reader's run.
    """
    columns: dict[str, dict[str, str]] = {"published": {attack: f"{value:.2f}" for attack, value in published.items()}}
    for profile in available(folder):
        rows = summary(load(profile, folder), probe_set, form, measure)
        sources = int(rows["sources"].max()) if len(rows) else 0
        columns[f"reference {profile}, {sources} sources"] = {row.attack: text(row) for row in rows.itertuples()}
    own = select(run.all_auc, probes=probe_set, form=form, measure=measure, negatives=lineage.MAIN_NEGATIVES)
    own = own[own["n_probes"] == own["n_probes"].max()]
    columns[f"this run, {run.profile.run_name}"] = {
        row.attack: str(evaluation.Auc(row.auc, row.low, row.high)) for row in own.itertuples()
    }
    attacks = [lineage.LABELS[attack] for attack in lineage.ATTACKS]
    attacks = [attack for attack in attacks if any(attack in column for column in columns.values())]
    return pd.DataFrame(
        {"attack": attacks} | {name: [column.get(attack, "–") for attack in attacks] for name, column in columns.items()}
    )


def per_source(tables: Reference, probe_set: str, form: str, measure: str, negatives: str) -> pd.DataFrame:
    """AUC of each source of a reference at the larger number of probes: columns seed, probes, attack, auc, low, high."""
    part = select(tables["auc"], probes=probe_set, form=form, measure=measure, negatives=negatives)
    part = part[part["n_probes"] == part["n_probes"].max()]
    return part[["seed", "probes", "attack", "auc", "low", "high"]]
