"""The plugin that conformance.py adds to a suite's pytest: before a test, the objects it names are put there."""

import os
from multiprocessing.connection import Client

import pytest

SCRIPT = Client(os.environ["CONFORMANCE"])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Ask, and wait until they are there."""
    SCRIPT.send(None)
    SCRIPT.recv()
