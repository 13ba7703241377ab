"""States are written beside the run: their tensors are copied, a thread does the rest, and at most one is under way.

Where several processes hold a model, each writes its own part; the first one adds the manifest when all are there and
gives the folder its name, so that a state is whole or not there.
"""

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from mainspring.artifact import sha256_of, sync
from mainspring.errors import MainspringError
from mainspring.train.ranks import Ranks, gather
from mainspring.train.state import MANIFEST, RANDOM, STATE, Split, State, Tensors, folder_of, saved

UNFINISHED = ".writing-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Which states stay: the last ones, and every one whose step divides by `every` (0: none)."""

    last: int = 2
    every: int = 0

    def dropped(self, folders: Sequence[Path]) -> list[Path]:
        """Those of all states, oldest first, that go."""
        return [
            each
            for each in folders[: -self.last]
            if not self.every or int(each.name.rpartition("-")[2]) % self.every
        ]

    def apply(self, state_dir: Path) -> None:
        """Remove what goes, and what a killed run had not finished writing."""
        for old in (*self.dropped(saved(state_dir)), *state_dir.glob(f"{UNFINISHED}*")):
            shutil.rmtree(old)


class Saver:
    """Writes a run's states. An error in writing one is raised by the next call of any method.

    `in_background`: of a copy, while the run goes on; else the run waits.
    """

    def __init__(self, tensors: Tensors, *, in_background: bool = True) -> None:
        self._tensors, self._ranks = tensors, tensors.runner.ranks
        self._in_background = in_background
        self._staged: dict[str, torch.Tensor] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._job: Future[None] | None = None
        self._step = 0

    def save(self, state_dir: Path, state: State, retention: Retention) -> None:
        """Copy what a state is made of and write it later; all processes at once."""
        self.wait()
        drawn = gather((random.getstate(), torch.get_rng_state()))  # of all: each may have drawn its own
        splits = self._stage([each for _, each in drawn])
        values = {
            "step": state.step, "cursor": state.cursor, "tokens": state.tokens, "more": state.more,
            "trained_tokens": state.trained_tokens, "fingerprints": state.fingerprints,
            "python_random": [each for each, _ in drawn],
        }  # fmt: skip
        files = _Files(state_dir=state_dir, ranks=self._ranks, tensors=self._staged, splits=splits)
        self._step = state.step
        self._job = self._thread.submit(files.write, values, retention)
        if not self._in_background:
            self._staged = {}
            self.wait()

    @property
    def copied_bytes(self) -> int:
        """What the copy of a state takes."""
        here = self._tensors.here() if self._in_background else {}
        return sum(tensor.nbytes for tensor, _ in here.values())

    def check(self) -> None:
        """Raise what went wrong in a state that was being written."""
        if self._job is not None and self._job.done():
            self.wait()

    def wait(self) -> None:
        """Until the state under way is written.

        Raises:
            MainspringError: it could not be.

        """
        job, self._job = self._job, None
        try:
            if job is not None:
                job.result()
        except OSError as error:
            raise MainspringError(
                f"The state after step {self._step} could not be written: {error}. Make room or give another "
                "`state_dir`; the states before it are whole."
            ) from error

    def close(self) -> None:
        """Let the state under way be written, whatever comes of it."""
        self._thread.shutdown(wait=True)

    def _stage(self, random_states: Sequence[torch.Tensor]) -> dict[str, Split]:
        here = self._tensors.here()
        self._staged = {
            key: _copy(tensor, self._staged.get(key)) if self._in_background else tensor.contiguous()
            for key, (tensor, _) in here.items()
        }
        if self._ranks.is_first:
            self._staged |= {f"{RANDOM}{rank}": each for rank, each in enumerate(random_states)}
        return {key: split for key, (_, split) in here.items() if split is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """One state on its way to the disk."""

    state_dir: Path
    ranks: Ranks
    tensors: Mapping[str, torch.Tensor]
    splits: Mapping[str, Split]

    def write(self, values: Mapping[str, Any], retention: Retention) -> None:
        """Under a temporary name, synced, renamed; then drop what is not to stay."""
        temporary = self.state_dir / f"{UNFINISHED}{values['step']:06d}"
        digests: dict[str, str] = {}
        for each in self._all(lambda: self._write_tensors(temporary)):
            digests |= each
        self._all(lambda: self._finish(temporary, values, digests, retention) if self.ranks.is_first else {})

    def _write_tensors(self, temporary: Path) -> dict[str, str]:
        if not self.tensors:
            return {}
        temporary.mkdir(parents=True, exist_ok=True)
        path = temporary / f"tensors-{self.ranks.world_rank:05d}.safetensors"
        save_file(dict(self.tensors), path, metadata={"splits": json.dumps(self.splits)})
        sync(path)
        return {path.name: sha256_of(path)}

    def _finish(
        self, temporary: Path, values: Mapping[str, Any], digests: dict[str, str], retention: Retention
    ) -> dict[str, str]:
        for path in temporary.iterdir():
            if path.name not in digests:
                path.unlink()  # what a killed run left there
        (temporary / STATE).write_text(json.dumps(values, indent=1))
        manifest = {**digests, STATE: sha256_of(temporary / STATE)}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1))
        for path in (temporary / STATE, temporary / MANIFEST, temporary):
            sync(path)
        final = folder_of(self.state_dir, values["step"])
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        sync(self.state_dir)
        retention.apply(self.state_dir)
        return {}

    def _all(self, work: Callable[[], dict[str, str]]) -> list[dict[str, str]]:
        """Do it in all processes; where it fails in one it fails in all."""
        try:
            made, error = work(), ""
        except (OSError, SafetensorError) as failure:
            made, error = {}, str(failure)
        results = gather((made, error), self.ranks.saving)
        for _, failure in results:
            if failure:
                raise OSError(failure)
        return [each for each, _ in results]


def _copy(tensor: torch.Tensor, into: torch.Tensor | None) -> torch.Tensor:
    """The numbers of now, in memory that the last copy may have had."""
    if into is None or into.shape != tensor.shape or into.dtype != tensor.dtype:
        into = torch.empty(tensor.shape, dtype=tensor.dtype)
    return into.copy_(tensor)
