import json
import pickle
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes_feeds import documents, read_all, read_as_sent
from fakes_kill import prepare_and_kill
from mainspring.data.document import Document
from mainspring.data.feeds.base import make
from mainspring.data.feeds.databases.query import check_query
from mainspring.errors import ConfigError, DocumentError

pytest.importorskip("sqlalchemy")


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE review (id INTEGER, body TEXT, book TEXT, raw BLOB)")
        rows = [(i * 3, f"Review {i} é\n:x 100%", f"b{i % 4}", b"\0") for i in range(50)]
        connection.executemany("INSERT INTO review VALUES (?, ?, ?, ?)", rows[::-1])
    connection.close()
    return path


def sql(path, query="SELECT id, body, book FROM review", **fields):
    return {
        "kind": "sql",
        "url": f"sqlite:///{path}",
        "query": query,
        "key": "id",
        "text": "body",
        "name": "reviews",
        **fields,
    }


def test_the_rows_of_a_query_are_documents_in_the_order_of_their_key(database, tmp_path):
    found = documents(sql(database, group="book", part_bytes=300), tmp_path / "run")
    assert [(each.id, each.text, each.group) for each in found] == [
        (f"reviews#{i * 3}", f"Review {i} é\n:x 100%", f"reviews#b{i % 4}") for i in range(50)
    ]
    feed = make(sql(database, group="book", part_bytes=300))
    feed.prepare(tmp_path / "run")
    assert len(feed.parts()) > 5
    assert read_as_sent(feed) == found


def test_what_was_brought_once_is_not_brought_again_but_may_be_read_otherwise(database, tmp_path):
    first = make(sql(database))
    first.prepare(tmp_path)
    before = documents(sql(database), tmp_path)
    database.unlink()
    assert documents(sql(database), tmp_path) == before
    assert documents(sql(database, text="book"), tmp_path)[1].text == "b1"
    again = make(sql(database))
    again.prepare(tmp_path)
    assert again.fingerprint() == first.fingerprint()
    with pytest.raises(DocumentError, match="There is no SQLite file"):
        make(sql(database, query="SELECT id, body FROM review WHERE id > 3")).prepare(tmp_path)


def test_the_fingerprint_follows_the_rows(database, tmp_path):
    first = make(sql(database))
    first.prepare(tmp_path / "a")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE review SET body = 'other' WHERE id = 3")
    connection.close()
    second = make(sql(database))
    second.prepare(tmp_path / "b")
    assert first.fingerprint() != second.fingerprint()


def snapshot_of(folder):
    (path,) = folder.glob("*/rows.jsonl")
    return path


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(part=st.floats(0, 1))
@pytest.mark.slow
def test_a_snapshot_that_broke_off_anywhere_is_completed_to_the_same_bytes(database, tmp_path, part):
    make(sql(database)).prepare(tmp_path / "run")
    path = snapshot_of(tmp_path / "run")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    (path.parent / "done.json").unlink()
    make(sql(database)).prepare(tmp_path / "run")
    assert path.read_bytes() == whole
    assert [json.loads(line)["id"] for line in whole.splitlines()] == list(range(0, 150, 3))


def test_a_row_that_changed_between_a_kill_and_going_on_is_told(database, tmp_path):
    make(sql(database)).prepare(tmp_path)
    path = snapshot_of(tmp_path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:10]))
    (path.parent / "done.json").unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE review SET body = 'other' WHERE id = 27")
    connection.close()
    with pytest.raises(DocumentError, match="changed since the rows were begun: the row with id = 27"):
        make(sql(database)).prepare(tmp_path)


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_brings_rows_leaves_what_the_next_one_completes(tmp_path):
    path = tmp_path / "large.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE review (id TEXT PRIMARY KEY, body TEXT)")
        connection.executemany(
            "INSERT INTO review VALUES (?, ?)", ((f"k{i:07}", f"Review {i} " * 30) for i in range(60_000))
        )
    connection.close()
    folder, killed = tmp_path / "run", 0
    settings_ = sql(path, query="SELECT * FROM review")

    def has(num_bytes: int) -> bool:
        return any(file.stat().st_size >= num_bytes for file in folder.glob("*/rows.jsonl"))

    for million in (1, 5, 9, 14):
        killed += prepare_and_kill(settings_, folder, lambda bound=million: has(bound * 1_000_000))
        assert not (snapshot_of(folder).parent / "done.json").exists()
    assert killed == 4
    found = documents(settings_, folder)
    assert [(each.id, each.text) for each in found] == [
        (f"reviews#k{i:07}", f"Review {i} " * 30) for i in range(60_000)
    ]


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM review", "  -- SELECT\nUPDATE review SET id = 1", "/* SELECT */ INSERT INTO review VALUES (1)",
        "SELECT 1; DROP TABLE review", "SELECT 1;;", "", "PRAGMA writable_schema = 1", "ATTACH 'x' AS y",
        "SELECT id FROM review) AS source; DROP TABLE review; --", "SELECTED", "(DELETE FROM review)",
    ],
)  # fmt: skip
def test_what_is_not_one_select_is_refused(database, query):
    with pytest.raises(ConfigError, match="`query`"):
        make(sql(database, query=query))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        " select 1 ;\n",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "-- all\n(/* of */ SELECT 1)",
        "SELECT\n1",
    ],
)
def test_one_select_is_let_in(query):
    check_query(query)


