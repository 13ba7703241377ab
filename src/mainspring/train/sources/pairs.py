"""Preference pairs: two conversations that differ in their last answer, the better one first."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.chat import ChatTokenizer, render
from mainspring.errors import ChatError, ContextLengthError
from mainspring.schema import Message
from mainspring.train.batch import Item, Segment
from mainspring.train.sources.base import DatasetConfig, Opening
from mainspring.train.sources.records import Record, messages_of, read_records

Pair = tuple[Sequence[Message], Sequence[Message]]
ROLES = ("chosen", "rejected")


class Pairs(DatasetConfig):
    """{"messages": [the prompt], "chosen": answer, "rejected": answer} a line; or two whole conversations."""

    kind: Literal["pairs"] = "pairs"
    dataset: str = Field(description="the dataset of lessons, or a .jsonl file")

    def open(self, opening: Opening) -> "PairSource":
        """Render both sides of every pair with the model's template."""
        records = read_records(opening.registry, self.dataset)
        pairs = [_pair(record, f"line {number}") for number, record in enumerate(records, 1)]
        return PairSource(pairs, opening.tokenizer, max_tokens=opening.max_tokens)


class PairSource:
    """Items of two segments, "chosen" and "rejected"; only their last answers are trained.

    Raises:
        ChatError: no pairs, a side that does not end with an answer, or two sides that are the same.
        ContextLengthError: a side of more than `max_tokens`.

    """

    def __init__(self, pairs: Sequence[Pair], tokenizer: ChatTokenizer, *, max_tokens: int) -> None:
        if not pairs:
            raise ChatError("No preference pairs were given to train on; at least one is needed.")
        self._items: list[Item] = []
        for index, pair in enumerate(pairs):
            sides = zip(ROLES, pair, strict=True)
            item = tuple(_side(f"pair {index}", *side, tokenizer, max_tokens) for side in sides)
            if item[0].ids == item[1].ids:
                raise ChatError(
                    f"pair {index}: the chosen and the rejected answer are the same, so there is nothing to prefer. "
                    "Leave the pair out."
                )
            self._items.append(item)
        self.num_items = len(self._items)
        self.fingerprint = fingerprint_of(
            [[(each.ids, each.weight) for each in item] for item in self._items]
        )

    def item(self, index: int) -> Item:
        return self._items[index]


def _pair(record: Record, name: str) -> Pair:
    prompt = messages_of(record, "messages", name) if "messages" in record else []
    chosen, rejected = (messages_of(record, role, name) for role in ROLES)
    return [*prompt, *chosen], [*prompt, *rejected]


def _side(
    pair: str, role: str, messages: Sequence[Message], tokenizer: ChatTokenizer, max_tokens: int
) -> Segment:
    name = f"{pair}, {role}"
    last = len(messages) - 1
    if not messages or messages[last].role != "assistant" or not messages[last].content.strip():
        raise ChatError(
            f"{name} does not end with an answer of the assistant. Add it, or leave the pair out."
        )
    rendered = render(messages, tokenizer)
    if len(rendered.ids) > max_tokens:
        raise ContextLengthError(
            f"{name} has {len(rendered.ids):,} tokens; at most {max_tokens:,} fit. Shorten it or leave the pair out."
        )
    first = rendered.message.index(last)
    weight = [value if at >= first else 0 for at, value in enumerate(rendered.weight)]
    return Segment(ids=rendered.ids, weight=weight, name=name, role=role)
