"""Every kind of comparing, rewarding and imitating objective in the loop: it learns, however its steps are cut."""

import math
from dataclasses import replace

import pytest
import torch

from fakes_llama import tiny_llama
from fakes_objectives import one_batch, pairs, segment
from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.models.rehead import with_head
from mainspring.train.annotate import find_annotators
from mainspring.train.config import TrainConfig
from mainspring.train.learner import Learner
from mainspring.train.loop import train
from mainspring.train.objectives.distill import Distill
from mainspring.train.objectives.kto import Kto
from mainspring.train.objectives.policy import PolicyGradient
from mainspring.train.objectives.preference import Preference
from mainspring.train.objectives.reward import Reward
from mainspring.train.optim import build_optimizer
from mainspring.train.outputs import run_model
from mainspring.train.parallel import Runner
from mainspring.train.ranks import Ranks

VOCAB = 288
TEACHER = 1


class Items:
    """A source of given items."""

    fingerprint = "given"

    def __init__(self, items):
        self.items, self.num_items = items, len(items)

    def item(self, index):
        return self.items[index]


def two_sides():
    return pairs(4, extras=(), vocab=VOCAB)


def judged():
    return [
        (segment(at, label=float(at % 2), role=role, vocab=VOCAB),)
        for at, role in enumerate(["", "", "", "", "mismatched", "mismatched"])
    ]


def recorded():
    """Groups of two answers to a prompt, with what the model at the start gave each token."""
    made = []
    for at in range(3):
        sides = [
            segment(2 * at + side, reward=float(side), extras=("advantage",), vocab=VOCAB) for side in (0, 1)
        ]
        made.append(tuple(_sampled(each) for each in sides))
    return made


def rewarded():
    """The same without advantages: they are made of rewards, values and what leaving the reference costs."""
    return [tuple(replace(each, extras={}) for each in item) for item in recorded()]


def _sampled(each):
    batch = one_batch([(each,)])
    with torch.no_grad():
        logp_T = run_model(tiny_llama().double(), batch).logp_T.tolist()
    return replace(each, extras={**each.extras, "sampler_logp": [0.0, *logp_T[:-1]]})


def texts():
    return [(segment(at, vocab=VOCAB),) for at in range(5)]


KINDS = {
    "dpo": (Preference(), two_sides),
    "ipo": (Preference(loss="ipo", per_token=True), two_sides),
    "simpo": (Preference(loss="simpo", beta=2.0, gamma=0.5), two_sides),
    "orpo": (Preference(loss="orpo"), two_sides),
    "kto": (Kto(), judged),
    "reward": (Reward(centering=0.01), two_sides),
    "grpo": (PolicyGradient(kl_coefficient=0.04), recorded),
    "gspo": (PolicyGradient(ratio="sequence_mean", old="policy", sampler_cap=2.0), recorded),
    "ppo": (PolicyGradient(average="tokens", value_coefficient=0.1, entropy_coefficient=0.01), recorded),
    "ppo by values": (
        PolicyGradient(old="policy", value_coefficient=0.5, gae={"trace": 0.9, "kl_coefficient": 0.1}),
        rewarded,
    ),
    "distillation": (Distill(beta=0.5), texts),
    "top k": (Distill(beta=1.0, top_k=8), texts),
}


def model_for(objective):
    model = tiny_llama()
    return with_head(model, "classify", num_labels=1) if isinstance(objective, Reward) else model


def teachers(objective, dtype=torch.float32):
    return [objective.annotator(tiny_llama(TEACHER).to(dtype))] if isinstance(objective, Distill) else []


def learner(model, objective, micro_batch_tokens, annotators=None):
    model = model.double()
    objective.prepare(model)
    parameters = dict(model.named_parameters())
    values = {"plan": {"micro_batch_tokens": micro_batch_tokens, "dtype": "fp64"}}
    config = build(TrainConfig, values)
    given = teachers(objective, torch.float64) if annotators is None else annotators
    runner = Runner(model, config.plan, Ranks())
    made = find_annotators(objective.needs, runner, [*given, *objective.annotators()])
    return Learner(
        runner=runner, objective=objective, penalties=(), annotators=made,
        parameters=parameters, config=config, optimizer=build_optimizer(parameters, config.optim),
    )  # fmt: skip


