"""The workflow repeats exactly what a change touches; bad input is one sentence; blanks survive.

Needs the smoke run that ``make book PROFILE=smoke`` leaves behind; ``make test`` makes it first.
"""

import filecmp
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import nbformat
import pytest

from sacbook import jobs, workflow
from sacutils import steps
from sacutils.files import UserError
from sacutils.profiles import load_profile
from sacutils.run import open_run

ROOT = Path(__file__).resolve().parents[2]
PROFILE = load_profile("smoke")
TRAINING = {f"train-{group}" for group in jobs.groups(PROFILE)}
RIVALS = {name for name in jobs.plan(PROFILE) if name.startswith("rival-")}
LAST = {"notebook-status", "book"}
MADE = (".git", ".venv", "_build", "runs", ".snakemake", "__pycache__", ".*_cache", "*.egg-info")


def pages(pattern: str) -> set[str]:
    """Jobs of the numbered notebooks whose script matches a regular expression."""
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in ROOT.glob("notebooks/*.py")}
    names = {name for name, text in scripts.items() if re.search(pattern, text, re.MULTILINE)}
    assert names, f"no notebook has {pattern}"
    return {f"notebook-{name}" for name in names} - LAST


NOTEBOOKS = pages("^profile = ")
COMPARED = pages(
    r"^from sacutils\.(studies )?import .*\b(comparison|rivals)\b|^from sacutils.*"
    r"\.(comparison|rivals)\b|^from sacutils\.studies import .*\bcomparison\b"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, the smoke run and Snakemake's memory of it, in a folder with a blank."""
    if not (ROOT / "runs/smoke/steps/book.json").exists():
        pytest.fail("Run `make book PROFILE=smoke` before these tests (make test does so).", False)
    target = tmp_path_factory.mktemp("my folder") / "copy"
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*MADE, "tests"), symlinks=True)
    unused = shutil.ignore_patterns("custom", "zoo", "failed")
    shutil.copytree(ROOT / "runs/smoke", target / "runs/smoke", ignore=unused)
    (target / "runs/smoke/zoo").symlink_to(ROOT / "runs/smoke/zoo")
    (target / "_build/smoke/html").mkdir(parents=True)
    (target / "_build/smoke/html/index.html").touch()
    for name in ("metadata", "incomplete"):
        if (ROOT / ".snakemake" / name).exists():
            shutil.copytree(ROOT / ".snakemake" / name, target / ".snakemake" / name)
    return target


def call(folder: Path, *words: str) -> subprocess.CompletedProcess:
    # code and data are those of the folder, whatever is installed
    environment = os.environ | {"PYTHONPATH": str(folder), "SAC_HOME": str(folder)}
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def snakemake(folder: Path, *config: str) -> subprocess.CompletedProcess:
    options = ["--cores", "1", "--nolock", "--dry-run", "--rerun-triggers", "params", "input"]
    return call(folder, "-m", "snakemake", *options, "--config", *config)


PLANNED = """
import json
from sacbook import jobs, status
from sacutils.profiles import load_profile

profile = load_profile("smoke")
plan = jobs.plan(profile)
print(json.dumps(list(status.all_outdated(plan, status.outdated(profile, plan)))))
"""


def planned(folder: Path) -> set[str]:
    """Names of the jobs that would be repeated, as ``make status`` and ``make book`` have them."""
    done = call(folder, "-c", PLANNED)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def snakemake_would_run(folder: Path) -> set[str]:
    result = snakemake(folder, "profile=smoke")
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    if "Nothing to be done" in output:
        return set()
    table = output.split("Job stats:")[1].split("\ntotal")[0]
    lines = [line.split() for line in table.splitlines() if re.match(r"\S+ +\d+$", line)]
    return {line[0] for line in lines}


