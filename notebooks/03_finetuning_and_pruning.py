# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fine-tuning and pruning
#
# ## The answer in short
#
# Of {glue:text}`n_all` copies made from the source's weights, {glue:text}`n_useful` lose at most {glue:text}`tolerance` percentage points of its accuracy. {term}`Fidelity <fidelity>` is the
# share of test images on which a copy answers as the source does: on average {glue:text}`fidelity_all` for Finetune-A and {glue:text}`fidelity_last` for Finetune-L. The most heavily
# pruned copy, without {glue:text}`last_share` of the channels of the last convolution, has {glue:text}`last_fidelity`. The {glue:text}`n_rungs` pruned copies are **one chain**, because
# each was made from the one before. A copy gives the same label as the one before on {glue:text}`neighbours` of the test images.
#
# ```{admonition} What you will do
# :class: tip
# Steal the source by its weights and alter the copy: train it a little further (*Finetune-A*, *Finetune-L*), or silence a growing share of the channels of its
# last convolution and repair the rest (*Pruning*).
#
# **You learn** what exactly each attack changes; how to check that it changed just that; how much of the source survives, measured by {term}`accuracy` and {term}`fidelity`.
#
# **You need** {doc}`02_data_and_source` and batch normalisation; {glue:text}`needs`.
# ```
#
# ## The claim under test
#
# {cite:t}`song2023modelgif` print an {term}`AUC` of 1.00 for Finetune-A, Finetune-L and Pruning on the models released with SAC; they do not say which SAC variant it is. On models of
# their own, {cite:t}`marginfinger2024` have 1.00 for fine-tuning and 0.60 for pruning, with {term}`SAC-w` as with {term}`SAC-m` (read in their evaluation).
#
# Before an AUC can mean anything, these copies have to be worth stealing. So this page asks: **do they keep the accuracy of the source, and do they still answer as it does?**
# The AUC itself is in {doc}`10_results`.
#
# ```{admonition} Two things to know about the published number
# :class: warning
# Both were read in the released code. Every fine-tuned and pruned model there is a VGG16-BN, as the source is, and *no* independent CIFAR-10 model is: a detector of the architecture
# would score 1.00 on these rows. Of fifteen pruned checkpoints only the ten lightest enter the AUC. Here the source's architecture is among the independent models
# ({doc}`07_independent_models`), and the whole ladder counts.
# ```
#
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}
batch = 64  # 2 to 1000: images on which the loss is computed by hand
tolerance = 0.05  # 0 to 0.5: loss of accuracy up to which a copy counts as useful

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from sacutils import attacks, data, evaluation, figures, training
from sacutils.run import open_run, provenance_line
from sacutils.studies import suspects

run = open_run(profile, overrides)
run.announce("finetune_all", "finetune_last", "prune")
figures.use_style()

attacker, test = run.material.splits["attacker"], run.material.splits["test"]
source, accuracy = run.zoo.get(run.zoo.source), run.zoo.record(run.zoo.source)["test_accuracy"]
n_test = len(test.labels)

# %% tags=["remove-cell"]
figures.say(needs=suspects.needs(run, "finetune_all", "finetune_last", "prune"))
figures.say(source_accuracy=str(evaluation.proportion_interval(accuracy, n_test)))
figures.say(n_test=f"{n_test:,}")

# %% [markdown]
# ## Fine-tuning: the attack
#
# The thief has the weights $\theta_S$ and images of their own with true labels $y$. Start there, and go on training with a small learning rate $\eta$:
#
# $$
# \theta_0 = \theta_S, \qquad
# \theta_{t+1} = \theta_t - \eta \, \nabla_\theta \, \tfrac{1}{|B_t|} \sum_{i \in B_t} \mathrm{CE}\bigl(f_{\theta_t}(\tilde x_i), y_i\bigr)
# $$ (eq-finetune)
#
# (plus momentum and weight decay). *Finetune-A* updates **a**ll layers. *Finetune-L* updates the **l**ast block only: the `classifier`, which in VGG is a block of three linear layers
# (read in the released code, where it is called "last" all the same), or the only linear layer of a network that has just one. The rest keeps its weights *and* its batch statistics.

# %% tags=["hide-cell"]
released = {"lr": "0.0005", "epochs": "30", "batch": "512", "momentum": "0.9"}
released |= {"weight_decay": "0.0005", "schedule": "none", "pad": "4", "flip": "yes"}
figures.table(
    suspects.recipe_table(run, "finetune_all", "finetune_last", released=released),
    caption="Recipes of fine-tuning, here and in the released code",
)

# %% [markdown]
# ### The loss by hand
#
# The loss at the very start, on a batch of the thief's images, from its definition. It is the one that the library minimises:

