"""A recipe as what is tried: trained with some of its settings set, for what it comes to."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from mainspring.errors import ConfigError, MainspringError
from mainspring.models.attend import PackedAttend
from mainspring.models.config import ModelConfig
from mainspring.models.load import understand
from mainspring.models.model import Model
from mainspring.registry import Registry
from mainspring.train.comparison import flatten
from mainspring.train.history import History, read
from mainspring.train.metrics import VALID_LOSS, StepReport
from mainspring.train.preflight import check_settings
from mainspring.train.recipe import Recipe, load_recipe
from mainspring.train.run import try_recipe
from mainspring.train.search_settings import Report
from mainspring.train.search_space import Space, probes, put

RECIPE = "recipe.yaml"
LOSS = "loss"
LAST = 10  # steps whose mean is the training loss of a trial, so that one lucky batch decides nothing
LATENCY_TOKENS, LATENCY_RUNS = 128, 5
UNSAID = 10**6  # steps between two lines of progress of a trial, whose recipe does not say it


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeTrial:
    """Trains a preset with `recipe` over it and the values of a trial over that.

    Metrics: valid_loss (the best), loss (mean of the last steps), parameters, trained_parameters, latency_ms (a
    forward of 128 tokens), seconds, trained_tokens.

    open_registry: called in the process that trains. threads: of a trial whose recipe does not say it. goal: the
    metric that is reported on the way, valid_loss or loss.
    """

    open_registry: Callable[[], Registry]
    preset: str
    goal: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 0

    def check(self, space: Space) -> None:
        """Refuse a space before anything is tried.

        Raises:
            ConfigError: a key that no recipe has, a value of a wrong type, a key of the model that changes nothing.

        """
        first, *others = (self._load(values) for values in probes(space))
        if self.goal == VALID_LOSS and first.validation is None and not first.validation_fraction:
            raise ConfigError(
                "`goals` name valid_loss, but the recipe holds nothing out. Set `recipe.validation_fraction` or "
                "`recipe.validation`, or name the metric loss."
            )
        for key, other in zip(space, others, strict=True):
            if key.startswith("model.") and _built(first.model) == _built(other.model) is not None:
                raise ConfigError(
                    f"`space` names `{key}`, which changes nothing in the model: its family reads no such key. Write "
                    "it as the published config.json does, such as model.hidden_size."
                )
        for tried in (first, *others):
            check_settings(tried)

    def __call__(self, values: Mapping[str, Any], report: Report, folder: Path) -> dict[str, float]:
        """Train in a folder, from where a killed attempt stopped."""
        recipe = self._load(values, folder)
        try:
            model = try_recipe(self.open_registry(), recipe, folder, self._teller(report))
        except Exception:  # it is over; one that was only stopped goes on from its states
            _drop_states(folder)
            raise
        _drop_states(folder)
        history = read(folder)
        outcome = history.outcome()
        assert outcome is not None, "a run trains a step or says why not"
        parameters = list(model.parameters())
        found = {
            LOSS: _last_loss(history), "seconds": outcome.seconds, "trained_tokens": outcome.trained_tokens,
            "parameters": float(sum(each.numel() for each in parameters)),
            "trained_parameters": float(sum(each.numel() for each in parameters if each.requires_grad)),
        }  # fmt: skip
        if outcome.best_valid_loss is not None:
            found[VALID_LOSS] = outcome.best_valid_loss
        if model.encoder is None:
            found["latency_ms"] = _latency_ms(model, recipe.train.plan.num_threads)
        return found

    def _load(self, values: Mapping[str, Any], folder: Path | None = None) -> Recipe:
        """The recipe with these values, which is written into the folder."""
        quiet = {"train.report_every_steps": UNSAID} | (
            {"train.plan.threads": self.threads} if self.threads else {}
        )
        said = put(put(put({}, quiet), flatten(self.recipe)), values)
        with tempfile.TemporaryDirectory() as scratch:
            path = (folder or Path(scratch)) / RECIPE
            path.write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True), encoding="utf-8")
            return load_recipe(self.preset, [path])

    def _teller(self, report: Report) -> Callable[[StepReport], None]:
        recent: list[float] = []

        def tell(step: StepReport) -> None:
            recent.append(step.loss)
            del recent[:-LAST]
            if self.goal == VALID_LOSS and VALID_LOSS in step.metrics:
                report(step.step, step.metrics[VALID_LOSS])
            elif self.goal == LOSS and step.step % LAST == 0:
                report(step.step, sum(recent) / len(recent))

        return tell


def _built(model: str | Mapping[str, Any]) -> ModelConfig | None:
    """What a new model would be; None where that is not known, which its trial then finds out."""
    if isinstance(model, str):
        return None
    try:
        return understand({"vocab_size": 256, **model}, Path("`model`"))
    except MainspringError:
        return None


def _drop_states(folder: Path) -> None:
    for state in [*folder.glob("step-*"), folder / "best"]:
        shutil.rmtree(state, ignore_errors=True)


def _last_loss(history: History) -> float:
    return statistics.fmean(history.losses[-LAST:])


@torch.inference_mode()
def _latency_ms(model: Model, threads: int) -> float:
    """Median time of a forward of one text, in milliseconds."""
    num = min(LATENCY_TOKENS, model.config.context)
    ids_T, pos_T = torch.zeros(num, dtype=torch.int64), torch.arange(num)
    before, times = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    for _ in range(LATENCY_RUNS):
        began = time.perf_counter()
        model(ids_T, pos_T, PackedAttend([num]))
        times.append(time.perf_counter() - began)
    torch.set_num_threads(before)
    return 1000 * statistics.median(times)
