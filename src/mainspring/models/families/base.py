"""What a family file says, and the list of those there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from mainspring.errors import WeightsError
from mainspring.models.config import ModelConfig

FAMILIES = ("llama", "bert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Weight names of one family: ours -> published, `{i}` standing for the layer.

    `head` is the published name of a head that is not the embedding; `unused` are published tensors that a
    file may hold and no forward pass here needs.
    """

    top: Mapping[str, str]
    layer: Mapping[str, str]
    head: str = ""
    unused: tuple[str, ...] = ()

    def table(self, config: ModelConfig) -> dict[str, str]:
        """Every weight of such a model: our name -> published name."""
        layers = {
            f"blocks.{i}.{ours}": published.format(i=i)
            for i in range(config.num_layers)
            for ours, published in self.layer.items()
        }
        head = {"head.weight": self.head} if config.has_head and not config.tied else {}
        return {**self.top, **layers, **head}


class Family(Protocol):
    """A family module."""

    NAMES: Names

    def config(self, published: Mapping[str, Any]) -> ModelConfig:
        """Read a published config.json."""
        ...

    def published(self, config: ModelConfig) -> dict[str, Any]:
        """Write a config.json that others read."""
        ...

    def tiny(self) -> ModelConfig:
        """A model of some thousand parameters for the tests."""
        ...


def family(name: str) -> Family:
    if name not in FAMILIES:
        raise WeightsError(f"The model's family is '{name}'; known families are {', '.join(FAMILIES)}.")
    return import_module(f"mainspring.models.families.{name}")  # type: ignore[return-value]
