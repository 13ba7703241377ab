"""MinHash signatures: for every permutation the least number that a text's shingles are sent to.

Paper: "On the resemblance and containment of documents", Broder 1997; the permutations are the universal
hashes x -> (a x + b) mod 2^61 - 1. As in datatrove, whose signatures these equal, a x + b is computed in 64
bits, so it wraps before the remainder is taken.

The numbers lie flat: one permutation at a time goes over a block of shingles of many texts that stays in the
cache, and the minima of all its texts are taken in one step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PRIME = np.uint64((1 << 61) - 1)
PRIME_BITS = np.uint64(61)
NOTHING = np.uint64(0xFFFFFFFFFFFFFFFF)
"""In all columns of a text without shingles; no hash is that large."""
BLOCK = 32_768
"""Shingles that go through all permutations together: 256 KB a buffer, two of them fit into most L2 caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permutations:
    """factors, shifts: uint64, shape (permutations,); mask: the bits of a hash that are kept."""

    factors: np.ndarray
    shifts: np.ndarray
    mask: np.uint64


def make_permutations(count: int, seed: int, precision: int) -> Permutations:
    """The parameters that datatrove draws for this seed."""
    random = np.random.RandomState(seed)
    factors = random.randint(1, int(PRIME), dtype=np.uint64, size=count)
    shifts = random.randint(0, int(PRIME), dtype=np.uint64, size=count)
    return Permutations(factors=factors, shifts=shifts, mask=np.uint64((1 << precision) - 1))


def signatures(shingles: np.ndarray, counts: np.ndarray, permutations: Permutations) -> np.ndarray:
    """The least hash of every text under every permutation.

    shingles: hashes of the shingles of all texts, uint64, shape (n,). counts: how many of them each text has,
    int64, shape (texts,). Returns uint64, shape (texts, permutations); NOTHING where a text has none.
    """
    num = len(permutations.factors)
    least = np.full((num, len(counts)), NOTHING)
    hashed, scratch = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    for block, texts, offsets in _blocks(shingles, counts):
        room, spare = hashed[: len(block)], scratch[: len(block)]
        for number in range(num):
            _permute(block, permutations, number, room, spare)
            found = np.minimum.reduceat(room, offsets)
            least[number, texts] = np.minimum(least[number, texts], found)
    return np.ascontiguousarray(least.T)


def _permute(
    block: np.ndarray, permutations: Permutations, number: int, room: np.ndarray, spare: np.ndarray
) -> None:
    """Leave (a x + b) mod 2^61 - 1, masked, in `room`: the high bits are added to the low ones."""
    np.multiply(block, permutations.factors[number], out=room)
    np.add(room, permutations.shifts[number], out=room)
    np.right_shift(room, PRIME_BITS, out=spare)
    np.bitwise_and(room, PRIME, out=room)
    np.add(room, spare, out=room)
    if room.max() >= PRIME:  # at most 7 above; so rare that looking is cheaper than subtracting everywhere
        np.subtract(room, PRIME, out=room, where=room >= PRIME)
    if permutations.mask < PRIME:
        np.bitwise_and(room, permutations.mask, out=room)


def _blocks(shingles: np.ndarray, counts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(shingles, texts that they belong to, where each text begins); a long text spans several blocks."""
    ends = np.cumsum(counts)
    begins = ends - counts
    for start in range(0, len(shingles), BLOCK):
        stop = min(start + BLOCK, len(shingles))
        texts = np.flatnonzero((begins < stop) & (ends > start) & (counts > 0))
        yield shingles[start:stop], texts, np.maximum(begins[texts] - start, 0)
