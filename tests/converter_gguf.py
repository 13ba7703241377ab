"""Our tiny models as llama.cpp's converter writes the published ones: its names, its metadata, its changes.

Written from what the converter does, by our names of weights and by hand, so that reading has something to be
held against.
"""

import torch
from gguf import GGMLQuantizationType as Type

import converter_gguf_states as states
import metadata_gguf as metadata
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
    told = {**describe(model.config), **(said or {})}
    told = {key: value for key, value in told.items() if value is not None}
    arrays = {
        name: tensor.detach().numpy()
        for name, tensor in tensors(model).items()
        if not any(part in name for part in without)
    }
    return write_gguf(path, architecture, told, {**arrays, **(more or {})}, tokenizer, kind, **flags)


def renamed(model, names, decoder="blk", encoder="enc.blk"):
    """All weights under GGUF's names."""
    found = {}
    for ours, tensor in model.state_dict().items():
        side, _, name = ours.rpartition("blocks.")
        layer, _, part = name.partition(".") if "blocks." in ours else ("", "", ours)
        stem, _, suffix = part.rpartition(".")
        if part in states.BARE:
            found[f"{decoder}.{layer}.{states.BARE[part]}"] = tensor
            continue
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


def mamba2(model):
    return states.mamba2(renamed(model, {**DECODER, **states.STATES}), model.config)


def jamba(model):
    return states.changed(stacked(renamed(model, {**DECODER, **states.STATES})))


def qwen3_next(model):
    names = {**LATENT, **DECODER, **states.STATES, "ffn_norm": "post_attention_norm"}
    return states.qwen3_next(stacked(renamed(model, names)), model.config)


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


# family -> GGUF's name, the metadata of a config, the tensors of a model
CONVERTERS = {
    "llama": ("llama", metadata.llama, permuted),
    "mistral": ("llama", metadata.mistral, permuted),
    "gpt2": ("gpt2", metadata.gpt2, fused),
    "qwen2": ("qwen2", metadata.decoder, plain),
    "qwen3": ("qwen3", metadata.decoder, plain),
    "mixtral": ("llama", metadata.mixtral, mixtral),
    "qwen3_moe": ("qwen3moe", metadata.qwen3_moe, mixed),
    "deepseek_v3": ("deepseek2", metadata.deepseek, deepseek),
    "mpt": ("mpt", metadata.mpt, fused),
    "mamba2": ("mamba2", metadata.mamba2, mamba2),
    "jamba": ("jamba", metadata.jamba, jamba),
    "qwen3_next": ("qwen3next", metadata.qwen3_next, qwen3_next),
    "phi3": ("phi3", metadata.phi3, phi3),
    "gemma2": ("gemma2", metadata.gemma2, raised),
    "gemma3_text": ("gemma3", metadata.gemma3, raised),
    "bert": ("bert", metadata.bert, encoder),
    "roberta": ("bert", metadata.bert, roberta),
    "modernbert": ("modern-bert", metadata.modern_bert, modern_bert),
    "t5": ("t5", metadata.t5, t5),
}
