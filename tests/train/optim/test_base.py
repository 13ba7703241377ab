import pytest
import torch
from torch import nn

from mainspring.config import load
from mainspring.errors import ConfigError
from mainspring.train.config import TrainConfig
from mainspring.train.optim import AdamW, Muon, Sgd, build_optimizer, clip, set_lr


def parameters_named(*names):
    return {name: nn.Parameter(torch.ones(2) if "norm" in name else torch.ones(2, 2)) for name in names}


def step(optimizer, parameters, gradient=0.0):
    for parameter in parameters.values():
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.step()


def test_the_kind_and_its_keys_are_set_from_the_command_line():
    chosen = load(TrainConfig, overrides=["optim.kind=muon", "optim.lr=0.05", "optim.groups=[{pattern: a}]"])
    assert isinstance(chosen.optim, Muon)
    assert (chosen.optim.lr, chosen.optim.beta2, chosen.optim.groups[0].pattern) == (0.05, 0.95, "a")
    assert load(TrainConfig, overrides=["optim.lr=0.05"]).optim == AdamW(lr=0.05)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["optim.kind=moun"],
            "`optim.kind` is 'moun'; did you mean 'muon'? Known kinds: adamw, adam, sgd, rmsprop",
        ),
        (["optim.kind=sgd", "optim.momentun=0"], "of kind 'sgd'; did you mean `optim.momentum`?"),
        (["optim.kind=sgd", "optim.momentum=0", "optim.nesterov=true"], "`optim`: `nesterov` looks ahead"),
        (
            ["optim.groups=[{pattern: a, lr_factr: 2}]"],
            "`optim.groups.0.lr_factr` is not a configuration key",
        ),
    ],
)
def test_wrong_settings_are_named(overrides, message):
    with pytest.raises(ConfigError) as caught:
        load(TrainConfig, overrides=overrides)
    assert message in str(caught.value)


def test_only_matrices_decay():
    parameters = parameters_named("matrix", "norm")
    step(build_optimizer(parameters, AdamW(lr=0.1, weight_decay=0.5)), parameters)
    assert torch.allclose(parameters["matrix"], torch.full((2, 2), 0.95))
    assert torch.equal(parameters["norm"], torch.ones(2))


def test_the_first_pattern_that_fits_gives_rate_and_decay():
    parameters = parameters_named("blocks.0.q", "blocks.1.q", "blocks.1.norm", "head.out", "other")
    groups = [
        {"pattern": "blocks.0.*", "lr_factor": 0.5},
        {"pattern": "blocks.*", "lr_factor": 2.0, "weight_decay": 0.25},
        {"pattern": "head.*", "weight_decay": 0.0},
    ]
    config = Sgd(lr=1.0, momentum=0.0, weight_decay=0.5, groups=groups)
    optimizer = build_optimizer(parameters, config)
    set_lr(optimizer, 0.1)
    step(optimizer, parameters)
    moved = {name: float(1 - each.detach().flatten()[0]) for name, each in parameters.items()}
    wanted = {"blocks.0.q": 0.025, "blocks.1.q": 0.05, "blocks.1.norm": 0.05, "head.out": 0.0, "other": 0.05}
    assert moved == pytest.approx(wanted)


def test_a_group_of_muon_scales_both_rates():
    parameters = parameters_named("blocks.0.q", "blocks.0.norm", "blocks.1.q", "embedding.weight")
    groups = [{"pattern": "blocks.0.*", "lr_factor": 0.5}]
    optimizer = build_optimizer(parameters, Muon(lr=0.02, adamw_lr=0.001, groups=groups))
    set_lr(optimizer, 0.01)
    rates = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
    found = {name: rates[id(each)] for name, each in parameters.items()}
    wanted = {"blocks.0.q": 0.005, "blocks.0.norm": 0.00025, "blocks.1.q": 0.01, "embedding.weight": 0.0005}
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["heads.*"], r"'heads.\*', which fits no trained weight. They are named such as head.out, other"),
        (["*", "head.*"], r"'head.\*', but all it fits \(head.out, ...\) was taken by earlier"),
    ],
)
def test_a_pattern_that_changes_nothing_is_refused(patterns, message):
    config = Sgd(groups=[{"pattern": pattern} for pattern in patterns])
    with pytest.raises(ConfigError, match=message):
        build_optimizer(parameters_named("head.out", "other"), config)


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
