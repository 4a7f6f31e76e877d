"""The table of attacks: services, thieves and liars, and a sample of its rows by loops."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student_t
from torch import nn

from sacutils import correlation, evaluation, siblings, steps, training
from sacutils.attacks import Task
from sacutils.data import Images
from sacutils.studies import attacked, disputes, scores, services, thieves, verdicts
from sacutils.studies.tables import select

from ..conftest import recipe

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(60, 5, generator=GENERATOR)
SETS = {"w": LOGITS[:20], "test": LOGITS}


# What a service shows


@pytest.mark.parametrize("family", services.LABELS_KEPT)
def test_what_keeps_labels_keeps_all_of_them(family):
    for strength in services.LABELS_KEPT[family][0]:
        shown = services.kept(family, SETS, strength, 3)
        for name, logits in SETS.items():
            assert torch.equal(shown[name].labels, logits.argmax(1)) and shown[name].answered.all()
            assert not torch.equal(shown[name].logits, logits.double())
            if family != "rounding":  # rounded probabilities may tie
                assert torch.equal(shown[name].logits.argmax(1), logits.argmax(1))


def test_services_show_what_they_say():
    p = LOGITS.double().softmax(1)
    shown = services.kept("top-k", SETS, 1, 0)["test"].logits.softmax(1)
    assert torch.allclose(shown.amax(1), torch.ones(60).double(), atol=1e-9)
    shown = services.kept("rounding", SETS, 1, 0)["test"].logits
    assert torch.allclose(shown.exp(), p.round(decimals=1).clamp(min=1e-12))
    shifted = services.kept("logit shift", SETS, 5, 0)["test"].logits
    assert torch.allclose(shifted.softmax(1), p)
    many = {"test": LOGITS.repeat(100, 1)}
    random = services.random_answers(many, 0.3, 1)["test"]
    moved = (random.labels != many["test"].argmax(1)).double().mean()
    assert abs(moved - 0.3 * 4 / 5) < 0.03
    quiet = services.abstaining(SETS, 0.5, 0)
    assert quiet["test"].answered.sum() == 30
    least = p.amax(1)[quiet["test"].answered].min()
    assert torch.equal(quiet["w"].answered, p[:20].amax(1) >= least)


def test_doors_refuse_their_share_of_honest_questions_and_more_of_the_others():
    generator = torch.Generator().manual_seed(1)
    rows = torch.arange(12)[:, None] * 20
    honest = (rows + torch.randint(0, 30, (200, 1, 12, 12), generator=generator)).to(torch.uint8)
    turned = honest[:50].flip(2)
    looks = services.oddity(honest, {"same": honest[100:], "turned": turned}, 0)
    let_in = services.door(looks, 0.1)
    assert 0.85 < let_in["same"].double().mean() <= 0.95 and "honest" not in let_in
    near = services.nearness(honest, {"public": turned}, turned)
    assert not services.door(near, 0.01)["public"].any()
    slow = [((honest[3].float() - other.float()) ** 2).sum().sqrt() for other in turned]
    assert near["honest"][3].item() == pytest.approx(-float(min(slow)), rel=1e-4)
    assert set(services.squeezed(honest, 1).unique().tolist()) <= {0, 255}


# Thieves


def tiny() -> tuple[nn.Module, torch.Tensor, torch.Tensor, Task]:
    """A linear student, eight images, the source's logits on them, and a task."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(8, 1, 2, 2, generator=generator)
    source = torch.randn(8, 3, generator=generator)
    student = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        student[1].weight.copy_(torch.randn(3, 4, generator=generator))
        student[1].bias.zero_()
    images = Images((255 * x).to(torch.uint8), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]))
    return student, x, source, Task(images, 3, recipe(), 5)


