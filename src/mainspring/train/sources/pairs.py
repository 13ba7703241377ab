"""Preference pairs: two conversations that differ in their last answer, the better one first."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.chat import ChatTokenizer, render
from mainspring.errors import ChatError, ContextLengthError, UserError
from mainspring.schema import Message
from mainspring.train.batch import Item, Segment
from mainspring.train.sources.base import DatasetConfig, Opening
from mainspring.train.sources.records import Record, messages_of, read_records

Pair = tuple[Sequence[Message], Sequence[Message]]
Rewards = tuple[float | None, float | None]
ROLES = ("chosen", "rejected")


class Pairs(DatasetConfig):
    """{"messages": [the prompt], "chosen": answer, "rejected": answer} a line; or two whole conversations.

    "chosen_reward" and "rejected_reward" may say how good they are: a reward model can learn a margin from them.
    """

    kind: Literal["pairs"] = "pairs"
    dataset: str = Field(description="the dataset of lessons, or a .jsonl file")

    def open(self, opening: Opening) -> "PairSource":
        """Render both sides of every pair with the model's template."""
        records = read_records(opening.registry, self.dataset)
        pairs = [_pair(record, f"line {number}") for number, record in enumerate(records, 1)]
        rewards = [_rewards(record, f"line {number}") for number, record in enumerate(records, 1)]
        return PairSource(pairs, opening.tokenizer, max_tokens=opening.max_tokens, rewards=rewards)


class PairSource:
    """Items of two segments, "chosen" and "rejected"; only their last answers are trained.

    Raises:
        ChatError: no pairs, a side that does not end with an answer, or two sides that are the same.
        ContextLengthError: a side of more than `max_tokens`.

    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        tokenizer: ChatTokenizer,
        *,
        max_tokens: int,
        rewards: Sequence[Rewards] = (),
    ) -> None:
        if not pairs:
            raise ChatError("No preference pairs were given to train on; at least one is needed.")
        self._items: list[Item] = []
        for index, pair in enumerate(pairs):
            sides = zip(ROLES, pair, rewards[index] if rewards else (None, None), strict=True)
            item = tuple(
                replace(
                    last_answer(
                        messages, tokenizer, name=f"pair {index}, {role}", max_tokens=max_tokens, role=role
                    ),
                    reward=reward,
                )
                for role, messages, reward in sides
            )
            if item[0].ids == item[1].ids:
                raise ChatError(
                    f"pair {index}: the chosen and the rejected answer are the same, so there is nothing to prefer. "
                    "Leave the pair out."
                )
            self._items.append(item)
        self.num_items = len(self._items)
        self.fingerprint = fingerprint_of(
            [[(each.ids, each.weight, each.reward) for each in item] for item in self._items]
        )

    def item(self, index: int) -> Item:
        return self._items[index]


def _pair(record: Record, name: str) -> Pair:
    prompt = messages_of(record, "messages", name) if "messages" in record else []
    chosen, rejected = (messages_of(record, role, name) for role in ROLES)
    return [*prompt, *chosen], [*prompt, *rejected]


def _rewards(record: Record, name: str) -> Rewards:
    values = [record.get(f"{role}_reward") for role in ROLES]
    if any(value is not None and not isinstance(value, int | float) for value in values):
        raise UserError(f"{name} has the rewards {values}; they must be numbers.")
    return values[0], values[1]


def last_answer(
    messages: Sequence[Message], tokenizer: ChatTokenizer, *, name: str, max_tokens: int, role: str = ""
) -> Segment:
    """A conversation of which only the last answer is trained.

    Raises:
        ChatError: it does not end with an answer.
        ContextLengthError: it has more than `max_tokens`.

    """
    last = len(messages) - 1
    if not messages or messages[last].role != "assistant" or not messages[last].content.strip():
        raise ChatError(f"{name} does not end with an answer of the assistant. Add it, or leave it out.")
    rendered = render(messages, tokenizer)
    if len(rendered.ids) > max_tokens:
        raise ContextLengthError(
            f"{name} has {len(rendered.ids):,} tokens; at most {max_tokens:,} fit. Shorten it or leave it out."
        )
    first = rendered.message.index(last)
    weight = [value if at >= first else 0 for at, value in enumerate(rendered.weight)]
    return Segment(ids=rendered.ids, weight=weight, name=name, role=role)
