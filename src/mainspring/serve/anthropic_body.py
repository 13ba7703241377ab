"""What a client of /v1/messages may send, and what is made of it.

Messages of one role that follow each other are one turn, and a reply goes on with an assistant's turn at the end (a
prefill), as Anthropic has it. Accepted though they change
nothing here, because they change nothing about what the answer says:
- metadata, user_profile_id, workspace_id, diagnostics: notes for the provider's own records;
- cache_control, service_tier, speed, inference_geo, output_config.effort: hints of cost, speed and place; the
  place is this machine;
- container: belongs to tools that a provider runs, and none is offered;
- thinking that is "disabled" or "adaptive" (then the model may think, and the models here do not), and the
  thinking of earlier turns, which no template shows;
- of a tool: strict, cache_control, allowed_callers, defer_loading, eager_input_streaming, input_examples.
Refused: thinking that is "enabled", images, documents and other blocks that are not text, tools that a provider
runs. Anything else is refused by name.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from mainspring.schema import Ask, ChatRequest, Constraint, Message, Tool, ToolCall
from mainspring.serve import body as bodies
from mainspring.serve.fields import Count, Name, check_tools, overrides, stops

MAX_STOPS = 64


class _Block(msgspec.Struct, frozen=True, tag_field="type"):
    """A block of content; its cache_control and citations change nothing."""


class TextBlock(_Block, frozen=True, tag="text"):
    text: str


class ToolUse(_Block, frozen=True, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


class ToolResult(_Block, frozen=True, tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock] = ""
    is_error: bool = False


class Thinking(_Block, frozen=True, tag="thinking"):
    pass


class RedactedThinking(_Block, frozen=True, tag="redacted_thinking"):
    pass


class Turn(bodies.BodyPart, frozen=True):
    role: Literal["user", "assistant", "system"]
    content: str | list[TextBlock | ToolUse | ToolResult | Thinking | RedactedThinking]


class CustomTool(bodies.Body, frozen=True, kw_only=True):
    harmless = frozenset({
        "strict", "cache_control", "allowed_callers", "defer_loading", "eager_input_streaming", "input_examples",
    })  # fmt: skip
    name: Name
    parameters: dict[str, Any] = field(name="input_schema")
    description: str = ""
    type: Literal["custom"] = "custom"


class ToolChoice(bodies.BodyPart, frozen=True):
    type: Literal["auto", "any", "tool", "none"]
    name: Name = ""
    disable_parallel_tool_use: bool = False


class Format(bodies.BodyPart, frozen=True):
    schema: dict[str, Any]
    type: Literal["json_schema"] = "json_schema"


class OutputConfig(bodies.BodyPart, frozen=True):
    effort: str | None = None
    format: Format | None = None


class ThinkingConfig(bodies.BodyPart, frozen=True):
    type: Literal["disabled", "adaptive"]
    display: str | None = None


class CountBody(bodies.Body, frozen=True, kw_only=True):
    harmless = frozenset({
        "metadata", "user_profile_id", "workspace_id", "diagnostics", "cache_control", "service_tier", "speed",
        "inference_geo", "container", "betas",
    })  # fmt: skip
    model: str
    messages: Annotated[list[Turn], Meta(min_length=1)]
    system: str | list[TextBlock] = ""
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: ToolChoice = ToolChoice(type="auto")
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig = OutputConfig()


class MessagesBody(CountBody, frozen=True, kw_only=True):
    max_tokens: Count
    stream: bool = False
    stop_sequences: tuple[str, ...] = ()
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None


def messages_request(parsed: MessagesBody, key: str | None) -> ChatRequest:
    """The body of a message as the internal form."""
    stop = stops(parsed.stop_sequences, "stop_sequences", MAX_STOPS) if parsed.stop_sequences else None
    return ChatRequest(
        model=parsed.model, messages=messages_of(parsed), ask=ask_of(parsed), stream=parsed.stream, key=key,
        overrides=overrides(parsed, stop=stop),
    )  # fmt: skip


def ask_of(parsed: CountBody) -> Ask:
    """The tools and the constraint of a body."""
    given = bodies.parse_each(CustomTool, "tools", parsed.tools)
    tools = tuple(msgspec.convert(tool, Tool, from_attributes=True) for tool in given)
    wanted, form = parsed.tool_choice, parsed.output_config.format
    choice = {"any": "required", "tool": wanted.name}.get(wanted.type, wanted.type)
    check_tools(tools, choice)
    return Ask(
        tools=tools, tool_choice=choice, parallel_tool_calls=not wanted.disable_parallel_tool_use,
        constraint=Constraint(kind="json_schema", value=form.schema) if form else None,
        go_on=parsed.messages[-1].role == "assistant",
    )  # fmt: skip


def messages_of(parsed: CountBody) -> tuple[Message, ...]:
    """The conversation, every turn as one message of its role; results of tools stand before the user's text."""
    system = _text(parsed.system)
    messages = [Message("system", system)] if system else []
    for turn in parsed.messages:
        blocks = [TextBlock(turn.content)] if isinstance(turn.content, str) else turn.content
        results = [block for block in blocks if isinstance(block, ToolResult)]
        messages += [Message("tool", _result(block), tool_call=block.tool_use_id) for block in results]
        text = _text(block for block in blocks if isinstance(block, TextBlock))
        calls = tuple(
            ToolCall(id=block.id, name=block.name, arguments=msgspec.json.encode(block.input).decode())
            for block in blocks
            if isinstance(block, ToolUse)
        )
        last = messages[-1] if messages else None
        if last is not None and last.role == turn.role:
            whole = "\n\n".join(filter(None, (last.content, text)))
            messages[-1] = Message(turn.role, whole, (*last.tool_calls, *calls))
        elif text or calls or not results:
            messages.append(Message(turn.role, text, calls))
    return tuple(messages)


def _result(block: ToolResult) -> str:
    text = _text(block.content)
    return f"Error: {text}" if block.is_error else text


def _text(content: str | Iterable[TextBlock]) -> str:
    return content if isinstance(content, str) else "\n\n".join(block.text for block in content)
