"""How much better an answer, or a token of it, was than expected.

Of a group of answers to one prompt: GRPO, Dr. GRPO, RLOO. Of the tokens of one answer, with a value head: GAE.

Shapes: N answers of a group, T tokens of one answer.
"""

from typing import Literal

import torch
from pydantic import Field

from mainspring.config import Config
from mainspring.train.batch import Batch

GroupAdvantage = Literal["grpo", "dr_grpo", "rloo"]
TINY = 1e-4  # a group whose answers are worth the same teaches nothing, and divides by nothing


def group_advantages(reward_N: torch.Tensor, kind: GroupAdvantage) -> torch.Tensor:
    """The advantage of each answer among the answers to its prompt, (N,).

    grpo: (r - mean) / std (arXiv:2402.03300, section 4.1.2). The std is that of a sample, as in its published code.
    dr_grpo: r - mean (arXiv:2503.20783, section 3.2): the std would favor prompts that are nearly always or never
    answered.
    rloo: r - the mean of the other answers (arXiv:2402.14740, section 2.2), which is dr_grpo * N / (N - 1).
    """
    count = len(reward_N)
    if count < 2:
        return reward_N.clone() if kind == "rloo" else torch.zeros_like(reward_N)
    above_N = reward_N - reward_N.mean()
    if kind == "rloo":
        return above_N * count / (count - 1)
    return above_N / (reward_N.std() + TINY) if kind == "grpo" else above_N


def token_rewards(
    reward: float, logp_T: torch.Tensor, reference_logp_T: torch.Tensor, kl_coefficient: float
) -> torch.Tensor:
    """What each token of an answer earns, (T,): the last one the reward, each minus its part of the divergence.

    Paper: arXiv:1909.08593, eq. 2: r - beta * (log p - log p_reference).
    """
    earned_T = -kl_coefficient * (logp_T - reference_logp_T)
    earned_T[-1] += reward
    return earned_T


def gae(reward_T: torch.Tensor, value_T: torch.Tensor, *, discount: float, trace: float) -> torch.Tensor:
    """Generalized advantages of the tokens of an answer, (T,).

    Paper: arXiv:1506.02438, eq. 16: sum over l of (gamma * lambda)^l delta_{t+l}, where delta_t is
    r_t + gamma V_{t+1} - V_t; behind the last token the value is 0.

    Args:
        reward_T: what each token earns.
        value_T: what was expected before each token.
        discount: gamma.
        trace: lambda.

    """
    following_T = torch.cat([value_T[1:], value_T.new_zeros(1)])
    delta_T = reward_T + discount * following_T - value_T
    advantage_T = torch.zeros_like(delta_T)
    running = delta_T.new_zeros(())
    for at in range(len(delta_T) - 1, -1, -1):
        running = delta_T[at] + discount * trace * running
        advantage_T[at] = running
    return advantage_T


class Gae(Config):
    """Annotator: token advantages of answers with rewards, from `value` and the divergence from the reference.

    The return that a value head learns is `advantage + value`.
    """

    discount: float = Field(default=1.0, gt=0, le=1, description="gamma: worth of a later reward")
    trace: float = Field(default=0.95, ge=0, le=1, description="lambda: 1 trusts rewards, 0 the value head")
    kl_coefficient: float = Field(
        default=0.05, ge=0, description="what a token pays for leaving the reference; 0 needs none"
    )

    @property
    def adds(self) -> str:
        return "advantage"

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(T,), 0 where nothing is trained; wants the extras `value` and, with a divergence, both log-probabilities."""
        extras = batch.extras
        advantage_T = torch.zeros_like(extras["value"])
        for place in batch.segments:
            at = torch.arange(place.start, place.start + place.length)[batch.weight[place.rows] != 0]
            if not len(at):
                continue
            value_T = extras["value"][at]
            logp_T = extras["old_logp"][at] if self.kl_coefficient else torch.zeros_like(value_T)
            reference_T = extras["reference_logp"][at] if self.kl_coefficient else logp_T
            earned_T = token_rewards(place.reward or 0.0, logp_T, reference_T, self.kl_coefficient)
            advantage_T[at] = gae(earned_T, value_T, discount=self.discount, trace=self.trace)
        return advantage_T
