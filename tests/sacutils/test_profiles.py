"""Profiles: what is accepted, and how the rest is refused."""

import subprocess
import sys

import pydantic
import pytest
import yaml

from sacutils import data, profiles, steps
from sacutils.files import UserError
from sacutils.profiles import load_profile
from sacutils.zoo import load_material


def test_every_profile_in_the_repository_loads():
    assert {"smoke", "fashion"} <= set(profiles.available())
    for name in profiles.available():
        assert load_profile(name).name == name and steps.plan(load_profile(name))


def test_unknown_profile_is_refused(refused):
    refused(lambda: load_profile("fashoin"), "'fashoin'", "fashion", "smoke")
    refused(lambda: load_profile("../profiles/smoke"), "'../profiles/smoke'")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"sede": 1}, ["sede", "seed", "splits"]),
        ({"probes.cuont": 5}, ["probes.cuont", "count", "patch"]),
        ({"recipes.extract_label.epoch": 5}, ["recipes.extract_label.epoch", "epochs"]),
        (
            {"recipes.extract_probability.temprature": 5},
            ["recipes.extract_probability.temprature", "temperature"],
        ),
        ({"transfer.data.nam": "digits"}, ["transfer.data.nam", "image_size"]),
        ({"recipes.extract_labels.epochs": 5}, ["'extract_labels'", "extract_label"]),
        ({"recipe.source.lr": 5}, ["'recipe'", "recipes"]),
        ({"seed.value": 5}, ["'seed.value'", "recipes"]),
        ({"name": "mine"}, ["'name'", "splits"]),
        ({"overrides": {}}, ["'overrides'", "splits"]),
        ({"recipes.source.watermark": {"sze": 3}}, ["'recipes.source.watermark.sze'", "size"]),
        ({"variants.watermarked.step": []}, ["'variants.watermarked.step'", "overrides, steps"]),
        ({5: 1}, ["'5'", "splits"]),
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
        ("recipes.prune.ladder", [0.2, 0.2], "rise strictly"),
        ("probes.contested", [300, 100], "rise"),
        ("probes.contested", [100, 100], "rise strictly"),
        ("probes.contested", [], "at least 1"),
        ("probes.views", -1, "greater than or equal to 0"),
        ("zoo.siblings", 2, "greater than or equal to 3"),
        ("zoo.attacker_share", 0, "greater than 0"),
        ("zoo.attacker_share", 1.5, "less than or equal to 1"),
        ("zoo.overlaps", [], "at least 1"),
        ("splits.reserve", 0, "greater than or equal to 1"),
        ("recipes.prune.ladder", [], "at least 1"),
    ],
)
def test_bad_value_is_refused_with_field_found_and_accepted(refused, field, value, accepted):
    refused(
        lambda: load_profile("smoke", {field: value}), field.split(".")[-1], repr(value), accepted
    )


WATERMARK = {"source_class": 1, "target_class": 8, "size": 3, "epochs": 2, "factor": 0.2}
WATERMARK["temperature"] = 0.5


