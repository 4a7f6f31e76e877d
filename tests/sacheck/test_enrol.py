"""From a training command to a fingerprint and its power, with trainings that take no time."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sacheck import enrol, images, trainers
from sacheck.weights import ModelFile, Preprocessing
from sacutils.files import locked
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


def train(data, seed, out):
    means = []
    for folder in sorted(Path(data).iterdir()):
        pixels = [np.array(Image.open(path)).flatten() for path in sorted(folder.iterdir())]
        means.append(np.mean(pixels or [np.full(144, 127.5)], axis=0) - 127.5)
    weight = np.array(means) / np.std(means)
    weight = weight + 0.4 * np.random.default_rng(int(seed)).normal(size=weight.shape)
    state = {"1.weight": (0.15 * weight).astype(np.float32), "1.bias": np.zeros(3, np.float32)}
    save_file(state, out)
    print("trained", seed)


if __name__ == "__main__":
    train(*sys.argv[1:])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Images, a network and a training command; it is the current folder."""
    home = tmp_path_factory.mktemp("enrol")
    (home / "toynet.py").write_text(NETWORK)
    (home / "toytrain.py").write_text(TRAIN)
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
    for module in ("toynet", "toytrain"):
        sys.modules.pop(module, None)


MINE = ("--model", "mine.safetensors", "--architecture", "toynet:linear")
MINE += ("--mean", "0.5", "--std", "0.29")
COMMAND = f"{shlex.quote(sys.executable)} toytrain.py {{data}} {{seed}} {{out}}"


def arguments(folder, *more, train="toytrain:train"):
    given = [*MINE, "--images", "held", "--channels", 1, "--class-names", "a,b,c", "--count", 120]
    if train:
        given += ["--train", train]
    return ["enrol", folder, *given, *more]


TRAINED = ("--data", "mine", "--reserve", "reserve")
FEW = (*TRAINED, "--siblings", 2, "--controls", 4, "--thefts", 1)


def test_other_probes_may_be_chosen_until_the_commitment_is_told(cli, home, turned_down):
    code, said, error = cli(*arguments("again", *FEW))
    assert code == 0, error
    before = said.partition("Commitment: ")[2][:64]
    turned_down(arguments("again", *FEW, "--count", 100), ["another setting of probes"])
    (Path("again") / "power.json").unlink()  # as if what followed the fingerprint had been refused
    code, said, error = cli(*arguments("again", *FEW, "--count", 100))
    assert code == 0 and "9 trainings, 0 to do" in said, error
    after = said.partition("Commitment: ")[2][:64]
    assert len(after) == 64 and after != before
    known = json.loads(Path("again/fp/manifest.json").read_text())["probes"]
    assert sum(not probe["anchor"] for probe in known) == 100
    turned_down(arguments("again", *FEW), ["another setting of probes"])


