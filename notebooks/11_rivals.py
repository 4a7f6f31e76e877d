# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Rivals
#
# ## The answer in short
#
# {term}`AKH` counts how often a suspect repeats the source's label on the source's own mistakes. Over six attacks (fine-tuning, pruning, extraction) its {term}`AUC` is
# {glue:text}`akh_main` against independent models on attacker data, {glue:text}`akh_owner` against those on owner data and {glue:text}`akh_students` against students of another
# source. Against attacker data, {glue:text}`n_worse` of the {glue:text}`n_others` other entries are better than AKH beyond the interval of the difference, {glue:text}`n_better` are worse,
# and for {glue:text}`n_open` no difference is shown; AKH minus SAC-w (probabilities) is {glue:text}`akh_sac`. Against students of another, {glue:text}`n_worse_students` are better.
# On Extract-L {glue:text}`n_fall` of {glue:text}`n_entries` entries lose more than {glue:text}`margin` from the first comparison to the last.
#
# ```{admonition} What you will do
# :class: tip
# Put nine other ways to recognise a stolen model beside SAC, with the same zoo, the same independent models and the same number of probes.
#
# **You learn** what each asks a suspect and needs from the owner, and how to compare two AUCs of the same models.
#
# **You need** {doc}`09_probes` and {doc}`10_results`. The page shows all models and trains those that are missing.
# ```
#
# ## The claim under test
#
# QuRD {cite:p}`godinot2025qurd` says of AKH that it performs on a par with far more complex schemes (read in the abstract). As a sentence that a build can refute:
#
# > **Over fine-tuning, pruning and extraction together, no other fingerprint has a higher AUC than AKH by more than chance explains.**
#
# A second claim is about cost: SAC-m needs neither surrogates nor adversarial examples (SAC paper {cite:p}`guan2022sac`, read in the abstract).
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
margin = 0.05  # 0 to 0.5: two AUCs are level if the interval of their difference lies within it

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

from sacutils import evaluation, figures, rivals, training
from sacutils.rivals import cae, fbi, kinds, zest
from sacutils.run import open_run, provenance_line
from sacutils.steps import EXTRACTION, MAIN_NEGATIVES, NEGATIVES
from sacutils.studies import claims, comparison, references, tables

run = open_run(profile, overrides)
run.announce()
figures.use_style()
data = comparison.tables_of(run)
large = run.profile.probes.count
known = tables.fingerprints(data)
names = [*tables.rivals(data), "SAC-source", "SAC-w", "SAC-m", "SAC-w (labels)"]
names += ["SAC-w (matched)", "SAC-w (contrast), agreement"]
keys = {name: known[name] for name in names if name in known}
GROUPS = list(NEGATIVES)  # the independent models, by where they come from
SIX = [*claims.EASY, *EXTRACTION]

# %% tags=["remove-cell"]
counts = data["zoo"]["step"].value_counts()
figures.say(n=large, margin=f"{margin:.2f}", masks=zest.MASKS, cae_rate=cae.RATE, top=fbi.TOP)
n_each = {name: int(counts.reindex(steps).sum()) for name, steps in NEGATIVES.items()}
figures.say(groups=", ".join(f"{count} {name}" for name, count in n_each.items()))
n_surrogates, n_choosers = (len(run.names(*steps)) for steps in kinds.HELPERS.values())
figures.say(n_surrogates=n_surrogates, n_choosers=n_choosers, n_stolen=int(counts[SIX].sum()))
arrived = comparison.measured(run, "IPGuard")["share.arrived"].item()
figures.say(arrived=f"{arrived:.0%}", fewer_masks=zest.EQUAL)

