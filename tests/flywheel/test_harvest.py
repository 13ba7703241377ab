"""What is learnt of a rating, and what is not."""

import pytest

from mainspring.flywheel.harvest import harvest
from mainspring.gateway.base import AnswerRecord
from mainspring.observe.feedback import FeedbackRow
from mainspring.schema import Message

SHOWN = (Message("system", "Answer."), Message("user", "A passage.\n\nQuestion: When?"))


def row(rating, correction=None, kind: str | None = "generated"):
    answer = AnswerRecord(
        model="mainspring", messages=(Message("user", "When?"),), text="In 1890.", kind=kind, prompt_messages=SHOWN,
    )  # fmt: skip
    return FeedbackRow(request="req-1", rating=rating, correction=correction, source="user", answer=answer)


@pytest.mark.parametrize("rating", ["up", "down"])
def test_a_correction_wins_over_the_answer_that_was_given(rating):
    (lesson,), dropped = harvest([row(rating, " In 1891. ")])
    assert lesson.messages == (*SHOWN, Message("assistant", "In 1891."))
    assert dropped == []


def test_an_answer_rated_up_is_learnt_with_what_the_model_was_shown():
    (lesson,), dropped = harvest([row("up")])
    assert lesson.messages == (*SHOWN, Message("assistant", "In 1890."))
    assert (lesson.question, lesson.request, lesson.source, dropped) == ("When?", "req-1", "user", [])


def test_a_plain_models_answer_has_no_kind_and_is_learnt_too():
    lessons, _ = harvest([row("up", kind=None)])
    assert len(lessons) == 1


def test_an_answer_rated_down_without_a_correction_is_dropped_with_the_reason():
    lessons, (dropped,) = harvest([row("down")])
    assert lessons == []
    assert (dropped.request, dropped.reason) == ("req-1", "rated down without a correction")


@pytest.mark.parametrize("kind", ["extracted", "abstained"])
def test_what_the_model_did_not_write_is_no_example_of_its_writing(kind):
    lessons, (dropped,) = harvest([row("up", kind=kind)])
    assert lessons == []
    assert kind in dropped.reason


@pytest.mark.parametrize("kind", ["extracted", "abstained"])
def test_a_correction_of_what_the_model_did_not_write_is_learnt(kind):
    (lesson,), _ = harvest([row("up", "In 1891.", kind)])
    assert lesson.messages[-1].content == "In 1891."
