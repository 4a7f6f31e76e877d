"""What a prediction service takes and answers, described by data: images become the body of a
request, the body of a response becomes answers. Nothing here uses the network.
"""

import base64
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import torch
import yaml
from PIL import Image
from pydantic import ConfigDict, Field, JsonValue, model_validator

from sacutils.files import UserError
from sacutils.profiles import Strict, Yaml, sentence

from .answers import Row
from .text import number, once, plain, read_bytes, refuse, summary
from .weights import Preprocessing, prepare

NO_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
"""What PyYAML and the check of a description raise."""
NUMBERED = re.compile(r"(?:LABEL_)?(\d{1,7})(?:\.0+)?", re.ASCII)
"""A class by its number: 3, 3.0, or LABEL_3 as transformers calls a class without a name."""
NUMBERS = ("layout", "maximum", "mean", "std")
"""Fields that go with numbers."""
SCORES = ("scores", "names", "label_key", "score_key", "unit")
"""Fields that go with scores."""
ABOUT = ("about", "address")
"""What a ready-made description says to readers only."""

Path_ = Annotated[str, Field(max_length=1000)]


class Odd(Exception):
    """Why a response is refused: our words and, in every second place, what the service sent."""


class Service(Strict):
    """How requests to a service and its responses look.

    Paths are keys separated by dots, list places are numbers, and an empty path is the thing
    itself. A text on the way that holds JSON is opened.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    body: Literal["json", "multipart", "raw"] = "json"
    """``json`` sends one document, ``multipart`` one file field per image, ``raw`` one image."""
    image: Literal["png", "jpeg", "pixels"] = "png"
    """A file, in JSON coded in base64, or lists of numbers."""
    layout: Literal["nhwc", "nchw", "nhw", "flat"] = "nhwc"
    """Order of ``pixels``: channels last, channels first, grey without channels, or one list per
    image in the order of ``nhwc``."""
    maximum: Literal[1, 255] = 255
    """The number of a white pixel; with 255 and no `mean`, all are whole numbers."""
    mean: tuple[float, ...] | None = None
    """Subtracted from ``pixels``, in units of `maximum`: one number or one per channel."""
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Divides ``pixels`` after `mean` was subtracted."""
    size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Side to which images are resized first."""
    images: Annotated[str, Field(min_length=1, max_length=1000)] = "instances"
    """Path of the list of images in the document, or name of the file field."""
    each: JsonValue = "$image"
    """What stands for one image in that list; ``$image`` in it is the image."""
    single: bool = False
    """Send one image in place of a list, and find one answer in place of a list."""
    batch: Annotated[int, Field(ge=1, le=256)] = 8
    """Images per request, at most; 1 with `single` and ``raw``."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of the document. ``$shape`` becomes the shape of all images of a request,
    ``$classes`` the number of classes."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of a request; ``${NAME}`` in a value is an environment variable."""
    answers: Path_ = "predictions"
    """Path of the list of answers, one per image (with `single` or ``raw``: of the answer); scores
    of several images may stand in one flat list."""
    scores: Path_ | None = None
    """Path of the scores in an answer: a list in the order of the classes, a mapping from class to
    score, or a list of objects with `label_key` and `score_key`; of two classes, the second's."""
    names: Path_ | None = None
    """Path of a list of classes beside the list `scores`."""
    label: Path_ | None = None
    """Path of the predicted class, where there are no scores."""
    label_key: Path_ = "label"
    """Path of the class in an object with a score."""
    score_key: Path_ = "score"
    """Path of the score in such an object."""
    classes: dict[str, str] = Field(default_factory=dict)
    """Your class by the service's name for it. Numbers from 0 and LABEL_0 are known without it."""
    unit: Annotated[float, Field(gt=0)] = 1
    """Scores are divided by it: 100 if they are percent without the sign."""
    authority: str | None = None
    """File with the certificates, in PEM, of the authority that vouches for the service."""
    rate: Annotated[float, Field(ge=0.001, le=1_000_000)] = 10
    """Requests per second, at most."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 30
    """Seconds for a whole request."""
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    """Further tries of a request."""

    @model_validator(mode="before")
    @classmethod
    def _prepared(cls, values: dict[str, Any]) -> dict[str, Any]:
        # a value that is refused is quoted, and one of a header may be a password
        headers = values.get("headers", {})
        if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
            raise ValueError("headers are texts by name")
        one = values.get("single") is True or values.get("body") == "raw"
        return {"batch": 1} | values if one else values

    @model_validator(mode="after")
    def _fits_together(self) -> "Service":
        changed = [key for key in NUMBERS if key in self.model_fields_set]
        scoring = [key for key in SCORES[1:] if key in self.model_fields_set]
        problems = {
            "one of scores and label must be given": (self.scores is None) == (self.label is None),
            f"{', '.join(scoring)} has no effect with label": bool(
                scoring and self.label is not None
            ),
            "batch must be 1 with single: true or body: raw": self.one and self.batch != 1,
            "extra and each go with body: json, the other bodies have no place for them": (
                self.body != "json" and bool(self.extra or self.each != "$image")
            ),
            "image: pixels goes with body: json": self.image == "pixels" and self.body != "json",
            f"{', '.join(changed)} has no effect with image: {self.image}": (
                self.image != "pixels" and bool(changed)
            ),
            "mean and std must be given together": (self.mean is None) != (self.std is None),
        }
        for problem, there in problems.items():
            if there:
                raise ValueError(problem)
        if self.body == "json":
            marked = "$image" in json.dumps(self.each)
            if not marked or "$image" in json.dumps(_filled(self.each, image=self._sample)):
                needed = "'$image' as a whole value" if self.image == "pixels" else "'$image'"
                raise ValueError(f"each needs {needed}")
            try:
                document(self, [self._sample], 2)
            except (LookupError, TypeError, ValueError, AttributeError):
                raise ValueError(f"images = {self.images!r} leads to no place of extra") from None
        return self

    @property
    def _sample(self) -> Any:
        return [0] if self.image == "pixels" else ""

    @property
    def one(self) -> bool:
        """Whether a request holds one image and its response one answer."""
        return self.single or self.body == "raw"


@cache
def ready_made() -> dict[str, dict[str, Any]]:
    """Descriptions that come with the tool, by name."""
    text = resources.files("sacheck").joinpath("services.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def load_service(described: str | Path, replaced: Mapping[str, Any] | None = None) -> Service:
    """A service by the name of a ready-made description, or by a YAML file of one's own, which may
    name a ready-made one as its ``base``. `replaced` are fields that count instead.
    """
    name = str(described)
    known = ", ".join(ready_made())
    own: dict[str, Any] = {"base": name}
    if name not in ready_made():
        if not Path(name).exists() and not Path(name).suffix:
            raise UserError(f"--service {plain(name)} is no file; ready-made are {known}.")
        own = _read(Path(name))
    base = own.pop("base", "")
    if base != "" and (not isinstance(base, str) or base not in ready_made()):
        raise UserError(f"{name}: base = {plain(base)!r} is not accepted; {known} are.")
    try:
        values = {k: v for k, v in ready_made().get(base, {}).items() if k not in ABOUT}
        # what the file says in another way, it need not take back
        if own.get("image", "pixels") != "pixels":
            values = {k: v for k, v in values.items() if k not in NUMBERS}
        if "label" in own:
            values = {k: v for k, v in values.items() if k not in SCORES}
        if "scores" in own:
            values.pop("label", None)
        return Service.model_validate(values | own | dict(replaced or {}))
    except pydantic.ValidationError as error:
        raise UserError(plain(sentence(error, name), 400) + ".") from None
    except NO_YAML as error:
        raise UserError(f"{name} is not valid YAML of a service ({summary(error)}).") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = read_bytes(path, 2**20).decode()
        # by aliases a few lines could stand for gigabytes
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise yaml.YAMLError("it has an alias; write the value out instead")
        values = yaml.load(text, Yaml) or {}
        if not isinstance(values, dict):
            raise yaml.YAMLError("fields and their values are needed")
        return values
    except NO_YAML as error:
        raise UserError(f"{path} is not valid YAML of a service ({summary(error)}).") from None


def written(content: bytes, service: Service) -> Any:
    """One probe, a PNG file, as the service takes it: the bytes of a file, or lists of numbers."""
    if service.image == "png" and service.size is None:
        return content
    with Image.open(io.BytesIO(content)) as image:
        array = np.atleast_3d(np.array(image))
    how = Preprocessing(
        mean=service.mean, std=service.std, size=service.size, maximum=service.maximum
    )
    planes = prepare(torch.from_numpy(array).permute(2, 0, 1)[None], how)[0].double()
    if how.maximum == 255 and how.mean is None:
        planes = planes.round().clamp(0, 255).to(torch.uint8)
    if service.image != "pixels":
        from torchvision.transforms.functional import to_pil_image  # takes seconds to import

        buffer, lossless = io.BytesIO(), {"quality": 95, "subsampling": 0}
        to_pil_image(planes).save(buffer, service.image.upper(), **lossless)
        return buffer.getvalue()
    if service.layout == "nhw" and len(planes) != 1:
        raise UserError("layout: nhw has no place for colours; nhwc, nchw and flat have.")
    last = planes.permute(1, 2, 0)
    shapes = {"nhwc": last, "nchw": planes, "nhw": planes[0], "flat": last.flatten()}
    return np.round(shapes[service.layout].numpy(), 7).tolist()


def document(service: Service, images: Sequence[Any], classes: int) -> Any:
    """The JSON of a request with some images, which :func:`written` made."""
    texts = [base64.b64encode(i).decode() if isinstance(i, bytes) else i for i in images]
    filled = [_filled(service.each, image=text) for text in texts]
    shape = list(np.shape(images)) if service.image == "pixels" else [len(images)]
    whole = _filled(service.extra, shape=shape, classes=classes)
    inner, (*path, last) = whole, service.images.split(".")
    for key in path:
        inner = inner[int(key)] if isinstance(inner, list) else inner.setdefault(key, {})
    inner[int(last) if isinstance(inner, list) else last] = filled[0] if service.single else filled
    return whole


def _filled(template: Any, **values: Any) -> Any:
    """A copy of a document with values in place of their names, texts also within texts."""
    if isinstance(template, dict):
        return {key: _filled(value, **values) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, **values) for value in template]
    for name, value in values.items():
        if template == f"${name}":
            return value
        if isinstance(template, str) and isinstance(value, str):
            template = template.replace(f"${name}", value)
    return template


def rows_of(body: bytes, service: Service, count: int, classes: int) -> list[Any]:
    """The answers to `count` images in the body of a response, one for each."""
    try:
        whole = json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        start = body[:2000].decode(errors="replace")
        raise Odd("it answered no JSON (", error, "), which begins with ", start) from None
    rows = _at(whole, service.answers, "answers")
    if service.one:
        return [rows]
    if not isinstance(rows, list):
        raise Odd(f"{type(rows).__name__} at {service.answers!r}; a list of {count} is needed")
    flat = not any(isinstance(row, list | dict) for row in rows)
    if flat and service.scores is not None and len(rows) == count * classes:
        return [rows[i : i + classes] for i in range(0, len(rows), classes)]
    if len(rows) != count:
        raise Odd(f"{len(rows)} answers at {service.answers!r}; a list of {count} is needed")
    return rows


def answer_of(row: Any, service: Service, class_names: list[str]) -> Row:
    """One answer of a service."""
    if service.label is not None:
        return _class_number(_at(row, service.label, "label"), service, class_names)
    scores = _at(row, str(service.scores), "scores")
    if service.names is not None:
        names = _at(row, service.names, "names")
        if not isinstance(names, list) or not isinstance(scores, list) or len(names) != len(scores):
            raise Odd("names and scores are no lists of the same length")
        pairs = list(zip(names, scores, strict=True))
    elif isinstance(scores, dict):
        pairs = list(scores.items())
    elif not isinstance(scores, list) and len(class_names) != 2:
        raise Odd(f"scores is a {type(scores).__name__}; a list or a mapping is needed")
    elif isinstance(scores, list) and scores and all(isinstance(score, dict) for score in scores):
        keys = (service.label_key, service.score_key)
        pairs = [tuple(_at(score, key, "scores") for key in keys) for score in scores]
    else:
        values = scores if isinstance(scores, list) else [scores]
        values = [_number(value, service.unit) for value in values]
        if len(values) == 1 and len(class_names) == 2 and 0 <= values[0] <= 1:
            return [1 - values[0], values[0]]  # a sigmoid's, which is that of the second class
        return values
    known = [_class_number(name, service, class_names) for name, _ in pairs]
    answer = {i: _number(score, service.unit) for i, (_, score) in zip(known, pairs, strict=True)}
    if not answer or len(answer) < len(pairs):
        raise Odd("a class is named twice" if answer else "no class is named")
    return answer


def _at(value: Any, path: str, field: str) -> Any:
    """What lies at a path in a document."""
    for key in path.split(".") if path else []:
        value = _opened(value)
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            where = f"there is no {key!r} of {field}: {path!r}; the document has "
            raise Odd(where, json.dumps(value)[:2000], " there")
    return _opened(value)


def _opened(value: Any) -> Any:
    """What a text of JSON holds; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            return json.loads(value, object_pairs_hook=once)
    return value


