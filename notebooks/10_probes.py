# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Choosing probes
#
# ```{admonition} What you will do
# :class: tip
# Build the five probe sets SAC-normal, SAC-source, SAC-w, SAC-m and SAC-JC, look at them, and watch how the source, its copies and
# independent models answer on each.
#
# **You learn** how each set is chosen and from which images; what SAC-w costs in candidates; what a CutMix patch does to an answer; and why an
# image that the source gets *wrong* can say more than one that it gets right.
#
# **You need** {doc}`09_sample_correlation`. A few seconds of one processor core: probes and outputs are loaded, or made first if missing.
# ```

# %% [markdown]
# ## The claim under test
#
# - The abstract of the paper {cite:p}`guan2022sac` claims that **SAC-m needs neither surrogates nor adversarial examples** (read in the
#   abstract).
# - SAC-w uses normal images that are misclassified, chosen with surrogates of the source, six in the released files (read in the code). **The
#   rule of the choice is not published**; ours, "the source and all surrogates are wrong", is a reading that nobody has
#   confirmed. Another re-implementation {cite:p}`deepcore2024` demands that the source and eight models derived from it are all
#   wrong.
# - SAC-JC uses JPEG-compressed images {cite:p}`guan2024sacjc` (read in the code). That SAC-source means images that the source misclassifies is
#   inferred from a file name.
#
# Behind all of them is one idea, which this page puts to the test: **images near or beyond a decision boundary tell models apart better than
# plain ones.**

# %% [markdown]
# ## Parameters
#
# `patch` (side of the patch as a share of the image's side), `position` (`corner`, `centre` or `random`) and `count` belong to the CutMix images
# that are redrawn on this page. The probe sets of the run itself follow the profile; to change them there, override
# `probes.patch`, `probes.patch_position` or `probes.count`.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
patch = 0.2
position = "corner"
count = 8

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from sacutils import evaluation, lineage, plots, probes, summaries, training
from sacutils.probes import PROBE_SETS
from sacutils.profiles import ROOT, load_profile
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()
split = run.material.splits["probe"]
truth = split.labels.cpu()
classes = run.material.class_names
settings = run.profile.probes
glue("n", str(settings.count), display=False)
glue("pool", f"{len(truth):,}", display=False)
glue("quality", str(probes.JPEG_QUALITY[settings.jpeg_severity - 1]), display=False)
glue("severity", str(settings.jpeg_severity), display=False)
glue("side", f"{settings.patch:g}", display=False)
glue("place", settings.patch_position, display=False)

# %% [markdown]
# ## Five sets
#
# All probes come from the *probe* split ({glue:text}`pool` images here), on which nothing is trained and no accuracy is reported. The released code
# takes test images, on whose accuracy its checkpoints had been selected too. Each set has {glue:text}`n` images.
#
# | set | how it is chosen | needs |
# |---|---|---|
# | SAC-normal | the first images of the split, which is in random order | images |
# | SAC-source | the first images that the source misclassifies | + true labels, the source |
# | SAC-w | the first images that the source *and all its surrogates* misclassify | + surrogates |
# | SAC-m | the first images, each with one patch (side ratio {glue:text}`side`, {glue:text}`place`) of another; the same box for all, donors by a random permutation | images |
# | SAC-JC | the first images, JPEG-compressed at severity {glue:text}`severity` (quality {glue:text}`quality`) | images |

# %% tags=["hide-input", "remove-output"]
samples = {label: run.probes[name].pixels[:8] for name, label in PROBE_SETS.items()}
titles = {}
for name, label in PROBE_SETS.items():
    index, predicted = run.probes[name].index[:8], run.logits[name][run.zoo.source][:8].argmax(1)
    titles[label] = [classes[i] + ("" if i == j else f"\n→ {classes[j]}") for i, j in zip(truth[index], predicted, strict=True)]
