"""How evenly answers come, how soon a server is ready and how much memory the model takes: parts of engine.py.

Pauses are those between two pieces of one stream, and the 99th of a hundred is taken. What guesses right many ids at
once makes no pause, so the streams here draw their ids or guess none.
"""

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine_texts import words
from mainspring.evaluate.load.client import Answered, ask
from mainspring.evaluate.load.mix import WORDS, Asked
from mainspring.infer.backends.native import Native
from mainspring.infer.engine import Engine
from mainspring.infer.request import EngineConfig, Output, Request
from mainspring.schema import Sampling
from mainspring.tokenizer.base import Tokenizer
from report import at_most, row
from serve import Ours

LONG, STREAM = 8000, 150
STREAMS, PROBES, PROBE_EVERY_S = 32, 500, 0.02
ROOM = ["engine.backend=native", "engine.num_blocks=1100"]
SLOWDOWN, LIVE_MS, READY_S, RESIDENT_MB = 4.0, 20.0, 5.0, 480.0
MEASURE = """
import json, sys, psutil
from pathlib import Path
from mainspring.infer.backends.native import Native
from mainspring.infer.request import EngineConfig
backend = Native.load(Path(sys.argv[1]), EngineConfig())
print(json.dumps({"resident": psutil.Process().memory_info().rss, "cache": backend.cache_bytes}))
"""


class Moments:
    """A sink that notes when outputs came."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.done = threading.Event()

    def __call__(self, output: Output) -> bool:
        self.at.append(time.perf_counter())
        if output.error is not None:
            raise SystemExit(output.error)
        if output.finish_reason is not None:
            self.done.set()
        return False


def p99(moments: Sequence[float]) -> float:
    return float(np.quantile(np.diff(moments), 0.99))


def pauses(model: Path, tokenizer: Tokenizer, rounds: int) -> list[dict]:
    """In this process: a stream alone, and again while a prompt of 8,000 ids is computed beside it."""
    config = EngineConfig(num_blocks=1100)
    backend, idle, beside, taken = Native.load(model, config), [], [], []
    for number in range(rounds + 1):
        chance = random.Random(number)
        with Engine(backend, config) as engine:

            def stream(most: int, seed: int = number, engine: Engine = engine) -> tuple[Moments, list[float]]:
                moments, ids = Moments(), words(random.Random(seed), 40, tokenizer)
                sampling = Sampling(max_tokens=most, ignore_end=True, temperature=1.0, seed=seed)
                engine.submit(Request(ids=ids, sampling=sampling), moments)
                return moments, moments.at

            alone, at = stream(STREAM)
            alone.done.wait()
            idle.append(p99(at))
            _, at = stream(4 * STREAM)
            while len(at) < STREAM:  # as long as the one alone has become
                time.sleep(0.01)
            long, begun = Moments(), time.perf_counter()
            ids = words(chance, LONG, tokenizer)
            engine.submit(Request(ids=ids, sampling=Sampling(max_tokens=1, ignore_end=True)), long)
            long.done.wait()
            taken.append(long.at[0] - begun)
            beside.append(p99([each for each in at if begun <= each <= long.at[0]]))
    return _slowdown("in process", idle[1:], beside[1:], taken[1:])  # the first round warms up


def door(model: Path, rounds: int) -> list[dict]:
    """The same through the door, the engine in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        options = [*ROOM, "engine.isolate=true", "engine.speculation=false"]
        ours = Ours(model, Path(scratch) / "workspace", options)
        try:
            found = [asyncio.run(_door_once(ours, number)) for number in range(rounds + 1)][1:]
        finally:
            ours.close()
    idle, beside, taken = ([each[place] for each in found] for place in range(3))
    return _slowdown("over HTTP", idle, beside, taken)


