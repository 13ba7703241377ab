"""The one loop. A step: count over all batches first, then add up their gradients, scaled by that count.

source -> order -> segments of a step -> packed batches -> model -> objective -> gradients -> optimizer -> state
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mainspring.adapt import lora
from mainspring.device import describe
from mainspring.errors import ConfigError, MainspringError
from mainspring.models.model import Model
from mainspring.progress import say
from mainspring.train import state as states
from mainspring.train.batch import Batch, pack
from mainspring.train.config import TrainConfig
from mainspring.train.metrics import Metrics, StepReport, line
from mainspring.train.objectives.base import Loss, Objective, run_model
from mainspring.train.optim import build_optimizer, clip, lr_at, set_lr
from mainspring.train.sources.base import Source
from mainspring.train.state import State
from mainspring.train.steps import Step, plan_steps

OnStep = Callable[[StepReport], None]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    model: Model
    source: Source
    objective: Objective
    config: TrainConfig
    steps: list[Step]
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    fingerprints: Mapping[str, Any]


def train(
    model: Model,
    source: Source,
    objective: Objective,
    config: TrainConfig,
    state_dir: Path,
    *,
    on_step: OnStep | None = None,
    accept: bool = False,
) -> Result:
    """Train what requires a gradient, from the last state in `state_dir` or from the start.

    Args:
        model: with its base frozen and an adapter on it (`lora.add`), or with all weights to train.
        source: what to learn from.
        objective: towards what.
        config: the run's settings.
        state_dir: keeps the state and metrics.jsonl; the run that finds its own state there goes on from it
            to the same bits, given as many threads.
        on_step: called after every step.
        accept: go on even though data, settings or model are not those of the saved state.

    Raises:
        ConfigError: nothing to train, or a saved state of another run.
        MainspringError: a loss or gradient that is not finite; the weights are those before that step.

    """
    began = time.monotonic()
    with config.plan.applied(), _seeded(config.seed):
        run = _prepare(model, source, objective, config)
        say(_opening(run))
        state = _resume(run, state_dir, accept=accept)
        metrics, resumed_at, loss = Metrics(state_dir, state.step), state.step, None
        for number in range(state.step, len(run.steps)):
            report = _step(run, number)
            state = _after(state, run, report)
            metrics.write(report)
            loss = report.loss
            if report.step % config.report_every_steps == 0 or report.step == len(run.steps):
                say(line(report, len(run.steps), (time.monotonic() - began) / (report.step - resumed_at)))
            if report.step % config.save_every_steps == 0 or report.step == len(run.steps):
                states.save(state_dir, state, run.parameters, run.optimizer)
            if on_step is not None:
                on_step(report)
    return Result(
        steps=state.step, tokens=state.tokens, trained_tokens=state.trained_tokens, loss=loss,
        seconds=time.monotonic() - began, resumed_at=resumed_at, metrics=metrics.path,
    )  # fmt: skip


def _prepare(model: Model, source: Source, objective: Objective, config: TrainConfig) -> _Run:
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    if not parameters:
        raise ConfigError(
            "No weight of the model trains. Give it an adapter (lora.add), or unfreeze weights."
        )
    adapter = lora.active(model)
    fingerprints = {
        "data": source.fingerprint,
        "objective": objective.name,
        "config": config.model_dump(mode="json"),
        "model": lora.base_fingerprint(model),
        "adapter": lora.adapters_of(model).configs[adapter].model_dump(mode="json") if adapter else None,
        "machine": {"torch": torch.__version__, "threads": torch.get_num_threads()},
    }
    return _Run(
        model=model, source=source, objective=objective, config=config, steps=plan_steps(source, config),
        parameters=parameters, optimizer=build_optimizer(parameters, config.optim), fingerprints=fingerprints,
    )  # fmt: skip


def _resume(run: _Run, state_dir: Path, *, accept: bool) -> State:
    state_dir.mkdir(parents=True, exist_ok=True)
    saved = states.saved(state_dir)
    if not saved:
        return State(
            step=0, cursor=run.steps[0].start, tokens=0, trained_tokens=0.0, fingerprints=run.fingerprints
        )
    changed = states.differences(states.fingerprints_in(saved[-1]), run.fingerprints)
    if changed and not accept:
        raise ConfigError(
            f"{saved[-1]} is the state of another run:\n  " + "\n  ".join(changed) + "\n"
            "Undo these changes to go on with it, accept them, or give another `state_dir` to start again."
        )
    state = states.restore(saved[-1], run.parameters, run.optimizer)
    say(f"going on after step {state.step} of {len(run.steps)}" + (", changes accepted" if changed else ""))
    return state


def _step(run: _Run, number: int) -> StepReport:
    began = time.monotonic()
    step, config = run.steps[number], run.config
    segments = [run.source.segment(index) for index in step.indices]
    longest = max(segment.num_tokens for segment in segments)
    batches = pack(segments, max(config.plan.micro_batch_tokens, longest))
    counts = _total([batch.counts() for batch in batches])
    run.optimizer.zero_grad(set_to_none=True)
    loss_sum, metric_sums = 0.0, []
    for batch in batches:
        loss = _loss(run, batch, number)
        (loss.sum / counts[loss.count_key]).backward()
        loss_sum += float(loss.sum.detach()) / counts[loss.count_key]
        metric_sums.append({name: value / counts[loss.count_key] for name, value in loss.metrics.items()})
    num_tokens = sum(len(batch.ids) for batch in batches)
    norm = clip(run.parameters, config.optim.max_grad_norm)
    if not torch.isfinite(torch.tensor(norm)):
        raise _not_finite("gradient", number, [place.name for batch in batches for place in batch.segments])
    lr = lr_at(number, len(run.steps), config.optim)
    set_lr(run.optimizer, lr)
    run.optimizer.step()
    return StepReport(
        step=number + 1, loss=loss_sum, lr=lr, grad_norm=norm, tokens=num_tokens,
        trained_tokens=counts["tokens"], seconds=time.monotonic() - began, metrics=_total(metric_sums),
    )  # fmt: skip


def _loss(run: _Run, batch: Batch, number: int) -> Loss:
    with run.config.plan.autocast():
        loss = run.objective(run_model(run.model, batch), batch)
    if not torch.isfinite(loss.sum):
        raise _not_finite("loss", number, [place.name for place in batch.segments])
    return loss


def _not_finite(what: str, number: int, names: list[str]) -> MainspringError:
    return MainspringError(
        f"The {what} of step {number + 1} is not finite; the weights are as they were before it. "
        f"It learnt from: {', '.join(names)}. Look at these, lower `optim.lr`, or leave bf16."
    )


def _after(state: State, run: _Run, report: StepReport) -> State:
    ended = report.step == len(run.steps)
    return State(
        step=report.step, cursor=state.cursor if ended else run.steps[report.step].start,
        tokens=state.tokens + report.tokens, trained_tokens=state.trained_tokens + report.trained_tokens,
        fingerprints=run.fingerprints,
    )  # fmt: skip


def _total(parts: list[dict[str, float]]) -> dict[str, float]:
    return {key: sum(part[key] for part in parts) for key in parts[0]}


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
    num_trained = sum(each.numel() for each in run.parameters.values())
    num_all = sum(each.numel() for each in run.model.parameters())
    num_tokens = sum(step.trained_tokens for step in run.steps)
    return (
        f"training on {describe()}: {run.config.plan.describe()}; {num_trained:,} of {num_all:,} parameters; "
        f"{len(run.steps)} steps over {sum(len(step.indices) for step in run.steps)} segments, "
        f"{num_tokens:,.0f} trained tokens (at most {run.config.max_trained_tokens:,})"
    )
