"""Searches: the same trials for the same seed, whatever becomes of who works on them."""

from functools import partial

import optuna
import pytest
import yaml

import fakes_search
from mainspring.config import build
from mainspring.errors import ConfigError, MainspringError
from mainspring.train import search
from mainspring.train.search import AGAIN, PLACE, open_study
from mainspring.train.search_report import draw_search, report, write_best
from mainspring.train.search_settings import SearchSettings
from mainspring.train.search_workers import run_workers

pytestmark = pytest.mark.slow

SPACE = {
    "a.x": {"kind": "float", "low": 0.01, "high": 1, "log": True},
    "n": {"kind": "int", "low": 1, "high": 9},
}
GOALS = [{"metric": "distance"}]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """A study whose writes do not wait for the disk: only processes are killed here, not machines."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def off(connection, _):
        connection.execute("PRAGMA synchronous = OFF")

    yield
    event.remove(Engine, "connect", off)


def settings(**values):
    said = {"space": SPACE, "goals": GOALS, "sampler": {"kind": "tpe", "startup_trials": 2}, "trials": 5}
    return build(SearchSettings, said | values)


def searched(config, folder, trial=fakes_search.bowl, workers=1):
    folder.mkdir(exist_ok=True)
    run_workers(config, trial, folder, workers)
    return report(open_study(config, folder), config)


def values_in_order(found):
    return [each.values for each in sorted(found.trials, key=lambda each: each.number)]


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        ("tpe", lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=2)),
        ("nsga2", lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=2)),
        ("cmaes", lambda seed: optuna.samplers.CmaEsSampler(seed=seed, popsize=4)),
        ("random", optuna.samplers.RandomSampler),
    ],
)
def test_a_search_tries_what_optuna_alone_tries(tmp_path, kind, plain):
    more = {
        "tpe": {"startup_trials": 2},
        "nsga2": {"population": 2},
        "cmaes": {"population": 4},
        "random": {},
    }
    num = 7 if kind == "cmaes" else 5  # its second generation begins with the sixth
    found = searched(settings(sampler={"kind": kind, **more[kind]}, seed=7, trials=num), tmp_path)
    study = optuna.create_study()
    for place in range(num):
        study.sampler = plain(search._seed_of(7, place))
        trial = study.ask()
        x, n = trial.suggest_float("a.x", 0.01, 1, log=True), trial.suggest_int("n", 1, 9)
        study.tell(trial, (x - 0.3) ** 2 + (n - 4) ** 2)
    assert values_in_order(found) == [each.params for each in study.trials]
    assert found.front[0].metrics["distance"] == pytest.approx(study.best_value)
    assert len({str(each) for each in values_in_order(found)}) > 3


def test_a_stopped_search_of_one_worker_goes_on_as_if_it_had_not_stopped(tmp_path):
    calls = []

    def stopping(values, told, folder):
        calls.append(folder.name)
        if len(calls) in (2, 4):
            raise KeyboardInterrupt
        return fakes_search.bowl(values, told, folder)

    whole = searched(settings(), tmp_path / "whole")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            searched(settings(), tmp_path / "parts", stopping)
    parts = searched(settings(), tmp_path / "parts", stopping)
    assert values_in_order(parts) == values_in_order(whole)
    assert calls == ["0000", "0001", "0001", "0002", "0002", "0003", "0004"]  # again in their own folders
    more = searched(settings(trials=6), tmp_path / "parts")
    assert values_in_order(more)[:5] == values_in_order(whole)
    assert len(more.trials) == 6


def test_worse_trials_end_early_and_the_best_does_not(tmp_path):
    config = settings(pruner={"kind": "median", "startup_trials": 2}, sampler={"kind": "random"}, trials=8)
    found = searched(config, tmp_path)
    steps = {
        each.number: len((tmp_path / "trials" / f"{each.number - 1:04d}" / "steps").read_text().split())
        for each in found.trials
        if (tmp_path / "trials" / f"{each.number - 1:04d}" / "steps").exists()
    }
    pruned = [each for each in found.trials if each.state == "pruned"]
    assert pruned
    assert all(steps.get(each.number, 0) < fakes_search.STEPS for each in pruned)
    assert found.trials[0].state == "complete"
    assert found.importance.keys() == {"a.x", "n"}
    assert draw_search(found, config.goals, tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")


def is_better(point, other):
    """Nowhere worse and somewhere better: dominance, as defined."""
    return all(b <= a for a, b in zip(point, other, strict=True)) and other != point


def test_several_goals_have_a_front_that_none_is_better_than(tmp_path):
    config = settings(
        goals=[*GOALS, {"metric": "n", "direction": "maximize"}],
        sampler={"kind": "nsga2", "population": 4},
        trials=8,
    )
    found = searched(config, tmp_path)
    points = {each.number: (each.metrics["distance"], -each.metrics["n"]) for each in found.trials}
    front = {
        number for number, point in points.items() if not any(map(partial(is_better, point), points.values()))
    }
    assert {each.number for each in found.front} == front
    assert len(found.trials) == 8
    best = yaml.safe_load(write_best(found, tmp_path, "pretrain", {"a": {"y": 1}, "n": 0}).read_text())
    assert best == {"a": {"y": 1, "x": found.front[0].values["a.x"]}, "n": found.front[0].values["n"]}
    assert {int(path.stem) for path in (tmp_path / "front").iterdir()} == front
    assert draw_search(found, config.goals, tmp_path / "search.png").exists()


def test_values_that_break_a_trial_are_kept_with_the_reason_and_the_search_goes_on(tmp_path):
    def breaking(values, told, folder):
        if values["n"] > 4:
            raise ValueError("n is too large")
        if values["n"] == 3:
            told(1, float("nan"))
        return fakes_search.bowl(values, told, folder)

    found = searched(settings(sampler={"kind": "random"}, trials=8), tmp_path / "some", breaking)
    states = {each.state for each in found.trials}
    assert {"complete", "fail"} <= states
    assert all(each.values["n"] <= 4 for each in found.trials if each.state == "complete")
    assert {each.error for each in found.trials if each.state == "fail"} == {
        "failed: ValueError: n is too large"
    }

    def broken(values, told, folder):
        raise ValueError("always")

    with pytest.raises(MainspringError, match=r"All of the first 5 trials failed.*ValueError: always"):
        searched(settings(trials=9), tmp_path / "none", broken)
    with pytest.raises(ConfigError, match="the metric 'los', but a trial gives distance, n"):
        searched(settings(goals=[{"metric": "los"}]), tmp_path / "goal")


def test_a_killed_worker_is_replaced_and_its_trial_is_tried_again(tmp_path):
    config = settings(trials=4)
    found = searched(config, tmp_path, fakes_search.slow_bowl, workers=2)
    assert [each.state for each in found.trials] == ["complete"] * 4
    assert len(set((tmp_path / "trials" / "0001" / "workers").read_text().split())) == 2
    trials = open_study(config, tmp_path).trials
    (again,) = [each for each in trials if AGAIN in each.user_attrs]
    killed = trials[again.user_attrs[AGAIN]]
    assert (killed.state.name, again.state.name) == ("FAIL", "COMPLETE")
    assert killed.params == again.params
    assert sorted(each.user_attrs[PLACE] for each in trials) == [0, 1, 1, 2, 3]
