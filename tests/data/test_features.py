import math
import re
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.features import INVERSE, MIX, PRIME, FeatureSettings, features

MASK = (1 << 64) - 1
SETTINGS = FeatureSettings(bucket_bits=10, word_ngrams=3, byte_ngrams=(2, 5))


def slow_features(text, settings):
    """The docstring's formula, one n-gram at a time, in Python's own numbers."""
    data = text.encode("utf-8", "surrogatepass")
    lower = text.lower().encode("utf-8", "surrogatepass")

    def stretch(data, start, end):
        total = sum((data[at] + 1) * pow(PRIME, at, 1 << 64) for at in range(start, end))
        return total * pow(INVERSE, start, 1 << 64) & MASK

    hashes = [0]
    for n in settings.byte_ngrams:
        hashes += [(stretch(data, at, at + n) + n) & MASK for at in range(len(data) - n + 1)]
    words = [stretch(lower, *match.span()) for match in re.finditer(rb"[0-9a-z'\x80-\xff]+", lower)]
    row = words
    for n in range(settings.word_ngrams):
        hashes += row
        row = [
            (first * PRIME + second + 1) & MASK for first, second in zip(row, words[n + 1 :], strict=False)
        ]
    counts = Counter(
        ((each ^ (each >> 33)) * int(MIX) & MASK) >> (64 - settings.bucket_bits) for each in hashes
    )
    norm = math.sqrt(sum(math.log1p(count) ** 2 for count in counts.values()))
    return {bucket: math.log1p(count) / norm for bucket, count in counts.items()}


@given(st.text(max_size=40) | st.text("ab Ä'.", max_size=40))
def test_features_are_those_of_the_plain_formula(text):
    found = features(text, SETTINGS)
    expected = slow_features(text, SETTINGS)
    assert found.buckets.tolist() == sorted(expected)
    np.testing.assert_allclose(found.values, [expected[bucket] for bucket in sorted(expected)], rtol=1e-12)


def test_only_the_begin_of_a_long_text_is_looked_at():
    short = FeatureSettings(max_chars=100)
    assert (
        features("river " * 50, short).buckets.tolist() == features("river " * 5000, short).buckets.tolist()
    )
