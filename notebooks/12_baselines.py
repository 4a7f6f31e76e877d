# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Baselines
#
# ```{admonition} What you will do
# :class: tip
# Put nine other ways to recognise a stolen model beside SAC: the same zoo, the same irrelevant models, the same number of probes, and the
# time that each takes.
#
# **You learn** what each of them asks a suspect; what it needs from the owner; how to compare two AUCs that come from the same models;
# and whether a very simple question does as well as an elaborate one.
#
# **You need** {doc}`10_probes` and {doc}`11_results`. About a minute of one processor core once the models are trained and the probes are
# made.
# ```

# %% [markdown]
# ## The claim under test
#
# QuRD {cite:p}`godinot2025qurd` says of {term}`AKH`, which only asks whether a suspect repeats the source's labels on the source's
# mistakes, that it performs on a par with far more complex schemes (read in the abstract). As a sentence that a build can refute:
#
# > **Over fine-tuning, pruning and extraction together, no other fingerprint has a higher AUC than AKH by more than chance explains.**
#
# That no difference was found does not mean that there is none. The page therefore also says how large a difference each
# comparison leaves possible. A second claim is about cost: SAC-m needs neither surrogates nor adversarial examples (SAC paper
# {cite:p}`guan2022sac`, read in the abstract). What that saves is measured below.

# %% [markdown]
# ## Parameters
#
# `margin` is the difference in AUC below which two fingerprints count as level.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
margin = 0.05

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from sacutils import baselines, comparison, lineage, plots, summaries, training
from sacutils.profiles import ROOT
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()
methods = summaries.fingerprints(run)
large, small = comparison.budgets(run)
n_surrogates, n_references = (len(run.names(step)) for step in ("surrogate", "reference"))
counts = run.models["step"].value_counts()


def listed(names):
    return ", ".join(names) if len(names) else "none"


values = {"n": large, "n_small": small, "n_surrogates": n_surrogates, "n_references": n_references}
values |= {"n_methods": len(methods), "n_irrelevant": counts["irrelevant"], "n_owner": counts["irrelevant_owner"]}
values |= {"n_new": counts["irrelevant_transfer"], "n_corrupted": counts["irrelevant_corrupted"]}
values |= {"masks": baselines.ZEST_MASKS, "steps": baselines.WALK_STEPS, "margin": f"{margin:.2f}"}
for name, value in values.items():
    glue(name, str(value), display=False)

