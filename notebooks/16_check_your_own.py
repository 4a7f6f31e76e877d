# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Check your own model
#
# ## The answer in short
#
# With {glue:text}`n_siblings` retrainings of its own model and {glue:text}`n_controls` control models, the owner of this zoo's
# source gets the verdict *{glue:text}`stolen_verdict`* on an extracted model (p = {glue:text}`stolen_p`). On a student of
# somebody else it is *{glue:text}`innocent_verdict`* (p = {glue:text}`innocent_p`). Both are from {glue:text}`shows` on
# {glue:text}`probes` probes. The same comparison finds {glue:text}`found` of {glue:text}`rehearsed` rehearsed thefts, and accuses
# {glue:text}`accused` of {glue:text}`pairs` pairs of a member and an innocent control. An owner who cannot retrain has a weaker
# test. {glue:text}`rank_answer`
#
# ```{admonition} What you will do
# :class: tip
# Turn a source and its siblings into a *fingerprint folder*, ask suspects, judge two of them, write the report, and read what
# it promises and what it does not. Then see how the simple comparison for owners without siblings errs.
#
# **You learn** what an owner needs, the three commands that do it all, which assumption carries the verdict, and how an
# owner could cheat.
#
# **You need** {doc}`08_sample_correlation` and {doc}`10_results`. The first cell says which models it has to train.
# ```
#
# ## The claim under test
#
# A model owner has one suspect and no group of strangers that anybody would call representative. But the owner has a lottery
# of its own: the **seed**. The same script and data with other seeds give *siblings* of the source. If a suspect was made
# without the source, then it knows nothing of which seed the source had:
#
# > Given such a suspect, whatever its data, style or teacher, the source and its siblings are exchangeable.
#
# So the source is compared with its siblings, not the suspect with strangers. Probes are the images on whose labels the
# members (source and siblings) differ most, the source being one member among all. Each member gets a score, the mean
# log-probability that it gives to the suspect's answers; what *any* suspect would lead one to expect is estimated on
# *control* models, in which no member took part, and subtracted. From the residuals come
#
# - $p_\text{siblings}$, Student-t: is the source's residual too large among those of its siblings? Beside it stands the rank of
#   the source, which needs no assumption on the shape, and cannot be smaller than $1/(k+1)$ with $k$ siblings;
# - $p_\text{controls}$: is the source's residual for this suspect too large among its residuals for the controls?
#
# The verdict is *derivation* if **both** are at most $\alpha$. Retrained copies of one's own run as the lottery of a test are
# known from language models; here they are carried over to image classifiers that show labels only.
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
count = 1000  # 100 to 4000: number of probes of the sibling test
shows = "labels"  # one of labels, top-k, probabilities: what the suspect shows
alpha = 0.01  # 0.001 to 0.5: level of the sibling test
rank_kind = "source"  # one of normal, source, m, jc: probes of the simple comparison

# %% tags=["hide-input"]
import json
import tempfile
from pathlib import Path

import pandas as pd
from IPython.display import Markdown

from sacheck import answers, calibration, case, fingerprint, report
from sacheck.images import Pool
from sacutils import figures, steps
from sacutils.files import megabytes
from sacutils.profiles import Probes
from sacutils.run import open_run, provenance_line

run = open_run(profile, overrides)
figures.use_style()
source, siblings = run.zoo.source, run.names("sibling")
controls = run.names(*steps.CONTROLS)
thefts = {name: run.zoo.specs[name].parent for name in run.names("student_of_sibling")}
stolen, innocent = run.names("extract_label")[0], run.names("student_of_stranger")[0]
copies = [name for name in steps.SAME_CLASSES if steps.STEPS[name].make in ("finetuned", "pruned")]
copies = run.names(*(name for name in copies if not name.startswith("chain")))
extracted = run.names(*steps.EXTRACTION)
strangers = run.names(*(name for name in steps.INDEPENDENT if name != "sibling"))
run.announce(source, *siblings, *controls, *thefts, *copies, *extracted, *strangers)

