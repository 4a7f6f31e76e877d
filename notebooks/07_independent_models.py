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
# A {term}`student of another` was made as a stolen model is made, from a teacher that is not the source. Its {term}`fidelity` to the source is {glue:text}`fidelity_another` on average; of all other groups
# *{glue:text}`like_another`* comes nearest to that ({glue:text}`fidelity_like`). Extract-L students of the source itself reach {glue:text}`fidelity_own`: they are **{glue:text}`own_closer`** to it than students
# of another. Independent models agree with the source on {glue:text}`innocent_right` of the test images that it has right and on {glue:text}`innocent_wrong` of those that it has wrong; guessing would
# repeat a mistake in {glue:text}`guess` of all cases. With plain fidelity as the detector, the {term}`AUC` on {glue:text}`widest_attack` lies between {glue:text}`widest_low` and {glue:text}`widest_high`,
# depending on the group of innocents that it is compared with.
#
# ```{admonition} What you will do
# :class: tip
# Train innocent models from every side: on the attacker's data, on the owner's own, with the owner's own recipe, and as students of somebody else. Then look at how much they resemble the source
# all the same. **You learn** why the choice of negatives decides a result as much as the choice of the method, and how to find out whether a detector detects theft or something else.
# **You need** the chapters before this one; {glue:text}`needs`.
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
# And one group is in none of these zoos: models that somebody extracted from *another* model. A detector that knows extraction by its style would accuse them all. So the claim here is about
# our own zoo: **its negatives come from every side and are hard enough for the AUC to mean something.**

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

from sacutils import attacks, data, evaluation, figures
from sacutils.run import open_run, provenance_line
from sacutils.steps import INDEPENDENT, LABELS, NEGATIVES, SAME_CLASSES
from sacutils.studies import suspects

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
# | group | trained on | learns from | negatives for |
# |---|---|---|---|
# | Independent (attacker data) | the attacker's images | true labels | fine-tuning, pruning, extraction |
# | Independent (owner data) | the owner's images, as the source itself | true labels | the same |
# | {term}`Sibling <sibling>` | the owner's images, with the owner's own recipe and another seed | true labels | the same |
# | Student of a sibling | the attacker's images | the answers of a sibling | the same |
# | Student of a stranger | the attacker's images | the answers of an independent model on attacker data | the same |
# | Independent (new labels), (corrupted) | the new task and the corrupted images of {doc}`06_transfer` | true labels | Transfer-A and Transfer-L; Transfer-10C |
# | Independent (…, plain), (overlap) | the same images without shifts; a share of the owner's, the rest the attacker's | true labels | the first; none. Full runs only |
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
print(
    f"{loss:.4f} as in the library; the source would answer {differ:.0%} of the batch differently"
)

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
figures.table(
    suspects.recipe_table(run, *kinds),
    caption="Recipes of innocent models beside those of the source and of Extract-L",
)

# %% [markdown]
# ## Result
#
# The source has accuracy {glue:text}`source_accuracy` on {glue:text}`n_test` test images. Mean over models, lowest and highest in brackets, first of innocents and then of stolen models that were
# made without the weights. *Queries* are each model's own training images, shifted and flipped as it saw them; the source was trained on those of the owner-data groups too.

