# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Independent models, and students of others
#
# ## The answer in short
#
# A {term}`student of another` was made as a stolen model is made, from a teacher that is not the source. Its {term}`fidelity` to the source is {glue:text}`fidelity_another` on average. Extract-L
# students of the source itself reach {glue:text}`fidelity_own`, so they are **{glue:text}`own_closer`** to it than students of another. Their mean fidelity is the higher one in {glue:text}`n_nearer` sources
# of the reference run {glue:text}`reference`. Independent models repeat the source's mistakes on
# {glue:text}`innocent_wrong` of the test images that it has wrong; guessing would repeat {glue:text}`guess` of them. With plain fidelity as the detector, the {term}`AUC` on
# {glue:text}`widest_attack` lies between {glue:text}`widest_low` and {glue:text}`widest_high`, depending on the independent models that it is compared with.
#
# ```{admonition} What you will do
# :class: tip
# Train innocent models from every side: on the attacker's data, on the owner's own, with the owner's own recipe, and as students of somebody else. Then look at how much they resemble the source
# all the same.
#
# **You learn** why the choice of negatives decides a result as much as the choice of the method, and how to find out whether a detector detects theft or something else.
#
# **You need** the chapters before this one; {glue:text}`needs`.
# ```
#
# ## The claim under test
#
# A fingerprint must not accuse an honest developer. Three findings say that this is the hard part:
#
# - In the released CIFAR-10 zoo the 20 independent models are five each of VGG13, ResNet18, DenseNet121 and MobileNetV2. *None* has the source's architecture, and every fine-tuned and pruned model
#   has (read in the code). A detector of architectures would score 1.00 on those rows.
# - Negatives that share the victim's architecture *and* its training data are the hardest for every method examined by {cite:t}`advtra2024` (read).
# - At a preset threshold, {cite:t}`deepreg` find false positive rates of SAC between 13 % and 63 % on their models (read in their Table I).
#
# One group is in none of these zoos: models that somebody extracted from *another* model. A detector that knows extraction by its style would accuse them all. So the claim here is about
# our own zoo: **its negatives come from every side and are hard enough for the AUC to mean something.**
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
batch = 64  # 2 to 500: images on which the loss is computed by hand

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from sacutils import attacks, data, evaluation, figures
from sacutils.run import open_run, provenance_line
from sacutils.steps import INDEPENDENT, LABELS, NEGATIVES, SAME_CLASSES
from sacutils.studies import references, suspects

run = open_run(profile, overrides)
others = ("independent_transfer", "independent_corrupted", "overlap")
run.announce("source", *INDEPENDENT, *others, *SAME_CLASSES)
figures.use_style()

record, source = run.zoo.record(run.zoo.source), run.zoo.get(run.zoo.source)
independent = suspects.suspects(run, *INDEPENDENT)
test = run.material.splits["test"]
truth, n_test = test.labels.cpu(), len(test.labels)
of_another = NEGATIVES["students of another"]

# %% tags=["remove-cell"]
figures.say(needs=suspects.needs(run, *INDEPENDENT, *others), n_test=f"{n_test:,}")
figures.say(source_accuracy=str(evaluation.proportion_interval(record["test_accuracy"], n_test)))
figures.say(n_siblings=len(run.names("sibling")), n_another=len(run.names(*of_another)))

# %% [markdown]
# ## Innocents from every side
#
# :::{table} The groups of innocent models
# | group | trained on | learns from | negatives for |
# |---|---|---|---|
# | Independent (attacker data) | the attacker's images | true labels | fine-tuning, pruning, extraction |
# | Independent (owner data) | the owner's images, as the source itself | true labels | the same |
# | {term}`Sibling <sibling>` | the owner's images, with the owner's own recipe and another seed | true labels | the same |
# | Student of a sibling | the attacker's images | the answers of a sibling | the same |
# | Student of a stranger | the attacker's images | the answers of an independent model on attacker data | the same |
# | Independent (new labels), (corrupted) | the new task and the corrupted images of {doc}`06_transfer` | true labels | Transfer-A and Transfer-L; Transfer-10C |
# | Independent (…, plain), (overlap) | the same images without shifts; a share of the owner's, the rest the attacker's | true labels | the first; none. Full runs only |
# :::
#
# None of them ever queries the source. The {glue:text}`n_siblings` siblings are the hardest case of all: all that they do not share with the source is chance. The {glue:text}`n_another` students
# of another were made by the thief's recipe, so that *only* their teacher tells them from stolen models. One is made here from a teacher, with the loss of {eq}`eq-extract-label`, by hand on one batch:

