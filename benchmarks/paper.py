"""The paper's networks and data on one card: ``python -m benchmarks.paper --minutes 9``.

A shortened experiment: a VGG16-BN source trained on shifted and flipped images, 19 siblings, label
students of the source and of siblings, independent models on the owner's data, fine-tuned copies,
and what SAC-w and the sibling test need. Several processes share the card, each with the images in
its memory, and asks what it has trained. Models that are there are never trained again, and none
is started that would not be finished in time; what is not finished then is left out. Answers and
tables of the models that are there are written to a folder, weights stay in ``runs/``; repeat the
command to go on.
"""

import argparse
import json
import signal
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

STUDENTS = {"vgg16_bn": 2, "resnet18": 2, "densenet121": 1, "mobilenet_v2": 1}
SHORT = {
    "data": {"name": "imagefolder", "path": "data/cifar10", "image_size": 32},
    "transfer.data": {"name": "fashion_subset", "image_size": 32},
    "zoo.extracted_per_student": 2,
    "zoo.finetuned": 4,
    "zoo.independent_owner": STUDENTS,
    "zoo.surrogates": {"vgg19_bn": 1, "resnet34": 1},
}
"""What the experiment replaces in the profile ``paper``, beside the epochs."""
WANTED = ("source", "sibling", "surrogate", "finetune_all", "extract_label", "independent_owner")
WANTED += ("student_of_sibling", "control_sibling", "control_student", "control_reserve")
"""The kinds of model that are trained."""
CONTROLS = ("control_student", "control_reserve")
SLOWEST = ("densenet121", "mobilenet_v2", "resnet34", "resnet18")
"""Networks of many small layers, for which the card waits, slowest first."""
WRITING = 30
"""Seconds that are left for the tables."""
FILE = 15_000_000
"""Bytes of answers in one file, at most."""

Answers = dict[str, torch.Tensor]
"""Logits, float32 (candidates, classes), of each model by name."""


def shortened(epochs: int) -> dict[str, Any]:
    """The experiment's values in place of those of the profile ``paper``."""
    recipes = ("source", "surrogate", "independent", "extract_label", "finetune_all")
    return SHORT | {f"recipes.{name}.epochs": epochs for name in recipes}


def train_one(profile: str, values: dict[str, Any], folder: Path, name: str, until: float) -> float:
    """Train and ask one model in this process, which keeps the images for the next; returns the
    seconds. A ``UserError`` if it is not done at the time `until`.
    """

    def stop(*_: object) -> None:
        raise files.UserError(f"{name}: the time is up.")

    started = time.monotonic()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(until - started, 0.001))
    try:
        answers_of(opened(profile, json.dumps(values), folder), name)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
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
    all; returns what is left to train at the time `until`, of ``time.monotonic``.

    No model is started that would not be finished by then, if it took as long as the longest of its
    network so far, or of all. What is not finished all the same, or diverges with every seed, is
    reported and left out, and so is what is made from it.
    """
    call = (run.profile.name, run.profile.overrides, run.shared.parent)
    source, longest, lost = run.zoo.source, dict[str, float](), set[str | None]()
    running: dict[Future, str] = {}
    with ProcessPoolExecutor(processes, card.processes()) as pool:
        while True:
            missing = run.zoo.missing(names)
            needs = {name: {run.zoo.specs[name].parent, source} - {name} for name in missing}
            lost |= {name for name in missing if needs[name] & lost}
            missing = [name for name in missing if name not in lost]
            ready = [name for name in missing if not needs[name].intersection(missing)]
            ready = [name for name in ready if name not in running.values()]
            left, guess = until - time.monotonic(), max(longest.values(), default=0.0)
            kinds = {name: run.zoo.specs[name].architecture for name in ready}
            ready = [name for name in ready if longest.get(kinds[name], guess) < left]
            for name in in_turn(run, ready, missing)[: processes - len(running)]:
                running[pool.submit(train_one, *call, name, until)] = name
            if not running:
                return missing
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                try:
                    kind = run.zoo.specs[name].architecture
                    longest[kind] = max(longest.get(kind, 0.0), future.result())
                except files.UserError as error:
                    if name == source:
                        raise
                    print(f"{error} It is left out.", flush=True)
                    lost.add(name)


def in_turn(run: Run, ready: list[str], missing: list[str]) -> list[str]:
    """Parents first; then one of the networks for which the card waits, and one that keeps it busy,
    by turns. Siblings that teach nobody come last: what there is of them suffices for the tables.
    """
    parents = {run.zoo.specs[name].parent for name in missing}
    first = [name for name in ready if name in parents]
    rest = [name for name in ready if name not in parents]
    rest.sort(key=lambda name: run.zoo.specs[name].step == "sibling")
    kind = {name: run.zoo.specs[name].architecture for name in rest}
    slow = [name for network in SLOWEST for name in rest if kind[name] == network]
    fast = [name for name in rest if name not in slow]
    pairs = [name for pair in zip(slow, fast, strict=False) for name in pair]
    return first + pairs + slow[len(pairs) // 2 :] + fast[len(pairs) // 2 :]


def candidates(run: Run) -> tuple[torch.Tensor, int]:
    """What all models are asked about, uint8: the sibling test's candidates, which begin with the
    probe split, and behind them the probes of SAC-m and SAC-JC; and where these begin.
    """
    split, settings, seed = run.material.splits["probe"], run.profile.probes, run.profile.seed
    made = [probes.make(name, split, [], settings, seed).pixels for name in ("m", "jc")]
    pool = verdicts.candidates(run)
    return torch.cat([pool, *made]), len(pool)


def answers_of(run: Run, name: str) -> torch.Tensor:
    """A model's logits of the candidates, in 32-bit precision; it is trained if it is missing."""
    digest = run.digest("studies.verdicts.candidates", "training.logits_of")

    def ask() -> dict[str, torch.Tensor]:
        return {"logits": training.logits_of(fresh_zoo(run).get(name), candidates(run)[0])}

    return run.keep_tensors(f"answers/{run.zoo.path(name).stem}", digest, ask)["logits"]


