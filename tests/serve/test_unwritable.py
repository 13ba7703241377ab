"""Constraints that a reply cannot hold to, though they compile: the request's fault, not the server's."""

import json

import pytest
from starlette.testclient import TestClient

from fakes_bpe import make_tokenizer
from fakes_engine import PLAN, Served, make_model, open_backend
from fakes_model import House, Shelf
from mainspring.infer.engine import Engine
from mainspring.infer.grammar import Grammars
from mainspring.infer.request import EngineConfig

CONFIG = EngineConfig(num_blocks=256)
ASKED = {"model": "partial", "prompt": "the spring", "max_tokens": 8, "seed": 3}
DEAD_ENDS = {"guided_regex": "[ab]\U0004ac2b", "guided_choice": ["a\U0004ac2b", "b\U0004ac2b"]}


@pytest.fixture
def door(tmp_path):
    """Of a model whose vocabulary lacks the byte F1, with which U+4AC2B begins."""
    tokenizer = make_tokenizer(lacks="\u00f1")
    with Engine(open_backend(make_model(), CONFIG), CONFIG, Grammars(tokenizer)) as engine:
        house = House(tmp_path, Shelf([Served("partial", engine, tokenizer, PLAN, model="model/tiny@1")]))
        yield TestClient(house.app, base_url="http://127.0.0.1")
        house.close()


@pytest.mark.parametrize("field", DEAD_ENDS)
def test_a_reply_that_comes_to_what_cannot_be_written_ends_with_400(door, field):
    answer = door.post("/v1/completions", json={**ASKED, field: DEAD_ENDS[field]})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "tokenizer has no ids for" in answer.json()["error"]["message"]


def test_a_stream_that_comes_to_what_cannot_be_written_ends_with_that_error(door):
    answer = door.post(
        "/v1/completions", json={**ASKED, "guided_regex": DEAD_ENDS["guided_regex"], "stream": True}
    )
    *_, last = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert last["error"]["type"] == "invalid_request_error"
    assert "tokenizer has no ids for" in last["error"]["message"]


def test_what_can_be_written_is_answered_after_that(door):
    assert door.post("/v1/completions", json={**ASKED, "guided_regex": "\U0004ac2b"}).status_code == 400
    answer = door.post("/v1/completions", json={**ASKED, "guided_choice": ["a", "b"]})
    assert answer.json()["choices"][0]["text"] in ("a", "b")
