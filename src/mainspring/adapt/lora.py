"""Low-rank adapters: beside a frozen linear W stand two small factors.

Paper: arXiv:2106.09685, section 4.1: y = W x + (alpha / rank) B A x, A random, B zero at the start. rslora scales
by alpha / sqrt(rank) (arXiv:2312.03732, eq. 3). dora learns the length of every row of the sum as well
(arXiv:2402.09353, eq. 5), whose gradient does not flow through the norm (section 4.3).

Shapes: T tokens, I a linear's inputs, O its outputs, R rank.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from mainspring.adapt import base as adapters
from mainspring.adapt.base import Adapter
from mainspring.adapt.quantized import FourBits, QuantLinear
from mainspring.errors import ConfigError

TARGETS = ("q", "k", "v", "o", "gate", "up", "down")


class Lora(Adapter):
    """Low-rank factors beside linears."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=8, ge=1, description="inner width of the two factors")
    alpha: float = Field(
        default=16.0, gt=0, description="the product of the factors is scaled by alpha / rank"
    )
    targets: tuple[str, ...] = Field(
        default=TARGETS,
        min_length=1,
        description="which linears get factors: names, for every layer, patterns of paths, or all",
    )
    rslora: bool = Field(default=False, description="scale by alpha / sqrt(rank) instead")
    dora: bool = Field(default=False, description="learn the length of every row beside its direction")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="part of the factors' inputs left out in training"
    )

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Put factors on all targets."""
        attach(model, self, name, paths=adapters.target_paths(model, self.targets), seed=seed)


class QLora(Lora):
    """The same beside linears that are kept in 4 bits."""

    kind: Literal["qlora"] = "qlora"  # type: ignore[assignment]
    bits: FourBits = Field(default="nf4", description="how the frozen weights are kept")
    block: int = Field(default=64, ge=2, multiple_of=2, description="weights that share a scale")
    double_quantization: bool = Field(default=True, description="keep the scales in 8 bits as well")

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Quantize all linears of the blocks, for good, then put factors on the targets.

        The original weights are let go, so the model stays in 4 bits when the adapter is taken off.

        Raises:
            ConfigError: other adapters were trained on the original weights, or the model is in other 4 bits.

        """
        adapters.check_free(model, name)
        adapters.target_paths(model, self.targets)  # refuses before anything is changed
        plain = self._find_plain(model)
        adapters.base_fingerprint(model)  # of the weights as they were: others load the adapter onto those
        for path in plain:
            linear = adapters.plain_at(model, path)
            assert isinstance(linear, nn.Linear)
            quantized = QuantLinear(linear, self.bits, self.block, double=self.double_quantization)
            adapters.replace(model, path, quantized)
        super().attach(model, name, seed=seed)

    def _find_plain(self, model: nn.Module) -> list[str]:
        """Paths of what is to be quantized: all linears of the blocks, or none if that was done alike before."""
        settings = (self.bits, self.block, self.double_quantization)
        plain: list[str] = []
        for path in adapters.target_paths(model, ("all",)):
            linear = adapters.plain_at(model, path)
            if not isinstance(linear, QuantLinear):
                plain.append(path)
            elif (linear.kind, linear.block, linear.double_quantization) != settings:
                raise ConfigError(
                    f"{path} is kept as {linear.kind} in blocks of {linear.block} already, not as {self.bits} in "
                    f"blocks of {self.block}. Give `bits`, `block` and `double_quantization` as they are, or load the "
                    "model anew."
                )
        others = sorted(adapters.adapters_of(model).configs)
        if plain and others:
            raise ConfigError(
                f"Keeping the weights in 4 bits would change the base below {', '.join(others)}; remove those first."
            )
        return plain


