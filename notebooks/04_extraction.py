# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Extraction by labels and by probabilities
#
# ## The answer in short
#
# Mean {term}`fidelity` on test images is {glue:text}`fidelity_label` for Extract-L {term}`students <student>`, {glue:text}`fidelity_probability` for Extract-P students,
# and {glue:text}`fidelity_independent` for {term}`independent models <independent>` on the same images. So Extract-L students are **{glue:text}`verdict_label`** to the
# source than independent models, and Extract-P students are **{glue:text}`verdict_probability`**. On the thief's own queries Extract-L students agree with the source on
# {glue:text}`queries_label`. {glue:text}`n_weak` of {glue:text}`n_students` students are **marked**: on test images they copy less than a stranger does.
#
# ```{admonition} What you will do
# :class: tip
# Steal the source without its weights: send it images, keep its answers, and train a student of another architecture on them, with labels only
# (*Extract-L*) and with probabilities (*Extract-P*). **You learn** both loss functions; why the source is asked about every augmented batch, and what that costs; how to tell
# a copy from a model that learnt the same task. **You need** {doc}`02_data_and_source`, cross-entropy and Kullback–Leibler divergence; {glue:text}`needs`.
# ```
#
# ## The claim under test
#
# On the models released with SAC, {cite:t}`song2023modelgif` print an {term}`AUC` of 1.00 for Extract-L and for Extract-P. IPGuard has 0.81 there, CAE and EWE have 0.83 to 0.97. On
# models of their own, {cite:t}`marginfinger2024` have 0.26 and 0.24 for {term}`SAC-w`, *below* one half: the independent models lie nearer to the source than the extracted ones
# (read in their evaluation).
#
# Both can be true, because the way a student is trained decides how near it comes to the source. This page asks the question that comes first:
# **do these students imitate the source more closely than independent models resemble it anyway?** The AUC is in {doc}`10_results`.
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
batch = 64  # 2 to 1000: images on which the losses are computed by hand
variants = 5  # 1 to 7: shifted variants of one image that are shown
images_asked = 1000  # 10 to 20000: attacker images on which the source is examined

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from sacutils import attacks, data, figures, steps, training
from sacutils.run import open_run, provenance_line
from sacutils.studies import suspects
from sacutils.zoo import QUERIES

run = open_run(profile, overrides)
kinds = ("extract_label", "extract_probability", "independent")
styles = ("extract_once", "extract_plain", "extract_noisy")
styles += ("chain_finetuned", "chain_pruned", "chain_quantised")
run.announce(*kinds, *styles)
figures.use_style()

classes, recipes = run.material.class_names, run.profile.recipes
name = run.names("extract_label")[0]
mine, test = run.zoo.task(name).images, run.material.splits["test"]  # the thief's images
source = run.zoo.get(run.zoo.source)

# %% tags=["remove-cell"]
kind = run.zoo.specs[run.zoo.source].architecture
figures.say(needs=suspects.needs(run, *kinds), source_architecture=kind)
figures.say(student_architectures=", ".join(run.profile.zoo.students))
figures.say(own_share=f"{run.profile.zoo.attacker_share:.0%}", n_mine=f"{len(mine.labels):,}")

# %% [markdown]
# ## The attack
#
# The thief has images of their own (each student draws {glue:text}`own_share` of the attacker's: {glue:text}`n_mine`), and may not even know their true labels. Images go into the source and
# answers come out. The thief chooses the architecture freely: here it is one of {glue:text}`student_architectures`, while the source is a {glue:text}`source_architecture`.
#
# Write $s = f_S(\tilde x)$ for the source's logits on an augmented image $\tilde x$, and $z = f_T(\tilde x)$ for the student's.
#
# **Extract-L.** The source returns labels only. The student minimises
#
# $$
# \mathcal{L}_L = \mathrm{CE}(z, \hat y_S), \qquad \hat y_S = \arg\max_k s_k .
# $$ (eq-extract-label)
#
# **Extract-P.** The source returns probabilities. The student is distilled {cite:p}`hinton2015distilling`: it also matches the probabilities, softened by
# a temperature $T$,
#
# $$
# \mathcal{L}_P = w \, T^2 \, \mathrm{KL}\bigl(\operatorname{softmax}(s / T) \,\big\|\, \operatorname{softmax}(z / T)\bigr)
#  + (1 - w) \, \mathrm{CE}(z, \hat y_S) .
# $$ (eq-extract-probability)
#
# The released code has $T = 20$ and $w = 0.9$ (read). The factor $T^2$ makes up for gradients that shrink like $1/T^2$.
#
# ### Both losses by hand
#
# Take a student before its training and a batch of the thief's images, and compute both losses from their definitions. They are the ones that the library minimises:

