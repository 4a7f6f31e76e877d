# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Check your own model
#
# ## The answer in short
#
# Judged by the other independent models of this zoo, {glue:text}`accused` of {glue:text}`n_independent` innocent models
# are accused at the level {glue:text}`alpha`. The same verdict finds {glue:text}`found_copies` of
# {glue:text}`n_copies` copies of the source's weights and {glue:text}`found_extracted` of {glue:text}`n_extracted`
# extracted models, if the suspect shows {glue:text}`form`. With {glue:text}`n_independent` independent models no p-value
# below {glue:text}`floor` is possible. The verdict *no evidence of derivation* is no proof of independence.
#
# ```{admonition} What you will do
# :class: tip
# Turn a source into a *fingerprint folder*, put its probes to suspects, and judge each by models that are certainly
# independent. Then judge the judge: how often does it accuse an innocent model, and how many stolen ones does it find?
#
# **You learn** what a p-value from a handful of independent models can say, what happens when a suspect is *not* like them,
# and the four commands that do the same for a model of your own.
#
# **You need** {doc}`08_sample_correlation` and {doc}`10_results`. The first cell says which models it has to train.
# ```
#
# ## The claim under test
#
# An {term}`AUC` compares two groups. A model owner has one suspect. What can be promised is a **false positive rate**:
#
# > If the suspect is independent and *like the independent models that it is compared with*, the verdict "consistent with
# > derivation" is given in at most the share $\alpha$ of cases.
#
# The p-value that keeps this promise counts ranks. With the distances $d_1, \dots, d_n$ of $n$ independent models and the
# suspect's distance $d$,
#
# $$p = \frac{1 + \#\{i : d_i \le d\}}{n + 1}.$$
#
# It cannot be smaller than $1/(n+1)$: fewer than 19 independent models never allow a verdict at $\alpha = 0.05$. "Like the
# independent models" is an assumption that no formula checks. Below it is broken on purpose.

# %% [markdown]
# ## Parameters
#
# How probes are chosen is the subject of {doc}`09_probes`.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
kind = "w"  # one of normal, source, w, m, jc: how probes are chosen
count = 100  # 4 to 500: number of probes, at most that of the profile
form = "probabilities"  # one of probabilities, top-k, labels: what the suspect shows
alpha = 0.05  # 0.001 to 0.5: level of the test

# %%
import tempfile
from pathlib import Path

import pandas as pd
from IPython.display import Markdown

from sacheck import calibration, case, fingerprint, report, verdict
from sacheck.images import Pool
from sacheck.weights import ModelFile
from sacutils import evaluation, figures, steps, training
from sacutils.profiles import Probes
from sacutils.run import open_run, provenance_line

run = open_run(profile, overrides)
figures.use_style()
COLUMNS = {
    "left_out": "left out",
    "group": "group left out",
    "shown": "attack, and what the suspect shows",
    "derivation": "accused or found",
    "no_evidence": "no evidence",
    "judged_by": "judged by",
    "nearest": "nearer than all",
    "by_chance": "by chance",
}
helpers = [run.zoo.source, *(run.names("surrogate") if kind == "w" else [])]
members = calibration.members(run)
run.announce(*helpers, *(spec.name for owner, spec, _ in members if owner is run))
for name in run.profile.active_variants:
    more = [spec.name for _, spec, variant in members if variant == name]
    if more:
        run.variant(name).announce(*more)

# %% [markdown]
# ## A fingerprint, and a date
#
# The folder holds the probe images, mixed with plain *control* images; a manifest with the owner's answers and the SHA-256
# of every file; and a **commitment**, the SHA-256 of the manifest, which reveals nothing. Whoever later gets the folder can
# check that nothing was changed after the commitment was published. Without such a date an accuser could choose probes
# *after* seeing the suspect, and make an innocent model look guilty {cite:p}`falseclaims2024`.