def _number(value: Any, unit: float) -> float:
    found = value
    if isinstance(value, str) and len(value) < 100:
        with suppress(ValueError):
            found = number(value)
    # compared with the largest float, because a whole number of JSON may be too large for one
    right = isinstance(found, int | float) and not isinstance(found, bool)
    if not right or not abs(found) <= sys.float_info.max:
        raise Odd("", value, " is not accepted as a score; a finite number is")
    return float(found) / unit


def _class_number(value: Any, service: Service, class_names: list[str]) -> int:
    value = service.classes.get(value, value) if isinstance(value, str) else value
    if isinstance(value, str) and value in class_names:
        return class_names.index(value)
    scalar = isinstance(value, str | int | float)
    match = NUMBERED.fullmatch(str(value)) if scalar and len(str(value)) < 20 else None
    if not match or int(match[1]) >= len(class_names):
        known = ", ".join(class_names[:5])
        raise Odd("", value, f" is no class; known are {known}, or their numbers; see classes")
    return int(match[1])


def check_unit(rows: list[Row], where: str) -> None:
    """Refuse the first answers of a service if they are percent, before the rest are asked."""
    sums = [sum(r.values() if isinstance(r, dict) else r) for r in rows if not isinstance(r, int)]
    percent = bool(sums) and all(abs(total - 100) < 1 for total in sums)
    refuse(f"{where} answers with scores that sum to about 100", {"; say unit: 100": percent})
