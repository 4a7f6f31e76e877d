"""Files from strangers: good ones give the same outputs in every format, bad ones a sentence, and
nothing in them is run.
"""

import gzip
import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sacheck import architectures, onnx_worker, outputs, text, weights
from sacheck.weights import ModelFile, Preprocessing
from sacutils import models, training
from sacutils.files import sha256
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
    """One network as safetensors, as ONNX by torch's defaults, with its weights in a second file,
    and as ONNX in one file.
    """
    folder = tmp_path_factory.mktemp("files")
    save_weights(network.state_dict(), folder / "net.safetensors")
    settings = {"dynamic_shapes": ({0: torch.export.Dim("n")},), "verbose": False}
    torch.onnx.export(network, (torch.zeros(2, 1, 16, 16),), folder / "two.onnx", **settings)
    onnx.save(onnx.load(folder / "two.onnx"), folder / "net.onnx")
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
    assert (files / "two.onnx.data").exists()
    for path, name in (("net.safetensors", "resnet_s"), ("net.onnx", None), ("two.onnx", None)):
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


# safetensors as hubs and trainers write them


def averaged(state):
    """As torch.optim.swa_utils.AveragedModel writes it."""
    return {"n_averaged": torch.tensor(7)} | prefixed("module.")(state)


def prefixed(prefix):
    return lambda state: {prefix + key: value for key, value in state.items()}


def compiled_inside(state):
    """As with torch.compile on a part of the network."""
    return {key.replace("features.", "features._orig_mod."): v for key, v in state.items()}


def uncounted(state):
    return {key: v for key, v in state.items() if not key.endswith("num_batches_tracked")}


WRAPPED = {
    "compiled": prefixed("_orig_mod."),
    "parallel": prefixed("module."),
    "both": prefixed("_orig_mod.module."),
    "Lightning": prefixed("model."),
    "a trainer's own": prefixed("learner.backbone."),
    "compiled inside": compiled_inside,
    "averaged": averaged,
    "without counters": uncounted,
    "without counters, parallel": lambda state: prefixed("module.")(uncounted(state)),
}


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("bare", [True, False])
def test_names_that_wrappers_write_are_read(files, network, tmp_path, kind, bare):
    how = Preprocessing(mean=(0.5,), std=(0.25,)) if bare else PLAIN
    state = (network[1] if bare else network).state_dict()
    save_weights(WRAPPED[kind](state), tmp_path / "net.safetensors")
    expected = ask(files / "net.safetensors")
    assert np.allclose(ask(tmp_path / "net.safetensors", how=how), expected, atol=1e-5)


def test_wrappers_hide_no_foreign_tensors(network, tmp_path, refused):
    state, path = network.state_dict(), tmp_path / "net.safetensors"
    for name in ("ema.1.fc.bias", "criterion.weight"):
        save_weights(state | {name: torch.zeros(10)}, path)
        refused(lambda: ask(path), f"unexpected tensor '{name}'")
        save_weights(prefixed("model.")(state) | {name: torch.zeros(10)}, path)
        refused(lambda: ask(path), "tensor", "such as")
    # two names that become one
    twice = {"_orig_mod.1.fc.bias": torch.zeros(10)}
    save_weights(state | twice, path)
    refused(lambda: ask(path), "unexpected tensor '_orig_mod.1.fc.bias'")


TIED = """from types import SimpleNamespace

import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.a, self.b = nn.Linear(256, 256), nn.Linear(256, 256)
        self.b.weight = self.a.weight
        self.fc = nn.Linear(256, classes)

    def forward(self, x):
        return self.fc(self.b(self.a(x.flatten(1)).relu()).relu())


class Returns(nn.Module):
    def __init__(self, channels, classes, way):
        super().__init__()
        self.way, self.fc = way, nn.Linear(256, classes if way != "one" else 1)

    def forward(self, x):
        y = self.fc(x.flatten(1))
        match self.way:
            case "object":
                return SimpleNamespace(logits=y, hidden=x.flatten(1), loss=None)
            case "mapping":
                return {"features": x, "out": y}
            case "pair":
                return y, x.flatten(1)
            case "text":
                return "a"
            case "two":
                return y, -y
            case "tall":
                return y[:, :, None, None]
        return y


def returns(way):
    return lambda channels, classes: Returns(channels, classes, way)


for way in ("object", "mapping", "pair", "text", "two", "tall", "one"):
    globals()[way] = returns(way)
"""


