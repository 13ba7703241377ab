"""Whether memory stays flat and every block comes back over thousands of requests, many of which are called off.

python benchmarks/endurance.py --model FOLDER [--http] [--requests 20000] [--quick] [--json] [--store]

Short prompts of four tenants, each with a beginning of its own that its requests share, few ids each, 32 at once in a
cache that has no room for all of them. A third is called off at a random moment: while it waits, during its prompt,
between two ids. With --http they go through the door, its engine in a process of its own, all of one tenant, and are
called off by closing the connection. Memory is looked at every 500 requests: what is resident, and what of it is not a
file's. It must not rise by more than 5 % over what it was after a tenth of the requests.
"""

import argparse
import asyncio
import heapq
import itertools
import random
import re
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from engine_texts import words
from mainspring.evaluate.load.client import ask
from mainspring.evaluate.load.mix import WORDS, Asked
from mainspring.infer.backends.native import Native
from mainspring.infer.base import AnyTicket
from mainspring.infer.engine import Engine
from mainspring.infer.request import EngineConfig, Output, Request
from mainspring.schema import Sampling
from mainspring.tokenizer.base import Tokenizer
from report import at_most, keep, row, show
from serve import Ours

AT_ONCE, TENANTS, SHARED = 32, 4, 48
NUM_BLOCKS = 65
SAMPLE_EVERY, WARM = 500, 10
MOST_RISE, WIDTH = 5.0, 40


@dataclass
class Watch:
    """Samples of a process's memory with all that it started, in MiB, by the number of requests done."""

    process: psutil.Process
    samples: list[tuple[int, float, float]] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def look(self, done: int) -> None:
        if done % SAMPLE_EVERY:
            return
        resident = anonymous = 0.0
        for each in (self.process, *self.process.children(recursive=True)):
            status = Path(f"/proc/{each.pid}/status").read_text(encoding="utf-8")
            found = {name: int(size) / 1024 for name, size in re.findall(r"(\w+):\s+(\d+) kB", status)}
            resident, anonymous = resident + found["VmRSS"], anonymous + found["RssAnon"]
        self.samples.append((done, resident, anonymous))
        passed = time.monotonic() - self.begun
        print(
            f"{done:,} done, {resident:.1f} MiB, {anonymous:.1f} anonymous, {passed:.0f} s", file=sys.stderr
        )

    def draw(self) -> None:
        """A bar for each sample, from nothing on."""
        most = max(resident for _, resident, _ in self.samples)
        print("requests   resident  anonymous (MiB)")
        for done, resident, anonymous in self.samples:
            bar = "#" * round(WIDTH * resident / most)
            print(f"{done:8,}  {resident:9.1f}  {anonymous:9.1f}  {bar}")

    def rows(self, num_requests: int) -> list[dict]:
        warm = next(each for each in self.samples if each[0] >= num_requests / WARM)
        later = [each for each in self.samples if each[0] >= warm[0]]
        rows = []
        for place, what in ((1, "resident"), (2, "anonymous")):
            rise = 100 * (max(each[place] for each in later) / warm[place] - 1)
            rows.append(
                at_most(
                    f"{what} memory, rise after {warm[0]:,} ({warm[place]:.0f} MiB)", "%", rise, MOST_RISE
                )
            )
        return rows


