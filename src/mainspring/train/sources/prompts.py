"""Prompts that a model is to answer, each with what its answers are judged by.

An item is one prompt: a segment of which nothing is trained. Rollouts (train/rollout.py) make answers of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mainspring.artifact import fingerprint_of
from mainspring.chat import ChatTokenizer, render
from mainspring.data.document import Document
from mainspring.errors import ChatError, ContextLengthError, DocumentError
from mainspring.schema import Message
from mainspring.train.batch import Item, Segment
from mainspring.train.rewards.base import Reference


class PromptRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a file of prompts: a conversation and what the answer is judged by, text or texts by name.

    Where the last message is the assistant's, it is no part of the prompt; it is the reference if none is given.
    """

    messages: tuple[Message, ...]
    reference: dict[str, str] | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(Segment):
    """The ids before an answer. `index` is its place in the source, `text` what a reward reads as the prompt."""

    index: int
    text: str
    reference: Reference = None


def raw_prompt(
    index: int, ids: Sequence[int], *, text: str, reference: Reference = None, name: str = ""
) -> Prompt:
    """A prompt of ids as they are."""
    return Prompt(
        ids=ids, weight=[0.0] * len(ids), name=name or f"prompt {index}", index=index, text=text,
        reference=reference,
    )  # fmt: skip


class Prompts:
    """A source of prompts.

    Raises:
        ChatError: no prompts.

    """

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        if not prompts:
            raise ChatError("No prompts were given to answer; at least one is needed.")
        self._prompts = list(prompts)
        self.num_items = len(self._prompts)
        self.fingerprint = fingerprint_of(
            [(list(each.ids), each.text, each.reference) for each in self._prompts]
        )

    def item(self, index: int) -> Item:
        return (self._prompts[index],)


def chat_prompts(rows: Iterable[PromptRow], tokenizer: ChatTokenizer, *, max_tokens: int) -> Prompts:
    """Conversations up to the assistant's turn, rendered as the server would.

    Raises:
        ChatError: no rows, or one that is no conversation.
        ContextLengthError: a prompt of more than `max_tokens`.

    """
    return Prompts([_prompt(index, row, tokenizer, max_tokens) for index, row in enumerate(rows)])


def read_prompts(path: Path) -> list[PromptRow]:
    """Rows of a file with one JSON object a line, `{"messages": [...], "reference": "42"}`.

    Raises:
        DocumentError: a file that cannot be read, or a line that is no such object.

    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DocumentError(f"{path} cannot be read ({error.strerror}). Check the path.") from error
    decoder = msgspec.json.Decoder(PromptRow)
    rows: list[PromptRow] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows += [decoder.decode(line)] if line.strip() else []
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DocumentError(
                f'{path}, line {number}: no prompt ({error}). Write {{"messages": [{{"role": "user", '
                '"content": "..."}], "reference": "..."}.'
            ) from error
    return rows


def document_row(document: Document) -> PromptRow:
    """The prompt that a document of a built dataset is, with `messages` and maybe a `reference` of its meta.

    Raises:
        ChatError: a document that is no conversation.

    """
    if "messages" not in document.meta:
        raise ChatError(
            f"{document.id} is no conversation, so there is nothing to answer. Give a dataset of chats."
        )
    try:
        return msgspec.convert(
            {"messages": document.meta["messages"], "reference": document.meta.get("reference")}, PromptRow
        )
    except msgspec.ValidationError as error:
        raise ChatError(f"{document.id} is no prompt: {error}.") from error


def _prompt(index: int, row: PromptRow, tokenizer: ChatTokenizer, max_tokens: int) -> Prompt:
    name, messages, reference = f"prompt {index}", row.messages, row.reference
    if messages and messages[-1].role == "assistant":
        reference = messages[-1].content if reference is None else reference
        messages = messages[:-1]
    try:
        ids = render(messages, tokenizer, open_reply=True).ids
    except ChatError as error:
        raise ChatError(f"{name}: {error}") from error
    if len(ids) > max_tokens:
        raise ContextLengthError(
            f"{name} has {len(ids):,} tokens; at most {max_tokens:,} fit beside its answer. Shorten or leave it out."
        )
    text = "\n\n".join(message.content for message in messages if message.role != "system")
    return raw_prompt(index, ids, text=text, reference=reference, name=name)
