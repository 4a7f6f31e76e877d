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
# ```{admonition} What you will do
# :class: tip
# Look at the images, divide them into four parts that never mix, train the {term}`source` that everybody will want to steal, and find out
# where it errs.
#
# **You learn** which decisions have to be made before any model is trained so that the results at the end mean something; how to state an accuracy
# with its uncertainty; why a source without mistakes would be a bad subject.
#
# **You need** a training loop in PyTorch; {glue:text}`needs`. What is on disk is loaded, and trained only when it is missing.
# ```

# %% [markdown]
# ## The claim under test
#
# This page tests no claim of the paper yet. It tests the ground on which all later pages stand:
#
# 1. the four parts of the data are disjoint, and each has the classes in equal proportion;
# 2. the source has learnt its task;
# 3. it makes enough mistakes to choose {term}`probes` from, because {term}`SAC-source` and {term}`SAC-w` ask about misclassified
#    images.
#
# The released zoo of {cite:t}`guan2022sac` has one source, a torchvision VGG16-BN on CIFAR-10, and how it was trained is not published (read
# in the code). Its probes are test images, and checkpoints were selected by accuracy on the same test set (read in the code). Here
# the probes get a part of their own.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
images_per_class = 12
mistakes_shown = 10

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import Markdown
from myst_nb import glue

from sacutils import evaluation, inspection, plots, training
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()

classes = run.material.class_names
splits = run.material.splits
record = run.zoo.record(run.zoo.source)
source = run.zoo.get(run.zoo.source)

# %% tags=["hide-input"]
size = " × ".join(str(side) for side in splits["owner"].pixels.shape[1:])
glue("needs", inspection.needs(run, "source"), display=False)
glue("data_name", run.profile.data.name, display=False)
glue("n_classes", str(len(classes)), display=False)
glue("size", size, display=False)

# %% [markdown]
# ## The images
#
# This build uses the data set **{glue:text}`data_name`**: {glue:text}`n_classes` classes, images of {glue:text}`size` (channels, height, width), kept as
# bytes. A profile may name any of these:
#
# | name | what | where from |
# |---|---|---|
# | `fashion_subset` | a stratified subset of Fashion-MNIST, grey pictures of clothes {cite:p}`xiao2017fashion` | embedded in `data/`, with its licence (MIT), the script that made it and a checksum that is compared before each use |
# | `fashion_mnist` | the whole of it | downloaded by torchvision |
# | `digits` | handwritten digits | comes with scikit-learn {cite:p}`pedregosa2011sklearn` |
# | `cifar10`, `cifar100` | small colour photographs {cite:p}`krizhevsky2009cifar` | downloaded by torchvision |
# | `imagefolder` | your own | a folder per class |
#
# The official training and test parts of a data set are pooled and divided anew, for we need four parts and not two. A network
# sees pixels as numbers in $[0, 1]$; the step from there to $[-2, 2]$, $x \mapsto (x - 0.5)/0.25$, belongs to the network. All attacks and
# probes can thus be stated in plain pixels.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-data-samples", "caption": "The first images of the owner's part, a row per class (the first ten classes)."}, "image": {"alt": "A grid of small images of the owner split; each row shows images of one class, whose name stands at the left."}}
owner = splits["owner"]
plots.image_rows({name: owner.pixels[owner.labels == k][:images_per_class] for k, name in enumerate(classes[:10])})

# %% [markdown]
# ## Four parts that never mix
#
# Owner and thief have different images, probes come from a third part, and success is measured on a fourth:

# %% tags=["hide-input"]
counts = inspection.class_counts(run)
deviation = (counts / counts.sum()).sub((counts / counts.sum()).mean(axis=1), axis=0).abs().max(axis=None)
shared, twins = inspection.shared_images(run)
assert shared == 0
glue("shared", str(shared), display=False)
glue("twins", str(twins), display=False)
glue("deviation", f"{100 * deviation:.2f}", display=False)

table = pd.DataFrame({"split": counts.columns, "images": counts.sum().to_numpy()})
table["smallest class"] = counts.min().to_numpy()
table["largest class"] = counts.max().to_numpy()
table["what it is for"] = [inspection.PURPOSES[name] for name in counts.columns]
plots.table(table)

# %% [markdown]
# *Disjoint* is checked on every build, in two ways. By place: {glue:text}`shared` entries of the data set lie in two splits. By content:
# {glue:text}`twins` pictures occur, pixel for pixel, in more than one split; such twins are a property of the data set, and a later test could take one for
# a memory of the model.
#
# *Stratified* means that each class has the same share everywhere; the largest deviation is {glue:text}`deviation` percentage points, which is
# rounding. It matters because a difference in classes between owner and thief would let a test recognise data instead of theft.

