"""From a training command to a fingerprint and its power, with trainings that take no time."""

import json
import shlex
import sys

import numpy as np
import pytest
import torch

from sacheck import enrol, images
from tests.conftest import listing, save_weights

SIDE, NAMES = 12, ["a", "b", "c"]
NETWORK = """from torch import nn


def linear(channels, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 144, classes))
"""
# the mean image of each class, and noise that the seed decides
TRAIN = """import sys
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

data, seed, out = sys.argv[1:]
means = []
for folder in sorted(Path(data).iterdir()):
    pixels = [np.array(Image.open(path)).flatten() for path in sorted(folder.iterdir())]
    means.append(np.mean(pixels or [np.full(144, 127.5)], axis=0) - 127.5)
weight = np.array(means) / np.std(means)
weight = weight + 0.4 * np.random.default_rng(int(seed)).normal(size=weight.shape)
state = {"1.weight": (0.15 * weight).astype(np.float32), "1.bias": np.zeros(3, np.float32)}
save_file(state, out)
print("trained", seed)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Images, a network and a training command; it is the current folder."""
    home = tmp_path_factory.mktemp("enrol")
    (home / "toynet.py").write_text(NETWORK)
    (home / "train.py").write_text(TRAIN)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (1000, 1, SIDE, SIDE), dtype=np.uint8)
    rule = generator.normal(size=(3, SIDE**2))
    labels = ((pixels.reshape(1000, -1) - 127.5) @ rule.T).argmax(1)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        part = "mine" if number < 100 else "held" if number < 400 else "reserve"
        path = home / part / (NAMES[label] if part == "mine" else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.encode(torch.from_numpy(image)))
    state = {"1.weight": torch.from_numpy(rule * 0.15).float(), "1.bias": torch.zeros(3)}
    save_weights(state, home / "mine.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield home
    sys.modules.pop("toynet", None)


COMMAND = f"{shlex.quote(sys.executable)} train.py {{data}} {{seed}} {{out}}"


def arguments(folder, *more, train=COMMAND):
    given = ["--model", "mine.safetensors", "--architecture", "toynet:linear", "--train", train]
    given += ["--data", "mine", "--images", "held", "--reserve", "reserve", "--channels", 1]
    given += ["--class-names", "a,b,c", "--mean", "0.5", "--std", "0.29", "--count", 120]
    return ["enrol", folder, *given, "--siblings", 2, "--controls", 4, "--thefts", 1, *more]


def test_a_run_goes_on_where_it_broke_off(cli, home):
    code, said, error = cli(*arguments("mine-enrolled"))
    assert code == 0, error
    assert "9 trainings, 9 to do" in said and "minutes left" in said
    folder = home / "mine-enrolled"
    measured = json.loads((folder / "power.json").read_text())
    assert measured.keys() == {"labels", "logits"}
    for form, found in measured.items():
        hits, of = found["found"]["100% of the reserve"]
        assert 0 <= hits <= of == 1 and found["accused"][1] == 3 * 4
        assert f"From {form}: {hits} of 1 on 100% of the reserve" in said
        assert f"{found['accused'][0]} of 12 pairs" in said
    assert listing(folder / "controls") == [f"control-{i:02d}.json" for i in range(4)]
    commitment = said.partition("Commitment: ")[2][:64]

    # nothing is done twice
    lost = folder / "models" / "controls" / "control-02.safetensors"
    before, log = lost.read_bytes(), lost.with_suffix(".log")
    assert log.read_text() == "trained 1006\n"
    lost.unlink()
    log.unlink()
    code, again, error = cli(*arguments("mine-enrolled"))
    assert code == 0 and "9 trainings, 1 to do" in again, error
    assert lost.read_bytes() == before and log.exists() and commitment in again

    # the printed command judges a suspect; so few siblings decide nothing
    cli(
        "query",
        "mine-enrolled/fp",
        "--out",
        "copy.json",
        "--model",
        "mine.safetensors",
        "--architecture",
        "toynet:linear",
        "--mean",
        "0.5",
        "--std",
        "0.29",
    )
    words = shlex.split(said.strip().splitlines()[-1])[1:]
    judged = [word.replace("SUSPECT.json", "copy.json") for word in words]
    code, verdict, error = cli(*judged)
    assert code == 4 and "2 siblings and 4 controls; 12 and 10 are needed" in verdict, error


def test_students_learn_from_teachers_that_are_not_the_source():
    trainings = enrol.plan(12, 12, 4, 1000)
    assert [training.seed for training in trainings] == list(range(1000, 1030))
    by = {part: [t for t in trainings if t.part == part] for part in ("controls", "thefts")}
    assert {t.teacher for t in by["controls"]} == {"further-0", "further-1"}
    assert len({(t.teacher, t.share) for t in by["controls"]}) == 4
    assert len({t.teacher for t in by["thefts"]}) == 4 and {t.share for t in by["thefts"]} == {
        1,
        0.5,
    }
    assert len({t.name for t in trainings}) == 30


def test_what_cannot_be_trained_is_one_sentence(home, turned_down, tmp_path):
    def few(folder, *more, **options):
        return arguments(folder, "--reserve", "mine", *more, **options)  # fewer files to read

    fails = f"{shlex.quote(sys.executable)} -c 'raise SystemExit(7)' {{data}} {{seed}} {{out}}"
    silent = f"{shlex.quote(sys.executable)} -S -c pass {{data}} {{seed}} {{out}}"
    copy = "import shutil, sys; shutil.copy('train.py', sys.argv[3])"
    other = f"{shlex.quote(sys.executable)} -c {shlex.quote(copy)} {{data}} {{seed}} {{out}}"
    for more, words in [
        ({"train": "python train.py {data} {out}"}, ["lacks {seed}"]),
        ({"train": "nothing-here {data} {seed} {out}"}, ["nothing-here cannot be run"]),
        ({"train": "python 'x {data} {seed} {out}"}, ["no command line (No closing quotation)"]),
        ({"train": fails}, ["sibling-00", "exit code 7", ".log"]),
        ({"train": other}, ["neither safetensors nor ONNX", "sibling-00.part.safetensors"]),
        ({"train": silent}, ["sibling-00", "nothing was written"]),
    ]:
        turned_down(few(tmp_path / f"new-{len(words)}{words[0][:3]}", **more), words)
    turned_down(few(tmp_path / "other", "--data", "held"), ["held holds the folders none"])
    order = few(tmp_path / "order", "--images", "mine", "--class-names", "b,a,c")
    turned_down(order, ["its outputs are a,b,c; give"])
    assert not (tmp_path / "order").exists()
    (tmp_path / "taken").mkdir()
    turned_down(few(tmp_path / "taken"), ["taken exists"])
    begun = tmp_path / "begun"
    turned_down(few(begun, train=fails), ["exit code 7"])
    turned_down(few(begun, train=silent), ["another setting of command"])
    turned_down(few(begun, "--count", 100, train=fails), ["exit code 7"])
    again = few(begun, "--class-names", "a,c,b", train=fails)
    turned_down(again, ["another setting of classes"])
    assert [path.name for path in begun.rglob("*.safetensors")] == []
