"""The one currency of training: items of segments of tokens, packed flat one behind the other.

    item 0: a0 a1 a2    ids     a0 a1 a2 | b0 b1         target  a1 a2 -  | b1 -
    item 1: b0 b1       pos      0  1  2 |  0  1         weight  of the target: 0 where nothing is learnt and at
                                                                 a segment's end

Where a segment brings targets of its own (a masked token, a tag), target and weight stand at the token itself.

Shapes: T tokens of a batch, N of them trained, S segments, M tokens of the encoder's stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mainspring.data.pack import best_fit
from mainspring.errors import ContextLengthError

NO_TARGET = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Tokens that see each other: a conversation, a document, an answer to a prompt.

    weight: how much `ids[i]` is trained as the answer to what stands before it; the first id's is never used.
    name: what errors call it. role: its part in the item, such as "chosen". label: of the whole segment.
    reward: of an answer. targets: what is to be said at each token itself; `weight` is then of that. source: ids
    that an encoder reads. extras: more numbers, one or a row a token, of the token `ids[i]` as `weight` is.
    """

    ids: Sequence[int]
    weight: Sequence[float]
    name: str
    role: str = ""
    label: float | None = None
    reward: float | None = None
    targets: Sequence[int] | None = None
    source: Sequence[int] = ()
    extras: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    @property
    def trained_tokens(self) -> float:
        return sum(self.weight) if self.targets is not None else sum(self.weight[1:])


Item = tuple[Segment, ...]
"""What an index of a source gives: a document, a preference pair, the answers to one prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a segment lies in a batch; `index` counts the segments that were packed, `group` their items."""

    start: int
    length: int
    group: int
    index: int
    name: str
    role: str = ""
    label: float | None = None
    reward: float | None = None

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Packed segments: ids, pos, target int64 and weight float64, each of shape (T,).

    source_ids, source_pos: the encoder's stream, int64 (M,), empty where there is none; source_lengths: of its
    segments. extras: by name, what sources and annotators add for every token, (T, ...). is_padding: run only so that
    all processes run as often; nothing of it counts.
    """

    ids: torch.Tensor
    pos: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    segments: tuple[Place, ...]
    source_ids: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    source_pos: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    source_lengths: tuple[int, ...] = ()
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)
    is_padding: bool = False

    @property
    def lengths(self) -> list[int]:
        return [place.length for place in self.segments]

    def trained(self) -> torch.Tensor:
        """Indices of the tokens whose target is trained, shape (N,)."""
        return self.weight.nonzero().squeeze(1)

    def counts(self) -> dict[str, float]:
        """What losses may be divided by."""
        if self.is_padding:
            return {}
        return {
            "tokens": float(self.weight.sum()),
            "ids": float(len(self.ids)),
            "segments": float(len(self.segments)),
            "groups": float(len(self.groups())),
        }

    def groups(self) -> list[list[int]]:
        """The segments of each item, by their numbers."""
        rows: dict[int, list[int]] = {}
        for row, place in enumerate(self.segments):
            rows.setdefault(place.group, []).append(row)
        return list(rows.values())

    def segment_of(self) -> torch.Tensor:
        """Which segment every token belongs to, int64 (T,)."""
        return torch.repeat_interleave(torch.arange(len(self.segments)), torch.tensor(self.lengths))

    def segment_sum(self, x_T: torch.Tensor) -> torch.Tensor:
        """Sum over each segment's tokens, (S,)."""
        return x_T.new_zeros(len(self.segments)).index_add(0, self.segment_of(), x_T)

    def with_extra(self, name: str, values_T: torch.Tensor) -> "Batch":
        """The same batch with one more number a token."""
        return replace(self, extras={**self.extras, name: values_T})


def pack(items: Sequence[Item], max_tokens: int, *, couples: bool = False) -> list[Batch]:
    """Put whole segments into as few batches of at most `max_tokens` as best-fit finds.

    Args:
        items: in the order that `Place.group` counts.
        max_tokens: of a batch, the encoder's stream included.
        couples: the segments of an item are to lie in one batch, because the loss compares them.

    Raises:
        ContextLengthError: a segment, or an item whose segments stay together, that is longer than a batch.

    """
    flat = [(group, segment) for group, item in enumerate(items) for segment in item]
    units: list[list[int]] = [[index] for index in range(len(flat))]
    if couples:
        units = [[] for _ in items]
        for index, (group, _) in enumerate(flat):
            units[group].append(index)
    lengths = [sum(_length(flat[index][1]) for index in unit) for unit in units]
    for unit, length in zip(units, lengths, strict=True):
        if length > max_tokens:
            raise ContextLengthError(
                f"{' and '.join(flat[index][1].name for index in unit)} has {length:,} tokens, more than a batch of "
                f"{max_tokens:,}. Shorten it, or set `plan.micro_batch_tokens` to at least {length}."
            )
    rows = best_fit(lengths, max_tokens)
    return [lay_out([(index, *flat[index]) for at in row for index in units[at]]) for row in rows]


def lay_out(row: Sequence[tuple[int, int, Segment]]) -> Batch:
    """Lay segments, each with its index and its item's, one behind the other."""
    segments = [segment for _, _, segment in row]
    places: list[Place] = []
    start = 0
    for index, group, segment in row:
        place = Place(
            start=start, length=segment.num_tokens, group=group, index=index, name=segment.name,
            role=segment.role, label=segment.label, reward=segment.reward,
        )  # fmt: skip
        places.append(place)
        start += segment.num_tokens
    names = sorted({name for segment in segments for name in segment.extras})
    return Batch(
        ids=_joined([segment.ids for segment in segments], torch.int64),
        pos=_joined([range(segment.num_tokens) for segment in segments], torch.int64),
        target=_joined([_targets(segment) for segment in segments], torch.int64),
        weight=_joined([_at_targets(segment, segment.weight) for segment in segments], torch.float64),
        segments=tuple(places),
        source_ids=_joined([segment.source for segment in segments], torch.int64),
        source_pos=_joined([range(len(segment.source)) for segment in segments], torch.int64),
        source_lengths=tuple(len(each.source) for each in segments) if any(s.source for s in segments) else (),
        extras={
            name: _joined([_at_targets(each, each.extras[name]) for each in segments], torch.float64)
            for name in names
        },
    )  # fmt: skip


def _length(segment: Segment) -> int:
    return segment.num_tokens + len(segment.source)


def _targets(segment: Segment) -> Sequence[int]:
    return [*segment.ids[1:], NO_TARGET] if segment.targets is None else segment.targets


def _at_targets(segment: Segment, values: Sequence[Any]) -> Sequence[Any]:
    """Numbers of the tokens, or rows of numbers, put where these are the target."""
    if segment.targets is not None:
        return values
    last = values[0]
    return [*values[1:], [0.0] * len(last) if isinstance(last, Sequence) else 0.0]


def _joined(parts: Sequence[Sequence[Any]], dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor([value for part in parts for value in part], dtype=dtype)
