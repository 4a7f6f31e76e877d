"""Ask a prediction service over HTTP, one that may be slow, broken or hostile, and keep a log of every call."""

import base64
import copy
import datetime
import email.utils
import io
import json
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import numpy as np
import pydantic
import requests
import tenacity
import urllib3
import yaml
from PIL import Image
from pydantic import Field, model_validator
from tqdm import tqdm

from . import answers, artefacts
from .artefacts import UserError
from .profiles import Strict

LARGEST_RESPONSE = 8 * 2**20
LARGEST_WAIT = 60.0
"""Seconds between two tries at most, whatever the service asks for."""
LARGEST_JOURNAL = 2**30
MOST_REDIRECTS = 5
TRY_AGAIN = (429, 500, 502, 503, 504)
"""Status codes after which the same request may succeed."""
VARIABLE = re.compile(r"\$\{(\w+)\}")
ROUNDING = 1e-6
"""How far a probability may lie outside 0 to 1."""
SHORTEST_SECRET = 4
"""Words of headers with fewer characters are not hidden: they are no secrets, and hiding them would garble sentences."""
Show = Callable[[Any], str]
"""Quotes what a service sent, without secrets."""


class Service(Strict):
    """How requests to a service and its responses look; paths are keys separated by dots, list places are numbers.

    `body`: ``json`` sends a list of images in one document, ``multipart`` one file field per image, ``raw`` a PNG as the body.
    `image`: how an image is written in JSON, as ``png_base64`` or as ``pixels`` (height x width x channels, 0 to 255).
    `images`: where the list of images goes in the document, or the name of the file field; `single` sends one image, no list.
    `extra`: further fields of the document. `headers` may name environment variables as ``${NAME}``.
    `answers`: where the response has its list of answers, one per image (with `single` or ``raw``: the one answer).
    `scores`: where an answer has its scores: a list in the order of the classes, a mapping from class to score, or a list of
    objects with `label_key` and `score_key`. `label`: where it has the predicted class. An empty path is the thing itself.
    `rate`: requests per second at most. `timeout`: seconds for a whole request. `retries`: further tries of a request.
    `redirect_hosts`: hosts that a redirect may lead to besides the service's own.
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
    redirect_hosts: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits_together(self) -> "Service":
        if (self.scores is None) == (self.label is None):
            raise ValueError("one of scores and label must be given")
        if (self.single or self.body == "raw") and self.batch != 1:
            raise ValueError("batch must be 1 with single: true or body: raw")
        if self.extra and self.body != "json":
            raise ValueError("extra goes with body: json, the other bodies have no place for it")
        if self.body == "json":
            try:
                _document(self, None)
            except (LookupError, TypeError, ValueError, AttributeError):
                raise ValueError(f"images = {self.images!r} leads through a part of extra that has no such place") from None
        return self

    @property
    def one(self) -> bool:
        """Whether a request holds one image and its response one answer."""
        return self.single or self.body == "raw"


class Retry(Exception):
    """A call that failed and may succeed when repeated; `after` is the wait in seconds that the service asks for."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class Response(NamedTuple):
    """Status, headers and body of a response."""

    status: int
    headers: Any
    body: bytes


def load_service(path: Path) -> Service:
    """Read the YAML file that describes a service.

    Raises
    ------
    UserError
        If it is missing, is no YAML, or a field is not accepted.
    """
    answers.regular(path, 2**20)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Plain)
        return Service.model_validate(values if values is not None else {})
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML ({answers.first_problem(error)}).") from None
    except pydantic.ValidationError as error:
        raise UserError(f"{path} is not accepted: {_problem(error)}.") from None
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:  # of tags with unfit values
        raise UserError(f"{path} is not accepted ({answers.first_problem(error)}).") from None


