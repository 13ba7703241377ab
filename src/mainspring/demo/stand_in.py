"""The demo has no users, so gold answers stand in for them: they ask, rate and correct as the page would.

An answer that has nearly the gold answer's words is rated up; any other is rated down and corrected with it.
"""

from collections.abc import Sequence

from mainspring.demo.server import Asked, Server
from mainspring.evaluate.gold import Gold
from mainspring.evaluate.metrics import token_f1
from mainspring.progress import bar

SOURCE = "stand-in"
GOOD_F1 = 0.8


def collect(server: Server, items: Sequence[Gold]) -> tuple[list[Asked], int]:
    """Ask all questions and rate every answer; returns the answers and how many were rated up."""
    with bar("ask and rate", len(items), "questions") as advance:
        answers = server.ask_many([item.question for item in items], advance)
    num_up = 0
    for item, asked in zip(items, answers, strict=True):
        assert item.answer is not None
        good = asked.answer["kind"] == "generated" and token_f1(asked.text, item.answer) >= GOOD_F1
        server.rate(asked.request, "up" if good else "down", None if good else item.answer, SOURCE)
        num_up += good
    return answers, num_up
