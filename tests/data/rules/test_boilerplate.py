import pytest

from mainspring.data.document import Document
from mainspring.data.rules.base import make

STORY = "The river rose in the night, and nobody saw it but the old keeper of the lock.\nHe wrote it down."
MENU = "Home | About us | Contact"


def run(text, settings=None, **meta):
    return make("boilerplate", settings)(Document(id="1", text=text, meta=meta))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Accept all cookies", "cookie"),
        ("We use cookies to improve your experience. Read our privacy policy.", "cookie"),
        ("© 2020 The Lock Keepers. All rights reserved.", "legal"),
        (MENU, "menu"),
        ("» Read more", "button"),
        ("Skip to main content", "button"),
        ("Impressum", "button"),
        ("Diese Seite verwendet Cookies", "cookie"),
    ],
)
def test_a_line_that_its_author_did_not_write_is_removed_from_html(line, kind):
    outcome = run(f"{line}\n{STORY}\n{line}", content_type="text/html")
    assert outcome.document is not None
    assert outcome.document.text == STORY
    assert outcome.reason == "boilerplate_removed"
    assert outcome.numbers[f"{kind}_lines"] == 2
    assert outcome.sample == f"{line}\n{line}"


@pytest.mark.parametrize(
    "line",
    [
        "He went home.",
        "More of it came.",
        "The search went on | and on",
        "a / b / c",
        "Home is where the river is | so they say | and so it is",
    ],
)
def test_a_line_of_a_text_stays(line):
    assert run(f"{STORY}\n{line}", format="html").reason == ""


def test_other_documents_are_touched_only_where_several_such_lines_stand():
    assert run(f"{MENU}\nHome\n{STORY}").reason == ""
    assert run(f"{MENU}\nHome\nLogin\n{STORY}").reason == "boilerplate_removed"
    assert run(f"{MENU}\nHome\n{STORY}", {"min_lines": 2}).reason == "boilerplate_removed"


def test_a_page_of_nothing_else_is_dropped():
    outcome = run(f"{MENU}\nHome\nLogin\nWell.")
    assert outcome.document is None
    assert outcome.reason == "only_boilerplate"
    assert outcome.numbers["left_fraction"] == 5 / (len(MENU) + 4 + 5 + 5)
