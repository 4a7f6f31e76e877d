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
# What made these pages: parameters, hardware, versions, and the time that everything took. If your numbers differ from those of the
# book, compare this page first.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}

# %%
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from sacutils import artefacts, flops, lineage, plots, summaries
from sacutils.profiles import ROOT
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()

# %%
made = artefacts.provenance()
rows = {
    "profile": run.profile.name,
    "overrides": str(run.profile.overrides or "none"),
    "seed": run.profile.seed,
    "device": run.device.type,
    "hardware": made["hardware"],
    "page made": made["utc"],
    "models": len(run.records()),
    "folder": run.folder.relative_to(ROOT).as_posix(),
}
plots.table(pd.DataFrame({"what": rows.keys(), "value": map(str, rows.values())}))

# %% [markdown]
# ## Versions

# %%
plots.table(pd.DataFrame({"package": made["versions"].keys(), "version": made["versions"].values()}))

# %% [markdown]
# ## Training
#
# Seconds of training and measuring, as recorded with each model (those of the watermarked source and of the ablations included), one thread per job on a processor. The jobs run side by side, so the clock shows less than
# the total.

# %%
records = run.records()
groups = summaries.training_seconds(records)
glue("seconds_total", f"{groups['seconds'].sum():,.0f}", display=False)
glue("minutes_total", f"{groups['seconds'].sum() / 60:.1f}", display=False)
glue("trained", str(len(records)), display=False)
plots.table(groups, {"seconds": "{:,.1f}", "per model": "{:.1f}"})

# %% tags=["remove-output"]
fig = plots.seconds_by_group(groups)
glue("status_training", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} status_training
# :name: fig-status-training
# :alt: Bar chart of the training seconds of each group of models.
#
# Training seconds by group; together {glue:text}`seconds_total` seconds ({glue:text}`minutes_total` minutes) for {glue:text}`trained` models.
# :::

# %%
retried = [record["name"] for record in records if record["attempt"] > 0]
glue("retried", ", ".join(retried) if retried else "none", display=False)
places = pd.DataFrame([{"device": r["device"], "hardware": r["hardware"], "torch": r["versions"]["torch"]} for r in records])
days = sorted(record["utc"][:10] for record in records)
glue("first", days[0], display=False)
glue("last", days[-1], display=False)
plots.table(places.value_counts().rename("models").reset_index())

# %% [markdown]
# Trained from {glue:text}`first` to {glue:text}`last`. Trainings that diverged and were repeated with the next seed: {glue:text}`retried`.

# %% [markdown]
# ## What the profiles cost
#
# Models, those of EWE and of the ablations included, and operations of training them, counted layer by layer. The hours on two cores are the operations divided by the
# rate that this very run reached, {glue:text}`rate` GFLOP/s on two single-threaded jobs; large networks reach a higher one. The hours on an H100
# **assume** {glue:text}`h100` TFLOP/s, a tenth of its peak in bfloat16; they were not measured, and small networks will not reach it.

# %%
rate = 2 * sum(flops.training_flops(run.profile).values()) / sum(record["seconds"] for record in records)
glue("rate", f"{rate / 1e9:.0f}", display=False)
glue("h100", f"{flops.H100_RATE / 1e12:.0f}", display=False)
table = flops.table(rate)
plots.table(table, {"petaFLOP": "{:,.3g}", "hours, two cores": "{:,.2g}", "hours, one H100": "{:.2g}"})

# %% [markdown]
# ## Notebooks
#
# Seconds of each page's last execution in this run, start of the kernel included, so far as they are recorded. The time of this page itself is known only
# when it is finished.

# %%
files = sorted((run.folder / "notebooks").glob("*.json"))
pages = pd.DataFrame(
    [{key: record[key] for key in ("notebook", "seconds")} for record in map(artefacts.read_json, files)],
    columns=["notebook", "seconds"],
)
pages = pages[pages["notebook"] != "90_status"]
glue("pages_total", f"{pages['seconds'].sum():,.0f}", display=False)
glue("pages", str(len(pages)), display=False)
plots.table(pages, {"seconds": "{:.1f}"})

# %% [markdown]
# Recorded pages: {glue:text}`pages`, together {glue:text}`pages_total` seconds.

# %% [markdown]
# ## The profile
#
# Every value that the run depends on. First all but the recipes:

# %%
values = run.profile.model_dump(exclude={"recipes", "overrides", "variants"})
plots.table(summaries.flattened(values))

# %% [markdown]
# The recipes, one per step; all use stochastic gradient descent, and a dash means that the step has no such value.

# %%
recipes = run.profile.recipes.model_dump()
rows = [{"step": lineage.LABELS[step]} | {key: str(value) for key, value in recipe.items()} for step, recipe in recipes.items()]
plots.table(pd.DataFrame(rows).fillna("–"))

# %% [markdown]
# The variants: the same experiment with these values replaced, of which only the named steps are made.

# %%
rows = [
    {"variant": name, "replaced": str(variant.overrides), "steps": ", ".join(lineage.LABELS[step] for step in variant.steps)}
    for name, variant in run.profile.variants.items()
]
plots.table(pd.DataFrame(rows, columns=["variant", "replaced", "steps"]))

# %%
Markdown(provenance_line(run))
