"""What a client of /v1/responses may send, and what is made of it.

`model` and `input` may be missing, as documented: the first served model answers, to an empty text. Accepted
though they change nothing here, because they change nothing about what the answer says:
- metadata, user, safety_identifier: kept with the response, or notes for the provider's own records;
- prompt_cache_*, service_tier, background_options, access_programs: hints of speed and cost;
- reasoning, text.verbosity: hints that the models served here do not know; reasoning of earlier turns is not
  shown to the model;
- context_management, truncation: a prompt over the context is refused with both numbers, never cut in silence;
- max_tool_calls and the parts of `include` that speak of tools a provider runs: none is offered.
Refused, because ignoring them would change what the answer means: image, moderation that blocks, tools other
than functions, items, parts and variables of a prompt that are not text. `conversation` and
`previous_response_id` each name a history, so both are taken only where they name the same one: the response
belongs to the conversation. Anything else is refused by name.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mainspring.schema import Ask, Message, Role, Tool, ToolCall
from mainspring.serve import body as bodies
from mainspring.serve import fields
from mainspring.serve.base import FieldError
from mainspring.serve.openai_body import Moderation, leading

Json = dict[str, Any]


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text"):
    text: str


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    text: str


class Refusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    text: str = msgspec.field(name="refusal")


class MessageItem(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputText | OutputText | Refusal]


class CallItem(msgspec.Struct, frozen=True, tag_field="type", tag="function_call"):
    call_id: str
    name: str
    arguments: str


class ResultItem(msgspec.Struct, frozen=True, tag_field="type", tag="function_call_output"):
    call_id: str
    output: str | list[InputText]


class ReasoningItem(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    pass


class CompactionItem(msgspec.Struct, frozen=True, tag_field="type", tag="compaction"):
    encrypted_content: bytes  # only its name says so: the summary's text, sent in base64

    def __post_init__(self) -> None:
        try:
            self.encrypted_content.decode()
        except UnicodeDecodeError:
            raise ValueError("its `encrypted_content` is no compaction of this server") from None


Item = MessageItem | CallItem | ResultItem | ReasoningItem | CompactionItem


class ItemId(msgspec.Struct, frozen=True):
    id: str | None = None


class ConversationName(bodies.BodyPart, frozen=True):
    id: str


class PromptName(bodies.BodyPart, frozen=True):
    id: str
    version: Annotated[str, Meta(pattern="^[a-zA-Z0-9_.-]{1,64}$")] | None = None
    variables: dict[str, str | InputText] | None = None


class FunctionTool(bodies.Body, frozen=True, kw_only=True):
    harmless = frozenset({"allowed_callers", "defer_loading", "output_schema"})
    type: Literal["function"] = "function"
    name: fields.Name
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class ChosenTool(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    name: fields.Name


class AllowedTools(msgspec.Struct, frozen=True, tag_field="type", tag="allowed_tools"):
    mode: Literal["auto", "required"]
    tools: list[ChosenTool]


class Format(fields.JsonSchema, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    name: str = ""


class TextConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Format = Format(type="text")
    verbosity: str | None = None


class CompactBody(bodies.Body, frozen=True, kw_only=True):
    harmless = frozenset({
        "safety_identifier", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier",
        "background_options", "access_programs", "context_management", "max_tool_calls", "personality",
    })  # fmt: skip
    model: str | None = None
    input: str | list[Json] = ""
    instructions: str | None = None
    previous_response_id: str | None = None


class InputBody(CompactBody, frozen=True, kw_only=True):
    conversation: str | ConversationName | None = None
    prompt: PromptName | None = None
    tools: tuple[Json, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | ChosenTool | AllowedTools = "auto"
    parallel_tool_calls: bool = True
    reasoning: Json | None = None
    text: TextConfig = TextConfig()
    truncation: Literal["auto", "disabled"] = "disabled"


class ResponseBody(InputBody, frozen=True, kw_only=True):
    background: bool = False
    include: tuple[str, ...] = ()
    max_output_tokens: fields.Count | None = None
    metadata: fields.Metadata | None = None
    moderation: Moderation | None = None
    store: bool = True
    stream: bool = False
    stream_options: fields.StreamOptions = fields.StreamOptions()
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    user: str | None = None


def sampling_of(body: ResponseBody) -> Json:
    """The fields of schema.Sampling that a client set."""
    given = {"max_tokens": body.max_output_tokens, "temperature": body.temperature, "top_p": body.top_p}
    if body.top_logprobs or "message.output_text.logprobs" in body.include:
        given["logprobs"] = body.top_logprobs or 0
    return {name: value for name, value in given.items() if value is not None}


def ask_of(body: InputBody) -> Ask:
    """The tools and the constraint of a body."""
    tools = [
        Tool(name=tool.name, description=tool.description or "", parameters=tool.parameters or {})
        for tool in bodies.parse_each(FunctionTool, "tools", body.tools)
    ]
    wanted = body.tool_choice
    if isinstance(wanted, AllowedTools):
        allowed = {tool.name for tool in wanted.tools}
        tools = [tool for tool in tools if tool.name in allowed]
        wanted = wanted.mode
    choice = wanted.name if isinstance(wanted, ChosenTool) else wanted
    fields.check_tools(tools, choice)
    return Ask(
        tools=tuple(tools), tool_choice=choice, parallel_tool_calls=body.parallel_tool_calls,
        constraint=fields.format_constraint(body.text.format.type, body.text.format),
    )  # fmt: skip


def conversation_of(body: InputBody) -> str | None:
    """The id of the conversation that a body names."""
    return body.conversation.id if isinstance(body.conversation, ConversationName) else body.conversation


def items_of(given: str | Sequence[Json], identity: str, place: str = "input") -> list[Json]:
    """The input of a response as items that are kept and listed: each with a type, an id and whole parts."""
    given = [{"role": "user", "content": given}] if isinstance(given, str) else given
    prefix, items = identity.replace("resp_", "msg_in_"), []
    for index, one in enumerate(given):
        item: Json = {"type": "message", **one}
        parsed = parse_item(item, f"{place}[{index}]")
        item |= {"id": item.get("id") or f"{prefix}_{index}", "status": item.get("status") or "completed"}
        if isinstance(parsed, MessageItem) and isinstance(parsed.content, str):
            is_reply = parsed.role == "assistant"
            kind, more = ("output_text", {"annotations": []}) if is_reply else ("input_text", {})
            item["content"] = [{"type": kind, "text": parsed.content, **more}]
        items.append(item)
    return items


def parse_item(item: Json, place: str) -> Item:
    """An item, or a FieldError that names its place."""
    try:
        msgspec.convert(item, ItemId)
        return msgspec.convert(item, Item)
    except msgspec.ValidationError as error:
        reason, _, within = str(error).partition(" - at ")
        path = f"{place}{within.strip('`').removeprefix('$')}"
        raise FieldError(f"`{path}`: {reason}. Change it.", param=path, code="invalid_value") from None


def messages_of(
    instructions: str | None, items: list[Json], prompt: Sequence[Message] = ()
) -> tuple[Message, ...]:
    """The conversation of items of items_of; calls that follow each other are one turn of the assistant.

    A compaction stands for all items that are before it.
    """
    first = [*([Message("system", instructions)] if instructions else []), *prompt]
    messages = list(first)
    for item in msgspec.convert(items, list[Item]):
        if isinstance(item, MessageItem):
            role: Role = "system" if item.role == "developer" else item.role
            messages.append(Message(role, _text(item.content)))
        elif isinstance(item, CallItem):
            call = ToolCall(id=item.call_id, name=item.name, arguments=item.arguments)
            is_begun = bool(messages) and messages[-1].role == "assistant"
            turn = messages.pop() if is_begun else Message("assistant", "")
            messages.append(Message("assistant", turn.content, (*turn.tool_calls, call)))
        elif isinstance(item, ResultItem):
            messages.append(Message("tool", _text(item.output), tool_call=item.call_id))
        elif isinstance(item, CompactionItem):
            messages = [*first, Message("system", f"What was said before: {item.encrypted_content.decode()}")]
    return leading(messages)


def _text(content: str | list[Any]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