class LoraPair(nn.Module):
    """The two factors of one linear: A (R, I) and B (O, R), and the rows' lengths where they are learnt."""

    def __init__(
        self, base: nn.Linear | QuantLinear, config: Lora, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.scale, self.dropout = config.scale, config.dropout
        weight = base.weight
        like = {"dtype": weight.dtype, "device": weight.device}
        bound = 1.0 / math.sqrt(base.in_features)
        a_RI = torch.zeros(config.rank, base.in_features)
        if generator is not None:
            a_RI.uniform_(-bound, bound, generator=generator)
        self.a_RI = nn.Parameter(a_RI.to(**like))
        self.b_OR = nn.Parameter(torch.zeros(base.out_features, config.rank, **like))
        self.length_O = nn.Parameter(weight.detach().norm(dim=1)) if config.dora else None

    def forward(self, base: nn.Linear | QuantLinear, x_TI: torch.Tensor) -> torch.Tensor:
        """The linear's output with the factors' part, added in place: what it makes is nobody else's."""
        y_TO = base(x_TI)
        if self.dropout and self.training:
            x_TI = functional.dropout(x_TI, self.dropout)
        low_TR = functional.linear(x_TI, self.a_RI) * self.scale
        if self.length_O is None:
            return y_TO.addmm_(low_TR.to(y_TO.dtype), self.b_OR.to(y_TO.dtype).t())
        ratio_O = (self.length_O / self._norm(base)).to(y_TO.dtype)
        plain_TO = y_TO if base.bias is None else y_TO - base.bias.to(y_TO.dtype)
        turned_TO = ratio_O * (plain_TO + functional.linear(low_TR, self.b_OR))
        return turned_TO if base.bias is None else turned_TO + base.bias.to(y_TO.dtype)

    def product(self, base: nn.Linear | QuantLinear) -> torch.Tensor:
        """What is added to the linear's weights, (O, I)."""
        added_OI = self.scale * (self.b_OR @ self.a_RI)
        if self.length_O is None:
            return added_OI
        ratio_O = self.length_O / self._norm(base)
        return ratio_O.unsqueeze(1) * (base.weight + added_OI) - base.weight

    def _norm(self, base: nn.Linear | QuantLinear) -> torch.Tensor:
        """Lengths of the rows of the sum, in full precision whatever the pass around it computes in."""
        weight = base.weight
        with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
            return (weight + self.scale * (self.b_OR @ self.a_RI)).norm(dim=1)


def add(model: nn.Module, config: Lora, name: str, *, seed: int = 0) -> None:
    """Give the model a new adapter, make it active and the only thing that trains.

    With B at zero the model answers as before until the adapter is trained.

    Raises:
        ConfigError: the name is taken, or no linear of the model has one of the names in `config.targets`.

    """
    config.apply(model, seed=seed, name=name)


def attach(
    model: nn.Module, config: Lora, name: str, *, paths: Sequence[str], seed: int | None
) -> dict[str, LoraPair]:
    """Put frozen factors on the linears at `paths` without activating them; seed None leaves A zero."""
    adapters.check_free(model, name)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    linears = adapters.linears_at(model, paths)
    made = {path: LoraPair(linear, config, generator) for path, linear in linears.items()}
    adapters.put_on(model, config, name, made)
    return made


def merge(model: nn.Module, name: str) -> None:
    """Add an adapter's product to the weights for export, and take it off.

    Raises:
        ConfigError: other adapters would then sit on weights they were not trained on, or the weights are in 4 bits.

    """
    record = adapters.adapters_of(model)
    found = pairs(model, name)
    if len(record.configs) > 1:
        others = ", ".join(sorted(set(record.configs) - {name}))
        raise ConfigError(f"Merging '{name}' would change the base below {others}; remove those first.")
    for path, pair in found.items():
        linear = adapters.plain_at(model, path)
        if not isinstance(linear, nn.Linear):
            raise ConfigError(
                f"{path} is kept in 4 bits. Load the adapter onto the base it came from, and merge there."
            )
        with torch.no_grad():
            linear.weight += pair.product(linear)
    record.fingerprint = None
    adapters.remove(model, name)


def pairs(model: nn.Module, name: str) -> dict[str, LoraPair]:
    """Factors of an adapter by the path of their linear, such as `blocks.0.mixer.q`.

    Raises:
        ConfigError: an adapter of another kind.

    """
    found = adapters.parts(model, name)
    pairs = {path: part for path, part in found.items() if isinstance(part, LoraPair)}
    if len(pairs) < len(found):
        kind = adapters.adapters_of(model).configs[name].kind
        raise ConfigError(
            f"'{name}' is an adapter of kind '{kind}'; only lora can do this. Train one of that kind."
        )
    return pairs
