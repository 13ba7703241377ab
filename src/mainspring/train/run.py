"""A recipe to an artifact: opened, trained as a run that can be killed and resumed, written with its facts."""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mainspring import artifact as artifacts
from mainspring import device
from mainspring.adapt import base as adapters
from mainspring.adapt import store
from mainspring.adapt.bake import bake
from mainspring.artifact import Artifact
from mainspring.config import build, changed
from mainspring.data.doctor.base import Fault
from mainspring.data.shard_dataset import find_tokenizer
from mainspring.errors import ConfigError, NotFoundError
from mainspring.models.init import fresh
from mainspring.models.load import load, understand
from mainspring.models.model import Model
from mainspring.models.published import copy_beside
from mainspring.models.save import save
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.runs import Run, Runs
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.annotate import Annotator
from mainspring.train.card import Facts, write_card
from mainspring.train.feed import Feed
from mainspring.train.fisher import estimate
from mainspring.train.forecast import Forecast, forecast
from mainspring.train.loop import Result, begin, train
from mainspring.train.memory import OutOfMemoryError
from mainspring.train.metrics import StepReport
from mainspring.train.objectives.base import Objective
from mainspring.train.objectives.distill import Distill
from mainspring.train.parallel import ranks_of
from mainspring.train.plots import plot_metrics
from mainspring.train.preflight import Looked, ask_doctor, check_kept, check_settings, look
from mainspring.train.ranks import from_first, is_first
from mainspring.train.recipe import Recipe
from mainspring.train.session import Rollout, Session
from mainspring.train.sources.base import Opening, Source, hold_out
from mainspring.train.trackers import tracked

