"""The one loop: what a source gives is learnt step by step, and what decides the next step is kept.

feed -> items of a step -> (rollouts) -> Learner.learn -> state, metrics, validation
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from mainspring.adapt import lora
from mainspring.device import describe
from mainspring.errors import ConfigError, MainspringError
from mainspring.models.model import Model
from mainspring.progress import say
from mainspring.train import state as states
from mainspring.train.annotate import Annotator, find_annotators
from mainspring.train.batch import Batch, Item
from mainspring.train.config import TrainConfig
from mainspring.train.feed import Feed, ItemFeed, Step
from mainspring.train.learner import Learner, NotFiniteError
from mainspring.train.metrics import Metrics, StepReport, line
from mainspring.train.objectives.base import Objective, Penalty, WeightPenalty
from mainspring.train.optim import build_optimizer, lr_at
from mainspring.train.ranks import find_ranks
from mainspring.train.sources.base import Source
from mainspring.train.state import State

OnStep = Callable[[StepReport], None]


class Rollout(Protocol):
    """Turns prompts into what the model says to them now: the items that are learnt.

    `updates`: how many updates learn from the same answers.
    """

    updates: int

    def __call__(self, items: Sequence[Item], step: int) -> list[Item]:
        """The answers, with their rewards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run did; `loss` is the last step's, `resumed_at` the step it went on from (0: the start)."""

    steps: int
    tokens: int
    trained_tokens: float
    loss: float | None
    seconds: float
    resumed_at: int
    metrics: Path


@dataclass(frozen=True, kw_only=True)
class _Run:
    learner: Learner
    feed: Feed
    rollout: Rollout | None
    validation: Source | None

    @property
    def config(self) -> TrainConfig:
        return self.learner.config

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
        learner, adapter = self.learner, lora.active(self.learner.model)
        configs = lora.adapters_of(learner.model).configs
        return {
            "data": self.feed.fingerprint,
            "objective": learner.objective.model_dump(mode="json"),
            "penalties": {each.kind: each.model_dump(mode="json") for each in learner.penalties},
            "config": learner.config.model_dump(mode="json"),
            "model": lora.base_fingerprint(learner.model),
            "adapter": configs[adapter].model_dump(mode="json") if adapter else None,
            "machine": {
                "torch": torch.__version__, "threads": torch.get_num_threads(), "ranks": learner.ranks.size,
            },
        }  # fmt: skip


def train(
    model: Model,
    data: Source | Feed,
    objective: Objective,
    config: TrainConfig,
    state_dir: Path,
    *,
    penalties: Sequence[Penalty | WeightPenalty] = (),
    annotators: Sequence[Annotator] = (),
    rollout: Rollout | None = None,
    validation: Source | None = None,
    on_step: OnStep | None = None,
    accept: bool = False,
) -> Result:
    """Train what requires a gradient, from the last state in `state_dir` or from the start.

    Args:
        model: with its base frozen and an adapter on it, or with all weights to train.
        data: what to learn from; of a source the config says order and passes, a feed has its own.
        objective: towards what.
        config: the run's settings.
        state_dir: keeps the state and metrics.jsonl; the run that finds its own state there goes on from it
            to the same bits, given as many ranks and threads.
        penalties: what is added to the objective's loss.
        annotators: who makes what the objective needs, where the model alone cannot.
        rollout: answers the prompts that the data are.
        validation: items whose loss is taken now and then, without learning.
        on_step: called after every step.
        accept: go on even though data, settings or model are not those of the saved state.

    Raises:
        ConfigError: nothing to train, or a saved state of another run.
        MainspringError: a loss or gradient that is not finite; the weights are those before that step.

    """
    began = time.monotonic()
    with config.plan.applied(model), _seeded(config.seed):
        learner = _learner(model, objective, config, penalties, annotators)
        feed = data if isinstance(data, Feed) else ItemFeed(data, config, learner.ranks)
        run = _Run(learner=learner, feed=feed, rollout=rollout, validation=validation)
        say(_opening(run))
        start = state = _resume(run, state_dir, accept=accept)
        metrics, resumed_at, loss = Metrics(state_dir, start.step), start.step, None
        for state, report in _steps(run, start):
            metrics.write(report)
            loss = report.loss
            if report.step % config.report_every_steps == 0 or report.step == run.num_steps:
                say(line(report, run.num_steps, (time.monotonic() - began) / (report.step - resumed_at)))
            if _is_saved(run, report.step):
                states.save(state_dir, state, run.learner.parameters, run.learner.optimizer)
            if on_step is not None:
                on_step(report)
    return Result(
        steps=state.step, tokens=state.tokens, trained_tokens=state.trained_tokens, loss=loss,
        seconds=time.monotonic() - began, resumed_at=resumed_at, metrics=metrics.path,
    )  # fmt: skip


