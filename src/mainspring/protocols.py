"""How the users of models see them: own engine, another server and a scripted test model are the same thing."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from mainspring.schema import Ask, Delta, Message, Reply, Sampling

Sink = Callable[[Delta], None]
PLAIN = Ask()


class Generation(Protocol):
    """A reply on its way."""

    prompt_ids: tuple[int, ...]

    def cancel(self) -> None:
        """Stop after the running step; the sink gets a last delta with finish_reason "cancelled"."""
        ...

    def wait(self) -> Reply:
        """Block until the first reply is whole."""
        ...

    def replies(self) -> list[Reply]:
        """Block until all the replies that were asked for (`Ask.n`) are whole."""
        ...


class ChatModel(Protocol):
    """A model that answers messages. Thread-safe."""

    name: str
    default_sampling: Sampling

    def start(
        self, messages: Sequence[Message], sampling: Sampling, sink: Sink | None = None, *, ask: Ask = PLAIN
    ) -> Generation:
        """Begin a reply and return at once; `sink` gets every delta, called from the model's own thread.

        Raises:
            ConfigError: `ask` wants what this model cannot do.

        """
        ...

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one conversation."""
        ...

    def replies(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Reply]:
        """Answer many conversations, batched where the model can; in order."""
        ...


class TextModel(ChatModel, Protocol):
    """A chat model that also continues raw text or ids, and shows its tokens."""

    context: int

    def complete(
        self, prompt: str | Sequence[int], sampling: Sampling, sink: Sink | None = None, *, ask: Ask = PLAIN
    ) -> Generation:
        """Begin to continue a prompt as it stands, without a template, or to fill what lacks before `ask.suffix`.

        See start.
        """
        ...

    def prompt_ids(self, messages: Sequence[Message], ask: Ask = PLAIN) -> list[int]:
        """The ids that the model would be shown for messages."""
        ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


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


class Reranker(Protocol):
    """A model that says how well texts answer a query."""

    name: str

    def scores(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """One score a text, float32, in order; higher is better."""
        ...
