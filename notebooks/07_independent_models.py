# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Independent models
#
# ## The answer in short
#
# The {glue:text}`n_independent` {term}`independent` models with the source's classes agree with the source on {glue:text}`innocent_right` of the test images that it has right and on {glue:text}`innocent_wrong` of those that
# it has wrong (mean, lowest and highest). Guessing would repeat a mistake in {glue:text}`guess` of all cases. Which of these models a detector is compared with changes its AUC: with plain fidelity as
# the detector, the AUC on {glue:text}`widest_attack` lies between {glue:text}`widest_low` and {glue:text}`widest_high`.
#
# ```{admonition} What you will do
# :class: tip
# Train models that never met the source, in several architectures, on the attacker's data and on the owner's own. Then look at how much they resemble the source all the same. **You learn** why the choice
# of negatives decides a result as much as the choice of the method, and how to find out whether a detector detects theft or something else. **You need** the chapters before this one; {glue:text}`needs`.
# ```

# %% [markdown]
# ## The claim under test
#
# A fingerprint must not accuse an honest developer. Three findings say that this is the hard part:
#
# - In the released CIFAR-10 zoo the 20 independent models are VGG13, ResNet18, DenseNet121 and MobileNetV2, five of each; *none* has the source's architecture, while every fine-tuned and pruned positive
#   does (read in the code). A detector of architectures would score 1.00 on those rows.
# - Negatives that share the victim's architecture *and* its training data are the hardest for every method examined by {cite:t}`advtra2024` (read).
# - At a preset threshold, {cite:t}`deepreg` find false positive rates of SAC between 13 % and 63 % on their models (read in their Table I).
#
# So the claim here is about our own zoo: **its negatives are hard enough for the AUC to mean something.**

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
batch = 64  # 2 to 500: images on which the loss is computed by hand

# %%
import pandas as pd
import torch
from IPython.display import Markdown
from scipy.spatial.distance import cdist

from sacutils import data, evaluation, figures, training
from sacutils.run import open_run, provenance_line
from sacutils.steps import INDEPENDENT, LABELS, SAME_CLASSES
from sacutils.studies import suspects

run = open_run(profile, overrides)
run.announce("source", *INDEPENDENT, "independent_transfer", "independent_corrupted", *SAME_CLASSES)
figures.use_style()

record = run.zoo.record(run.zoo.source)
independent = suspects.suspects(run, *INDEPENDENT)
test, attacker = run.material.splits["test"], run.material.splits["attacker"]
truth, n_test = test.labels.cpu(), len(test.labels)

# %% tags=["remove-cell"]
groups = (*INDEPENDENT, "independent_transfer", "independent_corrupted")
figures.say(
    needs=suspects.needs(run, *groups),
    n_test=f"{n_test:,}",
    source_architecture=record["architecture"],
)
figures.say(source_accuracy=str(evaluation.proportion_interval(record["test_accuracy"], n_test)))

# %% [markdown]
# ## Four groups
#
# | group | trained on | negatives for |
# |---|---|---|
# | Independent (attacker data) | the attacker's images, true labels | fine-tuning, pruning, extraction |
# | Independent (owner data) | the owner's images, true labels: what the source itself saw | the same |
# | Independent (new labels) | the new task of {doc}`06_transfer` | Transfer-A, Transfer-L |
# | Independent (corrupted) | corrupted copies of the attacker's images | Transfer-10C |
#
# All start from random weights and never query the source. On one batch the loss is the mean negative logarithm of the probability of the true class, as for the source:

# %%
name = run.names("independent")[0]
honest = run.zoo.task(name).build(run.zoo.specs[name].architecture)
x, y, index = data.to_float(attacker.pixels[:batch]), attacker.labels[:batch], torch.arange(batch)
with torch.no_grad():
    loss = -honest.eval()(x).log_softmax(1)[torch.arange(len(y)), y].mean()
    library, _ = training.cross_entropy_to(attacker.labels)(honest, x, index[: len(y)])
