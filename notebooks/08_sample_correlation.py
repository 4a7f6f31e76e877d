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
# ## The answer in short
#
# On all {glue:text}`total` probes the stolen model of this page lies at a distance of {glue:text}`d_all_stolen` from the source, and the independent model at
# {glue:text}`d_all_independent`. In {glue:text}`won` of 200 random choices of {glue:text}`shown` probes, the stolen model is the nearer one. From labels the distance sees only which
# probes are answered alike. From probabilities it also sees how sure a model is: if the thief's service answers $\operatorname{softmax}(z/2)$, every label stays, and the distance
# of the stolen model becomes {glue:text}`probabilities_served`. With its temperature {term}`matched <matched probabilities>` it is {glue:text}`matched_served` at any temperature.
#
# ```{admonition} What you will do
# :class: tip
# Take a few images, ask three models about them, and compute the fingerprint of {cite:t}`guan2022sac` step by step: from outputs to a {term}`correlation matrix`, from two
# matrices to one {term}`correlation distance`.
#
# **You learn** what the matrix keeps of a model and what it loses; why logits, probabilities and labels give different fingerprints; what a temperature does to them, and how to undo it.
#
# **You need** PyTorch tensors and the scalar product. The page loads three models. It trains them if they are missing.
# ```
#
# ## The claim under test
#
# The released code of the paper {cite:p}`guan2022sac` computes, for $n$ probes with outputs $o_1, \dots, o_n$ (read in the code),
#
# $$
# C_{ij} = \frac{1 - \cos(o_i, o_j)}{2}, \qquad d(S, T) = \frac{1}{n^2} \sum_{i=1}^{n}\sum_{j=1}^{n} \bigl|C^T_{ij} - C^S_{ij}\bigr| .
# $$ (eq-hand)
#
# The claim is: **a stolen model has a small $d$, an independent one a large $d$.** This page shows on one pair of models what these two formulas do. Whether the claim holds for many
# models is the subject of {doc}`10_results`.
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
probe_set = "source"  # one of normal, source, w, m, jc
student = 1  # 0 to 3: architecture of the student, 0 is the profile's first
shown = 10  # 2 to 10: probes of the worked example

# %% tags=["hide-input"]
import math

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy.optimize import brentq

from sacutils import correlation, figures
from sacutils.probes import PROBE_SETS
from sacutils.run import open_run, provenance_line
from sacutils.studies import suspects

run = open_run(profile, overrides)
figures.use_style()

# %% [markdown]
# The stolen model is an Extract-P student. The independent model has its architecture if the run has such a model: then architecture does not explain what we see.

# %%
source, architecture = run.zoo.source, run.profile.zoo.students[student]
trio = {"source": source}
for key, step in (("stolen", "extract_probability"), ("independent", "independent")):
    trio[key] = suspects.first_of_each(run, step).get(architecture, run.names(step)[0])
run.announce(*trio.values())
z = {key: run.answers(name, probe_set).double() for key, name in trio.items()}

# %% tags=["hide-input", "remove-output"]
probes, classes = run.probes[probe_set], run.material.class_names
total = len(probes.index)
shown = min(shown, total)
labels = run.material.splits["probe"].labels.cpu()[probes.index]
figures.say(probe_set=PROBE_SETS[probe_set], shown=shown, total=total)
figures.say(**{f"{key}_name": name for key, name in trio.items()})
for key in ("stolen", "independent"):
    figures.say(**{f"fidelity_{key}": f"{run.zoo.record(trio[key])['fidelity']:.1%}"})
predicted = z["source"][:shown].argmax(1)
titles = [f"{classes[labels[i]]}\n→ {classes[predicted[i]]}" for i in range(shown)]
figures.show("hand_probes", figures.images({"": probes.pixels[:shown]}, {"": titles}))

