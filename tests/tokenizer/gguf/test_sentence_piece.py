import math
from itertools import pairwise

import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from tokenizers import models, trainers
from transformers.convert_slow_tokenizer import generate_merges

from fakes_fragments import CORPUS, TEXTS
from fakes_gguf import metadata_of
from mainspring.errors import WeightsError
from mainspring.tokenizer.gguf.read import from_gguf

SPACE = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["<unk>", "<s>", "</s>"]


def make_vocab():
    """Special tokens, bytes, then pieces of a trained BPE, as a released Llama has them; scores by rank."""
    trained = tokenizers.Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False, min_frequency=2, limit_alphabet=60)
    trained.train_from_iterator([SPACE + CORPUS.replace(" ", SPACE)] * 2, trainer)
    pieces = sorted(trained.get_vocab(), key=trained.get_vocab().__getitem__)
    pieces = [piece for piece in pieces if "\n" not in piece]  # lines end with a byte
    longer = [piece for piece in pieces if len(piece) > 1]
    letters = [piece for piece in pieces if len(piece) == 1]
    tokens = [*SPECIAL, *BYTES, *longer, *letters]
    scores = [0.0] * (len(tokens) - len(longer) - len(letters)) + [
        -float(rank) for rank in range(len(longer))
    ]
    return tokens, scores + [-1e9] * len(letters)


TOKENS, SCORES = make_vocab()
VOCAB = {token: number for number, token in enumerate(TOKENS)}
IS_PIECE = set(TOKENS) - set(SPECIAL) - set(BYTES)


def said(tmp_path, scores=SCORES, more=(), **flags):
    """Metadata of a file with these tokens; `more` are added ones, as (text, special)."""
    model = models.BPE(vocab=VOCAB, merges=[], unk_token="<unk>", byte_fallback=True)
    backend = tokenizers.Tokenizer(model)
    backend.add_special_tokens(SPECIAL)
    for text, special in more:
        backend.add_tokens([tokenizers.AddedToken(text, special=special, normalized=False)])
    scores = [*scores, *[-1000.0] * len(more)]
    ids = {"bos_token_id": 1, "eos_token_id": 2, "unk_token_id": 0}
    return metadata_of(backend, tmp_path / "a.gguf", scores=scores, **ids, **flags)


def plain_ids(text, prefix):
    """SentencePiece's BPE by its definition: join the neighbours of the best piece, the leftmost first."""
    symbols = list((SPACE if prefix else "") + text.replace(" ", SPACE))
    while True:
        joined = [left + right for left, right in pairwise(symbols)]
        best = max(
            joined, key=lambda piece: SCORES[VOCAB[piece]] if piece in IS_PIECE else -math.inf, default=""
        )
        if best not in IS_PIECE:
            break
        at = joined.index(best)
        symbols[at : at + 2] = [best]
    ids = []
    for symbol in symbols:
        ids += (
            [VOCAB[symbol]] if symbol in IS_PIECE else [VOCAB[f"<0x{byte:02X}>"] for byte in symbol.encode()]
        )
    return ids


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    return {True: from_gguf(said(folder)), False: from_gguf(said(folder, add_space_prefix=False))}


@pytest.mark.parametrize("prefix", [True, False])
@given(text=TEXTS)
def test_ids_are_those_of_sentence_pieces_definition_and_decode_to_the_text(read, prefix, text):
    expected = plain_ids(text, prefix) if text else []
    assert read[prefix].encode(text) == expected
    assert read[prefix].decode(expected) == text.replace(SPACE, " ")


@pytest.fixture(scope="module")
def theirs():
    merges = generate_merges(VOCAB, dict(zip(TOKENS, SCORES, strict=True)))
    return {
        True: transformers.LlamaTokenizer(vocab=VOCAB, merges=merges),
        False: transformers.GemmaTokenizer(vocab=VOCAB, merges=merges, bos_token="<s>", eos_token="</s>"),
    }


@pytest.mark.parametrize("prefix", [True, False])
@settings(max_examples=50)
@given(text=TEXTS.filter(lambda text: "<s>" not in text and not text.startswith((" ", SPACE))))
def test_ids_are_those_of_transformers_own_classes(read, theirs, prefix, text):
    assert read[prefix].encode(text) == theirs[prefix].encode(text, add_special_tokens=False)


def test_special_text_is_never_a_special_token_and_user_defined_text_is_its_token(tmp_path):
    made = from_gguf(said(tmp_path, more=[("  ", False), ("<tool>", False)], add_space_prefix=False))
    assert set(made.special) == set(SPECIAL)
    assert made.encode("</s>") == plain_ids("</s>", prefix=False)
    assert made.encode("a  b<tool>") == [
        *plain_ids("a", False),
        len(TOKENS),
        *plain_ids("b", False),
        len(TOKENS) + 1,
    ]
    assert made.decode(made.encode("a  b<tool>")) == "a  b<tool>"


def test_a_text_begins_with_the_first_token_for_others_that_read_it(tmp_path):
    from_gguf(said(tmp_path)).save(tmp_path / "made")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")
    assert theirs("it winds")["input_ids"] == [1, *plain_ids("it winds", prefix=True)]


def test_without_bytes_what_no_piece_covers_is_unknown(tmp_path):
    fields = said(tmp_path)
    of_type = fields["tokenizer.ggml.token_type"]
    made = from_gguf({**fields, "tokenizer.ggml.token_type": [1 if kind == 6 else kind for kind in of_type]})
    assert made.encode("\U0001f982")[-1] == VOCAB["<unk>"]


def test_pieces_whose_order_is_lost_are_refused(tmp_path):
    with pytest.raises(
        WeightsError, match=r"the score -1000\.0, so the order in which they were merged is lost"
    ):
        from_gguf(said(tmp_path, scores=[-1000.0] * len(TOKENS)))
