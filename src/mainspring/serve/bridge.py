"""From the models' threads to the event loop: deltas in, and word back when the client is gone."""

import asyncio
import threading
from collections.abc import Awaitable, MutableMapping, Sequence
from typing import Any, Protocol

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from mainspring.errors import MainspringError
from mainspring.gateway.exchange import Exchange
from mainspring.gateway.pipeline import Pipeline
from mainspring.schema import ChatRequest, Delta, Reply


class GoneError(MainspringError):
    """The client left before its answer was whole; nobody reads this."""

    status = 499


class Client(Protocol):
    """Who waits for replies: `receive` returns when it has something to say, at the latest that it leaves."""

    def receive(self) -> Awaitable[MutableMapping[str, Any]]: ...


class Bridge:
    """One request as the event loop sees it: one generation, or one for each of several prompts.

    The replies to prompt i have the indices from i * n. A watcher reads the connection all the while: when the
    client leaves, everything is cancelled at once, also while it has not said a word or the loop waits for a
    slow reader.
    """

    def __init__(self, pipeline: Pipeline, chats: Sequence[ChatRequest], request: Request | Client) -> None:
        self._pipeline = pipeline
        self._chats = chats
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Delta | None] = asyncio.Queue()
        self._watcher: asyncio.Task[None] | None = None
        self._exchanges: list[Exchange] = []
        self._is_closed = False
        self._lock = threading.Lock()
        self.num_replies = sum(chat.ask.n for chat in chats)

    @property
    def exchange(self) -> Exchange:
        """The first one, whose id is the request's."""
        assert self._exchanges, "start() comes first"
        return self._exchanges[0]

    async def start(self) -> None:
        """Begin.

        Raises:
            MainspringError: whatever the pipeline or the model refuses.
            GoneError: the client left.

        """
        self._watcher = asyncio.create_task(self._watch())
        try:
            for number in range(len(self._chats)):
                await run_in_threadpool(self._begin, number)
        except BaseException:
            self.close()
            raise

    async def next(self, patience_s: float | None = None) -> Delta | None:
        """The next delta, None when there is none for that long; a failed one is raised as the model's own error."""
        try:
            async with asyncio.timeout(patience_s):
                delta = await self._queue.get()
        except TimeoutError:
            return None
        if delta is None:
            raise GoneError("The client left.")
        if delta.error is not None:
            for exchange in self._exchanges:
                if exchange.error is not None:
                    await run_in_threadpool(exchange.wait)
            raise MainspringError(delta.error)
        if delta.reply is not None and delta.reply.finish_reason == "cancelled":
            raise MainspringError(
                "The reply was cut short because the server is stopping. Send the request again."
            )
        return delta

    async def whole(self) -> list[Reply]:
        """Wait for the whole replies.

        Raises:
            MainspringError: the model failed, or the server stopped before the reply was whole.
            GoneError: the client left.

        """
        await self.start()
        return await self.rest()

    async def rest(self) -> list[Reply]:
        """What is to come of replies that have begun; see whole."""
        replies: dict[int, Reply] = {}
        try:
            while len(replies) < self.num_replies:
                delta = await self.next()
                if delta is not None and delta.reply is not None:
                    replies[delta.index] = delta.reply
            return [replies[index] for index in sorted(replies)]
        finally:
            self.close()

    def close(self) -> None:
        """Stop what still runs; harmless after the end."""
        with self._lock:
            self._is_closed = True
            exchanges = list(self._exchanges)
        if self._watcher is not None:
            self._watcher.cancel()
        for exchange in exchanges:
            if not exchange.is_done:
                self._loop.run_in_executor(None, exchange.cancel)

    def _begin(self, number: int) -> None:
        chat = self._chats[number]
        offset = number * chat.ask.n

        def receive(delta: Delta) -> None:
            self._receive(msgspec.structs.replace(delta, index=delta.index + offset) if offset else delta)

        exchange = self._pipeline.chat(chat, receive)
        with self._lock:
            self._exchanges.append(exchange)
            is_closed = self._is_closed
        if is_closed:
            exchange.cancel()

    def _receive(self, delta: Delta) -> None:
        """The sink, called from the model's thread."""
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, delta)
        except (
            RuntimeError
        ):  # the loop is closed: the server has stopped, and the model must not fall over that
            self._is_closed = True

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._queue.put_nowait(None)
        self.close()
