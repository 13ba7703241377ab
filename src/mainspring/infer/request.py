"""What goes into the engine and what comes out; both can be sent to another process as they are."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

import msgspec
from pydantic import ConfigDict, Field

from mainspring.artifact import Artifact
from mainspring.config import Config
from mainspring.errors import ContextLengthError, MainspringError, named
from mainspring.infer.grammar import Grammar
from mainspring.infer.kernel_plan import Products
from mainspring.infer.sampling import Chosen, Row, Seen
from mainspring.infer.speculate import NGram, Pace
from mainspring.registry import Registry
from mainspring.schema import Constraint, FinishReason, Sampling

logger = logging.getLogger(__name__)


class NativeSettings(Config):
    """What the native step keeps its numbers in."""

    bits: Literal[8, 4] = Field(default=8, description="Bits of a weight; the head keeps 8.")
    kv: Literal["bf16", "int8"] = Field(default="bf16", description="What keys and values are kept in.")
    threads: int = Field(default=0, ge=0, description="Threads of a step; 0: as many as torch has.")
    march: str = Field(default="native", description="The processor to compile for, in the compiler's words.")


class EngineConfig(Config):
    """Sizes and manners of the engine. One block holds `block_size` tokens of every layer's keys and values."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # no limit stays none on its way to a process

    backend: Literal["torch_eager", "native"] = Field(
        default="torch_eager",
        description="What computes: torch on the weights as they are, or the compiled step on packed weights.",
    )
    products: Products = Field(
        default="measured",
        description="How torch multiplies: with weights that are packed where that was measured to be faster, with "
        "all packed, or with all as they are. A packed copy takes as much memory as the weights.",
    )
    native: NativeSettings = Field(default=NativeSettings(), description="How the native step packs.")
    block_size: int = Field(default=16, ge=1, description="Tokens in a block of the cache.")
    num_blocks: int = Field(default=512, ge=2, description="Blocks in the cache, the scratch block included.")
    max_running: int = Field(default=32, ge=1, description="Sequences that are worked on together.")
    max_waiting: int = Field(default=1024, ge=1, description="Open requests at which more are refused.")
    max_step_tokens: int = Field(default=512, ge=1, description="Tokens that one step computes at most.")
    default_max_tokens: int = Field(
        default=0,
        ge=0,
        description="Most tokens of a plain model's reply where its client says nothing; 0: what the context holds.",
    )
    max_slowdown: float = Field(
        default=3.0, gt=1, description="How many times longer prompts may make a step in which others decode."
    )
    isolate: bool = Field(
        default=False, description="Run the engine in a process of its own, started again when it dies."
    )
    prefix_cache: bool = Field(default=True, description="Find what was computed for the same beginning.")
    speculation: bool = Field(default=True, description="Guess ids from the text so far, check many at once.")
    draft_model: str | None = Field(
        default=None,
        description="A smaller model of the same tokenizer, `model/NAME`, that guesses what the text does not tell.",
    )


