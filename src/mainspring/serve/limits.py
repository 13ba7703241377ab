"""What one client may cost: sizes and times, and the connection that holds clients to them."""

import asyncio

from pydantic import Field
from uvicorn.protocols.http.h11_impl import H11Protocol

from mainspring.config import Config


class Limits(Config):
    """Limits of a server."""

    body_bytes: int = Field(default=20_000_000, ge=1, description="Most bytes of a request's body.")
    file_bytes: int = Field(default=200_000_000, ge=1, description="Most bytes of an uploaded file.")
    header_bytes: int = Field(default=65_536, ge=1024, description="Most bytes of a request's head.")
    header_s: float = Field(default=20.0, gt=0, description="Time in which a request's head must come.")
    body_s: float = Field(default=60.0, gt=0, description="Time in which a request's body must come.")
    send_s: float = Field(default=60.0, gt=0, description="Time for which a client may read nothing.")


class Connection(H11Protocol):
    """A connection that is closed when its client sends no whole request, or reads nothing, for too long."""

    limits = Limits()
    _patience: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()  # of the next request, a part of which may be there already

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._patience, self._stuck):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(self.limits.send_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def _watch_head(self) -> None:
        """Time a head that has not come whole; a body has a time of its own."""
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self._patience is None:
            self._patience = self.loop.call_later(self.limits.header_s, self.transport.close)
        elif not waits and self._patience is not None:
            self._patience.cancel()
            self._patience = None
