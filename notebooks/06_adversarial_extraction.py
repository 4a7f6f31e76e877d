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
# ```{admonition} What you will do
# :class: tip
# Take the students of the last page and harden them by adversarial training (*Extract-Adv*), as a thief would who wants to get rid of a fingerprint.
#
# **You learn** projected gradient descent; why adversarial training was expected to defeat fingerprints made of adversarial examples; how to measure
# whether a model was hardened at all.
#
# **You need** {doc}`05_extraction` and gradients with respect to the input; {glue:text}`needs`. What is on disk is loaded, and
# trained only when it is missing. The attacks on this page are computed each time.
# ```

# %% [markdown]
# ## The claim under test
#
# On the models released with SAC, the {term}`AUC` printed for Extract-Adv is 0.92 for SAC, 0.54 for IPGuard and 0.52 for CAE (read in
# {cite:t}`song2023modelgif`). The last two make their probes by moving images to or across the source's decision boundary; a student whose boundary has
# moved answers them like a stranger. The abstract of {cite:t}`guan2022sac` makes the point that {term}`SAC-m` needs no adversarial examples (read). On other models, of
# {cite:t}`marginfinger2024`, SAC-w has 0.00 and SAC-m 0.06 on this attack (read in their evaluation).
#
# This page asks what has to hold first: **does the hardening change the students' decision boundary, and do they remain good copies?** The AUC is in
# {doc}`11_results`.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
attack_images = 200
examples = 6

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from myst_nb import glue

from sacutils import evaluation, inspection, plots, training
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()

recipe = run.profile.recipes.extract_adversarial
classes = run.material.class_names
test = run.material.splits["test"].take(slice(0, attack_images))
before, after = inspection.suspects(run, "extract_label"), inspection.suspects(run, "extract_adversarial")
record = run.zoo.record(run.zoo.source)

# %% tags=["hide-input"]
glue("needs", inspection.needs(run, "extract_label", "extract_adversarial"), display=False)
glue("steps", str(recipe.pgd_steps), display=False)
glue("step", f"{recipe.pgd_step:g}", display=False)
glue("radius", f"{recipe.pgd_radius:g}", display=False)
glue("n_attacked", f"{len(test.labels):,}", display=False)

# %% [markdown]
# ## Projected gradient descent
#
# An *adversarial example* is an image $x'$ so close to $x$ that nobody sees a difference, which the model nevertheless gets wrong. PGD {cite:p}`madry2018pgd` finds one by
# climbing the loss in small steps and coming back into the allowed ball after each:
#
# $$
# x^{(0)} = x, \qquad
# x^{(k+1)} = \Pi \Bigl( x^{(k)} + \alpha \, \operatorname{sign} \nabla_{x^{(k)}} \mathrm{CE}\bigl(f(x^{(k)}), y\bigr) \Bigr),
# $$ (eq-pgd)
#
# where $\Pi$ projects onto $\{x' : \lVert x' - x \rVert_\infty \le \varepsilon\} \cap [0, 1]^{C \times H \times W}$, which is two clamps. In this build there are {glue:text}`steps` steps of
# $\alpha$ = {glue:text}`step` grey levels (1/255 of the range) within a radius of $\varepsilon$ = {glue:text}`radius` grey levels.
#
# Let us attack one student of the last page. Its labels before and after the attack stand above the images.

# %%
name = before.loc[before["fidelity"].idxmax(), "name"]
parents = {run.zoo.specs[other].parent: other for other in after["name"]}
hardened_name = parents[name]
student, hardened = run.zoo.get(name), run.zoo.get(hardened_name)

perturbed = inspection.attacked(student, test, recipe)
clean_labels = training.logits_of(student, test.pixels).argmax(1)
fooled_labels = training.logits_of(student, perturbed.pixels).argmax(1)
hardened_labels = training.logits_of(hardened, perturbed.pixels).argmax(1)
truth = test.labels.cpu()

# %% tags=["hide-input", "remove-output"]
# first those that the student had right and gets wrong under attack
gone = (clean_labels == truth) & (fooled_labels != truth)
order = gone.int().argsort(descending=True, stable=True)[:examples]
difference = perturbed.pixels[order].int() - test.pixels[order].int()
magnified = (128 + 127 / recipe.pgd_radius * difference).clamp(0, 255).to(torch.uint8)
rows = {"clean": test.pixels[order], "difference": magnified, "attacked": perturbed.pixels[order]}
titles = {
    "clean": [classes[k] for k in clean_labels[order]],
    "difference": [""] * len(order),
    "attacked": [classes[k] for k in fooled_labels[order]],
}
fig = plots.image_rows(rows, titles)
glue("adversarial_examples", fig)
plt.close(fig)

