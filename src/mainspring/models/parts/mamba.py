"""Mamba-1: a state space in which every channel has a state of its own. Paper: arXiv:2312.00752, algorithm 2.

x -> values, gate      convolution      time steps, inputs, outputs, each normalized as in Jamba
state_L = exp(a dt_L) state_M + dt_L inputs_L values_L;  y_L = outputs_L . state_L + d values_L
y * silu(gate) -> out

Shapes: T tokens, B segments of L tokens, D model width, I channels, N state size, R rank of the time steps.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mainspring.models.attend import State
from mainspring.models.mixer_specs import MambaSpec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.recurrent import CausalConv, filled_up, mix_runs, time_step_bias

CHUNK = 32  # tokens whose states are held at once, few enough for the processor's cache
WIDE = (
    2048  # numbers of a state from which on a processor does one token after another faster than all at once
)


class Steps(NamedTuple):
    """What tokens do to the state and read of it."""

    x_BLI: torch.Tensor
    dt_BLI: torch.Tensor
    in_BLN: torch.Tensor
    out_BLN: torch.Tensor


class Mamba(nn.Module):
    """The mixer; weights in the published layout."""

    def __init__(self, spec: MambaSpec, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        self.up = nn.Linear(width, 2 * spec.inner, bias=spec.bias)
        self.conv = CausalConv(spec.inner, spec.conv_size, bias=spec.conv_bias)
        self.select = nn.Linear(spec.inner, spec.dt_rank + 2 * spec.state_size, bias=False)
        self.dt_norm = nn.RMSNorm(spec.dt_rank, eps=spec.norm_eps)
        self.in_norm = nn.RMSNorm(spec.state_size, eps=spec.norm_eps)
        self.out_norm = nn.RMSNorm(spec.state_size, eps=spec.norm_eps)
        self.dt = nn.Linear(spec.dt_rank, spec.inner)
        self.dt.bias = time_step_bias(spec.inner)
        self.a_log = nn.Parameter(torch.arange(1.0, spec.state_size + 1).log().repeat(spec.inner, 1))
        self.d = nn.Parameter(torch.ones(spec.inner))
        self.out = nn.Linear(spec.inner, width, bias=spec.bias)

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        x_TI, gate_TI = self.up(x_TD).chunk(2, dim=1)
        y_TI = mix_runs(around, self.layer, (x_TI,), partial(self._mix, around))
        return self.out(y_TI * functional.silu(gate_TI))

    def _mix(self, around: Pass, state: State | None, x_BLI: torch.Tensor) -> tuple[torch.Tensor, State]:
        """The state is computed in fp32, as by the reference implementation."""
        spec = self.spec
        last_BKI, state_BIN = state or (None, None)
        x_BLI, last_BKI = self.conv(around, x_BLI, last_BKI)
        x_TI = x_BLI.flatten(0, 1)
        dt_TR, in_TN, out_TN = self.select(filled_up(x_TI, around)).split(
            [spec.dt_rank, spec.state_size, spec.state_size], dim=1
        )
        dt_TI = functional.softplus(self.dt(self.dt_norm(dt_TR)).float())
        dt_BLI, in_BLN, out_BLN = (
            each[: len(x_TI)].float().unflatten(0, x_BLI.shape[:2])
            for each in (dt_TI, self.in_norm(in_TN), self.out_norm(out_TN))
        )
        steps = Steps(x_BLI=x_BLI.float(), dt_BLI=dt_BLI, in_BLN=in_BLN, out_BLN=out_BLN)
        if state_BIN is None:
            state_BIN = dt_BLI.new_zeros(len(x_BLI), spec.inner, spec.state_size)
        y_BLI, state_BIN = scan_chunks(steps, -self.a_log.float().exp(), state_BIN)
        return (y_BLI + self.d * x_BLI).to(x_BLI.dtype), (last_BKI, state_BIN)


def scan_chunks(
    steps: Steps, a_IN: torch.Tensor, state_BIN: torch.Tensor, chunk: int = CHUNK
) -> tuple[torch.Tensor, torch.Tensor]:
    """y_BLI and the state behind the last token.

    States of all tokens (L * I * N numbers) are held for one chunk at a time; a training pass makes them again
    for the gradient, as the paper does (section 3.3.2).
    """
    out: list[torch.Tensor] = []
    for part in zip(*(each.split(chunk, dim=1) for each in steps), strict=True):
        if torch.is_grad_enabled():
            y_BLI, state_BIN = checkpoint(_chunk, Steps(*part), a_IN, state_BIN, use_reentrant=False)
        else:
            y_BLI, state_BIN = _chunk(Steps(*part), a_IN, state_BIN)
        out.append(y_BLI)
    return torch.cat(out, dim=1), state_BIN


def _chunk(steps: Steps, a_IN: torch.Tensor, state_BIN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    decay_BLIN = (steps.dt_BLI.unsqueeze(-1) * a_IN).exp()
    added_BLIN = (steps.dt_BLI * steps.x_BLI).unsqueeze(-1) * steps.in_BLN.unsqueeze(2)
    states_BLIN = Scan.apply(decay_BLIN, added_BLIN, state_BIN)
    # Row times matrix: the bits of matrix times column change with the number of segments.
    y_BLI = (steps.out_BLN.unsqueeze(2) @ states_BLIN.transpose(2, 3)).squeeze(2)
    return y_BLI, states_BLIN[:, -1].clone()


class Scan(torch.autograd.Function):
    """h_L = decay_L * h_M + added_L for all tokens; the gradient is such a scan from the other end."""

    @staticmethod
    def forward(
        ctx: Any, decay_BLIN: torch.Tensor, added_BLIN: torch.Tensor, state_BIN: torch.Tensor
    ) -> torch.Tensor:
        states_BLIN = scan(decay_BLIN, added_BLIN, state_BIN)
        ctx.save_for_backward(decay_BLIN, states_BLIN, state_BIN)
        return states_BLIN

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        decay_BLIN, states_BLIN, state_BIN = ctx.saved_tensors
        later_BLIN = decay_BLIN.roll(-1, dims=1).flip(1)
        added_BLIN = scan(later_BLIN, grad_outputs[0].flip(1), torch.zeros_like(state_BIN)).flip(1)
        before_BLIN = torch.cat([state_BIN.unsqueeze(1), states_BLIN[:, :-1]], dim=1)
        return added_BLIN * before_BLIN, added_BLIN, added_BLIN[:, 0] * decay_BLIN[:, 0]


def scan(decay_BLX: torch.Tensor, added_BLX: torch.Tensor, state_BX: torch.Tensor) -> torch.Tensor:
    """h_L = decay_L * h_M + added_L.

    Many tokens at once, except for wide states on a processor: there a token is a vector long enough, and going
    in order reads and writes every number once.
    """
    if not state_BX.is_cpu or state_BX.numel() < WIDE:
        first_B1X = torch.addcmul(added_BLX[:, :1], decay_BLX[:, :1], state_BX.unsqueeze(1))
        return associative_scan(decay_BLX, torch.cat([first_B1X, added_BLX[:, 1:]], dim=1))
    states_BLX = torch.empty_like(added_BLX)
    for decay, added, out in zip(
        *(each.unbind(1) for each in (decay_BLX, added_BLX, states_BLX)), strict=True
    ):
        state_BX = torch.addcmul(added, decay, state_BX, out=out)
    return states_BLX


def associative_scan(decay_BLX: torch.Tensor, added_BLX: torch.Tensor) -> torch.Tensor:
    """The same in about 2 log2 L steps, beginning with h = added at the first token.

    Two neighbors make one step of half as many; its results are those of every second token, and each of the
    others follows from the one before it. Only decays are multiplied, so nothing can overflow.
    Paper: Blelloch, Prefix sums and their applications, CMU-CS-90-190, section 1.2.
    """
    length = added_BLX.shape[1]
    if length == 1:
        return added_BLX
    even = slice(0, length - length % 2, 2)
    decay, added = decay_BLX[:, 1::2], added_BLX[:, 1::2]
    odd_BLX = associative_scan(decay * decay_BLX[:, even], torch.addcmul(added, decay, added_BLX[:, even]))
    states_BLX = added_BLX.clone()
    states_BLX[:, 1::2] = odd_BLX
    before = odd_BLX[:, : (length - 1) // 2]
    states_BLX[:, 2::2] += decay_BLX[:, 2::2] * before
    return states_BLX
