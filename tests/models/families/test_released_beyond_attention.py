"""The config.json of released models beyond attention: read, built without memory, as large as in transformers."""

import pytest
import torch
import transformers

from mainspring.models.families.base import family
from mainspring.models.model import Model

RELEASED = {
    "Mamba-Codestral 7B": {
        "model_type": "mamba2", "architectures": ["Mamba2ForCausalLM"], "chunk_size": 256, "conv_kernel": 4,
        "expand": 2, "head_dim": 64, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 8192,
        "layer_norm_epsilon": 1e-05, "n_groups": 8, "norm_before_gate": True, "num_heads": 128,
        "num_hidden_layers": 64, "rescale_prenorm_residual": False, "residual_in_fp32": True, "rms_norm": True,
        "state_size": 128, "tie_word_embeddings": False, "time_step_floor": 0.0001,
        "time_step_limit": [0.0, float("inf")], "time_step_max": 0.1, "time_step_min": 0.001,
        "time_step_rank": 256, "use_bias": False, "use_conv_bias": True, "vocab_size": 32768,
    },
    "Jamba v0.1": {
        "model_type": "jamba", "architectures": ["JambaForCausalLM"], "attn_layer_offset": 4,
        "attn_layer_period": 8, "expert_layer_offset": 1, "expert_layer_period": 2, "hidden_act": "silu",
        "hidden_size": 4096, "intermediate_size": 14336, "mamba_conv_bias": True, "mamba_d_conv": 4,
        "mamba_d_state": 16, "mamba_dt_rank": 256, "mamba_expand": 2, "mamba_inner_layernorms": True,
        "mamba_proj_bias": False, "max_position_embeddings": 262144, "num_attention_heads": 32,
        "num_experts": 16, "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8,
        "rms_norm_eps": 1e-06, "sliding_window": None, "tie_word_embeddings": False, "vocab_size": 65536,
    },
    "Longformer base 4096": {
        "model_type": "longformer", "architectures": ["LongformerForMaskedLM"], "attention_mode": "longformer",
        "attention_window": [512] * 12, "hidden_act": "gelu", "hidden_size": 768, "intermediate_size": 3072,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 4098, "num_attention_heads": 12,
        "num_hidden_layers": 12, "pad_token_id": 1, "sep_token_id": 2, "type_vocab_size": 1,
        "vocab_size": 50265,
    },
}  # fmt: skip
QWEN3_NEXT = {
    "model_type": "qwen3_next", "architectures": ["Qwen3NextForCausalLM"], "attention_bias": False,
    "decoder_sparse_step": 1, "full_attention_interval": 4, "head_dim": 256, "hidden_act": "silu",
    "hidden_size": 2048, "intermediate_size": 5120, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
    "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_value_head_dim": 128,
    "max_position_embeddings": 262144, "mlp_only_layers": [], "moe_intermediate_size": 512,
    "norm_topk_prob": True, "num_attention_heads": 16, "num_experts": 512, "num_experts_per_tok": 10,
    "num_hidden_layers": 48, "num_key_value_heads": 2, "partial_rotary_factor": 0.25, "rms_norm_eps": 1e-06,
    "rope_scaling": None, "rope_theta": 10000000, "shared_expert_intermediate_size": 512,
    "tie_word_embeddings": False, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip


def assert_as_large_as_in_transformers(published):
    kind = family(published["model_type"])
    config = kind.config(published)
    assert kind.config(kind.published(config)) == config
    their_config = transformers.AutoConfig.for_model(**published)
    with torch.device("meta"):
        theirs = getattr(transformers, published["architectures"][0])(their_config)
        model = Model(config)
    expected = sum(parameter.numel() for parameter in theirs.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    return config


@pytest.mark.parametrize("published", RELEASED.values(), ids=RELEASED)
def test_a_released_config_is_read_and_as_large_as_in_transformers(published):
    assert_as_large_as_in_transformers(published)


def test_four_layers_of_qwen3_next_80b_are_as_large_as_in_transformers():
    config = assert_as_large_as_in_transformers({**QWEN3_NEXT, "num_hidden_layers": 4, "num_experts": 32})
    assert [block.mixer.kind for block in config.blocks] == ["delta"] * 3 + ["attention"]
    assert config.blocks[3].mixer.rope.size == 64


@pytest.mark.slow
def test_qwen3_next_80b_is_as_large_as_in_transformers():
    assert_as_large_as_in_transformers(QWEN3_NEXT)


def test_jamba_attends_without_positions_in_every_eighth_layer():
    config = family("jamba").config(RELEASED["Jamba v0.1"])
    attending = [n for n, block in enumerate(config.blocks) if block.mixer.kind == "attention"]
    assert attending == [4, 12, 20, 28]
    assert all(config.blocks[n].mixer.rope is None for n in attending)
    assert [block.ffn.kind for block in config.blocks[:4]] == ["glu", "moe", "glu", "moe"]
