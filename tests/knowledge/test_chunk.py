import itertools

from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.parse import parse
from mainspring.knowledge import sentences
from mainspring.knowledge.chunk import ChunkSettings, chunk, embed_text

WORDS = st.lists(
    st.sampled_from(["Alpha", "beta", "gamma.", "delta!", "e.g.", "v1.2", "long" * 9]),
    min_size=1,
    max_size=40,
)
BLOCKS = st.one_of(
    WORDS.map(" ".join),
    WORDS.map(lambda words: "\n".join(f"- {word}" for word in words)),
    st.integers(1, 3).map(lambda level: "#" * level + " Head"),
    WORDS.map(lambda words: "```\n" + "\n".join(words) + "\n```"),
)


@given(st.lists(BLOCKS, min_size=1, max_size=8), st.integers(50, 200))
def test_chunks_are_exact_ordered_within_the_limit_and_lose_no_sentence(blocks, limit):
    parsed = parse("\n\n".join(blocks).encode(), "d.md", "markdown")
    spans = chunk(parsed, ChunkSettings(max_characters=limit))
    assert all(0 < span.end - span.start <= limit for span in spans)
    assert all(before.end <= after.start for before, after in itertools.pairwise(spans))
    for block in parsed.blocks:
        if block.kind not in ("paragraph", "list"):
            continue
        for first, last in sentences.split(parsed.text[block.start : block.end]):
            start, end = first + block.start, last + block.start
            inside = [span for span in spans if span.start < end and start < span.end]
            assert end - start > limit or len(inside) == 1
            covered = "".join(parsed.text[max(start, s.start) : min(end, s.end)] for s in inside)
            assert "".join(covered.split()) == "".join(parsed.text[start:end].split())


def test_code_stands_alone_and_headings_lead_to_a_chunk():
    parsed = parse(b"# A\n\n## B\n\nRun this.\n\n```\nx = 1\n```\n\nThen that.\n", "d.md", "markdown")
    spans = chunk(parsed, ChunkSettings())
    assert [(parsed.text[s.start : s.end], s.heading) for s in spans] == [
        ("Run this.", "A > B"),
        ("x = 1", "A > B"),
        ("Then that.", "A > B"),
    ]


def test_paragraphs_of_a_section_share_a_chunk_but_sections_do_not():
    parsed = parse(b"# A\n\nOne.\n\nTwo.\n\n# B\n\nThree.\n", "d.md", "markdown")
    assert [parsed.text[s.start : s.end] for s in chunk(parsed, ChunkSettings())] == [
        "One.\n\nTwo.",
        "Three.",
    ]


def test_a_document_of_headings_alone_can_still_be_found():
    parsed = parse(b"# A\n\n# B\n", "d.md", "markdown")
    assert [parsed.text[s.start : s.end] for s in chunk(parsed, ChunkSettings())] == ["A\n\nB"]


def test_what_is_embedded_says_where_a_chunk_stands_without_repeating_the_title():
    assert embed_text("Tea", "Tea > Storage", "In a tin.") == "Tea: Storage: In a tin."
    assert embed_text("Tea", "", "In a tin.") == "Tea: In a tin."