@pytest.mark.parametrize("trick", thieves.TRICKS)
def test_loss_of_a_thief_by_hand(trick):
    student, x, source, task = tiny()
    own = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(4))
    strength, index = 0.5, torch.tensor([3, 1, 6, 0])
    thief = thieves.Thief(trick, strength, "resnet_s")
    objective = thieves.objective_of(thief, lambda _: source[index], task, own)
    loss, hits = objective(student, x[index], index)
    z = student(x[index]).detach()
    y = source[index].argmax(1)
    draw = torch.rand(8, generator=torch.Generator().manual_seed(5))[index]
    total = 0.0
    for i, j in enumerate(index.tolist()):
        log_q = z[i] - z[i].exp().sum().log()
        taught = F.one_hot(y[i], 3).float()
        match trick:
            case "own labels mixed in" if draw[i] < strength:
                taught = F.one_hot(task.images.labels[j], 3).float()
            case "label smoothing":
                taught = 0.5 * taught + 0.5 / 3
            case "ensemble, distilled":
                taught = 0.5 * taught + 0.25 * (own[0, j].softmax(0) + own[1, j].softmax(0))
        total -= float((taught * log_q).sum()) / 4
        if trick == "quarrel penalty":
            theirs = source[j].log_softmax(0).clamp(min=-3)
            mean = sum(each[j].log_softmax(0).clamp(min=-3) for each in own) / 2
            total += strength * float((log_q.exp() * (theirs - mean)).sum()) / 4
    if trick == "decorrelation":
        a, b = (correlation.cosine_matrix(each.softmax(1)) for each in (source[index], z))
        total -= strength * float((a - b).abs().mean())
    assert loss.item() == pytest.approx(total, rel=1e-5) and loss.requires_grad
    assert trick == "own labels mixed in" or hits == (z.argmax(1) == y).sum()


def test_thieves_ask_less_the_more_they_mix(run):
    mixing = [thieves.queries(run, thieves.Thief("own labels mixed in", s, "")) for s in (0.25, 1)]
    images, epochs = steps.image_count(run.profile, "extract_label"), 6
    assert mixing == [round(0.75 * images * epochs), 0]
    assert len(thieves.everybody(run)) == len(thieves.TRICKS)  # smoke: one strength, one kind


# The table, by an implementation of its own


@pytest.fixture(scope="module")
def table(run):
    return attacked.table(run)


def test_columns_and_settings_of_the_table(run, table):
    assert list(table.columns) == attacked.COLUMNS
    keys = ["family", "strength", "group", "score"]
    assert not table[keys].duplicated().any() and set(table["regime"]) == {"one augmentation"}
    assert table[["family", "strength"]].drop_duplicates().shape[0] >= 25
    shares = ["auc", "low", "high", "found", "accused", "accuracy", "fidelity"]
    assert all(table[name].between(0, 1).all() for name in shares)
    assert ((table["low"] <= table["auc"]) & (table["auc"] <= table["high"])).all()
    assert (table["high"] - table["low"] > 0.05).all()
    families = {*services.LABELS_KEPT, *services.LABELS_TOUCHED, *services.CHANGED_IMAGES}
    families |= {*thieves.TRICKS, attacked.SHIFTED, attacked.PUBLIC, attacked.HABIT}
    families |= {attacked.PLAIN, attacked.CHAIN, attacked.OVERLAP, attacked.ACCUSER}
    assert families | {attacked.NO_TRICK, attacked.ONE_BY_ONE} == set(table["family"])
    kept = select(table, family=list(services.LABELS_KEPT), group=attacked.STUDENTS)
    start = select(table, family=attacked.PLAIN, group=attacked.STUDENTS).set_index("score")
    for row in select(kept, score=["AKH", "Contrast (pool)", "Sibling test"]).to_dict("records"):
        assert row["auc"] == start.loc[row["score"], "auc"]


def t_tail(value: float, sample: list[float]) -> float:
    """Chance that one more of a normal sample is at most `value`."""
    n, mean = len(sample), sum(sample) / len(sample)
    sd = math.sqrt(sum((x - mean) ** 2 for x in sample) / (n - 1))
    return student_t.cdf((value - mean) / sd / math.sqrt(1 + 1 / n), n - 1)


