"""Long short-term memory, by torch's own fused layer. Hochreiter and Schmidhuber, 1997; gates as in torch.nn.LSTM.

Shapes: T tokens of packed segments, B segments of L tokens, D model width, H hidden numbers.
"""

from functools import partial

import torch
from torch import nn

from mainspring.models.attend import State
from mainspring.models.mixer_specs import LstmSpec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.recurrent import filled_up, mix_runs


class Lstm(nn.Module):
    """One layer; the state is (hidden_BH, cell_BH)."""

    def __init__(self, spec: LstmSpec, width: int, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.cell = nn.LSTM(width, spec.hidden, batch_first=True)

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        return mix_runs(around, self.layer, [x_TD], partial(self._mix, around))

    def _mix(self, around: Pass, state: State | None, x_BLD: torch.Tensor) -> tuple[torch.Tensor, State]:
        count = len(x_BLD)
        before = None if state is None else tuple(filled_up(each, around).unsqueeze(0) for each in state)
        y_BLH, (hidden_1BH, cell_1BH) = self.cell(filled_up(x_BLD, around), before)
        return y_BLH[:count], (hidden_1BH[0, :count], cell_1BH[0, :count])
