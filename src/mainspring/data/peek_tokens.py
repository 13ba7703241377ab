"""Every token that a model will learn from, with its weight, its segment and the document it came from."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from mainspring.data.loader import Loader
from mainspring.data.shards import Shards
from mainspring.tokenizer.base import Tokenizer


class PeekedToken(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is the name of a special token, or what the id stands for; a part of a character is U+FFFD."""

    id: int
    text: str
    weight: float


class PeekedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment; `row` counts the rows of a loader from 0 and is None where segments are read as they lie."""

    row: int | None
    dataset: str
    segment: int
    document: str
    offset: int
    tokens: list[PeekedToken]

    @property
    def num_trained(self) -> int:
        """Tokens that are learnt: the first of a segment never is."""
        return sum(token.weight > 0 for token in self.tokens[1:])


def peek_tokens(
    shards: Shards, tokenizer: Tokenizer, indices: Iterable[int], dataset: str = ""
) -> Iterator[PeekedSegment]:
    """Segments as they lie in the shards."""
    names = _names(tokenizer)
    for index in indices:
        found = shards.segment(index)
        yield PeekedSegment(
            row=None, dataset=dataset, segment=index, document=found.document, offset=0,
            tokens=_tokens(found.ids.tolist(), found.weight.tolist(), tokenizer, names),
        )  # fmt: skip


def peek_rows(loader: Loader, tokenizer: Tokenizer, num_rows: int) -> Iterator[PeekedSegment]:
    """Segments as a loader packs them into its first rows."""
    names = _names(tokenizer)
    rows = (row for step in loader.steps() for row in step.rows)
    for number, row in enumerate(islice(rows, num_rows)):
        for place in row.segments:
            here = slice(place.start, place.start + place.length)
            yield PeekedSegment(
                row=number, dataset=place.dataset, segment=place.segment, document=place.document,
                offset=place.offset,
                tokens=_tokens(row.ids[here].tolist(), row.weight[here].tolist(), tokenizer, names),
            )  # fmt: skip


def _names(tokenizer: Tokenizer) -> dict[int, str]:
    return {token_id: name for name, token_id in tokenizer.special.items()}


def _tokens(
    ids: Sequence[int], weight: Sequence[float], tokenizer: Tokenizer, names: dict[int, str]
) -> list[PeekedToken]:
    return [
        PeekedToken(id=token_id, text=names.get(token_id) or tokenizer.decode([token_id]), weight=each)
        for token_id, each in zip(ids, weight, strict=True)
    ]