@pytest.fixture
def edited(finished: Path) -> Callable[..., set[str]]:
    """Edit files of the copy, say what would be repeated, and put them back."""
    before: dict[Path, bytes | None] = {}

    def keep(path: Path) -> Path:
        before.setdefault(path, path.read_bytes() if path.exists() else None)
        return path

    def edit(name: str, old: str | None = None, new: str = "") -> set[str]:
        path = keep(finished / name)
        if old is None:
            path.write_text((path.read_text("utf-8") if path.exists() else "") + new, "utf-8")
        else:
            text = path.read_text(encoding="utf-8")
            assert old in text, f"{name} has no {old!r}"
            path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return planned(finished)

    yield edit
    for path, content in before.items():
        path.unlink() if content is None else path.write_bytes(content)


def test_nothing_is_repeated_when_nothing_changed(finished):
    assert planned(finished) == set()


def test_snakemake_runs_what_is_planned(finished, edited):
    repeated = edited("profiles/smoke.yaml", "pgd_radius: 4", "pgd_radius: 3")
    assert repeated == snakemake_would_run(finished)


def test_a_clock_that_jumps_repeats_nothing(finished):
    moments = itertools.cycle((1e9, 4e9))  # long ago, and yet to come
    for folder in ("sacutils", "sacbook", "profiles", "notebooks", "book", "results", "runs"):
        for path in (finished / folder).rglob("*"):
            os.utime(path, (moment := next(moments), moment))
    assert planned(finished) == snakemake_would_run(finished) == set()


def test_an_edit_in_one_rival_measures_it_again_and_runs_the_pages_that_show_rivals(edited):
    repeated = edited("sacutils/rivals/zest.py", "EQUAL = 4, 64,", "EQUAL = 4, 65,")
    rivals = {"rival-zest", "rival-zest-equal-queries"}
    assert repeated == rivals | {"comparison"} | COMPARED | LAST
    assert COMPARED < NOTEBOOKS


def test_code_that_nothing_uses_renders_the_api_page_only(edited):
    assert edited("sacutils/rivals/zest.py", new="\n\nUNUSED = 1\n") == {"book"}


def test_an_edit_in_what_rivals_share_measures_all_of_them(edited):
    old = "rows = slice(len(part.pixels))"
    repeated = edited("sacutils/studies/comparison.py", old, f"{old[:-1]} + 0)")
    assert repeated >= RIVALS | {"comparison"} | COMPARED | LAST
    assert not repeated & (TRAINING | {"tables"})


@pytest.mark.parametrize(
    ("kind", "drawn_by"),
    [
        # the owner's tool draws some for a page
        ("strips", r"figures\.strips|report\.(among|page)"),
        ("matrices", r"figures\.matrices|report\.page"),
        ("images", r"figures\.images|report\.page"),
    ],
)
def test_an_edit_in_one_kind_of_figure_runs_the_pages_that_draw_it(edited, kind, drawn_by):
    path = ROOT / "sacutils/figures.py"
    body = re.search(rf"^def {kind}\(.*?^def ", path.read_text("utf-8") + "\ndef ", re.M | re.S)
    old = re.findall(r"^    return .*$", body[0], re.M)[-1]
    whole = body[0]
    repeated = edited("sacutils/figures.py", whole, whole.replace(old, "    int()\n" + old))
    still = {"explorer"} if kind == "strips" else set()  # the picture of it for paper
    assert repeated == pages(rf"\b({drawn_by})\(") | still | LAST


@pytest.mark.parametrize(
    "name", ["fashion/auc.csv", "fashion/provenance.json", "cifar10_plain/zoo.csv"]
)
def test_another_reference_run_runs_the_pages_that_show_reference_runs(edited, name):
    repeated = edited(f"results/{name}", new="\n")
    shown = pages(r"^from sacutils\.studies import .*\breferences\b") | LAST
    assert repeated == shown | {"references"}


def test_another_published_value_runs_the_pages_that_show_it(edited):
    repeated = edited("results/published_auc.csv", new="\n")
    shown = pages(r"\b(claims|reference)\.published\(") | LAST | {"references"}
    assert shown <= repeated < NOTEBOOKS | shown


