"""Names, versions, labels and lineage of a workspace's artifacts.

The folders are the truth: an artifact that a killed process published but did not register is found at the
next start. Labels (`production`, `staging`, `dev`) move, in one transaction, and every move is kept.
"""

import time
from pathlib import Path

import msgspec

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.database import Database
from mainspring.errors import NotFoundError, UserError

MIGRATION = """
CREATE TABLE artifacts (
    reference TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL, created TEXT NOT NULL
); CREATE TABLE parents (child TEXT NOT NULL, role TEXT NOT NULL, parent TEXT NOT NULL, PRIMARY KEY (child,
role)); CREATE TABLE labels (
    kind TEXT NOT NULL, name TEXT NOT NULL, label TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (kind, name, label)
);
CREATE TABLE label_moves (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, label TEXT NOT NULL,
    version INTEGER NOT NULL, reason TEXT NOT NULL
)
"""


class LabelMove(msgspec.Struct, frozen=True, kw_only=True):
    time: float
    label: str
    version: int
    reason: str


class Registry:
    """The artifacts of one workspace."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        artifacts.sweep(root)
        known = {row["reference"] for row in database.rows("SELECT reference FROM artifacts")}
        for kind, name, version in artifacts.list_all(root):
            if f"{kind}/{name}@{version}" not in known:
                self.add(artifacts.read(root, kind, name, version, verify=False))

    def add(self, artifact: Artifact) -> Artifact:
        """Register a published artifact and whose child it is."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO artifacts VALUES (?, ?, ?, ?, ?, ?)",
                (
                    artifact.reference,
                    artifact.kind,
                    artifact.name,
                    artifact.version,
                    artifact.fingerprint,
                    artifact.created,
                ),
            )
            connection.executemany(
                "INSERT OR IGNORE INTO parents VALUES (?, ?, ?)",
                [(artifact.reference, role, parent) for role, parent in artifact.parents.items()],
            )
        return artifact

    def get(self, reference: str, *, verify: bool = False) -> Artifact:
        """The artifact of `kind/name@version`, `kind/name@label` or `kind/name` (the newest version).

        Raises:
            NotFoundError: no such name, version or label; the message lists what there is.
            ChecksumError: `verify` was asked for and a file is not the one written.

        """
        path, _, wanted = reference.partition("@")
        kind, slash, name = path.partition("/")
        if not slash:
            raise UserError(
                f"'{reference}' does not name an artifact; write kind/name@version, e.g. model/smollm2@1."
            )
        version = int(wanted) if wanted.isdigit() else self._resolve(kind, name, wanted)
        return artifacts.read(self.root, kind, name, version, verify=verify)

    def has(self, reference: str) -> bool:
        try:
            self.get(reference)
        except NotFoundError:
            return False
        return True

    def folder(self, artifact: Artifact) -> Path:
        return artifact.folder(self.root)

    def history(self, kind: str, name: str) -> list[LabelMove]:
        """Every move of every label of this name, oldest first."""
        query = "SELECT * FROM label_moves WHERE kind = ? AND name = ? ORDER BY id"
        return [
            LabelMove(time=row["time"], label=row["label"], version=row["version"], reason=row["reason"])
            for row in self._database.rows(query, (kind, name))
        ]

    def list(self, kind: str | None = None) -> list[str]:
        """References of all artifacts, of one kind if told, oldest first."""
        query = "SELECT reference FROM artifacts WHERE ? IS NULL OR kind = ? ORDER BY kind, name, version"
        return [row["reference"] for row in self._database.rows(query, (kind, kind))]

    def label(self, artifact: Artifact, label: str, reason: str) -> None:
        """Move `label` to this version; readers see the old or the new one, never neither."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO labels VALUES (?, ?, ?, ?) "
                "ON CONFLICT (kind, name, label) DO UPDATE SET version = excluded.version",
                (artifact.kind, artifact.name, label, artifact.version),
            )
            connection.execute(
                "INSERT INTO label_moves (time, kind, name, label, version, reason) VALUES (?, ?, ?, ?, ?, ?)",
                (time.time(), artifact.kind, artifact.name, label, artifact.version, reason),
            )

    def labelled(self, kind: str, name: str, label: str) -> int | None:
        """The version that a label names now, or None."""
        query = "SELECT version FROM labels WHERE kind = ? AND name = ? AND label = ?"
        rows = self._database.rows(query, (kind, name, label))
        return rows[0]["version"] if rows else None

    def lineage(self, reference: str) -> dict[str, dict[str, str]]:
        """All ancestors: {reference: {role: parent reference}}."""
        tree: dict[str, dict[str, str]] = {}
        todo = [reference]
        while todo:
            child = todo.pop()
            rows = self._database.rows(
                "SELECT role, parent FROM parents WHERE child = ? ORDER BY role", (child,)
            )
            tree[child] = {row["role"]: row["parent"] for row in rows}
            todo.extend(parent for parent in tree[child].values() if parent not in tree)
        return tree

    def _resolve(self, kind: str, name: str, label: str) -> int:
        if label:
            version = self.labelled(kind, name, label)
            if version is not None:
                return version
        query = "SELECT MAX(version) AS newest FROM artifacts WHERE kind = ? AND name = ?"
        newest = self._database.rows(query, (kind, name))[0]["newest"]
        if newest is None or label:
            there = ", ".join(self.list(kind)) or f"no {kind} at all"
            raise NotFoundError(
                f"There is no {kind}/{name}{'@' + label if label else ''} here; there is {there}."
            )
        return newest
