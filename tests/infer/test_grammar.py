import json
import threading

import numpy as np
import pytest

from fakes_bpe import make_tokenizer
from mainspring.errors import ConfigError
from mainspring.infer.grammar import Grammars
from mainspring.schema import Constraint

TOKENIZER = make_tokenizer()
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 10}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def grammars():
    return Grammars(TOKENIZER)


def compile_(grammars, kind, value=None):
    return grammars.compile(Constraint(kind=kind, value=value))


def allowed(mask):
    return np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")).tolist()


def takes(grammar, text):
    """Whether a grammar goes along with a text and lets it end there."""
    state = grammar.start()
    for token_id in TOKENIZER.encode(text):
        if token_id not in allowed(state.mask()):
            return False
        state.accept(token_id)
    return TOKENIZER.end_ids[0] in allowed(state.mask())


@pytest.mark.parametrize(
    ("kind", "value", "right", "wrong"),
    [
        ("json_schema", PERSON, '{"name": "Al", "age": 31}', '{"name": "Al", "age": 3}'),
        ("json_schema", PERSON, '{"name": "<|im_end|>", "age": 31}', '{"name": "Al"}'),
        ("json_object", None, '{"a": [1, {"b": null}]}', "[1]"),
        ("regex", "[0-9]{3}-[a-f]+", "123-ab", "12-ab"),
        ("regex", "^ab$", "ab", "abc"),
        ("regex", r"\d{2}[\w-]\\d", "12-\\d", "12-5"),
        ("regex", r"\d+", "12", "١٢"),
        ("regex", r"[\w.]+\W[^\d]\D", "a_1. xy", "ä_1. xy"),
        ("json_schema", {"type": "string", "pattern": r"^\d{3}$"}, '"123"', '"١٢٣"'),
        (
            "json_schema",
            {
                "properties": {
                    "pattern": {
                        "type": "object",
                        "patternProperties": {r"^\d$": {"type": "null"}},
                        "additionalProperties": False,
                    }
                },
                "required": ["pattern"],
            },
            '{"pattern": {"1": null}}',
            '{"pattern": {"٢": null}}',
        ),
        ("lark", 'start: "a" rest\nrest: "b" | "c" rest', "accb", "acc"),
        ("choice", ["yes", 'no "way"', "yes, sir"], 'no "way"', "no"),
        ("choice", ["yes", "yes, sir"], "yes", "yes,"),
        ("choice", ["größe\n"], "größe\n", "größe"),
    ],
)
def test_what_matches_may_come_and_end_and_what_does_not_may_not(grammars, kind, value, right, wrong):
    grammar = compile_(grammars, kind, value)
    assert takes(grammar, right)
    assert not takes(grammar, wrong)


def test_forced_ids_spell_what_must_come_and_the_end_is_known_at_once(grammars):
    state = compile_(grammars, "json_schema", PERSON).start()
    forced = state.forced()
    assert TOKENIZER.decode(forced).startswith('{"name":')
    for token_id in forced:
        state.accept(token_id)
    for token_id in TOKENIZER.encode('{"name": "a", "age": 22}'[len(TOKENIZER.decode(forced)) :]):
        assert not state.is_done
        state.accept(token_id)
    assert state.is_done
    assert allowed(state.mask()) == list(TOKENIZER.end_ids)


def test_special_tokens_are_never_allowed_within_text(grammars):
    state = compile_(grammars, "regex", ".*").start()
    specials = set(TOKENIZER.special.values())
    assert specials.intersection(allowed(state.mask())) == set(TOKENIZER.end_ids)


def test_an_id_that_is_not_allowed_is_an_error_of_this_sequence_alone(grammars):
    grammar = compile_(grammars, "choice", ["abc"])
    state, other = grammar.start(), grammar.start()
    with pytest.raises(ConfigError, match="grammar of this reply went wrong"):
        state.accept(TOKENIZER.encode("z")[0])
    assert other.mask().any()


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("json_schema", {"type": "array", "uniqueItems": True}, "uniqueItems"),
        ("json_schema", {"properties": {"a": {"items": {"not": {}}}}}, "#/properties/a/items cannot"),
        ("json_schema", {"x-guidance": {"lenient": True}, "type": "array", "uniqueItems": True}, "uniqueItems"),
        ("json_schema", {"type": "string", "format": "klingon"}, "klingon"),
        ("json_schema", {"type": "objekt"}, "objekt"),
        ("json_schema", {"anyOf": [{"extends": {}}]}, "#/anyOf/0 has the keyword 'extends'"),
        ("json_schema", {"$ref": "http://elsewhere/x"}, "elsewhere"),
        ("json_schema", {"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ("json_schema", [1], "must be an object"),
        ("json_schema", {"enum": ["x" * 1_000_000]}, "is the limit"),
        ("regex", "(", "unclosed"),
        ("regex", "", "not empty"),
        ("regex", 3, "not empty"),
        ("lark", "start: nowhere", "nowhere"),
        ("lark", 'start: %json {"uniqueItems": true, "x-guidance": {"lenient": true}}', "uniqueItems"),
        ("choice", [], "list of texts"),
        ("choice", ["a", ""], "list of texts"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_to_is_refused_and_named(grammars, kind, value, said):
    with pytest.raises(ConfigError, match=said):
        compile_(grammars, kind, value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("regex", "\U0004ac2b"),
        ("regex", "[\U0004ac2b-\U0004ac2f]"),
        ("choice", ["the \U0004ac2b"]),
        ("json_schema", {"const": {"a": "\U0004ac2b"}}),
    ],
)
def test_text_that_the_tokenizer_has_no_ids_for_is_refused(grammars, kind, value):
    partial = Grammars(make_tokenizer(lacks="\u00f1"))  # the byte F1, as byte-level vocabularies write it
    with pytest.raises(ConfigError, match=f"{kind} constraint") as refused:
        compile_(partial, kind, value)
    assert "tokenizer has no ids for" in str(refused.value)
    assert compile_(grammars, kind, value)


@pytest.mark.parametrize("depth", [300, 600, 1_200, 5_000])
def test_a_schema_of_many_levels_is_refused_and_does_not_end_in_an_error_of_ours(grammars, depth):
    schema = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    with pytest.raises(ConfigError, match="json_schema"):
        grammars.compile(Constraint(kind="json_schema", value=schema))


def test_a_property_that_is_called_like_an_old_keyword_is_no_keyword(grammars):
    assert compile_(grammars, "json_schema", {"properties": {"extends": {"type": "string"}}})


def test_the_same_constraint_is_compiled_once_and_the_cache_is_bounded(monkeypatch):
    monkeypatch.setattr("mainspring.infer.grammar.MAX_CACHED", 3)
    grammars = Grammars(TOKENIZER)
    first = compile_(grammars, "json_schema", PERSON)
    for number in range(5):
        compile_(grammars, "choice", [f"n{number}"])
        assert compile_(grammars, "json_schema", json.loads(json.dumps(PERSON))) is first
    assert grammars._compiled.cache_info().currsize == 3


def test_many_threads_may_compile_at_once():
    grammars, found = Grammars(TOKENIZER), []
    threads = [
        threading.Thread(target=lambda: found.append(compile_(grammars, "json_schema", PERSON)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(takes(each, '{"name": "Al", "age": 31}') for each in found)
    assert len(found) == 8


def test_a_tokenizer_without_an_end_is_refused():
    tokenizer = make_tokenizer()
    tokenizer.end_ids = ()
    with pytest.raises(ConfigError, match="end token"):
        compile_(Grammars(tokenizer), "json_object")
