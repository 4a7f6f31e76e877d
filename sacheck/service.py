"""Ask a prediction service over HTTP, which may be slow, broken or hostile; log every call."""

import datetime
import email.utils
import json
import os
import random
import re
import ssl
import time
import zlib
from asyncio import get_running_loop, run, sleep
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pydantic
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import StrictFloat, StrictInt
from tqdm import tqdm
from yarl import URL

from sacutils import files
from sacutils.files import UserError

from .answers import Row, check_row
from .description import Odd, Service, answer_of, check_unit, document, rows_of, written
from .text import plain, read_bytes, say, summary

LARGEST_RESPONSE = 8 * 2**20
LARGEST_WAIT = 900
"""Seconds that a service may ask to be left alone; if it asks for more, the query ends there."""
LARGEST_BACKOFF = 60.0
"""Seconds between two tries at most, where the service asks for nothing."""
LARGEST_JOURNAL = 2**30
TRY_AGAIN = (429, 500, 502, 503, 504)
"""Status codes after which the same request may succeed."""
VARIABLE = re.compile(r"\$\{(\w+)\}")
SHORTEST_SECRET = 4
"""Words of headers with fewer characters are not hidden: hiding them would garble sentences."""


class Call(pydantic.BaseModel):
    """What counts of a line of the log: answers by probe, if the call succeeded."""

    probes: list[str]
    answers: list[StrictInt | list[StrictFloat] | dict[int, StrictFloat]] | None = None


class Retry(Exception):
    """Why a call failed that may succeed later, and the seconds that the service asks to wait."""


class Line(NamedTuple):
    """How a service is asked: its address, the headers as they are sent, the words that no
    sentence may show, and the certificates that are trusted.
    """

    address: URL
    headers: CIMultiDict[str]
    secrets: list[str]
    trust: ssl.SSLContext | bool


class Response(NamedTuple):
    """What came back, unpacked."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


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
    logged nor printed. A redirect is not followed. One process at a time keeps a journal: others
    are refused, for they would ask the same again.
    """
    line = _line(url, service)
    busy = f"Another sacheck query keeps {journal}; wait until it has ended, or give another --out."
    last = 0.0

    async def call(session: aiohttp.ClientSession, names: list[str], attempt: int) -> list[Row]:
        nonlocal last
        await sleep(max(0.0, last + 1 / service.rate - time.monotonic()))
        last = start = time.monotonic()
        rows: list[Row] = []
        body, where = bytearray(), f"{url} for {names[0]}"
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {"utc": now, "probes": names, "attempt": attempt}
        try:
            images = [written(probes[name], service) for name in names]
            data = _body(service, images, len(class_names))
            response = await _post(session, line, data, service.timeout, body, entry)
            found = _rows(response, line, service, len(names), len(class_names))
            for name, row in zip(names, found, strict=True):
                where, answer = f"{url} for {name}", answer_of(row, service, class_names)
                rows.append(check_row(answer, len(class_names), where))
            if not answered:
                check_unit(rows, url)
            entry["answers"] = rows
        except (Retry, UserError) as error:
            entry["error"] = error.args[0]
            raise
        except Odd as error:
            entry["error"] = _told(error, line, where)
            raise UserError(entry["error"]) from None
        finally:
            entry |= {"seconds": round(time.monotonic() - start, 3), "bytes": len(body)}
            if "answers" in entry or "error" in entry:
                _append(journal, entry)
        return rows

    async def call_all() -> None:
        async with _session(service, line) as session:
            for first in range(0, len(waiting), service.batch):
                names = waiting[first : first + service.batch]
                for attempt in range(service.retries + 1):
                    try:
                        rows = await call(session, names, attempt + 1)
                        break
                    except Retry as error:
                        problem, wait = error.args
                        if wait > LARGEST_WAIT:
                            problem += f", and asks to wait {wait:,.0f} s"
                        if attempt == service.retries or wait > LARGEST_WAIT:
                            missing = f"{url} did not answer {names[0]} after {attempt + 1} tries"
                            raise UserError(
                                f"{missing} ({problem}); {len(answered)} of {len(probes)} probes "
                                f"are kept in {journal.name}, and the same command goes on from "
                                "there."
                            ) from None
                        backoff = random.uniform(0, min(2**attempt, LARGEST_BACKOFF))
                        bar.set_postfix_str(f"waiting {max(wait, backoff):.0f} s")
                        await sleep(max(wait, backoff))
                        bar.set_postfix_str("")
                answered.update(zip(names, rows, strict=True))
                bar.update(len(names))

    with files.locked(journal, busy):
        known = _open_journal(journal, url, service, identity, len(class_names))
        answered = {name: row for name, row in known.items() if name in probes}
        waiting = [name for name in probes if name not in answered]
        with tqdm(total=len(probes), initial=len(answered), unit="probe", disable=None) as bar:
            _finished(call_all())
    return [answered[name] for name in probes]