def test_a_tensor_used_twice_may_be_there_once(own, tmp_path):
    own("tiednets", TIED)
    torch.manual_seed(0)
    tied = architectures.build("tiednets:Tied", 1, 10)
    safetensors.torch.save_model(tied, tmp_path / "net.safetensors")
    with safetensors.safe_open(tmp_path / "net.safetensors", "pt") as file:
        assert len(list(file.keys())) == 5
    expected = tied(PIXELS / 255).detach().numpy()
    found = ask(tmp_path / "net.safetensors", "tiednets:Tied")
    assert np.allclose(found, expected, atol=1e-5)


def test_what_networks_return_is_read(own, tmp_path, refused):
    own("tiednets", TIED)
    path, generator = tmp_path / "net.safetensors", torch.Generator().manual_seed(0)
    state = {"fc.weight": torch.randn(10, 256, generator=generator), "fc.bias": torch.zeros(10)}
    save_weights(state, path)
    expected = (PIXELS.flatten(1) / 255 @ state["fc.weight"].T).numpy()
    for way in ("object", "mapping", "pair", "tall"):
        assert np.allclose(ask(path, f"tiednets:{way}"), expected, atol=1e-4), way
    refused(lambda: ask(path, "tiednets:text"), "returns a str", "[12, 10]")
    refused(lambda: ask(path, "tiednets:two"), "returns a tuple", "[[12, 10], [12, 10]]")
    save_weights({"fc.weight": state["fc.weight"][:1], "fc.bias": torch.zeros(1)}, path)
    found = ask(path, "tiednets:one", classes=2)
    assert np.allclose(found[:, 1], expected[:, 0], atol=1e-4) and not found[:, 0].any()


def test_links_of_a_cache_are_followed_and_no_others(files, tmp_path, refused):
    cache = tmp_path / "models--a--b"
    blob, link = cache / "blobs" / "0a1b", cache / "snapshots" / "c0ffee" / "net.safetensors"
    for each in (blob, link):
        each.parent.mkdir(parents=True)
    blob.write_bytes((files / "net.safetensors").read_bytes())
    link.symlink_to(Path("../../blobs/0a1b"))
    assert np.array_equal(ask(link), ask(files / "net.safetensors"))
    assert weights.digest(link) == sha256(blob)
    for target in (files / "net.safetensors", cache / "snapshots"):
        link.unlink()
        link.symlink_to(target)
        refused(lambda: ask(link), "symbolic link")
    link.unlink()
    link.symlink_to(link)
    refused(lambda: ask(link), "net.safetensors")
    link.unlink()
    link.symlink_to(Path("../../blobs/net.safetensors"))
    blob.unlink()
    blob.parent.rmdir()
    blob.parent.symlink_to(files)
    refused(lambda: ask(link), "symbolic link")


def test_networks_of_libraries(tmp_path, monkeypatch, refused):
    small = architectures.build("torchvision:squeezenet1_1", 3, 7)
    assert small(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    refused(lambda: architectures.build("torchvision:resnet18", 1, 7), "colour")
    for name in ("nothing", "fcn_resnet50", "resnet50_weights"):
        refused(lambda name=name: architectures.build(f"torchvision:{name}", 3, 7), name, "no clas")
    for name in ("timm:hf-hub:a/b", "timm:../x", "torchvision:/etc/passwd", "timm:a b"):
        refused(lambda name=name: architectures.build(name, 3, 7), "no name of a model")
    monkeypatch.setitem(sys.modules, "timm", None)
    refused(lambda: architectures.build("timm:resnet18", 3, 7), "timm is not installed")

    class Timm:
        __version__ = "1"

        def is_model(self, name):
            return name == "tiny.v1"

        def create_model(self, name, pretrained, num_classes, in_chans):
            assert not pretrained
            return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 4, num_classes))

    monkeypatch.setitem(sys.modules, "timm", Timm())
    assert architectures.build("timm:tiny.v1", 3, 7)(torch.zeros(1, 3, 2, 2)).shape == (1, 7)
    refused(lambda: architectures.build("timm:huge", 3, 7), "timm 1 has no model 'huge'")


