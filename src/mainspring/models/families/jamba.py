"""Jamba: Mamba with a few layers of attention without positions, and mixtures of experts. Paper: arXiv:2403.19887."""

from collections.abc import Mapping
from typing import Any

from mainspring.errors import WeightsError
from mainspring.models.config import AttentionSpec, BlockSpec, FfnSpec, ModelConfig, MoeSpec
from mainspring.models.families import decoder
from mainspring.models.families.base import Names, Patterns, both, layers, only
from mainspring.models.families.experts import checked, mixtures
from mainspring.models.mixer_specs import MambaSpec

ARCHITECTURES = {"JambaForCausalLM": "lm", "JambaModel": "", "JambaForSequenceClassification": "classify"}
MAMBA: Patterns = {
    **both({"mixer.up": "mamba.in_proj", "mixer.conv": "mamba.conv1d", "mixer.out": "mamba.out_proj"}),
    **both({"mixer.dt": "mamba.dt_proj"}),
    "mixer.select.weight": "mamba.x_proj.weight",
    "mixer.dt_norm.weight": "mamba.dt_layernorm.weight",
    "mixer.in_norm.weight": "mamba.b_layernorm.weight",
    "mixer.out_norm.weight": "mamba.c_layernorm.weight",
    "mixer.a_log": "mamba.A_log",
    "mixer.d": "mamba.D",
}
PARTS = ("gate", "up", "down")
FFN: Patterns = {
    **{f"ffn.{each}.weight": f"feed_forward.{each}_proj.weight" for each in PARTS},
    **{
        f"ffn.experts.{{e}}.{each}.weight": f"feed_forward.experts.{{e}}.{each}_proj.weight" for each in PARTS
    },
    "ffn.router.weight": "feed_forward.router.weight",
}
NORMS: Patterns = {
    "mixer_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "pre_ff_layernorm.weight",
}
NAMES = Names(
    body={
        "embedding.weight": "embed_tokens.weight",
        "final_norm.weight": "final_layernorm.weight",
        **layers("layers.{i}.", {**decoder.ATTENTION, **MAMBA, **FFN, **NORMS}),
    },
    heads=decoder.HEADS,
    prefix="model.",
    unused=decoder.UNUSED,
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, sliding_window=None, mamba_inner_layernorms=True)
    blocks = [
        BlockSpec(
            mixer=_attention(published) if _is_turn(published, "attn", layer) else _mamba(published),
            ffn=_experts(published) if _is_turn(published, "expert", layer) else decoder.glu(published),
            norm=decoder.rms(published),
        )
        for layer in range(published["num_hidden_layers"])
    ]
    kinds = {block.mixer.kind for block in blocks}
    if len(kinds) != 2:
        raise WeightsError(
            f"config.json has {len(blocks)} layers, all of them {kinds.pop()}; Jamba needs some of attention and "
            "some of mamba. Check attn_layer_period and attn_layer_offset."
        )
    return decoder.model(published, "jamba", blocks, ARCHITECTURES)


def _is_turn(published: Mapping[str, Any], kind: str, layer: int) -> bool:
    """Whether it is one of the layers that come once in a period."""
    return layer % published[f"{kind}_layer_period"] == published[f"{kind}_layer_offset"]


def _attention(published: Mapping[str, Any]) -> AttentionSpec:
    return decoder.attention(published, rope=None)


def _mamba(published: Mapping[str, Any]) -> MambaSpec:
    width, rank = published["hidden_size"], published.get("mamba_dt_rank", "auto")
    return MambaSpec(
        inner=published["mamba_expand"] * width,
        state_size=published["mamba_d_state"],
        dt_rank=-(-width // 16) if rank == "auto" else rank,
        conv_size=published["mamba_d_conv"],
        conv_bias=published.get("mamba_conv_bias", True),
        bias=published.get("mamba_proj_bias", False),
        norm_eps=published["rms_norm_eps"],
    )


def _experts(published: Mapping[str, Any]) -> FfnSpec | MoeSpec:
    """The chosen scores are not normalized."""
    expert, count = decoder.glu(published), published["num_experts"]
    if count == 1:
        return expert
    return checked(MoeSpec(num_experts=count, num_chosen=published["num_experts_per_tok"], expert=expert))


def published(config: ModelConfig) -> dict[str, Any]:
    mixers = [block.mixer for block in config.blocks]
    attention = next(mixer for mixer in mixers if isinstance(mixer, AttentionSpec))
    mamba = next(mixer for mixer in mixers if isinstance(mixer, MambaSpec))
    experts = mixtures(config)[0] if mixtures(config) else None
    return {
        **decoder.described_stack(config, ARCHITECTURES),
        **_turns("attn", [isinstance(mixer, AttentionSpec) for mixer in mixers]),
        **_turns("expert", [isinstance(block.ffn, MoeSpec) for block in config.blocks]),
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_kv_heads,
        "num_experts": experts.num_experts if experts else 1,
        "num_experts_per_tok": experts.num_chosen if experts else 1,
        "mamba_expand": mamba.inner // config.width,
        "mamba_d_state": mamba.state_size,
        "mamba_dt_rank": mamba.dt_rank,
        "mamba_d_conv": mamba.conv_size,
        "mamba_conv_bias": mamba.conv_bias,
        "mamba_proj_bias": mamba.bias,
    }


def _turns(kind: str, is_one: list[bool]) -> dict[str, int]:
    """The period and the offset of layers; one beyond the last layer where there are none."""
    count = len(is_one)
    places = [layer for layer, each in enumerate(is_one) if each] or [count]
    period = places[1] - places[0] if len(places) > 1 else count + 1
    return {f"{kind}_layer_period": period, f"{kind}_layer_offset": places[0]}


def tiny() -> ModelConfig:
    return config(
        {
            **decoder.TINY, "num_hidden_layers": 4, "attn_layer_period": 3, "attn_layer_offset": 1,
            "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 4, "num_experts_per_tok": 2,
            "mamba_expand": 2, "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_dt_rank": "auto",
            "mamba_conv_bias": True, "mamba_proj_bias": False, "tie_word_embeddings": False,
        }
    )  # fmt: skip
