"""Documents in the formats that are read, to clean text with exact offsets: one file a format."""

from collections.abc import Callable
from dataclasses import dataclass

from mainspring.data.parse import (
    article,
    delimited,
    docx,
    mail,
    markdown,
    pdf,
    plain,
    pptx,
    records,
    rst,
    source_code,
    webpage,
    xlsx,
)
from mainspring.data.parse.base import MAX_BYTES, Parsed, Piece, Raw, assemble, check_size, decode
from mainspring.data.parse.contained import read_contained
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a format is read; one is contained where a library or a hostile file could take the process along."""

    read: Callable[[Raw], Parsed]
    is_contained: bool = False


def _of_text(pieces: Callable[[str], list[Piece]]) -> Format:
    return Format(read=lambda raw: assemble(pieces(decode(raw.data, raw.name)), raw.name))


FORMATS: dict[str, Format] = {
    "markdown": _of_text(markdown.pieces),
    "rst": _of_text(rst.pieces),
    "plain": _of_text(plain.pieces),
    "html": Format(read=webpage.read, is_contained=True),
    "article": Format(read=article.read, is_contained=True),
    "pdf": Format(read=pdf.read, is_contained=True),
    "docx": Format(read=docx.read, is_contained=True),
    "pptx": Format(read=pptx.read, is_contained=True),
    "xlsx": Format(read=xlsx.read, is_contained=True),
    "email": Format(read=mail.read, is_contained=True),
    "code": Format(read=source_code.read, is_contained=True),
    "csv": Format(read=delimited.read),
    "tsv": Format(read=delimited.read_tabs),
    "json": Format(read=records.read),
    "jsonl": Format(read=records.read_lines),
}
DOCUMENT_SUFFIXES = {
    ".md": "markdown", ".markdown": "markdown", ".rst": "rst", ".txt": "plain",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf",
    ".docx": "docx", ".pptx": "pptx", ".xlsx": "xlsx", ".eml": "email",
    ".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
SUFFIXES = DOCUMENT_SUFFIXES | dict.fromkeys(source_code.LANGUAGES, "code")
READ_SUFFIXES = f"{' '.join(DOCUMENT_SUFFIXES)} and source code"


def parse(
    data: bytes, name: str, format_name: str, *, max_bytes: int = MAX_BYTES, limits: ParseLimits | None = None
) -> Parsed:
    """Parse a document's bytes; `name` is what errors call it.

    The format "article" reads HTML as the data pipeline may want it: its main text alone, without menus,
    advertisements and comments.

    Raises:
        DocumentError: over a limit, binary, empty, damaged, of a format that is not read, or of one that
            needs a package which is not installed.

    """
    check_size(len(data), name, max_bytes)
    if format_name not in FORMATS:
        raise DocumentError(f"{name} is of the format '{format_name}'; read are {', '.join(FORMATS)}.")
    raw = Raw(data=data, name=name, limits=limits or ParseLimits())
    known = FORMATS[format_name]
    return read_contained(raw, format_name) if known.is_contained else known.read(raw)
