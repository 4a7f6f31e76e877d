"""Ask a prediction service over HTTP, which may be slow, broken or hostile; log every call."""

import base64
import copy
import datetime
import email.utils
import io
import json
import os
import random
import re
import sys
import time
from asyncio import run, sleep
from pathlib import Path
from typing import Annotated, Any, Literal

import aiohttp
import numpy as np
import pydantic
import yaml
from multidict import CIMultiDict, CIMultiDictProxy
from PIL import Image
from pydantic import Field, StrictFloat, StrictInt, model_validator
from tqdm import tqdm
from yarl import URL

from sacutils import files
from sacutils.files import UserError
from sacutils.profiles import Strict, sentence

from .answers import Row, check_row
from .text import once, plain, read_bytes, summary

LARGEST_RESPONSE = 8 * 2**20
LARGEST_WAIT = 60.0
"""Seconds between two tries at most, whatever the service asks for."""
LARGEST_JOURNAL = 2**30
TRY_AGAIN = (429, 500, 502, 503, 504)
"""Status codes after which the same request may succeed."""
NO_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
"""What PyYAML and the check of a service raise."""
VARIABLE = re.compile(r"\$\{(\w+)\}")
SHORTEST_SECRET = 4
"""Words of headers with fewer characters are not hidden: hiding them would garble sentences."""


class Service(Strict):
    """How requests to a service and its responses look; paths are keys separated by dots, list
    places are numbers.

    `body`: ``json`` sends a list of images in one document, ``multipart`` one file field per image,
    ``raw`` a PNG as the body. `image`: how an image is written in JSON, as ``png_base64`` or as
    ``pixels`` (height x width x channels, 0 to 255). `images`: where the list of images goes in the
    document, or the name of the file field; `single` sends one image, no list. `extra`: further
    fields of the document. `headers` may name environment variables as ``${NAME}``.

    `answers`: where the response has its list of answers, one per image (with `single` or ``raw``:
    the one answer). `scores`: where an answer has its scores: a list in the order of the classes, a
    mapping from class to score, or a list of objects with `label_key` and `score_key`. `label`:
    where it has the predicted class. An empty path is the thing itself.

    `rate`: requests per second at most. `timeout`: seconds for a whole request. `retries`: further
    tries of a request.
    """

    body: Literal["json", "multipart", "raw"] = "json"
    image: Literal["png_base64", "pixels"] = "png_base64"
    images: Annotated[str, Field(min_length=1)] = "instances"
    single: bool = False
    batch: Annotated[int, Field(ge=1, le=256)] = 8
    extra: dict[str, pydantic.JsonValue] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    answers: str = "predictions"
    scores: str | None = None
    label: str | None = None
    label_key: str = "label"
    score_key: str = "score"
    rate: Annotated[float, Field(ge=0.001, le=1_000_000)] = 10
    timeout: Annotated[float, Field(gt=0, le=3600)] = 30
    retries: Annotated[int, Field(ge=0, le=20)] = 5

    @model_validator(mode="before")
    @classmethod
    def _headers_are_not_shown(cls, values: dict[str, Any]) -> dict[str, Any]:
        if not all(isinstance(value, str) for value in values.get("headers", {}).values()):
            raise ValueError("each of headers is a text")
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "Service":
        if (self.scores is None) == (self.label is None):
            raise ValueError("one of scores and label must be given")
        if self.one and self.batch != 1:
            raise ValueError("batch must be 1 with single: true or body: raw")
        if self.extra and self.body != "json":
            raise ValueError("extra goes with body: json, the other bodies have no place for it")
        if self.body == "json":
            try:
                _document(self, None)
            except (LookupError, TypeError, ValueError, AttributeError):
                raise ValueError(f"images = {self.images!r} leads to no place of extra") from None
        return self

    @property
    def one(self) -> bool:
        """Whether a request holds one image and its response one answer."""
        return self.single or self.body == "raw"


class Call(pydantic.BaseModel):
    """What counts of a line of the log: answers by probe, if the call succeeded."""

    probes: list[str]
    answers: list[StrictInt | list[StrictFloat] | dict[int, StrictFloat]] | None = None


class Retry(Exception):
    """Why a call failed that may succeed later, and the seconds that the service asks to wait."""


class Odd(Exception):
    """Why a response is refused: our words and, in every second place, what the service sent."""


