"""A run: a profile and everything made from it. Each thing is loaded if it is on disk and fresh, and made otherwise."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch

from . import ablations, artefacts, comparison, correlation, evaluation, freshness, lineage, probes, training
from .probes import PROBE_SETS, Probes
from .profiles import ROOT, Profile, load_profile
from .zoo import Material, Zoo, intact, load_material


class Run:
    """Everything made from a profile, each part on first use.

    Parameters
    ----------
    profile : Profile
        What to make.
    folder : pathlib.Path
        The folder ``runs``.
    """

    def __init__(self, profile: Profile, folder: Path) -> None:
        self.profile = profile
        self.shared = folder / profile.name
        self.folder = folder / profile.run_name
        self.device = training.pick_device(profile.device)
        self._variants: dict[str, Run] = {}

    @cached_property
    def material(self) -> Material:
        """Images of all splits on the device."""
        return load_material(self.profile, self.shared / "data", self.device)

    @cached_property
    def zoo(self) -> Zoo:
        """All models, load-or-train."""
        return Zoo(self.profile, self.shared / "zoo", self.material)

    def variant(self, name: str) -> "Run":
        """The run of one of the profile's variants; it shares the images and every model that is the same."""
        if name not in self._variants:
            other = self._variants[name] = Run(lineage.variant(self.profile, name), self.shared.parent)
            if lineage.data_digest(other.profile) == lineage.data_digest(self.profile):
                other.material = self.material
        return self._variants[name]

    def names(self, *steps: str) -> list[str]:
        """Names of the models of some steps, or of all models."""
        return [spec.name for spec in self.zoo.specs.values() if not steps or spec.step in steps]

    def records(self) -> list[dict[str, Any]]:
        """Records of all models, those of the profile's variants included."""
        found = [self.zoo.record(name) for name in self.names()]
        for name in self.profile.variants:
            other = self.variant(name)
            found += [other.zoo.record(spec.name) for spec in lineage.variant_specs(self.profile, name)]
        return found

    @cached_property
    def probes(self) -> dict[str, Probes]:
        """The five probe sets by the names of `PROBE_SETS`; pixels and chosen indices are kept in ``probes/``."""
        tensors = self._load_or_make("probes/probes", ["runs.make_probes"], lambda: make_probes(self))
        return {name: Probes(tensors[f"{name}.pixels"].to(self.device), tensors[f"{name}.index"]) for name in PROBE_SETS}

    @cached_property
    def logits(self) -> dict[str, dict[str, torch.Tensor]]:
        """Logits (float32, shape (probes, classes)) of each model on each probe set: ``logits["w"][model name]``."""
        tensors = self._load_or_make("outputs/logits", ["runs.make_logits", "runs.make_probes"], lambda: make_logits(self))
        return {probe_set: {name: tensors[f"{probe_set} | {name}"] for name in self.names()} for probe_set in PROBE_SETS}

    def outputs(self, probe_set: str, name: str, form: str = "probabilities") -> torch.Tensor:
        """A model's outputs on a probe set in a given form, float64, shape (probes, classes)."""
        return correlation.to_form(self.logits[probe_set][name].double(), form)

    def matrix(self, probe_set: str, name: str, form: str = "probabilities", kind: str = "cosine") -> torch.Tensor:
        """A model's correlation matrix on a probe set, shape (probes, probes)."""
        return correlation.CORRELATIONS[kind](self.outputs(probe_set, name, form))

    @cached_property
    def models(self) -> pd.DataFrame:
        """Table of models (``zoo.csv``): one row each, with accuracy and fidelity, without what differs when repeated."""
        columns = ["name", "step", "architecture", "index", "parent", "fraction", "train_accuracy", "test_accuracy", "fidelity"]
        columns += ["parameters", "seed", "attempt", "digest", "sha256"]
        rows = pd.DataFrame([self.zoo.record(name) for name in self.names()])[columns]
        rows.insert(1, "group", rows["step"].map(lineage.LABELS))
        return rows

    def baseline(self, method: str) -> dict[str, torch.Tensor]:
        """Distances and costs of one baseline, see :func:`sacutils.comparison.measure`."""
        name = f"outputs/baseline-{method.lower().replace(' ', '-')}"
        used = self._needed(comparison.WATERMARKED) if method == "EWE" else None
        return self._load_or_make(name, ["comparison.measure"], lambda: comparison.measure(self, method), used)

    @cached_property
    def all_distances(self) -> pd.DataFrame:
        """Table of distances to the source (``distances.csv``): one row per model and fingerprint, SAC's and the baselines'."""

        def make() -> pd.DataFrame:
            return pd.concat([comparison.sac_distances(self), comparison.baseline_distances(self)], ignore_index=True)

        return self._table("distances", ["comparison.sac_distances", "comparison.measure", "runs.make_logits"], make)

    @cached_property
    def distances(self) -> pd.DataFrame:
        """The rows of `all_distances` for SAC's own correlations at the profile's number of probes."""
        return self._sac(self.all_distances)

    @cached_property
    def all_auc(self) -> pd.DataFrame:
        """Table of AUCs (``auc.csv``): one row per fingerprint, attack and group of irrelevant models."""
        code = ["runs.auc_table", "comparison.sac_distances", "comparison.measure", "runs.make_logits"]
        return self._table("auc", code, lambda: auc_table(self.all_distances, self.profile))

    @cached_property
    def auc(self) -> pd.DataFrame:
        """The rows of `all_auc` for SAC's own correlations at the profile's number of probes."""
        return self._sac(self.all_auc)

    def _sac(self, table: pd.DataFrame) -> pd.DataFrame:
        chosen = table["measure"].isin(correlation.CORRELATIONS) & (table["n_probes"] == self.profile.probes.count)
        return table[chosen].reset_index(drop=True)

    @cached_property
    def ablations(self) -> pd.DataFrame:
        """Table of ablations (``ablations.csv``)."""
        return self._table("ablations", ["ablations.table"], lambda: ablations.table(self))

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Table of costs (``costs.csv``): one row per fingerprint; the seconds are those of the first measurement."""
        return self._table("costs", ["comparison.costs", "comparison.measure"], lambda: comparison.costs(self))

    def _table(self, name: str, code: list[str], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """A table that is kept as a CSV file with a record beside it; all cells have twelve digits."""
        path, record_path = (self.folder / f"tables/{name}.{suffix}" for suffix in ("csv", "json"))
        digest = self._digest(code, [self._needed(variant) for variant in self.profile.variants])
        if not intact(path, record_path, digest):
            artefacts.write_text(path, make().to_csv(index=False, float_format="%.12g"))
            artefacts.write_json(record_path, {"digest": digest, "sha256": artefacts.sha256(path)} | artefacts.provenance())
        # some settings are numbers and some are words
        return pd.read_csv(path, dtype={"setting": str}, keep_default_na=False, na_values=[""])

    def auc_of(
        self,
        attack: str,
        probe_set: str = "w",
        form: str = "probabilities",
        kind: str = "cosine",
        negatives: str = lineage.MAIN_NEGATIVES,
    ) -> evaluation.Auc:
        """One cell of the AUC table."""
        table = self.auc
        chosen = table[
            (table["attack"] == lineage.LABELS[attack])
            & (table["probes"] == PROBE_SETS[probe_set])
            & (table["form"] == form)
            & (table["measure"] == kind)
            & (table["negatives"] == negatives)
        ].iloc[0]
        return evaluation.Auc(chosen["auc"], chosen["low"], chosen["high"])

    def write_tables(self) -> None:
        """Make all tables in ``tables/``; ``zoo.csv`` is written, the others are kept when they are made."""
        artefacts.write_text(self.folder / "tables" / "zoo.csv", self.models.to_csv(index=False, float_format="%.6f"))
        assert len(self.all_auc) and len(self.costs) and len(self.ablations)

    def _needed(self, variant: str) -> dict[str, str]:
        """Digests of the models that a variant needs."""
        digests = lineage.digests(lineage.variant(self.profile, variant))
        return {spec.name: digests[spec.name] for spec in lineage.variant_specs(self.profile, variant)}

    def _digest(self, code: list[str], more: Any = None) -> str:
        settings = [self.profile.probes.model_dump(), self.profile.seed, self.profile.bootstrap]
        return artefacts.digest_of([settings, lineage.digests(self.profile), freshness.code_digest(*code), more])

    def _load_or_make(self, name: str, code: list[str], make: Any, more: Any = None) -> dict[str, torch.Tensor]:
        """Tensors from a safetensors file whose record shows that it is fresh, otherwise made and written."""
        path, record_path = (self.folder / f"{name}.{suffix}" for suffix in ("safetensors", "json"))
        digest = self._digest(code, more)
        if intact(path, record_path, digest):
            return safetensors.torch.load_file(path)
        tensors = make()
        with artefacts.atomic_path(path) as temporary:
            safetensors.torch.save_file(tensors, temporary)
        chosen = {key: value.tolist() for key, value in tensors.items() if key.endswith(".image")}
        record = {"digest": digest, "sha256": artefacts.sha256(path), "images": chosen}
        artefacts.write_json(record_path, record | artefacts.provenance())
        return tensors


def open_run(profile: str, overrides: dict[str, Any] | None = None, folder: Path = ROOT / "runs") -> Run:
    """The run of a profile with some values replaced; nothing is computed yet.

    Parameters
    ----------
    profile : str
        A file ``profiles/<profile>.yaml``.
    overrides : dict, optional
        Values to replace, by dotted path: ``{"seed": 1, "recipes.extract_label.epochs": 30}``.
    folder : pathlib.Path
        Where runs are kept.

    Raises
    ------
    UserError
        If the profile or a parameter is unknown or a value is not accepted.
    """
    return Run(load_profile(profile, overrides), folder)


def provenance_line(run: Run) -> str:
    """What produced a page, as one line of Markdown: profile, seed, device, versions, hardware and date."""
    made = artefacts.provenance()
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in ("python", "torch", "torchvision", "numpy"))
    changed = f" with {run.profile.overrides}" if run.profile.overrides else ""
    return (
        f"*Produced by profile `{run.profile.name}`{changed}, seed {run.profile.seed}, device {run.device.type}; "
        f"{versions}; {made['hardware']}; {made['utc'][:10]}.*"
    )


def make_probes(run: Run) -> dict[str, torch.Tensor]:
    """The five probe sets as named tensors: pixels, index in the probe split, and image number in the data set."""
    settings, split = run.profile.probes, run.material.splits["probe"]
    models = [run.zoo.get(name) for name in [run.zoo.source, *run.names("surrogate")]]
    sets = {
        name: probes.make(name, split, models[:1] if name == "source" else models, settings, run.profile.seed)
        for name in PROBE_SETS
    }
    tensors = {}
    for name, chosen in sets.items():
        tensors[f"{name}.pixels"] = chosen.pixels.cpu().contiguous()
        tensors[f"{name}.index"] = chosen.index.clone()
        tensors[f"{name}.image"] = run.material.index["probe"][chosen.index]
    return tensors


def make_logits(run: Run) -> dict[str, torch.Tensor]:
    """Logits of every model on every probe set, under ``"<probe set> | <model name>"``."""
    sets = run.probes
    return {
        f"{probe_set} | {name}": training.logits_of(run.zoo.get(name), sets[probe_set].pixels)
        for name in run.names()
        for probe_set in PROBE_SETS
    }


def auc_table(table: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """AUC of each attack from a table of distances.

    Parameters
    ----------
    table : pandas.DataFrame
        As made by :mod:`sacutils.comparison`.
    profile : Profile
        Gives the number of bootstrap resamples and their seed.

    Returns
    -------
    pandas.DataFrame
        Columns probes, n_probes, form, measure, attack, negatives, n_stolen, n_irrelevant, auc, low, high, tpr_at_5fpr.
    """
    rows = []
    for (probe_set, n, form, kind), part in table.groupby(["probes", "n_probes", "form", "measure"], sort=False):
        by_step = {step: group["distance"].to_numpy() for step, group in part.groupby("step")}
        for attack in lineage.ATTACKS:
            for negatives, steps in lineage.negative_sets(attack).items():
                chosen = [by_step[step] for step in steps if step in by_step]
                if not chosen or attack not in by_step:
                    continue
                stolen, irrelevant = by_step[attack], np.concatenate(chosen)
                value = evaluation.auc(stolen, irrelevant, profile.bootstrap, profile.seed)
                rows.append(
                    {
                        "probes": probe_set,
                        "n_probes": n,
                        "form": form,
                        "measure": kind,
                        "attack": lineage.LABELS[attack],
                        "negatives": negatives,
                        "n_stolen": len(stolen),
                        "n_irrelevant": len(irrelevant),
                        "auc": value.value,
                        "low": value.low,
                        "high": value.high,
                        "tpr_at_5fpr": evaluation.tpr_at_fpr(stolen, irrelevant),
                    }
                )
    return pd.DataFrame(rows)
