"""SAC's tables are what the definitions give, and what is read off long tables agrees with them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student_t
from sklearn.metrics import cohen_kappa_score

from sacutils import correlation, evaluation, freshness, steps
from sacutils.probes import PLACEBOS, PROBE_SETS, PUBLISHED
from sacutils.run import open_run
from sacutils.studies import tables
from sacutils.studies.tables import SAC_W, select

SOURCE = "source(vgg_bn_s)#0"


N_KEYS = 5 * (3 * 2 + 2) + 3 * 4 + 2
"""Cosine and rbf of each probe set and form: SAC's sets have three forms with both and two with
cosine only, the book's own sets four with cosine only, its placebos one."""


def evaluated(run) -> list[str]:
    """Neither the source, nor the owner's helpers and controls."""
    roles = {name: steps.STEPS[spec.step].role for name, spec in run.zoo.specs.items()}
    return [name for name, role in roles.items() if role in ("stolen", "independent")]


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
    assert table["query_accuracy"].dropna().between(0, 1).all()


def test_copies_that_copy_less_than_a_stranger_are_marked(run):
    table = tables.zoo(run)
    rows = table.to_dict("records")
    marked = {row["name"] for row in rows if row["copies_less"]}
    for row in rows:
        negatives = "independent_corrupted" if "corrupted" in row["step"] else "independent"
        others = [other["fidelity"] for other in rows if other["step"] == negatives]
        less = row["step"] in steps.ATTACKS and row["fidelity"] < sum(others) / len(others)
        assert (row["name"] in marked) == less
    assert marked and set(table["copies_less"]) == {True, False}


def test_distances_against_loops(run, main):
    others = evaluated(run)
    assert len(main) == N_KEYS * len(others) and set(main["model"]) == set(others)
    assert main["distance"].between(0, 1).all()
    assert not main.duplicated(["probes", "form", "measure", "model"]).any()
    for row in main.sample(20, random_state=0).to_dict("records"):
        probe_set = next(key for key, label in PROBE_SETS.items() if label == row["probes"])
        matrices = []
        for name in (SOURCE, row["model"]):
            logits = run.logits[probe_set][name].double()
            theirs = run.logits[probe_set][SOURCE].double()
            answers = correlation.to_form(logits, row["form"], theirs).numpy()
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


def test_kappa_is_that_of_being_wrong_together_on_plain_images(run):
    table = select(tables.distances(run), measure="kappa")
    assert set(table["probes"]) == {"SAC-normal"} and set(table["form"]) == {"labels"}
    truth = run.material.splits["probe"].labels[run.probes["normal"].index]
    source = (run.logits["normal"][SOURCE].argmax(1) != truth).tolist()
    assert 0 < sum(source) < len(source)
    for row in table.to_dict("records"):
        wrong = (run.logits["normal"][row["model"]].argmax(1) != truth).tolist()
        expected = cohen_kappa_score(source, wrong) if 0 < sum(wrong) < len(wrong) else 0
        assert row["distance"] == pytest.approx(1 - expected)


def test_rows_of_each_model(run):
    """The book's own rows take less than half as many again as SAC's published ones."""
    table = tables.distances(run)
    counts = table.groupby("model").size()
    alike = {
        name for name in evaluated(run) if not steps.STEPS[run.zoo.specs[name].step].new_labels
    }
    assert set(counts[list(alike)]) == {100} and set(counts.drop(list(alike))) == {84}
    published = select(table, probes=list(PUBLISHED.values()), form=list(correlation.SERVED))
    published = published[published["measure"] != "kappa"]
    assert set(published.groupby("model").size()[list(alike)]) == {70}


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
    assert len(every) == N_KEYS * len(steps.ATTACKS)
    for row in every.sample(15, random_state=0).to_dict("records"):
        key = {name: row[name] for name in ("probes", "form", "measure")}
        part = select(main, **key)
        stolen = select(part, group=row["attack"])["distance"].tolist()
        negatives = others.get(row["attack"], ["independent", "independent_plain"])
        independent = select(part, step=negatives)["distance"].tolist()
        assert (row["n_stolen"], row["n_independent"]) == (len(stolen), len(independent))
        pairs = [1.0 if s < i else 0.5 if s == i else 0.0 for s in stolen for i in independent]
        assert row["auc"] == pytest.approx(np.mean(pairs))
        assert row["low"] - 1e-12 <= row["auc"] <= row["high"] + 1e-12
        false, true = evaluation.roc(np.array(stolen), np.array(independent))
        assert row["tpr_at_5fpr"] == pytest.approx(true[false <= 0.05].max())


