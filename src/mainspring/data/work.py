"""What a worker does with a part: read it, put each document through the rules, sign what is left.

feed -> Document -> rule -> rule -> check -> documents.jsonl, places.rows, signatures
     -> Rejected    and each of them   -> dropped.jsonl, changed.jsonl, samples.jsonl, counts
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from mainspring.data import same
from mainspring.data.document import Document
from mainspring.data.feeds.base import Feed
from mainspring.data.ledger import READ, Ledger, Stopwatch
from mainspring.data.part_files import DOCUMENTS, DONE, PLACES, PartDone, publishing
from mainspring.data.plan import Task
from mainspring.data.recipe import SampleSettings
from mainspring.data.resolve import Step
from mainspring.data.rules import base as rules
from mainspring.data.rules.base import Rule, drop
from mainspring.data.sources import Rejected
from mainspring.errors import MainspringError

CHECK = "check"
"""The step behind all rules."""


class ReadPart:
    """Reads a part into a folder of its own. Pickled into the workers; makes its rules there."""

    def __init__(
        self,
        folder: Path,
        feeds: Sequence[Feed],
        steps: Sequence[Step],
        kinds: same.Kinds,
        samples: SampleSettings,
    ) -> None:
        self.folder, self.feeds, self.steps = folder, feeds, steps
        self.kinds, self.samples = kinds, samples
        self._rules: list[tuple[str, Rule]] | None = None

    def __call__(self, task: Task) -> None:
        if self._rules is None:
            self._rules = [(called, rules.make(name, settings)) for called, name, settings in self.steps]
        with publishing(self.folder / task.key) as folder:
            with Ledger(folder, self.samples) as ledger:
                count = _Part(self._rules, ledger).write(
                    self._read(task, ledger), folder, self._signer(folder)
                )
            done = PartDone(documents=count, counts=ledger.counts)
            (folder / DONE).write_bytes(msgspec.json.encode(done))

    def _signer(self, folder: Path) -> same.Signer:
        return same.Signer(folder, same.make_whole(self.kinds), same.make_spans(self.kinds))

    def _read(self, task: Task, ledger: Ledger) -> Iterator[tuple[Document, int]]:
        """(document, its bytes); what cannot be read is only written down."""
        feed, watch = self.feeds[task.feed], Stopwatch()
        for found in feed.read(task.part):
            ledger.spent(READ, watch.lap())
            if isinstance(found, Rejected):
                ledger.unreadable(feed.name, found.name, found.reason)
            else:
                num_bytes = found.num_bytes
                ledger.came(feed.name, num_bytes)
                yield found, num_bytes
            watch.lap()
        ledger.spent(READ, watch.lap())


class _Part:
    """The documents of one part on their way."""

    def __init__(self, judges: Sequence[tuple[str, Rule]], ledger: Ledger) -> None:
        self._judges, self._ledger = judges, ledger
        self._encode = msgspec.json.Encoder().encode

    def write(self, documents: Iterator[tuple[Document, int]], folder: Path, signer: same.Signer) -> int:
        """Write what is left of the documents, where each line begins, and the signatures; returns how many."""
        places, position = [], 0
        with (folder / DOCUMENTS).open("wb") as stream:
            for document, num_bytes in documents:
                kept = self._judge(document, num_bytes)
                if kept is not None:
                    places.append(position)
                    position += stream.write(kept[1])
                    signer.add(kept[0].text)
        signer.close()
        for kind, seconds in signer.seconds.items():
            self._ledger.spent(kind, seconds)
        np.asarray(places, "<u8").tofile(folder / PLACES)
        return len(places)

    def _judge(self, document: Document, num_bytes: int) -> tuple[Document, bytes] | None:
        """The document behind all rules and its line; None where one dropped it."""
        watch = Stopwatch()
        for name, rule in self._judges:
            watch.lap()
            try:
                outcome = rule(document)
            except MainspringError:
                raise
            except Exception as error:
                raise MainspringError(
                    f"The rule {name} failed at the document {document.id}: {type(error).__name__}: {error}. Take "
                    "the rule out of the recipe, or report this."
                ) from error
            num_bytes = self._ledger.judged(name, document, outcome, num_bytes, seconds=watch.lap())
            if outcome.document is None:
                return None
            document = outcome.document
        return self._check(document, num_bytes)

    def _check(self, document: Document, num_bytes: int) -> tuple[Document, bytes] | None:
        """What no dataset may hold, whatever the rules are: no text, and text that no file can hold."""
        line, reason, watch = None, "", Stopwatch()
        if not document.text.strip() and not document.meta.get("messages"):
            reason = "empty"
        else:
            try:
                line = self._encode(document) + b"\n"
            except UnicodeEncodeError:
                reason = "half_characters"
        outcome = drop(reason) if reason else rules.keep(document)
        self._ledger.judged(CHECK, document, outcome, num_bytes, seconds=watch.lap())
        return (document, line) if line is not None else None
