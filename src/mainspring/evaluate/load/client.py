"""A streaming client of the OpenAI dialect that costs little: it shares the machine with what it measures."""

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from mainspring.errors import ConfigError
from mainspring.evaluate.load.mix import Asked

LIMIT_S = 600


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()


class _Event(msgspec.Struct, frozen=True):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: object = None


@dataclass(slots=True)
class Answered:
    """One request as its client saw it; moments are seconds on the clock of time.perf_counter()."""

    begun: float
    pieces: list[float] = field(default_factory=list)
    ended: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str = ""

    @property
    def first_token_s(self) -> float:
        return self.pieces[0] - self.begun

    @property
    def gaps_s(self) -> list[float]:
        return [after - before for before, after in zip(self.pieces, self.pieces[1:], strict=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server's address, the model asked for and the key that it wants, if any."""

    url: str
    model: str
    key: str | None = None

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ConfigError(f"The server is '{self.url}'; it must be http://HOST:PORT.")
        return parts.hostname, parts.port or 80


async def ask(target: Target, asked: Asked) -> Answered:
    """Send one request and read its stream to the end; a failure is in the result."""
    answered = Answered(begun=time.perf_counter())
    try:
        await asyncio.wait_for(_stream(target, asked, answered), LIMIT_S)
    except (OSError, TimeoutError, EOFError, msgspec.DecodeError) as error:
        answered.error = f"{type(error).__name__}: {error}"
    answered.ended = time.perf_counter()
    if not answered.error and not answered.pieces:
        answered.error = "the stream brought no text"
    return answered


async def _stream(target: Target, asked: Asked, answered: Answered) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.create_connection(lambda: _Reader(answered, ended), *target.address)
    try:
        transport.write(_request(target, asked))
        await ended
    finally:
        transport.close()


class _Reader(asyncio.Protocol):
    """Takes the events of one response as they come, a line each; lines of other kinds say nothing here."""

    def __init__(self, answered: Answered, ended: "asyncio.Future[None]") -> None:
        self._answered, self._ended = answered, ended
        self._rest, self._has_begun = b"", False

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            for line in lines:
                self._read(line)
        except msgspec.DecodeError as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or EOFError("the stream ended before its last event"))

    def _read(self, line: bytes) -> None:
        if not self._has_begun:
            status = line.split()[1:2]
            self._has_begun = True
            if status != [b"200"]:
                self._answered.error = f"HTTP {b''.join(status).decode() or 'nothing'}"
                self._end(None)
        elif line.startswith(b"data: [DONE]"):
            self._end(None)
        elif line.startswith(b"data:"):
            _take(_decoder.decode(line[5:]), self._answered)

    def _end(self, error: Exception | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


_decoder = msgspec.json.Decoder(_Event)


def _request(target: Target, asked: Asked) -> bytes:
    body = msgspec.json.encode(
        {
            "model": target.model,
            "messages": [{"role": "user", "content": asked.text}],
            "stream": True,
            "max_tokens": asked.max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream_options": {"include_usage": True},
        }
    )
    key = f"Authorization: Bearer {target.key}\r\n" if target.key else ""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {urlsplit(target.url).netloc}\r\n{key}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def _take(event: _Event, answered: Answered) -> None:
    if event.error is not None:
        answered.error = str(event.error)
    if any(choice.delta.content for choice in event.choices):
        answered.pieces.append(time.perf_counter())
    if event.usage is not None:
        answered.prompt_tokens = event.usage.prompt_tokens
        answered.completion_tokens = event.usage.completion_tokens
