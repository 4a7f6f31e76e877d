"""A model owner's whole way on the command line: fingerprint, query a file or a service, verify,
report.
"""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sacheck
from sacheck import (
    answers,
    calibration,
    description,
    fingerprint,
    images,
    manual,
    report,
    verbs,
)
from sacheck import case as case_module
from sacheck import cli as command_line
from sacheck.weights import ModelFile
from sacutils import attacks, figures, training
from sacutils.attacks import Task
from sacutils.data import images_below
from sacutils.files import UserError, home, sha256
from tests.conftest import listing, recipe, save_weights

SERVICE = "scores: ''\nbatch: 8\nretries: 3\nrate: 1000\n"
LABELS = "label: label\nbatch: 8\nretries: 3\nrate: 1000\n"


@pytest.fixture(scope="module")
def case(run, source, tmp_path_factory):
    """The owner's weights and images as files, and answers of 24 independent models."""
    folder = tmp_path_factory.mktemp("case")
    save_weights(source.state_dict(), folder / "owner.safetensors")
    gentle = recipe(lr=0.0001, epochs=1)
    images_of_thief = run.material.splits["attacker"]
    stolen, _ = attacks.finetune(source, Task(images_of_thief, 10, gentle, 7, "copy"))
    stolen.eval()
    save_weights(stolen.state_dict(), folder / "stolen.safetensors")
    split = run.material.splits["probe"]
    for number, (pixels, label) in enumerate(zip(split.pixels, split.labels.tolist(), strict=True)):
        path = folder / "images" / f"class {label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.encode(pixels))
    arguments = ["sacheck", "fingerprint", str(folder / "fp"), "--channels", "1", "--count", "80"]
    arguments += ["--model", str(folder / "owner.safetensors"), "--architecture", "vgg_bn_s"]
    arguments += ["--images", str(folder / "images"), "--kind", "source"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as left:
            command_line.main()
        assert not left.value.code
    own = fingerprint.load(folder / "fp")
    names = ["vgg_bn_s", "resnet_s", "vgg_s", "densenet_s"]
    models = []
    for number in range(25):
        scratch = recipe(lr=0.05, epochs=3, schedule="onecycle")
        task = Task(images_of_thief, 10, scratch, 500 + number, f"independent {number}")
        model, _ = attacks.train_independent(names[number % 4], task)
        models.append(model.eval())
    save_weights(models[-1].state_dict(), folder / "independent.safetensors")

    def write(model: torch.nn.Module, path: str) -> None:
        found = answers.detect(training.logits_of(model, own.pixels).double().numpy())
        answers.write(folder / path, found, own.commitment, "x", {"kind": "test"}, "test")

    for number, model in enumerate(models[:24]):
        write(model, f"independent/{number}.json")
    return {"folder": folder, "own": own, "stolen": stolen, "independent": models[-1]}


class Suspect:
    """A prediction service that answers with a real model, in one of several moods."""

    def __init__(self, model: torch.nn.Module, mood: str = "good") -> None:
        self.model, self.mood, self.requests = model, mood, 0
        self.seen: Counter[bytes] = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/predict"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        down = self.mood == "stops" and self.requests > 4
        if down or (self.mood == "flaky" and self.requests % 3 == 0):
            handler.send_error(503)
            return
        images = [base64.b64decode(text) for text in body["instances"]]
        self.seen.update(images)
        pixels = np.stack([np.array(Image.open(io.BytesIO(image)))[None] for image in images])
        logits = training.logits_of(self.model, torch.from_numpy(pixels))
        if self.mood == "labels":
            rows: list[Any] = [{"label": int(label)} for label in logits.argmax(1)]
        else:
            rows = logits.softmax(1).double().tolist()
        content = json.dumps({"predictions": rows}).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


@pytest.fixture
def serve():
    running = []

    def start(*arguments: Any) -> Suspect:
        running.append(Suspect(*arguments))
        return running[-1]

    yield start
    for each in running:
        each.server.shutdown()
        each.server.server_close()


@pytest.fixture
def mapping(tmp_path):
    """Files that describe a service which shows probabilities, or labels."""
    for name, text in (("scores", SERVICE), ("labels", LABELS)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def query_stolen(cli, case, out, *more):
    """Answers of the stolen model, from its file."""
    folder = case["folder"]
    model = ["--model", folder / "stolen.safetensors", "--architecture", "vgg_bn_s"]
    return cli("query", folder / "fp", "--out", out, *model, *more)


def verify(cli, case, answered, *more):
    """Verdict of a file of answers, with all independent models."""
    folder = case["folder"]
    return cli("verify", folder / "fp", answered, "--independent", folder / "independent", *more)


def test_suspects_asked_at_once_answer_as_one_after_the_other(case, tmp_path, monkeypatch):
    folder, own, usual = tmp_path / "suspects", case["folder"] / "fp", torch.get_num_threads()
    folder.mkdir()
    for number in range(6):
        who = ("stolen", "independent")[number % 2]
        shutil.copy(case["folder"] / f"{who}.safetensors", folder / f"{number}.safetensors")
    found = {}
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        asked = sacheck.query(own, tmp_path / str(threads), model=folder, architecture="vgg_bn_s")
        files = {path.name: json.loads(path.read_text()) for path in asked.answers}
        found[threads] = {name: (made["origin"], made["outputs"]) for name, made in files.items()}
    monkeypatch.undo()
    torch.set_num_threads(usual)
    assert found[1] == found[3] and list(found[3]) == [f"{number}.json" for number in range(6)]
    assert found[3]["0.json"][1] != found[3]["1.json"][1]

    (folder / "3.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"3\.safetensors"):
        sacheck.query(own, tmp_path / "broken", model=folder, architecture="vgg_bn_s")
    assert torch.get_num_threads() == usual and not (tmp_path / "broken").exists()


def test_the_same_verdict_from_safetensors_onnx_service_and_table(
    cli, case, serve, mapping, tmp_path
):
    folder, own = case["folder"], case["own"]
    for who, code in (("stolen", 3), ("independent", 0)):
        model = case[who]
        some, batch = torch.zeros(2, 1, 16, 16), torch.export.Dim("n")
        settings = {"dynamic_shapes": ({0: batch},), "external_data": False, "verbose": False}
        torch.onnx.export(model, (some,), tmp_path / f"{who}.onnx", **settings)
        shares = training.logits_of(model, own.pixels).double().softmax(1).numpy()
        table = pd.DataFrame(shares, columns=own.manifest.class_names)
        table.insert(0, "probe", own.names)
        table.to_csv(tmp_path / f"{who}.csv", index=False)
        ways = {
            "safetensors": ["--model", folder / f"{who}.safetensors", "--architecture", "vgg_bn_s"],
            "onnx": ["--model", tmp_path / f"{who}.onnx"],
            "service": ["--url", serve(model).url, "--service", mapping / "scores.yaml"],
            "table": ["--table", tmp_path / f"{who}.csv"],
        }
        found = {}
        for way, arguments in ways.items():
            out = tmp_path / f"{who}-{way}.json"
            assert cli("query", folder / "fp", "--out", out, *arguments)[::2] == (0, "")
            result = tmp_path / f"{who}-{way}-verdict.json"
            exit_code, text, _ = verify(cli, case, out, "--out", result)
            assert exit_code == code, text
            found[way] = json.loads(result.read_text())["verdict"]
        first = found["safetensors"]
        assert first["verdict"] in text and first["p_floor"] == pytest.approx(1 / 25)
        for other in found.values():
            assert (other["verdict"], other["p"]) == (first["verdict"], first["p"])
            assert other["distance"] == pytest.approx(first["distance"], abs=1e-5)


def test_a_service_that_shows_labels_only(cli, case, serve, mapping, tmp_path):
    for who, codes in (("stolen", {3}), ("independent", {0, 4})):
        out = tmp_path / f"{who}.json"
        code, text, _ = cli(
            "query",
            case["folder"] / "fp",
            "--out",
            out,
            "--url",
            serve(case[who], "labels").url,
            "--service",
            mapping / "labels.yaml",
        )
        assert code == 0 and "output form: labels" in text
        code, text, _ = verify(cli, case, out)
        assert code in codes and "labels; the suspect shows labels" in text, text


def test_one_request_is_tried_before_any_budget_is_spent(cli, case, serve, mapping, tmp_path):
    suspect, before = serve(case["stolen"]), listing(tmp_path)
    arguments = ["--url", suspect.url, "--service", mapping / "scores.yaml", "--try-one"]
    code, text, error = cli("query", case["folder"] / "fp", *arguments)
    assert (code, error) == (0, "") and suspect.requests == 1 and listing(tmp_path) == before
    assert "POST http" in text and '{"predictions": [[' in text and "8 of 8 anchors agree" in text
    assert text.count("the owner's model says") == 8 and "output form: probabilities" in text


def test_the_verbs_are_functions_too(cli, case, serve, mapping, tmp_path):
    fp, known = case["folder"] / "fp", case["folder"] / "independent"
    asked = {"url": serve(case["stolen"]).url, "service": mapping / "scores.yaml"}
    told = sacheck.query(fp, tmp_path / "a.json", **asked)
    assert list(told.answers) == [tmp_path / "a.json"] and "output form: probabilities" in told.text
    files = {"independent": [str(known)], "out": str(tmp_path / "v.json")}
    judged = sacheck.verify(str(fp), str(tmp_path / "a.json"), **files)
    assert judged.verdict.verdict == "derivation"
    schema = case_module.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    written = json.loads((tmp_path / "v.json").read_text())
    jsonschema.validate(written, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written | {"more": 1}, schema)
    with pytest.raises(UserError, match="exactly one"):
        sacheck.query(fp, tmp_path / "b.json")
    with pytest.raises(AttributeError):
        _ = sacheck.nothing


def test_a_service_that_fails_every_third_request(cli, case, serve, mapping, tmp_path):
    suspect = serve(case["stolen"], "flaky")
    out = tmp_path / "a.json"
    assert (
        cli(
            "query",
            case["folder"] / "fp",
            "--out",
            out,
            "--url",
            suspect.url,
            "--service",
            mapping / "scores.yaml",
        )[0]
        == 0
    )
    assert set(suspect.seen.values()) == {1} and len(suspect.seen) == len(case["own"].names)
    assert suspect.requests > len(case["own"].names) // 8 + 1
    assert verify(cli, case, out)[0] == 3


def test_a_service_that_stops_half_way_is_asked_on_without_repetition(
    cli, case, serve, mapping, tmp_path
):
    (tmp_path / "scores.yaml").write_text(SERVICE.replace("retries: 3", "retries: 0"))
    suspect, out = serve(case["stolen"], "stops"), tmp_path / "a.json"
    arguments = [
        "query",
        case["folder"] / "fp",
        "--out",
        out,
        "--url",
        suspect.url,
        "--service",
        mapping / "scores.yaml",
    ]
    code, _, error = cli(*arguments)
    assert code == 1 and error.startswith("Error: ") and not out.exists()
    suspect.mood = "good"
    assert cli(*arguments)[0] == 0
    assert set(suspect.seen.values()) == {1} and len(suspect.seen) == len(case["own"].names)
    assert verify(cli, case, out)[0] == 3


def test_the_commitment_is_checked(cli, case, tmp_path):
    out = tmp_path / "a.json"
    query_stolen(cli, case, out)
    code, text, _ = verify(cli, case, out, "--commitment", case["own"].commitment)
    assert code == 3 and case["own"].commitment in text
    code, _, error = verify(cli, case, out, "--commitment", "0" * 64)
    assert code == 1 and "another fingerprint" in error


def test_a_verdict_that_cannot_be_kept_leaves_no_report(cli, case, tmp_path, monkeypatch):
    out, arguments = tmp_path / "a.json", ["--report", tmp_path / "r.html"]
    query_stolen(cli, case, out)
    arguments += ["--out", tmp_path / "r.json"]
    with monkeypatch.context() as patched:

        def full(path, value):
            raise UserError(f"{path} cannot be written (No space left on device).")

        patched.setattr(verbs.files, "write_json", full)
        code, _, error = verify(cli, case, out, *arguments)
        assert code == 1 and "r.json cannot be written" in error
    assert not (tmp_path / "r.html").exists()
    assert verify(cli, case, out, *arguments)[0] == 3  # nothing stands in its way


def test_the_report_is_one_page_without_network(cli, case, tmp_path):
    folder, out = case["folder"], tmp_path / "a.json"
    query_stolen(cli, case, out, "--name", "<b>x")
    arguments = ["--report", tmp_path / "r.html", "--out", tmp_path / "r.json"]
    assert verify(cli, case, out, *arguments)[0] == 3
    page = (tmp_path / "r.html").read_text()
    assert (
        not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
        and "<script" not in page
        and "url(" not in page
    )
    assert "<b>x" not in page and "&lt;b&gt;x" in page  # a suspect's name is text, never markup
    for word in (
        "false claims",
        "training images",
        "architecture",
        "not</em> the probability",
        case["own"].commitment,
    ):
        assert word.lower() in page.lower()
    for probe in case["own"].manifest.probes:
        assert probe.sha256 in page
    record = json.loads((tmp_path / "r.json").read_text())
    assert len(record["origins"]) == len(record["verdict"]["independent"]) == 24
    assert "reference" not in page.lower() and "derivative" not in page.lower()
    assert (
        record["verdict"]["verdict"] in page
        and record["sha256"]["suspect a.json"]
        and "nonce" not in record["fingerprint"]
    )
    assert str(tmp_path) not in page and str(folder) not in page


def test_verdicts_and_answers_are_never_overwritten(cli, case, tmp_path, turned_down):
    folder, out = case["folder"], tmp_path / "a.json"
    query_stolen(cli, case, out)
    for name in ("file", "file.html"):
        (tmp_path / name).touch()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    known = ["--independent", folder / "independent"]
    two = tmp_path / "two"
    two.mkdir()
    for ending in ("safetensors", "onnx"):
        (two / f"m.{ending}").touch()
    for arguments, *words in [
        (["verify", folder / "fp", out, *known, "--out", out], "a.json exists"),
        (
            ["verify", folder / "fp", out, *known, "--report", tmp_path / "file.html"],
            "file.html exists",
        ),
        (["verify", folder / "fp", out, *known, "--report", tmp_path / "r.pdf"], "a .html file"),
        (["verify", folder / "fp", out, *known, "--out", tmp_path / "r.html"], "a .json file"),
        (["verify", folder / "fp", out, *known, "--out", tmp_path], "exists"),
        (
            ["verify", folder / "fp", out, *known, "--out", tmp_path / "file" / "v.json"],
            "no folder",
        ),
        (
            ["query", folder / "fp", "--out", tmp_path / "file" / "b.json", "--table", "none.csv"],
            "no folder",
        ),
        (
            ["query", folder / "fp", "--out", tmp_path / "answers", "--model", two],
            "m.onnx and m.safetensors",
        ),
        (
            [
                "query",
                folder / "fp",
                "--out",
                tmp_path / ("b" * 300 + ".json"),
                "--table",
                "none.csv",
            ],
            "too long",
        ),
    ]:
        turned_down(arguments, words)
    shutil.rmtree(two)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_module_in_the_current_folder_is_not_run(tmp_path):
    for name in ("typer", "rich", "numpy", "torch", "json", "pathlib", "typing"):
        (tmp_path / f"{name}.py").write_text("open('harm', 'w').close()\n")
    command = [
        sys.executable,
        "-P",
        "-m",
        "sacheck",
        "verify",
        "fp",
        "a.json",
        "--independent",
        "b.json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "fp is no folder" in done.stderr
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("kind", [UserError, lambda text: OSError(2, "gone", text)])
def test_what_is_printed_steers_no_terminal(cli, monkeypatch, kind):
    def fail() -> None:
        raise kind("a\x1b[2Jb\nc\ud800")

    monkeypatch.setattr(command_line, "app", fail)
    code, _, error = cli()
    assert code == 1 and error.startswith("Error: a [2Jb c ") and error.count("\n") == 1


def test_class_names_are_text_and_no_formulas(case, tmp_path):
    pixels = case["own"].pixels[:2]
    figure = figures.images({"row": pixels}, {"row": [r"a$\frac{$", "\u732b"]})
    assert report.embedded(figure).startswith("data:image/svg")


def test_an_independent_model_may_be_called_as_the_suspect_but_not_be_it(cli, case, tmp_path):
    folder, out = case["folder"], tmp_path / "a.json"
    query_stolen(cli, case, out)
    known = sorted((folder / "independent").iterdir())
    (tmp_path / "more").mkdir()
    same_name = tmp_path / "more" / "a.json"
    same_name.write_bytes(known[0].read_bytes())
    verify = ["verify", folder / "fp", out, "--independent"]
    assert cli(*verify, tmp_path / "more", "--alpha", "0.5", "--out", tmp_path / "v.json")[0] in (
        3,
        4,
    )
    hashes = json.loads((tmp_path / "v.json").read_text())["sha256"]
    files = {"suspect a.json": out, "independent a.json": same_name}
    assert {name: hashes[name] for name in files} == {
        name: sha256(path) for name, path in files.items()
    }
    same_name.rename(tmp_path / "more" / "b.json")
    (tmp_path / "more" / "c.json").write_bytes(out.read_bytes())
    code, _, error = cli(*verify, tmp_path / "more")
    assert code == 1 and "c.json holds the suspect's own answers" in error


def test_models_of_the_zoo_answer_as_their_files(run, case):
    name = run.names("independent")[0]
    found = calibration.ask(run, [name], case["own"].pixels)[name]
    weights = ModelFile(run.zoo.path(name), run.zoo.specs[name].architecture)
    assert np.allclose(found.outputs, weights.outputs(case["own"].pixels, 10), atol=1e-5)
    answer, described = calibration.owned(run, name)
    assert described.sha256 == sha256(run.zoo.path(name))
    assert np.array_equal(answer(case["own"].pixels), found.outputs)


def test_wrong_uses_are_refused_and_write_nothing(cli, case, tmp_path, turned_down):
    folder = case["folder"]
    out = tmp_path / "a.json"
    query_stolen(cli, case, out)
    before = listing(tmp_path)
    known = sorted((folder / "independent").iterdir())[0]
    query, check = (
        ["query", folder / "fp", "--out", tmp_path / "b.json"],
        ["verify", folder / "fp", out, "--independent"],
    )
    own = [
        "fingerprint",
        tmp_path / "new",
        "--model",
        folder / "owner.safetensors",
        "--architecture",
        "vgg_bn_s",
        "--channels",
        1,
        "--kind",
        "normal",
    ]
    for arguments, *words in [
        (query, "--model", "--url"),
        ([*query, "--url", "http://127.0.0.1:9/"], "--service"),
        ([*query, "--model", folder / "stolen.safetensors"], "architecture"),
        (
            [*query, "--model", folder / "stolen.safetensors", "--architecture", "resnet_s"],
            "stolen.safetensors",
        ),
        (
            [*query, "--model", folder / "stolen.safetensors", "--architecture", "nothing:here"],
            "nothing",
        ),
        (
            [
                *query,
                "--model",
                folder / "stolen.safetensors",
                "--architecture",
                "vgg_bn_s",
                "--mean",
                "a",
            ],
            "--mean",
        ),
        ([*query[:-1], out, "--table", out], "exists"),
        ([*query[:-1], tmp_path / "b.txt", "--table", out], ".json"),
        ([*query, "--table", tmp_path / "none.csv"], "missing"),
        ([*check, tmp_path / "nothing"], "missing"),
        ([*check, known, "--independent", known], "already; rename one"),
        ([*own, "--images", "nothing"], "nothing is no folder"),
        ([*own, "--images", folder / "images", "--kind", "w"], "surrogate"),
        ([*own, "--images", folder / "images" / "class 0", "--kind", "m"], "--class-names"),
        ([*own, "--images", folder / "images", "--channels", 3], "[16, 1, 5, 5]"),
        ([*own, "--images", folder / "images", "--surrogate-architecture", "vgg_s"], "no effect"),
        ([*own, "--images", folder / "images", "--layout", "nhwc"], "ONNX files only"),
        ([*query, "--table", out, "--architecture", "vgg_s"], "--architecture has no effect"),
        ([*query, "--table", out, "--maximum", 255], "--maximum has no effect with --table"),
        (
            [*query[:2], "--url", "http://x/", "--service", "djl", "--name", "x", "--try-one"],
            "--name has no effect with --try-one",
        ),
        ([*query, "--url", "http://x/", "--service", "kserve", "--try-one"], "--out has no effect"),
        ([*query, "--url", "http://x/", "--service", "kserve", "--architecture", "vgg_s"], "--url"),
        (
            [
                *query,
                "--url",
                "http://x/",
                "--service",
                "torchserve",
                "--mean",
                "0.5",
                "--std",
                "1",
            ],
            "mean, std has no effect with image: png",
        ),
        ([*query, "--url", "http://x/", "--service", "kserv"], "kserv is no file", "kserve"),
        ([*query, "--table", out, "--try-one"], "--try-one has no effect with --table"),
        ([*query[:2], "--table", out], "--out is needed"),
        ([*query, "--model", folder, "--name", "x"], "--name has no effect"),
    ]:
        turned_down(arguments, words)
    assert listing(tmp_path) == before


def test_help_teaches(cli):
    code, text, _ = cli("--help")
    assert code == 0
    for word in ("fingerprint", "query", "verify", "sibling", "commitment", "Exit codes: 0"):
        assert word in text
    for command in command_line.app.registered_commands:
        verb = command.name or command.callback.__name__
        code, text, _ = cli(verb, "--help")
        assert code == 0 and re.search(rf"Examples?:\n    sacheck {verb} ", text), verb


def test_the_page_of_the_command_is_fresh():
    page = (home() / "book" / "command.md").read_text(encoding="utf-8")
    assert page == manual.page(), "python -m sacheck.manual > book/command.md"
    assert page.startswith("# The command sacheck") and "$shape" in page
    for name in description.ready_made():
        assert f"\n`{name}`\n: " in page


def test_the_shell_completes():
    words = {"_SACHECK_COMPLETE": "complete_bash", "COMP_WORDS": "sacheck qu", "COMP_CWORD": "1"}
    done = CliRunner().invoke(command_line.app, [], env=words, prog_name="sacheck")
    assert done.output == "query\n"


def test_folder_of_images_without_classes(cli, run, case, tmp_path):
    folder = case["folder"]
    for path in images_below(folder / "images"):
        target = tmp_path / "flat" / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    arguments = [
        "--model",
        folder / "owner.safetensors",
        "--architecture",
        "vgg_bn_s",
        "--channels",
        "1",
        "--kind",
        "jc",
    ]
    arguments += [
        "--images",
        tmp_path / "flat",
        "--class-names",
        ",".join(run.material.class_names),
        "--count",
        "20",
    ]
    code, text, error = cli("fingerprint", tmp_path / "fp", *arguments)
    assert code == 0, error
    made = fingerprint.load(tmp_path / "fp")
    assert (
        made.commitment in text
        and (~made.is_anchor).sum() == 20
        and made.manifest.images.startswith("folder flat")
    )


class Payload:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def hostile(kind: str, case: dict[str, Any], folder: Path) -> list[Any]:
    """Arguments of `query` with one thing in them that must be refused."""
    own, weights = case["own"], case["folder"] / "stolen.safetensors"
    table = pd.DataFrame(own.answers.outputs, columns=own.manifest.class_names).astype(object)
    table.insert(0, "probe", own.names)
    path = folder / "suspect.csv"
    match kind:
        case "pickle":
            path = folder / "suspect.pt"
            torch.save(Payload(folder / "harm"), path)
            return ["--model", path, "--architecture", "vgg_bn_s"]
        case "zip bomb":
            path = folder / "suspect.onnx"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("zeros", bytes(20_000_000))
            return ["--model", path]
        case "truncated":
            path = folder / "suspect.safetensors"
            path.write_bytes(weights.read_bytes()[:20_000])
            return ["--model", path, "--architecture", "vgg_bn_s"]
        case "absurd header":
            path = folder / "suspect.safetensors"
            path.write_bytes((2**62).to_bytes(8, "little") + b"{" + bytes(100))
            return ["--model", path, "--architecture", "vgg_bn_s"]
        case "NaN":
            table.iloc[3, 2] = "nan"
        case "infinite":
            table.iloc[3, 2] = "-inf"
        case "wrong class count":
            table = table.iloc[:, :-1]
        case "duplicated probes":
            table["probe"] = [own.names[0], *own.names[:-1]]
        case "missing cells":
            table.iloc[5, 4] = None
    table.to_csv(path, index=False)
    return ["--table", path]


KINDS = [
    "pickle",
    "zip bomb",
    "truncated",
    "absurd header",
    "NaN",
    "infinite",
    "wrong class count",
]
KINDS += ["duplicated probes", "missing cells"]


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_input_is_one_sentence_and_leaves_nothing(cli, case, tmp_path, kind):
    arguments = hostile(kind, case, tmp_path)
    before = listing(tmp_path)
    code, out, error = cli("query", case["folder"] / "fp", "--out", tmp_path / "a.json", *arguments)
    assert code == 1 and out == "" and error.startswith("Error: ") and error.count("\n") == 1, error
    assert listing(tmp_path) == before


def test_a_link_in_the_folder_is_refused(cli, case, tmp_path):
    folder = shutil.copytree(case["folder"] / "fp", tmp_path / "fp")
    probe = folder / "probes" / "probe-0000.png"
    probe.rename(tmp_path / "elsewhere.png")
    probe.symlink_to(tmp_path / "elsewhere.png")
    weights = case["folder"] / "stolen.safetensors"
    code, _, error = cli(
        "query",
        folder,
        "--out",
        tmp_path / "a.json",
        "--model",
        weights,
        "--architecture",
        "vgg_bn_s",
    )
    assert code == 1 and "symbolic link" in error and not (tmp_path / "a.json").exists()