# %%
def owned(name):
    """How a model of the zoo answers, and what is recorded of its file."""
    model, spec = run.zoo.get(name), run.zoo.specs[name]
    described = case.recorded(ModelFile(run.zoo.path(name), spec.architecture), len(classes))[1]
    return (
        lambda pixels: training.logits_of(model, pixels.to(run.device)).double().numpy(),
        described,
    )


classes = run.material.class_names
pool = Pool(
    run.material.splits["probe"].to("cpu"), classes, f"probe split of {run.profile.data.name}"
)
settings = Probes(count=min(count, run.profile.probes.count), second_count=4)
with tempfile.TemporaryDirectory() as folder:
    models = [owned(name) for name in helpers]
    target = Path(folder) / "fingerprint"
    own = fingerprint.make(target, models, pool, classes, kind, settings, run.profile.seed)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
rows = ~own.is_control
known = calibration.ask(run, own.pixels)
independent = [model for model in known if not model.stolen]
answered = {model.name: model.answers for model in independent}

# %% tags=["remove-cell"]
figures.say(
    probes=int(rows.sum()),
    controls=int(own.is_control.sum()),
    kilobytes=f"{size / 1000:.0f}",
    n_independent=len(independent),
    floor=f"{1 / (len(independent) + 1):.3f}",
    alpha=f"{alpha:g}",
    form="the likeliest three classes" if form == "top-k" else form,
)

# %% [markdown]
# This one has {glue:text}`probes` probes and {glue:text}`controls` controls, {glue:text}`kilobytes` kB in all. The
# independent models are all {glue:text}`n_independent` of this zoo that have the source's classes and were trained without
# it: on the attacker's data, on the owner's, or on corrupted images, and in a full run with further recipes. The owner's
# helpers are not among them.
#
# Rows that got mixed up, classes in another order, images that are prepared in another way: each makes a *stolen* model look
# independent. The controls are plain images of which the source is surest, and any model of the task should agree with it
# there. A suspect that agrees no more often than chance allows is refused and not judged; so is one with new labels, such as
# the models of Transfer-A and Transfer-L.

# %% tags=["hide-input", "hide-output"]
checked = pd.DataFrame([fingerprint.controls(own, model.answers)._asdict() for model in known])
checked["model"] = [model.group for model in known]
counts = {"models": ("agree", "size"), "lowest": ("agree", "min"), "needed": ("needed", "max")}
table = checked.groupby("model", sort=False).agg(**counts, total=("total", "max"))
figures.table(table.reset_index())

# %% [markdown]
# ## Three suspects
#
# Intervals are a bootstrap over probes: had other probes been drawn, would the verdict be the same? If the p-value and the
# ends of its interval do not lie on one side of $\alpha$, it is *inconclusive*.


# %%
def judge(suspect, models, shows=form):
    """The verdict on a suspect by some independent models, itself left out."""
    others = {name: given for name, given in models.items() if name != suspect.name}
    shown = calibration.shown_as(suspect.answers, shows)
    return verdict.judge(own.answers, shown, others, rows, alpha)


steps_shown = ("finetune_all", "extract_label", "independent_owner")
slugs = [run.zoo.specs[run.names(step)[0]].slug for step in steps_shown]
suspects = {slug: next(model for model in known if model.name == slug) for slug in slugs}
outcomes = {slug: judge(model, answered) for slug, model in suspects.items()}

# %% tags=["hide-input"]
table = pd.DataFrame(outcomes.values())
table.insert(0, "suspect", [suspects[slug].group for slug in slugs])
shown = table[
    ["suspect", "distance", "distance_low", "distance_high", "p", "p_low", "p_high", "verdict"]
]
figures.table(shown.round(4))

# %% tags=["remove-cell"]
second = outcomes[slugs[1]]
nearer = sum(value <= second.distance for value in second.independent.values())
figures.say(nearer=nearer, n_second=len(second.independent), verdict_second=second.verdict)
figures.show("check_among", report.among(second))

