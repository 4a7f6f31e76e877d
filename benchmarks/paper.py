"""The paper's networks and data on one card: ``python -m benchmarks.paper --minutes 9``.

A shortened experiment: a VGG16-BN source trained on shifted and flipped images, 19 siblings, label
students of the source and of siblings, independent models on the owner's data, fine-tuned copies,
and what SAC-w and the sibling test need. Several processes share the card, each with the images in
its memory. Models that are there are never trained again, and none is started that would not be
finished in time: repeat the command until it says that nothing is missing. Answers and tables are
then written to a folder; weights stay in ``runs/``.
"""

import argparse
import json
import subprocess
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch

from sacutils import correlation, files, probes, siblings, steps, training
from sacutils.run import Run, open_run
from sacutils.steps import STEPS
from sacutils.studies import tables, verdicts
from sacutils.zoo import Zoo

from . import card

EPOCHS = 60
STUDENTS = {"vgg16_bn": 2, "resnet18": 2, "densenet121": 1, "mobilenet_v2": 1}
SHORT = {
    "data": {"name": "imagefolder", "path": "data/cifar10", "image_size": 32},
    "transfer.data": {"name": "fashion_subset", "image_size": 32},
    "zoo.extracted_per_student": 2,
    "zoo.finetuned": 4,
    "zoo.independent_owner": STUDENTS,
    "zoo.surrogates": {"vgg19_bn": 1, "resnet34": 1},
    **{f"recipes.{name}.epochs": EPOCHS for name in ("source", "surrogate", "independent")},
    "recipes.extract_label.epochs": EPOCHS,
}
"""What the experiment replaces in the profile ``paper``."""
WANTED = ("source", "sibling", "surrogate", "finetune_all", "extract_label", "independent_owner")
WANTED += ("student_of_sibling", "control_sibling", "control_student", "control_reserve")
"""The kinds of model that are trained."""
CONTROLS = ("control_student", "control_reserve")
FILE = 15_000_000
"""Bytes of answers in one file, at most."""

Answers = dict[str, torch.Tensor]
"""Logits, float32 (candidates, classes), of each model by name."""


def train_one(profile: str, values: dict[str, Any], folder: Path, name: str) -> float:
    """Train one model in this process, which keeps the images for the next; returns the seconds."""
    started = time.monotonic()
    fresh_zoo(opened(profile, json.dumps(values), folder)).get(name)
    return time.monotonic() - started


@cache
def opened(profile: str, values: str, folder: Path) -> Run:
    """A run that keeps its images on the card; `values` as JSON."""
    return open_run(profile, json.loads(values), folder)


def fresh_zoo(run: Run) -> Zoo:
    """A zoo with nothing loaded: what it loads leaves the card with it."""
    return Zoo(run.profile, run.zoo.folder, run.material)


def train(run: Run, names: list[str], processes: int, until: float) -> list[str]:
    """Train what is missing of some models, several at once, parents first and the source before
    all; returns what is still missing at the time `until`, of ``time.monotonic``.

    No model is started that would not be finished by then, if it took as long as the longest so
    far.
    """
    call = (run.profile.name, run.profile.overrides, run.shared.parent)
    source, longest = run.zoo.source, 0.0
    running: dict[Future, str] = {}
    with ProcessPoolExecutor(processes, card.processes()) as pool:
        while True:
            missing = run.zoo.missing(names)
            needs = {name: {run.zoo.specs[name].parent, source} - {name} for name in missing}
            ready = [name for name in missing if not needs[name].intersection(missing)]
            ready = [name for name in ready if name not in running.values()]
            free = processes - len(running) if time.monotonic() + longest < until else 0
            running |= {pool.submit(train_one, *call, name): name for name in ready[:free]}
            if not running:
                return missing
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                longest = max(longest, future.result())
                del running[future]


def candidates(run: Run) -> tuple[torch.Tensor, int]:
    """What all models are asked about, uint8: the sibling test's candidates, which begin with the
    probe split, and behind them the probes of SAC-m and SAC-JC; and where these begin.
    """
    split, settings, seed = run.material.splits["probe"], run.profile.probes, run.profile.seed
    made = [probes.make(name, split, [], settings, seed).pixels for name in ("m", "jc")]
    pool = verdicts.candidates(run)
    return torch.cat([pool, *made]), len(pool)


def ask(run: Run, names: list[str], pixels: torch.Tensor) -> Answers:
    """Every model's answers, in 32-bit precision; one model at a time is on the card."""
    return {name: training.logits_of(fresh_zoo(run).get(name), pixels) for name in names}


