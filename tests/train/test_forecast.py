import pytest
import torch

from mainspring.adapt import lora
from mainspring.config import build
from mainspring.train import forecast as forecasts
from mainspring.train.config import TrainConfig
from mainspring.train.forecast import DoesNotFitError, forecast
from mainspring.train.loop import begin, train
from mainspring.train.objectives.sft import Sft
from mainspring.train.probe import Rate, first_work


def config(**values):
    plan = {"threads": 1, "micro_batch_tokens": 256}
    return build(TrainConfig, {"items_per_step": 3, "epochs": 2, "plan": plan, **values})


@pytest.mark.slow
def test_a_forecast_counts_what_the_run_will_do_and_changes_nothing(tmp_path, model, source):
    lora.add(model, lora.Lora(rank=4), "a")
    before = [each.detach().clone() for each in model.parameters()]
    with begin(model, source, Sft(), config(), tmp_path) as session:
        found = forecast(session)
        assert not session.learner.optimizer.state
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), before, strict=True))
    assert found.num_steps == 4
    assert found.trained_parameters == sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert found.peak_bytes > 100e6
    assert found.seconds == found.seconds_per_step * 4
    result = train(model, source, Sft(), config(), tmp_path)
    assert result.steps == 4


def test_a_run_that_does_not_fit_is_refused_with_what_helps(tmp_path, model, source, monkeypatch):
    monkeypatch.setattr(forecasts, "available", lambda resident: 10**6)
    with (
        begin(model, source, Sft(), config(), tmp_path) as session,
        pytest.raises(
            DoesNotFitError,
            match=r"(?s)micro_batch_tokens` \(now 256\).*checkpointing=true.*transform.kind=lora",
        ),
    ):
        forecast(session)


def test_kernels_of_half_precision_grow_with_the_batches_to_come_and_no_further(tmp_path, model, source):
    rate = Rate(peak_bytes=0, seconds_per_token=0.0, kept_bytes_per_batch=2e6, num_batches=4)
    found, batches = {}, {}
    for dtype, steps in (("fp32", 1000), ("bf16", 14), ("bf16", 1000)):
        plan = {"threads": 1, "micro_batch_tokens": 256, "dtype": dtype}
        with begin(model, source, Sft(), config(steps=steps, plan=plan), tmp_path) as session:
            work = first_work(session)
            batches[steps] = work.batches_per_step
            found[dtype, steps] = forecasts._kernels(session, work, rate)
    assert found["fp32", 1000] == 0
    assert found["bf16", 14] == pytest.approx((14 * batches[14] - 4) * 2e6)
    assert found["bf16", 1000] == forecasts.KERNELS_BYTES - 4 * 2e6