def _learner(
    model: Model,
    objective: Objective,
    config: TrainConfig,
    penalties: Sequence[Penalty | WeightPenalty],
    annotators: Sequence[Annotator],
) -> Learner:
    objective.prepare(model)
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    if not parameters:
        raise ConfigError(
            "No weight of the model trains. Give it an adapter (lora.add), or unfreeze weights."
        )
    looking = [each for each in penalties if isinstance(each, Penalty)]
    needs = list(dict.fromkeys(need for each in (objective, *looking) for need in each.needs))
    return Learner(
        model=model, objective=objective, penalties=penalties, parameters=parameters, config=config,
        ranks=find_ranks(), annotators=find_annotators(needs, model, annotators, objective.kind),
        optimizer=build_optimizer(parameters, config.optim),
    )  # fmt: skip


def _resume(run: _Run, state_dir: Path, *, accept: bool) -> State:
    state_dir.mkdir(parents=True, exist_ok=True)
    saved = states.saved(state_dir)
    if not saved:
        return State(step=0, cursor={}, tokens=0, trained_tokens=0.0, fingerprints=run.fingerprints)
    changed = states.differences(states.fingerprints_in(saved[-1]), run.fingerprints)
    if changed and not accept:
        raise ConfigError(
            f"{saved[-1]} is the state of another run:\n  " + "\n  ".join(changed) + "\n"
            "Undo these changes to go on with it, accept them, or give another `state_dir` to start again."
        )
    state = states.restore(saved[-1], run.learner.parameters, run.learner.optimizer)
    say(f"going on after step {state.step} of {run.num_steps}" + (", changes accepted" if changed else ""))
    return state


def _steps(run: _Run, state: State) -> Iterator[tuple[State, StepReport]]:
    """Every update, with the state behind it."""
    if state.step >= run.num_steps:
        return
    for step in run.feed.steps(state.cursor):
        batches = _batches(run, step, state.step // run.updates)
        for _ in range(run.updates):
            report = _update(run, batches, state.step)
            state = State(
                step=report.step, cursor=step.cursor, tokens=state.tokens + report.tokens,
                trained_tokens=state.trained_tokens + report.trained_tokens, fingerprints=run.fingerprints,
                more={"scaler": run.learner.scaler.state_dict()},
            )  # fmt: skip
            yield state, report


def _batches(run: _Run, step: Step, number: int) -> list[Batch]:
    items = step.items if run.rollout is None else run.rollout(step.items, number)
    return run.learner.batches(_views(run, items, str(number)))


def _views(run: _Run, items: Sequence[Item], when: str) -> list[Item]:
    """What the objective sees of the items; chance depends on the step and on the item's place over all ranks."""
    ranks, seed = run.learner.ranks, run.config.seed
    places = [at * ranks.size + ranks.rank for at in range(len(items))]
    draws = [random.Random(f"{seed}/{when}/{place}") for place in places]  # noqa: S311 - a mask, not a secret
    return [run.learner.objective.view(item, draw) for item, draw in zip(items, draws, strict=True)]


def _update(run: _Run, batches: Sequence[Batch], number: int) -> StepReport:
    began = time.monotonic()
    lr = lr_at(number, run.num_steps, run.config.optim)
    try:
        learnt = run.learner.learn(batches, lr)
    except NotFiniteError as error:
        raise MainspringError(
            f"The {error.what} of step {number + 1} is not finite; the weights are as they were before it. "
            f"It learnt from: {', '.join(error.names)}. Look at these, lower `optim.lr`, or leave half precision."
        ) from error
    metrics = dict(learnt.metrics)
    if _is_validated(run, number + 1):
        metrics |= _validate(run)
    return StepReport(
        step=number + 1, loss=learnt.loss, lr=lr, grad_norm=learnt.grad_norm, tokens=learnt.tokens,
        trained_tokens=learnt.trained_tokens, seconds=time.monotonic() - began, metrics=metrics,
    )  # fmt: skip


def _validate(run: _Run) -> dict[str, float]:
    assert run.validation is not None
    indices = run.learner.ranks.share(range(run.validation.num_items))
    items = _views(run, [run.validation.item(index) for index in indices], "validation")
    found = run.learner.measure(run.learner.batches(items))
    return {f"valid_{name}": value for name, value in found.items()}


def _is_validated(run: _Run, step: int) -> bool:
    every = run.config.validate_every_steps
    return run.validation is not None and (step == run.num_steps or (every > 0 and step % every == 0))


def _is_saved(run: _Run, step: int) -> bool:
    """Answers are not kept: a state lies where new ones are asked for."""
    is_asked = step % run.updates == 0
    return step == run.num_steps or (is_asked and step % run.config.save_every_steps < run.updates)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers of the run's own; the caller's go on as if nothing had been drawn."""
    before = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(before)


def _opening(run: _Run) -> str:
    learner = run.learner
    num_trained = sum(each.numel() for each in learner.parameters.values())
    num_all = sum(each.numel() for each in learner.model.parameters())
    return (
        f"training on {describe()}: {run.config.plan.describe()}; {num_trained:,} of {num_all:,} parameters; "
        f"{learner.objective.kind} over {run.num_steps} steps"
    )
