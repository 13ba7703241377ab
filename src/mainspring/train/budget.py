"""One dial, the time: size, batch, learning rate and steps of a pre-training run follow from it.

    speed of this machine x time -> work -> size and tokens -> batch and learning rate -> pace of a step -> steps

Size: where a law was fitted (`mainspring scale`), the one whose forecast is lowest; else 20 tokens a parameter
(arXiv:2203.15556). A text is gone through four times at most, and what is read again counts less (arXiv:2305.16264).
Batch and learning rate: arXiv:2401.02954, eq. 1, fitted there to runs of 1e17 operations and more. Below, the batch
is carried on and the learning rate stays what it is at 1e17, for the formula's would grow until runs are lost.
"""

import math
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mainspring.errors import ConfigError
from mainspring.models.describe import describe
from mainspring.registry import Registry
from mainspring.train.corpus import Corpus, num_held, read_corpus, row_length
from mainspring.train.law_store import find_law
from mainspring.train.pace import Pace, Speeds, measure_pace, measure_speeds
from mainspring.train.preflight import check_settings
from mainspring.train.ranks import find_ranks
from mainspring.train.recipe import Recipe, load_recipe
from mainspring.train.scaling import MAX_PASSES, effective_tokens
from mainspring.train.shape import BACKWARD, SIZE_KEYS, WIDTHS, shaped, work_per_token

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
RATIO = 20  # tokens a parameter
LEAST_FITTED = 1e17  # floating-point operations of the smallest runs that the learning rate was fitted to
PROBE = 0.05  # of the budget, for the pace of the chosen model's steps
CLOSING = 0.01  # of the budget, for opening data and writing the model
MIN_SIZES = 3  # fewer tell nothing of how the loss falls with size
SAVES, REPORTS = 20, 100  # over the run

Load = Callable[[Mapping[str, Any]], Recipe]


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A value and why it is that one."""

    what: str
    value: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgeted:
    """A recipe that takes the time it was given, and how it came about."""

    recipe: Recipe
    derived: Sequence[Derived]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A candidate: its width, its parameters, the tokens it would learn in the time, and what these are worth."""

    width: int
    parameters: int
    work: int
    tokens: float
    worth: float


def parse_budget(text: str) -> float:
    """Seconds of "90s", "30m", "1.5h", "2d"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if not found or not float(found[1]):
        raise ConfigError(f"The budget is '{text}'; write a time such as 90s, 30m or 2h.")
    return float(found[1]) * UNITS[found[2]]


def batch_tokens(work: float) -> float:
    """Tokens of a step for a run of so many floating-point operations (arXiv:2401.02954, eq. 1)."""
    return 0.2920 * work**0.3271


def learning_rate(work: float) -> float:
    """Highest learning rate of AdamW for such a run (arXiv:2401.02954, eq. 1, from its smallest run on)."""
    return 0.3118 * max(work, LEAST_FITTED) ** -0.1250


def sizes_for(recipe: Recipe, corpus: Corpus, speeds: Speeds, seconds: float) -> list[Size]:
    """All sizes of the recipe's family, smallest first, with what they would learn in the time."""
    assert not isinstance(recipe.model, str)
    found = []
    for width in WIDTHS:
        config = corpus.config_of(shaped(recipe.model, width))
        work, parameters = work_per_token(config), describe(config).parameters
        tokens = min(seconds / speeds.seconds_per_token(work), MAX_PASSES * corpus.unique)
        worth = effective_tokens(tokens, corpus.unique)
        found.append(Size(width=width, parameters=parameters, work=work, tokens=tokens, worth=worth))
        if tokens < parameters and len(found) >= MIN_SIZES:
            break
    return found


def near_ratio(sizes: Sequence[Size]) -> Size:
    """The size that learns about 20 tokens a parameter."""
    return min(sizes, key=lambda size: abs(math.log(size.tokens / size.parameters / RATIO)))


