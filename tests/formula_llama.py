"""A Llama or Mistral of one text, written out in plain steps, and the adapters' formulas within it.

Weights come from a plain model of ours, in its precision; adapters are given as tensors.
"""

import torch
from torch.nn.functional import relu, silu


def rms(x, norm):
    return x * (x.square().mean(-1, keepdim=True) + norm.eps).rsqrt() * norm.weight


def turned(x_THK, tables):
    """Rotated by each token's angle: the pair (k, k + K/2) as a complex number."""
    cos, sin = tables
    half = x_THK.shape[-1] // 2
    a, b, cos, sin = x_THK[..., :half], x_THK[..., half:], cos[..., :half], sin[..., :half]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def hidden_states(model, ids, *, scales=None, nets=None, prefix=None, prompt=None):
    """Hidden states of the text's tokens, behind the last norm.

    scales: linear's path -> IA3 vector. nets: part's path -> (D, d, U, u) of a bottleneck adapter with ReLU.
    prefix: layer -> (keys (P, G, K), values (P, G, K)). prompt: (P, D).
    """
    scales, nets, prefix = scales or {}, nets or {}, prefix or {}
    x = model.embedding.weight[ids]
    num_rows, shift = 0, 0
    if prompt is not None:
        x, num_rows = torch.cat([prompt, x]), len(prompt)
    if prefix:
        shift = len(prefix[0][0])
    pos = torch.arange(len(x)) + shift
    for layer, block in enumerate(model.blocks):
        y = attention(model, block.mixer, rms(x, block.mixer_norm), pos, scales, prefix.get(layer), layer)
        x = x + behind(y, nets.get(f"blocks.{layer}.mixer"))
        y = rms(x, block.ffn_norm)
        inner = silu(y @ block.ffn.gate.weight.T) * (y @ block.ffn.up.weight.T)
        inner = inner * scales.get(f"blocks.{layer}.ffn.down", 1.0)
        x = x + behind(inner @ block.ffn.down.weight.T, nets.get(f"blocks.{layer}.ffn"))
    return rms(x, model.final_norm)[num_rows:]


def behind(y, net):
    if net is None:
        return y
    down, down_bias, up, up_bias = net
    return y + relu(y @ down.T + down_bias) @ up.T + up_bias


def attention(model, mixer, x, pos, scales, prefix, layer):
    spec = mixer.spec
    q, k, v = (
        (x @ linear.weight.T * scales.get(f"blocks.{layer}.mixer.{name}", 1.0)).unflatten(
            1, (-1, spec.head_size)
        )
        for name, linear in (("q", mixer.q), ("k", mixer.k), ("v", mixer.v))
    )
    tables = model._rope(pos, spec.rope, spec.head_size)
    q, k = turned(q, tables), turned(k, tables)
    num_virtual = 0
    if prefix is not None:
        k, v, num_virtual = torch.cat([prefix[0], k]), torch.cat([prefix[1], v]), len(prefix[0])
    heads = []
    for head in range(spec.num_heads):
        group = head * spec.num_kv_heads // spec.num_heads
        scores = q[:, head] @ k[:, group].T * spec.head_size**-0.5
        distance = torch.arange(len(q))[:, None] - (torch.arange(len(k)) - num_virtual)[None]
        seen = distance >= 0
        if spec.window is not None:
            seen &= distance < spec.window
        seen[:, :num_virtual] = True
        heads.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v[:, group])
    return torch.cat(heads, dim=1) @ mixer.o.weight.T
