"""A model from a file that a stranger made: safetensors or ONNX, checked before anything is allocated, never run as code."""

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import nn

from . import answers, models
from .artefacts import UserError, once, plain
from .profiles import ROOT, Strict

LARGEST = {"safetensors": 2**33, "onnx": 2**30}
"""Bytes that a file may have. Those of a safetensors file are compared with its architecture before they are read."""
LARGEST_HEADER = 16 * 2**20
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Types of tensors that are accepted in a safetensors file, with the bytes of an element."""
REAL = ("F64", "F32", "F16", "BF16")
MEMORY = 4 * 2**30
"""Bytes of memory that running an ONNX file may take, besides six times the size of the file."""
SECONDS = 600
"""Processor time that running an ONNX file may take for `CHUNK` bytes of images."""
WAIT = 1200
"""Seconds by the clock that it may take."""
CHUNK = 2**28
AT_ONCE = 2**24
"""Bytes of images that a network gets at once."""
FEWEST = 10
"""Images from which on equal answers to all are refused; a few plain ones may well be of one class."""

CONVERT = (
    "loading a pickle runs code that its maker chose; convert it in an isolated environment with "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=True), NEW), or ask for ONNX"
)
# what files that are refused begin with, blanks aside
MAGIC = {
    b"PK": f"a zip archive such as torch.save, NumPy and Keras write, which may hold a pickle, and {CONVERT}",
    b"\x80": f"a pickle, and {CONVERT}",
    b"\x89HDF": "an HDF5 file, as Keras writes; ask for safetensors or ONNX",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"version https://git-lfs": "a Git LFS pointer and not the file itself; fetch that with: git lfs pull",
    b"<": "a web page, perhaps a login or an error, and not the file itself; download it again",
}
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")


class Preprocessing(Strict):
    """How uint8 images become a model's input.

    `size` is the side to which images are resized first. `maximum` is the value of a white pixel then. `mean` is subtracted and
    the result divided by `std`, both in the units of `maximum`, with one value or one per channel. `layout` is the order of the
    dimensions, which only ONNX models choose.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    size: Annotated[int, Field(ge=1, le=1024)] | None = None
    layout: Literal["nchw", "nhwc"] = "nchw"
    maximum: Literal[1, 255] = 1

    @model_validator(mode="after")
    def _mean_goes_with_std(self) -> "Preprocessing":
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be given together")
        return self


