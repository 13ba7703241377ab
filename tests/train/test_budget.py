"""A time becomes a recipe: what follows from which measure, and that the user's own settings win."""

import math
import time
from types import SimpleNamespace

import pytest

from fakes_corpus import QUICK, add_corpus, quick
from mainspring.errors import ConfigError
from mainspring.models.describe import describe
from mainspring.train import budget
from mainspring.train.budget import batch_tokens, foresee_loss, learning_rate, load_budgeted, parse_budget
from mainspring.train.corpus import read_corpus, row_length
from mainspring.train.law_store import Stored, find_law, save_law
from mainspring.train.pace import Pace, Speeds
from mainspring.train.run import run_recipe
from mainspring.train.scaling import Fit, Law, Observation, effective_tokens
from mainspring.train.shape import shaped, work_per_token

FLOPS = 2e9  # of the machine that is played
SECONDS = 100.0


@pytest.fixture
def corpus(registry):
    add_corpus(registry)
    return read_corpus(registry, quick())


@pytest.fixture
def machine(monkeypatch, corpus):
    """A machine whose speed is known and that needs no time for its probes."""

    def pace(registry, recipe, seconds):
        work = work_per_token(corpus.config_of(recipe.model))
        tokens = recipe.train.items_per_step * row_length(recipe, corpus.config_of(recipe.model))
        return Pace(tokens_per_step=tokens, seconds_per_step=tokens * work / FLOPS, save_seconds=0)

    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(budget, "measure_pace", pace)
    monkeypatch.setattr(budget, "measure_speeds", lambda *_: Speeds(points=[(1e6, 1e6 / FLOPS)]))


def derive(registry, *settings, seconds=SECONDS):
    return load_budgeted(registry, "pretrain", (), [*QUICK, *settings], seconds)


def seconds_of(recipe, corpus):
    config = corpus.config_of(recipe.model)
    tokens = recipe.train.steps * recipe.train.items_per_step * row_length(recipe, config)
    return tokens, tokens * work_per_token(config) / FLOPS


def test_times_are_read_and_others_refused():
    assert [parse_budget(text) for text in ("90s", "30m", "1.5h", "2d")] == [90, 1800, 5400, 172800]
    for text in ("30", "0m", "m", "-1h"):
        with pytest.raises(ConfigError, match="90s, 30m or 2h"):
            parse_budget(text)


def test_batch_and_rate_are_the_papers_at_its_own_work():
    work = 1e19
    assert batch_tokens(work) == pytest.approx(0.2920 * math.exp(0.3271 * math.log(work)))
    assert learning_rate(work) == pytest.approx(0.3118 * math.exp(-0.1250 * math.log(work)))
    assert learning_rate(1e12) == learning_rate(1e17)


def test_speeds_between_and_behind_the_measured_ones_follow_their_line():
    speeds = Speeds(points=[(1e6, 1e-3), (1e8, 1e-2)])
    for work, seconds in ((1e6, 1e-3), (1e7, 10**-2.5), (1e8, 1e-2), (1e10, 1e-1), (1e4, 1e-4)):
        assert speeds.seconds_per_token(work) == pytest.approx(seconds)


def test_the_run_fills_the_time_and_looks_at_what_is_held_out(registry, machine, corpus):
    recipe = derive(registry, seconds=2).recipe
    tokens, seconds = seconds_of(recipe, corpus)
    assert 0.9 * 2 <= seconds <= 2
    assert recipe.validation.split == "validation"
    size = describe(corpus.config_of(recipe.model)).parameters
    assert recipe.model == shaped(quick().model, 32)
    assert tokens < 4 * corpus.unique
    assert recipe.train.optim.lr == pytest.approx(learning_rate(1), rel=1e-2)
    assert size < tokens * 20


def test_where_the_data_end_first_the_run_does_and_says_so(registry, machine, corpus):
    found = derive(registry, seconds=1e5)
    tokens, seconds = seconds_of(found.recipe, corpus)
    assert tokens <= 4 * corpus.unique
    assert seconds < 1e5
    assert any("the data end it" in each.why for each in found.derived)


def test_what_the_user_sets_wins_and_the_rest_follows_from_it(registry, machine, corpus):
    own = (
        "model.hidden_size=64",
        "model.num_attention_heads=2",
        "train.optim.lr=0.01",
        "train.items_per_step=3",
    )
    recipe = derive(registry, *own, seconds=20).recipe
    assert (recipe.model["hidden_size"], recipe.model["num_hidden_layers"]) == (64, 6)
    assert (recipe.train.optim.lr, recipe.train.items_per_step) == (0.01, 3)
    assert 18 <= seconds_of(recipe, corpus)[1] <= 20


@pytest.mark.slow
def test_a_fitted_law_chooses_the_size_and_forecasts_the_loss(registry, machine, corpus):
    flat_in_tokens = Law(e=1.0, a=100.0, b=1e-6, alpha=0.5, beta=0.5)  # only size counts
    runs = [Observation(parameters=9, tokens=tokens, loss=3) for tokens in (9, 99)]
    draws = [[math.log(100), math.log(1e-6), 0.0, 0.5, 0.5]] * 3
    save_law(
        registry,
        quick(),
        Stored(fit=Fit(law=flat_in_tokens, draws=draws, residuals=[0.0]), runs=runs),
        run="r",
    )
    found = derive(registry, seconds=30)
    largest = budget.sizes_for(quick(), corpus, Speeds(points=[(1e6, 1e6 / FLOPS)]), 30)[-1]
    assert found.recipe.model == shaped(quick().model, largest.width)
    tokens, _ = seconds_of(found.recipe, corpus)
    loss = flat_in_tokens.loss(largest.parameters, effective_tokens(tokens, corpus.unique))
    (said,) = [each for each in found.derived if each.what == "held-out loss"]
    assert said.value == f"{loss:.3f} ({loss:.3f} to {loss:.3f})"
    foreseen = foresee_loss(registry, found.recipe, tokens)
    assert (foreseen.loss, foreseen.law) == (pytest.approx(loss), "scaling-law/ids@1")
    assert find_law(registry, quick("model.num_hidden_layers=5")) is None
    add_corpus(registry)
    assert find_law(registry, quick()) is None  # of the dataset's first version


def test_what_has_no_size_or_its_own_length_is_refused(registry, corpus):
    with pytest.raises(ConfigError, match=r"data.kind=rows"):
        derive(registry, "model=model/smollm2")
    with pytest.raises(ConfigError, match="--budget derives it"):
        derive(registry, "train.steps=7")


@pytest.mark.slow
def test_a_real_run_takes_about_its_time(workspace):
    """Loosely: other work on this machine changes its pace."""
    add_corpus(workspace.registry, count=3300)
    for _ in range(3):
        began = time.monotonic()
        recipe = derive(workspace.registry, seconds=8).recipe
        made, run = run_recipe(workspace.registry, workspace.runs, recipe)
        took = time.monotonic() - began
        if 4 <= took <= 16:
            break
    assert 4 <= took <= 16
    assert (made.kind, made.config["steps"], run.status) == ("model", recipe.train.steps, "done")
