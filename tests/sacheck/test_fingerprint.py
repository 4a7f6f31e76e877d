"""Fingerprint folders: complete, unchanged, and refused in every other case."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from sacheck import fingerprint
from sacheck.answers import Answers
from sacheck.images import Pool
from sacheck.weights import Preprocessing
from sacutils import probes, training
from sacutils.data import Images
from sacutils.profiles import Probes
from tests.conftest import listing

MODEL = fingerprint.Model(
    file="m.safetensors", sha256="0" * 64, architecture="vgg_bn_s", preprocessing=Preprocessing()
)
SETTINGS = Probes(count=12, second_count=6)


@pytest.fixture(scope="module")
def owner(run, source):
    return lambda pixels: training.logits_of(source, pixels).double().numpy()


@pytest.fixture(scope="module")
def make(run, owner, tmp_path_factory):
    """Make a fingerprint of the smoke run's source with some arguments replaced."""

    def call(kind="m", target=None, images=None, labelled=True, surrogates=(), **changes):
        folder = target or tmp_path_factory.mktemp("prints") / "fp"
        names = run.material.class_names
        pool = Pool(images or run.material.splits["probe"], names if labelled else None, "digits")
        arguments = {"class_names": names, "kind": kind, "settings": SETTINGS} | changes
        return fingerprint.make(folder, [(owner, MODEL), *surrogates], pool, **arguments)

    return call


@pytest.fixture(scope="module")
def made(make):
    return make()


@pytest.fixture
def copy(made, tmp_path):
    """A copy of a fingerprint to spoil."""
    return shutil.copytree(made.folder, tmp_path / "fp")


def surrogates(run):
    models = [run.zoo.get(name) for name in run.names("surrogate")]
    return [
        (lambda pixels, model=model: training.logits_of(model, pixels).double().numpy(), MODEL)
        for model in models
    ]


@pytest.mark.parametrize("kind", probes.PUBLISHED)
def test_every_kind_holds_its_probes_and_anchors(make, run, owner, kind):
    made = make(kind, surrogates=surrogates(run) if kind == "w" else ())
    assert (~made.is_anchor).sum() == 12 and 10 <= made.is_anchor.sum() <= 20
    assert made.manifest.kind == kind and made.manifest.form == "logits"
    assert np.allclose(made.answers.outputs, owner(made.pixels), atol=1e-6)
    split = run.material.splits["probe"]
    plain = made.is_anchor | np.array([kind in ("normal", "source", "w")] * len(made.names))
    index = torch.tensor([probe.index for probe in made.manifest.probes])
    assert torch.equal(made.pixels[plain], split.pixels[index][plain])
    wrong = made.answers.predicted != split.labels[index].numpy()
    assert not wrong[made.is_anchor].any()
    if kind in ("source", "w"):
        assert wrong[~made.is_anchor].all()


def test_anchors_are_spread_over_the_classes_and_the_folder(made):
    predicted = made.answers.predicted[made.is_anchor]
    counts = np.bincount(predicted, minlength=10)
    assert counts.max() - counts[counts > 0].min() <= 1 and len(counts[counts > 0]) >= 8
    places = np.flatnonzero(made.is_anchor)
    assert places.min() < 12 and places.max() >= 12  # not all at one end


def test_commitment_is_what_sha256sum_says(made):
    content = (made.folder / "manifest.json").read_bytes()
    expected = hashlib.sha256(content).hexdigest()
    assert (
        made.commitment == expected
        and (made.folder / "COMMITMENT").read_text() == f"{expected}  manifest.json\n"
    )
    for probe in made.manifest.probes:
        assert (
            hashlib.sha256((made.folder / "probes" / probe.file).read_bytes()).hexdigest()
            == probe.sha256
        )
    assert fingerprint.load(made.folder, made.commitment.upper()).commitment == expected


def test_two_fingerprints_differ_in_their_nonce_alone(make):
    one, other = make(), make()
    assert one.manifest.nonce != other.manifest.nonce and one.commitment != other.commitment
    assert torch.equal(one.pixels, other.pixels) and np.array_equal(
        one.answers.outputs, other.answers.outputs
    )


