"""What a check is, and how it tells what it found.

A check reads a dataset as a stream and tells its faults, not every place of them: one fault a split, with how
many places there are, of how many, and the first few by name.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

import msgspec

from mainspring.data.doctor.view import View

MAX_PLACES = 3


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a dataset, where, by how much, and what to do."""

    check: str
    where: str
    what: str
    numbers: dict[str, float]
    advice: str


class Check(Protocol):
    """Looks for one kind of fault. What the dataset does not have, documents or shards, it passes over."""

    name: str

    def __call__(self, view: View) -> Iterator[Fault]: ...


class Tally:
    """Counts the places of a fault by split and keeps the names of the first ones."""

    def __init__(self, check: str, unit: str) -> None:
        self._check, self._unit = check, unit
        self._seen, self._count = Counter[str](), Counter[str]()
        self._places: dict[str, list[str]] = {}

    def see(self, split: str, place: str, *, is_faulty: bool) -> None:
        """One more place was looked at."""
        self._seen[split] += 1
        if not is_faulty:
            return
        self._count[split] += 1
        places = self._places.setdefault(split, [])
        if len(places) < MAX_PLACES:
            places.append(place)

    def faults(self, what: str, advice: str, *, min_share: float = 0.0) -> Iterator[Fault]:
        """A fault for every split in which at least `min_share` of the places are faulty."""
        for split, count in self._count.items():
            total = self._seen[split]
            if count < min_share * total:
                continue
            more = f" and {count - len(self._places[split]):,} more" if count > MAX_PLACES else ""
            yield Fault(
                check=self._check, where=f"{split}: {', '.join(self._places[split])}{more}", what=what,
                numbers={self._unit: count, "of": total}, advice=advice,
            )  # fmt: skip
