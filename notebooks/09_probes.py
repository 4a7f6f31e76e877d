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
# ## The answer in short
#
# On average, independent models repeat the source's label on {glue:text}`agree_normal` of plain images and on {glue:text}`agree_w` of the images that the source and its
# surrogates get wrong (SAC-w). The share of the stolen models minus that of the independent ones is {glue:text}`gap_normal` on plain images and {glue:text}`gap_w` on SAC-w.
# This gap is widest on {glue:text}`widest`. The patch of SAC-m changes {glue:text}`flips_m` of the source's {glue:text}`n` answers.
#
# ```{admonition} What you will do
# :class: tip
# Build the five probe sets SAC-normal, SAC-source, SAC-w, SAC-m and SAC-JC, look at them, and watch how the source, its copies and independent models answer on each. **You
# learn** how each set is chosen and from which images; what SAC-w costs in candidates; what a CutMix patch does to an answer; and why an image that the source gets *wrong*
# can say more than one that it gets right. **You need** {doc}`08_sample_correlation`. The page shows all models of the zoo. It trains those that are missing.
# ```
#
# ## The claim under test
#
# - The abstract of the paper {cite:p}`guan2022sac` claims that **SAC-m needs neither surrogates nor adversarial examples** (read in the abstract).
# - SAC-w uses normal images that are misclassified, chosen with surrogates of the source, six in the released files (read in the code). **The rule of the choice is not
#   published**; ours, "the source and all surrogates are wrong", is a reading that nobody has confirmed. Another re-implementation {cite:p}`deepcore2024` demands that the
#   source and eight models derived from it are all wrong.
# - SAC-JC uses JPEG-compressed images {cite:p}`guan2024sacjc` (read in the code). That SAC-source means images that the source misclassifies is inferred from a file name.
#
# Behind all of them is one idea, which this page tests: **images near or beyond a decision boundary tell models apart better than plain ones.**
#
# ## Parameters
#
# `patch`, `position` and `count` belong to the CutMix images that are redrawn on this page. The probe sets of the run itself follow the profile. To change them there,
# override `probes.patch`, `probes.patch_position` or `probes.count`.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
patch = 0.2  # 0.05 to 0.95: side of the patch as a share of the image's
position = "corner"  # one of corner, centre, random: of the patch
count = 8  # 4 to 400: images that are redrawn

# %%
import pandas as pd
import torch
from IPython.display import Markdown

from sacutils import evaluation, figures, probes, steps, training
from sacutils.files import home
from sacutils.probes import PROBE_SETS
from sacutils.run import open_run, provenance_line
from sacutils.studies import tables

run = open_run(profile, overrides)
figures.use_style()
run.announce()
split, classes = run.material.splits["probe"], run.material.class_names
truth, source, settings = split.labels.cpu(), run.zoo.source, run.profile.probes

# %% tags=["remove-cell"]
severity = settings.jpeg_severity
figures.say(severity=severity, quality=probes.JPEG_QUALITY[severity - 1], n=settings.count)
figures.say(side=f"{settings.patch:g}", position=settings.patch_position, pool=f"{len(truth):,}")

# %% [markdown]
# ## Five sets
#
# All probes come from the *probe* split ({glue:text}`pool` images here), on which nothing is trained and no accuracy is reported. The released code takes test images, on
# whose accuracy its checkpoints had been selected too. Each set has {glue:text}`n` images.
#
# | set | how it is chosen | needs |
# |---|---|---|
# | SAC-normal | the first images of the split, which is in random order | images |
# | SAC-source | the first images that the source misclassifies | + true labels, the source |
# | SAC-w | the first images that the source *and all its surrogates* misclassify | + surrogates |
# | SAC-m | the first images, each with one patch (side ratio {glue:text}`side`, {glue:text}`position`) of another; the same box for all, donors by a random permutation | images |
# | SAC-JC | the first images, JPEG-compressed at severity {glue:text}`severity` (quality {glue:text}`quality`) | images |

