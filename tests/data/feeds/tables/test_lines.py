"""Cutting and reading against formulas and libraries that have the whole file before them."""

import csv
import gzip
import io
import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mainspring.data.feeds.base import Part
from mainspring.data.feeds.tables import lines
from mainspring.data.feeds.tables.delimited import Delimited
from mainspring.data.feeds.tables.jsonl import JsonLines

LIMIT = 10**7
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), TEXT | st.integers() | st.none()), max_size=12)
CELL = st.lists(st.sampled_from(['"', '""', ",", "\n", "\r\n", "a", "é🙂", " ", "\t"]), max_size=5).map(
    "".join
)
RAW = st.lists(
    st.sampled_from(['"', '""', '"""', ",", ',"', '",', "\n", "\n\n", "a", 'b"', "é"]), max_size=30
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "rows.x"


def read(table, file, part_bytes):
    """(parts, rows) of a file; the parts must cover it without a gap."""
    parts = table.parts(file, part_bytes)
    assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]
    return parts, [row for part in parts for row in table.rows(part)]


@given(
    rows=ROWS,
    part_bytes=st.integers(1, 60),
    chunk=st.integers(1, 40),
    end=st.sampled_from(["\n", "\r\n"]),
    is_marked=st.booleans(),
    is_ascii=st.booleans(),
)
def test_json_lines_are_the_same_however_they_are_cut(
    file, rows, part_bytes, chunk, end, is_marked, is_ascii
):
    content = end.join(json.dumps(row, ensure_ascii=is_ascii) for row in rows)
    file.write_bytes((b"\xef\xbb\xbf" if is_marked else b"") + content.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES", chunk)
        _, found = read(JsonLines(max_bytes=LIMIT), file, part_bytes)
    assert [row.values for row in found] == rows
    assert [row.number for row in found] == list(range(1, len(rows) + 1))


@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), max_size=10), part_bytes=st.integers(1, 60), chunk=st.integers(1, 40),
    end=st.sampled_from(["\n", "\r\n"]), delimiter=st.sampled_from([",", "\t"]),
)  # fmt: skip
def test_cells_with_ends_of_lines_in_quotes_are_what_the_csv_module_reads(
    file, rows, part_bytes, chunk, end, delimiter
):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=end)
    writer.writerows([("x", "y", "z"), *rows])
    file.write_bytes(stream.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES", chunk)
        _, found = read(Delimited(delimiter=delimiter, max_bytes=LIMIT), file, part_bytes)
    assert [tuple(row.values.values()) for row in found] == rows
    numbers, expected = [], []
    with file.open(newline="", encoding="utf-8") as opened:
        reader, before = csv.reader(opened, delimiter=delimiter), 0
        for row in reader:
            numbers.append(before + 1)
            expected.append(row)
            before = reader.line_num
    assert [list(row.values.values()) for row in found] == expected[1:]
    assert [row.number for row in found] == numbers[1:]


@given(raw=RAW.map("".join), part_bytes=st.integers(1, 40), chunk=st.integers(1, 30))
@example(raw='"a""\n"', part_bytes=1, chunk=4)
@example(raw='a"b\n"c\n', part_bytes=1, chunk=1)
def test_stray_quotes_are_read_as_the_csv_module_reads_them_wherever_the_cuts_are(
    file, raw, part_bytes, chunk
):
    data = "x,y\n" + raw
    file.write_bytes(data.encode())
    table = Delimited(delimiter=",", max_bytes=LIMIT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES", chunk)
        _, found = read(table, file, part_bytes)
    assert found == list(table.rows(table.whole(file)))
    expected = [row for row in csv.reader(io.StringIO(data, newline="")) if row][1:]
    two = [row for row in expected if len(row) == 2]
    good = [list(row.values.values()) for row in found if not row.fault]
    open_ended = [row for row in found if "never closed" in row.fault]
    assert len(open_ended) <= 1
    assert good == (two[: len(two) - 1] if open_ended and len(expected[-1]) == 2 else two)


def test_numbers_are_those_of_the_lines_whatever_the_parts(file):
    file.write_text('a,b\n\n1,2\n"x\ny",3\nonly one\n4,5\n')
    for part_bytes in (1, 9, 1_000):
        _, found = read(Delimited(delimiter=",", max_bytes=LIMIT), file, part_bytes)
        assert [(row.number, row.fault) for row in found] == [
            (3, ""), (4, ""), (6, "the row has 1 cells; there are 2 columns"), (7, ""),
        ]  # fmt: skip


@pytest.mark.parametrize("part_bytes", [1, 10**6])
def test_broken_lines_of_json_have_faults_and_the_others_are_read(file, part_bytes):
    bad = [
        b'{"a": 1',
        b'{"a": "\xff"}',
        b"[1]",
        b'"x"',
        b"null",
        b"7",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"a": 1}{"a": 2}',
        b'{"a":"' + b"x" * 200 + b'"}',
    ]
    file.write_bytes(b'{"a": 0}\n' + b"\n".join(bad) + b'\n\n{"a": 9}')
    _, found = read(JsonLines(max_bytes=100), file, part_bytes)
    assert [row.number for row in found] == [*range(1, 12), 13]
    assert [row.values for row in found if not row.fault] == [{"a": 0}, {"a": 9}]
    told = [
        "delimiter",
        "UTF-8",
        "a list",
        "a text",
        "null",
        "a number",
        "NaN",
        "half a character",
        "Extra data",
        "more than 100 bytes",
    ]
    assert [part in row.fault for part, row in zip(told, found[1:-1], strict=True)] == [True] * 10, found


def test_a_row_over_the_limit_costs_no_memory_and_the_lines_behind_keep_their_numbers(file, monkeypatch):
    monkeypatch.setattr(lines, "CHUNK_BYTES", 1 << 16)
    with file.open("wb") as stream:
        stream.write(b'a,b\n1,"')
        for _ in range(64):
            stream.write(b"x" * (1 << 18) + b"\n")
        stream.write(b'"\n3,4\n')
    table = Delimited(delimiter=",", max_bytes=1_000)
    tracemalloc.start()
    found = list(table.rows(table.whole(file)))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1_000_000 < file.stat().st_size
    assert [(row.number, row.values.get("b")) for row in found] == [(2, None), (67, "4")]
    assert "more than 1,000 bytes" in found[0].fault


def test_a_quote_that_is_never_closed_is_told_with_its_line(file):
    file.write_text('a,b\n1,2\n3,"x\n5,6\n')
    _, found = read(Delimited(delimiter=",", max_bytes=LIMIT), file, 10)
    assert [(row.number, row.fault) for row in found] == [
        (2, ""), (3, "a quote opens in this row and is never closed"),
    ]  # fmt: skip
    _, found = read(Delimited(delimiter=",", max_bytes=LIMIT, is_quoted=False), file, 10)
    assert [row.values["b"] for row in found] == ["2", '"x', "6"]


def test_columns_may_be_named_by_the_user_and_must_be_clear(file):
    file.write_text("1,2\n3,4\n")
    _, found = read(Delimited(delimiter=",", max_bytes=LIMIT, columns=("q", "a")), file, 1)
    assert [row.values for row in found] == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]
    file.write_text("x,x\n1,2\n3,4\n")
    _, found = read(Delimited(delimiter=",", max_bytes=LIMIT), file, 1)
    assert [(row.number, "'x' stands more than once" in row.fault) for row in found] == [(1, True)]


