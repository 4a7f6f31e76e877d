"""What SAC's answer depends on: one choice is varied at a time, everything else stays as the profile has it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from . import correlation, evaluation, lineage, probes, training
from .data import jpeg
from .probes import PROBE_SETS

if TYPE_CHECKING:
    from .runs import Run

ATTACKS = ("prune", "extract_label", "extract_probability", "extract_adversarial")
"""Attacks that are varied over: those that the probes do not find at once."""

COUNTS = (10, 20, 50, 100, 200, 400)
PATCHES = (0.1, 0.2, 0.35, 0.5, 0.75)
QUALITIES = (75, 50, 25, 18, 15, 10, 7)
BANDWIDTHS = (0.25, 1.0, 4.0, 16.0)

# outputs of each model by its name, float64, shape (probes, classes)
Outputs = dict[str, torch.Tensor]
Matrix = Callable[[torch.Tensor], torch.Tensor]


def _answers(run: "Run", pixels: torch.Tensor) -> Outputs:
    names = [run.zoo.source, *run.names(*ATTACKS, *lineage.IRRELEVANT)]
    return {name: training.logits_of(run.zoo.get(name), pixels).double() for name in names}


def _distances(run: "Run", outputs: Outputs, matrix: Matrix = correlation.cosine_matrix) -> dict[str, float]:
    theirs = matrix(outputs[run.zoo.source])
    return {name: round(correlation.distance(theirs, matrix(values)).item(), 12) for name, values in outputs.items()}


def _row(
    run: "Run", ablation: str, series: str, setting: Any, attack: str, stolen: list[float], irrelevant: list[float]
) -> dict:
    settings = (run.profile.bootstrap, run.profile.seed)
    value = evaluation.auc(np.array(stolen), np.array(irrelevant), *settings)
    return {
        "ablation": ablation,
        "series": series,
        "setting": str(setting),
        "attack": lineage.LABELS[attack],
        "n_stolen": len(stolen),
        "n_irrelevant": len(irrelevant),
        "auc": value.value,
        "low": value.low,
        "high": value.high,
        "fidelity": np.nan,
    }


def _rows(run: "Run", ablation: str, series: str, setting: Any, distance: dict[str, float]) -> Iterator[dict[str, Any]]:
    """One row per attack, against the irrelevant models on attacker data."""
    irrelevant = [distance[name] for name in run.names("irrelevant")]
    for attack in ATTACKS:
        yield _row(run, ablation, series, setting, attack, [distance[name] for name in run.names(attack)], irrelevant)


def _formed(outputs: Outputs, form: str) -> Outputs:
    return {name: correlation.to_form(values, form) for name, values in outputs.items()}


def _pool(run: "Run") -> dict[str, torch.Tensor]:
    """Up to 400 images of each probe set, in the order in which the profile takes its own."""
    split = run.material.splits["probe"]
    names = [run.zoo.source, *run.names("surrogate")]
    wrong = torch.stack([training.logits_of(run.zoo.get(name), split.pixels).argmax(1) != split.labels.cpu() for name in names])
    largest = min(max(COUNTS), len(split.labels))
    settings = run.profile.probes
    mixed = probes.cutmix(split, largest, settings.patch, settings.patch_position, run.profile.seed)
    return {
        "normal": split.pixels[:largest],
        "source": split.pixels[wrong[0].nonzero().squeeze(1)[:largest].to(split.pixels.device)],
        "w": split.pixels[wrong.all(0).nonzero().squeeze(1)[:largest].to(split.pixels.device)],
        "m": mixed.pixels,
    }


def number_of_probes(run: "Run") -> Iterator[dict[str, Any]]:
    """10 to 400 probes of each set, as far as there are so many."""
    for name, pixels in _pool(run).items():
        outputs = _answers(run, pixels)
        for form in ("probabilities", "labels"):
            formed = _formed(outputs, form)
            for count in COUNTS:
                if count <= len(pixels):
                    distance = _distances(run, {model: values[:count] for model, values in formed.items()})
                    yield from _rows(run, "number of probes", f"{PROBE_SETS[name]}, {form}", count, distance)


def output_form(run: "Run") -> Iterator[dict[str, Any]]:
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
        for name, form in forms.items():
            outputs = {model: form(run.logits[probe_set][model].double()) for model in run.names()}
            yield from _rows(run, "output form", PROBE_SETS[probe_set], name, _distances(run, outputs))


def bandwidth(run: "Run") -> Iterator[dict[str, Any]]:
    r"""RBF matrices :math:`\exp(-\gamma \|u_i - u_j\|^2)` beside the cosine; :math:`\gamma = 1` is the released code's."""
    for form in ("probabilities", "logits"):
        outputs = {name: run.outputs("w", name, form) for name in run.names()}
        yield from _rows(run, "bandwidth", f"SAC-w, {form}", "cosine", _distances(run, outputs))
        for gamma in BANDWIDTHS:
            distance = _distances(run, outputs, lambda o, gamma=gamma: torch.exp(-4 * gamma * correlation.cosine_matrix(o)))
            yield from _rows(run, "bandwidth", f"SAC-w, {form}", gamma, distance)


