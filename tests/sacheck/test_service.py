"""A prediction service, good or hostile, on this machine: answers are understood or refused, and no
probe is asked twice.
"""

import asyncio
import base64
import email.message
import gzip
import io
import json
import socket
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sacheck import service
from sacheck.description import Service, load_service
from sacutils import files
from tests.conftest import listing

CLASSES = ["cat", "dog", "cow"]
NAMES = [f"probe-{i:04d}.png" for i in range(10)]


def png(number: int) -> bytes:
    """An image whose grey level is its number."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PROBES = {name: png(i) for i, name in enumerate(NAMES)}


def scores_of(number: int) -> list[float]:
    return [number / 10, 0.0, 1 - number / 10]


EXPECTED = [scores_of(i) for i in range(10)]


class Server:
    """Answers each image by its grey level; `respond` can be replaced to misbehave."""

    def __init__(self) -> None:
        self.requests = 0
        self.seen: Counter[int] = Counter()
        self.headers: list[email.message.Message] = []
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.requests += 1
                outer.headers.append(self.headers)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(body)
                outer.respond(self, body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/predict"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def respond(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        images = [base64.b64decode(text) for text in json.loads(body)["instances"]]
        send(
            handler,
            {"predictions": [{"scores": scores_of(number)} for number in self.numbers(images)]},
        )

    def numbers(self, images: list[bytes]) -> list[int]:
        found = [int(np.array(Image.open(io.BytesIO(image)))[0, 0]) for image in images]
        self.seen.update(found)
        return found


def send(handler: BaseHTTPRequestHandler, document: Any, status: int = 200, **headers: str) -> None:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(content)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def ask(server, tmp_path, monkeypatch):
    """Ask the server for all probes; waits between tries are skipped and counted."""
    waits: list[float] = []

    async def skip(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(service, "sleep", skip)

    def call(url: str | None = None, **settings: Any) -> list[Any]:
        settings = {"batch": 4, "rate": 1e6, "retries": 2} | settings
        if "label" not in settings:
            settings.setdefault("scores", "scores")
        mapping = Service.model_validate(settings)
        journal = tmp_path / "calls.jsonl"
        return service.ask(url or server.url, mapping, PROBES, CLASSES, journal, "identity")

    call.waits = waits
    return call


def calls(folder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


# what is understood


def test_batches_of_json_and_a_line_for_every_call(ask, server, tmp_path):
    assert ask() == EXPECTED and server.requests == 3 and set(server.seen.values()) == {1}
    head, *lines = calls(tmp_path)
    assert head["url"] == server.url and [len(line["probes"]) for line in lines] == [4, 4, 2]
    assert all(
        line["status"] == 200 and line["bytes"] and line["utc"] and line["seconds"] >= 0
        for line in lines
    )


def test_one_query_at_a_time_keeps_a_journal(ask, server, refused, tmp_path):
    assert ask() == EXPECTED
    (journal,) = listing(tmp_path)
    with files.locked(tmp_path / journal):
        refused(ask, "Another sacheck query", "another --out")
    assert server.requests == 3 and listing(tmp_path) == [journal] and ask() == EXPECTED


def test_a_cell_of_a_notebook_may_ask(ask, server):
    async def cell():
        return ask()  # while the notebook's own loop runs

    assert asyncio.run(cell()) == ask() == EXPECTED


def test_pixels_extra_fields_and_nested_paths(ask, server):
    def respond(handler, body):
        document = json.loads(body)
        assert document["model"] == {"name": "m"} and np.shape(document["data"]["images"])[1:] == (
            8,
            8,
            1,
        )
        numbers = [image[0][0][0] for image in document["data"]["images"]]
        send(handler, {"result": [{"rows": [[{"p": scores_of(number)}] for number in numbers]}]})

    server.respond = respond
    settings = {"image": "pixels", "images": "data.images", "extra": {"model": {"name": "m"}}}
    assert ask(**settings, answers="result.0.rows", scores="0.p") == EXPECTED


def test_single_images_and_raw_bodies(ask, server, tmp_path):
    def single(handler, body):
        send(handler, scores_of(*server.numbers([base64.b64decode(json.loads(body)["image"])])))

    server.respond = single
    assert ask(single=True, batch=1, images="image", answers="", scores="") == EXPECTED
    (tmp_path / "calls.jsonl").unlink()
    server.respond = lambda handler, body: send(
        handler, {"out": scores_of(*server.numbers([body]))}
    )
    assert ask(body="raw", batch=1, answers="out", scores="") == EXPECTED
    assert server.headers[-1]["Content-Type"] == "image/png"


def test_images_go_through_a_list_of_the_extra_fields(ask, server):
    def respond(handler, body):
        tensor = json.loads(body)["inputs"][0]
        assert tensor["name"] == "x"
        send(
            handler,
            {
                "predictions": [
                    scores_of(n)
                    for n in server.numbers(list(map(base64.b64decode, tensor["data"])))
                ]
            },
        )

    server.respond = respond
    assert ask(images="inputs.0.data", extra={"inputs": [{"name": "x"}]}, scores="") == EXPECTED


def test_pixels_keep_their_colours(server, tmp_path):
    buffer, colours = io.BytesIO(), np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    Image.fromarray(colours).save(buffer, "PNG")
    server.respond = lambda handler, body: send(handler, {"predictions": [scores_of(3)]})
    mapping, probes = Service(scores="", image="pixels"), {NAMES[0]: buffer.getvalue()}
    service.ask(server.url, mapping, probes, CLASSES, tmp_path / "calls.jsonl", "identity")
    assert json.loads(server.bodies[0]) == {"instances": [colours.tolist()]}


def test_headers_of_the_file_replace_the_content_type(ask, server):
    server.respond = lambda handler, body: send(handler, scores_of(*server.numbers([body])))
    headers = {"content-type": "application/octet-stream"}
    assert ask(body="raw", batch=1, answers="", scores="", headers=headers) == EXPECTED
    assert server.headers[0].get_all("Content-Type") == ["application/octet-stream"]


def test_multipart_bodies(ask, server):
    def respond(handler, body):
        message = email.message_from_bytes(
            b"Content-Type: " + handler.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        )
        parts = [part for part in message.walk() if part.get_content_type() == "image/png"]
        assert {part.get_param("name", header="content-disposition") for part in parts} == {"file"}
        numbers = server.numbers([part.get_payload(decode=True) for part in parts])
        send(handler, {"predictions": [scores_of(number) for number in numbers]})

    server.respond = respond
    assert ask(body="multipart", images="file", scores="") == EXPECTED


def answering(server: Server, make: Any) -> None:
    """Let the server answer each image by what `make` makes of its number."""

    def respond(handler, body):
        numbers = server.numbers([base64.b64decode(text) for text in json.loads(body)["instances"]])
        send(handler, json.dumps({"predictions": [make(number) for number in numbers]}).encode())

    server.respond = respond


def test_mappings_top_k_and_labels(ask, server, tmp_path):
    for make, settings, expected in [
        (
            lambda n: dict(zip(CLASSES, scores_of(n), strict=True)),
            {"scores": ""},
            dict(enumerate(scores_of(3))),
        ),
        (lambda n: {"2": 0.5, "0": 0.25}, {"scores": ""}, {2: 0.5, 0: 0.25}),
        (
            lambda n: {"top": [{"name": "dog", "p": 0.5}, {"name": "cat", "p": 0.25}]},
            {"scores": "top", "label_key": "name", "score_key": "p"},
            {1: 0.5, 0: 0.25},
        ),
        (lambda n: {"label": "cow"}, {"label": "label"}, 2),
        (lambda n: 1, {"label": ""}, 1),
        (lambda n: "1", {"label": ""}, 1),
    ]:
        answering(server, make)
        assert ask(**settings)[3] == expected
        assert ask(**settings)[3] == expected  # from the journal alone
        (tmp_path / "calls.jsonl").unlink()


# what is tried again


def test_every_third_request_fails_and_nothing_is_asked_twice(ask, server, tmp_path):
    good = server.respond
    server.respond = lambda handler, body: (
        send(handler, {}, 503) if server.requests % 3 == 0 else good(handler, body)
    )
    assert ask(batch=1) == EXPECTED and set(server.seen.values()) == {1}
    failed = [line for line in calls(tmp_path)[1:] if "error" in line]
    assert len(failed) == server.requests - 10 > 3 and all(line["status"] == 503 for line in failed)


def test_waits_grow_and_follow_the_service(ask, server, refused):
    server.respond = lambda handler, body: send(handler, {}, 429, Retry_After="7")
    refused(lambda: ask(), "429", "3 tries", "0 of 10")
    assert [wait for wait in ask.waits if wait >= 7] == [7, 7]
    for odd in ("Wed, 21 Oct 2015 07:28:00 GMT", "soon"):
        ask.waits.clear()
        server.respond = lambda handler, body, odd=odd: send(handler, {}, 503, Retry_After=odd)
        refused(lambda: ask(), "503")
        assert max(ask.waits) < 4
    ask.waits.clear()
    server.respond = lambda handler, body: send(handler, {}, 429, Retry_After="90")
    refused(lambda: ask(), "429")
    assert [wait for wait in ask.waits if wait > 4] == [90, 90]  # a quota per minute
    ask.waits.clear()
    server.respond = lambda handler, body: send(handler, {}, 503, Retry_After="99999999")
    refused(lambda: ask(), "503", "99,999,999 s", "after 1 tries", "goes on from there")
    assert max(ask.waits, default=0) < 4


def test_the_rate_is_kept(ask, server, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(service.time, "monotonic", lambda: clock[0])

    async def skip(seconds):
        clock[0] += seconds

    monkeypatch.setattr(service, "sleep", skip)
    ask(batch=1, rate=4)
    assert server.requests == 10 and clock[0] == pytest.approx(10 / 4, abs=0.3)


def test_a_break_is_resumed_without_repetition(ask, server, refused, tmp_path):
    good = server.respond
    server.respond = lambda handler, body: (
        send(handler, {}, 500) if server.requests > 1 else good(handler, body)
    )
    refused(lambda: ask(), "4 of 10", "calls.jsonl", "goes on")
    with open(tmp_path / "calls.jsonl", "a") as file:
        file.write('{"utc": "torn li')  # killed while writing
    server.respond = good
    assert ask(batch=2) == EXPECTED and set(server.seen.values()) == {1}
    assert all(isinstance(line, dict) for line in calls(tmp_path))
    requests = server.requests
    assert ask() == EXPECTED and server.requests == requests


def test_every_line_is_on_the_disk_before_the_next_call(ask, server, tmp_path, monkeypatch):
    synced: list[tuple[int, int]] = []
    monkeypatch.setattr(
        service.os, "fsync", lambda _: synced.append((server.requests, len(calls(tmp_path))))
    )
    ask()
    assert synced == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_a_server_that_is_not_there(ask, refused):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused(
            lambda: ask(f"http://127.0.0.1:{closed.getsockname()[1]}/"),
            "ClientConnectorError",
            "0 of 10",
        )


def test_dripping_and_silent_servers_are_cut_off(ask, server, refused, tmp_path):
    stop = threading.Event()

    def drip_body(handler, body):
        handler.send_response(200)
        handler.end_headers()
        while not stop.wait(0.05):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    def drip_headers(handler, body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not stop.wait(0.05):
            handler.wfile.write(b"a")
            handler.wfile.flush()

    for misbehave in (drip_body, drip_headers, lambda handler, body: stop.wait(5)):
        server.respond = misbehave
        started = time.monotonic()
        refused(lambda: ask(timeout=0.4, retries=0), "within 0.4 s")
        assert time.monotonic() - started < 3
    stop.set()
    body, head, silent = calls(tmp_path)[1:]
    assert (
        2 <= body["bytes"] <= 12 and head["bytes"] == silent["bytes"] == 0
    )  # what came before the end is counted
    assert all(
        "within 0.4 s" in line["error"] and 0.3 < line["seconds"] < 3
        for line in (body, head, silent)
    )


# what is refused


def test_an_endless_response_is_cut_off(ask, server, refused, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "LARGEST_RESPONSE", 100_000)

    def endless(handler, body):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"[" * 4096)
        except OSError:
            pass

    server.respond = endless
    refused(lambda: ask(), "more than 100,000 bytes")
    assert all(100_000 < line["bytes"] < 400_000 for line in calls(tmp_path)[1:])


@pytest.mark.parametrize("encoding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_what_is_compressed_is_unpacked_within_bounds(
    ask, server, refused, tmp_path, encoding, pack
):
    good = {"predictions": [{"scores": scores_of(n)} for n in range(4)]}
    server.respond = lambda handler, body: send(
        handler, pack(json.dumps(good).encode()), Content_Encoding=encoding
    )
    refused(lambda: ask(), "4 answers", "a list of 2")  # the third request has two images
    assert server.requests == 3 and server.headers[0]["Accept-Encoding"] == "identity"
    bomb = pack(bytes(10_000_000))
    server.respond = lambda handler, body: send(handler, bomb, Content_Encoding=encoding)
    refused(lambda: ask(), "unpacked, it sent more than 8,388,608 bytes")
    assert calls(tmp_path)[-1]["bytes"] == len(bomb) < 20_000
    server.respond = lambda handler, body: send(handler, b"{}", Content_Encoding=encoding)
    refused(lambda: ask(), f"no '{encoding}', as it says")
    server.respond = lambda handler, body: send(handler, b"{}", Content_Encoding="br")
    refused(lambda: ask(), "'br'", "not asked for")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(ask, server, refused, monkeypatch, status):
    monkeypatch.setenv("TOKEN", "secret-1")
    other = Server()
    try:
        for location in (other.url, "/final", "http://[bad/", "file:///etc/passwd", ""):
            server.respond = lambda handler, body, location=location: send(
                handler, {}, status, Location=location
            )
            before = server.requests
            words = f"({status})", repr(location), "give the final address"
            refused(lambda: ask(headers={"Authorization": "${TOKEN}"}), *words)
            assert server.requests == before + 1 and other.requests == 0
    finally:
        other.server.shutdown()
        other.server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/x",
        "host/x",
        "http://",
        "http://user:word@host/",
        "http://user:word/x@host/",
        "ftp://user:word@host/",
        "http://[bad/",
        "http://a..b/",
        f"http://{'a' * 64}/",
        "http://host/a. b\n",
    ],
)
def test_other_urls_are_refused_and_nothing_is_written(ask, refused, tmp_path, url):
    assert "word@" not in refused(lambda: ask(url), "URL").replace("word/x@", "word@")
    assert listing(tmp_path) == []


BAD = {
    "a score too few": (lambda n: {"scores": [0.5, 0.5]}, "2 scores", "3 are needed"),
    "NaN": (lambda n: {"scores": [float("nan"), 0, 0]}, "'nan'", "finite"),
    "infinite": (lambda n: {"scores": [float("inf"), 0, 0]}, "'inf'", "finite"),
    "minus infinite": (lambda n: {"scores": [0, float("-inf"), 0]}, "'-inf'", "finite"),
    "a word": (lambda n: {"scores": ["much", 0, 0]}, "'much'"),
    "true": (lambda n: {"scores": [True, 0, 0]}, "'True'"),
    "an unknown class": (lambda n: {"scores": {"bird": 1}}, "'bird'", "cat, dog, cow"),
    "a logit of some classes": (
        lambda n: {"scores": {"cat": 2.5, "dog": 0.5}},
        "2 of 3",
        "2.5",
        "0 to 1",
    ),
    "a negative score of some classes": (
        lambda n: {"scores": {"cat": 0.5, "dog": -0.1}},
        "-0.1",
        "0 to 1",
    ),
    "a class twice": (
        lambda n: {"scores": [{"label": "cat", "score": 1}, {"label": 0, "score": 0}]},
        "named twice",
    ),
    "no class": (lambda n: {"scores": {}}, "no class"),
    "another field": (lambda n: {"probabilities": [1, 0, 0]}, "'scores'", "probabilities"),
    "a number": (lambda n: {"scores": 3}, "int"),
    "a class number too large": (lambda n: {"scores": {"3": 1}}, "'3'"),
    "a number beyond floats": (lambda n: {"scores": [10**400, 0, 0]}, "'1000", "finite"),
    "a word that looks like two sentences": (
        lambda n: {"scores": {"No. 5\x1b[31m\nx": 1}},
        r"'No.5\x1b[31m\nx'",
    ),
    "fields that are no plain words": (lambda n: {"a. b\n\x1b[31m": 1}, r"a.b\\n\\u001b[31m"),
    "a nested class": (
        lambda n: {"scores": [{"label": json.loads("[" * 900 + "]" * 900), "score": 1}]},
        "a list",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_answers_are_refused_before_they_are_kept(ask, server, refused, tmp_path, kind):
    make, *words = BAD[kind]
    answering(server, make)
    sentence = refused(lambda: ask(), "probe-0000.png", *words)
    assert server.requests == 1 and not any("answers" in line for line in calls(tmp_path))
    assert calls(tmp_path)[1]["error"] == sentence


def test_bad_labels_are_refused(ask, server, refused):
    for value in (3, -1, 1.5, True, None, "bird", [1], "LABEL_3", "9" * 5000, 3.0):
        answering(server, lambda n, value=value: {"label": value})
        refused(lambda: ask(label="label"), "no class")


@pytest.mark.parametrize(
    "body, words",
    [
        (b"<html>sign in</html>", ["no JSON", "<html>"]),
        (b'{"predictions": ' + b"[" * 200_000, ["no JSON"]),
        (b'{"predictions": [{"scores": {"cat": 0.1, "cat": 0.9}}]}', ["'cat' occurs twice"]),
        (b'{"predictions": []}', ["0 answers", "4 is needed"]),
        (b'{"predictions": 3}', ["int", "4 is needed"]),
        (b"[]", ["'predictions'", "'[]'"]),
    ],
)
def test_bad_documents_are_refused(ask, server, refused, body, words):
    server.respond = lambda handler, _: send(handler, body)
    refused(lambda: ask(), *words)


def test_other_statuses_are_refused_at_once(ask, server, refused):
    for status in (400, 401, 404, 418):
        server.respond = lambda handler, body, status=status: send(
            handler, {"detail": "field required"}, status
        )
        before = server.requests
        refused(lambda: ask(), f"status {status}", "field required")
        assert server.requests == before + 1


UNLIKELY = (
    99,
    -1,
    "x",
    None,
    [],
    [0.5],
    [None] * 3,
    {},
    {"0": "x"},
    {"99": 0.5},
    {"x": 0.5},
    [float("nan")] * 3,
)


def test_the_journal_of_another_query_is_refused(ask, server, refused, tmp_path):
    ask()
    refused(lambda: ask(server.url + "2"), "calls.jsonl", "url")
    refused(lambda: ask(label="x"), "calls.jsonl", "service")
    mapping = Service(scores="scores")
    arguments = [server.url, mapping, PROBES, CLASSES, tmp_path / "calls.jsonl"]
    refused(lambda: service.ask(*arguments, "other"), "fingerprint")
    content = (tmp_path / "calls.jsonl").read_text()
    line = json.loads(content.splitlines()[1])
    for damaged in (
        "{no json}\n",
        "3\n",
        content + "3\n",
        content + '{"answers": [1]}\n',
        *(
            content + json.dumps(line | {"answers": [row] * len(line["probes"])}) + "\n"
            for row in UNLIKELY
        ),
        content + json.dumps(line | {"probes": NAMES[:3]}) + "\n",
        content + '{"a": ' + "[" * 100_000 + "\n",
    ):
        (tmp_path / "calls.jsonl").write_text(damaged)
        refused(lambda: ask(), "calls.jsonl", "damaged")
    (tmp_path / "calls.jsonl").unlink()
    (tmp_path / "calls.jsonl").symlink_to(tmp_path / "elsewhere")
    refused(lambda: ask(), "symbolic link")
    assert not (tmp_path / "elsewhere").exists()


def test_secrets_come_from_the_environment_and_stay_out_of_the_log(
    ask, server, refused, tmp_path, monkeypatch
):
    refused(lambda: ask(headers={"Authorization": "Bearer ${SAC_TOKEN}"}), "SAC_TOKEN", "not set")
    monkeypatch.setenv("SAC_TOKEN", "very-secret")
    assert ask(headers={"Authorization": "Bearer ${SAC_TOKEN}"}) == EXPECTED
    assert server.headers[0]["Authorization"] == "Bearer very-secret"
    assert "very-secret" not in (tmp_path / "calls.jsonl").read_text()


def test_secrets_that_the_service_sends_back_are_hidden(
    ask, server, refused, tmp_path, monkeypatch
):
    monkeypatch.setenv(
        "SAC_TOKEN", "Very-Secret-" + "x" * 100
    )  # longer than what a sentence quotes
    headers = {"Authorization": "Bearer ${SAC_TOKEN}", "X-Key": "key=${SAC_TOKEN}"}
    for echo in (
        lambda handler, token: send(handler, f"no such token: {token}".encode()),
        lambda handler, token: send(handler, {token: 1}),
        lambda handler, token: send(handler, {"predictions": [{token: 1}] * 4}),
        lambda handler, token: send(handler, {"predictions": [{"scores": {token: 1}}] * 4}),
        lambda handler, token: send(handler, {"predictions": [{"scores": [token, 0, 0]}] * 4}),
        lambda handler, token: send(handler, {}, 307, Location=f"http://{token}.org/"),
    ):
        server.respond = lambda handler, body, echo=echo: echo(
            handler, handler.headers["X-Key"].removeprefix("key=")
        )
        sentence = refused(lambda: ask(headers=headers))
        assert "very-secret" not in sentence.lower() and "***" in sentence
    assert "very-secret" not in (tmp_path / "calls.jsonl").read_text().lower()


def test_a_key_in_the_address_is_sent_and_never_shown(ask, server, refused, tmp_path, monkeypatch):
    monkeypatch.setenv("SAC_TOKEN", "very-secret")
    url = server.url.replace("/predict", "/${SAC_TOKEN}?key=${SAC_TOKEN}")
    paths, respond = [], server.respond
    server.respond = lambda handler, body: paths.append(handler.path) or respond(handler, body)
    assert ask(url) == EXPECTED and set(paths) == {"/very-secret?key=very-secret"}
    assert "very-secret" not in (tmp_path / "calls.jsonl").read_text()
    server.respond = lambda handler, body: send(handler, {"at": handler.path}, 404)
    (tmp_path / "calls.jsonl").unlink()
    assert "very-secret" not in refused(lambda: ask(url), "status 404")
    monkeypatch.delenv("SAC_TOKEN")
    refused(lambda: ask(url), "The URL", "SAC_TOKEN")


def test_a_file_that_is_no_log_is_left_as_it_is(ask, refused, tmp_path):
    (tmp_path / "calls.jsonl").write_text("my notes, without a line break")
    refused(lambda: ask(), "calls.jsonl", "no log of calls")
    assert (tmp_path / "calls.jsonl").read_text() == "my notes, without a line break"


@pytest.mark.parametrize(
    "value", ["secret\n", " secret", "secret\r\nX: y", "secret \u20ac", "secret\xe4"]
)
def test_headers_that_cannot_be_sent_are_refused_without_their_value(
    ask, server, refused, tmp_path, monkeypatch, value
):
    monkeypatch.setenv("SAC_TOKEN", value)
    assert "secret" not in refused(lambda: ask(headers={"X-Key": "${SAC_TOKEN}"}), "X-Key")
    assert "secret" not in refused(lambda: ask(headers={"X Key:": "x"}), "X Key:")
    assert server.requests == 0 and listing(tmp_path) == []


def test_service_files_are_read_or_refused(tmp_path, refused):
    path = tmp_path / "s.yaml"
    path.write_text("scores: output\nbatch: 2\nheaders: {X: y}\n")
    assert load_service(path) == Service(scores="output", batch=2, headers={"X": "y"})
    for text, *words in [
        ("", "scores", "label"),
        ("scores: a\nlabel: b", "one of scores and label"),
        ("scores: a\nbatch: 0", "batch"),
        ("scores: a\nbody: raw\nbatch: 2", "batch must be 1"),
        ("scores: a\nurl: x", "url", "accepted here are body, image, layout"),
        ("scores: a\nredirect_hosts: [x]", "redirect_hosts"),
        ("scores: a\nbatch: 1000", "batch = 1000", "256"),
        ("scores: a\nextra: {when: 2024-01-01}", "extra.when", "JSON"),
        ("scores: a\nextra: {x: .nan}", "extra.x", "finite"),
        ("scores: a\nextra: {x: [1]}\nimages: x.y", "images = 'x.y'"),
        ("scores: a\nextra: {x: [1]}\nimages: x.1", "images = 'x.1'"),
        ("scores: a\nextra: {x: 1}\nimages: x.y", "images = 'x.y'"),
        ("scores: a\nextra: {x: 1}\nbody: multipart", "body: json"),
        ("scores: a\nimages: ''", "images"),
        ("scores: a\ntimeout: .nan", "timeout"),
        ("[1", "YAML"),
        ("scores: a\nscores: b", "'scores' stands twice"),
        ("? [1]\n: 2\n? [1]\n: 3", "s.yaml"),
        ("scores: &a a\nextra: {x: *a}", "alias"),
        ("scores: a\nrate: !!bool x", "s.yaml"),
        ("scores: a\nrate: !!int ''", "s.yaml"),
        ("scores: a\ntimeout: 1e300", "timeout"),
        ("scores: a\nrate: 1e-300", "rate"),
        ("just text", "s.yaml"),
    ]:
        path.write_text(text)
        refused(lambda: load_service(path), "s.yaml", *words)
    refused(lambda: load_service(tmp_path / "none.yaml"), "missing")
    path.write_text("scores: a\nheaders: {X: [my-secret]}")
    assert "my-secret" not in refused(lambda: load_service(path), "headers")
