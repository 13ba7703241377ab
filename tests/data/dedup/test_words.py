"""Simplified words against the plain formula, one text and one character at a time."""

import re
import string
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mainspring.data.dedup.words import FOREIGN_PUNCTUATION, read_words

CHARACTERS = st.one_of(
    st.sampled_from(
        "aB éÉñ 012٣\uff19 .,،\u066b '’-_\t\n\r\x00\x1c\x7f\x85\xa0\u2003\u2028\u3000 中文 e\u0301\u0300 ΣΑΣ İßﬁ 😀"
    ),
    st.characters(),
)
TEXTS = st.lists(st.text(CHARACTERS, max_size=30), max_size=6)


def plain_words(text: str) -> list[str]:
    lowered = re.sub("\\d+([.,\u060c\u066b\u2396\u2397\u2398]\\d+)?", "0", text.lower())
    controls = [*range(9), *range(11, 32), *range(127, 160)]
    outside = string.punctuation + FOREIGN_PUNCTUATION + "".join(map(chr, controls))
    spaced = "".join(" " if each in outside else each for each in lowered)
    apart = unicodedata.normalize("NFD", spaced)
    return "".join(each for each in apart if unicodedata.category(each) != "Mn").split()


def found_words(texts: list[str], unit: str) -> list[list[str]]:
    words = read_words(texts, unit)  # type: ignore[arg-type]
    found: list[list[str]] = [[] for _ in texts]
    for start, end, text in zip(words.starts, words.ends, words.texts, strict=True):
        found[text].append(words.buffer[start:end].tobytes().decode("utf-8", "surrogatepass"))
    return found


@settings(deadline=None)
@given(TEXTS)
@example(["1.2.3,4 5. 6", "v3.14"])
@example(["", " \n", "a\n\nb", "\x1c"])
@example(["\u0301", "a \u0301 b", "\ud800 x"])
def test_words_are_those_of_the_plain_formula(texts: list[str]):
    assert found_words(texts, "words") == [plain_words(text) for text in texts]


@settings(deadline=None)
@given(TEXTS)
def test_characters_are_the_words_letter_by_letter(texts: list[str]):
    assert found_words(texts, "characters") == [list("".join(plain_words(text))) for text in texts]


@settings(deadline=None)
@given(TEXTS)
def test_ascii_alone_and_among_other_texts_gives_the_same_words(texts: list[str]):
    ascii_texts = [text.encode("ascii", "ignore").decode() for text in texts]
    assert found_words([*ascii_texts, "é"], "words")[:-1] == found_words(ascii_texts, "words")


def test_one_byte_stands_between_the_words_of_a_text():
    words = read_words(["Crème, 3.5 %", "a  b"], "words")
    assert words.buffer.tobytes()[words.starts[0] : words.ends[1]] == b"creme 0"
    assert words.texts.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_no_text_has_no_words(unit: str):
    assert found_words([], unit) == []