KIND, ANCHOR = "train", "anchor.safetensors"
OnStep = Callable[[StepReport], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The model to train and where it came from; `parents` by role."""

    model: Model
    tokenizer: Tokenizer
    folder: Path | None
    parents: dict[str, str]
    license: str


def run_recipe(
    registry: Registry,
    runs: Runs,
    recipe: Recipe | None,
    *,
    resume: str | None = None,
    settings: Sequence[str] = (),
    accept: bool = False,
    on_step: OnStep | None = None,
) -> tuple[Artifact, Run]:
    """Train by a recipe, or go on with a run that was stopped (which keeps its own recipe).

    `settings` such as "train.plan.micro_batch_tokens=512" change a run that is resumed; with `accept` it goes on so.
    Where torchrun started several processes they all call this; the first one keeps the run and the registry.

    Returns:
        The adapter or model that came out, registered, and the run.

    """
    run = from_first(_start(registry, runs, recipe, resume, settings) if is_first() else None)
    assert run is not None
    try:
        made = _train(registry, runs, build(Recipe, run.config), run, accept=accept, on_step=on_step)
        device.release_memory()
    except BaseException as error:
        if is_first():
            runs.end(run.id, "failed", {"error": f"{type(error).__name__}: {error}"})
        raise
    if is_first():
        runs.end(run.id, "done", {made.kind: made.reference})
    return made, runs.get(run.id)


def _start(
    registry: Registry, runs: Runs, recipe: Recipe | None, resume: str | None, settings: Sequence[str]
) -> Run:
    if resume is not None:
        before = runs.get(resume).config
        return runs.resume(
            resume, changed(Recipe, before, settings).model_dump(mode="json") if settings else None
        )
    assert recipe is not None, "a new run needs a recipe"
    return runs.start(KIND, recipe.pinned(registry).model_dump(mode="json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is known of a run before it: its data, the faults of its datasets, what it will take."""

    looked: Looked
    faults: Sequence[Fault]
    forecast: Forecast


def plan_recipe(registry: Registry, recipe: Recipe) -> Planned:
    """Look for what would make a run worthless, and measure what it would take; nothing is kept.

    Raises:
        ConfigError: data or weights that nothing can be learnt from or with, an adapter that could not be kept.
        DoesNotFitError: the run would not fit this machine's memory.

    """
    began = time.monotonic()
    opened = open_recipe(registry, recipe)
    opening_s = time.monotonic() - began
    looked = look(opened.data)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, opened.session(registry, recipe, Path(folder)) as session:
        opening_s += time.monotonic() - began
        found = forecast(session, opening_s=opening_s)
    return Planned(looked=looked, faults=ask_doctor(registry, recipe), forecast=found)


def try_recipe(registry: Registry, recipe: Recipe, folder: Path, on_step: OnStep) -> Model:
    """The model that a recipe trains in a folder, from its last state there; nothing is registered."""
    opened = open_recipe(registry, recipe)
    opened.train(registry, recipe, folder, accept=False, on_step=on_step)
    return opened.base.model


def _train(
    registry: Registry, runs: Runs, recipe: Recipe, run: Run, *, accept: bool, on_step: OnStep | None
) -> Artifact:
    opened = open_recipe(registry, recipe)
    look(opened.data)
    say(f"run {run.id}; if it is stopped, `mainspring train --resume {run.id}` goes on with it")
    folder = runs.folder(run.id)
    with tracked(recipe.tracker, folder, recipe.model_dump(mode="json"), on_step) as told:
        try:
            result = opened.train(registry, recipe, folder, accept=accept, on_step=told)
        except OutOfMemoryError as error:
            less = max(1, recipe.train.plan.micro_batch_tokens // 2)
            raise OutOfMemoryError(
                f"{error} To go on: `mainspring train --resume {run.id} --accept "
                f"-o train.plan.micro_batch_tokens={less}`, with another setting as you like."
            ) from error
    made = from_first(_finish(registry, recipe, opened, run, result) if is_first() else None)
    assert made is not None
    return made


def _finish(registry: Registry, recipe: Recipe, opened: "Opened", run: Run, result: Result) -> Artifact:
    """What the first process does with what all have trained."""
    plot_metrics(result.metrics.parent)
    num_trained = sum(each.numel() for each in opened.base.model.parameters() if each.requires_grad)
    if recipe.head is not None:
        _merge_adapter(opened.base.model, recipe.name)
    return _write(registry, recipe, opened, run, result, num_trained=num_trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A recipe with its model rewritten and its data read."""

    base: Base
    data: Source | Feed
    validation: Source | None
    objective: Objective
    annotators: Sequence[Annotator]

    def rollout(self, registry: Registry, recipe: Recipe, folder: Path) -> Rollout | None:
        """What answers prompts, where the recipe has it; what failed is kept in the run's folder."""
        if recipe.rollout is None:
            return None
        return recipe.rollout.open(self.base.model, self.base.tokenizer, registry, folder, recipe.train.seed)

    def train(
        self, registry: Registry, recipe: Recipe, folder: Path, *, accept: bool, on_step: OnStep | None
    ) -> Result:
        return train(
            self.base.model, self.data, self.objective, recipe.train, folder,
            penalties=recipe.penalties, annotators=self.annotators,
            rollout=self.rollout(registry, recipe, folder), validation=self.validation, on_step=on_step,
            accept=accept,
        )  # fmt: skip

    def session(self, registry: Registry, recipe: Recipe, folder: Path) -> AbstractContextManager[Session]:
        return begin(
            self.base.model, self.data, self.objective, recipe.train, folder,
            penalties=recipe.penalties, annotators=self.annotators,
            rollout=self.rollout(registry, recipe, folder), validation=self.validation,
        )  # fmt: skip


def open_recipe(registry: Registry, recipe: Recipe) -> Opened:
    """The model and the data of a recipe, ready for a session.

    Raises:
        ConfigError: settings without effect, data or an adapter that the run could not end well with.

    """
    check_settings(recipe)
    base = _open_base(registry, recipe)
    answers = recipe.rollout.max_tokens if recipe.rollout else 0  # room that a prompt leaves
    opening = Opening(
        registry=registry, tokenizer=base.tokenizer, model=base.model.config,
        max_tokens=min(recipe.max_tokens, base.model.config.context) - answers,
    )  # fmt: skip
    data, validation = _open_data(recipe, opening)
    recipe.transform.apply(base.model, seed=recipe.train.seed, name=recipe.name)
    check_kept(base.model, recipe)
    if base.model.head is not None and recipe.head is not None:
        base.model.head.requires_grad_(True)
    objective = recipe.objective.fitted(base.tokenizer)
    teachers = _teachers(registry, recipe, objective)
    return Opened(base=base, data=data, validation=validation, objective=objective, annotators=teachers)


def _teachers(registry: Registry, recipe: Recipe, objective: Objective) -> list[Annotator]:
    """What says a teacher's word of a batch, where the recipe names a teacher.

    Raises:
        ConfigError: a teacher that the objective does not listen to.

    """
    if not recipe.teacher:
        return []
    if not isinstance(objective, Distill):
        raise ConfigError(
            f"`teacher` is {recipe.teacher}, but the objective '{objective.kind}' listens to none. Leave it out, or "
            "set `objective.kind` to distill."
        )
    teacher = load(registry.folder(registry.get(recipe.teacher, verify=True))).requires_grad_(False)
    return [objective.annotator(teacher)]


def _merge_adapter(model: Model, name: str) -> None:
    """A head that was trained is in no adapter's file: what comes out is a whole model.

    Raises:
        ConfigError: an adapter that cannot be merged.

    """
    if name in adapters.adapters_of(model).configs:
        bake(model, name)


def _open_base(registry: Registry, recipe: Recipe) -> Base:
    base = _find_base(registry, recipe)
    if recipe.head is None:
        return base
    return replace(base, model=recipe.head.put_on(base.model, recipe.train.seed))


def _find_base(registry: Registry, recipe: Recipe) -> Base:
    if isinstance(recipe.model, str):
        artifact = registry.get(recipe.model, verify=True)
        folder = registry.folder(artifact)
        return Base(
            model=load(folder), tokenizer=Tokenizer.load(folder), folder=folder,
            parents={"base": artifact.reference}, license=artifact.license,
        )  # fmt: skip
    found = find_tokenizer(registry, recipe.tokenizer or _tokenizer_of_data(registry, recipe))
    tokenizer = Tokenizer.load(registry.folder(found))
    config = understand({"vocab_size": tokenizer.vocab_size, **recipe.model}, Path("`model`"))
    if config.vocab_size < tokenizer.vocab_size:
        raise ConfigError(
            f"`model.vocab_size` is {config.vocab_size:,}, but the tokenizer {found.reference} has "
            f"{tokenizer.vocab_size:,} ids. Leave it out: it is taken from the tokenizer."
        )
    return Base(
        model=fresh(config, recipe.train.seed), tokenizer=tokenizer, folder=None,
        parents={"tokenizer": found.reference}, license=found.license,
    )  # fmt: skip


def _tokenizer_of_data(registry: Registry, recipe: Recipe) -> str:
    """The tokenizer that the token shards were made with."""
    for reference in recipe.data.parents(registry).values():
        if "tokenizer" in (parents := registry.get(reference).parents):
            return parents["tokenizer"]
    raise NotFoundError(
        "A new model needs a tokenizer, and its data do not name one. Set `tokenizer` to one of "
        f"{', '.join(registry.list('tokenizer')) or 'those that `mainspring tokenizer train` makes'}."
    )


def _open_data(recipe: Recipe, opening: Opening) -> tuple[Source | Feed, Source | None]:
    data: Any = recipe.data.open(opening)  # rows become a feed when they know the run
    if hasattr(data, "feed"):
        if recipe.validation_fraction:
            raise ConfigError(
                "Packed rows hold nothing out. Give a `validation` of its own, such as another split."
            )
        data = data.feed(recipe.train, ranks_of(recipe.train.plan))
    validation = recipe.validation.open(opening) if recipe.validation else None
    if recipe.validation_fraction:
        data, validation = hold_out(data, recipe.validation_fraction, recipe.train.seed)
    return data, validation


def _write(
    registry: Registry, recipe: Recipe, opened: Opened, run: Run, result: Result, *, num_trained: int
) -> Artifact:
    base = opened.base
    is_adapter = recipe.name in adapters.adapters_of(base.model).configs
    facts: dict[str, Any] = {
        "base_fingerprint": adapters.base_fingerprint(base.model),
        "run": run.id,
        "steps": result.steps,
        "tokens": result.tokens,
        "trained_tokens": result.trained_tokens,
        "loss": result.loss,
        "objective": recipe.objective.model_dump(mode="json"),
        "transform": recipe.transform.model_dump(mode="json"),
    }

    def fill(folder: Path) -> None:
        if recipe.fisher is not None:
            assert not isinstance(opened.data, Feed), "rows are refused before the run"
            estimate(opened.base.model, opened.data, recipe.fisher).save(folder / ANCHOR)
        if is_adapter:
            store.save(base.model, recipe.name, folder)
            return
        save(base.model, folder)
        if base.folder is None:
            base.tokenizer.save(folder)
        else:
            copy_beside(base.folder, folder, base.model.config.pooling)

    judges = recipe.rollout.parents(registry) if recipe.rollout else {}
    judges |= {"teacher": registry.get(recipe.teacher).reference} if recipe.teacher else {}
    parents = {**base.parents, **recipe.data.parents(registry), **judges}
    kind = "adapter" if is_adapter else "model"
    card = Facts(
        kind=kind, recipe=recipe, run=run.id, parents=parents, license=base.license,
        base_fingerprint=facts["base_fingerprint"], trained_parameters=num_trained,
        parameters=sum(each.numel() for each in base.model.parameters()), context=base.model.config.context,
    )  # fmt: skip
    made = artifacts.write(
        registry.root, kind, recipe.name, fill, config=facts, parents=parents, license=base.license,
        card=write_card(registry, card, result.metrics.parent),
    )  # fmt: skip
    return registry.add(made)
