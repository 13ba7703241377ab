"""Overlaps with evaluation texts against comparing every run with every run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from mainspring.data import leaks
from mainspring.data.leaks import ASCII_WORD, WORD, Leaks, words_of

WORDS = st.text("ab ,.", max_size=16)
ITEMS = st.lists(WORDS, max_size=5)


def plain_overlaps(
    items: list[str], text: str, ngram: int, min_words: int
) -> dict[int, tuple[set[int], float]]:
    """Item -> (words of the text that it shares, part of its own words that the text has)."""
    document = words_of(text)
    found: dict[int, tuple[set[int], float]] = {}
    for number, item in enumerate(items):
        words = words_of(item)
        if len(words) < min_words:
            continue
        length = min(ngram, len(words))
        shared: set[int] = set()
        covered: set[int] = set()
        for place in range(len(document) - length + 1):
            for begin in range(len(words) - length + 1):
                if document[place : place + length] == words[begin : begin + length]:
                    shared |= set(range(place, place + length))
                    covered |= set(range(begin, begin + length))
        if shared:
            found[number] = (shared, len(covered) / len(words))
    return found


@given_settings(deadline=None)
@given(ITEMS, WORDS, st.integers(1, 4), st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0]))
def test_overlaps_are_those_of_comparing_all_runs(
    items: list[str], text: str, one: int, other: int, min_overlap: float
):
    min_words, ngram = sorted((one, other))
    named = [(f"set#{number}", item) for number, item in enumerate(items)]
    index = Leaks(named, ngram, min_words)
    spans = [found.span() for found in WORD.finditer(text)]
    found: dict[int, tuple[set[int], float]] = {}
    for overlap in index.overlaps(text, min_overlap):
        words = {n for n, (start, end) in enumerate(spans) if start >= overlap.start and end <= overlap.end}
        number = int(overlap.name.removeprefix("set#"))
        found[number] = (found.get(number, (set(), 0.0))[0] | words, overlap.part)
    expected = plain_overlaps(items, text, ngram, min_words)
    assert found == {number: each for number, each in expected.items() if each[1] >= min_overlap}
    assert index.num_ignored == sum(len(words_of(item)) < min_words for item in items)


def test_hashes_that_meet_are_told_apart_by_their_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leaks, "MULTIPLIER", np.uint64(0))
    index = Leaks([("set#1", "one two three"), ("set#2", "three two one")], 3, 3)
    assert [each.name for each in index.overlaps("three two one")] == ["set#2"]
    assert index.overlaps("two three one") == []


def test_words_are_compared_without_case_punctuation_and_form():
    index = Leaks([("set#1", "Où est le café, Straße 5?")], 6, 6)
    overlaps = index.overlaps("Wait: OU\u0300 EST -- le CAFE\u0301 (STRASSE 5)!")
    assert [(each.start, each.end) for each in overlaps] == [(6, 36)]


def test_characters_of_languages_without_spaces_count_as_words():
    index = Leaks([("set#1", "日本の首都は東京です")], 8, 8)
    assert [each.name for each in index.overlaps("問題:日本の首都は東京です。")] == ["set#1"]
    assert index.overlaps("日本の首都は京都です") == []


@given(st.text())
def test_there_are_as_many_compared_words_as_places(text: str):
    assert len(words_of(text)) == len(WORD.findall(text))


@given(st.text(st.characters(max_codepoint=127)))
def test_the_short_way_for_ascii_finds_the_same_words(text: str):
    assert ASCII_WORD.findall(text) == WORD.findall(text)
