"""A model from a file that a stranger made: safetensors or ONNX, checked before it is read, and
never run as code.
"""

import hashlib
import json
import math
import mmap
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import nn

from sacutils import models
from sacutils.files import UserError
from sacutils.profiles import Strict

from . import architectures
from .outputs import choose, complete, usable
from .text import check_regular, plain, refuse, summary, unlinked

LARGEST = {"safetensors": 2**33, "onnx": 2**30}
"""Bytes that a file may have, and an ONNX file together with those that hold its tensors."""
MOST_TENSORS = 100_000
MOST_COMPUTED = 2**26
"""Numbers that a Hugging Face network may compute when it is made, such as indices of positions."""
REAL = ("F64", "F32", "F16", "BF16")
"""Types of tensors that can stand for one another; the others must be exactly those of the
network.
"""
WHOLE = {
    **{torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8"},
    **{torch.uint8: "U8", torch.bool: "BOOL"},
}
MEMORY = 4 * 2**30
"""Bytes of memory that running an ONNX file may take, besides six times the size of the file."""
SECONDS = 600
"""Processor time that running an ONNX file may take for `CHUNK` bytes of images."""
WAIT = 1200
"""Seconds by the clock that it may take."""
CHUNK = 2**28
AT_ONCE = 2**19
"""Bytes of images that a network gets at once; what it computes then fits a processor's cache."""
FEWEST = 10
"""Images from which on equal answers to all are refused; a few may well be of one class."""

CONVERT = (
    "loading a pickle runs code that its maker chose; convert it in an isolated environment with "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=True), NEW), or ask for ONNX"
)
# what files that are refused begin with, blanks aside
MAGIC = {
    b"PK": f"a zip archive as torch.save and Keras write, which may hold a pickle, and {CONVERT}",
    b"\x80": f"a pickle, and {CONVERT}",
    b"\x89HDF": "an HDF5 file, as Keras writes; ask for safetensors or ONNX",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"version https://git-lfs": "a Git LFS pointer and not the file itself; run: git lfs pull",
    b"<": "a web page, perhaps a login or an error, and not the file itself; download it again",
}
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")


class Preprocessing(Strict):
    """How uint8 images become a model's input, and which output is taken.

    `size` is the side to which images are resized first. `maximum` is the value of a white pixel
    then. `mean` is subtracted and the result divided by `std`, both in the units of `maximum`, with
    one value or one per channel. Only ONNX models choose `layout`, the order of the dimensions, and
    `output`, the name of the output that holds the answers; one that takes uint8 gets 0 to 255.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    size: Annotated[int, Field(ge=1, le=1024)] | None = None
    layout: Literal["nchw", "nhwc"] = "nchw"
    maximum: Literal[1, 255] = 1
    output: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _mean_goes_with_std(self) -> "Preprocessing":
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be given together")
        return self


class ModelFile(NamedTuple):
    """A file of weights, its architecture (None for ONNX, which brings its own; otherwise see
    :func:`architectures.build`), and how images become its input.
    """

    path: Path
    architecture: str | None = None
    how: Preprocessing = Preprocessing()

    def outputs(self, pixels: torch.Tensor, classes: int) -> np.ndarray:
        """Outputs of the model on images, from a file that nobody vouches for.

        `pixels` are uint8, shape (n, channels, height, width), on the CPU; grey ones are shown as
        three equal channels to a model that takes colour. The result is float64, shape (n,
        classes), finite: logits, probabilities or labels, as the model gives them; one output for
        two classes becomes two, see :func:`sacheck.outputs.complete`.
        """
        path, name, how = self
        if kind_of(path) == "onnx":
            if name is not None:
                raise UserError(f"{path} holds its own architecture; {plain(name)!r} has no use.")
            answer, most = partial(_run_onnx, path, _beside(path), classes, how), CHUNK
        else:
            network, channels = _network(self, pixels.shape[1], classes)
            pixels = pixels.expand(-1, channels, -1, -1)
            answer, most = partial(_run_torch, self, network, classes), AT_ONCE
        parts = []
        # before they are resized they may be larger
        largest = max(prepare(pixels[:1], how).nbytes, 4 * pixels[0].numel())
        for part in pixels.split(max(1, most // largest)):
            parts.append(answer(prepare(part, how)))
            wanted, given = (len(part), classes), parts[-1].shape
            if given not in (wanted, wanted[:1]):
                raise UserError(f"{path} gives outputs of shape {given}; {wanted} is needed.")
        values = complete(np.concatenate(parts), classes)
        odd = int((~np.isfinite(values)).any(1).sum())
        if odd:
            raise UserError(f"{path}: answers to {odd} of {len(values)} images are not finite.")
        if len(values) >= FEWEST and np.all(values == values[0]):
            raise UserError(f"{path} gives the same answer for all {len(values)} images.")
        return values


def prepare(pixels: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Images, uint8, shape (n, channels, height, width), as a model takes them: float32, in the
    order of ``how.layout``. Grey images become three equal channels if mean or std has three
    values.
    """
    colours = max(len(how.mean or ()), len(how.std or ())) == 3 and pixels.shape[1] == 1
    pixels = pixels.expand(-1, 3, -1, -1) if colours else pixels
    images = pixels.float()
    if how.size is not None:
        images = F.interpolate(images, (how.size, how.size), mode="bilinear", antialias=True)
    if how.maximum == 1:
        images = images / 255
    if how.mean is not None and how.std is not None:
        channels = pixels.shape[1]
        for name, values in {"mean": how.mean, "std": how.std}.items():
            if len(values) not in (1, channels):
                problem = f"{name} has {len(values)} values and images have {channels} channels"
                raise UserError(f"{problem}; give one, or one for each.")
        mean, std = (torch.tensor(values)[:, None, None] for values in (how.mean, how.std))
        images = (images - mean) / std
    return (images if how.layout == "nchw" else images.permute(0, 2, 3, 1)).contiguous()


