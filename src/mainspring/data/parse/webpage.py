"""HTML: what a reader of the page sees, without scripts, styles and navigation.

The tree is walked once and without recursion, since pages nest as deep as they like. Blocks end where a
browser would begin a new line; a table is kept as rows unless it only lays out the page.
"""

import re
from typing import TYPE_CHECKING, Any

from mainspring.data.parse.base import Parsed, Piece, Raw, assemble, decode, dedent
from mainspring.data.parse.encoding import declared_by_page
from mainspring.data.parse.table import table_text
from mainspring.errors import DocumentError, MissingExtraError

if TYPE_CHECKING:
    from lxml.etree import iterwalk

HEADINGS = {f"h{level}": level for level in range(1, 7)}
LISTS = {"ul", "ol", "menu", "dl"}
ITEMS = {"li", "dt", "dd"}
BLOCKS = {
    "html", "body", "div", "p", "section", "article", "main", "header", "footer", "aside", "address", "center",
    "blockquote", "figure", "figcaption", "details", "summary", "form", "fieldset", "legend", "hgroup", "hr",
    "table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th",
}  # fmt: skip
DROPPED = {
    "head", "script", "style", "nav", "template", "noscript", "iframe", "object", "embed", "svg", "canvas",
    "audio", "video", "select", "datalist", "button", "input", "textarea",
}  # fmt: skip
INLINE_LEFT_OUT = DROPPED - {"nav"} | {"b", "i", "em", "strong", "a", "span", "code", "sup", "sub", "abbr"}
HIDDEN = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
NOT_IN_CELLS = ("pre", *HEADINGS)  # of a table of data
TOO_DEEP, NO_MEMORY = "ERR_RESOURCE_LIMIT", "ERR_NO_MEMORY"  # libxml2 stops in the middle of a page
BREAK = "\x1e"  # stands for <br> until blanks are collapsed


def read(raw: Raw) -> Parsed:
    """The whole page."""
    text = decode(raw.data, raw.name, declared_by_page(raw.data))
    found, title = page_pieces(text, raw.name)
    return assemble(found, raw.name, title)


def page_pieces(text: str, name: str) -> tuple[list[Piece], str]:
    """Blocks of a page in order, and its title."""
    try:
        from lxml.etree import HTMLParser, fromstring, iterwalk
    except ImportError as error:
        raise MissingExtraError("lxml", "docs", f"Reading {name}") from error
    parser = HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    root = fromstring(text.replace(BREAK, " ").encode(), parser)
    faults = {entry.type_name for entry in parser.error_log}
    if NO_MEMORY in faults:
        raise MemoryError  # the tree may lack its end
    if TOO_DEEP in faults:
        raise DocumentError(f"{name} nests its elements more than 2,048 deep. Leave it out.")
    if root is None:
        raise DocumentError(f"{name} holds no text once markup is taken out. Leave it out.")
    return _Reader().read(iterwalk(root, events=("start", "end"))), root.findtext(".//title") or ""