def load_service(path: Path) -> Service:
    """Read the YAML file that describes a service."""
    try:
        text = read_bytes(path, 2**20).decode()
        # by aliases a few lines could stand for gigabytes
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise yaml.YAMLError("it has an alias; write the value out instead")
        return Service.model_validate(yaml.safe_load(text) or {})
    except pydantic.ValidationError as error:
        raise UserError(plain(sentence(error, str(path)), 400) + ".") from None
    except NO_YAML as error:
        raise UserError(f"{path} is not valid YAML of a service ({summary(error)}).") from None


def ask(
    url: str,
    service: Service,
    probes: dict[str, bytes],
    class_names: list[str],
    journal: Path,
    identity: str,
) -> list[Row]:
    """Answers of a service to probe images, which are PNG files by name.

    Every call is a line of the journal, with its time, probes, status, seconds, bytes and, if it
    succeeded, answers. When the journal is there already, what it answers is not asked again; that
    of another `identity`, the commitment of the fingerprint, is refused.

    `url` is http or https and may name environment variables as ``${NAME}``, which are neither
    logged nor printed. A redirect is not followed.
    """
    address, last = _address(url), 0.0
    headers = {name: _header(name, value) for name, value in service.headers.items()}
    sent = CIMultiDict({"Accept-Encoding": "identity"})
    if service.body == "raw":
        sent["Content-Type"] = "image/png"
    sent.update(headers)
    secrets = _secrets([url, *service.headers.values()], headers)
    known = _open_journal(journal, url, service, identity, len(class_names))
    answered = {name: row for name, row in known.items() if name in probes}
    waiting = [name for name in probes if name not in answered]

    async def call(session: aiohttp.ClientSession, names: list[str], attempt: int) -> list[Row]:
        nonlocal last
        await sleep(max(0.0, last + 1 / service.rate - time.monotonic()))
        last = start = time.monotonic()
        rows: list[Row] = []
        body, where = bytearray(), f"{url} for {names[0]}"
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {"utc": now, "probes": names, "attempt": attempt}
        try:
            data = _body(service, [probes[name] for name in names])
            request = session.post(address, headers=sent, allow_redirects=False, **data)
            async with request as response:
                entry["status"] = response.status
                async for part in response.content.iter_any():
                    body += part
                    if len(body) > LARGEST_RESPONSE:
                        response.close()
                        raise Odd(f"it sent more than {LARGEST_RESPONSE:,} bytes and was cut off")
            _check_status(response.status, response.headers)
            for name, row in zip(names, _rows(body, service, len(names)), strict=True):
                where = f"{url} for {name}"
                rows.append(check_row(_answer(row, service, class_names), len(class_names), where))
            entry["answers"] = rows
        except (TimeoutError, aiohttp.ClientError) as error:
            slow = f"no complete response within {service.timeout:g} s"
            entry["error"] = slow if isinstance(error, TimeoutError) else type(error).__name__
            raise Retry(entry["error"], 0.0) from None
        except (Retry, UserError) as error:
            entry["error"] = error.args[0]
            raise
        except Odd as error:
            parts = [_shown(secrets, p) if i % 2 else p for i, p in enumerate(error.args)]
            entry["error"] = f"{where}: {''.join(parts)}."
            raise UserError(entry["error"]) from None
        finally:
            entry |= {"seconds": round(time.monotonic() - start, 3), "bytes": len(body)}
            if "answers" in entry or "error" in entry:
                _append(journal, entry)
        return rows

    async def call_all() -> None:
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=service.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # nothing compressed is asked for, so nothing can swell
            trust_env=False,  # no proxies, no passwords from .netrc
        ) as session:
            for first in range(0, len(waiting), service.batch):
                names = waiting[first : first + service.batch]
                for attempt in range(service.retries + 1):
                    try:
                        rows = await call(session, names, attempt + 1)
                        break
                    except Retry as error:
                        problem, wait = error.args
                        if attempt < service.retries:
                            await sleep(min(LARGEST_WAIT, max(wait, random.uniform(0, 2**attempt))))
                else:
                    missing = f"{url} did not answer {names[0]} after {service.retries + 1} tries"
                    raise UserError(
                        f"{missing} ({problem}); {len(answered)} of {len(probes)} probes are kept "
                        f"in {journal.name}, and the same command goes on from there."
                    )
                answered.update(zip(names, rows, strict=True))
                bar.update(len(names))

    with tqdm(total=len(probes), initial=len(answered), unit="probe", disable=None) as bar:
        run(call_all())
    return [answered[name] for name in probes]


