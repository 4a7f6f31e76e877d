# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Ablations: what the answer depends on
#
# ```{admonition} What you will do
# :class: tip
# Vary one choice at a time and leave everything else as the profile has it: the number of probes, the surrogates, what the service shows, the
# correlation, how the images are made, what the thief spends, and whom the stolen models are compared with.
#
# **You learn** which of these choices move the {term}`AUC` by more than its intervals, which do not, and when an extracted model becomes
# detectable; and why none of it may be used to tune the test.
#
# **You need** {doc}`10_probes` and {doc}`11_results`. Seconds if the table of ablations is on disk; some minutes to make it otherwise, because new probes are put to all
# models.
# ```

# %% [markdown]
# ## The claim under test
#
# A test that is to be used against somebody should not owe its answer to a detail of its set-up. So the claim is put as strongly as it can be put:
#
# > **SAC's answer does not hinge on any one of these choices:** along each {term}`ablation`, all settings give AUCs whose 95 % intervals overlap.
#
# It fails if two settings of one ablation, with everything else equal, have *disjoint* intervals; how badly it fails is the largest difference of two
# such AUCs.
#
# ```{admonition} Nothing on this page may choose a setting
# :class: warning
# Every AUC below is measured on the very models that {doc}`11_results` evaluates. Whoever picks the best setting here and then reports its AUC
# on these models reports too much: probes or augmentations that are chosen by the AUC on the evaluation models inflate it. Read or inferred from the code releases, the order
# of steps in ModelGiF {cite:p}`song2023modelgif` and the screen of fourteen corruptions in SAC-JC {cite:p}`guan2024sacjc` are examples. The profile's
# settings stay as they are, whatever the pictures show. To choose a setting, use models that are not evaluated: those of another seed.
# ```

# %% [markdown]
# ## Parameters
#
# `bar` is the AUC from which an attack counts as found, as in {doc}`11_results`; an AUC that moves by no more than `margin` counts as unchanged.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
bar = 0.95
margin = 0.05

# %%
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue
from scipy.stats import norm

from sacutils import evaluation, inspection, plots, summaries
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()
table = run.ablations
moves = summaries.movements(table)
settings = run.profile.probes

WHOSE = {
    "number of probes": "judge",
    "surrogates": "judge",
    "output form": "service",
    "bandwidth": "judge",
    "patch size": "judge",
    "mixing source": "judge",
    "JPEG quality": "judge",
    "extraction epochs": "thief",
    "attacker images": "thief",
    "negatives": "evaluator",
}


# %% tags=["hide-input"]
def rows_of(ablation):
    """The rows of one ablation; the series, such as "SAC-w, labels", is cut into what was varied besides and the output form."""
    part = table[table["ablation"] == ablation]
    words = part["series"].str.split(", ")
    return part.assign(besides=words.str[:-1].str.join(", "), form=words.str[-1])


def listed(names):
    names = list(names)
    return ", ".join(names) if names else "none"


def finding(ablation):
    """One sentence about an ablation that holds whatever its numbers are."""
    part = moves[moves["ablation"] == ablation]
    if part["settings"].max() < 2:
        return "This profile has one setting only, so nothing moves."
    top = part.loc[part["range"].idxmax()]
    if top["range"] == 0:
        return "No AUC moves at all."
    ends = f"from {top['lowest']:.2f} at “{top['low_at']}” to {top['highest']:.2f} at “{top['high_at']}”"
    text = f"The widest range is {top['range']:.2f}, on {top['attack']} ({top['series']}): {ends}."
    judged, apart = part["pairs"].sum(), part["apart"].sum()
    if not judged:
        return f"{text} No two settings have groups large enough for their intervals to be compared."
    return f"{text} Of {judged:,} pairs of settings {apart if apart else 'none'} {'is' if apart == 1 else 'are'} apart."


for ablation in WHOSE:
    glue(f"finding_{ablation.replace(' ', '_')}", finding(ablation), display=False)

usual = table[table["ablation"] == "output form"].drop_duplicates("attack")
sizes = listed(f"{row.attack} {row.n_stolen}" for row in usual.itertuples())
glue("sizes", sizes, display=False)
glue("n_irrelevant", str(usual["n_irrelevant"].iloc[0]), display=False)
glue("n_probes", str(settings.count), display=False)
glue("bar", f"{bar:.2f}", display=False)
glue("margin", f"{margin:.2f}", display=False)
glue("fewest", str(evaluation.FEWEST), display=False)

