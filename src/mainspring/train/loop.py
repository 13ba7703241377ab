"""The one loop: what a source gives is learnt step by step, and what decides the next step is kept.

feed -> items of a step -> (rollouts) -> Learner.learn -> state, metrics, validation
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from mainspring.device import describe
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.progress import say
from mainspring.train.annotate import Annotator, find_annotators
from mainspring.train.config import TrainConfig
from mainspring.train.feed import Feed, ItemFeed
from mainspring.train.learner import Learner
from mainspring.train.metrics import Metrics, StepReport, line
from mainspring.train.objectives.base import Addition, Objective, Penalty
from mainspring.train.optim import build_optimizer
from mainspring.train.ranks import find_ranks
from mainspring.train.session import Rollout, Session
from mainspring.train.sources.base import Source

OnStep = Callable[[StepReport], None]


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
    given = begin(
        model, data, objective, config, state_dir, penalties=penalties, annotators=annotators, rollout=rollout,
        validation=validation,
    )  # fmt: skip
    with given as session:
        say(_opening(session))
        session.resume(accept=accept)
        resumed_at, loss = session.state.step, None
        metrics = Metrics(state_dir, resumed_at)
        for report in session.steps():
            metrics.write(report)
            loss = report.loss
            is_last = report.step == session.num_steps or session.is_over
            if report.step % config.report_every_steps == 0 or is_last:
                say(line(report, session.num_steps, (time.monotonic() - began) / (report.step - resumed_at)))
            if session.is_saved(report.step):
                session.save()
            if on_step is not None:
                on_step(report)
        session.take_best()
    state = session.state
    return Result(
        steps=state.step, tokens=state.tokens, trained_tokens=state.trained_tokens, loss=loss,
        seconds=time.monotonic() - began, resumed_at=resumed_at, metrics=metrics.path, best=session.best.value,
    )  # fmt: skip


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
    with config.plan.applied(model), _seeded(config.seed):
        learner = _learner(model, objective, config, penalties, annotators)
        feed = data if isinstance(data, Feed) else ItemFeed(data, config, learner.ranks)
        yield Session(learner=learner, feed=feed, rollout=rollout, validation=validation, folder=state_dir)


def _learner(
    model: Model,
    objective: Objective,
    config: TrainConfig,
    penalties: Sequence[Addition],
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
        ranks=find_ranks(), annotators=find_annotators(needs, model, [*annotators, *objective.annotators()]),
        optimizer=build_optimizer(parameters, config.optim),
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
    num_trained = sum(each.numel() for each in learner.parameters.values())
    num_all = sum(each.numel() for each in learner.model.parameters())
    return (
        f"training on {describe()}: {session.config.plan.describe()}; {num_trained:,} of {num_all:,} parameters; "
        f"{learner.objective.kind} over {session.num_steps} steps"
    )
