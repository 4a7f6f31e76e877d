"""Nothing is lost or corrupted: by kills in the middle of writes, by two processes at once, by a
full disk, a folder that cannot be written, a clock that jumps. ``make torture`` is the long form.
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from sacbook import pages, progress
from sacbook.status import STAGES, Task
from sacutils import checkpoints, files
from sacutils.files import UserError
from sacutils.profiles import load_profile
from sacutils.run import Run

ROOT = Path(__file__).resolve().parents[2]
SHORT = {"recipes.extract_label.epochs": 2, "recipes.extract_label.share": 0.5}
NOISY = "source(vgg_bn_s)#0 > extract_noisy(resnet_s)#0"
"""Has a random generator of its own besides those of the training."""


def fork(work: Callable[[], object], output: Path) -> int:
    """Start a process that does some work, and says what it has to say in a file."""
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        code = 1
        try:
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            sys.stdout = open(1, "w", closefd=False)
            work()
            sys.stdout.flush()
            code = 0
        except UserError as error:
            print(f"UserError: {error}", flush=True)
        except BaseException:
            print(traceback.format_exc(), flush=True)
        finally:
            os._exit(code)
    return child


def forked(work: Callable[[], object], output: Path) -> int:
    """The exit status of a process as :func:`fork` starts it."""
    return os.waitstatus_to_exitcode(os.waitpid(fork(work, output), 0)[1])


def killed_at(number: int) -> None:
    """Let this process die at its next call so and so of what writes, moves or removes a file; at
    every other call of ``fsync`` the file is half-written.
    """
    calls = [0]

    def watch(module: object, name: str) -> None:
        real = getattr(module, name)

        def call(*values: object, **options: object) -> object:
            calls[0] += 1
            if calls[0] == number:
                if name == "fsync" and number % 2 and stat.S_ISREG(os.fstat(values[0]).st_mode):
                    os.ftruncate(values[0], os.fstat(values[0]).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*values, **options)

        setattr(module, name, call)

    for name in ("fsync", "replace", "rename", "unlink", "rmdir"):
        watch(os, name)
    watch(tempfile, "mkstemp")


@pytest.fixture(scope="module")
def tiny(run, tmp_path_factory) -> Callable[[str], Run]:
    """A run in a new folder in which one small student is missing, and little else is there."""
    source = run.zoo.path(run.zoo.source)
    run.zoo.get(run.zoo.source)
    root = tmp_path_factory.mktemp("tiny")

    def make(name: str) -> Run:
        made = Run(load_profile("smoke", SHORT), root / name)
        made.material = run.material
        (made.shared / "zoo").mkdir(parents=True, exist_ok=True)
        for path in (source, source.with_suffix(".json")):
            shutil.copy(path, made.shared / "zoo" / path.name)
        return made

    return make


def work(run: Run) -> None:
    """One of each kind of artefact: a model that is checkpointed after each epoch, tensors, a
    table, a folder, the record of a job.
    """
    checkpoints.EVERY = 0
    record = run.zoo.record(NOISY)
    tensors = run.keep_tensors("probes/x", "d", lambda: {"x": torch.arange(1000.0)})
    table = run.keep_table("x", "d", lambda: pd.DataFrame({"x": tensors["x"].numpy()}))
    with files.fresh_folder(run.folder / "html") as new:
        (new / "index.html").write_text(str(table["x"].sum()))
    files.write_json(run.folder / "steps" / "x.json", {"sha256": record["sha256"]})


def contents(folder: Path) -> dict[str, object]:
    """What lies in a run's folder, without times. What is hidden is not looked at: half-written
    files, a lock that nobody holds, the last checkpoint of a model that was being finished.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and "/." not in name:
            found[name] = files.sha256(path)
            if path.suffix == ".json":
                record = files.read_json(path)
                found[name] = [record.get("history"), record.get("sha256")]
    return found


