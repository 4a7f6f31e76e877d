"""Atomic writes, checksums and records."""

import errno
import hashlib
import os
import signal
import subprocess
import sys

import pytest

from sacutils import files
from tests.conftest import listing

KILLED = """
import os, signal, sys
from pathlib import Path
from sacutils import files
with files.atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_atomic_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "record.json"
    files.write_text(path, "one")
    files.write_text(path, "zwölf")
    assert path.read_bytes() == "zwölf".encode() and listing(path.parent) == ["record.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("exception", [RuntimeError, KeyboardInterrupt])
def test_failed_write_keeps_the_old_file(tmp_path, exception):
    path = tmp_path / "weights.bin"
    path.write_text("old")
    with pytest.raises(exception), files.atomic_path(path) as temporary:
        temporary.write_text("half of the new")
        raise exception
    assert path.read_text() == "old" and listing(tmp_path) == ["weights.bin"]


def test_killed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_text("old")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=files.__file__.rsplit("/", 2)[0]
    )
    assert killed.returncode == -signal.SIGKILL and path.read_text() == "old"


def test_temporary_file_is_beside_and_keeps_the_suffix(tmp_path):
    with files.atomic_path(tmp_path / "x.safetensors") as temporary:
        assert (
            temporary.parent == tmp_path
            and temporary.suffix == ".safetensors"
            and temporary.name != "x.safetensors"
        )


def test_files_that_are_written_together_all_stay_or_none_does(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "kept").mkdir()
    paths = [tmp_path / name for name in ("old.txt", "new/a.txt", "new/b.txt", "kept/c.txt")]
    with pytest.raises(RuntimeError), files.together(*paths):
        files.write_text(paths[1], "a")
        files.write_text(paths[3], "c")
        raise RuntimeError
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["kept", "old.txt"]
    with files.together(*paths):
        files.write_text(paths[1], "a")
    assert paths[1].read_text() == "a"


def test_fresh_folder_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path):
    folder = tmp_path / "made" / "lab"
    for text in ("one", "two"):
        with files.fresh_folder(folder) as new:
            assert listing(new) == []
            (new / f"{text}.txt").write_text(text)
        assert listing(folder) == [f"{text}.txt"] and listing(folder.parent) == ["lab"]
    with pytest.raises(RuntimeError), files.fresh_folder(folder) as new:
        (new / "half.txt").write_text("half")
        raise RuntimeError
    assert listing(folder) == ["two.txt"] and listing(new) == ["half.txt"]


def test_sha256_is_that_of_the_content(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert files.sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_digest_ignores_key_order_and_nothing_else():
    assert files.digest_of({"a": 1, "b": [2, None]}) == files.digest_of({"b": [2, None], "a": 1})
    values = [{"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, [1, 2], [2, 1], None]
    assert len({files.digest_of(value) for value in values}) == len(values)


def test_json_round_trip_and_its_errors(tmp_path, refused):
    path = tmp_path / "record.json"
    refused(lambda: files.read_json(path), "record.json", "does not exist")
    files.write_json(path, {"loss": [0.1, 2], "parent": None})
    assert files.read_json(path) == {
        "loss": [0.1, 2],
        "parent": None,
    } and path.read_text().endswith("}\n")
    path.write_text(path.read_text()[:-5])
    refused(lambda: files.read_json(path), "record.json", "not valid JSON")
    path.write_bytes(b"\xff\xfe{}")
    refused(lambda: files.read_json(path), "record.json", "not valid JSON")


def test_provenance_says_what_and_when():
    made = files.provenance()
    assert made["versions"].keys() == {"python", *files.PACKAGES} and made["utc"].endswith("+00:00")
    assert "logical cores" in made["hardware"] and "\n" not in made["hardware"]


def test_home_is_a_folder_with_profiles(tmp_path, monkeypatch, refused):
    (tmp_path / "a b" / "profiles").mkdir(parents=True)
    (tmp_path / "a b" / "deep" / "er").mkdir(parents=True)
    monkeypatch.delenv("SAC_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "a b" / "deep" / "er")
    assert files.home() == (tmp_path / "a b").resolve()
    monkeypatch.chdir(tmp_path)
    refused(files.home, str(tmp_path), "no folder profiles", "SAC_HOME")
    monkeypatch.setenv("SAC_HOME", str(tmp_path / "a b"))
    assert files.home() == (tmp_path / "a b").resolve()
    monkeypatch.setenv("SAC_HOME", str(tmp_path / "nowhere"))
    refused(files.home, "nowhere")


def test_record_belongs_to_its_file(tmp_path, capsys):
    path = tmp_path / "table.csv"
    files.write_text(path, "a,b\n")
    assert not files.intact(path, "d")
    files.write_record(path, "d", more=1)
    assert files.intact(path, "d") and capsys.readouterr().out == ""
    record = files.read_json(path.with_suffix(".json"))
    assert (record["digest"], record["more"], record["sha256"]) == ("d", 1, files.sha256(path))
    assert not files.intact(path, "e") and "table.csv" in capsys.readouterr().out
    path.write_text("a,c\n")
    assert not files.intact(path, "d") and "table.csv" in capsys.readouterr().out


def test_command_line_ends_with_one_sentence_or_nothing(capsys):
    def fail():
        raise files.UserError("a\nb\x1b[31m is not accepted.")

    with pytest.raises(SystemExit) as ended:
        files.run_command(fail)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "Error: a b [31m is not accepted.\n"
    with pytest.raises(SystemExit):
        files.run_command(lambda: open("/no/such/file"))
    assert "/no/such/file cannot be read or written (No such file" in capsys.readouterr().err
    files.run_command(lambda: None)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to")])
def test_no_memory_is_one_sentence(capsys, error):
    def fail():
        raise error

    with pytest.raises(SystemExit):
        files.run_command(fail)
    assert capsys.readouterr().err.startswith("Error: Memory ran out; ")
    with pytest.raises(RuntimeError, match="a bug"):
        files.run_command(lambda: (_ for _ in ()).throw(RuntimeError("a bug")))


def test_only_the_systems_refusal_of_this_file_is_told_as_such(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(FileNotFoundError), files.atomic_path(path):
        open(tmp_path / "missing")
    with pytest.raises(PermissionError), files.atomic_path(path):
        raise PermissionError(errno.EACCES, "no", "another file")
    with pytest.raises(files.UserError, match=r"a\.csv cannot be written \(No space left"):
        with files.atomic_path(path):
            raise OSError(errno.ENOSPC, "full")
    assert listing(tmp_path) == []


def test_a_folder_that_a_kill_left_aside_is_put_back(tmp_path):
    (tmp_path / ".html-old").mkdir()
    (tmp_path / ".html-old" / "a").touch()
    with pytest.raises(RuntimeError), files.fresh_folder(tmp_path / "html"):
        raise RuntimeError
    assert listing(tmp_path / "html") == ["a"]


@pytest.mark.parametrize(
    ("system", "text", "words"),
    [
        ("posix", r"fashion data.path='my folder'/x\ y", ["fashion", "data.path=my folder/x y"]),
        ("nt", r'fashion data.path="C:\my folder\x"', ["fashion", r"data.path=C:\my folder\x"]),
        (
            "nt",
            r"C:\venv\python.exe train.py {data}",
            [r"C:\venv\python.exe", "train.py", "{data}"],
        ),
    ],
)
def test_words_of_a_command_line_keep_the_backslashes_of_windows(monkeypatch, system, text, words):
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "name", system)
        found, again = files.words_of(text), files.words_of(files.quoted(words))
    assert found == again == words
    with pytest.raises(ValueError, match="quotation"):
        files.words_of("fashion 'seed=1")


def test_what_is_printed_steers_no_terminal():
    assert files.printable("a\x1b[31m\nb\udcff") == "a [31m\nb "


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_letter_that_the_terminal_does_not_know_ends_no_command(encoding):
    code = "from sacutils.files import run_command; run_command(lambda: print('\u732b'))"
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.decode(encoding).strip() in ("\u732b", r"\u732b")
