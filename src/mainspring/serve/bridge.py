"""From the models' threads to the event loop: deltas in, and word back when the client is gone."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive

from mainspring.errors import MainspringError
from mainspring.gateway.exchange import Exchange
from mainspring.gateway.pipeline import Pipeline
from mainspring.protocols import Sink
from mainspring.schema import ChatRequest, Delta, Reply


class GoneError(MainspringError):
    """The client left before its answer was whole; nobody reads this."""

    status = 499


class Post:
    """Carries deltas from threads to queues of an event loop: all that have come when it wakes, at one waking."""

    def __init__(self) -> None:
        self._items, self._is_called = deque[tuple[_Queue, Delta]](), False

    def put(self, loop: asyncio.AbstractEventLoop, queue: "_Queue", delta: Delta) -> None:
        self._items.append((queue, delta))
        if not self._is_called:
            self._is_called = True
            with contextlib.suppress(RuntimeError):  # a closed loop: a stopped server must not stop the model
                loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_called = False  # first: what comes from here on is in the deque before it asks
        while self._items:
            queue, delta = self._items.popleft()
            queue.put_nowait(delta)


_Queue = asyncio.Queue[Delta | GoneError | None]  # None where nothing has come for a while
# a loop has one, as long as it lives
_posts: WeakKeyDictionary[asyncio.AbstractEventLoop, Post] = WeakKeyDictionary()


class Bridge:
    """One request as the event loop sees it: one generation, or one for each of several prompts.

    The replies to prompt i have the indices from i * n. A watcher reads the connection all the while: when the
    client leaves, everything is cancelled at once, also while it has not said a word or the loop waits for a
    slow reader. `receive` is where the client would say so.
    """

    def __init__(self, pipeline: Pipeline, chats: Sequence[ChatRequest], receive: Receive) -> None:
        self._pipeline, self._chats, self._receive = pipeline, chats, receive
        self._loop = asyncio.get_running_loop()
        self._post = _posts.setdefault(self._loop, Post())
        self._queue: _Queue = asyncio.Queue()
        self._ticker: asyncio.TimerHandle | None = None
        self._is_silent = False
        self._watcher: asyncio.Task[None] | None = None
        self._exchanges: list[Exchange] = []
        self._replies: dict[int, Reply] = {}
        self._is_closed = False
        self.num_replies = sum(chat.ask.n for chat in chats)

    @property
    def exchange(self) -> Exchange:
        """The first one, whose id is the request's."""
        assert self._exchanges, "start() comes first"
        return self._exchanges[0]

    def prompt_ids(self, index: int) -> tuple[int, ...]:
        """What the model was shown for the reply of this index."""
        return self._exchanges[index * len(self._exchanges) // self.num_replies].prompt_ids

    @property
    def replies(self) -> list[Reply]:
        """Those that are whole, by their indices."""
        return [self._replies[index] for index in sorted(self._replies)]

    @property
    def is_whole(self) -> bool:
        return len(self._replies) == self.num_replies

    async def start(self) -> None:
        """Begin, once, or raise what the pipeline or the model refuses."""
        if self._watcher is not None:
            return
        self._watcher = asyncio.create_task(self._watch())
        try:
            await run_in_threadpool(self._begin)
        except BaseException:
            self.close()
            raise

    @property
    def has_more(self) -> bool:
        """Whether `next` has a delta at hand."""
        return not self._queue.empty()

    def tick_every(self, seconds: float) -> None:
        """From now on `next` returns None where nothing has come for a while: `seconds` to twice as long."""

        def tick() -> None:
            if self._is_silent:
                self._queue.put_nowait(None)
            self._is_silent = True
            self._ticker = self._loop.call_later(seconds, tick)

        tick()

    async def next(self) -> Delta | None:
        """The next delta; None is said by tick_every.

        Raises:
            MainspringError: the model failed, with its own error, or the server stopped before the reply was whole.
            GoneError: the client left.

        """
        delta = await self._queue.get()
        if delta is None:
            return None
        if isinstance(delta, GoneError):
            raise delta
        self._is_silent = False
        if delta.error is not None:
            for exchange in self._exchanges:
                if exchange.error is not None:
                    await run_in_threadpool(exchange.wait)
            raise MainspringError(delta.error)
        if delta.reply is not None:
            if delta.reply.finish_reason == "cancelled":
                raise MainspringError(
                    "The reply was cut short because the server is stopping. Send the request again."
                )
            self._replies[delta.index] = delta.reply
        return delta

    async def whole(self) -> list[Reply]:
        """Begin and wait for the whole replies; raises what start and next do."""
        await self.start()
        try:
            while not self.is_whole:
                await self.next()
            return self.replies
        finally:
            self.close()

    def close(self) -> None:
        """Stop what still runs; harmless after the end."""
        self._is_closed = True  # before it looks at the exchanges, and _begin asks after it has added one
        for each in (self._watcher, self._ticker):
            if each is not None:
                each.cancel()
        for exchange in list(self._exchanges):
            if not exchange.is_done:
                self._loop.run_in_executor(None, exchange.cancel)

    def _begin(self) -> None:
        first = 0
        for chat in self._chats:
            exchange = self._pipeline.chat(chat, self._sink(first))
            first += chat.ask.n
            self._exchanges.append(exchange)
            if self._is_closed:
                exchange.cancel()

    def _sink(self, first: int) -> Sink:
        """What the model's thread calls with the deltas of the replies from index `first` on."""

        def sink(delta: Delta) -> None:
            delta = msgspec.structs.replace(delta, index=delta.index + first) if first else delta
            self._post.put(self._loop, self._queue, delta)

        return sink

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._queue.put_nowait(GoneError("The client left."))
        self.close()


async def never() -> Message:
    """What a client says that never leaves."""
    return await asyncio.Future[Message]()
