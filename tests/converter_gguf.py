"""Our tiny models as llama.cpp's converter writes the published ones: its names, its metadata, its changes.

Written from what the converter does, by our names of weights and by hand, so that reading has something to be
held against.
"""

import torch
from gguf import GGMLQuantizationType as Type
from gguf import PoolingType, RopeScalingType

from fakes_gguf import write_gguf

DECODER = {
    "embedding": "token_embd", "positions": "position_embd", "final_norm": "output_norm", "head.out": "output",
    "mixer.q": "attn_q", "mixer.k": "attn_k", "mixer.v": "attn_v", "mixer.o": "attn_output",
    "mixer.q_norm": "attn_q_norm", "mixer.k_norm": "attn_k_norm", "mixer_norm": "attn_norm",
    "mixer_out_norm": "post_attention_norm", "ffn_norm": "ffn_norm", "ffn_out_norm": "post_ffw_norm",
    "ffn.gate": "ffn_gate", "ffn.up": "ffn_up", "ffn.down": "ffn_down",
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


def convert(model, path, *, kind=Type.F32, tokenizer=None, said=None, more=None, **flags):
    """A GGUF file of a model of ours; `said` replaces metadata (None leaves one out), `more` adds tensors."""
    architecture, describe, tensors = CONVERTERS[model.config.family]
    metadata = {**describe(model.config), **(said or {})}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    arrays = {name: tensor.detach().numpy() for name, tensor in tensors(model).items()}
    return write_gguf(path, architecture, metadata, {**arrays, **(more or {})}, tokenizer, kind, **flags)


def renamed(model, names, decoder="blk", encoder="enc.blk"):
    """All weights under GGUF's names."""
    found = {}
    for ours, tensor in model.state_dict().items():
        side, _, name = ours.rpartition("blocks.")
        layer, _, part = name.partition(".") if "blocks." in ours else ("", "", ours)
        stem, _, suffix = part.rpartition(".")
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
        "feed_forward_length": block.ffn.hidden,
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
    "phi3": ("phi3", phi3_metadata, phi3),
    "gemma2": ("gemma2", gemma2, raised),
    "gemma3_text": ("gemma3", gemma3, raised),
    "bert": ("bert", bert, encoder),
    "roberta": ("bert", bert, roberta),
    "modernbert": ("modern-bert", modern_bert_metadata, modern_bert),
    "t5": ("t5", t5_metadata, t5),
}
