"""Steps in their order, and memory that counts children too."""

import subprocess
import sys
import time

import psutil
import pytest

from mainspring.demo.steps import PeakMemory, Steps

CHILD_BYTES = 150_000_000
HOLD = f"""
block = bytearray({CHILD_BYTES})
block[::4096] = b"x" * len(block[::4096])
print("held", flush=True)
input()
"""


def test_beginning_a_step_ends_the_one_before_and_times_it(capsys):
    steps = Steps()
    steps.begin("open")
    time.sleep(0.05)
    steps.begin("index")
    assert list(steps.wall_s) == ["open"]
    assert 0.05 <= steps.wall_s["open"] < 1
    steps.end()
    assert list(steps.wall_s) == ["open", "index"]
    said = capsys.readouterr()
    assert "2/9  index" in said.out + said.err


def test_going_on_with_the_running_step_does_not_begin_it_anew():
    steps = Steps()
    steps.begin("serve")
    time.sleep(0.05)
    steps.begin("serve")
    steps.end()
    steps.end()
    assert list(steps.wall_s) == ["serve"]
    assert steps.wall_s["serve"] >= 0.05


def test_a_skipped_step_is_said_with_why_and_has_no_time(capsys):
    steps = Steps()
    steps.begin("ask")
    steps.skip(["tune", "gate"], "nothing to learn from")
    assert list(steps.wall_s) == ["ask"]
    said = capsys.readouterr()
    assert "tune, gate: skipped; nothing to learn from" in said.out + said.err


def test_an_unknown_step_is_a_mistake():
    with pytest.raises(ValueError, match="fly"):
        Steps().begin("fly")


@pytest.mark.slow
def test_the_peak_has_the_memory_of_a_child_process_in_it():
    own = psutil.Process().memory_info().rss
    with PeakMemory() as memory:
        command = [sys.executable, "-c", HOLD]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            time.sleep(0.5)
            child.communicate("\n")
    assert memory.peak_bytes > own + CHILD_BYTES * 0.9
    held = memory.peak_bytes
    time.sleep(0.3)
    assert memory.peak_bytes == held  # nothing is sampled after the block
