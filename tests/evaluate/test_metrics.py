import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.evaluate.metrics import exact_match, token_f1, words


@pytest.mark.parametrize(
    ("answer", "wanted", "f1"),
    [
        ("worker threads", "worker threads", 1.0),
        ("It uses worker threads.", "worker threads", 2 / 3),  # precision 2/4, recall 1
        ("threads", "worker threads", 2 / 3),
        ("processes", "worker threads", 0.0),
        ("", "worker threads", 0.0),
        ("threads threads", "worker threads", 0.5),  # a repeated word counts once
        ("The Python 3.13!", "python 3.13", 1.0),
        ("3", "3.13", 0.0),  # a number is not its beginning
    ],
)
def test_token_f1_equals_the_figure_made_by_hand(answer: str, wanted: str, f1: float):
    assert token_f1(answer, wanted) == pytest.approx(f1)


def test_words_keep_versions_and_names_whole():
    assert words("The `to_thread.run_sync` of v0.11.x, isn't it?") == [
        "to_thread.run_sync",
        "of",
        "v0.11.x",
        "isn't",
        "it",
    ]


def test_exact_match_asks_for_the_same_words_in_the_same_order():
    assert exact_match("Worker threads.", "the worker threads") == 1.0
    assert exact_match("threads worker", "worker threads") == 0.0


@given(st.text(max_size=60), st.text(max_size=60))
def test_token_f1_is_symmetric_and_between_zero_and_one(first: str, second: str):
    assert 0.0 <= token_f1(first, second) <= 1.0
    assert token_f1(first, second) == token_f1(second, first)
    assert token_f1(first, first) == 1.0
