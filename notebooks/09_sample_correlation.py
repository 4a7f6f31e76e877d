# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sample correlation by hand
#
# ```{admonition} What you will do
# :class: tip
# Take ten images, ask three models about them, and compute the fingerprint of {cite:t}`guan2022sac` step by step: from outputs to a
# {term}`correlation matrix`, from two matrices to one {term}`correlation distance`.
#
# **You learn** what the matrix keeps of a model and what it forgets; how cosine and Gaussian kernel are related; why logits,
# probabilities and labels give different fingerprints; which changes of a model the distance cannot see.
#
# **You need** PyTorch tensors, the scalar product, and a few seconds of one processor core. Three models and their outputs are loaded;
# they are trained first if they are missing.
# ```

# %% [markdown]
# ## The claim under test
#
# The released code of the paper {cite:p}`guan2022sac` computes, for $n$ probes with outputs $o_1, \dots, o_n$ (read in the code),
#
# $$
# C_{ij} = \frac{1 - \cos(o_i, o_j)}{2}, \qquad
# d(S, T) = \frac{1}{n^2} \sum_{i=1}^{n}\sum_{j=1}^{n} \bigl|C^T_{ij} - C^S_{ij}\bigr| ,
# $$ (eq-hand)
#
# and claims: **a stolen model has a small $d$, an irrelevant one a large $d$.** This page shows on one pair of models what these two formulas
# do. Whether the claim holds is a question about many models, for {doc}`11_results`.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
probe_set = "w"
shown = 10

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from myst_nb import glue

from sacutils import correlation, plots
from sacutils.probes import PROBE_SETS
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()

# %% [markdown]
# The stolen model is the Extract-P student that imitates the source best on *test* images (highest {term}`fidelity`): a thief keeps the best
# student, and the choice does not look at the probes. The irrelevant model has, where the run has one, the same architecture as
# this student, so that architecture does not explain what we see.

# %% tags=["hide-input"]
source = run.zoo.source
stolen = max(run.names("extract_probability"), key=lambda name: run.zoo.record(name)["fidelity"])
same = [name for name in run.names("irrelevant") if run.zoo.specs[name].architecture == run.zoo.specs[stolen].architecture]
irrelevant = (same + run.names("irrelevant"))[0]
trio = {"source": source, "stolen": stolen, "irrelevant": irrelevant}

probes = run.probes[probe_set]
total = len(probes.index)
shown = min(shown, total)
labels = run.material.splits["probe"].labels.cpu()[probes.index]
classes = run.material.class_names
for key, name in trio.items():
    glue(f"{key}_name", name, display=False)
glue("fidelity_stolen", f"{run.zoo.record(stolen)['fidelity']:.1%}", display=False)
glue("fidelity_irrelevant", f"{run.zoo.record(irrelevant)['fidelity']:.1%}", display=False)
glue("probe_set", PROBE_SETS[probe_set], display=False)
glue("shown", str(shown), display=False)
glue("total", str(total), display=False)

# %% [markdown]
# The probes are the first {glue:text}`shown` of the {glue:text}`total` images of the set {glue:text}`probe_set`; {doc}`10_probes`
# says how they are chosen.
#
# | role | model | fidelity on test images |
# |---|---|---|
# | source | {glue:text}`source_name` | |
# | stolen (Extract-P) | {glue:text}`stolen_name` | {glue:text}`fidelity_stolen` |
# | irrelevant | {glue:text}`irrelevant_name` | {glue:text}`fidelity_irrelevant` |

# %% tags=["remove-output"]
predicted = run.logits[probe_set][source][:shown].argmax(1)
titles = [f"{i}: {classes[labels[i]]}\n→ {classes[predicted[i]]}" for i in range(shown)]
half = (shown + 1) // 2
parts = {"": slice(0, half), " ": slice(half, shown)}
fig = plots.image_rows(
    {key: probes.pixels[:shown][part] for key, part in parts.items()}, {k: titles[p] for k, p in parts.items()}
)
glue("hand_probes", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} hand_probes
# :name: fig-hand-probes
# :alt: The probes of this page as small images, each with its number, its true class and the class that the source predicts.
#
# The probes. Above each: its number, the true class, and after the arrow what the source says.
# :::

