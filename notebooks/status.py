# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Status of this build
#
# ## The answer in short
#
# This build shows {glue:text}`trained` models of the profile {glue:text}`profile`, seed {glue:text}`seed`. Their training took {glue:text}`minutes_total` minutes, all jobs added, between
# {glue:text}`first` and {glue:text}`last`. Of these, {glue:text}`n_retried` diverged at first and had to be trained with the next seed. If your numbers differ from those of the book, compare this page first.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}

# %%
import pandas as pd
from IPython.display import Markdown

from sacbook import costs
from sacutils import figures, files, steps
from sacutils.files import home
from sacutils.run import open_run, provenance_line
from sacutils.studies import tables

run = open_run(profile, overrides)
figures.use_style()
records = run.records()

# %% tags=["hide-input"]
made = files.provenance()
rows = {
    "profile": run.profile.name,
    "overrides": str(run.profile.overrides or "none"),
    "full run": "yes"
    if run.profile.full
    else "no: ablations, the watermark and thieves in other styles are shown from the reference runs",
    "regime": steps.regime(run.profile),
    "seed": run.profile.seed,
    "device": run.device.type,
    "hardware": made["hardware"],
    "page made": made["utc"],
    "models": len(records),
    "folder": run.folder.relative_to(home()).as_posix(),
}
facts = pd.DataFrame({"what": rows.keys(), "value": map(str, rows.values())})
figures.table(facts, caption="What made this build")

# %% [markdown]
# ## Versions

# %% tags=["hide-input"]
versions = pd.DataFrame(made["versions"].items(), columns=["package", "version"])
figures.table(versions, caption="Versions of the software")

# %% [markdown]
# ## Training
#
# Seconds of training and measuring, as recorded with each model, one thread per job on a processor. The jobs run side by side, so the clock shows less than the total.

# %% tags=["hide-input"]
label = [steps.LABELS[record["step"]] for record in records]
groups = pd.DataFrame({"group": label, "seconds": [record["seconds"] for record in records]})
groups = groups.groupby("group", sort=False)["seconds"].agg(["size", "sum", "mean"]).reset_index()
groups.columns = ["group", "models", "seconds", "per model"]
figures.table(
    groups, {"seconds": "{:,.1f}", "per model": "{:.1f}"}, caption="Seconds of training, by group"
)

# %% tags=["hide-input", "remove-output"]
figure = figures.bars(groups, "seconds", "group", label="seconds of training")
figures.show("status_training", figure)
days = sorted(record["utc"][:10] for record in records)
figures.say(
    trained=len(records),
    profile=run.profile.name,
    seed=run.profile.seed,
    first=days[0],
    last=days[-1],
)
total = groups["seconds"].sum()
figures.say(seconds_total=f"{total:,.0f}", minutes_total=f"{total / 60:.1f}")
figures.say(longest=groups.loc[groups["seconds"].idxmax(), "group"])

# %% [markdown]
# :::{glue:figure} status_training
# :name: fig-status-training
# :alt: One bar for each kind of model; the caption names the longest.
#
# Training seconds by group; together {glue:text}`seconds_total` seconds for {glue:text}`trained` models. The longest is *{glue:text}`longest`*.
# :::

# %% tags=["hide-input"]
retried = [record["name"] for record in records if record["attempt"] > 0]
figures.say(n_retried=len(retried), retried=", ".join(retried) or "none")
machines = [
    {"device": r["device"], "hardware": r["hardware"], "torch": r["versions"]["torch"]}
    for r in records
]
machines = pd.DataFrame(machines).value_counts().rename("models").reset_index()
figures.table(machines, caption="Where the models were trained")

# %% [markdown]
# Trained again with the next seed: {glue:text}`retried`.

# %% [markdown]
# ## What the profiles cost
#
# Models of a full run and operations of training them, counted layer by layer. The time on two cores is the operations divided by the rate that this very run reached, {glue:text}`rate` GFLOP/s on two
# single-threaded jobs; large networks reach a higher one. The time on an H100 **assumes** {glue:text}`h100` TFLOP/s, a tenth of its peak in bfloat16. VGG networks reached it where it was measured, others did not ({doc}`/18_scaling`).

# %% tags=["hide-input"]
rate = (
    2
    * sum(costs.training_flops(run.profile).values())
    / sum(record["seconds"] for record in records)
)
figures.say(rate=f"{rate / 1e9:.0f}", h100=f"{costs.H100_RATE / 1e12:.0f}")
table = costs.table(rate).set_index(["profile", "models"])
table = table.map(lambda value: float(f"{value:.2g}"))  # estimates have two digits
work = table.pop("petaFLOP").map("{:,g}".format)
times = table.map(lambda h: tables.duration(3600 * h) if h >= 1 / 3600 else "under 1\u00a0s")
times.columns = [name.replace("hours", "time") for name in times]
times = times.assign(petaFLOP=work).reset_index()
figures.table(times, caption="What each profile costs; times are estimates")

# %% [markdown]
# ## Pages
#
# Seconds of each page's last execution in this run, start of the kernel included. The time of this page is known only when it is finished.

# %% tags=["hide-input"]
recorded = [files.read_json(path) for path in sorted((run.folder / "notebooks").glob("[!.]*.json"))]
pages = pd.DataFrame(recorded, columns=["notebook", "seconds"]).query("notebook != 'status'")
figures.say(pages=len(pages), pages_total=f"{pages['seconds'].sum():,.0f}")
figures.table(pages, {"seconds": "{:.1f}"}, caption="Seconds of each page")

# %% [markdown]
# Recorded pages: {glue:text}`pages`, together {glue:text}`pages_total` seconds.

# %% [markdown]
# ## The profile
#
# Every value that the run depends on, under the dotted path by which it can be replaced. First all but the recipes:

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Values of the profile", "code_prompt_hide": "Values of the profile"}
values = pd.json_normalize(
    run.profile.model_dump(exclude={"recipes", "overrides", "variants"})
).iloc[0]
values = values.map(str).rename_axis("parameter").rename("value").reset_index()
figures.table(values, caption="The profile, without its recipes")

# %% [markdown]
# The recipes. Steps without one share another's: siblings the source's, students of another that of Extract-L, and every independent model and control with the source's classes `independent`; *plain* ones
# have a crop padding of 0. All use stochastic gradient descent, and a dash means that the step has no such value.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Recipes of the profile", "code_prompt_hide": "Recipes of the profile"}
recipes = run.profile.recipes.model_dump()
rows = [
    {"recipe": name} | {key: str(value) for key, value in recipe.items()}
    for name, recipe in recipes.items()
]
figures.table(pd.DataFrame(rows).fillna("–"), caption="Recipes of the profile")

# %% [markdown]
# The variants: the same experiment with these values replaced, of which only the named steps are made, in full runs.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Variants of the profile", "code_prompt_hide": "Variants of the profile"}
rows = [
    (name, str(variant.overrides), ", ".join(steps.LABELS[step] for step in variant.steps))
    for name, variant in run.profile.variants.items()
]
variants = pd.DataFrame(rows, columns=["variant", "replaced", "steps"])
figures.table(variants, caption="Variants of the profile")

# %% tags=["hide-input"]
Markdown(provenance_line(run))
