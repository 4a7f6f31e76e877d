# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What reproduces, and what does not
#
# ```{admonition} What you will do
# :class: tip
# Put three things side by side that are never to be mixed up: what was published, *reference runs* with several sources that are kept in this repository, and
# the run that made these pages.
#
# **You learn** how much a result changes when another source is trained; which published statements come out again on our zoos, which do not, and what
# the measured difference is.
#
# **You need** {doc}`11_results` and {doc}`12_baselines`. Seconds: the references are small tables, nothing is trained.
# ```

# %% [markdown]
# ## The claim under test
#
# Every other page has one source. A published table usually has one too. So the claim here is
#
# > **The published AUCs are not a matter of that one source and that one zoo**: with other sources, other small networks and other data, the same fingerprint puts the
# > same attacks in the same order.
#
# Equality of numbers is neither expected nor needed: the zoos differ in data, networks and recipes. What could fail is *separation* (an AUC near 1 that is not
# near 1 here) and *order* (a method that is ahead there and behind here).

# %% [markdown]
# ## Parameters
#
# `form` is the output form of SAC in the tables below, `margin` the difference of two AUCs that counts as none.

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
form = "labels"
margin = 0.05

# %%
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from sacutils import baselines, lineage, plots, reference, summaries
from sacutils.profiles import ROOT
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()
published = pd.read_csv(ROOT / "results" / "published_auc.csv")
released = published[published["zoo"].str.contains("released with SAC")]
names = reference.available()
references = {name: reference.load(name) for name in names}
sources = {name: len(tables["zoo"]["seed"].unique()) for name, tables in references.items()}
EXTRACTION = ["extract_label", "extract_probability", "extract_adversarial"]
SAC_W, SAC_M = (("SAC-w", form, "cosine"), ("SAC-m", form, "cosine"))


def key_of(method):
    """The columns probes, form and measure of a baseline."""
    baseline = baselines.BASELINES[method]
    return method, baseline.form, baseline.measure


def published_of(method):
    """Published AUCs of a method on the zoo that was released with SAC, by attack."""
    return released[released["method"] == method].set_index("attack")["auc"].to_dict()


listed = ", ".join(f"`{name}` with {count} sources" for name, count in sources.items())
Markdown(
    f"References in this repository: {listed}."
    if names
    else "This repository holds no reference run yet, so the tables below show the published values and this run alone."
)

# %% [markdown]
# ## Three columns
#
# Each table has **published** values (from the comparison of ModelGiF {cite:p}`song2023modelgif` on the zoo released with SAC, which does not say whether its SAC is SAC-w or
# SAC-m), **references** (mean over sources with its 95 % interval; then the smallest and the largest source) and **this run** (one source, 95 % interval). All are against irrelevant
# models on attacker data.
#
# ### SAC-w

# %% tags=["hide-input"]
plots.table(reference.beside(run, published_of("SAC"), *SAC_W))

# %% [markdown]
# ### SAC-m

# %% tags=["hide-input"]
plots.table(reference.beside(run, published_of("SAC"), *SAC_M))

# %% [markdown]
# ### IPGuard, CAE and EWE

# %% tags=["hide-input"]
parts = []
for method in ("IPGuard", "CAE", "EWE"):
    part = reference.beside(run, published_of(method), *key_of(method))
    part.insert(0, "method", method)
    parts.append(part)
plots.table(pd.concat(parts, ignore_index=True).rename(columns=lambda name: name.replace("reference ", "")))

# %% [markdown]
# ## The spread over sources
#
# The models of one source are not independent of each other: they share it. How far an AUC moves when the source is exchanged is therefore seen in no interval of a single
# run.

# %% tags=["hide-input", "remove-output"]
rows = [
    reference.per_source(tables, *key, lineage.MAIN_NEGATIVES).assign(reference=name)
    for name, tables in references.items()
    for key in (SAC_W, SAC_M, key_of("AKH"), key_of("IPGuard"))
]
if rows:
    rows = pd.concat(rows, ignore_index=True)
else:
    shown = pd.concat(
        summaries.pick(run.all_auc, {"a": key}, run.profile.probes.count) for key in (SAC_W, SAC_M, key_of("AKH"))
    )
    rows = shown[shown["negatives"] == lineage.MAIN_NEGATIVES].assign(reference="this run", seed=run.profile.seed)
wanted = [lineage.LABELS[step] for step in ("prune", *EXTRACTION, "transfer_all", "transfer_last")]
fig = plots.sources(rows[rows["attack"].isin(wanted)])
glue("reproduces_sources", fig)
plt.close(fig)

