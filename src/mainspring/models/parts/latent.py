"""Multi-head latent attention: keys and values of all heads come of one small latent, which a cache stores.

Paper: arXiv:2405.04434, section 2.1 and appendix C. With a cache the matrices that make keys and values of
the latent are multiplied into the queries and into what was mixed, so that neither is ever made:

    without a cache:  scores = q (W_k c)     mixed = sum p (W_v c)      fewer numbers a score
    with a cache:     scores = (q W_k) c     mixed = W_v (sum p c)      one key, the latent, for all heads

Shapes: T tokens, D width, H heads, N plain size, P rotated size, V value size, C latent's size, K key size.
"""

from dataclasses import replace

import torch
from torch import nn

from mainspring.models.attend import Scoring
from mainspring.models.config import LatentSpec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.norm import build_norm
from mainspring.models.parts.rope import rotate


class LatentAttention(nn.Module):
    """Tokens of a segment look at each other's latents."""

    def __init__(self, spec: LatentSpec, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        key_size = spec.plain_size + spec.rope_size
        self.scoring = Scoring(scale=key_size**-0.5 if spec.scale is None else spec.scale)
        self.q_down = nn.Linear(width, spec.q_rank, bias=False) if spec.q_rank else None
        self.q_norm = build_norm(spec.norm, spec.q_rank) if spec.q_rank else None
        self.q = nn.Linear(spec.q_rank or width, spec.num_heads * key_size, bias=False)
        self.kv_down = nn.Linear(width, spec.kv_rank + spec.rope_size, bias=False)
        self.kv_norm = build_norm(spec.norm, spec.kv_rank)
        self.kv_up = nn.Linear(spec.kv_rank, spec.num_heads * (spec.plain_size + spec.value_size), bias=False)
        self.o = nn.Linear(spec.num_heads * spec.value_size, width, bias=False)

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        spec = self.spec
        latent_TC, turned_TP = self.kv_down(x_TD).split([spec.kv_rank, spec.rope_size], dim=-1)
        latent_TC, turned_T1P = self.kv_norm(latent_TC), self._turn(turned_TP.unsqueeze(1), around)
        plain_THN, q_turned_THP = self._queries(x_TD).split([spec.plain_size, spec.rope_size], dim=-1)
        q_turned_THP = self._turn(q_turned_THP, around)
        mix = self._over_latents if around.attend.is_cache else self._over_heads
        return self.o(mix(plain_THN, q_turned_THP, latent_TC, turned_T1P, around).flatten(1))

    def _queries(self, x_TD: torch.Tensor) -> torch.Tensor:
        if self.q_down is not None and self.q_norm is not None:
            x_TD = self.q_norm(self.q_down(x_TD))
        return self.q(x_TD).unflatten(1, (self.spec.num_heads, -1))

    def _turn(self, x_THP: torch.Tensor, around: Pass) -> torch.Tensor:
        """Rotate; pairs that stand side by side are put into two halves, for queries and keys alike."""
        if self.spec.is_interleaved:
            x_THP = torch.cat([x_THP[..., 0::2], x_THP[..., 1::2]], dim=-1)
        return rotate(x_THP, around.rope(self.spec.rope, self.spec.rope_size))

    def _over_heads(
        self,
        plain_THN: torch.Tensor,
        q_turned_THP: torch.Tensor,
        latent_TC: torch.Tensor,
        turned_T1P: torch.Tensor,
        around: Pass,
    ) -> torch.Tensor:
        """o_THV by keys and values of every head."""
        sizes = [self.spec.plain_size, self.spec.value_size]
        k_THN, v_THV = self.kv_up(latent_TC).unflatten(1, (self.spec.num_heads, -1)).split(sizes, dim=-1)
        k_THK = torch.cat([k_THN, turned_T1P.expand(-1, self.spec.num_heads, -1)], dim=-1)
        q_THK = torch.cat([plain_THN, q_turned_THP], dim=-1)
        return around.attend(self.layer, q_THK, k_THK, v_THV, self.scoring)

    def _over_latents(
        self,
        plain_THN: torch.Tensor,
        q_turned_THP: torch.Tensor,
        latent_TC: torch.Tensor,
        turned_T1P: torch.Tensor,
        around: Pass,
    ) -> torch.Tensor:
        """o_THV by one key that is the latent and the rotated key, and whose latent is the value."""
        to_keys_HNC, to_values_HVC = self.absorbed()
        q_THC = _head_by_head(plain_THN, to_keys_HNC)
        q_THK = torch.cat([q_THC, q_turned_THP], dim=-1)
        k_T1K = torch.cat([latent_TC.unsqueeze(1), turned_T1P], dim=-1)
        scoring = replace(self.scoring, values_in_keys=True)
        o_THC = around.attend(self.layer, q_THK, k_T1K, k_T1K[..., : self.spec.kv_rank], scoring)
        return _head_by_head(o_THC, to_values_HVC.transpose(1, 2))

    def absorbed(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What makes plain keys and values of a latent, (H, N, C) and (H, V, C).

        Where something else stands in the linear's place, an adapter say, it is asked what it makes of unit
        vectors, for every pass anew.
        """
        if isinstance(self.kv_up, nn.Linear):
            weight = self.kv_up.weight
        else:
            like = next(self.kv_norm.parameters())  # 4-bit linears have no parameters
            weight = self.kv_up(torch.eye(self.spec.kv_rank, dtype=like.dtype, device=like.device)).t()
        both_HXC = weight.unflatten(0, (self.spec.num_heads, -1))
        to_keys_HNC, to_values_HVC = both_HXC.split([self.spec.plain_size, self.spec.value_size], dim=1)
        return to_keys_HNC, to_values_HVC


def _head_by_head(x_THN: torch.Tensor, weight_HNC: torch.Tensor) -> torch.Tensor:
    """Every head by its own matrix, (T, H, C)."""
    return torch.bmm(x_THN.transpose(0, 1).contiguous(), weight_HNC).transpose(0, 1)
