"""Run an ONNX file from a stranger in a process of its own, which has little memory and time and
can write little: ``python -P -m sacheck.onnx_worker MODEL FOLDER SETTINGS``.

Prepared images are read from ``FOLDER/input.npy``, outputs are written to ``FOLDER/output.npy``,
SETTINGS is JSON (see :func:`main`). A file that is refused is one line of JSON on standard output,
``{"refused": "what is wrong with it"}``, and exit code 1.
"""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message

from .text import plain

if TYPE_CHECKING:
    import onnxruntime

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Domains of operators that are run: ONNX's own."""
REFUSED = (
    *("If", "Loop", "Scan", "Sequence", "SplitToSequence", "ConcatFromSequence", "Optional"),
    *("ZipMap", "Random", "Bernoulli", "Multinomial"),
)
"""What the names of operators that are refused begin with: control flow, sequences, chance."""
ELEMENTS = onnx.TensorProto.DataType
STORED = (
    "FLOAT DOUBLE FLOAT16 BFLOAT16 INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 BOOL".split()
)
"""Types of tensors that are accepted."""
INPUTS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
LARGEST_BATCH = 1024
AT_ONCE = 2**22
"""Bytes of images that a graph without a batch size of its own gets at once; what it computes from
them is far larger."""


class Refused(Exception):
    """Why a file is not run: a predicate without the final stop, whose subject is the file."""


def limit(memory: int, seconds: int, largest_file: int) -> None:
    """Cap the address space, the seconds of processor time and the written files of this process,
    where the system can; sizes in bytes.
    """
    try:
        import resource
    except ImportError:  # Windows: only the caller's timeout is left
        return
    limits = {"AS": memory, "FSIZE": largest_file, "CORE": 0, "CPU": seconds}
    for name, most in limits.items():
        # macOS knows a limit of memory and does not set it; a lower limit is kept
        with suppress(ValueError, OSError):
            hard = most + 5 if name == "CPU" else most
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, hard))


def parts_of(message: Message) -> Iterator[Message]:
    """A protocol buffer's message and all messages inside it; protobuf limits their depth."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from parts_of(part)


def check(model: onnx.ModelProto) -> None:
    """Refuse what a plain classifier does not need, wherever in the file it is: operators of
    another domain, local functions, control flow, sequences, optional values, random numbers,
    sparse tensors, external data, and tensors whose data do not fit their shape.
    """
    for part in parts_of(model):
        reason = None
        match part:
            case onnx.FunctionProto():
                reason = f"defines a function {plain(part.name)!r}; only ONNX's operators are run"
            case onnx.NodeProto():
                reason = _about_node(part)
            case onnx.TypeProto():
                kind = part.WhichOneof("value")
                if kind not in (None, "tensor_type"):
                    reason = f"has a value of the kind {kind}; only plain tensors are accepted"
            case onnx.SparseTensorProto():
                reason = f"has a sparse tensor {plain(part.values.name)!r}; plain ones are accepted"
            case onnx.TensorProto():
                reason = _about_tensor(part)
        if reason:
            raise Refused(reason)


def _about_node(node: onnx.NodeProto) -> str | None:
    operator = f"the operator {plain(node.op_type)!r}"
    if node.domain not in DOMAINS:
        return f"has {operator} of the domain {plain(node.domain)!r}; only ONNX's own are run"
    if node.op_type.startswith(REFUSED):
        return f"has {operator}; branches, loops, sequences and chance are refused"
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return f"has a graph inside {operator}; branches are refused"
    return None


def _about_tensor(tensor: onnx.TensorProto) -> str | None:
    number, shape = tensor.data_type, list(tensor.dims)
    kind = ELEMENTS.Name(number) if number in ELEMENTS.values() else str(number)
    what = f"tensor {plain(tensor.name)!r} of type {kind}"
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        return f"keeps the {what} in another file; ask for one file (external_data=False)"
    if kind not in STORED:
        return f"has a {what}; accepted are {', '.join(STORED)}"
    raw = tensor.HasField("raw_data")
    field = "raw_data" if raw else onnx.helper.tensor_dtype_to_field(number)
    count = len(getattr(tensor, field))
    width = onnx.helper.tensor_dtype_to_np_dtype(number).itemsize if raw else 1
    if len(shape) > 16 or min(shape, default=0) < 0 or count != math.prod(shape) * width:
        unit = "bytes" if raw else "values"
        return f"has a {what} and shape {plain(shape)}, which {count:,} {unit} do not fit"
    return None


def run(path: Path, images: np.ndarray, classes: int, layout: str) -> np.ndarray:
    """Outputs of an ONNX file, float64, shape (n, classes), not necessarily finite.

    `images` are float32, with four dimensions in the order of `layout`, ``nchw`` or ``nhwc``.
    Raises Refused if the file is refused, has no input for these images, no output of that shape or
    several, or fails.
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
    # a producer called ORTM would make the same bytes pass for ONNX Runtime's own, unchecked format
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return _ask(session, images, classes, layout)
    except (Refused, MemoryError):
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        if "allocat" in str(error).lower() or "bad_alloc" in str(error):
            raise MemoryError from None
        message = str(error).rpartition("[ONNXRuntimeError] :")[2]
        raise Refused(f"fails in ONNX Runtime ({plain(message.strip(), 160)})") from None