torch.testing.assert_close(loss, library)
print(f"{loss:.4f} before the training, as in the library")

# %% [markdown]
# This line loads the independent model, or trains it now if it is not on disk:

# %%
honest = run.zoo.get(name)
print(name)

# %% [markdown]
# Here are the recipes beside that of the source and that of the students, so that you can check whether an honest model might be recognised by another style of training:

# %% tags=["hide-input"]
kinds = ("source", "independent", "independent_transfer", "independent_corrupted", "extract_label")
figures.table(suspects.recipe_table(run, *kinds))

# %% [markdown]
# The models on owner data share the recipe of those on attacker data. Where the recipes of students and of independent models differ, a fingerprint may notice the recipe
# ({doc}`12_what_it_depends_on` measures that).
#
# ## Result
#
# The source has accuracy {glue:text}`source_accuracy` on {glue:text}`n_test` test images. Mean over models, lowest and highest in brackets:

# %% tags=["hide-input"]
figures.table(suspects.group_table(independent))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-independent-architectures", "caption": "Accuracy and fidelity of every independent model with the source's classes, by architecture and data. Bars are 95 % Wilson intervals over test images."}, "image": {"alt": "Independent models on owner data and on attacker data are about equally accurate; whether those on owner data agree more with the source is stated in the table below."}}
long = independent.melt(["architecture", "step", "n"], ["accuracy", "fidelity"], "measure")
bounds = [evaluation.proportion_interval(row.value, row.n) for row in long.itertuples()]
long["low"], long["high"] = zip(*[(share.low, share.high) for share in bounds], strict=True)
figures.points(
    long, "value", "architecture", role="step", facet="measure", label="share of test images"
)

# %%
same = independent["architecture"] == record["architecture"]
on_owner = independent["step"] == "independent_owner"
rows = []
for label, chosen in {"the source's architecture": same, "the owner's data": on_owner}.items():
    parts = [independent.loc[part, "fidelity"].to_numpy() for part in (chosen, ~chosen)]
    if all(map(len, parts)):
        row = {"sharing": label, "models": f"{len(parts[0])} / {len(parts[1])}"}
        rows.append(
            row | {"difference of fidelity (points)": str(evaluation.mean_difference(*parts))}
        )
figures.table(pd.DataFrame(rows))

# %% tags=["remove-cell"]
closest = independent.loc[independent["fidelity"].idxmax()]
nearest = evaluation.proportion_interval(closest["fidelity"], n_test)
figures.say(closest=closest["name"], closest_fidelity=str(nearest))

# %% [markdown]
# A positive difference means that sharing this property with the source makes a model look more like it, without any theft (Welch's 95 % interval over models, none where a group has a single model). The
# independent model nearest to the source is {glue:text}`closest` with a fidelity of {glue:text}`closest_fidelity`. A judge should look at this model first.
#
# ### Agreement between all of them
#
# Fidelity compares with the source only. Here is the agreement of every pair, for one model per group and architecture, in per cent of test images:

# %%
members = {"source": run.zoo.source}
for step in ("independent_owner", "independent", "extract_label", "extract_probability"):
    for architecture, other in suspects.first_of_each(run, step).items():
        members[f"{LABELS[step].removeprefix('Independent ')} {architecture}"] = other
members |= {LABELS[step]: run.names(step)[-1] for step in ("finetune_all", "prune")}
labels = suspects.predictions(run, list(members.values())).numpy()
shares = pd.DataFrame(1 - cdist(labels, labels, "hamming"), list(members), list(members))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-independent-agreement", "caption": "Share of test images (in per cent) on which two models give the same label. First the source, then independent models by their training data, then stolen ones. Of Pruning the heaviest rung is shown. The first row is likeness to the source; the block of the students shows whether they resemble each other; the block of the independent models shows what the task alone gives."}, "image": {"alt": "Copies of the weights agree with the source most; independent models agree with each other about as much as with the source."}}
low = shares.to_numpy()[shares.to_numpy() < 1].min()
figures.heat(shares, "agreement", low=low, text=shares.map(lambda share: f"{100 * share:.0f}"))

