"""The wire types that everyone speaks: frozen msgspec structs, so that they cost little and never change."""

from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled"]


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Role
    content: str


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen. Temperature 0 is greedy; a seed makes any other choice repeatable."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of token ids. `cached_tokens` are those of the prompt whose keys and values were still there."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a stored document: `text` is the document's text from `start` to `end` (characters), exactly."""

    id: str
    document: str
    title: str
    heading: str
    start: int
    end: int
    text: str


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that a search found; `why` names the parts of the score."""

    chunk: Chunk
    score: float
    why: dict[str, float] = {}


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """The stored text that supports one sentence of an answer.

    `sentence_start` and `sentence_end` count characters of the answer; `start` and `end` count characters of
    the stored document, whose text there is exactly `quote`. `support` is between 0 and 1.
    """

    number: int
    document: str
    title: str
    chunk: str
    start: int
    end: int
    quote: str
    sentence_start: int
    sentence_end: int
    support: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the assistant says to a question, and why it may be believed.

    kind: "generated" (by the model, every sentence supported), "extracted" (the fallback: the best cited
    sentence itself) or "abstained" (nothing stored supports an answer). `assistant` is the artifact that
    answered.
    """

    text: str
    kind: Literal["generated", "extracted", "abstained"]
    citations: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    assistant: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer of a model, with the ids that went in and came out.

    `logprob` is the mean natural log-probability of the generated ids under the unmodified distribution;
    `attributes` is what the trace keeps of how the reply came about; `answer` is there when an assistant
    replied.
    """

    text: str
    ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    logprob: float = 0.0
    answer: Answer | None = None
    attributes: dict[str, Any] = {}


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a streamed reply; the last one has no text of its own and carries the whole `reply`.

    `error` ends a stream that failed after it began.
    """

    text: str = ""
    reply: Reply | None = None
    error: str | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What comes in at the door, whatever the dialect it was spoken in.

    `overrides` are the sampling fields that the client set; the model's own defaults fill the rest.
    """

    model: str
    messages: tuple[Message, ...]
    overrides: dict[str, Any] = {}
    stream: bool = False
    key: str | None = None
