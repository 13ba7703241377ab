import re
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data.augment.mask import WORD, Mask, Settings
from mainspring.errors import ConfigError

TEXTS = st.lists(
    st.sampled_from(["the", "owner's", "spring,", "winds", "(it)", "12", "café", "well-known", "- x"]),
    min_size=3,
    max_size=25,
).map(" ".join)


def change(text, key="d#1", copy=1, **values):
    return Mask(build(Settings, values))([text], [key], copy)[0]


def words(text):
    return [found.group() for found in WORD.finditer(text)]


@given(TEXTS, st.sampled_from([0.05, 0.2, 0.5, 1.0]))
def test_exactly_the_rate_of_the_words_is_masked_and_all_else_stays(text, rate):
    masked = change(text, rate=rate, mask="@").text
    count = max(1, round(rate * len(words(text))))
    assert masked.count("@") == count
    gaps = [re.escape(part) for part in masked.split("@")]
    assert re.fullmatch(r"\w+(?:['’-]\w+)*".join(gaps), text)


@given(TEXTS, st.sampled_from([0.05, 0.2, 0.5, 1.0]))
def test_exactly_the_rate_of_the_words_is_deleted_in_order_and_one_is_left(text, rate):
    kept, before = words(change(text, action="delete", rate=rate).text), words(text)
    assert len(before) - len(kept) == min(max(1, round(rate * len(before))), len(before) - 1)
    rest = iter(before)
    assert all(word in rest for word in kept)  # a subsequence


@given(TEXTS, st.sampled_from([0.1, 0.5, 1.0]))
def test_swapped_words_are_the_same_ones_in_other_places(text, rate):
    changed = change(text, action="swap", rate=rate)
    before = words(text)
    assume(changed.text is not None)
    assert Counter(words(changed.text)) == Counter(before)
    moved = sum(a != b for a, b in zip(before, words(changed.text), strict=True))
    assert 2 <= moved <= max(2, round(rate * len(before)))
    assert WORD.sub("w", changed.text) == WORD.sub("w", text)


def test_seed_key_and_copy_decide_which_words():
    text = " ".join(f"word{number}" for number in range(50))
    first = change(text)
    assert change(text) == first
    others = [change(text, seed=1), change(text, key="d#2"), change(text, copy=2)]
    assert all(other != first for other in others)


@pytest.mark.parametrize(
    ("text", "action"), [("", "mask"), ("...", "mask"), ("one", "delete"), ("one", "swap")]
)
def test_a_text_with_too_few_words_stays(text, action):
    changed = change(text, action=action)
    assert (changed.text, changed.reason) == (None, "too few words")


def test_swapping_equal_words_changes_nothing():
    assert change("the the", action="swap").reason == "the same again"


def test_a_rate_that_is_none_is_an_error():
    with pytest.raises(ConfigError, match="rate"):
        change("a b", rate=0)
