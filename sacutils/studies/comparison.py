"""SAC and its rivals on one zoo: distances, AUCs and costs in the same long tables."""

import statistics
import time
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import torch

from .. import correlation, probes, rivals, steps, training
from ..probes import PUBLISHED
from ..rivals.kinds import HELPERS, Queries, Rival, Setting
from ..run import Run
from ..steps import STEPS, Spec
from . import ablations, tables


def protected(run: Run, rival: Rival) -> Run:
    """The run whose source a rival protects: for EWE the variant with the watermark."""
    return run.variant(rivals.NEEDS[rival.name]) if rival.name in rivals.NEEDS else run


def setting(run: Run, rival: Rival) -> Setting:
    """What the owner has for making a fingerprint."""
    owner, splits = protected(run, rival), run.material.splits
    helpers = ([run.zoo.get(name) for name in run.names(*kind)] for kind in HELPERS.values())
    known = (splits["probe"], splits["owner"], run.profile.seed)
    watermark = owner.profile.recipes.source.watermark
    return Setting(owner.zoo.get(owner.zoo.source), *helpers, *known, watermark)


def suspects(run: Run, rival: Rival) -> list[tuple[Run, Spec, str]]:
    """The models that a rival judges: the run they belong to, what they are, the name in tables.

    EWE's stolen models descend from the watermarked source and are named so. The owner's helpers
    and controls are not judged.
    """
    judged = run.evaluated()
    if not rival.new_labels:
        judged = [spec for spec in judged if not STEPS[spec.step].new_labels]
    if rival.name not in rivals.NEEDS:
        return [(run, spec, spec.name) for spec in judged]
    variant, marked = rivals.NEEDS[rival.name], protected(run, rival)
    stolen = [spec for spec in steps.variant_specs(run.profile, variant) if spec.step != "source"]
    descendants = [(marked, spec, spec.name.replace("source", variant, 1)) for spec in stolen]
    others = [spec for spec in judged if STEPS[spec.step].role == "independent"]
    return descendants + [(run, spec, spec.name) for spec in others]


def seconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """Median wall time of a few calls after a first one, which counts alone if it takes a second
    or more.
    """
    first = timeit.repeat(function, repeat=1, number=1)
    slow = first[0] >= 1
    return statistics.median(first if slow else timeit.repeat(function, repeat=repeats, number=1))


def same_images(queries: Queries, known: probes.Probes) -> bool:
    """Whether a rival asks the images of one of SAC's probe sets."""
    return queries.pixels.shape[1] == 1 and torch.equal(queries.pixels[:, 0], known.pixels)