def test_kills_at_every_write_lose_and_corrupt_nothing(tiny, tmp_path):
    whole, said = tiny("whole"), tmp_path / "said"
    assert forked(lambda: work(whole), said) == 0, said.read_text()
    wanted, run = contents(whole.shared.parent), tiny("tortured")
    assert len(wanted) == 10 and not list(whole.shared.parent.rglob("*.pt"))
    kills = completed = number = 0
    while not completed or kills < 30:
        number += 1
        code = forked(lambda at=number, run=run: (killed_at(at), work(run)), said)
        if code == 0:
            assert contents(run.shared.parent) == wanted
            completed, number = completed + 1, completed
            shutil.rmtree(run.shared.parent)
            run = tiny("tortured")
        else:
            assert code == -signal.SIGKILL, said.read_text()
            kills += 1
    # an interrupted training went on in the middle, and came to the same bytes
    assert "goes on after epoch 1" in said.read_text()


def test_two_processes_that_share_a_zoo_train_nothing_twice(tiny, tmp_path):
    run, said = tiny("shared"), tmp_path / "said"
    said.touch()
    with files.locked(run.zoo.path(NOISY)):  # so that both have to wait
        children = [fork(lambda: run.zoo.get(NOISY), said) for _ in range(2)]
        deadline = time.monotonic() + 600
        while said.read_text().count("waiting for it") < 2:
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.01)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0], said.read_text()
    text = said.read_text()
    assert text.count("1 of 1: ") == 1, text
    assert {path.suffix for path in run.zoo.folder.iterdir()} <= {".safetensors", ".json", ""}
    assert files.matches(run.zoo.path(NOISY), run.zoo._digests[NOISY])


def unshared(script: str) -> subprocess.CompletedProcess:
    """Run a shell script that may mount what it likes, as root of a name space of its own."""
    if not shutil.which("unshare") or subprocess.call(
        ["unshare", "-rm", "true"], stderr=subprocess.DEVNULL
    ):
        pytest.skip("this system lets nobody mount a file system of his own (unshare -rm)")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    command = ["unshare", "-rm", "sh", "-ec", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


WRITE = """
import sys
from pathlib import Path
import numpy, safetensors.numpy
from sacutils import files

def write():
    path = Path(sys.argv[1]) / f"a.{sys.argv[2]}"
    with files.atomic_path(path) as temporary:
        if sys.argv[2] == "safetensors":
            safetensors.numpy.save_file({"x": numpy.zeros(10**6)}, temporary)
        else:
            temporary.write_bytes(bytes(10**7))

files.run_command(write)
"""


def one_sentence(result: subprocess.CompletedProcess, *words: str) -> None:
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr


@pytest.mark.parametrize("kind", ["safetensors", "csv"])
def test_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, kind):
    script = f"""
    mount -t tmpfs -o size=1m tmpfs {tmp_path}
    "$PYTHON" -c '{WRITE}' {tmp_path} {kind} || code=$?
    ls -A {tmp_path}
    exit $code
    """
    result = unshared(script)
    one_sentence(result, f"{tmp_path}/a.{kind} cannot be written", "No space left")
    assert result.stdout == ""


def test_a_file_that_may_not_grow_is_one_sentence_and_the_next_run_repairs_it(tiny, tmp_path):
    """As on a full disk, without the right to mount one."""
    import resource

    run, said = tiny("full"), tmp_path / "said"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        run.zoo.get(NOISY)

    assert forked(limited, said) == 1
    assert (
        f"UserError: {run.zoo.path(NOISY)} cannot be written (File too large)" in said.read_text()
    )
    assert forked(lambda: run.zoo.get(NOISY), said) == 0
    assert files.matches(run.zoo.path(NOISY), run.zoo._digests[NOISY])


@pytest.fixture
def home_of_its_own(tmp_path) -> Path:
    """A folder in which a run can be started, and refused."""
    for name in ("profiles", "runs"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "profiles/smoke.yaml", tmp_path / "profiles")
    return tmp_path