def test_an_edit_in_the_training_loop_repeats_everything_but_the_data(edited):
    old = "optimizer.zero_grad()"
    repeated = edited("sacutils/training.py", old, "optimizer.zero_grad(set_to_none=False)")
    # the findings of reference runs name the tricks of thieves, which are trainings
    assert repeated == set(jobs.plan(PROFILE)) - {"data"}


def test_a_comment_in_the_training_loop_renders_the_api_page_only(edited):
    old = "optimizer.zero_grad()"
    assert edited("sacutils/training.py", old, f"{old}  # a remark") == {"book"}


def test_an_edit_in_a_table_makes_the_tables_and_pages_again_and_asks_no_rival(edited):
    old = "specs = run.evaluated()"
    repeated = edited("sacutils/studies/tables.py", old, "specs = list(run.evaluated())")
    assert {"tables", "comparison"} | LAST <= repeated
    assert not repeated & (TRAINING | RIVALS | {"data"})


def test_an_edit_in_a_notebook_repeats_this_notebook(edited):
    name = min(NOTEBOOKS).removeprefix("notebook-")
    repeated = edited(f"notebooks/{name}.py", new="\n# %% [markdown]\n# One more remark.\n")
    assert repeated == {f"notebook-{name}"} | LAST


def test_a_changed_sentence_renders_the_book_only(edited):
    assert edited("book/glossary.md", new="\nOne more sentence.\n") == {"book"}


def test_an_edit_in_the_lab_makes_the_pack_again(edited):
    assert edited("teaching/lab.py", new="\n# %%\n1 + 1\n") == {"labpack"} | LAST


def test_a_changed_recipe_retrains_what_it_touches(edited):
    repeated = edited("profiles/smoke.yaml", "pgd_radius: 4", "pgd_radius: 3")
    hardened = {
        f"train-{group}"
        for group, specs in jobs.groups(PROFILE).items()
        if any(spec.step == "extract_adversarial" for spec in specs)
    }
    trained = {job for job in repeated if job.startswith("train-")}
    assert hardened <= trained
    assert not trained & {"train-source", "train-prune", "train-controls", "train-surrogates"}


def test_another_number_of_probes_retrains_nothing(edited):
    repeated = edited("profiles/smoke.yaml", "probes: {count: ", "probes: {count: 1")
    assert {"tables", "comparison"} | RIVALS | NOTEBOOKS | LAST <= repeated
    assert not repeated & (TRAINING | {"data"})


def test_another_profile_concerns_the_page_that_shows_all_profiles(edited):
    assert (
        edited("profiles/paper.yaml", new="\n# a remark\n") == LAST
    )  # the status page and the book


def test_a_new_image_in_a_folder_of_images_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "my images/cat").mkdir(parents=True)
    values = {
        "data": {"name": "imagefolder", "path": str(tmp_path / "my images"), "image_size": 16}
    }
    values["transfer.data"] = values["data"]
    before = jobs.plan(load_profile("smoke", values))["data"]
    assert jobs.plan(load_profile("smoke", values))["data"] == before
    (tmp_path / "my images/cat/one.png").write_bytes(b"one")
    assert jobs.plan(load_profile("smoke", values))["data"].digest != before.digest


def test_jobs_stand_behind_what_they_wait_for_and_start_with_the_longest():
    plan = jobs.plan(load_profile("fashion"))
    names = list(plan)
    assert names[0] == "data" and names[-1] == "book"
    for name, job in plan.items():
        assert all(names.index(before) < names.index(name) for before in job.after)
    assert not [name for name in names if "variant" in name or name in ("ablations", "rival-ewe")]
    whole = load_profile("fashion", {"full": True})
    full = jobs.plan(whole)
    assert {"ablations", "rival-ewe", "train-variant-watermarked"} <= set(full)
    # what both compute is the same, so that a full run takes it over
    assert full["data"] == plan["data"]
    assert steps.digests(load_profile("fashion")).items() <= steps.digests(whole).items()


