"""A Slurm for tests; and the whole `smoke` profile through it, which ``make cluster`` runs."""

import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sacbook import forked

from .test_workflow import MADE, ROOT

SCRIPT = Path(__file__).with_suffix(".sh")


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """A Slurm; gives the folder of Snakemake's plugin. Without one the test is skipped, and says
    why.
    """
    begun = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True)
    if begun.returncode == 3:
        pytest.skip(f"not run: {begun.stderr.strip()}")
    assert begun.returncode == 0, begun.stderr
    try:
        yield plugin(folder / "plugin")
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True)


def plugin(folder: Path) -> str:
    """Where Snakemake finds its plugin: not in this environment, in which it would make each start
    of Snakemake half a second longer.
    """
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = [line for line in pins if line.startswith("snakemake-executor-plugin")]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    subprocess.run([*command, *names], check=True)
    return str(folder)


def copied(target: Path, plugin: str) -> dict[str, str]:
    """Copy the sources to a folder; the environment in which they are those that run."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*MADE, "tests"), symlinks=True)
    # this Slurm keeps no accounts, and its jobs are short
    with open(target / "profiles/slurm/config.yaml", "a", encoding="utf-8") as settings:
        settings.write("slurm-status-command: squeue\n")
        settings.write("slurm-init-seconds-before-status-checks: 1\n")
    own = {"SAC_HOME": str(target), "OMP_NUM_THREADS": "1"}
    own |= {"PYTHONPATH": os.pathsep.join([str(target), plugin])}
    # a server of the tests would do the jobs outside of Slurm
    return {k: v for k, v in os.environ.items() if k != forked.VARIABLE} | own


def python(folder: Path) -> str:
    """This Python under a path without a blank, which the plugin would not quote."""
    link = folder / "environment"
    link.symlink_to(sys.prefix, target_is_directory=True)
    return str(link / "bin" / "python")


def equal(made: Path, pattern: str) -> int:
    """The number of files of a run that must be, and are, those of the run made without Slurm."""
    names = [path.relative_to(made) for path in made.glob(pattern)]
    for name in names:
        assert filecmp.cmp(ROOT / "runs/smoke" / name, made / name, shallow=False), name
    return len(names)


@pytest.mark.slurm
def test_the_smoke_profile_runs_through_sbatch(tmp_path):
    home = tmp_path / "copy"
    with started(tmp_path / "slurm") as folder:
        environment = copied(home, folder)
        command = [python(tmp_path), "-m", "sacbook", "book", "--profile", "smoke"]
        subprocess.run([*command, "--executor", "slurm"], cwd=home, env=environment, check=True)
        squeue = ["squeue", "--states=all", "--noheader", "--format=%i %T %M %m %C %k"]
        print(subprocess.run(squeue, capture_output=True, text=True).stdout)
    made = home / "runs/smoke"
    # the costs are seconds
    assert equal(made, "zoo/*.safetensors") > 60 and equal(made, "tables/[!c]*.csv") > 5
