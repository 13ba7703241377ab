import pytest

from mainspring.data.parse import parse


def text_of(raw):
    return parse(raw.encode(), "d.rst", "rst").text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("See `the guide\n<https://x.org>`_ and `other`_.", "See the guide and other."),
        (
            "Uses asyncio_ and keeps_ some_name.\n\n.. _asyncio: https://x",
            "Uses asyncio and keeps_ some_name.",
        ),
        ("As in :pep:`440` and :ref:`here <there>`.", "As in 440 and here."),
        ("``f(**kw)`` *it* **bold** 2 * 3", "f(**kw) it bold 2 * 3"),
        ("|Logo|\n\nText |v|.\n\n.. |Logo| image:: x.png\n.. |v| replace:: 1.2", "Text 1.2."),
        (".. image:: a.png\n   :target: b\n.. image:: c.png\n\nText.", "Text."),
        (".. a comment\n   over lines\n\nText.", "Text."),
        (".. note:: Mind the\n   gap.\n\nText.", "Mind the\ngap.\n\nText."),
        ("Known [1]_ fact.", "Known fact."),
    ],
)
def test_markup_goes_and_words_stay(raw, clean):
    assert text_of(raw) == clean


def test_headings_nest_in_the_order_their_styles_appear():
    parsed = parse(b"====\nTop\n====\n\nSub\n---\n\nText.\n\nNext\n----\n\nMore.", "d.rst", "rst")
    assert [block.heading_path for block in parsed.blocks if block.kind == "paragraph"] == [
        ("Top", "Sub"),
        ("Top", "Next"),
    ]


@pytest.mark.parametrize(
    "raw",
    ["Run::\n\n    a  b\n\n    c\n\nDone.",
     "Run:\n\n.. code:: sh\n   :caption: x\n\n   a  b\n\n   c\n\nDone.",
     "Run:\n\n::\n\n    a  b\n\n    c\n\nDone."],
)  # fmt: skip
def test_code_is_kept_with_its_inner_blanks(raw):
    parsed = parse(raw.encode(), "d.rst", "rst")
    assert [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks] == [
        ("paragraph", "Run:"),
        ("code", "a  b\n\nc"),
        ("paragraph", "Done."),
    ]


def test_tables_keep_their_rows_and_lose_their_rules():
    parsed = parse(b"=== ===\nA   B\n=== ===\n1   2\n=== ===\n\n+---+\n| x |\n+---+\n", "d.rst", "rst")
    assert [parsed.text[block.start : block.end] for block in parsed.blocks] == ["A   B\n1   2", "| x |"]
