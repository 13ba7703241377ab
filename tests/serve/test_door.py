"""What holds for every endpoint: ids, figures, limits, and clients that behave badly."""

import asyncio
import json
import re
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from fakes_model import House, ScriptedModel, Shelf
from fakes_server import in_background
from mainspring.errors import ConfigError
from mainspring.serve import run
from mainspring.serve.limits import Limits
from mainspring.serve.settings import ServeSettings

BODY = {"model": "plain", "messages": [{"role": "user", "content": "hi"}]}
SAMPLE = re.compile(r'[a-z0-9_:]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+')


def wait_until(condition, timeout_s=5):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def limited(tmp_path):
    long = ("w" * 10_000 + " ") * 2_000
    models = [
        ScriptedModel("plain"),
        ScriptedModel("long", long, step_s=0.005),
        ScriptedModel("slow", "a b", step_s=0.2),
    ]
    limits = Limits(header_s=0.3, body_s=0.3, send_s=0.3, header_bytes=4096)
    house = House(tmp_path, Shelf(models), limits=limits)
    house.shelf.models["long"].default_sampling = type(models[0].default_sampling)(max_tokens=2_000)
    with in_background(house.app) as url:
        yield house, url
    house.close()


def connect(url):
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=5)


def test_a_request_has_an_id_and_the_client_s_own_is_given_back_and_traced(house, url):
    answers = [httpx2.get(f"{url}/v1/models"), httpx2.get(f"{url}/nothing"), httpx2.get(f"{url}/health/live")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    answer = httpx2.post(f"{url}/v1/chat/completions", json=BODY, headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    span = house.events("span")[-1]
    assert (span.subject, span.data["attributes"]["client_request"]) == (answer.json()["id"], "mine-1")
    odd = httpx2.get(f"{url}/v1/models", headers={"x-request-id": "x" * 200})
    assert odd.headers["x-request-id"].startswith("req-")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", {**BODY, "model": "nobody"}, 404),
        ("/v1/chat/completions", {**BODY, "model": "mute"}, 500),
        ("/v1/messages", {**BODY, "model": "nobody", "max_tokens": 5}, 404),
        ("/v1/completions", {"model": "nobody", "prompt": "x"}, 404),
        ("/v1/embeddings", {"model": "nobody", "input": "x"}, 404),
        ("/v1/embeddings", {"model": "bytes", "input": "x"}, 200),
    ],
)
def test_whatever_comes_of_a_request_its_id_is_that_in_the_log(house, url, path, body, status):
    answer = httpx2.post(url + path, json=body)
    assert answer.status_code == status
    assert answer.headers["x-request-id"] == answer.headers["request-id"] == house.events("span")[-1].subject


