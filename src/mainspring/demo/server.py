"""`mainspring serve` as a process of its own, and the official client before it."""

import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainspring.app import ASSISTANT, CHAT_MODEL
from mainspring.errors import MainspringError, MissingExtraError

PARALLEL = 16
STOP_S = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A streamed answer as the client saw it; times are of the monotonic clock."""

    question: str
    request: str
    text: str
    answer: dict[str, Any]
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    first_token_s: float
    tokens_per_s: float


class Server:
    """A running server and a client of it."""

    def __init__(self, url: str, ready_s: float, client: Any) -> None:
        self.url, self.ready_s, self._client = url, ready_s, client

    def ask(self, question: str) -> Asked:
        """A question to the assistant, streamed through the official client."""
        began = time.monotonic()
        text, extension, request = "", {}, ""
        stream = self._client.chat.completions.create(
            model=ASSISTANT, messages=[{"role": "user", "content": question}], stream=True
        )
        for chunk in stream:
            request = chunk.id
            extension = (chunk.model_extra or {}).get("mainspring") or extension
            for choice in chunk.choices:
                text += choice.delta.content or ""
        return Asked(
            question=question,
            request=request,
            text=text,
            answer=extension,
            began=began,
            ended=time.monotonic(),
        )

    def num_open(self) -> int:
        """Requests that the assistant has taken in and not answered yet."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=STOP_S) as response:  # noqa: S310 - our own server
            text = response.read().decode()
        found = re.search(
            rf'^mainspring_requests_open{{model_name="{ASSISTANT}"}} (\d+)$', text, re.MULTILINE
        )
        return int(found[1]) if found else 0

    def ask_many(self, questions: list[str], advance: Any = None) -> list[Asked]:
        """Many questions, 16 at a time; the answers in order."""

        def one(question: str) -> Asked:
            asked = self.ask(question)
            if advance is not None:
                advance(1)
            return asked

        with ThreadPoolExecutor(PARALLEL) as pool:
            return list(pool.map(one, questions))

    def rate(self, request: str, rating: str, correction: str | None, source: str) -> None:
        """What the page's thumbs send."""
        body = {"request": request, "rating": rating, "correction": correction, "source": source}
        posted = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/feedback", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(posted, timeout=STOP_S):  # noqa: S310 - as above
            pass

    def speed(self, prompt: str, max_tokens: int) -> Speed:
        """First token and rate of a stream of the plain model, alone."""
        began, first, num = time.monotonic(), 0.0, 0
        stream = self._client.chat.completions.create(
            model=CHAT_MODEL, messages=[{"role": "user", "content": prompt}], stream=True, max_tokens=max_tokens,
            stream_options={"include_usage": True},
        )  # fmt: skip
        for chunk in stream:
            if not first and chunk.choices and chunk.choices[0].delta.content:
                first = time.monotonic()
            num = chunk.usage.completion_tokens if chunk.usage else num
        elapsed = max(time.monotonic() - first, 1e-9)
        return Speed(first_token_s=round(first - began, 3), tokens_per_s=round((num - 1) / elapsed, 1))


@contextmanager
def running(workspace: Path) -> Iterator[Server]:
    """A server of this workspace on a free port while the block runs."""
    try:
        import openai
    except ImportError:
        raise MissingExtraError("openai", "demo", "The demo's client") from None
    command = [sys.executable, "-m", "mainspring", "serve", "--workspace", str(workspace), "--port", "0"]
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    try:
        url = _wait(process)
        ready_s = round(time.monotonic() - began, 2)
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=300, max_retries=0)
        yield Server(url, ready_s, client)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(process: "subprocess.Popen[str]") -> str:
    """The URL of the ready line; what the server said instead, where it failed."""
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("ready"):
            threading.Thread(
                target=process.stderr.read, daemon=True
            ).start()  # so that it never blocks on a full pipe
            return line.split()[1]
    raise MainspringError(f"The server did not start:\n{''.join(said)}")