fig = plots.image_rows(samples, titles)
glue("probes_samples", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} probes_samples
# :name: fig-probes-samples
# :alt: Five rows of small images, one row for each probe set, each image with its true class and, where it differs, the class that the source predicts.
#
# The first images of each set. Above each: the true class (for SAC-m that of the background) and, after the arrow, what the source says
# where it disagrees.
# :::

# %% [markdown]
# ## How many candidates SAC-w needs
#
# A {term}`surrogate` is a model that the owner derives from the source, as a thief would: here a student trained on the source's labels for owner
# data. An image on which source and surrogates all err is a candidate for a mistake that *copies share*. Each further
# surrogate leaves fewer candidates.

# %% tags=["hide-input"]
left = summaries.candidates(run)
glue("source_wrong", f"{left['images'].iloc[1]:,}", display=False)
glue("all_wrong", f"{left['images'].iloc[-2]:,}", display=False)
glue("surrogates", str(len(run.names("surrogate"))), display=False)
plots.table(left, {"images": "{:,}"})

# %% tags=["remove-output"]
fig = plots.funnel(left)
glue("probes_funnel", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} probes_funnel
# :name: fig-probes-funnel
# :alt: Bar chart of the images left after each condition of SAC-w, from the whole probe split down to the probe set.
#
# Images left after each condition. Of {glue:text}`pool`, the source gets {glue:text}`source_wrong` wrong; {glue:text}`all_wrong` of these are
# wrong for all {glue:text}`surrogates` surrogates too; the first {glue:text}`n` of them are the set.
# :::
#
# A more accurate source leaves fewer mistakes to choose from: the better the model, the more images SAC-w has to be offered. If there are too
# few, the run stops and says so.
#
# **Which images were taken** is written to disk, so that anyone can repeat the test with the same ones: as numbers within the data set,
# beside the pixels.

# %% tags=["hide-input"]
record = (run.folder / "probes" / "probes.json").relative_to(ROOT).as_posix()
glue("record", record, display=False)
rows = [
    {"set": label, "first ten images (number in the data set)": ", ".join(map(str, numbers[:10].tolist()))}
    for name, label in PROBE_SETS.items()
    for numbers in [run.material.index["probe"][run.probes[name].index]]
]
plots.table(pd.DataFrame(rows))

# %% [markdown]
# The complete lists are the entry `images` of the file {glue:text}`record`; the pixels lie beside it in `probes.safetensors`.

# %% [markdown]
# ## The CutMix patch, redrawn
#
# In the released code (read) the patch is 6 of 32 pixels wide, its centre lies in a corner sixth of the image, the box is the same for all images,
# and the label is kept, although it plays no part in SAC. Here it is drawn again with the parameters of this page.

# %%
chosen = {"probes.patch": patch, "probes.patch_position": position, "probes.count": count}
redrawn = load_profile(profile, overrides | chosen).probes  # refuses values that no profile may have
plain = probes.normal(split, redrawn.count)
mixed = probes.cutmix(split, redrawn.count, redrawn.patch, redrawn.patch_position, run.profile.seed)
changed = (mixed.pixels != plain.pixels).float().mean().item()
before, after = (training.logits_of(run.zoo.get(run.zoo.source), each.pixels).softmax(1) for each in (plain, mixed))
flipped = int((before.argmax(1) != after.argmax(1)).sum())
glue("redrawn", str(redrawn.count), display=False)
glue("flipped", str(flipped), display=False)
glue("changed", f"{changed:.1%}", display=False)
glue("confidence_plain", f"{before.max(1).values.mean().item():.2f}", display=False)
glue("confidence_mixed", f"{after.max(1).values.mean().item():.2f}", display=False)