# %% [markdown]
# The probes are the first {glue:text}`shown` of the {glue:text}`total` images of the set {glue:text}`probe_set`. {doc}`09_probes` says how they are chosen. The source is {glue:text}`source_name`. The
# stolen model, an Extract-P student, is {glue:text}`stolen_name` with a {term}`fidelity` of {glue:text}`fidelity_stolen`. The independent model is {glue:text}`independent_name` with
# {glue:text}`fidelity_independent`.
#
# :::{glue:figure} hand_probes
# :name: fig-hand-probes
# :alt: On every probe of the set SAC-source the source names another class than the true one; both stand above the image.
#
# The probes of {glue:text}`probe_set`. Above each: the true class, and after the arrow what the source says. On probes of SAC-source and SAC-w the two differ.
# :::
#
# ## Step 1: outputs
#
# Each probe $x_i$ goes through the source. From its logits $z_i$ we take probabilities, $o_i = \operatorname{softmax}(z_i)$: a vector with one entry per class.

# %%
o, columns = z["source"][:shown].softmax(dim=1), classes[:10]
frame = pd.DataFrame(o[:, : len(columns)].numpy(), columns=columns)
frame.insert(0, "probe", range(shown))
formats = dict.fromkeys(columns, "{:.2f}")
figures.table(frame, formats, caption="Probabilities of the source for the first probes")

# %% [markdown]
# ## Step 2: from outputs to the correlation matrix
#
# The matrix compares every probe with every other, by the cosine $\cos(o_i, o_j) = \langle o_i, o_j\rangle / (\lVert o_i\rVert\,\lVert o_j\rVert)$ of their outputs. For all
# pairs at once: scale every row to length one, $u_i = o_i / \lVert o_i \rVert$, and collect the rows in a matrix $U$. Then $\cos(o_i, o_j)$ is the entry $(i, j)$ of $U
# U^\top$.

# %%
cosine = (o[0] * o[1]).sum() / (o[0].norm() * o[1].norm())  # of one pair, probes 0 and 1
U = o / o.norm(dim=1, keepdim=True)  # u_i = o_i / ||o_i||
C = (1 - U @ U.T) / 2  # C_ij = (1 - <u_i, u_j>) / 2
C.fill_diagonal_(0)  # exactly zero, without rounding

assert torch.allclose(C, correlation.cosine_matrix(o), atol=1e-6)  # as in the other chapters
assert torch.isclose(C[0, 1], (1 - cosine) / 2, atol=1e-6)

# %% [markdown]
# Despite its name $C$ is a *dis*similarity. Similar outputs give an entry near 0. Outputs without a common class give one near 0.5, the most that probabilities allow. The matrix holds
# that two probes are answered alike, and not what the answer was. So one can compare models with different classes, or with classes in another order.
#
# ## Step 3: the same for a stolen and an independent model
#
# The same three lines for two other models give two more matrices. The mean absolute difference from the source's matrix is $d$.

# %%
matrices = {key: correlation.cosine_matrix(values.softmax(1)) for key, values in z.items()}
few = {key: matrix[:shown, :shown] for key, matrix in matrices.items()}
d_few = {key: (few[key] - few["source"]).abs().mean().item() for key in ("stolen", "independent")}
d_all = {key: (matrices[key] - matrices["source"]).abs().mean().item() for key in d_few}
for key in d_all:
    assert math.isclose(d_all[key], correlation.distance(matrices["source"], matrices[key]).item())

# %% tags=["hide-input", "remove-output"]
figures.say(nearer_few=min(d_few, key=d_few.get), nearer_all=min(d_all, key=d_all.get))
for key in d_all:
    figures.say(**{f"d_few_{key}": f"{d_few[key]:.4f}", f"d_all_{key}": f"{d_all[key]:.4f}"})
figures.show("hand_three", figures.matrices(few))

