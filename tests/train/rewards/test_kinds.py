import json
import math

import pydantic
import pytest
import torch

from fakes_llama import tiny_llama
from fakes_tokenizer import ByteTokenizer
from mainspring.chat import render
from mainspring.config import Config, build
from mainspring.errors import ConfigError, MainspringError
from mainspring.models.attend import PackedAttend
from mainspring.models.config import HeadSpec
from mainspring.models.model import Model
from mainspring.schema import Message
from mainspring.train.rewards.kinds import Part, RewardConfig, Weighted, model_rewards, with_models
from mainspring.train.rewards.math import Math
from mainspring.train.rewards.model import ModelReward, scorer
from mainspring.train.rewards.score import FAILED, Sample, score


class Anything(Config):
    reward: RewardConfig


def sample(answer, name="prompt 0, answer 0", reference="42"):
    return Sample(name=name, prompt="What is 6 * 7?", answer=answer, reference=reference)


def test_a_reward_is_told_by_its_configuration():
    parts = [
        {"reward": {"kind": "math"}},
        {"weight": -0.5, "reward": {"kind": "regex", "pattern": ".*sorry.*"}},
    ]
    reward = build(Anything, {"reward": {"kind": "weighted", "parts": parts}}).reward
    assert isinstance(reward, Weighted)
    assert reward("", "42", "42") == 1.0
    assert reward("", "sorry, 42", "42") == 0.5
    assert reward("", "sorry", "42") == -0.5
    with pytest.raises(pydantic.ValidationError):
        Anything.model_validate({"reward": {"kind": "mathh"}})


def reward_model(seed=0):
    torch.manual_seed(seed)
    config = tiny_llama().config
    head = HeadSpec(kind="classify", num_labels=1, pooling="last")
    return Model(config.model_copy(update={"head": head}))


def test_a_reward_models_score_is_read_at_the_last_token():
    model, tokenizer = reward_model(), ByteTokenizer()
    reward = ModelReward(model="model/judge@1").of(scorer(model, tokenizer))
    messages = [Message(role="user", content="hello"), Message(role="assistant", content="good day")]
    ids = torch.tensor(render(messages, tokenizer).ids)
    with torch.no_grad():
        hidden = model(ids, torch.arange(len(ids)), PackedAttend([len(ids)]))
        expected = float(hidden[-1] @ model.head.out.weight[0])
    assert reward("hello", "good day", None) == pytest.approx(expected, rel=1e-5)
    squashed = ModelReward(model="model/judge@1", is_squashed=True).of(scorer(model, tokenizer))
    assert squashed("hello", "good day", None) == pytest.approx(1 / (1 + math.exp(-expected)), rel=1e-5)


def test_reward_models_without_a_model_or_with_another_head_are_refused():
    with pytest.raises(ConfigError, match="not loaded"):
        ModelReward(model="model/judge@1")("", "", None)
    with pytest.raises(ConfigError, match="one label"):
        scorer(tiny_llama(), ByteTokenizer())


def test_samples_are_judged_in_order(tmp_path):
    samples = [sample(str(number)) for number in (41, 42, 43, 42)]
    assert score(Math(), samples, tmp_path) == [0.0, 1.0, 0.0, 1.0]
    assert not (tmp_path / FAILED).exists()


class Picky(Config):
    kind: str = "picky"

    def __call__(self, prompt, answer, reference):
        if answer == "nan":
            return math.nan
        return 1 / (len(answer) - 3)


def test_a_reward_that_raises_keeps_and_shows_the_sample(tmp_path):
    samples = [sample("fine"), sample("bad", "prompt 1, answer 4"), sample("x" * 900), sample("nan")]
    with pytest.raises(MainspringError) as caught:
        score(Picky(), samples, tmp_path / "run")
    said = str(caught.value)
    assert "failed on 2 of 4 answers, first on prompt 1, answer 4: ZeroDivisionError" in said
    assert "answer: 'bad'" in said
    assert "What is 6 * 7?" in said
    kept = [json.loads(line) for line in (tmp_path / "run" / FAILED).read_text().splitlines()]
    assert [each["answer"] for each in kept] == ["bad", "nan"]
    assert kept[0]["reference"] == "42"
    assert "no finite number" in kept[1]["error"]


def test_the_shown_sample_is_short(tmp_path):
    with pytest.raises(MainspringError) as caught:
        score(Math(), [sample("y" * 5000, reference="none")], tmp_path)
    assert len(str(caught.value)) < 1500


def test_reward_models_get_their_scores_wherever_they_stand():
    first, second = ModelReward(model="model/a@1"), ModelReward(model="model/b@1")
    scores = {"model/a@1": lambda prompt, answer: 2.0, "model/b@1": lambda prompt, answer: 3.0}
    assert with_models(first, scores)("", "", None) == 2.0
    both = Weighted(parts=(Part(reward=first), Part(weight=10, reward=second), Part(reward=Math())))
    assert model_rewards(both) == [first, second]
    assert with_models(both, scores)("", "7", "7") == 33.0
    assert with_models(Math(), scores) == Math()
