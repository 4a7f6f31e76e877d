"""Files that can be trusted: atomic writes, checksums, records, and the one exception for bad input."""

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "safetensors", "papermill", "jupyter-book")


class UserError(Exception):
    """Bad input: one clear sentence that names the file or field, what was found, and what is accepted."""


def plain(text: object, most: int = 60) -> str:
    """A stranger's text as it can stand inside a sentence: short, one line, nothing that steers a terminal."""
    line = "".join(character for character in str(text).partition("\n")[0] if character.isprintable())
    return line[:most].replace(". ", ".").rstrip(". ")


def readable(name: str) -> str:
    """A name of a file as text that can be written, also where the file system allows bytes that are none."""
    return os.fsencode(name).decode(errors="replace")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are all different, because readers disagree on which of two counts; for ``json.loads``.

    Raises
    ------
    ValueError
        If a key occurs twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise ValueError(f"{plain(twice)!r} occurs twice in one object")
    return found


def run_command(app: Callable[[], Any]) -> None:
    """Run a command line; bad input is one sentence on standard error and exit code 1."""
    try:
        app()
    except UserError as error:
        sentence = str(error)
    except OSError as error:
        sentence = f"{error.filename or 'A file'} cannot be read or written ({error.strerror or type(error).__name__})."
    else:
        return
    # the last net: whatever a stranger's text in it is, it is one line and steers no terminal
    print(f"Error: {''.join(c if c.isprintable() else ' ' for c in sentence)}", file=sys.stderr)
    sys.exit(1)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-serialisable value, independent of the order of dictionary keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there on success, remove it on failure.

    A reader sees the old file or the whole new one, never a part, also when the process is killed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented, with a final newline."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    UserError
        If the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the workflow that makes it (make book).") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); delete it and it will be made again.") from None


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, read without importing them."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}


@cache
def hardware() -> str:
    """One line that describes this machine: processor, logical cores, memory."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB memory"
    return f"{model}, {os.cpu_count()} logical cores{memory}, {platform.system()}"


def provenance() -> dict[str, Any]:
    """What a record states beside every artefact: versions, hardware and the UTC time."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"versions": versions(), "hardware": hardware(), "utc": now}
