"""Jamba: which layers attend and which have experts, their heads and tensors tell, not a period."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import closing
from mainspring.models.weights.gguf.architectures.experts import experts
from mainspring.models.weights.gguf.architectures.states import CONVOLUTION, logarithm
from mainspring.models.weights.gguf.metadata import Metadata

KEY_HEADS = "attention.head_count_kv"
LAYOUT = Layout(
    undo={**CONVOLUTION, "ssm_a": logarithm}, renamed=((".feed_forward.experts.", ".mlp.experts."),)
)


def config(said: Metadata) -> dict[str, Any]:
    width, count = said.whole("embedding_length"), said.num_blocks
    key_heads = said.get(KEY_HEADS)
    if not isinstance(key_heads, list) or len(key_heads) != count:
        raise said.wrong(KEY_HEADS, key_heads, "one number for each layer is needed")
    has_experts = [said.has(f"blk.{layer}.ffn_gate_inp.weight") for layer in range(count)]
    chosen = {"num_experts": 1, "num_experts_per_tok": 1}
    return {
        "architectures": ["JambaForCausalLM"],
        "model_type": "jamba",
        "vocab_size": said.rows("token_embd.weight"),
        "hidden_size": width,
        "intermediate_size": said.whole("feed_forward_length"),
        "num_hidden_layers": count,
        "num_attention_heads": said.whole("attention.head_count"),
        "num_key_value_heads": max(key_heads),
        "hidden_act": "silu",
        "max_position_embeddings": said.whole("context_length"),
        "rms_norm_eps": said.number("attention.layer_norm_rms_epsilon"),
        **_turns(said, "attn", [heads > 0 for heads in key_heads]),
        **_turns(said, "expert", has_experts),
        **(experts(said, "num_experts") if any(has_experts) else chosen),
        "mamba_expand": said.whole("ssm.inner_size") // width,
        "mamba_d_state": said.whole("ssm.state_size"),
        "mamba_dt_rank": said.whole("ssm.time_step_rank"),
        "mamba_d_conv": said.whole("ssm.conv_kernel"),
        "mamba_conv_bias": any(name.endswith("ssm_conv1d.bias") for name in said.file.shapes),
        "mamba_proj_bias": any(name.endswith("ssm_in.bias") for name in said.file.shapes),
        "tie_word_embeddings": not said.has("output.weight"),
        **closing(said),
    }


def _turns(said: Metadata, kind: str, is_one: list[bool]) -> dict[str, int]:
    """The period and the offset that give these layers; one beyond the last layer where there are none."""
    places = [layer for layer, each in enumerate(is_one) if each] or [len(is_one)]
    period = places[1] - places[0] if len(places) > 1 else len(is_one) + 1
    if [layer % period == places[0] for layer in range(len(is_one))] != is_one:
        raise said.wrong("block_count", len(is_one), f"its layers of kind '{kind}' ({places}) have no period")
    return {f"{kind}_layer_period": period, f"{kind}_layer_offset": places[0]}
