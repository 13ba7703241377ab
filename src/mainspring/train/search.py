"""A search: what is tried, by whom, towards what, and a study on the disk that outlives whoever works on it.

    lock -> (trials of dead workers back) -> a trial, its values, its worker's name -> unlock
    values -> trial(values, report, folder) -> metrics          | killed here: the trial is tried again
    study.db: every trial with its values, what it reported, what came out

Any number of processes work on one study. A trial is one process's as long as that lives; the first to look for
work afterwards gives the values to a new trial, which goes on in the same folder. The sampler of a trial is made
anew from the seed and the trial's place, so that with one worker a stopped search tries what a whole one tries
(cmaes aside, which adds the trial's number to its seed).
"""

import fcntl
import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.errors import ConfigError, MainspringError
from mainspring.progress import say
from mainspring.train.search_methods import need_optuna
from mainspring.train.search_settings import PrunedError, Report, SearchSettings, Trial
from mainspring.train.search_space import draw

if TYPE_CHECKING:
    import optuna

STUDY, LOCK = "study.db", "lock"
NAME = "search"
WAIT_S = 120.0  # for another worker's write to the study
MAX_ATTEMPTS = 3  # at a trial whose workers are killed
NUM_FIRST = 5  # trials of which one must come to an end
WORKER, PLACE, AGAIN, STOPPED = "worker", "place", "again of", "stopped"
ERROR, METRICS = "error", "metrics"


def open_study(settings: SearchSettings, folder: Path) -> "optuna.Study":
    """The study in a folder, begun where there is none."""
    need_optuna()
    import optuna

    engine = {"connect_args": {"timeout": WAIT_S}}
    with _locked(folder):
        return optuna.create_study(
            storage=optuna.storages.RDBStorage(f"sqlite:///{folder.resolve() / STUDY}", engine_kwargs=engine),
            study_name=NAME, directions=[each.direction for each in settings.goals], load_if_exists=True,
            pruner=settings.pruner.build(),
        )  # fmt: skip


def work(settings: SearchSettings, trial: Trial, folder: Path, go_on: Callable[[], bool]) -> None:
    """Try until there are enough trials; every worker process runs this.

    Args:
        settings: of the search.
        trial: what is tried.
        folder: of the search.
        go_on: whether further trials may begin.

    Raises:
        ConfigError: a goal that no trial has.
        MainspringError: all of the first trials failed.

    """
    worker = _Worker(settings=settings, trial=trial, folder=folder, study=open_study(settings, folder))
    while go_on() and (taken := worker.take()) is not None:
        worker.attempt(*taken)
        _check_first(worker.study)


def counted(trials: "Sequence[optuna.trial.FrozenTrial]") -> "list[optuna.trial.FrozenTrial]":
    """All trials but those that were tried again."""
    again = {each.user_attrs[AGAIN] for each in trials if AGAIN in each.user_attrs}
    return [each for each in trials if each.number not in again]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worker:
    """One process at work on a study."""

    settings: SearchSettings
    trial: Trial
    folder: Path
    study: "optuna.Study"

    def take(self) -> "tuple[optuna.Trial, dict[str, Any]] | None":
        """The next trial, marked as this process's, with its values; None where there are enough."""
        from optuna.trial import TrialState

        with _locked(self.folder):
            _give_back(self.study)
            trials = self.study.get_trials(deepcopy=False)
            waiting = [each for each in trials if each.state == TrialState.WAITING]
            if not waiting and len(counted(trials)) >= self.settings.trials:
                return None
            place = waiting[0].user_attrs[PLACE] if waiting else len(counted(trials))
            self.study.sampler = self.settings.sampler.build(_seed_of(self.settings.seed, place))
            asked = self.study.ask()
            asked.set_user_attr(PLACE, place)
            values = draw(self.settings.space, asked)
            asked.set_user_attr(WORKER, _name_of_process(os.getpid()))
            return asked, values

    def attempt(self, asked: "optuna.Trial", values: dict[str, Any]) -> None:
        """Try values and write down what came out."""
        began, place = time.monotonic(), asked.user_attrs[PLACE]
        own = self.folder / "trials" / f"{place:04d}"
        own.mkdir(parents=True, exist_ok=True)
        try:
            tried = _outcome(self.trial, values, _reporter(asked, self.settings), own)
        except BaseException:
            asked.set_user_attr(STOPPED, True)  # this attempt is nobody's fault
            raise
        said = self._tell(asked, tried)
        shown = ", ".join(f"{name}={value}" for name, value in asked.params.items())
        say(f"trial {place + 1}/{self.settings.trials}  {said}  ({shown}; {time.monotonic() - began:.1f} s)")

    def _tell(self, asked: "optuna.Trial", tried: "_Tried") -> str:
        """Write an outcome into the study; what can be said of it."""
        from optuna.trial import TrialState

        names = [goal.metric for goal in self.settings.goals]
        numbers = {name: value for name, value in tried.metrics.items() if math.isfinite(value)}
        is_whole = tried.state == "COMPLETE" and {*names} <= {*numbers}
        is_pruned = tried.state == "PRUNED" and len(names) == 1  # of several goals, none can be pruned
        state = TrialState.COMPLETE if is_whole else TrialState.PRUNED if is_pruned else TrialState.FAIL
        shown = ", ".join(f"{name} {tried.metrics[name]:.4g}" for name in names if name in tried.metrics)
        said = tried.said or shown
        asked.set_user_attr(METRICS, numbers)
        if state == TrialState.FAIL:
            asked.set_user_attr(ERROR, said)
        self.study.tell(asked, [numbers[name] for name in names] if is_whole else None, state)
        lacking = [name for name in names if name not in tried.metrics]
        if tried.state == "COMPLETE" and lacking:
            has = ", ".join(tried.metrics) or "none"
            raise ConfigError(f"`goals` name the metric '{lacking[0]}', but a trial gives {has}.")
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """How a trial ended, as the study calls it; `said` where it was not whole."""

    state: str
    metrics: Mapping[str, float]
    said: str = ""