def _body(service: Service, images: list[bytes]) -> dict[str, Any]:
    """The body of a request as aiohttp takes it: ``data`` or ``json``."""
    if service.body == "raw":
        return {"data": images[0]}
    if service.body == "multipart":
        form = aiohttp.FormData()
        for i, content in enumerate(images):
            form.add_field(service.images, content, filename=f"{i}.png", content_type="image/png")
        return {"data": form}
    written = [_written(content, service) for content in images]
    return {"json": _document(service, written[0] if service.single else written)}


def _address(url: str) -> URL:
    """The address that is asked; refused if it is none of http or https, or holds a password."""
    address = _expanded(url, "The URL")
    try:
        parsed = URL(address)
        usable = parsed.scheme in ("http", "https") and parsed.host and parsed.port
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", address):
        shown = "" if "@" in url else f" {_shown([], url)}"  # before an @ there may be a password
        raise UserError(f"The URL{shown} is not accepted; http://host/path and https:// are.")
    if parsed.user is not None or parsed.password is not None:
        raise UserError("The URL holds a user name or password; put them into headers instead.")
    return parsed


def _expanded(value: str, where: str) -> str:
    """Text with environment variables in place of ``${NAME}``."""
    missing = [name for name in VARIABLE.findall(value) if name not in os.environ]
    if missing:
        raise UserError(f"{where} needs the environment variable {missing[0]}, which is not set.")
    return VARIABLE.sub(lambda match: os.environ[match[1]], value)


def _header(name: str, template: str) -> str:
    """A header's value as it is sent."""
    value = _expanded(template, f"headers: {name}")
    named = re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII)
    if not named or not (value.isascii() and value.isprintable() and value == value.strip()):
        what = f"headers: {plain(name)!r} or its value cannot be sent"
        raise UserError(f"{what}; a line of ASCII without space at its ends is accepted.")
    return value


def _secrets(templates: list[str], headers: dict[str, str]) -> list[str]:
    """Words of headers and variables that no sentence and no log may show, the longest first."""
    variables = [os.environ[name] for value in templates for name in VARIABLE.findall(value)]
    words = {word for value in [*headers.values(), *variables] for word in value.split()}
    return sorted((word for word in words if len(word) >= SHORTEST_SECRET), key=len, reverse=True)


def _shown(secrets: list[str], value: Any) -> str:
    """What a service sent, quoted and short, without control characters and secrets."""
    if isinstance(value, dict | list):
        return f"a {type(value).__name__}"
    text = str(value)
    for secret in secrets:
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    return repr(re.sub(r"\. +", ".", text[:60]))


def _open_journal(
    journal: Path, url: str, service: Service, identity: str, classes: int
) -> dict[str, Row]:
    """Answers that a journal holds already; begins it if it is not there."""
    # rate, time and tries do not decide which answers come back, and may change between two runs
    mapping = service.model_dump(exclude={"rate", "timeout", "retries", "batch"})
    head = {"format": "sac-calls-1", "fingerprint": identity, "url": url}
    head["service"] = files.digest_of(mapping)
    there = journal.exists() or journal.is_symlink()
    content = read_bytes(journal, LARGEST_JOURNAL) if there else b""
    whole = content[: content.rfind(b"\n") + 1]
    if not content.startswith(b'{"format": "sac-calls-1"'[: len(content)]):
        raise UserError(f"{journal} is damaged or no log of calls; delete it, or name another.")
    if whole != content:  # killed while a line was written
        os.truncate(journal, len(whole))
    if not whole:
        journal.parent.mkdir(parents=True, exist_ok=True)
        _append(journal, head)
        return {}
    answered = {}
    try:
        first, *lines = whole.splitlines()
        known = json.loads(first)
        for line in map(Call.model_validate_json, lines):
            if line.answers is not None:
                rows = [check_row(row, classes, "the log") for row in line.answers]
                answered |= zip(line.probes, rows, strict=True)
    except (ValueError, RecursionError, UserError):
        raise UserError(f"{journal} is damaged; delete it, and all is asked anew.") from None
    for key, value in head.items():
        if known.get(key) != value:
            what = f"its {key} is {plain(known.get(key))!r}, not {value!r}"
            raise UserError(f"{journal} is the log of another query: {what}.")
    return answered


