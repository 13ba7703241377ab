"""What the engine's own devices bring, each measured against the same engine without it; what it promises of pauses.

python benchmarks/engine.py --model FOLDER [--only PART ...] [--backend torch_eager] [--text FILE] [--quick] [--json]
    [--store]

Parts: `prefix` (64 requests that share 1,536 ids, with and without the prefix cache), `lookup` (guesses from the text
so far, on and off, where replies copy and where they do not), `drafts` (guesses of a smaller model, on and off: see
engine_drafts.py), `kv` (keys and values in bytes against bf16: size and perplexity), `cancel` (steps until a request
that was called off has given its blocks back), and those of engine_pauses.py: `pauses`, `door`, `health`, `start`,
`memory`. With and without take turns, their order too; figures are medians over the rounds. A figure that must stay
below a limit has the ratio limit / figure and the floor 1.
"""

import argparse
import random
import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine_drafts import drafts
from engine_pauses import at_most, door, health, memory, pauses, start
from engine_texts import copying, documents, question, words
from mainspring.infer.backends.base import Backend
from mainspring.infer.backends.native import Native
from mainspring.infer.engine import Engine
from mainspring.infer.request import EngineConfig, NativeSettings, Output, Request
from mainspring.schema import Sampling
from mainspring.tokenizer.base import Tokenizer
from replay import Listener, open_backend, run
from report import keep, row, show

SHARED, OWN = 1536, 32
SEGMENT, NUM_SEGMENTS = 512, 16
NUM_CANCELLED = 50
COPY_GAIN, NO_LOSS = 1.5, 0.95
MORE = 5
"""Times the rounds of what takes a second: the median of five such rounds varies by 5 %."""


@dataclass(frozen=True)
class Setting:
    """What is measured, and how thoroughly."""

    model: Path
    tokenizer: Tokenizer
    backend: str
    rounds: int
    is_quick: bool
    text: str


def ratio_of(
    backend: Backend, config: EngineConfig, switch: str, rounds: int, requests: Callable[[int], list[Request]]
) -> tuple[float, float]:
    """Median tokens a second with a switch of the configuration and without it; the replies must be the same."""
    found: dict[bool, list[float]] = {True: [], False: []}
    run(backend, config, requests(rounds)[:1], 0)  # warms up
    for number in range(rounds):
        wanted, replies = requests(number), []
        for is_on in (True, False) if number % 2 else (False, True):
            passed = run(backend, config.model_copy(update={switch: is_on}), wanted, 0)
            found[is_on].append(passed.tokens_per_s)
            replies.append(passed.replies)
        if backend.is_exact and replies[0] != replies[1]:
            raise SystemExit(f"the replies with and without {switch} differ, which the exact mode rules out")
    return statistics.median(found[True]), statistics.median(found[False])


def prefix(setting: Setting) -> list[dict]:
    number = 8 if setting.is_quick else 64
    config = EngineConfig(num_blocks=4096)

    def requests(seed: int) -> list[Request]:
        chance = random.Random(seed)
        shared = words(chance, SHARED, setting.tokenizer)
        own = [words(chance, OWN, setting.tokenizer) for _ in range(number)]
        sampling = Sampling(max_tokens=32, ignore_end=True)
        return [Request(ids=shared + each, sampling=sampling) for each in own]

    backend = open_backend(setting.backend, setting.model, config)
    on, off = ratio_of(backend, config, "prefix_cache", setting.rounds, requests)
    what = f"{setting.backend}, {number} requests that share {SHARED:,} ids, {OWN} of their own, 32 generated"
    return [row(what, "tokens/s", on, {"no prefix cache": off}, 3.0)]


def lookup(setting: Setting) -> list[dict]:
    config, tokenizer = EngineConfig(num_blocks=1024), setting.tokenizer
    backend = open_backend(setting.backend, setting.model, config)
    kinds: list[tuple[str, float, Callable[[int], Request]]] = [
        ("copying", COPY_GAIN, lambda number: copying(number, tokenizer)),
        ("questions, greedy", NO_LOSS, lambda number: question(number, tokenizer, 0.0)),
        ("questions, temperature 0.8", NO_LOSS, lambda number: question(number, tokenizer, 0.8)),
    ]
    rows = []
    for what, floor, make in kinds:
        for at_once in (1, 8):

            def requests(seed: int, make: Callable[[int], Request] = make) -> list[Request]:
                return [make(8 * seed + index) for index in range(8)]

            some = config.model_copy(update={"max_running": at_once})
            rounds = setting.rounds if at_once == 1 else MORE * setting.rounds
            on, off = ratio_of(backend, some, "speculation", rounds, requests)
            place = "alone" if at_once == 1 else f"{at_once} at once"
            rows.append(row(f"{setting.backend}, {what}, {place}", "tokens/s", on, {"no lookup": off}, floor))
    return rows


