"""Messages to token ids and training weights: the only template code there is.

A template is the model's own Jinja text, run in a sandbox. To know which id came from which message, the
template is rendered with a marker in place of every content; between the markers stands what the template
injects.

    template text | content of message 0 | template text | content of message 1 | ...
    weight 0, -1  | weight 0, message 0  | weight 0, -1  | 1 for an assistant   | its end token: weight 1, -1

Special tokens are looked for in the template's own text alone, so that content can never forge one; nor can
the tools, names and arguments that a template writes, whose special names are marked as well. An assistant's
text is encoded on its own, because when it is generated it begins after ids that are already fixed.

A template that knows no tools gets them as text (chat_tools.py).
"""

import functools
import itertools
import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jinja2
import jinja2.exceptions

from mainspring.chat_template import compile_template, knows_tools
from mainspring.chat_tools import in_words, published_tools, published_turns
from mainspring.errors import ChatError, TemplateError
from mainspring.schema import Message, Tool

ROLES = ("system", "user", "assistant", "tool")
ORDER = (
    "the accepted order is: an optional system message, then user and assistant in turn, where answers of tools follow "
    "the assistant that calls them"
)
ANSWERS = "answers of tools follow the assistant that calls them, one for each call"
MAX_RENDERED_CHARACTERS = 10_000_000


class ChatTokenizer(Protocol):
    """What rendering needs of a tokenizer."""

    chat_template: str
    special: dict[str, int]
    end_ids: tuple[int, ...]
    bos: str
    eos: str

    def encode_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of plain text (special tokens in it stay text) and the characters each id covers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Token ids as the model sees them; `weight` 1 where a model learns; `message` -1 for the template's text."""

    ids: list[int]
    weight: list[int]
    message: list[int]

    @property
    def num_prompt(self) -> int:
        """How many ids stand before the first that is learnt: what a server sends for the same messages."""
        return self.weight.index(1) if 1 in self.weight else len(self.ids)

    @property
    def num_ends(self) -> int:
        """How many learnt ids the template itself put in: the ends of answers."""
        pairs = zip(self.weight, self.message, strict=True)
        return sum(weight == 1 and message < 0 for weight, message in pairs)


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    message: int
    is_plain: bool = False


def render(
    messages: Sequence[Message],
    tokenizer: ChatTokenizer,
    *,
    open_reply: bool = False,
    go_on: bool = False,
    tools: Sequence[Tool] = (),
) -> Rendered:
    """Turn messages into ids, weights and the message each id came from.

    Args:
        messages: an optional system message, then user and assistant in turn, beginning with the user; answers of
            tools stand behind the assistant's calls. What is only to be replied to may have any order that the
            template takes.
        tokenizer: its template and its special tokens are used.
        open_reply: end with the header of an assistant's turn, ready to generate.
        go_on: end within the last message, which is the assistant's, ready to go on with it.
        tools: what the model may call. Calls that a template writes weigh nothing.

    Raises:
        ChatError: messages in another order, an unknown role, text that is not Unicode.
        TemplateError: a template that does not compile, reaches for Python internals or rewrites the messages.

    """
    check(messages, open_reply=open_reply or go_on, go_on=go_on)
    if go_on:
        opened = render(messages[:-1], tokenizer, open_reply=True, tools=tools)
        begun, _ = tokenizer.encode_spans(messages[-1].content)
        owner, none = [len(messages) - 1] * len(begun), [0] * len(begun)
        return Rendered(ids=opened.ids + begun, weight=opened.weight + none, message=opened.message + owner)
    has_tools = bool(tools) or any(each.tool_calls or each.role == "tool" for each in messages)
    if not has_tools or knows_tools(tokenizer.chat_template):
        return _render(messages, tokenizer, tools, open_reply=open_reply)
    plain, origins = in_words(messages, tools)
    rendered = _render(plain, tokenizer, (), open_reply=open_reply)
    owners = [origins[each] if each >= 0 else -1 for each in rendered.message]
    return Rendered(ids=rendered.ids, weight=rendered.weight, message=owners)


def _render(
    messages: Sequence[Message], tokenizer: ChatTokenizer, tools: Sequence[Tool], *, open_reply: bool
) -> Rendered:
    pieces = _pieces(messages, tokenizer, tools, open_reply=open_reply)
    ids: list[int] = []
    owners: list[int] = []
    weight: list[int] = []
    for run in _runs(pieces, messages, tokenizer):
        for token_id, owner in _encode_run(run, tokenizer):
            answer = owner >= 0 and messages[owner].role == "assistant"
            ends_answer = owner < 0 and token_id in tokenizer.end_ids and bool(weight) and weight[-1] == 1
            ids.append(token_id)
            owners.append(owner)
            weight.append(int(answer or (ends_answer and owners[-2] >= 0)))
    return Rendered(ids=ids, weight=weight, message=owners)