def measure(run: Run, rival: Rival) -> dict[str, torch.Tensor]:
    """Distances of all suspects under one rival, and what it cost.

    Keys: ``distances.<number of probes>`` (float64, in the order of :func:`suspects`);
    ``seconds_make``, and ``seconds_check`` and ``queries`` for one suspect of the source's
    architecture at the larger budget; ``shown``: the last query of each of the first eight probes;
    ``share.arrived`` (IPGuard: probes behind the boundary), ``share.passed`` (CAE: conferrable).
    """
    counts, known = run.profile.probes.counts, setting(run, rival)
    count = counts[0]
    started = time.perf_counter()
    queries = rival.queries(known, count)
    made = time.perf_counter() - started
    if made < 1:
        made = seconds(lambda: rival.queries(known, count))
    theirs = rival.ask(known.source, queries.pixels).double()
    # what SAC has asked already
    kept = [kind for kind in ("normal", "source") if same_images(queries, run.probes[kind])]
    # a budget pays for fewer units where a unit is more than one image: ModelDiff's are pairs
    parts = {n: queries.first(max(2, len(queries.pixels) * n // count)) for n in counts}
    columns: dict[int, list[float]] = {n: [] for n in parts}
    for home, spec, _ in suspects(run, rival):
        if kept:
            outputs = run.answers(spec.name, kept[0]).double()[:, None]
        else:
            outputs = rival.ask(home.zoo.get(spec.name), queries.pixels).double()
        for n, part in parts.items():
            rows = slice(len(part.pixels))
            columns[n].append(float(rival.distance(theirs[rows], outputs[rows], part.extra)))

    def judge_source() -> torch.Tensor:
        its = rival.ask(known.source, queries.pixels).double()
        return rival.distance(theirs, its, queries.extra)

    check = seconds(judge_source)
    values: dict[str, Any] = {f"distances.{n}": column for n, column in columns.items()}
    values |= {"seconds_make": made, "seconds_check": check}
    for name in {"arrived", "passed"} & set(queries.extra):
        values[f"share.{name}"] = queries.extra[name].double().mean().item()
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    tensors["queries"] = torch.tensor(queries.pixels.shape[0] * queries.pixels.shape[1])
    return tensors | {"shown": queries.pixels[:8, -1].cpu().contiguous()}


def measured_digest(run: Run, name: str) -> str:
    """Digest of what :func:`measure` gives for a rival; of all rivals' code it covers its alone."""
    models = {}
    if name in rivals.NEEDS:
        made = steps.digests(steps.variant(run.profile, rivals.NEEDS[name]))
        specs = steps.variant_specs(run.profile, rivals.NEEDS[name])
        models = {spec.name: made[spec.name] for spec in specs}
    return run.digest("studies.comparison.measure", rivals.code(name), more=models)


def measured(run: Run, name: str) -> dict[str, torch.Tensor]:
    """What :func:`measure` gives for a rival, kept in ``outputs/``."""
    file, digest = f"outputs/rival-{rivals.slug(name)}", measured_digest(run, name)
    return run.keep_tensors(file, digest, lambda: measure(run, rivals.rival(name)))


def table_digest(run: Run, *code: str) -> str:
    """Digest of a table that some code makes of SAC's answers and of all that was measured."""
    digests = [measured_digest(run, name) for name in rivals.measurable(run.profile)]
    return run.digest("run.make_logits", "run.make_probes", *code, more=digests)


def distances(run: Run) -> pd.DataFrame:
    """Distances to the source (``distances.csv``): SAC's, and in the same columns its rivals'."""

    def make() -> pd.DataFrame:
        rows = []
        for name in rivals.measurable(run.profile):
            rival, values = rivals.rival(name), measured(run, name)
            key = (name, rival.form, rival.measure)
            for n in run.profile.probes.counts:
                pairs = zip(suspects(run, rival), values[f"distances.{n}"].tolist(), strict=True)
                rows += [tables.distance_row(key, n, *judged[1:], d) for judged, d in pairs]
        return pd.concat([tables.distances(run), pd.DataFrame(rows)], ignore_index=True)

    return run.keep_table("distances", table_digest(run, "studies.comparison.distances"), make)


def auc(run: Run) -> pd.DataFrame:
    """AUCs of SAC and its rivals (``auc.csv``)."""
    digest = table_digest(run, "studies.comparison.auc")
    return run.keep_table("auc", digest, lambda: tables.auc_table(distances(run)))


def costs(run: Run) -> pd.DataFrame:
    """What each fingerprint costs (``costs.csv``); the seconds are those of the first measurement.

    Columns: method, seconds_make (the probes alone), seconds_models (training the helpers or the
    watermarked source), seconds_check and queries (one suspect of the source's architecture),
    surrogates, choosers, access (of the source, for making it), form (the weakest that will do).
    """

    def row(name: str, helpers: dict[str, list[str]], own: float, *values: Any) -> dict[str, Any]:
        trained = [run.zoo.record(model)["seconds"] for part in helpers.values() for model in part]
        counts = {kind: len(helpers.get(kind, [])) for kind in HELPERS}
        columns = ("seconds_make", "seconds_check", "queries", "access", "form")
        measures = dict(zip(columns, values, strict=True))
        return {"method": name, "seconds_models": sum(trained) + own} | counts | measures

    def make() -> pd.DataFrame:
        rows = []
        for kind, name in PUBLISHED.items():
            helpers = {"surrogates": run.names(*steps.SURROGATES)} if kind == "w" else {}
            asked = [run.zoo.source, *helpers.get("surrogates", [])]
            asked = asked if kind in ("source", "w") else []
            making, check = partial(make_sac, run, kind, asked), partial(check_sac, run, kind)
            values = (seconds(making), seconds(check), len(run.probes[kind].index))
            rows.append(row(name, helpers, 0, *values, "answers" if asked else "none", "labels"))
        for name in rivals.measurable(run.profile):
            rival, got = rivals.rival(name), measured(run, name)
            zoo = protected(run, rival).zoo
            own = zoo.record(zoo.source)["seconds"] if name in rivals.NEEDS else 0
            values = [got[key].item() for key in ("seconds_make", "seconds_check", "queries")]
            helpers = {kind: run.names(*HELPERS[kind]) for kind in rival.helpers}
            rows.append(row(name, helpers, own, *values, rival.access, rival.form))
        return pd.DataFrame(rows)

    return run.keep_table("costs", table_digest(run, "studies.comparison.costs"), make)


def cost_texts(table: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """The :func:`costs` of some methods as texts, as far as they are known, by method: access,
    answers, models (surrogates + choosers), making, with training (of these), queries.
    """
    rows = table.set_index("method")
    rows = rows.loc[[name for name in methods if name in rows.index]]
    shown = rows[["access"]].assign(answers=rows["form"])
    shown["models"] = rows["surrogates"].map(str) + " + " + rows["choosers"].map(str)
    seconds = {"making": rows["seconds_make"]}
    seconds["with training"] = rows["seconds_make"] + rows["seconds_models"]
    for name, values in seconds.items():
        shown[name] = values.map(tables.duration).where(values >= 1, "under 1 s")
    return shown.assign(queries=rows["queries"].map("{:,}".format))


def make_sac(run: Run, kind: str, asked: list[str]) -> probes.Probes:
    """Make one of SAC's probe sets anew, asking some models which images they misclassify."""
    split = run.material.splits["probe"]
    labels = [training.logits_of(run.zoo.get(name), split.pixels).argmax(1) for name in asked]
    predictions = torch.stack(labels or [split.labels.cpu()])
    return probes.make(kind, split, predictions, run.profile.probes, run.profile.seed)


def check_sac(run: Run, kind: str) -> torch.Tensor:
    """Judge the source itself as if it were a suspect."""
    logits = training.logits_of(run.zoo.get(run.zoo.source), run.probes[kind].pixels)
    suspect = correlation.cosine_matrix(logits.double().softmax(1))
    return correlation.distance(run.matrix(kind, run.zoo.source), suspect)


def tables_of(run: Run) -> tables.Tables:
    """All tables of a run, with the ablations where it is full."""
    more = {"ablations": ablations.table(run)} if run.profile.full else {}
    return tables.of_run(run, distances=distances(run), auc=auc(run), costs=costs(run), **more)
