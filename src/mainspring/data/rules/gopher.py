"""The quality rules of Gopher: word counts, word lengths, symbols, bullets, ellipses, letters, stop words.

Paper: arXiv:2112.11446, appendix A.1.1, "Quality Filtering". The defaults are its numbers. What it leaves
open is decided as datatrove does: words of punctuation alone are not counted and have no length, but stand in
the denominators; blank lines are lines. Unlike datatrove, words are what stands between blanks (split.py) and
stop words are found in any case and beside punctuation.
"""

from collections.abc import Iterator
from string import punctuation

from pydantic import Field

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome
from mainspring.data.rules.limits import Limit, hold
from mainspring.data.rules.split import split_words

EDITION = 1
BULLETS = ("•", "-")
ELLIPSES = ("...", "…")
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_MARKS = punctuation + "…“”‘’«»—–"  # noqa: RUF001


class Settings(Config):
    min_words: int | None = Field(50, description="Fewer words are too short a document.")
    max_words: int | None = Field(100_000, description="More words are too long a document.")
    min_mean_word_length: float | None = Field(3, description="Shortest mean length of a word, characters.")
    max_mean_word_length: float | None = Field(10, description="Longest mean length of a word, characters.")
    max_symbol_to_word_ratio: float | None = Field(
        0.1, description="Most hash symbols for each word, and most ellipses for each word."
    )
    max_bullet_line_fraction: float | None = Field(
        0.9, description="Largest part of lines that begin with a bullet."
    )
    max_ellipsis_line_fraction: float | None = Field(
        0.3, description="Largest part of lines that end in an ellipsis."
    )
    min_alphabetic_word_fraction: float | None = Field(
        0.8, description="Smallest part of words with a letter in them."
    )
    min_stop_words: int | None = Field(2, description="How many of the stop words there must be.")
    stop_words: tuple[str, ...] = Field(
        STOP_WORDS, description="Words of a language that every text in it holds; lower case."
    )


class Rule:
    name: str = "gopher"

    def __init__(self, settings: Settings) -> None:
        at = settings
        ratio = at.max_symbol_to_word_ratio
        self._stop_words = frozenset(at.stop_words)
        self._few = Limit(reason="too_few_words", name="min_words", value=at.min_words, is_least=True)
        self._many = Limit(reason="too_many_words", name="max_words", value=at.max_words)
        self._short = Limit(
            reason="words_too_short",
            name="min_mean_word_length",
            value=at.min_mean_word_length,
            is_least=True,
        )
        self._long = Limit(
            reason="words_too_long", name="max_mean_word_length", value=at.max_mean_word_length
        )
        self._hashes = Limit(reason="too_many_hashes", name="max_symbol_to_word_ratio", value=ratio)
        self._ellipses = Limit(reason="too_many_ellipses", name="max_symbol_to_word_ratio", value=ratio)
        self._bullets = Limit(
            reason="too_many_bullet_lines", name="max_bullet_line_fraction", value=at.max_bullet_line_fraction
        )
        self._trailing = Limit(
            reason="too_many_ellipsis_lines",
            name="max_ellipsis_line_fraction",
            value=at.max_ellipsis_line_fraction,
        )
        self._letters = Limit(
            reason="too_few_alphabetic_words",
            name="min_alphabetic_word_fraction",
            value=at.min_alphabetic_word_fraction,
            is_least=True,
        )
        self._stops = Limit(
            reason="too_few_stop_words", name="min_stop_words", value=at.min_stop_words, is_least=True
        )

    def __call__(self, document: Document) -> Outcome:
        return hold(document, self._measure(document.text))

    def _measure(self, text: str) -> Iterator[tuple[Limit, float]]:
        words = split_words(text)
        mixed = [word for word in words if not word.isalpha()]
        symbols = [word for word in mixed if not any(map(str.isalnum, word))]
        num_real = len(words) - len(symbols)
        yield self._few, num_real
        yield self._many, num_real
        if num_real:
            length = (sum(map(len, words)) - sum(map(len, symbols))) / num_real
            yield self._short, length
            yield self._long, length
        if not words:
            return
        yield self._hashes, text.count("#") / len(words)
        yield self._ellipses, sum(text.count(mark) for mark in ELLIPSES) / len(words)
        lines = text.splitlines()
        yield self._bullets, sum(line.lstrip().startswith(BULLETS) for line in lines) / len(lines)
        yield self._trailing, sum(line.rstrip().endswith(ELLIPSES) for line in lines) / len(lines)
        without = sum(not any(map(str.isalpha, word)) for word in mixed)
        yield self._letters, 1 - without / len(words)
        yield self._stops, self._num_stop_words(words)

    def _num_stop_words(self, words: list[str]) -> int:
        different = set(words)
        found = self._stop_words & different
        if len(found) < len(self._stop_words):
            found = self._stop_words & {word.strip(_MARKS).lower() for word in different}
        return len(found)
