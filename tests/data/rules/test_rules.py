"""What all rules have in common: where they come from, settings that say what they are, and no bad surprise."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.document import Document
from mainspring.data.rules import base
from mainspring.data.rules.base import RULES, make, rule_module
from mainspring.errors import ConfigError

FOLDER = Path(base.__file__).parent
SHIPPED = [name for name in RULES if (FOLDER / f"{name}.py").exists()]  # other tests bring rules of their own
FREE = [name for name in SHIPPED if name != "quality"]  # which needs a trained classifier
MADE = {name: make(name) for name in FREE}
HOSTILE = [
    "a", " ", "a@", "1", "1 ", ".", "\n", "-", "(", "&", "&amp;", "é", "Ã©", ".x", "aa11", "eyJaaaaaaaaa.", "https://a:",
    "token=", "-----BEGIN PRIVATE KEY-----", "born ", "1.", "f:", '".', "[", "'a@a.bc", "+1-", "| ", "4444 ",
    "a\n", "\x00", "call 1", "a.", "[1]", "{", "\u200b", "<EMAIL>", "\ufffd", "the ", "AKIA", "sk-",
]  # fmt: skip
"""Each repeated: what makes an unwary regular expression take minutes."""


@pytest.mark.parametrize("name", SHIPPED)
def test_every_rule_names_its_source_its_edition_and_what_can_be_set(name):
    module = rule_module(name)
    assert "Paper: " in module.__doc__ or "Source: " in module.__doc__
    assert module.EDITION >= 1
    assert module.Rule.name == name
    assert all(field.description for field in module.Settings.model_fields.values())


@pytest.mark.parametrize("name", FREE)
def test_a_setting_that_there_is_not_is_an_error(name):
    with pytest.raises(ConfigError, match="is not a configuration key"):
        make(name, {"no_such_setting": 1})


@pytest.mark.parametrize("name", FREE)
@given(text=st.text(st.characters()) | st.text("a. \n#-…@1{[", max_size=200))
@settings(max_examples=20)
def test_any_text_is_decided_on_and_always_in_the_same_way(name, text):
    document = Document(id="1", text=text)
    outcome = MADE[name](document)
    assert MADE[name](document) == outcome
    if outcome.document is None:
        assert outcome.reason
    elif not outcome.reason:
        assert outcome.document.text == text


@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_no_text_takes_a_rule_long(unit):
    assert slowest(unit, 30_000) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_no_text_of_a_megabyte_takes_a_rule_long(unit):
    assert slowest(unit, 1_000_000) < 5.0


def slowest(unit, size):
    """Seconds of the processor that the slowest rule takes, also where the end is unlike the rest."""
    text = unit * (size // len(unit))
    times = []
    for rule in MADE.values():
        for document in (Document(id="1", text=text), Document(id="1", text=text + "!")):
            began = time.process_time()
            rule(document)
            times.append(time.process_time() - began)
    return max(times)
