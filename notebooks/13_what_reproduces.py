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
# ## The answer in short
#
# This page's ledger has {glue:text}`n_claims` published claims. Over the reference run ({glue:text}`lead`) it says *reproduces* {glue:text}`n_reproduces`, *in part* {glue:text}`n_in_part`,
# *does not* {glue:text}`n_does_not` and *compatible, not shown* {glue:text}`n_open` times. {glue:text}`n_built` of those that reproduce could not fail (SAC-m is given no other models). By the rules of {doc}`../rules` a published AUC reproduces only where the whole interval lies
# within {glue:text}`margin` of it. That SAC-w has its published AUCs on other zoos too **{glue:text}`verdict`**. From probabilities, another source of the same kind moves the AUC of
# one probe set on one attack by up to {glue:text}`widest`; from labels or logits it may be more.
#
# ```{admonition} What you will do
# :class: tip
# Put three things side by side: what others published, runs with several sources that lie in this repository, and your own run where it is full. Decide by a rule what reproduces.
#
# **You learn** how far an {term}`AUC` moves with the source, and how to hold a printed number against an interval.
#
# **You need** {doc}`10_results` to {doc}`12_what_it_depends_on`.
# ```
#
# ## The claim under test
#
# {cite:t}`song2023modelgif` print an AUC of SAC {cite:p}`guan2022sac` for nine attacks, measured on the CIFAR-10 models released with SAC. They do not say whether SAC-w or SAC-m was
# measured. The claim:
#
# > **SAC-w on probabilities has these AUCs on other zoos too:** for each attack the whole 95 % interval over several sources lies within {glue:text}`margin` of the published value.
#
# These are other zoos, with small networks, fewer images and recipes of our own. Nobody expects *equal* values, and the margin allows for that.
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
margin = 0.1  # 0 to 0.5: two AUCs that differ by no more count as level; registered is 0.1

# %% tags=["hide-input"]
import math

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from sacutils import evaluation, figures
from sacutils.probes import PUBLISHED
from sacutils.run import open_run, provenance_line
from sacutils.steps import EXTRACTION, LABELS, MAIN_NEGATIVES
from sacutils.studies import claims, comparison, references, tables

run = open_run(profile, overrides)
figures.use_style()
names = sorted(references.available(), key=lambda name: (name != references.DEFAULT, name))
loaded = {name: references.load(name) for name in names}
columns = {references.label(name, data): data for name, data in loaded.items()}
lead = next(iter(columns))  # the reference of the answer in short
if run.profile.full:  # only such a run has all that the claims need
    run.announce()
    columns["this run, 1 source"] = comparison.tables_of(run)
published = claims.published()
judged = {label: claims.claims(data, margin) for label, data in columns.items()}

# %% tags=["remove-cell"]
figures.say(shown="; ".join(columns), lead=lead, margin=f"{margin:.2f}")

# %% [markdown]
# ## What a reference is
#
# A {term}`reference run` is a whole run of a profile, from data to tables, repeated with several seeds. Each seed gives another source, other splits of the same images, and other stolen and independent
# models. This page shows {glue:text}`shown`. The tables of a reference lie in `results/<profile>/` with a column `seed`, beside the numbers of the probe images and the provenance of
# each source. A test of the repository computes every AUC again from the distances. {doc}`../18_scaling` says how to make the models again and how to add a source.

# %% tags=["hide-cell"]
facts = pd.DataFrame({name: references.facts(name) for name in loaded})
figures.table(facts.rename_axis("what").reset_index(), caption="The reference runs")

# %% [markdown]
# Where the line *compression* of the fold says JPEG, *every* network saw compressed images and SAC-JC compresses a second time. The times were taken while other jobs ran.
#
# ## Published, references, your own run
#
# The table has the AUC of SAC-w on probabilities against independent models on attacker data. **Published** is one zoo with one source, without an interval. A **reference** has the
# mean over its sources with a 95 % interval, then the smallest and the largest source. *This run*, where it is full, is one source.