# %%
name = run.names("student_of_sibling")[0]
spec, task = run.zoo.specs[name], run.zoo.task(name)
teacher, student = run.zoo.get(spec.parent), task.build(spec.architecture).eval()
x = data.to_float(task.images.pixels[:batch])
with torch.no_grad():
    y = teacher(x).argmax(1)  # the sibling's labels, not the source's
    loss = -student(x).log_softmax(1)[torch.arange(len(y)), y].mean()
    library, _ = attacks.label_objective(attacks.black_box(teacher))(student, x, None)
    differ = (y != source(x).argmax(1)).double().mean().item()
torch.testing.assert_close(loss, library)
print(f"{loss:.4f}, as in the library; the source has other labels for {differ:.0%} of the batch")

# %% [markdown]
# This line loads the student of another, or trains it now if it is not on disk:

# %%
student = run.zoo.get(name)
print(name)

# %% [markdown]
# Here are the recipes, so that you can check whether an innocent model might be recognised by another style of training. Owner data and overlap have the recipe of *attacker data*, students of another
# that of Extract-L:

# %% tags=["hide-cell"]
kinds = ("source", "sibling", "independent", "student_of_sibling", "extract_label")
rows = suspects.recipe_table(run, *kinds)
figures.table(
    rows, caption="Recipes of innocent models beside those of the source and of Extract-L"
)

# %% [markdown]
# ## Result
#
# The source has accuracy {glue:text}`source_accuracy` on {glue:text}`n_test` test images. The table has means over models, lowest and highest in brackets. Innocent models come first, then stolen
# models that were made without the weights. *Queries* are each model's own training images, shifted and flipped as it saw them; the source was trained on those of the owner-data groups too.

# %% tags=["hide-input"]
own = ["extract_label", "extract_probability"]
everyone = pd.concat([independent, suspects.suspects(run, *own)])
rows = suspects.group_table(everyone, by=("group",))
figures.table(rows, caption="Innocent models, then students of the source: accuracy and fidelity")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-independent-groups", "caption": "Fidelity to the source by group, on test images. A dot is a model, the bar its 95 % Wilson interval over test images; the number of models stands in brackets. Innocents that lie as far right as a stolen group cannot be told from it in this way."}, "image": {"alt": "Fine-tuned copies have the highest fidelity. Extract-L students reach {glue:text}`fidelity_own` on average and students of another {glue:text}`fidelity_another`."}}
shown = suspects.suspects(run, *INDEPENDENT, *(step for step in SAME_CLASSES if run.names(step)))
shown = suspects.with_intervals(shown, "fidelity")
axes = {"label": "fidelity", "limits": (shown["low"].min(), 1)}
axes["sections"] = {"Innocent": INDEPENDENT, "Stolen": SAME_CLASSES}
figures.strips(shown, "fidelity", "step", role="step", **axes)

# %% tags=["hide-input"]
by_step = dict(list(everyone.groupby("step")))
another = everyone[everyone["step"].isin(of_another)]
honest = independent[independent["step"].isin(["independent", "independent_owner"])]
same, on_owner = honest["architecture"] == record["architecture"], honest["step"] != "independent"
contrasts = {
    "the source's architecture": (honest[same], honest[~same]),
    "the owner's data": (honest[on_owner], honest[~on_owner]),
    "all but the seed (siblings)": (by_step["sibling"], honest),
    "extraction, of another": (another, by_step["independent"]),
    "extraction, of this source (Extract-L)": (by_step["extract_label"], another),
}
rows = []
for label, (sharing, rest) in contrasts.items():
    if len(sharing) and len(rest):
        gap = suspects.gap(sharing, rest, "fidelity")
        row = {"sharing": label, "models": f"{len(sharing)} / {len(rest)}"}
        rows.append(row | {"difference of fidelity (points)": str(gap)})
