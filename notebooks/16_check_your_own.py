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
# ```{admonition} What you will do
# :class: tip
# Turn a source into a *fingerprint folder*, put its probes to suspects, and judge each by models whose origin is known. Then judge the judge: how often does
# it accuse a model that is innocent, and how many of the stolen ones does it find?
#
# **You learn** what a p-value from a handful of reference models can say and what it cannot; what happens when a suspect is *not* like the references; and the four
# commands that do the same for a model of your own.
#
# **You need** {doc}`09_sample_correlation` and {doc}`11_results`. Seconds if the zoo is on disk.
# ```

# %% [markdown]
# ## The claim under test
#
# An {term}`AUC` says how well two groups can be told apart by somebody who has both. A model owner has one suspect and wants to know about *it*. What
# can be promised is a **false positive rate**:
#
# > If the suspect is independent and *like the references*, the verdict "consistent with derivation" is given in at most the share $\alpha$ of cases.
#
# The p-value that keeps this promise counts ranks. With the distances $d_1, \dots, d_n$ of $n$ independent reference models and the suspect's distance $d$,
#
# $$p = \frac{1 + \#\{i : d_i \le d\}}{n + 1}.$$
#
# It cannot be smaller than $1/(n+1)$: fewer than 19 references never allow a verdict at $\alpha = 0.05$. And "like the references" is an assumption that no
# formula checks. Below it is broken on purpose.

# %% [markdown]
# ## Parameters
#
# `kind` and `count` choose the probes (see {doc}`10_probes`), `form` what the suspect shows, `alpha` the level. To check a model of your own, use the commands at
# the end of this page; to see what they would say about the zoo of another profile, replace `profile`.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
kind = "w"
count = 100
form = "probabilities"
alpha = 0.05

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from sacutils import calibration, evaluation, fingerprint, lineage, plots, training, verdict, weights
from sacutils.artefacts import sha256
from sacutils.profiles import Probes
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()
count = min(count, run.profile.probes.count)

# %% [markdown]
# ## A fingerprint, and a date
#
# The folder holds the probe images as PNG files, mixed with plain *control* images; a manifest with the owner's answers and the SHA-256 of every file; and a
# **commitment**, the SHA-256 of the manifest. Whoever has only the commitment learns nothing, since a random number is in the manifest. Whoever later gets the
# folder can check that not one pixel was changed after the commitment was published. Without such a date an accuser could choose probes *after* seeing the
# suspect, and make an innocent model look guilty {cite:p}`falseclaims2024`.

# %%
settings = Probes(count=count, second_count=4)
split = run.material.splits["probe"]
source = run.zoo.get(run.zoo.source)


def answer(model):
    return lambda pixels: training.logits_of(model, pixels.to(run.device)).double().numpy()


def described(name):
    path, spec = run.zoo.path(name), run.zoo.specs[name]
    how = weights.Preprocessing()
    return fingerprint.Model(file=path.name, sha256=sha256(path), architecture=spec.architecture, preprocessing=how)


helpers = [(answer(run.zoo.get(name)), described(name)) for name in run.names("surrogate")] if kind == "w" else []
with tempfile.TemporaryDirectory() as folder:
    own = fingerprint.make(
        Path(folder) / "fingerprint",
        answer(source),
        described(run.zoo.source),
        split.to("cpu"),
        f"probe split of {run.profile.data.name}",
        run.material.class_names,
        kind,
        settings,
        run.profile.seed,
        surrogates=helpers,
    )
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
rows = ~own.is_control
known = calibration.ask(run, own.pixels)
references = {each.name: each.answers for each in known if not each.derived}
glue("probes", str(int(rows.sum())), display=False)
glue("controls", str(int(own.is_control.sum())), display=False)
glue("kilobytes", f"{size / 1000:.0f}", display=False)
glue("references", str(len(references)), display=False)
glue("floor", f"{1 / (len(references) + 1):.3f}", display=False)
glue("alpha", f"{alpha:g}", display=False)
glue("form", form, display=False)

# %% [markdown]
# This one has {glue:text}`probes` probes and {glue:text}`controls` controls, {glue:text}`kilobytes` kB in all. The references are the
# {glue:text}`references` models of this zoo that were trained without the source, on either half of the data and with several recipes; the smallest possible
# p-value is {glue:text}`floor`.
#
# ### What the controls are for
#
# A table of answers whose rows got mixed up, a service with another order of classes, images that are prepared in another way: each makes a *stolen* model look
# independent. On plain images that the source answers with the greatest certainty, any model of the task should agree with it; a suspect that agrees no more often
# than chance allows is refused and not judged. So is one with new labels: the models of Transfer-A and Transfer-L
# do not occur on this page.

# %% tags=["hide-input"]
checked = pd.DataFrame(
    [{"model": each.group, "derived": each.derived} | fingerprint.controls(own, each.answers)._asdict() for each in known]
)
table = checked.groupby(["derived", "model"], sort=False).agg(
    models=("agree", "size"), lowest=("agree", "min"), needed=("needed", "max"), total=("total", "max")
)
plots.table(table.reset_index().assign(derived=lambda t: t["derived"].map({True: "yes", False: "no"})))

