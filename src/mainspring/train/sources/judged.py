"""Answers that are good or bad by themselves, without a better or worse one beside them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.chat import ChatTokenizer
from mainspring.errors import ChatError, UserError
from mainspring.schema import Message
from mainspring.train.batch import Item
from mainspring.train.sources.base import DatasetConfig, Opening
from mainspring.train.sources.pairs import last_answer
from mainspring.train.sources.records import Record, messages_of, read_records

MISMATCHED = "mismatched"
Judgement = tuple[Sequence[Message], bool]


class JudgedAnswers(DatasetConfig):
    """{"messages": [a conversation that ends with an answer], "label": true or false} a line."""

    kind: Literal["judged"] = "judged"
    dataset: str = Field(description="the dataset of lessons, or a .jsonl file")
    mismatched: bool = Field(
        default=True,
        description="beside every answer its prompt with the next one's answer, from which kto reads the divergence",
    )

    def open(self, opening: Opening) -> "JudgedSource":
        """Render every conversation with the model's template."""
        records = read_records(opening.registry, self.dataset)
        judged = [_judgement(record, f"line {number}") for number, record in enumerate(records, 1)]
        return JudgedSource(
            judged, opening.tokenizer, max_tokens=opening.max_tokens, mismatched=self.mismatched
        )


class JudgedSource:
    """Items of an answer with label 1 or 0 and, if asked for, a segment of role "mismatched".

    Raises:
        ChatError: nothing to learn from, or a conversation that does not end with an answer.
        ContextLengthError: one of more than `max_tokens`.

    """

    def __init__(
        self, judged: Sequence[Judgement], tokenizer: ChatTokenizer, *, max_tokens: int, mismatched: bool
    ) -> None:
        if len(judged) < 1 + mismatched:
            raise ChatError(
                f"{len(judged)} judged answers were given to train on; at least {1 + mismatched} are needed."
            )
        self._items: list[Item] = []
        for index, (messages, is_good) in enumerate(judged):
            answer = last_answer(messages, tokenizer, name=f"answer {index}", max_tokens=max_tokens)
            item = [replace(answer, label=float(is_good))]
            if mismatched:
                other = [*messages[:-1], judged[(index + 1) % len(judged)][0][-1]]
                name = f"prompt {index} with the next answer"
                item.append(last_answer(other, tokenizer, name=name, max_tokens=max_tokens, role=MISMATCHED))
            self._items.append(tuple(item))
        self.num_items = len(self._items)
        self.fingerprint = fingerprint_of(
            [[(each.ids, each.weight, each.label) for each in item] for item in self._items]
        )

    def item(self, index: int) -> Item:
        return self._items[index]


def _judgement(record: Record, name: str) -> Judgement:
    label = record.get("label")
    if not isinstance(label, bool) and label not in (0, 1):
        raise UserError(
            f"{name} has the label {label!r}; it must be true or false. Set it, or leave the line out."
        )
    return messages_of(record, "messages", name), bool(label)