# %% tags=["hide-input", "remove-output"]
few = min(8, redrawn.count)
says = {
    key: [f"{classes[k]}\n{value:.2f}" for value, k in zip(*each[:few].max(1), strict=True)]
    for key, each in (("plain", before), ("mixed", after))
}
fig = plots.image_rows({"plain": plain.pixels[:few], "mixed": mixed.pixels[:few]}, says)
glue("probes_cutmix", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} probes_cutmix
# :name: fig-probes-cutmix
# :alt: Two rows of small images, plain above and mixed below, each with the class that the source predicts and its probability.
#
# Plain images and the same with a patch of another. Above each: what the source says, and with which probability. Over all {glue:text}`redrawn` redrawn
# images {glue:text}`changed` of the pixels differ, {glue:text}`flipped` answers change, and the mean confidence goes from
# {glue:text}`confidence_plain` to {glue:text}`confidence_mixed`.
# :::
#
# Where objects fill the image and the border is plain, as with clothes on a black ground, a patch in the corner often replaces background by
# background. On such data the published patch is a weak change: try `position` "centre".

# %% [markdown]
# ## How the models answer
#
# For each set and each model with the source's classes: {term}`accuracy` (against the true label), confidence (mean largest probability), and
# agreement (share of probes on which it repeats the source's label, right or wrong). Averages over the models of each group:

# %% tags=["hide-input"]
answers = summaries.answers(run)
mean = answers.groupby(["probes", "group"], sort=False)[["accuracy", "confidence", "agreement"]].mean().reset_index()
shown = ["Source", "Surrogate", "Finetune-A", "Pruning", "Extract-L", "Extract-P"]
shown += [lineage.LABELS[step] for step in lineage.IRRELEVANT]
order = {group: place for place, group in enumerate(shown)}
sets = {label: place for place, label in enumerate(PROBE_SETS.values())}
mean = mean[mean["group"].isin(shown)].sort_values(by=["probes", "group"], key=lambda c: c.map(sets | order))
wide = mean.assign(
    text=[f"{r.accuracy:.0%} / {r.confidence:.0%} / {r.agreement:.0%}".replace("%", "") for r in mean.itertuples()]
)
wide = wide.pivot(index="group", columns="probes", values="text").loc[[g for g in shown if g in set(wide["group"])], list(sets)]
plots.table(wide.reset_index().rename_axis(columns=None))

# %% [markdown]
# Read each cell as *accuracy / confidence / agreement*, in per cent. The source's accuracy on SAC-source and SAC-w is zero **by construction**, and so is that of the
# surrogates on SAC-w: these are choices, not findings. The findings are in the other rows, and above all in the last number.

# %% tags=["remove-output"]
fig = plots.agreement_by_set(answers)
glue("probes_agreement", fig)
plt.close(fig)

# %% tags=["hide-input"]
kinds = answers[answers["step"].isin(summaries.SAME_CLASSES + lineage.IRRELEVANT)]
kinds = kinds.assign(kind=np.where(kinds["step"].isin(summaries.SAME_CLASSES), "stolen", "irrelevant"))
rows = []
for label, each in kinds.groupby("probes", sort=False):
    stolen, irrelevant = (each.loc[each["kind"] == kind, "agreement"].to_numpy() for kind in ("stolen", "irrelevant"))
    difference, low, high = evaluation.mean_difference(stolen, irrelevant)
    interval = f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"
    rows.append((label, stolen.mean(), irrelevant.mean(), difference, interval))
gap = pd.DataFrame(rows, columns=["probes", "stolen", "irrelevant", "gap", "gap with interval"]).set_index("probes")
for name, label in PROBE_SETS.items():
    glue(f"gap_{name}", gap.loc[label, "gap with interval"], display=False)
    glue(f"agree_{name}", f"{gap.loc[label, 'irrelevant']:.2f}", display=False)
glue("widest", gap["gap"].idxmax(), display=False)
verdict = "wider" if gap.loc["SAC-w", "gap"] > gap.loc["SAC-normal", "gap"] else "no wider"
glue("gap_verdict", verdict, display=False)

