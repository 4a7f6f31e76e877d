"""What people see while a run is made: a line for each stage, and one sentence for what fails.

Where nobody watches, as in CI, only failures are shown. All that Snakemake and the jobs say is kept
in a log. What is done is seen on disk, so that nothing depends on how Snakemake words its messages,
but for one thing: which job was killed, and by what.
"""

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from sacutils.steps import duration

from .status import STAGES, Task

FAILED = re.compile(r" step (\S+) .*(?:died with <Signals\.\w+: (\d+)>|non-zero exit status (\d+))")
"""What Snakemake says of a job that failed: its name, and the signal or the exit status."""
KILLED = 9
Mark = tuple[int, int] | None


def follow(process: subprocess.Popen, tasks: list[Task], log: Path) -> int:
    """Wait for a process that makes some things, whose output is a pipe, and show how far it is;
    its exit status.
    """
    shown: list[str] = []
    reader = threading.Thread(target=_read, args=(process.stdout, log, shown), daemon=True)
    reader.start()
    lines = _lines(tasks) if sys.stdout.isatty() else iter(())
    interrupted = False
    while True:
        try:
            code = process.wait(timeout=1)
            break
        except subprocess.TimeoutExpired:
            _draw(next(lines, None))
        except KeyboardInterrupt:  # Snakemake was interrupted too, and ends its jobs
            interrupted = True
    reader.join(timeout=5)  # what a killed job has left behind may hold the pipe open
    if not code:
        while (line := next(lines, "")).endswith("\n"):
            _draw(line)
    elif not shown and not interrupted:
        print(f"Error: it ended with exit status {code}; its last words are in {log}.")
    return code


def _read(output: TextIO, log: Path, shown: list[str]) -> None:
    """Keep what a process says in a log, and show what tells why it fails."""
    with suppress(OSError):  # the disk may be full; what is shown matters more
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
    for line in output:
        with suppress(OSError), open(log, "a", encoding="utf-8") as file:
            file.write(line)
        sentence = sentence_of(line)
        if sentence and sentence not in shown:
            shown.append(sentence)
            _draw("")
            print(sentence, flush=True)


def sentence_of(line: str) -> str:
    """What a line says of a failure, in one sentence; nothing if that is for the log only."""
    if line.lstrip().startswith("Error: "):
        return line.strip()
    if (found := FAILED.search(line)) and KILLED in (int(found[2] or 0), int(found[3] or 0) - 128):
        advice = "if memory ran out, run fewer jobs at once (make book CORES=1)"
        return f"Error: the job {found[1]} was killed; {advice}."
    return ""


def _mark(path: Path) -> Mark:
    """What differs between a file and the one that takes its place, whatever the clock says."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _lines(tasks: list[Task]) -> Iterator[str]:
    """The line to show, each time it is asked for: the stages that are under way, or one that is
    done, which ends with a new line.
    """
    before = {task.path: _mark(task.path) for task in tasks}
    left = [stage for stage in dict.fromkeys(STAGES.values()) if stage in {t.stage for t in tasks}]
    began: dict[str, float] = {}
    while left:
        running = []
        for stage in list(left):
            mine = [task for task in tasks if task.stage == stage]
            done = [t for t in mine if _mark(t.path) not in (None, before[t.path])]
            if done or stage == left[0]:
                now = time.monotonic()
                line = line_of(stage, mine, done, now - began.setdefault(stage, now))
                if len(done) < len(mine):
                    running.append(line)
                else:
                    left.remove(stage)
                    yield f"{line}\n"
        if running:
            yield "; ".join(running)


def line_of(stage: str, tasks: list[Task], done: list[Task], seconds: float) -> str:
    """How far a stage is after some seconds: count, rate and remaining time, weighted by what each
    is expected to cost.
    """
    what = "models" if stage == STAGES["train"] else "results"
    line = f"{stage}: {len(done)} of {len(tasks)} {what}"
    if not done or seconds < 1:
        return line
    if len(done) == len(tasks):
        return f"{line} in {duration(seconds)}"
    whole, part = (sum(task.seconds for task in some) for some in (tasks, done))
    share = part / whole if part else len(done) / len(tasks)
    left = duration(seconds * (1 - share) / share)
    return f"{line}, {60 * len(done) / seconds:.1f} a minute, about {left} left"


def _draw(line: str | None) -> None:
    """Put a line in place of the last one on a terminal."""
    if line is not None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        line = line if line.endswith("\n") else line[:width]
        print(f"\r\x1b[K{line}", end="", flush=True)
