"""Text of ids as they come, never half a character."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from mainspring.tokenizer.base import Tokenizer

UNDECIDED = "\ufffd"


class Decoder(Protocol):
    """What streaming needs of a tokenizer."""

    @property
    def is_byte_level(self) -> bool: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class StreamDecoder:
    """Decodes one reply while it is generated: all that push and flush return, joined, is decode(all ids).

    A character whose bytes are not all there yet shows as U+FFFD at the end, so that is held back until the
    next ids decide it. `lead` are ids before them that are not given; see Tokenizer.lead_ids.
    """

    def __init__(self, tokenizer: Decoder, lead: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(lead)
        self._num_sent = len(tokenizer.decode(self._ids))

    def push(self, ids: Sequence[int]) -> str:
        """The text that these ids make final."""
        self._ids += ids
        text = self._tokenizer.decode(self._ids)
        end = max(len(text.rstrip(UNDECIDED)), self._num_sent)
        final = text[self._num_sent : end]
        self._num_sent = end
        if end == len(text) and self._tokenizer.is_byte_level:  # nothing pending: start anew, to stay linear
            self._ids, self._num_sent = [], 0
        return final

    def flush(self) -> str:
        """The rest, once no more ids come."""
        rest = self._tokenizer.decode(self._ids)[self._num_sent :]
        self._ids, self._num_sent = [], 0
        return rest


class Showing:
    """Decodes like its tokenizer, which leaves special tokens out, but writes the names of some."""

    def __init__(self, tokenizer: Decoder, names: Mapping[int, str]) -> None:
        self._tokenizer, self._names = tokenizer, names

    @property
    def is_byte_level(self) -> bool:
        return self._tokenizer.is_byte_level

    def decode(self, ids: Sequence[int]) -> str:
        text, start = "", 0
        for place, token_id in enumerate(ids):
            if token_id in self._names:
                text += self._tokenizer.decode(ids[start:place]) + self._names[token_id]
                start = place + 1
        return text + self._tokenizer.decode(ids[start:])


def showing(tokenizer: Tokenizer, names: Sequence[str]) -> Decoder:
    """A decoder that shows those of the names that are special tokens of the tokenizer."""
    found = {tokenizer.special[name]: name for name in names if name in tokenizer.special}
    return Showing(tokenizer, found) if found else tokenizer
