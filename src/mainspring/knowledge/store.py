"""One SQLite file a knowledge base: the truth about its documents in every version.

Indexes are caches of it. A version is a whole number. A document row lives from `since` up to, not including,
`until`; its chunks live with it, and their text is not stored again but sliced from the document's.
Vectors are kept by what was embedded and by which embedder, so that an interrupted run finds those it had,
and a changed document keeps those of its unchanged chunks.

    versions 1 --- 2 --- 3          documents(since=1, until=3)  seen by versions 1 and 2
                                    documents(since=3, until=-)  seen by version 3
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mainspring.database import Database
from mainspring.errors import MainspringError, NotFoundError
from mainspring.knowledge import lock
from mainspring.knowledge.scope import Scope
from mainspring.schema import Chunk

MIGRATION = """
CREATE TABLE versions (version INTEGER PRIMARY KEY, created REAL NOT NULL, embedder TEXT NOT NULL);
CREATE TABLE documents (
    row INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL, title TEXT NOT NULL, sha256 TEXT NOT
    NULL, recipe TEXT NOT NULL, text TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER, UNIQUE (tenant,
    id, since)
);
CREATE INDEX documents_alive ON documents (tenant, until);
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document INTEGER NOT NULL REFERENCES documents (row),
    heading TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, content TEXT NOT NULL
);
CREATE INDEX chunks_document ON chunks (document);
CREATE TABLE vectors (
    content TEXT NOT NULL, embedder TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (content, embedder)
) WITHOUT ROWID
"""
ALIVE = "documents.tenant = ? AND documents.since <= ? AND (documents.until IS NULL OR ? < documents.until)"
MAX_VALUES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A stored document; `recipe` is a hash of how it was parsed and cut."""

    id: str
    title: str
    sha256: str
    recipe: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A document of the next version with its chunks: (chunk id, heading, start, end, content hash)."""

    id: str
    title: str
    sha256: str
    recipe: str
    text: str
    chunks: tuple[tuple[str, str, int, int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A chunk and the hash of what is embedded for it."""

    chunk: Chunk
    content: str


