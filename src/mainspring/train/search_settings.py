"""What a search is told, and what is tried in it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import pydantic
from pydantic import Field

from mainspring.config import Config
from mainspring.train.search_methods import Never, Nsga2, Pruner, Sampler, Tpe
from mainspring.train.search_space import Dimension

Report = Callable[[int, float], None]


class PrunedError(Exception):
    """Raised by `report` through a trial that is to end; nobody but the search catches it."""


class Trial(Protocol):
    """What is tried. Must be picklable where several processes work."""

    def __call__(self, values: Mapping[str, Any], report: Report, folder: Path) -> Mapping[str, float]:
        """Try values, given by dotted key; metrics by name.

        Args:
            values: of the space.
            report: takes (step, value of the first objective's metric) on the way; raises where the trial is to end.
            folder: the trial's own; what a killed attempt left is in it.

        """
        ...


class Goal(Config):
    """A metric and where it should go."""

    metric: str = Field(default="valid_loss", description="a name among what a trial gives")
    direction: Literal["minimize", "maximize"] = Field(default="minimize", description="where it should go")


class SearchSettings(Config):
    """How a search goes on, whatever is tried."""

    space: dict[str, Dimension] = Field(min_length=1, description="distributions by dotted key")
    sampler: Sampler = Field(default=Tpe(), description="chooses what is tried next")
    pruner: Pruner = Field(default=Never(), description="ends trials early")
    goals: tuple[Goal, ...] = Field(
        default=(Goal(),),
        min_length=1,
        max_length=3,
        description="one; or several, between which there is a front",
    )
    trials: int = Field(default=20, ge=1, description="in all")
    max_minutes: float = Field(
        default=0.0, ge=0, description="after so long no further trial begins; 0: no limit"
    )
    seed: int = Field(default=0, description="of what is drawn; the trials' own seeds are theirs")

    @pydantic.model_validator(mode="after")
    def _go_together(self) -> Self:
        if len(self.goals) > 1 and not isinstance(self.pruner, Never):
            raise ValueError("with several `goals` no trial can be pruned; set `pruner.kind` to none")
        if (
            len(self.goals) > 1
            and not isinstance(self.sampler, (Nsga2, Tpe))
            and self.sampler.kind != "random"
        ):
            raise ValueError(
                f"a sampler of kind '{self.sampler.kind}' takes one goal; several take nsga2 or tpe"
            )
        return self
