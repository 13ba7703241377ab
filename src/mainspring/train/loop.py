"""The one loop: what a source gives is learnt step by step, and what decides the next step is kept.

feed -> items of a step -> (rollouts) -> Learner.learn -> state, metrics, validation
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mainspring.adapt import base as adapters
from mainspring.device import describe, trim_memory
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.progress import say
from mainspring.train.annotate import Annotator, find_annotators
from mainspring.train.config import TrainConfig
from mainspring.train.dropout import dropping
from mainspring.train.feed import Feed, ItemFeed
from mainspring.train.finite import check_weights
from mainspring.train.learner import Learner
from mainspring.train.memory import memory_told
from mainspring.train.metrics import Metrics, StepReport, line
from mainspring.train.objectives.base import Addition, Objective, Penalty, WeightPenalty
from mainspring.train.parallel import Runner, open_runner
from mainspring.train.ranks import check_agreement, is_first
from mainspring.train.session import Rollout, Session
from mainspring.train.sources.base import Source

OnStep = Callable[[StepReport], None]
TRIM_EVERY_STEPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run did.

    loss: of the last step. best: the lowest validation loss. resumed_at: the step it went on from, 0 for the start.
    """

    steps: int
    tokens: int
    trained_tokens: float
    loss: float | None
    seconds: float
    resumed_at: int
    metrics: Path
    best: float | None = None


def train(
    model: Model,
    data: Source | Feed,
    objective: Objective,
    config: TrainConfig,
    state_dir: Path,
    *,
    penalties: Sequence[Addition] = (),
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
        objective, config: towards what, and the run's settings.
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
        MainspringError: a loss or gradient that is not finite; the weights are those before that step. Of a model
            that is cut over processes they lie in the last saved state, for the model itself is empty then.
        OutOfMemoryError: the system gives no more memory; says what needs less.

    """
    began = time.monotonic()
    given = begin(
        model, data, objective, config, state_dir, penalties=penalties, annotators=annotators, rollout=rollout,
        validation=validation,
    )  # fmt: skip
    with memory_told(model, config, state_dir), given as session:
        say(_opening(session))
        session.resume(accept=accept)
        resumed_at, loss = session.state.step, None
        pace, metrics = _Pace(resumed_at, began), Metrics(state_dir, resumed_at, is_kept=is_first())
        for report in session.steps():
            metrics.write(report)
            loss = report.loss
            _tell(session, report, pace.seconds_per_step(report.step))
            if session.is_saved(report.step):
                session.save()
            if on_step is not None:
                on_step(report)
        session.finish()
    state = session.state
    return Result(
        steps=state.step, tokens=state.tokens, trained_tokens=state.trained_tokens, loss=loss,
        seconds=time.monotonic() - began, resumed_at=resumed_at, metrics=metrics.path, best=session.best.value,
    )  # fmt: skip


class _Pace:
    """How long a step takes; the first of a process, which allocates and compiles, counts until there is a second."""

    def __init__(self, step: int, began: float) -> None:
        self._first, self._since, self._step = step + 1, began, step

    def seconds_per_step(self, step: int) -> float:
        """As it is at the end of this step."""
        found = (time.monotonic() - self._since) / (step - self._step)
        if step == self._first:
            self._since, self._step = time.monotonic(), step
        return found


def _tell(session: Session, report: StepReport, seconds_per_step: float) -> None:
    """Say how far it is, as often as the settings want, and at the end."""
    if report.step % TRIM_EVERY_STEPS == 0:
        trim_memory()  # what is kept of kernels lies between what is free, which would grow by it
    if report.step % session.config.report_every_steps == 0 or session.is_last(report.step):
        say(line(report, session.num_steps, seconds_per_step))


@contextmanager
def begin(
    model: Model,
    data: Source | Feed,
    objective: Objective,
    config: TrainConfig,
    state_dir: Path,
    *,
    penalties: Sequence[Addition] = (),
    annotators: Sequence[Annotator] = (),
    rollout: Rollout | None = None,
    validation: Source | None = None,
) -> Iterator[Session]:
    """A run before its first step, with its threads, its precision and its random numbers; see `train`."""
    check_agreement(_decisions(objective, config))
    with config.plan.applied(model), dropping(model, config.dropout), _seeded(config.seed):
        check_weights(model)
        objective.prepare(model)
        adapters.base_fingerprint(model)  # known to the model from here on, before it is cut into parts
        runner = open_runner(model, config.plan)
        if rollout is not None and runner.is_cut:
            raise ConfigError(
                "What answers prompts needs the whole model in every process. Use plan.parallel=ddp."
            )
        learner = _learner(runner, objective, config, penalties, annotators)
        feed = data if isinstance(data, Feed) else ItemFeed(data, config, learner.ranks)
        session = Session(
            learner=learner, feed=feed, rollout=rollout, validation=validation, folder=state_dir
        )
        check_agreement(session.fingerprints)
        try:
            yield session
        finally:
            session.saver.close()
        runner.close()


def _decisions(objective: Objective, config: TrainConfig) -> dict[str, Any]:
    """What must be the same on all ranks before they can do anything together."""
    return {
        "config": config.model_dump(mode="json"),
        "objective": objective.model_dump(mode="json"),
        "machine": {"torch": torch.__version__, "threads": config.plan.num_threads},
    }


def _learner(
    runner: Runner,
    objective: Objective,
    config: TrainConfig,
    penalties: Sequence[Addition],
    annotators: Sequence[Annotator],
) -> Learner:
    parameters = runner.parameters
    if not runner.num_trained:
        raise ConfigError(
            "No weight of the model trains. Give it an adapter (lora.add), or unfreeze weights."
        )
    watching = [
        each.kind for each in penalties if not isinstance(each, WeightPenalty) and each.watches_routers
    ]
    if watching and runner.ranks.model_size > 1:
        raise ConfigError(
            f"'{watching[0]}' needs all that routers say in every process, once. Use plan.parallel=fsdp or ddp."
        )
    of_weights = [each.kind for each in penalties if isinstance(each, WeightPenalty)]
    if of_weights and runner.is_cut:
        raise ConfigError(
            f"The penalty '{of_weights[0]}' needs whole weights in every process. Use plan.parallel=ddp."
        )
    looking = [each for each in penalties if isinstance(each, Penalty)]
    needs = list(dict.fromkeys(need for each in (objective, *looking) for need in each.needs))
    return Learner(
        runner=runner, objective=objective, penalties=penalties, parameters=parameters, config=config,
        annotators=find_annotators(needs, runner, [*annotators, *objective.annotators()]),
        optimizer=runner.build_optimizer(config.optim),
    )  # fmt: skip


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


def _opening(session: Session) -> str:
    learner = session.learner
    runner = learner.runner
    return (
        f"training on {describe()}: {runner.describe()}; {runner.num_trained:,} of {runner.num_parameters:,} "
        f"parameters; {learner.objective.kind} over {session.num_steps} steps"
    )
