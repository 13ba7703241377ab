"""Trials without training, that other processes can import."""

import os
import signal
import time

STEPS = 4


def bowl(values, report, folder):
    """The smaller the nearer to (0.3, 4); reports it on the way."""
    distance = (values["a.x"] - 0.3) ** 2 + (values["n"] - 4) ** 2
    for step in range(1, STEPS + 1):
        report(step, distance + 1 / step)
        with (folder / "steps").open("a") as stream:
            stream.write(f"{step}\n")
    return {"distance": distance, "n": float(values["n"])}


def slow_bowl(values, report, folder):
    """Takes its time, so that it can be killed; the first attempt at the second trial kills itself."""
    with (folder / "workers").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    if folder.name == "0001" and len((folder / "workers").read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return bowl(values, report, folder)
