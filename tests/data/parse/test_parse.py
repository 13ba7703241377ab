import contextlib
import time

import pytest

from mainspring.data.parse import parse
from mainspring.errors import DocumentError

DOCUMENT = """# Title

One two three.

- first
- second

```
x = 1
```

## Sub

| a | b |
|---|---|
| 1 | 2 |
"""


def test_blocks_say_exactly_where_they_stand():
    parsed = parse(DOCUMENT.encode(), "d.md", "markdown")
    found = [
        (block.kind, parsed.text[block.start : block.end], block.heading_path) for block in parsed.blocks
    ]
    assert found == [
        ("heading", "Title", ()),
        ("paragraph", "One two three.", ("Title",)),
        ("list", "- first\n- second", ("Title",)),
        ("code", "x = 1", ("Title",)),
        ("heading", "Sub", ("Title",)),
        ("table", "| a | b |\n| 1 | 2 |", ("Title", "Sub")),
    ]
    assert parsed.title == "Title"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"abc\0def", "NUL"),
        (b"Stra\xdfe", r"not UTF-8 text \(byte 4 is 0xDF\)"),
        (b"\xff\xfeabc", "not UTF-16"),
        (b"\xff\xfea\0\0\0", "NUL characters"),
        (b"\xff\xfe\0\xd8", "not UTF-16"),
        (b"", "is empty"),
        (b" \n\t\r\n", "is empty"),
        (b"![only a picture](x.png)\n", "holds no text"),
    ],
)
def test_what_is_not_a_text_is_refused_with_its_reason(data, reason):
    with pytest.raises(DocumentError, match=reason):
        parse(data, "d.md", "markdown")


def test_a_document_over_the_limit_is_refused():
    with pytest.raises(DocumentError, match="11 bytes; documents may have 10"):
        parse(b"a" * 11, "d.txt", "plain", max_bytes=10)


def test_an_unknown_format_names_the_known_ones():
    with pytest.raises(DocumentError, match="markdown, rst, plain"):
        parse(b"a", "d.ods", "ods")


def test_a_byte_order_mark_and_windows_line_ends_leave_no_trace():
    assert parse(b"\xef\xbb\xbfone\r\ntwo\r\n\r\nthree", "d.txt", "plain").text == "one\ntwo\n\nthree"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_says_how_a_text_is_encoded(encoding):
    mark = "\ufeff" if encoding in {"utf-16-le", "utf-16-be"} else ""
    assert parse((mark + "Für Elise 🎹").encode(encoding), "d.txt", "plain").text == "Für Elise 🎹"


def test_plain_text_is_not_interpreted():
    text = "# not a heading\n\n*stars* and `ticks` [stay](here)"
    assert parse(text.encode(), "d.txt", "plain").text == text


@pytest.mark.parametrize(
    "piece", ["**a ", "__a ", "[", "[a](", "`a ", "<a ", "<!-- ", "|a", "*a ", "a. ", ">", "- a\n"]
)
@pytest.mark.parametrize("format_name", ["markdown", "rst"])
def test_hostile_repetition_costs_no_more_than_its_length(piece, format_name):
    start = time.process_time()
    with contextlib.suppress(DocumentError):
        parse((piece * 5_000).encode(), "d", format_name)
    assert time.process_time() - start < 2
