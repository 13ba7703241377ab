"""What a kind of tokenizer gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import tokenizers

from mainspring.tokenizer.gguf.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A tokenizer, yet without its special tokens.

    `tokens` are as published, in the order of their ids. `begins` and `ends` say whether a text of this kind
    is put behind a first and before a last token where the file itself is silent, `usual` what these two are
    called where it names none.
    """

    backend: tokenizers.Tokenizer
    tokens: Sequence[str]
    begins: bool
    ends: bool
    usual: tuple[str, str] = ("", "")


class Kind(Protocol):
    """A module of this folder."""

    def build(self, vocabulary: Vocabulary) -> Built:
        """Make the tokenizer that the metadata describe."""
        ...
