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
# ```{admonition} What you will do
# :class: tip
# Train the innocent: {term}`irrelevant` models that never met the source, in several architectures, on the attacker's data and on the owner's own. Then look at how much they
# resemble the source all the same.
#
# **You learn** why the choice of negatives decides a result as much as the choice of the method; how to find out whether a detector detects theft or something else; where
# independent models differ.
#
# **You need** the chapters before this one; {glue:text}`needs`. What is on disk is loaded, and trained only when it is missing.
# ```

# %% [markdown]
# ## The claim under test
#
# A fingerprint must not accuse an honest developer. Three findings say that this is the hard part:
#
# - In the released CIFAR-10 zoo the 20 irrelevant models are VGG13, ResNet18, DenseNet121 and MobileNetV2, five of each; *none* has the source's architecture, while every fine-tuned and pruned positive
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

# %%
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from sacutils import evaluation, inspection, lineage, plots
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()

record = run.zoo.record(run.zoo.source)
irrelevant = inspection.suspects(run, "irrelevant", "irrelevant_owner")
n_test = len(run.material.splits["test"].labels)

# %% tags=["hide-input"]
steps = ("irrelevant", "irrelevant_owner", "irrelevant_transfer", "irrelevant_corrupted")
glue("needs", inspection.needs(run, *steps), display=False)
glue("n_test", f"{n_test:,}", display=False)
glue("source_architecture", record["architecture"], display=False)
glue("source_accuracy", str(evaluation.proportion_interval(record["test_accuracy"], n_test)), display=False)

# %% [markdown]
# ## Four groups
#
# | group | trained on | negatives for |
# |---|---|---|
# | Irrelevant (attacker data) | the attacker's images, true labels | fine-tuning, pruning, extraction |
# | Irrelevant (owner data) | the owner's images, true labels: what the source itself saw | the same |
# | Irrelevant (new labels) | the new task of {doc}`07_transfer` | Transfer-A, Transfer-L |
# | Irrelevant (corrupted) | corrupted copies of the attacker's images | Transfer-10C |
#
# All start from random weights and never query the source. They minimise the same loss {eq}`eq-source-loss` as the source does. Here are their recipes beside that of the source, so that you can check
# whether an honest model might be recognised by another style of training:

# %% tags=["hide-input"]
plots.table(
    inspection.recipe_table(run, "source", "irrelevant", "irrelevant_transfer", "irrelevant_corrupted", "extract_label")
)

# %% [markdown]
# The models on owner data share the recipe of those on attacker data. Extract-L stands beside them, because students and honest models are told apart later: where their recipes differ, a
# fingerprint may notice the recipe ({doc}`13_ablations` measures that).

# %% mystnb={"figure": {"name": "fig-irrelevant-training", "caption": "Training of one irrelevant model per architecture on attacker data, with the source for comparison."}, "image": {"alt": "Two line plots over epochs, loss and accuracy on the training images, one line per architecture of the irrelevant models and one for the source."}}
curves = {f"source, {record['architecture']}": run.zoo.source}
curves |= inspection.first_of_each(run, "irrelevant")
plots.training_curves(inspection.histories(run, curves))

# %% [markdown]
# ## Result
#
# The source has accuracy {glue:text}`source_accuracy` on {glue:text}`n_test` test images. Mean over models, lowest and highest in brackets:

# %% tags=["hide-input"]
plots.table(inspection.group_table(irrelevant))

# %% mystnb={"figure": {"name": "fig-irrelevant-architectures", "caption": "Accuracy and fidelity of every irrelevant model with the source's classes, by architecture and data. Bars are 95 % Wilson intervals over test images."}, "image": {"alt": "Two dot plots side by side, accuracy and fidelity, with one band per architecture; dots with error bars for irrelevant models on attacker data and on owner data."}}
plots.by_architecture(irrelevant)

# %% tags=["hide-input"]
own = irrelevant["architecture"] == record["architecture"]
on_owner = irrelevant["step"] == "irrelevant_owner"
pairs = {"architecture": (own, ~own), "data": (on_owner, ~on_owner)}
rows = []
labels = {
    "architecture": ("the source’s architecture", "another architecture"),
    "data": ("the owner’s data", "the attacker’s data"),
}
for key, (first, second) in pairs.items():
    if first.any() and second.any():
        groups = irrelevant.loc[first, "fidelity"].to_numpy(), irrelevant.loc[second, "fidelity"].to_numpy()
        row = {"group": labels[key][0], "models": len(groups[0]), "against": labels[key][1], "models ": len(groups[1])}
        rows.append(row | {"difference of fidelity (points)": str(evaluation.mean_difference(*groups))})
