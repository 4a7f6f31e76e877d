# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Attacks on the fingerprint
#
# ## The answer in short
#
# - **A service that hides.** {glue:text}`answer_1`
# - **A service that refuses or errs.** {glue:text}`answer_2`
# - **A thief who knows the test.** {glue:text}`answer_3`
# - **An accuser who lies.** {glue:text}`answer_4`
# - **One answer at a time.** {glue:text}`answer_5`
#
# ```{admonition} What you will do
# :class: tip
# Play the thief, then the accuser, then the court. **You learn** what it costs a thief to hide a {term}`fingerprint`, what it costs an innocent to be accused by somebody who cheats, and which
# rule of procedure stops which trick. **You need** {doc}`11_rivals` and {doc}`14_a_test_that_holds`. What needs new trainings or new answers is shown from {glue:text}`origin`, whose models may be trained anew ({doc}`/errata`).
# ```
#
# ## Five scores, one rule
#
# Five scores stand side by side: {term}`SAC-w` on probabilities, the same with the suspect's temperature matched to the source's, AKH (labels on the source's mistakes), agreement on contrast-chosen probes, and the {term}`sibling` test. The first two read probabilities, the others labels. Where labels are kept, SAC on raw logits stands beside, as in the released code.
#
# *The suspect's service* is disturbed, never the owner's models. The {term}`AUC` compares the disturbed {glue:text}`group` models with **all** innocents as they are. *Found* is the share of suspects that the level {glue:text}`level` accuses, *accused* the share of innocents who do the same as the thief. A distance is found if Student's t among the owner's {term}`controls <control>` that chose no probes, in this build {glue:text}`controls`, makes it that improbable. We found no published threshold for SAC or AKH, so this rule is ours ({doc}`/rules`). *Accuracy* is that of what the service still shows, on the test images; no answer counts as lost.
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
group = "Extract-L"  # one of Extract-L, Extract-P, Finetune-L, Pruning: stolen models behind the service

# %% tags=["hide-input"]
import math

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

from sacutils import correlation, evaluation, figures
from sacutils.run import open_run, provenance_line
from sacutils.studies import attacked, disputes, references, scores, services, tables, thieves
from sacutils.studies.tables import select

run = open_run(profile, overrides)
figures.use_style()
run.announce()
reference, known = references.for_run(run, table="attacks")
table = attacked.with_reference(attacked.table(run), known.get("attacks"))
table["setting"] = (table["family"] + " " + table["strength"]).where(table["strength"] != "", "as it is")  # fmt: skip
MAIN = list(scores.MAIN)

# %% tags=["hide-input", "remove-output"]
borrowed = table.loc[table["origin"] != "this run", "family"].nunique()
there = set(table["setting"]) | set(table["family"])
missing = ", ".join(name for name in attacked.EVERYTHING if name not in there) or "none"
figures.say(
    origin=f"the reference run {reference}" if borrowed else "this run",
    group=group, level=f"{scores.LEVEL:g}", controls=len(run.names(*scores.CALIBRATING)),
    **{f"answer_{i}": text for i, text in enumerate(attacked.sentences(table), 1)},
)  # fmt: skip
AUC = {"label": "AUC", "hue": "score", "limits": (0, 1), "guess": 0.5}
CURVES = {"y_label": "AUC", "band": False} | {key: AUC[key] for key in ("hue", "limits", "guess")}


def rows_of(families, chosen=MAIN, of=group):
    """Rows of the families there are, each with those of the undisturbed models in front of it."""
    rows = select(table, group=of, score=chosen)
    families = [name for name in families if name in set(rows["family"])] or [attacked.PLAIN]
    return pd.concat([attacked.beside(rows, [name]).assign(family=name) for name in families])


def against_accuracy(name, families, of=group):
    """A curve for each score: accuracy that is kept, and AUC."""
    rows = attacked.of_one_origin(rows_of(families, of=of)).assign(kept=lambda rows: (100 * rows["accuracy"]).round(1))  # fmt: skip
    style = CURVES | {"x_label": "accuracy of what is shown, %", "facet": "family"}
    figures.show(name, figures.curves(rows, "kept", "auc", **style))


