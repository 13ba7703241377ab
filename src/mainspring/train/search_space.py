"""What a search may set, and how each value is drawn; a value's name is a dotted key of what is tried."""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from mainspring.config import Config
from mainspring.errors import ConfigError

if TYPE_CHECKING:
    import optuna


class Number(Config):
    """What is drawn between two ends."""

    def value(self, kept: Any) -> Any:
        """The value of what a study kept."""
        return kept


class Float(Number):
    """A number between two others."""

    kind: Literal["float"] = "float"
    low: float = Field(description="the smallest value")
    high: float = Field(description="the largest value")
    log: bool = Field(default=False, description="drawn evenly over its logarithm; for rates and decays")

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        _check_order(self.low, self.high, log=self.log)
        return self

    def suggest(self, trial: "optuna.Trial", name: str) -> float:
        """The value that a trial takes."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def ends(self) -> tuple[Any, Any]:
        """Two values that are far from each other."""
        return self.low, self.high


class Integer(Number):
    """A whole number between two others, `step` apart."""

    kind: Literal["int"] = "int"
    low: int = Field(description="the smallest value")
    high: int = Field(description="the largest value")
    step: int = Field(default=1, ge=1, description="between two values; such as a head's size for a width")
    log: bool = Field(default=False, description="drawn evenly over its logarithm; not together with `step`")

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        _check_order(self.low, self.high, log=self.log)
        if self.log and self.step != 1:
            raise ValueError(f"`log` and a `step` of {self.step} do not go together; leave one out")
        return self

    def suggest(self, trial: "optuna.Trial", name: str) -> int:
        """The value that a trial takes."""
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def ends(self) -> tuple[Any, Any]:
        """Two values that are far from each other."""
        return self.low, self.low + (self.high - self.low) // self.step * self.step


class Choice(Config):
    """One of several values, which may be whole settings, such as {kind: muon}."""

    kind: Literal["choice"] = "choice"
    values: tuple[Any, ...] = Field(
        min_length=2, description="of which one is taken; no order is seen in them"
    )

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        """The value that a trial takes; the study knows nested ones by their JSON text."""
        return self.value(trial.suggest_categorical(name, [_name_of(value) for value in self.values]))

    def value(self, kept: Any) -> Any:
        """The value of what a study kept."""
        return deepcopy(next(value for value in self.values if _name_of(value) == kept))

    def ends(self) -> tuple[Any, Any]:
        """Two values that are far from each other."""
        return self.values[0], self.values[-1]


Dimension = Annotated[Float | Integer | Choice, Field(discriminator="kind")]
Space = Mapping[str, Dimension]


def draw(space: Space, trial: "optuna.Trial") -> dict[str, Any]:
    """Values by dotted key."""
    return {key: dimension.suggest(trial, key) for key, dimension in space.items()}


def values_of(space: Space, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key of what a study kept, which has nested ones as text."""
    return {key: space[key].value(kept) for key, kept in drawn.items()}


def probes(space: Space) -> list[dict[str, Any]]:
    """Values that show whether every key can be set: all at one end, then each at its other end alone."""
    first = {key: dimension.ends()[0] for key, dimension in space.items()}
    return [first, *({**first, key: dimension.ends()[1]} for key, dimension in space.items())]


def put(values: Mapping[str, Any], set_: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values with others set by their dotted keys.

    Raises:
        ConfigError: a key leads through something that has no keys.

    """
    filled = deepcopy(dict(values))
    for dotted, value in set_.items():
        *path, last = dotted.split(".")
        inner = filled
        for number, part in enumerate(path):
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"`{dotted}` cannot be searched over: `{'.'.join(path[: number + 1])}` is {inner!r}, which has "
                    "no keys."
                )
        inner[last] = value
    return filled


def _check_order(low: float, high: float, *, log: bool) -> None:
    if not low < high:
        raise ValueError(f"`low` is {low} and `high` {high}; `low` must be smaller")
    if log and low <= 0:
        raise ValueError(f"`low` is {low}; with `log` it must be above 0")


def _name_of(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (dict, list)) else value
