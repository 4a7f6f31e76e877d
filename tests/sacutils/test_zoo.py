"""Load or train, and files that can be trusted."""

import collections
import copy
import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from sacutils import attacks, data, files, steps, training, zoo
from sacutils.data import Images
from sacutils.profiles import load_profile
from sacutils.training import Diverged
from sacutils.zoo import ATTEMPTS, FIRST, Zoo
from tests.conftest import listing, same, state

SOURCE = "source(vgg_bn_s)#0"
STUDENT = "source(vgg_bn_s)#0 > extract_label(mobilenet_s)#0"


@pytest.fixture
def fresh(run, tmp_path):
    """Open an empty zoo, or again the same one as another process would."""
    return lambda **overrides: Zoo(load_profile("smoke", overrides), tmp_path / "zoo", run.material)


@pytest.fixture
def no_training(monkeypatch):
    def forbid():
        monkeypatch.setattr(training, "train", None)
        monkeypatch.setattr(attacks, "train", None)

    return forbid


def test_second_get_loads(fresh, no_training, capsys):
    first = fresh()
    model = first.get(SOURCE)
    path = first.path(SOURCE)
    assert listing(first.folder) == sorted([path.name, path.with_suffix(".json").name])
    assert f"1 of 1: {SOURCE}, " in capsys.readouterr().out
    no_training()
    assert first.get(SOURCE) is model
    loaded = fresh().get(SOURCE)
    assert loaded is not model and same(state(loaded), state(model)) and not loaded.training
    assert capsys.readouterr().out == ""


def test_missing_models_and_what_they_need(fresh):
    zoo = fresh()
    hardened = f"{STUDENT} > extract_adversarial#0"
    assert zoo.missing([hardened]) == [SOURCE, STUDENT, hardened]
    assert zoo.missing(["independent(resnet_s)#0"]) == [SOURCE, "independent(resnet_s)#0"]
    assert zoo.missing(["independent_transfer(resnet_s)#0"]) == ["independent_transfer(resnet_s)#0"]
    zoo.get(SOURCE)
    assert zoo.missing([hardened]) == [STUDENT, hardened] and zoo.missing([SOURCE]) == []
    assert len(zoo.missing(zoo.specs)) == 83 and listing(zoo.folder) == listing(zoo.folder)


def test_duration_is_taken_from_records_of_like_models(fresh, capsys):
    zoo = fresh()
    zoo.get(SOURCE)
    record = zoo.path(SOURCE).with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"seconds": 240.0}))
    zoo.path(SOURCE).unlink()
    capsys.readouterr()
    fresh().announce([SOURCE])
    assert capsys.readouterr().out == "To train: 1 model (1 Source), about 4 min on this machine.\n"
    (zoo.folder / "another.json").write_text("{")  # a damaged record is no reason to stop
    fresh().announce([SOURCE, STUDENT])
    assert "about 4 min on this machine, at an assumed 2,000 images" in capsys.readouterr().out


def test_training_is_needed_when_the_file_is_missing(fresh, no_training):
    no_training()
    with pytest.raises(TypeError, match="not callable"):
        fresh().get(SOURCE)


def test_parent_is_trained_first_and_bytes_repeat(fresh, run):
    made = fresh()
    made.get(STUDENT)
    for name in (SOURCE, STUDENT):
        assert (
            made.path(name).read_bytes() == (run.zoo.get(name), run.zoo.path(name).read_bytes())[1]
        )
        assert made.record(name)["sha256"] == run.zoo.record(name)["sha256"]
    assert len(listing(made.folder)) == 4