# %%
student = run.zoo.task(name).build(run.zoo.specs[name].architecture).eval()
T, w = recipes.extract_probability.temperature, recipes.extract_probability.soft_weight
x = data.to_float(mine.pixels[:batch])

with torch.no_grad():
    s, z = source(x), student(x)
    y = s.argmax(1)  # the source's labels; the true ones are not used
    loss_l = -z.log_softmax(1)[torch.arange(len(y)), y].mean()
    p, log_ratio = (s / T).softmax(1), (s / T).log_softmax(1) - (z / T).log_softmax(1)
    loss_p = w * T**2 * (p * log_ratio).sum(1).mean() + (1 - w) * loss_l

    query = attacks.black_box(source)
    library_l, _ = attacks.label_objective(query)(student, x, None)
    library_p, _ = attacks.probability_objective(query, T, w)(student, x, None)
torch.testing.assert_close(loss_l, library_l)
torch.testing.assert_close(loss_p, library_p)
print(f"Extract-L {loss_l:.4f}, Extract-P {loss_p:.4f}, both as in the library")

# %% [markdown]
# ### Stealing one model
#
# The name of a model is its history. This line loads the stolen model, or steals it now if it is not on disk:

# %%
suspect = run.zoo.get(name)
print(name)

# %% [markdown]
# The theft itself trains a fresh network on the loss above:
# ```{literalinclude} ../sacutils/attacks.py
# :pyobject: extract_probability
# ```
#
# ### Are probabilities enough?
#
# Does the thief need logits for $\operatorname{softmax}(s/T)$? No: with $p = \operatorname{softmax}(s)$,
#
# $$
# \operatorname{softmax}(s / T)_k = \frac{p_k^{1/T}}{\sum_j p_j^{1/T}} ,
# $$ (eq-soften)
#
# so probabilities are enough, if they come with enough digits. (The folded cell checks it.)

# %% tags=["hide-cell"]
logits = training.logits_of(source, mine.pixels[:images_asked])
p = logits.softmax(1)
softened = p ** (1 / T) / (p ** (1 / T)).sum(1, keepdim=True)
torch.testing.assert_close(softened, (logits / T).softmax(1), atol=1e-4, rtol=0)
print(f"{len(p):,} rows of probabilities, softened without the logits")

# %% [markdown]
# ## What the source is asked
#
# The source is queried inside the training loop, on **every augmented batch** (read in the released code), and so on images that it answers as well as its own training allows
# ({doc}`02_data_and_source`). The folded table has all recipes. (*Released code* is the students' recipe; that of the released source and independent models is not published.)

# %% tags=["hide-cell"]
released = {"lr": "0.05 (L), 0.1 (P)", "epochs": "200", "batch": "512", "momentum": "0.9"}
released |= {"weight_decay": "0.0005", "schedule": "cosine, stepped per batch", "pad": "4"}
released |= {"flip": "yes", "temperature": "20", "soft_weight": "0.9"}
recipe_rows = suspects.recipe_table(run, "source", *kinds, released=released)
caption = "Recipes of the source, the students and the independent models"
figures.table(recipe_rows, caption=caption)

# %% [markdown]
# Now ask the source about the thief's first images, once plain and once as the students' training sees them. True labels are used here only to examine the source:

# %%
recipe, generator = recipes.extract_label, torch.Generator().manual_seed(run.profile.seed)
part = mine.take(slice(0, images_asked))
moved = data.augment(part.pixels, recipe.pad, recipe.flip, generator)
truth, plain = part.labels.cpu(), logits.argmax(1)
shifted = training.logits_of(source, moved).argmax(1)
hits = {"is right on plain images": plain == truth, "is right on augmented ones": shifted == truth}
hits["changes its label with the augmentation"] = plain != shifted
shares = {words: str(suspects.share(each)) for words, each in hits.items()}
shares = pd.DataFrame(shares.items(), columns=["the source", "share"])
figures.table(shares, caption="The source on the images that it is asked about")

# %% tags=["remove-cell"]
figures.say(changed=shares["share"].iloc[-1], source_pad=recipes.source.pad)
figures.say(independent_pad=recipes.independent.pad, student_pad=recipe.pad)
figures.say(regime=steps.regime(run.profile))

image = part.pixels[p.max(1).values.argmin()]
copies = data.augment(image.expand(variants, *image.shape), recipe.pad, recipe.flip, generator)
pixels = torch.cat([image[None], copies])
probabilities = training.logits_of(source, pixels).softmax(1)
titles = [f"{classes[row.argmax()]}\n{row.max():.2f}" for row in probabilities]
figures.show("extract_variants", figures.images({"": pixels}, {"": titles}))