def check(messages: Sequence[Message], *, open_reply: bool, go_on: bool = False) -> None:
    """Raise ChatError unless the messages are text and in an order that is accepted.

    What a model learns from has one order. What it is only to reply to may have any, which its template may refuse.
    """
    if not messages:
        raise ChatError("No messages were given; at least one user message is needed.")
    for index, message in enumerate(messages):
        if message.role not in ROLES:
            raise ChatError(
                f"Message {index} has the role '{message.role}'; known roles are {', '.join(ROLES)}."
            )
        lone = _lone_surrogate(message.content)
        if lone is not None:
            raise ChatError(
                f"Message {index} holds half a character at {lone} (a lone surrogate); give whole Unicode text."
            )
    if not open_reply and any(message.role == "system" for message in messages[1:]):
        raise ChatError(f"A system message stands after the first place; {ORDER}.")
    turns = [message for message in messages if message.role != "system"]
    if not turns:
        raise ChatError("Only a system message was given; add a user message.")
    calls = _check_turns(turns, in_turn=not open_reply)
    if open_reply and calls and turns[-1].role == "assistant":
        raise ChatError(f"The last message calls tools whose answers are missing; {ANSWERS}.")
    if go_on and (len(messages) < 2 or messages[-1].role != "assistant"):
        raise ChatError(
            "There is no assistant's message at the end to go on with; add one with what the reply begins with."
        )


def _check_turns(turns: Sequence[Message], *, in_turn: bool) -> set[str]:
    """The calls that the last assistant's message made."""
    calls: set[str] = set()
    before = ""
    for index, message in enumerate(turns):
        wanted = _due(before, in_turn=in_turn) if before != "assistant" or not calls else ("tool",)
        if message.role not in wanted:
            where = (
                "The conversation starts with"
                if index == 0
                else f"Two {before} messages follow each other: turn {index} is"
                if before == message.role
                else f"Turn {index} is"
            )
            raise ChatError(
                f"{where} a message of role '{message.role}' where '{wanted[-1]}' is due; "
                f"{ORDER if in_turn else ANSWERS}."
            )
        if message.role == "assistant":
            calls = {call.id for call in message.tool_calls}
        elif message.role == "tool" and message.tool_call not in calls:
            raise ChatError(
                f"Turn {index} answers the call '{message.tool_call}'; the assistant has called "
                f"{', '.join(sorted(calls)) or 'nothing'} before it. Name the call that it answers."
            )
        before = message.role
    return calls


def _due(before: str, *, in_turn: bool) -> tuple[str, ...]:
    """The roles that may follow a message without open calls; "" is before the first one."""
    if before == "tool":
        return ("tool", "assistant", "user")
    if in_turn:
        return ("assistant",) if before == "user" else ("user",)
    return ("assistant", "user")


def _lone_surrogate(text: str) -> int | None:
    """Where text that no encoding can carry has half of a surrogate pair, None for whole text."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None


def _pieces(
    messages: Sequence[Message], tokenizer: ChatTokenizer, tools: Sequence[Tool], *, open_reply: bool
) -> list[_Piece]:
    """Split the rendered text at the contents, and prove that the pieces are what the template really says."""
    nonce = secrets.token_hex(8)
    marks = [f"\ue000{nonce}-{index}\ue001" for index in range(len(messages))]
    specials = {name: f"\ue000{nonce}-s{index}\ue001" for index, name in enumerate(tokenizer.special)}
    hide = _hider(specials)
    for calling in (True, False) if any(each.tool_calls for each in messages) else (True,):
        # Some templates leave out what an assistant says beside its calls.
        said = [
            each if calling or not each.tool_calls else Message(each.role, "", each.tool_calls)
            for each in messages
        ]
        is_marked = [bool(each.content) or not each.tool_calls for each in said]
        marked = [
            Message(each.role, mark if has_mark else "", each.tool_calls, each.tool_call)
            for each, mark, has_mark in zip(said, marks, is_marked, strict=True)
        ]
        skeleton = _run_template(tokenizer, marked, tools, open_reply=open_reply, change=hide)
        exact = _run_template(tokenizer, messages, tools, open_reply=open_reply)
        for plain, answer in itertools.product((str, str.strip), (str, str.strip, _quoted)):
            contents = [(answer if each.role == "tool" else plain)(each.content) for each in said]
            pieces = _fill(skeleton, marks, contents, is_marked)
            pieces = _unhide(pieces, specials) if pieces is not None else None
            if pieces is not None and "".join(piece.text for piece in pieces) == exact:
                return pieces
    raise TemplateError(
        "The chat template changes, drops or repeats the text of messages, so ids cannot be traced to them. "
        "Use a template that writes every message's content once, unchanged or trimmed."
    )


def _quoted(text: str) -> str:
    """As templates write an answer that they put into JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _fill(
    skeleton: str, marks: Sequence[str], contents: Sequence[str], is_marked: Sequence[bool]
) -> list[_Piece] | None:
    pieces, rest = [], skeleton
    for index, (mark, content) in enumerate(zip(marks, contents, strict=True)):
        if not is_marked[index]:
            continue
        before, found, rest = rest.partition(mark)
        if not found:
            return None
        pieces += [_Piece(before, -1), _Piece(content, index)]
    return [*pieces, _Piece(rest, -1)]


