"""A ladder of small models of one family, each trained to its own end, and the law that their losses follow.

    time -> speeds -> sizes x lengths -> a run each -> held-out losses -> law, plot, artifact

Every size is trained for a whole, a third and a ninth of a stretch of time, each run with a schedule of its own
(arXiv:2203.15556, section 3.1). A ladder that was killed goes on within the rung that it was in.
"""

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mainspring.artifact import Artifact
from mainspring.config import build
from mainspring.errors import ConfigError, UserError
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.runs import Run, Runs
from mainspring.train.budget import MIN_SIZES, Size, batch_tokens, learning_rate, sizes_for
from mainspring.train.corpus import VALIDATION, Corpus, num_held, read_corpus, row_length
from mainspring.train.journal import Journal
from mainspring.train.law_store import Stored, save_law
from mainspring.train.loop import train
from mainspring.train.pace import measure_speeds
from mainspring.train.recipe import Recipe
from mainspring.train.run import open_recipe
from mainspring.train.scaling import Observation, effective_tokens, fit
from mainspring.train.shape import BACKWARD, shaped
from mainspring.train.stopped import check_stopped

KIND = "scale"
NUM_SIZES, LEVELS, STRIDE = 4, 3, 3
SHARE = sum(STRIDE**-level for level in range(LEVELS))  # of a size's longest run, all of its runs together
LEAST, MOST = 8, 400  # tokens a parameter of a size's longest run: its shortest one still has about one
DONE = "rungs.jsonl"


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the ladder; `worth`: its tokens, repeated ones discounted."""

    name: str
    width: int
    parameters: int
    worth: float
    steps: int
    rows: int
    lr: float


class Climbed(msgspec.Struct, frozen=True, kw_only=True):
    """A rung that was trained: its held-out loss."""

    name: str
    loss: float
    seconds: float


def run_ladder(
    registry: Registry, runs: Runs, recipe: Recipe | None, seconds: float, *, resume: str | None = None
) -> tuple[Artifact, Run]:
    """Train a ladder and fit its law, or go on with one that was stopped.

    Raises:
        ConfigError: a recipe that has no ladder, or data of which nothing is held out.
        UserError: runs from which no law can be read.

    """
    if resume is None:
        assert recipe is not None, "a new ladder needs a recipe"
        recipe, rungs = plan_ladder(registry, recipe, seconds)
        config = {"recipe": recipe.model_dump(mode="json"), "rungs": msgspec.to_builtins(rungs)}
        run = runs.start(KIND, config)
    else:
        check_stopped(runs, KIND, resume)
        run = runs.resume(resume)
    try:
        made = _climb(registry, run, runs.folder(run.id))
    except BaseException as error:
        runs.end(run.id, "failed", {"error": f"{type(error).__name__}: {error}"})
        raise
    return made, runs.end(run.id, "done", {made.kind: made.reference})


def plan_ladder(registry: Registry, recipe: Recipe, seconds: float) -> tuple[Recipe, list[Rung]]:
    """The rungs that fit a time, shortest first, after a probe of speeds."""
    began = time.monotonic()
    recipe = recipe.pinned(registry)
    corpus = read_corpus(registry, recipe)
    recipe = _validated(registry, recipe, corpus)
    speeds = measure_speeds(registry, recipe, corpus, seconds)
    left = seconds - (time.monotonic() - began)
    top = left / NUM_SIZES / SHARE
    sizes = _spread(sizes_for(recipe, corpus, speeds, top))
    held = num_held(registry, recipe) / (1 + BACKWARD)
    lost = sum(LEVELS * held * speeds.seconds_per_token(size.work) for size in sizes)
    if lost > left / 2:
        raise ConfigError(
            f"Validation alone would take {lost:.0f} of {seconds:.0f} s. Give more time, or `validation.num_items`."
        )
    part = (left - lost) / left
    rungs = [_rung(recipe, corpus, size, level, part) for size in sizes for level in range(LEVELS)]
    return recipe, sorted(rungs, key=lambda rung: (rung.parameters * rung.worth, rung.width))


def _validated(registry: Registry, recipe: Recipe, corpus: Corpus) -> Recipe:
    if recipe.validation is not None:
        return recipe
    if corpus.held is None:
        raise ConfigError(
            f"{corpus.references[0]} has no split '{VALIDATION}', and losses are compared on held-out text. Give "
            "`validation`, or make the split with `mainspring data split`."
        )
    values = {**recipe.model_dump(mode="json"), "validation": corpus.validation()}
    return build(Recipe, values).pinned(registry)


def _spread(sizes: Sequence[Size]) -> list[Size]:
    """A few sizes, evenly apart by the logarithm of their parameters, that learn neither too little nor too much."""
    fitting = [size for size in sizes if LEAST <= size.tokens / size.parameters <= MOST]
    if len(fitting) < MIN_SIZES:
        fitting = list(sizes[:MIN_SIZES])  # too little time or text: the smallest ones come nearest
    low, high = math.log(fitting[0].parameters), math.log(fitting[-1].parameters)
    wanted = [low + (high - low) * at / (NUM_SIZES - 1) for at in range(NUM_SIZES)]
    chosen = {min(fitting, key=lambda size: abs(math.log(size.parameters) - each)).width for each in wanted}
    return [size for size in fitting if size.width in chosen]


def _rung(recipe: Recipe, corpus: Corpus, size: Size, level: int, part: float) -> Rung:
    assert not isinstance(recipe.model, str)
    tokens = size.tokens * part / STRIDE**level
    work, length = size.work * tokens, row_length(recipe, corpus.config_of(shaped(recipe.model, size.width)))
    rows = max(1, round(batch_tokens(work) / length))
    steps = max(1, round(tokens / rows / length))
    return Rung(
        name=f"width-{size.width}-part-{STRIDE**level}", width=size.width, parameters=size.parameters, steps=steps,
        worth=effective_tokens(steps * rows * length, corpus.unique), rows=rows, lr=learning_rate(work),
    )  # fmt: skip


def _climb(registry: Registry, run: Run, folder: Path) -> Artifact:
    recipe, rungs = build(Recipe, run.config["recipe"]), msgspec.convert(run.config["rungs"], list[Rung])
    journal = Journal(folder / DONE)
    done = {each.name: each for each in msgspec.convert(journal.entries, list[Climbed])}
    say(f"run {run.id}; if it is stopped, `mainspring scale --resume {run.id}` goes on with it")
    for number, rung in enumerate(rungs, 1):
        if rung.name in done:
            continue
        say(
            f"rung {number} of {len(rungs)}: width {rung.width}, {rung.parameters:,} parameters, "
            f"{rung.worth:,.0f} tokens"
        )
        done[rung.name] = _train(registry, recipe, rung, folder / rung.name)
        journal.append(done[rung.name])
        shutil.rmtree(folder / rung.name)
    seen = [
        Observation(parameters=rung.parameters, tokens=rung.worth, loss=done[rung.name].loss)
        for rung in rungs
    ]
    try:
        stored = Stored(fit=fit(seen), runs=seen)
    except UserError as error:
        raise UserError(f"{error} The runs' losses are in {journal.path}.") from error
    return save_law(registry, recipe, stored, run=run.id)


def _train(registry: Registry, recipe: Recipe, rung: Rung, folder: Path) -> Climbed:
    assert not isinstance(recipe.model, str)
    began = time.monotonic()
    values = recipe.model_dump(mode="json")
    values["model"] = shaped(recipe.model, rung.width)
    values["train"] |= {
        "steps": rung.steps, "items_per_step": rung.rows, "validate_every_steps": 0, "restore_best": False,
        "save_every_steps": max(10, rung.steps // 4), "report_every_steps": max(1, rung.steps // 4),
        "optim": {**values["train"]["optim"], "lr": rung.lr},
    }  # fmt: skip
    own = build(Recipe, values)
    opened = open_recipe(registry, own)
    result = train(
        opened.base.model, opened.data, opened.objective, own.train, folder, penalties=own.penalties,
        validation=opened.validation,
    )  # fmt: skip
    assert result.best is not None, "a rung is validated at its end"
    return Climbed(name=rung.name, loss=result.best, seconds=time.monotonic() - began)