# %% [markdown]
# One random augmentation changes the source's label on {glue:text}`changed` of these images. A student who asks again for each variant learns these changes too;
# one who keeps the answer to the plain image does not.
#
# :::{glue:figure} extract_variants
# :name: fig-extract-variants
# :alt: The source does not say the same about all variants of one doubtful image; one augmentation changes its label on {glue:text}`changed` of the images.
#
# The image that the source is least sure of, plain at the left, then as the student's training sees it. Above: the source's label and how sure it is. Look for a label that changes.
# :::
#
# In this build, of the {term}`regime` *{glue:text}`regime`*, training images were shifted by up to {glue:text}`source_pad` pixels for the source, {glue:text}`independent_pad` for independent models
# and {glue:text}`student_pad` for students (0: not at all). Where these numbers differ, a student differs from an independent model in two ways: it learnt from answers *and* in another style.
#
# **The bill.** Every image of every epoch is one query. Each Extract-L student of this page costs {glue:text}`bill_label` queries, each Extract-P student
# {glue:text}`bill_probability`. In the released code it is about five million, from 200 epochs (read). A training whose loss diverges begins again with another seed. The Extract-P students of this page needed {glue:text}`restarts` such restarts; VGG without batch normalisation diverges often here.
#
# ```{dropdown} Traps in the released scripts
# :color: warning
# The cosine schedule is stepped per batch although its period is meant in epochs, so that the rate oscillates, with a period of 400 iterations. And the label-extraction script resets the network
# after 16 epochs without rebuilding the optimiser; as published it cannot reproduce its students (read in the code, or inferred from it). `cosine_per_batch` would repeat the released schedule.
# ```

# %% [markdown]
# ## Result
#
# The independent models had attacker images with their *true* labels. Every model is measured on test images and *on queries*: images that it was trained on, shifted and flipped as in its
# training. A student asked the source about these; an independent model would have.

# %%
everyone, level = suspects.suspects(run, *kinds), suspects.stranger(run)
students = everyone[everyone["step"] != "independent"]
caption = "Extracted students: how good they are and how much they copy"
figures.table(suspects.group_table(students, stranger=level), caption=caption)

# %% [markdown]
# A *stranger* is an independent model on attacker data. The mean fidelity of all of them is {glue:text}`fidelity_independent`, their mean accuracy {glue:text}`accuracy_independent`. A student
# with less fidelity is a poor copy. These are {glue:text}`n_weak` of {glue:text}`n_students`. They stay among the stolen models, since they were made by the theft, but whoever fails to find one
# has missed little.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-extract-architectures", "caption": "Every student and every independent model on attacker data, by architecture: accuracy and fidelity on test images, and fidelity on the model's own queries. Bars are 95 % Wilson intervals over images. Compare within an architecture."}, "image": {"alt": "Mean fidelity on test images is {glue:text}`fidelity_label` for Extract-L students, {glue:text}`fidelity_probability` for Extract-P students and {glue:text}`fidelity_independent` for independent models."}}
measures = ["accuracy", "fidelity", "query_fidelity"]
long = everyone.melt(["architecture", "step", "n"], measures, "measure")
long["n"] = long["n"].where(long["measure"] != "query_fidelity", min(QUERIES, len(mine.labels)))
long = suspects.with_intervals(long, "value")
long["measure"] = long["measure"].map(suspects.MEASURES)
axes = {"label": "share of images", "facet": "measure"}
figures.points(long, "value", "architecture", role="step", **axes)

# %% [markdown]
# The difference of the groups' mean fidelities, students minus independent models, in percentage points with Welch's 95 % interval over models, of which those of one architecture count as alike:

# %%
by_step, rows, verdicts = dict(list(everyone.groupby("step"))), [], {}
for step in ("extract_label", "extract_probability"):
    for measure in measures[1:]:
        theirs, others = by_step[step], by_step["independent"]
        gap = suspects.gap(theirs, others, measure)
        verdict = suspects.word(gap, "less close", "not clearly closer", "closer")
        verdicts[step, measure] = verdict
        row = {"students": steps.LABELS[step], "models": f"{len(theirs)} / {len(others)}"}
        row |= {"measure": suspects.MEASURES[measure], "difference": str(gap)}
        rows.append(row | {"students are": verdict})
caption = "Are students closer to the source than independent models?"
figures.table(pd.DataFrame(rows), caption=caption)

