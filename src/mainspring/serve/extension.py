"""The one field that is ours in every dialect, `mainspring`: why an answer may be believed."""

import msgspec
from msgspec.structs import asdict, replace

from mainspring.gateway.pipeline import assistant_of
from mainspring.knowledge.spans import spans_of
from mainspring.schema import Chunk, Citation, Reply, Span


class Passage(Chunk, frozen=True, kw_only=True):
    """A stored passage that was found for the question."""

    id: str = msgspec.field(name="chunk")
    score: float


class Extension(msgspec.Struct, frozen=True, kw_only=True):
    """The field `mainspring`: why an answer may be believed, and what feedback on it must name.

    `kind` is null when a plain model answered. `text` is the whole answer where it differs from what was
    streamed before (a client then shows it instead), else null. Positions count characters (code points).
    `logprob` and `entropy` are means over the ids that the model wrote, null where nothing of it is shown; `spans`
    has them by sentence. `confidence` is the chance of being right, null where it is not calibrated.
    """

    request: str
    assistant: str | None = None
    kind: str | None = None
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()
    text: str | None = None
    logprob: float | None = None
    entropy: float | None = None
    spans: tuple[Span, ...] = ()
    confidence: float | None = None


def ending(request: str, reply: Reply, sent: str) -> tuple[str, Extension]:
    """What of the answer's text is still to be sent, and the extension."""
    text = text_of(reply)
    if text.startswith(sent):
        return text[len(sent) :], extension(request, reply)
    return "", extension(request, reply, text=text)


def text_of(reply: Reply) -> str:
    return reply.answer.text if reply.answer else reply.text


def extension(request: str, reply: Reply, *, text: str | None = None) -> Extension:
    told = Extension(request=request, assistant=assistant_of(reply), text=text, spans=spans_of(reply))
    answer = reply.answer
    if answer is not None:
        passages = tuple(Passage(**asdict(hit.chunk), score=hit.score) for hit in answer.hits)
        told = replace(
            told,
            kind=answer.kind,
            citations=answer.citations,
            passages=passages,
            confidence=answer.confidence,
        )
    if reply.ids and told.kind in (None, "generated"):
        told = replace(told, logprob=reply.logprob, entropy=reply.entropy)
    return told
