"""Rollouts as a part of a recipe: how prompts are answered, and what the answers are worth."""

from pathlib import Path

from pydantic import Field

from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.registry import Registry
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.rewards.kinds import RewardConfig, model_rewards, with_models
from mainspring.train.rewards.model import Score, scorer
from mainspring.train.rollout import RolloutConfig, Rollouts


class RolloutRecipe(RolloutConfig):
    """How the prompts of the data are answered, and judged."""

    reward: RewardConfig = Field(description="what an answer is worth")

    def open(
        self, model: Model, tokenizer: Tokenizer, registry: Registry, folder: Path, seed: int
    ) -> Rollouts:
        """Rollouts of a model, with the reward models loaded; `folder` and `seed` are the run's."""
        scores = {each.model: _score(registry, each.model) for each in model_rewards(self.reward)}
        return Rollouts(
            model, with_models(self.reward, scores), self, decode=tokenizer.decode, end_ids=tokenizer.end_ids,
            folder=folder, seed=seed,
        )  # fmt: skip

    def parents(self, registry: Registry) -> dict[str, str]:
        """The reward models, by role, for the lineage of what learns from them."""
        found = [registry.get(each.model).reference for each in model_rewards(self.reward)]
        return {f"reward model {number}": reference for number, reference in enumerate(found, 1)}


def _score(registry: Registry, reference: str) -> Score:
    folder = registry.folder(registry.get(reference, verify=True))
    return scorer(load(folder).requires_grad_(False), Tokenizer.load(folder))