def digest(path: Path) -> str:
    """SHA-256 of a file of weights; if an ONNX file keeps tensors in other files, of its bytes and
    then theirs, in the order of their names: ``cat model.onnx model.onnx.data | sha256sum``.
    """
    beside = _beside(path) if kind_of(path) == "onnx" else {}
    found = hashlib.sha256()
    for each in (unlinked(path), *beside.values()):
        with open(each, "rb") as file:
            while block := file.read(2**20):
                found.update(block)
    return found.hexdigest()


def kind_of(path: Path) -> Literal["safetensors", "onnx"]:
    """The kind of a file, told from its content and not from its name."""
    real = unlinked(path)
    check_regular(real, LARGEST["safetensors"])
    size = real.stat().st_size
    if size == 0:
        raise UserError(f"{path} is empty; a safetensors or an ONNX file is needed.")
    with open(real, "rb") as file:
        start = file.read(64)
        file.seek(size - 1)
        last = file.read()
    # the length of the header comes first, and 0x80, a pickle's first byte, may be part of it
    if start[8:9] == b"{" and not start.startswith(b"PK"):
        return "safetensors"
    for magic, what in MAGIC.items():
        if start.lstrip().startswith(magic):
            raise UserError(f"{path} is {what}.")
    # old pickles are text that begins with an operation and ends with a full stop
    if path.suffix.lower() in PICKLES or (last == b"." and start[:1] in b"(c]}IFSVL"):
        raise UserError(f"{path} looks like a pickle, and {CONVERT}.")
    # ONNX is a protocol buffer whose first field is the version of the format: 08, a small number
    if start[0] == 0x08:
        check_regular(real, LARGEST["onnx"])
        return "onnx"
    start = start[:8].hex(" ")
    raise UserError(f"{path} is neither safetensors nor ONNX: it begins with the bytes {start}.")


