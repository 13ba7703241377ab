"""Processes of this machine, against a plain loop."""

import os
from contextlib import closing

import psutil
import pytest

import fakes_work as work
from mainspring.data.executors.base import ExecutorSettings, make
from mainspring.data.executors.local import LocalExecutor
from mainspring.errors import MainspringError, UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two():
    executor = LocalExecutor(2)
    yield executor
    executor.close()


@pytest.mark.parametrize("num_tasks", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_answered_once_with_its_index(two, num_tasks, workers):
    executor = two if workers == 2 else LocalExecutor(1)
    answers = list(executor.map(work.slow_square, range(num_tasks)))
    assert sorted(answers) == [(number, number * number) for number in range(num_tasks)]


def test_tasks_are_spread_over_processes_that_stay_for_the_next_call(two):
    first = {pid for _, pid in two.map(work.process, range(20))}
    again = {pid for _, pid in two.map(work.process, range(20))}
    assert len(first | again) == 2
    assert os.getpid() not in first


def test_one_worker_is_this_process():
    assert {pid for _, pid in LocalExecutor(1).map(work.process, range(3))} == {os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_names_the_task_the_error_and_the_line(workers):
    with closing(LocalExecutor(workers)) as executor, pytest.raises(MainspringError) as caught:
        list(executor.map(work.divide, [1, 2, 0]))
    assert str(caught.value).startswith("0 failed: ZeroDivisionError: division by zero (fakes_work.py, line ")


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_user_did_wrong_stays_the_users(workers):
    with closing(LocalExecutor(workers)) as executor:
        with pytest.raises(UserError, match="two is not wanted"):
            list(executor.map(work.refuse, range(4)))
        with pytest.raises(UserError, match="pip install"):
            list(executor.map(work.need, range(4)))


def test_a_killed_worker_is_told_with_its_task_and_leaves_no_other_behind():
    with closing(LocalExecutor(2)) as executor:
        with pytest.raises(MainspringError, match=r"did 3 was killed by SIGKILL.*memory"):
            list(executor.map(work.DieAt(3), range(6)))
        assert executor._workers == []
        assert sorted(executor.map(work.square, range(4))) == [(0, 0), (1, 1), (2, 4), (3, 9)]


def test_leaving_early_ends_the_workers(tmp_path):
    with closing(LocalExecutor(2)) as executor:
        answers = executor.map(work.Leave(tmp_path), range(1000))
        next(answers)
        workers = [psutil.Process(worker._process.pid) for worker in executor._workers]
        answers.close()
        assert len(workers) == 2
        assert not any(worker.is_running() for worker in workers)
    assert len(list(tmp_path.iterdir())) < 10


def test_the_settings_choose_the_executor():
    with closing(make(ExecutorSettings(workers=3))) as executor:
        assert isinstance(executor, LocalExecutor)
        assert executor.num_workers == 3
    assert LocalExecutor().num_workers == len(os.sched_getaffinity(0))
