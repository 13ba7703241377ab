import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_documents import LARGE, column, encrypted_pdf, pdf, pdf_file
from mainspring.data.parse import parse
from mainspring.data.parse.base import Raw
from mainspring.data.parse.limits import ParseLimits
from mainspring.data.parse.pdf import read
from mainspring.errors import DocumentError

PROSE = (
    "The lamp of the old harbour turns every twelve seconds, and\n"
    "it is seen for twenty miles at sea. Ann Miller poured in the\n"
    "oil every morning for thirty years."
)


def parsed_of(*pages, **limits):
    return read(Raw(data=pdf(*pages), name="d.pdf", limits=ParseLimits(**limits)))


def blocks_of(*pages):
    parsed = parsed_of(*pages)
    return [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks]


def test_lines_of_a_paragraph_run_on_and_a_space_between_lines_ends_it():
    assert blocks_of([*column(PROSE), *column("Another paragraph.", y=640)]) == [
        ("paragraph", PROSE.replace("\n", " ")),
        ("paragraph", "Another paragraph."),
    ]


def test_larger_lines_are_headings_by_the_rank_of_their_size():
    page = [
        *column("The tower", y=760, size=24),
        *column("How it turns", y=730, size=14),
        *column(PROSE),
    ]
    parsed = parsed_of(page)
    assert parsed.title == "The tower"
    assert parsed.blocks[-1].heading_path == ("The tower", "How it turns")


def test_where_much_is_large_nothing_is_a_heading():
    kinds = {kind for kind, _ in blocks_of([*column(PROSE), *column(PROSE, y=600, size=LARGE, leading=22)])}
    assert kinds == {"paragraph"}


def test_large_numbers_are_no_headings():
    assert ("paragraph", "$ 1,499.00") in blocks_of(
        [*column(PROSE), *column("$ 1,499.00", y=600, size=LARGE)]
    )


def test_words_divided_at_the_ends_of_lines_are_whole_again():
    text = (
        "A very well-known tower was con-\nfirmed to be a well-\nknown place by the Anglo-\nSaxon keepers "
        "of 1990-\n1995."
    )
    ((_, found),) = blocks_of(column(text))
    assert "confirmed to be a well-known place by the Anglo-Saxon keepers" in found
    assert "1990-" in found


def test_tables_and_forms_stay_lines():
    rows = "Name Ann Miller\nYear 1890\nLamp yes\nTower of granite, 12 m"
    assert blocks_of(column(rows)) == [("paragraph", rows)]


def test_marked_lines_are_a_list():
    found = blocks_of(
        [*column("• Pour in the oil\n• Wind up the weight\n• Sleep"), *column("Then rest.", y=600)]
    )
    assert found == [
        ("list", "• Pour in the oil\n• Wind up the weight\n• Sleep"),
        ("paragraph", "Then rest."),
    ]


NUMBERS = ("one", "two", "three", "four", "five")


def body(number):
    return column(f"Page {NUMBERS[number]} tells its own story.", y=500)


def test_what_is_repeated_at_the_edges_of_most_pages_goes():
    pages = [
        [*column("Harbour Report 2026", y=780), *body(number), *column(f"Page {number + 1} of 5", y=20)]
        for number in range(5)
    ]
    pages[0] = body(0)  # the cover has neither
    assert [text for _, text in blocks_of(*pages)] == [text for n in range(5) for _, _, _, text in body(n)]


def test_on_two_pages_what_is_repeated_may_be_text():
    pages = [[*column("Once more", y=780), *body(number)] for number in range(2)]
    assert [text for _, text in blocks_of(*pages)].count("Once more") == 2


def test_what_is_repeated_in_the_middle_of_pages_stays():
    around = [*column("a\nb\nc", y=780), *column("x\ny\nz", y=60)]
    pages = [[*around, *column("Middle line of text", y=400), *body(number)] for number in range(4)]
    assert parsed_of(*pages).text.count("Middle line of text") == 4


def test_pages_that_are_all_alike_are_read_all_the_same():
    assert parsed_of(*[column("The same words.")] * 4).text.count("The same words.") == 4


