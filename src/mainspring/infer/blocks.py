"""The pool of cache blocks: reference counts, a hash chain for prefixes, the least recently used goes first.

A full block is known by the hash of (its parent's hash, its ids, the adapter), so equal hashes mean equal ids
from the beginning. A block that nobody refers to keeps its contents until it is needed for something else.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence

SCRATCH = 0
"""The block that padding rows write to and that masked reads fall on; never given out."""


def chain(parent: bytes, ids: Sequence[int], adapter: str | None) -> bytes:
    """The name of a full block: it depends on every id before it."""
    digest = hashlib.blake2b(parent, digest_size=16)
    digest.update(array("q", ids).tobytes())
    digest.update((adapter or "").encode())
    return digest.digest()


class BlockPool:
    """Blocks 1 to num_blocks - 1; block 0 is scratch."""

    def __init__(self, num_blocks: int) -> None:
        self._references = [0] * num_blocks
        self._free = list(range(num_blocks - 1, 0, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._by_hash: dict[bytes, int] = {}
        self._hash_of: dict[int, bytes] = {}

    @property
    def num_available(self) -> int:
        """Blocks that can be taken now: never used ones and idle ones."""
        return len(self._free) + len(self._idle)

    def take(self) -> int | None:
        """A block for new contents, or None when all are in use."""
        if self._free:
            block = self._free.pop()
        elif self._idle:
            block, _ = self._idle.popitem(last=False)
            del self._by_hash[self._hash_of.pop(block)]
        else:
            return None
        self._references[block] = 1
        return block

    def find(self, block_hash: bytes) -> int | None:
        """The block with these contents, with one more reference; None where nobody has it."""
        block = self._by_hash.get(block_hash)
        if block is not None:
            self._idle.pop(block, None)
            self._references[block] += 1
        return block

    def name(self, block: int, block_hash: bytes) -> None:
        """Say that a block is full and what it holds; a second block with the same contents stays unnamed."""
        if block_hash not in self._by_hash and block not in self._hash_of:
            self._by_hash[block_hash] = block
            self._hash_of[block] = block_hash

    def release(self, blocks: Sequence[int]) -> None:
        """Give back one reference each; the last blocks are the first to go: they need the ones before."""
        for block in reversed(blocks):
            self._references[block] -= 1
            assert self._references[block] >= 0, f"block {block} was released twice"
            if self._references[block] == 0:
                if block in self._hash_of:
                    self._idle[block] = None
                else:
                    self._free.append(block)
