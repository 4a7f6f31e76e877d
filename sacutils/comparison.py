"""All fingerprints on one zoo: the distances and the costs of SAC and of nine baselines, in the same long tables."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from . import baselines, correlation, lineage, probes, training
from .baselines import BASELINES, Queries, Setting
from .lineage import Spec
from .probes import PROBE_SETS

if TYPE_CHECKING:
    from .runs import Run

NEW_LABELS = ("transfer_all", "transfer_last", "irrelevant_transfer")
"""Steps whose models have other classes than the source, so that their labels cannot be matched with its own."""

WATERMARKED = "watermarked"
"""The variant of a profile whose source carries EWE's watermark."""


def setting(run: "Run", source: torch.nn.Module) -> Setting:
    """What the owner of a source has for making a fingerprint."""
    surrogates, references = ([run.zoo.get(name) for name in run.names(step)] for step in ("surrogate", "reference"))
    splits = run.material.splits
    return Setting(source, surrogates, references, splits["probe"], splits["owner"], run.profile.seed)


def methods(run: "Run") -> list[str]:
    """The baselines that a run can measure: EWE needs the variant with the watermark."""
    return [method for method in BASELINES if method != "EWE" or WATERMARKED in run.profile.variants]


def suspects(run: "Run", method: str) -> list[tuple["Run", Spec, str]]:
    """The models that a baseline judges: the run they belong to, what they are, and the name that tables show.

    For EWE the stolen models descend from the watermarked source and are named so; the irrelevant ones are the same for all.
    """
    judged = [spec for spec in run.zoo.specs.values() if spec.name != run.zoo.source]
    if not BASELINES[method].new_labels:
        judged = [spec for spec in judged if spec.step not in NEW_LABELS]
    if method != "EWE":
        return [(run, spec, spec.name) for spec in judged]
    marked = run.variant(WATERMARKED)
    stolen = [spec for spec in lineage.variant_specs(run.profile, WATERMARKED) if spec.step != "source"]
    independent = [spec for spec in judged if spec.parent is None]
    return [(marked, spec, spec.name.replace("source", WATERMARKED, 1)) for spec in stolen] + [
        (run, spec, spec.name) for spec in independent
    ]


def owner(run: "Run", method: str) -> "Run":
    """The run whose source a baseline protects: for EWE the variant with the watermark."""
    return run.variant(WATERMARKED) if method == "EWE" else run


def make_queries(run: "Run", method: str, known: Setting, count: int) -> Queries:
    """A baseline's queries at a budget of `count` probes."""
    if method == "EWE":
        return baselines.ewe_queries(known, count, owner(run, method).profile.recipes.source.watermark)
    return BASELINES[method].queries(known, count)


def seconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """Median wall time of a few calls after a first one that does not count."""
    function()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def answers(model: torch.nn.Module, queries: Queries) -> torch.Tensor:
    """A model's logits for all queries, float64, shape (probes, queries per probe, classes)."""
    n, per = queries.pixels.shape[:2]
    return training.logits_of(model, queries.pixels.flatten(0, 1)).double().unflatten(0, (n, per))


def budgets(run: "Run") -> list[int]:
    """The two numbers of probes at which everything is compared."""
    return [run.profile.probes.count, run.profile.probes.second_count]


def measure(run: "Run", method: str) -> dict[str, torch.Tensor]:
    """Distances of all suspects under one baseline, and what it cost.

    Returns
    -------
    dict of torch.Tensor
        ``distances.<number of probes>`` (float64, one per suspect, in the order of :func:`suspects`); ``seconds_make``, and
        ``seconds_check`` and ``queries`` for one suspect of the source's architecture at the larger budget; ``shown``: the
        last query of each of the first eight probes; ``share.crossed`` (IPGuard: probes that reached the boundary) and
        ``share.passed`` (CAE: probes that are conferrable enough).
    """
    count, compare = budgets(run)[0], BASELINES[method].distance
    mine = owner(run, method)
    source = mine.zoo.get(mine.zoo.source)
    known = setting(run, source)
    started = time.perf_counter()
    queries = make_queries(run, method, known, count)
    made = time.perf_counter() - started
    if made < 1:
        made = seconds(lambda: make_queries(run, method, known, count))
    theirs = answers(source, queries)
    parts = {n: queries.first(probes_of(queries, n, count)) for n in budgets(run)}
    distances: dict[int, list[float]] = {n: [] for n in parts}
    for place, spec, _ in suspects(run, method):
        outputs = answers(place.zoo.get(spec.name), queries)
        for n, part in parts.items():
            rows = slice(len(part.pixels))
            # rounded, so that models with equally many equal labels tie whatever the order of summation
            distances[n].append(round(float(compare(theirs[rows], outputs[rows], part.extra)), 12))
    n, per = queries.pixels.shape[:2]
    tensors = {f"distances.{n}": torch.tensor(values, dtype=torch.float64) for n, values in distances.items()}
    check = seconds(lambda: compare(theirs, answers(source, queries), queries.extra))
    times = {"seconds_make": made, "seconds_check": check}
    tensors |= {name: torch.tensor(value, dtype=torch.float64) for name, value in times.items()}
    tensors |= {f"share.{name}": queries.extra[name].double().mean() for name in ("crossed", "passed") if name in queries.extra}
    return tensors | {"queries": torch.tensor(n * per), "shown": queries.pixels[:8, -1].cpu().contiguous()}


