"""One policy gradient: PPO, GRPO, Dr. GRPO, DAPO, GSPO and RLOO are its settings.

    ppo      old policy, gae, value_coefficient 0.1         rloo     ratio sequence
    grpo     as it is, kl_coefficient 0.04                  gspo     ratio sequence_mean, clip_low 3e-4, clip_high 4e-4
    dapo     average tokens, clip_high 0.28                 dr_grpo  average max_tokens, max_tokens as the rollout's

Advantages come with the answers, of their group, or are made of rewards and values (`gae`).

Shapes: T tokens of a batch.
"""

import random
from typing import Literal, Self

import pydantic
import torch
from pydantic import Field

from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.advantages import Gae
from mainspring.train.annotate import Annotator
from mainspring.train.batch import Batch, Segment
from mainspring.train.objectives.base import Loss, Objective
from mainspring.train.objectives.clipping import Average, Ratio, clipped, ratios, shares, value_loss
from mainspring.train.objectives.divergence import Estimator, estimate
from mainspring.train.outputs import Outputs
from mainspring.train.values import add_value_head, values

SCALED_BY = {"kl_estimator": "kl_coefficient", "value_clip": "value_coefficient"}
"""Settings of a term, and what the term is multiplied by."""


class PolicyGradient(Objective):
    """Clipped surrogate + divergence from the reference - entropy + value error.

    Counted in tokens or, where `average` is of answers, in segments.
    """

    kind: Literal["policy"] = "policy"
    ratio: Ratio = Field(default="token", description="what is compared with how it was sampled")
    clip_low: float = Field(
        default=0.2, ge=0, lt=1, description="by how much a ratio may fall and still teach"
    )
    clip_high: float = Field(default=0.2, ge=0, description="by how much a ratio may rise and still teach")
    average: Average = Field(
        default="answers", description="over all tokens, over answers' means, or over a constant length"
    )
    max_tokens: int = Field(default=0, ge=0, description="the constant length")
    old: Literal["sampler", "policy", "same"] = Field(
        default="sampler",
        description="what ratios are taken to: the log-probabilities that the sampler recorded, those of the model "
        "before these updates, or the model's own (one update a rollout)",
    )
    sampler_cap: float = Field(
        default=0.0,
        ge=0,
        description="weigh tokens by p_old / p_sampler, at most this, where the sampler computes otherwise than the "
        "trainer; 0: do not",
    )
    kl_coefficient: float = Field(
        default=0.0, ge=0, description="of the divergence from the reference; 0 needs none"
    )
    kl_estimator: Estimator = Field(default="k3", description="how it is read off the sampled tokens")
    entropy_coefficient: float = Field(default=0.0, ge=0, description="reward of staying undecided")
    value_coefficient: float = Field(
        default=0.0, ge=0, description="of the value head's error; 0: there is no value head"
    )
    gae: Gae | None = Field(
        default=None,
        description="make the advantages of tokens from rewards and values, instead of taking those of the answers",
    )
    value_clip: float = Field(default=0.2, gt=0, description="by how much a value may move and still learn")

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.average == "max_tokens") != bool(self.max_tokens):
            raise ValueError("`max_tokens` and `average: max_tokens` go together; set both or neither")
        if self.gae and not self.value_coefficient:
            raise ValueError("`gae` compares with values, so `value_coefficient` must be above 0")
        if self.sampler_cap and self.old == "sampler":
            raise ValueError("`sampler_cap` corrects `old: policy` or `old: same`; 'sampler' needs none")
        return self

    @pydantic.model_validator(mode="after")
    def _says_nothing_in_vain(self) -> Self:
        for name, coefficient in SCALED_BY.items():
            value = getattr(self, name)
            if not getattr(self, coefficient) and value != type(self).model_fields[name].default:
                raise ValueError(
                    f"`{name}` is {value}, but `{coefficient}` is 0, so the loss has no such term; leave it out, or "
                    f"set {coefficient} above 0"
                )
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        pays_kl = bool(self.gae and self.gae.kl_coefficient)
        wanted = {
            "sampler_logp": self.old == "sampler" or self.sampler_cap,
            "old_logp": self.old == "policy" or pays_kl,
            "reference_logp": self.kl_coefficient or pays_kl,
            "value": self.value_coefficient,
            "advantage": True,
        }
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)

    def annotators(self) -> list[Annotator]:
        """Who makes advantages of rewards and values."""
        return [self.gae] if self.gae else []

    def view(self, segment: Segment, draw: random.Random) -> Segment:
        """The segment itself.

        Raises:
            ConfigError: it brings the advantages that `gae` is to make.

        """
        if self.gae and "advantage" in segment.extras:
            raise ConfigError(
                f"{segment.name} brings an advantage, and `objective.gae` would make another. Set "
                "`rollout.advantage: none`, or leave `gae` out."
            )
        return segment

    def prepare(self, model: Model) -> None:
        """Give the model a value head, if it is to learn values."""
        if self.value_coefficient:
            add_value_head(model)

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        loss_T, seen = self._surrogate(outputs.logp_T, batch)
        for name, (coefficient, term_T) in self._terms(outputs, batch).items():
            loss_T = loss_T + coefficient * term_T
            seen[name] = term_T
        is_mean = self.average == "tokens"
        told_T = shares(batch, "tokens" if is_mean else "answers")
        return Loss(
            sum=(loss_T * shares(batch, self.average, self.max_tokens)).sum(),
            count_key="tokens" if is_mean else "segments",
            metrics={name: float((each_T.detach() * told_T).sum()) for name, each_T in seen.items()},
        )

    def _surrogate(self, logp_T: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        extras, low, high = batch.extras, self.clip_low, self.clip_high
        old = {"sampler": "sampler_logp", "policy": "old_logp"}.get(self.old)
        old_T = extras[old] if old else logp_T.detach()
        ratio_T, advantage_T = ratios(logp_T - old_T, batch, self.ratio), extras["advantage"]
        loss_T = clipped(ratio_T, advantage_T, low, high)
        if self.sampler_cap:
            loss_T = loss_T * (old_T - extras["sampler_logp"]).exp().clamp(max=self.sampler_cap)
        has_left_T = torch.where(advantage_T < 0, ratio_T < 1 - low, ratio_T > 1 + high)
        return loss_T, {"ratio": ratio_T, "clipped": has_left_T & (advantage_T != 0)}

    def _terms(self, outputs: Outputs, batch: Batch) -> dict[str, tuple[float, torch.Tensor]]:
        """What is added to the surrogate: coefficient and value of every token, by name."""
        terms, extras = {}, batch.extras
        if self.kl_coefficient:
            kl_T = estimate(outputs.logp_T, extras["reference_logp"], self.kl_estimator)
            terms["kl"] = (self.kl_coefficient, kl_T)
        if self.entropy_coefficient:
            terms["entropy"] = (-self.entropy_coefficient, outputs.spread(outputs.entropy_N))
        if self.value_coefficient:
            goal_T = extras["value"] + extras["advantage"]
            error_T = value_loss(values(outputs), extras["value"], goal_T, self.value_clip)
            terms["value_loss"] = (self.value_coefficient, error_T)
        return terms
