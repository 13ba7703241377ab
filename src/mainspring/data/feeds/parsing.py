"""A parsed source as a document."""

from dataclasses import replace
from typing import Any

from mainspring.data.document import Document
from mainspring.data.parse import FORMATS
from mainspring.data.sources import Rejected, Source
from mainspring.errors import DocumentError


def parsed(
    source: Source, *, feed: str, max_bytes: int, group: str = "", time: str = "", is_main_text: bool = True,
    **meta: Any,
) -> Document | Rejected:  # fmt: skip
    """The text of a source, or why it has none; the source's name becomes the document's id.

    `is_main_text` takes the main text of web pages, without menus and advertisements, where a parser for
    that is there.
    """
    if is_main_text and source.format == "html" and "article" in FORMATS:
        source = replace(source, format="article")
    try:
        found = source.parse(source.read(max_bytes), max_bytes)
    except DocumentError as error:
        return Rejected(name=source.name, reason=str(error))
    title = {"title": found.title} if found.title else {}
    return Document(
        id=source.name, text=found.text, source=feed, group=group, time=time,
        meta={"format": source.format, **title, **meta},
    )  # fmt: skip
