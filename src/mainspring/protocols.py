"""How the users of models see them: own engine, another server and a scripted test model are the same thing."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from mainspring.schema import Delta, Message, Reply, Sampling

Sink = Callable[[Delta], None]


class Generation(Protocol):
    """A reply on its way."""

    prompt_ids: tuple[int, ...]

    def cancel(self) -> None:
        """Stop after the running step; the sink gets a last delta with finish_reason "cancelled"."""
        ...

    def wait(self) -> Reply:
        """Block until the reply is whole."""
        ...


class ChatModel(Protocol):
    """A model that answers messages. Thread-safe."""

    name: str
    default_sampling: Sampling

    def start(self, messages: Sequence[Message], sampling: Sampling, sink: Sink | None = None) -> Generation:
        """Begin a reply and return at once; `sink` gets every delta, called from the model's own thread."""
        ...

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one conversation."""
        ...

    def replies(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Reply]:
        """Answer many conversations, batched where the model can; in order."""
        ...


class Embedder(Protocol):
    """A model that turns texts into unit vectors."""

    name: str
    width: int
    fingerprint: str

    def embed(self, texts: Sequence[str], *, advance: Callable[[int], None] | None = None) -> np.ndarray:
        """Unit vectors, float32, shape (len(texts), width); `advance(n)` is called as texts are done."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many ids each whole text would be."""
        ...
