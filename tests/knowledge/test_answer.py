import threading

import pytest

from fakes_knowledge import ScriptedModel
from mainspring.errors import ChatError, ContextLengthError, MainspringError
from mainspring.knowledge.answer import ABSTENTION, Assistant, Limits
from mainspring.knowledge.scope import Scope
from mainspring.prompts.template import GroundedPrompt
from mainspring.schema import Delta, Message, Sampling

TRAIN = [Message(role="user", content="When does the night train leave Vienna?")]
PAINTER = [Message(role="user", content="Who painted the ceiling of the chapel?")]


def assistant(retriever, model, threshold=0.4):
    return Assistant(
        "mainspring", model, retriever, scope=Scope(), prompt=GroundedPrompt(),
        sampling=Sampling(max_tokens=32), limits=Limits(threshold=threshold), reference="assistant/base@1",
    )  # fmt: skip


def check_citations(retriever, reply):
    for citation in reply.answer.citations:
        text = retriever.store.document(citation.document, Scope()).text
        assert text[citation.start : citation.end] == citation.quote
        assert reply.text[citation.sentence_start : citation.sentence_end].strip()


def test_a_supported_sentence_is_released_with_the_place_that_says_so(retriever):
    reply = assistant(retriever, ScriptedModel("At 21:40.")).reply(TRAIN, Sampling())
    assert (reply.text, reply.answer.kind) == ("At 21:40.", "generated")
    assert [c.quote for c in reply.answer.citations] == ["The night train leaves Vienna at 21:40."]
    check_citations(retriever, reply)


def test_unsupported_sentences_are_dropped_and_the_rest_stays(retriever):
    model = ScriptedModel(
        "It leaves Paris at 09:15 [1]. The night train leaves Vienna at 21:40. Enjoy 7 free meals."
    )
    reply = assistant(retriever, model).reply(TRAIN, Sampling())
    assert reply.text == "The night train leaves Vienna at 21:40."
    assert reply.attributes["mainspring.generated"].startswith("It leaves Paris")


def test_where_nothing_is_supported_the_best_sentence_is_quoted_and_marked(retriever):
    reply = assistant(retriever, ScriptedModel("It leaves at 23:59.")).reply(TRAIN, Sampling())
    assert reply.answer.kind == "extracted"
    assert reply.text == "Rail says: “The night train leaves Vienna at 21:40.”"
    check_citations(retriever, reply)


def test_where_nothing_is_near_the_model_is_not_asked_and_the_hits_stay(retriever):
    model = ScriptedModel()
    reply = assistant(retriever, model).reply(PAINTER, Sampling())
    assert (reply.text, reply.answer.kind, model.conversations) == (ABSTENTION, "abstained", [])
    assert reply.answer.hits
    assert reply.answer.citations == ()


def test_a_model_that_does_not_know_is_believed(retriever):
    reply = assistant(retriever, ScriptedModel("I don't know.")).reply(TRAIN, Sampling())
    assert (reply.text, reply.answer.kind) == (ABSTENTION, "abstained")


@pytest.mark.parametrize("step", [1, 4, 1000])
@pytest.mark.parametrize(
    "said",
    [
        "The night train leaves Vienna at 21:40. A sleeper ticket costs 59 euros.",
        "Never. Ever.",
        "It costs 99.",
        "",
    ],
)
def test_a_stream_adds_up_to_the_whole_answer(retriever, said, step):
    deltas = []
    whole = assistant(retriever, ScriptedModel(said)).reply(TRAIN, Sampling())
    streamed = (
        assistant(retriever, ScriptedModel(said, step=step)).start(TRAIN, Sampling(), deltas.append).wait()
    )
    assert "".join(delta.text for delta in deltas) == streamed.text == whole.text
    assert [delta.reply is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    assert deltas[-1].reply.answer == whole.answer
    assert streamed == whole


def test_an_abstention_streams_too(retriever):
    deltas = []
    generation = assistant(retriever, ScriptedModel()).start(PAINTER, Sampling(), deltas.append)
    assert generation.wait().answer.kind == "abstained"
    assert [delta.text for delta in deltas] == [ABSTENTION, ""]


def test_many_conversations_are_answered_in_order(retriever):
    found = assistant(retriever, ScriptedModel("At 21:40.", "59 euros")).replies(
        [
            TRAIN,
            PAINTER,
            [Message(role="user", content="How many euros does a sleeper ticket for the train cost?")],
        ],
        Sampling(),
    )
    assert [reply.text for reply in found] == ["At 21:40.", ABSTENTION, "59 euros"]


def test_the_trace_names_assistant_documents_and_the_exact_messages(retriever):
    model = ScriptedModel("At 21:40.")
    one = assistant(retriever, model)
    reply = one.reply(TRAIN, Sampling())
    messages, hits = one.prompt_messages(TRAIN[0].content)
    assert model.conversations == [messages]
    assert reply.attributes["mainspring.assistant"] == "assistant/base@1"
    assert reply.attributes["mainspring.prompt.messages"] == [
        {"role": message.role, "content": message.content} for message in messages
    ]
    assert reply.attributes["mainspring.documents"] == [[hit.chunk.document, 1, hit.chunk.id] for hit in hits]
    assert reply.attributes["model"] == "scripted"


def test_a_system_message_is_refused_and_the_plain_model_named(retriever):
    with pytest.raises(ChatError, match="'scripted'"):
        assistant(retriever, ScriptedModel()).start(
            [Message(role="system", content="Obey."), *TRAIN], Sampling()
        )


def test_a_cancelled_answer_ends_with_what_was_released(retriever):
    model = ScriptedModel("The night train leaves Vienna at 21:40. A sleeper ticket costs 59 euros.", step=45)
    model.hold.clear()
    released = threading.Event()
    generation = assistant(retriever, model).start(TRAIN, Sampling(), lambda _: released.set())
    assert released.wait(5)
    generation.cancel()
    model.hold.set()
    reply = generation.wait()
    assert (reply.finish_reason, reply.text) == ("cancelled", "The night train leaves Vienna at 21:40.")


def test_a_model_that_fails_in_the_middle_ends_the_stream_with_its_error(retriever):
    class Failing(ScriptedModel):
        def start(self, messages, sampling, sink=None, *, ask=None):
            sink(Delta(text="The night "))
            sink(Delta(error="out of memory"))
            return Broken()

    class Broken:
        prompt_ids = (1,)

        def cancel(self):
            pass

        def wait(self):
            raise MainspringError("out of memory")

    deltas = []
    generation = assistant(retriever, Failing()).start(TRAIN, Sampling(), deltas.append)
    with pytest.raises(MainspringError, match="out of memory"):
        generation.wait()
    assert [delta.error for delta in deltas] == ["out of memory"]


def test_a_question_too_long_to_search_with_is_refused_and_not_answered_with_i_do_not_know(retriever):
    model = ScriptedModel()
    with pytest.raises(ContextLengthError, match=r"10,000 characters.*8,000 at most. Shorten it"):
        assistant(retriever, model).start([Message(role="user", content="word " * 2_000)], Sampling())
    assert model.conversations == []
