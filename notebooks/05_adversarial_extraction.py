# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Adversarial extraction
#
# ## The answer in short
#
# When {glue:text}`n_attacked` test images are attacked with the recipe's radius, students are right on {glue:text}`robust_before` of them before hardening and on {glue:text}`robust_after`
# after it. The change over {glue:text}`n_pairs` students is {glue:text}`mean_gain` percentage points, so hardening is **{glue:text}`hardened_word`** in this build. Clean {term}`accuracy`
# changes by {glue:text}`change_accuracy` points and {term}`fidelity` by {glue:text}`change_fidelity`. A hardened student gives the same label as its own parent on
# {glue:text}`same_as_parent` of the test images; two Extract-L students of other architectures do so on {glue:text}`same_as_other`.
#
# ```{admonition} What you will do
# :class: tip
# Take the students of the last page and harden them by adversarial training (*Extract-Adv*), as a thief would who wants to get rid of a fingerprint.
#
# **You learn** projected gradient descent; why adversarial training was expected to defeat fingerprints made of adversarial examples; how to measure whether a model was hardened at all.
#
# **You need** {doc}`04_extraction` and gradients with respect to the input; {glue:text}`needs`.
# ```
#
# ## The claim under test
#
# On the models released with SAC, {cite:t}`song2023modelgif` print an {term}`AUC` of 0.92 for SAC, 0.54 for IPGuard and 0.52 for CAE on Extract-Adv. The last two make their probes by
# moving images to or across the source's decision boundary; a student whose boundary has moved answers them like a stranger. The abstract of {cite:t}`guan2022sac` says that
# {term}`SAC-m` needs no adversarial examples. On models of their own, {cite:t}`marginfinger2024` have 0.00 for SAC-w and 0.06 for SAC-m (read in their evaluation).
#
# This page asks what has to hold first: **does the hardening change the students' decision boundary, and do they remain good copies?** The AUC is in {doc}`10_results`.
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
attack_images = 200  # 20 to 2000: test images that are attacked
examples = 6  # 2 to 8: attacked images that are shown
batch = 64  # 2 to 500: images on which the loss is computed by hand

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy.spatial.distance import pdist
from scipy.stats import ttest_1samp

from sacutils import attacks, data, figures, training
from sacutils.run import open_run, provenance_line
from sacutils.steps import LABELS
from sacutils.studies import suspects

run = open_run(profile, overrides)
kinds = ("extract_label", "extract_adversarial")
run.announce(*kinds, "independent")
figures.use_style()

recipe = run.profile.recipes.extract_adversarial
classes, attacker = run.material.class_names, run.material.splits["attacker"]
test = run.material.splits["test"].take(slice(0, attack_images))
source = run.zoo.get(run.zoo.source)
before, after = (suspects.suspects(run, kind) for kind in kinds)

# %% tags=["remove-cell"]
figures.say(needs=suspects.needs(run, *kinds), steps=recipe.pgd_steps, step=f"{recipe.pgd_step:g}")
figures.say(radius=f"{recipe.pgd_radius:g}", n_attacked=f"{len(test.labels):,}")
figures.say(epochs=recipe.epochs)

# %% [markdown]
# ## Projected gradient descent
#
# An *adversarial example* is an image $x'$ so close to $x$ that it still shows the same thing, which the model nevertheless gets wrong. PGD {cite:p}`madry2018pgd` finds one by climbing the
# loss in small steps and coming back into the allowed ball after each:
#
# $$
# x^{(0)} = x, \qquad
# x^{(k+1)} = \Pi \Bigl( x^{(k)} + \alpha \, \operatorname{sign} \nabla_{x^{(k)}} \mathrm{CE}\bigl(f(x^{(k)}), y\bigr) \Bigr),
# $$ (eq-pgd)
#
# where $\Pi$ projects onto $\{x' : \lVert x' - x \rVert_\infty \le \varepsilon\} \cap [0, 1]^{C \times H \times W}$, which is two clamps. In this build there are {glue:text}`steps` steps of
# $\alpha$ = {glue:text}`step` grey levels (1/255 of the range) within a radius of $\varepsilon$ = {glue:text}`radius` grey levels.
#
# ```{literalinclude} ../sacutils/attacks.py
# :pyobject: perturb
# ```
#
# ## Hardening, by hand on one batch
#
# Adversarial training puts such images into every batch. Extract-Adv starts from an Extract-L student and, with the source's label $\hat y_S$ of the *clean* image, minimises
#
# $$
# \mathcal{L}_{Adv} = \mathrm{CE}\bigl(f_T(\tilde x), \hat y_S\bigr) + \mathrm{CE}\bigl(f_T(\tilde x'), \hat y_S\bigr),
# \qquad \tilde x' = \mathrm{PGD}(f_T, \tilde x, \hat y_S) .
# $$ (eq-extract-adversarial)
#
# The perturbation is made against the student, whose gradients the thief has. The source is asked only once per image and epoch, as before. This is the loss of the released
# code (read).
#
# A hardening has to *harden*, or Extract-Adv is Extract-L counted twice. With a small radius, a small rate and few epochs, as in the released recipe, small students may stay what they were. The recipe of
# this build has a radius of {glue:text}`radius` grey levels in {glue:text}`epochs` epochs. The result says whether this was enough.