def sac(source: np.ndarray, suspect: np.ndarray) -> float:
    """SAC's distance of two lists of probabilities, entry by entry."""
    total = 0.0
    for i in range(len(source)):
        for j in range(len(source)):
            cos = [
                float(p[i] @ p[j]) / math.sqrt(float(p[i] @ p[i]) * float(p[j] @ p[j]))
                for p in (source, suspect)
            ]
            total += abs(cos[0] - cos[1]) / 2
    return total / len(source) ** 2


def softmax(z: torch.Tensor, t: float = 1) -> np.ndarray:
    e = np.exp(z.double().numpy() / t)
    return e / e.sum(1, keepdims=True)


def test_rows_of_a_temperature_by_loops(run, table):
    source = softmax(run.logits["w"][run.zoo.source])

    def distance(name: str, t: float = 1) -> float:
        return sac(source, softmax(run.logits["w"][name], t))

    controls = [distance(name) for name in run.names(*scores.CALIBRATING)]
    stolen = {name: distance(name, 2) for name in run.names("extract_label")}
    innocent = [distance(name) for name in run.names(*steps.INDEPENDENT)]
    same = [distance(name, 2) for name in run.names(*attacked.INNOCENTS)]
    where = {"family": "temperature", "strength": "2", "group": "Extract-L", "score": "SAC-w"}
    (row,) = select(table, **where).to_dict("records")
    wins = [(a < b) + (a == b) / 2 for a in stolen.values() for b in innocent]
    assert row["auc"] == pytest.approx(sum(wins) / len(wins), abs=1e-9)
    for name, values in (("found", stolen.values()), ("accused", same)):
        assert row[name] == pytest.approx(np.mean([t_tail(d, controls) <= 0.01 for d in values]))
    assert (row["suspects"], row["innocents"]) == (len(stolen), len(same))
    test = run.material.splits["test"]
    right = [training.accuracy(run.zoo.get(name), test) for name in stolen]
    assert row["accuracy"] == pytest.approx(np.mean(right), abs=1e-6)


def test_rows_of_labels_by_loops(run, table):
    """AKH and the sibling test behind a service that gives random answers."""
    known = verdicts.answers(run)
    index = known[f"probes {run.profile.probes.contested[-1]}"]
    share, source = 0.1, run.logits["source"][run.zoo.source].argmax(1).tolist()

    def shown(name: str) -> dict[str, list[int]]:
        sets = {key: run.logits[key][name] for key in ("w", "source", "contrast_pool")}
        sets["contested"] = known[name][index]
        seed = steps.derived_seed(run.profile.seed, "service", name)
        generator, labels = torch.Generator().manual_seed(seed), {}
        for key, z in sets.items():
            draw = torch.rand(len(z), 1, generator=generator)[:, 0].tolist()
            drawn = torch.randint(z.shape[1], (len(z), 1), generator=generator)[:, 0].tolist()
            pairs = zip(draw, drawn, z.argmax(1).tolist(), strict=True)
            labels[key] = [other if u < share else own for u, other, own in pairs]
        return labels

    def unequal(labels: list[int]) -> float:
        return sum(a != b for a, b in zip(labels, source, strict=True)) / len(source)

    students = {name: shown(name) for name in run.names("extract_label")}
    where = {"family": "random answers", "strength": "0.1", "group": "Extract-L"}
    (row,) = select(table, **where, score="AKH").to_dict("records")
    stolen = [unequal(labels["source"]) for labels in students.values()]
    innocent = [
        unequal(run.logits["source"][name].argmax(1).tolist())
        for name in run.names(*steps.INDEPENDENT)
    ]
    wins = [(a < b) + (a == b) / 2 for a in stolen for b in innocent]
    assert row["auc"] == pytest.approx(sum(wins) / len(wins), abs=1e-9)

    members = torch.stack([known[m][index].double().log_softmax(1) for m in verdicts.members(run)])
    controls = [known[name][index].argmax(1) for name in run.names(*steps.CONTROLS)]
    controls = torch.stack([siblings.scores(members, labels) for labels in controls])
    tests = [
        siblings.sibling_test(siblings.scores(members, torch.tensor(labels["contested"])), controls)
        for labels in students.values()
    ]
    plain = select(verdicts.table(run), accused="source", form="labels")
    plain = plain[plain["n_probes"] == plain["n_probes"].max()].set_index("suspect")
    innocent = plain.loc[run.names(*steps.INDEPENDENT), "p_siblings"]
    wins = [(a.p_siblings < b) + (a.p_siblings == b) / 2 for a in tests for b in innocent]
    (row,) = select(table, **where, score="Sibling test").to_dict("records")
    assert row["auc"] == pytest.approx(float(sum(wins)) / len(wins), abs=1e-6)
    assert row["found"] == pytest.approx(np.mean([float(each.p) <= 0.01 for each in tests]))