def test_a_failure_of_our_own_has_an_id_and_is_guarded(house, url):
    house.shelf.chat = lambda name, scope: {}["a bug"]
    answer = httpx2.post(f"{url}/v1/chat/completions", json=BODY, headers={"x-request-id": "mine-1"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine-1")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_health_says_whether_the_loop_runs_and_whether_the_engine_answers(house, url):
    for path in ("/health", "/health/live", "/health/ready"):
        assert httpx2.get(url + path).json() == {"status": "ok"}
    house.shelf.fault = "the engine has been in one step for 40 s"
    assert httpx2.get(f"{url}/health/live").status_code == 200
    assert httpx2.get(f"{url}/health/ready").status_code == 503


def test_figures_are_written_as_prometheus_reads_them(url):
    for change in ({}, {}, {"model": "broken"}):
        httpx2.post(f"{url}/v1/chat/completions", json={**BODY, **change})
    answer = httpx2.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert all(line.startswith(("# HELP ", "# TYPE ")) or SAMPLE.fullmatch(line) for line in lines)
    assert 'vllm:num_requests_running{model_name="model/plain@1",engine="0"} 3' in lines
    assert 'vllm:time_to_first_token_seconds_count{model_name="plain"} 2' in lines
    assert 'vllm:inter_token_latency_seconds_bucket{model_name="plain",le="+Inf"} 2' in lines
    assert 'vllm:request_generation_tokens_sum{model_name="plain"} 4' in lines
    assert 'vllm:request_success_total{model_name="plain",finished_reason="stop"} 2' in lines
    assert 'vllm:request_success_total{model_name="broken",finished_reason="error"} 1' in lines
    assert 'mainspring_requests_open{model_name="plain"} 0' in lines


def test_a_connection_that_asks_nothing_is_closed(limited):
    _, url = limited
    for sent in (b"", b"POST /v1/chat", b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nGET /v1"):
        with connect(url) as client:
            client.sendall(sent)
            began = time.monotonic()
            while client.recv(4096):
                pass
            assert 0.2 < time.monotonic() - began < 2


def test_a_body_that_does_not_come_is_refused(limited):
    _, url = limited
    with connect(url) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_client_that_leaves_in_the_midst_of_its_body_is_no_failure(house):
    said = iter([
        {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"},
    ])  # fmt: skip

    async def receive():
        return next(said)

    async def send(message):
        pass

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [],
    }
    asyncio.run(house.app(scope, receive, send))


def test_a_head_that_is_too_large_is_refused(limited):
    _, url = limited
    with connect(url) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-a: " + b"x" * 300_000 + b"\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 400")


def test_a_client_that_reads_nothing_is_left_and_its_generation_stops(limited):
    house, url = limited
    body = json.dumps({**BODY, "model": "long", "stream": True}).encode()
    with connect(url) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
            + body
        )
        runs = house.shelf.models["long"].runs
        wait_until(lambda: runs and runs[0].done.is_set(), 20)
        assert runs[0].is_cancelled, "it ran to its end for somebody who does not read"
    assert httpx2.get(f"{url}/health/live").status_code == 200


def test_a_client_that_vanishes_without_a_word_cancels_its_generation(limited):
    house, url = limited
    body = json.dumps({**BODY, "model": "slow"}).encode()
    client = connect(url)
    client.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
        + body
    )
    runs = house.shelf.models["slow"].runs
    wait_until(lambda: runs)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    client.close()
    wait_until(runs[0].done.is_set)
    assert runs[0].is_cancelled


def test_a_prompt_of_ten_megabytes_is_refused_with_its_size(url):
    body = {**BODY, "messages": [{"role": "user", "content": "x" * 10_000_000}]}
    answer = httpx2.post(f"{url}/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert "10000000 characters" in answer.json()["error"]["message"]


def test_json_that_nests_without_end_is_refused(url):
    answer = httpx2.post(f"{url}/v1/chat/completions", content=b'{"a":' + b"[" * 100_000)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json"


def _post(body):
    text = json.dumps(body).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    return head + b"content-length: %d\r\n\r\n" % len(text) + text


@pytest.mark.slow
def test_a_thousand_clients_at_once_are_all_answered(tmp_path):
    house = House(tmp_path, Shelf([ScriptedModel("plain", step_s=0.001)]))
    ask = _post({**BODY, "stream": True})
    gate = asyncio.Event()

    async def one(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await gate.wait()
        writer.write(ask)
        text = await reader.read()
        writer.close()
        return text

    async def all_of(port):
        tasks = [asyncio.create_task(one(port)) for _ in range(1000)]
        await asyncio.sleep(2)
        gate.set()
        return await asyncio.gather(*tasks)

    run._allow_many_files()
    with in_background(house.app) as url:
        texts = asyncio.run(all_of(int(url.rsplit(":", 1)[1])))
        assert httpx2.post(f"{url}/v1/chat/completions", json=BODY).status_code == 200
    assert all(text.startswith(b"HTTP/1.1 200") and b"[DONE]" in text for text in texts)
    house.close()


@pytest.mark.slow
def test_a_thousand_clients_of_whom_most_behave_badly_keep_nobody_from_being_answered(tmp_path):
    models = [ScriptedModel("plain", step_s=0.001), ScriptedModel("long", "word " * 5000, step_s=0.001)]
    limits = Limits(header_s=10, body_s=10, send_s=10)
    house = House(tmp_path, Shelf(models), limits=limits)
    ask, long = (_post({**BODY, "model": model, "stream": True}) for model in ("plain", "long"))

    async def one(port, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        kind = number % 5
        writer.write((ask, b"", ask[:20], ask[:-9], long)[kind])
        if kind == 4:  # asks, hears a little and is gone without a word
            await reader.read(100)
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        text = b"" if kind == 4 else await reader.read()
        writer.close()
        return kind, text

    async def all_of(port):
        return await asyncio.wait_for(asyncio.gather(*(one(port, number) for number in range(1000))), 60)

    run._allow_many_files()
    with in_background(house.app) as url:
        ends = asyncio.run(all_of(int(url.rsplit(":", 1)[1])))
        assert all(b"[DONE]" in text for kind, text in ends if kind == 0)
        assert all(text == b"" for kind, text in ends if kind in {1, 2})  # closed, for nothing was asked
        assert all(text.startswith(b"HTTP/1.1 408") for kind, text in ends if kind == 3)
        wait_until(lambda: all(one.done.is_set() for one in house.shelf.models["long"].runs), 20)
        assert all(one.is_cancelled for one in house.shelf.models["long"].runs)
        assert httpx2.post(f"{url}/v1/chat/completions", json=BODY).status_code == 200
    house.close()


def test_the_server_speaks_tls_with_a_certificate(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl here to make a certificate with")
    house = House(tmp_path, Shelf([ScriptedModel("plain")]))
    tls = ServeSettings(tls_cert=cert, tls_key=key).tls()
    with in_background(house.app, tls=tls) as url:
        assert url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(cert))
        assert httpx2.get(f"{url}/health/live", verify=trusted).status_code == 200
    house.close()


def test_half_of_a_certificate_is_a_mistake():
    assert ServeSettings().tls() is None
    with pytest.raises(ConfigError, match="one is missing"):
        ServeSettings(tls_cert=Path("x")).tls()
    with pytest.raises(ConfigError, match="no file"):
        ServeSettings(tls_cert=Path("x"), tls_key=Path("y")).tls()
