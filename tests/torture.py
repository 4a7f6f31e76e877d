"""Kill a run at random moments until it has suffered enough: ``python -m tests.torture``.

The sources are copied into a new folder. There ``python -m sacbook book`` is started again and
again, and the whole process group is killed (SIGKILL) after a random time; a run that gets to
its end is compared with an undisturbed one and begun anew. Compared byte for byte are the weights,
probes, answers and tables; left out are the seconds in `costs.csv` and in the answers to rivals,
and the line of provenance, which holds the date. The undisturbed run is made first, in a new
folder too: a repository in use has models of other settings beside those of the run.

Then a single job is killed, as the system does when memory runs out; and two copies whose models
lie in one folder are made at once, which must train none twice. Exits with 1 if anything is wrong.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from safetensors.numpy import load_file, save

from sacutils import files

ROOT = Path(__file__).resolve().parents[1]
MADE = (".git", ".venv", "_build", "runs", ".snakemake", "__pycache__", ".*_cache", "*.egg-info")
PATTERNS = ("zoo/*.safetensors", "probes/*.safetensors", "outputs/*.safetensors", "tables/*.csv")
PAUSE = "mean seconds between two kills; choose more than a run needs to start its first job"
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
        elif path.name.startswith("rival-"):
            kept = {key: value for key, value in load_file(path).items() if key not in TIMES}
            found[name] = hashlib.sha256(save(kept)).hexdigest()
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


def kill_one_job(folder: Path, profile: str, log: Path) -> list[str]:
    """Kill one training job of a run, and nothing else; what is wrong then."""
    process, victim = start(folder, profile, log), None
    while victim is None and process.poll() is None:
        time.sleep(0.2)
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                place = (entry / "cwd").resolve()
            except OSError:
                continue  # it has ended
            training = any(word.startswith(b"train-") for word in words)
            if place == folder and b"step" in words and b"-c" not in words and training:
                victim = int(entry.name)
    if victim is None:
        return ["no job was there to be killed"]
    os.kill(victim, signal.SIGKILL)
    code, said = process.wait(), log.read_text()
    wrong = [f"exit status {code} after the kill of a job"] * (code != 1)
    wrong += ["no word of it"] * ("was killed; if memory ran out" not in said)
    wrong += ["a traceback"] * ("Traceback" in said)
    again = start(folder, profile, log).wait()
    return wrong + [f"exit status {again} of the next run"] * (again != 0)


def trainings(folder: Path, profile: str) -> int:
    """How many trainings the jobs of a run tell of; those of its chapters are not among them."""
    said = (folder / "runs" / profile / "book.log").read_text()
    return len(re.findall(r"^\d+ of \d+: .*, \d+ \w+$", said, re.MULTILINE))


def share_a_zoo(folders: list[Path], profile: str, needed: int, log: Path) -> list[str]:
    """Make copies at once whose models lie in one folder; what is wrong then. One run alone has
    `needed` trainings.
    """
    for folder in folders:
        for made in ("runs", "_build", ".snakemake"):
            shutil.rmtree(folder / made, ignore_errors=True)
    zoo = folders[0] / "runs" / profile / "zoo"
    zoo.mkdir(parents=True)
    for folder in folders[1:]:
        (folder / "runs" / profile).mkdir(parents=True)
        (folder / "runs" / profile / "zoo").symlink_to(zoo)
    codes = [process.wait() for process in [start(folder, profile, log) for folder in folders]]
    trained = sum(trainings(folder, profile) for folder in folders)
    wrong = [f"exit status {code} of one of two" for code in codes if code]
    return wrong + [f"{trained} trainings instead of {needed}"] * (trained != needed)


def differing(wanted: dict[str, str], run: Path) -> list[str]:
    """Results of a run that are not as they should be."""
    got = contents(run)
    return sorted(n for n in wanted.keys() | got.keys() if wanted.get(n) != got.get(n))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--pause", type=float, default=15, help=PAUSE)
    parser.add_argument("--profile", default="smoke")
    given = parser.parse_args()
    log = Path(tempfile.mkdtemp(prefix="torture-")) / "log"
    print(f"The undisturbed run; everything is kept in {log.parent}", flush=True)
    folder, second = log.parent / "a folder", log.parent / "another folder"
    for place in (folder, second):
        shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns(*MADE))
    if start(second, given.profile, log).wait():
        sys.exit(f"the undisturbed run failed, see {log}")
    wanted = contents(second / "runs" / given.profile)
    needed = trainings(second, given.profile)
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
            if kills % 10 == 0:
                run = folder / "runs" / given.profile
                done = len([*run.glob("steps/*.json"), *run.glob("notebooks/*.json")])
                print(f"{kills} kills; {done} jobs of the run are done", flush=True)
            continue
        if code:  # nothing but a kill may stop a run
            failed += 1
            print(f"after {kills} kills: exit status {code}, see {log}", flush=True)
            if failed > 5:
                break
            continue
        finished += 1
        wrong = differing(wanted, folder / "runs" / given.profile)
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
        f"({weights} weights, {len(wanted) - weights} other results in each run)",
        flush=True,
    )
    shutil.rmtree(folder / "runs")
    wrong = kill_one_job(folder, given.profile, log)
    wrong += differing(wanted, folder / "runs" / given.profile)
    print(
        f"one job killed: {wrong or 'told in one sentence, repaired by the next run'}", flush=True
    )
    shared = share_a_zoo([folder, second], given.profile, needed, log)
    for place in (folder, second):
        shared += differing(wanted, place / "runs" / given.profile)
    print(f"two that share a zoo: {shared or 'no model trained twice, results equal'}", flush=True)
    if different or failed or wrong or shared:
        sys.exit(1)
    shutil.rmtree(log.parent)


if __name__ == "__main__":
    main()