def test_planning_and_help_import_no_torch():
    code = "import sys; from sacbook import jobs, workflow; from sacutils.profiles import *; "
    code += "jobs.plan(load_profile('smoke')); print({'torch', 'papermill'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_a_second_run_gives_the_same_bytes(tmp_path):
    from sacutils.studies import tables

    again, first = open_run("smoke", folder=tmp_path), ROOT / "runs/smoke"
    shutil.copytree(first / "zoo", again.shared / "zoo")
    # one model of each kind is trained again; the others are those of the book
    specs = reversed(again.zoo.specs.items())
    trained = {spec.step: again.zoo.path(name) for name, spec in specs}
    for path in trained.values():
        path.unlink()
        path.with_suffix(".json").unlink()
    tables.write(again)
    names = [f"tables/{path.name}" for path in (tmp_path / "smoke/tables").glob("*.csv")]
    assert len(names) >= 3 and len(trained) > 30
    for name in [f"zoo/{path.name}" for path in trained.values()] + names:
        assert filecmp.cmp(first / name, tmp_path / "smoke" / name, shallow=False), name


def run_verb(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sacbook.forked", "sacbook", *arguments]
    environment = os.environ | environment
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )


NAME = jobs.notebook_names()[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("book", "--profile", "nonsense"), ["nonsense", "fashion", "smoke"]),
        (("step", "nonsense", "--profile", "smoke"), ["nonsense", "train-source", "rival-ipguard"]),
        (("notebook", "nonsense", "--profile", "smoke"), ["nonsense", NAME]),
        (
            ("notebook", NAME, "--profile", "smoke", "-p", "nonsense", "3"),
            ["nonsense", "overrides"],
        ),
        (("notebook", NAME, "-p", "recipes.nonsense.lr", "3"), ["recipes.nonsense.lr"]),
        (("notebook", NAME, "-p", "seed", "many"), ["seed", "many"]),
        (("notebook", NAME, "-p", "seed"), ["-p key value"]),
        (("notebook", NAME, "--nonsense"), ["--nonsense", "-p key value"]),
        (("notebook", NAME, "--seed", "1", "-p", "seed", "2"), ["seed", "twice"]),
        (("notebook", NAME, "--profile", "smoke", "-p", "profile", "paper"), ["profile", "twice"]),
        (("book", "--profile", "smoke", "--seed", "-1"), ["seed", "-1"]),
        (("book", "--profile", "smoke", "--set", "nonsense"), ["nonsense", "key=value"]),
        (
            ("book", "--profile", "smoke", "--set", "recipes.nonsense.lr=3"),
            ["recipes.nonsense.lr"],
        ),
        (("book", "--seed", "1", "--set", "seed=2"), ["seed", "twice"]),
        (("book", "--executor", "nonsense"), ["nonsense", "slurm"]),
        (("book", "--executor", "slurm", "--cores", "2"), ["cores = 2", "profiles/slurm"]),
        (("reference", "977", "--profile", "smoke"), ["missing"]),
        (("compare", "smoke", "nonsense"), ["nonsense", "smoke"]),
        (("compare", "smoke data.path='/x", "smoke"), ["The run", "No closing quotation"]),
        (("launch", "somewhere", "--profile", "smoke"), ["repository.url", "_config.yml"]),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(arguments, words):
    def files() -> set[Path]:
        # other tests run beside these, with changed values: runs/smoke-...
        folders = [path for path in ROOT.glob("runs/*") if not path.name.startswith("smoke-")]
        return {file for folder in folders for file in folder.rglob("*")}.union(folders)

    before = files()
    result = run_verb(*arguments)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error: ") == 1 and len(result.stderr.strip().splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr
    assert files() == before


