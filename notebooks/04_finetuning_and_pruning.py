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
# ```{admonition} What you will do
# :class: tip
# Steal the source by its weights and alter the copy: train it a little further (*Finetune-A*, *Finetune-L*), or silence a growing share of the channels of its
# last convolution and repair the rest (*Pruning*).
#
# **You learn** what exactly each attack changes; how to check that it changed just that; how much of the source survives,
# measured by {term}`accuracy` and {term}`fidelity`.
#
# **You need** {doc}`03_data_and_source` and batch normalisation; {glue:text}`needs`. What is on disk is loaded, and trained only when it
# is missing.
# ```

# %% [markdown]
# ## The claim under test
#
# On the models released with SAC, the {term}`AUC` printed for Finetune-A, Finetune-L and Pruning is 1.00 each
# (read in {cite:t}`song2023modelgif`, who do not say which SAC variant it is). On other models, of {cite:t}`marginfinger2024`, it is 1.00 for
# fine-tuning and 0.60 for pruning, with {term}`SAC-w` as with {term}`SAC-m` (read in their evaluation).
#
# Before an AUC can mean anything, these copies have to be worth stealing. So this page asks: **do they keep the accuracy of the source, and
# do they still answer as it does?** The AUC itself is in {doc}`11_results`.
#
# ```{admonition} Two things to know about the published number
# :class: warning
# In the released zoo every fine-tuned and pruned model is a VGG16-BN, as the source is, and *no* CIFAR-10 negative is: a detector of the architecture
# would score 1.00 on these rows (read in the code). And of fifteen pruned checkpoints only the ten lightest enter the
# AUC (read in the code). Here the source's architecture is among the irrelevant models ({doc}`08_independent_models`), and the whole ladder counts.
# ```

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "fashion"
overrides = {}

# %%
import pandas as pd
from IPython.display import Markdown
from myst_nb import glue

from sacutils import evaluation, inspection, plots
from sacutils.runs import open_run, provenance_line

run = open_run(profile, overrides)
plots.use_style()

source = run.zoo.get(run.zoo.source)
accuracy = run.zoo.record(run.zoo.source)["test_accuracy"]
n_test = len(run.material.splits["test"].labels)
tuned = inspection.suspects(run, "finetune_all", "finetune_last")
pruned = inspection.suspects(run, "prune")

# %% tags=["hide-input"]
glue("needs", inspection.needs(run, "finetune_all", "finetune_last", "prune"), display=False)
glue("source_accuracy", str(evaluation.proportion_interval(accuracy, n_test)), display=False)
glue("n_test", f"{n_test:,}", display=False)

# %% [markdown]
# ## Fine-tuning: the attack
#
# The thief has the weights $\theta_S$ and images of their own with true labels $y$. Start there, and go on training with a small learning
# rate $\eta$:
#
# $$
# \theta_0 = \theta_S, \qquad
# \theta_{t+1} = \theta_t - \eta \, \nabla_\theta \, \tfrac{1}{|B_t|} \sum_{i \in B_t} \mathrm{CE}\bigl(f_{\theta_t}(\tilde x_i), y_i\bigr)
# $$ (eq-finetune)
#
# (plus momentum and weight decay). *Finetune-A* updates **a**ll layers. *Finetune-L* updates the **l**ast block only: the `classifier`, which in VGG is a
# block of three linear layers (read in the released code, where it is called "last" all the same), or the only linear layer of a network that has just one. The rest keeps
# its weights *and* its batch statistics.

# %% tags=["hide-input"]
released = {"lr": "0.0005", "epochs": "30", "batch": "512", "momentum": "0.9", "weight_decay": "0.0005", "schedule": "none"}
released |= {"pad": "4", "flip": "yes"}
plots.table(inspection.recipe_table(run, "finetune_all", "finetune_last", released=released))

# %% [markdown]
# ### What moved?
#
# Compare each layer's weights with the source's. Finetune-L must not have moved anything outside the last block:

# %% mystnb={"figure": {"name": "fig-finetune-weights", "caption": "Relative change of each layer's weights, for the first model of each kind. Finetune-L moves nothing but the last block."}, "image": {"alt": "Line plot of the relative change of weights over the layers of the source. Finetune-A changes all layers, Finetune-L only the layers of the classifier block and is at zero before it."}}
changes = {
    label: inspection.weight_change(source, run.zoo.get(run.names(step)[0]))
    for label, step in (("Finetune-A", "finetune_all"), ("Finetune-L", "finetune_last"))
}
last_block = ("classifier", "fc")
for layer, moved in changes["Finetune-L"].items():
    assert moved == 0 or layer.startswith(last_block)
plots.weight_changes(changes)

