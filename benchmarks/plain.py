"""A decoder of Llama's shape and its training loop, as one writes them with torch alone, after nanoGPT's idea.

It is an opponent: one file, one matrix for queries, keys and values, torch's fused attention and AdamW, nothing else.
Same weights, products and loss as Mainspring's Llama of the same sizes (pretrain.py compares their losses).

Shapes: B rows, T tokens, D width, H heads, K head size.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

import clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of a decoder."""

    layers: int
    width: int
    heads: int
    hidden: int
    vocabulary: int
    context: int


class PlainBlock(nn.Module):
    """Attention with rotated queries and keys, then a gated feed-forward part, each behind an RMS norm."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.mixer_norm, self.ffn_norm = (nn.RMSNorm(sizes.width, eps=1e-5) for _ in range(2))
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width, bias=False)
        self.out = nn.Linear(sizes.width, sizes.width, bias=False)
        self.gate_up = nn.Linear(sizes.width, 2 * sizes.hidden, bias=False)
        self.down = nn.Linear(sizes.hidden, sizes.width, bias=False)

    def forward(self, x_BTD: torch.Tensor, cos_TK: torch.Tensor, sin_TK: torch.Tensor) -> torch.Tensor:
        parts = self.qkv(self.mixer_norm(x_BTD)).chunk(3, dim=-1)
        q_BHTK, k_BHTK, v_BHTK = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        q_BHTK, k_BHTK = turned(q_BHTK, cos_TK, sin_TK), turned(k_BHTK, cos_TK, sin_TK)
        o_BHTK = functional.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        x_BTD = x_BTD + self.out(o_BHTK.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.ffn_norm(x_BTD)).chunk(2, dim=-1)
        return x_BTD + self.down(functional.silu(gate) * up)


def turned(x_BHTK: torch.Tensor, cos_TK: torch.Tensor, sin_TK: torch.Tensor) -> torch.Tensor:
    """Rotary positions (arXiv:2104.09864), both halves of a head in place of pairs, in the dtype of x."""
    left, right = x_BHTK.chunk(2, dim=-1)
    cos, sin = cos_TK.to(x_BHTK.dtype), sin_TK.to(x_BHTK.dtype)
    return x_BHTK * cos + torch.cat([-right, left], dim=-1) * sin


class PlainLlama(nn.Module):
    """Embedding, blocks, norm; the embedding is the head as well."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        self.blocks = nn.ModuleList(PlainBlock(sizes) for _ in range(sizes.layers))
        self.norm = nn.RMSNorm(sizes.width, eps=1e-5)
        size = sizes.width // sizes.heads
        frequency = 10_000.0 ** -(torch.arange(0, size, 2).float() / size)
        angle_TK = torch.outer(torch.arange(sizes.context).float(), frequency).repeat(1, 2)
        self.register_buffer("cos_TK", angle_TK.cos(), persistent=False)
        self.register_buffer("sin_TK", angle_TK.sin(), persistent=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids_BT: torch.Tensor, target_BT: torch.Tensor) -> torch.Tensor:
        """Mean cross entropy of the targets."""
        x_BTD = self.embedding(ids_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, self.cos_TK, self.sin_TK)
        logits_BTV = functional.linear(self.norm(x_BTD), self.embedding.weight)
        return functional.cross_entropy(
            logits_BTV.flatten(0, 1).float(), target_BT.flatten(), ignore_index=-1
        )


def build_optimizer(model: nn.Module, *, lr: float) -> torch.optim.Optimizer:
    """AdamW, fused; vectors do not decay."""
    matrices = [each for each in model.parameters() if each.ndim >= 2]
    vectors = [each for each in model.parameters() if each.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)


def run(
    model: PlainLlama,
    optimizer: torch.optim.Optimizer,
    rows: torch.Tensor,
    num_steps: int,
    batch_size: int,
    *,
    bf16: bool,
) -> list[float]:
    """Train; the time at the end of every step."""
    stamps = []
    for step in range(num_steps):
        ids_BT = rows[torch.randint(len(rows), (batch_size,))]
        target_BT = torch.full_like(ids_BT, -1)
        target_BT[:, :-1] = ids_BT[:, 1:]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(ids_BT, target_BT)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 10 == 0:
            loss.item()
        stamps.append(clock.now())
    return stamps
