"""Text as a sparse vector: hashed n-grams of words and of bytes, computed over arrays.

A hash of bytes b_i ... b_j is sum(b_k * P^k) * P^-i modulo 2^64, so that all words and all n-grams come from
one running sum. Counts are taken as log(1 + count), and the vector has length 1.
Paper: hashing of features, arXiv:0902.2206; of subwords, arXiv:1607.04606. Without signs: weights are learnt
for what shares a bucket.
"""

from dataclasses import dataclass
from functools import cache

import msgspec
import numpy as np

PRIME = 0x9E3779B97F4A7C15 | 1  # odd, so it has an inverse modulo 2^64
INVERSE = pow(PRIME, -1, 1 << 64)
MIX = np.uint64(0xFF51AFD7ED558CCD)
WORD_BYTES = np.zeros(256, bool)
WORD_BYTES[[*range(48, 58), *range(97, 123), 39, *range(128, 256)]] = True


class FeatureSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a classifier looks at; written beside its weights, because they mean nothing without it."""

    bucket_bits: int = 18
    word_ngrams: int = 2
    byte_ngrams: tuple[int, ...] = (2, 4)
    max_chars: int = 20_000

    @property
    def num_buckets(self) -> int:
        return 1 << self.bucket_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Buckets, ascending, shape (F,), int32, and their values, shape (F,), float64, of length 1 together."""

    buckets: np.ndarray
    values: np.ndarray


def features(text: str, settings: FeatureSettings) -> Features:
    """The vector of a text's first `max_chars` characters: of words in any case, of bytes as they are."""
    begin = text[: settings.max_chars]
    hashes = [*_byte_ngrams(begin, settings.byte_ngrams), *_word_ngrams(begin.lower(), settings.word_ngrams)]
    hashes.append(np.zeros(1, np.uint64))  # one that every text has, so that none is empty
    mixed = np.concatenate(hashes)
    mixed ^= mixed >> np.uint64(33)
    mixed *= MIX
    buckets, counts = _counted((mixed >> np.uint64(64 - settings.bucket_bits)).astype(np.int32))
    values = np.log1p(counts)
    return Features(buckets=buckets, values=values / np.sqrt(values @ values))


def _byte_ngrams(text: str, lengths: tuple[int, ...]) -> list[np.ndarray]:
    """Hashes of every n bytes in a row, for each n."""
    _, sums, inverses = _sums(text)
    return [(sums[n:] - sums[:-n]) * inverses[: max(0, len(sums) - n)] + np.uint64(n) for n in lengths]


def _word_ngrams(text: str, most: int) -> list[np.ndarray]:
    """Hashes of all words, all pairs of words, ... of `most` in a row."""
    data, sums, inverses = _sums(text)
    is_word = np.zeros(len(data) + 2, bool)
    is_word[1:-1] = WORD_BYTES[data]
    edges = np.flatnonzero(is_word[1:] != is_word[:-1])
    starts, ends = edges[::2], edges[1::2]
    row = single = (sums[ends] - sums[starts]) * inverses[starts]
    rows = []
    for count in range(1, most + 1):
        rows.append(row)
        row = row[:-1] * np.uint64(PRIME) + single[count:] + np.uint64(1)
    return rows


def _sums(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bytes, shape (L,), the sums of what stands before each place, (L + 1,), and P^-0, P^-1, ..."""
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    powers, inverses = _powers(_size(len(data)))
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum((data.astype(np.uint64) + np.uint64(1)) * powers[: len(data)], out=sums[1:])
    return data, sums, inverses


def _counted(buckets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different buckets, ascending, and how often each stands there."""
    buckets.sort()
    begins = np.flatnonzero(np.concatenate(([True], buckets[1:] != buckets[:-1])))
    return buckets[begins], np.diff(np.append(begins, len(buckets)))


def _size(length: int) -> int:
    return 1 << max(10, length.bit_length())


@cache
def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """P^0 ... and P^-0 ... modulo 2^64."""
    base = np.full(size, PRIME, np.uint64)
    inverse = np.full(size, INVERSE, np.uint64)
    base[0] = inverse[0] = 1
    return np.cumprod(base), np.cumprod(inverse)
