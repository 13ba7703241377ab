"""The repetition rules of Gopher: repeated lines, paragraphs and n-grams of words.

Paper: arXiv:2112.11446, appendix A.1.1, "Repetition Removal", table A1, whose names the settings have. A line,
a paragraph or an n-gram is a duplicate where it stood before; its first occurrence is none. Fractions of
characters are of all characters of the document, as in datatrove. Two things are as the paper says and not
as datatrove does: every character in a duplicate n-gram counts, once (datatrove goes on n words behind a
duplicate and misses the end of longer ones), and "ab c" is not "a bc".
"""

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome
from mainspring.data.rules.limits import Limit, hold
from mainspring.data.rules.ngrams import duplicate_characters, repeats, top_characters
from mainspring.data.rules.split import split_lines, split_paragraphs, split_words

EDITION = 1


class Settings(Config):
    duplicate_line_fraction: float | None = Field(0.30, description="Most duplicates of all lines.")
    duplicate_paragraph_fraction: float | None = Field(0.30, description="Most duplicates of all paragraphs.")
    duplicate_line_character_fraction: float | None = Field(
        0.20, description="Most characters in duplicate lines."
    )
    duplicate_paragraph_character_fraction: float | None = Field(
        0.20, description="Most characters in duplicate paragraphs."
    )
    top_2_gram_character_fraction: float | None = Field(
        0.20, description="Most characters in the commonest pair of words."
    )
    top_3_gram_character_fraction: float | None = Field(0.18, description="The same of three words.")
    top_4_gram_character_fraction: float | None = Field(0.16, description="The same of four words.")
    duplicate_5_gram_character_fraction: float | None = Field(
        0.15, description="Most characters in duplicate rows of five words."
    )
    duplicate_6_gram_character_fraction: float | None = Field(0.14, description="The same of six words.")
    duplicate_7_gram_character_fraction: float | None = Field(0.13, description="The same of seven words.")
    duplicate_8_gram_character_fraction: float | None = Field(0.12, description="The same of eight words.")
    duplicate_9_gram_character_fraction: float | None = Field(0.11, description="The same of nine words.")
    duplicate_10_gram_character_fraction: float | None = Field(0.10, description="The same of ten words.")


class Rule:
    name: str = "gopher_repetition"

    def __init__(self, settings: Settings) -> None:
        at = settings
        self._paragraphs = _limit(
            "duplicate_paragraphs", "paragraph_fraction", at.duplicate_paragraph_fraction
        )
        self._paragraph_characters = _limit(
            "duplicate_paragraph_characters",
            "paragraph_character_fraction",
            at.duplicate_paragraph_character_fraction,
        )
        self._lines = _limit("duplicate_lines", "line_fraction", at.duplicate_line_fraction)
        self._line_characters = _limit(
            "duplicate_line_characters", "line_character_fraction", at.duplicate_line_character_fraction
        )
        self._top = _of_n(
            "top",
            {
                2: at.top_2_gram_character_fraction,
                3: at.top_3_gram_character_fraction,
                4: at.top_4_gram_character_fraction,
            },
        )
        self._duplicate = _of_n(
            "duplicate",
            {
                5: at.duplicate_5_gram_character_fraction,
                6: at.duplicate_6_gram_character_fraction,
                7: at.duplicate_7_gram_character_fraction,
                8: at.duplicate_8_gram_character_fraction,
                9: at.duplicate_9_gram_character_fraction,
                10: at.duplicate_10_gram_character_fraction,
            },
        )

    def __call__(self, document: Document) -> Outcome:
        return hold(document, self._measure(document.text))

    def _measure(self, text: str) -> Iterator[tuple[Limit, float]]:
        if not text.strip():
            return
        paragraphs, lines = split_paragraphs(text), split_lines(text)
        count, characters = _duplicates(paragraphs)
        yield self._paragraphs, count / len(paragraphs)
        yield self._paragraph_characters, characters / len(text)
        count, characters = _duplicates(lines)
        yield self._lines, count / len(lines)
        yield self._line_characters, characters / len(text)
        words = split_words(text)
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        for found in repeats(words, max(self._duplicate)):
            if found.n in self._top:
                yield self._top[found.n], top_characters(found, lengths) / len(text)
            elif found.n in self._duplicate:
                yield self._duplicate[found.n], duplicate_characters(found, lengths) / len(text)


def _limit(reason: str, what: str, value: float | None) -> Limit:
    return Limit(reason=reason, name=f"duplicate_{what}", value=value)


def _of_n(kind: str, values: dict[int, float | None]) -> dict[int, Limit]:
    """The limits of one kind for each n; the reason names both, like `top_2_gram`."""
    return {
        n: Limit(reason=f"{kind}_{n}_gram", name=f"{kind}_{n}_gram_character_fraction", value=value)
        for n, value in values.items()
    }


def _duplicates(pieces: Sequence[str]) -> tuple[int, int]:
    """How many pieces stood before, and how many characters they have."""
    seen: set[str] = set()
    count, characters = 0, 0
    for piece in pieces:
        if piece in seen:
            count, characters = count + 1, characters + len(piece)
        else:
            seen.add(piece)
    return count, characters
