"""What a worker writes down of the documents of its part: decisions, samples and counts."""

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mainspring.data.counts import Change, Counts, SourceCounts, StepCounts
from mainspring.data.decisions import Decision, Fate, Samples, make_sample, writable
from mainspring.data.document import Document
from mainspring.data.part_files import CHANGED, DROPPED, SAMPLES
from mainspring.data.recipe import SampleSettings
from mainspring.data.rules.base import Outcome, drop

READ = "read"
"""The step before all rules: whatever a source could not give as a document."""


class Ledger:
    """The files of decisions in a folder, and the counts. Use as a context manager."""

    def __init__(self, folder: Path, settings: SampleSettings) -> None:
        self.counts = Counts()
        self._samples = Samples(settings)
        self._folder, self._stack = folder, ExitStack()
        self._files = {
            "dropped": self._stack.enter_context((folder / DROPPED).open("wb")),
            "changed": self._stack.enter_context((folder / CHANGED).open("wb")),
        }
        self._encode = msgspec.json.Encoder().encode

    def came(self, source: str, num_bytes: int) -> None:
        """A source gave a document."""
        for counts in (self.counts.sources.setdefault(source, SourceCounts()), self._step(READ)):
            counts.documents += 1
            counts.bytes += num_bytes

    def unreadable(self, source: str, name: str, why: str) -> None:
        """A source gave something that is no document; what it says of it is kept as the sample."""
        self.counts.sources.setdefault(source, SourceCounts()).unreadable += 1
        self._step(READ).documents += 1
        document = Document(id=name, text=why, source=source)
        self._write("dropped", READ, document, drop("unreadable", sample=why), (0, 0))

    def judged(
        self,
        step: str,
        before: Document,
        outcome: Outcome,
        num_bytes: int,
        *,
        seconds: float = 0.0,
        of: str = "",
    ) -> int:
        """A step has seen a document of `num_bytes`; returns how many bytes are left of it.

        What only says more of a document and gives no reason is no change.
        """
        counts = self._step(step)
        counts.documents += 1
        counts.bytes += num_bytes
        self.spent(step, seconds)
        if outcome.document is None:
            self._write("dropped", step, before, outcome, (num_bytes, 0), of=of)
            return 0
        is_same = outcome.document.text == before.text
        after = num_bytes if is_same else outcome.document.num_bytes
        if outcome.reason or not is_same:
            self._write("changed", step, before, outcome, (num_bytes, after))
        return after

    def kept(self, split: str, num_bytes: int) -> None:
        """A document has come through."""
        counts = self.counts.splits.setdefault(split, SourceCounts())
        counts.documents += 1
        counts.bytes += num_bytes

    def spent(self, what: str, seconds: float) -> None:
        self.counts.seconds[what] = self.counts.seconds.get(what, 0.0) + seconds

    def _step(self, name: str) -> StepCounts:
        return self.counts.steps.setdefault(name, StepCounts())

    def _write(
        self,
        fate: Fate,
        step: str,
        before: Document,
        outcome: Outcome,
        sizes: tuple[int, int],
        *,
        of: str = "",
    ) -> None:
        reason = outcome.reason or fate
        change = getattr(self._step(step), fate).setdefault(reason, Change())
        change.documents += 1
        change.bytes_before += sizes[0]
        change.bytes_after += sizes[1]
        decision = Decision(
            id=writable(before.id), rule=step, reason=reason, numbers=dict(outcome.numbers), of=of
        )
        self._files[fate].write(self._encode(decision) + b"\n")
        if self._samples.wants(fate, step, reason, decision.id):
            most = self._samples.settings.max_characters
            after = outcome.document
            self._samples.add(make_sample(decision, fate, before, after, text=outcome.sample, most=most))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        (self._folder / SAMPLES).write_bytes(b"".join(self._samples.lines()))


class Stopwatch:
    """Seconds since the last look."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds
