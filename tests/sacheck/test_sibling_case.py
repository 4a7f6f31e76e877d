"""The sibling test on the command line: from weights to verdict and page, with models of one
layer whose weights are drawn and not trained.
"""

import json
import shutil

import jsonschema
import numpy as np
import pytest
import torch

from sacheck import answers, case, fingerprint, images
from sacheck import cli as command_line
from sacheck.weights import Preprocessing
from sacutils import siblings
from tests.conftest import listing, save_weights

SIDE, CLASSES, IMAGES = 12, 5, 400
NETWORK = """from torch import nn


def linear(channels, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 144, classes))
"""
COMMON = torch.randn(CLASSES, SIDE**2, generator=torch.Generator().manual_seed(0))


def weights(seed, parent=COMMON, noise=0.6):
    """Weights near those of a parent; by default one more training on the same task."""
    drawn = torch.randn(CLASSES, SIDE**2, generator=torch.Generator().manual_seed(seed))
    return parent + noise * drawn


SOURCE = weights(1)
SIBLINGS = {f"sibling-{i:02d}": weights(10 + i) for i in range(13)}
MODELS = {
    "source": SOURCE,
    "stolen": weights(2, SOURCE, 0.3),
    "independent": weights(3),
    "student-a": weights(4, SIBLINGS["sibling-00"], 0.3),
    "student-b": weights(5, SIBLINGS["sibling-05"], 0.3),
}
CONTROLS = {f"control-{i:02d}": weights(100 + i, noise=0.4 + 0.05 * i) for i in range(11)}
HOW = ("--architecture", "toynet:linear", "--mean", "0.5", "--std", "0.29")


def save(folder, models):
    folder.mkdir(exist_ok=True)
    for name, weight in models.items():
        state = {"1.weight": 0.15 * weight, "1.bias": torch.zeros(CLASSES)}
        save_weights(state, folder / f"{name}.safetensors")


