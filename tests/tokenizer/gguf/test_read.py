import json

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


def test_a_first_or_last_token_is_special_whatever_type_it_has(tmp_path):
    tokenizer = from_gguf(fields(bos_token_id=1))
    assert tokenizer.special == {"<|im_end|>": 0, "<tool>": 1}
    tokenizer.save(tmp_path)
    added = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    assert [(each["id"], each["special"]) for each in added] == [(0, True), (1, True)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre": "starcoder"}, "pre-tokenizer is 'starcoder'; known ones are gpt-2, smollm, llama-bpe"),
        ({"pre": None}, "pre-tokenizer is 'None'"),
        ({"model": "rwkv"}, "of kind 'rwkv'; read are gpt2, llama, bert, t5"),
        ({"merges": ["q q"]}, "cannot be built"),
        ({"merges": "q q"}, r"no field 'tokenizer\.ggml\.merges'"),
        ({"tokens": [1, 2]}, "tokens are not all texts"),
        ({"token_type": [1]}, r"has 261 tokens, but 1 of 'tokenizer\.ggml\.token_type'"),
        ({"eos_token_id": 261}, "eos token is number 261, but it has 261 tokens"),
    ],
)
def test_what_is_not_read_is_named(changes, message):
    with pytest.raises(WeightsError, match=message):
        from_gguf(fields(**changes))


@pytest.mark.parametrize("key", ["tokens", "token_type", "merges"])
def test_a_missing_field_is_named(key):
    said = fields()
    del said[f"tokenizer.ggml.{key}"]
    with pytest.raises(WeightsError, match=rf"no field 'tokenizer\.ggml\.{key}'"):
        from_gguf(said)
