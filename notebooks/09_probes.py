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
# surrogates get wrong (SAC-w). The share of the stolen models minus that of the independent ones is {glue:text}`gap_normal` percentage points on plain images and {glue:text}`gap_w` on SAC-w.
# The patch of SAC-m changes {glue:text}`flips_m` of the source's {glue:text}`n` answers, so SAC-m {glue:text}`m_word` SAC-normal here. Probes that surrogates answer as the source does and
# choosers do not (*contrast*, chosen from a larger pool) tell Extract-L students from students of *another* owner with an AUC of {glue:text}`auc_contrast_pool` by label agreement. The {term}`placebo`, the same choice by
# models that never saw the source, reaches {glue:text}`auc_placebo_pool`. Over the reference run ({glue:text}`reference`) the two are {glue:text}`over_contrast_pool` and {glue:text}`over_placebo_pool`.
#
# ```{admonition} What you will do
# :class: tip
# Build the probe sets, look at them, and watch how the source, its copies and independent models answer on each.
#
# **You learn** how each set is chosen and from which images; why an image that the source gets *wrong* can say more than one that it gets right; and why a choice made with the source needs a
# placebo beside it.
#
# **You need** {doc}`08_sample_correlation`. The page shows all models of the zoo. It trains those that are missing.
# ```
#
# ## The claim under test
#
# - The abstract of the paper {cite:p}`guan2022sac` claims that **SAC-m needs neither surrogates nor adversarial examples** (read in the abstract).
# - SAC-w uses normal images that are misclassified, chosen with surrogates of the source, six in the released files (read in the code). **The rule of the choice is not
#   published.** We offer two readings, and nobody has confirmed either. *All wrong* takes images on which the source and all surrogates are wrong; another re-implementation
#   {cite:p}`deepcore2024` demands this of the source and eight models derived from it. *Contrast* takes images on which copies repeat the source and other models do not.
# - SAC-JC uses JPEG-compressed images {cite:p}`guan2024sacjc` (read in the code). That SAC-source means images that the source misclassifies is inferred from a file name.
#
# Behind all of them is one idea, which this page tests: **images near or beyond a decision boundary tell models apart better than plain ones.**
#
# ## Parameters
#
# `patch`, `position` and `count` belong to the CutMix images that are redrawn on this page. The probe sets of the run follow `probes.patch`, `probes.patch_position` and `probes.count`.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
patch = 0.2  # 0.05 to 0.95: side of the patch as a share of the image's
position = "corner"  # one of corner, centre, random: of the patch
count = 8  # 4 to 400: images that are redrawn

# %% tags=["hide-input"]
import pandas as pd
import torch
from IPython.display import Markdown

from sacutils import figures, probes, steps, training
from sacutils.probes import PLACEBOS, PROBE_SETS
from sacutils.run import judges, open_run, provenance_line
from sacutils.studies import references, suspects, tables

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
# All probes come from the *probe* split ({glue:text}`pool` images here), on which nothing is trained. The released code takes test images, and its checkpoints had been selected by their
# accuracy on these. Each set has {glue:text}`n` images. The first five are SAC's, the others this book's.
#
# :::{table} The probe sets: how each is chosen, and what the owner needs for it
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
# | Placebo, Placebo (pool) | the choices of the last two by models that never saw the source | students of another network, choosers |
# :::

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
# :alt: The source contradicts the true class on every image of SAC-source and SAC-w; on the other sets it does so only where it errs.
#
# The first images of each set. Above each: the true class (that of the background or left half where two images are mixed) and, after the arrow, what the source says where it
# disagrees. SAC-source and SAC-w have an arrow everywhere. The folder `probes/` of the run holds the numbers of the images.
# :::
#
# ## How many candidates SAC-w needs
#
# A {term}`surrogate` is a model that the owner derives from the source as a thief would. Here these are students of its labels and of its probabilities, on images that the owner kept in
# reserve. An image on which source and surrogates all err is a candidate for a mistake that *copies share*. Each further surrogate can only remove candidates.

# %% tags=["hide-input"]
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
# ::::{dropdown} Images left after each condition
# :::{glue:figure} probes_funnel
# :name: fig-probes-funnel
# :alt: The bars get shorter downwards. The source gets {glue:text}`source_wrong` images wrong, and {glue:text}`all_wrong` of them are wrong for all surrogates too.
#
# Images left after each condition. Of {glue:text}`pool`, the source gets {glue:text}`source_wrong` wrong, and {glue:text}`all_wrong` of these are wrong for all
# {glue:text}`surrogates` surrogates too. The first {glue:text}`n` of them are the set.
# :::
# ::::
#
# ## The CutMix patch, redrawn
#
# In the released code (read) the patch is 6 of 32 pixels wide, its centre lies in a corner sixth of the image, and the box is the same for all images. Here it is drawn again with the
# parameters of this page.