def fingerprint_of(folder, *more, count=250):
    arguments = ["--model", "models/source.safetensors", "--images", "images", "--channels", 1]
    arguments += ["--class-names", "a,b,c,d,e", "--count", count, *HOW]
    return ["fingerprint", folder, *arguments, *more]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with images, weights, a fingerprint, and answers of all models; it is the current
    one, since the network's module lies in it.
    """
    home = tmp_path_factory.mktemp("siblings")
    (home / "toynet.py").write_text(NETWORK)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 1, SIDE, SIDE), dtype=np.uint8)
    (home / "images").mkdir()
    for number, image in enumerate(pixels):
        (home / "images" / f"{number}.png").write_bytes(images.encode(torch.from_numpy(image)))
    for folder, models in {"siblings": SIBLINGS, "models": MODELS, "controls": CONTROLS}.items():
        save(home / folder, models)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        steps = [fingerprint_of("fp", "--sibling", "siblings")]
        for folder in ("models", "controls", "siblings"):
            steps.append(["query", "fp", "--out", f"a-{folder}", "--model", folder, *HOW])
        for step in steps:
            patch.setattr("sys.argv", ["sacheck", *map(str, step)])
            with pytest.raises(SystemExit) as left:
                command_line.main()
            assert not left.value.code
        yield home


def as_labels(own, path, out):
    """A copy of a file of answers that shows labels only."""
    found, record = answers.read(path, own.commitment, own.names, CLASSES)
    labels = answers.shown_as(found, "labels")
    answers.write(out, labels, own.commitment, out.stem, record.origin, "test")


VERIFY = ("--control", "a-controls")


@pytest.mark.parametrize("form", ["probabilities", "labels"])
def test_a_student_is_told_from_an_independent_model(cli, home, tmp_path, turned_down, form):
    own = fingerprint.load(home / "fp")
    expected = {"stolen": siblings.DERIVATION, "source": siblings.DERIVATION}
    expected |= dict.fromkeys(("independent", "student-a"), siblings.NO_EVIDENCE)
    paths = [home / "a-models" / f"{who}.json" for who in expected]
    if form == "labels":
        for path in paths:
            as_labels(own, path, tmp_path / path.name)
        paths = [tmp_path / path.name for path in paths]
    found, lines, error = cli("verify", "fp", *paths, *VERIFY)
    assert found == 3, error
    for path, word, line in zip(paths, expected.values(), lines.splitlines(), strict=False):
        assert word in line and line.endswith(str(path))
    assert "of 4 innocent suspects, about 0.04 are accused" in lines
    turned_down(["verify", "fp", *paths, *VERIFY, "--out", "x.json"], ["--out has no effect"])
    for i, code in ((0, 3), (2, 0)):
        out = tmp_path / f"{i}-verdict.json"
        found, text, error = cli("verify", "fp", paths[i], *VERIFY, "--out", out)
        assert found == code, text + error
        for line in ("p among siblings", "p among controls", "rank p", "power", "not measured"):
            assert line in text
        result = json.loads(out.read_text())["verdict"]
        assert result["verdict"] == [*expected.values()][i] and result["form"] == form
        assert result["p"] == max(result["p_siblings"], result["p_controls"])
        assert float(lines.splitlines()[i].split()[0]) == pytest.approx(result["p"], rel=0.05)
        assert len(result["residuals"]) == 14 and result["pairs"] == 14 * 11
        assert result["accused"] <= 5


def test_the_verdict_is_that_of_the_pure_functions(cli, home, tmp_path):
    own = fingerprint.load(home / "fp")
    cli("verify", "fp", "a-models/stolen.json", *VERIFY, "--out", tmp_path / "v.json")
    result = json.loads((tmp_path / "v.json").read_text())["verdict"]

    def shares(path):
        record = json.loads((home / path).read_text())
        return torch.tensor(record["outputs"], dtype=torch.float64)[~own.is_anchor].softmax(-1)

    members = ["a-models/source.json", *(f"a-siblings/{name}.json" for name in SIBLINGS)]
    likelihood = torch.stack([shares(path) for path in members]).log()
    known = torch.stack([shares(f"a-controls/{name}.json") for name in CONTROLS])
    known = siblings.scores(likelihood, known)
    asked = siblings.scores(likelihood, shares("a-models/stolen.json"))
    test = siblings.sibling_test(asked, known)
    for name, value in test._asdict().items():
        assert result[name] == pytest.approx(float(value), rel=1e-3), name
    accused = [
        siblings.sibling_test(known[i], known[torch.arange(11) != i], j).p <= 0.01
        for i in range(11)
        for j in range(14)
    ]
    assert result["accused"] == sum(map(bool, accused))


def test_pseudo_thefts_show_power_and_change_no_verdict(cli, home, tmp_path):
    thefts = ["--pseudo-theft", "a-models/student-a.json=sibling-00"]
    thefts += ["--pseudo-theft", "a-models/student-b.json=sibling-05.safetensors"]
    results = []
    for more in ([], thefts):
        out = tmp_path / f"{len(more)}.json"
        arguments = ["verify", "fp", "a-models/stolen.json", *VERIFY, *more, "--out", out]
        code, text, error = cli(*arguments)
        assert code == 3, text + error
        results.append(json.loads(out.read_text())["verdict"])
    assert results[1].pop("found") == {"student-a": True, "student-b": True}
    assert results[0].pop("found") == {} and results[0] == results[1]
    assert "2 of 2 pseudo-thefts found" in text


def test_controls_that_are_one_model_and_thefts_without_a_name_are_refused(
    home, tmp_path, turned_down
):
    own = fingerprint.load(home / "fp")
    path = home / "a-controls/control-00.json"
    found, record = answers.read(path, own.commitment, own.names, CLASSES)
    (tmp_path / "alike").mkdir()
    for number in range(4):  # exports of one model: other scores, the same labels
        one = found._replace(outputs=found.outputs * (1 + number / 100))
        out = tmp_path / "alike" / f"{number}.json"
        answers.write(out, one, own.commitment, out.stem, record.origin, "test")
    as_labels(own, home / "a-models/stolen.json", tmp_path / "stolen.json")
    alike = ["verify", "fp", tmp_path / "stolen.json", "--control", tmp_path / "alike"]
    turned_down(alike, ["cannot be compared", "controls' scores do not differ"])
    for text in ("sibling-00.json", "source", "=sibling-00"):
        arguments = ["verify", "fp", "a-models/stolen.json", *VERIFY, "--pseudo-theft", text]
        turned_down(arguments, [f"--pseudo-theft {text}", "FILE=SIBLING"])


def test_too_few_siblings_or_controls_decide_nothing(cli, home, tmp_path):
    few = [home / "siblings" / f"sibling-{i:02d}.safetensors" for i in range(11)]
    more = [part for path in few for part in ("--sibling", path)]
    code, text, error = cli(*fingerprint_of(tmp_path / "fp", *more))
    assert code == 0 and "11 siblings: verify cannot decide with fewer than 12" in text, error
    for folder in ("models", "controls"):
        cli("query", tmp_path / "fp", "--out", tmp_path / folder, "--model", folder, *HOW)
    suspect = tmp_path / "models" / "stolen.json"
    code, text, error = cli("verify", tmp_path / "fp", suspect, "--control", tmp_path / "controls")
    assert code == 4 and siblings.NOT_DECIDABLE in text and "11 siblings and 11 controls" in text
    given = [f"--control=a-controls/control-{i:02d}.json" for i in range(9)]
    code, text, error = cli("verify", "fp", "a-models/stolen.json", *given)
    assert code == 4 and "13 siblings and 9 controls; 12 and 10 are needed" in text, error
    code, text, error = cli("verify", "fp", "a-models/stolen.json", *given[:3])
    assert code == 1 and "3 controls; 4 are needed" in error


def test_probes_are_contested_and_of_different_images(home):
    own = fingerprint.load(home / "fp")
    rows = ~own.is_anchor
    index = [probe.index for probe in own.manifest.probes if not probe.anchor]
    assert len(set(index)) == len(index) == 250
    labels = np.stack([values.argmax(1) for values in own.members.values()])
    assert all(len(set(column)) > 1 for column in labels[:, rows].T)
    assert list(own.members) == ["source", *SIBLINGS]
    for values in own.members.values():
        assert values.sum(1) == pytest.approx(np.ones(270), abs=1e-6)


def test_contested_probes_do_not_depend_on_which_member_is_the_source():
    pixels = torch.randint(0, 256, (60, 1, 14, 14), generator=torch.Generator().manual_seed(1))
    pixels = pixels.to(torch.uint8)
    drawn = torch.randn(4, 196, 3, generator=torch.Generator().manual_seed(2)).double()
    members = [(lambda images, w=w: (images.flatten(1).double() @ w).numpy(), None) for w in drawn]
    models = [
        fingerprint.Model(file=name, sha256="", architecture=None, preprocessing=Preprocessing())
        for name in "abcd"
    ]
    members = [(answer, model) for (answer, _), model in zip(members, models, strict=True)]
    one = fingerprint.contested(members, pixels, 120, 5)
    other = fingerprint.contested(members[::-1], pixels, 120, 5)
    assert torch.equal(one.pixels, other.pixels) and torch.equal(one.index, other.index)
    assert one.index.bincount().max() > 1  # more than there are images: several views of some
    assert len(torch.unique(one.pixels.flatten(1), dim=0)) == 120


def test_the_members_are_part_of_the_commitment(home, refused, tmp_path):
    folder = shutil.copytree(home / "fp", tmp_path / "fp")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["siblings"][3]["outputs"][0] = manifest["siblings"][4]["outputs"][0]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    refused(lambda: fingerprint.load(folder), "altered")


def test_the_report_names_assumptions_and_attacks(cli, home, tmp_path):
    arguments = ["verify", "fp", "a-models/stolen.json", *VERIFY, "--out", tmp_path / "r.json"]
    arguments += ["--report", tmp_path / "r.html"]
    code, _, error = cli(*arguments, "--pseudo-theft", "a-models/student-a.json=sibling-00")
    assert code == 3, error
    page = (tmp_path / "r.html").read_text()
    for word in ("Seed grinding", "dropped siblings", "Back-dated", "What is assumed", "rank p"):
        assert word in page
    for name in (*SIBLINGS, *CONTROLS, "student-a: found"):
        assert name in page
    assert "independent models" not in page and page.count("<img") == 2
    record = json.loads((tmp_path / "r.json").read_text())
    jsonschema.validate(record, case.schema())
    assert "outputs" not in record["fingerprint"]["siblings"][0]
    assert record["sha256"]["control control-00.json"] and len(record["origins"]) == 12


def test_names_that_steer_terminals_or_are_no_text_are_told_as_text(cli, home, tmp_path):
    suspect, page = tmp_path / "s\x1b[31m\udcff.json", tmp_path / "r.html"
    try:
        suspect.write_bytes((home / "a-models" / "student-a.json").read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    code, said, error = cli("verify", "fp", suspect, *VERIFY, "--report", page)
    assert code in (0, 3, 4), error
    assert "\x1b" not in said + error and "[31m" in page.read_text(encoding="utf-8")
    code, said, error = cli("verify", "fp", suspect, home / "a-models" / "stolen.json", *VERIFY)
    assert code in (0, 3, 4) and "\x1b" not in said + error


def test_wrong_uses_are_one_sentence(cli, home, tmp_path, turned_down):
    save(tmp_path, {"copy": SOURCE, "source": weights(99)})
    shutil.copy("a-siblings/sibling-03.json", tmp_path / "member.json")
    shutil.copy("a-models/source.json", tmp_path / "itself.json")
    new, suspect = tmp_path / "new", "a-models/stolen.json"
    copy = tmp_path / "copy.safetensors"
    before = listing(tmp_path)
    for arguments, *words in [
        (fingerprint_of(new), "--sibling", "another --kind"),
        (fingerprint_of(new, "--sibling", "siblings", "--kind", "m"), "--sibling has no effect"),
        (
            fingerprint_of(new, "--sibling", "siblings", "--surrogate", suspect),
            "--surrogate has no effect",
        ),
        (
            fingerprint_of(new, "--sibling", "siblings", "--sibling", copy),
            "copy.safetensors gives the same labels as source.safetensors",
        ),
        (
            fingerprint_of(
                new, "--sibling", "siblings", "--sibling", "siblings/sibling-02.safetensors"
            ),
            "have one name; rename one",
        ),
        (
            fingerprint_of(
                new, "--sibling", "siblings", "--sibling", tmp_path / "source.safetensors"
            ),
            "'source'",
        ),
        (fingerprint_of(new, "--sibling", "siblings/sibling-02.safetensors"), "at least 2"),
        (fingerprint_of(new, "--sibling", "siblings", count=5000), "choose so many"),
        (["verify", "fp", suspect], "0 controls"),
        (["verify", "fp", suspect, "--independent", "a-controls"], "give --control"),
        (
            ["verify", "fp", suspect, *VERIFY, "--control", tmp_path / "member.json"],
            "control member gives the same labels as the member sibling-03",
        ),
        (
            ["verify", "fp", suspect, *VERIFY, "--control", tmp_path / "itself.json"],
            "as the member source",
        ),
        (["verify", "fp", suspect, *VERIFY, "--control", suspect], "the suspect's own answers"),
        (
            ["verify", "fp", suspect, *VERIFY, "--pseudo-theft", "a-models/student-a.json"],
            "names no sibling",
            "sibling-00",
        ),
        (
            ["verify", "fp", suspect, *VERIFY, "--pseudo-theft", "a-controls=sibling-00"],
            "already; rename one",
        ),
    ]:
        turned_down(arguments, words)
    assert listing(tmp_path) == before
