"""The explorer: one interactive figure of a run, with a still picture for paper.

What ``book/_static/explorer.js`` shows was computed here, by :mod:`sacutils.evaluation`: in the
page models are counted and values are looked up. Everything stands inside the page, so that it
opens from disk.
"""

import base64
import html
import json
import string
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from sacutils import correlation, evaluation, figures, files, steps
from sacutils.probes import PUBLISHED
from sacutils.run import Run, read_table
from sacutils.steps import LABELS, MAIN_NEGATIVES, NEGATIVES, STEPS
from sacutils.studies import tables

from .compare import svg

ATTACK = "extract_label"
"""The attack that the explorer opens with, under `tables.SAC_W` and against `MAIN_NEGATIVES`."""
AGREEMENT = "label agreement"
SHOWN = 25
"""Probes whose correlations are shown: a matrix of all would take too much room in a page."""
DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
"""One character for each of 64 levels."""
ROLES = {"owner data": "independent_owner", "siblings": "sibling"}
ROLES |= {"students of another": "student_of_another"}
"""The role of figures that a group of independent models has; of any other it is independent."""
WORDS = {
    "Finetune-A": "copies of the source, all layers trained further",
    "Finetune-L": "copies of the source, the last layer trained further",
    "Pruning": "copies of the source without some of its channels, trained further",
    "Extract-L": "students that learned from the source's labels",
    "Extract-P": "students that learned from the source's probabilities",
    "Extract-Adv": "students by labels, hardened against small changes of an image",
    "Extract-L (asked once)": "students by labels that asked once for each image",
    "Extract-L (plain)": "students by labels that never shift or flip an image",
    "Extract-L (noisy)": "students of a source that answers with noise",
    "Extract-L, fine-tuned": "students by labels, trained further",
    "Extract-L, pruned": "students by labels without some of their channels",
    "Extract-L, int8": "students by labels, with weights of eight bits",
    "Transfer-A": "copies of the source, all layers trained for other classes",
    "Transfer-L": "copies of the source, the last layer trained for other classes",
    "Transfer-10C": "copies of the source, trained further on corrupted images",
    MAIN_NEGATIVES: "trained without the source on the attacker's images",
    "owner data": "trained without the source on the owner's own images",
    "siblings": "the owner's recipe and data with another seed",
    "students of another": "students that learned from a model that is not the source",
    "all": "all kinds of independent models together",
    "SAC-normal": "plain images",
    "SAC-source": "images that the source gets wrong",
    "SAC-w": "images that the source and its surrogates get wrong",
    "SAC-m": "images with a patch of another image",
    "SAC-JC": "compressed images",
    "logits": "the raw answers",
    "probabilities": "what a service shows",
    "labels": "the predicted class only",
    "matched probabilities": "the suspect is made as sure as the source first",
    "centred log-probabilities": "logarithms that no temperature changes",
    AGREEMENT: "counts equal labels, without correlations",
}
"""What a first reader needs to know of each choice, by the name that is shown."""
KEY = ["probes", "n_probes", "form", "measure"]
NONE = 255

Answers = Mapping[str, Mapping[str, torch.Tensor]]
"""Logits, shape (probes, classes), by the name of a probe set and of a model."""


def data(
    distances: pd.DataFrame, auc: pd.DataFrame, zoo: pd.DataFrame, answers: Answers
) -> dict[str, Any]:
    """What the explorer shows, as plain values for JSON.

    The tables are those of one source, see :mod:`sacutils.studies.tables`. Keys:

    - ``first``: what the explorer opens with;
    - ``models``: label, role and the like of each evaluated model;
    - ``groups``: the name of each and the places of its models; ``comparisons``: an attack, the
      name of its negatives, and the places of both groups;
    - ``tests``: for each probe set, form or score and number of probes the ``distances`` (float32);
      the ``auc`` and its interval of each comparison; the ``bounds`` of the share of each group
      below a threshold, for none to all of its models. Shares are bytes in percent, `NONE` where
      there is none, all in base64;
    - ``answers``: those of the source and of the models, see :func:`coded`;
    - ``words``: what a choice means;
    - ``forms``: names of output forms, ``agreement``: that of the score which is none;
    - ``looks``, ``colours``: how roles and entries of a matrix are drawn.
    """
    wanted = list(PUBLISHED.values())
    distances = tables.select(distances, probes=wanted, measure=["cosine", AGREEMENT])
    names, (source,) = list(distances["model"].unique()), zoo.loc[zoo["step"] == "source", "name"]
    models = zoo.set_index("name", drop=False).loc[names]
    groups, comparisons = _comparisons(models["step"].to_numpy(str))
    shades = figures.plt.get_cmap(figures.MATRIX)(np.linspace(0, 1, 32))[:, :3]
    first = {"probes": tables.SAC_W[0], "form": correlation.FORMS[tables.SAC_W[1]]}
    first |= {"n": int(distances["n_probes"].max())}
    first |= {"attack": LABELS[ATTACK], "negatives": MAIN_NEGATIVES}
    return {
        "first": first,
        "models": _models(models),
        "groups": groups,
        "comparisons": comparisons,
        "tests": [
            _test(part.set_index("model")["distance"].reindex(names), key, auc, groups, comparisons)
            for key, part in distances.groupby(KEY, sort=False)
        ],
        "answers": _answers(answers, source, names, int(distances["n_probes"].min())),
        "words": WORDS,
        "forms": correlation.FORMS,
        "agreement": AGREEMENT,
        "looks": {role: figures.ROLES[role]._asdict() for role in map(_role, models["step"])},
        "colours": np.rint(255 * shades).astype(int).tolist(),
    }