# %% tags=["hide-input"]
SAC_M = ("SAC-m", "probabilities", "cosine")


def beside(title, key, stated):
    """A fingerprint's published AUCs, and those over the sources of each reference or run."""
    found = {"published": {attack: f"{value:.2f}" for attack, value in stated.items()}}
    for label, data in columns.items():
        if own := key if isinstance(key, tuple) else tables.rivals(data).get(key):
            rows = tables.summary(data, *own).iterrows()
            found[label] = {row["attack"]: tables.text(row) for _, row in rows}
    frame = pd.DataFrame(found).reindex(LABELS.values()).dropna(subset="published").fillna("–")
    caption = f"{title}: AUC, published and measured"
    return figures.table(frame.rename_axis("attack").reset_index(), caption=caption)


beside("SAC-w", tables.SAC_W, published["SAC"])

# %% [markdown]
# The interval counts *units* and not models: eight students in four architectures are worth {glue:text}`units`, because students of one architecture are alike. Over several sources it
# is never narrower than Student's t interval of the sources' AUCs. It does not shrink to a point where every source is separated perfectly {cite:p}`newcombe2006auc`.
#
# The fold has SAC-w on labels, SAC-m, the three rivals with published values, and the values that {cite:t}`marginfinger2024` measured on Tiny-ImageNet models of their own. EWE protects a
# watermarked source of its own, and its stolen models are fewer.

# %% tags=["hide-cell"]
tiny = claims.published("Tiny-ImageNet")
for title, key, stated in (
    ("SAC-w, labels", ("SAC-w", "labels", "cosine"), published["SAC"]),
    ("SAC-m, probabilities", SAC_M, published["SAC"]),
    *((rival, rival, published[rival]) for rival in ("IPGuard", "CAE", "EWE")),
    ("SAC-w, published values of Tiny-ImageNet models", tables.SAC_W, tiny["SAC-w"]),
    ("SAC-m, published values of Tiny-ImageNet models", SAC_M, tiny["SAC-m"]),
):
    display(beside(title, key, stated))

# %% [markdown]
# ## The spread over sources
#
# The intervals of other pages are about the models of *one* source. How would another source fare?

# %% tags=["hide-input", "remove-output"]
means, single = [], []
for label, data in columns.items():
    for name in PUBLISHED.values():
        key = (name, "probabilities", "cosine")
        means.append(tables.summary(data, *key).assign(run=label.split(",")[0]))
        main = tables.select(data["auc"], negatives=MAIN_NEGATIVES)
        single.append(tables.fingerprint(main, *key).assign(run=label.split(",")[0]))
means, single = pd.concat(means, ignore_index=True), pd.concat(single, ignore_index=True)
hard = [LABELS[step] for step in ("prune", *EXTRACTION)]
look = {"label": "AUC", "facet": "attack", "row": "run", "limits": (0, 1), "guess": 0.5}
means_hard, dots = (tables.select(part, attack=hard) for part in (means, single))
dots = dots.drop(columns=["low", "high"])
figure = figures.points(means_hard, "auc", "probes", dots=dots, columns=4, **look)
figures.show("reproduces_sources", figure)
spread = means.set_index(["run", "probes", "attack"]).query("sources > 1")
spread["range"] = spread["largest"] - spread["smallest"]
top = spread.loc[spread["range"].idxmax()]
figures.say(n_wider=int((spread["range"] > margin).sum()), n_cells=len(spread))
figures.say(units=f"{evaluation.units(np.repeat(range(4), 2)):.1f}")
figures.say(widest=f"{top['range']:.2f} ({top.name[1]} on {top.name[2]}, {top.name[0]})")

