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
# ```{admonition} What you will do
# :class: tip
# Steal the source by its weights and turn it to another use: new labels (*Transfer-A*, *Transfer-L*), or the old labels on corrupted images
# (*Transfer-10C*).
#
# **You learn** what is left of a model when its last layer is replaced; how two models with different classes can be compared at all; why each of these
# attacks needs irrelevant models of its own.
#
# **You need** {doc}`04_finetuning_and_pruning`; {glue:text}`needs`. What is on disk is loaded, and trained only when it is missing.
# ```

# %% [markdown]
# ## The claim under test
#
# On the models released with SAC, the {term}`AUC` printed for Transfer-A, Transfer-L and Transfer-10C is 1.00 each. IPGuard, CAE and EWE have no entry for the first two (read in
# {cite:t}`song2023modelgif`); whoever compares labels has nothing to compare when the labels are others. There the new task is the first ten classes of CIFAR-100, and CIFAR-10C for the third attack (read in
# the code). On other models, of {cite:t}`marginfinger2024`, SAC-w has 0.68 and SAC-m 0.75 for transfer (read in their evaluation).
#
# This page asks: **is the stolen start worth anything for the new task**, so that a thief would do this at all? The AUC is in {doc}`11_results`.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
images_per_class = 12
corruption_images = 500

# %%
from IPython.display import Markdown
from myst_nb import glue

from sacutils import data, evaluation, inspection, lineage, plots
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()

new, new_classes = run.material.splits["transfer_train"], run.material.transfer_class_names
source = run.zoo.get(run.zoo.source)
relabelled = inspection.suspects(run, "transfer_all", "transfer_last", "irrelevant_transfer")
corrupted = inspection.suspects(run, "transfer_corrupted", "irrelevant_corrupted")

# %% tags=["hide-input"]
steps = ("transfer_all", "transfer_last", "transfer_corrupted", "irrelevant_transfer", "irrelevant_corrupted")
glue("needs", inspection.needs(run, *steps), display=False)
glue("old_name", run.profile.data.name, display=False)
glue("new_name", run.profile.transfer.data.name, display=False)
glue("n_new", f"{len(new.labels):,}", display=False)
glue("n_new_classes", str(len(new_classes)), display=False)

# %% [markdown]
# ## New labels
#
# The source was trained on {glue:text}`old_name`. The thief wants a classifier for **{glue:text}`new_name`**, has {glue:text}`n_new` images of its
# {glue:text}`n_new_classes` classes, and brings them to the shape of the source's input:

# %% mystnb={"figure": {"name": "fig-transfer-samples", "caption": "Training images of the new task, a row per class (the first ten classes)."}, "image": {"alt": "A grid of small images of the new task; each row shows images of one class, whose name stands at the left."}}
rows = {name: new.pixels[new.labels == k][:images_per_class] for k, name in enumerate(new_classes[:10])}
plots.image_rows(rows)

# %% [markdown]
# Write the source as $f_S = h_S \circ g_S$ with the last linear layer $h_S$. The thief throws $h_S$ away, draws a fresh layer $h$ with as many outputs as there are new classes, and
# trains on the new images:
#
# $$
# \min_{\theta} \; \frac1N \sum_{i=1}^N \mathrm{CE}\bigl((h \circ g)(\tilde x_i),\, y_i^{\text{new}}\bigr), \qquad g_0 = g_S .
# $$ (eq-transfer)
#
# *Transfer-A* trains everything. *Transfer-L* trains the last block only (in VGG the three layers of the `classifier`, of which only the very last is new), and the convolutions stay the
# source's to the last bit.
#
# The honest counterpart trains on the same new images from a random start: {term}`irrelevant` models on new labels.

# %% tags=["hide-input"]
plots.table(inspection.recipe_table(run, "transfer_all", "transfer_last", "irrelevant_transfer"))

# %% [markdown]
# How the released transfer models were trained is not published.

# %% mystnb={"figure": {"name": "fig-transfer-training", "caption": "Training on the new labels, from the source and from a random start: mean loss and accuracy on the augmented batches, first model of each kind and architecture."}, "image": {"alt": "Two line plots over epochs: mean loss and accuracy on the new task for Transfer-A, Transfer-L and irrelevant models trained from scratch."}}
first = {"Transfer-A": run.names("transfer_all")[0], "Transfer-L": run.names("transfer_last")[0]}
for architecture, name in inspection.first_of_each(run, "irrelevant_transfer").items():
    first[f"from scratch, {architecture}"] = name
