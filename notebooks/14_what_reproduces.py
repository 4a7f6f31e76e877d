# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What reproduces
#
# ```{admonition} What you will do
# :class: tip
# Put three things side by side and keep them apart: what others published, whole runs with several sources that lie in this repository, and your own run. Then
# decide, claim by claim and by a rule, what reproduces.
#
# **You learn** how far an {term}`AUC` moves when another source is stolen from; which published claims hold on these zoos, which do not, and which measured
# quantity goes with the difference; and how to add sources of your own.
#
# **You need** {doc}`11_results`, {doc}`12_baselines` and {doc}`13_ablations`. Half a minute: nothing is trained for this page.
# ```

# %% [markdown]
# ## The claim under test
#
# ModelGiF {cite:p}`song2023modelgif` prints an AUC of SAC {cite:p}`guan2022sac` for nine attacks, measured on the CIFAR-10 models released with SAC; it does not say
# whether with SAC-w or SAC-m. The claim:
#
# > **SAC-w on probabilities has these AUCs on other zoos too:** for each attack the published value lies in the 95 % interval over several sources, or both
# > the value and the whole interval are at least 0.95.
#
# These are other zoos: small networks, fewer images, recipes of our own. That values are *equal* is not expected. What is expected, if the method is what it
# is said to be, is **separation** where separation was published, and the same **order** of what is easy and what is hard.

# %% [markdown]
# ## Parameters
#
# `bar` is the AUC from which an attack counts as found; two AUCs that differ by no more than `margin` count as level.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
bar = 0.95
margin = 0.05

# %%
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

from sacutils import claims, lineage, plots, reference, summaries
from sacutils.probes import PROBE_SETS
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()
own = reference.of_run(run)
own_name = f"this run, {run.profile.run_name}"
profiles = {name: reference.load(name) for name in reference.available()}
references = {reference.label(name, tables): tables for name, tables in profiles.items()}
shown = references or {own_name: own}
published = reference.published()
baselines = reference.baselines(own)
for tables in references.values():
    baselines = reference.baselines(tables) | baselines
rivals = [name for name in ("IPGuard", "CAE", "EWE") if name in baselines]


def listed(names):
    names = list(names)
    return ", ".join(names) if names else "none"


def wide(rows):
    """Rows given as dictionaries as a table; what a row lacks is a dash."""
    return plots.table(pd.DataFrame(rows).fillna("–")) if rows else Markdown("Nothing of this was measured.")


if references:
    state = f"References in this repository: {'; '.join(references)}."
else:
    state = (
        "This repository holds no reference, so this page shows the published values and your own run only, as a single source."
    )
glue("state", state, display=False)
glue("shown", "; ".join(shown), display=False)
glue("own", own_name, display=False)
glue("bar", f"{bar:.2f}", display=False)
glue("margin", f"{margin:.2f}", display=False)
glue("n_probes", str(run.profile.probes.count), display=False)

# %% [markdown]
# ## What a reference is
#
# {glue:text}`state` A {term}`reference run` is a whole run of a profile, from data to tables, repeated with several seeds, and with each seed another source, other
# splits, other stolen and irrelevant models. Its tables are tidy and small, and lie in `results/<profile>/` with a column `seed`: the models
# (`zoo.csv`), their distances under every fingerprint (`distances.csv`), the AUCs (`auc.csv`), costs and ablations; `probes.json` has the numbers of the probe
# images, `provenance.json` what each source was made from and on, and checksums. From the distances every AUC can be computed again; a test of the repository does so. No
# weights are kept: {doc}`../scaling` says how to make them again, and how to add a source.

# %% tags=["hide-input"]
records = {label: reference.facts(name) for label, name in zip(references, profiles, strict=True)}
facts = pd.DataFrame(records).rename_axis("what").reset_index()
plots.table(facts) if records else Markdown("There is no provenance to show.")

# %% [markdown]
# Read the line *compression* before the rest. Where images were stored as JPEG, *every* network saw compressed images and SAC-JC compresses a second time: that is
# not quite the published data set. *Training* counts all jobs one after another. The seconds in `costs.csv` were measured while other jobs ran; use them for orders of magnitude.

# %% [markdown]
# ## Published, references, your own run
#
# AUC against irrelevant models on attacker data, {glue:text}`n_probes` probes in your run. The columns hold different things and are never mixed: **published** has one zoo with one source,
# and no interval; a **reference** has the mean over its sources with a 95 % interval, then the smallest to the largest source; **this run** is one source, with an interval over models.