def test_large_cells_are_read(file):
    big = "word " * 100_000
    file.write_text(f'text\n"{big}"\n')
    _, found = read(Delimited(delimiter=",", max_bytes=LIMIT), file, 100)
    assert found[0].values["text"] == big


def test_compressed_files_are_one_part_and_read_alike(tmp_path):
    pa = pytest.importorskip("pyarrow")
    data = b"\xef\xbb\xbf" + b"".join(b'{"a": %d}\n' % i for i in range(20_000))
    half = len(data) // 2
    packed = {
        "rows.jsonl.gz": gzip.compress(data[:half]) + gzip.compress(data[half:]),
        "rows.jsonl.zst": b"".join(
            pa.compress(each, codec="zstd", asbytes=True) for each in (data[:half], data[half:])
        ),
    }
    for name, content in packed.items():
        (tmp_path / name).write_bytes(content)
        parts, found = read(JsonLines(max_bytes=LIMIT), tmp_path / name, 1_000)
        assert len(parts) == 1
        assert [row.values["a"] for row in found] == list(range(20_000))


def test_a_part_in_the_middle_is_read_without_the_file_before_it(file):
    content = b"".join(b'{"a": %d}\n' % i for i in range(1_000))
    file.write_bytes(content)
    parts = JsonLines(max_bytes=LIMIT).parts(file, 1_000)
    file.write_bytes(b"\0" * parts[5].start + content[parts[5].start :])
    (first, *_) = JsonLines(max_bytes=LIMIT).rows(parts[5])
    assert first.values == {"a": parts[5].first - 1}
    assert isinstance(parts[5], Part)