def prepare(pixels: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Images as a model takes them.

    Parameters
    ----------
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width).
    how : Preprocessing
        Size, scale, mean, standard deviation and layout.

    Returns
    -------
    torch.Tensor
        float32, in the order of ``how.layout``. Grey images stay grey: a model that takes colour is refused them.

    Raises
    ------
    UserError
        If mean or std has neither one value nor one per channel.
    """
    images = pixels.float()
    if how.size is not None:
        images = F.interpolate(images, (how.size, how.size), mode="bilinear", antialias=True, align_corners=False)
    if how.maximum == 1:
        images = images / 255
    if how.mean is not None and how.std is not None:
        channels = pixels.shape[1]
        for name, values in {"mean": how.mean, "std": how.std}.items():
            if len(values) not in (1, channels):
                raise UserError(
                    f"{name} has {len(values)} values and images have {channels} channels; give one, or one for each."
                )
        images = (images - torch.tensor(how.mean)[:, None, None]) / torch.tensor(how.std)[:, None, None]
    return (images if how.layout == "nchw" else images.permute(0, 2, 3, 1)).contiguous()


def architecture(name: str) -> Callable[[int, int], nn.Module]:
    """A function from the numbers of channels and of classes to a network without normalisation.

    Parameters
    ----------
    name : str
        A key of ``models.ARCHITECTURES``, or ``module:function``, imported with the current directory on the path. That code is
        run without any protection: it must be the owner's own and never a stranger's.

    Raises
    ------
    UserError
        If there is no such architecture, the module cannot be imported or has no such function, or, later, the function returns
        no network.
    """
    if name in models.ARCHITECTURES:
        return models.ARCHITECTURES[name]
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UserError(
            f"Unknown architecture {plain(name)!r}; known are {', '.join(models.ARCHITECTURES)} and module:function of yours."
        )
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        importlib.invalidate_caches()
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the owner's module raises
        raise UserError(f"Architecture {plain(name)!r} cannot be imported ({_said(error)}).") from None
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise UserError(f"Architecture {plain(name)!r} is of type {type(found).__name__}; a function is needed.")

    def make(channels: int, classes: int) -> nn.Module:
        try:
            network = found(channels, classes)
        except Exception as error:
            raise UserError(
                f"Architecture {plain(name)!r} fails for {channels} channels and {classes} classes ({_said(error)})."
            ) from None
        if not isinstance(network, nn.Module):
            raise UserError(f"Architecture {plain(name)!r} returned {type(network).__name__}; a torch.nn.Module is needed.")
        return network

    return make


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {plain(str(error).strip(), 120)}"


def kind_of(path: Path) -> str:
    """``safetensors`` or ``onnx``, told from the content of a file and not from its name.

    Raises
    ------
    UserError
        If the path is no regular file or its content is anything else, such as a pickle, which is not loaded to find out.
    """
    answers.regular(path, LARGEST["safetensors"])
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path} is empty; a safetensors or an ONNX file is needed.")
    with open(path, "rb") as file:
        start = file.read(64)
        file.seek(size - 1)
        last = file.read()
    # the length of the header comes first, and 0x80, a pickle's first byte, may be part of it; then comes an opening brace
    if start[8:9] == b"{" and not start.startswith(b"PK"):
        return "safetensors"
    for magic, what in MAGIC.items():
        if start.lstrip().startswith(magic):
            raise UserError(f"{path} is {what}.")
    # old pickles are text that begins with an operation and ends with a full stop
    if path.suffix.lower() in PICKLES or (last == b"." and start[:1] in (b"(", b"c", b"]", b"}", b"I", b"F", b"S", b"V", b"L")):
        raise UserError(f"{path} looks like a pickle, and {CONVERT}.")
    # ONNX is a protocol buffer whose first field is the version of the format: 08 and a small number
    if start[0] == 0x08:
        answers.regular(path, LARGEST["onnx"])
        return "onnx"
    raise UserError(f"{path} is neither a safetensors nor an ONNX file: it begins with the bytes {start[:8].hex(' ')}.")


def header(path: Path) -> dict[str, dict[str, Any]]:
    """Types, shapes and places of the tensors in a safetensors file, by name; no tensor is read.

    Raises
    ------
    UserError
        If the header is not valid, or the tensors do not fill the file without gap or overlap.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(LARGEST_HEADER, size - 8):
            raise UserError(
                f"{path}: the header claims {length:,} bytes; the file has {size:,}, at most {LARGEST_HEADER:,} are accepted."
            )
        content = file.read(length)
    try:
        tensors = json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: the header is not valid JSON ({_said(error)}).") from None
    if not isinstance(tensors, dict):
        raise UserError(f"{path}: the header is of type {type(tensors).__name__}; a JSON object is needed.")
    tensors.pop("__metadata__", None)
    for name, entry in tensors.items():
        problem = _problem(entry)
        if problem:
            raise UserError(f"{path}: tensor {plain(name)!r} {problem}.")
    end = 0
    for name, entry in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        if first != end:
            raise UserError(f"{path}: tensor {plain(name)!r} begins at byte {first:,}; the one before it ends at {end:,}.")
        end = last
    if end != size - 8 - length:
        raise UserError(f"{path} holds {size - 8 - length:,} bytes of tensors and its header describes {end:,}; it is damaged.")
    return tensors


