"""A model from a file that a stranger made: safetensors or ONNX, checked before it is read, and
never run as code.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import nn

from sacutils import models
from sacutils.files import UserError
from sacutils.profiles import Strict

from .text import check_regular, plain, refuse, summary

LARGEST = {"safetensors": 2**33, "onnx": 2**30}
"""Bytes that a file may have."""
MOST_TENSORS = 100_000
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
AT_ONCE = 2**24
"""Bytes of images that a network gets at once."""
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
    """How uint8 images become a model's input.

    `size` is the side to which images are resized first. `maximum` is the value of a white pixel
    then. `mean` is subtracted and the result divided by `std`, both in the units of `maximum`, with
    one value or one per channel. `layout` is the order of the dimensions, which only ONNX models
    choose.
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


class ModelFile(NamedTuple):
    """A file of weights, its architecture (None for ONNX, which brings its own; otherwise see
    :func:`build`), and how images become its input.
    """

    path: Path
    architecture: str | None = None
    how: Preprocessing = Preprocessing()

    def outputs(self, pixels: torch.Tensor, classes: int) -> np.ndarray:
        """Outputs of the model on images, from a file that nobody vouches for.

        `pixels` are uint8, shape (n, channels, height, width), on the CPU; the result is float64,
        shape (n, classes), finite: logits or probabilities, as the model gives them.
        """
        path, name, how = self
        if kind_of(path) == "onnx":
            if name is not None:
                raise UserError(f"{path} holds its own architecture; {plain(name)!r} has no use.")
            answer, most = partial(_run_onnx, path, classes, how.layout), CHUNK
        else:
            network = _network(self, pixels.shape[1], classes)
            answer, most = partial(_run_torch, self, network), AT_ONCE
        parts = []
        for part in pixels.split(max(1, most // prepare(pixels[:1], how).nbytes)):
            parts.append(answer(prepare(part, how)))
            wanted, given = (len(part), classes), parts[-1].shape
            if given != wanted:
                raise UserError(f"{path} gives outputs of shape {given}; {wanted} is needed.")
        values = np.concatenate(parts)
        odd = int((~np.isfinite(values)).any(1).sum())
        if odd:
            raise UserError(f"{path}: answers to {odd} of {len(values)} images are not finite.")
        if len(values) >= FEWEST and np.all(values == values[0]):
            raise UserError(f"{path} gives the same answer for all {len(values)} images.")
        return values


def prepare(pixels: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Images, uint8, shape (n, channels, height, width), as a model takes them: float32, in the
    order of ``how.layout``. Grey images stay grey: a model that takes colour is refused them.
    """
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


def build(name: str, channels: int, classes: int) -> nn.Module:
    """A network without normalisation.

    `name` is a key of ``models.ARCHITECTURES``, or ``module:function``, imported with the current
    directory on the path, which gets the numbers of channels and classes. That code is run without
    any protection: it must be the owner's own and never a stranger's.
    """
    if name in models.ARCHITECTURES:
        return models.ARCHITECTURES[name](channels, classes)
    module, _, attribute = name.partition(":")
    what = f"Architecture {plain(name)!r}"
    if not (module and attribute):
        known = ", ".join(models.ARCHITECTURES)
        raise UserError(f"{what} is unknown; known are {known} and module:function of yours.")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        importlib.invalidate_caches()
        network = getattr(importlib.import_module(module), attribute)(channels, classes)
        if not isinstance(network, nn.Module):
            raise TypeError(f"a torch.nn.Module is needed and no {type(network).__name__}")
    except Exception as error:  # whatever the owner's module raises
        raise UserError(f"{what} gives no network ({_named(error)}).") from None
    finally:
        sys.path.remove(here)
    return network


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {summary(error)}"


def kind_of(path: Path) -> Literal["safetensors", "onnx"]:
    """The kind of a file, told from its content and not from its name."""
    check_regular(path, LARGEST["safetensors"])
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path} is empty; a safetensors or an ONNX file is needed.")
    with open(path, "rb") as file:
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
        check_regular(path, LARGEST["onnx"])
        return "onnx"
    start = start[:8].hex(" ")
    raise UserError(f"{path} is neither safetensors nor ONNX: it begins with the bytes {start}.")


def from_safetensors(path: Path, name: str, channels: int, classes: int) -> nn.Module:
    """A network with the weights of a safetensors file, in evaluation mode.

    A file of a zoo holds :func:`models.build`'s network with its normalisation, and the names of
    its tensors begin with ``1.``. Another file, such as one with torchvision's own names, holds the
    network alone, and then ``Preprocessing`` says what the normalisation is. Half and double
    precision become single; everything else must be exactly what the architecture has.
    """
    ours = name in models.ARCHITECTURES
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            keys = set(file.keys())
            if len(keys) > MOST_TENSORS:
                raise UserError(
                    f"{path}: {len(keys):,} tensors; accepted are at most {MOST_TENSORS:,}."
                )
            # ours take their size from the weights alone, so nothing is allocated for them
            with torch.device("meta" if ours else "cpu"):
                network = build(name, channels, classes).float()
            if ours and any(key.startswith("1.") for key in keys):
                network = nn.Sequential(models.Normalise(), network)
            expected = network.state_dict()
            what = f"{name} with {channels} channels and {classes} classes"
            for key in sorted(keys ^ expected.keys()):
                problem = "lacks the tensor" if key in expected else "has an unexpected tensor"
                numbers = f"{what} has {len(expected)} tensors, the file {len(keys)}"
                raise UserError(f"{path} {problem} {plain(key)!r}; {numbers}.")
            # all are compared before one is read
            for key, tensor in expected.items():
                part, wanted = file.get_slice(key), list(tensor.shape)
                shape, kind = part.get_shape(), part.get_dtype()
                known = REAL if tensor.is_floating_point() else (WHOLE.get(tensor.dtype, ""),)
                problems = {
                    f"has the shape {plain(shape)}; {what} has {wanted}": shape != wanted,
                    f"is of type {plain(kind)}; accepted is {', '.join(known)}": kind not in known,
                }
                refuse(f"{path}: tensor {plain(key)!r} ", problems)
            state = {key: file.get_tensor(key).to(value.dtype) for key, value in expected.items()}
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is damaged, no safetensors file ({summary(error)}).") from None
    for key, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path}: tensor {plain(key)!r} holds values that are not finite.")
    network.load_state_dict(state, assign=ours)
    return (network.to(memory_format=torch.channels_last) if ours else network).eval()


def _network(model: ModelFile, channels: int, classes: int) -> nn.Module:
    path, name, how = model
    problems = {
        " holds no architecture; name it, for example with --architecture": name is None,
        f": layout {how.layout} is for ONNX files only": how.layout != "nchw",
    }
    refuse(path, problems)
    network = from_safetensors(path, str(name), channels, classes)
    normalised = isinstance(next(network.children(), None), models.Normalise)
    unused = normalised and (how.mean is not None or how.maximum != 1)
    refuse(path, {" holds its own normalisation; mean, std and maximum have no effect": unused})
    return network


def _run_torch(model: ModelFile, network: nn.Module, images: torch.Tensor) -> np.ndarray:
    try:
        with torch.inference_mode():
            return network(images).double().numpy()
    except UserError:
        raise
    except Exception as error:  # whatever a network says to images that it cannot take
        what = f"{model.path}: {model.architecture} fails on images of shape"
        raise UserError(f"{what} {list(images.shape[1:])} ({_named(error)}).") from None


def _run_onnx(path: Path, classes: int, layout: str, images: torch.Tensor) -> np.ndarray:
    """Run an ONNX file in a process of its own, so that a bad file can harm that process only."""
    settings = {
        "classes": classes,
        "layout": layout,
        "memory": MEMORY + 6 * path.stat().st_size,
        "seconds": SECONDS,
        "largest_file": 8 * len(images) * classes + 4096,
    }
    with tempfile.TemporaryDirectory(prefix="sacheck-") as folder:
        np.save(Path(folder) / "input.npy", images.numpy())
        # -P: the working directory, which may be the suspect's, is no place to look for modules
        command = [sys.executable, "-P", "-m", "sacheck.onnx_worker"]
        # one thread each, because every thread takes address space
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                [*command, str(path.absolute()), folder, json.dumps(settings)],
                env=os.environ | threads,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=WAIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            what = f"{path} did not answer {len(images)} images"
            raise UserError(f"{what} within {WAIT} s.") from None
        try:
            if done.returncode == 0:
                # mapped, so that a header which claims a huge shape allocates nothing
                values = np.load(Path(folder) / "output.npy", mmap_mode="r", allow_pickle=False)
                return np.array(values, dtype=np.float64)
            sentence = plain(json.loads(done.stdout)["refused"], 350)
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            sentence = _ending(done.returncode)
        raise UserError(f"{path} {sentence}.")


def _ending(code: int) -> str:
    """What to say of a process that ended without a word of its own."""
    if -code == getattr(signal, "SIGXCPU", None):
        return f"needs more than {SECONDS} s of processor time, which is its limit"
    names = {-number: number.name for number in signal.Signals}
    how = names.get(code, f"exit code {code}")
    return f"stopped ONNX Runtime without an answer ({how}): it is damaged, or needs more memory"