# %%
fingerprints = {
    "SAC-w, probabilities": ("SAC-w", "probabilities", "cosine"),
    "SAC-w, labels": ("SAC-w", "labels", "cosine"),
    "SAC-m, probabilities": ("SAC-m", "probabilities", "cosine"),
}


def stacked(keys, stated):
    """Published values, references and own run of several fingerprints, one below the other."""
    parts = [reference.beside(run, stated[name], *key).assign(fingerprint=name) for name, key in keys.items()]
    table = pd.concat(parts, ignore_index=True).fillna("–")
    return table[["fingerprint", *table.columns.drop("fingerprint")]]


plots.table(stacked(fingerprints, dict.fromkeys(fingerprints, published["SAC"])))

# %% [markdown]
# The interval of a reference is a bootstrap on two levels: sources are drawn with replacement, then models within each. With so few sources it knows little of
# how sources differ, which is why the smallest and the largest stand beside it. Where every pair of models is in the right order in every source it is the score
# interval of a *single* source {cite:p}`newcombe2006auc`: models that descend from one source are not independent evidence.
#
# Baselines of which something is published, at as many probes:

# %% tags=["hide-input"]
plots.table(stacked({name: baselines[name] for name in rivals}, published))

# %% [markdown]
# EWE protects a watermarked source of its own, and its stolen models are fewer. MarginFinger {cite:p}`marginfinger2024` published SAC on **another experiment**, Tiny-ImageNet
# models of its own. Beside it, for the attacks that it has in common with us:

# %% tags=["hide-input"]
tiny = reference.published("Tiny-ImageNet")
rows = stacked({name: (name, "probabilities", "cosine") for name in tiny}, tiny)
rows = rows[rows["published"] != "–"].rename(columns={"published": "published, Tiny-ImageNet"})
plots.table(rows)

# %% [markdown]
# ## The spread over sources
#
# The intervals of all other pages resample the models of *one* source. How would another source fare?

# %% tags=["hide-input", "remove-output"]
summed, single = [], []
for label, tables in shown.items():
    for name in PROBE_SETS.values():
        key = (name, "probabilities", "cosine")
        summed.append(reference.summary(tables, *key).assign(reference=label, probes=name))
        single.append(reference.per_source(tables, *key, lineage.MAIN_NEGATIVES).assign(reference=label))
summed, single = pd.concat(summed, ignore_index=True), pd.concat(single, ignore_index=True)
short = {label: label.split(",")[0] for label in shown}
fig = plots.sources(single.replace({"reference": short}), summed.replace({"reference": short}))
glue("reproduces_sources", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} reproduces_sources
# :name: fig-reproduces-sources
# :alt: A block of panels for each reference, a panel for each attack and a line for each of SAC's five probe sets; a dot for the AUC of each source, with a tick for their mean on a line for its interval, and a vertical line at one half.
#
# AUC of each source on probabilities, against models on attacker data. A dot is a source; the black line is the interval of their mean, the tick the mean. Shown: {glue:text}`shown`.
# :::
#
# SAC-w in numbers. *Interval of one source* is the mean width of the sources' own intervals, that is, what a reader of a single run would take for the doubt:

# %% tags=["hide-input"]
rows = []
width = (single["high"] - single["low"]).groupby([single["reference"], single["probes"], single["attack"]]).mean()
for row in summed[summed["probes"] == "SAC-w"].itertuples():
    rows.append(
        {
            "reference": row.reference,
            "attack": row.attack,
            "mean": str(row.auc),
            "smallest source": f"{row.smallest:.2f}",
            "largest source": f"{row.largest:.2f}",
            "range": f"{row.largest - row.smallest:.2f}" if row.sources > 1 else "one source",
            "interval of one source": f"{width[row.reference, row.probes, row.attack]:.2f}",
        }
    )
spread = summed.assign(range=summed["largest"] - summed["smallest"])
spread["width"] = [width[row.reference, row.probes, row.attack] for row in spread.itertuples()]
wider = spread[spread["range"] > spread["width"]]
top = spread.loc[spread["range"].idxmax()]
one_side = (spread["smallest"] < bar) & (spread["largest"] >= bar)
glue("wider", f"{len(wider)} of {len(spread)}", display=False)
glue("widest", f"{top['range']:.2f} ({top['probes']}, {top['attack']}, {top['reference']})", display=False)
glue("crossing", f"{int(one_side.sum())} of {len(spread)}", display=False)
wide(rows)

