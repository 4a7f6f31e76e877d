"""conda, pip and the project file ask for the same versions."""

import re
import tomllib

import yaml

from sacutils.profiles import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


def _required() -> set[str]:
    return {_name(requirement) for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]}


def test_every_dependency_is_pinned() -> None:
    assert _required() <= set(_pins())


def test_constraints_hold_pins_only() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    assert lines and all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)


def test_environment_yml_has_the_same_packages_and_pins() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    assert pip[-1] == "--editable ."
    assert {_name(line.split("==")[0]): line.split("==")[1] for line in pip[:-1]} == {
        name: version for name, version in _pins().items() if name in _required()
    }


def test_python_of_environment_yml_is_accepted_by_the_project() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    python = next(entry for entry in entries if isinstance(entry, str) and entry.startswith("python="))
    minimum = tuple(int(part) for part in re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["requires-python"]).groups())
    assert tuple(int(part) for part in python.removeprefix("python=").split(".")) >= minimum


def test_jupyter_book_stays_below_two() -> None:
    assert "jupyter-book<2" in PROJECT["dependencies"]
    assert int(_pins()["jupyter-book"].split(".")[0]) < 2
