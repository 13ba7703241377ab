"""Packed weights answer as the plain ones do, the same in any company, and only where they are faster."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from conftest import make_tokenizer
from fakes_engine import PLAN, Received, give_adapter, lively, make_request, run_alone, run_together, running
from mainspring.adapt import store
from mainspring.errors import ConfigError
from mainspring.infer import packed
from mainspring.infer.engine import Engine
from mainspring.infer.kernels import probe, rows_agree
from mainspring.infer.process import EngineProcess
from mainspring.infer.request import EngineConfig
from mainspring.infer.seats import TorchSeat
from mainspring.models.save import save

pytestmark = pytest.mark.skipif(not packed.is_available(), reason="this torch cannot pack")
SHAPES = [(576, 576), (192, 576), (1536, 576), (576, 1536), (100, 36)]
MIXED = [make_request(n) for n in (1, 15, 16, 40)] + [make_request(n, seed=n) for n in (1, 17, 61)]


def packed_plan(model):
    return probe(model, "packed")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_row_of_a_packed_product_keeps_its_bits_and_is_that_of_the_plain_one(shape):
    weight_OI, bias_O = torch.randn(*shape), torch.randn(shape[0])
    product = packed.pack(weight_OI, bias_O)
    assert rows_agree(product, shape[1], range(8, 513, 8))
    x_RI = torch.randn(24, shape[1])
    expected = x_RI.double() @ weight_OI.double().t() + bias_O.double()
    torch.testing.assert_close(product(x_RI).double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mixtral", "deepseek_v3"])
def test_answers_are_the_same_in_any_company(name):
    model = lively(name)
    plan = packed_plan(model)
    assert plan.packed == tuple(packed.all_shapes(model))
    plain = run_alone(lively(name), MIXED)
    packed.pack_model(model, plan.packed)
    alone = run_alone(model, MIXED, plan)
    assert [ids for ids, *_ in alone] == [ids for ids, *_ in plain]
    for sizes in ({}, {"max_step_tokens": 24}, {"prefix_cache": False}):
        with running(model, plan, **sizes) as engine:
            assert run_together(engine, MIXED) == alone


@pytest.mark.parametrize(("name", "is_tied"), [("llama", True), ("mistral", False)])
def test_the_head_is_packed_as_well(name, is_tied):
    model = lively(name)
    assert (model.head.out is None) == is_tied
    weight = model.embedding.weight if is_tied else model.head.out.weight
    hidden_ND = torch.randn(8, model.config.width)
    before = model.logits(hidden_ND)
    packed.pack_model(model, [packed.shape_name(weight)])
    weight.zero_()
    torch.testing.assert_close(model.logits(hidden_ND), before)  # of the copy, that is


def test_small_weights_stay_as_they_are_and_what_is_told_is_done():
    model = lively("llama")
    assert probe(model, "measured").packed == ()
    assert probe(model, "plain").packed == ()
    assert set(probe(model, "packed").packed) == set(packed.all_shapes(model))


def test_a_shape_is_packed_where_that_is_faster(monkeypatch):
    model, ratios = lively("llama"), iter([0.5, 1.2, 0.5, 1.0] + [1.0] * 99)
    monkeypatch.setattr(packed, "MIN_NUMBERS", 0)
    monkeypatch.setattr(packed, "_ratio", lambda *_: next(ratios))
    _, second, *others = packed.all_shapes(model)  # the first is slower with many rows
    assert others
    assert packed.faster(model) == [second]


def test_a_machine_without_room_for_a_copy_keeps_the_weights_as_they_are(monkeypatch):
    monkeypatch.setattr(packed, "MIN_NUMBERS", 0)
    monkeypatch.setattr(packed, "_ratio", lambda *_: 0.5)
    assert packed.faster(lively("llama"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    assert packed.faster(lively("llama")) == []


def test_a_torch_that_cannot_pack_says_so(monkeypatch):
    monkeypatch.setattr(packed, "is_available", lambda: False)
    assert probe(lively("llama"), "measured").packed == ()
    with pytest.raises(ConfigError, match=r"engine\.products.*measured or plain"):
        probe(lively("llama"), "packed")


def test_adapters_sit_on_packed_weights(tmp_path):
    trained = lively("llama")
    give_adapter(trained, "trained", seed=1)
    store.save(trained, "trained", tmp_path / "adapter")
    save(lively("llama"), tmp_path / "model")
    answers = []
    for plan in (PLAN, packed_plan(lively("llama"))):
        config = EngineConfig(num_blocks=64)
        seat = TorchSeat(tmp_path / "model", "model/m@1", plan, config)
        with Engine(seat.backend, config) as engine:
            seat.take(engine, "adapter/a@1", tmp_path / "adapter")
            requests = [make_request(n, adapter=name) for n in (5, 9) for name in (None, "adapter/a@1")]
            answers.append([ids for ids, *_ in run_together(engine, requests)])
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


@pytest.mark.slow
def test_an_engine_in_its_own_process_packs_by_the_plan_and_answers_the_same(tmp_path):
    save(lively("llama"), tmp_path)
    make_tokenizer().save(tmp_path)
    model = lively("llama")
    plan = packed_plan(model)
    packed.pack_model(model, plan.packed)
    config = EngineConfig(num_blocks=256, products="packed")
    for known in (plan, None):
        engine = EngineProcess(tmp_path, "model/m@1", known, config)
        try:
            received = Received()
            engine.submit_all([MIXED[-1]], [received])
            assert received.result == run_alone(model, MIXED[-1:], plan)[0]
        finally:
            engine.close()