lost, still = int(gone.sum()), int((gone & (hardened_labels == truth)).sum())
largest = (perturbed.pixels.int() - test.pixels.int()).abs().max().item()
assert largest <= recipe.pgd_radius + 0.5
glue("student", name, display=False)
glue("largest", str(largest), display=False)
glue("gain", f"{127 / recipe.pgd_radius:.0f}", display=False)
glue("lost", str(lost), display=False)
glue("still", str(still), display=False)

# %% [markdown]
# :::{glue:figure} adversarial_examples
# :name: fig-adversarial-examples
# :alt: Three rows of images. Clean images, the perturbations magnified so that grey means no change, and the perturbed images, which look like the clean ones. The student's label stands above the images of the first and the last row.
#
# Above: clean images with the label of the student {glue:text}`student`. Middle: the perturbation, magnified {glue:text}`gain` times; medium grey means no change. Below: the attacked images and the
# label that the student gives them.
# :::
#
# No pixel moved by more than {glue:text}`largest` grey levels. Of the first {glue:text}`n_attacked` test images, {glue:text}`lost` that the student had right are lost to the attack. Of those same images
# its hardened version gets {glue:text}`still` right (an attack made against one model need not succeed against another).

# %% [markdown]
# ## Hardening
#
# Adversarial training puts such images into every batch. Extract-Adv starts from an Extract-L student and, with the source's label $\hat y_S$ of the *clean* image,
# minimises
#
# $$
# \mathcal{L}_{Adv} = \mathrm{CE}\bigl(f_T(\tilde x), \hat y_S\bigr) + \mathrm{CE}\bigl(f_T(\tilde x'), \hat y_S\bigr),
# \qquad \tilde x' = \mathrm{PGD}(f_T, \tilde x, \hat y_S) .
# $$ (eq-extract-adversarial)
#
# The perturbation is made against the student, whose gradients the thief has; the source is asked only once per image and epoch, as
# before. This is the loss of the released code (read).

# %% tags=["hide-input"]
released = {"lr": "0.001", "epochs": "2", "batch": "256", "momentum": "none", "weight_decay": "none", "schedule": "none"}
released |= {"pad": "4", "flip": "yes", "pgd_steps": "30", "pgd_step": "about 1 (1/256)", "pgd_radius": "about 4 (4/256)"}
plots.table(inspection.recipe_table(run, "extract_adversarial", released=released))

# %% mystnb={"figure": {"name": "fig-adversarial-training", "caption": "Hardening of one student per architecture: the sum of both losses, and agreement with the source on clean images, by epoch."}, "image": {"alt": "Two line plots over the epochs of adversarial training, one line per architecture: the loss and the agreement with the source on clean images."}}
curves = inspection.histories(run, inspection.first_of_each(run, "extract_adversarial"))
plots.training_curves(curves, "agreement with the source")

# %% [markdown]
# ## Result
#
# **Are they hardened?** Each model is attacked with the gradients of that very model and the true labels, with the recipe's step and radius and with half and double of both. A
# hardened model would lose less.

# %% mystnb={"figure": {"name": "fig-adversarial-robustness", "caption": "Accuracy against the radius of the perturbation, before and after hardening, for one student per architecture. Radius 0 are clean images; bars are 95 % Wilson intervals."}, "image": {"alt": "One panel per student architecture with accuracy against the perturbation radius; one line for the Extract-L student and one for the same student after hardening. Accuracy falls as the radius grows."}}
robust = inspection.robustness(run, attack_images, [0, 0.5, 1, 2])
plots.robustness(robust)

# %% tags=["hide-input"]
rows = []
for architecture in robust["architecture"].unique():
    for group, own in robust[robust["architecture"] == architecture].groupby("group", sort=False):
        row = {"architecture": architecture, "model": group}
        for radius, label in ((0, "clean"), (recipe.pgd_radius, f"attacked, radius {recipe.pgd_radius:g}")):
            cell = own[own["radius"] == radius].iloc[0]
            row[label] = str(evaluation.proportion_interval(cell["accuracy"], cell["n"]))
        rows.append(row)
plots.table(pd.DataFrame(rows))

# %% tags=["hide-input"]
at_radius = robust[robust["radius"] == recipe.pgd_radius].pivot(index="architecture", columns="step", values="accuracy")
gained = at_radius["extract_adversarial"] - at_radius["extract_label"]
glue("n_gained", str(int((gained > 0).sum())), display=False)
glue("n_pairs", str(len(gained)), display=False)
glue("mean_gain", str(evaluation.mean_difference(gained.to_numpy(), np.zeros(len(gained)))), display=False)

# %% [markdown]
# (Accuracy on the first {glue:text}`n_attacked` test images.) At the radius of the recipe, {glue:text}`n_gained` of {glue:text}`n_pairs` students are more accurate under attack after hardening than before; the mean change is
# {glue:text}`mean_gain` percentage points (in brackets a 95 % interval over the students). Overlapping intervals in the table are no contradiction to a difference: both models saw the same images, and a paired comparison
# is sharper than two separate intervals.
#
# **Are they still copies?** Accuracy and {term}`fidelity` on all clean test images; mean over models, lowest and highest in brackets:

