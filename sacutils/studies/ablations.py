"""What SAC's answer depends on: one choice is varied, all else stays as the profile has it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from .. import correlation, evaluation, files, probes, steps, training
from ..corruptions import jpeg
from ..probes import PROBE_SETS
from ..rivals import modeldiff
from ..rivals.kinds import Setting
from ..run import Run
from ..steps import LABELS, MAIN_NEGATIVES, NEGATIVES
from . import tables

ATTACKS = ("prune", "extract_label", "extract_probability", "extract_adversarial")
"""Attacks that are varied over: those that the probes do not find at once."""
STYLES = ("extract_label", "extract_once", "extract_plain", "extract_noisy")
STYLES += ("chain_finetuned", "chain_pruned", "chain_quantised")
"""The same theft, Extract-L, by thieves of other habits."""
AGAINST = (MAIN_NEGATIVES, "students of another")
"""Comparisons that are made wherever they are not what is varied."""

FORMS = ("probabilities", "labels")
TEMPERATURES = (1, 1.5, 2, 3)
RADII = (0.015, 0.03, 0.1)
COUNTS = (10, 20, 50, 100, 200, 400)
PATCHES = (0.1, 0.2, 0.35, 0.5, 0.75)
QUALITIES = (75, 50, 25, 18, 15, 10, 7)
BANDWIDTHS = (0.25, 1.0, 4.0, 16.0)
TRAINED = EPOCHS, SHARES = "epochs-", "share-"
"""Beginnings of the names of the variants that are trained for this."""

Outputs = dict[str, torch.Tensor]
"""Outputs of each model by its name, float64, shape (probes, classes)."""
Matrix = Callable[[torch.Tensor], torch.Tensor]
Distances = dict[str, float]
"""Distance of each model to the source, by its name."""
Rows = Iterator[dict[str, Any]]


def table(run: Run) -> pd.DataFrame:
    """All ablations of a full run, kept as ``tables/ablations.csv``.

    Columns: ablation, series, setting (as text), attack, negatives, n_stolen, n_independent, auc,
    low, high, and for trained variants fidelity, the mean of the stolen models.

    Raises
    ------
    UserError
        If the run is not full: it has no variants.
    """
    if not run.profile.full:
        raise files.UserError(
            f"Run {run.profile.run_name} is not full, so it has no ablations; make one with FULL=1."
        )
    needed = {}
    for name in _variants(run, *TRAINED):
        digests = steps.digests(run.variant(name).profile)
        specs = steps.variant_specs(run.profile, name)
        run.variant(name).zoo.announce([spec.name for spec in specs])
        needed[name] = [digests[spec.name] for spec in specs]
    digest = run.digest("studies.ablations.rows", "run.make_logits", "run.make_probes", more=needed)
    return run.keep_table("ablations", digest, lambda: pd.DataFrame(rows(run)))


def tables_of(run: Run) -> tables.Tables:
    """SAC's tables of a full run, and its ablations."""
    return tables.of_run(run, ablations=table(run))


def rows(run: Run) -> Rows:
    """The rows of all ablations."""
    made = number_of_probes, output_form, bandwidth, patch, compression, surrogates, temperature
    for part in (*made, twin_radius, style, negatives):
        yield from part(run)
    # in each epoch of extraction every attacker image is asked about once; with fewer images at the
    # same number of queries, each is asked about more often
    yield from _trained(run, "extraction epochs", EPOCHS, lambda recipe: recipe.epochs)
    whole = steps.image_count(run.profile, "extract_label")
    yield from _trained(run, "attacker images", SHARES, lambda recipe: round(recipe.share * whole))


def _variants(run: Run, *prefixes: str) -> list[str]:
    return [name for name in run.profile.active_variants if name.startswith(prefixes)]


def _logits(run: Run, names: list[str], pixels: torch.Tensor) -> Outputs:
    return {name: training.logits_of(run.zoo.get(name), pixels).double() for name in names}


def _answers(run: Run, pixels: torch.Tensor) -> Outputs:
    """Logits on some images of the models that ablations judge."""
    judged = *ATTACKS, *(step for name in AGAINST for step in NEGATIVES[name])
    return _logits(run, [run.zoo.source, *run.names(*judged)], pixels)