def test_a_hugging_face_config_names_sizes_and_nothing_else(tmp_path, monkeypatch, refused):
    seen = {}

    class Network(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config, self.fc = config, nn.Linear(256, config.num_labels)
            made = getattr(config, "num_hidden_layers", 0) + sum(
                getattr(config, "num_block_repeats", [])
            )
            self.layers = nn.ModuleList(nn.Identity() for _ in range(made))
            if side := getattr(config, "window_size", 0):
                self.register_buffer("index", torch.zeros(side**2, side**2), persistent=False)

        def forward(self, x):
            return {"logits": self.fc(x.flatten(1))}

        @classmethod
        def from_pretrained(cls, path, config, state_dict, output_loading_info, dtype):
            assert path is None and output_loading_info and dtype == torch.float32
            network = cls(config)
            told = network.load_state_dict(state_dict, strict=False)
            return network, told._asdict()

    class Transformers:
        logging = mock.Mock()

        class AutoConfig:
            @staticmethod
            def for_model(kind, **values):
                seen.update(values, kind=kind)
                return type("Config", (), values)()

        class AutoModelForImageClassification:
            from_config = Network

    def build(**config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return architectures.build("transformers", 3, 7, tmp_path)

    monkeypatch.setitem(sys.modules, "transformers", Transformers)
    evil = {"auto_map": {"AutoConfig": "x.py"}, "_attn_implementation": "a/b"}
    evil |= {"attn_implementation": "a/b", "quantization_config": {}, "id2label": {"0": "x"}}
    network = build(model_type="resnet", depths=[1, 2], **evil)
    assert (network.config.num_channels, network.config.num_labels) == (3, 7)
    assert seen == {"kind": "resnet", "depths": [1, 2]}
    path, state = tmp_path / "model.safetensors", network.state_dict()
    save_weights(state, path)
    expected = network(PIXELS / 255)["logits"].detach().numpy()
    assert np.allclose(ask(path, "transformers", classes=7), expected, atol=1e-5)
    for changes, words in [
        ({"a": torch.ones(9)}, "unexpected tensors, such as 'a'"),
        ({"fc.bias": torch.ones(9)}, "does not fit config.json"),
        ({"fc.bias": torch.full((7,), float("nan"))}, "'fc.bias' holds values"),
    ]:
        save_weights(state | changes, path)
        refused(lambda: ask(path, "transformers", classes=7), words)
    save_weights({"fc.weight": state["fc.weight"], "b": torch.ones(7)}, path)
    refused(lambda: ask(path, "transformers", classes=7), "lacks tensors, such as 'fc.bias'")
    save_weights({"fc.weight": state["fc.weight"]}, path)
    refused(lambda: ask(path, "transformers", classes=7), "1,792 numbers", "needs 1,799")
    save_weights(state, path)
    build(model_type="swin", window_size=10)
    assert ask(path, "transformers", classes=7).shape == (12, 7)
    (tmp_path / "config.json").write_text('{"model_type": "swin", "window_size": 200}')
    refused(lambda: ask(path, "transformers", classes=7), "computes 1,600,000,000 numbers")
    # as a cache keeps it
    cache = tmp_path / "models--a--b"
    for folder in ("blobs", "snapshots/c0ffee"):
        (cache / folder).mkdir(parents=True)
    for name in ("model.safetensors", "config.json"):
        (cache / "blobs" / name[:1]).write_bytes((tmp_path / name).read_bytes())
        (cache / "snapshots/c0ffee" / name).symlink_to(Path("../../blobs", name[:1]))
    kept = cache / "snapshots/c0ffee/model.safetensors"
    refused(lambda: ask(kept, "transformers", classes=7), "computes 1,600,000,000 numbers")
    monkeypatch.setattr(architectures, "MOST_MODULES", 200)
    for config, *words in [
        ({"model_type": "timm_wrapper", "architecture": "hf-hub:a/b"}, "'timm_wrapper'", "resnet"),
        ({"auto_map": {}}, "no Hugging Face config"),
        ({"model_type": "vit", "hidden_size": 10**9}, "at most 65,536"),
        # what is no number compares with none
        ({"model_type": "vit", "eps": float("nan"), "hidden_size": 10**9}, "at most 65,536"),
        ({"model_type": "vit", "depths": [float("inf")]}, "at most 65,536"),
        ({"model_type": "levit"}, "'levit'", "vit"),
        ({"model_type": "vit", "num_hidden_layers": 600}, "more than 200 modules"),
        ({"model_type": "efficientnet", "num_block_repeats": [300]}, "200 modules"),
    ]:
        refused(lambda config=config: build(**config), "config.json", *words)
    for content in ("[1]", "{", "[" * 100_000, '{"model_type": 1, "model_type": 2}'):
        (tmp_path / "config.json").write_text(content)
        refused(lambda: architectures.build("transformers", 3, 7, tmp_path), "config.json")
    (tmp_path / "config.json").unlink()
    refused(lambda: architectures.build("transformers", 3, 7, tmp_path), "config.json is missing")
    refused(lambda: architectures.build("transformers:a/b", 3, 7, tmp_path), "transformers")
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(lambda: architectures.build("transformers", 3, 7, tmp_path), "not installed")


def test_threads_count_the_modules_of_their_own_network(monkeypatch, refused):
    monkeypatch.setattr(architectures, "MOST_MODULES", 60)

    def build(number):
        with architectures._bounded(Path(f"{number}/config.json")):
            return nn.Sequential(*(nn.ReLU() for _ in range(40 if number else 70)))

    with ThreadPoolExecutor(8) as pool:
        assert [len(each) for each in pool.map(build, range(1, 65))] == [40] * 64
    refused(lambda: build(0), "0/config.json", "more than 60 modules")
    assert len(nn.Sequential(*(nn.ReLU() for _ in range(70)))) == 70


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
        lambda: ask(files / "net.safetensors", how=Preprocessing(layout="nchw", output="y")),
        "--layout and --output",
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
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], columns])],
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


