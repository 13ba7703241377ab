"""Cutting against a formula that has the whole file before it."""

import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mainspring.data.feeds import text
from mainspring.data.feeds.text import cuts, documents

PIECES = st.sampled_from(
    ["a", "é", "🙂 x", " ", "\t", "\n", "\n", "\n\n", "\r\n", "<eot>", "<eot>\n", "\n<eot>\n", "\n<eot> \r\n"]
)


def plain(data: bytes, by: str) -> list[tuple[int, bytes]]:
    """(start, bytes) of the documents: lines gathered until one separates, blank gatherings left out."""
    found, start, held, was_blank, at = [], 0, [], False, 0
    for line in re.findall(rb"[^\n]*\n|[^\n]+", data):
        is_blank = not line.strip() and line.endswith(b"\n")
        if by != "paragraph" and line.strip() == by.encode():
            found.append((start, b"".join(held)))
            held, start = [], at + len(line)
        else:
            if by == "paragraph" and was_blank and not is_blank:
                found.append((start, b"".join(held)))
                held, start = [], at
            held.append(line)
        was_blank, at = is_blank, at + len(line)
    found.append((start, b"".join(held)))
    return [(start, data) for start, data in found if data.strip()]


@given(
    st.lists(PIECES, max_size=40).map("".join), st.integers(1, 30), st.sampled_from(["paragraph", "<eot>"])
)
@example("a\n\n\n \nb", 3, "paragraph")
@example("<eot>\n<eot>", 1, "<eot>")
def test_documents_are_the_same_however_the_file_is_cut(content, part_bytes, by):
    data = content.encode()
    stream = io.BytesIO(data)
    ranges = cuts(stream, len(data), part_bytes, by)
    assert [end for _, end in ranges[:-1]] == [start for start, _ in ranges[1:]]
    found = [each for start, end in ranges for each in documents(stream, start, end, by, 10**6)]
    assert [(each.start, each.data) for each in found] == plain(data, by)


@pytest.mark.parametrize("by", ["paragraph", "<eot>"])
def test_lines_longer_than_what_is_read_at_a_time_are_read_alike(monkeypatch, by):
    data = b"long line of words\n\n<eot>\nanother long one without an end <eot>\n\n<eot>\n  <eot>\nlast"
    monkeypatch.setattr(text, "LINE_BYTES", 10)
    ranges = cuts(io.BytesIO(data), len(data), 1, by)
    found = [each for start, end in ranges for each in documents(io.BytesIO(data), start, end, by, 10**6)]
    assert [(each.start, each.data) for each in found] == plain(data, by)


def test_parts_of_a_large_file_have_about_the_size_that_is_set():
    data = b"".join(b"paragraph %d of some words\n\n" % i for i in range(4_000))
    ranges = cuts(io.BytesIO(data), len(data), 10_000, "paragraph")
    assert (len(ranges), ranges[0][0], ranges[-1][1]) == (len(data) // 10_000 + 1, 0, len(data))
    assert max(end - start for start, end in ranges) < 10_100