def test_a_sentence_goes_on_over_the_end_of_a_page():
    first = column("The lamp of the old harbour turns every twelve seconds, and", y=100)
    found = blocks_of(first, column("it is seen at sea.", y=700))
    assert found == [
        ("paragraph", "The lamp of the old harbour turns every twelve seconds, and it is seen at sea.")
    ]


def test_limits_and_locks_are_named():
    with pytest.raises(DocumentError, match=r"d\.pdf has 3 pages; 2 are the most"):
        parsed_of(*[column("x")] * 3, max_pages=2)
    with pytest.raises(DocumentError, match="is encrypted"):
        parse(encrypted_pdf(), "d.pdf", "pdf")
    with pytest.raises(DocumentError, match=r"no text on its 2 pages, only pictures.*OCR"):
        parse(pdf([], []), "d.pdf", "pdf")


PAGES = b"<< /Type /Pages /Count %d /Kids [%s] >>"
CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"


@pytest.mark.parametrize(
    "data",
    [
        b"plain text",
        b"%PDF-1.7\ngarbage",
        pdf(column("x"))[:200],
        pdf_file([CATALOG, PAGES % (2_000_000_000, b"2 0 R 2 0 R")]),
        pdf_file([CATALOG, *(PAGES % (4_000, b"%d 0 R %d 0 R" % (n, n)) for n in range(3, 4_000))]),
        pdf_file([CATALOG, *(PAGES % (1, b"%d 0 R" % n) for n in range(3, 50_000))]),
        pdf_file([CATALOG, PAGES % (600_000, b"3 0 R"), b"<< /Type /Page /Parent 2 0 R >>"]),
        pdf_file([CATALOG, PAGES % (1, b"3 0 R"), b"<< /Type /Page /X " + b"[" * 500_000 + b"]" * 500_000 + b" >>"]),
    ],
    ids=["text", "garbage", "cut", "endless", "doubling tree", "deep tree", "many pages", "deep array"],
)  # fmt: skip
def test_bombs_and_broken_files_are_refused_soon(data):
    with pytest.raises(DocumentError, match=r"d\.pdf"):
        parse(data, "d.pdf", "pdf", limits=ParseLimits(seconds=10))


@pytest.mark.slow
def test_a_page_that_inflates_to_gigabytes_costs_its_reader_and_is_refused():
    stretch = zlib.compressobj(9, zlib.DEFLATED, -15)
    again = stretch.compress(b"BT /F1 9 Tf (word) Tj ET\n" * 1_000_000) + stretch.flush(zlib.Z_FULL_FLUSH)
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /Font << /F1 "
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
    )
    drawn = b"\x78\xda" + again * 40  # a stretch that may follow itself, a gigabyte in all
    stream = b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(drawn) + drawn + b"\nendstream"
    data = pdf_file([CATALOG, PAGES % (1, b"3 0 R"), page, stream])
    limits = ParseLimits(seconds=3, memory_bytes=300_000_000)
    with pytest.raises(
        DocumentError, match=r"d\.pdf (broke its reader|takes more than 3 s|needs more than 300 MB)"
    ):
        parse(data, "d.pdf", "pdf", limits=limits)
    assert parse(pdf(column("Fine.")), "d.pdf", "pdf").text == "Fine."


def test_the_reason_does_not_depend_on_the_file_before():
    broken = pdf_file([CATALOG, PAGES % (2_000_000_000, b"2 0 R")])
    reasons = []
    for data in (broken, encrypted_pdf(), broken):
        with pytest.raises(DocumentError) as caught:
            parse(data, "d.pdf", "pdf")
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[2] != reasons[1]


LINE = st.lists(st.text("abcdefghijk", min_size=2, max_size=8), min_size=2, max_size=8).map(" ".join)


@given(st.lists(st.lists(LINE, min_size=1, max_size=8), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_every_word_is_found_once_and_in_order(pages):
    parsed = parsed_of(*(column("\n".join(lines)) for lines in pages))
    wanted = [word for lines in pages for line in lines for word in line.split()]
    if len(pages) < 3:  # from three on, lines may be repeated at the edges
        assert parsed.text.split() == wanted
    assert set(parsed.text.split()) <= set(wanted)
