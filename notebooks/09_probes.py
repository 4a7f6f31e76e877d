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
# The patch of SAC-m changes {glue:text}`flips_m` of the source's {glue:text}`n` answers, one of half the side {glue:text}`flips_wide`. Probes that surrogates answer as the source does
# and choosers do not (*contrast*) tell Extract-L students from students of *another* owner with an AUC of {glue:text}`auc_contrast_pool` by label agreement. The {term}`placebo`, the
# same choice by models that never saw the source, reaches {glue:text}`auc_placebo_pool`: here the choice gains **{glue:text}`placebo_verdict`** than its placebo.
#
# ```{admonition} What you will do
# :class: tip
# Build the probe sets, look at them, and watch how the source, its copies and independent models answer on each. **You learn** how each set is chosen and from which images; why
# an image that the source gets *wrong* can say more than one that it gets right; and why a choice made with the source needs a placebo beside it. **You need**
# {doc}`08_sample_correlation`. The page shows all models of the zoo. It trains those that are missing.
# ```
#
# ## The claim under test
#
# - The abstract of the paper {cite:p}`guan2022sac` claims that **SAC-m needs neither surrogates nor adversarial examples** (read in the abstract).
# - SAC-w uses normal images that are misclassified, chosen with surrogates of the source, six in the released files (read in the code). **The rule of the choice is not
#   published.** We offer two readings, and nobody has confirmed either. *All wrong*: the source and all surrogates are wrong, as another re-implementation {cite:p}`deepcore2024`
#   demands of the source and eight models derived from it. *Contrast*: copies repeat the source, other models do not.
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
from sacutils.probes import PLACEBOS, PROBE_SETS, PUBLISHED
from sacutils.run import judges, open_run, provenance_line
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
# ## The sets
#
# All probes come from the *probe* split ({glue:text}`pool` images here), on which nothing is trained and no accuracy is reported. The released code takes test images, on
# whose accuracy its checkpoints had been selected too. Each set has {glue:text}`n` images. The first five are SAC's, the others this book's.
#
# | set | how it is chosen | needs |
# |---|---|---|
# | SAC-normal | the first images of the split, which is in random order | images |
# | SAC-source | the first images that the source misclassifies | + true labels, the source |
# | SAC-w | the first images that the source *and all its surrogates* misclassify | + surrogates |
# | SAC-m | the first images, each with one patch (side ratio {glue:text}`side`, {glue:text}`position`) of another; the same box for all, donors by a random permutation | images |
# | SAC-JC | the first images, JPEG-compressed at severity {glue:text}`severity` (quality {glue:text}`quality`) | images |
# | SAC-m (wide) | as SAC-m, with a patch of half the side in the middle | images |
# | SAC-w (contrast) | the images on which surrogates repeat the source and {term}`choosers <chooser>` do not | source, surrogates, choosers |
# | Contrast (pool) | the same from a pool: each image as it is, shifted and flipped, half replaced by another, and blended with it | the same |
# | Placebo, Placebo (pool) | the choices of the last two by models that never saw the source | students of another owner, choosers |

# %% tags=["hide-input", "remove-output"]
samples, titles = {}, {}
for name, label in PROBE_SETS.items():
    if name in PLACEBOS:
        continue
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
# The first images of each set. Above each: the true class (that of the background or left half where two images are mixed) and, after the arrow, what the source says where it
# disagrees. Which images were taken is written to `probes/` in the folder of the run, as numbers within the data set.
# :::
#
# ## How many candidates SAC-w needs
#
# A {term}`surrogate` is a model that the owner derives from the source, as a thief would: here students of its labels and of its probabilities, on images that the
# owner kept in reserve. An image on which
# source and surrogates all err is a candidate for a mistake that *copies share*. Each further surrogate can only remove candidates.

