"""What a profile has to compute: floating-point operations, counted by torch on models that hold
no memory.
"""

from functools import cache

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from sacutils import models, profiles, steps
from sacutils.profiles import Profile
from sacutils.steps import STEPS

from . import jobs

H100_RATE = 1e14
"""Operations per second that an H100 is assumed to reach on these networks: a tenth of its peak in
bfloat16. VGG networks were measured at a little more, others at far less."""
CLASSES = 10
"""Assumed of a folder of images; the last layer is a small part of the work."""


@cache
def forward_flops(architecture: str, channels: int, size: int, classes: int) -> int:
    """Floating-point operations of one image's forward pass (a multiplication and an addition count
    as two) through one of ``sacutils.models.ARCHITECTURES``.
    """
    with torch.device("meta"):
        model = models.ARCHITECTURES[architecture](channels, classes).eval()
        image = torch.empty(1, channels, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops())


def training_flops(profile: Profile) -> dict[str, float]:
    """Floating-point operations of training each model of a run, by group of :func:`jobs.groups`.

    A step of training costs three forward passes of the model; extraction adds one of the source,
    each step of projected gradient descent three of the student. Validation and the checks between
    trainings are left out.
    """
    result, data = {}, profile.data
    classes = int(data.known_classes) if data.known_classes < float("inf") else CLASSES
    shape = (data.channels, data.image_size, classes)
    source = forward_flops(profile.zoo.source, *shape)
    for group, specs in jobs.groups(profile).items():
        own = jobs.profile_of(profile, group)
        result[group] = 0.0
        for spec in specs:
            recipe = steps.recipe_of(own, spec.step)
            images = steps.image_count(own, spec.step)
            student = forward_flops(spec.architecture, *shape)
            passes = 3.0 * student
            if spec.step == "extract_adversarial":
                passes = (6 + 3 * recipe.pgd_steps) * student
            # students, and one that is hardened, ask their teacher about every batch
            if STEPS[spec.step].make.endswith("student") or spec.step == "extract_adversarial":
                passes += source
            if STEPS[spec.step].make == "quantised":
                passes = 0.0
            result[group] += passes * images * recipe.share * recipe.epochs
    return result


def table(rate: float) -> pd.DataFrame:
    """Cost of every profile, as it stands and with all that a full run computes.

    `rate` is the operations per second of two CPU cores, measured on a finished run. Columns:
    profile (with ``, full`` behind it for a full run), models, petaFLOP, hours on two cores
    (estimated from `rate`), hours on one H100 (estimated from `H100_RATE`).
    """
    rows = []
    for name in profiles.available():
        for full in (False, True):
            profile = profiles.load_profile(name, {"full": full})
            if full and not profile.variants:
                continue
            total = sum(training_flops(profile).values())
            row = {"profile": name + (", full" if full else "")}
            row |= {"models": sum(len(specs) for specs in jobs.groups(profile).values())}
            row |= {"petaFLOP": total / 1e15, "hours, two cores": total / rate / 3600}
            rows.append(row | {"hours, one H100": total / H100_RATE / 3600})
    return pd.DataFrame(rows)
