"""All fingerprints in one table: the rows are what the definitions give, and nothing is judged that cannot be."""

import numpy as np
import pandas as pd
import pytest
import torch

from sacutils import ablations, baselines, comparison, correlation, evaluation, lineage, summaries, training, workflow
from sacutils.baselines import BASELINES
from sacutils.probes import PROBE_SETS
from sacutils.reference import select


def test_the_command_line_knows_every_baseline():
    assert list(workflow.METHODS.values()) == list(BASELINES)


def test_all_nine_baselines_and_the_five_variants_in_one_table(run):
    assert set(run.all_auc["probes"]) == set(BASELINES) | set(PROBE_SETS.values())
    assert set(run.all_auc["n_probes"]) == {run.profile.probes.count, run.profile.probes.second_count}
    for (probe_set, n), part in run.all_auc.groupby(["probes", "n_probes"]):
        assert {"Extract-L", "Extract-P", "Extract-Adv", "Finetune-A", "Pruning"} <= set(part["attack"]), (probe_set, n)
    assert not run.all_distances.duplicated(["probes", "n_probes", "form", "measure", "model"]).any()
    assert np.isfinite(run.all_distances["distance"]).all()


def test_label_matching_judges_no_suspect_with_other_classes(run):
    matching = run.all_distances[run.all_distances["measure"] == "label agreement"]
    assert not set(matching["step"]) & set(comparison.NEW_LABELS)
    assert set(comparison.NEW_LABELS) <= set(select(run.all_distances, probes="FBI")["step"])


def test_random_is_agreement_on_the_normal_probes_and_akh_on_the_mistakes(run):
    table = select(run.all_distances, measure="label agreement", n_probes=run.profile.probes.count)
    for baseline, probe_set in (("Random", "SAC-normal"), ("AKH", "SAC-source")):
        one, other = (select(table, probes=name).set_index("model")["distance"] for name in (baseline, probe_set))
        assert one.equals(other) and len(one) > 5


@pytest.mark.parametrize("probe_set", ["source", "m"])
def test_second_budget_is_the_first_probes_and_rms_the_root_mean_square(run, probe_set):
    name, small = run.names("extract_label")[0], run.profile.probes.second_count
    theirs, ours = (run.outputs(probe_set, each)[:small] for each in (run.zoo.source, name))
    expected = correlation.distance(correlation.cosine_matrix(theirs), correlation.cosine_matrix(ours)).item()
    cell = select(run.all_distances, probes=PROBE_SETS[probe_set], form="probabilities", model=name)
    assert select(cell, n_probes=small, measure="cosine")["distance"].item() == pytest.approx(expected, abs=1e-9)
    difference = (run.matrix(probe_set, name) - run.matrix(probe_set, run.zoo.source)).numpy()
    rms = select(cell, measure="cosine RMS")["distance"].item()
    assert rms == pytest.approx(np.sqrt((difference**2).sum() / difference.size), abs=1e-9)


def test_watermarked_suspects_descend_from_the_watermarked_source(run):
    judged = comparison.suspects(run, "EWE")
    stolen = [(place, spec, name) for place, spec, name in judged if spec.step in lineage.ATTACKS]
    marked = lineage.digests(lineage.variant(run.profile, "watermarked"))
    assert stolen and all(name.startswith("watermarked(") for _, _, name in stolen)
    for place, spec, _ in stolen:
        assert marked[spec.name][:12] in place.zoo.path(spec.name).name
    irrelevant = {spec.name for _, spec, _ in judged if spec.step == "irrelevant"}
    assert irrelevant == set(run.names("irrelevant"))


def test_a_distance_of_the_table_is_that_of_the_model(run):
    place, spec, name = comparison.suspects(run, "FBI")[3]
    known = comparison.setting(run, run.zoo.get(run.zoo.source))
    queries = baselines.random_queries(known, run.profile.probes.count)
    outputs = [comparison.answers(run.zoo.get(each), queries) for each in (run.zoo.source, spec.name)]
    expected = float(baselines.fbi_distance(*outputs, queries.extra))
    cell = select(run.all_distances, probes="FBI", model=name, n_probes=run.profile.probes.count)
    assert cell["distance"].item() == pytest.approx(expected, abs=1e-9) and place is run


def test_costs_are_measured_and_count_what_is_needed(run):
    table = run.costs.set_index("method")
    assert list(table.index) == [*PROBE_SETS.values(), *BASELINES]
    assert (table[["seconds_make", "seconds_check"]] > 0).all(axis=None)
    count = run.profile.probes.count
    assert table.loc["Zest", "queries"] == count * baselines.ZEST_MASKS and table.loc["ModelDiff", "queries"] == count
    assert table.loc["CAE", "references"] == len(run.names("reference")) and table.loc["SAC-m", "seconds_models"] == 0
    trained = sum(run.zoo.record(name)["seconds"] for name in run.names("surrogate"))
    assert table.loc["SAC-w", "seconds_models"] == pytest.approx(trained)


def test_quality_of_made_probes_is_kept(run):
    assert 0 <= run.baseline("IPGuard")["share.crossed"] <= 1 and 0 <= run.baseline("CAE")["share.passed"] <= 1
    assert "share.crossed" not in run.baseline("FBI")