def _models(zoo: pd.DataFrame) -> list[dict[str, Any]]:
    number = zoo.groupby("step", sort=False).cumcount() + 1
    return [
        {
            "label": f"{LABELS[row.step]} {k}",
            "architecture": row.architecture,
            "role": _role(row.step),
            "fidelity": None if pd.isna(row.fidelity) else round(100 * row.fidelity, 1),
            "copies_less": bool(row.copies_less),
        }
        for row, k in zip(zoo.itertuples(index=False), number, strict=True)
    ]


def _role(step: str) -> str:
    if STEPS[step].role == "stolen":
        return "stolen"
    group = next((name for name, members in NEGATIVES.items() if step in members), "")
    return ROLES.get(group, "independent")


def _comparisons(kinds: np.ndarray) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The groups of models, and which are compared, from the step of each model."""
    groups: dict[str, list[int]] = {}
    comparisons = []

    def place(name: str, members: list[str]) -> int:
        groups[name] = np.flatnonzero(np.isin(kinds, members)).tolist()
        return list(groups).index(name)

    for attack in (attack for attack in steps.ATTACKS if attack in kinds):
        for negatives, members in steps.negative_sets(attack).items():
            if np.isin(members, kinds).any():
                # transfer has independent models of its own, named by what is new
                own = LABELS[members[0]].removeprefix("Independent (").removesuffix(")")
                name = own if STEPS[attack].negatives else negatives
                sides = {"stolen": place(LABELS[attack], [attack])}
                sides |= {"independent": place(name, members)}
                comparisons.append({"attack": LABELS[attack], "negatives": negatives} | sides)
    return [{"name": name, "models": groups[name]} for name in groups], comparisons


def _test(
    distances: pd.Series,
    key: tuple[str, int, str, str],
    auc: pd.DataFrame,
    groups: list[dict[str, Any]],
    comparisons: list[dict[str, Any]],
) -> dict[str, Any]:
    """One of the ``tests``; `distances` are those of all models by name, NaN where none is."""
    rows = tables.select(auc, **dict(zip(KEY, key, strict=True)))
    found = {
        (row.attack, row.negatives): (row.auc, row.low, row.high)
        for row in rows.itertuples(index=False)
    }
    values, bounds = [], []
    for each in comparisons:
        shares = found.get((each["attack"], each["negatives"]))
        values += map(_percent, shares) if shares else [NONE] * 3
    for group in groups:
        part = distances.iloc[group["models"]].sort_values(kind="stable")
        clusters, known = tables.clusters(part.index.to_numpy(str)), part.notna().all()
        for k in range(len(part) + 1):
            bounds += share_bounds(clusters, k) if known else [NONE] * 2
    probes, n, form, measure = key
    return {
        "probes": probes,
        "n": int(n),
        "form": AGREEMENT if measure == AGREEMENT else correlation.FORMS[form],
        "distances": _base64(distances.to_numpy("<f4")),
        "auc": _base64(np.array(values, np.uint8)),
        "bounds": _base64(np.array(bounds, np.uint8)),
    }


def _percent(value: float) -> int:
    """A share in percent, rounded as a text with two decimals is."""
    return round(100 * float(f"{value:.2f}"))


def share_bounds(clusters: np.ndarray, found: int) -> list[int]:
    """Bounds in percent of the share of a group that a threshold finds, its first `found` models:
    :func:`~sacutils.evaluation.clustered_share`, with the cluster of each model.
    """
    place = np.unique(clusters, return_inverse=True)[1]
    hits = np.bincount(place[:found], minlength=place.max() + 1)
    # the names of the clusters change nothing, so that most groups are known already
    return _bounds(tuple(sorted(zip(hits.tolist(), np.bincount(place).tolist(), strict=True))))


@cache
def _bounds(clusters: tuple[tuple[int, int], ...]) -> list[int]:
    """The same for clusters of so many hits and models."""
    hits = np.array([k < found for found, size in clusters for k in range(size)])
    names = np.repeat(np.arange(len(clusters)), [size for _, size in clusters])
    share = evaluation.clustered_share(hits, names, evaluation.ICC)
    return [_percent(share.low), _percent(share.high)]


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _answers(answers: Answers, source: str, names: list[str], count: int) -> dict[str, Any]:
    """Answers to some of the first `count` probes, in the order of the source's predictions, and
    the temperature that matches each model to the source.
    """
    shown, temperatures = {}, {}
    for probe_set, label in PUBLISHED.items():
        logits = answers[probe_set]
        order = logits[source][:count].argmax(1).argsort(stable=True)
        order = order[np.unique(np.linspace(0, count - 1, SHOWN).round().astype(int))]
        shown[label] = [logits[name][order].double().numpy() for name in (source, *names)]
        pairs = [(logits[source], logits[name]) for name in (source, *names)]
        temperatures[label] = [float(f"{correlation.matched_temperature(*p):.3g}") for p in pairs]
    models = [each for part in shown.values() for each in part]
    tops = np.concatenate([each.max(1) for each in models])
    span = max(np.ptp(each, axis=1).max() for each in models)
    scale = tuple(float(value) for value in (tops.min(), tops.max(), span))
    codes = {label: [coded(each, scale) for each in part] for label, part in shown.items()}
    known = {"scale": scale, "temperatures": temperatures, "codes": codes}
    return known | {"shown": min(SHOWN, count)}


def coded(logits: np.ndarray, scale: tuple[float, ...]) -> str:
    r"""Logits, shape (n, classes), rounded for a picture: n (1 + classes) characters of `DIGITS`.

    With the `scale` :math:`(a, b, s)`, the first of a row stands for its largest logit :math:`m` as
    :math:`(m - a) / (b - a)`, the others for :math:`\sqrt{(m - z_k) / s}`, which is finest where
    probabilities are large. All these lie in [0, 1].
    """
    low, high, span = scale
    top = logits.max(1, keepdims=True)
    rows = np.hstack([(top - low) / ((high - low) or 1), np.sqrt((top - logits) / (span or 1))])
    return "".join(DIGITS[level] for level in np.rint(63 * rows).astype(int).ravel())


def still(distances: pd.DataFrame, auc: pd.DataFrame) -> tuple[Figure, str]:
    """The still picture: the models of `ATTACK` and every group that it is compared with, and what
    it shows in words. The tables are those of :func:`data`.
    """
    rows = tables.fingerprint(distances, *tables.SAC_W)
    rows = tables.select(rows, step=[ATTACK, *steps.INDEPENDENT])
    rows = rows.assign(role=rows["step"].map(_role)).sort_values("role", key=_order, kind="stable")
    beside = tables.select(tables.fingerprint(auc, *tables.SAC_W), attack=LABELS[ATTACK])
    beside = tables.select(beside, negatives=list(NEGATIVES))
    beside = beside.assign(role=[ROLES.get(name, "independent") for name in beside["negatives"]])
    found = [f"{tables.interval(row)} against {row['negatives']}" for _, row in beside.iterrows()]
    beside = beside.drop(columns="negatives")
    label = "correlation distance $d$ to the source"
    figure = figures.strips(rows, "distance", "role", role="role", auc=beside, label=label)
    said = f"The AUC of SAC-w on {LABELS[ATTACK]}, from probabilities, is {', '.join(found)}."
    return figure, said


def _order(roles: pd.Series) -> pd.Series:
    order = [_role(step) for step in (ATTACK, *steps.INDEPENDENT)]
    return roles.map(order.index)


FRAGMENT = """\
<div class="explorer">
<script type="application/json">DATA</script>
<figure class="align-default">
<img src="ROOT_static/explorer.svg" alt="ALT">
<figcaption><p>Students of the source and independent models by their correlation distance to the
source, a dot for each (SAC-w, probabilities, COUNT probes). Stolen are the ATTACK students. Behind
each kind of independent models stands the AUC with its 95 % interval: how well the distance tells
the students from that kind. On a screen this is the explorer, in which all that can be
chosen.</p></figcaption>
</figure>
</div>"""


def write(run: Run) -> None:
    """Write ``explorer/explorer.html``, what stands in the page, and the picture beside it, from
    the tables of a run, ``zoo.csv`` among them.

    ``ROOT`` in the text is where the book begins as seen from the page, see :mod:`sacbook.pages`.
    """
    made = tables.distances(run), tables.auc(run)
    figures.use_style()
    figure, alt = still(*made)
    zoo = read_table(run.folder / "tables" / "zoo.csv")
    content = json.dumps(data(*made, zoo, run.logits), separators=(",", ":"))
    values = {"ALT": html.escape(alt), "ATTACK": LABELS[ATTACK]}
    values |= {"COUNT": str(run.profile.probes.count), "DATA": content.replace("<", "\\u003c")}
    text = FRAGMENT
    for name, value in values.items():
        text = text.replace(name, value)
    files.write_text(run.folder / "explorer" / "explorer.html", text)
    files.write_text(run.folder / "explorer" / "explorer.svg", svg(figure))
