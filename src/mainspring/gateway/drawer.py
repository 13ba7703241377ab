"""What clients leave with the server: responses, chats, files, batches - rows of JSON, and files beside them."""

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mainspring.database import Database
from mainspring.errors import NotFoundError

MIGRATION = """
CREATE TABLE drawer (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    expires REAL,
    data BLOB NOT NULL,
    UNIQUE (kind, id)
);
CREATE INDEX drawer_expires ON drawer (expires);
CREATE TABLE drawer_line (
    batch TEXT NOT NULL,
    number INTEGER NOT NULL,
    is_error INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (batch, number)
)
"""


Mark = tuple[str, str, str]
"""The JSON path of an object, a key in it, and the text that must stand there."""


class LostError(NotFoundError):
    """No object of that id, or none that may be seen."""


class Drawer:
    """Objects by kind and id, each seen by its tenant alone; one that has expired is gone."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._lock = threading.RLock()  # a change may change another object within its step

    def put(
        self, kind: str, identity: str, data: dict[str, Any], *, tenant: str, expires: float | None = None
    ) -> None:
        """Keep an object, in place of the one of that id; durable on return."""
        with self._database.write() as connection:
            self._drop_expired(connection, identity)
            connection.execute(
                "INSERT INTO drawer (kind, id, tenant, expires, data) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET data = excluded.data, expires = excluded.expires",
                (kind, identity, tenant, expires, msgspec.json.encode(data)),
            )

    def _drop_expired(self, connection: sqlite3.Connection, written: str) -> None:
        """Forget what has expired, with its content; that of `written` is already the one of a new row."""
        now = time.time()
        files = "SELECT id FROM drawer WHERE expires <= ? AND kind = 'file' AND id <> ?"
        # Contents first: rows that stay because this transaction fails are found again, and not seen till then.
        for row in connection.execute(files, (now, written)):
            self.path(row["id"]).unlink(missing_ok=True)
        connection.execute("DELETE FROM drawer WHERE expires <= ?", (now,))

    def get(self, kind: str, identity: str, tenant: str) -> dict[str, Any]:
        """An object.

        Raises:
            LostError: none of that id, another tenant's, or one that has expired.

        """
        rows = self._database.rows(
            "SELECT data FROM drawer WHERE kind = ? AND id = ? AND tenant = ? AND (expires IS NULL OR expires > ?)",
            (kind, identity, tenant, time.time()),
        )
        if not rows:
            raise LostError(f"There is no {kind} '{identity}'; it was never here, or is deleted or expired.")
        return msgspec.json.decode(rows[0]["data"])

    def change(
        self, kind: str, identity: str, tenant: str, change: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Read, change and keep an object as one step among this process's threads."""
        with self._lock:
            data = self.get(kind, identity, tenant)
            change(data)
            with self._database.write() as connection:
                connection.execute(
                    "UPDATE drawer SET data = ? WHERE kind = ? AND id = ?",
                    (msgspec.json.encode(data), kind, identity),
                )
        return data

    def delete(self, kind: str, identity: str, tenant: str) -> None:
        """Forget an object, and its content where it is a file."""
        self.get(kind, identity, tenant)
        with self._database.write() as connection:
            connection.execute("DELETE FROM drawer WHERE kind = ? AND id = ?", (kind, identity))
        if kind == "file":
            self.path(identity).unlink(missing_ok=True)

    def page(
        self, kind: str, tenant: str, after: str | None = None, limit: int = 20, is_rising: bool = False, *,
        marks: Sequence[Mark] = (),
    ) -> tuple[list[dict[str, Any]], bool]:  # fmt: skip
        """Up to `limit` objects behind the one of id `after` that have all `marks`; and whether more come.

        The newest come first unless rising. Where `after` is gone the list begins anew, so that a client which
        deletes what it lists, page after page, comes to the end of it.
        """
        query = "SELECT data FROM drawer WHERE kind = ? AND tenant = ? AND (expires IS NULL OR expires > ?)"
        values: list[Any] = [kind, tenant, time.time()]
        if after is not None:
            sign, first = (">", -1) if is_rising else ("<", 1 << 62)
            place = "(SELECT number FROM drawer WHERE kind = ? AND id = ? AND tenant = ?)"
            query += f" AND number {sign} COALESCE({place}, {first})"
            values += [kind, after, tenant]
        for mark in marks:
            query += " AND (SELECT value FROM json_each(CAST(data AS TEXT), ?) WHERE key = ?) = ?"
            values += mark
        query += f" ORDER BY number {'ASC' if is_rising else 'DESC'} LIMIT ?"
        rows = self._database.rows(query, [*values, limit + 1])
        return [msgspec.json.decode(row["data"]) for row in rows[:limit]], len(rows) > limit

    def everyones(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """All tenants' objects of a kind with their tenants, the oldest first: what a start looks through."""
        rows = self._database.rows("SELECT tenant, data FROM drawer WHERE kind = ? ORDER BY number", (kind,))
        return [(row["tenant"], msgspec.json.decode(row["data"])) for row in rows]

    # --- files and the results of batches ---------------------------------------------------------------

    def path(self, identity: str) -> Path:
        """Where a file's content lies; an id that is no plain name has none."""
        if not identity.replace("-", "").replace("_", "").isalnum():
            raise LostError(f"There is no file '{identity}'.")
        return self._folder / identity

    def write_file(self, identity: str, content: bytes) -> None:
        """All of a file's content or nothing, durable on return."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self.path(identity).with_suffix(f".{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self.path(identity))
        finally:
            temporary.unlink(missing_ok=True)

    def put_line(self, batch: str, number: int, data: dict[str, Any], *, is_error: bool) -> None:
        """The result of a batch's line, once: what is there already stays."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO drawer_line VALUES (?, ?, ?, ?)",
                (batch, number, is_error, msgspec.json.encode(data)),
            )

    def lines(self, batch: str) -> list[tuple[int, bool, bytes]]:
        """The results of a batch so far, by the number of their line: whether it is an error, and the JSON."""
        rows = self._database.rows("SELECT * FROM drawer_line WHERE batch = ? ORDER BY number", (batch,))
        return [(row["number"], bool(row["is_error"]), row["data"]) for row in rows]

    def count_lines(self, batch: str) -> tuple[int, int]:
        """How many lines of a batch have a result, and how many of them are errors."""
        query = "SELECT COUNT(*), COALESCE(SUM(is_error), 0) FROM drawer_line WHERE batch = ?"
        row = self._database.rows(query, (batch,))[0]
        return row[0], row[1]

    def drop_lines(self, batch: str) -> None:
        with self._database.write() as connection:
            connection.execute("DELETE FROM drawer_line WHERE batch = ?", (batch,))


def new_id(kind: str) -> str:
    return f"{kind}{uuid.uuid4().hex}"