# %%
name = run.names("extract_adversarial")[0]
student = run.zoo.get(run.zoo.specs[name].parent)
x = data.to_float(attacker.pixels[:batch])
alpha, radius = recipe.pgd_step / 255, recipe.pgd_radius / 255

with torch.no_grad():
    y = source(x).argmax(1)  # the source's labels; the true ones are not used
moved = x.clone()
for _ in range(recipe.pgd_steps):
    moved.requires_grad_(True)
    loss = -student(moved).log_softmax(1)[torch.arange(len(y)), y].mean()
    (gradient,) = torch.autograd.grad(loss, moved)
    moved = (moved.detach() + alpha * gradient.sign()).clamp(x - radius, x + radius).clamp(0, 1)
with torch.no_grad():
    clean, adversarial = (
        -student(z).log_softmax(1)[torch.arange(len(y)), y].mean() for z in (x, moved)
    )

objective = attacks.adversarial_objective(attacks.black_box(source), recipe)
library, _ = objective(student, x, None)
torch.testing.assert_close(clean + adversarial, library)
print(f"clean {clean:.4f} + adversarial {adversarial:.4f}, as in the library")

# %% [markdown]
# This line loads the hardened model, or steals and hardens it now if it is not on disk:

# %%
hardened = run.zoo.get(name)
print(name)

# %% tags=["hide-input"]
released = {"lr": "0.001", "epochs": "2", "batch": "256", "momentum": "none"}
released |= {"weight_decay": "none", "schedule": "none", "pad": "4", "flip": "yes"}
released |= {"pgd_steps": "30", "pgd_step": "about 1 (1/256)", "pgd_radius": "about 4 (4/256)"}
rows = suspects.recipe_table(run, "extract_adversarial", released=released)
figures.table(rows, caption="Recipe of hardening, here and in the released code")

# %% [markdown]
# Attack the student with the true labels, and ask its hardened version about the same images:


# %%
def attacked(model: torch.nn.Module, strength: float = 1.0) -> torch.Tensor:
    """The test images, perturbed against a model and rounded to whole grey levels."""
    step, radius = strength * recipe.pgd_step, strength * recipe.pgd_radius
    x = data.to_float(test.pixels)
    moved = attacks.perturb(model, x, test.labels, recipe.pgd_steps, step, radius)
    return (255 * moved).round().to(torch.uint8)


perturbed, truth = attacked(student), test.labels.cpu()
right = {
    "clean": training.logits_of(student, test.pixels).argmax(1) == truth,
    "attacked": training.logits_of(student, perturbed).argmax(1) == truth,
    "hardened": training.logits_of(hardened, perturbed).argmax(1) == truth,
}
gone = right["clean"] & ~right["attacked"]

# %% tags=["hide-input", "remove-output"]
order = gone.int().argsort(descending=True, stable=True)[:examples]
difference = perturbed[order].int() - test.pixels[order].int()
magnified = (128 + 127 / recipe.pgd_radius * difference).clamp(0, 255).to(torch.uint8)
rows = {"clean": test.pixels[order], "difference": magnified, "attacked": perturbed[order]}
labels = {"difference": [""] * len(order)}
for kind in ("clean", "attacked"):
    labels[kind] = [classes[k] for k in training.logits_of(student, rows[kind]).argmax(1)]
figures.show("adversarial_examples", figures.images(rows, labels))
largest = (perturbed.int() - test.pixels.int()).abs().max().item()
assert largest <= recipe.pgd_radius + 0.5
figures.say(student=run.zoo.specs[name].parent, largest=largest)
figures.say(gain=f"{127 / recipe.pgd_radius:.0f}", lost=int(gone.sum()))
figures.say(still=int((gone & right["hardened"]).sum()))

