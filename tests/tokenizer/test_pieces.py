import pytest

from fakes_bpe import make_tokenizer
from mainspring.tokenizer.pieces import bytes_of


@pytest.mark.parametrize("text", ["the wheels turn\n", "süß 😀 漢字", "\x00\x7f\xa0"])
def test_the_bytes_of_ids_joined_are_the_bytes_of_the_text(text):
    tokenizer = make_tokenizer()
    assert b"".join(tokenizer.token_bytes(each) for each in tokenizer.encode(text)) == text.encode()


def test_every_byte_has_an_id_and_a_special_token_its_name():
    tokenizer = make_tokenizer()
    found = {tokenizer.token_bytes(each) for each in range(tokenizer.vocab_size)}
    assert found >= {bytes([byte]) for byte in range(256)}
    assert tokenizer.token_bytes(tokenizer.special["<|im_end|>"]) == b"<|im_end|>"
    assert tokenizer.token_bytes(10**6) == b""


@pytest.mark.parametrize(
    ("piece", "raw"), [("\u2581the", b" the"), ("<0xE2>", b"\xe2"), ("##ing", b"ing"), ("ß", "ß".encode())]
)
def test_sentence_pieces_and_word_pieces_stand_for_their_bytes(piece, raw):
    assert bytes_of(piece, is_byte_level=False) == raw