# %% [markdown]
# ## Nine rivals, each in three steps
#
# A fingerprint is a set of **queries**, a **representation** of the answers, and a **distance** between the source's representation and the
# suspect's (the scheme of QuRD). Small means "probably stolen". Below, $x_1, \dots, x_n$ are the probes, $y_S(x)$ and $y_T(x)$ the labels
# of source and suspect, $z(x)$ logits, $p(x)$ probabilities, and $[\,\cdot\,]$ is 1 where the bracket is true and 0 otherwise.
#
# Four of them share one distance, the share of labels that differ. They differ in what they ask:
#
# $$
# d = \frac{1}{n} \sum_{i=1}^{n} \bigl[\, y_T(x_i) \ne y_S(x_i) \,\bigr] .
# $$ (eq-label-distance)
#
# **Random.** Plain images: $x_i$ are the first $n$ of the probe split. Meant as the floor {cite:p}`godinot2025qurd`: two good
# models agree on most plain images whoever trained them (eq. {eq}`eq-forced-agreement`), so little is left to tell them apart.
#
# **AKH** {cite:p}`godinot2025qurd`. The source's mistakes: with the true label $y(x)$,
#
# $$
# x_i \in \{\, x : y_S(x) \ne y(x) \,\} .
# $$
#
# These are the probes of SAC-source. The name recalls Tolstoy's families: right answers are alike, each model is wrong in its own way.
#
# **IPGuard** {cite:p}`cao2021ipguard`. Images at the source's decision boundary. From an image of class $i$, gradient descent on
#
# $$
# \mathrm{ReLU}(z_i - z_j + k) + \mathrm{ReLU}\bigl(\max_{t \ne i, j} z_t - \min(z_i, z_j)\bigr)
# $$ (eq-ipguard)
#
# moves to a random class $j$ and stops when the source first predicts it. A model whose boundary runs elsewhere answers differently there.
#
# **CAE** {cite:p}`lukas2021cae`. *Conferrable* adversarial examples: they should mislead the source's descendants and nobody else. With
# the mean probabilities $S_t$ of the owner's {term}`surrogates <surrogate>` and $R_t$ of the owner's independent {term}`reference models
# <reference model>`, the source's probabilities $M$ and its label $y$ for the original $x$, an image $x'$ near $x$ minimises
#
# $$
# -\log \max_{t \ne y} S_t(x')\,\bigl(1 - R_t(x')\bigr) \;-\; H\bigl(M(x), M(x')\bigr) \;+\; H\bigl(M(x'), S(x')\bigr),
# $$ (eq-cae)
#
# where $H$ is the cross-entropy. The candidates of highest *conferrability*, the share of surrogates that give the source's label times
# the share of references that do not, are kept. Here the maximum leaves out $y$; with it, misleading the references alone would pay,
# which makes no adversarial example.
#
# **EWE** {cite:p}`jia2021ewe`. A {term}`watermark`, not a fingerprint: the source is *trained* to call images of one class that bear a
# trigger ($x_w$) by another class $t$. The soft nearest-neighbour loss {cite:p}`frosst2019soft` is driven up, so that in each layer $l$
# the features of $x_w$ mix with those of real images of class $t$:
#
# $$
# \mathrm{CE}(x, y) + \mathrm{CE}(x_w, t) - \kappa \sum_l \mathrm{SNNL}_l, \qquad d = \frac{1}{n} \sum_i \bigl[\, y_T(x_{w,i}) \ne t \,\bigr] .
# $$
#
# Whoever learns the class should learn the secret with it. EWE protects a source of its own, and its stolen models descend from that one.
#
# **ModelDiff** {cite:p}`li2021modeldiff`. Half of the budget are plain images $x_i$, half their adversarial twins $x_i'$ for the source.
# How far an answer moves from image to twin makes a vector $v$, and two models are compared by the angle between their vectors:
#
# $$
# v_i = 1 - \cos\bigl(p(x_i), p(x_i')\bigr), \qquad d = 1 - \cos(v_S, v_T) .
# $$
#
# Classes never meet across models, so that a suspect with new labels can be judged.
#
# **FBI** {cite:p}`maho2022fbi`. Plain images again, but instead of equality the information that one model's label gives about the other's:
#
# $$
# d = 1 - \frac{I(y_S; y_T)}{\min\bigl(H(y_S), H(y_T)\bigr)} ,
# $$
#
# with the mutual information $I$ and the entropies $H$ of the labels over the probes. Renaming classes changes nothing.
#
# **Zest** {cite:p}`jia2022zest`. Which parts of an image raise which class? Each image is shown many times with some of its parts masked,
# and a linear model, as in LIME {cite:p}`ribeiro2016lime`, explains the probabilities by what was visible. With the centred masks $A$ and
# the centred probabilities $P$ of an image,
#
# $$
# W = (A^\top A + I)^{-1} A^\top P, \qquad d = 1 - \cos\bigl(\mathbf{w}_S, \mathbf{w}_T\bigr) ,
# $$
#
# where $\mathbf{w}$ stacks the weights $W$ of all images.
#
# **Dataset Inference** {cite:p}`maini2021dataset`. Do the owner's *training* images lie deeper inside their class, for the suspect, than
# public ones? From each image blind walks go in random directions until the label changes; $\ell$ are their lengths. A score
# $s = w \cdot \ell$, fitted on the source, is compared between private and public images by the effect size
#
# $$
# d = - \frac{\bar s_{\mathrm{private}} - \bar s_{\mathrm{public}}}{\sqrt{(\mathrm{var}\, s_{\mathrm{private}} + \mathrm{var}\, s_{\mathrm{public}}) / 2}} .
# $$
#
# It is another question: not "is this a copy of my model?" but "was my data used?". SAC's own distance is in {doc}`09_sample_correlation`.

# %% [markdown]
# ### Settings, published and ours

# %% tags=["hide-input"]
marked = run.profile.variants.get(comparison.WATERMARKED)
secret = run.variant(comparison.WATERMARKED).profile.recipes.source.watermark if marked else None
trigger = "not part of this profile"
if secret:
    trigger = f"a white square of {secret.size} × {secret.size} pixels in a fixed place; {secret.epochs} more epochs, κ = {secret.factor:g}"
    trigger += "; no refinement of the images"
settings = [
    ("Random", "–", f"the first {large} images"),
    ("AKH", "–", f"the first {large} mistakes"),
    (
        "IPGuard",
        "k = 10, Adam with rate 0.01, at most 1,000 steps, stop on crossing, random target",
        f"k = {baselines.IPGUARD_MARGIN:g}, rate {baselines.IPGUARD_RATE:g}, {baselines.IPGUARD_STEPS:,} steps, else the same; loss at the nearest "
        f"8-bit image; {baselines.CANDIDATES} candidates per probe, those that cross come first",
    ),
    (
        "CAE",
        "Adam with rate 0.0005, 100 steps, radius 0.15, weights 1 / 1 / 1, dropout 0.3, keep at conferrability 0.85, decide at 0.75; 18 "
        "surrogates, 18 references",
        f"rate {baselines.CAE_RATE:g}, {baselines.CAE_STEPS} steps, radius {baselines.CAE_RADIUS:g}, dropout {baselines.CAE_DROPOUT:g} of whole models; the "
        f"best of {baselines.CANDIDATES} candidates per probe; surrogates: {n_surrogates}, references: {n_references}",
    ),
    ("EWE", "see its code release; trigger refined by gradient steps", trigger),
    (
        "ModelDiff",
        "PGD with radius 0.03, half seeds and half twins",
        f"radius {baselines.MODELDIFF_RADIUS / 255:g}, {baselines.MODELDIFF_STEPS} steps; {large // 2} pairs",
    ),
    ("FBI", "benign images", f"the first {large} images"),
    (
        "Zest",
        "128 images, 1,000 masks each",
        f"{large} images, {baselines.ZEST_MASKS} masks of a grid of {baselines.ZEST_GRID} × {baselines.ZEST_GRID} cells",
    ),
    (
        "Dataset Inference",
        "blind walks of 50 steps",
        f"{baselines.WALK_STEPS} steps in each of 3 directions, fixed in advance; score fitted on up to 2 × {baselines.WALK_FIT} other images; effect size",
    ),
]
plots.table(pd.DataFrame(settings, columns=["method", "published", "here"]))

