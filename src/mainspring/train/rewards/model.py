"""What a trained judge says: a reward model's one number for a conversation.

Paper: arXiv:1706.03741, eq. 1 (Bradley-Terry): a model whose scores differ by d prefers with probability
sigmoid(d), so a score has a meaning only beside others, and no bounds.

Shapes: T tokens, D model width.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field, PrivateAttr

from mainspring.chat import ChatTokenizer, render
from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.models.attend import PackedAttend
from mainspring.models.model import Model
from mainspring.models.pool import pool
from mainspring.schema import Message
from mainspring.train.rewards.base import Reference

Score = Callable[[str, str], float]
"""(prompt, answer) to a number."""


class ModelReward(Config):
    """A score from -inf to inf, or from 0 to 1 where `is_squashed`. `of` gives it the model that scores."""

    kind: Literal["model"] = "model"
    model: str = Field(description="the reward model, an artifact such as model/judge@1")
    is_squashed: bool = Field(default=False, description="give the sigmoid of the score")
    _score: Score | None = PrivateAttr(default=None)

    def of(self, score: Score) -> "ModelReward":
        """The same with what scores."""
        made = self.model_copy()
        made._score = score  # noqa: SLF001 - of its own kind
        return made

    def __call__(self, prompt: str, answer: str, reference: Reference) -> float:
        if self._score is None:
            raise ConfigError(
                f"The reward model '{self.model}' was named but not loaded. Give it with `ModelReward.of`."
            )
        score = self._score(prompt, answer)
        return _sigmoid(score) if self.is_squashed else score


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def scorer(model: Model, tokenizer: ChatTokenizer) -> Score:
    """The score of a model with one label, read where its head pools: a conversation's last token, mostly.

    Raises:
        ConfigError: a model without such a head.

    """
    head = model.config.head
    if head is None or head.kind in ("lm", "masked") or head.num_labels != 1:
        has = "no head" if head is None else f"a head of kind '{head.kind}' with {head.num_labels} labels"
        raise ConfigError(f"The model has {has}; a reward model has a head with one label. Train one.")

    @torch.inference_mode()
    def score(prompt: str, answer: str) -> float:
        messages = [Message(role="user", content=prompt), Message(role="assistant", content=answer)]
        ids = render(messages, tokenizer).ids
        hidden_TD = model(torch.tensor(ids), torch.arange(len(ids)), PackedAttend([len(ids)]))
        return float(model.logits(pool(hidden_TD, [len(ids)], head.pooling or "last"))[0, 0])

    return score