# %%
own = ["extract_label", "extract_probability"]
everyone = pd.concat([independent, suspects.suspects(run, *own)])
figures.table(
    suspects.group_table(everyone, by=("group",)),
    caption="Innocent models, then students of the source: accuracy and fidelity",
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-independent-groups", "caption": "Fidelity to the source by group, on test images. A dot is a model, the bar its 95 % Wilson interval over test images; the number of models stands in brackets."}, "image": {"alt": "Fidelity of innocent and of stolen models, a line per group: copies of the weights lie highest, and the groups of innocents and of students overlap as far as the table says."}}
shown = suspects.suspects(run, *INDEPENDENT, *(step for step in SAME_CLASSES if run.names(step)))
bounds = [evaluation.proportion_interval(row.fidelity, row.n) for row in shown.itertuples()]
shown["low"], shown["high"] = zip(*[(share.low, share.high) for share in bounds], strict=True)
axes = {"label": "fidelity", "limits": (shown["low"].min(), 1)}
axes["sections"] = {"Innocent": INDEPENDENT, "Stolen": SAME_CLASSES}
figures.strips(shown, "fidelity", "step", role="step", **axes)

# %%
by_step = {step: part["fidelity"].to_numpy() for step, part in everyone.groupby("step")}
another = everyone[everyone["step"].isin(of_another)]["fidelity"].to_numpy()
honest = independent[independent["step"].isin(["independent", "independent_owner"])]
same, on_owner = honest["architecture"] == record["architecture"], honest["step"] != "independent"
fidelity = honest["fidelity"].to_numpy()
contrasts = {
    "the source's architecture": (fidelity[same], fidelity[~same]),
    "the owner's data": (fidelity[on_owner], fidelity[~on_owner]),
    "all but the seed (siblings)": (by_step["sibling"], fidelity),
    "extraction, of another": (another, by_step["independent"]),
    "extraction, of this source (Extract-L)": (by_step["extract_label"], another),
}
rows = []
for label, (sharing, rest) in contrasts.items():
    if len(sharing) and len(rest):
        gap = evaluation.mean_difference(sharing, rest)
        row = {"sharing": label, "models": f"{len(sharing)} / {len(rest)}"}
        rows.append(row | {"difference of fidelity (points)": str(gap)})
figures.table(
    pd.DataFrame(rows), caption="What raises fidelity: models that share something with the source"
)

# %% tags=["remove-cell"]
means = everyone[~everyone["step"].isin(of_another)].groupby("group", sort=False)["fidelity"].mean()
like = (means - another.mean()).abs().idxmin()
words = ["less close", "not clearly closer", "closer"]
figures.say(own_closer=words[1 + (gap.low > 0) - (gap.high < 0)], own_gap=str(gap))
figures.say(fidelity_another=suspects.spread(pd.Series(another)), like_another=like)
figures.say(fidelity_like=f"{means[like]:.1%}")
figures.say(fidelity_own=f"{by_step['extract_label'].mean():.1%}")
closest = independent.loc[independent["fidelity"].idxmax()]
nearest = evaluation.proportion_interval(closest["fidelity"], n_test)
figures.say(closest=closest["name"], closest_fidelity=str(nearest))

# %% [markdown]
# A positive difference means that sharing this property with the source makes a model look more like it (Welch's 95 % interval over models, none where a group has a single model; the models before and
# behind the stroke are compared). Only the last line is about theft: own students minus students of another, {glue:text}`own_gap` points. The innocent model nearest to the source is
# {glue:text}`closest` with a fidelity of {glue:text}`closest_fidelity`. A judge should look at this model first.
#
# ### Whose student?
#
# If copying leaves a mark of *this* teacher, a student agrees with its own teacher more than with another model. Here is every label student with its own teacher and with another: the first
# sibling for students of the source, the source for students of another.

# %%
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
figures.table(shares, caption="Students agree with their own teacher more than with another")

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

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-independent-mistakes", "caption": "Agreement with the source on the test images that it classifies rightly (horizontal) and wrongly (vertical). A dot is a model."}, "image": {"alt": "Innocent models repeat many of the source's mistakes; the table below says how far extracted students lie above them, and copies of the weights lie highest."}}
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
# | | where the source is right | where it is wrong ({glue:text}`n_mistakes` images) |
# |---|---|---|
# | independent models, siblings | {glue:text}`innocent_right` | {glue:text}`innocent_wrong` |
# | students of another | {glue:text}`another_right` | {glue:text}`another_wrong` |
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
widest = (table.max(axis=1) - table.min(axis=1)).idxmax()
figures.say(
    widest_low=f"{table.loc[widest].min():.2f}", widest_high=f"{table.loc[widest].max():.2f}"
)
figures.say(widest_attack=widest, n_below=int((table.min(axis=1) < 0.5).sum()))
figures.say(n_attacks=len(table), hardest=table.mean().idxmin(), n_independent=len(independent))
figures.say(n_own=int((independent["architecture"] == record["architecture"]).sum()))

# %% [markdown]
# Every row is the same set of stolen models with the same score. What differs along a row comes from the negatives alone. In this build the choice matters most for {glue:text}`widest_attack`, and the
# hardest negatives on average are those of *{glue:text}`hardest`*. For {glue:text}`n_below` of {glue:text}`n_attacks` attacks the AUC is below one half for some choice: there the stolen models agree
# with the source *less* than the innocent ones do, because fidelity rewards whoever has learnt the task well.
#
# As to the claim: of the {glue:text}`n_independent` negatives with the source's classes, {glue:text}`n_own` have the source's architecture, {glue:text}`n_siblings` its recipe and data too, and
# {glue:text}`n_another` were made by extraction. Siblings differ in chance alone, and the models of one group are alike, so the intervals say less than their width suggests ({doc}`10_results`).

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
    overlap = Markdown(
        "Models on a share of the owner's images belong to full runs (`make book FULL=1`)."
    )
overlap

# %% [markdown]
# ## What it means
#
# A model can share the source's task, its data, its architecture, its recipe, even the way in which stolen models are made, without having been stolen, and each of these may move it closer. A fair
# evaluation has all of these among its negatives and reports them separately; {doc}`10_results` does so. A detector that separates own students from models trained on true labels, and not from students of
# another, has found *extraction*, which is no crime, and not *this source*.
#
# The thresholds follow the same logic. Set on negatives that are too easy, a threshold looks safe and accuses the first honest competitor with the same architecture.

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
# Better: other architectures, other data, other augmentation, poor accuracy; best of all, another task. Worse: siblings, and students of siblings. The second choice is the stricter one and still fair: such models can exist, for instance at a company from which both parties licensed the same data.
# :::

# %% [markdown] tags=["exercise"]
# **5. The same seed.** Train an independent model with the very weights that the source began with, on the attacker's data. Is it nearer to the source?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# `attacks.train_independent` takes a seed, and the record of the source states its own: `record["seed"]`. Compare the fidelity with that of the other models of this architecture. Decide beforehand whether you would call the result stolen.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`advtra2024` on negatives that share architecture and data; {cite:t}`deepreg` on false positive rates at a preset threshold.
# - {cite:t}`falseclaims2024` and {cite:t}`fitprint2025` on accusers who cheat; {cite:t}`di_falsepositives2022` on proven false positives of another method.
# - Next: the fingerprint itself, by hand ({doc}`08_sample_correlation`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
