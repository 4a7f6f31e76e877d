# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the answer depends on
#
# ## The answer in short
#
# Of {glue:text}`n_pairs` pairs of settings that differ in one choice only, {glue:text}`n_apart` have disjoint 95 % intervals. So the claim that the answer does not depend on any
# one choice **{glue:text}`verdict`**, by its own rule. By chance {glue:text}`by_chance` would be disjoint if all models and sources were independent, and {glue:text}`ought` of the disjoint pairs lie along choices
# where the answer ought to change: the negatives, and how much the thief asks. The largest difference between two such settings is {glue:text}`gap`, along *{glue:text}`gap_ablation`* on
# {glue:text}`gap_attack`. Raw logits and probabilities differ by up to {glue:text}`form_gap`, and the free constant of the logits explains at most {glue:text}`centred` of it. Where the
# thief's service answers at temperature 2 instead of 1, the AUC of SAC-w on Extract-L {glue:text}`temperature_moves`. Against students of another source the AUC is lower than against
# attacker data {glue:text}`students_moves`. The values are those of {glue:text}`origin`.
#
# ```{admonition} What you will do
# :class: tip
# Vary one choice at a time and leave everything else as the profile has it: the number of probes, the surrogates, what the service shows, the correlation, how the images are
# made, what the thief spends and hides, and whom the stolen models are compared with.
#
# **You learn** which of these choices move the {term}`AUC` by more than its intervals, and why none of them may be used to tune the test.
#
# **You need** {doc}`09_probes` and {doc}`10_results`. A full run trains the varied models that are missing. Other runs show a reference.
# ```
#
# ## The claim under test
#
# > **SAC's answer does not depend on any one of these choices:** along each {term}`ablation`, all settings give AUCs whose 95 % intervals overlap.
#
# It fails if two settings of one ablation, with everything else equal, have *disjoint* intervals: they are **apart**.
#
# ```{admonition} Nothing on this page may choose a setting
# :class: warning
# Every AUC below is measured on the very models that {doc}`10_results` evaluates. Probes or augmentations that are chosen by the AUC on the evaluation models inflate it.
# Examples, read or inferred from the code releases, are the order of steps in ModelGiF {cite:p}`song2023modelgif` and the screen of fourteen corruptions in SAC-JC
# {cite:p}`guan2024sacjc`. To choose a setting, use models of another seed.
# ```
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
bar = 0.95  # 0.5 to 1: the AUC from which an attack counts as found
margin = 0.05  # 0 to 0.5: a smaller change of an AUC counts as none

# %% tags=["hide-input"]
import math

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from scipy.stats import norm

from sacutils import figures
from sacutils.run import open_run, provenance_line
from sacutils.steps import MAIN_NEGATIVES
from sacutils.studies import ablations, references, tables

run = open_run(profile, overrides)
figures.use_style()
if run.profile.full:  # it has trained the varied models
    run.announce()
origin, data = references.full_tables(run, lambda: ablations.tables_of(run))

CHOICES = ["number of probes", "surrogates", "output form", "bandwidth", "patch size"]
CHOICES += ["mixing source", "JPEG quality", "extraction epochs", "attacker images", "twin radius"]
CHOICES += ["temperature", "thief's style", "negatives"]
table = data["ablations"]  # older ones have one comparison only
groups = list(table["negatives"].unique()) if "negatives" in table else [MAIN_NEGATIVES]
varied = {k: tables.ablation(data, k, groups) for k in CHOICES if k in set(table["ablation"])}
for name, rows in varied.items():  # "SAC-w, labels" is a probe set and an output form
    words = rows["series"].str.split(", ")
    varied[name] = rows.assign(form=words.str[-1], besides=words.str[:-1].str.join(", "))
every = pd.concat([rows.assign(ablation=name) for name, rows in varied.items()], ignore_index=True)
moves = ablations.movements(every)

