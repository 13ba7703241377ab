"""Answers of a model that trains: the trainer's own log-probabilities, the same seeds, rewards and advantages."""

import random
import time

import pytest
import torch

from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.config import Config
from mainspring.errors import ConfigError, ContextLengthError, MainspringError
from mainspring.infer.backends.live import Live
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import FAMILIES, family
from mainspring.models.model import Model
from mainspring.train.advantages import group_advantages
from mainspring.train.batch import Segment, pack
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.base import Loss, Objective
from mainspring.train.objectives.distill import Distill
from mainspring.train.optim.adamw import AdamW
from mainspring.train.outputs import run_model
from mainspring.train.plan import Plan
from mainspring.train.rewards.score import FAILED
from mainspring.train.rollout import RolloutConfig, Rollouts, answer_seed
from mainspring.train.sampler import Ask, sample
from mainspring.train.sources.prompts import Prompts, raw_prompt
from mainspring.train.sources.texts import ItemList

SERVED = [name for name in FAMILIES if family(name).tiny().is_served]
QUICK = ("llama",)
TOLERANCE = 1e-5
TOLERANCES = {
    "qwen3_next": 5e-5
}  # the trainer computes its states in chunks of 64 tokens, blocks are shorter
LENGTHS = (1, 5, 5, 19, 40)
END = 7


class Even(Config):
    """What part of an answer's ids is even."""

    kind: str = "even"

    def __call__(self, prompt, answer, reference):
        ids = [int(each) for each in answer.split()]
        return sum(each % 2 == 0 for each in ids) / max(len(ids), 1)


def lively(name, seed=3):
    torch.manual_seed(seed)
    model = Model(family(name).tiny())
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "norm" not in parameter_name:
                parameter.normal_(std=0.15)
    return model


def prompts(vocab_size=200):
    generator = torch.Generator().manual_seed(1)
    return Prompts(
        [
            raw_prompt(n, torch.randint(8, vocab_size, (length,), generator=generator).tolist(), text=f"p{n}")
            for n, length in enumerate(LENGTHS)
        ]
    )


def rollouts(model, folder, *, reward=None, seed=0, end_ids=(END,), **config):
    config = RolloutConfig(**{"answers": 4, "max_tokens": 12} | config)
    return Rollouts(
        model, reward or Even(), config, decode=lambda ids: " ".join(map(str, ids)), end_ids=end_ids,
        folder=folder, seed=seed,
    )  # fmt: skip


def items_of(source):
    return [source.item(index) for index in range(source.num_items)]


def largest_difference(model, items):
    """Between what the sampler recorded and what the trainer's forward over packed batches says."""
    differences = []
    for batch in pack(items, 256):
        logp_T = run_model(model, batch).logp_T
        assert (batch.extras["sampler_logp"][batch.weight == 0] == 0).all()
        differences.append((logp_T - batch.extras["sampler_logp"])[batch.weight != 0])
    return float(torch.cat(differences).detach().abs().max())


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SERVED]
)
def test_recorded_log_probabilities_are_the_trainers_and_follow_its_steps(name, tmp_path):
    model, source = lively(name), prompts()
    say = rollouts(model, tmp_path)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    said = []
    for step in range(3):
        items = say(items_of(source), step)
        assert largest_difference(model, items) <= TOLERANCES.get(name, TOLERANCE)
        said.append([segment.ids for item in items for segment in item])
        (batch, *_) = pack(items, 512)
        run_model(model, batch).logp_T.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert said[0] != said[1] != said[2]


def test_an_active_adapter_is_sampled_from(tmp_path):
    model, source = lively("qwen2"), prompts()
    say = rollouts(model, tmp_path)
    plain = say(items_of(source), 0)
    lora.add(model, lora.Lora(rank=4), "mine")
    with torch.no_grad():
        for pair in lora.pairs(model, "mine").values():
            pair.b_OR.normal_(std=0.2)
    adapted = say(items_of(source), 0)
    assert largest_difference(model, adapted) <= TOLERANCE
    assert [s.ids for item in adapted for s in item] != [s.ids for item in plain for s in item]
    assert adapters.active(model) == "mine"
    assert all(pair.b_OR.requires_grad for pair in lora.pairs(model, "mine").values())


