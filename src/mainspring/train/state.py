"""A run's state: everything that decides what comes next, in one folder that is whole or not there.

<state_dir>/step-000120/   state.safetensors   trained weights, optimizer, torch's random state
                           state.json          step, cursor, counters, Python's random state, fingerprints
                           manifest.json       sha256 of both
"""

import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mainspring.artifact import sha256_of, sync
from mainspring.errors import ChecksumError, ConfigError
from mainspring.progress import say
from mainspring.train.optim import restore_state, state_of

KEPT = 2
OPTIM = "optim/"
FILES = ("state.safetensors", "state.json")


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


def save(
    state_dir: Path,
    state: State,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    *,
    kept: int = KEPT,
) -> None:
    """Write the state under a temporary name, sync, rename; then drop all but the last `kept`."""
    temporary = state_dir / f".writing-{state.step:06d}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(_tensors(parameters, optimizer), temporary / "state.safetensors")
    values = {
        "step": state.step, "cursor": state.cursor, "tokens": state.tokens, "more": state.more,
        "trained_tokens": state.trained_tokens, "fingerprints": state.fingerprints,
        "python_random": random.getstate(),
    }  # fmt: skip
    (temporary / "state.json").write_text(json.dumps(values, indent=1))
    manifest = {name: sha256_of(temporary / name) for name in FILES}
    (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1))
    for path in (*temporary.iterdir(), temporary):
        sync(path)
    final = state_dir / f"step-{state.step:06d}"
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    sync(state_dir)
    for old in saved(state_dir)[:-kept]:
        shutil.rmtree(old)


def saved(state_dir: Path) -> list[Path]:
    """Folders of whole states, oldest first. One whose removal was cut short is behind newer ones."""
    return sorted(state_dir.glob("step-*"))


def restore(folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> State:
    """Put weights, optimizer and random states back.

    Raises:
        ChecksumError: a file is missing or is not the one that was written.

    """
    _verify(folder)
    values = json.loads((folder / "state.json").read_text())
    tensors = load_file(folder / "state.safetensors")
    _check_shapes(folder, tensors, parameters)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"weight/{name}"])
    kept = {key.removeprefix(OPTIM): each for key, each in tensors.items() if key.startswith(OPTIM)}
    afresh = restore_state(optimizer, parameters, kept)
    if afresh:
        say(
            f"another kind of optimizer was saved: it begins afresh with {len(afresh)} weights ({afresh[0]}, ...)"
        )
    torch.set_rng_state(tensors["torch_random"])
    version, numbers, gauss = values["python_random"]
    random.setstate((version, tuple(numbers), gauss))
    return State(
        step=values["step"], cursor=values["cursor"], tokens=values["tokens"], more=values["more"],
        trained_tokens=values["trained_tokens"], fingerprints=values["fingerprints"],
    )  # fmt: skip


def fingerprints_in(folder: Path) -> dict[str, Any]:
    """What run a saved state is of."""
    _verify(folder)
    return json.loads((folder / "state.json").read_text())["fingerprints"]


def differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> list[str]:
    """One line for each value that is not the same, by dotted key."""
    lines: list[str] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{at}{key}.")
        elif old != new:
            lines.append(f"{at}{key}: {_short(old)} then, {_short(new)} now")
    return lines


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:16]


def _tensors(
    parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    tensors = {"torch_random": torch.get_rng_state()}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = parameter.detach().contiguous()
    kept = state_of(optimizer, parameters)
    return tensors | {OPTIM + key: each.contiguous() for key, each in kept.items()}


def _check_shapes(
    folder: Path, tensors: Mapping[str, torch.Tensor], parameters: Mapping[str, nn.Parameter]
) -> None:
    for name, parameter in parameters.items():
        found = tensors.get(f"weight/{name}")
        if found is None or found.shape != parameter.shape:
            shape = None if found is None else tuple(found.shape)
            raise ConfigError(
                f"{folder} has {shape} for {name}, expected {tuple(parameter.shape)}: it is the state of "
                "another model or adapter. Give another `state_dir`."
            )


def _verify(folder: Path) -> None:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        found = {name: sha256_of(folder / name) for name in FILES}
    except (OSError, ValueError) as error:
        raise ChecksumError(f"The saved state {folder} is damaged: {error}. {_advice(folder)}") from error
    for name in FILES:
        if found[name] != manifest.get(name):
            raise ChecksumError(
                f"{folder / name} is not the file written: sha256 {found[name][:16]}, expected "
                f"{str(manifest.get(name))[:16]}. {_advice(folder)}"
            )


def _advice(folder: Path) -> str:
    others = [other.name for other in saved(folder.parent) if other != folder]
    rest = f"the run then goes on from {others[-1]}" if others else "the run then starts again"
    return f"Remove that folder; {rest}."