# %% [markdown]
# ### How do the copies do?
#
# *Accuracy* is agreement with the truth. *Fidelity* is agreement with the source, right or wrong,
#
# $$
# \operatorname{fidelity}(T) = \frac{1}{n} \sum_{i=1}^{n} \mathbb{1}\bigl[\arg\max f_T(x_i) = \arg\max f_S(x_i)\bigr],
# $$ (eq-fidelity)
#
# over the {glue:text}`n_test` test images. For comparison, the source's accuracy is {glue:text}`source_accuracy`. The table gives the mean over models, and
# the lowest and the highest in brackets.

# %% tags=["hide-input"]
plots.table(inspection.group_table(tuned))

# %% [markdown]
# ## Pruning: the attack
#
# *Fine-pruning* {cite:p}`liu2018finepruning` silences the channels of the last convolution that matter least, and lets fine-tuning heal the wound. A channel $c$ matters as much
# as it is active on the thief's images: its mean absolute activation behind batch normalisation and ReLU,
#
# $$
# a_c = \frac{1}{N H W} \sum_{i=1}^{N} \sum_{h, w} \bigl| \operatorname{ReLU}(\mathrm{BN}_c(x_i))_{hw} \bigr| .
# $$ (eq-activity)
#
# The share $\rho$ of channels with the smallest $a_c$ is masked: scale and shift of their batch normalisation are set to zero and held there, so that these channels are zero for
# every input. Then the rest is fine-tuned as in {eq}`eq-finetune`. The next rung begins where this one ended, measures the activity again, and has a larger $\rho$; a
# channel once silenced stays silent, and the masks are nested.

# %% tags=["hide-input"]
released = {"lr": "0.001", "epochs": "about 2,056 images every 50 channels", "batch": "256", "momentum": "none"}
released |= {"weight_decay": "none", "schedule": "none", "pad": "4", "flip": "yes"}
released["ladder"] = "to 80% of the channels, a checkpoint every 5%"
plots.table(inspection.recipe_table(run, "prune", released=released))

# %% [markdown]
# The released code too masks the channels with the smallest mean absolute activation and fine-tunes in between (read). Each rung of our ladder is one stolen model.
#
# ### Which channels fall silent?
#
# Read off the stored weights, and not from what the recipe promised:

# %% mystnb={"figure": {"name": "fig-pruning-silent", "caption": "Activity of each channel of the source's last convolution on attacker data; the colour says at which rung it is silenced. The order can differ from that of the bars, since the activity is measured anew at each rung."}, "image": {"alt": "Bar chart of the activity of the channels of the last convolution in falling order. The least active channels have the colours of the first rungs, the most active ones are never silenced."}}
silent = inspection.silent_channels(run)
plots.silent_channels(silent)

# %% [markdown]
# ## Result
#
# Every rung with the 95 % interval of {eq}`eq-wilson`:

# %% tags=["hide-input"]
ladder = pd.DataFrame(
    [
        {
            "silent share": f"{row.fraction:.0%}",
            "silent channels": f"{(silent['fraction'] <= row.fraction).sum()} of {len(silent)}",
            "accuracy": str(evaluation.proportion_interval(row.accuracy, row.n)),
            "fidelity": str(evaluation.proportion_interval(row.fidelity, row.n)),
        }
        for row in pruned.itertuples()
    ]
)
plots.table(ladder)

# %% mystnb={"figure": {"name": "fig-pruning-ladder", "caption": "Accuracy and fidelity along the ladder; the bands are 95 % intervals over test images. At the left the source itself, whose fidelity is one by definition."}, "image": {"alt": "Line plot of accuracy and fidelity against the share of silent channels, beginning at the source with fidelity one, each with a band for its 95 percent interval."}}
start = pd.DataFrame([{"fraction": 0.0, "accuracy": accuracy, "fidelity": 1.0, "n": n_test}])
plots.pruning_ladder(pd.concat([start, pruned[["fraction", "accuracy", "fidelity", "n"]]]))

# %% [markdown]
# All copies of this page in one picture:

# %% mystnb={"figure": {"name": "fig-finetune-overview", "caption": "Accuracy against fidelity. Every dot is a stolen model; the dashed line is the accuracy of the source."}, "image": {"alt": "Scatter plot of accuracy against fidelity of fine-tuned and pruned models, with a dashed horizontal line at the accuracy of the source."}}
everyone = pd.concat([tuned, pruned])
plots.accuracy_and_fidelity(everyone, accuracy)