def test_an_answer_follows_from_seed_step_prompt_and_number_alone(tmp_path):
    model, source = lively("llama"), prompts()
    items = items_of(source)
    first = rollouts(model, tmp_path)(items, 3)
    assert rollouts(model, tmp_path)(items, 3) == first
    of_a_rank = rollouts(model, tmp_path, at_once=3)(items[1::2], 3)
    assert [[s.ids for s in item] for item in of_a_rank] == [[s.ids for s in item] for item in first[1::2]]
    for other in (rollouts(model, tmp_path)(items, 4), rollouts(model, tmp_path, seed=1)(items, 3)):
        assert [s.ids for item in other for s in item] != [s.ids for item in first for s in item]
    seeds = {answer_seed(a, b, c, d) for a in range(4) for b in range(4) for c in range(4) for d in range(4)}
    assert len(seeds) == 256


def test_who_is_computed_beside_whom_does_not_depend_on_how_long_anything_takes(monkeypatch):
    model = lively("llama")
    asks = [Ask(tuple(range(3, 4 + 5 * (n % 7))), seed=n) for n in range(24)]
    draw, step, steps = random.Random(0), Live.step, []

    def slow_step(self, works):
        time.sleep(draw.choice([0, 0, 0.02]))
        steps[-1].append([len(work.ids) for work in works])
        return step(self, works)

    monkeypatch.setattr(Live, "step", slow_step)
    answers = []
    for _ in range(3):
        steps.append([])
        answers.append(
            sample(model, asks, max_tokens=20, temperature=1.0, end_ids=range(0, 288, 16), at_once=5)
        )
    assert steps[0] == steps[1] == steps[2]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.slow
def test_ids_come_as_often_as_the_model_says():
    model = lively("llama")
    ids = (9, 30, 77)
    with torch.no_grad():
        hidden = model(torch.tensor(ids), torch.arange(3), PackedAttend([3]))
        expected = torch.softmax(model.logits(hidden[-1:])[0].double(), 0)
    count = 6000
    asks = [Ask(ids, answer_seed(0, 0, 0, number)) for number in range(count)]
    answers = sample(model, asks, max_tokens=1, temperature=1.0, end_ids=(), at_once=512)
    seen = torch.bincount(torch.tensor([each.ids[0] for each in answers]), minlength=len(expected))
    frequent = expected * count >= 5
    rest = torch.stack([seen[~frequent].sum(), (expected[~frequent] * count).sum()])
    seen_K = torch.cat([seen[frequent].double(), rest[:1]])
    expected_K = torch.cat([expected[frequent] * count, rest[1:]])
    chi2 = float(((seen_K - expected_K) ** 2 / expected_K).sum())
    degrees = len(seen_K) - 1
    assert chi2 < degrees + 4 * (2 * degrees) ** 0.5


def test_items_hold_what_is_learnt_of_every_answer(tmp_path):
    model, source = lively("llama"), prompts()
    say = rollouts(model, tmp_path, end_ids=tuple(range(0, 288, 8)))
    items = say(items_of(source), 0)
    ended = 0
    for prompt, item in zip(items_of(source), items, strict=True):
        before = len(prompt[0].ids)
        rewards = torch.tensor([segment.reward for segment in item], dtype=torch.float64)
        expected = group_advantages(rewards, "grpo").tolist()
        for segment, advantage in zip(item, expected, strict=True):
            answer = segment.ids[before:]
            assert segment.ids[:before] == prompt[0].ids
            assert segment.weight == [0.0] * before + [1.0] * len(answer)
            assert segment.extras["advantage"] == [0.0] * before + [advantage] * len(answer)
            assert all(token_id % 8 for token_id in answer[:-1])
            ended += answer[-1] % 8 == 0
            text = answer[:-1] if answer[-1] % 8 == 0 else answer
            assert segment.reward == Even()("", " ".join(map(str, text)), None)
    assert 0 < ended < 20
    assert say.report.cut == pytest.approx(1 - ended / 20)
    assert say.report.reward == pytest.approx(sum(s.reward for item in items for s in item) / 20)


