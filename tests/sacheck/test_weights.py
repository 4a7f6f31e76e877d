"""Files from strangers: good ones give the same outputs in every format, bad ones a sentence, and
nothing in them is run.
"""

import gzip
import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sacheck import text, weights
from sacheck.weights import ModelFile, Preprocessing
from sacutils import models, training
from tests.conftest import listing, save_weights

PLAIN = Preprocessing()
PIXELS = torch.randint(
    0, 256, (12, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
MATRIX = np.random.default_rng(0).normal(size=(256, 10)).astype(np.float32) / 16


@pytest.fixture(scope="module")
def network():
    return models.build("resnet_s", 1, 10, 0).eval()


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    """One network as safetensors and as ONNX."""
    folder = tmp_path_factory.mktemp("files")
    save_weights(network.state_dict(), folder / "net.safetensors")
    settings = {
        "dynamic_shapes": ({0: torch.export.Dim("n")},),
        "external_data": False,
        "verbose": False,
    }
    torch.onnx.export(network, (torch.zeros(2, 1, 16, 16),), folder / "net.onnx", **settings)
    return folder


@pytest.fixture
def scratch(tmp_path_factory, monkeypatch):
    """A folder for temporary files, to see that none stays."""
    folder = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module of the owner's into the working directory; it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    names = []

    def write(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        names.append(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


def ask(
    path: Path,
    name: str | None = "resnet_s",
    how: Preprocessing = PLAIN,
    classes: int = 10,
    pixels=PIXELS,
):
    return ModelFile(path, name, how).outputs(pixels, classes)


# what works


def test_safetensors_and_onnx_give_the_networks_outputs(files, network, scratch):
    expected = training.logits_of(network, PIXELS).numpy()
    for path, name in (("net.safetensors", "resnet_s"), ("net.onnx", None)):
        found = ask(files / path, name)
        assert found.dtype == np.float64 and np.allclose(found, expected, atol=1e-4)
    assert listing(scratch) == []


def test_an_onnx_network_takes_other_layouts_and_scales(files, network, tmp_path):
    model = onnx.load(files / "net.onnx")
    given = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["inside" if name == given else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Transpose", [given], ["moved"], perm=[0, 3, 1, 2]))
    model.graph.node.insert(1, helper.make_node("Div", ["moved", "white"], ["inside"]))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(255), "white"))
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info(given, TensorProto.FLOAT, ["n", 16, 16, 1])
    )
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    found = ask(tmp_path / "net.onnx", None, Preprocessing(layout="nhwc", maximum=255))
    assert np.allclose(found, training.logits_of(network, PIXELS).numpy(), atol=1e-4)


def test_the_ending_of_the_name_does_not_matter(files, tmp_path):
    (tmp_path / "a.onnx").write_bytes((files / "net.safetensors").read_bytes())
    (tmp_path / "b.safetensors").write_bytes((files / "net.onnx").read_bytes())
    assert np.array_equal(ask(tmp_path / "a.onnx"), ask(files / "net.safetensors"))
    assert np.array_equal(ask(tmp_path / "b.safetensors", None), ask(files / "net.onnx", None))


def test_a_header_whose_length_looks_like_a_pickle_is_read(files, tmp_path):
    content = (files / "net.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    blanks = (0x80 - length) % 256
    head = (length + blanks).to_bytes(8, "little") + content[8 : 8 + length] + b" " * blanks
    assert head[0] == 0x80
    (tmp_path / "net.safetensors").write_bytes(head + content[8 + length :])
    assert np.array_equal(ask(tmp_path / "net.safetensors"), ask(files / "net.safetensors"))


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float16, 0.02), (torch.bfloat16, 0.1), (torch.float64, 1e-5)]
)
def test_other_precisions_become_single(network, tmp_path, dtype, tolerance):
    state = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }
    save_weights(state, tmp_path / "net.safetensors")
    loaded = weights.from_safetensors(tmp_path / "net.safetensors", "resnet_s", 1, 10)
    assert not loaded.training and {parameter.dtype for parameter in loaded.parameters()} == {
        torch.float32
    }
    assert np.allclose(
        ask(tmp_path / "net.safetensors"),
        training.logits_of(network, PIXELS).numpy(),
        atol=tolerance,
    )