# %% [markdown]
# "Published" is what we found stated, not all that the papers set. Three of our choices matter. CAE's rate is ten times the published one:
# with that, 100 steps cannot go far enough on small images. It was chosen by the share of candidates that pass, for which the owner's own
# models are enough. CAE has {glue:text}`n_surrogates` surrogates and {glue:text}`n_references` references, for reasons of time; more would
# make it a better and a dearer method. Zest's {glue:text}`masks` masks instead of 1,000 keep the number of queries payable.
#
# The **budget** is {glue:text}`n` images that the owner selects. What is asked is sometimes more: see *queries* under
# {ref}`what it costs <baselines-costs>`.

# %% [markdown]
# ### What they ask

# %% tags=["hide-input", "remove-output"]
classes = run.material.class_names
rows, titles = {}, {}
for method in ("Random", "AKH", "IPGuard", "CAE", "EWE", "ModelDiff", "Zest", "Dataset Inference"):
    if method in methods:
        pixels = run.baseline(method)["shown"]
        place = comparison.owner(run, method)
        predicted = training.logits_of(place.zoo.get(place.zoo.source), pixels.to(run.device)).argmax(1)
        rows[method], titles[method] = pixels, [classes[k] for k in predicted]
fig = plots.image_rows(rows, titles)
glue("baselines_queries", fig)
plt.close(fig)
for method, share in (("IPGuard", "crossed"), ("CAE", "passed")):
    glue(share, f"{run.baseline(method)[f'share.{share}'].item():.0%}", display=False)

# %% [markdown]
# :::{glue:figure} baselines_queries
# :name: fig-baselines-queries
# :alt: A row of small images for each of eight baselines, each image with the class that the source predicts for it.
#
# A query of each of the first eight probes; above it, what the source says. For ModelDiff the adversarial twin, for Zest one of the masked
# copies, for Dataset Inference the end of a walk; for EWE the watermarked source answers. FBI asks what Random asks.
# :::
#
# Compare how much IPGuard, CAE and ModelDiff change an image that Random would have asked as it is. Of IPGuard's probes {glue:text}`crossed` reached the boundary
# within the steps allowed, of CAE's {glue:text}`passed` are as conferrable as the original demands; the rest of its set are the best of those that are not.

# %% [markdown]
# ## The main table
#
# {term}`AUC` with 95 % interval of every fingerprint, at {glue:text}`n` probes, against the {glue:text}`n_irrelevant` irrelevant models
# on attacker data. SAC comes twice, from probabilities and, since most baselines see labels only, from labels.

# %% tags=["hide-input", "remove-output"]
cells = summaries.pick(run.all_auc, methods, large)
main = cells[cells["negatives"] == lineage.MAIN_NEGATIVES]
main = main.assign(attack=pd.Categorical(main["attack"], [lineage.LABELS[step] for step in lineage.ATTACKS])).sort_values(
    "attack", kind="stable"
)
fig = plots.method_panels(main)
glue("baselines_auc", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} baselines_auc
# :name: fig-baselines-auc
# :alt: A panel for each attack with the AUC and its interval of nine baselines and of five variants of SAC, each of these from probabilities and from labels, and a vertical line at one half.
#
# AUC of each fingerprint for each attack. Squares: baselines; filled circles: SAC from probabilities; hollow: from labels. Nothing is
# drawn where a method cannot judge: labels cannot be matched once the classes are new. The vertical line is guessing.
# :::

# %%
plots.table(summaries.method_wide(cells, attacks=summaries.SAME_CLASSES))

# %% [markdown]
# The transferred models are compared with irrelevant models of their own: {glue:text}`n_new` with new labels and {glue:text}`n_corrupted`
# on corrupted images.

# %% tags=["hide-input"]
plots.table(summaries.method_wide(cells, attacks=list(lineage.NEGATIVES)))

# %% [markdown]
# ## Fewer probes
#
# The same with the first {glue:text}`n_small` probes of each fingerprint.

# %% tags=["hide-input"]
fewer = summaries.pick(run.all_auc, methods, small)
plots.table(summaries.method_wide(fewer, attacks=summaries.SAME_CLASSES))

# %% [markdown]
# ## Against models on owner data
#
# The same at {glue:text}`n` probes against the {glue:text}`n_owner` irrelevant models that were trained on the *owner's* images, by
# honest means as far as the source is concerned. ADV-TRA {cite:p}`advtra2024` finds negatives that share the victim's architecture *and*
# its data the hardest for every method; here only the data are shared by all of them.

# %% tags=["hide-input"]
plots.table(summaries.method_wide(cells, "owner data"))

