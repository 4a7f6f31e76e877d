"""The sibling test on a zoo, whose models' origin is known: every suspect judged with the source
and with every sibling in its place.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch

from .. import siblings, steps, training
from ..data import augment
from ..run import Run
from ..steps import CONTROLS, STEPS, Spec

LEVEL = 0.01
"""The level of the registered rules."""
SOURCE = "source"
"""The accused member, where it is the source."""
FORMS = ("labels", "probabilities")
STYLES = {
    "in the loop": ["extract_label", "student_of_sibling", "student_of_stranger"],
    "probabilities": ["extract_probability"],
    "asked once": ["extract_once"],
    "plain": ["extract_plain"],
    "noisy": ["extract_noisy"],
    "hardened": ["extract_adversarial"],
    "chain": ["chain_finetuned", "chain_pruned", "chain_quantised"],
    "weights": ["finetune_all", "finetune_last", "prune", "transfer_corrupted"],
}
"""How a suspect was made from another model; the others are made from none."""
STYLE_OF = {step: style for style, made in STYLES.items() for step in made}


def members(run: Run) -> list[str]:
    """The members of the test: the source, then its siblings."""
    return [run.zoo.source, *run.names("sibling")]


def suspects(run: Run) -> list[Spec]:
    """The evaluated models with the source's classes."""
    return [spec for spec in run.evaluated() if not STEPS[spec.step].new_labels]


def candidates(run: Run) -> torch.Tensor:
    """What the owner can ask about, uint8: its images that the source was not trained on, and after
    them views of all of these, shifted and flipped as a thief's queries are.
    """
    pixels = torch.cat([run.material.splits[name].pixels for name in ("probe", "reserve")])
    recipe = steps.recipe_of(run.profile, "extract_label")
    generator = torch.Generator().manual_seed(steps.derived_seed(run.profile.seed, "views"))
    views = [
        augment(pixels, recipe.pad, recipe.flip, generator) for _ in range(run.profile.probes.views)
    ]
    return torch.cat([pixels, *views])


def choose(labels: torch.Tensor, images: int, count: int) -> torch.Tensor:
    """The `count` most contested candidates, int64; at most one view of an image while no more than
    a quarter of the `images` is needed, because different images say more than views of one do.

    `labels` are the members', int64, shape (members, candidates); candidates follow each other view
    by view.
    """
    if count > images / 4:
        return siblings.contested(labels, count)
    order = siblings.contested(labels, labels.shape[1])
    places = torch.arange(len(order))
    first = torch.full((images,), len(order)).scatter_reduce(0, order % images, places, "amin")
    return order[first.sort().values[:count]]


def make_answers(run: Run) -> dict[str, torch.Tensor]:
    """Logits of the members, controls and suspects on the contested probes, under their names, with
    each number of probes as indices into these, under ``"probes <number>"``, and which candidates
    these are, under ``"asked"``.
    """
    own, controls = members(run), run.names(*CONTROLS)
    judged = [spec.name for spec in suspects(run)]
    run.announce(*own, *controls, *judged)
    pixels = candidates(run)
    theirs = {name: training.logits_of(run.zoo.get(name), pixels) for name in own}
    labels = torch.stack([logits.argmax(1) for logits in theirs.values()])
    images = len(pixels) // (1 + run.profile.probes.views)
    chosen = {count: choose(labels, images, count) for count in run.profile.probes.contested}
    asked = torch.cat(list(chosen.values())).unique()
    place = torch.full((len(pixels),), -1).scatter(0, asked, torch.arange(len(asked)))
    tensors = {f"probes {count}": place[index] for count, index in chosen.items()}
    tensors |= {"asked": asked} | {name: logits[asked] for name, logits in theirs.items()}
    shown = pixels[asked.to(pixels.device)]
    for name in (*controls, *judged):
        if name not in theirs:
            tensors[name] = training.logits_of(run.zoo.get(name), shown)
    return tensors


def answers(run: Run) -> dict[str, torch.Tensor]:
    """What :func:`make_answers` gives, kept in ``outputs/contested.safetensors``."""
    digest = run.digest("studies.verdicts.make_answers")
    return run.keep_tensors("outputs/contested", digest, lambda: make_answers(run))


