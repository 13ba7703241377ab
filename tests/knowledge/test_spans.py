import pytest

from fakes_knowledge import ScriptedModel
from mainspring.knowledge.answer import Assistant, Limits
from mainspring.knowledge.scope import Scope
from mainspring.knowledge.spans import mean, spans_of
from mainspring.prompts.template import GroundedPrompt
from mainspring.schema import Message, Reply, Sampling, Span, Usage

TRAIN = [Message(role="user", content="When does the night train leave Vienna?")]


def scores(*pieces):
    """A span a piece of text, with its number as both figures."""
    spans, start = [], 0
    for number, piece in enumerate(pieces, start=1):
        spans.append(Span(start=start, end=start + len(piece), logprob=-number, entropy=number))
        start += len(piece)
    return tuple(spans)


def plain(*pieces):
    text = "".join(pieces)
    return Reply(
        text=text, ids=(1,), prompt_ids=(), finish_reason="stop", usage=Usage(), scores=scores(*pieces)
    )


def test_every_sentence_has_the_mean_of_the_ids_that_wrote_it():
    found = spans_of(plain("One", " two", ".", " Three", "."))
    assert [(each.start, each.end, each.logprob, each.entropy) for each in found] == [
        (0, 8, -2.0, 2.0),
        (9, 15, -4.5, 4.5),
    ]


def test_an_id_on_a_border_counts_in_both_and_one_without_text_in_none():
    found = spans_of(plain("One", ". T", "wo", "", "."))
    assert [each.logprob for each in found] == [-1.5, -10 / 3]
    assert mean(scores("One", ""), 3, 9) is None


def test_a_text_without_scores_has_no_spans():
    assert spans_of(Reply(text="One.", ids=(), prompt_ids=(), finish_reason="stop", usage=Usage())) == ()


class Scored(ScriptedModel):
    """Its answers' characters get surer by the number, one id each."""

    def reply(self, messages, sampling):
        said = super().reply(messages, sampling)
        return plain(*said.text)


@pytest.fixture
def ask(retriever):
    def call(said, confidence=lambda reply: 0.25):
        assistant = Assistant(
            "mainspring", Scored(said), retriever, scope=Scope(), prompt=GroundedPrompt(),
            sampling=Sampling(), limits=Limits(threshold=0.4), confidence=confidence,
        )  # fmt: skip
        return assistant.reply(TRAIN, Sampling()).answer

    return call


def test_a_released_sentence_keeps_the_sureness_of_where_it_was_written(ask):
    dropped, kept = "It leaves Paris at 09:15. ", "The night train leaves Vienna at 21:40."
    answer = ask(dropped + kept)
    (span,) = answer.spans
    assert answer.text[span.start : span.end] == kept == answer.text
    numbers = range(len(dropped) + 1, len(dropped + kept) + 1)
    assert span.logprob == pytest.approx(-sum(numbers) / len(kept))


def test_only_an_answer_of_the_models_own_words_carries_a_confidence(ask):
    assert ask("The night train leaves Vienna at 21:40.").confidence == 0.25
    quoted = ask("It leaves at 23:59.")
    assert (quoted.kind, quoted.confidence, quoted.spans) == ("extracted", None, ())