def test_answers_that_were_cut_off_are_not_learnt_where_that_is_wanted(tmp_path):
    model, source = lively("llama"), prompts()
    items = rollouts(model, tmp_path, end_ids=tuple(range(0, 288, 8)), learns_cut=False, advantage="none")(
        items_of(source), 0
    )
    segments = [segment for item in items for segment in item]
    assert {bool(segment.trained_tokens) == (segment.ids[-1] % 8 == 0) for segment in segments} == {True}
    assert all(set(segment.extras) == {"sampler_logp"} for segment in segments)


class Broken(Config):
    kind: str = "broken"

    def __call__(self, prompt, answer, reference):
        if prompt == "p2":
            raise RuntimeError("no idea")
        return 0.0


def test_a_reward_that_raises_ends_the_step_and_keeps_the_samples(tmp_path):
    with pytest.raises(MainspringError, match="failed on 4 of 20 answers, first on prompt 2, answer 0"):
        rollouts(lively("llama"), tmp_path, reward=Broken())(items_of(prompts()), 0)
    assert len((tmp_path / FAILED).read_text().splitlines()) == 4


def test_what_cannot_be_answered_or_compared_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="`answers` is 1"):
        rollouts(lively("llama"), tmp_path, answers=1)
    with pytest.raises(ConfigError, match="cannot answer in the engine"):
        rollouts(Model(family("mpt").tiny()), tmp_path)(items_of(prompts()), 0)
    with pytest.raises(ContextLengthError, match="is the limit"):
        rollouts(lively("llama"), tmp_path, max_tokens=1000)(items_of(prompts()), 0)
    answers = rollouts(lively("llama"), tmp_path)(items_of(prompts()), 0)
    with pytest.raises(ConfigError, match="is no prompt"):
        rollouts(lively("llama"), tmp_path)([item[:1] for item in answers], 0)


class Reinforce(Objective):
    kind: str = "reinforce"

    def __call__(self, outputs, batch):
        advantage_N = batch.extras["advantage"][batch.trained()]
        return Loss(sum=-(outputs.trained_logp_N * advantage_N).sum(), count_key="tokens")


class Stop(Exception):  # noqa: N818
    pass


def learnt(folder, *, stops_after=None, steps=6):
    model = lively("llama")

    def note(report):
        if report.step == stops_after:
            raise Stop

    config = TrainConfig(
        steps=steps, items_per_step=3, save_every_steps=1, optim=AdamW(lr=1e-3), plan=Plan(threads=1)
    )
    try:
        train(model, prompts(), Reinforce(), config, folder, rollout=rollouts(model, folder), on_step=note)
    except Stop:
        return None
    return model.state_dict()


@pytest.mark.slow
def test_a_run_that_was_stopped_says_and_learns_the_same_when_it_goes_on(tmp_path):
    whole = learnt(tmp_path / "whole")
    assert learnt(tmp_path / "stopped", stops_after=2) is None
    assert learnt(tmp_path / "stopped", stops_after=4) is None
    resumed = learnt(tmp_path / "stopped")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    untrained = lively("llama").state_dict()
    assert not torch.equal(whole["embedding.weight"], untrained["embedding.weight"])


def test_on_policy_distillation_is_looked_at_on_texts(tmp_path):
    model, objective = lively("llama"), Distill(beta=1.0)
    ids = prompts().item(4)[0].ids
    texts = ItemList([(Segment(ids=ids, weight=[1.0] * len(ids), name="text"),)])
    config = TrainConfig(
        steps=2, items_per_step=2, validate_every_steps=2, optim=AdamW(lr=1e-3), plan=Plan(threads=1)
    )
    reports = []
    train(
        model, prompts(), objective, config, tmp_path, rollout=rollouts(model, tmp_path, updates=2),
        annotators=[objective.annotator(lively("llama", seed=4))], validation=texts, on_step=reports.append,
    )  # fmt: skip
    assert [report.metrics.get("valid_loss") is not None for report in reports] == [False, True, False, True]
