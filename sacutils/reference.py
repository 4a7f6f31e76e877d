"""Reference runs: small tables of whole runs with several sources, kept in ``results/``, and what they say of claims."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import artefacts, evaluation, lineage, summaries
from .artefacts import UserError
from .probes import PROBE_SETS
from .profiles import ROOT, Profile
from .runs import Run

RESULTS = ROOT / "results"
TABLES = ("zoo", "distances", "auc", "costs", "ablations")
LEFT_OUT = {"zoo": ["parameters", "attempt", "digest", "sha256", "train_accuracy"], "distances": ["group", "architecture"]}
"""Columns of a run's tables that a reference does without, so that it stays small."""

# the tables of a reference by their names; the column `seed` tells the sources apart
Reference = dict[str, pd.DataFrame]
# probes, form and measure: the columns that together name a fingerprint
Key = tuple[str, str, str]

EMPTY_ONLY = {"keep_default_na": False, "na_values": [""]}  # some settings are called "none"


def collect(runs: list[Run], folder: Path | None = None) -> Path:
    """Add the tables, the probe images and the provenance of finished runs to the reference of their profile.

    Sources that the reference has and that are not among `runs` are kept as they are; those given again are replaced. Rows
    are ordered by seed. All is read and checked before anything is written, and the record comes last: if the process is
    killed in between, :func:`load` refuses what it left.

    Parameters
    ----------
    runs : list of Run
        Runs of one profile with different seeds, hence different sources, whose ``tables/`` are there.
    folder : pathlib.Path, optional
        Where references are kept; by default `RESULTS`.

    Returns
    -------
    pathlib.Path
        The folder that was written, ``<folder>/<profile>``.

    Raises
    ------
    UserError
        If the runs are of several profiles or share a seed, or one has no tables; if sources that are kept do not match their
        record, or were made from other data than the new ones, or have tables with other columns.
    """
    names, seeds = sorted({run.profile.name for run in runs}), [run.profile.seed for run in runs]
    if len(names) != 1 or len(set(seeds)) != len(seeds):
        raise UserError(f"A reference takes runs of one profile with different seeds, found {', '.join(names)}, seeds {seeds}.")
    missing = [path for run in runs for path in _tables(run).values() if not path.exists()]
    if missing:
        raise UserError(f"{missing[0]} is missing; finish that run first with: make book PROFILE={names[0]} SEED=...")
    target = _results(folder) / names[0]
    sources = provenance(names[0], folder)["sources"] if names[0] in available(folder) else {}
    kept = sorted(set(sources) - {str(seed) for seed in seeds}, key=int)
    chosen = {}
    if kept:
        load(names[0], folder)
        chosen = artefacts.read_json(target / "probes.json")
    sources |= {str(run.profile.seed): describe(run) for run in runs}
    chosen |= {str(run.profile.seed): artefacts.read_json(run.folder / "probes" / "probes.json")["images"] for run in runs}
    everyone = sorted([*kept, *map(str, seeds)], key=int)
    for field in ("data", "transfer target", "images"):
        found = list(dict.fromkeys(json.dumps(sources[seed][field]) for seed in everyone))
        if len(found) > 1:
            raise UserError(
                f"Sources of a reference differ in their seeds only, found in {names[0]} the {field} {' and '.join(found)}."
            )
    texts = {}
    for name in TABLES:
        parts = {str(run.profile.seed): _columns(name, run) for run in runs}
        if kept:
            before = pd.read_csv(target / f"{name}.csv", dtype=str, **EMPTY_ONLY)
            after = list(next(iter(parts.values())).columns)
            if other := set(before.columns) ^ set(after):
                raise UserError(
                    f"{target / name}.csv and a new run differ in columns ({', '.join(other)}); collect all seeds again."
                )
            parts |= {seed: before[before["seed"] == seed] for seed in kept}
        texts[name] = pd.concat([parts[seed] for seed in everyone]).to_csv(index=False)
    for name, content in texts.items():
        artefacts.write_text(target / f"{name}.csv", content)
    artefacts.write_json(target / "probes.json", {seed: chosen[seed] for seed in everyone})
    sums = {file: artefacts.sha256(target / file) for file in (*(f"{name}.csv" for name in TABLES), "probes.json")}
    record = {"profile": names[0], "sources": {seed: sources[seed] for seed in everyone}, "sha256": sums}
    artefacts.write_json(target / "provenance.json", record)
    return target


