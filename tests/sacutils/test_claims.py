"""Claims are judged by the stated rules, cell by cell, and no verdict is lost on the way."""

import numpy as np
import pandas as pd
import pytest

from sacutils import evaluation, steps
from sacutils.studies import claims, references, tables
from sacutils.studies.tables import SAC_W, select

FORMS = ("probabilities", "labels", "logits")

VERDICTS = {
    "SAC on Finetune-A and -L": "reproduces",
    "SAC on Pruning": "in part",
    "SAC on Extract-L": "reproduces",
    "SAC on Extract-P": "reproduces",
    "SAC on Extract-Adv": "reproduces",
    "SAC on Transfer-A, -L and -10C": "reproduces",
    "SAC-m works without surrogates": "in part",
    "SAC is better than IPGuard": "reproduces",
    "SAC is better than CAE": "in part",
    "SAC is better than EWE": "undecided",
    "IPGuard on extraction": "in part",
    "CAE on extraction": "in part",
    "Order of attacks and methods": "in part",
    "AKH is on a par": "in part",
    "Independent models are nearer": "in part",
}
"""Of the reference ``fashion`` with the five sources 0 to 4; the rules must go on giving these."""
DIFFERENT = {
    "fashion": {},
    "cifar10": {"AKH is on a par": "reproduces", "Independent models are nearer": "does not"},
}


@pytest.mark.parametrize("profile", DIFFERENT)
def test_verdicts_on_the_committed_references(profile):
    found = claims.ledger(claims.claims(references.load(profile))).set_index("claim")["verdict"]
    assert found.to_dict() == VERDICTS | DIFFERENT[profile]


def row(low, value, high, n=8):
    return {"auc": value, "low": low, "high": high, "n_stolen": n, "n_independent": n}


@pytest.mark.parametrize(
    ("measured", "published", "word"),
    [
        ((0.90, 0.97, 1.00), 1.00, "reproduces"),  # in the interval
        ((0.96, 0.98, 0.99), 1.00, "reproduces"),  # not in it, but both beyond the bar
        ((0.80, 0.90, 0.94), 1.00, "in part"),  # separation, but less
        ((0.40, 0.60, 0.80), 1.00, "does not"),  # may be guessing
        ((0.60, 0.65, 0.70), 0.81, "in part"),
        ((0.85, 0.95, 1.00), 0.81, "does not"),  # far better than published
        ((0.40, 0.47, 0.55), 0.54, "reproduces"),  # guessing there and here
        ((0.48, 0.75, 0.95), 0.92, "undecided"),  # cannot tell the published value from guessing
        ((0.30, 0.60, 0.80), 0.60, "undecided"),  # half of the scale
        ((0.00, 0.05, 0.20), 0.26, "in part"),
        ((0.60, 0.70, 0.80), 0.26, "does not"),
        ((0.923, 0.93, 0.94), 0.92, "reproduces"),  # 0.92 was rounded
    ],
)
def test_published_values_are_judged_by_the_stated_rule(measured, published, word):
    assert claims.judge(row(*measured), published, 0.95, 0.05) == word


def test_two_models_decide_nothing():
    assert claims.judge(row(0.9, 1.0, 1.0, n=2), 1.0, 0.95, 0.05) == "undecided"


@pytest.mark.parametrize(
    ("low", "value", "high", "alike", "word"),
    [
        (0.01, 0.1, 0.2, False, "reproduces"),
        (-0.2, -0.1, -0.01, False, "does not"),
        (-0.04, 0.0, 0.04, False, "does not"),  # level
        (-0.04, 0.1, 0.3, False, "undecided"),
        (-0.3, -0.1, 0.04, False, "undecided"),
        (np.nan, 0.0, np.nan, True, "does not"),
        (np.nan, 0.2, np.nan, False, "undecided"),
    ],
)
def test_differences_are_judged_by_the_stated_rule(low, value, high, alike, word):
    found = {"low": low, "value": value, "high": high, "alike": alike}
    assert claims.judge_difference(found, 0.05) == word


