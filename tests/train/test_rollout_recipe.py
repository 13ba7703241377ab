"""Rollouts as a recipe names them, with a reward model out of the registry."""

import pytest

from fakes_bpe import make_tokenizer
from fakes_workspace import add_model
from mainspring import artifact as artifacts
from mainspring.config import build
from mainspring.errors import NotFoundError
from mainspring.models.load import load
from mainspring.models.rehead import with_head
from mainspring.models.save import save
from mainspring.schema import Message
from mainspring.train.rewards.model import scorer
from mainspring.train.rollout_recipe import RolloutRecipe
from mainspring.train.sources.prompts import chat_prompts

pytestmark = pytest.mark.slow


@pytest.fixture
def judge(workspace):
    registry, tokenizer = workspace.registry, make_tokenizer()
    add_model(workspace, "talker", "llama", tokenizer)
    body = load(registry.folder(registry.get("model/talker@1")))
    model = with_head(body, "classify", num_labels=1, seed=1)

    def fill(folder):
        save(model, folder)
        tokenizer.save(folder)

    return registry.add(artifacts.write(registry.root, "model", "judge", fill)), model


def test_answers_are_judged_by_the_reward_model_that_a_recipe_names(workspace, judge, tmp_path):
    artifact, model = judge
    registry, tokenizer = workspace.registry, make_tokenizer()
    parts = [{"weight": 2.0, "reward": {"kind": "model", "model": "model/judge"}}]
    recipe = build(
        RolloutRecipe, {"answers": 2, "max_tokens": 6, "reward": {"kind": "weighted", "parts": parts}}
    )
    assert recipe.parents(registry) == {"reward model 1": artifact.reference}
    talker = load(registry.folder(registry.get("model/talker@1")))
    say = recipe.open(talker, tokenizer, registry, tmp_path, seed=3)
    prompts = chat_prompts([([Message(role="user", content="hello")], None)], tokenizer, max_tokens=200)
    (item,) = say([prompts.item(0)], 0)
    score = scorer(model, tokenizer)
    num_prompt = len(prompts.item(0)[0].ids)
    for segment in item:
        answer = [each for each in segment.ids[num_prompt:] if each not in tokenizer.end_ids]
        assert segment.reward == pytest.approx(2 * score("hello", tokenizer.decode(answer)), rel=1e-5)
    assert item[0].reward != item[1].reward


def test_a_reward_model_that_is_not_there_is_named(workspace, tmp_path):
    recipe = build(RolloutRecipe, {"reward": {"kind": "model", "model": "model/nobody"}})
    with pytest.raises(NotFoundError, match="nobody"):
        recipe.parents(workspace.registry)