async def _door_once(ours: Ours, number: int) -> tuple[float, float, float]:
    chance = random.Random(number)
    short, long = (" ".join(chance.choices(WORDS, k=count)) for count in (40, round(LONG / 1.01)))
    alone = await _answer(ours, short, STREAM)
    stream = asyncio.create_task(_answer(ours, f"Again: {short}", 4 * STREAM))
    await asyncio.sleep(1.5 * (alone.ended - alone.begun))
    whole = await _answer(ours, long, 1)
    if not 0.97 * LONG < whole.prompt_tokens < 1.03 * LONG:
        raise SystemExit(f"the long prompt had {whole.prompt_tokens:,} tokens")
    among = [each for each in (await stream).pieces if whole.begun <= each <= whole.pieces[0]]
    return p99(alone.pieces), p99(among), whole.first_token_s


async def _answer(ours: Ours, text: str, max_tokens: int) -> Answered:
    answered = await ask(ours.target, Asked(text=text, max_tokens=max_tokens))
    if answered.error:
        raise SystemExit(f"our server failed: {answered.error}")
    return answered


def _slowdown(where: str, idle: list[float], beside: list[float], taken: list[float]) -> list[dict]:
    before, after = 1e3 * statistics.median(idle), 1e3 * statistics.median(beside)
    about = f"{after:.1f} ms against {before:.1f}, prefill {statistics.median(taken):.1f} s"
    times = statistics.median(b / a for a, b in zip(idle, beside, strict=True))
    what = f"{where}, p99 pause beside a prefill of {LONG:,} ids ({about})"
    return [at_most(what, "times that alone", times, SLOWDOWN)]


def health(model: Path, *, is_quick: bool) -> list[dict]:
    """/health/live on a connection of its own each time, while another process keeps 32 streams open."""
    rows = []
    for isolate in (True, False):
        with tempfile.TemporaryDirectory() as scratch:
            isolation = f"engine.isolate={str(isolate).lower()}"
            ours = Ours(model, Path(scratch) / "workspace", [*ROOM, isolation])
            try:
                found = _probe_under_load(ours, 50 if is_quick else PROBES)
            finally:
                ours.close()
        p50, last = (1e3 * float(each) for each in np.quantile(found, (0.5, 0.99)))
        what = f"/health/live, {STREAMS} streams, engine {'in its own process' if isolate else 'beside the door'}"
        rows.append(at_most(f"{what}, p99 (median {p50:.1f}) of {len(found)}", "ms", last, LIVE_MS))
    return rows


def _probe_under_load(ours: Ours, number: int) -> list[float]:
    command = [
        sys.executable,
        "-m",
        "mainspring",
        "bench",
        "serve",
        ours.target.url,
        "--model",
        ours.target.model,
    ]
    command += ["-o", f"at_once={STREAMS}", "-o", "num_requests=100000"]
    load = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(6)  # until all are under way
        found = []
        for _ in range(number):
            found.append(_get(f"{ours.target.url}/health/live"))
            time.sleep(PROBE_EVERY_S)
        if load.poll() is not None:
            raise SystemExit("the load ended before the probes did")
    finally:
        load.kill()
        load.wait()
    return found


def _get(url: str) -> float:
    begun = time.perf_counter()
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - our own server
        response.read()
    return time.perf_counter() - begun


def start(model: Path, rounds: int) -> list[dict]:
    """From the command to /health/ready with the model known and the step compiled; its engine in its own process."""
    taken = []
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(rounds + 1):
            begun = time.perf_counter()
            ours = Ours(model, Path(scratch) / "workspace", [*ROOM, "engine.isolate=true"])
            try:
                while not _is_ready(ours.target.url):
                    time.sleep(0.01)
                taken.append(time.perf_counter() - begun)
            finally:
                ours.close()
    what = f"from `mainspring serve` to ready ({', '.join(f'{each:.1f}' for each in taken[1:])})"
    return [
        at_most(what, "s", statistics.median(taken[1:]), READY_S)
    ]  # the first brings the model and compiles


def _is_ready(url: str) -> bool:
    try:
        _get(f"{url}/health/ready")
    except urllib.error.URLError:
        return False
    return True


def memory(model: Path) -> list[dict]:
    """Resident memory of a process that has the model, before its cache is touched."""
    command = [sys.executable, "-c", MEASURE, str(model)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [
        at_most("resident, 8 bits, before the cache", "MiB", said["resident"] / 2**20, RESIDENT_MB),
        row("the cache when all of it has been used, default size", "MiB", said["cache"] / 2**20, {}),
    ]
