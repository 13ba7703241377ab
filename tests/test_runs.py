import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mainspring import runs
from mainspring.database import Database
from mainspring.errors import BusyError, NotFoundError
from mainspring.runs import Runs

RUNNER = """
import sys, time
from pathlib import Path
from mainspring import runs
from mainspring.database import Database
root = Path(sys.argv[1])
kept = runs.Runs(Database(root / "runs.db", [runs.MIGRATION, runs.PROCESS_MIGRATION]), root / "runs")
print(kept.start("train", {"steps": 3}).id, flush=True)
time.sleep(60)
"""


@pytest.fixture
def kept(tmp_path: Path) -> Runs:
    return Runs(Database(tmp_path / "runs.db", [runs.MIGRATION, runs.PROCESS_MIGRATION]), tmp_path / "runs")


def test_a_run_keeps_its_configuration_and_its_result(kept: Runs):
    run = kept.start("train", {"steps": 3})
    assert (run.status, run.config, run.ended) == ("running", {"steps": 3}, None)
    assert kept.folder(run.id).is_dir()
    ended = kept.end(run.id, "done", {"loss": 0.5})
    assert (ended.status, ended.result) == ("done", {"loss": 0.5})
    assert ended.ended is not None
    assert kept.get(run.id) == ended


def test_runs_are_listed_newest_first_and_by_kind(kept: Runs):
    first, second, other = kept.start("train", {}), kept.start("train", {}), kept.start("flywheel", {})
    assert [run.id for run in kept.list("train")] == [second.id, first.id]
    assert {run.id for run in kept.list()} == {first.id, second.id, other.id}


def test_a_run_whose_process_was_killed_is_shown_as_killed_until_it_is_resumed(kept: Runs, tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    assert kept.get(run_id).status == "running"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert kept.get(run_id).status == "killed"
    assert [run.status for run in kept.list()] == ["killed"]
    resumed = kept.resume(run_id)
    assert (resumed.status, resumed.pid, resumed.config) == ("running", os.getpid(), {"steps": 3})


def test_a_killed_run_whose_process_number_another_process_has_is_shown_as_killed(kept: Runs, tmp_path: Path):
    run = kept.start("train", {})
    with sqlite3.connect(tmp_path / "runs.db") as connection:  # of a process that began long before
        connection.execute("UPDATE runs SET pid = 1")
    assert kept.get(run.id).status == "killed"
    assert kept.end(kept.resume(run.id, {"steps": 4}).id, "done", {}).config == {"steps": 4}


def test_a_workspace_from_before_process_starts_were_kept_is_read_as_before(tmp_path: Path):
    old = Database(tmp_path / "runs.db", [runs.MIGRATION])
    with old.write() as connection:
        row = ("r", "train", "running", 1, 0.0, None, b"{}", b"{}")
        connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    old.close()
    kept = Runs(Database(tmp_path / "runs.db", [runs.MIGRATION, runs.PROCESS_MIGRATION]), tmp_path / "runs")
    assert kept.get("r").status == "running"


def test_an_unknown_run_is_told_with_the_command_that_lists_them(kept: Runs):
    for call in (kept.get, kept.resume):
        with pytest.raises(NotFoundError, match=r"no run 'train-1'; `mainspring runs list`"):
            call("train-1")


def test_a_run_that_goes_on_is_not_removed_and_an_ended_one_is(kept: Runs):
    run = kept.start("train", {})
    ended = kept.end(run.id, "failed", {})
    for seen in (run, msgspec.structs.replace(ended, pid=ended.pid + 1)):  # running, and gone on with since
        with pytest.raises(BusyError, match="is running as process"):
            kept.remove(seen)
    kept.remove(ended)
    assert kept.list() == []
    assert not kept.folder(run.id).exists()
