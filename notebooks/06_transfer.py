# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Transfer to another task
#
# ## The answer in short
#
# Stealing clearly pays for {glue:text}`n_pays` of 3 attacks in this build. On the new labels the accuracy of Transfer-A minus that of models trained from scratch is {glue:text}`gap_transfer_all`
# percentage points, and that of Transfer-L {glue:text}`gap_transfer_last`. The thief trained for {glue:text}`epochs_transfer` epochs there, the others for {glue:text}`epochs_scratch`. On
# corrupted images Transfer-10C reaches {glue:text}`damaged_transfer_corrupted` and models from scratch reach {glue:text}`damaged_independent_corrupted`.
#
# ```{admonition} What you will do
# :class: tip
# Steal the source by its weights and turn it to another use: new labels (*Transfer-A*, *Transfer-L*), or the old labels on corrupted images (*Transfer-10C*). **You learn** what is left of a
# model when its last layer is replaced; how two models with different classes can be compared; why each of these attacks needs independent models of its own.
# **You need** {doc}`03_finetuning_and_pruning`; {glue:text}`needs`.
# ```
#
# ## The claim under test
#
# On the models released with SAC, {cite:t}`song2023modelgif` print an {term}`AUC` of 1.00 for Transfer-A, Transfer-L and Transfer-10C. IPGuard, CAE and EWE have no entry for the first
# two, because they compare labels, and the labels are others. There the new task is the first ten classes of CIFAR-100, and CIFAR-10C for the third attack (read in the code). On models
# of their own, {cite:t}`marginfinger2024` have 0.68 for SAC-w and 0.75 for SAC-m on transfer (read in their evaluation).
#
# This page asks: **is the stolen start worth anything for the new task**, so that a thief would do this at all? The AUC is in {doc}`10_results`.
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
images_per_class = 12  # 2 to 20: images of each new class that are shown
corruption_images = 500  # 20 to 5000: test images that are corrupted
batch = 64  # 2 to 500: images on which the loss is computed by hand

# %% tags=["hide-input"]
import copy

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from sacutils import corruptions, data, evaluation, figures, models, training
from sacutils.run import open_run, provenance_line
from sacutils.steps import LABELS
from sacutils.studies import suspects

run = open_run(profile, overrides)
stolen = ("transfer_all", "transfer_last", "transfer_corrupted")
honest = ("independent_transfer", "independent_corrupted")
run.announce("source", *stolen, *honest)
figures.use_style()

new, new_classes = run.material.splits["transfer_train"], run.material.transfer_class_names
source = run.zoo.get(run.zoo.source)
relabelled = suspects.suspects(run, *stolen[:2], honest[0])
corrupted = suspects.suspects(run, stolen[2], honest[1])

# %% tags=["remove-cell"]
figures.say(needs=suspects.needs(run, *stolen, *honest), n_new=f"{len(new.labels):,}")
figures.say(old_name=run.profile.data.name, new_name=run.profile.transfer.data.name)
figures.say(n_new_classes=len(new_classes))

# %% [markdown]
# ## New labels
#
# The source was trained on {glue:text}`old_name`. The thief wants a classifier for **{glue:text}`new_name`**, has {glue:text}`n_new` images of its {glue:text}`n_new_classes` classes, and brings
# them to the shape of the source's input:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-transfer-samples", "caption": "Training images of the new task, a row per class (the first five classes). None of them is a class of the source."}, "image": {"alt": "The new task shows other things than the source was trained on; the classes of both have nothing in common."}}
pixels = {name: new.pixels[new.labels == k] for k, name in enumerate(new_classes[:5])}
figures.images({name: part[:images_per_class] for name, part in pixels.items()})

# %% [markdown]
# Write the source as $f_S = h_S \circ g_S$ with the last linear layer $h_S$. The thief throws $h_S$ away, draws a fresh layer $h$ with as many outputs as there are new classes, and trains on the
# new images:
#
# $$
# \min_{\theta} \; \frac1N \sum_{i=1}^N \mathrm{CE}\bigl((h \circ g)(\tilde x_i),\, y_i^{\text{new}}\bigr), \qquad g_0 = g_S .
# $$ (eq-transfer)
#
# *Transfer-A* trains everything. *Transfer-L* trains the last block only (in VGG the three layers of the `classifier`, of which only the very last is new), and the convolutions stay the source's to
# the last bit. The honest counterpart trains on the same new images from a random start: {term}`independent` models on new labels. How the released transfer models were trained is not published.
#
# ### The attack by hand
#
# Replace the last layer, and compute the loss on one batch from its definition:

# %%
name = run.names("transfer_all")[0]
thief = copy.deepcopy(source)
models.replace_last(thief, len(new_classes), seed=run.zoo.task(name).seed)
x, y = data.to_float(new.pixels[:batch]), new.labels[:batch]
index = torch.arange(len(y))
with torch.no_grad():
    loss = -thief(x).log_softmax(1)[index, y].mean()
    library, _ = training.cross_entropy_to(new.labels)(thief, x, index)
