"""SAC's tables are what the definitions give, and what is read off long tables agrees with them."""

import numpy as np
import pandas as pd
import pytest

from sacutils import correlation, evaluation, freshness, steps
from sacutils.probes import PROBE_SETS
from sacutils.run import open_run
from sacutils.studies import tables
from sacutils.studies.tables import SAC_W, select

SOURCE = "source(vgg_bn_s)#0"


@pytest.fixture(scope="module")
def own(run):
    return tables.of_run(run)


@pytest.fixture(scope="module")
def main(run):
    """Both correlations at the larger number of probes."""
    rows = select(tables.distances(run), measure=["cosine", "rbf"])
    return select(rows, n_probes=run.profile.probes.count)


def test_table_of_models(run):
    table = tables.zoo(run)
    assert list(table["name"]) == list(steps.plan(run.profile)) and table["sha256"].is_unique
    assert table["test_accuracy"].between(0, 1).all()
    assert set(table["group"]) == set(steps.LABELS.values())


def test_distances_against_loops(run, main):
    others = [name for name in run.names() if name != SOURCE]
    assert len(main) == len(PROBE_SETS) * 3 * 2 * len(others) and set(main["model"]) == set(others)
    assert main["distance"].between(0, 1).all()
    assert not main.duplicated(["probes", "form", "measure", "model"]).any()
    for row in main.sample(12, random_state=0).to_dict("records"):
        probe_set = next(key for key, label in PROBE_SETS.items() if label == row["probes"])
        matrices = []
        for name in (SOURCE, row["model"]):
            logits = run.logits[probe_set][name].double()
            answers = correlation.to_form(logits, row["form"]).numpy()
            matrix = np.empty((len(answers), len(answers)))
            for i, a in enumerate(answers):
                for j, b in enumerate(answers):
                    matrix[i, j] = (1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / 2
            matrices.append(np.exp(-4 * matrix) if row["measure"] == "rbf" else matrix)
        assert row["distance"] == pytest.approx(np.abs(matrices[0] - matrices[1]).mean(), abs=1e-5)
        assert row["group"] == steps.LABELS[row["step"]]


@pytest.mark.parametrize("probe_set", ["source", "m"])
def test_second_budget_is_the_first_probes_and_rms_the_root_mean_square(run, probe_set):
    name, small = run.names("extract_label")[0], run.profile.probes.second_count
    outputs = [run.outputs(probe_set, model)[:small] for model in (SOURCE, name)]
    expected = correlation.distance(*map(correlation.cosine_matrix, outputs)).item()
    cell = select(tables.distances(run), probes=PROBE_SETS[probe_set], model=name)
    cell = select(cell, form="probabilities")
    found = select(cell, n_probes=small, measure="cosine")["distance"].item()
    assert found == pytest.approx(expected, abs=1e-9)
    kernels = (run.matrix(probe_set, model, kind="rbf") for model in (SOURCE, name))
    rbf = select(cell, measure="rbf")["distance"].item()
    assert rbf == pytest.approx(correlation.distance(*kernels).item(), abs=1e-11)
    difference = (run.matrix(probe_set, name) - run.matrix(probe_set, SOURCE)).numpy()
    rms = select(cell, measure="cosine RMS")["distance"].item()
    assert rms == pytest.approx(np.sqrt((difference**2).sum() / difference.size), abs=1e-9)


def test_label_agreement_counts_equal_labels_of_models_with_the_same_classes(run):
    table = select(tables.distances(run), measure="label agreement")
    assert not {"transfer_all", "transfer_last", "independent_transfer"} & set(table["step"])
    for row in table.sample(8, random_state=1).to_dict("records"):
        logits = run.logits[{label: key for key, label in PROBE_SETS.items()}[row["probes"]]]
        theirs, mine = (logits[name].argmax(1).tolist() for name in (SOURCE, row["model"]))
        unequal = [a != b for a, b in zip(theirs, mine, strict=True)][: row["n_probes"]]
        assert row["distance"] == pytest.approx(sum(unequal) / len(unequal))


def test_models_with_equally_many_equal_labels_tie(run, main):
    table = select(main, probes="SAC-source", form="labels", measure="cosine")
    by_count: dict[int, set[float]] = {}
    for name, value in zip(table["model"], table["distance"], strict=True):
        labels = [run.logits["source"][model].argmax(1).tolist() for model in (SOURCE, name)]
        pairs = [(i, j) for i in range(10) for j in range(10)]
        one, two = ([values[i] == values[j] for i, j in pairs] for values in labels)
        count = sum(a != b for a, b in zip(one, two, strict=True))
        by_count.setdefault(count, set()).add(value)
    assert {len(values) for values in by_count.values()} == {1} and 1 < len(by_count) < len(table)


def test_auc_table_compares_each_attack_with_its_own_independent_models(run, main):
    table = select(tables.auc(run), measure=["cosine", "rbf"], n_probes=run.profile.probes.count)
    others = {"Transfer-A": ["independent_transfer"], "Transfer-L": ["independent_transfer"]}
    others["Transfer-10C"] = ["independent_corrupted"]
    every = select(table, negatives=steps.MAIN_NEGATIVES)
    assert len(every) == len(PROBE_SETS) * 3 * 2 * len(steps.ATTACKS)
    for row in every.sample(15, random_state=0).to_dict("records"):
        key = {name: row[name] for name in ("probes", "form", "measure")}
        part = select(main, **key)
        stolen = select(part, group=row["attack"])["distance"].tolist()
        negatives = others.get(row["attack"], ["independent"])
        independent = select(part, step=negatives)["distance"].tolist()
        assert (row["n_stolen"], row["n_independent"]) == (len(stolen), len(independent))
        pairs = [1.0 if s < i else 0.5 if s == i else 0.0 for s in stolen for i in independent]
        assert row["auc"] == pytest.approx(np.mean(pairs))
        assert row["low"] - 1e-12 <= row["auc"] <= row["high"] + 1e-12
        expected = evaluation.tpr_at_fpr(np.array(stolen), np.array(independent))
        assert row["tpr_at_5fpr"] == pytest.approx(expected)


def test_groups_of_negatives_are_parts_of_all(run):
    rows = tables.fingerprint(tables.auc(run), "SAC-w", "labels", "cosine")
    counts = select(rows, attack="Extract-L").set_index("negatives")["n_independent"].to_dict()
    assert counts == {"all": 4, "attacker data": 3, "owner data": 1}
    assert set(select(rows, attack="Transfer-A")["negatives"]) == {"attacker data"}


def test_cell_of_the_auc_table(run):
    cell = tables.cell(run, "extract_probability", "jc", "logits", "rbf")
    rows = select(
        tables.auc(run), attack="Extract-P", probes="SAC-JC", form="logits", measure="rbf"
    )
    rows = select(rows, negatives="attacker data")
    assert len(rows) == 1 and cell == tuple(rows.iloc[0][["auc", "low", "high"]])


def test_tables_are_the_same_to_the_last_byte(run):
    tables.write(run)
    folder = run.folder / "tables"
    names = {"zoo.csv", "sac_distances.csv", "sac_auc.csv"}
    first = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).unlink()
    tables.write(open_run("smoke", folder=run.shared.parent))
    assert {name: (folder / name).read_bytes() for name in names} == first
    assert pd.read_csv(folder / "zoo.csv")["seed"].dtype == np.int64


