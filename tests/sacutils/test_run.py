"""A run: everything is made once, kept, and made again when it is not what its record says."""

import numpy as np
import pandas as pd
import pytest
import torch

from sacutils import attacks, correlation, files, probes, steps, training
from sacutils import run as runs
from sacutils.probes import PROBE_SETS
from sacutils.run import open_run
from tests.conftest import listing

SOURCE = "source(vgg_bn_s)#0"


def reopened(run, **overrides):
    return open_run("smoke", overrides, folder=run.shared.parent)


def test_opening_computes_nothing(tmp_path, refused):
    run = open_run("smoke", {"seed": 5}, folder=tmp_path)
    assert (
        listing(tmp_path) == []
        and run.folder == tmp_path / "smoke-seed5"
        and run.shared == tmp_path / "smoke"
    )
    refused(lambda: open_run("smoke", {"sede": 5}, folder=tmp_path), "sede")


def test_everything_is_loaded_the_second_time(run, monkeypatch, capsys):
    assert run.logits and run.records()
    sets = {name: run.probes[name] for name in PROBE_SETS}
    modules = (attacks, "train"), (training, "train"), (runs, "make_probes"), (runs, "make_logits")
    for module, name in modules:
        monkeypatch.setattr(module, name, None)
    capsys.readouterr()
    again = reopened(run)
    again.announce()
    for probe_set in PROBE_SETS:
        assert torch.equal(again.probes[probe_set].pixels, sets[probe_set].pixels)
        for name, value in run.logits[probe_set].items():
            assert torch.equal(value, again.logits[probe_set][name])
            assert torch.equal(value, reopened_answers(again, name, probe_set))
    assert [r["sha256"] for r in again.records()] == [r["sha256"] for r in run.records()]
    assert capsys.readouterr().out == ""


def reopened_answers(run, name, probe_set):
    """The answer of a model that is asked alone."""
    pixels = run.probes[probe_set].pixels
    return training.logits_of(run.zoo.get(name), pixels)


@pytest.mark.parametrize("name", ["probes/w", "outputs/logits"])
@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_damaged_file_is_reported_and_made_again(run, capsys, name, suffix):
    assert run.logits
    weights, damaged = run.folder / f"{name}.safetensors", run.folder / f"{name}.{suffix}"
    content = weights.read_bytes()
    part = damaged.read_bytes()[:-7]
    damaged.unlink()  # not in place: the session's run maps the file into memory
    damaged.write_bytes(part)
    again = reopened(run)
    assert again.probes["w"] and again.logits
    assert weights.read_bytes() == content and weights.name in capsys.readouterr().out
    again = reopened(run)
    assert again.probes["w"] and again.logits and capsys.readouterr().out == ""


def test_other_probes_do_not_retrain(run, monkeypatch):
    assert run.records()
    monkeypatch.setattr(attacks, "train", None)
    other = reopened(run, **{"probes.count": 6})
    assert other.folder != run.folder and len(other.probes["w"].index) == 6
    assert torch.equal(other.probes["normal"].pixels, run.probes["normal"].pixels[:6])


STUDENT = f"{SOURCE} > extract_label(resnet_s)#0"


def test_single_answers_train_only_what_they_need(run, tmp_path, capsys):
    alone = open_run("smoke", folder=tmp_path)
    names = [STUDENT, "independent(resnet_s)#1"]
    alone.announce("source", *names)
    alone.announce("source", *names)
    announced = capsys.readouterr().out
    assert announced.startswith(
        "To train: 3 models (1 Source, 1 Extract-L, 1 Independent (attacker data)), about "
    )
    assert announced.count("\n") == 1 and "assumed 2,000 images a second" in announced
    for name in [SOURCE, *names]:
        for probe_set in ("normal", "source"):
            assert torch.equal(alone.answers(name, probe_set), run.logits[probe_set][name])
    assert torch.equal(alone.matrix("source", STUDENT), run.matrix("source", STUDENT))
    trained = {alone.zoo.path(name).name for name in [SOURCE, *names]}
    assert {path.name for path in alone.zoo.folder.glob("*.safetensors")} == trained
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", ")[0] for line in lines] == [
        f"{i} of 3: {name}" for i, name in enumerate([SOURCE, *names], start=1)
    ]
    assert listing(alone.folder / "probes") == [
        "normal.json",
        "normal.safetensors",
        "source.json",
        "source.safetensors",
    ]
    alone.probes["w"]
    assert (
        "(1 Surrogate, 1 Surrogate (probabilities))" in capsys.readouterr().out
        and len(alone.zoo.missing(alone.names())) == len(alone.names()) - 5
    )


