"""Files that can be trusted: atomic writes, checksums, records; the exception for bad input."""

import datetime
import errno
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = (
    *("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas"),
    *("safetensors", "papermill", "jupyter-book"),
)
"""Packages that results depend on."""
UNWRITABLE = {
    getattr(errno, name, None)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")
}
"""Errors of the system that a user can mend: no space, no permission, a broken disk."""
PART = ".part-"
"""Stands in the names of files that are being written."""


CLUTTER = {"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin"}
"""Files and folders that operating systems leave behind, in small letters."""


class UserError(Exception):
    """Bad input: one sentence that names the file or field, what was found and what is accepted."""


def home() -> Path:
    """The folder that holds ``profiles/``, ``notebooks/``, ``data/`` and ``runs/``: the environment
    variable ``SAC_HOME``, else the working directory or the nearest folder above it with profiles;
    a ``UserError`` if there is none.
    """
    chosen = os.environ.get("SAC_HOME")
    folders = [Path(chosen)] if chosen else [Path.cwd(), *Path.cwd().parents]
    for folder in folders:
        if (folder / "profiles").is_dir():
            return folder.resolve()
    advice = "change to a copy of the repository or set SAC_HOME to it"
    raise UserError(f"{folders[0]} holds no folder profiles; {advice}.")


def is_clutter(name: str) -> bool:
    """Whether a file or folder is one that operating systems and editors leave behind, as .DS_Store
    and ._photo.png are; these are ignored wherever they lie.
    """
    return name.startswith(".") or name.lower() in CLUTTER


def run_command(app: Callable[[], Any]) -> None:
    """Run a command line; bad input is one sentence on standard error and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            with suppress(OSError):  # a pipe that a fork was handed
                stream.reconfigure(errors="backslashreplace")  # Windows may not know a letter
    try:
        app()
    except UserError as error:
        sentence = str(error)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        sentence = f"{error.filename or 'A file'} cannot be read or written ({reason})."
    except (MemoryError, RuntimeError) as error:
        # torch's own errors are of the second kind
        if not (isinstance(error, MemoryError) or "memory" in str(error).lower()):
            raise
        sentence = "Memory ran out; close other programs, or run fewer jobs at once (CORES=1)."
    else:
        return
    print(f"Error: {printable(sentence, keep='')}", file=sys.stderr)
    sys.exit(1)


def printable(text: str, keep: str = "\n") -> str:
    """A text, which may hold a stranger's, such that it steers no terminal; of what does not print
    only `keep` stays.
    """
    return "".join(c if c.isprintable() or c in keep else " " for c in text)


def words_of(text: str) -> list[str]:
    """The words of a command line, quoted as in this system's shell: backslashes are parts of paths
    on Windows. A ValueError if a quote stays open.
    """
    words = shlex.shlex(text, posix=True, punctuation_chars=False)
    words.whitespace_split, words.commenters = True, ""
    words.escape = "" if os.name == "nt" else words.escape
    return list(words)


def quoted(words: list[str]) -> str:
    """Words as one command for this system's shell."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


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

    A reader sees the old file or the whole new one, never a part, also when the process is killed;
    and the new one outlives a crash of the machine. A ``UserError`` if it cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        start = f".{path.name}{PART}"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=start, suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
        _sync(path.parent)
    except Exception as error:
        if not (reason := _unwritable(error, temporary)):
            raise
        advice = "mend that and run the same command again, what is finished is kept"
        raise UserError(f"{path} cannot be written ({reason}); {advice}.") from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def _unwritable(error: Exception, temporary: Path | None) -> str:
    """What the system says if an error is one of `UNWRITABLE` and concerns the temporary file, or
    its folder; else nothing. Some libraries hand on the system's error in their own words.
    """
    number = getattr(error, "errno", None)
    if told := re.search(r"\(os error (\d+)\)", str(error)):
        number = int(told[1])
    elsewhere = temporary and getattr(error, "filename", None) not in (None, str(temporary))
    return os.strerror(number) if number in UNWRITABLE - {None} and not elsewhere else ""


def _sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, outlive a crash of the machine."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def locked(path: Path, refusal: str = "") -> Iterator[None]:
    """Let one process at a time make a file: others wait here and say so, or are given a
    ``UserError`` with the sentence `refusal`. A process that is killed holds nothing.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if refusal:
            raise UserError(refusal) from None
        print(f"Another process makes {path.name}; waiting for it.", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):  # who waits for a removed lock makes a new one
            Path(lock.lock_file).unlink()
        lock.release()


@contextmanager
def together(*paths: Path) -> Iterator[None]:
    """Of files that are written in here and were not there, all stay or none does; so do their
    folders. What fails can be repeated then, where nothing is overwritten.
    """
    new = [path for path in (*paths, *(path.parent for path in paths)) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):  # a folder that holds more stays
                path.rmdir() if path.is_dir() else path.unlink()
        raise


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, which takes its place on success.

    If what fills it fails, the old folder stays, and the new one for whoever looks for the cause.
    """
    from concurrent.futures import ThreadPoolExecutor

    new, old = (folder.with_name(f".{folder.name}-{age}") for age in ("new", "old"))
    if old.exists() and not folder.exists():  # killed between the two
        old.rename(folder)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    yield new
    with ThreadPoolExecutor(16) as pool:  # side by side, for each waits for the disk
        list(pool.map(_sync, filter(Path.is_file, new.rglob("*"))))
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented, with a final newline."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def megabytes(*paths: Path) -> str:
    """The size of files, and of all files in folders, together: "3.1 MB"."""
    found = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return f"{sum(file.stat().st_size for file in found if file.is_file()) / 1e6:.1f} MB"


def read_json(path: Path) -> Any:
    """Read a JSON file; a ``UserError`` if it is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = "does not exist; run the workflow that makes it (make book)"
    except ValueError as error:
        problem = f"is not valid JSON ({error}); delete it and it will be made again"
    raise UserError(f"{path} {problem}.")


def matches(path: Path, digest: str) -> bool:
    """Whether a file is the one that the record beside it describes, and has this digest."""
    with suppress(UserError, FileNotFoundError, KeyError, TypeError):
        record = read_json(path.with_suffix(".json"))
        return record["digest"] == digest and record["sha256"] == sha256(path)
    return False


def intact(path: Path, digest: str) -> bool:
    """As :func:`matches`; a file that is there and does not match is reported."""
    if path.exists() and path.with_suffix(".json").exists():
        if matches(path, digest):
            return True
        print(f"{path.name} is damaged or out of date and is made again.")
    return False


def write_record(path: Path, digest: str, **more: Any) -> None:
    """Write the record of a file beside it: digest, checksum, provenance and what else is given."""
    record = more | {"digest": digest, "sha256": sha256(path)} | provenance()
    write_json(path.with_suffix(".json"), record)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of those of `PACKAGES` that are installed, read without importing
    them: a machine that only trains has no need of what makes the book.
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@cache
def hardware() -> str:
    """One line that describes this machine: processor, logical cores, memory."""
    model, memory = platform.processor() or platform.machine(), ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f", {size / 2**30:.0f} GiB memory"
    return f"{model}, {os.cpu_count()} logical cores{memory}, {platform.system()}"


def provenance() -> dict[str, Any]:
    """What a record states beside every artefact: versions, hardware and the UTC time."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"versions": versions(), "hardware": hardware(), "utc": now}
