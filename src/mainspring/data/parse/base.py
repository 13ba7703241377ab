"""What a parser leaves: clean text that is stored once, and blocks that say what stands where in it.

A format's parser turns a document's bytes into pieces; `assemble` lays them into one text, a blank line
between two.

    Raw(bytes) -> decode -> pieces of a format -> assemble -> Parsed(title, text, blocks with exact offsets)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mainspring.data.parse.encoding import characters
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError

BlockKind = Literal["heading", "paragraph", "list", "code", "table"]
MAX_BYTES = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A document before it is read; `name` is what errors call it, and its suffix may say what it is."""

    data: bytes
    name: str
    limits: ParseLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A cleaned part of a document before it has a place; `level` is that of a heading, from 1."""

    kind: BlockKind
    text: str
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Characters `start` to `end` of the stored text; `heading_path` leads to it, outermost first."""

    kind: BlockKind
    start: int
    end: int
    heading_path: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A document as it is stored; `title` is the heading it opens with or what its format calls it, or ""."""

    title: str
    text: str
    blocks: tuple[Block, ...]


def check_size(size_bytes: int, name: str, max_bytes: int) -> None:
    """Raise DocumentError for a document over the limit; asked before anything is read."""
    if size_bytes > max_bytes:
        raise DocumentError(
            f"{name} has {size_bytes:,} bytes; documents may have {max_bytes:,}. "
            "Split it, or raise the limit `max_bytes`."
        )


def decode(data: bytes, name: str, declared: str = "") -> str:
    """Text of a document's bytes, line ends made uniform and tabs made blanks.

    Raises:
        DocumentError: bytes that are not text in UTF-8 or what is `declared`, or nothing but blanks.

    """
    text = uniform_lines(characters(data, name, declared)).replace("\f", "\n").expandtabs(4)
    if not text.strip():
        raise DocumentError(f"{name} is empty; give it some text or leave it out.")
    return text


def uniform_lines(text: str) -> str:
    """Text whose lines end as they do on Unix."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def assemble(pieces: Sequence[Piece], name: str, title: str = "") -> Parsed:
    """Lay pieces into one text and give every block its exact place and its path of headings.

    The document is called by the heading it opens with, or else by `title`.

    Raises:
        DocumentError: no piece has any text (a file of images alone, say), or one holds half a character.

    """
    parts: list[str] = []
    blocks: list[Block] = []
    path: list[tuple[int, str]] = []
    offset = 0
    for piece in pieces:
        text = tidy(piece)
        if not text:
            continue
        if piece.kind == "heading":
            path = [(level, title) for level, title in path if level < piece.level]
        heading_path = tuple(title for _, title in path)
        blocks.append(Block(kind=piece.kind, start=offset, end=offset + len(text), heading_path=heading_path))
        if piece.kind == "heading":
            path.append((piece.level, text))
        parts.append(text)
        offset += len(text) + 2
    if not parts:
        raise DocumentError(f"{name} holds no text once markup and images are taken out. Leave it out.")
    whole = "\n\n".join(parts)
    check_characters(whole, name)
    title = parts[0] if blocks[0].kind == "heading" else " ".join(title.split())
    return Parsed(title=title, text=whole, blocks=tuple(blocks))


def check_characters(text: str, name: str) -> None:
    """Raise DocumentError for halves of characters (lone surrogates), which nothing can store."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(
            f"{name} holds half a character (U+{ord(text[error.start]):04X} alone) in its text. "
            "Write it anew or leave it out."
        ) from error


def tidy(piece: Piece) -> str:
    """A piece's text without blank lines at its ends and without blanks at the ends of its lines."""
    lines = [line.rstrip() for line in piece.text.split("\n")]
    if piece.kind == "heading":
        return " ".join(" ".join(lines).split())
    if piece.kind == "paragraph":
        lines = [line.strip() for line in lines]
    if piece.kind != "code":
        lines = [line for line in lines if has_text(line)]
    return "\n".join(lines).strip("\n")


def has_text(line: str) -> bool:
    """Whether a line of prose says anything once its markers are gone."""
    return re.search(r"\w", line) is not None


def dedent(lines: Sequence[str]) -> list[str]:
    """Lines without the indentation that all of them share."""
    widths = [len(line) - len(line.lstrip(" ")) for line in lines if line.strip()]
    width = min(widths, default=0)
    return [line[width:] for line in lines]
