"""The lines of a page of a PDF, each with its place and its size."""

import ctypes
import math
import re
import statistics
from dataclasses import dataclass
from typing import Any

HYPHEN = "\x02"  # PDFium puts it where a word is divided at the end of a line, and joins the lines
LINE_ENDS = re.compile(r"\r\n|\r|\n")
SHAPE = re.compile(r"\d+|\s+")
NUM_MEASURED = 5  # characters of a line whose sizes are looked at: some may be of another font


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Text and its place in points, from the lower left corner of the page; `size` is that of its font."""

    text: str
    size: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def shape(self) -> str:
        """The text as it is the same on every page: without its numbers and blanks."""
        return SHAPE.sub("#", self.text.strip()).casefold()

    @property
    def spread(self) -> float:
        """How wide its characters stand, in sizes of the line: more where there is room between columns."""
        return (self.right - self.left) / (len(self.text) * self.size) if self.size > 0 else 0.0


def lines_of(page: Any) -> list[Line]:
    """The lines of a page with text in them, in the order in which the file draws them."""
    import pypdfium2.raw as pdfium

    textpage = page.get_textpage()
    count = textpage.count_chars()
    characters = "".join(map(_character, (pdfium.FPDFText_GetUnicode(textpage, n) for n in range(count))))
    found, start = [], 0
    for end in [*LINE_ENDS.finditer(characters), None]:
        text = characters[start : end.start() if end else count]
        if text.strip():
            found.append(_line(textpage, text, start))
        start = end.end() if end else count
    return found


def _character(code: int) -> str:
    """One character for one place, so that places in the text are places on the page."""
    is_text = 0 < code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    return chr(code) if is_text else " "


def _line(textpage: Any, text: str, start: int) -> Line:
    shown = [start + number for number, character in enumerate(text) if not character.isspace()]
    step = max(1, len(shown) // NUM_MEASURED)
    size = statistics.median_low(_size(textpage, number) for number in shown[::step])
    left, bottom, _, top = _box(textpage, shown[0])
    _, low, right, _ = _box(textpage, shown[-1])
    return Line(text=text.strip(), size=size, left=left, right=right, top=top, bottom=min(low, bottom))


def _size(textpage: Any, number: int) -> float:
    """The size of a character's font as it is drawn: many files write fonts of size 1 and scale them."""
    import pypdfium2.raw as pdfium

    matrix = pdfium.FS_MATRIX()
    pdfium.FPDFText_GetMatrix(textpage, number, ctypes.byref(matrix))
    return pdfium.FPDFText_GetFontSize(textpage, number) * (math.hypot(matrix.c, matrix.d) or 1.0)


def _box(textpage: Any, number: int) -> tuple[float, float, float, float]:
    """Where a character stands; its height is that of its font, whatever the character."""
    import pypdfium2.raw as pdfium

    box = pdfium.FS_RECTF()
    pdfium.FPDFText_GetLooseCharBox(textpage, number, ctypes.byref(box))
    return box.left, box.bottom, box.right, box.top
