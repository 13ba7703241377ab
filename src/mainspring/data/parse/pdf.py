"""PDF: the text of its pages, without what is repeated at their edges.

pages -> lines with their places -> repeated edges out -> headings, paragraphs and lists
"""

from collections import Counter
from collections.abc import Iterator

from mainspring.data.parse.base import Parsed, Raw, assemble
from mainspring.data.parse.pdf_blocks import blocks
from mainspring.data.parse.pdf_lines import Line, lines_of
from mainspring.errors import DocumentError, MissingExtraError

MARK, MARK_WITHIN_BYTES = b"%PDF-", 1_024  # readers accept some bytes before it
NUM_EDGE_LINES = 2  # at the top and at the bottom of a page
FEWEST_PAGES = 3  # with fewer, what stands on most pages may well be text


def read(raw: Raw) -> Parsed:
    """All pages of a PDF.

    Raises:
        DocumentError: no PDF, an encrypted one, one with too many pages or with pictures only.

    """
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtraError("pypdfium2", "docs", f"Reading {raw.name}") from error
    if MARK not in raw.data[:MARK_WITHIN_BYTES]:
        raise DocumentError(f"{raw.name} is no PDF (it does not begin with {MARK.decode()}). Leave it out.")
    try:
        document = pypdfium2.PdfDocument(raw.data)
    except pypdfium2.PdfiumError as error:
        raise _unreadable(raw, error) from error
    if len(document) > raw.limits.max_pages:
        raise DocumentError(
            f"{raw.name} has {len(document):,} pages; {raw.limits.max_pages:,} are the most. Split it, or "
            "raise the limit `max_pages`."
        )
    pages = []
    for number in range(len(document)):
        try:
            pages.append(lines_of(document[number]))
        except pypdfium2.PdfiumError as error:
            raise DocumentError(
                f"{raw.name} is no intact PDF (page {number + 1}: {error}); save it anew or leave it out."
            ) from error
    if not any(pages):
        raise DocumentError(
            f"{raw.name} has no text on its {len(pages):,} pages, only pictures. Recognize its text (OCR) "
            "first, or leave it out."
        )
    inner = list(_without_edges(pages))
    return assemble(blocks(inner if any(inner) else pages), raw.name)


def _unreadable(raw: Raw, error: Exception) -> DocumentError:
    """What is wrong; PDFium may still tell of the file before, so that its word alone is not enough."""
    if "password" in str(error) and b"/Encrypt" in raw.data:
        return DocumentError(f"{raw.name} is encrypted; save it without a password.")
    return DocumentError(f"{raw.name} is no intact PDF; save it anew or leave it out.")


def _without_edges(pages: list[list[Line]]) -> Iterator[list[Line]]:
    """Pages without the lines that stand at the edge of more than half of them, page numbers among them."""
    edges = [_edges(page) for page in pages]
    counts = Counter(key for page in edges for key in set(page.values()))
    most = max(len(pages) / 2, FEWEST_PAGES - 1)
    for page, edge in zip(pages, edges, strict=True):
        repeated = {number for number, key in edge.items() if counts[key] > most}
        yield [line for number, line in enumerate(page) if number not in repeated]


def _edges(page: list[Line]) -> dict[int, str]:
    """The first and last lines of a page by their place on it: number -> text, all numbers alike."""
    order = sorted(range(len(page)), key=lambda number: -page[number].top)
    outer = {*order[:NUM_EDGE_LINES], *order[-NUM_EDGE_LINES:]}
    return {number: page[number].shape for number in outer}
