"""Folders of images as owners have them: all are read, or it is said which are not."""

import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from sacheck import case, fingerprint, images
from sacheck.images import read_pool
from sacutils.data import images_below


def put(folder, *names, side=20, value=None):
    """Write one image for each name, of one colour that grows with the number of the image."""
    for number, name in enumerate(names):
        shade = 10 * number % 256 if value is None else value
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((side, side + 4, 3), shade, np.uint8)).save(folder / name)


def labels_of(pool):
    """Class names of the images by their colour."""
    names = [pool.class_names[label] for label in pool.images.labels.tolist()]
    return dict(zip(pool.images.pixels[:, 0, 0, 0].tolist(), names, strict=True))


def test_images_come_from_folders(tmp_path, refused):
    put(tmp_path / "flat", "0.png", "1.png", "2.png", value=None)
    put(tmp_path / "tree", "a/0.png", "b/1.png", "a/2.PNG")
    flat, classes, described, drawn = read_pool(tmp_path / "flat", None, 3)
    assert flat.pixels.shape == (3, 3, 20, 20) and flat.pixels.dtype == torch.uint8
    assert classes is None and described == "folder flat, 3 images" and not drawn
    assert sorted(flat.pixels[:, 0, 0, 0].tolist()) == [0, 10, 20]
    tree = read_pool(tmp_path / "tree", 16, 1)
    assert tree.images.pixels.shape == (3, 1, 16, 16) and tree.class_names == ["a", "b"]
    assert tree.described == "ImageFolder tree, 3 images"
    assert labels_of(tree) == {0: "a", 10: "b", 20: "a"}
    some = read_pool(tmp_path / "flat", None, 3, most=2)
    assert len(some.images.labels) == 2 and some.described == "folder flat, 3 images, 2 drawn"
    refused(lambda: read_pool(tmp_path / "none", None, 3), "none", "no folder of images")
    (tmp_path / "empty").mkdir()
    refused(lambda: read_pool(tmp_path / "empty", None, 3), "no folder of images")
    (tmp_path / "flat/0.png").write_bytes(b"no image")
    refused(lambda: read_pool(tmp_path / "flat", 16, 3), "0.png", "cannot be read")