@pytest.mark.parametrize(
    ("mounted", "words"),
    [
        ("tmpfs -o size=1m", ["The disk of ", "is full", "20 MB"]),
        ("tmpfs -o ro", ["runs", "Read-only file system"]),
    ],
)
def test_book_on_a_full_or_a_read_only_disk_is_one_sentence(home_of_its_own, mounted, words):
    script = f"""
    mount -t {mounted} tmpfs {home_of_its_own}/runs
    SAC_HOME={home_of_its_own} "$PYTHON" -m sacbook book --profile smoke
    """
    one_sentence(unshared(script), *words)


def test_a_second_book_of_a_run_is_refused(home_of_its_own):
    command = [sys.executable, "-m", "sacbook", "book", "--profile", "smoke"]
    own = os.environ | {"SAC_HOME": str(home_of_its_own)}
    with files.locked(home_of_its_own / "runs/smoke/book"):
        result = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
    one_sentence(result, "Another make book is at work", "runs/smoke")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("Error: a.csv cannot be read.\n", "Error: a.csv cannot be read."),
        (
            "Command 'set -euo pipefail;  python -m sacbook step train-source --profile smoke' "
            "died with <Signals.SIGKILL: 9>.",
            "Error: the job train-source was killed; if memory ran out, run fewer jobs at once "
            "(make book CORES=1).",
        ),
        (
            "Command 'python -m sacbook step tables --profile smoke' returned non-zero exit status "
            "137.",
            "Error: the job tables was killed; if memory ran out, run fewer jobs at once "
            "(make book CORES=1).",
        ),
        ("Command 'python -m sacbook step tables' returned non-zero exit status 1.", ""),
        ("Finished jobid: 4 (Rule: data)", ""),
    ],
)
def test_what_a_failure_says(line, sentence):
    assert progress.sentence_of(line) == sentence


def test_a_failed_run_shows_its_failures_and_keeps_the_rest(tmp_path, capsys):
    command = ["sh", "-c", "echo chatter; echo 'Error: no.'; echo 'Error: no.'; exit 3"]
    for words, shown in ((command, "Error: no.\n"), (["sh", "-c", "exit 3"], "exit status 3")):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert progress.follow(process, [], tmp_path / "log") == 3
        out = capsys.readouterr().out
        assert shown in out and out.count("\n") == 1 and "chatter" not in out
        kept = (tmp_path / "log").read_text()
        assert ("chatter" in kept) == ("chatter" in words[-1])


def test_progress_is_count_rate_and_remaining_time(tmp_path):
    stage = STAGES["train"]
    tasks = [
        Task(f"{n}", stage, tmp_path / f"{n}", (), seconds) for n, seconds in enumerate((9, 1, 2))
    ]
    lines = progress._lines(tasks)
    assert next(lines) == "zoo: 0 of 3 models"
    assert progress.line_of(stage, tasks, tasks[:1], 18) == (
        "zoo: 1 of 3 models, 3.3 a minute, about 6 s left"
    )
    for task in tasks:
        files.write_text(task.path, "")
    assert next(lines).startswith("zoo: 3 of 3 models") and next(lines, "end") == "end"


def test_a_build_from_the_future_is_not_trusted(tmp_path, monkeypatch):
    """Sphinx compares times: the clock was wrong when it built, and has been set right."""
    from jupyter_book.cli import main

    work = tmp_path / ".stage-sphinx"
    (work / "_build").mkdir(parents=True)

    class Asked(Exception):
        pass

    def asked(*values: object, **options: object) -> None:
        raise Asked

    monkeypatch.setattr(main, "main", asked)
    for moment, kept in ((None, True), (4e9, False)):
        (work / "_build" / "old").mkdir(parents=True, exist_ok=True)
        (work / "finished").touch()
        if moment:
            os.utime(work / "finished", (moment, moment))
        with pytest.raises(Asked):
            pages.build(tmp_path / "stage", tmp_path / "html")
        assert (work / "_build" / "old").exists() == kept