# %% [markdown]
# ## A fingerprint, and a date
#
# The folder holds the probes, mixed with plain *anchor* images; a manifest with the answers of all members and the SHA-256 of
# every file; and a **commitment**, the SHA-256 of the manifest, which reveals nothing. Whoever later gets the folder can check
# that nothing was changed after the commitment was published. Keep the folder secret: siblings help a thief to hide.
#
# Candidates are the images of the probe split and shifted or flipped views of them, at most one view of an image. This page takes
# at most one probe for four images; the command takes as many as it is asked for, or refuses.

# %%
split = run.material.splits["probe"].to("cpu")
pool = Pool(split, run.material.class_names, f"probe split of {run.profile.data.name}")
folder = tempfile.TemporaryDirectory()


def make(kind, number, *models):
    """A fingerprint folder from models of the zoo; the commands do the same from files."""
    owned = [calibration.owned(run, name) for name in (source, *models)]
    target, settings = Path(folder.name) / kind, Probes(count=number, second_count=4)
    return fingerprint.make(target, owned, pool, pool.class_names, kind, settings, run.profile.seed)


own = make("contested", min(count, len(split.labels) // 4), *siblings)
rows = ~own.is_anchor

# %% tags=["remove-cell"]
figures.say(probes=f"{rows.sum():,}", anchors=int(own.is_anchor.sum()), size=megabytes(own.folder))
figures.say(n_siblings=len(siblings), n_controls=len(controls), alpha=f"{alpha:g}")
figures.say(shows="the likeliest three classes" if shows == "top-k" else shows)

# %% [markdown]
# This one has {glue:text}`probes` probes and {glue:text}`anchors` anchors, {glue:text}`size` in all.
#
# A *stolen* model looks independent if rows got mixed up, if its classes have another order, or if images are prepared in
# another way. The anchors are images of which the source is surest, and any model of the task should agree with it there. A
# suspect that agrees no more often than chance allows is refused and not judged.
#
# ## Suspects, controls, rehearsals
#
# Three kinds of models are asked. The **suspects** are an Extract-L model, which is stolen, and a *student of a stranger*:
# it was extracted in the same way, from a model that is not the source. The **controls** are {glue:text}`n_controls` models in
# several styles: students of two further siblings that are no members, and models with true labels. The **pseudo-thefts** are
# students of siblings; each is judged with its own teacher as the source, and the share of them that is found is the power.


# %%
def ask(names, own):
    """Files of answers by the model's name, as `sacheck query` writes them."""
    target, paths = own.folder.parent / f"{own.manifest.kind}-answers", {}
    for name, given in calibration.ask(run, names, own.pixels).items():
        slug, origin = run.zoo.specs[name].slug, {"kind": "zoo", "model": name}
        paths[name] = target / f"{slug}.json"
        shown = answers.shown_as(given, shows)
        answers.write(paths[name], shown, own.commitment, slug, origin, fingerprint.TOOL)
    return paths


asked = ask([stolen, innocent, *controls, *thefts], own)
rehearsed = [f"{asked[name]}={run.zoo.specs[teacher].slug}" for name, teacher in thefts.items()]


def judge(name, **options):
    """The case of one suspect, as `sacheck verify` opens it."""
    known = [asked[control] for control in controls]
    given = {"control": known, "pseudo_theft": rehearsed, "alpha": alpha} | options
    return case.open_case(own.folder, asked[name], **given)


judged = {name: judge(name) for name in (stolen, innocent)}

# %% tags=["hide-input"]
lines = {calibration.label(run, name): case.facts(each) for name, each in judged.items()}
for each in lines.values():
    each.pop("commitment")
lines = pd.DataFrame(lines).reset_index(names="")
figures.table(lines, caption="Two cases side by side: a stolen model and an innocent one")

# %% tags=["remove-cell"]
first, second = judged[stolen].verdict, judged[innocent].verdict
figures.say(stolen_verdict=first.verdict, stolen_p=f"{first.p:.2g}")
figures.say(innocent_verdict=second.verdict, innocent_p=f"{second.p:.2g}")
figures.say(found=sum(first.found.values()), rehearsed=len(first.found), worst=first.worst)
figures.say(accused=first.accused, pairs=first.pairs, members=len(first.residuals))
figures.say(rank=round(first.rank_p * len(first.residuals)))
figures.say(floor=f"{1 / len(first.residuals):.3f}")
figures.say(higher=sum(value >= first.residuals["source"] for value in first.controls.values()))
figures.show("check_among", report.among(first))

# %% [markdown]
# :::{glue:figure} check_among
# :name: fig-check-among
# :alt: For the stolen model the source has rank {glue:text}`rank` of {glue:text}`members` members, and {glue:text}`higher` of {glue:text}`n_controls` controls lie as high.
#
# The stolen suspect. Upper row: how much better than expected each member explains its answers; the source ranks
# {glue:text}`rank` of {glue:text}`members`. Lower row: the same value of the source among its values for the
# {glue:text}`n_controls` controls, {glue:text}`higher` of which are at least as high.
# :::
#
# Read four lines together. *p* decides. *rank p* needs no assumption on the shape, but with {glue:text}`n_siblings` siblings it
# cannot be below {glue:text}`floor`. *power* is the share of rehearsed thefts that are found: where the comparison overlooks
# these, it may overlook a real one. *innocents accused* takes each control as a suspect against each member; with the
# unluckiest member {glue:text}`worst` of {glue:text}`n_controls` are accused. These pairs share members and controls, so their
# share is a check and no bound.
#
# ## The report
#
# The page that `sacheck verify --report` writes holds the figure above, the probes, what is assumed, how an owner could cheat,
# where every answer came from, and all hashes.

# %%
page = report.page(judged[stolen])
kept = json.dumps(case.record(judged[stolen]))
print(f"{len(page) / 1e6:.1f} MB of HTML, {len(kept) / 1e3:.0f} kB of JSON")

# %% [markdown]
# ## What it does not show
#
# - **Not theft, and no direction.** It rejects "made without this training run". A licensed copy depends on it as well, and so
#   does the source itself on a model that *it* was distilled from. Rights and dates must come from elsewhere.
# - **Seed grinding.** An accuser who knows the suspect trains a thousand models and calls the nearest one the source.
# - **Weakened or dropped siblings.** Siblings that are trained worse, or left out where they come close, make the source stand
#   out.
# - **Back-dated distillation.** An accuser distils the suspect and calls the student the source; `p_siblings` alone often
#   agrees {cite:p}`falseclaims2024`.
# - **A source that was the best of several trainings** needs siblings that were chosen in the same way.
# - **The test is right on average over owners, and not for each one.** So there is a second p-value, and the table has the
#   unluckiest member.
# - **A thief can hide**, for example by asking about each image once or by mixing in models of its own. Then fewer thefts are
#   found, and no more innocents accused.
#
# A judge can demand a time-stamped commitment to script, hash of the data and source from *before* the suspect was known, and siblings' seeds from public randomness that was drawn later. A judge can also rerun some trainings. The hash of the fingerprint covers the members' weights, the probes and the answers; publish the hashes of script and data beside it.
#
# ## Without siblings: the simple comparison, and how it errs
#
# An owner who cannot retrain can rank the suspect's {term}`correlation distance` $d$ among those of $n$ independent models,
#
# $$p = \frac{1 + \#\{i : d_i \le d\}}{n + 1}.$$
#
# This assumes that an innocent suspect is *like the independent models*, which no formula checks. Fewer than 19 of them never
# allow a verdict at 0.05. The table judges stolen models by all independent models of this zoo but the siblings, and each
# independent model by those of the other groups, because a real suspect may be of a kind that nobody thought of.

# %%
simple = make(rank_kind, min(run.profile.probes.count, 100))
everybody = [*copies, *extracted, *strangers]
shown = {
    name: answers.shown_as(given, shows)
    for name, given in calibration.ask(run, everybody, simple.pixels).items()
}
groups = {name: calibration.label(run, name) for name in everybody}
independent = {name: shown[name] for name in strangers}
errors = calibration.rank_errors(simple.answers, shown, independent, groups, ~simple.is_anchor)

# %% tags=["hide-input"]
decides = errors["not_decidable"] < errors["models"]  # a share of no verdicts says nothing
table = errors.assign(accused=errors["accused"].map(str).where(decides, "–"))
figures.table(table.rename(columns={"judged_by": "judged by", "accused": "accused or found",
                                    "no_evidence": "no evidence", "not_decidable": "not decidable"}), caption="The simple comparison: how often it errs")  # fmt: skip


# %% tags=["remove-cell"]
def count_found(names):
    """How many of some models the simple comparison accuses, of how many."""
    part = errors[errors["group"].isin({groups[name] for name in names})]
    number = sum(
        round(share.value * n) for share, n in zip(part["accused"], part["models"], strict=True)
    )
    return f"{number} of {part['models'].sum()}"


if errors["not_decidable"].sum() == errors["models"].sum():
    answer = f"With the {len(strangers)} independent models here it decides nothing: 19 are needed."
else:
    answer = f"It finds {count_found(copies)} copies of the source's weights and "
    answer += f"{count_found(extracted)} extracted models, and accuses {count_found(strangers)} independent models."  # fmt: skip
figures.say(rank_answer=answer)

# %% [markdown]
# At the level 0.05: {glue:text}`rank_answer` Shares have Wilson's 95 % interval. Where it says *no evidence*, ask what it finds: `--pseudo-theft` takes models that you derived from your own, and the verdict on the suspect does not depend on them.
#
# ## The same for your own model
#
# ```bash
# # once, and early: make the folder, publish the commitment that is printed
# sacheck fingerprint fp --model mine.safetensors --sibling siblings/ --architecture resnet18 \
#     --images held_out/
#
# # a suspect: a file, a service, or a table that somebody else made
# sacheck query fp --out suspect.json --model suspect.onnx
# sacheck query fp --out suspect.json --url https://example.org/predict --service service.yaml
# sacheck query fp --out suspect.json --table answers.csv
#
# # at least ten controls, and thefts that you rehearsed on a sibling
# sacheck query fp --out controls --model control_models/ --architecture resnet18
# sacheck query fp --out theft.json --model student_of_sibling_3.onnx
#
# sacheck verify fp suspect.json --control controls --pseudo-theft theft.json=sibling_3 \
#     --commitment HASH --report report.html
#
# # without siblings
# sacheck fingerprint simple --kind source --model mine.safetensors --architecture resnet18 --images held_out/
# sacheck query simple --out independent --model independent_models/ --architecture resnet18
# sacheck query simple --out simple_suspect.json --model suspect.onnx
# sacheck verify simple simple_suspect.json --independent independent
# ```
#
# The exit code of `verify` is 0 for *no evidence of derivation*, 3 for *derivation*, 4 for *not decidable*: too few siblings or controls. A whole example to copy and paste is in {doc}`/17_own_model`. A file from a stranger is read, and never executed.

# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. The simple comparison.** The suspect's distance is 0.11, those of nine independent models are 0.09, 0.11, 0.12 and six larger ones. Compute `p_simple`.
# %% tags=["solution"]
p_simple = (1 + 2) / (9 + 1)  # a tie counts against the accuser
# %% tags=["test"]
assert abs(p_simple - 0.3) < 1e-9
# %% [markdown] tags=["exercise"]
# **2. How many independent models?** How many does it need at least, `n_needed`, to give p = 0.05?
# %% tags=["solution"]
n_needed = 19
# %% tags=["test"]
assert n_needed == 19


# %% [markdown] tags=["exercise"]
# **3. The verdict.** Write `decide(p_siblings, p_controls, n_siblings, alpha)`: one of the three verdicts. There are enough controls, and twelve siblings are needed.
# %% tags=["solution"]
def decide(p_siblings, p_controls, n_siblings, alpha):
    if n_siblings < 12:
        return "not decidable"
    both = max(p_siblings, p_controls) <= alpha
    return "derivation" if both else "no evidence of derivation"


# %% tags=["test"]
assert decide(0.001, 0.005, 19, 0.01) == "derivation"
assert decide(0.001, 0.200, 19, 0.01) == "no evidence of derivation"
assert decide(0.001, 0.001, 11, 0.01) == "not decidable"
# %% [markdown] tags=["exercise"]
# **4. Accuse with the wrong owner.** Let a sibling be the accuser: is the student of the source found as one of the sibling's?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# `judge(innocent, pseudo_theft=[f"{asked[stolen]}={run.zoo.specs[siblings[0]].slug}"]).verdict.found` judges it with that sibling as the source. It learned nothing of that sibling's seed, so it should not be found.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`falseclaims2024` on false claims by an accuser; {cite:t}`fitprint2025` propose a defence.
# - {cite:t}`advtra2024` on independent models that share the owner's data and architecture, the hardest for every method.

# %%
folder.cleanup()
Markdown(provenance_line(run))