def distances(run: Run, answers: Answers, begin: int) -> pd.DataFrame:
    """Distance of each suspect to the source on SAC's published probe sets, in the forms that a
    service shows: columns of :func:`tables.distance_row`.
    """
    split, settings, seed = run.material.splits["probe"], run.profile.probes, run.profile.seed
    count, predicted = settings.count, [run.zoo.source, *run.names("surrogate")]
    labels = [answers[name][: len(split.labels)].argmax(1) for name in predicted]
    places = {
        name: probes.make(name, split, labels, settings, seed).index
        for name in ("normal", "source", "w")
    }
    places |= {"m": torch.arange(begin, begin + count)}
    places |= {"jc": torch.arange(begin + count, begin + 2 * count)}
    rows = []
    for name, label in probes.PUBLISHED.items():
        for form in correlation.SERVED:
            matrices = {
                model: correlation.cosine_matrix(
                    correlation.to_form(logits[places[name]].double(), form)
                )
                for model, logits in answers.items()
            }
            for spec in suspects(run, answers):
                value = correlation.distance(matrices[run.zoo.source], matrices[spec.name])
                key = (label, form, "cosine")
                rows.append(tables.distance_row(key, count, spec, spec.name, float(value)))
    return pd.DataFrame(rows)


def suspects(run: Run, answers: Answers) -> list[steps.Spec]:
    """The stolen and the independent models among those that answered."""
    return [spec for spec in run.evaluated() if spec.name in answers]


def sibling_test(run: Run, answers: Answers, begin: int) -> pd.DataFrame:
    """The sibling test of the source on each suspect from its labels, with each number of probes.

    A sibling, and a student of one, is judged without that sibling. Columns: suspect, group,
    derived, n_probes, p_siblings, rank_p, p_controls, p.
    """
    own = [run.zoo.source, *run.names("sibling")]
    labels = torch.stack([answers[name][:begin].argmax(1) for name in own])
    images = begin // (1 + run.profile.probes.views)
    rows = []
    for count in run.profile.probes.contested:
        index = verdicts.choose(labels, images, count)
        theirs = torch.stack([answers[name][index].double().log_softmax(1) for name in own])
        asked = [*run.names(*CONTROLS), *(spec.name for spec in suspects(run, answers))]
        given = torch.stack([answers[name][index].argmax(1) for name in asked])
        scores = dict(zip(asked, siblings.scores(theirs, given), strict=True))
        controls = torch.stack([scores[name] for name in run.names(*CONTROLS)])
        for spec in suspects(run, answers):
            origin = spec.name.split(" > ")[0]
            kept = [i for i, name in enumerate(own) if name != origin or i == 0]
            found = siblings.sibling_test(scores[spec.name][kept], controls[:, kept])
            row = {"suspect": spec.name, "group": STEPS[spec.step].label}
            row |= {"derived": STEPS[spec.step].role == "stolen", "n_probes": count}
            rows.append(row | {name: float(value) for name, value in found._asdict().items()})
    return pd.DataFrame(rows)


def machine() -> str:
    """Name and driver of the card, or the processor."""
    if not torch.cuda.is_available():
        return files.hardware()
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


def write(run: Run, names: list[str], folder: Path, processes: int) -> None:
    """Ask all models and write answers (half precision), tables and the record to a folder."""
    pixels, begin = candidates(run)
    answers = ask(run, names, pixels)
    halves = {name: logits.half() for name, logits in answers.items()}
    each = max(1, FILE // next(iter(halves.values())).nbytes)
    for i in range(0, len(names), each):
        part = {name: halves[name] for name in names[i : i + each]}
        with files.atomic_path(folder / f"answers-{i // each}.safetensors") as temporary:
            safetensors.torch.save_file(part, temporary)
    records = [run.zoo.record(name) for name in names]
    columns = ["name", "step", "architecture", "test_accuracy", "fidelity", "query_accuracy"]
    columns += ["query_fidelity", "seconds", "attempt"]
    measured = distances(run, answers, begin)
    made = {
        "zoo": pd.DataFrame(records)[columns],
        "distances": measured,
        "auc": tables.auc_table(measured),
        "sibling_test": sibling_test(run, answers, begin),
    }
    for name, table in made.items():
        files.write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    seconds = round(sum(record["seconds"] for record in records))
    record = {"profile": run.profile.name, "replaced": run.profile.overrides, "models": len(names)}
    record |= {"seconds of training, all models": seconds, "side by side": processes}
    record |= {"card": machine()} | files.provenance()
    files.write_json(folder / "record.json", record)


def main(arguments: list[str] | None = None) -> None:
    """Train for some minutes; when nothing is missing, write answers and tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--values", type=json.loads, default=SHORT, help="replaced values, as JSON")
    parser.add_argument("--to", type=Path, default=files.home() / "runs" / "gpu")
    given = parser.parse_args(arguments)
    until = time.monotonic() + 60 * given.minutes
    run = open_run(given.profile, given.values)
    _ = run.material  # made once, before several processes read it
    names = run.names(*WANTED)
    missing = train(run, names, given.processes, until)
    print(f"{len(names) - len(missing)} of {len(names)} models are there.")
    if missing:
        print("Repeat the command to go on.")
        return
    write(run, names, given.to, given.processes)
    print(f"Answers and tables: {given.to}")


if __name__ == "__main__":
    main()