def test_an_own_run_is_a_reference_with_one_source(run, own):
    """The same cell three ways: kept, from distances with a seed, and from those without."""
    bootstrap = (run.profile.bootstrap, run.profile.seed)
    for attack in steps.ATTACKS:
        kept = tables.cell(run, attack)
        for table in (own["distances"], tables.distances(run)):
            rows = tables.fingerprint(table, *SAC_W)
            row = tables.over_sources(rows, attack, bootstrap=bootstrap)
            assert tables.interval(row) == pytest.approx(kept, abs=1e-11) and row["sources"] == 1
    assert all(next(iter(table.columns)) == "seed" for table in own.values())


def test_wide_table_holds_the_cells_of_the_long_one(run):
    rows = select(tables.auc(run), form="labels", measure="cosine", negatives="attacker data")
    rows = select(rows, n_probes=run.profile.probes.count)
    wide = tables.wide(rows, "attack", "probes").set_index("attack")
    assert list(wide.columns) == list(PROBE_SETS.values())
    assert list(wide.index) == [steps.LABELS[attack] for attack in steps.ATTACKS]
    for attack in steps.ATTACKS:
        assert wide.loc[steps.LABELS[attack], "SAC-w"] == str(
            tables.cell(run, attack, "w", "labels")
        )
    rows = rows[(rows["attack"] != "Pruning") | (rows["probes"] != "SAC-m")]
    assert tables.wide(rows, "attack", "probes").set_index("attack").loc["Pruning", "SAC-m"] == "–"