# %% [markdown]
# ## Step 1: outputs
#
# Each probe $x_i$ goes through the source; the answer is a vector $o_i$ with one entry per class. We take probabilities,
# $o_i = \operatorname{softmax}(z_i)$, from the stored logits $z_i$.

# %%
logits = run.logits[probe_set][source][:shown].double()
o = logits.softmax(dim=1)
columns = classes[:10]
frame = pd.DataFrame(o[:, : len(columns)].numpy(), columns=columns)
frame.insert(0, "probe", range(shown))
plots.table(frame, dict.fromkeys(columns, "{:.2f}"))

# %% [markdown]
# ## Step 2: from outputs to the correlation matrix
#
# The matrix compares every probe with every other. Begin with one pair, probes 0 and 1:
#
# $$
# \cos(o_0, o_1) = \frac{\langle o_0, o_1\rangle}{\lVert o_0\rVert\,\lVert o_1\rVert}, \qquad C_{01} = \frac{1 - \cos(o_0, o_1)}{2}.
# $$

# %%
product = (o[0] * o[1]).sum()  # <o_0, o_1>
norms = o[0].norm(), o[1].norm()  # ||o_0||, ||o_1||
cosine = product / (norms[0] * norms[1])
C01 = (1 - cosine) / 2

for name, value in {"product": product, "norm0": norms[0], "norm1": norms[1], "cosine01": cosine, "C01": C01}.items():
    glue(name, f"{value.item():.3f}", display=False)

# %% [markdown]
# Here the scalar product is {glue:text}`product`, the norms are {glue:text}`norm0` and {glue:text}`norm1`, the cosine is
# {glue:text}`cosine01`, and $C_{01}$ = {glue:text}`C01`.
#
# For all pairs at once: scale every row to length one, $u_i = o_i / \lVert o_i \rVert$, collect the rows in a matrix $U$, and
# $\cos(o_i, o_j)$ is the entry $(i, j)$ of $U U^\top$:
#
# $$
# C = \tfrac12 \bigl(\mathbf{1}\mathbf{1}^\top - U U^\top\bigr).
# $$

# %%
U = o / o.norm(dim=1, keepdim=True)  # u_i = o_i / ||o_i||
C = (1 - U @ U.T) / 2  # C_ij = (1 - <u_i, u_j>) / 2
C.fill_diagonal_(0)  # exactly zero, without rounding

assert torch.allclose(C, correlation.cosine_matrix(o), atol=1e-6)  # the function that the other chapters use
assert torch.isclose(C[0, 1], C01, atol=1e-6)

# %% tags=["remove-output"]
fig = plots.outputs_and_matrix(o, C, classes)
glue("hand_matrix", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} hand_matrix
# :name: fig-hand-matrix
# :alt: Two panels. Left, the source's probabilities as a heat map, a row per probe and a column per class. Right, the correlation matrix of the same probes with a number in each cell, zero on the diagonal and symmetric.
#
# Left: the outputs, a row per probe. Right: the correlation matrix made of them. Two probes with like outputs have a dark entry near 0; outputs
# without a common class come near 0.5, which is the most that probabilities allow.
# :::

# %% [markdown]
# Read the name with care: $C$ is a *dis*similarity. And notice what is gone: the classes. $C$ knows that two probes are
# answered alike, and not what the answer was. That is why one can compare models whose classes are others, or are in another order.

# %% [markdown]
# ## Step 3: the same for a stolen and an irrelevant model
#
# The same probes, the same three lines of code, two other models; then the difference from the source, entry by entry, and
# its mean absolute value, which is $d$.

