"""The wire types that everyone speaks: frozen msgspec structs, so that they cost little and never change."""

from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that a model asks for; `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation. A message of role "tool" answers the call that `tool_call` names."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call: str = ""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call; `parameters` is the JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


ALL_THAT_FIT = 2**31 - 1
"""As `max_tokens`: a reply may be as long as the context has room for behind the prompt."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen. Temperature 0 is greedy; a seed makes any other choice repeatable.

    `logit_bias` is added to the scores of ids. `stop` ends at a text, `stop_ids` at an id; neither is shown.
    `ignore_end` goes on behind the model's own end. `logprobs` and `prompt_logprobs` ask for that many
    alternatives beside every id's own log-probability (0: for its own alone). `max_tokens` may be ALL_THAT_FIT.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    min_tokens: int = 0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    ignore_end: bool = False
    seed: int | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None


class Constraint(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply's text must match: a JSON Schema, any JSON object, a regex, a Lark grammar, one of some texts."""

    kind: Literal["json_schema", "json_object", "regex", "lark", "choice"]
    value: Any = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a request wants besides its messages and its sampling.

    `tool_choice` is "auto", "none", "required" or the name of one tool. `n` replies are given, the best of
    `best_of` where that is more; `beams` above 1 searches that many wide instead of sampling. Requests of a
    higher `priority` go first; after `deadline_s` seconds a request that is not done is given up. `salt`
    keeps what it computes out of the cache of others. With `go_on` the reply continues the last message,
    which is the assistant's. With a `suffix` the reply to a raw prompt is what stands between the two.
    """

    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    constraint: Constraint | None = None
    n: int = 1
    best_of: int = 1
    beams: int = 1
    length_penalty: float = 1.0
    go_on: bool = False
    suffix: str = ""
    priority: int = 0
    deadline_s: float | None = None
    tenant: str = ""
    salt: str = ""


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """An id, the text it stands for, its natural log-probability and those of the best ids at its place.

    `bytes` are those of the text; a special token has a name as `text`, and none.
    """

    id: int
    text: str
    logprob: float
    bytes: tuple[int, ...] = ()
    alternatives: "tuple[TokenLogprob, ...]" = ()


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


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Characters of a text with the means, over the ids that wrote them, of log-probability and entropy (nats).

    Both are of the model's unmodified distribution, whatever the sampling made of it.
    """

    start: int
    end: int
    logprob: float
    entropy: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the assistant says to a question, and why it may be believed.

    kind: "generated" (by the model, every sentence supported), "extracted" (the fallback: the best cited
    sentence itself) or "abstained" (nothing stored supports an answer). `assistant` is the artifact that
    answered. `spans` are the sentences that the model wrote; `confidence` is the chance that a generated answer
    is right, None where that was not calibrated for this very assistant.
    """

    text: str
    kind: Literal["generated", "extracted", "abstained"]
    citations: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    assistant: str = ""
    spans: tuple[Span, ...] = ()
    confidence: float | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer of a model, with the ids that went in and came out.

    `logprob` and `entropy` are means over the generated ids under the unmodified distribution, in nats;
    `scores` has one span an id, of the characters that it wrote (none for a stop that is not shown). `logprobs`
    and `prompt_logprobs` are there where they were asked for (the first of `prompt_ids` has none); with a suffix,
    these are those of the prompt alone.
    `attributes` is what the trace keeps of how the reply came about; `answer` is there when an assistant
    replied. `index` counts the replies to one request.
    """

    text: str
    ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    index: int = 0
    tool_calls: tuple[ToolCall, ...] = ()
    logprob: float = 0.0
    entropy: float = 0.0
    scores: tuple[Span, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob | None, ...] = ()
    stopped_by: str | int | None = None
    answer: Answer | None = None
    attributes: dict[str, Any] = {}


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a streamed reply; the last one of an index has no text of its own and carries the whole `reply`.

    `prompt_logprobs`, where they were asked for, come alone and before any text. `error` ends a stream that failed
    after it began.
    """

    index: int = 0
    text: str = ""
    ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob | None, ...] = ()
    tool_calls: tuple["ToolCallDelta", ...] = ()
    reply: Reply | None = None
    error: str | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the call of number `index`: the first has `id` and `name`, all bring more of `arguments`."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What comes in at the door, whatever the dialect it was spoken in.

    Either `messages` or a raw `prompt`: text, or token ids. `overrides` are the sampling fields that the client
    set; the model's own defaults fill the rest. `prompt_artifact` is the reference of the stored prompt that
    `messages` begin with.
    """

    model: str
    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    prompt_artifact: str | None = None
    ask: Ask = Ask()
    overrides: dict[str, Any] = {}
    stream: bool = False
    key: str | None = None