def test_a_bare_network_takes_its_normalisation_from_the_preprocessing(network, tmp_path):
    save_weights(network[1].state_dict(), tmp_path / "bare.safetensors")
    how = Preprocessing(mean=(0.5,), std=(0.25,))
    expected = training.logits_of(network, PIXELS).numpy()
    assert np.allclose(ask(tmp_path / "bare.safetensors", how=how), expected, atol=1e-5)
    assert not np.allclose(ask(tmp_path / "bare.safetensors"), expected, atol=1e-5)


def test_torchvisions_own_names_are_read(tmp_path):
    import torchvision

    torch.manual_seed(0)
    reference = torchvision.models.mobilenet_v2(weights=None, num_classes=10).eval()
    safetensors.torch.save_file(reference.state_dict(), tmp_path / "net.safetensors")
    images = torch.randint(
        0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    how = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=32)
    with torch.no_grad():
        expected = reference(weights.prepare(images, how)).numpy()
    assert np.allclose(
        ask(tmp_path / "net.safetensors", "mobilenet_v2", how, pixels=images), expected, atol=1e-4
    )


def test_an_architecture_of_ones_own_gets_prepared_images(own, tmp_path):
    own(
        "mynets",
        "from torch import nn\n"
        "def tiny(channels, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 256, classes))\n",
    )
    torch.manual_seed(0)
    reference = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    save_weights(reference.state_dict(), tmp_path / "own.safetensors")
    before = list(sys.path)
    found = ask(
        tmp_path / "own.safetensors", "mynets:tiny", Preprocessing(mean=(0.5,), std=(0.25,))
    )
    assert np.allclose(found, reference((PIXELS / 255 - 0.5) / 0.25).detach().numpy(), atol=1e-5)
    assert sys.path == before


def test_the_order_and_number_of_images_at_once_change_nothing(tmp_path, monkeypatch, files):
    whole, net = ask(linear(tmp_path), None), ask(files / "net.safetensors")
    for batch in (1, 5):  # 5 does not divide 12
        assert np.allclose(ask(linear(tmp_path, batch=batch), None), whole, atol=1e-6)
    monkeypatch.setattr(weights, "CHUNK", 5 * 1024)
    monkeypatch.setattr(weights, "AT_ONCE", 5 * 1024)
    assert np.allclose(ask(linear(tmp_path), None), whole, atol=1e-6)
    assert np.allclose(ask(files / "net.safetensors"), net, atol=1e-5)


def test_the_output_with_a_column_per_class_is_taken(tmp_path):
    model = onnx.load(linear(tmp_path))
    model.graph.output.insert(0, helper.make_tensor_value_info("f", TensorProto.FLOAT, ["n", 256]))
    (tmp_path / "two.onnx").write_bytes(model.SerializeToString())
    assert np.array_equal(ask(tmp_path / "two.onnx", None), ask(linear(tmp_path), None))


def test_images_are_prepared_as_stated():
    how = Preprocessing(mean=(0.5,), std=(0.25,), size=8)
    small = nn.functional.interpolate(
        PIXELS.float() / 255, size=(8, 8), mode="bilinear", antialias=True
    )
    assert torch.allclose(weights.prepare(PIXELS, how), (small - 0.5) * 4, atol=1e-5)
    colour = PIXELS.repeat(1, 3, 1, 1)
    found = weights.prepare(
        colour, Preprocessing(mean=(1, 2, 3), std=(2,), maximum=255, layout="nhwc")
    )
    assert found.shape == (12, 16, 16, 3) and found.is_contiguous() and found.dtype == torch.float32
    assert torch.equal(found[0, 2, 5], (colour[0, :, 2, 5] - torch.tensor([1.0, 2, 3])) / 2)


# what is refused: options


def test_odd_preparations_are_refused(refused):
    for bad in (
        {"mean": (0.5,)},
        {"std": (1.0,)},
        {"mean": (0.5,), "std": (0.0,)},
        {"mean": (float("nan"),), "std": (1.0,)},
        {"size": 0},
        {"size": 10**6},
        {"maximum": 2},
        {"layout": "nwhc"},
        {"scale": 1},
    ):
        with pytest.raises(ValueError):
            Preprocessing.model_validate(bad)
    refused(
        lambda: weights.prepare(PIXELS, Preprocessing(mean=(0.5, 0.5), std=(1,))),
        "mean has 2 values",
        "1 channels",
    )


