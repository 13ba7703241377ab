"""Messages to token ids and training weights: the only template code there is.

A template is the model's own Jinja text, run in a sandbox. To know which id came from which message, the
template is rendered with a marker in place of every content; between the markers stands what the template
injects.

    template text | content of message 0 | template text | content of message 1 | ...
    weight 0, -1  | weight 0, message 0  | weight 0, -1  | 1 for an assistant   | its end token: weight 1, -1

Special tokens are looked for in the template's own text alone, so that content can never forge one. An
assistant's text is encoded on its own, because when it is generated it begins after ids that are already
fixed.
"""

import functools
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jinja2
import jinja2.exceptions
import jinja2.sandbox

from mainspring.errors import ChatError, TemplateError
from mainspring.schema import Message

ROLES = ("system", "user", "assistant")
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


def render(messages: Sequence[Message], tokenizer: ChatTokenizer, *, open_reply: bool = False) -> Rendered:
    """Turn messages into ids, weights and the message each id came from.

    Args:
        messages: an optional system message, then user and assistant in turn, beginning with the user.
        tokenizer: its template and its special tokens are used.
        open_reply: end with the header of an assistant's turn, ready to generate; the last message must be
            the user's.

    Raises:
        ChatError: messages in another order, an unknown role, text that is not Unicode.
        TemplateError: a template that does not compile, reaches for Python internals or rewrites the messages.

    """
    check(messages, open_reply=open_reply)
    pieces = _pieces(messages, tokenizer, open_reply=open_reply)
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


def check(messages: Sequence[Message], *, open_reply: bool) -> None:
    """Raise ChatError unless the messages are text and in the one accepted order."""
    if not messages:
        raise ChatError("No messages were given; at least one user message is needed.")
    expected = "the accepted order is: an optional system message, then user and assistant in turn"
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
    turns = [message.role for message in messages if message.role != "system"]
    if any(message.role == "system" for message in messages[1:]):
        raise ChatError(f"A system message stands after the first place; {expected}.")
    if not turns:
        raise ChatError("Only a system message was given; add a user message.")
    for index, role in enumerate(turns):
        wanted = "user" if index % 2 == 0 else "assistant"
        if role != wanted:
            where = (
                "The conversation starts with"
                if index == 0
                else f"Two {role} messages follow each other: turn {index} is"
            )
            raise ChatError(f"{where} a message of role '{role}' where '{wanted}' is due; {expected}.")
    if open_reply and turns[-1] != "user":
        raise ChatError(
            "The last message is the assistant's, so there is nothing to reply to; end with a user message."
        )


def _lone_surrogate(text: str) -> int | None:
    """Where text that no encoding can carry has half of a surrogate pair, None for whole text."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None


def _pieces(messages: Sequence[Message], tokenizer: ChatTokenizer, *, open_reply: bool) -> list[_Piece]:
    """Split the rendered text at the contents, and prove that the pieces are what the template really says."""
    nonce = secrets.token_hex(8)
    marks = [f"\ue000{nonce}-{index}\ue001" for index in range(len(messages))]
    marked = [Message(role=message.role, content=mark) for message, mark in zip(messages, marks, strict=True)]
    skeleton = _run_template(tokenizer, marked, open_reply=open_reply)
    exact = _run_template(tokenizer, messages, open_reply=open_reply)
    for contents in ([m.content for m in messages], [m.content.strip() for m in messages]):
        pieces = _fill(skeleton, marks, contents)
        if pieces is not None and "".join(piece.text for piece in pieces) == exact:
            return pieces
    raise TemplateError(
        "The chat template changes, drops or repeats the text of messages, so ids cannot be traced to them. "
        "Use a template that writes every message's content once, unchanged or trimmed."
    )


def _fill(skeleton: str, marks: Sequence[str], contents: Sequence[str]) -> list[_Piece] | None:
    pieces, rest = [], skeleton
    for index, (mark, content) in enumerate(zip(marks, contents, strict=True)):
        before, found, rest = rest.partition(mark)
        if not found:
            return None
        pieces += [_Piece(before, -1), _Piece(content, index)]
    return [*pieces, _Piece(rest, -1)]


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


def _run_template(tokenizer: ChatTokenizer, messages: Sequence[Message], *, open_reply: bool) -> str:
    template = compile_template(tokenizer.chat_template)
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        text = template.render(
            messages=turns, add_generation_prompt=open_reply, bos_token=tokenizer.bos, eos_token=tokenizer.eos
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


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox leaves out in silence what a template may not print; this one says so."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        raise jinja2.exceptions.SecurityError(f"the attribute '{attribute}' of a {type(obj).__name__}")


@functools.lru_cache(maxsize=32)
def compile_template(source: str) -> jinja2.Template:
    """Compile a chat template in the sandbox.

    Raises:
        TemplateError: no template, or one with a syntax error (its line is named).

    """
    if not source:
        raise TemplateError(
            "This model has no chat template; use a model tuned for chat, or give it a template."
        )
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True)
    environment.globals = {
        "raise_exception": _raise_exception,
        "namespace": jinja2.utils.Namespace,
        "range": _few,
    }
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"The chat template has a syntax error in line {error.lineno}: {error.message}."
        ) from error


def _raise_exception(message: str) -> Any:
    raise jinja2.TemplateError(message)


def _few(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > jinja2.sandbox.MAX_RANGE:
        raise jinja2.exceptions.SecurityError(f"a range of {len(numbers):,} numbers")
    return numbers