def variant(steps: list[str], **overrides: object) -> dict[str, object]:
    return {"variants": {"mine": {"overrides": overrides, "steps": steps}}}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"recipes.prune.ladder": [0.2, 1.2]}, ["recipes.prune.ladder.1", "1.2", "less than 1"]),
        ({"zoo.independent": {"vgg_s": 0}}, ["zoo.independent.vgg_s", "0", "1"]),
        ({"zoo.independent": {"vgg": 1}}, ["zoo.independent.vgg", "'resnet_s'", "'resnet18'"]),
        ({"zoo.controls": {}}, ["zoo.controls", "at least 1"]),
        ({"zoo.source": "vgg"}, ["zoo.source", "'vgg'", "'vgg_bn_s'"]),
        ({"zoo.students": ["resnet"]}, ["zoo.students.0", "'resnet'", "'resnet_s'"]),
        ({"zoo.students": ["vgg_s", "vgg_s"]}, ["zoo.students", "twice"]),
        ({"zoo.source": "vgg_s"}, ["zoo.source = vgg_s", "batch normalisation", "vgg_bn_s"]),
        ({"zoo.surrogates": {"resnet18": 1}}, ["zoo.surrogates", "resnet18", "grey", "vgg_bn_s"]),
        ({"transfer.data.name": "cifar10"}, ["transfer.data.name = cifar10", "grey", "digits"]),
        ({"transfer.data.image_size": 28}, ["transfer.data.image_size = 28", "16"]),
        ({"probes.count": 301}, ["probes.count = 301", "splits.probe = 300"]),
        (
            {"probes.contested": [100, 2801]},
            ["probes.contested", "2801", "the 2800 views", "splits.probe", "splits.reserve"],
        ),
        ({"probes.contested": [701], "probes.views": 0}, ["701", "the 700 views"]),
        ({"zoo.overlaps": [0.5, 1.0]}, ["zoo.overlaps.1", "1.0", "less than 1"]),
        (
            {"splits.owner": 100, "splits.attacker": 300, "zoo.overlaps": [0.2, 0.75]},
            ["zoo.overlaps", "0.75", "180", "splits.owner = 100"],
        ),
        ({"full": "perhaps"}, ["full", "'perhaps'", "boolean"]),
        (
            {"recipes.source.watermark": WATERMARK | {"target_class": 10}},
            ["target_class = 10", "0 to 9"],
        ),
        (
            {"recipes.source.watermark": WATERMARK | {"size": 16}},
            ["watermark.size = 16", "image_size"],
        ),
        ({"recipes.source.watermark": 7}, ["recipes.source.watermark", "7"]),
        (variant([]), ["variants.mine.steps", "at least 1"]),
        (variant(["source"], seeed=1), ["variant 'mine'", "'seeed'", "splits"]),
        (variant(["source"], full=True), ["variant 'mine'", "'full'", "no effect"]),
        (variant(["source"], name="x"), ["variant 'mine'", "'name'"]),
        (variant(["source"], **{"zoo.source": "vgg_s"}), ["variant 'mine'", "batch normalisation"]),
        (variant(["source"], **{"zoo.sources.x": 1}), ["variant 'mine'", "'sources'", "students"]),
        (
            {"variants": {"a b": {"overrides": {}, "steps": ["source"]}}},
            ["variants.a b", "pattern"],
        ),
        ({"variants": 5}, ["variants", "5", "dictionary"]),
    ],
)
def test_values_that_do_not_fit_are_refused_before_anything_runs(refused, overrides, words):
    refused(lambda: load_profile("smoke", overrides), "profile 'smoke'", *words)


def test_unknown_step_of_a_variant_is_refused_with_all_that_there_are():
    # a long sentence: there are as many steps as there are kinds of model
    with pytest.raises(UserError, match=r"variants\.mine\.steps\.0 = 'sorce'") as caught:
        load_profile("smoke", variant(["sorce"]))
    assert all(f"'{step}'" in str(caught.value) for step in steps.STEPS)
    assert "\n" not in str(caught.value)


def test_as_many_contested_probes_as_there_are_views_of_images():
    assert load_profile("smoke", {"probes.contested": [2800]}).probes.contested == [2800]


def flat(values: dict, prefix: str = "") -> dict[str, object]:
    """Nested values by dotted path."""
    parts = [
        flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        for key, value in values.items()
    ]
    return {key: value for part in parts for key, value in part.items()}