# %% [markdown]
# ## Nine rivals
#
# A fingerprint is a set of **queries**, a **representation** of the answers, and a **distance** between the source's representation and the suspect's (the scheme of QuRD). A small
# distance means "probably stolen".
#
# :::{table} The rivals: what they ask, what they compare, and how
# | method | queries | what is compared | distance |
# |---|---|---|---|
# | Random {cite:p}`godinot2025qurd` | plain images | labels | share that differ |
# | AKH {cite:p}`godinot2025qurd` | the source's mistakes | labels | share that differ |
# | IPGuard {cite:p}`cao2021ipguard` | images pushed over the source's boundary | labels | share that differ |
# | CAE {cite:p}`lukas2021cae` | adversarial examples that mislead the source's students and no independent model | labels | share that differ |
# | EWE {cite:p}`jia2021ewe` | images with a secret trigger | labels | share without the secret label |
# | ModelDiff {cite:p}`li2021modeldiff` | images and their adversarial twins | how far each answer moves | angle |
# | FBI {cite:p}`maho2022fbi` | plain images | rank of the true class | one minus shared information |
# | Zest {cite:p}`jia2022zest` | images with parts hidden | which parts raise which class | angle |
# | Dataset Inference {cite:p}`maini2021dataset` | random walks away from training images and from others | steps until the label changes | effect size |
# :::
#
# Two have a second row as QuRD has them: **IPGuard (QuRD)** stops just behind the boundary, **FBI (QuRD)** compares labels. Zest's budget counts images, of which it makes
# {glue:text}`masks` queries each. **Zest (equal queries)** asks no more than the others: {glue:text}`fewer_masks` masks of few images.
#
# ::::{dropdown} Formulas, and settings as published and here
# $y_S, y_T$ are the labels of source and suspect, $z$ logits, $p$ probabilities. "Published" is what we found stated.
# - **IPGuard** moves an image of class $i$ by gradient descent towards a random class $j$. The loss is
#   $\mathrm{ReLU}(z_i - z_j + k) + \mathrm{ReLU}(\max_{t \ne i, j} z_t - \min(z_i, z_j))$. Published and here: $k = 10$, Adam with rate 0.01, at most 1,000 steps. QuRD stops when the
#   source first predicts $j$; then $k$ has no effect. The first row stops at loss 0, so that $k$ is a margin; {glue:text}`arrived` of its probes got there in this run.
# - **CAE** has the mean probabilities $S_t$ of the owner's {term}`surrogates <surrogate>` and $R_t$ of its choosers, the source's probabilities $M$ and its label $y$
#   for the original $x$. With the cross-entropy $H$ an image $x'$ near $x$ minimises $-\log \max_{t \ne y} S_t(x')(1 - R_t(x')) - H(M(x), M(x')) + H(M(x'), S(x'))$. The maximum
#   leaves out $y$ here; with it, misleading the choosers alone would pay. Published: rate 0.0005, 100 steps, radius 0.15, 18 surrogates and 18 choosers. Here: {glue:text}`n_surrogates`
#   and {glue:text}`n_choosers` models and a rate of {glue:text}`cae_rate`, because with the published one 100 steps cannot go far enough on small images.
# - **EWE** is a {term}`watermark`: the source is *trained* to call images $x_w$ with a trigger by a class $t$, while the soft nearest-neighbour loss {cite:p}`frosst2019soft` mixes
#   their features with those of real images of $t$ in each layer $l$, $\mathrm{CE}(x, y) + \mathrm{CE}(x_w, t) - \kappa \sum_l \mathrm{SNNL}_l$. Here the trigger is a square in a fixed place.
# - **ModelDiff:** $v_i = 1 - \cos(p(x_i), p(x_i'))$ for image and twin, $d = 1 - \cos(v_S, v_T)$. Published and here: radius 0.03, half of the budget are twins.
# - **FBI:** $d = 1 - I(s_S; s_T) / \min(H(s_S), H(s_T))$ with mutual information $I$ and entropies $H$ of symbols $s$: the rank of the true class among the first {glue:text}`top`, or the label.
# - **Zest** explains the probabilities by a linear model of what was visible, as LIME {cite:p}`ribeiro2016lime` does: with centred masks $A$ and centred probabilities $P$ of an image,
#   $W = (A^\top A + I)^{-1} A^\top P$, and $d$ is one minus the cosine of the weights of all images. Published: 1,000 masks; here {glue:text}`masks`.
# - **Dataset Inference** fits a score $s$ of the lengths of blind walks of 50 steps on the source and compares private with public images:
#   $d = - (\bar s_{\mathrm{private}} - \bar s_{\mathrm{public}}) / \sqrt{(\mathrm{var}\, s_{\mathrm{private}} + \mathrm{var}\, s_{\mathrm{public}}) / 2}$.
# ::::
#
# ### AKH by hand
#
# Its queries are the first {glue:text}`n` images of the probe split that the source misclassifies, and its distance is the share of labels that differ,
# $d = \frac{1}{n} \sum_i [\, y_T(x_i) \ne y_S(x_i) \,]$, where the bracket is 1 if the labels differ and 0 otherwise.

# %%
probe, source = run.material.splits["probe"], run.zoo.get(run.zoo.source)
labels = training.logits_of(source, probe.pixels).argmax(1)
mistakes = (labels != probe.labels.cpu()).nonzero().squeeze(1)[:large]
images = probe.pixels[mistakes.to(probe.pixels.device)]


