"""What a client of /v1/chat/completions or /v1/completions may send, and what is made of it.

Every documented field is read. These are accepted though they change nothing here, because they change nothing
about what the answer says:
- user, safety_identifier, metadata: notes for the provider's own records (`store` keeps metadata with the reply);
- prompt_cache_key, prompt_cache_options, prompt_cache_retention, prediction: hints for speed; prefixes are
  cached anyway;
- service_tier: there is one tier, and the response says "default";
- reasoning_effort, verbosity: hints that the models served here do not know;
- audio: says how speech would sound, and no speech is asked for (`modalities` must be ["text"]);
- web_search_options: says how a search would be done; none is, and `annotations` is empty, which says so;
- name of a message: templates have no place for it.
Refused, because ignoring them would change what the answer means: modalities with "audio", moderation that
blocks (a score alone is answered with an error in its own place), parts of messages that are not text, custom
tools, functions other than with function_call "none" (tools are their successor).
A `suffix` is refused by models without the special tokens that mark a gap. Anything else is refused by name.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, field
from msgspec.structs import asdict

from mainspring import chat
from mainspring.errors import ChatError
from mainspring.schema import ChatRequest, Message, Role, Tool, ToolCall
from mainspring.serve import body as bodies
from mainspring.serve.base import FieldError
from mainspring.serve.fields import (
    Count,
    Id,
    Metadata,
    Name,
    SamplingFields,
    ask_of,
    check_tools,
    sampling_of,
)

Prompts = Sequence[str | tuple[int, ...]]
MAX_PROMPTS = 128
DEFAULT_TOKENS = 16  # what OpenAI gives who sets no `max_tokens` of a raw prompt


class TextPart(bodies.BodyPart, frozen=True, tag_field="type", tag="text"):
    text: str
    prompt_cache_breakpoint: Any = None


class RefusalPart(bodies.BodyPart, frozen=True, tag_field="type", tag="refusal"):
    text: str = field(name="refusal")


class CalledFunction(bodies.BodyPart, frozen=True):
    name: str
    arguments: str


class Call(bodies.BodyPart, frozen=True):
    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class WireMessage(bodies.Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    harmless = frozenset({"name", "annotations"})
    role: str
    content: str | list[TextPart | RefusalPart] | None = None
    tool_calls: tuple[Call, ...] = ()
    tool_call_id: str = ""
    refusal: str | None = None


class Function(bodies.BodyPart, frozen=True):
    name: Name
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    strict: bool | None = None


class FunctionTool(bodies.BodyPart, frozen=True):
    function: Function
    type: Literal["function"] = "function"


class Named(msgspec.Struct, frozen=True):
    name: Name


class ChosenTool(bodies.BodyPart, frozen=True, tag_field="type", tag="function"):
    function: Named


class AllowedTools(bodies.BodyPart, frozen=True):
    mode: Literal["auto", "required"]
    tools: list[ChosenTool]


class AllowedChoice(bodies.BodyPart, frozen=True, tag_field="type", tag="allowed_tools"):
    allowed_tools: AllowedTools


class Policy(msgspec.Struct, frozen=True):
    mode: Literal["score"] = "score"  # "block" would be ignored, so it is refused


class Policies(msgspec.Struct, frozen=True):
    input: Policy | None = None
    output: Policy | None = None


class Moderation(msgspec.Struct, frozen=True):
    model: str
    policy: Policies | None = None


class ChatBody(SamplingFields, frozen=True, kw_only=True):
    harmless = frozenset({
        "user", "safety_identifier", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "prediction", "service_tier", "reasoning_effort", "verbosity", "audio", "web_search_options",
    })  # fmt: skip
    neutral: ClassVar = {"modalities": ["text"]}
    messages: list[dict[str, Any]]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | ChosenTool | AllowedChoice | None = None
    parallel_tool_calls: bool = True
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    functions: tuple[Function, ...] = ()
    function_call: Literal["none"] | None = None
    store: bool = False
    metadata: Metadata | None = None
    moderation: Moderation | None = None


class CompletionBody(SamplingFields, frozen=True, kw_only=True):
    harmless = frozenset({"user"})
    prompt: str | tuple[str | Id | tuple[Id, ...], ...]
    max_tokens: Count = DEFAULT_TOKENS
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool = False
    suffix: str = ""


def chat_request(parsed: ChatBody, key: str | None) -> ChatRequest:
    """A chat completion's body as the internal form."""
    tools = _tools(parsed)
    messages = bodies.parse_each(WireMessage, "messages", parsed.messages)
    given = leading([_message(index, message) for index, message in enumerate(messages)])
    ask = ask_of(parsed, go_on=_goes_on(parsed), **tools)
    sampling = sampling_of(parsed, _limit(parsed), _num_logprobs(parsed))
    return ChatRequest(
        model=parsed.model, messages=given, ask=ask, overrides=sampling, stream=parsed.stream, key=key
    )