def test_no_bytecode_is_left_by_the_process_whose_files_are_limited(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "cache"))
    first, second = (ask(linear(tmp_path), None) for _ in range(2))
    assert np.array_equal(first, second) and not list(tmp_path.rglob("*.pyc"))


W = ARRAY(MATRIX, "w")
EMPTY = subgraph()


def net(
    *nodes: onnx.NodeProto, w: TensorProto | None = W, **more: object
) -> Callable[[Path], Path]:
    """A maker of a file whose images are flattened before some nodes, with the matrix `w`."""
    return lambda folder: save(folder, [FLAT, *nodes], [w] if w else [], **more)


def held(**fields: object) -> Callable[[Path], Path]:
    """A maker of a file whose matrix is a tensor with these fields."""
    return net(PRODUCT, w=TensorProto(**{"name": "w"} | fields))


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
    [constant("b", W)],
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
OTHER = net(PRODUCT, NODE("Neg", ["y"], ["p"]))

# how a file is made that must not be run, and what the sentence says of it
BAD_ONNX: dict[str, tuple[Callable[[Path], Path], *tuple[str, ...]]] = {
    "external data in a node": (
        net(constant("w", outside("c", "/etc/passwd")), PRODUCT, w=None),
        "'/etc/passwd'",
        "no file beside it",
    ),
    "a graph that names another file": (
        net(PRODUCT, NODE("If", ["q"], ["r"], **OUTSIDE)),
        "'/etc/passwd'",
    ),
    "a function": (net(PRODUCT, functions=[EVIL]), "'Mine'", "inline_local_functions"),
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
    "an evil name": (held(name="a. b\x1b[2J\n" + "z" * 900, data_type=8), "'a.b[2J'"),
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
        net(NODE("Cast", ["f"], ["y"], to=TensorProto.FLOAT), w=None, kind=TensorProto.INT64),
        "int64",
        "real numbers",
    ),
    "flat images of another size": (
        lambda folder: save(
            folder, [NODE("MatMul", ["x", "w"], ["y"])], [ARRAY(MATRIX[:255], "w")], ("n", 255)
        ),
        "[255]",
        "[256]",
        "--input-size",
    ),
    "a dictionary": (
        net(PRODUCT, NODE("ZipMap", ["y"], ["z"], domain="ai.onnx.ml")),
        "'ZipMap'",
        "options={'zipmap': False}",
    ),
    "no output of that shape": (
        lambda folder: save(folder, [NODE("Identity", ["x"], ["y"])]),
        "12 x 1 x 16 x 16",
        "12 x 10",
    ),
    "two outputs": (
        changed(lambda model: model.graph.output.append(value("p", ["n", 10])), OTHER),
        "'y', 'p'",
        "choose by --output",
    ),
    "garbage": (written(b"\x08\x08" + bytes(range(200))), "cannot be parsed"),
    "nothing inside": (written(b"\x08\x08"), "ONNX Runtime"),
}