def _results(folder: Path | None) -> Path:
    return RESULTS if folder is None else folder


def _tables(run: Run) -> dict[str, Path]:
    return {name: run.folder / "tables" / f"{name}.csv" for name in TABLES}


def _columns(name: str, run: Run) -> pd.DataFrame:
    """A table of a run as a reference keeps it: every cell as it is written in the file, the seed in front."""
    table = pd.read_csv(_tables(run)[name], dtype=str, **EMPTY_ONLY).assign(seed=str(run.profile.seed))
    return _seed_first(table.drop(columns=LEFT_OUT.get(name, [])))


def _seed_first(table: pd.DataFrame) -> pd.DataFrame:
    return table[["seed", *(column for column in table.columns if column != "seed")]]


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
    return sorted(path.parent.name for path in _results(folder).glob("*/provenance.json"))


def load(profile: str, folder: Path | None = None) -> Reference:
    """The tables of a reference, checked against their record; nothing is trained.

    Raises
    ------
    UserError
        If there is no reference of that profile, or a table was changed.
    """
    if profile not in available(folder):
        raise UserError(f"There is no reference of profile {profile!r}; results/ has {', '.join(available(folder)) or 'none'}.")
    place = _results(folder) / profile
    for name, expected in provenance(profile, folder)["sha256"].items():
        if not (place / name).exists() or artefacts.sha256(place / name) != expected:
            raise UserError(f"{place / name} does not match its record; restore it with: git checkout results")
    return {name: pd.read_csv(place / f"{name}.csv", dtype={"setting": str}, **EMPTY_ONLY) for name in TABLES}


def of_run(run: Run) -> Reference:
    """The tables of one run in the shape of a reference that has one source."""
    found = (run.models, run.all_distances, run.all_auc, run.costs, run.ablations)
    return {name: _seed_first(table.assign(seed=run.profile.seed)) for name, table in zip(TABLES, found, strict=True)}


def provenance(profile: str, folder: Path | None = None) -> dict[str, Any]:
    """The record of a reference: profile, what each source was made from and on, checksums."""
    return artefacts.read_json(_results(folder) / profile / "provenance.json")


def facts(profile: str, folder: Path | None = None) -> dict[str, str]:
    """The record of a reference as short texts by what they state; where sources differ, all values or the range."""
    sources = list((record := provenance(profile, folder))["sources"].values())
    seconds = [sum(source["seconds of training"].values()) for source in sources]
    versions = [", ".join(f"{name} {source['versions'][name]}" for name in ("python", "torch", "numpy")) for source in sources]
    splits = ("owner", "attacker", "probe", "test")
    images = [", ".join(f"{name} {source['images'][name]:,}" for name in splits) for source in sources]
    return {
        "sources (seeds)": f"{len(sources)} ({', '.join(record['sources'])})",
        "data": _each(source["data"] for source in sources),
        "compression": _each(_compression(source["data"]) for source in sources),
        "transfer target": _each(source["transfer target"] for source in sources),
        "images": _each(images),
        "models per source": _each(f"{source['models']:,}" for source in sources),
        "training per source, all jobs added": " to ".join(_each([summaries.duration(f(seconds))]) for f in (min, max)),
        "device": _each(f"{source['device']}: {line}" for source in sources for line in source["hardware"]),
        "versions": _each(versions),
        "trained": f"{min(source['utc'][0] for source in sources)[:10]} to {max(source['utc'][1] for source in sources)[:10]}",
    }


def _each(values: Any) -> str:
    """Different values, in their order."""
    return "; ".join(dict.fromkeys(values))


def _compression(data: str) -> str:
    if not data.startswith("ImageFolder"):
        return "pixels as published"
    return "JPEG files, lossy" if {"jpg", "jpeg"} & set(data.split()) else "as the file format has it"


def label(profile: str, tables: Reference) -> str:
    """What a reference is called in tables: its profile and number of sources."""
    count = tables["auc"]["seed"].nunique()
    return f"{profile}, {count} source{'' if count == 1 else 's'}"