def _hider(specials: dict[str, str]) -> Callable[[str], str]:
    """Changes special tokens' names in what a template gets beside contents into marks."""
    pattern = _any_of(tuple(specials)) if specials else None

    def hide(text: str) -> str:
        return pattern.sub(lambda found: specials[found.group()], text) if pattern is not None else text

    return hide


def _unhide(pieces: list[_Piece], specials: dict[str, str]) -> list[_Piece]:
    """Put the names back, as plain text."""
    if not specials:
        return pieces
    names = {mark: name for name, mark in specials.items()}
    parted: list[_Piece] = []
    for piece in pieces:
        if piece.message >= 0:
            parted.append(piece)
            continue
        texts = re.split(f"({_any_of(tuple(names)).pattern})", piece.text)
        parted += [_Piece(names.get(text, text), -1, text in names) for text in texts if text]
    return parted


def _runs(
    pieces: Sequence[_Piece], messages: Sequence[Message], tokenizer: ChatTokenizer
) -> list[list[_Piece] | int]:
    """Group pieces into runs of plain text, broken by the template's special tokens and at an assistant's text."""
    runs: list[list[_Piece] | int] = []
    run: list[_Piece] = []
    for piece in pieces:
        if piece.message >= 0:
            if messages[piece.message].role == "assistant":
                runs += [run, [piece]]
                run = []
            else:
                run.append(piece)
            continue
        if piece.is_plain:
            run.append(piece)
            continue
        for text, special in _split_special(piece.text, tokenizer.special):
            run.append(_Piece(text, -1))
            if special is not None:
                runs += [run, special]
                run = []
    return [*runs, run]


def _split_special(text: str, special: dict[str, int]) -> list[tuple[str, int | None]]:
    """Plain text and the special token that follows it, if any; longer special tokens win."""
    parts: list[tuple[str, int | None]] = []
    start = 0
    for found in _any_of(tuple(special)).finditer(text) if special else ():
        parts.append((text[start : found.start()], special[found.group()]))
        start = found.end()
    return [*parts, (text[start:], None)]


@functools.lru_cache(maxsize=32)
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))


def _encode_run(run: list[_Piece] | int, tokenizer: ChatTokenizer) -> list[tuple[int, int]]:
    """Ids of one run, each with the message that its first character came from."""
    if isinstance(run, int):
        return [(run, -1)]
    text = "".join(piece.text for piece in run)
    if not text:
        return []
    owner_at: list[int] = []
    for piece in run:
        owner_at += [piece.message] * len(piece.text)
    ids, spans = tokenizer.encode_spans(text)
    return [
        (token_id, owner_at[min(start, len(text) - 1)])
        for token_id, (start, _) in zip(ids, spans, strict=True)
    ]


def _run_template(
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    *,
    open_reply: bool,
    change: Callable[[str], str] = str,
) -> str:
    template = compile_template(tokenizer.chat_template)
    said: dict[str, Any] = {"messages": published_turns(messages, change)}
    if tools:
        said["tools"] = published_tools(tools, change)
    try:
        text = template.render(
            **said, add_generation_prompt=open_reply, bos_token=tokenizer.bos, eos_token=tokenizer.eos
        )
    except jinja2.exceptions.SecurityError as error:
        raise TemplateError(
            f"The chat template reaches for what it may not use: {error}. Remove that from it."
        ) from error
    except jinja2.TemplateError as error:
        raise TemplateError(f"The chat template refuses these messages: {error}.") from error
    except Exception as error:  # whatever the template computed went wrong
        raise TemplateError(f"The chat template fails on these messages: {error!r}. Correct it.") from error
    if len(text) > MAX_RENDERED_CHARACTERS:
        raise TemplateError(
            f"The chat template wrote {len(text):,} characters; {MAX_RENDERED_CHARACTERS:,} is the limit."
        )
    return text