# %% [markdown]
# Over all five probe sets, the range over sources is larger than the interval of one source in {glue:text}`wider` cells. The largest range is {glue:text}`widest`. In
# {glue:text}`crossing` cells one source reaches {glue:text}`bar` and another does not: whoever had measured one of them would have reported the other verdict.

# %% [markdown]
# ## AKH against SAC on the same queries
#
# SAC-source asks the source's mistakes, as {term}`AKH` does. So the difference is what is done with the answers: counting equal labels, or comparing matrices. Both judged the same models; the
# difference is resampled ({doc}`12_baselines`), and then the sources as well. Plus: equal labels are better.

# %% tags=["hide-input"]
hard = ["prune", "extract_label", "extract_probability", "extract_adversarial"]
groups = {lineage.LABELS[step]: [step] for step in hard} | {"all six together": summaries.SAME_CLASSES}
rows, tally = [], []
for label, tables in shown.items():
    for probe_set in ("SAC-source", "SAC-w"):
        for form in ("labels", "probabilities"):
            first, second = (probe_set, "labels", "label agreement"), (probe_set, form, "cosine")
            found = {group: reference.difference(tables, first, second, steps) for group, steps in groups.items()}
            row = {"reference": label, "probes": probe_set, "difference": f"equal labels – matrix of {form}"}
            rows.append(row | {group: claims.signed(each) for group, each in found.items()})
            tally.append(found["all six together"])
glue("n_same", str(len(tally)), display=False)
glue("labels_better", str(sum(each["low"] > 0 for each in tally)), display=False)
glue("matrix_better", str(sum(each["high"] < 0 for each in tally)), display=False)
largest = max(tally, key=lambda each: abs(each["value"]))
glue("same_largest", claims.signed(largest), display=False)
wide(rows)

# %% [markdown]
# Difference of the mean AUCs with its interval ("[–]": none, because every pair of models counts alike for both or a group has fewer than three models), then the smallest to the largest source. Of the {glue:text}`n_same` lines, over all six attacks *together* equal labels are better beyond the interval
# in {glue:text}`labels_better` and the matrix in {glue:text}`matrix_better`; the largest difference is {glue:text}`same_largest`. What no line shows: the matrix can judge models with new labels, and equal labels cannot.

# %% [markdown]
# ## SAC against IPGuard, CAE and EWE
#
# The three that stand beside SAC in the published table. SAC-w minus the rival; plus: SAC is better. EWE judged other models, so its differences are not paired and their intervals wider {cite:p}`newcombe1998difference`.

# %% tags=["hide-input"]
rows, tally = [], []
for label, tables in shown.items():
    for rival in rivals:
        if rival not in reference.baselines(tables):
            continue
        for form in ("probabilities", "labels"):
            key = ("SAC-w", form, "cosine")
            found = {group: reference.difference(tables, key, baselines[rival], steps) for group, steps in groups.items()}
            row = {"reference": label, "SAC-w from": form, "minus": rival}
            rows.append(row | {group: claims.signed(each) for group, each in found.items()})
            tally += [(f"{rival} on {group}", each) for group, each in found.items() if group != "all six together"]
better = sorted({name for name, each in tally if each["low"] > 0})
worse = sorted({name for name, each in tally if each["high"] < 0})
glue("n_cells", str(len(tally)), display=False)
glue("n_better", str(sum(each["low"] > 0 for _, each in tally)), display=False)
glue("n_worse", str(sum(each["high"] < 0 for _, each in tally)), display=False)
glue("better", listed(better), display=False)
glue("worse", listed(worse), display=False)
wide(rows)

# %% [markdown]
# Of {glue:text}`n_cells` cells with a single attack, SAC is better beyond the interval in {glue:text}`n_better` (against {glue:text}`better`) and worse in {glue:text}`n_worse` (against
# {glue:text}`worse`). Where both find everything, nobody can be better.

# %% [markdown]
# ## The choices that matter, over all sources
#
# {doc}`13_ablations` varies one choice at a time on one source. Four of its choices, on SAC-w, over all sources. A reference keeps no distances of ablations, so here the interval is the mean of the
# sources' intervals; it does not shrink with their number.
#
# **The company.** The same stolen models against irrelevant models on attacker data, by the source's recipe; on attacker data by the *students'* recipe; and on the *owner's* data:

