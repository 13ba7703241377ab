"""The config.json of released models: read, built without memory, and as many parameters as they are known for."""

import pytest
import torch

from mainspring.models.families.base import family
from mainspring.models.model import Model

RELEASED = {
    "GPT-2": (124_439_808, {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new",
        "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
        "layer_norm_epsilon": 1e-05, "vocab_size": 50257,
    }),
    "Llama 3.2 1B": (1_235_814_400, {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "attention_bias": False,
        "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192,
        "max_position_embeddings": 131072, "mlp_bias": False, "num_attention_heads": 32,
        "num_hidden_layers": 16, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
        "rope_scaling": {
            "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3",
        },
        "tie_word_embeddings": True, "vocab_size": 128256,
    }),
    "Mistral 7B": (7_241_732_096, {
        "model_type": "mistral", "architectures": ["MistralForCausalLM"], "hidden_act": "silu",
        "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": False, "vocab_size": 32000,
    }),
    "Qwen2.5 0.5B": (494_032_768, {
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 896,
        "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
        "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True,
        "use_sliding_window": False, "vocab_size": 151936,
    }),
    "Qwen3 0.6B": (596_049_920, {
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "head_dim": 128,
        "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072,
        "max_position_embeddings": 40960, "max_window_layers": 28, "num_attention_heads": 16,
        "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": None,
        "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True,
        "use_sliding_window": False, "vocab_size": 151936,
    }),
    "Phi-3 mini": (3_821_079_552, {
        "model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "attention_bias": False,
        "hidden_act": "silu", "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 4096,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
        "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_scaling": None,
        "rope_theta": 10000.0, "sliding_window": 2047, "tie_word_embeddings": False, "vocab_size": 32064,
    }),
    "Gemma 2 2B": (2_614_341_888, {
        "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "attention_bias": False,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304,
        "intermediate_size": 9216, "max_position_embeddings": 8192, "num_attention_heads": 8,
        "num_hidden_layers": 26, "num_key_value_heads": 4, "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 256000,
    }),
    "Gemma 3 1B": (999_885_952, {
        "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "attention_bias": False,
        "attn_logit_softcapping": None, "final_logit_softcapping": None, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
        "max_position_embeddings": 32768, "num_attention_heads": 4, "num_hidden_layers": 26,
        "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000, "sliding_window": 512,
        "sliding_window_pattern": 6, "vocab_size": 262144,
    }),
    "BERT base, without its pooler": (109_482_240 - 590_592, {
        "model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_act": "gelu", "hidden_size": 768,
        "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
        "num_attention_heads": 12, "num_hidden_layers": 12, "position_embedding_type": "absolute",
        "type_vocab_size": 2, "vocab_size": 30522,
    }),
}  # fmt: skip


@pytest.mark.parametrize(("known", "published"), RELEASED.values(), ids=RELEASED)
def test_a_released_config_is_read_and_has_the_known_number_of_parameters(known, published):
    config = family(published["model_type"]).config(published)
    with torch.device("meta"):
        model = Model(config)
    body = sum(parameter.numel() for name, parameter in model.named_parameters() if name != "head.bias")
    head = sum(
        p.numel() for name, p in model.named_parameters() if name.startswith(("head.dense", "head.norm"))
    )
    assert body - head == known
    assert family(published["model_type"]).config(family(published["model_type"]).published(config)) == config


def test_gemma_3_looks_far_in_every_sixth_layer_and_the_rope_bases_differ():
    config = family("gemma3_text").config(RELEASED["Gemma 3 1B"][1])
    windows = [block.mixer.window for block in config.blocks]
    assert windows[:6] == [512] * 5 + [None]
    assert config.blocks[0].mixer.rope.theta == 10_000
    assert config.blocks[5].mixer.rope.theta == 1_000_000
