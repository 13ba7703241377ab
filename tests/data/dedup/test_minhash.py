"""Minima against Python's whole numbers, which do not wrap by themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.dedup import minhash
from mainspring.data.dedup.minhash import NOTHING, make_permutations, signatures

PRIME = 2**61 - 1
EDGES = st.sampled_from([0, 1, PRIME - 1, PRIME, PRIME + 1, 2**64 - 1])


def plain_signature(shingles: list[int], factors: list[int], shifts: list[int], precision: int) -> list[int]:
    if not shingles:
        return [int(NOTHING)] * len(factors)
    return [
        min((((shingle * factor + shift) % 2**64) % PRIME) % 2**precision for shingle in shingles)
        for factor, shift in zip(factors, shifts, strict=True)
    ]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2**64 - 1) | EDGES, max_size=9), max_size=6),
    st.sampled_from([32, 64]),
    st.sampled_from([1, 2, 5, 1000]),
)
def test_signatures_are_the_least_remainders(texts: list[list[int]], precision: int, block: int):
    permutations = make_permutations(5, seed=3, precision=precision)
    flat = np.array([shingle for text in texts for shingle in text], np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash, "BLOCK", block)
        found = signatures(flat, np.array([len(text) for text in texts], np.int64), permutations)
    factors, shifts = permutations.factors.tolist(), permutations.shifts.tolist()
    assert found.tolist() == [plain_signature(text, factors, shifts, precision) for text in texts]


def test_a_remainder_that_is_the_prime_itself_becomes_zero():
    whole = minhash.Permutations(
        factors=np.array([1], np.uint64), shifts=np.array([0], np.uint64), mask=np.uint64(2**64 - 1)
    )
    for shingle in (PRIME, 2 * PRIME, 8 * PRIME, 8 * PRIME + 7):
        shingles = np.array([shingle, PRIME - 1], np.uint64)
        assert signatures(shingles, np.array([2]), whole).tolist() == [[shingle % PRIME]]


def test_another_seed_is_another_set_of_permutations():
    one, other = make_permutations(8, 1, 64), make_permutations(8, 2, 64)
    assert not (one.factors == other.factors).any()
    assert (one.factors > 0).all()
    assert (one.factors < PRIME).all()
