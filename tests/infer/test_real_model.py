"""The exact mode with the real model: 32 streams at once say what each says alone."""

import pytest

from fakes_engine import Received, open_host
from mainspring.infer.request import EngineConfig, Request
from mainspring.schema import Message, Sampling
from mainspring.train import teacher

pytestmark = pytest.mark.slow
PROSE = (
    "A mainspring is a spiral ribbon of metal that stores the energy of a watch; it is wound by its owner. "
    "Kérdés: wie lange läuft sie? 漢字 😀 3.14159. "
)


@pytest.fixture(scope="module")
def host(smollm2_folder):
    config = EngineConfig(num_blocks=700)
    opened = open_host(smollm2_folder, config, known=None, reference="model/smollm2@1")
    yield opened
    opened.engine.close()


def make_requests(host):
    text = host.tokenizer.encode(PROSE * 12)
    lengths = [5 + (295 * index) // 31 for index in range(32)]
    return [
        Request(
            ids=tuple(text[index : index + length]),
            sampling=Sampling(max_tokens=16, temperature=float(index % 2), top_p=0.95, seed=index),
        )
        for index, length in enumerate(lengths)
    ]


def forget(host):
    """Empty the prefix cache, so that nothing is reused."""

    def empty():
        pool = host.engine._scheduler.pool
        blocks = pool.take(pool.num_available)
        pool.release(blocks)

    host.engine.between_steps(empty)


def test_32_streams_at_once_equal_each_alone(host):
    requests = make_requests(host)
    sinks = [Received() for _ in requests]
    for request, sink in zip(requests, sinks, strict=True):
        host.engine.submit(request, sink)
    together = []
    for sink in sinks:
        assert sink.done.wait(200)
        together.append(sink.result)
    for request, expected in zip(requests, together, strict=True):
        forget(host)
        sink = Received()
        host.engine.submit(request, sink)
        assert sink.result == expected
        assert sink.num_cached == 0
    assert len({ids for ids, *_ in together}) > 24


def test_greedy_text_is_that_of_whole_forwards_without_an_engine(host):
    questions = ["What is the capital of France?", "Name three colors.", PROSE + "What stores the energy?"]
    for question in questions:
        reply = host.chat("smollm2").reply([Message("user", question)], Sampling(max_tokens=12))
        oracle = teacher.greedy(host.engine.model, reply.prompt_ids, 12, host.tokenizer.end_ids)
        assert list(reply.ids) == oracle
        assert reply.text == host.tokenizer.decode(oracle)
