"""The lab pack: a lesson of 90 minutes on the answers of a run, for which NumPy, pandas and
matplotlib are enough.

:func:`write` fills ``runs/<run>/lab``. The folder ``sac-lab`` is for the class, and
``sac-lab.zip`` is the same as one file: answers, tables, :mod:`sacbook.saclab` and the notebook,
whose source is ``teaching/lab.py``. ``lab_solutions.ipynb`` is the teacher's, executed, and
``expected.json`` has the values that the teacher's guide shows.
"""

import json
import random
import shutil
import zipfile
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pandas as pd

from sacutils import files, freshness, siblings, steps
from sacutils.files import UserError, home
from sacutils.probes import PROBE_SETS
from sacutils.run import Run
from sacutils.steps import CONTROLS, LABELS, NEGATIVES, STEPS
from sacutils.studies import tables, verdicts

from . import pages, saclab

PACK = "sac-lab"
SEALED = (
    *("finetune_all", "extract_label", "extract_probability"),
    *("student_of_stranger", "independent", "independent_owner"),
)
"""One model of each of these steps is a sealed suspect, stolen in three ways and innocent in three.
None descends from a sibling, so that all are judged with all members."""
ATTACKS, PROBES = ("finetune_all", "extract_label"), "w"
"""The stolen models and the probe set of the lab."""
STEP = 2.0**-8
"""Log-probabilities are rounded to multiples of this, which packs them to half the size."""
COMPARED = ("attacker data", "owner data", "students of another")
"""The independent models that the last of them are compared with."""
TOLERANCE = 2.0**-11
"""What half precision may change in a distance: the rounding of a number between 1 and 2."""
P_TOLERANCE = 0.02
"""What it may change in a p-value, as a share of it."""


def code(run: Run) -> str:
    """The teacher's code, six digits, which opens the seal."""
    return str(100_000 + steps.derived_seed(run.profile.seed, "seal of the lab") % 900_000)


def sealed(run: Run) -> list[str]:
    """Names of the sealed suspects, in their order."""
    draw = random.Random(steps.derived_seed(run.profile.seed, "suspects of the lab"))
    chosen = [draw.choice(names) for step in SEALED if (names := run.names(step))]
    return draw.sample(chosen, len(chosen))


def models(run: Run) -> pd.DataFrame:
    """A row per model, in the order of the stored answers.

    Columns: model, group, role, negatives (the comparison in which it is an independent model with
    the source's classes), new_labels, architecture, chain (what it was copied from and how),
    test_accuracy, fidelity.
    """
    kinds = {step: name for name, group in NEGATIVES.items() for step in group}
    rows = []
    for name in run.names():
        spec, record = run.zoo.specs[name], run.zoo.record(name)
        step = STEPS[spec.step]
        row = {"model": name, "group": step.label, "role": step.role}
        row |= {"negatives": kinds.get(spec.step, ""), "new_labels": step.new_labels}
        row["architecture"] = spec.architecture
        row["chain"] = tables.clusters(np.array([name]))[0]
        rows.append(row | {key: record[key] for key in ("test_accuracy", "fidelity")})
    return pd.DataFrame(rows)


def probes(run: Run) -> pd.DataFrame:
    """A row per probe of each set, in the order of the stored answers.

    Columns: probes (the set), probe, image (its place in the probe split), true_class.
    """
    labels, names = run.material.splits["probe"].labels.cpu(), run.material.class_names
    rows = []
    for kind in PROBE_SETS:
        for place, image in enumerate(run.probes[kind].index.tolist()):
            row = {"probes": kind, "probe": place, "image": image}
            rows.append(row | {"true_class": names[labels[image]]})
    return pd.DataFrame(rows)


