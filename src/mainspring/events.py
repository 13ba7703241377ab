"""The append-only log: what happened, in order.

Every other view - traces, feedback, runs' history - is read from it. Events put from many threads are
committed in groups, because one fsync can carry all that waited for it.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from mainspring.database import Database
from mainspring.errors import BusyError, MainspringError
from mainspring.progress import say

MIGRATION = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, type TEXT NOT NULL, subject TEXT NOT NULL, data BLOB NOT NULL
);
CREATE INDEX events_by_subject ON events (subject, id);
CREATE INDEX events_by_type ON events (type, id)
"""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. `subject` is what it happened to: a request, a run, an artifact's reference."""

    type: str
    subject: str
    data: dict[str, Any]
    time: float = 0.0
    id: int = 0


Row = tuple[float, str, str, bytes]


class EventLog:
    """The log in a workspace's database. Thread-safe; close() writes what is still on its way."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.SimpleQueue[Row | threading.Event | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._failure: sqlite3.Error | None = None
        self._lock = threading.Lock()

    def append(self, *events: Event) -> None:
        """Write events now, in one transaction; they are durable when this returns."""
        self._insert([_row_of(event) for event in events])

    def put(self, event: Event) -> None:
        """Hand an event to the writer thread and return at once; the next group commit carries it.

        Raises:
            TypeError: data that is not JSON-like; it is encoded here, so that the caller learns of it.
            MainspringError: the log could not be written before.

        """
        row = _row_of(event)
        self._raise_failure()
        with self._lock:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_groups, name="events", daemon=True)
                self._writer.start()
        self._queue.put(row)

    def flush(self) -> None:
        """Wait until all that was put before is durable.

        Raises:
            MainspringError: the log could not be written; what was put since is lost.

        """
        if self._writer is not None and self._writer.is_alive():
            written = threading.Event()
            self._queue.put(written)
            written.wait()
        self._raise_failure()

    def close(self) -> None:
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None
        self._raise_failure()

    def find(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the field's own name
        subject: str | None = None,
        after: int = 0,
        limit: int = -1,
    ) -> list[Event]:
        """Events in the order they were written, filtered by exact type and subject."""
        where, values = ["id > ?"], [after]
        for column, value in (("type", type), ("subject", subject)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)  # type: ignore[arg-type]
        query = f"SELECT * FROM events WHERE {' AND '.join(where)} ORDER BY id LIMIT ?"  # noqa: S608 - fixed column names
        return [_event(row) for row in self._database.rows(query, [*values, limit])]

    def latest_subjects(self, type: str, limit: int) -> list[str]:  # noqa: A002
        """The subjects of the newest events of a type, newest first."""
        query = "SELECT DISTINCT subject FROM events WHERE type = ? ORDER BY id DESC LIMIT ?"
        return [row["subject"] for row in self._database.rows(query, (type, limit))]

    def _write_groups(self) -> None:
        running = True
        while running:
            group: list[Row] = []
            waiting: list[threading.Event] = []
            item = self._queue.get()
            while True:
                if item is None:
                    running = False
                elif isinstance(item, threading.Event):
                    waiting.append(item)
                else:
                    group.append(item)
                if self._queue.empty():
                    break
                item = self._queue.get()
            if group and self._failure is None:
                self._insert_patiently(group)
            for written in waiting:
                written.set()

    def _insert_patiently(self, group: Sequence[Row]) -> None:
        """Insert, however long another process writes; any other failure is kept for the callers."""
        while True:
            try:
                return self._insert(group)
            except BusyError as error:
                say(f"events: {len(group)} wait to be written. {error}")
            except sqlite3.Error as error:
                self._failure = error
                return None

    def _insert(self, rows: Sequence[Row]) -> None:
        with self._database.write() as connection:
            connection.executemany("INSERT INTO events (time, type, subject, data) VALUES (?, ?, ?, ?)", rows)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise MainspringError(
                f"The log in {self._database.path} cannot be written: {self._failure}. "
                "Check the disk's space and the file's permissions, then start again."
            ) from self._failure


def _row_of(event: Event) -> Row:
    return event.time or time.time(), event.type, event.subject, msgspec.json.encode(event.data)


def _event(row: Any) -> Event:
    return Event(
        id=row["id"],
        time=row["time"],
        type=row["type"],
        subject=row["subject"],
        data=msgspec.json.decode(row["data"]),
    )


def data_of(events: Sequence[Event], type: str) -> list[dict[str, Any]]:  # noqa: A002
    """The payloads of those events that have this type."""
    return [event.data for event in events if event.type == type]
