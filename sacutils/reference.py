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


def collect(runs: list[Run], folder: Path | None = None) -> Path:
    """Write the tables, the probe images and the provenance of finished runs of one profile.

    Sources that the reference has already, with other seeds, stay in it, so that one can be made source by source.

    Parameters
    ----------
    runs : list of Run
        Runs of one profile with different seeds, hence different sources, whose ``tables/`` are there.
    folder : pathlib.Path
        Where references are kept; ``results/`` if it is not given.

    Returns
    -------
    pathlib.Path
        The folder that was written, ``<folder>/<profile>``.

    Raises
    ------
    UserError
        If the runs are of several profiles or share a seed, one has no tables, or the reference there was changed.
    """
    names, seeds = sorted({run.profile.name for run in runs}), [run.profile.seed for run in runs]
    if len(names) != 1 or len(set(seeds)) != len(seeds):
        raise UserError(f"A reference takes runs of one profile with different seeds, found {', '.join(names)}, seeds {seeds}.")
    missing = [path for run in runs for path in _tables(run).values() if not path.exists()]
    if missing:
        raise UserError(f"{missing[0]} is missing; finish that run first with: make book PROFILE={names[0]} SEED=...")
    target = (folder or RESULTS) / names[0]
    kept, record, chosen = {}, {}, {}
    if (target / "provenance.json").exists():
        kept = _read(names[0], target.parent, dtype=str)
        record, chosen = provenance(names[0], folder)["sources"], artefacts.read_json(target / "probes.json")
    record |= {str(run.profile.seed): describe(run) for run in runs}
    chosen |= {str(run.profile.seed): artefacts.read_json(run.folder / "probes" / "probes.json")["images"] for run in runs}
    tables = {}
    for name in TABLES:
        parts = [pd.read_csv(_tables(run)[name], dtype=str).assign(seed=str(run.profile.seed)) for run in runs]
        parts = [part.drop(columns=LEFT_OUT.get(name, [])) for part in parts]
        if kept:
            parts.append(kept[name][~kept[name]["seed"].isin(map(str, seeds))])
        table = pd.concat(parts).sort_values("seed", key=lambda seed: seed.astype(int), kind="stable")
        tables[name] = table[["seed", *(column for column in table.columns if column != "seed")]].to_csv(index=False)
    # the record goes first and comes back last: a reference whose writing was interrupted is none
    (target / "provenance.json").unlink(missing_ok=True)
    for name, content in tables.items():
        artefacts.write_text(target / f"{name}.csv", content)
    artefacts.write_json(target / "probes.json", dict(sorted(chosen.items(), key=lambda pair: int(pair[0]))))
    sums = {f"{name}.csv": artefacts.sha256(target / f"{name}.csv") for name in TABLES}
    sources = dict(sorted(record.items(), key=lambda pair: int(pair[0])))
    artefacts.write_json(target / "provenance.json", {"profile": names[0], "sources": sources, "sha256": sums})
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


def available(folder: Path | None = None) -> list[str]:
    """Profiles that have a reference."""
    folder = folder or RESULTS
    return sorted(path.parent.name for path in folder.glob("*/provenance.json"))


def load(profile: str, folder: Path | None = None) -> Reference:
    """The tables of a reference, checked against their record; nothing is trained.

    Raises
    ------
    UserError
        If there is no reference of that profile, or a table was changed.
    """
    return _read(profile, folder or RESULTS, dtype={"setting": str})


def _read(profile: str, folder: Path, dtype: Any) -> Reference:
    if profile not in available(folder):
        raise UserError(f"There is no reference of profile {profile!r}; results/ has {', '.join(available(folder)) or 'none'}.")
    record = artefacts.read_json(folder / profile / "provenance.json")
    for name, expected in record["sha256"].items():
        if artefacts.sha256(folder / profile / name) != expected:
            raise UserError(f"{folder / profile / name} does not match its record; restore it with: git checkout results")
    return {name: pd.read_csv(folder / profile / f"{name}.csv", dtype=dtype) for name in TABLES}


def provenance(profile: str, folder: Path | None = None) -> dict[str, Any]:
    """The record of a reference: profile, what each source was made from and on, checksums."""
    return artefacts.read_json((folder or RESULTS) / profile / "provenance.json")


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
    run: Run, published: dict[str, float], probe_set: str, form: str, measure: str, folder: Path | None = None
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
        Where references are kept; ``results/`` if it is not given.

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


# a fingerprint in the tables: its columns probes, form and measure
Key = tuple[str, str, str]


def reproduces(row: Any, published: float, margin: float = 0.02) -> str:
    """Whether a published AUC came out again over several sources.

    Parameters
    ----------
    row : namedtuple or pandas.Series
        A row of :func:`summary`.
    published : float
        The published AUC.
    margin : float
        Rounding that is forgiven.

    Returns
    -------
    str
        ``yes`` if the mean over sources is at most `margin` below the published value and no source is more than 0.1 below it,
        ``higher`` if the whole interval lies above it, ``in part`` if it lies in the interval or one source reaches it, else
        ``no``.
    """
    if row.auc.low > published + margin:
        return "higher"
    if row.auc.value >= published - margin and row.smallest >= published - 0.1:
        return "yes"
    return "in part" if max(row.largest, row.auc.high) >= published - margin else "no"


def differences(
    tables: Reference, first: Key, second: Key, attacks: list[str], negatives: str = lineage.MAIN_NEGATIVES
) -> pd.DataFrame:
    """AUC of one fingerprint minus that of another, on the same attack, source and irrelevant models.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        As loaded by :func:`load`.
    first, second : tuple of str
        The fingerprints, at the larger number of probes.
    attacks : list of str
        Names of ``lineage.ATTACKS``.
    negatives : str
        Which irrelevant models.

    Returns
    -------
    pandas.DataFrame
        One row per attack: attack, first and second (mean AUC over sources), difference (mean), smallest and largest (of a
        source), verdict: "first" or "second" if that one is ahead on every source, otherwise "neither".
    """
    one, other = (
        per_source(tables, *key, negatives).set_index(["attack", "seed"])["auc"].sort_index() for key in (first, second)
    )
    rows = []
    for attack in (lineage.LABELS[attack] for attack in attacks):
        if attack not in one.index or attack not in other.index:
            continue
        apart = one[attack] - other[attack]
        verdict = "first" if apart.min() > 0 else "second" if apart.max() < 0 else "neither"
        rows.append(
            {
                "attack": attack,
                "first": one[attack].mean(),
                "second": other[attack].mean(),
                "difference": apart.mean(),
                "smallest": apart.min(),
                "largest": apart.max(),
                "verdict": verdict,
            }
        )
    return pd.DataFrame(rows)


def quality(tables: Reference) -> pd.DataFrame:
    """Test accuracy and fidelity of a reference's models, means over models and sources: step, models, accuracy, fidelity."""
    zoo = tables["zoo"]
    grouped = zoo.groupby("step", sort=False)
    table = grouped.agg(models=("name", "size"), accuracy=("test_accuracy", "mean"), fidelity=("fidelity", "mean"))
    return table.reset_index()
