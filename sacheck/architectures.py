"""Networks without weights, by name: this book's, those of libraries, and the owner's own."""

import importlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from sacutils import models
from sacutils.files import UserError

from .text import once, plain, read_bytes, refuse, summary, unlinked

TRANSFORMERS = sorted(
    "beit bit convnext convnextv2 cvt deit dinov2 efficientnet focalnet hiera mobilenet_v1 "
    "mobilenet_v2 mobilevit mobilevitv2 poolformer pvt regnet resnet segformer swin swinv2 van vit "
    "vit_msn".split()
)
"""Types of Hugging Face's classifiers that are built: the settings of these name no other model,
and nothing is computed from them, as levit does for each pair of places in an image."""
UNREAD = {"model_type", "auto_map", "attn_implementation", "quantization_config", "dtype"}
UNREAD |= {"torch_dtype", "id2label", "label2id", "num_labels", "num_channels"}
"""Settings of a Hugging Face config that are not read: what names code, precision, or classes."""
LARGEST_CONFIG, LARGEST_SETTING, MOST_MODULES = 2**20, 2**16, 20_000
"""Bytes of a Hugging Face config, the largest number in it, and modules of the network: the largest
classifiers have some thousands, and each takes time and memory although its weights take none."""


def build(name: str, channels: int, classes: int, folder: Path = Path()) -> nn.Module:
    """A network without normalisation.

    `name` is one of

    - a key of ``models.ARCHITECTURES``;
    - ``torchvision:NAME`` or ``timm:NAME``, a classifier of that library by its own name;
    - ``transformers``, a Hugging Face classifier as ``config.json`` in `folder`, where the weights
      are, describes it; nothing that this file names is loaded or run;
    - ``module:function``, imported with the current directory on the path, which gets the numbers
      of channels and classes. That code is run without any protection: it must be the owner's own
      and never a stranger's.
    """
    if name in models.ARCHITECTURES:
        return models.ARCHITECTURES[name](channels, classes)
    module, _, attribute = name.partition(":")
    what = f"Architecture {plain(name)!r}"
    known = f"{', '.join(models.ARCHITECTURES)}, torchvision:NAME, timm:NAME, transformers"
    own = bool(module and attribute)
    refuse(
        what,
        {
            f" is unknown; known are {known} and module:function of yours": not own
            and name != "transformers"
        },
    )
    try:
        if name == "transformers":
            network = _transformers(channels, classes, folder)
        elif module in ("timm", "torchvision"):
            # by a path or an address of a hub, a library would load somebody's files
            odd = not re.fullmatch(r"\w[\w.-]*", attribute, re.ASCII)
            refuse(what, {f" is no name of a model of {module}": odd})
            network = (_timm if module == "timm" else _torchvision)(attribute, channels, classes)
        else:
            network = own_function(module, attribute)(channels, classes)
        if not isinstance(network, nn.Module):
            raise TypeError(f"a torch.nn.Module is needed and no {type(network).__name__}")
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever a library or the owner's module raises
        raise UserError(f"{what} gives no network ({named(error)}).") from None
    return network


def named(error: BaseException) -> str:
    """An error of somebody else's code, with its kind."""
    return f"{type(error).__name__}: {summary(error)}"


def own_function(module: str, attribute: str) -> Callable[..., Any]:
    """A function of a module in the current directory, which is the owner's own code."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        importlib.invalidate_caches()
        return getattr(importlib.import_module(module), attribute)
    finally:
        sys.path.remove(here)


def _library(name: str) -> Any:
    """A library that may be absent; it is told to stay off the network."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        return importlib.import_module(name)
    except ImportError:
        what = f"The library {name} is not installed beside sacheck"
        raise UserError(f"{what}; add it there with: pip install {name}") from None


def _torchvision(name: str, channels: int, classes: int) -> nn.Module:
    from torchvision import models as known

    # others, such as segmenters, would download a backbone
    problems = {
        " is no classifier of torchvision.models": name not in known.list_models(module=known),
        f" takes colour images, these have {channels} channel(s)": channels != 3,
    }
    refuse(f"torchvision:{plain(name)}", problems)
    return known.get_model(name, weights=None, num_classes=classes)


def _timm(name: str, channels: int, classes: int) -> nn.Module:
    timm = _library("timm")
    refuse(f"timm {timm.__version__} has no model {name!r}", {"": not timm.is_model(name)})
    return timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)


def _transformers(channels: int, classes: int, folder: Path) -> nn.Module:
    transformers, path = _library("transformers"), folder / "config.json"
    # it would print names of a stranger's tensors
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        content = read_bytes(unlinked(path), LARGEST_CONFIG)
        settings = json.loads(content, object_pairs_hook=once)
        kind = str(settings["model_type"])
        # one that is no number compares with none
        large = [number for number in _numbers(settings) if not number <= LARGEST_SETTING]
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is no Hugging Face config ({named(error)}).") from None
    known = ", ".join(TRANSFORMERS)
    problems = {
        f" describes a {plain(kind)!r}; read are {known}": kind not in TRANSFORMERS,
        f" holds {', '.join(map(str, large[:1]))}; at most {LARGEST_SETTING:,} is accepted": (
            bool(large)
        ),
    }
    refuse(path, problems)
    values = {k: v for k, v in settings.items() if k not in UNREAD and not k.startswith("_")}
    config = transformers.AutoConfig.for_model(kind, **values)
    config.num_labels, config.num_channels = classes, channels
    with _bounded(path):
        return transformers.AutoModelForImageClassification.from_config(config)


_building = threading.local()
"""The file whose network a thread builds, and how many modules that has so far."""


def _counted(*_: object) -> None:
    if (path := getattr(_building, "path", None)) is not None:
        _building.count += 1
        what = f"{path} describes a network of more than {MOST_MODULES:,} modules"
        refuse(what, {", which is the most that is accepted": _building.count > MOST_MODULES})


# once, for the hook is that of all threads
register_module_module_registration_hook(_counted)


@contextmanager
def _bounded(path: Path) -> Iterator[None]:
    """Refuse a network as soon as it has more than `MOST_MODULES` modules, whichever of the many
    settings asks for them.
    """
    _building.path, _building.count = path, 0
    try:
        yield
    finally:
        _building.path = None


def _numbers(value: Any) -> list[float]:
    """The sizes of all numbers in a JSON value."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [number for each in inner for number in _numbers(each)]
    return [abs(value)] if isinstance(value, int | float) else []
