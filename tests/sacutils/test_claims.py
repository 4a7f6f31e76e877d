"""Claims are judged by the registered rules, cell by cell, and no verdict is lost on the way."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacutils import evaluation, steps
from sacutils.studies import claims, references, tables
from sacutils.studies.tables import SAC_W, select

FORMS = ("probabilities", "labels", "logits")

WORDS = {claims.REPRODUCES, claims.IN_PART, claims.DOES_NOT, claims.COMPATIBLE}


@pytest.mark.parametrize("profile", references.available())
def test_nothing_reproduces_whose_interval_leaves_the_margin(profile):
    """By the rules' own words, without any function of the ledger, on every reference."""
    table = claims.claims(references.load(profile))
    assert set(table["verdict"]) <= WORDS and set(table["cell_verdict"]) <= WORDS
    assert table[["value", "low", "high"]].notna().all(axis=None)
    held = select(table, cell_verdict="reproduces")
    for row in held.to_dict("records"):
        low, high = {
            "published AUC": (row["published"] - 0.1, row["published"] + 0.1),
            "better": (0, 1),
            "level": (-0.1, 0.1),
            "nearer": (0, 0.5),
            "none needed": (0, 0),
        }[row["rule"]]
        assert low <= row["low"] <= row["high"] <= high
    for _, part in table.groupby("claim"):
        words = part["cell_verdict"].tolist()
        assert (set(part["verdict"]) == {"reproduces"}) == (set(words) == {"reproduces"})


@pytest.mark.parametrize(
    ("low", "high", "rule", "published", "word"),
    [
        (0.91, 1.00, "published AUC", 1.00, "reproduces"),
        (0.89, 1.00, "published AUC", 1.00, "compatible, not shown"),
        (0.70, 0.89, "published AUC", 1.00, "does not"),
        (0.30, 0.95, "published AUC", 1.00, "compatible, not shown"),  # nearly everything
        (0.92, 1.00, "published AUC", 0.81, "does not"),  # far better than published
        (0.45, 0.60, "published AUC", 0.54, "reproduces"),  # guessing there and here
        (0.01, 0.20, "better", 0.19, "reproduces"),
        (-0.05, 0.09, "better", 0.19, "does not"),  # level
        (-0.05, 0.11, "better", 0.19, "compatible, not shown"),
        (-0.30, -0.01, "better", 0.19, "does not"),
        (-0.09, 0.09, "level", 0, "reproduces"),
        (0.11, 0.30, "level", 0, "does not"),
        (-0.30, -0.11, "level", 0, "does not"),  # level both ways
        (-0.11, 0.05, "level", 0, "compatible, not shown"),
        (0.10, 0.45, "nearer", 0.26, "reproduces"),
        (0.51, 0.90, "nearer", 0.26, "does not"),
        (0.40, 0.60, "nearer", 0.26, "compatible, not shown"),
        (0, 0, "none needed", 0, "reproduces"),
        (2, 2, "none needed", 0, "does not"),
    ],
)
def test_an_interval_is_judged_by_the_registered_rule(low, high, rule, published, word):
    assert claims.judge(low, high, rule, published, 0.1) == word


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from(list(claims.RULES)))
def test_a_wider_interval_never_decides_more(first, second, published, rule):
    low, high = sorted((first, second))
    wide = claims.judge(low - 0.1, high + 0.1, rule, published, 0.1)
    assert wide in (claims.judge(low, high, rule, published, 0.1), claims.COMPATIBLE)


def test_cells_are_taken_together():
    yes, part, no, open_ = claims.REPRODUCES, claims.IN_PART, claims.DOES_NOT, claims.COMPATIBLE
    assert claims.together([yes, yes]) == yes
    assert claims.together([yes, open_]) == claims.together([open_]) == open_
    assert claims.together([yes, no]) == claims.together([yes, yes, no, open_]) == part
    assert claims.together([yes, *[no] * 8]) == claims.together([no, open_]) == no