def _predicted(run: Run) -> torch.Tensor:
    """Labels that the source and its surrogates predict on the probe split."""
    names = [run.zoo.source, *run.names(*steps.SURROGATES)]
    logits = _logits(run, names, run.material.splits["probe"].pixels)
    return torch.stack([values.argmax(1) for values in logits.values()])


def _formed(outputs: Outputs, form: str, source: torch.Tensor | None = None) -> Outputs:
    return {name: correlation.to_form(values, form, source) for name, values in outputs.items()}


def _distances(
    run: Run, outputs: Outputs, matrix: Matrix = correlation.cosine_matrix
) -> dict[str, float]:
    source, distance = matrix(outputs[run.zoo.source]), correlation.distance
    values = {name: distance(source, matrix(values)) for name, values in outputs.items()}
    return {name: round(value.item(), 12) for name, value in values.items()}


def _rows(
    run: Run,
    where: tuple,
    distance: dict[str, float],
    stolen: dict[str, list[str]] | None = None,
    independent: dict[str, list[str]] | None = None,
) -> Rows:
    """One row per attack and group of independent models, whose names are `ATTACKS` and `AGAINST`
    and their models if they are not given; `where`: ablation, series, setting.
    """
    stolen = stolen or {LABELS[attack]: run.names(attack) for attack in ATTACKS}
    independent = independent or {name: run.names(*NEGATIVES[name]) for name in AGAINST}
    for attack, copies in stolen.items():
        for group, others in independent.items():
            if not copies or not others:
                continue
            values = (np.array([distance[name] for name in names]) for names in (copies, others))
            clusters = tables.clusters(copies), tables.clusters(others)
            value = evaluation.auc(*values, clusters)
            row = dict(zip(("ablation", "series", "setting"), map(str, where), strict=True))
            row |= {"attack": attack, "negatives": group}
            row |= {"n_stolen": len(copies), "n_independent": len(others)}
            yield row | dict(zip(("auc", "low", "high"), value, strict=True))


def _both_forms(run: Run, ablation: str, series: str, settings: dict[Any, Outputs]) -> Rows:
    """Rows of several settings in both forms; ``{}`` in `series` is replaced by the form."""
    for form in FORMS:
        for setting, outputs in settings.items():
            distance = _distances(run, _formed(outputs, form))
            yield from _rows(run, (ablation, series.format(form), setting), distance)


def number_of_probes(run: Run) -> Rows:
    """10 to 400 probes of each set, as far as there are so many."""
    split, settings = run.material.splits["probe"], run.profile.probes
    wrong = _predicted(run) != split.labels.cpu()
    most = min(max(COUNTS), len(split.labels))
    device, position = split.pixels.device, settings.patch_position
    mixed = probes.cutmix(split, most, settings.patch, position, run.profile.seed)
    pool = {
        "normal": split.pixels[:most],
        "source": split.pixels[wrong[0].nonzero().squeeze(1)[:most].to(device)],
        "w": split.pixels[wrong.all(0).nonzero().squeeze(1)[:most].to(device)],
        "m": mixed.pixels,
    }
    for name, pixels in pool.items():
        outputs = _answers(run, pixels)
        counts = [count for count in COUNTS if count <= len(pixels)]
        parts = {n: {model: values[:n] for model, values in outputs.items()} for n in counts}
        series = f"{PROBE_SETS[name]}, {{}}"
        yield from _both_forms(run, "number of probes", series, parts)


def output_form(run: Run) -> Rows:
    """Logits, probabilities, what is left of them after rounding or top-k, and labels."""
    forms: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "logits": lambda z: z,
        "centred logits": lambda z: z - z.mean(-1, keepdim=True),
        "probabilities": lambda z: z.softmax(-1),
        "2 decimals": lambda z: z.softmax(-1).round(decimals=2),
        "1 decimal": lambda z: z.softmax(-1).round(decimals=1),
        "top 3": lambda z: correlation.top_k(z.softmax(-1), min(3, z.shape[-1])),
        "top 1 with probability": lambda z: correlation.top_k(z.softmax(-1), 1),
        "labels": lambda z: correlation.to_form(z, "labels"),
    }
    for probe_set in ("w", "m"):
        logits = {name: values.double() for name, values in run.logits[probe_set].items()}
        for name, form in forms.items():
            distance = _distances(run, {model: form(values) for model, values in logits.items()})
            yield from _rows(run, ("output form", PROBE_SETS[probe_set], name), distance)