# %% tags=["hide-input", "remove-output"]
samples, titles = {}, {}
for name, label in PROBE_SETS.items():
    samples[label] = run.probes[name].pixels[:8]
    named = zip(truth[run.probes[name].index], run.logits[name][source].argmax(1), strict=True)
    pairs = [(classes[i], "" if i == j else f"\n→ {classes[j]}") for i, j in named]
    titles[label] = ["".join(pair) for pair in pairs[:8]]
figures.show("probes_samples", figures.images(samples, titles))

# %% [markdown]
# :::{glue:figure} probes_samples
# :name: fig-probes-samples
# :alt: The source contradicts the true class on every image of SAC-source and SAC-w; on the other sets it does so only where it errs.
#
# The first images of each set. Above each: the true class (for SAC-m that of the background) and, after the arrow, what the source says where it disagrees.
# :::
#
# ## How many candidates SAC-w needs
#
# A {term}`surrogate` is a model that the owner derives from the source, as a thief would: here a student trained on the source's labels for owner data. An image on which
# source and surrogates all err is a candidate for a mistake that *copies share*. Each further surrogate can only remove candidates.

# %%
remaining = torch.ones(len(truth), dtype=torch.bool)
rows = [("in the probe split", len(remaining))]
for name in [source, *run.names("surrogate")]:
    remaining &= training.logits_of(run.zoo.get(name), split.pixels).argmax(1) != truth
    spec = run.zoo.specs[name]
    label = f"and {spec.architecture} #{spec.index} wrong" if spec.parent else "source wrong"
    rows.append((label, int(remaining.sum())))
rows.append(("taken: the first of them", len(run.probes["w"].index)))
left = pd.DataFrame(rows, columns=["condition", "images"])

# %% tags=["hide-input", "remove-output"]
wrong, surrogates = left["images"].map("{:,}".format).tolist(), len(run.names("surrogate"))
figures.say(source_wrong=wrong[1], all_wrong=wrong[-2], surrogates=surrogates)
figure = figures.bars(left, "images", "condition", label="images (logarithmic scale)", log=True)
figures.show("probes_funnel", figure)

# %% [markdown]
# :::{glue:figure} probes_funnel
# :name: fig-probes-funnel
# :alt: No further surrogate can add images, so the bars get shorter downwards; the last but one is what SAC-w can choose from.
#
# Images left after each condition. Of {glue:text}`pool`, the source gets {glue:text}`source_wrong` wrong; {glue:text}`all_wrong` of these are wrong for all
# {glue:text}`surrogates` surrogates too; the first {glue:text}`n` of them are the set.
# :::
#
# A more accurate source leaves fewer mistakes, so SAC-w has to be offered more images. If there are too few, the run stops and says so.
#
# **Which images were taken** is written to disk as numbers within the data set, beside the pixels, so that anyone can repeat the test with the same images. The complete lists
# lie in the folder {glue:text}`record`. The first ten of each set:

# %% tags=["hide-input"]
figures.say(record=(run.folder / "probes").relative_to(home()).as_posix())
taken = {label: run.probes[name].index[:10] for name, label in PROBE_SETS.items()}
numbers = {label: run.material.index["probe"][index].tolist() for label, index in taken.items()}
rows = [(label, ", ".join(map(str, images))) for label, images in numbers.items()]
figures.table(pd.DataFrame(rows, columns=["set", "number in the data set"]))

# %% [markdown]
# ## The CutMix patch, redrawn
#
# In the released code (read) the patch is 6 of 32 pixels wide, its centre lies in a corner sixth of the image, the box is the same for all images, and the label is kept,
# although it plays no part in SAC. Here it is drawn again with the parameters of this page.

# %%
plain = probes.normal(split, count)
mixed = probes.cutmix(split, count, patch, position, run.profile.seed)
changed = (mixed.pixels != plain.pixels).float().mean().item()
model = run.zoo.get(source)
before, after = (training.logits_of(model, p.pixels).softmax(1) for p in (plain, mixed))
flipped = int((before.argmax(1) != after.argmax(1)).sum())

