"""Points for submitted notebooks, without nbgrader: python check.py KEY SUBMITTED...

KEY is a notebook of the folder `graded`, SUBMITTED are answers to the student version of the same
chapter. Needs Python 3.10 or newer and NumPy, and nothing else of the book. Each exercise runs in a
process of its own for at most 60 seconds, and gets all of its points or none. It runs what students
wrote: use a machine where that does no harm.
"""

import json
import secrets
import subprocess
import sys
from pathlib import Path

NEEDED = "import math\nimport numpy as np\n"


def cells(path: Path) -> dict[str, dict]:
    """Cells of a notebook that belong to an exercise, by their name for nbgrader."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))["cells"]
        named = [(cell["metadata"].get("nbgrader", {}).get("grade_id"), cell) for cell in notebook]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"{path} is not a notebook: {type(error).__name__} {error}")
    return {name: cell | {"source": "".join(cell["source"])} for name, cell in named if name}


def passes(*parts: str) -> bool:
    """Whether the code runs to its end in a fresh process."""
    word = secrets.token_hex(16)  # a submission that leaves early cannot know it
    code = "\n".join([NEEDED, *parts, f"print({word!r})"])
    command = [sys.executable, "-X", "utf8", "-c", "import sys; exec(sys.stdin.read())"]
    pipes = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
    try:
        done = subprocess.run(command, input=code, timeout=60, **pipes)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and done.stdout.endswith(f"{word}\n")


def judge(key: dict[str, dict], submitted: dict[str, dict]) -> list[tuple[str, int | None, int]]:
    """Name, points and possible points of each graded cell; None for an answer in words."""
    rows = []
    for name, cell in key.items():
        about, (exercise, _, part) = cell["metadata"]["nbgrader"], name.rpartition("-")
        if about["grade"] and part == "solution":
            rows.append((exercise, None, about["points"]))
        elif about["grade"]:
            given = key.get(f"{exercise}-given", {"source": ""})["source"]
            answer = submitted.get(f"{exercise}-solution", {"source": ""})["source"]
            reached = about["points"] * passes(given, answer, cell["source"])
            rows.append((exercise, reached, about["points"]))
    return rows


def main(arguments: list[str]) -> None:
    """Print the points of each submission."""
    if len(arguments) < 2:
        sys.exit(__doc__)
    key = cells(Path(arguments[0]))
    if not any("assert " in cell["source"] for cell in key.values()):
        sys.exit(f"{arguments[0]} has no checks; KEY is a notebook of the folder graded.")
    for path in arguments[1:]:
        rows = judge(key, cells(Path(path)))
        print(path)
        for name, reached, possible in rows:
            print(f"  {name:34s}{'to be read' if reached is None else reached:>10} of {possible}")
        checked = [(reached, possible) for _, reached, possible in rows if reached is not None]
        total, most = (sum(column) for column in zip(*checked, strict=True))
        print(f"  {'checked':34s}{total:>10} of {most}")


if __name__ == "__main__":
    main(sys.argv[1:])