# %% tags=["hide-input"]
company = ["attacker data", "attacker data, students' recipe", "owner data"]


def ablated(name, series, settings=None, base=None):
    """Rows of a table of one ablation, a row per reference and setting, and the cells that are moved away from `base`."""
    rows, moved = [], []
    for label, tables in shown.items():
        part = reference.select(reference.ablation(tables, name), series=series)
        for setting in settings or part["setting"].unique():
            cells = part[part["setting"] == setting]
            if cells.empty:
                continue
            row = {"reference": label, "setting": setting, "irrelevant": int(cells["n_irrelevant"].iloc[0])}
            rows.append(row | {cell.attack: reference.text(cell) for cell in cells.itertuples()})
            usual = part[part["setting"] == base].set_index("attack")["auc"]
            for cell in cells.itertuples():
                change = cell.auc.value - usual[cell.attack].value if cell.attack in usual.index else 0.0
                moved.append((label, setting, cell.attack, change))
    return rows, pd.DataFrame(moved, columns=["reference", "setting", "attack", "change"])


def summed_up(moved):
    """How many cells fall and rise by more than the margin for each setting, as text."""
    texts = []
    for setting, part in moved.groupby("setting", sort=False):
        falls, rises = (part["change"] < -margin).sum(), (part["change"] > margin).sum()
        extreme = part.loc[part["change"].abs().idxmax()] if len(part) else None
        if falls or rises:
            most = f"most {extreme['change']:+.2f} on {extreme['attack']}, {extreme['reference']}"
            texts.append(f"“{setting}” lower in {falls} and higher in {rises} of {len(part)} cells ({most})")
    return "; ".join(texts) if texts else "none"


rows, moved = ablated("negatives", "SAC-w, probabilities", company, "attacker data")
glue("moved_company", summed_up(moved), display=False)
wide(rows)

# %% [markdown]
# Groups that move an AUC by more than {glue:text}`margin` against the first line: {glue:text}`moved_company`.
#
# **The output form:**

# %% tags=["hide-input"]
rows, moved = ablated("output form", "SAC-w", ["probabilities", "labels", "logits"], "probabilities")
glue("moved_form", summed_up(moved), display=False)
wide(rows)

# %% [markdown]
# Forms that move an AUC by more than {glue:text}`margin` against probabilities: {glue:text}`moved_form`. The released code works on logits.
#
# **The thief's effort.** Epochs of Extract-L, each of which asks the source once for each image of the attacker; each number has students of its own:

# %% tags=["hide-input"]
rows, least = [], []
for label, tables in shown.items():
    part = reference.ablation(tables, "extraction epochs")
    strangers = tables["zoo"].groupby("step")["fidelity"].mean()["irrelevant"]
    for setting in sorted(part["setting"].unique(), key=int):
        cells = part[part["setting"] == setting].set_index("series")
        row = {"reference": label, "epochs": setting, "students per source": int(cells["n_stolen"].iloc[0])}
        row |= {"mean fidelity": f"{cells['fidelity'].iloc[0]:.1%}", "fidelity of irrelevant models": f"{strangers:.1%}"}
        rows.append(row | {series: reference.text(cell) for series, cell in cells.iterrows()})
    few = part[part["setting"] == min(part["setting"].unique(), key=int)].set_index("series")
    cell = few.loc["SAC-w, probabilities"]
    epochs = "1 epoch" if cell["setting"] == "1" else f"{cell['setting']} epochs"
    nearness = "above" if cell["fidelity"] > strangers else "not above"
    least.append(f"{label}: {cell['auc']} after {epochs}, with a fidelity {nearness} that of irrelevant models")
glue("least", "; ".join(least), display=False)
wide(rows)

# %% [markdown]
# With the fewest epochs, from probabilities: {glue:text}`least`. A student that has learned little is no copy, so an AUC that falls here is no fault of the test; it is a reason to state the fidelity of what is
# called stolen.

