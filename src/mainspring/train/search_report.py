"""What a search found: its trials in order of worth, what mattered, a picture, and the best as a recipe's file."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mainspring.train.plots import label, picture
from mainspring.train.search import ERROR, METRICS, counted
from mainspring.train.search_settings import Goal, SearchSettings
from mainspring.train.search_space import Space, put, values_of

if TYPE_CHECKING:
    import optuna

MIN_IMPORTANCE = 4  # trials that came to their end
BEST, FRONT, PICTURE = "best.yaml", "front", "search.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One trial. `number`: its place, from 1. state: complete, pruned or fail. values: by dotted key."""

    number: int
    state: str
    values: Mapping[str, Any]
    metrics: Mapping[str, float]
    seconds: float | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`trials`: the best ones first. front: those that none is better than in every goal; of one goal, the best.

    importance: of each key for the first goal, 1 in all; empty where too few trials came to their end.
    """

    trials: list[Tried]
    front: list[Tried]
    importance: dict[str, float]


def report(study: "optuna.Study", settings: SearchSettings) -> Found:
    """What a study has so far."""
    trials = counted(study.get_trials(deepcopy=False))
    by_number = {each.number: _tried(each, at, settings.space) for at, each in enumerate(trials, start=1)}
    front = [by_number[each.number] for each in study.best_trials]
    ended = [each for each in by_number.values() if each.state in ("complete", "pruned", "fail")]
    first = settings.goals[0]
    worth = partial(_worth, goal=first)
    return Found(
        trials=sorted(ended, key=worth), front=sorted(front, key=worth), importance=_importance(study, first)
    )


def write_best(found: Found, folder: Path, preset: str, recipe: Mapping[str, Any]) -> Path | None:
    """Write the best trial's recipe, and with several goals each of the front; the first one's path."""
    if not found.front:
        return None
    if len(found.front) > 1:
        (folder / FRONT).mkdir(exist_ok=True)
        for each in found.front:
            _write(folder / FRONT / f"{each.number:04d}.yaml", each, preset, recipe)
    return _write(folder / BEST, found.front[0], preset, recipe)


def draw_search(found: Found, goals: Sequence[Goal], path: Path) -> Path:
    """The first goal over the trials with the best so far, and what mattered; or the front of two goals."""
    first = goals[0]
    whole = sorted((each for each in found.trials if each.state == "complete"), key=lambda each: each.number)
    with picture(path, 1, 2, "The plot of a search") as (_, (left, right)):
        values = [each.metrics[first.metric] for each in whole]
        better = min if first.direction == "minimize" else max
        best = [better(values[: at + 1]) for at in range(len(values))]
        left.plot([each.number for each in whole], values, "o", markersize=4, label="trial")
        left.step([each.number for each in whole], best, where="post", label="best so far")
        label(left, "trial", first.metric, legend=True)
        if len(goals) == 1:
            right.barh(list(found.importance)[::-1], list(found.importance.values())[::-1])
            label(right, "importance", "")
        else:
            second = goals[1].metric
            for name, trials in (("trial", whole), ("front", found.front)):
                right.plot(
                    [each.metrics[second] for each in trials], [each.metrics[first.metric] for each in trials],
                    "o", markersize=4 if name == "trial" else 7, fillstyle="none" if name == "front" else "full",
                    label=name,
                )  # fmt: skip
            label(right, second, first.metric, legend=True)
    return path


def _tried(trial: "optuna.trial.FrozenTrial", number: int, space: Space) -> Tried:
    ended, began = trial.datetime_complete, trial.datetime_start
    return Tried(
        number=number, state=trial.state.name.lower(), values=values_of(space, trial.params),
        metrics=trial.user_attrs.get(METRICS, {}), error=trial.user_attrs.get(ERROR, ""),
        seconds=(ended - began).total_seconds() if ended and began else None,
    )  # fmt: skip


def _worth(tried: Tried, goal: Goal) -> tuple[int, float]:
    """Whole trials by the goal, then pruned ones, then failed ones."""
    if tried.state != "complete":
        return (1 if tried.state == "pruned" else 2), float(tried.number)
    value = tried.metrics[goal.metric]
    return 0, value if goal.direction == "minimize" else -value


def _importance(study: "optuna.Study", goal: Goal) -> dict[str, float]:
    """By PED-ANOVA (arXiv:2304.10255): how far the best tenth of the trials differ from all in each key."""
    import optuna

    whole = [each for each in study.get_trials(deepcopy=False) if each.state.name == "COMPLETE"]
    if len(whole) < MIN_IMPORTANCE:
        return {}
    sign = 1 if goal.direction == "minimize" else -1
    with warnings.catch_warnings(
        action="ignore"
    ):  # it says that lower must be better, which the sign sees to
        found = optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
            target=lambda each: sign * each.values[0],
        )
    return {name: float(value) for name, value in found.items()}


def _write(path: Path, tried: Tried, preset: str, recipe: Mapping[str, Any]) -> Path:
    said = ", ".join(f"{name} {value:.4g}" for name, value in tried.metrics.items())
    text = yaml.safe_dump(put(recipe, tried.values), sort_keys=False, allow_unicode=True)
    head = f"# Trial {tried.number} of a search: {said}\n# mainspring train {preset} -c {path.name}\n"
    path.write_text(head + text, encoding="utf-8")
    return path
