"""Run an ONNX file from a stranger in a process of its own, which has little memory and time and
can write little: ``python -P -m sacheck.onnx_worker MODEL FOLDER``.

Settings are read from ``FOLDER/settings.json`` (see :func:`main`), prepared images from
``FOLDER/input.npy``, and outputs are written to ``FOLDER/output.npy``. Without ``files`` among the
settings, it only says which other files hold tensors of the model, as ``{"files": [...]}`` on
standard output. A file that is refused is one line of JSON on standard output,
``{"refused": "what is wrong with it"}``, and exit code 1.
"""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message

from .outputs import choose, usable
from .text import plain

if TYPE_CHECKING:
    import onnxruntime

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Domains of operators that are run: ONNX's own."""
QUANTISED = (
    *("QGemm", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeMatMul"),
    *("MatMulIntegerToFloat", "DynamicQuantizeLinear", "NhwcMaxPool"),
)
"""Operators of ONNX Runtime's own domain that are run, besides those that begin with QLinear: its
quantiser writes them, and they compute with their inputs alone."""
REFUSED = (
    *("If", "Loop", "Scan", "Sequence", "SplitToSequence", "ConcatFromSequence", "Optional"),
    *("Random", "Bernoulli", "Multinomial"),
)
"""What the names of operators that are refused begin with: control flow, sequences, chance."""
ELEMENTS = onnx.TensorProto.DataType
STORED = (
    "FLOAT DOUBLE FLOAT16 BFLOAT16 INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 BOOL".split()
)
"""Types of tensors that are accepted."""
INPUTS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
PIXELS = {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32}
"""Inputs that take pixels as they are, 0 to 255."""
MOST_FILES = 10_000
"""Other files in which tensors may lie."""
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
    for function in model.functions:
        what = f"defines a function {plain(function.name)!r}; only ONNX's own operators are run"
        raise Refused(f"{what}, so have it exported after onnx.inliner.inline_local_functions")
    for part in parts_of(model):
        reason = None
        match part:
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
    quantised = node.op_type in QUANTISED or node.op_type.startswith("QLinear")
    if node.op_type == "ZipMap":
        return f"has {operator}; ask for an export with skl2onnx's options={{'zipmap': False}}"
    if node.domain not in DOMAINS and not (node.domain == "com.microsoft" and quantised):
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
        return f"has values and another file for the {what}; one of them is accepted"
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


def parse(path: Path) -> onnx.ModelProto:
    """The model in a file, without what other files hold, and without unknown fields."""
    try:
        # the format is named, because the ending of the name would choose another parser
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except DecodeError:
        raise Refused("is damaged or no ONNX file: it cannot be parsed") from None
    # what the checks do not see, ONNX Runtime does not get
    model.DiscardUnknownFields()
    return model


def outside(model: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, dict[str, str]]]:
    """The tensors whose values lie in another file, and what is said of their place."""
    for part in list(parts_of(model)):
        if isinstance(part, onnx.TensorProto) and part.data_location == part.EXTERNAL:
            yield part, {entry.key: entry.value for entry in part.external_data}


def places(model: onnx.ModelProto) -> list[str]:
    """The other files, as the model names them; nothing is read."""
    names = sorted({place.get("location", "") for _, place in outside(model)})
    if len(names) > MOST_FILES or any(len(name) > 1000 for name in names):
        raise Refused(f"names {len(names):,} other files; at most {MOST_FILES:,} are accepted")
    return names


def fill(model: onnx.ModelProto, files: dict[str, str]) -> None:
    """Put tensors that lie in other files into the model. `files` are the paths that may be read by
    the model's own names of them; all of them together bound what is read.
    """
    left = sum(Path(path).stat().st_size for path in files.values())
    for tensor, place in outside(model):
        location, number = place.get("location", ""), tensor.data_type
        what = f"the tensor {plain(tensor.name)!r} in {plain(location)!r}"
        known = number in ELEMENTS.values() and ELEMENTS.Name(number) in STORED
        if location not in files or not known or min(tensor.dims, default=0) < 0:
            raise Refused(f"has {what}, whose place, type or shape is not accepted")
        size = onnx.helper.tensor_dtype_to_np_dtype(number).itemsize * math.prod(tensor.dims)
        try:
            start, length = int(place.get("offset", 0)), int(place.get("length", size))
        except ValueError:
            raise Refused(f"has {what}, whose place is no number") from None
        left -= size
        there = Path(files[location]).stat().st_size - start
        if start < 0 or length != size or min(left, there - size) < 0:
            raise Refused(f"has {what}, whose shape needs {size:,} bytes, which are not there")
        with open(files[location], "rb") as file:
            file.seek(start)
            tensor.raw_data, tensor.data_location = file.read(size), tensor.DEFAULT
        del tensor.external_data[:]


