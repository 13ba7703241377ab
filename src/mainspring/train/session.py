"""A run under way: where it stands, what its next step learns from, and who watches over it."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from mainspring.adapt import base as adapters
from mainspring.errors import ConfigError
from mainspring.progress import say
from mainspring.train import state as states
from mainspring.train.batch import Batch, Item
from mainspring.train.config import TrainConfig
from mainspring.train.feed import Feed, Step
from mainspring.train.guard import Best, EarlyStop, Guard
from mainspring.train.learner import Learner
from mainspring.train.metrics import VALID_LOSS, StepReport
from mainspring.train.objectives.base import Addition, WeightPenalty
from mainspring.train.optim import lr_at
from mainspring.train.ranks import from_first
from mainspring.train.saver import Retention, Saver
from mainspring.train.sources.base import Source
from mainspring.train.state import State, Tensors


class Rollout(Protocol):
    """Turns prompts into what the model says to them now: the items that are learnt.

    updates: how many updates learn from the same answers. settings: of what kind it is, for the fingerprint of
    a run. facts: of the last answers, such as their mean reward, for the run's metrics.
    """

    updates: int
    settings: Mapping[str, Any]

    @property
    def facts(self) -> Mapping[str, float]: ...

    def __call__(self, items: Sequence[Item], step: int) -> list[Item]:
        """The answers, with their rewards."""
        ...


@dataclass(kw_only=True)
class Session:
    """One run. `state` is where it stands; `is_over` is set where early stopping ends it."""

    learner: Learner
    feed: Feed
    rollout: Rollout | None
    validation: Source | None
    folder: Path
    state: State = field(init=False)
    is_over: bool = False

    def __post_init__(self) -> None:
        learner = self.learner
        self.tensors = Tensors(
            runner=learner.runner, parameters=learner.parameters, optimizer=learner.optimizer
        )
        self.saver = Saver(self.tensors, in_background=self.config.save_in_background)
        self.state = State(step=0, cursor={}, tokens=0, trained_tokens=0.0, fingerprints=self.fingerprints)
        self._watch({})

    @property
    def config(self) -> TrainConfig:
        return self.learner.config

    @property
    def retention(self) -> Retention:
        """Which states stay."""
        return Retention(last=self.config.keep_last, every=self.config.keep_every_steps)

    @property
    def updates(self) -> int:
        """How many updates follow one step of the feed."""
        return self.rollout.updates if self.rollout else 1

    @property
    def num_steps(self) -> int:
        return self.feed.num_steps * self.updates

    @cached_property
    def fingerprints(self) -> dict[str, Any]:
        """Of what run its states are."""
        learner, adapter = self.learner, adapters.active(self.learner.model)
        configs = adapters.adapters_of(learner.model).configs
        return {
            "data": self.feed.fingerprint,
            "rollout": dict(self.rollout.settings) if self.rollout else None,
            "objective": learner.objective.model_dump(mode="json"),
            "penalties": {each.kind: _fingerprint(each) for each in learner.penalties},
            "config": learner.config.model_dump(mode="json"),
            "model": adapters.base_fingerprint(learner.model),
            "adapter": configs[adapter].model_dump(mode="json") if adapter else None,
            "machine": {
                "torch": torch.__version__, "threads": torch.get_num_threads(), "ranks": learner.ranks.world_size,
            },
        }  # fmt: skip

    def resume(self, *, accept: bool) -> None:
        """Go on from the last state in the folder, if there is one.

        Raises:
            ConfigError: it is the state of another run; all that differs is listed.

        """
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = from_first(states.saved(self.folder))
        if not saved:
            return
        changed = states.differences(states.fingerprints_in(saved[-1]), self.fingerprints)
        if changed and not accept:
            raise ConfigError(
                f"{saved[-1]} is the state of another run:\n  " + "\n  ".join(changed) + "\n"
                "Undo these changes to go on with it, accept them, or give another `state_dir` to start again."
            )
        self.state = states.restore(saved[-1], self.tensors)
        if self.learner.ranks.is_first:
            self.retention.apply(self.folder)  # a run that was killed may not have come to it
        self._watch(self.state.more)
        say(
            f"going on after step {self.state.step} of {self.num_steps}"
            + (", changes accepted" if changed else "")
        )

    def steps(self) -> Iterator[StepReport]:
        """Every update from here on; after each, `state` is the one behind it."""
        if self.state.step >= self.num_steps or self.is_over:
            return
        for step in self.feed.steps(self.state.cursor):
            batches = self.learner.batches(self.items_of(step, self.state.step // self.updates))
            for _ in range(self.updates):
                self.saver.check()
                report = self._update(batches, self.state.step)
                is_best = self._is_best(report)  # before the state, which remembers it
                self.state = State(
                    step=report.step, cursor=step.cursor, tokens=self.state.tokens + report.tokens,
                    trained_tokens=self.state.trained_tokens + report.trained_tokens,
                    fingerprints=self.fingerprints, more=self._watched(),
                )  # fmt: skip
                if is_best:
                    self._keep_best()
                yield report
            if self.is_over:
                return

    def save(self) -> None:
        """Keep the state; it is written while the run goes on."""
        self.saver.save(self.folder, self.state, self.retention)

    def is_saved(self, step: int) -> bool:
        """Whether this step's state is to be kept. Answers are not: it lies where new ones are asked for."""
        is_asked = step % self.updates == 0
        return self.is_last(step) or (is_asked and step % self.config.save_every_steps < self.updates)

    def is_last(self, step: int) -> bool:
        """Whether the run ends with this step."""
        return step == self.num_steps or self.is_over

    def finish(self) -> None:
        """Wait for what is being written; take the best evaluation's weights, where the settings ask for them."""
        self.saver.wait()
        step = self.best.step
        if self.config.restore_best and step is not None and step != self.state.step:
            best = states.restore(states.folder_of(self.folder / "best", step), self.tensors)
            self._move(best.more)
            say(
                f"the weights are those after step {self.best.step}, whose validation loss was {self.best.value:.4f}"
            )

    def _watch(self, more: Any) -> None:
        self.guard = Guard(self.config.guard, more.get("guard"))
        self.stop = EarlyStop(self.config.stop, more.get("stop"))
        self.best = Best(more.get("best"))
        self.is_over = more.get("is_over", False)
        self._move(more)
        if "scaler" in more:
            self.learner.scaler.load_state_dict(more["scaler"])

    def _move(self, more: Any) -> None:
        """What regulators moved, back to where it was kept: few numbers, exact as JSON."""
        for name, moved in self.learner.moved().items():
            if name in more.get("moved", {}):
                moved.copy_(torch.tensor(more["moved"][name], dtype=moved.dtype))

    def _watched(self) -> dict[str, Any]:
        return {
            "guard": self.guard.state(), "stop": self.stop.state(), "best": self.best.state(),
            "is_over": self.is_over, "moved": {name: each.tolist() for name, each in self.learner.moved().items()},
            "scaler": self.learner.scaler.state_dict(),
        }  # fmt: skip

    def _is_best(self, report: StepReport) -> bool:
        return VALID_LOSS in report.metrics and self.best.is_best(report.step, report.metrics[VALID_LOSS])

    def _keep_best(self) -> None:
        if self.config.restore_best:
            folder = self.folder / "best"
            folder.mkdir(exist_ok=True)
            self.saver.save(folder, self.state, Retention(last=1))

    def items_of(self, step: Step, number: int) -> list[Item]:
        """What a step of the feed learns from, as the objective sees it; prompts are answered."""
        items = step.items if self.rollout is None else self.rollout(step.items, number)
        return self._views(items, str(number))

    def _views(self, items: Sequence[Item], when: str) -> list[Item]:
        """What the objective sees of the items; chance depends on the step and the item's place over all ranks."""
        ranks, seed = self.learner.ranks, self.config.seed
        places = [at * ranks.size + ranks.rank for at in range(len(items))]
        draws = [random.Random(f"{seed}/{when}/{place}") for place in places]  # noqa: S311 - a mask, not a secret
        view = self.learner.objective.view
        return [
            tuple(view(segment, draw) for segment in item) for item, draw in zip(items, draws, strict=True)
        ]

    def _update(self, batches: Sequence[Batch], number: int) -> StepReport:
        began = time.monotonic()
        lr = lr_at(number, self.num_steps, self.config.optim)
        learnt = self.learner.learn(batches, lr, number + 1, self.guard)
        metrics = {**learnt.metrics, **self._rollout_facts()}
        if learnt.skipped:
            say(learnt.skipped)
            metrics["skipped"] = 1.0
        if self._is_validated(number + 1):
            metrics |= self._validate()
            self.is_over = self.stop.should_stop(metrics[VALID_LOSS])
        return StepReport(
            step=number + 1, loss=learnt.loss, lr=lr, grad_norm=learnt.grad_norm, tokens=learnt.tokens,
            trained_tokens=learnt.trained_tokens, seconds=time.monotonic() - began, metrics=metrics,
        )  # fmt: skip

    def _validate(self) -> dict[str, float]:
        assert self.validation is not None
        indices = self.learner.ranks.share(range(self.validation.num_items))
        items = self._views([self.validation.item(index) for index in indices], "validation")
        found = self.learner.measure(self.learner.batches(items))
        return {f"valid_{name}": value for name, value in found.items()}

    def _rollout_facts(self) -> dict[str, float]:
        """Of the last answers, the mean over all ranks."""
        if self.rollout is None:
            return {}
        ranks = self.learner.ranks
        return {name: value / ranks.size for name, value in ranks.total([self.rollout.facts]).items()}

    def _is_validated(self, step: int) -> bool:
        every = self.config.validate_every_steps
        return self.validation is not None and (step == self.num_steps or (every > 0 and step % every == 0))


def _fingerprint(addition: Addition) -> dict[str, Any]:
    if isinstance(addition, WeightPenalty):
        return addition.fingerprint()
    return addition.model_dump(mode="json")
