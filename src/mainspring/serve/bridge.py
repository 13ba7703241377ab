"""From the model's thread to the event loop: deltas in, and word back when the client is gone."""

import asyncio
import threading

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from mainspring.errors import MainspringError
from mainspring.gateway.exchange import Exchange
from mainspring.gateway.pipeline import Pipeline
from mainspring.schema import ChatRequest, Delta, Reply


class GoneError(MainspringError):
    """The client left before its answer was whole; nobody reads this."""

    status = 499


class Bridge:
    """One generation as the event loop sees it.

    A watcher reads the connection all the while: when the client leaves, the generation is cancelled at once,
    also while it has not said a word or the loop waits for a slow reader.
    """

    def __init__(self, pipeline: Pipeline, chat: ChatRequest, request: Request) -> None:
        self._pipeline = pipeline
        self._chat = chat
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Delta | None] = asyncio.Queue()
        self._watcher: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def exchange(self) -> Exchange:
        assert self._exchange is not None, "start() comes first"
        return self._exchange

    async def start(self) -> Delta:
        """Begin, and wait for the first delta: until then an error can still be answered with its own status.

        Raises:
            MainspringError: whatever the pipeline or the model refuses.
            GoneError: the client left.

        """
        self._watcher = asyncio.create_task(self._watch())
        try:
            await run_in_threadpool(self._begin)
            return await self.next()
        except BaseException:
            self.close()
            raise

    async def next(self) -> Delta:
        """The next delta; a failed one is raised as the model's own error, which has its own status."""
        delta = await self._queue.get()
        if delta is None:
            raise GoneError("The client left.")
        if delta.error is not None:
            await run_in_threadpool(self.exchange.wait)
            raise MainspringError(delta.error)
        return delta

    async def whole(self) -> Reply:
        """Wait for the whole reply.

        Raises:
            MainspringError: the model failed, or the server stopped before the reply was whole.
            GoneError: the client left.

        """
        try:
            delta = await self.start()
            while delta.reply is None:
                delta = await self.next()
            return finished(delta.reply)
        finally:
            self.close()

    def close(self) -> None:
        """Stop what still runs; harmless after the end."""
        with self._lock:
            self._is_closed = True
            exchange = self._exchange
        if self._watcher is not None:
            self._watcher.cancel()
        if exchange is not None and exchange.reply is None and exchange.error is None:
            self._loop.run_in_executor(None, exchange.cancel)

    def _begin(self) -> None:
        exchange = self._pipeline.chat(self._chat, self._receive)
        with self._lock:
            self._exchange = exchange
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


def finished(reply: Reply) -> Reply:
    """The reply, unless it was cut short by something other than its client."""
    if reply.finish_reason == "cancelled":
        raise MainspringError(
            "The reply was cut short because the server is stopping. Send the request again."
        )
    return reply
