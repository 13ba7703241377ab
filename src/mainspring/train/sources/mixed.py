"""Several sources as one, by shares: rehearsal of what was learnt before beside what is learnt now."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.errors import ConfigError
from mainspring.registry import Registry
from mainspring.train.batch import Item
from mainspring.train.sources.base import Opening, Source, SourceConfig, order
from mainspring.train.sources.chats import Chats
from mainspring.train.sources.pairs import Pairs
from mainspring.train.sources.shards import Documents, Windows

Part = Annotated[Chats | Pairs | Documents | Windows, Field(discriminator="kind")]


class Mixed(SourceConfig):
    """Sources by shares of items; the first one is gone through once, the others are repeated as needed."""

    kind: Literal["mixed"] = "mixed"
    parts: tuple[Part, ...] = Field(min_length=2, description="the sources")
    shares: tuple[float, ...] = Field(description="of the items, one a source")

    def open(self, opening: Opening) -> "MixedSource":
        """Every part."""
        return MixedSource([part.open(opening) for part in self.parts], self.shares)

    def parents(self, registry: Registry) -> dict[str, str]:
        """The parts' datasets."""
        found = [reference for part in self.parts for reference in part.parents(registry).values()]
        return {
            f"dataset {number}" if number > 1 else "dataset": each for number, each in enumerate(found, 1)
        }

    def pinned(self, registry: Registry) -> Self:
        """With the versions of the parts' datasets."""
        return self.model_copy(update={"parts": tuple(part.pinned(registry) for part in self.parts)})


class MixedSource:
    """An item comes from the source that is owed most: shares hold from the first items on.

    Raises:
        ConfigError: not one share above 0 for each source.

    """

    def __init__(self, sources: Sequence[Source], shares: Sequence[float]) -> None:
        if len(sources) != len(shares) or min(shares) <= 0:
            raise ConfigError(
                f"`data.shares` is {list(shares)} for {len(sources)} sources; give one number above 0 for each."
            )
        self._sources = sources
        parts = [share / sum(shares) for share in shares]
        self._places = _draw(parts, [source.num_items for source in sources])
        self.num_items = len(self._places)
        self.fingerprint = fingerprint_of([[source.fingerprint for source in sources], parts])

    def item(self, index: int) -> Item:
        part, place = self._places[index]
        return self._sources[part].item(place)


def _draw(shares: Sequence[float], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(source, index in it) until the first source is done."""
    taken = [0] * len(shares)
    orders: Mapping[int, list[int]] = {part: order(size, part, 0) for part, size in enumerate(sizes)}
    places: list[tuple[int, int]] = []
    while taken[0] < sizes[0]:
        owed = [share * (len(places) + 1) - count for share, count in zip(shares, taken, strict=True)]
        part = owed.index(max(owed))
        places.append((part, orders[part][taken[part] % sizes[part]]))
        taken[part] += 1
    return places
