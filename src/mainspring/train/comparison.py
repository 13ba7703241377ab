"""Runs side by side: what was set otherwise, what they came to, and the way there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mainspring.train.history import History, Outcome, places

Losses = Mapping[str, list[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Mean losses of each run on the stretches that end at `places`."""

    places: list[float]
    losses: Losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`differences`: dotted key -> value of each run, in the order given; runs that are no training have no outcome."""

    runs: list[str]
    differences: dict[str, list[Any]]
    outcomes: dict[str, Outcome | None]
    over_steps: Curve
    over_trained_tokens: Curve


def compare(configs: Mapping[str, Mapping[str, Any]], histories: Mapping[str, History]) -> Comparison:
    """Hold the configurations and histories of runs against each other."""
    return Comparison(
        runs=list(configs), differences=differences(list(configs.values())),
        outcomes={name: history.outcome() for name, history in histories.items()},
        over_steps=_curve(histories, {name: each.steps for name, each in histories.items()}),
        over_trained_tokens=_curve(histories, {name: each.trained_tokens for name, each in histories.items()}),
    )  # fmt: skip


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Dotted keys whose values are not the same in all; None where a configuration has no such key."""
    flat = [flatten(each) for each in configs]
    keys = dict.fromkeys(key for each in flat for key in each)
    values = {key: [each.get(key) for each in flat] for key in keys}
    return {key: each for key, each in values.items() if any(value != each[0] for value in each)}


def flatten(values: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{at}{key}.") if isinstance(value, Mapping) else {f"{at}{key}": value}
    return flat


def _curve(histories: Mapping[str, History], at: Mapping[str, Sequence[float]]) -> Curve:
    most = max((each[-1] for each in at.values() if each), default=0)
    ends = places(most) if most else []
    losses = {name: history.mean_losses(ends, at[name]) for name, history in histories.items()}
    return Curve(places=ends, losses=losses)
