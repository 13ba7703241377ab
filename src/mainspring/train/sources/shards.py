"""Token shards: every document is an item, cut where it is longer than a batch; or windows of one long text."""

import random
from typing import Literal

import numpy as np
from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.data.shard_dataset import open_shards
from mainspring.data.shards import Shards
from mainspring.errors import ConfigError
from mainspring.train.batch import Item, Segment
from mainspring.train.sources.base import DatasetConfig, Opening, Subset


class Documents(DatasetConfig):
    """Whole documents, each an item."""

    kind: Literal["documents"] = "documents"
    dataset: str = Field(description="the dataset of token shards")
    split: str = Field(default="train", description="which split of it")
    num_items: int = Field(default=0, ge=0, description="so many of its items, evenly spread; 0: all of them")

    def open(self, opening: Opening) -> "ShardSource | Subset":
        """Documents, cut at the model's context."""
        source = ShardSource(checked_shards(opening, self.dataset, self.split), max_tokens=opening.max_tokens)
        if not 0 < self.num_items < source.num_items:
            return source
        return Subset(source, [at * source.num_items // self.num_items for at in range(self.num_items)])


class Windows(DatasetConfig):
    """Stretches of a text that begin anywhere, each an item: for few and long documents."""

    kind: Literal["windows"] = "windows"
    dataset: str = Field(description="the dataset of token shards")
    split: str = Field(default="train", description="which split of it")
    length: int = Field(default=256, ge=2, description="ids of a window")
    num_windows: int = Field(
        default=0, ge=0, description="how many, beginning anywhere; 0: one behind the other, the text once"
    )

    def open(self, opening: Opening) -> "WindowSource":
        """Windows over all documents, joined."""
        if self.length > opening.max_tokens:
            raise ConfigError(
                f"`data.length` is {self.length}; at most {opening.max_tokens} ids fit. Set a shorter window, or a "
                "longer context of the model."
            )
        shards = checked_shards(opening, self.dataset, self.split)
        return WindowSource(shards, length=self.length, num_windows=self.num_windows)


class ShardSource:
    """The segments of a split of shards, read when they are asked for.

    A segment of more than `max_tokens` becomes several. The first id of each is context alone and is not learnt,
    so a document that is cut k times has k trained ids less.
    """

    def __init__(self, shards: Shards, *, max_tokens: int) -> None:
        self._shards, self._max_tokens = shards, max_tokens
        lengths = shards.lengths(np.arange(shards.num_segments))
        self._ends = np.cumsum(-(-lengths // max_tokens))
        self.num_items = int(self._ends[-1])
        self.fingerprint = fingerprint_of([shards.fingerprint, max_tokens])

    def item(self, index: int) -> Item:
        """The segment at an index below `num_items`."""
        place = int(np.searchsorted(self._ends, index, side="right"))
        piece = index - (int(self._ends[place - 1]) if place else 0)
        found = self._shards.segment(place)
        here = slice(piece * self._max_tokens, (piece + 1) * self._max_tokens)
        name = f"{found.document} from id {here.start:,}" if piece else found.document
        return (Segment(ids=found.ids[here].tolist(), weight=found.weight[here].tolist(), name=name),)


class WindowSource:
    """Windows of `length` ids over all documents joined; every id has the one behind it as its target.

    `num_windows` of them begin anywhere, and the index says where: the same index always gives the same window.
    With 0 they stand one behind the other and cover the text once.
    """

    def __init__(self, shards: Shards, *, length: int, num_windows: int = 0) -> None:
        self._ids = np.concatenate([shards.segment(index).ids for index in range(shards.num_segments)])
        self._length, self._is_random = length, num_windows > 0
        self.num_items = num_windows or (len(self._ids) - 1) // length
        if len(self._ids) <= length:
            raise ConfigError(
                f"The split has {len(self._ids):,} ids, too few for a window of {length} and the id behind it. Set a "
                "shorter `data.length`."
            )
        self.fingerprint = fingerprint_of([shards.fingerprint, length, num_windows])

    def item(self, index: int) -> Item:
        """The window at an index."""
        start = index * self._length
        if self._is_random:
            start = random.Random(index).randrange(len(self._ids) - self._length)  # noqa: S311 - a place, not a secret
        ids = self._ids[start : start + self._length + 1].tolist()
        name = f"ids {start:,} to {start + self._length:,}"
        return (Segment(ids=ids[:-1], targets=ids[1:], weight=[1.0] * self._length, name=name),)


def checked_shards(opening: Opening, dataset: str, split: str) -> Shards:
    """The shards of a dataset, of the model's tokenizer and vocabulary."""
    from mainspring import artifact as artifacts

    found = opening.registry.get(dataset)
    artifacts.check(found, opening.registry.folder(found))
    shards = open_shards(opening.registry, found, split)
    shards.check_tokenizer(opening.tokenizer.fingerprint, "the model to train")
    shards.check_vocab(opening.model.vocab_size, "the model to train")
    return shards
