"""The workflow on a real Slurm: jobs share, are killed, wait for a drained node; tables stay.

Needs the smoke run that ``make test`` makes first. ``make cluster`` runs the whole of it.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
import yaml

from sacbook import jobs
from sacutils.profiles import available, load_profile
from sacutils.run import open_run

from . import slurm

SETTINGS = yaml.safe_load((slurm.ROOT / "profiles/slurm/config.yaml").read_text("utf-8"))
SHARED = "short"
"""The group of which two trainings are made again."""


def test_settings_name_jobs_that_exist():
    profiles = [load_profile(name) for name in available()]
    known = {name for profile in profiles for name in jobs.names(profile)}
    assert SETTINGS["groups"].keys() | SETTINGS["set-resources"].keys() <= known
    pages = {f"notebook-{name}" for name in jobs.notebook_names()}
    assert pages <= SETTINGS["groups"].keys() & SETTINGS["set-resources"].keys()


def handed_in() -> list[tuple[str, int]]:
    """State and megabytes of all of Slurm's jobs in their order."""
    command = ["squeue", "--states=all", "--noheader", "--sort=i", "--format=%T %m"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(state, int(memory.rstrip("M"))) for state, memory in rows]


def wait_until(holds: Callable[[list[str]], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + 300
    while not holds(states := [state for state, _ in handed_in()]):
        assert time.monotonic() < end and process.poll() is None, states
        time.sleep(0.5)


@pytest.mark.slurm
def test_killed_and_drained_jobs_change_no_table(tmp_path):
    plan = jobs.plan(load_profile("smoke"))
    batches = {f"train-{name}": specs for name, specs in jobs.groups(load_profile("smoke")).items()}
    shared = [name for name in batches if SETTINGS["groups"].get(name) == SHARED]
    again = sorted(shared, key=lambda name: len(batches[name]))[:2]
    assert len(again) == 2
    with slurm.started(tmp_path / "slurm") as plugin:
        home = tmp_path / "copy"
        environment = slurm.copied(home, plugin)
        made = home / "runs/smoke"
        for part in ("data", "zoo", "steps"):
            shutil.copytree(slurm.ROOT / "runs/smoke" / part, made / part)
        zoo = open_run("smoke", folder=home / "runs").zoo
        for name in again:
            zoo.path(batches[name][-1].name).unlink()
            (made / plan[name].output).unlink()
        (made / plan["tables"].output).unlink()
        for marker in made.glob("steps/*.json"):  # as old as each other
            os.utime(marker, (0, 0))

        target = str(made.relative_to(home) / plan["tables"].output)
        command = [slurm.python(tmp_path), "-m", "snakemake", target]
        command += ["--profile", "profiles/slurm"]
        # the value is the profile's own, so the run stays the same; its quotes must survive
        command += ["--config", "profile=smoke", "overrides=" + quote('{"full": true}')]
        # too little for the first attempt
        command += ["--set-resources", *(f"{name}:mem_mb=100*attempt**4" for name in again)]
        output = tmp_path / "output"
        with open(output, "w") as log:
            process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
        try:
            node = socket.gethostname().split(".")[0]
            update = ["scontrol", "update", f"NodeName={node}", "Reason=test"]
            wait_until(lambda states: states and states[0] != "PENDING", process)
            subprocess.run([*update, "State=DRAIN"], check=True)
            # what was killed is handed in again, and waits
            wait_until(lambda states: len(states) == 2 and states[1] == "PENDING", process)
            subprocess.run([*update, "State=RESUME"], check=True)
            code = process.wait(1800)
        finally:
            process.kill()
        assert code == 0, output.read_text()
        states, memory = zip(*handed_in(), strict=True)
    # both trainings in one job, killed and then repeated with more; and the tables
    assert states[0] != "COMPLETED" and states[1:] == ("COMPLETED", "COMPLETED")
    assert memory[0] < memory[1]
    assert slurm.equal(made, "zoo/*.safetensors") > 60 and slurm.equal(made, "tables/*.csv") > 1