@pytest.mark.parametrize("kind", BAD_ONNX)
def test_bad_onnx_files_are_refused(tmp_path, scratch, refused, kind):
    make, *words = BAD_ONNX[kind]
    path = make(tmp_path)
    before = listing(tmp_path)
    sentence = refused(lambda: ask(path, None), "made.onnx", *words)
    assert sentence.isprintable()
    assert listing(tmp_path) == before and listing(scratch) == []


# what works: ONNX as exporters write it, run in this process to save time


def run_here(path, how=PLAIN, classes=10, pixels=PIXELS, files=()):
    """What the worker gives for a file, as numbers of all classes."""
    settings = {"classes": classes, "layout": how.layout, "maximum": how.maximum}
    settings |= {"normalised": how.mean is not None, "output": how.output, "files": dict(files)}
    found = onnx_worker.run(path, weights.prepare(pixels, how).numpy(), settings)
    return outputs.complete(found, classes)


def two_outputs(make, **changes):
    """A maker of a file with the outputs y and p."""
    return changed(lambda model: model.graph.output.append(value("p", ["n", 10])), make)


EXPECTED = PIXELS.flatten(1).numpy() / 255 @ MATRIX
NHWC = Preprocessing(layout="nhwc")
TALL = [NODE("Reshape", ["y", "tall"], ["z"])]


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT32])
def test_graphs_that_take_pixels_get_them(tmp_path, kind):
    nodes = [
        NODE("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        NODE("Cast", ["t"], ["c"], to=TensorProto.FLOAT),
        NODE("Div", ["c", "white"], ["d"]),
        NODE("Flatten", ["d"], ["f"]),
        PRODUCT,
    ]
    arrays = [W, ARRAY(np.float32(255), "white")]
    path = save(tmp_path, nodes, arrays, ("n", 16, 16, 1), kind=kind)
    assert np.allclose(run_here(path, NHWC), EXPECTED, atol=1e-4)
    white = Preprocessing(layout="nhwc", maximum=255)
    assert np.allclose(run_here(path, white), EXPECTED, atol=1e-4)
    with pytest.raises(onnx_worker.Refused, match="mean and std have no effect"):
        run_here(path, Preprocessing(layout="nhwc", mean=(0.5,), std=(1,)))


def test_flat_images_and_grey_ones_without_channels_are_given(tmp_path):
    flat = save(tmp_path, [NODE("MatMul", ["x", "w"], ["y"])], [W], ("n", 256))
    assert np.allclose(run_here(flat), EXPECTED, atol=1e-4)
    assert np.allclose(run_here(flat, NHWC), EXPECTED, atol=1e-4)  # one channel: the same order
    bare = save(tmp_path, [FLAT, PRODUCT], [W], ("n", 16, 16))
    assert np.allclose(run_here(bare), EXPECTED, atol=1e-4)


def test_grey_images_are_shown_to_networks_that_take_colour(tmp_path):
    three = ARRAY(np.tile(MATRIX, (3, 1)), "w")
    path = save(tmp_path, [FLAT, PRODUCT], [three], ("n", 3, 16, 16))
    assert np.allclose(run_here(path), 3 * EXPECTED, atol=1e-4)
    how = Preprocessing(mean=(0.5, 0.5, 0.5), std=(1, 1, 1))
    assert np.allclose(run_here(path, how), 3 * (EXPECTED - 0.5 * MATRIX.sum(0)), atol=1e-3)


def test_a_choice_of_outputs(tmp_path):
    alike = two_outputs(SOFT)(tmp_path)
    assert np.allclose(run_here(alike), EXPECTED, atol=1e-4)  # logits and their probabilities
    assert np.allclose(run_here(alike, Preprocessing(output="p")).sum(1), 1)
    other = two_outputs(OTHER)(tmp_path)
    assert np.allclose(run_here(other, Preprocessing(output="p")), -EXPECTED, atol=1e-4)
    with pytest.raises(onnx_worker.Refused, match="no output 'q'; its outputs are y, p"):
        run_here(other, Preprocessing(output="q"))
    tall = net(PRODUCT, *TALL)
    path = changed(
        lambda model: (
            model.graph.initializer.append(ARRAY(np.array([0, 10, 1, 1]), "tall")),
            model.graph.output[0].CopyFrom(value("z", ["n", 10, 1, 1])),
        ),
        tall,
    )(tmp_path)
    assert np.allclose(run_here(path), EXPECTED, atol=1e-4)


def test_labels_alone_are_read(tmp_path):
    def label(model):
        model.graph.output[0].CopyFrom(value("a", ["n"], TensorProto.INT64))

    make = net(PRODUCT, NODE("ArgMax", ["y"], ["a"], axis=1, keepdims=0))
    found = run_here(changed(label, make)(tmp_path))
    assert np.array_equal(found, np.eye(10)[EXPECTED.argmax(1)])


def test_a_classifier_of_scikit_learn_is_read(tmp_path):
    node = NODE(
        "LinearClassifier",
        ["f"],
        ["label", "y"],
        domain="ai.onnx.ml",
        classlabels_ints=list(range(10)),
        coefficients=MATRIX.T.flatten().tolist(),
        intercepts=[0.0] * 10,
        post_transform="SOFTMAX",
    )
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 1)]
    graph = helper.make_graph(
        [FLAT, node],
        "g",
        [value("x", ["n", 1, 16, 16])],
        [value("label", ["n"], TensorProto.INT64), value("y", ["n", 10])],
    )
    path = tmp_path / "made.onnx"
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=10), path)
    expected = torch.from_numpy(EXPECTED).softmax(1).numpy()
    assert np.allclose(run_here(path), expected, atol=1e-4)


