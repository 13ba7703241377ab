"""The server as a process: ready line, port in use, the end."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from fakes_model import House, ScriptedModel, Shelf
from fakes_server import in_background
from mainspring.errors import ConfigError
from mainspring.serve.run import open_socket, url_of

pytestmark = pytest.mark.slow

SERVER = """
import pathlib, sys
from fakes_model import House, ScriptedModel, Shelf
from mainspring.serve.run import serve
house = House(pathlib.Path(sys.argv[1]), Shelf([ScriptedModel("slow", "word " * 40, step_s=0.02)]))
serve(house.app, "127.0.0.1", 0, prepare=lambda: None, tls=None)
house.close()
print("closed")
"""


def start(folder):
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    line = process.stderr.readline()
    assert line.startswith("ready  http://127.0.0.1:")
    return process, line.split()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_server_lets_its_streams_finish_and_its_caller_close(tmp_path, number):
    process, url = start(tmp_path)
    body = {"model": "slow", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with httpx2.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        process.send_signal(number)
        rest = list(lines)
    out, error = process.communicate(timeout=10)
    assert "data: [DONE]" in rest
    assert process.returncode == 0
    assert out == "closed\n"
    assert "Traceback" not in error


@pytest.fixture
def app(tmp_path):
    house = House(tmp_path, Shelf([ScriptedModel("plain")]))
    yield house.app
    house.close()


def test_a_port_in_use_is_said_with_the_option_that_changes_it(app):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match=r"is in use.*--port") as raised:
            open_socket(app, "127.0.0.1", other.getsockname()[1])
    assert raised.value.exit_code == 2


def test_two_servers_never_share_a_port(app):
    with open_socket(app, "127.0.0.1", 0) as first, pytest.raises(ConfigError, match="in use"):
        open_socket(app, "127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 70000), ("127.0.0.1", -1), ("localhost.invalid.", 80)]
)
def test_an_impossible_address_is_a_mistake_of_the_user(app, host, port):
    with pytest.raises(ConfigError):
        open_socket(app, host, port)


def test_strangers_are_not_served_without_a_key(app):
    with pytest.raises(ConfigError, match="MAINSPRING_API_KEY"):
        open_socket(app, "0.0.0.0", 0)


def test_an_address_of_the_sixth_kind_stands_in_brackets(app):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        listener = open_socket(app, "::1", 0)
    except ConfigError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with listener:
        assert url_of("::1", listener, None).startswith("http://[::1]:")


def test_a_server_in_the_background_ends_with_its_block(app):
    with in_background(app) as url:
        assert httpx2.get(f"{url}/health").status_code == 200
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{url}/health")