def select(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of a table in which the named columns have these values."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def fingerprint(table: pd.DataFrame, probe_set: str, form: str, measure: str) -> pd.DataFrame:
    """The rows of one fingerprint, of its numbers of probes the larger."""
    part = select(table, probes=probe_set, form=form, measure=measure)
    return part[part["n_probes"] == part["n_probes"].max()]


def baselines(tables: Reference) -> dict[str, Key]:
    """The baselines that a reference has, and the fingerprint that each is."""
    keys = tables["auc"][["probes", "form", "measure"]].drop_duplicates().itertuples(index=False, name=None)
    return {key[0]: key for key in keys if key[0] not in PROBE_SETS.values()}


def _resampled_interval(tables: list[np.ndarray], resamples: int, seed: int) -> tuple[float, float]:
    """95 % interval of the mean over sources: sources are drawn, then models of both groups within each."""
    generator = np.random.default_rng(seed)
    # one draw of models for each source in each of the places that a drawn source can take
    drawn = np.stack([[evaluation.resampled(each, resamples, generator) for each in tables] for _ in tables])
    chosen = generator.integers(len(tables), size=(len(tables), 1, resamples))
    low, high = np.quantile(np.take_along_axis(drawn, chosen, 1).mean((0, 1)), (0.025, 0.975))
    return float(low), float(high)


def over_sources(distances: pd.DataFrame, attack: str, negatives: str, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    r"""AUC of one attack over several sources: the mean, its interval, and the smallest and the largest.

    The interval is a bootstrap on two levels: sources are drawn with replacement, then models of both groups within each. Where
    every pair of every source is in order the bootstrap says nothing, nor does it for one source with one or two models in a
    group; then it is the score interval of a single source, since models of one source are not independent of each other.

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
    alike = len({(each.min(), each.max()) for each in pairs}) == 1 and pairs[0].min() == pairs[0].max()
    if alike or (len(pairs) == 1 and min(m, n) < evaluation.FEWEST):
        low, high = evaluation.score_interval(mean, m, n)
    else:
        low, high = _resampled_interval(pairs, resamples, seed)
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
    part = fingerprint(tables["distances"], probe_set, form, measure)
    rows = []
    for attack in lineage.ATTACKS:
        sets = lineage.negative_sets(attack)
        if (part["step"] == attack).any() and negatives in sets and part["step"].isin(sets[negatives]).any():
            rows.append({"attack": lineage.LABELS[attack]} | over_sources(part, attack, negatives))
    return pd.DataFrame(rows)


def text(row: Any) -> str:
    """A row of :func:`summary` as text: the mean with its interval and, of several sources, the smallest to the largest."""
    return f"{row.auc}; {row.smallest:.2f}\u2060–\u2060{row.largest:.2f}" if row.sources > 1 else str(row.auc)


def difference(
    tables: Reference, first: Key, second: Key, attacks: list[str], negatives: str = lineage.MAIN_NEGATIVES
) -> dict[str, Any]:
    """AUC of one fingerprint minus that of another, all stolen models of some attacks as one group, over several sources.

    Where both judged the same models, their tables of ordered pairs are subtracted first and the difference is resampled, on
    the two levels of :func:`over_sources`; a hard suspect is hard for both. Where not (EWE protects a source of its own), and
    where every pair differs alike, so that no resample can, the interval combines those of the two means by squaring and
    adding (Newcombe 1998).

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        As loaded by :func:`load`.
    first, second : tuple of str
        Probes, form and measure of each.
    attacks : list of str
        Names of ``lineage.ATTACKS`` with the same groups of irrelevant models.
    negatives : str
        Which irrelevant models.

    Returns
    -------
    dict
        ``value``, ``low``, ``high`` (first minus second; the bounds are NaN if a paired group has fewer than three models, or
        if the two are alike), ``smallest`` and ``largest`` source, ``sources``, ``paired``, ``alike`` (every pair of models
        counts the same for both).
    """
    steps = lineage.negative_sets(attacks[0])[negatives]
    parts = []
    for key in (first, second):
        rows = fingerprint(tables["distances"], *key)
        # one name for all stolen models, so that over_sources takes them as one group
        rows = rows.assign(step=rows["step"].where(~rows["step"].isin(attacks), attacks[0]))
        parts.append(rows[rows["step"].isin([attacks[0], *steps])])
    gains, paired = [], True
    for seed in sorted(set(parts[0]["seed"]) & set(parts[1]["seed"])):
        own = [select(part, seed=seed).set_index("model") for part in parts]
        paired = paired and set(own[0].index) == set(own[1].index)
        if paired:
            both = pd.DataFrame({"one": own[0]["distance"], "two": own[1]["distance"]}).T
            groups = [own[0].index[own[0]["step"].isin(group)] for group in (attacks, steps)]
            one, two = evaluation.ordered_pairs(*(both[names].to_numpy() for names in groups))
            gains.append(one - two)
    one, two = (over_sources(part, attacks[0], negatives)["auc"] for part in parts)
    low = high = np.nan
    alike = paired and not any(each.any() for each in gains)
    constant = paired and len({value for each in gains for value in np.unique(each)}) == 1
    if paired:
        values = [each.mean() for each in gains]
    else:
        single = [[over_sources(own, attacks[0], negatives)["auc"].value for _, own in part.groupby("seed")] for part in parts]
        values = list(np.subtract(*single))
    if not paired or (constant and not alike):
        low = one.value - two.value - float(np.hypot(one.value - one.low, two.high - two.value))
        high = one.value - two.value + float(np.hypot(one.high - one.value, two.value - two.low))
    elif not constant and min(min(each.shape) for each in gains) >= evaluation.FEWEST:
        low, high = _resampled_interval(gains, 2000, 0)
    return {
        "value": float(np.mean(values)),
        "low": low,
        "high": high,
        "smallest": float(min(values)),
        "largest": float(max(values)),
        "sources": len(values),
        "paired": paired,
        "alike": alike,
    }


def ablation(tables: Reference, name: str) -> pd.DataFrame:
    """One ablation over the sources of a reference.

    A reference keeps no distances of ablations, so the interval is the mean of the sources' intervals: it does not shrink
    with the number of sources, and how they differ is said by the smallest and the largest.

    Returns
    -------
    pandas.DataFrame
        A row per series, setting and attack, in the order of the table: columns series, setting, attack, fidelity (mean), and
        those of :func:`over_sources`.
    """
    rows = []
    part = select(tables["ablations"], ablation=name)
    for (series, setting, attack), own in part.groupby(["series", "setting", "attack"], sort=False):
        rows.append(
            {"series": series, "setting": setting, "attack": attack, "fidelity": own["fidelity"].mean()}
            | {"auc": evaluation.Auc(*(float(own[column].mean()) for column in ("auc", "low", "high")))}
            | {"smallest": own["auc"].min(), "largest": own["auc"].max(), "sources": own["seed"].nunique()}
            | {"n_stolen": int(own["n_stolen"].min()), "n_irrelevant": int(own["n_irrelevant"].min())}
        )
    return pd.DataFrame(rows)


def published(zoo: str = "CIFAR-10") -> dict[str, dict[str, float]]:
    """Published AUCs by method and attack, of the zoo whose name begins like this; see ``results/published_auc.csv``."""
    table = pd.read_csv(ROOT / "results" / "published_auc.csv")
    table = table[table["zoo"].str.startswith(zoo)]
    return {method: dict(zip(part["attack"], part["auc"], strict=True)) for method, part in table.groupby("method", sort=False)}


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
    folder : pathlib.Path, optional
        Where references are kept; ``results/`` if it is not given.

    Returns
    -------
    pandas.DataFrame
        Columns attack, published, one per reference (its profile and number of sources), and the name of the reader's run.
    """
    columns: dict[str, dict[str, str]] = {"published": {attack: f"{value:.2f}" for attack, value in published.items()}}
    for profile in available(folder):
        tables = load(profile, folder)
        rows = summary(tables, probe_set, form, measure)
        columns[f"reference {label(profile, tables)}"] = {row.attack: text(row) for row in rows.itertuples()}
    own = fingerprint(select(run.all_auc, negatives=lineage.MAIN_NEGATIVES), probe_set, form, measure)
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
    part = fingerprint(select(tables["auc"], negatives=negatives), probe_set, form, measure)
    return part[["seed", "probes", "attack", "auc", "low", "high"]]
