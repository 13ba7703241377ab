"""Mamba-2: layers of state spaces and nothing else. Paper: arXiv:2405.21060."""

from collections.abc import Mapping
from typing import Any

from mainspring.errors import WeightsError
from mainspring.models.config import BlockSpec, HeadSpec, ModelConfig, NormSpec
from mainspring.models.families.base import Names, architecture, both, head_kind, layers, only
from mainspring.models.mixer_specs import Mamba2Spec

ARCHITECTURES = {"Mamba2ForCausalLM": "lm", "Mamba2Model": ""}
UNBOUNDED = 1 << 20  # a state has no positions; this many tokens are said to fit where a number is asked for
LAYER = {
    **both({"mixer.up": "mixer.in_proj", "mixer.conv": "mixer.conv1d", "mixer.out": "mixer.out_proj"}),
    "mixer.dt_bias": "mixer.dt_bias",
    "mixer.a_log": "mixer.A_log",
    "mixer.d": "mixer.D",
    "mixer.norm.weight": "mixer.norm.weight",
    "mixer_norm.weight": "norm.weight",
}
NAMES = Names(
    body={
        "embedding.weight": "embeddings.weight",
        "final_norm.weight": "norm_f.weight",
        **layers("layers.{i}.", LAYER),
    },
    heads={"lm": {"head.out.weight": "lm_head.weight"}},
    prefix="backbone.",
    unused=(r"^lm_head\.weight$",),
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, hidden_act="silu", rms_norm=True)
    norm = NormSpec(kind="rms", eps=published["layer_norm_epsilon"])
    block = BlockSpec(mixer=_mixer(published), ffn=None, norm=norm)
    head = HeadSpec(tied=published.get("tie_word_embeddings", False))
    return ModelConfig(
        family="mamba2",
        vocab_size=published["vocab_size"],
        width=published["hidden_size"],
        context=UNBOUNDED,
        blocks=(block,) * published["num_hidden_layers"],
        final_norm=norm,
        head=head if head_kind(published, ARCHITECTURES) else None,
    )


def _mixer(published: Mapping[str, Any]) -> Mamba2Spec:
    num_heads, head_size = published["num_heads"], published["head_dim"]
    inner, num_groups = published["expand"] * published["hidden_size"], published["n_groups"]
    if num_heads * head_size != inner or num_heads % num_groups:
        raise WeightsError(
            f"config.json has {num_heads} heads of {head_size} in {num_groups} groups for an inner width of "
            f"{inner}; heads must fill the inner width and groups must be equal."
        )
    dt_min, dt_max = (_number(each) for each in published.get("time_step_limit", (0.0, float("inf"))))
    return Mamba2Spec(
        num_heads=num_heads,
        head_size=head_size,
        state_size=published["state_size"],
        num_groups=num_groups,
        conv_size=published["conv_kernel"],
        conv_bias=published.get("use_conv_bias", True),
        bias=published.get("use_bias", False),
        dt_min=dt_min,
        dt_max=dt_max,
        chunk=published.get("chunk_size", 256),
        norm_eps=published["layer_norm_epsilon"],
    )


def _number(said: Any) -> float:
    """Some files write an infinite number as {"__float__": "Infinity"}."""
    return float(said["__float__"] if isinstance(said, Mapping) else said)


def published(config: ModelConfig) -> dict[str, Any]:
    mixer = config.blocks[0].mixer
    assert isinstance(mixer, Mamba2Spec), "layers of Mamba-2 are state spaces"
    return {
        "architectures": [architecture(config, ARCHITECTURES)],
        "model_type": "mamba2",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.num_layers,
        "num_heads": mixer.num_heads,
        "head_dim": mixer.head_size,
        "expand": mixer.inner // config.width,
        "state_size": mixer.state_size,
        "n_groups": mixer.num_groups,
        "conv_kernel": mixer.conv_size,
        "use_conv_bias": mixer.conv_bias,
        "use_bias": mixer.bias,
        "time_step_limit": [mixer.dt_min, mixer.dt_max],
        "chunk_size": mixer.chunk,
        "layer_norm_epsilon": mixer.norm_eps,
        "hidden_act": "silu",
        "tie_word_embeddings": config.head is not None and config.head.tied,
    }


def tiny() -> ModelConfig:
    return config(
        {
            "vocab_size": 288, "hidden_size": 64, "num_hidden_layers": 2, "num_heads": 8, "head_dim": 16,
            "expand": 2, "state_size": 12, "n_groups": 2, "conv_kernel": 4, "chunk_size": 8,
            "time_step_limit": [0.01, 0.9], "layer_norm_epsilon": 1e-5,
        }
    )  # fmt: skip