def _problem(entry: Any) -> str:
    """What is wrong with a tensor's entry in a header, if anything."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return "must have dtype, shape and data_offsets, and nothing else"
    kind, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in BYTES:
        return f"has the type {plain(kind)!r}; accepted are {', '.join(BYTES)}"
    for name, values in {"shape": shape, "data_offsets": place}.items():
        # few and small, so that their product is soon computed; True is an int for Python
        if not isinstance(values, list) or len(values) > 16 or not all(type(v) is int and 0 <= v < 2**63 for v in values):
            return f"has the {name} {plain(values)}; a short list of whole numbers from 0 is needed"
    needed = math.prod(shape) * BYTES[kind]
    if len(place) != 2 or place[1] - place[0] != needed:
        return f"has the data_offsets {plain(place)}, and {kind} of shape {plain(shape)} takes {needed:,} bytes"
    return ""


def from_safetensors(path: Path, name: str, channels: int, classes: int) -> nn.Module:
    """A network with the weights of a safetensors file, in evaluation mode.

    A file of a zoo holds :func:`models.build`'s network with its normalisation, and the names of its tensors begin with ``1.``.
    Another file for a key of ``models.ARCHITECTURES``, such as one with torchvision's own names, holds the network alone, and
    then ``Preprocessing`` says what the normalisation is; likewise for ``module:function``. Half and double precision become
    single; everything else must be exactly what the architecture has.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    name : str
        Its architecture, see :func:`architecture`.
    channels, classes : int
        Its input channels and its outputs.

    Returns
    -------
    torch.nn.Module
        From images, float32, shape (n, channels, height, width), to outputs, shape (n, classes).

    Raises
    ------
    UserError
        If the file does not hold exactly the tensors of that architecture, or a weight is not finite.
    """
    found = header(path)
    make, ours = architecture(name), name in models.ARCHITECTURES
    # ours take their size from the weights alone, so nothing is allocated for them; a network of one's own may hold more
    with torch.device("meta" if ours else "cpu"):
        network = make(channels, classes).float()
    if ours and any(key.startswith("1.") for key in found):
        network = nn.Sequential(models.Normalise(), network)
    expected = network.state_dict()
    for key in [*expected, *found]:
        if key not in found or key not in expected:
            raise UserError(
                f"{path} {'lacks the tensor' if key in expected else 'has an unexpected tensor'} {plain(key)!r}; "
                f"{name} with {channels} channels and {classes} classes has {len(expected)} tensors, the file {len(found)}."
            )
    for key, tensor in expected.items():
        kind, shape = found[key]["dtype"], found[key]["shape"]
        if shape != list(tensor.shape):
            raise UserError(
                f"{path}: tensor {plain(key)!r} has the shape {plain(shape)}; "
                f"{name} with {channels} channels and {classes} classes has {list(tensor.shape)}."
            )
        if kind not in REAL if tensor.is_floating_point() else kind != _kind(tensor.dtype):
            accepted = ", ".join(REAL) if tensor.is_floating_point() else _kind(tensor.dtype)
            raise UserError(f"{path}: tensor {plain(key)!r} is of type {kind}; accepted there is {accepted}.")
    state = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            for key, tensor in expected.items():
                state[key] = file.get_tensor(key).to(tensor.dtype)
                if tensor.is_floating_point() and not torch.isfinite(state[key]).all():
                    raise UserError(f"{path}: tensor {plain(key)!r} holds values that are not finite; weights are numbers.")
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is no valid safetensors file ({_said(error)}).") from None
    network.load_state_dict(state, assign=ours)
    return (network.to(memory_format=torch.channels_last) if ours else network).eval()


def _kind(dtype: torch.dtype) -> str:
    names = {
        torch.int64: "I64",
        torch.int32: "I32",
        torch.int16: "I16",
        torch.int8: "I8",
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
    return names.get(dtype, str(dtype))


def outputs(path: Path, pixels: torch.Tensor, classes: int, architecture_name: str | None, how: Preprocessing) -> np.ndarray:
    """Outputs of a model on images, from a file that nobody vouches for.

    Parameters
    ----------
    path : pathlib.Path
        A safetensors or an ONNX file.
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width), on the CPU.
    classes : int
        Number of outputs that the model must have.
    architecture_name : str, optional
        Of a safetensors file, see :func:`architecture`; an ONNX file brings its own.
    how : Preprocessing
        How images become the model's input.

    Returns
    -------
    numpy.ndarray
        float64, shape (n, classes), finite: logits or probabilities, as the model gives them.

    Raises
    ------
    UserError
        If the file or its combination with the other arguments is refused, or the outputs are not finite, of another shape, or
        the same for all images.
    """
    path = Path(path)
    if kind_of(path) == "onnx":
        if architecture_name is not None:
            raise UserError(f"{path} is an ONNX file and holds its own architecture; {plain(architecture_name)!r} is not used.")
        rows = max(1, CHUNK // prepare(pixels[:1], how).nbytes)
        values = np.concatenate([_run_onnx(path, prepare(part, how), classes, how.layout) for part in pixels.split(rows)])
    else:
        values = _run_torch(path, pixels, classes, architecture_name, how)
    if values.shape != (len(pixels), classes):
        found = " x ".join(map(str, values.shape))
        raise UserError(f"{path} gives outputs of shape {found}; {len(pixels)} images x {classes} classes are needed.")
    odd = int((~np.isfinite(values)).any(1).sum())
    if odd:
        raise UserError(f"{path}: answers to {odd} of {len(values)} images are not finite; numbers are needed.")
    if len(values) >= FEWEST and np.all(values == values[0]):
        raise UserError(f"{path} gives the same answer for all {len(values)} images; there is nothing to compare.")
    return values


def _run_torch(path: Path, pixels: torch.Tensor, classes: int, name: str | None, how: Preprocessing) -> np.ndarray:
    if name is None:
        raise UserError(f"{path} is a safetensors file, which holds no architecture; name it, for example with --architecture.")
    if how.layout != "nchw":
        raise UserError(f"{path} is a safetensors file; layout {how.layout} is for ONNX files only.")
    network = from_safetensors(path, name, pixels.shape[1], classes)
    if name in models.ARCHITECTURES and isinstance(next(network.children()), models.Normalise):
        if how.mean is not None or how.maximum != 1:
            raise UserError(f"{path} holds its own normalisation; mean, std and maximum are for files without one.")
    rows = max(1, AT_ONCE // prepare(pixels[:1], how).nbytes)
    try:
        with torch.inference_mode():
            return torch.cat([network(prepare(part, how)) for part in pixels.split(rows)]).double().numpy()
    except UserError:
        raise
    except Exception as error:  # whatever a network says to images that it cannot take
        shape = list(prepare(pixels[:1], how).shape[1:])
        raise UserError(f"{path}: {name} fails on images of shape {shape} ({_said(error)}).") from None


def _run_onnx(path: Path, images: torch.Tensor, classes: int, layout: str) -> np.ndarray:
    """Run an ONNX file in a process of its own, so that parsing and running a bad file can harm that process only."""
    memory = MEMORY + 6 * path.stat().st_size
    settings = {"classes": classes, "layout": layout, "memory": memory, "seconds": SECONDS}
    settings["largest_file"] = 8 * len(images) * classes + 4096
    with tempfile.TemporaryDirectory(prefix="sacutils-") as folder:
        np.save(Path(folder) / "input.npy", images.numpy())
        # -m looks for modules in the working directory first, and the one that the user is in may be the suspect's
        command = [sys.executable, "-m", "sacutils.onnxrun", str(path.absolute()), folder, json.dumps(settings)]
        # one thread each, because every thread takes address space
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | threads,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=WAIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"{path} did not answer {len(images)} images within {WAIT} s and was stopped.") from None
        try:
            if done.returncode == 0:
                # mapped, so that a header which claims a huge shape allocates nothing
                return np.array(np.load(Path(folder) / "output.npy", mmap_mode="r", allow_pickle=False), dtype=np.float64)
            sentence = plain(json.loads(done.stdout)["refused"], 350)
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            sentence = _end(done.returncode)
        raise UserError(f"{path} {sentence}.")


def _end(code: int) -> str:
    """What to say of a process that ended without a word of its own."""
    if code < 0:
        if -code == getattr(signal, "SIGXCPU", None):
            return f"needs more than {SECONDS} s of processor time, which is its limit"
        name = {each.value: each.name for each in signal.Signals}.get(-code, f"signal {-code}")
        return f"made ONNX Runtime crash ({name}); it is damaged, or needs too much memory"
    return f"made ONNX Runtime stop without an answer (exit code {code}); it is damaged, or needs too much memory"