# %% tags=["remove-cell"]
pairs, apart = (int(moves[column].sum()) for column in ("pairs", "apart"))
top, usual = moves.loc[moves["range"].idxmax()], varied["output form"].iloc[0]
# an interval is the mean of those of the sources: it does not shrink with their number
chance = 2 * norm.sf(norm.ppf(0.975) * (2 * int(usual["sources"])) ** 0.5)
word = "does not hold" if apart else "is not refuted" if pairs else "cannot be tested"
by_chance = f"about {chance * pairs:.0f}" if chance * pairs >= 0.5 else "none"
figures.say(n_pairs=f"{pairs:,}", n_apart=f"{apart:,}", verdict=word, origin=origin, by_chance=by_chance, chance=f"{chance:.1%}")  # fmt: skip
figures.say(gap=f"{top['range']:.2f}", gap_ablation=top["ablation"], gap_attack=top["attack"], n_independent=int(usual["n_independent"]), sources=int(usual["sources"]))  # fmt: skip
figures.say(n_probes=int(data["distances"]["n_probes"].max()), bar=f"{bar:.2f}", margin=f"{margin:.2f}")  # fmt: skip
other = moves["ablation"].isin(["negatives", "extraction epochs", "attacker images"])
figures.say(ought=int(moves.loc[other, "apart"].sum()))


def draw(name, label="", line="form", against=MAIN_NEGATIVES, **chosen):
    """One ablation: numbers as a line, words downwards; `line` is a column."""
    rows = tables.select(varied[name], negatives=against, **chosen)
    numbers = pd.to_numeric(rows["setting"], errors="coerce")
    named = {"hue": line, "facet": "attack", "limits": (0, 1), "guess": 0.5}
    if numbers.notna().all():
        log = numbers.min() > 0 and numbers.max() >= 10 * numbers.min()
        named |= {"x_label": label, "y_label": "AUC", "band": False, "log": log}
        figure = figures.curves(rows.assign(setting=numbers), "setting", "auc", **named)
    else:
        figure = figures.points(rows, "auc", "setting", label="AUC with 95 % interval", **named)
    figures.show("_".join(["ablation", *name.split(), *chosen.values()]), figure)


# %% [markdown]
# ## Summary
#
# Each cell holds the lowest and the highest AUC over the settings, along that line (probe set, output form, position) on which they differ most. An asterisk says that on some
# line of this cell two settings are apart. The fold has students of another. Where the groups themselves are varied, there is one line for all.


# %% tags=["hide-input"]
def summary(group):
    """One row per ablation, against one group of independent models."""
    parts = moves[moves["negatives"].isin([group, ""])].groupby("ablation", sort=False)
    lines = pd.DataFrame([line(*part) for part in parts]).fillna("–")
    return figures.table(lines, caption=f"Lowest to highest AUC by choice, against {group}")


def line(name, part):
    """One row of the summary."""
    widest = part.loc[part.groupby("attack", sort=False)["range"].idxmax()].set_index("attack")
    stars = part.groupby("attack")["apart"].sum()
    row = {"choice": name}
    for attack, cell in widest.iterrows():
        text = f"{cell['lowest']:.2f}\u2060–\u2060{cell['highest']:.2f}"
        row[attack] = text + ("*" if stars[attack] else "")
    crossing = ((part["lowest"] < bar) & (part["highest"] >= bar)).sum()
    row |= {"apart": f"{part['apart'].sum():,} of {part['pairs'].sum():,}"}
    return row | {f"across {bar:.2f}": f"{crossing} of {len(part)}"}


summary(MAIN_NEGATIVES)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "The same against students of another", "code_prompt_hide": "The same against students of another"}
summary(ablations.AGAINST[1]) if ablations.AGAINST[1] in groups else None

