import csv
import gzip
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes_feeds import documents, read_all, read_in_pool
from mainspring.data.document import Document
from mainspring.data.feeds.base import make
from mainspring.data.feeds.tables.fields import template_fields
from mainspring.data.sources import Rejected
from mainspring.errors import ConfigError, DocumentError


def write_rows(path: Path, rows: list[dict]) -> dict:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"kind": "rows", "path": str(path)}


def test_rows_become_documents_with_the_fields_that_are_set(tmp_path):
    row = {
        "body": "Words.",
        "nr": 7,
        "book": "b1",
        "when": "2024-05-01T12:00:00+02:00",
        "tag": ["x"],
        "by": {"name": "Ann"},
    }
    settings = write_rows(tmp_path / "reviews.jsonl", [row])
    fields = {"text": "body", "id": "nr", "group": "book", "time": "when", "meta": ["tag", "by.name"]}
    assert documents({**settings, **fields}) == [
        Document(
            id="reviews.jsonl#7", text="Words.", source="reviews.jsonl", group="reviews.jsonl#b1",
            time="2024-05-01T10:00:00+00:00", meta={"tag": ["x"], "by.name": "Ann"},
        )
    ]  # fmt: skip
    (plain,) = documents({**settings, "text": "body", "name": "r"})
    assert plain == Document(id="r#1", text="Words.", source="r")


def test_a_template_puts_fields_together(tmp_path):
    settings = write_rows(tmp_path / "x.jsonl", [{"a": "A", "b": {"c": 5}, "d": None}])
    assert documents({**settings, "text": "{a}: {b.c}{d} {{a}}"})[0].text == "A: 5 {a}"
    for wrong in ("{}", "{a!r}", "{a:>5}", "{a", "a}"):
        with pytest.raises(ConfigError, match="`text`"):
            make({**settings, "text": wrong})


@given(st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), min_size=1))
def test_a_text_without_braces_names_one_field(text):
    assert template_fields(text) == [text]


@pytest.mark.parametrize(
    ("given_time", "kept"),
    [
        ("2024-05-01", "2024-05-01"),
        ("2024-05-01 12:00:00", "2024-05-01T12:00:00"),
        ("2024-05-01T12:00:00Z", "2024-05-01T12:00:00+00:00"),
        (1_700_000_000, "2023-11-14T22:13:20+00:00"),
        ("1700000000", "2023-11-14T22:13:20+00:00"),
        ("", ""),
        (None, ""),
        ("yesterday", "neither ISO 8601"),
        ("20240501", "2024-05-01"),
        (True, "is true or false"),
        (10**15, "neither ISO 8601"),
    ],
)
def test_times_are_iso_8601_or_seconds_and_anything_else_is_rejected(tmp_path, given_time, kept):
    settings = write_rows(tmp_path / "x.jsonl", [{"text": "x", "t": given_time}])
    (found,) = read_all({**settings, "time": "t"})
    assert kept == found.time if isinstance(found, Document) else kept in found.reason