# %% tags=["hide-input"]
everyone = pd.concat([before, after])
plots.table(inspection.group_table(everyone))

# %% mystnb={"figure": {"name": "fig-adversarial-copies", "caption": "Accuracy and fidelity on clean test images before and after hardening, by architecture; bars are 95 % Wilson intervals."}, "image": {"alt": "Two dot plots side by side, accuracy and fidelity, with one band per architecture: dots with error bars for the students before and after hardening."}}
plots.by_architecture(everyone)

# %% tags=["hide-input"]
pairs = after.assign(parent=[run.zoo.specs[other].parent for other in after["name"]]).merge(
    before[["name", "accuracy", "fidelity"]], left_on="parent", right_on="name", suffixes=("", "_before")
)
for column in ("accuracy", "fidelity"):
    change = pairs[column] - pairs[f"{column}_before"]
    glue(f"change_{column}", f"{100 * change.mean():+.1f}", display=False)
    glue(f"range_{column}", f"{100 * change.min():+.1f} to {100 * change.max():+.1f}", display=False)
glue("n_all_pairs", str(len(pairs)), display=False)

# %% [markdown]
# Hardening changed clean accuracy by {glue:text}`change_accuracy` percentage points on average ({glue:text}`range_accuracy` over {glue:text}`n_all_pairs` pairs) and fidelity by
# {glue:text}`change_fidelity` ({glue:text}`range_fidelity`).

# %% [markdown]
# ## What it means
#
# Hardening moves the boundary *near images*, and with it the answers to every probe that was placed near the source's boundary on purpose. Probes that are natural images, merely hard ones,
# are not aimed at the boundary in this way. Whether that is enough is for {doc}`11_results`.
#
# The released recipe looks mild (our inference): a small rate and two epochs should leave most of the copy as it was. A bolder thief would gain robustness and pay with fidelity, until there is little left
# of the source. So read any fingerprint's result on Extract-Adv together with the two numbers above: a small change in fidelity makes for an easy row, a large one for a
# suspect that is hardly a copy.

# %% [markdown]
# ## On your own
#
# **1. The sign.** Why does {eq}`eq-pgd` use the sign of the gradient and not the gradient?
#
# :::{dropdown} Solution
# To first order the loss changes by $\langle \nabla, \delta \rangle$. Under $\lVert\delta\rVert_\infty \le \alpha$ this is largest for
# $\delta = \alpha \operatorname{sign} \nabla$: every pixel uses its whole allowance. Under an $L_2$ bound it would be the gradient, scaled to length.
# :::
#
# **2. Is the attack strong enough?** A defence looks good against a weak attack. Attack the hardened student with more steps.
#
# :::{dropdown} Solution
# ```python
# for steps in (1, 5, 20, 50):
#     stronger = recipe.model_copy(update={"pgd_steps": steps})
#     print(steps, training.accuracy(hardened, inspection.attacked(hardened, test, stronger)))
# ```
# When more steps no longer lower the accuracy, the attack has converged for this radius, and only then does the number describe the model rather than the attack.
# :::
#
# **3. Transfer.** Do perturbations made against the student fool the source? Do they fool irrelevant models as often?
#
# :::{dropdown} Solution
# ```python
# for other in [run.zoo.source, *run.names("irrelevant")]:
#     print(other, training.accuracy(run.zoo.get(other), perturbed))
# ```
# If stolen models passed perturbations on to the source more readily than irrelevant ones do, that alone would be a fingerprint. The idea of {cite:t}`lukas2021cae` is to
# optimise for exactly this difference.
# :::
#
# **4. A bolder thief.** Double the epochs and the radius of the recipe. Plot fidelity against accuracy under attack for both recipes.
#
# :::{dropdown} Solution
# ```python
# changes = {
#     "recipes.extract_adversarial.epochs": 2 * recipe.epochs,
#     "recipes.extract_adversarial.pgd_radius": 2 * recipe.pgd_radius,
# }
# bolder = open_run(profile, overrides | changes)
# plots.table(inspection.group_table(inspection.suspects(bolder, "extract_adversarial")))
# plots.robustness(inspection.robustness(bolder, attack_images, [0, 0.5, 1, 2]))
# ```
# Only the hardened models are trained again; their parents are shared.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`madry2018pgd`: adversarial training as a minimax problem.
# - {cite:t}`cao2021ipguard` and {cite:t}`lukas2021cae`: fingerprints at the decision boundary.
# - {cite:t}`removalnet2023`: a thief who optimises directly against fingerprints.
# - Next: the thief changes the task ({doc}`07_transfer`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
