"""What may be asked of a database: one SELECT, as a subquery that is ordered by a key."""

import re
from typing import TYPE_CHECKING

from mainspring.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

LEADING = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*", re.DOTALL)


def check_query(query: str) -> None:
    """Raise ConfigError for anything but one SELECT or WITH.

    A semicolon within a text is refused, too: whoever needs one writes chr(59), and nobody has to trust a parser.
    """
    begins = LEADING.sub("", query, count=1).split(maxsplit=1)
    word = re.match(r"\w*", begins[0] if begins else "")
    if word is None or word[0].upper() not in ("SELECT", "WITH"):
        raise ConfigError(
            f"The `query` begins with '{(begins or [''])[0]}'; only SELECT and WITH are let in."
        )
    if ";" in query.rstrip().removesuffix(";"):
        raise ConfigError(
            "The `query` holds a ';' before its end. Give one statement; for the character write char(59) in SQLite, "
            "chr(59) in PostgreSQL."
        )


def no_rows(query: str) -> str:
    """The query's columns without a row."""
    return f"SELECT * FROM (\n{_inner(query)}\n) AS source WHERE 1 = 0"  # noqa: S608 - it is the user's own


def ordered(query: str, key: str, engine: "Engine", *, is_resumed: bool) -> str:
    """The query's rows in the order of their key, from the one on that is called `last`."""
    column = "source." + engine.dialect.identifier_preparer.quote_identifier(key)
    since = f"WHERE {column} >= :last " if is_resumed else ""
    return f"SELECT * FROM (\n{_inner(query)}\n) AS source {since}ORDER BY {column}"  # noqa: S608 - as above


def _inner(query: str) -> str:
    return query.rstrip().removesuffix(";").replace(":", r"\:")  # a colon would name a parameter
