"""Runs: work that takes long, its configuration, where its state lies and how it ended."""

import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any, Literal

import msgspec

from mainspring.database import Database
from mainspring.errors import BusyError, NotFoundError

MIGRATION = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, status TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT
    NULL, ended REAL, config BLOB NOT NULL, result BLOB NOT NULL
)
"""

PROCESS_MIGRATION = """
ALTER TABLE runs ADD COLUMN process_started REAL
"""
CLOCK_S = 1.0  # by which the start of one process may be told differently, when the clock is set

Status = Literal["running", "done", "failed", "killed"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: str
    status: Status
    pid: int
    started: float
    ended: float | None
    config: dict[str, Any]
    result: dict[str, Any]


class Runs:
    """The runs of one workspace; each has a folder of its own for state and metrics."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root

    def start(self, kind: str, config: dict[str, Any]) -> Run:
        run_id = f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        self.folder(run_id).mkdir(parents=True)
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO runs VALUES (?, ?, 'running', ?, ?, NULL, ?, ?, ?)",
                (
                    run_id,
                    kind,
                    os.getpid(),
                    time.time(),
                    msgspec.json.encode(config),
                    b"{}",
                    _began(os.getpid()),
                ),
            )
        return self.get(run_id)

    def resume(self, run_id: str, config: dict[str, Any] | None = None) -> Run:
        """Take over a run that was killed or failed, with another configuration if one is given."""
        told = msgspec.json.encode(self.get(run_id).config if config is None else config)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE runs SET status = 'running', pid = ?, process_started = ?, ended = NULL, config = ? "
                "WHERE id = ?",
                (os.getpid(), _began(os.getpid()), told, run_id),
            )
        return self.get(run_id)

    def end(self, run_id: str, status: Status, result: dict[str, Any]) -> Run:
        with self._database.write() as connection:
            connection.execute(
                "UPDATE runs SET status = ?, ended = ?, result = ? WHERE id = ?",
                (status, time.time(), msgspec.json.encode(result), run_id),
            )
        return self.get(run_id)

    def get(self, run_id: str) -> Run:
        rows = self._database.rows("SELECT * FROM runs WHERE id = ?", (run_id,))
        if not rows:
            raise NotFoundError(f"There is no run '{run_id}'; `mainspring runs list` shows those there are.")
        return _run(rows[0])

    def list(self, kind: str | None = None) -> list[Run]:
        """All runs, newest first; one whose process is gone without an end is shown as killed."""
        query = "SELECT * FROM runs WHERE ? IS NULL OR kind = ? ORDER BY started DESC"
        return [_run(row) for row in self._database.rows(query, (kind, kind))]

    def folder(self, run_id: str) -> Path:
        return self._root / run_id

    def last_change(self, run: Run) -> float:
        """When something was last written for a run, in seconds since 1970."""
        times = [path.stat().st_mtime for path in self.folder(run.id).rglob("*") if path.is_file()]
        return max([run.started, run.ended or 0.0, *times])

    def remove(self, run: Run) -> None:
        """Forget a run and remove its folder.

        Raises:
            BusyError: it is running, or somebody has gone on with it since `run` was read.

        """
        with self._database.write() as connection:
            query = "DELETE FROM runs WHERE id = ? AND pid = ?"
            is_ours = run.status != "running" and connection.execute(query, (run.id, run.pid)).rowcount
        if not is_ours:
            raise BusyError(f"{run.id} is running as process {self.get(run.id).pid}. Wait until it is done.")
        shutil.rmtree(self.folder(run.id), ignore_errors=True)


def _began(pid: int) -> float | None:
    """When a process began, in seconds since 1970; None for one that is not there."""
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def _is_alive(pid: int, began: float | None) -> bool:
    """Whether it is still that process; its number may have gone to another one since."""
    now = _began(pid)
    return now is not None and (began is None or abs(now - began) < CLOCK_S)


def _run(row: Any) -> Run:
    status = row["status"]
    if status == "running" and not _is_alive(row["pid"], row["process_started"]):
        status = "killed"
    return Run(
        id=row["id"], kind=row["kind"], status=status, pid=row["pid"], started=row["started"], ended=row["ended"],
        config=msgspec.json.decode(row["config"]), result=msgspec.json.decode(row["result"]),
    )  # fmt: skip