# %% [markdown]
# :::{glue:figure} adversarial_examples
# :name: fig-adversarial-examples
# :alt: The attacked images show the same objects as the clean ones; of {glue:text}`n_attacked` images, {glue:text}`lost` that the student had right are lost to the attack.
#
# Above: clean images with the label of the student {glue:text}`student`. Middle: the perturbation, magnified {glue:text}`gain` times; medium grey means no change. Below: the attacked images,
# which look as before, and the label that the student gives them.
# :::
#
# No pixel moved by more than {glue:text}`largest` grey levels. Of the first {glue:text}`n_attacked` test images, {glue:text}`lost` that the student had right are lost to the attack. Its
# hardened version gets {glue:text}`still` of these right. That alone shows no hardening, because an attack on one model need not succeed against another.

# %% [markdown]
# ## Result: are they hardened?
#
# One student per architecture, before and after. Each model is attacked with its own gradients, with the recipe's step and radius and with half and double of both:

# %%
rows = []
for kind in kinds:
    for architecture, model_name in suspects.first_of_each(run, kind).items():
        model = run.zoo.get(model_name)
        for strength in (0, 0.5, 1, 2):
            pixels = attacked(model, strength) if strength else test.pixels
            accuracy = suspects.share(training.logits_of(model, pixels).argmax(1) == truth)
            row = {"architecture": architecture, "step": kind, "accuracy": accuracy.value}
            row |= {"low": accuracy.low, "high": accuracy.high}
            rows.append(row | {"radius": strength * recipe.pgd_radius})
robust = pd.DataFrame(rows)
at_radius = robust[robust["radius"] == recipe.pgd_radius]
at_radius = at_radius.pivot(index="architecture", columns="step", values="accuracy")[[*kinds]]
gained = 100 * (at_radius["extract_adversarial"] - at_radius["extract_label"])
interval = ttest_1samp(gained, 0).confidence_interval()

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-adversarial-robustness", "caption": "Accuracy against the radius of the perturbation, before and after hardening. Radius 0 are clean images; bars are 95 % Wilson intervals over the images. Hardening shows where its line lies above the other."}, "image": {"alt": "Accuracy falls as the radius grows; at the recipe's radius it is {glue:text}`robust_before` before and {glue:text}`robust_after` after hardening."}}
axes = {"x_label": "radius (grey levels)", "y_label": "accuracy"}
axes |= {"facet": "architecture", "columns": 2}
figures.curves(robust, "radius", "accuracy", role="step", band=False, limits=(0, 1), **axes)

# %% tags=["hide-input"]
wide = at_radius.assign(change=[f"{value:+.1f}" for value in gained])
wide = wide.rename(columns=LABELS | {"change": "change (points)"}).reset_index()
formats = dict.fromkeys([LABELS[kind] for kind in kinds], "{:.1%}")
figures.table(wide, formats, caption="Accuracy under attack, before and after hardening")

# %% tags=["remove-cell"]
low, high = interval
figures.say(mean_gain=f"{gained.mean():+.1f} [{low:+.1f}, {high:+.1f}]", n_pairs=len(gained))
figures.say(hardened_word="shown" if low > 0 else "not shown", n_gained=int((gained > 0).sum()))
figures.say(robust_before=f"{at_radius['extract_label'].mean():.1%}")
figures.say(robust_after=f"{at_radius['extract_adversarial'].mean():.1%}")

# %% [markdown]
# At the radius of the recipe {glue:text}`n_gained` of {glue:text}`n_pairs` students are more accurate under attack after hardening. The mean change is {glue:text}`mean_gain` points (95 % interval
# over the students): hardening is **{glue:text}`hardened_word`**. Where it is not shown, a result on Extract-Adv is a result on students that were trained a little longer, and not on a boundary
# that has moved.
#
# ## Result: are they still copies?
#
# The table has accuracy and fidelity on all clean test images and on the thief's own queries: mean over models, lowest and highest in brackets. *A stranger* is as in {doc}`04_extraction`.

# %% tags=["hide-input"]
rows = suspects.group_table(pd.concat([before, after]), stranger=suspects.stranger(run))
figures.table(rows, caption="Students before and after hardening: accuracy and fidelity")

