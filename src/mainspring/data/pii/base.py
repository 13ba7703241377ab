"""What a finder of personal data gives: spans of text, their kind, and how sure it is.

text -> each kind's finder -> spans -> where two overlap, the surer one -> spans in order, apart
"""

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Literal, get_args

import msgspec

Kind = Literal[
    "email", "phone", "iban", "credit_card", "ip_address", "url_credentials", "secret", "us_ssn", "birth_date",
    "person",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
PATTERNED: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "person")
"""Those that are found by patterns; `person` needs a model, and is looked for only where it is asked."""

MIN_SCORE = 0.5
NEAR = 40  # characters before a span in which a word can say what it is


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Characters `start` to `end` of a text; `score` is how sure it is, 0 to 1."""

    kind: Kind
    start: int
    end: int
    score: float


def find(text: str, kinds: Sequence[Kind] = PATTERNED, min_score: float = MIN_SCORE) -> list[Span]:
    """Everything of these kinds in a text, in order and without overlaps.

    Example:
        >>> from mainspring.data.pii.base import find
        >>> [(span.kind, span.start, span.end) for span in find("Write to ann@example.org today.")]
        [('email', 9, 24)]

    """
    found = [span for kind in kinds for span in _finder(kind)(text) if span.score >= min_score]
    return _apart(found)


def _finder(kind: Kind):  # noqa: ANN202 - Callable[[str], Iterator[Span]] of the kind's file
    return import_module(f"mainspring.data.pii.{kind}").spans


def _apart(found: Iterable[Span]) -> list[Span]:
    """Of spans that overlap, the surest, and of equally sure ones the longest."""
    kept: list[Span] = []
    for span in sorted(found, key=lambda each: (each.start, -each.end)):
        if not kept or kept[-1].end <= span.start:
            kept.append(span)
        elif (span.score, span.end - span.start) > (kept[-1].score, kept[-1].end - kept[-1].start):
            kept[-1] = span
    return kept


def before(text: str, start: int, near: int = NEAR) -> str:
    """What stands right before a place, in lower case: where words say what follows."""
    return text[max(0, start - near) : start].lower()


def says(text: str, words: Iterable[str]) -> bool:
    """Whether one of the words stands in a text, alone or at the begin of a longer one."""
    return last_said(text, words) >= 0


def last_said(text: str, words: Iterable[str]) -> int:
    """Where the last of the words begins in a text, or -1; in the middle of another word is nowhere."""
    return max((_begin(text, word) for word in words), default=-1)


def _begin(text: str, word: str) -> int:
    at = text.rfind(word)
    while at > 0 and text[at - 1].isalnum():
        at = text.rfind(word, 0, at)
    return at


def spans_of(kind: Kind, places: Iterable[tuple[int, int, float]]) -> Iterator[Span]:
    """Spans of one kind from (start, end, score)."""
    return (Span(kind=kind, start=start, end=end, score=score) for start, end, score in places)
