"""Our tiny models as llama.cpp's converter writes the published ones: its names, its metadata, its changes.

Written from what the converter does, by our names of weights and by hand, so that reading has something to be
held against.
"""

import torch
from gguf import ExpertGatingFuncType, PoolingType, RopeScalingType
from gguf import GGMLQuantizationType as Type

from fakes_gguf import write_gguf

DECODER = {
    "embedding": "token_embd", "positions": "position_embd", "final_norm": "output_norm", "head.out": "output",
    "mixer.q": "attn_q", "mixer.k": "attn_k", "mixer.v": "attn_v", "mixer.o": "attn_output",
    "mixer.q_norm": "attn_q_norm", "mixer.k_norm": "attn_k_norm", "mixer_norm": "attn_norm",
    "mixer_out_norm": "post_attention_norm", "ffn_norm": "ffn_norm", "ffn_out_norm": "post_ffw_norm",
    "ffn.router": "ffn_gate_inp", "ffn.balance": "exp_probs_b", "ffn.gate": "ffn_gate", "ffn.up": "ffn_up",
    "ffn.down": "ffn_down",
}  # fmt: skip
LATENT = {
    **DECODER, "mixer.q_down": "attn_q_a", "mixer.q_norm": "attn_q_a_norm", "mixer.q": "attn_q_b",
    "mixer.kv_down": "attn_kv_a_mqa", "mixer.kv_norm": "attn_kv_a_norm", "mixer.kv_up": "attn_kv_b",
    "ffn.shared.gate": "ffn_gate_shexp", "ffn.shared.up": "ffn_up_shexp", "ffn.shared.down": "ffn_down_shexp",
}  # fmt: skip
ENCODER = {
    **DECODER, "embedding_norm": "token_embd_norm", "token_types": "token_types",
    "mixer_norm": "attn_output_norm", "ffn_norm": "layer_output_norm",
}  # fmt: skip
MODERN = {**DECODER, "embedding_norm": "token_embd_norm"}
T5 = {
    **DECODER, "mixer.o": "attn_o", "cross.q": "cross_attn_q", "cross.k": "cross_attn_k",
    "cross.v": "cross_attn_v", "cross.o": "cross_attn_o", "cross_norm": "cross_attn_norm",
}  # fmt: skip


def convert(model, path, *, kind=Type.F32, tokenizer=None, said=None, more=None, without=(), **flags):
    """A GGUF file of a model of ours.

    `said` replaces metadata (None leaves one out); `more` adds tensors, `without` leaves those with such parts
    in their names out.
    """
    architecture, describe, tensors = CONVERTERS[model.config.family]
    metadata = {**describe(model.config), **(said or {})}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    arrays = {
        name: tensor.detach().numpy()
        for name, tensor in tensors(model).items()
        if not any(part in name for part in without)
    }
    return write_gguf(path, architecture, metadata, {**arrays, **(more or {})}, tokenizer, kind, **flags)


def renamed(model, names, decoder="blk", encoder="enc.blk"):
    """All weights under GGUF's names."""
    found = {}
    for ours, tensor in model.state_dict().items():
        side, _, name = ours.rpartition("blocks.")
        layer, _, part = name.partition(".") if "blocks." in ours else ("", "", ours)
        stem, _, suffix = part.rpartition(".")
        if stem == "ffn" and suffix == "balance":
            stem, suffix = "ffn.balance", "bias"
        if ".experts." in part:
            found[f"{decoder}.{layer}.{part.removeprefix('ffn.')}"] = tensor
            continue
        if layer:
            found[f"{encoder if side else decoder}.{layer}.{names[stem]}.{suffix}"] = tensor
        else:
            found[f"{names[stem]}.{suffix}"] = tensor
    return found


def join(tensors, parts, whole):
    """One tensor in place of several: their rows, one behind the other."""
    first = f".{parts[0]}."
    joined = {}
    for name, tensor in tensors.items():
        if first in name:
            rows = [tensors[name.replace(first, f".{part}.")] for part in parts]
            joined[name.replace(first, f".{whole}.")] = torch.cat(rows)
        elif not any(f".{part}." in name for part in parts):
            joined[name] = tensor
    return joined


def plain(model):
    return renamed(model, DECODER)


def permuted(model):
    """Rows of queries and keys in the order of pairs that rotate side by side."""
    mixer = model.config.blocks[0].mixer
    heads = {"attn_q": mixer.num_heads, "attn_k": mixer.num_kv_heads}
    return {name: _permute(tensor, heads.get(name.split(".")[-2])) for name, tensor in plain(model).items()}


