"""What a recipe sets and nothing would read is refused before anything is opened."""

import json

import pytest

from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.models.families.base import family
from mainspring.models.load import POOLING_FILE, load
from mainspring.models.model import Model
from mainspring.models.published import copy_beside
from mainspring.models.rehead import with_head
from mainspring.models.save import save
from mainspring.train.guard import StopConfig
from mainspring.train.objectives.distill import Distill
from mainspring.train.objectives.masked import MaskedDiffusion
from mainspring.train.objectives.policy import PolicyGradient
from mainspring.train.preflight import check_settings, without_validation
from mainspring.train.recipe import load_recipe, presets
from mainspring.train.run import open_recipe
from mainspring.train.search_space import Choice
from mainspring.train.search_trial import RecipeTrial
from mainspring.train.sources.rows import Rows

CHATS = "validation={kind: chats, dataset: chats.jsonl}"
FISHER = "fisher={items: 4}"


def said(preset, *settings):
    return load_recipe(preset, (), ["data.dataset=some.jsonl", *settings])


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        ("grpo", ["validation_fraction=0.1"], "`validation_fraction` is 0.1, but with `rollout` the data are prompts"),
        ("ppo", [CHATS], "'policy' has a loss of sampled answers .* by `mainspring eval`"),
        ("pretrain", [FISHER], "`fisher` asks of items .* 'rows' are packed rows"),
        ("rerank", [FISHER], "'ranked' have no tokens that are learnt"),
        ("pretrain", ["train.max_trained_tokens=9000"], "is 9,000, but data of kind 'rows' are counted by steps"),
        ("grpo", ["train.max_trained_tokens=9000"], "data of kind 'prompts' have no tokens with weights"),
        ("embed", ["train.max_trained_tokens=9000"], "data of kind 'triples' have no tokens with weights"),
        ("pretrain", ["train.restore_best=true"], "`train.restore_best` is True, but the recipe holds nothing out"),
        ("pretrain", ["train.validate_every_steps=5", "train.stop.patience=2"],
         "`train.validate_every_steps` is 5 and `train.stop.patience` is 2, but"),
        ("sft", ["train.steps=5", "train.epochs=2"], "`train.epochs` is 2 and `train.steps` 5; one of them"),
        ("pretrain", ["data.mix.total=9000", "train.epochs=2"], "`train.epochs` is 2 and `data.mix.total` 9,000; one"),
    ],
)  # fmt: skip
def test_a_setting_that_nothing_reads_is_refused(preset, settings, message):
    with pytest.raises(ConfigError, match=message):
        check_settings(said(preset, *settings))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.guard.window=9", "`window` is 9, but no spike is looked for; set `spike_factor`"),
        ("head={kind: lm, num_labels: 2}", "`num_labels` is 2, but a head of kind 'lm' has no labels"),
        ("data={kind: rows, mix: {passes: 3}}", "`mix.passes` is 3, but how often"),
    ],
)
def test_a_setting_without_its_other_half_is_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        said("sft", setting)
    said("sft", "train.guard={window: 9, spike_factor: 6}", "head={kind: classify, num_labels: 2}")


def test_runs_and_searches_look_at_the_settings_first():
    vain = said("pretrain", "train.restore_best=true")
    with pytest.raises(ConfigError, match="holds nothing out"):
        open_recipe(None, vain)
    trial = RecipeTrial(
        open_registry=None, preset="pretrain", goal="loss", recipe={"data": {"dataset": "ids"}}
    )
    with pytest.raises(ConfigError, match=r"`train.stop.patience` is 3, but"):
        trial.check({"train.stop.patience": Choice(values=(None, 3))})


def test_settings_that_are_read_are_let_through():
    for preset in presets():
        check_settings(said(preset))
    watched = said("sft", "train={validate_every_steps: 5, restore_best: true, stop: {patience: 2}}", FISHER)
    check_settings(watched)
    check_settings(said("sft", "train.max_trained_tokens=9000"))
    on_policy = ["data.kind=prompts", "rollout={reward: {kind: math}}", CHATS]
    check_settings(said("distill", *on_policy))
    alone = watched.model_copy(
        update={"validation_fraction": 0.0, "train": without_validation(watched.train)}
    )
    check_settings(alone)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (MaskedDiffusion, {"vocab_size": 90}, "`vocab_size` is not a configuration key"),
        (Distill, {"rest": "renormalize"}, "`rest` is 'renormalize', but without `top_k`"),
        (PolicyGradient, {"kl_estimator": "k1"}, "`kl_estimator` is k1, but `kl_coefficient` is 0"),
        (PolicyGradient, {"value_clip": 0.1}, "`value_clip` is 0.1, but `value_coefficient` is 0"),
        (StopConfig, {"min_delta": 0.1}, "`min_delta` is 0.1, but without `patience` no run stops early"),
        (
            Rows,
            {"dataset": "ids", "mix": {"passes": 3}},
            "`mix.passes` is 3, .* `train.epochs` or `train.steps`",
        ),
    ],
)
def test_a_setting_of_another_mode_is_refused(kind, values, message):
    with pytest.raises(ConfigError, match=message):
        build(kind, values)


@pytest.mark.parametrize(
    ("name", "kind", "pooling", "message"),
    [
        ("bert", "classify", "mean", "the head is 'classify', which the family bert gives 'cls'"),
        ("llama", "classify", "mean", "the head is 'classify', which the family llama gives 'last'"),
        ("modernbert", "classify", "last", "the family modernbert gives 'cls'"),
        ("bert", "masked", "mean", "the head is 'masked', which is of every token"),
    ],
)
def test_a_pooling_that_the_head_does_not_take_is_refused(name, kind, pooling, message):
    with pytest.raises(ConfigError, match=message):
        with_head(Model(family(name).tiny()), kind, num_labels=2, pooling=pooling)


@pytest.mark.slow
def test_the_pooling_that_is_set_comes_back_from_the_files(tmp_path):
    scorer = with_head(Model(family("modernbert").tiny()), "classify", num_labels=1, pooling="mean")
    save(scorer, tmp_path / "scorer")
    assert scorer.config.head.pooling == load(tmp_path / "scorer").config.head.pooling == "mean"
    save(with_head(Model(family("llama").tiny()), "none", pooling="last"), tmp_path / "last")
    assert load(tmp_path / "last").config.pooling == "last"
    base, made = tmp_path / "base", tmp_path / "made"
    (base / POOLING_FILE).parent.mkdir(parents=True)
    (base / POOLING_FILE).write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    model = with_head(Model(family("bert").tiny()), "none", pooling="cls")
    save(model, made)
    copy_beside(base, made, model.config.pooling)
    assert load(made).config.pooling == "cls"