def test_bad_rows_are_rejected_with_their_line_and_reason_and_the_others_are_read(tmp_path):
    lines = [
        '{"text": "one", "id": 1}',
        '{"text": 5, "id": 2}',
        '{"txt": "x", "id": 3}',
        "{",
        "",
        '{"text": " ", "id": 5}',
        '{"text": "six"}',
        '{"text": "seven", "id": null}',
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    found = read_all({"kind": "rows", "path": str(tmp_path / "x.jsonl"), "id": "id"})
    assert [each.id for each in found if isinstance(each, Document)] == ["x.jsonl#1"]
    assert [(each.name, each.reason) for each in found if isinstance(each, Rejected)] == [
        ("x.jsonl#2", "its field 'text' is a number; a text is expected"),
        ("x.jsonl#3", "it has no field 'text'; it has txt, id"),
        (
            "x.jsonl#4",
            "the line is not JSON: Expecting property name enclosed in double quotes at character 2",
        ),
        ("x.jsonl#6", "its text is empty"),
        ("x.jsonl#7", "it has no field 'id'; it has text"),
        ("x.jsonl#8", "its field 'id' is null; a text or a whole number is expected"),
    ]


@pytest.mark.parametrize("field", ["text", "id", "group", "time", "meta", "messages"])
def test_a_field_that_no_row_has_is_an_error_at_once_that_names_the_fields_there_are(tmp_path, field):
    settings = write_rows(tmp_path / "x.jsonl", [{"text": "x", "content": "y"}])
    value = ["contend"] if field == "meta" else "contend"
    with pytest.raises(
        ConfigError, match=r"has the field 'contend'; they have text, content\. Did you mean 'content'"
    ):
        make({**settings, field: value}).prepare(tmp_path)


def test_files_without_one_readable_row_are_an_error_that_says_why(tmp_path):
    (tmp_path / "a.jsonl").write_text("{\n{\n")
    with pytest.raises(DocumentError, match=r"a\.jsonl, line 1: the line is not JSON"):
        make({"kind": "rows", "path": str(tmp_path)}).prepare(tmp_path)
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(DocumentError, match="empty"):
        make({"kind": "rows", "path": str(tmp_path)}).prepare(tmp_path)
    (tmp_path / "a.jsonl").rename(tmp_path / "a.json")
    with pytest.raises(DocumentError, match=r"rows are read from \.jsonl"):
        make({"kind": "rows", "path": str(tmp_path)}).prepare(tmp_path)


def test_a_folder_is_read_file_by_file_and_what_cannot_be_read_is_rejected_in_its_place(tmp_path):
    pytest.importorskip("pyarrow")
    write_rows(tmp_path / "a.jsonl", [{"text": "A1"}, {"text": "A2"}])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    whole = gzip.compress(
        b'{"text": "C1"}\n' * 1_000 + b"".join(b'{"text": "%d"}\n' % i for i in range(5_000))
    )
    (tmp_path / "c.jsonl.gz").write_bytes(whole[:-4_000])
    (tmp_path / "d.gz").write_bytes(b"x")
    (tmp_path / "e.csv").write_text("text\nE1\n")
    (tmp_path / "notes.md").write_text("x")
    found = read_all({"kind": "rows", "path": str(tmp_path), "name": "n"})
    assert [each.id for each in found[:2]] == ["n/a.jsonl#1", "n/a.jsonl#2"]
    rejected = {each.name: each.reason for each in found if isinstance(each, Rejected)}
    assert list(rejected) == ["n/b.parquet", "n/c.jsonl.gz", "n/d.gz", "n/notes.md"]
    assert "cannot be read to its end" in rejected["n/b.parquet"]
    assert "ended before" in rejected["n/c.jsonl.gz"]
    assert sum(each.id.startswith("n/c") for each in found if isinstance(each, Document)) > 1_000
    assert [each.id for each in found if isinstance(each, Document)][-1] == "n/e.csv#2"


def test_tab_separated_values_and_columns_without_a_line_of_names(tmp_path):
    (tmp_path / "x.tsv").write_text("q\ta\nWhat?\tThat.\n")
    assert (
        documents({"kind": "rows", "path": str(tmp_path / "x.tsv"), "text": "{q} {a}"})[0].text
        == "What? That."
    )
    (tmp_path / "y.csv").write_text("What?,That.\n")
    found = documents(
        {"kind": "rows", "path": str(tmp_path / "y.csv"), "text": "{q} {a}", "columns": ["q", "a"]}
    )
    assert [(each.id, each.text) for each in found] == [("y.csv#1", "What? That.")]


TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


def test_conversations_are_kept_as_messages_and_their_contents_are_the_text(tmp_path):
    settings = write_rows(
        tmp_path / "x.jsonl",
        [
            {
                "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}],
                "text": "other",
            }
        ],
    )
    for fields in ({"shape": "auto"}, {"shape": "sharegpt"}, {"messages": "conversations"}):
        (found,) = documents({**settings, **fields})
        assert (found.text, found.meta) == ("Q\n\nA", {"messages": TURNS})


def test_the_shape_is_recognised_before_reading_and_the_same_in_workers(tmp_path):
    settings = write_rows(
        tmp_path / "x.jsonl", [{"messages": TURNS}] * 150 + [{"instruction": "x", "output": "y"}]
    )
    feed = make({**settings, "shape": "auto", "part_bytes": 4_000})
    expected = read_all({**settings, "shape": "openai"})
    assert isinstance(expected[-1], Rejected)
    assert read_in_pool(feed) == expected


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"messages": TURNS, "instruction": "x", "output": "y"}], "may be alpaca or openai"),
        ([{"messages": TURNS}, {"instruction": "x", "output": "y"}], "not all of one known shape"),
        ([{"talk": TURNS}], "not all of one known shape"),
    ],
)
def test_a_shape_that_is_not_clear_is_refused(tmp_path, rows, told):
    with pytest.raises(ConfigError, match=told):
        make({**write_rows(tmp_path / "x.jsonl", rows), "shape": "auto"}).prepare(tmp_path)