# %% [markdown]
# :::{glue:figure} check_among
# :name: fig-check-among
# :alt: Distances to the source of independent and stolen models and of the suspect; the caption says how many independent models lie at least as near as the suspect.
#
# The second suspect of the table, an Extract-L model, with its 95 % interval over probes. {glue:text}`nearer` of
# {glue:text}`n_second` independent models lie at least as near; the verdict is *{glue:text}`verdict_second`*.
# :::
#
# ## How often are innocent models accused?
#
# Each independent model in turn is the suspect. First it alone is left out of the comparison, which is what the p-value
# promises; then its whole *group* (data and recipe), then all models of its *architecture*.

# %%
shown = [model._replace(answers=calibration.shown_as(model.answers, form)) for model in independent]
alarms = calibration.false_alarms(own.answers, shown, rows, alpha)
by_left_out = calibration.rates(alarms, "left_out")
near = calibration.nearest(alarms, "left_out")

# %% tags=["hide-input"]
table = by_left_out.merge(near, on=["left_out", "models"]).drop(columns="inconclusive")
for column, text in {"derivation": str, "nearest": str, "by_chance": "{:.1%}".format}.items():
    table[column] = table[column].map(text)
figures.table(table.rename(columns=COLUMNS))

# %% tags=["remove-cell"]
itself = alarms[alarms["left_out"] == "itself"]
low_p = evaluation.proportion_interval(float((itself["p"] <= alpha).mean()), len(itself))
groups = calibration.nearest(alarms[alarms["left_out"] == "its group"], "group").set_index("group")
on_owner_data = groups.loc[steps.LABELS["independent_owner"]]
figures.say(
    accused=int((itself["verdict"] == verdict.DERIVATION).sum()),
    rate=str(low_p),
    inside="lies in" if low_p.low <= alpha <= low_p.high else "lies outside",
    owner_rate=str(on_owner_data["nearest"]),
    owner_chance=f"{on_owner_data['by_chance']:.1%}",
)

# %% [markdown]
# The share of independent models with $p \le$ {glue:text}`alpha` when only they themselves are left out is
# {glue:text}`rate`; {glue:text}`alpha` {glue:text}`inside` that interval. This is little more than arithmetic: of $n$ models
# exactly one is nearest. The *verdict* is stricter still, since it asks for the whole interval of the p-value.
#
# The two lower rows are the test that counts. Leaving out a large group can leave fewer models than the level asks for, so
# read the last two columns: how often the suspect is nearer than every model left, and how often it would be by chance.

# %% tags=["hide-input"]
groups["nearest"] = groups["nearest"].map(str)
groups["by_chance"] = groups["by_chance"].map("{:.1%}".format)
figures.table(groups.reset_index().rename(columns=COLUMNS))

# %% [markdown]
# ```{admonition} Choose the independent models that a defendant would choose
# :class: warning
# A suspect that was honestly trained on *your* data (bought, public, or leaked before) may lie nearer to your model than
# models on other data do. Here {glue:text}`owner_rate` of such models are nearer than every other one when none of these was
# trained on your data; chance would give {glue:text}`owner_chance`. The same goes for a shared architecture and a shared
# recipe.
# ```
#
# ## How many stolen models are found?
#
# Each stolen model with the source's labels is judged by all independent ones, for what a suspect may show.

# %%
parts = []
for shows in ("probabilities", "top-k", "labels"):
    judged = calibration.detections(own.answers, known, rows, shows, alpha)
    parts.append(judged.assign(shows=shows))
judged = pd.concat(parts, ignore_index=True)

# %% tags=["hide-input"]
judged["shown"] = judged["group"] + ", " + judged["shows"]
by_attack = calibration.rates(judged.sort_values("group", kind="stable"), "shown")
by_attack["derivation"] = by_attack["derivation"].map(str)
figures.table(by_attack.rename(columns=COLUMNS))