def _mixed(run: "Run", ratio: float, position: str, donors: torch.Tensor | None) -> torch.Tensor:
    """SAC-m's probes with a patch of another size or place, or of other donors; the generator draws the box first."""
    split, count = run.material.splits["probe"], run.profile.probes.count
    if donors is None:
        return probes.cutmix(split, count, ratio, position, run.profile.seed).pixels
    generator = torch.Generator().manual_seed(run.profile.seed)
    top, left, side = probes.patch_box(split.pixels.shape[-1], ratio, position, generator)
    return probes.paste(split.pixels[:count], donors.to(split.pixels.device), top, left, side)


def patch(run: "Run") -> Iterator[dict[str, Any]]:
    """Size, place and donor of the CutMix patch."""
    split, count = run.material.splits["probe"], run.profile.probes.count
    shape = split.pixels[:count].shape
    foreign = run.material.splits["transfer_train"].pixels
    generator = torch.Generator().manual_seed(run.profile.seed)
    donors = {
        "another probe": None,
        "black": torch.zeros(shape, dtype=torch.uint8),
        "noise": torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        "another data set": foreign[torch.randint(len(foreign), (count,), generator=generator).to(foreign.device)],
    }
    sized = {
        (position, ratio): _answers(run, _mixed(run, ratio, position, None))
        for position in ("corner", "centre", "random")
        for ratio in PATCHES
    }
    filled = {name: _answers(run, _mixed(run, 0.5, "centre", donor)) for name, donor in donors.items()}
    for form in ("probabilities", "labels"):
        for (position, ratio), outputs in sized.items():
            yield from _rows(run, "patch size", f"{position}, {form}", ratio, _distances(run, _formed(outputs, form)))
        for name, outputs in filled.items():
            distance = _distances(run, _formed(outputs, form))
            yield from _rows(run, "mixing source", f"centre, half width, {form}", name, distance)


def compression(run: "Run") -> Iterator[dict[str, Any]]:
    """JPEG quality of SAC-JC's probes, and no compression."""
    pixels = run.material.splits["probe"].pixels[: run.profile.probes.count]
    for quality in (None, *QUALITIES):
        outputs = _answers(run, pixels if quality is None else jpeg(pixels, quality))
        for form in ("probabilities", "labels"):
            setting = "none" if quality is None else quality
            yield from _rows(run, "JPEG quality", form, setting, _distances(run, _formed(outputs, form)))


def surrogates(run: "Run") -> Iterator[dict[str, Any]]:
    """SAC-w chosen with the source and the first 0, 1, 2 ... surrogates."""
    split, names = run.material.splits["probe"], run.names("surrogate")
    for used in range(len(names) + 1):
        models = [run.zoo.get(name) for name in (run.zoo.source, *names[:used])]
        outputs = _answers(run, probes.make("w", split, models, run.profile.probes, run.profile.seed).pixels)
        for form in ("probabilities", "labels"):
            yield from _rows(run, "surrogates", f"SAC-w, {form}", used, _distances(run, _formed(outputs, form)))


