"""A connection that reads and cannot write."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.data.feeds.databases.address import address
from mainspring.errors import DocumentError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

CONNECT_TIMEOUT_S = 15


@contextmanager
def connected(text: str) -> Iterator["Connection"]:
    """A read-only connection to the database at the address `text`.

    Raises:
        DocumentError: whatever the database says, without the password.

    """
    url = address(text)
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = _sqlite(url) if url.drivername == "sqlite" else _postgresql(url)
        with engine.connect() as connection:
            yield connection
    except (SQLAlchemyError, sqlite3.Error) as error:
        told = str(getattr(error, "orig", None) or error).strip()
        told = told.replace(url.password, "***") if url.password else told
        raise DocumentError(f"The database answers: {told}. Check `url` and `query`.") from None


def _sqlite(url: "URL") -> "Engine":
    """An engine on a file that is opened for reading alone: a missing one is not made."""
    from sqlalchemy import NullPool, create_engine

    file = Path(url.database or "")
    if not file.is_file():
        raise DocumentError(
            f"There is no SQLite file {file}. Give sqlite:///FILE, with four slashes for a full path."
        )

    def opened() -> sqlite3.Connection:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        connection.text_factory = _text
        connection.execute("PRAGMA query_only = ON")
        return connection

    return create_engine("sqlite://", creator=opened, poolclass=NullPool, hide_parameters=True)


def _postgresql(url: "URL") -> "Engine":
    """An engine whose transactions are read-only and whose rows come as they are read."""
    from sqlalchemy import NullPool, create_engine

    return create_engine(
        url, poolclass=NullPool, hide_parameters=True, connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
        execution_options={"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"},
    )  # fmt: skip


def _text(data: bytes) -> Any:
    """SQLite's text; bytes where it is not UTF-8, so that one such row does not stop all others."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