def test_cells_are_taken_together():
    yes, part, no, unknown = "reproduces", "in part", "does not", "undecided"
    assert claims.together([yes, yes]) == yes and claims.together([unknown]) == unknown
    several = ([yes, no], [part, part], [yes, unknown], [part, no])
    assert {claims.together(words) for words in several} == {part}
    assert claims.together([no, unknown]) == no


SAC = [f"SAC-{name}" for name in ("normal", "source", "w", "m", "JC")]
KEYS = [(name, form, "cosine") for name in SAC for form in FORMS]
KEYS += [(name, "labels", "label agreement") for name in ("AKH", "IPGuard")]
KEYS += [("EWE", "labels", "secret label")]
INDEPENDENT = ["independent", "independent_owner", "independent_transfer", "independent_corrupted"]
ABLATIONS = [
    ("negatives", "SAC-w, probabilities", "attacker data, students' recipe", 0.9, 0.05),
    ("extraction epochs", "SAC-w, probabilities", "2", 0.2, 0),
    ("extraction epochs", "SAC-w, probabilities", "20", 1.0, 0),
]


def zoo_of(sources, turned=(), models=8):
    """A reference with perfect distances; in the cells of `turned`, which are probes, form and
    step, the stolen models are the farther ones.
    """
    distances, zoo, ablated = [], [], []
    for seed in range(sources):
        for step in [*steps.ATTACKS, *INDEPENDENT]:
            stolen, names = step in steps.ATTACKS, [f"{step}#{k}" for k in range(models)]
            for k, name in enumerate(names):
                zoo.append((seed, name, step, (k + 1) / 10 if step == "prune" else np.nan))
            for key in KEYS:
                marked = "marked " if key[0] == "EWE" and stolen else ""
                level = 2 if (*key[:2], step) in turned else int(not stolen)
                distances += [
                    (seed, *key, 10, marked + name, step, level + k / 100)
                    for k, name in enumerate(names)
                ]
        for attack in ("Pruning", "Extract-L", "Extract-P", "Extract-Adv"):
            for name, series, setting, value, more in ABLATIONS:
                if name != "extraction epochs" or attack == "Extract-L":
                    auc = value + more * seed
                    ablated.append(
                        (
                            seed,
                            name,
                            series,
                            setting,
                            attack,
                            models,
                            models,
                            auc,
                            auc - 0.1,
                            auc,
                            0.4,
                        )
                    )
    columns = ["seed", "probes", "form", "measure", "n_probes", "model", "step", "distance"]
    measured = ["seed", "ablation", "series", "setting", "attack", "n_stolen", "n_independent"]
    measured += ["auc", "low", "high", "fidelity"]
    costs = {"seed": 0, "method": ["SAC-m", "IPGuard", "EWE"], "surrogates": 0, "choosers": 0}
    return {
        "zoo": pd.DataFrame(zoo, columns=["seed", "name", "step", "fraction"]),
        "distances": pd.DataFrame(distances, columns=columns),
        "auc": pd.DataFrame([(0, *key) for key in KEYS], columns=columns[:4]),
        "costs": pd.DataFrame(costs),
        "ablations": pd.DataFrame(ablated, columns=measured),
    }


def ledger(made):
    return claims.ledger(claims.claims(made)).set_index("claim")


EXTRACTED = steps.EXTRACTION


def test_perfect_separation_reproduces_and_nobody_is_better():
    found = ledger(zoo_of(3))["verdict"]
    assert (found[[f"SAC on {name}" for name in claims.CLAIMED]] == "reproduces").all()
    assert found["SAC-m works without surrogates"] == "reproduces"
    assert found["AKH is on a par"] == "reproduces"
    assert found["SAC is better than IPGuard"] == "does not"  # all alike
    assert found["IPGuard on extraction"] == "in part"  # 0.54 is not in the interval
    assert found["Independent models are nearer"] == "does not"
    assert found["Order of attacks and methods"] == "does not"


