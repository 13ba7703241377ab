from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.rules.ngrams import duplicate_characters, repeats, top_characters

few_words = st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), max_size=40)


def slow_duplicates(words, n):
    """Characters of every word that lies in an n-gram which stood before."""
    seen, covered = set(), set()
    for at in range(len(words) - n + 1):
        gram = tuple(words[at : at + n])
        if gram in seen:
            covered |= set(range(at, at + n))
        seen.add(gram)
    return sum(len(words[at]) for at in covered)


def slow_top(words, n):
    grams = [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]
    return len(gram) * count


@given(few_words)
def test_repeats_of_all_n_are_those_of_the_plain_formula(words):
    lengths = np.array([len(word) for word in words], np.int64)
    for found in repeats(words, 10):
        assert duplicate_characters(found, lengths) == slow_duplicates(words, found.n)
        assert top_characters(found, lengths) == slow_top(words, found.n)
