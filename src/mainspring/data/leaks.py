"""Where a text repeats runs of words from evaluation texts: an index of their n-grams, built once.

    evaluation texts -> words -> numbers -> hashes of their n-grams, sorted
    a document       -> words -> numbers -> hashes -> candidates -> compared word by word -> overlaps

Words are compared without case and punctuation; characters of Chinese and Japanese count as words. A word that
stands in no evaluation text breaks every run, so most documents are done with after one look at their words.
Hashes only find candidates: what is reported has been compared.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np

IDEOGRAMS = "\u3040-\u30ff\u3400-\u9fff"
WORD = re.compile(rf"[{IDEOGRAMS}]|[^\W{IDEOGRAMS}](?:[^\W{IDEOGRAMS}]|[\u0300-\u036f])*")
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
ASCII_WORD = re.compile(r"\w+", re.ASCII)
UNKNOWN = 0
MIN_BITS, MAX_BITS = 10, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A stretch of a text that stands in an evaluation text, too.

    start, end: characters of the text. part: of the evaluation text's words, how many stand in the text, 0 to 1.
    """

    name: str
    start: int
    end: int
    part: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grams:
    """All n-grams of one length: hashes ascending, and where in `Leaks._words` each begins."""

    hashes: np.ndarray
    begins: np.ndarray
    known: np.ndarray  # which first bits of a hash occur at all: one look instead of a search
    shift: np.uint64

    def may_be_there(self, hashes: np.ndarray) -> np.ndarray:
        return self.known[hashes >> self.shift]


class Leaks:
    """The n-grams of evaluation texts."""

    def __init__(self, texts: Iterable[tuple[str, str]], ngram: int, min_words: int) -> None:
        """Build the index.

        Args:
            texts: name (`set#item`) and text; the same name may come with several texts.
            ngram: words of a run that counts.
            min_words: a text shorter than `ngram` counts as a whole, down to this many words.

        """
        self._ngram = ngram
        self._numbers: dict[str, int] = {}
        self.num_ignored = 0
        """Texts with too few words to be looked for."""
        self.names: list[str] = []
        lengths: list[int] = []
        words: list[int] = []
        for name, text in dict.fromkeys(texts):
            found = [self._numbers.setdefault(word, len(self._numbers) + 1) for word in words_of(text)]
            if len(found) < min_words:
                self.num_ignored += 1
                continue
            self.names.append(name)
            lengths.append(len(found))
            words += found
        self._words = np.array(words, np.uint64)
        self._ends = np.cumsum(np.array(lengths, np.int64))
        self._grams = {
            length: grams
            for length, hashes in _hashes(self._words, ngram)
            if length >= min_words and (grams := self._make(length, hashes))
        }

    def overlaps(self, text: str, min_overlap: float = 0.0) -> list[Overlap]:
        """Stretches of `text` that evaluation texts share, of all texts of which at least `min_overlap` is there."""
        numbers = np.fromiter(map(self._numbers.get, words_of(text), repeat(UNKNOWN)), np.uint64)
        matches = list(self._matches(numbers))
        if not matches:
            return []
        places, begins, lengths = (np.concatenate(column) for column in zip(*matches, strict=True))
        items = np.searchsorted(self._ends, begins, side="right")
        spans = [found.span() for found in WORD.finditer(text)]
        found: list[Overlap] = []
        for item in np.unique(items):
            here = items == item
            part = _covered(begins[here], lengths[here]) / self._length(item)
            if part >= min_overlap:
                found += [
                    Overlap(name=self.names[item], start=spans[first][0], end=spans[last][1], part=part)
                    for first, last in _stretches(places[here], lengths[here])
                ]
        return found

    def _matches(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(word of the document, word of the index, length) of every n-gram that both have."""
        is_known = np.concatenate([[0], np.cumsum(numbers != UNKNOWN)])
        for length, hashes in _hashes(numbers, max(self._grams, default=0)):
            grams = self._grams.get(length)
            if grams is None:
                continue
            is_whole = is_known[length:] - is_known[:-length] == length
            places = np.flatnonzero(is_whole & grams.may_be_there(hashes))
            first = np.searchsorted(grams.hashes, hashes[places])
            counts = np.searchsorted(grams.hashes, hashes[places], side="right") - first
            places = np.repeat(places, counts)
            begins = grams.begins[
                np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(places))
            ]
            offsets = np.arange(length)
            is_equal = (numbers[places[:, None] + offsets] == self._words[begins[:, None] + offsets]).all(
                axis=1
            )
            if is_equal.any():
                yield places[is_equal], begins[is_equal], np.full(int(is_equal.sum()), length)

    def _length(self, item: int) -> int:
        return int(self._ends[item] - (self._ends[item - 1] if item else 0))

    def _make(self, length: int, hashes: np.ndarray) -> _Grams | None:
        """The n-grams of one length: of all longer texts for the full one, of whole texts for the others."""
        lengths = np.diff(self._ends, prepend=0)
        begins = self._ends - lengths
        if length < self._ngram:
            chosen = begins[lengths == length]
        else:
            counts = np.maximum(lengths - length + 1, 0)
            steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            chosen = np.repeat(begins, counts) + steps
        if not len(chosen):
            return None
        hashes = hashes[chosen]
        order = np.argsort(hashes, kind="stable")
        bits = min(max(len(chosen).bit_length() + 3, MIN_BITS), MAX_BITS)
        shift = np.uint64(64 - bits)
        known = np.zeros(1 << bits, bool)
        known[hashes >> shift] = True
        return _Grams(hashes=hashes[order], begins=chosen[order], known=known, shift=shift)


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared; as many, in the same order, as WORD finds."""
    if text.isascii():
        return ASCII_WORD.findall(text.lower())
    return [unicodedata.normalize("NFC", word).casefold() for word in WORD.findall(text)]


def _hashes(numbers: np.ndarray, longest: int) -> Iterator[tuple[int, np.ndarray]]:
    """(n, hashes of all n-grams), n from 1: a polynomial over the words' numbers, modulo 2^64, its bits mixed."""
    mixed = (numbers + np.uint64(1)) * MULTIPLIER
    mixed ^= mixed >> np.uint64(32)
    combined = np.zeros(len(numbers) + 1, np.uint64)
    for length in range(1, min(longest, len(numbers)) + 1):
        combined = combined[:-1] * MULTIPLIER + mixed[length - 1 :]
        yield length, combined


def _covered(begins: np.ndarray, lengths: np.ndarray) -> int:
    """How many words lie in any of the runs."""
    return sum(last - first + 1 for first, last in _stretches(begins, lengths))


def _stretches(begins: np.ndarray, lengths: np.ndarray) -> list[tuple[int, int]]:
    """(first, last) word of runs that touch or overlap, brought together."""
    found: list[tuple[int, int]] = []
    for begin, length in sorted(zip(begins.tolist(), lengths.tolist(), strict=True)):
        if found and begin <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], begin + length - 1))
        else:
            found.append((begin, begin + length - 1))
    return found