# %% [markdown]
# ## Three suspects
#
# The verdict has three values and no probability of guilt. Intervals are a bootstrap over probes: had other probes been drawn, would it be the same? If the
# p-value and the ends of its interval do not lie on one side of $\alpha$, the verdict is *inconclusive*.

# %% tags=["hide-input"]
chosen = {}
for step in ("extract_label", "extract_adversarial", "irrelevant_owner"):
    name = run.names(step)[0]
    chosen[name] = next(each for each in known if each.name == run.zoo.specs[name].slug)
lines = []
for each in chosen.values():
    others = {key: value for key, value in references.items() if key != each.name}
    judged = verdict.judge(own.answers, calibration.shown_as(each.answers, form), others, {}, rows, alpha)
    interval = f"{judged.distance:.4f} [{judged.distance_low:.4f}, {judged.distance_high:.4f}]"
    p = f"{judged.p:.3f} [{judged.p_low:.3f}, {judged.p_high:.3f}]"
    lines.append(
        {
            "suspect": each.group,
            "distance": interval,
            "p": p,
            "same label": f"{judged.agreement:.0%}",
            "verdict": judged.verdict,
        }
    )
plots.table(pd.DataFrame(lines))

# %% tags=["hide-input", "remove-output"]
first = next(iter(chosen.values()))
derived = {each.name: each.answers for each in known if each.derived and each.name != first.name}
outcome = verdict.judge(own.answers, calibration.shown_as(first.answers, form), references, derived, rows, alpha)
fig = plots.suspect_among(outcome)
glue("check_among", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} check_among
# :name: fig-check-among
# :alt: Correlation distance to the source on one axis; a row of dots for the references, one for the known derivatives, and the suspect as a diamond with its interval.
#
# The first suspect of the table among models whose origin is known, as the report of the command line shows it. Nearer to the source is left; the bar is the
# 95 % interval over probes.
# :::
#
# ## How often are innocent models accused?
#
# Each reference in turn is the suspect. First it alone is left out of the calibration, then its whole *group* (data and recipe), then all models of its
# *architecture*. The first is what the p-value promises; the others are what happens when a suspect comes from a side that the calibration has not seen.

# %% tags=["hide-input"]
independent = [each for each in known if not each.derived]
alarms = calibration.false_alarms(
    own.answers, [each._replace(answers=calibration.shown_as(each.answers, form)) for each in independent], rows, alpha
)
counts, near = calibration.rates(alarms, ["left_out"]), calibration.nearest(alarms, ["left_out"])
plots.table(
    pd.DataFrame(
        {
            "left out of the references": counts["left_out"],
            "models": counts["models"],
            "references": near["references"],
            "accused": counts["derivation"].map(str),
            "cleared": counts["independence"],
            "nearer than every reference": near["nearest"].map(str),
            "by chance": near["by_chance"].map("{:.1%}".format),
        }
    )
)

# %% tags=["hide-input", "remove-cell"]
itself = alarms[alarms["left_out"] == "itself"]
rate = evaluation.proportion_interval(float((itself["p"] <= alpha).mean()), len(itself))
glue("rate", str(rate), display=False)
glue("inside", "lies in" if rate.low <= alpha <= rate.high else "lies outside", display=False)

# %% [markdown]
# The share of references with $p \le$ {glue:text}`alpha` when only they themselves are left out is {glue:text}`rate`; {glue:text}`alpha` {glue:text}`inside`
# that interval. This is little more than arithmetic: of $n$ models exactly one is nearest, so the rate is about $1/n$ whatever the method is worth. The *verdict* is
# stricter still, since it asks for the whole interval of the p-value.
#
# The two lower rows are the test that counts. Leaving out a large group leaves fewer than 19 references, by whom nobody can be accused at 0.05; so read their last two columns: how often the suspect is
# nearer than every reference left, and how often it would be if it were like them.

# %% tags=["hide-input"]
groups = calibration.nearest(alarms[alarms["left_out"] == "its group"], ["group"])
on_owner_data = groups.set_index("group").loc[lineage.LABELS["irrelevant_owner"]]
glue("owner_rate", str(on_owner_data["nearest"]), display=False)
glue("owner_chance", f"{on_owner_data['by_chance']:.1%}", display=False)
columns = {"group": "group left out", "models": "models", "references": "references"}
plots.table(
    groups.assign(nearest=groups["nearest"].map(str), by_chance=groups["by_chance"].map("{:.1%}".format)).rename(
        columns=columns | {"nearest": "nearer than every reference", "by_chance": "by chance"}
    )
)

# %% [markdown]
# ```{admonition} Choose references that a defendant would choose
# :class: warning
# A suspect that was honestly trained on *your* data (bought, public, or leaked before) may lie nearer to your model than models on other data do: here
# {glue:text}`owner_rate` of such models are nearer than every reference when none of these was trained on your data; chance would give
# {glue:text}`owner_chance`. Without such references the test may take them for thieves. The same goes for a shared architecture and a shared recipe.
# ```
#
# ## How many stolen models are found?
#
# Each stolen model of the zoo that has the source's labels is judged by all {glue:text}`references` references, for what a suspect may show.