def test_one_number_for_two_classes_becomes_two(tmp_path):
    last = ARRAY(MATRIX[:, :1], "w")
    logit = save(tmp_path, [FLAT, PRODUCT], [last], columns=1)
    found = run_here(logit, classes=2)
    assert np.allclose(found, np.stack([np.zeros(12), EXPECTED[:, 0]], 1), atol=1e-4)
    nodes = [FLAT, NODE("MatMul", ["f", "w"], ["m"]), NODE("Sigmoid", ["m"], ["y"])]
    second = 1 / (1 + np.exp(-EXPECTED[:, 0]))
    found = run_here(save(tmp_path, nodes, [last], columns=1), classes=2)
    assert np.allclose(found, np.stack([1 - second, second], 1), atol=1e-4)
    with pytest.raises(onnx_worker.Refused, match="12 x 1; 12 x 10 real numbers"):
        run_here(logit)


def test_a_quantised_copy_is_read(tmp_path):
    from onnxruntime import quantization

    rows = iter([{"x": PIXELS.float().numpy() / 255}])

    class Reader(quantization.CalibrationDataReader):
        def get_next(self):
            return next(rows, None)

    nodes = [FLAT, NODE("Gemm", ["f", "w"], ["m"]), NODE("Add", ["m", "m"], ["y"])]
    quantization.quantize_static(
        save(tmp_path, nodes, [W]),
        tmp_path / "q.onnx",
        Reader(),
        quant_format=quantization.QuantFormat.QOperator,
    )
    used = {node.domain for node in onnx.load(tmp_path / "q.onnx").graph.node}
    assert "com.microsoft" in used
    assert np.allclose(run_here(tmp_path / "q.onnx"), 2 * EXPECTED, atol=0.2)


# tensors in other files


