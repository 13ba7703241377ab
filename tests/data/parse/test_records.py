import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.parse import parse
from mainspring.errors import DocumentError


def text_of(value, format_name="json"):
    return parse(json.dumps(value).encode(), "d.json", format_name).text


def test_values_stand_under_the_keys_that_lead_to_them():
    value = {
        "name": "lamp",
        "size": {"height": 3, "unit": "m"},
        "tags": ["a", "b"],
        "old": True,
        "none": None,
    }
    assert text_of(value) == "name: lamp\nsize.height: 3\nsize.unit: m\ntags: a, b\nold: true"


def test_the_entries_of_a_list_are_paragraphs():
    parsed = parse(b'[{"a": 1}, {"a": 2, "b": [{"c": 3}]}]', "d.json", "json")
    assert parsed.text == "a: 1\n\na: 2\nb.c: 3"
    assert [block.kind for block in parsed.blocks] == ["paragraph", "paragraph"]


def test_a_line_of_json_lines_is_a_record():
    assert parse(b'{"a": "x"}\n\n{"a": "y"}\n', "d.jsonl", "jsonl").text == "a: x\n\na: y"


@pytest.mark.parametrize(
    ("data", "format_name", "reason"),
    [
        (b"{", "json", "not JSON"),
        (b'{"a": 1}\n{"a": }', "jsonl", "line 2: not JSON"),
        (b"{}", "json", "holds no text"),
        (b"[" * 100_000, "json", "not JSON"),
        (b'{"a":' * 990 + b"1" + b"}" * 990, "json", "nested too deeply|not JSON"),
        (rb'{"a": "\ud800"}', "json", r"half a character \(U\+D800"),
        (b"1" * 5_000, "json", "not JSON"),
        (b'{"a": "\xff"}', "json", "byte 7 is 0xFF"),
    ],
    ids=["open", "line", "empty", "deep", "deep objects", "surrogate", "huge number", "encoding"],
)  # fmt: skip
def test_what_is_not_json_is_refused_with_its_place(data, format_name, reason):
    with pytest.raises(DocumentError, match=reason):
        parse(data, "d.json", format_name)


LEAF = st.one_of(st.integers(), st.text("abc é", min_size=1).filter(str.strip), st.booleans())
JSON = st.recursive(
    LEAF, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("xyz", min_size=1), inner)),
    max_leaves=12,
)  # fmt: skip


def leaves(value):
    if isinstance(value, dict | list):
        return [
            leaf for inner in (value.values() if isinstance(value, dict) else value) for leaf in leaves(inner)
        ]
    return [value if isinstance(value, str) else json.dumps(value)]


@given(JSON.filter(leaves))
def test_every_value_is_found_in_order(value):
    text, at = text_of(value), 0
    for leaf in leaves(value):
        found = " ".join(leaf.split())
        at = " ".join(text.split()).index(found, at) + len(found)
