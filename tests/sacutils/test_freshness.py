"""What an edit makes stale: exactly the models that it can change."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sacutils import files, freshness, steps
from sacutils.profiles import load_profile

SMOKE = load_profile("smoke")
STEPS = set(steps.LABELS)
FINE_TUNED = {
    "finetune_all",
    "finetune_last",
    "transfer_all",
    "transfer_last",
    "transfer_corrupted",
    "chain_finetuned",
}
PRUNED = {"prune", "chain_pruned"}
CHAINS = {"extract_adversarial", "chain_finetuned", "chain_pruned", "chain_quantised"}
TAUGHT = {"student_of_sibling", "student_of_stranger", "control_student"}
FROM_LABELS = {"extract_label", "extract_plain", "extract_noisy"}


def forget() -> None:
    freshness._module.cache_clear()
    freshness.code_digest.cache_clear()
    steps.digests.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the packages that digests are computed of; returns its folder ``sacutils``."""
    for name in freshness.PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(freshness.FOLDER / name, tmp_path / name, ignore=ignored)
    monkeypatch.setattr(freshness, "FOLDER", tmp_path)
    forget()
    yield tmp_path / "sacutils"
    monkeypatch.undo()
    forget()


def edit(package: Path, definition: str, line: str = "assert True") -> None:
    """Insert a statement before the last one of a top-level function."""
    module, _, name = definition.rpartition(".")
    path = package / f"{module.replace('.', '/')}.py"
    lines = path.read_text().splitlines()
    top = ast.parse(path.read_text()).body
    function = next(node for node in top if getattr(node, "name", None) == name)
    last = function.body[-1]
    lines.insert(last.lineno - 1, " " * last.col_offset + line)
    path.write_text("\n".join(lines) + "\n")
    forget()


def stale_steps(change: Callable[[], None]) -> set[str]:
    """Steps all of whose models have another digest after a change; none is stale in part."""
    before = steps.digests(SMOKE)
    change()
    after = steps.digests(SMOKE)
    stale = {name for name in before if before[name] != after[name]}
    kinds = {steps.plan(SMOKE)[name].step for name in stale}
    assert stale == names_of(*kinds)
    return kinds


STRANGERS = {
    *("independent", "independent_plain", "independent_owner", "independent_owner_plain"),
    *("overlap", "control_owner", "control_owner_plain", "control_reserve"),
    "student_of_stranger",
}
OF_THE_OWNERS_RECIPE = STEPS - STRANGERS - {"independent_transfer", "independent_corrupted"}


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("figures.use_style", set()),
        ("correlation.distance", set()),
        ("evaluation.auc", set()),
        ("probes.wrong", set()),
        ("run.make_logits", set()),
        ("profiles.load_profile", set()),
        ("training.train", STEPS),
        ("training._scheduler", STEPS),
        ("models.build", STEPS),
        ("models._densenet", STEPS),
        ("data.augment", STEPS),
        ("data.split", STEPS),
        ("corruptions.jpeg", STEPS),
        ("steps.derived_seed", STEPS),
        ("zoo.training_images", STEPS),
        ("siblings.scores", set()),
        ("studies.verdicts.choose", set()),
        ("attacks.prune", PRUNED),
        ("attacks.channel_activity", PRUNED),
        ("attacks.perturb", {"extract_adversarial"}),
        ("attacks.extract_probability", {"extract_probability", "surrogate_probability"}),
        ("attacks.probability_objective", {"extract_probability", "surrogate_probability"}),
        ("attacks.extract_label", {"surrogate"} | FROM_LABELS | CHAINS | TAUGHT),
        ("attacks.extract_once", {"extract_once"}),
        ("attacks.noisy", {"extract_noisy"}),
        ("attacks.quantise", {"chain_quantised"}),
        ("watermark.entangled", set()),
        ("attacks.finetune", FINE_TUNED),
        ("models.replace_last", FINE_TUNED),
        # the source is one of them, and all else descends from it
        ("attacks.train_independent", STEPS),
        ("zoo.make_pruned", PRUNED),
        ("zoo.make_once_student", {"extract_once"}),
        ("zoo.make_noisy_student", {"extract_noisy"}),
        ("zoo.make_quantised", {"chain_quantised"}),
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


def test_keeping_an_unfinished_training_changes_nothing(package):
    name = "training.train"
    assert stale_steps(lambda: edit(package, name, "checkpoints.epoch()")) == set()
    assert stale_steps(lambda: edit(package, name, "history = checkpoints.epoch()")) == STEPS


