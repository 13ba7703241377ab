"""One SQLite file, shared by threads and processes: WAL, one connection a thread, short write transactions."""

import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mainspring.errors import BusyError, MainspringError

WAIT_S = 30.0
CACHE_KIB = 256  # of pages, for each connection: a server has dozens of threads


class _Held:
    """A thread's connection, which closes with the thread: left to itself it would wait for the garbage collector."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


class Database:
    """A SQLite file and its schema.

    `migrations` are scripts applied in order and counted in `user_version`; they only ever grow. A writer
    waits `wait_s` for another process before it gives up.
    """

    def __init__(self, path: Path, migrations: Sequence[str], *, wait_s: float = WAIT_S) -> None:
        self.path = path
        self._wait_s = wait_s
        self._local = threading.local()
        self._all = weakref.WeakSet[_Held]()
        with self.write() as connection:
            done = connection.execute("PRAGMA user_version").fetchone()[0]
            if done > len(migrations):
                raise MainspringError(
                    f"{path} was written by a later version (schema {done}, this one knows {len(migrations)}). "
                    "Upgrade mainspring."
                )
            for number in range(done, len(migrations)):
                for statement in migrations[number].split(";"):
                    if statement.strip():
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")

    def _connection(self) -> sqlite3.Connection:
        held: _Held | None = getattr(self._local, "held", None)
        if held is None:
            held = self._local.held = _Held(self._connect())
            self._all.add(held)
        return held.connection

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=self._wait_s, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Read; never waits for a writer."""
        return self._connection().execute(query, values).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing, durable when the block ends.

        Raises:
            BusyError: another process held the file's write lock for the whole wait.

        """
        connection = self._connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise BusyError(
                f"{self.path} is being written by another process for over {self._wait_s:g} s. "
                "Try again when it is done."
            ) from error
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def close(self) -> None:
        for held in list(self._all):
            held.connection.close()
        self._all.clear()
        self._local = threading.local()
