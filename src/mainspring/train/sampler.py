"""What a model says at this moment: many answers from the engine, run on the model's own tensors.

The engine lives for one call, so that it never holds keys and values of older weights, nor memory while the
trainer needs it.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mainspring.errors import ConfigError, MainspringError
from mainspring.infer.backends.live import Live
from mainspring.infer.engine import Engine
from mainspring.infer.request import EngineConfig, Output, Request
from mainspring.models.model import Model
from mainspring.schema import Sampling

MAX_STEP_TOKENS = 4096


class Ask(NamedTuple):
    """A prompt's ids and the seed of the answer."""

    ids: tuple[int, ...]
    seed: int


@dataclass(slots=True)
class Answer:
    """Sampled ids, each with its log-probability; the last one is the end token if `has_ended`."""

    ids: list[int] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)
    has_ended: bool = False


def sample(
    model: Model,
    asks: Sequence[Ask],
    *,
    max_tokens: int,
    temperature: float,
    end_ids: Sequence[int],
    at_once: int,
) -> list[Answer]:
    """An answer to each prompt, in order.

    Log-probabilities are those of the model's unmodified distribution, also where `temperature` is not 1. Without
    grad and autocast the trainer's forward gives the same, up to rounding.

    Args:
        model: answers with the adapter that is active; nothing of it is changed.
        asks: prompts and seeds; the same seed and prompt give the same answer.
        max_tokens: of an answer, its end token included.
        temperature: of the draw.
        end_ids: tokens that end an answer.
        at_once: how many answers are worked on together.

    Raises:
        ConfigError: a model that the engine does not generate with.
        ContextLengthError: a prompt that leaves no room for its answer.

    """
    if not model.config.is_served:
        raise ConfigError(
            f"A {model.config.family} model cannot answer in the engine, so it cannot learn from its own answers. "
            "Take a language model whose layers all look back, without scores by distance."
        )
    config = _engine_config(asks, max_tokens, at_once)
    receivers = [_Receiver() for _ in asks]
    with Engine(Live(model, config), config) as engine:

        def ask_all() -> None:
            for ask, receiver in zip(asks, receivers, strict=True):
                sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=ask.seed)
                engine.submit(Request(ids=ask.ids, sampling=sampling, end_ids=tuple(end_ids)), receiver)

        engine.between_steps(ask_all)
        return [receiver.wait() for receiver in receivers]


def _engine_config(asks: Sequence[Ask], max_tokens: int, at_once: int) -> EngineConfig:
    """Blocks for as many of the longest answers as run together, and the scratch block.

    A row's last bits depend on its neighbors, so that who computes beside whom must not depend on how long anything
    took: nothing is guessed by what it costs, and no prompt waits for those who decode.
    """
    size = EngineConfig().block_size
    longest = max((len(ask.ids) for ask in asks), default=0) + max_tokens
    running = min(at_once, max(len(asks), 1))
    return EngineConfig(
        num_blocks=running * -(-longest // size) + 1, max_running=running, max_waiting=len(asks) + 1,
        max_step_tokens=max(MAX_STEP_TOKENS, running), speculation=False, max_slowdown=math.inf,
    )  # fmt: skip


class _Receiver:
    """Collects an answer in the engine's thread."""

    def __init__(self) -> None:
        self._answer, self._done, self._error = Answer(), threading.Event(), ""

    def __call__(self, output: Output) -> bool:
        self._answer.ids += output.ids
        self._answer.logp += output.logprobs
        if output.end is not None:
            self._answer.ids.append(output.end.id)
            self._answer.logp.append(output.end.logprob)
            self._answer.has_ended = True
        if output.finish_reason == "cancelled" or output.error:
            self._error = output.error or "The engine was closed before it had answered."
        if output.finish_reason or output.error:
            self._done.set()
        return False

    def wait(self) -> Answer:
        self._done.wait()
        if self._error:
            raise MainspringError(self._error)
        return self._answer