def test_options_that_do_not_go_with_the_file_are_refused(files, refused):
    refused(
        lambda: ask(files / "net.safetensors", None),
        "net.safetensors",
        "no architecture",
        "--architecture",
    )
    refused(
        lambda: ask(files / "net.safetensors", how=Preprocessing(mean=(0.5,), std=(1,))),
        "its own normalisation",
    )
    refused(
        lambda: ask(files / "net.safetensors", how=Preprocessing(maximum=255)),
        "its own normalisation",
    )
    refused(
        lambda: ask(files / "net.safetensors", how=Preprocessing(layout="nhwc")),
        "nhwc",
        "ONNX files only",
    )
    refused(lambda: ask(files / "net.onnx", "resnet_s"), "its own architecture", "resnet_s")
    refused(lambda: ask(files / "net.safetensors", "resnet18"), "resnet18", "colour")


def test_architectures_that_are_none_are_refused(own, files, refused):
    own(
        "oddnets",
        "number = 3\ndef wrong(channels, classes):\n    return 3\ndef short():\n    return None\n"
        "def fails(channels, classes):\n    raise KeyError('a. b')\n",
    )
    own("brokennet", "raise RuntimeError('boom')\n")
    own("syntaxnet", "def f(:\n")
    for name, *words in [
        ("oddnets:none", "'oddnets:none'", "none"),
        ("nowhere:f", "nowhere"),
        ("oddnets:number", "oddnets:number", "TypeError"),
        ("oddnets:wrong", "int", "Module"),
        ("oddnets:short", "oddnets:short", "TypeError"),
        ("oddnets:fails", "KeyError"),
        ("brokennet:f", "boom"),
        ("syntaxnet:f", "SyntaxError"),
        ("resnet99", "'resnet99'", "module:function"),
        (":f", "module:function"),
    ]:
        refused(lambda name=name: ask(files / "net.safetensors", name), *words)


def test_images_that_a_network_cannot_take_are_refused(own, tmp_path, refused):
    own(
        "flatnets",
        "from torch import nn\ndef flat(channels, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(9, 10))\n",
    )
    save_weights(
        nn.Sequential(nn.Flatten(), nn.Linear(9, 10)).state_dict(), tmp_path / "flat.safetensors"
    )
    refused(
        lambda: ask(tmp_path / "flat.safetensors", "flatnets:flat"), "flatnets:flat", "[1, 16, 16]"
    )


# what is refused: files that are neither format


class Payload:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("name", ["model.pkl", "model.safetensors", "model.onnx"])
def test_a_pickle_is_refused_and_its_payload_does_not_run(tmp_path, refused, protocol, name):
    path, harm = tmp_path / name, tmp_path / "harm"
    path.write_bytes(pickle.dumps(Payload(harm), protocol))
    refused(lambda: ask(path), name, "pickle", "runs code", "weights_only=True", "ONNX")
    refused(lambda: ask(path, None), name, "pickle")
    assert listing(tmp_path) == [name]
    pickle.loads(path.read_bytes())  # the payload is real
    assert harm.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_with_a_payload_is_refused(tmp_path, refused, zipped):
    path, harm = tmp_path / "model.safetensors", tmp_path / "harm"
    torch.save({"weights": Payload(harm)}, path, _use_new_zipfile_serialization=zipped)
    refused(
        lambda: ask(path),
        "model.safetensors",
        "zip archive" if zipped else "a pickle",
        "weights_only=True",
    )
    assert listing(tmp_path) == ["model.safetensors"]


def test_a_zip_bomb_is_refused_unopened(tmp_path, refused, monkeypatch):
    path = tmp_path / "bomb.safetensors"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50_000_000))
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refused(lambda: ask(path), "bomb.safetensors", "zip archive")


