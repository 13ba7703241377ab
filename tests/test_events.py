import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mainspring import events
from mainspring.database import Database
from mainspring.errors import MainspringError
from mainspring.events import Event, EventLog, data_of

APPENDER = """
import sys, time
from pathlib import Path
from mainspring import events
from mainspring.database import Database
log = events.EventLog(Database(Path(sys.argv[1]), [events.MIGRATION]))
for number in range(100):
    log.append(events.Event(type="step", subject="run", data={"number": number}))
    print(number, flush=True)
time.sleep(60)
"""


def open_log(path: Path, *, wait_s: float = 5.0) -> EventLog:
    return EventLog(Database(path / "log.db", [events.MIGRATION], wait_s=wait_s))


@pytest.fixture
def log(tmp_path: Path):
    log = open_log(tmp_path)
    yield log
    log.close()


def step(number: int, subject: str = "run") -> Event:
    return Event(type="step", subject=subject, data={"number": number})


def numbers(found: list[Event]) -> list[int]:
    return [each["number"] for each in data_of(found, "step")]


def test_events_come_back_in_the_order_they_were_put(log: EventLog):
    for number in range(200):
        log.put(step(number))
    log.flush()
    found = log.find(subject="run")
    assert numbers(found) == list(range(200))
    assert [event.id for event in found] == sorted(event.id for event in found)


def test_each_threads_events_keep_their_order_and_none_is_lost(log: EventLog):
    def put(subject: str) -> None:
        for number in range(50):
            log.put(step(number, subject))

    threads = [threading.Thread(target=put, args=(f"run-{each}",)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()
    for each in range(8):
        assert numbers(log.find(subject=f"run-{each}")) == list(range(50))


def test_what_waits_together_is_committed_together(tmp_path: Path):
    log = open_log(tmp_path)
    database = Database(tmp_path / "log.db", [events.MIGRATION])
    with database.write():  # the writer waits for this, and all that is put meanwhile is one group
        log.put(step(0))
        for number in range(1, 300):
            log.put(step(number))
    log.flush()
    before = database.rows("PRAGMA data_version")[0][0]
    assert numbers(log.find()) == list(range(300))
    with database.write():
        for number in range(300, 600):
            log.put(step(number))
    log.flush()
    # data_version grows with the commits of other connections: two groups at most, not three hundred.
    assert database.rows("PRAGMA data_version")[0][0] - before <= 2
    log.close()


def test_flush_makes_what_was_put_visible_to_another_connection(log: EventLog, tmp_path: Path):
    log.put(step(1))
    log.flush()
    assert numbers(open_log(tmp_path).find()) == [1]


def test_close_writes_what_is_on_its_way(tmp_path: Path):
    log = open_log(tmp_path)
    for number in range(20):
        log.put(step(number))
    log.close()
    assert numbers(open_log(tmp_path).find()) == list(range(20))


def test_appended_events_survive_a_killed_writer(tmp_path: Path):
    writer = subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(tmp_path / "log.db")], stdout=subprocess.PIPE, text=True
    )
    told = -1
    for line in writer.stdout or ():
        told = int(line)
        if told == 30:
            break
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    found = numbers(open_log(tmp_path).find())
    assert found[: told + 1] == list(range(told + 1))


def test_an_event_that_cannot_be_encoded_is_the_callers_error_and_the_log_goes_on(log: EventLog):
    log.put(step(1))
    with pytest.raises(TypeError):
        log.put(Event(type="step", subject="run", data={"number": object()}))
    log.put(step(2))
    log.flush()
    assert numbers(log.find()) == [1, 2]


def test_one_bad_event_keeps_all_of_an_append_out(log: EventLog):
    with pytest.raises(TypeError):
        log.append(step(1), Event(type="step", subject="run", data={"number": object()}))
    assert log.find() == []


def test_the_writer_waits_for_another_process_however_long_it_writes(tmp_path: Path):
    log = open_log(tmp_path, wait_s=0.05)
    with Database(tmp_path / "log.db", [events.MIGRATION]).write():
        log.put(step(1))
        threading.Event().wait(0.3)
    log.flush()
    assert numbers(log.find()) == [1]
    log.close()


def test_a_log_that_cannot_be_written_says_so_to_whoever_waits(tmp_path: Path):
    log = open_log(tmp_path)
    with Database(tmp_path / "log.db", [events.MIGRATION]).write() as connection:
        connection.execute("DROP TABLE events")
    log.put(step(1))
    with pytest.raises(MainspringError, match="cannot be written: no such table"):
        log.flush()
    with pytest.raises(MainspringError, match="cannot be written"):
        log.put(step(2))


def test_events_are_found_by_type_subject_and_place(log: EventLog):
    log.append(step(1), step(2, "other"), Event(type="note", subject="run", data={}), step(3))
    assert numbers(log.find(type="step", subject="run")) == [1, 3]
    assert len(log.find(type="note")) == 1
    assert numbers(log.find(type="step", after=log.find()[1].id)) == [3]
    assert numbers(log.find(type="step", limit=2)) == [1, 2]


def test_latest_subjects_are_ordered_by_their_newest_event(log: EventLog):
    log.append(step(1, "a"), step(2, "b"), step(3, "c"), step(4, "a"))
    assert log.latest_subjects("step", 2) == ["a", "c"]
