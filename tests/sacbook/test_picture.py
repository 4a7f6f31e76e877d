"""The picture of the README is drawn from the reference run and is not edited by hand."""

from sacbook import picture


def test_the_picture_is_what_the_reference_run_gives():
    assert picture.path().read_text(encoding="utf-8") == picture.svg()
