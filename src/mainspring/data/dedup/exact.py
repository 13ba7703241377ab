"""Documents with the same text, but for what the settings say makes no difference.

A text is brought into one form and hashed to 128 bits (BLAKE2b): among 10^12 documents the chance that any two
different ones meet is below 10^-14.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from mainspring.config import Config
from mainspring.data.dedup.base import join_equal

DIGEST_BYTES = 16


class Settings(Config):
    """What makes no difference."""

    unicode: Literal["NFC", "NFKC", "none"] = pydantic.Field(
        default="NFC",
        description="Ways to write the same characters that count as one: accents (NFC), also ligatures and "
        "full-width letters (NFKC), or none.",
    )
    fold_case: bool = pydantic.Field(
        default=True, description="Whether capital and small letters are the same."
    )
    collapse_space: bool = pydantic.Field(
        default=True, description="Whether all runs of white space are one space, and none at the ends."
    )
    memory_mb: float = pydantic.Field(default=64, gt=0, description="Memory for finding clusters, MB.")


class Exact:
    """Sameness of documents whose normalized text is equal."""

    name = "exact"
    width = DIGEST_BYTES // 8

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def sign(self, texts: Sequence[str]) -> np.ndarray:
        digests = (
            hashlib.blake2b(normalized(text, self.settings), digest_size=DIGEST_BYTES).digest()
            for text in texts
        )
        return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64).reshape(-1, self.width)

    def clusters(self, signatures: Iterable[tuple[int, np.ndarray]], scratch: Path) -> Iterator[list[int]]:
        signed = ((first, rows, np.ones(len(rows), bool)) for first, rows in signatures)
        return join_equal(signed, [(0, self.width)], scratch, int(self.settings.memory_mb * 1e6))


def normalized(text: str, settings: Settings) -> bytes:
    """The form of a text that is compared.

    Case is folded between two normalizations, because folding takes apart what was composed (Unicode, section
    3.13, canonical caseless matching).
    """
    if settings.unicode != "none" and not text.isascii():
        folded = unicodedata.normalize("NFD", text)
        text = unicodedata.normalize(settings.unicode, folded.casefold() if settings.fold_case else folded)
    elif settings.fold_case:
        text = text.casefold()
    if settings.collapse_space:
        text = " ".join(text.split())
    return text.encode("utf-8", "surrogatepass")