class _Reader:
    """Walks over a tree and collects blocks; `words` is the text of the block that is open."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.done: list[Piece] = []
        self.lists: list[list[int]] = []  # for each open list: the number of its item, -1 without numbers
        self.items: list[str] = []
        self.marker = ""
        self.level = 0  # of the heading that is open

    def read(self, walk: "iterwalk") -> list[Piece]:
        left_out = None
        for event, element in walk:
            if event == "start" and _is_left_out(element):
                walk.skip_subtree()
                left_out = element
            elif element is left_out:  # its end
                self._pass_over(element)
            elif event == "start":
                self._start(element, walk)
            else:
                self._end(element)
        self._close_list()
        return self.done

    def _start(self, element: Any, walk: "iterwalk") -> None:
        tag = element.tag
        if tag in ("pre", "table") and not self.level and self._whole(element):
            walk.skip_subtree()
            return
        if tag == "br":
            self.words.append(BREAK)
        elif tag in HEADINGS or tag in LISTS or tag in ITEMS or tag in BLOCKS:
            self._break()
        if tag in HEADINGS:
            self.level = HEADINGS[tag]
        elif tag in LISTS:
            self.lists.append([_whole_number(element.get("start"), 1) - 1 if tag == "ol" else -1])
        elif tag in ITEMS:
            self._item(tag)
        self.words.append(element.text or "")

    def _end(self, element: Any) -> None:
        tag = element.tag
        if tag in HEADINGS:
            self._close_heading()
        elif tag in LISTS:
            self._break()
            self.lists, self.marker = self.lists[:-1], ""
            if not self.lists:
                self._close_list()
        elif tag in ITEMS or tag in BLOCKS:
            self._break()
            self.marker = "" if tag in ITEMS else self.marker
        self.words.append(element.tail or "")

    def _pass_over(self, element: Any) -> None:
        if element.tag not in INLINE_LEFT_OUT:
            self._break()
        self.words.append(element.tail or "")

    def _item(self, tag: str) -> None:
        depth = max(len(self.lists) - 1, 0)
        numbers = self.lists[-1] if self.lists else [-1]
        numbers[0] += numbers[0] >= 0
        self.marker = "  " * depth + (f"{numbers[0]}. " if numbers[0] > 0 else "  " if tag == "dd" else "- ")

    def _whole(self, element: Any) -> bool:
        """Code or a table of data, a block of its own even within a list; False for a table of layout."""
        if element.tag == "pre":
            self._close_list()
            text = flat_text(element).replace(BREAK, "\n")
            self.done.append(Piece(kind="code", text="\n".join(dedent(text.split("\n")))))
            return True
        rows = _rows(element)
        if rows is None:
            return False
        self._close_list()
        caption = element.find("caption")
        if caption is not None:
            self.done.append(Piece(kind="paragraph", text=_collapse(flat_text(caption))))
        self.done.append(Piece(kind="table", text=table_text(rows)))
        return True

    def _close_heading(self) -> None:
        text = _collapse("".join(self.words)).replace("\n", " ")
        self.words = []
        self._close_list()
        self.done.append(Piece(kind="heading", text=text, level=self.level))
        self.level = 0

    def _break(self) -> None:
        """End the open block; within a heading, where none may stand, only its word."""
        if self.level:
            self.words.append(" ")
            return
        text, self.words = _collapse("".join(self.words)), []
        if not text:
            return
        if not self.lists and not self.marker:
            self.done.append(Piece(kind="paragraph", text=text))
            return
        lead = self.marker or "  " * len(self.lists)
        self.marker = ""
        self.items += [
            ("  " * len(self.lists) if n else lead) + line for n, line in enumerate(text.split("\n"))
        ]
        if not self.lists:  # an item that stands in no list
            self._close_list()

    def _close_list(self) -> None:
        self._break()
        if self.items:
            self.done.append(Piece(kind="list", text="\n".join(self.items)))
            self.items = []


def _whole_number(written: str | None, default: int) -> int:
    return int(written) if written and written.isascii() and written.isdecimal() else default


def flat_text(element: Any) -> str:
    """All that an element shows, with a blank where a block begins or ends."""
    from lxml.etree import iterwalk

    parts = []
    walk = iterwalk(element, events=("start", "end"))
    for event, inner in walk:
        is_block = inner.tag in BLOCKS or inner.tag in LISTS or inner.tag in ITEMS
        if event == "start" and inner is not element and _is_left_out(inner):
            walk.skip_subtree()
        elif event == "start":
            parts += [BREAK if inner.tag == "br" else " " if is_block else "", inner.text or ""]
        elif inner is not element:
            parts += [" " if is_block else "", inner.tail or ""]
    return "".join(parts)


def _rows(table: Any) -> list[list[str]] | None:
    """The cells of a table of data; None if it holds more than cells with text, to lay out a page with it."""
    is_layout = table.get("role") in ("presentation", "none") or any(
        inner is not table for inner in table.iter("table", *NOT_IN_CELLS)
    )
    if is_layout:
        return None
    rows = [
        [
            flat_text(cell).replace(BREAK, " ")
            for cell in row
            if cell.tag in ("td", "th") and not _is_left_out(cell)
        ]
        for row in table.iter("tr")
    ]
    caption = table.find("caption")
    shown = "".join([*map("".join, rows), flat_text(caption) if caption is not None else ""])
    is_whole = _num_letters(shown) == _num_letters(flat_text(table))
    return rows if is_whole else None


def _num_letters(text: str) -> int:
    return sum(map(len, text.replace(BREAK, " ").split()))


def _is_left_out(element: Any) -> bool:
    return (
        element.tag in DROPPED
        or element.get("hidden") is not None
        or HIDDEN.search(element.get("style", "")) is not None
    )


def _collapse(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split(BREAK))
    return "\n".join(line for line in lines if line)
