import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from mainspring.database import Database
from mainspring.errors import BusyError, MainspringError

COUNTERS = "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
FILLED = "INSERT INTO counters VALUES ('a', 0); CREATE TABLE notes (text TEXT)"

COUNT = f"""
import sys
from pathlib import Path
from mainspring.database import Database
database = Database(Path(sys.argv[1]), [{COUNTERS!r}, {FILLED!r}])
for _ in range(100):
    with database.write() as connection:
        value = connection.execute("SELECT value FROM counters WHERE name = 'a'").fetchone()[0]
        connection.execute("UPDATE counters SET value = ? WHERE name = 'a'", (value + 1,))
"""

HOLD = f"""
import sys, time
from pathlib import Path
from mainspring.database import Database
with Database(Path(sys.argv[1]), [{COUNTERS!r}, {FILLED!r}]).write() as connection:
    connection.execute("UPDATE counters SET value = 7 WHERE name = 'a'")
    print("held", flush=True)
    time.sleep(60)
"""


def start(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)


def value(database: Database) -> int:
    return database.rows("SELECT value FROM counters")[0]["value"]


def test_migrations_are_applied_once_and_in_order(tmp_path: Path):
    path = tmp_path / "folder" / "data.db"
    Database(path, [COUNTERS]).close()
    for _ in range(2):  # the second start finds nothing left to do
        database = Database(path, [COUNTERS, FILLED])
        assert value(database) == 0
        database.close()


def test_a_failing_migration_leaves_the_file_as_it_was(tmp_path: Path):
    with pytest.raises(Exception, match="no such table"):
        Database(tmp_path / "data.db", [COUNTERS, "INSERT INTO missing VALUES (1)"])
    database = Database(tmp_path / "data.db", [])
    assert database.rows("SELECT name FROM sqlite_master") == []


def test_a_file_of_a_later_version_is_refused(tmp_path: Path):
    Database(tmp_path / "data.db", [COUNTERS, FILLED]).close()
    with pytest.raises(MainspringError, match=r"later version \(schema 2, this one knows 1\)"):
        Database(tmp_path / "data.db", [COUNTERS])


def test_a_block_that_fails_writes_nothing(tmp_path: Path):
    database = Database(tmp_path / "data.db", [COUNTERS, FILLED])

    def fail() -> None:
        with database.write() as connection:
            connection.execute("UPDATE counters SET value = 5")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert value(database) == 0


def test_two_processes_write_without_losing_anything(tmp_path: Path):
    path = tmp_path / "data.db"
    Database(path, [COUNTERS, FILLED]).close()
    writers = [start(COUNT, path) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert value(Database(path, [COUNTERS, FILLED])) == 200


def test_a_held_file_is_read_at_once_and_its_second_writer_is_told(tmp_path: Path):
    path = tmp_path / "data.db"
    database = Database(path, [COUNTERS, FILLED], wait_s=0.1)
    holder = start(HOLD, path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        assert value(database) == 0
        with (
            pytest.raises(BusyError, match=r"another process for over 0\.1 s\. Try again"),
            database.write(),
        ):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with database.write() as connection:  # the killed one holds nothing and left nothing
        connection.execute("UPDATE counters SET value = value + 1")
    assert value(database) == 1


def test_a_thread_that_ends_takes_its_connection_along(tmp_path: Path):
    database = Database(tmp_path / "d.db", [COUNTERS])
    logs = []
    for _ in range(5):
        thread = threading.Thread(target=lambda: database.rows("SELECT * FROM counters"))
        thread.start()
        thread.join()
        logs.append(sum(each.path == f"{database.path}-wal" for each in psutil.Process().open_files()))
    assert logs == [1] * 5
    database.close()
    assert not [each for each in psutil.Process().open_files() if each.path.startswith(str(database.path))]
