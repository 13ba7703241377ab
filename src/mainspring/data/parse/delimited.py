"""CSV and TSV: the rows as a table."""

import csv
import io

from mainspring.data.parse.base import Parsed, Piece, Raw, assemble, uniform_lines
from mainspring.data.parse.encoding import characters
from mainspring.data.parse.table import table_text
from mainspring.errors import DocumentError

DELIMITERS = ",;\t|"


def read(raw: Raw) -> Parsed:
    """Rows whose cells are divided by what divides the first line into most cells."""
    text = _text(raw)
    first = text.split("\n", 1)[0]
    return _table(raw, text, max(DELIMITERS, key=first.count))


def read_tabs(raw: Raw) -> Parsed:
    """Rows whose cells are divided by tabs."""
    return _table(raw, _text(raw), "\t")


def _text(raw: Raw) -> str:
    text = uniform_lines(characters(raw.data, raw.name)).lstrip("\n")
    if not text.strip():
        raise DocumentError(f"{raw.name} is empty; give it some text or leave it out.")
    return text


def _table(raw: Raw, text: str, delimiter: str) -> Parsed:
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        found = table_text(rows)
    except csv.Error as error:
        raise DocumentError(
            f"{raw.name}, line {rows.line_num}: not a row of cells ({error}). Correct it or leave it out."
        ) from error
    return assemble([Piece(kind="table", text=found)], raw.name)
