"""What the compiler makes computes what the parts compute, for every batch, and leaves nothing behind."""

from fnmatch import fnmatchcase

import pytest
import torch
from torch import distributed

from fakes_adapters import tiny
from fakes_llama import tiny_llama
from mainspring.adapt import lora
from mainspring.config import build
from mainspring.infer.native.build import NoCompilerError
from mainspring.train.batch import Segment, pack
from mainspring.train.compiled import _parts
from mainspring.train.config import TrainConfig
from mainspring.train.forecast import forecast
from mainspring.train.loop import begin, train
from mainspring.train.objectives.sft import Sft
from mainspring.train.outputs import run_model
from mainspring.train.plan import Plan
from parallel_cases import KEY_BIAS, KINDS, PLANS, run, start

LAYOUTS = ("ddp", "fsdp", "tensor", "pipeline")
LENGTHS = ((40,), (7, 5), (1,), (30, 20, 11))


class StopError(Exception):
    pass


def stop_behind_3(report):
    if report.step == 3:
        raise StopError


def config(**plan):
    base = {"threads": 1, "micro_batch_tokens": 256, "compile": True}
    values = {"items_per_step": 2, "epochs": 2, "save_every_steps": 2, "plan": {**base, **plan}}
    return build(TrainConfig, values)


def adapted():
    model = tiny_llama()
    lora.add(model, lora.Lora(rank=4, dropout=0.2), "a")
    return model


def weights(model):
    return {name: each.detach().clone() for name, each in model.named_parameters()}


def counted():
    """How many pieces were compiled so far, and where the compiler had to stop."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())


def learn(family, **plan):
    """Losses of batches of several lengths and all gradients, and what was compiled behind each batch."""
    model, found = tiny(family, torch.float32), []
    with Plan(threads=1, **plan).applied(model):
        losses = []
        for lengths in LENGTHS:
            items = [
                (Segment(ids=list(range(3, 3 + each)), weight=[1.0] * each, name="x"),) for each in lengths
            ]
            (batch,) = pack(items, 256)
            losses.append(run_model(model, batch).logp_T.sum())
            losses[-1].backward()
            found.append(counted())
        gradients = [
            each.grad.clone()
            for name, each in model.named_parameters()
            if each.grad is not None and not fnmatchcase(name, KEY_BIAS)
        ]
    assert not [each for each in model.modules() if "forward" in vars(each)]
    return [each.detach() for each in losses] + gradients, found


def farthest(mine, theirs):
    pairs = zip(mine, theirs, strict=True)
    return max(float((one - other).norm() / other.norm()) for one, other in pairs if other.norm() > 0)


def test_a_machine_without_a_compiler_is_told_so_before_the_first_step(model, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with (
        pytest.raises(NoCompilerError, match=r"train\.plan\.compile.*Install g\+\+.*compile=false"),
        Plan(threads=1, compile=True).applied(model),
    ):
        pass
    assert "forward" not in vars(model.blocks[0].ffn)


def test_a_plan_says_that_it_compiles():
    assert Plan(threads=2, compile=True).describe() == "cpu, fp32, 2 threads, 2,048 tokens at once, compiled"


def test_experts_and_what_is_in_4_bits_stay_as_they_are(model):
    kinds = [type(each).__name__ for each in _parts(model)]
    assert kinds.count("Glu") == len(model.blocks)
    assert kinds.count("RmsNorm") == 2 * len(model.blocks) + 1
    lora.QLora(rank=2).apply(model, seed=0)
    assert {type(each).__name__ for each in _parts(model)} == {"RmsNorm"}
    assert {type(each).__name__ for each in _parts(tiny("mixtral"))} == {"RmsNorm"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "dtype", "close"),
    [("llama", "fp32", 1e-5), ("gemma2", "fp64", 1e-9), ("gpt2", "fp64", 1e-9)],
)
def test_batches_of_any_length_are_computed_by_what_was_compiled_for_the_first(family, dtype, close):
    expected, _ = learn(family, dtype=dtype)
    before = counted()
    for checkpointing in (False, True):
        found, counts = learn(family, dtype=dtype, compile=True, checkpointing=checkpointing)
        assert farthest(found, expected) < close
        assert before[0] < counts[0][0]
        assert set(counts) == {counts[0]}
        assert counts[-1][1] == before[1]
        before = counts[-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dpo", "grpo"])  # beside its reference: an adapter; all weights
def test_twenty_steps_are_those_without_the_compiler(kind, tmp_path):
    plain = run(KINDS[kind], {}, "fp32", 20, tmp_path / "plain")
    found = run(KINDS[kind], {"compile": True, "micro_batch_tokens": 24}, "fp32", 20, tmp_path / "compiled")
    assert 0 < found.difference(plain, KINDS[kind].idle).told < 1e-4


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits_and_drops_what_it_drops_without_the_compiler(
    tmp_path, source
):
    whole, parts, plain = adapted(), adapted(), adapted()
    train(whole, source, Sft(), config(), tmp_path / "whole")
    with pytest.raises(StopError):
        train(parts, source, Sft(), config(), tmp_path / "parts", on_step=stop_behind_3)
    again = adapted()
    assert train(again, source, Sft(), config(), tmp_path / "parts").resumed_at == 2
    train(plain, source, Sft(), config(compile=False), tmp_path / "plain")
    for name, each in weights(whole).items():
        assert torch.equal(weights(again)[name], each), name
        torch.testing.assert_close(weights(plain)[name], each, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_compilers_time_is_no_part_of_the_forecast(tmp_path, model, source):
    with begin(model, source, Sft(), config(), tmp_path) as session:
        found = forecast(session)
    assert 0 < found.seconds_per_step < 0.5


@pytest.mark.slow
def test_processes_that_share_a_model_compile_their_parts(tmp_path):
    start(2, follow_all, tmp_path)
    plain = run(KINDS["clm"], {}, "fp64", 3, tmp_path / "one")
    for layout in LAYOUTS:
        found = torch.load(tmp_path / f"{layout}.pt", weights_only=False)
        assert found.difference(plain, KINDS["clm"].idle).told < 1e-9, layout


def follow_all(folder):
    for layout in LAYOUTS:
        plan = {**PLANS[layout], "compile": True}
        found = run(KINDS["clm"], plan, "fp64", 3, folder / f"{layout}-{distributed.get_rank()}")
        if distributed.get_rank() == 0:
            torch.save(found, folder / f"{layout}.pt")
