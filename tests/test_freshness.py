"""What an edit makes stale: exactly the models that it can change."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sacutils import freshness, lineage
from sacutils.profiles import load_profile

SMOKE = load_profile("smoke")
STEPS = set(lineage.LABELS)
FINE_TUNED = {"finetune_all", "finetune_last", "transfer_all", "transfer_last", "transfer_corrupted"}


def forget() -> None:
    freshness._module.cache_clear()
    freshness.code_digest.cache_clear()
    lineage._digests.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that digests are computed of."""
    copy = tmp_path / "sacutils"
    shutil.copytree(freshness.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(freshness, "PACKAGE", copy)
    forget()
    yield copy
    monkeypatch.undo()
    forget()


def edit(package: Path, definition: str, line: str = "assert True") -> None:
    """Insert a statement before the last one of a top-level function."""
    module, _, name = definition.partition(".")
    path = package / f"{module}.py"
    lines = path.read_text().splitlines()
    function = next(node for node in ast.parse(path.read_text()).body if getattr(node, "name", None) == name)
    last = function.body[-1]
    lines.insert(last.lineno - 1, " " * last.col_offset + line)
    path.write_text("\n".join(lines) + "\n")
    forget()


def stale_steps(change: Callable[[], None]) -> set[str]:
    """Steps all of whose models have another digest after a change; a step is never stale in part here."""
    before = lineage.digests(SMOKE)
    change()
    after = lineage.digests(SMOKE)
    stale = {name for name in before if before[name] != after[name]}
    steps = {lineage.plan(SMOKE)[name].step for name in stale}
    assert stale == {name for name, spec in lineage.plan(SMOKE).items() if spec.step in steps}
    return steps


DESCENDANTS = {step for step in STEPS if not step.startswith("irrelevant") and step != "reference"}


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("plots.use_style", set()),
        ("correlation.distance", set()),
        ("evaluation.auc", set()),
        ("probes.wrong", set()),
        ("runs.make_logits", set()),
        ("profiles.load_profile", set()),
        ("training.train", STEPS),
        ("training._scheduler", STEPS),
        ("models.build", STEPS),
        ("models._densenet", STEPS),
        ("data.augment", STEPS),
        ("data.split", STEPS),
        ("data.jpeg", STEPS),
        ("lineage.derived_seed", STEPS),
        ("zoo.trains_on", STEPS),
        ("attacks.prune", {"prune"}),
        ("attacks.channel_activity", {"prune"}),
        ("attacks.perturb", {"extract_adversarial"}),
        ("attacks.extract_probability", {"extract_probability"}),
        ("attacks.extract_label", {"surrogate", "extract_label", "extract_adversarial"}),
        ("watermark.entangled", set()),
        ("baselines.label_distance", set()),
        ("attacks.finetune", FINE_TUNED),
        ("models.replace_last", FINE_TUNED),
        ("attacks.train_independent", STEPS),  # the source is one of them, and all else descends from it
        ("zoo.make_pruned", {"prune"}),
    ],
)
def test_edit_of_code(package, definition, expected):
    assert stale_steps(lambda: edit(package, definition)) == expected


def test_edit_of_a_constant(package):
    def change() -> None:
        path = package / "models.py"
        path.write_text(path.read_text().replace("(x - 0.5) * 4", "(x - 0.5) * 2"))
        forget()

    assert stale_steps(change) == STEPS


def test_comments_docstrings_and_layout_change_nothing(package):
    def change() -> None:
        for path in package.glob("*.py"):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    if ast.get_docstring(node):
                        node.body = node.body[1:]
                    node.body.insert(0, ast.Expr(ast.Constant("Other words.")))
            path.write_text("# a comment\n" + ast.unparse(tree).replace("\n", "\n\n") + "\n# and one more\n")
        forget()

    before = (package / "training.py").read_text()
    assert stale_steps(change) == set()
    assert "Other words." in (package / "training.py").read_text() != before


def changed_by(overrides: dict) -> set[str]:
    before, after = lineage.digests(SMOKE), lineage.digests(load_profile("smoke", overrides))
    return {name for name in before if before[name] != after.get(name)}


def names_of(*steps: str) -> set[str]:
    return {name for name, spec in lineage.plan(SMOKE).items() if spec.step in steps}


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ({"recipes.extract_label.epochs": 9}, {"extract_label", "extract_adversarial"}),
        ({"recipes.extract_adversarial.pgd_steps": 9}, {"extract_adversarial"}),
        ({"recipes.surrogate.lr": 0.01}, {"surrogate"}),
        ({"recipes.irrelevant.lr": 0.01}, {"irrelevant", "irrelevant_owner", "reference"}),
        ({"recipes.transfer_last.flip": True}, {"transfer_last"}),
        ({"recipes.prune.epochs": 9}, {"prune"}),
        ({"recipes.source.epochs": 9}, DESCENDANTS),
        ({"seed": 9}, STEPS),
        ({"splits.test": 100}, STEPS),
        ({"probes.count": 5}, set()),
        ({"bootstrap": 999}, set()),
        ({"device": "cpu"}, set()),
        ({"zoo.finetuned": 3}, set()),
    ],
)
def test_change_of_the_profile(overrides, steps):
    assert changed_by(overrides) == names_of(*steps)


def test_only_the_changed_rungs_of_the_ladder_are_made_again():
    assert changed_by({"recipes.prune.ladder": [0.2, 0.3]}) == {f"{next(iter(lineage.plan(SMOKE)))} > prune(40%)#0"}


def test_other_version_of_torch_makes_everything_stale(monkeypatch):
    before = lineage.digests(SMOKE)
    versions = lineage.artefacts.versions() | {"torch": "0.0"}
    monkeypatch.setattr(lineage.artefacts, "versions", lambda: versions)
    forget()
    after = lineage.digests(SMOKE)
    monkeypatch.undo()
    forget()
    assert not set(before.values()) & set(after.values())


def test_closure_holds_what_is_reached_and_no_more():
    found = set(freshness.closure({("training", "train")}))
    assert {"training.train", "training.Diverged", "data.augment", "data.to_float", "data.Images"} <= found
    assert not {name for name in found if name.startswith(("attacks.", "zoo.", "profiles.", "artefacts."))}


SCRIPT = """
from sacutils import correlation
from sacutils.evaluation import auc as area
print(correlation.distance, area)
"""


def test_script_depends_on_its_text_and_on_what_it_uses(package, tmp_path):
    script = tmp_path / "01_page.py"
    script.write_text(SCRIPT)
    digests = [freshness.script_digest(script)]
    for definition in ("plots.use_style", "correlation.rbf_matrix", "evaluation.calibrated_rates"):
        edit(package, definition)
        assert freshness.script_digest(script) == digests[0]
    for definition in ("correlation.distance", "evaluation.score_interval"):
        edit(package, definition)
        digests.append(freshness.script_digest(script))
    script.write_text(SCRIPT + "# one more line\n")
    digests.append(freshness.script_digest(script))
    assert len(set(digests)) == 4


def test_outputs_depend_on_the_code_that_asks_the_models(package):
    before = freshness.code_digest("runs.make_logits")
    edit(package, "plots.use_style")
    assert freshness.code_digest("runs.make_logits") == before
    edit(package, "training.logits_of")
    assert freshness.code_digest("runs.make_logits") != before
