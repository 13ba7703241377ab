"""A label moved under streams: what is reported, and which mixtures are failures."""

import threading
import time

import pytest

from mainspring.app import IN_PRODUCTION, PRODUCTION, Workspace
from mainspring.demo.server import PARALLEL, Asked, Server
from mainspring.demo.switch import NUM_AFTER, switch
from mainspring.errors import MainspringError

pytestmark = pytest.mark.slow

QUESTIONS = ["Who?", "When?", "Where?", "Why?", "What?"]


@pytest.fixture
def workspace(tmp_path):
    """Two versions of an assistant, the first in production."""
    with Workspace(tmp_path / "workspace") as workspace:
        first = workspace.save("assistant", "mainspring", {"a": 1}, {})
        workspace.save("assistant", "mainspring", {"a": 2}, {})
        workspace.registry.label(first, PRODUCTION, "test")
        yield workspace


class Streams(Server):
    """A server whose streams last past the move; `change` is done to every answer, by its number."""

    def __init__(self, workspace, change=lambda number, asked: asked, is_lasting=True):
        super().__init__("", 0.0, None)
        self.workspace, self.change, self.is_lasting = workspace, change, is_lasting
        self.lock, self.num, self.open = threading.Lock(), 0, 0
        self.is_late = threading.Event()  # streams are begun behind the move

    def ask(self, question):
        with self.lock:
            number, self.num = self.num, self.num + 1
        began = time.monotonic()
        time.sleep(0.01 * number)  # some are slow to begin
        version = self.workspace.registry.get(IN_PRODUCTION).reference
        with self.lock:
            self.open += 1
        if self.is_lasting and number < PARALLEL:
            self.is_late.wait(30)
        else:
            self.is_late.set()
        with self.lock:
            self.open -= 1
        asked = {"text": "x", "answer": {"assistant": version}}
        return Asked(
            question=question, request=f"req-{number}", began=began, ended=time.monotonic(),
            **self.change(number, asked),
        )  # fmt: skip

    def num_open(self):
        return self.open


def run(workspace, *arguments, **more):
    def move():
        second = workspace.registry.get("assistant/mainspring@2")
        workspace.registry.label(second, PRODUCTION, "test")
        return second.reference

    return switch(workspace, Streams(workspace, *arguments, **more), move, QUESTIONS)


def test_streams_that_crossed_the_move_are_counted(workspace):
    moved = run(workspace)
    assert (moved.before, moved.after) == ("assistant/mainspring@1", "assistant/mainspring@2")
    assert moved.in_flight == PARALLEL


def test_streams_that_ended_before_the_move_do_not_count(workspace):
    assert run(workspace, is_lasting=False).in_flight == 0


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        (3, {"text": "x", "answer": {"assistant": "assistant/mainspring@2"}}),
        (PARALLEL + NUM_AFTER - 1, {"text": "x", "answer": {"assistant": "assistant/mainspring@1"}}),
        (3, {"text": "", "answer": {"assistant": "assistant/mainspring@1"}}),
        (3, {"text": "x", "answer": {}}),
    ],
    ids=["early-with-the-new", "late-with-the-old", "without-text", "without-a-version"],
)
def test_a_stream_of_another_version_or_without_text_is_a_failure(workspace, number, answer):
    def change(of, asked):
        return answer if of == number else asked

    with pytest.raises(MainspringError, match="Streams that began with assistant/mainspring@"):
        run(workspace, change)


def test_a_stream_that_fails_is_not_hidden(workspace):
    def change(number, asked):
        if number == 2:
            raise ConnectionError("cut")
        return asked

    with pytest.raises(ConnectionError, match="cut"):
        run(workspace, change)