def _ask(
    session: "onnxruntime.InferenceSession", images: np.ndarray, classes: int, layout: str
) -> np.ndarray:
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in INPUTS:
        known = ", ".join(f"{plain(i.name, 30)!r} {i.type} {plain(i.shape)}" for i in inputs[:3])
        needed = "exactly one is needed, of real numbers and with four dimensions"
        raise Refused(f"has the inputs {known or 'none'}; {needed}")
    (given,) = inputs
    batch, *wanted = given.shape
    shape = list(images.shape[1:])
    pairs = zip(wanted, shape, strict=True)
    if any(isinstance(want, int) and want != have for want, have in pairs):
        taken = f"takes images of shape {plain(wanted)}, these have {shape} in the order"
        raise Refused(f"{taken} {layout[1:]}; channels, size and layout must be its own")
    fixed = isinstance(batch, int)
    if fixed and not 1 <= batch <= LARGEST_BATCH:
        raise Refused(
            f"takes {batch:,} images at once; accepted are 1 to {LARGEST_BATCH:,}, or any"
        )
    at_once = batch if fixed else max(1, min(64, AT_ONCE // images[0].nbytes))
    rows, chosen = [], None
    for start in range(0, len(images), at_once):
        part = images[start : start + at_once].astype(INPUTS[given.type])
        count = len(part)
        if fixed:  # the last part is filled up with its last image
            part = part[np.minimum(np.arange(at_once), count - 1)]
        values = session.run(chosen, {given.name: part})
        fitting = [i for i, value in enumerate(values) if _fits(value, (len(part), classes))]
        if len(fitting) != 1:
            shapes = ", ".join(" x ".join(map(str, np.shape(value))) for value in values[:5])
            what = f"answers {len(part)} images with outputs of the shapes {plain(shapes)}"
            raise Refused(f"{what}; exactly one of {len(part)} x {classes} real numbers is needed")
        chosen = chosen or [session.get_outputs()[fitting[0]].name]
        rows.append(values[fitting[0]][:count].astype(np.float64))
    return np.concatenate(rows)


def _fits(value: object, shape: tuple[int, int]) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.shape == shape


def main() -> None:
    """Run the command line; SETTINGS has ``classes``, ``layout``, ``seconds``, and in bytes
    ``memory`` and ``largest_file``.
    """
    path, folder, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    limit(settings["memory"], settings["seconds"], settings["largest_file"])
    try:
        images = np.load(folder / "input.npy", mmap_mode="r", allow_pickle=False)
        values = run(path, images, settings["classes"], settings["layout"])
        np.save(folder / "output.npy", values, allow_pickle=False)
        return
    except Refused as error:
        refused = str(error)
    except MemoryError:
        gigabytes = settings["memory"] / 2**30
        refused = f"needs more than {gigabytes:.1f} GiB of memory, which is its limit"
    print(json.dumps({"refused": refused}))
    sys.exit(1)


if __name__ == "__main__":
    main()
