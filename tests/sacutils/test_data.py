"""Data sets, splits, augmentation and corruptions."""

import errno
import io
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sacutils import corruptions, data, files, zoo
from sacutils.data import Images
from sacutils.profiles import DataSet, load_profile
from sacutils.zoo import load_material

SIZES = {"owner": 400, "attacker": 450, "probe": 300, "reserve": 400, "test": 200}


def digits(size: int = 8) -> Images:
    return data.load(DataSet(name="digits", image_size=size))[0]


def noise(n: int, channels: int, size: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (n, channels, size, size), generator=torch.Generator().manual_seed(n)
    ).to(torch.uint8)


# Splits


def test_splits_are_disjoint_and_hold_the_images_they_say(run):
    assert list(run.profile.splits.model_dump()) == list(SIZES)
    index = torch.cat([run.material.index[name] for name in SIZES])
    assert len(index) == len(index.unique()) == sum(run.profile.splits.model_dump().values())
    whole = digits(16)
    for name, size in run.profile.splits.model_dump().items():
        chosen, images = whole.take(run.material.index[name]), run.material.splits[name]
        assert len(images.labels) == size
        assert torch.equal(chosen.pixels, images.pixels) and torch.equal(
            chosen.labels, images.labels
        )


@pytest.mark.parametrize("name", ["smoke", "fashion"])
@pytest.mark.parametrize("seed", [0, 1])
def test_splits_of_the_profiles_are_stratified_to_within_one_image(name, seed):
    profile = load_profile(name)
    labels = data.load(profile.data)[0].labels
    for index in data.split(labels, profile.splits.model_dump(), seed).values():
        expected = torch.bincount(labels) * len(index) / len(labels)
        assert (torch.bincount(labels[index]) - expected).abs().max() <= 1


@given(st.data())
def test_splits_of_any_labels(draw):
    classes = draw.draw(st.integers(2, 6))
    counts = draw.draw(st.lists(st.integers(20, 60), min_size=classes, max_size=classes))
    labels = torch.repeat_interleave(torch.arange(classes), torch.tensor(counts))
    sizes = {name: draw.draw(st.integers(classes, len(labels) // 5)) for name in SIZES}
    splits = data.split(labels, sizes, draw.draw(st.integers(0, 2**32 - 1)))
    assert {name: len(index) for name, index in splits.items()} == sizes
    assert len(torch.cat(list(splits.values())).unique()) == sum(sizes.values())
    for index in splits.values():
        expected = torch.tensor(counts) * len(index) / len(labels)
        assert (
            torch.bincount(labels[index], minlength=classes) - expected
        ).abs().max() < 2  # each split rounds once


def test_splits_depend_on_the_seed_only():
    labels = digits().labels
    np.random.seed(1)
    torch.manual_seed(1)
    first = data.split(labels, SIZES, 0)
    np.random.seed(2)
    torch.manual_seed(2)
    again, other = data.split(labels, SIZES, 0), data.split(labels, SIZES, 1)
    assert all(torch.equal(first[name], again[name]) for name in SIZES)
    assert all(set(first[name].tolist()) != set(other[name].tolist()) for name in SIZES)


def test_splits_may_use_every_image_and_are_not_sorted():
    labels = digits().labels
    splits = data.split(labels, {"owner": 897, "test": 900}, 0)
    assert sorted(torch.cat(list(splits.values())).tolist()) == list(range(1797))
    assert not any(torch.equal(index, index.sort().values) for index in splits.values())


# Augmentation


def augment_slowly(
    pixels: torch.Tensor, pad: int, flip: bool, generator: torch.Generator
) -> torch.Tensor:
    n, _, height, width = pixels.shape
    dy, dx = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator)
    mirrored = (
        torch.rand(n, 1, generator=generator) < 0.5 if flip else torch.zeros(n, 1, dtype=torch.bool)
    )
    result = torch.zeros_like(pixels)
    for i in range(n):
        for y in range(height):
            for x in range(width):
                row = y + int(dy[i]) - pad
                column = (width - 1 - x if mirrored[i] else x) + int(dx[i]) - pad
                if 0 <= row < height and 0 <= column < width:
                    result[i, :, y, x] = pixels[i, :, row, column]
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("pad", "flip"), [(0, False), (0, True), (2, False), (3, True)])
def test_augment_agrees_with_a_slow_version(channels, pad, flip):
    pixels = noise(9, channels, 8)
    fast = data.augment(pixels, pad, flip, torch.Generator().manual_seed(3))
    assert fast.dtype == torch.uint8 and fast.shape == pixels.shape
    assert torch.equal(fast, augment_slowly(pixels, pad, flip, torch.Generator().manual_seed(3)))


def test_augment_draws_for_each_image_alone():
    pixels = noise(1, 1, 8).expand(200, 1, 8, 8)
    seen = {
        image.numpy().tobytes()
        for image in data.augment(pixels, 2, True, torch.Generator().manual_seed(0))
    }
    assert 40 <= len(seen) <= 50  # of 2 x 5 x 5 possible ones
    plain = data.augment(pixels, 0, True, torch.Generator().manual_seed(0))
    assert 70 < (plain == pixels).flatten(1).all(1).sum() < 130


def test_augment_leaves_its_input_and_the_global_generator():
    pixels = noise(4, 1, 8)
    copy, before = pixels.clone(), torch.get_rng_state()
    data.augment(pixels, 2, True, torch.Generator().manual_seed(0))
    assert torch.equal(pixels, copy) and torch.equal(torch.get_rng_state(), before)


def test_to_float_covers_the_unit_interval():
    made = data.to_float(torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16))
    assert made.dtype == torch.float32 and made.flatten().tolist() == [
        np.float32(i) / np.float32(255) for i in range(256)
    ]