# %%
few = {key: run.matrix(probe_set, name)[:shown, :shown] for key, name in trio.items()}
assert torch.allclose(few["source"], C, atol=1e-6)

d_few = {key: (few[key] - few["source"]).abs().mean().item() for key in ("stolen", "irrelevant")}  # 1/n^2 sum_ij |...|
d_all = {key: correlation.distance(run.matrix(probe_set, source), run.matrix(probe_set, trio[key])).item() for key in d_few}
for key in d_few:
    glue(f"d_few_{key}", f"{d_few[key]:.4f}", display=False)
    glue(f"d_all_{key}", f"{d_all[key]:.4f}", display=False)
glue("nearer_few", "stolen" if d_few["stolen"] < d_few["irrelevant"] else "irrelevant", display=False)
glue("nearer_all", "stolen" if d_all["stolen"] < d_all["irrelevant"] else "irrelevant", display=False)

# %% tags=["remove-output"]
fig = plots.matrices(few)
glue("hand_three", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} hand_three
# :name: fig-hand-three
# :alt: Upper row, the correlation matrices of source, stolen and irrelevant model on one colour scale. Lower row, the differences of the latter two from the source, with their mean absolute value d above.
#
# Above: three correlation matrices on one colour scale. Below: what stolen and irrelevant model differ by from the source. The mean of the
# absolute entries is $d$: {glue:text}`d_few_stolen` for the stolen model, {glue:text}`d_few_irrelevant` for the irrelevant one.
# :::

# %% [markdown]
# ## Result
#
# On these {glue:text}`shown` probes the nearer model is the **{glue:text}`nearer_few`** one, on all {glue:text}`total` the
# **{glue:text}`nearer_all`** one. How much of that is the choice of the probes? Draw $n$ of them at random, many times, and look
# at the middle 95 % of the distances.

# %% tags=["hide-input"]
generator = np.random.default_rng(run.profile.seed)
sizes = sorted({*np.unique(np.geomspace(2, total, 12).astype(int)).tolist(), shown})
full = {key: run.matrix(probe_set, name) for key, name in trio.items()}
gaps = {key: (full[key] - full["source"]).abs().numpy() for key in d_few}
draws = {n: [generator.choice(total, n, replace=False) for _ in range(200)] for n in sizes}
curves = {key: {n: np.array([gap[np.ix_(i, i)].mean() for i in draws[n]]) for n in sizes} for key, gap in gaps.items()}

rows = []
for key in d_few:
    low, high = np.quantile(curves[key][shown], (0.025, 0.975))
    rows.append({"model": key, f"d, first {shown} probes": d_few[key], f"95 % of random {shown}": f"[{low:.4f}, {high:.4f}]"})
    rows[-1][f"d, all {total} probes"] = d_all[key]
won = np.mean(curves["stolen"][shown] < curves["irrelevant"][shown])
glue("won", f"{won:.0%}", display=False)
plots.table(pd.DataFrame(rows), {f"d, first {shown} probes": "{:.4f}", f"d, all {total} probes": "{:.4f}"})

# %% tags=["remove-output"]
fig = plots.distance_by_count(curves)
glue("hand_count", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} hand_count
# :name: fig-hand-count
# :alt: Line plot of the distance against the number of probes for the stolen and the irrelevant model, each with a band that narrows as the number of probes grows.
#
# Distance against the number of probes: mean (line) and middle 95 % (band) over 200 random choices. With {glue:text}`shown` probes the stolen
# model is the nearer one in {glue:text}`won` of the choices. The bands close at the right because there is only one way to take all
# {glue:text}`total`.
# :::
#
# The band is about *probes*. It says nothing about other stolen and other irrelevant models, and one pair of models proves nothing: the
# intervals that matter are over models ({doc}`11_results`). The slow rise of both lines at the left is arithmetic: the $n$ zeros on the diagonal
# enter the mean, so that $d$ has the factor $(n-1)/n$. Compare distances only at equal $n$.