def test_an_existing_folder_is_never_overwritten(make, made, refused):
    before = (made.folder / "manifest.json").read_bytes()
    refused(lambda: make(target=made.folder), "exists", "another name")
    assert (made.folder / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"kind": "source", "labelled": False}, ["'source'", "true labels"]),
        ({"kind": "w"}, ["0 surrogates"]),
        ({"settings": Probes(count=4000, second_count=4)}, ["--count", "4000", "more images"]),
        (
            {"kind": "source", "settings": Probes(count=500, second_count=4)},
            ["--count asks for 500", "that your model gets wrong", "--kind m"],
        ),
        ({"class_names": ["a", "b"]}, ["10 outputs", "not 2"]),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(make, refused, tmp_path, changes, words):
    refused(lambda: make(target=tmp_path / "fp", **changes), *words)
    assert listing(tmp_path) == []


def test_repeated_images_are_used_once(make, run):
    split = run.material.splits["probe"]
    twice = Images(
        torch.cat([split.pixels[:80], split.pixels]), torch.cat([split.labels[:80], split.labels])
    )
    made = make("normal", images=twice)
    assert len(torch.unique(made.pixels.flatten(1), dim=0)) == len(made.pixels)


def test_too_few_images_for_anchors_are_refused(make, run, refused, tmp_path):
    split = run.material.splits["probe"].take(slice(14))
    refused(
        lambda: make("normal", target=tmp_path / "fp", images=split), "anchors", "10 are needed"
    )
    assert listing(tmp_path) == []


def rewrite(folder, **changes):
    """Change the manifest and make the commitment fit again, as a forger would."""
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    (folder / "COMMITMENT").write_text(f"{digest}  manifest.json\n")
    return manifest


def test_an_altered_folder_is_refused(copy, made, refused):
    manifest = copy / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"kind": "m"', '"kind": "w"'))
    refused(lambda: fingerprint.load(copy), "manifest.json", "altered")
    rewrite(copy, kind="jc")
    refused(lambda: fingerprint.load(copy, made.commitment), "was published", "another fingerprint")
    assert fingerprint.load(copy).manifest.kind == "jc"  # only the published hash can tell


def test_an_altered_image_is_refused(copy, refused):
    path = copy / "probes" / "probe-0003.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    refused(lambda: fingerprint.load(copy), "probe-0003.png", "altered")


def test_extra_missing_and_linked_files_are_refused(copy, refused, tmp_path):
    path = copy / "probes" / "probe-0003.png"
    content = path.read_bytes()
    path.unlink()
    refused(lambda: fingerprint.load(copy), "probe-0003.png", "missing")
    (tmp_path / "secret").write_bytes(content)
    path.symlink_to(tmp_path / "secret")
    refused(lambda: fingerprint.load(copy), "probe-0003.png", "symbolic link")
    path.unlink()
    path.write_bytes(content)
    (copy / "probes" / "more.png").write_bytes(content)
    refused(lambda: fingerprint.load(copy), "more.png", "not part")
    (copy / "probes" / "more.png").unlink()
    (copy / "notes.txt").touch()
    refused(lambda: fingerprint.load(copy), "'notes.txt'", "not part")
    (copy / "notes.txt").unlink()
    (copy / "COMMITMENT").unlink()
    refused(lambda: fingerprint.load(copy), "'COMMITMENT'", "missing")
    refused(lambda: fingerprint.load(tmp_path / "nothing"), "is no folder")


def test_what_a_file_browser_leaves_is_no_alteration(copy, made):
    for name in (".DS_Store", "probes/.DS_Store", "probes/Thumbs.db", "probes/._probe-0000.png"):
        (copy / name).write_bytes(b"\0\0\0\1Bud1")
    (copy / ".ipynb_checkpoints").mkdir()
    assert fingerprint.load(copy).commitment == made.commitment


