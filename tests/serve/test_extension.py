from mainspring.schema import Answer, Reply, Span, Usage
from mainspring.serve.extension import extension

SPAN = Span(start=0, end=4, logprob=-0.5, entropy=0.9)


def reply(answer=None, ids=(7,)):
    return Reply(
        text="One.", ids=ids, prompt_ids=(), finish_reason="stop", usage=Usage(), logprob=-0.5, entropy=0.9,
        scores=(SPAN,) if ids else (), answer=answer,
    )  # fmt: skip


def test_a_plain_reply_tells_how_sure_its_words_were_and_no_confidence():
    told = extension("req-1", reply())
    assert (told.logprob, told.entropy, told.spans, told.confidence) == (-0.5, 0.9, (SPAN,), None)


def test_an_answer_carries_its_confidence():
    told = extension("req-1", reply(Answer(text="One.", kind="generated", spans=(SPAN,), confidence=0.72)))
    assert (told.logprob, told.spans, told.confidence) == (-0.5, (SPAN,), 0.72)


def test_a_quote_is_not_said_to_be_as_sure_as_what_was_not_shown():
    told = extension("req-1", reply(Answer(text="“One.”", kind="extracted")))
    assert (told.logprob, told.entropy, told.spans, told.confidence) == (None, None, (), None)
