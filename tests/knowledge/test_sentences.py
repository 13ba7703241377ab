import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.knowledge import sentences


def parts(text):
    return [text[start:end] for start, end in sentences.split(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is here. Two is there! Three?", ["One is here.", "Two is there!", "Three?"]),
        (
            "Works with 3.8-3.12 and h11 0.11.x too. Next.",
            ["Works with 3.8-3.12 and h11 0.11.x too.", "Next."],
        ),
        ("Tools, e.g. Click, are fine. Mr. Fox agrees.", ["Tools, e.g. Click, are fine.", "Mr. Fox agrees."]),
        ("It runs on Python 3. The rest follows.", ["It runs on Python 3.", "The rest follows."]),
        ("Written by J. Doe in 2001.", ["Written by J. Doe in 2001."]),
        ("(It was slow.) Now it is not.", ["(It was slow.)", "Now it is not."]),
        ("Intro:\n- one\n  more\n- two\n1. three", ["Intro:", "- one\n  more", "- two", "1. three"]),
        ("Uses asyncio. pip installs it.", ["Uses asyncio.", "pip installs it."]),
    ],
)
def test_sentences_end_where_a_reader_says_so(text, expected):
    assert parts(text) == expected


@given(st.text(alphabet="aB1.!? \n-*)", max_size=60))
def test_sentences_cover_all_but_blanks_in_order(text):
    spans = sentences.split(text)
    assert "".join(text[start:end] for start, end in spans).split() == text.split() or "".join(
        "".join(text[start:end] for start, end in spans).split()
    ) == "".join(text.split())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


@given(st.text(alphabet="aB1. \n-e", max_size=40), st.text(alphabet="aB1. \n-e", max_size=20))
def test_finished_sentences_do_not_change_when_text_arrives(text, more):
    early, late = sentences.split(text)[:-1], sentences.split(text + more)
    assert late[: len(early)] == early


def test_terms_meet_over_endings_compounds_and_accents():
    assert sentences.terms("The torch-based libraries") & sentences.terms("library for Torch") == {
        "librar",
        "torch",
    }
    assert sentences.terms("Čertík") == sentences.terms("certik")
    assert "3.8" in sentences.terms("tested on 3.8-3.12")
    assert "8" not in sentences.terms("Python 3.8")
    assert sentences.terms("what is the of") == set()