# %% [markdown]
# ## The answer in short

# %% tags=["hide-input"]
n_pairs, n_apart = int(moves["pairs"].sum()), int(moves["apart"].sum())
top = moves.loc[moves["gap"].idxmax()]
hinges = [ablation for ablation in WHOSE if moves.loc[moves["ablation"] == ablation, "apart"].sum()]
chance = 2 * norm.sf(norm.ppf(0.975) * 2**0.5)
if not n_pairs:
    verdict = "cannot be tested in this build, whose groups are too small"
    reason = "No ablation has two settings with enough models on both sides."
elif not n_apart:
    verdict = "is not refuted in this build"
    reason = f"None of {n_pairs:,} pairs of settings has disjoint intervals."
else:
    verdict = "does not hold in this build"
    reason = (
        f"The largest difference between settings with disjoint intervals is {top['gap']:.2f}, by {top['ablation']} on {top['attack']} "
        f"({top['series']}): {top['gap_text']}."
    )
ranges = moves.groupby("ablation")["range"].max()
glue("verdict", verdict, display=False)
glue("reason", reason, display=False)
glue("hinges", listed(hinges), display=False)
glue("calm", listed(name for name in WHOSE if name in ranges and ranges[name] <= margin), display=False)
glue("n_pairs", f"{n_pairs:,}", display=False)
glue("n_apart", f"{n_apart:,}", display=False)
glue("share_apart", f"{n_apart / max(n_pairs, 1):.1%}", display=False)
glue("chance", f"{chance:.1%}", display=False)
glue("against_chance", "more" if n_apart > chance * n_pairs else "no more", display=False)

# %% [markdown]
# The claim **{glue:text}`verdict`**. {glue:text}`reason` Choices with settings that are apart: {glue:text}`hinges`. Choices that move no AUC by more
# than {glue:text}`margin`: {glue:text}`calm`. The summary at the end has every choice in one table.
#
# **How to read the pictures.** Each panel is an attack, each line one way of asking; only the setting moves along a line. Bars are 95 % intervals
# over models ({doc}`11_results`). Unless a caption says otherwise: {glue:text}`n_probes` probes, the cosine, and {glue:text}`n_irrelevant` irrelevant models on
# {term}`attacker data`; stolen models: {glue:text}`sizes`. Fine-tuning and transfer are left out; {doc}`11_results` has them. The grey
# line is guessing; below it the irrelevant models are the nearer ones.
#
# Two settings are **apart** if their intervals are disjoint. That is strict: the same models answer at both settings, so the two AUCs rise and fall
# together, and intervals that overlap do *not* show that two settings are alike. It is also generous, since many pairs are looked at: if two
# settings were alike and their models drawn independently, their intervals would be disjoint in about {glue:text}`chance` of all cases. Groups of
# fewer than {glue:text}`fewest` models are drawn but not judged: a bootstrap over one or two models knows nothing of their spread.

# %% [markdown]
# ## Probes
#
# **How many** is the judge's cost, and the number that a suspect's service sees. The first images of each set are taken, so a longer list
# contains the shorter ones. More probes make each distance $d$ steadier ({doc}`09_sample_correlation`). They cannot bring two groups of
# models apart that lie in the same place. The released files hold 100 and 50 probes.

# %% tags=["hide-input", "remove-output"]
part = rows_of("number of probes")
most = part.assign(count=part["setting"].astype(int)).groupby("besides", sort=False)["count"].max()
glue("most", listed(f"{name} {count}" for name, count in most.items()), display=False)
fig = plots.small_multiples(part.assign(line=part["besides"], row=part["form"]), "number of probes")
glue("ablations_count", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} ablations_count
# :name: fig-ablations-count
# :alt: AUC with intervals against the number of probes, on a logarithmic axis. A column of panels per attack, a row for probabilities and one for labels, a line per probe set.
#
# **Varied:** number of probes, in four probe sets and two output forms. **Fixed:** cosine, models. A line ends where the set has no more
# images; largest numbers shown: {glue:text}`most`. {glue:text}`finding_number_of_probes`
# :::
#
# **With how many surrogates** SAC-w is chosen decides which mistakes get in: those of the source alone (0 surrogates, which is
# SAC-source), or only those that students of the source repeat. Each {term}`surrogate` costs a training.