# %% [markdown]
# ## The ledger
#
# The rules, the same for all claims and all columns:
#
# - An AUC **reproduces** if the published value lies in the interval over sources, or if it and the whole interval are at least {glue:text}`bar`. It does so **in part** if the interval is on the
#   published side of 0.50 and, where the published value is below {glue:text}`bar`, below {glue:text}`bar` as well. It is **undecided** if a group has fewer than three models, if the
#   interval takes half of the scale, or if it holds both the published value and 0.50 while these are more than {glue:text}`margin` apart. Otherwise it **does not**.
# - *A is better than B* is asked where the published AUC of A is higher. It **reproduces** if the interval of the difference lies above 0; it **does not** if it lies below 0, or within
#   {glue:text}`margin` of it; otherwise it is **undecided**.
# - A claim on several cells **reproduces** if all do; holds **in part** if some do, or do in part; **does not** if none does even in part and at least one does not; and is
#   **undecided** otherwise. Published values have two digits, so 0.005 is allowed at each end of an interval.
# - *SAC-m*: its costs show no surrogate and no reference model, and its AUCs have SAC's published values. *Order*: of all pairs of published cells (method and attack) that differ by
#   more than {glue:text}`margin`, at least the share {glue:text}`bar` have the same order in the means; in part from one half. *AKH*: no other method is better beyond the interval
#   of the difference, over the six attacks together; in part if fewer than half are. *Irrelevant nearer*: the interval of the AUC lies below 0.50, on three extraction attacks
#   in three output forms, for SAC-w and for SAC-m.

# %% tags=["hide-input"]
judged = {
    label: claims.claims(tables, bar, margin).set_index("claim") for label, tables in (references | {own_name: own}).items()
}
order = list(dict.fromkeys(claim for table in judged.values() for claim in table.index))
overview = pd.DataFrame({label: table["verdict"].reindex(order) for label, table in judged.items()}).fillna("not measured")
plots.table(overview.rename_axis("claim").reset_index())

# %% [markdown]
# And by which measured value, and why. *Because* lists what was measured on the same models: for SAC whether any other output form, probe set, company of irrelevant models, or strength
# of the attack changes the verdict, and into which (*in part only*, *not*, *undecided*; or *would reproduce*); how faithful the copies are; and how many models there are. These go along with a verdict; they do not prove its cause.

# %% tags=["hide-input"]
for label in shown:
    rows = judged[label].reset_index()
    rows["verdict"] += ": published " + rows["published"] + "; measured " + rows["measured"]
    display(Markdown(f"**{label}**"), plots.table(rows[["claim", "verdict", "because"]]))

# %% [markdown]
# Sources of the claims: the values of SAC, IPGuard, CAE and EWE are those of ModelGiF's table {cite:p}`song2023modelgif`; that SAC-m needs neither surrogates nor adversarial examples is
# read in the abstract of the paper {cite:p}`guan2022sac`; that AKH performs on a par with far more complex schemes in that of QuRD {cite:p}`godinot2025qurd`; that irrelevant models lie nearer to
# the source than extracted ones in the code release of MarginFinger {cite:p}`marginfinger2024`.

# %% [markdown]
# ## The verdict on the claim

# %% tags=["hide-input", "remove-output"]
sac = [f"SAC on {name}" for name in claims.CLAIMED]
verdicts = {label: judged[label]["verdict"].reindex(sac) for label in shown}
holds = [label for label, words in verdicts.items() if (words == claims.REPRODUCES).all()]
texts = []
for label, words in verdicts.items():
    rest = [f"{name.removeprefix('SAC on ')} ({word})" for name, word in words.items() if word != claims.REPRODUCES]
    texts.append(
        f"{label}: {(words == claims.REPRODUCES).sum()} of {len(words)} lines reproduce, the others are {listed(rest)}"
    )
verdict = "holds on all that is shown" if len(holds) == len(shown) else "does not hold on all that is shown"
glue("verdict", verdict, display=False)
glue("verdict_lines", "; ".join(texts), display=False)
everything = overview[list(shown)].stack().value_counts()
glue("counts", listed(f"{word} {count}" for word, count in everything.items()), display=False)
same = (overview[list(shown)].nunique(axis=1) == 1).sum()
alike = f"The references agree on {same} of {len(overview)} verdicts. The same word can cover very different values: compare SAC-m's."
glue("alike", alike if len(shown) > 1 else "One column has nothing to agree with.", display=False)
ordered = [f"{label}: {judged[label].loc['Order of attacks and methods', 'measured']}" for label in shown]
glue("order", "; ".join(ordered), display=False)

# %% [markdown]
# The claim **{glue:text}`verdict`**. {glue:text}`verdict_lines`. Order: {glue:text}`order`.
#
# Over all claims of the ledger and {glue:text}`shown`: {glue:text}`counts`. {glue:text}`alike`

