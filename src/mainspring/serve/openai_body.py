"""What a client of the OpenAI dialect may send, and what is made of it.

Honored for a chat: model, messages, stream, stream_options.include_usage, max_tokens or
max_completion_tokens, temperature, top_p, top_k (an extension), seed, stop.
Honored for embeddings: model, input, encoding_format.
Accepted because they change nothing: user, metadata, safety_identifier, prompt_cache_key, and the values in
NEUTRAL. Everything else is refused by name.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mainspring import chat
from mainspring.errors import ChatError
from mainspring.schema import ChatRequest, Message, Role
from mainspring.serve import body as bodies
from mainspring.serve.base import FieldError

HARMLESS = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key"})
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,), "store": (False,), "logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},),
    "frequency_penalty": (0,), "presence_penalty": (0,), "response_format": ({"type": "text"},),
    "tools": ([],), "tool_choice": ("none", "auto"), "parallel_tool_calls": (True, False),
    "modalities": (["text"],), "service_tier": ("auto", "default"),
}  # fmt: skip
MESSAGE_NEUTRAL: dict[str, tuple[Any, ...]] = {"tool_calls": ([],), "annotations": ([],)}
MAX_STOPS = 4
MAX_INPUTS = 2048


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


class WireMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    content: str | list[TextPart]


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class ChatBody(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    messages: list[dict[str, Any]]
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None


class EmbeddingBody(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"


def chat_request(body: dict[str, Any], key: str | None) -> tuple[ChatRequest, ChatBody]:
    """A chat completion's body as the internal form.

    Raises:
        FieldError: a field that is unknown, wrong or out of range.
        ChatError: an unknown role.

    """
    parsed = bodies.parse(ChatBody, body, neutral=NEUTRAL, harmless=HARMLESS)
    if parsed.max_tokens is not None and parsed.max_completion_tokens is not None:
        raise FieldError(
            "Both `max_tokens` and `max_completion_tokens` are given; they mean the same. Send one of them.",
            param="max_tokens",
        )
    limit = parsed.max_tokens if parsed.max_tokens is not None else parsed.max_completion_tokens
    overrides = {
        "max_tokens": limit, "temperature": parsed.temperature, "top_p": parsed.top_p, "top_k": parsed.top_k,
        "seed": parsed.seed, "stop": None if parsed.stop is None else _stops(parsed.stop),
    }  # fmt: skip
    request = ChatRequest(
        model=parsed.model,
        messages=tuple(_message(index, message) for index, message in enumerate(parsed.messages)),
        overrides={name: value for name, value in overrides.items() if value is not None},
        stream=parsed.stream,
        key=key,
    )
    return request, parsed


def embedding_texts(body: dict[str, Any]) -> tuple[EmbeddingBody, list[str]]:
    """An embedding's body, and its input as a list of texts."""
    if isinstance(body.get("input"), list) and any(not isinstance(item, str) for item in body["input"]):
        raise FieldError(
            "`input` holds something other than text; token ids are not supported. Send a string or strings.",
            param="input",
        )
    parsed = bodies.parse(EmbeddingBody, body, harmless=HARMLESS)
    texts = [parsed.input] if isinstance(parsed.input, str) else parsed.input
    if not texts or any(not text for text in texts):
        raise FieldError(
            "`input` is empty or holds an empty string; send at least one character.", param="input"
        )
    if len(texts) > MAX_INPUTS:
        raise FieldError(
            f"`input` holds {len(texts):,} texts; {MAX_INPUTS:,} is the most. Send several requests.",
            param="input",
        )
    return parsed, texts


def _message(index: int, given: dict[str, Any]) -> Message:
    try:
        parsed = bodies.parse(WireMessage, given, neutral=MESSAGE_NEUTRAL)
    except FieldError as error:
        place = f"messages[{index}].{error.param}"
        raise FieldError(
            str(error).replace(f"`{error.param}`", f"`{place}`", 1), param=place, code=error.code
        ) from None
    if parsed.role not in chat.ROLES:
        raise ChatError(
            f"Message {index} has the role '{parsed.role}'; known roles are {', '.join(chat.ROLES)}."
        )
    role: Role = parsed.role  # type: ignore[assignment]
    text = parsed.content if isinstance(parsed.content, str) else "".join(p.text for p in parsed.content)
    return Message(role=role, content=text)


def _stops(stop: str | Sequence[str]) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if len(stops) > MAX_STOPS or any(not text for text in stops):
        raise FieldError(
            f"`stop` is {list(stops)!r}; it must be one to {MAX_STOPS} strings, none of them empty. "
            "Change it or leave it out.",
            param="stop",
        )
    return stops