def listed(families, caption, of=group, chosen=("SAC-w, matched", "AKH", "Sibling test")):
    """A table: what each setting costs and who is found or accused."""
    rows = []
    shown = attacked.beside(select(table, **({"group": of} if of else {})), families)
    by = ["origin", "family", "strength", "group"]
    for (origin, *key), part in shown.groupby(by, sort=False):
        row = {"setting": " ".join(key[:2]).strip() if key[1] else "as it is"}
        row |= ({} if of else {"attack": key[2]}) | {"from": origin}
        row |= {name: f"{part[name].iloc[0]:.3f}" for name in ("accuracy", "fidelity")}
        for one in select(part, score=list(chosen)).to_dict("records"):
            row[one["score"]] = f"{one['found']:.0%} / {one['accused']:.0%}"
        rows.append(row)
    return figures.table(pd.DataFrame(rows), caption=caption)


# %% [markdown]
# ## The service hides: labels are kept
#
# A service may divide its logits by a temperature, add a constant, round, name few classes, or add noise and keep the winner. No customer loses anything: the label stays. The trick by hand,
# on one student:

# %%
student = run.names("extract_label")[0]
mine, theirs = (run.answers(name, "w").double() for name in (student, run.zoo.source))
cold = mine / 2  # the service answers softmax(z / 2)
C = [correlation.cosine_matrix(z.softmax(1)) for z in (theirs, mine, cold)]
d = [correlation.distance(C[0], each) for each in C[1:]]
library = services.kept("temperature", {"w": mine}, 2, seed=0)["w"]
assert torch.equal(mine.argmax(1), library.labels)  # not a label has changed
assert torch.allclose(cold, library.logits)  # as in the library
print(f"distance to the source: {d[0]:.4f} before, {d[1]:.4f} after")

# %% tags=["hide-input", "remove-output"]
kept = rows_of(services.LABELS_KEPT, [scores.RAW, *MAIN[:2]]).drop_duplicates(["setting", "score"])
figures.show("attacks_kept", figures.points(kept, "auc", "setting", **AUC))
labels_only = rows_of(services.LABELS_KEPT, MAIN[2:]).groupby("score")["auc"].agg(np.ptp)
figures.say(moved=f"{labels_only.max():.2f}")

# %% [markdown]
# :::{glue:figure} attacks_kept
# :alt: AUC of SAC-w for services that change no label. Temperature moves it up or down, a single named class and noise bring it down; matching temperatures undoes the temperature only; on raw logits a mere constant does it.
#
# Every setting keeps all labels and so the whole accuracy. The scores that read labels move by {glue:text}`moved`.
# :::
#
# ## The service errs: random answers, or none
#
# {numref}`fig-attacks-answers` draws what is left of the detection over what is left of the accuracy. Each curve begins, at the right, with the undisturbed models.

# %% tags=["hide-input", "remove-output"]
against_accuracy("attacks_answers", list(services.LABELS_TOUCHED))

# %% [markdown]
# :::{glue:figure} attacks_answers
# :name: fig-attacks-answers
# :alt: AUC over accuracy for services that give random answers or abstain, one curve for each of five scores.
#
# Random answers for 5, 10 and 30 % of the images, and no answer for the most doubtful 10, 30 and 50 %. Here and below, each panel has a horizontal scale of its own.
# :::
#
# ## At the door: images changed, questions refused
#
# A door may smooth (blur), compress or coarsen each image. Or it refuses what looks shifted or mixed (a forest of trees learned the look from the thief's own images), or what lies near a *public*
# image, which all probes of the paper are.

# %% tags=["hide-input", "remove-output"]
doors = [*services.CHANGED_IMAGES, attacked.SHIFTED, attacked.PUBLIC]
against_accuracy("attacks_doors", doors)

