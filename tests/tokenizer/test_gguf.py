import pytest
from tokenizers import pre_tokenizers

from mainspring.errors import WeightsError
from mainspring.tokenizer.gguf.read import from_gguf


def fields(**changes):
    tokens = ["<|im_end|>", "<tool>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġa", "12", "an"]
    said = {
        "general.architecture": "llama",
        "llama.context_length": 64,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 4, *[1] * (len(tokens) - 2)],
        "tokenizer.ggml.merges": ["Ġ a", "1 2", "a n"],
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.chat_template": "{{ messages }}",
    }
    return {**said, **{f"tokenizer.ggml.{key}": value for key, value in changes.items()}}


def test_merges_join_letters_and_digits_stay_alone():
    tokenizer = from_gguf(fields())
    vocab = {token: token_id for token_id, token in enumerate(fields()["tokenizer.ggml.tokens"])}
    assert tokenizer.encode("an a12") == [vocab["an"], vocab["Ġa"], vocab["1"], vocab["2"]]


def test_control_tokens_are_special_and_user_defined_ones_are_plain():
    tokenizer = from_gguf(fields())
    assert tokenizer.special == {"<|im_end|>": 0}
    assert (tokenizer.end_ids, tokenizer.eos, tokenizer.bos) == ((0,), "<|im_end|>", "")
    assert tokenizer.encode("<tool>") == [1]
    assert (tokenizer.chat_template, tokenizer.max_length) == ("{{ messages }}", 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre": "llama-bpe"}, "pre-tokenizer is 'llama-bpe'; known ones are smollm"),
        ({"model": "llama"}, "of kind 'llama'; only 'gpt2'"),
        ({"merges": ["q q"]}, "cannot be built"),
    ],
)
def test_what_is_not_read_is_named(changes, message):
    with pytest.raises(WeightsError, match=message):
        from_gguf(fields(**changes))


def test_a_missing_field_is_named():
    said = fields()
    del said["tokenizer.ggml.token_type"]
    with pytest.raises(WeightsError, match=r"no field 'tokenizer\.ggml\.token_type'"):
        from_gguf(said)
