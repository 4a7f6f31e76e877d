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
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert there == 1 and done.returncode == 0, done.stdout + done.stderr
    assert "Commitment: " in done.stdout and "exit code 3" in done.stdout
    verdicts = {
        who: json.loads((tmp_path / f"{who}-verdict.json").read_text())["verdict"]
        for who in ("student", "stranger")
    }
    assert verdicts["student"]["verdict"] == "derivation"
    assert verdicts["stranger"]["verdict"] == "no evidence of derivation"
    assert verdicts["student"]["found"].keys() == {"of-00", "of-01"}
    assert (tmp_path / "student.html").stat().st_size > 50_000


def test_the_service_file_is_accepted():
    service = Service.model_validate(yaml.safe_load(BLOCKS["service.yaml"]))
    assert service.scores == "scores" and service.headers == {"Authorization": "Bearer ${TOKEN}"}