# %% tags=["hide-input"]
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
figures.say(m_word="is nearly" if flips["m"] <= settings.count / 20 else "differs from")
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
# :alt: The patch changes {glue:text}`changed` of the pixels and {glue:text}`flipped` of the {glue:text}`redrawn` answers that are shown.
#
# Plain images and the same with a patch of another. Above each: what the source says, and with which probability. Over all {glue:text}`redrawn` redrawn images
# {glue:text}`changed` of the pixels differ and {glue:text}`flipped` answers change.
# :::
#
# Around the clothes of the default profile the background is black, so a patch in the corner replaces background by background. Where a patch changes almost no answer, a
# result of SAC-m says nothing about CutMix. So there is a set with a wide patch, which changes {glue:text}`flips_wide` of {glue:text}`n` answers.
#
# ## How the models answer
#
# Three numbers describe each set and each model with the source's classes: {term}`accuracy` (against the true label), confidence (mean largest probability), and agreement
# (share of probes on which it repeats the source's label, right or wrong).

# %%
compared = [*steps.SAME_CLASSES, *steps.INDEPENDENT]
answers = suspects.on_probes(run, "source", *steps.SURROGATES, *compared)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Accuracy, confidence and agreement on each set", "code_prompt_hide": "Accuracy, confidence and agreement on each set"}
order = ["source", *steps.SURROGATES, "finetune_all", "prune", *steps.EXTRACTION[:2]]
part = answers[answers["step"].isin([*order, *steps.INDEPENDENT])]
mean = part.groupby(["group", "probes"], sort=False)[["accuracy", "confidence", "agreement"]].mean()
mean["text"] = [" / ".join(f"{100 * share:.0f}" for share in row) for row in mean.to_numpy()]
caption = "Accuracy / confidence / agreement with the source, in per cent, on each set of probes"
figures.table(tables.wide(mean.reset_index(), "group", "probes"), caption=caption)

# %% [markdown]
# A cell is the mean over the models of the group. The source's accuracy on SAC-source and SAC-w is zero **by construction**, and so is that of the surrogates on SAC-w. The findings are in
# the other rows, above all in the last number.

# %% tags=["hide-input", "remove-output"]
drawn = answers[answers["step"].isin(compared)]
rows = []
for label, part in drawn.groupby("probes", sort=False):
    is_stolen = part["step"].isin(steps.SAME_CLASSES)
    gap = suspects.gap(part[is_stolen], part[~is_stolen], "agreement")
    stolen, independent = (part.loc[which, "agreement"].mean() for which in (is_stolen, ~is_stolen))
    rows.append((label, stolen, independent, gap.low, str(gap)))
columns = ["probes", "stolen", "independent", "low", "difference (points)"]
gaps = pd.DataFrame(rows, columns=columns)
of_set = gaps.set_index("probes")
for name in ("normal", "w"):
    *_, share, _, text = of_set.loc[PROBE_SETS[name]]
    figures.say(**{f"gap_{name}": text, f"agree_{name}": f"{share:.0%}"})
clear = ", ".join(of_set.index[of_set["low"] > 0]) or "no set"
counts = drawn[drawn["probes"] == label]["step"].value_counts()
figures.say(clear=clear, n_copies=int(counts.filter(regex="finetune|prune").sum()))
figures.say(n_all=int(counts.reindex(steps.SAME_CLASSES).sum()))

# %% [markdown]
# ## Why wrong images tell more
#
# Let $a_S$ and $a_T$ be the accuracies of source and suspect on a probe set. Wherever both are right they agree, whoever trained them. So
#
# $$
# \Pr(\text{agreement}) \;\ge\; a_S + a_T - 1 .
# $$ (eq-forced-agreement)
#
# On plain images $a_S$ and $a_T$ are high, so models must agree on most of them. A correlation matrix of right answers is, roughly, the matrix of the *true* classes, whoever computed it.
#
# On images that the source gets wrong the bound says nothing ($a_S = 0$), and an independent model that is right *disagrees*. It agrees only where it makes the same one of $K - 1$ possible
# mistakes. A copy was trained to repeat the source's answers, mistakes included, or began with its weights.
#
# Two things weaken this argument. Some mistakes are made by every network, for example on an image with a wrong label. Demanding that *surrogates* err as well (SAC-w) keeps what copies share,
# but does nothing against what everyone shares. And a copy that learned little repeats little. The table has the difference with Welch's 95 % interval over models, of which those of one architecture count as alike:

# %%
caption = "Agreement with the source: stolen and independent models, and their difference"
figures.table(gaps.drop(columns="low"), dict.fromkeys(columns[1:3], "{:.0%}"), caption=caption)