# %% [markdown]
# :::{glue:figure} reproduces_sources
# :name: fig-reproduces-sources
# :alt: The sources of a reference scatter around their mean; the range over sources exceeds {glue:text}`margin` in {glue:text}`n_wider` of {glue:text}`n_cells` cells.
#
# AUC on probabilities, against models on attacker data, of {glue:text}`shown`. A dot is a source; the mark with its bar is the mean over the sources with its 95 % interval. The vertical line is guessing. The sources
# scatter least where the mean is near zero or one.
# :::
#
# Over all five probe sets and all attacks, the range over sources is larger than the margin of {glue:text}`margin` in {glue:text}`n_wider` of {glue:text}`n_cells` cells. A measurement of
# such a cell with one source may give either end.
#
# ## One choice changed
#
# {doc}`12_what_it_depends_on` varies one choice at a time. Here are some of its choices over all sources. Raw logits are the form of the released code. A student of the *fewest epochs*
# learned little and is no copy, so an AUC that falls there is no fault of the test.

# %% tags=["hide-input", "remove-output"]
parts = []
for label, data in columns.items():
    for step in EXTRACTION:
        usual = tables.select(tables.summary(data, *tables.SAC_W), attack=LABELS[step])
        rows = pd.concat([usual.assign(choice="as claimed"), claims.alternatives(data, step)])
        parts.append(rows.assign(attack=LABELS[step], run=label.split(",")[0]))
rows = pd.concat(parts, ignore_index=True)
rows["choice"] = rows["choice"].str.replace(r" \(\d+\)", "", regex=True)
figures.show("reproduces_choices", figures.points(rows, "auc", "choice", **look))

# %% [markdown]
# ::::{dropdown} AUC with one choice changed
# :::{glue:figure} reproduces_choices
# :name: fig-reproduces-choices
# :alt: In most panels at least one changed choice, above all other independent models or other probes, moves the AUC far from that of the claim.
#
# AUC with 95 % interval of SAC-w on probabilities as claimed, and with one choice changed, for {glue:text}`shown`. Compare each mark with the first one of its panel. The intervals of *students' recipe* and *fewest epochs* are means of the sources' intervals.
# :::
# ::::

# %% [markdown]
# ## The rules
#
# {doc}`../rules` has them with their date, and `sacutils.studies.claims` has them as code. They were written before the reference runs with one augmentation for everybody, and after those
# that had no such setting. For the latter they are not registered.
#
# :::{table} The words of the ledger
# | word | rule for a cell with a published AUC |
# |---|---|
# | reproduces | the whole interval lies within {glue:text}`margin` of the published value |
# | does not | the whole interval lies outside that margin |
# | compatible, not shown | otherwise: the data allow both |
# :::
#
# A claim on several cells *reproduces* if all do. If a cell does not, the claim holds *in part* where at least half of the cells reproduce, and otherwise *does not*. In all other cases it is *compatible, not shown*. Easy attacks (fine-tuning, pruning) and hard ones (extraction, transfer) are claims apart.
#
# :::{dropdown} The rules for the other kinds of claims
# - *A is better than B* is asked where the published AUC of A is higher. A cell reproduces if the interval of the difference lies above 0, and does not if it lies below
#   {glue:text}`margin`: level or worse.
# - *AKH is level* with each other method: the interval of the difference lies within {glue:text}`margin` of 0. It does not if the interval lies outside, on either side.
# - *Independent models are nearer*: the interval of the AUC lies below 0.50, on three extraction attacks in three output forms, for SAC-w and for SAC-m.
# - Each of these claims makes several comparisons, and one of them may succeed by chance. So they share their error by Holm's rule {cite:p}`holm1979`; the tables show 95 % intervals.
# - *SAC-m needs no other models*: its costs show none.
# - A claim on the *order* of attacks is no longer made. Knowing only that extraction is harder than the rest gives nearly the same share of right pairs.
# :::

# %% [markdown]
# ## The ledger