plots.training_curves(inspection.histories(run, first))

# %% [markdown]
# ## Corrupted images
#
# *Transfer-10C* keeps the classes and changes the pictures: the thief fine-tunes the source, as in {eq}`eq-finetune`, on corrupted copies of the attacker's images, and gets a model for bad
# cameras. The name comes from CIFAR-10-C {cite:p}`hendrycks2019corruptions`. Here each image gets one corruption at random, at one moderate strength:

# %% mystnb={"figure": {"name": "fig-transfer-corruptions", "caption": "Each corruption on the same images."}, "image": {"alt": "Rows of the same few images: clean, then with each of the corruptions, such as noise, blur, contrast, brightness, pixelation and JPEG compression."}}
some = run.material.splits["test"].take(slice(0, 10))
rows = {"clean": some.pixels}
for kind in data.CORRUPTIONS:
    rows[kind] = inspection.corrupted(some, kind, run.profile.seed).pixels
plots.image_rows(rows)

# %% tags=["hide-input"]
plots.table(inspection.recipe_table(run, "transfer_corrupted", "irrelevant_corrupted"))

# %% [markdown]
# ### What moved?
#
# As in {doc}`04_finetuning_and_pruning`, layer by layer (the new last layer has no counterpart if its shape changed, and is left out then):

# %% mystnb={"figure": {"name": "fig-transfer-weights", "caption": "Relative change of each layer's weights, for the first model of each kind. Transfer-L leaves the convolutions alone."}, "image": {"alt": "Line plot of the relative change of weights over the layers of the source for Transfer-A, Transfer-L and Transfer-10C. Transfer-L is at zero before the classifier block."}}
changes = {
    lineage.LABELS[step]: inspection.weight_change(source, run.zoo.get(run.names(step)[0]))
    for step in ("transfer_all", "transfer_last", "transfer_corrupted")
}
plots.weight_changes(changes)

# %% [markdown]
# ## Result
#
# **New labels.** Accuracy on test images of the *new* task; mean over models, lowest and highest in brackets. {term}`Fidelity <fidelity>` does not exist here: the labels of suspect and source mean
# different things.

# %% tags=["hide-input"]
plots.table(inspection.group_table(relabelled, "accuracy"))

# %% mystnb={"figure": {"name": "fig-transfer-accuracy", "caption": "Accuracy on the new task of every model with new labels: stolen (filled) and from scratch (open). Bars are 95 % Wilson intervals over test images."}, "image": {"alt": "Dot plot of accuracy on the new task with error bars, by architecture, for Transfer-A, Transfer-L and irrelevant models trained from scratch."}}
plots.by_architecture(relabelled, ("accuracy",))

# %% [markdown]
# **Corrupted images.** Accuracy on clean test images, and fidelity to the source there:

# %% tags=["hide-input"]
plots.table(inspection.group_table(corrupted))

# %% [markdown]
# And on corrupted ones, which is what the thief wanted:

# %% mystnb={"figure": {"name": "fig-transfer-by-corruption", "caption": "Accuracy on test images with each corruption, for the source as it was stolen, the stolen models after training, and models trained from scratch on the same corrupted images."}, "image": {"alt": "Dot plot with one line per corruption: accuracy of the source, of Transfer-10C models and of irrelevant models trained on corrupted images."}}
groups = {"Source": [run.zoo.source]}
for step in ("transfer_corrupted", "irrelevant_corrupted"):
    groups[lineage.LABELS[step]] = run.names(step)
by_kind = inspection.accuracy_by_corruption(run, groups, corruption_images)
plots.corruption_accuracy(by_kind)

# %% tags=["hide-input"]
scratch = relabelled[relabelled["step"] == "irrelevant_transfer"]["accuracy"].to_numpy()
for step in ("transfer_all", "transfer_last"):
    own = relabelled[relabelled["step"] == step]["accuracy"].to_numpy()
    gap = evaluation.mean_difference(own, scratch)
    verdict = "better" if gap.low > 0 else "worse" if gap.high < 0 else "neither clearly better nor clearly worse"
    glue(f"gap_{step}", str(gap), display=False)
    glue(f"pays_{step}", verdict, display=False)
