import json
import random
import shutil
import threading

import pytest
import torch
from torch import nn

from mainspring.errors import ChecksumError, ConfigError, MainspringError
from mainspring.train import saver as savers
from mainspring.train import state as states
from mainspring.train.optim import AdamW, build_optimizer
from mainspring.train.parallel import Runner
from mainspring.train.plan import Plan
from mainspring.train.ranks import Ranks
from mainspring.train.saver import Retention, Saver
from mainspring.train.state import State, Tensors


class Net(nn.Module):
    """Two weights."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))


def setup(seed=0):
    torch.manual_seed(seed)
    net = Net()
    parameters = dict(net.named_parameters())
    runner = Runner(net, Plan(), Ranks())
    return Tensors(runner=runner, parameters=parameters, optimizer=build_optimizer(parameters, AdamW(lr=0.1)))


def step(tensors):
    for parameter in tensors.parameters.values():
        parameter.grad = torch.randn_like(parameter)
    tensors.optimizer.step()


def state_at(number):
    return State(
        step=number, cursor={"step": number}, tokens=10 * number, trained_tokens=2.0 * number,
        fingerprints={"data": "x"},
    )  # fmt: skip


LAST_TWO = Retention()


def save(folder, tensors, number, retention=LAST_TWO):
    saver = Saver(tensors)
    saver.save(folder, state_at(number), retention)
    saver.wait()
    saver.close()


@pytest.fixture
def saved(tmp_path):
    tensors = setup()
    for number in range(1, 5):
        step(tensors)
        save(tmp_path, tensors, number)
    return tmp_path


def test_the_last_two_states_are_kept_and_nothing_else(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["step-000003", "step-000004"]


def test_states_of_round_numbers_stay_for_good(tmp_path):
    tensors = setup()
    for number in range(1, 10):
        save(tmp_path, tensors, number, Retention(last=1, every=4))
    assert [path.name for path in states.saved(tmp_path)] == ["step-000004", "step-000008", "step-000009"]


def test_a_restored_run_draws_and_steps_as_the_saved_one(tmp_path):
    tensors = setup()
    step(tensors)
    random.seed(5)
    save(tmp_path, tensors, 1)
    step(tensors)
    drawn = random.random()
    others = setup(seed=9)
    restored = states.restore(states.saved(tmp_path)[-1], others)
    assert restored == state_at(1)
    step(others)
    assert random.random() == drawn
    for name, parameter in tensors.parameters.items():
        assert torch.equal(others.parameters[name], parameter)


@pytest.mark.parametrize("change", ["edited", "truncated", "gone"])
@pytest.mark.parametrize("name", ["tensors-00000.safetensors", "state.json", "manifest.json"])
def test_a_changed_file_is_refused_with_what_is_left(saved, name, change):
    file = saved / "step-000004" / name
    content = file.read_bytes()
    if change == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-9] + (b"damaged!!" if change == "edited" else b""))
    tensors = setup()
    before = tensors.parameters["a"].clone()
    with pytest.raises(ChecksumError, match=r"step-000004.* the run then goes on from step-000003"):
        states.restore(saved / "step-000004", tensors)
    assert torch.equal(tensors.parameters["a"], before)


def test_a_manifest_that_forgets_a_file_is_refused(saved):
    manifest = saved / "step-000004" / "manifest.json"
    digests = json.loads(manifest.read_text())
    del digests["tensors-00000.safetensors"]
    manifest.write_text(json.dumps(digests))
    with pytest.raises(ChecksumError, match="manifest"):
        states.restore(saved / "step-000004", setup())


def test_a_state_of_another_shape_changes_nothing(saved):
    tensors = setup()
    tensors.runner.shapes["b"] = torch.Size([5])
    before = tensors.parameters["a"].clone()
    with pytest.raises(ConfigError, match=r"has \(4,\) for b, expected \(5,\)"):
        states.restore(saved / "step-000004", tensors)
    assert torch.equal(tensors.parameters["a"], before)


def test_what_is_written_is_the_run_as_it_was_when_it_was_saved(tmp_path, monkeypatch):
    tensors = setup()
    gate, write = threading.Event(), savers.save_file
    monkeypatch.setattr(savers, "save_file", lambda *args, **more: (gate.wait(5), write(*args, **more)))
    saver = Saver(tensors)
    expected = tensors.parameters["a"].detach().clone()
    saver.save(tmp_path, state_at(1), Retention())
    step(tensors)
    saver.check()
    assert states.saved(tmp_path) == []
    gate.set()
    saver.wait()
    others = setup(seed=9)
    states.restore(tmp_path / "step-000001", others)
    assert torch.equal(others.parameters["a"], expected)
    saver.close()


def test_a_state_that_cannot_be_written_stops_the_run_and_leaves_the_others(saved):
    saver = Saver(setup())
    shutil.rmtree(saved / "step-000003")
    (saved / ".writing-000005").write_text("in the way")
    saver.save(saved, state_at(5), Retention())
    saver.close()
    with pytest.raises(MainspringError, match="after step 5 could not be written"):
        saver.check()
    assert [path.name for path in states.saved(saved)] == ["step-000004"]


def test_pieces_of_several_processes_are_one_tensor_again(tmp_path):
    whole = torch.arange(12.0).reshape(4, 3)
    files = [
        {"splits": {"weight/a": (1, 0)}, "tensors": {"weight/a": whole[:, :2].contiguous()}},
        {
            "splits": {"weight/a": (1, 2)},
            "tensors": {"weight/a": whole[:, 2:].contiguous(), "weight/b": whole},
        },
    ]
    for number, each in enumerate(reversed(files)):
        path = tmp_path / f"tensors-{number:05d}.safetensors"
        savers.save_file(each["tensors"], path, metadata={"splits": json.dumps(each["splits"])})
    with states._opened(tmp_path) as pieces:
        assert pieces.shape("weight/a") == (4, 3)
        assert torch.equal(pieces.whole("weight/a"), whole)
        assert torch.equal(pieces.whole("weight/b"), whole)


def test_differences_are_named_by_their_dotted_key():
    before = {"data": "x", "config": {"optim": {"lr": 0.1}, "seed": 0}}
    now = {"data": "x", "config": {"optim": {"lr": 0.2}, "seed": 0}, "new": 1}
    assert states.differences(before, now) == ["config.optim.lr: 0.1 then, 0.2 now", "new: None then, 1 now"]


def test_what_a_killed_run_had_not_come_to_is_removed_by_the_next(saved):
    shutil.copytree(saved / "step-000003", saved / "step-000001")
    (saved / ".writing-000005").mkdir()
    Retention(last=2).apply(saved)
    assert sorted(path.name for path in saved.iterdir()) == ["step-000003", "step-000004"]