# Who accuses


def owner_of(n: int = 12) -> tuple[scores.Owner, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    z = torch.randn(9, n, 4, generator=generator, dtype=torch.float64)
    sets = dict.fromkeys(scores.SETS, z[0])
    others = dict.fromkeys(scores.SETS, z[4:])
    return scores.Owner(sets, others, z[:4].log_softmax(2), z[4:].argmax(2)), z


def partly(suspect: torch.Tensor, part: torch.Tensor) -> dict[str, services.Shown]:
    """Answers to a part of the probes of each set."""
    shown = services.plain(dict.fromkeys(scores.SETS, suspect))
    return {name: each._replace(answered=part) for name, each in shown.items()}


@settings(max_examples=9)
@given(st.integers(4, 12))
def test_probes_without_an_answer_count_for_nobody(answered):
    """A suspect that answers the first probes only is judged as on these probes alone."""
    owner, z = owner_of()
    suspect = z[1] + 0.3 * z[8]
    part = torch.arange(12) < answered
    shown = partly(suspect, part)
    few = scores.judge(owner, {"a": shown})
    cut = scores.Owner(
        {k: v[:answered] for k, v in owner.source.items()},
        {k: v[:, :answered] for k, v in owner.calibrating.items()},
        owner.members[:, :answered],
        owner.controls[:, :answered],
    )
    whole = services.plain(dict.fromkeys(scores.SETS, suspect[:answered]))
    pd.testing.assert_frame_equal(few, scores.judge(cut, {"a": whole}))


def test_too_few_answers_say_nothing():
    owner, z = owner_of()
    part = torch.arange(12) < scores.FEWEST - 1
    shown = partly(z[0], part)
    made = scores.judge(owner, {"a": shown})
    assert (made["p"] == 1).all() and np.isinf(made["value"]).all() and len(made) == 7


def pool_of() -> disputes.Pool:
    generator = torch.Generator().manual_seed(7)
    names = [*"SABCD", *"cdef", "p", "x", "y"]
    z = 2 * torch.randn(len(names), 80, 3, generator=generator, dtype=torch.float64)
    truth = torch.randint(3, (80,), generator=generator)
    members, controls = list("SABCD"), list("cdef")
    logits = dict(zip(names, z, strict=True))
    return disputes.Pool(logits, members, controls, controls, ["p"], ["c", "d"], truth, 6)


def test_incriminating_probes_are_repeated_by_the_suspect_and_seldom_by_others():
    pool = pool_of()
    chosen = disputes.incriminating(pool, "x")
    labels = {name: z.argmax(1).tolist() for name, z in pool.logits.items()}
    few = chosen["source"].tolist()
    assert all(labels["x"][i] == labels["S"][i] for i in few) and len(few) == 6
    repeated = [sum(labels[c][i] == labels["S"][i] for c in "cdef") for i in range(80)]
    agreeing = [i for i in range(80) if labels["x"][i] == labels["S"][i]]
    assert few == sorted(agreeing, key=lambda i: (repeated[i], i))[:6]
    assert len(chosen["contested"]) == 20


def test_lies_make_an_innocent_look_guiltier():
    pool = pool_of()
    honest = disputes.honest(pool, ["x", "y"], {}).set_index(["model", "score"])["value"]
    lies = dict(disputes.lies(pool, ["x", "y"], {}, {"x": "y"}, [pool.logits[n] for n in "yAB"]))
    assert list(lies) == list(disputes.LIES)
    after = lies[disputes.PROBES_AFTER].set_index(["model", "score"])["value"]
    for name in ("x", "y"):
        assert after[name, "AKH"] < honest[name, "AKH"]
        assert after[name, "Sibling test"] < honest[name, "Sibling test"]
    same = pool.logits["x"].argmax(1) == pool.logits["S"].argmax(1)
    shares = [same[disputes.contrast(pool, leaked)].double().mean() for leaked in (None, "x")]
    assert shares[0] <= shares[1] and not lies[disputes.LEAKED].empty
    assert disputes.contrast(pool).tolist() != disputes.contrast(pool, "x").tolist()


def test_a_student_that_is_called_the_source_explains_its_teacher():
    pool = pool_of()
    pool.logits["y"] = 0.5 * pool.logits["x"] + 0.1 * pool.logits["y"]
    dated = dict(disputes.lies(pool, ["x"], {}, {"x": "y"}, []))
    assert disputes.WORSE not in dated
    p = dated[disputes.BACK_DATED].set_index("score")["p"]
    assert p["Sibling test, no guard"] < 0.05


def test_bound_of_an_innocent_is_a_students_t():
    values = [0.4, 0.5, 0.45, 0.55]
    bound = disputes.innocent_bound(np.array(values), 0.01)
    assert t_tail(-bound, [-v for v in values]) == pytest.approx(0.01)


def test_evidence_is_the_sources_excess_by_hand():
    pool = pool_of()
    made = disputes.evidence(pool, ["x"], {"x": 2})[0]
    labels = pool.logits["x"].argmax(1)
    for i in (0, 17):
        said = [max(float(pool.logits[m][i].log_softmax(0)[labels[i]]), -3) for m in ("S", *"ACD")]
        assert made[i] == pytest.approx((said[0] - sum(said[1:]) / 3 + 3) / 6)


def test_a_threshold_away_from_home_counts_the_innocents_below_it():
    rng = np.random.default_rng(0)

    def source(shift: float, seed: int) -> pd.DataFrame:
        kinds = ["independent"] * 20 + ["sibling"] * 20 + ["extract_label"] * 4
        rows = {"probes": "SAC-w", "form": "probabilities", "measure": "cosine", "n_probes": 100}
        values = rng.normal(shift, 1, 44)
        return pd.DataFrame({"seed": seed, "step": kinds, "distance": values} | rows)

    a, b = {0: source(0, 0), 1: source(0, 1)}, {5: source(-2, 5)}
    tables = {n: {"distances": pd.concat(p.values())} for n, p in (("a", a), ("b", b))}
    made = disputes.travel(tables).set_index(["home", "away"])
    assert list(made.index) == [("a", "a"), ("a", "b"), ("b", "a")] and set(made["pairs"]) == {2}
    shares = []
    for home in a.values():
        innocent = sorted(home["distance"][:40])
        bar = innocent[2]  # two of forty are the 5 %
        shares.append(np.mean([d < bar for d in b[5]["distance"][:40]]))
    assert made.loc[("a", "b"), "accused"] == pytest.approx(np.mean(shares))
    assert made.loc[("a", "b"), "accused"] > made.loc[("a", "a"), "accused"]


# Findings


def test_sentences_say_what_the_rows_say_and_what_was_not_measured(table):
    said = attacked.sentences(table)
    assert len(said) == 5 and all(text.endswith(".") for text in said)
    where = {"family": "temperature", "strength": "2", "group": "Extract-L", "score": "SAC-w"}
    row = select(table, **where).iloc[0]
    assert str(evaluation.Auc(row["auc"], row["low"], row["high"])) in said[0]
    part = table[~table["family"].isin(thieves.TRICKS)]
    assert attacked.sentences(part)[2] == "Not measured in this run."
    # nothing is cheap, or nothing harms: said as it is
    plain = table["family"].isin([attacked.PLAIN, attacked.NO_TRICK])
    dear = attacked.sentences(table.assign(accuracy=np.where(plain, 0.9, 0.2)))
    assert " 0 keep 95% of the accuracy." in dear[1] and " 0 leave the students" in dear[2]
    same = attacked.sentences(table.assign(auc=0.4, low=0.1, high=0.8))[0]
    assert "leaves the AUC of SAC-w on Extract-L, against all innocents, at 0.40 [0.10" in same
    harmless = attacked.sentences(table.assign(found=1.0, accuracy=0.9))
    assert "none of them lowers what the sibling test finds" in harmless[1]


def test_a_reference_fills_what_a_run_lacks_and_nothing_else(table):
    own = table[~table["family"].isin([*thieves.TRICKS, attacked.NO_TRICK])]
    other = table.assign(auc=0.5, seed=0)
    both = attacked.with_reference(own, pd.concat([other, other.assign(auc=0.7, seed=1)]))
    assert (both["origin"] == "this run").sum() == len(own)
    # with the undisturbed models of the reference, and nothing is compared across the two
    start = (table["family"] == attacked.PLAIN).sum()
    assert len(both) == len(table) + start
    filled = select(both, origin="reference", family=list(thieves.TRICKS))
    borrowed = attacked.beside(both, list(thieves.TRICKS))
    alike = select(table, family=attacked.NO_TRICK)
    assert set(borrowed["origin"]) == {"reference"} and len(borrowed) == len(filled) + len(alike)
    assert set(attacked.beside(both, ["temperature"])["origin"]) == {"this run"}
    assert attacked.with_reference(table, other)["origin"].eq("this run").all()
    assert np.allclose(filled["auc"], 0.6)
    suspects = table.loc[table["family"].isin(thieves.TRICKS), "suspects"]
    assert filled["suspects"].tolist() == (2 * suspects).tolist()


def test_thieves_stand_beside_ordinary_students_of_their_own_kinds(run, table):
    kinds = {thief.architecture for thief in thieves.everybody(run)}
    names = [m for m in run.names("extract_label") if run.zoo.specs[m].architecture in kinds]
    assert 0 < len(names) < len(run.names("extract_label"))
    records = [run.zoo.record(name)["test_accuracy"] for name in names]
    for row in select(table, family=attacked.NO_TRICK).to_dict("records"):
        assert (row["suspects"], row["group"]) == (len(names), attacked.STUDENTS)
        assert row["accuracy"] == pytest.approx(np.mean(records))


def test_shares_of_data_on_one_line_are_those_of_one_run(table):
    shared = table[table["family"] == attacked.OVERLAP]
    own = table.drop(shared.index[shared["strength"] == shared["strength"].iloc[-1]])
    both = attacked.with_reference(own, table.assign(auc=0.5, seed=0))
    rows = select(both, group="Independent (overlap)", score="SAC-w")
    line = attacked.of_one_origin(attacked.beside(rows, [attacked.OVERLAP]))
    assert set(line["origin"]) == {"reference"}
    assert set(line["strength"]) == set(shared["strength"])
    mixed = pd.concat([rows, select(both, family=attacked.PLAIN, origin="this run")])
    assert len(attacked.of_one_origin(mixed)) == len(line) + len(mixed) - len(rows)
    assert attacked.of_one_origin(rows.head(0)).empty