# %% [markdown]
# All six attacks taken as one group of stolen models, in the three comparisons:

# %% tags=["hide-input"]
distances = {n: summaries.pick(run.all_distances, methods, n) for n in (large, small)}
main_column, small_column, owner_column = f"{large} probes", f"{small} probes", f"{large} probes, owner data"
comparisons = {
    main_column: summaries.against(run, distances[large], "AKH").set_index("method"),
    small_column: summaries.against(run, distances[small], "AKH").set_index("method"),
    owner_column: summaries.against(run, distances[large], "AKH", negatives="owner data").set_index("method"),
}
akh = comparisons[main_column]
together = pd.DataFrame({name: frame["auc"] for name, frame in comparisons.items()})
pooled = together.map(lambda auc: auc.value)
drop = (pooled[main_column] - pooled[owner_column]).sort_values(ascending=False)
loss = (pooled[main_column] - pooled[small_column]).sort_values(ascending=False)
glue("drop_most", f"{drop.index[0]} ({drop.iloc[0]:+.2f})", display=False)
glue("drop_least", f"{drop.index[-1]} ({drop.iloc[-1]:+.2f})", display=False)
glue("loss_most", f"{loss.index[0]} ({loss.iloc[0]:+.2f})", display=False)
glue("n_pooled", str(int(sum(counts[step] for step in summaries.SAME_CLASSES))), display=False)
di = together.loc["Dataset Inference"]
glue("di_main", str(di[main_column]), display=False)
glue("di_owner", str(di[owner_column]), display=False)
di_fall = di[main_column].value - di[owner_column].value
if di_fall > 0:
    di_text = (
        "It does, and to count these models as false accusations, as this column does, is to ask what the method does not answer; "
        "whoever uses it against a model thief must know whom else it accuses."
    )
else:
    di_text = (
        "It does not, so this version, on these small networks, does not find the traces of training data that it looks for."
    )
glue("di_text", di_text, display=False)
glue("di_rank", f"{drop.index.get_loc('Dataset Inference') + 1} of {len(drop)}", display=False)
plots.table(together.map(str).reset_index())

# %% [markdown]
# The AUC goes down most from attacker data to owner data for {glue:text}`drop_most` and least for {glue:text}`drop_least`; from
# {glue:text}`n` to {glue:text}`n_small` probes most for {glue:text}`loss_most` (a plus sign: so much lower). **Dataset Inference** goes
# from {glue:text}`di_main` to {glue:text}`di_owner`, which is place {glue:text}`di_rank` in that order. It asks who used the owner's data, so a
# model trained on them is a *positive* by its own question, and the AUC should fall. {glue:text}`di_text`
#
# The group of {glue:text}`n_pooled` stolen models is no random sample of thefts: it has as many of each kind as the profile trains, and
# models that were fine-tuned from one source are near copies of one another, as are Extract-Adv students of the Extract-L students they
# began as. The intervals treat all as independent.

# %% [markdown]
# (baselines-costs)=
# ## What it costs
#
# Measured here, not quoted. *Probes* is the time to choose or make {glue:text}`n` of them; *models before* the training of the
# surrogates, reference models or watermarked source that the method needs; *check* the time for one suspect of the source's architecture;
# *access* what making the probes needs of the source: nothing, its answers, its gradients, or its training; *form* the weakest output of
# a suspect that is enough.

# %% tags=["hide-input"]
costs = run.costs.set_index("method").loc[[name for name in methods if not name.endswith("(labels)")]]
plots.table(
    pd.DataFrame(
        {
            "method": costs.index,
            "access": costs["access"],
            "form": costs["form"],
            "surrogates + references": costs["surrogates"].map(str) + " + " + costs["references"].map(str),
            "probes": costs["seconds_make"].map(summaries.duration),
            "models before": costs["seconds_models"].map(lambda value: summaries.duration(value) if value else "–"),
            "check": costs["seconds_check"].map(summaries.duration),
            "queries": costs["queries"].map("{:,}".format),
        }
    )
)

# %% [markdown]
# Times under a second are the median of five repetitions, longer ones were taken once, with whatever else the machine was
# doing then. AKH and SAC-source choose the same images in the same way, so the factor of {glue:text}`noise` between their two
# times is the error of the method. Read orders of magnitude.
#
# **IPGuard and CAE against SAC-m.** How many times as long does making the probes take, alone, and with the models that have to be trained
# for them? SAC-m needs none.

# %% tags=["hide-input"]
make = costs["seconds_make"]
whole = make + costs["seconds_models"]
ratios = {
    method: {
        "probes alone": make[method] / make["SAC-m"],
        "with models": whole[method] / whole["SAC-m"],
        "with models, against SAC-w": whole[method] / whole["SAC-w"],
    }
    for method in ("IPGuard", "CAE")
}
rounded = pd.DataFrame(ratios).T.map(lambda ratio: f"{float(f'{ratio:.2g}'):,.10g}")
for method in ratios:
    glue(f"ratio_{method}", rounded.loc[method, "probes alone"], display=False)
    glue(f"ratio_{method}_models", rounded.loc[method, "with models"], display=False)
    glue(f"whole_{method}", summaries.duration(whole[method]), display=False)