def raw_requests(parsed: CompletionBody, prompts: Prompts, key: str | None) -> list[ChatRequest]:
    """A raw completion's body as the internal form, one for each of its prompts."""
    sampling = sampling_of(parsed, parsed.max_tokens, parsed.logprobs)
    if parsed.echo and parsed.logprobs is not None:
        sampling["prompt_logprobs"] = max(parsed.logprobs, parsed.prompt_logprobs or 0)
    asked = ChatRequest(
        model=parsed.model, ask=ask_of(parsed, suffix=parsed.suffix), overrides=sampling, stream=parsed.stream,
        key=key,
    )  # fmt: skip
    return [msgspec.structs.replace(asked, prompt=prompt) for prompt in prompts]


def prompts_of(parsed: CompletionBody) -> Prompts:
    """The prompts: one text, several texts, ids of one, ids of several; empty at most before a suffix."""
    given: Any = parsed.prompt
    is_alone = isinstance(given, str) or (given and all(isinstance(one, int) for one in given))
    many = (given,) if is_alone else given
    if any(isinstance(one, int) for one in many):
        raise FieldError("`prompt` mixes token ids with texts or lists; send one kind.")
    if not 0 < len(many) <= MAX_PROMPTS or not (parsed.suffix or all(many)):
        raise FieldError(
            f"`prompt` is empty, holds an empty prompt, or more than {MAX_PROMPTS}. Send between one and that."
        )
    return many


def leading(messages: list[Message]) -> tuple[Message, ...]:
    """Messages with all instructions at their beginning as one; instructions alone are what is asked."""
    count = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    if not count:
        return tuple(messages)
    role: Role = "user" if count == len(messages) else "system"
    text = "\n\n".join(message.content for message in messages[:count])
    return (Message(role, text), *messages[count:])


def _goes_on(parsed: ChatBody) -> bool:
    """Whether the reply continues the last message; both fields are vLLM's, and each says what the other does."""
    if parsed.add_generation_prompt in (None, not parsed.continue_final_message):
        return parsed.continue_final_message
    raise FieldError(
        f"`add_generation_prompt` and `continue_final_message` are both {parsed.continue_final_message}; a reply is "
        "either begun or gone on with. Leave `add_generation_prompt` out."
    )


def _limit(parsed: ChatBody) -> int | None:
    limits = {parsed.max_tokens, parsed.max_completion_tokens} - {None}
    if len(limits) > 1:
        raise FieldError(
            f"`max_tokens` is {parsed.max_tokens} and `max_completion_tokens` {parsed.max_completion_tokens}; "
            "they mean the same. Send one of them."
        )
    return limits.pop() if limits else None


def _num_logprobs(parsed: ChatBody) -> int | None:
    if parsed.top_logprobs and not parsed.logprobs:
        raise FieldError("`top_logprobs` is given without `logprobs`. Set `logprobs` to true as well.")
    return (parsed.top_logprobs or 0) if parsed.logprobs else None


def _tools(parsed: ChatBody) -> dict[str, Any]:
    """The fields of schema.Ask that are about tools."""
    if parsed.functions and parsed.function_call != "none":
        raise FieldError(
            '`functions` is the old form of `tools` and is supported with `function_call` "none" alone. '
            "Send `tools`.",
            code="unsupported_parameter",
        )
    tools = tuple(msgspec.convert(one.function, Tool, from_attributes=True) for one in parsed.tools)
    wanted = parsed.tool_choice or "auto"
    if isinstance(wanted, AllowedChoice):
        allowed = {one.function.name for one in wanted.allowed_tools.tools}
        tools = tuple(tool for tool in tools if tool.name in allowed)
        wanted = wanted.allowed_tools.mode
    choice = wanted.function.name if isinstance(wanted, ChosenTool) else wanted
    check_tools(tools, choice)
    return {"tools": tools, "tool_choice": choice, "parallel_tool_calls": parsed.parallel_tool_calls}


def _message(index: int, parsed: WireMessage) -> Message:
    content = parsed.refusal if parsed.content is None else parsed.content
    if content is None and not parsed.tool_calls:
        raise bodies.missing(f"messages[{index}].content")
    if parsed.role not in {*chat.ROLES, "developer"}:
        raise ChatError(
            f"Message {index} has the role '{parsed.role}'; known roles are {', '.join(chat.ROLES)}, developer."
        )
    role: Role = "system" if parsed.role == "developer" else parsed.role  # type: ignore[assignment]
    text = content if isinstance(content, str) else "".join(part.text for part in content or ())
    calls = tuple(ToolCall(id=call.id, **asdict(call.function)) for call in parsed.tool_calls)
    return Message(role, text, calls, parsed.tool_call_id)