closest = irrelevant.loc[irrelevant["fidelity"].idxmax()]
glue("closest", closest["name"], display=False)
glue("closest_fidelity", str(evaluation.proportion_interval(closest["fidelity"], n_test)), display=False)
plots.table(pd.DataFrame(rows))

# %% [markdown]
# A positive difference means that sharing this property with the source makes a model look more like it, without any theft (Welch's 95 % interval over models, none where a group has a single
# model). The innocent model nearest to the source is {glue:text}`closest` with a fidelity of {glue:text}`closest_fidelity`. This is the model a judge should worry about.

# %% [markdown]
# ### Agreement between all of them
#
# Fidelity compares with the source only. Here is the {term}`agreement <fidelity>` of every pair, for one model per group and architecture, in per cent of test images:

# %% tags=["hide-input"]
members = {"source": run.zoo.source}
for step in ("irrelevant_owner", "irrelevant", "extract_label", "extract_probability"):
    for architecture, name in inspection.first_of_each(run, step).items():
        members[f"{lineage.LABELS[step].removeprefix('Irrelevant ')} {architecture}"] = name
members |= {lineage.LABELS[step]: run.names(step)[-1] for step in ("finetune_all", "prune")}
shares = inspection.agreement(inspection.predictions(run, list(members.values())))

# %% mystnb={"figure": {"name": "fig-irrelevant-agreement", "caption": "Share of test images (in per cent) on which two models give the same label. First the source, then innocent models by their training data, then stolen ones. Of Pruning the heaviest rung is shown."}, "image": {"alt": "Square heat map of the agreement in per cent between the source, irrelevant models on owner data and attacker data, extraction students, a fine-tuned and a pruned model."}}
plots.agreement_matrix(shares, list(members))

# %% [markdown]
# Look for three things: the first row (likeness to the source); the block of the students (do they resemble *each other*, having had the same teacher?); and the block of the innocent (do they agree with
# each other as much as with the source? Then what they share with it is the task).
#
# ### Where the source is right, and where it is wrong
#
# Split fidelity by whether the source's answer is true. On the images that the source has right, nearly everybody who has learnt the task agrees with it. Above all on its mistakes does agreement need an explanation.

# %% mystnb={"figure": {"name": "fig-irrelevant-mistakes", "caption": "Agreement with the source on the test images that it classifies rightly (horizontal) and wrongly (vertical). A dot is a model: filled if stolen, open if innocent."}, "image": {"alt": "Scatter plot of agreement on the source's mistakes against agreement where the source is right, for irrelevant models on both data parts and for fine-tuned, pruned and extracted models."}}
same_classes = [step for step in lineage.ATTACKS if step not in lineage.NEGATIVES]
names = run.names(*same_classes, *lineage.IRRELEVANT)
split = inspection.agreement_by_source(run, names)
plots.agreement_right_wrong(split)

# %% tags=["hide-input"]
innocent = split["step"].isin(["irrelevant", "irrelevant_owner"])
students = split["step"].isin(["extract_label", "extract_probability"])
for kind, chosen in {"innocent": innocent, "students": students}.items():
    for where in ("right", "wrong"):
        glue(f"{kind}_{where}", inspection.spread(split.loc[chosen, where]), display=False)
mistakes = round((1 - record["test_accuracy"]) * n_test)
glue("n_mistakes", str(mistakes), display=False)
guess = 1 / len(run.material.class_names)
glue("guess", f"{guess:.1%}", display=False)
glue("base_rate", "more often" if split.loc[innocent, "wrong"].mean() > guess else "no more often", display=False)

# %% [markdown]
# | | where the source is right | where it is wrong ({glue:text}`n_mistakes` images) |
# |---|---|---|
# | innocent models | {glue:text}`innocent_right` | {glue:text}`innocent_wrong` |
# | Extract-L and Extract-P | {glue:text}`students_right` | {glue:text}`students_wrong` |
#
# (Mean over models, lowest and highest in brackets.) Guessing would repeat a given answer in {glue:text}`guess` of all cases; innocent models repeat the source's mistakes **{glue:text}`base_rate`**. A picture can
# be hard for all, and often has only one tempting wrong answer. Any test on mistakes has to beat this base rate and not zero. {cite:t}`godinot2025qurd` report that agreement on mistakes alone (AKH) performs
# on par with far more complex schemes.

# %% [markdown]
# ### The same detector, other negatives
#
# Take the simplest detector, fidelity itself, and compute its {term}`AUC` for the same stolen models against different choices of the innocent. The number of negatives is in the head of each column, the
# 95 % interval in brackets.

