"""A run by Muon: both of its rates reach the weights, and its state is a whole one."""

import pytest
import torch

from fakes_llama import tiny_llama
from mainspring.config import build
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft


def config(**optim):
    values = {"epochs": 4, "items_per_step": 3, "save_every_steps": 2, "plan": {"threads": 1}}
    return build(TrainConfig, {**values, "optim": {"kind": "muon", **optim}})


def run(source, folder, on_step=None):
    model = tiny_llama()
    return model, train(model, source, Sft(), config(), folder, on_step=on_step)


def test_a_run_by_muon_that_was_stopped_goes_on_to_the_same_bits(tmp_path, source):
    def stop(report):
        if report.step == 5:
            raise KeyboardInterrupt

    losses = []
    whole, result = run(source, tmp_path / "whole", lambda report: losses.append(report.loss))
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "parts", stop)
    again, resumed = run(source, tmp_path / "parts")
    assert (resumed.resumed_at, resumed.loss) == (4, result.loss)
    assert losses[-1] < 0.9 * losses[0]
    for weight, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other)


def test_a_group_with_a_small_factor_hardly_moves(tmp_path, source):
    model, before = tiny_llama(), tiny_llama()
    groups = [{"pattern": "blocks.0.*", "lr_factor": 1e-6}]
    train(model, source, Sft(), config(groups=groups), tmp_path)
    for path, is_small in (("blocks.0.mixer.q.weight", True), ("blocks.1.mixer.q.weight", False)):
        moved = float((model.get_parameter(path) - before.get_parameter(path)).detach().abs().max())
        assert (moved < 1e-6) is is_small
        assert moved > 0
