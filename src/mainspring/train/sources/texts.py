"""Plain texts with labels: of the whole text, of spans of it, or of how two texts belong together.

An encoder's texts stand between its first and last special token, as where it embeds.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.errors import UserError
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.batch import NO_TARGET, Item, Segment
from mainspring.train.sources.base import DatasetConfig, Opening
from mainspring.train.sources.records import Record, read_records

Span = tuple[int, int]


class ItemList:
    """Items that were made before the run, in order."""

    def __init__(self, items: Sequence[Item]) -> None:
        if not items:
            raise UserError("The data hold no records to learn from; at least one is needed.")
        self._items = list(items)
        self.num_items = len(self._items)
        parts = [
            [(each.ids, each.weight, each.label, each.targets, each.role) for each in item]
            for item in self._items
        ]
        self.fingerprint = fingerprint_of(parts)

    def item(self, index: int) -> Item:
        return self._items[index]


class Labelled(DatasetConfig):
    """{"text": ..., "label": number} a line; a label of a classifier counts from 0."""

    kind: Literal["labelled"] = "labelled"
    dataset: str = Field(description="the dataset of lessons, or a .jsonl file")

    def open(self, opening: Opening) -> ItemList:
        """One text, one label."""

        def item(record: Record, name: str) -> Item:
            ids, _ = encode(_text(record, "text", name), opening)
            return (
                Segment(ids=ids, weight=[0.0] * len(ids), name=name, label=_number(record, "label", name)),
            )

        return ItemList(_each(opening, self.dataset, item))


class Tagged(DatasetConfig):
    """{"text": ..., "entities": [{"start", "end", "label"}]} a line; the labels are named in the settings.

    A token has the label of the span that its first character stands in, label 0 outside of all.
    """

    kind: Literal["tagged"] = "tagged"
    dataset: str = Field(description="the dataset of lessons, or a .jsonl file")
    labels: tuple[str, ...] = Field(
        min_length=2, description="names by number; the first one is of no entity"
    )

    def open(self, opening: Opening) -> ItemList:
        """One text, one label a token."""

        def item(record: Record, name: str) -> Item:
            ids, spans = encode(_text(record, "text", name), opening)
            targets = [self._target(record, span, name) for span in spans]
            weight = [0.0 if target == NO_TARGET else 1.0 for target in targets]
            return (Segment(ids=ids, targets=targets, weight=weight, name=name),)

        return ItemList(_each(opening, self.dataset, item))

    def _target(self, record: Record, span: Span | None, name: str) -> int:
        if span is None:
            return NO_TARGET
        for entity in record.get("entities", ()):
            if entity["start"] <= span[0] < entity["end"]:
                if entity["label"] not in self.labels:
                    raise UserError(
                        f"{name} has the label '{entity['label']}'; `data.labels` are {', '.join(self.labels)}."
                    )
                return self.labels.index(entity["label"])
        return 0


class Triples(DatasetConfig):
    """{"query": ..., "positive": ..., "negatives": [...]} a line: for an embedder, each text a segment."""

    kind: Literal["triples"] = "triples"
    dataset: str = Field(description="the dataset of lessons, or a .jsonl file")

    def open(self, opening: Opening) -> ItemList:
        """The query, its positive, then its hard negatives."""

        def item(record: Record, name: str) -> Item:
            texts = [("query", _text(record, "query", name)), ("positive", _text(record, "positive", name))]
            texts += [("negative", text) for text in record.get("negatives", ())]
            return tuple(_segment(role, encode(text, opening)[0], name) for role, text in texts)

        return ItemList(_each(opening, self.dataset, item))


class Ranked(DatasetConfig):
    """{"query": ..., "passages": [...], "labels": [...]} a line: for a reranker, query and passage in one text."""

    kind: Literal["ranked"] = "ranked"
    dataset: str = Field(description="the dataset of lessons, or a .jsonl file")

    def open(self, opening: Opening) -> ItemList:
        """A segment for every passage of the query."""

        def item(record: Record, name: str) -> Item:
            query, passages, labels = _text(record, "query", name), record["passages"], record["labels"]
            if len(passages) != len(labels) or not passages:
                raise UserError(
                    f"{name} has {len(passages)} passages and {len(labels)} labels; give one for each."
                )
            segments = []
            for passage, label in zip(passages, labels, strict=True):
                ids = encode_pair(query, passage, opening)
                segments.append(
                    Segment(ids=ids, weight=[0.0] * len(ids), name=name, role="passage", label=float(label))
                )
            return tuple(segments)

        return ItemList(_each(opening, self.dataset, item))


def encode(text: str, opening: Opening) -> tuple[list[int], list[Span | None]]:
    """Ids of a text, cut to what fits, and the characters of each; special ones have none."""
    first, last = _ends(opening.tokenizer)
    ids, spans = opening.tokenizer.encode_spans(text)
    room = opening.max_tokens - len(first) - len(last)
    inner: list[Span | None] = list(spans[:room])
    return [*first, *ids[:room], *last], [*([None] * len(first)), *inner, *([None] * len(last))]


def encode_pair(query: str, passage: str, opening: Opening) -> list[int]:
    """Query and passage in one text: first, query, last, passage, last; the passage is cut to what fits."""
    first, last = _ends(opening.tokenizer)
    head = [*first, *opening.tokenizer.encode(query), *last]
    room = opening.max_tokens - len(head) - len(last)
    if room < 1:
        raise UserError(
            f"A query of {len(head)} ids leaves no room for a passage; {opening.max_tokens} fit. Shorten it."
        )
    return [*head, *opening.tokenizer.encode(passage)[:room], *last]


def _ends(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    special = tokenizer.special
    first = [special[tokenizer.bos]] if tokenizer.bos else []
    return first, [special[tokenizer.eos]] if tokenizer.eos else []


def _segment(role: str, ids: list[int], name: str) -> Segment:
    return Segment(ids=ids, weight=[0.0] * len(ids), name=f"{name}, {role}", role=role)


def _each(opening: Opening, dataset: str, item: Callable[[Record, str], Item]) -> list[Item]:
    records = read_records(opening.registry, dataset)
    return [item(record, f"line {number}") for number, record in enumerate(records, 1)]


def _text(record: Record, key: str, name: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            f"{name} has no text under '{key}' (its keys: {', '.join(record)}). Add it, or leave it out."
        )
    return value


def _number(record: Record, key: str, name: str) -> float:
    value: Any = record.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UserError(
            f"{name} has {value!r} under '{key}'; it must be a number. Correct it, or leave it out."
        )
    return float(value)
