"""The lab pack: its module has the book's definitions, and its notebook runs without the book."""

import ast
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from scipy.stats import t as student_t

from sacbook import labpack, saclab
from sacutils import correlation, evaluation, siblings
from sacutils.files import home
from sacutils.probes import PROBE_SETS
from sacutils.run import open_run

ALLOWED = ("numpy", "pandas", "matplotlib")
RUNNER = """
import importlib.abc, json, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in json.loads(sys.argv[1]):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import matplotlib
matplotlib.use("agg")
for notebook in sys.argv[2:]:
    space = {"display": lambda table: print(table.to_string())}
    for cell in json.load(open(notebook, encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)
    print("END")
print(*{name.split(".")[0] for name in sys.modules})
"""
BLOCKED = ("torch", "sacutils", "sacbook", "sacheck", "scipy", "sklearn", "seaborn", "IPython")


@pytest.fixture(scope="module")
def lab() -> Path:
    """The lab pack of the smoke run."""
    folder = home() / "runs/smoke/lab"
    if not (folder / "expected.json").exists():
        pytest.fail("Run `make book PROFILE=smoke` before these tests (make test does so).", False)
    return folder


@pytest.fixture(scope="module")
def unpacked(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("a class")
    with zipfile.ZipFile(lab / "sac-lab.zip") as archive:
        archive.extractall(target)
    return target / "sac-lab"


@pytest.fixture(scope="module")
def printed(lab: Path, unpacked: Path) -> list[str]:
    """What the solved and the blank lab print where nothing of the book can be imported, and the
    modules that are loaded in the end.
    """
    notebooks = [str(lab / "lab_solutions.ipynb"), str(unpacked / "lab.ipynb")]
    command = [sys.executable, "-c", RUNNER, json.dumps(BLOCKED), *notebooks]
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("END\n")


@pytest.mark.parametrize("form", saclab.FORMS)
def test_matrix_and_distance_are_those_of_the_book(form):
    logits = torch.randn(2, 7, 5, dtype=torch.float64) * 3
    theirs = correlation.cosine_matrix(correlation.to_form(logits, form))
    ours = [saclab.matrix(saclab.in_form(values.numpy(), form)) for values in logits]
    assert np.allclose(ours, theirs.numpy(), atol=1e-14)
    assert saclab.distance(*ours) == pytest.approx(correlation.distance(*theirs).item(), abs=1e-14)
    unequal = (logits[0].argmax(1) != logits[1].argmax(1)).double().mean().item()
    assert saclab.disagreement(*logits.numpy()) == unequal
    with pytest.raises(ValueError, match="logits, probabilities, labels"):
        saclab.in_form(logits[0].numpy(), "matched")


@pytest.mark.parametrize(
    ("stolen", "independent"),
    [([0.1, 0.2, 0.2], [0.2, 0.3]), ([0.1, 0.2], [0.3, 0.4, 0.5]), ([0.5, 0.4], [0.1, 0.2, 0.3])],
)
def test_auc_and_interval_are_those_of_the_book(stolen, independent):
    names = [["vgg", "vgg", "resnet"][: len(group)] for group in (stolen, independent)]
    theirs = evaluation.auc(np.array(stolen), np.array(independent), tuple(map(np.array, names)))
    value = saclab.auc(stolen, independent)
    bounds = saclab.interval(value, *map(saclab.units, names))
    assert (value, *bounds) == pytest.approx(tuple(theirs), abs=1e-9)


def test_clusters_are_architectures_or_else_chains():
    assert saclab.clusters(["a", "b"], ["x", "y"]) == ["a", "b"]
    assert saclab.clusters(["a", "a"], ["x", "y"]) == ["x", "y"]


def test_the_sibling_test_is_that_of_the_book():
    torch.manual_seed(0)
    log_p = torch.randn(6, 40, 4, dtype=torch.float64).mul(2).log_softmax(2)
    suspects, controls = torch.randint(4, (3, 40)), torch.randint(4, (8, 40))
    theirs = [siblings.scores(log_p, labels) for labels in (suspects, controls)]
    ours = [saclab.scores(log_p.numpy(), labels.numpy()) for labels in (suspects, controls)]
    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one, other.numpy(), atol=1e-12)
    assert np.allclose(saclab.residuals(*ours), siblings.residuals(*theirs).numpy(), atol=1e-12)
    assert np.allclose(saclab.p_value(*ours), siblings.sibling_test(*theirs).p.numpy(), rtol=1e-8)
    assert saclab.upper_tail(np.array([1.0]), np.ones((1, 5))) == 1  # no spread
    for t in (-4.0, 0.0, 2.0, 30.0):
        assert saclab.t_tail(np.array(t), 18) == pytest.approx(student_t.sf(t, 18), rel=1e-9)


def test_half_precision_keeps_every_label():
    logits = np.array([[[9.0, 9.001, -2.0], [1.0, 0.5, 0.0], [-7.0, -6.9999, -6.9998]]])
    half = labpack.halved(logits)
    assert half.dtype == np.float16 and (half.argmax(2) == logits.argmax(2)).all()
    assert np.abs(half - logits).max() < 0.01