# %% [markdown]
# ### Where the source is right, and where it is wrong
#
# Split fidelity by whether the source's answer is true. On the images that the source has right, nearly every model that has learnt the task agrees with it. Agreement on the source's mistakes is what needs
# an explanation.

# %%
names = run.names(*SAME_CLASSES, *INDEPENDENT)
theirs, *others = suspects.predictions(run, [run.zoo.source, *names])
right = theirs == truth
rows = []
for other, answer in zip(names, others, strict=True):
    agree = (answer == theirs).double()
    shares = {"right": agree[right].mean().item(), "wrong": agree[~right].mean().item()}
    rows.append({"step": run.zoo.specs[other].step} | shares)
split = pd.DataFrame(rows)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-independent-mistakes", "caption": "Agreement with the source on the test images that it classifies rightly (horizontal) and wrongly (vertical). A dot is a model."}, "image": {"alt": "Independent models repeat many of the source's mistakes; extracted students lie among them or little above, copies of the weights far above."}}
axes = {"x_label": "agreement where the source is right", "y_label": "agreement where it is wrong"}
figures.scatter(split, "right", "wrong", role="step", **axes)

# %% tags=["remove-cell"]
honest_rows, students = (
    split["step"].isin(kinds) for kinds in (INDEPENDENT, ["extract_label", "extract_probability"])
)
for kind, chosen in {"innocent": honest_rows, "students": students}.items():
    for where in ("right", "wrong"):
        figures.say(**{f"{kind}_{where}": suspects.spread(split.loc[chosen, where])})
guess = 1 / len(run.material.class_names)
more = split.loc[honest_rows, "wrong"].mean() > guess
figures.say(
    n_mistakes=int((~right).sum()),
    guess=f"{guess:.1%}",
    base_rate="more often" if more else "no more often",
)

# %% [markdown]
# | | where the source is right | where it is wrong ({glue:text}`n_mistakes` images) |
# |---|---|---|
# | independent models | {glue:text}`innocent_right` | {glue:text}`innocent_wrong` |
# | Extract-L and Extract-P | {glue:text}`students_right` | {glue:text}`students_wrong` |
#
# (Mean over models, lowest and highest in brackets.) Guessing would repeat a given answer in {glue:text}`guess` of all cases; independent models repeat the source's mistakes **{glue:text}`base_rate`**. A picture can be hard
# for all, and often has only one tempting wrong answer. Any test on mistakes has to beat this base rate and not zero. {cite:t}`godinot2025qurd` report that agreement on mistakes alone (AKH) performs on par
# with far more complex schemes.
#
# ### The same detector, other negatives
#
# Take the simplest detector, fidelity itself, and compute its {term}`AUC` for the same stolen models against different choices of the negatives (their number in the head of each column, 95 % interval in
# brackets):

# %%
choices = {"attacker data": ~on_owner, "owner data": on_owner}
choices |= {"other architectures": ~same, "source's architecture": same}
settings, rows, values = (run.profile.bootstrap, run.profile.seed), [], []
for step in SAME_CLASSES:
    stolen, row = suspects.suspects(run, step)["fidelity"].to_numpy(), {"attack": LABELS[step]}
    for choice, chosen in choices.items():
        if chosen.any():
            negatives = independent.loc[chosen, "fidelity"].to_numpy()
            auc = evaluation.auc(1 - stolen, 1 - negatives, *settings)
            row[f"{choice} ({len(negatives)})"] = str(auc)
            values.append({"attack": LABELS[step], "auc": auc.value})
    rows.append(row | {"stolen models": len(stolen)})
figures.table(pd.DataFrame(rows).fillna("–"))

