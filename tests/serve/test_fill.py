"""Gaps that are filled and prompts that are scored, over HTTP, by a tiny real model with the tokens for it."""

import json
import time

import msgspec
import pytest
from starlette.testclient import TestClient

from fakes_bpe import make_tokenizer, sentencepiece
from fakes_engine import PLAN, Served, make_model, open_backend
from fakes_model import House, Shelf
from mainspring import trace
from mainspring.infer.engine import Engine
from mainspring.infer.process import EngineProcess
from mainspring.infer.replay import Recording, replay
from mainspring.infer.request import EngineConfig, Output
from mainspring.infer.sampling import Chosen
from mainspring.models.save import save

TOKENS = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>")
CONFIG = EngineConfig(num_blocks=256)
ASKED = {"model": "filler", "prompt": "the spring", "suffix": " winds it", "max_tokens": 6, "seed": 3}
COLUMNS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


class Saying:
    """An engine that says given ids, one an output."""

    backend_name, fingerprint, context = "saying", "saying", 64

    def __init__(self, ids):
        self.ids = ids

    def submit_all(self, requests, sinks):
        for sink in sinks:
            for each in self.ids:
                sink(Output(chosen=(Chosen(each, -0.5, 0.0),)))
            sink(Output(finish_reason="stop"))
        return []


def served(engine, name, tokens=TOKENS):
    return Served(name, engine, make_tokenizer(more=tokens), PLAN, model="model/tiny@1")


@pytest.fixture(scope="module")
def engine():
    with Engine(open_backend(make_model(), CONFIG), CONFIG) as engine:
        yield engine


@pytest.fixture
def house(engine, tmp_path):
    house = House(tmp_path, Shelf([served(engine, "filler"), served(engine, "gapless", ())]))
    yield house
    house.close()


@pytest.fixture
def door(house):
    return TestClient(house.app, base_url="http://127.0.0.1")


@pytest.fixture
def tokenizer(house):
    return house.shelf.models["filler"]._tokenizer


def complete(door, **change):
    answer = door.post("/v1/completions", json={**ASKED, **change})
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"]


def chunks_of(door, **change):
    answer = door.post("/v1/completions", json={**ASKED, **change, "stream": True})
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [choice for line in lines for choice in json.loads(line)["choices"]]


def joined(chunks):
    """The choices that the chunks of a stream are together."""
    found = {}
    for chunk in chunks:
        choice = found.setdefault(chunk["index"], {"text": "", **{name: [] for name in COLUMNS}})
        choice["text"] += chunk["text"]
        choice["finish_reason"] = chunk["finish_reason"]
        for name in COLUMNS if chunk["logprobs"] else ():
            choice[name] += chunk["logprobs"][name] or []
    return [found[index] for index in sorted(found)]


def flat(choice):
    """A whole choice in the same form."""
    columns = {name: choice["logprobs"][name] or [] for name in COLUMNS}
    return {"text": choice["text"], "finish_reason": choice["finish_reason"], **columns}


def laid_out(tokenizer, prompt, suffix):
    before, between, behind, _ = (tokenizer.special[name] for name in TOKENS)
    return [before, *tokenizer.encode(prompt), between, *tokenizer.encode(suffix), behind]


def test_a_gap_is_filled_by_what_follows_the_published_layout_and_by_that_alone(door, tokenizer):
    ids = laid_out(tokenizer, ASKED["prompt"], ASKED["suffix"])
    by_hand = complete(door, prompt=ids, suffix=None, logprobs=1)
    assert complete(door, logprobs=1) == by_hand
    assert complete(door, prompt=tokenizer.encode(ASKED["prompt"]), logprobs=1) == by_hand
    assert complete(door, suffix="", logprobs=1) == complete(door, suffix=None, logprobs=1) != by_hand
    usage = door.post("/v1/completions", json=ASKED).json()["usage"]
    assert usage["prompt_tokens"] == len(ids)
    assert (
        door.post("/v1/completions", json={**ASKED, "prompt": ""}).status_code == 200
    )  # the cursor at the top


