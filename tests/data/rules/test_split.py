import pytest

from mainspring.data.rules.split import num_sentences, split_lines, split_paragraphs


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("  ", 0),
        ("No mark", 1),
        ("One. Two! Three? Four", 4),
        ("He said “no.” Then he left...", 2),
        ("Mr. Smith and J. Doe met Dr. Who, e.g. at 3.14 o'clock.", 1),
        ("Is it?! Yes!!!", 2),
        ("这是一句。这是两句！", 2),  # noqa: RUF001
        ("a.b.c. d", 2),
    ],
)
def test_sentences_are_counted(text, count):
    assert num_sentences(text) == count


def test_empty_lines_are_no_lines_and_paragraphs_are_parted_by_them():
    text = "\na\nb\n\n\nc\n"
    assert split_lines(text) == ["a", "b", "c"]
    assert split_paragraphs(text) == ["a\nb", "c"]
