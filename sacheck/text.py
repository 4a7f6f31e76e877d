"""Text and files from strangers: what is printed steers no terminal, what is read is bounded."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from sacutils.files import UserError, printable


def plain(text: object, most: int = 60) -> str:
    """A stranger's text shortened to a part of one line that can stand inside a sentence."""
    line = "".join(filter(str.isprintable, str(text).partition("\n")[0]))
    return line[:most].replace(". ", ".").rstrip(". ")


def say(text: str) -> None:
    """Print text that may hold a stranger's."""
    print(printable(text), flush=True)


def readable(name: str) -> str:
    """A file's name as valid text, also where the file system allows bytes that are no text."""
    return os.fsencode(name).decode(errors="replace")


def number(text: str) -> float:
    """A number as people and spreadsheets write it, in percent too; ValueError if it is none."""
    text = text.strip()
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def summary(error: BaseException) -> str:
    """The first line of what a parser or a stranger's module says."""
    return plain(str(error).strip(), 160) or type(error).__name__


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object for ``json.loads``; raises ValueError if a key occurs twice, of whose values
    some readers take the first and some the last.
    """
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            raise ValueError(f"{plain(key)!r} occurs twice in one object")
    return dict(pairs)


def refuse(where: object, problems: dict[str, bool]) -> None:
    """Raise a UserError for the first of some problems that is there."""
    for problem, there in problems.items():
        if there:
            raise UserError(f"{where}{problem}.")


def check_regular(path: Path, largest: int) -> None:
    """Refuse what is no regular file, or has more than `largest` bytes."""
    link, there = path.is_symlink(), path.is_file()
    kind = "a symbolic link" if link else "a folder" if path.is_dir() else "missing"
    size = path.stat().st_size if there else 0
    problems = {
        f" is {kind}; a regular file is needed": link or not there,
        f" has {size:,} bytes; at most {largest:,} are accepted": size > largest,
    }
    refuse(path, problems)


def unlinked(path: Path) -> Path:
    """What a link inside a Hugging Face cache stands for, a file of the same repository's folder
    ``blobs``; every other path as it is.
    """
    for folder in path.absolute().parents:
        if folder.name == "snapshots" and path.is_symlink():
            # the folder itself may be no link: it could lead anywhere
            real, blobs = (
                Path(os.path.realpath(path)),
                Path(os.path.realpath(folder.parent), "blobs"),
            )
            return real if real.parent == blobs else path
    return path


def read_bytes(path: Path, largest: int) -> bytes:
    """The content of a regular file that has at most `largest` bytes."""
    check_regular(path, largest)
    return path.read_bytes()