def load_budgeted(
    registry: Registry, preset: str, files: Sequence[Path], settings: Sequence[str], seconds: float
) -> Budgeted:
    """A preset with derived values over it, and `files` and `settings` over these.

    Raises:
        ConfigError: a recipe whose size and length do not follow from a time, or that sets them itself.

    """

    def load(values: Mapping[str, Any]) -> Recipe:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "derived.yaml"
            path.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
            return load_recipe(preset, [path, *files], settings)

    return derive(registry, load, seconds)


def derive(registry: Registry, load: Load, seconds: float) -> Budgeted:
    """Derive what a run of so many seconds is; `load` lays given values under the user's own."""
    began = time.monotonic()
    if find_ranks().size > 1:
        raise ConfigError(
            "--budget measures one process, and each of several would derive another run. Derive it in one with "
            "--plan, and give what it derived with -o."
        )
    given = load({})
    corpus = read_corpus(registry, given)
    if given.train.steps:
        raise ConfigError(
            f"`train.steps` is {given.train.steps}, but --budget derives it. Leave one of them out."
        )
    values: dict[str, Any] = {}
    if given.validation is None and (held := corpus.validation()):
        values["validation"] = held
    check_settings(load(values))
    said = [_about_data(corpus, given)]
    if not _is_sized(load):
        size, line = _choose(registry, given, corpus, seconds)
        values["model"] = {key: each for key, each in size.items() if key in SIZE_KEYS}
        said.append(line)
    recipe = load(values)
    more, lines = _hyperparameters(registry, recipe, corpus, seconds)
    recipe = load({**values, "train": more})
    pace = measure_pace(registry, recipe, PROBE * seconds)
    held = num_held(registry, recipe) * pace.seconds_per_token / (1 + BACKWARD)
    left = (1 - CLOSING) * seconds - held - SAVES * pace.save_seconds - (time.monotonic() - began)
    steps, line = _steps(pace, corpus, left, seconds)
    more |= {
        "steps": steps, "save_every_steps": max(1, steps // SAVES), "report_every_steps": max(1, steps // REPORTS)
    }  # fmt: skip
    recipe = load({**values, "train": more})
    foreseen = foresee_loss(registry, recipe, steps * pace.tokens_per_step)
    said += [*lines, line, *_about_loss(foreseen)]
    return Budgeted(recipe=recipe, derived=said)


def _is_sized(load: Load) -> bool:
    """Whether the user has set a size: one of its keys is there although nothing else gives it."""
    model = load({"model": dict.fromkeys(SIZE_KEYS)}).model
    return isinstance(model, str) or any(model.get(key) is not None for key in SIZE_KEYS)


def _about_data(corpus: Corpus, recipe: Recipe) -> Derived:
    held = f"; {recipe.validation.kind} held out" if recipe.validation else ""
    held = held or (f"; {corpus.held[1]:,} held out" if corpus.held else "; nothing is held out")
    why = f"the split is gone through {MAX_PASSES} times at most{held}"
    return Derived(what="data", value=f"{corpus.unique:,} tokens", why=why)


def _choose(
    registry: Registry, recipe: Recipe, corpus: Corpus, seconds: float
) -> tuple[Mapping[str, Any], Derived]:
    """Values of a model's size, and the line that says why."""
    assert not isinstance(recipe.model, str)
    speeds = measure_speeds(registry, recipe, corpus, seconds)
    sizes = sizes_for(recipe, corpus, speeds, seconds)
    law = find_law(registry, recipe)
    if law is None:
        best = near_ratio(sizes)
        why = f"nearest to {RATIO} tokens a parameter; `mainspring scale` would fit a law to these data"
    else:
        best = min(sizes, key=lambda size: law[1].law.loss(size.parameters, size.worth))
        why = f"lowest loss by {law[0].reference}"
    model = shaped(recipe.model, best.width)
    layers, heads = model["num_hidden_layers"], model["num_attention_heads"]
    value = f"width {best.width}, {layers} layers, {heads} heads: {best.parameters:,} parameters"
    ratio = best.tokens / best.parameters
    limit = " (all that the data give)" if best.tokens >= MAX_PASSES * corpus.unique else ""
    return model, Derived(what="size", value=value, why=f"{why}; {ratio:.0f} a parameter{limit}")


def _hyperparameters(
    registry: Registry, recipe: Recipe, corpus: Corpus, seconds: float
) -> tuple[dict[str, Any], list[Derived]]:
    """Batch and learning rate by the work that fits the time."""
    assert not isinstance(recipe.model, str)
    config = corpus.config_of(recipe.model)
    pace = measure_pace(registry, recipe, PROBE * seconds / 5)
    tokens = min(seconds / pace.seconds_per_token, MAX_PASSES * corpus.unique)
    work, length = work_per_token(config) * tokens, row_length(recipe, config)
    rows = max(1, round(batch_tokens(work) / length))
    rate = 1 / pace.seconds_per_token
    speed = f"{rate:,.0f} tok/s, {work_per_token(config) * rate / 1e9:,.0f} GFLOP/s"
    said = [
        Derived(what="speed", value=speed, why="measured on this model"),
        Derived(
            what="batch", value=f"{rows} rows of {length} ids",
            why=f"0.2920 C^0.3271 ids, C = {work:.1e} operations",
        ),
    ]  # fmt: skip
    found: dict[str, Any] = {"items_per_step": rows}
    if recipe.train.optim.kind == "adamw":
        found["optim"] = {"lr": float(f"{learning_rate(work):.2e}")}
        said.append(
            Derived(
                what="learning rate",
                value=f"{found['optim']['lr']:g}",
                why=f"0.3118 C^-0.1250, C at least {LEAST_FITTED:g}",
            )
        )
    return found, said


def _steps(pace: Pace, corpus: Corpus, left: float, seconds: float) -> tuple[int, Derived]:
    by_time = int(left / pace.seconds_per_step)
    by_data = int(MAX_PASSES * corpus.unique / pace.tokens_per_step)
    steps = min(by_time, by_data)
    if steps < 1:
        raise ConfigError(
            f"In {seconds:.0f} s not one step of {pace.tokens_per_step:,.0f} tokens can be made "
            f"({pace.seconds_per_step:.1f} s each, after probing) from {corpus.unique:,} tokens of data. Give more "
            "of what lacks."
        )
    tokens = steps * pace.tokens_per_step
    why = f"{pace.seconds_per_step:.3f} s each; {tokens:,.0f} tokens, {tokens / corpus.unique:.2f} passes"
    if by_data < by_time:
        why += f"; the data end it after {steps * pace.seconds_per_step:.0f} of {left:.0f} s"
    return steps, Derived(what="steps", value=f"{steps:,}", why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenLoss:
    """Nats a held-out token, between `low` and `high` in 95 of 100 runs, by the law of that reference."""

    loss: float
    low: float
    high: float
    law: str


def foresee_loss(registry: Registry, recipe: Recipe, tokens: float) -> ForeseenLoss | None:
    """What a recipe should come to after so many tokens; None where no law was fitted for it."""
    found = find_law(registry, recipe)
    if found is None or isinstance(recipe.model, str):
        return None
    artifact, fit = found
    corpus = read_corpus(registry, recipe)
    size, worth = describe(corpus.config_of(recipe.model)).parameters, effective_tokens(tokens, corpus.unique)
    low, high = fit.interval(size, worth)
    return ForeseenLoss(loss=fit.law.loss(size, worth), low=low, high=high, law=artifact.reference)


def _about_loss(found: ForeseenLoss | None) -> list[Derived]:
    if found is None:
        return []
    value = f"{found.loss:.3f} ({found.low:.3f} to {found.high:.3f})"
    return [Derived(what="held-out loss", value=value, why=f"forecast by {found.law}, nats a token, 95 %")]