# %% mystnb={"figure": {"name": "fig-data-splits", "caption": "Images of each class in each split. Within a split all bars are alike if the data set is balanced; between splits the pattern repeats in any case."}, "image": {"alt": "Grouped bar chart of the number of images by class and split; within each split the classes keep the proportions of the whole data set."}}
plots.split_counts(counts)

# %% [markdown]
# The choice depends on labels, sizes and seed only, so that another seed gives another division, another source and other suspects: the
# honest way to repeat the experiment.

# %% [markdown]
# ## The source
#
# The paper's source is a VGG with batch normalisation {cite:p}`simonyan2015vgg,ioffe2015batchnorm`. The networks whose names end in `_s` mirror the
# paper's families at a size that a processor core can train. What matters for the attacks is kept: convolutions with batch
# normalisation (pruning silences channels of the last one) and, in VGG, a `classifier` of three linear layers (*Finetune-L* trains just that block).

# %% tags=["hide-input"]
layers = inspection.layers(source, splits["test"].pixels[:1])
glue("architecture", record["architecture"], display=False)
glue("weights", f"{record['parameters']:,}", display=False)
plots.table(layers, {"weights": "{:,}"})

# %% [markdown]
# The source of this build is a {glue:text}`architecture` with {glue:text}`weights` trainable values. It minimises the cross-entropy to the true labels
# of the owner's images,
#
# $$
# \min_\theta \; \frac{1}{N} \sum_{i=1}^{N} -\log \operatorname{softmax}\bigl(f_\theta(\tilde x_i)\bigr)_{y_i} ,
# $$ (eq-source-loss)
#
# where $\tilde x_i$ is the image after the random shift and flip of the recipe, if any, drawn anew each time, by stochastic
# gradient descent with this recipe:

# %% tags=["hide-input"]
plots.table(inspection.recipe_table(run, "source"))

# %% mystnb={"figure": {"name": "fig-source-training", "caption": "Training of the source: mean loss and accuracy on the augmented batches of each epoch."}, "image": {"alt": "Two line plots over epochs for the source: the mean training loss and the share of correctly classified training images."}}
plots.training_curves(inspection.histories(run, {"source": run.zoo.source}))

# %% [markdown]
# ## Result
#
# An accuracy is a share of $n$ images, and another $n$ images would have given another share. We state it with Wilson's 95 % interval: all true
# accuracies $p$ for which the observed share $\hat p$ is not surprising,
#
# $$
# |\hat p - p| \le z \sqrt{\frac{p (1 - p)}{n}}, \qquad z = \Phi^{-1}(0.975) .
# $$ (eq-wilson)
#
# Unlike $\hat p \pm z\sqrt{\hat p(1-\hat p)/n}$ it stays within $[0, 1]$ and does not collapse at $\hat p = 1$.

# %%
test, probe = splits["test"], splits["probe"]
truth = test.labels.cpu()
probabilities = training.logits_of(source, test.pixels).softmax(1)
predicted = probabilities.argmax(1)
share = (predicted == truth).double().mean().item()
accuracy = evaluation.proportion_interval(share, len(truth))
assert abs(share - record["test_accuracy"]) < 0.01  # the record tells the truth

on_probe_split = training.logits_of(source, probe.pixels).argmax(1)
wrong_probes = (on_probe_split != probe.labels.cpu()).sum().item()
wanted = run.profile.probes.count

# %% tags=["hide-input"]
glue("accuracy", str(accuracy), display=False)
glue("n_test", f"{len(truth):,}", display=False)
glue("train_accuracy", f"{record['train_accuracy']:.1%}", display=False)
glue("guess", f"{1 / len(classes):.1%}", display=False)
glue("learnt", "has learnt its task" if accuracy.low > 1.5 / len(classes) else "has not learnt its task", display=False)
glue("wrong_probes", f"{wrong_probes:,}", display=False)
glue("n_probe", f"{len(probe.labels):,}", display=False)
glue("wanted", str(wanted), display=False)
glue("enough", "enough" if wrong_probes >= wanted else "too few", display=False)

# %% [markdown]
# On the {glue:text}`n_test` test images the source is right on **{glue:text}`accuracy`** (guessing: {glue:text}`guess`): it {glue:text}`learnt`. On the owner's images,
# which it was trained on, it reaches {glue:text}`train_accuracy`; the gap to the test accuracy is what it memorised.
#
# On the {glue:text}`n_probe` images of the probe split it is wrong {glue:text}`wrong_probes` times. A probe set takes {glue:text}`wanted` of them: {glue:text}`enough`.
#
# ### Where it errs
#
# Mistakes are not spread evenly.