# %% [markdown]
# *Apart* counts pairs of settings with disjoint intervals. *Across* {glue:text}`bar` counts lines along which some settings reach the bar and others do not. The same models answer at both settings, so
# intervals that overlap do *not* show that two settings are alike. By chance alone, with independent models and sources, {glue:text}`chance` of all pairs would be disjoint.
#
# **How to read the pictures.** Each panel is an attack, each line one way of asking. Only the setting moves along a line. Bars are 95 % intervals over models; with several
# sources (here {glue:text}`sources`) they are the mean of the sources' intervals. Unless a caption says otherwise, {glue:text}`n_probes` probes, the cosine, and
# {glue:text}`n_independent` independent models per source on {term}`attacker data` are used. Fine-tuning and transfer are left out; {doc}`10_results` has them. The grey line
# is guessing; below it the independent models are the nearer ones. The table `ablations.csv` has students of another too.
#
# ## What the service shows
#
# Each form after raw logits shows less of an answer. Centred logits lack the constant that cross-entropy does not fix. A service that fears the test can choose to show less.

# %% tags=["hide-input", "remove-output"]
draw("output form", line="series")
on_w = tables.select(varied["output form"], series="SAC-w", negatives=MAIN_NEGATIVES)
forms = on_w.pivot(index="attack", columns="setting", values="auc")
gaps = {form: (forms["logits"] - forms[form]).abs().max() for form in forms}
figures.say(centred=f"{gaps['centred logits']:.3f}", form_gap=f"{gaps['probabilities']:.3f}")

# %% [markdown]
# :::{glue:figure} ablation_output_form
# :alt: Raw and centred logits differ by at most {glue:text}`centred` in the AUC of SAC-w, raw logits and probabilities by up to {glue:text}`form_gap`.
#
# **Varied:** what is known of each answer. **Fixed:** {glue:text}`n_probes` probes of SAC-w or SAC-m, cosine, models. Where raw and centred logits coincide, the constant plays no part.
# :::
#
# Centring the logits changes the AUC of SAC-w by at most {glue:text}`centred`, and taking probabilities instead by up to {glue:text}`form_gap`. So the constant explains no more than
# the first number of the second.
#
# ## Probes
#
# **How many** probes there are is what a suspect's service sees. A longer list contains the shorter ones. More make each distance steadier, but separate no groups that overlap.
# **The number of surrogates** decides which mistakes get in: all mistakes of the source (0 surrogates, which is SAC-source), or only those that students of the source repeat.

# %% tags=["hide-input", "remove-output"]
draw("number of probes", "number of probes", line="besides", form="probabilities")
draw("surrogates", "number of surrogates")

# %% [markdown]
# ::::{dropdown} Number of probes, number of surrogates
# :::{glue:figure} ablation_number_of_probes_probabilities
# :alt: A line that is flat at the right shows an attack and a probe set on which more probes change nothing.
#
# **Varied:** number of probes, in four probe sets. **Fixed:** probabilities, cosine, models. A line ends where the set has no more images. Where it is flat at the right, more probes
# change nothing.
# :::
#
# :::{glue:figure} ablation_surrogates
# :alt: A line that rises to the right shows an attack on which surrogates help; where the bars of both ends overlap, no help is shown.
#
# **Varied:** surrogates that must be wrong besides the source. **Fixed:** {glue:text}`n_probes` probes, the first that qualify; cosine, models. Look for lines that rise to the right.
# :::
# ::::
#
# ## How the images are made, and which correlation
#
# SAC-m and SAC-JC change plain images, and each change has a strength. The released code has a patch with a side ratio of 0.2 in a corner, and JPEG severity 1, a quality of
# 25. Is it the *mixture of two images* that matters? The patch can also be taken from another data set, or hold noise or nothing at all. The RBF matrix is
# $\exp(-\gamma\,\lVert u_i - u_j\rVert^2)$; the released code contains $\gamma = 1$.

# %% tags=["hide-input", "remove-output"]
side = "side of the patch as a share of the image's side"
draw("patch size", side, line="besides", form="probabilities")
for name in ("mixing source", "bandwidth"):
    draw(name)