class _Plain(yaml.SafeLoader):
    """YAML without aliases, by which a few lines could stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias; write the value out instead")
        return super().compose_node(parent, index)


def _problem(error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    field, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"there is no field {field!r}, known are {', '.join(Service.model_fields)}"
    if not field or first["loc"][0] == "headers":  # the value may hold a secret
        return f"{field or 'its fields'}: {message}"
    return f"{field} = {_shown([], first['input'])}: {message}"


def ask(
    url: str, service: Service, names: list[str], pngs: list[bytes], class_names: list[str], journal: Path, identity: str
) -> list[Any]:
    """Answers of a service to probe images.

    Every call is a line of the journal, with its time, probes, status, seconds, bytes and, if it succeeded, answers. When the
    journal is there already, what it answers is not asked again.

    Parameters
    ----------
    url : str
        http or https; may name environment variables as ``${NAME}``, which are neither logged nor printed.
    service : Service
        How to ask.
    names : list of str
        Name of each probe.
    pngs : list of bytes
        The probes as PNG files.
    class_names : list of str
        Names of the classes in the order of the owner's outputs.
    journal : pathlib.Path
        The log.
    identity : str
        What is asked, the commitment of the fingerprint: a journal of another one is refused.

    Returns
    -------
    list
        Per probe a list of scores, a mapping from class number to score, or a class number.

    Raises
    ------
    UserError
        If the service does not answer, answers something that is not accepted, or redirects elsewhere. What was answered before
        stays in the journal.
    """
    address = _expanded(url, "The URL")
    _check_url(address, url)
    headers = {name: _filled(value, name) for name, value in service.headers.items()}
    show = partial(_shown, _secrets([url, *service.headers.values()], headers))
    found = _open_journal(journal, url, service, identity, names, len(class_names))
    waiting = [i for i, name in enumerate(names) if name not in found]
    session = requests.Session()
    session.trust_env = False  # no proxies, no passwords from .netrc
    # requests reads a redirect's body without a limit, and trusts its address, even when it is told not to follow
    session.get_redirect_target = lambda _: None
    last = 0.0

    def pace() -> None:
        nonlocal last
        time.sleep(max(0.0, last + 1 / service.rate - time.monotonic()))
        last = time.monotonic()

    with tqdm(total=len(names), initial=len(found), unit="probe", disable=None) as bar:
        for start in range(0, len(waiting), service.batch):
            part = waiting[start : start + service.batch]
            probes, images = [names[i] for i in part], [pngs[i] for i in part]
            attempts = 0

            def call(probes: list[str] = probes, images: list[bytes] = images) -> list[Any]:
                nonlocal attempts
                attempts += 1
                pace()
                start, received = time.monotonic(), bytearray()
                entry: dict[str, Any] = {"utc": _now(), "probes": probes, "attempt": attempts}
                try:
                    response = _send(session, address, url, service, headers, images, received, pace, show)
                    entry["status"] = response.status
                    rows = _understood(response, service, url, probes, class_names, show)
                    entry["answers"] = rows
                except (Retry, UserError) as error:
                    entry["error"] = str(error)
                    raise
                finally:
                    entry |= {"seconds": round(time.monotonic() - start, 3), "bytes": len(received)}
                    if "answers" in entry or "error" in entry:
                        _append(journal, entry)
                return rows

            retrying = tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(Retry),
                stop=tenacity.stop_after_attempt(service.retries + 1),
                wait=_wait,
                sleep=time.sleep,
                reraise=True,
            )
            try:
                rows = retrying(call)
            except Retry as error:
                raise UserError(
                    f"{url} did not answer {probes[0]} after {service.retries + 1} tries ({error}); {len(found)} of "
                    f"{len(names)} probes are answered and kept in {journal.name}, and the same command goes on from there."
                ) from None
            found |= dict(zip(probes, rows, strict=True))
            bar.update(len(part))
    return [found[name] for name in names]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds before the next try: doubled each time, with a random part, and at least what the service asks for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.after if isinstance(error, Retry) else 0.0
    return min(LARGEST_WAIT, max(asked, tenacity.wait_random_exponential(multiplier=0.5, max=LARGEST_WAIT)(state)))


def _address(url: str, base: str = "") -> SplitResult | None:
    """The parts of a URL as requests will use them, None if it is none.

    Another parser may see another host in the same characters, so what is checked here is what requests made of them.
    """
    try:
        return urlsplit(str(requests.Request("POST", urljoin(base, url)).prepare().url))
    except ValueError:  # also the kind of what requests raises
        return None


def _same_place(old: SplitResult, new: SplitResult) -> bool:
    """Whether an address has the scheme, host and port of another one, or is its upgrade from http to https."""
    if old.hostname != new.hostname:
        return False
    standard = {"http": 80, "https": 443}
    same_port = (old.port or standard[old.scheme]) == (new.port or standard[new.scheme])
    return same_port if old.scheme == new.scheme else (old.scheme, new.scheme) == ("http", "https")


def _check_url(address: str, url: str) -> None:
    """Refuse an address that is none of http or https; `url` is the same with the names of its variables."""
    parts = _address(address)
    if parts is None or parts.scheme not in ("http", "https") or re.search(r"\s", address):
        shown = "" if "@" in url else f" {_shown([], url)}"  # what stands before an @ may be a password
        raise UserError(f"The URL{shown} is not accepted; only http://host/path and https://host/path are.")
    if "@" in parts.netloc:
        raise UserError("The URL holds a user name or password; put them into headers of the service file, as ${NAME}.")


def _expanded(value: str, where: str) -> str:
    """Text with environment variables in place of ``${NAME}``."""
    missing = [name for name in VARIABLE.findall(value) if name not in os.environ]
    if missing:
        raise UserError(f"{where} needs the environment variable {missing[0]}, which is not set.")
    return VARIABLE.sub(lambda match: os.environ[match[1]], value)


def _filled(value: str, header: str) -> str:
    """A header's value as it is sent."""
    value = _expanded(value, f"headers: {header}")
    try:
        requests.utils.check_header_validity((header, value))
        header.encode("ascii"), value.encode("latin-1")
    except ValueError:  # says nothing of the value, which may be a secret
        raise UserError(
            f"headers: {header!r} or its value cannot be sent; one line of Latin letters without space at its ends is accepted."
        ) from None
    return value


