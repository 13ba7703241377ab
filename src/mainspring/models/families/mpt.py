"""MPT: no positions but a slope of the scores by distance (ALiBi, arXiv:2108.12409). MosaicML, 2023."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import AttentionSpec, BlockSpec, FfnSpec, HeadSpec, ModelConfig, NormSpec
from mainspring.models.families.base import Names, architecture, head_kind, head_size, layers, only

ARCHITECTURES = {"MptForCausalLM": "lm", "MptModel": ""}
NAMES = Names(
    body={
        "embedding.weight": "wte.weight",
        "final_norm.weight": "norm_f.weight",
        **layers(
            "blocks.{i}.",
            {
                ("mixer.q.weight", "mixer.k.weight", "mixer.v.weight"): "attn.Wqkv.weight",
                "mixer.o.weight": "attn.out_proj.weight",
                "mixer_norm.weight": "norm_1.weight",
                "ffn.up.weight": "ffn.up_proj.weight",
                "ffn.down.weight": "ffn.down_proj.weight",
                "ffn_norm.weight": "norm_2.weight",
            },
        ),
    },
    prefix="transformer.",
    unused=(r"^lm_head\.weight$",),
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, no_bias=True, logit_scale=None, embedding_fraction=1.0, tie_word_embeddings=True)
    attention = published.get("attn_config") or {}
    only(attention, alibi=True, attn_type="multihead_attention", prefix_lm=False, qk_ln=False, clip_qkv=None)
    width, num_heads = published["d_model"], published["n_heads"]
    norm = NormSpec(kind="layer", eps=published.get("layer_norm_epsilon", 1e-5), bias=False)
    block = BlockSpec(
        mixer=AttentionSpec(
            num_heads=num_heads,
            num_kv_heads=num_heads,
            head_size=head_size(width, num_heads),
            alibi=float(attention.get("alibi_bias_max", 8)),
            scale=attention.get("softmax_scale"),
        ),
        ffn=FfnSpec(kind="mlp", hidden=published.get("expansion_ratio", 4) * width, activation="gelu"),
        norm=norm,
    )
    return ModelConfig(
        family="mpt",
        vocab_size=published["vocab_size"],
        width=width,
        context=published["max_seq_len"],
        blocks=(block,) * published["n_layers"],
        final_norm=norm,
        head=HeadSpec(tied=True) if head_kind(published, ARCHITECTURES) else None,
    )


def published(config: ModelConfig) -> dict[str, Any]:
    block = config.blocks[0]
    return {
        "architectures": [architecture(config, ARCHITECTURES)],
        "model_type": "mpt",
        "vocab_size": config.vocab_size,
        "d_model": config.width,
        "n_layers": config.num_layers,
        "n_heads": block.attention.num_heads,
        "expansion_ratio": block.dense.hidden // config.width,
        "max_seq_len": config.context,
        "layer_norm_epsilon": block.norm.eps,
        "no_bias": True,
        "attn_config": {
            "alibi": True, "alibi_bias_max": round(block.attention.alibi or 8), "softmax_scale": block.attention.scale,
        },
    }  # fmt: skip


def tiny() -> ModelConfig:
    return config({"vocab_size": 288, "d_model": 96, "n_layers": 2, "n_heads": 6, "max_seq_len": 128})