def test_more_probes_than_misclassified_images_are_refused(run, refused):
    other = reopened(run, **{"probes.count": 250})
    refused(
        lambda: other.probes["source"], "probes.count", "asks for 250", "the source misclassify"
    )
    assert not (other.folder / "probes").exists() or listing(other.folder / "probes") == []


def test_probes_are_images_of_the_probe_split_and_nobody_trained_on_them(run):
    others = ("owner", "attacker", "reserve", "test")
    trained = torch.cat([run.material.index[name] for name in others]).tolist()
    chosen, altered = ("normal", "source", "w", "contrast", "placebo"), ("m", "jc", "wide")
    for name in (*chosen, *altered):
        made = run.probes[name]
        record = files.read_json(run.folder / "probes" / f"{name}.json")
        numbers = run.material.index["probe"][made.index].tolist()
        assert record["images"] == numbers and not set(numbers) & set(trained)
        assert len(made.pixels) == run.profile.probes.count and made.pixels.dtype == torch.uint8
    split = run.material.splits["probe"]
    for name in chosen:
        assert torch.equal(run.probes[name].pixels, split.pixels[run.probes[name].index])
    for name in altered:
        assert not torch.equal(run.probes[name].pixels, run.probes["normal"].pixels)


def test_misclassified_probes_are_misclassified(run):
    labels = run.material.splits["probe"].labels
    for probe_set, names in (("source", [SOURCE]), ("w", [SOURCE, *run.names(*steps.SURROGATES)])):
        for name in names:
            assert (
                run.logits[probe_set][name].argmax(1) != labels[run.probes[probe_set].index]
            ).all()


@pytest.mark.parametrize("name", ["contrast", "contrast_pool", "placebo", "placebo_pool"])
def test_contrast_is_chosen_by_the_answers_of_its_judges(run, name):
    split = run.material.splits["probe"]
    pool = probes.pool(split, run.profile.seed).pixels if "pool" in name else split.pixels
    asked = runs.judges(run, name)
    owner, copies, others = (
        [training.logits_of(run.zoo.get(model), pool).double().softmax(1) for model in models]
        for models in asked
    )
    said = owner[0].argmax(1)
    shares = [
        torch.stack([answers.gather(1, said[:, None])[:, 0] for answers in part])
        for part in (copies, others)
    ]
    spread = sum(part.var(0, correction=0) for part in shares) + 0.02
    best = ((shares[0].mean(0) - shares[1].mean(0)) / spread.sqrt()).topk(10)
    worst = best.values.min()
    taken = [int((pool == one).flatten(1).all(1).nonzero()[0]) for one in run.probes[name].pixels]
    assert set(taken) >= {i for i, s in zip(best[1].tolist(), best[0], strict=True) if s > worst}


def test_nobody_who_chooses_probes_is_evaluated_and_placebos_never_saw_the_source(run):
    for name in PROBE_SETS:
        asked = runs.judges(run, name)
        everybody = [model for models in asked for model in models]
        roles = {steps.STEPS[run.zoo.specs[model].step].role for model in everybody}
        assert roles <= {"source", "helper", "control"}
        assert all(models for models in asked) == name.startswith(("contrast", "placebo"))
        if name.startswith("placebo"):
            assert not any(model.startswith(SOURCE) for model in everybody)
            assert all(model.startswith(asked.owner[0]) for model in asked.copies)
            assert asked.others == runs.judges(run, "contrast").others
    assert {steps.STEPS[run.zoo.specs[model].step].plain for model in asked.others} == {True, False}