def bandwidth(run: Run) -> Rows:
    r"""RBF matrices :math:`\exp(-\gamma \|u_i - u_j\|^2)`; the released :math:`\gamma` is 1."""
    kernels = {gamma: lambda cosine, g=gamma: torch.exp(-4 * g * cosine) for gamma in BANDWIDTHS}
    for form in ("probabilities", "logits"):
        matrices = {name: run.matrix("w", name, form) for name in run.names()}
        for setting, kernel in ({"cosine": lambda cosine: cosine} | kernels).items():
            distance = _distances(run, matrices, kernel)
            yield from _rows(run, ("bandwidth", f"SAC-w, {form}", setting), distance)


def patch(run: Run) -> Rows:
    """Size, position and donor of the CutMix patch."""
    split, count, seed = run.material.splits["probe"], run.profile.probes.count, run.profile.seed
    for position in ("corner", "centre", "random"):
        mixed = {size: probes.cutmix(split, count, size, position, seed).pixels for size in PATCHES}
        answers = {size: _answers(run, pixels) for size, pixels in mixed.items()}
        yield from _both_forms(run, "patch size", f"{position}, {{}}", answers)
    pixels, foreign = split.pixels[:count], run.material.splits["transfer_train"].pixels
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, pixels.shape, dtype=torch.uint8, generator=generator)
    drawn = torch.randint(len(foreign), (count,), generator=generator).to(foreign.device)
    donors = {"black": torch.zeros_like(pixels), "noise": noise.to(pixels.device)}
    donors["another data set"] = foreign[drawn].to(pixels.device)
    box = probes.patch_box(pixels.shape[-1], 0.5, "centre", generator)
    mixed = {"another probe": probes.cutmix(split, count, 0.5, "centre", seed).pixels}
    mixed |= {name: probes.paste(pixels, donor, *box) for name, donor in donors.items()}
    answers = {name: _answers(run, pixels) for name, pixels in mixed.items()}
    yield from _both_forms(run, "mixing source", "centre, half width, {}", answers)


def compression(run: Run) -> Rows:
    """JPEG quality of SAC-JC's probes, and no compression."""
    pixels = run.material.splits["probe"].pixels[: run.profile.probes.count]
    images = {"none": pixels} | {quality: jpeg(pixels, quality) for quality in QUALITIES}
    answers = {quality: _answers(run, seen) for quality, seen in images.items()}
    yield from _both_forms(run, "JPEG quality", "{}", answers)


def surrogates(run: Run) -> Rows:
    """SAC-w chosen with the source and the first 0, 1, 2 ... surrogates."""
    split, predicted = run.material.splits["probe"], _predicted(run)
    answers = {}
    for used in range(len(predicted)):
        made = probes.wrong(split, predicted[: used + 1], run.profile.probes.count)
        answers[used] = _answers(run, made.pixels)
    yield from _both_forms(run, "surrogates", "SAC-w, {}", answers)


def temperature(run: Run) -> Rows:
    """Stolen models whose service divides its logits by a temperature, which changes no label;
    independent models answer as they are. As published, and with every suspect's temperature
    matched to the source's.
    """
    logits = {name: values.double() for name, values in run.logits["w"].items()}
    kinds = ("finetune_last", *ATTACKS)
    stolen = {LABELS[attack]: run.names(attack) for attack in kinds}
    for setting in TEMPERATURES:
        shown = logits | {name: logits[name] / setting for name in run.names(*kinds)}
        for form in ("probabilities", "matched"):
            distance = _distances(run, _formed(shown, form, logits[run.zoo.source]))
            where = ("temperature", f"SAC-w, {form}", setting)
            yield from _rows(run, where, distance, stolen)


def twin_radius(run: Run) -> Rows:
    """ModelDiff's distance for twins within several radii."""
    splits = run.material.splits
    source = run.zoo.get(run.zoo.source)
    known = Setting(source, [], [], splits["probe"], splits["owner"], run.profile.seed)
    for radius in RADII:
        asked = modeldiff.queries(known, run.profile.probes.count, radius)
        outputs = _answers(run, asked.pixels.flatten(0, 1))
        pairs = {name: values.unflatten(0, (-1, 2)) for name, values in outputs.items()}
        theirs = pairs[run.zoo.source]
        moved = {name: modeldiff.distance(theirs, values, {}) for name, values in pairs.items()}
        distance = {name: round(value.item(), 12) for name, value in moved.items()}
        yield from _rows(run, ("twin radius", "ModelDiff, probabilities", radius), distance)