def distances(run: Run, answers: Answers, begin: int) -> pd.DataFrame:
    """Distance of each suspect to the source on SAC's published probe sets, in the forms that a
    service shows: columns of :func:`tables.distance_row`.
    """
    split, settings, seed = run.material.splits["probe"], run.profile.probes, run.profile.seed
    count, predicted = settings.count, [run.zoo.source, *there(run, answers, "surrogate")]
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


def zoo_table(run: Run, answers: Answers, records: list[dict[str, Any]]) -> pd.DataFrame:
    """The models that answered: what their records say, their accuracy on the probe split as it is,
    which none of them learned from, and how often they give the source's answer there.
    """
    labels = run.material.splits["probe"].labels.cpu()
    given = {name: logits[: len(labels)].argmax(1) for name, logits in answers.items()}
    rows = pd.DataFrame(records)[["name", "step", "architecture", "seconds", "attempt"]]
    told = {"probe_accuracy": labels, "probe_fidelity": given[run.zoo.source]}
    shares = {
        column: [(given[name] == truth).double().mean().item() for name in rows["name"]]
        for column, truth in told.items()
    }
    return rows.assign(**shares)


def there(run: Run, answers: Answers, *kinds: str) -> list[str]:
    """The models of some kinds that answered."""
    return [name for name in run.names(*kinds) if name in answers]


def suspects(run: Run, answers: Answers) -> list[steps.Spec]:
    """The stolen and the independent models among those that answered."""
    return [spec for spec in run.evaluated() if spec.name in answers]


def sibling_test(run: Run, answers: Answers, begin: int) -> pd.DataFrame:
    """The sibling test of the source on each suspect from its labels, with each number of probes.

    A sibling, and a student of one, is judged without that sibling. Columns: suspect, group,
    derived, n_probes, p_siblings, rank_p, p_controls, p.
    """
    own = [run.zoo.source, *there(run, answers, "sibling")]
    helpers = there(run, answers, *CONTROLS)
    labels = torch.stack([answers[name][:begin].argmax(1) for name in own])
    images = begin // (1 + run.profile.probes.views)
    rows = []
    for count in run.profile.probes.contested:
        index = verdicts.choose(labels, images, count)
        theirs = torch.stack([answers[name][index].double().log_softmax(1) for name in own])
        asked = [*helpers, *(spec.name for spec in suspects(run, answers))]
        given = torch.stack([answers[name][index].argmax(1) for name in asked])
        scores = dict(zip(asked, siblings.scores(theirs, given), strict=True))
        controls = torch.stack([scores[name] for name in helpers])
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
    """Write answers (half precision), tables and the record to a folder."""
    begin = candidates(run)[1]
    answers = {name: answers_of(run, name) for name in names}
    halves = {name: logits.half() for name, logits in answers.items()}
    each = max(1, FILE // next(iter(halves.values())).nbytes)
    for i in range(0, len(names), each):
        part = {name: halves[name] for name in names[i : i + each]}
        with files.atomic_path(folder / f"answers-{i // each}.safetensors") as temporary:
            safetensors.torch.save_file(part, temporary)
    # read as they are: a zoo loads a model before it hands out the record, half a gigabyte each
    records = [files.read_json(run.zoo.path(name).with_suffix(".json")) for name in names]
    measured = distances(run, answers, begin)
    made = {
        "zoo": zoo_table(run, answers, records),
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
    """Train for some minutes and write answers and tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--values", type=json.loads, help="replaced values, as JSON")
    parser.add_argument("--to", type=Path, default=files.home() / "runs" / "gpu")
    given = parser.parse_args(arguments)
    until = time.monotonic() + 60 * given.minutes - WRITING
    run = open_run(given.profile, given.values or shortened(given.epochs))
    _ = run.material  # made once, before several processes read it
    names = run.names(*WANTED)
    train(run, names, given.processes, until)
    there = [name for name in names if run.zoo.path(name).with_suffix(".json").exists()]
    print(f"{len(there)} of {len(names)} models are there.", flush=True)
    write(run, there, given.to, given.processes)
    print(f"Answers and tables: {given.to}")
    if len(there) < len(names):
        print("Repeat the command to go on.")


if __name__ == "__main__":
    main()