def test_comments_docstrings_and_layout_change_nothing(package):
    def change() -> None:
        for path in package.glob("*.py"):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    if ast.get_docstring(node):
                        node.body = node.body[1:]
                    node.body.insert(0, ast.Expr(ast.Constant("Other words.")))
            path.write_text(
                "# a comment\n" + ast.unparse(tree).replace("\n", "\n\n") + "\n# and one more\n"
            )
        forget()

    before = (package / "training.py").read_text()
    assert stale_steps(change) == set()
    assert "Other words." in (package / "training.py").read_text() != before


def changed_by(overrides: dict) -> set[str]:
    before, after = steps.digests(SMOKE), steps.digests(load_profile("smoke", overrides))
    return {name for name in before if before[name] != after.get(name)}


def names_of(*kinds: str) -> set[str]:
    return {name for name, spec in steps.plan(SMOKE).items() if spec.step in kinds}


@pytest.mark.parametrize(
    ("overrides", "kinds"),
    [
        (
            {"recipes.extract_label.epochs": 9},
            {"extract_once"} | FROM_LABELS | CHAINS | TAUGHT,
        ),
        (
            {"recipes.extract_probability.temperature": 9},
            {"extract_probability", "surrogate_probability"},
        ),
        ({"recipes.extract_adversarial.pgd_steps": 9}, {"extract_adversarial"}),
        ({"recipes.surrogate.lr": 0.01}, {"surrogate"}),
        ({"recipes.independent.lr": 0.01}, STRANGERS),
        # what is never shifted does not care by how much
        (
            {"recipes.independent.pad": 2},
            {step for step in STRANGERS if not step.endswith("_plain")},
        ),
        (
            {"recipes.extract_label.pad": 2},
            {"extract_once", *FROM_LABELS, *CHAINS, *TAUGHT} - {"extract_plain"},
        ),
        ({"recipes.finetune_all.lr": 0.01}, {"finetune_all", "chain_finetuned"}),
        ({"recipes.transfer_last.flip": True}, {"transfer_last"}),
        ({"recipes.prune.epochs": 9}, PRUNED),
        ({"recipes.source.epochs": 9}, OF_THE_OWNERS_RECIPE),
        ({"seed": 9}, STEPS),
        ({"splits.test": 100}, STEPS),
        ({"probes.count": 5}, set()),
        ({"probes.views": 9}, set()),
        ({"device": "cpu"}, set()),
        ({"probes.contested": [50]}, set()),
        ({"zoo.finetuned": 3}, set()),
        ({"zoo.siblings": 13}, set()),
        ({"zoo.controls": {"resnet_s": 2}}, set()),
    ],
)
def test_change_of_the_profile(overrides, kinds):
    assert changed_by(overrides) == names_of(*kinds)


def test_only_the_changed_rungs_of_the_ladder_are_made_again():
    assert changed_by({"recipes.prune.ladder": [0.2, 0.3]}) == {
        f"{next(iter(steps.plan(SMOKE)))} > prune(40%)#0"
    }


def test_other_version_of_torch_makes_everything_stale(monkeypatch):
    before = steps.digests(SMOKE)
    versions = files.versions() | {"torch": "0.0"}
    monkeypatch.setattr(files, "versions", lambda: versions)
    forget()
    after = steps.digests(SMOKE)
    monkeypatch.undo()
    forget()
    assert not set(before.values()) & set(after.values())


def test_quoting_or_changing_an_annotation_changes_nothing(package):
    def change() -> None:
        for path in package.rglob("*.py"):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                for field in ("annotation", "returns"):
                    if getattr(node, field, None) is not None:
                        setattr(node, field, ast.Constant(ast.unparse(getattr(node, field))))
            path.write_text(ast.unparse(tree))
        forget()

    before = (package / "training.py").read_text()
    digests = [freshness.code_digest(f"run.{name}") for name in ("open_run", "make_logits")]
    assert (
        stale_steps(change) == set()
        and "images: 'Images'" in (package / "training.py").read_text() != before
    )
    again = [freshness.code_digest(f"run.{name}") for name in ("open_run", "make_logits")]
    assert digests == again


def test_closure_holds_what_is_reached_and_no_more():
    reached = set(freshness.closure({("sacutils.training", "train")}))
    wanted = {"training.train", "training.Diverged", "data.augment", "data.to_float"}
    assert {f"sacutils.{name}" for name in wanted} <= reached and len(reached) < 10
    assert not any("attacks" in name or "zoo" in name or "files" in name for name in reached)