# %% mystnb={"figure": {"name": "fig-source-classes", "caption": "Accuracy of the source on the test images of each class, the hardest class at the top; bars are 95 % Wilson intervals (the twenty hardest classes if there are more)."}, "image": {"alt": "Dot plot of the source's test accuracy per class with 95 percent intervals, sorted so that the hardest class is at the top."}}
by_class = inspection.accuracy_by_class(truth, predicted, classes)
plots.class_accuracy(by_class)

# %% tags=["hide-input", "remove-output"]
counts_of = inspection.confusion(truth, predicted, len(classes))
off = counts_of.clone().fill_diagonal_(0)
row, column = divmod(off.argmax().item(), len(classes))
mistakes = int(off.sum())
glue("mistakes", str(mistakes), display=False)
glue("confused", f"{classes[row]} taken for {classes[column]}", display=False)
glue("confused_share", f"{off[row, column].item()} of {mistakes}", display=False)
fig = plots.confusion(counts_of, classes)
glue("source_confusion", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} source_confusion
# :name: fig-source-confusion
# :alt: Heat map of true class against predicted class for the source on test images. Most images lie on the diagonal; the numbers off it are the mistakes.
#
# True against predicted class on test images; colour is the share of the true class. The most frequent mistake is {glue:text}`confused` ({glue:text}`confused_share`
# mistakes).
# :::

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-source-mistakes", "caption": "The test images whose true class the source finds least likely. Above each: the true class, after the arrow what the source says, and how sure it is."}, "image": {"alt": "A row or two of test images that the source gets most wrong, each with its true class, the predicted class and the predicted probability."}}
hardest = probabilities[torch.arange(len(truth)), truth].argsort()[:mistakes_shown]
titles = [f"{classes[truth[i]]}\n→ {classes[predicted[i]]}\n{probabilities[i].max():.2f}" for i in hardest]
half = (len(hardest) + 1) // 2
parts = {"": slice(0, half), " ": slice(half, len(hardest))}
plots.image_rows(
    {key: test.pixels[hardest][part] for key, part in parts.items()}, {key: titles[part] for key, part in parts.items()}
)

# %% [markdown]
# ## What it means
#
# Where classes overlap, several answers are defensible, and which one a network gives is decided by its weights and not by the task. Two
# networks trained apart agree on the easy images *because the images are easy*; on the hard ones they are free to differ. That is why misclassified
# images are the natural place to look for a fingerprint, and why a source that is always right has none to offer there.
#
# It is also a warning. Some mistakes are in the data: a mislabelled picture is "misclassified" by every good model, so sharing that mistake
# says nothing about theft. {term}`SAC-w` does not remove such images. Whether they hurt shows in {doc}`08_independent_models` and {doc}`11_results`.

# %% [markdown]
# ## On your own
#
# **1. How many test images?** By how much would you have to enlarge the test split to halve the width of the interval of the accuracy?
#
# :::{dropdown} Solution
# By {eq}`eq-wilson` the width falls like $1/\sqrt n$: four times as many. This is why small differences between suspects' accuracies should not be
# interpreted, unless both are measured on the *same* images. There the comparison is paired, and only images on which the two differ count
# (McNemar's test).
# :::
#
# **2. Another source.** Run this page with another seed, `make notebook NAME=03_data_and_source SEED=1`. Which of its numbers change, which class is the
# hardest?
#
# :::{dropdown} Solution
# Everything changes a little, since splits, weights and order all follow the seed; the hardest class usually stays, because it is a property of the
# task. Whether *the same images* are misclassified is another question: the images themselves differ between the splits of two seeds.
# :::
#
# **3. Memory.** Compute the accuracy on the owner's and on the attacker's images. What does the difference tell a judge?
#
# :::{dropdown} Solution
# ```python
# for name in ("owner", "attacker"):
#     share = training.accuracy(source, splits[name])
#     print(name, evaluation.proportion_interval(share, len(splits[name].labels)))
# ```
# The source has never seen the attacker's images, so they are a second test set. Being better on the owner's is a trace of
# *training data*, not of the model: dataset inference builds on it {cite:p}`maini2021dataset`, and any honest model trained on the same data shows it too.
# :::
#
# **4. No mistakes.** Suppose that a source is right on all images of the probe split. Which SAC variants can still be used?
#
# :::{dropdown} Solution
# SAC-normal, SAC-m and SAC-JC, which do not ask for mistakes ({doc}`10_probes`). SAC-m and SAC-JC make easy images harder instead of selecting hard ones.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`xiao2017fashion` on the default data set and why it was made; {cite:t}`krizhevsky2009cifar` on CIFAR.
# - {cite:t}`simonyan2015vgg` and {cite:t}`ioffe2015batchnorm` on the architecture.
# - Next: the thief has the weights ({doc}`04_finetuning_and_pruning`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
