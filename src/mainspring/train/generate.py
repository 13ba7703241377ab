"""Prompts answered by a model, in as many steps as it takes, each kept: what data made by models share.

    prompts -> a procedure each: ask, read, ask again ... -> a line of the journal -> datasets

A procedure is a generator that yields what is to be asked and is sent the reply. Many go on side by side, so that
a model that batches can. Seeds follow from the run's seed, the prompt and the step alone.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
from pydantic import Field

from mainspring.artifact import sha256_of
from mainspring.config import Config, build
from mainspring.data.document import stable_hash
from mainspring.errors import ConfigError, ContextLengthError, UserError
from mainspring.progress import bar, say
from mainspring.protocols import ChatModel, Generation
from mainspring.registry import Registry
from mainspring.runs import Run, Runs
from mainspring.schema import Message, Reply, Sampling
from mainspring.train.journal import Journal
from mainspring.train.sources.records import messages_of, read_records
from mainspring.train.stopped import check_stopped

JOURNAL = "journal.jsonl"


class GenerateConfig(Config):
    """What is asked, of whom, and how."""

    name: str = Field(pattern=r"^[\w.-]+$", description="of the dataset that is made")
    prompts: Path = Field(
        description='a .jsonl file of {"prompt": text} or {"messages": [...]} that ends with the user'
    )
    model: str = Field(default="model/smollm2", description="who is asked")
    adapter: str | None = Field(default=None, description="its adapter, or none")
    max_tokens: int = Field(default=256, ge=1, description="of an answer; one that is cut off is not kept")
    temperature: float = Field(default=0.7, ge=0, description="of answers; 0 is greedy")
    top_p: float = Field(default=1.0, gt=0, le=1, description="of answers")
    seed: int = Field(default=0, ge=0, description="another seed gives other answers")
    at_once: int = Field(default=16, ge=1, description="prompts that are worked on side by side")

    def pinned(self, registry: Registry) -> Self:
        """With what its names stand for now: what a run is resumed by."""
        adapter = registry.get(self.adapter).reference if self.adapter else None
        model = registry.get(self.model).reference
        return self.model_copy(update={"model": model, "adapter": adapter, "prompts": self.prompts.resolve()})

    def parents(self) -> dict[str, str]:
        """Who was asked, by role."""
        return {"model": self.model} | ({"adapter": self.adapter} if self.adapter else {})

    def facts(self) -> dict[str, Any]:
        """What decides the answers, beside the prompts."""
        return self.model_dump(mode="json", exclude={"prompts", "at_once"})

    def sampling(self, prompt: "Prompt", step: str) -> Sampling:
        """How a step of a prompt is answered."""
        seed = stable_hash(f"{self.seed}\0{prompt.number}\0{step}") % 2**31
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens, seed=seed)


C = TypeVar("C", bound=GenerateConfig)


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that waits for an answer; `number` counts from 1."""

    number: int
    messages: tuple[Message, ...]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, and the model's words."""

    step: str
    asked: tuple[Message, ...]
    said: str


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a prompt. `lesson`: a conversation to learn; `pair`: the better answer and the worse one;
    `dropped`: why there is no lesson or no pair.
    """

    prompt: Prompt
    steps: tuple[Step, ...] = ()
    principles: tuple[str, ...] = ()
    lesson: tuple[Message, ...] = ()
    pair: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One question to the model."""

    messages: tuple[Message, ...]
    sampling: Sampling


Asking = Generator[Ask, Reply, str]
Procedure = Generator[Ask, Reply, Made]


@dataclass(slots=True)
class Talk:
    """What has been said so far about a prompt, and why something of it is dropped."""

    prompt: Prompt
    config: GenerateConfig
    steps: list[Step] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def ask(self, step: str, messages: Sequence[Message]) -> Asking:
        """The model's words, "" where they are of no use: empty, or cut off at their limit."""
        reply = yield from self.hear(step, messages, self.config.sampling(self.prompt, step))
        said = reply.text.strip()
        if said and reply.finish_reason == "stop":
            return said
        self.dropped.append(f"the {step} was {'cut off' if said else 'empty'}")
        return ""

    def hear(
        self, step: str, messages: Sequence[Message], sampling: Sampling
    ) -> Generator[Ask, Reply, Reply]:
        """A reply, whatever it is."""
        asked = tuple(messages)
        reply = yield Ask(messages=asked, sampling=sampling)
        self.steps.append(Step(step=step, asked=asked, said=reply.text.strip()))
        return reply


