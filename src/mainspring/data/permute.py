"""A pseudo-random order of any number of things, computed place by place: nothing is stored or shuffled.

A Feistel network is a bijection over 2^b numbers, whatever its round function; numbers that fall behind the end
are sent through it again until they do not (cycle walking), which leaves a bijection over exactly `size` numbers.

Paper: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002. The round function is the finalizer of
MurmurHash3: this is an order, not a secret. The halves are of unequal width where b is odd.
"""

import functools
import hashlib

import numpy as np

NUM_ROUNDS = 8


def permute(numbers: np.ndarray, size: int, key: tuple[int, ...]) -> np.ndarray:
    """Where each of `numbers` (integers below `size`) stands in the order of `key`, int64.

    The same on every machine and in every version of numpy: only integer products and shifts are used.
    """
    values = np.asarray(numbers).astype(np.uint64)
    if size == 1:
        return values.astype(np.int64)
    num_bits = max(2, (size - 1).bit_length())
    keys = _round_keys(key)
    values = _feistel(values, num_bits, keys)
    outside = np.flatnonzero(values >= size)
    while len(outside):
        values[outside] = _feistel(values[outside], num_bits, keys)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


@functools.lru_cache(maxsize=1024)
def _round_keys(key: tuple[int, ...]) -> np.ndarray:
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8 * NUM_ROUNDS).digest()
    return np.frombuffer(digest, dtype="<u8")


def _feistel(values: np.ndarray, num_bits: int, keys: np.ndarray) -> np.ndarray:
    low_bits = num_bits // 2
    low_mask, high_mask = np.uint64(2**low_bits - 1), np.uint64(2 ** (num_bits - low_bits) - 1)
    low, high = values & low_mask, values >> np.uint64(low_bits)
    for number in range(0, NUM_ROUNDS, 2):
        low = low ^ (_mix(high ^ keys[number]) & low_mask)
        high = high ^ (_mix(low ^ keys[number + 1]) & high_mask)
    return high << np.uint64(low_bits) | low


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))