def test_fingerprint_takes_the_larger_number_of_probes(run):
    large, small = run.profile.probes.count, run.profile.probes.second_count
    table = tables.distances(run)
    assert set(tables.fingerprint(table, *SAC_W)["n_probes"]) == {large}
    assert set(tables.fingerprint(select(table, n_probes=small), *SAC_W)["n_probes"]) == {small}


def test_fingerprints_are_rivals_then_sac(own):
    made = own | {"auc": pd.concat([own["auc"], own["auc"].head(2).assign(probes="FBI")])}
    names = list(tables.fingerprints(made))
    assert names[0] == "FBI" and len(names) == 11 and names[-1] == "SAC-JC (labels)"
    assert list(tables.rivals(made)) == ["FBI"] and tables.fingerprints(made)["SAC-w"] == SAC_W


def frame(*sources: tuple[list[float], list[float]]) -> pd.DataFrame:
    rows = [
        (seed, step, value)
        for seed, (stolen, independent) in enumerate(sources)
        for step, values in (("extract_label", stolen), ("independent", independent))
        for value in values
    ]
    return pd.DataFrame(rows, columns=["seed", "step", "distance"])


def test_mean_over_sources_with_its_extremes():
    table = frame(([1.0, 2.0], [3.0, 4.0]), ([1.0, 4.0], [2.0, 3.0]))
    row = tables.over_sources(table, "extract_label")
    assert (row["auc"], row["smallest"], row["largest"], row["sources"]) == (0.75, 0.5, 1.0, 2)
    assert row["low"] < 0.5 and row["high"] == 1
    assert tables.text(row) == f"{tables.interval(row)}; 0.50\u2060–\u20601.00"


def test_interval_of_a_single_source_is_that_of_evaluation():
    generator = np.random.default_rng(0)
    stolen, independent = generator.normal(0, 1, 40), generator.normal(1, 1, 40)
    row = tables.over_sources(frame((list(stolen), list(independent))), "extract_label")
    expected = evaluation.auc(stolen, independent, 2000, 0)
    assert tables.interval(row) == pytest.approx(expected, abs=1e-12)
    assert tables.text(row) == str(expected)


def test_interval_grows_with_the_spread_of_the_sources():
    near, far = ([1.0, 3.0, 2.0], [2.5, 3.5, 4.0]), ([4.0, 3.9, 3.0], [2.5, 3.5, 4.1])
    alike = tables.over_sources(frame(near, near, near), "extract_label")
    apart = tables.over_sources(frame(near, far, near), "extract_label")
    assert apart["high"] - apart["low"] > alike["high"] - alike["low"]


