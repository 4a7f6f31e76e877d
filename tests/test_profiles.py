"""Profiles: what is accepted, and how the rest is refused."""

import pydantic
import pytest
import yaml

from sacutils import data, lineage, profiles
from sacutils.profiles import load_profile
from sacutils.zoo import load_material


def test_every_profile_in_the_repository_loads():
    assert {"smoke", "fashion"} <= set(profiles.available())
    for name in profiles.available():
        assert load_profile(name).name == name and lineage.plan(load_profile(name))


def test_unknown_profile_is_refused(refused):
    refused(lambda: load_profile("fashoin"), "'fashoin'", "fashion", "smoke")
    refused(lambda: load_profile("../profiles/smoke"), "'../profiles/smoke'")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"sede": 1}, ["sede", "seed", "splits"]),
        ({"probes.cuont": 5}, ["probes.cuont", "count", "patch"]),
        ({"recipes.extract_label.epoch": 5}, ["recipes.extract_label.epoch", "epochs"]),
        ({"recipes.extract_probability.temprature": 5}, ["recipes.extract_probability.temprature", "temperature"]),
        ({"transfer.data.nam": "digits"}, ["transfer.data.nam", "image_size"]),
        ({"recipes.extract_labels.epochs": 5}, ["'extract_labels'", "extract_label"]),
        ({"recipe.source.lr": 5}, ["'recipe'", "recipes"]),
        ({"seed.value": 5}, ["'seed.value'", "recipes"]),
        ({"name": "mine"}, ["'name'", "splits"]),
        ({"overrides": {}}, ["'overrides'", "splits"]),
    ],
)
def test_unknown_parameter_is_refused(refused, overrides, words):
    refused(lambda: load_profile("smoke", overrides), *words)


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**32, "less than 4294967296"),
        ("seed", 1.5, "integer"),
        ("device", "tpu", "'cuda'"),
        ("bootstrap", 10, "100"),
        ("splits.owner", 0, "greater than or equal to 1"),
        ("splits.owner", "many", "integer"),
        ("data.name", "mnist", "'fashion_subset'"),
        ("data.image_size", 7, "8"),
        ("probes.count", 1, "4"),
        ("probes.patch", 1.0, "less than 1"),
        ("probes.patch_position", "left", "'corner'"),
        ("probes.jpeg_severity", 6, "5"),
        ("zoo.students", [], "at least 1"),
        ("zoo.students", "resnet_s", "list"),
        ("zoo.finetuned", None, "integer"),
        ("recipes.source.lr", 0, "greater than 0"),
        ("recipes.source.lr", float("inf"), "finite"),
        ("recipes.source.lr", float("nan"), "finite"),
        ("recipes.source.momentum", 1, "less than 1"),
        ("recipes.source.schedule", "cosine", "'onecycle'"),
        ("recipes.source.flip", "perhaps", "boolean"),
        ("recipes.extract_probability.soft_weight", 1.5, "1"),
        ("recipes.extract_adversarial.pgd_steps", 0, "1"),
        ("recipes.prune.ladder", [0.4, 0.2], "rise"),
        ("recipes.prune.ladder", [], "at least 1"),
    ],
)
def test_bad_value_is_refused_with_field_found_and_accepted(refused, field, value, accepted):
    refused(lambda: load_profile("smoke", {field: value}), field.split(".")[-1], repr(value), accepted)


def test_bad_item_names_its_place(refused):
    refused(lambda: load_profile("smoke", {"recipes.prune.ladder": [0.2, 1.2]}), "recipes.prune.ladder.1", "1.2", "less than 1")
    refused(lambda: load_profile("smoke", {"zoo.irrelevant": {"vgg_s": 0}}), "zoo.irrelevant.vgg_s", "0", "1")


def test_missing_value_is_refused_without_printing_the_rest(refused):
    sentence = refused(lambda: load_profile("smoke", {"splits": {"owner": 5}}), "splits.attacker", "missing")
    assert len(sentence) < 100


def test_path_goes_with_imagefolder_only(refused):
    refused(lambda: load_profile("smoke", {"data.path": "somewhere"}), "data", "imagefolder")
    refused(lambda: load_profile("smoke", {"data.name": "imagefolder"}), "data", "path")
    both = load_profile("smoke", {"data.name": "imagefolder", "data.path": "somewhere"})
    assert both.data.path == "somewhere"


def test_dotted_overrides_replace_exactly_one_value():
    # smoke.yaml shares one dictionary between recipes by a YAML anchor
    plain = load_profile("smoke").model_dump()
    changed = load_profile("smoke", {"seed": 3, "recipes.extract_label.epochs": 7, "recipes.source.flip": True})
    assert changed.overrides == {"seed": 3, "recipes.extract_label.epochs": 7, "recipes.source.flip": True}
    plain["seed"], plain["overrides"] = 3, changed.overrides
    plain["recipes"]["extract_label"]["epochs"] = 7
    plain["recipes"]["source"]["flip"] = True
    assert changed.model_dump() == plain


def test_override_of_a_value_that_the_file_leaves_out():
    assert load_profile("smoke", {"probes.patch": 0.5}).probes.patch == 0.5


def test_overrides_given_are_not_changed_and_the_profile_is_frozen():
    given = {"seed": 1}
    profile = load_profile("smoke", given)
    assert given == {"seed": 1}
    with pytest.raises(pydantic.ValidationError):
        profile.seed = 2


def test_run_name_tells_runs_apart():
    cases = [{}, {"seed": 0}, {"seed": 1}, {"probes.count": 5}, {"probes.count": 6}, {"seed": 1, "probes.count": 5}]
    names = [load_profile("smoke", overrides).run_name for overrides in cases]
    # the profile's own seed, said or not, is the same run
    assert names[:3] == ["smoke", "smoke", "smoke-seed1"] and len(set(names[1:])) == len(names) - 1
    assert names[5].startswith("smoke-seed1-")


@pytest.mark.parametrize(("text", "word"), [("a: [", "YAML"), ("", "NoneType"), ("- a", "list"), ("seed: 1", "missing")])
def test_damaged_profile_file_is_refused(refused, tmp_path, monkeypatch, text, word):
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    refused(lambda: load_profile("mine"), "mine", word)


def test_profile_survives_json():
    profile = load_profile("smoke", {"recipes.source.lr": 0.01})
    assert profiles.Profile.model_validate_json(profile.model_dump_json()) == profile


def test_numbers_in_exponent_form_are_numbers():
    # YAML 1.1 reads 1e-3 as a string
    assert yaml.safe_load("lr: 1e-3") == {"lr": "1e-3"}
    assert load_profile("smoke", {"recipes.source.lr": "1e-3"}).recipes.source.lr == 0.001


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"splits.owner": 1500}, ["splits", "owner 1,500", "1,797"]),
        ({"splits.test": 5}, ["splits", "test 5", "10 classes"]),
        ({"transfer.train": 100_000}, ["transfer_train 100,000"]),
        ({"transfer.data.image_size": 28}, ["transfer.data", "(1, 28, 28)", "(1, 16, 16)"]),
    ],
)
def test_impossible_sizes_are_refused(refused, tmp_path, run, overrides, words):
    profile = load_profile("smoke", overrides)
    refused(lambda: load_material(profile, tmp_path, run.device), *words)
    assert not list(tmp_path.iterdir())


def test_used_up_class_is_refused(refused):
    import torch

    labels = torch.tensor([0] * 20 + [1])
    refused(lambda: data.split(labels, {"owner": 10, "test": 3}, 0), "owner 10", "rarest class has 1")