def test_a_profile_may_have_a_number_as_its_name_and_a_hidden_file_is_none(finished):
    """Snakemake reads what stands behind --config as YAML."""
    made = finished / "profiles" / "1_0.yaml"
    made.write_text("base: smoke\n", encoding="utf-8")
    (finished / "profiles" / "._smoke.yaml").write_bytes(b"\x00\xff")
    try:
        values = quote(json.dumps({"profile": "1_0"}))
        done = snakemake(finished, f"overrides={values}")
        assert done.returncode == 0 and "Job stats" in done.stdout + done.stderr
        listed = call(finished, "-c", "from sacutils import profiles; print(profiles.available())")
        assert "'1_0'" in listed.stdout and "._smoke" not in listed.stdout
    finally:
        made.unlink()
        (finished / "profiles" / "._smoke.yaml").unlink()


def test_a_notebook_that_is_no_python_is_one_sentence(edited):
    with pytest.raises(AssertionError, match=f"{NAME}.py is no Python"):
        edited(f"notebooks/{NAME}.py", "# %%", "x = (\n# %%")


@pytest.mark.parametrize("config", ["profile=nonsense", "seed=abc", "seed=-1", "seed=1.5"])
def test_the_snakefile_refuses_bad_values_in_one_sentence(config):
    result = snakemake(ROOT, "profile=smoke", config)
    assert result.returncode != 0
    assert config.split("=")[1] in result.stderr and "Error: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("", {}),
        ("a.b=1 c=[1,2]", {"a.b": 1, "c": [1, 2]}),
        ("data.path='/my images/a b' c=1e-2", {"data.path": "/my images/a b", "c": 0.01}),
        ('"data.path=/my images" c=true', {"data.path": "/my images", "c": True}),
    ],
)
def test_values_of_make_are_split_at_blanks_unless_quoted(monkeypatch, text, overrides):
    monkeypatch.setenv("SAC_SET", text)
    assert workflow.replaced() == overrides
    assert workflow.replaced(3, ["d=x"], True) == overrides | {"seed": 3, "d": "x", "full": True}


def test_an_unquoted_blank_is_refused(monkeypatch):
    monkeypatch.setenv("SAC_SET", "data.path=/my images")
    with pytest.raises(UserError, match=r"'images' is not accepted.*quoted"):
        workflow.replaced()


def test_a_path_with_a_blank_reaches_the_jobs(tmp_path):
    """From make's variable through Snakemake to a job, which names it in its refusal."""
    folder = tmp_path / "my images"
    value = f"data={{name: imagefolder, path: {folder}, image_size: 16}}"
    result = run_verb("book", "--profile", "smoke", SAC_SET=f'"{value}" "transfer.{value}"')
    assert result.returncode != 0
    assert str(folder) in result.stdout + result.stderr


def test_make_asks_for_what_was_asked_of_make():
    if not shutil.which("make"):
        pytest.fail("These tests need make.", False)

    def asked(*arguments: str) -> subprocess.CompletedProcess:
        command = ["make", "--dry-run", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    lines = asked("book", "PROFILE=smoke", "SEED=1", "FULL=1", "CORES=3").stdout
    assert '-m sacbook book --profile "smoke" --seed "1" --full --cores "3"' in lines
    assert "download.pytorch.org/whl/cpu torch torchvision" in asked("book", "TORCH=cpu").stdout
    assert asked("book", "TORCH=gpu").returncode and "cpu" in asked("book", "TORCH=gpu").stderr
    assert asked("book", "FULL=yes").returncode


def test_make_starts_python_without_what_would_change_or_slow_it():
    names = ("PYTHONPATH", "JUPYTER_PATH", "PYTHONDONTWRITEBYTECODE")
    command = ["make", "--eval", "shown:\n\t@env", "shown"]
    given = os.environ | dict.fromkeys(names, "1")
    said = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True).stdout
    assert {f"{name}=" for name in names} <= set(said.splitlines())


