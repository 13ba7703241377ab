"""GPT-2: learned positions, layer norms, one matrix for queries, keys and values. OpenAI, 2019."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import (
    AttentionSpec,
    BlockSpec,
    FfnSpec,
    HeadSpec,
    ModelConfig,
    NormSpec,
    PositionSpec,
)
from mainspring.models.families.base import Names, architecture, both, head_kind, head_size, layers, only

ARCHITECTURES = {"GPT2LMHeadModel": "lm", "GPT2Model": ""}
QKV = ("mixer.q", "mixer.k", "mixer.v")
NAMES = Names(
    body={
        "embedding.weight": "wte.weight",
        "positions.weight": "wpe.weight",
        **both({"final_norm": "ln_f"}),
        **layers(
            "h.{i}.",
            {
                **{
                    tuple(f"{each}.{kind}" for each in QKV): f"attn.c_attn.{kind}"
                    for kind in ("weight", "bias")
                },
                **both({"mixer.o": "attn.c_proj", "ffn.up": "mlp.c_fc", "ffn.down": "mlp.c_proj"}),
                **both({"mixer_norm": "ln_1", "ffn_norm": "ln_2"}),
            },
        ),
    },
    heads={"lm": {"head.out.weight": "lm_head.weight"}},
    prefix="transformer.",
    transposed=("c_attn.weight", "c_proj.weight", "c_fc.weight"),
    unused=(r"attn\.bias$", r"attn\.masked_bias$", r"^lm_head\.weight$"),
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(
        published,
        activation_function="gelu_new",
        scale_attn_weights=True,
        n_inner=(None, 4 * published["n_embd"]),
    )
    only(published, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    width, num_heads = published["n_embd"], published["n_head"]
    norm = NormSpec(kind="layer", eps=published.get("layer_norm_epsilon", 1e-5))
    block = BlockSpec(
        mixer=AttentionSpec(
            num_heads=num_heads,
            num_kv_heads=num_heads,
            head_size=head_size(width, num_heads),
            bias=True,
            out_bias=True,
        ),
        ffn=FfnSpec(kind="mlp", hidden=4 * width, activation="gelu_tanh", bias=True),
        norm=norm,
    )
    context = published["n_positions"]
    tied = published.get("tie_word_embeddings", True)
    return ModelConfig(
        family="gpt2",
        vocab_size=published["vocab_size"],
        width=width,
        context=context,
        blocks=(block,) * published["n_layer"],
        positions=PositionSpec(size=context),
        final_norm=norm,
        head=HeadSpec(tied=tied) if head_kind(published, ARCHITECTURES) else None,
    )


def published(config: ModelConfig) -> dict[str, Any]:
    block = config.blocks[0]
    return {
        "architectures": [architecture(config, ARCHITECTURES)],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_embd": config.width,
        "n_layer": config.num_layers,
        "n_head": block.attention.num_heads,
        "n_positions": config.context,
        "layer_norm_epsilon": block.norm.eps,
        "activation_function": "gelu_new",
        "tie_word_embeddings": config.head is not None and config.head.tied,
    }


def tiny() -> ModelConfig:
    return config({"vocab_size": 288, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128})
