# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Data and the source model
#
# ## The answer in short
#
# The five parts of the data have {glue:text}`shared` images in common, and each has the classes in the same proportions. The {term}`source` is right on {glue:text}`accuracy` of
# {glue:text}`n_test` test images, and guessing would reach {glue:text}`guess`. It is wrong on {glue:text}`wrong_probes` of the {glue:text}`n_probe` images that {term}`probes` are chosen
# from. That is {glue:text}`enough` for a probe set of {glue:text}`wanted`. When a thief asks about shifted images, a source that was trained with shifts is right on {glue:text}`with_shifted`, and
# one that never saw a shifted image on {glue:text}`without_shifted`. The {term}`regime` of this build is *{glue:text}`regime`*.
#
# ```{admonition} What you will do
# :class: tip
# Look at the images, divide them into five parts that never mix, train the source that everybody will want to steal, and find out where it errs.
#
# **You learn** which decisions have to be made before any model is trained so that the results at the end mean something; how to state an accuracy
# with its uncertainty; why a source without mistakes would be a bad subject; why the source should see the kind of images that it will be asked about.
#
# **You need** a training loop in PyTorch; {glue:text}`needs`. What is on disk is loaded, and trained only when it is missing.
# ```
#
# ## The claim under test
#
# This page tests no claim of the paper yet. It tests the ground on which all later pages stand:
#
# 1. the five parts of the data are disjoint, and each has the classes in equal proportion;
# 2. the source has learnt its task;
# 3. it makes enough mistakes to choose probes from: {term}`SAC-source` and {term}`SAC-w` ask about misclassified images.
#
# The released zoo of {cite:t}`guan2022sac` has one source, a torchvision VGG16-BN on CIFAR-10, and how it was trained is not published. Its probes are test images, and checkpoints
# were selected by accuracy on the same test set (read in the code). Here the probes get a part of their own.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
images_per_class = 16  # 1 to 24: images of each class in the first figure
images_asked = 2000  # 10 to 20000: attacker images on which the source is examined
mistakes_shown = 10  # 2 to 16: images in the last figure

# %% tags=["hide-input"]
from collections import Counter

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from sklearn.metrics import confusion_matrix

from sacutils import data, evaluation, figures, steps, training
from sacutils.run import open_run, provenance_line
from sacutils.studies import suspects

run = open_run(profile, overrides)
run.announce("source")
# the source of either regime: trained on images as the thief will shift them, or not shifted
pads = {"shifted": run.profile.recipes.extract_label.pad, "not shifted": 0}
regimes = {k: open_run(profile, overrides | {"recipes.source.pad": pads[k]}) for k in pads}
for other in regimes.values():
    other.announce("source")
figures.use_style()

classes = run.material.class_names
parts = ("owner", "attacker", "probe", "reserve", "test")
splits = {name: run.material.splits[name] for name in parts}
record, source = run.zoo.record(run.zoo.source), run.zoo.get(run.zoo.source)

# %% tags=["remove-cell"]
size = " × ".join(str(side) for side in splits["owner"].pixels.shape[1:])
figures.say(needs=suspects.needs(run, "source"), data_name=run.profile.data.name, size=size)
figures.say(n_classes=len(classes), regime=steps.regime(run.profile), pad=pads["shifted"])

# %% [markdown]
# ## The images
#
# This build uses the data set **{glue:text}`data_name`**: {glue:text}`n_classes` classes, images of {glue:text}`size` (channels, height, width), kept as
# bytes.
#
# ::::{dropdown} Data sets that a profile may name
# :::{table} Data sets that a profile may name, and where they come from
# | name | what | where from |
# |---|---|---|
# | `fashion_subset` | a stratified subset of Fashion-MNIST, grey pictures of clothes {cite:p}`xiao2017fashion` | embedded in `data/`, with its licence (MIT), the script that made it and a checksum that is compared before each use |
# | `fashion_mnist` | the whole of it | downloaded by torchvision |
# | `digits` | handwritten digits | comes with scikit-learn {cite:p}`pedregosa2011sklearn` |
# | `cifar10`, `cifar100` | small colour photographs {cite:p}`krizhevsky2009cifar` | downloaded by torchvision |
# | `imagefolder` | your own | a folder per class |
# :::
# ::::
#
# The official training and test parts of a data set are pooled and divided anew, because we need five parts. A network sees pixels as numbers in $[0, 1]$; the step from there
# to $[-2, 2]$, $x \mapsto (x - 0.5)/0.25$, belongs to the network.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-data-samples", "caption": "The first images of the owner's part, a row per class (the first ten classes). Look for images that could stand in another row."}, "image": {"alt": "The images of a row belong to one class, whose name stands at the left, and differ among themselves."}}
owner = splits["owner"]
rows = {k: owner.pixels[owner.labels == i] for i, k in enumerate(classes[:10])}
figures.images({name: pixels[:images_per_class] for name, pixels in rows.items()})