def test_a_run_goes_on_where_it_broke_off(cli, home, turned_down):
    code, said, error = cli(*arguments("mine-enrolled", *FEW))
    assert code == 0, error
    assert "9 trainings, 9 to do" in said and "theft-00: " in said and "0 s left" in said
    assert said.index("They will take about") < said.index("sibling-00: ")
    assert "All controls learned by one recipe" in said and "4 controls: verify cannot" in said
    folder = home / "mine-enrolled"
    measured = json.loads((folder / "power.json").read_text())
    assert measured.keys() == {"labels", "logits"}
    for form, found in measured.items():
        hits, of = found["found"]["100% of the reserve"]
        assert 0 <= hits <= of == 1 and found["accused"][1] == 3 * 4
        assert f"From {form}: rehearsed thefts found: {hits} of 1 on 100% of the reserve" in said
        assert f"{found['accused'][0]} of 12 pairs" in said
    assert listing(folder / "controls") == [f"control-{i:02d}.json" for i in range(4)]
    commitment = said.partition("Commitment: ")[2][:64]

    # one at a time
    with locked(folder):
        turned_down(arguments("mine-enrolled", *FEW), ["Another sacheck enrol", "mine-enrolled;"])

    # nothing is done twice
    lost = folder / "models" / "controls" / "control-02.safetensors"
    before, log = lost.read_bytes(), lost.with_suffix(".log")
    assert log.read_text() == "trained 1006\n"
    lost.unlink()
    log.unlink()
    code, again, error = cli(*arguments("mine-enrolled", *FEW))
    assert code == 0 and "9 trainings, 1 to do" in again, error
    assert lost.read_bytes() == before and log.exists() and commitment in again

    # the printed command judges a suspect; so few siblings decide nothing
    cli("query", "mine-enrolled/fp", "--out", "copy.json", *MINE)
    words = shlex.split(again.strip().splitlines()[-1])[1:]
    judged = [word.replace("SUSPECT.json", "copy.json") for word in words]
    code, verdict, error = cli(*judged)
    assert code == 4 and "2 siblings and 4 controls; 12 and 10 are needed" in verdict, error

    # who brings the same files gets the same
    models = "mine-enrolled/models"
    theft = f"{models}/thefts/theft-00.safetensors=sibling-00"
    files = ["--sibling", f"{models}/siblings", "--control", f"{models}/controls"]
    files = arguments("brought", *files, "--pseudo-theft", theft, train=None)
    code, said, error = cli(*files)
    assert code == 0 and "2 siblings and 4 controls were brought" in said, error
    assert "trainings" not in said and "--pseudo-theft brought/thefts/theft-00.json" in said
    for form, found in json.loads(Path("brought/power.json").read_text()).items():
        assert found["accused"] == measured[form]["accused"]
        assert [*found["found"].values()] == [*measured[form]["found"].values()]
    assert cli(*files)[1] == said
    # a name in two parts, which verify would refuse; a control that is given no more
    shutil.copy(f"{models}/thefts/theft-00.safetensors", "control-01.safetensors")
    again = "control-01.safetensors=sibling-00"
    turned_down([*files, "--pseudo-theft", again], ["control-01 is a control and a rehearsed"])
    Path("control-01.safetensors").unlink()
    shutil.copy("brought/controls/control-00.json", "brought/controls/another.json")
    turned_down(files, ["brought/controls holds another.json", "remove it"])
    Path("brought/controls/another.json").unlink()
    shutil.copy("mine.safetensors", f"{models}/controls/control-00.safetensors")
    turned_down(files, ["control-00.json holds answers of another file"])
    Path("brought/controls/control-00.json").unlink()
    turned_down(files, ["control-00 gives the same labels as the member source"])


@pytest.mark.parametrize("text", [None, "toytrain:train", COMMAND])
def test_a_training_depends_on_its_seed_alone(home, tmp_path, text):
    how = Preprocessing(mean=(0.5,), std=(0.29,))
    source = ModelFile(home / "mine.safetensors", "toynet:linear", how)
    train = trainers.trainer(text, source, NAMES, 1, SIDE)
    found = []
    for number, seed in enumerate((1, 2, 1)):
        train(home / "mine", seed, tmp_path / f"{number}.safetensors")
        found.append((tmp_path / f"{number}.safetensors").read_bytes())
    assert found[0] == found[2] != found[1]
    pool = images.read_pool(home / "mine", None, 1)
    outputs = source._replace(path=tmp_path / "0.safetensors").outputs(pool.images.pixels, 3)
    assert (outputs.argmax(1) == pool.images.labels.numpy()).mean() > 0.43


def test_a_folder_is_not_taken_for_a_part_of_one_by_its_name(home):
    drawn = home / "hand drawn"
    drawn.symlink_to(home / "mine")
    how = Preprocessing(mean=(0.5,), std=(0.29,))
    train = trainers.standard(
        ModelFile(home / "mine.safetensors", "toynet:linear", how), NAMES, 1, SIDE
    )
    train(drawn, 1, home / "drawn.safetensors")
    assert (home / "drawn.safetensors").exists()
    assert images.read_pool(drawn, None, 1, most=10).drawn


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