# %% tags=["hide-input", "remove-output"]
part = rows_of("surrogates")
glue("n_surrogates", str(part["setting"].astype(int).max()), display=False)
fig = plots.small_multiples(part.assign(line=part["form"]), "number of surrogates")
glue("ablations_surrogates", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} ablations_surrogates
# :name: fig-ablations-surrogates
# :alt: AUC with intervals against the number of surrogates, a panel per attack, a line for probabilities and one for labels.
#
# **Varied:** surrogates that must be wrong besides the source, 0 to {glue:text}`n_surrogates`. **Fixed:** {glue:text}`n_probes` probes, the first that
# qualify; cosine, models. {glue:text}`finding_surrogates`
# :::

# %% [markdown]
# ## What the service shows
#
# The judge sees what the suspect's service returns. From logits to labels less and less is left: centred logits lack the constant that
# cross-entropy does not fix; probabilities are what an interface may return; rounding and top-$k$ are what it may return instead, and the label is the
# least. The released code works on raw logits. A service that fears the test can choose to show less, and nobody can make it show more.

# %% tags=["hide-input", "remove-output"]
part = rows_of("output form")
fig = plots.small_multiples(part.assign(line=part["series"]), "output form")
glue("ablations_form", fig)
plt.close(fig)

spread = part[part["series"] == "SAC-w"].pivot(index="attack", columns="setting", values="auc")
coarse = ["2 decimals", "1 decimal", "top 3", "top 1 with probability", "labels"]
lost = {form: [a for a, row in spread.iterrows() if row[form] < row["probabilities"] - margin] for form in coarse}
gained = {form: [a for a, row in spread.iterrows() if row[form] > row["probabilities"] + margin] for form in coarse}
glue("lost", "; ".join(f"{form} ({listed(names)})" for form, names in lost.items() if names) or "none", display=False)
glue("gained", "; ".join(f"{form} ({listed(names)})" for form, names in gained.items() if names) or "none", display=False)
centred = (spread["centred logits"] - spread["logits"]).loc[lambda change: change.abs() > margin]
glue("centred", listed(f"{attack} {change:+.2f}" for attack, change in centred.items()), display=False)

# %% [markdown]
# :::{glue:figure} ablations_form
# :name: fig-ablations-form
# :alt: AUC with intervals for eight output forms listed downwards, from logits to labels, a panel per attack, with SAC-w and SAC-m side by side.
#
# **Varied:** what is known of each answer. **Fixed:** {glue:text}`n_probes` probes of SAC-w or SAC-m, cosine, models. {glue:text}`finding_output_form`
# :::
#
# On SAC-w, forms that show less than probabilities and lose more than {glue:text}`margin` against them: {glue:text}`lost`. Forms that *gain* as
# much: {glue:text}`gained`. Centring the logits moves these AUCs by more than {glue:text}`margin`: {glue:text}`centred`.
#
# **Cosine or RBF.** The RBF matrix is $\exp(-\gamma\,\lVert u_i - u_j\rVert^2) = \exp(-4\gamma\,C_{ij})$, a falling function of the cosine entry; the
# released code contains $\gamma = 1$. For $\gamma \to 0$ its differences are $4\gamma$ times those of the cosine and the AUC is the
# same. A large $\gamma$ looks at near neighbours only: probes that are far from each other are all equally far.

# %% tags=["hide-input", "remove-output"]
part = rows_of("bandwidth")
bands = part["setting"].where(part["setting"] == "cosine", "RBF, $\\gamma$ = " + part["setting"].str.removesuffix(".0"))
fig = plots.small_multiples(part.assign(line=part["form"], setting=bands), "correlation")
glue("ablations_bandwidth", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} ablations_bandwidth
# :name: fig-ablations-bandwidth
# :alt: AUC with intervals for the cosine and for RBF matrices of several bandwidths listed downwards, a panel per attack, with probabilities and logits side by side.
#
# **Varied:** cosine, or RBF with bandwidth $\gamma$. **Fixed:** {glue:text}`n_probes` probes of SAC-w, output form of each line, models. Labels are
# left out: with two values in a matrix the choice makes no difference ({doc}`09_sample_correlation`). {glue:text}`finding_bandwidth`
# :::

