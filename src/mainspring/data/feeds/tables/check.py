"""What the first rows of a source say about its settings, before all of them are read."""

import difflib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from mainspring.data.feeds.tables.base import Row, Table
from mainspring.data.feeds.tables.fields import MISSING, FieldSettings, lookup
from mainspring.data.feeds.tables.messages import shapes
from mainspring.errors import ConfigError, DocumentError

SAMPLE_ROWS = 100


def sample(tables: Mapping[Path, Table], path: str, suffixes: Sequence[str]) -> list[Row]:
    """Up to 100 rows without a fault, from as many files as it takes.

    Raises:
        DocumentError: there is none.

    """
    good: list[Row] = []
    fault = ""
    for file, table in tables.items():
        for row in islice(_rows(file, table), SAMPLE_ROWS):
            if not row.fault:
                good.append(row)
            elif not fault:
                fault = f"{file.name}, line {row.number}: {row.fault}"
        if len(good) >= SAMPLE_ROWS:
            break
    if good:
        return good[:SAMPLE_ROWS]
    told = fault or ("its files are empty" if tables else f"rows are read from {' '.join(suffixes)}")
    raise DocumentError(f"No row of {path} can be read: {told}. Give files of rows.")


def check_fields(rows: Sequence[Row], settings: FieldSettings, path: str) -> None:
    """Raise ConfigError for a field that is asked for and that no row has."""
    for name in (*settings.asked(), *settings.meta):
        if all(lookup(row.values, name) is MISSING for row in rows):
            known = list(dict.fromkeys(str(key) for row in rows for key in row.values))
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else "Name one of them."
            raise ConfigError(
                f"None of the first {len(rows)} rows of {path} has the field '{name}'; "
                f"they have {', '.join(known)}. {hint}"
            )


def agreed_shape(rows: Sequence[Row], field: str, path: str) -> str:
    """The one shape that the conversations of all rows may have.

    Raises:
        ConfigError: none, or more than one.

    """
    common = set.intersection(*(shapes(row.values, field) for row in rows))
    if len(common) == 1:
        return common.pop()
    told = f"may be {' or '.join(sorted(common))}" if common else "are not all of one known shape"
    raise ConfigError(
        f"The conversations in the first {len(rows)} rows of {path} {told}. "
        "Set `shape` to openai, sharegpt or alpaca, and `messages` to the field that holds them."
    )


def _rows(file: Path, table: Table) -> Iterator[Row]:
    try:
        yield from table.rows(table.whole(file))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        yield Row(number=1, fault=f"it cannot be read: {error}")