# %%
remaining = torch.ones(len(truth), dtype=torch.bool)
rows = [("in the probe split", len(remaining))]
for name in [source, *run.names(*steps.SURROGATES)]:
    remaining &= training.logits_of(run.zoo.get(name), split.pixels).argmax(1) != truth
    spec = run.zoo.specs[name]
    kind = f"{steps.LABELS[spec.step]}, {spec.architecture} #{spec.index}"
    label = f"and {kind} wrong" if spec.parent else "source wrong"
    rows.append((label, int(remaining.sum())))
rows.append(("taken: the first of them", len(run.probes["w"].index)))
left = pd.DataFrame(rows, columns=["condition", "images"])

# %% tags=["hide-input", "remove-output"]
wrong, surrogates = left["images"].map("{:,}".format).tolist(), len(left) - 3
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
# ## The CutMix patch, redrawn
#
# In the released code (read) the patch is 6 of 32 pixels wide, its centre lies in a corner sixth of the image, the box is the same for all images, and the label is kept,
# although it plays no part in SAC. Here it is drawn again with the parameters of this page.

# %%
plain = probes.normal(split, count)
mixed = probes.cutmix(split, count, patch, position, run.profile.seed)
changed = (mixed.pixels != plain.pixels).float().mean().item()
shown = (training.logits_of(run.zoo.get(source), p.pixels) for p in (plain, mixed))
before, after = (logits.softmax(1) for logits in shown)
flipped = int((before.argmax(1) != after.argmax(1)).sum())

# %% tags=["hide-input", "remove-output"]
labels = {name: run.logits[name][source].argmax(1) for name in ("normal", "m", "wide")}
flips = {name: int((labels[name] != labels["normal"]).sum()) for name in ("m", "wide")}
figures.say(**{f"flips_{name}": number for name, number in flips.items()})
figures.say(flipped=flipped, redrawn=count, changed=f"{changed:.1%}")
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
# {glue:text}`changed` of the pixels differ and {glue:text}`flipped` answers change.
# :::
#
# Around the clothes of the default profile the background is black, so a patch in the corner replaces background by background. Where a patch changes almost no answer, a
# result of SAC-m says nothing about CutMix. Hence the set with the wide patch, which changes {glue:text}`flips_wide` of {glue:text}`n` answers.
#
# ## How the models answer
#
# Three numbers describe each set and each model with the source's classes: {term}`accuracy` (against the true label), confidence (mean largest probability), and agreement
# (share of probes on which it repeats the source's label, right or wrong).

# %%
compared = [*steps.SAME_CLASSES, *steps.INDEPENDENT]
rows = []
for name, label in PUBLISHED.items():
    right = truth[run.probes[name].index]
    theirs = run.logits[name][source].argmax(1)
    for model in run.names("source", *steps.SURROGATES, *compared):
        confidence, predicted = run.outputs(name, model).max(1)
        row = {"probes": label, "model": model, "step": run.zoo.specs[model].step}
        row |= {
            "accuracy": (predicted == right).double().mean().item(),
            "confidence": confidence.mean().item(),
        }
        rows.append(row | {"agreement": (predicted == theirs).double().mean().item()})
answers = pd.DataFrame(rows).assign(group=lambda part: part["step"].map(steps.LABELS))

# %% tags=["hide-input"]
order = ["source", *steps.SURROGATES, "finetune_all", "prune", *steps.EXTRACTION[:2]]
part = answers[answers["step"].isin([*order, *steps.INDEPENDENT])]
mean = part.groupby(["group", "probes"], sort=False)[["accuracy", "confidence", "agreement"]].mean()
mean["text"] = [" / ".join(f"{100 * share:.0f}" for share in row) for row in mean.to_numpy()]
figures.table(
    tables.wide(mean.reset_index(), "group", "probes"),
    caption="Accuracy / confidence / agreement with the source, in percent, on each set of probes",
)

# %% [markdown]
# Read each cell as *accuracy / confidence / agreement* in per cent, averaged over the models of the group. The source's accuracy on SAC-source and SAC-w is zero **by
# construction**, and so is that of the surrogates on SAC-w: these are choices, not findings. The findings are in the other rows, above all in the last number.

