import pytest
from starlette.testclient import TestClient

from fakes_model import TOWER


@pytest.fixture
def door(house):
    return TestClient(house.app, base_url="http://127.0.0.1")


def ask(door):
    body = {"model": "mainspring", "messages": [{"role": "user", "content": "When?"}]}
    return door.post("/v1/chat/completions", json=body).json()["mainspring"]


def test_a_citation_resolves_to_the_stored_text(door):
    citation = ask(door)["citations"][0]
    source = door.get(f"/documents/{citation['document']}").json()
    assert source == {"document": "guides/tower.md", "title": "The tower", "text": TOWER}
    assert source["text"][citation["start"] : citation["end"]] == citation["quote"]


def test_an_unknown_document_is_not_found(door):
    answer = door.get("/documents/guides/other.md")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_feedback_ends_as_an_event_that_knows_its_answer(door, house):
    request = ask(door)["request"]
    answer = door.post("/feedback", json={"request": request, "rating": "down", "correction": "In 1890."})
    assert (answer.status_code, answer.json()) == (200, {"status": "stored", "request": request})
    row = house.feedback.latest()[0]
    assert (row.request, row.rating, row.correction) == (request, "down", "In 1890.")
    assert row.answer.kind == "generated"


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"rating": "meh"}, 400, "'up' or 'down'"),
        ({"rating": None}, 400, "`rating` is missing"),
        ({"rating": 1}, 400, "expected `str`"),
        ({"correction": ""}, 400, "`correction` is empty"),
        ({"stars": 5}, 400, "`stars`"),
        ({"request": "req-0"}, 404, "no answer to a request 'req-0'"),
    ],
)
def test_bad_feedback_is_refused(door, house, change, status, words):
    body = {"request": ask(door)["request"], "rating": "up", **change}
    answer = door.post("/feedback", json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert house.events("feedback") == []


def test_the_page_and_its_files_come_with_a_strict_policy(door):
    page = door.get("/")
    assert page.status_code == 200
    for path in ("/", "/static/main.js", "/static/style.css"):
        answer = door.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
    assert "javascript" in door.get("/static/main.js").headers["content-type"]


@pytest.mark.parametrize("path", ["/static/../own.py", "/static/%2e%2e/own.py", "/static/..%2fown.py"])
def test_only_the_page_s_own_files_are_served(door, path):
    assert door.get(path).status_code == 404