# %% [markdown]
# :::{glue:figure} attacks_doors
# :alt: AUC over accuracy for doors that change images or refuse questions; refusing what lies near public images brings SAC and AKH to zero, and the sibling test keeps its AUC.
#
# Doors that refuse 1 and 10 % of honest questions and, where they were measured, blur of 0.5 and 1 pixel, JPEG of quality 50 and 10, 3 bits of grey and 1. A suspect that answers fewer than four
# probes of a score counts as farthest away.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Found and accused, by disturbance", "code_prompt_hide": "Found and accused, by disturbance"}
listed([*services.LABELS_TOUCHED, *doors], f"{group}: found / innocents accused who do the same")

# %% [markdown]
# ## The thief adapts
#
# Thieves of the zoo with other habits, or who go on after the theft, are in the fold.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Thieves of the zoo: found and accused", "code_prompt_hide": "Thieves of the zoo: found and accused"}
listed([attacked.HABIT, attacked.CHAIN], "Found / innocents accused", of=None)

# %% [markdown]
# Others know the test; they have the first of the architectures only. One takes SAC's own distance into the loss, with a minus, and one the score of the sibling test, with own models in the place of the siblings that only the owner
# has. The strength is the weight. Each curve begins with ordinary students of the same architectures.

# %% tags=["hide-input", "remove-output"]
against_accuracy("attacks_thieves", list(thieves.TRICKS), of="Extract-L")

# %% [markdown]
# :::{glue:figure} attacks_thieves
# :alt: AUC over accuracy for thieves that train against SAC, against the sibling test, or mix in own labels, one curve for each of five scores.
#
# Thieves who train against a score, and thieves who need the source less and less. Most scales are narrow.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Adaptive thieves in tables, with their price", "code_prompt_hide": "Adaptive thieves in tables, with their price"}
price = [
    {
        "trick": name, "asks for": "probabilities" if name in thieves.NEED_PROBABILITIES else "labels",
        "answers of the source": ", ".join(f"{n:,}" for n in sorted({thieves.queries(run, thieves.Thief(name, s, "")) for s in strengths})),
        "own models": len(thieves.own_models(run)) * (name in thieves.NEED_MODELS),
    }
    for name, strengths in thieves.TRICKS.items()
]  # fmt: skip

display(
    listed(list(thieves.TRICKS), "Adaptive thieves: found / accused", of="Extract-L"),
    figures.table(pd.DataFrame(price), caption="The price, beside one training of Extract-L"),
)

# %% [markdown]
# ## Innocents who share data
#
# An independent model on some of the owner's images is innocent of stealing the *model*. How guilty does it look? Against all other innocents its AUC reaches at most {glue:text}`shared_auc`.
# At the level {glue:text}`level`, of models on all of the owner's images, {glue:text}`shared_accused`.

# %% tags=["hide-input", "remove-output"]
shared = attacked.of_one_origin(rows_of([attacked.OVERLAP], of="Independent (overlap)"))
shared = shared.assign(share=100 * shared["strength"].astype(float))
figures.show("attacks_shared", figures.curves(shared, "share", "auc", x_label="owner's images, %", **CURVES))  # fmt: skip
told = [f"{one['score']} accuses {one['found'] * one['suspects']:.0f} of {one['suspects']:.0f}" for one in select(shared, share=100.0).to_dict("records")]  # fmt: skip
figures.say(shared_accused=", ".join(told), shared_auc=f"{shared['auc'].max():.2f}",
            shared_origin=shared["origin"].iloc[0].replace("reference", "the reference run"))  # fmt: skip
lied = rows_of([attacked.ACCUSER], [*MAIN, scores.UNGUARDED], of="Innocents")
figures.show("attacks_lies", figures.points(lied, "auc", "strength", **AUC))

