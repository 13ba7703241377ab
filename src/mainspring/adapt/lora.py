"""Low-rank adapters: several of them on one frozen model, one active at a time.

Paper: arXiv:2106.09685, section 4.1: y = W x + (alpha / rank) B A x, A random, B zero at the start.
Ours: the linears of one model share one Adapters record, so switching costs one assignment and no walk.

Shapes: T tokens, I a linear's inputs, O its outputs, R rank.
"""

import hashlib
import math
from dataclasses import dataclass, field

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from mainspring.config import Config
from mainspring.errors import ConfigError, NotFoundError

BESIDE = "value_head."  # what only training puts on a model, and no file holds
TARGETS = ("q", "k", "v", "o", "gate", "up", "down")


class LoraConfig(Config):
    """The shape of an adapter."""

    rank: int = Field(default=8, ge=1, description="inner width of the two factors")
    alpha: float = Field(
        default=16.0, gt=0, description="the product of the factors is scaled by alpha / rank"
    )
    targets: tuple[str, ...] = Field(
        default=TARGETS, min_length=1, description="names of the linears that get factors, in every layer"
    )

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


@dataclass(slots=True)
class Adapters:
    """What all adapted linears of one model share."""

    active_key: str | None = None
    configs: dict[str, LoraConfig] = field(default_factory=dict)
    linears: dict[str, "LoraLinear"] = field(default_factory=dict)
    fingerprint: str | None = None


