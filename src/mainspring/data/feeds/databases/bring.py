"""The rows of a query, brought into a snapshot; after a kill from the last one on that is there."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from mainspring.data.feeds.databases.connect import connected
from mainspring.data.feeds.databases.query import no_rows, ordered
from mainspring.data.feeds.snapshot import Snapshot
from mainspring.errors import ConfigError, DocumentError

BATCH_ROWS = 2_000


def bring(url: str, query: str, key: str, snapshot: Snapshot) -> None:
    """Write the query's rows as JSON lines, in the order of `key`.

    After a kill the last row is read once more: it must be the same, or the database has changed meanwhile.

    Raises:
        ConfigError: the key is no column, is null, of another kind than text and numbers, or stands twice.
        DocumentError: what the database says, or that it changed.

    """
    from sqlalchemy import text

    last = snapshot.recover()
    resumed: dict[str, Any] | None = msgspec.json.decode(last) if last else None
    with connected(url) as connection:
        _check_columns(list(connection.execute(text(no_rows(query))).keys()), key)
        statement = ordered(query, key, connection.engine, is_resumed=resumed is not None)
        result = connection.execution_options(stream_results=True, max_row_buffer=BATCH_ROWS).execute(
            text(statement), {"last": resumed[key]} if resumed else {}
        )
        rows = (row._asdict() for batch in result.partitions(BATCH_ROWS) for row in batch)
        lines = _lines(rows, key)
        if resumed and next(lines, b"").rstrip() != last:
            raise DocumentError(
                f"The database has changed since the rows were begun: the row with {key} = {resumed[key]!r} is another "
                f"one. Delete the folder {snapshot.folder} to begin anew."
            )
        while batch := list(islice(lines, BATCH_ROWS)):
            snapshot.append(batch)
    snapshot.finish()


def _check_columns(columns: Sequence[str], key: str) -> None:
    """Raise ConfigError where the key or another column is not clear."""
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"Two columns of the `query` are called '{twice}'. Name one of them with AS.")
    if key not in columns:
        raise ConfigError(f"The `key` '{key}' is no column of the `query`; it has {', '.join(columns)}.")


def _lines(rows: Iterator[Mapping[str, Any]], key: str) -> Iterator[bytes]:
    """Rows as lines of JSON, their keys checked."""
    encoder = msgspec.json.Encoder(enc_hook=str)
    before: Any = None
    for row in rows:
        value = row[key]
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ConfigError(
                f"The `key` '{key}' is {value!r} in a row; text or a whole number is expected. "
                f"Select it as CAST({key} AS TEXT), or take another column."
            )
        if value == before:
            raise ConfigError(
                f"The `key` '{key}' is {value!r} in two rows; take a column that is different in every row."
            )
        before = value
        yield encoder.encode({name: _plain(found) for name, found in row.items()}) + b"\n"


def _plain(value: Any) -> Any:
    """A value as JSON holds it; bytes are an object, so that nobody takes them for text."""
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes | memoryview) else value
