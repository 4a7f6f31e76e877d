"""Kill a run at random moments until it has suffered enough: ``python -m tests.torture``.

The sources are copied into a new folder. There ``python -m sacbook book`` is started again and
again, and the whole process group is killed (SIGKILL) after a random time; a run that gets to
its end is compared with an undisturbed one and begun anew. Compared byte for byte are the weights,
probes, answers and tables; left out are the columns of `costs.csv` that hold seconds, and
the line of provenance, which holds the date. The undisturbed run is that of this repository, which
is made first where it is missing. Exits with 1 if there is any difference.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from sacutils import files

ROOT = Path(__file__).resolve().parents[1]
MADE = (".git", ".venv", "_build", "runs", ".snakemake", "__pycache__", ".*_cache", "*.egg-info")
PATTERNS = ("zoo/*.safetensors", "probes/*.safetensors", "outputs/*.safetensors", "tables/*.csv")
TIMES = ("seconds_models", "seconds_make", "seconds_check")


def contents(run: Path) -> dict[str, str]:
    """Checksums of what a run has computed, by file; without what tells the time."""
    found = {}
    for path in (path for pattern in PATTERNS for path in sorted(run.glob(pattern))):
        name = path.relative_to(run).as_posix()
        if path.name.startswith("."):
            continue  # half-written, by a process that was killed
        if path.name == "costs.csv":
            table = pd.read_csv(path).drop(columns=list(TIMES))
            found[name] = hashlib.sha256(table.to_csv().encode()).hexdigest()
        else:
            found[name] = files.sha256(path)
    headline = files.read_json(run / "tables" / "headline.json")
    headline.pop("provenance", None)
    return found | {f"headline: {name}": str(value) for name, value in headline.items()}


def start(folder: Path, profile: str, log: Path) -> subprocess.Popen:
    """``make book`` in a folder, in a process group of its own."""
    own = {"PYTHONPATH": str(folder), "SAC_HOME": str(folder), "SAC_SET": ""}
    command = [sys.executable, "-m", "sacbook", "book", "--profile", profile]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | own
    with open(log, "a") as output:
        options = {"stdout": output, "stderr": subprocess.STDOUT, "start_new_session": True}
        return subprocess.Popen(command, cwd=folder, env=environment, **options)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--pause", type=float, default=15, help="mean seconds between two kills")
    parser.add_argument("--profile", default="smoke")
    given = parser.parse_args()
    log = Path(tempfile.mkdtemp(prefix="torture-")) / "log"
    print(f"The undisturbed run, in {ROOT}; everything is kept in {log}", flush=True)
    if start(ROOT, given.profile, log).wait():
        sys.exit(f"the undisturbed run failed, see {log}")
    wanted = contents(ROOT / "runs" / given.profile)
    folder = log.parent / "a folder"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*MADE))
    draw = random.Random(given.seed)
    kills = finished = different = failed = 0
    began = time.monotonic()
    while True:
        process = start(folder, given.profile, log)
        moment = 1 + draw.expovariate(1 / given.pause) if kills < given.kills else None
        try:
            code = process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        if code:  # nothing but a kill may stop a run
            failed += 1
            print(f"after {kills} kills: exit status {code}, see {log}", flush=True)
            if failed > 5:
                break
            continue
        finished += 1
        got = contents(folder / "runs" / given.profile)
        wrong = sorted(n for n in wanted.keys() | got.keys() if wanted.get(n) != got.get(n))
        different += len(wrong)
        minutes = (time.monotonic() - began) / 60
        print(
            f"after {kills} kills and {minutes:.0f} min: run {finished} is complete, "
            f"{len(wrong)} of {len(wanted)} results differ {wrong[:5] or ''}",
            flush=True,
        )
        if kills >= given.kills:
            break
        for made in ("runs", "_build", ".snakemake"):
            shutil.rmtree(folder / made, ignore_errors=True)
    weights = sum(name.startswith("zoo/") for name in wanted)
    print(
        f"{kills} kills, {finished} runs completed, {failed} failures, {different} differences "
        f"({weights} weights, {len(wanted) - weights} other results in each run)"
    )
    if different or failed:
        sys.exit(1)
    shutil.rmtree(log.parent)


if __name__ == "__main__":
    main()