# %% tags=["hide-input"]
useful = everyone[everyone["accuracy"] >= accuracy - 0.05]
last = pruned.iloc[-1]
mean = tuned.groupby("step")[["accuracy", "fidelity"]].mean()
glue("n_all", str(len(everyone)), display=False)
glue("n_useful", str(len(useful)), display=False)
glue("fidelity_all", f"{mean.loc['finetune_all', 'fidelity']:.1%}", display=False)
glue("fidelity_last", f"{mean.loc['finetune_last', 'fidelity']:.1%}", display=False)
more = "Finetune-L" if mean.loc["finetune_last", "fidelity"] > mean.loc["finetune_all", "fidelity"] else "Finetune-A"
glue("more_faithful", more, display=False)
rises = pd.Series([1.0, *pruned["fidelity"]]).diff() > 0
glue("rises", str(int(rises.sum())), display=False)
glue("n_rungs", str(len(pruned)), display=False)
glue("last_share", f"{last.fraction:.0%}", display=False)
glue("last_accuracy", str(evaluation.proportion_interval(last.accuracy, last.n)), display=False)
glue("last_fidelity", str(evaluation.proportion_interval(last.fidelity, last.n)), display=False)

# %% [markdown]
# {glue:text}`n_useful` of the {glue:text}`n_all` copies are within five percentage points of the source's accuracy or above it. The mean fidelity is
# {glue:text}`fidelity_all` for Finetune-A and {glue:text}`fidelity_last` for Finetune-L: **{glue:text}`more_faithful`** stays nearer to the source. The heaviest rung, with
# {glue:text}`last_share` of the channels silent, has accuracy {glue:text}`last_accuracy` and fidelity {glue:text}`last_fidelity`. On {glue:text}`rises` of {glue:text}`n_rungs` rungs fidelity *rises*
# from the rung before: where few active channels fall silent, the fine-tuning in between heals more than the pruning hurts, and differences within the bands are chance.

# %% [markdown]
# ## What it means
#
# These attacks start *at* the source and walk away from it; how far is a matter of learning rate, epochs and $\rho$. A copy with high fidelity is an
# easy case for any fingerprint, and an AUC near one on such copies says little about the fingerprint. The heavy rungs of pruning are the harder
# test. They are also the copies that a thief gains least from, so read a missed rung together with its accuracy.
#
# A caution on what is counted: the rungs of one ladder descend from one another, and the fine-tuned models from one source. They are
# not independent draws from "all pruned models", and an interval over them is a statement about this ladder and this source.

# %% [markdown]
# ## On your own
#
# **1. A larger learning rate.** Multiply the rate of Finetune-A by ten. Which curve falls first, accuracy or fidelity?
#
# :::{dropdown} Solution
# ```python
# rate = 10 * run.profile.recipes.finetune_all.lr
# other = open_run(profile, overrides | {"recipes.finetune_all.lr": rate})
# plots.table(inspection.group_table(inspection.suspects(other, "finetune_all")))
# ```
# Only Finetune-A is trained again, because only its recipe changed. Fidelity usually falls while accuracy holds: the copy finds another solution that is as
# good. A thief who can afford more training can trade one for the other.
# :::
#
# **2. How small is a pruned model?** Which share of the network's weights does the heaviest rung do without?
#
# :::{dropdown} Solution
# A silent channel needs neither its kernel in the last convolution nor the columns of the first linear layer that read it. So the share $\rho$ of both goes:
# ```python
# weights = dict(source.named_parameters())
# matrices = [name for name, weight in weights.items() if weight.ndim > 1]
# last = max(i for i, name in enumerate(matrices) if weights[name].ndim == 4)
# affected = sum(weights[name].numel() for name in matrices[last : last + 2])
# print(pruned["fraction"].max() * affected / sum(weight.numel() for weight in weights.values()))
# ```
# The masked network computes the same function as the smaller one; the masks spare us rebuilding it.
# :::
#
# **3. Random channels.** Would pruning *random* channels give a better or a worse copy at the same $\rho$? And a harder or easier one for the judge?
#
# :::{dropdown} Hint
# Copy `attacks.prune`, replace the activities by random numbers, and train one rung from the source. Compare accuracy and fidelity with the rung of the same
# share; remember that a rung of the ladder has been fine-tuned on all rungs before it.
# :::
#
# **4. A combination.** A thief prunes and then fine-tunes for long. Which of the two measures would you watch to decide when the copy stops being
# a copy?
#
# :::{dropdown} Solution
# Neither decides it: being a copy is a matter of *history*, not of behaviour. Fidelity measures what a test can hope to see. A model with the fidelity of an
# independently trained one ({doc}`08_independent_models`) cannot be told from it by comparing labels on typical images; the probes have to be better than that.
# :::

# %% [markdown]
# ## Further reading
#
# - {cite:t}`liu2018finepruning`: fine-pruning, invented to remove backdoors.
# - {cite:t}`song2023modelgif` and {cite:t}`marginfinger2024` for the published values above.
# - Next: the thief has no weights, only answers ({doc}`05_extraction`).

# %% tags=["hide-input"]
Markdown(provenance_line(run))
