"""What is ours alone: the page, the sources behind citations, feedback, health and figures."""

from pathlib import Path

import anyio.to_thread
from msgspec.structs import asdict
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from mainspring.gateway.meter import Meter
from mainspring.observe import prometheus
from mainspring.observe.feedback import Feedback
from mainspring.serve import body as bodies
from mainspring.serve.base import Served, authenticate, respond

WEB = Path(__file__).parent / "web"


class FeedbackBody(bodies.Body, frozen=True, kw_only=True):
    request: str
    rating: str
    correction: str | None = None
    comment: str | None = None
    source: str = "user"


class Own:
    """The endpoints of the page."""

    def __init__(self, meter: Meter, feedback: Feedback, served: Served) -> None:
        self._meter, self._feedback, self._served = meter, feedback, served
        self._watchers = anyio.CapacityLimiter(4)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.page, methods=["GET"]),
            Route("/health", self.ready, methods=["GET"]),
            Route("/health/live", self.live, methods=["GET"]),
            Route("/health/ready", self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/feedback", self.give, methods=["POST"]),
            Route("/documents/{document:path}", self.document, methods=["GET"]),
            Mount("/static", StaticFiles(directory=WEB)),
        ]

    def page(self, request: Request) -> Response:
        return FileResponse(WEB / "index.html", headers={"cache-control": "no-cache"})

    async def live(self, request: Request) -> Response:
        """Whether the server's loop runs; open to whoever watches the server."""
        return respond({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Whether a request would be answered; open as well, and not behind those that wait for a thread."""
        fault = await anyio.to_thread.run_sync(self._served.health, limiter=self._watchers)
        if fault is None:
            return respond({"status": "ok"})
        return respond({"status": "failed", "detail": fault}, status=503)

    async def metrics(self, request: Request) -> Response:
        """Figures for Prometheus, to whom the key belongs."""
        authenticate(request)
        stats = await anyio.to_thread.run_sync(self._served.stats, limiter=self._watchers)
        return Response(prometheus.text(self._meter, stats), media_type=prometheus.MEDIA_TYPE)

    def document(self, request: Request) -> Response:
        """The whole text of a source, so that a citation's positions can be shown in it."""
        id_ = request.path_params["document"]
        title, text = self._served.document(id_, authenticate(request))
        return respond({"document": id_, "title": title, "text": text})

    async def give(self, request: Request) -> Response:
        """A rating, maybe with a correction; durable before the response."""
        authenticate(request)
        parsed = await bodies.read(request, FeedbackBody)
        await run_in_threadpool(self._feedback.give, **asdict(parsed))
        return respond({"status": "stored", "request": parsed.request})
