"""How sure a model was of each sentence that it wrote, from what is known of its ids anyway."""

import bisect
from collections.abc import Sequence

from mainspring.knowledge import sentences
from mainspring.schema import Reply, Span


def spans_of(reply: Reply) -> tuple[Span, ...]:
    """The sentences of a reply that the model wrote: those that an assistant let pass, all of a plain model's."""
    if reply.answer is not None:
        return reply.answer.spans
    found = (mean(reply.scores, *edges) for edges in sentences.split(reply.text) if reply.scores)
    return tuple(span for span in found if span is not None)


def mean(scores: Sequence[Span], start: int, end: int) -> Span | None:
    """The mean over the ids that wrote some of the characters from `start` to `end`; None where none did.

    An id on the border of two sentences counts in both.
    """
    first = bisect.bisect_right(scores, start, key=lambda each: each.end)
    last = bisect.bisect_left(scores, end, key=lambda each: each.start)
    inside = [each for each in scores[first:last] if each.end > each.start]
    if not inside:
        return None
    return Span(
        start=start, end=end, logprob=sum(each.logprob for each in inside) / len(inside),
        entropy=sum(each.entropy for each in inside) / len(inside),
    )  # fmt: skip