# %% [markdown]
# :::{glue:figure} reproduces_sources
# :name: fig-reproduces-sources
# :alt: Panels, one for each attack and reference; in each a line per fingerprint with one dot for each source and a bar at their mean.
#
# AUC of each source, against irrelevant models on attacker data. A dot is a source, the black bar the mean; where fewer dots than sources can be seen, they coincide. IPGuard has
# no value where labels cannot be compared.
# :::

# %% tags=["hide-input"]
widest = []
for name, tables in references.items():
    for key in (SAC_W, SAC_M):
        part = reference.summary(tables, *key)
        part = part.assign(spread=part["largest"] - part["smallest"]).sort_values("spread").iloc[-1]
        widest.append(
            f"- `{name}`, {key[0]}: the attack whose AUC moves most between sources is {part['attack']}, from {part['smallest']:.2f} to "
            f"{part['largest']:.2f}."
        )
Markdown("\n".join(widest) or "Without a reference there is one source, and no spread.")

# %% [markdown]
# ## Against whom, and trained how
#
# The same stolen models, compared with three groups of irrelevant ones: trained on attacker data as the source was, on the *owner's* data, and on attacker data with the
# *students'* recipe ({doc}`13_ablations`). Mean over sources, then the smallest and the largest.

# %% tags=["hide-input"]
lines = []
for name, tables in references.items():
    part = tables["ablations"]
    part = part[(part["ablation"] == "negatives") & (part["series"] == f"SAC-w, {form}")]
    for (attack, setting), group in part.groupby(["attack", "setting"], sort=False):
        auc = group["auc"]
        value = f"{auc.mean():.2f}; {auc.min():.2f}–{auc.max():.2f}"
        lines.append({"reference": name, "attack": attack, "setting": setting, "value": value})
wide = pd.DataFrame(lines)
if len(wide):
    wide = wide.pivot_table(
        index=["reference", "attack"], columns="setting", values="value", aggfunc="first", sort=False
    ).reset_index()
plots.table(wide.fillna("–") if len(wide) else pd.DataFrame({"reference": ["none"]}))

# %% [markdown]
# ## Interpretation
#
# Each line is decided by the same rule: an AUC comes out again (**yes**) if the mean over sources is no more than 0.02 below the published one
# and no source more than 0.1 below; **higher** if the whole interval lies above it; **in part** if the
# published value lies in the interval or one source reaches it; **no** otherwise. A method is *ahead* if it is ahead on every source, and *on a par* if neither is and the mean difference is at
# most `margin`.

# %% tags=["hide-input"]
lines = []
for name, tables in references.items():
    quality = reference.quality(tables).set_index("step")
    steps = {lineage.LABELS[step]: step for step in lineage.ATTACKS}
    for method, key in {"SAC": SAC_W, **{method: key_of(method) for method in ("IPGuard", "CAE", "EWE")}}.items():
        values = published_of(method)
        for row in reference.summary(tables, *key).itertuples():
            if row.attack not in values:
                continue
            step = steps[row.attack]
            fidelity = quality["fidelity"].get(step)
            known = fidelity is not None and fidelity == fidelity
            reason = f"fidelity {fidelity:.2f}, irrelevant {quality['fidelity']['irrelevant']:.2f}" if known else "new labels"
            lines.append(
                {
                    "reference": name,
                    "claim": f"{method if method != 'SAC' else SAC_W[0]}, {row.attack}",
                    "published": values[row.attack],
                    "measured": reference.text(row),
                    "comes out": reference.reproduces(row, values[row.attack]),
                    "models": f"{row.n_stolen} / {row.n_irrelevant}",
                    "how near the models are": reason if method != "EWE" else "a source of its own",
                }
            )
judged = pd.DataFrame(
    lines, columns=["reference", "claim", "published", "measured", "comes out", "models", "how near the models are"]
)
plots.table(judged if len(judged) else pd.DataFrame({"reference": ["none"]}), {"published": "{:.2f}"})

# %% [markdown]
# *Models* are the stolen and irrelevant ones of one source; *fidelity* is the share of test images on which they give the source's label.
#
# ### Statements without a number

# %% tags=["hide-input"]


def ahead(tables, first, second):
    """Where one fingerprint is ahead of another on the extraction attacks, on every source."""
    part = reference.differences(tables, first, second, EXTRACTION)
    words = {"first": "ahead", "second": "behind"}
    return "; ".join(
        f"{row.attack} {words.get(row.verdict, 'on a par' if abs(row.difference) <= margin else 'mixed')} ({row.difference:+.2f}, {row.smallest:+.2f} to {row.largest:+.2f})"
        for row in part.itertuples()
    )


