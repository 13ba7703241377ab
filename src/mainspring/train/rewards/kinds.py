"""The kinds of rewards, and several of them as one."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from mainspring.config import Config
from mainspring.train.rewards.base import Reference
from mainspring.train.rewards.json_schema import JsonSchema
from mainspring.train.rewards.math import Math
from mainspring.train.rewards.model import ModelReward, Score
from mainspring.train.rewards.regex import Regex
from mainspring.train.rewards.unit_test import UnitTest

Single = Annotated[Math | JsonSchema | Regex | UnitTest | ModelReward, Field(discriminator="kind")]


class Part(Config):
    """One reward of several."""

    weight: float = Field(default=1.0, description="what it is multiplied with; negative ones punish")
    reward: Single = Field(description="what is judged")


class Weighted(Config):
    """The sum of several rewards times their weights; within 0 and 1 only if the weights are."""

    kind: Literal["weighted"] = "weighted"
    parts: tuple[Part, ...] = Field(min_length=1, description="the rewards")

    def __call__(self, prompt: str, answer: str, reference: Reference) -> float:
        return sum(part.weight * part.reward(prompt, answer, reference) for part in self.parts)


RewardConfig = Annotated[
    Math | JsonSchema | Regex | UnitTest | ModelReward | Weighted, Field(discriminator="kind")
]
"""Any reward, for a field of a configuration."""


def model_rewards(reward: RewardConfig) -> list[ModelReward]:
    """The reward models that a reward asks."""
    parts = [part.reward for part in reward.parts] if isinstance(reward, Weighted) else [reward]
    return [each for each in parts if isinstance(each, ModelReward)]


def with_models(reward: RewardConfig, scores: Mapping[str, Score]) -> RewardConfig:
    """The reward with the models that it names, each by the name of its artifact."""
    if isinstance(reward, ModelReward):
        return reward.of(scores[reward.model])
    if not isinstance(reward, Weighted):
        return reward
    parts = tuple(
        part.model_copy(update={"reward": with_models(part.reward, scores)}) for part in reward.parts
    )
    return reward.model_copy(update={"parts": parts})
