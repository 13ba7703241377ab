"""Five steps of every optimizer against its formula in float64 and against torch's class."""

import pytest
import torch
from torch import nn

import oracle_optim as formulas
from mainspring.train.optim import (
    Adagrad,
    Adam,
    AdamW,
    Muon,
    RmsProp,
    Sgd,
    build_optimizer,
    restore_state,
    state_of,
)

ALL = {"lr": formulas.LR, "weight_decay": formulas.DECAY}
SHAPES = [(6, 4), (4, 6), (5, 5)]

KINDS = {
    "sgd": (Sgd(**ALL, momentum=0.0), formulas.sgd, {"momentum": 0.0}),
    "sgd with momentum": (Sgd(**ALL), formulas.sgd, {}),
    "sgd with nesterov": (Sgd(**ALL, nesterov=True), formulas.sgd, {"nesterov": True}),
    "adam": (Adam(**ALL, beta1=0.8, beta2=0.95), formulas.adam, {"b1": 0.8, "b2": 0.95}),
    "adamw": (AdamW(**ALL, eps=1e-6), formulas.adam, {"eps": 1e-6, "decoupled": True}),
    "rmsprop": (RmsProp(**ALL), formulas.rmsprop, {}),
    "rmsprop centered": (
        RmsProp(**ALL, smoothing=0.9, momentum=0.5, centered=True),
        formulas.rmsprop,
        {"smoothing": 0.9, "momentum": 0.5, "centered": True},
    ),
    "adagrad": (Adagrad(**ALL, start=0.1), formulas.adagrad, {"start": 0.1}),
    "muon": (Muon(**ALL), formulas.muon, {}),
    "muon plain": (
        Muon(**ALL, nesterov=False, momentum=0.8),
        formulas.muon,
        {"nesterov": False, "momentum": 0.8},
    ),
    "muon by rms": (Muon(**ALL, scale="rms"), formulas.muon, {"scale": "rms"}),
}
THEIRS = {
    "sgd": (torch.optim.SGD, {}),
    "sgd with momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "sgd with nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.95)}),
    "adamw": (torch.optim.AdamW, {"eps": 1e-6}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "rmsprop centered": (torch.optim.RMSprop, {"alpha": 0.9, "momentum": 0.5, "centered": True}),
    "adagrad": (torch.optim.Adagrad, {"initial_accumulator_value": 0.1}),
    "muon in bf16": (torch.optim.Muon, {}),
    "muon in bf16 by rms": (torch.optim.Muon, {"adjust_lr_fn": "match_rms_adamw"}),
}
BF16 = {
    "muon in bf16": Muon(**ALL, iterate_in="bf16"),
    "muon in bf16 by rms": Muon(**ALL, iterate_in="bf16", scale="rms"),
}


def weights(dtype, shapes=SHAPES):
    generator = torch.Generator().manual_seed(0)
    return {
        f"blocks.{n}.q": nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))
        for n, shape in enumerate(shapes)
    }


