"""Experts that all get their share of tokens: by a loss, or by a number that chooses and does not weigh.

Shapes: T tokens of a batch, L layers with experts, E experts, C chosen ones a token.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from mainspring.errors import ConfigError
from mainspring.models.parts.moe import Mixture, Routed
from mainspring.train.batch import Batch
from mainspring.train.objectives.base import JointObjective, Loss, Penalty, Regulator
from mainspring.train.outputs import Outputs, full


class MoeBalance(JointObjective, Penalty):
    """E * sum over experts of (share of the choices) * (mean probability), summed over layers; 1 a layer if even.

    Paper: arXiv:2101.03961, eq. 4 to 6, with C choices a token instead of one. Both factors are means over all
    tokens of the step, so it is joint. Sigmoid scores become probabilities by their sum (arXiv:2412.19437, eq. 19).
    """

    kind: Literal["moe_balance"] = "moe_balance"
    watches_routers: ClassVar[bool] = True
    coefficient: float = Field(default=0.01, gt=0, description="what is added is this times the imbalance")

    def features(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """Of every layer's experts, sums over tokens: the probability, and how often it was chosen; (L, 2, E)."""
        return torch.stack(
            [
                torch.stack([probability(each).sum(0), loads(each).to(full(each.logits_TE).dtype)])
                for each in routed(outputs)
            ]
        )

    def joint(self, features: Sequence[torch.Tensor], batches: Sequence[Batch]) -> Loss:
        """Over all tokens of the step, trained or not."""
        num_tokens = sum(len(batch.ids) for batch in batches)
        probability_LE, load_LE = torch.stack(list(features)).sum(0).unbind(1)
        share_LE = load_LE.detach() / load_LE.detach().sum(-1, keepdim=True)
        imbalance = balance_loss(share_LE, probability_LE / num_tokens)
        return Loss(
            sum=imbalance * num_tokens,
            count_key="ids",
            metrics={name: value * num_tokens for name, value in told(share_LE).items()},
        )


class MoeBias(Regulator):
    """After every update, the bias that helps to choose an expert rises by `rate` where it got too few tokens.

    Falls where it got too many: b += rate * sign(mean load - load). Paper: arXiv:2408.15664, algorithm 1.
    """

    kind: Literal["moe_bias"] = "moe_bias"
    watches_routers: ClassVar[bool] = True
    rate: float = Field(default=0.001, gt=0, description="by how much a bias moves in a step")

    def observe(self, outputs: Outputs) -> torch.Tensor:
        """How often every expert was chosen, (L, E)."""
        return torch.stack([loads(each) for each in routed(outputs)])

    def regulate(self, model: nn.Module, observed: torch.Tensor) -> dict[str, float]:
        """Move the biases; tells the busiest and the idlest expert's load."""
        load_LE = observed.double()
        for balance_E, load_E in zip(self.moves(model).values(), load_LE, strict=True):
            balance_E.add_((load_E.mean() - load_E).sign().to(balance_E.dtype), alpha=self.rate)
        return told(load_LE / load_LE.sum(-1, keepdim=True))

    def moves(self, model: nn.Module) -> Mapping[str, torch.Tensor]:
        """The biases of all layers, by name.

        Raises:
            ConfigError: a model whose routers have none.

        """
        mixtures = {name: each for name, each in model.named_modules() if isinstance(each, Mixture)}
        found = {
            f"{name}.balance": each.balance for name, each in mixtures.items() if each.balance is not None
        }
        if not found or len(found) < len(mixtures):
            raise ConfigError(
                "Not every router of the model has a bias to move (or it has no routers). Take the loss 'moe_balance' "
                "instead, or a model whose `has_balance` is set."
            )
        return found


def routed(outputs: Outputs) -> Sequence[Routed]:
    """What the routers of a forward said.

    Raises:
        ConfigError: the model has none.

    """
    if not outputs.routed:
        raise ConfigError("The model has no experts whose load could be balanced. Leave the penalty out.")
    return outputs.routed


def probability(said: Routed) -> torch.Tensor:
    """The router's scores as probabilities, (T, E)."""
    logits_TE = full(said.logits_TE)
    if said.spec.scores == "softmax":
        return logits_TE.softmax(-1)
    score_TE = logits_TE.sigmoid()
    return score_TE / score_TE.sum(-1, keepdim=True)


def loads(said: Routed) -> torch.Tensor:
    """How often every expert was chosen, int64 (E,)."""
    return said.chosen_TC.flatten().bincount(minlength=said.spec.num_experts)


def balance_loss(share_LE: torch.Tensor, probability_LE: torch.Tensor) -> torch.Tensor:
    """E * sum of share * mean probability, summed over layers."""
    return share_LE.shape[-1] * (share_LE * probability_LE).sum()


def told(share_LE: torch.Tensor) -> dict[str, float]:
    """The loads furthest from even, over all layers: 1 is an expert's even share."""
    load_LE = share_LE * share_LE.shape[-1]
    return {"busiest_expert": float(load_LE.max()), "idlest_expert": float(load_LE.min())}
