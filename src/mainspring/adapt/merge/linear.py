"""The weighted mean of weights. Paper: arXiv:2203.05482 (model soups)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from mainspring.adapt.merge.base import Method
from mainspring.errors import ConfigError


class Linear(Method):
    """sum of weight_i W_i; with equal weights the uniform soup."""

    needs_base: ClassVar[bool] = False
    kind: Literal["linear"] = "linear"
    normalize: bool = Field(
        default=True, description="divide the weights by their sum, so that they add up to 1"
    )

    def check(self, weights: Sequence[float]) -> None:
        if self.normalize and sum(weights) == 0:
            raise ConfigError(
                "The weights of `parents` add up to 0; a mean needs another sum. Change one of them."
            )

    def factors(self, weights: Sequence[float]) -> list[float]:
        total = sum(weights) if self.normalize else 1.0
        return [weight / total for weight in weights]
