from hypothesis import given
from hypothesis import strategies as st

from fakes_bpe import make_tokenizer
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.stream import StreamDecoder

TOKENIZER = make_tokenizer()


def stream(tokenizer, ids, sizes):
    decoder, pieces, at = StreamDecoder(tokenizer), [], 0
    for size in [*sizes, len(ids)]:
        pieces.append(decoder.push(ids[at : at + size]))
        at += size
    return [*pieces, decoder.flush()]


@given(st.text(max_size=40), st.lists(st.integers(1, 3), max_size=40))
def test_no_piece_holds_half_a_character_and_all_pieces_make_the_text(text, sizes):
    pieces = stream(TOKENIZER, TOKENIZER.encode(text), sizes)
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(0, 287), max_size=40), st.lists(st.integers(1, 3), max_size=40))
def test_any_ids_even_those_that_are_no_text_stream_to_what_they_decode_to(ids, sizes):
    assert "".join(stream(TOKENIZER, ids, sizes)) == TOKENIZER.decode(ids)


def test_text_comes_as_soon_as_its_last_byte_is_there():
    ids = TOKENIZER.encode("a😀b")
    decoder = StreamDecoder(TOKENIZER)
    assert [decoder.push([token_id]) for token_id in ids] == ["a", "", "", "", "😀", "b"]


def test_a_reply_cut_within_a_character_ends_with_the_replacement_character():
    decoder = StreamDecoder(TOKENIZER)
    ids = TOKENIZER.encode("é")[:1]
    assert (decoder.push(ids), decoder.flush()) == ("", "\ufffd")


def test_a_tokenizer_that_joins_words_with_spaces_streams_to_the_same_text():
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    words = {"[UNK]": 0, "the": 1, "wheel": 2, "##s": 3, "turn": 4}
    backend = tokenizers.Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
    tokenizer = Tokenizer(backend)
    assert "".join(stream(tokenizer, [1, 2, 3, 4], [1, 1, 1, 1])) == "the wheels turn"
