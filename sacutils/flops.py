"""How much a profile has to compute: floating-point operations, counted by torch on models that hold no memory."""

from functools import cache

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from . import lineage, models, profiles, zoo
from .profiles import Profile

GREY = ("fashion_subset", "fashion_mnist", "digits")
"""Data sets with one channel; all others have three."""

H100_RATE = 1e14
"""Operations per second that an H100 is assumed to reach on these networks: a tenth of its peak in bfloat16. Not measured."""


@cache
def forward_flops(architecture: str, channels: int, size: int, classes: int) -> int:
    """Floating-point operations of one image's forward pass (a multiplication and an addition count as two).

    Parameters
    ----------
    architecture : str
        A name of ``sacutils.models.ARCHITECTURES``.
    channels, size, classes : int
        Of the images, and the number of outputs.
    """
    with torch.device("meta"):
        model = models.ARCHITECTURES[architecture](channels, classes).eval()
        image = torch.empty(1, channels, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops())


def training_flops(profile: Profile) -> dict[str, float]:
    """Floating-point operations of training each model of a profile and of its variants, by group of jobs.

    A step of training costs three forward passes of the model; extraction adds one of the source, each step of projected
    gradient descent three of the student. Validation and the checks between trainings are left out.

    Returns
    -------
    dict
        From the name of the group (see :func:`sacutils.lineage.groups`) to operations.
    """
    result = {}
    channels, size = (1 if profile.data.name in GREY else 3), profile.data.image_size
    for group, specs in lineage.groups(profile).items():
        place = lineage.profile_of(profile, group)
        owner, attacker = place.splits.owner, place.splits.attacker
        sizes = {"owner": owner, "attacker": attacker, "attacker_corrupted": attacker, "transfer_train": place.transfer.train}
        total = 0.0
        for spec in specs:
            recipe = lineage.recipe_of(place, spec.step)
            images = sizes[zoo.trains_on(spec.step)]
            one = forward_flops(spec.architecture, channels, size, 10)
            passes = 3.0 * one
            if spec.step == "extract_adversarial":
                passes = (6 + 3 * recipe.pgd_steps) * one
            if spec.step.startswith("extract") or spec.step == "surrogate":
                passes += forward_flops(place.zoo.source, channels, size, 10)
            total += passes * images * recipe.share * recipe.epochs
        result[group] = total
    return result


def table(rate: float) -> pd.DataFrame:
    """Cost of every profile.

    Parameters
    ----------
    rate : float
        Operations per second of two CPU cores, measured on a finished run.

    Returns
    -------
    pandas.DataFrame
        Columns profile, models, petaFLOP, hours on two CPU cores (estimated from `rate`), hours on one H100 (estimated from
        `H100_RATE`).
    """
    rows = []
    for name in profiles.available():
        profile = profiles.load_profile(name)
        total = sum(training_flops(profile).values())
        rows.append(
            {
                "profile": name,
                "models": sum(len(specs) for specs in lineage.groups(profile).values()),
                "petaFLOP": total / 1e15,
                "hours, two cores": total / rate / 3600,
                "hours, one H100": total / H100_RATE / 3600,
            }
        )
    return pd.DataFrame(rows)
