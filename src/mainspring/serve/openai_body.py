"""What a client of /v1/chat/completions may send, and what is made of it.

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
Anything else is refused by name.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from mainspring import chat
from mainspring.errors import ChatError
from mainspring.schema import ChatRequest, Message, Role, Tool, ToolCall
from mainspring.serve import body as bodies
from mainspring.serve.base import FieldError
from mainspring.serve.fields import Count, Metadata, Name, SamplingFields, ask_of, check_tools, overrides


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    text: str
    prompt_cache_breakpoint: Any = None


class RefusalPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="refusal"):
    refusal: str


class CalledFunction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: str


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool | None = None


class FunctionTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["function"]
    function: Function


class Named(msgspec.Struct, frozen=True):
    name: Name


class ChosenTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="function"):
    function: Named


class AllowedTool(msgspec.Struct, frozen=True):
    function: Named


class AllowedTools(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mode: Literal["auto", "required"]
    tools: list[AllowedTool]


class AllowedChoice(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="allowed_tools"
):
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
    neutral: ClassVar = {"modalities": (["text"],)}
    model: str
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


def chat_request(parsed: ChatBody, key: str | None) -> ChatRequest:
    """A chat completion's body as the internal form."""
    tools, choice = _tools(parsed)
    messages = bodies.parse_each(WireMessage, "messages", parsed.messages)
    return ChatRequest(
        model=parsed.model,
        messages=leading([_message(index, message) for index, message in enumerate(messages)]),
        ask=ask_of(parsed, tools, choice, parallel=parsed.parallel_tool_calls, go_on=_goes_on(parsed)),
        overrides=overrides(parsed, _limit(parsed), _num_logprobs(parsed)),
        stream=parsed.stream,
        key=key,
    )


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
        "either begun or gone on with. Leave `add_generation_prompt` out.",
        param="add_generation_prompt",
    )


def _limit(parsed: ChatBody) -> int | None:
    limits = {parsed.max_tokens, parsed.max_completion_tokens} - {None}
    if len(limits) > 1:
        raise FieldError(
            f"`max_tokens` is {parsed.max_tokens} and `max_completion_tokens` {parsed.max_completion_tokens}; "
            "they mean the same. Send one of them.",
            param="max_tokens",
        )
    return limits.pop() if limits else None


def _num_logprobs(parsed: ChatBody) -> int | None:
    if parsed.top_logprobs and not parsed.logprobs:
        raise FieldError(
            "`top_logprobs` is given without `logprobs`. Set `logprobs` to true as well.",
            param="top_logprobs",
        )
    return (parsed.top_logprobs or 0) if parsed.logprobs else None


def _tools(parsed: ChatBody) -> tuple[tuple[Tool, ...], str]:
    if parsed.functions and parsed.function_call != "none":
        raise FieldError(
            '`functions` is the old form of `tools` and is supported with `function_call` "none" alone. '
            "Send `tools`.",
            param="functions",
            code="unsupported_parameter",
        )
    tools = tuple(
        Tool(name=one.function.name, description=one.function.description, parameters=one.function.parameters)
        for one in parsed.tools
    )
    wanted = parsed.tool_choice or "auto"
    if isinstance(wanted, AllowedChoice):
        allowed = {one.function.name for one in wanted.allowed_tools.tools}
        tools = tuple(tool for tool in tools if tool.name in allowed)
        wanted = wanted.allowed_tools.mode
    choice = wanted.function.name if isinstance(wanted, ChosenTool) else wanted
    check_tools(tools, choice)
    return tools, choice


def _message(index: int, parsed: WireMessage) -> Message:
    if parsed.content is None and not parsed.tool_calls and parsed.refusal is None:
        place = f"messages[{index}].content"
        raise FieldError(f"`{place}` is missing. Add it.", param=place, code="missing_required_parameter")
    if parsed.role not in {*chat.ROLES, "developer"}:
        raise ChatError(
            f"Message {index} has the role '{parsed.role}'; known roles are {', '.join(chat.ROLES)}, developer."
        )
    role: Role = "system" if parsed.role == "developer" else parsed.role  # type: ignore[assignment]
    return Message(
        role=role,
        content=_text(parsed),
        tool_calls=tuple(
            ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in parsed.tool_calls
        ),
        tool_call=parsed.tool_call_id,
    )


def _text(parsed: WireMessage) -> str:
    if parsed.content is None:
        return parsed.refusal or ""
    if isinstance(parsed.content, str):
        return parsed.content
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in parsed.content)
