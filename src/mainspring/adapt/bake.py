"""An adapter made part of the weights, where its kind allows that; what comes out is a plain model."""

from collections.abc import Callable, Mapping

from torch import nn

from mainspring.adapt import base as adapters
from mainspring.adapt import ia3, lora
from mainspring.adapt.base import Adapter
from mainspring.adapt.ia3 import Ia3
from mainspring.adapt.lora import Lora, QLora
from mainspring.errors import ConfigError

BAKERS: Mapping[type[Adapter], Callable[[nn.Module, str], None]] = {Lora: lora.merge, Ia3: ia3.merge}


def bake(model: nn.Module, name: str) -> None:
    """Put what an adapter learnt into the weights, and take it off.

    Raises:
        ConfigError: a kind that is no change of weights, other adapters beside it, or weights in 4 bits.

    """
    config = adapters.adapters_of(model).configs[name]
    check_bakes(config, f"The adapter '{name}'")
    BAKERS[Ia3 if isinstance(config, Ia3) else Lora](model, name)


def check_bakes(config: Adapter, what: str) -> None:
    """See that an adapter of these settings can become part of the weights.

    Raises:
        ConfigError: it cannot.

    """
    if isinstance(config, QLora):
        raise ConfigError(
            f"{what} lies on weights that are kept in 4 bits, which nothing can be added to. Train one of kind 'lora'."
        )
    if not isinstance(config, tuple(BAKERS)):
        raise ConfigError(
            f"{what} is of kind '{config.kind}', which is no change of weights. Keep it beside the model, or train "
            "one of kind 'lora' or 'ia3'."
        )
