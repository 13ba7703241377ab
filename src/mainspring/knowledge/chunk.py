"""Documents to chunks: pieces of one section, made of whole sentences, with their exact place.

Blocks of a section are packed together while they fit. A block that alone is too long is packed by its
sentences, and a sentence that alone is too long is cut at blanks. Code stands alone, because it drowns the
prose beside it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pydantic

from mainspring.config import Config
from mainspring.data.parse.base import Block, Parsed
from mainspring.knowledge import sentences

HEADING_SEPARATOR = " > "


class ChunkSettings(Config):
    """How documents are cut."""

    max_characters: int = pydantic.Field(
        default=360,
        ge=50,
        le=20_000,
        description="Most characters of a chunk; only whole sentences are packed into it.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A chunk to be: characters of the document's text and the headings above them."""

    start: int
    end: int
    heading: str


def chunk(parsed: Parsed, settings: ChunkSettings) -> list[Span]:
    """Cut a parsed document; in order, without overlap, and every sentence of its prose in one of them."""
    limit = settings.max_characters
    spans: list[Span] = []
    for path, blocks in _sections(parsed):
        heading = HEADING_SEPARATOR.join(path)
        spans += (Span(start=start, end=end, heading=heading) for start, end in _pack(parsed, blocks, limit))
    if not spans:  # nothing but headings: then they are what can be found
        first, last = parsed.blocks[0], parsed.blocks[-1]
        cuts = _merge(_cut(parsed.text, first.start, last.end, limit), limit)
        spans = [Span(start=start, end=end, heading="") for start, end in cuts]
    return spans


def embed_text(title: str, heading: str, text: str) -> str:
    """What is embedded and searched for a chunk: where it stands, then its own words."""
    where = [
        part for part in heading.split(HEADING_SEPARATOR) if part and part.casefold() != title.casefold()
    ]
    return ": ".join(part for part in (title, *where, text) if part)


def _sections(parsed: Parsed) -> Iterator[tuple[tuple[str, ...], list[Block]]]:
    path: tuple[str, ...] = ()
    blocks: list[Block] = []
    for block in parsed.blocks:
        if blocks and (block.kind == "heading" or block.heading_path != path):
            yield path, blocks
            blocks = []
        if block.kind != "heading":
            path = block.heading_path
            blocks.append(block)
    if blocks:
        yield path, blocks


def _pack(parsed: Parsed, blocks: list[Block], limit: int) -> Iterator[tuple[int, int]]:
    """Chunks of one section: runs of prose packed, code alone."""
    run: list[Block] = []
    for block in blocks:
        if block.kind == "code":
            yield from _pack_prose(parsed.text, run, limit)
            yield from _merge(_lines(parsed.text, block.start, block.end, limit), limit)
            run = []
        else:
            run.append(block)
    yield from _pack_prose(parsed.text, run, limit)


def _pack_prose(text: str, blocks: list[Block], limit: int) -> Iterator[tuple[int, int]]:
    """Whole blocks together while they fit, long blocks by their sentences."""
    units: list[tuple[int, int]] = []
    for block in blocks:
        if block.end - block.start <= limit:
            units.append((block.start, block.end))
            continue
        yield from _merge(units, limit)
        yield from _merge(_sentences(text, block, limit), limit)
        units = []
    yield from _merge(units, limit)


def _sentences(text: str, block: Block, limit: int) -> list[tuple[int, int]]:
    if block.kind == "table":
        return _lines(text, block.start, block.end, limit)
    spans: list[tuple[int, int]] = []
    for start, end in sentences.split(text[block.start : block.end]):
        spans += _cut(text, block.start + start, block.start + end, limit)
    return spans


def _lines(text: str, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for found in re.finditer(r"[^\n]*\S[^\n]*", text[start:end]):
        spans += _cut(text, start + found.start(), start + found.end(), limit)
    return spans


def _cut(text: str, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    """A span that is too long, cut at blanks where there are some."""
    spans: list[tuple[int, int]] = []
    while end - start > limit:
        cut = max(text.rfind(" ", start + 1, start + limit), text.rfind("\n", start + 1, start + limit))
        cut = cut if cut > start else start + limit
        spans.append((start, cut))
        start = cut
        while start < end and text[start].isspace():
            start += 1
    return [*spans, (start, end)] if start < end else spans


def _merge(units: list[tuple[int, int]], limit: int) -> Iterator[tuple[int, int]]:
    """Neighbors joined while the whole stays within the limit."""
    current: tuple[int, int] | None = None
    for start, end in units:
        if current is not None and end - current[0] <= limit:
            current = (current[0], end)
            continue
        if current is not None:
            yield current
        current = (start, end)
    if current is not None:
        yield current