def _append(journal: Path, entry: dict[str, Any]) -> None:
    with open(journal, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _written(content: bytes, service: Service) -> Any:
    """An image as JSON holds it."""
    if service.image == "png_base64":
        return base64.b64encode(content).decode()
    with Image.open(io.BytesIO(content)) as image:
        return np.atleast_3d(np.array(image)).tolist()


def _document(service: Service, written: Any) -> Any:
    """The JSON of a request: `extra` with the images at their path, perhaps through its lists."""
    document: Any = copy.deepcopy(service.extra)
    inner, (*path, last) = document, service.images.split(".")
    for key in path:
        inner = inner[int(key)] if isinstance(inner, list) else inner.setdefault(key, {})
    inner[int(last) if isinstance(inner, list) else last] = written
    return document


def _check_status(status: int, headers: CIMultiDictProxy[str]) -> None:
    if status in TRY_AGAIN:
        raise Retry(f"status {status}", _seconds(headers.get("Retry-After")))
    if 300 <= status < 400:
        location = headers.get("Location", "nothing")
        raise Odd(f"it redirects ({status}) to ", location, "; give the final address")
    if not 200 <= status < 300:
        raise Odd(f"status {status}; 200 is expected, so check address and headers")
    encoding = headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise Odd("it answered in the encoding ", encoding, ", which was not asked for")


def _seconds(retry_after: str | None) -> float:
    """Seconds from now that a Retry-After header means; 0 if there is none or it makes no sense."""
    try:
        if retry_after is None or retry_after.strip().isdigit():
            return float(retry_after or 0)
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _rows(body: bytearray, service: Service, count: int) -> list[Any]:
    """The list of answers in a response."""
    try:
        document = json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        start = body[:2000].decode(errors="replace")
        raise Odd("it answered no JSON (", error, "), which begins with ", start) from None
    rows = _at(document, service.answers, "answers")
    rows = [rows] if service.one else rows
    if not isinstance(rows, list) or len(rows) != count:
        what = f"{len(rows)} answers" if isinstance(rows, list) else type(rows).__name__
        raise Odd(f"{what} at {service.answers!r}; a list of {count} is needed")
    return rows


def _at(value: Any, path: str, field: str) -> Any:
    """What lies at a path in a document."""
    for key in path.split(".") if path else []:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            has = ", ".join(list(value)[:5]) if isinstance(value, dict) else type(value).__name__
            raise Odd(f"there is no {key!r} of {field}: {path!r}; the document has ", has, " there")
    return value


def _answer(row: Any, service: Service, class_names: list[str]) -> Row:
    """One answer of a service."""
    if service.label is not None:
        return _class_number(_at(row, service.label, "label"), class_names)
    scores = _at(row, str(service.scores), "scores")
    if isinstance(scores, dict):
        pairs = list(scores.items())
    elif not isinstance(scores, list):
        raise Odd(f"scores is a {type(scores).__name__}; a list or a mapping is needed")
    elif scores and all(isinstance(score, dict) for score in scores):
        keys = (service.label_key, service.score_key)
        pairs = [tuple(_at(score, key, "scores") for key in keys) for score in scores]
    else:
        return [_number(value) for value in scores]
    answer = {_class_number(name, class_names): _number(value) for name, value in pairs}
    if not answer or len(answer) < len(pairs):
        raise Odd("a class is named twice" if answer else "no class is named")
    return answer


def _number(value: Any) -> float:
    # compared with the largest float, because a whole number of JSON may be too large for one
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not abs(value) <= sys.float_info.max:
        raise Odd("", value, " is not accepted as a score; a finite number is")
    return float(value)


def _class_number(value: Any, class_names: list[str]) -> int:
    if isinstance(value, str) and value in class_names:
        return class_names.index(value)
    digits = isinstance(value, str) and value.isdecimal() and len(value) < 8
    number = int(value) if digits else value
    if type(number) is not int or not 0 <= number < len(class_names):
        known = ", ".join(class_names[:5])
        raise Odd("", value, f" is no class; known are {known}, or their numbers")
    return number
