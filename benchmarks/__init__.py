"""How fast the code of the book is. Each module is a script, ``python -m benchmarks.NAME``, that
writes ``benchmarks/results/NAME.json``; the page *How fast it is* shows these files.

On a processor, time is processor time of one thread: others on the machine disturb it less than
the clock. Where several threads work, and on CUDA, it is the clock.
"""

import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from sacutils import files

RESULTS = Path(__file__).parent / "results"


def save(name: str, rows: Sequence[dict[str, Any]], out: Path = RESULTS, **facts: Any) -> None:
    """Write what was measured, with facts that hold for all rows, versions, machine and date, and
    how many processes used its cores in the last five minutes.
    """
    path, load = out / f"{name}.json", {"load": os.getloadavg()[1], "logical_cores": os.cpu_count()}
    files.write_json(path, {"rows": list(rows), "facts": facts} | load | files.provenance())
    print(path)


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Time that some work takes on a device."""
    cuda = device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    started = clock()
    work()
    if cuda:
        torch.cuda.synchronize()
    return clock() - started


def apart(
    work: Callable[[], Any], clock: Callable[[], float] = time.process_time
) -> tuple[float, float, float]:
    """Seconds of some work by a clock, and megabytes that the process had at its start and at most,
    in a process of its own that is forked from this one.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def megabytes() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

    def child() -> None:
        before, started = megabytes(), clock()
        work()
        sender.send((clock() - started, before, megabytes()))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the work ended with exit code {process.exitcode}")
    return receiver.recv()


def called(*arguments: str, codes: Sequence[int] = (0,)) -> float:
    """Processor seconds of ``python ARGUMENTS`` from start to end, which must end with one of some
    exit codes.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in codes:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {done.returncode}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