# Corruptions


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", list(corruptions.CORRUPTIONS))
def test_each_corruption_changes_images_and_stays_close(name, channels):
    pixels = digits(16).pixels[:20].expand(-1, channels, -1, -1).float()
    changed = corruptions.CORRUPTIONS[name](pixels.clone(), torch.Generator().manual_seed(0))
    assert changed.shape == pixels.shape and changed.isfinite().all()
    difference = (changed.clamp(0, 255) - pixels).abs().flatten(1).mean(1)
    assert 0.5 < difference.min() and difference.max() < 80


def test_corrupt_keeps_labels_and_draws_from_its_seed():
    images = digits(16).take(slice(0, 200))
    before = images.pixels.clone()
    one, again, other = (corruptions.corrupt(images, seed) for seed in (0, 0, 1))
    assert one.pixels.dtype == torch.uint8 and torch.equal(one.labels, images.labels)
    assert torch.equal(one.pixels, again.pixels) and not torch.equal(one.pixels, other.pixels)
    assert torch.equal(images.pixels, before) and (one.pixels != before).flatten(1).any(1).all()


def test_corrupt_takes_fewer_images_than_there_are_kinds():
    assert corruptions.corrupt(digits().take(slice(0, 3)), 0).pixels.shape == (3, 1, 8, 8)


def test_attacker_corrupted_is_the_attacker_half_corrupted(run):
    clean, corrupted = run.material.splits["attacker"], run.material.splits["attacker_corrupted"]
    assert (
        torch.equal(clean.labels, corrupted.labels) and clean.pixels.shape == corrupted.pixels.shape
    )
    assert torch.equal(corrupted.pixels, corruptions.corrupt(clean, run.profile.seed).pixels)


@pytest.mark.filterwarnings("ignore:The image decoding and encoding")
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_agrees_with_another_codec(channels):
    from torchvision.io import decode_jpeg, encode_jpeg

    pixels = (
        data.load(DataSet(name="fashion_subset", image_size=28))[0]
        .pixels[:20]
        .expand(-1, channels, -1, -1)
    )
    made = corruptions.jpeg(pixels, 25)
    assert made.dtype == torch.uint8 and made.shape == pixels.shape
    for image, compressed in zip(pixels, made, strict=True):
        expected = decode_jpeg(encode_jpeg(image.contiguous(), quality=25))
        assert (compressed.int() - expected.int()).abs().max() <= 1


def test_jpeg_is_worse_at_lower_quality():
    pixels = digits(16).pixels[:50]
    errors = [
        (corruptions.jpeg(pixels, quality).float() - pixels.float()).abs().mean().item()
        for quality in (90, 25, 10)
    ]
    assert 0 < errors[0] < errors[1] < errors[2]


# The embedded files


