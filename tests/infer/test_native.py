"""The native step against the model's own modules, and a row's bits against everything around it."""

import gc
import math

import pytest
import torch

from fakes_engine import give_adapter
from fakes_native import (
    CONFIG,
    SERVED,
    in_chunks,
    multiply,
    native,
    random_ids,
    random_model,
    run,
    sequence,
)
from mainspring.adapt import base as adapters
from mainspring.adapt import lora, store
from mainspring.errors import ConfigError, MainspringError, WeightsError
from mainspring.infer.backends.native import Native
from mainspring.infer.sampling import summarize
from mainspring.infer.seats import NativeSeat
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import FAMILIES, family
from mainspring.models.model import Model
from mainspring.models.save import save

IDS = random_ids(150)
MARCHES = ("x86-64", "x86-64-v3")


def oracle(model, ids):
    return model.logits(model(torch.tensor(ids), torch.arange(len(ids)), PackedAttend([len(ids)])))


def with_packed_weights(model, bits):
    """The same model with the weights that the kernels see: a product with a row of one 1 is exact."""
    packed = Model(model.config)
    packed.load_state_dict(model.state_dict())
    for module in packed.modules():
        if isinstance(module, torch.nn.Linear):
            of_head = packed.head is not None and module is packed.head.out
            eye = torch.eye(module.in_features)
            module.weight.data = multiply(module.weight, eye, 8 if of_head else bits).t().contiguous()
    return packed.requires_grad_(False)