def scored(
    run: Run,
    form: str = "labels",
    count: int | None = None,
    index: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of the :func:`suspects` and of the controls, float64, a row per model and a column per
    member, see :func:`siblings.scores`; at the largest number of probes if `count` is not given, or
    on the answers with some indices.
    """
    known = answers(run)
    if index is None:
        index = known[f"probes {count or run.profile.probes.contested[-1]}"]
    own = torch.stack([known[name][index].double().log_softmax(1) for name in members(run)])

    def score(names: list[str]) -> torch.Tensor:
        logits = torch.stack([known[name][index].double() for name in names])
        return siblings.scores(own, logits.argmax(2) if form == "labels" else logits.softmax(2))

    return score([spec.name for spec in suspects(run)]), score(run.names(*CONTROLS))


def _rows(
    run: Run, form: str, count: int, index: torch.Tensor | None = None
) -> Iterator[dict[str, Any]]:
    own, judged = members(run), suspects(run)
    theirs, controls = scored(run, form, count, index)
    # a member, and what was made from one, is judged without that member, unless it is accused
    origin = [spec.name.split(" > ")[0] for spec in judged]
    origin = [name if name in own else "" for name in origin]
    everybody = siblings.sibling_test(theirs, controls, member=None)
    accusing = range(len(own)) if (form, count) == _main(run) else [0]
    for i, spec in enumerate(judged):
        without = [j for j, name in enumerate(own) if name != origin[i]]
        left = everybody
        if origin[i]:
            left = siblings.sibling_test(theirs[i, without], controls[:, without], member=None)
        for j in accusing:
            if own[j] == spec.name:
                continue
            kept = own[j] == origin[i] or not origin[i]
            where = (i, j) if kept else (without.index(j),)
            found = everybody if kept else left
            values = {name: float(getattr(found, name)[where]) for name in found._fields}
            yield {
                "regime": steps.regime(run.profile),
                "accused": own[j] if j else SOURCE,
                "suspect": spec.name,
                "group": STEPS[spec.step].label,
                "style": STYLE_OF.get(spec.step, "none"),
                "derived": own[j] == origin[i],
                "form": form,
                "n_probes": count,
                **values,
            }


def _main(run: Run) -> tuple[str, int]:
    return FORMS[0], run.profile.probes.contested[-1]


def table(run: Run) -> pd.DataFrame:
    """The test of every suspect, kept as ``tables/verdicts.csv``.

    The source is accused from labels and from probabilities and with each number of probes; every
    sibling from labels with the largest number, which shows power (students of that sibling) and
    level (all other innocents).

    Columns: regime, accused ("source" or a sibling), suspect, group, style (of `STYLES`, or
    "none"), derived (whether the suspect was made from the accused), form, n_probes, p_siblings,
    rank_p, p_controls, p.
    """

    def make() -> pd.DataFrame:
        counts = run.profile.probes.contested
        parts = [_rows(run, form, count) for form in FORMS for count in counts]
        return pd.DataFrame([row for part in parts for row in part])

    digest = run.digest("studies.verdicts._rows", "studies.verdicts.make_answers")
    return run.keep_table("verdicts", digest, make)


def by_split(run: Run) -> pd.DataFrame:
    """The source accused from labels with probes of one split alone, the same number of each: no
    control has seen the images of ``probe``, and some controls learned from those of ``reserve``.

    Columns are those of :func:`table`, and split.
    """
    known, sizes = answers(run), [len(run.material.splits[n].labels) for n in ("probe", "reserve")]
    index = known[f"probes {run.profile.probes.contested[-1]}"]
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0))]
    unseen = known["asked"][index] % sum(sizes) < sizes[0]
    parts = {"probe": index[unseen], "reserve": index[~unseen]}
    count = min(map(len, parts.values()))
    rows = (
        row | {"split": split}
        for split, part in parts.items()
        for row in _rows(run, "labels", count, part[:count])
    )
    return pd.DataFrame(rows)


def shares(verdicts: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Suspects that a level accuses, by regime, form, n_probes, derived and group, of the rows that
    accuse the source.

    Columns beside these: suspects, sources and found (their numbers), share, and the medians of
    p_siblings and p_controls, as far as the table has these.
    """
    rows = verdicts[verdicts["accused"] == SOURCE]
    keys = ["regime", "form", "n_probes", "derived", "group"]
    parts = rows.assign(found=rows["p"] <= level).groupby(keys, sort=False)
    table = parts["found"].agg(suspects="size", found="sum", share="mean")
    table.insert(1, "sources", parts["seed"].nunique() if "seed" in rows else 1)
    medians = [name for name in ("p_siblings", "p_controls") if name in rows]
    return table.join(parts[medians].median()).reset_index()


def accusations(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The rows that accuse the source from labels, with the largest number of probes; the column
    `hit` says whether `LEVEL` accuses.
    """
    rows = verdicts[(verdicts["accused"] == SOURCE) & (verdicts["form"] == FORMS[0])]
    rows = rows[rows["n_probes"] == rows["n_probes"].max()]
    return rows.assign(hit=rows["p"] <= LEVEL)


def rehearsals(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The rows in which a student of a sibling is accused of coming from that sibling, with the
    column `hit` of :func:`accusations`.
    """
    rows = verdicts[(verdicts["accused"] != SOURCE) & verdicts["derived"]]
    return rows.assign(hit=rows["p"] <= LEVEL)


def members_level(verdicts: pd.DataFrame) -> pd.DataFrame:
    """How often each member, siblings too, is called the origin of a model that comes from no
    member but perhaps another sibling: columns seed, accused, hits and innocents.

    Models stolen from the source are left out; that they come from it decides there.
    """
    found = verdicts[(verdicts["form"] == FORMS[0])]
    source = found["accused"] == SOURCE
    stolen = found[source & found["derived"]].set_index(["seed", "suspect"]).index
    fair = ~found.set_index(["seed", "suspect"]).index.isin(stolen) & ~found["derived"]
    fair &= ~source | (found["n_probes"] == found["n_probes"].max())
    found = found[fair].assign(hit=found["p"] <= LEVEL)
    counts = found.groupby(["seed", "accused"], as_index=False)["hit"].agg(["sum", "size"])
    return counts.rename(columns={"sum": "hits", "size": "innocents"})


def hits(found: pd.DataFrame) -> str:
    """Accused of all, such as "7 of 8"."""
    return f"{int(found['hit'].sum())} of {len(found)}"


def by_run(found: pd.DataFrame) -> str:
    """The :func:`hits` of each reference run, by the column `run`."""
    return ", ".join(f"{hits(part)} on {run}" for run, part in found.groupby("run"))


def as_distances(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The :func:`accusations` in the form of a fingerprint's distances: columns seed, model, step,
    and distance, which is p_siblings.
    """
    step_of = {step.label: name for name, step in STEPS.items()}
    rows = accusations(verdicts).rename(columns={"suspect": "model", "p_siblings": "distance"})
    rows["step"] = rows["group"].map(step_of)
    return rows[["seed", "model", "step", "distance"]]
