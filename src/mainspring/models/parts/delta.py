"""The gated delta rule: a state that is decayed, read with the key and corrected. Paper: arXiv:2412.06464.

x -> queries, keys, values (convolution), gate z, decay, strength b
state_L = decay_L state_M + b_L k_L (v_L - decay_L k_L . state_M);  y_L = q_L . state_L
norm(y) * silu(z) -> out

Shapes: T tokens, B segments of L (and M, the earlier ones) tokens, D model width, H value heads, G key heads,
K key size, V value size, X convolved channels.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.attend import State
from mainspring.models.mixer_specs import DeltaSpec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.recurrent import CausalConv, decay_between, mix_runs, time_step_bias

CHUNK = 64
UNIT_EPS = 1e-6


class Steps(NamedTuple):
    """What tokens do to the state: `log_BLH` is the logarithm of the decay, `beta_BLH` the strength."""

    q_BLHK: torch.Tensor
    k_BLHK: torch.Tensor
    v_BLHV: torch.Tensor
    log_BLH: torch.Tensor
    beta_BLH: torch.Tensor


class Delta(nn.Module):
    """The mixer; weights in the published layout, in which each key head stands with its value heads."""

    def __init__(self, spec: DeltaSpec, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        self.qkvz = nn.Linear(width, spec.num_channels + spec.num_heads * spec.value_size, bias=False)
        self.ba = nn.Linear(width, 2 * spec.num_heads, bias=False)
        self.conv = CausalConv(spec.num_channels, spec.conv_size, bias=False)
        self.dt_bias = time_step_bias(spec.num_heads)
        self.a_log = nn.Parameter(torch.empty(spec.num_heads).uniform_(1.0, 16.0).log())
        self.norm = nn.RMSNorm(spec.value_size, eps=spec.norm_eps)
        self.out = nn.Linear(spec.num_heads * spec.value_size, width, bias=False)

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        spec = self.spec
        groups = spec.num_key_heads
        values = spec.num_heads // groups * spec.value_size
        qkvz_TGX = self.qkvz(x_TD).unflatten(1, (groups, -1))
        *qkv, z_TGX = qkvz_TGX.split([spec.key_size, spec.key_size, values, values], dim=2)
        b_TH, a_TH = (each.flatten(1) for each in self.ba(x_TD).unflatten(1, (groups, 2, -1)).unbind(2))
        x_TX = torch.cat([each.flatten(1) for each in qkv], dim=1)
        gate_THV = functional.silu(z_TGX.reshape(len(x_TD), spec.num_heads, spec.value_size))
        log_TH = -self.a_log.float().exp() * functional.softplus(a_TH.float() + self.dt_bias)
        y_THV = mix_runs(
            around,
            self.layer,
            (gate_THV, x_TX, log_TH, b_TH.float().sigmoid()),
            partial(self._mix, around=around),
        )
        return self.out(y_THV.flatten(1))

    def _mix(
        self,
        state: State | None,
        gate_BLHV: torch.Tensor,
        x_BLX: torch.Tensor,
        log_BLH: torch.Tensor,
        beta_BLH: torch.Tensor,
        *,
        around: Pass,
    ) -> tuple[torch.Tensor, State]:
        """The state is computed in fp32, as by the reference implementation."""
        spec = self.spec
        last_BKX, state_BHKV = state or (None, None)
        x_BLX, last_BKX = self.conv(around, x_BLX, last_BKX)
        keys = spec.num_key_heads * spec.key_size
        q, k, v = x_BLX.float().split([keys, keys, spec.num_heads * spec.value_size], dim=2)
        q_BLHK, k_BLHK = (self._unit(each) for each in (q, k))
        steps = Steps(
            q_BLHK=q_BLHK * spec.key_size**-0.5,
            k_BLHK=k_BLHK,
            v_BLHV=v.unflatten(2, (spec.num_heads, -1)),
            log_BLH=log_BLH,
            beta_BLH=beta_BLH,
        )
        if state_BHKV is None:
            state_BHKV = x_BLX.new_zeros(
                len(x_BLX), spec.num_heads, spec.key_size, spec.value_size, dtype=torch.float32
            )
        y_BLHV, state_BHKV = scan_chunks(steps, state_BHKV)
        return self.norm(y_BLHV.to(gate_BLHV.dtype)) * gate_BLHV, (last_BKX, state_BHKV)

    def _unit(self, x_BLX: torch.Tensor) -> torch.Tensor:
        """Heads of length one, each for all of its value heads."""
        x_BLGK = x_BLX.unflatten(2, (self.spec.num_key_heads, -1))
        unit_BLGK = x_BLGK * torch.rsqrt(x_BLGK.square().sum(-1, keepdim=True) + UNIT_EPS)
        return unit_BLGK.repeat_interleave(self.spec.num_heads // self.spec.num_key_heads, dim=2)


def scan_chunks(
    steps: Steps, state_BHKV: torch.Tensor, chunk: int = CHUNK
) -> tuple[torch.Tensor, torch.Tensor]:
    """y_BLHV and the state behind the last token, chunk after chunk, none of them padded."""
    out: list[torch.Tensor] = []
    for part in zip(*(each.split(chunk, dim=1) for each in steps), strict=True):
        y_BHLV, state_BHKV = _chunk(Steps(*part), state_BHKV)
        out.append(y_BHLV.transpose(1, 2))
    return torch.cat(out, dim=1), state_BHKV


def _chunk(steps: Steps, state_BHKV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All corrections of a chunk at once: each depends on the earlier ones by a triangular system.

    Paper: arXiv:2412.06464, section 3.3; ours solves the system with the state known, so once.
    """
    q_BHLK, k_BHLK, v_BHLV = (each.transpose(1, 2) for each in (steps.q_BLHK, steps.k_BLHK, steps.v_BLHV))
    beta_BHL1 = steps.beta_BLH.transpose(1, 2).unsqueeze(-1)
    left_BHLM = decay_between(steps.log_BLH)
    since_BHL1 = steps.log_BLH.transpose(1, 2).cumsum(2).exp().unsqueeze(-1)
    system_BHLM = beta_BHL1 * (k_BHLK @ k_BHLK.transpose(2, 3)) * left_BHLM
    wrong_BHLV = beta_BHL1 * (v_BHLV - since_BHL1 * (k_BHLK @ state_BHKV))
    correction_BHLV = torch.linalg.solve_triangular(system_BHLM, wrong_BHLV, upper=False, unitriangular=True)
    match_BHLM = (q_BHLK @ k_BHLK.transpose(2, 3)) * left_BHLM
    y_BHLV = since_BHL1 * (q_BHLK @ state_BHKV) + match_BHLM @ correction_BHLV
    last_BHM1 = left_BHLM[:, :, -1].unsqueeze(-1)
    added_BHKV = (k_BHLK * last_BHM1).transpose(2, 3) @ correction_BHLV
    return y_BHLV, since_BHL1[:, :, -1:] * state_BHKV + added_BHKV


def reference_scan(steps: Steps, state_BHKV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same token by token, as the recurrence reads. Paper: arXiv:2412.06464, eq. 10."""
    out: list[torch.Tensor] = []
    for q_BHK, k_BHK, v_BHV, log_BH, beta_BH in zip(*(each.unbind(1) for each in steps), strict=True):
        state_BHKV = log_BH.exp()[:, :, None, None] * state_BHKV
        wrong_BHV = v_BHV - torch.einsum("bhk,bhkv->bhv", k_BHK, state_BHKV)
        state_BHKV = state_BHKV + torch.einsum("bh,bhk,bhv->bhkv", beta_BH, k_BHK, wrong_BHV)
        out.append(torch.einsum("bhk,bhkv->bhv", q_BHK, state_BHKV))
    return torch.stack(out, dim=1), state_BHKV
