import msgspec
import pytest

from fakes_knowledge import HashEmbedder, sources
from fakes_knowledge import ScriptedModel as Scripted
from fakes_model import House, ScriptedModel, Shelf, assistant, broken
from mainspring.errors import AuthenticationError, ChatError, MainspringError, NotFoundError
from mainspring.gateway.base import AnswerRecord
from mainspring.knowledge.answer import Assistant, Limits
from mainspring.knowledge.retrieve import Retriever
from mainspring.knowledge.scope import Scope
from mainspring.knowledge.store import Store
from mainspring.knowledge.sync import IndexSettings, sync
from mainspring.prompts.template import GroundedPrompt
from mainspring.schema import Ask, ChatRequest, Message, Sampling, Tool

ASK = (Message("user", "When?"),)


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path, Shelf([assistant(), ScriptedModel("plain"), broken()]))
    yield house
    house.close()


def only(events):
    assert len(events) == 1
    return events[0]


def test_a_request_leaves_one_root_span_with_all_that_is_known_of_it(house):
    deltas = []
    exchange = house.pipeline.chat(
        ChatRequest(model="plain", messages=ASK, overrides={"seed": 4}), deltas.append
    )
    reply = exchange.wait()
    assert "".join(delta.text for delta in deltas) == reply.text == "Hello there."
    span = only(house.events("span"))
    assert span.subject == exchange.id
    assert (span.data["name"], span.data["parent"]) == ("chat plain", None)
    attributes = span.data["attributes"]
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.request.model"] == attributes["gen_ai.response.model"] == "plain"
    assert attributes["gen_ai.request.seed"] == 4
    assert attributes["gen_ai.usage.input_tokens"] == 5
    assert attributes["gen_ai.usage.output_tokens"] == 2
    assert attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert attributes["mainspring.prompt.ids"] == list(b"When?") == list(exchange.prompt_ids)
    assert attributes["mainspring.output.ids"] == [0, 1]
    assert attributes["mainspring.engine.mode"] == "exact"
    assert 0 < attributes["mainspring.time_to_first_token_s"] <= span.data["duration_s"]


def test_an_answer_is_remembered_with_what_feedback_and_training_need(house):
    exchange = house.pipeline.chat(ChatRequest(model="mainspring", messages=ASK))
    exchange.wait()
    event = only(house.events("answer"))
    record = msgspec.convert(event.data, AnswerRecord)
    assert event.subject == exchange.id
    assert (record.model, record.kind, record.assistant) == (
        "mainspring",
        "generated",
        "assistant/mainspring@1",
    )
    assert record.messages == record.prompt_messages == ASK
    assert record.text == "A fine question 🪨. It was built in 1890."
    assert record.citations[0].number == 1


def test_what_is_asked_of_an_assistant_reaches_its_model(house, tmp_path):
    asks = []

    class Model(Scripted):
        def start(self, messages, sampling, sink=None, *, ask=None):
            asks.append(ask)
            return super().start(messages, sampling, sink)

    store = Store(tmp_path / "knowledge.db")
    sync(store, sources(), HashEmbedder(), IndexSettings())
    house.shelf.models["documents"] = Assistant(
        "documents", Model("At 21:40."), Retriever(store, HashEmbedder()), scope=Scope(), prompt=GroundedPrompt(),
        sampling=Sampling(), limits=Limits(threshold=0.4),
    )  # fmt: skip
    wanted = Ask(priority=2, deadline_s=5.0, salt="grains", tools=(Tool(name="look"),), tool_choice="none")
    question = (Message("user", "When does the night train leave Vienna?"),)
    reply = house.pipeline.chat(ChatRequest(model="documents", messages=question, ask=wanted)).wait()
    assert reply.text == "At 21:40."
    assert asks == [msgspec.structs.replace(wanted, tenant="local", tools=())]
    del house.shelf.models["documents"]
    store.close()


def test_the_messages_the_model_was_shown_are_remembered(house):
    shown = (Message("system", "Use the text."), Message("user", "Text: ... When?"))
    model = house.shelf.models["mainspring"]
    make = model._reply
    model._reply = lambda run: msgspec.structs.replace(
        make(run), attributes={"mainspring.prompt.messages": shown}
    )
    house.pipeline.chat(ChatRequest(model="mainspring", messages=ASK)).wait()
    record = msgspec.convert(only(house.events("answer")).data, AnswerRecord)
    assert (record.messages, record.prompt_messages) == (ASK, shown)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (ChatRequest(model="nothing", messages=ASK), NotFoundError),
        (ChatRequest(model="plain", messages=(Message("tool", "x"),)), ChatError),
        (ChatRequest(model="plain", messages=()), ChatError),
    ],
)
def test_a_refused_request_is_traced_with_its_error_and_leaves_no_answer(house, request_, error):
    with pytest.raises(error) as raised:
        house.pipeline.chat(request_)
    attributes = only(house.events("span")).data["attributes"]
    assert attributes["error"] == error.__name__
    assert attributes["error_message"] == str(raised.value)
    assert house.events("answer") == []


def test_a_late_failure_reaches_the_sink_the_waiter_and_the_trace(house):
    deltas = []
    exchange = house.pipeline.chat(ChatRequest(model="broken", messages=ASK), deltas.append)
    with pytest.raises(MainspringError, match="fell over"):
        exchange.wait()
    assert deltas[-1].error == "the model fell over"
    assert only(house.events("span")).data["attributes"]["error"] == "MainspringError"
    assert house.events("answer") == []


def test_a_cancelled_request_is_traced_as_such(house):
    house.shelf.models["plain"].step_s = 0.05
    exchange = house.pipeline.chat(ChatRequest(model="plain", messages=ASK))
    exchange.cancel()
    assert exchange.wait().finish_reason == "cancelled"
    attributes = only(house.events("span")).data["attributes"]
    assert attributes["gen_ai.response.finish_reasons"] == ["cancelled"]


def test_embeddings_are_traced_and_counted(house):
    done = house.pipeline.embed("bytes", ["one two", "three"])
    assert (done.vectors.shape, done.num_tokens) == ((2, 4), 3)
    span = only(house.events("span"))
    assert (span.subject, span.data["name"]) == (done.request, "embeddings bytes")
    assert span.data["attributes"]["gen_ai.usage.input_tokens"] == 3
    with pytest.raises(NotFoundError):
        house.pipeline.embed("nothing", ["x"])
    assert house.events("span")[1].data["attributes"]["error"] == "NotFoundError"


def test_a_wrong_key_reaches_no_model(tmp_path):
    house = House(tmp_path, Shelf([ScriptedModel("plain")]), key="right")
    with pytest.raises(AuthenticationError):
        house.pipeline.chat(ChatRequest(model="plain", messages=ASK, key="wrong"))
    with pytest.raises(AuthenticationError):
        house.pipeline.embed("bytes", ["x"])
    assert house.shelf.models["plain"].runs == []
    house.close()
