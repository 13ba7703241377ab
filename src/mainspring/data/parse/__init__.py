"""Documents in the formats that are read, to clean text with exact offsets: one file a format."""

from collections.abc import Callable

from mainspring.data.parse import markdown, plain, rst
from mainspring.data.parse.base import MAX_BYTES, Parsed, assemble, check_size, decode
from mainspring.errors import DocumentError

FORMATS: dict[str, Callable[[str], list]] = {
    "markdown": markdown.pieces,
    "rst": rst.pieces,
    "plain": plain.pieces,
}
SUFFIXES = {".md": "markdown", ".markdown": "markdown", ".rst": "rst", ".txt": "plain"}


def parse(data: bytes, name: str, format_name: str, *, max_bytes: int = MAX_BYTES) -> Parsed:
    """Parse a document's bytes; `name` is what errors call it.

    Raises:
        DocumentError: over the limit, binary, empty, or of a format that is not read.

    """
    check_size(len(data), name, max_bytes)
    if format_name not in FORMATS:
        raise DocumentError(f"{name} is of the format '{format_name}'; read are {', '.join(FORMATS)}.")
    return assemble(FORMATS[format_name](decode(data, name)), name)