# %%
x, y = data.to_float(attacker.pixels[:batch]), attacker.labels[:batch]
index = torch.arange(len(y))
with torch.no_grad():
    z = source(x)
    loss = (z.logsumexp(1) - z[index, y]).mean()
    library, _ = training.cross_entropy_to(attacker.labels)(source, x, index)
torch.testing.assert_close(loss, library)
print(f"{loss:.4f}, as in the library")

# %% [markdown]
# ### Stealing one model
#
# The name of a model is its history. This line loads the stolen model, or steals it now if it is not on disk:

# %%
name = run.names("finetune_all")[0]
suspect = run.zoo.get(name)
print(name)

# %% [markdown]
# ### What moved?
#
# Compare each layer's weights $w_T$ of a copy with the source's $w_S$, by the relative change $\lVert w_T - w_S\rVert / \lVert w_S\rVert$. Finetune-L must not have moved anything outside
# the last block:

# %%
moved = suspects.weight_changes(run, "finetune_all", "finetune_last")
of_last = moved["step"] == "finetune_last"
assert (moved.loc[of_last & ~moved["last"], "change"] == 0).all()

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-finetune-weights", "caption": "Relative change of each layer's weights, for the first model of each kind. Finetune-L moves nothing but the last block."}, "image": {"alt": "Finetune-A changes the weights of all layers. Finetune-L changes those of the last block only: its line is at zero before it."}}
norms = r"$\Vert w_T-w_S\Vert\,/\,\Vert w_S\Vert$"
figures.curves(moved, "layer", "change", role="step", x_label="layer", y_label=norms)

# %% [markdown]
# ### How do the copies do?
#
# *Accuracy* is agreement with the truth. *Fidelity* is agreement with the source, right or wrong,
#
# $$
# \operatorname{fidelity}(T) = \frac{1}{n} \sum_{i=1}^{n} \mathbb{1}\bigl[\arg\max f_T(x_i) = \arg\max f_S(x_i)\bigr],
# $$ (eq-fidelity)
#
# over the {glue:text}`n_test` test images. For comparison, the source's accuracy is {glue:text}`source_accuracy`. The table gives the mean over models, lowest and highest in brackets.
# *Queries* are images of the thief, shifted and flipped as in training. Nobody is asked here, but extraction asks about such images.

# %%
answers = suspects.predictions(run, [run.zoo.source, name])
fidelity = (answers[0] == answers[1]).double().mean().item()
assert abs(fidelity - run.zoo.record(name)["fidelity"]) < 0.01  # the record tells the truth

tuned = suspects.suspects(run, "finetune_all", "finetune_last")
figures.table(suspects.group_table(tuned), caption="Fine-tuned copies: accuracy and fidelity")

# %% [markdown]
# ## Pruning: the attack
#
# *Fine-pruning* {cite:p}`liu2018finepruning` silences the channels of the last convolution that matter least, and lets fine-tuning repair the damage. A channel $c$ matters as much
# as it is active on the thief's images: its mean absolute activation behind batch normalisation and ReLU,
#
# $$
# a_c = \frac{1}{N H W} \sum_{i=1}^{N} \sum_{h, w} \bigl| \operatorname{ReLU}(\mathrm{BN}_c(x_i))_{hw} \bigr| .
# $$ (eq-activity)
#
# The share $\rho$ of channels with the smallest $a_c$ is masked: scale and shift of their batch normalisation are set to zero and held there, so that these channels are zero for
# every input. Then the rest is fine-tuned as in {eq}`eq-finetune`. The next rung begins where this one ended, measures the activity again, and has a larger $\rho$. A channel that was
# silenced stays silent. In a network with shortcuts, which would bring the channels back, it is the last convolution that no shortcut is added to. Each rung is a stolen model, and all rungs together are **one chain**.

# %% tags=["hide-cell"]
released = {"lr": "0.001", "epochs": "about 2,056 images every 50 channels", "batch": "256"}
released |= {"momentum": "none", "weight_decay": "none", "schedule": "none", "pad": "4"}
released |= {"flip": "yes", "ladder": "to 80% of the channels, a checkpoint every 5%"}
figures.table(
    suspects.recipe_table(run, "prune", released=released),
    caption="Recipe of pruning, here and in the released code",
)

# %% [markdown]
# ### The mask by hand
#
# Measure the activity of the source's channels in batches, take the least active ones, and compare them with the channels that are silent in the weights of the first rung:

# %%
layer, parts = attacks.last_normalisation(source), []
hook = layer.register_forward_hook(lambda *seen: parts.append(seen[-1].relu().mean((0, 2, 3))))
pixels = run.zoo.task(run.names("prune")[0]).images.pixels  # of the attacker's, this thief's own
training.logits_of(source, pixels)
hook.remove()
activity = torch.stack(parts).sum(0)  # a sum over batches has the order of the mean
torch.testing.assert_close(activity, attacks.channel_activity(source, layer, pixels))


