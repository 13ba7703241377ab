"""What goes into the engine and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mainspring.config import Config
from mainspring.schema import FinishReason, Sampling


class EngineConfig(Config):
    """Sizes of the engine. One block holds `block_size` tokens of every layer's keys and values."""

    block_size: int = 16
    num_blocks: int = 512
    max_running: int = 32
    max_waiting: int = 1024
    max_step_tokens: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Token ids to continue. The engine ends at any of `end_ids`, which it does not return."""

    ids: tuple[int, ...]
    sampling: Sampling
    end_ids: tuple[int, ...] = ()
    adapter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one step brought a request: an id and its log-probability, or the reason for the end, or both.

    `end` is the end token that was chosen, which is no part of the answer, with its log-probability.
    """

    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    end: tuple[int, float] | None = None
    finish_reason: FinishReason | None = None
    error: str | None = None


OutputSink = Callable[[Output], bool]
"""Called from the engine's thread with every output; True ends the request as stopped."""


@dataclass(slots=True, eq=False)
class Sequence:
    """A request in the scheduler: all its ids so far, how many have keys and values, and where those lie."""

    request: Request
    sink: OutputSink
    seed: int
    ids: list[int]
    num_computed: int = 0
    num_cached: int = 0
    blocks: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    is_cancelled: bool = False

    @property
    def num_generated(self) -> int:
        return len(self.ids) - len(self.request.ids)
