"""Run an ONNX file from a stranger in a process of its own: ``python -m sacutils.onnxrun MODEL FOLDER SETTINGS``.

It has little memory and time and can write little. Prepared images are read from ``FOLDER/input.npy``, outputs are written to
``FOLDER/output.npy``, SETTINGS is JSON (see :func:`main`). A file that is refused is one line of JSON on standard output,
``{"refused": "what is wrong with it"}``, and exit code 1.
"""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message

from .artefacts import plain

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Domains of operators that are run: ONNX's own."""
REFUSED = (
    *("If", "Loop", "Scan", "SplitToSequence", "ConcatFromSequence", "ZipMap", "Bernoulli", "Multinomial"),
    *("Sequence", "Optional", "Random"),
)
"""What the names of operators that are refused begin with: control flow, sequences, chance."""
STORED = {
    "FLOAT": (4, "float_data"),
    "DOUBLE": (8, "double_data"),
    "FLOAT16": (2, "int32_data"),
    "BFLOAT16": (2, "int32_data"),
    "INT8": (1, "int32_data"),
    "INT16": (2, "int32_data"),
    "INT32": (4, "int32_data"),
    "INT64": (8, "int64_data"),
    "UINT8": (1, "int32_data"),
    "UINT16": (2, "int32_data"),
    "UINT32": (4, "uint64_data"),
    "UINT64": (8, "uint64_data"),
    "BOOL": (1, "int32_data"),
}
"""Types of tensors that are accepted: bytes of an element in raw form, and the field that holds them otherwise."""
INPUTS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
LARGEST_BATCH = 1024
AT_ONCE = 2**22
"""Bytes of images that a graph without a batch size of its own gets at once; what it computes from them is far larger."""


class Refused(Exception):
    """Why a file is not run: a predicate without the final stop, whose subject is the file."""


def limit(memory: int, seconds: int, largest_file: int) -> None:
    """Cap the address space, the processor time and the written files of this process, where the system can.

    Parameters
    ----------
    memory : int
        Bytes.
    seconds : int
        Of processor time.
    largest_file : int
        Bytes that a file which is written may have.
    """
    try:
        import resource
    except ImportError:  # Windows: only the caller's timeout is left
        return
    limits = {"AS": (memory, memory), "CPU": (seconds, seconds + 5), "FSIZE": (largest_file, largest_file), "CORE": (0, 0)}
    for name, values in limits.items():
        with suppress(ValueError, OSError):  # macOS knows a limit of memory and does not set it; a lower limit is kept
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), values)


