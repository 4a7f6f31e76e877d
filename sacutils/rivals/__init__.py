"""Fingerprints beside SAC, one file per paper: queries, a representation, a distance.

*Queries* are 8-bit images, because that is what a prediction service accepts. A *representation*
turns a model's logits for them, shape (probes, queries per probe, classes), into what is compared;
a *distance* compares the source's with a suspect's, and small means probably stolen. A budget of
`n` probes is `n` images that the owner selects. Importing this module imports no rival.

=================  ================================  ============================================
name               queries                           what is compared
=================  ================================  ============================================
Random             plain images                      labels
AKH                the source's mistakes             labels
IPGuard            images beyond its boundary        labels
CAE                conferrable adversarial examples  labels
EWE                images with the trigger           share of the secret label
ModelDiff          images and adversarial twins      how far the answer moves from image to twin
FBI                plain images                      ranks, by what one tells about the other
Zest               images with parts masked          which parts raise which class
Dataset Inference  walks away from an image          how deep in their class training images lie
=================  ================================  ============================================

IPGuard and FBI have a second row, as QuRD has them, and Zest one with as few queries as the others.
"""

import re
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..profiles import Profile
    from .kinds import Rival

NAMES = {
    "Random": "labels",
    "AKH": "labels",
    "IPGuard": "ipguard",
    "IPGuard (QuRD)": "ipguard",
    "CAE": "cae",
    "EWE": "ewe",
    "ModelDiff": "modeldiff",
    "FBI": "fbi",
    "FBI (QuRD)": "fbi",
    "Zest": "zest",
    "Zest (equal queries)": "zest",
    "Dataset Inference": "dataset_inference",
}
"""Every rival by the name that is shown, with the module that holds it."""

NEEDS = {"EWE": "watermarked"}
"""The variant of a profile that a rival cannot do without: EWE's source carries the watermark."""


def slug(name: str) -> str:
    """A rival's name in files and on the command line."""
    return "-".join(re.findall(r"\w+", name.lower()))


def measurable(profile: "Profile") -> list[str]:
    """The rivals that a run of this profile measures."""
    return [name for name in NAMES if name not in NEEDS or NEEDS[name] in profile.active_variants]


def code(name: str) -> str:
    """Where a rival is defined, as :mod:`sacutils.freshness` names code: ``rivals.zest.ZEST``."""
    return f"rivals.{NAMES[name]}.{slug(name).upper().replace('-', '_')}"


def rival(name: str) -> "Rival":
    """A rival by the name that is shown; only its own module is imported."""
    module, _, constant = code(name).removeprefix("rivals.").partition(".")
    return getattr(import_module(f".{module}", __name__), constant)