# %% [markdown]
# :::{glue:figure} probes_agreement
# :name: fig-probes-agreement
# :alt: Agreement with the source for each probe set, a dot per model, stolen models beside irrelevant ones, with the mean of each kind as a short line.
#
# Agreement with the source: a dot is a model, a line the mean of a kind. Irrelevant models repeat the source on {glue:text}`agree_normal` of
# the plain images and on {glue:text}`agree_w` of the SAC-w images.
# :::

# %% [markdown]
# ## Why wrong images tell more
#
# Let $a_S$ and $a_T$ be the accuracies of source and suspect on a probe set. Wherever both are right they agree, whoever trained them. So
#
# $$
# \Pr(\text{agreement}) \;\ge\; a_S + a_T - 1 ,
# $$ (eq-forced-agreement)
#
# and on plain images, where $a_S$ and $a_T$ are high, there is little room for anything but agreement: the truth itself makes models alike. A
# correlation matrix of right answers is, roughly, the matrix of the *true* classes, whoever computed it.
#
# On images that the source gets wrong the bound says nothing ($a_S = 0$), and the truth pulls the other way: an independent model that is
# right *disagrees*. It agrees only where it makes a mistake, and the same one, of $K - 1$ possible mistakes. A copy was trained to
# repeat the source's answers, mistakes included, or began with its weights. Mistakes are inherited; truths are common property.
#
# Two things spoil the picture. Some mistakes are common property too: a wrong label in the data, or a shirt that every network takes for a pullover.
# Demanding that *surrogates* err as well (SAC-w) keeps what copies share, but does nothing against what everyone shares. And
# a copy that learned little repeats little.
#
# The gap between the mean agreement of stolen and of irrelevant models, in this build, with Welch's 95 % interval over models:

# %%
plots.table(gap.drop(columns="gap").reset_index(), dict.fromkeys(("stolen", "irrelevant"), "{:.2f}"))

# %% [markdown]
# ## Result
#
# Here the gap on SAC-w ({glue:text}`gap_w`) is **{glue:text}`gap_verdict`** than on SAC-normal ({glue:text}`gap_normal`); the widest is on
# {glue:text}`widest`. What the test makes of it, for the two extraction attacks: {term}`AUC` of the correlation distance (probabilities, cosine)
# with its 95 % interval.

# %% tags=["hide-input"]
both = ["extract_label", "extract_probability"]
rows = [{"probes": label} | {lineage.LABELS[a]: str(run.auc_of(a, name)) for a in both} for name, label in PROBE_SETS.items()]
counts = run.zoo.specs.values()
glue("n_students", " and ".join(str(sum(spec.step == a for spec in counts)) for a in both), display=False)
glue("n_negatives", str(sum(spec.step == "irrelevant" for spec in counts)), display=False)
plots.table(pd.DataFrame(rows))

# %% tags=["hide-input", "remove-output"]
chosen = run.auc[
    (run.auc["form"] == "probabilities") & (run.auc["measure"] == "cosine") & (run.auc["negatives"] == lineage.MAIN_NEGATIVES)
]
chosen = chosen[chosen["attack"].isin([lineage.LABELS[a] for a in both])]
fig = plots.auc_intervals(chosen, "probes", "probe set")
glue("probes_auc", fig)
plt.close(fig)

overlap = [lineage.LABELS[a] for a in both if run.auc_of(a, "normal").high >= run.auc_of(a, "w").low]
glue("overlap", f"overlap on {' and '.join(overlap)}" if overlap else "overlap on neither attack", display=False)
free = all(run.auc_of(a, "m").value >= run.auc_of(a, "w").value for a in both)
glue("free", "is not paid for here" if free else "has a price here", display=False)
glue("auc_m", " and ".join(f"{run.auc_of(a, 'm')}" for a in both), display=False)
glue("auc_w", " and ".join(f"{run.auc_of(a, 'w')}" for a in both), display=False)

