import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.parse.encoding import characters, declared_by_page
from mainspring.errors import DocumentError


@pytest.mark.parametrize(
    ("label", "encoding"),
    [
        ("windows-1252", "cp1252"), ("ISO-8859-1", "cp1252"), ("latin1", "cp1252"), ("koi8-r", "koi8-r"),
        ("gb2312", "gb18030"), ("Shift_JIS", "cp932"), ("euc-kr", "cp949"), ("utf8", "utf-8"), ("us-ascii", "ascii"),
    ],
)  # fmt: skip
def test_a_declared_encoding_is_read_as_browsers_read_it(label, encoding):
    text = {"koi8-r": "Привет", "gb18030": "你好", "cp932": "日本", "cp949": "안녕", "ascii": "plain"}.get(
        encoding, "naïve – “quoted”"
    )
    assert characters(text.encode(encoding), "d", label) == text


@pytest.mark.parametrize("label", ["utf-7", "unicode_escape", "hex", "rot13", "idna", "klingon"])
def test_an_encoding_that_is_not_of_text_is_refused_by_its_name(label):
    with pytest.raises(DocumentError, match=f"declares the encoding '{label}'"):
        characters(b"abc", "d", label)


def test_a_byte_order_mark_goes_before_a_declaration():
    assert characters("é".encode("utf-8-sig"), "d", "windows-1252") == "é"


def test_the_byte_that_the_declared_encoding_does_not_have_is_named():
    with pytest.raises(DocumentError, match=r"d is not CP1252 text \(byte 2 is 0x81\)"):
        characters(b"ab\x81", "d", "windows-1252")


@pytest.mark.parametrize(
    ("head", "label"),
    [
        (b'<html><head><meta charset="koi8-r">', "koi8-r"),
        (b"<META http-equiv=Content-Type content='text/html; charset=gb2312'>", "gb2312"),
        (b'<?xml version="1.0" encoding="iso-8859-1"?><html>', "iso-8859-1"),
        (b"<p>charset=koi8-r", ""),
        (b" " * 3_000 + b'<meta charset="koi8-r">', ""),
    ],
)
def test_a_page_declares_its_encoding_at_its_start(head, label):
    assert declared_by_page(head) == label


@given(st.text().filter(lambda text: "\0" not in text and not text.startswith("\ufeff")))
def test_what_is_encoded_is_decoded(text):
    assert characters(text.encode("utf-8"), "d") == text
    assert characters(text.encode("utf-16"), "d") == text
