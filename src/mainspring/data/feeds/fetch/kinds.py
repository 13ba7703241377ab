"""Which format a page is of, by what its server says of it."""

from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from mainspring.data.parse import SUFFIXES
from mainspring.errors import DocumentError

OFFICE = "application/vnd.openxmlformats-officedocument"
SUFFIX_OF = {
    "text/html": ".html", "application/xhtml+xml": ".html", "text/markdown": ".md", "text/x-rst": ".rst",
    "application/pdf": ".pdf", "message/rfc822": ".eml", "text/csv": ".csv", "text/tab-separated-values": ".tsv",
    "application/json": ".json", "application/jsonl": ".jsonl", "application/x-ndjson": ".jsonl",
    f"{OFFICE}.wordprocessingml.document": ".docx", f"{OFFICE}.presentationml.presentation": ".pptx",
    f"{OFFICE}.spreadsheetml.sheet": ".xlsx",
}  # fmt: skip
UNTOLD = (
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "text/plain",
)  # then the URL's suffix says more


def format_of(content_type: str, url: str) -> str:
    """The format of a page; HTML is one in any case, for its links.

    Raises:
        DocumentError: a type that is not read.

    """
    kind, _ = _told(content_type)
    suffix = SUFFIX_OF.get(kind, "")
    if kind in UNTOLD:
        suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
        suffix = suffix if suffix in SUFFIXES else ".txt" if kind == "text/plain" else ""
    format_name = SUFFIXES.get(suffix, "html" if suffix == ".html" else "")
    if not format_name:
        raise DocumentError(f"its content type '{kind or 'none'}' is not read")
    return format_name


def charset_of(content_type: str) -> str:
    """The encoding that the server tells, or ""."""
    return _told(content_type)[1]


def _told(content_type: str) -> tuple[str, str]:
    """(type, charset) of a header; Message knows its quotes and what may be wrong with it."""
    message = Message()
    message["Content-Type"] = content_type or "application/octet-stream"
    return message.get_content_type(), message.get_content_charset("") or ""
