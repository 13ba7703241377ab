"""What the engine's process and its owner say to each other: msgspec's MessagePack over a pipe.

The first message of each holds configuration, and so is JSON.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from mainspring import errors
from mainspring.config import Config
from mainspring.errors import MainspringError
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import EngineConfig, Output, Request
from mainspring.infer.stats import EngineStats


class Start(Config):
    """What a worker is told first, as JSON: the model to load; `plan` is what earlier starts found out."""

    folder: Path
    reference: str
    config: EngineConfig
    plan: KernelPlan | None


class Ready(Config):
    """Its answer, as JSON: the model is loaded; what the owner needs to know of it."""

    backend_name: str
    fingerprint: str
    context: int
    plan: KernelPlan


class Submit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Requests for the same ids, each with the number that its outputs will bear."""

    numbers: tuple[int, ...]
    requests: tuple[Request, ...]


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    number: int


class Adapter(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Load an adapter, or drop it where there is no folder."""

    reference: str
    folder: str | None = None


class AskStats(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How is the engine?"""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A call was carried out, or refused with an error of this kind."""

    call: int
    stats: EngineStats | None = None
    error: str = ""
    kind: str = ""
    retry_after_s: int = 1

    def checked(self) -> Self:
        """Itself, or the error that the worker's side raised."""
        if self.kind == "OverloadedError":
            raise errors.OverloadedError(self.error, retry_after_s=self.retry_after_s)
        if self.kind:
            raise errors.named(self.kind, self.error)
        return self


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """An output of the request of this number."""

    number: int
    output: Output


class Given(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All that a step has brought: one message, so that the owner wakes once."""

    pieces: list[Piece]


Question = Submit | Adapter | AskStats
Told = Question | Cancel
Said = Done | Given
Message = TypeVar("Message")

TOLD, SAID = msgspec.msgpack.Decoder(tuple[int, Told]), msgspec.msgpack.Decoder(Said)
"""What the owner tells bears the number of the call that is to be answered, 0 where nothing is."""

encode = msgspec.msgpack.Encoder().encode


def heard(connection: Connection, decoder: msgspec.msgpack.Decoder[Message]) -> Iterator[Message]:
    """What the other side says, until it ends."""
    with suppress(EOFError, OSError):
        while True:
            yield decoder.decode(connection.recv_bytes())


def shut(connection: Connection) -> None:
    """End it for both sides; to close it would not do: it stays open while a thread waits in it."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.shutdown(socket.SHUT_RDWR)


def refusal(call: int, error: Exception) -> Done:
    """An error as an answer."""
    kind = type(error).__name__ if isinstance(error, MainspringError) else "MainspringError"
    return Done(call=call, error=str(error), kind=kind, retry_after_s=getattr(error, "retry_after_s", 1))
