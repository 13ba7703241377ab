import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.document import Document
from mainspring.data.rules.base import make
from mainspring.data.rules.unicode import changed_characters

rule = make("unicode")
LIKE_OURS = ftfy.TextFixerConfig(uncurl_quotes=False, fix_character_width=False, explain=False)

well = st.sampled_from(
    ["schöne Grüße", "“quoted”", "naïve café", "日本語", "plain text", "Привет", "é", "€ 5", "x & y"]
)
wrong = st.sampled_from(
    [
        "Ã¼ber",
        "â€œhiâ€\x9d",
        "l’humanitÃ©",
        "&amp;amp; &eacute;",
        "ﬁne ﬂow",
        "e\u0301",
        "a\x00b\x07",
        "\x1b[36mhi\x1b[0m",
        "don\x92t",
    ]
)
lines = st.lists(st.lists(st.one_of(well, wrong), max_size=4).map(" ".join), max_size=5).map("\n".join)


def repair(text):
    return rule.repair(text)  # type: ignore[attr-defined]


@given(lines)
def test_what_ftfy_repairs_is_repaired_as_it_does(text):
    assert repair(text) == ftfy.fix_text(text, LIKE_OURS)


@given(st.text() | lines)
@settings(max_examples=50)
def test_repairing_twice_changes_nothing_more(text):
    assert repair(repair(text)) == repair(text)


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("a\r\nb\rc\u2028d\fe", "a\nb\nc\nd\ne"),
        ("zero\u200bwidth\ufeff\u2060", "zerowidth"),
        ("left\u202eright\u2069", "leftright"),
        ("tag\U000e0041\U000e0042 text", "tag text"),
        ("half \ud83d\ude00 pair", "half \U0001f600 pair"),
        ("tab\tstays\n", "tab\tstays\n"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # noqa: RUF001
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("“curly” ｆｕｌｌ", "“curly” ｆｕｌｌ"),  # noqa: RUF001
        ("&lt;b&gt;", "<b>"),
        ("<p>a &amp; b</p>", "<p>a &amp; b</p>"),
    ],
)
def test_each_kind_of_fault_is_repaired_and_what_is_no_fault_stays(text, repaired):
    assert repair(text) == repaired


def test_a_repaired_document_says_how_many_characters_changed():
    outcome = rule(Document(id="1", text="Ã¼ber\r\nalles\x00"))
    assert outcome.document is not None
    assert (outcome.document.text, outcome.reason) == ("über\nalles", "repaired")
    assert outcome.numbers == {"changed_characters": 4}  # two for one, a carriage return, a zero byte


@given(st.text(), st.text())
def test_changed_characters_are_symmetric_and_none_between_equals(first, second):
    assert changed_characters(first, second) == changed_characters(second, first)
    assert changed_characters(first, first) == 0


def test_too_many_broken_characters_drop_the_document_and_few_do_not():
    outcome = rule(Document(id="1", text="lost \ufffd\ufffd here"))
    assert outcome.document is None
    assert outcome.reason == "broken"
    assert outcome.numbers == {"broken_fraction": 2 / 12, "max_broken_fraction": 0.005}
    assert rule(Document(id="1", text="\ufffd" + "a" * 300)).document is not None


def test_a_lone_half_character_counts_as_broken():
    assert rule(Document(id="1", text="half \ud83d only")).reason == "broken"


def test_messages_are_repaired_with_the_text():
    messages = [{"role": "user", "content": "Ã¼ber"}, {"role": "assistant", "content": None}]
    outcome = rule(Document(id="1", text="Ã¼ber", meta={"messages": messages, "license": "MIT"}))
    assert outcome.document is not None
    assert outcome.document.meta["messages"][0]["content"] == "über"
    assert outcome.document.meta["messages"][1] == messages[1]
    assert outcome.document.meta["license"] == "MIT"


def test_a_well_written_document_stays_the_very_same():
    document = Document(id="1", text="Schöne Grüße – “wie immer”.\n")
    assert rule(document).document is document
