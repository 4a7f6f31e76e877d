"""A run: a profile and what is made from it, up to the answers of the models. Each thing is loaded
if it is on disk and fresh, and made otherwise.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.torch
import torch

from . import correlation, files, freshness, probes, steps, training
from .probes import PROBE_SETS, Probes
from .profiles import Profile, load_profile
from .steps import Spec
from .zoo import Material, Zoo, load_material

if TYPE_CHECKING:
    import pandas as pd

LOGITS, LOGITS_CODE = "outputs/logits", ("run.make_logits", "run.make_probes")
"""File of a run with the answers of all models, and the code that makes it."""


class Run:
    """Images, models, probes and answers of a profile, each made on first use and kept in `folder`,
    the folder ``runs``.
    """

    def __init__(self, profile: Profile, folder: Path) -> None:
        self.profile = profile
        self.shared = folder / profile.name
        self.folder = folder / profile.run_name
        self.device = training.pick_device(profile.device)
        self._variants: dict[str, Run] = {}
        self._answers: dict[tuple[str, str], torch.Tensor] = {}

    @cached_property
    def material(self) -> Material:
        """Images of all splits on the device."""
        return load_material(self.profile, self.shared / "data", self.device)

    @cached_property
    def zoo(self) -> Zoo:
        """All models, load-or-train."""
        return Zoo(self.profile, self.shared / "zoo", self.material)

    def variant(self, name: str) -> "Run":
        """The run of one of the profile's variants; it shares the images and every model that is
        the same.
        """
        if name not in self._variants:
            other = Run(steps.variant(self.profile, name), self.shared.parent)
            self._variants[name] = other
            if steps.data_digest(other.profile) == steps.data_digest(self.profile):
                other.material = self.material
        return self._variants[name]

    def names(self, *kinds: str) -> list[str]:
        """Names of the models of some steps, or of all models."""
        return [spec.name for spec in self.zoo.specs.values() if not kinds or spec.step in kinds]

    def evaluated(self) -> list[Spec]:
        """The stolen and the independent models; helpers and controls are never evaluated."""
        roles = ("stolen", "independent")
        return [spec for spec in self.zoo.specs.values() if steps.STEPS[spec.step].role in roles]

    def announce(self, *wanted: str) -> None:
        """Say which models will be trained when some steps or single models, or all models, are
        asked for, and how long that takes; nothing when all are there.
        """
        kinds = [step for step in wanted if step in steps.STEPS]
        names = [name for name in wanted if name not in steps.STEPS]
        self.zoo.announce(names + (self.names(*kinds) if kinds or not wanted else []))

    def records(self) -> list[dict[str, Any]]:
        """Records of all models, those of the variants included where the profile is full."""
        self.announce()
        records = [self.zoo.record(name) for name in self.names()]
        for name in self.profile.active_variants:
            zoo = self.variant(name).zoo
            needed = [spec.name for spec in steps.variant_specs(self.profile, name)]
            zoo.announce(needed)
            records += [zoo.record(model) for model in needed]
        return records

    @cached_property
    def probes(self) -> dict[str, Probes]:
        """The probe sets by the names of `PROBE_SETS`, each made when it is asked for."""
        return _ProbeSets(self)

    @cached_property
    def logits(self) -> dict[str, dict[str, torch.Tensor]]:
        """Logits (float32, shape (probes, classes)) of each model on each probe set:
        ``logits["w"][model name]``. Every model that is missing is trained.
        """
        tensors = self.keep_tensors(LOGITS, self.digest(*LOGITS_CODE), lambda: make_logits(self))
        names = self.names()
        return {kind: {name: tensors[f"{kind} | {name}"] for name in names} for kind in PROBE_SETS}

    @cached_property
    def _all_answer(self) -> bool:
        """Whether the answers of all models are kept, or can be had without training."""
        path, digest = self.folder / f"{LOGITS}.safetensors", self.digest(*LOGITS_CODE)
        return files.intact(path, digest) or not self.zoo.missing(self.names())

    def answers(self, name: str, probe_set: str) -> torch.Tensor:
        """Logits (float32, shape (probes, classes)) of one model on one probe set: from `logits`
        where these need no training, otherwise this model alone is asked, and trained if missing.
        """
        if "logits" in self.__dict__ or self._all_answer:
            return self.logits[probe_set][name]
        if (name, probe_set) not in self._answers:
            model, pixels = self.zoo.get(name), self.probes[probe_set].pixels
            self._answers[name, probe_set] = training.logits_of(model, pixels)
        return self._answers[name, probe_set]

    def outputs(self, probe_set: str, name: str, form: str = "probabilities") -> torch.Tensor:
        """A model's answers on a probe set in a form, float64, shape (probes, classes)."""
        answers = self.answers(name, probe_set).double()
        source = self.answers(self.zoo.source, probe_set) if form == "matched" else None
        return correlation.to_form(answers, form, source)

    def matrix(
        self, probe_set: str, name: str, form: str = "probabilities", kind: str = "cosine"
    ) -> torch.Tensor:
        """A model's correlation matrix on a probe set."""
        return correlation.CORRELATIONS[kind](self.outputs(probe_set, name, form))

    def digest(self, *code: str, more: Any = None) -> str:
        """Digest of what is computed from the models' answers: the profile's probes and
        seed, every model, the images, versions of packages, some code (see
        :mod:`sacutils.freshness`), and what else it is made from.
        """
        settings = [self.profile.probes.model_dump(), self.profile.seed, files.versions()]
        return files.digest_of([settings, self._made, freshness.code_digest(*code), more])

    @cached_property
    def _made(self) -> list[Any]:
        """Digests of models and images, once for a run: a folder of images takes a second."""
        return [steps.digests(self.profile), steps.data_digest(self.profile)]

    def keep_tensors(
        self, name: str, digest: str, make: Callable[[], dict[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """Tensors from a file of the run whose record has this digest, otherwise made."""
        path = self.folder / f"{name}.safetensors"
        if files.intact(path, digest):
            return safetensors.torch.load_file(path)
        tensors = make()
        with files.atomic_path(path) as temporary:
            safetensors.torch.save_file(tensors, temporary)
        chosen = {"images": tensors["image"].tolist()} if "image" in tensors else {}
        files.write_record(path, digest, **chosen)
        return tensors

    def keep_table(
        self, name: str, digest: str, make: "Callable[[], pd.DataFrame]"
    ) -> "pd.DataFrame":
        """A table in ``tables/`` as a CSV file whose record has this digest, otherwise made and
        written; all cells have twelve digits.
        """
        path = self.folder / "tables" / f"{name}.csv"
        if not files.intact(path, digest):
            files.write_text(path, make().to_csv(index=False, float_format="%.12g"))
            files.write_record(path, digest)
        return read_table(path)


class _ProbeSets(dict[str, Probes]):
    """The probe sets of a run; it holds those that were asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __missing__(self, name: str) -> Probes:
        run = self._run
        digest = run.digest("run.make_probes")
        tensors = run.keep_tensors(f"probes/{name}", digest, lambda: make_probes(run, name))
        self[name] = Probes(tensors["pixels"].to(run.device), tensors["index"])
        return self[name]


class Judges(NamedTuple):
    """Names of the models that choose a probe set, none of which is ever evaluated: an owner's
    model, its copies, and models made without it.
    """

    owner: list[str]
    copies: list[str]
    others: list[str]


def judges(run: Run, name: str) -> Judges:
    """Who chooses a probe set: nobody, or the source with its surrogates and the choosers. In a
    placebo a sibling that is no member stands for the source and its students for the surrogates:
    they are students of another network.
    """
    owner, copies = [run.zoo.source], run.names(*steps.SURROGATES)
    if name in probes.PLACEBOS:
        owner = run.names("control_sibling")[:1]
        students = run.names("control_student")
        copies = [student for student in students if run.zoo.specs[student].parent == owner[0]]
    match name:
        case "source":
            return Judges(owner, [], [])
        case "w":
            return Judges(owner, copies, [])
        case "contrast" | "contrast_pool" | "placebo" | "placebo_pool":
            return Judges(owner, copies, run.names(*steps.CHOOSERS))
    return Judges([], [], [])


def make_probes(run: Run, name: str) -> dict[str, torch.Tensor]:
    """One probe set as tensors: ``pixels``, ``index`` in the probe split, and number of the image
    in the data set, ``image``. Only the models that choose the probes are asked.
    """
    split, seed, settings = run.material.splits["probe"], run.profile.seed, run.profile.probes
    asked = judges(run, name)
    run.zoo.announce([model for models in asked for model in models])
    candidates = probes.Probes(split.pixels, torch.arange(len(split.labels)))
    if name.endswith("_pool"):
        candidates = probes.pool(split, seed)
    owner, copies, others = (
        [training.logits_of(run.zoo.get(model), candidates.pixels) for model in models]
        for models in asked
    )
    if asked.others:
        repeated = (torch.stack(logits).double().softmax(2) for logits in (copies, others))
        scores = probes.contrast_scores(owner[0].argmax(1), *repeated)
        chosen = probes.contrast(candidates, scores, settings.count)
    else:
        predictions = [logits.argmax(1) for logits in (*owner, *copies)]
        chosen = probes.make(name, split, predictions, settings, seed)
    pixels, index = chosen.pixels.cpu().contiguous(), chosen.index.clone()
    return {"pixels": pixels, "index": index, "image": run.material.index["probe"][index]}


def make_logits(run: Run) -> dict[str, torch.Tensor]:
    """Logits of every model on every probe set, under ``"<probe set> | <model name>"``."""
    run.announce()
    return {
        f"{kind} | {name}": training.logits_of(run.zoo.get(name), run.probes[kind].pixels)
        for name in run.names()
        for kind in PROBE_SETS
    }


def read_table(path: Path) -> "pd.DataFrame":
    """A table as :meth:`Run.keep_table` writes it, where "none" is a word."""
    import pandas as pd  # a second to import, and trainings do without

    return pd.read_csv(path, dtype={"setting": str}, keep_default_na=False, na_values=[""])


def open_run(
    profile: str, overrides: dict[str, Any] | None = None, folder: Path | None = None
) -> Run:
    """The run of a profile with some values replaced, see :func:`profiles.load_profile`; nothing
    is computed yet. Runs are kept in `folder`, by default ``runs/``.
    """
    return Run(load_profile(profile, overrides), folder or files.home() / "runs")


def provenance_line(run: Run) -> str:
    """What produced a page, as one line of Markdown: profile, seed, device, versions, hardware and
    date.
    """
    made, packages = files.provenance(), ("python", "torch", "torchvision", "numpy")
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in packages)
    changed = f" with {run.profile.overrides}" if run.profile.overrides else ""
    return (
        f"*Produced by profile `{run.profile.name}`{changed}, seed {run.profile.seed}, device "
        f"{run.device.type}; {versions}; {made['hardware']}; {made['utc'][:10]}.*"
    )
