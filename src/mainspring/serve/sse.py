"""Server-sent events: one loop for every dialect, which tells what the events are."""

import contextlib
import secrets
from collections.abc import AsyncGenerator, Iterator
from typing import Protocol

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from mainspring.errors import MainspringError
from mainspring.schema import Delta
from mainspring.serve.bridge import Bridge, GoneError

KEEP_ALIVE_S = 15.0  # proxies cut connections that are silent for about a minute
COMMENT = b": keep-alive\n\n"
HEADERS = {
    "cache-control": "no-store", "content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no",
}  # fmt: skip
DONE = b"data: [DONE]\n\n"


class Teller(Protocol):
    """What a dialect says at each point of a stream, as bytes of events."""

    def begin(self) -> Iterator[bytes]: ...

    def take(self, delta: Delta) -> Iterator[bytes]: ...  # a piece of a reply, or its end (`delta.reply`)

    def end(self) -> Iterator[bytes]: ...  # all replies are whole

    def fail(self, error: Exception) -> Iterator[bytes]: ...


def event(value: object, name: str | None = None) -> bytes:
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + msgspec.json.encode(value) + b"\n\n"


def padding(*, is_asked: bool) -> dict[str, str]:
    """A field whose length hides that of an event's text from who counts bytes (OpenAI's `include_obfuscation`)."""
    return {"obfuscation": secrets.token_urlsafe(32)[: secrets.randbelow(32)]} if is_asked else {}


class EventStream(StreamingResponse):
    """Sends events as they come. Who has started the Bridge hears of a client that leaves; nobody listens here."""

    def __init__(self, events: AsyncGenerator[list[bytes]]) -> None:
        super().__init__((b"".join(pieces) async for pieces in events), headers=HEADERS)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._events):
            await self.stream_response(send)


async def respond(bridge: Bridge, teller: Teller) -> EventStream:
    """Begin the replies and stream them.

    The response waits a while for the first delta: until then an error can still be answered with its own
    status. After that, comments keep the connection alive.
    """
    await bridge.start()
    bridge.tick_every(KEEP_ALIVE_S)
    try:
        first = await bridge.next()
    except BaseException:
        bridge.close()
        raise
    return EventStream(tell(bridge, teller, first))


async def tell(bridge: Bridge, teller: Teller, delta: Delta | None = None) -> AsyncGenerator[list[bytes]]:
    """All events of replies that have begun, those together that come at once; `delta` is the first, if it is there.

    A failure that is none of ours is raised again behind its event.
    """
    events = list[bytes]()
    try:
        events += teller.begin()
        while True:
            if delta is not None:
                events += teller.take(delta)
            if bridge.is_whole:
                break
            if not bridge.has_more:
                yield events
                events = []
            delta = await bridge.next()
            if delta is None:
                events.append(COMMENT)
        yield events + await run_in_threadpool(list, teller.end())  # it may write to a disk
    except GoneError:
        return
    except Exception as error:
        yield events + await run_in_threadpool(list, teller.fail(error))
        if not isinstance(error, MainspringError):
            raise
    finally:
        bridge.close()