def test_paired_difference_is_that_of_the_two_aucs(run):
    generator = np.random.default_rng(0)
    stolen, irrelevant = generator.normal(0, 1, (2, 6)).round(1), generator.normal(0.7, 1, (2, 9)).round(1)
    one, other = (evaluation.auc(stolen[k], irrelevant[k], 500, 0) for k in (0, 1))
    value, low, high = summaries.paired_difference(stolen, irrelevant, 500, 0)
    assert value == pytest.approx(one.value - other.value, abs=1e-12) and low <= value <= high
    assert summaries.possible_difference(one, other) >= abs(value)
    same = summaries.paired_difference(stolen[[0, 0]], irrelevant[[0, 0]], 500, 0)
    assert same[0] == 0 and np.isnan(same[1])


def test_movements_count_the_settings_whose_intervals_are_apart():
    lows, highs = (0.1, 0.5, 0.7), (0.4, 0.8, 0.9)
    table = pd.DataFrame(
        {
            "ablation": "x",
            "series": "y",
            "setting": ["1", "2", "3"],
            "attack": "Extract-L",
            "n_stolen": 4,
            "n_irrelevant": 5,
            "auc": [0.3, 0.6, 0.8],
            "low": lows,
            "high": highs,
        }
    )
    found = summaries.movements(table).iloc[0]
    apart = sum(lows[j] > highs[i] or lows[i] > highs[j] for i in range(3) for j in range(i))
    assert (found["apart"], found["pairs"], found["lowest"], found["highest"]) == (apart, 3, 0.3, 0.8)
    assert found["gap"] == pytest.approx(0.5)


def test_seconds_leave_the_first_call_out():
    calls = []

    def function() -> None:
        calls.append(1)
        if len(calls) == 1:
            torch.randn(300, 300) @ torch.randn(300, 300)

    assert comparison.seconds(function, repeats=3) < 0.05 and len(calls) == 4


def test_without_the_watermarked_variant_there_is_no_ewe(run):
    other = type(run)(run.profile.model_copy(update={"variants": {}}), run.shared.parent)
    assert "ewe" not in workflow.methods(other.profile) and "ewe" in workflow.methods(run.profile)


def test_ablations_reproduce_the_main_cells(run):
    """The setting that the profile has must give the AUC of the main table."""
    cells = {
        ("number of probes", "SAC-w, labels", str(run.profile.probes.count)): ("w", "labels"),
        ("output form", "SAC-m", "logits"): ("m", "logits"),
        ("bandwidth", "SAC-w, probabilities", "cosine"): ("w", "probabilities"),
        ("patch size", "corner, probabilities", "0.2"): ("m", "probabilities"),
        ("JPEG quality", "labels", "25"): ("jc", "labels"),
        ("surrogates", "SAC-w, probabilities", str(len(run.names("surrogate")))): ("w", "probabilities"),
        ("negatives", "SAC-w, labels", "attacker data"): ("w", "labels"),
    }
    for (ablation, series, setting), (probe_set, form) in cells.items():
        part = select(run.ablations, ablation=ablation, series=series, setting=setting).set_index("attack")
        for attack in ablations.ATTACKS:
            row, expected = part.loc[lineage.LABELS[attack]], run.auc_of(attack, probe_set, form)
            assert (row["auc"], row["low"], row["high"]) == pytest.approx(tuple(expected), abs=1e-5), (ablation, attack)


def test_unit_bandwidth_is_the_rbf_of_the_main_table(run):
    part = select(run.ablations, ablation="bandwidth", series="SAC-w, probabilities", setting="1.0").set_index("attack")
    assert part.loc["Pruning", "auc"] == pytest.approx(run.auc_of("prune", "w", "probabilities", "rbf").value, abs=1e-6)


def test_trained_ablations_name_their_settings_and_fidelity(run):
    epochs = select(run.ablations, ablation="extraction epochs", series="SAC-w, labels")
    assert epochs["setting"].tolist() == ["3", "5"] and epochs["fidelity"].between(0, 1).all()
    images = select(run.ablations, ablation="attacker images", series="SAC-w, labels")
    assert images["setting"].tolist() == ["250", "500"]
    groups = select(run.ablations, ablation="negatives", attack="Extract-L")["setting"]
    assert "attacker data, students' recipe" in set(groups)


def test_top_k_keeps_the_likeliest():
    probabilities = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]])
    assert torch.equal(correlation.top_k(probabilities, 2), torch.tensor([[0.5, 0.0, 0.3], [0.0, 0.6, 0.3]]))
    assert torch.equal(correlation.top_k(probabilities, 3), probabilities)


def test_another_choice_of_steps_makes_the_tables_stale(run):
    assert len(run.all_auc)
    steps = [step for step in run.profile.variants["watermarked"].steps if step != "transfer_corrupted"]
    fewer = run.profile.variants | {"watermarked": run.profile.variants["watermarked"].model_copy(update={"steps": steps})}
    other = type(run)(run.profile.model_copy(update={"variants": fewer}), run.shared.parent)
    judged = select(run.all_distances, probes="EWE")["step"]
    assert "transfer_corrupted" in set(judged)
    assert len(other._needed("watermarked")) < len(run._needed("watermarked"))
    assert other._digest([], other._needed("watermarked")) != run._digest([], run._needed("watermarked"))


def test_variant_shares_images_and_models(run):
    marked = run.variant("watermarked")
    assert marked.material is run.material and marked.shared == run.shared and marked.folder != run.folder
    name = run.names("irrelevant")[0]
    assert marked.zoo.path(name) == run.zoo.path(name) and marked.zoo.path(run.zoo.source) != run.zoo.path(run.zoo.source)
    assert evaluation.auc(np.array([0.0]), np.array([1.0]), 100, 0).value == 1
    assert training.accuracy(marked.zoo.get(name), run.material.splits["test"]) >= 0
