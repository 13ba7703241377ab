import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.parse import parse
from mainspring.errors import DocumentError


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_what_divides_the_first_line_most(delimiter):
    rows = f"name{delimiter}height{delimiter}oil\nlamp{delimiter}3.5{delimiter}whale\n"
    assert parse(rows.encode(), "d.csv", "csv").text == "| name | height | oil |\n| lamp | 3.5 | whale |"


def test_tabs_alone_divide_tsv():
    assert parse(b"a,b,c\td\n1\t2", "d.tsv", "tsv").text == "| a,b,c | d |\n| 1 | 2 |"


def test_quoted_cells_may_hold_anything():
    parsed = parse('a,b\n"x, ""y""\nz",2\n'.encode("utf-8-sig"), "d.csv", "csv")
    assert parsed.text == '| a | b |\n| x, "y" z | 2 |'
    assert [block.kind for block in parsed.blocks] == ["table"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'a,b\n1,"open', r"d\.csv, line 2: not a row of cells"),
        (b"\n\n", "is empty"),
        (b"a,\x96b", "byte 2 is 0x96"),
        (b"a" * 200_000 + b",b", "line 1: not a row of cells"),
    ],
    ids=["open quote", "empty", "encoding", "huge cell"],
)
def test_what_is_no_table_is_refused_with_its_line(data, reason):
    with pytest.raises(DocumentError, match=reason):
        parse(data, "d.csv", "csv")


CELL = st.text("ab,;\t\"' é1", min_size=1, max_size=8).map(lambda cell: f"c{cell}c")


@given(st.lists(st.lists(CELL, min_size=2, max_size=4), min_size=1, max_size=6))
def test_what_the_standard_library_writes_is_read_cell_by_cell(rows):
    out = io.StringIO()
    csv.writer(out, delimiter="\t").writerows(rows)
    text = parse(out.getvalue().encode(), "d.tsv", "tsv").text
    assert text.split("\n") == ["| " + " | ".join(" ".join(c.split()) for c in row) + " |" for row in rows]