def test_error_is_shared_by_the_comparisons_of_a_claim_and_not_by_its_conditions():
    """Fifteen cells whose 95 % interval lies just above 0 are not fifteen hits."""
    row = {"auc": 0.39, "spread": 0.0, "sources": 3}
    row |= {"units_stolen": 20, "units_independent": 20}
    low, high = tables.bounds(row)
    row |= {"low": low, "high": high}
    assert high < 0.5 < tables.bounds(row, 1 - 0.05 / 15)[1]
    words = claims.judged([("cell", 0.3, row)] * 15, "nearer", 0.1)
    assert set(words) == {claims.COMPATIBLE}
    assert claims.judged([("cell", 0.3, row)], "nearer", 0.1) == [claims.REPRODUCES]
    cells = [("cell", 0.39, row)] * 15
    assert set(claims.judged(cells, "published AUC", 0.2)) == {claims.REPRODUCES}


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


def zoo_of(sources, turned=(), models=12):
    """A reference with perfect distances; in the cells of `turned`, which are probes, form and
    step, the stolen models are the farther ones.
    """
    distances, zoo, ablated = [], [], []
    for seed in range(sources):
        for step in [*steps.ATTACKS, *INDEPENDENT]:
            stolen, names = step in steps.ATTACKS, [f"{step}(vgg_s)#{k}" for k in range(models)]
            for k, name in enumerate(names):
                zoo.append((seed, name, step, (k + 1) / 20 if step == "prune" else np.nan))
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
    found = ledger(zoo_of(5))["verdict"]
    assert (found[[f"SAC on {name}" for name in claims.CLAIMED]] == "reproduces").all()
    names = ["SAC-m on easy attacks", "SAC-m on hard attacks", "SAC-m needs no other models"]
    assert (found[names] == "reproduces").all()
    assert (found[["AKH is level on fine-tuning and pruning", "AKH is level on extraction"]]
            == "reproduces").all()  # fmt: skip
    assert found["SAC is better than IPGuard on hard attacks"] == "does not"  # all alike
    assert found["IPGuard on extraction"] == "does not"  # better than published
    assert found["Independent models are nearer"] == "does not"


def test_few_models_and_sources_make_no_claim_easier():
    for models, sources in ((2, 3), (4, 1)):
        found = ledger(zoo_of(sources, models=models))["verdict"]
        assert (found[[f"SAC on {name}" for name in claims.CLAIMED]] == claims.COMPATIBLE).all()


def test_a_miss_names_the_choice_that_would_have_reproduced():
    found = ledger(zoo_of(5, {("SAC-w", "probabilities", step) for step in EXTRACTED}))
    whole = found.loc["SAC on Extract-L"]
    assert whole["verdict"] == "does not"
    assert "labels: reproduces, raw logits: reproduces, SAC-m: reproduces" in whole["because"]
    assert "owner data" not in whole["because"]


def test_a_hit_names_the_choice_that_would_have_missed():
    found = ledger(zoo_of(5, {("SAC-w", "logits", "extract_label")})).loc["SAC on Extract-L"]
    assert found["verdict"] == "reproduces"
    expected = "raw logits: does not, fewest epochs (2): does not"
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
    assert counts["SAC-m on hard attacks"] == 6 and counts["AKH is level on extraction"] == 11


def test_surrogates_deny_the_claim_that_none_are_needed():
    made = zoo_of(3)
    made["costs"].loc[0, "choosers"] = 2
    table = select(claims.claims(made), claim="SAC-m needs no other models")
    assert set(table["verdict"]) == {"does not"}
    assert select(table, cell="other models")["value"].item() == 2