@pytest.mark.parametrize("base", ["fashion", "cifar10"])
def test_regimes_differ_in_how_owners_and_strangers_augment_and_in_nothing_else(base):
    one, plain = (flat(load_profile(name).model_dump()) for name in (base, f"{base}_plain"))
    assert one.keys() == plain.keys()
    changed = {key for key in one if one[key] != plain[key]} - {"name"}
    kinds = ("source", "independent", "prune", "independent_corrupted")
    assert changed == {f"recipes.{kind}.pad" for kind in kinds}
    assert {plain[key] for key in changed} == {0} and all(one[key] > 0 for key in changed)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write profiles, by name, beside a copy of the profile smoke."""
    smoke = profiles.home() / "profiles" / "smoke.yaml"

    def write(**texts: str) -> None:
        for name, text in ({"smoke": smoke.read_text()} | texts).items():
            (tmp_path / "profiles" / f"{name}.yaml").write_text(text)

    (tmp_path / "profiles").mkdir()
    monkeypatch.setenv("SAC_HOME", str(tmp_path))
    return write


def test_profile_with_a_base_is_that_profile_with_some_values_replaced(written):
    written(mine="base: smoke\nseed: 3\nrecipes.source.pad: 0\nzoo.controls: {vgg_bn_s: 2}\n")
    mine, smoke = flat(load_profile("mine").model_dump()), flat(load_profile("smoke").model_dump())
    changed = {key: mine.get(key) for key in mine.keys() | smoke.keys()}
    changed = {key: value for key, value in changed.items() if value != smoke.get(key)}
    # the recipes that share smoke's YAML anchor with the source's keep their shifts
    assert changed == {
        "name": "mine",
        "seed": 3,
        "recipes.source.pad": 0,
        "zoo.controls.vgg_bn_s": 2,
        "zoo.controls.resnet_s": None,
    }
    # results of its own; its seed, said or not, is the same run
    names = [load_profile("mine", given).run_name for given in ({}, {"seed": 3}, {"seed": 0})]
    assert names == ["mine", "mine", "mine-seed0"] and load_profile("mine").overrides == {}
    assert load_profile("mine", {"recipes.source.pad": 1}).recipes.source.pad == 1


def test_full_run_has_values_of_its_own_and_what_is_given_wins(written):
    more = "full_run: {zoo.siblings: 14, zoo.controls: {vgg_bn_s: 2}}\n"
    written(mine=f"base: smoke\nfull: false\n{more}")
    smoke, small, full = (
        load_profile(name, given).zoo
        for name, given in (("smoke", {}), ("mine", {}), ("mine", {"full": True}))
    )
    assert small == smoke and full.siblings == 14 and full.controls == {"vgg_bn_s": 2}
    assert full.model_copy(update={"siblings": 12, "controls": smoke.controls}) == smoke
    given = load_profile("mine", {"full": True, "zoo.siblings": 15, "zoo.controls.resnet_s": 1})
    assert given.zoo.siblings == 15 and given.zoo.controls == {"vgg_bn_s": 2, "resnet_s": 1}
    assert load_profile("mine", {"full": True}).run_name == "mine-full"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: smoke\nfull_run: 3", ["mine.yaml: full_run = 3", "dotted path"]),
        ("base: smoke\nfull_run: {seed: 3}", ["full_run", "seed", "no effect"]),
        ("base: smoke\nfull_run: {zoo.sibs: 3}", ["full_run", "zoo.sibs", "siblings"]),
        ("base: smoke\nfull: false\nfull_run: {zoo.siblings: 1}", ["full_run", "zoo.siblings"]),
        ("base: smok", ["mine.yaml: base = 'smok'", "no other profile", "smoke"]),
        ("base: mine", ["mine.yaml: base = 'mine'", "no other profile", "smoke"]),
        ("base: [smoke]", ["base = ['smoke']", "no other profile"]),
        ("base: yours", ["'base'", "splits"]),
        ("base: torn", ["torn.yaml is not valid YAML"]),
        ("base: nothing", ["nothing.yaml holds NoneType"]),
        ("base: smoke\nseed: 1\nseed: 2", ["mine.yaml", "'seed' stands twice"]),
        ("base: smoke\ntransfer: {train: 9, train: 8}", ["mine.yaml", "'train' stands twice"]),
        ("base: smoke\nsede: 1", ["profile 'mine'", "'sede'", "splits"]),
        ("base: smoke\nrecipes.sourc.pad: 0", ["profile 'mine'", "'sourc'", "source, surrogate"]),
        ("base: smoke\nrecipes.source.pda: 0", ["'recipes.source.pda'", "pad"]),
        ("base: smoke\nrecipes.source.pad: -1", ["recipes.source.pad", "-1"]),
        ("base: smoke\nrecipes: {source: {pad: 0}}", ["recipes.source.lr", "missing"]),
    ],
)
def test_bad_base_or_override_is_refused(refused, written, text, words):
    written(mine=text, yours="base: smoke", torn="data: [", nothing="# no value")
    refused(lambda: load_profile("mine"), *words)


def test_profiles_load_without_torch():
    code = "import sys; from sacutils.profiles import load_profile; load_profile('smoke')"
    code += "; from sacutils import steps; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_variants_are_computed_in_full_runs_only():
    assert set(load_profile("fashion", {"full": True}).active_variants) >= {
        "watermarked",
        "share-25",
    }
    assert not load_profile("fashion").active_variants and load_profile("fashion").variants
    assert load_profile("fashion", {"full": True}).run_name == "fashion-full"
    assert load_profile("fashion", {"full": False}).run_name == "fashion"


def test_missing_value_is_refused_without_printing_the_rest(refused):
    sentence = refused(
        lambda: load_profile("smoke", {"splits": {"owner": 5}}), "splits.attacker", "missing"
    )
    assert len(sentence) < 100


def test_path_goes_with_imagefolder_only(refused):
    refused(lambda: load_profile("smoke", {"data.path": "somewhere"}), "data", "imagefolder")
    refused(lambda: load_profile("smoke", {"data.name": "imagefolder"}), "data", "path")
    both = load_profile("paper", {"data.name": "imagefolder", "data.path": "somewhere"})
    assert both.data.path == "somewhere"


def test_dotted_overrides_replace_exactly_one_value():
    # smoke.yaml shares one dictionary between recipes by a YAML anchor
    plain = load_profile("smoke").model_dump()
    changed = load_profile(
        "smoke", {"seed": 3, "recipes.extract_label.epochs": 7, "recipes.source.flip": True}
    )
    assert changed.overrides == {
        "seed": 3,
        "recipes.extract_label.epochs": 7,
        "recipes.source.flip": True,
    }
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
    cases = [
        {},
        {"seed": 0},
        {"seed": 1},
        {"probes.count": 5},
        {"probes.count": 6},
        {"seed": 1, "probes.count": 5},
    ]
    names = [load_profile("smoke", overrides).run_name for overrides in cases]
    # the profile's own seed, said or not, is the same run
    assert names[:3] == ["smoke", "smoke", "smoke-seed1"] and len(set(names[1:])) == len(names) - 1
    assert names[5].startswith("smoke-seed1-")
    # a truth value in any of its forms is one run
    for value, whole in (("n", False), ("off", False), (0, False), ("yes", True), (1, True)):
        profile = load_profile("fashion", {"full": value})
        assert profile.full is whole and profile.run_name == "fashion" + "-full" * whole
        assert profile == load_profile("fashion", {"full": whole})


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: [", "YAML"),
        ("a: \xe9", "YAML"),
        ("", "NoneType"),
        ("- a", "list"),
        ("seed: 1", "missing"),
    ],
)
def test_damaged_profile_file_is_refused(refused, tmp_path, monkeypatch, text, word):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_bytes(text.encode("latin-1"))
    monkeypatch.setenv("SAC_HOME", str(tmp_path))
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
    ],
)
def test_impossible_sizes_are_refused(refused, tmp_path, run, overrides, words):
    profile = load_profile("smoke", overrides)
    refused(lambda: load_material(profile, tmp_path, run.device), *words)
    assert not list(tmp_path.iterdir())


def test_used_up_class_is_refused(refused):
    import torch

    labels = torch.tensor([0] * 20 + [1])
    refused(
        lambda: data.split(labels, {"owner": 10, "test": 3}, 0), "owner 10", "rarest class has 1"
    )