def kv(setting: Setting) -> list[dict]:
    config = EngineConfig(num_blocks=256, native=NativeSettings(kv="bf16"))
    count = 2 if setting.is_quick else NUM_SEGMENTS
    ids = setting.tokenizer.encode(setting.text)[: count * SEGMENT]
    segments = [tuple(ids[at : at + SEGMENT]) for at in range(0, len(ids), SEGMENT)]
    losses, sizes = {}, {}
    for kind in ("bf16", "int8"):
        some = config.model_copy(update={"native": NativeSettings(kv=kind)})
        backend = Native.load(setting.model, some)
        losses[kind] = perplexity(backend, some, segments)
        sizes[kind] = backend.cache_bytes / (some.num_blocks * some.block_size)
        backend.close()
    share = 100 * sizes["int8"] / sizes["bf16"]
    change = 100 * (losses["int8"] / losses["bf16"] - 1)
    about = f"{losses['int8']:.4f} against {losses['bf16']:.4f} on {len(ids):,} ids"
    size = f"{sizes['int8']:,.0f} against {sizes['bf16']:,.0f} bytes a token"
    return [
        at_most(f"int8 keys and values ({size})", "% of bf16", share, 52),
        at_most(f"int8 keys and values, change of perplexity ({about})", "%", abs(change), 0.3),
    ]


def perplexity(backend: Backend, config: EngineConfig, segments: Sequence[tuple[int, ...]]) -> float:
    """Of texts, by the log-probabilities that the engine gives of a prompt."""
    found: list[float] = []
    done = threading.Semaphore(0)

    def sink(output: Output) -> bool:
        if output.error is not None:
            raise SystemExit(output.error)
        found.extend(each.logprob for each in output.prompt)
        if output.finish_reason is not None:
            done.release()
        return False

    sampling = Sampling(max_tokens=1, prompt_logprobs=0, ignore_end=True)
    with Engine(backend, config) as engine:
        for ids in segments:
            engine.submit(Request(ids=ids, sampling=sampling), sink)
        for _ in segments:
            done.acquire()
    assert len(found) == sum(len(ids) - 1 for ids in segments), "every id but the first is scored"
    return float(np.exp(-np.mean(found)))


def cancel(setting: Setting) -> list[dict]:
    """Requests called off while eight run: steps, and blocks that are still held when their end is told."""
    config, chance = EngineConfig(num_blocks=1024, prefix_cache=False), random.Random(0)
    backend = open_backend(setting.backend, setting.model, config)
    steps, given_back, held = [], [], []
    with Engine(backend, config) as engine:

        def now() -> tuple[int, int]:
            stats = engine.stats()
            return stats.num_steps, round(stats.kv_use * (config.num_blocks - 1))

        def ask(num_ids: int, max_tokens: int, sink: Callable[[Output], bool]) -> Callable[[], None]:
            sampling = Sampling(max_tokens=max_tokens, ignore_end=True, temperature=1.0, seed=0)
            ids = words(chance, num_ids, setting.tokenizer)
            return engine.submit(Request(ids=ids, sampling=sampling), sink).cancel

        for _ in range(10 if setting.is_quick else NUM_CANCELLED):
            others = [(one := Listener(), ask(20, 200, one)) for _ in range(7)]
            begun, ended, seen = threading.Event(), threading.Event(), []

            def sink(
                output: Output, seen: list[int] = seen, begun: threading.Event = begun, ended: threading.Event = ended
            ) -> bool:  # fmt: skip
                begun.set()
                if output.finish_reason is not None:
                    seen.append(now())
                    ended.set()
                return False

            call_off = ask(300, 200, sink)
            begun.wait()
            seen.append(now())
            call_off()
            ended.wait()
            steps.append(seen[1][0] - seen[0][0])
            given_back.append(seen[0][1] - seen[1][1])
            for _, call in others:
                call()
            for one, _ in others:
                one.done.wait()
            held.append(engine.stats().kv_use)
    return [
        at_most(f"{len(steps)} requests called off, the slowest", "steps", max(steps), 1),
        row("fewest blocks given back then (of 19; the others take up to 7)", "blocks", min(given_back), {}),
        at_most("blocks held when all had ended", "% of the cache", 100 * max(held), 0),
    ]


PARTS: dict[str, Callable[[Setting], list[dict]]] = {
    "prefix": prefix, "lookup": lookup, "kv": kv, "cancel": cancel,
    "drafts": lambda setting: drafts(setting.model, setting.tokenizer, setting.rounds),
    "pauses": lambda setting: pauses(setting.model, setting.tokenizer, setting.rounds),
    "door": lambda setting: door(setting.model, setting.rounds),
    "health": lambda setting: health(setting.model, is_quick=setting.is_quick),
    "start": lambda setting: start(setting.model, setting.rounds),
    "memory": lambda setting: memory(setting.model),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="A folder in the published layout.")
    parser.add_argument("--only", choices=PARTS, action="append", help="May be given more than once.")
    parser.add_argument("--backend", choices=("native", "torch_eager"), default="native")
    parser.add_argument("--text", type=Path, help="For the perplexity; without it these docs are taken.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--store", action="store_true", help="Keep the figures beside the benchmarks.")
    args = parser.parse_args()
    text = (
        args.text.read_text(encoding="utf-8")
        if args.text
        else documents(Path(__file__).parents[1] / "docs" / "guide")
    )
    setting = Setting(
        model=args.model,
        tokenizer=Tokenizer.load(args.model),
        backend=args.backend,
        rounds=1 if args.quick else args.rounds,
        is_quick=args.quick,
        text=text,
    )
    rows = [each for part in args.only or PARTS for each in PARTS[part](setting)]
    if args.store:
        keep(f"engine-{'-'.join(args.only)}" if args.only else "engine", rows)
    if not show("engine", rows, as_json=args.json):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
