"""The one currency of training: segments of tokens, packed flat one behind the other.

    ids     a0 a1 a2 | b0 b1         target  a1 a2 -  | b1 -
    pos      0  1  2 |  0  1         weight  of the target: 0 where nothing is learnt and at a segment's end

Shapes: T tokens of a batch, N of them trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mainspring.data.pack import best_fit
from mainspring.errors import ContextLengthError

NO_TARGET = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Tokens that see each other: a conversation, a document.

    `weight[i]` says how much `ids[i]` is trained as the answer to what stands before it; the first id's is
    never used. `name` is what errors call it.
    """

    ids: Sequence[int]
    weight: Sequence[float]
    name: str
    group: int = 0

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    @property
    def trained_tokens(self) -> float:
        return sum(self.weight[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a segment lies in a batch; `index` is its place among the segments that were packed."""

    start: int
    length: int
    group: int
    index: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Packed segments: ids, pos, target int64 and weight float32, each of shape (T,)."""

    ids: torch.Tensor
    pos: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    segments: tuple[Place, ...]

    @property
    def lengths(self) -> list[int]:
        return [place.length for place in self.segments]

    def trained(self) -> torch.Tensor:
        """Indices of the tokens whose target is trained, shape (N,)."""
        return self.weight.nonzero().squeeze(1)

    def counts(self) -> dict[str, float]:
        """What losses may be divided by."""
        return {
            "tokens": float(self.weight.sum()),
            "segments": float(len(self.segments)),
            "groups": float(len({place.group for place in self.segments})),
        }


def pack(segments: Sequence[Segment], max_tokens: int) -> list[Batch]:
    """Put whole segments into as few batches of at most `max_tokens` as best-fit finds.

    Raises:
        ContextLengthError: a segment that is longer than a batch.

    """
    for segment in segments:
        if segment.num_tokens > max_tokens:
            raise ContextLengthError(
                f"{segment.name} has {segment.num_tokens:,} tokens, more than a batch of {max_tokens:,}. "
                f"Shorten it, or set `plan.micro_batch_tokens` to at least {segment.num_tokens}."
            )
    rows = best_fit([segment.num_tokens for segment in segments], max_tokens)
    return [lay_out([(index, segments[index]) for index in row]) for row in rows]


def lay_out(row: Sequence[tuple[int, Segment]]) -> Batch:
    """Lay segments one behind the other."""
    ids: list[int] = []
    pos: list[int] = []
    target: list[int] = []
    weight: list[float] = []
    places: list[Place] = []
    for index, segment in row:
        length = segment.num_tokens
        places.append(
            Place(start=len(ids), length=length, group=segment.group, index=index, name=segment.name)
        )
        ids += segment.ids
        pos += range(length)
        target += [*segment.ids[1:], NO_TARGET]
        weight += [*segment.weight[1:], 0.0]
    return Batch(
        ids=torch.tensor(ids), pos=torch.tensor(pos), target=torch.tensor(target),
        weight=torch.tensor(weight, dtype=torch.float32), segments=tuple(places),
    )  # fmt: skip