def test_matched_outputs_are_as_sure_as_the_source(run):
    sure = run.outputs("m", SOURCE).amax(1).mean().item()
    assert run.outputs("m", STUDENT, "matched").amax(1).mean().item() == pytest.approx(sure)
    assert not torch.allclose(run.outputs("m", STUDENT, "matched"), run.outputs("m", STUDENT))


def test_logits_are_the_models_answers(run):
    for name in (SOURCE, "independent(resnet_s)#0", f"{SOURCE} > transfer_all#0"):
        expected = run.zoo.get(name)(run.probes["m"].pixels.float() / 255)
        assert torch.allclose(run.logits["m"][name], expected, atol=1e-4)


def test_matrix_against_loops(run):
    for name, form, kind in ((SOURCE, "labels", "cosine"), (STUDENT, "probabilities", "rbf")):
        logits = run.logits["m"][name].double()
        shown = correlation.to_form(logits, form).numpy()
        matrix = np.empty((len(shown), len(shown)))
        for i, a in enumerate(shown):
            for j, b in enumerate(shown):
                matrix[i, j] = (1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / 2
        expected = np.exp(-4 * matrix) if kind == "rbf" else matrix
        assert np.allclose(run.matrix("m", name, form, kind).numpy(), expected, atol=1e-9)


def test_models_with_equally_many_equal_labels_tie(run):
    theirs = run.matrix("source", SOURCE, "labels")
    by_count: dict[int, set[float]] = {}
    for name in run.names()[1:]:
        labels = [run.logits["source"][model].argmax(1) for model in (SOURCE, name)]
        same = [one[:, None] == one[None] for one in labels]
        count = int((same[0] != same[1]).sum())
        value = correlation.distance(theirs, run.matrix("source", name, "labels")).item()
        by_count.setdefault(count, set()).add(round(value, 9))
    assert {len(values) for values in by_count.values()} == {1} and 1 < len(by_count) < 83


def test_records_of_all_models_and_of_the_variants(run):
    records = run.records()
    assert [record["name"] for record in records[:84]] == list(steps.plan(run.profile))
    needed = [len(steps.variant_specs(run.profile, name)) for name in run.profile.active_variants]
    assert len(records) == 84 + sum(needed) and min(needed) > 0
    assert all(0 <= record["test_accuracy"] <= 1 for record in records)
    assert len({record["sha256"] for record in records}) == len(records)


def test_table_is_kept_and_made_again_when_its_digest_changes(run, capsys):
    made = []

    def make() -> pd.DataFrame:
        made.append(1)
        values = [1 / 3, float("nan"), 1e-20]
        return pd.DataFrame({"setting": ["none", "5", "1.0"], "value": values})

    first, second = (run.keep_table("mine", "d", make) for _ in range(2))
    assert len(made) == 1 and first.equals(second)
    assert list(first["setting"]) == ["none", "5", "1.0"] and first["value"][0] == 0.333333333333
    run.keep_table("mine", "e", make)
    assert len(made) == 2 and "mine.csv" in capsys.readouterr().out


def test_digest_depends_on_models_settings_and_code(run):
    digests = {
        run.digest("probes.make"),
        run.digest("probes.cutmix"),
        run.digest("probes.make", more=1),
        reopened(run, **{"probes.count": 6}).digest("probes.make"),
        reopened(run, **{"probes.views": 2}).digest("probes.make"),
        reopened(run, **{"recipes.surrogate.lr": 0.01}).digest("probes.make"),
    }
    assert len(digests) == 6 and run.digest("probes.make") == reopened(run).digest("probes.make")


def test_provenance_line(run):
    line = runs.provenance_line(reopened(run, **{"probes.count": 6}))
    assert "profile `smoke` with {'probes.count': 6}, seed 0, device cpu" in line
    assert f"torch {files.versions()['torch']}" in line and "\n" not in line
