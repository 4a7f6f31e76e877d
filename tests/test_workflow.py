"""The workflow repeats exactly what a change touches. Needs the smoke run that ``make book PROFILE=smoke`` leaves behind."""

import filecmp
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sacutils import lineage, workflow
from sacutils.profiles import ROOT, load_profile
from sacutils.runs import open_run

PROFILE = load_profile("smoke")
TRAINING = {f"train-{group}" for group in lineage.groups(PROFILE)}
NOTEBOOKS = {f"notebook-{name}" for name in workflow.notebook_names() if name != "90_status"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources, the smoke run and Snakemake's memory of it in a folder of their own."""
    assert (ROOT / "runs/smoke/steps/book.json").exists(), "run `make book PROFILE=smoke` before the tests (make test does so)"
    ignore = shutil.ignore_patterns(".git", ".venv", "_build", "custom", "fashion*", "log", "__pycache__", ".*_cache", "tests")
    target = tmp_path / "copy"
    shutil.copytree(ROOT, target, ignore=ignore)
    for name in ("profiles/fashion.yaml", "data/fashion_subset.npz"):
        shutil.copy2(ROOT / name, target / name)
    shutil.copytree(ROOT / "results", target / "results", dirs_exist_ok=True)
    return target


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-triggers", "params", "input", "--nolock"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def jobs(folder: Path) -> set[str]:
    """Names of the jobs that Snakemake would run."""
    result = snakemake(folder, "--dry-run", "--config", "profile=smoke")
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    if "Nothing to be done" in output:
        return set()
    table = output.split("Job stats:")[1].split("\ntotal")[0]
    return {line.split()[0] for line in table.splitlines() if re.match(r"\S+ +\d+$", line) and not line.startswith("total")}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_nothing_is_repeated_when_nothing_changed(copy: Path) -> None:
    assert jobs(copy) == set()


def test_touching_every_file_repeats_nothing(copy: Path) -> None:
    for path in [*copy.glob("sacutils/*.py"), *copy.glob("profiles/*"), *copy.glob("notebooks/*"), *copy.glob("book/*")]:
        path.touch()
    assert jobs(copy) == set()


def test_an_edit_in_plots_retrains_nothing(copy: Path) -> None:
    edit(copy / "sacutils/plots.py", '"figure.facecolor": "white"', '"figure.facecolor": "ivory"')
    found = jobs(copy)
    assert found <= NOTEBOOKS | {"status", "book"}
    assert {"book"} < found


def test_an_edit_in_the_training_loop_retrains_everything(copy: Path) -> None:
    edit(copy / "sacutils/training.py", "optimizer.zero_grad()", "optimizer.zero_grad(set_to_none=False)")
    assert TRAINING | {"tables", "book"} <= jobs(copy)


def test_a_comment_in_the_training_loop_renders_the_api_page_only(copy: Path) -> None:
    edit(copy / "sacutils/training.py", "optimizer.zero_grad()", "optimizer.zero_grad()  # a remark")
    assert jobs(copy) == {"book"}


def test_a_changed_sentence_renders_the_book_only(copy: Path) -> None:
    (copy / "book/problem.md").open("a").write("\nOne more sentence.\n")
    assert jobs(copy) == {"book"}


def test_a_changed_analysis_parameter_repeats_one_notebook(copy: Path) -> None:
    with (copy / "notebooks/10_probes.py").open("a") as file:
        file.write("\n# %% [markdown]\n# One more remark.\n")
    assert jobs(copy) == {"notebook-10_probes", "status", "book"}


def test_a_changed_recipe_retrains_what_it_touches(copy: Path) -> None:
    edit(copy / "profiles/smoke.yaml", "pgd_radius: 4", "pgd_radius: 3")
    assert {job for job in jobs(copy) if job.startswith("train-")} == {
        job for job in TRAINING if job.startswith("train-extract-") or job == "train-variant-watermarked"
    }


def test_a_second_run_gives_the_same_bytes(tmp_path: Path) -> None:
    again = open_run("smoke", folder=tmp_path)
    again.write_tables()
    first = ROOT / "runs/smoke"
    weights = sorted(path.name for path in again.shared.glob("zoo/*.safetensors"))
    assert len(weights) == len(again.records())
    for name in [f"zoo/{name}" for name in weights] + [f"tables/{name}.csv" for name in ("zoo", "distances", "auc")]:
        assert filecmp.cmp(first / name, tmp_path / "smoke" / name, shallow=False), name


def run_verb(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sacutils.workflow", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("data", "--profile", "nonsense"), ["nonsense", "fashion", "smoke"]),
        (("train", "nonsense", "--profile", "smoke"), ["nonsense", "source"]),
        (("notebook", "nonsense", "--profile", "smoke"), ["nonsense", "10_probes"]),
        (("notebook", "10_probes", "--profile", "smoke", "-p", "nonsense", "3"), ["nonsense", "profile", "overrides"]),
        (("notebook", "10_probes", "--profile", "smoke", "-p", "recipes.nonsense.lr", "3"), ["recipes.nonsense.lr"]),
        (("notebook", "10_probes", "--profile", "smoke", "-p", "seed", "many"), ["seed", "many"]),
        (("notebook", "10_probes", "--profile", "smoke", "-p", "seed"), ["-p key value"]),
        (("notebook", "10_probes", "--profile", "smoke", "--nonsense"), ["--nonsense", "-p key value"]),
        (("data", "--profile", "smoke", "--seed", "-1"), ["seed", "-1"]),
        (("data", "--profile", "smoke", "--set", "nonsense"), ["nonsense", "key=value"]),
        (("data", "--profile", "smoke", "--set", "recipes.nonsense.lr=3"), ["recipes.nonsense.lr"]),
        (("baseline", "nonsense", "--profile", "smoke"), ["nonsense", "ipguard"]),
        (("reference", "977", "--profile", "smoke"), ["is missing", "SEED="]),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(arguments: tuple[str, ...], words: list[str]) -> None:
    before = set((ROOT / "runs").rglob("*"))
    result = run_verb(*arguments)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error: ") == 1 and len(result.stderr.strip().splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr
    assert set((ROOT / "runs").rglob("*")) == before


def test_the_snakefile_refuses_an_unknown_profile_in_one_sentence() -> None:
    result = snakemake(ROOT, "--dry-run", "--config", "profile=nonsense")
    assert result.returncode != 0
    assert "Unknown profile 'nonsense'" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_a_notebook_with_a_parameter_of_its_own_stays_out_of_the_book() -> None:
    book = ROOT / "runs/smoke/notebooks/10_probes.ipynb"
    before = book.read_bytes()
    result = run_verb("notebook", "10_probes", "--profile", "smoke", "-p", "patch", "0.5")
    assert result.returncode == 0, result.stderr
    page = Path(re.search(r"Executed notebook: (.*\.html)", result.stdout)[1])
    assert page.parent == ROOT / "runs/smoke/custom" and page.stat().st_size > 10_000
    assert book.read_bytes() == before


@pytest.mark.parametrize("seed", ["abc", "-1", "1.5"])
def test_the_snakefile_refuses_a_seed_that_is_none(seed: str) -> None:
    result = snakemake(ROOT, "--dry-run", "--config", "profile=smoke", f"seed={seed}")
    assert result.returncode != 0
    assert "seed" in result.stderr and seed in result.stderr
    assert "Traceback" not in result.stderr