# %% tags=["hide-input", "remove-output"]
kept = run.logits["normal"][source].argmax(1) == run.logits["m"][source].argmax(1)
figures.say(flips_m=int((~kept).sum()), flipped=flipped, redrawn=count, changed=f"{changed:.1%}")
confidence = [f"{shares.max(1).values.mean():.2f}" for shares in (before, after)]
figures.say(confidence_plain=confidence[0], confidence_mixed=confidence[1])
answers = {
    key: [f"{classes[k]}\n{value:.2f}" for value, k in zip(*shares[:8].max(1), strict=True)]
    for key, shares in (("plain", before), ("mixed", after))
}
pixels = {"plain": plain.pixels[:8], "mixed": mixed.pixels[:8]}
figures.show("probes_cutmix", figures.images(pixels, answers))

# %% [markdown]
# :::{glue:figure} probes_cutmix
# :name: fig-probes-cutmix
# :alt: Where the patch covers background only, the source's answer below is that above; it changes where the patch hides or adds something that matters to the source.
#
# Plain images and the same with a patch of another. Above each: what the source says, and with which probability. Over all {glue:text}`redrawn` redrawn images
# {glue:text}`changed` of the pixels differ, {glue:text}`flipped` answers change, and the mean confidence goes from {glue:text}`confidence_plain` to
# {glue:text}`confidence_mixed`.
# :::
#
# Around the clothes of the default profile the background is black, so a patch in the corner replaces background by background. Where a patch changes almost no answer, a
# result of SAC-m says nothing about CutMix. Exercise 1 takes a patch that does change answers.
#
# ## How the models answer
#
# Three numbers describe each set and each model with the source's classes: {term}`accuracy` (against the true label), confidence (mean largest probability), and agreement
# (share of probes on which it repeats the source's label, right or wrong).

# %%
compared = [*steps.SAME_CLASSES, *steps.INDEPENDENT]
rows = []
for name, label in PROBE_SETS.items():
    right = truth[run.probes[name].index]
    theirs = run.logits[name][source].argmax(1)
    for model in run.names("source", "surrogate", *compared):
        confidence, predicted = run.outputs(name, model).max(1)
        row = {"probes": label, "model": model, "step": run.zoo.specs[model].step}
        row |= {"accuracy": (predicted == right).double().mean().item()}
        row |= {"confidence": confidence.mean().item()}
        rows.append(row | {"agreement": (predicted == theirs).double().mean().item()})
answers = pd.DataFrame(rows)
answers["group"] = answers["step"].map(steps.LABELS)

# %% tags=["hide-input"]
order = ["source", "surrogate", "finetune_all", "prune", *steps.EXTRACTION[:2], *steps.INDEPENDENT]
part = answers[answers["step"].isin(order)]
mean = part.groupby(["group", "probes"], sort=False)[["accuracy", "confidence", "agreement"]].mean()
mean["text"] = [" / ".join(f"{100 * share:.0f}" for share in row) for row in mean.to_numpy()]
figures.table(tables.wide(mean.reset_index(), "group", "probes"))

# %% [markdown]
# Read each cell as *accuracy / confidence / agreement* in per cent, averaged over the models of the group. The source's accuracy on SAC-source and SAC-w is zero **by
# construction**, and so is that of the surrogates on SAC-w: these are choices, not findings. The findings are in the other rows, above all in the last number.

# %% tags=["hide-input", "remove-output"]
drawn = answers[answers["step"].isin(compared)]
drawn = drawn.assign(role=drawn["step"].where(drawn["step"].isin(steps.INDEPENDENT), "stolen"))
named = {"role": "role", "label": "agreement with the source", "counts": False, "limits": (0, 1)}
figures.show("probes_agreement", figures.strips(drawn, "agreement", "probes", **named))
rows = []
for label, part in drawn.groupby("probes", sort=False):
    is_stolen, shares = part["role"] == "stolen", part["agreement"]
    stolen, independent = shares[is_stolen].to_numpy(), shares[~is_stolen].to_numpy()
    difference, low, high = evaluation.mean_difference(stolen, independent)
    text = f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"
    rows.append((label, stolen.mean(), independent.mean(), difference, text))
