"""Runs of benchmarks/tuning.py that can be stopped and gone on with: training, and measuring before and after."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mainspring.artifact import fingerprint_of
from mainspring.config import build
from mainspring.evaluate.compare import paired_bootstrap
from mainspring.models.model import Model
from mainspring.progress import say
from mainspring.train.batch import Item
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.base import Objective
from mainspring.train.plan import Plan
from mainspring.train.session import Rollout
from mainspring.train.sources.base import Source
from report import machine, row, show

CHUNK = 32
PLAN = Plan(dtype="bf16", micro_batch_tokens=2048, threads=1)


@dataclass(slots=True)
class Bench:
    """A folder that keeps what was measured and trained, and the processor time that it took."""

    folder: Path
    _mark: float = field(default_factory=time.process_time)

    def minutes(self) -> float:
        """Of one core, over all times that this was begun; written down as far as it is."""
        path, now = self.folder / "cpu_seconds", time.process_time()
        spent = (float(path.read_text()) if path.exists() else 0.0) + now - self._mark
        _write(path, str(spent))
        self._mark = now
        return spent / 60

    def measure(
        self, name: str, model: Model, items: Sequence[Item], of: Callable[[Sequence[Item]], list[float]]
    ) -> list[float]:
        """A number of each item, the short ones first, kept in a file after every few."""
        ids = [[list(segment.ids) for segment in item] for item in items]
        key = fingerprint_of([ids, _weights(model)])
        path = self.folder / f"{name}-{key[:8]}.json"
        found: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
        left = [at for at in range(len(items)) if str(at) not in found]
        left.sort(key=lambda at: sum(segment.num_tokens for segment in items[at]))
        for first in range(0, len(left), CHUNK):
            part = left[first : first + CHUNK]
            with torch.inference_mode(), PLAN.autocast():
                values = of([items[at] for at in part])
            found |= {str(at): value for at, value in zip(part, values, strict=True)}
            _write(path, json.dumps(found))
            say(f"{name}: {len(found)} of {len(items)}, {self.minutes():.1f} min of one core")
        return [found[str(at)] for at in range(len(items))]

    def train(
        self,
        model: Model,
        source: Source,
        objective: Objective,
        *,
        rollout: Rollout | None = None,
        **values: Any,
    ) -> float:
        """Train to the end, from where it was left; the trained tokens."""
        kept = {"report_every_steps": 5, "save_every_steps": 5, **values}
        config = build(TrainConfig, kept).model_copy(update={"plan": PLAN})
        made_of = [objective.model_dump(mode="json"), config.model_dump(mode="json"), source.fingerprint]
        state = self.folder / f"state-{fingerprint_of([*made_of, _names(model)])[:8]}"
        return train(
            model, source, objective, config, state, rollout=rollout, on_step=lambda _: self._note()
        ).trained_tokens

    def _note(self) -> None:
        self.minutes()


def open_bench(folder: Path) -> Bench:
    """A bench that computes with one thread, for it shares the machine."""
    torch.set_num_threads(PLAN.threads)
    folder.mkdir(parents=True, exist_ok=True)
    return Bench(folder)


def compared(what: str, unit: str, before: Sequence[float], after: Sequence[float]) -> dict:
    """The row of a paired comparison on the same items, more is better: the gain, its 95 % interval, p."""
    found = paired_bootstrap(before, after)
    return {
        **row(what, unit, found.after, {"before": found.before}), "ratio": None, "gain": found.difference,
        "low": found.low, "high": found.high, "p": found.p_value, "items": found.num_items,
    }  # fmt: skip


def tell(benchmark: str, rows: Sequence[dict], *, as_json: bool) -> None:
    """Print the rows; as text with the gains, their intervals and p."""
    if as_json:
        show(benchmark, rows, as_json=True)
        return
    print(f"{benchmark} on {machine()}")
    for each in rows:
        line = f"{each['what']}: {each['ours']:.4g} {each['unit']}"
        if "gain" in each:
            line += (
                f", before {each['opponents']['before']:.4g}, gain {each['gain']:+.4g} "
                f"({each['low']:+.4g} to {each['high']:+.4g}, p = {each['p']:.2g}, {each['items']} items)"
            )
        print(line)


def _write(path: Path, text: str) -> None:
    beside = path.with_suffix(".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _weights(model: Model) -> list:
    """What tells this model from another one, and from itself before it was trained."""
    return [
        [name, list(each.shape), float(each.detach().double().sum())]
        for name, each in model.named_parameters()
    ]


def _names(model: Model) -> list:
    return [[name, list(each.shape)] for name, each in model.named_parameters()]