OTHERS = {
    "empty": (b"", "is empty"),
    "one byte": (b"\x00", "neither", "bytes 00"),
    "a web page": (b"\n<!DOCTYPE html><html>sign in</html>", "web page", "login"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
    "an empty zip": (b"PK\x05\x06" + bytes(18), "zip archive"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
    "gzip": (gzip.compress(bytes(100)), "gzip"),
    "noise": (bytes(range(100, 200)), "neither", "64 65 66"),
    "ONNX Runtime's own": (b"\x18\x00\x00\x00ORTM" + bytes(50), "neither"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_refused(tmp_path, refused, kind):
    content, *words = OTHERS[kind]
    (tmp_path / "model.dat").write_bytes(content)
    refused(lambda: ask(tmp_path / "model.dat"), "model.dat", *words)


def test_links_folders_and_missing_files_are_refused(files, tmp_path, refused):
    for name in ("net.onnx", "net.safetensors"):
        (tmp_path / name).symlink_to(files / name)
        refused(lambda name=name: ask(tmp_path / name, None), name, "symbolic link")
    refused(lambda: ask(tmp_path), "a folder")
    refused(lambda: ask(tmp_path / "none.onnx"), "missing")
    if hasattr(os, "mkfifo"):  # opening one would wait for ever
        os.mkfifo(tmp_path / "pipe")
        refused(lambda: ask(tmp_path / "pipe"), "regular file")


def test_files_that_are_too_large_are_refused(tmp_path, refused):
    for name, start in (("onnx", b"\x08\x08"), ("safetensors", bytes(8) + b"{")):
        with open(tmp_path / name, "wb") as file:
            file.write(start)
            file.truncate(weights.LARGEST[name] + 1)  # takes no place on the disk
        refused(lambda name=name: ask(tmp_path / name), name, f"{weights.LARGEST[name]:,}")


# what is refused: safetensors


def raw(folder: Path, head: object, data: bytes = b"", length: int | None = None) -> Path:
    """A file that claims to be safetensors."""
    content = head if isinstance(head, bytes) else json.dumps(head).encode()
    path = folder / "made.safetensors"
    path.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content + data)
    return path


def entry(shape: object, first: object, last: object, kind: object = "F32", **more: object) -> dict:
    return {"dtype": kind, "shape": shape, "data_offsets": [first, last]} | more


HEADERS = {
    "an absurd length": (({"a": entry([1], 0, 4)}, bytes(4), 2**63),),
    "longer than the file": (({"a": entry([1], 0, 4)}, bytes(4), 5000),),
    "no JSON": ((b"{nothing",),),
    "no UTF-8": ((b'{"\xff":1}',),),
    "nested JSON": ((b'{"a":' + b"[" * 100_000,),),
    "an absurd number": ((b'{"a":' + b"9" * 10_000 + b"}",),),
    "nested shape": (({"a": entry(json.loads("[" * 900 + "]" * 900), 0, 4)}, bytes(4)),),
    "a huge shape": (({"a": entry([10**12], 0, 4)}, bytes(4)),),
    "many huge sides": (({"a": entry([2**62] * 300_000, 0, 4)}, bytes(4)),),
    "an overflowing shape": (({"a": entry([2**64, 2], 0, 0)},),),
    "a negative shape": (({"a": entry([-1], 0, 4)}, bytes(4)),),
    "a fraction": (({"a": entry([1.5], 0, 4)}, bytes(4)),),
    "a shape that is none": (({"a": entry("1", 0, 4)}, bytes(4)),),
    "a place that is none": (({"a": entry([1], "0", 4)}, bytes(4)),),
    "a place that ends first": (({"a": entry([1], 4, 0)}, bytes(4)),),
    "an overlap": (({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),),
    "a gap": (({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),),
    "an unknown type": (({"a": entry([1], 0, 4, "F4")}, bytes(4)),),
    "no place": (({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)),),
    "no entry": (({"a": 7},),),
    "truncated": (({"a": entry([100], 0, 400)}, bytes(200)), "damaged"),
    "more than described": (({"a": entry([1], 0, 4)}, bytes(99)), "damaged"),
    "an evil name": (
        ({"a. b\x1b[2J\n" + "z" * 900: entry([3], 0, 12)}, bytes(12)),
        "unexpected tensor 'a.b[2J'",
    ),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_bad_headers_are_refused(tmp_path, refused, kind):
    arguments, *words = HEADERS[kind]
    sentence = refused(lambda: ask(raw(tmp_path, *arguments)), "made.safetensors", *words)
    assert sentence.isprintable()
    assert listing(tmp_path) == ["made.safetensors"]


def test_too_many_tensors_are_refused(files, refused, monkeypatch):
    monkeypatch.setattr(weights, "MOST_TENSORS", 3)
    refused(lambda: ask(files / "net.safetensors"), "net.safetensors", "at most 3")


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_truncated_file_is_refused(files, tmp_path, refused, share):
    content = (files / "net.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: int(len(content) * share)])
    refused(lambda: ask(tmp_path / "cut.safetensors"), "cut.safetensors", "damaged")


def test_weights_of_another_network_are_refused(files, network, tmp_path, refused):
    path, state = tmp_path / "net.safetensors", network.state_dict()
    refused(lambda: ask(files / "net.safetensors", "vgg_s"), "vgg_s", "the tensor '1.")
    refused(
        lambda: ask(files / "net.safetensors", classes=7), "'1.fc.weight'", "[10, 48]", "[7, 48]"
    )
    refused(
        lambda: ask(files / "net.safetensors", pixels=PIXELS.repeat(1, 3, 1, 1)),
        "[16, 1, 3, 3]",
        "3 channels",
    )
    save_weights({key: value for key, value in state.items() if key != "1.fc.bias"}, path)
    refused(lambda: ask(path), "lacks the tensor '1.fc.bias'")
    counter = next(key for key in state if key.endswith("num_batches_tracked"))
    for changed, *words in [
        ({"1.more": torch.zeros(1)}, "unexpected tensor '1.more'"),
        ({"1.fc.bias": torch.zeros(10, dtype=torch.int32)}, "'1.fc.bias'", "I32", "F32"),
        ({counter: torch.tensor(1.0)}, counter, "F32", "I64"),
        ({counter: torch.tensor(1, dtype=torch.uint8)}, counter, "U8", "I64"),
        ({"1.fc.bias": torch.full((10,), float("nan"))}, "'1.fc.bias'", "not finite"),
        ({"1.fc.bias": torch.full((10,), -float("inf"))}, "'1.fc.bias'", "not finite"),
        ({"1.fc.bias": torch.full((10,), 1e300, dtype=torch.float64)}, "'1.fc.bias'", "not finite"),
    ]:
        save_weights(state | changed, path)
        refused(lambda: ask(path), "net.safetensors", *words)


def test_outputs_that_say_nothing_are_refused(network, tmp_path, refused):
    state, path = network.state_dict(), tmp_path / "net.safetensors"
    save_weights(state | {"1.fc.weight": torch.full_like(state["1.fc.weight"], 3e38)}, path)
    refused(lambda: ask(path), "12 of 12 images", "not finite")
    save_weights(state | {"1.fc.weight": torch.zeros_like(state["1.fc.weight"])}, path)
    refused(lambda: ask(path), "the same answer for all 12 images")
    assert ask(path, pixels=PIXELS[:2]).shape == (2, 10)  # two images may well have the same label


# what is refused: ONNX


def save(
    folder: Path,
    nodes,
    initialisers=(),
    shape=("n", 1, 16, 16),
    columns=10,
    kind=TensorProto.FLOAT,
    **more,
) -> Path:
    """An ONNX file with an input x and an output y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, [shape[0], columns])],
        list(initialisers),
    )
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("com.evil", 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=10, **more)
    path = folder / "made.onnx"
    path.write_bytes(model.SerializeToString())
    return path


NODE, ARRAY = helper.make_node, numpy_helper.from_array
FLAT, PRODUCT = NODE("Flatten", ["x"], ["f"]), NODE("MatMul", ["f", "w"], ["y"])


def linear(folder: Path, batch: str | int = "n", **more: object) -> Path:
    """Flatten, then a matrix product."""
    return save(folder, [FLAT, PRODUCT], [ARRAY(MATRIX, "w")], (batch, 1, 16, 16), **more)


def outside(name: str, location: str) -> TensorProto:
    tensor = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=[256, 10], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=location)
    return tensor


def constant(name: str, tensor: TensorProto) -> onnx.NodeProto:
    return NODE("Constant", [], [name], value=tensor)


def subgraph(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "b", [], [])


def test_a_producer_called_ortm_does_not_evade_the_checks(tmp_path):
    """ONNX Runtime takes bytes with ORTM at the fifth place for its own format."""
    path = linear(tmp_path, producer_name="ORTM")
    assert path.read_bytes()[4:8] == b"ORTM"
    assert np.allclose(ask(path, None), PIXELS.flatten(1).numpy() / 255 @ MATRIX, atol=1e-4)


def test_modules_in_the_working_directory_are_not_run(own, tmp_path):
    for name in ("onnx", "onnxruntime", "numpy", "json", "sacheck"):
        (tmp_path / f"{name}.py").write_text("import pathlib\npathlib.Path('harm').mkdir()\n")
    assert ask(linear(tmp_path).relative_to(tmp_path), None).shape == (12, 10)
    assert not (tmp_path / "harm").exists()


W = ARRAY(MATRIX, "w")
EMPTY = subgraph()


def net(
    *nodes: onnx.NodeProto, w: TensorProto | None = W, **more: object
) -> Callable[[Path], Path]:
    """A maker of a file whose images are flattened before some nodes, with the matrix `w`."""
    return lambda folder: save(folder, [FLAT, *nodes], [w] if w else [], **more)


def held(**fields: object) -> Callable[[Path], Path]:
    """A maker of a file whose matrix is a tensor with these fields."""
    return net(PRODUCT, w=TensorProto(name="w", **fields))


def changed(change: Callable[[onnx.ModelProto], object], make=linear) -> Callable[[Path], Path]:
    """A maker of a file in which one thing was changed."""

    def write(folder: Path) -> Path:
        path = make(folder)
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())
        return path

    return write


def written(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "made.onnx").write_bytes(content)
        return folder / "made.onnx"

    return write


def marked(tensor: TensorProto) -> TensorProto:
    """A tensor that names another file and holds its values all the same."""
    found = TensorProto.FromString(tensor.SerializeToString())
    found.external_data.add(key="location", value="secret")
    return found


def value(name: str, shape: list[object], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def optional(model: onnx.ModelProto) -> None:
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 1, 16, 16])
    given = helper.make_value_info("x", helper.make_optional_type_proto(kind))
    model.graph.input[0].CopyFrom(given)


def sparse(model: onnx.ModelProto) -> None:
    indices, values = ARRAY(np.array([0]), "i"), ARRAY(np.ones(1), "v")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**9]))


EVIL = helper.make_function(
    "com.evil",
    "Mine",
    [],
    ["b"],
    [constant("b", outside("k", "/etc/passwd"))],
    [helper.make_opsetid("", 20)],
)
BRANCH = {"then_branch": EMPTY, "else_branch": EMPTY}
OUTSIDE = {"then_branch": subgraph(constant("k", outside("k", "/etc/passwd")))}
SUM = NODE("ReduceSum", ["f"], ["a"], keepdims=0)
ZEROS = [NODE("ConstantOfShape", ["s"], ["z"]), NODE("MatMul", ["z", "f"], ["y"])]
# the shape depends on the images, so that nothing can be foreseen
HIDDEN = [
    FLAT,
    SUM,
    NODE("Mul", ["a", "zero"], ["b"]),
    NODE("Add", ["b", "big"], ["c"]),
    NODE("Cast", ["c"], ["d"], to=TensorProto.INT64),
    NODE("Unsqueeze", ["d", "axis"], ["e"]),
    NODE("ConstantOfShape", ["e"], ["z"]),
    NODE("ReduceSum", ["z"], ["t"], keepdims=0),
    NODE("Add", ["f", "t"], ["g"]),
    NODE("MatMul", ["g", "w"], ["y"]),
]
NUMBERS = {"zero": np.float32(0), "big": np.float32(2e9), "axis": np.array([0])}
ARRAYS = [W, *(ARRAY(np.asarray(number), name) for name, number in NUMBERS.items())]
SOFT = net(PRODUCT, NODE("Softmax", ["y"], ["p"]))

# how a file is made that must not be run, and what the sentence says of it
BAD_ONNX: dict[str, tuple[Callable[[Path], Path], *tuple[str, ...]]] = {
    "external data": (
        net(PRODUCT, w=outside("w", "secret")),
        "'w'",
        "another file",
        "external_data",
    ),
    "external data in a node": (
        net(constant("w", outside("c", "/etc/passwd")), PRODUCT, w=None),
        "'c'",
        "another file",
    ),
    "external data in a graph": (net(PRODUCT, NODE("If", ["q"], ["r"], **OUTSIDE)), "If"),
    "external data in a function": (net(PRODUCT, functions=[EVIL]), "'Mine'"),
    "a place without the mark": (net(PRODUCT, w=marked(W)), "'w'", "another file"),
    "a custom operator": (
        net(NODE("Evil", ["f"], ["y"], domain="com.evil")),
        "'Evil'",
        "'com.evil'",
    ),
    "an operator of the runtime's own": (
        net(NODE("EPContext", ["f"], ["y"], domain="com.microsoft")),
        "'EPContext'",
        "'com.microsoft'",
    ),
    "an unknown operator": (
        net(NODE("Nope. \x1b[2J" + "q" * 600, ["f"], ["y"])),
        "fails in ONNX Runtime",
    ),
    "a loop": (net(NODE("Loop", ["", "", "f"], ["y"], body=EMPTY)), "'Loop'", "refused"),
    "a branch": (net(NODE("If", ["c"], ["y"], **BRANCH)), "'If'", "refused"),
    "a graph where none belongs": (
        lambda folder: save(folder, [NODE("Flatten", ["x"], ["f"], body=EMPTY), PRODUCT], [W]),
        "'Flatten'",
        "graph inside",
    ),
    "a sequence": (net(NODE("SequenceConstruct", ["f"], ["s"]), PRODUCT), "'SequenceConstruct'"),
    "an optional input": (changed(optional), "optional_type", "plain tensors"),
    "chance": (
        net(NODE("RandomNormalLike", ["f"], ["r"]), PRODUCT),
        "'RandomNormalLike'",
        "chance",
    ),
    "a sparse tensor": (changed(sparse), "sparse"),
    "too few bytes": (held(data_type=1, dims=[256, 10], raw_data=bytes(8)), "'w'", "8 bytes"),
    "too few values": (held(data_type=1, dims=[256, 10], float_data=[1.0] * 3), "'w'", "3 values"),
    "a negative shape": (held(data_type=1, dims=[-2, -1], raw_data=bytes(8)), "'w'", "[-2, -1]"),
    "an absurd shape": (
        held(data_type=1, dims=[10**6, 10**6], raw_data=bytes(8)),
        "'w'",
        "[1000000, 1000000]",
    ),
    "text": (net(PRODUCT, w=helper.make_tensor("w", TensorProto.STRING, [1], [b"a"])), "STRING"),
    "an unknown type": (held(data_type=99, dims=[2]), "'w'", "99"),
    "an evil name": (net(PRODUCT, w=outside("a. b\x1b[2J\n" + "z" * 900, "x")), "'a.b[2J'"),
    "a memory bomb": (
        net(*ZEROS, w=ARRAY(np.array([10**6, 10**6]), "s")),
        "GiB of memory",
    ),
    "a hidden memory bomb": (lambda folder: save(folder, HIDDEN, ARRAYS), "GiB of memory"),
    "NaN": (net(PRODUCT, w=ARRAY(MATRIX * np.nan, "w")), "12 of 12 images", "not finite"),
    # the logarithm of what is negative for some images only
    "one NaN": (
        net(NODE("MatMul", ["f", "w"], ["m"]), NODE("Log", ["m"], ["y"])),
        "of 12 images",
        "not finite",
    ),
    "a constant answer": (net(PRODUCT, w=ARRAY(MATRIX * 0, "w")), "the same answer"),
    "two inputs": (
        changed(lambda model: model.graph.input.append(value("x2", ["n", 1, 16, 16]))),
        "'x2'",
        "exactly one",
    ),
    "whole numbers": (
        net(NODE("Identity", ["f"], ["y"]), w=None, kind=TensorProto.INT64),
        "int64",
        "real numbers",
    ),
    "flat images": (
        lambda folder: save(folder, [NODE("MatMul", ["x", "w"], ["y"])], [W], shape=("n", 256)),
        "['n', 256]",
        "four dimensions",
    ),
    "no output of that shape": (
        lambda folder: save(folder, [NODE("Identity", ["x"], ["y"])]),
        "12 x 1 x 16 x 16",
        "12 x 10",
    ),
    "two outputs": (
        changed(lambda model: model.graph.output.append(value("p", ["n", 10])), SOFT),
        "12 x 10, 12 x 10",
        "exactly one",
    ),
    "garbage": (written(b"\x08\x08" + bytes(range(200))), "cannot be parsed"),
    "nothing inside": (written(b"\x08\x08"), "ONNX Runtime"),
}


@pytest.mark.parametrize("kind", BAD_ONNX)
def test_bad_onnx_files_are_refused(tmp_path, scratch, refused, kind):
    make, *words = BAD_ONNX[kind]
    if kind == "external data":
        (tmp_path / "secret").write_bytes(MATRIX.tobytes())
    path = make(tmp_path)
    before = listing(tmp_path)
    sentence = refused(lambda: ask(path, None), "made.onnx", *words)
    assert sentence.isprintable()
    assert listing(tmp_path) == before and listing(scratch) == []


def test_onnx_of_another_shape_is_refused(tmp_path, refused):
    path = linear(tmp_path)
    refused(lambda: ask(path, None, classes=7), "12 x 10", "12 x 7")
    refused(
        lambda: ask(path, None, pixels=PIXELS.repeat(1, 3, 1, 1)),
        "[1, 16, 16]",
        "[3, 16, 16]",
        "chw",
    )
    refused(lambda: ask(path, None, Preprocessing(size=8)), "[1, 8, 8]", "size")
    refused(lambda: ask(path, None, Preprocessing(layout="nhwc")), "[16, 16, 1]", "hwc")
    for batch in (0, 10**9):
        refused(
            lambda batch=batch: ask(linear(tmp_path, batch=batch), None),
            f"{batch:,} images at once",
        )


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems limit only the time by the clock"
)
def test_a_file_that_computes_without_end_is_stopped(tmp_path, scratch, refused, monkeypatch):
    monkeypatch.setattr(weights, "SECONDS", 2)
    nodes = [
        FLAT,
        NODE("ReduceSum", ["f"], ["r"], keepdims=0),
        NODE("ConstantOfShape", ["s"], ["z"]),
    ]
    nodes += [
        NODE("Mul", ["z", "r"], ["m0"]),
        *(NODE("MatMul", [f"m{i}", "z"], [f"m{i + 1}"]) for i in range(200)),
    ]
    nodes += [
        NODE("ReduceMean", ["m200"], ["q"], keepdims=0),
        NODE("Mul", ["f", "q"], ["h"]),
        NODE("MatMul", ["h", "w"], ["y"]),
    ]
    path = save(tmp_path, nodes, [ARRAY(MATRIX, "w"), ARRAY(np.array([4000, 4000]), "s")])
    refused(lambda: ask(path, None), "made.onnx", "2 s of processor time")
    assert listing(tmp_path) == ["made.onnx"] and listing(scratch) == []


def test_a_process_that_takes_too_long_by_the_clock_is_stopped(
    tmp_path, scratch, refused, monkeypatch
):
    monkeypatch.setattr(weights, "WAIT", 0.01)
    refused(lambda: ask(linear(tmp_path), None), "made.onnx", "12 images within 0.01 s")
    assert listing(scratch) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit memory")
def test_a_process_that_ends_without_a_word_is_told(tmp_path, scratch, refused, monkeypatch):
    monkeypatch.setattr(weights, "MEMORY", 2**20)  # too little for ONNX Runtime itself
    refused(lambda: ask(linear(tmp_path), None), "made.onnx", "memory")
    assert listing(scratch) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_process_cannot_write_large_files(tmp_path):
    code = "import sys; from sacheck.onnx_worker import limit; limit(2**32, 60, 5000); "
    code += "open(sys.argv[1], 'wb', 0).write(bytes(9000))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "big")], check=True)
    assert (tmp_path / "big").stat().st_size == 5000


def test_text_from_a_file_is_made_plain():
    assert text.plain("a. b\u202e\x1b[31m\nsecond line") == "a.b[31m"
    assert text.plain("x" * 999, 5) == "xxxxx" and text.plain("end. ") == "end"