# %% [markdown]
# ::::{dropdown} Size and place of the patch, its content, bandwidth of the RBF
# :::{glue:figure} ablation_patch_size_probabilities
# :alt: The distance between the lines of corner, centre and random position shows what the place of the patch does, the slope of a line what its size does.
#
# **Varied:** size and position of the patch of SAC-m. **Fixed:** {glue:text}`n_probes` images, their donors, probabilities, cosine, models. Lines that lie apart show what the place does.
# :::
#
# :::{glue:figure} ablation_mixing_source
# :alt: Where the four marks of a panel lie side by side, it does not matter what the patch holds.
#
# **Varied:** what the patch holds. **Fixed:** a patch of half the image's side in the centre, {glue:text}`n_probes` images, cosine, models. Marks side by side say that it does not matter.
# :::
#
# :::{glue:figure} ablation_bandwidth
# :alt: Cosine and RBF with a small bandwidth parameter agree, as they must; the marks of larger parameters show how far the choice matters.
#
# **Varied:** cosine, or RBF with bandwidth $\gamma$ (the numbers). **Fixed:** {glue:text}`n_probes` probes of SAC-w, output form of each line, models. On labels the choice
# makes no difference: both matrices take two values.
# :::
# ::::
#
# ## The attacker's effort
#
# A student that learned little from the source is no copy, so here the answer *ought* to depend on the setting. Each epoch asks the source once for each of the attacker's
# images, so epochs are queries. With fewer images a thief can ask about each of them more often, every time shifted or flipped. The table shows Extract-L with the students' mean fidelity:

# %% tags=["hide-input"]
effort = tables.select(every, ablation=["extraction epochs", "attacker images"])
setting = effort["ablation"] + ": " + effort["setting"]
effort = effort.assign(varied=setting, form=effort["form"] + ", against " + effort["negatives"])
wide = tables.wide(effort, "varied", "form")
fidelity = effort.groupby("varied", sort=False)["fidelity"].mean()
wide.insert(1, "mean fidelity", fidelity.loc[wide["varied"]].to_numpy())
independent = tables.select(data["zoo"], step="independent")["fidelity"].mean()
figures.say(independent=f"{independent:.1%}")
caption = "AUC on Extract-L, by how much the thief asks"
figures.table(wide, {"mean fidelity": "{:.1%}"}, caption=caption)

# %% [markdown]
# The mean fidelity of the independent models is {glue:text}`independent`. If students below that number are still recognised, it is by *where* they err and not by how often.
#
# ## What the thief hides
#
# A service can divide its logits by a temperature before the softmax. No label changes, but the service sounds more or less sure, and SAC on probabilities reads that. *Matched* divides
# each suspect's logits by the one temperature at which it is on average as sure as the source ({doc}`08_sample_correlation`). Independent models answer as they are.


# %% tags=["hide-input"]
def cells(caption, name, index, columns, **chosen):
    """A table of AUCs of one ablation."""
    rows = tables.select(varied[name], **chosen)
    rows = rows.assign(line=rows[index].agg(", ".join, axis=1))
    return figures.table(tables.wide(rows, "line", columns), caption=caption)


given = {"name": "temperature", "index": ["attack", "form"], "columns": "setting"}
asked = ablations.AGAINST if "temperature" in varied else ()
shown = [cells(f"AUC by temperature, against {each}", **given, negatives=each) for each in asked]
display(*shown[:1])
hidden = "was not measured"
if "temperature" in varied:
    part = tables.select(varied["temperature"], attack="Extract-L", negatives=MAIN_NEGATIVES)
    part = part.pivot(index="form", columns="setting", values="auc")[["1", "2"]]
    (m1, m2), (p1, p2) = part.to_numpy()
    hidden = f"goes from {p1:.2f} to {p2:.2f}, and matched from {m1:.2f} to {m2:.2f}"
figures.say(temperature_moves=hidden)
Markdown(f"From temperature 1 to 2 the AUC on Extract-L, against {MAIN_NEGATIVES}, {hidden}.")

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Temperature, against students of another", "code_prompt_hide": "Temperature, against students of another"}
display(*shown[1:])