class Driver:
    """Keeps so many requests open in an engine, and calls some off at their moment."""

    def __init__(self, engine: Engine, watch: Watch) -> None:
        self._engine, self._watch = engine, watch
        self._places, self._lock = threading.Semaphore(AT_ONCE), threading.Lock()
        self._late: list[tuple[float, int, AnyTicket]] = []
        self.reasons: dict[str, int] = {}
        self.num_done = 0

    def send(self, number: int, request: Request, cancel_after_s: float | None) -> None:
        while not self._places.acquire(timeout=0.002):
            self._call_off()
        self._call_off()
        ticket = self._engine.submit(request, self._sink)
        if cancel_after_s is not None:
            heapq.heappush(self._late, (time.monotonic() + cancel_after_s, number, ticket))

    def finish(self) -> None:
        for _ in range(AT_ONCE):
            while not self._places.acquire(timeout=0.01):
                self._call_off()

    def _call_off(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            heapq.heappop(self._late)[2].cancel()

    def _sink(self, output: Output) -> bool:
        if output.error is not None or output.finish_reason is not None:
            reason = str(output.finish_reason or output.error)
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
            self.num_done += 1
            self._watch.look(self.num_done)
            self._places.release()
        return False


def in_process(model: Path, num_requests: int) -> tuple[Watch, list[dict]]:
    tokenizer, config = Tokenizer.load(model), EngineConfig(num_blocks=NUM_BLOCKS, max_running=AT_ONCE)
    backend, chance = Native.load(model, config), random.Random(0)
    watch = Watch(psutil.Process())
    with Engine(backend, config) as engine:
        driver = Driver(engine, watch)
        for number, request in zip(range(num_requests), _requests(tokenizer, chance), strict=False):
            driver.send(number, request, chance.uniform(0, 0.6) if chance.random() < 1 / 3 else None)
        driver.finish()
        stats = engine.stats()
    ended = ", ".join(f"{count:,} {reason}" for reason, count in sorted(driver.reasons.items()))
    held = stats.num_running + stats.num_waiting
    return watch, [
        at_most(f"blocks still referred to ({ended}, {stats.num_preemptions:,} preempted)", "% of all",
                100 * stats.kv_use, 0),
        at_most("requests still held", "", held, 0),
        row("found in the prefix cache", "% of the prompts' ids", 100 * stats.prefix_hits / stats.prefix_queries, {}),
    ]  # fmt: skip


def _requests(tokenizer: Tokenizer, chance: random.Random) -> Iterator[Request]:
    shared = [words(chance, SHARED, tokenizer) for _ in range(TENANTS)]
    for number in itertools.count():
        tenant = chance.randrange(TENANTS)
        ids = shared[tenant] + words(chance, chance.randint(1, 24), tokenizer)
        sampling = Sampling(
            max_tokens=chance.randint(1, 12),
            temperature=chance.choice((0.0, 1.0)),
            seed=number,
            ignore_end=True,
        )
        yield Request(ids=ids, sampling=sampling, tenant=f"tenant {tenant}")


def over_http(model: Path, num_requests: int) -> tuple[Watch, list[dict]]:
    options = ["engine.backend=native", "engine.isolate=true", f"engine.num_blocks={NUM_BLOCKS}"]
    with tempfile.TemporaryDirectory() as scratch:
        ours = Ours(model, Path(scratch) / "workspace", options)
        try:
            watch = Watch(psutil.Process(ours.pid))
            counts = asyncio.run(_ask_all(ours, num_requests, watch.look))
            figures = _idle_figures(ours)
        finally:
            ours.close()
    ended = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
    return watch, [
        at_most(f"blocks still referred to ({ended})", "% of all", 100 * figures["kv_cache_usage_perc"], 0),
        at_most(
            "requests still held", "", figures["num_requests_running"] + figures["num_requests_waiting"], 0
        ),
    ]


async def _ask_all(ours: Ours, num_requests: int, look: Callable[[int], None]) -> dict[str, int]:
    chance, counts, done = random.Random(0), dict[str, int](), itertools.count(1)
    shared = [" ".join(chance.choices(WORDS, k=SHARED)) for _ in range(TENANTS)]
    numbers = iter(range(num_requests))

    async def user() -> None:
        for _ in numbers:
            text = f"{chance.choice(shared)} {' '.join(chance.choices(WORDS, k=chance.randint(1, 24)))}"
            asked = Asked(text=text, max_tokens=chance.randint(1, 12))
            limit_s = chance.uniform(0, 1.2) if chance.random() < 1 / 3 else None
            try:
                what = (await asyncio.wait_for(ask(ours.target, asked), limit_s)).error or "answered"
            except TimeoutError:
                what = "called off"
            counts[what] = counts.get(what, 0) + 1
            look(next(done))

    await asyncio.gather(*(user() for _ in range(AT_ONCE)))
    return counts


def _idle_figures(ours: Ours) -> dict[str, float]:
    """What the server tells Prometheus once the last requests that were called off have ended."""
    time.sleep(2)
    with urllib.request.urlopen(f"{ours.target.url}/metrics", timeout=60) as response:  # noqa: S310 - our own server
        text = response.read().decode()
    return {
        name: float(value)
        for name, value in re.findall(r"^vllm:(\w+)(?:{[^}]*})? (\S+)$", text, re.MULTILINE)
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="A folder in the published layout.")
    parser.add_argument("--http", action="store_true", help="Through the door.")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--store", action="store_true", help="Keep the figures beside the benchmarks.")
    args = parser.parse_args()
    num_requests = 2_000 if args.quick else args.requests
    watch, rows = (over_http if args.http else in_process)(args.model, num_requests)
    rows += watch.rows(num_requests)
    if not args.json:
        watch.draw()
    name = f"endurance-{'http' if args.http else 'engine'}"
    if args.store:
        keep(name, rows)
    if not show(name, rows, as_json=args.json):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