class Store:
    """The documents, chunks and vectors of one knowledge base.

    >>> store = Store(tmp_path / "knowledge.sqlite")
    >>> store.latest()
    0
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, [MIGRATION])

    def writing(self, wait_s: float) -> AbstractContextManager[None]:
        """Be the only writer, over all processes, for a block; see `lock.hold`."""
        return lock.hold(
            self.path.with_name(self.path.name + ".lock"), f"The knowledge base {self.path}", wait_s
        )

    def latest(self) -> int:
        """The newest version, 0 before the first."""
        return self._database.rows("SELECT coalesce(max(version), 0) AS version FROM versions")[0]["version"]

    def resolve(self, scope: Scope) -> int:
        """The version that a scope looks at.

        Raises:
            NotFoundError: nothing is indexed yet, or there is no such version.

        """
        latest = self.latest()
        if latest == 0:
            raise NotFoundError(
                f"The knowledge base {self.path} is empty. Index documents first: mainspring index FOLDER."
            )
        version = latest if scope.version is None else scope.version
        if not 1 <= version <= latest:
            raise NotFoundError(f"The knowledge base {self.path} has versions 1 to {latest}, not {version}.")
        return version

    def documents(self, scope: Scope) -> list[Document]:
        """All documents in a scope, by id."""
        version = self.resolve(scope)
        query = f"SELECT * FROM documents WHERE {ALIVE} ORDER BY id"  # noqa: S608 - a constant
        rows = self._database.rows(query, (scope.tenant, version, version))
        return [_document(row) for row in rows if row["id"] not in scope.without]

    def document(self, document_id: str, scope: Scope) -> Document:
        """One document.

        Raises:
            NotFoundError: it is not in the scope.

        """
        version = self.resolve(scope)
        query = f"SELECT * FROM documents WHERE id = ? AND {ALIVE}"  # noqa: S608 - a constant
        rows = self._database.rows(query, (document_id, scope.tenant, version, version))
        if not rows or document_id in scope.without:
            raise NotFoundError(f"There is no document '{document_id}' in version {version}.")
        return _document(rows[0])

    def chunks(self, scope: Scope) -> list[Stored]:
        """All chunks in a scope, in the order of their documents' ids and their places."""
        version = self.resolve(scope)
        query = (
            'SELECT chunks.id, heading, start, "end", content, document '  # noqa: S608 - a constant
            f"FROM chunks JOIN documents ON documents.row = chunks.document WHERE {ALIVE} "
            "ORDER BY documents.id, chunks.start"
        )
        documents = self._database.rows(
            f"SELECT * FROM documents WHERE {ALIVE}",  # noqa: S608 - a constant
            (scope.tenant, version, version),
        )
        by_row = {row["row"]: row for row in documents if row["id"] not in scope.without}
        return [
            Stored(chunk=_chunk(row, by_row[row["document"]]), content=row["content"])
            for row in self._database.rows(query, (scope.tenant, version, version))
            if row["document"] in by_row
        ]

    def has_vectors(self, contents: Sequence[str], embedder: str) -> set[str]:
        """Which of these contents are embedded already."""
        return {row["content"] for row in self._vectors("content", contents, embedder)}

    def vectors(self, contents: Sequence[str], embedder: str) -> np.ndarray:
        """Vectors of contents, in order, float32, shape (len(contents), width).

        Raises:
            NotFoundError: one of them was not embedded by this embedder.

        """
        found = {
            row["content"]: np.frombuffer(row["vector"], dtype="<f4")
            for row in self._vectors("content, vector", contents, embedder)
        }
        missing = sum(content not in found for content in contents)
        if missing:
            raise NotFoundError(
                f"{missing:,} of {len(contents):,} chunks of {self.path} were not embedded by this embedder "
                f"({embedder[:16]}). Index again with it: mainspring index."
            )
        return (
            np.stack([found[content] for content in contents]) if contents else np.zeros((0, 0), np.float32)
        )

    def put_vectors(self, contents: Sequence[str], vectors: np.ndarray, embedder: str) -> None:
        """Keep vectors, durable at return; seen by nobody before a version uses them."""
        rows = [
            (content, embedder, np.asarray(vector, dtype="<f4").tobytes())
            for content, vector in zip(contents, vectors, strict=True)
        ]
        with self._database.write() as connection:
            connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)

    def publish(self, tenant: str, drafts: Sequence[Draft], ended: Sequence[str], embedder: str) -> int:
        """Make the next version in one transaction: `drafts` begin; `ended` and what drafts replace end."""
        with self._database.write() as connection:
            version = connection.execute("SELECT coalesce(max(version), 0) + 1 FROM versions").fetchone()[0]
            connection.execute("INSERT INTO versions VALUES (?, ?, ?)", (version, time.time(), embedder))
            connection.executemany(
                "UPDATE documents SET until = ? WHERE tenant = ? AND id = ? AND until IS NULL",
                [(version, tenant, name) for name in [*ended, *(draft.id for draft in drafts)]],
            )
            for draft in drafts:
                row = connection.execute(
                    "INSERT INTO documents (tenant, id, title, sha256, recipe, text, since) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (tenant, draft.id, draft.title, draft.sha256, draft.recipe, draft.text, version),
                ).lastrowid
                connection.executemany(
                    'INSERT INTO chunks (id, document, heading, start, "end", content) '
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (f"{chunk_id}-{version}", row, heading, start, end, content)
                        for chunk_id, heading, start, end, content in draft.chunks
                    ],
                )
        return version

    def embedder(self, version: int) -> str:
        """The fingerprint of the embedder that a version was made with."""
        rows = self._database.rows("SELECT embedder FROM versions WHERE version = ?", (version,))
        if not rows:
            raise MainspringError(f"Version {version} of {self.path} has no record.")
        return rows[0]["embedder"]

    def close(self) -> None:
        self._database.close()

    def _vectors(self, columns: str, contents: Sequence[str], embedder: str) -> Iterator:
        unique = list(dict.fromkeys(contents))
        for start in range(0, len(unique), MAX_VALUES):
            part = unique[start : start + MAX_VALUES]
            marks = ", ".join("?" * len(part))
            query = f"SELECT {columns} FROM vectors WHERE embedder = ? AND content IN ({marks})"  # noqa: S608
            yield from self._database.rows(query, (embedder, *part))


def _document(row) -> Document:  # noqa: ANN001 - a row of sqlite3
    return Document(
        id=row["id"], title=row["title"], sha256=row["sha256"], recipe=row["recipe"], text=row["text"]
    )


def _chunk(row, document) -> Chunk:  # noqa: ANN001 - rows of sqlite3
    return Chunk(
        id=row["id"], document=document["id"], title=document["title"], heading=row["heading"],
        start=row["start"], end=row["end"], text=document["text"][row["start"] : row["end"]],
    )  # fmt: skip