# %% [markdown]
# ::::{dropdown} By the share of the owner's images
# :::{glue:figure} attacks_shared
# :alt: AUC of independent models against all other innocents by the share of the owner's images that they were trained on.
#
# Independent models that share images with the owner, against all other innocents, in {glue:text}`shared_origin`.
# :::
# ::::
#
# ## The accuser lies
#
# Now the suspects are innocents, and the AUC compares them with themselves under honest treatment: 0.50 is a lie without effect, 1.00 makes every innocent look guiltier than any was.
#
# :::{glue:figure} attacks_lies
# :alt: How guilty innocents look under each lie, by score; where the accuser chooses the probes after seeing the suspect, all scores from probabilities or labels are near one.
#
# Each lie moves the scores that it can reach. SAC and AKH take here the contested probes that the claimed source gets wrong.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Innocents accused, by lie", "code_prompt_hide": "Innocents accused, by lie"}
text = [f"{o['accused'] * o['innocents']:.0f} → {o['found'] * o['suspects']:.0f} of {o['suspects']:.0f}" for o in lied.to_dict("records")]  # fmt: skip
named = lied["strength"].where(lied["origin"] == "this run", lied["strength"] + " (reference)")
told = tables.wide(lied.assign(text=text, strength=named), "strength", "score")
figures.table(told.drop(columns="SAC-w"), caption="Innocents accused, honestly → with the lie")

# %% [markdown]
# ::::{dropdown} What stops each lie
# | lie | what stops it | what does not |
# |---|---|---|
# | probes chosen after seeing the suspect | probes committed before; fresh ones drawn by the judge | more probes of the accuser's; a small p-value |
# | suspect distilled, student called the source | a time stamp of the source before the suspect appeared | fresh probes; `p_siblings`, which does not know who was first; the guard by controls stops many such claims, not all |
# | siblings trained worse | a judge who runs the committed script again | rank and p-value, which trust the siblings |
# | the suspect leaked into the choice | a list of the models that chose, committed with the probes | a placebo without that suspect |
# | friendliest references kept | all siblings and controls counted, seeds from later public randomness | a larger pool to select from |
# ::::
#
# The student of the back-dated claim stands among ordinary siblings here, and its suspects are the teachers of the zoo's students: one stranger, and else siblings of the source. An accuser who makes the siblings by distillation too was not tried. Accusers with crafted evidence succeed against published schemes {cite:p}`falseclaims2024`; {cite:t}`fitprint2025` propose a fingerprint that is bound to a target beforehand.
#
# ## One answer at a time
#
# A judge who may stop early must not look at a fixed test again and again. The betting test draws the committed probes in random order and bets that the source explains the suspect's labels better than an innocent's {cite:p}`waudbysmith2024betting`. Half of the level pays for the bound on an innocent's mean, which Student's t takes from the controls, and half for the bets: who is like the controls is *ever* accused with a chance of at most {glue:text}`level`.

# %% tags=["hide-input", "remove-output"]
steps = select(table, family=attacked.ONE_BY_ONE, group="Extract-L")
curve = []
for one in steps.to_dict("records"):
    for what, who, n in (("found", "students", "suspects"), ("accused", "innocents", "innocents")):
        low, high = evaluation.proportion_interval(one[what], one[n])[1:]
        row = {"answers": int(one["strength"]), "series": f"{one['score']}, {who}"}
        curve.append(row | {"share": one[what], "low": low, "high": high})
style = CURVES | {"y_label": "share accused", "hue": "series", "guess": None, "log": "x"}
drawn = figures.curves(pd.DataFrame(curve), "answers", "share", x_label="answers", **style)
figures.show("attacks_sequence", drawn)