torch.testing.assert_close(loss, library)
print(f"{loss:.4f} before the training, as in the library")

# %% [markdown]
# This line loads the stolen model, or steals it now if it is not on disk. The function shown below it makes all models of this page that begin with the source's weights:

# %%
suspect = run.zoo.get(name)
print(name)

# %% [markdown]
# ```{literalinclude} ../sacutils/attacks.py
# :pyobject: finetune
# ```

# %% tags=["hide-cell"]
rows = suspects.recipe_table(run, *stolen[:2], honest[0], stolen[2], honest[1])
figures.table(rows, caption="Recipes of transfer and of the independent models for the same tasks")

# %% [markdown]
# ## Corrupted images
#
# *Transfer-10C* keeps the classes and changes the pictures: the thief fine-tunes the source, as in {eq}`eq-finetune`, on corrupted copies of the attacker's images, and gets a model for bad cameras. The
# name comes from CIFAR-10-C {cite:p}`hendrycks2019corruptions`. Here each image gets one corruption at random, at one moderate strength.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-transfer-corruptions", "caption": "Each corruption on the same images. You can still name what they show."}, "image": {"alt": "The objects stay recognisable under every corruption of this page."}}
some = run.material.splits["test"].take(slice(0, 10))
rows = {"clean": some.pixels}
for kind in corruptions.CORRUPTIONS:
    rows[kind] = corruptions.corrupt_all(some, kind, run.profile.seed).pixels
figures.images(rows)

# %% [markdown]
# ### What moved?
#
# The relative change of each layer's weights, $\lVert w_T - w_S\rVert / \lVert w_S\rVert$ (a new last layer of another shape has no counterpart and is left out):

# %%
changes = suspects.weight_changes(run, *stolen)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-transfer-weights", "caption": "Relative change of each layer's weights, for the first model of each kind. Transfer-L leaves the convolutions alone."}, "image": {"alt": "Transfer-L is at zero before the classifier block; Transfer-A changes all layers."}}
axes = {"x_label": "layer", "y_label": r"$\Vert w_T-w_S\Vert\,/\,\Vert w_S\Vert$"}
figures.curves(changes, "layer", "change", role="step", **axes)

# %% [markdown]
# ## Result
#
# The first table has accuracy on test images of the *new* task: mean over models, lowest and highest in brackets. {term}`Fidelity <fidelity>` does not exist there, because the labels of
# suspect and source mean different things. The second table has accuracy and fidelity on *clean* test images of the old task.

# %% tags=["hide-input"]
rows = suspects.group_table(relabelled, "accuracy")
figures.table(rows, caption="New labels: accuracy of stolen and of independent models")

# %% tags=["hide-input"]
rows = suspects.group_table(corrupted, "accuracy", "fidelity")
figures.table(rows, caption="Models of the corrupted images: accuracy and fidelity on clean ones")

# %% [markdown]
# What the thief wanted is accuracy on corrupted images:

# %%
clean = run.material.splits["test"].take(slice(0, corruption_images))
images = {"none": clean}
for kind in corruptions.CORRUPTIONS:
    images[kind] = corruptions.corrupt_all(clean, kind, run.profile.seed)
rows = [
    {
        "corruption": kind,
        "step": step,
        "name": n,
        "accuracy": training.accuracy(run.zoo.get(n), part),
    }
    for kind, part in images.items()
    for step in ("source", stolen[2], honest[1])
    for n in run.names(step)
]
by_kind = pd.DataFrame(rows)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-transfer-by-corruption", "caption": "Accuracy on test images with each corruption, for the source as it was stolen, the stolen models after training, and models trained from scratch on the same corrupted images. Compare the last two."}, "image": {"alt": "Mean accuracy over the corruptions is {glue:text}`damaged_source` for the source as it was, {glue:text}`damaged_transfer_corrupted` for stolen models and {glue:text}`damaged_independent_corrupted` for models from scratch."}}
figures.strips(by_kind, "accuracy", "corruption", role="step", label="accuracy", counts=False)


# %%
def gap(step: str, scratch: str, rows: pd.DataFrame) -> evaluation.Difference:
    """Mean accuracy of stolen models minus that of models from scratch."""
    both = (rows[rows["step"] == name] for name in (step, scratch))
    return suspects.gap(*both, "accuracy")


damaged = by_kind[by_kind["corruption"] != "none"]
per_model = damaged.groupby(["step", "name"])["accuracy"].mean().reset_index()
gaps = {step: gap(step, honest[0], relabelled) for step in stolen[:2]}
gaps[stolen[2]] = gap(stolen[2], honest[1], per_model)
verdicts = ("worse", "not clearly different", "better")
words = {step: suspects.word(d, *verdicts) for step, d in gaps.items()}
rows = [(LABELS[step], str(d), words[step]) for step, d in gaps.items()]
rows = pd.DataFrame(rows, columns=["attack", "difference (points)", "stolen is"])
figures.table(rows, caption="Does stealing pay? Accuracy of stolen minus independent models")

