"""Every ready-made description against a mimic of its service, and the shapes that others use."""

import base64
import email
import io
import json
import ssl
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from sacheck import answers, architectures, description, service, weights
from sacheck.description import Odd, Service, answer_of, load_service, ready_made, rows_of
from sacutils.files import home
from tests.sacheck.test_service import CLASSES, EXPECTED, NAMES, PROBES, Server, scores_of, send

CERTIFICATE = Path(__file__).with_name("localhost.pem")


@pytest.fixture(scope="module")
def server():
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


# the mimics: each gets headers and body, checks that they are what the system takes, and answers


def file(content: bytes) -> int:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG" and image.size == (8, 8)
        return int(np.array(image)[0, 0])


def b64(text: str) -> int:
    return file(base64.b64decode(text, validate=True))


def uri(text: str) -> int:
    kind, _, coded = text.partition(",")
    assert kind == "data:image/png;base64"
    return b64(coded)


def tensor(values: Any, *shape: int) -> list[int]:
    array = np.array(values)
    assert array.shape[1:] == shape and array.dtype.kind == "f" and array.max() <= 1
    return [round(255 * image.flat[0]) for image in array]


def upload(headers: Any, body: bytes, field: str) -> int:
    head = b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n"
    (part,) = email.message_from_bytes(head + body).get_payload()
    assert part.get_param("name", header="content-disposition") == field and part.get_filename()
    assert part.get_content_type() == "image/png"
    return file(part.get_payload(decode=True))


def likeliest(n: int, label: str, score: str, most: int = 5) -> list[dict[str, Any]]:
    ranked = sorted(zip(CLASSES, scores_of(n), strict=True), key=lambda pair: -pair[1])
    return [{label: name, score: value} for name, value in ranked[:most]]


def tf_serving(headers, body, read=lambda instances: tensor(instances, 8, 8, 1)):
    document = json.loads(body)
    assert document.keys() == {"instances"}
    return {"predictions": [scores_of(n) for n in read(document["instances"])]}


def kserve(headers, body, coded=False):
    (given,) = json.loads(body)["inputs"]
    assert given.keys() == {"name", "shape", "datatype", "data"} and given["name"] == "input"
    assert given["datatype"] == ("BYTES" if coded else "FP32")
    numbers = [b64(t) for t in given["data"]] if coded else tensor(given["data"], 1, 8, 8)
    assert given["shape"] == list(np.shape(given["data"]))
    flat = [value for n in numbers for value in scores_of(n)]
    output = {"name": "output", "datatype": "FP32", "shape": [len(numbers), 3], "data": flat}
    return {"model_name": "m", "model_version": "1", "id": "0", "outputs": [output]}


def mlflow(headers, body):
    return {"predictions": [scores_of(n) for n in tensor(json.loads(body)["inputs"], 1, 8, 8)]}


def mlflow_b64(headers, body):
    split = json.loads(body)["dataframe_split"]
    assert split["columns"] == ["image"]
    return {"predictions": [scores_of(b64(text)) for (text,) in split["data"]]}


def huggingface(headers, body):
    document = json.loads(body)
    assert headers["Authorization"] == "Bearer secret-token"
    return likeliest(b64(document["inputs"]), "label", "score", document["parameters"]["top_k"])


def vertex(headers, body):
    document = json.loads(body)
    assert document["parameters"] == {"confidenceThreshold": 0, "maxPredictions": 3}
    ranked = [likeliest(b64(each["content"]), "n", "s") for each in document["instances"]]
    rows = [
        {
            "ids": [str(CLASSES.index(pair["n"])) for pair in row],
            "displayNames": [pair["n"] for pair in row],
            "confidences": [pair["s"] for pair in row],
        }
        for row in ranked
    ]
    return {"predictions": rows, "deployedModelId": "1", "model": "m", "modelDisplayName": "m"}


def azureml(headers, body):
    given = json.loads(body)["input_data"]
    assert given["columns"] == ["image"]
    return [
        {"filename": "/tmp/x", "probs": scores_of(b64(text)), "labels": CLASSES, "boxes": None}
        for text in given["data"]
    ]