# %% tags=["remove-cell"]
as_shown = judged[judged["shows"] == form]
extraction = as_shown["group"].isin([steps.LABELS[step] for step in steps.EXTRACTION])
is_found = as_shown["verdict"] == verdict.DERIVATION
figures.say(
    n_extracted=int(extraction.sum()),
    found_extracted=int((is_found & extraction).sum()),
    n_copies=int((~extraction).sum()),
    found_copies=int((is_found & ~extraction).sum()),
)

# %% [markdown]
# *Found* is the share with the verdict *consistent with derivation*, with Wilson's 95 % interval; the last columns are numbers
# of models. With fewer independent models than the level asks for, everything is inconclusive. {doc}`10_results` asks an
# easier question: an AUC needs no threshold, and against models on attacker data it does not spare those on the owner's.
#
# ## The same for your own model
#
# Four commands, none of which needs this book's zoo. `--help` explains each.
#
# ```bash
# # once, and early: make the folder, publish the commitment that is printed
# sacheck fingerprint fp --model mine.safetensors --architecture resnet18 \
#     --images held_out/ --kind source
#
# # a suspect: a file, a service, or a table that somebody else made
# sacheck query fp --out suspect.json --model suspect.onnx
# sacheck query fp --out suspect.json --url https://example.org/predict --service service.yaml
# sacheck query fp --out suspect.json --table answers.csv
#
# # at least 19 models that were certainly trained without yours, each asked in the same way
# sacheck query fp --out independent/a.json --model a.onnx
#
# sacheck verify fp suspect.json --independent independent/ --commitment HASH
# sacheck report fp suspect.json --independent independent/ --out report.html
# ```
#
# The exit code of `verify` is 0 for *no evidence of derivation*, 3 for *consistent with derivation*, 4 for *inconclusive*. A
# whole example to copy and paste is in {doc}`/15_own_model`. A file from a stranger is read, and never executed.
#
# ## What it means
#
# - **The verdict is about the independent models as much as about the suspect.** The report prints each with its origin.
# - **A p-value is not a probability of guilt.** It does not know how many thieves there are among suspects.
# - **Closeness has no direction.** If the suspect is older, the same numbers accuse you. Hence the date.
# - **A thief can move a copy away** {cite:p}`removalnet2023`; no evidence of derivation is no proof of independence.
#
# ## On your own
#
# **1. How many independent models?** Draw subsets of 19 at random. How often does the verdict on the first suspect change?
#
# :::{dropdown} Solution
# ```python
# import numpy as np
#
# generator, names = np.random.default_rng(0), list(answered)
# verdicts = []
# for _ in range(50):
#     some = generator.choice(names, size=min(19, len(names)), replace=False)
#     verdicts.append(judge(suspects[slugs[0]], {name: answered[name] for name in some}).verdict)
# print(pd.Series(verdicts).value_counts())
# ```
# With 19 models p must be the smallest possible one to reach 0.05: one model that is nearer than the suspect, with the probes
# drawn or with resampled ones, is enough against it. Repeat it with `slugs[1]`, and with all models instead of 19.
# :::
#
# **2. Make a false claim.** Choose, in the probe split, the images on which one particular *independent* model repeats the
# source's mistakes, and judge that model with them. What happens, and what protects it?
#
# :::{dropdown} Solution
# Use the images on which `run.zoo.source` and the accused model are wrong with the same label as probes. The accused then
# repeats every label of the source, the others do not, and p falls to its floor. Nothing in the numbers shows the trick, but
# the commitment is younger than the accused model. A court can also demand fresh probes.
# :::
#
# ## Further reading
#
# - {cite:t}`falseclaims2024` on false claims by an accuser; {cite:t}`fitprint2025` propose a defence.
# - {cite:t}`advtra2024` on independent models that share the owner's data and architecture, the hardest for every method.

# %%
Markdown(provenance_line(run))
