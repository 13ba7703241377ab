import pytest
import torch

from fakes_llama import tiny_llama
from fakes_objectives import assert_same, one_batch, segment
from mainspring.adapt import lora
from mainspring.errors import ConfigError
from mainspring.models.rehead import with_head
from mainspring.train.objectives.reward import Reward
from mainspring.train.outputs import run_model


def judged(*rewards):
    return one_batch(
        [
            (
                segment(2 * at, role="chosen", reward=one, vocab=288),
                segment(2 * at + 1, role="rejected", reward=two, vocab=288),
            )
            for at, (one, two) in enumerate(rewards)
        ]
    )


def test_the_chosen_answers_last_token_wins_by_the_margin():
    model = with_head(tiny_llama(), "classify", num_labels=1).double()
    batch = judged((2.0, 0.5), (3.0, 3.0), (1.0, 1.0))
    outputs = run_model(model, batch)
    loss = Reward(margin=0.5, centering=0.1)(outputs, batch)
    weight = model.head.out.weight
    score = [outputs.hidden_TD[place.start + place.length - 1] @ weight[0] for place in batch.segments]
    expected = 0
    for at, margin in ((0, 0.75), (2, 0.0), (4, 0.0)):
        better, worse = score[at], score[at + 1]
        expected = expected - torch.log(1 / (1 + torch.exp(worse - better + margin)))
        expected = expected + 0.1 * (better + worse) ** 2
    assert loss.count_key == "groups"
    assert_same(loss.sum, expected, weight)
    assert_same(loss.sum, expected, model.embedding.weight)
    ahead = [float((score[at] - score[at + 1]).detach()) for at in (0, 2, 4)]
    assert loss.metrics == {
        "accuracy": sum(each > 0 for each in ahead),
        "margin": pytest.approx(sum(ahead)),
    }


def test_the_head_trains_beside_an_adapter_and_a_language_model_is_refused():
    model = with_head(tiny_llama(), "classify", num_labels=1)
    lora.add(model, lora.Lora(), "judge")
    Reward().prepare(model)
    trained = {name.split(".")[0] for name, each in model.named_parameters() if each.requires_grad}
    assert trained == {"blocks", "head"}
    with pytest.raises(ConfigError, match="num_labels: 1"):
        Reward().prepare(tiny_llama())


def test_a_margin_without_rewards_is_refused():
    model, batch = with_head(tiny_llama(), "classify", num_labels=1), judged((None, None))
    with pytest.raises(ConfigError, match="segment 0 has no reward"):
        Reward(margin=1.0)(run_model(model, batch), batch)
