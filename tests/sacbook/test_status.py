"""What is there, what is out of date and why, what it costs: on a run of empty files."""

import json
from pathlib import Path

import pytest

from sacbook import jobs, status
from sacutils import files, steps
from sacutils.profiles import load_profile

PROFILE = load_profile("smoke")
SOURCE = "source(vgg_bn_s)#0"


@pytest.fixture(scope="module")
def plan() -> dict[str, jobs.Job]:
    return jobs.plan(PROFILE)


@pytest.fixture
def folder(plan, tmp_path, monkeypatch) -> Path:
    """A finished run, as far as its records say."""
    (tmp_path / "profiles").mkdir()
    monkeypatch.setenv("SAC_HOME", str(tmp_path))
    monkeypatch.setattr(jobs, "plan", lambda profile: plan)  # that of this repository
    run = status.folder_of(PROFILE)

    def put(path: Path, **record: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_suffix(".json").write_text(json.dumps(record))

    for name, job in plan.items():
        put(run / job.output, seconds=10.0, made_from=job.digest)
        for spec, path in jobs.work(PROFILE, name):
            put(path, step=spec.step, architecture=spec.architecture, seconds=120.0)
    for product in (product for several in status.PRODUCTS.values() for product in several):
        path = run / product.format(home=tmp_path, run="smoke")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return run


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_finished_run_has_nothing_to_make(folder, plan):
    assert status.outdated(PROFILE, plan) == {}
    lines = status.text(PROFILE, 2).splitlines()
    assert lines[0] == "runs/smoke" and lines[-1] == "Everything is there and up to date."
    models = {path for name in plan for _, path in jobs.work(PROFILE, name)}
    assert any(line.split() == ["zoo", str(len(models)), "of", str(len(models))] for line in lines)


def test_a_change_is_told_by_its_kind_and_reaches_what_is_made_from_it(folder, plan):
    record, digest = folder / plan["tables"].output, plan["tables"].digest
    other = digest.replace(f"code={jobs.parts_of(digest)['code']}", "code=000000000000")
    edit(record, made_from=other)
    own = status.outdated(PROFILE, plan)
    assert own == {"tables": ("code",)}
    reached = status.all_outdated(plan, own)
    assert reached["book"] == reached["verdicts"] == (status.BEFORE,)
    assert not {"data", "train-source", "references"} & reached.keys()
    edit(record, made_from=other.replace("profile=", "profile=0"))
    assert status.outdated(PROFILE, plan) == {"tables": ("code", "profile")}
    tasks = status.to_make(PROFILE, plan, own)
    sentence = status.cost_of(tasks, 2)
    assert sentence == (
        f"To make: {len(tasks)} other results, about {steps.duration(5 * len(tasks))} on 2 cores."
    )


@pytest.mark.parametrize("text", ["", "[]", '{"seconds": 1}'])
def test_a_record_that_says_nothing_makes_its_job_again(folder, plan, text):
    (folder / plan["explorer"].output).write_text(text)
    assert status.outdated(PROFILE, plan)["explorer"] in [("not recorded",), ("missing",)]


EVERY = [(job, product) for job, several in status.PRODUCTS.items() for product in several]


@pytest.mark.parametrize(("job", "product"), EVERY)
def test_what_somebody_removed_is_missing(folder, plan, job, product):
    (folder / product.format(home=files.home(), run="smoke")).unlink()
    assert status.outdated(PROFILE, plan) == {job: ("missing",)}


def test_a_model_of_another_recipe_is_named_and_its_cost_is_that_of_its_like(folder, plan):
    path = next(path for spec, path in jobs.work(PROFILE, "train-siblings") if spec.index == 3)
    made = steps.made_from(PROFILE)["sibling(vgg_bn_s)#3"] | {"profile": "other"}
    del made["whole"]
    old = path.with_name(path.name.replace(path.name.split(".")[-2], "000000000000"))
    edit(path.with_suffix(".json"), made_from=made)
    path.rename(old)
    path.with_suffix(".json").rename(old.with_suffix(".json"))
    own = status.outdated(PROFILE, plan)
    assert own == {"train-siblings": ("missing",)}
    model, *others = status.to_make(PROFILE, plan, own)
    assert (model.name, model.why, model.seconds) == ("sibling(vgg_bn_s)#3", ("profile",), 120)
    assert not model.assumed and {task.why for task in others} == {(status.BEFORE,)}
    assert "1 model and" in status.cost_of([model, *others], 2)