def halved(logits: np.ndarray) -> np.ndarray:
    """Logits, shape (..., classes), in half precision; the predicted class stays the same."""
    half, top = logits.astype(np.float16), logits.argmax(-1)[..., None]
    above = np.nextafter(half.max(-1, keepdims=True), np.float16(np.inf))
    own = np.take_along_axis(half, top, -1)
    tied = half.argmax(-1)[..., None] != top
    np.put_along_axis(half, top, np.where(tied, above, own), -1)
    return half


def answers(run: Run) -> dict[str, np.ndarray]:
    """Logits of all models on each probe set, float16, shape (models, probes, classes); a model
    with fewer classes than another one has NaN behind them.
    """
    stored = {}
    for kind in PROBE_SETS:
        parts = [halved(run.logits[kind][name].numpy()) for name in run.names()]
        widest = max(part.shape[1] for part in parts)
        room = [((0, 0), (0, widest - part.shape[1])) for part in parts]
        filled = [np.pad(*pair, constant_values=np.nan) for pair in zip(parts, room, strict=True)]
        stored[kind] = np.stack(filled)
    return stored


def contested(run: Run) -> dict[str, np.ndarray]:
    """What the sibling test needs, on its largest number of probes: ``log_p`` of the members,
    float16, with the floor of the test, shape (members, probes, classes), and labels of the sealed
    ``suspects`` and of the ``controls``, integers, shape (models, probes).
    """
    known = verdicts.answers(run)
    index = known[f"probes {run.profile.probes.contested[-1]}"]
    own = [known[name][index].double().log_softmax(1) for name in verdicts.members(run)]
    log_p = np.stack([values.clamp(min=siblings.FLOOR).numpy() for values in own])
    log_p = np.round(log_p / STEP) * STEP
    smallest = np.min_scalar_type(log_p.shape[2] - 1)
    labels = {
        key: np.stack([known[name][index].argmax(1).numpy() for name in names]).astype(smallest)
        for key, names in (("suspects", sealed(run)), ("controls", run.names(*CONTROLS)))
    }
    return {"log_p": log_p.astype(np.float16)} | labels


def notebook(solved: bool, code: str = "") -> nbformat.NotebookNode:
    """The lab, with the solutions and the code of the seal or with blanks instead."""
    made = jupytext.read(home() / "teaching" / "lab.py")
    unwanted = "exercise" if solved else "solution"
    made.cells = [c for c in made.cells if unwanted not in c.metadata.get("tags", [])]
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
        cell.source = cell.source.replace("  # fmt: skip", "")
        if solved:
            cell.source = cell.source.replace('code = "000000"', f'code = "{code}"')
    del made.metadata["jupytext"]
    return made


def write(run: Run) -> None:
    """Make the pack from a run, check it against the run's tables, and put it in its place."""
    with files.fresh_folder(run.folder / "lab") as new:
        pack = new / PACK
        pack.mkdir()
        models(run).to_csv(pack / "models.csv", index=False, float_format="%.4f")
        probes(run).to_csv(pack / "probes.csv", index=False)
        np.savez_compressed(pack / "answers.npz", **answers(run))
        pixels = {kind: run.probes[kind].pixels.cpu().numpy() for kind in PROBE_SETS}
        np.savez_compressed(pack / "images.npz", **pixels)
        np.savez_compressed(pack / "contested.npz", **contested(run))
        origin = [
            {"group": LABELS[spec.step], "model": name, "stolen": STEPS[spec.step].role == "stolen"}
            for name in sealed(run)
            for spec in [run.zoo.specs[name]]
        ]
        files.write_text(pack / "sealed.txt", saclab.seal(json.dumps(origin), code(run)) + "\n")
        shutil.copyfile(freshness.FOLDER / "sacbook" / "saclab.py", pack / "saclab.py")
        sums = [f"{saclab.digest(path)}  {path.name}\n" for path in sorted(pack.iterdir())]
        files.write_text(pack / "checksums.txt", "".join(sums))
        check(run, pack)
        shutil.copyfile(home() / "teaching" / "README.md", pack / "README.md")
        shutil.copyfile(home() / "LICENSE", pack / "LICENSE.txt")
        nbformat.write(notebook(False), pack / "lab.ipynb")
        bundle(pack, pack.with_suffix(".zip"))
        execute(new / "lab_solutions.ipynb", pack, notebook(True, code(run)))
        found = {"lab_code": code(run)} | expected(pack, sealed(run))
        found["lab_size"] = files.megabytes(pack.with_suffix(".zip"))
        files.write_json(new / "expected.json", found)


