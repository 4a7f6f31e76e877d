"""Jobs that a server forks behave as processes of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sacbook import forked
from sacutils.files import home

MODULE = "tests.sacbook.forkable"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a folder")


def start(folder: Path, *words: str, **more: str) -> subprocess.Popen:
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-m", "sacbook.forked", MODULE, *words]
    environment = os.environ | {"WORD": "said", "PYTHONPATH": str(home())} | more
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)


@pytest.fixture(scope="module", params=["server", "none"])
def place(request, folder) -> dict[str, str]:
    """With a server, and with the name of one that is gone."""
    if request.param == "none":
        return {forked.VARIABLE: "/nowhere"}
    if sys.platform != "linux":
        pytest.skip("Only Linux has such servers.")
    return {name: os.environ[name] for name in (forked.VARIABLE,)}


@pytest.mark.parametrize(("word", "status"), [("end", 3), ("text", 1), ("raise", 1)])
def test_streams_folder_environment_and_status_are_the_callers(folder, place, word, status):
    with start(folder, word, "two words", **place) as caller:
        out, err = caller.communicate("from stdin", timeout=600)
    pid, parent, torch = map(int, out.split())
    forks = place[forked.VARIABLE] != "/nowhere"
    assert (parent == os.getpid(), bool(torch)) == (not forks, forks) and pid != os.getpid()
    assert f"said {folder} {word} two words from stdin" in err
    assert ("a sentence" in err, "ValueError: broken" in err) == (word == "text", word == "raise")
    assert caller.returncode == status


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such servers")
def test_a_job_ends_with_its_caller_and_a_killed_job_ends_its_caller(folder):
    with start(folder, "wait") as caller:
        caller.stdin.close()
        job = int(caller.stdout.readline().split()[0])
        assert job != caller.pid
        caller.kill()
    deadline = time.monotonic() + 100
    while Path(f"/proc/{job}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{job}").exists()
    with start(folder, "wait") as caller:
        caller.stdin.close()
        os.kill(int(caller.stdout.readline().split()[0]), signal.SIGTERM)
        assert caller.wait(timeout=100) == 128 + signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such servers")
def test_a_server_ends_with_the_process_that_started_it():
    code = "import os; from sacbook import forked; place = forked.server(); "
    code += "print(place.__enter__()['SAC_FORKS'], flush=True); os.kill(os.getpid(), 9)"
    command = [sys.executable, "-c", code]
    path = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300).stdout.strip()
    deadline = time.monotonic() + 100
    while listens(path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert path and not listens(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such servers")
def test_where_no_socket_can_be_made_each_job_starts_by_itself(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 110)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with forked.server() as place:
        assert place == {}


def listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such servers")
def test_a_job_is_done_alone_when_the_server_has_been_killed(folder, monkeypatch):
    started = []

    class Remembered(subprocess.Popen):
        def __init__(self, *words: object, **more: object) -> None:
            super().__init__(*words, **more)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Remembered)
    with forked.server() as place:
        started[0].kill()
        started[0].wait()
        with start(folder, "end", "two words", **place) as caller:
            out, _ = caller.communicate("from stdin", timeout=300)
    assert int(out.split()[1]) == os.getpid() and caller.returncode == 3
