import threading

import pytest

from fakes_engine import PLAN, running
from fakes_tokenizer import ByteTokenizer
from mainspring import trace
from mainspring.errors import ConfigError, ContextLengthError, MainspringError, OverloadedError
from mainspring.infer.chat_model import EngineChat
from mainspring.infer.request import Output
from mainspring.infer.sampling import Chosen
from mainspring.schema import Ask, Message, Sampling, Tool

ASK = [Message("user", "Hi?")]


class Bytes(ByteTokenizer):
    is_byte_level, vocab_size = True, 258

    def decode(self, ids):
        return bytes(each for each in ids if each < 256).decode(errors="replace")


class Script:
    """An engine that says given bytes, one an output, in a thread of its own."""

    backend_name, fingerprint, context = "script", "script", 512

    def __init__(self, text, reason="stop"):
        self.pieces, self.reason = text.encode(), reason
        self.is_cancelled = threading.Event()

    def submit_all(self, requests, sinks):
        threading.Thread(target=self.run, args=sinks).start()
        return [self]

    def run(self, sink):
        for byte in self.pieces:
            if self.is_cancelled.is_set():
                sink(Output(finish_reason="cancelled"))
                return
            if sink(Output(chosen=(Chosen(byte, -0.5, 0.0),))):
                return
        sink(Output(finish_reason=self.reason))

    def cancel(self):
        self.is_cancelled.set()


def make_chat(engine):
    return EngineChat("tiny", engine, Bytes(), PLAN, model="model/tiny@1")


def collect(engine, **sampling):
    deltas = []
    reply = make_chat(engine).start(ASK, Sampling(**sampling), deltas.append).wait()
    return reply, deltas


