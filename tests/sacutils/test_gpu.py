"""What is ready for a GPU is stepped through on the processor, at tiny size."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch

from benchmarks import card, paper
from sacutils import files, steps
from sacutils.files import UserError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/gpu.sh"
BLOCK = """
import importlib.metadata, sys
names = ("snakemake", "papermill", "jupytext", "jupyter_book", "myst_nb")
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in names:
            raise ModuleNotFoundError(f"{name} is not on a machine that only trains")
sys.meta_path.insert(0, Absent())
known = importlib.metadata.version
def version(name):
    if name in ("papermill", "jupyter-book"):
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)
importlib.metadata.version = version
"""
FEW = {"zoo.siblings": 4, "probes.views": 0, "zoo.finetuned": 3}
"""Of the smoke zoo, with one model that it does not have."""


def test_the_experiment_runs_where_nothing_makes_a_book(run, tmp_path):
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    for name, target in (("profiles", ROOT / "profiles"), ("data", ROOT / "data")):
        (home / name).symlink_to(target)
    (home / "runs").symlink_to(run.shared.parent)
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    mps = tmp_path / "bin/nvidia-cuda-mps-control"
    mps.parent.mkdir()
    mps.write_text(f'#!/bin/sh\necho "$*" >>"{tmp_path}/mps"; [ "$*" ] || cat >>"{tmp_path}/mps"\n')
    mps.chmod(0o755)
    own = {"SAC_HOME": str(home), "PYTHONPATH": str(tmp_path), "PYTHON": sys.executable}
    own |= {"PATH": f"{mps.parent}:{os.environ['PATH']}"}
    command = [SCRIPT, "paper", "--profile", "smoke", "--values", json.dumps(FEW)]
    done = subprocess.run(
        [*command, "--processes", "1"],
        env=os.environ | own | {"OUT": str(out)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "source(vgg_bn_s)#0 > finetune_all#2" in done.stdout
    assert (tmp_path / "mps").read_text().split() == ["-d", "quit"]

    zoo, tests = pd.read_csv(out / "zoo.csv"), pd.read_csv(out / "sibling_test.csv")
    assert set(zoo["step"]) == set(paper.WANTED)
    answers = safetensors.torch.load_file(out / "answers-0.safetensors")
    assert set(answers) == set(zoo["name"])
    pool = run.profile.splits.probe + run.profile.splits.reserve
    assert {logits.shape for logits in answers.values()} == {(pool + 2 * 10, 10)}
    # as the whole zoo has them: probes and answers do not depend on what else there is
    known = pd.read_csv(ROOT / "runs/smoke/tables/sac_distances.csv")
    keys = ["probes", "n_probes", "form", "measure", "model"]
    both = pd.read_csv(out / "distances.csv").merge(known, on=keys, suffixes=("", "_known"))
    both = both[both["probes"] != "SAC-w"]  # fewer surrogates choose these
    assert len(both) > 100 and (both["distance"] - both["distance_known"]).abs().max() < 1e-5
    assert set(pd.read_csv(out / "auc.csv")["negatives"]) >= {"siblings", "students of another"}
    counted = tests.groupby("derived")["suspect"].nunique()
    assert counted[True] and counted[False] and tests["p"].between(0, 1).all()
    record = files.read_json(out / "record.json")
    assert record["models"] == len(zoo) and "papermill" not in record["versions"]

    target = tmp_path / "results"
    subprocess.run([SCRIPT, "collect", out, target], check=True, capture_output=True)
    assert sorted(path.name for path in target.iterdir()) == [
        *("auc.csv", "distances.csv", "record.json", "sibling_test.csv", "zoo.csv")
    ]


def test_a_model_is_not_started_when_time_is_up(run):
    name = f"{run.zoo.source} > finetune_all#0"
    assert paper.train(run, [name], 1, until=0) == []
    path = run.zoo.path(name)
    hidden = path.rename(path.with_suffix(".hidden"))
    assert paper.train(run, [name], 1, until=0) == [name]
    hidden.rename(path)


def test_a_model_is_given_up_when_time_is_up(run, monkeypatch):
    monkeypatch.setattr(paper, "answers_of", lambda *_: time.sleep(60))
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(UserError, match="source: the time is up"):
        paper.train_one("smoke", {}, run.shared.parent, "source", time.monotonic() + 0.1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    signal.signal(signal.SIGALRM, before)


def test_what_the_paper_run_replaces_fits_the_profile():
    from sacutils.profiles import load_profile

    plan = steps.plan(load_profile("paper", paper.shortened(60))).values()
    counts = {step: sum(spec.step == step for spec in plan) for step in paper.WANTED}
    assert counts["source"] == 1 and counts["sibling"] == 19
    assert counts["extract_label"] == counts["student_of_sibling"] == 8
    assert counts["independent_owner"] == 6 and counts["finetune_all"] == 4


def test_rates_are_measured(capsys):
    sizes = ["--images", "64", "--epochs", "1", "--side-by-side", "1"]
    card.main(["--networks", "resnet_s", *sizes])
    _, line = capsys.readouterr().out.splitlines()
    assert line.split()[0] == "resnet_s" and len(line.split()) == 6
    assert all(float(value.replace(",", "")) > 0 for value in line.split()[1:])
