"""A run's state: everything that decides what comes next, in one folder that is whole or not there.

<state_dir>/step-000120/   tensors-00000.safetensors   trained weights, optimizer, random states
                           tensors-00001.safetensors   what another process has, where the model is cut
                           state.json                  step, cursor, counters, Python's random states, fingerprints
                           manifest.json               sha256 of all of them

A tensor that is cut lies in several files, and each says where its piece begins: a state is read by any number of
processes, cut in any way.
"""

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from mainspring.artifact import sha256_of
from mainspring.errors import ChecksumError, ConfigError
from mainspring.progress import say
from mainspring.train.optim import restore_state, state_of
from mainspring.train.parallel import Runner
from mainspring.train.ranks import differences as found_differences

WEIGHT, OPTIM, RANDOM = "weight/", "optim/", "random/"
STATE, MANIFEST = "state.json", "manifest.json"
Split = tuple[int, int]
"""The dimension that a tensor is cut along, and where along it a piece begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a run stands after `step` steps.

    cursor: where its feed goes on. fingerprints: of what run it is. more: what else decides the next step, such as
    the guard's memory of losses; all JSON values.
    """

    step: int
    cursor: Mapping[str, Any]
    tokens: int
    trained_tokens: float
    fingerprints: Mapping[str, Any]
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """The tensors of a run that change: weights that train, and what the optimizer remembers."""

    runner: Runner
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer

    def here(self) -> dict[str, tuple[torch.Tensor, Split | None]]:
        """By key, what this process is to write, and where it belongs if it is a piece."""
        if not self.runner.is_writer:
            return {}
        found: dict[str, torch.Tensor] = {WEIGHT + name: each for name, each in self.parameters.items()}
        found |= {OPTIM + key: each for key, each in state_of(self.optimizer, self.parameters).items()}
        made: dict[str, tuple[torch.Tensor, Split | None]] = {}
        for key, tensor in found.items():
            part, own = self.runner.part(_name(key)), self.runner.local(tensor.detach())
            if part.dim is None:
                if part.is_kept:
                    made[key] = own, None
            elif tensor.shape != self.parameters[_name(key)].shape:  # a count of steps, the same everywhere
                if self.runner.ranks.is_first:
                    made[key] = own, None
            elif own.numel():
                made[key] = own, (part.dim, part.start)
        return made

    def put(self, saved: "Pieces", folder: Path) -> None:
        """Take over what was saved; nothing is touched where it does not fit.

        Raises:
            ConfigError: it is of another model or adapter.

        """
        runner = self.runner
        for name in self.parameters:
            if (found := saved.shape(WEIGHT + name)) != tuple(runner.shapes[name]):
                raise ConfigError(
                    f"{folder} has {found} for {name}, expected {tuple(runner.shapes[name])}: it is the state of "
                    "another model or adapter. Give another `state_dir`."
                )
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                runner.local(parameter).copy_(runner.narrow(name, saved.whole(WEIGHT + name)))
        kept = {key.removeprefix(OPTIM): self._remembered(saved, key) for key in saved.keys(OPTIM)}
        own = {key: each for key, each in kept.items() if each is not None}
        afresh = restore_state(self.optimizer, self.parameters, own)
        if afresh:
            say(
                f"another kind of optimizer was saved: it begins afresh with {len(afresh)} weights ({afresh[0]}, ...)"
            )

    def _remembered(self, saved: "Pieces", key: str) -> torch.Tensor | None:
        """What the optimizer remembers of a weight, or of this process's part of it."""
        parameter = self.parameters.get(_name(key))
        if parameter is None:
            return None
        whole = saved.whole(key)
        if whole.shape != self.runner.shapes[_name(key)]:
            return whole
        return self.runner.wrap(parameter, self.runner.narrow(_name(key), whole).clone())


