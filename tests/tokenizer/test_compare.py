import pytest

from fakes_texts import many_texts
from mainspring.config import build
from mainspring.tokenizer.compare import measure, num_words, plot
from mainspring.tokenizer.train import TokenizerSettings, train

pytestmark = pytest.mark.slow

TEXTS = many_texts(300, seed=3)


@pytest.mark.parametrize(
    ("text", "count"), [("two words", 2), ("", 0), ("漢字とkana", 4), ("a\n b\tc", 3), ("ไทย x", 4)]
)
def test_words_are_counted_by_blanks_or_by_characters(text, count):
    assert num_words(text) == count


def test_a_larger_vocabulary_makes_texts_shorter_and_the_numbers_are_those_of_a_count_by_hand():
    held_out = {"en": many_texts(20, seed=9), "ja": ["漢字かな交じり文"] * 3}
    rows = [
        measure(f"bpe {size}", train(TEXTS, build(TokenizerSettings, {"vocab_size": size})), held_out)
        for size in (320, 700)
    ]
    assert rows[0].bytes_per_token < rows[1].bytes_per_token
    assert rows[0].fertility["en"] > rows[1].fertility["en"]
    tokenizer = train(TEXTS, build(TokenizerSettings, {"vocab_size": 700}))
    ids = sum(len(tokenizer.encode(text)) for each in held_out.values() for text in each)
    size_bytes = sum(len(text.encode()) for each in held_out.values() for text in each)
    assert rows[1].bytes_per_token == pytest.approx(size_bytes / ids)
    assert rows[1].fertility["ja"] == pytest.approx(len(tokenizer.encode("漢字かな交じり文")) / 8)
    assert rows[1].mb_per_s > 0


@pytest.mark.slow
def test_the_plot_is_a_picture(tmp_path):
    rows = []
    for kind in ("bpe", "unigram"):
        for size in (400, 600):
            tokenizer = train(TEXTS, build(TokenizerSettings, {"kind": kind, "vocab_size": size}))
            rows.append(measure(f"{kind} {size}", tokenizer, {"all": TEXTS[:5]}))
    plot(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
