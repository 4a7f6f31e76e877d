"""EWE's watermark: trigger, loss, and a source that keeps its task and its secret."""

import pytest
import torch

from sacutils import training, watermark
from sacutils.attacks import Task
from sacutils.data import Images
from sacutils.profiles import Source, Watermark, load_profile
from tests.conftest import recipe

MARK = Watermark(source_class=1, target_class=8, size=3, epochs=2, factor=0.2, temperature=0.5)


def slow(features: torch.Tensor, groups: torch.Tensor, temperature: float) -> float:
    """The loss as a double sum."""
    total = 0.0
    for i in range(len(features)):
        near = all_ = 0.0
        for j in range(len(features)):
            if i == j:
                continue
            one, other = features[i] / features[i].norm(), features[j] / features[j].norm()
            weight = float(torch.exp(-((one - other) ** 2).sum() / temperature))
            all_ += weight
            near += weight * float(groups[i] == groups[j])
        total -= float(torch.log(torch.tensor(near / all_)))
    return total / len(features)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_loss_is_the_double_sum(temperature):
    features = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    groups = torch.tensor([0, 0, 1, 1, 1, 0, 1])
    assert float(watermark.soft_nearest_neighbour(features, groups, temperature)) == pytest.approx(
        slow(features, groups, temperature), abs=1e-5
    )


def test_loss_is_small_for_separate_groups_and_large_for_mixed_ones():
    groups = torch.arange(2).repeat_interleave(10)
    noise = 0.01 * torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    apart = torch.stack([groups.float(), 1 - groups.float()], 1) + noise
    separate = watermark.soft_nearest_neighbour(apart, groups, 0.1)
    mixed = watermark.soft_nearest_neighbour(apart, torch.arange(20) % 2, 0.1)
    assert 0 <= float(separate) < 1e-3 < 0.5 < float(mixed)


def test_stamp_changes_the_square_only_and_takes_one_class(attacker):
    stamped = watermark.stamp(attacker, MARK)
    plain = attacker.pixels[attacker.labels == 1]
    assert len(stamped) == len(plain) > 0
    window = (..., slice(1, 4), slice(1, 4))
    assert (stamped[window] == 255).all()
    rest = torch.ones_like(stamped, dtype=torch.bool)
    rest[window] = False
    assert torch.equal(stamped[rest], plain[rest])


def test_impossible_watermarks_are_refused(attacker, refused):
    for change in ({"source_class": 12}, {"size": 40}):
        refused(
            lambda change=change: watermark.stamp(attacker, MARK.model_copy(update=change)),
            "watermark",
            "source_class",
        )
    refused(
        lambda: watermark.entangled(attacker, MARK.model_copy(update={"target_class": 12})),
        "target_class = 12",
    )
    refused(
        lambda: load_profile(
            "smoke", {"recipes.source.watermark": MARK.model_dump() | {"target_class": 1}}
        ),
        "must differ",
    )


def test_watermarked_source_keeps_its_task_and_its_secret(run):
    marked = run.variant("watermarked")
    model = marked.zoo.get(marked.zoo.source)
    secret = training.logits_of(
        model,
        watermark.stamp(run.material.splits["probe"], marked.profile.recipes.source.watermark),
    )
    assert (secret.argmax(1) == 8).double().mean() > 0.9
    plain = training.logits_of(
        run.zoo.get(run.zoo.source), watermark.stamp(run.material.splits["probe"], MARK)
    )
    assert (plain.argmax(1) == 8).double().mean() < 0.5
    assert training.accuracy(model, run.material.splits["test"]) > 0.2


def test_training_is_repeatable(attacker: Images):
    values = recipe().model_dump() | {"watermark": MARK.model_dump() | {"epochs": 1}}
    task = Task(attacker, 10, Source(**values), 3)
    models = [watermark.train_watermarked("resnet_s", task)[0] for _ in range(2)]
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
