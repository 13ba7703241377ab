"""What the engine's process and its owner say to each other: msgspec's MessagePack over a pipe."""

from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from mainspring import errors
from mainspring.errors import MainspringError
from mainspring.infer.kernels import KernelPlan
from mainspring.infer.request import EngineConfig, Output, Request
from mainspring.infer.stats import EngineStats


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told first: the model to load; `plan` is what earlier starts found out, as JSON."""

    folder: str
    reference: str
    config: str
    threads: int
    plan: str | None = None

    def engine_config(self) -> EngineConfig:
        return EngineConfig.model_validate_json(self.config)

    def kernel_plan(self) -> KernelPlan | None:
        return None if self.plan is None else KernelPlan.model_validate_json(self.plan)


class Submit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Requests for the same ids, each with the number that its outputs will bear."""

    call: int
    numbers: tuple[int, ...]
    requests: tuple[Request, ...]


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    number: int


class Adapter(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Load an adapter, or drop it where there is no folder."""

    call: int
    reference: str
    folder: str | None = None


class AskStats(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    call: int


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model is loaded; what the owner needs to know of it."""

    backend: str
    fingerprint: str
    is_exact: bool
    context: int
    plan: str


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A call was carried out, or refused with an error of this kind."""

    call: int
    stats: EngineStats | None = None
    error: str = ""
    kind: str = ""
    retry_after_s: int = 1

    def check(self) -> None:
        """Raise the error that the worker's side raised."""
        if self.kind == "OverloadedError":
            raise errors.OverloadedError(self.error, retry_after_s=self.retry_after_s)
        if self.kind:
            raise getattr(errors, self.kind, MainspringError)(self.error)


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """An output of the request of this number."""

    number: int
    output: Output
    num_cached: int


class Given(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All that a step has brought: one message, so that the owner wakes once."""

    pieces: list[Piece]


Told = Submit | Cancel | Adapter | AskStats
Said = Ready | Done | Given

_encoder = msgspec.msgpack.Encoder()


def send(connection: Connection, message: Start | Told | Said) -> None:
    connection.send_bytes(_encoder.encode(message))


def refusal(call: int, error: Exception) -> Done:
    """An error as an answer."""
    kind = type(error).__name__ if isinstance(error, MainspringError) else "MainspringError"
    return Done(call=call, error=str(error), kind=kind, retry_after_s=getattr(error, "retry_after_s", 1))


def start_of(
    folder: Path, reference: str, config: EngineConfig, plan: KernelPlan | None, threads: int
) -> Start:
    return Start(
        folder=str(folder), reference=reference, config=config.model_dump_json(), threads=threads,
        plan=None if plan is None else plan.model_dump_json(),
    )  # fmt: skip
