"""XLSX: each visible sheet a heading and its rows as a table; formulas as the values last computed.

Values are written as they are stored, not as they are shown: 25 % is 0.25. A formula that was never computed,
as in a file that a program wrote, has no value.
"""

import io
from collections.abc import Iterator
from datetime import datetime, time
from typing import Any

from mainspring.data.parse.archive import check_archive
from mainspring.data.parse.base import Parsed, Piece, Raw, assemble
from mainspring.data.parse.table import table_text
from mainspring.errors import DocumentError, MissingExtraError


def read(raw: Raw) -> Parsed:
    """All visible sheets in order, one row at a time."""
    check_archive(raw)
    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtraError("openpyxl", "docs", f"Reading {raw.name}") from error
    try:
        workbook = openpyxl.load_workbook(io.BytesIO(raw.data), read_only=True, data_only=True)
    except (KeyError, OSError) as error:
        raise DocumentError(f"{raw.name} is no workbook ({error}); save it as a usual .xlsx.") from error
    found = [piece for sheet in workbook.worksheets for piece in _sheet(sheet)]
    if not found:
        raise DocumentError(f"{raw.name} has no visible sheet with values. Leave it out.")
    return assemble(found, raw.name, workbook.properties.title or "")


def _sheet(sheet: Any) -> Iterator[Piece]:
    if sheet.sheet_state != "visible":
        return
    sheet.reset_dimensions()  # what a file says of its size may be wrong, and is not needed
    text = table_text([_shown(value) for value in row] for row in sheet.iter_rows(values_only=True) if row)
    if text:
        yield Piece(kind="heading", text=sheet.title, level=1)
        yield Piece(kind="table", text=text)


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, datetime):
        is_day = value.time() == time()
        return value.date().isoformat() if is_day else value.isoformat(" ", "minutes")
    return str(value)
