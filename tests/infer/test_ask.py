"""What a request may want besides a reply, from a tiny real model."""

import json
import math
import threading

import pytest

from fakes_bpe import CHATML, make_tokenizer
from fakes_engine import PLAN, make_model
from mainspring.errors import ConfigError, ContextLengthError, DeadlineError, MainspringError
from mainspring.infer.backends.torch_eager import TorchEager
from mainspring.infer.chat_model import EngineChat
from mainspring.infer.engine import Engine
from mainspring.infer.generation import seed_of
from mainspring.infer.grammar import Grammars
from mainspring.infer.request import EngineConfig
from mainspring.schema import Ask, Constraint, Message, Sampling, Tool

HELLO = [Message("user", "wind it")]
DRAWN = Sampling(temperature=1.0, seed=5, max_tokens=6)


@pytest.fixture(scope="module")
def tiny():
    config, tokenizer = EngineConfig(num_blocks=256), make_tokenizer()
    with Engine(TorchEager(make_model(), PLAN, config), config, Grammars(tokenizer)) as engine:
        yield EngineChat("tiny", engine, tokenizer, PLAN, model="model/tiny@1")


@pytest.fixture
def tooled(tiny):
    """The same with a template that names the tools in few words."""
    names = "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}"
    return EngineChat("tiny", tiny._engine, make_tokenizer(names + CHATML), PLAN, model="model/tiny@1")


def generate(chat, sampling=DRAWN, **ask):
    deltas = []
    generation = chat.start(HELLO, sampling, deltas.append, ask=Ask(**ask))
    return generation.replies(), deltas


def replace(sampling, **more):
    return Sampling(**({name: getattr(sampling, name) for name in sampling.__struct_fields__} | more))


def test_several_replies_come_through_one_sink_each_as_its_own_seed_gives_it(tiny):
    replies, deltas = generate(tiny, n=3)
    alone = [tiny.reply(HELLO, replace(DRAWN, seed=seed_of(5, index))) for index in range(3)]
    assert [reply.ids for reply in replies] == [reply.ids for reply in alone]
    assert len({reply.ids for reply in replies}) == 3
    assert replies[0].ids == tiny.reply(HELLO, DRAWN).ids
    for index, reply in enumerate(replies):
        own = [delta for delta in deltas if delta.index == index]
        assert own[-1].reply == reply
        assert reply.index == index
        assert "".join(delta.text for delta in own) == reply.text
        assert sum((delta.ids for delta in own), ()) == reply.ids


def test_the_best_of_several_is_the_one_with_the_greatest_mean_log_probability(tiny):
    (best, second), deltas = generate(tiny, n=2, best_of=5)
    every, _ = generate(tiny, n=5)
    ranked = sorted(every, key=lambda reply: -reply.logprob)
    assert (best.ids, second.ids) == (ranked[0].ids, ranked[1].ids)
    assert best.usage.completion_tokens == sum(len(reply.ids) for reply in every) - len(second.ids)
    assert [delta.index for delta in deltas] == [0, 0, 1, 1]
    assert (deltas[1].reply, deltas[3].reply) == (best, second)


def test_log_probabilities_name_the_bytes_of_every_id_and_the_best_beside_it(tiny):
    (reply,), deltas = generate(tiny, Sampling(max_tokens=5, logprobs=3))
    assert tuple(each.id for each in reply.logprobs) == reply.ids
    assert sum((delta.logprobs for delta in deltas), ()) == reply.logprobs
    for each in reply.logprobs:
        assert each.alternatives[0].id == each.id  # greedy
        assert each.alternatives[0].logprob == each.logprob
        assert len(each.alternatives) == 3
    raw = b"".join(bytes(each.bytes) for each in reply.logprobs)
    assert raw.decode("utf-8", "replace") == reply.text
    assert reply.logprob == pytest.approx(sum(each.logprob for each in reply.logprobs) / 5)
    assert 0 < reply.entropy < math.log(288)


