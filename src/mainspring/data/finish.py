"""What a worker does with a part once duplicates are known: leave them out, cut passages, choose the split.

documents.jsonl of a part -> exact -> near -> spans -> split-train.jsonl, split-test.jsonl ...
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from mainspring.data import same
from mainspring.data.assign import Assign, Place, SplitSettings
from mainspring.data.contaminate import Contaminate
from mainspring.data.document import Document
from mainspring.data.duplicates import Duplicates
from mainspring.data.ledger import Ledger, Stopwatch
from mainspring.data.numbered import Numbered
from mainspring.data.part_files import DOCUMENTS, DONE, PartDone, publishing
from mainspring.data.recipe import SampleSettings
from mainspring.data.rules.base import drop, keep


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A part that was read: its place in order, its folder's name and the numbers of its documents."""

    number: int
    key: str
    first: int
    documents: int

    def __str__(self) -> str:
        return f"part {self.number + 1:,} of what was read ({self.documents:,} documents)"


class FinishPart:
    """Turns a part that was read into one that is finished. Pickled into the workers."""

    def __init__(
        self,
        *,
        read: Path,
        folder: Path,
        stretches: Sequence[Stretch],
        duplicates: Duplicates,
        kinds: same.Kinds,
        contaminate: Contaminate | None,
        split: SplitSettings,
        samples: SampleSettings,
    ) -> None:
        self.read, self.folder, self.stretches = read, folder, stretches
        self.duplicates, self.kinds, self.contaminate = duplicates, kinds, contaminate
        self.split, self.samples = split, samples
        self._numbered: Numbered | None = None

    def __call__(self, stretch: Stretch) -> None:
        if self._numbered is None:
            folders = [self.read / each.key for each in self.stretches]
            self._numbered = Numbered(folders, [each.first for each in self.stretches])
        with publishing(self.folder / str(stretch.number)) as folder:
            with Ledger(folder, self.samples) as ledger:
                part = _Part(self, self._numbered, ledger)
                count = self._write(part.kept(self._documents(stretch)), folder, ledger)
            done = PartDone(documents=count, counts=ledger.counts)
            (folder / DONE).write_bytes(msgspec.json.encode(done))

    def _documents(self, stretch: Stretch) -> Iterator[tuple[int, Document, bytes]]:
        decoder = msgspec.json.Decoder(Document)
        with (self.read / stretch.key / DOCUMENTS).open("rb") as stream:
            for number, line in enumerate(stream, start=stretch.first):
                yield number, decoder.decode(line), line

    def _write(self, kept: Iterator[tuple[Document, int, bytes]], folder: Path, ledger: Ledger) -> int:
        assign, count = Assign(self.split), 0
        with ExitStack() as stack:
            files = {
                name: stack.enter_context((folder / split_file(name)).open("wb"))
                for name in self.split.names()
            }
            for document, num_bytes, line in kept:
                split = assign(Place(id=document.id, group=document.group, time=document.time))
                files[split].write(line)
                ledger.kept(split, num_bytes)
                count += 1
        return count


class _Part:
    """The documents of one part on their way."""

    def __init__(self, work: FinishPart, numbered: Numbered, ledger: Ledger) -> None:
        self._duplicates, self._numbered, self._ledger = work.duplicates, numbered, ledger
        self._whole, self._spans = same.make_whole(work.kinds), same.make_spans(work.kinds)
        self._contaminate = work.contaminate
        self._encode = msgspec.json.Encoder().encode

    def kept(self, documents: Iterator[tuple[int, Document, bytes]]) -> Iterator[tuple[Document, int, bytes]]:
        """(document, its bytes, its line) of all that stay."""
        for number, document, line in documents:
            num_bytes = document.num_bytes
            if not self._is_duplicate(number, document, num_bytes):
                left, num_bytes = self._cleaned(number, document, num_bytes)
                if left is not None:
                    yield left, num_bytes, line if left is document else self._encode(left) + b"\n"

    def _cleaned(self, number: int, document: Document, num_bytes: int) -> tuple[Document | None, int]:
        """The document without passages that stand there before and without evaluation text, and its bytes."""
        left: Document | None = document
        watch = Stopwatch()
        if self._spans is not None:
            outcome = self._spans.cut(number, document, self._duplicates.places)
            num_bytes = self._ledger.judged(same.SPANS, document, outcome, num_bytes, seconds=watch.lap())
            left = outcome.document
        if self._contaminate is not None and left is not None:
            outcome = self._contaminate(left)
            num_bytes = self._ledger.judged(
                self._contaminate.name, left, outcome, num_bytes, seconds=watch.lap()
            )
            left = outcome.document
        return left, num_bytes

    def _is_duplicate(self, number: int, document: Document, num_bytes: int) -> bool:
        """Whether the document goes for an earlier one's sake; if so, that is written down."""
        found = self._duplicates.keeper_of(number)
        for kind in self._whole:
            if found is None or found[1] != kind.name:
                self._ledger.judged(kind.name, document, keep(document), num_bytes)
                continue
            similarity = self._numbered.similarity(number, found[0], kind.name, kind.width)
            outcome = drop("duplicate", {"similarity": similarity})
            self._ledger.judged(kind.name, document, outcome, num_bytes, of=self._numbered.id_of(found[0]))
            return True
        return False


def split_file(split: str) -> str:
    return f"split-{split}.jsonl"