def _finished(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, also where a loop runs already, as in a cell of a notebook."""
    try:
        get_running_loop()
    except RuntimeError:
        return run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run, work).result()


def try_one(
    url: str,
    service: Service,
    probes: dict[str, bytes],
    class_names: list[str],
    say: Callable[[str], None] = say,
) -> list[Row]:
    """Send one request with some probes, and say in lines what went out and what came back, the
    latter shortened and neither with a secret; returns the answers as they were understood.

    No log is written, so a description can be tried and mended.
    """
    line = _line(url, service)
    images = [written(content, service) for content in probes.values()]
    data = _body(service, images, len(class_names))
    say(f"POST {url}")
    for name, value in line.headers.items():
        say(f"  {name}: {_hidden(line.secrets, value)}")
    sizes = f"{len(images)} {service.image}, the first of {len(images[0]):,} bytes"
    form = f"a form with the field {service.images!r}, " if service.body == "multipart" else ""
    say(f"  {_brief(data['json'], line.secrets) if 'json' in data else form + sizes}")
    received, start = bytearray(), time.monotonic()

    async def call() -> Response:
        async with _session(service, line) as session:
            return await _post(session, line, data, service.timeout, received, {})

    try:
        response = _finished(call())
        seconds = time.monotonic() - start
        say(f"answered {response.status} in {seconds:.2f} s, {len(received):,} bytes")
        try:
            shown = _brief(json.loads(response.body), line.secrets)
        except (ValueError, RecursionError):
            shown = _shown(line.secrets, response.body.decode(errors="replace"))
        say(f"  {shown}")
        found = _rows(response, line, service, len(probes), len(class_names))
        answers = [answer_of(row, service, class_names) for row in found]
    except Retry as error:
        raise UserError(f"{url} did not answer ({error.args[0]}).") from None
    except Odd as error:
        raise UserError(_told(error, line, url)) from None
    rows = [check_row(answer, len(class_names), url) for answer in answers]
    check_unit(rows, url)
    return rows


def _line(url: str, service: Service) -> Line:
    """Everything that is needed to ask, checked before anything is sent."""
    address = _address(url)
    headers = {name: _header(name, value) for name, value in service.headers.items()}
    sent = CIMultiDict({"Accept-Encoding": "identity"})
    if service.body == "raw":
        sent["Content-Type"] = f"image/{service.image}"
    sent.update(headers)
    trust: ssl.SSLContext | bool = True
    if address.scheme == "https":
        trust = ssl.create_default_context()  # the system's, or those of SSL_CERT_FILE
    if service.authority is not None:
        if isinstance(trust, bool):
            raise UserError(f"authority has no effect with {address.scheme}; it goes with https.")
        try:
            text = read_bytes(Path(service.authority), 2**20).decode("ascii")
            trust.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as error:
            what = f"authority: {service.authority} holds no certificates in PEM"
            raise UserError(f"{what} ({summary(error)}).") from None
    return Line(address, sent, _secrets([url, *service.headers.values()], headers), trust)


def _session(service: Service, line: Line) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=line.trust),
        timeout=aiohttp.ClientTimeout(total=service.timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # :func:`_unpacked` does it within bounds
        trust_env=False,  # no proxies, no passwords from .netrc
    )


async def _post(
    session: aiohttp.ClientSession,
    line: Line,
    data: dict[str, Any],
    timeout: float,
    received: bytearray,
    entry: dict[str, Any],
) -> Response:
    """Send one request; `received` grows by what comes back, and `entry` gets the status.

    Raises :class:`Retry` if there is no response, and :class:`Odd` if it is too large.
    """
    try:
        request = session.post(line.address, headers=line.headers, allow_redirects=False, **data)
        async with request as response:
            entry["status"] = response.status
            async for part in response.content.iter_any():
                received += part
                if len(received) > LARGEST_RESPONSE:
                    response.close()
                    raise Odd(f"it sent more than {LARGEST_RESPONSE:,} bytes and was cut off")
    except aiohttp.ClientConnectorCertificateError as error:
        reason = getattr(error.certificate_error, "verify_message", "") or "no reason given"
        way = "; name the authority that signed it in a file of your own: authority: FILE.pem"
        raise Odd("its certificate is not trusted (", reason, f"){way}") from None
    except (TimeoutError, aiohttp.ClientError) as error:
        slow = f"no complete response within {timeout:g} s"
        raise Retry(
            slow if isinstance(error, TimeoutError) else type(error).__name__, 0.0
        ) from None
    encoding = response.headers.get("Content-Encoding", "identity")
    return Response(response.status, response.headers, _unpacked(bytes(received), encoding))


def _unpacked(body: bytes, encoding: str) -> bytes:
    """A body without its compression, which was not asked for and may be a bomb."""
    if encoding == "identity" or not body:
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Odd("it answered in the encoding ", encoding, ", which was not asked for")
    try:
        content = zlib.decompressobj(wbits=47).decompress(body, LARGEST_RESPONSE + 1)
    except zlib.error:
        raise Odd("what it sent is no ", encoding, ", as it says") from None
    if len(content) > LARGEST_RESPONSE:
        raise Odd(f"unpacked, it sent more than {LARGEST_RESPONSE:,} bytes")
    return content


def _rows(response: Response, line: Line, service: Service, count: int, classes: int) -> list[Any]:
    """The answers in a response, one for each image; raises :class:`Retry` or :class:`Odd`."""
    status, headers, body = response
    start = body[:2000].decode(errors="replace").strip()
    if status in TRY_AGAIN:
        said = f": {_shown(line.secrets, start)}" if start else ""
        raise Retry(f"status {status}{said}", _seconds(headers.get("Retry-After")))
    if 300 <= status < 400:
        location = headers.get("Location", "nothing")
        raise Odd(f"it redirects ({status}) to ", location, "; give the final address")
    if not 200 <= status < 300:
        what = f"status {status}; 200 is expected, so check address and headers; it says "
        raise Odd(what, start or "nothing")
    return rows_of(body, service, count, classes)


def _told(error: Odd, line: Line, where: str) -> str:
    """A refusal as a sentence."""
    parts = [_shown(line.secrets, p) if i % 2 else p for i, p in enumerate(error.args)]
    return f"{where}: {''.join(parts)}."


def _brief(value: Any, secrets: list[str]) -> str:
    """A document in one line, without secrets, long texts and lists shortened."""

    def short(value: Any) -> Any:
        if isinstance(value, str):
            value = _hidden(secrets, value)
            return value if len(value) < 60 else f"{value[:30]}... ({len(value):,} characters)"
        if isinstance(value, dict):
            return {short(key): short(each) for key, each in list(value.items())[:20]}
        if isinstance(value, list) and len(value) > 5:
            return [*map(short, value[:3]), f"... ({len(value):,} in all)"]
        return list(map(short, value)) if isinstance(value, list) else value

    return json.dumps(short(value))[:1000]


def _body(service: Service, images: list[Any], classes: int) -> dict[str, Any]:
    """The body of a request as aiohttp takes it: ``data`` or ``json``."""
    if service.body == "raw":
        return {"data": images[0]}
    if service.body == "multipart":
        form, kind = aiohttp.FormData(), service.image
        for i, content in enumerate(images):
            name = f"{i}.{kind}"
            form.add_field(service.images, content, filename=name, content_type=f"image/{kind}")
        return {"data": form}
    return {"json": document(service, images, classes)}


def _address(url: str) -> URL:
    """The address that is asked; refused if it is none of http or https, or holds a password."""
    address = _expanded(url, "The URL")
    try:
        parsed = URL(address)
        usable = parsed.scheme in ("http", "https") and parsed.host and parsed.port
        (parsed.host or "").encode("idna")  # as it is looked up
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


def _hidden(secrets: list[str], text: str) -> str:
    """Text without what is secret."""
    for secret in secrets:
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    return text


def _shown(secrets: list[str], value: Any) -> str:
    """What a service sent, quoted and short, without control characters and secrets."""
    if isinstance(value, dict | list):
        return f"a {type(value).__name__}"
    return repr(re.sub(r"\. +", ".", _hidden(secrets, str(value))[:160]))[:200]


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
    if not answered and known == head | {"service": known.get("service")} != head:
        # nothing was understood yet, so the description may be mended; the calls stay on record
        files.write_text(journal, "\n".join([json.dumps(head), *map(bytes.decode, lines)]) + "\n")
        return {}
    for key, value in head.items():
        if known.get(key) != value:
            what = f"its {key} is {plain(known.get(key))!r}, not {value!r}"
            way = "delete it to ask all anew, or give another --out"
            raise UserError(f"{journal} is the log of another query: {what}; {way}.")
    return answered


def _append(journal: Path, entry: dict[str, Any]) -> None:
    with open(journal, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _seconds(retry_after: str | None) -> float:
    """Seconds from now that a Retry-After header means; 0 if there is none or it makes no sense."""
    try:
        if retry_after is None or retry_after.strip().isdigit():
            return float(retry_after or 0)
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
