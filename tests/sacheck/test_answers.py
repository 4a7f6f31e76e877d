"""Answers: their form is told from the numbers, tables are read or refused with a sentence."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sacheck import answers
from sacheck.answer_tables import read_table
from sacheck.answers import Answers
from sacutils import correlation
from tests.conftest import listing

NAMES = [f"probe-{i:04d}.png" for i in range(4)]
CLASSES = ["cat", "dog", "cow"]
SHARES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5], [0.6, 0.3, 0.1]])


@given(arrays(np.float64, (5, 4), elements=st.floats(-8, 8)))
def test_softmax_is_told_from_logits(logits):
    shares = torch.from_numpy(logits).softmax(-1).numpy()
    assert answers.detect(shares).form == "probabilities"
    assert answers.detect(shares.round(2)).form in ("probabilities", "labels")
    shifted = logits - 20  # negative in every entry, so never shares
    assert answers.detect(shifted)[1:] == ("logits", 4)


def test_forms_are_told_from_the_numbers():
    labels = np.eye(3)[[0, 1, 1]]
    assert answers.detect(labels)[1:] == ("labels", 1)
    top = np.where(SHARES >= 0.3, SHARES, 0) * 0.9
    assert answers.detect(top)[1:] == ("top-k", 2)
    assert answers.detect(np.log(SHARES)).form == "logits"


def test_rounding_makes_no_logits_of_probabilities():
    rows = np.array([[0.7, 0.3, 0.0], [0.2, 0.3, 0.5], [1.0, 1e-16, -1e-16]])
    found = answers.detect(rows)
    assert found[1:] == ("probabilities", 3) and found.outputs.min() == 0
    assert answers.detect(rows - [0, 0, 1e-3]).form == "logits"
    top = answers.from_rows([{0: 0.6, 1: -5e-7}, {2: 0.5, 1: 0.1}], 3)
    assert top.form == "top-k" and top.outputs.min() == 0


def test_an_answer_that_names_a_class_without_a_score_is_refused(refused):
    refused(lambda: answers.check_row({1: 0.0}, 3, "row"), "all scores are 0")
    assert answers.check_row({1: 0.0, 2: 0.1}, 3, "row") == {1: 0.0, 2: 0.1}
    assert answers.check_row([0.0, 0.0, 0.0], 3, "row") == [0.0, 0.0, 0.0]  # logits may be


def test_rows_of_a_service_keep_their_kind():
    assert answers.from_rows([2, 0], 3).outputs.tolist() == [[0, 0, 1], [1, 0, 0]]
    top = answers.from_rows([{2: 0.5, 1: 0.4}, {0: 0.9, 2: 0.05}], 3)
    assert top.outputs.tolist() == [[0, 0.4, 0.5], [0.9, 0, 0.05]] and top[1:] == ("top-k", 2)
    assert answers.from_rows([{0: 0.5, 1: 0.4, 2: 0.1}], 3)[1:] == ("probabilities", 3)
    assert answers.from_rows(SHARES.tolist(), 3)[1:] == ("probabilities", 3)


@pytest.mark.parametrize("classes", [30, 100, 1000])
def test_the_first_scores_of_many_classes_are_no_full_probabilities(classes):
    full = np.random.default_rng(0).dirichlet(np.full(classes, 0.1), 40)
    kept = np.sort(full, 1)[:, [-8]]
    top = np.where(full >= kept, full, 0)
    assert answers.detect(full).form == answers.detect(full.round(6)).form == "probabilities"
    assert answers.detect(top)[1:] == ("top-k", 8)
    # whatever they miss, they are then compared with as many scores of the controls
    assert answers.weakest([answers.detect(top), answers.detect(full)]) == ("top-k", 8)
    even = np.random.default_rng(1).dirichlet(np.full(classes, 200.0), 40)
    assert answers.detect(even.round(2 + (classes == 1000))).form == "probabilities"


def test_where_some_answers_name_a_part_of_the_classes_all_are_scores_up_to_one(refused):
    for row in ({0: 5.0, 1: 2.0, 2: 1.0}, {0: -5.0, 1: 2.0, 2: 1.0}):
        refused(lambda row=row: answers.from_rows([row, {0: 0.9}], 3), "from 0 to 1", "service")
    assert answers.from_rows([{0: 0.2, 1: 0.5, 2: 0.3}, {0: 0.9}], 3)[1:] == ("top-k", 1)


def test_answers_of_several_kinds_are_refused(refused):
    refused(lambda: answers.from_rows([1, [0.1, 0.9]], 2), "several ways", "int", "list")


def test_the_weakest_form_decides():
    full, top = Answers(SHARES, "probabilities", 3), answers.from_rows([{0: 0.5, 1: 0.4}], 3)
    assert answers.weakest([full, Answers(np.log(SHARES), "logits", 3)]) == ("probabilities", 3)
    assert answers.weakest([Answers(SHARES, "logits", 3)]) == ("probabilities", 3)
    assert answers.weakest([full, top]) == ("top-k", 2)
    assert answers.weakest([full, top, answers.from_rows([1], 3)]) == ("labels", 1)


def test_conversion_goes_through_softmax_and_top_k():
    logits = Answers(np.log(SHARES) + 3, "logits", 3)
    assert torch.allclose(answers.convert(logits, "probabilities", 3), torch.from_numpy(SHARES))
    assert answers.convert(logits, "top-k", 1)[1].tolist() == pytest.approx([0, 0.8, 0])
    expected = correlation.to_form(torch.from_numpy(SHARES), "labels")
    assert torch.equal(answers.convert(Answers(SHARES, "probabilities", 3), "labels", 1), expected)


def frame(**changes: object) -> pd.DataFrame:
    table = pd.DataFrame(SHARES, columns=CLASSES)
    table.insert(0, "probe", NAMES)
    return table.assign(**changes)


def test_a_table_gives_the_same_answers(tmp_path):
    path = tmp_path / "answers.csv"
    frame()[["dog", "probe", "cow", "cat"]].to_csv(path, index=False)
    found = read_table(path, NAMES, CLASSES)
    assert found[1:] == ("probabilities", 3) and np.allclose(found.outputs, SHARES)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as spreadsheets write it
    assert np.allclose(read_table(path, NAMES, CLASSES).outputs, SHARES)


def test_labels_and_top_k_from_tables(tmp_path):
    path = tmp_path / "labels.csv"
    pd.DataFrame({"probe": NAMES, "label": ["dog", "cat", "2", "cow"]}).to_csv(path, index=False)
    assert read_table(path, NAMES, CLASSES).predicted.tolist() == [1, 0, 2, 2]
    columns = {
        "label_1": ["dog"] * 4,
        "score_1": [0.6] * 4,
        "label_2": ["cow"] * 4,
        "score_2": [0.3] * 4,
    }
    pd.DataFrame({"probe": NAMES} | columns).to_csv(path, index=False)
    found = read_table(path, NAMES, CLASSES)
    assert found[1:] == ("top-k", 2) and found.outputs[0].tolist() == [0, 0.6, 0.3]


def as_text(**options: object) -> bytes:
    """The table as other people write it."""
    return frame().to_csv(index=False, **options).encode(options.get("encoding", "utf-8"))


WAYS = {
    "semicolons and decimal commas": as_text(sep=";", decimal=","),
    "tabs, UTF-16": frame().to_csv(index=False, sep="\t").encode("utf-16"),
    "tabs and decimal commas with exponents": as_text(sep="\t", decimal=",", float_format="%.6e"),
    "an index of pandas": frame().to_csv().encode(),
    "an index of pandas, read and written again": frame().reset_index().to_csv().encode(),
    "rows in another order": frame().iloc[[2, 0, 3, 1]].to_csv().encode(),
    "probes by path": frame(probe=[f"fp\\probes/{name}" for name in NAMES]).to_csv().encode(),
    "blanks after commas": as_text().replace(b",", b", "),
    "another case": as_text().replace(b"probe,", b"Probe ,"),
    "percent": frame(
        **{c: [f"{100 * v:.0f} %" for v in SHARES[:, i]] for i, c in enumerate(CLASSES)}
    )
    .to_csv(index=False, sep=";")
    .encode(),
    "empty columns and rows": as_text(sep=";").replace(b"\n", b";;\n") + b";;;;;\n",
    "empty lines": as_text().replace(b"\n", b"\r\n\r\n"),
}


@pytest.mark.parametrize("way", WAYS)
def test_tables_are_read_as_spreadsheets_and_pandas_write_them(tmp_path, way):
    (tmp_path / "a.csv").write_bytes(WAYS[way])
    found = read_table(tmp_path / "a.csv", NAMES, CLASSES)
    assert found.form == "probabilities" and np.allclose(found.outputs, SHARES)


def test_a_decimal_comma_is_none_where_commas_separate(tmp_path, refused):
    (tmp_path / "a.csv").write_text(frame().to_csv(index=False, decimal=",", quoting=1))
    refused(lambda: read_table(tmp_path / "a.csv", NAMES, CLASSES), "'0,7'", "a number is needed")


def test_labels_as_spreadsheets_write_them(tmp_path):
    path = tmp_path / "a.csv"
    for labels in (["dog", "cat", "2.0", "1"], [1.0, 0.0, 2.0, 1.0]):
        pd.DataFrame({"Probe": NAMES, "LABEL": labels}).to_csv(path)
        assert read_table(path, NAMES, CLASSES).predicted.tolist() == [1, 0, 2, 1]
    pd.DataFrame({"probe": NAMES, "label": ["dog"] * 4, "score": 0.9}).to_csv(path)
    found = read_table(path, NAMES, CLASSES)
    assert found[1:] == ("top-k", 1) and found.outputs[0].tolist() == [0, 0.9, 0]
    names = ["tench, Tinca tinca", "hen, cock, chick", "a; b"]
    pd.DataFrame({"probe": NAMES, "label": [*names, names[0]]}).to_csv(path)
    assert read_table(path, NAMES, names).predicted.tolist() == [0, 1, 2, 0]
    for separator in ",;\t":
        table = pd.DataFrame(SHARES, columns=names)
        table.assign(probe=NAMES).to_csv(path, sep=separator, index=False)
        assert np.allclose(read_table(path, NAMES, names).outputs, SHARES)
    names = ["1,5", "index", "label"]  # classes that look like something else
    pd.DataFrame({"probe": NAMES, "label": [*names, "1,5"]}).to_csv(path, sep=";", index=False)
    assert read_table(path, NAMES, names).predicted.tolist() == [0, 1, 2, 0]
    table = pd.DataFrame(SHARES, columns=names)
    table.insert(0, "probe", NAMES)
    table.to_csv(path, sep=";", index=False)
    assert np.allclose(read_table(path, NAMES, names).outputs, SHARES)


def test_arrays_are_read_or_refused(tmp_path, refused):
    path = tmp_path / "a.npy"

    def read(values, **options):
        np.save(path, values, **options)
        return read_table(path, NAMES, CLASSES)

    for values in (SHARES, np.asfortranarray(SHARES.astype(np.float32))):
        assert np.allclose(read(values).outputs, SHARES)
    for values in (
        [1, 0, 2, 1],
        [[1], [0], [2], [1]],
        [1.0, 0.0, 2.0, 1.0],
        np.eye(3, dtype=bool)[[1, 0, 2, 1]],
    ):
        found = read(np.array(values))
        assert found.form == "labels" and found.predicted.tolist() == [1, 0, 2, 1]
    refused(lambda: read(np.array([1, 2, 3, 1])), "3 for probe-0002.png", "from 0 to 2")
    refused(lambda: read(np.array([0.5, 2, 1, 1])), "0.5 for probe-0000.png", "whole numbers")
    refused(lambda: read(np.array([np.nan, 2, 1, 1])), "nan for probe-0000.png")
    refused(lambda: read(SHARES[:3]), "3 x 3", "4 probes x 3 classes")
    refused(lambda: read(np.array(["a"] * 4)), "real numbers are needed")
    refused(lambda: read(np.array([None] * 4), allow_pickle=True), "a.npy cannot be read")
    huge = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4, 99999999999999), }"
    huge = b"\x93NUMPY\x01\x00v\x00" + huge.ljust(117) + b"\n"
    odd = [
        b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head
        for head in (b"{'descr': (\n", b"{1: 2, 'a': 3}", b"'" * 3, b"-" * 6000 + b"1")
    ]
    for content in (huge, huge[:30], b"PK\x03\x04" + bytes(100), b"", *odd):
        path.write_bytes(content)
        refused(lambda: read_table(path, NAMES, CLASSES), "a.npy cannot be read")


BAD = {
    "a probe twice": (frame(probe=[NAMES[0], NAMES[0], *NAMES[2:]]), "probe-0000.png", "two rows"),
    "far more rows than probes": (frame().iloc[[0] * 9], "probe-0000.png", "two rows"),
    "an unknown probe": (frame(probe=["x.png", *NAMES[1:]]), "'x.png'", "no probe"),
    "a missing cell": (frame(dog=[0.2, None, 0.25, 0.3]), "'dog'", "probe-0001.png"),
    "not a number": (frame(dog=[0.2, "many", 0.25, 0.3]), "'many'", "probe-0001.png"),
    "NaN in words": (frame(dog=[0.2, "nan", 0.25, 0.3]), "not finite", "probe-0001.png"),
    "infinite": (frame(dog=[0.2, "inf", 0.25, 0.3]), "not finite", "probe-0001.png"),
    "a class too few": (frame().drop(columns="dog"), "cat, cow", "3 classes"),
    "a class too many": (frame(bird=0.0), "bird", "3 classes"),
    "a row too few": (frame().iloc[:3], "3 rows", "none for probe-0003.png", "4 are needed"),
    "no probe column": (frame().drop(columns="probe"), "'probe'", "probe-0000.png"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_tables_are_refused(tmp_path, refused, kind):
    table, *words = BAD[kind]
    path = tmp_path / "bad.csv"
    table.to_csv(path, index=False)
    refused(lambda: read_table(path, NAMES, CLASSES), path.name, *words)
    assert listing(tmp_path) == [path.name]


def test_bad_top_k_tables_are_refused(tmp_path, refused):
    path = tmp_path / "top.csv"
    good = {
        "probe": NAMES,
        "label_1": ["dog"] * 4,
        "score_1": [0.6] * 4,
        "label_2": ["cow"] * 4,
        "score_2": [0.3] * 4,
    }
    for changed, *words in [
        ({"label_2": ["dog"] * 4}, "named twice", "probe-0000.png"),
        ({"score_2": [1.5] * 4}, "1.5", "0 to 1"),
        ({"label_2": ["bird"] * 4}, "'bird'", "no class"),
        ({"score_3": [0.1] * 4}, "score_3", "label_1"),
        ({"score_1": ["nan"] * 4}, "nan", "finite"),
    ]:
        pd.DataFrame(good | changed).to_csv(path, index=False)
        refused(lambda: read_table(path, NAMES, CLASSES), *words)


def test_other_files_are_refused(tmp_path, refused):
    (tmp_path / "a.csv").write_bytes(bytes(range(256)) * 4)
    refused(lambda: read_table(tmp_path / "a.csv", NAMES, CLASSES), "a.csv", "cannot be read")
    (tmp_path / "a.xlsx").write_text("x")
    refused(lambda: read_table(tmp_path / "a.xlsx", NAMES, CLASSES), "'.xlsx'", ".csv or .npy")
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    refused(lambda: read_table(tmp_path / "link.csv", NAMES, CLASSES), "symbolic link")
    refused(lambda: read_table(tmp_path / "none.csv", NAMES, CLASSES), "missing")
    (tmp_path / "big.csv").touch()
    with open(tmp_path / "big.csv", "r+b") as file:
        file.truncate(answers.LARGEST + 1)
    refused(lambda: read_table(tmp_path / "big.csv", NAMES, CLASSES), "at most")


def test_written_answers_come_back(tmp_path, refused):
    path = tmp_path / "a.json"
    answers.write(
        path, Answers(SHARES, "probabilities", 3), "c" * 64, "suspect", {"kind": "table"}, "tool"
    )
    found, record = answers.read(path, "c" * 64, NAMES, 3)
    assert (
        np.allclose(found.outputs, SHARES)
        and found.form == "probabilities"
        and record.name == "suspect"
    )
    refused(lambda: answers.read(path, "d" * 64, NAMES, 3), "cccccccccccc", "dddddddddddd")
    refused(lambda: answers.read(path, "c" * 64, NAMES[:3], 3), "4 x 3", "3 probes")
    content = json.loads(path.read_text())
    for field, value, word in [
        ("outputs", [[float("nan")] * 3] * 4, "finite"),
        ("outputs", [[0.1] * 3] * 3 + [[0.1]], "different lengths"),
        ("k", 9, "k is 9"),
        ("form", "guess", "form"),
        ("form", "logits", "no such answers"),
        ("form", "labels", "no such answers"),
        ("form", "top-k", "no such answers"),
        ("outputs", np.log(SHARES).tolist(), "no such answers"),
        ("name", "a\ud800", "surrogates"),
        ("extra", 1, "extra"),
    ]:
        path.write_text(json.dumps(content | {field: value}))
        refused(lambda: answers.read(path, "c" * 64, NAMES, 3), "a.json", word)
    path.write_text(json.dumps(content)[:-1] + ', "form": "logits"}')
    refused(lambda: answers.read(path, "c" * 64, NAMES, 3), "'form' occurs twice")
    path.write_text("[" * 100_000)
    refused(lambda: answers.read(path, "c" * 64, NAMES, 3), "a.json")


@pytest.mark.parametrize("unit", [100, 255, 1000])
def test_probabilities_in_another_unit_are_refused(refused, unit):
    refused(lambda: answers.detect(SHARES * unit, "x.csv"), "x.csv", f"about {unit}", "divide")
    refused(
        lambda: answers.detect(np.where(SHARES >= 0.3, SHARES, 0) * unit), "divide"
    )  # the likeliest classes only
    refused(lambda: answers.from_rows((SHARES * unit).tolist(), 3), "The service", "divide")
    assert (
        answers.detect(np.log(SHARES) + 7).form == "logits"
    )  # none below 0 either, but their sums differ


def test_a_name_that_is_a_number_counts_as_a_name(tmp_path):
    names = ["0", "2", "1"]
    pd.DataFrame({"probe": NAMES, "label": ["2", "1", "0", "2"]}).to_csv(
        tmp_path / "a.csv", index=False
    )
    assert read_table(tmp_path / "a.csv", NAMES, names).predicted.tolist() == [1, 2, 0, 1]


def test_tables_that_confuse_their_parsers_are_refused(tmp_path, refused):
    def read(name):
        return lambda: read_table(tmp_path / name, NAMES, CLASSES)

    (tmp_path / "zip.csv").write_bytes(b"PK\x03\x04" + bytes(100))
    refused(read("zip.csv"), "zip.csv")
    (tmp_path / "quote.csv").write_text('probe,label\n"probe-0000.png,1\n')
    refused(read("quote.csv"), "quote.csv")
    (tmp_path / "ragged.csv").write_text("probe,label\n" + "".join(f"{n},1,2\n" for n in NAMES))
    refused(read("ragged.csv"), "ragged.csv", "probe-0000.png")
    (tmp_path / "twice.csv").write_text(
        "probe,label,label\n" + "".join(f"{n},1,1\n" for n in NAMES)
    )
    refused(read("twice.csv"), "same name")
    (tmp_path / "empty.csv").touch()
    refused(read("empty.csv"), "empty.csv", "one column 'probe'")
    (tmp_path / "bare.csv").write_text("probe\n" + "".join(f"{name}\n" for name in NAMES))
    refused(read("bare.csv"), "bare.csv", "the columns none")
    (tmp_path / "wide.csv").write_text("probe" + "," * 100_000 + "\n")
    refused(read("wide.csv"), "100,001 columns", "at most 8")
    (tmp_path / "steers.csv").write_text(
        "probe,\x1b[2J\n" + "".join(f"{name},1\n" for name in NAMES)
    )
    assert "\x1b" not in refused(read("steers.csv"), "columns")


@pytest.mark.parametrize(
    "row, word",
    [
        ([0.1, 0.2], "2 scores"),
        ([0.1, 0.2, float("inf")], "finite"),
        ({0: 0.5, 3: 0.1}, "0 to 2"),
        ({}, "0 to 2"),
        (3, "0 to 2"),
        ({0: 1.5}, "from 0 to 1"),
        ({0: -0.1, 1: 0.5}, "from 0 to 1"),
    ],
)
def test_answers_that_are_not_accepted(refused, row, word):
    refused(lambda: answers.check_row(row, 3, "probe 7"), "probe 7", word)


def test_any_finite_scores_of_all_classes_are_accepted():
    for row in ([-5.0, 7.0, 0.0], {0: -5.0, 1: 7.0, 2: 0.0}, {2: 0.5}, 2):
        assert answers.check_row(row, 3, "probe 7") == row