# %% [markdown]
# A gap is clear where its interval lies above 0. That is the case on **{glue:text}`clear`**. The stolen models are {glue:text}`n_all`, of which {glue:text}`n_copies` are copies of weights and the others students.
#
# ## The other reading: contrast
#
# On which images do copies repeat the source and other models not? For each candidate $x$ with the source's label $y$, take the probability of $y$ under the surrogates (mean $\bar p_C$, variance
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
# Such probes may find copies of *this source*, or only models that were *trained as copies are*. A **placebo** tells the two apart: a sibling of the source stands in for it, and students of that sibling for the
# surrogates. Whatever these probes gain, they gain without having seen the source.
#
# ## Result
#
# AUC of the Extract-L students against three groups of independent models. The last group, **students of another network**, was made as the stolen models were.

# %% tags=["hide-input", "remove-output"]
groups = [steps.MAIN_NEGATIVES, "owner data", "students of another"]
all_auc = tables.select(tables.auc(run), attack=steps.LABELS["extract_label"], negatives=groups)
words = {"cosine": "probabilities (matrix)", "label agreement": "label agreement"}
auc = tables.select(all_auc, n_probes=settings.count, measure=list(words))
auc = auc[(auc["measure"] != "cosine") | (auc["form"] == "probabilities")]
auc = auc.assign(compared=auc["measure"].map(words)).sort_values("measure", kind="stable")
look = {"hue": "negatives", "facet": "compared", "label": "AUC with 95 % interval"}
figures.show("probes_auc", figures.points(auc, "auc", "probes", limits=(0, 1), guess=0.5, **look))
agreement = tables.select(auc, compared="label agreement", negatives="students of another")
value = {row["probes"]: row for _, row in agreement.iterrows()}
for name in ("w", "contrast", "contrast_pool", "placebo", "placebo_pool"):
    figures.say(**{f"auc_{name}": tables.text(value[PROBE_SETS[name]])})
for pool, word in (("", "placebo_plain"), ("_pool", "placebo_verdict")):
    one, other = (value[PROBE_SETS[f"{kind}{pool}"]]["auc"] for kind in ("contrast", "placebo"))
    figures.say(**{word: f"which is {'less' if other < one else 'no less'}"})
figures.say(models=f"{agreement['n_stolen'].max()} / {agreement['n_independent'].max()}")
reference, kept = references.for_run(run)
figures.say(reference=reference)
for name in ("contrast_pool", "placebo_pool"):
    key = (PROBE_SETS[name], "labels", "label agreement")
    figures.say(**{f"over_{name}": tables.stated(kept, key, "extract_label", groups[-1])})

# %% [markdown]
# :::{glue:figure} probes_auc
# :name: fig-probes-auc
# :alt: By label agreement and against students of another, the contrast from the pool has an AUC of {glue:text}`auc_contrast_pool`, its placebo {glue:text}`auc_placebo_pool` and SAC-w {glue:text}`auc_w`.
#
# AUC of Extract-L by probe set. **Varied:** probes, independent models, what is compared. **Fixed:** {glue:text}`n` probes, stolen models. Against students of another there are {glue:text}`models` models. A contrast
# set says something about the source where it lies further right than its placebo.
# :::
#
# By label agreement and against students of another, SAC-w in the reading *all wrong* has an AUC of {glue:text}`auc_w`, and in the reading *contrast* {glue:text}`auc_contrast`. The placebo of the contrast has
# {glue:text}`auc_placebo`, {glue:text}`placebo_plain`. From the pool the contrast has {glue:text}`auc_contrast_pool` and its placebo {glue:text}`auc_placebo_pool`, {glue:text}`placebo_verdict`.
#
# ## What it means
#
# - With so few models, differences that lie inside the intervals are not findings. Where an AUC lies well below 0.50, the independent models are the nearer ones.
# - SAC-m needs neither surrogates nor adversarial examples, as claimed. Its patch changes {glue:text}`flips_m` of {glue:text}`n` answers of the source. Where that is next to none, only the AUCs of the wide patch
#   say something about CutMix.
# - What a contrast gains against attacker data or owner data may be style. What it gains over its placebo, against students of another, is about the source.
# - **No p-value can be had from probes that were chosen with the source**, because they treat the source unlike any model that it is compared with. {doc}`10_results` therefore reports AUCs only.
#   {doc}`14_a_test_that_holds` has probes that treat the source and its siblings alike.
# - None of these sets was chosen by looking at the AUC. Whoever tries fourteen corruptions and reports the best one on the same models reports too much, because the choice must be made on other models.

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
# A patch that changes none leaves SAC-m equal to SAC-normal. One that covers the object makes the donor's class win, and then the images are plain again, with other labels.
# :::

# %% [markdown]
# **Further reading.** {cite:t}`yun2019cutmix` on CutMix as an augmentation; {cite:t}`hendrycks2019corruptions` on corruptions; {cite:t}`godinot2025qurd` on asking about the source's mistakes only; {cite:t}`cao2021ipguard` and
# {cite:t}`lukas2021cae` on probes that are *moved* to the boundary instead of found there.

# %%
Markdown(provenance_line(run))
