"""DOCX: headings, paragraphs, lists and tables in the order of the document.

The XML is walked here, because python-docx passes over what stands in content controls, text boxes and
insertions. Deleted text, comments, footnotes and the headers and footers of pages are left out.
"""

import io
from collections.abc import Iterator
from typing import Any

from mainspring.data.parse.archive import check_archive
from mainspring.data.parse.base import Parsed, Piece, Raw, assemble
from mainspring.data.parse.docx_styles import Numbering, Styles
from mainspring.data.parse.table import table_text
from mainspring.errors import DocumentError, MissingExtraError

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
LEFT_OUT = {
    f"{WORD}del", f"{WORD}moveFrom", f"{WORD}pPr", f"{WORD}rPr", f"{WORD}sdtPr", f"{WORD}txbxContent",
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
}  # fmt: skip
SIGNS = {
    f"{WORD}tab": "\t", f"{WORD}br": "\n", f"{WORD}cr": "\n", f"{WORD}noBreakHyphen": "-", f"{WORD}ptab": "\t",
}  # fmt: skip


def read(raw: Raw) -> Parsed:
    """The document's body."""
    check_archive(raw)
    try:
        import docx
    except ImportError as error:
        raise MissingExtraError("python-docx", "docs", f"Reading {raw.name}") from error
    try:
        document = docx.Document(io.BytesIO(raw.data))
    except (KeyError, ValueError) as error:
        raise DocumentError(
            f"{raw.name} is no Word document, or one in the form 'Strict Open XML' ({error}); save it as a "
            "usual .docx."
        ) from error
    reader = _Reader(Styles(document), Numbering(document))
    return assemble(list(reader.pieces(document.element.body)), raw.name, document.core_properties.title)


class _Reader:
    """Walks over the children of a body, a cell or a text box."""

    def __init__(self, styles: Styles, numbering: Numbering) -> None:
        self.styles = styles
        self.numbering = numbering

    def pieces(self, parent: Any) -> Iterator[Piece]:
        items: list[str] = []
        for piece in self._blocks(parent):
            if piece.kind == "list":
                items.append(piece.text)
                continue
            if items:
                yield Piece(kind="list", text="\n".join(items))
                items = []
            yield piece
        if items:
            yield Piece(kind="list", text="\n".join(items))

    def _blocks(self, parent: Any) -> Iterator[Piece]:
        """Pieces one by one; an item of a list is a piece of its own."""
        for child in parent:
            if child.tag == f"{WORD}p":
                yield from self._paragraph(child)
            elif child.tag == f"{WORD}tbl":
                yield Piece(kind="table", text=table_text(self._rows(child)))
            elif child.tag not in LEFT_OUT:
                yield from self._blocks(child)  # content controls, insertions

    def _paragraph(self, paragraph: Any) -> Iterator[Piece]:
        style = self.styles.of(paragraph)
        text = _text(paragraph).strip()
        if text:
            label, depth = self.numbering.label(paragraph, style)
            if style.level:
                yield Piece(kind="heading", text=f"{label} {text}", level=style.level)
            elif label:
                yield Piece(kind="list", text=f"{'  ' * depth}{label} {' '.join(text.split())}")
            else:
                yield Piece(kind="code" if style.is_code else "paragraph", text=text)
        for box in paragraph.iter(f"{WORD}txbxContent"):
            if not any(above.tag in LEFT_OUT for above in box.iterancestors()):
                yield from self.pieces(box)

    def _rows(self, table: Any) -> Iterator[list[str]]:
        for row in table.iter(f"{WORD}tr"):
            if next(row.iterancestors(f"{WORD}tbl")) is table:
                cells = row.iter(f"{WORD}tc")
                yield [self._cell(cell) for cell in cells if next(cell.iterancestors(f"{WORD}tr")) is row]

    def _cell(self, cell: Any) -> str:
        return " ".join(piece.text for piece in self._blocks(cell))


def _text(element: Any) -> str:
    """What an element says, fields and formulas with it, text boxes aside."""
    parts = []
    for child in element:
        if child.tag in (f"{WORD}t", f"{MATH}t"):
            parts.append(child.text or "")
        elif child.tag in SIGNS:
            parts.append(SIGNS[child.tag])
        elif child.tag not in LEFT_OUT:
            parts.append(_text(child))
    return "".join(parts)