def test_seed_and_overrides_are_both_kept_and_the_page_stays_out_of_the_book():
    book = ROOT / f"runs/smoke/notebooks/{NAME}.ipynb"
    before = book.read_bytes()
    arguments = ("-p", "overrides", "{probes.views: 2}", "-p", "probes.count", "20")
    result = run_verb("notebook", NAME, "--profile", "smoke", "--seed", "1", *arguments)
    assert result.returncode == 0, result.stderr
    page = Path(re.search(r"Executed notebook: (.*\.html)", result.stdout)[1])
    assert page.is_relative_to(ROOT / "runs/smoke/custom") and page.stat().st_size > 10_000
    executed = page.parent.parent / f"{page.stem}.json"
    used = json.loads(executed.read_text(encoding="utf-8"))["parameters"]["overrides"]
    assert used == {"seed": 1, "probes.views": 2, "probes.count": 20}
    assert book.read_bytes() == before


def test_launch_holds_what_binder_and_colab_need(finished, tmp_path):
    """The branch is a copy in which the notebooks are executed and the run is found."""
    config = finished / "_config.yml"
    before = config.read_text(encoding="utf-8")
    address = "https://github.com/someone/book"
    config.write_text(before.replace('url: ""', f'url: "{address}"', 1), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(finished), "SAC_HOME": str(finished)}
    target = tmp_path / "my branch"
    command = [sys.executable, "-m", "sacbook", "launch", str(target), "--profile", "smoke"]
    try:
        done = subprocess.run(
            command, cwd=finished, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        again = subprocess.run(
            command, cwd=finished, env=environment, capture_output=True, text=True
        )
        assert again.returncode == 1 and "exists" in again.stderr
    finally:
        config.write_text(before, encoding="utf-8")
    notebooks = sorted(path.stem for path in (target / "notebooks").iterdir())
    assert notebooks == sorted(jobs.notebook_names())
    for name in notebooks:
        cells = nbformat.read(target / f"notebooks/{name}.ipynb", 4).cells
        assert any(cell.get("outputs") for cell in cells), name
    text = (target / f"notebooks/{NAME}.ipynb").read_text(encoding="utf-8")
    assert address in text
    made = target / "environment.yml"
    assert "download.pytorch.org/whl/cpu" in made.read_text() and "--editable ." in made.read_text()
    assert (target / "pyproject.toml").exists() and (target / "profiles/smoke.yaml").exists()
    assert (target / "runs/smoke/tables/headline.json").exists()
    assert not (target / "_build").exists()
    zoo = {path.name for path in (target / "runs/smoke/zoo").iterdir()}
    specs = [each for name in jobs.names(PROFILE) for each in jobs.work(PROFILE, name)]
    assert zoo == {name for _, path in specs for name in (path.name, f"{path.stem}.json")}


def test_the_package_works_from_site_packages(tmp_path):
    """An ordinary installation, not an editable one: all is found from the working folder."""
    build = tmp_path / "source"
    shutil.copytree(ROOT, build, ignore=shutil.ignore_patterns(*MADE, "tests", "results", "data"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    site = tmp_path / "site packages"
    subprocess.run([*pip, "--target", str(site), str(build)], check=True, capture_output=True)
    home = tmp_path / "my folder"
    for name in ("profiles", "notebooks", "book", "data", "results"):
        shutil.copytree(ROOT / name, home / name)
    code = "from sacbook import jobs; from sacutils import files; import sacutils; "
    code += "from sacutils.profiles import load_profile; print(sacutils.__file__, files.home()); "
    code += "print(len(jobs.plan(load_profile('smoke'))))"
    environment = os.environ | {"PYTHONPATH": str(site)}
    environment.pop("SAC_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"{site}" in done.stdout and str(home) in done.stdout
    assert int(done.stdout.split()[-1]) == len(jobs.plan(PROFILE))
    assert (site / "bin/sacheck").exists() and (site / "bin/sacbook").exists()
