"""A look into a dataset: documents that it holds, and samples of what rules dropped and changed."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from mainspring.data.decisions import Sample
from mainspring.data.document import Document
from mainspring.data.part_files import SAMPLES
from mainspring.data.publish import DOCUMENTS
from mainspring.data.report import REPORT, Report
from mainspring.errors import NotFoundError


def read_report(folder: Path) -> Report:
    """The report of the build that made a dataset.

    Raises:
        NotFoundError: the dataset was made otherwise.

    """
    path = folder / REPORT
    if not path.exists():
        raise NotFoundError(f"{folder} was not made by `mainspring data build`, so there is no report of it.")
    return msgspec.json.decode(path.read_bytes(), type=Report)


def documents(folder: Path, split: str, count: int) -> list[Document]:
    """At most `count` documents of a split from places evenly spread over its files, without reading the rest.

    Raises:
        NotFoundError: no such split; those there are named.

    """
    files = sorted((folder / DOCUMENTS).glob(f"{split}-[0-9]*.jsonl"))
    if not files:
        there = sorted({path.stem.rpartition("-")[0] for path in (folder / DOCUMENTS).glob("*.jsonl")})
        raise NotFoundError(f"There is no split '{split}'; there is {', '.join(there) or 'none'}.")
    total = sum(path.stat().st_size for path in files)
    found: dict[str, Document] = {}
    for number in range(count):
        document = _document_at(files, total * number // count)
        found.setdefault(document.id, document)
    return list(found.values())


def samples(folder: Path, rule: str, reason: str, count: int) -> list[Sample]:
    """At most `count` samples of each reason; empty `rule` and `reason` ask for all.

    Raises:
        NotFoundError: no document met this rule and reason; those that were met are named.

    """
    seen: dict[tuple[str, str, str], list[Sample]] = {}
    for sample in _read(folder / SAMPLES):
        seen.setdefault((sample.fate, sample.rule, sample.reason), []).append(sample)
    wanted = [
        kept[:count]
        for (_, of_rule, of_reason), kept in seen.items()
        if rule in ("", of_rule) and reason in ("", of_reason)
    ]
    if not wanted:
        there = ", ".join(sorted({f"{of_rule} {of_reason}" for _, of_rule, of_reason in seen}))
        asked = " ".join(part for part in (rule, reason) if part)
        raise NotFoundError(
            f"There is no sample of '{asked}'; there are those of {there or 'no reason at all'}."
        )
    return [sample for kept in wanted for sample in kept]


def _document_at(files: Sequence[Path], place: int) -> Document:
    """The document whose line holds a byte of all files together."""
    for path in files:
        size = path.stat().st_size
        if place < size:
            with path.open("rb") as stream:
                stream.seek(_line_start(stream.fileno(), place))
                return msgspec.json.decode(stream.readline(), type=Document)
        place -= size
    raise AssertionError("the place lies within the files")


def _line_start(handle: int, place: int, block: int = 1 << 16) -> int:
    """Where the line of a byte begins."""
    end = place
    while end > 0:
        start = max(0, end - block)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _read(path: Path) -> Iterator[Sample]:
    decoder = msgspec.json.Decoder(Sample)
    with path.open("rb") as stream:
        for line in stream:
            yield decoder.decode(line)