def _secrets(templates: list[str], headers: dict[str, str]) -> list[str]:
    """Words that must not appear in sentences and in the log: of headers and of environment variables, the longest first."""
    variables = [os.environ[name] for value in templates for name in VARIABLE.findall(value)]
    words = {word for value in [*headers.values(), *variables] for word in value.split() if len(word) >= SHORTEST_SECRET}
    return sorted(words, key=len, reverse=True)


def _shown(secrets: list[str], found: Any) -> str:
    """What a service sent, fit for a sentence: quoted and short, without control characters and secrets."""
    if isinstance(found, dict | list):
        return f"a {type(found).__name__}"
    text = str(found)
    for secret in secrets:
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)  # hosts are in lower case
    return repr(re.sub(r"\. +", ".", text[:60]))


def _mapping_digest(service: Service) -> str:
    """Of what decides which answers come back; rate, time and tries may change between two runs."""
    return artefacts.digest_of(service.model_dump(exclude={"rate", "timeout", "retries", "batch"}))


def _open_journal(journal: Path, url: str, service: Service, identity: str, names: list[str], classes: int) -> dict[str, Any]:
    """Answers that a journal holds already; begins it if it is not there."""
    head = {"format": "sac-calls-1", "fingerprint": identity, "url": url, "service": _mapping_digest(service)}
    if not journal.exists() and not journal.is_symlink():
        journal.parent.mkdir(parents=True, exist_ok=True)
        _append(journal, head)
        return {}
    answers.regular(journal, LARGEST_JOURNAL)
    content = journal.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if not content.startswith(b'{"format": "sac-calls-1"'[: len(content)]):
        raise UserError(f"{journal} is damaged or no log of calls; delete it, or give the answers another name.")
    if whole != content:  # killed while a line was written
        with open(journal, "r+b") as file:
            file.truncate(len(whole))
    if not whole:
        _append(journal, head)
        return {}
    try:
        first, *lines = [dict(json.loads(line)) for line in whole.splitlines()]
        known = {
            name: _kept(row, classes)
            for line in lines
            if "answers" in line
            for name, row in zip(line["probes"], line["answers"], strict=True)
        }
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UserError(f"{journal} is damaged; delete it, and all probes are asked anew.") from None
    for key, value in head.items():
        if first.get(key) != value:
            raise UserError(
                f"{journal} is the log of another query: its {key} is {str(first.get(key))[:60]!r}, not {value[:60]!r}."
            )
    return {name: row for name, row in known.items() if name in names}