def share_that_differs(name):
    answers = training.logits_of(run.zoo.get(name), images).argmax(1)
    return (answers != labels[mistakes]).double().mean().item()


groups = [run.names("extract_label"), run.names(*NEGATIVES[MAIN_NEGATIVES])]
by_hand = [np.array([share_that_differs(name) for name in group]) for group in groups]
print(f"AKH on Extract-L, by hand: {evaluation.auc(*by_hand, tuple(map(tables.clusters, groups)))}")

akh = rivals.rival("AKH")
owned = comparison.setting(run, akh)  # what the owner has
assert torch.equal(akh.queries(owned, large).pixels[:, 0], images)
rows = tables.fingerprint(data["distances"], *keys["AKH"])
for mine, kept in zip(by_hand, tables.groups(rows, "extract_label"), strict=True):
    np.testing.assert_allclose(mine, kept)

# %% [markdown]
# ### Another representation by hand
#
# ModelDiff compares how far the answers move from an image to its adversarial twin. Classes never meet across models, so a suspect with new labels can be judged.

# %%
diff, student = rivals.rival("ModelDiff"), run.zoo.get(run.names("extract_label")[0])
asked = diff.queries(owned, large)  # (pairs, image or twin, channels, height, width)
answers = [diff.ask(model, asked.pixels).double() for model in (source, student)]
moves = [1 - torch.cosine_similarity(*z.softmax(-1).unbind(1), dim=1) for z in answers]
distance = 1 - torch.cosine_similarity(*moves, dim=0)
torch.testing.assert_close(distance, diff.distance(*answers, asked.extra))
print(f"ModelDiff, source and an Extract-L student: {distance:.3f}, as in the library")

# %% tags=["hide-input", "remove-output"]
rows = {name: comparison.measured(run, name)["shown"] for name in ("AKH", "IPGuard", "CAE", "Zest")}
titles = {}
for method, pixels in rows.items():
    predicted = training.logits_of(source, pixels.to(run.device)).argmax(1)
    titles[method] = [run.material.class_names[k] for k in predicted]
figures.show("rivals_queries", figures.images(rows, titles))

# %% [markdown]
# :::{glue:figure} rivals_queries
# :name: fig-rivals-queries
# :alt: IPGuard and CAE change plain images until the source's answer changes or nearly does; AKH asks unchanged images that the source gets wrong, and Zest hides parts.
#
# The first eight queries of four rivals; above each, the source's answer. For Zest it is one of the masked copies. Only AKH asks about images as they are.
# :::
#
# ## AUC against four groups of independent models
#
# Each method has {glue:text}`n` probes. The groups hold {glue:text}`groups`. ADV-TRA {cite:p}`advtra2024` finds negatives that share the victim's architecture *and* its data the hardest
# for every method, and siblings share both. Students of another were made as stolen models are, but from another source. A method that cannot tell them from stolen ones has found *a*
# theft, and not *this* one.

# %% tags=["hide-input", "remove-output"]
parts = []
for name, key in keys.items():
    parts.append(tables.fingerprint(data["auc"], *key).assign(method=name))
    rows = tables.fingerprint(data["distances"], *key)
    for negatives in GROUPS:
        pooled = tables.over_sources(rows, SIX, negatives)
        pooled |= {"method": name, "attack": "All six attacks", "negatives": negatives}
        parts.append(pd.DataFrame([pooled]))
lead = tables.select(pd.concat(parts, ignore_index=True).assign(sources=1), negatives=GROUPS)
part = tables.select(lead, attack=["Pruning", "Extract-L", "Extract-P", "Extract-Adv"])
look = {"label": "AUC with 95 % interval", "limits": (0, 1), "guess": 0.5, "columns": 4}
look |= {"hue": "negatives", "facet": "attack"}
figures.show("rivals_auc", figures.points(part, "auc", "method", **look))

# %% [markdown]
# :::{glue:figure} rivals_auc
# :name: fig-rivals-auc
# :alt: Over six attacks AKH has an AUC of {glue:text}`akh_main` against attacker data and {glue:text}`akh_students` against students of another; the intervals of neighbouring methods overlap.
#
# AUC of each method for four attacks; SAC from probabilities unless its name says labels. **Varied:** the independent models. **Fixed:** {glue:text}`n` probes, stolen models. The vertical line is guessing. Look at how
# far a method's marks move apart before you compare methods.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "AUC of each method in tables", "code_prompt_hide": "AUC of each method in tables"}
for attack in ("Extract-L", "Extract-P", "All six attacks"):
    rows = tables.select(lead, attack=attack)
    caption = f"{attack}: AUC with 95 % interval, by the models compared with"
    display(figures.table(tables.wide(rows, "method", "negatives"), caption=caption))

