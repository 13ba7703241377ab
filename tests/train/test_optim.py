import pytest
import torch
from torch import nn

from mainspring.train.optim import OptimConfig, build_optimizer, clip, lr_at


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_its_top_and_never_rises_again(schedule):
    config = OptimConfig(lr=1.0, warmup_fraction=0.2, schedule=schedule)
    rates = [lr_at(step, 20, config) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_cosine_is_half_way_down_in_the_middle_and_ends_near_the_floor():
    config = OptimConfig(lr=1.0, warmup_fraction=0.0, min_lr_fraction=0.1)
    assert lr_at(50, 100, config) == pytest.approx(0.55)
    assert lr_at(99, 100, config) == pytest.approx(0.1, abs=1e-3)


def test_only_matrices_decay():
    parameters = {"matrix": nn.Parameter(torch.ones(2, 2)), "vector": nn.Parameter(torch.ones(2))}
    optimizer = build_optimizer(parameters, OptimConfig(lr=0.1, weight_decay=0.5))
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(parameters["matrix"], torch.full((2, 2), 0.95))
    assert torch.equal(parameters["vector"], torch.ones(2))


def test_a_long_gradient_is_scaled_down_and_its_norm_reported():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert clip({"p": parameter}, 1.0) == pytest.approx(5.0)
    assert torch.allclose(parameter.grad, torch.tensor([0.6, 0.8]), atol=1e-4)


def test_a_short_gradient_stays_as_it_is():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([0.3, 0.4])
    clip({"p": parameter}, 1.0)
    assert torch.equal(parameter.grad, torch.tensor([0.3, 0.4]))