def test_a_forged_manifest_reaches_no_file_outside(copy, refused, tmp_path):
    listed = json.loads((copy / "manifest.json").read_text())["probes"]
    for name in ("../../secret.png", "/etc/passwd", "probe-0000.png/../../x", "PROBE-0000.PNG"):
        rewrite(copy, probes=[listed[0] | {"file": name}, *listed[1:]])
        refused(lambda name=name: fingerprint.load(copy), repr(name), "pattern")
    rewrite(copy, probes=[listed[0], listed[0], *listed[2:]])
    refused(lambda: fingerprint.load(copy), "listed twice")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"height": 10**9}, ["height", "1024"]),
        ({"width": 17}, ["16 x 16", "17 x 16"]),
        ({"class_names": ["a"]}, ["class_names"]),
        ({"outputs": [[0.0]]}, ["class_names"]),
        ({"k": 0}, ["k is 0"]),
        ({"form": "probabilities"}, ["form is 'probabilities'"]),
        ({"class_names": ["same"] * 10}, ["occurs twice"]),
        ({"class_names": ["\x1b[2J", *"bcdefghij"]}, [r"'\x1b[2J'", "printed"]),
        ({"class_names": ["x" * 200, *"bcdefghij"]}, ["100 characters"]),
        ({"probes": []}, ["0 probes"]),
        ({"form": "guess"}, ["form"]),
        ({"unknown": 1}, ["unknown"]),
        ({"outputs": [[float("nan")] * 10]}, ["outputs.0.0"]),
    ],
)
def test_a_forged_manifest_is_refused(copy, refused, changes, words):
    rewrite(copy, **changes)
    refused(
        lambda: fingerprint.load(copy),
        "manifest.json" if changes != {"width": 17} else "probe-0000.png",
        *words,
    )


def test_more_images_than_memory_is_meant_for_are_refused(copy, refused, monkeypatch):
    monkeypatch.setattr(fingerprint, "LARGEST_IMAGES", 1000)
    refused(lambda: fingerprint.load(copy), "manifest.json", "bytes when unpacked", "1,000")


def test_a_manifest_that_would_be_too_large_is_not_written(make, refused, monkeypatch, tmp_path):
    monkeypatch.setattr(fingerprint.answers, "LARGEST", 1000)
    refused(lambda: make(target=tmp_path / "fp"), "fewer probes")
    assert listing(tmp_path) == []


def test_two_equal_probes_are_refused(copy, refused):
    listed = json.loads((copy / "manifest.json").read_text())["probes"]
    first, second = (copy / "probes" / probe["file"] for probe in listed[:2])
    second.write_bytes(first.read_bytes())
    rewrite(copy, probes=[listed[0], listed[1] | {"sha256": listed[0]["sha256"]}, *listed[2:]])
    refused(lambda: fingerprint.load(copy), "two equal images")


def test_a_decompression_bomb_is_refused_by_its_header(copy, refused):
    path = copy / "probes" / "probe-0000.png"
    Image.fromarray(np.zeros((3000, 3000), np.uint8)).save(path)
    listed = json.loads((copy / "manifest.json").read_text())["probes"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite(
        copy,
        probes=[
            probe | {"sha256": digest} if probe["file"] == path.name else probe for probe in listed
        ],
    )
    refused(lambda: fingerprint.load(copy), "probe-0000.png", "3000 x 3000")


def test_anchors_tell_permuted_rows_and_classes(made, refused, run):
    own = made.answers
    assert fingerprint.check_anchors(made, own, "x").agree == made.is_anchor.sum()
    other = run.zoo.get(run.names("independent")[0])
    independent = Answers(training.logits_of(other, made.pixels).double().numpy(), "logits", 10)
    assert fingerprint.check_anchors(made, independent, "x").agree >= 10
    generator = np.random.default_rng(0)
    rows = Answers(own.outputs[generator.permutation(len(own.outputs))], "logits", 10)
    refused(
        lambda: fingerprint.check_anchors(made, rows, "rows.npy"),
        "rows.npy",
        "another order",
        "anchor images",
    )
    classes = Answers(own.outputs[:, np.roll(np.arange(10), 3)], "logits", 10)
    refused(lambda: fingerprint.check_anchors(made, classes, "x"), "classes are others")
    constant = Answers(np.tile(own.outputs[:1], (len(own.outputs), 1)), "logits", 10)
    refused(lambda: fingerprint.check_anchors(made, constant, "x"), "anchor images")