# %% [markdown]
# :::{glue:figure} hand_three
# :name: fig-hand-three
# :alt: On these probes the {glue:text}`nearer_few` model has the matrix that is more like the source's, and the paler panel of differences.
#
# Above: three correlation matrices on one colour scale. Below: the differences of the other two from the source. The paler panel belongs to the nearer model, because the mean of the
# absolute entries is $d$: {glue:text}`d_few_stolen` for the stolen model, {glue:text}`d_few_independent` for the independent one.
# :::
#
# ## Result
#
# On these {glue:text}`shown` probes the nearer model is the **{glue:text}`nearer_few`** one, on all {glue:text}`total` the **{glue:text}`nearer_all`** one. How much of that is the choice
# of the probes? Draw $n$ of them at random, many times:

# %% tags=["hide-input", "remove-output"]
generator = np.random.default_rng(run.profile.seed)
sizes = sorted({*np.unique(np.geomspace(2, total, 12).astype(int)).tolist(), shown})
rows, wins = [], 0.0
gaps = {key: (matrices[key] - matrices["source"]).abs().numpy() for key in d_few}
for n in sizes:
    draws = [generator.choice(total, n, replace=False) for _ in range(200)]
    sample = {key: np.array([gap[np.ix_(i, i)].mean() for i in draws]) for key, gap in gaps.items()}
    wins = np.mean(sample["stolen"] < sample["independent"]) if n == shown else wins
    for key, d in sample.items():
        low, high = np.quantile(d, (0.025, 0.975))
        rows.append({"n": n, "model": key, "d": d.mean(), "low": low, "high": high})
curve = pd.DataFrame(rows)
figures.say(won=f"{wins:.0%}")
names = {"x_label": "number of probes", "y_label": "correlation distance $d$"}
figures.show("hand_count", figures.curves(curve, "n", "d", role="model", log=True, **names))

# %% [markdown]
# :::{glue:figure} hand_count
# :name: fig-hand-count
# :alt: Both distances settle as the number of probes grows, and their bands narrow; with {glue:text}`shown` probes the stolen model is nearer in {glue:text}`won` of the choices.
#
# Distance against the number of probes: mean (line) and middle 95 % (band) over 200 random choices. With {glue:text}`shown` probes the stolen model is the nearer one in
# {glue:text}`won` of the choices. The bands close at the right because there is only one way to take all {glue:text}`total`.
# :::
#
# The bands are about the choice of *probes*. One pair of models proves nothing, and {doc}`10_results` has intervals over models. Both lines rise from the left because the $n$ zeros on the diagonal enter the
# mean, so compare distances only at equal $n$.
#
# ## Logits, probabilities, labels
#
# What does the suspect return? From the same logits $z$ we make the three forms that a service may show. Logits and labels are as in the released code:
#
# - *logits*: $o = z$;
# - *probabilities*: $o = \operatorname{softmax}(z)$;
# - *labels*: $o = \operatorname{softmax}(v)$ with $v_k = 1$ at the predicted class and $0.01$ elsewhere.


# %%
def matrix_of(values, form):
    return correlation.cosine_matrix(correlation.to_form(values, form, z["source"]))


forms = {
    form: {key: matrix_of(values, form) for key, values in z.items()} for form in correlation.FORMS
}
rows = pd.DataFrame({"form": correlation.SERVED})
for key in d_few:
    of = (forms[form] for form in correlation.SERVED)
    rows[key] = [correlation.distance(each["source"], each[key]).item() for each in of]
formats = dict.fromkeys(d_few, "{:.4f}")
figures.table(rows, formats, caption="Distance d to the source, by output form")

# %% [markdown]
# Logits can have negative cosines, so that $C_{ij}$ exceeds ½; labels give two values only. Compare models within a row, never numbers of different rows.
#
# ### Labels are a Hamming distance
#
# With $K$ classes and $q = e^{0.01}$, the softmax of $v$ is $e / (e + (K-1) q)$ at the predicted class and $q / (e + (K-1) q)$ elsewhere. The denominator cancels in the cosine. Equal labels give $C_{ij} = 0$; different labels give
#
# $$
# \cos = \frac{2\,e\,q + (K-2)\,q^2}{e^2 + (K-1)\,q^2} \quad\Longrightarrow\quad C_{ij} = c_K = \frac{(e - q)^2}{2\,\bigl(e^2 + (K-1)\,q^2\bigr)} .
# $$ (eq-label-constant)
#
# Let $H_{ij} = 1$ if a model gives probes $i$ and $j$ different labels, and 0 otherwise. Then $C = c_K H$, and $d$ is $c_K$ times the share of the pairs $(i, j)$ for which
# $H^T_{ij} \ne H^S_{ij}$: a constant times the Hamming distance between two partitions of the probes into groups with the same label.