def _append(journal: Path, entry: dict[str, Any]) -> None:
    with open(journal, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _kept(row: Any, classes: int) -> Any:
    """An answer as it came out of a journal, in which JSON has turned the numbers of classes into strings.

    Raises
    ------
    ValueError
        If it is none that this program wrote.
    """
    kept = {int(key): value for key, value in row.items()} if isinstance(row, dict) else row
    numbers = list(kept) if isinstance(kept, dict) else [kept] if type(kept) is int else []
    scores = list(kept.values()) if isinstance(kept, dict) else kept if isinstance(kept, list) else []
    complete = len(scores) == classes
    bounds = (-inf, inf) if complete else (-ROUNDING, 1 + ROUNDING)
    right = all(type(s) is float and isfinite(s) and bounds[0] <= s <= bounds[1] for s in scores)
    if not ((complete or numbers) and right and all(0 <= n < classes for n in numbers)):
        raise ValueError
    return kept


def _image(content: bytes, service: Service) -> Any:
    if service.image == "png_base64":
        return base64.b64encode(content).decode()
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.array(image)
    return (pixels[..., None] if pixels.ndim == 2 else pixels).tolist()


def _request(service: Service, images: list[bytes]) -> dict[str, Any]:
    """The body of a request, as keyword arguments of requests."""
    match service.body:
        case "raw":
            return {"data": images[0], "headers": {"Content-Type": "image/png"}}
        case "multipart":
            return {"files": [(service.images, (f"{i}.png", content, "image/png")) for i, content in enumerate(images)]}
    written = [_image(content, service) for content in images]
    return {"json": _document(service, written[0] if service.single else written)}


def _document(service: Service, written: Any) -> Any:
    """The JSON of a request: the further fields with the images at their path, which may lead through lists of `extra`."""
    document: Any = copy.deepcopy(service.extra)
    inner, (*path, last) = document, service.images.split(".")
    for key in path:
        inner = inner[int(key)] if isinstance(inner, list) else inner.setdefault(key, {})
    inner[int(last) if isinstance(inner, list) else last] = written
    return document


def _send(
    session: requests.Session,
    address: str,
    url: str,
    service: Service,
    headers: dict[str, str],
    images: list[bytes],
    received: bytearray,
    pace: Callable[[], None],
    show: Show,
) -> Response:
    """One request, redirects on the service's own host included; `received` is filled with the body.

    Raises
    ------
    Retry
        If it may succeed later.
    UserError
        If it redirects elsewhere or answers without end.
    """
    home, body, deadline = _address(address), _request(service, images), time.monotonic() + service.timeout
    target = home
    for _ in range(MOST_REDIRECTS + 1):
        own = headers if _same_place(home, target) else {}  # secrets never go to another host or port
        arguments = body | {"headers": body.get("headers", {}) | own}
        received.clear()
        fetch = partial(_fetch, session, target.geturl(), url, service.timeout, deadline, arguments, received)
        response = _within(deadline, service.timeout, fetch)
        if response.status not in (301, 302, 303, 307, 308):
            return response
        target = _redirected(target, response, url, service, show)
        before = time.monotonic()
        pace()  # what is followed is one more request
        deadline += time.monotonic() - before
    raise UserError(f"{url} redirected more than {MOST_REDIRECTS} times; give the final address.")


def _redirected(old: SplitResult, response: Response, url: str, service: Service, show: Show) -> SplitResult:
    """Where a redirect leads, if it may be followed."""
    if response.status not in (307, 308):
        raise UserError(f"{url} answered {response.status}, which would drop the images; give the final address.")
    location = response.headers.get("Location", "")
    new = _address(location, old.geturl())
    if not location or new is None or "@" in new.netloc:
        raise UserError(f"{url} redirects to {show(location)}, which cannot be followed; give the final address.")
    if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
        raise UserError(f"{url} redirects from {old.scheme} to {show(new.scheme)}; that is not followed.")
    if not _same_place(old, new) and new.hostname not in [host.lower() for host in service.redirect_hosts]:
        raise UserError(
            f"{url} redirects to another host, {show(new.netloc)}; allow it with redirect_hosts, or give the final address."
        )
    return new


def _within(deadline: float, timeout: float, fetch: Callable[[], Response]) -> Response:
    """A response, if it is complete before the deadline: a server that sends byte after byte is waited for no longer either."""
    result: queue.SimpleQueue[Response | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            result.put(fetch())
        except Exception as error:
            result.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        found = result.get(timeout=max(0.01, deadline - time.monotonic()))
    except queue.Empty:
        raise _late(timeout) from None
    if isinstance(found, requests.RequestException | urllib3.exceptions.HTTPError):
        raise Retry(type(found).__name__) from None
    if isinstance(found, Exception):
        raise found
    return found


def _late(timeout: float) -> Retry:
    return Retry(f"no complete response within {timeout:g} s")


def _fetch(
    session: requests.Session,
    target: str,
    url: str,
    timeout: float,
    deadline: float,
    arguments: dict[str, Any],
    received: bytearray,
) -> Response:
    """A response as a whole, with a limit on its unpacked size."""
    with session.post(target, allow_redirects=False, stream=True, timeout=timeout, **arguments) as response:
        # read1 gives what has come so far, so that a slow body is counted and its thread ends
        while part := response.raw.read1(2**16, decode_content=True):
            received += part
            if time.monotonic() > deadline:
                raise _late(timeout)
            if len(received) > LARGEST_RESPONSE:
                raise UserError(f"{url} sent more than {LARGEST_RESPONSE:,} bytes in one response; it was cut off.")
        return Response(response.status_code, response.headers, bytes(received))


def _understood(
    response: Response, service: Service, url: str, probes: list[str], class_names: list[str], show: Show
) -> list[Any]:
    """The answers in a response."""
    if response.status in TRY_AGAIN:
        raise Retry(f"status {response.status}", _seconds(response.headers.get("Retry-After")))
    where = f"{url} for {probes[0]}"
    if not 200 <= response.status < 300:
        raise UserError(
            f"{where} answered with status {response.status}; 200 is expected, so check the address and the headers."
        )
    try:
        document = json.loads(response.body, object_pairs_hook=artefacts.once)
    except (ValueError, RecursionError) as error:
        start = show(response.body[:2000].decode(errors="replace"))
        raise UserError(f"{where} answered no JSON ({show(error)}), it begins with {start}.") from None
    found = _at(document, service.answers, where, "answers", show)
    if service.one:
        found = [found]
    if not isinstance(found, list) or len(found) != len(probes):
        what = f"{len(found)} answers" if isinstance(found, list) else type(found).__name__
        raise UserError(f"{where}: {what} at {service.answers!r}; a list of {len(probes)} is needed, one for each image.")
    return [_answer(row, service, f"{url} for {probe}", class_names, show) for row, probe in zip(found, probes, strict=True)]


def _seconds(retry_after: str | None) -> float:
    """Seconds from now that a Retry-After header means; 0 if there is none or it makes no sense."""
    try:
        if retry_after is None or retry_after.strip().isdigit():
            return float(retry_after or 0)
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _at(value: Any, path: str, where: str, field: str, show: Show) -> Any:
    """What lies at a path in a document."""
    for key in path.split(".") if path else []:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            has = f"has {show(', '.join(list(value)[:5]))}" if isinstance(value, dict) else f"is a {type(value).__name__}"
            raise UserError(f"{where}: there is no {key!r} of {field}: {path!r}; the document {has} there.")
    return value


def _answer(row: Any, service: Service, where: str, class_names: list[str], show: Show) -> Any:
    """One answer: a list of scores, a mapping from class number to score, or a class number."""
    if service.label is not None:
        return _class_number(_at(row, service.label, where, "label", show), where, class_names, show)
    scores = _at(row, str(service.scores), where, "scores", show)
    if isinstance(scores, dict):
        pairs = list(scores.items())
    elif isinstance(scores, list) and scores and all(isinstance(each, dict) for each in scores):
        keys = (service.label_key, service.score_key)
        pairs = [tuple(_at(each, key, where, "scores", show) for key in keys) for each in scores]
    elif isinstance(scores, list):
        if len(scores) != len(class_names):
            raise UserError(f"{where}: {len(scores)} scores; {len(class_names)} are needed, one for each class.")
        return [_number(value, where, show) for value in scores]
    else:
        raise UserError(f"{where}: scores is a {type(scores).__name__}; a list or a mapping is needed.")
    numbers = [_class_number(name, where, class_names, show) for name, _ in pairs]
    if not numbers or len(set(numbers)) != len(numbers):
        raise UserError(f"{where}: {'a class is named twice' if numbers else 'no class is named'}; each may be named once.")
    row = {number: _number(value, where, show) for number, (_, value) in zip(numbers, pairs, strict=True)}
    odd = [value for value in row.values() if not -ROUNDING <= value <= 1 + ROUNDING]
    if odd and len(row) < len(class_names):  # a class that is not named counts as 0, below which no logit would be
        raise UserError(
            f"{where}: {len(row)} of {len(class_names)} classes have scores, one is {show(odd[0])}; "
            "from 0 to 1 are needed unless all classes are named."
        )
    return row


def _number(value: Any, where: str, show: Show) -> float:
    # compared with the largest float, because a whole number of JSON may be too large for one
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise UserError(f"{where}: {show(value)} is not accepted as a score; a finite number is.")
    return float(value)


def _class_number(value: Any, where: str, class_names: list[str], show: Show) -> int:
    if isinstance(value, str) and value in class_names:
        return class_names.index(value)
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 8 else value
    if type(number) is not int or not 0 <= number < len(class_names):
        raise UserError(
            f"{where}: {show(value)} is no class of this fingerprint; it has {', '.join(class_names[:5])}, or their numbers."
        )
    return number
