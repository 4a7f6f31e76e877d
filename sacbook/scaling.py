"""What profile `paper` takes on one GPU, several, and a cluster, as planned; and what a shortened
form of it gave on one card.
"""

import matplotlib.pyplot as plt
import pandas as pd

from sacutils import figures, files
from sacutils.profiles import load_profile
from sacutils.studies import tables, verdicts

from . import compare, costs, jobs

PROFILE = "paper"
CARDS = (1, 2, 4)
Schedule = dict[str, tuple[float, float]]
"""Begin and end of each job."""


def table() -> pd.DataFrame:
    """The trainings of the profile, one row a job: job, models, petaFLOP, hours (on one H100, at
    the rate that :data:`costs.H100_RATE` assumes), after (the jobs that it waits for).
    """
    profile = load_profile(PROFILE)
    work, groups = costs.training_flops(profile), jobs.groups(profile)
    return pd.DataFrame(
        {
            "job": name,
            "models": len(specs),
            "petaFLOP": work[name] / 1e15,
            "hours": work[name] / costs.H100_RATE / 3600,
            "after": jobs.ancestors(profile, name),
        }
        for name, specs in groups.items()
    )


def schedule(rows: pd.DataFrame, cards: int) -> Schedule:
    """Hours at which each job begins and ends: whenever a card is free, the longest of the jobs
    that wait for nothing more starts on it.
    """
    takes, after = (dict(zip(rows["job"], rows[name], strict=True)) for name in ("hours", "after"))
    free, made = [0.0] * cards, {}
    while len(made) < len(takes):
        waiting = [job for job in takes if job not in made and made.keys() >= set(after[job])]
        card = min(free)
        ready = {job: max([card, *(made[before][1] for before in after[job])]) for job in waiting}
        first = min(ready.values())
        job = max((job for job in waiting if ready[job] == first), key=takes.__getitem__)
        made[job] = first, first + takes[job]
        free[free.index(card)] = made[job][1]
    return made


def svg(rows: pd.DataFrame) -> str:
    """The jobs as bars over the hours with a card for each, every one behind those it waits for."""
    made, groups = schedule(rows, len(rows)), jobs.groups(load_profile(PROFILE))
    order = sorted(made, key=lambda job: (made[job][0], -made[job][1]))
    place = {job: -i for i, job in enumerate(order)}
    figures.use_style()
    figure, ax = plt.subplots(figsize=(figures.WIDTH, 0.27 * len(order) + 0.7))
    end = max(end for _, end in made.values())
    for job, models, before in zip(rows["job"], rows["models"], rows["after"], strict=True):
        begin, until = made[job]
        of = figures.look(groups[job][0].step)
        ax.barh(place[job], until - begin, left=begin, color=of.colour, height=0.62, linewidth=0)
        text = f"{job}, {models} model{'s' * (models > 1)}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # lines pass behind the words
        ax.text(until + 0.01 * end, place[job], text, va="center", fontsize=9, bbox=box)
        for parent in before:
            corner = made[parent][1]
            line = [(corner, place[parent]), (corner, place[job]), (begin, place[job])]
            ax.plot(*zip(*line, strict=True), color="#777777", linewidth=0.8, zorder=0)
    ax.set(xlabel="hours, with a GPU for each job", yticks=[], xlim=(0, 1.35 * end))
    ax.grid(False, axis="y")
    return compare.svg(figure)


def hours(rows: pd.DataFrame) -> pd.DataFrame:
    """Hours until all trainings are done, by the number of GPUs, at last with one for each job."""
    counts = {f"{cards}": cards for cards in CARDS} | {f"{len(rows)}, one for each job": len(rows)}
    ends = [max(end for _, end in schedule(rows, cards).values()) for cards in counts.values()]
    return pd.DataFrame({"GPUs": counts.keys(), "hours": ends})


def measured(name: str) -> pd.DataFrame:
    """A table that a card brought back, see ``benchmarks/gpu.sh``."""
    return pd.read_csv(files.home() / "results" / PROFILE / f"{name}.csv")


def speeds() -> pd.DataFrame:
    """Images per second of training, alone on the card, step by step and recorded; and the
    operations per second of the recorded one.
    """
    alone = measured("speed").query("processes == 1")
    ways = alone["recorded"].map({True: "recorded", False: "step by step"})
    rows = alone.assign(way=ways, text=alone["images_per_second"].map("{:,}".format))
    rates = alone[alone["recorded"]].set_index("network")["images_per_second"]
    table = tables.wide(rows, "network", "way")[["network", "step by step", "recorded"]]
    flops = [3 * costs.forward_flops(name, 3, 32, costs.CLASSES) for name in table["network"]]
    teraflops = rates.loc[table["network"]].to_numpy() * flops / 1e12
    return table.assign(teraflops=[f"{rate:.0f}" for rate in teraflops])


def published() -> pd.DataFrame:
    """AUC of SAC's published probe sets on probabilities, with intervals: all fine-tuned copies,
    then label students against each kind of innocent model.
    """
    rows = measured("auc").query("form == 'probabilities' and measure == 'cosine'")
    shown = (rows["attack"] == "Finetune-A") == (rows["negatives"] == "all")
    rows = rows[shown].assign(compared=rows["attack"] + ", " + rows["negatives"])
    return tables.wide(rows, "probes", "compared")


def judged() -> pd.DataFrame:
    """How many models of each group the sibling test accuses, by the number of probes."""
    rows = measured("sibling_test")
    rows = rows.assign(accused=rows["p"] <= verdicts.LEVEL)
    counts = rows.groupby(["group", "n_probes"], sort=False)["accused"].agg(["sum", "count"])
    counts["text"] = [f"{found} of {size}" for found, size in counts.to_numpy()]
    counts = counts.reset_index()
    counts["n_probes"] = counts["n_probes"].map("{:,} probes".format)
    return tables.wide(counts, "group", "n_probes").rename(columns={"group": "models"})


def contents() -> dict[str, str]:
    """What the chapter on scaling shows, by the names of files in ``book/_static``."""
    rows = table()
    shown = {"paper_jobs": rows.drop(columns="after"), "paper_gpus": hours(rows)}
    shown |= {"gpu_speed": speeds(), "gpu_auc": published(), "gpu_judged": judged()}
    return {"paper_jobs.svg": svg(rows)} | {
        f"{name}.csv": frame.to_csv(index=False, float_format="%.2f")
        for name, frame in shown.items()
    }
