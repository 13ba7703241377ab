"""Text that stands in the corpus more than once, paragraph by paragraph: the first stays, the others are cut.

Two passes. The first signs: a hash of each paragraph, line or run of words and its place. Between them, equal
hashes are found with bounded memory. The second pass cuts at the places that came out:

    texts -> sign -> (hash, document | piece) -> repeats -> places.rows, places of all but the first -> cut

A paragraph or a line is compared by its words; its first occurrence stays for certain. Runs of words are
compared at every word, so they find what was pasted into the middle of a paragraph; where two repeated runs
overlap, cutting one may take words of the other's first occurrence. Source for runs: "Deduplicating training
data makes language models better", arXiv:2107.06499, section 4.1 (there by a suffix array, here by hashes of
64 bits: among 10^9 pieces the chance that any two different ones meet is 3 %).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from mainspring.config import Config
from mainspring.data.dedup.groups import equal_pairs
from mainspring.data.dedup.places import PIECE_BITS, Places, write_places
from mainspring.data.document import Document, stable_hash
from mainspring.data.rules.base import Outcome, change, drop, keep

PIECES = {
    "paragraph": re.compile(r"(?m)(?:^[^\S\n]*+\S.*(?:\n|\Z))+"),  # lines that are not blank
    "line": re.compile(r"(?m)^[^\S\n]*+\S.*"),
    "run": re.compile(r"\S+"),
}
MAX_SAMPLE = 400
WIDTH = 2
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Settings(Config):
    """What a repeated span is."""

    unit: Literal["paragraph", "line", "run"] = pydantic.Field(
        default="paragraph",
        description="What is compared: paragraphs between blank lines, lines, or every run of min_words words.",
    )
    min_words: int = pydantic.Field(
        default=10, ge=1, description="Words from which on a paragraph or line counts; the length of a run."
    )
    min_characters: int = pydantic.Field(
        default=50, ge=1, description="Characters from which on a paragraph or line counts."
    )
    memory_mb: float = pydantic.Field(default=64, gt=0, description="Memory for finding repeats, MB.")


class Spans:
    """Signs the spans of documents, finds the repeated ones and cuts them."""

    name = "spans"
    width = WIDTH

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def sign(self, first: int, texts: Sequence[str]) -> np.ndarray:
        """Rows (hash, place) of the spans of documents number `first` and following; uint64, shape (spans, 2)."""
        rows = [np.empty((0, WIDTH), np.uint64)]
        for number, text in enumerate(texts, start=first):
            hashes, pieces = self._hashes(text)
            rows.append(np.column_stack([hashes, pieces + np.uint64(number << PIECE_BITS)]))
        return np.concatenate(rows)

    def repeats(self, signed: Iterable[np.ndarray], folder: Path) -> Places:
        """The places of all spans that stood there before, kept in `folder`.

        `signed` are the rows that sign gave, in the order of the documents.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "spans.rows"
        with path.open("wb") as stream:
            for rows in signed:
                rows.tofile(stream)
        memory_bytes = int(self.settings.memory_mb * 1e6)
        places = write_places(equal_pairs(path, WIDTH, memory_bytes), folder, memory_bytes)
        path.unlink()
        return places

    def cut(self, number: int, document: Document, places: Places) -> Outcome:
        """Document `number`, its text as it was signed, without its repeated spans; dropped if nothing is left."""
        repeated = places.of(number)
        if not len(repeated):
            return keep(document)
        cuts = list(self._cuts(document.text, repeated))
        numbers = {"spans": len(repeated), "characters": sum(end - start for start, end in cuts)}
        sample = max((document.text[start:end] for start, end in cuts), key=len).strip()[:MAX_SAMPLE]
        text = without(document.text, cuts)
        if not text.strip():
            return drop("only_repeated_spans", numbers, sample)
        return change(document, "repeated_spans", text=text, numbers=numbers, sample=sample)

    def _hashes(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """(hash, piece that it begins with) of every span of a text."""
        found = PIECES[self.settings.unit].findall(text)[: 1 << PIECE_BITS]
        if self.settings.unit == "run":
            hashes = _runs(
                np.fromiter(map(_word_hash, found), np.uint64, len(found)), self.settings.min_words
            )
            return hashes, np.arange(len(hashes), dtype=np.uint64)
        words = ((piece, each.split()) for piece, each in enumerate(found))
        normal = [(piece, " ".join(each)) for piece, each in words if len(each) >= self.settings.min_words]
        long = [
            (stable_hash(each), piece) for piece, each in normal if len(each) >= self.settings.min_characters
        ]
        rows = np.array(long, np.uint64).reshape(-1, 2)
        return rows[:, 0], rows[:, 1]

    def _cuts(self, text: str, repeated: np.ndarray) -> Iterator[tuple[int, int]]:
        """(start, end) of what goes, each up to the piece behind it; neighbours are one."""
        starts = [found.start() for found in PIECES[self.settings.unit].finditer(text)]
        length = self.settings.min_words if self.settings.unit == "run" else 1
        is_cut = np.zeros(len(starts) + 2, bool)  # with a piece before the first and one behind the last
        for offset in range(length):
            is_cut[1 + offset + repeated] = True
        edges = np.flatnonzero(np.diff(is_cut))
        borders = [*starts, len(text)]
        for begin, end in edges.reshape(-1, 2).tolist():
            yield borders[begin], borders[end]


def without(text: str, cuts: Sequence[tuple[int, int]]) -> str:
    """A text without some stretches of it; where its end is cut, white space before that goes, too."""
    borders = [0, *chain(*cuts), len(text)]
    kept = "".join(text[start:end] for start, end in zip(borders[::2], borders[1::2], strict=True))
    return kept.rstrip() if cuts and cuts[-1][1] == len(text) else kept


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    return stable_hash(word)


def _runs(hashes: np.ndarray, length: int) -> np.ndarray:
    """A hash of every run of `length` words: the polynomial over the words' hashes, modulo 2^64.

    A run of 50 comes from two of 25 side by side, one of 25 from two of 12 and a word, and so on.
    """
    if len(hashes) < length:
        return hashes[:0]
    combined, reached = hashes, 1
    for bit in f"{length:b}"[1:]:
        power = np.uint64(pow(int(MULTIPLIER), reached, 2**64))
        combined, reached = combined[:-reached] * power + combined[reached:], 2 * reached
        if bit == "1":
            combined, reached = combined[:-1] * MULTIPLIER + hashes[reached:], reached + 1
    return combined