# %%
K, q = len(classes), math.exp(0.01)
c_K = (math.e - q) ** 2 / (2 * (math.e**2 + (K - 1) * q**2))

answer = {key: values.argmax(1) for key, values in z.items()}
H = {key: label[:, None] != label[None] for key, label in answer.items()}  # do i and j differ?
for key in d_few:
    share = (H[key] != H["source"]).double().mean().item()
    direct = correlation.distance(forms["labels"]["source"], forms["labels"][key]).item()
    assert abs(c_K * share - direct) < 1e-6
figures.say(classes=K, constant=f"{c_K:.4f}")

# %% [markdown]
# For {glue:text}`classes` classes the constant is $c_K$ = {glue:text}`constant`, and both ways to compute $d$ agree. A distance from labels is at most $c_K$, which shrinks as
# $K$ grows. A threshold therefore belongs to one output form and one number of classes. The order of models is not affected, since all of them have the same constant.
#
# ## A temperature, and how to undo it
#
# A service that answers $\operatorname{softmax}(z/2)$ gives every label as before and looks less sure. Two ways to undo this need only the probabilities $p$ that it shows. Both are proposals of this book.
#
# - **Matched probabilities**: $\operatorname{softmax}(\log p \,/\, T)$ with the one $T$ at which the mean over the probes of the largest probability is the source's.
# - **Centred log-probabilities**: $\log p$ minus its mean over the classes. A temperature scales this vector, and the cosine sees no scale.

# %%
p = (z["stolen"] / 2).softmax(1)  # what the service shows
assert torch.equal(p.argmax(1), z["stolen"].argmax(1))
log_p = p.clamp(min=1e-12).log()  # a probability that was rounded to zero has a logarithm too
target = z["source"].softmax(1).amax(1).mean()  # how sure the source is
T = math.exp(brentq(lambda t: (log_p / math.exp(t)).softmax(1).amax(1).mean() - target, -9, 9))
matched, centred = (log_p / T).softmax(1), log_p - log_p.mean(1, keepdim=True)

assert math.isclose(T, correlation.matched_temperature(z["source"], log_p), rel_tol=1e-6)
for form, outputs in (("matched", matched), ("centred", centred)):
    assert torch.allclose(correlation.cosine_matrix(outputs), matrix_of(log_p, form), atol=1e-6)

# %% tags=["hide-input"]
cases = {"stolen": z["stolen"], "stolen, softmax(z/2)": log_p, "independent": z["independent"]}
rows = pd.DataFrame({"model": list(cases)})
for f in ("probabilities", "matched", "centred"):
    d = [correlation.distance(forms[f]["source"], matrix_of(v, f)).item() for v in cases.values()]
    rows[correlation.FORMS[f]] = d
    word = "nearer" if d[1] < d[2] else "not nearer"
    figures.say(**{f"{f}_word": word, f"{f}_served": f"{d[1]:.4f}"})
figures.say(T=f"{T:.2f}")
formats = dict.fromkeys(rows.columns[1:], "{:.4f}")
figures.table(rows, formats, caption="Distance d to the source when a thief softens its answers")

# %% [markdown]
# The fitted temperature is $T$ = {glue:text}`T`. Shown as $\operatorname{softmax}(z/2)$, the stolen model is **{glue:text}`probabilities_word`** than the independent one on probabilities as they are, {glue:text}`matched_word` on
# matched and {glue:text}`centred_word` on centred ones. {doc}`10_results` has these forms for all models.
#
# ## What the distance cannot see
#
# Change the source's logits in a way that leaves the classifier as it was, or nearly, and compute the distance of the source from itself.

