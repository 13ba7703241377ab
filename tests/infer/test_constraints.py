"""Replies that are held to a constraint, in the engine."""

import json

import msgspec
import pytest

from conftest import make_tokenizer
from fakes_engine import PLAN, Received, make_request, run_alone, run_together
from mainspring.errors import ConfigError
from mainspring.infer.backends.torch_eager import TorchEager
from mainspring.infer.engine import Engine
from mainspring.infer.grammar import Grammars
from mainspring.infer.request import EngineConfig
from mainspring.schema import Constraint


@pytest.mark.parametrize("is_on", [True, False])
def test_a_reply_holds_to_its_constraint_with_and_without_drafts(model, is_on):
    tokenizer = make_tokenizer()
    config = EngineConfig(num_blocks=64, speculation=is_on)
    wish = Constraint(kind="json_schema", value={
        "type": "object", "properties": {"name": {"enum": ["spring"]}, "wound": {"type": "boolean"}},
        "required": ["name", "wound"], "additionalProperties": False,
    })  # fmt: skip
    request = msgspec.structs.replace(make_request(9, max_tokens=60), constraint=wish)
    with Engine(TorchEager(model, PLAN, config), config, Grammars(tokenizer)) as engine:
        ids, _, reason, error = run_together(engine, [request])[0]
        accepted = engine.stats().accepted_tokens
        free = run_together(engine, [make_request(9)])[0]
    assert (reason, error) == ("stop", None)
    assert json.loads(tokenizer.decode(ids)) in [
        {"name": "spring", "wound": wound} for wound in (True, False)
    ]
    assert (accepted > 5) == is_on
    assert free == run_alone(model, [make_request(9)])[0]


def test_a_grammar_that_outgrows_its_limits_ends_its_own_request_alone(model):
    config = EngineConfig(num_blocks=64)
    wild = Constraint(kind="grammar", value="start: /[bc](a|aa|aaa){0,500}(a?){300}a{300}/")
    with Engine(TorchEager(model, PLAN, config), config, Grammars(make_tokenizer())) as engine:
        requests = [msgspec.structs.replace(make_request(3), constraint=wild), make_request(9)]
        failed, other = run_together(engine, requests)
        assert "grammar of this reply went wrong" in failed[3]
        assert other[2] == "length"
        assert engine.is_alive()


def test_a_constraint_that_does_not_compile_is_refused_at_once(model):
    config = EngineConfig(num_blocks=64)
    with Engine(TorchEager(model, PLAN, config), config, Grammars(make_tokenizer())) as engine:
        with pytest.raises(ConfigError, match="regex"):
            engine.submit(
                msgspec.structs.replace(make_request(3), constraint=Constraint(kind="regex", value="(")),
                Received(),
            )
        assert engine.stats().num_waiting == 0