# %% [markdown]
# :::{glue:figure} attacks_sequence
# :alt: Share of Extract-L students and of innocents accused by the number of answers, for the betting test and for the fixed sibling test.
#
# Accused by then (betting test), or at that fixed number (sibling test). Intervals count models as independent.
# :::
#
# ## Thresholds travel badly
#
# A threshold that accuses at most 5 % of the innocents of one source is taken to another one.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Innocents accused away from home", "code_prompt_hide": "Innocents accused away from home"}
loaded = {name: references.load(name) for name in references.available()}
travelled = disputes.travel(loaded)
text = [f"{row['accused']:.0%} [{row['low']:.0%}, {row['high']:.0%}]; {row['found']:.0%}" for row in travelled.to_dict("records")]  # fmt: skip
travelled = travelled.assign(route=travelled["home"] + " → " + travelled["away"], text=text)
figures.table(tables.wide(travelled, "route", "score"), caption="Innocents accused away from home [90 % bounds]; Extract-L students found. The same run twice: its other sources")  # fmt: skip

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "The five answers in other reference runs, and what was not measured", "code_prompt_hide": "The five answers in other reference runs, and what was not measured"}
for name in sorted(loaded.keys() - {reference.split(",")[0]}):
    if "attacks" in loaded[name]:
        said = attacked.sentences(attacked.means(loaded[name]["attacks"]))
        heading = f"**{references.label(name, loaded[name], 'attacks')}**"
        display(Markdown("\n".join([heading, "", *(f"- {text}" for text in said)])))
display(Markdown(f"Settings that were measured neither here nor in {reference}: {missing}."))

# %% [markdown]
# Others saw the same: at a preset threshold SAC accused 25 %, 50 % and 13 % of the innocent models of three CIFAR-10 victims, and 63 %, 63 % and 50 % on Tiny-ImageNet {cite:p}`deepreg`.
#
# ## What to do
#
# | if you are | do | do not |
# |---|---|---|
# | the owner | commit source, script, siblings' seeds, controls and probes with a date before you look; read labels; keep unpublished images for probes; rehearse the test on your own thefts | tune probes or thresholds on the suspect; read probabilities without matching temperatures |
# | the accused | ask for the dates, for all siblings and controls, for a rerun of the script and for fresh probes; show your own training records | argue from accuracy or from the architecture; disturb your answers, which innocents need not |
# | the judge | draw the probes yourself from the committed pool; have siblings retrained; ask for the share of pseudo-thefts found; set the level before | accept a threshold from another zoo; take *no evidence* for innocence; stop when the number looks good |


# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. The temperature trick.** Write `softened(z, t)`: the probabilities softmax(z / t) for logits `z` of one image. They must sum to 1 and keep the label.
# %% tags=["solution"]
def softened(z, t):
    e = np.exp((np.asarray(z) - np.max(z)) / t)
    return e / e.sum()


# %% tags=["test"]
assert abs(softened([2.0, 0.0], 2).sum() - 1) < 1e-9
assert abs(softened([2.0, 0.0], 2)[0] - 1 / (1 + math.exp(-1))) < 1e-9

# %% [markdown] tags=["exercise"]
# **2. A leak.** The copies that choose probes are two students and, by mistake, an innocent that is judged later. Of 10,000 images they keep 100 on which all three repeat the source. The
# innocent repeats it elsewhere with chance 0.5. Which share does it repeat on the 100, and which on 100 fresh ones, on average? Give `on_chosen` and `on_fresh`.
# %% tags=["solution"]
on_chosen, on_fresh = 1.0, 0.5  # the choice made the agreement, and only a fresh choice shows it
# %% tags=["test"]
assert (on_chosen, on_fresh) == (1, 0.5)

# %% [markdown] tags=["exercise"]
# **3. A false claim.** You are accused with a p-value of 0.001 from the sibling test. The accuser shows a source, 19 siblings and a script, all without dates. Which lie fits, and what do you ask for?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# Back-dating fits: the claimed source may be a student of your model, which can explain your labels better than siblings do; the guard by controls does not always stop it. Ask for a time stamp of its weights from before your model was
# published, and for a rerun of the script: a student is not what the script makes. Worse siblings fit too; the rerun shows them.
# :::

# %% [markdown] tags=["exercise"]
# **4. The adaptive thief.** Which price does the thief of the quarrel penalty pay besides accuracy, and why can the penalty not be complete?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# It needs the source's probabilities and models of its own, so it could have used those instead. It does not have the owner's siblings: its own models quarrel with the source for other reasons too (their data), and what it learns to avoid is not the same as what tells the source from its siblings.
# :::

# %%
Markdown(provenance_line(run))
