"""The scripts of ``benchmarks`` at tiny size, and the page that shows what they measured."""

import os
import re

import pandas as pd
import pytest

from benchmarks import apart, book, called, checking, fingerprints, scaling, training
from sacbook import speed
from sacheck import cli
from sacutils.files import home, read_json, write_json
from sacutils.profiles import Small


def test_training_measures_every_small_network(tmp_path):
    training.measure(images=64, rounds=1, out=tmp_path)
    record = read_json(tmp_path / "training-cpu.json")
    rows = pd.DataFrame(record["rows"])
    assert set(rows["architecture"]) == set(Small.__args__)
    assert (rows.drop(columns="architecture") > 0).all(axis=None)
    assert (rows[["train_share", "answer_share"]] < 1).all(axis=None)
    assert record["facts"]["peak"] > 0 and record["versions"] and record["utc"]


def test_memory_and_seconds_are_those_of_the_work():
    taken, before, peak = apart(lambda: sum(bytearray(100_000_000)[:: 10**6]))
    assert 0 < taken < 5 and 95 < peak - before < 130
    assert called("-c", "raise SystemExit(3)", codes=(3,)) > 0
    with pytest.raises(RuntimeError):
        called("-c", "raise SystemExit(2)")


def test_scaling_has_a_row_per_method_and_cell():
    rows = scaling.measure(probes=(20, 40), suspects=(1, 3), rounds=1)
    cells = {(row["method"], row["probes"], row["suspects"]) for row in rows}
    assert len(cells) == len(rows) == 8
    assert all(row["megabytes"] >= row["megabytes_before"] > 0 for row in rows)


def test_fingerprints_and_checking_on_the_smoke_run(run, monkeypatch, capsys):
    rows = {row["kind"]: row for row in fingerprints.measure(run, count=4, contested=60)}
    assert rows["normal"]["models"] == 0 < rows["w"]["models"] < rows["contested"]["models"] == 12
    trained = sum(run.zoo.record(name)["seconds"] for name in run.names("sibling"))
    assert rows["contested"]["models_seconds"] == pytest.approx(trained)

    def call(*words: str, codes: tuple[int, ...]) -> float:
        monkeypatch.setattr("sys.argv", list(words[1:]))
        try:
            cli.main()
        except SystemExit as end:
            assert end.code in codes, capsys.readouterr().err
        return 1.0

    one, several = checking.measure(run, suspects=4, contested=60, call=call)
    assert (one["suspects"], several["suspects"], one["probes"]) == (1, 4, 60)
    assert one["query"] == one["verify"] == 1
    assert min(row[part] for row in (one, several) for part in ("asking", "judging")) > 0


def test_waiting_and_start_up_by_hand(tmp_path):
    """Two trainings of 10 s, the second 6 s after the first, on two cores; then 4 s of a build."""
    ends = {"steps/train-a": (100.0, 10), "steps/train-b": (106.0, 10), "steps/book": (110.0, 4)}
    for name, (end, seconds) in ends.items():
        write_json(tmp_path / f"{name}.json", {"seconds": seconds})
        os.utime(tmp_path / f"{name}.json", (end, end))
    rows = {row["kind"]: row for row in book.measure(tmp_path, 2, models=15, job=1, kernel=1)}
    assert rows["train"]["window"] == 16 and rows["all"]["window"] == 20
    assert rows["train"]["waiting_share"] == pytest.approx(1 - 20 / 32)
    assert rows["all"]["waiting_share"] == pytest.approx(1 - 24 / 40)
    assert rows["train"]["start_share"] == pytest.approx(5 / 20)
    assert rows["book"]["start_share"] == pytest.approx(1 / 4)
    assert rows["all"]["start_share"] == pytest.approx(6 / 24)


def test_exponents_of_known_growth():
    cells = [(n, m) for n in (100, 1000, 2000) for m in (1, 10, 100)]
    rows = pd.DataFrame(cells, columns=["probes", "suspects"]).assign(method="any")
    rows["seconds"] = 1e-6 * rows["probes"] ** 2 * rows["suspects"]
    rows["megabytes_before"], rows["megabytes"] = 10.0, 10 + 0.1 * rows["probes"]
    (found,) = speed.growth(rows).to_dict("records")
    assert found["seconds by probes"] == pytest.approx(2)
    assert found["seconds by suspects"] == pytest.approx(1)
    assert found["added by probes"] == pytest.approx(1)
    assert found["added by suspects"] == pytest.approx(0, abs=1e-9)


def test_the_page_shows_what_is_measured_and_names_what_misses_its_target():
    values = speed.shown()
    text = (home() / "book/benchmarks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\{\{ (\w+) \}\}", text)) == set(values)
    known = {name: speed.read(name) for name in speed.MEASURED}
    rows = known["training-cpu"][0]
    ratio = speed.geometric_mean(rows["images_per_second"] / rows["reference"])
    assert f"{ratio:.1f}" == values["speed_ratio"]
    slower = rows.assign(reference=rows["images_per_second"] / 1.5)
    first, *others = speed.targets(known | {"training-cpu": (slower, known["training-cpu"][1])})
    assert not first.met and first.measured == "1.5 times"
    assert others == speed.targets(known)[1:]
    # each machine has a column of its own
    machines = [path for path in speed.folder().iterdir() if path.is_dir()]
    assert machines
    for machine in machines:
        theirs = {name: speed.read(name, machine) for name in speed.MEASURED}
        shown = [target.measured for target in speed.targets(theirs)]
        for line, measured in zip(values["speed_targets"].splitlines()[2:], shown, strict=True):
            assert f"| {measured}" in line
    assert speed.picture().startswith("<?xml")
