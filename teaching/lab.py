# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Was this model stolen? A lab of 90 minutes
#
# A trained network can be copied without its weights: a thief asks it about many images and trains a network of its own on the answers. You will compute a *fingerprint* that is
# meant to tell such copies from networks that were trained honestly. You will then find out on what its success depends, and judge six suspects whose origin is sealed.
#
# You need NumPy, pandas and matplotlib. Nothing is trained here: the answers of all models are in the files beside this notebook.
#
# Run the cells in order (Shift+Enter). Where a cell says *your turn*, complete it and run the cell below it: it says **OK**, or **Not yet** with a hint. Nobody has to finish a task to go
# on with the next one.
#
# | words | |
# |---|---|
# | *source* | the network of the owner |
# | *suspect* | a network of somebody else, of which we see the answers only |
# | *stolen* | made from the source, for example an *Extract-L* student: trained on the labels that the source gave |
# | *independent* | made without the source |
# | *probe* | an image that we show to the source and to the suspect |

# %% [markdown]
# ## 0. Is everything there? (5 minutes)
#
# The cell below must end with OK. If Python finds no module `saclab`, this notebook does not lie in the unpacked folder `sac-lab`. On Colab, upload `sac-lab.zip` first: the symbol of a folder
# on the left, then the symbol of an upload.

# %%
import json
import os
import platform
import sys
import zipfile
from pathlib import Path

if not Path("saclab.py").exists() and Path("sac-lab.zip").exists():  # Colab
    zipfile.ZipFile("sac-lab.zip").extractall()
    os.chdir("sac-lab")
    sys.path.insert(0, str(Path.cwd()))

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import saclab

broken = saclab.damaged()
print("Python", platform.python_version(), "NumPy", np.__version__, "pandas", pd.__version__)
print(f"Copy these files again: {', '.join(broken)}" if broken else "OK: all files are complete")

# %%
answers = np.load("answers.npz")  # for each probe set: logits (models, probes, classes)
images = np.load("images.npz")  # for each probe set: pixels (probes, channels, height, width)
models = pd.read_csv("models.csv")  # a row per model, in the order of the answers
probes = pd.read_csv("probes.csv")  # a row per probe, with its true class

PROBES = "w"  # SAC-w: images that the source and the owner's own copies of it get wrong
truth = probes[probes["probes"] == PROBES].reset_index(drop=True)
print(len(models), "models, probe sets:", ", ".join(answers.files))
models.head(3)

# %% [markdown]
# One function gives the answers of a model on the probes as probabilities, one row per probe.


# %%
def outputs(name, form="probabilities"):
    """Answers of a model: one row per probe, one column per class."""
    row = models.index[models["model"] == name][0]
    return saclab.in_form(saclab.answers(answers[PROBES], row), form)


source = models.loc[models["role"] == "source", "model"].iloc[0]
stolen = models.loc[models["group"] == "Extract-L", "model"].iloc[0]
independent = models.loc[models["negatives"] == "attacker data", "model"].iloc[0]
print("source     ", source)
print("stolen     ", stolen)
print("independent", independent)

# %% [markdown]
# ## 1. Matrix and distance, first by hand (15 minutes)
#
# Here are three probes, and what the source answers.

# %%
figure, axes = plt.subplots(1, 3, figsize=(6, 2.4))
for i, axis in enumerate(axes):
    axis.imshow(np.moveaxis(images[PROBES][i], 0, -1), cmap="gray")
    axis.set_title(f"image {i}: {truth['true_class'][i]}", fontsize=9)
    axis.axis("off")
plt.show()
three = outputs(source)[:3]
pd.DataFrame(three).round(2)

# %% [markdown]
# How unlike are the answers to two images? We take the angle between the two rows $o_i$ and $o_j$:
#
# $$C_{ij} = \frac{1 - \cos(o_i, o_j)}{2}, \qquad \cos(o_i, o_j) = \frac{o_i \cdot o_j}{\lVert o_i \rVert\, \lVert o_j \rVert}$$
#
# **Your turn, on paper.** Compute $C_{01}$ from the rounded numbers of the table. Columns of zeros need no ink. Enter it with two digits.

# %% tags=["exercise"]
c_01 = None  # your turn

# %% tags=["solution"]
c_01 = 0.5 * (1 - three[0] @ three[1] / np.linalg.norm(three[0]) / np.linalg.norm(three[1]))

# %% tags=["test"]
right = saclab.matrix(three)[0, 1]
saclab.check(
    "one entry by hand", lambda: c_01, right,
    (1 - 2 * right, "This is the cosine. C is one minus the cosine, divided by two."),
    (2 * right, "Divide by two."),
    (0.5 * (1 - three[0] @ three[1]), "Divide the product by the lengths of both rows."),
    within=0.015,
)  # fmt: skip