# %%
ledgers = {label: claims.ledger(rows).set_index("claim") for label, rows in judged.items()}
words = pd.DataFrame({label: rows["verdict"] for label, rows in ledgers.items()})
words = words.reindex(next(iter(ledgers.values())).index).fillna("not measured")
figures.table(words.rename_axis("claim").reset_index(), caption="The ledger: verdict by claim")

# %% [markdown]
# The next table has the claims on SAC and on single rivals whose verdict turns when one choice is changed. Such a choice goes along with a verdict; it does not prove its cause.

# %%
parts = [rows.reset_index().assign(column=label) for label, rows in ledgers.items()]
turned = pd.concat(parts, ignore_index=True).query("because != ''")
turned = turned.sort_values("claim", key=lambda names: names.map(words.index.get_loc))
turned = turned[["claim", "column", "because"]].rename(columns={"because": "would become"})
figures.table(turned, caption="Choices that would turn a verdict")

# %% [markdown]
# The fold has every cell behind these words, with the published and the measured value, its interval, and the range of the sources. A cell of a comparison is a difference of two AUCs.


# %% tags=["hide-cell"]
def measured(row):
    if row["rule"] in ("better", "level"):
        return tables.signed(row)
    known = row["rule"] != "none needed"
    return tables.text({**row, "auc": row["value"]}) if known else f"{row['value']:.0f}"


for label, rows in judged.items():
    stated = rows["published"].map("{:.2f}".format).replace("nan", "–")
    cells = rows.assign(measured=rows.apply(measured, axis=1), published=stated)
    cells = cells[["cell_verdict", "claim", "cell", "published", "measured"]]
    cells = cells.rename(columns={"cell_verdict": "verdict"})
    display(figures.table(cells, caption=f"Every comparison of the ledger: {label}"))

# %% tags=["remove-cell"]
count, n_verdicts = words[lead].value_counts(), int((words != "not measured").sum().sum())
names = {"n_reproduces": claims.REPRODUCES, "n_in_part": claims.IN_PART}
names |= {"n_does_not": claims.DOES_NOT, "n_open": claims.COMPATIBLE}
figures.say(**{name: int(count.get(word, 0)) for name, word in names.items()})
sac = words.loc[[f"SAC on {name}" for name in claims.CLAIMED]]
holds = (sac == claims.REPRODUCES).all()
figures.say(verdict=f"is shown in {holds.sum()} of {len(holds)} runs")
n_held, n_alike = (sac == claims.REPRODUCES).sum().sum(), (words.nunique(axis=1) == 1).sum()
figures.say(n_held=int(n_held), n_alike=int(n_alike), n_lines=int(sac.size))
built = tables.select(ledgers[lead].reset_index(), rule="none needed", verdict=claims.REPRODUCES)
figures.say(n_claims=len(words), n_verdicts=n_verdicts, n_built=len(built))
stated = tables.select(pd.concat(judged.values()), rule="published AUC")
count = stated["cell_verdict"].value_counts()
figures.say(n_stated=len(stated), n_right=int(count.get(claims.REPRODUCES, 0)))
perfect = tables.select(stated, cell_verdict=claims.COMPATIBLE, value=1.0, published=1.0)
figures.say(n_wrong=int(count.get(claims.DOES_NOT, 0)), n_perfect=len(perfect))

