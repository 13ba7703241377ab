"""What requests cost in time and tokens, counted for whoever watches: histograms and counters by model."""

import bisect
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from mainspring.schema import Usage

SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
MAX_MODELS = 100  # names come from clients: more than these share one label


@dataclass(slots=True)
class Histogram:
    """Counts of values up to each bound, the last one for all above."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        with self.lock:
            self.counts[bisect.bisect_left(self.bounds, value)] += 1
            self.total += value


def _seconds() -> Histogram:
    return Histogram(SECONDS)


def _tokens() -> Histogram:
    return Histogram(TOKENS)


@dataclass(slots=True)
class ModelMeter:
    """One model's figures; `ended` counts requests by how they ended, "error" among them."""

    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    first_token_s: Histogram = field(default_factory=_seconds)
    inter_token_s: Histogram = field(default_factory=_seconds)
    request_s: Histogram = field(default_factory=_seconds)
    prompt_tokens: Histogram = field(default_factory=_tokens)
    output_tokens: Histogram = field(default_factory=_tokens)
    ended: dict[str, int] = field(default_factory=dict)
    num_open: int = 0

    def begin(self) -> None:
        with self.lock:
            self.num_open += 1

    def end(self, reasons: Iterable[str], duration_s: float, usages: Iterable[Usage]) -> None:
        """A request has ended, each of its replies for a reason."""
        with self.lock:
            self.num_open -= 1
            for reason in reasons:
                self.ended[reason] = self.ended.get(reason, 0) + 1
        self.request_s.observe(duration_s)
        for number, usage in enumerate(usages):
            if number == 0:  # the replies to one request share its prompt
                self.prompt_tokens.observe(usage.prompt_tokens)
            self.output_tokens.observe(usage.completion_tokens)


class Meter:
    """The figures of all models; thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.models: dict[str, ModelMeter] = {}

    def of(self, name: str) -> ModelMeter:
        with self.lock:
            if name not in self.models and len(self.models) >= MAX_MODELS:
                name = "other"
            return self.models.setdefault(name, ModelMeter())