def test_what_systems_and_editors_leave_is_ignored(tmp_path):
    put(tmp_path, "a/0.png", "b/1.png")
    expected = read_pool(tmp_path, None, 3)
    put(tmp_path, ".ipynb_checkpoints/0-checkpoint.png", "a/.ipynb_checkpoints/0.png")
    put(tmp_path, "__MACOSX/a/0.png", "a/@eaDir/0.png", ".cache/c/0.png")
    for name in ("a/._0.png", ".DS_Store", "a/Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    found = read_pool(tmp_path, None, 3)
    assert found[1:] == expected[1:] and torch.equal(found.images.pixels, expected.images.pixels)
    assert [path.name for path in images_below(tmp_path)] == ["0.png", "1.png"]


LAYOUTS = {
    "inner folders": (["dot/images/0.png", "ring/images/1.png", "ring/2.png"], "drr"),
    "valid": (["train/dot/0.png", "train/ring/1.png", "valid/ring/2.png"], "drr"),
    "odd splits": (["Test/dot/0.png", "Test/ring/1.png", "dev/ring/x/y/2.png"], "drr"),
    "a class called train": (["dot/0.png", "train/1.png", "test/2.png"], "dtt"),
    "parts of a class": (["dot/train/0.png", "ring/train/1.png", "ring/test/2.png"], "drr"),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_layouts_of_folders_are_read_whole(tmp_path, kind):
    names, expected = LAYOUTS[kind]
    put(tmp_path / "held", *names)
    found = read_pool(tmp_path / "held", None, 3)
    assert found.described == "ImageFolder held, 3 images"
    first = {shade: name[0] for shade, name in labels_of(found).items()}
    assert first == dict(zip((0, 10, 20), expected, strict=True))


def test_what_lies_outside_class_folders_is_named(tmp_path, refused):
    put(tmp_path / "held", "train/a/0.png", "train/b/1.png", "test/2.png", "3.png")
    found = read_pool(tmp_path / "held", None, 3)
    assert found.described == (
        "ImageFolder held, 2 images, 2 outside class folders left out, such as 3.png"
    )
    put(tmp_path / "held", "more/a/4.png")
    refused(lambda: read_pool(tmp_path / "held", None, 3), "'more'", "beside test, train")
    # parts without classes, as in a data set for detection, are images without labels
    put(tmp_path / "yolo", "train/images/0.png", "valid/images/1.png")
    assert read_pool(tmp_path / "yolo", None, 3).described == "folder yolo, 2 images"
    put(tmp_path / "one", "images/0.png", "images/1.png")
    assert read_pool(tmp_path / "one", None, 3).class_names is None


def test_class_folders_are_matched_by_name(tmp_path, refused):
    put(tmp_path, "arch/0.png", "bar/1.png", "ring/2.png")
    order = ["ring", "arch", "dot", "bar"]  # of the outputs; one class has no folder
    found = read_pool(tmp_path, None, 3, order)
    assert found.class_names == order
    assert labels_of(found) == {0: "arch", 10: "bar", 20: "ring"}
    (tmp_path / "dot").mkdir()
    assert read_pool(tmp_path, None, 3).class_names == ["arch", "bar", "dot", "ring"]
    refused(lambda: read_pool(tmp_path, None, 3, ["arch", "bar", "dot"]), "'ring'", "none of the")


@pytest.mark.parametrize("names", [["0", "1", "2", "10", "11"], ["08", "9", "010"], ["a2", "b10"]])
def test_numbered_folders_are_in_numeric_order(tmp_path, names):
    put(tmp_path, *(f"{name}/{i}.png" for i, name in enumerate(reversed(names))))
    assert read_pool(tmp_path, None, 3).class_names == names


def test_a_loop_of_links_is_entered_once(tmp_path):
    put(tmp_path / "far", "2.png")
    put(tmp_path / "held", "a/0.png", "b/1.png")
    (tmp_path / "held/a/again").symlink_to(tmp_path / "held")
    (tmp_path / "held/b/far").symlink_to(tmp_path / "far")
    found = [path.relative_to(tmp_path / "held") for path in images_below(tmp_path / "held")]
    assert [str(path) for path in found] == ["a/0.png", "b/1.png", "b/far/2.png"]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_deep_images_are_scaled(tmp_path, ending):
    deep = np.arange(400, dtype=np.uint16).reshape(20, 20) * 164
    Image.fromarray(deep).save(tmp_path / f"a.{ending}")
    found = read_pool(tmp_path, None, 1).images.pixels[0, 0].numpy()
    assert np.array_equal(found, np.rint(deep / 257).astype(np.uint8)) and found.max() == 255


def test_deeper_images_are_refused(tmp_path, refused):
    for number, kind in enumerate((np.int32, np.float32)):
        Image.fromarray(np.ones((9, 9), kind)).save(tmp_path / f"{number}.tif")
        refused(lambda: read_pool(tmp_path, None, 3), f"{number}.tif", "8 or 16")
        (tmp_path / f"{number}.tif").unlink()


def test_the_side_is_that_of_most_images(tmp_path):
    put(tmp_path / "many", "0.jpg", side=500)
    put(tmp_path / "many", "1.png", "2.png", side=30)
    put(tmp_path / "many", "3.png", side=31)
    assert read_pool(tmp_path / "many", None, 3).images.pixels.shape == (4, 3, 30, 30)
    put(tmp_path / "small", "0.png", side=3)
    put(tmp_path / "large", "0.jpg", side=1100)
    for side in (8, 1024):
        assert read_pool(tmp_path / "small", side, 1).images.pixels.shape == (1, 1, side, side)
    assert read_pool(tmp_path / "small", None, 1).images.pixels.shape[-1] == 8
    assert read_pool(tmp_path / "large", None, 1).images.pixels.shape[-1] == 1024


def test_no_more_memory_is_taken_than_pixels_need(tmp_path, monkeypatch):
    put(tmp_path, *(f"{i:02d}.png" for i in range(24)), side=100)
    read_pool(tmp_path, 100, 3)
    tracemalloc.start()
    read_pool(tmp_path, 100, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 100 * 100 * 3  # what torch itself allocates is not traced
    monkeypatch.setattr(images, "LARGEST", 10 * 100 * 100 * 3)
    found = read_pool(tmp_path, 100, 3)
    assert len(found.images.labels) == 10
    assert found.described.endswith("24 images, 10 drawn")


def names(count):
    return [f"c{i}" for i in range(count)]


def test_the_accuracy_of_the_owners_model_is_measured(refused):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 6, 600)
    guess = np.where(generator.random(600) < 0.8, labels, generator.integers(0, 6, 600))
    assert fingerprint.accuracy(guess, labels, names(6)) == (guess == labels).mean() > 0.75
    turned = np.array([3, 0, 1, 2, 4, 5])
    sentence = refused(lambda: fingerprint.accuracy(turned[guess], labels, names(6)), "right on")
    assert "c1,c2,c3,c0,c4,c5; give" in sentence  # output 0 means c1
    chance = generator.integers(0, 6, 600)
    refused(lambda: fingerprint.accuracy(chance, labels, names(6)), "by chance", "--class-names")
    refused(lambda: fingerprint.accuracy(labels * 0, labels, names(6)), "by chance")
    # poor, but better than chance, and in the right order
    poor = np.where(generator.random(600) < 0.2, labels, chance)
    assert fingerprint.accuracy(poor, labels, names(6)) > 0.25


def test_a_model_that_takes_two_classes_for_one_another_is_no_other_order():
    labels = np.arange(400) % 4
    confused = np.where((labels == 3) & (np.arange(400) % 8 > 4), 2, labels)
    assert fingerprint.accuracy(confused, labels, names(4)) == 0.875


@pytest.mark.parametrize("count", [14, 40])
def test_few_images_are_no_reason_to_refuse(count):
    labels = np.arange(count) % 2
    nearly = np.where(np.arange(count) == 3, 0, labels)
    assert fingerprint.accuracy(nearly, labels, names(2)) > 0.9


def test_views_are_the_same_in_parts(monkeypatch):
    pixels = torch.randint(0, 256, (30, 3, 9, 9), dtype=torch.uint8)
    weights = torch.randn(3, 243, 4, generator=torch.Generator().manual_seed(0))

    def member(weight):
        return lambda images: (images.flatten(1) / 255.0 @ weight).double().numpy()

    name = fingerprint.Model(file="m", sha256="", architecture=None, preprocessing={})
    members = [(member(weight), name) for weight in weights]
    monkeypatch.setattr(fingerprint, "VIEWED", 7 * 4 * 243)
    chosen = fingerprint.contested(members, pixels, 12, 5)
    views = torch.cat(list(fingerprint._views(pixels, 5)), 1)
    assert views.shape[:2] == (4, 30) and torch.equal(views[0], pixels)
    for image, index in zip(chosen.pixels, chosen.index.tolist(), strict=True):
        labels = {int(answer(image[None]).argmax()) for answer, _ in members}
        assert len(labels) > 1 and any(torch.equal(image, view) for view in views[:, index])


def test_names_of_classes_may_come_from_another_system():
    assert case.class_names('cat,"dog, wild"\r\n') == ["cat", "dog, wild"]
    assert case.class_names("cat,\rdog") == ["cat", "dog"]


def test_names_of_classes_that_no_fingerprint_can_hold_are_refused_at_once(refused, tmp_path):
    refused(lambda: case.class_names(""), "--class-names", "no name")
    refused(lambda: case.class_names("cat,dog,cat"), "--class-names", "occurs twice")
    refused(lambda: case.class_names("a\u00a0cat,dog"), r"'a\xa0cat'", "can be printed")
    (tmp_path / "names.txt").write_text("Würfel\nKreis", encoding="latin-1")
    refused(lambda: case.class_names(str(tmp_path / "names.txt")), "names.txt", "UTF-8")
    (tmp_path / "none.txt").write_text("\n \n")
    refused(lambda: case.class_names(str(tmp_path / "none.txt")), "none.txt", "no name")
