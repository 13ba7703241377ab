"""Documents that share most of their text: MinHash and locality-sensitive hashing.

A document is the set of its shingles, runs of `ngram` words. The part of shingles that two documents share is
estimated by `buckets` x `hashes_per_bucket` minima, and two documents are near-duplicates where all minima of
one bucket agree; for a shared part s that happens with probability 1 - (1 - s^hashes_per_bucket)^buckets, 92 %
at 0.8 and 5 % at 0.5 with the defaults. Clusters are what such pairs connect.

Papers: Broder 1997 (MinHash); "Approximate nearest neighbors", Indyk and Motwani 1998 (buckets); the defaults
are those of FineWeb, arXiv:2406.17557. The clusters equal those of datatrove 0.10 with the same parameters and
with words split at white space, which needs no language and no download. Texts with fewer than `ngram` words
have no shingle and no duplicate; dedup/exact.py finds those that are equal.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from mainspring.config import Config
from mainspring.data.dedup.base import join_equal
from mainspring.data.dedup.hashes import xxh32_slices, xxh64_slices
from mainspring.data.dedup.minhash import NOTHING, make_permutations, signatures
from mainspring.data.dedup.words import Unit, Words, read_words

BATCH_CHARACTERS = 1 << 20
"""Texts signed together: enough for whole-array work, little enough to stay in the cache."""


class Settings(Config):
    """What near-duplicates are."""

    ngram: int = pydantic.Field(default=5, ge=1, description="Words in a shingle.")
    buckets: int = pydantic.Field(default=14, ge=1, description="Chances of two documents to be found.")
    hashes_per_bucket: int = pydantic.Field(default=8, ge=1, description="Minima that must all agree.")
    seed: int = pydantic.Field(default=1, ge=0, le=2**32 - 1, description="Seed of the permutations.")
    precision: Literal[64, 32] = pydantic.Field(default=64, description="Bits of a hash.")
    unit: Unit = pydantic.Field(
        default="words",
        description="What a shingle is made of: words between white space, or single characters for languages "
        "that are written without spaces.",
    )
    memory_mb: float = pydantic.Field(default=64, gt=0, description="Memory for finding clusters, MB.")


class Near:
    """Sameness of documents that share most of their shingles."""

    name = "near"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.width = settings.buckets * settings.hashes_per_bucket
        self._permutations = make_permutations(self.width, settings.seed, settings.precision)

    def sign(self, texts: Sequence[str]) -> np.ndarray:
        """The minima of every text; all NOTHING where it has no shingle."""
        signed = np.empty((len(texts), self.width), np.uint64)
        is_ascii = np.fromiter(map(str.isascii, texts), bool, len(texts))  # a few others would slow down all
        for alike in (np.flatnonzero(is_ascii), np.flatnonzero(~is_ascii)):
            for numbers in _batches(texts, alike):
                signed[numbers] = self._sign([texts[int(number)] for number in numbers])
        return signed

    def clusters(self, signatures: Iterable[tuple[int, np.ndarray]], scratch: Path) -> Iterator[list[int]]:
        bands = list(pairwise(range(0, self.width + 1, self.settings.hashes_per_bucket)))
        signed = ((first, rows, rows[:, 0] != NOTHING) for first, rows in signatures)
        return join_equal(signed, bands, scratch, int(self.settings.memory_mb * 1e6))

    def _sign(self, texts: Sequence[str]) -> np.ndarray:
        words = read_words(texts, self.settings.unit)
        starts, ends, owners = shingles(words, self.settings.ngram)
        hash_slices = xxh64_slices if self.settings.precision == 64 else xxh32_slices
        counts = np.bincount(owners, minlength=len(texts))
        return signatures(hash_slices(words.buffer, starts, ends), counts, self._permutations)


def shingles(words: Words, ngram: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(starts, ends, texts): every run of `ngram` words of one text, as a slice of the buffer."""
    last = len(words.starts) - ngram + 1
    if last < 1:
        nothing = np.empty(0, np.int64)
        return nothing, nothing, nothing
    is_within = words.texts[:last] == words.texts[ngram - 1 :]
    return words.starts[:last][is_within], words.ends[ngram - 1 :][is_within], words.texts[:last][is_within]


def _batches(texts: Sequence[str], numbers: np.ndarray) -> list[np.ndarray]:
    sizes = np.fromiter((len(texts[number]) for number in numbers), np.int64, len(numbers))
    borders = np.flatnonzero(np.diff(np.cumsum(sizes) // BATCH_CHARACTERS)) + 1
    return np.split(numbers, borders) if len(numbers) else []
