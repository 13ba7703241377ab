import pytest

from mainspring.data.document import Document
from mainspring.data.pii.redact import pseudonym
from mainspring.data.rules.base import make
from mainspring.errors import ConfigError

TEXT = "Write to ann@example.org or call +44 20 7946 0018 - not Ann@Example.org!"
KEY = "a key of some length"


def run(text=TEXT, meta=None, **settings):
    return make("pii", settings)(Document(id="1", text=text, meta=meta or {}))


def test_what_is_found_is_masked_by_its_kind_and_counted():
    outcome = run()
    assert outcome.document is not None
    assert outcome.document.text == "Write to <EMAIL> or call <PHONE> - not <EMAIL>!"
    assert (outcome.reason, outcome.numbers) == ("pii_redacted", {"email": 2, "phone": 1})


def test_each_kind_has_its_policy():
    outcome = run(default="keep", policies={"phone": "mask"})
    assert outcome.document is not None
    assert outcome.document.text == TEXT.replace("+44 20 7946 0018", "<PHONE>")


def test_a_hash_is_the_same_for_the_same_address_and_another_with_another_key(monkeypatch):
    monkeypatch.setenv("MAINSPRING_PII_KEY", KEY)
    outcome = run(policies={"email": "hash"})
    assert outcome.document is not None
    hashed = f"<EMAIL:{pseudonym('ann@example.org', KEY.encode())}>"
    assert outcome.document.text == f"Write to {hashed} or call <PHONE> - not {hashed}!"
    monkeypatch.setenv("MAINSPRING_PII_KEY", KEY + "!")
    other = run(policies={"email": "hash"})
    assert other.document is not None
    assert hashed not in other.document.text


@pytest.mark.parametrize("key", ["", "short", "x" * 65])
def test_a_hash_without_a_good_key_is_an_error_that_names_the_variable(monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(ConfigError, match=f"MY_KEY; it has {len(key)}"):
        run(policies={"email": "hash"}, key_variable="MY_KEY")


def test_how_a_number_is_written_makes_no_difference_to_its_pseudonym():
    assert pseudonym("+44 20-79", b"key") == pseudonym("+442079", b"key") != pseudonym("+442078", b"key")


def test_a_document_is_dropped_for_one_kind_and_the_sample_shows_nothing_of_any():
    outcome = run(policies={"phone": "drop"})
    assert outcome.document is None
    assert (outcome.reason, outcome.numbers) == ("holds_pii", {"email": 2, "phone": 1})
    assert "<PHONE>" in outcome.sample
    assert "example" not in outcome.sample
    assert "7946" not in outcome.sample


def test_messages_are_redacted_with_the_text_and_nothing_else_of_meta():
    messages = [{"role": "user", "content": "I am ann@example.org"}]
    outcome = run("I am ann@example.org", {"messages": messages, "author": "bob@example.org"})
    assert outcome.document is not None
    assert outcome.document.meta == {
        "messages": [{"role": "user", "content": "I am <EMAIL>"}],
        "author": "bob@example.org",
    }
    assert outcome.numbers == {"email": 1}


def test_what_stands_only_in_a_message_is_redacted_too():
    outcome = run("nothing here", {"messages": [{"role": "user", "content": "ann@example.org"}]})
    assert outcome.document is not None
    assert outcome.document.meta["messages"][0]["content"] == "<EMAIL>"


def test_a_document_without_any_stays_the_very_same():
    document = Document(id="1", text="Nothing to see here, 1 of 2.")
    assert make("pii")(document).document is document


def test_redacting_twice_changes_nothing_more():
    once = run().document
    assert once is not None
    assert make("pii")(once).document is once