class LoraPair(nn.Module):
    """The two factors of one linear: A (R, I) and B (O, R)."""

    def __init__(self, base: nn.Linear, config: LoraConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.scale = config.scale
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        bound = 1.0 / math.sqrt(base.in_features)
        a_RI = torch.zeros(config.rank, base.in_features)
        if generator is not None:
            a_RI.uniform_(-bound, bound, generator=generator)
        self.a_RI = nn.Parameter(a_RI.to(**like))
        self.b_OR = nn.Parameter(torch.zeros(base.out_features, config.rank, **like))

    def forward(self, x_TI: torch.Tensor, y_TO: torch.Tensor) -> torch.Tensor:
        """Add the factors' part to what the linear made of x, in place: y is the caller's own."""
        low_TR = functional.linear(x_TI, self.a_RI) * self.scale
        return y_TO.addmm_(low_TR.to(y_TO.dtype), self.b_OR.to(y_TO.dtype).t())


class LoraLinear(nn.Module):
    """A frozen linear and the factors of every adapter that covers it; with none active it is the linear."""

    def __init__(self, base: nn.Linear, adapters: Adapters) -> None:
        super().__init__()
        self.base = base
        self.adapters = adapters
        self.pairs = nn.ModuleDict()

    def forward(self, x_TI: torch.Tensor) -> torch.Tensor:
        y_TO = self.base(x_TI)
        key = self.adapters.active_key
        if key is None or key not in self.pairs:
            return y_TO
        return self.pairs[key](x_TI, y_TO)


def add(model: nn.Module, config: LoraConfig, name: str, *, seed: int = 0) -> None:
    """Give the model a new adapter, make it active and the only thing that trains.

    With B at zero the model answers as before until the adapter is trained.

    Raises:
        ConfigError: the name is taken, or no linear of the model has one of the names in `config.targets`.

    """
    attach(model, config, name, paths=target_paths(model, config.targets), seed=seed)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for pair in pairs(model, name).values():
        pair.requires_grad_(True)
    activate(model, name)


def attach(
    model: nn.Module, config: LoraConfig, name: str, *, paths: list[str], seed: int | None
) -> dict[str, LoraPair]:
    """Put frozen factors on the linears at `paths` without activating them; seed None leaves A zero."""
    adapters = adapters_of(model)
    if name in adapters.configs:
        raise ConfigError(
            f"The model already has an adapter '{name}'; choose another name or remove it first."
        )
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    made: dict[str, LoraPair] = {}
    for path in paths:
        linear = adapters.linears.get(path) or _wrap(model, path, adapters)
        made[path] = LoraPair(linear.base, config, generator).requires_grad_(False)
        linear.pairs[_key(name)] = made[path]
    adapters.configs[name] = config
    return made


def activate(model: nn.Module, name: str | None) -> None:
    """Answer with this adapter from the next forward on, or with the plain model (None)."""
    adapters = adapters_of(model)
    if name is not None:
        _known(adapters, name)
    adapters.active_key = None if name is None else _key(name)


def active(model: nn.Module) -> str | None:
    """Name of the adapter that the model answers with."""
    adapters = adapters_of(model)
    return next((name for name in adapters.configs if _key(name) == adapters.active_key), None)


def remove(model: nn.Module, name: str) -> None:
    """Take an adapter off; linears that carry none any more become plain again."""
    adapters = adapters_of(model)
    _known(adapters, name)
    if adapters.active_key == _key(name):
        adapters.active_key = None
    del adapters.configs[name]
    for path, linear in list(adapters.linears.items()):
        if _key(name) in linear.pairs:
            del linear.pairs[_key(name)]
        if not linear.pairs:
            _replace(model, path, linear.base)
            del adapters.linears[path]


def merge(model: nn.Module, name: str) -> None:
    """Add an adapter's product to the weights for export, and take it off: W + (alpha / rank) B A.

    Raises:
        ConfigError: other adapters would then sit on weights they were not trained on.

    """
    adapters = adapters_of(model)
    found = pairs(model, name)
    if len(adapters.configs) > 1:
        others = ", ".join(sorted(set(adapters.configs) - {name}))
        raise ConfigError(f"Merging '{name}' would change the base below {others}; remove those first.")
    for path, pair in found.items():
        with torch.no_grad():
            adapters.linears[path].base.weight += pair.scale * (pair.b_OR @ pair.a_RI)
    adapters.fingerprint = None
    remove(model, name)


def pairs(model: nn.Module, name: str) -> dict[str, LoraPair]:
    """Factors of an adapter by the path of their linear, such as `blocks.0.mixer.q`."""
    adapters = adapters_of(model)
    _known(adapters, name)
    key = _key(name)
    covered = {path: linear for path, linear in adapters.linears.items() if key in linear.pairs}
    return {path: linear.pairs[key] for path, linear in covered.items()}  # type: ignore[misc]


def adapters_of(model: nn.Module) -> Adapters:
    """The model's one record of its adapters."""
    found = getattr(model, "_adapters", None)
    if found is None:
        found = Adapters()
        object.__setattr__(model, "_adapters", found)  # not a part of the module tree
    return found


def base_fingerprint(model: nn.Module) -> str:
    """A hash over names and values of all weights but the adapters', whatever file they came from."""
    adapters = adapters_of(model)
    if adapters.fingerprint is None:
        digest = hashlib.sha256()
        tensors = [*model.named_parameters(), *model.named_buffers()]  # a router's balance is a buffer
        weights = {
            _plain(path): weight
            for path, weight in tensors
            if ".pairs." not in path and not path.startswith(BESIDE)
        }
        for path in sorted(weights):
            weight = weights[path].detach().cpu().contiguous()
            digest.update(f"{path} {weight.dtype} {tuple(weight.shape)}\n".encode())
            digest.update(weight.view(torch.uint8).numpy().data)
        adapters.fingerprint = digest.hexdigest()
    return adapters.fingerprint


def target_paths(model: nn.Module, targets: tuple[str, ...]) -> list[str]:
    """Paths of the linears with one of these names, in the order of the model."""
    linears = [_plain(path) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    names = sorted({path.rpartition(".")[2] for path in linears})
    for target in targets:
        if target not in names:
            raise ConfigError(
                f"`targets` names '{target}', but the model has no linear of that name; "
                f"it has {', '.join(names)}."
            )
    return [path for path in linears if path.rpartition(".")[2] in targets]


def linears_at(model: nn.Module, paths: list[str]) -> dict[str, nn.Linear]:
    """The plain linears at these paths, wrapped or not."""
    found: dict[str, nn.Linear] = {}
    for path in paths:
        module = model.get_submodule(path)
        linear = module.base if isinstance(module, LoraLinear) else module
        assert isinstance(linear, nn.Linear), path
        found[path] = linear
    return found


def _wrap(model: nn.Module, path: str, adapters: Adapters) -> LoraLinear:
    linear = adapters.linears[path] = LoraLinear(linears_at(model, [path])[path], adapters)
    _replace(model, path, linear)
    return linear


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def _known(adapters: Adapters, name: str) -> None:
    if name not in adapters.configs:
        known = ", ".join(sorted(adapters.configs)) or "none"
        raise NotFoundError(f"The model has no adapter '{name}'; it has: {known}. Add or load it first.")


def _key(name: str) -> str:
    """Module names may not hold dots nor be a method's name."""
    return "adapter:" + name.replace(".", "%2E")


def _plain(path: str) -> str:
    """A path as it was before its linear was wrapped."""
    return path.removesuffix(".base").replace(".base.", ".")