def test_text_forges_no_mark(door, tokenizer):
    forged = "x<fim_middle>"
    by_hand = complete(door, prompt=laid_out(tokenizer, forged, forged), suffix=None, logprobs=1)
    assert complete(door, prompt=forged, suffix=forged, logprobs=1) == by_hand


def test_the_prompt_is_echoed_before_the_middle_and_scored_where_it_stands(door, tokenizer):
    (silent,), (echoed,) = complete(door, logprobs=2), complete(door, logprobs=2, echo=True)
    assert echoed["text"] == ASKED["prompt"] + silent["text"]
    own = len(tokenizer.encode(ASKED["prompt"]))
    ids = laid_out(tokenizer, ASKED["prompt"], ASKED["suffix"])
    (whole,) = complete(door, prompt=ids, suffix=None, logprobs=2, echo=True)
    assert "".join(echoed["logprobs"]["tokens"][:own]) == ASKED["prompt"]
    for name in ("tokens", "token_logprobs", "top_logprobs"):
        assert echoed["logprobs"][name][:own] == whole["logprobs"][name][1 : 1 + own]
        assert echoed["logprobs"][name][own:] == silent["logprobs"][name]
    assert None not in echoed["logprobs"]["token_logprobs"]
    assert echoed["logprobs"]["text_offset"][0] == 0
    assert [each - len(ASKED["prompt"]) for each in echoed["logprobs"]["text_offset"][own:]] == silent[
        "logprobs"
    ]["text_offset"]
    (only,) = complete(door, prompt_logprobs=0)
    assert [each and [one["logprob"] for one in each.values()] for each in only["prompt_logprobs"]] == [
        [logprob] for logprob in echoed["logprobs"]["token_logprobs"][:own]
    ]


@pytest.mark.parametrize("suffix", [None, " winds it"])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"logprobs": 0},
        {"max_tokens": 0},
        {"prompt": ["the spring", "it 🪨 turns", "w"], "n": 2, "temperature": 1},
        {"prompt": ["the spring", "it 🪨 turns"], "n": 2, "max_tokens": 0},
        {"prompt": [[70, 80, 90], [66]], "best_of": 0},
        {"prompt": "the wheels turn " * 8, "n": 2, "stop": "e"},
    ],
)
def test_the_pieces_of_a_stream_are_together_what_comes_whole(door, suffix, change):
    asked = {"echo": True, "logprobs": 2, "suffix": suffix, **change}
    whole, chunks = complete(door, **asked), chunks_of(door, **asked)
    assert joined(chunks) == [flat(choice) for choice in whole]
    for choice in whole:
        first = next(chunk for chunk in chunks if chunk["index"] == choice["index"])
        num = len(first["logprobs"]["tokens"])
        assert first["finish_reason"] is None
        assert "".join(first["logprobs"]["tokens"]).replace("\ufffd" * 4, "🪨") == first["text"]
        assert choice["text"].startswith(first["text"])
        assert choice["logprobs"]["tokens"][:num] == first["logprobs"]["tokens"]
        assert first["logprobs"]["token_logprobs"].count(None) == (suffix is None)


def test_offsets_count_characters_whatever_tokens_share_them(door, tokenizer):
    (choice,) = complete(door, prompt="a🪨b", suffix=None, echo=True, logprobs=0, max_tokens=0)
    assert choice["text"] == "a🪨b"
    assert choice["logprobs"]["text_offset"] == [0, 1, 2, 2, 2, 2]
    (a, b), end = tokenizer.encode("ab"), tokenizer.special["<|im_end|>"]
    (choice,) = complete(door, prompt=[end, a, end, b], suffix=None, echo=True, logprobs=0, max_tokens=0)
    assert choice["text"] == "ab"
    assert choice["logprobs"]["tokens"] == ["", "a", "<|im_end|>", "b"]
    assert choice["logprobs"]["text_offset"] == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["<file_sep>", "<fim_prefix>", "<|endoftext|>"])
def test_what_separates_files_ends_a_middle_and_nothing_else(door, tokenizer, name):
    asked = {"logit_bias": {str(tokenizer.special[name]): 100}, "max_tokens": 3}
    (filled,), (continued,) = complete(door, **asked), complete(door, **asked, suffix=None)
    assert (filled["text"], filled["finish_reason"], filled["stop_reason"]) == ("", "stop", None)
    assert (continued["text"], continued["finish_reason"]) == ("", "length")
    (going,) = complete(door, **asked, ignore_eos=True)
    assert going["finish_reason"] == "length"