columns = ["probes", "stolen", "independent", "gap", "stolen minus independent"]
gap = pd.DataFrame(rows, columns=columns)
of_set = gap.set_index("probes")
for name in ("normal", "w"):
    *_, share, _, text = of_set.loc[PROBE_SETS[name]]
    figures.say(**{f"gap_{name}": text, f"agree_{name}": f"{share:.0%}"})
wider = of_set["gap"]["SAC-w"] > of_set["gap"]["SAC-normal"]
figures.say(widest=of_set["gap"].idxmax(), gap_verdict="wider" if wider else "no wider")

# %% [markdown]
# :::{glue:figure} probes_agreement
# :name: fig-probes-agreement
# :alt: The further the dots of stolen models lie right of those of independent models, the better does the set tell the two groups apart by agreement alone.
#
# Agreement with the source. A dot is a model. Independent models repeat the source on {glue:text}`agree_normal` of the plain images and on {glue:text}`agree_w` of the SAC-w
# images.
# :::
#
# ## Why wrong images tell more
#
# Let $a_S$ and $a_T$ be the accuracies of source and suspect on a probe set. Wherever both are right they agree, whoever trained them. So
#
# $$
# \Pr(\text{agreement}) \;\ge\; a_S + a_T - 1 .
# $$ (eq-forced-agreement)
#
# On plain images, where $a_S$ and $a_T$ are high, there is little room for anything but agreement: the truth itself makes models alike. A correlation matrix of right answers
# is, roughly, the matrix of the *true* classes, whoever computed it.
#
# On images that the source gets wrong the bound says nothing ($a_S = 0$), and the truth pulls the other way: an independent model that is right *disagrees*. It agrees only
# where it makes the same one of $K - 1$ possible mistakes. A copy was trained to repeat the source's answers, mistakes included, or began with its weights. Two things weaken
# this argument. Some mistakes are made by every network, for example on an image with a wrong label. Demanding that *surrogates* err as well (SAC-w) keeps what copies share,
# but does nothing against what everyone shares. And a copy that learned little repeats little. The mean agreement of stolen and of independent models in this build, and their
# difference with Welch's 95 % interval over models:

# %%
figures.table(gap.drop(columns="gap"), dict.fromkeys(columns[1:3], "{:.2f}"))

# %% [markdown]
# ## Result
#
# Here the gap on SAC-w ({glue:text}`gap_w`) is **{glue:text}`gap_verdict`** than on SAC-normal ({glue:text}`gap_normal`). The widest is on {glue:text}`widest`. For the two
# extraction attacks, the table shows what the test makes of it: the {term}`AUC` of the correlation distance (probabilities, cosine) with its 95 % interval.

# %% tags=["hide-input", "remove-output"]
both = [steps.LABELS[attack] for attack in steps.EXTRACTION[:2]]
fixed = {"form": "probabilities", "measure": "cosine", "n_probes": settings.count}
auc = tables.select(tables.auc(run), attack=both, negatives=steps.MAIN_NEGATIVES, **fixed)
cell = {(row["attack"], row["probes"]): row for _, row in auc.iterrows()}
ends = [(cell[attack, "SAC-normal"], cell[attack, "SAC-w"]) for attack in both]
overlap = sum(a["low"] <= b["high"] and b["low"] <= a["high"] for a, b in ends)
models = [f"{b['n_stolen']} / {b['n_independent']}" for _, b in ends]
figures.say(overlap=overlap, attacks=len(both), models=" and ".join(models))
named = {"hue": "probes", "label": "AUC with 95 % interval", "limits": (0, 1), "guess": 0.5}
figures.show("probes_auc", figures.points(auc, "auc", "attack", **named))

