"""Adapters of every kind: several on one frozen model, one of them active.

    module x  ->  Adapted(module x, parts: {adapter: part})     part(module x, input) while its adapter is active

All wrapped modules share one record, so that switching costs one assignment and no walk; with none active a
wrapped module is what it was.
"""

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mainspring.adapt.quantized import QuantLinear
from mainspring.config import Config
from mainspring.errors import ConfigError, NotFoundError

BESIDE = ("value_head.",)  # modules that lie beside a model and are none of its weights


class Adapter(Config):
    """A kind of adapter and its settings: a transform that adds small weights and freezes the rest."""

    kind: Any

    def apply(self, model: nn.Module, *, seed: int, name: str = "default") -> None:
        """Put one on, active and alone in training; an untrained one leaves answers as they are or nearly so.

        Raises:
            ConfigError: the name is taken, or the model has no place for it.

        """
        self.attach(model, name, seed=seed)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for part in parts(model, name).values():
            part.requires_grad_(True)
        activate(model, name)

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Put one on, frozen and not active."""
        raise NotImplementedError


@dataclass(slots=True)
class Adapters:
    """What all adapted modules of one model share."""

    active_key: str | None = None
    configs: dict[str, Adapter] = field(default_factory=dict)
    wrapped: dict[str, "Adapted"] = field(default_factory=dict)
    fingerprint: str | None = None


class Adapted(nn.Module):
    """A frozen module and the parts of every adapter that covers it; with none active it is the module."""

    def __init__(self, base: nn.Module, adapters: Adapters) -> None:
        super().__init__()
        self.base = base
        self.adapters = adapters
        self.parts = nn.ModuleDict()

    def forward(self, *inputs: Any, **more: Any) -> torch.Tensor:
        key = self.adapters.active_key
        if key is None or key not in self.parts:
            return self.base(*inputs, **more)
        return self.parts[key](self.base, *inputs, **more)


def put_on(model: nn.Module, config: Adapter, name: str, made: Mapping[str, nn.Module]) -> None:
    """Lay parts over the modules at these paths, frozen and not active."""
    adapters = adapters_of(model)
    check_free(model, name)
    for path, part in made.items():
        adapted = adapters.wrapped.get(path) or _wrap(model, path, adapters)
        # In the model's own mode: a new module is in training mode, and would drop out while it answers.
        adapted.parts[_key(name)] = part.requires_grad_(False).train(model.training)
    adapters.configs[name] = config


def check_free(model: nn.Module, name: str) -> None:
    """See that no adapter has this name yet."""
    if name in adapters_of(model).configs:
        raise ConfigError(
            f"The model already has an adapter '{name}'; choose another name or remove it first."
        )


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
    """Take an adapter off; modules that carry none any more become plain again."""
    adapters = adapters_of(model)
    _known(adapters, name)
    if adapters.active_key == _key(name):
        adapters.active_key = None
    del adapters.configs[name]
    for path, adapted in list(adapters.wrapped.items()):
        if _key(name) in adapted.parts:
            del adapted.parts[_key(name)]
        if not adapted.parts:
            replace(model, path, adapted.base)
            del adapters.wrapped[path]


def parts(model: nn.Module, name: str) -> dict[str, nn.Module]:
    """What an adapter is made of, by the path of the module that each part lies over."""
    adapters = adapters_of(model)
    _known(adapters, name)
    key = _key(name)
    covered = {path: adapted for path, adapted in adapters.wrapped.items() if key in adapted.parts}
    return {path: adapted.parts[key] for path, adapted in covered.items()}


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
        tensors = [*model.named_parameters(), *model.named_buffers()]  # a router's balance is a buffer
        own = [
            (path, each) for path, each in tensors if ".parts." not in path and not path.startswith(BESIDE)
        ]
        weights = {_plain(path): weight for path, weight in own}
        adapters.fingerprint = fingerprint_of((path, weights[path]) for path in sorted(weights))
    return adapters.fingerprint


def fingerprint_of(weights: Iterable[tuple[str, torch.Tensor]]) -> str:
    """The same of weights that come one by one, by their paths in order; each is let go before the next."""
    digest = hashlib.sha256()
    for path, given in weights:
        weight = given.detach().cpu().contiguous()
        digest.update(f"{path} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def target_paths(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """Paths of the linears that are meant, in the model's order.

    Args:
        model: whose linears.
        targets: names such as "q", patterns of paths such as "blocks.0.*" (whatever has a dot, *, ? or [ is one), or
            "all" for every linear within the blocks.

    Raises:
        ConfigError: one of them means no linear.

    """
    linears = [
        _plain(path)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | QuantLinear) and ".parts." not in path
    ]
    found: set[str] = set()
    for target in targets:
        meant = [path for path in linears if _is_meant(path, target)]
        if not meant:
            names = ", ".join(sorted({path.rpartition(".")[2] for path in linears}))
            what = "path that fits" if _is_pattern(target) else "name"
            raise ConfigError(
                f"`targets` names '{target}', but the model has no linear of that {what}; it has {names}"
                + (f", the first of them at {linears[0]}." if _is_pattern(target) and linears else ".")
            )
        found.update(meant)
    return [path for path in linears if path in found]


def _is_meant(path: str, target: str) -> bool:
    if target == "all":
        return "blocks." in path
    return fnmatch.fnmatchcase(path, target) if _is_pattern(target) else path.rpartition(".")[2] == target


def _is_pattern(target: str) -> bool:
    return not set(".*?[").isdisjoint(target)


def linears_at(model: nn.Module, paths: Sequence[str]) -> dict[str, nn.Linear | QuantLinear]:
    """The plain linears at these paths, wrapped or not."""
    found: dict[str, nn.Linear | QuantLinear] = {}
    for path in paths:
        linear = plain_at(model, path)
        assert isinstance(linear, nn.Linear | QuantLinear), path
        found[path] = linear
    return found


def plain_at(model: nn.Module, path: str) -> nn.Module:
    """The module at a path, without what is laid over it and over those it lies in."""
    module = model
    for name in path.split("."):
        module = (module.base if isinstance(module, Adapted) else module).get_submodule(name)
    return module.base if isinstance(module, Adapted) else module


def replace(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put another module at a path."""
    parent, _, name = path.rpartition(".")
    setattr(plain_at(model, parent) if parent else model, name, module)


def _wrap(model: nn.Module, path: str, adapters: Adapters) -> Adapted:
    adapted = adapters.wrapped[path] = Adapted(plain_at(model, path), adapters)
    replace(model, path, adapted)
    return adapted


def _known(adapters: Adapters, name: str) -> None:
    if name not in adapters.configs:
        known = ", ".join(sorted(adapters.configs)) or "none"
        raise NotFoundError(f"The model has no adapter '{name}'; it has: {known}. Add or load it first.")


def _key(name: str) -> str:
    """Module names may not hold dots nor be a method's name."""
    return "adapter:" + name.replace(".", "%2E")


def _plain(path: str) -> str:
    """A path as it was before its module, and those it lies in, were wrapped."""
    return path.removesuffix(".base").replace(".base.", ".")
