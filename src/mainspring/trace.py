"""Spans of a request, written to the log as events of type "span".

The attribute names are OpenTelemetry's GenAI names (semantic conventions 1.37) where they have one.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mainspring.events import Event, EventLog

OPERATION = "gen_ai.operation.name"
MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "mainspring.usage.cached_tokens"
FINISH_REASONS = "gen_ai.response.finish_reasons"
ASSISTANT = "mainspring.assistant"
ADAPTER = "mainspring.adapter"
PROMPT = "mainspring.prompt"
PROMPT_MESSAGES = "mainspring.prompt.messages"
TIME_TO_FIRST_S = "mainspring.time_to_first_token_s"
PROMPT_IDS = "mainspring.prompt.ids"
OUTPUT_IDS = "mainspring.output.ids"
ENGINE_MODE = "mainspring.engine.mode"
ENGINE_BACKEND = "mainspring.engine.backend"
KERNEL_PLAN = "mainspring.engine.kernel_plan"
MODEL_ARTIFACT = "mainspring.model"
SEED = "mainspring.engine.seed"
LOGPROB = "mainspring.output.logprob"
ENTROPY = "mainspring.output.entropy"
SPANS = "mainspring.output.spans"
CONFIDENCE = "mainspring.output.confidence"
RECORDINGS = "mainspring.engine.recordings"

_ANNOUNCED: ContextVar[Iterator[str]] = ContextVar("announced")  # gives one id, once


class Span:
    """One timed piece of a request; `set` adds what is known only later."""

    def __init__(self, name: str, request: str, parent: str | None, attributes: dict[str, Any]) -> None:
        self.name, self.request, self.parent = name, request, parent
        self.id = uuid.uuid4().hex[:16]
        self.attributes = attributes
        self.start = time.time()

    def set(self, **attributes: Any) -> None:
        self.attributes.update(attributes)

    def update(self, attributes: dict[str, Any]) -> None:
        """Like set, for names with dots in them."""
        self.attributes.update(attributes)


class Tracer:
    """Makes spans and puts the finished ones into the log; nesting follows the thread."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._local = threading.local()

    @contextmanager
    def span(self, name: str, request: str, **attributes: Any) -> Iterator[Span]:
        """Time a block; an exception is recorded by its type and goes on."""
        outer: Span | None = getattr(self._local, "span", None)
        span = Span(name, request, outer.id if outer else None, attributes)
        self._local.span = span
        try:
            yield span
        except BaseException as error:
            span.set(error=type(error).__name__)
            raise
        finally:
            self._local.span = outer
            self.finish(span)

    def begin(self, name: str, request: str, **attributes: Any) -> Span:
        """A span that outlives the calling block, such as a stream's; end it with finish()."""
        outer: Span | None = getattr(self._local, "span", None)
        return Span(name, request, outer.id if outer else None, attributes)

    def finish(self, span: Span) -> None:
        data = {
            "name": span.name, "span": span.id, "parent": span.parent, "start": span.start,
            "duration_s": time.time() - span.start, "attributes": span.attributes,
        }  # fmt: skip
        self._log.put(Event(type="span", subject=span.request, data=data))

    def put(self, event: Event) -> None:
        """An event that belongs to a request, behind the spans that were finished before it."""
        self._log.put(event)


def announce_request_id() -> str:
    """The id that this context's next request will have, for who answers with it whatever comes of the request."""
    _ANNOUNCED.set(iter(()))
    identity = new_request_id()
    _ANNOUNCED.set(iter([identity]))
    return identity


def new_request_id() -> str:
    return next(_ANNOUNCED.get(iter(())), None) or f"req-{uuid.uuid4().hex[:20]}"