caption = "What raises fidelity: models that share something with the source"
figures.table(pd.DataFrame(rows), caption=caption)

# %% tags=["remove-cell"]
figures.say(own_closer=suspects.word(gap, "less close", "not clearly closer", "closer"))
figures.say(fidelity_another=suspects.spread(another["fidelity"]), own_gap=str(gap))
figures.say(fidelity_own=f"{by_step['extract_label']['fidelity'].mean():.1%}")
reference, kept = references.for_run(run)
kinds = kept["zoo"]["step"].replace(list(of_another), "another")
of_source = kept["zoo"].assign(kind=kinds).pivot_table("fidelity", "seed", "kind")
nearer = (of_source["extract_label"] - of_source.get("another", np.nan)).dropna() > 0
figures.say(reference=reference.split(",")[0], n_nearer=f"{nearer.sum()} of {len(nearer)}")

# %% [markdown]
# A positive difference means that sharing this property with the source makes a model look more like it. *Models* has the numbers of those that share it and of those that do not; intervals are
# Welch's, 95 %, over models, of which those of one architecture count as alike. Only the last line is about theft: own students minus students of another, {glue:text}`own_gap` points.
#
# ### Whose student?
#
# If copying leaves a mark of *this* teacher, a student agrees with its own teacher more than with another model. The table compares every label student with its own teacher and with another
# model. This is the first sibling for students of the source, and the source for students of another.

# %% tags=["hide-input"]
rows = []
for step in ("extract_label", *of_another):
    for name in run.names(step):
        own_teacher = run.zoo.specs[name].parent
        rest = run.names("sibling")[0] if own_teacher == run.zoo.source else run.zoo.source
        pupil, mine, other = suspects.predictions(run, [name, own_teacher, rest])
        row = {"group": LABELS[step], "own teacher": (pupil == mine).double().mean().item()}
        rows.append(row | {"another": (pupil == other).double().mean().item()})
loyal = pd.DataFrame(rows)
loyal["nearer to its own"] = loyal["own teacher"] > loyal["another"]
shares = suspects.group_table(loyal, "own teacher", "another", by=("group",))
shares["nearer to its own"] = loyal.groupby("group", sort=False)["nearer to its own"].sum().values
figures.table(shares, caption="Do students agree with their own teacher more than with another?")

# %% [markdown]
# ### Where the source is right, and where it is wrong
#
# On the images that the source has right, nearly every model that has learnt the task agrees with it. Agreement on the source's mistakes is what needs an explanation.

# %%
names = run.names(*INDEPENDENT, "finetune_all", "finetune_last", "prune", *own)
theirs, *answers = suspects.predictions(run, [run.zoo.source, *names])
right = theirs == truth
rows = []
for other, answer in zip(names, answers, strict=True):
    agree = (answer == theirs).double()
    shares = {"right": agree[right].mean().item(), "wrong": agree[~right].mean().item()}
    rows.append({"step": run.zoo.specs[other].step} | shares)
split = pd.DataFrame(rows)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Each model's agreement as a dot", "code_prompt_hide": "Each model's agreement as a dot", "figure": {"name": "fig-independent-mistakes", "caption": "Agreement with the source on the test images that it classifies rightly (horizontal) and wrongly (vertical). A dot is a model."}, "image": {"alt": "Innocent models repeat {glue:text}`innocent_wrong` of the source's mistakes, Extract-L and Extract-P students {glue:text}`students_wrong`, and fine-tuned copies lie highest."}}
axes = {"x_label": "agreement where the source is right", "y_label": "agreement where it is wrong"}
figures.scatter(split, "right", "wrong", role="step", **axes)