twice = max(make["AKH"], make["SAC-source"]) / min(make["AKH"], make["SAC-source"])
glue("noise", f"{twice:.1f}", display=False)
glue("whole_m", summaries.duration(whole["SAC-m"]), display=False)
glue("source_seconds", summaries.duration(run.zoo.record(run.zoo.source)["seconds"]), display=False)
plots.table(rounded.rename_axis("time of / time of SAC-m").reset_index())

# %% [markdown]
# IPGuard takes {glue:text}`ratio_IPGuard` times as long as SAC-m, CAE {glue:text}`ratio_CAE` times, and {glue:text}`ratio_CAE_models`
# times with its models. The ratios say more about the denominator than about anything else: SAC-m copies a few squares of pixels, in
# {glue:text}`whole_m`. The owner pays once, and trained the source for {glue:text}`source_seconds`: beside that,
# {glue:text}`whole_IPGuard` for IPGuard and {glue:text}`whole_CAE` for CAE are what should be weighed. What recurs is the queries to each
# suspect, and all methods with one query per probe ask equally many.

# %% [markdown]
# ## The same queries, another measure
#
# SAC-source and AKH ask the *same* images; only what is done with the answers differs. So the gain of the correlation matrix over
# counting equal labels can be read off directly, probe set by probe set. And two things go by the name of SAC: the released code compares
# cosines of **raw logits** by the **mean** absolute difference; QuRD's own "SAC" asks the source's mistakes, takes cosine similarities of
# logits and the **root mean square** of the differences (read in both codes). One table:

# %% tags=["hide-input"]
same = {
    f"{name} | {text}": (name, form, kind)
    for name in ("SAC-source", "SAC-w")
    for text, form, kind in (
        ("equal labels" + (" (AKH)" if name == "SAC-source" else ""), "labels", "label agreement"),
        ("matrix of labels", "labels", "cosine"),
        ("matrix of probabilities", "probabilities", "cosine"),
        ("matrix of logits, mean" + (" (as released)" if name == "SAC-w" else ""), "logits", "cosine"),
        ("matrix of logits, RMS" + (" (QuRD's SAC)" if name == "SAC-source" else ""), "logits", "cosine RMS"),
    )
}
same["SAC-m | matrix of logits, mean (as released)"] = ("SAC-m", "logits", "cosine")
wide = summaries.method_wide(summaries.pick(run.all_auc, same, large), attacks=[*summaries.SAME_CLASSES, "transfer_corrupted"])
wide.insert(1, "what is compared", wide["method"].str.split(" | ", regex=False).str[1])
wide["method"] = wide["method"].str.split(" | ", regex=False).str[0]
table = run.all_distances[run.all_distances["n_probes"] == large]
one = table[table["probes"] == "AKH"].set_index("model")["distance"]
two = table[(table["probes"] == "SAC-source") & (table["measure"] == "label agreement")].set_index("model")["distance"]
glue("akh_shift", f"{(one - two).abs().max():.2g}", display=False)
plots.table(wide.rename(columns={"method": "probes"}))

# %% [markdown]
# (The baseline AKH and "equal labels" on SAC-source are computed by different code; their distances differ by at most
# {glue:text}`akh_shift`.)
#
# Two columns of intervals are a poor way to compare methods that judged the *same* models: a hard suspect is hard for both. Better to
# resample the models, compute **both** AUCs on the same draw, and look at the difference. The first four rows are equal labels minus
# matrix (plus: the simple measure is better), the last two RMS minus mean:

# %% tags=["hide-input"]
picked = summaries.pick(run.all_distances, same, large)


def paired(first, second, attacks):
    rows = picked[picked["method"].isin([first, second])]
    return summaries.against(run, rows, first, attacks).set_index("method").loc[second]


def shown(row):
    interval = "–" if np.isnan(row["low"]) else f"{row['low']:+.2f}, {row['high']:+.2f}"
    return f"{row['difference']:+.2f} [{interval}]"


by_name = {key: name for name, key in same.items()}
pairs = [
    (probes, text, (probes, "labels", "label agreement"), (probes, form, "cosine"))
    for probes in ("SAC-source", "SAC-w")
    for form, text in (
        ("labels", "equal labels – matrix of labels"),
        ("probabilities", "equal labels – matrix of probabilities"),
    )
]
pairs += [
    (probes, "logits: RMS – mean", (probes, "logits", "cosine RMS"), (probes, "logits", "cosine"))
    for probes in ("SAC-source", "SAC-w")
]
groups = {lineage.LABELS[step]: [step] for step in summaries.SAME_CLASSES} | {"together": summaries.SAME_CLASSES}
rows, tally, each_rms = [], [], []
for probes, text, first, second in pairs:
    found = {label: paired(by_name[first], by_name[second], attacks) for label, attacks in groups.items()}
    rows.append({"probes": probes, "difference of AUC": text} | {label: shown(row) for label, row in found.items()})
    tally.append((text, found.pop("together")))
    if text.startswith("logits"):
        each_rms += [(probes, label, row) for label, row in found.items()]