# %% [markdown]
# ## How the images are made
#
# SAC-m and SAC-JC change plain images, and each change has a strength. Too weak, and the probes are plain images; too strong, and
# nothing of the image is left to disagree about. Where the patch lies may matter as much as its size: objects often fill the
# middle and leave the border empty. The released code has a side ratio of 0.2 and a corner.

# %% tags=["hide-input", "remove-output"]
part = rows_of("patch size")
fig = plots.small_multiples(
    part.assign(line=part["besides"], row=part["form"]), "side of the patch as a share of the image's side"
)
glue("ablations_patch", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} ablations_patch
# :name: fig-ablations-patch
# :alt: AUC with intervals against the size of the CutMix patch. A column of panels per attack, a row for probabilities and one for labels, a line each for a patch in the corner, in the centre and at random.
#
# **Varied:** size and position of the patch of SAC-m. **Fixed:** {glue:text}`n_probes` images, their donors, cosine, models. {glue:text}`finding_patch_size`
# :::
#
# Is it the *mixture of two images* that matters, or would any disturbance do? The patch can be taken from another probe, from another data set,
# or hold nothing at all: noise, or black.

# %% tags=["hide-input", "remove-output"]
part = rows_of("mixing source")
fig = plots.small_multiples(part.assign(line=part["form"]), "patch taken from")
glue("ablations_mixing", fig)
plt.close(fig)
score = part.groupby("setting", sort=False)["auc"].mean()
others = [name for name in score.index if name != "another probe" and score[name] > score["another probe"] + margin]
glue("mixing", listed(others), display=False)

# %% [markdown]
# :::{glue:figure} ablations_mixing
# :name: fig-ablations-mixing
# :alt: AUC with intervals for four contents of the patch listed downwards, a panel per attack, with probabilities and labels side by side.
#
# **Varied:** what the patch holds. **Fixed:** a patch of half the image's side in the centre, {glue:text}`n_probes` images, cosine, models.
# {glue:text}`finding_mixing_source` Contents whose mean AUC over panels and forms exceeds that of CutMix by more than {glue:text}`margin`: {glue:text}`mixing`.
# :::
#
# JPEG compression has one dial, its quality. Severity 1 of the package that the released code uses is a quality of 25; severities 2 to 5 are 18, 15, 10 and 7.

# %% tags=["hide-input", "remove-output"]
part = rows_of("JPEG quality")
names = part["setting"].where(part["setting"] != "none", "not compressed")
fig = plots.small_multiples(part.assign(line=part["form"], setting=names), "JPEG quality")
glue("ablations_jpeg", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} ablations_jpeg
# :name: fig-ablations-jpeg
# :alt: AUC with intervals for images that are not compressed and for seven JPEG qualities listed downwards, a panel per attack, with probabilities and labels side by side.
#
# **Varied:** JPEG quality of SAC-JC's images, the coarsest at the bottom. **Fixed:** {glue:text}`n_probes` images, cosine, models. The first line is
# SAC-normal. {glue:text}`finding_JPEG_quality`
# :::

# %% [markdown]
# ## The attacker's effort
#
# A student that learned little from the source is no copy, and no test should call it one. So here the answer *ought* to depend on the setting.
# The question is when: **how much must a thief ask before the copy is detectable**, and is it a good copy by then? Each epoch asks the source once
# for each of the attacker's images, so epochs are queries. The measure of a copy is its {term}`fidelity`; the line to compare with is the fidelity
# of models that never met the source.


# %% tags=["hide-input"]
def stays(part, reached):
    """The first setting from which on `reached` is true at every larger one, or None."""
    part = part.sort_values("setting", key=lambda texts: texts.astype(float))
    enough = reached(part).to_numpy()[::-1].cumprod()[::-1].astype(bool)
    return part.loc[enough, "setting"].iloc[0] if enough.any() else None


def effort_table(ablation, students, column):
    """One row per setting: what it costs, how good the students are, and whether they are found."""
    rows, every = [], rows_of(ablation)
    for value, own in students.groupby(column):
        part = every[every["setting"] == str(value)].set_index("form")
        first = own.iloc[0]
        rows.append(
            {"epochs": first["epochs"], "images": first["images"], "queries": first["queries"], "students": len(own)}
            | {"mean fidelity": own["fidelity"].mean()}
            | {f"AUC, {form}": str(evaluation.Auc(row.auc, row.low, row.high)) for form, row in part.iterrows()}
        )
    return pd.DataFrame(rows)


