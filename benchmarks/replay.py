"""Whether recorded requests give the same ids and log-probabilities again, whatever else runs.

python benchmarks/replay.py --model FOLDER [--requests 1000] [--backend native] [--quick] [--json]

A thousand requests, half greedy and half seeded, are recorded in one pass and run again alone and in company, in
another order, with and without the prefix cache, speculation, small chunks and preemption. In the exact mode every
one must be equal to the bit; beside it stands what the fast mode (torch, nothing padded) makes of the same requests.
"""

import argparse
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import torch

from mainspring.infer.backends.base import Backend
from mainspring.infer.backends.live import Live
from mainspring.infer.backends.native import Native
from mainspring.infer.backends.torch_eager import TorchEager
from mainspring.infer.drafts import DraftModel
from mainspring.infer.engine import Engine
from mainspring.infer.kernels import probe
from mainspring.infer.request import EngineConfig, Output, Request
from mainspring.models.load import load
from mainspring.schema import Sampling
from mainspring.tokenizer.base import Tokenizer
from report import row, show

TEXT = (
    "spring wheel gear clock hour winding barrel escapement pallet train bridge jewel oil brass steel chain "
    "the a of to and in is was for on that with as at by it from"
)
WORDS = tuple(TEXT.split())
PASSES: dict[str, dict[str, object]] = {
    "alone, no cache, no speculation": {"max_running": 1, "prefix_cache": False, "speculation": False},
    "16 at once, cache and speculation": {"max_running": 16},
    "16 at once, no cache": {"max_running": 16, "prefix_cache": False},
    "16 at once, no speculation": {"max_running": 16, "speculation": False},
    "7 at once, chunks of 24": {"max_running": 7, "max_step_tokens": 24},
    "16 at once, preempted": {"max_running": 16, "num_blocks": 40},
}


@dataclass
class Listener:
    """Collects a reply."""

    found: list[tuple[int, float]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, output: Output) -> bool:
        self.found += [(each.id, each.logprob) for each in output.chosen]
        if output.end is not None:
            self.found.append((output.end.id, output.end.logprob))
        if output.error is not None:
            raise SystemExit(output.error)
        if output.finish_reason is not None:
            self.done.set()
        return False


@dataclass(frozen=True)
class Passed:
    """What one pass over all requests gave."""

    replies: list[list[tuple[int, float]]]
    seconds: float
    num_preemptions: int
    accepted_tokens: int

    @property
    def tokens_per_s(self) -> float:
        return sum(map(len, self.replies)) / self.seconds


def make_requests(tokenizer: Tokenizer, number: int) -> list[Request]:
    """Prompts of 20 to 200 ids, some with a common beginning, some that invite copying."""
    chance = random.Random(0)
    common = " ".join(chance.choices(WORDS, k=60))
    requests = []
    for index in range(number):
        words = " ".join(chance.choices(WORDS, k=chance.randint(15, 120)))
        text = {0: words, 1: f"{common} {words[:80]}", 2: f"{words[:200]}. {words[:200]}"}[index % 3]
        sampling = Sampling(max_tokens=chance.randint(4, 24), ignore_end=index % 5 == 0)
        if index % 2:
            sampling = msgspec.structs.replace(
                sampling, temperature=chance.choice([0.5, 1.0, 1.5]), seed=index, top_p=chance.choice([0.9, 1.0]),
                top_k=chance.choice([0, 20]), repetition_penalty=chance.choice([1.0, 1.1]),
            )  # fmt: skip
        ids = tuple(tokenizer.encode(text)[:200])
        requests.append(Request(ids=ids, sampling=sampling, end_ids=tokenizer.end_ids))
    return requests


def run(
    backend: Backend, config: EngineConfig, requests: Sequence[Request], order: int, *, draft: Native | None = None
) -> Passed:  # fmt: skip
    places = list(range(len(requests)))
    random.Random(order).shuffle(places)
    listeners = [Listener() for _ in requests]
    start = time.perf_counter()
    guesser = DraftModel(draft, config, draft.vocab_size) if draft is not None else None
    with Engine(backend, config, draft=guesser) as engine:
        for place in places:
            engine.submit(requests[place], listeners[place])
        for listener in listeners:
            listener.done.wait()
        seconds, stats = time.perf_counter() - start, engine.stats()
    return Passed([each.found for each in listeners], seconds, stats.num_preemptions, stats.accepted_tokens)


def open_backend(name: str, folder: Path, config: EngineConfig) -> Backend:
    if name == "native":
        return Native.load(folder, config)
    model = load(folder).requires_grad_(False)
    return Live(model, config) if name == "fast" else TorchEager(model, probe(model), config)


def rows_of(name: str, folder: Path, requests: Sequence[Request]) -> list[dict[str, object]]:
    size = EngineConfig(num_blocks=1024, max_waiting=len(requests))
    backend = open_backend(name, folder, size)
    recorded = run(backend, size.model_copy(update={"max_running": 16}), requests, order=0)
    rows = []
    for order, (what, changes) in enumerate(PASSES.items(), 1):
        passed = run(backend, size.model_copy(update=changes), requests, order)
        equal = sum(map(list.__eq__, passed.replies, recorded.replies))
        same_ids = sum(
            [token_id for token_id, _ in now] == [token_id for token_id, _ in then]
            for now, then in zip(passed.replies, recorded.replies, strict=True)
        )
        about = (
            f"{passed.tokens_per_s:.0f} tokens/s, {passed.num_preemptions} preempted, {passed.accepted_tokens} drafts "
            f"right, {same_ids / len(requests):.1%} with the same ids"
        )
        share = 100 * equal / len(requests)
        floor = None if name == "fast" else 100.0
        rows.append(
            row(f"{name}, {what} ({about})", "% equal to the bit", share, {}, floor) | {"ratio": share}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--backend", choices=("native", "torch_eager"), default="native")
    parser.add_argument("--fast", action="store_true", help="Also measure the fast mode.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    requests = make_requests(Tokenizer.load(args.model), 60 if args.quick else args.requests)
    torch.manual_seed(0)
    rows = rows_of(args.backend, args.model, requests)
    if args.fast:
        rows += rows_of("fast", args.model, requests[: len(requests) // 10])
    if not show("replay", rows, as_json=args.json):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