def gradients(dtype, shapes=SHAPES, count=5):
    generator = torch.Generator().manual_seed(1)
    return [
        [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
        for _ in range(count)
    ]


def run(optimizer, parameters, steps):
    for step in steps:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()


def far(found, expected):
    return float(((found.detach() - expected).abs() / expected.abs().clamp(min=1e-2)).max().detach())


@pytest.mark.parametrize("name", KINDS)
def test_five_steps_are_those_of_the_formula_in_float64(name):
    config, formula, values = KINDS[name]
    parameters, steps = weights(torch.float64), gradients(torch.float64)
    expected = [
        formula(each.detach().clone(), [step[n] for step in steps], **values)
        for n, each in enumerate(parameters.values())
    ]
    run(build_optimizer(parameters, config), parameters.values(), steps)
    for found, wanted in zip(parameters.values(), expected, strict=True):
        assert far(found, wanted) <= 1e-9


@pytest.mark.parametrize("name", THEIRS)
def test_five_steps_are_those_of_torch_in_float32(name):
    config = BF16.get(name) or KINDS[name][0]
    kind, values = THEIRS[name]
    ours, theirs, steps = weights(torch.float32), weights(torch.float32), gradients(torch.float32)
    run(build_optimizer(ours, config), ours.values(), steps)
    run(kind(theirs.values(), **ALL, **values), theirs.values(), steps)
    for found, wanted in zip(ours.values(), theirs.values(), strict=True):
        assert far(found, wanted) <= 1e-5


def test_newton_schulz_brings_all_singular_values_near_one():
    from mainspring.train.optim.muon import orthogonal

    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.linalg.svdvals(orthogonal(matrix, 5))
    assert 0.6 < values.min() < values.max() < 1.25
    assert torch.linalg.svdvals(matrix / matrix.norm()).max() < 0.6


def test_muon_leaves_embeddings_head_and_vectors_to_adamw_at_its_own_rate():
    shapes = {
        "embedding.weight": (8, 4),
        "head.out.weight": (8, 4),
        "norm.weight": (4,),
        "blocks.0.q": (4, 4),
    }
    names, sizes = list(shapes), list(shapes.values())
    parameters = dict(zip(names, weights(torch.float64, sizes).values(), strict=True))
    steps = gradients(torch.float64, sizes)
    before = {name: each.detach().clone() for name, each in parameters.items()}
    run(build_optimizer(parameters, Muon(**ALL, adamw_lr=0.002, beta2=0.99)), parameters.values(), steps)
    for n, name in enumerate(names[:2]):
        mine = [step[n] for step in steps]
        expected = formulas.adam(before[name], mine, b2=0.99, decoupled=True, lr=0.002)
        assert far(parameters[name], expected) <= 1e-9
    assert (
        far(parameters["blocks.0.q"], formulas.muon(before["blocks.0.q"], [step[3] for step in steps]))
        <= 1e-9
    )
    moved = (
        parameters["norm.weight"] - before["norm.weight"]
    ).abs()  # not decayed, five steps of 0.002 at most
    assert 0 < moved.max() <= 5.5 * 0.002


@pytest.mark.parametrize("name", KINDS)
def test_what_is_saved_after_three_steps_goes_on_to_the_same_bits(name):
    config = KINDS[name][0]
    shapes = [*SHAPES, (5,)]
    parameters, steps = weights(torch.float32, shapes), gradients(torch.float32, shapes)
    optimizer = build_optimizer(parameters, config)
    run(optimizer, parameters.values(), steps[:3])
    saved = {key: value.clone() for key, value in state_of(optimizer, parameters).items()}
    others = {key: nn.Parameter(value.detach().clone()) for key, value in parameters.items()}
    again = build_optimizer(others, config)
    assert restore_state(again, others, saved) == []
    run(optimizer, parameters.values(), steps[3:])
    run(again, others.values(), steps[3:])
    for key, value in parameters.items():
        assert torch.equal(others[key], value)


@pytest.mark.parametrize("name", KINDS)
def test_the_state_of_another_kind_is_not_taken_and_said(name):
    config = KINDS[name][0]
    parameters, steps = weights(torch.float32), gradients(torch.float32)
    other = AdamW() if config.kind not in ("adam", "adamw") else Adagrad()
    writer = build_optimizer(parameters, other)
    run(writer, parameters.values(), steps[:1])
    optimizer = build_optimizer(parameters, config)
    assert restore_state(optimizer, parameters, state_of(writer, parameters)) == list(parameters)
    run(optimizer, parameters.values(), steps[1:])


@pytest.mark.parametrize("name", KINDS)
def test_a_scaler_that_found_an_infinite_gradient_moves_no_weight(name):
    shapes = [*SHAPES, (5,)]
    parameters = weights(torch.float32, shapes)
    before = {key: value.detach().clone() for key, value in parameters.items()}
    optimizer = build_optimizer(parameters, KINDS[name][0])
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(sum(each.sum() for each in parameters.values())).backward()
    parameters["blocks.0.q"].grad[0, 0] = float("inf")
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0
    for key, value in parameters.items():
        assert torch.equal(value, before[key])
