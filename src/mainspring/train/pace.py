"""How fast this machine trains: a few steps of throw-away models, timed."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mainspring.models.describe import describe
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.train.corpus import Corpus, row_length
from mainspring.train.preflight import without_validation
from mainspring.train.recipe import Recipe
from mainspring.train.run import open_recipe
from mainspring.train.shape import shaped, work_per_token

MANY = 10**6
MIN_STEPS = 3
PROBED = (64, 128, 256, 512, 1024, 2048)
TOO_FEW = 4  # tokens a parameter: a model that gets no more is past what is worth probing


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Of a recipe's steps, with their data; `save_seconds`: of keeping a state."""

    tokens_per_step: float
    seconds_per_step: float
    save_seconds: float

    @property
    def seconds_per_token(self) -> float:
        return self.seconds_per_step / self.tokens_per_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Seconds a trained token by the work that it is (`work_per_token`), as measured: (work, seconds)."""

    points: Sequence[tuple[float, float]]

    def seconds_per_token(self, work: float) -> float:
        """Straight between the points of a logarithmic plot, and on behind them."""
        logs = [(math.log(x), math.log(y)) for x, y in sorted(self.points)]
        if len(logs) == 1:
            return self.points[0][1] * work / self.points[0][0]
        at = math.log(work)
        right = next((place for place, (x, _) in enumerate(logs) if x >= at), len(logs) - 1)
        (x0, y0), (x1, y1) = logs[max(0, right - 1)], logs[max(1, right)]
        return math.exp(y0 + (y1 - y0) * (at - x0) / (x1 - x0))


def measure_pace(registry: Registry, recipe: Recipe, seconds: float) -> Pace:
    """Train a recipe's model for about so long, and forget it."""
    train = without_validation(recipe.train).model_copy(update={"steps": MANY})
    endless = recipe.model_copy(update={"train": train, "validation": None})
    opened = open_recipe(registry, endless)
    with tempfile.TemporaryDirectory() as folder, opened.session(registry, endless, Path(folder)) as session:
        reports = session.steps()
        next(reports)  # the first step is slower: it allocates
        began, tokens, steps = time.monotonic(), 0, 0
        for report in reports:
            tokens, steps = tokens + report.tokens, steps + 1
            if steps >= MIN_STEPS and time.monotonic() - began >= seconds:
                break
        elapsed = time.monotonic() - began
        session.save()
        saved = time.monotonic() - began - elapsed
    return Pace(tokens_per_step=tokens / steps, seconds_per_step=elapsed / steps, save_seconds=saved)


def measure_speeds(registry: Registry, recipe: Recipe, corpus: Corpus, seconds: float) -> Speeds:
    """Speeds at growing sizes, up to one that a budget of so many seconds could not teach much."""
    assert not isinstance(recipe.model, str)
    points: list[tuple[float, float]] = []
    for width in PROBED:
        model = shaped(recipe.model, width)
        config = corpus.config_of(model)
        rows = max(1, recipe.train.plan.micro_batch_tokens // row_length(recipe, config))
        train = recipe.train.model_copy(update={"items_per_step": rows})
        probing = recipe.model_copy(update={"model": model, "train": train})
        pace = measure_pace(registry, probing, seconds / 100)
        points.append((work_per_token(config), pace.seconds_per_token))
        size = describe(config).parameters
        say(f"probe: width {width}, {size:,} parameters, {1 / pace.seconds_per_token:,.0f} tok/s")
        if seconds / pace.seconds_per_token < TOO_FEW * size:
            break
    return Speeds(points=points)