def find_draft(config: EngineConfig, artifact: Artifact, registry: Registry) -> EngineConfig:
    """An artifact's settings, with the folder of the draft model for its reference; none guesses for itself."""
    if config.draft_model is None:
        return config
    draft = registry.get(config.draft_model, verify=True)
    is_itself = draft.reference == artifact.reference
    return config.model_copy(update={"draft_model": None if is_itself else str(registry.folder(draft))})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Token ids to continue. The engine ends at any of `end_ids`, which it does not return.

    `generated` are ids that an engine before this one has already answered with; they are not returned again.
    """

    ids: tuple[int, ...]
    sampling: Sampling
    end_ids: tuple[int, ...] = ()
    adapter: str | None = None
    constraint: Constraint | None = None
    priority: int = 0
    deadline_s: float | None = None
    tenant: str = ""
    salt: str = ""
    generated: tuple[int, ...] = ()

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids that end the reply and are not shown."""
        stop_ids = self.sampling.stop_ids
        return stop_ids if self.sampling.ignore_end else (*self.end_ids, *stop_ids)

    def check_fits(self, context: int) -> None:
        """Raise ContextLengthError where there are no ids, or they and what may follow do not fit."""
        if not self.ids:
            raise ContextLengthError("The prompt is empty; at least one token is needed.")
        wanted = len(self.ids) + self.sampling.max_tokens
        if wanted > context:
            raise ContextLengthError(
                f"The prompt has {len(self.ids):,} tokens and {self.sampling.max_tokens:,} may follow, "
                f"{wanted:,} in all; {context:,} is the limit. Shorten the prompt or ask for fewer tokens."
            )


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What one step brought a request: a chosen id, or the reason for the end, or both.

    `end` is the end token that was chosen, which is no part of the answer. `prompt` are the prompt's own ids as
    far as they were scored, without the first, where their log-probabilities were asked for. `num_cached` of the
    prompt's ids had keys and values before. `kind` names the class of an `error`.
    """

    chosen: tuple[Chosen, ...] = ()
    end: Chosen | None = None
    prompt: tuple[Chosen, ...] = ()
    num_cached: int = 0
    finish_reason: FinishReason | None = None
    error: str | None = None
    kind: str = ""

    @classmethod
    def failed(cls, error: MainspringError) -> Self:
        return cls(error=str(error), kind=type(error).__name__)

    @property
    def failure(self) -> MainspringError | None:
        return None if self.error is None else named(self.kind, self.error)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(each.id for each in self.chosen)

    @property
    def logprobs(self) -> tuple[float, ...]:
        return tuple(each.logprob for each in self.chosen)


OutputSink = Callable[[Output], bool]
"""Called from the engine's thread with every output; True ends the request as stopped."""


def hand_out(sink: OutputSink, output: Output) -> bool:
    """Call a sink; True when the request is to end. A sink that raises ends its own request alone."""
    try:
        return sink(output)
    except Exception:
        logger.exception("The sink of a request failed, so the request is dropped; the others go on.")
        return True


@dataclass(slots=True, eq=False)
class Sequence:
    """A request in the scheduler: all its ids so far, how many have keys and values, and where those lie.

    Who asked holds it as a ticket (base.AnyTicket). `names` are those of the full blocks that `ids` make, as far as
    they were asked for. `num_told` ids of the prompt have been scored for who asked for it. `followers` are requests
    for the same ids that take over what this one computes of them. `guess` are the ids that the next step may check
    behind those that there are, `pace` is that of whoever guessed them.
    """

    request: Request
    sink: OutputSink
    seed: int
    ids: list[int]
    grammar: Grammar | None = None
    seen: Seen | None = None
    ngram: NGram = field(default_factory=NGram)
    ngram_pace: Pace = field(default_factory=Pace)
    guess: list[int] = field(default_factory=list)
    pace: Pace | None = None
    arrived: float = field(default_factory=time.monotonic)
    num_computed: int = 0
    num_cached: int = 0
    num_passed: int = 0
    num_told: int = 0
    num_dropped: int = 0
    blocks: list[int] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    followers: list["Sequence"] = field(default_factory=list)
    is_cancelled: bool = False

    @property
    def num_generated(self) -> int:
        return len(self.ids) - len(self.request.ids)

    @property
    def num_lacking(self) -> int:
        """Ids without keys and values: one while it decodes."""
        return len(self.ids) - self.num_computed

    @property
    def wants_prompt(self) -> bool:
        """Whether the prompt itself is to be scored, so that nothing of it may come from the cache."""
        return self.request.sampling.prompt_logprobs is not None and self.num_generated == 0

    def row(self, ahead: int = 0) -> Row:
        """What the choice of its next id depends on, or of the one that many ids later."""
        return Row(
            sampling=self.request.sampling, seed=self.seed, position=len(self.ids) + ahead,
            num_generated=self.num_generated + ahead, seen=self.seen, end_ids=self.request.ends,
        )  # fmt: skip

    def take_note(self, token_id: int) -> None:
        """A generated id, for the penalties and the grammar."""
        if self.seen is not None:
            self.seen.add(token_id)
        if self.grammar is not None:
            self.grammar.accept(token_id)

    def cancel(self) -> None:
        """End after the running step; the slot is free in the next one."""
        self.is_cancelled = True  # an engine that has open requests goes from step to step and will see it

    def is_late(self, now: float) -> bool:
        return self.request.deadline_s is not None and now - self.arrived > self.request.deadline_s