# %% [markdown]
# The {glue:text}`n_stolen` stolen models of the last table are no random sample of thefts: there are as many of each kind as the profile trains. Models of one architecture, and copies of
# one another, count as less than one model each in the intervals.
#
# **Dataset Inference** asks who used the owner's *data*. By that question a model on owner data and a sibling are positives, so these columns are not its test. It is weak
# where a source overfits little. Transferred models with new labels can be judged by SAC, ModelDiff, FBI (QuRD) and Dataset Inference only; the run's table `auc.csv` has these rows.
#
# **EWE** needs a watermarked source of its own, and **ModelDiff** is asked with twins in other radii too. Only a full run does both, so other runs show the reference run's rows in this fold:

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "EWE, and ModelDiff by radius", "code_prompt_hide": "EWE, and ModelDiff by radius"}
origin, full = references.full_tables(run, lambda: data)
ewe = [tables.summary(full, *tables.rivals(full)["EWE"], group) for group in GROUPS]
ewe = tables.wide(pd.concat(ewe), "attack", "negatives")
display(figures.table(ewe, caption=f"EWE, AUC with 95 % interval, in {origin}"))
radii = tables.ablation(full, "twin radius", GROUPS)
radii = radii.assign(row=radii["attack"] + ", against " + radii["negatives"])
if len(radii):
    caption = f"ModelDiff by radius of the twins, AUC, in {origin}"
    display(figures.table(tables.wide(radii, "row", "setting"), caption=caption))

# %% [markdown]
# ## What it costs
#
# In the fold, *access* is what making the probes needs of the source, *answers* the least that a suspect must show. *Models* counts surrogates + choosers that the owner trains; EWE trains the source
# itself. *Making* is the time to make {glue:text}`n` probes, and *with training* adds that of these models. *Queries* go to each suspect.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Costs by method", "code_prompt_hide": "Costs by method"}
costs = comparison.cost_texts(data["costs"], list(keys))
names = {"whole_m": "SAC-m", "whole_w": "SAC-w", "whole_ipguard": "IPGuard", "whole_cae": "CAE"}
figures.say(**{name: costs.loc[method, "with training"] for name, method in names.items()})
figures.say(once=tables.duration(run.zoo.record(run.zoo.source)["seconds"]))
figures.table(costs.reset_index(), caption="What each method costs: models, time and queries")

# %% [markdown]
# SAC-m takes {glue:text}`whole_m` and no other model. With the models that they need, SAC-w takes {glue:text}`whole_w`, IPGuard {glue:text}`whole_ipguard` and CAE
# {glue:text}`whole_cae`; training the source took {glue:text}`once`. The owner pays this once, on a machine that did other work as well. What recurs is the number of queries.
#
# ## The same queries, another measure
#
# SAC-source and AKH ask about the *same* images, so what the correlation matrix gains over counting equal labels can be read off directly. A hard suspect is hard for both measures, so both are counted on the same
# pairs of models. The fold has the difference over six attacks together; plus means that the first measure is better.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Two measures on the same queries", "code_prompt_hide": "Two measures on the same queries"}
EQUAL = ("labels", "label agreement")
PAIRS = {
    "equal labels – matrix of labels": (EQUAL, ("labels", "cosine")),
    "equal labels – matrix of probabilities": (EQUAL, ("probabilities", "cosine")),
    "logits: root mean square – mean": (("logits", "cosine RMS"), ("logits", "cosine")),
}
rows = []
for probes in ("SAC-source", "SAC-w"):
    for text, pair in PAIRS.items():
        one, two = ((probes, *key) for key in pair)
        gains = [tables.difference(data, one, two, SIX, group) for group in GROUPS]
        rows.append([probes, text, *map(tables.signed, gains)])
gains = pd.DataFrame(rows, columns=["probes", "difference of AUC", *GROUPS])
figures.table(gains, caption="The same queries, two measures: difference of AUC over six attacks")

# %% [markdown]
# The last line of each block compares two things that go by the name of SAC. The released code takes the **mean** difference of two matrices of logits; QuRD's "SAC" asks about the source's
# mistakes and takes the **root mean square** (read in both codes). From *labels* a matrix knows which probes get equal labels, and not which labels. That lets SAC judge a model with new classes, and it loses
# information where the classes are the same.
#
# ## The verdict on the claim
#
# AKH minus each other fingerprint, over the six attacks together. *Worse* means that the other method is better than AKH beyond the 95 % interval of the difference.