matrix = [row["verdict"] for text, row in tally if text.startswith("equal")]
rms = [row["verdict"] for text, row in tally if text.startswith("logits")]
glue("matrix_better", str(matrix.count("worse")), display=False)
glue("count_better", str(matrix.count("better")), display=False)
glue("matrix_open", str(matrix.count("no difference shown")), display=False)
glue("n_matrix", str(len(matrix)), display=False)
glue("rms_differs", f"{len(rms) - rms.count('no difference shown')} of {len(rms)}", display=False)
glue("rms_largest", f"{max(abs(row['difference']) for text, row in tally if text.startswith('logits')):.2f}", display=False)
single = [(abs(row["difference"]), f"{attack}, {probes}") for probes, attack, row in each_rms]
glue("rms_single", "{:.2f} ({})".format(*max(single)), display=False)
plots.table(pd.DataFrame(rows))

# %% [markdown]
# "[–]": no interval, because every pair of models counts alike for both measures, so that no resample can differ, or because a group has
# fewer than three models. Of the {glue:text}`n_matrix` comparisons over all attacks *together*, equal labels are better in
# {glue:text}`count_better`, the matrix in {glue:text}`matrix_better`, and {glue:text}`matrix_open` show no difference. Root mean square or
# mean, over all attacks together: a difference is shown in {glue:text}`rms_differs`, the largest is {glue:text}`rms_largest`; on a single attack it is
# {glue:text}`rms_single`.
#
# What can the matrix know that the labels do not? From *labels* it knows less: which pairs of probes get equal labels, whatever these are
# called. That is what lets SAC judge a model with new classes, and information thrown away where the classes are the same. From
# *probabilities* it knows how sure the model is, and between which classes it wavers.

# %% [markdown]
# ## The verdict on the claim
#
# AKH against every other fingerprint, over the six attacks together. *AKH minus the method* is the paired difference with its interval;
# *possible* is the largest difference, either way, that the two AUCs' own intervals leave open {cite:p}`newcombe1998difference`. The
# first is the sharper test for a difference, and with few models rather too sure of itself; the second is cautious about denying one.

# %% tags=["hide-input"]
rivals = akh[akh["verdict"] != "–"]
better, worse = (list(rivals.index[rivals["verdict"] == word]) for word in ("better", "worse"))
level = list(rivals.index[(rivals["possible"] <= margin) & ~rivals["verdict"].isin(["worse", "better"])])
parts = [summaries.against(run, distances[large], "AKH", [step]) for step in summaries.SAME_CLASSES]
single = pd.concat(parts)["verdict"].value_counts()
rows = akh.drop(index="AKH")
verdicts = pd.DataFrame(
    {
        "method": rows.index,
        "AUC": rows["auc"].map(str),
        "AKH minus the method": [shown(row) if row["verdict"] != "–" else "another source" for _, row in rows.iterrows()],
        "possible": rows["possible"],
        "AKH is": rows["verdict"],
    }
)
glue("akh_auc", str(akh.loc["AKH", "auc"]), display=False)
glue("verdict", "is contradicted in this build" if worse else "is not contradicted in this build", display=False)
glue("worse", listed(worse), display=False)
glue("better", listed(better), display=False)
glue("n_rivals", str(len(rivals)), display=False)
glue("n_open", str(len(rivals) - len(better) - len(worse)), display=False)
glue("n_level", str(len(level)), display=False)
glue("by_chance", f"{0.05 * len(rivals):.1f}", display=False)
glue("possible_least", f"{rivals['possible'].min():.2f}", display=False)
glue("possible_most", f"{rivals['possible'].max():.2f}", display=False)
glue("single_worse", str(int(single.get("worse", 0))), display=False)
glue("single_better", str(int(single.get("better", 0))), display=False)
glue("n_single", str(int(single.drop("–").sum())), display=False)
plots.table(verdicts, {"possible": "±{:.2f}"})

# %% [markdown]
# How often each verdict falls, here and in the two other comparisons:

# %% tags=["hide-input"]
words = ["better", "worse", "no difference shown"]
rows = pd.DataFrame(
    {name: frame["verdict"].value_counts().reindex(words, fill_value=0) for name, frame in comparisons.items()}
).T
robust = [name for name in comparisons if not rows.loc[name, "worse"]]
glue("robust", listed(robust), display=False)
plots.table(
    rows.rename(columns="AKH {}".format)
    .rename(columns={"AKH no difference shown": words[-1]})
    .rename_axis("comparison")
    .reset_index()
)