def sagemaker(headers, body, verbose=False):
    assert headers["Content-Type"] == "application/x-image"
    rows = scores_of(file(body))
    if not verbose:
        return rows
    assert headers["Accept"] == "application/json;verbose"
    return {"probabilities": rows, "labels": CLASSES, "predicted_label": "cat"}


def gradio(headers, body, read=lambda given: uri(given["url"])):
    (given,) = json.loads(body)["data"]
    ranked = likeliest(read(given), "label", "confidence")
    shown = {"label": ranked[0]["label"], "confidences": ranked}
    return {"data": [shown], "is_generating": False, "duration": 0.1, "average_duration": 0.1}


def named(n: int) -> dict[str, float]:
    return dict(zip(CLASSES, scores_of(n), strict=True))


MIMICS = {
    "tf-serving": tf_serving,
    "tf-serving-b64": lambda h, b: tf_serving(h, b, lambda rows: [b64(row["b64"]) for row in rows]),
    "kserve": kserve,
    "kserve-bytes": lambda h, b: kserve(h, b, coded=True),
    "torchserve": lambda h, b: named(file(b)),
    "djl": lambda h, b: likeliest(file(b), "className", "probability"),
    "mlflow": mlflow,
    "mlflow-b64": mlflow_b64,
    "bentoml": lambda h, b: scores_of(upload(h, b, "image")),
    "fastapi": lambda h, b: {"label": CLASSES[0 if upload(h, b, "file") > 4 else 2], "score": 0.9},
    "huggingface": huggingface,
    "vertex-automl": vertex,
    "azureml": azureml,
    "sagemaker": sagemaker,
    "sagemaker-jumpstart": lambda h, b: sagemaker(h, b, verbose=True),
    "gradio": gradio,
    "gradio-3": lambda h, b: gradio(h, b, uri),
}


@pytest.mark.parametrize("name", ready_made())
def test_a_ready_made_description_fits_its_service(server, tmp_path, monkeypatch, name):
    monkeypatch.setenv("TOKEN", "secret-token")
    monkeypatch.setenv("HF_TOKEN", "secret-token")
    problems = []

    def respond(handler, body):
        try:
            send(handler, MIMICS[name](handler.headers, body))
        except Exception as error:  # what the mimic does not take
            problems.append(repr(error))
            send(handler, {"error": repr(error)}, 400)

    server.respond = respond
    how, asked = load_service(name, {"rate": 1e6, "retries": 0}), "identity"
    few = {name: PROBES[name] for name in NAMES[3:7]}
    rows = service.ask(server.url, how, few, CLASSES, tmp_path / "calls.jsonl", asked)
    found = answers.from_rows(rows, 3)
    assert not problems
    if name == "fastapi":
        assert found.form == "labels" and found.predicted.tolist() == [2, 2, 0, 0]
    else:
        assert np.allclose(found.outputs, EXPECTED[3:7]) and found.form == "probabilities"
    assert "secret-token" not in (tmp_path / "calls.jsonl").read_text()


def test_a_ready_made_description_can_be_changed(tmp_path, refused):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "base: kserve\nextra: {inputs: [{name: x, shape: $shape}]}\nmean: [0.5]\nstd: [1]"
    )
    how = load_service(path, {"layout": "nhwc"})
    sent = description.document(how, [description.written(PROBES[NAMES[5]], how)], 3)
    assert sent["inputs"][0]["shape"] == [1, 8, 8, 1] and sent["inputs"][0]["name"] == "x"
    assert sent["inputs"][0]["data"][0][0][0] == [round(5 / 255 - 0.5, 7)]
    path.write_text("base: gradio\nlabel: label")
    assert load_service(path).score_key == "score"
    labelled = next(name for name, one in description.ready_made().items() if "label" in one)
    path.write_text(f"base: {labelled}\nscores: probs")
    assert (load_service(path).scores, load_service(path).label) == ("probs", None)
    path.write_text("base: kserve\nimage: jpeg\nlabel: ''\nanswers: outputs.0.data")
    how = load_service(path)
    assert how.layout == "nhwc" and how.scores is None
    assert rows_of(b'{"outputs": [{"data": ["dog", "cat"]}]}', how, 2, 3) == ["dog", "cat"]
    for text, *words in [
        ("base: ../../etc/passwd", "'../../etc/passwd' is not accepted", "kserve"),
        ("base: [kserve]", "base", "kserve"),
        ("base: kserve\nabout: x", "unknown parameter 'about'"),
        ("base: kserve\nheaders:", "headers are texts by name"),
    ]:
        path.write_text(text)
        refused(lambda: load_service(path), *words)
    refused(lambda: load_service("kserv"), "kserv is no file", "tf-serving, ")
    refused(
        lambda: load_service("gradio", {"mean": [0.5], "std": [1]}), "has no effect with image: png"
    )


