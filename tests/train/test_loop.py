import json
import random

import pytest
import torch

from fakes_llama import tiny_llama
from fakes_tokenizer import ByteTokenizer, conversations
from mainspring.adapt import lora
from mainspring.config import build
from mainspring.errors import ConfigError, MainspringError
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.base import Loss
from mainspring.train.objectives.sft import Sft
from mainspring.train.sources.chats import ChatSource


def config(**values):
    base = {"items_per_step": 2, "plan": {"threads": 1, "micro_batch_tokens": 256}}
    return build(TrainConfig, {**base, **values})


def adapted(rank=4):
    model = tiny_llama()
    lora.add(model, lora.Lora(rank=rank), "a")
    return model


def trained_weights(model):
    return {name: each.detach().clone() for name, each in model.named_parameters() if each.requires_grad}


def assert_same_weights(model, other):
    for name, weight in trained_weights(other).items():
        assert torch.equal(trained_weights(model)[name], weight), name


class StopError(Exception):
    pass


def stop_after(number):
    def on_step(report):
        if report.step == number:
            raise StopError

    return on_step


def test_answers_are_memorized_and_the_base_is_untouched(tmp_path, source):
    model = adapted(rank=8)
    base = {name: each.clone() for name, each in model.named_parameters() if not each.requires_grad}
    losses = []
    result = train(
        model,
        source,
        Sft(),
        config(epochs=30, optim={"lr": 1e-2}),
        tmp_path,
        on_step=lambda r: losses.append(r.loss),
    )
    assert result.loss < 0.2 * losses[0]
    assert (result.steps, result.resumed_at) == (90, 0)
    assert result.tokens == 30 * sum(source.item(index)[0].num_tokens for index in range(6))
    for name, each in model.named_parameters():
        assert name not in base or torch.equal(each, base[name])


def test_all_weights_train_where_none_is_frozen(tmp_path, source):
    model = tiny_llama()
    before = model.blocks[0].mixer_norm.weight.clone()
    first = train(model, source, Sft(), config(epochs=1), tmp_path).loss
    assert first is not None
    assert not torch.equal(model.blocks[0].mixer_norm.weight, before)