def test_closure_of_a_run_does_not_hold_how_models_and_images_are_made():
    reached = set(freshness.closure({("sacutils.run", "open_run")}))
    assert {"sacutils.run.Run", "sacutils.zoo.Zoo", "sacutils.probes.cutmix"} <= reached
    assert not {"sacutils.training.train", "sacutils.models.build", "sacutils.data.load"} & reached
    assert not any(
        name.startswith(("sacutils.attacks.", "sacutils.rivals", "sacutils.studies"))
        for name in reached
    )
    assert len(reached) < 60


def test_misspelt_name_is_an_error():
    for name in (
        "training.trian",
        "trainign.train",
        "rivals.nobody.distance",
        "sacbook.nothing.run",
    ):
        with pytest.raises(KeyError, match=name.rpartition(".")[2]):
            freshness.code_digest(name)
    assert freshness.code_digest("training.train") == freshness.code_digest(
        "sacutils.training.train"
    )


PACKAGE = {
    "__init__.py": "from .inner import made\n",
    "inner.py": "from .. import files\nfrom . import deeper\n\n"
    "def made():\n    return deeper.one() + other()\n\n"
    "def other():\n    return 1\n\ndef unused():\n    return 2\n",
    "deeper.py": "from ..evaluation import roc\n\ndef one():\n    return roc\n",
}


def test_sub_package_is_followed_through_relative_imports(package):
    (package / "part").mkdir()
    for name, text in PACKAGE.items():
        (package / "part" / name).write_text(text)
    forget()
    reached = set(freshness.closure({("sacutils.part", "made")}))
    assert reached == {
        *("sacutils.part.inner.made", "sacutils.part.inner.other", "sacutils.part.deeper.one"),
        "sacutils.evaluation.roc",
    }
    digests = [freshness.code_digest("part.inner.made")]
    edit(package, "part.inner.unused")
    assert freshness.code_digest("part.inner.made") == digests[0]
    for definition in ("part.deeper.one", "evaluation.roc", "part.inner.other"):
        edit(package, definition)
        digests.append(freshness.code_digest("part.inner.made"))
    assert len(set(digests)) == 4


def script_digest(script: Path) -> str:
    return files.digest_of([script.read_text(), freshness.script_closure(script)])


SCRIPT = """
from sacutils import correlation
from sacutils.evaluation import auc as area
print(correlation.distance, area)
"""


def test_script_depends_on_its_text_and_on_what_it_uses(package, tmp_path):
    script = tmp_path / "01_page.py"
    script.write_text(SCRIPT)
    digests = [script_digest(script)]
    for definition in ("run.make_logits", "correlation.rbf_matrix", "evaluation.tpr_at_fpr"):
        edit(package, definition)
        assert script_digest(script) == digests[0]
    for definition in ("correlation.distance", "evaluation.score_interval"):
        edit(package, definition)
        digests.append(script_digest(script))
    script.write_text(SCRIPT + "# one more line\n")
    digests.append(script_digest(script))
    assert len(set(digests)) == 4


def test_script_that_opens_a_run_and_draws(package, tmp_path):
    script = tmp_path / "page.py"
    script.write_text(
        "from sacutils import figures\nfrom sacutils.run import open_run\n"
        "figures.use_style()\nopen_run('a')\n"
    )
    reached = freshness.script_closure(script)
    assert {
        "sacutils.figures.use_style",
        "sacutils.run.open_run",
        "sacutils.run.Run",
    } <= reached.keys()
    assert not any(
        name.startswith(("sacutils.rivals", "sacutils.studies", "sacbook")) for name in reached
    )
    cases = ("figures.use_style", True), ("probes.cutmix", True), ("training.train", False)
    for definition, stale in cases:
        before = script_digest(script)
        edit(package, definition)
        assert (script_digest(script) != before) == stale, definition


def test_outputs_depend_on_the_code_that_asks_the_models(package):
    before = freshness.code_digest("run.make_logits")
    edit(package, "evaluation.auc")
    assert freshness.code_digest("run.make_logits") == before
    edit(package, "training.logits_of")
    assert freshness.code_digest("run.make_logits") != before


def test_a_value_that_is_made_in_several_statements_is_covered_by_all_of_them(package):
    """`X = ...` and then `X += ...`: an edit of either makes stale what uses X."""
    path = package / "studies" / "ablations.py"
    text = path.read_text()
    digests = []
    for old, new in (
        ("", ""),
        ('"extract_label", "extract_once"', '"extract_label"'),
        ('"chain_finetuned", "chain_pruned"', '"chain_finetuned"'),
    ):
        assert old in text
        path.write_text(
            text.replace(f"STYLES = ({old}", f"STYLES = ({new}").replace(
                f"STYLES += ({old}", f"STYLES += ({new}"
            )
        )
        forget()
        digests.append(freshness.code_digest("studies.ablations.STYLES"))
    assert len(set(digests)) == 3
