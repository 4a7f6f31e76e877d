"""conda, pip, the project file, the workflows of GitHub and the code ask for the same things."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from sacbook import browsers

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def plain(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {plain(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


def required(*extras: str) -> set[str]:
    lists = [PROJECT["dependencies"], *(EXTRAS[extra] for extra in extras)]
    return {plain(requirement) for names in lists for requirement in names}


def conda() -> list:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["dependencies"]


def test_every_dependency_is_pinned():
    assert required(*EXTRAS) <= set(pins())


def test_constraints_hold_pins_only():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and line[0] != "#"]
    assert lines
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)


def test_what_is_installed_is_what_is_pinned():
    known = pins()
    for name in required("check", "test"):
        version = importlib.metadata.version(name).partition("+")[0]  # torch's CPU wheels: +cpu
        assert version == known[name], name


def test_environment_yml_has_the_same_packages_and_pins():
    pip = next(entry["pip"] for entry in conda() if isinstance(entry, dict))
    assert pip[-1] == "--editable ."
    listed = {plain(line.split("==")[0]): line.split("==")[1] for line in pip[:-1]}
    assert listed == {name: pins()[name] for name in required(*EXTRAS)}


def test_python_of_environment_yml_is_accepted_by_the_project():
    entries = (entry for entry in conda() if isinstance(entry, str))
    python = next(entry for entry in entries if entry.startswith("python="))
    minimum = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["requires-python"]).groups()
    version = python.removeprefix("python=").split(".")
    assert tuple(map(int, version)) >= tuple(map(int, minimum))


def test_jupyter_book_stays_below_two():
    assert "jupyter-book<2" in PROJECT["dependencies"]
    assert int(pins()["jupyter-book"].split(".")[0]) < 2


def imported(folder: Path) -> set[str]:
    """Top-level names of the modules that the code in a folder imports, ours left out."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module)
    names = {name.split(".")[0] for name in names}
    return names - sys.stdlib_module_names - {"sacutils", "sacbook", "sacheck", "tests"}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("sacutils", ()),
        ("sacbook", ("lab", "test")),
        ("sacheck", ("check",)),
        ("notebooks", ("check",)),
    ],
)
def test_what_is_imported_is_declared_where_it_is_needed(folder, extras):
    distributions = importlib.metadata.packages_distributions()
    declared = required(*extras)
    for name in imported(ROOT / folder):
        names = {plain(distribution) for distribution in distributions.get(name, [name])}
        assert names & declared, f"{folder} imports {name}, which no list of pyproject.toml holds"


def test_the_package_list_is_the_packages():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = tomllib.loads(text)["tool"]["setuptools"]["packages"]
    there = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for name in ("sacutils", "sacbook", "sacheck")
        for path in (ROOT / name).rglob("__init__.py")
    }
    assert set(listed) == there


def test_import_contracts_name_every_module_of_the_core():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    core = next(c for c in contracts if c["name"].startswith("The core"))["source_modules"]
    there = {f"sacutils.{path.stem}" for path in (ROOT / "sacutils").glob("*.py")}
    assert set(core) == there - {"sacutils.__init__", "sacutils.figures"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_of_github_follow_its_schema(path):
    command = [sys.executable, "-m", "check_jsonschema"]
    command += ["--builtin-schema", "vendor.github-workflows", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def step(name: str) -> str:
    """The script of a step of the workflow that publishes."""
    text = (ROOT / ".github/workflows/publish.yml").read_text(encoding="utf-8")
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    return next(step["run"] for step in steps if name in (step.get("id"), step.get("name")))


@pytest.mark.parametrize("behind", ["", "  # our copy"])
@pytest.mark.parametrize("url", ["", "https://github.com/someone/book"])
def test_publishing_reads_the_address_from_the_configuration(url, behind, tmp_path):
    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    text, count = re.subn(r'(?m)^  url: ".*"$', f'  url: "{url}"{behind}', text)
    assert count == 1
    (tmp_path / "_config.yml").write_text(text, encoding="utf-8")
    environment = os.environ | {"GITHUB_OUTPUT": str(tmp_path / "output")}
    subprocess.run(["bash", "-euc", step("read")], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "output").read_text() == f"url={url}\n"


def git(*arguments: str, folder: Path) -> str:
    names = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    command = ["git", *names, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_publishing_pushes_what_launch_made(tmp_path):
    """The branch holds that folder and nothing else, one commit, and can be pushed again."""
    remote, copy, made = tmp_path / "remote.git", tmp_path / "copy", tmp_path / "launch"
    git("init", "--quiet", "--bare", str(remote), folder=tmp_path)
    git("clone", "--quiet", str(remote), str(copy), folder=tmp_path)
    (copy / ".gitignore").write_text("/runs/\n")
    git("add", ".", folder=copy)
    git("commit", "--quiet", "--message", "a book", folder=copy)
    for text in ("first", "second"):
        shutil.rmtree(made, ignore_errors=True)
        (made / "runs").mkdir(parents=True)
        (made / "runs/model").write_text(text)
        environment = os.environ | {"RUNNER_TEMP": str(tmp_path), "GITHUB_ACTOR": "someone"}
        command = ["bash", "-euc", step("push the branch launch")]
        subprocess.run(command, cwd=copy, env=environment | {"GITHUB_SHA": "0" * 40}, check=True)
    assert git("ls-tree", "-r", "--name-only", "launch", folder=remote).split() == ["runs/model"]
    assert git("show", "launch:runs/model", folder=remote) == "second"
    assert git("rev-list", "--count", "launch", folder=remote).strip() == "1"


def test_without_any_browser_one_sentence_says_so_within_seconds(tmp_path):
    environment = os.environ | {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, browsers.__file__]
    # Selenium's manager must not reach anything either
    environment |= {"SE_PROXY": "http://127.0.0.1:9", "SE_CACHE_PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1 and "install Chromium" in done.stderr


def test_a_browser_that_does_not_start_is_not_taken(tmp_path, monkeypatch):
    for name in ("chromium", "chromedriver"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browsers.on_path() == (str(tmp_path / "chromium"), str(tmp_path / "chromedriver"))
    assert browsers.find() is None


def test_the_science_loads_no_library_of_the_book_or_of_the_owners_tool():
    code = """
import importlib, pkgutil, sys, sacutils
for module in pkgutil.walk_packages(sacutils.__path__, "sacutils."):
    importlib.import_module(module.name)
print(*sorted({"onnx", "onnxruntime", "requests", "aiohttp", "snakemake", "papermill", "jupytext"}
              & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []
