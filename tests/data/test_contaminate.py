"""Decontamination as a rule."""

import pickle

import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data.contaminate import Contaminate, Settings
from mainspring.data.document import Document
from mainspring.errors import ConfigError

QUESTION = "Which river flows through the old town of the city where the treaty was signed in spring?"
SHORT = "Who wrote the first letter to the king?"
ITEMS = [("gold.jsonl#q1", QUESTION), ("gold.jsonl#q2", SHORT), ("gold.jsonl#q3", "Paris")]
BEFORE = "A first paragraph that nobody asks about. " * 12
BEHIND = "Another one, longer than any window around it. " * 12


def rule(**values: object) -> Contaminate:
    return Contaminate(build(Settings, values), ITEMS)


def document(text: str) -> Document:
    return Document(id="d#1", text=text, meta={"language": "en"})


def test_a_document_with_a_question_is_dropped_and_the_question_named():
    outcome = rule()(
        document(f"{BEFORE} which river flows THROUGH the old town of the city where the treaty?")
    )
    assert outcome.document is None
    assert outcome.reason == "evaluation_text"
    assert (
        outcome.sample == "gold.jsonl#q1: which river flows THROUGH the old town of the city where the treaty"
    )
    assert outcome.numbers == {"evaluation_texts": 1, "overlap": 13 / 17}


def test_twelve_words_of_a_question_are_no_leak_and_thirteen_are():
    words = QUESTION.split()
    assert rule()(document(" ".join(words[:12]))).document is not None
    assert rule()(document(" ".join(words[:13]))).document is None


def test_a_shorter_question_is_found_as_a_whole_only():
    assert rule()(document(f"He asked: {SHORT}")).document is None
    assert rule()(document("Who wrote the first letter to the queen?")).document is not None
    assert rule()(document("Paris is a city.")).document is not None
    assert rule().leaks.num_ignored == 1


def test_a_document_without_evaluation_text_is_left_as_it_is():
    kept = document(BEFORE)
    assert rule()(kept).document is kept


def test_cutting_leaves_what_is_far_from_the_question():
    outcome = rule(policy="cut")(document(f"{BEFORE}{QUESTION} {BEHIND}"))
    assert outcome.document is not None
    assert outcome.reason == "evaluation_text_cut"
    assert outcome.document.meta == {"language": "en"}
    first, second = outcome.document.text.split("\n\n")
    assert BEFORE.startswith(first)
    assert BEHIND.strip().endswith(second)
    assert len(BEFORE) - len(first) in range(199, 204)


def test_a_document_cut_into_many_pieces_or_too_short_ones_is_dropped():
    often = f"{BEFORE}{QUESTION} " * 11 + BEHIND
    assert rule(policy="cut")(document(often)).reason == "evaluation_text_in_many_places"
    assert rule(policy="cut", max_pieces=12)(document(often)).reason == "evaluation_text_cut"
    assert rule(policy="cut")(document(f"Short. {QUESTION} Short.")).document is None


def test_a_part_of_the_question_can_be_demanded():
    leak = document(" ".join(QUESTION.split()[:13]))
    assert rule(min_overlap=0.8)(leak).document is leak
    assert rule(min_overlap=0.7)(leak).document is None


@given_settings(deadline=None)
@given(st.text("ab \n", max_size=60), st.lists(st.text("ab ", max_size=8), max_size=3), st.integers(0, 3))
def test_no_evaluation_text_is_left_after_cutting(text: str, items: list[str], window: int):
    values = {
        "policy": "cut", "ngram": 3, "min_words": 2, "window_characters": window,
        "min_piece_characters": 1, "max_pieces": 100,
    }  # fmt: skip
    cut = Contaminate(build(Settings, values), [(f"set#{n}", item) for n, item in enumerate(items)])
    outcome = cut(document(text))
    if outcome.document is not None:
        assert cut(outcome.document).document is outcome.document


def test_a_worker_s_copy_decides_alike():
    copy = pickle.loads(pickle.dumps(rule()))
    assert copy(document(QUESTION)) == rule()(document(QUESTION))


def test_without_evaluation_texts_everything_is_kept():
    kept = document(QUESTION)
    assert Contaminate(Settings(), [])(kept).document is kept


def test_a_whole_text_cannot_be_longer_than_a_run():
    with pytest.raises(ConfigError, match="min_words is 8 and ngram 5"):
        build(Settings, {"ngram": 5})