# %% [markdown]
# **Your turn, in code.** The whole matrix for any number of probes. Scale every row to length one; then one product of matrices gives all cosines.


# %% tags=["exercise"]
def my_matrix(o):
    """The matrix C of answers o, one row per probe."""
    # your turn


# %% tags=["solution"]
def my_matrix(o):
    """The matrix C of answers o, one row per probe."""
    u = o / np.linalg.norm(o, axis=1, keepdims=True)
    return (1 - u @ u.T) / 2


# %% tags=["test"]
right, o = saclab.matrix(three), three / np.linalg.norm(three, axis=0, keepdims=True)
saclab.check(
    "the matrix", lambda: my_matrix(three), right,
    (1 - 2 * right, "These are cosines. C is one minus the cosine, divided by two."),
    (2 * right, "Divide by two."),
    ((1 - three @ three.T) / 2, "The rows do not have length one yet."),
    ((1 - o @ o.T) / 2, "You scaled the columns. Each row is a probe: axis=1, keepdims=True."),
)  # fmt: skip

# %% [markdown]
# Source and suspect are compared entry by entry. The *distance* is the mean absolute difference, over all entries:
#
# $$d = \frac{1}{n^2} \sum_{i,j} \left| C^{\text{suspect}}_{ij} - C^{\text{source}}_{ij} \right|$$
#
# **Your turn.**


# %% tags=["exercise"]
def my_distance(c_source, c_suspect):
    """The distance of two matrices."""
    # your turn


# %% tags=["solution"]
def my_distance(c_source, c_suspect):
    """The distance of two matrices."""
    return np.abs(c_suspect - c_source).mean()


# %% tags=["test"]
one, two = saclab.matrix(three), saclab.matrix(outputs(stolen)[:3])
saclab.check(
    "the distance", lambda: my_distance(one, two), saclab.distance(one, two),
    (np.abs((one - two).mean()), "Take absolute values first, then the mean."),
    ((two - one).mean(), "Differences of both signs cancel. Take absolute values."),
    (np.abs(one - two).sum(), "This is the sum. Divide it by the number of entries."),
    (np.sqrt(((one - two) ** 2).mean()), "This is the root of the mean square."),
)  # fmt: skip

# %% [markdown]
# A small distance is meant to speak for theft. Three images are too few to trust, so here are the two suspects on three and on all probes. Does the stolen one have the smaller distance
# both times?

# %%
rows = []
for name in (stolen, independent):
    few, many = (
        saclab.distance(saclab.matrix(outputs(source)[:n]), saclab.matrix(outputs(name)[:n]))
        for n in (3, len(truth))
    )
    rows.append({"suspect": name, "three probes": few, "all probes": many})
pd.DataFrame(rows).round(4)

# %% [markdown]
# ## 2. A rival in four lines (15 minutes)
#
# Do we need a matrix at all? *AKH* looks at labels only: the share of probes on which suspect and source name **un**equal classes. The label is the class with the largest probability.
#
# **Your turn.**


# %% tags=["exercise"]
def my_akh(o_source, o_suspect):
    """The share of probes with unequal labels."""
    # your turn


# %% tags=["solution"]
def my_akh(o_source, o_suspect):
    """The share of probes with unequal labels."""
    y_source = o_source.argmax(axis=1)
    y_suspect = o_suspect.argmax(axis=1)
    return (y_source != y_suspect).mean()


# %% tags=["test"]
one, two = outputs(source), outputs(independent)
right = saclab.disagreement(one, two)
saclab.check(
    "AKH", lambda: my_akh(one, two), right,
    (1 - right, "This is the share of equal labels. A distance is small for a copy."),
    (right * len(one), "This is a number of probes. Divide by how many there are."),
    ((one.argmax(0) != two.argmax(0)).mean(), "Each row is a probe: argmax(axis=1)."),
)  # fmt: skip

# %% [markdown]
# Now both scores for every stolen and independent model with the source's classes.

# %%
same = models["role"].isin(["stolen", "independent"]) & ~models["new_labels"]
judged = models[same].copy()
theirs = saclab.matrix(outputs(source))
judged["SAC"] = [saclab.distance(theirs, saclab.matrix(outputs(n))) for n in judged["model"]]
judged["AKH"] = [saclab.disagreement(outputs(source), outputs(n)) for n in judged["model"]]
judged.groupby("group", sort=False)[["SAC", "AKH"]].agg(["min", "mean", "max"]).round(3)

