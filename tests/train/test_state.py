import pytest
import torch
from torch import nn

from mainspring.errors import ChecksumError
from mainspring.train import state as states
from mainspring.train.optim import AdamW, build_optimizer
from mainspring.train.state import State


def setup(seed=0):
    torch.manual_seed(seed)
    parameters = {"a": nn.Parameter(torch.randn(3, 2)), "b": nn.Parameter(torch.randn(4))}
    return parameters, build_optimizer(parameters, AdamW(lr=0.1))


def step(parameters, optimizer):
    for parameter in parameters.values():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()


def state_at(number):
    return State(
        step=number, cursor={"step": number}, tokens=10 * number, trained_tokens=2.0 * number,
        fingerprints={"data": "x"},
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    parameters, optimizer = setup()
    for number in range(1, 5):
        step(parameters, optimizer)
        states.save(tmp_path, state_at(number), parameters, optimizer)
    return tmp_path


def test_the_last_two_states_are_kept_and_nothing_else(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["step-000003", "step-000004"]


def test_a_restored_run_draws_and_steps_as_the_saved_one(tmp_path):
    parameters, optimizer = setup()
    step(parameters, optimizer)
    states.save(tmp_path, state_at(1), parameters, optimizer)
    step(parameters, optimizer)
    others, other_optimizer = setup(seed=9)
    restored = states.restore(states.saved(tmp_path)[-1], others, other_optimizer)
    assert restored == state_at(1)
    step(others, other_optimizer)
    for name, parameter in parameters.items():
        assert torch.equal(others[name], parameter)


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_a_changed_file_is_refused_with_what_is_left(saved, name):
    file = saved / "step-000004" / name
    file.write_bytes(file.read_bytes()[:-9] + b"damaged!!")
    parameters, optimizer = setup()
    before = parameters["a"].clone()
    with pytest.raises(ChecksumError, match=r"step-000004.* the run then goes on from step-000003"):
        states.restore(saved / "step-000004", parameters, optimizer)
    assert torch.equal(parameters["a"], before)


def test_differences_are_named_by_their_dotted_key():
    before = {"data": "x", "config": {"optim": {"lr": 0.1}, "seed": 0}}
    now = {"data": "x", "config": {"optim": {"lr": 0.2}, "seed": 0}, "new": 1}
    assert states.differences(before, now) == ["config.optim.lr: 0.1 then, 0.2 now", "new: None then, 1 now"]
