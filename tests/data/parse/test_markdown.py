import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.parse import parse


def text_of(raw):
    return parse(raw.encode(), "d.md", "markdown").text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ('See [the guide](https://x.org/a_(b) "t") now.', "See the guide now."),
        ("See [the guide][g] and [g].\n\n[g]: https://x.org", "See the guide and g."),
        ("An array[0] and [default] stay.", "An array[0] and [default] stay."),
        ("[![CI](a.svg)](b) ![x](y.png)\n\nText.", "Text."),
        ("[![CI][c]][d]\nText.\n\n[c]: a\n[d]: b", "Text."),
        ('<p align="center">\n<img src="x"\n width=3>\n<b>Bold</b> words</p>', "Bold words"),
        ("Before <!-- gone --> after.\n\n<!--\nall\ngone\n-->\nRest.", "Before  after.\n\nRest."),
        (
            "**bold** *it* __b__ _i_ but snake_case_name and 2 * 3 * 4",
            "bold it b i but snake_case_name and 2 * 3 * 4",
        ),
        ("Call `f(**kw)` with `List<int>` and `a_b_`.", "Call f(**kw) with List<int> and a_b_."),
        ("Fish &amp; chips &lt; 3, a \\* b, x&copy=1", "Fish & chips < 3, a * b, x&copy=1"),
        ("<https://x.org/a> is open", "https://x.org/a is open"),
        ("> [!NOTE]\n> Mind the gap.", "Mind the gap."),
        ("One.\n\n---\n\nTwo.", "One.\n\nTwo."),
    ],
)
def test_markup_goes_and_words_stay(raw, clean):
    assert text_of(raw) == clean


@pytest.mark.parametrize(
    ("raw", "heading"),
    [("Big\n===\n\nText", "Big"), ("## Big ##\nText", "Big"), ('<h1 align="c">Big</h1>\n\nText', "Big")],
)
def test_headings_are_found_in_every_spelling(raw, heading):
    parsed = parse(raw.encode(), "d.md", "markdown")
    assert parsed.title == heading
    assert parsed.blocks[1].heading_path == (heading,)


def test_code_is_kept_as_it_is_even_when_it_looks_like_markup():
    raw = "Run:\n\n```html\n<!-- kept -->\n# [a](b) **c**\n\n~~~\n```\n\nDone."
    parsed = parse(raw.encode(), "d.md", "markdown")
    code = next(block for block in parsed.blocks if block.kind == "code")
    assert parsed.text[code.start : code.end] == "<!-- kept -->\n# [a](b) **c**\n\n~~~"


def test_a_list_goes_on_over_blank_lines_and_continuations():
    parsed = parse(b"- one\n  more\n\n- two\n\nAfter.", "d.md", "markdown")
    assert [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks] == [
        ("list", "- one\n  more\n- two"),
        ("paragraph", "After."),
    ]


def test_front_matter_is_not_text():
    assert text_of("---\ntitle: x\ntags: [a]\n---\n# Head\n\nBody.") == "Head\n\nBody."


@given(
    st.text(alphabet="ab.,;:!?()'\"0123456789 éß", min_size=1, max_size=80).filter(
        lambda s: s.strip(" ").isascii() or s.strip()
    )
)
def test_a_line_without_markup_survives_verbatim(line):
    line = "Word " + " ".join(line.split()) + " end."
    assert line in text_of(f"# H\n\n[x](y) ![z](w)\n{line}\n**bold** `code`\n")