# %% tags=["remove-cell"]
label = steps.LABELS["independent"]
means = everyone.pivot_table("fidelity", "architecture", "group", sort=False).dropna()
below = means.drop(columns=label).lt(means[label], axis=0)
figures.say(n_below=int(below.to_numpy().sum()), n_pairs=below.size, restarts=sum(run.zoo.record(name)["attempt"] for name in run.names(kinds[1])))  # fmt: skip
figures.say(n_weak=int(students["fidelity"].lt(level).sum()), n_students=len(students))
figures.say(accuracy_independent=f"{by_step['independent']['accuracy'].mean():.1%}")
for word, step in {"label": kinds[0], "probability": kinds[1], "independent": kinds[2]}.items():
    figures.say(**{f"fidelity_{word}": f"{by_step[step]['fidelity'].mean():.1%}"})
    figures.say(**{f"queries_{word}": f"{by_step[step]['query_fidelity'].mean():.1%}"})
    figures.say(**{f"verdict_{word}": verdicts.get((step, "fidelity"), "")})
    own = steps.recipe_of(run.profile, step)
    queries = max(1, round(own.share * len(mine.labels))) * own.epochs
    figures.say(**{f"bill_{word}": f"{queries:,}"})

# %% [markdown]
# The intervals take the models as random draws. They are not quite: architectures were chosen, and independent models may have the source's own, which can be expected to resemble the source most.
# Within an architecture that both groups have, the students' mean fidelity lies *below* that of the independent models in {glue:text}`n_below` of {glue:text}`n_pairs` pairs.
#
# ### Thieves of other styles
#
# The thief above asks in the loop, about shifted images, and serves what it learnt. Another asks about each plain image **once** and keeps that answer for all of its shifted versions. A third
# asks about **plain** images only. A fourth meets a **noisy** service, which replaces {glue:text}`noise` of its answers by a random class. Others go on from an Extract-L student: they
# **fine-tune** it, **prune** it by half (where it has batch normalisation), or round its weights to **int8**. What such a chain makes counts as stolen.

# %% tags=["hide-input"]
if run.profile.full:
    others = suspects.suspects(run, *styles)
    shown = suspects.group_table(others, by=("group",), stranger=level)
    shown = figures.table(shown, caption="Students of thieves with other habits")
else:
    shown = Markdown("This build has none of them: they belong to full runs (`make book FULL=1`).")
figures.say(noise=f"{attacks.NOISE:.0%}")
shown

# %% [markdown]
# ## What it means
#
# An independent model is right where the source is right, and so it agrees with the source on every easy image without having copied it. A student can add agreement only on the few images
# on which models differ. If the gap in fidelity is not clear, fidelity on typical images will not find the student. A clear gap says only that the student had *a* teacher;
# {doc}`07_independent_models` shows students of another. {doc}`10_results` tests whether probes on the source's mistakes find a student.
#
# Read a published AUC on extraction beside the fidelity of the students and the augmentation of the source. Without these two it does not say what was found.

# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. The price.** A service charges 1 unit for 1,000 queries. What does one student of the released zoo cost (25,000 images, 200 epochs, one query for each image and epoch)? Call it `units`.
# %% tags=["solution"]
units = 25_000 * 200 / 1000
# %% tags=["test"]
assert units == 5000


# %% [markdown] tags=["exercise"]
# **2. Stable.** Write `mean_loss(z, y)`, the loss {eq}`eq-extract-label` of logits `z`, shape (n, K), and labels `y`. It must be right for logits of 1,000 too.
# %% tags=["solution"]
def mean_loss(z, y):
    z = z - z.max(axis=1, keepdims=True)  # a constant changes no softmax
    return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), y])


# %% tags=["test"]
assert abs(mean_loss(np.zeros((2, 10)), [3, 4]) - np.log(10)) < 1e-9
assert abs(mean_loss(np.array([[1000.0, 0.0]]), [1]) - 1000) < 1e-9


# %% [markdown] tags=["exercise"]
# **3. Without logits.** Write `soften(p, T)`, which computes {eq}`eq-soften` for one vector of probabilities.
# %% tags=["solution"]
def soften(p, T):
    return np.asarray(p) ** (1 / T) / (np.asarray(p) ** (1 / T)).sum()


# %% tags=["test"]
assert np.allclose(soften([0.64, 0.36], 2), [4 / 7, 3 / 7])
# %% [markdown] tags=["exercise"]
# **4. Wrong labels.** A defender answers one query in twenty with a random one of ten labels, and is right otherwise. Which share of the answers is wrong? Call it `wrong_answers`.
# %% tags=["solution"]
wrong_answers = 0.05 * 0.9  # a random label is right one time in ten
# %% tags=["test"]
assert abs(wrong_answers - 0.045) < 1e-9

# %% [markdown]
# ## Further reading
#
# - {cite:t}`tramer2016stealing`: the first systematic account of stealing models through their interface.
# - {cite:t}`hinton2015distilling`: distillation, temperature; {cite:t}`jia2021ewe`: a watermark made to survive extraction.
# - Next: a thief who hides what they took ({doc}`05_adversarial_extraction`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