def run(path: Path, images: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """The output of an ONNX file that holds its answers, as :func:`outputs.usable` gives it.

    `images` are float32, with four dimensions in the order of ``layout``, see :func:`main`.
    Raises Refused if the file is refused, has no input for these images, no output of that shape or
    several that name other classes, or fails.
    """
    model = parse(path)
    fill(model, settings["files"])
    check(model)
    import onnxruntime

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
        return _ask(session, images, settings)
    except (Refused, MemoryError):
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        if "allocat" in str(error).lower() or "bad_alloc" in str(error):
            raise MemoryError from None
        message = str(error).rpartition("[ONNXRuntimeError] :")[2]
        raise Refused(f"fails in ONNX Runtime ({plain(message.strip(), 160)})") from None


def _ask(
    session: "onnxruntime.InferenceSession", images: np.ndarray, settings: dict[str, Any]
) -> np.ndarray:
    classes, inputs = settings["classes"], session.get_inputs()
    kinds, ranks = INPUTS | PIXELS, (2, 3, 4)
    if len(inputs) != 1 or len(inputs[0].shape) not in ranks or inputs[0].type not in kinds:
        known = ", ".join(f"{plain(i.name, 30)!r} {i.type} {plain(i.shape)}" for i in inputs[:3])
        needed = "exactly one is needed, of real numbers or uint8, with four dimensions or flat"
        raise Refused(f"has the inputs {known or 'none'}; {needed}")
    (given,) = inputs
    if given.type in PIXELS and settings["normalised"]:
        raise Refused(f"takes pixels of {given.type}; mean and std have no effect")
    batch, *wanted = given.shape
    channel = settings["layout"].index("c")
    shape = list(_shaped(images[:1], wanted, channel).shape[1:])
    if len(shape) != len(wanted) or any(
        isinstance(want, int) and want != have for want, have in zip(wanted, shape, strict=True)
    ):
        taken = f"takes images of shape {plain(wanted)}, these have {shape} in the order"
        how = "--input-size and --layout set size and order, --channels of fingerprint channels"
        raise Refused(f"{taken} {settings['layout'][1:]}; {how}")
    fixed = isinstance(batch, int)
    if fixed and not 1 <= batch <= LARGEST_BATCH:
        raise Refused(
            f"takes {batch:,} images at once; accepted are 1 to {LARGEST_BATCH:,}, or any"
        )
    at_once = batch if fixed else max(1, min(64, AT_ONCE // images[0].nbytes))
    names = [output.name for output in session.get_outputs()]
    if settings["output"] not in (None, *names):
        known = plain(", ".join(names), 150)
        raise Refused(f"has no output {plain(settings['output'])!r}; its outputs are {known}")
    names = [settings["output"]] if settings["output"] else names
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(images), at_once):
        part = _shaped(images[start : start + at_once], wanted, channel)
        if given.type in PIXELS:
            part = np.rint(part * (255 / settings["maximum"]))
        part, count = part.astype(kinds[given.type]), len(part)
        if fixed:  # the last part is filled up with its last image
            part = part[np.minimum(np.arange(at_once), count - 1)]
        values = session.run(list(found), {given.name: part})
        for name, value in zip(list(found), values, strict=True):
            fitting = usable(value, len(part), classes)
            if fitting is None:
                del found[name]
            else:
                found[name].append(fitting[:count])
        if not found:
            shapes = ", ".join(" x ".join(map(str, np.shape(value))) for value in values[:5])
            what = f"answers {len(part)} images with outputs of the shapes {plain(shapes)}"
            needed = f"{len(part)} x {classes} real numbers are needed, or {len(part)} labels"
            raise Refused(f"{what}; {needed}")
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    chosen = choose(whole, classes)
    if len(chosen) > 1:
        known = plain(", ".join(map(repr, chosen)), 150)
        raise Refused(f"has the outputs {known} that name different classes; choose by --output")
    return whole[chosen[0]]


def _shaped(images: np.ndarray, wanted: list[Any], channel: int) -> np.ndarray:
    """Images with as many dimensions as a graph wants: flat, or grey without an axis for channels;
    grey ones are shown as three equal channels to a graph that takes three.
    """
    grey = images.shape[channel] == 1
    if len(wanted) == 1:
        return images.reshape(len(images), -1)
    if len(wanted) == 2:
        return images.squeeze(channel) if grey else images
    return np.repeat(images, 3, channel) if grey and wanted[channel - 1] == 3 else images


def main() -> None:
    """Run the command line; the settings are ``seconds``, in bytes ``memory`` and ``largest_file``,
    and to run the file ``classes``, ``layout`` (nchw or nhwc), ``maximum``, the value of white,
    ``normalised``, whether a mean was subtracted, ``output``, a name or null, and ``files``, see
    :func:`fill`.
    """
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    settings = json.loads((folder / "settings.json").read_text())
    limit(settings["memory"], settings["seconds"], settings["largest_file"])
    try:
        if "files" not in settings:
            print(json.dumps({"files": places(parse(path))}))
            return
        images = np.load(folder / "input.npy", mmap_mode="r", allow_pickle=False)
        values = run(path, images, settings)
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
