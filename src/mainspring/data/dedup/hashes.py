"""XXH64 of many slices of one buffer at once, without a Python call for each.

Source: the specification of xxHash, XXH64 with seed 0 (https://github.com/Cyan4973/xxHash). What is changed:
slices of equal length take the same way through the algorithm, so each of its steps is one numpy operation
over all of them. A length that only few slices have is not worth these steps and goes to the package xxhash.

    for "the cat sat on", "a dog ran far up", ...: sort by length -> lanes of 8 bytes -> mix -> back in order
"""

from collections.abc import Callable

import numpy as np

from mainspring.errors import MissingExtraError

PRIME_1, PRIME_2, PRIME_3, PRIME_4, PRIME_5 = (
    np.uint64(value)
    for value in (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
    )
)  # fmt: skip
FIRST_SUMS = np.array([PRIME_1, 0, 0, 0], np.uint64) + np.array(
    [PRIME_2, PRIME_2, 0, -int(PRIME_1) % 2**64], np.uint64
)
STRIPE, LANE, HALF_LANE = 32, 8, 4
MIN_TOGETHER = 200
"""Slices of one length from which on numpy is faster; about 60 operations cost what 200 calls do."""

Read = Callable[[int], np.ndarray]


def xxh64_slices(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """XXH64 of buffer[starts[i]:ends[i]] for every i.

    buffer: uint8. starts, ends: int64, shape (n,). Returns uint64, shape (n,).
    """
    hashes = np.empty(len(starts), np.uint64)
    lengths = ends - starts
    order = np.argsort(lengths.astype(np.min_scalar_type(int(lengths.max(initial=0)))), kind="stable")
    borders = np.flatnonzero(np.diff(lengths[order])) + 1
    lanes = _lanes(buffer)
    few: list[np.ndarray] = []
    for members in np.split(order, borders):
        if len(members) < MIN_TOGETHER:
            few.append(members)
        else:
            hashes[members] = _equally_long(buffer, lanes, starts[members], int(lengths[members[0]]))
    _one_by_one(buffer, starts, ends, np.concatenate(few) if few else order[:0], hashes)
    return hashes


def xxh32_slices(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """XXH32 of the slices, one call each; uint64, so that it takes the place of the longer hash."""
    from_bytes, view = _package().xxh32_intdigest, buffer.data
    slices = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.fromiter((from_bytes(view[start:end]) for start, end in slices), np.uint64, len(starts))


def _one_by_one(
    buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray, members: np.ndarray, hashes: np.ndarray
) -> None:
    from_bytes, view = _package().xxh64_intdigest, buffer.data
    for member in members.tolist():
        hashes[member] = from_bytes(view[starts[member] : ends[member]])


def _equally_long(buffer: np.ndarray, lanes: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """The algorithm for slices of `length` bytes. `lanes[i]` is bytes i to i + 8 as a number."""

    def lane(offset: int) -> np.ndarray:
        return lanes[starts + offset]

    position = length - length % STRIPE
    mixed = _stripes(lane, position, len(starts)) if position else np.full(len(starts), PRIME_5)
    mixed += np.uint64(length)
    while position + LANE <= length:
        mixed ^= _round(lane(position) * PRIME_2)
        mixed = _rotated(mixed, 27) * PRIME_1 + PRIME_4
        position += LANE
    if position + HALF_LANE <= length:
        half = lane(position - HALF_LANE) >> np.uint64(32) if position >= HALF_LANE else lane(position)
        mixed ^= (half & np.uint64(0xFFFFFFFF)) * PRIME_1
        mixed = _rotated(mixed, 23) * PRIME_2 + PRIME_3
        position += HALF_LANE
    for offset in range(position, length):
        mixed ^= buffer[starts + offset] * PRIME_5
        mixed = _rotated(mixed, 11) * PRIME_1
    return _avalanche(mixed)


def _stripes(lane: Read, end: int, count: int) -> np.ndarray:
    """Four accumulators over the whole stripes of 32 bytes, brought together."""
    sums = [np.full(count, value) for value in FIRST_SUMS]
    for offset in range(0, end, STRIPE):
        sums = [_round(each + lane(offset + LANE * k) * PRIME_2) for k, each in enumerate(sums)]
    mixed = _rotated(sums[0], 1) + _rotated(sums[1], 7) + _rotated(sums[2], 12) + _rotated(sums[3], 18)
    for each in sums:
        mixed = (mixed ^ _round(each * PRIME_2)) * PRIME_1 + PRIME_4
    return mixed


def _round(added: np.ndarray) -> np.ndarray:
    return _rotated(added, 31) * PRIME_1


def _rotated(values: np.ndarray, bits: int) -> np.ndarray:
    return (values << np.uint64(bits)) | (values >> np.uint64(64 - bits))


def _avalanche(mixed: np.ndarray) -> np.ndarray:
    mixed = (mixed ^ (mixed >> np.uint64(33))) * PRIME_2
    mixed = (mixed ^ (mixed >> np.uint64(29))) * PRIME_3
    return mixed ^ (mixed >> np.uint64(32))


def _lanes(buffer: np.ndarray) -> np.ndarray:
    """At every byte, the number of the 8 bytes from there on, zeros behind the end; uint64."""
    padded = np.concatenate([buffer, np.zeros(LANE, np.uint8)])
    return np.ndarray(len(buffer) + 1, np.dtype("<u8"), padded.tobytes(), strides=(1,)).astype(np.uint64)


def _package():  # noqa: ANN202 - a module without types
    try:
        import xxhash
    except ImportError:
        raise MissingExtraError("xxhash", "data", "Finding near-duplicates") from None
    return xxhash