# %% tags=["remove-cell"]
recipes, n_pays = run.profile.recipes, list(words.values()).count("better")
figures.say(n_pays=n_pays, n_corrupted=f"{len(clean.labels):,}")
figures.say(epochs_transfer=recipes.transfer_all.epochs)
figures.say(epochs_scratch=recipes.independent_transfer.epochs)
figures.say(**{f"gap_{step}": str(d) for step, d in gaps.items()})
means = damaged.groupby("step")["accuracy"].mean()
figures.say(**{f"damaged_{step}": f"{value:.1%}" for step, value in means.items()})

# %% [markdown]
# The difference is in percentage points of accuracy on the task that the thief wanted, with Welch's 95 % interval over models; those of one architecture count as alike. The effort on the new labels is not the same: the stolen start
# was trained for {glue:text}`epochs_transfer` epochs, the models from scratch for {glue:text}`epochs_scratch`. On {glue:text}`n_corrupted` test images with each corruption, the mean accuracy is
# {glue:text}`damaged_source` for the source as it was, {glue:text}`damaged_transfer_corrupted` for Transfer-10C and {glue:text}`damaged_independent_corrupted` from scratch.

# %% [markdown]
# ## What it means
#
# Where the last column says *worse*, a thief gains nothing by stealing: training from scratch on the same images gives the better model. If a detector succeeds on such a row, the weights can be recognised. It has
# not found a theft worth committing.
#
# How can a judge compare a model for {glue:text}`old_name` with one for {glue:text}`new_name`? The {term}`correlation matrix` has one row per *probe*, not per class. Both models get the same probes, which come from
# the source's task. The suspect's labels make no sense there, but if its features are the source's, it still finds the same pictures alike. Fingerprints that compare labels cannot do this. The
# comparison needs fair negatives: models with new labels are compared with models trained from scratch *on the same new labels*.

# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. Count the weights.** A network has convolutions with 144 and 4,608 weights and a `classifier` of two linear layers with 100,352 and 640. Which share of the weights does Transfer-L leave as they were? Call it `kept`.
# %% tags=["solution"]
kept = (144 + 4608) / (144 + 4608 + 100352 + 640)
# %% tags=["test"]
assert abs(kept - 0.0449) < 1e-3

# %% [markdown] tags=["exercise"]
# **2. Other classes.** The source answers three probes with the classes *a, a, b*, the suspect with *x, y, z*, each with probability 1. Compute their correlation distance `d_other`.
# %% tags=["solution"]
one, other = np.eye(2)[[0, 0, 1]], np.eye(3)
d_other = np.abs((1 - one @ one.T) / 2 - (1 - other @ other.T) / 2).mean()  # one pair, twice
# %% tags=["test"]
assert abs(d_other - 1 / 9) < 1e-9

# %% [markdown] tags=["exercise"]
# **3. Fair negatives.** With which group is each attack compared? Fill the dictionary `fair` for the keys `Transfer-A`, `Transfer-10C` and `Extract-L` with `new labels`, `corrupted images` and `attacker data`.
# %% tags=["solution"]
fair = {"Transfer-A": "new labels", "Transfer-10C": "corrupted images"}
fair["Extract-L"] = "attacker data"
# %% tags=["test"]
assert fair["Transfer-A"] == "new labels" and fair["Transfer-10C"] == "corrupted images"
assert fair["Extract-L"] == "attacker data"


# %% [markdown] tags=["exercise"]
# **4. Stealing pays?** The difference of two mean accuracies, stolen minus from scratch, has the interval from `low` to `high`. Write `pays(low, high)`: `better`, `worse` or `not clearly different`.
# %% tags=["solution"]
def pays(low, high):
    return "better" if low > 0 else "worse" if high < 0 else "not clearly different"


# %% tags=["test"]
assert pays(0.1, 2) == "better" and pays(-2, -0.1) == "worse"
assert pays(-1, 2) == "not clearly different"

# %% [markdown] tags=["exercise"]
# **5. Little data.** Transfer pays most when the new task has few images. Reduce them to a quarter and compare.
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# ```python
# quarter = {"transfer.train": run.profile.transfer.train // 4}
# other = open_run(profile, overrides | quarter)
# rows = suspects.suspects(other, "transfer_all", "transfer_last", "independent_transfer")
# figures.table(suspects.group_table(rows, "accuracy"))
# ```
# This changes the data, so the source is trained again too. Expect the gap to grow in favour of the stolen start.
# :::

# %% [markdown] tags=["exercise"]
# **6. The wrong negatives.** Suppose Transfer-A models were compared with the independent models of the *old* task. In which direction would the AUC be wrong?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# The old-task models know the probes' classes and separate them as the source does, so their matrices resemble the source's for honest reasons. A transferred model does not know these classes any more. The AUC could fall below one half, and it would measure the task.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`hendrycks2019corruptions`: common corruptions as a benchmark.
# - {cite:t}`song2023modelgif`: another way to compare models across tasks.
# - {cite:t}`li2021modeldiff`: model reuse found by testing.
# - Next: those who are innocent ({doc}`07_independent_models`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
