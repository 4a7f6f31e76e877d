"""Atomic writes, checksums and records."""

import hashlib
import signal
import subprocess
import sys

import pytest

from sacutils import artefacts

from .conftest import listing

KILLED = """
import os, signal, sys
from pathlib import Path
from sacutils import artefacts
with artefacts.atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_atomic_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "record.json"
    artefacts.write_text(path, "one")
    artefacts.write_text(path, "zwölf")
    assert path.read_bytes() == "zwölf".encode() and listing(path.parent) == ["record.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("exception", [RuntimeError, KeyboardInterrupt])
def test_failed_write_keeps_the_old_file(tmp_path, exception):
    path = tmp_path / "weights.bin"
    path.write_text("old")
    with pytest.raises(exception), artefacts.atomic_path(path) as temporary:
        temporary.write_text("half of the new")
        raise exception
    assert path.read_text() == "old" and listing(tmp_path) == ["weights.bin"]


def test_killed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=artefacts.__file__.rsplit("/", 2)[0])
    assert killed.returncode == -signal.SIGKILL and path.read_text() == "old"


def test_temporary_file_is_beside_and_keeps_the_suffix(tmp_path):
    with artefacts.atomic_path(tmp_path / "x.safetensors") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".safetensors" and temporary.name != "x.safetensors"


def test_sha256_is_that_of_the_content(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert artefacts.sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_digest_ignores_key_order_and_nothing_else():
    assert artefacts.digest_of({"a": 1, "b": [2, None]}) == artefacts.digest_of({"b": [2, None], "a": 1})
    values = [{"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, [1, 2], [2, 1], None]
    assert len({artefacts.digest_of(value) for value in values}) == len(values)


def test_json_round_trip_and_its_errors(tmp_path, refused):
    path = tmp_path / "record.json"
    refused(lambda: artefacts.read_json(path), "record.json", "does not exist")
    artefacts.write_json(path, {"loss": [0.1, 2], "parent": None})
    assert artefacts.read_json(path) == {"loss": [0.1, 2], "parent": None} and path.read_text().endswith("}\n")
    path.write_text(path.read_text()[:-5])
    refused(lambda: artefacts.read_json(path), "record.json", "not valid JSON")
    path.write_bytes(b"\xff\xfe{}")
    refused(lambda: artefacts.read_json(path), "record.json", "not valid JSON")


def test_provenance_says_what_and_when():
    made = artefacts.provenance()
    assert made["versions"].keys() == {"python", *artefacts.PACKAGES} and made["utc"].endswith("+00:00")
    assert "logical cores" in made["hardware"] and "\n" not in made["hardware"]
