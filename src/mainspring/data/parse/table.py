"""Rows of cells to the text of a table: a row a line, its cells between bars, as in Markdown."""

from collections.abc import Iterable, Sequence


def table_text(rows: Iterable[Sequence[str]]) -> str:
    """The rows that say anything; blanks and line ends within a cell become single blanks."""
    lines = []
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