def test_every_step_leaves_a_line_of_metrics_and_of_progress(tmp_path, source, capsys):
    result = train(adapted(), source, Sft(), config(), tmp_path)
    lines = [json.loads(line) for line in result.metrics.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    expected = {
        "step",
        "loss",
        "lr",
        "grad_norm",
        "tokens",
        "trained_tokens",
        "tokens_per_s",
        "seconds",
        "metrics",
    }
    assert set(lines[0]) == expected
    assert sum(line["trained_tokens"] for line in lines) == result.trained_tokens
    told = capsys.readouterr().err
    assert "cpu, fp32, 1 threads" in told
    assert "7,424 of" in told.replace("\n", " ")
    assert "step 3/3  loss " in told


def test_the_size_of_a_micro_batch_changes_nothing_but_rounding(tmp_path, source):
    one, many = adapted(), adapted()
    longest = max(source.item(index)[0].num_tokens for index in range(6))
    train(one, source, Sft(), config(items_per_step=6, optim={"schedule": "constant"}), tmp_path / "one")
    plan = {"threads": 1, "micro_batch_tokens": longest}
    train(
        many,
        source,
        Sft(),
        config(items_per_step=6, plan=plan, optim={"schedule": "constant"}),
        tmp_path / "many",
    )
    for name, weight in trained_weights(one).items():
        torch.testing.assert_close(trained_weights(many)[name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_bf16_learns_as_fp32_does(tmp_path, source):
    losses = {}
    for dtype in ("fp32", "bf16"):
        plan = {"threads": 1, "dtype": dtype, "micro_batch_tokens": 256}
        losses[dtype] = train(
            adapted(), source, Sft(), config(epochs=10, optim={"lr": 5e-3}, plan=plan), tmp_path / dtype
        ).loss
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1)
    assert losses["bf16"] != losses["fp32"]


def test_the_limit_of_trained_tokens_holds(tmp_path, source):
    result = train(adapted(), source, Sft(), config(epochs=9, max_trained_tokens=60), tmp_path)
    assert 30 < result.trained_tokens <= 60


@pytest.mark.parametrize("stopped_at", [1, 4, 6])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, source, stopped_at):
    whole, parts = adapted(), adapted()
    settings = config(epochs=3, save_every_steps=2, items_per_step=2)
    expected = train(whole, source, Sft(), settings, tmp_path / "whole")
    with pytest.raises(StopError):
        train(parts, source, Sft(), settings, tmp_path / "parts", on_step=stop_after(stopped_at))
    again = adapted()
    result = train(again, source, Sft(), settings, tmp_path / "parts")
    assert result.resumed_at == stopped_at // 2 * 2
    assert (result.steps, result.tokens, result.loss) == (expected.steps, expected.tokens, expected.loss)
    assert_same_weights(again, whole)
    steps = [json.loads(line)["step"] for line in result.metrics.read_text().splitlines()]
    assert steps == list(range(1, 10))


def test_a_run_that_is_done_is_not_done_again(tmp_path, source):
    first, again = adapted(), adapted()
    done = train(first, source, Sft(), config(), tmp_path)
    result = train(again, source, Sft(), config(), tmp_path)
    assert (result.steps, result.resumed_at, result.tokens) == (3, 3, done.tokens)
    assert_same_weights(again, first)


def test_another_run_is_refused_with_all_that_changed_unless_accepted(tmp_path, source):
    train(adapted(), source, Sft(), config(), tmp_path)
    other = ChatSource(conversations("red", "green"), ByteTokenizer(), max_tokens=256)
    changed = config(epochs=2, optim={"lr": 0.5})
    with pytest.raises(ConfigError) as caught:
        train(adapted(), other, Sft(), changed, tmp_path)
    for line in ("config.epochs: 1 then, 2 now", "config.optim.lr: 0.0002 then, 0.5 now", "data: "):
        assert line in str(caught.value)
    assert train(adapted(), source, Sft(), changed, tmp_path, accept=True).resumed_at == 3


def test_another_shape_of_adapter_is_refused(tmp_path, source):
    train(adapted(rank=4), source, Sft(), config(), tmp_path)
    with pytest.raises(ConfigError, match=r"adapter.rank: 4 then, 8 now"):
        train(adapted(rank=8), source, Sft(), config(), tmp_path)
    with pytest.raises(ConfigError, match="another model or adapter"):
        train(adapted(rank=8), source, Sft(), config(), tmp_path, accept=True)


class Broken(Sft):
    """Its loss, or its gradient alone, is not finite from the third batch on."""

    where: str
    seen: list[int]

    def __call__(self, outputs, batch):
        loss = super().__call__(outputs, batch)
        self.seen.append(len(batch.ids))
        if len(self.seen) < 3:
            return loss
        bad = (
            loss.sum * float("nan")
            if self.where == "loss"
            else loss.sum + (loss.sum - loss.sum.detach()).sqrt()
        )
        return Loss(sum=bad, count_key=loss.count_key)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_is_named_and_leaves_the_weights_alone(tmp_path, source, where):
    model, good = adapted(), adapted()
    with pytest.raises(StopError):
        train(good, source, Sft(), config(), tmp_path / "good", on_step=stop_after(2))
    with pytest.raises(
        MainspringError, match=rf"The {where} of step 3 is not finite.*conversation \d, conversation \d"
    ):
        train(model, source, Broken(where=where, seen=[]), config(), tmp_path / "bad")
    assert_same_weights(model, good)


def test_a_model_with_nothing_to_train_is_refused(tmp_path, source):
    with pytest.raises(ConfigError, match="No weight of the model trains"):
        train(tiny_llama().requires_grad_(False), source, Sft(), config(), tmp_path)


def test_random_numbers_of_the_caller_go_on_as_if_nothing_had_trained(tmp_path, source):
    model = adapted()
    torch.manual_seed(1)
    random.seed(1)
    expected = torch.randn(3), random.random()
    torch.manual_seed(1)
    random.seed(1)
    train(model, source, Sft(), config(), tmp_path)
    assert torch.equal(torch.randn(3), expected[0])
    assert random.random() == expected[1]


def test_a_step_that_is_not_finite_can_be_skipped(tmp_path, source):
    model = adapted()
    settings = config(guard={"max_skips": 1}, epochs=1)
    broken = BrokenOnce(where="loss", seen=[])
    train(model, source, broken, settings, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["metrics"].get("skipped", 0.0) for line in lines] == [0.0, 0.0, 1.0]


class BrokenOnce(Broken):
    """Its third batch alone is not finite."""

    def __call__(self, outputs, batch):
        loss = super().__call__(outputs, batch)
        return loss if len(self.seen) == 3 else Sft()(outputs, batch)


@pytest.mark.slow
def test_a_run_stops_early_and_ends_with_its_best_weights(tmp_path, source):
    model = adapted()
    settings = config(
        epochs=40, validate_every_steps=3, restore_best=True, stop={"patience": 2},
        optim={"lr": 0.3, "schedule": "constant"},
    )  # fmt: skip
    result = train(model, source, Sft(), settings, tmp_path, validation=source)
    lines = [json.loads(line) for line in result.metrics.read_text().splitlines()]
    losses = {
        line["step"]: line["metrics"]["valid_loss"] for line in lines if "valid_loss" in line["metrics"]
    }
    assert result.steps < 120
    assert result.best == min(losses.values()) < losses[result.steps]
    again = train(
        model, source, Sft(), config(steps=1, optim={"lr": 1e-12}), tmp_path / "2", validation=source
    )
    assert again.best == pytest.approx(result.best, rel=1e-5)
