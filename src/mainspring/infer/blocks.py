"""The pool of cache blocks: reference counts, a hash chain for prefixes, the least recently used goes first.

A full block is known by the hash of (its parent's hash, its ids), and the chain begins with a root that names the
model, the adapter and the salt; so equal hashes mean equal ids from the beginning. A block that nobody refers to
keeps its contents until it is needed for something else. Whoever holds a block holds those before it, and gives
them back behind it, so the blocks at the ends of chains go first.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence

SCRATCH = 0
"""The block that padding rows write to and that masked reads fall on; never given out."""


def root(model: str, adapter: str | None, salt: str) -> bytes:
    """What the chains of one model, adapter and salt begin with."""
    return hashlib.blake2b(repr((model, adapter, salt)).encode(), digest_size=16).digest()


def chain(parent: bytes, ids: Sequence[int]) -> bytes:
    """The name of a full block: it depends on every id before it."""
    return hashlib.blake2b(array("q", ids).tobytes(), key=parent, digest_size=16).digest()


class BlockPool:
    """Blocks 1 to num_blocks - 1; block 0 is scratch."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks - 1
        self._references = [0] * num_blocks
        self._idle = OrderedDict.fromkeys(range(1, num_blocks))  # in the order in which they are taken
        self._by_name: dict[bytes, int] = {}
        self._name_of: dict[int, bytes] = {}

    @property
    def num_available(self) -> int:
        """Blocks that can be taken now, since nobody refers to them."""
        return len(self._idle)

    @property
    def num_used(self) -> int:
        return self.num_blocks - self.num_available

    def take(self, count: int) -> list[int] | None:
        """Blocks for new contents, or None where there are not so many."""
        if count > self.num_available:
            return None
        blocks = [self._idle.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            self._references[block] = 1
            if block in self._name_of:
                del self._by_name[self._name_of.pop(block)]
        return blocks

    def has(self, name: bytes) -> bool:
        return name in self._by_name

    def find(self, name: bytes) -> int:
        """The block of a name that it has, with one more reference."""
        block = self._by_name[name]
        self._idle.pop(block, None)
        self._references[block] += 1
        return block

    def share(self, blocks: Sequence[int]) -> None:
        """One more reference each, for a second holder; whoever writes to such a block copies it first."""
        for block in blocks:
            assert self._references[block] > 0, f"block {block} is nobody's, so it cannot be shared"
            self._references[block] += 1

    def is_shared(self, block: int) -> bool:
        return self._references[block] > 1

    def name(self, block: int, name: bytes) -> None:
        """Say that a block is full and what it holds; a second block with the same contents stays unnamed."""
        if name not in self._by_name and block not in self._name_of:
            self._by_name[name] = block
            self._name_of[block] = name

    def release(self, blocks: Sequence[int]) -> None:
        """Give back one reference each; the last blocks are the first to go: they need the ones before."""
        for block in reversed(blocks):
            if block == SCRATCH:
                continue
            self._references[block] -= 1
            assert self._references[block] >= 0, f"block {block} was released twice"
            if self._references[block] == 0:
                self._idle[block] = None
                if block not in self._name_of:  # nobody can find it: it goes before what holds something
                    self._idle.move_to_end(block, last=False)