# %%
pairs = after.merge(before, left_on="parent", right_on="name", suffixes=("", "_before"))
first = list(suspects.first_of_each(run, "extract_label").values())
models, sizes = [*pairs["name"], *pairs["parent"], *first], [len(pairs), len(pairs), len(first)]
hardened_labels, parents, others = suspects.predictions(run, models).split(sizes)
agreement = (hardened_labels == parents).double().mean(1)
between = 1 - pdist(others.numpy(), "hamming")  # students of one teacher, other architectures

# %% tags=["remove-cell"]
for column in ("accuracy", "fidelity"):
    change = 100 * (pairs[column] - pairs[f"{column}_before"])
    text = f"{change.mean():+.1f} ({change.min():+.1f} to {change.max():+.1f})"
    figures.say(**{f"change_{column}": text})
figures.say(n_all=len(pairs), same_as_parent=suspects.spread(pd.Series(agreement)))
figures.say(same_as_other=suspects.spread(pd.Series(between)))
figures.say(units="units of their own" if agreement.mean() < between.mean() else "hardly new units")

# %% [markdown]
# Over {glue:text}`n_all` pairs, clean accuracy changes by {glue:text}`change_accuracy` points and fidelity by {glue:text}`change_fidelity`. A hardened student and its own parent give the same label on
# {glue:text}`same_as_parent` of the test images; Extract-L students of different architectures do so on {glue:text}`same_as_other`. If the first share is not smaller than the second, the
# Extract-Adv models add little to the Extract-L models that they began as. Here they are **{glue:text}`units`** of evidence.

# %% [markdown]
# ## What it means
#
# Hardening that works moves the boundary *near images*, and with it the answers to every probe that was placed near the source's boundary on purpose. Natural images, even hard ones, are not aimed
# at the boundary in this way. Read any fingerprint's result on Extract-Adv together with the numbers above: accuracy under attack, fidelity, and agreement with the parent.
#
# The released recipe is a small rate for two epochs with 30 steps (read). A bolder recipe can gain robustness and may lose fidelity, until little is left of the source.


# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. The sign.** To first order the loss changes by the scalar product of gradient and step. Write `best_step(gradient, size)`: the step that raises it most, if no pixel may move by more than `size`.
# %% tags=["solution"]
def best_step(gradient, size):
    return size * np.sign(gradient)  # every pixel uses its whole allowance


# %% tags=["test"]
assert np.allclose(best_step(np.array([0.2, -3.0]), 0.1), [0.1, -0.1])


# %% [markdown] tags=["exercise"]
# **2. The projection.** Write `project(moved, clean, radius)`, the $\Pi$ of {eq}`eq-pgd`.
# %% tags=["solution"]
def project(moved, clean, radius):
    return np.clip(np.clip(moved, clean - radius, clean + radius), 0, 1)


# %% tags=["test"]
assert np.allclose(project(np.array([0.9, 0.5, -1]), np.array([0.5, 0.5, 0]), 0.1), [0.6, 0.5, 0])
# %% [markdown] tags=["exercise"]
# **3. How far?** By how many grey levels, `farthest`, can PGD move a pixel at most, in 30 steps of 1 grey level within a radius of 4?
# %% tags=["solution"]
farthest = min(30 * 1, 4)  # more steps find a better place in the same ball
# %% tags=["test"]
assert farthest == 4
# %% [markdown] tags=["exercise"]
# **4. Is the attack strong enough?** A defence looks good against a weak attack. Attack the hardened student with more steps.
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# Vary the number of steps in `attacks.perturb(hardened, x, test.labels, steps, recipe.pgd_step, recipe.pgd_radius)`, where `x = data.to_float(test.pixels)`, and count the right labels. When more steps no longer lower the accuracy, the attack has converged for this radius. Only then does the number describe the model rather than the attack.
# :::
# %% [markdown] tags=["exercise"]
# **5. Transfer.** Do perturbations made against the student fool the source? Do they fool independent models as often?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# Call `training.accuracy(run.zoo.get(other), test._replace(pixels=perturbed))` for the source and for `run.names("independent")`. If stolen models passed perturbations on to the source more readily, that alone would be a fingerprint. The idea of {cite:t}`lukas2021cae` is to optimise for exactly this difference.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`madry2018pgd`: adversarial training as a minimax problem.
# - {cite:t}`cao2021ipguard` and {cite:t}`lukas2021cae`: fingerprints at the decision boundary.
# - {cite:t}`removalnet2023`: a thief who optimises directly against fingerprints.
# - Next: the thief changes the task ({doc}`06_transfer`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