def test_a_prompts_own_ids_are_scored_and_the_same_ids_generated_have_the_same_scores(tiny):
    first = tiny.complete("the owner", Sampling(max_tokens=4, logprobs=2)).wait()
    longer = [*first.prompt_ids, *first.ids]
    scored = tiny.complete(longer, Sampling(max_tokens=1, prompt_logprobs=2)).wait()
    assert scored.prompt_logprobs[0] is None
    assert tuple(each.id for each in scored.prompt_logprobs[1:]) == tuple(longer[1:])
    assert scored.prompt_logprobs[-4:] == first.logprobs


def test_every_one_of_several_replies_carries_the_scores_of_the_prompt(tiny):
    replies, _ = generate(tiny, replace(DRAWN, prompt_logprobs=0), n=2)
    assert replies[0].prompt_logprobs == replies[1].prompt_logprobs
    assert len(replies[0].prompt_logprobs) == len(replies[0].prompt_ids)


def test_a_raw_prompt_goes_on_as_it_stands(tiny):
    ids = tiny.encode("the spring")
    assert tiny.complete("the spring", DRAWN).prompt_ids == tuple(ids)
    assert tiny.complete(ids, DRAWN).wait().ids == tiny.complete("the spring", DRAWN).wait().ids
    assert tiny.decode(ids) == "the spring"
    assert tiny.prompt_ids(HELLO) == list(tiny.start(HELLO, DRAWN).prompt_ids)


def test_what_stopped_a_reply_is_named(tiny):
    free = tiny.reply(HELLO, DRAWN)
    by_id = tiny.reply(HELLO, replace(DRAWN, stop_ids=(free.ids[2],)))
    assert (by_id.stopped_by, by_id.finish_reason) == (free.ids[2], "stop")
    assert by_id.ids == free.ids[: free.ids.index(free.ids[2])]
    letter = free.text.replace("\ufffd", "")[1]
    by_text = tiny.reply(HELLO, replace(DRAWN, stop=(letter,)))
    assert (by_text.stopped_by, by_text.finish_reason) == (letter, "stop")
    assert free.stopped_by is None


def test_stop_strings_wait_for_min_tokens(tiny):
    free = tiny.reply(HELLO, DRAWN)
    held = tiny.reply(HELLO, replace(DRAWN, stop=tuple(set(free.text)), min_tokens=6))
    assert held.ids == free.ids


def test_a_constraint_holds_the_reply(tiny):
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "yy"]}}, "required": ["a"]}
    schema |= {"additionalProperties": False}
    constraint = Constraint(kind="json_schema", value=schema)
    replies, _ = generate(tiny, replace(DRAWN, max_tokens=40), n=4, constraint=constraint)
    for reply in replies:
        assert json.loads(reply.text)["a"] in ("x", "yy")
        assert reply.finish_reason == "stop"


