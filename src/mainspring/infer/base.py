"""An engine as its users see it, in this process (engine.py) or in one of its own (process.py)."""

from collections.abc import Sequence
from typing import Protocol

from mainspring.infer.request import OutputSink, Request
from mainspring.infer.stats import EngineStats


class AnyTicket(Protocol):
    """A submitted request, and how it is called off."""

    def cancel(self) -> None: ...


class AnyEngine(Protocol):
    """Takes requests and hands out their outputs; thread-safe. See engine.Engine for what each does.

    `fingerprint` names the weights and the kernels that answer. `context` is the most ids that a prompt and its reply
    may have together: of the model, and of the cache.
    """

    backend_name: str
    fingerprint: str
    context: int

    def submit_all(self, requests: Sequence[Request], sinks: Sequence[OutputSink]) -> Sequence[AnyTicket]: ...

    def stats(self) -> EngineStats: ...

    def is_alive(self) -> bool: ...

    def close(self) -> None: ...