# %% [markdown]
# Talk with your neighbour: which groups does each of the two scores set apart? Why are these probes images that the source gets *wrong*?
#
# ## 3. How good is a score? Count pairs (15 minutes)
#
# Take one stolen and one independent model. The score is right about this pair if the stolen one has the **smaller** distance. The share of pairs that it gets right is the *AUC*. A tie counts
# one half. 1.00 is perfect, 0.50 is a coin.
#
# **Your turn.** Two loops are fine.


# %% tags=["exercise"]
def my_auc(stolen, independent):
    """The share of pairs in which the stolen model has the smaller distance."""
    # your turn


# %% tags=["solution"]
def my_auc(stolen, independent):
    """The share of pairs in which the stolen model has the smaller distance."""
    right = 0
    for s in stolen:
        for i in independent:
            if s < i:
                right = right + 1
            elif s == i:
                right = right + 0.5
    return right / (len(stolen) * len(independent))


# %% tags=["test"]
saclab.check(
    "AUC", lambda: my_auc([0.1, 0.2, 0.2], [0.2, 0.3]), 5 / 6,
    (1 / 6, "The stolen model should have the smaller distance, not the larger one."),
    (4 / 6, "A tie counts one half, not nothing."),
    (1.0, "A tie counts one half, not one."),
    (5.0, "This is a number of pairs. Divide by how many there are."),
    (0.0, "The stolen model should have the smaller distance, and a tie counts one half."),
)  # fmt: skip

# %% [markdown]
# With a handful of models an AUC is uncertain, and models of one architecture resemble each other, so they count as fewer. `saclab.interval` gives a range that would hold the true value in
# 95 of 100 such experiments. Even a perfect AUC has one.


# %%
def judge(attack, negatives, score):
    """The AUC of a score, its interval, and the numbers of stolen and independent models."""
    groups = judged[judged["group"] == attack], judged[judged["negatives"] == negatives]
    value = saclab.auc(*(group[score] for group in groups))
    units = [saclab.units(saclab.clusters(g["architecture"], g["chain"])) for g in groups]
    return value, saclab.interval(value, *units), [len(group) for group in groups]


for attack in ("Finetune-A", "Extract-L"):
    value, (low, high), (m, n) = judge(attack, "attacker data", "SAC")
    print(f"{attack}: AUC {value:.2f} [{low:.2f}, {high:.2f}] from {m} stolen, {n} independent")

# %% [markdown]
# ## 4. Independent of whom? Predict, then reveal (20 minutes)
#
# An AUC compares stolen models *with something*. Keep the stolen ones (Extract-L) and exchange the independent ones:
#
# - **attacker data**: trained by honest people on images like the attacker's;
# - **owner data**: trained on the very images of the owner, without the source;
# - **students of another**: extracted, by the thief's recipe, from a network that is *not* the source.
#
# Before you look: write down your guess of the AUC for each group. Write, do not only think.

# %% tags=["exercise"]
guess = {"attacker data": None, "owner data": None, "students of another": None}  # your turn

# %% tags=["solution"]
guess = {"attacker data": 0.95, "owner data": 0.8, "students of another": 0.7}  # anybody's

# %% tags=["test"]
empty = [name for name, value in guess.items() if not isinstance(value, (int, float))]
if empty:
    print("Not yet: write numbers from 0 to 1 for", ", ".join(empty))
else:
    rows = []
    for negatives, value in guess.items():
        row = {"independent models": negatives, "your guess": value}
        for score in ("SAC", "AKH"):
            found, (low, high), (m, n) = judge("Extract-L", negatives, score)
            row |= {"models": n, score: f"{found:.2f} [{low:.2f}, {high:.2f}]"}
        rows.append(row)
    looks = {"Extract-L": ("o", "#d55e00"), "attacker data": ("^", "#0072b2")}
    looks |= {"owner data": ("v", "#0072b2"), "students of another": ("s", "#009e73")}
    figure, axis = plt.subplots(figsize=(6, 2.2))
    for place, (name, (marker, colour)) in enumerate(looks.items()):
        group = judged[(judged["group"] == name) | (judged["negatives"] == name)]
        axis.plot(group["SAC"], [-place] * len(group), marker, color=colour, fillstyle="none")
    axis.set_yticks(range(0, -len(looks), -1), list(looks))
    axis.margins(y=0.2)
    axis.set_xlabel("distance to the source")
    plt.show()
    display(pd.DataFrame(rows).set_index("independent models"))

# %% [markdown]
# Talk with your neighbour:
#
# - Where were you most wrong, and why?
# - Which group would the accused bring to court, and which one the owner?
# - What does a small distance show: *whose* student a model is, *that* it is a student, or *which images* it was trained on?
# - An AUC below 0.5: what would the owner's threshold do then?
#
# ## 5. Six sealed suspects (15 minutes)
#
# An AUC says nothing about a single suspect. For that we need a test with an honest error rate. The owner trains *siblings*: networks by its own recipe, on its own images, with other seeds. If
# a suspect was made without the source, it has no reason to repeat the source's quirks more than those of a sibling. So we ask which of them explains the suspect's labels best, on images
# on which they quarrel.
#
# `log_p[j, x, c]` is the log-probability that member $j$ gives to class $c$ on image $x$. Member 0 is the source, the others are siblings. Small values were raised to $-3$, so that no single
# image decides.