@pytest.mark.parametrize(
    "damage",
    [
        "flip",
        "truncate",
        "empty",
        "record truncated",
        "record of another",
        "record not a dictionary",
    ],
)
def test_damaged_file_is_reported_and_made_again(fresh, capsys, damage):
    first = fresh()
    first.get(SOURCE)
    path = first.path(SOURCE)
    record, content = path.with_suffix(".json"), path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "truncate":
            path.write_bytes(content[: len(content) // 2])
        case "empty":
            path.write_bytes(b"")
        case "record truncated":
            record.write_text(record.read_text()[:-20])
        case "record of another":
            record.write_text(json.dumps(json.loads(record.read_text()) | {"digest": "0" * 64}))
        case _:
            record.write_text("[1]\n")
    model = fresh().get(SOURCE)
    assert path.name in capsys.readouterr().out
    assert path.read_bytes() == content and same(state(model), state(first.get(SOURCE)))
    fresh().get(SOURCE)
    assert capsys.readouterr().out == ""


def test_weights_without_a_record_are_made_again(fresh):
    first = fresh()
    first.get(SOURCE)
    first.path(SOURCE).with_suffix(".json").unlink()
    first.path(SOURCE).write_bytes(b"half")
    assert same(state(fresh().get(SOURCE)), state(first.get(SOURCE)))


def test_weights_of_a_stranger_are_never_executed(fresh, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    first = fresh()
    first.get(SOURCE)
    torch.save({"weights": Trap()}, first.path(SOURCE))
    digest = files.sha256(first.path(SOURCE))
    record = first.path(SOURCE).with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sha256": digest}))
    with pytest.raises(zoo.safetensors.SafetensorError):
        fresh().get(SOURCE)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("exception", [KeyboardInterrupt, OSError])
def test_interrupted_write_leaves_nothing(fresh, monkeypatch, exception):
    def save(state, path):
        path.write_bytes(b"half")
        raise exception

    interrupted = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", save)
        with pytest.raises(exception):
            interrupted.get(SOURCE)
    assert listing(interrupted.folder) == []
    assert same(state(interrupted.get(SOURCE)), state(fresh().get(SOURCE)))


def test_interrupted_between_weights_and_record_is_made_again(fresh, monkeypatch):
    interrupted = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_json", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            interrupted.get(SOURCE)
    assert listing(interrupted.folder) == [interrupted.path(SOURCE).name]
    fresh().get(SOURCE)
    assert len(listing(interrupted.folder)) == 2


def diverging(monkeypatch, times: int) -> list[int]:
    """Let the first trainings fail; returns the list of seeds that were tried."""
    seeds: list[int] = []
    real = attacks.train_independent

    def train_independent(architecture, task):
        seeds.append(task.seed)
        if len(seeds) <= times:
            raise Diverged(f"{task.label}: the loss became nan in epoch 1")
        return real(architecture, task)

    monkeypatch.setattr(attacks, "train_independent", train_independent)
    return seeds


def test_diverged_run_is_retried_with_the_next_seed_and_recorded(fresh, monkeypatch, capsys):
    seeds = diverging(monkeypatch, 1)
    made = fresh()
    record = made.record(SOURCE)
    assert seeds == [steps.derived_seed(0, SOURCE, attempt) for attempt in (0, 1)]
    assert record["attempt"] == 1 and record["seed"] == seeds[1]
    assert "became nan" in capsys.readouterr().out


def test_run_that_always_diverges_is_refused_and_nothing_is_written(fresh, monkeypatch, refused):
    seeds = diverging(monkeypatch, ATTEMPTS)
    made = fresh()
    refused(lambda: made.get(SOURCE), SOURCE, "diverged", "recipes.source.lr")
    assert len(set(seeds)) == ATTEMPTS and listing(made.folder) == []


@pytest.mark.parametrize("lr", [1e6, 1e-9])
def test_recipe_that_cannot_learn_is_refused(fresh, refused, lr):
    made = fresh(**{"recipes.source.lr": lr, "recipes.source.epochs": 1})
    refused(lambda: made.get(STUDENT), SOURCE, "recipes.source.lr", str(lr))
    assert listing(made.folder) == []


def test_a_lucky_guess_on_a_late_seed_is_no_training(fresh, monkeypatch, refused):
    reached: list[float] = []
    monkeypatch.setattr(training, "accuracy", lambda model, images: reached.pop(0))
    reached[:] = [0.1] * FIRST + [0.2] * (ATTEMPTS - FIRST)
    made = fresh(**{"recipes.source.epochs": 1})
    refused(lambda: made.get(SOURCE), SOURCE, f"all of its {ATTEMPTS} seeds")
    assert reached == [] and listing(made.folder) == []
    reached[:] = [0.1] * FIRST + [0.3]
    assert made.record(SOURCE)["attempt"] == FIRST


def test_unknown_model_is_refused(fresh, refused):
    refused(lambda: fresh().get("source(vgg)#0"), "'source(vgg)#0'", "'smoke'", SOURCE)


def test_record_tells_the_whole_story(run):
    record = run.zoo.record(STUDENT)
    spec = run.zoo.specs[STUDENT]
    assert (record["name"], record["step"], record["parent"]) == (STUDENT, "extract_label", SOURCE)
    assert (
        record["recipe"] == run.profile.recipes.extract_label.model_dump()
        and record["attempt"] == 0
    )
    assert record["seed"] == steps.derived_seed(run.profile.seed, STUDENT, 0)
    assert (
        record["digest"] == steps.digests(run.profile)[STUDENT]
        and record["digest"][:12] in run.zoo.path(STUDENT).name
    )
    assert len(record["history"]["loss"]) == record["recipe"]["epochs"] and record["seconds"] > 0
    assert {
        "versions",
        "hardware",
        "utc",
        "device",
    } <= record.keys() and spec.architecture == record["architecture"]
    model, test = run.zoo.get(STUDENT), run.material.splits["test"]
    answers = [
        training.logits_of(network, test.pixels).argmax(1).tolist()
        for network in (model, run.zoo.get(SOURCE))
    ]
    truth = test.labels.tolist()
    agreement = sum(a == b for a, b in zip(*answers, strict=True)) / len(truth)
    correct = sum(a == b for a, b in zip(answers[0], truth, strict=True)) / len(truth)
    assert record["fidelity"] == pytest.approx(agreement) and record[
        "test_accuracy"
    ] == pytest.approx(correct)
    assert record["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_agreement_is_left_out_where_it_means_nothing(run):
    shown = ("fidelity", "query_fidelity", "query_accuracy")
    source, transferred = (run.zoo.record(n) for n in (SOURCE, f"{SOURCE} > transfer_all#0"))
    assert [source[name] is None for name in shown] == [True, True, False]
    assert [transferred[name] for name in shown] == [None, None, None]


@pytest.mark.parametrize("name", [STUDENT, f"{SOURCE} > extract_plain(resnet_s)#0"])
def test_agreement_on_the_queries_is_measured_on_the_models_own_images_as_it_saw_them(run, name):
    record, task, model = run.zoo.record(name), run.zoo.task(name), run.zoo.get(name)
    recipe, n = task.recipe, len(task.images.labels)
    assert n < zoo.QUERIES and (recipe.pad == 0) == ("plain" in name)
    generator = torch.Generator().manual_seed(record["seed"])
    seen = data.augment(task.images.pixels, recipe.pad, recipe.flip, generator)
    labels = [network(data.to_float(seen)).argmax(1) for network in (model, run.zoo.get(SOURCE))]
    truth = task.images.labels
    correct, agreeing = (
        sum(a == b for a, b in zip(labels[0].tolist(), other.tolist(), strict=True)) / n
        for other in (truth, labels[1])
    )
    assert record["query_accuracy"] == pytest.approx(correct)
    assert record["query_fidelity"] == pytest.approx(agreeing)
    assert agreeing > correct  # it was taught the source's answers, not the truth


def test_copy_of_the_source_agrees_with_it_everywhere(run, source):
    task = run.zoo.task(STUDENT)
    found = run.zoo._measure(run.zoo.specs[STUDENT], copy.deepcopy(source), task)
    assert found["fidelity"] == found["query_fidelity"] == 1
    assert found["test_accuracy"] == run.zoo.record(SOURCE)["test_accuracy"]
    assert 0.3 < found["query_accuracy"] < 1


def test_only_so_many_queries_are_measured(run, source, monkeypatch):
    asked = []
    monkeypatch.setattr(zoo, "QUERIES", 7)
    monkeypatch.setattr(data, "augment", lambda pixels, *rest: (asked.append(pixels), pixels)[1])
    task = run.zoo.task(STUDENT)
    run.zoo._measure(run.zoo.specs[STUDENT], source, task)
    n = len(task.images.labels)
    spread = [round((n - 1) * i / 6 - 0.5 + 1e-6) for i in range(7)]  # from the first to the last
    assert len(asked) == 1 and (spread[0], spread[-1]) == (0, n - 1)
    assert torch.equal(asked[0], task.images.pixels[spread])


# The images that a model is trained on


@pytest.fixture(scope="module")
def numbered() -> dict[str, Images]:
    """Splits whose labels are the numbers of the images, none twice."""
    names = ("owner", "attacker", "reserve", "attacker_corrupted", "transfer_train")
    numbers = {name: 1000 * i + torch.arange(100) for i, name in enumerate(names)}
    return {name: Images((n % 256).to(torch.uint8), n) for name, n in numbers.items()}


def images_of(name: str | steps.Spec, splits: dict[str, Images], **overrides) -> list[int]:
    profile = load_profile("smoke", overrides)
    spec = steps.plan(profile)[name] if isinstance(name, str) else name
    images = zoo.training_images(spec, profile, splits)
    assert torch.equal(images.pixels, (images.labels % 256).to(torch.uint8))
    return images.labels.tolist()


def test_each_thief_and_each_stranger_draws_a_share_of_the_attackers_images(numbered):
    by_maker, sizes = collections.defaultdict(set), {"attacker": 80, "attacker_corrupted": 80}
    for name, spec in steps.plan(load_profile("smoke")).items():
        split = steps.STEPS[spec.step].images
        if split in ("owner and attacker", "probe", "test"):
            continue
        drawn = images_of(name, numbered)
        whole = numbered[split].labels.tolist()
        assert len(drawn) == len(set(drawn)) == sizes.get(split, 100) and set(drawn) <= set(whole)
        if split in sizes:
            by_maker[split, spec.maker].add(tuple(drawn))
        else:
            assert drawn == whole
    # what has one maker has the same images in the same order, and no two makers have
    assert all(len(drawn) == 1 for drawn in by_maker.values()) and len(by_maker) > 20
    shares = [frozenset(drawn) for (drawn,) in by_maker.values()]
    assert len(set(shares)) == len(shares)


def test_rungs_and_what_is_made_from_a_stolen_model_keep_the_images_of_the_first_theft(numbered):
    families = [[f"{SOURCE} > prune({share}%)#0" for share in (20, 40)]]
    for kind in ("resnet_s", "mobilenet_s"):
        student = f"{SOURCE} > extract_label({kind})#0"
        later = ("extract_adversarial", "chain_finetuned", "chain_pruned", "chain_quantised")
        families.append([student, *(f"{student} > {step}#0" for step in later)])
    drawn = [{tuple(images_of(name, numbered)) for name in family} for family in families]
    assert [len(images) for images in drawn] == [1, 1, 1] and len(set.union(*drawn)) == 3


def test_share_depends_on_the_seed_and_a_whole_share_is_everything_in_order(numbered):
    one, again, other = (images_of(STUDENT, numbered, seed=seed) for seed in (0, 0, 1))
    assert one == again and set(one) != set(other)
    assert len(images_of(STUDENT, numbered, **{"zoo.attacker_share": 0.5})) == 50
    whole = images_of(STUDENT, numbered, **{"zoo.attacker_share": 1.0})
    assert whole == numbered["attacker"].labels.tolist()


@pytest.mark.parametrize("share", [0.8, 1.0])
@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_overlap_holds_exactly_its_fraction_of_the_owners_images(numbered, fraction, share):
    overrides = {"zoo.attacker_share": share}
    spec = steps.plan(load_profile("smoke", overrides))["overlap 50%(resnet_s)#0"]
    drawn = images_of(replace(spec, fraction=fraction), numbered, **overrides)
    n, owner = round(100 * share), set(numbered["owner"].labels.tolist())
    attacker = set(numbered["attacker"].labels.tolist())
    assert len(drawn) == len(set(drawn)) == n and set(drawn) <= owner | attacker
    assert len(owner & set(drawn)) == fraction * n and len(attacker & set(drawn)) == n * (
        1 - fraction
    )


def test_task_has_the_images_recipe_and_seed_of_the_model(run):
    task = run.zoo.task(f"{SOURCE} > extract_plain(resnet_s)#0", attempt=2)
    spec = run.zoo.specs[task.label]
    images = zoo.training_images(spec, run.profile, run.material.splits)
    assert torch.equal(task.images.pixels, images.pixels) and len(images.labels) == 0.8 * 450
    assert task.recipe == run.profile.recipes.extract_label.model_copy(update={"pad": 0})
    assert task.seed == steps.derived_seed(0, spec.name, 2) and task.classes == 10


def test_quantised_student_is_measured_though_nothing_is_trained(run):
    record = run.zoo.record(f"{STUDENT} > chain_quantised#0")
    assert record["history"] == {"loss": [], "accuracy": []}
    assert abs(record["fidelity"] - run.zoo.record(STUDENT)["fidelity"]) < 0.1


def test_file_names_hold_the_digest_so_that_runs_share_models(fresh):
    plain, other = fresh(), fresh(**{"recipes.extract_label.epochs": 9})
    assert plain.path(SOURCE) == other.path(SOURCE) and plain.path(STUDENT) != other.path(STUDENT)