# %% tags=["remove-cell"]
honest_rows, students = (split["step"].isin(kinds) for kinds in (INDEPENDENT, own))
pupils = split["step"].isin(of_another)
shown = {"innocent": honest_rows & ~pupils, "another": pupils, "students": students}
for kind, chosen in shown.items():
    for where in ("right", "wrong"):
        figures.say(**{f"{kind}_{where}": suspects.spread(split.loc[chosen, where])})
guess = 1 / len(run.material.class_names)
more = split.loc[honest_rows, "wrong"].mean() > guess
figures.say(n_mistakes=int((~right).sum()), guess=f"{guess:.1%}")
figures.say(base_rate="more often" if more else "no more often")

# %% [markdown]
# :::{table} Agreement with the source where it is right and where it is wrong: mean over models, lowest and highest in brackets
# | models | where the source is right | where it is wrong ({glue:text}`n_mistakes` images) |
# |---|---|---|
# | independent models, siblings | {glue:text}`innocent_right` | {glue:text}`innocent_wrong` |
# | students of another | {glue:text}`another_right` | {glue:text}`another_wrong` |
# | Extract-L and Extract-P | {glue:text}`students_right` | {glue:text}`students_wrong` |
# :::
#
# Guessing would repeat a given answer in {glue:text}`guess` of all cases; independent models repeat the source's mistakes **{glue:text}`base_rate`**. A picture can be hard for all, and often it has only
# one tempting wrong answer. Any test on mistakes has to beat this base rate. {cite:t}`godinot2025qurd` report that agreement on mistakes alone (AKH) performs on par with far more complex schemes.
#
# ### The same detector, other negatives
#
# Take the simplest detector, fidelity itself, and compute its {term}`AUC` for the same stolen models against different independent models. The head of each column has their number, and brackets hold
# 95 % intervals.

# %% tags=["hide-input"]
rows, values = [], []
for step in (step for step in SAME_CLASSES if run.names(step)):
    stolen = suspects.suspects(run, step)["fidelity"].to_numpy()
    row = {"attack": f"{LABELS[step]} ({len(stolen)})"}
    for choice, steps_of in NEGATIVES.items():
        negatives = independent.loc[independent["step"].isin(steps_of), "fidelity"].to_numpy()
        auc = evaluation.auc(1 - stolen, 1 - negatives)
        row[f"{choice} ({len(negatives)})"] = str(auc)
        values.append({"attack": LABELS[step], "choice": choice, "auc": auc.value})
    rows.append(row)
figures.table(pd.DataFrame(rows), caption="AUC of fidelity alone, by the choice of negatives")

# %% tags=["remove-cell"]
table = pd.DataFrame(values).pivot(index="attack", columns="choice", values="auc")
ends = table.agg(["min", "max"], axis=1)
widest, n_below = (ends["max"] - ends["min"]).idxmax(), (ends["min"] < 0.5).sum()
low, high = ends.loc[widest]
figures.say(widest_attack=widest, widest_low=f"{low:.2f}", widest_high=f"{high:.2f}")
figures.say(n_attacks=len(table), hardest=table.mean().idxmin(), n_independent=len(independent))
n_own = (independent["architecture"] == record["architecture"]).sum()
figures.say(n_below=int(n_below), n_own=int(n_own))

# %% [markdown]
# A row has the same stolen models with the same score throughout, so its cells differ by the negatives alone. In this build the choice matters most for {glue:text}`widest_attack`, and the
# hardest negatives on average are those of *{glue:text}`hardest`*. For {glue:text}`n_below` of {glue:text}`n_attacks` attacks the AUC is below one half for some choice. There the stolen models agree
# with the source *less* than the innocent ones do, because fidelity is high for whoever has learnt the task well.
#
# As to the claim: of the {glue:text}`n_independent` negatives with the source's classes and clean images, {glue:text}`n_own` have the source's architecture, {glue:text}`n_siblings` its recipe and data too, and
# {glue:text}`n_another` were made by extraction. Models of one group are alike, so these intervals, which count each of them, are too narrow; those of {doc}`10_results` allow for it.

