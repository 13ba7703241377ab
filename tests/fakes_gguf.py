"""GGUF files as llama.cpp's converter writes them, of tiny models and tokenizers, with the format's own library."""

import json

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import quantize

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def write_gguf(path, architecture, said, tensors, tokenizer=None, kind=Type.F32, **flags):
    """Write a whole file.

    Args:
        said: the writer's methods without `add_`, and what they are called with.
        tensors: name -> fp32 array; matrices are stored as `kind`, vectors as fp32.
        tokenizer: one of the tokenizers library, None for none.
        flags: as of add_tokenizer.

    """
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in said.items():
        getattr(writer, f"add_{key}")(value)
    if tokenizer is not None:
        add_tokenizer(writer, tokenizer, **flags)
    for name, values in tensors.items():
        stored = kind if values.ndim > 1 and values.shape[-1] % 32 == 0 else Type.F32
        writer.add_tensor(name, quantize(np.ascontiguousarray(values), stored), raw_dtype=stored)
    finish(writer)
    return path


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def metadata_of(tokenizer, path, **flags):
    """The metadata of a file that holds only this tokenizer, as the format's own reader finds them."""
    writer = gguf.GGUFWriter(path, "llama")
    add_tokenizer(writer, tokenizer, **flags)
    finish(writer)
    fields = gguf.GGUFReader(path).fields
    return {name: field.contents() for name, field in fields.items() if not name.startswith("GGUF.")}


def add_tokenizer(writer, tokenizer, *, pre="gpt-2", scores=None, template="", **said):
    """What the converter makes of a tokenizer; `said` is as of write_gguf, such as bos_token_id=1."""
    model = json.loads(tokenizer.to_str())["model"]
    tokens, types = tokens_of(tokenizer)
    kind = kind_of(model)
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pre if kind == "gpt2" else "default")
    if kind == "gpt2":
        writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    if kind == "bert":
        tokens = [token if of == CONTROL else phantom(token) for token, of in zip(tokens, types, strict=True)]
    if kind == "t5":
        scores = [score for _, score in model["vocab"]]
        types[model["unk_id"]] = UNKNOWN
    if kind == "llama":
        types = [BYTE if token.startswith("<0x") else of for token, of in zip(tokens, types, strict=True)]
        types[tokens.index(model["unk_token"])] = UNKNOWN
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if scores is not None:
        writer.add_token_scores(scores)
    if template:
        writer.add_chat_template(template)
    for key, value in said.items():
        getattr(writer, f"add_{key}")(value)


def kind_of(model):
    if model["type"] == "BPE":
        return "llama" if model["byte_fallback"] else "gpt2"
    return {"WordPiece": "bert", "Unigram": "t5"}[model["type"]]


def phantom(token):
    """BERT marks what continues a word, the format what begins one."""
    return token[2:] if token.startswith("##") else "\u2581" + token


def tokens_of(tokenizer):
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    tokens = sorted(vocab, key=vocab.__getitem__)
    types = [NORMAL] * len(tokens)
    for token_id, added in tokenizer.get_added_tokens_decoder().items():
        types[token_id] = CONTROL if added.special else USER_DEFINED
    return tokens, types