def _outcome(trial: Trial, values: Mapping[str, Any], report: Report, folder: Path) -> _Tried:
    try:
        return _Tried(state="COMPLETE", metrics=trial(values, report, folder))
    except PrunedError as error:
        return _Tried(state="PRUNED", metrics={}, said=f"ended early, it {error}")
    except Exception as error:  # noqa: BLE001 - values that break a model are a finding: kept and told
        return _Tried(state="FAIL", metrics={}, said=f"failed: {type(error).__name__}: {error}")


def _reporter(asked: "optuna.Trial", settings: SearchSettings) -> Report:
    def report(step: int, value: float) -> None:
        if not math.isfinite(value):
            raise PrunedError(f"reported {value} at step {step}")
        if len(settings.goals) > 1:  # of several there is no order to prune by
            return
        asked.report(value, step)
        if asked.should_prune():
            raise PrunedError(f"was worse than others at step {step}")

    return report


def _give_back(study: "optuna.Study") -> None:
    """Let what dead workers had begun be tried again; only the holder of the lock asks, so none is taken twice."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    for each in trials:
        if each.state != TrialState.RUNNING or _is_alive(each):
            continue
        is_again = any(other.user_attrs.get(AGAIN) == each.number for other in trials)
        if not is_again and _num_killed(each, trials) < MAX_ATTEMPTS:
            place = each.user_attrs.get(PLACE, len(counted(trials[: each.number])))
            study.enqueue_trial(dict(each.params), user_attrs={AGAIN: each.number, PLACE: place})
            say(f"trial {place + 1}: its worker is gone; it is tried again")
        elif not is_again:
            place = each.user_attrs[PLACE] + 1
            say(f"trial {place}: its workers were killed {MAX_ATTEMPTS} times; it is given up")
        study.tell(each.number, state=TrialState.FAIL)


def _check_first(study: "optuna.Study") -> None:
    """End a search that only fails.

    Raises:
        MainspringError: none of the first trials came to an end.

    """
    ended = [each for each in counted(study.get_trials(deepcopy=False)) if each.state.is_finished()]
    failed = [each for each in ended if each.state.name == "FAIL"]
    if len(failed) == len(ended) >= NUM_FIRST:
        reason = failed[-1].user_attrs.get(ERROR, "its worker was killed")
        raise MainspringError(
            f"All of the first {len(ended)} trials failed; the last one {reason}. Try its values with "
            "`mainspring train`, or narrow `space`."
        )


def _num_killed(trial: "optuna.trial.FrozenTrial", trials: "Sequence[optuna.trial.FrozenTrial]") -> int:
    """How often the worker of a trial, or of one before it with its values, was killed."""
    num = STOPPED not in trial.user_attrs
    while AGAIN in trial.user_attrs:
        trial = trials[trial.user_attrs[AGAIN]]
        num += STOPPED not in trial.user_attrs
    return num


def _seed_of(seed: int, place: int) -> int:
    digest = hashlib.sha256(f"{seed}/{place}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _name_of_process(pid: int) -> str:
    """A name that no later process with the same number has; empty where no such process runs."""
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{pid} of {process.create_time()}"
    except psutil.NoSuchProcess:
        return ""


def _is_alive(trial: "optuna.trial.FrozenTrial") -> bool:
    """Whether somebody is at a trial; what was begun without leaving a name was killed on the way, under the lock.

    An interrupted attempt is over although its process may live on, as in a notebook.
    """
    worker = trial.user_attrs.get(WORKER, "")
    return (
        STOPPED not in trial.user_attrs
        and bool(worker)
        and _name_of_process(int(worker.partition(" ")[0])) == worker
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the search's lock; the kernel frees it when its holder dies."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