def test_a_miss_names_the_choice_that_would_have_reproduced():
    found = ledger(zoo_of(3, {("SAC-w", "probabilities", step) for step in EXTRACTED}))
    whole = found.loc["SAC on Extract-L"]
    assert whole["verdict"] == "does not"
    assert "labels: reproduces, raw logits: reproduces, SAC-m: reproduces" in whole["because"]
    assert "owner data" not in whole["because"]


def test_a_hit_names_the_choice_that_would_have_missed():
    found = ledger(zoo_of(3, {("SAC-w", "logits", "extract_label")})).loc["SAC on Extract-L"]
    assert found["verdict"] == "reproduces"
    expected = "raw logits: does not, students' recipe: in part, fewest epochs (2): does not"
    assert found["because"] == expected


def test_a_cell_has_the_values_by_which_it_is_judged():
    made = zoo_of(3, {("SAC-w", "probabilities", "extract_label")})
    table = claims.claims(made)
    assert not table.duplicated(["claim", "cell"]).any()
    cell = select(table, claim="SAC on Extract-L").iloc[0]
    expected = tables.over_sources(tables.fingerprint(made["distances"], *SAC_W), "extract_label")
    columns = ["low", "high", "smallest", "largest", "sources", "n_stolen", "n_independent"]
    assert cell[columns].to_dict() == {column: expected[column] for column in columns}
    assert (cell["value"], cell["published"], cell["cell_verdict"]) == (0, 1, "does not")
    whole = table.groupby("claim")[["verdict", "rule", "because"]].nunique()
    assert (whole == 1).all(axis=None)
    counts = claims.ledger(table).set_index("claim")["cells"]
    assert counts["SAC-m works without surrogates"] == 10 and counts["AKH is on a par"] == 11


def test_surrogates_deny_the_claim_that_none_are_needed():
    made = zoo_of(3)
    made["costs"].loc[0, "choosers"] = 2
    table = select(claims.claims(made), claim="SAC-m works without surrogates")
    assert set(table["verdict"]) == {"does not"}
    assert select(table, cell="surrogates and choosers")["value"].item() == 2


def test_light_pruning_is_told_from_heavy_pruning():
    made = zoo_of(3)
    rows = made["distances"]
    heavy = rows["model"].isin(["prune#6", "prune#7"]) & (rows["probes"] == "SAC-w")
    rows.loc[heavy, "distance"] = 9.0
    light = claims.alternatives(made, "prune").set_index("choice").loc["lightest two thirds"]
    assert light["auc"] == 1 and light["n_stolen"] == 6
    whole = tables.over_sources(tables.fingerprint(rows, *SAC_W), "prune")
    assert whole["auc"] == pytest.approx(0.75)


def test_alternatives_change_one_choice_each():
    found = claims.alternatives(zoo_of(2), "extract_label").set_index("choice")
    assert list(found.index) == [
        "labels", "raw logits", "SAC-m", "owner data", "students' recipe", "fewest epochs (2)",
    ]  # fmt: skip
    assert found.loc["fewest epochs (2)", "auc"] == pytest.approx(0.2)
    assert "owner data" not in set(claims.alternatives(zoo_of(2), "transfer_all")["choice"])


def test_independent_models_that_are_nearer_everywhere_reproduce_that_finding():
    every = {
        (name, form, step) for name in ("SAC-w", "SAC-m") for form in FORMS for step in EXTRACTED
    }
    found = ledger(zoo_of(3, every)).loc["Independent models are nearer"]
    assert found["verdict"] == "reproduces" and found["cells"] == 18
    table = claims.claims(zoo_of(3, {cell for cell in every if cell[1] == "logits"}))
    some = select(table, claim="Independent models are nearer").set_index("cell")
    assert set(some["verdict"]) == {"in part"}
    assert some.loc["SAC-m on Extract-L from logits", "cell_verdict"] == "reproduces"
    assert some.loc["SAC-m on Extract-L from labels", "cell_verdict"] == "does not"