lines = []
for name, tables in references.items():
    for rival in ("IPGuard", "CAE", "EWE"):
        lines.append(
            (name, f"SAC is ahead of {rival} on extraction (published AUCs)", f"SAC-w: {ahead(tables, SAC_W, key_of(rival))}")
        )
    claim = "AKH is on a par with far more complex schemes (QuRD, abstract)"
    lines.append((name, claim, f"SAC-w minus AKH: {ahead(tables, SAC_W, key_of('AKH'))}"))
    same = ("SAC-source", form, "cosine")
    label = ("SAC-source", "labels", "label agreement")
    lines.append((name, "the same on the same queries", f"SAC-source minus label agreement: {ahead(tables, same, label)}"))
    lines.append(
        (name, "SAC-m needs no surrogates (abstract); is it as good?", f"SAC-m minus SAC-w: {ahead(tables, SAC_M, SAC_W)}")
    )
    shares = [
        f"{shown}: {int((part['auc'] < 0.5).sum())} of {len(part)}"
        for shown in ("logits", "probabilities", "labels")
        for part in [reference.per_source(tables, "SAC-w", shown, "cosine", lineage.MAIN_NEGATIVES)]
        for part in [part[part["attack"].isin([lineage.LABELS[step] for step in EXTRACTION])]]
    ]
    claim = "irrelevant models lie nearer to the source than extracted ones (MarginFinger's zoo): AUC below 0.50"
    lines.append((name, claim, "SAC-w, attacks x sources, " + "; ".join(shares)))
plots.table(pd.DataFrame(lines or [("none", "–", "–")], columns=["reference", "statement", "measured on every source"]))

# %% [markdown]
# ## Where the references come from

# %% tags=["hide-input"]
lines = []
for name in names:
    for seed, made in reference.provenance(name)["sources"].items():
        minutes = sum(made["seconds of training"].values()) / 60
        lines.append(
            {
                "reference": name,
                "seed": seed,
                "data": made["data"],
                "transfer target": made["transfer target"],
                "images (owner / attacker / probe / test)": " / ".join(
                    str(made["images"][part]) for part in ("owner", "attacker", "probe", "test")
                ),
                "models": made["models"],
                "core-minutes of training": f"{minutes:.0f}",
                "hardware": made["hardware"][0],
                "torch": made["versions"]["torch"],
                "finished": made["utc"][1][:10],
            }
        )
plots.table(pd.DataFrame(lines) if lines else pd.DataFrame({"reference": ["none"]}))

# %% [markdown]
# An ImageFolder of JPEG files is CIFAR-10 after a lossy compression: its images are not byte for byte those that torchvision downloads, and a result on it is a result on
# images that have been compressed once. The tables lie in `results/`, with the numbers of the probe images, SHA-256 sums and every recorded version; a test recomputes each AUC from the
# committed distances.
#
# ## What it means
#
# - **Read the columns apart.** Published, reference and own run are three experiments. That two agree says something; that two differ says nothing about which is wrong.
# - **One source is one draw.** Where the dots of the figure lie apart, no interval of a single run would have told.
# - **A perfect AUC is cheap where the models are near.** Fine-tuned and lightly pruned models keep almost all answers of the source; every fingerprint finds them.
# - **Negatives decide.** The same stolen models are told apart or not, depending on what the irrelevant ones were trained on and how.
# - **Three or five sources are few.** The extremes over so few are not bounds.
#
# ## On your own
#
# **1. Add a source.** Run another seed and add it to a reference. Does any line of the interpretation change?
#
# :::{dropdown} Solution
# ```bash
# make book SEED=5
# .venv/bin/python -m sacutils.workflow reference 5
# ```
# Sources that are in the reference stay in it; build the book again to see the lines. With `git checkout results` you are back.
# :::
#
# **2. Is the mean over sources the right summary?** Compute, for each attack, the AUC of all models of all sources pooled, and compare it with the mean of the AUCs.
#
# :::{dropdown} Solution
# ```python
# from sacutils import evaluation
#
# tables = references[names[0]]
# part = reference.select(tables["distances"], probes="SAC-w", form=form, measure="cosine")
# part = part[part["n_probes"] == part["n_probes"].max()]
# for attack in EXTRACTION:
#     groups = [part.loc[part["step"] == step, "distance"].to_numpy() for step in (attack, "irrelevant")]
#     print(attack, evaluation.auc(*groups, 2000, 0), reference.over_sources(part, attack, "attacker data")["auc"])
# ```
# Pooling compares a stolen model of one source with an irrelevant one of another, whose distances have another scale. It is lower where the scales differ, and it
# answers a question that nobody asked: an owner has one source.
# :::
#
# ## Further reading
#
# - {cite:t}`song2023modelgif` for the published table, {cite:t}`marginfinger2024` for a zoo on which it comes out the other way.
# - {cite:t}`godinot2025qurd` on how much of a fingerprint's success is due to its queries alone.

# %%
Markdown(provenance_line(run))
