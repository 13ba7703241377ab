"""What mixers with a state share: segments in turn, the short convolution, decays, time steps.

Shapes: T tokens of packed segments, B segments of L tokens, X channels, K last tokens, H heads.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.attend import State
from mainspring.models.parts.base import Pass

Mix = Callable[..., tuple[torch.Tensor, State]]
"""The state before some tokens and what they bring, (B, L, ...) each, to what they get and the state behind."""


def mix_runs(around: Pass, layer: int, rows: Sequence[torch.Tensor], mix: Mix) -> torch.Tensor:
    """Segments of one length side by side, each from its own state; the result is shaped as the first of `rows`.

    What stands behind the last segment gets zeros.
    """
    out: list[torch.Tensor] = []
    numbered: list[torch.Tensor] = []
    for run in around.attend.runs(layer):
        parts = [each[run.rows].unflatten(0, (run.count, run.length)) for each in rows]
        y_BLX, state = mix(run.state, *parts)
        run.keep(state)
        out.append(y_BLX.flatten(0, 1))
        if isinstance(run.rows, torch.Tensor):
            numbered.append(run.rows)
    if numbered:
        y_TX = torch.zeros_like(rows[0])
        y_TX[torch.cat(numbered)] = torch.cat(out)
        return y_TX
    done = sum(len(each) for each in out)
    if done < len(rows[0]):
        out.append(torch.zeros_like(rows[0][done:]))
    return torch.cat(out)


def filled_up(x_BX: torch.Tensor, around: Pass) -> torch.Tensor:
    """Rows for a kernel that is to have more of them in the engine's exact mode."""
    missing = around.attend.pad(len(x_BX)) - len(x_BX)
    return functional.pad(x_BX, (0, 0) * (x_BX.dim() - 1) + (0, missing)) if missing else x_BX


class CausalConv(nn.Module):
    """Each channel's weighted sum of its last tokens."""

    def __init__(self, num_channels: int, size: int, *, bias: bool) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(size)
        self.weight = nn.Parameter(torch.empty(num_channels, 1, size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_channels).uniform_(-bound, bound)) if bias else None

    def forward(
        self, around: Pass, x_BLX: torch.Tensor, last_BKX: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Silu of the sums, and the last tokens that the next ones need; before the first there are zeros."""
        size = self.weight.shape[2]
        if last_BKX is None:
            last_BKX = x_BLX.new_zeros(len(x_BLX), size - 1, x_BLX.shape[2])
        seen_BMX = torch.cat([last_BKX, x_BLX], dim=1)
        length = x_BLX.shape[1]
        sum_BLX = seen_BMX[:, :length] * self.weight[:, 0, 0]
        for back in range(1, size):
            sum_BLX = torch.addcmul(sum_BLX, seen_BMX[:, back : back + length], self.weight[:, 0, back])
        if self.bias is not None:
            sum_BLX = sum_BLX + self.bias
        count = len(x_BLX)
        return functional.silu(filled_up(sum_BLX, around))[:count], seen_BMX[:, length:].clone()


def decay_between(log_BLH: torch.Tensor) -> torch.Tensor:
    """What is left of each token M at each later token L: exp(log[M + 1] + ... + log[L]), (B, H, L, M).

    Sums of their own, as differences of running sums would lose the small decays behind a large one.
    Paper: arXiv:2405.21060, listing 1 (segsum).
    """
    length = log_BLH.shape[1]
    if length == 1:  # nothing is between a token and itself
        return torch.ones_like(log_BLH).transpose(1, 2).unsqueeze(-1)
    steps_BHLM = log_BLH.transpose(1, 2).unsqueeze(-1).expand(-1, -1, -1, length).tril(-1)
    return steps_BHLM.cumsum(2).exp().tril()


def time_step_bias(size: int) -> nn.Parameter:
    """What softplus makes time steps of, spread evenly by their logarithm over 0.001 to 0.1.

    Paper: arXiv:2312.00752, section 3.6.
    """
    step = torch.empty(size).uniform_(math.log(1e-3), math.log(1e-1)).exp()
    return nn.Parameter(step + torch.log(-torch.expm1(-step)))