def test_writing_through_a_select_is_refused_by_the_database_too(database, tmp_path):
    before = database.read_bytes()
    query = "WITH x AS (SELECT 1 AS id) DELETE FROM review"
    with pytest.raises(DocumentError, match="The database answers"):
        make(sql(database, query=query)).prepare(tmp_path)
    assert database.read_bytes() == before


def test_a_source_without_a_key_is_refused(database):
    with pytest.raises(ConfigError, match="no `key`"):
        make({**sql(database), "key": ""})


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT body FROM review", "'id' is no column of the `query`; it has body"),
        ("SELECT 1 AS id, body FROM review", "is 1 in two rows"),
        ("SELECT NULL AS id, body FROM review", "is None in a row"),
        ("SELECT id * 0.5 AS id, body FROM review", "is 0.0 in a row"),
    ],
)
def test_a_key_that_does_not_order_the_rows_is_refused(database, tmp_path, query, told):
    with pytest.raises(ConfigError, match=told.replace("*", r"\*")):
        make(sql(database, query=query)).prepare(tmp_path)


def test_what_is_no_text_in_the_database_is_rejected_row_by_row(database, tmp_path):
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE review SET body = CAST(x'ff' AS TEXT) WHERE id = 3")
        connection.execute("UPDATE review SET body = x'00' WHERE id = 6")
    connection.close()
    found = read_all(sql(database), tmp_path)
    assert [each.reason for each in found if not isinstance(each, Document)] == [
        "its field 'body' is an object; a text is expected"
    ] * 2
    assert len(found) == 50


def test_missing_fields_and_broken_queries_are_told(database, tmp_path):
    with pytest.raises(ConfigError, match="rows of the query has the field 'bdoy'; they have id, body, book"):
        make(sql(database, text="bdoy")).prepare(tmp_path)
    with pytest.raises(DocumentError, match="no such table: revue"):
        make(sql(database, query="SELECT * FROM revue")).prepare(tmp_path)
    with pytest.raises(DocumentError, match="No row of the query can be read"):
        make(sql(database, query="SELECT * FROM review WHERE 0")).prepare(tmp_path)


def test_addresses_come_from_the_environment_and_one_that_is_not_set_is_named(
    database, tmp_path, monkeypatch
):
    with pytest.raises(ConfigError, match="variable SHOP_URL"):
        make({**sql(database), "url": "${SHOP_URL}"}).prepare(tmp_path)
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{database}")
    monkeypatch.setenv("SHOP_FOLDER", str(database.parent))
    assert len(documents({**sql(database), "url": "${SHOP_URL}"}, tmp_path)) == 50
    assert len(documents({**sql(database), "url": "sqlite:///${SHOP_FOLDER}/shop.sqlite"}, tmp_path)) == 50


def test_a_password_from_the_environment_is_in_no_error_and_in_nothing_that_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "s3cr3t/@:")
    settings_ = {**sql("x"), "url": "postgresql://ann:${DB_PASSWORD}@127.0.0.1:1/shop"}
    feed = make(settings_)
    assert b"s3cr3t" not in pickle.dumps(feed)
    with pytest.raises(DocumentError, match="The database answers") as caught:
        feed.prepare(tmp_path)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert not any(b"s3cr3t" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