# %% tags=["hide-input"]
if run.profile.full:
    rows = suspects.suspects(run, "independent", "overlap", "independent_owner")
    owned = rows["step"].map({"independent": 0.0, "independent_owner": 1.0})
    rows = rows.assign(owned=owned.fillna(rows["fraction"])).sort_values("owned", kind="stable")
    rows["share of the owner's images"] = rows["owned"].map("{:.0%}".format)
    by = ("share of the owner's images",)
    overlap = suspects.group_table(rows, "accuracy", "fidelity", by=by)
    overlap = figures.table(overlap, caption="Models on a share of the owner's images")
else:
    words = "Models on a share of the owner's images are trained in full runs only (`make book FULL=1`)."
    overlap = Markdown(words)
overlap

# %% [markdown]
# ## What it means
#
# An independent model can share much with the source: the task, the data, the architecture, the recipe, or the way in which stolen models are made. Each of these may move it closer. A fair
# evaluation has all of these among its negatives and reports them separately; {doc}`10_results` does so. A detector that separates own students from models trained on true labels, and not from students of
# another, has found *extraction* and not *this source*.
#
# The same holds for thresholds. A threshold that was set on easy negatives accuses honest competitors with the source's architecture.

# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. An architecture detector.** A "fingerprint" returns distance 0 if the suspect has the source's architecture and 1 otherwise. All 20 stolen models have it, and 5 of 20 independent ones. Compute its AUC, `auc_detector`.
# %% tags=["solution"]
auc_detector = 15 / 20 + 5 / 20 / 2  # ties count one half
# %% tags=["test"]
assert abs(auc_detector - 0.875) < 1e-9


# %% [markdown] tags=["exercise"]
# **2. How many negatives?** All of $n$ independent models are acquitted. Write `largest_rate(n)`: the largest false positive rate $p$ with $(1 - p)^n \ge 0.05$.
# %% tags=["solution"]
def largest_rate(n):
    return 1 - 0.05 ** (1 / n)  # about 3 / n, the "rule of three"


# %% tags=["test"]
assert abs(largest_rate(20) - 0.139) < 1e-3 and largest_rate(299) < 0.01 < largest_rate(298)

# %% [markdown] tags=["exercise"]
# **3. The innocent majority.** A test finds 86 % of the thieves and accuses 50 % of the innocents. One suspect in twenty is a thief. Which share of the accused is innocent? Call it `innocent_accused`.
# %% tags=["solution"]
innocent_accused = 0.95 * 0.50 / (0.95 * 0.50 + 0.05 * 0.86)
# %% tags=["test"]
assert abs(innocent_accused - 0.917) < 1e-3

# %% [markdown] tags=["exercise"]
# **4. Design an unfair test.** Which negatives would you choose to make a fingerprint look better than it is? And worse?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# Better: other architectures, other data, other augmentation, poor accuracy; best of all, another task. Worse: siblings, and students of siblings. The second choice is stricter and still fair, because such models can exist: two parties may have licensed the same data.
# :::

# %% [markdown] tags=["exercise"]
# **5. The same seed.** Train an independent model with the very weights that the source began with, on the attacker's data. Is it nearer to the source?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# `attacks.train_independent` takes a seed, and the record of the source states its own: `record["seed"]`. Compare the fidelity with that of the other models of this architecture. Decide beforehand whether you would call the result stolen.
# :::

# %% [markdown]
# **Further reading.** {cite:t}`advtra2024` on negatives that share architecture and data; {cite:t}`deepreg` on false positive rates at a preset threshold; {cite:t}`falseclaims2024` and {cite:t}`fitprint2025` on accusers who cheat.

# %% tags=["hide-input"]
Markdown(provenance_line(run))