# %% tags=["hide-input"]
shown, verdicts = pd.DataFrame(), {}
for group in GROUPS:
    part = tables.differences(data, keys["AKH"], keys, SIX, group)
    verdicts[group], shown["method"] = part, part["method"]
    words = part["word"].map({"better": " better", "worse": " worse"}).fillna("")
    shown[group] = [tables.signed(row) for _, row in part.iterrows()] + words
figures.table(shown, caption="AKH minus each other fingerprint: difference of AUC over six attacks")

# %% tags=["remove-cell"]
part = verdicts[MAIN_NEGATIVES].set_index("method")
worse, better = ((part["word"] == word).sum() for word in ("worse", "better"))
level = ((part["low"] >= -margin) & (part["high"] <= margin)).sum()
figures.say(n_others=len(part), n_worse=int(worse), n_better=int(better), n_level=int(level))
figures.say(n_open=int(len(part) - worse - better), by_chance=f"{0.05 * len(part):.1f}")
others = [int((verdicts[group]["word"] == "worse").sum()) for group in GROUPS[1:]]
figures.say(n_worse_owner=others[0], n_worse_siblings=others[1], n_worse_students=others[2])
verdict = "is contradicted" if worse else "is not contradicted"
figures.say(verdict=verdict, akh_sac=tables.signed(part.loc["SAC-w"]))
rows = tables.select(lead, method="AKH", attack="All six attacks").set_index("negatives")
akh_main, akh_owner, _, akh_students = (tables.text(rows.loc[group]) for group in GROUPS)
figures.say(akh_main=akh_main, akh_owner=akh_owner, akh_students=akh_students)
aucs = tables.select(lead, attack="Extract-L")
aucs = aucs.pivot(index="method", columns="negatives", values="auc")
falls = aucs["students of another"] < aucs[MAIN_NEGATIVES] - margin
figures.say(n_fall=int(falls.sum()), n_entries=len(falls))

# %% [markdown]
# The claim **{glue:text}`verdict`** in this build: against attacker data {glue:text}`n_worse` of {glue:text}`n_others` entries are better than AKH, against owner data
# {glue:text}`n_worse_owner`, against siblings {glue:text}`n_worse_siblings`, and against students of another {glue:text}`n_worse_students`. If all were equally good, about {glue:text}`by_chance` of the {glue:text}`n_others`
# comparisons with each group would show a difference by chance. {glue:text}`n_level` of {glue:text}`n_others` entries are level with AKH, with the whole interval within ±{glue:text}`margin`. A zoo of this size can show large
# differences, and can hardly show that there is none. {doc}`13_what_reproduces` has several sources, and the published values of IPGuard, CAE and EWE.
#
# ## What it means
#
# A new fingerprint should be compared with AKH first, on the same models and with an interval for the *difference*. It should say what it can do that AKH cannot: AKH needs the true labels of its images, and cannot
# judge a model with new labels. Where intervals overlap as in {numref}`fig-rivals-auc`, the order of neighbours says nothing.
#
# ```{admonition} Not a contest of the originals
# :class: warning
# - These are re-implementations at the size of this zoo. CAE with fewer models and Zest with fewer masks are weaker than their authors meant them.
# - EWE protects a source of its own. Its suspects are others and fewer, so its differences are not paired.
# - All methods are compared by AUC, which grants each its best threshold. The thief here knows of no fingerprint; {cite:t}`falseclaims2024` and {cite:t}`removalnet2023` study thieves who do.
# ```


# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. AKH.** Write `akh_distance(source, suspect, truth)` for three arrays of labels: on the images that the source gets wrong, the share of labels that differ.
# %% tags=["solution"]
def akh_distance(source, suspect, truth):
    return np.mean((source != suspect)[source != truth])


# %% tags=["test"]
assert akh_distance(*np.array([[1, 2, 3, 3], [1, 2, 0, 3], [1, 0, 0, 0]])) == 1 / 3
# %% [markdown] tags=["exercise"]
# **2. Ties.** How many different distances can AKH give on 100 probes? Call the number `n_values`. (Ties count one half: many of them move an AUC towards 0.50.)
# %% tags=["solution"]
n_values = 101
# %% tags=["test"]
assert n_values == 101

# %% [markdown]
# **Further reading.** {cite:t}`godinot2025qurd` for many more combinations of queries, representation and detection; {cite:t}`maini2021dataset` with {cite:t}`di_falsepositives2022`, for and
# against inferring from training data; {cite:t}`newcombe1998difference` on intervals for a difference.

# %%
Markdown(provenance_line(run))