def read_prompts(registry: Registry, path: Path) -> list[Prompt]:
    """Every prompt of a file.

    Raises:
        UserError: no prompts, or one that does not end with the user.

    """
    found: list[Prompt] = []
    for number, record in enumerate(read_records(registry, str(path)), 1):
        name, text = f"line {number} of {path}", record.get("prompt")
        messages = [Message("user", text)] if isinstance(text, str) else messages_of(record, "messages", name)
        if not messages or messages[-1].role != "user" or not messages[-1].content.strip():
            raise UserError(f"{name} does not end with words of the user. Correct it, or leave it out.")
        found.append(Prompt(number=number, messages=tuple(messages)))
    if not found:
        raise UserError(f"{path} holds no prompts; at least one is needed.")
    return found


def generate(
    prompts: Sequence[Prompt], procedure: Callable[[Prompt], Procedure], model: ChatModel, journal: Journal, *,
    at_once: int,
) -> list[Made]:  # fmt: skip
    """Carry the procedure through for every prompt that the journal does not hold yet; all results, in order."""
    done = msgspec.convert(journal.entries, list[Made])
    known = {made.prompt.number for made in done}
    waiting = iter([prompt for prompt in prompts if prompt.number not in known])
    with bar("asking", len(prompts), "prompts") as advance:
        advance(len(known))
        while batch := list(itertools.islice(waiting, at_once)):
            for made in _side_by_side(batch, procedure, model):
                journal.append(made)
                done.append(made)
                advance(1)
    return sorted(done, key=lambda made: made.prompt.number)


def _side_by_side(
    batch: Sequence[Prompt], procedure: Callable[[Prompt], Procedure], model: ChatModel
) -> Iterator[Made]:
    """Step by step, all that still go on at once; a prompt's result comes when its procedure ends."""
    going = [(prompt, procedure(prompt)) for prompt in batch]
    replies: list[Reply | None] = [None] * len(going)
    while going:
        asked: list[tuple[Prompt, Procedure, Generation]] = []
        for (prompt, work), reply in zip(going, replies, strict=True):
            try:
                ask = next(work) if reply is None else work.send(reply)
                asked.append((prompt, work, model.start(ask.messages, ask.sampling)))
            except StopIteration as end:
                yield end.value
            except ContextLengthError as error:
                yield Made(prompt=prompt, dropped=(f"too long to ask: {error}",))
        going = [(prompt, work) for prompt, work, _ in asked]
        replies = [generation.wait() for _, _, generation in asked]


@contextmanager
def begun(
    registry: Registry, runs: Runs, kind: str, given: C | None, settings: type[C], *, resume: str | None
) -> Iterator[tuple[Run, C, list[Prompt], Journal]]:
    """A new run, or one that goes on with its own settings; what goes wrong in the block is its end.

    Raises:
        ConfigError: the prompts of the run have changed since it began.
        UserError, BusyError: the run is of another kind, done, or running.

    """
    if resume is None:
        assert given is not None, "a new run needs settings"
        pinned = given.pinned(registry)
        read_prompts(registry, pinned.prompts)  # what is wrong with them is told before a run begins
        stored = {"settings": pinned.model_dump(mode="json"), "prompts": sha256_of(pinned.prompts)}
        run = runs.start(kind, stored)
    else:
        check_stopped(runs, kind, resume)
        run = runs.resume(resume)
    config = build(settings, run.config["settings"])
    say(f"run {run.id}; if it is stopped, `mainspring {kind} --resume {run.id}` goes on with it")
    try:
        prompts = read_prompts(registry, config.prompts)
        _check_same(config.prompts, run)
        yield run, config, prompts, Journal(runs.folder(run.id) / JOURNAL)
    except BaseException as error:
        runs.end(run.id, "failed", {"error": f"{type(error).__name__}: {error}"})
        raise


def _check_same(prompts: Path, run: Run) -> None:
    if sha256_of(prompts) != run.config["prompts"]:
        raise ConfigError(
            f"{prompts} has changed since {run.id} began. Put it back to go on, or begin a new run."
        )