SUBSET = files.home() / "data" / "fashion_subset.npz"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder in which data sets are looked for."""
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(data, "home", lambda: tmp_path)
    return tmp_path / "data"


def test_embedded_data_set_is_the_one_the_code_expects():
    assert files.sha256(SUBSET) == data.FASHION_SUBSET_SHA256
    images, classes = data.load(DataSet(name="fashion_subset", image_size=28))
    assert (
        images.pixels.dtype == torch.uint8
        and images.pixels.shape[1:] == (1, 28, 28)
        and len(classes) == 10
    )
    assert images.labels.dtype == torch.int64 and set(images.labels.tolist()) == set(range(10))
    assert len(images.labels) >= sum(load_profile("fashion").splits.model_dump().values())
    assert len({image.numpy().tobytes() for image in images.pixels}) == len(
        images.labels
    )  # no duplicate across splits


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "missing"])
def test_damaged_data_set_is_refused(refused, elsewhere, damage):
    path, content = elsewhere / "fashion_subset.npz", SUBSET.read_bytes()
    flipped = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
    if damage != "missing":
        path.write_bytes({"flip": flipped, "truncate": content[:-1], "empty": b""}[damage])
    word = "missing" if damage == "missing" else "damaged"
    wanted = DataSet(name="fashion_subset", image_size=28)
    refused(lambda: data.load(wanted), str(path), word, "git checkout")


def test_digits_are_rescaled_and_resized():
    from sklearn.datasets import load_digits

    images, classes = data.load(DataSet(name="digits", image_size=8))
    assert classes == list("0123456789") and images.pixels.shape == (1797, 1, 8, 8)
    assert np.allclose(
        images.pixels[:, 0].double().numpy() * 16 / 255, load_digits().images, atol=0.05
    )
    large = digits(16).pixels
    assert large.shape == (1797, 1, 16, 16) and large.dtype == torch.uint8
    assert (large.float().mean((1, 2, 3)) - images.pixels.float().mean((1, 2, 3))).abs().max() < 6


def test_first_classes_only():
    images, classes = data.load(DataSet(name="digits", image_size=8, classes=3))
    assert classes == ["0", "1", "2"] and set(images.labels.tolist()) == {0, 1, 2}


# torchvision's data sets


def test_data_set_that_cannot_be_downloaded_is_refused(refused, elsewhere, monkeypatch):
    from torchvision import datasets

    def fail(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    wanted = DataSet(name="cifar10", image_size=32)
    refused(lambda: data.load(wanted), "cifar10", str(elsewhere), "no route", "imagefolder")


def test_colour_data_set_is_pooled_and_channels_come_first(monkeypatch):
    from torchvision import datasets

    class Fake:
        classes = ("cat", "dog")

        def __init__(self, folder, train, download):
            self.data = np.full((4 if train else 2, 32, 32, 3), [1, 2, 3], np.uint8)
            self.targets = [0, 1, 0, 1] if train else [1, 1]

    monkeypatch.setattr(datasets, "CIFAR10", Fake)
    images, classes = data.load(DataSet(name="cifar10", image_size=32))
    assert images.pixels.shape == (6, 3, 32, 32) and images.pixels[0, :, 0, 0].tolist() == [1, 2, 3]
    assert images.labels.tolist() == [0, 1, 0, 1, 1, 1] and classes == ["cat", "dog"]


def write_fashion_mnist(folder, damaged: bool) -> None:
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 6), ("t10k", 4)):
        pixels = bytes(range(n)) * 784
        (raw / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">IIII", 2051, n, 28, 28) + pixels[damaged:]
        )
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 2049, n) + bytes(i % 10 for i in range(n))
        )


def test_fashion_mnist_from_its_files_and_truncated(refused, elsewhere):
    wanted = DataSet(name="fashion_mnist", image_size=28)
    write_fashion_mnist(elsewhere, damaged=False)
    images, classes = data.load(wanted)
    assert images.pixels.shape == (10, 1, 28, 28)
    assert images.labels.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3] and len(classes) == 10
    shutil.rmtree(elsewhere / "FashionMNIST")
    write_fashion_mnist(elsewhere, damaged=True)
    refused(lambda: data.load(wanted), "fashion_mnist", str(elsewhere), "not intact")


# ImageFolder


@pytest.fixture
def tree(tmp_path):
    """An ImageFolder with parts, mixed sizes, modes and formats."""
    specs = [
        ("RGB", 16, "png"),
        ("L", 16, "png"),
        ("RGBA", 20, "png"),
        ("P", 9, "gif"),
        ("CMYK", 16, "jpg"),
        ("RGB", 40, "JPEG"),
    ]
    for part in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for i, (mode, size, suffix) in enumerate(specs):
                image = Image.new(
                    "RGB", (size, size + i), (40 + 100 * label, 40 + 100 * label, 40 + 100 * label)
                )
                image.convert(mode).save(tmp_path / part / name / f"{i}.{suffix}")
            (tmp_path / part / name / "notes.txt").write_text("not an image")
    return tmp_path


def folder(path, size: int = 16) -> DataSet:
    return DataSet(name="imagefolder", path=str(path), image_size=size)


def test_imagefolder_converts_and_pools(tree):
    images, classes = data.load(folder(tree))
    formats = {
        suffix
        for suffix in ("png", "jpg", "JPEG")
        for _ in (tree / "train" / "cat").glob(f"*.{suffix}")
    }
    assert classes == ["cat", "dog"] and len(formats) == 3
    assert images.pixels.shape == (
        20,
        3,
        16,
        16,
    )  # torchvision does not count GIF as an image format
    assert images.labels.tolist() == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5
    means = images.pixels.float().mean((1, 2, 3))
    assert (means - (40 + 100 * images.labels)).abs().max() < 3


def test_imagefolder_without_parts_is_the_same(tree):
    images, classes = data.load(folder(tree / "train", 8))
    assert classes == ["cat", "dog"] and images.pixels.shape == (10, 3, 8, 8)


def test_numbered_class_folders_are_in_the_order_of_numbers(tmp_path):
    for label in range(11):
        (tmp_path / str(label)).mkdir()
        Image.new("RGB", (8, 8), (20 * label,) * 3).save(tmp_path / str(label) / "0.png")
    images, classes = data.load(folder(tmp_path, 8))
    assert classes == [str(label) for label in range(11)]
    assert torch.equal(images.pixels[:, 0, 0, 0], 20 * images.labels)


def test_missing_imagefolder_is_refused(refused, tree):
    refused(lambda: data.load(folder(tree / "nowhere")), str(tree / "nowhere"), "not a folder")


def test_class_folder_missing_in_one_part_is_refused(refused, tree):
    (tree / "train" / "emu").mkdir()
    refused(lambda: data.load(folder(tree)), "'emu'", "missing in one of its parts")


def test_class_folders_beside_parts_are_refused_as_in_the_owners_tool(refused, tree):
    (tree / "emu").mkdir()
    assert data.load(folder(tree))[1] == ["cat", "dog"]  # a folder without images is no class
    Image.new("RGB", (8, 8)).save(tree / "emu" / "0.png")
    refused(lambda: data.load(folder(tree)), "'emu' beside train, test", "parts of one data set")


def test_class_folder_without_images_is_refused(refused, tree):
    for part in ("train", "test"):
        (tree / part / "emu").mkdir()
    refused(lambda: data.load(folder(tree)), "no image in the class folder 'emu'")


def test_folder_that_cannot_be_read_does_not_count_as_empty(tree, monkeypatch):
    plain, shut = os.scandir, tree / "train" / "dog"

    def scandir(path):
        if Path(path) == shut:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="dog"):
        data.images_below(tree)
    assert data.images_below(tree / "nowhere") == []


def test_imagefolder_without_classes_or_images_is_refused(refused, tmp_path):
    refused(lambda: data.load(folder(tmp_path)), "0 class folders", "at least 2")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    refused(lambda: data.load(folder(tmp_path)), "2 class folders and 0 images")


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "chunk", "header"])
def test_corrupt_image_file_is_refused(refused, tree, damage):
    path = tree / "test" / "dog" / ("9.ppm" if damage == "header" else "0.png")
    buffer = io.BytesIO()
    Image.fromarray(noise(1, 3, 64)[0].permute(1, 2, 0).numpy()).save(buffer, "PNG")
    whole = buffer.getvalue()
    broken = whole.replace(
        b"IDAT", b"\x01DAT"
    )  # Pillow answers with a SyntaxError, and to the header with a ValueError
    contents = {
        "truncated": whole[:3000],
        "empty": b"",
        "text": b"hello",
        "chunk": broken,
        "header": b"P6\n1x 16\n255\n",
    }
    path.write_bytes(contents[damage])
    refused(
        lambda: data.load(folder(tree)),
        path.name,
        "cannot be read as an image",
        "replace or remove",
    )


def test_imagefolder_makes_a_whole_run_material(tmp_path, run):
    for name, value in (("cat", 50), ("dog", 200)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(30):
            Image.new("L", (16, 16), value + i).save(tmp_path / "images" / name / f"{i}.png")
    there = {"name": "imagefolder", "path": str(tmp_path / "images"), "image_size": 16}
    sizes = dict.fromkeys(SIZES, 10) | {"owner": 20}
    overrides = {"data": there, "splits": sizes, "probes.contested": [20, 80]}
    overrides |= {"transfer": {"data": there, "train": 10, "test": 10}, "variants": {}}
    material = load_material(load_profile("smoke", overrides), tmp_path / "made", run.device)
    assert material.class_names == ["cat", "dog"] and material.channels == 3
    assert material.splits["owner"].labels.bincount().tolist() == [10, 10]


# The packed file


def test_packed_images_are_made_once_and_again_when_damaged(tmp_path, run, monkeypatch, capsys):
    load_material(run.profile, tmp_path, run.device)
    (packed,) = tmp_path.glob("*.safetensors")
    content = packed.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(zoo, "prepare", None)  # a second preparation would fail
        again = load_material(run.profile, tmp_path, run.device)
    assert torch.equal(again.splits["owner"].pixels, run.material.splits["owner"].pixels)
    assert capsys.readouterr().out == ""
    for path in (packed, packed.with_suffix(".json")):
        path.write_bytes(path.read_bytes()[:-10])
        load_material(run.profile, tmp_path, run.device)
        assert packed.name in capsys.readouterr().out and packed.read_bytes() == content


def test_hidden_folders_are_not_classes(tmp_path):
    for name in ("a", "b", ".cache"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / name / "0.png")
    images, classes = data.load(DataSet(name="imagefolder", path=str(tmp_path), image_size=16))
    assert classes == ["a", "b"] and len(images.labels) == 2


def test_parts_and_depth_of_an_imagefolder_are_found(tmp_path):
    grey = Image.fromarray(np.zeros((8, 8), np.uint8))
    files = "train/a/0.png valid/a/1.png valid/a/deep/2.png train/b/3.png valid/b/.4.png"
    for name in files.split():
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        grey.save(tmp_path / "one" / name)
    (tmp_path / "one/train/a/loop").symlink_to(tmp_path / "one/train/a")
    images, classes = data.load(folder(tmp_path / "one", 8))
    assert classes == ["a", "b"] and images.labels.tolist() == [0, 1, 0, 0]
    # a class may have the name of a part
    for name in ("car", "train"):
        (tmp_path / "two" / name).mkdir(parents=True)
        grey.save(tmp_path / "two" / name / "0.png")
    assert data.load(folder(tmp_path / "two", 8))[1] == ["car", "train"]


def test_deep_images_are_scaled_or_refused_and_never_clipped(tmp_path, refused):
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(ramp).save(tmp_path / name / "0.png")
    images, _ = data.load(folder(tmp_path, 8))
    assert np.array_equal(images.pixels[0, 0].numpy(), np.rint(ramp / 257).astype(np.uint8))
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "b" / "1.tif")
    refused(lambda: data.load(folder(tmp_path, 8)), "1.tif", "32 bits a pixel", "8 or 16")


def test_more_classes_than_there_are(refused, tree):
    refused(lambda: load_profile("smoke", {"data.classes": 11}), "data", "classes = 11", "10")
    wanted = DataSet(name="imagefolder", path=str(tree), image_size=16, classes=3)
    refused(lambda: data.load(wanted), "data.classes = 3", str(tree), "2 classes")


def test_imagefolder_path_is_relative_to_home(tree, monkeypatch):
    monkeypatch.setattr(data, "home", lambda: tree.parent)
    images, _ = data.load(DataSet(name="imagefolder", path=tree.name, image_size=16))
    assert images.pixels.shape == (20, 3, 16, 16)


@given(st.integers(0, 5))
def test_one_corruption_for_all_images(position):
    images = digits(16).take(slice(0, 20))
    name = list(corruptions.CORRUPTIONS)[position]
    changed = corruptions.corrupt_all(images, name, 0)
    assert changed.pixels.dtype == torch.uint8 and torch.equal(changed.labels, images.labels)
    assert (changed.pixels != images.pixels).flatten(1).any(1).all()
    assert torch.equal(changed.pixels, corruptions.corrupt_all(images, name, 0).pixels)