def test_perfect_sources_keep_the_doubt_of_one():
    perfect = ([1.0] * 4, [2.0] * 5)
    row = tables.over_sources(frame(perfect, perfect, perfect), "extract_label")
    assert tables.interval(row) == pytest.approx((1.0, *evaluation.score_interval(1.0, 4, 5)))


def test_single_source_with_two_models_has_the_score_interval():
    row = tables.over_sources(frame(([1.0, 3.5], [2.0, 3.0, 4.0])), "extract_label")
    expected = evaluation.score_interval(row["auc"], 2, 3)
    assert (row["low"], row["high"]) == pytest.approx(expected)


def both(stolen, independent, probes=("A", "B")):
    """Distances of two fingerprints that judged the same models, shape (2, models) each."""
    parts = []
    for k, name in enumerate(probes):
        part = frame((list(stolen[k]), list(independent[k])))
        parts.append(part.assign(probes=name, form="f", measure="m", n_probes=5))
    table = pd.concat(parts)
    table["model"] = [f"{step}#{k}" for step, k in zip(table["step"], table.index, strict=True)]
    return {"distances": table}


def test_paired_difference_is_that_of_the_two_aucs():
    generator = np.random.default_rng(0)
    stolen = generator.normal(0, 1, (2, 6)).round(1)
    independent = generator.normal(0.7, 1, (2, 9)).round(1)
    made, keys = both(stolen, independent), (("A", "f", "m"), ("B", "f", "m"))
    one, other = (evaluation.auc(stolen[k], independent[k], 500, 0) for k in (0, 1))
    row = tables.difference(made, *keys, "extract_label", bootstrap=(500, 0))
    assert row["value"] == pytest.approx(one.value - other.value, abs=1e-12) and row["paired"]
    gain = np.subtract(*(evaluation.ordered_pairs(stolen[k], independent[k]) for k in (0, 1)))
    draws = evaluation.resampled(gain, 500, np.random.default_rng(0))
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))))
    # the order of the rows does not matter, since models are matched by name
    second = made["distances"]["probes"] == "B"
    turned = pd.concat([made["distances"][~second], made["distances"][second][::-1]])
    assert (
        tables.difference({"distances": turned}, *keys, "extract_label", bootstrap=(500, 0)) == row
    )
    same = tables.difference(made, keys[0], keys[0], "extract_label")
    assert same["alike"] and same["value"] == 0 and np.isnan(same["low"])
    assert tables.signed(same) == "+0.00\u00a0[–]"


def test_differences_say_which_is_better_and_leave_out_who_judged_nothing():
    near, far = np.arange(6.0), np.arange(6.0) + 0.5
    made = both([near, near[::-1]], [near + 6, far])
    nothing = made["distances"].assign(probes="C", step="independent_transfer")
    made = {"distances": pd.concat([made["distances"], nothing])}
    others = {name: (name, "f", "m") for name in "ABC"}
    found = tables.differences(made, others["A"], others, "extract_label").set_index("method")
    assert list(found.index) == ["B"] and found.loc["B", "word"] == "better"
    found = tables.differences(made, others["B"], others, "extract_label").set_index("method")
    assert list(found.index) == ["A"] and found.loc["A", "word"] == "worse"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.2e-6, "3.2 µs"), (0.5, "500 ms"), (119, "119 s"), (7000, "117 min"), (7200, "2.0 h")],
)
def test_duration_has_a_fitting_unit(seconds, text):
    assert tables.duration(seconds) == text.replace(" ", "\u00a0")


def test_all_that_makes_a_distance_is_in_its_digest():
    start = {("sacutils.studies.tables", name) for name in ("sac_distances", "auc_table")}
    code = freshness.closure(start)
    for name in ("to_form", "cosine_matrix", "distance", "rms_distance"):
        assert f"sacutils.correlation.{name}" in code
    assert "sacutils.evaluation.auc" in code and "sacutils.steps.STEPS" in code
    assert not any(name.startswith("sacutils.rivals") for name in code)
