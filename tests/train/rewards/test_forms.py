import json
import time

import pytest

from mainspring.errors import ConfigError, MainspringError
from mainspring.train.rewards.json_schema import JsonSchema
from mainspring.train.rewards.regex import Regex

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}, "required": ["n"]}


def test_a_pattern_matches_the_whole_answer_or_a_part_of_it():
    assert Regex(pattern=r"\d+")("", "42", None) == 1.0
    assert Regex(pattern=r"\d+")("", "it is 42", None) == 0.0
    assert Regex(pattern=r"\d+", where="search")("", "it is 42", None) == 1.0
    assert Regex(pattern=r"<a>.*</a>")("", "<a>1\n2</a>", None) == 1.0
    assert Regex(pattern=r"<a>.*</a>", is_multiline=False)("", "<a>1\n2</a>", None) == 0.0
    assert Regex()("", "yes", {"pattern": "yes|no"}) == 1.0
    assert Regex()("", "perhaps", "yes|no") == 0.0


def test_a_pattern_that_backtracks_without_end_is_stopped():
    began = time.monotonic()
    with pytest.raises(MainspringError, match="took more than"):
        Regex(pattern=r"(a|aa)+c", timeout_s=0.1)("", "a" * 60, None)
    assert time.monotonic() - began < 3


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="no regular expression"):
        Regex(pattern="(")("", "", None)


@pytest.mark.parametrize(
    ("answer", "worth"),
    [
        ('{"n": 3}', 1.0),
        ('```json\n{"n": 3}\n```', 1.0),
        ('{"n": -3}', 0.25),
        ("[]", 0.25),
        ("", 0.0),
        ('{"n": 3', 0.0),
        ('here: {"n": 3}', 0.0),
        ('{"n": NaN}', 0.0),
        ("[" * 100_000, 0.0),
    ],
)
def test_json_of_the_schema_is_worth_one_and_other_json_what_is_said(answer, worth):
    assert JsonSchema(json_schema=SCHEMA, only_json=0.25)("", answer, None) == worth
    assert JsonSchema(only_json=0.25)("", answer, {"schema": json.dumps(SCHEMA)}) == worth


@pytest.mark.parametrize("schema", ["{", '{"type": "no such type"}', "[1]"])
def test_schemas_that_are_none_are_refused(schema):
    with pytest.raises(ConfigError, match="no JSON schema"):
        JsonSchema()("", "{}", schema)


def test_references_to_other_addresses_are_not_followed():
    schema = json.dumps({"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(Exception, match="Unresolvable"):
        JsonSchema()("", "{}", schema)
