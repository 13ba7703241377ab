"""The three rules that FineWeb adds: lines without an end, repeated lines, short lines.

Paper: arXiv:2406.17557, section 3.6, whose thresholds are the defaults and are refused themselves. Unlike
datatrove, which stops repeated lines at 0.01, this stops them at the paper's 0.1; and a fourth measure of
datatrove, newlines for each word, is not in the paper and not here.
"""

from collections.abc import Iterator

from pydantic import Field

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome
from mainspring.data.rules.limits import Limit, hold

EDITION = 1
PUNCTUATION = tuple(".!?。！？．؟۔।॥…‼‽⁇⁈⁉։።၊။។")  # noqa: RUF001


class Settings(Config):
    min_punctuated_line_fraction: float | None = Field(
        0.12, description="Documents with this part of lines that end in punctuation, or less, are dropped."
    )
    max_duplicate_line_character_fraction: float | None = Field(
        0.1, description="Documents with this part of characters in duplicate lines, or more, are dropped."
    )
    max_short_line_fraction: float | None = Field(
        0.67, description="Documents with this part of short lines, or more, are dropped."
    )
    short_line_length: int = Field(30, description="A line of fewer characters is short.")


class Rule:
    name: str = "fineweb"

    def __init__(self, settings: Settings) -> None:
        self._length = settings.short_line_length
        self._punctuated = Limit(
            reason="too_few_punctuated_lines",
            name="min_punctuated_line_fraction",
            value=settings.min_punctuated_line_fraction,
            is_least=True,
            is_strict=True,
        )
        self._short = Limit(
            reason="too_many_short_lines",
            name="max_short_line_fraction",
            value=settings.max_short_line_fraction,
            is_strict=True,
        )
        self._repeated = Limit(
            reason="duplicate_line_characters",
            name="max_duplicate_line_character_fraction",
            value=settings.max_duplicate_line_character_fraction,
            is_strict=True,
        )

    def __call__(self, document: Document) -> Outcome:
        return hold(document, self._measure(document.text))

    def _measure(self, text: str) -> Iterator[tuple[Limit, float]]:
        lines = [line for line in text.split("\n") if line.strip()]
        if not lines:
            yield self._punctuated, 0.0
            return
        yield self._punctuated, sum(line.rstrip().endswith(PUNCTUATION) for line in lines) / len(lines)
        yield self._short, sum(len(line) < self._length for line in lines) / len(lines)
        total = sum(map(len, lines))
        yield self._repeated, (total - sum(map(len, set(lines)))) / total