@pytest.mark.parametrize(
    "layout, shape", [("nhwc", (2, 3, 3)), ("nchw", (3, 2, 3)), ("flat", (18,)), ("nhw", None)]
)
def test_numbers_come_in_any_layout_and_range(layout, shape, refused):
    colours = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG")
    how = Service(scores="", image="pixels", layout=layout, maximum=255)
    if shape is None:
        refused(lambda: description.written(buffer.getvalue(), how), "nhw", "colours")
        grey = description.written(PROBES[NAMES[3]], how)
        assert np.shape(grey) == (8, 8) and grey[0][0] == 3
        return
    whole = description.written(buffer.getvalue(), how)
    assert np.shape(whole) == shape and "." not in json.dumps(whole)
    expected = colours.transpose(2, 0, 1) if layout == "nchw" else colours
    assert np.array_equal(whole, expected.reshape(shape))
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    how = Service(scores="", image="pixels", layout=layout, maximum=1, mean=mean, std=std)
    prepared = (colours / 255 - mean) / std
    prepared = prepared.transpose(2, 0, 1) if layout == "nchw" else prepared
    assert np.allclose(
        description.written(buffer.getvalue(), how), prepared.reshape(shape), atol=1e-6
    )


def test_images_are_resized_and_written_as_jpeg():
    with Image.open(
        io.BytesIO(description.written(PROBES[NAMES[9]], Service(scores="", image="jpeg", size=16)))
    ) as image:
        assert (image.format, image.size) == ("JPEG", (16, 16)) and np.array(image)[0, 0] == 9
    how = Service(scores="", image="pixels", size=12)
    assert np.shape(description.written(PROBES[NAMES[9]], how)) == (12, 12, 1)


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"mean": [0.5], "std": [1]}, "mean, std has no effect with image: png"),
        ({"image": "pixels", "body": "raw"}, "pixels goes with body: json"),
        ({"image": "pixels", "each": "data:$image"}, "as a whole value"),
        ({"each": {"b64": "image"}}, "each needs '$image'"),
        ({"body": "multipart", "each": {"b64": "$image"}}, "each go with body: json"),
        ({"image": "pixels", "mean": [0.5]}, "mean and std must be given together"),
        ({"scores": None, "label": "", "names": "x"}, "names has no effect with label"),
        ({"scores": None, "label": "", "unit": 100}, "unit has no effect with label"),
        ({"unit": 0}, "unit"),
    ],
)
def test_fields_without_effect_are_refused(settings, word):
    with pytest.raises(ValidationError, match=word.replace("$", r"\$")):
        Service(**{"scores": "", **settings})