# %% [markdown]
# ## Cosine and Gaussian kernel
#
# The released code holds a second correlation, commented out: the Gaussian (RBF) kernel of the scaled outputs,
# $R_{ij} = \exp(-\lVert u_i - u_j\rVert^2)$. It is not new information, because for vectors of length one
#
# $$
# \lVert u_i - u_j\rVert^2 = 2 - 2\cos(o_i, o_j) = 4\,C_{ij}
# \quad\Longrightarrow\quad R_{ij} = e^{-4 C_{ij}} .
# $$ (eq-rbf)
#
# $R$ is a similarity (one on the diagonal) and a decreasing function of $C$. Each *entry* carries the same information; the *distance* $d$, a mean
# of differences, does not: the exponential is steep near $C = 0$ and flat near $C = \frac12$, so $R$ weighs the difference between
# "alike" and "very alike" more.

# %%
pairs = {}
for key, name in trio.items():
    u = torch.nn.functional.normalize(run.outputs(probe_set, name)[:shown], dim=1)
    R = torch.exp(-((u[:, None] - u[None]) ** 2).sum(-1))  # R_ij = exp(-||u_i - u_j||^2)
    assert torch.allclose(R, torch.exp(-4 * few[key]), atol=1e-4)
    pairs[key] = (few[key], R)

# %% tags=["remove-output"]
fig = plots.cosine_and_rbf(pairs)
glue("hand_rbf", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} hand_rbf
# :name: fig-hand-rbf
# :alt: Scatter of the RBF entries against the cosine entries of three models. All points lie on the falling curve exp of minus four C.
#
# All entries of three models: RBF against cosine. They lie on one curve, equation {eq}`eq-rbf`.
# :::

# %% [markdown]
# ## Logits, probabilities, labels
#
# What does the suspect return? From the same logits $z$ we make the three forms that this book carries through:
#
# - *logits*: $o = z$, as in the released code;
# - *probabilities*: $o = \operatorname{softmax}(z)$;
# - *labels*: $v_k = 1$ at the predicted class and $0.01$ elsewhere, then $o = \operatorname{softmax}(v)$ (read in the code).

# %%
forms = {
    form: {key: run.matrix(probe_set, name, form)[:shown, :shown] for key, name in trio.items()} for form in correlation.FORMS
}
rows = [
    {"form": form} | {f"d, {key}": correlation.distance(of["source"], of[key]).item() for key in d_few}
    for form, of in forms.items()
]
plots.table(pd.DataFrame(rows), {f"d, {key}": "{:.4f}" for key in d_few})

# %% tags=["remove-output"]
fig = plots.matrices({form: of["source"] for form, of in forms.items()}, high=1.0, reference=False)
glue("hand_forms", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} hand_forms
# :name: fig-hand-forms
# :alt: The correlation matrix of the source computed from logits, from probabilities and from labels, side by side on one colour scale. The last one has two values only.
#
# The source's correlation matrix from logits, probabilities and labels, on one scale from 0 to 1. Logits have negative entries, so the cosine
# can be negative and $C_{ij}$ may exceed ½; labels know two values only.
# :::

# %% [markdown]
# ### Labels: a Hamming distance in disguise
#
# With $K$ classes and $q = e^{0.01}$, the softmax of $v$ is $e / (e + (K-1) q)$ at the predicted class and $q / (e + (K-1) q)$ elsewhere.
# The denominator cancels in the cosine. Equal labels give $C_{ij} = 0$; different labels give
#
# $$
# \cos = \frac{2\,e\,q + (K-2)\,q^2}{e^2 + (K-1)\,q^2}
# \quad\Longrightarrow\quad
# C_{ij} = c_K = \frac{(e - q)^2}{2\,\bigl(e^2 + (K-1)\,q^2\bigr)} .
# $$ (eq-label-constant)
#
# So let $H_{ij} = 1$ if a model gives probes $i$ and $j$ different labels, and 0 otherwise. Then $C = c_K H$, and
#
# $$
# d = c_K \cdot \frac{1}{n^2}\,\#\bigl\{(i,j) : H^T_{ij} \ne H^S_{ij}\bigr\} :
# $$
#
# a constant times the Hamming distance between two partitions of the probes into "same label" groups.