def beside_of(folder, monkeypatch, names):
    """The files beside a model that names some; the process that finds the names is left out."""
    monkeypatch.setattr(weights, "_isolated", lambda *_: json.dumps({"files": names}).encode())
    return weights._beside(net(PRODUCT, w=outside("w", "weights"))(folder))


def test_tensors_in_other_files_are_read_and_hashed(files, tmp_path, monkeypatch):
    two, other = files / "two.onnx", files / "two.onnx.data"
    expected = hashlib.sha256(two.read_bytes() + other.read_bytes()).hexdigest()
    assert weights.digest(two) == expected
    assert weights.digest(files / "net.onnx") == sha256(files / "net.onnx")
    deeper = tmp_path / "weights" / "w.bin"
    deeper.parent.mkdir()
    deeper.write_bytes(b"four" + MATRIX.tobytes())
    tensor = outside("w", "weights/w.bin")
    tensor.external_data.add(key="offset", value="4")
    path = net(PRODUCT, w=tensor)(tmp_path)
    assert onnx_worker.places(onnx_worker.parse(path)) == ["weights/w.bin"]
    known = {"weights/w.bin": str(deeper)}
    assert np.allclose(run_here(path, files=known), EXPECTED, atol=1e-4)
    assert beside_of(tmp_path, monkeypatch, ["weights/w.bin"]) == {"weights/w.bin": deeper}


def test_other_files_lie_beside_the_model(tmp_path, monkeypatch, refused):
    folder, away = tmp_path / "model", tmp_path / "away"
    for each in (folder, away):
        each.mkdir()
        (each / "secret").write_bytes(MATRIX.tobytes())
    (folder / "link").symlink_to(away / "secret")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "inside").symlink_to(away)
    secret = str(away / "secret")
    for name in (
        "",
        "../away/secret",
        secret,
        "inside/secret",
        "loop/x",
        "none",
        ".",
        "..\\x",
        "C:x",
        "a\0b",
    ):
        refused(lambda name=name: beside_of(folder, monkeypatch, [name]), "no file beside it")
    refused(lambda: beside_of(folder, monkeypatch, ["link"]), "symbolic link")
    monkeypatch.setitem(weights.LARGEST, "onnx", 15_000)
    refused(lambda: beside_of(folder, monkeypatch, ["secret", "./secret"]), "at most 15,000")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"offset": "4"}, "not there"),
        ({"offset": "-4"}, "not there"),
        ({"offset": "9" * 30}, "not there"),
        ({"offset": "9" * 5000}, "no number"),
        ({"length": "12"}, "not there"),
        ({"length": "all"}, "no number"),
        ({"location": "other"}, "not accepted"),
        ({"dims": [10**9, 10**9]}, "not there"),
        ({"dims": [-256, -10]}, "not accepted"),
        ({"data_type": 8}, "not accepted"),
    ],
)
def test_places_in_other_files_that_do_not_fit_are_refused(tmp_path, changes, words):
    (tmp_path / "w").write_bytes(MATRIX.tobytes())
    tensor = outside("w", changes.pop("location", "w"))
    for key in [key for key in changes if key in ("offset", "length")]:
        tensor.external_data.add(key=key, value=changes.pop(key))
    for key, given in changes.items():
        if key == "dims":
            tensor.dims[:] = given
        else:
            tensor.data_type = given
    path = net(PRODUCT, w=tensor)(tmp_path)
    with pytest.raises(onnx_worker.Refused, match=words):
        run_here(path, files={"w": str(tmp_path / "w")})


def test_more_values_than_other_files_hold_are_not_read(tmp_path):
    (tmp_path / "w").write_bytes(MATRIX.tobytes())
    tensors = [outside(name, "w") for name in ("w", "v")]
    path = save(tmp_path, [FLAT, PRODUCT], tensors)
    with pytest.raises(onnx_worker.Refused, match="not there"):
        run_here(path, files={"w": str(tmp_path / "w")})


def test_onnx_of_another_shape_is_refused(tmp_path, refused):
    path = linear(tmp_path)
    refused(lambda: ask(path, None, classes=7), "12 x 10", "12 x 7 real numbers", "12 labels")
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