READ = {
    "scores as text": (["0.5", " 0.25", "2.5e-1"], {}, [0.5, 0.25, 0.25]),
    "percent with a sign": (["50%", "25 %", "25%"], {}, [0.5, 0.25, 0.25]),
    "percent without": ([50, 25, 25], {"unit": 100}, [0.5, 0.25, 0.25]),
    "of 255": ({"cat": 204, "dog": 51}, {"unit": 255}, {0: 0.8, 1: 0.2}),
    "JSON as text": ('{"cat": 0.5, "cow": 0.25}', {}, {0: 0.5, 2: 0.25}),
    "JSON as text, inside": ({"r": "[0.5, 0.25, 0.25]"}, {"scores": "r"}, [0.5, 0.25, 0.25]),
    "LABEL_n": ([{"label": "LABEL_2", "score": 0.9}], {}, {2: 0.9}),
    "names of its own": ({"Katze": 0.9, "2": 0.1}, {"classes": {"Katze": "cat"}}, {0: 0.9, 2: 0.1}),
    "numbers of its own": ({"label": "17"}, {"label": "label", "classes": {"17": "cow"}}, 2),
    "a label as 2.0": (2.0, {"label": ""}, 2),
    "a label as text 2.0": ("2.0", {"label": ""}, 2),
    "lists": ({"n": ["cow", 0], "s": [1, "0"]}, {"scores": "s", "names": "n"}, {2: 1.0, 0: 0.0}),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_answers_are_read(kind):
    row, settings, expected = READ[kind]
    settings = settings if "label" in settings else {"scores": "", **settings}
    assert answer_of(row, Service(**settings), CLASSES) == expected


def test_one_score_of_two_classes_is_the_second_s():
    how = Service(scores="")
    assert (
        answer_of([0.75], how, ["no", "yes"]) == answer_of(0.75, how, ["no", "yes"]) == [0.25, 0.75]
    )
    assert answer_of([2.5], how, ["no", "yes"]) == [2.5]  # a logit, which check_row refuses
    with pytest.raises(Odd):
        answer_of(0.75, how, CLASSES)


def test_scores_of_several_images_in_one_list():
    how = Service(scores="", answers="0.data")
    for document in ([{"data": [1, 2, 3, 4, 5, 6]}], [{"data": "[1, 2, 3, 4, 5, 6]"}]):
        assert rows_of(json.dumps(document).encode(), how, 2, 3) == [[1, 2, 3], [4, 5, 6]]
    assert rows_of(b"[0.5, 0.25, 0.25]", Service(scores="", answers=""), 1, 3) == [
        [0.5, 0.25, 0.25]
    ]
    text = json.dumps(json.dumps({"predictions": [[1, 2, 3]]})).encode()  # JSON within JSON
    assert rows_of(text, Service(scores=""), 1, 3) == [[1, 2, 3]]
    with pytest.raises(Odd):
        rows_of(b'[{"data": [1, 2, 3, 4, 5]}]', how, 2, 3)


HOSTILE = {
    "text of deep lists": json.dumps("[" * 100_000).encode(),
    "text of text of text": json.dumps(json.dumps(json.dumps([[1, 2, 3]]))).encode(),
    "a key twice, in a text": json.dumps('{"predictions": 1, "predictions": [[1, 2, 3]]}').encode(),
    "names without end": b'{"predictions": [' + b'"x",' * 100_000 + b"0]}",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_documents_are_refused(kind):
    with pytest.raises(Odd):
        rows_of(HOSTILE[kind], Service(scores=""), 1, 3)


def test_percent_is_noticed_at_the_first_answers(server, tmp_path, refused):
    server.respond = lambda handler, body: send(
        handler, {"predictions": [[93.2, 4.7, 2]] * len(json.loads(body)["instances"])}
    )
    before, how = server.requests, Service(scores="", rate=1e6, batch=2)
    asked = [server.url, how, PROBES, CLASSES, tmp_path / "calls.jsonl", "identity"]
    refused(lambda: service.ask(*asked), "sum to about 100", "unit: 100")
    assert server.requests == before + 1
    # the advice can be followed, and the call stays on record
    asked[1] = Service(scores="", rate=1e6, batch=2, unit=100)
    assert service.ask(*asked)[9] == [0.932, 0.047, 0.02]
    lines = (tmp_path / "calls.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 1 + 5 and "unit: 100" in lines[1]
    refused(lambda: service.ask(*asked[:1], Service(scores=""), *asked[2:]), "log of another query")


@pytest.mark.parametrize("body", ["raw", "multipart"])
def test_a_service_that_takes_jpeg_only(server, tmp_path, body):
    def respond(handler, content):
        if body == "multipart":
            assert b"Content-Type: image/jpeg" in content and b'filename="0.jpeg"' in content
            content = content[content.index(b"\xff\xd8\xff") :]
        else:
            assert handler.headers["Content-Type"] == "image/jpeg"
        with Image.open(io.BytesIO(content)) as image:
            send(handler, scores_of(int(np.array(image)[0, 0])))

    server.respond = respond
    how = Service(body=body, image="jpeg", single=True, images="file", answers="", scores="")
    asked = {NAMES[7]: PROBES[NAMES[7]]}
    rows = service.ask(server.url, how, asked, CLASSES, tmp_path / "calls.jsonl", "identity")
    assert rows == [EXPECTED[7]]


def test_one_request_is_shown_and_nothing_kept(server, tmp_path, refused, monkeypatch):
    secret = "very-secret" + "x" * 100  # longer than what is shown of a text
    monkeypatch.setenv("TOKEN", secret)
    how = Service(scores="", headers={"Authorization": "Bearer ${TOKEN}"}, batch=4)
    few, said = dict(list(PROBES.items())[:4]), []
    server.respond = lambda handler, body: send(
        handler,
        {"predictions": [scores_of(n) for n in range(4)], "echo": f"{secret}\x1b[2J", secret: 1},
    )
    before = server.requests
    assert service.try_one(server.url, how, few, CLASSES, said.append) == EXPECTED[:4]
    text = "\n".join(said)
    assert server.requests == before + 1 and "very-secret" not in text and "\x1b" not in text
    for part in (
        f"POST {server.url}",
        "Authorization: ***",
        "characters)",
        "answered 200",
        "[0.1, 0.0, 0.9]",
    ):
        assert part in text
    server.respond = lambda handler, body: send(
        handler, {"detail": f"no such field: {secret}"}, 422
    )
    said.clear()
    sentence = refused(
        lambda: service.try_one(server.url, how, few, CLASSES, said.append),
        "422",
        "no such field: ***",
    )
    assert "very-secret" not in sentence and said[-1].startswith('  {"detail"')
    server.respond = lambda handler, body: send(handler, b"[" * 100_000)
    refused(lambda: service.try_one(server.url, how, few, CLASSES, said.append), "no JSON")
    server.respond = lambda handler, body: send(handler, f"<html>busy {secret}".encode(), 503)
    refused(
        lambda: service.try_one(server.url, how, few, CLASSES, said.append), "503", "<html>busy"
    )
    assert list(tmp_path.iterdir()) == [] and "very-secret" not in "".join(said)


def test_a_private_authority_is_named_in_the_description(tmp_path, refused):
    server = Server()
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        server.respond = lambda handler, body: send(handler, {"predictions": EXPECTED})
        settings = {"scores": "", "batch": 10, "retries": 3}

        def ask(url=url, **more):
            how = Service(**settings, **more)
            return service.ask(url, how, PROBES, CLASSES, tmp_path / "calls.jsonl", "identity")

        refused(ask, "its certificate is not trusted", "self", "authority: FILE.pem")
        assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == 2  # not tried again
        assert ask(authority=str(CERTIFICATE)) == EXPECTED
        (tmp_path / "no.pem").write_text("no certificate")
        refused(lambda: ask(authority=str(tmp_path / "no.pem")), "no.pem", "no certificates")
        refused(lambda: ask(authority=str(tmp_path / "none.pem")), "none.pem is missing")
        refused(lambda: ask("http://localhost/", authority=str(CERTIFICATE)), "https")
    finally:
        server.server.shutdown()
        server.server.server_close()


def test_the_page_on_safety_states_the_limits():
    page = (home() / "book" / "safety.md").read_text(encoding="utf-8")
    limits = {
        f"{weights.LARGEST['safetensors'] // 2**30} GiB per file, {weights.MOST_TENSORS:,} tensors",
        f"{weights.LARGEST['onnx'] // 2**30} GiB per file; {weights.MEMORY // 2**30} GiB of memory",
        f"{weights.SECONDS} s of processor time",
        f"no number above {architectures.LARGEST_SETTING:,}; {architectures.MOST_MODULES:,} mod",
        f"{service.LARGEST_RESPONSE // 2**20} MiB on the line and unpacked",
        f"{service.LARGEST_WAIT} s at a time",
        f"{answers.LARGEST // 2**20} MiB; as many columns",
    }
    assert {limit for limit in limits if limit not in page} == set()