# %% [markdown]
# AKH has {glue:text}`akh_auc`. The claim **{glue:text}`verdict`**. Better than AKH beyond its interval: {glue:text}`worse`. Worse than
# AKH: {glue:text}`better`. For the other {glue:text}`n_open` of {glue:text}`n_rivals` no difference is shown; among so many comparisons
# at 95 %, chance alone would show {glue:text}`by_chance` or so. Comparisons in which nothing is shown to be better than AKH:
# {glue:text}`robust`.
#
# **What stays open.** Not contradicted is not confirmed. Level with AKH within {glue:text}`margin`, by the cautious interval, are
# {glue:text}`n_level` of {glue:text}`n_rivals`; between {glue:text}`possible_least` and {glue:text}`possible_most` remains possible. A
# zoo of this size can show large differences, and can hardly show that there is none. Attack by attack, AKH is better in
# {glue:text}`single_better` and worse in {glue:text}`single_worse` of {glue:text}`n_single` comparisons.
#
# AKH cannot judge models with new labels at all. Where it can, it needs the true labels of its images and the source's answers, and of
# the suspect labels only; no gradient, no other model. (QuRD also reports the TPR at 5 % FPR; the file `auc.csv` of {doc}`11_results` has
# it for every row.)

# %% [markdown]
# ## Beside the published numbers
#
# CIFAR-10, models released with SAC, as printed by ModelGiF {cite:p}`song2023modelgif`, without intervals, beside ours (SAC: SAC-w on
# probabilities). It is another zoo: compare which attacks are hard, not values. ({doc}`11_results` has more on SAC.)

# %% tags=["hide-input"]
published = pd.read_csv(ROOT / "results" / "published_auc.csv")
cifar = published[published["zoo"].str.startswith("CIFAR-10")]
theirs = cifar.pivot(index="attack", columns="method", values="auc")
ours = summaries.method_wide(cells).set_index("method").T
here = main.pivot(index="attack", columns="method", values="auc")
compared = {"IPGuard": "IPGuard", "CAE": "CAE", "EWE": "EWE", "SAC": "SAC-w"}
rows = pd.DataFrame({"attack": [lineage.LABELS[step] for step in lineage.ATTACKS]})
hardest = []
for method, mine in compared.items():
    rows[f"{method}, published"] = [
        f"{value:.2f}" if np.isfinite(value) else "–" for value in theirs[method].reindex(rows["attack"])
    ]
    rows[f"{method}, ours"] = ours[mine].reindex(rows["attack"]).fillna("–").to_numpy() if mine in ours else "–"
    lowest = here[mine].dropna() if mine in here else pd.Series(dtype=float)
    names = [str(name) for name in lowest.index[lowest == lowest.min()]]
    hardest.append({"method": method, "published": theirs[method].idxmin()})
    hardest[-1]["ours"] = "all alike" if 1 < len(names) == len(lowest) else ", ".join(names) or "–"
plots.table(rows)

# %% [markdown]
# The attack with the lowest AUC, there and here:

# %% tags=["hide-input"]
plots.table(pd.DataFrame(hardest))

# %% [markdown]
# All of this is about one source. {doc}`14_what_reproduces` holds the same comparisons against several.
#
# ## What it means

# %% tags=["hide-input", "remove-output"]
six = main[main["attack"].isin([lineage.LABELS[step] for step in summaries.SAME_CLASSES])]
best = six.groupby("attack", observed=True)["auc"].transform("max")
reach = (six["high"] >= best).groupby(six["attack"], observed=True).sum()
glue("reach_least", f"{reach.min()} ({listed([str(name) for name in reach.index[reach == reach.min()]])})", display=False)
glue("reach_most", str(reach.max()), display=False)
wrong = six[six["high"] < 0.5]
glue("wrong", f"{len(wrong)} of {len(six)}", display=False)
glue("wrong_names", listed(sorted(set(wrong["method"]))), display=False)
one_form = pooled.loc[[name for name in pooled.index if name in costs.index], main_column]
means = one_form.groupby(costs["access"].reindex(one_form.index)).agg(["mean", "size"])
words = {"none": "nothing", "answers": "answers", "gradients": "gradients", "training": "training"}
texts = [f"{word} {means.loc[key, 'mean']:.2f} ({means.loc[key, 'size']})" for key, word in words.items() if key in means.index]
glue("by_access", ", ".join(texts), display=False)
by_access = means["mean"].reindex([key for key in words if key in means.index])
glue("access_verdict", "went with" if by_access.is_monotonic_increasing else "did not always go with", display=False)
once = run.zoo.record(run.zoo.source)["seconds"]
glue("dear_probes", listed(costs.index[costs["seconds_make"] > once]), display=False)
glue("dear_whole", listed(whole.index[whole > once]), display=False)