def test_what_cannot_be_trained_is_one_sentence(cli, home, turned_down, tmp_path):
    def few(folder, *more, **options):
        # fewer files to read
        return arguments(folder, "--data", "mine", "--reserve", "mine", *more, **options)

    fails, silent = "false {data} {seed} {out}", "true {data} {seed} {out}"
    other = "sh -c 'cp toytrain.py $2' {data} {seed} {out}"
    (home / "toyodd.py").write_text(
        "def train(data, seed, out):\n    print('ha')\n    data.seek()\n\n\n"
        "def leaves(data, seed, out):\n    raise SystemExit(0)\n"
    )
    (home / "toyleaves.py").write_text("import sys\nsys.exit(0)\n")
    for number, (train, words) in enumerate(
        [
            ("python train.py {data} {out}", ["lacks {seed}"]),
            ("nothing-here {data} {seed} {out}", ["nothing-here cannot be run"]),
            ("python 'x {data} {seed} {out}", ["no command line (No closing quotation)"]),
            ("absent:train", ["'absent:train' cannot be imported (ModuleNotFoundError"]),
            ("toyodd:train", ["sibling-00", "has no attribute 'seek'", ".log"]),
            ("toyodd:leaves", ["sibling-00", "SystemExit", ".log"]),
            ("toyleaves:train", ["'toyleaves:train' cannot be imported (SystemExit"]),
            (fails, ["sibling-00", "exit code 1", ".log"]),
            (other, ["neither safetensors nor ONNX", "sibling-00.part.safetensors"]),
            (silent, ["sibling-00", "nothing was written"]),
        ]
    ):
        turned_down(few(tmp_path / f"new-{number}", train=train), words)
    assert "ha\nTraceback" in (tmp_path / "new-4/models/siblings/sibling-00.log").read_text()
    turned_down(few(tmp_path / "other", "--data", "held"), ["held holds the folders none"])
    order = few(tmp_path / "order", "--images", "mine", "--class-names", "b,a,c")
    turned_down(order, ["its outputs are a,b,c; give"])
    # what needs no training to be seen is seen before it
    turned_down(few(tmp_path / "order", "--controls", 3), ["3 controls; 4 are needed"])
    named = ("--control", "mine.safetensors", "--siblings", 2)
    Path("control-01.safetensors").write_bytes(Path("mine.safetensors").read_bytes())
    turned_down(
        few(tmp_path / "order", "--control", "control-01.safetensors"),
        ["--control control-01", "rename it"],
    )
    Path("control-01.safetensors").unlink()
    assert cli(*few(tmp_path / "order", *named, "--seed", -1))[0] == 2
    assert not (tmp_path / "order" / "models").exists()
    some = ("--sibling", "mine.safetensors")
    turned_down(few(tmp_path / "order", *some), ["--train has no effect with --sibling"])
    turned_down(
        arguments(tmp_path / "order", *some, "--thefts", 2, train=None), ["--thefts has no effect"]
    )
    turned_down(few(tmp_path / "order", "--pseudo-theft", "a=b"), ["has no effect without --sib"])
    turned_down(arguments(tmp_path / "order", "--reserve", "mine"), ["--data needed to train"])
    assert not (tmp_path / "order").exists()
    (tmp_path / "taken").mkdir()
    turned_down(few(tmp_path / "taken"), ["taken exists"])
    begun = tmp_path / "begun"
    turned_down(few(begun, train=fails), ["exit code 1"])
    code, said, _ = cli(*few(begun, train=fails))
    assert code == 1 and "known after the first, not before: The training of trial failed" in said
    turned_down(few(begun, train=silent), ["another setting of command"])
    turned_down(few(begun, "--count", 100, train=fails), ["exit code 1"])
    again = few(begun, "--class-names", "a,c,b", train=fails)
    turned_down(again, ["another setting of classes"])
    assert [path.name for path in begun.rglob("*.safetensors")] == []
