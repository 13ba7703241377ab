"""Lines of pages to headings, paragraphs and lists, by their sizes and the space between them.

A PDF says where characters stand and nothing else, so this errs on the side of paragraphs: a heading is a
short line that is clearly larger than the text of most characters, and where much of a document is larger,
size means something else there and nothing is taken for a heading.
"""

import re
import statistics
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from mainspring.data.parse.base import Piece
from mainspring.data.parse.pdf_lines import HYPHEN, Line

HEADING_FACTOR = 1.15  # times the size of the text
MAX_HEADING_CHARACTERS = 200
MAX_HEADING_PART = 0.25  # of all characters
NUM_LEVELS = 4
SPREAD_FACTOR = 1.3  # times the usual width of a character
GAP_FACTOR = 0.45  # of a line's size, beyond the usual space between two lines
BULLET = re.compile(r"(?:[•▪◦‣●○■–*-]|\(?\d{1,2}[.)])\s+\S")
DIVIDED = re.compile(r"([^\W\d_]+)(?:\x02|\xad\s|-\n)([^\W\d_]+)")
WORD = re.compile(r"\w+(?:-\w+)*")


def blocks(pages: list[list[Line]]) -> list[Piece]:
    """Pieces of all pages in order."""
    lines = [line for page in pages for line in page]
    levels = _heading_levels(lines)
    spread = SPREAD_FACTOR * statistics.median_low(line.spread for line in lines) if lines else 0.0
    groups = list(_groups(pages, _usual_gap(pages)))
    texts = [_joined(group, spread) for group in groups]
    words = _Words(texts)
    done: list[Piece] = []
    for group, divided in zip(groups, texts, strict=True):
        level = levels.get(round(group[0].size * 2), 0)
        text = words.undivide(divided)
        if level and _reads_as_heading(text):
            done.append(Piece(kind="heading", text=text, level=level))
        elif BULLET.match(text):
            _add_item(done, text)
        else:
            done.append(Piece(kind="paragraph", text=text))
    return done


def _reads_as_heading(text: str) -> bool:
    """Whether it is short and mostly letters: no sum, no bar code."""
    return len(text) <= MAX_HEADING_CHARACTERS and sum(map(str.isalpha, text)) > len(text) / 2


def _heading_levels(lines: list[Line]) -> dict[int, int]:
    """Size in half points -> level, for the sizes that headings have; empty where none is clear."""
    weights: Counter[int] = Counter()
    for line in lines:
        weights[round(line.size * 2)] += len(line.text)
    if not weights:
        return {}
    body = weights.most_common(1)[0][0]
    larger = sorted((size for size in weights if size > body * HEADING_FACTOR), reverse=True)
    if sum(weights[size] for size in larger) > MAX_HEADING_PART * weights.total():
        return {}
    return {size: min(rank, NUM_LEVELS) for rank, size in enumerate(larger, start=1)}


def _usual_gap(pages: list[list[Line]]) -> float:
    """The space between two lines that follow each other, in sizes of a line; negative if they overlap."""
    gaps = [
        (above.bottom - below.top) / above.size
        for page in pages
        for above, below in pairwise(page)
        if above.size > 0 and -0.5 < (above.bottom - below.top) / above.size < 1.5
    ]
    return statistics.median_low(gaps) if gaps else 0.0


def _groups(pages: list[list[Line]], gap: float) -> Iterator[list[Line]]:
    """Lines that belong together; a sentence that goes on in the next column or page stays whole."""
    group: list[Line] = []
    for page in pages:
        for number, line in enumerate(page):
            if group and not (_goes_on(group[-1], line) if number == 0 else _follows(group, line, gap)):
                yield group
                group = []
            group.append(line)
    if group:
        yield group


def _follows(group: list[Line], line: Line, gap: float) -> bool:
    above = group[-1]
    if abs(line.size - above.size) > 0.1 * above.size or BULLET.match(line.text):
        return False
    space = (above.bottom - line.top) / above.size if above.size else 0.0
    if space < -1.5:  # it stands higher: another column
        return _goes_on(above, line)
    is_indented = line.left > above.left + 0.8 * above.size and not BULLET.match(group[0].text)
    is_ended = above.text.endswith((".", ":", "?", "!", "”", '"'))
    return space <= gap + GAP_FACTOR and not (is_indented and is_ended)


def _goes_on(above: Line, line: Line) -> bool:
    is_open = above.text[-1:].isalnum() or above.text.endswith((",", "-", HYPHEN))
    return is_open and line.text[:1].islower() and abs(line.size - above.size) <= 0.1 * above.size


def _joined(group: list[Line], spread: float) -> str:
    """One text: a line that had no room for the next word runs on.

    Those of forms and tables stay lines: they end early, or leave room between their columns.
    """
    edge = max(line.right for line in group)
    text = group[0].text
    for above, line in pairwise(group):
        width = (line.right - line.left) / len(line.text) * (len(line.text.split()[0]) + 1)
        is_full = above.right + width > edge and max(above.spread, line.spread) <= spread
        is_divided = above.text.endswith("-") and line.text[:1].islower()
        text += ("\n" if is_divided or not is_full else " ") + line.text
    return text


def _add_item(done: list[Piece], text: str) -> None:
    item = text.replace("\n", " ")
    if done and done[-1].kind == "list":
        done[-1] = Piece(kind="list", text=f"{done[-1].text}\n{item}")
    else:
        done.append(Piece(kind="list", text=item))


class _Words:
    """Which whole words a document has, to tell a divided word from one with a hyphen of its own."""

    def __init__(self, texts: list[str]) -> None:
        whole = (DIVIDED.sub(" ", text) for text in texts)
        self.known = {word.casefold() for text in whole for word in WORD.findall(text)}

    def undivide(self, text: str) -> str:
        """Words that were divided at the ends of lines, whole again."""
        return DIVIDED.sub(self._whole, text).replace(HYPHEN, "-")

    def _whole(self, found: re.Match[str]) -> str:
        start, end = found[1], found[2]
        joined, hyphened = f"{start}{end}".casefold(), f"{start}-{end}".casefold()
        are_words = len(start) > 3 and {start.casefold(), end.casefold()} <= self.known
        keeps = hyphened in self.known or (joined not in self.known and are_words) or end[0].isupper()
        return f"{start}-{end}" if keeps else f"{start}{end}"
