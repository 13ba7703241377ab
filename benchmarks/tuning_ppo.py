"""PPO against a reward model, for benchmarks/tuning.py: a policy answers questions and learns from what they earn."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev

from mainspring.models.model import Model
from mainspring.schema import Message
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.advantages import Gae
from mainspring.train.batch import Item
from mainspring.train.objectives.policy import PolicyGradient
from mainspring.train.rewards.model import ModelReward, Score
from mainspring.train.rollout import RolloutConfig, Rollouts
from mainspring.train.sources.prompts import Prompts, chat_prompts
from tuning_data import Pair

ANSWERS, ANSWER_TOKENS, PROMPT_TOKENS = 2, 24, 32
OBJECTIVE = PolicyGradient(old="policy", value_coefficient=0.1, gae=Gae(kl_coefficient=0.05))


def questions(pairs: Sequence[Pair], tokenizer: Tokenizer, num_prompts: int) -> Prompts:
    """The short questions of pairs, each once."""
    asked = list(dict.fromkeys(chosen[0].content for chosen, _ in pairs if len(chosen) == 2))
    short = [text for text in asked if len(tokenizer.encode(text)) <= PROMPT_TOKENS][:num_prompts]
    return chat_prompts([([Message("user", text)], None) for text in short], tokenizer, max_tokens=1024)


class Judged:
    """What a policy's answers are worth; the same seeds every time it is measured."""

    def __init__(self, model: Model, score: Score, tokenizer: Tokenizer, folder: Path) -> None:
        self._model, self._score, self._tokenizer, self._folder = model, score, tokenizer, folder
        self._mean, self._deviation = 0.0, 1.0

    def rollouts(self, updates: int) -> Rollouts:
        """Answers to learn from, with standardized rewards."""
        return self._rollouts(self._standard, updates)

    def measure(self, items: Sequence[Item]) -> list[float]:
        """The mean score of a few sampled answers to each prompt."""
        answered = self._rollouts(self._score, updates=1)(items, 0)
        return [fmean(segment.reward or 0.0 for segment in item) for item in answered]

    def standardize(self, scores: Sequence[float]) -> None:
        """From now on rewards have mean 0 and deviation 1 where the scores were these (arXiv:1909.08593)."""
        self._mean, self._deviation = fmean(scores), pstdev(scores)

    def _rollouts(self, score: Score, updates: int) -> Rollouts:
        config = RolloutConfig(answers=ANSWERS, max_tokens=ANSWER_TOKENS, updates=updates, advantage="none")
        return Rollouts(
            self._model, ModelReward(model="trained here").of(score), config, seed=0,
            decode=self._tokenizer.decode, end_ids=self._tokenizer.end_ids, folder=self._folder,
        )  # fmt: skip

    def _standard(self, prompt: str, answer: str) -> float:
        return (self._score(prompt, answer) - self._mean) / self._deviation