def distance(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", SERVED)
def test_scores_are_those_of_the_modules(name, bits):
    model = random_model(name)
    found = run(native(model, bits=bits), (sequence(0), IDS))
    # What is left is the rounding of rows to 8 bits and of keys and values to bfloat16, layer after layer.
    assert distance(found, oracle(with_packed_weights(model, bits), IDS)) < 0.04


@pytest.mark.parametrize("kv", ["bf16", "int8"])
@pytest.mark.parametrize("name", SERVED)
def test_prefill_chunks_and_decoding_agree_to_the_bit(name, kv):
    backend = native(random_model(name), kv=kv)
    whole = run(backend, (sequence(0), IDS))
    for number, sizes in enumerate([[1] * 150, [7, 64, 1, 50, 28], [100, 5, 45]], 1):
        assert torch.equal(in_chunks(backend, sequence(number), IDS, sizes), whole), sizes


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_neighbors_and_threads_change_no_bit(name):
    model = random_model(name)
    model.embedding.weight[5], model.embedding.weight[6] = torch.nan, 1e30
    alone = run(native(model), (sequence(0), IDS))
    for threads in (1, 2, 3):
        backend = native(model, threads=threads)
        run(backend, (sequence(3), [5] * 100))
        hostile = [(sequence(1), [5, 6] * 20), (sequence(2), random_ids(70, 1))]
        mine = sequence(3)  # where not-a-numbers lay before
        found = [run(backend, hostile[0], (mine, IDS[:90]), hostile[1])[40:130]]
        found += [
            run(backend, (sequence(1), [6]), (mine, [token_id]), (sequence(2), [5]))[1:2]
            for token_id in IDS[90:]
        ]
        assert torch.equal(torch.cat(found), alone), threads


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize(("name", "settings"), [("qwen3", {"kv": "int8"}), ("gemma2", {"bits": 4})])
def test_machines_without_the_instructions_give_the_same_bits(name, settings, march):
    model = random_model(name)
    plain = native(model, **settings, march=march)
    assert torch.equal(run(plain, (sequence(0), IDS)), run(native(model, **settings), (sequence(0), IDS)))


def test_only_the_rows_that_are_asked_for_are_scored():
    backend = native(random_model("llama"))
    whole = run(backend, (sequence(0), IDS))
    assert run(backend, (sequence(1), IDS[:60]), scored=0).shape == (0, 288)
    some = run(backend, (sequence(1), IDS), (sequence(2), IDS[:20]), scored=3)
    assert torch.equal(some, torch.cat([whole[-3:], whole[17:20]]))


def test_a_copied_block_is_the_same_to_who_reads_it():
    backend = native(random_model("llama"))
    first = sequence(0)
    whole = run(backend, (first, IDS))
    second = sequence(1)
    for source, target in zip(first.blocks[:6], second.blocks[:6], strict=True):
        backend.copy_block(source, target)
    second.num_computed = 90
    assert torch.equal(run(backend, (second, IDS[90:])), whole[90:])


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_adapters_answer_side_by_side(name):
    model = random_model(name)
    for seed, adapter in enumerate(("one", "two")):
        give_adapter(model, adapter, seed)
        for pair in lora.pairs(model, adapter).values():
            pair.b_OR *= 0.2
    backend = native(model)
    for adapter in ("one", "two"):
        backend.load_adapter(adapter, lora.pairs(model, adapter))
    alone = {each: run(backend, (sequence(0, each), IDS)) for each in (None, "one", "two")}
    together = run(backend, *((sequence(i, each), IDS) for i, each in enumerate(alone)))
    assert torch.equal(together, torch.cat(list(alone.values())))
    for each, found in alone.items():
        adapters.activate(model, each)
        assert distance(found, oracle(model, IDS)) < 0.08, each  # the base's weights are rounded here as well
    assert distance(alone["one"], alone["two"]) > 0.5
    backend.drop_adapter("one")
    with pytest.raises(KeyError):
        run(backend, (sequence(0, "one"), IDS))
    assert torch.equal(run(backend, (sequence(0, "two"), IDS)), alone["two"])


@pytest.mark.parametrize("name", SERVED)
def test_an_adapter_is_read_without_the_weights_below_it(name, tmp_path):
    model = random_model(name)
    save(model, tmp_path / "model")
    give_adapter(model, "one", 1)
    store.save(model, "one", tmp_path / "one")
    seat = NativeSeat(tmp_path / "model", "model/one@1", CONFIG)
    seat.take(Idle(), "adapter/one@1", tmp_path / "one")
    backend = native(model)
    backend.load_adapter("adapter/one@1", lora.pairs(model, "one"))
    found, wanted = (run(each, (sequence(0, "adapter/one@1"), IDS)) for each in (seat.backend, backend))
    assert torch.equal(found, wanted)
    assert {each.untyped_storage().nbytes() for each in seat._bare.parameters()} == {4}
    other = random_model(name, seed=1)
    give_adapter(other, "one", 1)
    store.save(other, "one", tmp_path / "other")
    with pytest.raises(WeightsError, match="was trained on the base"):
        seat.take(Idle(), "adapter/other@1", tmp_path / "other")


class Idle:
    """An engine between two steps."""

    def between_steps(self, change):
        change()


def test_an_adapter_that_learns_lengths_is_refused():
    model = random_model("llama")
    lora.add(model, lora.Lora(dora=True), "long")
    with pytest.raises(ConfigError, match="dora"):
        native(model).load_adapter("long", lora.pairs(model, "long"))


def test_weights_are_let_go_with_their_owner_and_nothing_is_asked_of_them_later():
    kept, lost = native(random_model("llama")), native(random_model("llama"))
    end = lost._library._end
    del lost
    gc.collect()
    assert not end.alive
    kept.close()
    with pytest.raises(MainspringError, match="closed"):
        run(kept, (sequence(0), IDS))


def test_keys_and_values_in_bytes_take_half_the_room():
    model = Model(
        family("llama").config({**family("llama").published(family("llama").tiny()), "head_dim": 64})
    )
    halves, in_bytes = (native(model, kv=kv).cache_bytes for kv in ("bf16", "int8"))
    assert (
        halves == CONFIG.num_blocks * CONFIG.block_size * 2 * 2 * 2 * 64 * 2
    )  # layers, k and v, heads, bytes
    assert in_bytes <= 0.52 * halves


def test_what_cannot_be_run_is_told():
    for name in FAMILIES:
        assert (Native.serves(family(name).tiny()) is None) == (name in SERVED), name
    assert "feed-forward" in Native.serves(family("mixtral").tiny())
    with pytest.raises(ConfigError, match="block_size"):
        Native.of(random_model("llama"), CONFIG.model_copy(update={"block_size": 24}))


def test_rows_of_scores_are_summed_up_as_in_numpy_and_a_score_that_is_no_number_is_told_of():
    scores_NV = torch.randn(9, 1001) * 30
    scores_NV[3, [40, 700]] = 500.0
    scores_NV[4, :] = -1e30
    scores_NV[5, 3:] = -torch.inf
    scores_NV[6, 1000] = torch.nan
    places = [3, 0, 4, 5, 8]
    *found, last = native(random_model("llama")).summarize(scores_NV, [*places, 6])
    wanted = summarize(scores_NV, places)
    best = [each.best for each in found]
    assert best == [each.best for each in wanted] == scores_NV[places].argmax(1).tolist()
    assert best[0] == 40
    assert [each.log_sum for each in found] == pytest.approx(
        scores_NV[places].double().logsumexp(1).tolist(), rel=1e-9, abs=1e-6
    )
    assert [each.entropy for each in found] == pytest.approx([each.entropy for each in wanted], abs=1e-5)
    assert math.isnan(last.log_sum)