# %% [markdown]
# :::{glue:figure} probes_auc
# :name: fig-probes-auc
# :alt: AUC with its interval for Extract-L and Extract-P, a marker for each of the five probe sets.
#
# AUC of the two extraction attacks by probe set. Stolen models: {glue:text}`n_students`; irrelevant ones, on attacker data: {glue:text}`n_negatives`.
# :::

# %% [markdown]
# ## What it means
#
# - The intervals of SAC-normal and SAC-w {glue:text}`overlap`. With so few models, small differences between sets are not
#   findings. An AUC well below 0.50 is the wrong way round: there the irrelevant models are the nearer ones.
# - SAC-m does need neither surrogates nor adversarial examples, as claimed: it can be made from images alone. This economy {glue:text}`free`: its AUCs on
#   Extract-L and Extract-P are {glue:text}`auc_m`, those of SAC-w {glue:text}`auc_w`.
# - None of these sets was chosen by looking at the AUC. Whoever tries fourteen corruptions and reports the best one on the models that it was
#   chosen on reports too much: the choice must be made on other models.

# %% [markdown]
# ## On your own
#
# **1. Another patch.** Run `make notebook NAME=10_probes ARGS="-p position centre -p patch 0.5 -p count 100"` and compare the caption of
# {numref}`fig-probes-cutmix`. Then override the profile, so that the AUC of SAC-m follows:
# `make notebook NAME=10_probes ARGS="-p probes.patch 0.5 -p probes.patch_position centre"`.
#
# :::{dropdown} What to look for
# Count the answers that change. A patch that changes none leaves SAC-m equal to SAC-normal; one that covers the object makes the donor's class win,
# and then the images are plain again, with other labels. In between, source and independent models resolve the conflict
# differently.
# :::
#
# **2. Agreement by chance.** An independent model is right with probability $a$ on the source's mistakes, and otherwise picks one of the
# $K - 1$ wrong classes evenly. How often does it agree with the source? What if its mistakes go to the source's class with probability $s$?
#
# :::{dropdown} Solution
# $(1 - a)/(K - 1)$ in the first case, $(1 - a)\,s$ in the second. Put in the irrelevant models' accuracy and agreement on SAC-source from the table above
# and solve for $s$: it is far more than $1/(K-1)$ wherever networks share their mistakes.
# :::
#
# **3. A softer selector.** Take images that the source and *at least half* of the surrogates misclassify. How many candidates are there?
#
# :::{dropdown} Solution
# ```python
# import torch
#
# wrong = torch.stack(
#     [training.logits_of(run.zoo.get(name), split.pixels).argmax(1) != truth for name in [run.zoo.source, *run.names("surrogate")]]
# )
# chosen = (wrong[0] & (wrong[1:].double().mean(0) >= 0.5)).nonzero().squeeze(1)
# print(len(chosen), "candidates")
# softer = probes.Probes(split.pixels[chosen[:100]], chosen[:100])
# ```
# Then take the logits of all models on `softer.pixels` with `training.logits_of`, and the distances as in {doc}`09_sample_correlation`.
# :::
#
# **4. What not to do.** You compute the AUC of all five sets on all attacks, keep the best set, and report its AUC with its interval. What is wrong
# with the interval?
#
# :::{dropdown} Solution
# It covers the chance in which models were drawn for one set that was fixed beforehand. The maximum of five is biased upwards, and the interval does not
# know of the other four. Choose on calibration models, report on others.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`yun2019cutmix` for CutMix as an augmentation; {cite:t}`hendrycks2019corruptions` for the corruptions of which JPEG is one.
# - {cite:t}`godinot2025qurd`, whose AKH baseline asks for the source's mistakes only, and is hard to beat.
# - {cite:t}`cao2021ipguard` and {cite:t}`lukas2021cae`: probes that are *moved* to the boundary instead of found there.

# %%
Markdown(provenance_line(run))