# %% tags=["hide-input"]
figures.table(tables.wide(auc, "probes", "attack"))

# %% [markdown]
# :::{glue:figure} probes_auc
# :name: fig-probes-auc
# :alt: Where the intervals of two probe sets overlap, this zoo shows no difference between them; an interval left of the grey line means that independent models are nearer.
#
# AUC of the two extraction attacks by probe set (stolen / independent models on attacker data: {glue:text}`models`).
# :::
#
# ## What it means
#
# - The intervals of SAC-normal and SAC-w overlap on {glue:text}`overlap` of {glue:text}`attacks` attacks. With so few models, small differences between sets are not findings.
#   Where an AUC lies well below 0.50, the independent models are the nearer ones.
# - SAC-m needs neither surrogates nor adversarial examples, as claimed. Its AUCs stand beside those of SAC-w in the table above. Its patch changes {glue:text}`flips_m` of
#   {glue:text}`n` answers of the source. Where that is next to none, SAC-m is hardly another set than SAC-normal, and its AUCs are no evidence about CutMix in either
#   direction.
# - None of these sets was chosen by looking at the AUC. Whoever tries fourteen corruptions and reports the best one on the same models reports too much: the choice must be
#   made on other models.

# %% [markdown]
# ## On your own
#
# **1. Another patch.** Run `make notebook NAME=09_probes ARGS="-p position centre -p patch 0.5 -p count 100"` and compare the caption of {numref}`fig-probes-cutmix`. Then
# override the profile, so that the AUC of SAC-m follows: `make notebook NAME=09_probes ARGS="-p probes.patch 0.5 -p probes.patch_position centre"`.
#
# :::{dropdown} What to look for
# Count the answers that change. A patch that changes none leaves SAC-m equal to SAC-normal; one that covers the object makes the donor's class win, and then the images are
# plain again, with other labels. In between, source and independent models resolve the conflict differently.
# :::
#
# **2. Agreement by chance.** An independent model is right with probability $a$ on the source's mistakes, and otherwise picks one of the $K - 1$ wrong classes evenly. How
# often does it agree with the source? What if its mistakes go to the source's class with probability $s$?
#
# :::{dropdown} Solution
# It agrees with probability $(1 - a)/(K - 1)$ in the first case and $(1 - a)\,s$ in the second. Put in the independent models' accuracy and agreement on SAC-source from the
# table above and solve for $s$: it is more than $1/(K-1)$ if networks share their mistakes.
# :::
#
# **3. A softer selector.** Take images that the source and *at least half* of the surrogates misclassify. How many candidates are there?
#
# :::{dropdown} Solution
# ```python
# names = [source, *run.names("surrogate")]
# errs = torch.stack(
#     [training.logits_of(run.zoo.get(name), split.pixels).argmax(1) != truth for name in names]
# )
# chosen = (errs[0] & (errs[1:].double().mean(0) >= 0.5)).nonzero().squeeze(1)
# print(len(chosen), "candidates")
# ```
# Ask all models about the first of them with `training.logits_of`, and take the distances as in {doc}`08_sample_correlation`.
# :::
#
# **4. What not to do.** You compute the AUC of all five sets on all attacks, keep the best set, and report its AUC with its interval. What is wrong with the interval?
#
# :::{dropdown} Solution
# It covers the chance in which models were drawn for one set that was fixed beforehand. The maximum of five is biased upwards, and the interval does not know of the other
# four. Choose on calibration models, report on others.
# :::
#
# ## Further reading
#
# - {cite:t}`yun2019cutmix` for CutMix as an augmentation; {cite:t}`hendrycks2019corruptions` for the corruptions of which JPEG is one.
# - {cite:t}`godinot2025qurd`, whose AKH baseline asks for the source's mistakes only, and is hard to beat.
# - {cite:t}`cao2021ipguard` and {cite:t}`lukas2021cae`: probes that are *moved* to the boundary instead of found there.

# %%
Markdown(provenance_line(run))
