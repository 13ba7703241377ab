import json

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf.quants import quantize

from fakes_bpe import make_tokenizer
from mainspring.errors import WeightsError
from mainspring.models.families.base import family
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.published import find, publish
from mainspring.models.save import save
from mainspring.models.weights.gguf import LAYER, GgufFile
from mainspring.models.weights.safetensors import SafetensorsFolder
from mainspring.tokenizer.base import Tokenizer

BYTES = {Type.F32: 1e-9, Type.F16: 2e-3, Type.BF16: 1e-2, Type.Q8_0: 2e-2, Type.Q4_0: 0.3, Type.Q4_1: 0.3}

TEMPLATE = "{% for message in messages %}{{ message['content'] }}<|im_end|>{% endfor %}"


def permute(rows, num_heads):
    """The order in which GGUF stores rows of queries and keys."""
    halves = rows.reshape(num_heads, 2, rows.shape[0] // num_heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def write_gguf(path, folder, kind=Type.F32, **changes):
    """A GGUF file of a published folder's model, written with the format's own library."""
    said, weights = family("llama").tiny(), SafetensorsFolder(folder)
    attention = said.blocks[0].mixer
    writer = gguf.GGUFWriter(path, changes.get("architecture", "llama"))
    writer.add_context_length(said.context)
    writer.add_embedding_length(said.width)
    writer.add_block_count(said.num_layers)
    writer.add_feed_forward_length(said.blocks[0].ffn.hidden)
    writer.add_head_count(attention.num_heads)
    writer.add_head_count_kv(attention.num_kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    add_tokenizer(writer)
    names = {published: ours for ours, published in LAYER.items()}
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    for name in weights.shapes:
        values = weights.read(name).numpy()
        if name in top:
            target = top[name]
        else:
            _, _, layer, part = name.removesuffix(".weight").split(".", 3)
            target = f"blk.{layer}.{names[part]}.weight"
            heads = {"attn_q": attention.num_heads, "attn_k": attention.num_kv_heads}.get(names[part])
            values = permute(values, heads) if heads else values
        stored = kind if values.ndim == 2 else Type.F32
        writer.add_tensor(changes.get(target, target), quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer):
    model = json.loads(make_tokenizer()._backend.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save(Model(family("llama").tiny()), tmp_path / "published")
    return tmp_path / "published"


@pytest.mark.parametrize("kind", BYTES)
def test_every_tensor_comes_back_within_its_types_error(folder, tmp_path, kind):
    write_gguf(tmp_path / "tiny.gguf", folder, kind)
    ours, expected = GgufFile(tmp_path / "tiny.gguf"), SafetensorsFolder(folder)
    assert ours.shapes == expected.shapes
    for name in expected.shapes:
        error = (ours.read(name) - expected.read(name)).abs().max() / expected.read(name).abs().max()
        assert error < BYTES[kind], name


def test_a_file_becomes_a_published_folder_that_loads_as_the_same_model(folder, tmp_path):
    write_gguf(tmp_path / "tiny.gguf", folder)
    found = find(tmp_path / "tiny.gguf")
    publish(found, tmp_path / "made")
    made, expected = load(tmp_path / "made"), load(folder)
    assert made.config == expected.config == found.config
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), expected.parameters(), strict=True))
    tokenizer = Tokenizer.load(tmp_path / "made")
    assert (tokenizer.eos, tokenizer.chat_template) == ("<|im_end|>", TEMPLATE)


def test_a_truncated_file_is_named_wherever_it_is_cut(folder, tmp_path):
    path = tmp_path / "tiny.gguf"
    write_gguf(path, folder)
    whole = path.read_bytes()
    for size_bytes in (0, 3, 10, 40, 700, 4000, 9000, len(whole) - 5000):
        path.write_bytes(whole[:size_bytes])
        with pytest.raises(WeightsError, match=r"tiny\.gguf .*(is damaged|truncated)"):
            GgufFile(path)
    with pytest.raises(WeightsError, match=rf"bytes, it has {len(whole) - 5000:,}"):
        GgufFile(path)


def test_a_length_that_leads_out_of_the_file_is_refused_at_once(folder, tmp_path):
    path = tmp_path / "tiny.gguf"
    write_gguf(path, folder)
    damaged = bytearray(path.read_bytes())
    at = damaged.index(b"tokenizer.ggml.token_type") + len("tokenizer.ggml.token_type") + 8
    damaged[at : at + 8] = (2**50).to_bytes(8, "little")
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match="is damaged"):
        GgufFile(path)


def test_a_type_that_is_not_read_is_named_with_its_tensor(folder, tmp_path):
    write_gguf(tmp_path / "tiny.gguf", folder, Type.Q5_0)
    with pytest.raises(WeightsError, match=r"'token_embd\.weight' .* of type Q5_0; read are F32, F16, BF16"):
        GgufFile(tmp_path / "tiny.gguf")


def test_another_architecture_and_an_unknown_tensor_are_named(folder, tmp_path):
    write_gguf(tmp_path / "a.gguf", folder, architecture="qwen3")
    with pytest.raises(WeightsError, match="architecture 'qwen3'"):
        GgufFile(tmp_path / "a.gguf")
    write_gguf(tmp_path / "b.gguf", folder, **{"output_norm.weight": "rope_freqs.weight"})
    with pytest.raises(WeightsError, match=r"tensor 'rope_freqs\.weight'"):
        GgufFile(tmp_path / "b.gguf")


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(WeightsError, match="begins with b'PK"):
        GgufFile(tmp_path / "x.gguf")


def test_metadata_equals_what_the_formats_own_reader_finds(folder, tmp_path):
    write_gguf(tmp_path / "tiny.gguf", folder)
    theirs = gguf.GGUFReader(tmp_path / "tiny.gguf")
    ours = GgufFile(tmp_path / "tiny.gguf").fields
    expected = {
        name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")
    }
    assert ours == expected
    assert np.isclose(ours["llama.attention.layer_norm_rms_epsilon"], 1e-5)