def bundle(pack: Path, path: Path) -> None:
    """All files of a folder as one zip, in a folder of its name; equal files give equal bytes."""
    with files.atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in sorted(pack.iterdir()):
            entry = zipfile.ZipInfo(f"{pack.name}/{file.name}")  # of 1980, whatever the clock says
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())


def execute(path: Path, pack: Path, made: nbformat.NotebookNode) -> None:
    """Run a lab with its solutions from a folder and keep it; a ``UserError`` if a cell fails, or
    if one of its checks does not say OK.
    """
    try:
        executed = pages.run_cells(made, path, pack)
    except Exception as error:
        raise UserError(f"The lab failed: {pages.last_line(error)} (see {path}).") from error
    for output in (output for cell in executed.cells for output in cell.get("outputs", [])):
        if "Not yet" in output.get("text", ""):
            raise UserError(f"The lab failed: {output['text'].strip()} (see {path}).")


def _read(pack: Path) -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Models, answers and contested answers, as a class reads them."""
    stored, asked = (np.load(pack / f"{name}.npz") for name in ("answers", "contested"))
    return pd.read_csv(pack / "models.csv"), dict(stored), dict(asked)


def distances(found: pd.DataFrame, stored: np.ndarray, form: str) -> np.ndarray:
    """Distance of each model to the source, by the module of the pack."""
    outputs = [saclab.in_form(saclab.answers(stored, row), form) for row in range(len(found))]
    source = saclab.matrix(outputs[int(np.flatnonzero(found["role"] == "source")[0])])
    return np.array([saclab.distance(source, saclab.matrix(output)) for output in outputs])


def check(run: Run, pack: Path) -> dict[str, float]:
    """Recompute the run's distances and p-values from a pack; a ``UserError`` if any differs by
    more than half precision explains. The largest differences by name.
    """
    found, stored, asked = _read(pack)
    table = tables.select(tables.distances(run), measure="cosine", form=list(saclab.FORMS))
    table = tables.select(table, n_probes=run.profile.probes.count)
    differences = {"distance": 0.0}
    for (shown, form), rows in table.groupby(["probes", "form"]):
        kind = next(kind for kind, label in PROBE_SETS.items() if label == shown)
        ours = pd.Series(distances(found, stored[kind], form), found["model"])
        difference = np.abs(ours[rows["model"]].to_numpy() - rows["distance"].to_numpy()).max()
        differences["distance"] = max(differences["distance"], float(difference))
    rows = tables.select(verdicts.table(run), accused=verdicts.SOURCE, form="labels")
    rows = rows[rows["n_probes"] == asked["log_p"].shape[1]].set_index("suspect")
    theirs = rows.loc[sealed(run), "p"].to_numpy()
    differences["p"] = float(np.abs(np.log(p_values(asked) / theirs)).max())
    for name, limit in (("distance", TOLERANCE), ("p", P_TOLERANCE)):
        if not differences[name] <= limit:
            what = f"a {name} of the pack differs from the run's table by {differences[name]:.2g}"
            raise UserError(f"{pack}: {what}; half precision explains {limit:.2g}.")
    return differences


def p_values(asked: dict[str, np.ndarray]) -> np.ndarray:
    """P-values of the sealed suspects, by the module of the pack."""
    return saclab.p_value(
        *(saclab.scores(asked["log_p"], asked[key]) for key in ("suspects", "controls"))
    )


def expected(pack: Path, suspects: list[str]) -> dict[str, str]:
    """What the class should find, by the names under which the teacher's guide shows it: numbers
    and whole tables as text, all from the pack and its module alone.
    """
    found, stored, asked = _read(pack)
    logits = [saclab.answers(stored[PROBES], row) for row in range(len(found))]
    source = logits[int(np.flatnonzero(found["role"] == "source")[0])]
    found["SAC"] = distances(found, stored[PROBES], "probabilities")
    found["AKH"] = [saclab.disagreement(source, other) for other in logits]
    stolen = found[found["group"] == LABELS[ATTACKS[-1]]].index[0]
    independent = found[found["negatives"] == COMPARED[0]].index[0]
    members, count, _ = asked["log_p"].shape
    values = {"lab_models": f"{len(found)}", "lab_probes": f"{len(source)}"}
    values |= {"lab_siblings": f"{members - 1}", "lab_members": f"{members}"}
    values["lab_contested"] = f"{count:,}"
    values["lab_score"] = f"{saclab.scores(asked['log_p'], asked['suspects'])[0, 0]:.3f}"
    values["lab_by_hand"] = _by_hand(found, source, {i: logits[i] for i in (stolen, independent)})
    values["lab_auc"] = _aucs(found)
    return values | _sealed_table(found, suspects, p_values(asked))


def _by_hand(found: pd.DataFrame, source: np.ndarray, pair: dict[int, np.ndarray]) -> str:
    """Matrices on three probes, and the scores of a stolen and of an independent model."""
    three = [
        saclab.matrix(saclab.in_form(logits, "probabilities")[:3])
        for logits in (source, *pair.values())
    ]
    lines = [
        [f"$C_{{{i}{j}}}$", *(f"{matrix[i, j]:.3f}" for matrix in three)]
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    few = [f"{saclab.distance(three[0], matrix):.4f}" for matrix in three[1:]]
    lines.append(["SAC, three probes", "–", *few])
    for score in ("SAC", "AKH"):
        values = found.loc[list(pair), score]
        lines.append([f"{score}, all probes", "–", *(f"{value:.4f}" for value in values)])
    return pages.table(["quantity", "source", "stolen", "independent"], lines)


def _aucs(found: pd.DataFrame) -> str:
    """AUC and interval of both scores for each comparison of the lab that the run has models of."""
    compared = [(ATTACKS[0], COMPARED[0]), *((ATTACKS[-1], negatives) for negatives in COMPARED)]
    lines = []
    for attack, negatives in compared:
        groups = found[found["group"] == LABELS[attack]], found[found["negatives"] == negatives]
        if not all(map(len, groups)):
            continue
        units = [saclab.units(saclab.clusters(g["architecture"], g["chain"])) for g in groups]
        line = [LABELS[attack], negatives, " and ".join(str(len(group)) for group in groups)]
        for score in ("SAC", "AKH"):
            value = saclab.auc(*(group[score] for group in groups))
            low, high = saclab.interval(value, *units)
            line.append(f"{value:.2f} [{low:.2f}, {high:.2f}]")
        lines.append(line)
    return pages.table(["stolen", "independent", "models", "SAC", "AKH"], lines)


def _sealed_table(found: pd.DataFrame, suspects: list[str], p: np.ndarray) -> dict[str, str]:
    """The sealed suspects with their p-values, and how often the rule is right."""
    known = found.set_index("model").loc[suspects]
    guilty, accused = (known["role"] == "stolen").to_numpy(), p <= verdicts.LEVEL
    words = {True: "accused", False: "not accused"}
    lines = [
        [str(i + 1), group, "yes" if guilty[i] else "no", f"{p[i]:.2g}", words[bool(accused[i])]]
        for i, group in enumerate(known["group"])
    ]
    heads = ["suspect", "it is", "made from the source", "p-value", "by the rule"]
    right = f"{int((guilty == accused).sum())} of {len(suspects)}"
    return {"lab_sealed": pages.table(heads, lines), "lab_right": right}