# %% tags=["hide-input"]
by_choice = inspection.by_negatives(run, same_classes)
choices = by_choice.drop(columns=["attack", "stolen models"])
values = choices.map(lambda text: float(text.split()[0]), na_action="ignore")
widest = (values.max(axis=1) - values.min(axis=1)).idxmax()
glue("widest_attack", by_choice.loc[widest, "attack"], display=False)
glue("widest_low", f"{values.loc[widest].min():.2f}", display=False)
glue("widest_high", f"{values.loc[widest].max():.2f}", display=False)
glue("n_own", str(int(own.sum())), display=False)
low_rows = by_choice.loc[values.min(axis=1) < 0.5, "attack"].tolist()
glue("below_half", ", ".join(low_rows) if low_rows else "none", display=False)
glue("n_owner", str(int(on_owner.sum())), display=False)
glue("n_irrelevant", str(len(irrelevant)), display=False)
plots.table(by_choice.fillna("–"))

# %% [markdown]
# Every row is one and the same set of stolen models with one and the same score. Whatever differs along a row is owed to the negatives alone. In this build the choice matters most for
# {glue:text}`widest_attack`, whose AUC lies between {glue:text}`widest_low` and {glue:text}`widest_high`. An AUC without a description of its negatives is therefore half a result; and with few
# negatives the interval is wide even at 1.00.
#
# Attacks with an AUC below one half for some choice: {glue:text}`below_half`. There the stolen models agree with the source *less* than the honest ones do. That is no error of sign: fidelity rewards
# whoever has learnt the task well, and a student of another architecture may be the poorer pupil.
#
# As to the claim: of the {glue:text}`n_irrelevant` negatives with the source's classes, {glue:text}`n_own` have the source's architecture and {glue:text}`n_owner` its training data. The hard cases are there; that they
# are few shows in the intervals.

# %% [markdown]
# ## What it means
#
# "Independent" is not one thing. A model can share the source's task, its data, its architecture, its recipe, even the seed, without having been stolen, and each of these may move it closer. A fair
# evaluation has all of these among its negatives and reports them separately; {doc}`11_results` does so. What remains different from every negative is history: only a stolen model has *seen* the source.
#
# The thresholds follow the same logic. Set on negatives that are too easy, a threshold looks safe and accuses the first honest competitor with the same architecture.

# %% [markdown]
# ## On your own
#
# **1. Design an unfair test.** Which negatives would you choose to make a fingerprint look better than it is? And worse?
#
# :::{dropdown} Solution
# Better: other architectures, other data, other augmentation, poor accuracy; best of all, another task. Worse: the source's architecture, data and recipe, differing in the seed only. The second choice is the
# stricter one and still fair: such models can exist, for instance at a company from which both parties licensed the same data.
# :::
#
# **2. An architecture detector.** A "fingerprint" returns distance 0 if the suspect has the source's architecture and 1 otherwise. Compute its AUC for Finetune-A and for Extract-L on this zoo.
#
# :::{dropdown} Solution
# ```python
# def detector(*steps):
#     return (inspection.suspects(run, *steps)["architecture"] != record["architecture"]).to_numpy(float)
#
# for attack in ("finetune_all", "extract_label"):
#     print(attack, evaluation.auc(detector(attack), detector("irrelevant", "irrelevant_owner"), 2000, 0))
# ```
# For Finetune-A it is high, less than 1 only because the source's architecture is among the negatives. For Extract-L it is at most one half, if no student has the source's architecture: such a
# detector would acquit thieves.
# :::
#
# **3. The same seed.** Train an irrelevant model with the very weights that the source began with, on the attacker's data. Is it nearer to the source?
#
# :::{dropdown} Hint
# `attacks.train_independent` takes a seed, and the record of the source states its own: `record["seed"]`. Compare the fidelity with that of the other models of this architecture. Decide beforehand whether
# you would call the result stolen.
# :::
#
# **4. How many negatives?** With $n$ negatives, all of them correctly acquitted, how large may the true false positive rate still be?
#
# :::{dropdown} Solution
# Solve $(1 - p)^n = 0.05$: $p = 1 - 0.05^{1/n} \approx 3/n$, the "rule of three". With 20 negatives up to 14 per cent of honest developers could be accused without our having seen one such case.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`advtra2024` on negatives that share architecture and data; {cite:t}`deepreg` on false positive rates at a preset threshold.
# - {cite:t}`falseclaims2024` and {cite:t}`fitprint2025` on accusers who cheat; {cite:t}`di_falsepositives2022` on proven false positives of another method.
# - Next: the fingerprint itself, by hand ({doc}`09_sample_correlation`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