def from_safetensors(path: Path, name: str, channels: int, classes: int) -> nn.Module:
    """A network with the weights of a safetensors file, in evaluation mode.

    A file of a zoo holds :func:`models.build`'s network with its normalisation, and the names of
    its tensors begin with ``1.``. Another file, such as one with torchvision's own names, holds the
    network alone, and then ``Preprocessing`` says what the normalisation is. Half and double
    precision become single; everything else must be exactly what the architecture has, except that
    wrappers may have put a prefix before all names, counters of batch normalisation may be absent,
    and a tensor that the network uses twice may be there once.
    """
    ours = name in models.ARCHITECTURES
    try:
        with safetensors.safe_open(unlinked(path), framework="pt") as file:
            keys = set(file.keys())
            if len(keys) > MOST_TENSORS:
                raise UserError(
                    f"{path}: {len(keys):,} tensors; accepted are at most {MOST_TENSORS:,}."
                )
            what = f"{name} with {channels} channels and {classes} classes"
            # these take their size from the weights alone, so nothing is allocated for them
            with torch.device("meta" if ours or name == "transformers" else "cpu"):
                network = architectures.build(name, channels, classes, path.parent).float()
            if name == "transformers":
                return _as_its_library(path, file, network)
            network, places = _fitted(path, file, network, ours, what)
            expected = network.state_dict()
            # a counter plays no part in evaluation
            state = {
                key: file.get_tensor(places[key]).to(value.dtype)
                if key in places
                else torch.zeros(value.shape, dtype=value.dtype)
                for key, value in expected.items()
            }
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is damaged, no safetensors file ({summary(error)}).") from None
    _check_finite(path, state)
    network.load_state_dict(state, assign=ours)
    return (network.to(memory_format=torch.channels_last) if ours else network).eval()


def _fitted(
    path: Path, file: Any, network: nn.Module, ours: bool, what: str
) -> tuple[nn.Module, dict[str, str]]:
    """The network, with our normalisation if the file has it, and for each of its tensors the name
    in the file; refused if one is missing, of another shape or type, or not of the network.
    """
    keys = set(file.keys())
    named = _unwrapped(keys)
    kinds = [nn.Sequential(models.Normalise(), network), network] if ours else [network]
    for network in kinds:
        if (prefix := _prefix(set(named), network.state_dict())) is not None:
            named = {name.removeprefix(prefix): key for name, key in named.items()}
            break
    else:
        network = kinds[0 if any(key.startswith("1.") for key in keys) else -1]
    expected = network.state_dict()
    named |= _shared(expected, named)
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    for key in sorted((named.keys() ^ expected.keys()) - (counters - named.keys())):
        problem = "lacks the tensor" if key in expected else "has an unexpected tensor"
        numbers = f"{what} has {len(expected)} tensors, the file {len(keys)}, such as "
        raise UserError(f"{path} {problem} {plain(key)!r}; {numbers}{plain(min(keys))!r}.")
    for key, tensor in expected.items():
        if key not in named:
            continue
        part, wanted = file.get_slice(named[key]), list(tensor.shape)
        shape, kind = part.get_shape(), part.get_dtype()
        known = REAL if tensor.is_floating_point() else (WHOLE.get(tensor.dtype, ""),)
        problems = {
            f"has the shape {plain(shape)}; {what} has {wanted}": shape != wanted,
            f"is of type {plain(kind)}; accepted is {', '.join(known)}": kind not in known,
        }
        refuse(f"{path}: tensor {plain(key)!r} ", problems)
    return network, named