# %% tags=["hide-input", "remove-output"]
drawn = answers[answers["step"].isin(compared)]
rows = []
for label, part in drawn.groupby("probes", sort=False):
    is_stolen, shares = part["step"].isin(steps.SAME_CLASSES), part["agreement"]
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
# ## Why wrong images tell more
#
# Let $a_S$ and $a_T$ be the accuracies of source and suspect on a probe set. Wherever both are right they agree, whoever trained them. So
#
# $$
# \Pr(\text{agreement}) \;\ge\; a_S + a_T - 1 .
# $$ (eq-forced-agreement)
#
# On plain images, where $a_S$ and $a_T$ are high, there is little room for anything but agreement: the truth itself makes models alike. A correlation matrix of right answers is, roughly, the matrix of the *true* classes, whoever computed it.
#
# On images that the source gets wrong the bound says nothing ($a_S = 0$), and the truth pulls the other way: an independent model that is right *disagrees*. It agrees only
# where it makes the same one of $K - 1$ possible mistakes. A copy was trained to repeat the source's answers, mistakes included, or began with its weights. Two things weaken this argument. Some mistakes are made by every network, for example on an image with a wrong label. Demanding that *surrogates* err as well (SAC-w) keeps what copies share,
# but does nothing against what everyone shares. And a copy that learned little repeats little. The mean agreement of stolen and of independent models in this build, and their difference with Welch's 95 % interval over models:

# %%
figures.table(
    gap.drop(columns="gap"),
    dict.fromkeys(columns[1:3], "{:.2f}"),
    caption="Agreement with the source: stolen and independent models, and their difference",
)

# %% [markdown]
# Here the gap on SAC-w ({glue:text}`gap_w`) is **{glue:text}`gap_verdict`** than on SAC-normal ({glue:text}`gap_normal`). The widest is on {glue:text}`widest`.
#
# ## The other reading: contrast
#
# Which images do copies repeat and other models not? For each candidate $x$ with the source's label $y$, take the probability of $y$ under the surrogates (mean $\bar p_C$, variance
# $v_C$) and under the choosers ($\bar p_O$, $v_O$), who know the owner's data in two styles of training, and not the source. The {glue:text}`n` candidates with the highest
#
# $$
# s(x) = \frac{\bar p_C - \bar p_O}{\sqrt{v_C + v_O + 0.02}}
# $$ (eq-contrast)
#
# are the probes. None of the models that choose is ever evaluated.

# %%
asked = judges(run, "contrast")
own = training.logits_of(run.zoo.get(source), split.pixels).argmax(1)
means, spread = [], 0.02
for names in (asked.copies, asked.others):
    z = torch.stack([training.logits_of(run.zoo.get(name), split.pixels) for name in names])
    repeat = z.double().softmax(2)[:, torch.arange(len(own)), own]  # (models, images)
    means.append(repeat.mean(0))
    spread = spread + repeat.var(0, correction=0)
score = (means[0] - means[1]) / spread.sqrt()
best = score.argsort(descending=True, stable=True)[: settings.count]
assert torch.equal(best, run.probes["contrast"].index)

# %% [markdown]
# Such probes may find copies of *this source*, or only models that were *trained as copies are*. A **placebo** tells the two apart: a sibling of the source stands in for it, and students of that sibling for the surrogates. Whatever these probes gain, they gain without having seen the source.
#
# ## Result
#
# AUC of the Extract-L students against three groups of independent models. The last group, **students of another owner**, was made as the stolen models were.

# %% tags=["hide-input", "remove-output"]
groups = [steps.MAIN_NEGATIVES, "owner data", "students of another"]
all_auc = tables.select(tables.auc(run), attack=steps.LABELS["extract_label"], negatives=groups)
keys = {"probabilities (matrix)": ("probabilities", "cosine")}
keys |= {"label agreement": ("labels", "label agreement")}
parts = []
for shown, (form, measure) in keys.items():
    part = tables.select(all_auc, form=form, measure=measure, n_probes=settings.count)
    parts.append(part.assign(compared=shown))