def parts_of(message: Message) -> Iterator[Message]:
    """A protocol buffer's message and all messages inside it; protobuf itself limits how deep they lie."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from parts_of(part)


def check(model: onnx.ModelProto) -> None:
    """Refuse what a plain classifier does not need, wherever in the file it is.

    Raises
    ------
    Refused
        If there are operators of another domain, local functions, control flow, sequences, optional values, random numbers,
        sparse tensors, external data, or tensors whose data do not fit their shape.
    """
    for part in parts_of(model):
        match part:
            case onnx.FunctionProto():
                raise Refused(f"defines a function {plain(part.name)!r} of its own; only ONNX's own operators are run")
            case onnx.NodeProto():
                if part.domain not in DOMAINS:
                    raise Refused(
                        f"has an operator {plain(part.op_type)!r} of the domain {plain(part.domain)!r}; only ONNX's own are run"
                    )
                if part.op_type.startswith(REFUSED):
                    raise Refused(
                        f"has the operator {plain(part.op_type)!r}; "
                        "branches, loops, sequences and chance, which no classifier needs, are refused"
                    )
                if any(attribute.HasField("g") or attribute.graphs for attribute in part.attribute):
                    raise Refused(f"has a graph inside the operator {plain(part.op_type)!r}; branches and loops are refused")
            case onnx.TypeProto():
                if part.WhichOneof("value") not in (None, "tensor_type"):
                    raise Refused(f"has a value of the kind {part.WhichOneof('value')}; only plain tensors are accepted")
            case onnx.SparseTensorProto():
                raise Refused(f"has a sparse tensor {plain(part.values.name)!r}; only plain tensors are accepted")
            case onnx.TensorProto():
                _check_tensor(part)


def _check_tensor(tensor: onnx.TensorProto) -> None:
    name = plain(tensor.name)
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise Refused(
            f"keeps the tensor {name!r} in another file; ask for one file, which torch.onnx.export(external_data=False) makes"
        )
    names = onnx.TensorProto.DataType
    kind = names.Name(tensor.data_type) if tensor.data_type in names.values() else str(tensor.data_type)
    if kind not in STORED:
        raise Refused(f"has a tensor {name!r} of type {kind}; accepted are {', '.join(STORED)}")
    size, field = STORED[kind]
    raw = tensor.HasField("raw_data")
    found = len(tensor.raw_data) if raw else len(getattr(tensor, field))
    shape = list(tensor.dims)
    if len(shape) > 16 or min(shape, default=0) < 0 or found != math.prod(shape) * (size if raw else 1):
        what = f"{found:,} {'bytes' if raw else 'values'}"
        raise Refused(f"has a tensor {name!r} of type {kind} and shape {plain(shape)}, which {what} do not fit")


def _said(error: Exception) -> str:
    """What ONNX Runtime says, without its marks of place."""
    return plain(str(error).rpartition("[ONNXRuntimeError] :")[2].strip(), 160) or type(error).__name__


def run(path: Path, images: np.ndarray, classes: int, layout: str) -> np.ndarray:
    """Outputs of an ONNX file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    images : numpy.ndarray
        float32, four dimensions in the order of `layout`.
    classes : int
        Columns that the output must have.
    layout : {"nchw", "nhwc"}
        Order of the dimensions, for what is said if they do not fit.

    Returns
    -------
    numpy.ndarray
        float64, shape (n, classes); not necessarily finite.

    Raises
    ------
    Refused
        If the file is refused, has no input for these images, no output of that shape or several, or fails.
    """
    import onnxruntime

    try:
        # the format is named, because the ending of the name would choose another parser
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except DecodeError:
        raise Refused("is damaged or no ONNX file: it cannot be parsed") from None
    # what the checks do not see, ONNX Runtime does not get
    model.DiscardUnknownFields()
    check(model)
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(4)
    onnxruntime.set_seed(0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it takes more than it needs
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # a producer called ORTM would make the same bytes pass for ONNX Runtime's own format, in which nothing was checked
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return _ask(session, images, classes, layout)
    except (Refused, MemoryError):
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        if "allocat" in str(error).lower() or "bad_alloc" in str(error):
            raise MemoryError from None
        raise Refused(f"fails in ONNX Runtime ({_said(error)})") from None


def _ask(session: Any, images: np.ndarray, classes: int, layout: str) -> np.ndarray:
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in INPUTS:
        found = ", ".join(f"{plain(each.name, 30)!r} {each.type} {plain(each.shape)}" for each in inputs[:3]) or "none"
        raise Refused(f"has the inputs {found}; exactly one is needed, of real numbers and with four dimensions")
    batch, *wanted = inputs[0].shape
    if any(isinstance(want, int) and want != have for want, have in zip(wanted, images.shape[1:], strict=True)):
        raise Refused(
            f"takes images of shape {plain(wanted)}, these have {list(images.shape[1:])} in the order {layout[1:]}; "
            "channels, size and layout must be its own"
        )
    fixed = isinstance(batch, int)
    if fixed and not 1 <= batch <= LARGEST_BATCH:
        raise Refused(f"takes {batch:,} images at once; 1 to {LARGEST_BATCH:,}, or any number, are accepted")
    at_once = batch if fixed else max(1, min(64, AT_ONCE // images[0].nbytes))
    rows, chosen = [], None
    for start in range(0, len(images), at_once):
        part = images[start : start + at_once].astype(INPUTS[inputs[0].type])
        count = len(part)
        if fixed:  # the last part is filled up with its last image
            part = part[np.minimum(np.arange(at_once), count - 1)]
        found = session.run(chosen, {inputs[0].name: part})
        fitting = [i for i, value in enumerate(found) if _fits(value, (len(part), classes))]
        if len(fitting) != 1:
            shapes = ", ".join(" x ".join(map(str, np.shape(value))) for value in found[:5])
            raise Refused(
                f"answers {len(part)} images with outputs of the shapes {plain(shapes)}; "
                f"exactly one of {len(part)} x {classes} real numbers is needed, a column for each class"
            )
        chosen = [session.get_outputs()[fitting[0]].name] if chosen is None else chosen
        rows.append(found[fitting[0]][:count].astype(np.float64))
    return np.concatenate(rows)


def _fits(value: Any, shape: tuple[int, int]) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.shape == shape


def main() -> None:
    """Run the command line; SETTINGS has ``classes``, ``layout``, ``memory`` and ``largest_file`` in bytes, and ``seconds``."""
    path, folder, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    limit(settings["memory"], settings["seconds"], settings["largest_file"])
    try:
        images = np.load(folder / "input.npy", mmap_mode="r", allow_pickle=False)
        np.save(folder / "output.npy", run(path, images, settings["classes"], settings["layout"]), allow_pickle=False)
    except Refused as error:
        print(json.dumps({"refused": str(error)}))
        sys.exit(1)
    except MemoryError:
        print(json.dumps({"refused": f"needs more than {settings['memory'] / 2**30:.1f} GiB of memory, which is its limit"}))
        sys.exit(1)


if __name__ == "__main__":
    main()