# %%
K, q = len(classes), math.exp(0.01)
c_K = (math.e - q) ** 2 / (2 * (math.e**2 + (K - 1) * q**2))

answers = {key: run.logits[probe_set][name][:shown].argmax(1) for key, name in trio.items()}
H = {key: answer[:, None] != answer[None] for key, answer in answers.items()}  # H_ij = [labels of i and j differ]
rows = []
for key in d_few:
    share = (H[key] != H["source"]).double().mean().item()
    direct = correlation.distance(forms["labels"]["source"], forms["labels"][key]).item()
    assert abs(c_K * share - direct) < 1e-6
    rows.append({"model": key, "share of pairs that differ": share, "times the constant": c_K * share, "d from labels": direct})
glue("classes", str(K), display=False)
glue("constant", f"{c_K:.4f}", display=False)
plots.table(
    pd.DataFrame(rows), {"share of pairs that differ": "{:.3f}", "times the constant": "{:.4f}", "d from labels": "{:.4f}"}
)

# %% [markdown]
# For {glue:text}`classes` classes the constant is $c_K$ = {glue:text}`constant`, and both ways to compute $d$ agree. Distances from labels are
# therefore much smaller than those from probabilities, and shrink as $K$ grows: a threshold belongs to one output form and one number of
# classes. Comparisons *between* models are not affected, since the constant is the same for all of them.

# %% [markdown]
# ## What the distance cannot see
#
# Change the source's logits in a way that leaves the classifier as it was, or nearly, and compute the distance of the source from itself.

# %%
z = run.logits[probe_set][source]
noise = torch.randn(len(z), 1, generator=torch.Generator().manual_seed(run.profile.seed))
order = torch.randperm(K, generator=torch.Generator().manual_seed(run.profile.seed))
changes = {
    "5 added to every logit": z + 5,
    "another constant added to each row": z + 5 * noise,
    "all logits doubled": 2 * z,
    "classes permuted": z[:, order],
}
rows = []
for change, changed in changes.items():
    row = {"change": change}
    for form in correlation.FORMS:
        before, after = (correlation.cosine_matrix(correlation.to_form(values, form)) for values in (z, changed))
        row[form] = correlation.distance(before, after).item()
    rows.append(row)
invariances = pd.DataFrame(rows)
assert invariances.loc[3, list(correlation.FORMS)].max() < 1e-5  # permuting classes changes nothing
assert invariances.loc[:1, ["probabilities", "labels"]].max(axis=None) < 1e-5  # nor does a constant, behind a softmax
plots.table(invariances, dict.fromkeys(correlation.FORMS, "{:.4f}"))

# %% [markdown]
# - **A permutation** of the classes permutes the entries of every output alike; scalar products and norms stay, and so does $C$.
# - **A constant** $c$ added to a row changes no probability, since $\operatorname{softmax}(z + c) = \operatorname{softmax}(z)$, but it turns
#   all rows towards the vector $(1, \dots, 1)$: raw cosines grow. Cross-entropy, on which all these models are trained, leaves that constant
#   undetermined. Two trainings may settle on different ones.
# - **A scale** changes no cosine of logits. It is a temperature for the probabilities, so those do change: a model that is more sure of the
#   same answers is at a distance.
# - **Labels** see neither.

# %% tags=["hide-input", "remove-output"]
constants = torch.linspace(0, 20, 81)
curves = {}
for form in correlation.FORMS:
    before = correlation.cosine_matrix(correlation.to_form(z, form))
    after = correlation.cosine_matrix(correlation.to_form(z + constants[:, None, None], form))
    curves[form] = correlation.distance(before, after)