suspects = inspection.suspects(run, "irrelevant")
independent = suspects["fidelity"].mean()
spent = {
    ablation: summaries.extraction_effort(run, prefix)
    for ablation, prefix in (("extraction epochs", "epochs-"), ("attacker images", "share-"))
}
glue("independent", f"{independent:.1%}", display=False)

part, students = rows_of("extraction epochs"), spent["extraction epochs"]
rows = []
for form, own in part.groupby("form", sort=False):
    row = {"form": form}
    for what, reached in {
        "interval above 0.50": lambda rows: rows["low"] > 0.5,
        f"AUC of at least {bar:.2f}": lambda rows: rows["auc"] >= bar,
    }.items():
        first = stays(own, reached)
        if first is None:
            row |= {what: "at no setting"}
        else:
            there = students[students["epochs"] == int(first)]
            against = "above" if there["fidelity"].mean() > independent else "not above"
            fidelity = f"fidelity {there['fidelity'].mean():.1%}, {against} independent models"
            row |= {what: f"from {first} epoch{'' if first == '1' else 's'}, {there['queries'].iloc[0]:,} queries ({fidelity})"}
    rows.append(row)
plots.table(pd.DataFrame(rows))

# %% [markdown]
# A cell says from which number of epochs on, of those tried, Extract-L on SAC-w is found and stays found. The mean fidelity of the irrelevant models is {glue:text}`independent`. Where a
# cell says *not above*, the copy is recognised although it agrees with the source no more often than an independent model does: by *where* it
# errs, not by how often.

# %% tags=["hide-input", "remove-output"]
fig = plots.effort(part.assign(line=part["form"]), students, "epochs", "epochs of extraction", independent)
glue("ablations_epochs", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} ablations_epochs
# :name: fig-ablations-epochs
# :alt: Left, AUC of Extract-L with intervals against the epochs of extraction, a line for probabilities and one for labels. Right, fidelity of each student against the epochs, with the mean of the irrelevant models as a dashed line.
#
# **Varied:** epochs of Extract-L, and with them queries. **Fixed:** the attacker's images, {glue:text}`n_probes` probes of SAC-w, cosine, irrelevant models
# ({glue:text}`n_irrelevant`); each setting has its own students, as many as there are dots. {glue:text}`finding_extraction_epochs`
# :::

# %% tags=["hide-input"]
plots.table(effort_table("extraction epochs", students, "epochs"), {"queries": "{:,}", "mean fidelity": "{:.1%}"})

# %% [markdown]
# And with fewer images? A thief who owns a part of the images can ask about each of them more often, every time shifted or flipped.

# %% tags=["hide-input", "remove-output"]
part, students = rows_of("attacker images"), spent["attacker images"]
asked = sorted(students["queries"].unique())
glue("asked", f"{asked[0]:,}" if len(asked) == 1 else f"{asked[0]:,} to {asked[-1]:,}", display=False)
glue("equal", "equal" if len(asked) == 1 else "not quite equal", display=False)
fig = plots.effort(part.assign(line=part["form"]), students, "images", "attacker's images", independent)
glue("ablations_images", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} ablations_images
# :name: fig-ablations-images
# :alt: Left, AUC of Extract-L with intervals against the number of the attacker's images, a line for probabilities and one for labels. Right, fidelity of each student against that number, with the mean of the irrelevant models as a dashed line.
#
# **Varied:** how many images the attacker has. **Fixed:** queries per student ({glue:text}`equal`: {glue:text}`asked`), {glue:text}`n_probes` probes of SAC-w, cosine,
# irrelevant models ({glue:text}`n_irrelevant`). {glue:text}`finding_attacker_images`
# :::

# %% tags=["hide-input"]
plots.table(effort_table("attacker images", students, "images"), {"queries": "{:,}", "mean fidelity": "{:.1%}"})

