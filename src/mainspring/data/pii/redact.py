"""What is done with what was found: kept, masked, or replaced by a name that is always the same.

A masked span becomes its kind in brackets, <EMAIL>. A hashed one gets a keyed hash, <EMAIL:0f3a9c51d2e8>, so
that the same address stays the same through all documents and nobody without the key can tell which it was.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

from mainspring.data.pii.base import Kind, Span

Policy = Literal["keep", "mask", "hash", "drop"]


def redact(text: str, spans: Sequence[Span], policies: Mapping[Kind, Policy], key: bytes = b"") -> str:
    """The text with its spans, in order and apart, replaced as their kinds' policies say.

    Documents of the kind `drop` are the caller's to drop; what is left of them is masked.
    """
    pieces, past = [], 0
    for span in spans:
        policy = policies[span.kind]
        if policy != "keep":
            tail = f":{pseudonym(text[span.start : span.end], key)}" if policy == "hash" else ""
            pieces += [text[past : span.start], f"<{span.kind.upper()}{tail}>"]
            past = span.end
    return "".join([*pieces, text[past:]])


def pseudonym(value: str, key: bytes) -> str:
    """48 bits of a keyed hash; how a value is written (case, blanks, hyphens) makes no difference."""
    plain = "".join(letter for letter in value.lower() if letter.isalnum() or letter in "@.+")
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), key=key, digest_size=6).hexdigest()