levels = {
    f"{key} model, logits": correlation.distance(
        run.matrix(probe_set, source, "logits"), run.matrix(probe_set, trio[key], "logits")
    ).item()
    for key in d_few
}
beyond = constants[curves["logits"] > levels["irrelevant model, logits"]]
sentence = f"a constant of {beyond[0]:g} is enough" if len(beyond) else f"even a constant of {constants[-1]:g} is not enough"
glue("beyond", sentence, display=False)
fig = plots.distance_by_constant(constants, curves, levels)
glue("hand_constant", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} hand_constant
# :name: fig-hand-constant
# :alt: The distance of the source from itself against a constant added to its logits. From logits it rises, from probabilities and labels it stays at zero. Horizontal lines mark the stolen and the irrelevant model.
#
# The source against itself with a constant added to all logits. In this build {glue:text}`beyond` to push the source as far from itself,
# by raw logits, as the irrelevant model is. Probabilities and labels do not notice.
# :::

# %% [markdown]
# ## What it means
#
# SAC compares how two models *arrange* the same probes. It needs no access to weights, no equal architecture, no equal order of classes. What it
# measures depends on the form of the outputs: raw logits carry a constant that no training fixes, probabilities carry the confidence, labels
# carry the partition of the probes and no more. Which of these separates thieves from honest developers is an empirical question, and
# the answer need not be the same for each attack. The next page turns to the other choice: which images to ask about.

# %% [markdown]
# ## On your own
#
# **1. The range of $d$.** Outputs are probabilities. Which values can $C_{ij}$ take, and how large can $d$ be?
#
# :::{dropdown} Solution
# Probabilities are not negative, so $0 \le \cos \le 1$ and $0 \le C_{ij} \le \frac12$. The $n$ diagonal entries are zero in both matrices, all others
# differ by at most ½, so $d \le \frac12 (1 - \frac1n)$. It is attained when one model gives all probes the same answer and the other
# gives each probe a class of its own (which needs $K \ge n$).
# :::
#
# **2. Many classes.** What happens to the constant $c_K$ of {eq}`eq-label-constant` as $K \to \infty$, and what follows for the label-only test?
#
# :::{dropdown} Solution
# $c_K \approx \dfrac{(e-q)^2}{2 q^2 K} \to 0$. All distances shrink alike, so AUCs do not change; a threshold taken from another number of
# classes is useless. The 0.01 and the softmax play no other part: any two numbers would give a constant times the same
# Hamming distance.
# :::
#
# **3. Repair the logits.** Subtract from each row of logits its mean before taking the cosine (this makes it Pearson's correlation). Which lines
# of the table of changes become zero?
#
# :::{dropdown} Solution
# ```python
# def centred(z):
#     return correlation.cosine_matrix(z - z.mean(dim=1, keepdim=True))
#
# for change, changed in changes.items():
#     print(change, correlation.distance(centred(z), centred(changed)).item())
# ```
# All four: the mean takes away any constant, the norm any scale, and permutations never mattered. The price: confidence is invisible now.
# :::
#
# **4. More probes or better ones?** Run this page on another set, for example
# `make notebook NAME=09_sample_correlation ARGS="-p probe_set normal"`, and compare {numref}`fig-hand-count`: which set needs fewer
# probes to tell the two models apart?
#
# :::{dropdown} Hint
# Look for the number of probes from which the two bands no longer touch. {doc}`10_probes` explains why it depends so much on the set.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`guan2022sac` for the method; {cite:t}`guan2024sacjc` for its use on faces, where the factor ½ of $C$ is dropped (read in its code).
# - {cite:t}`godinot2025qurd` for fingerprints as *queries, representation, detection*: here probes, correlation matrix, distance.
# - {cite:t}`hinton2015distilling` on what the small probabilities of a model tell.

# %%
Markdown(provenance_line(run))
