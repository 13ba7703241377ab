"""Conversations: every answer of the assistant is trained, with the token that ends it."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.chat import ChatTokenizer, render
from mainspring.errors import ChatError, ContextLengthError, TemplateError
from mainspring.schema import Message
from mainspring.train.batch import Item, Segment
from mainspring.train.sources.base import DatasetConfig, Opening
from mainspring.train.sources.records import messages_of, read_records

Conversation = Sequence[Message]


class Chats(DatasetConfig):
    """Lessons of feedback, or a .jsonl file of {"messages": [...]}."""

    kind: Literal["chats"] = "chats"
    dataset: str = Field(description="the dataset of lessons, or a .jsonl file")

    def open(self, opening: Opening) -> "ChatSource":
        """Render every conversation with the model's template."""
        records = read_records(opening.registry, self.dataset)
        conversations = [messages_of(each, "messages", f"line {at}") for at, each in enumerate(records, 1)]
        return ChatSource(conversations, opening.tokenizer, max_tokens=opening.max_tokens)


class ChatSource:
    """Conversations as the server would render them.

    Raises:
        ChatError: no conversations, or one without an answer to learn from.
        TemplateError: a template that ends no answer, so that the model would never learn to stop.
        ContextLengthError: a conversation of more than `max_tokens`.

    """

    def __init__(
        self, conversations: Sequence[Conversation], tokenizer: ChatTokenizer, *, max_tokens: int
    ) -> None:
        if not conversations:
            raise ChatError("No conversations were given to train on; at least one is needed.")
        self._segments = [
            _segment(index, conversation, tokenizer, max_tokens)
            for index, conversation in enumerate(conversations)
        ]
        self.num_items = len(self._segments)
        self.fingerprint = fingerprint_of([(each.ids, each.weight) for each in self._segments])

    def item(self, index: int) -> Item:
        return (self._segments[index],)


def _segment(index: int, messages: Conversation, tokenizer: ChatTokenizer, max_tokens: int) -> Segment:
    name = f"conversation {index}"
    try:
        rendered = render(messages, tokenizer)
    except ChatError as error:
        raise ChatError(f"{name}: {error}") from error
    num_answers = sum(message.role == "assistant" and bool(message.content.strip()) for message in messages)
    if not num_answers:
        raise ChatError(
            f"{name} has no answer of the assistant, so nothing in it is trained. Add one, or leave it out."
        )
    if rendered.num_ends < num_answers:
        raise TemplateError(
            f"{name}: the chat template puts no end token ({', '.join(map(str, tokenizer.end_ids))}) behind "
            "an answer, so a model trained with it would never stop. Use a template that ends every answer."
        )
    if len(rendered.ids) > max_tokens:
        raise ContextLengthError(
            f"{name} has {len(rendered.ids):,} tokens; at most {max_tokens:,} fit. Shorten or leave it out, "
            f"or set `plan.micro_batch_tokens` to at least {len(rendered.ids)}."
        )
    return Segment(ids=rendered.ids, weight=rendered.weight, name=name)