def silent_in(model: torch.nn.Module) -> torch.Tensor:
    pruned_layer = attacks.last_normalisation(model)
    return ((pruned_layer.weight == 0) & (pruned_layer.bias == 0)).cpu()


pruned = suspects.suspects(run, "prune")
first = pruned.iloc[0]
least_active = activity.argsort(stable=True)[: int(first["fraction"] * len(activity))]
silent = silent_in(run.zoo.get(first["name"])).nonzero().flatten()
assert torch.equal(silent, least_active.cpu().sort().values)
print(f"{len(least_active)} of {len(activity)} channels are silent on the first rung")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pruning-silent", "caption": "Activity of each channel of the source's last convolution on attacker data; the colour says at which rung it falls silent, as read off the stored weights. The order can differ from that of the bars, since the activity is measured anew at each rung."}, "image": {"alt": "The first rung silences the channels that are least active in the source; later rungs can silence channels that are more active in the source than some that stay."}}
channels = pd.DataFrame({"activity": activity.cpu() / len(parts), "silent from": "never"})
for rung in pruned.iloc[::-1].itertuples():
    channels.loc[silent_in(run.zoo.get(rung.name)).numpy(), "silent from"] = f"{rung.fraction:.0%}"
channels = channels.sort_values("activity", ascending=False, ignore_index=True)
order = ["never", *(f"{share:.0%}" for share in pruned["fraction"][::-1])]
channels["channel, most active first"] = channels.index
parts_of = pd.concat([channels[channels["silent from"] == kind] for kind in order])
axes = {"label": "mean activity", "hue": "silent from", "text": None}
figures.bars(parts_of, "activity", "channel, most active first", **axes)

# %% [markdown]
# ## Result
#
# Every rung has the 95 % interval of {eq}`eq-wilson`. *Change* is its fidelity minus that of the rung before on the *same* images, in percentage points with a paired 95 % interval. The
# last column is the share of images on which both rungs give the same label (the first rung: on which it agrees with the source).

# %%
answers = suspects.predictions(run, [run.zoo.source, *pruned["name"]])
same = (answers == answers[0]).double()  # row 0 is the source itself
rows, long = [], []
for k, rung in enumerate(pruned.itertuples(), 1):
    change = same[k] - same[k - 1]
    value, half = change.mean().item(), 1.96 * change.std().item() / len(change) ** 0.5
    verdict = "rises" if value > half else "falls" if value < -half else "no clear change"
    shares = {"accuracy": rung.accuracy, "fidelity": same[k].mean().item()}
    shares = {key: evaluation.proportion_interval(share, n_test) for key, share in shares.items()}
    row = {"silent": f"{rung.fraction:.0%}"} | {key: str(share) for key, share in shares.items()}
    row["change"] = str(evaluation.Difference(value, value - half, value + half))
    neighbour = (answers[k] == answers[k - 1]).double().mean().item()
    rows.append(row | {"verdict": verdict, "same as the rung before": neighbour})
    long += [(rung.fraction, measure, *share) for measure, share in shares.items()]
ladder = pd.DataFrame(rows)
caption = "The pruning ladder, rung by rung: what each step changes"
figures.table(ladder, {"same as the rung before": "{:.1%}"}, caption=caption)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pruning-ladder", "caption": "Accuracy and fidelity along the ladder; the bands are 95 % intervals over test images. The dashed line is the accuracy of the source. Look for the first rung whose band of accuracy lies below the dashed line."}, "image": {"alt": "Accuracy and fidelity of the pruned copies against the share of silent channels; the table above states on which rungs fidelity rises or falls beyond its interval."}}
long = pd.DataFrame(long, columns=["fraction", "measure", "value", "low", "high"])
axes = {"x_label": "share of silent channels", "y_label": "share of test images"}
axes["levels"] = {"source": accuracy}
figures.curves(long, "fraction", "value", hue="measure", **axes)

# %% [markdown]
# Fidelity *rises* beyond its interval on {glue:text}`rises` of {glue:text}`n_rungs` rungs and falls on {glue:text}`falls`. The interval covers which test images were drawn. It
# does not cover chance in training: each rung is a single fine-tuning, with its own order of images. One ladder cannot tell whether the mask or this training moved the fidelity.
# More ladders with other seeds could.

