"""The same against a PostgreSQL server that the test starts for itself."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from fakes_feeds import documents
from fakes_kill import prepare_and_kill
from mainspring.data.feeds.base import make
from mainspring.errors import ConfigError, DocumentError

PASSWORD = "s3cr3t/@:%"
MISSING = [tool for tool in ("initdb", "pg_ctl", "psql") if shutil.which(tool) is None]
IS_ROOT = os.geteuid() == 0
HAS_USER = not IS_ROOT or any(entry.pw_name == "postgres" for entry in pwd.getpwall())
pytestmark = [
    pytest.mark.scale,
    pytest.mark.skipif(bool(MISSING), reason=f"PostgreSQL's {', '.join(MISSING)} are not on the path"),
    pytest.mark.skipif(
        not HAS_USER, reason="the tests run as root and there is no user postgres for the server"
    ),
]


def run(*command: str, **options) -> None:
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if IS_ROOT else {}
    subprocess.run(command, check=True, capture_output=True, cwd="/", **user, **options)


@pytest.fixture(scope="module")
def port():
    """A cluster on loopback that asks for a password, gone at the end."""
    pytest.importorskip("psycopg")
    with tempfile.TemporaryDirectory(prefix="feeds-pg-") as name:
        folder = Path(name)
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        if IS_ROOT:
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(secret, "postgres", "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number = probe.getsockname()[1]
        data, log = str(folder / "data"), str(folder / "log")
        run(
            "initdb",
            "-D",
            data,
            "-U",
            "ann",
            "-A",
            "scram-sha-256",
            f"--pwfile={secret}",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        )
        run(
            "pg_ctl",
            "-D",
            data,
            "-l",
            log,
            "-w",
            "-o",
            f"-p {number} -k {folder} -h 127.0.0.1",
            "start",
            timeout=60,
        )
        try:
            run(
                "psql",
                "-h",
                "127.0.0.1",
                "-p",
                str(number),
                "-U",
                "ann",
                "-d",
                "postgres",
                "-c",
                FILL,
                env={**os.environ, "PGPASSWORD": PASSWORD},
            )
            yield number
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


FILL = """
CREATE SEQUENCE s;
CREATE TABLE review (id text PRIMARY KEY, body text, at timestamptz, facts jsonb, price numeric);
INSERT INTO review SELECT 'k' || lpad(i::text, 6, '0'), 'Review ' || i || repeat(' é', 100),
  timestamptz '2024-05-01 12:00+02' + i * interval '1 s', jsonb_build_object('n', i), round(i / 4.0, 2)
FROM generate_series(0, 39999) AS i;
"""


def sql(port, monkeypatch, query="SELECT id, body, at, facts, price FROM review", **fields):
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    url = f"postgresql://ann:${{SHOP_PASSWORD}}@127.0.0.1:{port}/postgres"
    return {
        "kind": "sql",
        "url": url,
        "query": query,
        "key": "id",
        "text": "body",
        "name": "reviews",
        **fields,
    }


def test_rows_and_their_types_come_as_they_stand_there(port, tmp_path, monkeypatch):
    query = "SELECT id, body, at, facts, price, '50%::x'::text AS odd FROM review WHERE id < 'k000004';"
    found = documents(sql(port, monkeypatch, query, time="at", meta=["facts.n", "price", "odd"]), tmp_path)
    assert [(each.id, each.time, each.meta) for each in found] == [
        (
            f"reviews#k{i:06}",
            f"2024-05-01T10:00:{i:02}+00:00",
            {"facts.n": i, "price": f"{i / 4:.2f}", "odd": "50%::x"},
        )
        for i in range(4)
    ]


def test_a_process_that_is_killed_is_continued_to_the_same_rows(port, tmp_path, monkeypatch):
    settings = sql(port, monkeypatch)
    folder = tmp_path / "run"

    def has(num_bytes: int) -> bool:
        return any(file.stat().st_size >= num_bytes for file in folder.glob("*/rows.jsonl"))

    for bound in (10**6, 5 * 10**6):
        assert prepare_and_kill(settings, folder, lambda bound=bound: has(bound))
    found = documents(settings, folder)
    assert [each.id for each in found] == [f"reviews#k{i:06}" for i in range(40_000)]
    once = tmp_path / "once"
    documents(settings, once)
    (resumed,), (whole,) = folder.glob("*/rows.jsonl"), once.glob("*/rows.jsonl")
    assert resumed.read_bytes() == whole.read_bytes()
    assert not any(PASSWORD.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_writing_is_refused_by_the_transaction(port, tmp_path, monkeypatch):
    for query in ("SELECT nextval('s') AS id, '' AS body", "SELECT id, body FROM review FOR UPDATE"):
        with pytest.raises(DocumentError, match="read-only"):
            make(sql(port, monkeypatch, query)).prepare(tmp_path)
    query = "WITH gone AS (DELETE FROM review RETURNING id, body) SELECT * FROM gone"
    with pytest.raises(DocumentError, match="data-modifying"):
        make(sql(port, monkeypatch, query)).prepare(tmp_path)


def test_a_wrong_password_is_told_without_it(port, tmp_path, monkeypatch):
    settings = sql(port, monkeypatch)
    monkeypatch.setenv("SHOP_PASSWORD", "wr0ng")
    with pytest.raises(DocumentError, match="password authentication failed") as caught:
        make(settings).prepare(tmp_path)
    assert "wr0ng" not in str(caught.value)


def test_keys_of_other_types_are_refused_with_what_to_write(port, tmp_path, monkeypatch):
    query = "SELECT gen_random_uuid() AS id, body FROM review"
    with pytest.raises(ConfigError, match=r"CAST\(id AS TEXT\)"):
        make(sql(port, monkeypatch, query)).prepare(tmp_path)


def test_two_columns_of_one_name_are_refused(port, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="Two columns of the `query` are called 'body'"):
        make(sql(port, monkeypatch, "SELECT id, body, body FROM review")).prepare(tmp_path)
