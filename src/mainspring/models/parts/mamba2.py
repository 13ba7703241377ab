"""Mamba-2: a state space whose heads have one decay each, computed in chunks. Paper: arXiv:2405.21060.

x -> gate, (values, inputs, outputs), time steps
            convolution    state_L = exp(-a dt_L) state_M + dt_L inputs_L values_L
                           y_L = outputs_L . state_L + d values_L
norm(y * silu(gate)) -> out

Shapes: T tokens, B segments of L (and M, the earlier ones) tokens, D model width, H heads in G groups of R,
P head size, N state size, I = H * P, X convolved channels.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.attend import State
from mainspring.models.mixer_specs import Mamba2Spec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.recurrent import CausalConv, decay_between, mix_runs, time_step_bias


class Steps(NamedTuple):
    """What tokens do to the state and read of it."""

    x_BLHP: torch.Tensor
    dt_BLH: torch.Tensor
    in_BLGN: torch.Tensor
    out_BLGN: torch.Tensor


class Mamba2(nn.Module):
    """The mixer; weights in the published layout."""

    def __init__(self, spec: Mamba2Spec, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        self.up = nn.Linear(width, spec.inner + spec.num_channels + spec.num_heads, bias=spec.bias)
        self.conv = CausalConv(spec.num_channels, spec.conv_size, bias=spec.conv_bias)
        self.dt_bias = time_step_bias(spec.num_heads)
        self.a_log = nn.Parameter(torch.empty(spec.num_heads).uniform_(1.0, 16.0).log())
        self.d = nn.Parameter(torch.ones(spec.num_heads))
        self.norm = GroupNorm(spec.inner, spec.num_groups, spec.norm_eps)
        self.out = nn.Linear(spec.inner, width, bias=spec.bias)

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        spec = self.spec
        gate_TI, x_TX, dt_TH = self.up(x_TD).split([spec.inner, spec.num_channels, spec.num_heads], dim=1)
        dt_TH = functional.softplus(dt_TH.float() + self.dt_bias).clamp(spec.dt_min, spec.dt_max)
        y_TI = mix_runs(around, self.layer, (gate_TI, x_TX, dt_TH), partial(self._mix, around))
        return self.out(y_TI)

    def _mix(
        self,
        around: Pass,
        state: State | None,
        gate_BLI: torch.Tensor,
        x_BLX: torch.Tensor,
        dt_BLH: torch.Tensor,
    ) -> tuple[torch.Tensor, State]:
        """The state is computed in fp32, as by the reference implementation."""
        spec = self.spec
        last_BKX, state_BHPN = state or (None, None)
        x_BLX, last_BKX = self.conv(around, x_BLX, last_BKX)
        shared = spec.num_groups * spec.state_size
        x_BLI, in_BLS, out_BLS = x_BLX.float().split([spec.inner, shared, shared], dim=2)
        steps = Steps(
            x_BLHP=x_BLI.unflatten(2, (spec.num_heads, spec.head_size)),
            dt_BLH=dt_BLH,
            in_BLGN=in_BLS.unflatten(2, (spec.num_groups, spec.state_size)),
            out_BLGN=out_BLS.unflatten(2, (spec.num_groups, spec.state_size)),
        )
        if state_BHPN is None:
            state_BHPN = steps.x_BLHP.new_zeros(len(x_BLX), spec.num_heads, spec.head_size, spec.state_size)
        y_BLHP, state_BHPN = scan_chunks(steps, -self.a_log.float().exp(), state_BHPN, spec.chunk)
        y_BLI = (y_BLHP + self.d.unsqueeze(1) * steps.x_BLHP).flatten(2)
        return self.norm(y_BLI * functional.silu(gate_BLI.float())).to(gate_BLI.dtype), (last_BKX, state_BHPN)


class GroupNorm(nn.Module):
    """RMS norm over each of `num_groups` parts of the channels."""

    def __init__(self, width: int, num_groups: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.num_groups, self.eps = num_groups, eps

    def forward(self, x_BLI: torch.Tensor) -> torch.Tensor:
        x_BLGX = x_BLI.unflatten(-1, (self.num_groups, -1))
        normed_BLGX = functional.rms_norm(x_BLGX, x_BLGX.shape[-1:], eps=self.eps)
        return normed_BLGX.flatten(-2) * self.weight


def scan_chunks(
    steps: Steps, a_H: torch.Tensor, state_BHPN: torch.Tensor, chunk: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """y_BLHP and the state behind the last token: within a chunk as attention, from chunk to chunk by the state.

    Paper: arXiv:2405.21060, section 6; ours goes through the chunks in order, so none needs padding.
    """
    out: list[torch.Tensor] = []
    for part in zip(*(each.split(chunk, dim=1) for each in steps), strict=True):
        y_BLHP, state_BHPN = _chunk(Steps(*part), a_H, state_BHPN)
        out.append(y_BLHP)
    return torch.cat(out, dim=1), state_BHPN


def _chunk(steps: Steps, a_H: torch.Tensor, state_BHPN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    num_groups = steps.in_BLGN.shape[2]
    log_BLH = steps.dt_BLH * a_H
    left_BGRLM = decay_between(log_BLH).unflatten(1, (num_groups, -1))
    since_BLGR = log_BLH.cumsum(1).exp().unflatten(2, (num_groups, -1))
    x_BLGRP = (steps.x_BLHP * steps.dt_BLH.unsqueeze(-1)).unflatten(2, (num_groups, -1))
    state_BGRPN = state_BHPN.unflatten(1, (num_groups, -1))
    match_BGLM = torch.einsum("blgn,bmgn->bglm", steps.out_BLGN, steps.in_BLGN)
    y_BLGRP = torch.einsum("bgrlm,bmgrp->blgrp", match_BGLM.unsqueeze(2) * left_BGRLM, x_BLGRP)
    before_BLGRP = torch.einsum("blgn,bgrpn->blgrp", steps.out_BLGN, state_BGRPN)
    y_BLGRP = torch.addcmul(y_BLGRP, before_BLGRP, since_BLGR.unsqueeze(-1))
    kept_BGRPN = state_BGRPN * since_BLGR[:, -1, :, :, None, None]
    last_BMGR = left_BGRLM[:, :, :, -1].permute(0, 3, 1, 2)
    added_BGRPN = torch.einsum("bmgn,bmgrp->bgrpn", steps.in_BLGN, x_BLGRP * last_BMGR.unsqueeze(-1))
    return y_BLGRP.flatten(2, 3), (kept_BGRPN + added_BGRPN).flatten(1, 2)


def reference_scan(
    steps: Steps, a_H: torch.Tensor, state_BHPN: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same token by token, as the recurrence reads. Paper: arXiv:2405.21060, eq. 1 with the steps of eq. 2."""
    repeat = steps.x_BLHP.shape[2] // steps.in_BLGN.shape[2]
    out: list[torch.Tensor] = []
    for x_BHP, dt_BH, in_BGN, out_BGN in zip(*(each.unbind(1) for each in steps), strict=True):
        in_BHN, out_BHN = in_BGN.repeat_interleave(repeat, 1), out_BGN.repeat_interleave(repeat, 1)
        decay_BH11 = (dt_BH * a_H).exp()[:, :, None, None]
        state_BHPN = decay_BH11 * state_BHPN + torch.einsum("bh,bhp,bhn->bhpn", dt_BH, x_BHP, in_BHN)
        out.append(torch.einsum("bhpn,bhn->bhp", state_BHPN, out_BHN))
    return torch.stack(out, dim=1), state_BHPN
