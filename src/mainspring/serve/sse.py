"""Server-sent events: one loop for every dialect, which tells what the events are."""

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from mainspring.errors import MainspringError
from mainspring.schema import Delta
from mainspring.serve.bridge import Bridge, GoneError

KEEP_ALIVE_S = 15.0  # proxies cut connections that are silent for about a minute
COMMENT = b": keep-alive\n\n"
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
DONE = b"data: [DONE]\n\n"


class Teller(Protocol):
    """What a dialect says at each point of a stream, as bytes of events."""

    def begin(self) -> Iterator[bytes]: ...

    def take(self, delta: Delta) -> Iterator[bytes]:
        """A piece of a reply, or its end (`delta.reply`)."""
        ...

    def end(self) -> Iterator[bytes]:
        """All replies are whole."""
        ...

    def fail(self, error: Exception) -> Iterator[bytes]: ...


def event(value: object, name: str | None = None) -> bytes:
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + msgspec.json.encode(value) + b"\n\n"


async def respond(bridge: Bridge, teller: Teller) -> StreamingResponse:
    """Begin the replies and stream them.

    The response waits a while for the first delta: until then an error can still be answered with its own
    status. After that, comments keep the connection alive.
    """
    await bridge.start()
    try:
        first = await bridge.next(KEEP_ALIVE_S)
    except BaseException:
        bridge.close()
        raise
    headers = {**HEADERS, "x-request-id": bridge.exchange.id}
    return StreamingResponse(_tell(bridge, teller, first), media_type="text/event-stream", headers=headers)


async def _tell(bridge: Bridge, teller: Teller, delta: Delta | None) -> AsyncIterator[bytes]:
    num_open = bridge.num_replies
    try:
        for piece in teller.begin():
            yield piece
        while True:
            for piece in teller.take(delta) if delta is not None else (COMMENT,):
                yield piece
            num_open -= delta is not None and delta.reply is not None
            if not num_open:
                break
            delta = await bridge.next(KEEP_ALIVE_S)
        for piece in await run_in_threadpool(lambda: list(teller.end())):  # it may write to a disk
            yield piece
    except GoneError:
        return
    except Exception as error:
        failure = error
        for piece in await run_in_threadpool(lambda: list(teller.fail(failure))):
            yield piece
        if not isinstance(error, MainspringError):
            raise
    finally:
        bridge.close()