# %% [markdown]
# ## The company of negatives
#
# An AUC compares two groups, and the second is the evaluator's choice. ADV-TRA finds that negatives that share the victim's
# architecture *and* training data are the hardest for every method {cite:p}`advtra2024`. {doc}`11_results` names one more way in which the groups differ: **style of training.**
# Students are trained on shifted images by a recipe of their own, irrelevant models by the source's recipe. The last group below removes that difference: true
# labels, no query to any source, but the students' augmentation and epochs.

# %% tags=["hide-input", "remove-output"]
part = rows_of("negatives")
names = part["setting"].str.replace(", ", ",\n") + " (" + part["n_irrelevant"].astype(str) + ")"
fig = plots.small_multiples(part.assign(line=part["form"], setting=names), "irrelevant models")
glue("ablations_negatives", fig)
plt.close(fig)
small = part.loc[part["n_irrelevant"] < evaluation.FEWEST, "setting"].unique()
glue("small", listed(f"“{name}”" for name in small), display=False)

# %% [markdown]
# :::{glue:figure} ablations_negatives
# :name: fig-ablations-negatives
# :alt: AUC with intervals against several groups of irrelevant models listed downwards, a panel per attack, with probabilities and labels side by side.
#
# **Varied:** the irrelevant models; in brackets their number. **Fixed:** the stolen models, {glue:text}`n_probes` probes of SAC-w, cosine. Groups too small for their
# intervals to be trusted: {glue:text}`small`. {glue:text}`finding_negatives`
# :::

# %% tags=["hide-input"]
control = "attacker data, students' recipe"
matched = part[part["setting"] == "attacker data"].merge(
    part[part["setting"] == control], on=["attack", "form"], suffixes=("", "_matched")
)
if len(matched):
    place = run.variant("students-recipe")
    pairs = [(each, getattr(place.profile.recipes.irrelevant, each), value) for each, value in run.profile.recipes.irrelevant]
    changed = [f"{inspection.SETTINGS.get(each, each)} {new} instead of {old}" for each, new, old in pairs if new != old]
    same = place.profile.recipes.irrelevant == run.profile.recipes.extract_label
    others = inspection.suspects(place, "irrelevant")
    recipe = (
        f"The group of {len(others)} models has {'exactly' if same else 'nearly'} the recipe of Extract-L (changed: {listed(changed)}). "
        f"Mean accuracy on test images is {others['accuracy'].mean():.1%} against {suspects['accuracy'].mean():.1%} with the usual "
        f"recipe, mean fidelity {others['fidelity'].mean():.1%} against {independent:.1%}."
    )
    change = matched["auc_matched"] - matched["auc"]
    apart = (matched["high"] < matched["low_matched"]) | (matched["high_matched"] < matched["low"])
    apart &= matched[["n_stolen", "n_irrelevant", "n_irrelevant_matched"]].min(axis=1) >= evaluation.FEWEST
    falls, rises = int((change < -margin).sum()), int((change > margin).sum())
    moved = [f"{verb} in {n}" for verb, n in (("falls", falls), ("rises", rises)) if n]
    style = f"{' and '.join(moved)} of {len(change)} cells by more than {margin:.2f}" if moved else "does not change"
    cells = [f"{row.attack} on {row.form}" for row in matched[apart].itertuples()]
    if (apart & (change < 0)).any():
        so = "So a part of what separates stolen from irrelevant models in this build is how they were trained."
    elif falls:
        so = "So style of training may carry a part of the result; groups of this size cannot tell."
    else:
        so = "So in this build it is not style of training that carries the result."
    style_text = (
        f"The mean change is {change.mean():+.2f}, the largest fall {max(-change.min(), 0.0):.2f}. Intervals are disjoint on: "
        f"{listed(cells)}. {so} The stolen models are the same in both columns: what moves is the company alone."
    )
else:
    recipe, style = "This profile has no such group.", "is not measured"
    style_text = "So the question that the results chapter leaves open stays open here."
glue("recipe", recipe, display=False)
glue("style", style, display=False)
glue("style_text", style_text, display=False)
texts = {
    "attack": matched["attack"],
    "form": matched["form"],
    "usual recipe": [str(evaluation.Auc(row.auc, row.low, row.high)) for row in matched.itertuples()],
    "students' recipe": [
        str(evaluation.Auc(row.auc_matched, row.low_matched, row.high_matched)) for row in matched.itertuples()
    ],
    "change": [f"{round(value, 2) + 0.0:+.2f}" for value in matched["auc_matched"] - matched["auc"]],
}
plots.table(pd.DataFrame(texts)) if len(matched) else Markdown(recipe)

