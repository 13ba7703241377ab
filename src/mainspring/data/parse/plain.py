"""Plain text: paragraphs between blank lines, nothing interpreted."""

import re

from mainspring.data.parse.base import Piece


def pieces(text: str) -> list[Piece]:
    """One paragraph for every run of lines without a blank one."""
    return [Piece(kind="paragraph", text=part) for part in re.split(r"\n[ ]*\n+", text)]
