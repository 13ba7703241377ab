"""What a rule of numbers holds: a measure, its limit, and the reason where it is broken."""

from collections.abc import Iterable
from dataclasses import dataclass

from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome, drop, keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A measure that may not be above (or, for a least one, below) `value`; None holds nothing."""

    reason: str
    name: str
    value: float | None
    is_least: bool = False
    is_strict: bool = False
    """Whether the limit itself is refused, too."""

    def is_broken(self, measured: float) -> bool:
        if self.value is None:
            return False
        if measured == self.value:
            return self.is_strict
        return measured < self.value if self.is_least else measured > self.value


def hold(document: Document, measured: Iterable[tuple[Limit, float]]) -> Outcome:
    """Drop a document for the first limit that it breaks; what comes after is not measured."""
    for limit, value in measured:
        if limit.is_broken(value):
            numbers = {"measured": value, limit.name: limit.value or 0.0}
            return drop(limit.reason, numbers, document.text[:SAMPLE])
    return keep(document)


SAMPLE = 200  # characters
