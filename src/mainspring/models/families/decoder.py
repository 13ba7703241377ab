"""What the decoders after Llama share: the names of their weights and how config.json describes them.

Not a family itself: a family's file takes these and says what it does otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mainspring.errors import WeightsError
from mainspring.models.config import (
    AttentionSpec,
    BlockSpec,
    FfnSpec,
    HeadSpec,
    ModelConfig,
    MoeSpec,
    NormSpec,
    RopeScaling,
    RopeSpec,
)
from mainspring.models.families.base import (
    Names,
    Patterns,
    activation,
    activation_name,
    architecture,
    head_kind,
    head_size,
    labels,
    layers,
    num_labels,
)

ATTENTION: Patterns = {f"mixer.{each}.weight": f"self_attn.{each}_proj.weight" for each in "qkvo"}
BIASES: Patterns = {f"mixer.{each}.bias": f"self_attn.{each}_proj.bias" for each in "qkv"}
HEAD_NORMS: Patterns = {
    "mixer.q_norm.weight": "self_attn.q_norm.weight",
    "mixer.k_norm.weight": "self_attn.k_norm.weight",
}
GLU: Patterns = {f"ffn.{each}.weight": f"mlp.{each}_proj.weight" for each in ("gate", "up", "down")}
NORMS: Patterns = {
    "mixer_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
}
TOP: Patterns = {"embedding.weight": "embed_tokens.weight", "final_norm.weight": "norm.weight"}
HEADS: Mapping[str, Patterns] = {
    "lm": {"head.out.weight": "lm_head.weight"},
    "classify": {"head.out.weight": "score.weight"},
    "classify_tokens": {"head.out.weight": "score.weight", "head.out.bias": "score.bias"},
}
ORIGINAL = "original_max_position_embeddings"
SCALINGS = ("linear", "ntk", "dynamic", "yarn", "llama3")
SCALED_BY = {
    "factor": "factor",
    ORIGINAL: "original_context",
    **{
        each: each
        for each in (
            "beta_fast", "beta_slow", "truncate", "attention_factor", "mscale", "mscale_all_dim",
            "low_freq_factor", "high_freq_factor",
        )
    },
}  # fmt: skip
UNUSED = (r"rotary_emb\.inv_freq$", r"^lm_head\.weight$")


def names(*of_a_layer: Patterns, unused: tuple[str, ...] = ()) -> Names:
    """The names of a family whose layers have these; `unused` as in Names, beside what no decoder needs."""
    joined = {ours: published for each in of_a_layer for ours, published in each.items()}
    body = {**TOP, **layers("layers.{i}.", joined)}
    return Names(body=body, heads=HEADS, prefix="model.", unused=UNUSED + unused)


def architectures(name: str) -> dict[str, str]:
    """Class names in transformers of a family, and the head that each tells of."""
    return {
        f"{name}ForCausalLM": "lm",
        f"{name}Model": "",
        f"{name}ForSequenceClassification": "classify",
        f"{name}ForTokenClassification": "classify_tokens",
    }


def attention(published: Mapping[str, Any], **changes: Any) -> AttentionSpec:
    """Grouped heads with rotary positions, without biases."""
    num_heads = published["num_attention_heads"]
    num_kv_heads = published.get("num_key_value_heads") or num_heads
    size = published.get("head_dim")
    shared = head_size(num_heads * size if size else published["hidden_size"], num_heads, num_kv_heads)
    spec = AttentionSpec(
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_size=shared,
        rope=rope(published),
    )
    return spec.model_copy(update=changes)


def glu(published: Mapping[str, Any], key: str = "hidden_act", size: str = "intermediate_size") -> FfnSpec:
    """The gated feed-forward part."""
    return FfnSpec(kind="glu", hidden=published[size], activation=activation(published, key))


def rms(published: Mapping[str, Any], **changes: Any) -> NormSpec:
    return NormSpec(kind="rms", eps=published["rms_norm_eps"]).model_copy(update=changes)


def rope(published: Mapping[str, Any], said: Mapping[str, Any] | None = None) -> RopeSpec:
    """Rotary positions, where older and newer files keep them; `said` are those of one kind of layer.

    Raises:
        WeightsError: a scaling that is not built here, or one without what it needs.

    """
    if said is None:
        said = {**(published.get("rope_scaling") or {}), **(published.get("rope_parameters") or {})}
    kind = said.get("rope_type", said.get("type", "default"))
    part = said.get("partial_rotary_factor", published.get("partial_rotary_factor", 1.0))
    size = published.get("head_dim") or published["hidden_size"] // published["num_attention_heads"]
    return RopeSpec(
        theta=said.get("rope_theta", published.get("rope_theta", 10_000.0)),
        size=None if part == 1.0 else int(size * part),
        scaling=None if kind == "default" else _scaling(kind, said, published),
    )


def _scaling(kind: str, said: Mapping[str, Any], published: Mapping[str, Any]) -> RopeScaling:
    if kind not in SCALINGS:
        raise WeightsError(
            f"config.json scales rotary positions by '{kind}'; read are {', '.join(SCALINGS)}. "
            "Take a model without it."
        )
    values = {ours: said[theirs] for theirs, ours in SCALED_BY.items() if said.get(theirs) is not None}
    if "original_context" not in values and kind in ("yarn", "llama3"):
        values["original_context"] = published.get(ORIGINAL, published["max_position_embeddings"])
    if "factor" not in values:
        raise WeightsError(f"config.json scales rotary positions by '{kind}' and tells no factor.")
    return RopeScaling(kind=kind, **values)


def described_rope(spec: RopeSpec, head_size: int) -> dict[str, Any]:
    """The keys of config.json that tell of rotary positions."""
    values: dict[str, Any] = {"rope_theta": spec.theta}
    if spec.size is not None:
        values["partial_rotary_factor"] = spec.size / head_size
    if spec.scaling is not None:
        values["rope_scaling"] = scaling_keys(spec.scaling)
    return values


def scaling_keys(scaling: RopeScaling) -> dict[str, Any]:
    """How published files write a scaling; what is left at its default is left out."""
    told = scaling.model_dump(exclude_defaults=True)
    return {
        "rope_type": scaling.kind,
        **{theirs: told[ours] for theirs, ours in SCALED_BY.items() if ours in told},
    }


def model(
    published: Mapping[str, Any],
    family: str,
    blocks: Sequence[BlockSpec],
    known: Mapping[str, str],
    **more: Any,
) -> ModelConfig:
    """The whole decoder; the head is the one that `architectures` tells of, by the table `known`."""
    kind = head_kind(published, known)
    heads = {
        "lm": HeadSpec(tied=published.get("tie_word_embeddings", False)),
        "classify": HeadSpec(kind="classify", num_labels=num_labels(published), pooling="last"),
        "classify_tokens": HeadSpec(kind="classify_tokens", num_labels=num_labels(published), bias=True),
    }
    values: dict[str, Any] = {
        "family": family,
        "vocab_size": published["vocab_size"],
        "width": published["hidden_size"],
        "context": published["max_position_embeddings"],
        "blocks": tuple(blocks),
        "final_norm": blocks[0].norm,
        "head": heads.get(kind),
    }
    return ModelConfig(**values | more)


def described(config: ModelConfig, known: Mapping[str, str]) -> dict[str, Any]:
    """The config.json of such a decoder with grouped heads, for the keys that all of them have."""
    attention = config.blocks[0].attention
    assert attention.rope is not None, "these decoders have rotary positions"
    return {
        **described_stack(config, known),
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_kv_heads,
        "head_dim": attention.head_size,
        **described_rope(attention.rope, attention.head_size),
    }


def described_stack(config: ModelConfig, known: Mapping[str, str]) -> dict[str, Any]:
    """The keys that say nothing of attention; the size of feed-forward parts is that of the first plain one."""
    head = config.head
    ffns = [block.ffn.expert if isinstance(block.ffn, MoeSpec) else block.dense for block in config.blocks]
    ffn = next((block.dense for block in config.blocks if isinstance(block.ffn, FfnSpec)), ffns[0])
    values = {
        "architectures": [architecture(config, known)],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": ffn.hidden,
        "num_hidden_layers": config.num_layers,
        "hidden_act": activation_name(ffn.activation),
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.blocks[0].norm.eps,
        "tie_word_embeddings": head is not None and head.tied,
    }
    return {**values, **labels(config)}


TINY = {
    "vocab_size": 288, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "tie_word_embeddings": True,
}  # fmt: skip