# %% [markdown]
# ## Five parts that never mix
#
# Owner and thief have different images, and probes come from a third part. The {term}`reserve` is the fourth: the owner's too, but the source was not trained on it. Success is measured on the fifth.

# %% tags=["hide-input"]
purposes = {
    "owner": "trains the source, its siblings, some controls and one group of independent models",
    "attacker": "trains stolen models, students of another and independent models",
    "probe": "probes are chosen from it",
    "reserve": "trains the owner's surrogates and the other controls",
    "test": "accuracy and fidelity of models are measured on it",
}
labels = {name: split.labels.cpu() for name, split in splits.items()}
counts = pd.DataFrame({k: np.bincount(v, minlength=len(classes)) for k, v in labels.items()})
table = pd.DataFrame({"images": counts.sum(), "smallest class": counts.min()})
table = table.assign(**{"largest class": counts.max(), "what it is for": pd.Series(purposes)})
table = table.rename_axis("split").reset_index()
figures.table(table, caption="The splits: images of each, and what they are for")

# %% [markdown]
# No model is trained on test images, and none is chosen by them. Where a page measures accuracy on other images as well, it says so. {doc}`06_transfer` has images of another data set
# besides. Every build checks that the splits are disjoint, by number and by content:

# %%
numbers = Counter(i for name in splits for i in run.material.index[name].tolist())
shared = sum(count > 1 for count in numbers.values())
assert shared == 0
pictures = [{image.tobytes() for image in split.pixels.cpu().numpy()} for split in splits.values()]
twins = sum(count > 1 for count in Counter(p for part in pictures for p in part).values())
shares = counts / counts.sum()
deviation = shares.sub(shares.mean(axis=1), axis=0).abs().max(axis=None)

# %% tags=["remove-cell"]
figures.say(shared=shared, twins=twins, deviation=f"{100 * deviation:.2f}")

# %% [markdown]
# {glue:text}`shared` images of the data set lie in two splits. Duplicates within the data set would look like memorisation, so they are counted too: {glue:text}`twins` pictures
# occur, pixel for pixel, in more than one split.
#
# Each class has the same share in each split, or a test could recognise data instead of theft. The largest deviation is {glue:text}`deviation` percentage points, from rounding.
# The division depends on labels, sizes and seed only. Another seed gives another division, another source and other suspects.

# %% [markdown]
# ## The source
#
# The paper's source is a VGG with batch normalisation {cite:p}`simonyan2015vgg,ioffe2015batchnorm`. The networks whose names end in `_s` mirror the paper's families at a size that a processor core
# can train: convolutions with batch normalisation (pruning silences channels of the last one) and, in VGG, a `classifier` of three linear layers (*Finetune-L* trains just that block).

# %% tags=["hide-cell"]
layers = [
    (name, type(module).__name__, sum(weight.numel() for weight in module.parameters()))
    for name, module in source.named_modules()
    if next(module.children(), None) is None
]
layers = pd.DataFrame(layers, columns=["layer", "kind", "weights"])
figures.say(architecture=record["architecture"], weights=f"{record['parameters']:,}")
caption = "Layers of the source and their trainable values"
figures.table(layers, {"weights": "{:,}"}, caption=caption)

# %% [markdown]
# The source of this build is a {glue:text}`architecture` with {glue:text}`weights` trainable values. It minimises the cross-entropy to the true labels
# of the owner's images,
#
# $$
# \min_\theta \; \frac{1}{N} \sum_{i=1}^{N} -\log \operatorname{softmax}\bigl(f_\theta(\tilde x_i)\bigr)_{y_i} ,
# $$ (eq-source-loss)
#
# where $\tilde x_i$ is the image after the random shift and flip of the recipe, if any, drawn anew each time, by stochastic gradient descent:

# %% tags=["hide-cell"]
figures.table(suspects.recipe_table(run, "source"), caption="Recipe of the source")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-source-training", "caption": "Training of the source: mean loss and accuracy on the augmented batches of each epoch. Curves that still move at the right end would ask for more epochs."}, "image": {"alt": "While the source trains, its mean loss falls and its accuracy on its own images rises."}}
frame = figures.training_frame(suspects.histories(run, {"source": run.zoo.source}))
axes = {"x_label": "epoch", "y_label": "", "facet": "measure", "share_y": False}
figures.curves(frame, "epoch", "value", role="model", **axes)