# %% [markdown]
# ## What it means
#
# - **Read the spread first.** An interval over the models of one source does not know other sources. A claim on a method needs several sources, and even these few say little about the worst one.
# - **To reproduce is not to be equal.** A published value without an interval, from one source with ten or twenty stolen and as many irrelevant models, is itself uncertain; exercise 2 asks by how much. What is held
#   against it here is an interval, and a wide interval holds nearly everything: *reproduces* with few models is a weak word.
# - **A miss is not a refutation.** Where a line does not reproduce, the zoos differ in data, size of networks and images, recipes and queries, besides what *because* names. It says that the claim
#   needs a condition, and the last column shows which choice would have made the difference here.
# - **The rules are code:** `sacutils.claims.claims` gives the same verdicts for the same tables, whatever one would like to read in them. Other
#   rules are possible; exercise 3 moves the bar.
# - **Many verdicts, some chance.** At 95 % a claim that is exactly true misses now and then. Look at the pattern, not at one cell.

# %% [markdown]
# ## On your own
#
# **1. How many sources are enough?** Take a reference with several sources, leave out one at a time, and see how far mean and interval of Extract-L move.
#
# :::{dropdown} Solution
# ```python
# tables = next(iter(shown.values()))
# part = reference.fingerprint(tables["distances"], "SAC-w", "probabilities", "cosine")
# for left_out in [None, *part["seed"].unique()]:
#     value = reference.over_sources(part[part["seed"] != left_out], "extract_label", lineage.MAIN_NEGATIVES)
#     print(left_out, value["sources"], value["auc"], f"{value['smallest']:.2f}–{value['largest']:.2f}")
# ```
# If one source moves the mean by more than the interval is wide, the interval is too narrow, and more sources are needed rather than more models.
# :::
#
# **2. The doubt of a printed number.** The published AUC of 0.92 on Extract-Adv comes from about 20 stolen and 20 irrelevant models. How sure is it? And a printed 1.00?
#
# :::{dropdown} Solution
# ```python
# from sacutils import evaluation
#
# print(evaluation.score_interval(0.92, 20, 20), evaluation.score_interval(1.0, 20, 20))
# ```
# Both intervals are about models of *one* source. Would the verdicts of the ledger change if two *intervals* had to overlap, instead of a value and an interval? In which direction only can they change?
# :::
#
# **3. Another bar.** `make notebook NAME=14_what_reproduces ARGS="-p bar 0.9 -p margin 0.1"`. Which verdicts change, and which do not move at all?
#
# :::{dropdown} What to look for
# The bar matters in three places: for published values that are at least as high; for those below it, where *in part* needs an interval below it too, as with IPGuard on extraction; and as the
# share that *Order* needs. A larger margin makes *does not* easier to reach in comparisons, since more differences count as level; it also leaves *Order* fewer pairs, and *undecided* fewer cells.
# :::
#
# **4. All models in one pot?** Pool the models of all sources and compute one AUC on Extract-L. Why is it not the mean of the sources' AUCs, and which of the two does an owner want?
#
# :::{dropdown} Solution
# ```python
# from sacutils import evaluation
#
# tables = next(iter(shown.values()))
# part = reference.fingerprint(tables["distances"], "SAC-w", "probabilities", "cosine")
# pooled = [part.loc[part["step"] == step, "distance"].to_numpy() for step in ("extract_label", "irrelevant")]
# print(evaluation.auc(*pooled, 2000, 0), reference.over_sources(part, "extract_label", lineage.MAIN_NEGATIVES)["auc"])
# ```
# Pooling compares a stolen model of one source with an irrelevant one of another, whose distances have another scale. An owner has one source, and wants the mean.
# :::
#
# **5. One more source.** Make a run with a seed that the reference lacks and add it. Which verdicts change?
#
# :::{dropdown} Hint
# {doc}`../scaling` has the two commands. Sources that are already there stay as they are. Look at your own column first, and decide *before* you add it that you will keep it.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`song2023modelgif` and {cite:t}`marginfinger2024` for the two published views of SAC that this page quotes.
# - {cite:t}`godinot2025qurd` for a comparison with many sources and simple baselines; {cite:t}`advtra2024` on irrelevant models that are hard to tell apart.
# - {cite:t}`efron1993bootstrap`, {cite:t}`newcombe2006auc` and {cite:t}`newcombe1998difference` for the intervals.

# %%
Markdown(provenance_line(run))
