import pytest

from fakes_documents import eml
from mainspring.data.parse import parse
from mainspring.errors import DocumentError

HEADERS = "From: Ann <ann@example.org>\nTo: bob@example.org\nDate: Mon, 02 Mar 2026 10:00:00 +0000"


def blocks_of(data):
    parsed = parse(data, "d.eml", "email")
    return [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks]


def test_the_subject_is_the_title_and_the_text_follows_who_wrote_it():
    parsed = parse(eml(text="Hello.\n\nIt turns.\n"), "d.eml", "email")
    assert parsed.title == "Lamp"
    assert parsed.text == f"Lamp\n\n{HEADERS}\n\nHello.\n\nIt turns."
    assert parsed.blocks[-1].heading_path == ("Lamp",)


def test_the_plain_form_goes_before_html_which_is_read_where_it_is_alone():
    both = eml(text="plain form\n", html="<p>html form</p>")
    assert "plain form" in parse(both, "d.eml", "email").text
    assert "html form" not in parse(both, "d.eml", "email").text
    alone = blocks_of(eml(text="", html="<h2>Big</h2><ul><li>a<li>b</ul><script>x()</script>"))
    assert alone[2:] == [("heading", "Big"), ("list", "- a\n- b")]


def test_attachments_are_named_and_not_read():
    found = blocks_of(eml(attachment="plan of the tower.pdf"))
    assert found[-1] == ("paragraph", "Attachments: plan of the tower.pdf")
    assert "binary" not in str(found)


def test_encoded_words_and_declared_encodings_are_read():
    raw = (
        b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\n"
        b"Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: 8bit\n\n"
    )
    parsed = parse(raw + "Жизнь".encode("koi8-r"), "d.eml", "email")
    assert parsed.title == "Grüße"
    assert parsed.text.endswith("From: Jürgen <j@example.org>\n\nЖизнь")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"Just some text.\n\nMore of it.", "is no e-mail"),
        (
            b"Subject: a\nContent-Type: text/plain; charset=utf-8\n\nStra\xdfe",
            r"not UTF-8 text \(byte 4 is 0xDF\)",
        ),
        (b"Subject: a\nContent-Type: text/plain; charset=klingon\n\nb", "encoding 'klingon'"),
        (b"Subject: a\n\nb\0c", "NUL"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(data, reason):
    with pytest.raises(DocumentError, match=reason):
        parse(data, "d.eml", "email")


def test_a_mail_without_text_is_its_subject_and_sender():
    assert blocks_of(eml(text=" \n")) == [("heading", "Lamp"), ("paragraph", HEADERS)]