auc = pd.concat(parts)
look = {"hue": "negatives", "facet": "compared", "label": "AUC with 95 % interval"}
figures.show("probes_auc", figures.points(auc, "auc", "probes", limits=(0, 1), guess=0.5, **look))
agreement = tables.select(auc, compared="label agreement", negatives="students of another")
value = {row["probes"]: row for _, row in agreement.iterrows()}
for name in ("w", "contrast", "contrast_pool", "placebo", "placebo_pool"):
    figures.say(**{f"auc_{name}": tables.text(value[PROBE_SETS[name]])})
for pool, word in (("", "placebo_plain"), ("_pool", "placebo_verdict")):
    one, other = (value[PROBE_SETS[f"{kind}{pool}"]]["auc"] for kind in ("contrast", "placebo"))
    figures.say(**{word: "more" if one > other else "no more"})
figures.say(models=f"{agreement['n_stolen'].max()} / {agreement['n_independent'].max()}")

# %% [markdown]
# :::{glue:figure} probes_auc
# :name: fig-probes-auc
# :alt: Where the point of a contrast set lies no further right than that of its placebo, its choice says nothing about the source; left of the grey line the independent models are nearer.
#
# AUC of Extract-L by probe set. **Varied:** probes, independent models, what is compared. **Fixed:** {glue:text}`n` probes, stolen models. Against students of another there are {glue:text}`models` models.
# :::
#
# By label agreement and against students of another, SAC-w reads *all wrong* at {glue:text}`auc_w` and *contrast* at {glue:text}`auc_contrast`, whose placebo has {glue:text}`auc_placebo`: **{glue:text}`placebo_plain`** than the placebo. From the pool it is {glue:text}`auc_contrast_pool`, and the placebo {glue:text}`auc_placebo_pool`.
#
# ## What it means
#
# - With so few models, differences that lie inside the intervals are not findings. Where an AUC lies well below 0.50, the independent models are the nearer ones.
# - SAC-m needs neither surrogates nor adversarial examples, as claimed. Its patch changes {glue:text}`flips_m` of {glue:text}`n` answers of the source. Where that is next to none, its AUCs are no evidence about CutMix in either direction; those of the wide patch are.
# - What a contrast gains over attacker data or owner data may be style. What it gains over its placebo, against students of another, is about the source.
# - **No p-value can be had from probes that were chosen with the source.** It would treat the source unlike any model that it is compared with. {doc}`10_results` therefore reports AUCs only; a test needs probes that treat the source and its siblings alike.
# - None of these sets was chosen by looking at the AUC. Whoever tries fourteen corruptions and reports the best one on the same models reports too much: the choice must be made on other models.

# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. Agreement without theft.** Two models are right on 95 % and on 90 % of the probes. On which share, `forced`, do they agree at least?
# %% tags=["solution"]
forced = 0.95 + 0.90 - 1
# %% tags=["test"]
assert abs(forced - 0.85) < 1e-9
# %% [markdown] tags=["exercise"]
# **2. All wrong.** On 1,000 images the source errs on 120, and a surrogate on 150; together they err on 180 (one of them or both). How many candidates, `all_wrong`, has {term}`SAC-w`?
# %% tags=["solution"]
all_wrong = 120 + 150 - 180
# %% tags=["test"]
assert all_wrong == 90
# %% [markdown] tags=["exercise"]
# **3. Another patch.** Run `make notebook NAME=09_probes ARGS="-p position centre -p patch 0.5 -p count 100"`. How many answers change now?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# A patch that changes none leaves SAC-m equal to SAC-normal; one that covers the object makes the donor's class win, and then the images are plain again, with other labels.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`yun2019cutmix` for CutMix as an augmentation; {cite:t}`hendrycks2019corruptions` for the corruptions of which JPEG is one.
# - {cite:t}`godinot2025qurd`, whose AKH baseline asks for the source's mistakes only, and is hard to beat.
# - {cite:t}`cao2021ipguard` and {cite:t}`lukas2021cae`: probes that are *moved* to the boundary instead of found there.

# %%
Markdown(provenance_line(run))
