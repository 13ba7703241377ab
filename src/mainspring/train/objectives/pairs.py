"""A preferred answer beside another one: where both lie in a batch, and the losses that compare them.

Every loss takes `chosen_P` and `rejected_P`: of each pair's two answers, the log-probability, less that of the
reference where the loss has one, summed over the tokens or their mean.

Shapes: P pairs, S segments.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn.functional import logsigmoid

from mainspring.errors import ConfigError
from mainspring.train.batch import Batch

CHOSEN, REJECTED = "chosen", "rejected"


class Knobs(Protocol):
    """What the losses may be told."""

    @property
    def beta(self) -> float: ...

    @property
    def label_smoothing(self) -> float: ...

    @property
    def gamma(self) -> float: ...


PairLoss = Callable[[torch.Tensor, torch.Tensor, Knobs], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A loss of pairs and what goes with it: a reference, means over tokens, the chosen answer's likelihood, knobs."""

    loss: PairLoss
    has_reference: bool = True
    is_per_token: bool = False
    learns_chosen: bool = False
    knobs: tuple[str, ...] = ()


def rows_of(batch: Batch) -> tuple[list[int], list[int]]:
    """Which segments are the chosen and which the rejected answers, pair by pair.

    Raises:
        ConfigError: an item that is no pair.

    """
    chosen: list[int] = []
    rejected: list[int] = []
    for rows in batch.groups():
        sides = {batch.segments[row].role: row for row in rows}
        if len(rows) != 2 or sides.keys() != {CHOSEN, REJECTED}:
            roles = ", ".join(f"'{batch.segments[row].role}'" for row in rows)
            raise ConfigError(
                f"The item of {batch.segments[rows[0]].name} has the roles {roles}; a pair is one 'chosen' and one "
                "'rejected' segment. Give a source of pairs."
            )
        chosen.append(sides[CHOSEN])
        rejected.append(sides[REJECTED])
    return chosen, rejected


def num_tokens(batch: Batch) -> torch.Tensor:
    """How many tokens of each segment are trained, at least 1, (S,)."""
    return batch.segment_sum(batch.weight).clamp(min=1.0)


def smoothed(x_P: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """-log sigmoid(x), where a share of the labels is taken to be the wrong way round."""
    return -(1 - label_smoothing) * logsigmoid(x_P) - label_smoothing * logsigmoid(-x_P)


def dpo(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """-log sigmoid(beta h), h = chosen - rejected.

    Papers: arXiv:2305.18290, eq. 7; smoothed (cDPO): https://ericmitchell.ai/cdpo.pdf, eq. 3.
    """
    return smoothed(knobs.beta * (chosen_P - rejected_P), knobs.label_smoothing)


def robust(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """DPO as it would be without the noise, were `label_smoothing` of the labels flipped.

    Paper: arXiv:2403.00409, section 3.2.
    """
    x_P, flipped = knobs.beta * (chosen_P - rejected_P), knobs.label_smoothing
    return (-(1 - flipped) * logsigmoid(x_P) + flipped * logsigmoid(-x_P)) / (1 - 2 * flipped)


def ipo(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """(h - 1 / (2 beta))^2. Paper: arXiv:2310.12036, eq. 17, where beta is called tau."""
    return (chosen_P - rejected_P - 1 / (2 * knobs.beta)) ** 2


def hinge(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """max(0, 1 - beta h). Paper: arXiv:2309.06657, hinge-norm."""
    return (1 - knobs.beta * (chosen_P - rejected_P)).relu()


def simpo(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """-log sigmoid(beta h - gamma), over means of log p. Paper: arXiv:2405.14734, eq. 6."""
    return smoothed(knobs.beta * (chosen_P - rejected_P) - knobs.gamma, knobs.label_smoothing)


def orpo(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """-beta * log sigmoid(log odds ratio), over means of log p. Paper: arXiv:2403.07691, eq. 4 and 7."""
    odds_P = (chosen_P - rejected_P) - (_log1mexp(chosen_P) - _log1mexp(rejected_P))
    return -knobs.beta * logsigmoid(odds_P)


def apo_zero(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """Chosen answers become likelier, rejected ones less. Paper: arXiv:2408.06266, eq. 7."""
    return 1 - (knobs.beta * chosen_P).sigmoid() + (knobs.beta * rejected_P).sigmoid()


def apo_down(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """Both become less likely, rejected ones more so. Paper: arXiv:2408.06266, eq. 8."""
    return (knobs.beta * chosen_P).sigmoid() + 1 - (knobs.beta * (chosen_P - rejected_P)).sigmoid()


def nca(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """Noise contrast, which keeps the chosen answer likely. Paper: arXiv:2402.05369, table 2, pairs."""
    chosen_P, rejected_P = knobs.beta * chosen_P, knobs.beta * rejected_P
    return -logsigmoid(chosen_P) - (logsigmoid(-chosen_P) + logsigmoid(-rejected_P)) / 2


def sppo(chosen_P: torch.Tensor, rejected_P: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """Log-ratios tend to +-1 / (2 beta). Paper: arXiv:2405.00675, eq. 4.7, the winner's probability being 1."""
    goal = 0.5 / knobs.beta
    return (chosen_P - goal) ** 2 + (rejected_P + goal) ** 2


LOSSES = {
    "dpo": Kind(loss=dpo, knobs=("label_smoothing",)),
    "robust": Kind(loss=robust, knobs=("label_smoothing",)),
    "ipo": Kind(loss=ipo),
    "hinge": Kind(loss=hinge),
    "apo_zero": Kind(loss=apo_zero),
    "apo_down": Kind(loss=apo_down),
    "nca": Kind(loss=nca),
    "sppo": Kind(loss=sppo),
    "cpo": Kind(loss=dpo, has_reference=False, learns_chosen=True, knobs=("label_smoothing",)),
    "simpo": Kind(loss=simpo, has_reference=False, is_per_token=True, knobs=("label_smoothing", "gamma")),
    "orpo": Kind(loss=orpo, has_reference=False, is_per_token=True, learns_chosen=True),
}
"""By name; cpo is DPO without a reference and with the chosen answer's likelihood (arXiv:2401.08417, eq. 5)."""


def told_in_vain(loss: str, told: Sequence[str]) -> list[str]:
    """The knobs among `told` that this loss does not have."""
    return [knob for knob in told if knob not in LOSSES[loss].knobs]


def _log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x < 0, exact at both ends."""
    near = x > -0.6931471805599453
    far_x = x.masked_fill(near, -1.0)
    near_x = x.masked_fill(~near, -0.5)
    return torch.where(near, (-torch.expm1(near_x)).log(), torch.log1p(-far_x.exp()))