def test_rivals_that_fail_on_extraction_are_beaten():
    found = ledger(
        zoo_of(3, {(name, "labels", step) for name in ("IPGuard", "EWE") for step in EXTRACTED})
    )
    assert found.loc["SAC is better than IPGuard", "verdict"] == "reproduces"
    # not on pruning, where both are perfect
    assert found.loc["SAC is better than EWE", "verdict"] == "in part"
    assert found.loc["AKH is on a par", "verdict"] == "reproduces"


def test_methods_that_beat_akh_are_named():
    table = select(
        claims.claims(zoo_of(3, {("AKH", "labels", "extract_label")})), claim="AKH is on a par"
    )
    assert set(table["verdict"]) == {"does not"} and len(table) == 11
    assert (table["cell_verdict"] == "does not").all() and "IPGuard" in set(table["cell"])


def test_paired_difference_subtracts_within_each_source():
    made = zoo_of(2, {("IPGuard", "labels", "extract_label")})
    rival = ("IPGuard", "labels", "label agreement")
    alone = tables.difference(made, SAC_W, rival, "extract_label")
    assert (alone["value"], alone["smallest"], alone["largest"]) == (1, 1, 1) and alone["paired"]
    low, high = evaluation.score_interval(1.0, 8, 8)[0], evaluation.score_interval(0.0, 8, 8)[1]
    assert (alone["low"], alone["high"]) == pytest.approx((1 - np.hypot(1 - low, high), 1))
    both = tables.difference(made, SAC_W, rival, ["extract_label", "extract_probability"])
    assert both["value"] == 0.5 and 0 < both["low"] < 0.5 < both["high"] < 1
    same = tables.difference(made, SAC_W, SAC_W, "prune")
    assert same["alike"] and tables.signed(same) == "+0.00\u00a0[–]; +0.00\u00a0to\u00a0+0.00"


def test_unpaired_difference_squares_and_adds():
    made = zoo_of(2, {("EWE", "labels", "extract_label")})
    found = tables.difference(made, SAC_W, ("EWE", "labels", "secret label"), "extract_label")
    low, high = evaluation.score_interval(1.0, 8, 8)[0], evaluation.score_interval(0.0, 8, 8)[1]
    assert not found["paired"] and found["value"] == found["high"] == 1
    assert found["low"] == pytest.approx(1 - np.hypot(1 - low, high))


def test_ablation_is_the_mean_of_the_sources():
    found = tables.ablation(zoo_of(2), "negatives").set_index("attack").loc["Extract-L"]
    assert tables.interval(found) == pytest.approx((0.925, 0.825, 0.925)) and found["sources"] == 2
    assert (found["smallest"], found["largest"]) == pytest.approx((0.9, 0.95))
    assert found["fidelity"] == pytest.approx(0.4)


def test_an_own_run_without_rivals_and_ablations_is_judged_on_what_it_has(run):
    costs = pd.DataFrame({"method": ["SAC-m"], "surrogates": [0], "choosers": [0]})
    table = claims.claims(tables.of_run(run, costs=costs))
    assert set(table["verdict"]) <= {"reproduces", "in part", "does not", "undecided"}
    assert len(claims.ledger(table)) == len(claims.CLAIMED) + 3
    assert set(table["sources"].dropna()) == {1}


def test_published_values_are_those_of_the_file():
    stated = claims.published()
    assert stated["SAC"]["Extract-Adv"] == 0.92 and stated["IPGuard"]["Extract-L"] == 0.81
    assert claims.published("Tiny-ImageNet")["SAC-m"]["Extract-Adv"] == 0.06