@pytest.mark.parametrize(
    ("ask", "sampling", "said"),
    [
        ({"n": 0}, {}, "`n` is 0"),
        ({"n": 200}, {}, "`n` is 200"),
        ({"constraint": Constraint(kind="regex", value="(")}, {}, "unclosed"),
        ({"beams": 2, "n": 3}, {}, "`beams` is 2"),
        ({"beams": 2}, {"presence_penalty": 1.0}, "presence_penalty"),
        ({"beams": 2, "constraint": Constraint(kind="regex", value="a")}, {}, "a constraint"),
        ({}, {"logit_bias": {288: 1.0}}, "ids from 0 to 287"),
        ({}, {"max_tokens": 0}, "max_tokens"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused_at_once(tiny, ask, sampling, said):
    with pytest.raises(ConfigError, match=said):
        tiny.start(HELLO, replace(DRAWN, **sampling), ask=Ask(**ask))


def test_raw_prompts_that_cannot_be_are_refused(tiny):
    with pytest.raises(ConfigError, match="the id 288"):
        tiny.complete([3, 288], DRAWN)
    with pytest.raises(ContextLengthError, match="empty"):
        tiny.complete("", DRAWN)
    with pytest.raises(ContextLengthError, match="is the limit"):
        tiny.start(HELLO, replace(DRAWN, max_tokens=10_000), ask=Ask(beams=2))


def test_a_sink_that_fails_for_one_of_several_ends_them_all(tiny):
    def failing(delta):
        if delta.index == 1:
            raise ConnectionError("gone")

    generation = tiny.start(HELLO, replace(DRAWN, max_tokens=150), failing, ask=Ask(n=3))
    with pytest.raises(MainspringError, match="gone"):
        generation.replies()
    assert len(generation.wait().ids) < 150


def test_a_late_reply_says_so(tiny):
    generation = tiny.start(HELLO, replace(DRAWN, max_tokens=150), ask=Ask(deadline_s=0.0))
    with pytest.raises(DeadlineError, match="deadline"):
        generation.wait()


def test_all_of_several_can_be_cancelled(tiny):
    begun, may_go_on = threading.Event(), threading.Event()

    def sink(_):
        begun.set()
        may_go_on.wait(20)

    generation = tiny.start(HELLO, replace(DRAWN, max_tokens=150), sink, ask=Ask(n=2))
    begun.wait(20)
    generation.cancel()
    may_go_on.set()
    assert [reply.finish_reason for reply in generation.replies()] == ["cancelled", "cancelled"]


WEATHER = Tool(
    name="get_weather",
    parameters={
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/place"}, "days": {"type": "integer", "maximum": 9}},
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"place": {"enum": ["Oslo", "Rome"]}},
    },
)
NOW = Tool(name="now", parameters={"type": "object", "properties": {}, "additionalProperties": False})


@pytest.mark.parametrize("choice", ["required", "get_weather"])
@pytest.mark.parametrize("parallel", [True, False])
def test_calls_that_must_come_do_and_hold_to_the_tools_schemas(tooled, choice, parallel):
    long = replace(DRAWN, max_tokens=150)
    ask = {"tools": (WEATHER, NOW), "tool_choice": choice, "parallel_tool_calls": parallel}
    replies, deltas = generate(tooled, long, n=4, **ask)
    whole = [reply for reply in replies if reply.finish_reason != "length"]
    assert whole
    for reply in whole:
        assert reply.finish_reason == "tool_calls"
        assert reply.text == ""
        assert reply.tool_calls
        for call in reply.tool_calls:
            assert call.name in ({"get_weather", "now"} if choice == "required" else {"get_weather"})
            arguments = json.loads(call.arguments)
            assert arguments == {} or arguments["city"] in ("Oslo", "Rome")
        assert len(reply.tool_calls) == 1 or (parallel and choice == "required")
        pieces = [piece for delta in deltas if delta.index == reply.index for piece in delta.tool_calls]
        assert "".join(piece.arguments for piece in pieces) == "".join(
            call.arguments for call in reply.tool_calls
        )


def test_tools_are_told_of_unless_they_must_not_be_called(tooled):
    told = tooled.prompt_ids(HELLO, Ask(tools=(WEATHER,)))
    assert "get_weather" in tooled.decode(told)
    assert tooled.prompt_ids(HELLO, Ask(tools=(WEATHER,), tool_choice="none")) == tooled.prompt_ids(HELLO)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"tool_choice": "required"}, "required"),
        ({"tools": (NOW,), "tool_choice": "then"}, "now"),
        ({"tools": (NOW,), "tool_choice": "now", "constraint": Constraint(kind="json_object")}, "Leave one"),
        ({"tools": (Tool(name="x", parameters={"not": {}}),), "tool_choice": "x"}, "#/.defs/tool0"),
        ({"tools": (NOW,), "tool_choice": "now", "beams": 2}, "a constraint"),
    ],
    ids=str,
)
def test_tool_choices_that_cannot_be_are_refused(tooled, ask, said):
    with pytest.raises(ConfigError, match=said):
        tooled.start(HELLO, DRAWN, ask=Ask(**ask))


def test_tools_with_a_raw_prompt_are_refused(tooled):
    with pytest.raises(ConfigError, match="raw prompt"):
        tooled.complete("x", DRAWN, ask=Ask(tools=(NOW,)))
