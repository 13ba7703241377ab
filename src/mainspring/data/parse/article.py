"""The main text of a page of HTML, without menus, advertisements and comments: what is worth learning from.

Trafilatura decides what the main text is (Barbaresi 2021, https://aclanthology.org/2021.acl-demo.15); its
answer is read as blocks.
"""

from typing import Any

from mainspring.data.parse.base import Parsed, Piece, Raw, assemble, decode, dedent
from mainspring.data.parse.encoding import declared_by_page
from mainspring.data.parse.table import table_text
from mainspring.errors import DocumentError, MissingExtraError


def read(raw: Raw) -> Parsed:
    """The blocks of the page's main text.

    Raises:
        DocumentError: a page without one, a list of links for example.

    """
    text = decode(raw.data, raw.name, declared_by_page(raw.data))
    try:
        import trafilatura
        from lxml.etree import fromstring
    except ImportError as error:
        raise MissingExtraError("trafilatura", "docs", f"Reading the main text of {raw.name}") from error
    answer = trafilatura.extract(text, output_format="xml", include_comments=False, with_metadata=True)
    if not answer:
        raise DocumentError(
            f"{raw.name} has no main text that stands out from its menus. Leave it out, or read it as 'html'."
        )
    root = fromstring(answer.encode())
    main = root.find(".//main")
    found = [] if main is None else [piece for element in main for piece in _pieces(element)]
    return assemble(found, raw.name, root.get("title", ""))


def _pieces(element: Any) -> list[Piece]:
    """One element of the answer; a quotation or a section holds further ones."""
    text = "".join(element.itertext())
    match element.tag:
        case "head":
            level = element.get("rend", "h2").removeprefix("h")
            return [Piece(kind="heading", text=text, level=int(level) if level.isdigit() else 2)]
        case "list":
            items = (" ".join("".join(item.itertext()).split()) for item in element.iter("item"))
            return [Piece(kind="list", text="\n".join(f"- {item}" for item in items if item))]
        case "table":
            rows = [["".join(cell.itertext()) for cell in row] for row in element.iter("row")]
            return [Piece(kind="table", text=table_text(rows))]
        case "code":
            return [Piece(kind="code", text="\n".join(dedent(text.split("\n"))))]
        case "quote" | "div" if len(element):
            return [*_paragraph(element.text), *(piece for inner in element for piece in _pieces(inner))]
    return _paragraph(text)


def _paragraph(text: str | None) -> list[Piece]:
    words = " ".join((text or "").split())
    return [Piece(kind="paragraph", text=words)] if words else []
