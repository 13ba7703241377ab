"""Rotary frequencies of every scaling, beside those that transformers computes from the same config.json."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from mainspring.models.families import decoder
from mainspring.models.parts.rope import Rope, frequencies, rotate

BASE = {**decoder.TINY, "hidden_size": 512, "num_attention_heads": 4, "max_position_embeddings": 131_072}
SCALED = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "yarn": {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096},
    "yarn, not truncated": {
        "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 2048, "beta_fast": 24.0,
        "beta_slow": 2.0, "truncate": False,
    },
    "yarn, sharpened": {
        "rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 0.7,
        "mscale_all_dim": 1.0,
    },
    "yarn, told": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096, "attention_factor": 1.3,
    },
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    },
    "llama3 of 3.2": {
        "rope_type": "llama3", "factor": 32.0, "original_max_position_embeddings": 8192, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("said", SCALED.values(), ids=SCALED)
def test_frequencies_equal_those_of_transformers(said):
    spec = decoder.rope({**BASE, "rope_scaling": said, "rope_theta": 500_000.0})
    config = LlamaConfig(**{**BASE, "rope_parameters": {**said, "rope_theta": 500_000.0}})
    theirs, amplitude = ROPE_INIT_FUNCTIONS[said["rope_type"]](config)
    ours, our_amplitude = frequencies(spec, 128)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert our_amplitude == pytest.approx(amplitude, rel=1e-6)


def test_a_grown_base_equals_the_dynamic_one_at_the_length_it_is_meant_for():
    spec = decoder.rope({**BASE, "rope_scaling": {"rope_type": "ntk", "factor": 3.0}})
    config = LlamaConfig(
        **{**BASE, "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}
    )
    theirs, _ = ROPE_INIT_FUNCTIONS["dynamic"](config, seq_len=2 * BASE["max_position_embeddings"])
    torch.testing.assert_close(frequencies(spec, 128)[0], theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("said", SCALED.values(), ids=SCALED)
def test_a_scaling_survives_being_published(said):
    published = {**BASE, "rope_scaling": said}
    spec = decoder.rope(published)
    assert decoder.rope({**BASE, **decoder.described_rope(spec, 128)}) == spec


def test_scores_depend_on_distances_alone():
    spec = decoder.rope({**BASE, "rope_scaling": SCALED["llama3"], "partial_rotary_factor": 0.25})
    rope = Rope(spec, 128, 300)
    q, k = torch.randn(2, 1, 1, 128, generator=torch.Generator().manual_seed(0))
    scores = [
        (rotate(q, rope.tables(torch.tensor([at + 7]))) * rotate(k, rope.tables(torch.tensor([at])))).sum()
        for at in (0, 50, 290)
    ]
    torch.testing.assert_close(torch.stack(scores), scores[0].expand(3), rtol=1e-4, atol=1e-4)
    assert torch.equal(rotate(q, rope.tables(torch.tensor([250])))[..., 32:], q[..., 32:])