# %% [markdown]
# Sources of the claims: the values of SAC, IPGuard, CAE and EWE are those of ModelGiF's table {cite:p}`song2023modelgif`. That SAC-m needs neither surrogates nor adversarial examples is
# read in the abstract of the paper {cite:p}`guan2022sac`, that AKH performs on a par with far more complex schemes in that of QuRD {cite:p}`godinot2025qurd`, and that independent models
# lie nearer to the source than extracted ones in the code release of MarginFinger {cite:p}`marginfinger2024`.
#
# ## The verdict on the claim
#
# The claim **{glue:text}`verdict`**: of its {glue:text}`n_lines` lines, six for each run, {glue:text}`n_held` reproduce. All claims and runs together have {glue:text}`n_verdicts` verdicts, and the runs
# agree on {glue:text}`n_alike` of {glue:text}`n_claims` claims.
#
# **How strong are the words?** Of {glue:text}`n_stated` cells with a published AUC, {glue:text}`n_right` reproduce, {glue:text}`n_wrong` do not, and the rest is open. Among the open ones are
# {glue:text}`n_perfect` in which the published and the measured value are both 1.00: the few models and sources leave an interval that is wider than the margin. Few models make a claim
# *harder* to reproduce, and harder to refute.
#
# ## What it means
#
# - **Look at the spread first.** An interval over the models of one source does not cover other sources. A claim on a method needs several, and these few say little about the worst.
# - **A miss is not a refutation.** The zoos differ in data, size of networks and images, recipes and queries, besides the choices listed above. A miss says that the claim needs a condition.
# - **Open is not wrong.** *Compatible, not shown* asks for more sources; it is no evidence either way.
# - **Many verdicts, some chance.** At 95 % an interval misses now and then. The margin is a choice too: `make notebook NAME=13_what_reproduces ARGS="-p margin 0.05"` takes another one.


# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. The rule.** Write `word_for(low, high, published, limit)` for a cell with a published AUC. It returns one of the three words of the table above.
# %% tags=["solution"]
def word_for(low, high, published, limit):
    if published - limit <= low and high <= published + limit:
        return "reproduces"
    if high < published - limit or low > published + limit:
        return "does not"
    return "compatible, not shown"


# %% tags=["test"]
assert word_for(0.90, 1.00, 0.95, 0.1) == "reproduces"
assert word_for(0.40, 0.60, 0.95, 0.1) == "does not"
assert word_for(0.70, 0.97, 0.95, 0.1) == "compatible, not shown"
# %% [markdown] tags=["exercise"]
# **2. Over five sources.** Their AUCs are 0.80, 0.85, 0.90, 0.75 and 0.95. Half of Student's 95 % interval of the mean is 2.776 standard errors wide. Compute `half_width`.
# %% tags=["solution"]
half_width = 2.776 * np.std([0.80, 0.85, 0.90, 0.75, 0.95], ddof=1) / math.sqrt(5)
# %% tags=["test"]
assert abs(half_width - 0.0981) < 1e-3


# %% [markdown] tags=["exercise"]
# **3. Holm's rule.** Sort the p-values. The smallest has to be at most $0.05/m$, the next at most $0.05/(m - 1)$, and so on; stop at the first that is not. Write `succeeds(p)`, the number that pass.
# %% tags=["solution"]
def succeeds(p):
    for passed, value in enumerate(sorted(p)):
        if value > 0.05 / (len(p) - passed):
            return passed
    return len(p)


# %% tags=["test"]
assert [succeeds(p) for p in ([0.02, 0.01, 0.04], [0.03, 0.04], [0.01, 0.04, 0.03])] == [3, 0, 1]
# %% [markdown] tags=["exercise"]
# **4. How many sources are enough?** Leave out one source of a reference at a time. How far do mean and interval of Extract-L move?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# ```python
# part = tables.fingerprint(next(iter(columns.values()))["distances"], *tables.SAC_W)
# for left_out in [None, *part["seed"].unique()]:
#     print(left_out, tables.text(tables.over_sources(part[part["seed"] != left_out], "extract_label")))
# ```
# If one source moves the mean by more than the interval is wide, more sources are needed rather than more models.
# :::

# %% [markdown]
# **Further reading.** {cite:t}`song2023modelgif` and {cite:t}`marginfinger2024` for the two published views of SAC; {cite:t}`advtra2024` on independent models that are hard to tell apart;
# {cite:t}`newcombe2006auc` and {cite:t}`newcombe1998difference` for the intervals, {cite:t}`holm1979` for several comparisons.

# %%
Markdown(provenance_line(run))