def style(run: Run) -> Rows:
    """Extract-L by thieves of several habits, against every group, for SAC-w and for AKH."""
    independent = {name: run.names(*kinds) for name, kinds in NEGATIVES.items()}
    labels = {name: values.argmax(1) for name, values in run.logits["source"].items()}
    unequal = {name: (values != labels[run.zoo.source]) for name, values in labels.items()}
    by_series = {"AKH, labels": {name: float(v.double().mean()) for name, v in unequal.items()}}
    for form in FORMS:
        outputs = {name: run.outputs("w", name, form) for name in run.names()}
        by_series[f"SAC-w, {form}"] = _distances(run, outputs)
    for series, distance in by_series.items():
        for habit in STYLES:
            where = ("thief's style", series, LABELS[habit])
            yield from _rows(run, where, distance, {"Extract-L": run.names(habit)}, independent)


def _trained(run: Run, ablation: str, prefix: str, setting: Callable[[Any], int]) -> Rows:
    """Extract-L students of the profile and of its variants with a common prefix, on SAC-w."""
    against = run.names(*(step for name in AGAINST for step in NEGATIVES[name]))
    others = {name: run.logits["w"][name].double() for name in (run.zoo.source, *against)}

    def value(made: Run) -> int:
        return setting(made.profile.recipes.extract_label)

    for made in sorted([run, *map(run.variant, _variants(run, prefix))], key=value):
        names = made.names("extract_label")
        fidelity = float(np.mean([made.zoo.record(name)["fidelity"] for name in names]))
        students = _logits(made, names, run.probes["w"].pixels)
        for form in FORMS:
            distance = _distances(run, _formed(students | others, form))
            where = (ablation, f"SAC-w, {form}", value(made))
            for row in _rows(run, where, distance, {LABELS["extract_label"]: names}):
                yield row | {"fidelity": fidelity}


def negatives(run: Run) -> Rows:
    """Groups of independent models: by data, architecture, style, and share of the owner's data."""
    specs = run.zoo.specs
    source, attacker = specs[run.zoo.source].architecture, run.names("independent")
    near = [name for name in attacker if specs[name].architecture == source]
    groups = {name: run.names(*kinds) for name, kinds in NEGATIVES.items()}
    groups |= {
        "attacker data, source's architecture": near,
        "attacker data, other architectures": [name for name in attacker if name not in near],
        "attacker data, plain": run.names("independent_plain"),
        "owner data, plain": run.names("independent_owner_plain"),
    }
    for name in run.names("overlap"):
        groups.setdefault(f"overlap, {specs[name].fraction:.0%}", []).append(name)
    for form in FORMS:
        distance = _distances(run, {name: run.outputs("w", name, form) for name in run.names()})
        for group, names in groups.items():
            where = ("negatives", f"SAC-w, {form}", group)
            yield from _rows(run, where, distance, independent={group: names})


def movements(table: pd.DataFrame) -> pd.DataFrame:
    """How far the AUC moves from setting to setting.

    Two settings are *apart* if their 95 % intervals are disjoint.

    One row per ablation, series, attack and, where they are not what is varied, negatives. Columns:
    settings (how many), lowest, highest (AUCs), low_at, high_at (their settings), range, pairs,
    apart (how many of them) and gap (largest difference of two settings that are apart, 0 if none
    are).
    """
    result = []
    names = ["ablation", "series", "attack", "negatives"]
    # where the groups are what is varied, they are the settings
    varied = table["negatives"].where(table["ablation"] != "negatives", "")
    for key, part in table.assign(negatives=varied).groupby(names, sort=False):
        least, most = part.loc[part["auc"].idxmin()], part.loc[part["auc"].idxmax()]
        auc, low, high = (part[name].to_numpy() for name in ("auc", "low", "high"))
        gaps = (auc[:, None] - auc)[low[:, None] > high]
        row = dict(zip(names, key, strict=True)) | {"settings": len(part)}
        row |= {"lowest": least["auc"], "low_at": least["setting"]}
        row |= {"highest": most["auc"], "high_at": most["setting"]}
        row |= {"range": most["auc"] - least["auc"], "pairs": len(part) * (len(part) - 1) // 2}
        result.append(row | {"apart": len(gaps), "gap": gaps.max(initial=0.0)})
    return pd.DataFrame(result)