# %% tags=["hide-input"]
logits = z["source"]
noise = torch.randn(len(logits), 1, generator=torch.Generator().manual_seed(run.profile.seed))
order = torch.randperm(K, generator=torch.Generator().manual_seed(run.profile.seed))
changes = {
    "another constant added to each row": logits + 5 * noise,
    "all logits doubled": 2 * logits,
    "classes permuted": logits[:, order],
}
rows = []
for change, changed in changes.items():
    after = {form: matrix_of(changed, form) for form in correlation.FORMS}
    d = {f: correlation.distance(forms[f]["source"], after[f]).item() for f in after}
    rows.append({"change": change} | d)
invariances = pd.DataFrame(rows)
assert invariances.loc[2, list(correlation.FORMS)].max() < 1e-5  # the order of classes is not seen
assert invariances.loc[0, list(after)[1:]].max() < 1e-5  # nor a constant
assert invariances.loc[1, ["labels", "matched", "centred"]].max() < 1e-5  # nor a scale
caption = "Distance of the changed source to itself: 0 where the form does not notice"
figures.table(invariances, dict.fromkeys(correlation.FORMS, "{:.4f}"), caption=caption)

# %% [markdown]
# - **A permutation** of the classes permutes the entries of every output alike, and $C$ stays.
# - **A constant** $c$ added to a row changes no probability, since $\operatorname{softmax}(z + c) = \operatorname{softmax}(z)$, but it turns all rows towards the vector $(1, \dots, 1)$, and raw cosines change. Whether this is what makes raw logits fail is tested in {doc}`12_what_it_depends_on`: there the constant is removed.
# - **A scale** changes no cosine of logits. It acts on probabilities as a temperature, so a model that is more sure of the same answers has a distance from the source.
# - **Labels**, matched probabilities and centred log-probabilities see neither a constant nor a scale.
#
# ## What it means
#
# SAC compares how two models *arrange* the same probes. It needs no access to weights, no equal architecture and no equal order of classes. What it measures depends on the form of the outputs. On logits
# it sees a constant that no customer sees. Probabilities carry the confidence, which whoever runs the service can set. Labels carry only the partition of the probes. {doc}`10_results` shows which form separates thieves from
# honest developers on which attack. {doc}`09_probes` turns to the other choice: which images to ask about.

# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. By hand.** The source answers three probes with the classes *a, b, a*, a suspect with *a, a, a*, each with probability 1. Compute $d$, `d_three`.
# %% tags=["solution"]
d_three = 4 * 0.5 / 9  # the pairs (1, 2) and (2, 3), each twice
# %% tags=["test"]
assert abs(d_three - 2 / 9) < 1e-9
# %% [markdown] tags=["exercise"]
# **2. The range of $d$.** Outputs are probabilities. How large can $d$ be with ten probes? Call it `largest_d`.
# %% tags=["solution"]
largest_d = (1 - 1 / 10) / 2  # no entry exceeds 1/2, and the diagonal is zero
# %% tags=["test"]
assert abs(largest_d - 0.45) < 1e-9
# %% [markdown] tags=["exercise"]
# **3. The Gaussian kernel.** For unit vectors $\lVert u_i - u_j\rVert^2 = 2 - 2\cos$. Which entry $\exp(-\lVert u_i - u_j\rVert^2)$, `kernel_entry`, belongs to $C_{ij} = 0.2$?
# %% tags=["solution"]
kernel_entry = math.exp(-4 * 0.2)  # as much information as C, but steep near 0
# %% tags=["test"]
assert abs(kernel_entry - 0.4493) < 1e-3

# %% [markdown]
# ## Further reading
#
# - {cite:t}`guan2022sac` for the method; {cite:t}`guan2024sacjc` for its use on faces, where the factor ½ of $C$ is dropped (read in its code).
# - {cite:t}`godinot2025qurd` for fingerprints as *queries, representation, detection*: here probes, correlation matrix, distance.

# %%
Markdown(provenance_line(run))
