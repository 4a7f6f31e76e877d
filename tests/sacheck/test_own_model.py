"""The page for a reader's own model: its code blocks give the verdicts that it promises."""

import json
import os
import re
import subprocess
import sys

import yaml

from sacheck.service import Service
from sacutils import files

PAGE = (files.home() / "book" / "17_own_model.md").read_text(encoding="utf-8")
BLOCKS = {
    name: text
    for name, text in re.findall(
        r"```\{code-block\} \w+\n:caption: (\S+)\n(.*?)```", PAGE, re.DOTALL
    )
}


def test_the_example_runs_as_printed(tmp_path):
    for name in ("mynet.py", "train.py"):
        (tmp_path / name).write_text(BLOCKS[name])
    script, there = re.subn(r"(?m)^PYTHON=.*$", f'PYTHON="{sys.executable}"', BLOCKS["check.sh"])
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout
    assert there == 1 and done.returncode == 0, said + done.stderr
    assert "Commitment: " in said and said.count("exit code 3") == 2
    measured = json.loads((tmp_path / "owned/power.json").read_text())
    assert all(found["found"]["those brought"][0] for found in measured.values())
    for who, word in {
        "copy": "derivation",
        "student": "derivation",
        "stranger": "no evidence of derivation",
    }.items():
        assert re.search(rf"(?m)^\S+ +{word} +answers/{who}\.json$", said), said
    verdict = json.loads((tmp_path / "verdict.json").read_text())["verdict"]
    assert verdict["verdict"] == "derivation" and verdict["found"].keys() == {"of-00", "of-01"}
    assert (tmp_path / "report.html").stat().st_size > 50_000


def test_the_service_file_is_accepted():
    service = Service.model_validate(yaml.safe_load(BLOCKS["service.yaml"]))
    assert service.scores == "scores" and service.headers == {"Authorization": "Bearer ${TOKEN}"}