def test_light_pruning_is_told_from_heavy_pruning():
    made = zoo_of(3)
    rows = made["distances"]
    heavy = rows["model"].isin([f"prune(vgg_s)#{k}" for k in (8, 9, 10, 11)]) & (
        rows["probes"] == "SAC-w"
    )
    rows.loc[heavy, "distance"] = 9.0
    light = claims.alternatives(made, "prune").set_index("choice").loc["lightest two thirds"]
    assert light["auc"] == 1 and light["n_stolen"] == 8
    whole = tables.over_sources(tables.fingerprint(rows, *SAC_W), "prune")
    assert whole["auc"] == pytest.approx(8 / 12)


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
    found = ledger(zoo_of(5, every)).loc["Independent models are nearer"]
    assert found["verdict"] == "reproduces" and found["cells"] == 18
    table = claims.claims(zoo_of(5, {cell for cell in every if cell[1] == "logits"}))
    some = select(table, claim="Independent models are nearer").set_index("cell")
    assert set(some["verdict"]) == {"does not"}  # a third of the cells is no part
    assert some.loc["SAC-m on Extract-L from logits", "cell_verdict"] == "reproduces"
    assert some.loc["SAC-m on Extract-L from labels", "cell_verdict"] == "does not"


def test_rivals_that_fail_on_extraction_are_beaten():
    found = ledger(
        zoo_of(3, {(name, "labels", step) for name in ("IPGuard", "EWE") for step in EXTRACTED})
    )["verdict"]
    assert found["SAC is better than IPGuard on hard attacks"] == "reproduces"
    assert found["SAC is better than EWE on hard attacks"] == "reproduces"
    assert found["SAC is better than EWE on easy attacks"] == "does not"  # both are perfect there
    assert found["AKH is level on extraction"] == "in part"  # better than IPGuard, level with ten


def test_methods_that_beat_akh_are_named():
    made = zoo_of(5, {("AKH", "labels", step) for step in EXTRACTED})
    table = select(claims.claims(made), claim="AKH is level on extraction")
    assert set(table["verdict"]) == {"does not"} and len(table) == 11
    assert (table["cell_verdict"] == "does not").all() and "IPGuard" in set(table["cell"])


def test_paired_difference_subtracts_within_each_source():
    made = zoo_of(2, {("IPGuard", "labels", "extract_label")})
    rival = ("IPGuard", "labels", "label agreement")
    alone = tables.difference(made, SAC_W, rival, "extract_label")
    assert (alone["value"], alone["smallest"], alone["largest"]) == (1, 1, 1) and alone["paired"]
    low, high = (
        evaluation.score_interval(value, 12, 12, sources=2)[k] for k, value in enumerate((1.0, 0.0))
    )
    assert (alone["low"], alone["high"]) == pytest.approx((1 - np.hypot(1 - low, high), 1))
    assert (alone["gain"], alone["loss"]) == (1, 0)
    both = tables.difference(made, SAC_W, rival, ["extract_label", "extract_probability"])
    assert both["value"] == 0.5 and 0 < both["low"] < 0.5 < both["high"] < 1
    same = tables.difference(made, SAC_W, SAC_W, "prune")
    assert (same["low"], same["high"]) == pytest.approx((-high, high))


def test_unpaired_difference_squares_and_adds():
    made = zoo_of(2, {("EWE", "labels", "extract_label")})
    found = tables.difference(made, SAC_W, ("EWE", "labels", "secret label"), "extract_label")
    low, high = (
        evaluation.score_interval(value, 12, 12, sources=2)[k] for k, value in enumerate((1.0, 0.0))
    )
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
    assert set(table["verdict"]) <= WORDS
    assert len(claims.ledger(table)) == len(claims.CLAIMED) + 4
    assert set(table["sources"].dropna()) == {1}


def test_published_values_are_those_of_the_file():
    stated = claims.published()
    assert stated["SAC"]["Extract-Adv"] == 0.92 and stated["IPGuard"]["Extract-L"] == 0.81
    assert claims.published("Tiny-ImageNet")["SAC-m"]["Extract-Adv"] == 0.06