def test_groups_of_negatives_are_parts_of_all(run):
    rows = tables.fingerprint(tables.auc(run), "SAC-w", "labels", "cosine")
    counts = select(rows, attack="Extract-L").set_index("negatives")["n_independent"].to_dict()
    parts = {"attacker data": 4, "owner data": 2, "siblings": 12, "students of another": 6}
    assert counts == parts | {"all": 24}
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
    for attack in steps.ATTACKS:
        kept = tables.cell(run, attack)
        for table in (own["distances"], tables.distances(run)):
            rows = tables.fingerprint(table, *SAC_W)
            row = tables.over_sources(rows, attack)
            assert tables.interval(row) == pytest.approx(kept, abs=1e-11) and row["sources"] == 1
    assert all(next(iter(table.columns)) == "seed" for table in own.values())


def test_wide_table_holds_the_cells_of_the_long_one(run):
    rows = select(tables.auc(run), form="labels", measure="cosine", negatives="attacker data")
    rows = select(rows, n_probes=run.profile.probes.count)
    wide = tables.wide(rows, "attack", "probes").set_index("attack")
    assert list(wide.columns) == [PROBE_SETS[key] for key in PROBE_SETS if key not in PLACEBOS]
    assert list(wide.index) == [steps.LABELS[attack] for attack in steps.ATTACKS]
    for attack in steps.ATTACKS:
        assert wide.loc[steps.LABELS[attack], "SAC-w"] == str(
            tables.cell(run, attack, "w", "labels")
        )
    rows = rows[(rows["attack"] != "Pruning") | (rows["probes"] != "SAC-m")]
    assert tables.wide(rows, "attack", "probes").set_index("attack").loc["Pruning", "SAC-m"] == "–"


def test_fingerprint_takes_the_larger_number_of_probes(run):
    large, small = run.profile.probes.counts
    table = tables.distances(run)
    assert set(tables.fingerprint(table, *SAC_W)["n_probes"]) == {large}
    assert set(tables.fingerprint(select(table, n_probes=small), *SAC_W)["n_probes"]) == {small}


@pytest.mark.parametrize("count", [6, 5])
def test_with_few_probes_every_model_is_counted_once(run, count):
    other = open_run("smoke", {"probes.count": count}, folder=run.shared.parent)
    assert other.profile.probes.second_count >= count and other.profile.probes.counts == [count]
    made = tables.sac_distances(other)
    assert set(made["n_probes"]) == {count}
    assert not made.duplicated(["probes", "form", "measure", "model"]).any()


def test_fingerprints_are_rivals_then_sac(own):
    made = own | {"auc": pd.concat([own["auc"], own["auc"].head(2).assign(probes="FBI")])}
    names = list(tables.fingerprints(made))
    assert names[0] == "FBI" and len(names) == 1 + 5 * 4 + 5 * 2
    assert names[10] == "SAC-JC (labels)" and names[-1] == "Placebo (pool), agreement"
    few = own["auc"][own["auc"]["form"] == "probabilities"]  # an older reference run
    assert list(tables.fingerprints({"auc": few})) == list(PROBE_SETS.values())
    assert list(tables.rivals(made)) == ["FBI"] and tables.fingerprints(made)["SAC-w"] == SAC_W


def frame(*sources: tuple[list[float], list[float]]) -> pd.DataFrame:
    """Distances of models of one architecture each, by source."""
    rows = [
        (seed, step, f"{step}(vgg_s)#{k}", value)
        for seed, (stolen, independent) in enumerate(sources)
        for step, values in (("extract_label", stolen), ("independent", independent))
        for k, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["seed", "step", "model", "distance"])


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
    assert tables.interval(row) == pytest.approx(evaluation.auc(stolen, independent), abs=1e-12)
    assert tables.text(row) == str(evaluation.auc(stolen, independent)) and row["spread"] == 0


def test_interval_grows_with_the_spread_of_the_sources():
    near, far = ([1.0, 3.0, 2.0] * 9, [2.5, 3.5, 4.0] * 9), ([4.0] * 9, [2.5, 3.5, 4.1] * 3)
    alike = tables.over_sources(frame(near, near, near), "extract_label")
    apart = tables.over_sources(frame(near, far, near), "extract_label")
    assert apart["high"] - apart["low"] > alike["high"] - alike["low"]
    values = [8 / 9, 1 / 3, 8 / 9]
    assert apart["spread"] == pytest.approx(np.std(values, ddof=1))
    half = student_t.ppf(0.975, 2) * apart["spread"] / np.sqrt(3)
    assert apart["low"] == pytest.approx(max(0, np.mean(values) - half))


