import pytest

from mainspring.errors import UserError
from mainspring.knowledge.calibrate import calibrate
from mainspring.knowledge.scope import Scope

QUESTIONS = [
    ("When does the night train leave Vienna?", "rail.md"),
    ("At how many degrees is green tea steeped?", "tea.md"),
    ("How long does rye bread rest?", "bread.rst"),
]


def test_the_threshold_parts_answerable_questions_from_their_unanswerable_twins(retriever):
    found = calibrate(retriever, QUESTIONS, Scope())
    assert (found.balanced_accuracy, found.answered, found.abstained) == (1.0, 1.0, 1.0)
    for question, document in QUESTIONS:
        assert retriever.search(question, Scope(), 1)[0].score >= found.threshold
        twin = retriever.search(question, Scope(without=frozenset({document})), 1)
        assert twin[0].score < found.threshold


def test_without_questions_there_is_nothing_to_calibrate(retriever):
    with pytest.raises(UserError, match="training questions"):
        calibrate(retriever, [], Scope())
