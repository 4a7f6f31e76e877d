"""Pictures and tables that are committed are what the code gives, and are not edited by hand."""

import pandas as pd

from sacbook import picture, scaling


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