def test_perfect_sources_are_more_certain_than_one_and_not_certain():
    perfect = ([1.0] * 4, [2.0] * 5)
    rows = [tables.over_sources(frame(*[perfect] * n), "extract_label") for n in (1, 3, 5)]
    bounds = [evaluation.score_interval(1.0, 4, 5, sources=n)[0] for n in (1, 3, 5)]
    assert [row["low"] for row in rows] == pytest.approx(bounds) and bounds == sorted(bounds)
    worse = tables.over_sources(frame(*[perfect] * 4, ([1.0] * 3 + [2.5], [2.0] * 5)),
                                "extract_label")  # fmt: skip
    assert worse["low"] < rows[2]["low"] < 1


def test_a_cluster_is_an_architecture_or_a_chain():
    source = "source(vgg_bn_s)#0"
    students = [f"{source} > extract_label({kind})#{k}" for kind in ("vgg_s", "dense_s")
                for k in (0, 1)]  # fmt: skip
    hardened = [f"{name} > extract_adversarial#0" for name in students]
    found = tables.clusters(np.array([*students, *hardened, f"{source} > finetune_all#0"]))
    assert list(found) == [*["vgg_s", "vgg_s", "dense_s", "dense_s"] * 2, "vgg_bn_s"]
    rungs = [f"{source} > prune(10%)#0", f"{source} > prune(10.5%)#0 > prune(20%)#0"]
    assert len(set(tables.clusters(np.array(rungs)))) == 1
    copies = [f"{source} > finetune_all#{k}" for k in range(4)]
    assert len(set(tables.clusters(np.array(copies)))) == 4
    siblings = [f"sibling(vgg_bn_s)#{k}" for k in range(19)]
    assert len(set(tables.clusters(np.array(siblings)))) == 19


def test_interval_counts_units(run):
    rows = tables.fingerprint(tables.distances(run), *SAC_W)
    for attack in steps.ATTACKS:
        models = tables.groups(rows, attack, column="model")
        counts = [evaluation.units(tables.clusters(group)) for group in models]
        row = tables.over_sources(rows, attack)
        assert [row["units_stolen"], row["units_independent"]] == pytest.approx(counts)
        expected = evaluation.score_interval(row["auc"], *counts)
        assert (row["low"], row["high"]) == pytest.approx(expected)
        assert tables.bounds(row, 0.99)[0] < row["low"]


def both(stolen, independent, probes=("A", "B")):
    """Distances of two fingerprints that judged the same models, shape (2, models) each."""
    parts = []
    for k, name in enumerate(probes):
        part = frame((list(stolen[k]), list(independent[k])))
        parts.append(part.assign(probes=name, form="f", measure="m", n_probes=5))
    table = pd.concat(parts)
    return {"distances": table}


def test_paired_difference_is_that_of_the_two_aucs():
    generator = np.random.default_rng(0)
    stolen = generator.normal(0, 1, (2, 6)).round(1)
    independent = generator.normal(0.7, 1, (2, 9)).round(1)
    made, keys = both(stolen, independent), (("A", "f", "m"), ("B", "f", "m"))
    one, other = (evaluation.auc(stolen[k], independent[k]) for k in (0, 1))
    row = tables.difference(made, *keys, "extract_label")
    assert row["value"] == pytest.approx(one.value - other.value, abs=1e-12) and row["paired"]
    gain = np.subtract(*(evaluation.ordered_pairs(stolen[k], independent[k]) for k in (0, 1)))
    parts = (gain[gain > 0].sum() / gain.size, -gain[gain < 0].sum() / gain.size)
    assert (row["gain"], row["loss"]) == pytest.approx(parts)
    expected = evaluation.difference_interval(*parts, 6, 9)
    assert (row["low"], row["high"]) == pytest.approx(expected)
    # the order of the rows does not matter, since models are matched by name
    second = made["distances"]["probes"] == "B"
    turned = pd.concat([made["distances"][~second], made["distances"][second][::-1]])
    assert tables.difference({"distances": turned}, *keys, "extract_label") == pytest.approx(row)
    same = tables.difference(made, keys[0], keys[0], "extract_label")
    assert same["value"] == 0 and same["low"] == pytest.approx(-same["high"]) and same["high"] > 0
    assert tables.signed(same).startswith("+0.00 [-0.")


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
