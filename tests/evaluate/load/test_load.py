"""The load generator against a real server of its own, made of sockets."""

import asyncio
import itertools
import json
import threading
from contextlib import contextmanager

import pytest

from mainspring.evaluate.load import plot
from mainspring.evaluate.load.client import Target
from mainspring.evaluate.load.mix import MAX_ANSWER, requests
from mainspring.evaluate.load.run import LoadConfig, run, summarize


class Server:
    """Streams as many words as were asked for, one every `pause_s`; the `fails`-th request is refused."""

    def __init__(self, pause_s=0.002, fails=()):
        self.pause_s, self.fails = pause_s, fails
        self.num_open = self.most_open = self.num_seen = 0

    async def answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(
            next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split()[
                1
            ]
        )
        body = json.loads(await reader.readexactly(size))
        self.num_seen += 1
        if self.num_seen in self.fails:
            writer.write(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")
        else:
            self.num_open += 1
            self.most_open = max(self.most_open, self.num_open)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            for index in range(body["max_tokens"]):
                await asyncio.sleep(self.pause_s if index else 3 * self.pause_s)
                self.send(writer, {"choices": [{"delta": {"content": "word "}}]})
            usage = {
                "prompt_tokens": len(body["messages"][0]["content"].split()),
                "completion_tokens": body["max_tokens"],
            }
            self.send(writer, {"choices": [], "usage": usage})
            writer.write(b"data: [DONE]\n\n")
            self.num_open -= 1
        await writer.drain()
        writer.close()

    def send(self, writer, event):
        writer.write(b": comment\n\ndata: " + json.dumps(event).encode() + b"\n\n")


@contextmanager
def serving(server):
    loop, ports = asyncio.new_event_loop(), []
    ready = threading.Event()

    async def main():
        listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
        ports.append(listening.sockets[0].getsockname()[1])
        ready.set()

    thread = threading.Thread(target=lambda: (loop.create_task(main()), loop.run_forever()), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield Target(url=f"http://127.0.0.1:{ports[0]}", model="any")
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_a_closed_loop_keeps_so_many_open_and_counts_what_came():
    server = Server()
    config = LoadConfig(num_requests=12, at_once=4)
    with serving(server) as target:
        answers = run(target, config)
    summary = summarize(answers)
    expected = list(itertools.islice(requests("chat", 0), 12))
    assert (summary.num_requests, summary.num_failed, server.most_open) == (12, 0, 4)
    assert summary.completion_tokens == sum(each.max_tokens for each in expected)
    assert 0.002 <= summary.gap_p50_s <= summary.gap_p99_s
    assert summary.first_token_p50_s >= 0.006
    assert summary.tokens_per_s == pytest.approx(summary.completion_tokens / summary.seconds)


def test_an_open_loop_does_not_wait_for_answers_and_failures_are_counted_apart(tmp_path):
    server = Server(pause_s=0.05, fails={2})
    with serving(server) as target:
        answers = run(target, LoadConfig(mix="rag", loop="open", rate=200, num_requests=10))
    summary = summarize(answers)
    assert server.most_open > 4
    assert (summary.num_failed, summary.first_error) == (1, "HTTP 429")
    assert plot.draw(answers, tmp_path / "load.png", "a load").stat().st_size > 1000


def test_a_server_that_is_not_there_is_a_failure_of_every_request():
    summary = summarize(run(Target(url="http://127.0.0.1:9", model="any"), LoadConfig(num_requests=3)))
    assert summary.num_failed == 3
    assert "Refused" in summary.first_error


def test_mixes_have_the_lengths_that_they_claim_and_are_the_same_again():
    for mix, low, high in (("chat", 5, 400), ("rag", 300, 3000), ("shared-prefix", 1300, 2000)):
        some = list(itertools.islice(requests(mix, 1), 50))
        assert some == list(itertools.islice(requests(mix, 1), 50))
        lengths = [len(each.text.split()) for each in some]
        assert low <= min(lengths)
        assert max(lengths) <= high
        assert all(1 <= each.max_tokens <= MAX_ANSWER for each in some)
    first, second = itertools.islice(requests("shared-prefix", 1), 2)
    assert first.text.split("\n\n")[0] == second.text.split("\n\n")[0]
