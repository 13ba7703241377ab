"""Models with states instead of attention as llama.cpp's converter writes them."""

import torch

STATES = {
    "mixer.up": "ssm_in", "mixer.down": "ssm_out", "mixer.conv": "ssm_conv1d", "mixer.norm": "ssm_norm",
    "mixer.select": "ssm_x", "mixer.dt": "ssm_dt", "mixer.dt_norm": "ssm_dt_norm",
    "mixer.in_norm": "ssm_b_norm", "mixer.out_norm": "ssm_c_norm", "mixer.ba": "ssm_ba",
    "mixer.out": "ssm_out", "mixer.qkvz": "qkvz", "ffn.shared_gate": "ffn_gate_inp_shexp",
}  # fmt: skip
BARE = {"mixer.a_log": "ssm_a", "mixer.d": "ssm_d", "mixer.dt_bias": "ssm_dt.bias"}


def changed(tensors):
    """Decays as negative numbers, convolutions without their dimension of one."""
    found = {}
    for name, tensor in tensors.items():
        found[name] = tensor.squeeze(1) if name.endswith("ssm_conv1d.weight") else tensor
        if name.endswith("ssm_a"):
            found[name] = -tensor.exp()
    return found


def mamba2(tensors, config):
    mixer, found = config.blocks[0].mixer, changed(tensors)
    for name, tensor in found.items():
        if name.endswith(("ssm_a", "ssm_d")):
            found[name] = tensor.unsqueeze(-1)
        if name.endswith("ssm_norm.weight"):
            found[name] = tensor.reshape(mixer.num_groups, -1)
    return found


def qwen3_next(tensors, config):
    """Queries, keys, values and gates of all heads behind one another; norms as what they multiply with."""
    mixer = config.blocks[0].mixer
    ratio = mixer.num_heads // mixer.num_key_heads * mixer.value_size
    sizes = [mixer.key_size, mixer.key_size, ratio, ratio]
    found = {}
    for name, tensor in changed(tensors).items():
        if "qkvz" in name:
            heads = tensor.view(mixer.num_key_heads, sum(sizes), -1).split(sizes, dim=1)
            q, k, v, z = (part.reshape(-1, tensor.shape[1]) for part in heads)
            found[name.replace("qkvz", "attn_qkv")] = torch.cat([q, k, v])
            found[name.replace("qkvz", "attn_gate")] = z
        elif "norm" in name and "ssm_norm" not in name:
            found[name] = tensor + 1
        else:
            found[name] = tensor
    return found
