"""The questions of the quiz: one right answer each, feedback on every answer, a page for each."""

import json

import pytest

from sacbook import pages
from sacutils.files import home, read_json

QUIZ = read_json(home() / "book" / "quiz.json")


@pytest.mark.parametrize("page", QUIZ)
def test_each_question_has_one_right_answer_and_feedback_on_all(page):
    folders = (home() / "book", home() / "notebooks")
    assert any(
        folder.joinpath(page).with_suffix(end).exists()
        for folder in folders
        for end in (".md", ".py")
    )
    assert len(QUIZ[page]) == 5
    for question in QUIZ[page]:
        assert [answer["right"] for answer in question["answers"]].count(True) == 1
        texts = [answer["text"] for answer in question["answers"]]
        assert len(set(texts)) == len(texts) >= 3 and question["question"]
        assert all(answer["feedback"].endswith(".") for answer in question["answers"])


def test_the_length_of_an_answer_does_not_give_it_away():
    longest, count = 0, 0
    for question in (question for page in QUIZ.values() for question in page):
        most = max(question["answers"], key=lambda answer: len(answer["text"]))
        longest, count = longest + most["right"], count + 1
    assert longest <= count / 2


def test_every_numbered_chapter_but_teaching_has_a_quiz():
    numbered = [*home().glob("book/[0-9]*.md"), *home().glob("notebooks/[0-9]*.py")]
    assert {path.stem for path in numbered} - {"19_teaching"} == set(QUIZ)


def test_questions_are_staged_as_a_script(tmp_path):
    # a page that is opened as a file may not fetch JSON
    pages.stage([], tmp_path, {}, {})
    script = (tmp_path / "_static" / "quiz_data.js").read_text(encoding="utf-8")
    assert json.loads(script.removeprefix("window.sacQuiz = ")) == QUIZ
    assert not (tmp_path / "quiz.json").exists()
