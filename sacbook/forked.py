"""Start-up paid once: a server that has imported what jobs need, and forks a process for each job.

Importing torch and what draws figures takes longer than most small jobs. :func:`server` starts such
a server; ``python -m sacbook.forked MODULE WORDS`` does what ``python -m MODULE WORDS`` does, in a
fork of the server if there is one, else itself. The kernels of notebooks start so too. A forked job
has the caller's environment, folder and standard streams, and ends when its caller does. Only Linux
has such servers: other systems' own libraries do not survive a fork.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sacutils import freshness

VARIABLE = "SAC_FORKS"
"""The environment variable that names the server's socket."""
SERVE = "--serve"
MODULES = [
    "torchvision.transforms.v2.functional",
    "sklearn.linear_model",
    "sklearn.metrics",
    "scipy.stats",
    "pandas",
    "seaborn",
    "IPython",
    "ipykernel.kernelapp",
    "papermill",
    "jupytext",
    "sacutils.run",
    "sacutils.studies.comparison",
    "sacutils.studies.verdicts",
    "sacbook.pages",
    "sacbook.workflow",
]
"""What the server imports before its first job; not :mod:`sacutils.figures`, which chooses how all
that is drawn is shown."""


def available_cores() -> int:
    """The number of processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def server(environment: Mapping[str, str] = os.environ) -> Iterator[dict[str, str]]:
    """A server for as long as the context lasts; gives what callers need in their environment."""
    if sys.platform != "linux":
        yield {}
        return
    with (
        tempfile.TemporaryDirectory(prefix="sac-") as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        path = str(Path(folder) / "socket")
        try:
            listener.bind(path)
        except OSError:  # too long a path: each job starts by itself
            yield {}
            return
        listener.listen(64)
        command = [sys.executable, "-m", "sacbook.forked", SERVE, str(os.getpid())]
        # the inline backend of notebooks, which matplotlib looks for when it is imported
        own = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        process = subprocess.Popen(command, stdin=listener.fileno(), env=environment | own)
        listener.close()  # whoever asks a server that has died is refused, and does it alone
        try:
            yield {VARIABLE: path}
        finally:
            process.kill()
            process.wait()


def kernels() -> dict[str, Any]:
    """Options of papermill so that the server, if there is one, starts the kernels."""
    if VARIABLE not in os.environ:
        return {}
    from jupyter_client.manager import AsyncKernelManager

    class Forked(AsyncKernelManager):
        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            python, *words = super().format_kernel_cmd(extra_arguments)
            words = [*words[words.index("-m") + 1 :], "--IPKernelApp.parent_handle=1"]
            return [python, "-m", "sacbook.forked", *words]

    return {"kernel_manager_class": Forked}


def _serve(owner: int) -> None:
    """Fork a process for each caller until the process `owner`, which started the server, ends."""
    try:
        started_by = os.pidfd_open(owner)
    except ProcessLookupError:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the jobs
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(fileno=os.dup(0)) as listener:
        # nothing is imported before somebody asks
        while started_by not in select.select([listener, started_by], [], [])[0]:
            for module in MODULES:
                importlib.import_module(module)
            freshness.code_digest("sacbook.workflow._compute", whole=True)  # all code, read once
            gc.freeze()  # forks do not look at these objects, which would copy them
            connection, _ = listener.accept()
            if os.fork() == 0:
                os.close(started_by)
                listener.close()
                with open(os.devnull) as nothing:  # was the listener too
                    os.dup2(nothing.fileno(), 0)
                _answer(connection)
                os._exit(0)
            connection.close()


def _answer(connection: socket.socket) -> None:
    """Run a caller's job in a fork, and tell its exit status; kill it if the caller is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as lines:
        asked = json.loads(lines.readline())
    if (job := os.fork()) == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        status = _run(asked["words"])
        # as at the end of a process, but what the server imported is not taken down one by one
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(job)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(job, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    with suppress(BrokenPipeError):  # as a shell tells the signal that ended a process
        connection.sendall(str(status if status >= 0 else 128 - status).encode())


def _run(words: list[str]) -> int:
    """Run ``python -m`` with some words; its exit status."""
    sys.argv = words
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    return status


def _ask(path: str, words: list[str]) -> int | None:
    """The exit status of a job that the server at `path` did, or None if there is no server."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return None
        asked = {"words": words, "folder": str(Path.cwd()), "environment": dict(os.environ)}
        socket.send_fds(connection, [b"*"], [0, 1, 2])
        connection.sendall(json.dumps(asked).encode() + b"\n")
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the job says what there is to say
        started_by = os.getppid()
        connection.settimeout(1)
        while os.getppid() == started_by:
            try:
                return int(connection.recv(16) or b"1")
            except TimeoutError:
                continue
            except ConnectionError:  # the server died before it took the job
                return None
    return 1


def main() -> None:
    """Run the command line, or the server."""
    words = sys.argv[1:]
    if words[:1] == [SERVE]:
        _serve(int(words[1]))
        return
    status = _ask(os.environ[VARIABLE], words) if VARIABLE in os.environ else None
    sys.exit(_run(words) if status is None else status)


if __name__ == "__main__":
    main()
