"""A system asked all the questions of a set, and what it made of each."""

from collections.abc import Callable, Sequence

import msgspec

from mainspring.evaluate.gold import Gold
from mainspring.evaluate.metrics import exact_match, token_f1
from mainspring.protocols import ChatModel
from mainspring.schema import Message, Reply

GENERATED = "mainspring.generated"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One question with what came back. `f1` and `exact` judge the generated text, not the shown one.

    `num_supported` counts citations; an extracted answer's citation is its quote. Text that was generated but
    not shown, for want of support, still counts: the gate measures the model, not the filter behind it.
    """

    id: str
    question: str
    generated: str
    shown: str
    kind: str
    f1: float | None
    exact: float | None
    num_citations: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Means over a set; `abstained_unanswerable` is the part of unanswerable questions that was not answered."""

    f1: float
    exact: float
    generated: float
    extracted: float
    abstained_answerable: float
    abstained_unanswerable: float


def judge(item: Gold, reply: Reply) -> Judged:
    """Compare a reply with what was wanted."""
    generated = reply.attributes.get(GENERATED, reply.text)
    return Judged(
        id=item.id,
        question=item.question,
        generated=generated,
        shown=reply.text,
        kind=reply.answer.kind if reply.answer else "generated",
        f1=None if item.answer is None else token_f1(generated, item.answer),
        exact=None if item.answer is None else exact_match(generated, item.answer),
        num_citations=len(reply.answer.citations) if reply.answer else 0,
    )


def ask_all(
    model: ChatModel,
    items: Sequence[Gold],
    *,
    batch_size: int = 64,
    advance: Callable[[int], None] | None = None,
) -> list[tuple[Gold, Reply]]:
    """Ask every question, some at a time, with the model's own sampling."""
    pairs: list[tuple[Gold, Reply]] = []
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        conversations = [[Message(role="user", content=item.question)] for item in batch]
        pairs += zip(batch, model.replies(conversations, model.default_sampling), strict=True)
        if advance is not None:
            advance(len(batch))
    return pairs


def summarize(judged: Sequence[Judged]) -> Summary:
    answerable = [each for each in judged if each.f1 is not None]
    unanswerable = [each for each in judged if each.f1 is None]
    return Summary(
        f1=_mean([each.f1 or 0.0 for each in answerable]),
        exact=_mean([each.exact or 0.0 for each in answerable]),
        generated=_mean([each.kind == "generated" for each in answerable]),
        extracted=_mean([each.kind == "extracted" for each in answerable]),
        abstained_answerable=_mean([each.kind == "abstained" for each in answerable]),
        abstained_unanswerable=_mean([each.kind == "abstained" for each in unanswerable]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