def test_parquet_gives_what_was_written_whatever_the_parts(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    when = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        {
            "text": f"Row {i} é",
            "n": i,
            "when": when.replace(second=i % 60),
            "deep": {"x": str(i)},
            "raw": b"\0",
        }
        for i in range(500)
    ]
    rows = [{**row, "messages": TURNS} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=64)
    settings = {
        "kind": "rows",
        "path": str(tmp_path / "x.parquet"),
        "text": "{text} {deep.x}",
        "time": "when",
        "meta": ["n", "deep"],
    }
    whole = documents(settings)
    assert [(each.id, each.text) for each in whole] == [
        (f"x.parquet#{i + 1}", f"Row {i} é {i}") for i in range(500)
    ]
    assert whole[61].meta == {"n": 61, "deep": {"x": "61"}}
    assert whole[61].time == "2024-01-01T00:00:01+00:00"
    for part_bytes, num_parts in ((1, 8), (10**9, 1)):
        feed = make({**settings, "part_bytes": part_bytes})
        assert len(feed.parts()) == num_parts
        assert [each for part in feed.parts() for each in feed.read(part)] == whole
    chats = documents({"kind": "rows", "path": str(tmp_path / "x.parquet"), "shape": "auto", "meta": ["raw"]})
    assert chats[0].meta == {"messages": TURNS, "raw": "AA=="}
    (one, *_) = read_all({"kind": "rows", "path": str(tmp_path / "x.parquet"), "text": "raw"})
    assert one.reason == "its field 'raw' is bytes; a text is expected"


def test_the_fingerprint_follows_fields_and_files_and_not_the_parts(tmp_path):
    settings = write_rows(tmp_path / "x.jsonl", [{"text": "x", "b": "y"}])
    first = make(settings).fingerprint()
    assert make({**settings, "part_bytes": 7}).fingerprint() == first
    assert make({**settings, "text": "b"}).fingerprint() != first
    assert make({**settings, "name": "n"}).fingerprint() != first
    write_rows(tmp_path / "x.jsonl", [{"text": "x", "b": "yy"}])
    assert make(settings).fingerprint() != first


DATA = Path(os.environ.get("MAINSPRING_DATA") or Path(__file__).parents[4] / "shared" / "data")


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no folder of public data sets at {DATA}")
def test_published_csv_files_are_read_as_the_csv_module_reads_them():
    text = "{question}\n{choice0}\n{choice1}\n{choice2}\n{choice3}"
    settings = {"kind": "rows", "path": str(DATA / "mmlu" / "dev" / "*.csv"), "text": text}
    expected = []
    for file in sorted((DATA / "mmlu" / "dev").glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as stream:
            expected += [text.format(**row) for row in csv.DictReader(stream)]
    assert len(expected) == 57 * 5
    for part_bytes in (50, 10**7):
        assert [each.text for each in documents({**settings, "part_bytes": part_bytes})] == expected
    assert re.match(r"dev/abstract_algebra_dev\.csv#2$", documents(settings)[0].id)
