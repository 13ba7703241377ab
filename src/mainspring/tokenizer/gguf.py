"""The tokenizer that a GGUF file carries in its metadata."""

from collections.abc import Callable, Mapping
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from mainspring.errors import WeightsError
from mainspring.tokenizer.base import Tokenizer

CONTROL, USER_DEFINED = 3, 4  # GGUF token types: special, and added but plain


def _smollm() -> pre_tokenizers.PreTokenizer:
    """Digits one by one, then words as GPT-2 splits them."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence([digits, words])


PRE_TOKENIZERS: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {"smollm": _smollm}


def from_gguf(fields: Mapping[str, Any]) -> Tokenizer:
    """Build the byte-level BPE of a GGUF file.

    Args:
        fields: the file's metadata, name -> value.

    Raises:
        WeightsError: another kind of tokenizer, an unknown pre-tokenizer, or a field that is missing.

    """
    kind, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if kind != "gpt2":
        raise WeightsError(
            f"The GGUF file's tokenizer is of kind '{kind}'; only 'gpt2' (byte-level BPE) is read."
        )
    if pre not in PRE_TOKENIZERS:
        raise WeightsError(
            f"The GGUF file's pre-tokenizer is '{pre}'; known ones are {', '.join(PRE_TOKENIZERS)}. "
            "Take the model in safetensors with its tokenizer.json instead."
        )
    try:
        tokens, merges = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.merges"]
        types = fields["tokenizer.ggml.token_type"]
        vocab = {token: token_id for token_id, token in enumerate(tokens)}
        model = models.BPE(vocab=vocab, merges=[_pair(merge) for merge in merges])
    except KeyError as error:
        raise WeightsError(f"The GGUF file has no field {error}, which its tokenizer needs.") from None
    except Exception as error:  # the Rust side raises nothing narrower
        raise WeightsError(f"The GGUF file's tokenizer cannot be built: {error}.") from error
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = PRE_TOKENIZERS[pre]()
    backend.decoder = decoders.ByteLevel()
    for token, kind_of_token in zip(tokens, types, strict=True):
        if kind_of_token == CONTROL:
            backend.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif kind_of_token == USER_DEFINED:
            backend.add_tokens([AddedToken(token, special=False, normalized=False)])
    return Tokenizer(
        backend,
        bos=_named(fields, "bos"),
        eos=_named(fields, "eos"),
        chat_template=fields.get("tokenizer.chat_template", ""),
        max_length=fields.get(f"{fields.get('general.architecture')}.context_length"),
    )


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _named(fields: Mapping[str, Any], role: str) -> str:
    token_id = fields.get(f"tokenizer.ggml.{role}_token_id")
    return "" if token_id is None else fields["tokenizer.ggml.tokens"][token_id]
