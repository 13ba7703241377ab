"""Prompts that a model is to answer, each with what its answers are judged by.

An item is one prompt: a segment of which nothing is trained. Rollouts (train/rollout.py) make answers of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.chat import ChatTokenizer, render
from mainspring.errors import ChatError, ContextLengthError, UserError
from mainspring.schema import Message
from mainspring.train.batch import Item, Segment
from mainspring.train.rewards.base import Reference
from mainspring.train.sources.base import DatasetConfig, Opening
from mainspring.train.sources.records import Record, messages_of, read_records

Asked = tuple[Sequence[Message], Reference]


class PromptRecords(DatasetConfig):
    """{"messages": [...], "reference": text, or texts by name} a line, in a .jsonl file or a dataset of lessons.

    Where the last message is the assistant's, it is no part of the prompt; it is the reference if none is given.
    """

    kind: Literal["prompts"] = "prompts"
    dataset: str = Field(description="the dataset of lessons, or a .jsonl file")

    def open(self, opening: Opening) -> "Prompts":
        """Render every conversation up to the assistant's turn."""
        records = read_records(opening.registry, self.dataset)
        asked = [_asked(record, f"line {number}") for number, record in enumerate(records, 1)]
        return chat_prompts(asked, opening.tokenizer, max_tokens=opening.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(Segment):
    """The ids before an answer. `index` is its place in the source, `text` what a reward reads as the prompt."""

    index: int
    text: str
    reference: Reference = None


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


def raw_prompt(index: int, ids: Sequence[int], *, text: str, reference: Reference = None) -> Prompt:
    """A prompt of ids as they are."""
    return Prompt(
        ids=ids, weight=[0.0] * len(ids), name=f"prompt {index}", index=index, text=text, reference=reference
    )


def chat_prompts(asked: Sequence[Asked], tokenizer: ChatTokenizer, *, max_tokens: int) -> Prompts:
    """Conversations with their references, rendered up to the assistant's turn as the server would.

    Raises:
        ChatError: no conversations, or one that nobody could answer.
        ContextLengthError: a prompt of more than `max_tokens`.

    """
    return Prompts([_prompt(index, *each, tokenizer, max_tokens) for index, each in enumerate(asked)])


def _asked(record: Record, name: str) -> Asked:
    messages = messages_of(record, "messages", name)
    try:
        reference = msgspec.convert(record.get("reference"), dict[str, str] | str | None)
    except msgspec.ValidationError as error:
        raise UserError(
            f"{name} has a reference that is neither text nor texts by name ({error}). Write numbers and schemas "
            "as text."
        ) from error
    if messages and messages[-1].role == "assistant":
        answer = messages.pop()
        reference = answer.content if reference is None else reference
    return messages, reference


def _prompt(
    index: int, messages: Sequence[Message], reference: Reference, tokenizer: ChatTokenizer, max_tokens: int
) -> Prompt:
    try:
        ids = render(messages, tokenizer, open_reply=True).ids
    except ChatError as error:
        raise ChatError(f"prompt {index}: {error}") from error
    if len(ids) > max_tokens:
        raise ContextLengthError(
            f"prompt {index} has {len(ids):,} tokens; at most {max_tokens:,} fit. Shorten it or leave it out."
        )
    text = "\n\n".join(message.content for message in messages if message.role != "system")
    return raw_prompt(index, ids, text=text, reference=reference)
