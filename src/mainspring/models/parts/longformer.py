"""Sliding windows both ways and global tokens. Paper: arXiv:2004.05150, section 3.

every token     sees its window and the global tokens, by q, k, v
a global token  sees all tokens, by q_global, k_global, v_global

Shapes: T tokens, B segments of L tokens (G of them global), D model width, H heads, K head size, X = H * K.
"""

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from mainspring.models.attend import Scoring, State
from mainspring.models.mixer_specs import LongformerSpec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.recurrent import mix_runs


class Longformer(nn.Module):
    """The mixer; which tokens are global follows from their place in the segment."""

    def __init__(self, spec: LongformerSpec, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        self.scoring = Scoring(
            scale=spec.head_size**-0.5, causal=False, window=spec.window, num_global=spec.num_global
        )
        size = spec.num_heads * spec.head_size
        self.q, self.k, self.v = (nn.Linear(width, size) for _ in range(3))
        self.q_global, self.k_global, self.v_global = (nn.Linear(width, size) for _ in range(3))
        self.o = nn.Linear(size, width)

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        q_THK, k_THK, v_THK = (self._heads(each(x_TD)) for each in (self.q, self.k, self.v))
        near_TX = around.attend(self.layer, q_THK, k_THK, v_THK, self.scoring).flatten(1)
        rows = (near_TX, x_TD, self.k_global(x_TD), self.v_global(x_TD))
        return self.o(mix_runs(around, self.layer, rows, self._mix))

    def _mix(
        self,
        state: State | None,
        near_BLX: torch.Tensor,
        x_BLD: torch.Tensor,
        k_BLX: torch.Tensor,
        v_BLX: torch.Tensor,
    ) -> tuple[torch.Tensor, State]:
        """The global tokens' rows replaced; they see whole segments, so there is no state before one."""
        first_BGD = x_BLD[:, : self.spec.num_global]
        q_BGX = self.q_global(first_BGD.flatten(0, 1)).unflatten(0, first_BGD.shape[:2])
        q_BHGK, k_BHLK, v_BHLK = (self._heads(each).transpose(1, 2) for each in (q_BGX, k_BLX, v_BLX))
        far_BHGK = scaled_dot_product_attention(q_BHGK, k_BHLK, v_BHLK, scale=self.scoring.scale)
        far_BGX = far_BHGK.transpose(1, 2).flatten(2)
        return torch.cat([far_BGX, near_BLX[:, far_BGX.shape[1] :]], dim=1), ()

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.spec.num_heads, -1))