# %% [markdown]
# ## What the source will be asked
#
# A thief without the weights asks the source about images *as their own training shifts and flips them*, here by up to {glue:text}`pad` pixels ({doc}`04_extraction`). What the answers
# are worth depends on whether the source has seen such images. So there are two {term}`regimes <regime>`:
#
# - **one augmentation** for everybody, the default. Source, students and independent models shift their images alike, as the students of the released code do; how its source was trained is not published.
# - **source without augmentation**, the profiles `fashion_plain` and `cifar10_plain`. The source and the independent models never see a shifted image, and thieves ask about shifted images only.
#
# Here is the source of either regime, asked about the same attacker images, plain and shifted. Their true labels serve to examine it:

# %%
recipe, asked = run.profile.recipes.extract_label, splits["attacker"].take(slice(images_asked))
generator = torch.Generator().manual_seed(run.profile.seed)
moved = data.augment(asked.pixels, recipe.pad, recipe.flip, generator)
rows, right_on, truth = [], {}, asked.labels.cpu()
for regime, other in regimes.items():
    model = other.zoo.get(run.zoo.source)
    plain, shifted = (training.logits_of(model, x).argmax(1) for x in (asked.pixels, moved))
    shares = [suspects.share(hits) for hits in (plain == truth, shifted == truth, plain != shifted)]
    rows.append([regime, *map(str, shares)])
    right_on[regime] = shares[1]
columns = ["its training images were", "right, plain", "right, shifted", "label changed by shift"]
caption = "The source on images of the attacker, plain and shifted, in both regimes"
figures.table(pd.DataFrame(rows, columns=columns), caption=caption)

# %% tags=["remove-cell"]
known, unknown = right_on["shifted"], right_on["not shifted"]
lost = ["not clearly worse", "clearly worse"][known.low > unknown.high]
figures.say(with_shifted=str(known), without_shifted=str(unknown), lost=lost)

# %% [markdown]
# On the shifted images the source that never saw one is **{glue:text}`lost`** than the other (clearly: the intervals do not overlap). Where it is worse, its students learn from more wrong
# labels, and a detector may recognise their *style of training* instead of the theft. {doc}`13_what_reproduces` shows what changes from one regime to the other.

# %% [markdown]
# ## Result
#
# Another $n$ images would have given another share. We state it with Wilson's 95 % interval: all true accuracies $p$ for which the observed share $\hat p$ is not surprising,
#
# $$
# |\hat p - p| \le z \sqrt{\frac{p (1 - p)}{n}}, \qquad z = \Phi^{-1}(0.975) .
# $$ (eq-wilson)
#
# Unlike $\hat p \pm z\sqrt{\hat p(1-\hat p)/n}$ it stays within $[0, 1]$ and does not collapse at $\hat p = 1$. By hand, as the two roots of a quadratic in $p$:

# %%
test, probe = splits["test"], splits["probe"]
truth = test.labels.cpu()
probabilities = training.logits_of(source, test.pixels).softmax(1)
predicted = probabilities.argmax(1)
share, n = (predicted == truth).double().mean().item(), len(truth)
assert abs(share - record["test_accuracy"]) < 0.01  # the record tells the truth

z = 1.959964
low, high = sorted(np.roots([1 + z**2 / n, -2 * share - z**2 / n, share**2]))
accuracy = evaluation.proportion_interval(share, n)
np.testing.assert_allclose([low, high], [accuracy.low, accuracy.high], atol=1e-5)

on_probe_split = training.logits_of(source, probe.pixels).argmax(1)
wrong_probes = (on_probe_split != probe.labels.cpu()).sum().item()
wanted = run.profile.probes.count

# %% tags=["remove-cell"]
learnt = "has learnt" if accuracy.low > 1.5 / len(classes) else "has not learnt"
figures.say(accuracy=str(accuracy), n_test=f"{n:,}", guess=f"{1 / len(classes):.1%}")
figures.say(train_accuracy=f"{record['train_accuracy']:.1%}", wanted=wanted, learnt=learnt)
figures.say(wrong_probes=f"{wrong_probes:,}", n_probe=f"{len(probe.labels):,}")
figures.say(enough="enough" if wrong_probes >= wanted else "too few")

# %% [markdown]
# On the {glue:text}`n_test` test images the source is right on **{glue:text}`accuracy`** (guessing: {glue:text}`guess`), so it **{glue:text}`learnt`** its task. On the owner's images,
# which it was trained on, it reaches {glue:text}`train_accuracy`. A gap beyond the interval is a trace of memorising.
#
# ### Where it errs
#
# The hardest class is *{glue:text}`hardest_class`*: the source is right on {glue:text}`hardest_accuracy` of its test images.