def _permute(rows, num_heads):
    if num_heads is None:
        return rows
    halves = rows.reshape(num_heads, 2, rows.shape[0] // num_heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def fused(model):
    return join(plain(model), ("attn_q", "attn_k", "attn_v"), "attn_qkv")


def fused_twice(model):
    return join(fused(model), ("ffn_gate", "ffn_up"), "ffn_up_")


def phi3(model):
    return {name.replace("ffn_up_", "ffn_up"): tensor for name, tensor in fused_twice(model).items()}


def raised(model):
    """Norms as what they multiply with."""
    return {name: tensor + 1 if "norm" in name else tensor for name, tensor in plain(model).items()}


def stacked(tensors):
    """One tensor for the matrices of all experts."""
    found = {}
    for name, tensor in tensors.items():
        before, expert, behind = name.partition(".experts.")
        if not expert:
            found[name] = tensor
        elif behind.startswith("0."):
            count = sum(
                other.startswith(f"{before}.experts.") and other.endswith(behind[1:]) for other in tensors
            )
            parts = [tensors[f"{before}.experts.{e}{behind[1:]}"] for e in range(count)]
            found[f"{before}.ffn_{behind.split('.')[1]}_exps.weight"] = torch.stack(parts)
    return found


def mixtral(model):
    return stacked(permuted(model))


def mixed(model):
    return stacked(plain(model))


def deepseek(model):
    """What makes keys and values of the latent, split by that and by heads, keys transposed."""
    tensors, mixer = stacked(renamed(model, LATENT)), model.config.blocks[0].mixer
    for name in [name for name in tensors if "attn_kv_b" in name]:
        heads = tensors.pop(name).view(mixer.num_heads, -1, mixer.kv_rank)
        tensors[name.replace("kv_b", "k_b")] = heads[:, : mixer.plain_size].transpose(1, 2)
        tensors[name.replace("kv_b", "v_b")] = heads[:, mixer.plain_size :]
    return tensors


def encoder(model):
    return renamed(model, ENCODER)


def roberta(model):
    tensors = encoder(model)
    return {**tensors, "position_embd.weight": tensors["position_embd.weight"][2:]}


def modern_bert(model):
    joined = join(renamed(model, MODERN), ("attn_q", "attn_k", "attn_v"), "attn_qkv")
    joined = join(joined, ("ffn_gate", "ffn_up"), "ffn_up_")
    return {name.replace("ffn_up_", "ffn_up"): tensor for name, tensor in joined.items()}


def t5(model):
    tops = {"final_norm": "dec.output_norm", "encoder.final_norm": "enc.output_norm",
            "relative": "dec.blk.0.attn_rel_b", "encoder.relative": "enc.blk.0.attn_rel_b"}  # fmt: skip
    return renamed(model, {**T5, **tops}, decoder="dec.blk")


def sizes(config):
    """What all architectures tell."""
    block = config.blocks[0]
    return {
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.num_layers,
        "feed_forward_length": block.ffn.hidden if hasattr(block.ffn, "hidden") else block.ffn.expert.hidden,
        "head_count": block.mixer.num_heads,
    }


def decoder(config):
    mixer = config.blocks[0].mixer
    return {
        **sizes(config),
        "head_count_kv": mixer.num_kv_heads,
        "key_length": mixer.head_size,
        "value_length": mixer.head_size,
        "layer_norm_rms_eps": config.blocks[0].norm.eps,
        "rope_freq_base": mixer.rope.theta,
    }


def llama(config):
    return {**decoder(config), "rope_dimension_count": config.blocks[0].mixer.head_size, "vocab_size": 288}


def mistral(config):
    return {**llama(config), "sliding_window": config.blocks[0].mixer.window}


def phi3_metadata(config):
    mixer = config.blocks[0].mixer
    return {
        **decoder(config),
        "rope_dimension_count": mixer.rope.size or mixer.head_size,
        "rope_scaling_orig_ctx_len": config.context,
        "sliding_window": mixer.window or 0,
    }


def gemma2(config):
    values = {
        **decoder(config),
        "attn_logit_softcapping": config.blocks[0].mixer.softcap,
        "final_logit_softcapping": config.head.softcap,
        "sliding_window": config.blocks[0].mixer.window,
    }
    return {key: value for key, value in values.items() if key != "rope_freq_base"}


def gemma3(config):
    windows = [block.mixer.window for block in config.blocks]
    full = next(block.mixer.rope for block in config.blocks if block.mixer.window is None)
    return {
        **decoder(config),
        "rope_freq_base": full.theta,
        "rope_scaling_type": RopeScalingType.LINEAR,
        "rope_scaling_factor": full.scaling.factor,
        "sliding_window": windows[0],
        "sliding_window_pattern": windows.index(None) + 1,
    }


def mixtral_metadata(config):
    experts = config.blocks[0].ffn
    return {
        **llama(config),
        "sliding_window": config.blocks[0].mixer.window,
        "expert_count": experts.num_experts,
        "expert_used_count": experts.num_chosen,
    }


def qwen3_moe(config):
    experts = config.blocks[0].ffn
    return {
        **decoder(config),
        "expert_count": experts.num_experts,
        "expert_used_count": experts.num_chosen,
        "expert_feed_forward_length": experts.expert.hidden,
    }


def deepseek_metadata(config):
    mixer, experts = config.blocks[0].mixer, config.blocks[-1].ffn
    scaling = mixer.rope.scaling
    return {
        **sizes(config),
        "head_count_kv": 1,
        "layer_norm_rms_eps": config.blocks[0].norm.eps,
        "rope_freq_base": mixer.rope.theta,
        "rope_dimension_count": mixer.rope_size,
        "rope_scaling_type": RopeScalingType.YARN,
        "rope_scaling_factor": scaling.factor,
        "rope_scaling_orig_ctx_len": scaling.original_context,
        "rope_scaling_yarn_log_mul": 0.1 * scaling.mscale_all_dim,
        "q_lora_rank": mixer.q_rank,
        "kv_lora_rank": mixer.kv_rank,
        "key_length": mixer.kv_rank + mixer.rope_size,
        "value_length": mixer.kv_rank,
        "key_length_mla": mixer.plain_size + mixer.rope_size,
        "value_length_mla": mixer.value_size,
        "leading_dense_block_count": 1,
        "expert_count": experts.num_experts,
        "expert_used_count": experts.num_chosen,
        "expert_shared_count": experts.shared.hidden // experts.expert.hidden,
        "expert_feed_forward_length": experts.expert.hidden,
        "expert_weights_scale": experts.scale,
        "expert_weights_norm": experts.is_normalized,
        "expert_gating_func": ExpertGatingFuncType.SIGMOID,
        "expert_group_count": experts.num_groups,
        "expert_group_used_count": experts.num_chosen_groups,
    }


def mpt(config):
    return {**gpt2(config), "max_alibi_bias": config.blocks[0].mixer.alibi}


def gpt2(config):
    return {**sizes(config), "layer_norm_eps": config.blocks[0].norm.eps}


def bert(config):
    return {
        **sizes(config),
        "layer_norm_eps": config.blocks[0].norm.eps,
        "causal_attention": False,
        "pooling_type": PoolingType.CLS,
        "token_type_count": config.num_token_types,
    }


def modern_bert_metadata(config):
    windows = [block.mixer.window for block in config.blocks]
    ropes = {
        window is None: block.mixer.rope.theta for window, block in zip(windows, config.blocks, strict=True)
    }
    return {
        **sizes(config),
        "layer_norm_eps": config.blocks[0].norm.eps,
        "causal_attention": False,
        "pooling_type": PoolingType.MEAN,
        "sliding_window": max(window for window in windows if window),
        "sliding_window_pattern": windows[1:].index(None) + 1,
        "rope_freq_base": ropes[True],
        "rope_freq_base_swa": ropes[False],
        "rope_scaling_type": RopeScalingType.NONE,
        "vocab_size": config.vocab_size,
    }


def t5_metadata(config):
    mixer, eps = config.blocks[0].mixer, config.blocks[0].norm.eps
    return {
        **sizes(config),
        "block_count": config.encoder.num_layers,
        "decoder_block_count": config.num_layers,
        "key_length": mixer.head_size,
        "value_length": mixer.head_size,
        "layer_norm_eps": eps,
        "layer_norm_rms_eps": eps,
        "relative_attn_buckets_count": config.relative.num_buckets,
        "decoder_start_token_id": 0,
    }


# family -> GGUF's name, the metadata of a config, the tensors of a model
CONVERTERS = {
    "llama": ("llama", llama, permuted),
    "mistral": ("llama", mistral, permuted),
    "gpt2": ("gpt2", gpt2, fused),
    "qwen2": ("qwen2", decoder, plain),
    "qwen3": ("qwen3", decoder, plain),
    "mixtral": ("llama", mixtral_metadata, mixtral),
    "qwen3_moe": ("qwen3moe", qwen3_moe, mixed),
    "deepseek_v3": ("deepseek2", deepseek_metadata, deepseek),
    "mpt": ("mpt", mpt, fused),
    "phi3": ("phi3", phi3_metadata, phi3),
    "gemma2": ("gemma2", gemma2, raised),
    "gemma3_text": ("gemma3", gemma3, raised),
    "bert": ("bert", bert, encoder),
    "roberta": ("bert", bert, roberta),
    "modernbert": ("modern-bert", modern_bert_metadata, modern_bert),
    "t5": ("t5", t5_metadata, t5),
}