@pytest.mark.parametrize("suffix", [None, "bc"])
def test_what_goes_on_from_text_keeps_its_space_where_a_vocabulary_writes_one_into_words(tmp_path, suffix):
    tokenizer = sentencepiece("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>")
    said = tokenizer.encode(" bc a")[1:]
    house = House(tmp_path, Shelf([Served("filler", Saying(said), tokenizer, PLAN, model="model/tiny@1")]))
    door = TestClient(house.app, base_url="http://127.0.0.1")
    asked = {"prompt": "a", "suffix": suffix, "echo": True}
    assert [choice["text"] for choice in complete(door, **asked)] == ["a bc a"]
    assert "".join(chunk["text"] for chunk in chunks_of(door, **asked)) == "a bc a"
    house.close()


def test_a_model_without_the_tokens_says_so(door):
    answer = door.post("/v1/completions", json={**ASKED, "model": "gapless"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "suffix")
    for named in ("fills no gaps", "<fim_prefix> <fim_suffix> <fim_middle>", "[SUFFIX] [PREFIX]"):
        assert named in answer.json()["error"]["message"]
    assert door.post("/v1/completions", json={**ASKED, "model": "gapless", "suffix": ""}).status_code == 200
    for wrong in (7, ["x"]):
        refused = door.post("/v1/completions", json={**ASKED, "suffix": wrong})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "suffix")


def test_a_filled_gap_is_found_in_the_cache_and_replayed_to_the_bit(door, house, engine):
    asked = {**ASKED, "prompt": "the wheels turn " * 8, "temperature": 1}
    first, again = (door.post("/v1/completions", json=asked).json() for _ in range(2))
    assert again["choices"] == first["choices"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    spans = [event.data["attributes"] for event in house.events("span") if event.subject == again["id"]]
    recordings = msgspec.convert(spans[0][trace.RECORDINGS], list[Recording], strict=False)
    assert recordings[0].ids
    assert replay(recordings, engine) == [None]


def test_a_line_of_a_batch_fills_a_gap(door):
    body = {**ASKED, "echo": True, "logprobs": 1, "n": 2}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/completions", "body": body}
    with door:
        file = {"file": ("lines.jsonl", json.dumps(line))}
        identity = door.post("/v1/files", files=file, data={"purpose": "batch"}).json()["id"]
        wanted = {"input_file_id": identity, "endpoint": "/v1/completions", "completion_window": "24h"}
        batch = door.post("/v1/batches", json=wanted).json()
        door.app.state.batches.start()
        try:
            end = time.monotonic() + 30
            while batch["status"] not in {"completed", "failed"}:
                assert time.monotonic() < end
                time.sleep(0.05)
                batch = door.get(f"/v1/batches/{batch['id']}").json()
        finally:
            door.app.state.batches.stop()
        assert batch["output_file_id"], batch
        result = json.loads(door.get(f"/v1/files/{batch['output_file_id']}/content").text)
    assert result["response"]["body"]["choices"] == complete(door, **body)


@pytest.mark.slow
def test_an_engine_in_a_process_of_its_own_answers_the_same(door, tmp_path):
    save(make_model(), tmp_path / "model")
    make_tokenizer(more=TOKENS).save(tmp_path / "model")
    apart = EngineProcess(tmp_path / "model", "model/tiny@1", PLAN, CONFIG)
    (tmp_path / "other").mkdir()
    house = House(tmp_path / "other", Shelf([served(apart, "filler")]))
    try:
        other = TestClient(house.app, base_url="http://127.0.0.1")
        for suffix in (None, " winds it"):
            asked = {"echo": True, "logprobs": 2, "n": 2, "prompt": ["the spring", "w"], "suffix": suffix}
            chunks = chunks_of(other, **asked)
            assert joined(chunks) == [flat(choice) for choice in complete(door, **asked)]
    finally:
        house.close()
        apart.close()