# %% [markdown]
# **Does the AUC change when the style of training is matched?** {glue:text}`recipe` Against it the AUC **{glue:text}`style`**. {glue:text}`style_text`

# %% [markdown]
# ## Summary: how far each choice moves the AUC
#
# In each cell the lowest and the highest AUC over the settings, along that line (probe set, output form, position) on which they differ most. An asterisk: on some
# line of this cell two settings are apart.

# %% tags=["hide-input"]
rows = []
attacks = list(table["attack"].unique())
for ablation, whose in WHOSE.items():
    part = moves[moves["ablation"] == ablation]
    if part.empty:
        continue
    row = {"ablation": ablation, "whose choice": whose, "settings": int(part["settings"].max())}
    for attack in attacks:
        own = part[part["attack"] == attack]
        if own.empty:
            row[attack] = "–"
            continue
        widest = own.loc[own["range"].idxmax()]
        row[attack] = f"{widest['lowest']:.2f}\u2060–\u2060{widest['highest']:.2f}" + ("*" if own["apart"].sum() else "")
    crossing = ((part["lowest"] < bar) & (part["highest"] >= bar)).sum()
    rows.append(
        row | {"pairs apart": f"{part['apart'].sum():,} of {part['pairs'].sum():,}", "crossing": f"{crossing} of {len(part)}"}
    )
crossing = int(((moves["lowest"] < bar) & (moves["highest"] >= bar)).sum())
glue("crossing", str(crossing), display=False)
glue("n_lines", str(len(moves)), display=False)
judges = [name for name in hinges if WHOSE[name] == "judge"]
glue("judges", listed(judges), display=False)
glue("elsewhere", listed(f"{name} ({WHOSE[name]})" for name in hinges if name not in judges), display=False)
plots.table(pd.DataFrame(rows).rename(columns={"crossing": f"lines across {bar:.2f}"}))

# %% [markdown]
# *Pairs apart* counts pairs of settings with disjoint intervals among those judged. *Lines across* {glue:text}`bar` counts lines along which some settings
# reach the bar and others do not: there the choice decides whether the attack counts as found.

# %% [markdown]
# ## The verdict on the claim
#
# The claim **{glue:text}`verdict`**. {glue:text}`reason` In all, {glue:text}`n_apart` of {glue:text}`n_pairs` pairs are apart ({glue:text}`share_apart`),
# {glue:text}`against_chance` than the {glue:text}`chance` that one would expect of independent groups that are alike. Choices with such pairs that are the
# judge's own: {glue:text}`judges`; that others make: {glue:text}`elsewhere`. The bar of {glue:text}`bar` is crossed along {glue:text}`crossing` of
# {glue:text}`n_lines` lines.
#
# Two of the choices are not details. If a student barely learned from the source, the answer *should* change; and if other irrelevant models are chosen, the *question*
# changes.
#
# All of this is about one source. {doc}`14_what_reproduces` follows four of these choices over several.

# %% [markdown]
# ## What it means
#
# - **An AUC without its set-up is half a statement.** Name the probe set, the number of probes, the output form, the correlation, and the irrelevant models beside every AUC.
#   The table above shows what leaving one out can hide.
# - **The judge's choices must be made beforehand**, on models that are not evaluated. A judge who may choose afterwards has, with each line of the
#   summary, the freedom that its range shows.
# - **What the service shows is the suspect's choice.** A test that needs more than it gets cannot be used, however good it is on paper.
# - **Overlap is not equality.** Groups of this size cannot resolve small differences. An ablation that moves nothing here may move something in a larger zoo.
# - **One at a time.** Each choice is varied around the profile's setting. Two choices together may do what neither does alone.
# - **One source.** All stolen models descend from one network; the intervals do not know how another source would fare.