# %% [markdown]
# A thief also has habits. It may ask once about each image and keep the answer for shifted versions, ask about plain images, or be given some wrong answers. It may fine-tune, prune or round
# the student. The fold shows Extract-L in these styles, against each group:

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Extract-L by the thief's habit", "code_prompt_hide": "Extract-L by the thief's habit"}
style = varied["thief's style"]["series"].unique() if "thief's style" in varied else []
for series in style:
    caption = f"AUC on Extract-L by the thief's habit: {series}"
    display(cells(caption, "thief's style", ["setting"], "negatives", series=series))
None if len(style) else Markdown("*The styles were not measured in the run shown.*")

# %% [markdown]
# ## The choice of negatives
#
# An AUC compares two groups, and the second is the evaluator's choice. Students of another source were made just as the stolen models were, only not from *this* source. An
# overlap trains on the share of the owner's images that its name says, and plain models on images that are not shifted.

# %% tags=["hide-input", "remove-output"]
draw("negatives", against=groups)
auc = varied["negatives"].pivot(index=["attack", "form"], columns="setting", values="auc")
auc = auc.reindex(columns=ablations.AGAINST).dropna()
falls = (auc["students of another"] < auc[MAIN_NEGATIVES] - margin).sum()
text = f"by more than {margin:.2f} in {falls} of {len(auc)} cells"
figures.say(students_moves=text if len(auc) else "in no cell, since it was not measured")

# %% [markdown]
# :::{glue:figure} ablation_negatives
# :alt: Against students of another the AUC of SAC-w is lower than against attacker data {glue:text}`students_moves`.
#
# **Varied:** the independent models. **Fixed:** the stolen models, {glue:text}`n_probes` probes of SAC-w, cosine. A mark further left than that of the first line belongs to independent
# models that are harder to tell from stolen ones.
# :::
#
# Against students of another the AUC is lower than against attacker data {glue:text}`students_moves` (attack and form). Where it is, a part of what separated the groups was how they
# were trained, and not from whom they learned.
#
# ## What it means
#
# - **An AUC needs its set-up beside it.** The set-up has to be chosen beforehand, on models that are not evaluated.
# - **What the service shows is the suspect's choice.** A test that needs more than the service shows cannot be used.
# - **Overlap is not equality.** Groups of this size cannot resolve small differences, and each choice is varied around the profile's setting only.
# - **With other independent models the question is another one**: whether a model is a copy, or whether it is a copy of *this* source.


# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. How much does picking inflate?** All of $m$ settings have a true AUC of 0.70, and each is measured with an independent normal error of standard deviation 0.05. Write `best_of(m)`: the mean of the highest measured AUC over 10,000 repetitions or more.
# %% tags=["solution"]
def best_of(m):
    return 0.70 + np.random.default_rng(0).normal(0, 0.05, (20_000, m)).max(axis=1).mean()


# %% tags=["test"]
assert abs(best_of(1) - 0.700) < 0.003 and abs(best_of(10) - 0.777) < 0.003
# %% [markdown] tags=["exercise"]
# **2. Apart by chance.** Two settings are alike, their AUCs are independent and normal, with the same spread. How often are their 95 % intervals disjoint? Call the share `disjoint`.
# %% tags=["solution"]
disjoint = math.erfc(1.96)  # a difference of 2 × 1.96 standard errors, of which its own is √2
# %% tags=["test"]
assert abs(disjoint - 0.0056) < 2e-4

# %% [markdown]
# **Further reading.** {cite:t}`godinot2025qurd` take fingerprints apart and vary each part; {cite:t}`advtra2024` on independent models that are hard to tell from stolen ones,
# {cite:t}`deepreg` on what a threshold makes of it; {cite:t}`yun2019cutmix` and {cite:t}`hendrycks2019corruptions` for the images; {cite:t}`tramer2016stealing` on what a thief can learn by asking.

# %%
Markdown(provenance_line(run))