def test_deltas_joined_are_the_text_and_the_last_carries_the_reply():
    reply, deltas = collect(Script("Wind the spring: süß 😀 漢字."))
    assert "".join(delta.text for delta in deltas) == reply.text == "Wind the spring: süß 😀 漢字."
    assert not any("\ufffd" in delta.text for delta in deltas)
    assert deltas[-1].reply == reply
    assert [delta.reply for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert reply.finish_reason == "stop"
    assert reply.logprob == pytest.approx(-0.5)


def test_a_character_that_never_becomes_whole_is_still_shown_at_the_end():
    engine = Script("ab", "length")
    engine.pieces = b"ab\xf0\x9f"
    reply, deltas = collect(engine)
    assert reply.text == "".join(delta.text for delta in deltas)
    assert reply.text.startswith("ab\ufffd")
    assert reply.finish_reason == "length"


def test_a_stop_string_across_tokens_is_never_shown():
    reply, deltas = collect(Script("one two\n\nUser: three"), stop=("\n\nUser:",))
    assert reply.text == "".join(delta.text for delta in deltas) == "one two"
    assert reply.finish_reason == "stop"
    assert reply.usage.completion_tokens == len("one two\n\nUser:")


def test_what_was_held_back_for_a_stop_string_comes_at_the_end():
    reply, deltas = collect(Script("ends with\n\nUs"), stop=("\n\nUser:",))
    assert reply.text == "".join(delta.text for delta in deltas) == "ends with\n\nUs"


def test_usage_counts_ids_and_attributes_name_what_answered(model):
    with running(model) as engine:
        chat = make_chat(engine)
        first = chat.reply(ASK, Sampling(max_tokens=5))
        again = chat.reply(ASK, Sampling(max_tokens=5))
    assert first.usage.prompt_tokens == len(first.prompt_ids)
    assert first.usage.completion_tokens == len(first.ids) == 5
    assert (first.usage.cached_tokens, again.usage.cached_tokens > 0) == (0, True)
    assert (first.ids, first.logprob, first.finish_reason) == (again.ids, again.logprob, "length")
    assert first.attributes[trace.MODEL_ARTIFACT] == "model/tiny@1"
    assert first.attributes[trace.KERNEL_PLAN] == PLAN.fingerprint


def test_a_sink_can_cancel_its_reply(model):
    with running(model) as engine:
        chat, begun, box = make_chat(engine), threading.Event(), []

        def sink(delta):
            begun.wait(20)
            box[0].cancel()

        box.append(chat.start(ASK, Sampling(max_tokens=200, temperature=1.0, seed=1), sink))
        begun.set()
        reply = box[0].wait()
    assert reply.finish_reason == "cancelled"
    assert len(reply.ids) < 200


def test_replies_come_in_the_order_of_the_conversations(model):
    conversations = [[Message("user", "x" * length)] for length in (40, 1, 20)]
    with running(model) as engine:
        chat = make_chat(engine)
        together = chat.replies(conversations, Sampling(max_tokens=6))
        alone = [chat.reply(each, Sampling(max_tokens=6)) for each in conversations]
    assert [each.ids for each in together] == [each.ids for each in alone]
    assert [each.prompt_ids for each in together] == [each.prompt_ids for each in alone]


def test_a_failed_engine_raises_in_wait_and_tells_the_sink(model):
    deltas = []
    with running(model) as engine:
        engine._backend.step = lambda works: 1 // 0
        started = make_chat(engine).start(ASK, Sampling(max_tokens=8), deltas.append)
        with pytest.raises(MainspringError, match="ZeroDivisionError"):
            started.wait()
        with pytest.raises(MainspringError, match="ZeroDivisionError"):
            make_chat(engine).reply(ASK, Sampling(max_tokens=8))
    assert "ZeroDivisionError" in deltas[-1].error


def test_a_sink_that_raises_fails_its_own_reply_and_no_other(model):
    def failing(delta):
        raise ConnectionError("gone")

    with running(model) as engine:
        chat = make_chat(engine)
        broken = chat.start(ASK, Sampling(max_tokens=20), failing)
        assert chat.reply(ASK, Sampling(max_tokens=20)).finish_reason == "length"
        with pytest.raises(MainspringError, match="ConnectionError: gone"):
            broken.wait()


def test_a_sink_that_raises_leaves_the_best_replies_to_who_waits_for_them(model):
    def failing(delta):
        raise ConnectionError("gone")

    with running(model) as engine:
        wanted = Sampling(max_tokens=4, temperature=1.0, seed=1)
        replies = [
            make_chat(engine).start(ASK, wanted, sink, ask=Ask(n=2, best_of=3)).replies()
            for sink in (failing, None)
        ]
    assert [reply.ids for reply in replies[0]] == [reply.ids for reply in replies[1]]
    assert len(replies[0]) == 2


def test_a_caller_that_is_interrupted_while_it_submits_does_not_hold_the_engine_up():
    engine = Script("ab")
    threads = []

    def interrupted(requests, sinks):
        threads.append(threading.Thread(target=engine.run, args=sinks, daemon=True))
        threads[0].start()
        raise KeyboardInterrupt

    engine.submit_all = interrupted
    with pytest.raises(KeyboardInterrupt):
        make_chat(engine).start(ASK, Sampling())
    threads[0].join(20)
    assert not threads[0].is_alive()


def test_what_cannot_be_asked_raises_at_once(model):
    with running(model) as engine:
        with pytest.raises(ContextLengthError):
            make_chat(engine).start([Message("user", "x" * 300)], Sampling())
        with pytest.raises(ConfigError):
            make_chat(engine).start(ASK, Sampling(max_tokens=0))


def test_a_call_streams_out_of_a_reply_and_ends_it_where_only_one_may_come():
    said = 'Ok.\n<tool_call>\n{"name": "now", "arguments": {"zone": "süd"}}\n</tool_call>'
    for parallel, num_calls in ((True, 2), (False, 1)):
        deltas, tools = [], (Tool(name="now"),)
        ask = Ask(tools=tools, parallel_tool_calls=parallel)
        chat = make_chat(Script(said + "\n" + said[4:]))
        reply = chat.start(ASK, Sampling(), deltas.append, ask=ask).wait()
        assert reply.text == "".join(delta.text for delta in deltas) == "Ok."
        assert [(call.name, call.arguments) for call in reply.tool_calls] == [
            ("now", '{"zone": "süd"}')
        ] * num_calls
        assert reply.finish_reason == "tool_calls"
        pieces = [piece for delta in deltas for piece in delta.tool_calls]
        assert len(pieces) > 5 * num_calls
        assert [piece.id for piece in pieces if piece.id] == [call.id for call in reply.tool_calls]


@pytest.mark.parametrize("said", ["Wind süß 😀 漢字.", "one two\n\nUser: three", "ends with\n\nUs", ""])
def test_every_id_is_told_with_the_characters_that_it_wrote(said):
    reply, _ = collect(Script(said), stop=("\n\nUser:",))
    assert len(reply.scores) == len(reply.ids)
    assert reply.logprob == pytest.approx(-0.5 if said else 0.0)
    edges = sorted({(each.start, each.end) for each in reply.scores if each.end > each.start})
    assert "".join(reply.text[start:end] for start, end in edges) == reply.text
    if "😀" in said:  # the four bytes of one character share its place
        place = said.index("😀")
        assert [each.start for each in reply.scores].count(place) == 4


def test_where_one_of_many_conversations_is_refused_none_goes_on(model):
    with running(model, max_waiting=3) as engine:
        with pytest.raises(OverloadedError):
            engine.between_steps(lambda: make_chat(engine).replies([ASK] * 5, Sampling(max_tokens=60)))
        for _ in range(2):
            engine.between_steps(lambda: None)
        assert (engine._num_open, engine.stats().generated_tokens) == (0, 0)