# %% tags=["hide-input"]
parts = []
for shows in ("probabilities", "top-k", "labels"):
    part = calibration.rates(calibration.detections(own.answers, known, rows, shows, alpha), ["group"])
    parts.append(part.assign(shows="top 3" if shows == "top-k" else shows, order=range(len(part))))
found = pd.concat(parts).sort_values("order", kind="stable", ignore_index=True)
found["derivation"] = found["derivation"].map(str)
columns = {
    "group": "attack",
    "shows": "the suspect shows",
    "models": "models",
    "derivation": "found",
    "independence": "cleared",
}
plots.table(found[[*columns, "inconclusive"]].rename(columns=columns))

# %% [markdown]
# *Found* is the share of models whose verdict is consistent with derivation, with Wilson's 95 % interval; *cleared* is the number whose verdict is consistent with
# independence. With fewer references than the level asks for (19 for 0.05), everything is inconclusive. Where {doc}`11_results` shows an AUC of 1.00 and fewer are found
# here, look at the references: an AUC against models on attacker data does not show the price of sparing those on the owner's data, which lie nearer to the source.
#
# ## The same for your own model
#
# Four commands, none of which needs this book's zoo. `--help` explains each.
#
# ```bash
# # once, and early: make the folder, publish the commitment that is printed
# python -m sacutils fingerprint fp --model mine.safetensors --architecture resnet18 \
#     --images held_out/ --kind source
#
# # a suspect: a file, a service, or a table that somebody else made
# python -m sacutils query fp --out suspect.json --model suspect.onnx
# python -m sacutils query fp --out suspect.json --url https://example.org/predict \
#     --service service.yaml
# python -m sacutils query fp --out suspect.json --table answers.csv
#
# # at least 19 models that were certainly trained without yours, each asked in the same way
# python -m sacutils query fp --out independent/a.json --model a.onnx
#
# python -m sacutils verify fp suspect.json --references independent/ --commitment HASH
# python -m sacutils report fp suspect.json --references independent/ --out report.html
# ```
#
# The exit code of `verify` is 0 for *consistent with independence*, 3 for *consistent with derivation*, 4 for *inconclusive* and 1 for bad input. A whole example
# with an architecture and a data set of one's own, to copy and paste, is in {doc}`/own_model`. A file from a stranger is never executed: weights are read from
# safetensors and ONNX, never from a pickle.
#
# ## What it means
#
# - **The verdict is about the references as much as about the suspect.** Say which they were; the report prints each with its origin.
# - **A p-value is not a probability of guilt.** It is the share of independent models, the suspect counted among them, that look at least as near. How many thieves there are among suspects it does not know.
# - **Closeness has no direction.** If the suspect is older, the same numbers accuse you. Hence the date.
# - **Clearing is weaker than finding.** A thief can move a copy away {cite:p}`removalnet2023`; consistent with independence is not proof of it.
#
# ## On your own
#
# **1. How many references?** Draw subsets of 19 references at random. How often does the verdict on the first suspect change?
#
# :::{dropdown} Solution
# ```python
# import numpy as np
#
# generator, names, verdicts = np.random.default_rng(0), list(references), []
# suspect = calibration.shown_as(first.answers, form)
# for _ in range(50):
#     some = generator.choice(names, size=min(19, len(names)), replace=False)
#     verdicts.append(verdict.judge(own.answers, suspect, {name: references[name] for name in some}, {}, rows, alpha).verdict)
# print(pd.Series(verdicts).value_counts())
# ```
# With 19 references a single one that lies nearer than the suspect ends the matter, so the nearest one decides: whether it is drawn is chance.
# :::
#
# **2. Make a false claim.** Choose, among the probe split, the images on which one particular *independent* model repeats the source's mistakes, and judge that model with them.
# What happens, and what protects it?
#
# :::{dropdown} Solution
# Take the images on which `source` and the accused model are wrong with the same label, and use them as probes instead of those of SAC-w. The accused then repeats every label of
# the source, the references do not, and p falls to its floor. Nothing in the numbers shows the trick. The commitment does: it must be older than the accused
# model's publication. And a court can demand fresh probes, drawn by somebody else.
# :::
#
# **3. Reading the interval.** Why is the bootstrap taken over probes and not over references?
#
# :::{dropdown} Solution
# The p-value already accounts for the finite number of references: that is what the ones in its numerator and denominator are for. What it does not account for is that the probes are
# a sample too, and that the suspect's rank could be another one with other probes.
# :::
#
# ## Further reading
#
# - {cite:t}`falseclaims2024` show how an accuser can make false claims against schemes like this one; {cite:t}`fitprint2025` propose a defence.
# - {cite:t}`advtra2024` on independent models that share the owner's data and architecture, the hardest for every method.
# - {doc}`12_baselines` for other fingerprints on the same models.

# %%
Markdown(provenance_line(run))