def _as_its_library(path: Path, file: Any, network: nn.Module) -> nn.Module:
    """A Hugging Face network with its weights, as its library reads them, which knows what tensors
    were called in older versions. `network` takes no memory, and no more than the file holds is
    taken for the one that is made.
    """
    shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}
    held = sum(math.prod(shape) for shape in shapes.values())
    needed = sum(tensor.numel() for tensor in network.parameters())
    computed = sum(buffer.numel() for buffer in network.buffers())
    problems = {
        f" holds {held:,} numbers, and the network of config.json needs {needed:,}": needed > held,
        f" lies beside a config.json whose network computes {computed:,} numbers besides its "
        f"weights; at most {MOST_COMPUTED:,} are accepted": computed > MOST_COMPUTED,
    }
    refuse(path, problems)
    state = {key: file.get_tensor(key) for key in shapes}
    _check_finite(path, state)
    try:
        network, told = type(network).from_pretrained(  # type: ignore[attr-defined]
            None,
            config=network.config,
            state_dict=state,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except Exception as error:  # whatever the library says to weights of another network
        raise UserError(
            f"{path} does not fit config.json ({architectures.named(error)})."
        ) from None
    missing = {key for key in told["missing_keys"] if not key.endswith("num_batches_tracked")}
    for problem, keys in {"lacks": missing, "has unexpected": told["unexpected_keys"]}.items():
        refuse(
            f"{path} {problem} tensors, such as {plain(min(keys, default=''))!r}", {"": bool(keys)}
        )
    return network.float().eval()


def _check_finite(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    for key, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path}: tensor {plain(key)!r} holds values that are not finite.")


def _unwrapped(keys: set[str]) -> dict[str, str]:
    """Names of tensors without what torch.compile puts into them and without the counter of an
    averaged model, and for each the name in the file.
    """
    kept = keys - {"n_averaged"}
    named = {key.replace("_orig_mod.", ""): key for key in kept}
    return named if len(named) == len(kept) else {key: key for key in keys}


def _prefix(names: set[str], expected: Mapping[str, Any]) -> str | None:
    """What stands before all names of tensors in a file, such as ``module.`` of DataParallel or
    ``model.`` of Lightning; None if they are those of another network.
    """
    first, ends = next(iter(expected), ""), (min(names, default=""), max(names, default=""))
    before = [name.removesuffix(first) for name in names if name.endswith(first)]
    shared = [p for p in before if all(end.startswith(p) for end in ends)]
    fitting = [prefix for prefix in shared if not prefix or prefix.endswith(".")]
    return min(fitting, key=len, default=None)


def _shared(expected: Mapping[str, torch.Tensor], named: dict[str, str]) -> dict[str, str]:
    """For tensors that a file lacks and that are one with another of the network, that one's name
    in the file: safetensors' own ``save_model`` writes each tensor once.
    """
    there = {
        (tensor.data_ptr(), tensor.shape): named[key]
        for key, tensor in expected.items()
        if key in named and tensor.device.type != "meta" and tensor.numel()
    }
    pairs = {key: (t.data_ptr(), t.shape) for key, t in expected.items() if key not in named}
    return {key: there[pair] for key, pair in pairs.items() if pair in there}


def _network(model: ModelFile, channels: int, classes: int) -> tuple[nn.Module, int]:
    """The network of a safetensors file, and how many channels it takes: three for grey images if
    it does not take one.
    """
    path, name, how = model
    chosen = [f"--{each}" for each in ("layout", "output") if each in how.model_fields_set]
    problems = {
        " holds no architecture; name it, for example with --architecture": name is None,
        f": {' and '.join(chosen)} for ONNX files only": bool(chosen),
    }
    refuse(path, problems)
    try:
        network, taken = from_safetensors(path, str(name), channels, classes), channels
    except UserError as first:
        if channels != 1:
            raise
        try:
            network, taken = from_safetensors(path, str(name), 3, classes), 3
        except UserError:
            raise first from None
    normalised = isinstance(next(network.children(), None), models.Normalise)
    unused = normalised and not how.model_fields_set.isdisjoint(("mean", "maximum"))
    refuse(path, {" holds its own normalisation; mean, std and maximum have no effect": unused})
    return network, taken


def _run_torch(
    model: ModelFile, network: nn.Module, classes: int, images: torch.Tensor
) -> np.ndarray:
    try:
        with torch.inference_mode():
            given = network(images)
    except UserError:
        raise
    except Exception as error:  # whatever a network says to images that it cannot take
        what = f"{model.path}: {model.architecture} fails on images of shape"
        raise UserError(
            f"{what} {list(images.shape[1:])} ({architectures.named(error)})."
        ) from None
    # libraries return tensors in tuples, mappings or objects of their own
    known = dict(enumerate(given)) if isinstance(given, tuple | list) else given
    known = known if isinstance(known, Mapping) else getattr(known, "__dict__", {})
    tensors = {"": given} if isinstance(given, torch.Tensor) else known
    found = {}
    for key, value in tensors.items():
        array = value.numpy() if isinstance(value, torch.Tensor) else None
        if (fitting := usable(array, len(images), classes)) is not None:
            found[str(key)] = fitting
    chosen = choose(found, classes) if found else []
    if len(chosen) != 1:
        shapes = [list(v.shape) for v in tensors.values() if isinstance(v, torch.Tensor)]
        what = f"{model.path}: {model.architecture} returns a {type(given).__name__} with tensors"
        needed = f"let it return one of shape {[len(images), classes]}"
        raise UserError(f"{what} of shapes {plain(shapes[:5])}; {needed}.")
    return found[chosen[0]]


def _beside(path: Path) -> dict[str, Path]:
    """The other files in which an ONNX file keeps tensors, by its own names of them: regular files
    in its folder or below it, and not larger than accepted.
    """
    real = unlinked(path)
    # text is stored as it is, so a file without this key has all its tensors in itself
    with open(real, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") < 0:
            return {}
    with tempfile.TemporaryDirectory(prefix="sacheck-") as folder:
        settings = {"memory": MEMORY + 6 * real.stat().st_size, "largest_file": 0}
        said = _isolated(path, folder, settings, "which files it needs")
    found, total = {}, real.stat().st_size
    home = os.path.realpath(path.parent)
    for name in json.loads(said)["files"]:
        parts, each = PurePosixPath(name), unlinked(path.parent / name)
        outside = not name or parts.is_absolute() or ".." in parts.parts or set("\\:\0") & set(name)
        what = f"{path} keeps tensors in {plain(name)!r}, "
        problem = "which is no file beside it; have it exported as one file (external_data=False)"
        refuse(what + problem, {"": bool(outside)})
        away = not Path(os.path.realpath((path.parent / name).parent)).is_relative_to(home)
        refuse(what + problem, {"": away or not each.exists()})
        check_regular(each, LARGEST["onnx"])
        found[name], total = each, total + each.stat().st_size
    most = LARGEST["onnx"]
    too_large = {f" and its tensors have {total:,} bytes; at most {most:,} are": total > most}
    refuse(path, too_large)
    return found


def _run_onnx(
    path: Path, beside: dict[str, Path], classes: int, how: Preprocessing, images: torch.Tensor
) -> np.ndarray:
    """Run an ONNX file in a process of its own, so that a bad file can harm that process only."""
    size = sum(each.stat().st_size for each in (unlinked(path), *beside.values()))
    settings = {
        "classes": classes,
        "layout": how.layout,
        "maximum": how.maximum,
        "normalised": how.mean is not None,
        "output": how.output,
        "files": {name: str(each.absolute()) for name, each in beside.items()},
        "memory": MEMORY + 6 * size,
        "largest_file": 8 * len(images) * classes + 4096,
    }
    with tempfile.TemporaryDirectory(prefix="sacheck-") as folder:
        np.save(Path(folder) / "input.npy", images.numpy())
        _isolated(path, folder, settings, f"{len(images)} images")
        given = _written(Path(folder) / "output.npy", len(images), classes)
    if given is None:
        raise UserError(f"{path} {_ending(0)}.")
    return given


def _written(path: Path, count: int, classes: int) -> np.ndarray | None:
    """A copy of what the process wrote, if it can be used. Nothing of the file stays open, for
    Windows deletes none that is.
    """
    try:
        # mapped, so that a header which claims a huge shape allocates nothing
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    given = usable(values, count, classes)
    return None if given is None else np.array(given)


def _isolated(path: Path, folder: str, settings: dict[str, Any], what: str) -> bytes:
    """Standard output of the process that may read an ONNX file; refused if it did not succeed."""
    # -P: the working directory, which may be the suspect's, is no place to look for modules;
    # -B: bytecode that the limit of its files cuts off would break every later import
    worker = ["-P", "-B", "-m", "sacheck.onnx_worker"]
    command = [sys.executable, *worker, str(unlinked(path).absolute())]
    # one thread each, because every thread takes address space
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    (Path(folder) / "settings.json").write_text(json.dumps(settings | {"seconds": SECONDS}))
    try:
        done = subprocess.run(
            [*command, folder],
            env=os.environ | threads,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=WAIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{path} did not answer {what} within {WAIT} s.") from None
    if done.returncode == 0:
        return done.stdout
    try:
        sentence = plain(json.loads(done.stdout)["refused"], 350)
    except (ValueError, KeyError, TypeError):
        sentence = _ending(done.returncode)
    raise UserError(f"{path} {sentence}.")


def _ending(code: int) -> str:
    """What to say of a process that ended without a word of its own."""
    if -code == getattr(signal, "SIGXCPU", None):
        return f"needs more than {SECONDS} s of processor time, which is its limit"
    names = {-number: number.name for number in signal.Signals}
    how = names.get(code, f"exit code {code}")
    return f"stopped ONNX Runtime without an answer ({how}): it is damaged, or needs more memory"