def moved(model):
    """The model, a little away from the one whose log-probabilities were taken as the reference."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.02 * torch.randn(each.shape, generator=generator, dtype=each.dtype))


def gradients(objective, items, micro_batch_tokens):
    model = model_for(objective)
    one = learner(model, objective, micro_batch_tokens)
    batches = one.batches(items)
    moved(model)
    sums = one.backward(batches, one.ranks.total(batch.counts() for batch in batches))
    found = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return len(batches), sums, found


@pytest.mark.parametrize("kind", KINDS)
def test_the_cut_of_a_step_changes_nothing(kind):
    objective, items = KINDS[kind]
    one, sums, expected = gradients(objective, items(), 1000)
    many, accumulated, found = gradients(objective, items(), 15)
    assert one == 1
    assert many > 2
    assert accumulated == pytest.approx(sums, rel=1e-9, abs=1e-12)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-9 * gradient.norm() + 1e-15, name
    assert sum(each.norm() for each in expected.values()) > 1e-4


@pytest.mark.parametrize("kind", ["dpo", "kto", "reward", "grpo", "ppo by values", "distillation", "top k"])
def test_a_short_run_lowers_the_loss(tmp_path, kind):
    objective, items = KINDS[kind]
    values = {
        "items_per_step": 6, "steps": 12, "plan": {"threads": 1},
        "optim": {"lr": 3e-3, "schedule": "constant", "warmup_fraction": 0.0},
    }  # fmt: skip
    source, model = Items(items()), model_for(objective)
    is_moving = kind == "ppo by values"  # its advantages are made anew of every step's values
    losses = []
    train(
        model, source, objective, build(TrainConfig, values), tmp_path, annotators=teachers(objective),
        on_step=lambda report: losses.append(report.metrics["value_loss"] if is_moving else report.loss),
    )  # fmt: skip
    assert losses[-1] < losses[0]


def test_advantages_are_not_made_twice(tmp_path):
    objective = PolicyGradient(value_coefficient=0.1, gae={})
    with pytest.raises(ConfigError, match="brings an advantage"):
        train(tiny_llama(), Items(recorded()), objective, build(TrainConfig, {}), tmp_path)


def test_what_nobody_makes_is_missed_before_the_first_step(tmp_path):
    with pytest.raises(ConfigError, match="'policy' needs advantage, sampler_logp for every token"):
        train(tiny_llama(), Items(texts()), PolicyGradient(), build(TrainConfig, {}), tmp_path)


def test_a_value_head_does_not_make_another_base_of_a_model():
    model = tiny_llama()
    PolicyGradient(value_coefficient=0.1).prepare(model)
    assert model.value_head.weight.requires_grad
    assert adapters.base_fingerprint(model) == adapters.base_fingerprint(tiny_llama())


@pytest.mark.parametrize("adapted", [True, False])
def test_a_reference_is_the_model_before_it_learns(tmp_path, adapted):
    model, losses = tiny_llama(), []
    if adapted:
        lora.add(model, lora.Lora(), "a")
    values = {"steps": 3, "items_per_step": 4, "optim": {"lr": 1e-2}, "plan": {"threads": 1}}
    train(
        model, Items(two_sides()), Preference(), build(TrainConfig, values), tmp_path,
        on_step=lambda report: losses.append(report.loss),
    )  # fmt: skip
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses[-1] < losses[0] - 1e-3


def test_scores_of_a_teacher_are_made_for_one_batch_at_a_time():
    objective = Distill()
    one = learner(tiny_llama(), objective, 15)
    batches = one.batches(texts())
    assert all("teacher_logits" not in batch.extras for batch in batches)
    seen = one.runner.run(next(one.late(batches))).batch.extras["teacher_logits"]
    assert seen.shape == (len(batches[0].trained()), VOCAB)
    assert not seen.requires_grad