recipes = run.profile.recipes
glue("epochs_transfer", str(recipes.transfer_all.epochs), display=False)
glue("epochs_scratch", str(recipes.irrelevant_transfer.epochs), display=False)
damaged = by_kind[by_kind["corruption"] != "none"].groupby("group")["accuracy"].mean()
labels = {"source": "Source"} | {step: lineage.LABELS[step] for step in ("transfer_corrupted", "irrelevant_corrupted")}
for step, label in labels.items():
    glue(f"damaged_{step}", f"{damaged[label]:.1%}", display=False)
glue("n_corrupted", f"{min(corruption_images, len(run.material.splits['test'].labels)):,}", display=False)

# %% [markdown]
# On the new labels Transfer-A is {glue:text}`pays_transfer_all` than training from scratch ({glue:text}`gap_transfer_all` percentage points, Welch's 95 % interval over models), and Transfer-L is
# {glue:text}`pays_transfer_last` ({glue:text}`gap_transfer_last`). Mind the effort: the stolen start was trained for {glue:text}`epochs_transfer` epochs, the models from scratch for
# {glue:text}`epochs_scratch`.
#
# On {glue:text}`n_corrupted` test images with each corruption, the mean accuracy is {glue:text}`damaged_source` for the source as it was, {glue:text}`damaged_transfer_corrupted` for
# Transfer-10C and {glue:text}`damaged_irrelevant_corrupted` from scratch.

# %% [markdown]
# ## What it means
#
# A thief who transfers saves training and data; how much, the comparison with the models from scratch shows. If it saves nothing, the attack is an exercise, and a detector's
# success on it has little weight.
#
# How can a judge compare a model for {glue:text}`old_name` with one for {glue:text}`new_name`? The {term}`correlation matrix` has one row per *probe*, not per class. Show both models the same probes, which
# come from the source's task. The suspect's labels make no sense there, yet if its features are the source's, it will still find the same pictures alike. This is the strongest point of sample correlation in
# comparison with fingerprints that compare labels. It also makes fair negatives essential: the models with new labels are compared with models trained from scratch *on the
# same new labels*, never with those of the old task, from which they would differ for reasons that have nothing to do with theft.

# %% [markdown]
# ## On your own
#
# **1. Little data.** Transfer pays most when the new task has few images. Reduce them to a quarter and compare.
#
# :::{dropdown} Solution
# ```python
# quarter = {"transfer.train": run.profile.transfer.train // 4}
# other = open_run(profile, overrides | quarter)
# plots.table(inspection.group_table(inspection.suspects(other, "transfer_all", "transfer_last", "irrelevant_transfer"), "accuracy"))
# ```
# This changes the data, so the source is trained again too. Expect the gap to grow in favour of the stolen start.
# :::
#
# **2. Count the weights.** Which share of the weights does Transfer-L leave as they were?
#
# :::{dropdown} Solution
# ```python
# from sacutils import models
#
# size = lambda part: sum(parameter.numel() for parameter in part.parameters())
# print(1 - size(models.head_of(source)) / size(source))
# ```
# The convolutions are unchanged, so their activations on any probe are *identical* to the source's. Somebody with access to the inside would need no fingerprint.
# :::
#
# **3. The wrong negatives.** Suppose Transfer-A models were compared with the irrelevant models of the *old* task. In which direction would the AUC be wrong?
#
# :::{dropdown} Solution
# The old-task models know the probes' classes and separate them as the source does, so their matrices resemble the source's for honest reasons; a transferred model does not know these
# classes any more. The AUC could fall below one half: it would measure the task.
# :::
#
# **4. A new corruption.** Add a function to `data.CORRUPTIONS` (say, a dark band across the image) and predict which models are trained again.
#
# :::{dropdown} Solution
# All. The corrupted images belong to the packed data of the run, and the data's digest enters that of every model. Try `make book PROFILE=smoke` twice, before and after.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`hendrycks2019corruptions`: common corruptions as a benchmark.
# - {cite:t}`song2023modelgif`: another way to compare models across tasks.
# - {cite:t}`li2021modeldiff`: model reuse found by testing.
# - Next: those who are innocent ({doc}`08_independent_models`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
