"""What became of documents and why: every decision on a line, samples of them, and counts of all.

Samples of a reason are those whose hash is least, so the same ones are kept however the documents are spread
over workers, and the samples of two stretches together are those of the whole.
"""

from heapq import heappush, heapreplace
from typing import Literal

import msgspec

from mainspring.data.document import Document, stable_hash
from mainspring.data.recipe import SampleSettings

Fate = Literal["dropped", "changed"]


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A document that a rule dropped or changed. `of` is the document for whose sake a duplicate goes."""

    id: str
    rule: str
    reason: str
    numbers: dict[str, float | None] = {}
    of: str = ""


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision to look at: the text that decided and, where it was changed, what became of it."""

    fate: Fate
    id: str
    rule: str
    reason: str
    numbers: dict[str, float | None] = {}
    of: str = ""
    text: str = ""
    after: str = ""


class Samples:
    """The least hashes of every reason."""

    def __init__(self, settings: SampleSettings) -> None:
        self.settings = settings
        self._heaps: dict[tuple[str, str, str], list[tuple[int, bytes]]] = {}

    def wants(self, fate: Fate, rule: str, reason: str, key: str) -> bool:
        """Whether a document would be among the samples so far."""
        heap = self._heaps.get((fate, rule, reason), [])
        return len(heap) < self.settings.per_reason or (
            bool(heap) and -_hash(rule, reason, key) >= heap[0][0]
        )

    def add(self, sample: Sample) -> None:
        """Keep a sample, if it is among the least."""
        heap = self._heaps.setdefault((sample.fate, sample.rule, sample.reason), [])
        entry = (-_hash(sample.rule, sample.reason, sample.id), msgspec.json.encode(sample))
        if len(heap) < self.settings.per_reason:
            heappush(heap, entry)
        elif heap and entry > heap[0]:
            heapreplace(heap, entry)

    def lines(self) -> list[bytes]:
        """All that are kept, by rule and reason, least hash first."""
        return [
            line + b"\n"
            for _, heap in sorted(self._heaps.items())
            for _, line in sorted(heap, key=lambda entry: (-entry[0], entry[1]))
        ]


def make_sample(
    decision: Decision, fate: Fate, before: Document, after: Document | None, *, text: str, most: int
) -> Sample:
    """A sample of at most `most` characters: `text` if the rule told it, else where the texts differ."""
    start = 0
    if not text:
        start = max(0, _first_difference(before.text, after.text) - most // 4) if after is not None else 0
        text = before.text[start : start + most]
        shown = after.text[start : start + most] if after is not None else ""
    else:
        shown = ""
    return Sample(
        fate=fate, id=decision.id, rule=decision.rule, reason=decision.reason, numbers=decision.numbers,
        of=decision.of, text=writable(text[:most]), after=writable(shown) if shown != text else "",
    )  # fmt: skip


def writable(text: str) -> str:
    """Text that UTF-8 can hold: half characters become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _hash(rule: str, reason: str, key: str) -> int:
    return stable_hash(f"{rule}\0{reason}\0{key}")


def _first_difference(one: str, other: str) -> int:
    """Where two texts begin to differ, by halving: slices are compared at the speed of memory."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
