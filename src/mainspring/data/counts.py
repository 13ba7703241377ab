"""Counts of what came in, what every step dropped and changed, and what came out; sums of parts are counts of all."""

import msgspec


class Change(msgspec.Struct, kw_only=True):
    """How many documents met a reason, and their bytes before and after; 0 after where they were dropped."""

    documents: int = 0
    bytes_before: int = 0
    bytes_after: int = 0


class SourceCounts(msgspec.Struct, kw_only=True):
    """What a source gave. `unreadable` of its documents could not be read and have no bytes here."""

    documents: int = 0
    bytes: int = 0
    unreadable: int = 0


class StepCounts(msgspec.Struct, kw_only=True):
    """What came to a step, and what it dropped and changed for each reason."""

    documents: int = 0
    bytes: int = 0
    dropped: dict[str, Change] = {}
    changed: dict[str, Change] = {}


class Counts(msgspec.Struct, kw_only=True):
    """Of a part, or of all. `seconds` of one processor went into each step; they decide nothing."""

    sources: dict[str, SourceCounts] = {}
    steps: dict[str, StepCounts] = {}
    splits: dict[str, SourceCounts] = {}
    seconds: dict[str, float] = {}

    def add(self, other: "Counts") -> None:
        """Add those of another part."""
        _add(self.sources, other.sources)
        _add(self.splits, other.splits)
        for name, step in other.steps.items():
            mine = self.steps.setdefault(name, StepCounts())
            mine.documents += step.documents
            mine.bytes += step.bytes
            _add(mine.dropped, step.dropped)
            _add(mine.changed, step.changed)
        for name, seconds in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def _add(mine: dict, other: dict) -> None:
    """Add records of whole numbers, field by field."""
    for name, record in other.items():
        there = mine.setdefault(name, type(record)())
        for field in record.__struct_fields__:
            setattr(there, field, getattr(there, field) + getattr(record, field))


def num_dropped(step: StepCounts) -> int:
    return sum(change.documents for change in step.dropped.values())


def num_changed(step: StepCounts) -> int:
    return sum(change.documents for change in step.changed.values())


def bytes_removed(step: StepCounts) -> int:
    """Bytes that are less behind a step than before it."""
    changes = (*step.dropped.values(), *step.changed.values())
    return sum(change.bytes_before - change.bytes_after for change in changes)


def bytes_seen(counts: Counts) -> int:
    """Bytes of the documents that came to the first step there is."""
    first = next(iter(counts.steps.values()), None)
    return first.bytes if first else sum(split.bytes for split in counts.splits.values())
