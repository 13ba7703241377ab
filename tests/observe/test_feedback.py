import pytest

from fakes_model import House, Shelf, assistant
from mainspring.errors import NotFoundError, UserError
from mainspring.observe.feedback import MAX_CORRECTION_CHARACTERS
from mainspring.schema import ChatRequest, Message


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path, Shelf([assistant()]))
    yield house
    house.close()


def ask(house, text="When?"):
    exchange = house.pipeline.chat(ChatRequest(model="mainspring", messages=(Message("user", text),)))
    exchange.wait()
    return exchange.id


def test_feedback_is_in_the_log_when_give_returns(house):
    request = ask(house)
    house.feedback.give(request, "down", "In 1890.", comment="too long")
    event = house.log.find(type="feedback", subject=request)[0]
    assert event.data == {"rating": "down", "correction": "In 1890.", "source": "user", "comment": "too long"}


def test_the_last_feedback_of_a_request_counts(house):
    first, second = ask(house, "one"), ask(house, "two")
    house.feedback.give(first, "up")
    house.feedback.give(second, "up", source="gold")
    house.feedback.give(first, "down", "better")
    rows = house.feedback.latest()
    assert [(row.request, row.rating, row.correction, row.source) for row in rows] == [
        (first, "down", "better", "user"),
        (second, "up", None, "gold"),
    ]
    assert rows[0].answer.messages == (Message("user", "one"),)
    assert rows[0].answer.assistant == "assistant/mainspring@1"


def test_feedback_on_an_unknown_request_is_refused_and_not_kept(house):
    with pytest.raises(NotFoundError, match="'req-0'"):
        house.feedback.give("req-0", "up")
    assert house.feedback.latest() == []


@pytest.mark.parametrize(
    ("rating", "correction", "words"),
    [
        ("good", None, "'up' or 'down'"),
        ("", None, "'up' or 'down'"),
        ("down", " ", "`correction` is empty"),
        ("down", "x" * (MAX_CORRECTION_CHARACTERS + 1), "Shorten"),
    ],
)
def test_bad_feedback_is_refused_and_not_kept(house, rating, correction, words):
    request = ask(house)
    with pytest.raises(UserError, match=words):
        house.feedback.give(request, rating, correction)
    assert house.log.find(type="feedback") == []