def _trained(run: "Run", ablation: str, prefix: str, setting: Callable[["Run"], Any]) -> Iterator[dict[str, Any]]:
    """Extract-L students of the variants with a common prefix, and of the profile itself, on SAC-w."""
    made = [run, *(run.variant(name) for name in run.profile.variants if name.startswith(prefix))]
    for place in sorted(made, key=setting):
        fidelity = [place.zoo.record(name)["fidelity"] for name in place.names("extract_label")]
        answers = {
            name: training.logits_of(place.zoo.get(name), run.probes["w"].pixels).double()
            for name in place.names("extract_label")
        }
        for form in ("probabilities", "labels"):
            outputs = _formed(
                answers | {name: run.logits["w"][name].double() for name in (run.zoo.source, *run.names("irrelevant"))}, form
            )
            distance = _distances(run, outputs)
            stolen, irrelevant = (
                [distance[name] for name in names] for names in (place.names("extract_label"), run.names("irrelevant"))
            )
            row = _row(run, ablation, f"SAC-w, {form}", setting(place), "extract_label", stolen, irrelevant)
            yield row | {"fidelity": float(np.mean(fidelity))}


def epochs(run: "Run") -> Iterator[dict[str, Any]]:
    """Epochs of extraction, and with them queries: each epoch asks the source once for each of the attacker's images."""
    yield from _trained(run, "extraction epochs", "epochs-", lambda place: place.profile.recipes.extract_label.epochs)


def attacker_images(run: "Run") -> Iterator[dict[str, Any]]:
    """Attacker's images at an unchanged number of queries: fewer images are asked about more often."""
    whole = len(run.material.splits["attacker"].labels)
    yield from _trained(
        run, "attacker images", "share-", lambda place: round(place.profile.recipes.extract_label.share * whole)
    )


def negatives(run: "Run") -> Iterator[dict[str, Any]]:
    """Groups of irrelevant models: by data, by architecture, and trained with the students' recipe."""
    source = run.zoo.specs[run.zoo.source].architecture
    attacker, owner = run.names("irrelevant"), run.names("irrelevant_owner")
    groups = {
        "attacker data": attacker,
        "attacker data, source's architecture": [name for name in attacker if run.zoo.specs[name].architecture == source],
        "attacker data, other architectures": [name for name in attacker if run.zoo.specs[name].architecture != source],
        "owner data": owner,
    }
    for form in ("probabilities", "labels"):
        distance = _distances(run, {name: run.outputs("w", name, form) for name in run.names()})
        values = {group: [distance[name] for name in names] for group, names in groups.items() if names}
        if "students-recipe" in run.profile.variants:
            place = run.variant("students-recipe")
            outputs = {
                name: correlation.to_form(training.logits_of(place.zoo.get(name), run.probes["w"].pixels).double(), form)
                for name in place.names("irrelevant")
            }
            apart = _distances(run, outputs | {run.zoo.source: run.outputs("w", run.zoo.source, form)})
            values["attacker data, students' recipe"] = [apart[name] for name in place.names("irrelevant")]
        for group, irrelevant in values.items():
            for attack in ATTACKS:
                stolen = [distance[name] for name in run.names(attack)]
                yield _row(run, "negatives", f"SAC-w, {form}", group, attack, stolen, irrelevant)


def table(run: "Run") -> pd.DataFrame:
    """All ablations.

    Returns
    -------
    pandas.DataFrame
        Columns ablation, series, setting (as text), attack, n_stolen, n_irrelevant, auc, low, high, and for trained variants
        the mean fidelity of the stolen models.
    """
    parts = (number_of_probes, output_form, bandwidth, patch, compression, surrogates, epochs, attacker_images, negatives)
    return pd.DataFrame([row for part in parts for row in part(run)])
