from datetime import date, datetime, time

import openpyxl
import pytest
import xlsxwriter

from fakes_documents import docx, saved, with_part, xlsx
from mainspring.data.parse import parse
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError


def blocks_of(data):
    parsed = parse(data, "d.xlsx", "xlsx")
    return [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks]


def test_sheets_are_headings_and_rows_are_tables():
    book = openpyxl.Workbook()
    book.active.title = "Lamps"
    book.active.append(["name", None, "height"])
    book.active.append([])
    book.active.append(["old\nlamp", "x", 3])
    book.create_sheet("Empty")
    book.create_sheet("Oil").append(["whale"])
    assert blocks_of(saved(book)) == [
        ("heading", "Lamps"),
        ("table", "| name |  | height |\n| old lamp | x | 3 |"),
        ("heading", "Oil"),
        ("table", "| whale |"),
    ]


def test_values_are_written_as_they_are_stored():
    day, hour = datetime(2026, 3, 2), datetime(2026, 3, 2, 9, 30)  # noqa: DTZ001 - a sheet has no zones
    row = [0.1 + 0.2, 1e-9, 12.0, True, day, hour]
    assert blocks_of(xlsx([[*row, date(2026, 1, 5), time(9, 5), "é"]]))[1][1] == (
        "| 0.3 | 1e-09 | 12 | TRUE | 2026-03-02 | 2026-03-02 09:30 | 2026-01-05 | 09:05:00 | é |"
    )


def test_formulas_are_the_values_last_computed(tmp_path):
    with xlsxwriter.Workbook(tmp_path / "book.xlsx") as book:
        sheet = book.add_worksheet("Sum")
        sheet.write_row(0, 0, [2, 3])
        sheet.write_formula(0, 2, "=A1+B1", None, 5)
    assert blocks_of((tmp_path / "book.xlsx").read_bytes()) == [
        ("heading", "Sum"),
        ("table", "| 2 | 3 | 5 |"),
    ]


def test_hidden_sheets_are_left_out():
    book = openpyxl.Workbook()
    book.active.append(["shown"])
    hidden = book.create_sheet("Hidden")
    hidden.append(["secret"])
    hidden.sheet_state = "hidden"
    assert "secret" not in parse(saved(book), "d.xlsx", "xlsx").text


def test_a_sheet_that_claims_to_be_huge_costs_what_it_holds():
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        '<dimension ref="A1:XFD1048576"/><sheetData><row r="1"><c r="A1"><v>7</v></c></row>'
        '<row r="1048576"><c r="XFD1048576"><v>8</v></c></row></sheetData></worksheet>'
    )
    data = with_part(xlsx([[1]]), "xl/worksheets/sheet1.xml", sheet)
    parsed = parse(data, "d.xlsx", "xlsx", limits=ParseLimits(seconds=20))
    assert parsed.text.startswith("Sheet\n\n| 7 |\n|")
    assert parsed.text.endswith("| 8 |")


def test_what_holds_no_values_is_refused():
    with pytest.raises(DocumentError, match="no visible sheet with values"):
        parse(xlsx([]), "d.xlsx", "xlsx")
    with pytest.raises(DocumentError, match="is no workbook"):
        parse(docx("x"), "d.xlsx", "xlsx")