# %%
contested = np.load("contested.npz")
log_p, labels = contested["log_p"], contested["suspects"]
members, n, _ = log_p.shape
print(members - 1, "siblings,", n, "images,", len(labels), "suspects")

# %% [markdown]
# **Your turn.** How well does the source explain the first suspect? The mean, over all images, of the log-probability that the source gives to the suspect's label.

# %% tags=["exercise"]
my_score = None  # your turn: from log_p[0], shape (images, classes), and labels[0], shape (images,)

# %% tags=["solution"]
my_score = log_p[0].astype(float)[np.arange(n), labels[0]].mean()

# %% tags=["test"]
p = log_p[0].astype(float)
saclab.check(
    "the score", lambda: my_score, saclab.scores(log_p, labels)[0, 0],
    (p[np.arange(n), labels[0]].sum(), "This is the sum. Take the mean."),
    (p.mean(0)[labels[0]].mean(), "Pair each image with its own label: [np.arange(n), labels[0]]."),
    (p.max(1).mean(), "Take the class that the suspect names, not the source's favourite."),
    within=1e-3,
)  # fmt: skip

# %% [markdown]
# Some members agree with anybody more than others do. *Controls*, networks that the owner trained without the members, show by how much, and that much is taken off. What is left is drawn here:
# a line per suspect, the source as a star, each sibling as a dot.

# %%
scores = saclab.scores(log_p, labels)
controls = saclab.scores(log_p, contested["controls"])
left = saclab.residuals(scores, controls)
figure, axis = plt.subplots(figsize=(6, 2.8))
for i, row in enumerate(left):
    axis.plot(row[1:], [i + 1] * (members - 1), "o", color="#56b4e9", alpha=0.6)
    axis.plot(row[0], i + 1, "*", color="black", markersize=12)
axis.set_yticks(range(1, len(left) + 1), [f"suspect {i + 1}" for i in range(len(left))])
axis.invert_yaxis()
axis.set_xlabel("how much better than expected a member explains the suspect")
plt.show()

# %% [markdown]
# **Your turn.** A verdict for each suspect from the picture: `"stolen"` or `"no evidence"`. How far out must the star be before you accuse somebody?

# %% tags=["exercise"]
verdict = {i + 1: "" for i in range(len(labels))}  # your turn, for example verdict[1] = "stolen"

# %% tags=["solution"]
star = (left[:, 0] - left[:, 1:].mean(1)) / left[:, 1:].std(1)
verdict = {i + 1: "stolen" if star[i] > 3 else "no evidence" for i in range(len(labels))}

# %% [markdown]
# Now the rule: how often would a model that was made *without* the source put the star so far out? This is the p-value. The rule accuses if it is at most 0.01. The teacher has the code of the
# seal.

# %% tags=["exercise"]
code = ""  # from your teacher

# %% tags=["solution"]
code = "000000"  # from the teacher's guide

# %% tags=["test"]
words = ("stolen", "no evidence")
numbers = set(range(1, len(labels) + 1))
if set(verdict) != numbers or not all(word in words for word in verdict.values()):
    print(f"Not yet: write {' or '.join(words)} for each suspect, 1 to {len(labels)}.")
else:
    p = saclab.p_value(scores, controls)
    found = pd.DataFrame({"you say": pd.Series(verdict)})
    found["p-value"] = [f"{value:.2g}" for value in p]
    found["the rule says"] = np.where(p <= 0.01, *words)
    try:
        origin = json.loads(saclab.unseal(Path("sealed.txt").read_text(), code))
    except ValueError:
        print("Ask your teacher for the code, then run the last two cells again.")
    else:
        found["it is"] = [entry["group"] for entry in origin]
        found["made from the source"] = ["yes" if entry["stolen"] else "no" for entry in origin]
        right = np.array([words[0] if entry["stolen"] else words[1] for entry in origin])
        for name in ("you say", "the rule says"):
            print(f"{name}: right about {(found[name] == right).sum()} of {len(right)}")
    found.index.name = "suspect"
    display(found)

# %% [markdown]
# Was somebody accused who is innocent? Did a thief get away? Which of the two is worse, and what would you change in the rule to avoid it?
#
# ## 6. One sentence (5 minutes)
#
# **Your turn.** Complete it in this cell (double click): *A small distance between a suspect and the source shows that …, provided that …*
