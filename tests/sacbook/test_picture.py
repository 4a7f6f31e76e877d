"""Pictures and tables that are committed are what the code gives, and are not edited by hand."""

import pandas as pd

from sacbook import picture, scaling
from sacutils.files import home, read_json
from sacutils.studies import verdicts


def test_the_picture_is_what_the_reference_run_gives():
    assert picture.path().read_text(encoding="utf-8") == picture.svg()


def test_the_plan_of_paper_is_what_the_profile_gives():
    for name, text in scaling.contents().items():
        assert picture.path().with_name(name).read_text(encoding="utf-8") == text, name


def test_jobs_wait_for_each_other_and_for_a_card():
    rows = pd.DataFrame(
        {
            "job": list("abcd"),
            "hours": [1.0, 2.0, 3.0, 1.0],
            "after": [[], ["a"], ["a"], ["c"]],
        }
    )
    # by hand: a, then c before the shorter b; d behind c
    one = {"a": (0, 1), "c": (1, 4), "b": (4, 6), "d": (6, 7)}
    two = {"a": (0, 1), "c": (1, 4), "b": (1, 3), "d": (4, 5)}
    assert scaling.schedule(rows, 1) == one and scaling.schedule(rows, 2) == two


def test_the_page_says_what_the_card_gave():
    text = " ".join((home() / "book/gpu.md").read_text(encoding="utf-8").split())
    zoo, judged = scaling.measured("zoo"), scaling.measured("sibling_test")
    accuracy = zoo.query("step == 'source'")["probe_accuracy"].item()
    assert f"The source is right on {100 * accuracy:.0f} % of the probe images." in text
    shares = zoo.groupby("step")["probe_fidelity"].agg(["min", "max"])
    for step, words in {
        "finetune_all": "fine-tuned copies give its answer on {} of them",
        "sibling": "siblings on {},",
        "extract_label": "label students on {}.",
        "independent_owner": "in the same three architectures, do so on {}.",
    }.items():
        low, high = 100 * shares.loc[step]
        assert words.format(f"{low:.0f} to {high:.0f} %") in text, step

    innocents = judged[~judged["derived"]]
    accused = innocents[innocents["p"] <= verdicts.LEVEL].groupby("n_probes").size()
    assert dict(accused) == {300: 2, 1000: 2} and innocents["suspect"].nunique() == 29
    found = judged.query("group == 'Extract-L' and n_probes == 4000")["p"] <= verdicts.LEVEL
    assert (found.sum(), len(found)) == (3, 6)  # half of the students, as the page says
    rows = scaling.measured("auc").query("attack == 'Extract-L' and form == 'probabilities'")
    others = rows[rows["negatives"] == "students of another"]
    assert (others["low"] < 0.5).all() and (others["high"] > 0.5).all()
    assert (rows.loc[rows["negatives"] == "siblings", "auc"] == 0).all()

    record = read_json(home() / "results/paper/record.json")
    assert record["models"] == len(zoo) == 53
    assert record["replaced"]["recipes.source.epochs"] == 18
    speed = scaling.measured("speed").query("processes == 8").set_index("mps")["images_per_second"]
    assert f"did {speed[False]:,} images a second, and {speed[True]:,} with NVIDIA's MPS" in text