class Pieces:
    """The tensors of a saved state, whichever files they lie in."""

    def __init__(self, files: list[Any]) -> None:
        self._places: dict[str, list[tuple[Split | None, Any]]] = {}
        for file in files:
            splits = json.loads((file.metadata() or {}).get("splits", "{}"))
            for key in file.keys():  # noqa: SIM118 - a file of safetensors is no mapping
                self._places.setdefault(key, []).append((splits.get(key), file))
        for places in self._places.values():
            places.sort(key=lambda place: place[0][1] if place[0] else 0)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self._places if key.startswith(prefix))

    def shape(self, key: str) -> tuple[int, ...] | None:
        """Of the whole tensor; None where there is none."""
        places = self._places.get(key)
        if not places:
            return None
        shapes = [tuple(file.get_slice(key).get_shape()) for _, file in places]
        if places[0][0] is None:
            return shapes[0]
        dim = places[0][0][0]
        return (*shapes[0][:dim], sum(shape[dim] for shape in shapes), *shapes[0][dim + 1 :])

    def whole(self, key: str) -> torch.Tensor:
        places = self._places[key]
        if places[0][0] is None:
            return places[0][1].get_tensor(key)
        return torch.cat([file.get_tensor(key) for _, file in places], dim=places[0][0][0])


def folder_of(state_dir: Path, step: int) -> Path:
    """Where the state behind a step lies."""
    return state_dir / f"step-{step:06d}"


def saved(state_dir: Path) -> list[Path]:
    """Folders of whole states, oldest first. One whose removal was cut short is behind newer ones."""
    return sorted(state_dir.glob("step-*"))


def restore(folder: Path, tensors: Tensors) -> State:
    """Put weights, optimizer and random states back.

    Raises:
        ChecksumError: a file is missing or is not the one that was written.
        ConfigError: it is the state of another model.

    """
    values, rank = _read(folder), tensors.runner.ranks.world_rank
    with _opened(folder) as pieces:
        tensors.put(pieces, folder)
        number = rank if rank < len(values["python_random"]) else 0
        torch.set_rng_state(pieces.whole(f"{RANDOM}{number}"))
    version, numbers, gauss = values["python_random"][number]
    random.setstate((version, tuple(numbers), gauss))
    return State(
        step=values["step"], cursor=values["cursor"], tokens=values["tokens"], more=values["more"],
        trained_tokens=values["trained_tokens"], fingerprints=values["fingerprints"],
    )  # fmt: skip


def fingerprints_in(folder: Path) -> dict[str, Any]:
    """What run a saved state is of."""
    return _read(folder)["fingerprints"]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line for each value that is not the same, by dotted key."""
    return [f"{key}: {old} then, {new} now" for key, old, new in found_differences(before, now)]


@contextmanager
def _opened(folder: Path) -> Iterator[Pieces]:
    with ExitStack() as stack:
        paths = sorted(folder.glob("tensors-*.safetensors"))
        yield Pieces([stack.enter_context(safe_open(path, framework="pt")) for path in paths])


def _read(folder: Path) -> dict[str, Any]:
    """The numbers of a state, all of whose files are those that were written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        found = {name: sha256_of(folder / name) for name in manifest}
    except (OSError, ValueError) as error:
        raise ChecksumError(f"The saved state {folder} is damaged: {error}. {_advice(folder)}") from error
    for name, digest in found.items():
        if digest != manifest[name]:
            raise ChecksumError(
                f"{folder / name} is not the file written: sha256 {digest[:16]}, expected "
                f"{str(manifest[name])[:16]}. {_advice(folder)}"
            )
    others = {path.name for path in folder.iterdir()} - {*manifest, MANIFEST}
    if others or STATE not in manifest:
        raise ChecksumError(
            f"The saved state {folder} is damaged: its manifest is not the one that was written. {_advice(folder)}"
        )
    return json.loads((folder / STATE).read_text())


def _advice(folder: Path) -> str:
    others = [other.name for other in saved(folder.parent) if other != folder]
    rest = f"the run then goes on from {others[-1]}" if others else "the run then starts again"
    return f"Remove that folder; {rest}."


def _name(key: str) -> str:
    """The weight that a key is about."""
    return key.split("/", 2)[2] if key.startswith(OPTIM) else key.partition("/")[2]
