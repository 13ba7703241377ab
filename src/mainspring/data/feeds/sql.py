"""Rows of a database as documents: a query's rows are brought once, in the order of a key, and then read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.data.document import Document
from mainspring.data.feeds import rows
from mainspring.data.feeds.base import Part
from mainspring.data.feeds.databases.address import check_address
from mainspring.data.feeds.databases.bring import bring
from mainspring.data.feeds.databases.query import check_query
from mainspring.data.feeds.snapshot import Snapshot
from mainspring.data.feeds.tables.fields import FieldSettings
from mainspring.data.sources import Rejected
from mainspring.errors import ConfigError


class Settings(FieldSettings):
    """What can be set for a database."""

    kind: Literal["sql"] = Field(default="sql", description="Rows of a database.")
    url: str = Field(
        description=(
            "`sqlite:///FILE` or `postgresql://USER:${PASSWORD}@HOST/NAME`; `${...}` are environment variables."
        )
    )
    query: str = Field(description="One SELECT; it is only read from the database.")
    key: str = Field(
        default="", description="A column of the query that names each row once; rows are ordered by it."
    )


class Feed:
    """The rows of a query. Their ids carry the key, unless a field is set for that."""

    def __init__(self, settings: Settings) -> None:
        check_address(settings.url)
        check_query(settings.query)
        if not settings.key:
            raise ConfigError(
                "A source of the kind sql has no `key`. Name a column of the query that is different in every row, "
                "such as `key: id`: the order of the rows and going on after a kill rest on it."
            )
        self.settings = settings
        self.name = settings.name or "sql"
        self._snapshot: Snapshot | None = None
        self._rows: rows.Feed | None = None

    def prepare(self, folder: Path) -> None:
        """Bring the rows into `folder`, or those that are missing after a kill."""
        snapshot = Snapshot(folder, self.name, self._brought())
        if not snapshot.is_done():
            bring(self.settings.url, self.settings.query, self.settings.key, snapshot)
        self._snapshot = snapshot
        self._rows = rows.Feed(self._settings_of_rows(snapshot.path))
        self._rows.check(called="the query")

    def parts(self) -> list[Part]:
        return self._prepared().parts()

    def read(self, part: Part) -> Iterator[Document | Rejected]:
        return self._prepared().read(part)

    def fingerprint(self) -> str:
        assert self._snapshot is not None, "prepare comes first"
        return fingerprint_of(["sql", self.name, self.settings.identity(), self._snapshot.sha256()])

    def _brought(self) -> dict[str, Any]:
        """What decides which rows are brought; how they are read may change without bringing them again."""
        return {"url": self.settings.url, "query": self.settings.query, "key": self.settings.key}

    def _settings_of_rows(self, path: Path) -> rows.Settings:
        fields = {name: getattr(self.settings, name) for name in FieldSettings.model_fields}
        return rows.Settings(
            **{**fields, "name": self.name, "id": self.settings.id or self.settings.key}, path=str(path)
        )

    def _prepared(self) -> rows.Feed:
        assert self._rows is not None, "prepare comes first"
        return self._rows