# %% [markdown]
# ## On your own
#
# **1. How much does picking inflate?** Split the models of Extract-L and the irrelevant ones at random into halves. Choose the probe set and form with the
# highest AUC on one half, and read off its AUC on the other. How much lower is it on average?
#
# :::{dropdown} Solution
# ```python
# import numpy as np
#
# d = run.distances[run.distances["measure"] == "cosine"].pivot(index="model", columns=["probes", "form"], values="distance")
# generator, losses = np.random.default_rng(0), []
# for _ in range(200):
#     stolen, irrelevant = (generator.permutation(run.names(step)) for step in ("extract_label", "irrelevant"))
#     halves = [(stolen[k::2], irrelevant[k::2]) for k in (0, 1)]
#     scores = [[(d.loc[s, c].to_numpy()[:, None] < d.loc[i, c].to_numpy()).mean() for c in d] for s, i in halves]
#     best = int(np.argmax(scores[0]))
#     losses.append(scores[0][best] - scores[1][best])
# print(f"{np.mean(losses):.3f}")
# ```
# The loss is what a report on the choosing half would have claimed too much. It vanishes where one configuration separates everything, and
# is largest where many are about equally good.
# :::
#
# **2. A sharper comparison.** Probabilities and labels are answered by the *same* models. Bootstrap the difference of the AUCs of SAC-source on Extract-L
# with the same resampled models for both. Is its interval narrower than the two intervals suggest?
#
# :::{dropdown} Solution
# ```python
# import numpy as np
#
# pairs = {}
# for form in ("probabilities", "labels"):
#     stolen, irrelevant = summaries.compared(summaries.configuration(run, "source", form), "extract_label")
#     pairs[form] = (stolen[:, None] < irrelevant) + 0.5 * (stolen[:, None] == irrelevant)
# difference, generator = pairs["labels"] - pairs["probabilities"], np.random.default_rng(0)
# m, n = difference.shape
# draws = [difference[np.ix_(generator.integers(m, size=m), generator.integers(n, size=n))].mean() for _ in range(2000)]
# print(difference.mean(), np.quantile(draws, (0.025, 0.975)))
# ```
# If it excludes zero although the two intervals overlap, you see why *apart* is a strict word on this page. Where both forms separate the models perfectly, as
# SAC-w may do, every draw is 0 and the bootstrap says nothing.
# :::
#
# **3. The ends of the bandwidth.** Show that for $\gamma \to 0$ RBF and cosine give the same AUC. What does the RBF matrix become for $\gamma \to \infty$?
#
# :::{dropdown} Solution
# $\exp(-4\gamma C) = 1 - 4\gamma C + O(\gamma^2)$, so each difference of two entries is $-4\gamma$ times that of the cosine entries, up to
# $O(\gamma^2)$, and $d$ is multiplied by $4\gamma$ for every model alike: the order of the models stays. For $\gamma \to \infty$ every entry with $C_{ij} > 0$ goes to 0, and the
# matrix only says which probes get outputs of *exactly* the same direction. On labels that is all there is; on probabilities it is nothing but the diagonal, and
# all distances go to 0 together.
# :::
#
# **4. A service that adds noise.** Add uniform noise to every suspect's probabilities, and none to the source's. From which amplitude on is Extract-L lost?
#
# :::{dropdown} Solution
# ```python
# import numpy as np
# import torch
#
# from sacutils import correlation
#
# generator = torch.Generator().manual_seed(0)
# theirs = run.matrix("w", run.zoo.source)
# for amplitude in (0, 0.01, 0.03, 0.1, 0.3):
#     groups = []
#     for step in ("extract_label", "irrelevant"):
#         outputs = [run.outputs("w", name) for name in run.names(step)]
#         noisy = [o + amplitude * torch.rand(o.shape, generator=generator, dtype=o.dtype) for o in outputs]
#         groups.append(np.array([correlation.distance(theirs, correlation.cosine_matrix(o)).item() for o in noisy]))
#     print(amplitude, evaluation.auc(*groups, run.profile.bootstrap, run.profile.seed))
# ```
# Noise moves stolen and irrelevant models alike, so that a threshold fixed without noise acquits everybody long before the AUC falls. And what does
# the same noise do to the labels?
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`godinot2025qurd` take fingerprints apart into queries, representation and distance, and vary each.
# - {cite:t}`advtra2024` on irrelevant models that are hard to tell from stolen ones; {cite:t}`deepreg` on what a threshold makes of it.
# - {cite:t}`yun2019cutmix` and {cite:t}`hendrycks2019corruptions` for the operations that make SAC-m's and SAC-JC's images.
# - {cite:t}`tramer2016stealing` on what a thief can learn by asking.

# %%
Markdown(provenance_line(run))