# %% tags=["remove-cell"]
spans = pd.DataFrame(values).groupby("attack", sort=False)["auc"].agg(["min", "max"])
widest = (spans["max"] - spans["min"]).idxmax()
low, high = spans.loc[widest]
figures.say(widest_attack=widest, widest_low=f"{low:.2f}", widest_high=f"{high:.2f}")
figures.say(n_below=int((spans["min"] < 0.5).sum()), n_attacks=len(spans), n_own=int(same.sum()))
figures.say(n_owner=int(on_owner.sum()), n_independent=len(independent))

# %% [markdown]
# Every row is the same set of stolen models with the same score. What differs along a row comes from the negatives alone. In this build the choice matters most for {glue:text}`widest_attack`, whose AUC lies
# between {glue:text}`widest_low` and {glue:text}`widest_high`. For {glue:text}`n_below` of {glue:text}`n_attacks` attacks the AUC is below one half for some choice: there the stolen models agree with the source *less*
# than the independent ones do, because fidelity rewards whoever has learnt the task well.
#
# As to the claim: of the {glue:text}`n_independent` negatives with the source's classes, {glue:text}`n_own` have the source's architecture and {glue:text}`n_owner` its training data. The zoo has hard cases, but so few
# that the intervals are wide.

# %% [markdown]
# ## What it means
#
# A model can share the source's task, its data, its architecture, its recipe, even the seed, without having been stolen, and each of these may move it closer. A fair evaluation has all of these among its
# negatives and reports them separately; {doc}`10_results` does so for data and architecture. One group is missing from this zoo: students of *another* source, which were trained as the thief's students are and never saw this one.
#
# The thresholds follow the same logic. Set on negatives that are too easy, a threshold looks safe and accuses the first honest competitor with the same architecture.

# %% [markdown]
# ## On your own
#
# **1. Design an unfair test.** Which negatives would you choose to make a fingerprint look better than it is? And worse?
# :::{dropdown} Solution
# Better: other architectures, other data, other augmentation, poor accuracy; best of all, another task. Worse: the source's architecture, data and recipe, differing in the seed only. The second choice is the
# stricter one and still fair: such models can exist, for instance at a company from which both parties licensed the same data.
# :::
#
# **2. An architecture detector.** A "fingerprint" returns distance 0 if the suspect has the source's architecture and 1 otherwise. Compute its AUC for Finetune-A and for Extract-L on this zoo.
# :::{dropdown} Solution
# ```python
# def detector(*kinds):
#     return (suspects.suspects(run, *kinds)["architecture"] != record["architecture"]).to_numpy(float)
#
# for attack in ("finetune_all", "extract_label"):
#     print(attack, evaluation.auc(detector(attack), detector("independent", "independent_owner"), 2000, 0))
# ```
# For Finetune-A it is high, less than 1 only because the source's architecture is among the negatives. For Extract-L it is at most one half, if no student has the source's architecture: such a
# detector would acquit thieves.
# :::
#
# **3. The same seed.** Train an independent model with the very weights that the source began with, on the attacker's data. Is it nearer to the source?
# :::{dropdown} Hint
# `attacks.train_independent` takes a seed, and the record of the source states its own: `record["seed"]`. Compare the fidelity with that of the other models of this architecture. Decide beforehand whether
# you would call the result stolen.
# :::
#
# **4. How many negatives?** With $n$ negatives, all of them correctly acquitted, how large may the true false positive rate still be?
# :::{dropdown} Solution
# Solve $(1 - p)^n = 0.05$: $p = 1 - 0.05^{1/n} \approx 3/n$, the "rule of three". With 20 negatives up to 14 per cent of honest developers could be accused without our having seen one such case.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`advtra2024` on negatives that share architecture and data; {cite:t}`deepreg` on false positive rates at a preset threshold.
# - {cite:t}`falseclaims2024` and {cite:t}`fitprint2025` on accusers who cheat; {cite:t}`di_falsepositives2022` on proven false positives of another method.
# - Next: the fingerprint itself, by hand ({doc}`08_sample_correlation`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
