import pytest

from mainspring.evaluate.answers import GENERATED, judge, summarize
from mainspring.evaluate.gold import Gold
from mainspring.schema import Answer, Reply, Usage

ITEM = Gold(id="a", question="Who?", answer="Ada Lovelace")
UNANSWERABLE = Gold(id="u", question="Why?")


def reply(text: str, kind: str = "generated", generated: str | None = None) -> Reply:
    return Reply(
        text=text,
        ids=(),
        prompt_ids=(),
        finish_reason="stop",
        usage=Usage(),
        answer=Answer(text=text, kind=kind),  # type: ignore[arg-type]
        attributes={} if generated is None else {GENERATED: generated},
    )


def test_the_generated_text_is_judged_even_where_another_was_shown():
    judged = judge(ITEM, reply("I don't know.", "abstained", generated="Ada Lovelace"))
    assert (judged.f1, judged.exact, judged.kind) == (1.0, 1.0, "abstained")
    assert judged.shown == "I don't know."


def test_an_unanswerable_question_has_no_score():
    judged = judge(UNANSWERABLE, reply("Because."))
    assert (judged.f1, judged.exact) == (None, None)


def test_a_summary_keeps_answerable_and_unanswerable_questions_apart():
    judged = [
        judge(ITEM, reply("Ada Lovelace")),
        judge(ITEM, reply("somebody", "extracted")),
        judge(ITEM, reply("", "abstained")),
        judge(UNANSWERABLE, reply("I don't know.", "abstained")),
        judge(UNANSWERABLE, reply("Because.")),
    ]
    summary = summarize(judged)
    assert summary.f1 == summary.exact == pytest.approx(1 / 3)
    assert summary.generated == summary.extracted == summary.abstained_answerable == pytest.approx(1 / 3)
    assert summary.abstained_unanswerable == 0.5


def test_a_summary_of_nothing_is_zero():
    assert summarize([]).f1 == 0.0