# %% [markdown]
# - **How crowded the top is.** On each attack, at least {glue:text}`reach_least` and up to {glue:text}`reach_most` of the
#   {glue:text}`n_methods` entries have an interval that reaches the best value. A ranking by the second decimal would be noise. Entries
#   whose whole interval lies below 0.50, that is the wrong way round: {glue:text}`wrong` (methods: {glue:text}`wrong_names`).
# - **More access {glue:text}`access_verdict` a higher AUC here.** Mean AUC over the six attacks together, by what making the probes needs
#   of the source, with the number of methods: {glue:text}`by_access` (SAC on probabilities). These are few methods and one zoo, so no
#   more than a description.
# - **Ask the simple question first.** A new fingerprint should be compared with AKH first, on the same models and with an interval for the
#   *difference*, and say what it can do that AKH cannot: new labels, no true labels, fewer queries.
# - **Cheap is relative.** Dearer than training the source once more are the probes of: {glue:text}`dear_probes`; with the models trained
#   before: {glue:text}`dear_whole`.
#
# ```{admonition} Not a contest of the originals
# :class: warning
# - These are re-implementations at the size of this zoo. CAE with {glue:text}`n_surrogates` and {glue:text}`n_references` models instead
#   of 18 and 18, and Zest with {glue:text}`masks` masks instead of 1,000, are weaker than their authors meant them. Even so, only Dataset
#   Inference asks more of a suspect than Zest does.
# - EWE is a watermark: it changes the source, protects a source of its own, and its suspects are others and fewer. Its trigger is
#   simplified. Its row is not paired with the rest.
# - Dataset Inference answers another question, and by that question the models on owner data are no false accusations. False positives of
#   its own kind are proven to exist {cite:p}`di_falsepositives2022`.
# - The published methods each come with a threshold. Here all are compared by AUC, which needs none and grants each its best one.
# - The thief on this page knows of no fingerprint. {cite:t}`falseclaims2024` and {cite:t}`removalnet2023` study owners and thieves who do
#   more.
# ```

# %% [markdown]
# ## On your own
#
# **1. A loss without its constant.** IPGuard stops when the source first predicts the target. When does $k$ in eq. {eq}`eq-ipguard`
# change anything?
#
# :::{dropdown} Solution
# While $z_j \le z_i$ the first term is at least $k \ge 0$, and its gradient is the same for every $k$. $k$ matters only when $z_j > z_i$
# and yet $j$ is not predicted, that is when a third class is on top: with a large $k$ the push from $i$ to $j$ then goes on, with $k = 0$
# only the second term acts. For a stop on crossing it is a detail; for a descent to the end it sets how far *beyond* the boundary the
# image comes to rest.
# :::
#
# **2. Ties.** Equal labels on $n$ probes give $n + 1$ possible distances. How many pairs of a stolen and an irrelevant model are tied
# under AKH, and what do ties do to the AUC?
#
# :::{dropdown} Solution
# ```python
# part = distances[large]
# part = part[part["method"] == "AKH"]
# stolen = part.loc[part["step"].isin(summaries.SAME_CLASSES), "distance"].to_numpy()
# irrelevant = part.loc[part["step"] == "irrelevant", "distance"].to_numpy()
# print((stolen[:, None] == irrelevant).mean())
# ```
# Each tie counts one half. With few probes a method on labels has many, and its AUC moves towards 0.50.
# :::
#
# **3. How few mistakes?** Compute the AUC of AKH on Extract-L for 5, 10, 20, ... probes. How many does a judge need?
#
# :::{dropdown} Solution
# ```python
# from sacutils import evaluation
#
# source = run.logits["source"][run.zoo.source].argmax(1)
# unequal = {name: (run.logits["source"][name].argmax(1) != source).double() for name in run.names("extract_label", "irrelevant")}
# for n in (5, 10, 20, 50, 100):
#     stolen, irrelevant = (
#         np.array([unequal[name][:n].mean().item() for name in run.names(step)]) for step in ("extract_label", "irrelevant")
#     )
#     print(n, evaluation.auc(stolen, irrelevant, run.profile.bootstrap, run.profile.seed))
# ```
# :::
#
# **4. Two judges.** Rank all suspects by AKH and by SAC-m, and add the ranks. Is the sum better than either? Why may you not choose the
# weights of the two ranks on these models?
#
# :::{dropdown} Solution
# ```python
# from sacutils import evaluation
# from scipy.stats import rankdata
#
# both = distances[large].pivot(index="model", columns="method", values="distance")[["AKH", "SAC-m"]].dropna()
# both["sum"] = rankdata(both["AKH"]) + rankdata(both["SAC-m"])
# stolen = both.loc[run.names(*summaries.SAME_CLASSES), "sum"].to_numpy()
# irrelevant = both.loc[run.names("irrelevant"), "sum"].to_numpy()
# print(evaluation.auc(stolen, irrelevant, run.profile.bootstrap, run.profile.seed))
# ```
# Weights chosen for the best AUC on these models would be judged by the models that chose them. Choose on the models on owner data and on
# another seed's stolen models, or do not choose.
# :::
#
# **5. A fairer CAE.** Give it more models: `make book PROFILE=fashion SET="zoo.references.vgg_bn_s=3 zoo.references.resnet_s=3"`. What
# changes in its row, and in its costs? What must you not do if it gets no better?
#
# :::{dropdown} What to look for
# Only the references and what depends on them are trained anew. If the AUC stays, you have learned that the number of references is not
# the bottleneck; to go on turning settings until it moves, on these models, would be tuning on the evaluation.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`godinot2025qurd` for the scheme of queries, representation and detection, and for many more combinations.
# - {cite:t}`cao2021ipguard`, {cite:t}`lukas2021cae`, {cite:t}`jia2021ewe`: the three that stand beside SAC in the published table.
# - {cite:t}`maini2021dataset` with {cite:t}`di_falsepositives2022`, for and against inferring from training data.
# - {cite:t}`newcombe1998difference` on intervals for a difference.

# %%
Markdown(provenance_line(run))