def probes_of(queries: Queries, n: int, count: int) -> int:
    """How many of the units of a fingerprint of `count` probes a budget of `n` pays for: ModelDiff's are pairs."""
    return max(2, len(queries.pixels) * n // count)


def _row(probe_set: str, n: int, form: str, kind: str, spec: Spec, name: str, value: float) -> dict[str, Any]:
    return {
        "probes": probe_set,
        "n_probes": n,
        "form": form,
        "measure": kind,
        "model": name,
        "step": spec.step,
        "group": lineage.LABELS[spec.step],
        "architecture": spec.architecture,
        "distance": value,
    }


def sac_distances(run: "Run") -> pd.DataFrame:
    """Distance of every model to the source on each of SAC's probe sets, for each output form and measure.

    At the larger budget the measures are the two correlations, QuRD's variant of the first (``cosine RMS``: the root mean
    square of the differences instead of their mean) and the share of unequal labels (``label agreement``, AKH's), at the
    smaller one cosine and label agreement.

    Returns
    -------
    pandas.DataFrame
        Columns probes, n_probes, form, measure, model, step, group, architecture, distance.
    """
    rows = []
    specs = [spec for spec in run.zoo.specs.values() if spec.name != run.zoo.source]
    large, small = budgets(run)
    for probe_set, label in PROBE_SETS.items():
        for form in correlation.FORMS:
            for kind, matrix in correlation.CORRELATIONS.items():
                source = matrix(run.outputs(probe_set, run.zoo.source, form))
                for spec in specs:
                    suspect = matrix(run.outputs(probe_set, spec.name, form))
                    values = {(large, kind): correlation.distance(source, suspect)}
                    if kind == "cosine":
                        values[large, "cosine RMS"] = correlation.rms_distance(source, suspect)
                        values[small, kind] = correlation.distance(source[:small, :small], suspect[:small, :small])
                    for (n, shown), value in values.items():
                        # rounded, so that models with equally many equal labels tie whatever the order of summation
                        rows.append(_row(label, n, form, shown, spec, spec.name, round(value.item(), 12)))
        theirs = run.logits[probe_set][run.zoo.source].argmax(1)
        for spec in specs:
            if spec.step not in NEW_LABELS:
                unequal = (run.logits[probe_set][spec.name].argmax(1) != theirs).double()
                for n in (large, small):
                    value = round(unequal[:n].mean().item(), 12)
                    rows.append(_row(label, n, "labels", "label agreement", spec, spec.name, value))
    return pd.DataFrame(rows)


def baseline_distances(run: "Run") -> pd.DataFrame:
    """Distance of every suspect under each baseline; columns as in :func:`sac_distances`, `probes` is the baseline's name."""
    rows = []
    for method in methods(run):
        baseline, measured = BASELINES[method], run.baseline(method)
        for n in budgets(run):
            for (_, spec, name), value in zip(suspects(run, method), measured[f"distances.{n}"].tolist(), strict=True):
                rows.append(_row(method, n, baseline.form, baseline.measure, spec, name, value))
    return pd.DataFrame(rows)


def costs(run: "Run") -> pd.DataFrame:
    """What each fingerprint costs: measured seconds and queries, and what has to be there before.

    Returns
    -------
    pandas.DataFrame
        Columns method, seconds_make (the probes alone), seconds_models (training the surrogates, reference models or the
        watermarked source that it needs), seconds_check and queries (one suspect of the source's architecture), surrogates,
        references, access (of the source, for making it), form (the weakest output that it can do with).
    """
    rows = []
    split, source = run.material.splits["probe"], run.zoo.get(run.zoo.source)
    trained = {step: [run.zoo.record(name)["seconds"] for name in run.names(step)] for step in ("surrogate", "reference")}
    for probe_set, label in PROBE_SETS.items():
        models = [source, *(run.zoo.get(name) for name in run.names("surrogate"))][: {"source": 1, "w": None}.get(probe_set, 0)]
        theirs = run.matrix(probe_set, run.zoo.source)

        def check(pixels: torch.Tensor = run.probes[probe_set].pixels, theirs: torch.Tensor = theirs) -> torch.Tensor:
            outputs = training.logits_of(source, pixels).double().softmax(1)
            return correlation.distance(theirs, correlation.cosine_matrix(outputs))

        make = partial(probes.make, probe_set, split, models, run.profile.probes, run.profile.seed)
        needed = trained["surrogate"] if probe_set == "w" else []
        access = "answers" if models else "none"
        rows.append(
            {
                "method": label,
                "seconds_make": seconds(make),
                "seconds_models": sum(needed),
                "seconds_check": seconds(check),
                "queries": len(run.probes[probe_set].index),
                "surrogates": len(needed),
                "references": 0,
                "access": access,
                "form": "labels",
            }
        )
    for method in methods(run):
        baseline, measured = BASELINES[method], run.baseline(method)
        surrogates = trained["surrogate"] if baseline.uses_surrogates else []
        references = trained["reference"] if baseline.uses_references else []
        own = []
        if method == "EWE":
            marked = run.variant(WATERMARKED)
            own = [marked.zoo.record(marked.zoo.source)["seconds"]]
        rows.append(
            {
                "method": method,
                "seconds_make": measured["seconds_make"].item(),
                "seconds_models": sum([*surrogates, *references, *own]),
                "seconds_check": measured["seconds_check"].item(),
                "queries": int(measured["queries"]),
                "surrogates": len(surrogates),
                "references": len(references),
                "access": baseline.access,
                "form": baseline.form,
            }
        )
    return pd.DataFrame(rows)