# %% tags=["remove-cell"]
everyone = pd.concat([tuned, pruned])
mean, last = tuned.groupby("step")["fidelity"].mean(), ladder.iloc[-1]
from_a, from_l = (part for _, part in tuned.groupby("step"))
gap = suspects.gap(from_l, from_a, "fidelity")
words = ("Finetune-A stays nearer", "neither stays clearly nearer", "Finetune-L stays nearer")
figures.say(nearer=suspects.word(gap, *words), gap=str(gap), tolerance=f"{100 * tolerance:g}")
figures.say(n_all=len(everyone), n_useful=int((everyone["accuracy"] >= accuracy - tolerance).sum()))
figures.say(fidelity_all=f"{mean['finetune_all']:.1%}")
figures.say(fidelity_last=f"{mean['finetune_last']:.1%}", last_share=last["silent"])
figures.say(last_accuracy=last["accuracy"], last_fidelity=last["fidelity"])
figures.say(rises=int((ladder["verdict"] == "rises").sum()), n_rungs=len(ladder))
figures.say(neighbours=suspects.spread(ladder["same as the rung before"][1:]))
figures.say(falls=int((ladder["verdict"] == "falls").sum()))

# %% [markdown]
# {glue:text}`n_useful` of the {glue:text}`n_all` copies are at most {glue:text}`tolerance` percentage points below the source's accuracy. Mean fidelity of Finetune-L minus that of
# Finetune-A is {glue:text}`gap` percentage points (Welch's 95 % interval over models): **{glue:text}`nearer`**. The heaviest rung, with {glue:text}`last_share` of the
# channels silent, has accuracy {glue:text}`last_accuracy` and fidelity {glue:text}`last_fidelity`.

# %% [markdown]
# ## What it means
#
# These attacks start *at* the source and walk away from it. How far they go depends on learning rate, epochs and $\rho$. A copy with high fidelity is an easy case for any fingerprint,
# and an AUC near one on such copies says little about the fingerprint. The copies with the lowest fidelity are the harder test. Read a missed copy together with its
# accuracy, because a thief gains little from a bad model.
#
# The rungs of one ladder descend from one another, so the {glue:text}`n_rungs` pruned models are one unit of evidence; {doc}`10_results` counts the ladder once. The fine-tuned models
# descend from one source. An interval over such models is a statement about this ladder and this source.


# %% [markdown] tags=["exercise"]
# ## On your own
#
# **1. Fidelity.** Write `agreement(a, b)`, the fidelity {eq}`eq-fidelity` of two lists of labels.
# %% tags=["solution"]
def agreement(a, b):
    return np.mean(np.asarray(a) == np.asarray(b))


# %% tags=["test"]
assert agreement([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75 and agreement([3, 3], [4, 4]) == 0


# %% [markdown] tags=["exercise"]
# **2. Which channels?** Write `silenced(activities, share)`, the set of the numbers of the channels that {eq}`eq-activity` silences: the least active ones, rounded down.
# %% tags=["solution"]
def silenced(activities, share):
    return set(np.argsort(activities)[: int(share * len(activities))].tolist())


# %% tags=["test"]
assert silenced([0.3, 0.1, 0.2, 0.5], 0.5) == {1, 2} and silenced([0.3, 0.1, 0.2], 0.5) == {1}
# %% [markdown] tags=["exercise"]
# **3. How small is a pruned model?** The last convolution has 64 channels, each with a kernel of 32 × 3 × 3 weights, and a picture of 4 × 4. A linear layer of 128 units reads them. Of these two matrices, how many weights does a network without three quarters of the channels need? Call the number `needed`.
# %% tags=["solution"]
needed = (64 * 32 * 3 * 3 + 64 * 4 * 4 * 128) // 4  # neither its kernel nor what reads it
# %% tags=["test"]
assert needed == 37376
# %% [markdown] tags=["exercise"]
# **4. A larger learning rate.** Multiply the rate of Finetune-A by ten. Which falls first, accuracy or fidelity?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# ```python
# rate = 10 * run.profile.recipes.finetune_all.lr
# other = open_run(profile, overrides | {"recipes.finetune_all.lr": rate})
# figures.table(suspects.group_table(suspects.suspects(other, "finetune_all")))
# ```
# Only Finetune-A is trained again, because only its recipe changed. A copy can leave the source for another solution that is as good, so a thief who can afford more training can give up fidelity to hide.
# :::
# %% [markdown] tags=["exercise"]
# **5. A combination.** A thief prunes and then fine-tunes for long. Which of the two measures would you watch to decide when the copy stops being a copy?
# %% [markdown] tags=["solution"]
# :::{dropdown} Solution
# Neither decides it, because being a copy is a matter of *history*. Fidelity measures what a test can hope to see. A model with the fidelity of an independent one ({doc}`07_independent_models`) cannot be told from it by comparing labels on typical images.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`liu2018finepruning`: fine-pruning, invented to remove backdoors.
# - {cite:t}`song2023modelgif` and {cite:t}`marginfinger2024` for the published values above.
# - Next: the thief has no weights, only answers ({doc}`04_extraction`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
