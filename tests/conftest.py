"""What the tests share: one small run, and the check that an error is one clear sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import settings
from torch import nn

from sacutils.data import Images
from sacutils.files import UserError, home
from sacutils.profiles import Recipe
from sacutils.run import Run, open_run

settings.register_profile("sac", deadline=None, max_examples=50, derandomize=True, database=None)
settings.load_profile("sac")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The smoke run in a folder of its own. Models, answers and tables come from the smoke book
    where they are fresh; the others are made when a test asks for them.
    """
    made = open_run("smoke", folder=tmp_path_factory.mktemp("runs"))
    for part in ("data", "zoo", "probes", "outputs", "tables"):
        if (built := home() / "runs" / "smoke" / part).exists():
            shutil.copytree(built, made.shared / part)
    return made


@pytest.fixture(scope="session")
def source(run: Run) -> nn.Module:
    return run.zoo.get(run.zoo.source)


@pytest.fixture(scope="session")
def attacker(run: Run) -> Images:
    return run.material.splits["attacker"]


@pytest.fixture
def refused() -> Callable[..., str]:
    """Call something that must raise a UserError of one sentence with some words; returns it."""

    def check(function: Callable[..., object], *words: str) -> str:
        with pytest.raises(UserError) as caught:
            function()
        sentence = str(caught.value)
        assert "\n" not in sentence and len(sentence) < 500 and ". " not in sentence
        for word in words:
            assert word in sentence, sentence
        return sentence

    return check


def recipe(**values: object) -> Recipe:
    """A short recipe without augmentation, with some values replaced."""
    return Recipe.model_validate(
        {"lr": 0.05, "epochs": 1, "batch": 32, "schedule": "constant", "pad": 0, "flip": False}
        | values
    )


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a model's weights and batch statistics."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two states are equal to the last bit."""
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )


def listing(folder: Path) -> list[str]:
    """Names of the files in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def save_weights(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write weights as safetensors, which takes contiguous tensors only."""
    safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()}, path)
