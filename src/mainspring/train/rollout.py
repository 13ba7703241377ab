"""Prompts become groups of answers by the model that is trained, judged and ready to be learnt.

    prompts -> sample -> answers -> score -> rewards -> advantages -> items
                (own engine, the very same tensors)      of the group

Every answer has a seed of its own, made of the run's seed, the step, the prompt and the answer's number: a run
that is resumed, or shared by other ranks, says the same again.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from pydantic import Field

from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.advantages import GroupAdvantage, group_advantages
from mainspring.train.batch import Item, Segment
from mainspring.train.rewards.base import Reward
from mainspring.train.rewards.score import Sample, score
from mainspring.train.sampler import Answer, Ask, sample
from mainspring.train.sources.prompts import Prompt

Decode = Callable[[Sequence[int]], str]


class RolloutConfig(Config):
    """How prompts are answered for learning."""

    answers: int = Field(default=8, ge=1, description="answers to each prompt of a step")
    max_tokens: int = Field(default=256, ge=1, description="of an answer, the token that ends it included")
    temperature: float = Field(default=1.0, gt=0, description="of the draw; 1 samples from the model itself")
    updates: int = Field(default=1, ge=1, description="updates that learn from the same answers")
    at_once: int = Field(default=128, ge=1, description="answers that the engine works on together")
    advantage: GroupAdvantage | Literal["none"] = Field(
        default="grpo",
        description="what every token of an answer is credited with, from the rewards of its group: grpo, dr_grpo or "
        "rloo; none leaves it to an annotator (ppo)",
    )
    learns_cut: bool = Field(
        default=True,
        description="learn from answers that `max_tokens` cut off too (False: arXiv:2503.14476, 3.4)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """What the last call did: means over answers, and how fast."""

    reward: float
    tokens: float
    cut: float
    seconds: float
    tokens_per_s: float


class Rollouts:
    """Answers prompts with a model as it is at the call; implements the loop's `Rollout`.

    Args:
        model: the one that is trained.
        reward: judges answers.
        config: how many answers, and of what kind; `settings` tells it and more, for a run's fingerprint.
        decode: ids to the text that the reward reads; the end token is not among them.
        end_ids: tokens that end an answer.
        folder: the run's; samples whose reward failed are kept there.
        seed: the run's.

    """

    def __init__(
        self,
        model: Model,
        reward: Reward,
        config: RolloutConfig,
        *,
        decode: Decode,
        end_ids: Sequence[int],
        folder: Path,
        seed: int,
    ) -> None:
        if config.advantage in ("grpo", "dr_grpo", "rloo") and config.answers < 2:
            raise ConfigError(
                f"`answers` is {config.answers}, but '{config.advantage}' compares the answers to a prompt with each "
                "other. Set it to 2 or more."
            )
        self._model, self._reward, self._config = model, reward, config
        self._decode, self._end_ids, self._folder, self._seed = decode, tuple(end_ids), folder, seed
        self.updates = config.updates
        self.settings: Mapping[str, Any] = {
            **config.model_dump(mode="json"),
            "reward": reward.kind,
            "seed": seed,
        }
        self.report: RolloutReport | None = None

    @property
    def facts(self) -> dict[str, float]:
        """Of the last answers: `rollout_reward` and the like."""
        report = self.report
        return {} if report is None else {f"rollout_{name}": value for name, value in asdict(report).items()}

    def __call__(self, items: Sequence[Item], step: int) -> list[Item]:
        """Each prompt's answers, with weight 1, `sampler_logp` and `advantage` on every token said.

        Raises:
            MainspringError: a reward that failed; the samples are kept.

        """
        began = time.monotonic()
        prompts = [_prompt(item) for item in items]
        config = self._config
        asks = [
            Ask(tuple(prompt.ids), answer_seed(self._seed, step, prompt.index, number))
            for prompt in prompts
            for number in range(config.answers)
        ]
        answers = sample(
            self._model, asks, max_tokens=config.max_tokens, temperature=config.temperature,
            end_ids=self._end_ids, at_once=config.at_once,
        )  # fmt: skip
        seconds = time.monotonic() - began
        groups = [answers[at : at + config.answers] for at in range(0, len(answers), config.answers)]
        rewards = self._rewards(prompts, groups)
        self.report = _report(answers, [value for group in rewards for value in group], seconds)
        return [self._item(*each) for each in zip(prompts, groups, rewards, strict=True)]

    def _rewards(self, prompts: Sequence[Prompt], groups: Sequence[Sequence[Answer]]) -> list[list[float]]:
        samples = [
            Sample(
                name=f"{prompt.name}, answer {number}", prompt=prompt.text, reference=prompt.reference,
                answer=self._decode(answer.ids[: len(answer.ids) - answer.has_ended]),
            )
            for prompt, group in zip(prompts, groups, strict=True)
            for number, answer in enumerate(group)
        ]  # fmt: skip
        found = iter(score(self._reward, samples, self._folder))
        return [[next(found) for _ in group] for group in groups]

    def _item(self, prompt: Prompt, group: Sequence[Answer], rewards: Sequence[float]) -> Item:
        kind = self._config.advantage
        advantages: Sequence[float | None] = [None] * len(rewards)
        if kind != "none":
            advantages = group_advantages(torch.tensor(rewards, dtype=torch.float64), kind).tolist()
        return tuple(
            self._segment(prompt, number, *each)
            for number, each in enumerate(zip(group, rewards, advantages, strict=True))
        )

    def _segment(
        self, prompt: Prompt, number: int, answer: Answer, reward: float, advantage: float | None
    ) -> Segment:
        before = [0.0] * len(prompt.ids)
        is_learnt = answer.has_ended or self._config.learns_cut
        extras: dict[str, Sequence[float]] = {"sampler_logp": [*before, *answer.logp]}
        if advantage is not None:
            extras["advantage"] = [*before, *([advantage] * len(answer.ids))]
        return Segment(
            ids=[*prompt.ids, *answer.ids], weight=[*before, *([float(is_learnt)] * len(answer.ids))],
            name=f"{prompt.name}, answer {number}", role="answer", reward=reward, extras=extras,
        )  # fmt: skip


def answer_seed(seed: int, step: int, prompt: int, number: int) -> int:
    """63 bits that follow from where an answer stands in the run, and from nothing else."""
    digest = hashlib.blake2b(f"{seed}/{step}/{prompt}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _prompt(item: Item) -> Prompt:
    (segment,) = item
    if not isinstance(segment, Prompt):
        raise ConfigError(
            f"{segment.name} is no prompt, so it cannot be answered. Give rollouts a source of prompts."
        )
    return segment


def _report(answers: Sequence[Answer], rewards: Sequence[float], seconds: float) -> RolloutReport:
    num_tokens = sum(len(answer.ids) for answer in answers)
    return RolloutReport(
        reward=fmean(rewards), tokens=num_tokens / len(answers),
        cut=fmean(not answer.has_ended for answer in answers), seconds=seconds,
        tokens_per_s=num_tokens / seconds,
    )  # fmt: skip