def test_models_with_fewer_classes_are_filled_up_and_read_back():
    logits = {"wide": torch.randn(3, 6), "narrow": torch.randn(3, 4)}
    run = SimpleNamespace(logits=dict.fromkeys(PROBE_SETS, logits), names=lambda: list(logits))
    stored = labpack.answers(run)["w"]
    assert stored.shape == (2, 3, 6) and stored.dtype == np.float16
    for row, values in enumerate(logits.values()):
        assert np.allclose(saclab.answers(stored, row), values.numpy(), atol=2e-3)


def test_checks_of_the_lab_know_right_wrong_and_nothing(capsys):
    slip = (3.0, "Divide by two.")
    answers = (lambda: 1.5, lambda: 3, lambda: [1.5], lambda: None, lambda: 1 / 0)
    for yours in (*answers, lambda: "1.5", lambda: [[1], [2, 3]], lambda: {}):
        saclab.check("half", yours, 1.5, slip)
    assert capsys.readouterr().out.splitlines() == [
        "OK: half",
        "Not yet: half. Divide by two.",
        "Not yet: half. Found [1.5]",
        "Not yet: half. Nothing is there yet.",
        "Not yet: half. Your code stops with ZeroDivisionError: division by zero",
        "Not yet: half. Found '1.5', which is no number",
        "Not yet: half. Found [[1], [2, 3]], which is no number",
        "Not yet: half. Found {}, which is no number",
    ]


def test_a_seal_opens_with_its_code_only():
    sealed = saclab.seal("the second one", "123456")
    assert "second" not in sealed and saclab.unseal(sealed, " 123456 ") == "the second one"
    for code in ("", "123457"):
        with pytest.raises(ValueError, match="does not open"):
            saclab.unseal(sealed, code)


def test_the_module_needs_numpy_alone():
    text = Path(saclab.__file__).read_text(encoding="utf-8")
    names = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert names - sys.stdlib_module_names == {"numpy"}
    ast.parse(text, feature_version=(3, 9))  # the oldest Python that the README of the pack names


def test_a_pack_of_other_answers_is_refused(unpacked, tmp_path, refused):
    other = tmp_path / "pack"
    shutil.copytree(unpacked, other)
    stored = dict(np.load(other / "answers.npz"))
    stored["w"][3] = stored["w"][3, ::-1]  # one model answers the probes in another order
    np.savez(other / "answers.npz", **stored)
    run = open_run("smoke")
    assert labpack.check(run, unpacked)["distance"] <= labpack.TOLERANCE
    refused(lambda: labpack.check(run, other), "distance", "half precision")


def test_the_pack_is_small_and_holds_no_pickle(lab, unpacked):
    stored = np.load(unpacked / "answers.npz")  # refuses pickles
    models = (unpacked / "models.csv").read_text(encoding="utf-8").splitlines()[1:]
    for name in ("answers", "images", "contested"):
        arrays = np.load(unpacked / f"{name}.npz").values()
        assert all(array.dtype.kind in "fu" for array in arrays)
    assert set(stored) == set(np.load(unpacked / "images.npz")) == set(PROBE_SETS)
    assert all(stored[kind].dtype == np.float16 for kind in stored)
    assert all(len(stored[kind]) == len(models) for kind in stored)
    assert (lab / "sac-lab.zip").stat().st_size < 500_000
    assert saclab.damaged(unpacked) == []


def test_a_damaged_file_is_named(unpacked, tmp_path):
    sums = (unpacked / "checksums.txt").read_text(encoding="utf-8")
    (tmp_path / "checksums.txt").write_text(sums)
    names = sorted(path.name for path in unpacked.iterdir() if path.name in sums)
    for name in names[1:]:
        (tmp_path / name).write_bytes((unpacked / name).read_bytes())
    (tmp_path / names[-1]).write_bytes(b"other")
    assert sorted(saclab.damaged(tmp_path)) == [names[0], names[-1]]


def test_the_solutions_pass_every_check_without_the_book(lab, printed):
    said, loaded = printed[0], set(printed[2].split())
    assert "Not yet" not in said and said.count("OK: ") == 7
    assert not set(BLOCKED) & loaded and set(ALLOWED) <= loaded
    expected = json.loads((lab / "expected.json").read_text(encoding="utf-8"))
    assert f"the rule says: right about {expected['lab_right']}" in said
    # the guide shows what the class sees
    for table, columns in (("lab_auc", slice(3, 4)), ("lab_sealed", slice(2, 4))):
        rows = expected[table].splitlines()[2:]
        assert len(rows) >= 4
        for row in rows:
            cells = row.strip("| ").split(" | ")[columns]
            assert any(all(cell in line for cell in cells) for line in said.splitlines()), row


def test_the_blank_lab_has_no_answers_and_runs_to_its_end(lab, unpacked, printed):
    said = printed[1]
    assert said.count("Not yet") == 8 and said.count("OK: ") == 1
    cells = nbformat.read(unpacked / "lab.ipynb", as_version=4).cells
    assert not any(cell.get("outputs") for cell in cells)
    text = "\n".join(cell.source for cell in cells)
    code = json.loads((lab / "expected.json").read_text(encoding="utf-8"))["lab_code"]
    assert code not in text and "000000" not in text and "fmt: skip" not in text
    # plain Markdown: no role, no directive
    assert not re.search(r"\{[\w:]+\}`|^(```|:::)\{", text, re.MULTILINE)