# %% tags=["remove-cell"]
confused = confusion_matrix(truth, predicted, labels=range(len(classes)))
wrong = confused - np.diag(np.diag(confused))
row, column = np.unravel_index(wrong.argmax(), wrong.shape)
figures.say(confused=f"{classes[row]} taken for {classes[column]}")
figures.say(confused_share=f"{wrong[row, column]} of {wrong.sum()}")

sizes = confused.sum(1)
hardest = (np.diag(confused) / sizes.clip(1) + (sizes == 0)).argmin()
right = evaluation.proportion_interval(confused[hardest, hardest] / sizes[hardest], sizes[hardest])
figures.say(hardest_class=classes[hardest], hardest_accuracy=str(right))

ticks = {"index": classes, "columns": classes}
cells = pd.DataFrame(confused / sizes[:, None].clip(1), **ticks)
words = pd.DataFrame(confused, **ticks).astype(str).replace("0", "")
axes = {"x": "predicted class", "y": "true class", "text": words if len(classes) <= 20 else None}
figures.show("source_confusion", figures.heat(cells, "share of the true class", **axes))

# %% [markdown]
# :::{glue:figure} source_confusion
# :name: fig-source-confusion
# :alt: The mistakes of the source gather in few pairs of classes; the most frequent one is {glue:text}`confused`.
#
# True against predicted class on test images; colour is the share of the true class. Mistakes gather in few pairs of classes. The most frequent one is {glue:text}`confused`
# ({glue:text}`confused_share` mistakes).
# :::

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-source-mistakes", "caption": "The test images whose true class the source finds least likely. Above each: the true class, after the arrow what the source says, and how sure it is. It is sure of many of these mistakes."}, "image": {"alt": "On its worst mistakes the source is surer of a wrong class than of the true one; both classes and its probability stand above each image."}}
hardest = probabilities[torch.arange(n), truth].argsort()[:mistakes_shown]
titles = [
    f"{classes[truth[i]]}\n→ {classes[predicted[i]]}\n{probabilities[i].max():.2f}" for i in hardest
]
half = (len(hardest) + 1) // 2
parts = {"": slice(0, half), " ": slice(half, len(hardest))}
pixels = {key: test.pixels[hardest[part]] for key, part in parts.items()}
figures.images(pixels, {key: titles[part] for key, part in parts.items()})

# %% [markdown]
# ## What it means
#
# Where classes overlap, several answers are defensible, and which one a network gives is decided by its weights and not by the task. Two networks that were trained apart agree on the
# easy images *because the images are easy*. On the hard ones they are free to differ, so some probe sets of {doc}`09_probes` are mistakes of the source.
#
# Some mistakes are in the data. A mislabelled picture is "misclassified" by every good model, so sharing that mistake says nothing about theft, and {term}`SAC-w` does not remove such
# images. {doc}`07_independent_models` counts how many mistakes independent models share.

# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. How many test images?** By which factor must the test split grow to halve the width of the interval {eq}`eq-wilson`? Call it `factor`.
# %% tags=["solution"]
factor = 4  # the width falls like one over the root of n
# %% tags=["test"]
assert factor == 4


# %% [markdown] tags=["exercise"]
# **2. All right.** A source is right on all $n$ test images. Write `lowest(n)`, the lower end of its Wilson interval {eq}`eq-wilson`.
# %% tags=["solution"]
def lowest(n):
    return n / (n + 1.96**2)  # set the observed share to 1 and solve for p


# %% tags=["test"]
assert abs(lowest(100) - 0.9630) < 1e-3 and abs(lowest(1000) - 0.9962) < 1e-3
# %% [markdown] tags=["exercise"]
# **3. No mistakes.** Suppose that a source is right on all images of the probe split. Which of the sets `normal`, `source`, `w`, `m` and `jc` of {doc}`09_probes` can still be made? Put their names into the set `usable`.
# %% tags=["solution"]
usable = {"normal", "m", "jc"}  # they do not ask for mistakes
# %% tags=["test"]
assert set(usable) == {"normal", "m", "jc"}
# %% [markdown] tags=["exercise"]
# **4. Memory.** Compute the accuracy on the owner's and on the attacker's images. What does the difference tell a judge?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# `training.accuracy(source, splits["owner"])` and the same for the attacker's images, which are a second test set for the source. Being better on the owner's is a trace of *training data*, not of the model: dataset inference builds on it {cite:p}`maini2021dataset`, and an honest model on the same data shows it too.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`xiao2017fashion` on the default data set and why it was made; {cite:t}`krizhevsky2009cifar` on CIFAR.
# - {cite:t}`simonyan2015vgg` and {cite:t}`ioffe2015batchnorm` on the architecture.
# - Next: the thief has the weights ({doc}`03_finetuning_and_pruning`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
